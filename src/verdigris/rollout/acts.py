"""What the guard says of each thing that happens in a rollout: once for people, once for the ledger. Values only."""

from collections.abc import Mapping, Sequence

from verdigris.approvals.approval import ApprovalDecision, Verified
from verdigris.judge.live import LiveJudgement
from verdigris.judge.verdict import Outcome as Verdict
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.statement import Outcome
from verdigris.plan.plan import Plan
from verdigris.rollout.journal import Act
from verdigris.rollout.position import Position
from verdigris.rollout.transitions import Event, Phase
from verdigris.traffic.data_plane import Split

FINDINGS_MAX = 50
"""So many findings have an entry of their own; the judgement, which is evidence, has all."""


def submitted(plan: Plan, actor: str, origin: str) -> Act:
    """A plan was submitted."""
    text = f"plan {plan.name} was submitted"
    return Act(Kind.PLAN_SUBMITTED, actor, text, {"digest": plan.digest}, {}, based_on=(plan.digest,), origin=origin)


def masking_set(guard: str, definition: str, detectors: int, allowed: int) -> Act:
    """What a guard masks from now on. `definition`: digest of what says it; beside the decoder's own detectors, and with exceptions."""
    text = f"masked is what the decoder knows, {detectors} detectors more, and not what {allowed} exceptions let pass"
    values: dict[str, Value] = {"masking": definition, "detectors": detectors, "allowed": allowed}
    return Act(Kind.MASKING_SET, guard, text, values, values, (definition,))


def requested(request: str, actor: str, reason: str, origin: str) -> Act:
    """A person asked to hold, resume, abort or commit."""
    return Act(Kind.REQUEST, actor, f"asked to {request}: {reason}" if reason else f"asked to {request}", {"request": request},
               {"request": request}, outcome=Outcome.SEEN, origin=origin)  # fmt: skip


_SIGNED = {
    ApprovalDecision.GIVE: (Kind.APPROVAL_GIVEN, Outcome.DONE, "approves"),
    ApprovalDecision.REFUSE: (Kind.APPROVAL_REFUSED, Outcome.REFUSED, "refuses"),
    ApprovalDecision.WITHDRAW: (Kind.APPROVAL_WITHDRAWN, Outcome.DONE, "withdraws what they said about"),
    ApprovalDecision.OVERRIDE_FREEZE: (Kind.FREEZE_OVERRIDDEN, Outcome.DONE, "OVERRIDES THE FREEZE for"),
}


def signed(given: Verified, person: str, about: str, origin: str) -> Act:
    """Somebody has signed something about a step. `person`: digest of the blob that says who they are; `about`: the step in words."""
    approval = given.approval
    kind, outcome, does = _SIGNED[approval.decision]
    reason = f": {approval.reason}" if approval.reason else ""
    values: dict[str, Value] = {"step": approval.step, "approval": given.digest}
    data = {**values, "decision": approval.decision.value, "role": approval.role.value}
    based_on = (given.digest, person, *([approval.shown] if approval.shown is not None else []))
    return Act(kind, given.person.name, f"{does} {about}, as {approval.role.value}{reason}", data, values, based_on, outcome, origin)


def review_due(given: Verified, due_unix_s: float, origin: str) -> Act:
    """An override of a freeze opens a review."""
    values: dict[str, Value] = {"dueUnixS": round(due_unix_s), "of": given.digest}
    text = "what was done in spite of the freeze is to be reviewed by somebody else"
    return Act(Kind.REVIEW_DUE, given.person.name, text, values, values, (given.digest,), Outcome.ANNOUNCED, origin)


def review_done(guard: str, given: Verified, rollout_id: str, person: str) -> Act:
    """Somebody has reviewed an override, which `given` names as what it is about."""
    approval = given.approval
    values: dict[str, Value] = {"of": approval.shown, "approval": given.digest}
    text = f"{given.person.name} has reviewed, as {approval.role.value}, the override of a freeze in {rollout_id}: {approval.reason}"
    based_on = (given.digest, person, *([approval.shown] if approval.shown is not None else []))
    return Act(Kind.REVIEW_DONE, guard, text, {**values, "rollout": rollout_id}, values, based_on)


def moved(before: Position, position: Position, event: Event, actor: str, generation: int, origin: str = "") -> Sequence[Act]:
    """A transition, and what it announces or ends."""
    data: dict[str, Value] = {
        "from": before.phase.value, "to": position.phase.value, "event": event.value, "transition": position.sequence,
    }  # fmt: skip
    said = [Act(Kind.PHASE, actor, f"{before.phase.value} → {position.phase.value}: {position.reason}", data, data, origin=origin)]
    if position.phase is Phase.RETURNING and before.phase is not position.phase:
        said.append(
            Act(Kind.ROLLBACK_INTENDED, actor, "all traffic goes back to the baseline", {"generation": generation},
                {"generation": generation}, outcome=Outcome.ANNOUNCED, origin=origin)
        )  # fmt: skip
    if position.ended:
        said.append(Act(Kind.ROLLOUT_ENDED, actor, position.phase.value, {}, {"phase": position.phase.value}, origin=origin))
    return said


def recovered(guard: str, position: Position, term: int) -> Act:
    """A guard goes on with a rollout that somebody acted on before."""
    text = f"{guard} goes on with what is {position.phase.value}"
    return Act(Kind.GUARD_RECOVERED, guard, text, {"term": term}, {"term": term})


