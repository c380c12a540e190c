"""A rollout from beginning to end, in virtual time: what it does in each phase, and what it does about everything that goes wrong."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.unit.approval_people import PEOPLE
from tests.unit.plans import PLAN, plan
from tests.unit.rollout_world import World, behaving
from tests.virtual import START_UNIX_S, at_once, run

from verdigris.judge.verdict import Outcome
from verdigris.plan.objectives import Objectives
from verdigris.plan.plan import Freeze, Otherwise, Plan, Required, Schedule, WhenWorse
from verdigris.plan.policy import Policy, Tolerance
from verdigris.rollout.driver import Driver
from verdigris.rollout.records import Claim, Records, RecordsUnavailable, Superseded
from verdigris.rollout.status import RolloutError, RolloutEvent
from verdigris.rollout.statuses import read_status
from verdigris.rollout.surroundings import Surroundings
from verdigris.rollout.transitions import Phase
from verdigris.traffic.data_plane import Routing

EASY = Objectives(Policy(errors_pass=Tolerance(1.5, 0.02), latency_margin_pass=0.6))
"""Wide enough for a PASS within a minute of virtual time."""

SHORT = plan(objectives=EASY, steps=(PLAN.steps[0], replace(PLAN.steps[1], maximum_s=300)))


class Breakable(Records):
    """Records whose database can stop answering."""

    broken: str | None = None

    @contextlib.contextmanager
    def _transaction(self, what: str) -> Iterator[sa.Connection]:
        if self.broken is not None:
            msg = f"could not {what}: {self.broken}"
            raise RecordsUnavailable(msg)
        with super()._transaction(what) as connection:
            yield connection


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Breakable]:
    kept = Breakable(f"sqlite:///{tmp_path / 'rollouts.sqlite'}")
    yield kept
    kept.close()


class Rollout:
    """One rollout in a world, as a guard would act on it."""

    def __init__(self, world: World, records: Records, asked: Plan = SHORT, guard: str = "g1") -> None:
        self.world, self.records, self.plan, self.guard = world, records, asked, guard
        self.id = records.submit(asked, "envoy:payments", "ann", guard, world.clock.now_unix_s())
        self.people = PEOPLE
        self.driver = self.take_over(guard)

    def take_over(self, guard: str) -> Driver:
        claim = self.records.claim(self.id, guard, stale_after_s=0)
        assert claim is not None
        around = Surroundings(self.world, self.world.clock, at_once, people=lambda: self.people)
        return Driver(self.plan, self.records.load(self.id), claim, self.world, self.records, around)

    async def until(self, *phases: Phase) -> None:
        """Go on until one of these phases."""
        while self.driver.position.phase not in phases:
            await self.driver.advance()

    async def to_its_end(self) -> Driver:
        async with self.driver.running():
            await self.until(Phase.ROLLED_BACK, Phase.COMMITTED)
        return self.driver

    def kinds(self) -> list[str]:
        return [e.kind for e in self.records.journal(self.id)]

    def phases(self) -> list[str]:
        return [str(e.data["to"]) for e in self.records.journal(self.id) if e.kind == "phase"]

    def journal(self, kind: str) -> list[RolloutEvent]:
        return [e for e in self.records.journal(self.id) if e.kind == kind]


def rolled_out(world: World, records: Records, asked: Plan = SHORT, *events: Callable[[Rollout], Any]) -> Rollout:
    """A whole rollout; `events` are coroutines that run beside it."""

    async def main() -> Rollout:
        rollout = Rollout(world, records, asked)
        end = asyncio.create_task(rollout.to_its_end())
        beside = [asyncio.create_task(event(rollout)) for event in events]
        try:
            async with asyncio.timeout(20_000):
                while not end.done():
                    await asyncio.wait([end, *(t for t in beside if not t.done())], return_when=asyncio.FIRST_COMPLETED)
                    for task in beside:
                        if task.done():
                            task.result()
            end.result()
        finally:
            for task in (end, *beside):
                task.cancel()
        return rollout

    return run(main())


def test_a_good_candidate_is_committed_step_by_step(records: Records) -> None:
    world = World()
    rollout = rolled_out(world, records)
    assert rollout.phases() == [
        "preflight", "shifting", "watching", "shifting", "watching", "shifting", "baking", "committing", "committed",
    ]  # fmt: skip
    assert [percent for _, _, percent in world.applied] == [5.0, 50.0, 95.0]
    assert world.default == Routing(100.0)
    assert rollout.driver.status().verdict is Outcome.PASS


def test_every_weight_is_recorded_before_it_is_applied_and_after_it_was_read_back(records: Records) -> None:
    world = World()

    def recorded(generation: int, percent: float) -> None:
        last = records.journal(records.load("latest").id)[-1]
        assert last.kind in {"weight.intended", "commit.intended"}
        assert (last.data["generation"], last.data["candidate_percent"]) == (generation, percent)

    world.before_change = recorded
    rollout = rolled_out(world, records)
    weights = [e.kind for e in records.journal(rollout.id) if e.kind.startswith(("weight.", "commit."))]
    assert weights == ["weight.intended", "weight.observed"] * 3 + ["commit.intended", "commit.observed"]
    generations = [generation for _, generation, _ in world.applied]
    assert generations == sorted(set(generations))
    assert [e.sequence for e in records.journal(rollout.id)] == list(range(1, len(rollout.kinds()) + 1))


@pytest.mark.parametrize(
    "fault",
    [behaving(failed=0.05), behaving(slower=2.0), behaving(failed=0.9), behaving(traced=False)],
    ids=["errors", "slow", "broken", "blind"],
)
def test_a_bad_candidate_goes_back_before_it_has_half_of_the_traffic_for_long(records: Records, fault: Any) -> None:
    world = World(candidate=fault)
    rollout = rolled_out(world, records)
    assert rollout.phases()[-2:] == ["returning", "rolled back"]
    assert world.default == Routing(0.0)
    assert world.share(world.applied[-1][0] + 60) == 0.0
    back_after_s = world.shares[-1][0] - world.shares[1][0]
    assert back_after_s < 60
    assert "committing" not in rollout.phases()


def test_a_candidate_without_traces_is_blind_within_seconds_of_its_first_traffic(records: Records) -> None:
    world = World(candidate=behaving(traced=False))
    rollout = rolled_out(world, records)
    assert rollout.driver.status().verdict is Outcome.BLIND
    assert world.shares[-1][0] - world.shares[1][0] < 8


def test_a_candidate_that_turns_bad_in_its_bake_is_not_committed(records: Records) -> None:
    world = World()

    async def turns_bad(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.BAKING, lambda: setattr(world, "candidate", behaving(failed=0.2)))

    rollout = rolled_out(world, records, plan(objectives=EASY, steps=SHORT.steps, bake_s=120), turns_bad)
    assert rollout.phases()[-3:] == ["baking", "returning", "rolled back"]


def test_an_absent_baseline_holds_before_any_traffic_moved(records: Records) -> None:
    world = World(baseline_traced=False)

    async def gives_up(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.HOLDING, lambda: None)
        records.ask(rollout.id, "abort", "ann", "never mind", world.clock.now_unix_s())

    rollout = rolled_out(world, records, SHORT, gives_up)
    assert rollout.phases() == ["preflight", "holding", "returning", "rolled back"]
    assert "the baseline's spans do not arrive" in rollout.journal("phase")[1].text
    assert {percent for _, percent in world.shares} == {0.0}


def test_a_proxy_that_already_sends_traffic_to_the_candidate_is_left_alone(records: Records) -> None:
    world = World(by_hand=Routing(30.0))

    async def mends(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.HOLDING, lambda: setattr(world, "by_hand", None))
        records.ask(rollout.id, "resume", "ann", "mended", world.clock.now_unix_s())

    rollout = rolled_out(world, records, SHORT, mends)
    assert rollout.phases()[:4] == ["preflight", "holding", "preflight", "shifting"]
    assert rollout.phases()[-1] == "committed"


def test_a_weight_that_somebody_sets_by_hand_ends_the_rollout(records: Records) -> None:
    world = World()

    async def meddles(rollout: Rollout) -> None:
        await world.when(
            lambda: rollout.driver.position.step == 0 and world.share(world.now()) > 0, lambda: setattr(world, "by_hand", Routing(80.0))
        )
        await world.when(lambda: rollout.driver.position.phase is Phase.RETURNING, lambda: setattr(world, "by_hand", None))

    rollout = rolled_out(world, records, SHORT, meddles)
    assert rollout.phases()[-2:] == ["returning", "rolled back"]
    assert "80 % go to the candidate, and 5 % were asked for" in rollout.journal("phase")[-2].text


def test_an_unreachable_proxy_ends_in_returning_until_it_says_baseline(records: Records) -> None:
    world = World()
    seen: list[str] = []

    async def vanishes(rollout: Rollout) -> None:
        await world.when(lambda: world.share(world.now()) > 0, lambda: setattr(world, "proxy_answers", False))
        await world.when(lambda: rollout.driver.position.phase is Phase.RETURNING, lambda: None)
        await asyncio.sleep(60)
        assert rollout.driver.position.phase is Phase.RETURNING
        seen.append(rollout.driver.status().waiting_for)
        assert world.in_force()[0] == Routing(0.0)  # the lease has ended
        world.proxy_answers = True

    rollout = rolled_out(world, records, SHORT, vanishes)
    assert rollout.phases()[-2:] == ["returning", "rolled back"]
    assert "the proxy to say that the baseline has all traffic" in seen[0]


def test_a_store_that_fails_holds_and_then_goes_back(records: Records) -> None:
    world = World()

    async def fails(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.WATCHING, lambda: setattr(world, "store_works", False))

    rollout = rolled_out(world, records, SHORT, fails)
    assert rollout.phases()[-2:] == ["returning", "rolled back"]
    assert world.shares[-1][1] == 0.0


def test_missing_evidence_holds_and_somebody_resumes_or_the_plan_returns(records: Records) -> None:
    world = World(rate_per_s=10)  # far too few requests for a PASS
    asked = plan(steps=(replace(PLAN.steps[1], maximum_s=60),), deadline_s=300, without_evidence=Otherwise.RETURN)
    rollout = rolled_out(world, records, asked)
    assert rollout.phases()[-3:] == ["watching", "returning", "rolled back"]
    assert "there is still missing: a PASS" in rollout.journal("phase")[-2].text


def test_a_hold_keeps_the_weight_and_its_lease_until_it_is_resumed(records: Records) -> None:
    world = World()
    held: list[float] = []

    async def holds(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.WATCHING, lambda: None)
        records.ask(rollout.id, "hold", "ann", "let us look", world.clock.now_unix_s())
        await world.when(lambda: rollout.driver.position.phase is Phase.HOLDING, lambda: None)
        await asyncio.sleep(40)
        held.append(world.share(world.now()))
        records.ask(rollout.id, "resume", "bob", "all well", world.clock.now_unix_s())

    rollout = rolled_out(world, records, SHORT, holds)
    assert held == [0.05]
    assert rollout.phases()[-1] == "committed"
    assert [e.actor for e in rollout.journal("phase") if e.data["event"] in {"hold asked", "resumed"}] == ["ann", "bob"]


def test_an_abort_tells_the_proxy_before_anything_is_written(records: Breakable) -> None:
    world = World()

    async def aborts(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.WATCHING, lambda: None)
        await asyncio.sleep(1)

        records.broken = "disk full"
        await rollout.driver.abort_now("ann", "customers call")
        assert world.share(world.now()) == 0.0
        await asyncio.sleep(30)
        assert world.share(world.now()) == 0.0
        records.broken = None

    rollout = rolled_out(world, records, SHORT, aborts)
    assert rollout.phases()[-2:] == ["returning", "rolled back"]
    assert world.default == Routing(0.0)


def test_records_that_do_not_answer_for_a_lease_send_the_traffic_back(records: Breakable) -> None:
    world = World()
    back_after_s: list[float] = []

    async def breaks(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.WATCHING, lambda: None)

        records.broken = "database is locked"
        broke = world.now()
        await world.when(lambda: world.share(world.now()) == 0.0, lambda: None, limit_s=60)
        back_after_s.append(world.now() - broke)
        await asyncio.sleep(20)
        records.broken = None

    rollout = rolled_out(world, records, SHORT, breaks)
    assert back_after_s[0] <= 3 * PLAN.traffic.lease_s
    assert rollout.phases()[-2:] == ["returning", "rolled back"]
    assert "the rollout's records could not be written: could not" in rollout.journal("phase")[-2].text


def test_a_plan_that_cannot_go_back_freezes_and_calls_people(records: Records) -> None:
    world = World(candidate=behaving(failed=0.05))
    kept: list[float] = []

    async def decides(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.FROZEN, lambda: None)
        await asyncio.sleep(100)
        kept.append(world.share(world.now()))
        await rollout.driver.abort_now("ann", "the old data can be read after all")

    rollout = rolled_out(world, records, replace(SHORT, when_worse=WhenWorse.FREEZE), decides)
    assert kept[0] > 0
    assert rollout.phases()[-3:] == ["frozen", "returning", "rolled back"]


def test_a_freeze_lets_nothing_forward_and_everything_back(records: Records) -> None:
    world = World()
    frozen = replace(SHORT, schedule=Schedule(freezes=(Freeze(START_UNIX_S + 20, START_UNIX_S + 400, "audit"),)))

    async def looks(rollout: Rollout) -> None:
        await asyncio.sleep(380)
        assert max(world.share(t) for t in range(380)) <= 0.05
        assert "the end of the freeze: audit" in rollout.driver.status().waiting_for

    rollout = rolled_out(world, records, frozen, looks)
    assert rollout.phases()[-1] == "committed"
    assert all(at >= 400 for at, _, percent in world.applied if percent > 5)


def test_a_baseline_that_is_learned_again_is_what_the_rollout_is_judged_by(records: Records) -> None:
    world = World()
    frozen = replace(SHORT, schedule=Schedule(freezes=(Freeze(START_UNIX_S, START_UNIX_S + 400, "audit"),)))

    async def main() -> Rollout:
        rollout = Rollout(world, records, frozen)
        async with rollout.driver.running():
            holds = asyncio.create_task(world.when(lambda: rollout.driver.watch.looks >= 20, lambda: ask(records, rollout.id, "hold")))
            await rollout.until(Phase.HOLDING)
            await holds
            before = records.load(rollout.id).reference
            world.pace = 1.5
            resumes = asyncio.create_task(world.when(lambda: world.now() > 450, lambda: ask(records, rollout.id, "resume")))
            await rollout.until(Phase.WATCHING)
            await resumes
            assert records.load(rollout.id).reference != before
            await asyncio.sleep(10.5)
            judged = evidence_of(rollout)
        rollout.driver = rollout.take_over("g2")
        async with rollout.driver.running():
            assert evidence_of(rollout) == judged
        return rollout

    run(main())


def evidence_of(rollout: Rollout) -> tuple[int, bytes]:
    watch = rollout.driver.watch
    assert watch._judging is not None
    return watch.looks, watch._judging.judgement().canonical_bytes()


def ask(records: Records, rollout_id: str, kind: str) -> None:
    records.ask(rollout_id, kind, "ann", "", START_UNIX_S)


def test_a_commit_by_hand_ends_the_bake_early(records: Records) -> None:
    world = World()

    async def commits(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.BAKING, lambda: None)
        await asyncio.sleep(5)
        records.ask(rollout.id, "commit", "ann", "seen enough", world.clock.now_unix_s())

    rollout = rolled_out(world, records, replace(SHORT, bake_s=5000), commits)
    assert rollout.phases()[-2:] == ["committing", "committed"]
    assert rollout.journal("phase")[-2].actor == "ann"


def test_a_guard_that_takes_over_goes_on_where_the_other_was(records: Records) -> None:
    world = World()

    async def main() -> Rollout:
        rollout = Rollout(world, records)
        async with rollout.driver.running():
            await rollout.until(Phase.WATCHING)
            looks = rollout.driver.watch.looks
        await asyncio.sleep(30)  # nobody renews: the lease ends
        assert world.in_force()[0] == Routing(0.0)
        rollout.driver = rollout.take_over("g2")
        async with rollout.driver.running():
            assert rollout.driver.watch.looks >= looks
            assert rollout.driver.position.phase is Phase.WATCHING
            await rollout.until(Phase.COMMITTED, Phase.ROLLED_BACK)
        return rollout

    rollout = run(main())
    assert rollout.phases()[-1] == "committed"
    assert "guard.recovered" in rollout.kinds()
    assert rollout.driver.status().guard == "g2"


GONE = {
    "look": "1 of the {looks} looks it was judged by are gone or were changed, the first of them look 12",
    "reference": "what the baseline was like is gone, or was changed",
}


@pytest.mark.parametrize("how", ["erased", "changed"])
@pytest.mark.parametrize("what", GONE)
def test_a_rollout_whose_evidence_is_gone_is_not_judged_on(records: Records, what: str, how: str) -> None:
    """It holds and says why; the candidate gets no traffic from a guard that cannot judge it, and resuming does not help."""
    world = World()
    query = {"look": "SELECT digest FROM verdigris_looks WHERE number = 12", "reference": "SELECT reference FROM verdigris_rollouts"}[what]
    change = {"erased": "DELETE FROM verdigris_evidence", "changed": "UPDATE verdigris_evidence SET content = X'00'"}[how]

    async def main() -> Rollout:
        rollout = Rollout(world, records)
        async with rollout.driver.running():
            await rollout.until(Phase.WATCHING)
            await asyncio.sleep(15)
            looks = rollout.driver.watch.looks
        with records._transaction("take it away") as connection:
            connection.exec_driver_sql(f"{change} WHERE digest = ({query})")
        await asyncio.sleep(30)  # the lease ends
        applied = list(world.applied)
        rollout.driver = rollout.take_over("g2")
        async with rollout.driver.running():
            await rollout.until(Phase.HOLDING)
            why = GONE[what].format(looks=looks)
            assert rollout.driver.position.reason == f"it cannot be judged on: {why}; end it, or begin it anew"
            resumes = asyncio.create_task(world.when(lambda: True, lambda: ask(records, rollout.id, "resume")))
            await rollout.until(Phase.SHIFTING)
            await rollout.until(Phase.HOLDING)
            await resumes
            assert world.applied == applied
            await rollout.until(Phase.ROLLED_BACK)
        return rollout

    rollout = run(main())
    assert world.applied[-1][2] == 5.0
    assert [s for s in rollout.phases() if s == "committed"] == []


def test_what_is_learned_anew_needs_no_evidence_from_before(records: Records) -> None:
    """Before any traffic: resumed, the baseline is learned again, and what was taken away is not needed."""
    world = World()
    frozen = replace(SHORT, schedule=Schedule(freezes=(Freeze(START_UNIX_S, START_UNIX_S + 400, "audit"),)))

    async def main() -> Rollout:
        rollout = Rollout(world, records, frozen)
        async with rollout.driver.running():
            holds = asyncio.create_task(world.when(lambda: rollout.driver.watch.looks >= 20, lambda: ask(records, rollout.id, "hold")))
            await rollout.until(Phase.HOLDING)
            await holds
        with records._transaction("take it away") as connection:
            connection.exec_driver_sql("DELETE FROM verdigris_evidence")
        rollout.driver = rollout.take_over("g2")
        async with rollout.driver.running():
            assert "looks it was judged by" in (rollout.driver.watch.lost or "") or "the baseline was like" in (
                rollout.driver.watch.lost or ""
            )
            resumes = asyncio.create_task(world.when(lambda: world.now() > 450, lambda: ask(records, rollout.id, "resume")))
            await rollout.until(Phase.WATCHING)
            await resumes
            assert rollout.driver.watch.lost is None
            await asyncio.sleep(10.5)
            judged = evidence_of(rollout)
        rollout.driver = rollout.take_over("g3")
        async with rollout.driver.running():
            assert evidence_of(rollout) == judged
        return rollout

    run(main())


def test_a_guard_that_was_replaced_stops_and_does_not_touch_the_proxy(records: Records) -> None:
    world = World()

    async def main() -> None:
        rollout = Rollout(world, records)
        old = rollout.driver
        async with old.running():
            await rollout.until(Phase.WATCHING)
            new = rollout.take_over("g2")
            async with new.running():
                touched = len(world.applied)
                with pytest.raises(Superseded):
                    await old.advance()
                assert len(world.applied) == touched

    run(main())


def test_the_status_says_what_is_waited_for(records: Records) -> None:
    world = World()
    said: list[str] = []

    async def looks(rollout: Rollout) -> None:
        while True:
            status = rollout.driver.status()
            if status.waiting_for and (not said or said[-1] != status.waiting_for):
                said.append(status.waiting_for)
            await asyncio.sleep(0.5)

    rolled_out(world, records, SHORT, looks)
    assert said[0] == "the baseline to be learned"
    assert any("minimum time at 5 %" in text for text in said)
    assert "the end of the bake" in said


def test_steps_with_requests_only_are_passed_on_traced_requests(records: Records) -> None:
    world = World()
    asked = replace(SHORT, steps=(replace(SHORT.steps[0], required=Required(passed=False, candidate_requests=500)), SHORT.steps[1]))
    rollout = rolled_out(world, records, asked)
    first, second = (at for at, percent in world.shares if percent in {5.0, 50.0})
    assert second - first >= 500 / (0.05 * world.rate_per_s)
    assert rollout.phases()[-1] == "committed"


def test_telemetry_that_stops_for_both_roles_goes_back(records: Records) -> None:
    world = World()
    stopped: list[float] = []

    async def goes_dark(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.WATCHING, lambda: None)
        await asyncio.sleep(5)
        world.candidate.traced = world.baseline_traced = False
        stopped.append(world.now())

    rollout = rolled_out(world, records, SHORT, goes_dark)
    assert rollout.phases()[-2:] == ["returning", "rolled back"]
    assert rollout.driver.status().verdict is Outcome.BLIND
    assert world.shares[-1][0] - stopped[0] < 10


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
@pytest.mark.parametrize(("phase", "step"), [(Phase.WATCHING, 0), (Phase.WATCHING, 1), (Phase.BAKING, 2)])
def test_a_clock_that_is_set_by_an_hour_moves_nothing_forward(records: Records, phase: Phase, step: int, step_s: float) -> None:
    world = World(rate_per_s=200)
    set_at: list[tuple[float, float]] = []

    async def sets_the_clock(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.step == step and rollout.driver.position.phase is phase, lambda: None)
        await asyncio.sleep(3)
        world.clock.step_s = step_s
        set_at.append((world.now(), world.share(world.now()) * 100))

    asked = replace(SHORT, without_evidence=Otherwise.RETURN)
    rollout = rolled_out(world, records, asked, sets_the_clock)
    ((at, percent),) = set_at
    assert not any("mistake" in e.text for e in rollout.journal("phase"))
    if rollout.phases()[-1] == "rolled back":  # a deadline seems to be over, or the same hour comes again: that is no evidence
        assert max(after for when, after in world.shares if when >= at - 3) <= percent
    else:
        further = [when for when, after in world.shares if when > at and after > percent]
        assert further[0] - at >= (asked.bake_s if phase is Phase.BAKING else asked.steps[step].minimum_s) - 3
        assert rollout.driver.status().verdict is Outcome.PASS


def test_a_clock_that_is_set_back_leaves_evidence_that_gives_the_same_again(records: Records) -> None:
    world = World()

    async def main() -> None:
        rollout = Rollout(world, records)
        async with rollout.driver.running():
            await rollout.until(Phase.WATCHING)
            watching = asyncio.create_task(rollout.until(Phase.SHIFTING, Phase.HOLDING, Phase.RETURNING))
            await asyncio.sleep(5)
            world.clock.step_s = -3.0
            await asyncio.sleep(4)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            judged = evidence_of(rollout)
        rollout.driver = rollout.take_over("g2")
        async with rollout.driver.running():
            assert evidence_of(rollout) == judged

    run(main())


def test_a_guard_that_comes_back_after_the_bake_does_not_commit_what_nobody_watched(records: Records) -> None:
    world = World()

    async def main() -> None:
        rollout = Rollout(world, records)
        async with rollout.driver.running():
            await rollout.until(Phase.BAKING)
        await asyncio.sleep(10 * SHORT.bake_s)
        rollout.driver = rollout.take_over("g2")
        came_back = world.now()
        world.candidate.failed = 0.3
        async with rollout.driver.running():
            await rollout.until(Phase.COMMITTED, Phase.ROLLED_BACK)
        assert rollout.phases()[-1] == "rolled back"
        assert not [at for at, _, percent in world.applied if percent == 100 and at >= came_back]

    run(main())


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.COMMITTING])
def test_what_was_decided_long_ago_is_not_done(records: Records, phase: Phase) -> None:
    world = World()

    async def main() -> None:
        rollout = Rollout(world, records)
        async with rollout.driver.running():
            await rollout.until(Phase.WATCHING)
            await rollout.until(phase)
        before = list(world.applied)
        await asyncio.sleep(3600)
        rollout.driver = rollout.take_over("g2")
        async with rollout.driver.running():
            position = await rollout.driver.advance()
            assert position.phase is (Phase.HOLDING if phase is Phase.SHIFTING else Phase.RETURNING)
            assert "nobody has looked since" in position.reason
        assert world.applied == before

    run(main())


def test_an_abort_does_not_wait_for_a_proxy_that_does_not_answer(records: Records) -> None:
    world = World()
    took_s: list[float] = []

    async def aborts(rollout: Rollout) -> None:
        def now(_generation: int, wanted: float) -> None:
            if wanted == 50.0 and not took_s:
                world.proxy_answers = False
                took_s.append(-1.0)
                stopping.append(asyncio.create_task(stops(rollout)))

        world.before_change = now

    async def stops(rollout: Rollout) -> None:
        await asyncio.sleep(1)
        at = world.now()
        await rollout.driver.abort_now("ann", "stop")
        took_s[0] = world.now() - at
        await asyncio.sleep(5)
        world.proxy_answers = True

    stopping: list[asyncio.Task[None]] = []
    rollout = rolled_out(world, records, replace(SHORT, traffic=replace(SHORT.traffic, lease_s=60.0)), aborts)
    assert 0 <= took_s[0] < 1
    assert rollout.phases()[-1] == "rolled back"


def test_an_abort_after_the_commit_changes_nothing_and_says_so(records: Records) -> None:
    world = World()
    rollout = rolled_out(world, records)

    async def aborts() -> None:
        with pytest.raises(RolloutError, match="is over; nothing was changed"):
            await rollout.driver.abort_now("ann", "too late")

    run(aborts())
    assert world.default == Routing(100.0)


def test_a_reference_of_a_slow_hour_does_not_keep_a_good_candidate_from_passing(records: Records) -> None:
    world = World(pace=4.0)

    async def calms_down(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.WATCHING, lambda: setattr(world, "pace", 1.0))

    asked = replace(
        SHORT, steps=(replace(SHORT.steps[0], minimum_s=20), replace(SHORT.steps[1], maximum_s=150)), without_evidence=Otherwise.RETURN
    )
    rollout = rolled_out(world, records, asked, calms_down)
    assert rollout.phases()[-1] == "committed"


@pytest.mark.parametrize("percent", [5.0, 50.0, 95.0])
def test_an_abort_in_the_middle_of_a_shift_has_the_last_word(records: Records, percent: float) -> None:
    world = World()
    aborting: list[asyncio.Task[None]] = []

    async def aborts(rollout: Rollout) -> None:
        def now(_generation: int, wanted: float) -> None:
            if wanted == percent and not aborting:
                aborting.append(asyncio.create_task(rollout.driver.abort_now("ann", "stop")))

        world.before_change = now

    rollout = rolled_out(world, records, SHORT, aborts)
    assert rollout.phases()[-2:] == ["returning", "rolled back"]
    last = world.shares.index(next(share for share in world.shares if share[1] == percent))
    assert {share for _, share in world.shares[last + 1 :]} == {0.0}
    assert world.applied[-1][2] == percent


def test_the_kept_document_never_lags_behind_the_kept_position(records: Breakable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another guard, or this one after a kill, reads both from the records at any moment."""
    kept = []
    moved = records.move

    def move(claim: Claim, *arguments: Any) -> None:
        moved(claim, *arguments)
        stored = records.load(claim.rollout_id)
        assert stored.status is not None
        kept.append((read_status(stored.status).phase, stored.position.phase))

    monkeypatch.setattr(records, "move", move)
    rollout = rolled_out(World(candidate=behaving(failed=0.3)), records)
    assert rollout.driver.position.phase is Phase.ROLLED_BACK
    assert len(kept) > 3
    assert all(document is position for document, position in kept)
    ended = read_status(str(records.load(rollout.id).status))
    assert (ended.verdict, ended.observed_percent) == (Outcome.FAIL, 0)
