"""Runs a witness in the event loop that is already there, on TCP, with TLS or without. Knows nothing of what is served.

Without TLS it may listen on any address: requests carry no secret, and what is answered is signed.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from verdigris.errors import VerdigrisError
from verdigris.http_serving import CONNECTIONS_MAX, served

HEADER_BYTES_MAX = 16 * 1024


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
        async with served(app, listener, "verdigris-witness", context, HEADER_BYTES_MAX):
            yield listener.getsockname()[:2]


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
