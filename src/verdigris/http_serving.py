"""Serves HTTP on a socket that listens already, in the event loop that is there, with two bounds that uvicorn does not have. Knows nothing
of what is served, nor by whom.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MAX = 128
"""Per listener. Each takes a file descriptor; more are closed at once."""

IDLE_MAX_S = 10.0
"""A connection that brings no whole request in this time is closed, at the latest after twice as long."""

GRACE_S = 3
"""So long running requests may take to end at the end."""


class Server(uvicorn.Server):
    """A server that leaves signals to whoever owns the event loop, and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Not up yet."""
        super().__init__(config)
        self.up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As in uvicorn."""
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def served(
    app: Any,
    listener: socket.socket,
    name: str,
    context: ssl.SSLContext | None,
    header_bytes_max: int,
    at_end: Callable[[], object] | None = None,
) -> AsyncIterator[Server]:
    """Serve an ASGI app while inside. `name`: of the task; `at_end` is called before running requests are waited for."""
    config = uvicorn.Config(
        app, http=_Protocol, ws="none", interface="asgi3", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, h11_max_incomplete_event_size=header_bytes_max,
        timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    config.load()
    config.ssl = context
    server = Server(config)
    task = asyncio.create_task(server.serve([listener]), name=name)
    up = asyncio.create_task(server.up.wait())
    try:
        await asyncio.wait({task, up}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield server
    finally:
        up.cancel()
        if at_end is not None:
            at_end()
        server.should_exit = True
        await task


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
