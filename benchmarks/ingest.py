"""How many spans a second the receiver acknowledges as durable, with everything on, and in how much memory.

    python benchmarks/ingest.py [--seconds 30] [--clients 2] [--batch 8192] [--in-flight 2] [--window 10] [--rate 0]

A guard in a process of its own: OTLP/gRPC, group commit, one watched rollout, windows asked for as soon as each has settled.
Clients in other processes on the same machine send traces of ten spans (eight attributes each) that end now, as gRPC messages
made beforehand in which only ids and times change; they share the processors with the guard. `--rate` (spans/s, all clients
together; 0: as fast as answers come) holds a steady load, as for the ten-minute run: --seconds 600 --rate 50000.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import random
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.telemetry.chdb_store import ChdbStore
from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.live import LiveTelemetry
from verdigris.telemetry.receiver.intake import Intake
from verdigris.telemetry.receiver.listeners import Addresses, Receiver
from verdigris.telemetry.receiver.otlp_grpc import EXPORT
from verdigris.telemetry.retention import Retention, RetentionBounds

IDENTITY = Identity(IdentityMatch({"service.version": "v1"}), IdentityMatch({"service.version": "v2"}))
TRACE_SPANS = 10
NANO = 1_000_000_000
KINDS = (2, 1, 3, 2, 3, 2, 1, 3, 2, 3)
PARENTS = (-1, 0, 0, 2, 3, 4, 5, 5, 7, 8)
SERVICES = ("frontend", "frontend", "frontend", "cart", "cart", "checkout", "checkout", "checkout", "payment", "payment")


def varint(number: int) -> bytes:
    """A protobuf varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def attribute(key: str, value: str) -> bytes:
    """A KeyValue with text."""
    return field(1, key.encode()) + field(2, field(1, value.encode()))


class Template:
    """An export whose ids and times are written in place: making bodies must not cost what is measured."""

    def __init__(self, spans: int, seed: int) -> None:
        """`spans` in traces of ten, half of each role; services are resources of their own, as an SDK sends them."""
        chance = random.Random(seed)
        traces = spans // TRACE_SPANS
        by_resource: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for trace in range(traces):
            for place in range(TRACE_SPANS):
                by_resource.setdefault((SERVICES[place], "v1" if trace % 2 else "v2"), []).append((trace, place))
        marker = b"\xa5" * 16
        body = bytearray()
        wanted: list[tuple[int, int, int]] = []
        for (service, role), members in by_resource.items():
            named = {"service.name": service, "service.version": role, "host.name": "node-7", "service.instance.id": f"{service}-{role}-1"}
            named |= {"telemetry.sdk.language": "go", "os.type": "linux"}
            resource_bytes = b"".join(field(1, attribute(k, v)) for k, v in named.items())
            encoded = []
            for trace, place in members:
                duration = int(chance.lognormvariate(0, 0.3) * 1_000_000 * (TRACE_SPANS - place))
                parent = field(4, b"\xa5" * 8) if PARENTS[place] >= 0 else b""
                attributes = b"".join(field(9, attribute(f"attribute.{n}", f"value {n} {chance.randrange(50)}")) for n in range(7))
                span = (
                    field(1, marker) + field(2, b"\xa5" * 8) + parent + field(5, f"{service} work {place}".encode())
                    + varint(6 << 3) + varint(KINDS[place])
                    + varint(7 << 3 | 1) + b"\xa5" * 8 + varint(8 << 3 | 1) + b"\xa5" * 8 + attributes
                    + field(9, attribute("http.route", f"/{service}/{{id}}"))
                )  # fmt: skip
                wanted.append((trace, place, duration))
                encoded.append(field(2, span))
            scope = field(1, field(1, b"bench"))
            body += field(1, field(1, resource_bytes) + field(2, scope + b"".join(encoded)))
        places = []
        at = 0
        for _, place, _ in wanted:
            trace_at = body.index(marker, at)
            span_at = trace_at + 16 + 2
            parent_at = span_at + 8 + 2 if PARENTS[place] >= 0 else -1
            start_at = body.index(b"\x39" + b"\xa5" * 8, span_at + 8) + 1
            places.append((trace_at, span_at, parent_at, start_at))
            at = start_at + 17
        self.spans = len(wanted)
        self.body = np.frombuffer(bytes(body), np.uint8).copy()
        self.trace, self.place, self.duration = (np.array(column, np.uint64) for column in zip(*wanted, strict=True))
        self.trace_at, self.span_at, self.parent_at, self.start_at = (np.array(column) for column in zip(*places, strict=True))
        self.has_parent = self.parent_at >= 0
        self.parent = np.array(PARENTS, np.int64)[self.place.astype(np.int64)]

    def filled(self, number: int) -> bytes:
        """A body whose traces begin now and have ids of their own; `number` below 2^63 is never given twice."""
        start = np.uint64(time.time_ns() - 20_000_000) + self.place * np.uint64(100_000)
        children = self.has_parent
        self._put(self.trace_at, np.full(self.spans, number + 1, ">u8"))
        self._put(self.trace_at + 8, self.trace.astype(">u8"))
        self._put(self.span_at, (self.trace * np.uint64(16) + self.place + np.uint64(1)).astype(">u8"))
        parents = self.trace[children] * np.uint64(16) + self.parent[children].astype(np.uint64) + np.uint64(1)
        self._put(self.parent_at[children], parents.astype(">u8"))
        self._put(self.start_at, start.astype("<u8"))
        self._put(self.start_at + 9, (start + self.duration).astype("<u8"))
        return self.body.tobytes()

    def _put(self, at: Any, values: Any) -> None:
        self.body[at[:, None] + np.arange(8)] = values.view(np.uint8).reshape(-1, 8)


