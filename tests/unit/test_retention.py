"""What is forgotten and what is not, against a store of numbers; the real store's forgetting is in the contract tests."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.retention import Retention, RetentionBounds, sweep
from verdigris.telemetry.store import HORIZON_S, StoredSlice, StoreError

NANO = 1_000_000_000
NOW_S = 1_760_000_000


class Slices:
    """Slices of ten bytes a span; forgets as the contract says."""

    def __init__(self, ages_s: Sequence[float], spans: int = 10) -> None:
        self.kept = [
            StoredSlice(int((NOW_S - age) * NANO), int((NOW_S - age + 1) * NANO), spans, spans * 10) for age in sorted(ages_s)[::-1]
        ]
        self.failure: Exception | None = None

    def slices(self) -> Sequence[StoredSlice]:
        return list(self.kept)

    def size_bytes(self) -> int:
        return sum(s.size_bytes for s in self.kept)

    def forget(self, before_unix_nano: int) -> int:
        if self.failure:
            raise self.failure
        gone = [s for s in self.kept if s.last_unix_nano < before_unix_nano]
        self.kept = [s for s in self.kept if s not in gone]
        return sum(s.spans for s in gone)

    def ages(self) -> list[int]:
        return [NOW_S - s.first_unix_nano // NANO for s in self.kept]


def swept(store: Slices, bounds: RetentionBounds, keep_from_unix_s: int | None = None) -> tuple[int, list[int], bool]:
    done = sweep(store, bounds, NOW_S, keep_from_unix_s)  # type: ignore[arg-type] # has what a sweep needs
    return done.spans, store.ages(), done.over


def test_what_is_too_old_goes() -> None:
    assert swept(Slices([5000, 3000, 100]), RetentionBounds(age_s=2000)) == (20, [100], False)


def test_what_rollouts_need_stays_with_the_horizon_around_it_whatever_its_age_and_size() -> None:
    store = Slices([5000, 3000 + HORIZON_S - 1, 3000, 100])
    assert swept(store, RetentionBounds(age_s=50, size_bytes_max=1), NOW_S - 3000) == (10, [3000 + HORIZON_S - 1, 3000, 100], True)


def test_the_oldest_go_until_the_rest_is_small_enough() -> None:
    assert swept(Slices([400, 300, 200, 100]), RetentionBounds(size_bytes_max=250)) == (20, [200, 100], False)


def test_the_newest_slice_stays_even_alone_beyond_the_size() -> None:
    assert swept(Slices([200, 100]), RetentionBounds(size_bytes_max=1)) == (10, [100], True)


@given(
    st.lists(st.integers(1, 10_000), min_size=1, max_size=12, unique=True),
    st.integers(1, 10_000),
    st.integers(1, 1_500),
    st.none() | st.integers(0, 10_000),
)
def test_never_what_is_needed_and_otherwise_within_the_bounds(ages: list[int], age_s: int, size: int, needed_age: int | None) -> None:
    store = Slices(ages)
    needed = None if needed_age is None else NOW_S - needed_age
    _, left, over = swept(store, RetentionBounds(age_s, size), needed)
    if needed_age is not None:
        assert {a for a in ages if a <= needed_age} <= set(left)
    droppable = [a for a in left if (needed_age is None or a > needed_age + HORIZON_S + 1) and a != min(ages)]
    assert all(a <= age_s + 1 for a in droppable)
    assert not droppable or not over


def test_the_background_sweeps_go_on_after_failures(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        store = Slices([5000, 100])
        store.failure = StoreError("busy")
        asked = 0

        def keep_from() -> int | None:
            nonlocal asked
            asked += 1
            if asked == 2:
                store.failure = None
                raise RuntimeError
            return None

        clock = GuardClock(lambda: float(NOW_S), lambda: 0.0)
        retention = Retention(store, RetentionBounds(age_s=2000), clock, keep_from=keep_from, every_s=0.001)  # type: ignore[arg-type]
        running = asyncio.create_task(retention.run())
        async with asyncio.timeout(10):
            while retention.last is None:  # noqa: ASYNC110  what is waited for happens in a thread
                await asyncio.sleep(0.001)
        running.cancel()
        assert (store.ages(), asked >= 3) == ([100], True)

    with caplog.at_level(logging.WARNING):
        asyncio.run(test())
    assert [r.levelname for r in caplog.records] == ["WARNING", "ERROR"]
