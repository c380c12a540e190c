"""How fast, and in how much memory, one core turns OTLP bodies into Arrow columns, side by side with what one would use otherwise.

    python benchmarks/decode.py [--seconds-per-case 2] [--memory-only]

One body is 1,000 spans of one resource (6 attributes) with 8 attributes each, 20 span names, events on 5 % of the spans. Every pair
is measured alternating in this one process, on the same body; a ratio is the median of the ratios of neighbouring runs.
"""

import argparse
import base64
import ctypes
import gzip
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import zstandard
from google.protobuf import descriptor_pb2, descriptor_pool, json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from ptars import HandlerPool

from verdigris._native import Limits, decode

SPANS = 1_000
METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE")


def attribute(key: str, value: str | int) -> KeyValue:
    """One OTLP attribute; bool before int, because it is one."""
    if isinstance(value, bool):
        return KeyValue(key=key, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    return KeyValue(key=key, value=AnyValue(string_value=value))


def http_attributes(draw: random.Random) -> list[KeyValue]:
    """Of a server span, by the HTTP semantic conventions."""
    item = draw.randrange(5_000)
    return [
        attribute("http.request.method", draw.choice(METHODS)),
        attribute("http.route", "/api/v2/items/{id}"),
        attribute("url.path", f"/api/v2/items/{item}"),
        attribute("http.response.status_code", draw.choice((200, 200, 200, 201, 404, 500))),
        attribute("server.address", "shop.example.com"),
        attribute("server.port", 8443),
        attribute("user_agent.original", f"Mozilla/5.0 (X11; Linux x86_64; rv:{draw.randrange(100, 140)}.0) Gecko/20100101"),
        attribute("app.cache.hit", draw.random() < 0.5),
    ]


def rpc_attributes(draw: random.Random) -> list[KeyValue]:
    """Of a client span, by the RPC semantic conventions."""
    return [
        attribute("rpc.system", "grpc"),
        attribute("rpc.service", "shop.v1.CartService"),
        attribute("rpc.method", draw.choice(("GetCart", "AddItem", "EmptyCart"))),
        attribute("rpc.grpc.status_code", draw.choice((0, 0, 0, 0, 14))),
        attribute("network.peer.address", f"10.2.{draw.randrange(256)}.{draw.randrange(256)}"),
        attribute("network.peer.port", 7070),
        attribute("app.user.id", f"{draw.getrandbits(64):016x}"),
        attribute("app.retry", draw.random() < 0.1),
    ]


def request(draw: random.Random, spans: int) -> ExportTraceServiceRequest:
    """An export of `spans` spans of one instance of one service."""
    body = ExportTraceServiceRequest()
    of_resource = body.resource_spans.add()
    of_resource.resource.attributes.extend(
        attribute(key, value)
        for key, value in {
            "service.name": "checkout",
            "service.version": "2.41.0",
            "service.instance.id": "627cc493-f310-47de-96bd-71410b7dec09",
            "k8s.pod.name": "checkout-6d4cf56db6-7qf5p",
            "telemetry.sdk.language": "python",
            "deployment.environment.name": "production",
        }.items()
    )
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = "opentelemetry.instrumentation.grpc"
    of_scope.scope.version = "0.57b0"
    start = 1_760_000_000_000_000_000
    for number in range(spans):
        span = of_scope.spans.add()
        span.trace_id = draw.randbytes(16)
        span.span_id = draw.randbytes(8)
        if number % 5:
            span.parent_span_id = draw.randbytes(8)
        operation = draw.randrange(20)
        span.name = f"/shop.v1.CartService/Method{operation}" if operation % 2 else f"GET /api/v2/items/{operation}"
        span.kind = trace_pb2.Span.SPAN_KIND_CLIENT if operation % 2 else trace_pb2.Span.SPAN_KIND_SERVER
        start += draw.randrange(1_000_000)
        span.start_time_unix_nano = start
        span.end_time_unix_nano = start + draw.randrange(50_000_000)
        span.attributes.extend(rpc_attributes(draw) if operation % 2 else http_attributes(draw))
        if draw.random() < 0.05:
            event = span.events.add()
            event.name = "exception"
            event.time_unix_nano = start + 1_000
            event.attributes.append(attribute("exception.type", "TimeoutError"))
            event.attributes.append(attribute("exception.message", f"deadline of {draw.randrange(1_000)} ms exceeded"))
            span.status.code = trace_pb2.Status.STATUS_CODE_ERROR
            span.status.message = "deadline exceeded"
    return body


def as_otlp_json(body: ExportTraceServiceRequest) -> bytes:
    """OTLP/JSON as an SDK writes it: protobuf JSON with hexadecimal ids, compact."""
    tree = json_format.MessageToDict(body)
    for of_resource in tree["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64_to_hex(span[name])
                span["kind"] = {"SPAN_KIND_SERVER": 2, "SPAN_KIND_CLIENT": 3}[span["kind"]]
                if "code" in span.get("status", {}):
                    span["status"]["code"] = 2
    return json.dumps(tree, separators=(",", ":")).encode()


def base64_to_hex(text: str) -> str:
    """An id of protobuf JSON as one of OTLP/JSON."""
    return base64.b64decode(text).hex()


def any_value(value: AnyValue) -> str:
    """A scalar attribute value as text."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case _:
            return ""


def attribute_lists(attributes: Iterable[KeyValue]) -> tuple[list[str], list[str]]:
    """Keys and values."""
    keys, values = [], []
    for item in attributes:
        keys.append(item.key)
        values.append(any_value(item.value))
    return keys, values


def columns_by_protobuf(body: bytes) -> list[list[Any]]:
    """What the generic Python decoder needs to give the same columns as lists."""
    columns: list[list[Any]] = [[] for _ in range(18)]
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource_attributes = attribute_lists(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            scope_name, scope_version = of_scope.scope.name, of_scope.scope.version
            for span in of_scope.spans:
                start, status = span.start_time_unix_nano, span.status
                row = (
                    start, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.trace_state, span.name,
                    span.kind, resource_attributes, scope_name, scope_version, attribute_lists(span.attributes),
                    max(0, span.end_time_unix_nano - start), status.code, status.message,
                    [event.time_unix_nano for event in span.events], [event.name for event in span.events],
                    [attribute_lists(event.attributes) for event in span.events],
                    [(link.trace_id.hex(), link.span_id.hex(), link.trace_state) for link in span.links],
                )  # fmt: skip
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
    return columns


def json_attribute_lists(attributes: Iterable[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Keys and values; the benchmark has scalar values only."""
    keys, values = [], []
    for item in attributes:
        keys.append(item["key"])
        (value,) = item["value"].values()
        values.append(value if isinstance(value, str) else "true" if value else "false")
    return keys, values


def columns_by_json(body: bytes) -> list[list[Any]]:
    """What the standard library needs to give the same columns as lists."""
    columns: list[list[Any]] = [[] for _ in range(18)]
    for of_resource in json.loads(body)["resourceSpans"]:
        resource_attributes = json_attribute_lists(of_resource["resource"]["attributes"])
        for of_scope in of_resource["scopeSpans"]:
            scope_name, scope_version = of_scope["scope"]["name"], of_scope["scope"]["version"]
            for span in of_scope["spans"]:
                start, status, events = int(span["startTimeUnixNano"]), span.get("status", {}), span.get("events", ())
                row = (
                    start, span["traceId"], span["spanId"], span.get("parentSpanId", ""), span.get("traceState", ""),
                    span["name"], span["kind"], resource_attributes, scope_name, scope_version,
                    json_attribute_lists(span["attributes"]), max(0, int(span["endTimeUnixNano"]) - start),
                    status.get("code", 0), status.get("message", ""), [int(event["timeUnixNano"]) for event in events],
                    [event["name"] for event in events], [json_attribute_lists(event["attributes"]) for event in events],
                    span.get("links", ()),
                )  # fmt: skip
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
    return columns


def generic_arrow_decoder() -> Callable[[bytes], Any]:
    """Use ptars over OTLP's own definition; AnyValue's list and map are declared as bytes, because it takes no recursion."""
    pool = descriptor_pool.DescriptorPool()
    for module in (common_pb2, resource_pb2, trace_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            for field in message.field if message.name == "AnyValue" else ():
                if field.name in {"array_value", "kvlist_value"}:
                    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
                    field.ClearField("type_name")
        pool.Add(file)
    descriptor = pool.FindMessageTypeByName("opentelemetry.proto.trace.v1.TracesData")
    handlers = HandlerPool([pool.FindFileByName("opentelemetry/proto/trace/v1/trace.proto")])
    handler = handlers.get_for_message(descriptor)
    return lambda body: handler.list_to_record_batch([body])


def seconds(work: Callable[[], object], at_least_s: float) -> float:
    """Time of one call, over as many as fill `at_least_s`."""
    calls = 0
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < at_least_s:
        work()
        calls += 1
    return spent / calls


def compare(ours: Callable[[], object], theirs: Callable[[], object], case_s: float) -> tuple[float, float, float]:
    """Median seconds of each, alternating, and the median of the pairwise ratios."""
    rounds = 7
    ours(), theirs()
    pairs = [(seconds(ours, case_s / rounds / 2), seconds(theirs, case_s / rounds / 2)) for _ in range(rounds)]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second), statistics.median(b / a for a, b in pairs)


def memcpy_bytes_per_s(case_s: float) -> float:
    """Copying 64 MiB, far beyond the caches, into memory that is already there."""
    size = 64 << 20
    source, target = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
    ctypes.memset(source, 1, size)
    ctypes.memset(target, 2, size)
    return size / seconds(lambda: ctypes.memmove(target, source, size), case_s)


def processor() -> str:
    """Model of the CPU."""
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def peak_memory() -> None:
    """Peak resident memory of decoding a body of some 50 MB, in a process that does nothing else."""
    small = request(random.Random(1), SPANS)
    big = ExportTraceServiceRequest()
    while big.ByteSize() < 50_000_000:
        big.resource_spans.extend([small.resource_spans[0]] * 20)
    body = big.SerializeToString()
    del big
    path = Path(sys.argv[0]).resolve()
    done = subprocess.run([sys.executable, str(path), "--memory-child"], input=body, stdout=subprocess.PIPE, check=True)
    print(done.stdout.decode(), end="")


def peak_memory_child() -> None:
    """Reads a body from standard input and says by how much decoding it raised the peak."""
    body = sys.stdin.buffer.read()
    limits = Limits()
    decode(b"", format="protobuf")
    # Linux keeps the peak until it is reset: 5 means "peak resident set".
    Path("/proc/self/clear_refs").write_text("5")
    before_kib = resident_kib("VmRSS")
    decoded = decode(body, format="protobuf", limits=limits)
    grown = (resident_kib("VmHWM") - before_kib) * 1024
    print(
        f"memory: {decoded.spans:,} spans, body {len(body) / 1e6:.1f} MB; decoding adds {grown / 1e6:.1f} MB at its peak,"
        f" {grown / len(body):.2f} x the body, {1 + grown / len(body):.2f} x with the body itself"
    )


def resident_kib(name: str) -> int:
    """A size from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds-per-case", type=float, default=3.0)
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--memory-child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_child:
        peak_memory_child()
        return
    if options.memory_only:
        peak_memory()
        return
    case_s = options.seconds_per_case

    message = request(random.Random(0), SPANS)
    protobuf, as_json = message.SerializeToString(), as_otlp_json(message)
    zipped, zstd = gzip.compress(protobuf, 6), zstandard.compress(protobuf, 3)
    print(f"machine: {platform.node()}, {processor()}, Python {platform.python_version()}")
    print(f"body: {SPANS} spans, protobuf {len(protobuf):,} B, JSON {len(as_json):,} B, gzip {len(zipped):,} B, zstd {len(zstd):,} B")

    generic = generic_arrow_decoder()
    ours_protobuf = lambda: decode(protobuf, format="protobuf")  # noqa: E731
    ours_json = lambda: decode(as_json, format="json")  # noqa: E731
    ours_gzip = lambda: decode(zipped, format="protobuf", encoding="gzip")  # noqa: E731
    ours_zstd = lambda: decode(zstd, format="protobuf", encoding="zstd")  # noqa: E731
    cases: list[tuple[str, Callable[[], object], Callable[[], object], bytes]] = [
        ("protobuf: opentelemetry-proto, all fields in Python", ours_protobuf, lambda: columns_by_protobuf(protobuf), protobuf),
        ("protobuf: ptars to Arrow", ours_protobuf, lambda: generic(protobuf), protobuf),
        ("JSON: json.loads, all fields in Python", ours_json, lambda: columns_by_json(as_json), as_json),
        ("gzip protobuf: inflating alone, by zlib", ours_gzip, lambda: gzip.decompress(zipped), protobuf),
        ("zstd protobuf: inflating alone, by libzstd", ours_zstd, lambda: zstandard.decompress(zstd), protobuf),
    ]
    print(f"{'compared with':<52} {'ours spans/s':>13} {'theirs spans/s':>15} {'ratio':>7} {'ours MB/s':>10}")
    for name, ours, theirs, body in cases:
        ours_s, theirs_s, ratio = compare(ours, theirs, case_s)
        print(f"{name:<52} {SPANS / ours_s:>13,.0f} {SPANS / theirs_s:>15,.0f} {ratio:>6.1f}x {len(body) / ours_s / 1e6:>10,.0f}")

    copied = memcpy_bytes_per_s(case_s / 3)
    decoded_s = seconds(ours_protobuf, case_s / 3)
    print(
        f"memcpy {copied / 1e9:.1f} GB/s; decoding protobuf {len(protobuf) / decoded_s / 1e9:.2f} GB/s of body:"
        f" {copied * decoded_s / len(protobuf):.0f} x the time of copying it"
    )
    peak_memory()


if __name__ == "__main__":
    main()
