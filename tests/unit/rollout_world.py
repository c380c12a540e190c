"""A small world in virtual time for rollouts: a proxy with a lease, users, services in two versions, and their telemetry.

Requests are counted, not sent: so many a second, of which the proxy's weight goes to the candidate. Windows are made from the
same counts, so that proxy and telemetry agree as they do where tracing works.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from tests.virtual import START_UNIX_S, VirtualClock

from verdigris.judge.windows import UNIT, Operation, OperationCounts, RoleWindow, TraceCounts, Window, Windows
from verdigris.rollout.surroundings import Settled, TelemetryState
from verdigris.telemetry.store import StoreError
from verdigris.traffic.data_plane import BASELINE_ONLY, OutcomeUnknown, Routing, Split, StaleGeneration, TrafficError

LOOKUP = Operation("portal", "SERVER", "GET /lookup")


@dataclass
class Candidate:
    """How the candidate behaves: share of failed requests, how many times as slow, and whether its spans come."""

    failed: float = 0.002
    slower: float = 1.0
    traced: bool = True


@dataclass
class World:
    """Everything around a driver. Faults are switched on by tests while time goes on."""

    rate_per_s: int = 400
    candidate: Candidate = field(default_factory=Candidate)
    proxy_answers: bool = True
    baseline_traced: bool = True
    store_works: bool = True
    by_hand: Routing | None = None
    pace: float = 1.0
    """How many times as slow as usual everything is, in both roles."""
    seed: int = 1
    applied: list[tuple[float, int, float]] = field(default_factory=list)
    """Time, generation and candidate percent of each change that was put in force."""
    before_change: Callable[[int, float], None] = lambda generation, percent: None
    """Called before a change is put in force."""

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.default = BASELINE_ONLY
        self.leased: tuple[Routing, int, float] | None = None
        self.newest = self.fence = 0
        self.shares: list[tuple[float, float]] = [(0.0, 0.0)]
        self.closed = False

    # -- the proxy

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def in_force(self) -> tuple[Routing, int | None]:
        if self.by_hand is not None:
            return self.by_hand, None
        if self.leased is not None and self.now() >= self.leased[2]:
            self._changed(self.leased[2], self.default.candidate_percent)
            self.leased = None
        return (self.leased[0], self.leased[1]) if self.leased is not None else (self.default, None)

    def _changed(self, at: float, percent: float) -> None:
        if self.shares[-1][1] != percent:
            self.shares.append((at, percent))

    def _reachable(self) -> None:
        if not self.proxy_answers:
            msg = "connection refused"
            raise TrafficError(msg)

    async def observe(self) -> Split | None:
        self._reachable()
        routing, generation = self.in_force()
        base, cand = self.sent(0.0, self.now())
        failed = round(cand * self.candidate.failed)
        return Split(routing, generation, self.default.candidate_percent > 0, base, cand, 0, failed)

    async def apply(self, generation: int, routing: Routing, lease_s: float) -> Split | None:
        self._reachable()
        before, _ = self.in_force()
        if generation < self.newest or generation <= self.fence:
            msg = f"generation {generation} is older than {self.newest}"
            raise StaleGeneration(msg)
        self.newest = generation
        if routing != before:
            self.before_change(generation, routing.candidate_percent)
            self.applied.append((self.now(), generation, routing.candidate_percent))
        self.leased = (routing, generation, self.now() + lease_s)
        self._changed(self.now(), routing.candidate_percent)
        await asyncio.sleep(0.02)  # time in which other things happen
        return await self.observe()

    async def return_to_baseline(self, generation: int) -> Split | None:
        if not self.proxy_answers:
            msg = "no answer"
            raise OutcomeUnknown(msg)
        self.fence = max(self.fence, self.newest, generation)
        self.default, self.leased = BASELINE_ONLY, None
        self._changed(self.now(), 0.0)
        return await self.observe()

    async def commit(self, generation: int) -> Split | None:
        self._reachable()
        self.newest = self.fence = generation
        self.default, self.leased = Routing(100.0), None
        self._changed(self.now(), 100.0)
        return await self.observe()

    async def close(self) -> None:
        self.closed = True

    # -- the users

    def share(self, at: float) -> float:
        return next(percent for since, percent in reversed(self.shares) if since <= at) / 100

    def sent(self, start: float, end: float) -> tuple[int, int]:
        """Requests to each role between two moments: even, so that the proxy's counters and the windows agree."""
        cand = 0.0
        for (since, percent), (until, _) in zip(self.shares, [*self.shares[1:], (math.inf, 0.0)], strict=True):
            cand += max(0.0, min(end, until) - max(start, since)) * percent / 100
        whole = (end - start) * self.rate_per_s
        return round(whole - cand * self.rate_per_s), round(cand * self.rate_per_s)

    # -- the telemetry

    async def settled(self, after_unix_s: int) -> Settled:
        if not self.store_works:
            msg = "no space left on device"
            raise StoreError(msg)
        until = math.floor(self.clock.now_unix_s() - 1.0)
        return Settled(until, Windows(1, tuple(w for at in range(after_unix_s, until) if (w := self.window(at)) is not None)))

    def window(self, at_unix_s: int) -> Window | None:
        start = at_unix_s - START_UNIX_S
        base, cand = self.sent(start, start + 1)
        random = np.random.default_rng([self.seed, at_unix_s])
        made = Window(
            at_unix_s,
            self.half(base if self.baseline_traced else 0, Candidate(), random),
            self.half(cand if self.candidate.traced else 0, self.candidate, random),
        )
        return made if made.baseline.traces.traces or made.candidate.traces.traces else None

    def half(self, requests: int, behaviour: Candidate, random: np.random.Generator) -> RoleWindow:
        if not requests:
            return RoleWindow()
        counts: list[OperationCounts] = []
        for instance, n in enumerate(random.multinomial(requests, [1 / 3] * 3)):
            if not n:
                continue
            times_ms = random.lognormal(math.log(40 * behaviour.slower * self.pace), 0.5, n)
            buckets: dict[int, int] = {}
            for bucket in (math.ceil(math.log2(t * 1e6) * 32) - 1 for t in times_ms):
                buckets[bucket] = buckets.get(bucket, 0) + UNIT
            failed = int(random.binomial(n, behaviour.failed)) * UNIT
            total_ns = int(times_ms.sum() * 1e6)
            counts.append(
                OperationCounts(
                    LOOKUP, f"i{instance}", int(n), int(n) * UNIT, errors=failed, error_origins=failed, childless=int(n) * UNIT,
                    error_kinds={"500": failed} if failed else {}, durations=buckets, exclusives=buckets, duration_ns=total_ns,
                    exclusive_ns=total_ns, trace_ns=total_ns,
                )
            )  # fmt: skip
        return RoleWindow(TraceCounts(requests, requests, 0, requests, 0, {"portal": requests}), tuple(counts))

    def state(self) -> TelemetryState:
        return TelemetryState()

    def end(self) -> None:
        pass

    async def when(self, condition: Callable[[], bool], then: Callable[[], None], limit_s: float = 10_000) -> None:
        """Change the world as soon as something holds."""
        until = self.now() + limit_s
        while not condition():
            if self.now() > until:
                msg = "what the test waits for never happened"
                raise AssertionError(msg)
            await asyncio.sleep(0.1)
        then()


def behaving(**changes: float | bool) -> Candidate:
    """A candidate that differs from a good one."""
    return replace(Candidate(), **changes)  # type: ignore[arg-type]
