"""Translates Zipkin v2 JSON spans to OTLP/JSON.

Rules: OpenTelemetry specification, "OpenTelemetry to Zipkin Transformation", read backwards, and Zipkin's API
definition (zipkin2-api.yaml) for `shared`. `docs/input-formats.md` lists them.

Shared spans. In Zipkin's B3 convention the server may report its half of a call under the client's span id, marked
`shared`. One id for two spans has no place in OTLP, so the server half gets an id of its own, derived from the shared
one, with the client half as its parent; spans below it that ran in the server's service move under it. One message may
reach several servers: then there are several halves, told apart by their start, and a span goes under the latest that
had begun. That takes
seeing spans together: it is decided within a group of spans (the caller makes groups as large as memory allows), with
a bounded memory of what earlier groups held.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

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

REMEMBERED_CALLS = 100_000
"""Calls remembered across groups, about 30 MB at most. Beyond it, the oldest half is forgotten."""

_KINDS = {"CLIENT": 3, "SERVER": 2, "PRODUCER": 4, "CONSUMER": 5}
_INTERNAL = 1
_EVENT_WITH_ATTRIBUTES = re.compile(r'"([^"]*)": (\{.*\})\Z', re.DOTALL)


@dataclass(frozen=True, slots=True)
class PlacedSpan:
    """A Zipkin span and its place, as in `Problem.where`."""

    where: str
    span: Json


@dataclass(frozen=True, slots=True)
class Half:
    """What tells one side of a call from the other: recorded ids in hex, service, and start in nanoseconds."""

    trace_id: str
    span_id: str
    service: str
    start: int


def server_half_id(half: Half) -> str:
    """The span id of the server's half of a shared span: the same in every reading, and never zero."""
    text_of_it = f"verdigris/zipkin-shared/{half.trace_id}/{half.span_id}/{half.service}/{half.start}"
    digest = hashlib.sha256(text_of_it.encode(errors="replace")).digest()
    return format(int.from_bytes(digest[:8], "big") or 1, "016x")


@dataclass(slots=True)
class _Call:
    """The services on both sides of one span id, as far as they were seen; servers with the starts of their halves."""

    client: str | None = None
    servers: dict[str, set[int]] = field(default_factory=dict)


