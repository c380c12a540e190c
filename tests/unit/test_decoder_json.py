"""OTLP in JSON: names, numbers, ids, escapes, order, and what is malformed."""

import json
from typing import Any

import pyarrow as pa
import pytest

from verdigris._native import Decoded, DecodeError, Limits, decode

TRACE_ID, SPAN_ID = "0123456789abcdef0123456789abcdef", "0123456789abcdef"
GOOD: dict[str, Any] = {"traceId": TRACE_ID, "spanId": SPAN_ID}


def decode_json(tree: object, limits: Limits | None = None) -> Decoded:
    return decode(json.dumps(tree).encode(), format="json", limits=limits)


def decode_spans(*spans: object, limits: Limits | None = None) -> Decoded:
    return decode_json({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}, limits)


def row(decoded: Decoded) -> dict[str, Any]:
    """The only row."""
    rows: list[dict[str, Any]] = pa.record_batch(decoded).to_pylist()
    assert len(rows) == 1
    return rows[0]


def attribute_text(value: object) -> str:
    """The text of one attribute value."""
    ((_, text),) = row(decode_spans({**GOOD, "attributes": [{"key": "k", "value": value}]}))["SpanAttributes"]
    return str(text)


def array(*values: object) -> dict[str, object]:
    return {"arrayValue": {"values": values}}


def pairs(*values: object) -> dict[str, object]:
    return {"kvlistValue": {"values": values}}


def start_unix_nano(start: object) -> int:
    batch = pa.record_batch(decode_spans({**GOOD, "startTimeUnixNano": start, "endTimeUnixNano": str(2**63 - 1)}))
    return int(batch.column("Timestamp").cast(pa.int64())[0].as_py())


@pytest.mark.parametrize(
    "start",
    ["1760000000123456789", 1760000000123456789, "1760000000123456789.0", "1.760000000123456789e18", "17600000001234567890e-1"],
)
def test_64_bit_integers_are_exact_in_every_spelling(start: object) -> None:
    assert start_unix_nano(start) == 1760000000123456789


@pytest.mark.parametrize("start", ["-1", "1.5", "", "x", str(2**64), "1e99", "+1", "0x10", " 1", True, [], {}])
def test_what_is_no_unsigned_integer_is_an_error(start: object) -> None:
    with pytest.raises(DecodeError, match="bad_json"):
        start_unix_nano(start)


def test_times_after_2262_refuse_the_span() -> None:
    assert decode_spans({**GOOD, "startTimeUnixNano": str(2**63)}).refused == {"time_out_of_range": 1}


@pytest.mark.parametrize(
    ("kind", "name"),
    [(3, "Client"), ("SPAN_KIND_CLIENT", "Client"), ("SPAN_KIND_SERVER", "Server"), (99, "Unspecified"), (None, "Unspecified")],
)
def test_kinds_are_numbers_or_names(kind: object, name: str) -> None:
    assert row(decode_spans({**GOOD, "kind": kind}))["SpanKind"] == name


@pytest.mark.parametrize(("code", "name"), [(2, "Error"), ("STATUS_CODE_ERROR", "Error"), ("STATUS_CODE_OK", "Ok"), (-3, "Unset")])
def test_status_codes_are_numbers_or_names(code: object, name: str) -> None:
    assert row(decode_spans({**GOOD, "status": {"code": code, "message": "m"}}))["StatusCode"] == name


