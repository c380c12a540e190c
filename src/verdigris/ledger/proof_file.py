"""C2SP tlog-proof files: one entry's place in a log, with the checkpoint that has it, in a file of its own. Pure.

Source: c2sp.org/tlog-proof.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from verdigris.ledger.merkle import HASH_BYTES
from verdigris.ledger.note import InvalidNote, Note, strict_base64

HEADER = "c2sp.org/tlog-proof@v1"
HASHES_MAX = 63
PROOF_BYTES_MAX = 2_000_000
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class ProofFile:
    """`extra` is not authenticated: it may help to find the entry, and must not be believed."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Note
    extra: bytes | None = None

    def __str__(self) -> str:
        """The file."""
        extra = [] if self.extra is None else [f"extra {base64.b64encode(self.extra).decode()}"]
        lines = [HEADER, *extra, f"index {self.index}", *(base64.b64encode(one).decode() for one in self.hashes)]
        return "\n".join(lines) + "\n\n" + str(self.checkpoint)

    @classmethod
    def parse(cls, file: bytes) -> "ProofFile":
        """Raises: InvalidNote."""
        if len(file) > PROOF_BYTES_MAX:
            msg = f"a proof file may have {PROOF_BYTES_MAX} bytes"
            raise InvalidNote(msg)
        head, separator, note = file.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
            header, *rest = lines
            extra = strict_base64(rest.pop(0).removeprefix("extra ")) if rest and rest[0].startswith("extra ") else None
            index = _INDEX.match(rest[0]) if rest else None
            hashes = tuple(strict_base64(line) for line in rest[1:])
        except (UnicodeDecodeError, ValueError, binascii.Error) as error:
            msg = f"not a proof file: {error}"
            raise InvalidNote(msg) from error
        if header != HEADER or not separator or index is None or len(hashes) > HASHES_MAX or any(len(h) != HASH_BYTES for h in hashes):
            msg = f"not a proof file ({HEADER}, an index, at most {HASHES_MAX} hashes, a checkpoint)"
            raise InvalidNote(msg)
        return cls(int(index.group(1)), hashes, Note.parse(note), extra)
