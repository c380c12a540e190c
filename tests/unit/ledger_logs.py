"""Logs that fail on purpose, and what must hold of every log. For tests only."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.unit.ledger_keys import signer

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.log import Hashes, Log, read_entries
from verdigris.ledger.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from verdigris.ledger.note import Note, verified
from verdigris.ledger.storage import LedgerUnavailable, LogFolder, Storage

ORIGIN = "guard.test/log"


class Failing:
    """A storage of which the `number`-th effect (from 1) fails, or is reported as failed although it happened. None: counts only."""

    def __init__(self, storage: Storage, number: int | None, *, happened: bool, how: Callable[[], None] | None = None) -> None:
        self.storage, self.number, self.happened = storage, number, happened
        self.how = how or self._fail
        self.effects: list[str] = []

    def _fail(self) -> None:
        msg = f"{self.effects[-1]} failed on purpose"
        raise LedgerUnavailable(msg)

    def _effect(self, name: str, act: Callable[[], None]) -> None:
        self.effects.append(name)
        here = len(self.effects) == self.number
        if here and not self.happened:
            self.how()
        act()
        if here:
            self.how()

    def read(self, path: str) -> bytes | None:
        return self.storage.read(path)

    def listed(self, folder: str) -> list[str]:
        return self.storage.listed(folder)

    def head(self) -> bytes | None:
        return self.storage.head()

    def commits(self) -> list[int]:
        return self.storage.commits()

    def committed(self, start: int) -> bytes:
        return self.storage.committed(start)

    def write(self, path: str, content: bytes, *, durable: bool) -> None:
        self._effect(f"write {path}", lambda: self.storage.write(path, content, durable=durable))

    def drop(self, folder: str) -> None:
        self._effect(f"drop {folder}", lambda: self.storage.drop(folder))

    def advance(self, size: int, checkpoint: bytes) -> None:
        self._effect(f"advance {size}", lambda: self.storage.advance(size, checkpoint))

    def commit(self, start: int, content: bytes) -> None:
        self._effect(f"commit {start}", lambda: self.storage.commit(start, content))

    def forget(self, start: int) -> None:
        self._effect(f"forget {start}", lambda: self.storage.forget(start))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def opened(folder: Path, number: int = 1) -> Log:
    return Log(LogFolder(folder), ORIGIN, signer(number), [signer(n).key for n in (1, 2, 3)])


def whole(storage: Storage, *earlier: Note) -> list[bytes]:
    """All entries of a log, after everything that must hold of it was checked; `earlier`: heads that it must continue."""
    written = storage.head()
    assert written is not None
    note = Note.parse(written)
    verified(note, [signer(n).key for n in (1, 2, 3)])
    head = Checkpoint.parse(note.text)
    hashes = Hashes(storage, head.size)
    entries = list(read_entries(storage, head.size, 0, head.size))
    assert root_of(head.size, hashes) == head.root
    log = Log(storage, ORIGIN, signer(), [signer(n).key for n in (2, 3)])
    for index in {0, head.size // 2, head.size - 1} if head.size else set():
        proof = log.proof(index)
        verify_inclusion(index, head.size, leaf_hash(entries[index]), proof.hashes, head.root)
    for before in (Checkpoint.parse(one.text) for one in earlier):
        if before.size:
            verify_consistency(before.size, head.size, before.root, head.root, log.consistency(before.size))
    return entries
