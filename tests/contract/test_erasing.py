"""What is erased of ended rollouts, when, and what stays: on SQLite with a log of files, and on PostgreSQL with a log in its tables."""

import asyncio
import sys
import threading
import time
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.clients.receiving import until
from tests.ended_rollouts import DAY_S, KEPT_S, NOW, Guarded, end_it, ended, sha256
from tests.unit.test_plan_cli import verdigris

from verdigris.ledger import evidence
from verdigris.ledger.entry_kinds import DIGESTS_MAX, Kind
from verdigris.ledger.statement import ActorKind, Outcome
from verdigris.ledger.storage import LedgerUnavailable
from verdigris.rollout.records import Records, RecordsUnavailable
from verdigris.rollout.status import NoSuchRollout, RolloutError
from verdigris.server.client import RemoteControl
from verdigris.server.guard import open_guard, records_url
from verdigris.server.ledger_of import ledger_opener
from verdigris.server.settings import GuardSettings
from verdigris.telemetry.receiver.listeners import Addresses

PASSED = NOW + KEPT_S
LOOKS = [sha256(b"1"), sha256(b"2"), sha256(b"3")]


@pytest.fixture
def guard(url: str, tmp_path: Path) -> Iterator[Guarded]:
    one = Guarded(url, tmp_path / "log")
    yield one
    one.records.close()


def test_evidence_goes_when_its_retention_has_passed_and_not_before(guard: Guarded) -> None:
    rollout_id = ended(guard.records)
    named = guard.named(rollout_id) | set(LOOKS)
    assert guard.records.erase_due("g1", PASSED - 1) == 0
    assert (guard.kept(sorted(named)), guard.erased()) == (sorted(named), [])
    erased = guard.records.erase_due("g1", PASSED)
    [entry] = guard.statements(Kind.EVIDENCE_ERASED)
    assert entry.rollout is None, "nothing follows the end of a rollout"
    assert (entry.actor.kind, entry.outcome, entry.values["why"]) == (ActorKind.GUARD, Outcome.ANNOUNCED, "retention")
    assert f"the evidence of rollout {rollout_id} is erased" in guard.said(entry)
    plan = guard.records.load(rollout_id).digest
    cards = {s.actor.card for s in guard.statements() if s.actor.kind is ActorKind.GUARD}
    assert set(guard.erased()) == named - {plan} - cards
    assert erased == len(guard.erased())
    assert set(guard.kept(sorted(named))) == {plan} | (cards & named)


def test_what_people_wrote_is_nowhere_any_more(guard: Guarded, url: str, tmp_path: Path) -> None:
    rollout_id = ended(guard.records, actor="jane.doe@hospital.test")
    guard.records.erase_due("g1", PASSED)
    assert {event.text for event in guard.records.journal(rollout_id)} == {"erased"}
    assert {event.actor for event in guard.records.journal(rollout_id) if not event.actor.startswith("guard ")} == {"erased"}
    stored = guard.records.load(rollout_id)
    assert (stored.status, stored.position.reason, stored.position.ended) == (None, "erased", True)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        for table in sa.inspect(engine).get_table_names():
            rows = connection.execute(sa.text(f"SELECT * FROM {table}")).all()
            assert not any(secret in repr(row) for row in rows for secret in ("secret", "jane.doe", "reference of")), table
    engine.dispose()
    if url.startswith("sqlite"):  # a deleted page could still be read
        for file in tmp_path.glob("rollouts.sqlite*"):
            assert not any(secret in file.read_bytes() for secret in (b"secret words", b"jane.doe", b"reference of"))


def test_a_blob_that_another_rollout_needs_stays_until_that_one_goes(guard: Guarded) -> None:
    one = ended(guard.records, "one", (b"shared", b"own"))
    running = ended(guard.records, "two", (b"shared",), end=False)
    guard.records.erase_due("g1", PASSED)
    shared = sha256(b"shared")
    assert shared not in guard.erased()
    assert guard.kept([shared, sha256(b"own")]) == [shared]
    claim = guard.records.claim(running, "g1", stale_after_s=0)
    assert claim is not None
    end_it(guard.records, claim, PASSED)
    guard.records.erase_due("g1", PASSED + KEPT_S)
    assert guard.erased().count(shared) == 1
    assert guard.kept([shared]) == []
    assert {guard.records.load(i).status for i in (one, running)} == {None}


def test_a_running_rollout_loses_nothing(guard: Guarded) -> None:
    running = ended(guard.records, end=False)
    named = guard.named(running) | set(LOOKS)
    assert guard.records.erase_due("g1", PASSED + 1_000 * DAY_S) == 0
    with pytest.raises(RolloutError, match="has not ended, and it is judged by its evidence"):
        guard.records.erase_asked(running, "g1", "bob", "I want it", PASSED)
    assert guard.erased() == []
    assert set(guard.kept(sorted(named))) == named


