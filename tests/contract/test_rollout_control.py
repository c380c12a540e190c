"""The contract of `RolloutControl`, for every way to get at one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contract.rollout_controls import SUBJECTS, Subject
from tests.unit.approval_people import GIVE, MINUTE, signed

from verdigris.approvals.errors import ApprovalError
from verdigris.plan.document import load_plan
from verdigris.plan.problems import InvalidPlan
from verdigris.rollout.status import AlreadyRunning, NoSuchRollout, RolloutError, RolloutStatus
from verdigris.rollout.transitions import TERMINAL, Phase

PATIENCE_S = 30

Check = Callable[[Subject], Awaitable[None]]
Run = Callable[[Check], None]


@pytest.fixture(params=list(SUBJECTS))
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a check against one of the subjects."""

    def running(check: Check) -> None:
        async def whole() -> None:
            async with asyncio.timeout(PATIENCE_S), SUBJECTS[request.param](tmp_path) as subject:
                await check(subject)

        asyncio.run(whole())

    return running


async def until(subject: Subject, rollout_id: str, *phases: Phase) -> RolloutStatus:
    """The first status in one of these phases: what was asked need not have been done when the answer came."""
    async for status in subject.control.watch(rollout_id):
        if status.phase in phases:
            return status
    pytest.fail(f"the rollout ended before it was {phases}")


def test_a_start_begins_a_rollout_of_the_plan(run: Run) -> None:
    async def check(subject: Subject) -> None:
        plan = load_plan(subject.plan_text)
        status = await subject.control.start(subject.plan_text, "alice")
        assert (status.name, status.plan_digest) == (plan.name, plan.digest)
        assert status.phase not in TERMINAL
        assert status.ended_unix_s is None
        assert [step.weight_percent for step in status.steps] == [step.weight_percent for step in plan.steps]
        assert (status.baseline.slot, status.candidate.slot) == (plan.baseline.slot, plan.candidate.slot)
        assert status.lease_s == plan.traffic.lease_s
        [first, *_] = await subject.control.events(status.id)
        assert (first.sequence, first.kind, first.actor) == (1, "plan.submitted", "alice")

    run(check)


def test_an_invalid_plan_starts_nothing_and_says_where_it_is_wrong(run: Run) -> None:
    async def check(subject: Subject) -> None:
        with pytest.raises(InvalidPlan) as caught:
            await subject.control.start(subject.plan_text.replace("\nname:", "\nnane:", 1), "alice")
        assert any(problem.line > 1 and "nane" in f"{problem.path} {problem.message}" for problem in caught.value.problems)
        assert not await subject.control.rollouts()

    run(check)


def test_a_plan_runs_once_at_a_time(run: Run) -> None:
    async def check(subject: Subject) -> None:
        first = await subject.control.start(subject.plan_text, "alice")
        with pytest.raises(AlreadyRunning) as caught:
            await subject.control.start(subject.plan_text, "alice")
        assert caught.value.rollout_id == first.id
        assert [each.id for each in await subject.control.rollouts()] == [first.id]
        await subject.control.abort(first.id, "alice", "")
        await until(subject, first.id, Phase.ROLLED_BACK)
        second = await subject.control.start(subject.plan_text, "alice")
        assert second.id != first.id
        assert [each.id for each in await subject.control.rollouts()] == [second.id, first.id]

    run(check)


def test_rollouts_are_found_by_id_by_its_beginning_and_as_the_latest(run: Run) -> None:
    async def check(subject: Subject) -> None:
        first = await subject.control.start(subject.plan_text, "alice")
        second = await subject.control.start(subject.another_plan_text, "alice")
        for asked, found in ((first.id, first), (second.id, second), (first.id[:-1], first), ("latest", second)):
            assert (await subject.control.status(asked)).id == found.id
        common = next(n for n in range(len(first.id)) if first.id[n] != second.id[n])
        if common:
            with pytest.raises(NoSuchRollout):
                await subject.control.status(first.id[:common])

    run(check)


def test_an_unknown_rollout_is_said_to_be_unknown(run: Run) -> None:
    async def check(subject: Subject) -> None:
        control = subject.control
        for unknown in ("nowhere", "latest", "..", "a/b", "../health", "é", "a b", "%", "a\n", "x" * 1000, "\0"):
            with pytest.raises(NoSuchRollout):
                await control.status(unknown)
            with pytest.raises(NoSuchRollout):
                await control.events(unknown)
            with pytest.raises(NoSuchRollout):
                await anext(control.watch(unknown))
            for act in (control.hold, control.resume, control.abort, control.commit, control.erase):
                with pytest.raises(NoSuchRollout):
                    await act(unknown, "alice", "")

    run(check)


