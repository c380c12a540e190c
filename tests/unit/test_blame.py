import sys
from pathlib import Path

import numpy as np
import pytest

from verdigris.judge.blame import mean_ms, rank, stopped_after
from verdigris.judge.judge import judge
from verdigris.judge.streams import bucket_ms
from verdigris.judge.tallies import TimeHistogram, tally
from verdigris.judge.windows import UNIT, Edge, EdgeCounts, Operation, OperationCounts, RoleWindow, TraceCounts, Window, Windows
from verdigris.plan.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import Fault, Service, windows_of

FRONT, ASK_A, ASK_B = (Operation("front", kind, name) for kind, name in (("Server", "/"), ("Client", "/a"), ("Client", "/b")))
A, B = Operation("a", "Server", "/a"), Operation("b", "Server", "/b")


def half(*, first: int, second: int, none: int) -> RoleWindow:
    """Of 100 requests: `second` call a and then b, `first` only a, `none` nobody."""
    time = {700: 100 * UNIT}
    rows = [
        OperationCounts(
            o, "i", n, n * UNIT, childless=none * UNIT if o == FRONT else 0, durations=time, exclusives=time, trace_ns=n * 10**7
        )
        for o, n in ((A, first + second), (B, second), (ASK_A, first + second), (ASK_B, second), (FRONT, 100))
        if n
    ]
    edges = [
        EdgeCounts(Edge(o, to), n * UNIT, last * UNIT, {1: n * UNIT})
        for o, to, n, last in (
            (ASK_A, A, first + second, first + second), (ASK_B, B, second, second), (FRONT, ASK_A, first + second, first),
            (FRONT, ASK_B, second, second),
        )
        if n
    ]  # fmt: skip
    return RoleWindow(TraceCounts(100, 300), tuple(rows), tuple(edges))


def both(base: RoleWindow, cand: RoleWindow) -> Windows:
    return Windows(10, tuple(Window(10 * t, base, cand) for t in range(20)))


def test_requests_that_stop_short_are_split_by_what_they_stopped_after() -> None:
    tallies = tally(both(half(first=0, second=100, none=0), half(first=30, second=60, none=10)))
    assert dict(stopped_after(tallies, FRONT)) == {A: pytest.approx(0.75), FRONT: pytest.approx(0.25)}


def test_who_stops_by_itself_is_its_own_cause() -> None:
    judgement = judge(both(half(first=0, second=100, none=0), half(first=0, second=50, none=50)), Policy())
    assert judgement.causes[0].service == "front"


def test_who_is_called_last_before_the_stop_is_the_cause() -> None:
    judgement = judge(both(half(first=0, second=100, none=0), half(first=50, second=50, none=0)), Policy())
    assert judgement.causes[0].service == "a"


def test_nothing_in_excess_nobody_to_blame() -> None:
    assert rank(tally(both(half(first=0, second=100, none=0), half(first=0, second=100, none=0))), []) == []


def test_mean_times_are_of_bucket_middles() -> None:
    histogram = TimeHistogram(640, np.array([[[1.0, 0.0, 3.0]]]))
    assert mean_ms(histogram) == pytest.approx(0.99 * (bucket_ms(640) + 3 * bucket_ms(642)) / 4)


def test_errors_that_spread_upward_count_where_they_begin() -> None:
    root = Service("front", calls=(Service("mid", calls=(Service("deep"),)),))
    judgement = judge(windows_of(np.random.default_rng(1), root, faults={"deep": Fault(errors=0.2)}), Policy())
    assert judgement.causes[0].service == "deep"
    assert judgement.causes[0].share > 0.9
    assert len(judgement.causes[0].findings) == len(judgement.findings)


def test_the_larger_harm_comes_first() -> None:
    root = Service("front", calls=(Service("a", 30), Service("b", 30)))
    judgement = judge(windows_of(np.random.default_rng(2), root, faults={"a": Fault(own_factor=1.3), "b": Fault(own_factor=2.5)}), Policy())
    assert [c.service for c in judgement.causes][:2] == ["b", "a"]


def test_waiting_is_not_added_to_what_a_caller_takes_longer_by_itself() -> None:
    root = Service("front", 10, calls=(Service("db", 40),))
    faults = {"front": Fault(own_factor=1.5), "db": Fault(own_factor=3.0)}
    judgement = judge(windows_of(np.random.default_rng(4), root, faults=faults), Policy())
    assert [c.service for c in judgement.causes] == ["db", "front"]
    assert judgement.causes[1].share == pytest.approx(5 / 85, abs=0.03)


def test_a_slow_service_that_few_requests_reach_harms_less() -> None:
    root = Service("front", calls=(Service("rare", 30, called_share=0.1), Service("always", 30)))
    faults = {"rare": Fault(own_factor=2.0), "always": Fault(own_factor=2.0)}
    judgement = judge(windows_of(np.random.default_rng(3), root, windows=40, faults=faults), Policy())
    rare, always = (next(c.share for c in judgement.causes if c.service == s) for s in ("rare", "always"))
    assert rare == pytest.approx(always / 10, rel=0.4)
