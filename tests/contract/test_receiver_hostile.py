"""What strangers may try: broken, absurd and unfinished exports get an answer, and the receiver lives, in bounded memory."""

import asyncio
import gzip
import json
import random
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.clients.receiving import WAYS, HeldStore, Span, compressed, encoded, field_bytes, protobuf, receiving, sending, until

from verdigris.telemetry.receiver.answers import Accepted, QueueFull, status, success
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.listeners import Receiver
from verdigris.telemetry.receiver.otlp_http import HttpListener

MIB = 1 << 20
QUICK = IntakeBounds(group_wait_s=0.001, retry_after_s=0.05)
SMALL = replace(QUICK, body_bytes_max=1 * MIB, decoded_bytes_max=2 * MIB, table_bytes_max=4 * MIB, export_spans_max=1_000)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(bounded())


class Peak:
    """The most memory of this process since it was made, beyond what it had then."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = self._mib()

    def grown_mib(self) -> int:
        return self._mib() - self._before

    def _mib(self) -> int:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) // 1024


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_refused_before_it_is_large(way: str, encoding: str) -> None:
    zeros = bytes(200 * MIB)
    bomb = compressed(zeros, encoding)
    del zeros

    async def test() -> None:
        bounds = replace(SMALL, body_bytes_max=4 * MIB)
        async with receiving(HeldStore(), bounds=bounds) as receiver, sending(receiver) as client:
            peak = Peak()
            for _ in range(3):
                answer = await client.send(way, bomb, encoding)
                assert (answer.code, answer.retry_after_s) == ("INVALID_ARGUMENT", None)
                assert "too_large" in answer.message
            assert peak.grown_mib() < 60
            assert (await client.spans(way, [Span(1)])).code == "OK"
            assert receiver.intake.health().queue_fill == 0

    run(test())


@pytest.mark.parametrize("way", WAYS)
def test_too_many_bytes_or_spans_or_repetitions_are_refused(way: str) -> None:
    async def test() -> None:
        store = HeldStore()
        async with receiving(store, bounds=SMALL) as receiver, sending(receiver) as client:
            large = await client.send(way, encoded([Span(1, resource={"k": "x" * MIB})], way))
            assert large.retry_after_s is None
            # gRPC refuses by itself what is longer than it was told to take, without saying when to come again.
            assert large.code == ("RESOURCE_EXHAUSTED" if way == "grpc" else "INVALID_ARGUMENT")
            assert (await client.spans(way, [Span(n + 1) for n in range(1_001)])).code == "INVALID_ARGUMENT"
            assert store.batches == []
            assert (await client.spans(way, [Span(1)])).code == "OK"
            assert receiver.intake.health().queue_fill == 0

    run(test())


def test_a_resource_repeated_on_every_span_does_not_fill_the_memory() -> None:
    span = field_bytes(2, field_bytes(1, b"1" * 16) + field_bytes(2, b"2" * 8))
    attribute = field_bytes(1, field_bytes(1, b"k") + field_bytes(2, field_bytes(1, b"v" * 30_000)))
    body = field_bytes(1, field_bytes(1, attribute) + field_bytes(2, span * 900))

    async def test() -> None:
        async with receiving(HeldStore(), bounds=SMALL) as receiver, sending(receiver) as client:
            answer = await client.send("grpc", body)
            assert (answer.code, "too_large" in answer.message) == ("INVALID_ARGUMENT", True)

    run(test())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_is_sent_the_answer_is_one_of_the_protocols(data: st.DataObject) -> None:
    """One receiver for all examples would share a loop; sending many at once in each keeps this quick."""
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    sent: list[tuple[str, bytes, str]] = []
    for _ in range(20):
        way = chance.choice(WAYS)
        encoding = chance.choice(["identity", "gzip", "deflate", "zstd"])
        body = bytearray(encoded([Span(chance.randrange(4), version=chance.choice([None, "é"])) for _ in range(3)], chance.choice(WAYS)))
        if chance.random() < 0.3:
            body = bytearray(gzip.compress(bytes(body)))
        for _ in range(chance.choice([0, 1, 5])):
            if body:
                body[chance.randrange(len(body))] = chance.randrange(256)
        if chance.random() < 0.3:
            del body[chance.randrange(len(body) + 1) :]
        sent.append((way, bytes(body), encoding))

    async def test() -> None:
        store = HeldStore()
        async with receiving(store, bounds=SMALL) as receiver, sending(receiver) as client:
            answers = await asyncio.gather(*(client.send(*one) for one in sent))
            assert {a.code for a in answers} <= {"OK", "INVALID_ARGUMENT"}
            assert (await client.spans("grpc", [Span(7)])).code == "OK"
            health = receiver.intake.health()
            assert health.acknowledged_exports + sum(health.refused_exports.values()) == len(sent) + 1
            assert health.accepted_spans == sum(b.num_rows for b in store.batches)
            assert health.queue_fill == 0

    run(test())


def head(length: str, kind: str = "application/x-protobuf") -> bytes:
    return f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode()


def test_connections_that_stop_in_the_middle_cost_nothing_for_long() -> None:
    async def test() -> None:
        store = HeldStore()
        async with receiving(store, bounds=QUICK) as receiver, sending(receiver) as client:
            listener = HttpListener(receiver.intake, "127.0.0.1:0", read_timeout_s=0.3)
            port = await listener.start()
            body = protobuf([Span(1)])
            writers = []
            for start in (
                head(f"Content-Length: {len(body)}") + body[:-1],
                head("Content-Length: 1000000"),
                head("Transfer-Encoding: chunked") + b"5\r\nabcde\r\n",
                b"POST /v1/traces HTT",
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(start)
                await writer.drain()
                writers.append((reader, writer))
            half_closed = writers[0][1]
            half_closed.write_eof()
            await until(lambda: receiver.intake._held_bytes > 0)
            await until(lambda: receiver.intake._held_bytes == 0)
            answer = await writers[1][0].read(2000)
            assert b"400" in answer.split(b"\r\n")[0]
            assert b"did not arrive" in answer
            assert (await client.spans("http+protobuf", [Span(2)])).code == "OK"
            assert store.traces() == [2]
            for _, writer in writers:
                writer.close()
            await listener.stop()

    run(test())


@pytest.mark.parametrize("length", ["Content-Length: 99999999999", "Content-Length: -5", "Content-Length: x", "Transfer-Encoding: chunked"])
def test_absurd_lengths_are_refused(length: str) -> None:
    async def test() -> None:
        async with receiving(HeldStore(), bounds=SMALL) as receiver, sending(receiver) as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", receiver.http_port)
            writer.write(head(length))
            chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
            try:
                if "chunked" in length:
                    for _ in range(40):
                        writer.write(chunk)
                        await writer.drain()
                answer = await reader.read(2000)
                assert answer.split(b" ")[1] in {b"400", b"413"}, answer
            except ConnectionError:
                assert "chunked" in length
            writer.close()
            assert (await client.spans("http+json", [Span(1)])).code == "OK"
            await until(lambda: receiver.intake._held_bytes == 0)

    run(test())


def test_connections_are_bounded() -> None:
    async def test() -> None:
        async with receiving(HeldStore(), bounds=replace(QUICK, connections_max=5)) as receiver:
            held = [await asyncio.open_connection("127.0.0.1", receiver.http_port) for _ in range(5)]
            await until(lambda: len(_http(receiver)._runner.server.connections) == 5)  # type: ignore[union-attr]
            reader, writer = await asyncio.open_connection("127.0.0.1", receiver.http_port)
            assert await reader.read(10) == b""
            writer.close()
            held.pop()[1].close()
            await until(lambda: len(_http(receiver)._runner.server.connections) == 4)  # type: ignore[union-attr]
            async with sending(receiver) as client:
                assert (await client.spans("http+json", [Span(1)])).code == "OK"
            for _, writer in held:
                writer.close()

    run(test())


def _http(receiver: Receiver) -> HttpListener:
    assert receiver._http is not None
    return receiver._http


def test_exports_under_way_are_bounded() -> None:
    async def test() -> None:
        store = HeldStore()
        store.gate.clear()
        async with receiving(store, bounds=replace(QUICK, exports_max=3)) as receiver, sending(receiver) as client:
            waiting = [asyncio.ensure_future(client.spans("http+json", [Span(n)])) for n in range(1, 4)]
            await until(lambda: receiver.intake._held_spans == 3)
            answer = await client.spans("http+json", [Span(9)])
            assert (answer.code, answer.retry_after_s) == ("RESOURCE_EXHAUSTED", QUICK.retry_after_s)
            store.gate.set()
            assert {a.code for a in await asyncio.gather(*waiting)} == {"OK"}

    run(test())


def test_bytes_announced_but_not_sent_are_within_the_queues_bound() -> None:
    async def test() -> None:
        bounds = replace(QUICK, queue_bytes_max=2 * MIB, body_bytes_max=1 * MIB)
        async with receiving(HeldStore(), bounds=bounds) as receiver:
            writers = []
            for _ in range(2):
                _, writer = await asyncio.open_connection("127.0.0.1", receiver.http_port)
                writer.write(head(f"Content-Length: {MIB}"))
                writers.append(writer)
            await until(lambda: receiver.intake._held_bytes == 2 * MIB)
            reader, writer = await asyncio.open_connection("127.0.0.1", receiver.http_port)
            writer.write(head(f"Content-Length: {MIB}"))
            assert b"429" in (await reader.read(2000)).split(b"\r\n")[0]
            for each in (*writers, writer):
                each.close()
            await until(lambda: receiver.intake._held_bytes == 0)

    run(test())


def test_headers_without_end_are_refused() -> None:
    async def test() -> None:
        async with receiving(HeldStore(), bounds=QUICK) as receiver, sending(receiver) as client:
            async with client.session.post(client.url, headers={"X": "y" * 9_000}) as answer:
                assert answer.status == 400
            refused = await client.spans("grpc", [Span(1)], headers={"x": "y" * 40_000})
            assert refused.code == "RESOURCE_EXHAUSTED"
            assert (await client.spans("grpc", [Span(1)])).code == "OK"

    run(test())


# --- answers as bytes ---------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=5), st.integers(1, 2**40), max_size=4))
def test_a_partial_success_says_how_many_and_why(refused: dict[str, int]) -> None:
    from tests.clients.receiving import _partial  # noqa: PLC0415

    accepted = Accepted(1, refused)
    expected = (sum(refused.values()), accepted.message)
    assert _partial(success(accepted, as_json=False), as_json=False) == expected
    assert _partial(success(accepted, as_json=True), as_json=True) == expected


def test_a_status_says_when_to_come_again() -> None:
    refusal = QueueFull("full", 1.25)
    assert json.loads(status(refusal, as_json=True)) == {
        "code": 8,
        "message": "full",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.250s"}],
    }
    assert b"full" in status(refusal)
