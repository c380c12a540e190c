"""Makes the status document of a rollout from what its driver knows."""

import calendar
import time
from collections.abc import Callable, Sequence

from pydantic import TypeAdapter

from verdigris.approvals.approval import ApprovalDecision, Verified
from verdigris.approvals.gate import Granted, Refused, Waiting
from verdigris.judge.verdict import Finding, Missing
from verdigris.judge.windows import Operation
from verdigris.plan.gates import Gate
from verdigris.plan.plan import Plan
from verdigris.rollout.agreement import Agreed, Answer
from verdigris.rollout.decisions import Decision
from verdigris.rollout.position import Position
from verdigris.rollout.records import Claim, Stored
from verdigris.rollout.status import (
    AgreementStatus,
    EvidenceStatus,
    FindingStatus,
    FreezeStatus,
    GateStatus,
    MissingStatus,
    NeedStatus,
    RoleStatus,
    RolloutStatus,
    StepStatus,
    WordStatus,
)
from verdigris.rollout.transitions import Phase
from verdigris.rollout.watching import Watch
from verdigris.sensitive.findings import Leak
from verdigris.times import rfc3339

EVIDENCE_MAX = 12
FINDINGS_MAX = 50

_DOCUMENT: TypeAdapter[RolloutStatus] = TypeAdapter(RolloutStatus)


def status_text(status: RolloutStatus) -> str:
    """The document as JSON."""
    return _DOCUMENT.dump_json(status).decode()


def read_status(text: str) -> RolloutStatus:
    """The document from JSON that `status_text` wrote."""
    return _DOCUMENT.validate_json(text)


def compose(
    plan: Plan, claim: Claim, position: Position, generation: int, started_unix_s: float, watch: Watch, waiting: Decision, agreed: Agreed
) -> RolloutStatus:
    """The rollout as it stands."""
    judged, split = watch.judgement, watch.split
    _, _, base_failed, cand_failed = watch.counters.totals
    failed = (base_failed - watch.failed_before[0], cand_failed - watch.failed_before[1])
    state = watch.around.telemetry.state()
    return RolloutStatus(
        id=claim.rollout_id,
        name=plan.name,
        plan_digest=plan.digest,
        phase=position.phase,
        phase_since_unix_s=position.since_unix_s,
        started_unix_s=started_unix_s,
        ended_unix_s=position.since_unix_s if position.ended else None,
        steps=_steps(plan, position),
        intended_percent=position.routing(plan).candidate_percent,
        observed_percent=None if split is None else split.routing.candidate_percent,
        lease_s=plan.traffic.lease_s,
        generation=generation,
        guard=claim.guard,
        baseline=RoleStatus(plan.baseline.slot, watch.proxied[0], failed[0], watch.traced[0]),
        candidate=RoleStatus(plan.candidate.slot, watch.proxied[1], failed[1], watch.traced[1]),
        verdict=None if judged is None else judged.verdict,
        summary=position.reason if position.ended or judged is None else judged.summary,
        evidence=()
        if judged is None
        else tuple(
            EvidenceStatus(e.signal.value, str(e.edge or e.operation), e.log_e, e.threshold, e.candidate_requests)
            for e in judged.evidence[:EVIDENCE_MAX]
        ),
        findings=() if judged is None else tuple(finding_status(f, watch.around.leak) for f in judged.findings[:FINDINGS_MAX]),
        missing=() if judged is None else tuple(_missing(m, watch) for m in judged.missing[:EVIDENCE_MAX]),
        waiting_for="" if position.ended else waiting.reason,
        waiting_until_unix_s=None if position.ended else waiting.until_unix_s,
        windows=watch.looks,
        late_spans=state.late_spans,
        clock_skew_s=state.clock_skew_s,
        notes=agreed.notes + state.notes + (() if judged is None else judged.notes),
        proxy_clock_offset_s=None if split is None else split.clock_offset_s,
    )


def first_status(plan: Plan, stored: Stored) -> RolloutStatus:
    """A rollout that no guard has acted on yet, or whose driver has not said anything."""
    nobody = RoleStatus(plan.baseline.slot, 0, 0, 0)
    position = stored.position
    return RolloutStatus(
        id=stored.id, name=stored.name, plan_digest=stored.digest, phase=position.phase, phase_since_unix_s=position.since_unix_s,
        started_unix_s=stored.started_unix_s, ended_unix_s=stored.ended_unix_s, steps=_steps(plan, position),
        intended_percent=position.routing(plan).candidate_percent, observed_percent=None, lease_s=plan.traffic.lease_s,
        generation=stored.generation, guard=stored.guard, baseline=nobody,
        candidate=RoleStatus(plan.candidate.slot, 0, 0, 0), verdict=None, summary=position.reason, evidence=(), findings=(),
        missing=(), waiting_for="" if position.ended else "a guard to act on it", waiting_until_unix_s=None, windows=0, late_spans=0,
        clock_skew_s=None,
    )  # fmt: skip


