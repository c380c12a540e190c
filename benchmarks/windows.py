"""How fast the embedded store keeps spans and turns them into windows, and in how much memory.

    python benchmarks/windows.py [--spans 2000000] [--per-second 2000] [--chunk 1000000]

Traces of ten spans: a shared gateway, four services in two versions on three instances each, a shared database client. Eight
attributes per span, six per resource; 1 % of the requests fail. `--per-second` spreads the spans over event time, which decides
how much is read around each chunk.
"""

import argparse
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from verdigris.judge.windows import merge
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.telemetry.chdb_store import ChdbStore

IDENTITY = Identity(IdentityMatch({"service.version": "v1"}), IdentityMatch({"service.version": "v2"}))
START_NS = 1_760_000_000_000_000_000
BATCH_TRACES = 2_000

SHAPE: tuple[tuple[int, str, str, str, float, float], ...] = (
    # parent, service, kind, name, start and duration as shares of the whole request
    (-1, "gateway", "Server", "GET", 0.0, 1.0),
    (0, "frontend", "Server", "GET /cart/{id}", 0.05, 0.9),
    (1, "frontend", "Internal", "render cart 8231", 0.1, 0.6),
    (1, "frontend", "Client", "GET", 0.15, 0.3),
    (3, "cart", "Server", "CartService/GetCart", 0.2, 0.2),
    (4, "cart", "Client", "HGETALL", 0.25, 0.1),
    (1, "frontend", "Client", "POST", 0.5, 0.4),
    (6, "checkout", "Server", "CheckoutService/Place", 0.55, 0.3),
    (7, "checkout", "Client", "SELECT shop.orders", 0.6, 0.2),
    (7, "payment", "Producer", "payments publish", 0.82, 0.02),
)
SHARED = {"gateway"}


def _texts(values: list[str], of: Any) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(of, pa.int32()), pa.array(values)).cast(pa.string())


