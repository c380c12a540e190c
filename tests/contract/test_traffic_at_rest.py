"""Traffic that nobody asked a guard to move, after a rollout has ended: told once per change, by whoever sees it, and listed for auditors.
On SQLite and PostgreSQL with a simulated proxy, and with a real HAProxy.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contract.data_planes.haproxy import HaproxyHarness, haproxy_harness
from tests.ended_rollouts import NOW, Guarded, end_it, ended, sha256
from tests.unit.plans import PLAN
from tests.unit.rollout_world import World
from tests.unit.test_driver import SHORT, Rollout, rolled_out
from tests.unit.test_plan_cli import verdigris
from tests.virtual import START_UNIX_S

from verdigris.audit import verify
from verdigris.audit.record import Record
from verdigris.audit.reports import made_report
from verdigris.audit.traffic import unexplained
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.statement import Outcome
from verdigris.ledger.storage import LedgerUnavailable, LogFolder
from verdigris.plan.plan import Plan
from verdigris.rollout.at_rest import Looking, Proxy
from verdigris.rollout.records import Records
from verdigris.rollout.transitions import Event, Phase
from verdigris.server.guard import records_url
from verdigris.server.ledger_of import ledger_opener
from verdigris.server.settings import GuardSettings
from verdigris.traffic.data_plane import Routing, Split, TrafficError
from verdigris.traffic.fake import FakeDataPlane, FakeProxy
from verdigris.traffic.open import Look, open_look


def says(percent: float, *, committed: bool = False, generation: int | None = None) -> Split:
    return Split(Routing(percent), generation, committed, 0, 0, 0, 0)


@pytest.fixture
def guard(url: str, tmp_path: Path) -> Iterator[Guarded]:
    one = Guarded(url, tmp_path / "log")
    yield one
    one.records.close()


def committed(records: Records, name: str) -> str:
    """A rollout that ended with the candidate as the durable default."""
    rollout_id = ended(records, name, end=False)
    claim = records.claim(rollout_id, "g1", stale_after_s=0)
    assert claim is not None
    position = replace(records.load(rollout_id).position, phase=Phase.COMMITTING)
    records.move(claim, position.moved(Event.COMMIT_IN_FORCE, "", NOW), Event.COMMIT_IN_FORCE, "g1")
    return rollout_id


def at_rest(records: Records) -> Proxy:
    (proxy,) = records.proxies_at_rest("", 10)
    return proxy


def changes(guard: Guarded) -> list[tuple[float | None, bool | None, float]]:
    said = [s.values for s in guard.statements(Kind.TRAFFIC_CHANGED)]
    return [(v["candidatePercent"], v["committed"], v["recordedPercent"]) for v in said]  # type: ignore[misc]


def test_each_change_is_told_once(guard: Guarded, url: str, tmp_path: Path) -> None:
    rollout_id, note = ended(guard.records), guard.records.note_traffic
    proxy = at_rest(guard.records)
    assert not note(proxy, "g1", NOW, says(0.0))
    assert note(proxy, "g1", NOW, says(25.0))
    assert not note(proxy, "g1", NOW, says(25.004))
    restarted = Guarded(url, tmp_path / "log")
    assert not restarted.records.note_traffic(proxy, "g2", NOW, says(25.0)), "nor by another guard, nor after a restart"
    assert restarted.records.note_traffic(proxy, "g2", NOW, says(100.0, committed=True))
    restarted.records.close()
    assert note(proxy, "g1", NOW, says(0.0)), "that it was moved back is a change too"
    assert changes(guard) == [(25.0, False, 0.0), (100.0, True, 25.0), (0.0, False, 100.0)]
    [first, *_] = guard.statements(Kind.TRAFFIC_CHANGED)
    assert (first.rollout, first.outcome, first.values["plan"]) == (None, Outcome.SEEN, guard.records.load(rollout_id).digest)
    assert guard.said(first).startswith(f"the proxy of rollout {rollout_id}, which has ended, sends 25 % to the candidate")


def test_several_guards_that_see_it_at_once_tell_it_once(guard: Guarded, url: str, tmp_path: Path) -> None:
    ended(guard.records)
    proxy = at_rest(guard.records)
    others = [Guarded(url, tmp_path / "log") for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda one: one[1].records.note_traffic(proxy, f"g{one[0]}", NOW, says(40.0)), enumerate([guard, *others])))
    for one in others:
        one.records.close()
    assert told.count(True) == 1
    assert changes(guard) == [(40.0, False, 0.0)]


def test_what_a_committed_rollout_leaves_is_all_traffic_to_its_candidate(guard: Guarded) -> None:
    committed(guard.records, "one")
    proxy = at_rest(guard.records)
    assert not guard.records.note_traffic(proxy, "g1", NOW, says(100.0, committed=True))
    assert guard.records.note_traffic(proxy, "g1", NOW, says(100.0)), "but not by the durable default"
    assert guard.records.note_traffic(proxy, "g1", NOW, says(0.0))
    assert changes(guard) == [(100.0, False, 100.0), (0.0, False, 100.0)]


def test_a_rollout_that_runs_tells_of_its_traffic_itself(guard: Guarded) -> None:
    ended(guard.records, "one", at_unix_s=NOW)
    proxy = at_rest(guard.records)
    running = ended(guard.records, "one", end=False, at_unix_s=NOW + 10)
    assert list(guard.records.proxies_at_rest("", 10)) == []
    assert not guard.records.note_traffic(proxy, "g1", NOW + 20, says(5.0)), "it began between the look and the word"
    claim = guard.records.claim(running, "g1", stale_after_s=0)
    assert claim is not None
    end_it(guard.records, claim, NOW + 30)
    assert at_rest(guard.records).rollout_id == running
    assert changes(guard) == []


def test_without_the_ledger_it_waits_and_is_told_later(guard: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(guard.records)
    with monkeypatch.context() as broken:

        def fails(_: object) -> int:
            msg = "the disk of the ledger is gone"
            raise LedgerUnavailable(msg)

        broken.setattr(guard.ledger, "enter", fails)
        assert guard.records.note_traffic(at_rest(guard.records), "g1", NOW, says(25.0))
    assert changes(guard) == []
    guard.records.enter_all("g1")
    assert changes(guard) == [(25.0, False, 0.0)]


# -- looking


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.rollout.at_rest.AGAIN_S", 0.01)
    monkeypatch.setattr("verdigris.rollout.at_rest.PATIENCE_S", 0.5)


class Proxies:
    """Simulated proxies by name, as a guard opens them to look; `hangs` and `broken` do not answer."""

    def __init__(self) -> None:
        self.of: dict[str, FakeProxy] = {}
        self.looked: list[str] = []
        self.between: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def open_look(self, plan: Plan) -> AsyncIterator[Look]:
        proxy = self.of.setdefault(plan.name, FakeProxy(lambda: 0.0))
        self.looked.append(plan.name)

        async def look() -> Split | None:
            if plan.name == "hangs":
                await asyncio.sleep(3600)
            if plan.name == "broken":
                msg = "connection refused"
                raise TrafficError(msg)
            split = await FakeDataPlane(proxy).observe()
            self.between()
            return split

        yield look

    def looking(self, records: Records) -> Looking:
        return Looking(records, "g1", lambda canonical: replace(PLAN, name=json.loads(canonical)["name"]), self.open_look, lambda: NOW)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


@pytest.mark.usefixtures("quick")
def test_a_guard_looks_at_every_proxy_and_waits_for_none(guard: Guarded) -> None:
    proxies = Proxies()
    for name in ("broken", "hangs", "moved", "quiet", "silent"):
        ended(guard.records, name)
    proxies.of |= {"moved": FakeProxy(lambda: 0.0, by_hand=30.0), "silent": FakeProxy(lambda: 0.0, by_hand=30.0, silent=True)}
    looking = proxies.looking(guard.records)
    assert run(looking.round()) == 1
    assert run(looking.round()) == 0
    assert proxies.looked == ["broken", "hangs", "moved", "quiet", "silent"] * 2
    assert changes(guard) == [(30.0, False, 0.0)]
    proxies.of["silent"].silent = False
    assert run(looking.round()) == 1


@pytest.mark.usefixtures("quick")
def test_what_is_seen_once_only_is_not_told(guard: Guarded) -> None:
    ended(guard.records, "moved")
    proxies = Proxies()
    proxies.of["moved"] = proxy = FakeProxy(lambda: 0.0, by_hand=30.0)
    proxies.between = lambda: setattr(proxy, "by_hand", None)
    assert run(proxies.looking(guard.records).round()) == 0


@pytest.mark.usefixtures("quick")
def test_more_proxies_than_are_looked_at_at_once_come_in_turn(guard: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.rollout.at_rest.PROXIES_AT_ONCE", 2)
    for name in "abc":
        ended(guard.records, name)
    proxies = Proxies()
    looking = proxies.looking(guard.records)
    for _ in range(3):
        run(looking.round())
    assert proxies.looked == ["a", "b", "c", "a", "b"]


# -- the auditor


def record_of(guard: Guarded) -> Record:
    return Record(LogFolder(guard.folder), guard.records._engine, guard.ledger.trusted)


def test_the_auditor_is_shown_what_changed_while_a_rollout_ran_and_after_it(tmp_path: Path) -> None:
    settings = GuardSettings(state_folder=tmp_path)
    records = Records(records_url(settings), ledger_opener(settings, tmp_path))
    world = World()

    async def meddles(rollout: Rollout) -> None:
        await world.when(
            lambda: rollout.driver.position.step == 0 and world.share(world.now()) > 0, lambda: setattr(world, "by_hand", Routing(80.0))
        )
        await world.when(lambda: rollout.driver.position.phase is Phase.RETURNING, lambda: setattr(world, "by_hand", None))

    rollout = rolled_out(world, records, replace(SHORT, digest=sha256(SHORT.canonical)), meddles)
    observed = rollout.journal("weight.observed")[-1]
    assert (observed.data["candidate_percent"], observed.data["generation"]) == (80.0, None)
    quiet = verdigris("audit", "population", "--state", tmp_path, "--to", "2026-09-01")
    assert (quiet[0], "NO ROLLOUT EXPLAINS IT" in quiet[1]) == (0, False)
    assert records.note_traffic(at_rest(records), "g1", START_UNIX_S + 3_600, says(25.0))
    records.close()
    code, out, _ = verdigris("audit", "population", "--state", tmp_path)
    assert code == 1
    assert "the proxy sent 80 % to the candidate, while the rollout ran, and nobody had asked for it" in out
    assert "the proxy sent 25 % to the candidate, after the rollout had ended, and the record says 0 %" in out
    told = json.loads(verdigris("audit", "population", "--state", tmp_path, "--json")[1])["traffic"]
    assert [(one["rollout"], one["running"], one["candidate_percent"], one["expected_percent"]) for one in told] == [
        (rollout.id, True, 80.0, None), (rollout.id, False, 25.0, 0.0),
    ]  # fmt: skip
    code, out, _ = verdigris("audit", "verify", "--state", tmp_path)
    assert code == 0, out
    assert "somebody else had moved the traffic" in out
    assert verdigris("audit", "report", "latest", "--state", tmp_path, "--html", tmp_path / "report.html")[0] == 0
    assert "Traffic that no rollout explains: at " in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_rollout_that_nobody_meddled_with_explains_all_of_its_traffic(tmp_path: Path) -> None:
    guard = Guarded(f"sqlite:///{tmp_path / 'rollouts.sqlite'}", tmp_path / "log")
    rolled_out(World(), guard.records)
    record = record_of(guard)
    assert unexplained(record.entries()) == []
    assert "Traffic that no rollout explains" not in str(made_report(record, record.of("latest")))
    guard.records.close()


# -- a real proxy


def map_of(harness: HaproxyHarness) -> Path:
    return Path(str(harness.plan.traffic.settings["map_file"]))


def test_a_real_haproxy_that_somebody_moves_by_hand_is_told_of(tmp_path: Path) -> None:
    """Its map, by its admin socket: what HAProxy would start again with stays what it was."""
    guard = Guarded(f"sqlite:///{tmp_path / 'rollouts.sqlite'}", tmp_path / "log")

    async def main() -> None:
        async with haproxy_harness() as harness:
            plane = await harness.open()
            await plane.apply(1, Routing(20.0), 60)
            await plane.return_to_baseline(1)
            ended(guard.records)
            looking = Looking(guard.records, "g1", lambda _: harness.plan, open_look, lambda: NOW)
            assert await looking.round() == 0
            map_file = map_of(harness)
            before = map_file.read_bytes()
            await harness.command(f"set map {map_file} default {harness.plan.candidate.slot}")
            with pytest.raises(TrafficError, match="it would start again with"):
                await plane.observe()
            assert await looking.round() == 1
            assert await looking.round() == 0
            answers = await harness.send(50)
            assert (answers.baseline, answers.candidate) == (0, 50), "looking moved nothing back"
            assert map_file.read_bytes() == before
            await harness.restart_proxy()
            assert await looking.round() == 1

    run(main())
    assert changes(guard) == [(100.0, True, 0.0), (0.0, False, 100.0)]
    keys = [str(key) for key in guard.ledger.trusted]
    assert verify.verify_log(guard.folder, keys).problems == []
    guard.records.close()