def test_the_journal_has_no_gaps_and_can_be_read_on(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")
        await subject.control.abort(started.id, "alice", "enough")
        await until(subject, started.id, Phase.ROLLED_BACK)
        events = await subject.control.events(started.id)
        assert len(events) >= 2
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert list(await subject.control.events(started.id, 1)) == list(events[1:])
        assert list(await subject.control.events(started.id, len(events))) == []
        assert list(await subject.control.events(started.id, 10**9)) == []

    run(check)


def test_who_asks_and_why_stand_in_the_journal(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")
        await subject.control.abort(started.id, "alice", "customers call: “ö” 50 %")
        await until(subject, started.id, Phase.ROLLED_BACK)
        assert any(
            event.actor == "alice" and "customers call: “ö” 50 %" in f"{event.text} {event.data}"
            for event in await subject.control.events(started.id, 1)
        )

    run(check)


def test_a_held_rollout_stays_until_resumed(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")
        await subject.bring_to(started.id, Phase.WATCHING)
        await subject.control.hold(started.id, "alice", "look")
        held = await until(subject, started.id, Phase.HOLDING)
        again = await subject.control.hold(started.id, "alice", "look again")
        assert (again.phase, again.intended_percent) == (Phase.HOLDING, held.intended_percent)
        await subject.control.resume(started.id, "alice", "looks well")
        await until(subject, started.id, Phase.SHIFTING, Phase.WATCHING)

    run(check)


def test_a_gate_is_opened_by_nothing_but_signatures_of_people_who_are_known(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")
        assert not (await subject.control.agreement(started.id)).asked
        await subject.bring_to(started.id, Phase.WAITING_FOR_APPROVAL)
        asked = await subject.control.agreement(started.id)
        assert (asked.asked, asked.rollout, asked.plan) == (True, started.id, started.plan_digest)
        assert asked.gate is not None
        assert asked.gate.state == "waiting"
        with pytest.raises(RolloutError):
            await subject.control.resume(started.id, "alice", "agreed")
        with pytest.raises(ApprovalError):
            await subject.control.sign(started.id, b"agreed")
        stranger = signed(replace(GIVE, issued_unix_nano=time.time_ns(), expires_unix_nano=time.time_ns() + MINUTE), "nobody")
        with pytest.raises(ApprovalError, match="nobody known has the key"):
            await subject.control.sign(started.id, stranger.to_bytes())
        assert (await subject.control.agreement(started.id)).gate == asked.gate
        assert (await subject.control.status(started.id)).phase is Phase.WAITING_FOR_APPROVAL
        assert await subject.control.reviews() == ()

    run(check)


def test_what_does_not_wait_cannot_be_resumed_and_what_does_not_bake_cannot_be_committed(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")
        await subject.bring_to(started.id, Phase.WATCHING)
        for act in (subject.control.resume, subject.control.commit):
            with pytest.raises(RolloutError) as caught:
                await act(started.id, "alice", "")
            assert "watching" in str(caught.value)
        assert (await subject.control.status(started.id)).phase is Phase.WATCHING

    run(check)


def test_an_abort_ends_at_the_baseline_and_may_be_repeated(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")
        await subject.bring_to(started.id, Phase.WATCHING)
        await subject.control.abort(started.id, "alice", "enough")
        ended = await until(subject, started.id, Phase.ROLLED_BACK)
        assert ended.intended_percent == 0.0
        assert ended.ended_unix_s is not None
        again = await subject.control.abort(started.id, "alice", "enough")
        assert (again.phase, again.ended_unix_s) == (ended.phase, ended.ended_unix_s)
        for act in (subject.control.resume, subject.control.commit):
            with pytest.raises(RolloutError):
                await act(started.id, "alice", "")

    run(check)


def test_a_rollout_that_bakes_can_be_committed(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")
        await subject.bring_to(started.id, Phase.BAKING)
        await subject.control.commit(started.id, "alice", "accepted")
        ended = await until(subject, started.id, Phase.COMMITTED)
        assert ended.ended_unix_s is not None

    run(check)


def test_evidence_is_erased_after_the_end_only_and_with_a_reason(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")
        with pytest.raises(RolloutError, match="has not ended, and it is judged by its evidence"):
            await subject.control.erase(started.id, "alice", "request 17")
        await subject.control.abort(started.id, "alice", "enough")
        await until(subject, started.id, Phase.ROLLED_BACK)
        with pytest.raises(RolloutError, match="needs a reason"):
            await subject.control.erase(started.id, "alice", " ")
        for _ in range(2):
            erased = await subject.control.erase(started.id, "alice", "request 17")
            assert (erased.id, erased.phase) == (started.id, Phase.ROLLED_BACK)

    run(check)


def test_watching_begins_at_once_speaks_often_and_ends_with_the_rollout(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")
        seen: list[RolloutStatus] = []
        async with asyncio.timeout(10):
            async for status in subject.control.watch("latest"):
                seen.append(status)
                if len(seen) == 3:
                    await subject.control.abort(started.id, "alice", "")
        assert {status.id for status in seen} == {started.id}
        assert seen[-1].phase is Phase.ROLLED_BACK
        assert [status.phase for status in seen].count(Phase.ROLLED_BACK) == 1
        # One that has ended is shown once.
        assert [status.phase async for status in subject.control.watch(started.id)] == [Phase.ROLLED_BACK]

    run(check)


def test_several_may_watch_and_one_may_leave(run: Run) -> None:
    async def check(subject: Subject) -> None:
        started = await subject.control.start(subject.plan_text, "alice")

        async def last() -> Phase:
            return [status.phase async for status in subject.control.watch(started.id)][-1]

        async with asyncio.TaskGroup() as group:
            staying = [group.create_task(last()) for _ in range(3)]
            leaving = group.create_task(last())
            async for _ in subject.control.watch(started.id):
                break
            leaving.cancel()
            await subject.control.abort(started.id, "alice", "")
        assert [task.result() for task in staying] == [Phase.ROLLED_BACK] * 3

    run(check)