def client(number: int, port: int, batch: int, in_flight: int, rate: float, seconds: float, told: Connection) -> None:
    """Send until the time is up; tell how much was acknowledged, how long answers took and what sending cost."""
    template = Template(batch, number)
    told.send("ready")
    told.recv()
    acknowledged, refused, waits = 0, 0, []
    options = [("grpc.max_send_message_length", -1)]

    async def run() -> None:
        nonlocal acknowledged, refused
        end = time.monotonic() + seconds
        sent = 0
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            export = channel.unary_unary(EXPORT)

            async def one(lane: int) -> None:
                nonlocal acknowledged, refused, sent
                begun = time.monotonic()
                while time.monotonic() < end:
                    if rate:
                        due = begun + sent * template.spans / rate
                        await asyncio.sleep(max(0.0, due - time.monotonic()))
                    sent += 1
                    body = template.filled((number << 48) + (lane << 40) + sent)
                    at = time.monotonic()
                    try:
                        await export(body)
                        acknowledged += template.spans
                        waits.append(time.monotonic() - at)
                    except grpc.aio.AioRpcError:
                        refused += template.spans
                        await asyncio.sleep(0.1)

            await asyncio.gather(*(one(lane) for lane in range(in_flight)))

    asyncio.run(run())
    used = resource.getrusage(resource.RUSAGE_SELF)
    told.send((acknowledged, refused, waits, used.ru_utime + used.ru_stime))


async def guard(told: Connection, folder: str, window_s: int, seconds: float) -> None:
    """The guard's telemetry, and a rollout's looks; memory once a second."""
    with ChdbStore(Path(folder) / "spans") as store:
        clock = GuardClock()
        live = LiveTelemetry(store, clock, window_s=window_s, settle_s=2.0)
        intake = Intake(store, clock=clock, folder=Path(folder), on_stored=live.observe)
        live.fed_by(intake)
        receiver = Receiver(intake, Addresses("127.0.0.1:0", None))
        await receiver.start()
        retention = asyncio.create_task(Retention(store, RetentionBounds(), clock).run())
        told.send(receiver.grpc_port)
        after = int(time.time()) // window_s * window_s
        loop = asyncio.get_running_loop()
        begun, cpu = time.monotonic(), time.process_time()
        looks: list[float] = []
        traces = 0
        memory: list[tuple[float, int]] = []
        while time.monotonic() < begun + seconds + window_s + 4:
            at = time.monotonic()
            settled = await live.settled(IDENTITY, after)
            if settled.until_unix_s > after:
                looks.append(time.monotonic() - at)
                traces += sum(w.baseline.traces.traces + w.candidate.traces.traces for w in settled.windows.windows)
            after = settled.until_unix_s
            memory.append((time.monotonic() - begun, await loop.run_in_executor(None, resident_mb)))
            await asyncio.sleep(max(0.0, 0.5 - (time.monotonic() - at)))
        health = live.health(IDENTITY)
        used = time.process_time() - cpu
        retention.cancel()
        await receiver.stop()
        live.close()
        kept = sum(s.spans for s in store.slices())
        told.send({
            "looks": looks, "memory": memory, "cpu_s": used, "kept": kept, "traces": traces, "late": health.late_spans,
            "refused": dict(health.refused_exports), "size_bytes": store.size_bytes(),
        })  # fmt: skip


