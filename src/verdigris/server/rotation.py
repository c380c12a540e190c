"""A new key takes over a ledger: an entry signed by both says so, and from then on only the new one signs.

1. the new key's file, durable          a crash here or later: the guard does not start until the rotation is finished
2. the new key among the known ones     what it signs can be read
3. the entry, signed by both
4. the files change places              the old one is kept under another name
5. the head, signed by the new one
"""

from importlib import metadata
from pathlib import Path

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.ledger import Ledger
from verdigris.ledger.note import VerifierKey
from verdigris.ledger.signing import KeySigner, new_key, read_key
from verdigris.ledger.statement import key_id
from verdigris.rollout.journal import Act
from verdigris.rollout.records import Records
from verdigris.server.guard import guard_name, records_url
from verdigris.server.ledger_of import KEY_FILE, LedgerNotSetUp, ledger_opener, remember_key, waiting_key
from verdigris.server.settings import GuardSettings
from verdigris.server.unix_socket import SOCKET_NAME, locked
from verdigris.telemetry.clock import GuardClock


def rotate(settings: GuardSettings) -> VerifierKey:
    """Rotate, or finish what was interrupted. Returns the new verifier key.

    Raises: LedgerNotSetUp, CannotListen: a guard is running; KeyUnusable, LedgerUnavailable, LedgerDamaged, RecordsUnavailable.
    """
    if settings.ledger.signer is not None:
        msg = "the key is held by an outside signer: rotate it there, and begin a new ledger with the new one"
        raise LedgerNotSetUp(msg)
    folder = settings.state_folder.resolve()
    file = settings.ledger.key or folder / KEY_FILE
    if not file.exists():
        msg = f"there is no key {file}: nothing to rotate"
        raise LedgerNotSetUp(msg)
    with locked(folder / SOCKET_NAME):
        fresh = waiting_key(file)
        if not fresh.exists():
            new_key(fresh)
        new = _enter(settings, folder, fresh)
        file.replace(_old_name(file))
        fresh.replace(file)
        records = Records(records_url(settings), ledger_opener(settings, folder))  # signs the head with the new key
        records.close()
    return new


def _enter(settings: GuardSettings, folder: Path, fresh: Path) -> VerifierKey:
    """Steps 2 and 3."""
    records = Records(records_url(settings), ledger_opener(settings, folder, rotating=True))
    try:
        ledger = records.ledger
        assert isinstance(ledger, Ledger)  # noqa: S101  # it was opened with one
        new = KeySigner(Checkpoint.parse(ledger.log.head.text).origin, read_key(fresh))
        remember_key(folder, new.key)
        old_id, new_id = key_id(ledger.signer.key), key_id(new.key)
        name = guard_name(folder)
        with ledger.signed_also_by(new):
            records.enter_guards(name)  # perhaps the rotation itself waits from before
            if not any(s.kind is Kind.KEY_ROTATED and s.values["new"] == new_id for _, s in ledger.since(0)):
                text = f"key {new_id[:12]} takes over from {old_id[:12]}"
                values = {"old": old_id, "new": new_id}
                act = Act(Kind.KEY_ROTATED, f"guard {name}", text, {"version": metadata.version("verdigris")}, values)
                records.note_guard(name, GuardClock().now_unix_s(), act)
                records.enter_guards(name)  # a note that cannot be entered waits; a rotation does not go on without it
    finally:
        records.close()
    return new.key


def _old_name(file: Path) -> Path:
    number = 1
    while (old := file.with_name(f"{file.name}.old-{number}")).exists():
        number += 1
    return old
