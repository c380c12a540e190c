"""A guard of another version finds what its predecessor began and cannot read it: it says so, leaves it alone, and hides nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOS
from tests.clients.receiving import until
from tests.unit.plans import PLAN
from tests.unit.rollout_world import World

from verdigris.plan.plan import Plan
from verdigris.plan.problems import InvalidPlan, Problem
from verdigris.rollout.control import GuardControl
from verdigris.rollout.position import Position
from verdigris.rollout.records import Claim, Records
from verdigris.rollout.status import RolloutError
from verdigris.rollout.surroundings import Surroundings
from verdigris.rollout.transitions import Event, Phase
from verdigris.rollout.workflow import Acting
from verdigris.traffic.data_plane import DataPlane

NOW = 1_789_999_160.0
ME, OTHER = "g1", "g2"


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    kept = Records(f"sqlite:///{tmp_path / 'rollouts.sqlite'}")
    yield kept
    kept.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.rollout.workflow.SWEEP_EVERY_S", 0.05)


def known(_: bytes) -> Plan:
    return PLAN


def unknown(_: bytes) -> Plan:
    raise InvalidPlan([Problem(1, 1, "steps[0].canary", "is not a field of this version", "")])


@asynccontextmanager
async def acting(folder: Path, records: Records, read_plan: Callable[[bytes], Plan]) -> AsyncIterator[tuple[Acting, GuardControl]]:
    """A guard's workflows, real but for the proxy and the telemetry."""
    world = World()

    @asynccontextmanager
    async def plane(_: Plan) -> AsyncIterator[DataPlane]:
        yield world

    acts = Acting(records, ME, read_plan, plane, lambda _: Surroundings(world, world.clock), takeover_after_s=60)
    async with acts.running(f"sqlite:///{folder / 'workflows.sqlite'}"):
        yield acts, GuardControl(records, acts, lambda _: PLAN, read_plan)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(100):
            await test

    asyncio.run(bounded())


def submitted(records: Records, name: str = "one", guard: str = ME, at_unix_s: float = NOW) -> Claim:
    """A rollout that somebody began to act on."""
    rollout_id = records.submit(replace(PLAN, digest=name.ljust(64, "0")), f"envoy:{name}", "ann", guard, at_unix_s)
    claim = records.claim(rollout_id, guard, stale_after_s=60)
    assert claim is not None
    return claim


def in_another_format(records: Records, claim: Claim) -> None:
    records.move(claim, replace(Position().moved(Event.BEGUN, "", NOW), format=99), Event.BEGUN, "ann")


async def workflow_ended(workflow_id: str) -> None:
    """Wait until DBOS has written down that it did."""
    while (status := await asyncio.to_thread(DBOS.get_workflow_status, workflow_id)) is None or status.status != "SUCCESS":  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def passes(sweeps: int = 5) -> None:
    """Time in which it could do something wrong."""
    await asyncio.sleep(0.05 * sweeps + 0.5)


def term_of(records: Records, claim: Claim) -> int:
    with records._transaction("look") as connection:
        return int(connection.exec_driver_sql(f"SELECT term FROM verdigris_rollouts WHERE id = '{claim.rollout_id}'").scalar_one())


def test_a_position_in_another_format_is_left_alone_and_shown(tmp_path: Path, records: Records, caplog: pytest.LogCaptureFixture) -> None:
    readable, claim = submitted(records, "two", OTHER), submitted(records)
    in_another_format(records, claim)

    async def test() -> None:
        async with acting(tmp_path, records, known) as (acts, control):
            await until(lambda: bool(acts.refused))
            await passes()
            assert acts.refused.keys() == {claim.rollout_id}
            why = acts.refused[claim.rollout_id]
            for told in ("format 99", "the lease ends and the baseline has the traffic", "use the version that began it"):
                assert told in why
            assert (acts.drivers, term_of(records, claim)) == ({}, claim.term)

            listed = await control.rollouts()
            assert {status.id: status.cannot_resume for status in listed} == {readable.rollout_id: "", claim.rollout_id: why}
            [shown] = [status for status in listed if status.cannot_resume]
            assert (shown.phase, shown.started_unix_s, shown.ended_unix_s, shown.observed_percent) == (Phase.HOLDING, NOW, None, None)
            assert await control.status(claim.rollout_id) == shown
            assert [event.kind for event in await control.events(claim.rollout_id)] == ["plan.submitted", "phase"]
            for asked in (control.hold, control.resume, control.commit):
                with pytest.raises(RolloutError, match=r"use the version that began it\. Nothing changed"):
                    await asked(claim.rollout_id, "ann", "")

    with caplog.at_level(logging.WARNING, "verdigris.rollout"):
        run(test())
    assert len([record for record in caplog.records if claim.rollout_id in record.getMessage()]) == 1