def resident_mb() -> int:
    """This process's memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def run_guard(*arguments: Any) -> None:
    """In a process of its own."""
    asyncio.run(guard(*arguments))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ours, theirs = context.Pipe()
        process = context.Process(target=run_guard, args=(theirs, folder, options.window, options.seconds))
        process.start()
        port = ours.recv()
        clients = []
        for number in range(options.clients):
            mine, its = context.Pipe()
            arguments = (number + 1, port, options.batch, options.in_flight, options.rate / options.clients, options.seconds, its)
            sender = context.Process(target=client, args=arguments)
            sender.start()
            clients.append((sender, mine))
        for _, pipe in clients:
            pipe.recv()
        for _, pipe in clients:
            pipe.send("go")
        told = [pipe.recv() for _, pipe in clients]
        seen = ours.recv()
        for sender, _ in clients:
            sender.join()
        process.join()
    waits = sorted(w for t in told for w in t[2])
    return {
        "acknowledged": sum(t[0] for t in told),
        "refused_spans": sum(t[1] for t in told),
        "waits": waits,
        "client_cpu_s": sum(t[3] for t in told),
        **seen,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8192, help="spans in an export")
    parser.add_argument("--in-flight", type=int, default=2, help="exports under way per client")
    parser.add_argument("--window", type=int, default=10, help="length of a window, seconds")
    parser.add_argument("--rate", type=float, default=0, help="spans a second, all clients together; 0: as fast as answered")
    parser.add_argument("--folder", default=None, help="where the guard keeps spans meanwhile")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    rate = found["acknowledged"] / options.seconds
    if options.json:
        found["spans_per_s"] = rate
        json.dump(found, sys.stdout)
        return 0
    waits, looks = found["waits"] or [0.0], found["looks"] or [0.0]
    kept, cores = max(1, found["kept"]), found["cpu_s"] / (options.seconds + options.window + 4)
    versions = f"chDB {version('chdb')}, grpcio {version('grpcio')}"
    answered, p99, longest = (f"{waits[int(at * (len(waits) - 1))] * 1000:.0f} ms" for at in (0.5, 0.99, 1))
    looked = sorted(looks)[len(looks) // 2]
    rows = [
        ("acknowledged durable", f"{rate:,.0f} spans/s", f"{found['acknowledged']:,} in all, refused {found['refused_spans']:,}"),
        (
            "kept",
            f"{found['kept']:,} spans",
            f"lost {found['acknowledged'] - found['kept']:,}, {found['size_bytes'] / kept:.0f} bytes each",
        ),
        ("in windows", f"{found['traces'] * TRACE_SPANS:,} spans", f"late {found['late']:,}"),
        ("answer", answered, f"p99 {p99}, longest {longest}"),
        ("look at the windows", f"{looked:.2f} s", f"longest {max(looks):.2f} s, {len(looks)} windows of {options.window} s"),
        (
            "guard's processor time",
            f"{found['cpu_s'] / kept * 1e6:.1f} µs/span",
            f"{cores:.2f} processors; clients {found['client_cpu_s']:.0f} s",
        ),
    ]
    print(
        f"{platform.machine()}, {os.cpu_count()} processors for all, {options.clients} clients; load {os.getloadavg()[0]:.1f}, {versions}"
    )
    for what, figure, more in rows:
        print(f"{what:<23}{figure:>18}   {more}")
    memory = found["memory"]
    marks = [memory[len(memory) * n // 10] for n in range(10)] + [memory[-1]]
    print("memory over time       " + "  ".join(f"{int(at)}s {mb}MB" for at, mb in marks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
