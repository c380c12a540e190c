"""The rules about what people agree to, over signatures that were verified. Pure. As in `rules`: no more is claimed than entries show."""

from collections.abc import Iterator, Sequence

from verdigris.approvals.approval import ENDING
from verdigris.compliance.answers import Answer, Contradicted, Evidenced, NotCovered
from verdigris.compliance.consent import Move
from verdigris.compliance.facts import Facts
from verdigris.ledger.entry_kinds import Kind
from verdigris.plan.gates import Role
from verdigris.plan.plan import Plan
from verdigris.times import NANO, rfc3339


def change_is_approved(facts: Facts) -> Answer:
    """All whom the gates of the plan ask have signed before, each other than the author; and no freeze was passed without whom it asks.

    A rollout of a plan without a gate, or that reached none, shows no approval. An override counts as none, and one that nobody has
    reviewed in time contradicts.
    """
    return _against(facts) or _not_shown(facts) or _approval_shown(facts)


def _against(facts: Facts) -> Contradicted | None:
    consent = facts.consent
    forged = next((one for one in consent.words if one.wrong), None)
    if forged is not None:
        return Contradicted((forged.entry,), f"what is said to be signed is not so: {forged.wrong}")
    lacking = next((one for one in consent.moves if one.wrong), None)
    if lacking is not None:
        where = f"in a freeze ({lacking.freeze})" if lacking.freeze else "through its gate"
        return Contradicted((lacking.entry,), f"the rollout moved on to {lacking.about} {where}, and it was not open: {lacking.wrong}")
    late = next((one for one in facts.reviews if one.rollout == facts.rollout and one.overdue(facts.now_unix_s)), None)
    if late is not None:
        return Contradicted((late.entry,), f"a freeze was overridden, and its review, due {_day(late.due_unix_s)}, is overdue")
    return None


def _not_shown(facts: Facts) -> NotCovered | None:
    why = _why_not_shown(facts)
    unsigned = "" if facts.consent.words else "no entry of this rollout is a signed approval: "
    return None if why is None else NotCovered(f"{unsigned}{why}")


def _why_not_shown(facts: Facts) -> str | None:
    plan = facts.consent.plan
    if plan is None:
        return "the plan was erased, or this version cannot read it, so whom it asks is not known"
    if not _gates(plan):
        return "the plan has no gate, so nobody is asked before it moves"
    if not facts.consent.gated:
        return "the rollout passed no gate of its plan, so nobody had to approve what it did"
    untold = next((one for one in facts.consent.moves if not one.by), None)
    if untold is not None:
        return f"whether the way of entry {untold.entry} was open cannot be told, for what was signed was erased"
    return None


def _gates(plan: Plan) -> list[int]:
    """The steps that ask somebody; their number stands for the switch."""
    return [step for step in range(len(plan.steps) + 1) if plan.gate_before(step)]


def _approval_shown(facts: Facts) -> Evidenced:
    passed = facts.consent.gated
    return Evidenced(
        _entries(facts, passed),
        f"{_approved(passed)}: signed before, bound to what was shown, each by another person than the author",
        tuple(_unapproved(facts)),
    )  # fmt: skip


def _entries(facts: Facts, moves: Sequence[Move]) -> tuple[int, ...]:
    """The words that opened some gates, and the moves through them."""
    return tuple(sorted((*facts.consent.counted(*moves), *(one.entry for one in moves))))


def _approved(passed: Sequence[Move]) -> str:
    """As in "the step to 50 % was approved by 2 people, the switch by 1 person"."""
    told = [f"{one.about} was approved by {len(one.by)} {'person' if len(one.by) == 1 else 'people'}" for one in passed]
    return ", ".join(dict.fromkeys(told))


def _unapproved(facts: Facts) -> Iterator[str]:
    """What moved without anybody being asked, and what is still to be looked at."""
    plan = facts.consent.plan
    gates = [] if plan is None else _gates(plan)
    yield "that the people are who the guard's list of people says"
    if gates and gates[0] > 0 and facts.of(Kind.WEIGHT_INTENDED):
        yield "approval before the first traffic: the plan asks for none there"
    if plan is not None and gates and gates[-1] < len(plan.steps) and facts.of(Kind.COMMIT_INTENDED):
        yield "approval of the switch: the plan asks for none"
    for one in facts.reviews:
        if one.rollout == facts.rollout and one.open:
            yield f"the review of an override, due {_day(one.due_unix_s)} (entry {one.entry})"


def _day(unix_s: float) -> str:
    return rfc3339(round(unix_s) * NANO)[:10]


def moves_need_signatures(facts: Facts) -> Answer:
    """The guard moved through the gates of the plan on signatures only."""
    answer = change_is_approved(facts)
    if isinstance(answer, Evidenced):
        return Evidenced(answer.entries, answer.why, (*answer.lacking, "other ways to change the systems than the guard"))
    return answer


def security_took_part(facts: Facts) -> Answer:
    """Somebody who is known in the role `security` was counted at a gate."""
    answer = change_is_approved(facts)
    if not isinstance(answer, Evidenced):
        return answer
    moves = [one for one in facts.consent.gated if any(word.approval.role is Role.SECURITY for word in one.by)]
    if not moves:
        return NotCovered("nobody has approved as security at a gate of this rollout")
    return Evidenced(
        _entries(facts, moves), "somebody of security signed before the change moved", ("that somebody of privacy took part",),
    )  # fmt: skip


def words_are_signed(facts: Facts) -> Answer:
    """What people agreed to is signed with keys of their own."""
    words = facts.consent.words
    forged = next((one for one in words if one.wrong), None)
    if forged is not None:
        return Contradicted((forged.entry,), f"what is said to be signed is not so: {forged.wrong}")
    good = tuple(one.entry for one in words if one.given is not None)
    if not good:
        return NotCovered("nobody has signed anything of this rollout" if not words else "what people signed was erased")
    asked = facts.of(Kind.PLAN_SUBMITTED, Kind.REQUEST)
    lacking = [f"what was asked without a signature: the plan itself, and requests ({len(asked)} entries)"] if asked else []
    if len(good) < len(words):
        lacking.append(f"{len(words) - len(good)} more words that were erased")
    return Evidenced(good, f"{len(good)} words of people are signed with keys of their own, verified here", tuple(lacking))


def roles_are_separate(facts: Facts) -> Answer:
    """Author and approvers are different people. Only signed approvals show it."""
    plan = facts.consent.plan
    own = [
        one for one in facts.consent.words
        if plan is not None and one.decision in ENDING and one.given is not None and one.given.person.is_called(plan.change.author)
    ]  # fmt: skip
    if own:
        return Contradicted((own[0].entry,), "the author of the change approved it, or overrode a freeze for it")
    answer = change_is_approved(facts)
    if not isinstance(answer, Evidenced):
        return answer
    people = dict.fromkeys(word.person.name for one in facts.consent.gated for word in one.by)
    return Evidenced(
        answer.entries, f"the author is none of the {len(people)} people who approved, each with a key of their own",
        (*answer.lacking, "roles in other systems than the guard"),
    )  # fmt: skip
