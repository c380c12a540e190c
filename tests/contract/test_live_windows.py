"""Settled windows from a receiver and a real store: each once, closed, with what came too late counted."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from tests.clients.receiving import Sending, Span, receiving, sending

from verdigris.judge.windows import Role, merge
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.telemetry.chdb_store import ChdbStore
from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.live import WATCHES_MAX, LiveTelemetry, TooManyWatches
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.intake import StoreState
from verdigris.telemetry.store import StoreError

T0 = 1_760_000_000
VERSIONS = Identity(IdentityMatch({"service.version": "v1"}), IdentityMatch({"service.version": "v2"}))
NUMBERS = count()


@pytest.fixture(scope="module")
def folder() -> Iterator[ChdbStore]:
    with ChdbStore() as store:
        yield store


class Time:
    """The guard's clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall_s, self.monotonic_s = float(T0), 0.0
        self.clock = GuardClock(lambda: self.wall_s, lambda: self.monotonic_s)

    def at(self, seconds: float) -> None:
        """So many seconds after T0."""
        self.monotonic_s, self.wall_s = seconds, T0 + seconds


class Guard:
    """Live telemetry with a receiver before it."""

    def __init__(self, live: LiveTelemetry, time: Time, client: Sending, store: ChdbStore) -> None:
        self.live, self.time, self.client, self.store = live, time, client, store

    async def spans(self, *spans: Span) -> None:
        assert (await self.client.spans("grpc", spans)).code == "OK"


@asynccontextmanager
async def guarding(folder: ChdbStore, window_s: int = 1, settle_s: float = 2.0) -> AsyncIterator[Guard]:
    time, store = Time(), folder.beside(f"live_{next(NUMBERS)}")
    live = LiveTelemetry(store, time.clock, window_s=window_s, settle_s=settle_s)
    bounds = IntakeBounds(group_wait_s=0.001)
    async with receiving(store, clock=time.clock, bounds=bounds, on_stored=live.observe) as receiver, sending(receiver) as client:
        live.fed_by(receiver.intake)
        yield Guard(live, time, client, store)
    live.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(bounded())


def span(trace: int, at: float, version: str | None = "v1", **more: Any) -> Span:
    return Span(trace, version=version, start_unix_s=T0 + at, **more)


