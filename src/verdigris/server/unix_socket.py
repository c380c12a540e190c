"""The guard's Unix socket: who may open it, what becomes of one that a dead guard left, and paths longer than the system allows."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from verdigris.errors import VerdigrisError

SOCKET_NAME = "api.sock"
"""Its name in the state folder."""

PATH_BYTES_MAX = 107
"""Linux: `sun_path` has 108 bytes with its end."""


class CannotListen(VerdigrisError):
    """An address cannot be opened. Safe: nothing is served and nothing changed; free it or choose another."""


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for the path that fits into a socket address, good while inside. Raises: OSError."""
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path`, mode 0600, taken away at the end. Raises: CannotListen.

    A lock beside it says whether a guard lives: the lock ends with its process, however that ends, so a socket without a
    held lock is a dead guard's and is replaced. Another kind of file is never removed.
    """
    with locked(path), reachable(path) as name:
        try:
            _remove_stale(path)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            # The mode of the file comes from the socket: there is no moment in which others could connect.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(name)
            listener.listen(128)
            mine = path.lstat().st_ino
        except OSError as error:
            msg = f"cannot listen at {path}: {error.strerror or error}"
            raise CannotListen(msg) from error
        try:
            yield listener
        finally:
            listener.close()
            with suppress(OSError):
                if path.lstat().st_ino == mine:
                    path.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else serves this socket meanwhile. Raises: CannotListen: somebody does."""
    lock = path.with_name(path.name + ".lock")
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        msg = f"cannot open {lock}: {error.strerror or error}"
        raise CannotListen(msg) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"another guard serves {path}; use it, or give this one a state folder of its own"
            raise CannotListen(msg) from error
        yield
    finally:
        os.close(file)


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        msg = f"{path} is there and is no socket; move it away"
        raise CannotListen(msg)
    path.unlink()
