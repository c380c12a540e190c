"""The fake, with simulated time: the contract suite holds for it too, so tests that use it mean something."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from tests.contract.data_planes.harness import Answers, Feature, Load, Seen, Token

from verdigris.traffic.data_plane import DataPlane, Routing, TrafficError
from verdigris.traffic.fake import FakeDataPlane, FakeProxy

TICK_S = 0.01


@dataclass(slots=True)
class FakeGuard:
    """A guard that applies when the simulated time has come."""

    plane: FakeDataPlane
    generation: int
    routing: Routing
    lease_s: float
    every_s: float
    next_s: float
    alive: bool = True
    harness: "FakeHarness | None" = None
    heard: list[str] = field(default_factory=list)

    def kill(self) -> None:
        self.alive = False

    freeze = kill

    def wake(self) -> None:
        self.alive = True

    async def said(self, what: str) -> None:
        assert self.harness is not None
        self.heard.clear()

        async def told() -> bool:
            return what in self.heard

        await self.harness.wait_until(told, 15.0)

    async def act(self, now_s: float) -> None:
        if not self.alive or now_s < self.next_s:
            return
        self.next_s = now_s + self.every_s
        try:
            split = await self.plane.apply(self.generation, self.routing, self.lease_s)
            self.heard.append("applied" if split is not None and split.generation == self.generation else "not in force")
        except TrafficError as error:
            self.heard.append(type(error).__name__)


class FakeHarness:
    """See `Harness`."""

    features = frozenset({Feature.MIRROR, Feature.CHOSEN_USERS, Feature.CONTROL_CONNECTION})

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.proxy = FakeProxy(lambda: self.now_s)
        self._guards: list[FakeGuard] = []

    async def open(self) -> DataPlane:
        return FakeDataPlane(self.proxy)

    async def restart_proxy(self) -> None:
        self.proxy.restart()

    async def cut_control(self) -> None:
        self.proxy.refuses = True

    async def mend_control(self) -> None:
        self.proxy.refuses = False

    async def change_by_hand(self, candidate_percent: float) -> None:
        self.proxy.by_hand = candidate_percent

    async def send(self, requests: int, token: Token | None = None, *, cookie: bool = False) -> Answers:
        answers = [self.proxy.request(chosen=token is Token.VALID) for _ in range(requests)]
        return Answers(answers.count(False), answers.count(True), answers.count(None))

    async def seen(self) -> Seen:
        requests, failures = self.proxy.requests, self.proxy.failures
        return Seen(requests[False], requests[True] - failures[True] + self.proxy.copies)

    async def break_candidate(self) -> None:
        self.proxy.candidate_fails = True

    def load(self) -> contextlib.AbstractAsyncContextManager[Load]:
        raise NotImplementedError

    async def guard(self, generation: int, routing: Routing, lease_s: float, every_s: float) -> FakeGuard:
        guard = FakeGuard(FakeDataPlane(self.proxy), generation, routing, lease_s, every_s, self.now_s, harness=self)
        self._guards.append(guard)
        await guard.said("applied")
        return guard

    async def wait_until(self, holds: Callable[[], Awaitable[bool]], within_s: float) -> float:
        began_s = self.now_s
        while not await holds():
            assert self.now_s - began_s <= within_s, f"this did not happen within {within_s} s"
            await self.pass_time(TICK_S)
        return self.now_s - began_s

    async def pass_time(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += TICK_S
            for guard in self._guards:
                await guard.act(self.now_s)


@contextlib.asynccontextmanager
async def fake_harness() -> AsyncIterator[FakeHarness]:
    """Nothing real."""
    yield FakeHarness()
