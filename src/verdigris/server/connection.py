"""How a client reaches a guard: over the socket in a state folder, or over TLS; and what it means when it cannot.

Proxies and credentials from the environment are not used: where a token goes must be said on the command line.
"""

import errno
import ipaddress
import os
import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from verdigris.rollout.status import RolloutError
from verdigris.server.unix_socket import SOCKET_NAME, reachable

STATE_VARIABLE = "VERDIGRIS_STATE"
STATE_DEFAULT = Path(".verdigris")

CONNECT_S = 5.0
ANSWER_S = 30.0
"""So long an answer may take; a start reads the plan and writes the record first."""


class GuardUnreachable(RolloutError):
    """The guard cannot be reached. Safe: nothing was asked of it, so nothing changed; a running rollout goes on."""


class NoGuard(GuardUnreachable):
    """No guard runs on this state folder. Safe: nothing changed; without a guard every lease ends, and traffic is on the baseline."""


class InvalidServer(RolloutError):
    """The server's address, token or certificates cannot be used. Safe: nothing was sent."""


def state_folder(given: Path | None = None) -> Path:
    """The state folder: what is given, else $VERDIGRIS_STATE, else ./.verdigris."""
    return given or Path(os.environ.get(STATE_VARIABLE) or STATE_DEFAULT)


@dataclass(frozen=True, slots=True)
class Connection:
    """An HTTP client of one guard, and how to call that guard in a message. `close` it."""

    http: httpx.AsyncClient
    place: str
    local: Path | None
    """The socket, where that is how it is reached."""
    resources: ExitStack

    async def close(self) -> None:
        """Let go."""
        await self.http.aclose()
        self.resources.close()


def connect(server: str | None, folder: Path | None, token: str | None, ca: Path | None) -> Connection:
    """A connection to `server` (https://host:port), or to the guard of `folder`. Nothing is sent yet.

    Raises: InvalidServer, NoGuard.
    """
    # Nothing compressed: what is bounded are the bytes that arrive.
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
    # The server closes an idle connection after 5 s: one that is as old must not be used again.
    limits = httpx.Limits(max_connections=8, keepalive_expiry=2.0)
    resources = ExitStack()
    if server is None:
        path = state_folder(folder).absolute() / SOCKET_NAME
        try:
            name = resources.enter_context(reachable(path))
        except OSError as error:
            raise no_guard(path) from error
        transport = httpx.AsyncHTTPTransport(uds=name, limits=limits)
        http = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers, timeout=timeout, trust_env=False)
        return Connection(http, str(path), path, resources)
    base, encrypted = _base(server)
    if token is None:
        msg = f"{server} needs a token: give --token-file"
        raise InvalidServer(msg)
    headers["authorization"] = f"Bearer {_token(token)}"
    verify = _roots(ca) if encrypted else False
    http = httpx.AsyncClient(base_url=base, headers=headers, timeout=timeout, limits=limits, verify=verify, trust_env=False)
    return Connection(http, base, None, resources)


def no_guard(path: Path) -> NoGuard:
    """Nobody listens at the socket."""
    return NoGuard(f"no guard answers at {path}. Start one: verdigris serve --state {path.parent}")


def not_connected(connection: Connection, error: httpx.TransportError) -> GuardUnreachable:
    """Why a connection was not made, from the error's causes."""
    causes = _causes(error)
    if connection.local is not None:
        if any(isinstance(cause, PermissionError) for cause in causes):
            return GuardUnreachable(f"{connection.local} belongs to another user; ask as that user, or use --server with a token")
        return no_guard(connection.local)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = f"its certificate is not to be trusted ({cause.verify_message}); give the right authority with --ca"
            return GuardUnreachable(f"will not talk to {connection.place}: {why}")
        if isinstance(cause, ssl.SSLError):
            return GuardUnreachable(f"cannot agree on TLS with {connection.place}: {cause.reason or cause}")
        if isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED:
            return GuardUnreachable(f"nothing listens at {connection.place}; is the guard running, and with an API address?")
    return GuardUnreachable(f"cannot reach {connection.place}: {str(error) or type(error).__name__}")


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and len(found) < 10:  # noqa: PLR2004  # a chain of causes can be a ring
        found.append(following)
        if isinstance(following, ExceptionGroup) and following.exceptions:
            following = following.exceptions[0]
        else:
            following = following.__cause__ or following.__context__
    return found


def _base(server: str) -> tuple[str, bool]:
    try:
        url = httpx.URL(server)
    except httpx.InvalidURL as error:
        msg = f"cannot read {server!r} as an address: {error}"
        raise InvalidServer(msg) from error
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.path not in {"", "/"}:
        msg = f"cannot use {server!r} as an address; write https://host:port"
        raise InvalidServer(msg)
    if url.scheme == "http" and not _is_loopback(url.host):
        msg = f"{server} would send the token unencrypted; use https://"
        raise InvalidServer(msg)
    return str(url).rstrip("/"), url.scheme == "https"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(token: str) -> str:
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        msg = "the token must be one line of visible ASCII characters"
        raise InvalidServer(msg)
    return token


def _roots(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        msg = f"cannot read certificates from {ca}: {error.strerror or error}"
        raise InvalidServer(msg) from error
