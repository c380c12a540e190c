"""The guard's clock on virtual time."""

from hypothesis import given
from hypothesis import strategies as st

from verdigris.telemetry.clock import STEP_MIN_S, STEPS_MAX, GuardClock


class Clocks:
    """A system's clocks, set by hand."""

    def __init__(self) -> None:
        self.wall_s, self.monotonic_s = 1_760_000_000.0, 100.0

    def passes(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds

    def guard(self) -> GuardClock:
        return GuardClock(lambda: self.wall_s, lambda: self.monotonic_s)


def test_time_goes_on_evenly_when_somebody_sets_the_clock() -> None:
    clocks = Clocks()
    clock = clocks.guard()
    clocks.passes(5)
    clocks.wall_s += 3600
    assert clock.now_unix_s() == 1_760_000_005.0
    assert not clock.steps


def test_a_step_is_found_followed_and_said() -> None:
    clocks = Clocks()
    clock = clocks.guard()
    for step in (3600.0, -7200.0):
        clocks.passes(10)
        before = clock.now_unix_s()
        clocks.wall_s += step
        found = clock.check()
        assert found is not None
        assert (found.at_unix_s, found.step_s) == (before, step)
        assert clock.now_unix_s() == clocks.wall_s
        assert clock.check() is None
    assert [s.step_s for s in clock.steps] == [3600.0, -7200.0]
    assert clock.steps_count == 2


def test_small_differences_are_none_until_they_add_up() -> None:
    clocks = Clocks()
    clock = clocks.guard()
    clocks.wall_s += STEP_MIN_S * 0.9
    assert clock.check() is None
    clocks.wall_s += STEP_MIN_S * 0.2
    assert clock.check() is not None


def test_steps_are_remembered_up_to_a_bound_and_counted_beyond() -> None:
    clocks = Clocks()
    clock = clocks.guard()
    for _ in range(STEPS_MAX + 5):
        clocks.wall_s += 10
        clock.check()
    assert (len(clock.steps), clock.steps_count) == (STEPS_MAX, STEPS_MAX + 5)


@given(st.lists(st.one_of(st.floats(0, 1000), st.none()), max_size=30))
def test_without_a_check_time_never_goes_back(passing: list[float | None]) -> None:
    clocks = Clocks()
    clock = clocks.guard()
    last = clock.now_unix_s()
    for seconds in passing:
        if seconds is None:
            clocks.wall_s -= 500
        else:
            clocks.passes(seconds)
        assert clock.now_unix_s() >= last
        last = clock.now_unix_s()
