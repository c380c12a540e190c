from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.plans import PLAN, plan

from verdigris.judge.verdict import Outcome
from verdigris.plan.gates import ONE_APPROVER
from verdigris.plan.plan import BreakGlass, Freeze, Otherwise, Schedule, WhenWorse
from verdigris.rollout.decisions import DECISION_HOLDS_S, UNWATCHED_MAX_S, Seen, begin, decide, may_go_on
from verdigris.rollout.position import Position, routing_of
from verdigris.rollout.transitions import TRANSITIONS, Event, Phase
from verdigris.traffic.data_plane import BASELINE_ONLY, Routing

NOW = 1_000_000.0
FIRST = Position(Phase.WATCHING, 4, 0, NOW, NOW, NOW)
LAST = Position(Phase.WATCHING, 6, 1, NOW, NOW, NOW)
BAKING = Position(Phase.BAKING, 8, 2, NOW, NOW, NOW)


def seen(after_s: float, verdict: Outcome | None = Outcome.NOT_ENOUGH_DATA, requests: int = 0, **more: object) -> Seen:
    """After so long in force, by both clocks, and looked at."""
    return Seen(NOW + after_s, verdict, "what the judge says", requests, **({"looks": 1, "in_force_s": after_s} | more))  # type: ignore[arg-type]


def test_a_first_step_may_ask_for_requests_without_a_finding() -> None:
    assert decide(PLAN, FIRST, seen(50, requests=49)).reason == "1 more traced requests of the candidate"
    assert decide(PLAN, FIRST, seen(50, requests=50)).event is Event.STEP_PASSED


def test_no_step_ends_before_its_minimum_time() -> None:
    early = decide(PLAN, FIRST, seen(9, requests=1000))
    assert (early.event, early.until_unix_s) == (Event.UNDECIDED, NOW + 10)


def test_the_last_step_wants_a_pass_whatever_the_number_of_requests() -> None:
    assert decide(PLAN, LAST, seen(50, requests=10**6)).event is Event.UNDECIDED
    assert decide(PLAN, LAST, seen(50, Outcome.PASS)).event is Event.STEP_PASSED


def test_a_step_without_evidence_at_its_end_holds_or_returns_and_never_goes_on() -> None:
    assert decide(PLAN, LAST, seen(100)).event is Event.EVIDENCE_MISSING
    assert decide(plan(without_evidence=Otherwise.RETURN), LAST, seen(100)).event is Event.RETURN_ASKED


def test_the_deadline_of_the_rollout_counts_from_its_first_shift() -> None:
    late = replace(LAST, step_since_unix_s=NOW + 950)
    assert decide(PLAN, late, seen(999, in_force_s=49)).event is Event.UNDECIDED
    assert decide(PLAN, late, seen(1000, in_force_s=50)).event is Event.EVIDENCE_MISSING
    assert decide(plan(without_evidence=Otherwise.RETURN), replace(late, phase=Phase.HOLDING), seen(1000)).event is Event.RETURN_ASKED


@pytest.mark.parametrize("verdict", [Outcome.FAIL, Outcome.BLIND])
@pytest.mark.parametrize("phase", [Phase.WATCHING, Phase.BAKING, Phase.HOLDING, Phase.WAITING_FOR_APPROVAL])
def test_worse_goes_back_from_everywhere(phase: Phase, verdict: Outcome) -> None:
    position = replace(FIRST, phase=phase)
    assert decide(PLAN, position, seen(1, verdict)).event is Event.FAILED
    assert decide(plan(when_worse=WhenWorse.FREEZE), position, seen(1, verdict)).event is Event.FAILED_IRREVERSIBLE


def test_the_absolute_guard_needs_no_verdict() -> None:
    decision = decide(PLAN, FIRST, seen(1, None, worse="25 of 30 requests failed"))
    assert (decision.event, decision.reason) == (Event.FAILED, "25 of 30 requests failed")


def test_what_nobody_can_look_at_holds_and_then_goes_back() -> None:
    assert decide(PLAN, FIRST, seen(50, requests=100, stalled_s=1.0)).event is Event.EVIDENCE_MISSING
    holding = replace(FIRST, phase=Phase.HOLDING)
    assert decide(PLAN, holding, seen(50, stalled_s=UNWATCHED_MAX_S)).event is Event.UNDECIDED
    assert decide(PLAN, holding, seen(50, stalled_s=UNWATCHED_MAX_S + 1)).event is Event.RETURN_ASKED
    assert decide(plan(when_worse=WhenWorse.FREEZE), holding, seen(50, stalled_s=1e6)).event is Event.UNDECIDED


