"""Jaeger's JSON becomes the same rows as the OTLP it stands for."""

from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from verdigris._native import decode
from verdigris.telemetry.sources.bodies import _dump
from verdigris.telemetry.sources.jaeger import translate

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(**fields: Any) -> dict[str, Any]:
    return {
        "traceID": TRACE,
        "spanID": "b7ad6b7169203331",
        "operationName": "GET /",
        "startTime": 1_700_000_000_000_001,
        "duration": 1_500,
        "process": {"serviceName": "shop", "tags": []},
    } | fields


def tag(key: str, value: object, kind: str = "string") -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}


def rows(value: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    problems: list[str] = []
    translated = list(translate(value, lambda place, what: problems.append(f"{place}: {what}")))
    decoded = decode(_dump({"resourceSpans": translated}), format="json")
    assert not decoded.refused
    return pa.record_batch(decoded).to_pylist(), problems


YES, NO = True, False


def row(value: dict[str, Any]) -> dict[str, Any]:
    found, problems = rows(value)
    assert not problems
    (only,) = found
    return only


def reference(kind: str, target: str, trace: str = TRACE) -> dict[str, Any]:
    return {"refType": kind, "traceID": trace, "spanID": target}


def test_fields_and_units() -> None:
    found = row(span())
    assert found["TraceId"] == TRACE
    assert found["SpanId"] == "b7ad6b7169203331"
    assert found["ParentSpanId"] == ""
    assert found["SpanName"] == "GET /"
    assert found["ServiceName"] == "shop"
    assert found["Timestamp"] == datetime(2023, 11, 14, 22, 13, 20, 1)  # noqa: DTZ001 - columns are UTC without zone
    assert found["Duration"] == 1_500_000
    assert (found["SpanKind"], found["StatusCode"]) == ("Unspecified", "Unset")


def test_ids_without_their_leading_zeros_are_padded() -> None:
    found = row(span(traceID="ABC", spanID="1", references=[reference("CHILD_OF", "2", "abc")]))
    assert (found["TraceId"], found["SpanId"]) == ("abc".zfill(32), "1".zfill(16))
    assert found["ParentSpanId"] == "2".zfill(16)


def test_the_first_child_of_in_the_same_trace_is_the_parent_and_all_others_are_links() -> None:
    found = row(
        span(
            references=[
                reference("CHILD_OF", "a", "1"),
                reference("FOLLOWS_FROM", "b"),
                reference("CHILD_OF", "c"),
                reference("CHILD_OF", "d"),
            ]
        )
    )
    assert found["ParentSpanId"] == "c".zfill(16)
    assert found["Links.SpanId"] == [name.zfill(16) for name in "abd"]
    assert found["Links.TraceId"] == ["1".zfill(32), TRACE, TRACE]
    kinds = [dict(attributes)["opentracing.ref_type"] for attributes in found["Links.Attributes"]]
    assert kinds == ["child_of", "follows_from", "child_of"]


def test_without_child_of_the_first_follows_from_is_the_parent_and_stays_a_link() -> None:
    found = row(span(references=[reference("FOLLOWS_FROM", "b"), reference("FOLLOWS_FROM", "c")]))
    assert found["ParentSpanId"] == "b".zfill(16)
    assert found["Links.SpanId"] == ["b".zfill(16), "c".zfill(16)]


def test_the_parent_field_of_old_exports() -> None:
    assert row(span(parentSpanID="f"))["ParentSpanId"] == "f".zfill(16)
    assert row(span(parentSpanID="0"))["ParentSpanId"] == ""


@pytest.mark.parametrize(
    ("tags", "status", "message", "left"),
    [
        ([tag("error", YES, "bool")], "Error", "", {}),
        ([tag("error", "true")], "Error", "", {}),
        ([tag("error", "true", "bool")], "Error", "", {}),
        ([tag("error", NO, "bool")], "Unset", "", {"error": "false"}),
        ([tag("error", "timeout")], "Error", "", {"error": "timeout"}),
        ([tag("otel.status_code", "OK"), tag("error", YES, "bool")], "Ok", "", {}),
        ([tag("otel.status_code", "ERROR"), tag("otel.status_description", "late")], "Error", "late", {}),
        ([tag("otel.status_code", "odd")], "Unset", "", {"otel.status_code": "odd"}),
    ],
)
def test_status(tags: list[Any], status: str, message: str, left: dict[str, str]) -> None:
    found = row(span(tags=tags))
    assert (found["StatusCode"], found["StatusMessage"]) == (status, message)
    assert dict(found["SpanAttributes"]) == left


@pytest.mark.parametrize("kind", ["internal", "server", "client", "producer", "consumer"])
def test_kind(kind: str) -> None:
    found = row(span(tags=[tag("span.kind", kind)]))
    assert (found["SpanKind"], found["SpanAttributes"]) == (kind.capitalize(), [])


def test_an_unknown_kind_stays_an_attribute() -> None:
    found = row(span(tags=[tag("span.kind", "broker")]))
    assert (found["SpanKind"], dict(found["SpanAttributes"])) == ("Unspecified", {"span.kind": "broker"})


def test_scope_and_trace_state() -> None:
    tags = [tag("otel.scope.name", "lib"), tag("otel.library.version", "2"), tag("w3c.tracestate", "a=b")]
    found = row(span(tags=tags))
    assert (found["ScopeName"], found["ScopeVersion"], found["TraceState"]) == ("lib", "2", "a=b")
    assert found["SpanAttributes"] == []


def test_tag_types() -> None:
    tags = [
        tag("b", YES, "bool"),
        tag("i", 2**53 + 1, "int64"),
        tag("s", "7", "int64"),
        tag("f", 2, "float64"),
        tag("x", "AAE=", "binary"),
        tag("n", None),
        tag("o", {"a": [1]}),
    ]
    found = dict(row(span(tags=tags))["SpanAttributes"])
    assert (found["b"], found["i"], found["s"], found["n"]) == ("true", str(2**53 + 1), "7", "")
    assert float(found["f"]) == 2
    assert found["o"] == '{"a":[1]}'
    assert "x" in found


def test_process_tags_are_resource_attributes_and_the_service_name_field_wins() -> None:
    process = {"serviceName": "shop", "tags": [tag("service.name", "other"), tag("host", "h1")]}
    assert dict(row(span(process=process))["ResourceAttributes"]) == {"service.name": "shop", "host": "h1"}


def test_the_placeholder_for_no_service_name_is_no_service_name() -> None:
    assert row(span(process={"serviceName": "OTLPResourceNoServiceName"}))["ServiceName"] == ""


def test_logs_are_events() -> None:
    logs = [
        {"timestamp": 1_700_000_000_000_002, "fields": [tag("event", "retry"), tag("n", 1, "int64")]},
        {"timestamp": 1_700_000_000_000_003, "fields": []},
    ]
    found = row(span(logs=logs))
    assert found["Events.Name"] == ["retry", ""]
    assert [dict(attributes) for attributes in found["Events.Attributes"]] == [{"n": "1"}, {}]


def test_warnings_are_kept() -> None:
    assert "clock skew" in dict(row(span(warnings=["clock skew"]))["SpanAttributes"])["jaeger.warnings"]


def test_an_export_names_the_place_of_what_it_leaves_out() -> None:
    spans = [span(processID="p1", process=None), span(processID="p2", process=None), 7, span(spanID="xyz")]
    trace = {"traceID": TRACE, "processes": {"p1": {"serviceName": "cart"}}, "spans": spans}
    found, problems = rows({"data": [trace, None]})
    assert [entry["ServiceName"] for entry in found] == ["cart"]
    assert problems == [
        ".data[0].spans[1]: its process is missing, so its service is unknown",
        ".data[0].spans[2]: not an object",
        ".data[0].spans[3]: spanID is missing or no hexadecimal text",
        ".data[1]: no Jaeger trace: it has no list of spans",
    ]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"startTime": None}, "startTime is missing"),
        ({"startTime": -1}, "outside 1970 to 2262"),
        ({"startTime": 1 << 60}, "outside 1970 to 2262"),
        ({"duration": "soon"}, "duration is no time span"),
        ({"startTime": "yesterday"}, "no RFC 3339"),
        ({"startTime": "2026-99-01T00:00:00Z"}, "no RFC 3339"),
        ({"tags": [{"value": 1}]}, "a tag has no key"),
        ({"logs": [3]}, "a log is no object"),
        ({"references": ["x"]}, "a reference is no object"),
        ({"traceID": "f" * 33}, "longer than 32"),
    ],
)
def test_what_cannot_be_translated_is_said(fields: dict[str, Any], why: str) -> None:
    found, problems = rows(span(**fields))
    assert not found
    assert len(problems) == 1
    assert why in problems[0]


def test_the_storage_form() -> None:
    stored = {
        "spans": [
            {
                "traceId": "AAAAAAAAAABSlpqJVVcaPw==",
                "spanId": "AAAAAABkfZg=",
                "operationName": "get",
                "references": [{"traceId": "AAAAAAAAAABSlpqJVVcaPw==", "spanId": "AAAAAABSlHs="}],
                "startTime": "2017-01-26T16:46:31.639875-05:00",
                "duration": "0.022938s",
                "tags": [{"key": "n", "vType": "INT64", "vInt64": "5"}, {"key": "z", "vType": "BOOL"}],
                "processId": "p",
            }
        ],
        "processMap": [{"processId": "p", "process": {"serviceName": "api"}}],
    }
    found = row(stored)
    assert (found["TraceId"], found["SpanId"]) == ("000000000000000052969a8955571a3f", "0000000000647d98")
    assert found["ParentSpanId"] == "000000000052947b"
    assert found["Timestamp"] == datetime(2017, 1, 26, 21, 46, 31, 639875)  # noqa: DTZ001 - as above
    assert found["Duration"] == 22_938_000
    assert found["ServiceName"] == "api"
    assert dict(found["SpanAttributes"]) == {"n": "5", "z": "false"}
