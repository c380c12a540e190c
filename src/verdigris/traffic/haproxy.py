"""The HAProxy data plane: weights as leased rows of a table in HAProxy itself, the durable default as a map.

How HAProxy decides stands in the configuration (`haproxy_config`); why it is done so, in decision 9. Here only: what is
written in which order, and what is read back.

1. A lease is a row of a table, one per generation, that HAProxy stops counting by its own clocks. `apply` renews it, and nothing else.
2. A row counts only while the map names its generation. The map is replaced as a whole, by version: who read an older one is refused.
3. What the map says also stands in its file, for HAProxy's next start. HAProxy first, then the file: between the two, a restart
   of HAProxy goes to the older default.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from verdigris.plan.plan import Plan
from verdigris.traffic.data_plane import NotSupported, OutcomeUnknown, Routing, Split, StaleGeneration, TrafficError
from verdigris.traffic.haproxy_config import LEFT_PERIODS_MAX, MILLION, RENEWED, lease_ms, names
from verdigris.traffic.haproxy_map import Durable, read_file, write_file
from verdigris.traffic.haproxy_socket import AdminSocket, Counted, MapMoved, Row

TIMEOUT_S = 2.0
"""For one command. HAProxy answers in less than a millisecond, or something is wrong with it."""

FENCE_ATTEMPTS_MAX = 8
"""How often a map that others replace meanwhile is read and replaced again."""

GENERATION_MAX = 2**63 - 1

CLOCK_BITS = 0xFFFFFFFF
"""Ends of leases are milliseconds since 1970 of which the table holds 32 bits."""


@dataclass(frozen=True, slots=True)
class _Lease:
    """The last one that this process applied; `until_s` by its monotonic clock, counted from the call."""

    generation: int
    until_s: float


class HaproxyDataPlane:
    """`DataPlane` for one subject behind one HAProxy.

    Args:
        plan: its slots, and `traffic` with the settings of `haproxy` in `plan.settings`.
        timeout_s: for one command to HAProxy.
    Raises: NotSupported: a setting is missing or cannot be written into HAProxy's configuration.
    """

    def __init__(self, plan: Plan, *, timeout_s: float = TIMEOUT_S) -> None:
        self._names = names(plan)
        self._baseline = plan.baseline.slot
        self._candidate = plan.candidate.slot
        self._admin = AdminSocket(self._names.socket, timeout_s)
        # What this adapter has seen itself; the map holds the same for all, and across restarts.
        self._fence = -1
        self._newest = -1
        self._lease: _Lease | None = None
        self._closed = False
        self._counted_before: dict[str, Counted] = {}

    async def __aenter__(self) -> Self:
        """Nothing to open: each command has a connection of its own."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """As `close`."""
        await self.close()

    async def close(self) -> None:
        """Nothing more is asked of HAProxy. What was applied stays until its lease ends; what is durable stays."""
        self._closed = True

    async def observe(self) -> Split | None:
        """What is in force now, in HAProxy's own words. None when it changed while it was read."""
        for_restart = await asyncio.to_thread(read_file, self._names.map_file)
        found = await self._read()
        if found is None:
            return None
        durable, split = found
        if for_restart.default != durable.default:
            msg = (
                f"HAProxy's default is {durable.default!r}, but it would start again with {for_restart.default!r} from "
                f"{self._names.map_file}; return to the baseline, or commit again, and both are the same"
            )
            raise TrafficError(msg)
        return split

    async def look(self) -> Split | None:
        """As `observe`, whatever HAProxy would start again with: what is in force although somebody changed it behind our back."""
        found = await self._read()
        return None if found is None else found[1]

    async def _read(self) -> tuple[Durable, Split] | None:
        self._refuse_closed()
        durable = await self._durable()
        row = None if durable.lease is None else await self._row(durable.lease)
        now_unix_s = time.time()
        counted = {slot: await self._counted(slot) for slot in (self._baseline, self._candidate)}
        if await self._durable() != durable:
            return None
        in_force = row if row is not None and _counts(row, now_unix_s) else None
        return durable, Split(
            routing=self._routing(durable, in_force),
            generation=None if in_force is None else durable.lease,
            committed=durable.default == self._candidate,
            baseline_requests=counted[self._baseline].requests,
            candidate_requests=counted[self._candidate].requests,
            baseline_failures=counted[self._baseline].failures + counted[self._baseline].unanswered,
            candidate_failures=counted[self._candidate].failures + counted[self._candidate].unanswered,
        )

    async def apply(self, generation: int, routing: Routing, lease_s: float) -> Split | None:
        """Put `routing` in force for `lease_s`, or renew it. Raises also NotSupported, StaleGeneration."""
        # The lease is counted from here: whatever holds us up below, a frozen guard too, does not lengthen it.
        begun_s, until_ms = time.monotonic(), round(time.time() * 1000) + lease_ms(lease_s)
        self._refuse_closed()
        share, chosen = self._shares(routing)
        # 1. Not behind the fence, neither ours nor the one in HAProxy; and not a lease of ours that ended.
        self._refuse_stale(generation)
        self._refuse_ended(generation, begun_s)
        durable = await self._durable()
        self._refuse_older(generation, durable)
        # 2. The row. A new one counts only once the map names it; one that counts already is looked at before it is changed.
        #    Either way, asking for a longer lease than HAProxy keeps moves nothing.
        row = await self._row(generation)
        self._refuse_longer(row, lease_s)
        await self._admin.write_row(
            self._names.lease_table, str(generation), share=share, chosen=chosen, until_ms=until_ms & CLOCK_BITS, rate=RENEWED
        )
        if row is None:
            self._refuse_longer(await self._row(generation), lease_s)
        # 3. The map names it, in HAProxy, then in the file. Nothing to do when this only renews.
        self._refuse_stale(generation)
        if (durable.newest, durable.lease) != (generation, generation):
            durable = await self._replace_map(generation, durable.default, lease=True)
        self._newest = max(self._newest, generation)
        self._lease = _Lease(generation, begun_s + lease_s)
        await self._write_file(durable)
        # 4. Read back. Somebody newer may have come in between.
        self._refuse_older(generation, await self._durable())
        return await self.observe()

    async def return_to_baseline(self, generation: int) -> Split | None:
        """All traffic to the baseline, now, and as the durable default. Never refused for its generation."""
        self._refuse_closed()
        self._fence = max(self._fence, self._newest, min(generation, GENERATION_MAX))
        durable = await self._replace_map(self._fence, self._baseline, lease=False, never_refused=True)
        self._fence = max(self._fence, durable.newest)
        await self._write_file(durable)
        return await self.observe()

    async def commit(self, generation: int) -> Split | None:
        """All traffic to the candidate, as the durable default. Committing again is harmless. Raises also StaleGeneration."""
        self._refuse_closed()
        durable = await self._durable()
        again = durable == Durable(self._candidate, generation, None)
        if not again:
            self._refuse_stale(generation)
            durable = await self._replace_map(generation, self._candidate, lease=False)
        self._fence = max(self._fence, generation)
        await self._write_file(durable)
        return await self.observe()

    async def _durable(self) -> Durable:
        return Durable.read(await self._admin.read_map(self._names.map_file))

    async def _row(self, generation: int) -> Row | None:
        return await self._admin.read_row(self._names.lease_table, str(generation))

    async def _counted(self, slot: str) -> Counted:
        """A slot's counters. They fall only when HAProxy started anew: readers take a fall for that."""
        backend = self._names.backend(slot)
        counted = await self._admin.counted(backend)
        before = self._counted_before.get(slot, Counted(0, 0, 0))
        least = before.unanswered if counted.requests >= before.requests else 0
        if counted.unanswered > least:
            # One too many can be a request that began while the line was written. It is not there twice.
            again = await self._admin.counted(backend)
            counted = replace(counted, unanswered=min(counted.unanswered, again.unanswered))
        counted = replace(counted, unanswered=max(counted.unanswered, least))
        self._counted_before[slot] = counted
        return counted

    async def _write_file(self, durable: Durable) -> None:
        await asyncio.to_thread(_write_if_different, self._names.map_file, durable)

    async def _replace_map(self, generation: int, default: str, *, lease: bool, never_refused: bool = False) -> Durable:
        """Replace the map in HAProxy. Raises: StaleGeneration, unless `never_refused`: then the newest stays the fence.

        A version is asked for *before* the map is read. HAProxy refuses a version that is older than the one in force: a guard that
        read before us and commits after us is refused. One that asked between our asking and our commit has a higher number, so
        we go round again until ours is the highest that was given out: whoever asks later reads what we wrote.
        """
        wanted: Durable | None = None
        for _ in range(FENCE_ATTEMPTS_MAX):
            version = await self._admin.prepare_map(self._names.map_file)
            entries = await self._admin.read_map(self._names.map_file)
            if never_refused:
                generation = max(generation, _newest(entries))
            # What we wrote in an earlier round is not somebody else's.
            elif wanted is None or entries != wanted.entries():
                self._refuse_older(generation, Durable.read(entries))
            wanted = Durable(default, generation, generation if lease else None)
            try:
                await self._admin.commit_map(self._names.map_file, version, wanted.entries())
            except MapMoved:
                continue
            in_force, given_out = await self._admin.map_versions(self._names.map_file)
            if in_force == given_out == version:
                return wanted
        msg = f"other guards replaced the map {self._names.map_file} {FENCE_ATTEMPTS_MAX} times meanwhile; only one may act on a subject"
        raise OutcomeUnknown(msg)

    def _refuse_stale(self, generation: int) -> None:
        if not 0 <= generation <= GENERATION_MAX:
            msg = f"generation {generation} is outside 0 to 2^63 - 1"
            raise NotSupported(msg)
        if generation <= self._fence or generation < self._newest:
            raise _stale(generation, max(self._fence, self._newest))

    def _refuse_older(self, generation: int, found: Durable) -> None:
        # The same generation is a renewal, unless it has ended: then the map names no lease.
        if Durable(found.default, generation, generation).is_behind(found):
            raise _stale(generation, found.newest)

    def _refuse_closed(self) -> None:
        if self._closed:
            msg = "this data plane was closed; nothing was changed: open it again"
            raise TrafficError(msg)

    def _refuse_ended(self, generation: int, now_s: float) -> None:
        if self._lease is not None and self._lease.generation == generation and now_s >= self._lease.until_s:
            msg = f"the lease of generation {generation} ended before it was renewed; nothing was changed: observe, then use a newer one"
            raise StaleGeneration(msg, generation)

    def _refuse_longer(self, row: Row | None, lease_s: float) -> None:
        if row is not None and row.period_ms < lease_ms(lease_s):
            msg = (
                f"HAProxy keeps a lease for {row.period_ms / 1000:g} s at most, asked were {lease_s:g} s; shorten traffic.lease, or "
                "configure HAProxy from this plan (`verdigris traffic haproxy-config`)"
            )
            raise NotSupported(msg)

    def _shares(self, routing: Routing) -> tuple[int, int]:
        """What the row holds: the second slot's share in millionths, and the slot of the chosen users."""
        if routing.mirror_percent:
            msg = "HAProxy cannot copy requests without an agent of its own; take mirror_percent out of the plan, or use Envoy"
            raise NotSupported(msg)
        if routing.chosen_users and self._names.token_key is None:
            msg = "chosen users need traffic.settings.token_key, and a configuration of HAProxy that was made with it"
            raise NotSupported(msg)
        candidate = round(routing.candidate_percent * MILLION / 100)
        is_second = self._candidate == self._names.second
        return candidate if is_second else MILLION - candidate, (1 + is_second) if routing.chosen_users else 0

    def _routing(self, durable: Durable, in_force: Row | None) -> Routing:
        """The row in force as a routing, or what the default means."""
        if in_force is None:
            return Routing(100.0 if durable.default == self._candidate else 0.0)
        second = min(in_force.share, MILLION)
        is_second = self._candidate == self._names.second
        return Routing((second if is_second else MILLION - second) * 100 / MILLION, chosen_users=in_force.chosen == 1 + is_second)


def _counts(row: Row, unix_s: float) -> bool:
    """Whether HAProxy counts this row; the same question as in `haproxy_config`.

    HAProxy does not tell its wall clock, but behind a Unix socket it is ours.
    """
    left_ms = (row.until_ms - int(unix_s * 1000)) & CLOCK_BITS
    return row.rate >= RENEWED and 1 <= left_ms <= LEFT_PERIODS_MAX * row.period_ms


def _newest(entries: Mapping[str, str]) -> int:
    try:
        return Durable.read(entries).newest
    except TrafficError:
        return -1  # spoilt: going back to the baseline is also its cure


def _write_if_different(path: str, durable: Durable) -> None:
    try:
        if read_file(path) == durable:
            return
    except TrafficError:
        pass  # missing or spoilt: writing it is the cure
    write_file(path, durable)


def _stale(generation: int, newest: int) -> StaleGeneration:
    msg = f"generation {generation} comes after {newest} was applied or ended; nothing was changed: observe again"
    return StaleGeneration(msg, newest)