def test_a_freeze_stops_what_moves_forward_and_nothing_else() -> None:
    frozen = plan(schedule=Schedule(freezes=(Freeze(NOW, NOW + 500, "end of year"),)))
    waits = decide(frozen, FIRST, seen(20, requests=100))
    assert (waits.event, waits.reason, waits.until_unix_s) == (Event.UNDECIDED, "the end of the freeze: end of year", NOW + 500)
    assert decide(frozen, BAKING, seen(50)).event is Event.UNDECIDED
    assert decide(frozen, FIRST, seen(20, Outcome.FAIL)).event is Event.FAILED
    assert begin(frozen, NOW).event is Event.UNDECIDED
    assert begin(frozen, NOW + 500).event is Event.READY


def test_outside_its_schedule_a_rollout_does_not_move_forward() -> None:
    assert begin(plan(schedule=Schedule(not_before_unix_s=NOW + 5)), NOW).until_unix_s == NOW + 5
    assert begin(plan(schedule=Schedule(not_after_unix_s=NOW)), NOW).event is Event.EVIDENCE_MISSING


def test_a_gate_waits_for_somebody() -> None:
    gated = plan(steps=(PLAN.steps[0], replace(PLAN.steps[1], gate=ONE_APPROVER)))
    assert decide(gated, FIRST, seen(20, requests=100)).event is Event.APPROVAL_NEEDED
    waiting = replace(FIRST, phase=Phase.WAITING_FOR_APPROVAL)
    lacks = decide(gated, waiting, seen(20, requests=100, gate="1 more of approver"))
    assert (lacks.event, lacks.reason) == (Event.UNDECIDED, "approval of the step to 50 %: 1 more of approver")
    assert decide(gated, waiting, seen(20, requests=100, approved=True)).event is Event.APPROVED
    assert begin(plan(steps=(replace(PLAN.steps[0], gate=ONE_APPROVER), PLAN.steps[1])), NOW).event is Event.APPROVAL_NEEDED


def test_the_switch_has_a_gate_of_its_own() -> None:
    gated = plan(switch_gate=ONE_APPROVER)
    asks = decide(gated, LAST, seen(20, Outcome.PASS))
    assert (asks.event, asks.reason) == (Event.APPROVAL_NEEDED, "approval of the switch")
    assert decide(PLAN, LAST, seen(20, Outcome.PASS)).event is Event.STEP_PASSED


def test_a_freeze_that_was_overridden_holds_nothing_back() -> None:
    frozen = plan(schedule=Schedule(freezes=(Freeze(NOW, NOW + 500, "holidays"),), break_glass=BreakGlass(ONE_APPROVER, 60)))
    assert begin(frozen, NOW, freeze_lifted=True).event is Event.READY
    assert decide(frozen, FIRST, seen(20, requests=100)).event is Event.UNDECIDED
    assert decide(frozen, FIRST, seen(20, requests=100, freeze_lifted=True)).event is Event.STEP_PASSED
    shifting = replace(FIRST, phase=Phase.SHIFTING)
    assert may_go_on(frozen, shifting, NOW + 5) is not None
    assert may_go_on(frozen, shifting, NOW + 5, freeze_lifted=True) is None


BAKED_S = PLAN.bake_s + PLAN.observation.window_s + PLAN.observation.settle_s


def test_a_bake_ends_when_it_was_watched_and_its_last_window_looked_at() -> None:
    assert decide(PLAN, BAKING, seen(BAKED_S - 1, requests=9)).event is Event.UNDECIDED
    assert decide(PLAN, BAKING, seen(BAKED_S, None, requests=9)).event is Event.UNDECIDED
    assert decide(PLAN, BAKING, seen(BAKED_S, requests=9)).event is Event.BAKED


@pytest.mark.parametrize("unwatched", [{"in_force_s": 1.0}, {"looks": 0}, {"requests": 0}])
def test_nothing_is_committed_on_a_bake_that_nobody_watched(unwatched: dict[str, int]) -> None:
    """A guard that comes back after a while, and a clock that is set: the wall clock says that the bake is over."""
    assert decide(PLAN, BAKING, seen(3600, Outcome.PASS, **({"requests": 9} | unwatched))).event is not Event.BAKED


