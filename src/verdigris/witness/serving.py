"""Runs a witness in the event loop that is already there, on TCP, with TLS or without. Knows nothing of what is served.

Without TLS it may listen on any address: requests carry no secret, and what is answered is signed.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from verdigris.errors import VerdigrisError

CONNECTIONS_MAX = 128
"""Each takes a file descriptor; more are closed at once."""

IDLE_MAX_S = 10.0
"""A connection that brings no whole request in this time is closed, at the latest after twice as long."""

HEADER_BYTES_MAX = 16 * 1024
GRACE_S = 3
"""So long running requests may take to end when the witness stops."""


class CannotServe(VerdigrisError):
    """The witness's address or certificate cannot be used. Safe: nothing is served and nothing was cosigned; correct it, or choose
    another address.
    """


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate chain and key, PEM."""

    certificate: Path
    key: Path


@asynccontextmanager
async def serve_witness(app: ASGIApp, host: str, port: int, tls: TlsFiles | None = None) -> AsyncIterator[tuple[str, int]]:
    """Serve while inside; gives the address that was bound, and port 0 takes a free one. Installs no signal handlers.

    At the end running requests get `GRACE_S`. Raises: CannotServe.
    """
    context = None if tls is None else _tls_context(tls)
    with _listening(host, port) as listener:
        config = uvicorn.Config(
            app, http=_Protocol, ws="none", interface="asgi3", lifespan="off", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            timeout_graceful_shutdown=GRACE_S,
        )  # fmt: skip
        config.load()
        config.ssl = context
        server = _Server(config)
        task = asyncio.create_task(server.serve([listener]), name="verdigris-witness")
        up = asyncio.create_task(server.up.wait())
        try:
            await asyncio.wait({task, up}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield listener.getsockname()[:2]
        finally:
            up.cancel()
            server.should_exit = True
            await task


def _tls_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 and later with Python's own choice of ciphers."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(files.certificate, files.key)
    except OSError as error:  # ssl.SSLError is one
        msg = f"cannot use the certificate {files.certificate} with the key {files.key}: {error}"
        raise CannotServe(msg) from error
    return context


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # The protocol is named, for only then does asyncio turn Nagle's algorithm off: answers would wait for 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        msg = f"cannot listen on {host} port {port}: {error.strerror or error}"
        raise CannotServe(msg) from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(CONNECTIONS_MAX)
        except OSError as error:
            msg = f"cannot listen on {host} port {port}: {error.strerror or error}"
            raise CannotServe(msg) from error
        yield listener


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever owns the event loop, and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class _Protocol(H11Protocol):
    """A connection with two bounds that uvicorn does not have: how many there are, and how long one may bring nothing."""

    _idle: asyncio.TimerHandle | None = None
    _cycle_before: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self._idle = self.loop.call_later(IDLE_MAX_S, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def _close_if_idle(self) -> None:
        cycle = self.cycle
        if (cycle is None or cycle.response_complete) and cycle is self._cycle_before:
            self.transport.abort()
            return
        self._cycle_before = cycle
        self._idle = self.loop.call_later(IDLE_MAX_S, self._close_if_idle)