def test_a_plan_that_this_version_cannot_read_is_left_alone_and_shown(
    tmp_path: Path, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    claim, of_another = submitted(records), submitted(records, "two", OTHER)

    async def test() -> None:
        async with acting(tmp_path, records, unknown) as (acts, control):
            await until(lambda: bool(acts.refused))
            await passes()
            assert acts.refused.keys() == {claim.rollout_id}, "another guard acts on the other, and may be able to read it"
            why = acts.refused[claim.rollout_id]
            wrong = "cannot read the plan (steps[0].canary: is not a field of this version)"
            for told in (wrong, "the baseline has the traffic", "use the version that began it"):
                assert told in why
            assert (acts.drivers, term_of(records, claim)) == ({}, claim.term)

            shown = await control.status(claim.rollout_id)
            assert (shown.phase, shown.name, shown.cannot_resume) == (Phase.PLANNED, PLAN.name, why)
            assert {status.id for status in await control.rollouts()} == {claim.rollout_id, of_another.rollout_id}
            for asked in (control.hold, control.resume, control.commit):
                with pytest.raises(RolloutError, match=r"use the version that began it\. Nothing changed"):
                    await asked(claim.rollout_id, "ann", "")
            assert (await control.abort(claim.rollout_id, "ann", "enough")).cannot_resume == why
            assert [request.kind for request in records.asked(claim)] == ["abort"], "it waits for the version that began it"

    with caplog.at_level(logging.WARNING, "verdigris.rollout"):
        run(test())
    assert len([record for record in caplog.records if claim.rollout_id in record.getMessage()]) == 1


def test_a_workflow_that_is_resumed_with_a_plan_that_cannot_be_read_ends_and_goes_on_under_the_old_version(
    tmp_path: Path, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    rollout_id = records.submit(PLAN, "envoy:payments", "ann", ME, NOW)
    asked: list[bytes] = []

    def counted(canonical: bytes) -> Plan:
        asked.append(canonical)
        return unknown(canonical)

    async def test() -> None:
        async with acting(tmp_path, records, known) as (acts, _):
            await until(lambda: rollout_id in acts.drivers)
        async with acting(tmp_path, records, counted) as (acts, control):
            await until(lambda: rollout_id in acts.refused)
            await workflow_ended(f"{rollout_id}.1")
            before = len(asked)
            await passes()
            assert before < len(asked) < before + 100, "it is looked at again, now and then"
            assert (acts.drivers, records.load(rollout_id).term) == ({}, 1)
            assert (await control.status("latest")).cannot_resume == acts.refused[rollout_id]
        async with acting(tmp_path, records, known) as (acts, control):
            await until(lambda: rollout_id in acts.drivers)
            assert (acts.refused, records.load(rollout_id).term) == ({}, 2)
            assert (await control.status(rollout_id)).cannot_resume == ""

    with caplog.at_level(logging.WARNING, "verdigris.rollout"):
        run(test())
    assert "a mistake of ours" not in caplog.text


def test_a_rollout_that_cannot_be_taken_over_does_not_keep_others_from_it(tmp_path: Path, records: Records) -> None:
    """By whatever mistake."""
    broken, sound = submitted(records), submitted(records, "two", at_unix_s=NOW + 1)

    def mistaken(canonical: bytes) -> Plan:
        if canonical == b"broken":
            msg = "a mistake"
            raise RuntimeError(msg)
        return PLAN

    with records._transaction("break") as connection:
        connection.exec_driver_sql(f"UPDATE verdigris_rollouts SET plan = X'{b'broken'.hex()}' WHERE id = '{broken.rollout_id}'")

    async def test() -> None:
        async with acting(tmp_path, records, mistaken) as (acts, _):
            await until(lambda: sound.rollout_id in acts.drivers)
            assert acts.drivers.keys() == {sound.rollout_id}

    run(test())


def test_what_the_old_version_ended_is_forgotten(tmp_path: Path, records: Records) -> None:
    claim = submitted(records)

    async def test() -> None:
        async with acting(tmp_path, records, unknown) as (acts, control):
            await until(lambda: bool(acts.refused))
            position = records.load(claim.rollout_id).position
            for event in (Event.RETURN_ASKED, Event.BASELINE_IN_FORCE):
                position = position.moved(event, "", NOW)
                records.move(claim, position, event, "ann")
            await until(lambda: not acts.refused)
            shown = await control.status(claim.rollout_id)
            assert (shown.phase, shown.ended_unix_s) == (Phase.ROLLED_BACK, NOW)

    run(test())
