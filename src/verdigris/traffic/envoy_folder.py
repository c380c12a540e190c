"""The durable default of an Envoy: a folder that the guard writes and Envoy watches. Survives both.

```
<committed_folder>/current → tree-…     replaced as a whole, by renaming a symbolic link
    durable/   the committed weight, and the newest generation that is over
    fence/     while closed: the committed weight again, no copies, no chosen users; while a lease may hold: empty
```
Envoy puts `durable` below the guard's lease and `fence` above it. So a closed fence holds against whatever a late guard still sends.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from verdigris.traffic.data_plane import StaleGeneration, TrafficError
from verdigris.traffic.envoy_settings import EnvoySettings

CURRENT = "current"
DURABLE, FENCE = "durable", "fence"
LOCK_WAIT_S = 1.0
"""So long one waits for another guard that is writing. Going back then goes on without the lock; nothing else does."""

FILES_MAX = 64
VALUE_BYTES_MAX = 256
OLD_TREES_KEPT = 2
"""Envoy may still be reading the tree before; it reads within milliseconds of the renaming."""


class FolderUnusable(TrafficError):
    """The folder of the durable default cannot be read or written. Safe: a weight in force ends with its lease. Mend the folder."""


@dataclass(frozen=True, slots=True)
class Durable:
    """What the folder holds: the weight (a numerator of a million; None before anything was committed), the newest generation that is
    over, and whether the fence is closed.
    """

    weight: int | None = None
    fenced: int = 0
    closed: bool = False


class EnvoyFolder:
    """One subject's folder. All methods block, briefly, and are for a thread."""

    def __init__(self, settings: EnvoySettings) -> None:
        self._root = Path(settings.committed_folder)
        self._fenced_key = settings.fenced_key
        self._weight_key = settings.weight_key()
        slots = (settings.first.slot, settings.second.slot)
        self._off = tuple(key(slot) for slot in slots for key in (settings.mirror_key, settings.chosen_key))

    def prepare(self) -> None:
        """Make the folder if there is none; Envoy watches it from its start. Raises: FolderUnusable."""
        with _translated(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            if not (self._root / CURRENT).exists():
                self._write(Durable())

    def read(self) -> Durable:
        """What is there. Raises: FolderUnusable."""
        with _translated(self._root):
            durable = self._values(DURABLE)
            fence = self._values(FENCE)
            text = durable.get(self._weight_key)
            weight = None if text is None else int(text.split()[1])
            return Durable(weight, int(durable.get(self._fenced_key, "0")), closed=self._weight_key in fence)

    def close_fence(self, weight: int, fenced: int, *, whatever: bool) -> int:
        """Make this weight the durable default, in force above any lease; generations up to `fenced` are over.

        Args:
            weight: the second slot's, a numerator of a million.
            fenced: generation; never lowers what is there.
            whatever: go on without the lock, and over a newer fence: for the way back.
        Returns: the newest generation that is over now.
        Raises: FolderUnusable, StaleGeneration: a newer generation is over already (not with `whatever`).
        """
        with _translated(self._root), self._locked(needed=not whatever):
            try:
                before = self.read()
            except (FolderUnusable, ValueError):
                if not whatever:
                    raise
                before = Durable()  # the way back does not depend on what stood there
            wanted = Durable(weight, max(fenced, before.fenced), closed=True)
            if wanted == before:
                return before.fenced
            if not whatever and before.fenced >= fenced:
                msg = f"generation {before.fenced} is over, and {fenced} is not newer; nothing was changed"
                raise StaleGeneration(msg, before.fenced)
            self._root.mkdir(parents=True, exist_ok=True)
            self._write(wanted)
            return wanted.fenced

    def open_fence(self, generation: int) -> None:
        """Let the lease of this generation hold. Raises: StaleGeneration, FolderUnusable."""
        with _translated(self._root), self._locked(needed=True):
            before = self.read()
            if before.fenced >= generation:
                msg = f"generation {before.fenced} is over, and {generation} is not newer; the durable default stays in force"
                raise StaleGeneration(msg, before.fenced)
            if before.closed:
                self._write(replace(before, closed=False))

    def _values(self, part: str) -> dict[str, str]:
        files = sorted((self._root / CURRENT / part).iterdir())
        if len(files) > FILES_MAX:
            msg = f"{self._root / CURRENT / part} has {len(files)} files; ours has at most {FILES_MAX}"
            raise FolderUnusable(msg)
        return {file.name: _bounded(file) for file in files}

    def _write(self, durable: Durable) -> None:
        tree = self._root / f"tree-{time.time_ns():020d}-{secrets.token_hex(4)}"
        weight = {} if durable.weight is None else {self._weight_key: _fraction(durable.weight)}
        files = {
            DURABLE: weight | {self._fenced_key: f"{durable.fenced}\n"},
            FENCE: weight | dict.fromkeys(self._off, _fraction(0)) if durable.closed else {},
        }
        for part, contents in files.items():
            folder = tree / part
            folder.mkdir(parents=True)
            for name, text in contents.items():
                with (folder / name).open("x", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
            _sync(folder)
        _sync(tree)
        following = self._root / f".{tree.name}"
        following.symlink_to(tree.name)
        # One rename: Envoy, and whoever comes after a power cut, sees the tree before or this one.
        following.rename(self._root / CURRENT)
        _sync(self._root)
        for old in sorted(self._root.glob("tree-*"))[: -1 - OLD_TREES_KEPT]:
            if old.name != tree.name:
                shutil.rmtree(old, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, *, needed: bool) -> Iterator[None]:
        """Only one guard writes. A guard that is frozen while it writes must not keep others from going back."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("a", encoding="utf-8") as lock:
            give_up = time.monotonic() + LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= give_up:
                        if not needed:
                            break
                        msg = f"another guard is writing {self._root} and does not end; nothing was changed"
                        raise FolderUnusable(msg) from None
                    time.sleep(0.01)
            yield


def _fraction(numerator: int) -> str:
    return f"numerator: {numerator}\ndenominator: MILLION\n"


def _bounded(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(VALUE_BYTES_MAX + 1)
    if len(content) > VALUE_BYTES_MAX:
        msg = f"{file} is larger than {VALUE_BYTES_MAX} bytes; it is not ours"
        raise FolderUnusable(msg)
    return content.decode("ascii", errors="replace").strip()


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextlib.contextmanager
def _translated(root: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, IndexError) as error:
        msg = f"the durable default in {root} cannot be read or written: {error}"
        raise FolderUnusable(msg) from error
