"""Random trees of services with one fault: the service that has it stands first, never one that only waits for it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verdigris.judge.blame import callees
from verdigris.judge.judge import judge
from verdigris.judge.tallies import tally
from verdigris.judge.verdict import Judgement, Outcome, Signal
from verdigris.judge.windows import UNIT, Edge, EdgeCounts, Operation, OperationCounts, RoleWindow, TraceCounts, Window, Windows
from verdigris.plan.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import Fault, Service, windows_of

POLICY = Policy()
some = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def trees(draw: st.DrawFn) -> Service:
    """Three to eight services, each called by one before it; the order of names says nothing about who calls whom."""
    size = draw(st.integers(3, 8))
    parents = [draw(st.integers(0, i - 1)) for i in range(1, size)]
    names = draw(st.permutations([f"s{i}" for i in range(size)]))
    own = [draw(st.floats(3, 60)) for _ in range(size)]

    def build(i: int) -> Service:
        below = tuple(build(j + 1) for j, p in enumerate(parents) if p == i)
        return Service(names[i], own[i], 0.4, below, gap_ms=1.0)

    return build(0)


def judged(root: Service, name: str, fault: Fault, seed: int, *, concurrent: bool = True) -> Judgement:
    windows = windows_of(
        np.random.default_rng(seed), root, windows=15, base_requests=120, cand_requests=120, faults={name: fault}, concurrent=concurrent,
        instances=2,
    )  # fmt: skip
    return judge(windows, POLICY)


def a_service(root: Service, pick: int, *, called: bool = False) -> Service:
    found = root.all()[1 if called else 0 :]
    return found[pick % len(found)]


@given(trees(), st.integers(0, 7), st.integers(0, 9999), st.booleans())
@some
def test_who_is_slow_by_itself_is_first(root: Service, pick: int, seed: int, concurrent: bool) -> None:  # noqa: FBT001  # drawn
    slow = a_service(root, pick)
    total = sum(s.own_ms for s in root.all())
    judgement = judged(root, slow.name, Fault(own_factor=1.8, own_extra_ms=0.15 * total), seed, concurrent=concurrent)
    assert judgement.verdict is Outcome.FAIL
    assert judgement.causes[0].service == slow.name
    assert judgement.causes[0].share > 0.8
    # Who waits for it is slower too; that only follows.
    for finding in judgement.findings:
        if finding.signal is Signal.LATENCY and finding.service != slow.name:
            assert finding.follows_from == slow.name


@given(trees(), st.integers(0, 7), st.integers(0, 9999))
@some
def test_where_errors_begin_is_first(root: Service, pick: int, seed: int) -> None:
    failing = a_service(root, pick)
    judgement = judged(root, failing.name, Fault(errors=0.15), seed)
    assert judgement.verdict is Outcome.FAIL
    assert judgement.causes[0].service == failing.name


@given(trees(), st.integers(0, 6), st.integers(0, 9999))
@some
def test_time_lost_on_the_way_to_a_service_is_the_callees_and_then_the_callers(root: Service, pick: int, seed: int) -> None:
    far = a_service(root, pick, called=True)
    (caller,) = (s for s in root.all() if far in s.calls)
    judgement = judged(root, far.name, Fault(gap_extra_ms=0.2 * sum(s.own_ms for s in root.all())), seed)
    assert judgement.verdict is Outcome.FAIL
    assert {c.service for c in judgement.causes} <= {far.name, caller.name}
    if not far.calls:
        assert judgement.causes[0].service == far.name


@given(trees(), st.integers(0, 6), st.integers(0, 9999))
@some
def test_who_requests_stop_after_is_first(root: Service, pick: int, seed: int) -> None:
    before = a_service(root, pick, called=True)
    (caller,) = (s for s in root.all() if before in s.calls)
    if before is caller.calls[-1]:
        return  # nothing comes after it that could be missing
    judgement = judged(root, before.name, Fault(stops=0.5), seed)
    assert judgement.verdict is Outcome.FAIL
    assert judgement.causes[0].service == before.name


def test_two_callers_that_both_wait_point_at_what_they_share() -> None:
    shared = Service("shared", 10)
    root = Service("front", calls=(Service("a", calls=(shared,)), Service("b", calls=(shared,))))
    # Both play the same callee; its gap is long for whoever calls it.
    judgement = judged(root, "shared", Fault(gap_extra_ms=30), 1)
    assert judgement.causes[0].service == "shared"
    # One caller that waits could be slow itself; that both do speaks against what they share.
    assert judgement.causes[0].share > 0.95


def test_a_caller_that_loses_time_with_all_its_callees_is_blamed_itself() -> None:
    root = Service("front", calls=tuple(Service(n, 10) for n in ("a", "b", "c", "d")))
    windows = windows_of(
        np.random.default_rng(2), root, windows=15, base_requests=120, cand_requests=120,
        faults={n: Fault(gap_extra_ms=20) for n in ("a", "b", "c", "d")},
    )  # fmt: skip
    causes = judge(windows, POLICY).causes
    assert causes[0].service == "front"


def test_a_call_graph_with_cycles_is_judged_and_blamed() -> None:
    def op(service: str, kind: str) -> Operation:
        return Operation(service, kind, "/" + service)

    def half(role: str, slow: int) -> RoleWindow:
        rows = []
        for service in ("a", "b", "c"):
            for kind in ("Client", "Server"):
                bucket = 700 + (slow if (service, kind) == ("b", "Server") else 0)
                histogram = {bucket: 100 * UNIT}
                rows.append(
                    OperationCounts(
                        op(service, kind), role, 100, 100 * UNIT, durations=histogram, exclusives=histogram, duration_ns=4 * 10**8,
                        exclusive_ns=4 * 10**8, trace_ns=9 * 10**8,
                    )
                )  # fmt: skip
        ring = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "a")]
        edges = {Edge(op(x, "Server"), op(x, "Client")) for x, _ in ring} | {Edge(op(x, "Client"), op(y, "Server")) for x, y in ring}
        counted = tuple(EdgeCounts(e, 100 * UNIT, 100 * UNIT, {1: 100 * UNIT}) for e in sorted(edges))
        return RoleWindow(TraceCounts(100, 600, roots=100), tuple(sorted(rows, key=lambda r: r.operation)), counted)

    windows = Windows(10, tuple(Window(10 * t, half("x", 0), half("y", 40)) for t in range(12)))
    judgement = judge(windows, POLICY)
    assert judgement.verdict is Outcome.FAIL
    assert judgement.causes[0].service == "b"
    assert callees(tally(windows).candidate)[op("a", "Client")] == ("b",)


@pytest.mark.parametrize("concurrent", [True, False])
def test_shares_of_causes_are_of_one_whole(concurrent: bool) -> None:  # noqa: FBT001  # a parameter
    root = Service("front", calls=(Service("a"), Service("b")))
    windows = windows_of(np.random.default_rng(3), root, faults={"a": Fault(own_factor=3), "b": Fault(errors=0.3)}, concurrent=concurrent)
    causes = judge(windows, POLICY).causes
    assert [c.service for c in causes] in (["a", "b"], ["b", "a"])
    assert sum(c.share for c in causes) == pytest.approx(1, abs=0.05)
    assert [c.share for c in causes] == sorted((c.share for c in causes), reverse=True)
