"""OTLP in protobuf: field order, repetition, unknown fields, and what is malformed."""

from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from verdigris._native import Decoded, DecodeError, decode

TRACE_ID, SPAN_ID = bytes(range(1, 17)), bytes(range(1, 9))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def body_of(span: bytes) -> bytes:
    """An export of one span given as wire bytes."""
    return field(1, field(2, field(2, span)))


def good_span(**fields: Any) -> Span:
    ids: dict[str, Any] = {"trace_id": TRACE_ID, "span_id": SPAN_ID}
    return Span(**(ids | fields))


def status(code: Any, message: str = "") -> Status:
    """Of any number; the generated types want one of the enum."""
    return Status(code=code, message=message)


def decode_span(span: Span | bytes) -> Decoded:
    wire = span if isinstance(span, bytes) else span.SerializeToString()
    return decode(body_of(wire), format="protobuf")


def row(decoded: Decoded) -> dict[str, Any]:
    """The only row."""
    rows: list[dict[str, Any]] = pa.record_batch(decoded).to_pylist()
    assert len(rows) == 1
    return rows[0]


def test_the_columns_are_those_of_otel_traces() -> None:
    schema = pa.schema(decode(b"", format="protobuf"))
    low = pa.dictionary(pa.int32(), pa.string())
    pairs, time = pa.map_(low, pa.string()), pa.timestamp("ns")
    columns = {
        "Timestamp": time, "TraceId": pa.string(), "SpanId": pa.string(), "ParentSpanId": pa.string(), "TraceState": pa.string(),
        "SpanName": low, "SpanKind": low, "ServiceName": low, "ResourceAttributes": pa.map_(low, low), "ScopeName": low,
        "ScopeVersion": low, "SpanAttributes": pairs, "Duration": pa.uint64(), "StatusCode": low, "StatusMessage": pa.string(),
        "Events.Timestamp": pa.list_(time), "Events.Name": pa.list_(low), "Events.Attributes": pa.list_(pairs),
        "Links.TraceId": pa.list_(pa.string()), "Links.SpanId": pa.list_(pa.string()), "Links.TraceState": pa.list_(pa.string()),
        "Links.Attributes": pa.list_(pairs),
    }  # fmt: skip
    assert schema.names == list(columns)
    assert [str(field.type).replace(" not null", "") for field in schema] == [
        str(kind).replace(" not null", "") for kind in columns.values()
    ]
    assert not any(field.nullable for field in schema)


def test_an_empty_body_holds_no_spans() -> None:
    decoded = decode(b"", format="protobuf")
    batch = pa.record_batch(decoded)
    batch.validate(full=True)
    assert (decoded.spans, batch.num_rows, batch.num_columns) == (0, 0, 22)


def test_a_span_without_resource_and_scope_is_kept() -> None:
    found = row(decode_span(good_span(name="alone")))
    assert (found["SpanName"], found["ServiceName"], found["ScopeName"], found["ResourceAttributes"]) == ("alone", "", "", [])


def test_a_resource_and_scope_after_their_spans_are_found() -> None:
    resource = field(1, field(1, field(1, b"service.name") + field(2, field(1, b"late"))))
    scope = field(1, field(1, b"lib") + field(2, b"2"))
    scope_spans = field(2, field(2, good_span().SerializeToString()) + scope)
    found = row(decode(field(1, scope_spans + resource), format="protobuf"))
    assert (found["ServiceName"], found["ScopeName"], found["ScopeVersion"]) == ("late", "lib", "2")


def test_two_parts_of_one_resource_are_merged() -> None:
    def part(key: bytes, value: bytes) -> bytes:
        return field(1, field(1, field(1, key) + field(2, field(1, value))))

    spans = field(2, field(2, good_span().SerializeToString()))
    found = row(decode(field(1, part(b"a", b"1") + spans + part(b"b", b"2")), format="protobuf"))
    assert found["ResourceAttributes"] == [("a", "1"), ("b", "2")]


def test_of_a_repeated_scalar_the_last_counts() -> None:
    first = good_span(name="first", kind=2, start_time_unix_nano=1, end_time_unix_nano=9, status=status(2, "m"))
    second = Span(name="second", kind=Span.SPAN_KIND_CLIENT, start_time_unix_nano=4, status=status(1))
    found = row(decode_span(first.SerializeToString() + second.SerializeToString()))
    assert (found["SpanName"], found["SpanKind"], found["Duration"]) == ("second", "Client", 5)
    assert (found["StatusCode"], found["StatusMessage"]) == ("Ok", "m")


