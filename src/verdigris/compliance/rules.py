"""The rules that decide what entries say of a control. Pure: a rule sees the facts of one rollout and nothing else.

A rule claims no more than its entries show. What a control asks for beyond that is told as `lacking`; where the entries show nothing of
what it asks for, or it cannot be told whether they do, the answer is that the rollout does not cover it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from verdigris.compliance.answers import Answer, Contradicted, Evidenced, NotCovered
from verdigris.compliance.approval_rules import change_is_approved
from verdigris.compliance.consent import Entry
from verdigris.compliance.facts import PERCENT_ERROR, Facts, percent_of
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.statement import ActorKind, Outcome

Rule = Callable[[Facts], Answer]

CHANGE_FIELDS = ("reason", "security_impact", "rollback_plan", "ticket", "author")
"""What a plan must say of its change."""

DECIDED, UNDECIDED = ("PASS", "FAIL"), "NOT_ENOUGH_DATA"
OPEN_DOOR = "refused less"
"""The finding that requests which the baseline refuses get through."""

LEAKED = ("sensitive data", "more sensitive data", "new operation sends sensitive data")
"""The findings that the candidate sends sensitive data that the baseline does not send."""

ORIGIN = "from"
"""The field of a card that says from where somebody acted."""

ERASED_PLAN = "the plan was erased: what it said of the change cannot be shown any more"


def outside(why: str) -> Rule:
    """Nothing that a rollout leaves speaks of it."""
    return lambda _facts: NotCovered(why)


def every_act_is_recorded(facts: Facts) -> Answer:
    """The entries of a rollout are numbered without a gap, and each says what happened."""
    gap = facts.first_gap()
    if gap is not None:
        return Contradicted((facts.indices[gap],), f"entries of the rollout are missing before entry {facts.indices[gap]}")
    late = sum(entry.statement.late for entry in facts.entries)
    told = f"; {late} of them were entered after the act" if late else ""
    return Evidenced(
        facts.indices, f"{len(facts.entries)} entries, numbered without a gap, say what the guard did and was asked{told}",
        ("logs of the systems themselves: these entries are the guard's",),
    )  # fmt: skip


def entries_have_all_fields(facts: Facts) -> Answer:
    """Who, what, when, with which outcome, on what, and from where: the last is in the card, where it is told at all."""
    for entry in facts.entries:
        card = facts.card(entry)
        if card is None:
            return NotCovered(f"the card of the actor of entry {entry.index} was erased: who it was cannot be shown any more")
        if not card.get(ORIGIN):
            return NotCovered(f"entries have who, what, when, outcome and object; from where is not told (entry {entry.index})")
    return Evidenced(facts.indices, "every entry has who, what, when, outcome, object and from where")


def entries_are_signed(facts: Facts) -> Answer:
    """Entries were read from a log of signed envelopes under a signed head: a change of one shows."""
    return Evidenced(
        facts.indices, "every entry is in an envelope that the guard's key signed, and in the Merkle log under its signed checkpoint",
        (
            "that the log's tail was not cut off: an earlier checkpoint that somebody outside holds shows it",
            "that somebody verifies the log, and is alerted",
        ),
    )  # fmt: skip


def times_are_exact(facts: Facts) -> Answer:
    """Entries have UTC to the nanosecond; whether the clock is right is told with it."""
    loose = [entry.index for entry in facts.entries if not entry.statement.clock.synchronised]
    lacking = (f"that the clock was right: the operating system did not say that it is synchronised (entry {loose[0]})",) if loose else ()
    return Evidenced(facts.indices, "every entry has its time in UTC, and what the operating system says of its clock", lacking)


def clock_is_synchronised(facts: Facts) -> Answer:
    """The operating system says of every entry's time that its clock is synchronised. Where it does not say so, nothing is known."""
    loose = [entry.index for entry in facts.entries if not entry.statement.clock.synchronised]
    if loose:
        return NotCovered(f"the operating system did not say that its clock is synchronised (entry {loose[0]})")
    errors = [error for entry in facts.entries if (error := entry.statement.clock.error_ms) is not None]
    bound = f", with an error of at most {max(errors)} ms" if errors else ""
    return Evidenced(
        facts.indices, f"the operating system of the guard said of every entry's time that its clock is synchronised{bound}",
        ("clocks of other systems", "where the time comes from, and who may set it"),
    )  # fmt: skip


