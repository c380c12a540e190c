"""What the receiver's tests share: bodies, stores that can be held or broken, a guard's receiver, and the three ways to send."""

import asyncio
import gzip
import io
import json
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import pyarrow as pa
import zstandard
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.receiver.intake import Intake
from verdigris.telemetry.receiver.listeners import Addresses, Receiver
from verdigris.telemetry.receiver.otlp_grpc import EXPORT

NANO = 1_000_000_000
WAYS = ("grpc", "http+protobuf", "http+json")


def field_bytes(number: int, data: bytes) -> bytes:
    """One length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@dataclass(frozen=True)
class Span:
    """A span to send; everything else is ordinary. `start_unix_s`: now, if None."""

    trace: int
    number: int = 1
    parent: int = 0
    version: str | None = "v1"
    start_unix_s: float | None = None
    duration_ns: int = 1000
    resource: Mapping[str, str] = field(default_factory=dict)

    def attributes(self) -> dict[str, str]:
        return {"service.name": "cart"} | ({"service.version": self.version} if self.version else {}) | dict(self.resource)

    def start_ns(self) -> int:
        return int((time.time() if self.start_unix_s is None else self.start_unix_s) * NANO)


def protobuf(spans: Sequence[Span]) -> bytes:
    """An ExportTraceServiceRequest."""
    body = b""
    for span in spans:
        text = [
            field_bytes(1, field_bytes(1, k.encode()) + field_bytes(2, field_bytes(1, v.encode()))) for k, v in span.attributes().items()
        ]
        start = span.start_ns()
        one = (
            field_bytes(1, span.trace.to_bytes(16)) + field_bytes(2, span.number.to_bytes(8))
            + (field_bytes(4, span.parent.to_bytes(8)) if span.parent else b"") + field_bytes(5, b"work") + _varint(6 << 3) + b"\x02"
            + _varint(7 << 3 | 1) + start.to_bytes(8, "little") + _varint(8 << 3 | 1) + (start + span.duration_ns).to_bytes(8, "little")
        )  # fmt: skip
        body += field_bytes(1, field_bytes(1, b"".join(text)) + field_bytes(2, field_bytes(2, one)))
    return body


def as_json(spans: Sequence[Span]) -> bytes:
    """The same as JSON."""
    resources = []
    for span in spans:
        start = span.start_ns()
        one = {
            "traceId": f"{span.trace:032x}", "spanId": f"{span.number:016x}", "parentSpanId": f"{span.parent:016x}" if span.parent else "",
            "name": "work", "kind": 2, "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + span.duration_ns),
        }  # fmt: skip
        attributes = [{"key": k, "value": {"stringValue": v}} for k, v in span.attributes().items()]
        resources.append({"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [one]}]})
    return json.dumps({"resourceSpans": resources}).encode()


def encoded(spans: Sequence[Span], way: str) -> bytes:
    return as_json(spans) if way == "http+json" else protobuf(spans)


def compressed(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body)
    if encoding == "deflate":
        return zlib.compress(body)
    return zstandard.ZstdCompressor().compress(body) if encoding == "zstd" else body


@dataclass(frozen=True)
class Answer:
    """What a sender hears, the same for every way."""

    code: str
    """As gRPC names it; OK for 200."""
    refused: int = 0
    message: str = ""
    retry_after_s: float | None = None


HTTP_CODES = {200: "OK", 400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 413: "INVALID_ARGUMENT", 415: "UNIMPLEMENTED",
              429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}  # fmt: skip


@dataclass
class Sending:
    """A client of one receiver."""

    channel: Any
    session: aiohttp.ClientSession
    url: str

    async def send(self, way: str, body: bytes, encoding: str = "identity", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a body as it is; `encoding` only says what it is."""
        if way == "grpc":
            return await self._grpc(body, headers or {})
        kind = "application/json" if way == "http+json" else "application/x-protobuf"
        told = {"Content-Type": kind, "Content-Encoding": encoding} | dict(headers or {})
        async with self.session.post(self.url, data=io.BytesIO(body), headers=told | {"Content-Length": str(len(body))}) as answer:
            content = await answer.read()
            assert answer.content_type == kind, (answer.status, content)
            after = answer.headers.get("Retry-After")
            if answer.status == 200:
                return Answer("OK", *_partial(content, as_json=kind == "application/json"))
            code, message, delay = _status(content, as_json=kind == "application/json")
            assert grpc.StatusCode[HTTP_CODES[answer.status]].value[0] == code
            assert (delay is None) == (after is None)
            return Answer(HTTP_CODES[answer.status], message=message, retry_after_s=delay)

    async def spans(self, way: str, spans: Sequence[Span], encoding: str = "identity", headers: Mapping[str, str] | None = None) -> Answer:
        return await self.send(way, compressed(encoded(spans, way), encoding), encoding, headers)

    async def _grpc(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        export = self.channel.unary_unary(EXPORT)
        try:
            content = await export(body, metadata=[(k.lower(), v) for k, v in headers.items()], timeout=20)
        except grpc.aio.AioRpcError as error:
            failed = error
        else:
            return Answer("OK", *_partial(content, as_json=False))
        details = dict(failed.trailing_metadata() or ()).get("grpc-status-details-bin")
        delay = None
        if details is not None:
            code, message, delay = _status(details, as_json=False)
            assert (code, message) == (failed.code().value[0], failed.details())
        return Answer(failed.code().name, message=failed.details() or "", retry_after_s=delay)


def _partial(content: bytes, *, as_json: bool) -> tuple[int, str]:
    if as_json:
        partial = json.loads(content).get("partialSuccess", {})
        return int(partial.get("rejectedSpans", 0)), partial.get("errorMessage", "")
    # Read by hand: the test must not depend on which version of the messages is installed.
    outer = _fields(content)
    partial = _fields(outer[1]) if 1 in outer else {}  # type: ignore[arg-type]
    return int(partial.get(1, 0)), bytes(partial.get(2, b"")).decode()


def _fields(message: bytes) -> dict[int, int | bytes]:
    """Varints and length-delimited fields by number."""
    found: dict[int, int | bytes] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        assert kind in {0, 2}
        value = varint()
        if kind == 2:
            found[number] = message[at : at + value]
            at += value
        else:
            found[number] = value
    return found


def _status(content: bytes, *, as_json: bool) -> tuple[int, str, float | None]:
    if as_json:
        document = json.loads(content)
        delays = [float(d["retryDelay"].removesuffix("s")) for d in document["details"]]
        return document["code"], document["message"], delays[0] if delays else None
    status = status_pb2.Status.FromString(content)
    for detail in status.details:
        info = error_details_pb2.RetryInfo()
        assert detail.Unpack(info)
        return status.code, status.message, info.retry_delay.seconds + info.retry_delay.nanos / NANO
    return status.code, status.message, None


class HeldStore:
    """Keeps batches in memory; inserts wait while `gate` is cleared, and raise `failure` while it is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.failure: Exception | None = None
        self.batches: list[pa.Table] = []

    def insert(self, batch: pa.RecordBatch | pa.Table) -> None:
        self.waiting.set()
        assert self.gate.wait(15)
        if self.failure:
            raise self.failure
        self.batches.append(batch)

    def traces(self) -> list[int]:
        return sorted(int(t, 16) for b in self.batches for t in b.column("TraceId").to_pylist())


@asynccontextmanager
async def receiving(
    store: Any, tls: Any = None, grace_s: float = 5.0, clock: GuardClock | None = None, **more: Any
) -> AsyncIterator[Receiver]:
    """A receiver on ports of its own."""
    intake = Intake(store, clock=clock or GuardClock(), **more)
    receiver = Receiver(intake, Addresses("127.0.0.1:0", "127.0.0.1:0"), tls, grace_s)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


@asynccontextmanager
async def sending(receiver: Receiver, grpc_credentials: Any = None, ssl_context: Any = None) -> AsyncIterator[Sending]:
    """A client of it."""
    address = f"localhost:{receiver.grpc_port}" if grpc_credentials else f"127.0.0.1:{receiver.grpc_port}"
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    if grpc_credentials:
        channel = grpc.aio.secure_channel(address, grpc_credentials, options=options)
    else:
        channel = grpc.aio.insecure_channel(address, options=options)
    scheme, host = ("https", "localhost") if ssl_context else ("http", "127.0.0.1")
    connector = aiohttp.TCPConnector(ssl=ssl_context or True)
    async with channel, aiohttp.ClientSession(connector=connector) as session:
        yield Sending(channel, session, f"{scheme}://{host}:{receiver.http_port}/v1/traces")


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  what is waited for happens in threads and other processes
            await asyncio.sleep(0.01)
