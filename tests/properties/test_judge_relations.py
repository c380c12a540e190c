"""What must not matter to a judgement: names, order, who is called what, how counts are cut."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verdigris.judge.evidence import apart
from verdigris.judge.judge import judge
from verdigris.judge.streams import streams_of
from verdigris.judge.tallies import tally
from verdigris.judge.verdict import Finding, Judgement, Outcome
from verdigris.judge.windows import (
    UNIT,
    Edge,
    EdgeCounts,
    Operation,
    OperationCounts,
    Role,
    RoleWindow,
    TraceCounts,
    Window,
    Windows,
)
from verdigris.plan.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import Fault, Service, exchanged, relabelled, windows_of

POLICY = Policy()
ROOT = Service("front", calls=(Service("cart", calls=(Service("db"),)), Service("pay"), Service("ads", called_share=0.3)))
FAULTS: tuple[dict[str, Fault], ...] = (
    {},
    {"db": Fault(own_factor=2)},
    {"pay": Fault(gap_extra_ms=15)},
    {"cart": Fault(errors=0.1)},
    {"pay": Fault(stops=0.4)},
)
some = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def recording(seed: int, fault: int, *, concurrent: bool, requests: int = 60, windows: int = 12, instances: int = 2) -> Windows:
    return windows_of(
        np.random.default_rng(seed), ROOT, windows=windows, base_requests=requests, cand_requests=requests, faults=FAULTS[fault],
        concurrent=concurrent, instances=instances,
    )  # fmt: skip


def skeleton(j: Judgement, names: dict[str, str] | None = None) -> object:
    """A judgement without its order, ids and prose, services renamed."""

    def name(text: str) -> str:
        return (names or {}).get(text, text)

    def op(o: Operation | None) -> tuple[str, ...] | None:
        return None if o is None else (name(o.service), o.kind, name(o.name[1:]))

    def edge(e: Edge | None) -> object:
        return None if e is None else (op(e.caller), op(e.callee))

    def near(x: float | None) -> float | None:
        return None if x is None else float(f"{x:.6g}")

    def effect(f: Finding) -> tuple[float | None, ...]:
        return tuple(
            map(near, (f.evidence.log_e, f.evidence.threshold, f.effect.baseline, f.effect.candidate, f.effect.low, f.effect.high))
        )

    findings = [(f.signal.value, f.severity.value, name(f.service), op(f.operation), edge(f.edge), effect(f)) for f in j.findings]
    causes = [(name(c.service), op(c.operation), near(c.share)) for c in j.causes]
    missing = [(m.operation.name if m.operation.kind == "all" else op(m.operation), m.signal.value, m.have, m.need) for m in j.missing]
    return j.verdict, sorted(map(repr, findings)), sorted(map(repr, causes)), sorted(map(repr, missing)), j.concurrent


cases = st.tuples(st.integers(0, 10_000), st.integers(0, len(FAULTS) - 1), st.booleans())


@given(cases)
@some
def test_equal_windows_give_an_equal_judgement(case: tuple[int, int, bool]) -> None:
    seed, fault, concurrent = case
    first, second = (judge(recording(seed, fault, concurrent=concurrent), POLICY) for _ in range(2))
    assert first == second
    assert repr(first) == repr(second)


@given(cases, st.randoms(use_true_random=False))
@some
def test_the_order_of_rows_and_of_histograms_does_not_matter(case: tuple[int, int, bool], random: object) -> None:
    seed, fault, concurrent = case
    windows = recording(seed, fault, concurrent=concurrent)
    rng = np.random.default_rng(seed)

    def mixed(half: RoleWindow) -> RoleWindow:
        operations = [half.operations[i] for i in rng.permutation(len(half.operations))]
        turned = tuple(
            replace(o, durations=dict(reversed(o.durations.items())), exclusives=dict(reversed(o.exclusives.items()))) for o in operations
        )
        return RoleWindow(half.traces, turned, tuple(half.edges[i] for i in rng.permutation(len(half.edges))))

    shuffled = Windows(windows.window_s, tuple(Window(w.start_unix_s, mixed(w.baseline), mixed(w.candidate)) for w in windows.windows))
    assert judge(shuffled, POLICY) == judge(windows, POLICY)


@given(cases, st.permutations(["front", "cart", "db", "pay", "ads"]), st.sampled_from(["", "x-", "ä "]))
@some
def test_other_names_give_the_same_judgement_with_other_names(case: tuple[int, int, bool], order: list[str], prefix: str) -> None:
    seed, fault, concurrent = case
    windows = recording(seed, fault, concurrent=concurrent)
    names = {service: prefix + other for service, other in zip(("front", "cart", "db", "pay", "ads"), order, strict=True)}
    renamed = judge(relabelled(windows, names), POLICY)
    assert skeleton(renamed) == skeleton(judge(windows, POLICY), names)


@given(st.integers(0, 10_000), st.booleans())
@some
def test_an_unchanged_pair_does_not_fail_both_ways(seed: int, concurrent: bool) -> None:  # noqa: FBT001  # drawn
    windows = recording(seed, 0, concurrent=concurrent)
    assert {judge(windows, POLICY).verdict, judge(exchanged(windows), POLICY).verdict} != {Outcome.FAIL}


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("fault", [1, 2, 3])  # without stops: who no longer stops short does more, and so takes longer
def test_a_fault_is_not_found_in_the_baselines_favour_twice(concurrent: bool, fault: int) -> None:  # noqa: FBT001  # parameters
    windows = recording(1, fault, concurrent=concurrent, requests=250, windows=20)
    assert judge(windows, POLICY).verdict is Outcome.FAIL
    assert judge(exchanged(windows), POLICY).verdict is not Outcome.FAIL


@given(cases, st.integers(2, 4))
@some
def test_instances_do_not_matter_to_recordings_of_different_times(case: tuple[int, int, bool], parts: int) -> None:
    seed, fault, _ = case
    windows = recording(seed, fault, concurrent=False, instances=1)

    def split(half: RoleWindow) -> RoleWindow:
        return RoleWindow(half.traces, tuple(p for o in half.operations for p in pieces(o, parts)), half.edges)

    cut = Windows(windows.window_s, tuple(Window(w.start_unix_s, split(w.baseline), split(w.candidate)) for w in windows.windows))
    whole_streams, cut_streams = (streams_of(tally(w), POLICY, POLICY.latency_margin_apart) for w in (windows, cut))
    before, after = apart(whole_streams), apart(cut_streams)
    assert [e.with_all_instances for e in after] == pytest.approx([e.with_all_instances for e in before], rel=1e-9, abs=1e-9)
    # What decides may only be less, because each instance is left out in turn.
    assert all(e.log_e <= e.with_all_instances + 1e-9 for e in after)


def pieces(o: OperationCounts, parts: int) -> Iterator[OperationCounts]:
    """The same counts on several instances; every histogram and count is dealt out request by request."""
    for i in range(parts):

        def share(units: int, i: int = i) -> int:
            whole = units // UNIT
            return (whole // parts + (i < whole % parts)) * UNIT

        def part(total: int, i: int = i) -> int:
            return total // parts + (i < total % parts)

        durations, exclusives = ({b: share(u) for b, u in h.items() if share(u)} for h in (o.durations, o.exclusives))
        yield replace(
            o, instance=f"{o.instance}-{i}", spans=part(o.spans), requests=share(o.requests), errors=share(o.errors),
            error_origins=share(o.error_origins), childless=share(o.childless), durations=durations, exclusives=exclusives,
            error_kinds={k: share(u) for k, u in o.error_kinds.items()}, duration_ns=part(o.duration_ns),
            exclusive_ns=part(o.exclusive_ns), trace_ns=part(o.trace_ns),
        )  # fmt: skip


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("fault", range(len(FAULTS)))
def test_an_operation_under_a_second_name_leaves_the_verdict(concurrent: bool, fault: int) -> None:  # noqa: FBT001  # parameters
    windows = recording(3, fault, concurrent=concurrent, requests=250, windows=20)

    def twice(half: RoleWindow) -> RoleWindow:
        again = tuple(
            replace(o, operation=Operation("db", "Server", "/db, the same again")) for o in half.operations if o.operation.service == "db"
        )
        return RoleWindow(half.traces, tuple(sorted((*half.operations, *again), key=lambda o: (o.operation, o.instance))), half.edges)

    doubled = Windows(windows.window_s, tuple(Window(w.start_unix_s, twice(w.baseline), twice(w.candidate)) for w in windows.windows))
    assert judge(doubled, POLICY).verdict is judge(windows, POLICY).verdict


@given(cases)
@some
def test_weights_sum_to_at_most_one(case: tuple[int, int, bool]) -> None:
    seed, fault, concurrent = case
    windows = recording(seed, fault, concurrent=concurrent)

    def kinds(half: RoleWindow) -> RoleWindow:
        return RoleWindow(half.traces, tuple(replace(o, error_kinds={"never seen": UNIT}) for o in half.operations), half.edges)

    new_kinds = Windows(windows.window_s, tuple(Window(w.start_unix_s, w.baseline, kinds(w.candidate)) for w in windows.windows))
    streams = streams_of(tally(new_kinds), POLICY, POLICY.latency_margin)
    assert sum(s.weight for s in streams) <= 1 + 1e-9
    assert all(s.weight > 0 for s in streams)


kinds = st.sampled_from(["Server", "Client", "Internal"])
operations = st.builds(Operation, st.sampled_from(["a", "b"]), kinds, st.sampled_from(["/x", "/y"]))


@st.composite
def anything(draw: st.DrawFn) -> Windows:
    """Degenerate windows: silent roles, operations in one role only, cycles, empty histograms of time, mixed traces only."""

    def counts(operation: Operation, instance: str) -> OperationCounts:
        n = draw(st.integers(0, 40))
        k = draw(st.integers(0, n))
        bucket = draw(st.integers(500, 900))
        histogram = {bucket: n * UNIT} if n else {}
        return OperationCounts(
            operation, instance, n, n * UNIT, k * UNIT, k * UNIT, draw(st.integers(0, n)) * UNIT, 0, draw(st.integers(0, n)) * UNIT,
            draw(st.integers(0, n)) * UNIT, {"500": k * UNIT} if k else {}, histogram, histogram, n * 10**6, n * 10**6, n * 10**6,
        )  # fmt: skip

    def half() -> RoleWindow:
        traces = draw(st.integers(0, 40))
        if not traces:
            return RoleWindow()
        names = sorted(draw(st.sets(operations, max_size=4)))
        rows = tuple(counts(o, f"{o.service}-{i}") for o in names for i in range(draw(st.integers(1, 2))))
        edges = tuple(
            EdgeCounts(e, u := draw(st.integers(0, 60)) * UNIT, draw(st.integers(0, 60)) * UNIT, {draw(st.integers(1, 70)): u})
            for e in sorted(draw(st.sets(st.builds(Edge, operations, operations), max_size=4)))
        )
        mixed = draw(st.integers(0, traces))
        return RoleWindow(TraceCounts(traces, traces, 0, traces, mixed, {}, {"8": traces} if draw(st.booleans()) else {}), rows, edges)

    return Windows(10, tuple(Window(1000 + 10 * t, half(), half()) for t in range(draw(st.integers(0, 5)))))


@given(anything())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_anything_is_judged(windows: Windows) -> None:
    judgement = judge(windows, POLICY)
    assert judgement == judge(windows, POLICY)
    # Ignorance never promotes.
    if not all(any(w.of(role).traces.traces for w in windows.windows) for role in Role):
        assert judgement.verdict is not Outcome.PASS
    assert sum(c.share for c in judgement.causes) <= 1 + 1e-3
