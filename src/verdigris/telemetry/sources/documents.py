"""Tells what a parsed JSON value is: which vendor's trace data, or something that we name and do not read."""

import json
import re
from enum import Enum
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z][\w.-]{0,31}\Z", re.ASCII)
_KEYS_NAMED = 5


class Kind(Enum):
    """What a JSON value holds."""

    OTLP = "OTLP"
    JAEGER = "Jaeger"
    ZIPKIN_SPAN = "Zipkin"
    LIST = "a list"
    EMPTY = "nothing"


class NotTraceData(ValueError):
    """The value is no trace data that we can read; the message names what it is."""


def parse(content: bytes) -> Any:
    """Parses JSON.

    Raises: NotTraceData: it is no valid JSON (or nested beyond reason); says where, quotes nothing.
    """
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        msg = f"not valid JSON at character {error.pos}: {error.msg}"
        raise NotTraceData(msg) from error
    except UnicodeDecodeError as error:
        msg = f"not valid UTF-8 at byte {error.start}"
        raise NotTraceData(msg) from error
    except (ValueError, RecursionError) as error:
        msg = "not readable JSON: a number too long or brackets nested too deep"
        raise NotTraceData(msg) from error


def kind_of(value: object) -> Kind:  # noqa: C901 - one case per shape
    """Classifies a JSON value by its shape.

    Raises: NotTraceData: it is nothing we read; the message says what it is and, when we know, what to do.
    """
    match value:
        case {"resourceSpans": _}:
            return Kind.OTLP
        case {"data": list()} | {"spans": list()}:
            return Kind.JAEGER
        case {"operationName": _, "traceID": _} | {"operationName": _, "traceId": _}:
            return Kind.JAEGER
        case {"traceId": _, "id": _, "binaryAnnotations": _}:
            msg = "Zipkin v1 JSON: ask Zipkin for /api/v2 instead"
        case {"traceId": _, "id": _}:
            return Kind.ZIPKIN_SPAN
        case {"resourceLogs": _} | {"resourceMetrics": _} | {"resourceProfiles": _}:
            msg = "OTLP logs, metrics or profiles: they hold no spans"
        case {"batches": _}:
            msg = "a Grafana Tempo trace: ask Tempo for OTLP or Jaeger JSON instead"
        case list():
            return Kind.LIST if value else Kind.EMPTY
        case dict():
            if not value:
                return Kind.EMPTY
            named = [key for key in value if _PLAIN_KEY.match(key)][:_KEYS_NAMED]
            msg = f"an object of no known format (its keys: {', '.join(named) or 'none that can be shown'})"
        case _:
            msg = f"a bare JSON value ({type(value).__name__})"
    raise NotTraceData(msg)
