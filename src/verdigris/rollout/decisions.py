"""From what is seen to what happens next: values in, one decision out. Pure. Ignorance never promotes.

Order matters: what people ask for and what is worse comes before what is missing, and what is missing before what has passed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from verdigris.judge.verdict import Outcome
from verdigris.plan.plan import Otherwise, Plan, WhenWorse
from verdigris.rollout.position import Position
from verdigris.rollout.transitions import Event, Phase

WORSE = frozenset({Outcome.FAIL, Outcome.BLIND})

UNWATCHED_MAX_S = 60
"""A candidate that holds keeps its traffic for so long without a look; the proxy's own counters still guard it."""

DECISION_HOLDS_S = 60
"""A guard that comes back does what was decided before it went away, if that was not longer ago."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known at one moment.

    `traced_candidate_requests` and `looks` (windows): since the step's weight is in force. `in_force_s`: for how long this guard has kept
    it in force, by a clock that nobody can set. `worse`: the absolute guard's sentence, if it speaks. `stalled_s`: for how long,
    beyond what is usual, nothing could be looked at. `approved`: everybody whom the gate of the next step asks has agreed; `gate`: who has,
    or what it waits for, in words. `freeze_lifted`: whoever may override the freeze that holds has done so.
    """

    now_unix_s: float
    verdict: Outcome | None
    summary: str
    traced_candidate_requests: int
    looks: int = 0
    in_force_s: float = 0.0
    worse: str | None = None
    stalled_s: float = 0.0
    approved: bool = False
    gate: str = ""
    freeze_lifted: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens next and why; where nothing does (UNDECIDED), what is waited for and until when at the latest."""

    event: Event
    reason: str
    until_unix_s: float | None = None


def decide(plan: Plan, position: Position, seen: Seen) -> Decision:
    """The next event of a rollout in a phase that is watched."""
    if position.phase is Phase.FROZEN:
        return Decision(Event.UNDECIDED, f"people to decide: {position.reason}")
    worse = seen.worse or (seen.summary if seen.verdict in WORSE else None)
    if worse is not None:
        return Decision(Event.FAILED if plan.when_worse is WhenWorse.RETURN else Event.FAILED_IRREVERSIBLE, worse)
    if seen.stalled_s and position.phase is not Phase.HOLDING:
        return Decision(Event.EVIDENCE_MISSING, "nothing can be looked at: no window was closed in time")
    return _WATCHED[position.phase](plan, position, seen)


def may_move_forward(plan: Plan, now_unix_s: float, *, freeze_lifted: bool = False) -> Decision | None:
    """None, or what the schedule makes a forward move wait for."""
    schedule = plan.schedule
    freeze = None if freeze_lifted else schedule.freeze_at(now_unix_s)
    if freeze is not None:
        return Decision(Event.UNDECIDED, f"the end of the freeze: {freeze.reason}", freeze.end_unix_s)
    if schedule.not_before_unix_s is not None and now_unix_s < schedule.not_before_unix_s:
        return Decision(Event.UNDECIDED, "the time from which the plan may move forward", schedule.not_before_unix_s)
    if schedule.not_after_unix_s is not None and now_unix_s >= schedule.not_after_unix_s:
        return Decision(Event.EVIDENCE_MISSING, "the time until which the plan may move forward is over")
    return None


def may_go_on(plan: Plan, position: Position, now_unix_s: float, *, freeze_lifted: bool = False) -> str | None:
    """Whether what was decided may still be done by a guard that has come back. None if so, else why not."""
    late = may_move_forward(plan, now_unix_s, freeze_lifted=freeze_lifted)
    if late is not None:
        return f"it may not move forward now; it must wait for {late.reason}" if late.event is Event.UNDECIDED else late.reason
    away_s = abs(now_unix_s - position.since_unix_s)
    return f"it was decided {away_s:.0f} s ago, and nobody has looked since" if away_s > DECISION_HOLDS_S else None


def begin(plan: Plan, now_unix_s: float, *, freeze_lifted: bool = False) -> Decision:
    """What follows a preflight that found nothing wrong."""
    if plan.gate_before(0):
        return Decision(Event.APPROVAL_NEEDED, _approval(plan, 0))
    return may_move_forward(plan, now_unix_s, freeze_lifted=freeze_lifted) or Decision(
        Event.READY, "the proxy answers and the baseline is known"
    )


def _stepping(plan: Plan, position: Position, seen: Seen) -> Decision:
    step = plan.steps[position.step]
    began = position.step_since_unix_s if position.step_since_unix_s is not None else seen.now_unix_s
    lacking = _lacking(plan, position, seen)
    if lacking is None and seen.in_force_s >= step.minimum_s:
        following = position.step + 1
        if plan.gate_before(following):
            return Decision(Event.APPROVAL_NEEDED, _approval(plan, following))
        shown = Decision(Event.STEP_PASSED, f"shown at {step.weight_percent:g} %: {seen.summary}")
        return _forward(plan, seen) or shown
    if max(seen.now_unix_s - began, seen.in_force_s) >= step.maximum_s:
        return _without_evidence(plan, f"after {step.maximum_s:g} s at {step.weight_percent:g} % there is still missing: {lacking}")
    late = _at_deadline(plan, position, seen)
    if late is not None:
        return late
    if lacking is None:
        until = seen.now_unix_s + step.minimum_s - seen.in_force_s
        return Decision(Event.UNDECIDED, f"the minimum time at {step.weight_percent:g} %", until)
    return Decision(Event.UNDECIDED, lacking, began + step.maximum_s)


def _waiting(plan: Plan, position: Position, seen: Seen) -> Decision:
    late = _at_deadline(plan, position, seen)
    if late is None and seen.approved:
        return _forward(plan, seen) or Decision(Event.APPROVED, f"approved by {seen.gate}")
    lacks = f": {seen.gate}" if seen.gate else ""
    return late or Decision(Event.UNDECIDED, f"{_approval(plan, position.step + 1)}{lacks}", _deadline(plan, position))


def _lacking(plan: Plan, position: Position, seen: Seen) -> str | None:
    """None when the step has shown what it must; else what is missing, in words."""
    required = plan.steps[position.step].required
    if not seen.looks or seen.verdict is None:  # what was shown at another weight says nothing of this one
        return "the first look at this step"
    if required.passed and seen.verdict is not Outcome.PASS:
        return f"a PASS: {seen.summary}" if seen.summary else "a PASS"
    if seen.traced_candidate_requests < required.candidate_requests:
        return f"{required.candidate_requests - seen.traced_candidate_requests} more traced requests of the candidate"
    return None


def _baking(plan: Plan, position: Position, seen: Seen) -> Decision:
    """A bake is over when it has been watched for so long, and its last window has been looked at."""
    remaining_s = plan.bake_s + plan.observation.window_s + plan.observation.settle_s - seen.in_force_s
    if remaining_s > 0:
        return Decision(Event.UNDECIDED, "the end of the bake", seen.now_unix_s + remaining_s)
    if seen.verdict is None or not seen.looks or not seen.traced_candidate_requests:
        return _at_deadline(plan, position, seen) or Decision(Event.UNDECIDED, "a trace of the candidate from the bake")
    return _forward(plan, seen) or Decision(Event.BAKED, f"baked for {plan.bake_s:g} s without a finding")


def _holding(plan: Plan, position: Position, seen: Seen) -> Decision:
    if seen.stalled_s > UNWATCHED_MAX_S and position.step >= 0 and plan.when_worse is WhenWorse.RETURN:
        return Decision(
            Event.RETURN_ASKED, f"nothing could be looked at for {UNWATCHED_MAX_S} s; a candidate nobody watches has no traffic"
        )
    if plan.without_evidence is Otherwise.RETURN:
        late = _at_deadline(plan, position, seen)
        if late is not None:
            return late
    return Decision(Event.UNDECIDED, f"somebody to resume or abort: {position.reason}", _deadline(plan, position))


def _deadline(plan: Plan, position: Position) -> float | None:
    return None if position.first_shift_unix_s is None else position.first_shift_unix_s + plan.deadline_s


def _at_deadline(plan: Plan, position: Position, seen: Seen) -> Decision | None:
    deadline = _deadline(plan, position)
    if deadline is None or seen.now_unix_s < deadline:
        return None
    return _without_evidence(plan, f"the deadline of {plan.deadline_s:g} s is over")


def _without_evidence(plan: Plan, why: str) -> Decision:
    return Decision(Event.RETURN_ASKED if plan.without_evidence is Otherwise.RETURN else Event.EVIDENCE_MISSING, why)


def _forward(plan: Plan, seen: Seen) -> Decision | None:
    return may_move_forward(plan, seen.now_unix_s, freeze_lifted=seen.freeze_lifted)


def _approval(plan: Plan, step: int) -> str:
    return f"approval of {plan.step_text(step)}"


_WATCHED: Mapping[Phase, Callable[[Plan, Position, Seen], Decision]] = {
    Phase.WATCHING: _stepping,
    Phase.WAITING_FOR_APPROVAL: _waiting,
    Phase.BAKING: _baking,
    Phase.HOLDING: _holding,
}
