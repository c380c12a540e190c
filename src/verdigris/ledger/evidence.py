"""Evidence: blobs named by their SHA-256, compressed, in the database beside what speaks of them. Erasing one breaks no log: its name
stays in the entries, and what it said is gone.

Everything here works inside a caller's transaction, so that a blob and what names it are kept together or not at all.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785
import sqlalchemy as sa
import zstandard

from verdigris.ledger.errors import LedgerError

BLOB_BYTES_MAX = 64_000_000
SALT_BYTES = 16

METADATA = sa.MetaData()
_BLOBS = sa.Table(
    "verdigris_evidence", METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)  # fmt: skip


class EvidenceDamaged(LedgerError):
    """A blob is not what its name says: somebody changed it. Safe: it was not used; whatever rests on it cannot be shown any more."""


def put(connection: sa.Connection, content: bytes) -> str:
    """Keep a blob. Returns its name. Again is harmless. Until the transaction ends, nobody erases it."""
    digest = hashlib.sha256(content).hexdigest()
    if connection.execute(sa.select(_BLOBS.c.digest).where(_BLOBS.c.digest == digest).with_for_update(read=True)).first() is None:
        connection.execute(_BLOBS.insert().values(digest=digest, content=zstandard.compress(content)))
    return digest


def get(connection: sa.Connection, digest: str) -> bytes | None:
    """A blob; None where it was erased or never kept. Raises: EvidenceDamaged."""
    row = connection.execute(sa.select(_BLOBS.c.content).where(_BLOBS.c.digest == digest)).first()
    if row is None:
        return None
    try:
        content = zstandard.ZstdDecompressor().decompress(bytes(row.content), max_output_size=BLOB_BYTES_MAX)
    except zstandard.ZstdError as error:
        msg = f"evidence {digest} cannot be unpacked: {error}"
        raise EvidenceDamaged(msg) from error
    if hashlib.sha256(content).hexdigest() != digest:
        msg = f"evidence {digest} was changed: its content has another SHA-256"
        raise EvidenceDamaged(msg)
    return content


def names(connection: sa.Connection) -> list[str]:
    """The names of all blobs."""
    return [row.digest for row in connection.execute(sa.select(_BLOBS.c.digest).order_by(_BLOBS.c.digest))]


def kept(digests: sa.Select[Any]) -> sa.Select[Any]:
    """Of a selection of digests, those of which there is a blob."""
    named = digests.subquery()
    return sa.select(_BLOBS.c.digest).where(_BLOBS.c.digest.in_(sa.select(named.c[0]))).order_by(_BLOBS.c.digest)


def seized(connection: sa.Connection, digests: Sequence[str]) -> list[str]:
    """Lock blobs until the transaction ends, so that they can be erased. Returns those that are there and that nobody is about to name."""
    chosen = sa.select(_BLOBS.c.digest).where(_BLOBS.c.digest.in_(digests)).order_by(_BLOBS.c.digest)
    return [row.digest for row in connection.execute(chosen.with_for_update(skip_locked=True))]


def erase(connection: sa.Connection, digests: Sequence[str]) -> None:
    """Erase blobs that were seized. Their names stay wherever they stand."""
    connection.execute(_BLOBS.delete().where(_BLOBS.c.digest.in_(digests)))


def salted(document: Mapping[str, Any]) -> bytes:
    """A details blob: RFC 8785 JSON with a random salt, so that its name lets nobody guess what it says."""
    return rfc8785.dumps({"salt": secrets.token_hex(SALT_BYTES), **document})
