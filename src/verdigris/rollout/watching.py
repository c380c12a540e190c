"""While a weight is in force: keep its lease, count what the proxy sends, look at every window that closes, and judge.

Two tasks. `keep` renews the lease every third of it and reads the proxy's counters; it stops renewing when nobody has looked for
too long, so that a judge that hangs means the baseline. `look` takes closed windows, keeps them as evidence, and then judges.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from verdigris.judge.fast_path import too_many_failures
from verdigris.judge.live import LiveJudgement
from verdigris.judge.reference import Reference, learn
from verdigris.judge.windows import Window, Windows
from verdigris.plan.plan import Plan
from verdigris.rollout.evidence import Look, every_window
from verdigris.rollout.judging import Judging
from verdigris.rollout.proxied import ProxyCounters
from verdigris.rollout.records import Claim, Records, RecordsUnavailable
from verdigris.rollout.surroundings import Surroundings
from verdigris.telemetry.store import StoreError
from verdigris.traffic.data_plane import DataPlane, Routing, Split, StaleGeneration, TrafficError

OBSERVE_EVERY_S = 0.5
STORE_AGAIN_S = 1.0

WINDOWS_AT_ONCE_MAX = 120
"""At most so many windows are looked at together; a gap of hours is not made up for window by window."""


@dataclass(frozen=True, slots=True)
class InForce:
    """What was applied, and with which generation."""

    generation: int
    routing: Routing


class Watch:
    """Everything that is seen of one rollout, from the preflight to its end."""

    def __init__(self, plan: Plan, plane: DataPlane, records: Records, claim: Claim, around: Surroundings) -> None:
        """Nothing is seen yet; `remember` brings back what an earlier guard saw."""
        self.plan, self.plane, self.records, self.claim, self.around = plan, plane, records, claim, around
        self.counters = ProxyCounters()
        self.split: Split | None = None
        self.in_force: InForce | None = None
        self.doubt: str | None = None
        self.unasked: Split | None = None
        """What the proxy said that is in doubt: a weight that nobody asked it for."""
        self.reference: Reference | None = None
        self.judgement: LiveJudgement | None = None
        self.changes = 0
        """Counts everything that people would like to see; the status is published when it has moved."""
        self.newest: int | None = None
        """The proxy's newest generation, where it was newer than ours."""
        self.refusing: str | None = None
        """Why nothing is put in force any more."""
        self.unrecorded: tuple[float, RecordsUnavailable] | None = None
        self.traced = self.proxied = (0, 0)
        """Of the baseline and of the candidate, over the same windows."""
        self.failed_before = (0, 0)
        self.looks = 0
        self.lost: str | None = None
        """What of its evidence is gone: it cannot be judged on as if it had never been."""
        self._judging: Judging | None = None
        self._next_unix_s = 0
        self._traced_by_window: list[tuple[int, int, int]] = []
        self._steps: list[tuple[float, int]] = []
        self._step = self._looks_of_step = 0
        self._began_s = 0.0
        self._last_unix_s: int | None = None
        self._looked_s = around.clock.monotonic_s()
        self._observed_s = self._heard_s = self._looked_s
        self._applying = asyncio.Lock()
        self.observe_from_now()

    # -- the proxy ------------------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Renew the lease and count, for ever. What cannot be told is in `doubt`."""
        renewed_s = -self.plan.traffic.lease_s
        while True:
            now_s = self.around.clock.monotonic_s()
            if self.in_force is not None and now_s - renewed_s >= self.plan.traffic.lease_s / 3 and not self.stalled_s:
                try:
                    await self.renew()
                except RecordsUnavailable as error:
                    self._unrecorded(error)  # and not renewed: whether this guard is still the one who acts cannot be told
                renewed_s = now_s
            else:
                await self.observe()
            await asyncio.sleep(min(OBSERVE_EVERY_S, self.plan.traffic.lease_s / 6))

    async def renew(self) -> None:
        """Apply what is in force once more. A guard that was asleep asks first whether it is still the one who acts."""
        if self.around.clock.monotonic_s() - self._heard_s > self.around.takeover_after_s / 3:
            await self.hear()
        async with self._applying:
            if self.in_force is None:
                return
            try:
                self._seen(await self.plane.apply(self.in_force.generation, self.in_force.routing, self.plan.traffic.lease_s))
            except StaleGeneration as error:
                newer = error.newest is None or error.newest > self.in_force.generation
                # An adapter also refuses to renew what has ended: then nobody else was there, and it says so itself.
                self.doubt = "somebody else has set this proxy's weights since (a newer generation is in force)" if newer else str(error)
            except TrafficError as error:
                self._unseen(str(error))

    async def put_in_force(self, wanted: InForce) -> str | None:
        """Apply something else from now on. Returns None when the proxy says that it is in force, else what it says."""
        self.in_force = self.doubt = self.unasked = None
        give_up_s = self.around.clock.monotonic_s() + self.plan.traffic.lease_s
        answer = "it does not tell"
        while self.around.clock.monotonic_s() < give_up_s:
            # The lock is let go between attempts: somebody who wants the traffic back does not wait for a proxy that does not answer.
            async with self._applying:
                if self.refusing is not None:
                    return self.refusing
                try:
                    split = await self.plane.apply(wanted.generation, wanted.routing, self.plan.traffic.lease_s)
                except StaleGeneration as error:
                    self.newest = error.newest
                    return "somebody else has set this proxy's weights since (a newer generation is in force)"
                except TrafficError as error:
                    split, answer = None, str(error)
                self._seen(split)
                if split is not None and split.routing.agrees_with(wanted.routing):
                    self.in_force = wanted
                    return None
            if split is not None:
                answer = f"it says that {split.routing.candidate_percent:g} % go to the candidate"
            await asyncio.sleep(OBSERVE_EVERY_S / 2)
        return f"the proxy was asked for {wanted.routing.candidate_percent:g} %: {answer}"

    async def commit(self, generation: int) -> Split | None:
        """Make the candidate the durable default, unless somebody wants the traffic back. Raises: TrafficError."""
        async with self._applying:
            if self.refusing is not None:
                return None
            self.in_force = None
            self.split = await self.plane.commit(generation) or await self.plane.observe()
            return self.split

    async def refuse(self, why: str) -> None:
        """Nothing moves forward any more. What is being applied at this moment is waited for, so that what follows has the last word."""
        self.refusing = why
        await self.let_go()

    def began(self, unix_s: float, step: int) -> None:
        """From this time on the weight of this step of the plan is in force."""
        self._steps.append((unix_s, step))
        self._began_s, self._looks_of_step = self.around.clock.monotonic_s(), 0

    @property
    def in_force_s(self) -> float:
        """For how long this guard has kept the present weight in force; 0 while it keeps none."""
        return 0.0 if self.in_force is None else self.around.clock.monotonic_s() - self._began_s

    @property
    def looks_of_step(self) -> int:
        """Windows that began since, and were looked at."""
        return self._looks_of_step

    async def let_go(self) -> None:
        """Renew nothing any more."""
        async with self._applying:
            self.in_force = None

    async def observe(self) -> None:
        """Read the proxy without telling it anything."""
        try:
            self._seen(await self.plane.observe())
        except TrafficError as error:
            self._unseen(str(error))

    async def hear(self) -> None:
        """Say that this guard is alive. Raises: Superseded, RecordsUnavailable."""
        await self.around.offload(self.records.hear, self.claim)
        self._recorded()

    def _recorded(self) -> None:
        self._heard_s = self.around.clock.monotonic_s()
        self.unrecorded = None

    def _unrecorded(self, error: RecordsUnavailable) -> None:
        """The records do not answer. For one lease that is borne; then the driver goes back."""
        if self.unrecorded is None:
            self.unrecorded = (self.around.clock.monotonic_s(), error)

    def check_records(self) -> None:
        """Raises: RecordsUnavailable: they have not answered for as long as one lease."""
        if self.unrecorded is not None and self.around.clock.monotonic_s() - self.unrecorded[0] > self.plan.traffic.lease_s:
            raise self.unrecorded[1]

    def _seen(self, split: Split | None) -> None:
        if split is None:
            self._unseen("it does not tell")
            return
        self.counters.add(self.around.clock.now_unix_s(), split)
        self._observed_s = self.around.clock.monotonic_s()
        if self.split is None or split.routing != self.split.routing:
            self.changes += 1
        self.split = split
        if self.in_force is not None and not split.routing.agrees_with(self.in_force.routing):
            asked, says = self.in_force.routing.candidate_percent, split.routing.candidate_percent
            self.doubt = f"the proxy says that {says:g} % go to the candidate, and {asked:g} % were asked for"
            self.unasked = split

    def _unseen(self, why: str) -> None:
        silent_s = self.around.clock.monotonic_s() - self._observed_s
        if silent_s > self.plan.traffic.lease_s:
            self.split = None
            self.doubt = f"the proxy has not answered for {silent_s:.0f} s: {why}"

    # -- the windows ----------------------------------------------------------------------------------------------------------

    def observe_from_now(self) -> None:
        """Windows that have begun already are not looked at: they are of another weight, or of no rollout."""
        window_s = self.plan.observation.window_s
        self._next_unix_s = (int(self.around.clock.now_unix_s()) // window_s + 1) * window_s
        self._looked_s = self.around.clock.monotonic_s()

    async def learn(self) -> str | None:
        """Learn what the baseline is like before any traffic moves. Returns what is wrong, or None. Raises: StoreError."""
        observation = self.plan.observation
        self.observe_from_now()
        start = self._next_unix_s
        enough = max(1, int(observation.reference_s // observation.window_s))
        seen: list[Window] = []
        while len(seen) < enough:
            seen += [window for window, _ in await self._closed()]
        traced = sum(w.baseline.traces.traces for w in seen)
        silent = sum(not w.baseline.traces.traces for w in seen)
        proxied = self.counters.between(start, self._next_unix_s)
        if not traced or silent > len(seen) / 2:
            return f"the baseline's spans do not arrive: {silent} of {len(seen)} windows have none of its traces"
        if proxied is not None and proxied.baseline > 0 and traced < proxied.baseline / 2:
            return f"the proxy sent {proxied.baseline} requests to the baseline, and only {traced} of its traces arrived"
        windows = Windows(observation.window_s, tuple(w for w in seen if w.baseline.traces.traces))
        proxied_of = [self.counters.between(w.start_unix_s, w.start_unix_s + observation.window_s) for w in windows.windows]
        self.reference = await self.around.offload(learn, windows, self.plan.objectives, proxied_of)
        self._judging, self.judgement, self.lost = Judging(self.plan, self.reference), None, None
        _, _, *failed = self.counters.totals
        self.failed_before = (failed[0], failed[1])
        return None

    async def look(self) -> None:
        """Take every window that closes: keep it, then judge it. For ever. Raises: Superseded."""
        self._looked_s = self.around.clock.monotonic_s()
        while True:
            try:
                closed = await self._closed()
            except StoreError:
                await asyncio.sleep(STORE_AGAIN_S)  # `stalled_s` grows; when it is too much, the lease is not renewed any more
                continue
            for window, until in closed:
                proxied = self.counters.between(window.start_unix_s, until)
                step = next((step for since, step in reversed(self._steps) if since <= window.start_unix_s), self._step)
                await self._take(Look(self.plan.observation.window_s, window, proxied, step), until)
            if closed:
                await self._judge()

    def remember(self, looks: Sequence[tuple[int, int, bytes | None]], reference: bytes | None, reference_after: int) -> None:
        """What an earlier guard saw: its evidence, judged again from the look that followed the reference. What is gone is in `lost`."""
        if looks:
            self.looks = looks[-1][0]  # also where they cannot be judged: another one gets another number
        if reference is None:
            return
        gone = [number for number, _, evidence in looks if number > reference_after and evidence is None]
        if gone:
            self.lost = f"{len(gone)} of the {len(looks)} looks it was judged by are gone or were changed, the first of them look {gone[0]}"
            return
        self.reference = Reference.from_bytes(reference)
        self._judging = Judging(self.plan, self.reference)
        for number, until, evidence in looks:
            if number > reference_after and evidence is not None:
                self._fold(Look.from_bytes(evidence))
            self.looks, self._next_unix_s = number, until
        self.judgement = self._judging.judgement() if self.looks else None

    def traced_since(self, unix_s: float) -> int:
        """The candidate's traces in the windows that began at or after a time."""
        return sum(candidate for start, _, candidate in self._traced_by_window if start >= unix_s)

    def traced_per_s(self) -> float:
        """How many of the candidate's traces begin per second, over the last few windows."""
        last = self._traced_by_window[-6:]
        return sum(candidate for _, _, candidate in last) / (len(last) * self.plan.observation.window_s) if last else 0.0

    @property
    def stalled_s(self) -> float:
        """For how long nothing was looked at, beyond what is usual; 0 while all is well."""
        observation = self.plan.observation
        usual = 3 * observation.window_s + observation.settle_s + 2 * self.plan.traffic.lease_s
        return max(0.0, self.around.clock.monotonic_s() - self._looked_s - usual)

    def failing(self) -> str | None:
        """The absolute guard: a sentence when too many of the candidate's requests fail at the proxy."""
        failed, requests = self.counters.failed_candidate(self.plan.fast_path.span_s)
        finding = too_many_failures(failed, requests, self.plan.fast_path)
        return None if finding is None else finding.sentence

    async def _closed(self) -> list[tuple[Window, int]]:
        """The next windows that are closed, each with its end; waits for the time at which there should be one."""
        observation = self.plan.observation
        due = self._next_unix_s + observation.window_s + observation.settle_s
        wait_s = due - self.around.clock.now_unix_s()
        if wait_s > 2 * observation.window_s + observation.settle_s:
            self.observe_from_now()  # the clock was set back: what is due only then would not be looked at for too long
            return []
        await asyncio.sleep(max(0.05, wait_s))
        settled = await self.around.telemetry.settled(self._next_unix_s)
        # After a clock set forward, or a guard that was away, only the last of what was missed is looked at.
        start = max(self._next_unix_s, settled.until_unix_s - WINDOWS_AT_ONCE_MAX * observation.window_s)
        windows = every_window(settled.windows, start, settled.until_unix_s)
        if windows:
            self._next_unix_s = windows[-1].start_unix_s + observation.window_s
        return [(w, w.start_unix_s + observation.window_s) for w in windows]

    async def _take(self, seen: Look, until: int) -> None:
        """Evidence first, then the judgement: what is not kept is not judged. What was looked at already, before a clock was set, is not
        looked at again.
        """
        if self._last_unix_s is not None and seen.window.start_unix_s <= self._last_unix_s:
            return
        kept = (self.looks + 1, until, seen.canonical_bytes())
        while True:
            try:
                await self.around.offload(self.records.keep_look, self.claim, *kept)
                break
            except RecordsUnavailable as error:
                self._unrecorded(error)
                await asyncio.sleep(OBSERVE_EVERY_S)
        self._recorded()
        await self.around.offload(self._fold, seen)
        self._looked_s = self.around.clock.monotonic_s()

    def _fold(self, seen: Look) -> None:
        if self._judging is None:
            return
        self._judging.take(seen)
        self.looks, self._step = self.looks + 1, seen.step
        if self._steps and seen.window.start_unix_s >= self._steps[-1][0]:
            self._looks_of_step += 1
        window = seen.window
        self._last_unix_s = window.start_unix_s
        self._traced_by_window.append((window.start_unix_s, window.baseline.traces.traces, window.candidate.traces.traces))
        self.traced = (self.traced[0] + window.baseline.traces.traces, self.traced[1] + window.candidate.traces.traces)
        if seen.proxied is not None:
            self.proxied = (self.proxied[0] + seen.proxied.baseline, self.proxied[1] + seen.proxied.candidate)

    async def _judge(self) -> None:
        if self._judging is not None:
            self.judgement = await self.around.offload(self._judging.judgement)
            self.changes += 1
