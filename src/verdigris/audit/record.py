"""A guard's record, opened to be read: its log, what its entries say, and the evidence they name. Writes nothing, and needs no guard."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from verdigris.audit.errors import NoRecord, NoSuchEntry
from verdigris.compliance.consent import OF_REVIEWS
from verdigris.database import CannotBeRead, open_postgresql_to_read, open_sqlite_to_read
from verdigris.ledger import evidence
from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.evidence import EvidenceDamaged
from verdigris.ledger.log import Hashes, read_entries
from verdigris.ledger.merkle import consistency_proof, inclusion_proof
from verdigris.ledger.note import Note, VerifierKey, verified
from verdigris.ledger.proof_file import ProofFile
from verdigris.ledger.signing import KEYS_FILE, verifier_keys
from verdigris.ledger.sql_storage import LogTables
from verdigris.ledger.stamps import STAMPS, Kept, checkpoint_file, kept
from verdigris.ledger.statement import Statement, opened
from verdigris.ledger.storage import CHECKPOINT, LOG_FOLDER, LogFolder, Storage
from verdigris.ledger.witness import AddCheckpoint
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

    def entries(self) -> Sequence[Entry]:
        """Every entry, read and opened once. Raises: InvalidEntry, InvalidTile."""
        return self._entries

    @cached_property
    def _entries(self) -> tuple[Entry, ...]:
        size = self.checkpoint.size
        read = enumerate(read_entries(self._storage, size, 0, size))
        return tuple(Entry(index, content, opened(content, self.keys)[0]) for index, content in read)

    def rollouts(self) -> dict[str, list[Entry]]:
        """The entries of each rollout by its id, the rollouts in the order in which they began."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries():
            if entry.statement.rollout is not None:
                found.setdefault(entry.statement.rollout, []).append(entry)
        return found

    def erasures(self) -> list[Entry]:
        """The entries that call evidence erased; they belong to no rollout."""
        return [entry for entry in self.entries() if entry.statement.kind is Kind.EVIDENCE_ERASED]

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

    def consistency(self, size: int) -> AddCheckpoint:
        """That the head continues the log of `size` entries, of which there were some. Raises: NoSuchEntry, InvalidTile."""
        if not 0 < size <= self.checkpoint.size:
            msg = f"the log has {self.checkpoint.size} entries: it does not continue one of {size}"
            raise NoSuchEntry(msg)
        hashes = Hashes(self._storage, self.checkpoint.size)
        return AddCheckpoint(size, tuple(consistency_proof(size, self.checkpoint.size, hashes)), self.head)

    def log_files(self) -> "StorageFiles":
        """The log as the verifier reads files."""
        return StorageFiles(self._storage)

    def stamp_files(self) -> "StorageFiles":
        """The time stamps, and the heads that they are over, as the verifier reads files."""
        return StorageFiles(self._storage, STAMPS)

    def stamps(self) -> list[Kept]:
        """The time stamps over heads up to this one, the smallest first. Raises: LedgerUnavailable."""
        return [one for one in kept(self._storage) if one.size <= self.checkpoint.size]

    def stamp(self, one: Kept) -> dict[str, bytes]:
        """What is kept of a stamp, by name: itself and the head that it is over; nothing where one of both is gone."""
        found = {name: self._storage.read(f"{STAMPS}/{name}") for name in (checkpoint_file(one.size), one.file)}
        return {name: content for name, content in found.items() if content is not None} if all(found.values()) else {}

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


class StorageFiles:
    """A log's bytes as the verifier reads files, wherever they are kept."""

    def __init__(self, storage: Storage, folder: str = "") -> None:
        """All, or what is directly in one folder: then the names are without it, and can be listed."""
        self._storage, self._folder = storage, folder

    def names(self) -> dict[str, int]:
        """What was written in the folder; sizes are not told."""
        return dict.fromkeys(self._storage.listed(self._folder), 0)

    def chunks(self, name: str, limit: int) -> Iterator[bytes] | None:
        """A file's bytes; of one that is too large so many that it cannot be right."""
        whole = f"{self._folder}/{name}" if self._folder else name
        content = self._storage.head() if whole == CHECKPOINT else self._storage.read(whole)
        return None if content is None else iter((content[: limit + 1],))


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
def open_record(place: Path | str, trusted: Sequence[VerifierKey] = ()) -> Iterator[Record]:
    """The record in a guard's state folder, or in the PostgreSQL of several guards by its URL; nothing is written to either.

    Raises: as `Record`.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(place, Path):
            storage, engine, keys = _in_folder(place)
            stack.callback(engine.dispose)
        else:
            engine = open_postgresql_to_read(postgresql_url(place))
            stack.callback(engine.dispose)
            storage, keys = _in_tables(engine)
        yield Record(storage, engine, tuple(dict.fromkeys((*keys, *trusted))))


def is_url(text: str) -> bool:
    """Whether a place is a database and no folder."""
    return "://" in text


def postgresql_url(text: str) -> sa.URL:
    """The address of a record in PostgreSQL, without a password. Raises: NoRecord."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError) as error:
        msg = "this is no address of a database; write postgresql://user@host/database"
        raise NoRecord(msg) from error
    if url.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        msg = f"a record is in a state folder or in PostgreSQL, not in {url.drivername!r}; write postgresql://user@host/database"
        raise NoRecord(msg)
    if url.password is not None or {"password", "passfile"} & set(url.query):
        msg = (
            "the address has a password in it, and everybody on this machine can read a command line. Leave it out, and put it into the "
            "environment variable PGPASSWORD, or into a file that PGPASSFILE names"
        )
        raise NoRecord(msg)
    return url.set(drivername="postgresql+psycopg")


def _in_folder(folder: Path) -> tuple[Storage, sa.Engine, tuple[VerifierKey, ...]]:
    try:
        lines = (folder / KEYS_FILE).read_text(encoding="utf-8")
    except OSError as error:
        msg = f"there is no record in {folder}: {error.strerror or error}. Give the guard's state folder with --state"
        raise NoRecord(msg) from error
    records = folder / RECORDS_FILE
    if not (records.exists() and (folder / LOG_FOLDER).is_dir()):
        msg = f"there is no record in {folder}: {RECORDS_FILE} or {LOG_FOLDER} is missing. Give the guard's state folder with --state"
        raise NoRecord(msg)
    keys = verifier_keys(lines)
    try:
        return LogFolder(folder / LOG_FOLDER, to_read=True), open_sqlite_to_read(records), keys
    except CannotBeRead as error:
        raise NoRecord(str(error)) from error


def _in_tables(engine: sa.Engine) -> tuple[Storage, tuple[VerifierKey, ...]]:
    tables = LogTables(engine, to_read=True)
    if not tables.exists():
        msg = "there is no record in this database: no guard has made one there"
        raise NoRecord(msg)
    return tables, verifier_keys("\n".join(tables.keys()))
