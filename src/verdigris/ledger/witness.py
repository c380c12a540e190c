"""C2SP tlog-witness: what a log asks of a witness, and what a witness may answer. Pure: no clock, disk or network; who keeps what was
cosigned is the room `witness`, who asks is `witness_client`.

Source: c2sp.org/tlog-witness, c2sp.org/tlog-cosignature, c2sp.org/tlog-checkpoint.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.merkle import EMPTY_ROOT, HASH_BYTES, SIZE_MAX, InvalidProof, verify_consistency
from verdigris.ledger.note import Algorithm, InvalidNote, Note, VerifierKey, verified

PATH = "/add-checkpoint"
"""Below a witness's submission prefix."""

SIZE_MEDIA = "text/x.tlog.size"
"""What the body of a 409 is: a tree size and a line end."""

PROOF_LINES_MAX = 63
REQUEST_BYTES_MAX = 64 * 1024
"""The longest proof takes 3 KiB, and a signature of the largest kind (ML-DSA-44) as much."""

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})\Z")
_CHECKPOINT_LINES = 3


def head_of(text: str) -> Checkpoint:
    """What a checkpoint says, beside its extension lines: a witness makes no statement about those. Raises: InvalidNote."""
    *lines, end = text.split("\n")
    if end or not all(lines):
        msg = "a checkpoint has no empty lines, and ends in a line end"
        raise InvalidNote(msg)
    return Checkpoint.parse("".join(f"{line}\n" for line in lines[:_CHECKPOINT_LINES]))


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """What a log sends: its new checkpoint, and that it continues the one of `old_size` leaves. `proof`: at most 63 hashes."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: Note

    @property
    def head(self) -> Checkpoint:
        """What the checkpoint says. Raises: InvalidNote."""
        return head_of(self.checkpoint.text)

    def __str__(self) -> str:
        """The body of the request."""
        lines = [f"old {self.old_size}", *(base64.b64encode(one).decode() for one in self.proof)]
        return "\n".join(lines) + "\n\n" + str(self.checkpoint)

    @classmethod
    def parse(cls, body: bytes) -> "AddCheckpoint":
        """What `str` gives, and nothing else. Raises: InvalidNote."""
        if len(body) > REQUEST_BYTES_MAX:
            msg = f"a request may have {REQUEST_BYTES_MAX} bytes"
            raise InvalidNote(msg)
        above, separator, note = body.partition(b"\n\n")
        try:
            first, *lines = above.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            msg = "an old size and hashes are ASCII, and this is not"
            raise InvalidNote(msg) from error
        old = _OLD.match(first)
        if not separator or old is None or int(old.group(1)) > SIZE_MAX:
            msg = f"not a request to a witness (`old` and a size, hashes, an empty line, a checkpoint): {first[:200]!r}"
            raise InvalidNote(msg)
        if len(lines) > PROOF_LINES_MAX:
            msg = f"a consistency proof has at most {PROOF_LINES_MAX} hashes, and this one has {len(lines)}"
            raise InvalidNote(msg)
        request = cls(int(old.group(1)), tuple(_hash(line) for line in lines), Note.parse(note))
        _ = request.head  # a note that is no checkpoint is no request
        return request


def _hash(line: str) -> bytes:
    try:
        decoded = base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error) as error:
        msg = f"not a hash in base64: {line[:200]!r}"
        raise InvalidNote(msg) from error
    if len(decoded) != HASH_BYTES or base64.b64encode(decoded).decode() != line:
        msg = f"not a hash of {HASH_BYTES} bytes in base64: {line[:200]!r}"
        raise InvalidNote(msg)
    return decoded


# -- the answer -----------------------------------------------------------------------------------------------------------------


class Suspicion(StrEnum):
    """Why a refused checkpoint is worth keeping: the log's key has signed it."""

    FORKED = "forked"
    """Two checkpoints of one size and different roots, both signed: proof that the log shows different people different things."""
    UNPROVEN = "unproven"
    """Nothing showed that it continues what was cosigned. The log may be forked, or somebody sent its checkpoint with a wrong proof."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """200. `checkpoint`: the text and the signatures of the log's trusted keys; persist it, then answer with a cosignature on it."""

    checkpoint: Note


