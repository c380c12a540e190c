"""Zipkin v2 spans become rows, and the two halves of a shared span become two."""

from typing import Any

import pyarrow as pa
import pytest

from verdigris._native import decode
from verdigris.telemetry.sources import zipkin
from verdigris.telemetry.sources.bodies import _dump
from verdigris.telemetry.sources.zipkin import Calls, Half, PlacedSpan, server_half_id, translate

TRACE = "0af7651916cd43dd"
FULL_TRACE = TRACE.zfill(32)


def span(**fields: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE,
        "id": "000000000000000a",
        "name": "get /",
        "timestamp": 1_700_000_000_000_001,
        "duration": 1_500,
        "localEndpoint": {"serviceName": "shop"},
    } | fields


def local(service: str) -> dict[str, Any]:
    return {"serviceName": service}


def rows(*groups: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    problems: list[str] = []
    calls = Calls()
    translated = []
    for spans in groups:
        placed = [PlacedSpan(f"[{index}]", entry) for index, entry in enumerate(spans)]
        translated += list(translate(placed, calls, lambda place, what: problems.append(f"{place}: {what}")))
    decoded = decode(_dump({"resourceSpans": translated}), format="json")
    assert not decoded.refused
    return pa.record_batch(decoded).to_pylist(), problems


def row(**fields: Any) -> dict[str, Any]:
    found, problems = rows([span(**fields)])
    assert not problems
    (only,) = found
    return only


def test_fields_and_units() -> None:
    found = row(parentId="b")
    assert (found["TraceId"], found["SpanId"]) == (FULL_TRACE, "a".zfill(16))
    assert found["ParentSpanId"] == "b".zfill(16)
    assert (found["SpanName"], found["ServiceName"]) == ("get /", "shop")
    assert found["Duration"] == 1_500_000


@pytest.mark.parametrize("kind", ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"])
def test_kind(kind: str) -> None:
    assert row(kind=kind)["SpanKind"] == kind.capitalize()


def test_no_kind_is_internal_and_no_duration_is_zero() -> None:
    entry = span()
    del entry["duration"]
    (found,), _ = rows([entry])
    assert (found["SpanKind"], found["Duration"]) == ("Internal", 0)


@pytest.mark.parametrize(
    ("tags", "status", "message", "left"),
    [
        ({"error": "404"}, "Error", "404", {}),
        ({"error": ""}, "Error", "", {}),
        ({"error": "true"}, "Error", "", {}),
        ({"error": "false"}, "Unset", "", {"error": "false"}),
        ({"otel.status_code": "OK"}, "Ok", "", {}),
        ({"otel.status_code": "ERROR", "error": "late"}, "Error", "late", {}),
        ({"http.method": "GET"}, "Unset", "", {"http.method": "GET"}),
    ],
)
def test_status_and_tags(tags: dict[str, str], status: str, message: str, left: dict[str, str]) -> None:
    found = row(tags=tags)
    assert (found["StatusCode"], found["StatusMessage"]) == (status, message)
    assert dict(found["SpanAttributes"]) == left


def test_endpoints_are_attributes_unless_a_tag_says_the_same() -> None:
    found = row(
        localEndpoint={"serviceName": "shop", "ipv4": "10.0.0.1", "port": 80},
        remoteEndpoint={"serviceName": "db", "ipv6": "::1", "port": 5432},
        tags={"peer.service": "orders-db"},
    )
    assert dict(found["SpanAttributes"]) == {
        "peer.service": "orders-db",
        "network.local.address": "10.0.0.1",
        "network.local.port": "80",
        "network.peer.address": "::1",
        "network.peer.port": "5432",
    }


def test_annotations_are_events() -> None:
    time = 1_700_000_000_000_002
    annotations = [{"timestamp": time, "value": "sent"}, {"timestamp": time, "value": '"retry": {"n": 1}'}]
    found = row(annotations=annotations)
    assert found["Events.Name"] == ["sent", "retry"]
    assert [dict(attributes) for attributes in found["Events.Attributes"]] == [{}, {"n": "1"}]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"timestamp": None}, "timestamp is missing"),
        ({"id": "zz"}, "id is missing or no hexadecimal"),
        ({"duration": -5}, "duration lies outside"),
        ({"annotations": [None]}, "an annotation is no object"),
    ],
)
def test_what_cannot_be_translated_is_said(fields: dict[str, Any], why: str) -> None:
    found, problems = rows([span(**fields), span()])
    assert len(found) == 1
    assert len(problems) == 1
    assert problems[0].startswith("[0]: ")
    assert why in problems[0]


