"""Where a log's bytes are kept: a port, and plain files. Knows nothing of trees and signatures.

A *commit* is a batch of entries that nobody can take back: it is named by the size of the log before it, and of all writers that try
to make the commit of one size exactly one succeeds. Everything else (tiles, bundles, the checkpoint) follows from commits and can be
written again.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from verdigris.ledger.errors import LedgerError

LOG_FOLDER = "ledger"
"""Where a guard's log is, in its state folder."""

CHECKPOINT = "checkpoint"

STAGED_LEFT_S = 3600
"""What lies staged for so long was left by a crash; a staged file lives for milliseconds."""

LOCK_PATIENCE_S, LOCK_WAIT_S = 5.0, 0.005
"""How long the lock of the checkpoint is waited for, and how often it is tried; it is held for milliseconds."""

_COMMITS, _STAGED = "commits", "staged"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


class LedgerUnavailable(LedgerError):
    """The ledger's storage does not answer, or cannot be written. Safe: what was appended stays, and nothing moves except toward the
    baseline.
    """


class HeadMoved(LedgerError):
    """Another writer has appended since. Safe: nothing was written; look again and retry."""


class Storage(Protocol):
    """Keeps a log. Every method raises `LedgerUnavailable` where it cannot tell or cannot write; its effect may then have happened."""

    def read(self, path: str) -> bytes | None:
        """What was written there last, or None."""

    def write(self, path: str, content: bytes, *, durable: bool) -> None:
        """Replace it whole: a reader sees the old or the new content. `durable`: it survives a power cut when this returns."""

    def listed(self, folder: str) -> list[str]:
        """The names of what was written directly under this path, ascending; none where nothing was."""

    def drop(self, folder: str) -> None:
        """Forget everything that was written under this path; what it says is elsewhere too."""

    def head(self) -> bytes | None:
        """The checkpoint, or None before there was one."""

    def advance(self, size: int, checkpoint: bytes) -> None:
        """Replace the checkpoint, durably, unless the present one is of a larger log: a slow writer takes nothing back."""

    def commits(self) -> list[int]:
        """The names of all commits that are kept, ascending. The last one is always kept."""

    def commit(self, start: int, content: bytes) -> None:
        """Make the commit of this size; durable when it returns. Raises: HeadMoved: there is one, or a later one."""

    def committed(self, start: int) -> bytes:
        """A commit's content. Raises: HeadMoved: it was dropped meanwhile."""

    def forget(self, start: int) -> None:
        """Drop a commit that is not the last one; what it says is durable elsewhere."""


