"""C2SP checkpoints: which log, how many entries, which root. The text of a signed note. Pure.

Source: c2sp.org/tlog-checkpoint.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from verdigris.ledger.merkle import HASH_BYTES, SIZE_MAX
from verdigris.ledger.note import InvalidNote

_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's head. `root`: 32 bytes."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The text of a note. Extension lines are refused: nobody could audit them. Raises: InvalidNote."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0] or not _SIZE.match(lines[1]):  # noqa: PLR2004  # three lines and their end
            msg = f"not a checkpoint (origin, size, root): {text[:200]!r}"
            raise InvalidNote(msg)
        try:
            root = base64.b64decode(lines[2], validate=True)
        except (ValueError, binascii.Error) as error:
            msg = f"the root in a checkpoint is not base64: {lines[2][:200]!r}"
            raise InvalidNote(msg) from error
        checkpoint = cls(lines[0], int(lines[1]), root)
        if len(root) != HASH_BYTES or checkpoint.size > SIZE_MAX or checkpoint.text() != text:
            msg = f"not a checkpoint: its root is not {HASH_BYTES} bytes, or its size is beyond all bounds"
            raise InvalidNote(msg)
        return checkpoint
