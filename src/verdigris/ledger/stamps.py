"""Where time stamps are kept beside a log: for each head that was stamped its checkpoint, and what each authority signed over it.

    stamps/301.checkpoint      the head of 301 entries, as the log's key signed it
    stamps/301-1f2e3d4c.tsr    a TimeStampResp over its text, by the authority of that id

The checkpoint is written first, so that no stamp is without it.
"""

import re
from dataclasses import dataclass

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.note import Note
from verdigris.ledger.storage import Storage
from verdigris.ledger.timestamp import Authority, TimeStamp

STAMPS = "stamps"
"""Their folder, in a log's folder and in an evidence pack."""

_NAME = re.compile(r"([1-9][0-9]{0,18})-([0-9a-f]{8})\.tsr\Z")


@dataclass(frozen=True, slots=True)
class Kept:
    """One that is kept: over the head of so many entries, by the authority of this id."""

    size: int
    authority: str

    @property
    def file(self) -> str:
        """Its name in the folder."""
        return f"{self.size}-{self.authority}.tsr"


def checkpoint_file(size: int) -> str:
    """The name of a stamped head in the folder."""
    return f"{size}.checkpoint"


def files_of(head: Note, authority: Authority, stamp: TimeStamp) -> dict[str, bytes]:
    """What is kept of a stamp, by name, in the order in which it is to be written."""
    size = Checkpoint.parse(head.text).size
    return {checkpoint_file(size): str(head).encode(), Kept(size, authority.id).file: stamp.der}


def keep(storage: Storage, head: Note, authority: Authority, stamp: TimeStamp) -> None:
    """Keep a stamp over a head. Again is harmless. Raises: LedgerUnavailable."""
    for name, content in files_of(head, authority, stamp).items():
        storage.write(f"{STAMPS}/{name}", content, durable=True)


def kept(storage: Storage) -> list[Kept]:
    """All that are kept, the smallest head first. Raises: LedgerUnavailable."""
    matches = (_NAME.match(name) for name in storage.listed(STAMPS))
    return sorted((Kept(int(one[1]), one[2]) for one in matches if one), key=lambda one: (one.size, one.authority))
