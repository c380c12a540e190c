"""Whether a gate opens: what was said about one step, by whom, and what is still missing. Pure.

Ignorance never promotes: what is of another rollout, plan or step, of findings that are not those shown now, not of its time, or by
somebody who may not say it is not counted, and is listed with why. What can only hold a rollout back is believed sooner than what
moves it: a refusal stands for whoever was known when it came in, in any role, and outlives their key; a give needs a person, role and
key that are good now.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from verdigris.approvals.approval import START, Approval, ApprovalDecision, Verified, untimely, why_not_entitled
from verdigris.approvals.errors import ApprovalError
from verdigris.approvals.people import People, folded
from verdigris.plan.gates import QUORUM_MAX, Gate, Need, Role, any_of, asked_twice

ASKED = (ApprovalDecision.GIVE, ApprovalDecision.OVERRIDE_FREEZE, ApprovalDecision.REVIEW)
"""What a gate can ask for."""


class InvalidGate(ApprovalError):
    """A gate's rules contradict themselves, or nobody could ever meet them. Safe: nothing was decided by them."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Who must agree. A role stands in one need only, so that a word counts for one of them. Raises: InvalidGate: on being made."""

    needs: Gate

    def __post_init__(self) -> None:
        asked = [role for need in self.needs for role in need.roles]
        if not self.needs or not all(need.roles for need in self.needs):
            msg = "a gate asks somebody: give it one or more roles"
            raise InvalidGate(msg)
        if not all(1 <= need.quorum <= QUORUM_MAX for need in self.needs):
            msg = f"a gate asks from 1 to {QUORUM_MAX} people of a role"
            raise InvalidGate(msg)
        if asked_twice(asked) is not None:
            msg = "a gate asks for a role twice; write it once, with the number of people"
            raise InvalidGate(msg)
        if Role.AUTHOR in asked:
            msg = "a gate cannot ask authors: who wrote a change does not approve it"
            raise InvalidGate(msg)

    @classmethod
    def of(cls, *roles: Role, quorum: int = 1) -> "Policy":
        """So many people in any of these roles. Raises: InvalidGate."""
        return cls((Need(roles, quorum),))

    def need_of(self, role: Role) -> Need | None:
        """Where a role counts."""
        return next((need for need in self.needs if role in need.roles), None)


REVIEWERS = Policy.of(Role.APPROVER, Role.SECURITY, Role.AUDITOR)
"""Who may say that a freeze was rightly overridden: anybody of these but the author and whoever did it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. Answers to anything else are not counted. Raises: InvalidGate: on being made.

    Args:
        rollout: its id.
        plan: the plan's digest, SHA-256 in hex.
        step: counted from 0; -1 is the start.
        shown: SHA-256 in hex of what is shown for it now; None: nothing, and then an answer names nothing either.
        asks: a give; an override of a freeze; a review of one.
        not_by: names of people whose word does not count here beside the author's: a review is not by who overrode the freeze.
    """

    rollout: str
    plan: str
    step: int
    shown: str | None
    asks: ApprovalDecision = ApprovalDecision.GIVE
    not_by: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.asks not in ASKED:
            msg = f"a gate asks for {', '.join(ASKED)}, not for a {self.asks.value}"
            raise InvalidGate(msg)


@dataclass(frozen=True, slots=True)
class NotCounted:
    """One approval that does not count, and why, in words."""

    approval: Verified
    why: str