def _map(rows: int, keys: list[str], columns: list[pa.Array]) -> pa.MapArray:
    """One map per row with the same keys in each; the columns' values in turn."""
    width = len(keys)
    order = np.arange(rows * width).reshape(rows, width)
    values = pa.concat_arrays(columns).take(pa.array((order % width * rows + order // width).ravel()))
    named = pa.DictionaryArray.from_arrays(pa.array(np.tile(np.arange(width, dtype=np.int32), rows)), pa.array(keys))
    return pa.MapArray.from_arrays(pa.array(np.arange(0, rows * width + 1, width, dtype=np.int32)), named, values)


def _hex(numbers: Any, digits: int) -> pa.Array:
    return pa.array([f"{n:0{digits}x}" for n in numbers.tolist()])


def batch(draw: np.random.Generator, first_trace: int, traces: int, traces_per_s: float) -> pa.Table:
    """The spans of so many traces, in the columns of `otel_traces`."""
    width, rows = len(SHAPE), traces * len(SHAPE)
    numbers = np.arange(first_trace, first_trace + traces)
    at = np.tile(np.arange(width), traces)
    trace = np.repeat(numbers, width)
    span = trace * width + at + 1
    parents = zip(trace.tolist(), np.array([s[0] for s in SHAPE])[at].tolist(), strict=True)
    whole_ns = np.repeat(draw.lognormal(17.5, 0.4, traces), width)
    start = START_NS + (trace / traces_per_s * 1e9).astype(np.int64)
    start += (whole_ns * np.array([s[4] for s in SHAPE])[at]).astype(np.int64)
    duration = (whole_ns * np.array([s[5] for s in SHAPE])[at]).astype(np.uint64)
    candidate = np.repeat(draw.random(traces) < 0.5, width)
    failed = np.repeat(draw.random(traces) < 0.01, width) & np.isin(at, (1, 6, 7))
    pod = np.repeat(draw.integers(0, 3, traces), width)
    shared = np.array([s[1] in SHARED for s in SHAPE])[at]
    empty = pa.array(np.zeros(rows + 1, np.int32))
    a_map = pa.map_(pa.string(), pa.string())
    versions = np.where(shared, 0, np.where(candidate, 2, 1))
    services = sorted({s[1] for s in SHAPE})
    service = np.array([services.index(s[1]) for s in SHAPE])[at]
    return pa.table({
        "Timestamp": pa.array(start).cast(pa.timestamp("ns")),
        "TraceId": _hex(trace * 7_919 + 1, 32),
        "SpanId": _hex(span, 16),
        "ParentSpanId": pa.array([f"{t * width + p + 1:016x}" if p >= 0 else "" for t, p in parents]),
        "TraceState": _texts([""], np.zeros(rows)),
        "SpanName": _texts([s[3] for s in SHAPE], at),
        "SpanKind": _texts([s[2] for s in SHAPE], at),
        "ServiceName": _texts(services, service),
        "ResourceAttributes": _map(rows, [
            "service.name", "service.version", "service.instance.id", "k8s.namespace.name", "telemetry.sdk.language", "host.name",
        ], [
            _texts(services, service), _texts(["", "v1", "v2"], versions),
            _texts([f"{s}-{v}-{p}" for s in services for v in range(3) for p in range(3)], service * 9 + versions * 3 + pod),
            _texts(["shop"], np.zeros(rows)), _texts(["go", "java"], service % 2), _texts(["n1", "n2", "n3"], pod),
        ]),
        "ScopeName": _texts(["otelgrpc"], np.zeros(rows)),
        "ScopeVersion": _texts(["1.2"], np.zeros(rows)),
        "SpanAttributes": _map(rows, [
            "http.request.method", "http.response.status_code", "server.address", "server.port", "url.path", "user_agent.original",
            "network.peer.address", "app.user.id",
        ], [
            _texts(["GET", "POST"], at % 2), _texts(["200", "500"], failed.astype(int)), _texts(["shop.example.com"], np.zeros(rows)),
            _texts(["8443"], np.zeros(rows)), pa.array([f"/cart/{n}" for n in trace.tolist()]),
            _texts([f"Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101" for n in range(40)], trace % 40),
            _texts([f"10.2.0.{n}" for n in range(200)], trace % 200), _hex(trace * 104_729, 16),
        ]),
        "Duration": pa.array(duration),
        "StatusCode": _texts(["Unset", "Error"], failed.astype(int)),
        "StatusMessage": _texts([""], np.zeros(rows)),
        "Events.Timestamp": pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), pa.array([], pa.timestamp("ns"))),
        "Events.Name": pa.ListArray.from_arrays(empty, pa.array([], pa.string())),
        "Events.Attributes": pa.ListArray.from_arrays(empty, pa.array([], a_map)),
        "Links.TraceId": pa.ListArray.from_arrays(empty, pa.array([], pa.string())),
        "Links.SpanId": pa.ListArray.from_arrays(empty, pa.array([], pa.string())),
        "Links.TraceState": pa.ListArray.from_arrays(empty, pa.array([], pa.string())),
        "Links.Attributes": pa.ListArray.from_arrays(empty, pa.array([], a_map)),
    })  # fmt: skip


def batches(spans: int, per_second: float) -> Iterator[pa.Table]:
    """So many spans, 20,000 at a time."""
    draw, width = np.random.default_rng(1), len(SHAPE)
    for first in range(0, spans // width, BATCH_TRACES):
        yield batch(draw, first, min(BATCH_TRACES, spans // width - first), per_second / width)


class Clock:
    """Wall and processor time of all threads, added up over several uses: on a busy machine only the latter means much."""

    def __init__(self) -> None:
        self.wall_s = self.processor_s = 0.0

    def __enter__(self) -> Self:
        """Go."""
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.wall_s += time.perf_counter() - self._began[0]
        self.processor_s += time.process_time() - self._began[1]

    def rates(self, spans: int) -> str:
        """Spans per second of either."""
        return f"{spans / self.wall_s:>9,.0f} spans/s  {spans / self.processor_s:>9,.0f} per processor second"


def peak_mb() -> int:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Insert, make windows, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=2_000_000)
    parser.add_argument("--per-second", type=float, default=2_000, help="spans per second of event time")
    parser.add_argument("--chunk", type=int, default=1_000_000, help="spans per call of windows()")
    wanted = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, chDB {version('chdb')}")
    with tempfile.TemporaryDirectory() as folder, ChdbStore(Path(folder) / "spans") as store:
        before_mb = peak_mb()
        clock, per_batch = Clock(), []
        for table in batches(wanted.spans, wanted.per_second):
            began = clock.wall_s
            with clock:
                store.insert(table)
            per_batch.append(clock.wall_s - began)
        print(f"insert   {clock.rates(wanted.spans)}   peak {peak_mb()} MB (before: {before_mb} MB)")
        print(f"         {statistics.median(per_batch) * 1e3:.0f} ms per durable batch of {BATCH_TRACES * len(SHAPE):,} spans (median)")
        chunks = store.chunks(wanted.chunk)
        parts = []
        for turn, period in enumerate(chunks, 1):
            with Clock() as clock:
                parts.append(store.windows(period, IDENTITY)[0])
            print(f"windows  {clock.rates(period.spans)}   chunk {turn} of {len(chunks)}: {period.spans:,} spans   peak {peak_mb()} MB")
        windows = merge(parts)
        print(f"{len(windows.windows)} windows, digest {windows.digest()}")


if __name__ == "__main__":
    main()
