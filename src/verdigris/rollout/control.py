"""What people ask of rollouts, answered by this guard: `RolloutControl` over the records and the drivers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from verdigris.plan.plan import Plan
from verdigris.plan.problems import InvalidPlan
from verdigris.rollout.decisions import may_move_forward
from verdigris.rollout.driver import Driver
from verdigris.rollout.position import UnknownFormat
from verdigris.rollout.records import Records, RecordsUnavailable, Stored
from verdigris.rollout.status import RolloutError, RolloutEvent, RolloutStatus
from verdigris.rollout.statuses import first_status, read_status, unread_status
from verdigris.rollout.transitions import Phase
from verdigris.rollout.workflow import Acting, cannot_read

WATCH_EVERY_S = 0.5

REASON_CHARS_MAX = 1_000


class GuardControl:
    """Implements `RolloutControl` on one guard."""

    def __init__(self, records: Records, acting: Acting, read_text: Callable[[str], Plan], read_canonical: Callable[[bytes], Plan]) -> None:
        """`read_text` reads what people write, and raises InvalidPlan; `read_canonical` reads what the records keep."""
        self._records, self._acting, self._read_text, self._read_canonical = records, acting, read_text, read_canonical

    async def start(self, plan_text: str, actor: str) -> RolloutStatus:
        """Submit a plan and begin."""
        plan = await asyncio.to_thread(self._read_text, plan_text)  # leases are renewed meanwhile
        now = time.time()
        freeze = plan.schedule.freeze_at(now)
        if freeze is not None:
            msg = f"a freeze holds ({freeze.reason}); nothing was started. Start it after the freeze, or change the plan's schedule"
            raise RolloutError(msg)
        made = await asyncio.to_thread(self._records.submit, plan, subject_of(plan), actor, self._acting.guard, now)
        await self._acting.begin(made)
        return await self.status(made)

    async def rollouts(self) -> Sequence[RolloutStatus]:
        """All rollouts, the newest first; also those that this version cannot read, as far as it knows them."""
        found = [self._status_of(stored) for stored in await asyncio.to_thread(self._records.newest)]
        hidden = self._acting.refused.keys() - {status.id for status in found}
        found += [unread_status(rollout_id, self._acting.refused[rollout_id], None) for rollout_id in hidden]
        return sorted(found, key=lambda status: (status.started_unix_s, status.id), reverse=True)

    async def status(self, rollout_id: str) -> RolloutStatus:
        """One rollout."""
        try:
            return self._status_of(await self._load(rollout_id))
        except UnknownFormat as error:
            return self._unread(rollout_id, error)

    async def watch(self, rollout_id: str) -> AsyncIterator[RolloutStatus]:
        """Its status whenever it changes, at least once a second, until it has ended."""
        exact = (await self.status(rollout_id)).id
        said, said_s = None, 0.0
        while True:
            status = await self.status(exact)
            now = time.monotonic()
            if status != said or now - said_s >= 1.0:
                said, said_s = status, now
                yield status
            if status.ended_unix_s is not None:
                return
            await asyncio.sleep(WATCH_EVERY_S)

    async def events(self, rollout_id: str, after: int = 0) -> Sequence[RolloutEvent]:
        """Its journal from the entry after `after`."""
        exact = (await self.status(rollout_id)).id
        return await asyncio.to_thread(self._records.journal, exact, after)

    async def hold(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Stay at the present weight until resumed."""
        stored = await self._running(rollout_id, "hold")
        if stored.position.phase in {Phase.HOLDING, Phase.FROZEN}:
            return self._status_of(stored)
        return await self._ask(stored, "hold", actor, reason)

    async def resume(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Go on after a hold, or agree to the step that waits for approval."""
        stored = await self._running(rollout_id, "resume")
        phase = stored.position.phase
        if phase not in {Phase.HOLDING, Phase.FROZEN, Phase.WAITING_FOR_APPROVAL}:
            msg = f"rollout {stored.id} is {phase.value}; one that holds, is frozen or waits for approval can be resumed. Nothing changed"
            raise RolloutError(msg)
        waits = may_move_forward(self._read_canonical(stored.plan), time.time())
        if waits is not None and phase is not Phase.WAITING_FOR_APPROVAL:
            msg = f"rollout {stored.id} may not move forward now; it must wait for {waits.reason}. Nothing changed"
            raise RolloutError(msg)
        return await self._ask(stored, "resume", actor, reason)

    async def abort(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Back to the baseline, now: the proxy is told before anything is written. Of what this version cannot read, the plan is not
        needed: the request waits for the version that began it.
        """
        driver = self._driver(rollout_id)
        if driver is not None and not driver.position.ended:
            await driver.abort_now(actor, reason)
        try:
            stored = await self._load(rollout_id)
            if stored.position.ended or stored.position.phase is Phase.RETURNING:
                return self._status_of(stored)
            return await self._ask(stored, "abort", actor, reason)
        except RecordsUnavailable:
            if driver is None:
                raise
            return driver.status()

    def _driver(self, rollout_id: str) -> Driver | None:
        """The driver here that is meant, without asking the records: they may not answer."""
        drivers = self._acting.drivers
        meant = [i for i in drivers if rollout_id and i.startswith(rollout_id)] or (list(drivers) if rollout_id == "latest" else [])
        return drivers[meant[0]] if len(meant) == 1 else None

    async def commit(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """End the bake now."""
        stored = await self._running(rollout_id, "commit")
        if stored.position.phase is not Phase.BAKING:
            msg = (
                f"rollout {stored.id} is {stored.position.phase.value}; only one that is baking can be committed by hand: "
                "a candidate is committed on its evidence. Nothing changed"
            )
            raise RolloutError(msg)
        return await self._ask(stored, "commit", actor, reason)

    async def erase(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Erase the evidence of a rollout that has ended, and what people wrote of it; the ledger says so before."""
        if not reason.strip():
            msg = "erasing evidence needs a reason; it stays in the record. Nothing was erased"
            raise RolloutError(msg)
        stored = await self._load(rollout_id)
        said = (self._acting.guard, actor, reason[:REASON_CHARS_MAX], time.time())
        try:
            await asyncio.to_thread(self._records.erase_asked, stored.id, *said)
        except RecordsUnavailable as error:
            msg = f"not all of it was erased now; what is left is erased when the ledger says so, or ask again: {error}"
            raise RecordsUnavailable(msg) from error
        return self._status_of(await self._load(stored.id))

    async def _ask(self, stored: Stored, kind: str, actor: str, reason: str) -> RolloutStatus:
        await asyncio.to_thread(self._records.ask, stored.id, kind, actor, reason[:REASON_CHARS_MAX], time.time())
        return self._status_of(stored)

    async def _running(self, rollout_id: str, asked: str) -> Stored:
        try:
            stored = await self._load(rollout_id)
        except UnknownFormat as error:
            unread = self._unread(rollout_id, error)
            msg = f"rollout {unread.id} cannot be asked to {asked}: {unread.cannot_resume}. Nothing changed"
            raise RolloutError(msg) from error
        if stored.position.ended:
            msg = f"rollout {stored.id} has ended ({stored.position.phase.value}); there is nothing to {asked}. Nothing changed"
            raise RolloutError(msg)
        if stored.id in self._acting.refused:
            msg = f"rollout {stored.id} cannot be asked to {asked}: {self._acting.refused[stored.id]}. Nothing changed"
            raise RolloutError(msg)
        return stored

    async def _load(self, rollout_id: str) -> Stored:
        return await asyncio.to_thread(self._records.load, rollout_id)

    def _status_of(self, stored: Stored) -> RolloutStatus:
        driver = self._acting.drivers.get(stored.id)
        if driver is not None and driver.position.sequence >= stored.position.sequence:
            return driver.status()
        refused = self._acting.refused.get(stored.id, "")
        if stored.status is not None:
            status = read_status(stored.status)
            if status.phase is stored.position.phase:
                if not refused:
                    return status
                return replace(status, observed_percent=None, waiting_for="", waiting_until_unix_s=None, cannot_resume=refused)
        try:
            return first_status(self._read_canonical(stored.plan), stored)
        except InvalidPlan as error:
            return unread_status(stored.id, refused or cannot_read(error), stored)

    def _unread(self, rollout_id: str, error: UnknownFormat) -> RolloutStatus:
        """What is known of the one that is meant. Raises: UnknownFormat: it is not known which."""
        refused = self._acting.refused
        meant = [each for each in refused if each.startswith(rollout_id)] or ([max(refused)] if rollout_id == "latest" and refused else [])
        if len(meant) != 1:
            raise error
        return unread_status(meant[0], refused[meant[0]], None)


def subject_of(plan: Plan) -> str:
    """What is being moved: one data plane's subject has one rollout at a time, and its generations only grow."""
    return f"{plan.traffic.adapter}:{plan.traffic.settings.get('subject') or plan.name}"
