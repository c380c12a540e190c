"""Kept-alive HTTP connections to one server, shared by threads. Knows nothing of tracing: the load uses it bare."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Any

from verdigris.demo.clinic.http_server import LOOPBACK

TIMEOUT_S = 10.0
"""Far above anything that happens here: it bounds how long a broken run can hang."""


class Unreachable(Exception):
    """No whole answer came."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the other side answered."""

    status: int
    body: dict[str, Any]


class Connections(AbstractContextManager["Connections"]):
    """A pool without an upper bound: there are never more connections than requests at the same time."""

    def __init__(self, port: int) -> None:
        """Connects to nothing yet."""
        self.port = port
        self._idle: list[HTTPConnection] = []

    def exchange(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        """Sends a request without a body and waits for the whole answer.

        Raises: Unreachable: refused, reset, timed out, or the answer is no JSON object.
        """
        try:
            connection = self._idle.pop()  # one step under the GIL, so two threads never get the same one
        except IndexError:
            connection = HTTPConnection(LOOPBACK, self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            reply = Reply(response.status, json.loads(response.read()))
        except (OSError, HTTPException, ValueError) as error:
            connection.close()
            msg = f"{method} to port {self.port}: {error or type(error).__name__}"
            raise Unreachable(msg) from error
        self._idle.append(connection)
        return reply

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Closes all connections, which lets the server on the other side finish."""
        while self._idle:
            self._idle.pop().close()
