"""A guard that is killed with SIGKILL at a chosen call, in a process of its own, and a world that outlives it.

Time is virtual in both lives; the records are a real database on disk, and the kill is a real kill.
"""

import asyncio
import contextlib
import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.unit.rollout_world import World
from tests.virtual import VirtualLoop, at_once

from verdigris.plan.plan import Plan
from verdigris.rollout.driver import Driver
from verdigris.rollout.records import Records
from verdigris.rollout.surroundings import Surroundings
from verdigris.rollout.transitions import TERMINAL
from verdigris.traffic.data_plane import Routing, Split

GUARD = "g1"

STEPS = {
    "claim a rollout": "claim",
    "renew a claim": "hear",
    "record a transition": "move",
    "record an intended weight": "intend",
    "adopt a proxy's generation": "adopt",
    "keep the reference": "keep_reference",
    "keep evidence": "keep_look",
    "record a verdict": "verdict",
    "answer requests": "answered",
}
"""What the records call their transactions, and what they are called here; all others that record something are a `note`."""

NO_STEPS = {"open", "submit a plan", "list rollouts", "read a rollout", "read evidence", "read requests", "publish a status"}
"""What changes nothing that a guard goes on from."""


@dataclass(frozen=True)
class Point:
    """The `number`-th call of this kind, counted from 1; the kill comes before it, or after it took effect and before it returned."""

    call: str
    number: int
    took_effect: bool

    def __str__(self) -> str:
        return f"{'after' if self.took_effect else 'before'}-{self.call}-{self.number}"


class Trigger:
    """Counts calls and kills this process at the point. Without one, it writes down what was called."""

    def __init__(self, point: Point | None) -> None:
        self.point, self.calls = point, list[str]()

    @contextlib.contextmanager
    def around(self, call: str, save: Any) -> Iterator[None]:
        self.calls.append(call)
        here = self.point is not None and (call, self.calls.count(call)) == (self.point.call, self.point.number)
        if here and self.point is not None and not self.point.took_effect:
            save()
            os.kill(os.getpid(), signal.SIGKILL)
        yield
        save()
        if here:
            os.kill(os.getpid(), signal.SIGKILL)


class SavedWorld(World):
    """A world whose proxy is written to a file whenever somebody changes it: it does not die with the guard."""

    file: Path
    trigger: Trigger

    def save(self) -> None:
        kept = {k: getattr(self, k) for k in ("default", "leased", "newest", "fence", "shares", "applied")} | {"now": self.now()}
        self.file.write_bytes(pickle.dumps(kept))

    def load(self) -> float:
        kept = pickle.loads(self.file.read_bytes())
        for key, value in kept.items():
            if key != "now":
                setattr(self, key, value)
        return float(kept["now"])

    async def apply(self, generation: int, routing: Routing, lease_s: float) -> Split | None:
        if routing == self.in_force()[0]:
            return await super().apply(generation, routing, lease_s)
        with self.trigger.around("apply", self.save):
            return await super().apply(generation, routing, lease_s)

    async def return_to_baseline(self, generation: int) -> Split | None:
        with self.trigger.around("return_to_baseline", self.save):
            return await super().return_to_baseline(generation)

    async def commit(self, generation: int) -> Split | None:
        with self.trigger.around("commit", self.save):
            return await super().commit(generation)


class TriggeredRecords(Records):
    """Records that can be the last thing a guard touches."""

    trigger: Trigger | None = None
    save: Any = None

    @contextlib.contextmanager
    def _transaction(self, what: str) -> Iterator[sa.Connection]:
        if what in NO_STEPS or self.trigger is None:
            with super()._transaction(what) as connection:
                yield connection
            return
        name = STEPS.get(what, "note" if what.startswith("record ") else what)
        with self.trigger.around(name, self.save), super()._transaction(what) as connection:
            yield connection


def live(folder: Path, plan: Plan, world: SavedWorld, point: Point | None, *, away_s: float = 0.0) -> list[str]:
    """One life of a guard: begin or go on, to the end of the rollout or to the point. Returns the calls that could have been points."""
    loop = VirtualLoop()
    trigger = world.trigger = Trigger(point)
    world.file = folder / "world"
    records = TriggeredRecords(f"sqlite:///{folder / 'rollouts.sqlite'}")
    if world.file.exists():
        loop._waits.now_s = world.load() + away_s

    async def main() -> None:
        if not records.newest():
            records.submit(plan, "envoy:payments", "ann", GUARD, world.clock.now_unix_s())
        rollout_id = records.load("latest").id
        records.trigger, records.save = trigger, world.save
        claim = records.claim(rollout_id, GUARD, stale_after_s=60)
        if claim is None:  # it had ended before the kill
            return
        driver = Driver(plan, records.load(rollout_id), claim, world, records, Surroundings(world, world.clock, at_once))
        async with driver.running(), asyncio.timeout(5_000):
            while driver.position.phase not in TERMINAL:
                await driver.advance()
        world.save()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    records.close()
    return trigger.calls


def killed(folder: Path, plan: Plan, world: SavedWorld, point: Point) -> bool:
    """A life in a process of its own; whether it ended by the kill."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            live(folder, plan, world, point)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the guard failed before it was killed"
    return os.WIFSIGNALED(status)
