"""A small HTTP/1.1 server on loopback, a thread per connection. Knows nothing of tracing: the insurer uses it bare."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeAlias

LOOPBACK = "127.0.0.1"
_MAX_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as a service sees it; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def request_id(self) -> str:
        """The id that the load gave the request; every service passes it on."""
        return self.headers.get("x-request-id", "")

    @property
    def card(self) -> str:
        """The health card of the patient who asks."""
        return self.headers.get("x-health-card", "")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An answer; the body is sent as JSON."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)


Respond: TypeAlias = Callable[[Incoming], Outgoing]


class _Listener(ThreadingHTTPServer):
    """Joins its threads when it closes: a span that is still open when its provider shuts down would be lost."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128


class HttpServer(AbstractContextManager["HttpServer"]):
    """Listens on a port that the kernel chooses, from entering to leaving.

    Leaving waits for every connection to end, so the callers must have closed theirs before.
    """

    def __init__(self, respond: Respond) -> None:
        """Opens the port; `respond` is called in a thread per connection and must not raise."""
        self._listener = _Listener((LOOPBACK, 0), _handler(respond))
        self.port: int = self._listener.server_address[1]
        self._thread = Thread(target=self._listener.serve_forever, name=f"http-{self.port}", daemon=True)

    def __enter__(self) -> Self:
        """Starts to answer."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stops accepting, waits for the requests being answered, closes the port."""
        # Wakes the accepting thread now: it would look up only every half second, and there are many servers to stop.
        with suppress(OSError):
            self._listener.socket.shutdown(SHUT_RDWR)
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()


def _handler(respond: Respond) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave as one packet and at once: otherwise Nagle's algorithm and the delayed acknowledgement of
        # the other side add 40 ms now and then, which no service here has earned.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            """Stays silent: what happened is in the spans."""

        def _answer(self) -> None:
            length = min(int(self.headers.get("content-length", 0)), _MAX_BODY_BYTES)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = respond(Incoming(self.command, self.path, headers, self.rfile.read(length)))
            body = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
