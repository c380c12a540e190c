"""The decoder against an independent reading of the same bodies through opentelemetry-proto, and JSON against protobuf."""

import base64
import json
import math
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from verdigris._native import Decoded, Masking, decode

TIME_END = 2**63
# What the decoder reads; what it masks of that is asked at the end.
OFF = Masking.off()
KINDS = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
STATUSES = ("Unset", "Ok", "Error")

# --- what OTLP bodies there are ---------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = st.sampled_from(["service.name", "http.route", "http.request.method", "", "k", "é\n"]) | texts
doubles = st.floats() | st.builds(lambda digits, exponent: float(f"{digits}e{exponent}"), st.integers(-9_999, 9_999), st.integers(-30, 30))
scalars = st.one_of(
    st.builds(AnyValue, string_value=texts),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=doubles),
    st.builds(AnyValue, bytes_value=st.binary(max_size=8)),
    st.just(AnyValue()),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: AnyValue(array_value=ArrayValue(values=items))),
        st.lists(st.builds(KeyValue, key=keys, value=inner), max_size=3).map(
            lambda items: AnyValue(kvlist_value=KeyValueList(values=items))
        ),
    ),
    max_leaves=6,
)
attributes = st.lists(st.builds(KeyValue, key=keys, value=values), max_size=5)
times = st.integers(0, TIME_END - 1) | st.integers(0, 2**64 - 1)


def ids(size: int) -> st.SearchStrategy[bytes]:
    """Good ones more often than not."""
    return st.binary(min_size=size, max_size=size) | st.sampled_from([bytes(range(1, size + 1)), bytes(size), b""]) | st.binary()


events = st.builds(Span.Event, time_unix_nano=times, name=texts, attributes=attributes)
links = st.builds(Span.Link, trace_id=ids(16), span_id=ids(8), trace_state=texts, attributes=attributes)
spans = st.builds(
    Span,
    trace_id=ids(16),
    span_id=ids(8),
    parent_span_id=ids(8),
    trace_state=texts,
    name=texts,
    kind=st.integers(-1, 9),
    start_time_unix_nano=times,
    end_time_unix_nano=times,
    attributes=attributes,
    dropped_attributes_count=st.integers(0, 3),
    events=st.lists(events, max_size=2),
    links=st.lists(links, max_size=2),
    status=st.builds(Status, code=st.integers(-1, 5), message=texts) | st.none(),
    flags=st.integers(0, 2**32 - 1),
)
scopes = st.builds(InstrumentationScope, name=texts, version=texts, attributes=attributes)
requests = st.lists(
    st.builds(
        ResourceSpans,
        resource=st.builds(Resource, attributes=attributes) | st.none(),
        scope_spans=st.lists(
            st.builds(ScopeSpans, scope=scopes | st.none(), spans=st.lists(spans, max_size=3), schema_url=texts), max_size=2
        ),
    ),
    max_size=2,
).map(lambda all_spans: ExportTraceServiceRequest(resource_spans=all_spans))

# --- the same mapping, written a second time --------------------------------------------------------------------------


