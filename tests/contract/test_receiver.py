"""What senders are promised, whichever way they come: gRPC, HTTP with protobuf, HTTP with JSON."""

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from tests.clients.receiving import WAYS, HeldStore, Span, compressed, encoded, protobuf, receiving, sending, until

from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.receiver.answers import Stopping
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.intake import Intake, StoreState
from verdigris.telemetry.store import StoreError, StoreFull

QUICK = IntakeBounds(group_wait_s=0.001, retry_after_s=0.05)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(bounded())


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate", "zstd"])
@pytest.mark.parametrize("way", WAYS)
def test_an_export_is_answered_when_it_is_stored(way: str, encoding: str) -> None:
    async def test() -> None:
        store = HeldStore()
        store.gate.clear()
        async with receiving(store, bounds=QUICK) as receiver, sending(receiver) as client:
            answer = asyncio.ensure_future(client.spans(way, [Span(1), Span(2)], encoding))
            await asyncio.to_thread(store.waiting.wait, 20)
            done, _ = await asyncio.wait([answer], timeout=0.1)
            assert not done, "answered before the insert returned"
            store.gate.set()
            assert (await answer).code == "OK"
            assert store.traces() == [1, 2]
            health = receiver.intake.health()
            assert (health.accepted_spans, health.acknowledged_exports, health.queue_fill) == (2, 1, 0)

    run(test())


@pytest.mark.parametrize("way", WAYS)
def test_an_export_without_spans_is_accepted(way: str) -> None:
    async def test() -> None:
        store = HeldStore()
        async with receiving(store) as receiver, sending(receiver) as client:
            assert (await client.spans(way, [])).code == "OK"
            assert (store.batches, receiver.intake.health().acknowledged_exports) == ([], 1)

    run(test())


@pytest.mark.parametrize("way", WAYS)
def test_spans_that_cannot_be_are_refused_alone_and_counted(way: str) -> None:
    async def test() -> None:
        store = HeldStore()
        refused: list[tuple[str, str, int, str]] = []
        async with receiving(store, bounds=QUICK, on_refused=lambda *told: refused.append(told)) as receiver, sending(receiver) as client:
            now = receiver.intake._clock.now_unix_s()
            old, ahead = Span(3, version="old", start_unix_s=now - 90_000), Span(4, start_unix_s=now + 700)
            answer = await client.spans(way, [Span(1), Span(0), old, ahead, Span(2)])
            assert (answer.code, answer.refused) == ("OK", 3)
            for why in ("trace_id_zero", "before the guard's retention", "guard's future"):
                assert why in answer.message
            assert store.traces() == [1, 2]
            health = receiver.intake.health()
            assert health.refused_spans == {"trace_id_zero": 1, "time_too_old": 1, "time_ahead": 1}
            assert health.refused_by_sender[("anyone", "time_too_old")] == 1
            assert ("anyone", "time_too_old", 1, "service.name=cart,service.version=old") in refused
            assert len(refused) == 3

    run(test())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_what_cannot_be_decoded_must_not_be_sent_again(way: str, encoding: str) -> None:
    async def test() -> None:
        store = HeldStore()
        async with receiving(store, bounds=QUICK) as receiver, sending(receiver) as client:
            broken = encoded([Span(1)], way)[:-3]
            answer = await client.send(way, compressed(broken, encoding), encoding)
            assert (answer.code, answer.retry_after_s) == ("INVALID_ARGUMENT", None)
            assert "truncated" in answer.message
            assert receiver.intake.health().refused_exports == {"undecodable": 1}
            assert (await client.spans(way, [Span(1)])).code == "OK"
            assert receiver.intake.health().queue_fill == 0

    run(test())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bound", ["spans", "bytes"])
