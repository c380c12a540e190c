"""Obtains a witness's cosignature on a log's head. Asks and verifies; keeps nothing.

Source: c2sp.org/tlog-witness.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from verdigris.ledger.errors import LedgerError
from verdigris.ledger.merkle import SIZE_MAX
from verdigris.ledger.note import Algorithm, InvalidNote, Note, Signature, VerifierKey, parse_signature, verified
from verdigris.ledger.outside import Reply, post
from verdigris.ledger.witness import PATH, SIZE_MEDIA, AddCheckpoint, head_of

LIMIT_S = 10.0
"""For each question."""

QUESTIONS_MAX = 4
"""The first may be of a wrong size, and so may others where somebody else sends checkpoints of the same log."""

ANSWER_BYTES_MAX = 64 * 1024
SIGNATURES_MAX = 64

_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n\Z")
_SHOWN_CHARS = 300


class WitnessFailed(LedgerError):
    """A witness gave no cosignature. Safe: asking changed nothing, and the log's own signature stands; this head is not remembered
    outside, so nobody would see it cut off. Ask again, unless `contradicted`: then the witness holds a head that this one does not
    continue. If this one is the log's newest, keep both, and find out which of both was changed before the log is trusted.
    """

    def __init__(self, message: str, *, contradicted: bool = False) -> None:
        super().__init__(message)
        self.contradicted = contradicted


@dataclass(frozen=True, slots=True)
class Witness:
    """Somebody who remembers heads for us.

    Args:
        url: its submission prefix.
        key: whose cosignature counts; of type `Algorithm.COSIGNATURE`.
        ca: certificates (PEM) that https is verified with; None: the ones that the system trusts.
        limit_s: how long each question may take.
    Raises: WitnessFailed: the key is of another type.
    """

    url: str
    key: VerifierKey
    ca: Path | None = None
    limit_s: float = LIMIT_S

    def __post_init__(self) -> None:
        if self.key.algorithm is not Algorithm.COSIGNATURE:
            msg = f"{self.key} is no witness's key: that has type {Algorithm.COSIGNATURE.value}"
            raise WitnessFailed(msg)


def cosignature(head: Note, consistency: Callable[[int], list[bytes]], witness: Witness, old_size: int = 0) -> Signature:
    """Ask the witness to cosign the head. Returns its signature line; the caller adds it to the note.

    Args:
        head: a signed checkpoint.
        consistency: the proof that *this* head continues the one of a size; of that of a longer log the witness could not tell.
        old_size: what the witness is believed to have cosigned last, at most the head's size; it says so itself if that is wrong.
    Raises: WitnessFailed, and what `consistency` raises.
    """
    size = head_of(head.text).size
    for _ in range(QUESTIONS_MAX):
        request = AddCheckpoint(old_size, tuple(consistency(old_size)) if 0 < old_size < size else (), head)
        reply = post(
            witness.url.rstrip("/") + PATH, str(request).encode(), "text/plain; charset=utf-8",
            ca=witness.ca, limit_s=witness.limit_s, bytes_max=ANSWER_BYTES_MAX, failed=WitnessFailed,
        )  # fmt: skip
        if reply.status == HTTPStatus.OK:
            return _verified(reply, head, witness)
        if reply.status != HTTPStatus.CONFLICT:
            raise _refused(reply, witness)
        old_size = _asked_for(reply, old_size, size, witness)
    msg = f"{witness.key.name} named another size {QUESTIONS_MAX} times; somebody else sends it checkpoints of this log. Ask again later"
    raise WitnessFailed(msg)


def _verified(reply: Reply, head: Note, witness: Witness) -> Signature:
    """The witness's own line, if it is right; cosignatures by others are ignored."""
    try:
        signatures = _signatures(reply.body.decode("utf-8"))
        mine = tuple(one for one in signatures if (one.name, one.key_id) == (witness.key.name, witness.key.id))
        verified(Note(head.text, mine), [witness.key])
    except (UnicodeDecodeError, InvalidNote) as error:
        msg = f"what {witness.url} answered is not a cosignature by {witness.key.name}: {error}"
        raise WitnessFailed(msg) from error
    return mine[0]


def _signatures(text: str) -> list[Signature]:
    *lines, end = text.split("\n")
    if end or len(lines) > SIGNATURES_MAX:
        msg = f"not up to {SIGNATURES_MAX} signature lines"
        raise InvalidNote(msg)
    return [parse_signature(line) for line in lines]


def _asked_for(reply: Reply, sent: int, size: int, witness: Witness) -> int:
    """The size that a 409 names, where a proof from it can be made."""
    found = _SIZE.match(reply.body.decode("ascii", "replace")) if reply.media == SIZE_MEDIA else None
    if found is None or int(found.group(1)) > SIZE_MAX:
        # The size must be named unless it was right, and then only another root is in conflict.
        msg = f"{witness.url} answered 409 without a tree size ({reply.media or 'no type'}): {_shown(reply)}"
        raise WitnessFailed(msg, contradicted=sent == size)
    cosigned = int(found.group(1))
    if cosigned > size:
        msg = (
            f"{witness.key.name} has cosigned {cosigned} entries of this log, and this head has {size}: it is an old one, "
            "or the log was cut off"
        )
        raise WitnessFailed(msg, contradicted=True)
    if cosigned == sent == size:
        msg = f"{witness.key.name} has cosigned another root for {size} entries: the log was forked"
        raise WitnessFailed(msg, contradicted=True)
    if cosigned == sent:
        msg = f"{witness.url} refused the size that it had named itself ({sent})"
        raise WitnessFailed(msg)
    return cosigned


def _refused(reply: Reply, witness: Witness) -> WitnessFailed:
    why = f"{witness.key.name} at {witness.url} answered {reply.status}"
    match reply.status:
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            msg = f"{why}: this log does not continue what it has cosigned, or the proof is of another head. {_shown(reply)}"
            return WitnessFailed(msg, contradicted=True)
        case HTTPStatus.NOT_FOUND:
            msg = f"{why}: it does not know this log, or this is not its address. Give its operator the log's verifier key. {_shown(reply)}"
        case HTTPStatus.FORBIDDEN:
            msg = f"{why}: it does not trust the key that signed this head. Give its operator the new one. {_shown(reply)}"
        case _:
            msg = f"{why}: {_shown(reply)}"
    return WitnessFailed(msg)


def _shown(reply: Reply) -> str:
    """What it says, as far as a terminal may see it."""
    text = reply.body[: 4 * _SHOWN_CHARS].decode("utf-8", "replace")[:_SHOWN_CHARS]
    return "".join(c if c.isprintable() else " " for c in text).strip()
