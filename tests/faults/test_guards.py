"""Guards that die, freeze, wake or are replaced, for real: processes, DBOS, a database, HAProxy, users and spans."""

import asyncio
import signal
from pathlib import Path

import pytest
from tests.faults.guards import Guard, Stage, stage, until
from tests.postgres import postgres

LEASE_S = 3.0
SLACK_S = 3.0
"""A busy machine's, on top of a lease."""


async def under_way(on: Stage, guard: Guard) -> str:
    """A rollout that has half of the traffic on green."""
    async with guard.control() as control:
        started = await control.start(on.plan_text(), "ann")
        await until(control, started.id, "watching", within_s=60)
    await on.until_share(0.3, 0.7, within_s=10)
    return started.id


async def kinds(guard: Guard, rollout_id: str) -> list[tuple[str, str]]:
    async with guard.control() as control:
        return [(event.kind, event.actor) for event in await control.events(rollout_id)]


async def replaced(guard: Guard, rollout_id: str, before: str) -> str:
    """The name of the guard that acts, once it is another."""
    async with guard.control() as control:
        async for status in control.watch(rollout_id):
            if status.guard != before:
                return status.guard
    msg = "the rollout ended before another guard took over"
    raise AssertionError(msg)


async def goes_on_and_can_be_aborted(on: Stage, guard: Guard, rollout_id: str) -> None:
    await on.until_share(0.3, 0.7, within_s=40)
    async with guard.control() as control:
        status = await control.status(rollout_id)
        assert status.phase.value == "watching"
        await control.abort(rollout_id, "ann", "seen enough")
        ended = await until(control, rollout_id, "rolled back", within_s=20)
        assert ended.observed_percent == 0
    await on.until_share(0.0, 0.0, within_s=5)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "version", ["", "import verdigris.rollout.workflow as w; w.APPLICATION_VERSION = 'verdigris-rollout-next'"], ids=["same", "upgraded"]
)
def test_a_killed_guard_goes_on_after_its_restart(tmp_path: Path, version: str) -> None:
    async def main() -> None:
        async with stage(tmp_path) as on:
            guard = await on.guard("g")
            rollout_id = await under_way(on, guard)
            await guard.kill()
            took_s = await on.until_share(0.0, 0.0, within_s=LEASE_S + SLACK_S)
            assert took_s > 0.5
            guard.program = version
            await guard.start()
            await goes_on_and_can_be_aborted(on, guard, rollout_id)
            recorded = [kind for kind, _ in await kinds(guard, rollout_id)]
            assert recorded.count("guard.recovered") == 1
            assert recorded.count("rollout.ended") == 1
            assert recorded[-1] == "rollout.ended" or recorded[-2:] == ["rollout.ended", "request"]

    asyncio.run(main())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["killed", "paused"])
def test_another_guard_takes_over_and_the_first_never_acts_again(tmp_path: Path, how: str) -> None:
    async def main(url: str) -> None:
        async with stage(tmp_path) as on:
            first, second = await on.guard("one", url), await on.guard("two", url)
            rollout_id = await under_way(on, first)
            async with first.control() as control:
                began_by = (await control.status(rollout_id)).guard
            if how == "killed":
                await first.kill()
            else:
                first.signal(signal.SIGSTOP)
            # The takeover and the end of the lease race each other; whoever is first, green has its half again in the end.
            acting = await replaced(second, rollout_id, began_by)
            await on.until_share(0.3, 0.7, within_s=60)
            before = await kinds(second, rollout_id)
            if how == "paused":
                first.signal(signal.SIGCONT)
                await asyncio.sleep(2 * LEASE_S)  # time in which it could do harm
                written = (await kinds(second, rollout_id))[len(before) :]
                assert {actor for _, actor in written} <= {f"guard {acting}"}
            await goes_on_and_can_be_aborted(on, second, rollout_id)
            intended = [actor for kind, actor in await kinds(second, rollout_id) if kind == "weight.intended"]
            assert len(set(intended)) == 2
            assert intended == sorted(intended, key=intended.index)
            assert intended[-1] == f"guard {acting}"

    with postgres(tmp_path / "postgres") as url:
        asyncio.run(main(url.replace("postgresql+psycopg://", "postgresql://")))
