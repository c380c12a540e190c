"""Asking for a PASS by the baseline as it is now."""

import numpy as np
from tests.unit.rollout_world import World
from tests.virtual import START_UNIX_S, run

from verdigris.judge.live import LiveState, begin_step, judgement, look, open_judge, reanchored
from verdigris.judge.reference import Proxied, Reference, learn
from verdigris.judge.verdict import Outcome
from verdigris.judge.windows import Window, Windows
from verdigris.plan.objectives import Objectives
from verdigris.plan.policy import Policy, Tolerance

EASY = Objectives(Policy(errors_pass=Tolerance(1.5, 0.02), latency_margin_pass=0.6))


def windows(world: World, start: int, count: int) -> list[Window]:
    async def made() -> list[Window]:
        return [w for at in range(start, start + count) if (w := world.window(int(START_UNIX_S) + at)) is not None]

    return run(made())


def looked_at(state: LiveState, seen: list[Window]) -> LiveState:
    for window in seen:
        state = look(state, window, Proxied(window.baseline.traces.traces, window.candidate.traces.traces))
    return state


def learned(world: World, start: int) -> Reference:
    return learn(Windows(1, tuple(windows(world, start, 20))), EASY)


def half(world: World) -> World:
    world.shares = [(0.0, 50.0)]
    return world


def test_what_was_shown_is_kept_and_the_thresholds_are_new() -> None:
    slow, fast = half(World(pace=3.0)), half(World())
    state = looked_at(open_judge(learned(slow, 0), EASY), windows(slow, 100, 5))
    newer = reanchored(state, learned(fast, 200))
    assert np.allclose(np.sort(newer.health.log_wealth), np.sort(state.health.log_wealth))
    assert {q.bucket for q in newer.asking.questions} != {q.bucket for q in state.asking.questions}
    assert newer.faults is state.faults
    fresh = begin_step(state, learned(fast, 200))
    assert not fresh.health.log_wealth.any()


def test_a_pass_comes_after_the_system_became_faster_only_by_new_thresholds() -> None:
    slow, fast = half(World(pace=4.0)), half(World())
    state = open_judge(learned(slow, 0), EASY)
    seen = windows(fast, 100, 60)
    assert judgement(looked_at(state, seen)).verdict is Outcome.NOT_ENOUGH_DATA
    assert judgement(looked_at(reanchored(state, learned(fast, 50)), seen)).verdict is Outcome.PASS


def test_what_only_the_older_reference_knows_is_still_asked() -> None:
    world = half(World())
    old = learned(world, 0)
    nothing = Reference(old.window_s, old.windows, old.traces, old.traced_share, (), ())
    assert {q.operation for q in reanchored(open_judge(old, EASY), nothing).asking.questions} == {o.operation for o in old.operations}