@pytest.mark.parametrize("span", [{"kind": "SERVER"}, {"status": {"code": "Error"}}])
def test_an_enum_name_that_does_not_exist_is_an_error(span: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_spans(GOOD | span)
    assert caught.value.kind == "bad_enum"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"traceId": "0" * 32}, "trace_id_zero"),
        ({"traceId": ""}, "trace_id_length"),
        ({"traceId": None}, "trace_id_length"),
        ({"traceId": "ab"}, "trace_id_length"),
        ({"traceId": "x" * 32}, "trace_id_not_hex"),
        ({"traceId": "not hexadecimal"}, "trace_id_not_hex"),
        ({"spanId": "0" * 16}, "span_id_zero"),
        ({"spanId": "abc"}, "span_id_length"),
        ({"spanId": "é" * 8}, "span_id_not_hex"),
        ({"parentSpanId": "abc"}, "parent_id_length"),
        ({"parentSpanId": "g" * 16}, "parent_id_not_hex"),
        ({"traceId": "ASNFZ4mrze8BI0VniavN7w=="}, "id_base64"),
        ({"traceId": "ASNFZ4mrze8BI0VniavN7w"}, "id_base64"),
        ({"spanId": "ASNFZ4mrze8="}, "id_base64"),
        ({"parentSpanId": "ASNFZ4mrze8="}, "id_base64"),
    ],
)
def test_a_bad_span_is_refused_alone(fields: dict[str, Any], reason: str) -> None:
    attributes = [{"key": "k", "value": {"stringValue": "v"}}]
    bad = {**GOOD, "attributes": attributes, "events": [{"name": "e", "attributes": attributes}], **fields}
    decoded = decode_spans({**GOOD, "name": "before", "attributes": attributes}, bad, {**GOOD, "name": "after"})
    batch = pa.record_batch(decoded)
    batch.validate(full=True)
    assert decoded.refused == {reason: 1}
    assert batch.column("SpanName").to_pylist() == ["before", "after"]
    assert batch.column("SpanAttributes").to_pylist() == [[("k", "v")], []]
    assert batch.column("Events.Name").to_pylist() == [[], []]


def test_ids_in_either_case_are_lower_case_in_the_table() -> None:
    found = row(decode_spans({"traceId": TRACE_ID.upper(), "spanId": SPAN_ID.upper(), "parentSpanId": "00" * 8}))
    assert (found["TraceId"], found["SpanId"], found["ParentSpanId"]) == (TRACE_ID, SPAN_ID, "")


def test_snake_case_names_are_read() -> None:
    span = {
        "trace_id": TRACE_ID, "span_id": SPAN_ID, "parent_span_id": SPAN_ID, "trace_state": "a=b", "start_time_unix_nano": 1,
        "end_time_unix_nano": 3, "attributes": [{"key": "k", "value": {"string_value": "v"}}],
        "events": [{"time_unix_nano": 2}], "links": [{"trace_id": TRACE_ID, "span_id": SPAN_ID, "trace_state": "c=d"}],
    }  # fmt: skip
    found = row(decode_json({"resource_spans": [{"scope_spans": [{"spans": [span]}]}]}))
    assert (found["ParentSpanId"], found["TraceState"], found["Duration"]) == (SPAN_ID, "a=b", 2)
    assert (found["SpanAttributes"], found["Links.TraceState"]) == ([("k", "v")], ["c=d"])


def test_null_is_absent_everywhere() -> None:
    span = GOOD | dict.fromkeys(("name", "kind", "attributes", "events", "links", "status", "parentSpanId", "traceState"))
    tree = {
        "resourceSpans": [
            None,
            {"resource": None, "scopeSpans": None},
            {"resource": {"attributes": None}, "scopeSpans": [None, {"scope": None, "spans": None}, {"spans": [None, span]}]},
        ]
    }
    assert row(decode_json(tree))["SpanName"] == ""
    assert decode_json({"resourceSpans": None}).spans == 0


def test_a_resource_and_scope_after_their_spans_are_found() -> None:
    attributes = [{"value": {"stringValue": "late"}, "key": "service.name"}]
    tree = {
        "resourceSpans": [
            {"scopeSpans": [{"spans": [GOOD], "scope": {"version": "2", "name": "lib"}}], "resource": {"attributes": attributes}}
        ]
    }
    found = row(decode_json(tree))
    assert (found["ServiceName"], found["ScopeName"], found["ScopeVersion"]) == ("late", "lib", "2")


