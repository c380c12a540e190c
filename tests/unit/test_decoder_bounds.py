"""Everything a sender controls is bounded: sizes, counts, depth, compression."""

import gzip
import json
import zlib
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from verdigris._native import Decoded, DecodeError, Limits, decode

TRACE_ID, SPAN_ID = bytes(range(1, 17)), bytes(range(1, 9))


def attribute(key: str, value: str = "v") -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def body(*spans: Span, resource: Resource | None = None) -> bytes:
    of_scope = ScopeSpans(spans=spans or [span()])
    return TracesData(resource_spans=[ResourceSpans(resource=resource, scope_spans=[of_scope])]).SerializeToString()


def span(**fields: Any) -> Span:
    return Span(trace_id=TRACE_ID, span_id=SPAN_ID, **fields)


def error_kind(data: bytes, **options: Any) -> str:
    """The kind of the error that this body is."""
    with pytest.raises(DecodeError) as caught:
        decode(data, **{"format": "protobuf", **options})
    return caught.value.kind


def row(decoded: Decoded) -> dict[str, Any]:
    batch = pa.record_batch(decoded)
    batch.validate(full=True)
    rows: list[dict[str, Any]] = batch.to_pylist()
    assert len(rows) == 1
    return rows[0]


def test_the_defaults() -> None:
    assert Limits() == Limits(
        body_bytes=64 << 20, decoded_bytes=256 << 20, table_bytes=1 << 30, depth=32, spans=1_000_000, attributes=256,
        events=1024, links=1024, value_bytes=32 << 10,
    )  # fmt: skip
    assert Limits() != Limits(depth=31)
    assert len({Limits(), Limits(), Limits(spans=1)}) == 2
    assert repr(Limits(depth=3)).startswith("Limits(body_bytes=67108864, ")


