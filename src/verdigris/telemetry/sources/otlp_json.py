"""Builds OTLP/JSON from what other formats say, so that one decoder makes all columns, bounds and checks.

Holds what Jaeger and Zipkin share: attribute values, ids, and the well-known tags under which OpenTelemetry exporters
hide what these formats have no field for (OpenTelemetry specification, "Transformation to non-OTLP Formats").
Everything here raises `Untranslatable` for a span that cannot be expressed, and nothing else.
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

NANOS_PER_MICRO = 1_000
_HEX = re.compile(r"[0-9a-fA-F]+\Z", re.ASCII)
_MAX_UNIX_NANO = (1 << 63) - 1
"""Arrow's and ClickHouse's nanosecond timestamps are signed: they end in the year 2262."""

_MAX_INT = (1 << 63) - 1

KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS = {"unset": 0, "ok": 1, "error": 2, "0": 0, "1": 1, "2": 2}
STATUS_ERROR = 2


class Untranslatable(ValueError):
    """This span cannot be expressed in OTLP; the message says why, without values from it."""


def any_value(value: object) -> Json:  # noqa: PLR0911 - one return per type
    """An OTLP AnyValue for a JSON value. Objects become their JSON text: every column value is text in the end."""
    match value:
        case bool():
            return {"boolValue": value}
        case int() if -_MAX_INT - 1 <= value <= _MAX_INT:
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
        case str():
            return {"stringValue": value}
        case list() if all(isinstance(item, str | bool | int | float) for item in value):
            return {"arrayValue": {"values": [any_value(item) for item in value]}}
        case None:
            return {"stringValue": ""}
        case _:
            try:
                return {"stringValue": json.dumps(value, separators=(",", ":"))}
            except (RecursionError, ValueError) as error:
                msg = "an attribute value is nested too deep or holds a number too long"
                raise Untranslatable(msg) from error


def _not_finite(value: float) -> str:
    """The names that the protobuf JSON mapping has for what JSON cannot write as a number."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def attribute(key: str, value: object) -> Json:
    """An OTLP KeyValue."""
    return {"key": key, "value": any_value(value)}


def hex_id(value: object, name: str, digits: int) -> str:
    """An id as lower hex, padded on the left with zeros to its full length (Jaeger and Zipkin drop them).

    Raises: Untranslatable: it is no hexadecimal text, or too long.
    """
    if not isinstance(value, str) or not _HEX.match(value):
        msg = f"{name} is missing or no hexadecimal text"
        raise Untranslatable(msg)
    if len(value) > digits and value[: len(value) - digits].strip("0"):
        msg = f"{name} is longer than {digits} digits"
        raise Untranslatable(msg)
    return value[-digits:].lower().zfill(digits)


def unix_nano(micros: object, name: str) -> int:
    """A time in microseconds since 1970 as nanoseconds.

    Raises: Untranslatable: missing, no whole number, or outside 1970 to 2262.
    """
    if isinstance(micros, float) and micros.is_integer():
        micros = int(micros)
    if not isinstance(micros, int) or isinstance(micros, bool):
        msg = f"{name} is missing or no whole number of microseconds"
        raise Untranslatable(msg)
    return bounded_nano(micros * NANOS_PER_MICRO, name)


def bounded_nano(nanos: int, name: str) -> int:
    """The same number of nanoseconds, if a timestamp can hold it.

    Raises: Untranslatable: it cannot.
    """
    if not 0 <= nanos <= _MAX_UNIX_NANO:
        msg = f"{name} lies outside 1970 to 2262"
        raise Untranslatable(msg)
    return nanos


def text(value: object) -> str:
    """The value if it is text, else empty."""
    return value if isinstance(value, str) else ""


@dataclass(slots=True)
class Conventions:
    """What the well-known tags of one span say; `rest` keeps all other tags as attributes, in their order."""

    kind: int = 0
    status: int = 0
    message: str = ""
    scope_name: str = ""
    scope_version: str = ""
    trace_state: str = ""
    rest: list[Json] = field(default_factory=list)


def conventions(  # noqa: C901 - one case per tag
    tags: Iterable[tuple[str, Json]], *, error_tag_carries_message: bool
) -> Conventions:
    """Sorts a span's tags into what OTLP has a field for, and attributes.

    `otel.status_code` decides the status; without it, `error` does: "true" or any other text but "false" and the empty
    text means an error. A tag that is understood is moved, not copied; one that is not (an unknown kind) stays.

    Args:
        tags: key and AnyValue of each tag.
        error_tag_carries_message: Zipkin's rule: an `error` tag means an error whatever its value, even empty, except
            "false", and its value is the message.
    """
    found = Conventions()
    status: int | None = None
    failed = False
    for key, value in tags:
        plain = str(next(iter(value.values()), ""))
        word = plain.lower()
        match key:
            case "span.kind" if word in KINDS:
                found.kind = KINDS[word]
            case "otel.status_code" if word in _STATUS:
                status = _STATUS[word]
            case "otel.status_description":
                found.message = plain
            case "error" if error_tag_carries_message and word != "false":
                failed = True
                found.message = found.message or ("" if word == "true" else plain)
            case "error" if word == "true":
                failed = True
            case "error" if not error_tag_carries_message and word not in ("false", ""):
                failed = True
                found.rest.append({"key": key, "value": value})
            case "otel.scope.name" | "otel.library.name":
                found.scope_name = found.scope_name or plain
            case "otel.scope.version" | "otel.library.version":
                found.scope_version = found.scope_version or plain
            case "w3c.tracestate":
                found.trace_state = plain
            case _:
                found.rest.append({"key": key, "value": value})
    found.status = status if status is not None else STATUS_ERROR if failed else 0
    return found


def resource_spans(resource: list[Json], sought: Conventions, span: Json) -> Json:
    """One ResourceSpans with one span in it; the decoder makes a row of each span, so grouping would change nothing."""
    scope = {"name": sought.scope_name, "version": sought.scope_version}
    return {"resource": {"attributes": resource}, "scopeSpans": [{"scope": scope, "spans": [span]}]}