def test_a_resource_does_not_reach_into_the_next_one() -> None:
    attributes = [{"key": "service.name", "value": {"stringValue": "first"}}]
    spans = [{"spans": [GOOD]}]
    tree = {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": spans}, {"scopeSpans": spans}]}
    assert pa.record_batch(decode_json(tree)).column("ServiceName").to_pylist() == ["first", ""]


def test_unknown_members_are_passed_over() -> None:
    unknown = {"zzz": {"a": [1, -2.5e3, 'x\\"', True, False, None, {}, []]}, "droppedAttributesCount": 2, "flags": 257}
    event = {"name": "e", **unknown}
    span = {
        **GOOD,
        "name": "known",
        "events": [event],
        "attributes": [{"key": "k", "value": {"stringValue": "v", **unknown}, **unknown}],
        **unknown,
    }
    tree = {**unknown, "resourceSpans": [{**unknown, "scopeSpans": [{**unknown, "spans": [span]}]}]}
    found = row(decode_json(tree))
    assert (found["SpanName"], found["Events.Name"], found["SpanAttributes"]) == ("known", ["e"], [("k", "v")])


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb"plain", "plain"),
        (rb"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
        (rb"\u0041\u00e9\u20AC", "Aé€"),
        (rb"\ud83d\ude00!", "😀!"),
        (rb"a\ud83d", "a\ufffd"),
        (rb"\ude00b", "\ufffdb"),
        (rb"\ud83d\u0041", "\ufffdA"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\u0000", "\0"),
        ("é€😀 and more than eight bytes".encode(), "é€😀 and more than eight bytes"),
    ],
)
def test_escapes(raw: bytes, text: str) -> None:
    ids = f'"traceId":"{TRACE_ID}","spanId":"{SPAN_ID}"'.encode()
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{%s,"name":"%s"}]}]}]}' % (ids, raw)
    assert row(decode(body, format="json"))["SpanName"] == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"stringValue": ""}, ""),
        ({}, ""),
        (None, ""),
        ({"stringValue": None}, ""),
        ({"boolValue": True}, "true"),
        ({"boolValue": False}, "false"),
        ({"intValue": "-9223372036854775808"}, "-9223372036854775808"),
        ({"intValue": 9223372036854775807}, "9223372036854775807"),
        ({"intValue": 1e3}, "1000"),
        ({"intValue": "-0"}, "0"),
        ({"doubleValue": 0.1}, "0.1"),
        ({"doubleValue": "0.1"}, "0.1"),
        ({"doubleValue": 5}, "5"),
        ({"doubleValue": "NaN"}, "NaN"),
        ({"doubleValue": "-Infinity"}, "-Infinity"),
        ({"bytesValue": "AP8Q"}, "AP8Q"),
        ({"bytesValue": "-_8"}, "+/8="),
        ({"stringValue": "a", "intValue": "2"}, "2"),
        ({"arrayValue": {}}, "[]"),
        ({"arrayValue": {"values": None}}, "[]"),
        (array(None, {"stringValue": 'a"\n\\é'}, {"doubleValue": "NaN"}, {"bytesValue": "AP8Q"}), '[null,"a\\"\\n\\\\é","NaN","AP8Q"]'),
        ({"kvlistValue": {"values": []}}, "{}"),
        (pairs({"value": {"intValue": 1}, "key": "k"}, {"key": "n"}, {"key": "b", "value": {}}), '{"k":1,"n":null,"b":null}'),
        (array(pairs({"key": "a", "value": array({"intValue": 1})})), '[{"a":[1]}]'),
        ({"stringValue": "\x01\x1f\x7f"}, "\x01\x1f\x7f"),
        ({"arrayValue": {"values": [{"stringValue": "\x01\x1f\x7f\b\f"}]}}, '["\\u0001\\u001f\x7f\\b\\f"]'),
    ],
)  # fmt: skip
def test_values(value: object, text: str) -> None:
    assert attribute_text(value) == text


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"intValue": "1.5"}, "signed 64-bit"),
        ({"intValue": 2**63}, "signed 64-bit"),
        ({"doubleValue": "abc"}, "double"),
        ({"doubleValue": 10**400}, "double"),
        ({"bytesValue": "a"}, "base64"),
        ({"bytesValue": "A=="}, "base64"),
        ({"bytesValue": "AP8Q===="}, "base64"),
        ({"bytesValue": "!!!!"}, "base64"),
        ({"boolValue": "true"}, "true or false"),
        ({"stringValue": 1}, "string"),
        ({"arrayValue": []}, "object"),
        ("text", "object"),
    ],
)
def test_a_value_of_the_wrong_kind_is_an_error(value: object, what: str) -> None:
    with pytest.raises(DecodeError, match=what):
        attribute_text(value)


