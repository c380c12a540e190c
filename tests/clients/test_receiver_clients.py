"""Real senders against the real receiver: the Python and JavaScript SDKs, and an OpenTelemetry Collector with its retry queue."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.clients.receiving import HeldStore, Span, protobuf, receiving, until
from tests.required import missing

from verdigris.telemetry.chdb_store import ChdbStore
from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.intake import Intake
from verdigris.telemetry.receiver.listeners import Addresses, Receiver
from verdigris.telemetry.receiver.otlp_grpc import EXPORT
from verdigris.telemetry.store import StoreFull

ROOT = Path(__file__).parents[2]
COLLECTOR = ROOT / "build" / "collector"
JS_MODULES = ROOT / "build" / "js-client"
SPANS = 500
QUICK = IntakeBounds(group_wait_s=0.001, retry_after_s=0.2)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(120):
            await test

    asyncio.run(bounded())


def rows(store: HeldStore) -> list[dict[str, Any]]:
    return [row for batch in store.batches for row in batch.to_pylist()]


async def output_of(*command: str, environ: dict[str, str] | None = None) -> str:
    """Run a sender to its end; its own errors fail the test."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | (environ or {})
    )
    try:
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()[-3000:]
    return out.decode()


# --- SDKs ---------------------------------------------------------------------------------------------------------------------

PYTHON = """
import sys
protocol, url, count, compression = sys.argv[1:]
if protocol == "grpc":
    from grpc import Compression
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    exporter = OTLPSpanExporter(url, insecure=True, compression=Compression[compression])
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    exporter = OTLPSpanExporter(url, compression=Compression[compression])
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult, BatchSpanProcessor
from opentelemetry.trace import SpanKind

class Noted(SpanExporter):
    def export(self, spans):
        result = exporter.export(spans)
        print(result.name)
        return result
    def shutdown(self):
        exporter.shutdown()

provider = TracerProvider(resource=Resource({"service.name": "python", "service.version": "v1"}))
provider.add_span_processor(BatchSpanProcessor(Noted(), max_queue_size=100_000))
tracer = provider.get_tracer("test")
for n in range(int(count)):
    with tracer.start_as_current_span(f"work {n}", kind=SpanKind.SERVER, attributes={"http.route": "/python/{id}", "n": n}):
        pass
provider.shutdown()
"""


