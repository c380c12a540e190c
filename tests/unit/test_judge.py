import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verdigris.judge.judge import judge, ran_side_by_side
from verdigris.judge.streams import Stream, bucket_ms, operation_weights, slow_buckets, streams_of
from verdigris.judge.tallies import TimeHistogram, tally
from verdigris.judge.verdict import Judgement, Outcome, Severity, Signal
from verdigris.judge.windows import (
    UNIT,
    Edge,
    EdgeCounts,
    Operation,
    OperationCounts,
    RoleWindow,
    TraceCounts,
    Window,
    Windows,
)
from verdigris.plan.policy import InvalidPolicy, Policy, Tolerance

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import Fault, Service, windows_of

POLICY = Policy()
BUY, PAY, BANK = Operation("shop", "Server", "/buy"), Operation("shop", "Client", "/pay"), Operation("bank", "Server", "/pay")


def row(
    operation: Operation = BUY, n: int = 100, instance: str = "i0", buckets: Mapping[int, int] | None = None, **units: int
) -> OperationCounts:
    times = {b: k * UNIT for b, k in (buckets or {700: n // 2, 720: n - n // 2}).items()}
    counts = OperationCounts(
        operation, instance, n, n * UNIT, durations=times, exclusives=times, duration_ns=n * 5_000_000, exclusive_ns=n * 5_000_000,
        trace_ns=n * 5_000_000,
    )  # fmt: skip
    more: dict[str, Any] = {name: k * UNIT for name, k in units.items()}
    return replace(counts, **more)


def spread(n: int, later: int = 0) -> dict[int, int]:
    """Times over a hundred buckets, ten times from end to end; two heaps would leave a quantile nothing to tell between."""
    shares = np.exp(-0.5 * ((np.arange(100) - 50) / 18) ** 2)
    counts = np.floor(n * shares / shares.sum())
    counts[50] += n - counts.sum()
    return {700 + later + i: int(k) for i, k in enumerate(counts) if k}


def half(
    *rows: OperationCounts, edges: tuple[EdgeCounts, ...] = (), traces: int = 100, thresholds: Mapping[str, int] | None = None
) -> RoleWindow:
    return RoleWindow(TraceCounts(traces, traces, thresholds=thresholds or {}), rows, edges)


def steady(base: RoleWindow, cand: RoleWindow, windows: int = 30, *, concurrent: bool = True) -> Windows:
    if concurrent:
        return Windows(10, tuple(Window(10 * t, base, cand) for t in range(windows)))
    first = tuple(Window(10 * t, baseline=base) for t in range(windows))
    return Windows(10, first + tuple(Window(10 * t, candidate=cand) for t in range(windows, 2 * windows)))


def signals(judgement: Judgement) -> list[Signal]:
    return [f.signal for f in judgement.findings]


def test_a_silent_candidate_is_blind_and_a_missing_baseline_is_not_enough() -> None:
    here, nobody = half(row()), RoleWindow()
    silent = judge(steady(here, nobody), POLICY)
    assert silent.verdict is Outcome.BLIND
    assert signals(silent) == [Signal.NO_TRACES]
    assert silent.findings[0].evidence.baseline_requests == 3000
    assert judge(steady(nobody, here), POLICY).verdict is Outcome.NOT_ENOUGH_DATA
    assert judge(steady(nobody, nobody), POLICY).verdict is Outcome.NOT_ENOUGH_DATA
    assert judge(Windows(10, ()), POLICY).verdict is Outcome.NOT_ENOUGH_DATA


def test_side_by_side_is_half_of_the_shorter_role() -> None:
    both, alone = Window(0, half(row()), half(row())), Window(0, half(row()), RoleWindow())
    later = Window(0, RoleWindow(), half(row()))
    assert ran_side_by_side(Windows(10, (both, alone, alone, alone)))
    assert ran_side_by_side(Windows(10, (both, alone, later)))
    assert not ran_side_by_side(Windows(10, (both, alone, alone, later, later)))
    assert not ran_side_by_side(Windows(10, (alone, later)))


def test_equal_counts_pass_where_there_is_enough_of_them() -> None:
    busy = half(row(n=2000, buckets=spread(2000)), traces=2000)
    judgement = judge(steady(busy, busy), POLICY)
    assert judgement.verdict is Outcome.PASS
    assert judgement.missing == ()
    assert judge(steady(busy, busy, concurrent=False), POLICY).verdict is Outcome.PASS
    quiet = judge(steady(half(row(n=4)), half(row(n=4))), POLICY)
    assert quiet.verdict is Outcome.NOT_ENOUGH_DATA
    assert {m.operation for m in quiet.missing} == {BUY}
    assert all(m.need > m.have == 120 for m in quiet.missing)


def test_a_busy_service_does_not_pass_by_overflow() -> None:
    # At these counts one window of a healthy candidate is worth more nats than the exponential of a double can hold; what
    # follows is worse by more than is tolerated, and must be counted against it.
    n = 200_000
    well, worse = half(row(n=n, buckets=spread(n)), traces=n), half(row(n=n, buckets=spread(n, 12), errors=n // 100), traces=n)
    windows = Windows(10, tuple(Window(10 * t, well, well if t < 3 else worse) for t in range(40)))
    judgement = judge(windows, POLICY)
    assert judgement.verdict is Outcome.FAIL
    assert all(math.isfinite(f.evidence.log_e) for f in judgement.findings)
    assert judge(steady(well, well), POLICY).verdict is Outcome.PASS


def test_worse_by_what_a_pass_must_exclude_never_passes() -> None:
    base, cand = half(row(n=2000, buckets=spread(2000)), traces=2000), half(row(n=2000, buckets=spread(2000, 8)), traces=2000)
    verdicts = [judge(steady(base, cand, windows), POLICY).verdict for windows in (1, 2, 4, 30)]
    assert verdicts == [Outcome.NOT_ENOUGH_DATA] * 2 + [Outcome.FAIL] * 2


def test_an_operation_that_the_candidate_never_shows_cannot_pass() -> None:
    shown, other = row(n=2000, buckets=spread(2000)), row(BANK, n=2000, buckets=spread(2000))
    judgement = judge(steady(half(shown, other, traces=2000), half(shown, traces=2000)), POLICY)
    assert judgement.verdict is Outcome.NOT_ENOUGH_DATA
    assert {m.operation for m in judgement.missing} == {BANK}
    assert all(m.have == 0 for m in judgement.missing)


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "signal"),
    [
        ({"errors": 0, "error_origins": 0}, {"errors": 8, "error_origins": 8}, Signal.ERRORS),
        ({"refused": 1}, {"refused": 12}, Signal.REFUSED_MORE),
        ({"refused": 12}, {"refused": 1}, Signal.REFUSED_LESS),
        ({"rejected": 2}, {"rejected": 20}, Signal.REJECTED),
        ({"orphans": 0}, {"orphans": 20}, Signal.ORPHANS),
    ],
)
def test_each_outcome_is_asked_in_its_direction(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    signal: Signal,
    concurrent: bool,  # noqa: FBT001  # a parameter
) -> None:
    there, back = half(row(**before)), half(row(**after))
    judgement = judge(steady(there, back, concurrent=concurrent), POLICY)
    assert signals(judgement) == [signal]
    assert judgement.verdict is (Outcome.BLIND if signal is Signal.ORPHANS else Outcome.FAIL)
    assert judgement.findings[0].evidence.log_e >= judgement.findings[0].evidence.threshold
    # The other way round only the door is asked about again.
    expected = {Signal.REFUSED_MORE: [Signal.REFUSED_LESS], Signal.REFUSED_LESS: [Signal.REFUSED_MORE]}.get(signal, [])
    assert signals(judge(steady(back, there, concurrent=concurrent), POLICY)) == expected


def test_an_open_door_is_critical() -> None:
    judgement = judge(steady(half(row(refused=3)), half(row(refused=0)), windows=120), POLICY)
    assert [f.severity for f in judgement.findings] == [Severity.CRITICAL]
    assert "door" in judgement.findings[0].sentence


def test_a_new_kind_of_error_is_found_below_what_errors_tolerate() -> None:
    before, after = row(n=2000, errors=2), row(n=2000, errors=2)
    before = replace(before, error_kinds={"500": 2 * UNIT})
    after = replace(after, error_kinds={"500": UNIT, "panic": UNIT})
    judgement = judge(steady(half(before, traces=2000), half(after, traces=2000)), POLICY)
    assert signals(judgement) == [Signal.NEW_ERROR_KIND]


@pytest.mark.parametrize("concurrent", [True, False])
def test_slower_by_less_than_the_margin_is_tolerated(concurrent: bool) -> None:  # noqa: FBT001  # a parameter
    def moved(buckets: int) -> Judgement:
        cand = {700 + buckets: 50, 720 + buckets: 50}
        return judge(steady(half(row()), half(row(buckets=cand)), concurrent=concurrent), POLICY)

    # A margin of 9 % is four buckets, one of 19 % eight.
    margin = 4 if concurrent else 8
    assert moved(margin).verdict is not Outcome.FAIL
    assert moved(margin + 1).verdict is Outcome.FAIL
    assert signals(moved(margin + 1)) == [Signal.EXCLUSIVE_LATENCY]


def test_the_floor_on_latency_is_a_share_of_the_trace() -> None:
    histogram = TimeHistogram(600, np.array([[[10.0]]]))
    assert slow_buckets(histogram, 0.5, 0.09, 0.0) == (600, 604)
    # 2^(601/32) ns is .45 ms; with a millisecond more it is bucket 654 that ends below 1.45 ms.
    own, allowed = slow_buckets(histogram, 0.5, 0.09, 1.0)
    assert own == 600
    assert bucket_ms(allowed - 1) <= bucket_ms(own) + 1.0 < bucket_ms(allowed + 1)


def call(present: int, number: int = 1, last: int = 0) -> EdgeCounts:
    return EdgeCounts(Edge(BUY, PAY), present * UNIT, last * UNIT, {number: present * UNIT} if present else {})


def test_calls_that_lack_and_calls_that_are_too_many() -> None:
    usual = half(row(childless=1), row(PAY, n=99), edges=(call(99, last=99),))
    lost = judge(steady(usual, half(row(childless=40), row(PAY, n=60), edges=(call(60, last=60),))), POLICY)
    assert signals(lost) == [Signal.CALL_MISSING]
    assert lost.verdict is Outcome.FAIL
    assert lost.causes[0].service == "shop"
    twice = judge(steady(usual, half(row(childless=1), row(PAY, n=99), edges=(call(99, 2, last=99),))), POLICY)
    assert signals(twice) == [Signal.CALL_EXTRA]


def test_a_rare_call_is_missed_when_it_is_seen_less_often() -> None:
    def seen(n: int) -> RoleWindow:
        return half(row(childless=100 - n), row(PAY, n=n, buckets={710: n}), edges=(call(n, last=n),))

    assert signals(judge(steady(seen(10), seen(1)), POLICY)) == [Signal.CALL_MISSING]
    assert Signal.CALL_MISSING not in signals(judge(steady(seen(1), seen(10)), POLICY))
    effect = judge(steady(seen(10), seen(1)), POLICY).findings[0].effect
    assert effect.baseline == pytest.approx(0.1)
    assert effect.candidate == pytest.approx(0.01)


def test_the_other_sides_spans_that_do_not_come_are_blindness_unless_it_is_down() -> None:
    def reach(answered: int, errors: int = 0) -> RoleWindow:
        edges = (call(100), EdgeCounts(Edge(PAY, BANK), answered * UNIT, answered * UNIT, {1: answered * UNIT}))
        return half(row(errors=errors), row(PAY, errors=errors), row(BANK, n=answered), edges=edges)

    unseen = judge(steady(reach(100), reach(20)), POLICY)
    assert unseen.verdict is Outcome.BLIND
    assert unseen.causes[0].service == "bank"
    down = judge(steady(reach(100), reach(20, errors=80)), POLICY)
    assert down.verdict is Outcome.FAIL


def test_roles_that_are_sampled_differently_are_blind() -> None:
    judgement = judge(steady(half(row(), thresholds={"8": 100}), half(row(), thresholds={"c": 100})), POLICY)
    assert judgement.verdict is Outcome.BLIND
    assert signals(judgement) == [Signal.SAMPLING]
    alike = judge(steady(half(row(), thresholds={"8": 100}), half(row(), thresholds={"8": 100})), POLICY)
    assert Signal.SAMPLING not in signals(alike)


def test_one_bad_instance_holds_and_is_named() -> None:
    base = half(*(row(instance=f"b{i}") for i in range(3)), traces=300)
    cand = half(row(instance="c0"), row(instance="c1", errors=40), row(instance="c2"), traces=300)
    judgement = judge(steady(base, cand), POLICY)
    assert judgement.verdict is Outcome.NOT_ENOUGH_DATA
    assert signals(judgement) == [Signal.INSTANCE]
    assert "c1" in judgement.findings[0].sentence


def test_fail_beats_blind() -> None:
    judgement = judge(steady(half(row()), half(row(errors=30, error_origins=30, orphans=30))), POLICY)
    assert set(signals(judgement)) == {Signal.ERRORS, Signal.ORPHANS}
    assert judgement.verdict is Outcome.FAIL


def test_many_weak_signs_are_one_strong_one() -> None:
    # No operation has enough by itself; all twenty together do.
    base = half(*(row(Operation(f"s{i:02}", "Server", "/"), n=60, rejected=3) for i in range(20)))
    cand = half(*(row(Operation(f"s{i:02}", "Server", "/"), n=60, rejected=6) for i in range(20)))
    for windows in range(10, 80):
        judgement = judge(steady(base, cand, windows), POLICY)
        if judgement.verdict is Outcome.FAIL:
            break
    assert judgement.verdict is Outcome.FAIL
    assert len(judgement.findings) == 1
    assert judgement.findings[0].evidence.log_e < judgement.findings[0].evidence.threshold


def test_a_finding_needs_at_least_three_windows() -> None:
    base, cand = half(row(n=1000), traces=1000), half(row(n=1000, errors=900), traces=1000)
    assert [judge(steady(base, cand, windows), POLICY).verdict is Outcome.FAIL for windows in (1, 2, 6)] == [False, False, True]


def test_operations_share_alpha_half_equally_and_half_by_traffic() -> None:
    windows = steady(half(row(n=300), row(BANK, n=100)), half(row()))
    assert operation_weights(tally(windows)) == {BANK: pytest.approx(0.5 / 2 + 0.125), BUY: pytest.approx(0.5 / 2 + 0.375)}


def test_an_operation_of_which_all_is_asked_has_all_of_its_weight_and_no_more() -> None:
    base = replace(row(), masked={"email@span_name": UNIT})
    cand = replace(row(), error_kinds={"panic": UNIT}, masked={"card@span_name": UNIT})
    new = replace(row(BANK), masked={"card@span_name": UNIT})
    windows = steady(half(base, edges=(call(99),)), half(cand, new, edges=(call(99),)), 3)
    streams = streams_of(tally(windows), POLICY, 0.09)
    assert {s.signal for s in streams} >= {
        Signal.NEW_ERROR_KIND, Signal.CALL_EXTRA, Signal.REFUSED_LESS, Signal.EXCLUSIVE_LATENCY, Signal.LEAK, Signal.LEAK_MORE,
        Signal.NEW_OPERATION_LEAKS,
    }  # fmt: skip
    assert sum(s.weight for s in streams) == pytest.approx(1)


def test_a_quantile_is_asked_where_the_baseline_has_something_above_it() -> None:
    def asked(n: int) -> set[float | None]:
        windows = steady(half(row(n=n)), half(row(n=n)), 1)
        streams: list[Stream] = streams_of(tally(windows), POLICY, 0.09)
        return {s.quantile for s in streams if s.signal is Signal.LATENCY}

    assert asked(1000) == {0.5, 0.75, 0.9, 0.95, 0.99, 0.999}
    assert asked(100) == {0.5, 0.75, 0.9, 0.95, 0.99}
    assert asked(2) == {0.5}


def test_what_only_follows_is_said_so_and_stands_last() -> None:
    root = Service("front", calls=(Service("db"),))
    windows = windows_of(np.random.default_rng(1), root, faults={"db": Fault(own_factor=3)})
    judgement = judge(windows, POLICY)
    assert [f.service for f in judgement.findings if f.follows_from is None] == ["db"]
    assert {f.follows_from for f in judgement.findings if f.service == "front"} == {"db"}
    assert judgement.findings[-1].follows_from == "db"
    assert [f.id for f in judgement.findings if f.id in judgement.causes[0].findings] == [f.id for f in judgement.findings]


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0}, {"alpha": 1.0}, {"beta": 1.5}, {"latency_margin": -0.1}, {"latency_floor_share": -1.0},
        {"errors": Tolerance(0.9, 0.0)}, {"structure": Tolerance(1.0, 1.0)}, {"errors_pass": Tolerance(1.0, -0.1)},
    ],
)  # fmt: skip
def test_a_policy_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidPolicy):
        replace(POLICY, **wrong)  # type: ignore[arg-type]
