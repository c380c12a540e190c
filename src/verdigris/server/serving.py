"""Runs the API in the event loop that is already there: on the Unix socket, and on TCP with TLS or from this machine only.

Each listener has a server of its own, so that strangers who use up the connections of the TCP one cannot keep the local
user from aborting a rollout. Knows nothing of what is served.
"""

import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from verdigris.http_serving import CONNECTIONS_MAX, Server, served
from verdigris.server.actors import Listener
from verdigris.server.unix_socket import CannotListen, listening

HEADER_BYTES_MAX = 32 * 1024
LISTENER = "verdigris.listener"
"""The key in an ASGI scope that says how a request came in."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate chain and key, PEM. With `client_ca` only callers with a certificate from it get as far as a token."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """Where the API is: the socket's path, and the TCP host and port really bound."""

    unix_socket: Path | None
    tcp: tuple[str, int] | None


@asynccontextmanager
async def serve_api(
    app: FastAPI, unix_socket: Path | None, tcp: tuple[str, int] | None = None, tls: TlsFiles | None = None
) -> AsyncIterator[Serving]:
    """Serve `app` while inside; port 0 takes a free one. Installs no signal handlers.

    At the end the app's `state.closing` is set, so that streams end, and requests get `GRACE_S` to finish.
    Raises: CannotListen: an address cannot be opened, another guard serves the socket, or TCP is asked for without TLS
    on an address that other machines can reach.
    """
    async with AsyncExitStack() as stack:
        bound: tuple[str, int] | None = None
        servers: list[Server] = []
        if unix_socket is not None:
            listener = stack.enter_context(listening(unix_socket))
            servers.append(await stack.enter_async_context(_served(app, listener, Listener.LOCAL, None)))
        if tcp is not None:
            context = None if tls is None else tls_context(tls)
            listener = stack.enter_context(_listening_tcp(*tcp, encrypted=context is not None))
            came_by = Listener.LOOPBACK if context is None else Listener.TLS
            servers.append(await stack.enter_async_context(_served(app, listener, came_by, context)))
            bound = listener.getsockname()[:2]
        try:
            yield Serving(unix_socket, bound)
        finally:
            app.state.closing.set()
            for server in servers:  # all at once; then each is waited for
                server.should_exit = True


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 and later with Python's own choice of ciphers. Raises: CannotListen."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(files.certificate, files.key)
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        msg = f"cannot use the certificate {files.certificate} with the key {files.key}: {error}"
        raise CannotListen(msg) from error
    return context


@contextmanager
def _listening_tcp(host: str, port: int, *, encrypted: bool) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        if not encrypted and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
            msg = f"{host} can be reached from other machines: give the API a certificate and a key, or listen on 127.0.0.1"
            raise CannotListen(msg)
        # The protocol is named, for only then does asyncio turn Nagle's algorithm off: answers would wait for 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        msg = f"cannot listen on {host} port {port}: {error.strerror or error}"
        raise CannotListen(msg) from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(CONNECTIONS_MAX)
        except OSError as error:
            msg = f"cannot listen on {host} port {port}: {error.strerror or error}"
            raise CannotListen(msg) from error
        yield listener


@asynccontextmanager
async def _served(app: FastAPI, listener: socket.socket, came_by: Listener, context: ssl.SSLContext | None) -> AsyncIterator[Server]:
    async def marked(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        values: MutableMapping[str, Any] = {**scope, LISTENER: came_by}
        await app(values, receive, send)  # type: ignore[arg-type]  # two libraries' names for the same callables

    name = f"verdigris-api-{came_by.value}"
    async with served(marked, listener, name, context, HEADER_BYTES_MAX, app.state.closing.set) as server:
        yield server
