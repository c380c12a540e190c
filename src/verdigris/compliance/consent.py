"""What people have signed about a rollout, verified anew from its record, and whether it opened what moved. Pure.

Each word is verified as the guard verified it, at the time in its entry and with the person as known then; gates are asked by the guard's
own rules. (`audit.verify` does the same without any of this code.) What was erased is neither believed nor held against anybody.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from verdigris.approvals.approval import START, ApprovalDecision, SignedApproval, Verified, verify
from verdigris.approvals.errors import ApprovalError
from verdigris.approvals.gate import REVIEWERS, Granted, Policy, Question, Refused, Waiting, decide
from verdigris.approvals.people import InvalidPeople, People, Person, folded, read_people
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.statement import Statement
from verdigris.plan.document import load_plan
from verdigris.plan.gates import Gate, Role
from verdigris.plan.plan import Plan
from verdigris.plan.problems import InvalidPlan
from verdigris.times import NANO

DECISIONS = {
    Kind.APPROVAL_GIVEN: ApprovalDecision.GIVE, Kind.APPROVAL_REFUSED: ApprovalDecision.REFUSE,
    Kind.APPROVAL_WITHDRAWN: ApprovalDecision.WITHDRAW, Kind.FREEZE_OVERRIDDEN: ApprovalDecision.OVERRIDE_FREEZE,
    Kind.REVIEW_DONE: ApprovalDecision.REVIEW,
}  # fmt: skip
OF_REVIEWS = frozenset({Kind.FREEZE_OVERRIDDEN, Kind.REVIEW_DUE, Kind.REVIEW_DONE})
"""Kinds of entries that tell, over a whole ledger, which reviews are open."""
FORWARD = frozenset({"ready", "step passed", "approved"})
"""Events after which the next step begins."""
HOLDING_BACK = frozenset({ApprovalDecision.REFUSE, ApprovalDecision.WITHDRAW})
DECIDING_NANO = 60 * NANO
"""A guard acts on what it has read so long ago at most: what came in, ended or began within it may not have counted yet."""

EvidenceOf = Callable[[str], bytes | None]


class Entry(Protocol):
    """An entry as somebody read it from a ledger."""

    @property
    def index(self) -> int:
        """From 0 on, in the whole ledger."""

    @property
    def statement(self) -> Statement:
        """What it says; its signature was checked."""


@dataclass(frozen=True, slots=True)
class Word:
    """One entry that says that somebody signed something.

    Args:
        given: what they signed, verified; None: it cannot be told, or is not so.
        wrong: why it is not so; empty: it is, or cannot be told.
    """

    entry: int
    unix_nano: int
    decision: ApprovalDecision
    given: Verified | None = None
    wrong: str = ""

    @property
    def erased(self) -> bool:
        """Whether it cannot be told."""
        return self.given is None and not self.wrong


@dataclass(frozen=True, slots=True)
class Move:
    """A move that needed people: through a gate, or forward in a freeze.

    Args:
        entry: the transition.
        step: which began with it, or whose freeze it was.
        about: the step in words.
        freeze: the reason of the freeze; empty: it is a gate.
        by: whose words opened it; empty: nobody's.
        wrong: what it lacked; empty: nothing, or it cannot be told.
    """

    entry: int
    step: int
    about: str
    freeze: str
    by: tuple[Verified, ...] = ()
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """A review that an override of a freeze opened, anywhere in the ledger.

    Args:
        of: the digest of what was signed to override it.
        override: the word that overrode it; None: it cannot be told, or is not so.
        entry: which opened the review.
        done: who reviewed it; None: nobody, or it cannot be told.
        erased: somebody has done it, and who is erased.
        wrong: why what was entered as its review is none.
    """

    rollout: str
    of: str
    entry: int
    due_unix_s: int
    override: Word | None
    done: Word | None = None
    erased: bool = False
    wrong: str = ""

    @property
    def open(self) -> bool:
        """Whether nobody has done it."""
        return self.done is None and not self.erased

    def overdue(self, now_unix_s: float) -> bool:
        """Whether it is open after its time."""
        return self.open and self.due_unix_s < now_unix_s


@dataclass(frozen=True, slots=True)
class Consent:
    """What people have agreed to in one rollout. `plan` None: it was erased, or this version cannot read it."""

    plan: Plan | None
    words: tuple[Word, ...]
    moves: tuple[Move, ...]

    @property
    def gated(self) -> tuple[Move, ...]:
        """The moves through gates."""
        return tuple(one for one in self.moves if not one.freeze)

    def counted(self, *moves: Move) -> tuple[int, ...]:
        """The entries of the words that opened some moves."""
        by = {one.digest for move in moves for one in move.by}
        return tuple(word.entry for word in self.words if word.given is not None and word.given.digest in by)


def consent_of(entries: Sequence[Entry], evidence: EvidenceOf) -> Consent:
    """What people agreed to, from one rollout's entries in order. Raises: what `evidence` raises."""
    plan = _plan(evidence(str(entries[0].statement.plan)))
    words: list[Word] = []
    moves: list[Move] = []
    step = START
    for entry in entries:
        said = entry.statement
        if said.kind in DECISIONS:
            words.append(word_of(entry, evidence))
        elif said.kind is Kind.PHASE and (said.values["event"] in FORWARD or said.values["event"] == "baked"):
            step += said.values["event"] in FORWARD
            if plan is not None:
                moves += _needing(plan, entry, step, words)
        elif said.kind in {Kind.WEIGHT_INTENDED, Kind.COMMIT_INTENDED} and plan is not None:
            moves += _unasked(plan, entry, step, {one.step for one in moves if not one.freeze})
    return Consent(plan, tuple(words), tuple(moves))