def test_of_a_repeated_value_the_last_counts() -> None:
    value = AnyValue(string_value="text").SerializeToString() + AnyValue(int_value=7).SerializeToString() + b"\xf8\x01\x01"
    span = good_span().SerializeToString() + field(9, field(1, b"key") + field(2, value))
    assert row(decode_span(span))["SpanAttributes"] == [("key", "7")]


def test_of_a_duplicate_key_the_last_counts_in_its_own_place() -> None:
    items = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5"), ("a", "6")]
    span = good_span(attributes=[KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in items])
    assert row(decode_span(span))["SpanAttributes"] == [("c", "4"), ("b", "5"), ("a", "6")]


def test_a_key_may_come_after_its_value_or_not_at_all() -> None:
    value = field(2, field(1, b"value"))
    span = good_span().SerializeToString() + field(9, value + field(1, b"key")) + field(9, value) + field(9, field(1, b"bare"))
    assert row(decode_span(span))["SpanAttributes"] == [("key", "value"), ("", "value"), ("bare", "")]


@pytest.mark.parametrize(
    "unknown",
    [
        varint(100 << 3) + varint(2**63),
        varint(101 << 3 | 1) + bytes(8),
        varint(102 << 3 | 5) + bytes(4),
        field(103, b"anything"),
        field((1 << 29) - 1, b"the largest field number"),
        # Known numbers with another wire type are unknown fields, as protobuf has it.
        varint(1 << 3) + b"\x05",
        varint(5 << 3 | 5) + bytes(4),
        field(7, b"start"),
    ],
)
def test_unknown_fields_are_passed_over(unknown: bytes) -> None:
    span = unknown + good_span(name="known").SerializeToString() + unknown
    body = unknown + field(1, unknown + field(2, unknown + field(2, span) + unknown) + unknown) + unknown
    # At the top, field 1 with wire type 0 and field 7 are unknown as well.
    assert row(decode(body, format="protobuf"))["SpanName"] == "known"


def test_unknown_enum_numbers_are_the_unspecified_ones() -> None:
    found = row(decode_span(good_span(kind=77, status=status(-1))))
    assert (found["SpanKind"], found["StatusCode"]) == ("Unspecified", "Unset")


@pytest.mark.parametrize(("number", "name"), list(enumerate(["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"])))
def test_kinds(number: int, name: str) -> None:
    assert row(decode_span(good_span(kind=number)))["SpanKind"] == name


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"trace_id": bytes(16)}, "trace_id_zero"),
        ({"trace_id": b""}, "trace_id_length"),
        ({"trace_id": bytes(8)}, "trace_id_length"),
        ({"span_id": bytes(8)}, "span_id_zero"),
        ({"span_id": b""}, "span_id_length"),
        ({"span_id": b"123456789"}, "span_id_length"),
        ({"parent_span_id": b"123"}, "parent_id_length"),
        ({"start_time_unix_nano": 2**63}, "time_out_of_range"),
        ({"end_time_unix_nano": 2**64 - 1}, "time_out_of_range"),
    ],
)
def test_a_bad_span_is_refused_alone(fields: dict[str, Any], reason: str) -> None:
    attribute = KeyValue(key="k", value=AnyValue(string_value="v"))
    event, link = Span.Event(name="e", attributes=[attribute]), Span.Link(trace_id=TRACE_ID, span_id=SPAN_ID, attributes=[attribute])
    lists = {"attributes": [attribute], "events": [event], "links": [link]}
    bad, after = good_span(**lists, **fields), good_span(name="after", attributes=[attribute])
    data = TracesData(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[bad, after])])])
    decoded = decode(data.SerializeToString(), format="protobuf")
    pa.record_batch(decoded).validate(full=True)
    found = row(decoded)
    assert decoded.refused == {reason: 1}
    assert (found["SpanName"], found["SpanAttributes"], found["Events.Name"], found["Links.TraceId"]) == ("after", [("k", "v")], [], [])


@pytest.mark.parametrize("parent", [b"", bytes(8)])
def test_no_parent_is_an_empty_text(parent: bytes) -> None:
    assert row(decode_span(good_span(parent_span_id=parent)))["ParentSpanId"] == ""


def test_a_span_that_ends_before_it_starts_is_kept_with_no_duration() -> None:
    decoded = decode_span(good_span(start_time_unix_nano=10, end_time_unix_nano=9))
    assert (row(decoded)["Duration"], decoded.ends_before_start) == (0, 1)


def test_the_latest_time_is_kept() -> None:
    batch = pa.record_batch(decode_span(good_span(start_time_unix_nano=2**63 - 1, end_time_unix_nano=2**63 - 1)))
    assert batch.column("Timestamp").cast(pa.int64()).to_pylist() == [2**63 - 1]