def outage_of_the_log_is_recorded(facts: Facts) -> Answer:
    """What could not be written was kept, and entered later, marked."""
    late = tuple(entry.index for entry in facts.entries if entry.statement.late)
    if not late:
        return NotCovered("the ledger could be written all the time: no outage of it was there to answer")
    return Evidenced(late, f"{len(late)} entries could not be written when they were due; they were kept and entered later, marked late",
                     ("that somebody was alerted",))  # fmt: skip


def privileged_acts_are_recorded(facts: Facts) -> Answer:
    """What people asked of the rollout is in entries that name them."""
    asked = facts.of(Kind.PLAN_SUBMITTED, Kind.REQUEST, Kind.FREEZE_OVERRIDDEN)
    by_people = tuple(entry.index for entry in asked if entry.statement.actor.kind is ActorKind.PERSON)
    if not by_people:
        return NotCovered("no person asked anything of this rollout")
    erased = [entry.index for entry in facts.at(by_people) if facts.card(entry) is None]
    if erased:
        return NotCovered(f"the card of the actor of entry {erased[0]} was erased: who it was cannot be shown any more")
    return Evidenced(by_people, "what people asked of the rollout is in entries that name who it was",
                     ("other privileged functions than those of the guard",))  # fmt: skip


def change_is_documented(facts: Facts) -> Answer:
    """The plan says why, with which security impact, how to go back, under which ticket, and whose it is."""
    submitted = facts.of(Kind.PLAN_SUBMITTED)
    plan = facts.plan()
    if not submitted or plan is None:
        return NotCovered("no plan was submitted" if not submitted else ERASED_PLAN)
    change = plan.get("change")
    said = change if isinstance(change, dict) else {}
    missing = [name for name in CHANGE_FIELDS if not str(said.get(name) or "").strip()]
    if missing:
        return Contradicted((submitted[0].index,), f"the plan was accepted without: {', '.join(missing)}")
    return Evidenced((submitted[0].index,), "the plan, submitted before anything moved, gives reason, security impact, way back and ticket")


def impact_is_documented(facts: Facts) -> Answer:
    """The plan says what the change means for security, before it is made."""
    answer = change_is_documented(facts)
    if not isinstance(answer, Evidenced):
        return answer
    return Evidenced(answer.entries, "the plan, submitted before anything moved, says what the change means for security",
                     ("the analysis itself: the plan has its result in words",))  # fmt: skip


def changes_are_announced(facts: Facts) -> Answer:
    """Every weight that the proxy was seen to have was announced in an entry before."""
    intended: list[float] = []
    entries: list[int] = []
    for entry in facts.of(Kind.WEIGHT_INTENDED, Kind.COMMIT_INTENDED, Kind.WEIGHT_OBSERVED, Kind.COMMIT_OBSERVED):
        percent = percent_of(entry)
        if entry.statement.outcome is Outcome.ANNOUNCED and percent is not None:
            intended.append(percent)
        elif entry.statement.outcome is Outcome.SEEN and percent and not _among(percent, intended):
            return Contradicted((entry.index,), f"{percent:g} % of the traffic went to the candidate, and no entry before announces it")
        entries.append(entry.index)
    if not entries:
        return NotCovered("no traffic was moved")
    return Evidenced(tuple(entries), "every weight of the candidate was announced before, and read back from the proxy after")


def _among(percent: float, intended: list[float]) -> bool:
    return any(abs(percent - one) <= PERCENT_ERROR for one in intended)


