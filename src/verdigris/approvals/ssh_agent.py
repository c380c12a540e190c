"""An ssh-agent: which keys it holds, and a signature by one of them. The key never leaves it.

Everything that comes from the agent has a bound, and every answer a deadline that covers all of it, however slowly it comes.

Source: draft-ietf-sshm-ssh-agent (earlier draft-miller-ssh-agent), sections 3 to 5.
"""

import contextlib
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from verdigris.approvals.errors import ApprovalError
from verdigris.approvals.ssh_key import InvalidPublicKey, KeyType, PublicKey
from verdigris.approvals.ssh_signature import RAW_BYTES_MAX
from verdigris.approvals.ssh_wire import UINT32_BYTES, Reader, string, uint32

LIST_LIMIT_S = 5.0
SIGN_LIMIT_S = 60.0
"""Somebody may have to confirm, to type a PIN, or to touch the key."""
MESSAGE_BYTES_MAX = 256 * 1024
"""As OpenSSH has it."""
KEYS_MAX = 2_048
COMMENT_CHARS_MAX = 200
_FAILURE, _REQUEST_IDENTITIES, _IDENTITIES_ANSWER, _SIGN_REQUEST, _SIGN_RESPONSE = 5, 11, 12, 13, 14
_RSA_SHA2_512 = 0x04


class CannotSign(ApprovalError):
    """A key cannot be used, or whoever holds it did not sign. Safe: nothing was signed and nothing was sent."""


class Agent:
    """The agent at a Unix socket. One connection for each request."""

    def __init__(self, path: Path, *, list_limit_s: float = LIST_LIMIT_S, sign_limit_s: float = SIGN_LIMIT_S) -> None:
        """`path`: what SSH_AUTH_SOCK says."""
        self._path, self._list_limit_s, self._sign_limit_s = path, list_limit_s, sign_limit_s

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Agent":
        """The agent of this session. Raises: CannotSign."""
        path = environ.get("SSH_AUTH_SOCK")
        if not path:
            msg = "there is no ssh-agent (SSH_AUTH_SOCK is not set): start one and add your key with ssh-add, or give the key's file"
            raise CannotSign(msg)
        return cls(Path(path))

    def public_keys(self) -> tuple[PublicKey, ...]:
        """The keys that it holds and that are accepted in approvals; certificates and others are left out. Raises: CannotSign."""
        reader = self._answer(bytes([_REQUEST_IDENTITIES]), _IDENTITIES_ANSWER, self._list_limit_s, "tell its keys; unlock it: ssh-add -X")
        found = []
        try:
            for _ in range(min(reader.uint32(), KEYS_MAX)):  # where there are more, `end` says so
                blob, comment = reader.string(MESSAGE_BYTES_MAX), reader.string(MESSAGE_BYTES_MAX)
                with contextlib.suppress(InvalidPublicKey):
                    found.append(PublicKey(blob, _visible(comment)))
            reader.end()
        except ValueError as error:
            raise self._nonsense(error) from error
        return tuple(found)

    def sign(self, key: PublicKey, data: bytes) -> bytes:
        """A key's signature over these bytes in its algorithm's own form; RSA with SHA-512. Not verified. Raises: CannotSign."""
        flags = _RSA_SHA2_512 if key.type is KeyType.RSA else 0
        request = bytes([_SIGN_REQUEST]) + string(key.blob) + string(data) + uint32(flags)
        wanted = f"sign with {key.fingerprint}; add the key again (ssh-add), confirm when it asks, touch it if it is in hardware"
        reader = self._answer(request, _SIGN_RESPONSE, self._sign_limit_s, wanted)
        try:
            raw = reader.string(RAW_BYTES_MAX)
            reader.end()
        except ValueError as error:
            raise self._nonsense(error) from error
        return raw

    def _answer(self, request: bytes, expected: int, limit_s: float, wanted: str) -> Reader:
        """What follows the type of the answer. Raises: CannotSign."""
        try:
            answer = self._exchanged(request, time.monotonic() + limit_s)
        except TimeoutError as error:
            msg = f"the ssh-agent at {self._path} did not answer within {limit_s:g} s, asked to {wanted}"
            raise CannotSign(msg) from error
        except OSError as error:
            msg = f"cannot speak with the ssh-agent at {self._path}: {error.strerror or error}; start one, or give the key's file"
            raise CannotSign(msg) from error
        except ValueError as error:
            raise self._nonsense(error) from error
        if answer[0] == _FAILURE:
            msg = f"the ssh-agent at {self._path} refused to {wanted}"
            raise CannotSign(msg)
        if answer[0] != expected:
            raise self._nonsense(ValueError(f"its answer has type {answer[0]} where {expected} was due"))
        return Reader(answer[1:])

    def _exchanged(self, request: bytes, ends: float) -> bytes:
        """An answer, of one byte or more. Raises: OSError; ValueError: it is longer than an agent's are, or empty."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            _limit(connection, ends)
            connection.connect(str(self._path))
            _limit(connection, ends)
            connection.sendall(string(request))
            length = int.from_bytes(_received(connection, UINT32_BYTES, ends))
            if not 0 < length <= MESSAGE_BYTES_MAX:
                msg = f"its answer is said to have {length} bytes"
                raise ValueError(msg)
            return _received(connection, length, ends)

    def _nonsense(self, error: ValueError) -> CannotSign:
        return CannotSign(f"what is at {self._path} does not speak as an ssh-agent does: {error}")


def _limit(connection: socket.socket, ends: float) -> None:
    """Give a connection what is left of the time. Raises: TimeoutError."""
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)


def _received(connection: socket.socket, count: int, ends: float) -> bytes:
    """So many bytes, before the end of the time. Raises: OSError."""
    received = bytearray()
    while len(received) < count:
        _limit(connection, ends)
        part = connection.recv(count - len(received))
        if not part:
            msg = "it closed the connection"
            raise ConnectionError(msg)
        received += part
    return bytes(received)


def _visible(comment: bytes) -> str:
    """A comment that can be shown on a terminal."""
    text = comment.decode("utf-8", "replace")[:COMMENT_CHARS_MAX]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