def agreement_status(
    plan: Plan, stored: Stored, agreed: Agreed, approvals: Sequence[Verified], shown: bytes | None, now_unix_s: float
) -> AgreementStatus:
    """What people are asked, and what they have said. `shown`: the document that approvers of the step are shown now."""
    frozen, glass = plan.schedule.freeze_at(now_unix_s), plan.schedule.break_glass
    asked = stored.position.phase is Phase.WAITING_FOR_APPROVAL
    return AgreementStatus(
        rollout=stored.id, plan=stored.digest, author=plan.change.author, step=agreed.step, about=plan.step_text(agreed.step), asked=asked,
        gate=_gate_status(plan.gate_before(agreed.step), agreed.gate), shown=shown.decode() if shown is not None else None,
        freeze=None
        if frozen is None
        else FreezeStatus(frozen.reason, frozen.end_unix_s, _gate_status(glass.gate, agreed.freeze) if glass is not None else None),
        words=tuple(_word(one, agreed) for one in sorted(approvals, key=lambda one: (one.approval.issued_unix_nano, one.digest))),
    )  # fmt: skip


def _gate_status(gate: Gate, answer: Answer | None) -> GateStatus | None:
    if answer is None:
        return None
    state = {Granted: "open", Waiting: "waiting", Refused: "refused"}[type(answer)]
    needs = tuple(NeedStatus(tuple(role.value for role in need.roles), need.quorum) for need in gate)
    missing = answer.missing if isinstance(answer, Waiting) else ()
    if isinstance(answer, Refused):
        missing = tuple(f"the withdrawal of {one.person.name}'s refusal" for one in answer.by)
    return GateStatus(state, needs, missing)


def _word(one: Verified, agreed: Agreed) -> WordStatus:
    approval = one.approval
    answer = agreed.freeze if approval.decision is ApprovalDecision.OVERRIDE_FREEZE else agreed.gate
    counts = answer is not None and one in answer.by
    why = next((n.why for n in answer.not_counted if n.approval == one), "") if answer is not None else "nobody is asked about this now"
    return WordStatus(
        one.person.name, approval.role.value, approval.decision.value, approval.step, approval.reason, rfc3339(approval.issued_unix_nano),
        one.digest, counts, "" if counts else why,
    )  # fmt: skip


def began_unix_s(rollout_id: str) -> float:
    """When a rollout was submitted, by its id; 0 where the id does not begin with a time."""
    try:
        return float(calendar.timegm(time.strptime(rollout_id[:15], "%Y%m%d-%H%M%S")))
    except ValueError:
        return 0.0


def unread_status(rollout_id: str, why: str, stored: Stored | None) -> RolloutStatus:
    """A rollout that this version of the guard cannot read: without its plan, and perhaps without its position (`stored`)."""
    nobody = RoleStatus("", 0, 0, 0)
    began = stored.started_unix_s if stored else began_unix_s(rollout_id)
    position = stored.position if stored else Position(Phase.HOLDING, since_unix_s=began)
    return RolloutStatus(
        id=rollout_id, name=stored.name if stored else "(cannot be read)", plan_digest=stored.digest if stored else "",
        phase=position.phase, phase_since_unix_s=position.since_unix_s, started_unix_s=began,
        ended_unix_s=stored.ended_unix_s if stored else None, steps=(), intended_percent=0.0, observed_percent=None, lease_s=0.0,
        generation=stored.generation if stored else 0, guard=stored.guard if stored else "", baseline=nobody, candidate=nobody,
        verdict=None, summary=position.reason, evidence=(), findings=(), missing=(), waiting_for="", waiting_until_unix_s=None,
        windows=0, late_spans=0, clock_skew_s=None, cannot_resume=why,
    )  # fmt: skip


def _steps(plan: Plan, position: Position) -> tuple[StepStatus, ...]:
    """The plan's steps and the switch."""
    over = position.phase in {Phase.COMMITTED, Phase.COMMITTING}
    weights = [step.weight_percent for step in plan.steps] + [100.0]
    return tuple(
        StepStatus(weight, "done" if over or number < position.step else "now" if number == position.step else "to come")
        for number, weight in enumerate(weights)
    )


def finding_status(finding: Finding, leak: Callable[[str, Operation], Leak]) -> FindingStatus:
    """A finding; `leak` says what a word of the windows says that an operation sends."""
    operation = finding.operation
    leaks = () if operation is None else tuple(leak(word, operation) for word in finding.leaks)
    return FindingStatus(finding.id, finding.signal.value, finding.severity.value, finding.service, finding.sentence, leaks)


def _missing(missing: Missing, watch: Watch) -> MissingStatus:
    rate = watch.traced_per_s()
    lacking = max(0, missing.need - missing.have)
    return MissingStatus(str(missing.operation), missing.signal.value, missing.have, missing.need, lacking / rate if rate > 0 else None)
