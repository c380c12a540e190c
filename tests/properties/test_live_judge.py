"""What must hold of the live judge whatever the windows are."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from verdigris.judge.live import LiveJudgement, LiveState, judgement, look, open_judge
from verdigris.judge.live_banks import decided
from verdigris.judge.reference import Proxied, Reference, learn
from verdigris.judge.verdict import Outcome, Signal
from verdigris.judge.windows import UNIT, Operation, OperationCounts, Role, RoleWindow, Window, Windows
from verdigris.plan.objectives import Objectives

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import Fault, Service, exchanged, relabelled, windows_of

ROOT = Service("front", calls=(Service("cart"), Service("pay", called_share=0.4)))
OBJECTIVES = Objectives()
FAULTS: dict[str, dict[str, Fault]] = {
    "none": {},
    "slow": {"cart": Fault(own_factor=1.6)},
    "errors": {"pay": Fault(errors=0.1)},
    "stops": {"cart": Fault(stops=0.4)},
}

cases = st.tuples(st.integers(0, 10_000), st.sampled_from(sorted(FAULTS)), st.integers(1, 4))
few = settings(max_examples=8, deadline=None)


def recording(seed: int, fault: str, instances: int, windows: int = 8) -> Windows:
    return windows_of(
        np.random.default_rng(seed), ROOT, windows=windows, base_requests=60, cand_requests=60, faults=FAULTS[fault], instances=instances
    )


@cache
def reference() -> Reference:
    return learn(recording(77, "none", 3, 12), OBJECTIVES)


def proxied(window: Window) -> Proxied:
    return Proxied(window.baseline.traces.traces, window.candidate.traces.traces)


def fold(windows: Windows, learned: Reference | None = None) -> LiveState:
    state = open_judge(learned or reference(), OBJECTIVES)
    for window in windows.windows:
        state = look(state, window, proxied(window))
    return state


def evidence(state: LiveState) -> dict[tuple[object, ...], float]:
    log_e, _, _ = decided(state.faults)
    faults = [state.streams.streams[i] for i in state.streams.faults]
    return {(s.signal, s.operation, s.edge, s.quantile): float(x) for s, x in zip(faults, log_e, strict=True)}


def near(one: LiveState, two: LiveState) -> bool:
    a, b = evidence(one), evidence(two)
    return a.keys() == b.keys() and all(abs(a[key] - b[key]) < 1e-9 for key in a)


@few
@given(cases)
def test_the_same_windows_give_the_same_bytes(case: tuple[int, str, int]) -> None:
    windows = recording(*case)
    read = Windows.from_bytes(windows.canonical_bytes())
    again = Reference.from_bytes(reference().canonical_bytes())
    assert again == reference()
    assert again.digest() == reference().digest()
    assert judgement(fold(windows)).canonical_bytes() == judgement(fold(read, again)).canonical_bytes()


@few
@given(cases, st.randoms(use_true_random=False))
def test_instances_may_have_any_names(case: tuple[int, str, int], random: object) -> None:
    windows = recording(*case)
    names: dict[str, str] = {}

    def renamed(half: RoleWindow) -> RoleWindow:
        def row(o: OperationCounts) -> OperationCounts:
            name = names.setdefault(o.instance, f"{random.randrange(10**9)}-{len(names)}")  # type: ignore[attr-defined]
            return replace(o, instance=name)

        return replace(half, operations=tuple(sorted(map(row, half.operations), key=lambda o: (o.operation, o.instance))))

    other = Windows(windows.window_s, tuple(Window(w.start_unix_s, renamed(w.baseline), renamed(w.candidate)) for w in windows.windows))
    assert near(fold(windows), fold(other))
    assert judgement(fold(windows)).verdict is judgement(fold(other)).verdict


@few
@given(cases)
def test_services_may_have_any_names(case: tuple[int, str, int]) -> None:
    names = {"front": "z", "cart": "a", "pay": "m"}
    windows, before = recording(*case), recording(77, "none", 3, 12)
    one, two = fold(windows), fold(relabelled(windows, names), learn(relabelled(before, names), OBJECTIVES))
    assert np.allclose(sorted(evidence(one).values()), sorted(evidence(two).values()), atol=1e-9)
    assert judgement(one).verdict is judgement(two).verdict


@few
@given(cases, st.integers(0, 7))
def test_a_silent_window_changes_nothing(case: tuple[int, str, int], after: int) -> None:
    windows = recording(*case)
    state = open_judge(reference(), OBJECTIVES)
    for i, window in enumerate(windows.windows):
        state = look(state, window, proxied(window))
        if i == after:
            state = look(state, Window(window.start_unix_s + 1), Proxied(0, 0))
    expected = judgement(fold(windows))
    assert replace(judgement(state), windows=expected.windows) == expected


def ruined(half: RoleWindow) -> RoleWindow:
    """Everything that can be wrong in one window: all fail, nothing is called, all is refused, and as slow as can be."""
    rows = tuple(
        replace(
            o, errors=o.requests, error_origins=o.requests, refused=o.requests, rejected=o.requests, orphans=o.requests,
            error_kinds={"never seen": o.requests}, durations={1500: o.requests}, exclusives={1500: o.requests},
        )
        for o in half.operations
    )  # fmt: skip
    return replace(half, operations=rows, edges=())


@few
@given(cases, st.integers(0, 7), st.integers(1, 200))
def test_no_single_window_decides(case: tuple[int, str, int], at: int, times: int) -> None:
    seed, _, instances = case
    state = open_judge(reference(), OBJECTIVES)
    for i, window in enumerate(recording(seed, "none", instances).windows):
        seen = window
        if i == at:
            heavy = windows_of(np.random.default_rng(seed), ROOT, windows=1, base_requests=60 * times, cand_requests=60 * times).windows[0]
            seen = Window(window.start_unix_s, heavy.baseline, ruined(heavy.candidate))
        state = look(state, seen, proxied(seen))
        said = judgement(state)
        assert said.verdict not in {Outcome.FAIL, Outcome.BLIND}
        assert all(f.signal is Signal.INSTANCE for f in said.findings)


@few
@given(cases)
def test_exchanged_roles_are_judged_too(case: tuple[int, str, int]) -> None:
    said = judgement(fold(exchanged(recording(*case))))
    assert isinstance(said, LiveJudgement)
    said.canonical_bytes()


@few
@given(cases, st.integers(1, 60))
def test_an_operation_that_has_nothing_to_do_with_it_moves_little(case: tuple[int, str, int], requests: int) -> None:
    other = Operation("other", "Server", "/other")
    row = OperationCounts(other, "o0", requests, requests * UNIT, durations={800: requests * UNIT}, exclusives={800: requests * UNIT})

    def beside(windows: Windows) -> Windows:
        def half(r: RoleWindow) -> RoleWindow:
            return (
                replace(r, operations=tuple(sorted((*r.operations, row), key=lambda o: (o.operation, o.instance))))
                if r.traces.traces
                else r
            )

        return Windows(windows.window_s, tuple(Window(w.start_unix_s, half(w.baseline), half(w.candidate)) for w in windows.windows))

    one, two = fold(recording(*case)), fold(beside(recording(*case)), learn(beside(recording(77, "none", 3, 12)), OBJECTIVES))
    a, b = evidence(one), evidence(two)
    # What they need grows by no more than the share of alpha that the other operation takes; so does what a window may give.
    assert all(abs(a[key] - b[key]) <= 8 * np.log(2) / 3 + 1e-9 for key in a)
    needed = dict(zip(a, one.needed, strict=True))
    assert all(
        0 <= n - needed[key] <= np.log(2) + 1e-9 for key, n in zip(b, two.needed, strict=True) if key in needed and key[1] is not None
    )


@few
@given(cases, st.integers(1, 30))
def test_merged_windows_are_the_sum_of_all(case: tuple[int, str, int], windows: int) -> None:
    seed, fault, instances = case
    recorded = recording(seed, fault, instances, windows)
    merged = fold(recorded).merged.everything()
    for role in Role:
        for value in _SUMS:
            assert sum(map(value, merged.of(role).operations)) == sum(value(o) for w in recorded.windows for o in w.of(role).operations)
        assert sum(e.present for e in merged.of(role).edges) == sum(e.present for w in recorded.windows for e in w.of(role).edges)
        assert merged.of(role).traces.traces == sum(w.of(role).traces.traces for w in recorded.windows)


_SUMS: tuple[Callable[[OperationCounts], int], ...] = (
    lambda o: o.requests, lambda o: o.errors, lambda o: o.spans, lambda o: sum(o.durations.values()), lambda o: sum(o.exclusives.values()),
    lambda o: sum(o.error_kinds.values()), lambda o: o.childless,
)  # fmt: skip
