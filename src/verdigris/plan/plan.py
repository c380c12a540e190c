"""What the operator asks for, as values. How it is written stands in `document`; nothing here reads or checks text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from verdigris.plan.detectors import OwnDetector
from verdigris.plan.gates import Gate
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.plan.objectives import Objectives

Setting = str | int | float | bool | None
"""What an adapter's settings hold."""


class Otherwise(StrEnum):
    """What happens when evidence is still missing at a deadline. Never forward."""

    HOLD = "hold"
    RETURN = "return"


class WhenWorse(StrEnum):
    """What happens on FAIL and BLIND: back to the baseline; or stop and call people, where the baseline cannot run on the data any more."""

    RETURN = "return"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class Change:
    """What is being changed and why (PCI DSS 6.5.1 asks for all of these)."""

    reason: str
    security_impact: str
    rollback_plan: str
    ticket: str
    author: str


@dataclass(frozen=True, slots=True)
class Environment:
    """One slot: its name, how its spans say whose they are, and where the proxy finds it (`host:port`)."""

    slot: str
    identity: IdentityMatch
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Which data plane splits the traffic, its settings, and how long it keeps a weight without hearing from the guard."""

    adapter: str
    lease_s: float
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Required:
    """What a step must show: PASS if `passed`, and in any case so many traced candidate requests without a finding.

    Requests alone never suffice at the last step: a candidate is committed on a PASS only.
    """

    passed: bool = True
    candidate_requests: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A candidate weight in percent, in (0, 100), what must be shown before the next, and who must agree before it begins."""

    weight_percent: float
    minimum_s: float
    maximum_s: float
    required: Required = Required()
    gate: Gate = ()
    mirror_percent: float = 0.0
    """Requests copied to the candidate, whose answers are thrown away."""


@dataclass(frozen=True, slots=True)
class Observation:
    """How the rollout is watched. `reference_s`: how long the baseline alone is learned from before the first step."""

    window_s: int = 10
    settle_s: float = 10.0
    reference_s: float = 300.0


@dataclass(frozen=True, slots=True)
class FastPath:
    """The absolute guard beside the statistics: this share of failed candidate requests among at least so many in the last `span_s`."""

    failed_share: float = 0.5
    requests_min: int = 20
    span_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing starts and nothing moves forward. Going back is always possible."""

    start_unix_s: float
    end_unix_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Who may move a rollout forward in spite of a freeze, and within what time somebody else must have looked at it afterwards."""

    gate: Gate
    review_within_s: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the rollout may move forward. Without `break_glass` nobody can do anything about a freeze."""

    not_before_unix_s: float | None = None
    not_after_unix_s: float | None = None
    freezes: tuple[Freeze, ...] = ()
    break_glass: BreakGlass | None = None

    def freeze_at(self, unix_s: float) -> Freeze | None:
        """The freeze that holds at this time, if any."""
        return next((f for f in self.freezes if f.start_unix_s <= unix_s < f.end_unix_s), None)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long, after its end, what a rollout rests on and what people said of it is kept. Its entries in the ledger stay for ever."""

    evidence_s: float = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan. `digest` is the SHA-256, in hex, of `canonical`: the plan as RFC 8785 JSON with every default written out."""

    name: str
    change: Change
    baseline: Environment
    candidate: Environment
    traffic: Traffic
    steps: tuple[Step, ...]
    objectives: Objectives
    observation: Observation
    fast_path: FastPath
    when_worse: WhenWorse
    without_evidence: Otherwise
    deadline_s: float
    """For the whole rollout, from its first shift; then `without_evidence` decides."""
    bake_s: float
    """How long the candidate is watched after the switch, still on a lease, before it becomes the durable default."""
    bake_holdback_percent: float
    """What stays on the baseline during the bake: without it there is nothing to compare with."""
    switch_gate: Gate
    """Who must agree before the switch, which follows the last step."""
    schedule: Schedule
    canonical: bytes
    digest: str
    retention: Retention = Retention()
    detectors: tuple[OwnDetector, ...] = ()
    """What is masked beside that which the guard masks anyway, from the submission for as long as the evidence is kept."""

    def gate_before(self, step: int) -> Gate:
        """Who must agree before a step; the number of steps stands for the switch."""
        return self.steps[step].gate if step < len(self.steps) else self.switch_gate

    def step_text(self, step: int) -> str:
        """A step in words."""
        return f"the step to {self.steps[step].weight_percent:g} %" if step < len(self.steps) else "the switch"

    @property
    def identity(self) -> Identity:
        """Whose spans are whose."""
        return Identity(baseline=self.baseline.identity, candidate=self.candidate.identity)