@dataclass(frozen=True, slots=True)
class Refused:
    """400, 403, 404, 409 or 422. `size`: the body of a 409, the size of the last cosigned checkpoint."""

    status: HTTPStatus
    why: str
    size: int | None = None
    suspicion: Suspicion | None = None


UNKNOWN_LOG = Refused(HTTPStatus.NOT_FOUND, "this witness does not know the log with this origin")


def logs_of(keys: Iterable[VerifierKey]) -> dict[str, tuple[VerifierKey, ...]]:
    """The trusted keys by origin, which is the name of a log's keys; several keys of one name are one log's.

    Raises: InvalidNote: a key is a witness's.
    """
    logs: dict[str, tuple[VerifierKey, ...]] = {}
    for key in keys:
        if key.algorithm is not Algorithm.ED25519:
            msg = f"{key} is the key of a witness, and a log's checkpoints are signed with a key of type {Algorithm.ED25519.value}"
            raise InvalidNote(msg)
        logs[key.name] = (*logs.get(key.name, ()), key)
    return logs


def answer_to(  # noqa: PLR0911  # one return for each answer of the specification
    request: AddCheckpoint, trusted: Mapping[str, Sequence[VerifierKey]], last: Checkpoint | None
) -> Accepted | Refused:
    """What a witness answers, rule by rule as c2sp.org/tlog-witness has them.

    Args:
        trusted: the keys of each log, by its origin.
        last: the latest checkpoint of this log that was cosigned; None: there was none. Nobody may replace it between reading it and
            persisting what is accepted here.
    Raises: ValueError: `last` is of another log.
    """
    head = request.head
    if last is not None and last.origin != head.origin:
        msg = f"{last.origin!r} is another log than {head.origin!r}"
        raise ValueError(msg)
    old_size, old_root = (0, EMPTY_ROOT) if last is None else (last.size, last.root)
    # 1. An unknown origin: 404.
    if not (keys := trusted.get(head.origin)):
        return UNKNOWN_LOG
    # 2. No signature by a trusted key, or a forged one: 403. Signatures of unknown keys are ignored, and dropped.
    try:
        signers = {(one.key.name, one.key.id) for one in verified(request.checkpoint, keys)}
    except InvalidNote as error:
        return Refused(HTTPStatus.FORBIDDEN, str(error))
    forked = Suspicion.FORKED if head.size == old_size and head.root != old_root else None
    # 3. An old size beyond the checkpoint's: 400.
    if request.old_size > head.size:
        return Refused(
            HTTPStatus.BAD_REQUEST, f"a log of {head.size} entries does not continue one of {request.old_size}", None, forked
        )  # fmt: skip
    # 4. Another old size than the last cosigned one: 409, with that one.
    if request.old_size != old_size:
        return Refused(HTTPStatus.CONFLICT, f"the last cosigned checkpoint has {old_size} entries", old_size, forked)
    # 5. The same size and another root: 409. Who gets back the size that he sent knows which of both it is.
    if forked:
        return Refused(HTTPStatus.CONFLICT, f"another root was cosigned for {old_size} entries: the log was forked", old_size, forked)
    # 6. A consistency proof that does not verify, or is not empty where it must be: 422.
    if old_size in (0, head.size):
        if request.proof:
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"nothing needs proof between {old_size} and {head.size} entries")
    else:
        try:
            verify_consistency(old_size, head.size, old_root, head.root, request.proof)
        except InvalidProof as error:
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), None, Suspicion.UNPROVEN)
    # 7. All checks pass: 200.
    kept = (one for one in request.checkpoint.signatures if (one.name, one.key_id) in signers)
    return Accepted(Note(request.checkpoint.text, tuple(dict.fromkeys(kept))))