CLIENT = span(kind="CLIENT", parentId="1", localEndpoint=local("web"))
SERVER = span(kind="SERVER", parentId="1", localEndpoint=local("cart"), shared=True)
BELOW = span(id="c", parentId="a", localEndpoint=local("cart"))
HALF = server_half_id(Half(FULL_TRACE, "a".zfill(16), "cart", 1_700_000_000_000_001_000))


def parents(found: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    return {(entry["ServiceName"], entry["SpanId"]): entry["ParentSpanId"] for entry in found}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]])
def test_both_halves_of_a_shared_span_survive_with_what_the_server_did_below_it(order: list[int]) -> None:
    spans = [CLIENT, SERVER, BELOW]
    found, _ = rows([spans[index] for index in order])
    assert parents(found) == {
        ("web", "a".zfill(16)): "1".zfill(16),
        ("cart", HALF): "a".zfill(16),
        ("cart", "c".zfill(16)): HALF,
    }
    server = next(entry for entry in found if entry["SpanId"] == HALF)
    assert dict(server["SpanAttributes"]) == {"zipkin.shared_id": "a".zfill(16)}


def test_a_server_half_alone_keeps_its_ids() -> None:
    found, _ = rows([SERVER, BELOW])
    assert parents(found) == {("cart", "a".zfill(16)): "1".zfill(16), ("cart", "c".zfill(16)): "a".zfill(16)}


def test_a_span_of_the_waiting_client_stays_under_the_client() -> None:
    found, _ = rows([CLIENT, SERVER, span(id="d", parentId="a", localEndpoint=local("web"))])
    assert parents(found)[("web", "d".zfill(16))] == "a".zfill(16)


def test_a_span_of_a_third_service_goes_under_the_server() -> None:
    found, _ = rows([CLIENT, SERVER, span(id="d", parentId="a", localEndpoint=local("db"))])
    assert parents(found)[("db", "d".zfill(16))] == HALF


def test_halves_are_remembered_from_group_to_group() -> None:
    found, _ = rows([CLIENT], [SERVER], [BELOW])
    assert parents(found)[("cart", "c".zfill(16))] == HALF


def test_the_same_ids_in_another_trace_are_another_call() -> None:
    found, _ = rows([CLIENT, SERVER | {"traceId": "1"}])
    assert {entry["SpanId"] for entry in found} == {"a".zfill(16)}


def test_several_servers_of_one_message_stay_apart_and_a_span_goes_under_the_latest_begun() -> None:
    later = SERVER | {"timestamp": SERVER["timestamp"] + 100}
    below_later = BELOW | {"timestamp": SERVER["timestamp"] + 150}
    found, _ = rows([CLIENT, SERVER, later, BELOW, below_later | {"id": "e"}])
    assert len({entry["SpanId"] for entry in found}) == 5
    by_id = {entry["SpanId"]: entry for entry in found}
    above = by_id[by_id["e".zfill(16)]["ParentSpanId"]]
    assert above["Timestamp"] > by_id[HALF]["Timestamp"]
    assert by_id["c".zfill(16)]["ParentSpanId"] == HALF


@pytest.mark.parametrize("half", [CLIENT, SERVER])
def test_nothing_is_moved_under_a_half_that_is_left_out(half: dict[str, Any]) -> None:
    kept = CLIENT if half is SERVER else SERVER
    found, problems = rows([half | {"timestamp": None}, kept, BELOW])
    assert len(problems) == 1
    assert {entry["SpanId"] for entry in found} == {"a".zfill(16), "c".zfill(16)}
    assert parents(found)[("cart", "c".zfill(16))] == "a".zfill(16)


def test_calls_are_remembered_up_to_a_bound_and_the_oldest_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipkin, "REMEMBERED_CALLS", 4)
    others = [[CLIENT | {"id": f"{number:x}"}] for number in range(0x20, 0x28)]
    found, _ = rows([CLIENT], *others[:2], [SERVER])
    assert ("cart", HALF) in parents(found)
    found, _ = rows([CLIENT], *others, [SERVER])
    assert ("cart", "a".zfill(16)) in parents(found)
