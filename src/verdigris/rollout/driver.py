"""Carries one rollout from phase to phase: each act ends with one event. What it may do next stands in `transitions`, not here.

Before a weight moves forward its intention is in the records; a weight counts when the proxy says so. The way back needs neither:
the proxy is told first, the records after.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from verdigris.judge.verdict import Outcome
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.evidence import EvidenceDamaged
from verdigris.plan.plan import Plan, WhenWorse
from verdigris.rollout import acts
from verdigris.rollout.agreement import Agreed, Shown, agreed, shown_for, step_meant
from verdigris.rollout.decisions import WORSE, Decision, Seen, begin, decide, may_go_on, may_move_forward
from verdigris.rollout.journal import Act
from verdigris.rollout.judge_identity import judge_identity
from verdigris.rollout.position import Position
from verdigris.rollout.records import Claim, Records, RecordsUnavailable, Request, Stored, Superseded
from verdigris.rollout.status import RolloutError, RolloutStatus
from verdigris.rollout.statuses import compose, status_text
from verdigris.rollout.surroundings import Surroundings
from verdigris.rollout.transitions import TRANSITIONS, Event, Phase, after
from verdigris.rollout.watching import InForce, Watch
from verdigris.telemetry.store import StoreError
from verdigris.times import NANO
from verdigris.traffic.data_plane import BASELINE_ONLY, DataPlane, Split, TrafficError

TICK_S = 0.25
MISTAKE_PAUSE_S = 1.0
"""After a mistake of ours: were it made again and again, the journal would fill with it."""

AGAIN_S = (0.2, 0.5, 1.0, 2.0)
"""Waits between attempts to return; the last one is repeated until the proxy says that the baseline is in force."""

log = logging.getLogger("verdigris.rollout")


@dataclass(frozen=True, slots=True)
class Happened:
    """One event, why, whose it is, and from where they asked."""

    event: Event
    reason: str
    actor: str
    origin: str = ""


class Driver:
    """One rollout, on the guard that acts on it."""

    def __init__(self, plan: Plan, stored: Stored, claim: Claim, plane: DataPlane, records: Records, around: Surroundings) -> None:
        """`stored` is what the records have of it; `claim` the right to act on it."""
        self.plan, self.claim, self.plane, self.records, self.around = plan, claim, plane, records, around
        self.position = stored.position
        self.started_unix_s = stored.started_unix_s
        self.generation = stored.generation
        self.watch = Watch(plan, plane, records, claim, around)
        self.waiting = Decision(Event.UNDECIDED, "")
        self._me = f"guard {claim.guard}"
        self._tasks: list[asyncio.Task[None]] = []
        self._looking: asyncio.Task[None] | None = None
        self._requests: list[Request] = []
        self._agreed = Agreed(0)
        self._shown: Shown | None = None
        self._shown_digest: str | None = None
        self._aborted: tuple[str, str, str] | None = None
        self._said: tuple[object, ...] = ()
        self._blind = False
        self.committed = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While inside, the proxy is observed, leases are kept and windows are looked at."""
        stored, looks, reference = await self.around.offload(self._remembered)
        self.generation = stored.generation
        if self.position.sequence:
            await self._kept(self.records.note, self._now(), acts.recovered(self._me, self.position, self.claim.term))
        await self.around.offload(self.watch.remember, looks, reference, stored.reference_after)
        if stored.reference is not None and reference is None:
            self.watch.lost = "what the baseline was like is gone, or was changed"
        self._tasks = [asyncio.create_task(self.watch.keep(), name="keep")]
        if self.watch.reference is not None and self.position.phase is not Phase.PREFLIGHT:
            self._begin_looking()
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.around.telemetry.end()

    def _begin_looking(self) -> None:
        self._looking = asyncio.create_task(self.watch.look(), name="look")
        self._tasks.append(self._looking)

    async def _stop_looking(self) -> None:
        """Windows are taken by one task: while the baseline is learned, nobody else looks."""
        if self._looking is not None:
            self._tasks.remove(self._looking)
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None

    def _remembered(self) -> tuple[Stored, Sequence[tuple[int, int, bytes | None]], bytes | None]:
        stored, reference = self.records.load(self.claim.rollout_id), None
        if stored.reference is not None:
            with contextlib.suppress(EvidenceDamaged):
                reference = self.records.evidence(stored.reference)
        return stored, self.records.looks(self.claim.rollout_id), reference

    async def advance(self) -> Position:
        """Act in the present phase until something happens, and keep the position that follows. Raises: Superseded."""
        acts: Mapping[Phase, Callable[[], Any]] = {
            Phase.PLANNED: self._begin,
            Phase.PREFLIGHT: self._preflight,
            Phase.SHIFTING: self._shift,
            Phase.COMMITTING: self._commit,
            Phase.RETURNING: self._return,
        }
        try:
            await self._hear_people()
            happened = self._abort() or self._without_evidence() or await acts.get(self.position.phase, self._watch)()
        except RecordsUnavailable as error:
            happened = await self._without_records(str(error))
        except (TrafficError, StoreError) as error:
            happened = self._doubted(str(error))
        except Superseded:
            raise
        except Exception as error:  # whatever it is, the candidate's traffic must not depend on it
            log.exception("%s: a mistake of ours", self.claim.rollout_id)
            happened = self._doubted(f"a mistake of ours: {error!r}")
            await asyncio.sleep(MISTAKE_PAUSE_S)
        if happened.event is Event.COMMIT_IN_FORCE:
            if self._aborted is not None:
                happened = self._doubted("somebody asked to go back while it was committed")
            else:
                self.committed = True  # from here on it is over, also while that is being written
        position = self.position.moved(happened.event, happened.reason, self.around.clock.now_unix_s())
        if position.phase is Phase.RETURNING:
            await self._back_at_once()
        log.info("%s: %s → %s: %s", self.claim.rollout_id, self.position.phase, position.phase, happened.reason)
        # Whoever reads the records sees the position and what was known then together, also when this guard is killed next.
        known = status_text(self._status_at(position))
        await self._until_kept(self.records.move, position, happened.event, happened.actor, known, happened.origin)
        self.position = position
        return position

    async def abort_now(self, actor: str, reason: str, origin: str = "") -> None:
        """Somebody wants the traffic back: tell the proxy at once; the record and the phase follow.

        Raises: RolloutError: it has ended, or is committed: nothing was changed.
        """
        if self.committed or self.position.ended:
            msg = f"rollout {self.claim.rollout_id} is over; nothing was changed. To go back, roll the old version out again"
            raise RolloutError(msg)
        self._aborted = (actor, reason, origin)
        await self.watch.refuse(f"{actor} asked to go back: {reason}")
        await self._back_at_once()

    # -- the phases -----------------------------------------------------------------------------------------------------------

    async def _begin(self) -> Happened:
        return Happened(Event.BEGUN, "the plan is being checked against the proxy and the telemetry", self._me)

    async def _preflight(self) -> Happened:
        """The proxy answers, sends all to the baseline and does what it is told; and the baseline is known."""
        split = await self.plane.observe()
        if split is None or split.committed or split.routing.candidate_percent > 0:
            says = "does not tell what is in force" if split is None else "already sends traffic to the candidate"
            await self._checked("proxy", f"the proxy {says}", certain=split is not None)
            return Happened(Event.CANNOT_TELL, f"the proxy {says}; nothing was moved", self._me)
        # A rehearsal: it changes nothing, and shows that the proxy hears this guard before any traffic depends on it.
        refused = await self.watch.put_in_force(InForce(self.generation, BASELINE_ONLY))
        if refused is not None and self.watch.newest is not None and split.generation is None:
            # Nothing is on a lease, and the proxy knows a newer generation than the records do: these records are new. Go on from it.
            self.generation = await self._kept(self.records.adopt, self.watch.newest)
            refused = await self.watch.put_in_force(InForce(self.generation, BASELINE_ONLY))
        await self._checked("proxy", refused, certain=False)
        if refused is not None:
            return Happened(Event.CANNOT_TELL, refused, self._me)
        patience_s = 3 * self.plan.observation.reference_s + 60
        await self._stop_looking()
        learning = asyncio.create_task(self.watch.learn())
        try:
            asked = await self._until(learning, patience_s)
        finally:
            learning.cancel()
        if asked is not None:
            return asked
        wrong = learning.result() if learning.done() and not learning.cancelled() else "the baseline could not be learned in time"
        await self._checked("baseline", wrong, certain=learning.done())
        if wrong is not None:
            return Happened(Event.EVIDENCE_MISSING, wrong, self._me)
        assert self.watch.reference is not None  # noqa: S101  # `learn` found nothing wrong
        learned = self.watch.reference
        await self._until_kept(
            self.records.keep_reference, self._now(), learned.canonical_bytes(), learned.windows, len(learned.operations)
        )
        self._begin_looking()
        while True:
            decision = begin(self.plan, self._now(), freeze_lifted=self._agreed.freeze_lifted)
            if decision.event is not Event.UNDECIDED:
                return Happened(decision.event, decision.reason, self._me)
            asked = await self._tick(decision)
            if asked is not None:
                return asked

    async def _checked(self, check: str, wrong: str | None, *, certain: bool) -> None:
        await self._kept(self.records.note, self._now(), acts.checked(self._me, check, wrong, certain=certain))

    async def _until(self, task: asyncio.Task[Any], patience_s: float) -> Happened | None:
        """Wait for a task, while people may hold or abort."""
        give_up_s = self.around.clock.monotonic_s() + patience_s
        learned_unix_s = self._now() + self.plan.observation.reference_s + self.plan.observation.settle_s
        waiting = Decision(Event.UNDECIDED, "the baseline to be learned", learned_unix_s)
        while not task.done() and self.around.clock.monotonic_s() < give_up_s:
            asked = await self._tick(waiting)
            if asked is not None:
                return asked
        return None

    async def _shift(self) -> Happened:
        late = may_go_on(self.plan, self.position, self._now(), freeze_lifted=self._agreed.freeze_lifted)
        if late is not None:
            return Happened(Event.EVIDENCE_MISSING, late, self._me)
        wrong = await self._put_in_force()
        if wrong is not None:
            return Happened(Event.CANNOT_TELL, wrong, self._me)
        switched = self.position.step >= len(self.plan.steps)
        weight = self.position.routing(self.plan).candidate_percent
        return Happened(
            Event.SWITCH_IN_FORCE if switched else Event.STEP_IN_FORCE, f"the proxy sends {weight:g} % to the candidate", self._me
        )

    async def _back_at_once(self) -> None:
        """The way back waits for no record: the proxy is told before anything is written. The phase that follows goes on trying."""
        await self.watch.let_go()
        with contextlib.suppress(TrafficError):
            await self.plane.return_to_baseline(self.generation)

    async def _put_in_force(self) -> str | None:
        """Record, act, read back. Returns None, or why the weight is not in force."""
        routing = self.position.routing(self.plan)
        says = f"{routing.candidate_percent:g} % to the candidate"
        announced = partial(self._intended, f"about to send {says}", routing.candidate_percent)
        self.generation = await self._kept(self.records.intend, self._now(), announced)
        wrong = await self.watch.put_in_force(InForce(self.generation, routing))
        if wrong is None:
            self.watch.began(self._now(), self.position.step)
        await self._kept(
            self.records.note, self._now(), self._observed(Kind.WEIGHT_OBSERVED, wrong or f"the proxy sends {says}", as_asked=wrong is None)
        )
        return wrong

    def _intended(self, text: str, percent: float, generation: int, *, commit: bool = False) -> Act:
        return acts.intended(self._me, text, percent, generation, self.position.step, self.plan.traffic.lease_s, commit=commit)

    async def _watch(self) -> Happened:
        """Until something is seen: worse, shown, missing, or asked for."""
        stays = self.watch.lost is None or self.plan.when_worse is WhenWorse.FREEZE
        if stays and self.watch.in_force is None and self.position.step >= 0 and not self._leads_back(self._decision()):
            # This guard has just taken over: what is in force is what the records say, or the baseline if the lease has ended. What the
            # evidence of the one before condemns gets no traffic once more.
            wrong = await self._put_in_force()
            if wrong is not None:
                return self._doubted(wrong)
        while True:
            decision = self._decision()
            if decision.event is not Event.UNDECIDED:
                if self._leads_back(decision):
                    await self._back_at_once()
                await self._note_verdict()
                return Happened(decision.event, decision.reason, self._me)
            if self.watch.doubt is not None and self._doubt_moves():
                doubted = self._doubted(self.watch.doubt)
                if self.watch.unasked is not None:
                    if after(self.position.phase, doubted.event) is Phase.RETURNING:
                        await self._back_at_once()
                    await self._kept(
                        self.records.note,
                        self._now(),
                        self._observed(Kind.WEIGHT_OBSERVED, doubted.reason, self.watch.unasked, as_asked=False),
                    )
                    self.watch.unasked = None
                return doubted
            asked = await self._tick(decision)
            if asked is not None:
                return asked

    def _decision(self) -> Decision:
        return decide(self.plan, self.position, self._what_is_seen())

    def _leads_back(self, decision: Decision) -> bool:
        return after(self.position.phase, decision.event) is Phase.RETURNING

    def _what_is_seen(self) -> Seen:
        judgement = self.watch.judgement
        since = self.position.step_since_unix_s
        return Seen(
            now_unix_s=self._now(),
            verdict=None if judgement is None else judgement.verdict,
            summary="" if judgement is None else judgement.summary,
            traced_candidate_requests=self.watch.traced_since(since) if since is not None else 0,
            looks=self.watch.looks_of_step,
            in_force_s=self.watch.in_force_s,
            worse=self.watch.failing() if self.position.step >= 0 else None,
            stalled_s=self.watch.stalled_s,
            approved=self._agreed.approved,
            gate=self._agreed.approvers or self._agreed.missing,
            freeze_lifted=self._agreed.freeze_lifted,
        )

    async def _commit(self) -> Happened:
        late = may_go_on(self.plan, self.position, self._now(), freeze_lifted=self._agreed.freeze_lifted)
        if late is not None:
            split = await self.plane.observe()
            if split is not None and split.committed:  # it was done before this guard came
                await self._kept(self.records.note, self._now(), self._observed(Kind.COMMIT_OBSERVED, _says(split), split))
                return Happened(Event.COMMIT_IN_FORCE, "the candidate is the proxy's durable default", self._me)
            return Happened(Event.CANNOT_TELL, late, self._me)
        announced = partial(self._intended, "about to make the candidate the durable default", 100.0, commit=True)
        self.generation = await self._kept(self.records.intend, self._now(), announced)
        split = await self.watch.commit(self.generation)
        done = split is not None and split.committed and split.routing.candidate_percent == 100.0  # noqa: PLR2004  # percent
        await self._kept(self.records.note, self._now(), self._observed(Kind.COMMIT_OBSERVED, _says(split), split, as_asked=done))
        if not done:
            return Happened(Event.CANNOT_TELL, f"the candidate is not the durable default: {_says(split)}", self._me)
        return Happened(Event.COMMIT_IN_FORCE, "the candidate is the proxy's durable default", self._me)

    async def _return(self) -> Happened:
        """Tell the proxy, as often as it takes; then write it down."""
        await self.watch.let_go()
        attempt = 0
        while True:
            if attempt:  # another guard may have taken over meanwhile, and another rollout may have begun
                with contextlib.suppress(RecordsUnavailable):
                    await self.watch.hear()
            try:
                split = await self.plane.return_to_baseline(self.generation)
                says = _says(split)
            except TrafficError as error:
                split, says = None, str(error)
            if split is not None and split.routing.candidate_percent == 0 and not split.committed:
                break
            self.waiting = Decision(Event.UNDECIDED, f"the proxy to say that the baseline has all traffic ({says}); no lease is renewed")
            with contextlib.suppress(RecordsUnavailable):
                await self._publish()
            await asyncio.sleep(AGAIN_S[min(attempt, len(AGAIN_S) - 1)])
            attempt += 1
        self.watch.split = split
        await self._until_kept(self.records.note, self._now(), self._observed(Kind.ROLLBACK_OBSERVED, _says(split), split))
        await self._answer_all()
        return Happened(Event.BASELINE_IN_FORCE, self.position.reason, self._me)

    # -- people ---------------------------------------------------------------------------------------------------------------

    async def _tick(self, waiting: Decision) -> Happened | None:
        """Wait a moment. Returns what people asked for, if it leads somewhere from here. Raises what stopped the watching."""
        self.waiting = waiting
        await self._publish()
        self.watch.check_records()
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()
        await asyncio.sleep(TICK_S)
        aborted = self._abort()
        if aborted is not None:
            return aborted
        await self._hear_people()
        requests = await self._kept(self.records.asked)
        for request in requests:
            happened = self._asked(request)
            await self._kept(self.records.answered, [request.number])
            if happened is not None:
                return happened
        return None

    async def _hear_people(self) -> None:
        """What people have signed about the next move, where they are asked. What approvers are shown is kept before they can be."""
        waiting = self.position.phase is Phase.WAITING_FOR_APPROVAL
        frozen = self.plan.schedule.break_glass is not None and self.plan.schedule.freeze_at(self._now()) is not None
        if not (waiting or frozen) or self.position.phase is Phase.RETURNING:
            self._agreed = Agreed(step_meant(self.position))
            return
        if waiting:
            await self._show()
        people = await self.around.offload(self.around.people)
        signed = await self.around.offload(self.records.approvals, self.claim.rollout_id)
        now_unix_nano = round(self._now() * NANO)
        self._agreed = agreed(self.plan, self.claim.rollout_id, self.position, self._shown_digest, people, signed, now_unix_nano)

    async def _show(self) -> None:
        shown = shown_for(self.plan, self.claim.rollout_id, step_meant(self.position), self.watch.judgement)
        if self._shown is None or (shown.step, shown.topic) != (self._shown.step, self._shown.topic):
            self._shown_digest = await self._kept(self.records.show, shown)
            self._shown = shown

    def _abort(self) -> Happened | None:
        """What somebody asked of this guard directly, where it is still to be done."""
        if self._aborted is None or self.position.phase is Phase.RETURNING or self.position.ended:
            return None
        actor, reason, origin = self._aborted
        return Happened(Event.RETURN_ASKED, f"{actor} asked to go back: {reason}", actor, origin)

    def _asked(self, request: Request) -> Happened | None:
        phase, told = self.position.phase, f"{request.actor}: {request.reason}" if request.reason else request.actor
        forward = may_move_forward(self.plan, self._now(), freeze_lifted=self._agreed.freeze_lifted)
        event: Event | None = None
        if request.kind == "abort":
            event = Event.RETURN_ASKED
        elif request.kind == "hold" and phase not in {Phase.HOLDING, Phase.FROZEN}:
            event = Event.HOLD_ASKED
        elif request.kind == "resume" and phase in {Phase.HOLDING, Phase.FROZEN} and forward is None:
            event = Event.RESUMED if self.position.step >= 0 else Event.RESUMED_BEFORE_TRAFFIC
        elif request.kind == "commit" and phase is Phase.BAKING and forward is None:
            judged = self.watch.judgement
            event = Event.BAKED if judged is not None and judged.verdict not in WORSE else None
        return Happened(event, told, request.actor, request.origin) if event is not None and event in TRANSITIONS[phase] else None

    async def _answer_all(self) -> None:
        with contextlib.suppress(RecordsUnavailable):
            asked = await self.around.offload(self.records.asked, self.claim)
            await self.around.offload(self.records.answered, self.claim, [request.number for request in asked])

    # -- the records ----------------------------------------------------------------------------------------------------------

    async def _kept(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Write, with as much patience as one lease. Raises: RecordsUnavailable, Superseded."""
        give_up_s = self.around.clock.monotonic_s() + self.plan.traffic.lease_s
        while True:
            try:
                return await self.around.offload(call, self.claim, *arguments)
            except RecordsUnavailable:
                if self.around.clock.monotonic_s() >= give_up_s:
                    raise
                await asyncio.sleep(TICK_S)

    async def _until_kept(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Write, with endless patience: nothing happens until it is written."""
        while True:
            try:
                return await self._kept(call, *arguments)
            except RecordsUnavailable as error:
                log.warning("%s: %s; trying again", self.claim.rollout_id, error)

    async def _without_records(self, why: str) -> Happened:
        """What cannot be recorded goes only one way: back. The record follows when it can."""
        log.error("%s: %s; going back to the baseline unrecorded", self.claim.rollout_id, why)
        await self.watch.let_go()
        if self.plan.when_worse is WhenWorse.RETURN or self.position.step < 0:
            with contextlib.suppress(TrafficError):
                await self.plane.return_to_baseline(self.generation)
        return self._doubted(f"the rollout's records could not be written: {why}")

    def _without_evidence(self) -> Happened | None:
        """What a rollout is judged by is gone: it does not go forward on what is left. Holding or going back, and in front of people, it is
        left to them.
        """
        left = {Phase.PLANNED, Phase.PREFLIGHT, Phase.HOLDING, Phase.FROZEN, Phase.RETURNING}
        if self.watch.lost is None or self.position.phase in left:
            return None
        event = next(e for e in (Event.EVIDENCE_MISSING, Event.CANNOT_TELL) if e in TRANSITIONS[self.position.phase])
        return Happened(event, f"it cannot be judged on: {self.watch.lost}; end it, or begin it anew", self._me)

    def _doubted(self, why: str) -> Happened:
        """The event that doubt is in this phase: toward the baseline, or holding where the baseline cannot run on the data any more."""
        possible = TRANSITIONS[self.position.phase]
        stay = self.plan.when_worse is WhenWorse.FREEZE and self.position.step >= 0
        preferred = (Event.EVIDENCE_MISSING,) if stay else ()
        event = next(e for e in (*preferred, Event.CANNOT_TELL, Event.RETURN_ASKED) if e in possible)
        return Happened(event, why, self._me)

    def _doubt_moves(self) -> bool:
        """Whether doubt about the proxy leads anywhere from here: not before any traffic, nor where people were called already."""
        if self.position.step < 0 or self.position.phase is Phase.FROZEN:
            return False
        return not (self.position.phase is Phase.HOLDING and self.plan.when_worse is WhenWorse.FREEZE)

    # -- what is seen of it ---------------------------------------------------------------------------------------------------

    def status(self) -> RolloutStatus:
        """The rollout as it stands."""
        return self._status_at(self.position)

    def _status_at(self, position: Position) -> RolloutStatus:
        return compose(self.plan, self.claim, position, self.generation, self.started_unix_s, self.watch, self.waiting, self._agreed)

    async def _publish(self) -> None:
        """Keep the status for others, when there is something new."""
        said = (self.position.sequence, self.watch.changes, self.waiting.reason)
        if said == self._said:
            return
        self._said = said
        with contextlib.suppress(RecordsUnavailable):
            await self.around.offload(self.records.publish, self.claim, status_text(self.status()))

    async def _note_verdict(self) -> None:
        judged = self.watch.judgement
        if judged is None:
            return
        await self._kept(self.records.note_verdict, self._now(), judged, judge_identity())
        blind = judged.verdict is Outcome.BLIND
        if blind is not self._blind:
            self._blind = blind
            await self._kept(
                self.records.note, self._now(), acts.sight(self._me, judged.verdict, self.watch.proxied[1], self.watch.traced[1])
            )

    def _observed(self, kind: Kind, text: str, split: Split | None = None, *, as_asked: bool = True) -> Act:
        return acts.observed(kind, self._me, text, split or self.watch.split, as_asked=as_asked)

    def _now(self) -> float:
        return self.around.clock.now_unix_s()


def _says(split: Split | None) -> str:
    if split is None:
        return "the proxy does not tell"
    durable = "candidate" if split.committed else "baseline"
    return f"the proxy sends {split.routing.candidate_percent:g} % to the candidate; its durable default is the {durable}"