@dataclass(frozen=True, slots=True)
class Granted:
    """The gate is open. `by`: all that counted, one of each person."""

    by: tuple[Verified, ...]
    not_counted: tuple[NotCounted, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """The gate is closed until more is said. `missing`: what, in words."""

    missing: tuple[str, ...]
    by: tuple[Verified, ...] = ()
    not_counted: tuple[NotCounted, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The gate is closed until all these refusals are withdrawn. Each has its person and its digest; the reason is in the document."""

    by: tuple[Verified, ...]
    not_counted: tuple[NotCounted, ...] = ()


def decide(
    policy: Policy, question: Question, people: People, author: str, approvals: Iterable[Verified], now_unix_nano: int
) -> Granted | Waiting | Refused:
    """Whether the gate is open now. The order of the approvals does not matter.

    1. What is about another rollout, plan or step is not counted.
    2. A refusal stands unless its person has withdrawn it later, with a key that is good now: then the gate is refused. A review
       moves nothing, and is not held up by one.
    3. A withdrawal cancels what its person gave before it, whatever became of the person or the key since.
    4. A give counts if it answers the question, is of its time, and its person is known, valid and in its role now, is not the author,
       and counts not yet: the last word of each person is taken.
    5. The gate opens when every need has its quorum, and the author is somebody who is known: else nobody is known to be another.

    Args:
        people: as they are known now.
        author: as the plan's change names them.
        approvals: as `verify` gave them when they came in.
    """
    ordered = sorted(approvals, key=lambda one: (one.approval.issued_unix_nano, one.digest))
    not_counted = [NotCounted(one, why) for one in ordered if (why := _elsewhere(one.approval, question))]
    here = [one for one in ordered if _elsewhere(one.approval, question) is None]
    withdrawals = [one for one in here if one.approval.decision is ApprovalDecision.WITHDRAW]
    refusals = [one for one in here if one.approval.decision is ApprovalDecision.REFUSE]
    gate = _Gate(policy, question, people, author, now_unix_nano)

    standing = []
    for one in refusals:
        if question.asks is ApprovalDecision.REVIEW:
            not_counted.append(NotCounted(one, "is a refuse, and a review is asked for"))
        elif any(gate.lifts(withdrawal, one) for withdrawal in withdrawals):
            not_counted.append(NotCounted(one, "was withdrawn"))
        else:
            standing.append(one)

    counted: dict[str, Verified] = {}
    for one in reversed([one for one in here if one.approval.decision in ASKED]):
        why = gate.why_not(one, withdrawals)
        if why is None and folded(one.person.name) in counted:
            why = f"{one.person.name} has said it again later, and counts once"
        if why is None:
            counted[folded(one.person.name)] = one
        else:
            not_counted.append(NotCounted(one, why))
    by = tuple(reversed(counted.values()))

    if standing:  # after the gives, so that they are listed with what became of them
        return Refused(tuple(standing), tuple(not_counted))
    missing = (*gate.unknown_author(), *_short(policy, by))
    return Waiting(missing, by, tuple(not_counted)) if missing else Granted(by, tuple(not_counted))


@dataclass(frozen=True, slots=True)
class _Gate:
    """The rules for single words."""

    policy: Policy
    question: Question
    people: People
    author: str
    now_unix_nano: int

    def lifts(self, withdrawal: Verified, refusal: Verified) -> bool:
        """Whether a withdrawal takes a refusal back. At the same time is not after it."""
        after = refusal.approval.issued_unix_nano < withdrawal.approval.issued_unix_nano
        return after and _same_person(withdrawal, refusal) and self._not_good_now(withdrawal) is None

    def why_not(self, one: Verified, withdrawals: Sequence[Verified]) -> str | None:
        """Why a word is not counted; None if it is."""
        if any(_same_person(w, one) and w.approval.issued_unix_nano >= one.approval.issued_unix_nano for w in withdrawals):
            return "was withdrawn"
        if one.person.is_called(self.author):
            return f"{one.person.name} is the author of the change; another person approves it"
        if any(one.person.is_called(name) for name in self.question.not_by):
            return f"{one.person.name} cannot answer this for themselves"
        return self._not_asked(one.approval) or self._not_good_now(one)

    def _not_asked(self, approval: Approval) -> str | None:
        """Why a word does not answer the question; None if it does."""
        asks = self.question.asks
        if approval.decision is not asks:
            return f"is a {approval.decision.value}, and a {asks.value} is asked for"
        if approval.shown != self.question.shown:
            return "was signed on other findings than are shown now: look at them and sign again"
        if self.policy.need_of(approval.role) is None:
            return f"is said as {approval.role.value}, and this gate asks {any_of(r for n in self.policy.needs for r in n.roles)}"
        return None

    def _not_good_now(self, one: Verified) -> str | None:
        """Why somebody cannot move anything now; None if they can."""
        known = self.people.named(one.person.name)
        if known is None:
            return f"{one.person.name} is not known any more"
        if one.signed.signature.key not in known.keys:
            return f"the key {one.signed.signature.key.fingerprint} is not {known.name}'s any more"
        wrong = untimely(one.approval, self.now_unix_nano)
        if wrong:
            return wrong
        wrong = why_not_entitled(one.approval, known, self.now_unix_nano)
        return wrong and f"{known.name} {wrong}"

    def unknown_author(self) -> tuple[str, ...]:
        """What is missing where the author is nobody who is known."""
        if self.people.named(self.author) is not None:
            return ()
        return (f"the author of the change, {self.author!r}, is not among the known people, so nobody is known to be another person",)


def _elsewhere(approval: Approval, question: Question) -> str | None:
    """What else an approval is about; None if it is about the question's step."""
    if approval.rollout != question.rollout:
        return f"is about the rollout {approval.rollout}"
    if approval.plan != question.plan:
        return f"is about another plan, {approval.plan}"
    if approval.step != question.step:
        return "is about the start" if approval.step == START else f"is about step {approval.step + 1}"
    return None


def _same_person(one: Verified, other: Verified) -> bool:
    return one.person.is_called(other.person.name)


def _short(policy: Policy, by: Sequence[Verified]) -> tuple[str, ...]:
    """The needs that are not met, in words."""
    found = []
    for need in policy.needs:
        have = [one.person.name for one in by if one.approval.role in need.roles]
        if len(have) < need.quorum:
            left = need.quorum - len(have)
            given = f"; so far: {', '.join(have)}" if have else ""
            found.append(f"{left} more of {any_of(need.roles)} ({need.quorum} asked{given})")
    return tuple(found)