@pytest.mark.parametrize("limit", [{"depth": 129}, {"table_bytes": 2**31}])
def test_limits_that_cannot_be_kept_are_refused(limit: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Limits(**limit)


def test_limits_are_frozen_and_keyword_only() -> None:
    with pytest.raises(AttributeError):
        Limits().depth = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        Limits(1)  # type: ignore[call-arg]
    with pytest.raises(OverflowError):
        Limits(spans=-1)


def test_the_body_is_bounded_before_and_after_inflating() -> None:
    data = body()
    assert decode(data, format="protobuf", limits=Limits(body_bytes=len(data), decoded_bytes=len(data))).spans == 1
    assert error_kind(data, limits=Limits(body_bytes=len(data) - 1)) == "too_large"
    for encoding, packed in (("identity", data), ("gzip", gzip.compress(data)), ("zstd", zstandard.compress(data))):
        assert decode(packed, format="protobuf", encoding=encoding, limits=Limits(decoded_bytes=len(data))).spans == 1  # type: ignore[arg-type]
        assert error_kind(packed, encoding=encoding, limits=Limits(decoded_bytes=len(data) - 1)) == "too_large"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_stops_at_the_limit(encoding: str) -> None:
    zeros = bytes(300 << 20)
    bomb = gzip.compress(zeros, 1) if encoding == "gzip" else zstandard.compress(zeros)
    del zeros
    with pytest.raises(DecodeError) as caught:
        decode(bomb, format="protobuf", encoding=encoding, limits=Limits(decoded_bytes=1 << 20))  # type: ignore[arg-type]
    assert (caught.value.kind, caught.value.offset) == ("too_large", 1 << 20)


def test_a_zstd_frame_that_asks_for_a_huge_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(body()) + compressor.flush()
    assert error_kind(packed, encoding="zstd") == "bad_encoding"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_bodies(encoding: str) -> None:
    def pack(data: bytes) -> bytes:
        return gzip.compress(data) if encoding == "gzip" else zstandard.compress(data)

    data = body()
    packed = pack(data)
    assert decode(packed, format="protobuf", encoding=encoding).spans == 1  # type: ignore[arg-type]
    members = b"".join(pack(data[start : start + 7]) for start in range(0, len(data), 7))
    assert decode(members, format="protobuf", encoding=encoding).spans == 1  # type: ignore[arg-type]
    assert error_kind(packed + b"trailing garbage", encoding=encoding) == "bad_encoding"
    assert error_kind(data, encoding=encoding) in {"bad_encoding", "truncated"}
    for end in range(len(packed)):
        assert error_kind(packed[:end], encoding=encoding) == "truncated"


def test_a_wrong_gzip_checksum_is_an_error() -> None:
    packed = bytearray(gzip.compress(body()))
    packed[-5] ^= 1
    assert error_kind(bytes(packed), encoding="gzip") == "bad_encoding"


def test_deflate_is_not_gzip() -> None:
    assert error_kind(zlib.compress(body()), encoding="gzip") == "bad_encoding"


def test_the_number_of_spans_is_bounded_and_counts_refused_ones() -> None:
    data = body(span(), Span(), span())
    assert decode(data, format="protobuf", limits=Limits(spans=3)).spans == 2
    assert error_kind(data, limits=Limits(spans=2)) == "too_large"


def test_attributes_beyond_the_limit_are_dropped_and_counted() -> None:
    attributes = [attribute(f"k{number}") for number in range(5)]
    one = span(
        attributes=attributes,
        events=[Span.Event(attributes=attributes[:3])],
        links=[Span.Link(trace_id=TRACE_ID, span_id=SPAN_ID, attributes=attributes)],
    )
    data = body(one, resource=Resource(attributes=attributes))
    decoded = decode(data, format="protobuf", limits=Limits(attributes=3))
    found = row(decoded)
    assert decoded.dropped_attributes == 2 + 0 + 2 + 2
    kept = [("k0", "v"), ("k1", "v"), ("k2", "v")]
    assert found["ResourceAttributes"] == found["SpanAttributes"] == kept
    assert found["Events.Attributes"] == found["Links.Attributes"] == [kept]


def test_the_attribute_limit_counts_what_was_sent_not_what_is_left() -> None:
    decoded = decode(body(span(attributes=[attribute("same", str(n)) for n in range(9)])), format="protobuf", limits=Limits(attributes=4))
    assert (row(decoded)["SpanAttributes"], decoded.dropped_attributes) == ([("same", "3")], 5)


def test_events_and_links_beyond_the_limit_are_dropped_and_counted() -> None:
    link = Span.Link(trace_id=TRACE_ID, span_id=SPAN_ID)
    one = span(events=[Span.Event(name=f"e{n}") for n in range(5)], links=[link] * 4)
    decoded = decode(body(one, one), format="protobuf", limits=Limits(events=2, links=3))
    batch = pa.record_batch(decoded)
    assert batch.column("Events.Name").to_pylist() == [["e0", "e1"]] * 2
    assert [len(links) for links in batch.column("Links.SpanId").to_pylist()] == [3, 3]
    assert (decoded.dropped_events, decoded.dropped_links) == (6, 2)


def test_texts_are_cut_between_characters_and_counted() -> None:
    one = span(
        name="ééé", trace_state="abcdef", attributes=[attribute("key is long", "x€y"), attribute("exact", "12345")],
        events=[Span.Event(name="123456")], status=Status(message="😀😀"),
    )  # fmt: skip
    decoded = decode(body(one), format="protobuf", limits=Limits(value_bytes=5))
    found = row(decoded)
    assert (found["SpanName"], found["TraceState"], found["StatusMessage"]) == ("éé", "abcde", "😀")
    assert found["SpanAttributes"] == [("key i", "x€y"), ("exact", "12345")]
    assert found["Events.Name"] == ["12345"]
    assert decoded.truncated_values == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (AnyValue(string_value="aaa€"), "aaa"),
        (AnyValue(int_value=-123456), "-1234"),
        (AnyValue(double_value=0.123456), "0.123"),
        (AnyValue(bytes_value=bytes(6)), "AAAAA"),
        (AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="ab€")])), '["ab'),
        (AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue(int_value=2), AnyValue(int_value=3)])), "[1,2,"),
        (AnyValue(kvlist_value=KeyValueList(values=[attribute("k")])), '{"k":'),
        (AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="a\n\n")])), '["a\\n'),
    ],
)
def test_rendered_values_are_cut_too(value: AnyValue, text: str) -> None:
    decoded = decode(body(span(attributes=[KeyValue(key="k", value=value)])), format="protobuf", limits=Limits(value_bytes=5))
    assert row(decoded)["SpanAttributes"] == [("k", text)]
    assert decoded.truncated_values == 1


def test_a_cut_that_a_later_member_replaces_is_not_counted() -> None:
    value = AnyValue(string_value="too long").SerializeToString() + AnyValue(string_value="kept").SerializeToString()
    decoded = decode(wrap_attribute(value), format="protobuf", limits=Limits(value_bytes=5))
    assert (row(decoded)["SpanAttributes"], decoded.truncated_values) == ([("k", "kept")], 0)


def test_keys_that_are_cut_to_the_same_text_are_the_same_key() -> None:
    one = span(attributes=[attribute("abc1", "1"), attribute("abc2", "2"), attribute("abc1", "3")])
    decoded = decode(body(one, one), format="protobuf", limits=Limits(value_bytes=3))
    assert pa.record_batch(decoded).column("SpanAttributes").to_pylist() == [[("abc", "3")]] * 2


