"""A guard verifies its own ledger: what it enters, what stops when something is wrong, what goes on, and how it ends."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contract.test_audit_cli import opened, started
from tests.unit.plans import PLAN as PLAIN_PLAN
from tests.unit.rollout_world import World
from tests.unit.test_driver import SHORT, Rollout, rolled_out
from tests.unit.test_plan_cli import verdigris

from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.ledger import Ledger
from verdigris.ledger.statement import Outcome, Statement
from verdigris.rollout.journal import Act
from verdigris.rollout.records import RecordsUnavailable
from verdigris.rollout.transitions import Phase
from verdigris.server.guard import open_guard
from verdigris.server.settings import GuardSettings
from verdigris.server.verifying import CannotVerify, Command, Verifying, log_in_folder, log_in_tables
from verdigris.telemetry.receiver.listeners import Addresses
from verdigris.traffic.data_plane import Routing

NOW = 1_790_000_000.0
DAY_S = 86_400.0


class Kept:
    """Records of a guard with a ledger of more than one bundle, so that opening it does not read all of it."""

    def __init__(self, state: Path, entries: int) -> None:
        self.state, self.records = state, opened(state)
        assert isinstance(self.records.ledger, Ledger)
        self.ledger = self.records.ledger
        for _ in range(entries):
            started(self.records)
        self.verifying = self.verifier(log_in_folder(state / "ledger", [str(key) for key in self.ledger.trusted]))

    def verifier(self, command: Command, limit_s: float = 60.0) -> Verifying:
        return Verifying(self.ledger, command, self.note, DAY_S, limit_s)

    async def note(self, kind: Kind, text: str, values: Mapping[str, Value], data: Mapping[str, object], outcome: Outcome) -> bool:
        self.records.note_guard("g1", NOW, Act(kind, "guard g1", text, data, values, outcome=outcome))
        return True

    def verified(self) -> list[Statement]:
        return [said for _, said in self.ledger.since(0) if said.kind is Kind.LEDGER_VERIFIED]

    def bundle(self) -> Path:
        return self.state / "ledger" / "tile" / "entries" / "000"

    def damage(self) -> None:
        content = bytearray(self.bundle().read_bytes())
        content[1_000] ^= 1
        self.bundle().write_bytes(content)

    def repair(self) -> None:
        content = bytearray(self.bundle().read_bytes())
        content[1_000] ^= 1
        self.bundle().write_bytes(content)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("long")
    Kept(state, 300).records.close()
    return state


@pytest.fixture
def kept(long: Path, tmp_path: Path) -> Iterator[Kept]:
    subprocess.run(["cp", "-a", long, tmp_path / "state"], check=True)
    one = Kept(tmp_path / "state", 0)
    yield one
    one.records.close()


def test_what_was_verified_is_entered(kept: Kept) -> None:
    found = asyncio.run(kept.verifying.verify())
    assert (found.entries, found.problems) == (300, 0)
    [said] = kept.verified()
    assert (dict(said.values), said.outcome) == ({"entries": 300, "problems": 0}, Outcome.DONE)
    assert kept.records.doubted() is None
    assert kept.verifying.health() == {"verified_entries": 300, "problems": 0, "cannot_verify": False}
    assert asyncio.run(kept.verifying.verify()).entries == 301


def test_problems_stop_what_moves_forward_until_a_verification_finds_none(kept: Kept) -> None:
    kept.damage()
    found = asyncio.run(kept.verifying.verify())
    assert found.problems >= 1
    said = kept.ledger.doubt or ""
    assert "problem" in said
    plan = replace(PLAIN_PLAN, digest=hashlib.sha256(PLAIN_PLAN.canonical).hexdigest())  # the record keeps it under its name
    with pytest.raises(RecordsUnavailable, match="nothing moves except toward the baseline") as refused:
        kept.records.submit(plan, "envoy:payments", "ann", "g1", NOW)
    assert "verdigris audit verify" in str(refused.value)
    size = kept.ledger.log.size
    started(kept.records)  # it waits
    assert kept.ledger.log.size == size
    # Whoever comes back does not begin with good faith.
    kept.records.close()
    again = Kept(kept.state, 0)
    assert (again.records.doubted() or "").startswith("the ledger was verified, and has")
    kept.repair()
    again.ledger.doubt = again.records.doubted()
    assert asyncio.run(again.verifying.verify()).problems == 0
    assert again.ledger.doubt is None
    assert again.records.doubted() is None
    again.records.enter_all("g1")
    entered = again.verified()
    assert [one.values["problems"] for one in entered] == [found.problems, 0]
    assert [one.outcome for one in entered] == [Outcome.FAILED, Outcome.DONE]
    assert any(one.late for _, one in again.ledger.since(size))
    again.records.close()
    assert verdigris("audit", "verify", "--state", kept.state)[0] == 0


def test_a_rollout_under_way_goes_back_when_its_ledger_is_in_doubt(kept: Kept) -> None:
    world = World()

    async def verifies(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.step == 0 and rollout.driver.position.phase is Phase.WATCHING, lambda: None)
        kept.damage()
        with ThreadPoolExecutor() as beside:  # the time of this world stands still meanwhile
            beside.submit(lambda: asyncio.run(kept.verifying.verify())).result()

    rollout = rolled_out(world, kept.records, SHORT, verifies)
    assert rollout.driver.position.phase is Phase.ROLLED_BACK
    assert world.default == Routing(0.0)
    assert max(percent for _, _, percent in world.applied) == 5.0


def test_a_verifier_that_gives_no_report_proves_and_stops_nothing(kept: Kept) -> None:
    program = (sys.executable, "-c")
    cases = [
        ("import sys; sys.exit('no such folder')", "ended with 1|gave no report"),
        ("import sys; sys.stderr.write('broken'); sys.exit(2)", "ended with 2: broken"),
        ("print('{}')", "gave no report"),
        ("print('[' * 100000)", "gave no report"),
    ]
    for code, why in cases:
        with pytest.raises(CannotVerify, match=why):
            asyncio.run(kept.verifier(Command((*program, code), {})).verify())
    with pytest.raises(CannotVerify, match=r"cannot be started: .*No such file"):
        asyncio.run(kept.verifier(Command(("/no/such/python",), {})).verify())
    assert kept.verified() == []
    assert kept.ledger.doubt is None


def test_what_cannot_be_verified_now_is_verified_later(kept: Kept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first time the verifier is not there; nobody asks again."""
    monkeypatch.setattr("verdigris.server.verifying.RETRY_S", 0.05)
    command = log_in_folder(kept.state / "ledger", [str(key) for key in kept.ledger.trusted])
    python = tmp_path / "python"
    verifying = kept.verifier(replace(command, arguments=(str(python), *command.arguments[1:])))

    async def runs() -> None:
        running = asyncio.create_task(verifying.run())
        await until(lambda: bool(verifying.failing))
        assert verifying.health()["cannot_verify"]
        (tmp_path / "fresh").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (tmp_path / "fresh").chmod(0o755)
        (tmp_path / "fresh").rename(python)
        await until(lambda: verifying.found is not None)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(runs())
    assert not verifying.health()["cannot_verify"]
    assert len(kept.verified()) == 1


