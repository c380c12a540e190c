"""Bodies that others wrote: the example of opentelemetry-proto, Jaeger's integration fixtures, recorded traces."""

import base64
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from verdigris._native import decode

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
EXAMPLE = SHARED / "formats" / "otlp" / "proto_example_trace.json"
JAEGER = sorted((SHARED / "formats" / "jaeger").glob("integration_*.json"))
RECORDED = sorted((SHARED / "traces").glob("*/candidate.jsonl.xz"))[:3]

needs_shared = pytest.mark.skipif(not EXAMPLE.exists(), reason="recorded data of others is not part of this repository")


def as_protobuf(tree: Any) -> bytes:
    """The same request in protobuf, by Google's own JSON reader, which wants ids in base64."""

    def base64_ids(node: Any) -> None:
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            if name in {"traceId", "spanId", "parentSpanId"}:
                node[name] = base64.b64encode(bytes.fromhex(value)).decode()
            elif isinstance(value, dict | list):
                base64_ids(value)

    base64_ids(tree)
    return json_format.ParseDict(tree, TracesData(), ignore_unknown_fields=True).SerializeToString()


@needs_shared
def test_the_example_of_the_specification() -> None:
    decoded = decode(EXAMPLE.read_bytes(), format="json")
    (row,) = pa.record_batch(decoded).to_pylist()
    assert decoded.refused == {}
    assert row["TraceId"] == "5b8efff798038103d269b633813fc60c"
    assert (row["SpanId"], row["ParentSpanId"]) == ("eee19b7ec3c1b174", "eee19b7ec3c1b173")
    assert (row["SpanName"], row["SpanKind"], row["ServiceName"]) == ("I'm a server span", "Server", "my.service")
    assert (row["ScopeName"], row["ScopeVersion"]) == ("my.library", "1.0.0")
    assert (row["SpanAttributes"], row["Duration"]) == ([("my.span.attr", "some value")], 1_000_000_000)


@needs_shared
@pytest.mark.parametrize("path", JAEGER, ids=lambda path: path.stem)
def test_jaeger_fixtures_read_the_same_in_both_formats(path: Path) -> None:
    body = path.read_bytes()
    by_json = decode(body, format="json")
    by_protobuf = decode(as_protobuf(json.loads(body)), format="protobuf")
    assert by_json.spans > 0
    assert by_json.refused == {}
    assert pa.record_batch(by_json).to_pylist() == pa.record_batch(by_protobuf).to_pylist()


@needs_shared
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_recorded_traces_read_the_same_in_both_formats(path: Path) -> None:
    spans = 0
    with lzma.open(path) as lines:
        for _, line in zip(range(200), lines, strict=False):
            by_json = decode(line, format="json")
            batch = pa.record_batch(by_json)
            batch.validate(full=True)
            assert batch.to_pylist() == pa.record_batch(decode(as_protobuf(json.loads(line)), format="protobuf")).to_pylist()
            assert by_json.refused == {}
            spans += by_json.spans
    assert spans > 0
