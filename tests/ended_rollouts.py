"""Rollouts that have ended, with evidence and words, on records with a ledger: for tests of what is erased of them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa
from tests.unit.ledger_keys import signer
from tests.unit.ledger_logs import ORIGIN
from tests.unit.plans import PLAN

from verdigris.audit.verify import Folder, Report, verify_log_files
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.ledger import Ledger
from verdigris.ledger.log import Log
from verdigris.ledger.sql_storage import LogTables
from verdigris.ledger.statement import Statement, named_evidence
from verdigris.ledger.storage import LogFolder, Storage
from verdigris.rollout.records import Claim, Records
from verdigris.rollout.transitions import Event

NOW = 1_790_000_000.0
DAY_S = 86_400.0
KEPT_S = 30 * DAY_S

TABLES = (
    "rollouts", "generations", "journal", "guard_journal", "requests", "looks", "evidence", "approvals", "shown", "reviews", "erasures",
    "erasing", "evidence_named", "evidence_read", "ledger_files", "ledger_commits", "ledger_head",
)  # fmt: skip


def emptied(url: str) -> None:
    """Drop every table of a server that several tests use."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS " + ", ".join(f"verdigris_{table}" for table in TABLES)))
    engine.dispose()


class Guarded:
    """Records as one guard opens them, with the ledger: in a folder, or in the same database."""

    def __init__(self, url: str, folder: Path, storage: Storage | None = None) -> None:
        self.url, self.folder, self._storage = url, folder, storage
        self.records = Records(url, self._opened)

    def _opened(self, engine: sa.Engine) -> Ledger:
        storage = self._storage or (LogFolder(self.folder) if self.url.startswith("sqlite") else LogTables(engine))
        self.ledger = Ledger(Log(storage, ORIGIN, signer()), signer())
        return self.ledger

    def statements(self, kind: Kind | None = None) -> list[Statement]:
        return [statement for _, statement in self.ledger.since(0) if kind in {None, statement.kind}]

    def erased(self) -> list[str]:
        """What entries say to be erased, in order."""
        return [digest for statement in self.statements(Kind.EVIDENCE_ERASED) for digest in _digests(statement)]

    def kept(self, digests: Sequence[str]) -> list[str]:
        return [digest for digest in digests if self.records.evidence(digest) is not None]

    def named(self, rollout_id: str) -> set[str]:
        """Every blob that a rollout's entries name."""
        return {d for s in self.statements() if s.rollout == rollout_id for d in named_evidence(s)}

    def verified(self) -> Report:
        """The log by the independent verifier, with all evidence that is there. On files only."""
        return verify_log_files(Folder(self.folder, links=True), [str(signer().key)])

    def said(self, statement: Statement) -> str:
        return str(json.loads(self.records.evidence(statement.details or "") or b"{}").get("text", ""))


def _digests(statement: Statement) -> tuple[str, ...]:
    value = statement.values["erased"]
    assert isinstance(value, tuple)
    return value


def ended(
    records: Records, name: str = "one", looks: Sequence[bytes] = (b"1", b"2", b"3"), *, kept_s: float = KEPT_S, actor: str = "ann",
    at_unix_s: float = NOW, end: bool = True,
) -> str:  # fmt: skip
    """A rollout with a reference and looks, which was held, and was rolled back at a time."""
    canonical = json.dumps({"name": name, "retention": {"evidence": kept_s}}).encode()
    plan = replace(PLAN, name=name, canonical=canonical, digest=hashlib.sha256(canonical).hexdigest())
    rollout_id = records.submit(plan, f"envoy:{name}", actor, "g1", at_unix_s)
    claim = records.claim(rollout_id, "g1", stale_after_s=60)
    assert claim is not None
    records.keep_reference(claim, at_unix_s, b"reference of " + name.encode(), 1, 1)
    for number, look in enumerate(looks, 1):
        records.keep_look(claim, number, 10 * number, look)
    records.ask(rollout_id, "hold", actor, f"secret words about {name}", at_unix_s)
    if end:
        end_it(records, claim, at_unix_s)
    return rollout_id


def end_it(records: Records, claim: Claim, at_unix_s: float = NOW) -> None:
    position = records.load(claim.rollout_id).position
    for event in (Event.RETURN_ASKED, Event.BASELINE_IN_FORCE):
        position = position.moved(event, "secret reason", at_unix_s)
        records.move(claim, position, event, "ann", json.dumps({"secret": "status"}))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
