"""The durable default: three lines that HAProxy matches against, and that stand in a file for its next start.

default blue     the slot with all traffic when no lease is in force
newest 7         the newest generation that was seen, or `none`: the fence
lease 7          the generation whose row counts, or `none`: after a return or a commit no row counts
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from verdigris.traffic.data_plane import TrafficError

FILE_BYTES_MAX = 65_536
_NONE = "none"


@dataclass(frozen=True, slots=True)
class Durable:
    """The three lines. `newest` is -1 when nothing was applied yet."""

    default: str
    newest: int
    lease: int | None

    @classmethod
    def read(cls, entries: Mapping[str, str]) -> "Durable":
        """From the lines' keys and values. Raises: TrafficError: one is missing or cannot be read."""
        try:
            newest, lease = (None if entries[key] == _NONE else _generation(entries[key]) for key in ("newest", "lease"))
            return cls(default=entries["default"], newest=-1 if newest is None else newest, lease=lease)
        except (KeyError, ValueError) as problem:
            msg = (
                f"the map holds {dict(entries)!r}, not the lines default, newest and lease ({problem}); nothing was changed. "
                "Write it anew as the comment at the top of `verdigris traffic haproxy-config` says"
            )
            raise TrafficError(msg) from problem

    def is_behind(self, other: "Durable") -> bool:
        """Whether `other` was written later: a newer generation, or the end of the same."""
        ended = other.lease is None and self.lease is not None
        return other.newest > self.newest or (other.newest == self.newest and ended)

    def entries(self) -> dict[str, str]:
        """Keys and values of the lines."""
        return {
            "default": self.default,
            "newest": _NONE if self.newest < 0 else str(self.newest),
            "lease": _NONE if self.lease is None else str(self.lease),
        }


def read_file(path: str) -> Durable:
    """What HAProxy will start with. Raises: TrafficError."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as problem:
        msg = f"the map file {path} cannot be read ({problem}); HAProxy could not start without it"
        raise TrafficError(msg) from problem
    if len(content) > FILE_BYTES_MAX:
        msg = f"the map file {path} is longer than {FILE_BYTES_MAX} bytes; it is not the one that Verdigris keeps"
        raise TrafficError(msg)
    lines = (line.split(maxsplit=1) for line in content.decode("utf-8", "replace").splitlines() if not line.lstrip().startswith("#"))
    return Durable.read({words[0]: words[1].strip() for words in lines if len(words) == 2})  # noqa: PLR2004  # key and value


def write_file(path: str, durable: Durable) -> None:
    """Make `durable` what HAProxy will start with; the file is the old one or the new one, also after a power cut.

    A file that was written later (`Durable.is_behind`) is left alone. Raises: TrafficError.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        # 1. Never behind what stands there: a guard that slept comes late.
        try:
            if durable.is_behind(read_file(path)):
                return
        except TrafficError:
            pass  # missing or spoilt: writing it is the cure
        # 2. The new content is on the disk under another name. HAProxy may run as another user and only reads.
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        with beside.open("wb") as file:
            file.write("".join(f"{key} {value}\n" for key, value in durable.entries().items()).encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        # 3. From here on it is the file, and after the folder's fsync also after a power cut.
        beside.replace(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as problem:
        beside.unlink(missing_ok=True)
        msg = (
            f"the map file {path} cannot be written ({problem}). What HAProxy does now is as asked, but a restart of it would "
            "go back to what the file says; make it writable for the guard and ask again"
        )
        raise TrafficError(msg) from problem


def _generation(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):  # noqa: PLR2004  # 64 bits; the table's keys hold 20 letters
        msg = f"{text[:40]!r} is no generation"
        raise ValueError(msg)
    return int(text)