def checked(guard: str, check: str, wrong: str | None, *, certain: bool) -> Act:
    """A check of the preflight. `certain`: what is wrong was seen, not only not seen to be right."""
    result = "PASS" if wrong is None else "FAIL" if certain else "CANNOT_TELL"
    outcome = Outcome.DONE if wrong is None else Outcome.FAILED
    values: dict[str, Value] = {"check": check, "result": result}
    return Act(Kind.PREFLIGHT_CHECK, guard, f"{check}: {wrong or 'as it should be'}", values, values, outcome=outcome)


def intended(guard: str, text: str, percent: float, generation: int, step: int, lease_s: float, *, commit: bool = False) -> Act:
    """A weight is about to be applied, or the candidate to be made the durable default."""
    data: dict[str, object] = {"candidate_percent": percent, "generation": generation}
    values: dict[str, Value] = {"candidatePercent": percent, "generation": generation}
    if not commit:
        data |= {"step": step, "lease_s": lease_s}
        values |= {"step": step, "leaseS": lease_s}
    return Act(Kind.COMMIT_INTENDED if commit else Kind.WEIGHT_INTENDED, guard, text, data, values, outcome=Outcome.ANNOUNCED)


def observed(kind: Kind, guard: str, text: str, split: Split | None, *, as_asked: bool) -> Act:
    """What the proxy says after a weight, a return or a commit was asked for."""
    percent = None if split is None else split.routing.candidate_percent
    generation, committed = (None, None) if split is None else (split.generation, split.committed)
    data: Mapping[str, object] = {"candidate_percent": percent, "generation": generation, "committed": committed}
    values: Mapping[str, Value] = {"candidatePercent": percent, "generation": generation, "committed": committed}
    return Act(kind, guard, text, data, values, outcome=Outcome.SEEN if as_asked else Outcome.FAILED)


def traffic_changed(guard: str, rollout_id: str, plan: str, split: Split, recorded_percent: float) -> Act:
    """A proxy whose rollout has ended sends traffic in another way than the record says. `plan`: the digest of that rollout's plan."""
    percent = split.routing.candidate_percent
    durable = "candidate" if split.committed else "baseline"
    text = (
        f"the proxy of rollout {rollout_id}, which has ended, sends {percent:g} % to the candidate; its durable default is the {durable}, "
        f"and the record says {recorded_percent:g} %: no rollout explains it"
    )
    said: dict[str, Value] = {
        "candidatePercent": percent, "generation": split.generation, "committed": split.committed, "recordedPercent": recorded_percent,
    }  # fmt: skip
    return Act(Kind.TRAFFIC_CHANGED, guard, text, {"rollout": rollout_id, **said}, {"plan": plan, **said}, outcome=Outcome.SEEN)


def learned(guard: str, reference: str, windows: int, operations: int) -> Act:
    """The baseline was learned; `reference` is the digest of what it is like."""
    values: dict[str, Value] = {"reference": reference, "windows": windows, "operations": operations}
    text = f"the baseline was learned from {windows} windows: {operations} operations"
    return Act(Kind.REFERENCE, guard, text, values, values, based_on=(reference,))


def judged(guard: str, found: LiveJudgement, *, judgement: str, looks: str, reference: str, judge: Mapping[str, Value]) -> Sequence[Act]:
    """A verdict that something was decided on, and its findings. The digests: of the judgement, of the list of looks, of the reference."""
    values: dict[str, Value] = {
        "verdict": found.verdict.value, "judgement": judgement, "looks": looks, "reference": reference, "windows": found.windows,
        "findings": len(found.findings), "baselineTraces": found.baseline_traces, "candidateTraces": found.candidate_traces, **judge,
    }  # fmt: skip
    data = {"verdict": found.verdict.value, "findings": [f.sentence for f in found.findings], "looks": found.windows}
    said = [Act(Kind.VERDICT, guard, found.summary, data, values, based_on=(judgement, looks, reference))]
    for place, finding in enumerate(found.findings[:FINDINGS_MAX]):
        of: dict[str, Value] = {"signal": finding.signal.value, "severity": finding.severity.value, "position": place}
        said.append(Act(Kind.FINDING, guard, finding.sentence, of, of, based_on=(judgement,), outcome=Outcome.SEEN))
    return said


def erased(actor: str, rollout_id: str, digests: Sequence[str], why: str, reason: str, origin: str) -> Act:
    """Evidence of a rollout that has ended is about to be erased; `why` is "retention" or "asked"."""
    text = f"asked to erase the evidence of rollout {rollout_id}: {reason}"
    if why == "retention":
        text = f"the evidence of rollout {rollout_id} is erased: the retention of its plan has passed"
    data = {"rollout": rollout_id, "why": why, "erased": len(digests)}
    values: dict[str, Value] = {"erased": tuple(digests), "why": why}
    return Act(Kind.EVIDENCE_ERASED, actor, text, data, values, outcome=Outcome.ANNOUNCED, origin=origin)


def sight(guard: str, verdict: Verdict, proxied: int, traced: int) -> Act:
    """The candidate can no longer be seen, or can again."""
    values: dict[str, Value] = {"proxied": proxied, "traced": traced}
    if verdict is Verdict.BLIND:
        text = f"the proxy counted {proxied} requests of the candidate, and {traced} of its traces came"
        return Act(Kind.TELEMETRY_BLIND, guard, text, values, values, outcome=Outcome.SEEN)
    return Act(Kind.TELEMETRY_RESTORED, guard, "the candidate's traces come again", values, values, outcome=Outcome.SEEN)