def test_a_verifier_that_does_not_end_is_ended(kept: Kept, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()) + ' ' + str(os.nice(0))); time.sleep(600)"
    with pytest.raises(CannotVerify, match="longer than 3 s"):
        asyncio.run(kept.verifier(Command((sys.executable, "-c", code), {}), 3.0).verify())
    number, _, _ = pid.read_text().partition(" ")
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_it_is_verified_at_the_start_and_when_it_is_asked_for(kept: Kept) -> None:
    async def runs() -> None:
        running = asyncio.create_task(kept.verifying.run())
        await until(lambda: len(kept.verified()) == 1)
        kept.verifying.ask()
        await until(lambda: len(kept.verified()) == 2)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(runs())
    assert [one.values["entries"] for one in kept.verified()] == [300, 301]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # what is waited for is any state at all
            await asyncio.sleep(0.05)


def test_no_password_stands_on_its_command_line() -> None:
    for url in ("postgresql://guard:hunter2@db.test/x?sslmode=require", "postgresql://guard@db.test/x?sslmode=require&password=hunter2"):
        command = log_in_tables(url, ["k1", "k2", "k1"])
        assert "postgresql://guard@db.test/x?sslmode=require" in command.arguments
        assert command.arguments[-4:] == ("--key", "k1", "--key", "k2")
        assert "hunter2" not in " ".join(command.arguments)
        assert command.environment == {"PGPASSWORD": "hunter2"}


def test_a_real_guard_verifies_what_it_finds(tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = GuardSettings(state, Addresses("127.0.0.1:0", None))

    async def runs(*, verified: bool) -> None:
        async with open_guard(settings) as guard:
            keeping = guard.keeping
            assert keeping is not None
            if verified:
                await until(lambda: keeping.verifying.found is not None)
                assert guard.health()["ledger"]["problems"] == 0  # type: ignore[index]

    asyncio.run(runs(verified=False))
    asyncio.run(runs(verified=True))
    shown = [json.loads(line) for line in verdigris("audit", "show", "--state", state, "--json")[1].splitlines()]
    kinds = [one["statement"]["predicateType"].split("/")[-2] for one in shown]
    assert "ledger.verified" in kinds
    assert all(one["statement"]["predicate"]["values"]["problems"] == 0 for one in shown if one["details"]["kind"] == "ledger.verified")
    assert verdigris("audit", "verify", "--state", state)[0] == 0


def test_a_guard_is_asked_by_a_signal(tmp_path: Path) -> None:
    state = tmp_path / "state"
    code = "from verdigris.cli.main import run; run()"
    command = [sys.executable, "-c", code, "serve", "--state", str(state), "--grpc", "127.0.0.1:0", "--http", "none", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"}) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["guard"]

        def count() -> int:
            return verdigris("audit", "show", "--state", state)[1].count("ledger.verified")

        async def asked() -> None:
            before = count()
            process.send_signal(signal.SIGUSR1)
            await until(lambda: count() > before)

        asyncio.run(asked())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