def test_somebody_may_ask_before_the_retention_has_passed(guard: Guarded) -> None:
    rollout_id = ended(guard.records)
    guard.records.erase_asked(rollout_id, "g1", "bob", "request 17", NOW + 5)
    [entry] = guard.statements(Kind.EVIDENCE_ERASED)
    assert (entry.values["why"], entry.actor.kind) == ("asked", ActorKind.PERSON)
    assert "request 17" in guard.said(entry)
    assert b"request 17" not in entry.payload()
    assert guard.kept(LOOKS) == []
    guard.records.erase_asked(rollout_id, "g1", "bob", "once more", NOW + 6)
    guard.records.erase_due("g1", PASSED)
    assert guard.statements(Kind.EVIDENCE_ERASED) == [entry]
    with pytest.raises(NoSuchRollout):
        guard.records.erase_asked("20260101-000000-dead", "g1", "bob", "why", NOW)


def test_an_entry_names_at_most_so_many_and_a_round_ends(guard: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.rollout.erasing.BLOBS_AT_ONCE", 2 * DIGESTS_MAX)
    monkeypatch.setattr("verdigris.rollout.erasing.ROUNDS_AT_ONCE", 1)
    monkeypatch.setattr("verdigris.rollout.erasing.ROWS_AT_ONCE", 7)
    looks = [f"look {n}".encode() for n in range(3 * DIGESTS_MAX)]
    ended(guard.records, looks=looks)
    assert guard.records.erase_due("g1", PASSED) == 2 * DIGESTS_MAX
    assert 0 < guard.records.erase_due("g1", PASSED) <= 2 * DIGESTS_MAX
    assert guard.records.erase_due("g1", PASSED) == 0
    assert guard.kept([sha256(look) for look in looks]) == []
    said = guard.erased()
    assert len(said) == len(set(said))
    assert [len(str(s.values["erased"])) > 0 for s in guard.statements(Kind.EVIDENCE_ERASED)] == [True] * 4


class Broken:
    """A ledger that cannot be entered for a time, before or after it was."""

    def __init__(self, guard: Guarded, monkeypatch: pytest.MonkeyPatch, *, happened: bool) -> None:
        entering = guard.ledger.enter

        def enter(statements: object) -> int:
            if happened:
                entering(statements)  # type: ignore[arg-type]
            msg = "the disk of the ledger is gone"
            raise LedgerUnavailable(msg)

        monkeypatch.setattr(guard.ledger, "enter", enter)


@pytest.mark.parametrize("happened", [False, True])
def test_without_the_ledger_nothing_is_erased_and_nothing_is_entered_twice(
    guard: Guarded, monkeypatch: pytest.MonkeyPatch, *, happened: bool
) -> None:
    rollout_id = ended(guard.records)
    with monkeypatch.context() as broken:
        Broken(guard, broken, happened=happened)
        for _ in range(3):
            with suppress(RecordsUnavailable):
                guard.records.erase_due("g1", PASSED)
            if not happened:
                assert guard.kept(LOOKS) == LOOKS
        with suppress(RecordsUnavailable):
            guard.records.erase_asked(rollout_id, "g1", "bob", "now", PASSED)
    guard.records.erase_due("g1", PASSED)
    assert guard.kept(LOOKS) == []
    assert len(guard.erased()) == len(set(guard.erased()))


def test_several_guards_do_not_collide(guard: Guarded, url: str, tmp_path: Path) -> None:
    """They sweep all the time while rollouts end and others begin; a rollout that runs loses nothing."""
    others = [] if url.startswith("sqlite") else [Guarded(url, tmp_path / "log") for _ in range(2)]
    guards = [guard, *(others or [guard, guard])]
    done = threading.Event()

    def sweeps(number: int) -> int:
        erased = 0
        while not done.wait(0.02):
            with suppress(RecordsUnavailable):
                erased += guards[number].records.erase_due(f"g{number}", PASSED + DAY_S)
        return erased

    with ThreadPoolExecutor(3) as pool:
        sweeping = [pool.submit(sweeps, n) for n in range(3)]
        try:
            ids = [ended(guard.records, f"r{n}", (b"shared", f"own {n}".encode())) for n in range(8)]
            running = ended(guard.records, "last", (b"shared", b"kept"), end=False, at_unix_s=PASSED)
            named = guard.named(running) | {sha256(b"shared"), sha256(b"kept")}
        finally:
            done.set()
        for sweep in sweeping:
            sweep.result()
    for one in others:
        one.records.close()
    for _ in range(2):
        guard.records.erase_due("g0", PASSED + DAY_S)
    assert guard.kept([sha256(f"own {n}".encode()) for n in range(8)]) == []
    assert set(guard.kept(sorted(named))) == named
    assert {guard.records.load(i).status for i in ids} == {None}


def test_what_a_guard_left_unentered_another_announces_anew(guard: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(guard.records)
    with monkeypatch.context() as broken:
        Broken(guard, broken, happened=False)
        with pytest.raises(RecordsUnavailable):
            guard.records.erase_due("g1", PASSED)
    assert guard.records.erase_due("g2", PASSED + 60) == 0, "the other one may still come back"
    assert guard.records.erase_due("g2", PASSED + 3_600) > 0
    assert guard.kept(LOOKS) == []


def test_who_is_about_to_name_a_blob_keeps_it(guard: Guarded, url: str) -> None:
    """Between the entry and the erasing, another rollout begins to name the same bytes."""
    if url.startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time: nothing comes in between")
    ended(guard.records, looks=(b"shared", b"own"))
    engine = sa.create_engine(url)
    with engine.begin() as naming:
        evidence.put(naming, b"shared")
        guard.records.erase_due("g1", PASSED)
        assert guard.kept([sha256(b"shared"), sha256(b"own")]) == [sha256(b"shared")]
    engine.dispose()
    running = ended(guard.records, "two", (b"shared",), end=False)
    guard.records.erase_due("g1", PASSED)
    assert guard.kept([sha256(b"shared")]) == [sha256(b"shared")]
    assert guard.records.load(running).ended_unix_s is None


def test_a_plan_that_does_not_say_it_keeps_evidence_as_long_as_the_default(guard: Guarded) -> None:
    """Of an older version; of another that says what this one cannot read, nothing goes by itself."""
    ended(guard.records, "strange", (b"strange",), kept_s=-1.0)
    with guard.records._transaction("as an older version kept it") as connection:
        connection.execute(sa.text("UPDATE verdigris_rollouts SET plan = :plan"), {"plan": b'{"name":"old"}'})
    assert guard.records.erase_due("g1", NOW + 365 * DAY_S - 1) == 0
    assert guard.records.erase_due("g1", NOW + 365 * DAY_S) > 0
    other = ended(guard.records, "other", (b"other",), kept_s=-1.0)
    assert guard.records.erase_due("g1", NOW + 10_000 * DAY_S) == 0
    guard.records.erase_asked(other, "g1", "bob", "asked", NOW)
    assert guard.kept([sha256(b"other")]) == []


def test_without_a_ledger_nothing_may_be_erased(tmp_path: Path) -> None:
    records = Records(f"sqlite:///{tmp_path / 'rollouts.sqlite'}")
    rollout_id = ended(records)
    assert records.erase_due("g1", PASSED) == 0
    with pytest.raises(RolloutError, match="only where a ledger can say so"):
        records.erase_asked(rollout_id, "g1", "bob", "why", NOW)
    assert records.evidence(LOOKS[0]) == b"1"
    records.close()


def test_a_whole_guard_erases_what_is_due_and_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard's own task, its API, its client and the command."""
    monkeypatch.setattr("verdigris.server.guard.ERASE_EVERY_S", 0.1)
    settings = GuardSettings(tmp_path / "state", Addresses("127.0.0.1:0", "127.0.0.1:0"))
    settings.state_folder.mkdir()
    records = Records(records_url(settings), ledger_opener(settings, settings.state_folder))
    due = ended(records, "due", (b"due",), at_unix_s=time.time() - KEPT_S)
    young = ended(records, "young", (b"young",), at_unix_s=time.time())
    records.close()

    async def main() -> None:
        async with asyncio.timeout(60), open_guard(settings) as guard, RemoteControl(folder=settings.state_folder) as control:
            kept = guard.acting.records
            await until(lambda: kept.evidence(sha256(b"due")) is None)
            assert kept.evidence(sha256(b"young")) == b"young"
            assert (await control.status(due)).summary == "erased"
            with pytest.raises(RolloutError, match="needs a reason"):
                await control.erase(young, "bob", "")
            command = [
                sys.executable,
                "-c",
                "from verdigris.cli.main import run; run()",
                "rollout",
                "erase",
                young,
                "--reason",
                "request 17",
                "--as",
                "bob",
            ]
            asked = await asyncio.create_subprocess_exec(*command, "--state", settings.state_folder, stderr=PIPE)
            _, err = await asked.communicate()
            assert (asked.returncode, f"asked to erase the evidence of rollout {young}" in err.decode()) == (0, True), err
            assert kept.evidence(sha256(b"young")) is None
            assert {event.text for event in await control.events(young)} == {"erased"}

    asyncio.run(main())
    assert verdigris("rollout", "erase", young, "--state", settings.state_folder)[0] == 64, "a reason is needed"
    code, out, _ = verdigris("audit", "verify", "--state", settings.state_folder)
    assert code == 0, out
    assert "because somebody asked for it" in out
    assert "because their retention had passed" in out