def test_bad_events_and_links_are_dropped_and_counted() -> None:
    attribute = KeyValue(key="k", value=AnyValue(string_value="v"))
    events = [Span.Event(name="late", time_unix_nano=2**63, attributes=[attribute]), Span.Event(name="good", attributes=[attribute])]
    links = [
        Span.Link(trace_id=bytes(16), span_id=SPAN_ID, attributes=[attribute]),
        Span.Link(trace_id=TRACE_ID, span_id=b"1", attributes=[attribute]),
        Span.Link(trace_id=TRACE_ID, span_id=SPAN_ID, trace_state="a=b", attributes=[attribute]),
    ]
    decoded = decode_span(good_span(events=events, links=links))
    found = row(decoded)
    assert (decoded.dropped_events, decoded.dropped_links) == (1, 2)
    assert (found["Events.Name"], found["Events.Attributes"]) == (["good"], [[("k", "v")]])
    assert (found["Links.TraceId"], found["Links.TraceState"]) == ([TRACE_ID.hex()], ["a=b"])
    assert found["Links.Attributes"] == [[("k", "v")]]


@pytest.mark.parametrize(
    ("body", "kind", "offset"),
    [
        (b"\x0a", "truncated", 1),
        (b"\x0a\x05\x0a", "truncated", 2),
        (b"\x0a\x01", "truncated", 2),
        (b"\x0a\x80", "truncated", 2),
        (body_of(b"\x39\x01\x02"), "truncated", 7),
        (varint(9 << 3 | 5) + b"\x01", "truncated", 1),
        (b"\x0a" + b"\xff" * 10 + b"\x01", "bad_varint", 1),
        (b"\x02\x00", "bad_varint", 0),
        (varint(2**32 | 10) + b"\x00", "bad_varint", 0),
        (b"\x0b\x0c", "bad_wire_type", 1),
        (b"\x0e\x00", "bad_wire_type", 1),
        (b"\x0f\x00", "bad_wire_type", 1),
        (b'{"resourceSpans":[]}', "bad_wire_type", 1),
        (body_of(field(5, b"ab\xff")), "bad_utf8", 10),
        (body_of(field(9, field(1, b"\xc3\x28"))), "bad_utf8", 10),
        (body_of(field(9, field(2, field(1, b"\xed\xa0\x80")))), "bad_utf8", 12),
    ],
)
def test_a_malformed_body_is_an_error_with_its_place(body: bytes, kind: str, offset: int) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(body, format="protobuf")
    assert (caught.value.kind, caught.value.offset) == (kind, offset)
    assert f"at byte {offset}; " in str(caught.value)


def test_an_error_in_the_last_span_keeps_none_of_the_others() -> None:
    good = field(1, field(2, field(2, good_span().SerializeToString())))
    with pytest.raises(DecodeError, match="bad_utf8"):
        decode(good + body_of(field(5, b"\xff")), format="protobuf")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read(kind: type) -> None:
    assert decode(kind(body_of(good_span().SerializeToString())), format="protobuf").spans == 1


def test_a_part_of_a_memoryview_is_read() -> None:
    body = body_of(good_span().SerializeToString())
    assert decode(memoryview(b"xx" + body + b"yy")[2:-2], format="protobuf").spans == 1
    assert decode(memoryview(bytes(byte for pair in zip(body, body, strict=True) for byte in pair))[::2], format="protobuf").spans == 1


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError):
        decode("text", format="json")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="format must be"):
        decode(b"", format="xml")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="encoding must be"):
        decode(b"", format="json", encoding="br")  # type: ignore[arg-type]


def test_the_batch_outlives_what_it_came_from_and_is_given_out_again() -> None:
    decoded = decode_span(good_span(name="kept"))
    first, second = pa.record_batch(decoded), pa.record_batch(decoded)
    assert pa.schema(decoded) == first.schema
    del decoded
    assert first == second
    assert first.column("SpanName").to_pylist() == ["kept"]
    decode_span(good_span()).__arrow_c_array__()  # capsules that nobody takes over are released


@pytest.mark.parametrize("length", range(1, 20))
def test_a_byte_that_is_not_utf8_is_found_at_every_place(length: int) -> None:
    for place in range(length):
        name = b"a" * place + b"\xff" + b"a" * (length - place - 1)
        with pytest.raises(DecodeError) as caught:
            decode(body_of(field(5, name)), format="protobuf")
        assert (caught.value.kind, caught.value.offset) == ("bad_utf8", 8 + place)