def test_what_was_shown_at_one_step_does_not_pass_the_next() -> None:
    waits = decide(PLAN, LAST, seen(50, Outcome.PASS, requests=10**6, looks=0))
    assert (waits.event, waits.reason) == (Event.UNDECIDED, "the first look at this step")
    assert decide(PLAN, LAST, seen(50, Outcome.FAIL, looks=0)).event is Event.FAILED


def test_a_clock_that_is_set_ends_no_minimum_time() -> None:
    assert decide(PLAN, FIRST, seen(3599, requests=1000, in_force_s=9.0)).event is not Event.STEP_PASSED


def test_an_approval_after_the_deadline_moves_nothing_forward() -> None:
    waiting = replace(FIRST, phase=Phase.WAITING_FOR_APPROVAL)
    assert decide(PLAN, waiting, seen(1000, approved=True)).event is Event.EVIDENCE_MISSING


def test_a_guard_that_comes_back_does_only_what_was_decided_lately() -> None:
    shifting = replace(FIRST, phase=Phase.SHIFTING)
    assert may_go_on(PLAN, shifting, NOW + DECISION_HOLDS_S) is None
    for away_s in (DECISION_HOLDS_S + 1, -3600.0):
        assert "nobody has looked since" in (may_go_on(PLAN, shifting, NOW + away_s) or "")
    frozen = plan(schedule=Schedule(freezes=(Freeze(NOW, NOW + 500, "end of year"),)))
    assert may_go_on(frozen, shifting, NOW + 1) == "it may not move forward now; it must wait for the end of the freeze: end of year"


@given(
    phase=st.sampled_from([Phase.WATCHING, Phase.BAKING, Phase.HOLDING, Phase.WAITING_FOR_APPROVAL, Phase.FROZEN]),
    step=st.integers(0, 1), after_s=st.floats(0, 3000), verdict=st.sampled_from([*Outcome, None]), requests=st.integers(0, 10**6),
    worse=st.none() | st.just("worse"), stalled_s=st.floats(0, 1000), approved=st.booleans(),
    otherwise=st.sampled_from(Otherwise), when_worse=st.sampled_from(WhenWorse),
)  # fmt: skip
def test_every_decision_is_in_the_table_and_nothing_worse_goes_on(
    phase: Phase, step: int, after_s: float, verdict: Outcome | None, requests: int, worse: str | None, stalled_s: float,
    *, approved: bool, otherwise: Otherwise, when_worse: WhenWorse,
) -> None:  # fmt: skip
    asked = plan(without_evidence=otherwise, when_worse=when_worse)
    position = Position(phase, 5, 2 if phase is Phase.BAKING else step, NOW, NOW, NOW)
    if phase is Phase.WAITING_FOR_APPROVAL:
        position = replace(position, step=0)
    decision = decide(asked, position, seen(after_s, verdict, requests, worse=worse, stalled_s=stalled_s, approved=approved))
    assert decision.event in TRANSITIONS[phase]
    if decision.event in {Event.STEP_PASSED, Event.APPROVED, Event.BAKED}:
        assert worse is None
        assert verdict not in {Outcome.FAIL, Outcome.BLIND}
    if decision.event is Event.STEP_PASSED and step == 1:
        assert verdict is Outcome.PASS


def test_a_position_moves_through_the_plan_and_knows_what_should_be_in_force() -> None:
    position = Position(since_unix_s=NOW)
    for event, routing in (
        (Event.BEGUN, BASELINE_ONLY), (Event.READY, Routing(5.0)), (Event.STEP_IN_FORCE, Routing(5.0)), (Event.STEP_PASSED, Routing(50.0)),
        (Event.HOLD_ASKED, Routing(50.0)), (Event.RESUMED, Routing(50.0)), (Event.STEP_IN_FORCE, Routing(50.0)),
        (Event.STEP_PASSED, Routing(95.0)), (Event.SWITCH_IN_FORCE, Routing(95.0)), (Event.BAKED, Routing(95.0)),
        (Event.COMMIT_IN_FORCE, Routing(100.0)),
    ):  # fmt: skip
        position = position.moved(event, "because", NOW + position.sequence)
        assert position.routing(PLAN) == routing, event
    assert position.ended
    assert position.sequence == 11
    assert position.first_shift_unix_s == NOW + 2
    assert routing_of(PLAN, 2) == Routing(95.0)


def test_a_candidate_that_returns_has_nothing_in_force() -> None:
    assert LAST.moved(Event.FAILED, "worse", NOW).routing(PLAN) == BASELINE_ONLY
