"""Which recordings a person means: files, folders, patterns and standard input become an ordered list of sources.

Knows names and sizes; knows nothing of what is inside a file.
"""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from verdigris.telemetry.sources.errors import InputNotFound, NothingToRead

STANDARD_INPUT = "-"


class RawBytes(Protocol):
    """What reading needs of an opened source: short reads are fine, b"" means the end."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes."""

    def close(self) -> None:
        """Gives the descriptor back."""


@dataclass(frozen=True, slots=True)
class Source:
    """One stream of bytes with spans in it.

    Attributes:
        name: how the person named it, for messages.
        size_bytes: bytes on disk; None when that cannot be known beforehand (standard input, a pipe).
        open: opens it for reading from its start. Raises OSError.
    """

    name: str
    size_bytes: int | None
    open: Callable[[], RawBytes]


def expand(inputs: Sequence[str]) -> list[Source]:
    """Turns what a person named into sources, in an order that depends on the names alone.

    The inputs keep their order; within a folder or a pattern files are sorted by path. Folders are read recursively
    without hidden entries, without following links to folders, and without pipes or devices (reading one could wait
    forever; name it directly to read it). A file that is named twice, by whatever path, is read once: counted twice,
    its spans would be false evidence.

    Args:
        inputs: paths of files or folders, glob patterns ("**" crosses folders), or "-" for standard input. A path
            that exists is taken literally, even when it contains "*", "?" or "[".

    Raises:
        InputNotFound: a path does not exist.
        NothingToRead: `inputs` is empty, or a folder or pattern holds no file.
    """
    if not inputs:
        msg = "no input was named: name files, folders, patterns such as 'traces/**/*.jsonl', or - for standard input"
        raise NothingToRead(msg)
    sources: list[Source] = []
    seen: set[str] = set()
    for given in inputs:
        if given == STANDARD_INPUT:
            if STANDARD_INPUT not in seen:
                sources.append(Source("standard input", None, lambda: FileIO(0, "rb", closefd=False)))
            seen.add(STANDARD_INPUT)
            continue
        for path in _files(given):
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                sources.append(file_source(path))
    return sources


def file_source(path: str | os.PathLike[str]) -> Source:
    """The source for one file.

    Raises: InputNotFound: it is gone, or its folder may not be entered.
    """
    name = os.fspath(path)
    try:
        status = Path(name).stat()
    except OSError as error:
        msg = f"{name}: {error.strerror}: check the path and its permissions"
        raise InputNotFound(msg) from error
    # Unbuffered: chunks are large already, and progress then says what was really read.
    return Source(name, status.st_size if S_ISREG(status.st_mode) else None, lambda: FileIO(name, "rb"))


def _files(given: str) -> list[str]:
    if os.path.lexists(given):
        if not Path(given).is_dir():
            return [given]
        found = sorted(_walk(given))
        if not found:
            msg = f"{given}: the folder holds no file (hidden files are skipped): name a folder with recordings"
            raise NothingToRead(msg)
        return found
    if glob.has_magic(given):
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - pathlib's glob takes no absolute pattern
        found = [path for match in matches for path in (sorted(_walk(match)) if Path(match).is_dir() else [match])]
        if not found:
            msg = f"{given}: no file matches this pattern: quote it if the shell should not expand it, or correct it"
            raise NothingToRead(msg)
        return found
    msg = f"{given}: there is no such file or folder: check the spelling and the current folder ({Path.cwd()})"
    raise InputNotFound(msg)


def _walk(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield str(path)