def tested_before_it_was_final(facts: Facts) -> Answer:
    """A candidate became the durable default only after a PASS that no FAIL and no BLIND followed; or it was found worse, and did not.

    A bake ends without a PASS of its own: all traffic is on the candidate then, and there is little left to compare with.
    """
    committed, verdicts = facts.of(Kind.COMMIT_INTENDED), facts.of(Kind.VERDICT)
    if committed:
        before = [entry for entry in verdicts if entry.index < committed[0].index]
        decided = [entry for entry in before if entry.statement.values["verdict"] != UNDECIDED]
        if not decided or decided[-1].statement.values["verdict"] != "PASS":
            found = f"the verdict {decided[-1].statement.values['verdict']}" if decided else "no verdict that decides"
            where = (*(entry.index for entry in decided[-1:]), committed[0].index)
            return Contradicted(where, f"the candidate was made the durable default on {found}")
        since = before[-1] is not decided[-1]
        return Evidenced(
            (decided[-1].index, committed[0].index), "the candidate was made the durable default after a PASS on real traffic",
            (f"a PASS on what came after it: the last verdict was {UNDECIDED} (entry {before[-1].index})",) if since else (),
        )  # fmt: skip
    back = facts.back_at_baseline()
    if back is not None and verdicts and verdicts[-1].statement.values["verdict"] == "FAIL":
        return Evidenced((verdicts[-1].index, back.index), "the candidate was found worse on real traffic, and did not become the default")
    return NotCovered("the change was neither made final nor found worse")


def change_is_controlled(facts: Facts) -> Answer:
    """Documented, approved, announced step by step, and tested before it is final."""
    parts = [change_is_approved(facts), change_is_documented(facts), changes_are_announced(facts), tested_before_it_was_final(facts)]
    for part in parts:
        if isinstance(part, Contradicted):
            return part
    shown = [part for part in parts if isinstance(part, Evidenced)]
    if not isinstance(parts[1], Evidenced):
        return parts[1]
    names = (
        f"approval by an authorised person: {parts[0].why}", "", "traffic: none was moved",
        "a test of it: it was neither made final nor found worse",
    )  # fmt: skip
    lacking = tuple(name for part, name in zip(parts, names, strict=True) if isinstance(part, NotCovered))
    entries = tuple(sorted({index for part in shown for index in part.entries}))
    return Evidenced(entries, "; ".join(part.why for part in shown), (*lacking, *(one for part in shown for one in part.lacking)))


def change_is_evaluated(facts: Facts) -> Answer:
    """The candidate was judged on real traffic, with a decided verdict."""
    verdicts = tuple(entry.index for entry in facts.of(Kind.VERDICT) if entry.statement.values["verdict"] in DECIDED)
    if not verdicts:
        return NotCovered("no verdict of this rollout decided anything")
    return Evidenced(verdicts, "the changed system was evaluated against the unchanged one on real traffic",
                     ("whether safeguards and policies meet the rule: behaviour was evaluated, not policies",))  # fmt: skip


def anomalies_are_watched_for(facts: Facts) -> Answer:
    """Verdicts say how the candidate behaves; a rollout that was finished blind says that nobody saw."""
    committed, blind = facts.of(Kind.COMMIT_INTENDED), facts.of(Kind.TELEMETRY_BLIND, Kind.TELEMETRY_RESTORED)
    unseen = [entry for entry in blind if committed and entry.index < committed[0].index][-1:]
    if unseen and unseen[0].statement.kind is Kind.TELEMETRY_BLIND:
        return Contradicted((unseen[0].index, committed[0].index), "the candidate was made the default while its traces did not come")
    verdicts = tuple(entry.index for entry in facts.of(Kind.VERDICT) if entry.statement.values["verdict"] in DECIDED)
    if not verdicts:
        return NotCovered("no verdict of this rollout decided anything")
    return Evidenced(verdicts, "the candidate's behaviour was compared with the baseline's while it had traffic",
                     ("the time before and after the rollout", "other components"))  # fmt: skip


def returned_to_known_state(facts: Facts) -> Answer:
    """Where the rollout went back, the proxy said that it did."""
    announced = facts.of(Kind.ROLLBACK_INTENDED)
    if not announced:
        return NotCovered("nothing had to be recovered: the rollout did not go back")
    back = facts.back_at_baseline()
    if back is not None:
        return Evidenced((announced[-1].index, back.index), "all traffic went back to the baseline, read back from the proxy",
                         ("state and data beside the traffic",))  # fmt: skip
    if facts.ended_as is not None:
        return Contradicted((announced[-1].index, facts.indices[-1]), "the rollout ended, and the proxy never said that it is back")
    return NotCovered("the way back was announced, and has not ended in the record")


