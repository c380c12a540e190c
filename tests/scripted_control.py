"""`RolloutControl` in memory: a guard whose rollouts do what a test says. It passes the contract's tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from verdigris.approvals.approval import SignedApproval, verify
from verdigris.approvals.people import People
from verdigris.plan.document import load_plan
from verdigris.rollout.status import (
    AgreementStatus,
    AlreadyRunning,
    GateStatus,
    NeedStatus,
    NoSuchRollout,
    ReviewStatus,
    RoleStatus,
    RolloutControl,
    RolloutError,
    RolloutEvent,
    RolloutStatus,
    StepStatus,
)
from verdigris.rollout.transitions import TERMINAL, Phase


class ScriptedControl:
    """`to` moves a rollout; people's wishes are fulfilled at once. `every_s`: how long a watch may be silent."""

    def __init__(self, *, every_s: float = 1.0) -> None:
        self.every_s = every_s
        self.statuses: dict[str, RolloutStatus] = {}
        self.journal: dict[str, list[RolloutEvent]] = {}
        self.calls: list[tuple[str, ...]] = []
        self.watchers = 0
        self._changed = asyncio.Event()

    def to(self, rollout_id: str, phase: Phase, actor: str = "guard test", text: str = "", **changes: Any) -> RolloutStatus:
        """Put a rollout into a phase, with other changes of its status, and say so in its journal."""
        now = time.time()
        ended = now if phase in TERMINAL else None
        changed = replace(self.statuses[rollout_id], phase=phase, phase_since_unix_s=now, ended_unix_s=ended, **changes)
        self.statuses[rollout_id] = changed
        self.note(rollout_id, "phase", actor, f"{phase.value}{f': {text}' if text else ''}")
        self._changed.set()
        self._changed = asyncio.Event()
        return changed

    def note(self, rollout_id: str, kind: str, actor: str, text: str) -> None:
        """One more entry in the journal."""
        journal = self.journal.setdefault(rollout_id, [])
        journal.append(RolloutEvent(len(journal) + 1, time.time(), kind, actor, text, {"n": len(journal)}))

    async def start(self, plan_text: str, actor: str, *, break_glass: bool = False) -> RolloutStatus:
        self.calls.append(("start", actor, *(["break glass"] if break_glass else [])))
        plan = load_plan(plan_text)
        for each in self.statuses.values():
            if each.plan_digest == plan.digest and each.phase not in TERMINAL:
                msg = f"a rollout of this plan is under way: {each.id}"
                raise AlreadyRunning(msg, each.id)
        now = time.time()
        made = f"{len(self.statuses) + 1:04}-scripted"
        steps = tuple(StepStatus(step.weight_percent, "now" if n == 0 else "to come") for n, step in enumerate(plan.steps))
        self.statuses[made] = RolloutStatus(
            id=made, name=plan.name, plan_digest=plan.digest, phase=Phase.WATCHING, phase_since_unix_s=now, started_unix_s=now,
            ended_unix_s=None, steps=steps, intended_percent=5.0, observed_percent=5.0, lease_s=plan.traffic.lease_s, generation=1,
            guard="test", baseline=RoleStatus("blue", 95, 0, 95), candidate=RoleStatus("green", 5, 0, 5), verdict=None,
            summary="too early to say", evidence=(), findings=(), missing=(), waiting_for="evidence", waiting_until_unix_s=None,
            windows=1, late_spans=0, clock_skew_s=None,
        )  # fmt: skip
        self.note(made, "plan.submitted", actor, f"plan {plan.name} was submitted")
        return self.statuses[made]

    async def rollouts(self) -> Sequence[RolloutStatus]:
        return list(self.statuses.values())[::-1]

    async def status(self, rollout_id: str) -> RolloutStatus:
        if rollout_id == "latest" and self.statuses:
            return list(self.statuses.values())[-1]
        meant = [each for each in self.statuses.values() if each.id.startswith(rollout_id)]
        if len(meant) != 1:
            msg = f"there is no rollout {rollout_id!r}"
            raise NoSuchRollout(msg)
        return meant[0]

    def asked_from(self, _origin: str) -> RolloutControl:
        return self

    async def watch(self, rollout_id: str) -> AsyncIterator[RolloutStatus]:
        exact = (await self.status(rollout_id)).id
        self.watchers += 1
        try:
            while True:
                changed, status = self._changed, self.statuses[exact]
                yield status
                if status.phase in TERMINAL:
                    return
                try:
                    async with asyncio.timeout(self.every_s):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            self.watchers -= 1

    async def events(self, rollout_id: str, after: int = 0) -> Sequence[RolloutEvent]:
        return [event for event in self.journal[(await self.status(rollout_id)).id] if event.sequence > after]

    async def hold(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        status = await self._running("hold", rollout_id, actor, reason)
        return status if status.phase is Phase.HOLDING else self.to(status.id, Phase.HOLDING, actor, reason)

    async def resume(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        status = await self._running("resume", rollout_id, actor, reason)
        if status.phase not in {Phase.HOLDING, Phase.FROZEN}:
            msg = f"rollout {status.id} is {status.phase.value}; there is nothing to resume"
            raise RolloutError(msg)
        return self.to(status.id, Phase.WATCHING, actor, reason)

    async def abort(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        self.calls.append(("abort", rollout_id, actor, reason))
        status = await self.status(rollout_id)
        if status.phase in TERMINAL:
            return status
        return self.to(status.id, Phase.ROLLED_BACK, actor, reason, intended_percent=0.0, observed_percent=0.0)

    async def commit(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        status = await self._running("commit", rollout_id, actor, reason)
        if status.phase is not Phase.BAKING:
            msg = f"rollout {status.id} is {status.phase.value}; only one that is baking can be committed"
            raise RolloutError(msg)
        return self.to(status.id, Phase.COMMITTED, actor, reason, intended_percent=100.0, observed_percent=100.0)

    async def agreement(self, rollout_id: str) -> AgreementStatus:
        status = await self.status(rollout_id)
        asked = status.phase is Phase.WAITING_FOR_APPROVAL
        gate = GateStatus("waiting", (NeedStatus(("approver",), 1),), ("1 more of approver (1 asked)",)) if asked else None
        shown = '{"findings":[]}' if asked else None
        return AgreementStatus(status.id, status.plan_digest, "alice", 1, "the step to 50 %", asked, gate, shown, None, ())

    async def sign(self, rollout_id: str, signed: bytes) -> AgreementStatus:
        """Nobody is known here."""
        await self.status(rollout_id)
        verify(SignedApproval.parse(signed), People(), time.time_ns())
        raise AssertionError

    async def reviews(self) -> Sequence[ReviewStatus]:
        return ()

    async def erase(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        self.calls.append(("erase", rollout_id, actor, reason))
        status = await self.status(rollout_id)
        if status.phase not in TERMINAL:
            msg = f"rollout {status.id} has not ended, and it is judged by its evidence"
            raise RolloutError(msg)
        if not reason.strip():
            msg = "erasing evidence needs a reason"
            raise RolloutError(msg)
        return status

    async def _running(self, asked: str, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        self.calls.append((asked, rollout_id, actor, reason))
        status = await self.status(rollout_id)
        if status.phase in TERMINAL:
            msg = f"rollout {status.id} has ended"
            raise RolloutError(msg)
        return status
