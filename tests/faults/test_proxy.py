"""The proxy dies, is started again, or cannot be reached while a real rollout is under way: the traffic is safe, and people are told."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.faults.guards import Guard, Stage, stage, until
from tests.faults.test_guards import LEASE_S, SLACK_S, under_way


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(200):
            await test

    asyncio.run(bounded())


async def all_on_blue(on: Stage) -> None:
    """Blue answers, and green gets nothing more; counted by the services themselves."""
    upstreams = on.haproxy.upstreams
    blue, green = upstreams.blue.requests, upstreams.green.requests
    async with asyncio.timeout(30):
        while upstreams.blue.requests < blue + 50:  # noqa: ASYNC110  # users bring them
            await asyncio.sleep(0.05)
    assert upstreams.green.requests == green


async def story(guard: Guard, rollout_id: str) -> tuple[list[str], list[object]]:
    """Phases and intended weights, as they are recorded."""
    async with guard.control() as control:
        events = await control.events(rollout_id)
    weights = [event.data["candidate_percent"] for event in events if event.kind == "weight.intended"]
    return [str(event.data["to"]) for event in events if event.kind == "phase"], weights


async def goes_back_saying(guard: Guard, rollout_id: str) -> None:
    """The proxy does not answer for longer than a lease: the guard gives it up, and says what it waits for."""
    async with guard.control() as control, asyncio.timeout(3 * LEASE_S + SLACK_S):
        await until(control, rollout_id, "returning", within_s=3 * LEASE_S + SLACK_S)
        async for status in control.watch(rollout_id):
            assert status.phase.value == "returning"
            if "the proxy to say that the baseline has all traffic" in status.waiting_for and "cannot be reached" in status.waiting_for:
                assert "no lease is renewed" in status.waiting_for
                assert status.intended_percent == 0
                return


async def has_gone_back(on: Stage, guard: Guard, rollout_id: str) -> None:
    async with guard.control() as control:
        status = await until(control, rollout_id, "rolled back", within_s=30)
        assert (status.observed_percent, status.intended_percent) == (0, 0)
    await all_on_blue(on)
    assert await story(guard, rollout_id) == (["preflight", "shifting", "watching", "returning", "rolled back"], [50.0])


@pytest.mark.timeout(240)
def test_a_proxy_that_is_killed_and_comes_back_later_means_the_baseline(tmp_path: Path) -> None:
    async def test() -> None:
        async with stage(tmp_path) as on:
            guard = await on.guard("g")
            rollout_id = await under_way(on, guard)
            on.haproxy.haproxy.stop()
            await goes_back_saying(guard, rollout_id)
            await on.haproxy.haproxy.start()
            await has_gone_back(on, guard, rollout_id)

    run(test())


@pytest.mark.timeout(240)
def test_a_proxy_that_is_killed_and_comes_back_at_once_goes_no_further(tmp_path: Path) -> None:
    """Whether the guard renews first or looks first, green has what it had before or nothing."""

    async def test() -> None:
        async with stage(tmp_path) as on:
            guard = await on.guard("g")
            rollout_id = await under_way(on, guard)
            await on.haproxy.restart_proxy()
            await asyncio.sleep(2 * LEASE_S)
            async with guard.control() as control:
                status = await control.status(rollout_id)
                assert status.phase.value in {"watching", "rolled back"}
                assert status.observed_percent == (50 if status.phase.value == "watching" else 0)
                if status.phase.value == "watching":
                    await control.abort(rollout_id, "ann", "seen enough")
                else:
                    assert "the proxy says that 0 % go to the candidate, and 50 % were asked for" in status.summary
                await until(control, rollout_id, "rolled back", within_s=20)
            await all_on_blue(on)
            assert await story(guard, rollout_id) == (["preflight", "shifting", "watching", "returning", "rolled back"], [50.0])

    run(test())


@pytest.mark.timeout(240)
def test_a_proxy_that_cannot_be_reached_ends_the_lease_by_itself_and_is_told_when_it_can(tmp_path: Path) -> None:
    async def test() -> None:
        async with stage(tmp_path) as on:
            guard = await on.guard("g")
            rollout_id = await under_way(on, guard)
            await on.haproxy.cut_control()
            await on.until_share(0.0, 0.0, within_s=LEASE_S + SLACK_S)
            await goes_back_saying(guard, rollout_id)
            await all_on_blue(on)
            await on.haproxy.mend_control()
            await has_gone_back(on, guard, rollout_id)

    run(test())
