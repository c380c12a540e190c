"""What a witness remembers: for each log the last checkpoint that it cosigned, and what it refused though the log had signed it.

    logs/<SHA-256 of the origin>/checkpoint       a signed note: the log's signatures and the witness's own
    logs/<SHA-256 of the origin>/refused/…        evidence, one JSON file for each refused checkpoint
    logs/<SHA-256 of the origin>/lock             held from looking at the checkpoint until its successor is durable

Whoever can write this folder can make the witness forget, and then it may cosign a fork.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from verdigris.errors import VerdigrisError
from verdigris.ledger.note import InvalidNote, Note, VerifierKey, verified
from verdigris.ledger.witness import Suspicion, head_of

LOCK_WAIT_S = 5.0
"""A request holds the lock for milliseconds; who holds it for longer is stopped, or its disk is."""

REFUSED_MAX = 100
"""Refused checkpoints of one suspicion that are kept of one log, the first ones. Strangers can send a published checkpoint with a wrong
proof; a fork only the log's key can make, and each of these is proof enough.
"""

_LOGS, _CHECKPOINT, _REFUSED, _STAGED, _LOCK = "logs", "checkpoint", "refused", "staged", "lock"
_LOOK_AGAIN_S = 0.005
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


class StateUnusable(VerdigrisError):
    """The witness's folder cannot be read or written, or what it remembers of a log was changed. Safe: nothing was cosigned. Give it
    space and permissions; a checkpoint that was changed is to be put back from a copy of the folder, never deleted.
    """


class WitnessFolder:
    """The folder of a witness, or of several processes that are the same witness. From any thread."""

    def __init__(self, folder: Path) -> None:
        """Make it if needed; others may not read it. Raises: StateUnusable."""
        self._logs = folder / _LOGS
        with _translated(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._logs.mkdir(mode=0o700, exist_ok=True)
            _sync(folder.absolute().parent, folder)

    @contextlib.contextmanager
    def held(self, origin: str) -> Iterator["LogRecord"]:
        """What is remembered of one log. While inside, nobody else reads or writes it, in this process or another.

        Raises: StateUnusable: also where somebody else is inside for `LOCK_WAIT_S`.
        """
        folder = self._logs / hashlib.sha256(origin.encode()).hexdigest()
        with _translated(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            # Every opening has a lock of its own, so threads exclude each other as processes do; it ends with its process.
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(lock, folder)
            yield LogRecord(folder, origin)
        finally:
            os.close(lock)

    def refused(self) -> dict[Suspicion, int]:
        """How many refused checkpoints are kept, of all logs. Raises: StateUnusable."""
        with _translated(self._logs):
            names = [file.name for file in self._logs.glob(f"*/{_REFUSED}/*")]
        return {suspicion: sum(name.startswith(f"{suspicion}-") for name in names) for suspicion in Suspicion}


class LogRecord:
    """What is remembered of one log; for whoever holds it (`WitnessFolder.held`)."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder, self._origin = folder, origin

    def last(self, trusted: Sequence[VerifierKey]) -> Note | None:
        """The last cosigned checkpoint; None before the first.

        `trusted`: keys of the log and of the witness; one of them must have signed it. Raises: StateUnusable.
        """
        path = self._folder / _CHECKPOINT
        with _translated(path):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            note = Note.parse(content)
            verified(note, trusted)
            origin = head_of(note.text).origin
        except InvalidNote as error:
            msg = f"what is remembered of the log {self._origin} was changed, and nothing of it is cosigned any more ({path}): {error}"
            raise StateUnusable(msg) from error
        if origin != self._origin:
            msg = f"{path} is the checkpoint of another log than {self._origin}"
            raise StateUnusable(msg)
        return note

    def replace(self, checkpoint: Note) -> None:
        """Remember this one instead; durable when it returns. Raises: StateUnusable: and it may be remembered nevertheless."""
        self._write(self._folder / _CHECKPOINT, str(checkpoint).encode())

    def keep_refused(self, suspicion: Suspicion, text: str, evidence: bytes) -> bool:
        """Keep evidence about the refused checkpoint with this text, durably. Returns whether it is kept, by now or before.

        Raises: StateUnusable.
        """
        folder = self._folder / _REFUSED
        path = folder / f"{suspicion}-{hashlib.sha256(text.encode()).hexdigest()}.json"
        with _translated(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            if path.exists():
                return True
            if sum(1 for _ in folder.glob(f"{suspicion}-*")) >= REFUSED_MAX:
                return False
        self._write(path, evidence)
        return True

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all, also after a power cut. The name beside is free: there is one writer, and what a crash left is nobody's."""
        with _translated(path):
            staged = self._folder / _STAGED
            handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            staged.replace(path)
            _sync(path.parent, self._folder, self._folder.parent)


def _lock(lock: int, folder: Path) -> None:
    ends = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends:
                msg = f"{folder} has been locked for {LOCK_WAIT_S:g} s by a request that does not end"
                raise StateUnusable(msg) from None
            time.sleep(_LOOK_AGAIN_S)
        except OSError as error:  # a file system without locks
            msg = f"cannot lock {folder}: {error.strerror or error}"
            raise StateUnusable(msg) from error
        else:
            return


def _sync(*folders: Path) -> None:
    """Make the names in them durable."""
    for folder in folders:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = "its disk is full" if error.errno in _NO_SPACE else (error.strerror or str(error))
        msg = f"the witness cannot use {path}: {what}. It cosigns nothing until it can"
        raise StateUnusable(msg) from error
