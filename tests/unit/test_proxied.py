from hypothesis import given
from hypothesis import strategies as st

from verdigris.judge.reference import Proxied
from verdigris.judge.windows import Operation, OperationCounts, RoleWindow, TraceCounts, Window, Windows
from verdigris.rollout.evidence import Look, every_window
from verdigris.rollout.proxied import ProxyCounters
from verdigris.traffic.data_plane import Routing, Split


def split(baseline: int, candidate: int, failed: int = 0) -> Split:
    return Split(
        Routing(5.0),
        1,
        committed=False,
        baseline_requests=baseline,
        candidate_requests=candidate,
        baseline_failures=0,
        candidate_failures=failed,
    )


def counters(*samples: tuple[float, int, int, int]) -> ProxyCounters:
    made = ProxyCounters()
    for at, baseline, candidate, failed in samples:
        made.add(at, split(baseline, candidate, failed))
    return made


def test_what_was_counted_before_the_first_sample_is_not_ours() -> None:
    assert counters((0, 1000, 500, 3)).totals == (0, 0, 0, 0)
    assert counters((0, 1000, 500, 3), (1, 1010, 502, 4)).totals == (10, 2, 0, 1)


def test_requests_between_samples_are_spread_evenly() -> None:
    seen = counters((0, 0, 0, 0), (10, 100, 10, 0))
    assert seen.between(2, 4) == Proxied(20, 2)
    assert seen.between(0, 10) == Proxied(100, 10)


def test_what_samples_do_not_cover_is_unknown() -> None:
    seen = counters((5, 0, 0, 0), (10, 100, 10, 0))
    assert seen.between(4, 6) is None
    assert seen.between(9, 11) is None
    assert ProxyCounters().between(0, 1) is None


def test_a_restarted_proxy_counts_on_but_the_window_is_unknown() -> None:
    seen = counters((0, 1000, 100, 5), (1, 1010, 101, 5), (2, 7, 1, 0), (3, 17, 2, 1))
    assert seen.totals == (27, 3, 0, 1)
    assert seen.between(0, 1) == Proxied(10, 1)
    assert seen.between(1, 2) is None
    assert seen.between(2.2, 3) == Proxied(8, 1)


@given(st.lists(st.tuples(st.floats(0.1, 5), st.integers(0, 100), st.integers(0, 100)), min_size=2, max_size=30), st.data())
def test_neighbouring_periods_add_up(steps: list[tuple[float, int, int]], data: st.DataObject) -> None:
    made, at, baseline, candidate = ProxyCounters(), 0.0, 0, 0
    for wait, more_baseline, more_candidate in steps:
        at, baseline, candidate = at + wait, baseline + more_baseline, candidate + more_candidate
        made.add(at, split(baseline, candidate))
    start = steps[0][0]
    middle = data.draw(st.floats(start, at))
    first, second, whole = made.between(start, middle), made.between(middle, at), made.between(start, at)
    assert first is not None
    assert second is not None
    assert whole is not None
    assert first.baseline + second.baseline == whole.baseline
    assert min(first.candidate, second.candidate) >= 0


def test_failures_are_those_of_the_last_seconds() -> None:
    seen = counters((0, 0, 0, 0), (5, 50, 50, 50), (10, 60, 60, 51), (20, 70, 70, 51))
    assert seen.failed_candidate(10) == (0, 10)
    assert seen.failed_candidate(15) == (1, 20)


def test_a_look_comes_back_from_its_bytes() -> None:
    counts = OperationCounts(
        Operation("shop", "SERVER", "GET /"), "i1", 3, 720720, errors=5, error_kinds={"500": 5}, durations={700: 720720}, peers={"db": 1}
    )
    window = Window(100, RoleWindow(TraceCounts(3, 4, 0, 3, 0, {"shop": 3}, {"8": 1}), (counts,), ()), RoleWindow())
    for proxied in (None, Proxied(3, 0)):
        look = Look(1, window, proxied)
        again = Look.from_bytes(look.canonical_bytes())
        assert again == look
        assert again.digest() == look.digest()


def test_windows_without_traces_are_windows() -> None:
    seen = Window(12, RoleWindow(TraceCounts(1)))
    assert [w.start_unix_s for w in every_window(Windows(2, (seen,)), 10, 17)] == [10, 12, 14]
    assert every_window(Windows(2, (seen,)), 10, 17)[1] is seen
    assert [w.start_unix_s for w in every_window(Windows(10, ()), 11, 40)] == [20, 30]