class LogFolder:
    """Plain files, as any web server can serve them. Several processes may write; on network file systems `link` must be atomic."""

    def __init__(self, folder: Path, *, to_read: bool = False) -> None:
        """Make the folder if needed; `to_read`: nothing is made or tidied up. Raises: LedgerUnavailable."""
        self.folder = folder
        if to_read:
            return
        with _translated(folder):
            for part in (_COMMITS, _STAGED):
                (folder / part).mkdir(parents=True, exist_ok=True)
            for entry in (folder / _STAGED).iterdir():  # what a crash left: it was never committed
                with contextlib.suppress(FileNotFoundError):  # another writer's, committed or replaced meanwhile
                    if entry.name != "lock" and time.time() - entry.stat().st_mtime > STAGED_LEFT_S:
                        entry.unlink()

    def read(self, path: str) -> bytes | None:
        """See `Storage`."""
        with _translated(self.folder / path):
            try:
                return (self.folder / path).read_bytes()
            except FileNotFoundError:
                return None

    def write(self, path: str, content: bytes, *, durable: bool) -> None:
        """See `Storage`: staged beside, then renamed."""
        target = self.folder / path
        with _translated(target):
            staged = self._stage(content, durable=durable)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                staged.replace(target)
            except FileNotFoundError:  # another writer dropped the folder at this moment, which it does once
                target.parent.mkdir(parents=True, exist_ok=True)
                staged.replace(target)
            if durable:
                _sync_folders(target.parent, self.folder)

    def listed(self, folder: str) -> list[str]:
        """See `Storage`."""
        with _translated(self.folder / folder):
            try:
                return sorted(entry.name for entry in (self.folder / folder).iterdir() if entry.is_file())
            except FileNotFoundError:
                return []

    def drop(self, folder: str) -> None:
        """See `Storage`."""
        with _translated(self.folder / folder):
            shutil.rmtree(self.folder / folder, ignore_errors=True)

    def head(self) -> bytes | None:
        """See `Storage`."""
        return self.read(CHECKPOINT)

    def advance(self, size: int, checkpoint: bytes) -> None:
        """See `Storage`. A lock for the moment between looking and replacing; tiles need none, they are the same from every writer."""
        with _translated(self.folder / CHECKPOINT), self._locked():
            present = self.head()
            if present is None or _size_of(present) <= size:
                self.write(CHECKPOINT, checkpoint, durable=True)

    def commits(self) -> list[int]:
        """See `Storage`."""
        with _translated(self.folder):
            return sorted(int(entry.name) for entry in (self.folder / _COMMITS).iterdir() if entry.name.isdigit())

    def commit(self, start: int, content: bytes) -> None:
        """See `Storage`. `link` makes the name for exactly one writer."""
        target = self.folder / _COMMITS / str(start)
        with _translated(target):
            staged = self._stage(content, durable=True)
            try:
                target.hardlink_to(staged)
            except FileExistsError as error:
                msg = f"another writer has appended to the log of {start} entries"
                raise HeadMoved(msg) from error
            finally:
                staged.unlink(missing_ok=True)
            if self.commits()[-1] != start:
                # This writer was so far behind that the commit it tried to make had been dropped already. Nobody reads what it linked:
                # the log goes on from the last commit.
                target.unlink(missing_ok=True)
                msg = f"the log has more than {start} entries"
                raise HeadMoved(msg)
            _sync_folders(target.parent, target.parent)

    def committed(self, start: int) -> bytes:
        """See `Storage`."""
        content = self.read(f"{_COMMITS}/{start}")
        if content is None:
            msg = f"the commit that follows {start} entries has been dropped meanwhile"
            raise HeadMoved(msg)
        return content

    def forget(self, start: int) -> None:
        """See `Storage`."""
        with _translated(self.folder / _COMMITS / str(start)):
            (self.folder / _COMMITS / str(start)).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / _STAGED / "lock").open("a") as lock:
            # Not `LOCK_EX` alone: it would wait for a stopped process for ever. Many short waits: few long ones would let a busy log's
            # other writers go first every time.
            for _ in range(round(LOCK_PATIENCE_S / LOCK_WAIT_S)):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(LOCK_WAIT_S)
            else:
                msg = f"another process has held the lock of {self.folder} for seconds; it may be stopped. Nothing moves forward"
                raise LedgerUnavailable(msg)
            yield

    def _stage(self, content: bytes, *, durable: bool) -> Path:
        staged = self.folder / _STAGED / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            with staged.open("xb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                staged.unlink(missing_ok=True)
            raise
        return staged


def _size_of(checkpoint: bytes) -> int:
    """The second line of a checkpoint. Raises: LedgerUnavailable: it has none."""
    try:
        return int(checkpoint.split(b"\n", 2)[1])
    except (IndexError, ValueError) as error:
        msg = "the log's checkpoint has been overwritten with something else. Nothing moves forward"
        raise LedgerUnavailable(msg) from error


def _sync_folders(folder: Path, up_to: Path) -> None:
    """Make names durable, from a folder up to another."""
    while True:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if folder in (up_to, folder.parent):
            return
        folder = folder.parent


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = "its disk is full" if error.errno in _NO_SPACE else (error.strerror or str(error))
        msg = f"the ledger cannot use {path}: {what}. Nothing moves forward until it can"
        raise LedgerUnavailable(msg) from error
