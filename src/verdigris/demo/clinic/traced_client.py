"""Calls to another service, with a client span around each and the trace context in the headers.

Attributes follow OpenTelemetry's semantic conventions for HTTP client spans. The span's name is the bare method, as
instrumentations name it that know no URL template.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from types import TracebackType

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from verdigris.demo.clinic.chance import Chance
from verdigris.demo.clinic.http_client import Connections, Reply, Unreachable
from verdigris.demo.clinic.http_server import LOOPBACK, Incoming
from verdigris.demo.clinic.telemetry import PROPAGATOR
from verdigris.demo.clinic.traced_server import NOT_FOUND, UNAVAILABLE, Refusal

CLIENT_ERROR = 400


@dataclass(frozen=True, slots=True)
class Target:
    """A service as its callers know it: a name that a mesh would resolve, and the ports of its instances."""

    address: str
    ports: Sequence[int]
    peer_service: str = ""
    """Only for what is outside: an own service says its name in its own spans."""
    base_path: str = ""


class TracedClient(AbstractContextManager["TracedClient"]):
    """Calls one target for one instance of a service, spread over the target's instances."""

    def __init__(self, tracer: Tracer, target: Target, chance: Chance) -> None:
        """Connects to nothing yet."""
        self._tracer = tracer
        self._target = target
        self._chance = chance
        self._connections = [Connections(port) for port in target.ports]

    def call(self, method: str, path: str, on_behalf_of: Incoming) -> Reply:
        """Asks one of the target's instances.

        Raises: Refusal: 404 when it knows no such thing; 503 when it did not answer, or with any other error.
        """
        target = self._target
        accidents = self._chance.at(f"to {target.address}", on_behalf_of.request_id)
        connections = accidents.choice(self._connections)
        full_path = target.base_path + path
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.full": f"http://{target.address}{full_path}",
            "server.address": target.address,
            "server.port": 80,
            "network.peer.address": LOOPBACK,
            "network.peer.port": connections.port,
            "network.protocol.version": "1.1",
        }
        if target.peer_service:
            attributes["peer.service"] = target.peer_service
        with self._tracer.start_as_current_span(method, kind=SpanKind.CLIENT, attributes=attributes) as span:
            headers = {
                "Host": target.address,
                "X-Request-Id": on_behalf_of.request_id,
                "X-Health-Card": on_behalf_of.card,
            }
            PROPAGATOR.inject(headers)
            reply: Reply | None = None
            try:
                reply = connections.exchange(method, full_path, headers)
            except Unreachable as error:
                span.record_exception(error)
                _fail(span, type(error).__name__)
            else:
                span.set_attribute("http.response.status_code", reply.status)
                if reply.status >= CLIENT_ERROR:  # a client span's status is an error from 400 on
                    _fail(span, str(reply.status))
        # Refused only now: the failed call is this span, the exception belongs to the server span above it.
        if reply is None or (reply.status >= CLIENT_ERROR and reply.status != NOT_FOUND):
            raise Refusal(UNAVAILABLE, f"{target.address} is unavailable")
        if reply.status == NOT_FOUND:
            raise Refusal(NOT_FOUND, str(reply.body.get("error", "not found")))
        return reply

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Closes its connections."""
        with ExitStack() as open_connections:
            for connections in self._connections:
                open_connections.push(connections)


def _fail(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)
