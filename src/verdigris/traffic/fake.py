"""A data plane with simulated time, for tests of what uses one. It passes the contract suite of the real ones."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from verdigris.traffic.data_plane import BASELINE_ONLY, OutcomeUnknown, Routing, Split, StaleGeneration, TrafficError


@dataclass(slots=True)
class FakeProxy:
    """The proxy: what it holds outlives the adapters. `clock` gives seconds; a lease ends when it says so.

    `silent`: it cannot be read. `refuses`: it cannot be told. `swallows`: it is told, and does not answer.
    """

    clock: Callable[[], float]
    seed: int = 1
    committed: bool = False
    fenced: int = 0
    leased: Routing = BASELINE_ONLY
    generation: int = 0
    until_s: float = -math.inf
    by_hand: float | None = None
    silent: bool = False
    refuses: bool = False
    swallows: bool = False
    candidate_fails: bool = False
    requests: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    failures: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    copies: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Draw from the seed."""
        self._random = random.Random(self.seed)  # noqa: S311  # a simulation

    def holds_lease(self) -> bool:
        """Whether a lease is in force."""
        return self.clock() < self.until_s and self.generation > self.fenced

    def routing(self) -> Routing:
        """What is in force."""
        if self.by_hand is not None:
            return Routing(self.by_hand)
        if self.holds_lease():
            return self.leased
        return Routing(100.0) if self.committed else BASELINE_ONLY

    def request(self, *, chosen: bool = False) -> bool | None:
        """One request. Returns: whether the candidate answered; None if it failed."""
        routing = self.routing()
        drawn = 100 * self._random.random()
        to_candidate = (chosen and routing.chosen_users) or drawn < routing.candidate_percent
        self.requests[to_candidate] += 1
        if not to_candidate and 100 * self._random.random() < routing.mirror_percent:
            self.copies += 1
        if to_candidate and self.candidate_fails:
            self.failures[True] += 1
            return None
        return to_candidate

    def restart(self) -> None:
        """Only what is durable stays, and the lease as far as a guard is there to tell it again."""
        self.requests, self.failures, self.by_hand = {False: 0, True: 0}, {False: 0, True: 0}, None

    def split(self) -> Split | None:
        """What it says."""
        if self.silent:
            return None
        return Split(
            routing=self.routing(), generation=self.generation if self.holds_lease() and self.by_hand is None else None,
            committed=self.committed, baseline_requests=self.requests[False], candidate_requests=self.requests[True],
            baseline_failures=self.failures[False], candidate_failures=self.failures[True], clock_offset_s=0.0,
        )  # fmt: skip


class FakeDataPlane:
    """`DataPlane` over a `FakeProxy`."""

    def __init__(self, proxy: FakeProxy) -> None:
        self.proxy = proxy
        self._newest = 0
        self._lease: tuple[int, float] | None = None
        self._closed = False

    async def observe(self) -> Split | None:
        """What is in force now."""
        return self.proxy.split()

    async def apply(self, generation: int, routing: Routing, lease_s: float) -> Split | None:
        """Put `routing` in force for `lease_s`, or renew it."""
        proxy, now_s = self.proxy, self.proxy.clock()
        if self._closed:
            msg = "this data plane is closed; nothing was sent"
            raise TrafficError(msg)
        if self._lease is not None and generation <= self._lease[0] and now_s >= self._lease[1]:
            msg = f"the lease of generation {self._lease[0]} ended; apply with a newer generation"
            raise StaleGeneration(msg, self._lease[0])
        in_force = proxy.generation if proxy.holds_lease() else 0
        newest = max(self._newest, in_force, proxy.fenced)
        if generation <= proxy.fenced or generation < newest:
            msg = f"generation {generation} is over: the newest is {newest}"
            raise StaleGeneration(msg, newest)
        if proxy.silent:
            return None
        if proxy.refuses:
            msg = "the proxy is not connected; nothing was sent"
            raise TrafficError(msg)
        self._newest, self._lease = generation, (generation, now_s + lease_s)
        proxy.leased, proxy.generation, proxy.until_s = routing, generation, now_s + lease_s
        if proxy.swallows:
            msg = "sent, and no answer came; read back before acting again"
            raise OutcomeUnknown(msg)
        return proxy.split()

    async def return_to_baseline(self, generation: int) -> Split | None:
        """All traffic to the baseline, now, and as the durable default."""
        self._fence(max(generation, self._newest), committed=False)
        return self.proxy.split()

    async def commit(self, generation: int) -> Split | None:
        """All traffic to the candidate, as the durable default."""
        proxy = self.proxy
        again = generation == proxy.fenced and proxy.committed
        if generation < self._newest or (generation <= proxy.fenced and not again):
            newest = max(self._newest, proxy.fenced)
            msg = f"generation {generation} is over: the newest is {newest}"
            raise StaleGeneration(msg, newest)
        self._fence(generation, committed=True)
        return proxy.split()

    async def close(self) -> None:
        """Let go of the proxy."""
        self._closed = True

    def _fence(self, generation: int, *, committed: bool) -> None:
        self.proxy.committed, self.proxy.by_hand, self.proxy.until_s = committed, None, -math.inf
        self.proxy.fenced = self._newest = max(generation, self.proxy.fenced)
        self._lease = None