@pytest.mark.parametrize("window_s", [1, 2, 10])
def test_windows_are_given_out_once_when_they_have_settled(folder: ChdbStore, window_s: int) -> None:
    async def test() -> None:
        async with guarding(folder, window_s) as guard:
            guard.time.at(window_s * 2.5)
            await guard.spans(*(span(n + 1, n / 4 * window_s, ("v1", "v2")[n % 2]) for n in range(9)))
            found, after = [], T0
            for now in (1.99, 2.0, 2.5, 3.0, 3.01, 3.01, 4.2):
                guard.time.at(now * window_s if now > 2.5 else now + window_s - 0.01)
                settled = await guard.live.settled(VERSIONS, after)
                assert settled.until_unix_s == max(after, int((guard.time.clock.now_unix_s() - 2) // window_s) * window_s)
                assert all(after <= w.start_unix_s < settled.until_unix_s for w in settled.windows.windows)
                found.append(settled.windows)
                after = settled.until_unix_s
            guard.time.at(window_s * 20)
            found.append((await guard.live.settled(VERSIONS, after)).windows)
            whole = merge(found)
            assert whole.window_s == window_s
            assert [(w.baseline.traces.traces, w.candidate.traces.traces) for w in whole.windows] == [(2, 2), (2, 2), (1, 0)]
            assert guard.live.health(VERSIONS).late_spans == 0

    run(test())


def test_nothing_has_settled_before_its_time_even_by_a_hair(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder) as guard:
            await guard.spans(span(1, 0.5))
            guard.time.at(2.999)
            early = await guard.live.settled(VERSIONS, T0)
            assert (early.until_unix_s, early.windows.windows) == (T0, ())
            guard.time.at(3.0)
            settled = await guard.live.settled(VERSIONS, T0)
            assert (settled.until_unix_s, len(settled.windows.windows)) == (T0 + 1, 1)

    run(test())


def test_a_span_for_a_period_given_out_is_late_and_counted_for_its_role(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder) as guard:
            await guard.spans(span(1, 0.5), span(2, 0.5, "v2"))
            guard.time.at(5)
            first = await guard.live.settled(VERSIONS, T0)
            assert first.until_unix_s == T0 + 3
            await guard.spans(span(3, 0.7), span(4, 2.9, "v2"), span(5, 2.9, "v2"), span(6, 1, None), span(7, 3.0, "v2"), span(8, -1.0))
            health = guard.live.health(VERSIONS)
            assert (health.baseline.late_spans, health.candidate.late_spans, health.late_spans) == (1, 2, 4)
            assert (health.baseline.spans, health.candidate.spans) == (2, 3), "counted since the first look"
            guard.time.at(8)
            later = await guard.live.settled(VERSIONS, first.until_unix_s)
            assert [w.start_unix_s for w in later.windows.windows] == [T0 + 3]
            other = Identity(IdentityMatch({"service.version": "v9"}), None)
            guard.live.watch(other)
            await guard.spans(span(9, 0.7, "v9"))
            assert guard.live.health(other).late_spans == 0, "nothing was given out to this one"
            assert guard.live.health().late_spans == 5

    run(test())


def test_a_span_that_comes_during_a_look_is_in_it_or_late(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder) as guard:
            guard.time.at(30)
            looking = [asyncio.create_task(guard.live.settled(VERSIONS, T0))]
            await asyncio.sleep(0)
            await asyncio.gather(*(guard.spans(span(100 + n, 0.5)) for n in range(20)))
            (settled,) = await asyncio.gather(*looking)
            seen = sum(w.baseline.traces.traces for w in settled.windows.windows)
            assert seen + guard.live.health(VERSIONS).baseline.late_spans >= 20

    run(test())


def test_a_failed_look_gives_nothing_out(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder) as guard:
            await guard.spans(span(1, 0.5))
            guard.time.at(5)

            class Broken:
                def viewed(self, *_: object) -> "Broken":
                    return self

                def chunks(self, *_: object) -> None:
                    msg = "broken"
                    raise StoreError(msg)

            guard.live._store = Broken()  # type: ignore[assignment]
            with pytest.raises(StoreError):
                await guard.live.settled(VERSIONS, T0)
            guard.live._store = guard.store
            await guard.spans(span(2, 0.6))
            settled = await guard.live.settled(VERSIONS, T0)
            assert [w.baseline.traces.traces for w in settled.windows.windows] == [2]
            assert guard.live.health(VERSIONS).late_spans == 0

    run(test())


def test_a_trace_longer_than_its_window_is_whole_in_the_window_where_it_begins(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder) as guard:
            guard.time.at(2)
            await guard.spans(span(1, 0.9), span(1, 2.0, number=2, parent=1), span(1, 1.1, number=3, parent=1))
            guard.time.at(10)
            settled = await guard.live.settled(VERSIONS, T0)
            assert [(w.start_unix_s, w.baseline.traces.spans, w.baseline.traces.orphans) for w in settled.windows.windows] == [(T0, 3, 0)]
            one = await guard.live.settled(VERSIONS, T0 + 1, window_s=1, settle_s=7)
            assert (one.until_unix_s, one.windows.windows) == (T0 + 3, ())

    run(test())


def test_a_look_begins_where_a_window_begins(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder, 10) as guard:
            with pytest.raises(ValueError, match="do not begin"):
                await guard.live.settled(VERSIONS, T0 + 3)

    run(test())


def test_skew_is_the_least_time_from_end_to_arrival_of_late(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder) as guard:
            guard.live.watch(VERSIONS)
            guard.time.at(10)
            await guard.spans(span(1, 7), span(2, 9, duration_ns=500_000_000), span(3, 12, "v2"))
            health = guard.live.health(VERSIONS)
            assert health.baseline.clock_skew_s == pytest.approx(0.5, abs=1e-5)
            assert health.candidate.clock_skew_s == pytest.approx(-2.0, abs=1e-5)
            assert health.of(Role.BASELINE).last_span_age_s == 0
            guard.time.at(100)
            await guard.spans(span(4, 80))
            health = guard.live.health(VERSIONS)
            assert health.baseline.clock_skew_s == pytest.approx(20, abs=1e-5), "what is long ago does not count"
            assert (health.candidate.clock_skew_s, health.candidate.last_span_age_s) == (None, 90)

    run(test())


def test_health_says_what_the_guard_should_know(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder) as guard:
            guard.live.watch(VERSIONS)
            await guard.spans(span(1, 0), span(0, 0), span(2, 0, "v7"))
            guard.time.wall_s += 50
            health = guard.live.health(VERSIONS)
            assert (health.accepted_spans, health.acknowledged_exports, health.refused_spans) == (2, 1, {"trace_id_zero": 1})
            assert (health.store, health.senders_authenticated, health.clock_steps) == (StoreState.OK, False, 1)
            assert (health.baseline.spans, health.candidate.spans, health.candidate.last_span_age_s) == (1, 0, None)
            assert any("not authenticated" in note for note in health.notes)
            assert any("+50.0 s" in note for note in health.notes)

    run(test())


def test_a_span_that_both_matches_claim_counts_for_neither(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder) as guard:
            both = Identity(IdentityMatch({"service.version": "v*"}), IdentityMatch({"service.version": "v2"}))
            guard.live.watch(both)
            await guard.spans(span(1, 0), span(2, 0, "v2"))
            guard.time.at(5)
            assert (await guard.live.settled(both, T0)).unassigned.ambiguous == 1
            assert (guard.live.health(both).baseline.spans, guard.live.health(both).candidate.spans) == (1, 0)

    run(test())


def test_watches_are_bounded_and_end(folder: ChdbStore) -> None:
    async def test() -> None:
        async with guarding(folder) as guard:
            many = [Identity(IdentityMatch({"service.version": f"v{n}"}), None) for n in range(WATCHES_MAX + 1)]
            for identity in many[:-1]:
                guard.live.watch(identity)
                guard.live.watch(identity)
            with pytest.raises(TooManyWatches):
                guard.live.watch(many[-1])
            guard.live.unwatch(many[0])
            guard.live.unwatch(many[0])
            guard.live.watch(many[-1])

    run(test())