def json_nested(depth: int) -> dict[str, Any]:
    """A list in an array in a list and so on."""
    value: dict[str, Any] = {"intValue": 7}
    for level in range(depth):
        value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}} if level % 2 else {"arrayValue": {"values": [value]}}
    return value


def json_body(value: object, **members: object) -> bytes:
    one = {"traceId": TRACE_ID.hex(), "spanId": SPAN_ID.hex(), "attributes": [{"key": "k", "value": value}], **members}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}], "resource": {}}]}).encode()


@pytest.mark.parametrize("depth", [1, 2, 32, 128])
def test_depth_is_bounded(depth: int) -> None:
    def protobuf(levels: int) -> bytes:
        # Written by hand: Google's own writer gives up at 100.
        value = b"\x18\x07"
        for level in range(levels):
            inner = (
                length_delimited(b"\x0a", b"\x0a\x01k" + length_delimited(b"\x12", value))
                if level % 2
                else length_delimited(b"\x0a", value)
            )
            value = length_delimited(b"\x32" if level % 2 else b"\x2a", inner)
        return wrap_attribute(value)

    limits = Limits(depth=depth)
    by_protobuf = row(decode(protobuf(depth), format="protobuf", limits=limits))["SpanAttributes"]
    by_json = row(decode(json_body(json_nested(depth)), format="json", limits=limits))["SpanAttributes"]
    assert by_protobuf == by_json
    assert by_json[0][1].count("[") == (depth + 1) // 2
    assert error_kind(protobuf(depth + 1), limits=limits) == "too_deep"
    assert error_kind(json_body(json_nested(depth + 1)), format="json", limits=limits) == "too_deep"


def length_delimited(tag: bytes, content: bytes) -> bytes:
    length, out = len(content), bytearray(tag)
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length]) + content


def wrap_attribute(value: bytes) -> bytes:
    """A body of one span with one attribute, whose value is on the wire already."""
    one = span().SerializeToString() + length_delimited(b"\x4a", b"\x0a\x01k" + length_delimited(b"\x12", value))
    return length_delimited(b"\x0a", length_delimited(b"\x12", length_delimited(b"\x12", one)))


@pytest.mark.parametrize("levels", [1_000, 100_000])
def test_hostile_depth_does_not_exhaust_the_stack(levels: int) -> None:
    value = b"\x18\x07"
    for _ in range(min(levels, 3_000)):
        value = length_delimited(b"\x2a", length_delimited(b"\x0a", value))
    assert error_kind(wrap_attribute(value), limits=Limits(depth=128)) == "too_deep"
    for data in (b'{"x":' + b"[" * levels, b'{"x":' * levels, b'{"resourceSpans":[{"scopeSpans":' + b"[" * levels):
        assert error_kind(data, format="json", limits=Limits(depth=128)) == "too_deep"


def test_unknown_json_members_may_nest_to_the_limit() -> None:
    def unknown(levels: int) -> object:
        return [unknown(levels - 1)] if levels > 1 else []

    assert decode(json_body({}, other=unknown(4)), format="json", limits=Limits(depth=4)).spans == 1
    assert error_kind(b'{"other":%s}' % json.dumps(unknown(5)).encode(), format="json", limits=Limits(depth=4)) == "too_deep"


def test_a_resource_repeated_on_its_spans_counts_against_the_table() -> None:
    resource = Resource(attributes=[attribute("blob", "x" * 10_000)])
    data = body(*[span()] * 100, resource=resource)
    assert decode(data, format="protobuf", limits=Limits(table_bytes=1_100_000)).spans == 100
    assert error_kind(data, limits=Limits(table_bytes=1_000_000)) == "too_large"


def test_the_table_is_bounded_over_all_scopes_together() -> None:
    resource = Resource(attributes=[attribute("blob", "x" * 10_000)])
    scopes = [ScopeSpans(spans=[span()] * 10)] * 10
    data = TracesData(resource_spans=[ResourceSpans(resource=resource, scope_spans=scopes)]).SerializeToString()
    assert decode(data, format="protobuf", limits=Limits(table_bytes=1_100_000)).spans == 100
    assert error_kind(data, limits=Limits(table_bytes=1_000_000)) == "too_large"


def test_a_small_body_cannot_become_a_large_table() -> None:
    resource = Resource(attributes=[attribute(f"k{number}", "x" * 30_000) for number in range(256)])
    data = body(*[span()] * 100_000, resource=resource)
    assert error_kind(data) == "too_large"


def test_a_long_scope_name_counts_against_the_table() -> None:
    scope_spans = ScopeSpans(scope=InstrumentationScope(name="n" * 10_000), spans=[span()] * 100)
    data = TracesData(resource_spans=[ResourceSpans(scope_spans=[scope_spans])]).SerializeToString()
    assert error_kind(data, limits=Limits(table_bytes=900_000)) == "too_large"
