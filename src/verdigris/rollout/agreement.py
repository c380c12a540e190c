"""What people have agreed to, and what they are still asked for: the plan's gates over the signed approvals. Pure.

The rules by which a gate opens are in `approvals.gate`; this says which gate is meant, and what was shown for it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from verdigris.approvals.approval import START, ApprovalDecision, Verified
from verdigris.approvals.gate import Granted, Policy, Question, Refused, Waiting, decide
from verdigris.approvals.people import People
from verdigris.judge.live import LiveJudgement
from verdigris.plan.gates import Gate
from verdigris.plan.plan import Plan
from verdigris.rollout.position import Position
from verdigris.rollout.transitions import Phase

SHOWN_TYPE = "https://verdigris.dev/shown/v1"
FINDINGS_SHOWN_MAX = 50

_BEFORE_ITS_STEP = frozenset({Phase.PLANNED, Phase.PREFLIGHT, Phase.WAITING_FOR_APPROVAL, Phase.WATCHING})

Answer = Granted | Waiting | Refused


@dataclass(frozen=True, slots=True)
class Shown:
    """What approvers of a step are shown. `document`: RFC 8785 JSON, which their approvals name by its digest.

    `topic`: what makes it another one. The judge's numbers move with every window and do not; another finding does.
    """

    step: int
    document: bytes
    topic: str


@dataclass(frozen=True, slots=True)
class Agreed:
    """What people have said, as it counts now.

    Args:
        step: what it is about: an index of the plan's steps; their number stands for the switch.
        gate: of that step; None where nobody is asked.
        freeze: by whom the freeze that holds may be overridden; None where none holds or nobody may.
    """

    step: int
    gate: Answer | None = None
    freeze: Answer | None = None

    @property
    def approved(self) -> bool:
        """Whether the step may begin, as far as people are asked."""
        return self.gate is None or isinstance(self.gate, Granted)

    @property
    def freeze_lifted(self) -> bool:
        """Whether the freeze does not count."""
        return isinstance(self.freeze, Granted)

    @property
    def notes(self) -> tuple[str, ...]:
        """What everybody who looks must see."""
        if not isinstance(self.freeze, Granted):
            return ()
        by = ", ".join(f"{one.person.name} ({one.approval.role.value}: {one.approval.reason})" for one in self.freeze.by)
        return (f"THE FREEZE IS OVERRIDDEN by {by}; somebody else must review it",)

    @property
    def missing(self) -> str:
        """What the gate still waits for, in words; empty where it is open."""
        match self.gate:
            case Waiting(missing=missing):
                return ", ".join(missing)
            case Refused(by=by):
                return f"{_names(by)} to withdraw the refusal"
        return ""

    @property
    def approvers(self) -> str:
        """Who has opened the gate."""
        return _names(self.gate.by) if isinstance(self.gate, Granted) else ""


def step_meant(position: Position) -> int:
    """The step that a forward move from here is about."""
    return position.step + 1 if position.phase in _BEFORE_ITS_STEP else max(position.step, 0)


def agreed(
    plan: Plan, rollout: str, position: Position, shown: str | None, people: People, approvals: Sequence[Verified], now_unix_nano: int
) -> Agreed:
    """What people have said about the next forward move. `shown`: digest of what is shown for it now."""
    step = step_meant(position)
    gate = plan.gate_before(step) if position.phase in _BEFORE_ITS_STEP else ()

    def answer(asked: Gate, question: Question) -> Answer:
        return decide(Policy(asked), question, people, plan.change.author, approvals, now_unix_nano)

    frozen = plan.schedule.freeze_at(now_unix_nano / 1e9)
    glass = plan.schedule.break_glass
    freeze: Answer | None = None
    if frozen is not None and glass is not None:
        # One for the start is for the whole way; one for a step only for that. A freeze is overridden, no finding: nothing is shown.
        for about in (START, step):
            if not isinstance(freeze, Granted):
                freeze = answer(glass.gate, Question(rollout, plan.digest, about, None, ApprovalDecision.OVERRIDE_FREEZE))
    return Agreed(step, answer(gate, Question(rollout, plan.digest, step, shown)) if gate else None, freeze)


def shown_for(plan: Plan, rollout: str, step: int, judgement: LiveJudgement | None) -> Shown:
    """What approvers of a step are shown: what it is about, and what the judge says now."""
    findings = () if judgement is None else judgement.findings[:FINDINGS_SHOWN_MAX]
    document: dict[str, Any] = {
        "type": SHOWN_TYPE,
        "rollout": rollout,
        "plan": plan.digest,
        "step": step,
        "about": plan.step_text(step),
        "verdict": None if judgement is None else judgement.verdict.value,
        "summary": "" if judgement is None else judgement.summary,
        "findings": [{"signal": f.signal.value, "severity": f.severity.value, "sentence": f.sentence} for f in findings],
    }
    topic = sorted({(f.signal.value, f.severity.value, f.service, str(f.edge or f.operation)) for f in findings})
    return Shown(step, rfc8785.dumps(document), hashlib.sha256(rfc8785.dumps([list(one) for one in topic])).hexdigest())


def _names(approvals: Sequence[Verified]) -> str:
    return ", ".join(one.person.name for one in approvals)
