"""A guard's record, opened to be read: its log, what its entries say, and the evidence they name. Writes nothing, and needs no guard."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from verdigris.audit.errors import NoRecord, NoSuchEntry
from verdigris.compliance.consent import OF_REVIEWS
from verdigris.database import open_engine
from verdigris.ledger import evidence
from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.evidence import EvidenceDamaged
from verdigris.ledger.log import Hashes, read_entries
from verdigris.ledger.merkle import inclusion_proof
from verdigris.ledger.note import Note, VerifierKey, verified
from verdigris.ledger.proof_file import ProofFile
from verdigris.ledger.signing import KEYS_FILE, verifier_keys
from verdigris.ledger.sql_storage import LogTables
from verdigris.ledger.statement import Statement, opened
from verdigris.ledger.storage import LOG_FOLDER, LogFolder, Storage
from verdigris.times import NANO

RECORDS_FILE = "rollouts.sqlite"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its place, its bytes, and what it says."""

    index: int
    content: bytes
    statement: Statement


class Record:
    """A log at its head, and the evidence beside it."""

    def __init__(self, storage: Storage, engine: sa.Engine, keys: tuple[VerifierKey, ...]) -> None:
        """Raises: NoRecord, InvalidNote: the head is not signed by any of the keys. LedgerUnavailable."""
        self._storage, self._engine, self.keys = storage, engine, keys
        written = storage.head()
        if written is None:
            msg = "the ledger has not been begun yet: it has no checkpoint"
            raise NoRecord(msg)
        self.head = Note.parse(written)
        verified(self.head, keys)
        self.checkpoint = Checkpoint.parse(self.head.text)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Every entry from an index on. Raises: InvalidEntry, InvalidTile."""
        size = self.checkpoint.size
        for index, content in enumerate(read_entries(self._storage, size, min(start, size), size), start):
            yield Entry(index, content, opened(content, self.keys)[0])

    def rollouts(self) -> dict[str, list[Entry]]:
        """The entries of each rollout by its id, the rollouts in the order in which they began."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries():
            if entry.statement.rollout is not None:
                found.setdefault(entry.statement.rollout, []).append(entry)
        return found

    def reviews(self) -> tuple[tuple[Entry, ...], float]:
        """The entries of all rollouts that tell which overrides of freezes were reviewed, and until when the log goes (seconds since 1970).

        Raises: InvalidEntry, InvalidTile.
        """
        found, newest = [], 0
        for entry in self.entries():
            newest = max(newest, entry.statement.unix_nano)
            if entry.statement.kind in OF_REVIEWS:
                found.append(entry)
        return tuple(found), newest / NANO

    def of(self, rollout_id: str) -> tuple[Entry, ...]:
        """The entries of one rollout: by its id, a unique beginning of it, or "latest". Raises: NoSuchEntry."""
        by_rollout = self.rollouts()
        if rollout_id == "latest" and by_rollout:
            return tuple(by_rollout[list(by_rollout)[-1]])
        meant = [name for name in by_rollout if name == rollout_id] or [name for name in by_rollout if name.startswith(rollout_id)]
        if len(meant) != 1 or not rollout_id:
            what = "no rollout" if not meant else "more than one rollout whose id begins with"
            msg = f"the record has {what} {rollout_id!r}; `verdigris audit population` lists them"
            raise NoSuchEntry(msg)
        return tuple(by_rollout[meant[0]])

    def proof(self, index: int) -> ProofFile:
        """That an entry is in the log, as of its head. Raises: NoSuchEntry."""
        size = self.checkpoint.size
        if not 0 <= index < size:
            msg = f"the log has {size} entries, counted from 0; there is no entry {index}"
            raise NoSuchEntry(msg)
        return ProofFile(index, tuple(inclusion_proof(index, size, Hashes(self._storage, size))), self.head)

    def evidence_names(self) -> list[str]:
        """The SHA-256 of every blob that is kept. Raises: NoRecord."""
        try:
            with self._engine.connect() as connection:
                return evidence.names(connection)
        except SQLAlchemyError as error:
            msg = f"the evidence cannot be read: {error}"
            raise NoRecord(msg) from error

    def evidence(self, digest: str) -> bytes | None:
        """A blob by its SHA-256; None where it was erased or never kept. Raises: EvidenceDamaged, NoRecord."""
        try:
            with self._engine.connect() as connection:
                return evidence.get(connection, digest)
        except SQLAlchemyError as error:
            msg = f"the evidence cannot be read: {error}"
            raise NoRecord(msg) from error


class EvidenceFiles:
    """A record's evidence as the verifier reads files: by digest."""

    def __init__(self, record: Record) -> None:
        """All of it."""
        self._record = record

    def names(self) -> dict[str, int]:
        """Every blob's name; sizes are not told."""
        return dict.fromkeys(self._record.evidence_names(), 0)

    def chunks(self, name: str, limit: int) -> Iterator[bytes] | None:
        """A blob's bytes; one that is damaged has others than its name says."""
        try:
            blob = self._record.evidence(name)
        except EvidenceDamaged:
            return iter((b"damaged",))
        return None if blob is None else iter((blob[:limit],))


@contextlib.contextmanager
def open_record(state_folder: Path, database_url: str | None = None, trusted: Sequence[VerifierKey] = ()) -> Iterator[Record]:
    """The record in a guard's state folder, or in the database of several guards. Raises: as `Record`."""
    try:
        lines = (state_folder / KEYS_FILE).read_text(encoding="utf-8")
    except OSError as error:
        msg = f"there is no record in {state_folder}: {error.strerror or error}. Give the guard's state folder with --state"
        raise NoRecord(msg) from error
    keys = (*verifier_keys(lines), *trusted)
    records = state_folder / RECORDS_FILE
    if database_url is None and not (records.exists() and (state_folder / LOG_FOLDER).is_dir()):
        msg = f"there is no record in {state_folder}: {RECORDS_FILE} or {LOG_FOLDER} is missing. Give the guard's state folder with --state"
        raise NoRecord(msg)
    engine = open_engine(database_url or f"sqlite:///{records}")
    try:
        storage: Storage = LogFolder(state_folder / LOG_FOLDER) if database_url is None else LogTables(engine)
        yield Record(storage, engine, keys)
    finally:
        engine.dispose()
