"""What the decoder emits goes into the `otel_traces` table of the embedded store as it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from verdigris._native import decode

OTEL_TRACES = """
CREATE TABLE d.otel_traces (
    Timestamp DateTime64(9), TraceId String, SpanId String, ParentSpanId String, TraceState String,
    SpanName LowCardinality(String), SpanKind LowCardinality(String), ServiceName LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String), ScopeName String, ScopeVersion String,
    SpanAttributes Map(LowCardinality(String), String), Duration UInt64, StatusCode LowCardinality(String), StatusMessage String,
    Events Nested(Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)),
    Links Nested(TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String))
) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))
"""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Any]:
    sessions = pytest.importorskip("chdb.session", reason="chDB is not installed")
    session = sessions.Session(str(tmp_path))
    session.query("CREATE DATABASE d")
    session.query(OTEL_TRACES)
    yield session
    session.close()


def attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def spans() -> list[Span]:
    """Of many shapes: with and without parent, attributes, events, links."""
    made = []
    for number in range(1, 400):
        attributes = [attribute(f"k{key}", f"v{number}") for key in range(number % 4)]
        link = Span.Link(trace_id=b"t" * 16, span_id=b"s" * 8, trace_state="a=b", attributes=attributes)
        start = 1_760_000_000_000_000_000 + number
        kind: Any = number % 6
        code: Any = number % 3
        made.append(
            Span(
                trace_id=number.to_bytes(16, "big"),
                span_id=number.to_bytes(8, "big"),
                parent_span_id=bytes(number % 2 * 8),
                trace_state="x=y" * (number % 2),
                name=f"op {number % 7} é",
                kind=kind,
                start_time_unix_nano=start,
                end_time_unix_nano=start + 2 * number,
                attributes=attributes,
                events=[Span.Event(time_unix_nano=number, name=f"e{each}", attributes=attributes) for each in range(number % 3)],
                links=[link] * (number % 2),
                status=Status(code=code, message="m"),
            )
        )
    return made


def test_an_insert_gives_back_every_value(session: Any) -> None:
    resource = Resource(attributes=[attribute("service.name", "checkout"), attribute("service.version", "2")])
    scope_spans = ScopeSpans(scope=InstrumentationScope(name="lib", version="1"), spans=spans())
    data = TracesData(resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope_spans])])
    batch = pa.record_batch(decode(data.SerializeToString(), format="protobuf"))
    table = pa.Table.from_batches([batch])  # noqa: F841  chDB finds it by name
    session.query("INSERT INTO d.otel_traces SELECT * FROM Python(table)")
    times = "toUnixTimestamp64Nano(Timestamp) AS Timestamp, arrayMap(t -> toUnixTimestamp64Nano(t), Events.Timestamp) AS `Events.Timestamp`"
    query = f"SELECT * EXCEPT (Timestamp, `Events.Timestamp`), {times} FROM d.otel_traces ORDER BY TraceId"
    stored = session.query(query, "ArrowTable").to_pylist()

    expected = batch.to_pylist()
    for row, starts, times_of_events in zip(
        expected, batch["Timestamp"].cast(pa.int64()), batch["Events.Timestamp"].cast(pa.list_(pa.int64())), strict=True
    ):
        row["Timestamp"], row["Events.Timestamp"] = starts.as_py(), times_of_events.as_py()

    def as_text(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        return [as_text(each) for each in value] if isinstance(value, list | tuple) else value

    assert [{name: as_text(value) for name, value in row.items()} for row in stored] == [
        {name: as_text(row[name]) for name in stored[0]} for row in expected
    ]
    assert len(stored) == 399


def test_an_empty_batch_is_taken(session: Any) -> None:
    table = pa.Table.from_batches([pa.record_batch(decode(b"", format="protobuf"))])  # noqa: F841
    session.query("INSERT INTO d.otel_traces SELECT * FROM Python(table)")
    assert str(session.query("SELECT count() FROM d.otel_traces")).strip() == "0"