def _plan(canonical: bytes | None) -> Plan | None:
    try:
        return None if canonical is None else load_plan(canonical.decode())
    except (InvalidPlan, UnicodeDecodeError):
        return None


# -- words


def word_of(entry: Entry, evidence: EvidenceOf) -> Word:
    """What an entry says that somebody signed. Raises: what `evidence` raises."""
    said = entry.statement
    word = Word(entry.index, said.unix_nano, DECISIONS[said.kind])
    digest = str(said.values["approval"])
    blob = evidence(digest)
    if blob is None:
        return word
    try:
        signed = SignedApproval.parse(blob)
        shown = json.loads(signed.document).get("shown")
        rests = [one for one in said.based_on if one not in {digest, shown}]
        if len(rests) != 1 or digest not in said.based_on or (shown is not None and shown not in said.based_on):
            return replace(word, wrong="the entry does not rest on what was signed, on what was shown and on one person")
        document = evidence(rests[0])
        if document is None:
            return word
        person = _person(document)
        if signed.signature.key not in person.keys:
            key = signed.signature.key.fingerprint
            return replace(word, wrong=f"it is signed with the key {key}, which is none of {person.name}'s, as known then")
        given = verify(signed, People((person,)), said.unix_nano)
    except (ApprovalError, ValueError, TypeError, AttributeError, KeyError) as error:
        return replace(word, wrong=str(error))
    wrong = _other(said, word.decision, given)
    return replace(word, wrong=wrong) if wrong else replace(word, given=given)


def _person(document: bytes) -> Person:
    (person,) = read_people({"people": [json.loads(document)["person"]]}).people
    return person


def _other(said: Statement, decision: ApprovalDecision, given: Verified) -> str:
    """What else was signed than the entry says; empty: nothing."""
    approval = given.approval
    if approval.decision is not decision:
        return f"a {approval.decision.value} was signed, and the entry says {decision.value}"
    if decision is ApprovalDecision.REVIEW:
        return "" if approval.shown == said.values["of"] else "it was signed about another override"
    if (approval.rollout, approval.plan) != (said.rollout, said.plan):
        return "it was signed about another rollout or plan"
    return "" if approval.step == said.values["step"] else f"it was signed about another step ({approval.step})"


# -- moves


def _needing(plan: Plan, entry: Entry, step: int, words: Sequence[Word]) -> Iterator[Move]:
    """What a forward move needed of people."""
    said = entry.statement
    about = plan.step_text(min(step, len(plan.steps)))
    gate = plan.gate_before(step) if said.values["event"] in FORWARD else ()
    if gate or said.values["event"] == "approved":
        given = [one for one in words if one.given is not None and one.given.approval.step == step]
        shown = dict.fromkeys(one.given.approval.shown for one in reversed(given) if one.given is not None)
        questions = [Question(str(said.rollout), str(said.plan), step, one) for one in shown or (None,)]
        yield _asked(Move(entry.index, step, about, ""), gate, questions, plan, words, said.unix_nano)
    frozen = plan.schedule.freeze_at(said.unix_nano / NANO)
    if frozen is not None:
        glass = plan.schedule.break_glass
        questions = [
            Question(str(said.rollout), str(said.plan), one, None, ApprovalDecision.OVERRIDE_FREEZE) for one in (START, max(step, 0))
        ]  # fmt: skip
        move = Move(entry.index, step, about, frozen.reason or "a freeze")
        move = _asked(move, () if glass is None else glass.gate, questions, plan, words, said.unix_nano)
        if move.by or said.unix_nano - DECIDING_NANO >= frozen.start_unix_s * NANO:  # else it may have been decided before the freeze
            yield move