def double_text(value: float) -> str:
    """ECMA-262 Number::toString, on top of Python's shortest digits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign, digit_tuple, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, digit_tuple))
    k, n = len(digits), len(digits) + exponent
    if k <= n <= 21:
        text = digits + "0" * (n - k)
    elif 0 < n <= 21:
        text = f"{digits[:n]}.{digits[n:]}"
    elif -6 < n <= 0:
        text = "0." + "0" * -n + digits
    else:
        text = digits[0] + ("." + digits[1:] if k > 1 else "") + f"e{n - 1:+d}"
    return "-" * sign + text


def inner_json(value: AnyValue) -> str:
    """A value inside another one."""
    match value.WhichOneof("value"):
        case None:
            return "null"
        case "string_value":
            return json.dumps(value.string_value, ensure_ascii=False)
        case "bytes_value":
            return json.dumps(base64.b64encode(value.bytes_value).decode())
        case "double_value" if not math.isfinite(value.double_value):
            return json.dumps(double_text(value.double_value))
        case _:
            return value_text(value)


def value_text(value: AnyValue) -> str:  # noqa: PLR0911  one for each member of the oneof
    """An attribute value as the table has it."""
    match value.WhichOneof("value"):
        case None:
            return ""
        case "string_value":
            return value.string_value
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return double_text(value.double_value)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value":
            return "[" + ",".join(map(inner_json, value.array_value.values)) + "]"
        case "kvlist_value":
            members = (f"{json.dumps(each.key, ensure_ascii=False)}:{inner_json(each.value)}" for each in value.kvlist_value.values)
            return "{" + ",".join(members) + "}"
        case other:
            raise AssertionError(other)


def pairs(items: Iterable[KeyValue]) -> list[tuple[str, str]]:
    """Attributes; the last of one key counts, in its own place."""
    found: dict[str, str] = {}
    for item in items:
        found.pop(item.key, None)
        found[item.key] = value_text(item.value)
    return list(found.items())


def refusal(span: Span) -> str | None:
    """Why a span is refused, if it is."""
    for name, value, size in (("trace_id", span.trace_id, 16), ("span_id", span.span_id, 8)):
        if len(value) != size:
            return f"{name}_length"
        if not any(value):
            return f"{name}_zero"
    if len(span.parent_span_id) not in {0, 8}:
        return "parent_id_length"
    if max(span.start_time_unix_nano, span.end_time_unix_nano) >= TIME_END:
        return "time_out_of_range"
    return None


def named(number: int, names: tuple[str, ...]) -> str:
    """The name of an enum number, or that of 0."""
    return names[number] if 0 <= number < len(names) else names[0]


def is_good(link: Span.Link) -> bool:
    """Whether both ids are ids."""
    return len(link.trace_id) == 16 and any(link.trace_id) and len(link.span_id) == 8 and any(link.span_id)


def rows(request: ExportTraceServiceRequest) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows of the table, and what was refused."""
    table: list[dict[str, Any]] = []
    refused: Counter[str] = Counter()
    for of_resource in request.resource_spans:
        resource = pairs(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                if why := refusal(span):
                    refused[why] += 1
                    continue
                kept_events = [event for event in span.events if event.time_unix_nano < TIME_END]
                kept_links = [link for link in span.links if is_good(link)]
                parent = span.parent_span_id
                table.append(
                    {
                        "Timestamp": span.start_time_unix_nano,
                        "TraceId": span.trace_id.hex(),
                        "SpanId": span.span_id.hex(),
                        "ParentSpanId": parent.hex() if any(parent) else "",
                        "TraceState": span.trace_state,
                        "SpanName": span.name,
                        "SpanKind": named(span.kind, KINDS),
                        "ServiceName": dict(resource).get("service.name", ""),
                        "ResourceAttributes": resource,
                        "ScopeName": of_scope.scope.name,
                        "ScopeVersion": of_scope.scope.version,
                        "SpanAttributes": pairs(span.attributes),
                        "Duration": max(0, span.end_time_unix_nano - span.start_time_unix_nano),
                        "StatusCode": named(span.status.code, STATUSES),
                        "StatusMessage": span.status.message,
                        "Events.Timestamp": [event.time_unix_nano for event in kept_events],
                        "Events.Name": [event.name for event in kept_events],
                        "Events.Attributes": [pairs(event.attributes) for event in kept_events],
                        "Links.TraceId": [link.trace_id.hex() for link in kept_links],
                        "Links.SpanId": [link.span_id.hex() for link in kept_links],
                        "Links.TraceState": [link.trace_state for link in kept_links],
                        "Links.Attributes": [pairs(link.attributes) for link in kept_links],
                    }
                )
    return table, dict(refused)


def rows_of(decoded: Decoded) -> list[dict[str, Any]]:
    """The decoded rows, with times as integers, after a full validation by Arrow."""
    batch = pa.record_batch(decoded)
    batch.validate(full=True)
    assert batch.num_rows == decoded.spans
    as_numbers = {"Timestamp": pa.int64(), "Events.Timestamp": pa.list_(pa.int64())}
    columns = [
        column.cast(as_numbers[name]) if name in as_numbers else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    found: list[dict[str, Any]] = pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()
    return found


def counts(decoded: Decoded) -> tuple[object, ...]:
    """Everything that was counted."""
    return (
        decoded.refused, decoded.ends_before_start, decoded.truncated_values, decoded.dropped_attributes,
        decoded.dropped_events, decoded.dropped_links,
    )  # fmt: skip


def otlp_json(request: ExportTraceServiceRequest, *, snake_case: bool, ascii_only: bool) -> bytes:
    """Protobuf JSON by Google's own printer, with the ids in hexadecimal as OTLP asks."""
    tree = json_format.MessageToDict(request, preserving_proto_field_name=snake_case)

    def hexadecimal_ids(node: Any) -> None:
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            if name in {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}:
                node[name] = base64.b64decode(value).hex()
            elif isinstance(value, dict | list):
                hexadecimal_ids(value)

    hexadecimal_ids(tree)
    return json.dumps(tree, ensure_ascii=ascii_only, indent=1 if ascii_only else None).encode()


@settings(max_examples=300, deadline=None)
@given(requests)
def test_protobuf_reads_as_through_opentelemetry_proto(request: ExportTraceServiceRequest) -> None:
    expected, refused = rows(request)
    decoded = decode(request.SerializeToString(), format="protobuf", masking=OFF)
    assert rows_of(decoded) == expected
    assert decoded.refused == refused


@settings(max_examples=300, deadline=None)
@given(requests, st.booleans(), st.booleans())
def test_json_reads_as_protobuf(request: ExportTraceServiceRequest, snake_case: bool, ascii_only: bool) -> None:  # noqa: FBT001
    body, as_json = request.SerializeToString(), otlp_json(request, snake_case=snake_case, ascii_only=ascii_only)
    for masking in (OFF, None):
        by_protobuf = decode(body, format="protobuf", masking=masking)
        by_json = decode(as_json, format="json", masking=masking)
        assert rows_of(by_json) == rows_of(by_protobuf)
        assert counts(by_json) == counts(by_protobuf)


@settings(max_examples=300, deadline=None)
@given(requests)
def test_what_has_no_finding_is_kept_as_it_is(request: ExportTraceServiceRequest) -> None:
    body = request.SerializeToString()
    masked, raw = decode(body, format="protobuf"), decode(body, format="protobuf", masking=OFF)
    assert masked.findings or rows_of(masked) == rows_of(raw)
    assert counts(masked) == counts(raw)


@settings(max_examples=100, deadline=None)
@given(requests, st.randoms(use_true_random=False))
def test_the_order_of_json_members_does_not_matter(request: ExportTraceServiceRequest, draw: Any) -> None:
    def shuffled(node: Any) -> Any:
        if isinstance(node, dict):
            members = [(name, shuffled(value)) for name, value in node.items()]
            draw.shuffle(members)
            return dict(members)
        return [shuffled(item) for item in node] if isinstance(node, list) else node

    body = otlp_json(request, snake_case=False, ascii_only=False)
    again = json.dumps(shuffled(json.loads(body))).encode()
    assert rows_of(decode(again, format="json")) == rows_of(decode(body, format="json"))


@settings(max_examples=300, deadline=None)
@given(doubles)
def test_doubles_are_written_as_ecmascript_does_and_read_back(value: float) -> None:
    span = Span(trace_id=b"t" * 16, span_id=b"s" * 8, attributes=[KeyValue(key="d", value=AnyValue(double_value=value))])
    body = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])])
    ((_, text),) = rows_of(decode(body.SerializeToString(), format="protobuf", masking=OFF))[0]["SpanAttributes"]
    assert text == double_text(value)
    assert float(text) == value or math.isnan(value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["protobuf", "json"]), st.sampled_from(["identity", "gzip", "zstd"]))
def test_any_bytes_end_in_a_batch_or_a_value_error(body: bytes, format: Any, encoding: Any) -> None:  # noqa: A002
    try:
        rows_of(decode(body, format=format, encoding=encoding))
    except ValueError as error:
        assert type(error).__name__ == "DecodeError"  # noqa: PT017
