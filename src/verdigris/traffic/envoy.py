"""The Envoy data plane: weights are leased over xDS, made durable in a folder, and read back from Envoy itself."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from verdigris.plan.plan import Plan
from verdigris.traffic.data_plane import BASELINE_ONLY, NotSupported, OutcomeUnknown, Routing, Split, StaleGeneration, TrafficError
from verdigris.traffic.envoy_admin import AdminUnreachable, EnvoyAdmin
from verdigris.traffic.envoy_folder import EnvoyFolder, FolderUnusable
from verdigris.traffic.envoy_lease import LeaseServer, listening, now_s
from verdigris.traffic.envoy_runtime import InForce, fractions, read_runtime
from verdigris.traffic.envoy_settings import Address, EnvoySettings, envoy_settings

ANSWER_S_MAX = 2.0
"""So long, and at most half a lease, `apply` waits until Envoy says that it is in force."""

POLL_S = (0.002, 0.005, 0.01, 0.02, 0.05)
"""Waits between looks at the proxy; the last one is repeated."""

LEASE_S_MIN, LEASE_S_MAX = 1.0, 3600.0


@dataclass(slots=True)
class _Lease:
    """The last one that this process applied, and when it ends. A renewal that nobody accepted does not lengthen it."""

    generation: int
    until_s: float


class EnvoyDataPlane:
    """`DataPlane` for one Envoy that was started from `envoy_config`. Made by `open_envoy`."""

    def __init__(self, settings: EnvoySettings, server: LeaseServer, admin: EnvoyAdmin, folder: EnvoyFolder) -> None:
        self._settings, self._server, self._admin, self._folder = settings, server, admin, folder
        self._newest = 0
        self._lease: _Lease | None = None
        self._acting = asyncio.Lock()
        self._closed = asyncio.Event()

    @property
    def control_address(self) -> Address:
        """Where this guard listens for the proxy."""
        assert self._server.address is not None  # noqa: S101  # it listens
        return self._server.address

    async def observe(self) -> Split | None:
        """What Envoy says is in force; None when it does not answer. Raises: NotOurConfiguration."""
        return await observed(self._settings, self._admin)

    async def apply(self, generation: int, routing: Routing, lease_s: float) -> Split | None:
        """Lease `routing`, counted from now. Returns None with nothing sent when Envoy cannot be read.

        Raises: StaleGeneration; TrafficError: nothing was sent, or Envoy refused it; OutcomeUnknown; NotSupported.
        """
        until_s = now_s() + lease_s  # before anything can hold us up
        self._check(generation, routing, lease_s)
        self._newest = max(self._newest, generation)  # from here on a return fences this one too
        async with self._acting:
            self._check_over(generation)
            try:
                before = read_runtime(self._settings, await self._admin.runtime())
            except AdminUnreachable:
                return None
            if before is None:
                return None
            fenced = (await asyncio.to_thread(self._folder.read)).fenced
            self._check_newer(generation, before.newest, fenced)
            answer_s = min(ANSWER_S_MAX, lease_s / 2)
            give_up_s = now_s() + answer_s
            version = await self._server.hold(
                self._settings.lease_layer, fractions(self._settings, routing), {self._settings.generation_key: generation}, until_s
            )
            answer = await self._server.answered(self._settings.lease_layer, version, answer_s)
            if answer is not True:
                # What nobody accepted must not be sent again, later, when somebody may believe that it was not.
                await self._server.drop(self._settings.lease_layer)
            if answer is None or isinstance(answer, str):
                why = "no proxy is connected to this guard" if answer is None else f"Envoy refused it: {answer}"
                msg = f"{routing.candidate_percent:g} % was not put in force: {why}; a lease in force is not renewed"
                raise TrafficError(msg)
            if answer or self._lease is None or self._lease.generation != generation:
                self._lease = _Lease(generation, until_s)
            if not answer:
                msg = f"{routing.candidate_percent:g} % was sent to Envoy, which has not answered; read back before acting again"
                raise OutcomeUnknown(msg)
            # Only now: a lease of somebody before us must not come into force between the fence and our word.
            try:
                await asyncio.to_thread(self._folder.open_fence, generation)
            except TrafficError:
                await self._withdraw()  # somebody closed the fence meanwhile; it holds above what was just sent
                raise
            return await self._seen(lambda f: f.generation == generation and f.routing.agrees_with(routing), give_up_s)

    async def return_to_baseline(self, generation: int) -> Split | None:
        """Close the fence over the baseline, and withdraw the lease.

        Raises: FolderUnusable: the lease is withdrawn, and nothing is renewed; but the durable default may still be the candidate.
        """
        return await self._make_durable(generation, BASELINE_ONLY, whatever=True)

    async def commit(self, generation: int) -> Split | None:
        """Close the fence over the candidate. Raises: StaleGeneration, FolderUnusable."""
        async with self._acting:
            fenced = (await asyncio.to_thread(self._folder.read)).fenced
            if generation < max(self._newest, fenced):
                self._refuse(generation, max(self._newest, fenced))
        return await self._make_durable(generation, Routing(100.0), whatever=False)

    async def _make_durable(self, generation: int, routing: Routing, *, whatever: bool) -> Split | None:
        # The way back waits for no other act: the folder has a lock of its own, and its word is above theirs.
        guarded: contextlib.AbstractAsyncContextManager[object] = contextlib.nullcontext() if whatever else self._acting
        async with guarded:
            weight = fractions(self._settings, routing)[self._settings.weight_key()]
            if whatever:
                await self._withdraw()  # first what is quickest: this ends the lease, the folder makes it durable and keeps others out
            unwritten: FolderUnusable | None = None
            try:
                over = max(generation, self._newest) if whatever else generation
                self._newest = await asyncio.to_thread(self._folder.close_fence, weight, over, whatever=whatever)
            except FolderUnusable as error:
                if not whatever:
                    raise
                unwritten = error
            self._newest = max(self._newest, generation)
            if not whatever:
                await self._withdraw()
            committed = not whatever
            split = await self._seen(
                lambda f: f.generation is None and f.committed is committed and f.routing.agrees_with(routing), now_s() + ANSWER_S_MAX
            )
            if unwritten is not None:
                raise unwritten
            return split

    async def close(self) -> None:
        """Let go of the proxy: what was applied stays until its lease ends."""
        if not self._closed.is_set():
            self._closed.set()
            self._server.forget(self._settings.lease_layer)
            await self._admin.close()

    async def _withdraw(self) -> None:
        """Tell Envoy an empty lease layer, which needs no end. Whether it hears it is seen by reading back."""
        self._lease = None
        await self._server.hold(self._settings.lease_layer, {}, {}, math.inf)

    # -- reading back ---------------------------------------------------------------------------------------------------------

    async def _seen(self, wanted: Callable[[InForce], bool], give_up_s: float) -> Split | None:
        """Look until Envoy says what was wanted, or time is up; then whatever it says."""
        looks = 0
        in_force: InForce | None = None
        while True:
            with contextlib.suppress(AdminUnreachable):
                in_force = read_runtime(self._settings, await self._admin.runtime())
                if in_force is not None and (wanted(in_force) or now_s() >= give_up_s):
                    return await _split(self._settings, self._admin, in_force)
            if now_s() >= give_up_s:
                return None
            await asyncio.sleep(POLL_S[min(looks, len(POLL_S) - 1)])
            looks += 1

    # -- refusing -------------------------------------------------------------------------------------------------------------

    def _check(self, generation: int, routing: Routing, lease_s: float) -> None:
        if self._closed.is_set():
            msg = "this data plane is closed; nothing was sent"
            raise TrafficError(msg)
        if not LEASE_S_MIN <= lease_s <= LEASE_S_MAX or not 0 <= generation < 2**53:
            msg = f"a lease lasts {LEASE_S_MIN:g} to {LEASE_S_MAX:g} s (not {lease_s}), a generation is a whole number from 0 to 2^53"
            raise NotSupported(msg)
        if routing.chosen_users and self._settings.token_key is None:
            msg = "chosen users need traffic.settings.token_key; nothing was changed"
            raise NotSupported(msg)

    def _check_over(self, generation: int) -> None:
        lease = self._lease
        if lease is not None and generation <= lease.generation and now_s() >= lease.until_s:
            msg = f"the lease of generation {lease.generation} ended before it was renewed; observe, and apply with a newer generation"
            raise StaleGeneration(msg, lease.generation)

    def _check_newer(self, generation: int, in_force: int, fenced: int) -> None:
        if generation <= fenced or generation < max(self._newest, in_force):
            self._refuse(generation, max(fenced, self._newest, in_force))

    def _refuse(self, generation: int, newest: int) -> None:
        msg = f"generation {generation} is over: the newest is {newest}; nothing was changed, observe again"
        raise StaleGeneration(msg, newest)


async def observed(settings: EnvoySettings, admin: EnvoyAdmin) -> Split | None:
    """What Envoy says is in force; None when it does not answer. Raises: NotOurConfiguration."""
    try:
        in_force = read_runtime(settings, await admin.runtime())
        return None if in_force is None else await _split(settings, admin, in_force)
    except AdminUnreachable:
        return None


async def _split(settings: EnvoySettings, admin: EnvoyAdmin, in_force: InForce) -> Split:
    counted = await admin.counted(settings)
    baseline, candidate = counted[settings.baseline.slot], counted[settings.candidate.slot]
    return Split(
        routing=in_force.routing,
        generation=in_force.generation,
        committed=in_force.committed,
        baseline_requests=baseline.requests,
        candidate_requests=candidate.requests,
        baseline_failures=baseline.failures,
        candidate_failures=candidate.failures,
        clock_offset_s=admin.clock_offset_s,
    )


@contextlib.asynccontextmanager
async def open_envoy(plan: Plan, *, bind: str | None = None) -> AsyncIterator[EnvoyDataPlane]:
    """Open the Envoy of a plan and listen for it.

    Args:
        plan: its settings say where Envoy finds the guards.
        bind: where this guard listens, if not at the one address that the plan names.
    Raises: InvalidSettings, CannotListen, FolderUnusable, TrafficError.
    """
    settings = envoy_settings(plan)
    if bind is None and len(settings.guards) > 1:
        msg = f"the plan names {len(settings.guards)} guards; say at which address this one listens"
        raise TrafficError(msg)
    listen = settings.guards[0] if bind is None else Address.parse(bind, "bind")
    folder = EnvoyFolder(settings)
    await asyncio.to_thread(folder.prepare)
    async with listening(listen, settings) as server:
        server.register(settings.lease_layer, settings.node)
        plane = EnvoyDataPlane(settings, server, EnvoyAdmin(settings.admin), folder)
        try:
            yield plane
        finally:
            await plane.close()