def _unasked(plan: Plan, entry: Entry, step: int, judged: set[int]) -> Iterator[Move]:
    """Gates that a weight is beyond, and that no move went through."""
    said = entry.statement
    named = said.values.get("step")
    beyond = len(plan.steps) if said.kind is Kind.COMMIT_INTENDED else named if isinstance(named, int) else step
    for one in range(min(beyond, len(plan.steps)) + 1):
        if plan.gate_before(one) and one not in judged:
            yield Move(entry.index, one, plan.step_text(one), "", wrong="no move through it is in the record")


def _asked(
    move: Move, gate: Gate, questions: Sequence[Question], plan: Plan, words: Sequence[Word], unix_nano: int
) -> Move:  # fmt: skip
    """A move with who opened it, or with what it lacked: by the guard's rules, at the time in the entry."""
    if not gate:
        return replace(move, wrong="the plan lets nobody override a freeze" if move.freeze else "the plan asks nobody about it")
    now = unix_nano - DECIDING_NANO
    heard = [one.given for one in words if one.given is not None and not (one.decision in HOLDING_BACK and one.unix_nano > now)]
    # Whose time was over when it came in was refused then, and a list of people may have given somebody more time since. Whether the
    # author was known to the guard is not in the record; that somebody else approved is what is asked here.
    known = {folded(one.person.name): replace(one.person, from_unix_nano=None, until_unix_nano=None) for one in heard}
    known.setdefault(folded(plan.change.author), Person(plan.change.author, frozenset({Role.AUTHOR}), ()))
    lacks = ""
    for question in questions:
        try:
            answer = decide(Policy(gate), question, People(tuple(known.values())), plan.change.author, heard, now)
        except InvalidPeople as error:
            return replace(move, wrong=str(error))
        match answer:
            case Granted(by=by):
                return replace(move, by=by)
            case Waiting(missing=missing):
                lacks = lacks or ", ".join(missing)
            case Refused(by=by):
                lacks = lacks or f"{', '.join(one.person.name for one in by)} to withdraw the refusal"
    return move if any(one.erased for one in words) else replace(move, wrong=lacks)


# -- reviews, over a whole ledger


def reviews_of(ledger: Sequence[Entry], evidence: EvidenceOf) -> tuple[Review, ...]:
    """Every review that was opened, in order. `ledger`: all entries of `OF_REVIEWS`. Raises: what `evidence` raises."""
    overrides = {str(one.statement.values["approval"]): one for one in ledger if one.statement.kind is Kind.FREEZE_OVERRIDDEN}
    done: dict[str, list[Entry]] = {}
    for entry in ledger:
        if entry.statement.kind is Kind.REVIEW_DONE:
            done.setdefault(str(entry.statement.values["of"]), []).append(entry)
    found = []
    for entry in ledger:
        said = entry.statement
        if said.kind is Kind.REVIEW_DUE:
            of, due = str(said.values["of"]), said.values["dueUnixS"]
            override = word_of(overrides[of], evidence) if of in overrides else None
            review = Review(str(said.rollout), of, entry.index, due if isinstance(due, int) else 0, override)
            for one in done.get(of, ()):
                if review.open:
                    review = _reviewed(review, one, said, evidence)
            found.append(review)
    return tuple(found)


def _reviewed(review: Review, entry: Entry, due: Statement, evidence: EvidenceOf) -> Review:
    word = word_of(entry, evidence)
    if word.given is None:
        return replace(review, erased=True) if word.erased else replace(review, wrong=word.wrong)
    by = frozenset() if review.override is None or review.override.given is None else frozenset({review.override.given.person.name})
    approval = word.given.approval
    plan = _plan(evidence(str(due.plan)))
    author = None if plan is None else plan.change.author
    if (approval.rollout, approval.plan) != (due.rollout, due.plan):
        return replace(review, wrong="it was signed about another rollout or plan")
    if REVIEWERS.need_of(approval.role) is None:
        return replace(review, wrong=f"it was said as {approval.role.value}, who is not asked")
    if any(word.given.person.is_called(name) for name in (*by, *(() if author is None else (author,)))):
        return replace(review, wrong=f"{word.given.person.name} cannot review it: they wrote the change, or overrode the freeze")
    return replace(review, done=word, wrong="")