def intact_messages() -> bool:
    """Whether the installed OTLP messages are those the SDK's exporters need: another package ships older ones under the same name."""
    source = "from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans; ResourceSpans().scope_spans"
    return subprocess.run([sys.executable, "-c", source], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_spans_of_the_python_sdk_arrive(protocol: str, compression: str) -> None:
    if not intact_messages():
        pytest.skip("the installed opentelemetry.proto messages are overwritten by older ones of another package")

    async def test() -> None:
        store = HeldStore()
        async with receiving(store, bounds=QUICK) as receiver:
            grpc_url, http_url = f"127.0.0.1:{receiver.grpc_port}", f"http://127.0.0.1:{receiver.http_port}/v1/traces"
            url, named = (
                (grpc_url, {"none": "NoCompression", "gzip": "Gzip"})
                if protocol == "grpc"
                else (http_url, {"none": "NoCompression", "gzip": "Gzip"})
            )
            said = await output_of(sys.executable, "-c", textwrap.dedent(PYTHON), protocol, url, str(SPANS), named[compression])
            assert set(said.split()) == {"SUCCESS"}
            found = rows(store)
            assert sorted(r["SpanName"] for r in found) == sorted(f"work {n}" for n in range(SPANS))
            assert {(r["ServiceName"], r["SpanKind"]) for r in found} == {("python", "Server")}
            assert {dict(r["ResourceAttributes"])["service.version"] for r in found} == {"v1"}

    run(test())


@pytest.mark.parametrize("protocol", ["grpc", "proto", "json"])
def test_spans_of_the_javascript_sdk_arrive(protocol: str) -> None:
    node = shutil.which("node")
    if not node or not (JS_MODULES / "made-from").exists():
        missing("node", "needs Node.js and build/js-client (scripts/setup-js-client)")

    async def test() -> None:
        store = HeldStore()
        async with receiving(store, bounds=QUICK) as receiver:
            url = f"http://127.0.0.1:{receiver.grpc_port}" if protocol == "grpc" else f"http://127.0.0.1:{receiver.http_port}/v1/traces"
            script = str(ROOT / "tests" / "clients" / "js" / "send.mjs")
            said = await output_of(node, script, protocol, url, str(SPANS), environ={"MODULES": str(JS_MODULES)})
            assert set(json.loads(said)) == {0}
            found = rows(store)
            assert sorted(r["SpanName"] for r in found) == sorted(f"work {n}" for n in range(SPANS))
            assert {(r["ServiceName"], r["SpanKind"]) for r in found} == {("js", "Server")}
            assert dict(found[0]["SpanAttributes"])["list"] == '["a","b"]'

    run(test())


# --- the Collector ------------------------------------------------------------------------------------------------------------

CONFIG = """
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters:
  {exporter}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [{name}]}}}}
"""
RETRY = (
    "retry_on_failure: {initial_interval: 100ms, max_interval: 300ms, max_elapsed_time: 0}, "
    "sending_queue: {num_consumers: 4, queue_size: 100000}"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def collector(folder: Path, exporter: str, port: int, compression: str) -> AsyncIterator[Any]:
    """A Collector that sends on to this port; yields a channel to it."""
    if not COLLECTOR.exists():
        missing("collector", "needs build/collector (scripts/setup-collector; Go)")
    if exporter == "grpc":
        name, told = (
            "otlp_grpc",
            f'otlp_grpc: {{endpoint: "127.0.0.1:{port}", compression: {compression}, tls: {{insecure: true}}, {RETRY}}}',
        )
    else:
        kind = "json" if exporter == "http+json" else "proto"
        name, told = (
            "otlp_http",
            f'otlp_http: {{endpoint: "http://127.0.0.1:{port}", compression: {compression}, encoding: {kind}, {RETRY}}}',
        )
    own = free_port()
    config = folder / "collector.yaml"
    config.write_text(CONFIG.format(port=own, exporter=told, name=name))
    with (folder / "collector.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(str(COLLECTOR), "--config", f"file:{config}", stdout=log, stderr=log)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{own}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                async with asyncio.timeout(20):
                    await channel.channel_ready()
                yield channel
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def offer(channel: Any, first: int, count: int) -> None:
    """Spans to the Collector, which takes them whatever becomes of the guard."""
    export = channel.unary_unary(EXPORT)
    for number in range(first, first + count, 10):
        await export(protobuf([Span(n) for n in range(number, number + 10)]), timeout=20)


WAYS = [
    ("grpc", "none"),
    ("grpc", "gzip"),
    ("http+protobuf", "gzip"),
    ("http+protobuf", "zstd"),
    ("http+protobuf", "deflate"),
    ("http+json", "none"),
]


@pytest.mark.parametrize(("exporter", "compression"), WAYS)
def test_a_collector_sends_in_every_way_it_has(tmp_path: Path, exporter: str, compression: str) -> None:
    async def test() -> None:
        store = HeldStore()
        async with receiving(store, bounds=QUICK) as receiver:
            port = receiver.grpc_port if exporter == "grpc" else receiver.http_port
            assert port
            async with collector(tmp_path, exporter, port, compression) as channel:
                await offer(channel, 1, 200)
                await until(lambda: sum(b.num_rows for b in store.batches) >= 200)
            assert store.traces() == list(range(1, 201))
            assert receiver.intake.health().refused_exports == {}

    run(test())


@pytest.mark.parametrize("exporter", ["grpc", "http+protobuf"])
def test_a_collector_loses_nothing_while_the_guard_says_later(tmp_path: Path, exporter: str) -> None:
    """Its queue keeps what is answered RESOURCE_EXHAUSTED or UNAVAILABLE; undecodable would have been dropped."""

    async def test() -> None:
        store = HeldStore()
        async with receiving(store, bounds=replace(QUICK, queue_spans_max=25)) as receiver:
            port = receiver.grpc_port if exporter == "grpc" else receiver.http_port
            assert port
            async with collector(tmp_path, exporter, port, "gzip") as channel:
                await offer(channel, 1, 100)
                for failure in (StoreFull("no space"), RuntimeError("broken")):
                    store.failure = failure
                    before = sum(receiver.intake.health().refused_exports.values())
                    await offer(channel, len(set(store.traces())) + 1000, 10)
                    await until(lambda before=before: sum(receiver.intake.health().refused_exports.values()) > before + 1)  # type: ignore[misc]
                    store.failure = None
                store.gate.clear()
                await offer(channel, 101, 300)
                await until(lambda: "queue_full" in receiver.intake.health().refused_exports)
                store.gate.set()
                await until(lambda: set(range(1, 401)) <= set(store.traces()), 60)

    run(test())


def test_a_collector_loses_nothing_while_the_guard_is_away(tmp_path: Path) -> None:
    """The receiver stops and starts again with the same store; every span arrives as one distinct span."""

    async def test() -> None:
        with ChdbStore(tmp_path / "spans") as store:
            port = free_port()

            async def guard() -> Receiver:
                receiver = Receiver(Intake(store, clock=GuardClock(), bounds=QUICK), Addresses(f"127.0.0.1:{port}", None))
                await receiver.start()
                return receiver

            def distinct() -> tuple[int, int]:
                (row,) = store._rows_of("SELECT uniqExact(TraceId, SpanId) AS n, count() AS c FROM otel_traces", {})
                return row["n"], row["c"]

            async with collector(tmp_path, "grpc", port, "gzip") as channel:
                receiver = await guard()
                sending = asyncio.create_task(offer(channel, 1, 2_000))
                await until(lambda: distinct()[0] > 100)
                await receiver.stop()
                await offer(channel, 2_001, 500)
                receiver = await guard()
                await sending
                await until(lambda: distinct()[0] >= 2_500, 60)
                await receiver.stop()
            assert distinct()[0] == 2_500

    run(test())
