"""Translates Jaeger's JSON to OTLP/JSON.

Reads what the query service and its user interface export ({"data": [trace, ...]}, a trace with `processes`, or a
span with its `process` inside) and the storage form of the Protobuf model (base64 ids, RFC 3339 times).

Rules: OpenTelemetry specification, "OpenTelemetry to Jaeger Transformation", read backwards, and Jaeger's own model
for what a parent is. `docs/input-formats.md` lists them.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from verdigris.telemetry.sources.otlp_json import (
    Json,
    Untranslatable,
    any_value,
    attribute,
    bounded_nano,
    conventions,
    hex_id,
    resource_spans,
    text,
    unix_nano,
)

Refuse = Callable[[str, str], None]

NO_SERVICE_NAME = "OTLPResourceNoServiceName"
"""What the Collector writes for a resource without service.name, because Jaeger's model requires one."""

_FIELD_OF_TYPE = {"STRING": "vStr", "BOOL": "vBool", "INT64": "vInt64", "FLOAT64": "vFloat64", "BINARY": "vBinary"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_DURATION = re.compile(r"(\d{1,18})(?:\.(\d{1,9})\d*)?(ns|us|µs|ms|s)\Z", re.ASCII)
_NANOS_OF_UNIT = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_NANO_DIGITS = 9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def translate(value: Json, refuse: Refuse) -> Iterator[Json]:
    """Translates an export, a trace or a span.

    Args:
        value: what `documents.kind_of` calls Jaeger.
        refuse: is told the place inside `value` (".spans[7]") and the reason for every span that is left out.
    Yields: one OTLP/JSON ResourceSpans for each span.
    """
    match value:
        case {"data": list(traces)}:
            for index, trace in enumerate(traces):
                if isinstance(trace, dict) and isinstance(trace.get("spans"), list):
                    yield from _trace(trace, f".data[{index}]", refuse)
                else:
                    refuse(f".data[{index}]", "no Jaeger trace: it has no list of spans")
        case {"spans": list()}:
            yield from _trace(value, "", refuse)
        case _:
            yield from _span(value, {}, "", refuse)


def _trace(trace: Json, place: str, refuse: Refuse) -> Iterator[Json]:
    processes: dict[str, Any] = dict(trace["processes"]) if isinstance(trace.get("processes"), dict) else {}
    mapped = trace.get("processMap")  # the storage form's list of pairs
    for entry in mapped if isinstance(mapped, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("processId"), str):
            processes[entry["processId"]] = entry.get("process")
    for index, span in enumerate(trace["spans"]):
        yield from _span(span, processes, f"{place}.spans[{index}]", refuse)


def _span(span: object, processes: Mapping[str, Any], place: str, refuse: Refuse) -> Iterator[Json]:
    try:
        if not isinstance(span, dict):
            msg = "not an object"
            raise Untranslatable(msg)  # noqa: TRY301 - one way out for all reasons
        translated = _translated(span, processes)
    except Untranslatable as error:
        refuse(place, str(error))
        return
    yield translated


def _translated(span: Json, processes: Mapping[str, Any]) -> Json:
    storage_form = "traceId" in span and "traceID" not in span
    trace_id = _id(span, "trace", 32, storage_form=storage_form)
    start = _time(span.get("startTime"), "startTime")
    duration = _duration(span.get("duration"))
    found = conventions(_tags(span.get("tags")), error_tag_carries_message=False)
    attributes = found.rest
    warnings = span.get("warnings")
    if isinstance(warnings, list) and warnings:
        attributes.append(attribute("jaeger.warnings", [item for item in warnings if isinstance(item, str)]))
    parent, links = _references(span, trace_id, storage_form=storage_form)
    return resource_spans(
        _resource(_process(span, processes)),
        found,
        {
            "traceId": trace_id,
            "spanId": _id(span, "span", 16, storage_form=storage_form),
            "parentSpanId": parent,
            "traceState": found.trace_state,
            "name": text(span.get("operationName")),
            "kind": found.kind,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(bounded_nano(start + duration, "startTime + duration")),
            "attributes": attributes,
            "events": list(_events(span.get("logs"))),
            "links": links,
            "status": {"code": found.status, "message": found.message},
        },
    )


def _process(span: Json, processes: Mapping[str, Any]) -> Json:
    embedded = span.get("process")
    if isinstance(embedded, dict):
        return embedded
    key = span.get("processID", span.get("processId"))
    process = processes.get(key) if isinstance(key, str) else None
    if not isinstance(process, dict):
        # Without its process a span has no service, and would be judged as another service's.
        msg = "its process is missing, so its service is unknown"
        raise Untranslatable(msg)
    return process


def _resource(process: Json) -> list[Json]:
    service = text(process.get("serviceName"))
    named = [attribute("service.name", service)] if service and service != NO_SERVICE_NAME else []
    # The field wins over a tag of the same name; two values for one key would leave the choice to chance.
    return named + [{"key": key, "value": value} for key, value in _tags(process.get("tags")) if not named or key != "service.name"]


def _id(holder: Json, name: str, digits: int, *, storage_form: bool) -> str:
    """The id `traceID` or `spanID` in hex; in the storage form `traceId`, `spanId` in base64."""
    if not storage_form:
        return hex_id(holder.get(f"{name}ID"), f"{name}ID", digits)
    return hex_id(_unbase64(holder.get(f"{name}Id"), f"{name}Id").hex(), f"{name}Id", digits)


def _unbase64(value: object, name: str) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    msg = f"{name} is missing or no base64 text"
    raise Untranslatable(msg)


def _references(span: Json, trace_id: str, *, storage_form: bool) -> tuple[str, list[Json]]:
    """The parent, and everything else as links.

    The parent is the first CHILD_OF reference into the same trace, else the first FOLLOWS_FROM reference into it
    (which stays a link too), else the field `parentSpanID` that old exports have: Jaeger's own rule.
    """
    references = span.get("references")
    read = []
    for reference in references if isinstance(references, list) else []:
        if not isinstance(reference, dict):
            msg = "a reference is no object"
            raise Untranslatable(msg)
        # The storage form leaves out a refType of CHILD_OF, the enumeration's zero.
        kind = "follows_from" if reference.get("refType") == "FOLLOWS_FROM" else "child_of"
        target_trace = _id(reference, "trace", 32, storage_form=storage_form)
        read.append((kind, target_trace, _id(reference, "span", 16, storage_form=storage_form)))
    same_trace = [(kind, target) for kind, target_trace, target in read if target_trace == trace_id]
    parent = next((target for kind, target in same_trace if kind == "child_of"), "")
    links = list(read)
    if parent:
        links.remove(("child_of", trace_id, parent))
    elif same_trace:
        parent = same_trace[0][1]
    elif span.get("parentSpanID"):
        parent = hex_id(span["parentSpanID"], "parentSpanID", 16)
    if not parent.strip("0"):
        parent = ""
    return parent, [
        {"traceId": target_trace, "spanId": target, "attributes": [attribute("opentracing.ref_type", kind)]}
        for kind, target_trace, target in links
    ]


def _events(logs: object) -> Iterator[Json]:
    for log in logs if isinstance(logs, list) else []:
        if not isinstance(log, dict):
            msg = "a log is no object"
            raise Untranslatable(msg)
        name, attributes = "", []
        for key, value in _tags(log.get("fields")):
            if key == "event" and not name and "stringValue" in value:
                name = value["stringValue"]
            else:
                attributes.append({"key": key, "value": value})
        time = _time(log.get("timestamp"), "a log's timestamp")
        yield {"timeUnixNano": str(time), "name": name, "attributes": attributes}


def _tags(tags: object) -> Iterator[tuple[str, Json]]:
    for tag in tags if isinstance(tags, list) else []:
        if not isinstance(tag, dict) or not isinstance(tag.get("key"), str):
            msg = "a tag has no key"
            raise Untranslatable(msg)
        yield tag["key"], _tag_value(tag)


def _tag_value(tag: Json) -> Json:  # noqa: PLR0911 - one return per type
    """The value in the type that the tag declares; a value that does not fit its type stays what JSON says it is."""
    declared = str(tag.get("type") or tag.get("vType") or "string").upper()
    value = tag.get("value", tag.get(_FIELD_OF_TYPE.get(declared, "vStr")))
    match declared, value:
        case "BOOL", "true" | "false":
            return any_value(value == "true")  # some clients write the text
        case "BOOL", None:
            return any_value(value=False)  # the storage form leaves out zero values
        case "INT64", str(digits) if re.fullmatch(r"[+-]?\d{1,19}", digits, re.ASCII):
            return any_value(int(digits))
        case "INT64" | "FLOAT64", None:
            return any_value(0)
        case "FLOAT64", int(whole) if not isinstance(whole, bool) and abs(whole) < 1 << 1000:
            return any_value(float(whole))
        case "BINARY", str(encoded):
            try:
                base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                return any_value(encoded)
            return {"bytesValue": encoded}
    return any_value(value)


def _time(value: object, name: str) -> int:
    """Microseconds since 1970, or an RFC 3339 time; as nanoseconds since 1970."""
    if not isinstance(value, str):
        return unix_nano(value, name)
    found = _TIME.match(value)
    if found:
        whole, fraction, zone = found.groups(default="")
        try:
            moment = datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone))
        except ValueError:
            moment = None
        if moment:
            # Whole seconds through integers: a float timestamp could not hold the nanoseconds.
            seconds = (moment - _EPOCH) // timedelta(seconds=1)
            return bounded_nano(seconds * 1_000_000_000 + int(fraction.ljust(_NANO_DIGITS, "0")), name)
    msg = f"{name} is no RFC 3339 time"
    raise Untranslatable(msg)


def _duration(value: object) -> int:
    """Microseconds, or text with a unit; as nanoseconds. Missing means 0: Jaeger leaves out zero values."""
    if value is None:
        return 0
    if not isinstance(value, str):
        return unix_nano(value, "duration")
    found = _DURATION.match(value)
    if not found:
        msg = "duration is no time span"
        raise Untranslatable(msg)
    whole, fraction, unit = found.groups(default="")
    nanos = _NANOS_OF_UNIT[unit]
    return int(whole) * nanos + int(fraction.ljust(_NANO_DIGITS, "0")) * nanos // 1_000_000_000