def foreign_weights_are_answered(facts: Facts) -> Answer:
    """The proxy had another weight than was asked for, and the rollout went back."""
    foreign = tuple(
        entry.index for entry in facts.of(Kind.WEIGHT_OBSERVED)
        if entry.statement.outcome is Outcome.FAILED and percent_of(entry) is not None
    )  # fmt: skip
    back = facts.back_at_baseline()
    if not foreign:
        return NotCovered("the proxy was never seen with another weight than was asked for")
    if back is None or back.index < foreign[-1]:
        return NotCovered("the proxy was seen with another weight than was asked for, and the rollout did not go back")
    return Evidenced((*foreign, back.index), "the proxy was seen with another weight than was asked for; all traffic went back",
                     ("settings other than weights",))  # fmt: skip


def suspected_intrusion_is_answered(facts: Facts) -> Answer:
    """Requests that the baseline refuses got through the candidate, and it lost its traffic."""
    doors = tuple(entry.index for entry in facts.of(Kind.FINDING) if entry.statement.values["signal"] == OPEN_DOOR)
    if not doors:
        return NotCovered("no finding of this rollout suggests a security incident")
    committed = [entry.index for entry in facts.of(Kind.COMMIT_INTENDED) if entry.index > doors[0]]
    if committed:
        return Contradicted(
            (doors[0], committed[0]), "requests that the baseline refuses got through, and the candidate became the default"
        )
    back = facts.back_at_baseline()
    if back is None or back.index < doors[0]:
        return NotCovered("requests that the baseline refuses got through, and the rollout has not gone back in the record")
    return Evidenced((*doors, back.index), "requests that the baseline refuses got through the candidate; all traffic went back",
                     ("what was done with those requests", "who was told"))  # fmt: skip


def leaks_are_answered(what: str, *detectors: str) -> Rule:
    """What one of these detectors finds in the candidate's telemetry, and not in the baseline's, takes its traffic away."""

    def rule(facts: Facts) -> Answer:
        found = [entry for entry in facts.of(Kind.FINDING) if entry.statement.values["signal"] in LEAKED]
        said = [(entry, facts.finding(entry)) for entry in found]
        if found and not all(each for _, each in said):
            return NotCovered("what was found of sensitive data was erased: whether it was this cannot be shown any more")
        leaks = tuple(entry.index for entry, each in said if _detectors(each) & set(detectors))
        if not leaks:
            return NotCovered(f"no finding of this rollout is of {what}; that none was sent is not shown by that")
        seen = f"the candidate's telemetry had {what} that the baseline's has not"
        committed = [entry.index for entry in facts.of(Kind.COMMIT_INTENDED) if entry.index > leaks[0]]
        if committed:
            return Contradicted((leaks[0], committed[0]), f"{seen}, and the candidate became the default")
        back = facts.back_at_baseline()
        if back is None or back.index < leaks[0]:
            return NotCovered(f"{seen}, and the rollout has not gone back in the record")
        return Evidenced(
            (*leaks, back.index), f"{what} appeared in the candidate's telemetry and not in the baseline's; all traffic went back",
            ("other places than telemetry that came to the guard", "what became of telemetry that was sent elsewhere too"),
        )  # fmt: skip

    return rule


def _detectors(finding: Mapping[str, Any]) -> set[str]:
    words = finding.get("leaks")
    return {str(word).partition("@")[0] for word in words} if isinstance(words, list) else set()


def checked(check: str) -> Rule:
    """A check of the preflight, by its last result."""

    def rule(facts: Facts) -> Answer:
        done = [entry for entry in facts.of(Kind.PREFLIGHT_CHECK) if entry.statement.values["check"] == check]
        if not done:
            return NotCovered(f"this rollout has no check of {check}")
        last = done[-1]
        match last.statement.values["result"]:
            case "PASS":
                return Evidenced((last.index,), f"the check of {check} before any traffic moved found nothing wrong")
            case "FAIL":
                moved = tuple(_moved_after(facts, last))
                if moved:
                    return Contradicted((last.index, moved[0]), f"the check of {check} failed, and traffic was moved after it")
                return Evidenced((last.index,), f"the check of {check} failed, and no traffic was moved")
            case _:
                return NotCovered(f"the check of {check} could not tell")

    return rule


def _moved_after(facts: Facts, entry: Entry) -> Iterator[int]:
    return (one.index for one in facts.of(Kind.WEIGHT_INTENDED) if one.index > entry.index)