@pytest.mark.parametrize(
    ("body", "kind", "offset"),
    [
        (b"", "truncated", 0),
        (b" ", "truncated", 1),
        (b"{", "truncated", 1),
        (b'{"resourceSpans', "truncated", 15),
        (b'{"resourceSpans":[', "truncated", 18),
        (b'{"a":1', "truncated", 6),
        (b'{"a":-', "truncated", 6),
        (b'{"a":"\\', "truncated", 7),
        (b"[]", "bad_json", 0),
        (b"null", "bad_json", 0),
        (b"{} x", "bad_json", 3),
        (b"{}{}", "bad_json", 2),
        (b'{"a":1,}', "bad_json", 7),
        (b'{"a" 1}', "bad_json", 5),
        (b'{"a":1 "b":2}', "bad_json", 7),
        (b'{"a":[1 2]}', "bad_json", 8),
        (b'{"a":[1,]}', "bad_json", 8),
        (b"{a:1}", "bad_json", 1),
        (b'{"a":01}', "bad_json", 5),
        (b'{"a":1.}', "bad_json", 5),
        (b'{"a":.5}', "bad_json", 5),
        (b'{"a":+1}', "bad_json", 5),
        (b'{"a":1e}', "bad_json", 5),
        (b'{"a":NaN}', "bad_json", 5),
        (b'{"a":nul}', "bad_json", 5),
        (b'{"a":tru}', "bad_json", 5),
        (b'{"a":"\n"}', "bad_json", 6),
        (b'{"a":"abcd\nefghijkl"}', "bad_json", 10),
        (b'{"a":"\\x"}', "bad_json", 7),
        (b'{"a":"\\u12g4"}', "bad_json", 8),
        (b'{"resourceSpans":{}}', "bad_json", 17),
        (b'{"resourceSpans":[1]}', "bad_json", 18),
        (b'{"resourceSpans":[{"resource":{},"resource":{}}]}', "bad_json", 44),
        (b'{"resourceSpans":[{"scopeSpans":[{"scope":{},"scope":{}}]}]}', "bad_json", 53),
        (b'{"a":"\xff"}', "bad_utf8", 6),
        (b'{"abcdefgh\xc3"}', "bad_utf8", 10),
        (b"\xef\xbb\xbf{}", "bad_json", 0),
        (b"\x0a\x02\x08\x01", "bad_json", 1),
    ],
)
def test_a_malformed_body_is_an_error_with_its_place(body: bytes, kind: str, offset: int) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(body, format="json")
    assert (caught.value.kind, caught.value.offset) == (kind, offset)


def test_the_last_of_a_duplicate_member_counts() -> None:
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"x","traceId":"%s","spanId":"%s","name":"a","name":"b"}]}]}]}'
    assert row(decode(body % (TRACE_ID.encode(), SPAN_ID.encode()), format="json"))["SpanName"] == "b"


def test_of_a_duplicate_key_the_last_counts_in_its_own_place() -> None:
    items = [("a", "1"), ("b", "2"), ("a", "3")]
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in items]
    assert row(decode_spans({**GOOD, "attributes": attributes}))["SpanAttributes"] == [("b", "2"), ("a", "3")]
