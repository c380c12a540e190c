"""Ten times what can be taken, through both real listeners into the real store: each call is taken or told when to come again."""

import asyncio
import collections
import itertools
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from tests.clients.receiving import Answer, Sending, Span, protobuf, receiving, sending, until

from verdigris.judge.windows import Window
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.telemetry.chdb_store import ChdbStore
from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.live import LiveTelemetry
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.listeners import Receiver
from verdigris.telemetry.receiver.otlp_grpc import EXPORT, GrpcListener

SMALL = IntakeBounds(body_bytes_max=64 << 10, queue_bytes_max=256 << 10, queue_spans_max=80, exports_max=6, retry_after_s=0.2)
SPANS = 40
"""In one export: two of them are all that may wait."""
CHANNELS = 6
WINDOW_S, SETTLE_S = 1, 0.5
ONE = Identity(IdentityMatch({"service.version": "v1"}), None)
STORES = itertools.count()
TRACES = itertools.count(1)


@pytest.fixture(scope="module")
def folder() -> Iterator[ChdbStore]:
    with ChdbStore() as store:
        yield store


@dataclass
class Flood:
    """A guard's telemetry with small bounds, clients on connections of their own, and what they heard."""

    receiver: Receiver
    live: LiveTelemetry
    store: ChdbStore
    clients: list[Sending]
    answers: list[Answer] = field(default_factory=list)
    acknowledged: dict[int, list[int]] = field(default_factory=lambda: collections.defaultdict(list))
    """The traces of acknowledged exports, by the second in which they started."""

    async def export(self, number: int, way: str) -> Answer:
        start_unix_s = time.time()
        traces = [next(TRACES) for _ in range(SPANS)]
        sent = [Span(trace, start_unix_s=start_unix_s) for trace in traces]
        answer = await self.clients[number % CHANNELS].spans(way, sent)
        self.answers.append(answer)
        if answer.code == "OK":
            self.acknowledged[int(start_unix_s)] += traces
        return answer

    def stored(self) -> list[int]:
        return sorted(int(row["t"], 16) for row in self.store._rows_of("SELECT TraceId AS t FROM {table:Identifier}", {}))

    def refused(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.code != "OK"]

    def each_was_taken_or_told_when_to_come_again(self) -> None:
        assert {answer.code for answer in self.answers} == {"OK", "RESOURCE_EXHAUSTED"}
        assert {answer.retry_after_s for answer in self.refused()} == {SMALL.retry_after_s}
        health = self.live.health()
        assert health.refused_exports == {"queue_full": len(self.refused())}
        assert (health.acknowledged_exports, health.queue_fill) == (len(self.answers) - len(self.refused()), 0)
        assert self.stored() == sorted(itertools.chain.from_iterable(self.acknowledged.values()))


@asynccontextmanager
async def flooded(folder: ChdbStore) -> AsyncIterator[Flood]:
    clock, store = GuardClock(), folder.beside(f"flood_{next(STORES)}")
    live = LiveTelemetry(store, clock, window_s=WINDOW_S, settle_s=SETTLE_S)
    async with (
        receiving(store, clock=clock, bounds=SMALL, on_stored=live.observe) as receiver,
        AsyncExitStack() as stack,
    ):
        live.fed_by(receiver.intake)
        yield Flood(receiver, live, store, [await stack.enter_async_context(sending(receiver)) for _ in range(CHANNELS)])
    live.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(200):
            await test

    asyncio.run(bounded())


def test_each_of_hundreds_of_calls_at_once_is_taken_or_told_when_to_come_again(folder: ChdbStore) -> None:
    async def test() -> None:
        async with flooded(folder) as flood:
            fullest = 0.0

            async def look() -> None:
                nonlocal fullest
                while True:
                    fullest = max(fullest, flood.live.health().queue_fill)
                    await asyncio.sleep(0.002)

            looking = asyncio.create_task(look())
            ways = ["grpc"] * 300 + ["http+protobuf"] * 60 + ["http+json"] * 60
            await asyncio.gather(*(flood.export(number, way) for number, way in enumerate(ways)))
            looking.cancel()
            flood.each_was_taken_or_told_when_to_come_again()
            assert fullest > 0.5
            assert len(flood.refused()) > 0.9 * len(ways), "that was no flood"
            said = {answer.message.partition(" ")[2] for answer in flood.refused()}
            assert "exports are under way; send again later" in said
            for number, way in enumerate(("grpc", "http+protobuf", "http+json")):
                assert (await flood.export(number, way)).code == "OK"
            assert flood.stored() == sorted(itertools.chain.from_iterable(flood.acknowledged.values()))

    run(test())


def test_windows_close_while_telemetry_floods(folder: ChdbStore) -> None:
    async def test() -> None:
        async with flooded(folder) as flood:
            began_unix_s = after = int(time.time()) + 1
            closed: list[Window] = []
            flooding = True

            async def lane(number: int) -> None:
                while flooding:
                    answer = await flood.export(number, ("grpc", "grpc", "http+protobuf")[number % 3])
                    await asyncio.sleep(0 if answer.code == "OK" else 0.05)  # four times sooner than it was asked to

            lanes = asyncio.gather(*(lane(number) for number in range(30)))
            looks = 0
            while looks < 4:
                settled = await flood.live.settled(ONE, after)
                looks += settled.until_unix_s > after
                closed += settled.windows.windows
                after = settled.until_unix_s
                await asyncio.sleep(0.05)
            flooding = False
            await lanes
            flood.each_was_taken_or_told_when_to_come_again()
            assert len(flood.refused()) > 0.8 * len(flood.answers), "that was no flood"
            # What is in no window came too late for it, and is counted as that: nothing is skipped in silence.
            sent = sum(len(traces) for second, traces in flood.acknowledged.items() if began_unix_s <= second < after)
            seen = sum(window.baseline.traces.traces for window in closed)
            assert sent - flood.live.health(ONE).late_spans <= seen <= sent
            assert seen > 0

    run(test())


def test_a_call_whose_body_never_comes_keeps_others_waiting_for_its_time_only(folder: ChdbStore) -> None:
    async def test() -> None:
        async with flooded(folder) as flood:
            listener = GrpcListener(flood.receiver.intake, "127.0.0.1:0", read_timeout_s=0.5)
            places = listener._reading._value
            port = await listener.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                silent = [channel.stream_unary(EXPORT)() for _ in range(places)]
                await until(listener._reading.locked)
                assert await channel.unary_unary(EXPORT)(protobuf([Span(next(TRACES))]), timeout=20) == b""
                for call in silent:
                    with pytest.raises(grpc.aio.AioRpcError, match="did not arrive within"):
                        await call
                assert listener._under_way == 0
            await listener.stop(0)

    run(test())