class Calls:
    """What is known of the span ids that two services may share. Key: trace id and span id in full-length hex."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], _Call] = {}

    def learn(self, spans: Sequence[PlacedSpan]) -> None:
        """Takes note of the halves in a group, before any of it is translated."""
        if len(self._calls) > REMEMBERED_CALLS:
            for key in list(self._calls)[: REMEMBERED_CALLS // 2]:
                del self._calls[key]
        for placed in spans:
            span = placed.span
            shared = span.get("shared") is True
            if not shared and span.get("kind") not in ("CLIENT", "PRODUCER"):
                continue
            try:
                key = hex_id(span.get("traceId"), "traceId", 32), hex_id(span.get("id"), "id", 16)
                start = unix_nano(span.get("timestamp"), "timestamp")
            except Untranslatable:
                continue  # it will be left out, so nothing may point to it
            call = self._calls.setdefault(key, _Call())
            if shared:
                call.servers.setdefault(_service(span), set()).add(start)
            else:
                call.client = _service(span)

    def place(self, half: Half, parent: str, *, shared: bool) -> tuple[str, str]:
        """The ids under which a span is kept: its own and its parent's.

        A server half without its client half keeps both ids: a new parent would point to nothing.
        """
        if shared and self._splits((half.trace_id, half.span_id)):
            return server_half_id(half), half.span_id
        call = self._calls.get((half.trace_id, parent))
        if not parent or call is None or not self._splits((half.trace_id, parent)):
            return half.span_id, parent
        server = half.service
        if server not in call.servers:
            if server == call.client or len(call.servers) > 1:
                return half.span_id, parent
            # Neither side's service: whoever it is was called while the server worked, not by the waiting client.
            server = next(iter(call.servers))
        starts = sorted(call.servers[server])
        start = max((start for start in starts if start <= half.start), default=starts[0])
        return half.span_id, server_half_id(Half(half.trace_id, parent, server, start))

    def _splits(self, key: tuple[str, str]) -> bool:
        call = self._calls.get(key)
        return call is not None and call.client is not None and bool(call.servers)


def translate(spans: Sequence[PlacedSpan], calls: Calls, refuse: Callable[[str, str], None]) -> Iterator[Json]:
    """Translates a group of spans.

    Args:
        spans: in the order of the recording.
        calls: carried from group to group of one source.
        refuse: is told the place and the reason for every span that is left out.
    Yields: one OTLP/JSON ResourceSpans for each span.
    """
    calls.learn(spans)
    for placed in spans:
        try:
            translated = _translated(placed.span, calls)
        except Untranslatable as error:
            refuse(placed.where, str(error))
            continue
        yield translated


def _service(span: Json) -> str:
    local = span.get("localEndpoint")
    return text(local.get("serviceName")) if isinstance(local, dict) else ""


def _translated(span: Json, calls: Calls) -> Json:
    trace_id = hex_id(span.get("traceId"), "traceId", 32)
    recorded_id = hex_id(span.get("id"), "id", 16)
    recorded_parent = hex_id(span["parentId"], "parentId", 16) if span.get("parentId") else ""
    start = unix_nano(span.get("timestamp"), "timestamp")
    duration = unix_nano(span.get("duration") or 0, "duration")
    service = _service(span)
    half = Half(trace_id, recorded_id, service, start)
    span_id, parent = calls.place(half, recorded_parent, shared=span.get("shared") is True)
    tags = span.get("tags")
    found = conventions(
        ((key, any_value(value)) for key, value in (tags if isinstance(tags, dict) else {}).items()),
        error_tag_carries_message=True,
    )
    present = {entry["key"] for entry in found.rest}
    attributes = found.rest + [
        entry
        for entry in _endpoints(span)
        if entry["key"] not in present  # a tag is what the service itself said
    ]
    if span_id != recorded_id:
        attributes.append(attribute("zipkin.shared_id", recorded_id))
    return resource_spans(
        [attribute("service.name", service)] if service else [],
        found,
        {
            "traceId": trace_id,
            "spanId": span_id,
            "parentSpanId": parent if parent.strip("0") else "",
            "traceState": found.trace_state,
            "name": text(span.get("name")),
            # Without a kind a span is local work: the specification maps INTERNAL to the absent kind.
            "kind": _KINDS.get(text(span.get("kind"))) or found.kind or _INTERNAL,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(bounded_nano(start + duration, "timestamp + duration")),
            "attributes": attributes,
            "events": list(_events(span.get("annotations"))),
            "status": {"code": found.status, "message": found.message},
        },
    )


def _endpoints(span: Json) -> Iterator[Json]:
    for field_name, side in (("localEndpoint", "local"), ("remoteEndpoint", "peer")):
        endpoint = span.get(field_name)
        if not isinstance(endpoint, dict):
            continue
        if side == "peer" and text(endpoint.get("serviceName")):
            yield attribute("peer.service", endpoint["serviceName"])
        address = text(endpoint.get("ipv4")) or text(endpoint.get("ipv6"))
        if address:
            yield attribute(f"network.{side}.address", address)
        port = endpoint.get("port")
        if isinstance(port, int) and port:
            yield attribute(f"network.{side}.port", port)


def _events(annotations: object) -> Iterator[Json]:
    for annotation in annotations if isinstance(annotations, list) else []:
        if not isinstance(annotation, dict):
            msg = "an annotation is no object"
            raise Untranslatable(msg)
        time = unix_nano(annotation.get("timestamp"), "an annotation's timestamp")
        name, attributes = _event(text(annotation.get("value")))
        yield {"timeUnixNano": str(time), "name": name, "attributes": attributes}


def _event(value: str) -> tuple[str, list[Json]]:
    """Splits `"name": {"key": "value"}`, the form in which the specification writes an event with attributes."""
    if found := _EVENT_WITH_ATTRIBUTES.match(value):
        try:
            attributes = json.loads(found[2])
        except (ValueError, RecursionError):
            attributes = {}
        if attributes:
            return found[1], [attribute(key, entry) for key, entry in attributes.items()]
    return value, []
