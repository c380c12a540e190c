"""What people ask of rollouts, answered by this guard: `RolloutControl` over the records and the drivers."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from verdigris.approvals.approval import (
    ENDING,
    START,
    ApprovalDecision,
    InvalidApproval,
    NotEntitled,
    SignedApproval,
    Verified,
    verify,
)
from verdigris.approvals.gate import REVIEWERS, Granted, Question, Waiting, decide
from verdigris.approvals.people import People
from verdigris.plan.plan import Plan
from verdigris.plan.problems import InvalidPlan
from verdigris.rollout.agreement import Agreed, agreed, step_meant
from verdigris.rollout.decisions import may_move_forward
from verdigris.rollout.driver import Driver
from verdigris.rollout.position import UnknownFormat
from verdigris.rollout.records import Records, RecordsUnavailable, Stored
from verdigris.rollout.status import AgreementStatus, ReviewStatus, RolloutError, RolloutEvent, RolloutStatus
from verdigris.rollout.statuses import agreement_status, first_status, read_status, unread_status
from verdigris.rollout.transitions import Phase
from verdigris.rollout.workflow import Acting, cannot_read
from verdigris.times import NANO

WATCH_EVERY_S = 0.5

log = logging.getLogger("verdigris.rollout")

REASON_CHARS_MAX = 1_000

HERE = "the guard's own process"
"""From where somebody asks who does not come over the API."""


class GuardControl:
    """Implements `RolloutControl` on one guard."""

    def __init__(
        self,
        records: Records,
        acting: Acting,
        read_text: Callable[[str], Plan],
        read_canonical: Callable[[bytes], Plan],
        people: Callable[[], People] = People,
        origin: str = HERE,
        why_not: Callable[[Plan], str | None] = lambda _plan: None,
    ) -> None:
        """`read_text` reads what people write, and raises InvalidPlan; `read_canonical` reads what the records keep.

        `people`: who may sign something, as they are known now. `origin`: from where is asked. `why_not`: why this guard cannot do
        what a plan needs; None if it can.
        """
        self._records, self._acting, self._read_text, self._read_canonical = records, acting, read_text, read_canonical
        self._people, self._origin, self._why_not = people, origin, why_not

    def asked_from(self, origin: str) -> "GuardControl":
        """The same control for somebody who asks from there."""
        return GuardControl(
            self._records, self._acting, self._read_text, self._read_canonical, self._people, origin, self._why_not
        )  # fmt: skip

    async def start(self, plan_text: str, actor: str, *, break_glass: bool = False) -> RolloutStatus:
        """Submit a plan and begin."""
        plan = await asyncio.to_thread(self._read_text, plan_text)  # leases are renewed meanwhile
        now = time.time()
        freeze = plan.schedule.freeze_at(now)
        if freeze is not None and not (break_glass and plan.schedule.break_glass is not None):
            way = (
                "start it with --break-glass and have the freeze overridden"
                if plan.schedule.break_glass is not None
                else ("the plan names nobody who may override it (schedule.break_glass)")
            )
            msg = f"a freeze holds ({freeze.reason}); nothing was started. Start it after the freeze; in an emergency {way}"
            raise RolloutError(msg)
        if why := self._why_not(plan):
            msg = f"this guard cannot mask what the plan wants to be masked: {why}. Nothing was started"
            raise RolloutError(msg)
        await self._somebody_can_agree(plan)
        made = await asyncio.to_thread(self._records.submit, plan, subject_of(plan), actor, self._acting.guard, now, self._origin)
        await self._acting.begin(made)
        return await self.status(made)

    async def _somebody_can_agree(self, plan: Plan) -> None:
        """Whom the plan's gates ask there must be. Raises: RolloutError."""
        gates = [plan.gate_before(step) for step in range(len(plan.steps) + 1)]
        if not any(gates):
            return
        people = await asyncio.to_thread(self._people)
        if people.named(plan.change.author) is None:
            msg = (
                f"the plan asks for approvals, and its author, {plan.change.author!r}, is not among the people that this guard knows, so "
                "nobody is known to be another person; nothing was started. Add the author to the guard's list of people (setting `people`)"
            )
            raise RolloutError(msg)
        for need in (need for gate in gates for need in gate):
            able = [p for p in people.people if p.roles & set(need.roles) and not p.is_called(plan.change.author)]
            if len(able) < need.quorum:
                msg = (
                    f"the plan asks for {need}, and this guard knows {len(able)} beside the author; nothing was started. "
                    "Add them to the guard's list of people (setting `people`), or change the plan's gate"
                )
                raise RolloutError(msg)

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
        """Go on after a hold."""
        stored = await self._running(rollout_id, "resume")
        phase = stored.position.phase
        if phase is Phase.WAITING_FOR_APPROVAL:
            msg = f"rollout {stored.id} waits for signatures: `verdigris approve {stored.id}` shows what for. Nothing changed"
            raise RolloutError(msg)
        if phase not in {Phase.HOLDING, Phase.FROZEN}:
            msg = f"rollout {stored.id} is {phase.value}; one that holds or is frozen can be resumed. Nothing changed"
            raise RolloutError(msg)
        now = time.time()
        plan = self._read_canonical(stored.plan)
        said = await self._agreed(stored, plan, now)
        waits = may_move_forward(plan, now, freeze_lifted=said.agreed.freeze_lifted)
        if waits is not None:
            msg = f"rollout {stored.id} may not move forward now; it must wait for {waits.reason}. Nothing changed"
            raise RolloutError(msg)
        return await self._ask(stored, "resume", actor, reason)

    async def abort(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Back to the baseline, now: the proxy is told before anything is written. Of what this version cannot read, the plan is not
        needed: the request waits for the version that began it.
        """
        driver = self._driver(rollout_id)
        if driver is not None and not driver.position.ended:
            await driver.abort_now(actor, reason, self._origin)
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

    # -- what people sign

    async def agreement(self, rollout_id: str) -> AgreementStatus:
        """What people are asked about it, and what they have said."""
        stored, plan = await self._with_plan(rollout_id)
        now = time.time()
        said = await self._agreed(stored, plan, now)
        return agreement_status(plan, stored, said.agreed, said.approvals, said.shown, now)

    async def sign(self, rollout_id: str, signed: bytes) -> AgreementStatus:
        """Take in a signed approval, refusal, withdrawal, override or review. What would not count is refused, with the reason."""
        stored, plan = await self._with_plan(rollout_id)
        now = time.time()
        given = verify(SignedApproval.parse(signed), await asyncio.to_thread(self._people), round(now * NANO))
        approval = given.approval
        if (approval.rollout, approval.plan) != (stored.id, stored.digest):
            msg = f"this was signed about rollout {approval.rollout} and plan {approval.plan[:12]}…, not about {stored.id}"
            raise NotEntitled(msg)
        if approval.step > len(plan.steps):
            msg = f"the plan has {len(plan.steps)} steps and the switch, and this was signed about step {approval.step + 1}"
            raise InvalidApproval(msg)
        if approval.decision is ApprovalDecision.REVIEW:
            await self._review(plan, given, now)
        else:
            await self._sign(stored, plan, given, now)
        return await self.agreement(stored.id)

    async def _sign(self, stored: Stored, plan: Plan, given: Verified, now: float) -> None:
        approval = given.approval
        due_unix_s = None
        if approval.decision in ENDING:  # what moves something forward must count now; a refusal is believed from whoever is known
            said = await self._agreed(stored, plan, now, given)
            overrides = approval.decision is ApprovalDecision.OVERRIDE_FREEZE
            answer = said.agreed.freeze if overrides else said.agreed.gate
            if answer is None:
                what = (
                    "no freeze holds that somebody may override"
                    if overrides
                    else f"nobody is asked about {plan.step_text(said.agreed.step)}"
                )
                msg = f"rollout {stored.id}: {what} now. Nothing was counted"
                raise NotEntitled(msg)
            why = next((n.why for n in answer.not_counted if n.approval.digest == given.digest), None)
            if why is not None:
                msg = f"it would not count: {why}"
                raise NotEntitled(msg)
            if overrides and plan.schedule.break_glass is not None:
                due_unix_s = now + plan.schedule.break_glass.review_within_s
                log.warning("%s: THE FREEZE IS OVERRIDDEN by %s: %s", stored.id, given.person.name, approval.reason)
        about = "the whole rollout" if approval.step == START else plan.step_text(approval.step)
        await asyncio.to_thread(self._records.sign, stored.id, given, about, now, due_unix_s, self._origin)

    async def _review(self, plan: Plan, given: Verified, now: float) -> None:
        """Somebody has looked at an override, which they name as what they were shown."""
        approval = given.approval
        review = next((r for r in await asyncio.to_thread(self._records.reviews) if r.override == approval.shown), None)
        if review is None or review.rollout_id != approval.rollout:
            msg = "there is no review of what this was signed about; `verdigris review` lists them"
            raise NotEntitled(msg)
        if review.done is not None:
            return
        question = Question(
            approval.rollout, approval.plan, review.step, approval.shown, ApprovalDecision.REVIEW, not_by=frozenset({review.by})
        )  # fmt: skip
        people = await asyncio.to_thread(self._people)
        answer = decide(REVIEWERS, question, people, plan.change.author, [given], round(now * NANO))
        if not isinstance(answer, Granted):
            why = "; ".join([*(n.why for n in answer.not_counted), *(answer.missing if isinstance(answer, Waiting) else ())])
            msg = f"it would not count: {why}"
            raise NotEntitled(msg)
        await asyncio.to_thread(self._records.review, review, given, self._acting.guard, now)

    async def reviews(self) -> Sequence[ReviewStatus]:
        """The reviews that overrides of freezes have opened, those that are still open first."""
        found = []
        for review in await asyncio.to_thread(self._records.reviews):
            stored = await self._load(review.rollout_id)
            approvals = await asyncio.to_thread(self._records.approvals, review.rollout_id)
            reason = next((one.approval.reason for one in approvals if one.digest == review.override), "erased")
            found.append(
                ReviewStatus(
                    stored.id, stored.name, stored.digest, review.override, review.step, review.by, reason, review.due_unix_s,
                    done=review.done is not None,
                )
            )  # fmt: skip
        return found

    async def _agreed(self, stored: Stored, plan: Plan, now: float, *more: Verified) -> "_Said":
        """What people have said about the next move, as it counts now, and if `more` were said."""
        people = await asyncio.to_thread(self._people)
        approvals = [*await asyncio.to_thread(self._records.approvals, stored.id), *more]
        shown = await asyncio.to_thread(self._records.shown, stored.id, step_meant(stored.position))
        digest = sha256(shown).hexdigest() if shown is not None else None
        return _Said(agreed(plan, stored.id, stored.position, digest, people, approvals, round(now * NANO)), approvals, shown)

    async def _with_plan(self, rollout_id: str) -> tuple[Stored, Plan]:
        try:
            stored = await self._load(rollout_id)
            return stored, self._read_canonical(stored.plan)
        except (UnknownFormat, InvalidPlan) as error:
            msg = f"this version of the guard cannot read rollout {rollout_id}: use the version that began it. Nothing changed"
            raise RolloutError(msg) from error

    async def erase(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Erase the evidence of a rollout that has ended, and what people wrote of it; the ledger says so before."""
        if not reason.strip():
            msg = "erasing evidence needs a reason; it stays in the record. Nothing was erased"
            raise RolloutError(msg)
        stored = await self._load(rollout_id)
        said = (self._acting.guard, actor, reason[:REASON_CHARS_MAX], time.time(), self._origin)
        try:
            await asyncio.to_thread(self._records.erase_asked, stored.id, *said)
        except RecordsUnavailable as error:
            msg = f"not all of it was erased now; what is left is erased when the ledger says so, or ask again: {error}"
            raise RecordsUnavailable(msg) from error
        return self._status_of(await self._load(stored.id))

    async def _ask(self, stored: Stored, kind: str, actor: str, reason: str) -> RolloutStatus:
        await asyncio.to_thread(self._records.ask, stored.id, kind, actor, reason[:REASON_CHARS_MAX], time.time(), self._origin)
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


@dataclass(frozen=True, slots=True)
class _Said:
    """What people have said, all of it, and the document that they are shown."""

    agreed: Agreed
    approvals: Sequence[Verified]
    shown: bytes | None


def subject_of(plan: Plan) -> str:
    """What is being moved: one data plane's subject has one rollout at a time, and its generations only grow."""
    return f"{plan.traffic.adapter}:{plan.traffic.settings.get('subject') or plan.name}"
