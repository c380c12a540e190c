"""A service's routes, with a server span around each request, as an instrumented web framework makes it.

Attributes follow OpenTelemetry's semantic conventions for HTTP server spans.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from opentelemetry.trace import SpanKind, StatusCode, Tracer

from verdigris.demo.clinic.http_server import Incoming, Outgoing
from verdigris.demo.clinic.telemetry import PROPAGATOR

NOT_FOUND = 404
UNAVAILABLE = 503
SERVER_ERROR = 500

Act: TypeAlias = Callable[[Incoming, str], Outgoing]
"""Gets the request and what stands for the template's `{…}`, empty without one."""


class Refusal(Exception):
    """A request that cannot be served, with the status to say so. Not always an error: a 404 is an answer."""

    def __init__(self, status: int, reason: str) -> None:
        """`reason` is sent to the caller."""
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path template with at most one `{…}`."""

    method: str
    template: str
    act: Act

    def match(self, method: str, path: str) -> str | None:
        """What stands for `{…}`; None when the request is for another route."""
        pattern = re.sub(r"\{[^}]*\}", "([^/]+)", self.template)
        found = re.fullmatch(pattern, path) if method == self.method else None
        return None if found is None else "".join(found.groups())


class TracedServer:
    """Answers for one instance. An `HttpServer` calls it."""

    def __init__(self, tracer: Tracer, service: str, routes: Sequence[Route]) -> None:
        """`service` is the name under which callers know it."""
        self._tracer = tracer
        self._service = service
        self._routes = routes

    def __call__(self, incoming: Incoming) -> Outgoing:
        """Routes the request. Never raises: what goes wrong is an answer and, above 499, a span with an exception."""
        route, argument = self._find(incoming)
        attributes = {
            "http.request.method": incoming.method,
            "url.scheme": "http",
            "url.path": incoming.path,
            "server.address": self._service,
            "network.protocol.version": "1.1",
        }
        if route is not None:
            attributes["http.route"] = route.template
        with self._tracer.start_as_current_span(
            incoming.method if route is None else f"{incoming.method} {route.template}",
            context=PROPAGATOR.extract(incoming.headers),
            kind=SpanKind.SERVER,
            attributes=attributes,
        ) as span:
            try:
                answer = Outgoing(NOT_FOUND) if route is None else route.act(incoming, argument)
            except Refusal as refusal:
                answer = Outgoing(refusal.status, {"error": str(refusal)})
                if refusal.status >= SERVER_ERROR:
                    span.record_exception(refusal)
            except Exception as error:  # noqa: BLE001 - as a web framework does: the caller gets a 500, the span says why
                answer = Outgoing(SERVER_ERROR, {"error": "internal error"})
                span.record_exception(error)
            span.set_attribute("http.response.status_code", answer.status)
            if answer.status >= SERVER_ERROR:  # the conventions leave a server span's status unset below 500
                span.set_attribute("error.type", str(answer.status))
                span.set_status(StatusCode.ERROR)
            return answer

    def _find(self, incoming: Incoming) -> tuple[Route | None, str]:
        for route in self._routes:
            argument = route.match(incoming.method, incoming.path)
            if argument is not None:
                return route, argument
        return None, ""
