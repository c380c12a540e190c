"""The guard's ledger: where it lies, who signs it, and whose earlier signatures are believed. Made on the first start."""

import secrets
from pathlib import Path

import sqlalchemy as sa

from verdigris.errors import VerdigrisError
from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.ledger import Ledger
from verdigris.ledger.log import Log
from verdigris.ledger.note import InvalidNote, Note, VerifierKey
from verdigris.ledger.signing import KEYS_FILE, CommandSigner, KeySigner, Signer, new_key, read_key, verifier_keys
from verdigris.ledger.sql_storage import LogTables
from verdigris.ledger.storage import LOG_FOLDER, LogFolder, Storage
from verdigris.rollout.records import OpenLedger
from verdigris.server.settings import GuardSettings, LedgerSettings

KEY_FILE = "ledger.key"


class LedgerNotSetUp(VerdigrisError):
    """The guard cannot sign its ledger, or does not know whose ledger it is. Safe: nothing was started and nothing was written."""


def ledger_opener(settings: GuardSettings, state_folder: Path, *, rotating: bool = False) -> OpenLedger:
    """What opens the ledger once the database is there. Raises: LedgerNotSetUp; the opener also KeyUnusable, LedgerDamaged, …."""
    asked = settings.ledger
    if not rotating and (fresh := waiting_key(asked.key or state_folder / KEY_FILE)).exists():
        msg = f"a rotation of the ledger's key was interrupted ({fresh} is there); finish it: verdigris key rotate"
        raise LedgerNotSetUp(msg)
    if settings.database_url is not None and asked.key is None and asked.signer is None:
        msg = (
            "several guards share one ledger in the database: give each of them `ledger.key` (the same file's key, or its own with all "
            "others in `ledger.trusted`); `verdigris key new FILE` makes one"
        )
        raise LedgerNotSetUp(msg)

    def open_ledger(engine: sa.Engine) -> Ledger:
        folder = asked.folder or state_folder / LOG_FOLDER
        storage: Storage = LogFolder(folder) if settings.database_url is None else LogTables(engine)
        origin = _origin(storage, asked.origin)
        signer = signer_of(asked, state_folder, origin, fresh=storage.head() is None)
        trusted = (*known_keys(state_folder), *asked.trusted)
        remember_key(state_folder, signer.key)
        if isinstance(storage, LogTables):
            for key in known_keys(state_folder):
                storage.remember(str(key))
        return Ledger(Log(storage, origin, signer, trusted), signer, trusted)

    return open_ledger


def signer_of(asked: LedgerSettings, state_folder: Path, origin: str, *, fresh: bool) -> Signer:
    """Who signs. Where nothing is asked for, a key in the state folder, made for a ledger that has nothing in it yet.

    Raises: LedgerNotSetUp, KeyUnusable.
    """
    if asked.signer is not None and asked.signer_key is not None:
        return CommandSigner(asked.signer_key, asked.signer)
    file = asked.key or state_folder / KEY_FILE
    if not file.exists():
        if asked.key is not None or not fresh:
            msg = f"the ledger's key {file} is not there; put it back, or rotate to a new one with `verdigris key rotate`"
            raise LedgerNotSetUp(msg)
        return KeySigner(origin, new_key(file))
    return KeySigner(origin, read_key(file))


def waiting_key(file: Path) -> Path:
    """Where the key that is to take over lies until it has."""
    return file.with_name(f"{file.name}.new")


def known_keys(state_folder: Path) -> tuple[VerifierKey, ...]:
    """The keys that have signed this ledger so far. Raises: LedgerNotSetUp."""
    file = state_folder / KEYS_FILE
    try:
        return verifier_keys(file.read_text(encoding="utf-8")) if file.exists() else ()
    except (OSError, UnicodeDecodeError, InvalidNote) as error:
        msg = f"{file} cannot be read: {error}"
        raise LedgerNotSetUp(msg) from error


def remember_key(state_folder: Path, key: VerifierKey) -> None:
    """Add a key to those that have signed this ledger. What an auditor is given; it is public. Raises: LedgerNotSetUp."""
    if key in known_keys(state_folder):
        return
    try:
        with (state_folder / KEYS_FILE).open("a", encoding="utf-8") as lines:
            lines.write(f"{key}\n")
    except OSError as error:
        msg = f"{state_folder / KEYS_FILE} cannot be written: {error.strerror or error}"
        raise LedgerNotSetUp(msg) from error


def _origin(storage: Storage, asked: str | None) -> str:
    """The log's name: as it began, as asked, or one of its own. Raises: LedgerNotSetUp."""
    written = storage.head()
    if written is None:
        return asked or f"verdigris.local/{secrets.token_hex(4)}"
    try:
        origin = Checkpoint.parse(Note.parse(written).text).origin
    except InvalidNote as error:
        msg = f"the ledger's checkpoint cannot be read: {error}. Keep the files as they are; `verdigris audit verify` says more"
        raise LedgerNotSetUp(msg) from error
    if asked is not None and asked != origin:
        msg = f"the settings name the ledger {asked!r}, and it is {origin!r}; a ledger keeps its name"
        raise LedgerNotSetUp(msg)
    return origin