def test_a_full_queue_is_answered_at_once_with_when_to_come_again(way: str, bound: str) -> None:
    async def test() -> None:
        store = HeldStore()
        store.gate.clear()
        bounds = replace(QUICK, queue_spans_max=3, retry_after_s=1.5) if bound == "spans" else replace(QUICK, queue_bytes_max=900)
        async with receiving(store, bounds=bounds) as receiver, sending(receiver) as client:
            first = asyncio.ensure_future(client.spans(way, [Span(1), Span(2)]))
            await asyncio.to_thread(store.waiting.wait, 20)
            answer = await client.spans(way, [Span(3), Span(4)])
            assert (answer.code, answer.retry_after_s) == ("RESOURCE_EXHAUSTED", bounds.retry_after_s)
            assert receiver.intake.health().queue_fill > 0.5
            store.gate.set()
            assert (await first).code == "OK"
            assert (await client.spans(way, [Span(3), Span(4)])).code == "OK"
            assert store.traces() == [1, 2, 3, 4]
            assert receiver.intake.health().queue_fill == 0

    run(test())


@pytest.mark.parametrize(
    ("failure", "code", "state"),
    [
        (StoreError("broken"), "UNAVAILABLE", StoreState.FAILING),
        (RuntimeError("a mistake of ours"), "UNAVAILABLE", StoreState.FAILING),
        (StoreFull("no space left"), "RESOURCE_EXHAUSTED", StoreState.FULL),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_store_that_fails_is_said_retryably_and_when_it_works_again_spans_are_taken(
    way: str, failure: Exception, code: str, state: StoreState
) -> None:
    async def test() -> None:
        store = HeldStore()
        store.failure = failure
        async with receiving(store, bounds=QUICK) as receiver, sending(receiver) as client:
            answer = await client.spans(way, [Span(1)])
            assert (answer.code, answer.retry_after_s) == (code, QUICK.retry_after_s)
            assert receiver.intake.health().store is state
            store.failure = None
            while (again := await client.spans(way, [Span(1)])).code == "RESOURCE_EXHAUSTED":
                assert state is StoreState.FULL
                await asyncio.sleep(again.retry_after_s or 0)
            health = receiver.intake.health()
            assert (again.code, store.traces(), health.store, health.queue_fill) == ("OK", [1], StoreState.OK, 0)

    run(test())


@pytest.mark.parametrize("way", WAYS)
def test_below_the_floor_of_free_space_nothing_is_written(way: str, tmp_path: Path) -> None:
    async def test() -> None:
        store, free = HeldStore(), {"bytes": 1_000}
        bounds = replace(QUICK, free_bytes_min=2_000)
        more: dict[str, Any] = {"folder": tmp_path, "disk_free_bytes": lambda _: free["bytes"]}
        async with receiving(store, bounds=bounds, **more) as receiver, sending(receiver) as client:
            answer = await client.spans(way, [Span(1)])
            assert (answer.code, answer.retry_after_s, store.batches) == ("RESOURCE_EXHAUSTED", bounds.retry_after_s, [])
            assert receiver.intake.health().store is StoreState.FULL
            free["bytes"] = 3_000
            await asyncio.sleep(bounds.retry_after_s)
            assert (await client.spans(way, [Span(1)])).code == "OK"
            assert receiver.intake.health().store is StoreState.OK

    run(test())


def test_exports_that_come_together_are_made_durable_together() -> None:
    async def test() -> None:
        store = HeldStore()
        store.gate.clear()
        async with receiving(store, bounds=QUICK) as receiver, sending(receiver) as client:
            answers = [asyncio.ensure_future(client.spans("grpc", [Span(n)])) for n in range(1, 101)]
            await until(lambda: receiver.intake._held_spans == 100)
            store.gate.set()
            assert {a.code for a in await asyncio.gather(*answers)} == {"OK"}
            assert store.traces() == list(range(1, 101))
            assert len(store.batches) <= 3

    run(test())


def test_a_group_is_bounded() -> None:
    async def test() -> None:
        store = HeldStore()
        store.gate.clear()
        bounds = replace(QUICK, group_spans_max=4)
        async with receiving(store, bounds=bounds) as receiver, sending(receiver) as client:
            answers = [asyncio.ensure_future(client.spans("grpc", [Span(n), Span(n)])) for n in range(1, 11)]
            await until(lambda: receiver.intake._held_spans == 20)
            store.gate.set()
            await asyncio.gather(*answers)
            assert max(b.num_rows for b in store.batches) <= 4

    run(test())


def test_a_listener_of_the_intake_that_fails_costs_nobody_spans() -> None:
    async def test() -> None:
        def broken(*_: object) -> None:
            msg = "a mistake"
            raise RuntimeError(msg)

        store = HeldStore()
        async with receiving(store, bounds=QUICK, on_stored=broken, on_refused=broken) as receiver, sending(receiver) as client:
            answer = await client.spans("grpc", [Span(1), Span(0)])
            assert (answer.code, answer.refused, store.traces()) == ("OK", 1, [1])

    run(test())


@pytest.mark.parametrize("way", WAYS)
def test_stopping_answers_what_is_under_way_and_refuses_the_rest(way: str) -> None:
    async def test() -> None:
        store = HeldStore()
        store.gate.clear()
        async with receiving(store, bounds=QUICK) as receiver, sending(receiver) as client:
            under_way = [asyncio.ensure_future(client.spans(way, [Span(n)])) for n in (1, 2, 3)]
            await until(lambda: receiver.intake._held_spans == 3)
            stopping = asyncio.ensure_future(receiver.stop())
            await asyncio.sleep(0)
            threading.Timer(0.1, store.gate.set).start()
            assert [(await answer).code for answer in under_way] == ["OK"] * 3
            await stopping
            assert store.traces() == [1, 2, 3]
            with pytest.raises((aiohttp.ClientError, AssertionError)):
                assert (await client.spans(way, [Span(4)])).code == "OK"
            assert store.traces() == [1, 2, 3]

    run(test())


def test_closing_makes_durable_what_waits_and_refuses_the_rest() -> None:
    async def test() -> None:
        store, body = HeldStore(), protobuf([Span(1)])
        store.gate.clear()
        intake = Intake(store, clock=GuardClock(), bounds=replace(QUICK, group_spans_max=1))
        waiting = []
        for _ in range(3):
            intake.reserve(len(body))
            waiting.append(asyncio.ensure_future(intake.take(body, "protobuf", "identity", None)))
        await until(lambda: intake._held_spans == 3)
        closing = asyncio.ensure_future(intake.close())
        await until(lambda: intake._closing)
        with pytest.raises(Stopping):
            intake.reserve(len(body))
        store.gate.set()
        assert [a.spans for a in await asyncio.gather(*waiting)] == [1, 1, 1]
        await closing
        assert store.traces() == [1, 1, 1]

    run(test())


def test_who_goes_away_before_the_answer_leaves_no_bytes_behind() -> None:
    async def test() -> None:
        store = HeldStore()
        store.gate.clear()
        async with receiving(store, bounds=QUICK) as receiver, sending(receiver) as client:
            for way in WAYS:
                gone = asyncio.ensure_future(client.spans(way, [Span(1)]))
                held = receiver.intake._held_spans
                await until(lambda held=held: receiver.intake._held_spans > held)  # type: ignore[misc]
                gone.cancel()
                await asyncio.wait([gone])
            store.gate.set()
            await until(lambda: receiver.intake.health().queue_fill == 0)
            assert (await client.spans("grpc", [Span(2)])).code == "OK"

    run(test())


def test_other_paths_methods_types_and_encodings_are_told_what_is_possible() -> None:
    async def test() -> None:
        async with receiving(HeldStore(), bounds=QUICK) as receiver, sending(receiver) as client:
            session = client.session
            async with session.get(client.url) as answer:
                assert answer.status == 405
            async with session.post(client.url.replace("traces", "metrics")) as answer:
                assert answer.status == 404
            for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/json", "Content-Encoding": "br"}):
                async with session.post(client.url, data=b"{}", headers=headers) as answer:
                    assert answer.status == 415
                    assert b"application/x-protobuf" in await answer.read()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            upper = await client.send(
                "http+protobuf", protobuf([Span(1)]), headers={"Content-Type": "Application/X-Protobuf; charset=utf-8"}
            )
            assert upper.code == "OK"

    run(test())
