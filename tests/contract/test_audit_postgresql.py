"""The record of several guards in PostgreSQL, audited by its address: every command, with rights to read only, and no password in sight."""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.contract.authorities import Issuer, TimeStamping, openssl
from tests.contract.test_audit_cli import PLAN, started
from tests.postgres import postgres
from tests.unit.rollout_world import World, behaving
from tests.unit.test_driver import rolled_out
from tests.unit.test_plan_cli import verdigris

from verdigris.audit.record import open_record
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.signing import new_key
from verdigris.ledger.statement import Outcome, Statement
from verdigris.ledger.timestamp import Authority
from verdigris.rollout import journal
from verdigris.rollout.journal import Act
from verdigris.rollout.records import Records
from verdigris.server.guard import records_url
from verdigris.server.ledger_of import ledger_opener
from verdigris.server.settings import GuardSettings, LedgerSettings
from verdigris.server.stamping import Stamping
from verdigris.server.verifying import Verifying, log_in_tables

ROOT = Issuer.root("a root")


@dataclass(frozen=True)
class Shared:
    """`url`: of somebody who may read only."""

    url: str
    owner: str
    key: str
    roots: Path
    settings: GuardSettings


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """A database with one rollout in it that was rolled back, and a stamp."""
    openssl("version")
    folder = tmp_path_factory.mktemp("shared")
    with postgres(folder / "server") as owner:
        new_key(folder / "shared.key")
        state = folder / "state"
        state.mkdir()
        settings = GuardSettings(
            state, database_url=owner.replace("+psycopg", ""), ledger=LedgerSettings(key=folder / "shared.key", origin="bank.test/rollouts")
        )
        records = opened(settings)
        started(records)
        rolled_out(World(rate_per_s=2_000, candidate=behaving(failed=0.1)), records, PLAN)
        assert records.ledger is not None
        with TimeStamping(folder / "tsa", ROOT.issue("a tsa")).served() as url:
            assert Stamping(records.ledger.log, [Authority((ROOT.certificate,), url)], 3600).ask() == 1
        records.close()
        (folder / "roots.pem").write_bytes(ROOT.pem)
        engine = sa.create_engine(owner)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE ROLE auditor LOGIN"))
            connection.execute(sa.text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO auditor"))
        engine.dispose()
        url = owner.replace("verdigris@", "auditor@").replace("+psycopg", "")
        yield Shared(url, owner, str(records.ledger.signer.key), folder / "roots.pem", settings)


def opened(settings: GuardSettings) -> Records:
    return Records(records_url(settings), ledger_opener(settings, settings.state_folder))


def contents(owner: str) -> list[object]:
    """Everything that the ledger and the evidence have in the database."""
    engine = sa.create_engine(owner)
    with engine.connect() as connection:
        found: list[object] = []
        for table in ("ledger_files", "ledger_head", "ledger_commits", "ledger_keys", "evidence", "journal", "guard_journal"):
            found += [sorted(map(repr, connection.execute(sa.text(f"SELECT * FROM verdigris_{table}"))))]
    engine.dispose()
    return found


def test_every_command_takes_the_address(shared: Shared, tmp_path: Path) -> None:
    before = contents(shared.owner)
    at = ("--state", shared.url)
    given: list[str | Path] = ["--key", shared.key, "--stamp-roots", shared.roots]
    code, out, err = verdigris("audit", "verify", *at, *given)
    assert (code, err) == (0, "")
    assert "was there at" in out
    assert "blobs of evidence are what the entries name" in out
    assert "--key)" not in out
    assert "they were taken from beside it (--key)" in verdigris("audit", "verify", *at)[1]
    code, out, _ = verdigris("audit", "verify", shared.url, "--key", shared.key)  # the log alone
    assert code == 0
    assert "none were given (--evidence)" in out
    assert verdigris("audit", "show", "latest", *at)[1].startswith(" ")
    assert "verdicts are the same again" in verdigris("audit", "replay", "latest", *at)[1]
    assert "rolled back  FAIL" in verdigris("audit", "population", *at)[1]
    assert verdigris("audit", "control", "PCI-DSS-4.0.1:6.5.1", *at)[0] in {0, 2}
    assert json.loads(verdigris("audit", "oscal", "latest", "--json", *at)[1])
    assert json.loads(verdigris("audit", "sarif", "latest", *at)[1])
    assert json.loads(verdigris("audit", "summary", "latest", *at)[1])
    assert verdigris("audit", "report", "latest", "--html", tmp_path / "report.html", *at)[0] == 0
    assert verdigris("audit", "export", "latest", "--output", tmp_path / "pack.zip", *at)[0] == 0
    with TimeStamping(tmp_path / "tsa", ROOT.issue("another tsa")).served() as url:
        assert verdigris("audit", "stamp", "--url", url, "--roots", shared.roots, "--output", tmp_path / "mine", *at)[0] == 0
    assert contents(shared.owner) == before


def test_it_may_stand_in_the_environment(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERDIGRIS_STATE", shared.url)
    assert verdigris("audit", "verify", "--key", shared.key)[0] == 0


def test_it_is_read_only_for_its_owner_too(shared: Shared) -> None:
    with (
        open_record(shared.owner) as record,
        record._engine.connect() as connection,
        pytest.raises(sa.exc.DBAPIError, match="read-only transaction"),
    ):
        connection.execute(sa.text("DELETE FROM verdigris_evidence"))


def test_what_somebody_changed_in_the_database_is_found(shared: Shared) -> None:
    engine = sa.create_engine(shared.owner)
    with engine.begin() as connection:
        path, content = connection.execute(
            sa.text(
                "SELECT path, content FROM verdigris_ledger_files WHERE path LIKE 'tile/entries/%' ORDER BY length(content) DESC LIMIT 1"
            )
        ).one()
        changed = bytearray(content)
        changed[200] ^= 1
        change = sa.text("UPDATE verdigris_ledger_files SET content = :c WHERE path = :p")
        connection.execute(change, {"c": bytes(changed), "p": path})
    code, out, _ = verdigris("audit", "verify", "--state", shared.url, "--key", shared.key)
    with engine.begin() as connection:
        connection.execute(change, {"c": bytes(content), "p": path})
    engine.dispose()
    assert code == 1
    assert "do not have the root that was signed" in out
    assert verdigris("audit", "verify", "--state", shared.url, "--key", shared.key)[0] == 0


def test_a_key_put_in_beside_the_log_helps_nobody_who_brings_his_own(shared: Shared, tmp_path: Path) -> None:
    other = str(verdigris("key", "new", tmp_path / "other.key", "--name", "bank.test/rollouts")[1]).strip()
    code, out, _ = verdigris("audit", "verify", "--state", shared.url, "--key", other)
    assert code == 1
    assert "no key that was given has signed it" in out


def test_the_keys_of_all_guards_are_beside_the_log(shared: Shared) -> None:
    with open_record(shared.url) as record:
        assert [str(key) for key in record.keys] == [shared.key]
    opened(shared.settings).close()
    with open_record(shared.url) as record:
        assert [str(key) for key in record.keys] == [shared.key]


def test_a_note_is_entered_once_whoever_enters_it_first(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that starts notes it, while its background enters what is left: both had seen the row, and both entered it."""
    records = opened(shared.settings)
    ledger = records.ledger
    assert ledger is not None
    both, since, enter = threading.Barrier(2), ledger.since, ledger.enter

    def together(statements: Sequence[Statement]) -> int:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=2)  # one of both waits in vain where the other may not look before this one has entered
        return enter(statements)

    before = sum(said.rollout is None for _, said in since(0))
    monkeypatch.setattr("verdigris.rollout.records._entering", contextlib.nullcontext)
    with records._transaction("note") as connection:
        act = Act(Kind.GUARD_STARTED, "guard g9", "started", {}, {"version": "0.1.0"})
        statement = records._journal._statement(connection, None, None, 1, 1_790_000_000.0, act).payload()
        row = {"guard": "g9", "unix_s": 0.0, "kind": "guard.started", "actor": "guard g9", "text": "", "data": "{}", "statement": statement}
        connection.execute(sa.insert(journal._GUARDS).values(**row))
    monkeypatch.setattr(ledger, "enter", together)
    entering = [threading.Thread(target=records.enter_guards, args=("g9",)) for _ in range(2)]
    for thread in entering:
        thread.start()
    for thread in entering:
        thread.join()
    assert sum(said.rollout is None for _, said in since(0)) == before + 1
    records.close()


def test_a_guard_verifies_its_log_in_the_database(shared: Shared) -> None:
    records = opened(shared.settings)
    ledger = records.ledger
    assert ledger is not None
    told: list[tuple[Kind, Mapping[str, Value], Outcome]] = []

    async def note(kind: Kind, _: str, values: Mapping[str, Value], __: Mapping[str, object], outcome: Outcome) -> bool:
        told.append((kind, values, outcome))
        return True

    command = log_in_tables(str(shared.settings.database_url), [shared.key])
    found = asyncio.run(Verifying(ledger, command, note, 3600).verify())
    size = ledger.log.size
    records.close()
    assert (found.entries, found.problems) == (size, 0)
    assert told == [(Kind.LEDGER_VERIFIED, {"entries": size, "problems": 0}, Outcome.DONE)]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://auditor:hunter2@db.test/x", "PGPASSWORD"),
        ("postgresql://auditor@db.test/x?password=hunter2", "PGPASSFILE"),
        ("mysql://auditor@db.test/x", "not in 'mysql'"),
        ("://", "no address of a database"),
    ],
)
def test_what_is_no_address_or_tells_a_password_is_refused(url: str, why: str) -> None:
    code, out, err = verdigris("audit", "verify", "--state", url)
    assert (code, out) == (66, "")
    assert why in err
    assert "hunter2" not in err


def test_a_database_without_a_record_or_without_an_answer_is_said(shared: Shared) -> None:
    empty = re.sub(r"/postgres\?", "/template1?", shared.url)
    code, _, err = verdigris("audit", "verify", "--state", empty)
    assert code == 66
    assert "no record in this database" in err
    code, _, err = verdigris("audit", "show", "--state", "postgresql://auditor@127.0.0.1:9/x")
    assert code == 74
    assert "does not answer" in err
