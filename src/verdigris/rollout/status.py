"""What people and programs see of a rollout: one document, the same in the terminal, in `--json` and over HTTP."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from verdigris.errors import VerdigrisError
from verdigris.judge.verdict import Outcome
from verdigris.rollout.transitions import Phase


class RolloutError(VerdigrisError):
    """A rollout cannot do what was asked now. Safe: nothing changed; the message says what is possible."""


class NoSuchRollout(RolloutError):
    """There is no rollout with this id. Safe: nothing changed."""


class AlreadyRunning(RolloutError):
    """A rollout of this plan or on this data plane has not ended. Safe: nothing was started; `rollout_id` is the one that runs."""

    def __init__(self, message: str, rollout_id: str) -> None:
        super().__init__(message)
        self.rollout_id = rollout_id


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """One role: its slot, requests that the proxy counted, and traced requests, since the rollout's first shift."""

    slot: str
    proxied: int
    failed: int
    traced: int


@dataclass(frozen=True, slots=True)
class EvidenceStatus:
    """One question and how far it is answered: `log_e` of `threshold` nats (1.0 of it is a finding)."""

    signal: str
    operation: str
    log_e: float
    threshold: float
    candidate_requests: int


@dataclass(frozen=True, slots=True)
class FindingStatus:
    """One finding in a sentence."""

    id: str
    signal: str
    severity: str
    service: str
    sentence: str


@dataclass(frozen=True, slots=True)
class MissingStatus:
    """Evidence a PASS still lacks: candidate requests had and needed, and for how many more seconds at the present rate."""

    operation: str
    signal: str
    have: int
    need: int
    remaining_s: float | None


@dataclass(frozen=True, slots=True)
class StepStatus:
    """One step of the plan. `state`: "done", "now" or "to come"."""

    weight_percent: float
    state: str


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """A rollout as it stands. Times are seconds since 1970; percentages are of requests."""

    id: str
    name: str
    plan_digest: str
    phase: Phase
    phase_since_unix_s: float
    started_unix_s: float
    ended_unix_s: float | None
    steps: tuple[StepStatus, ...]
    intended_percent: float
    observed_percent: float | None
    """Read back from the proxy; None when it cannot be told."""
    lease_s: float
    generation: int
    guard: str
    """The guard that acts on this rollout."""
    baseline: RoleStatus
    candidate: RoleStatus
    verdict: Outcome | None
    summary: str
    """The judge's sentence, or why the phase is what it is."""
    evidence: tuple[EvidenceStatus, ...]
    findings: tuple[FindingStatus, ...]
    missing: tuple[MissingStatus, ...]
    waiting_for: str
    """What must happen before the rollout goes on, in a sentence; empty at the end."""
    waiting_until_unix_s: float | None
    windows: int
    late_spans: int
    clock_skew_s: float | None
    """From a span's end to its arrival, at the least: negative where a sender's clock is ahead of the guard's."""
    notes: tuple[str, ...] = ()
    proxy_clock_offset_s: float | None = None
    """The proxy's clock minus the guard's; None where the proxy does not tell its time."""
    cannot_resume: str = ""
    """Why the guard that was asked cannot act on it; what stands here is then what it knows, and the rest is 0 or empty."""


@dataclass(frozen=True, slots=True)
class RolloutEvent:
    """One entry of a rollout's journal, written before the act it announces. `sequence` has no gaps."""

    sequence: int
    unix_s: float
    kind: str
    """For example `plan.submitted`, `phase`, `weight.intended`, `weight.observed`, `verdict`, `finding`, `rollout.ended`."""
    actor: str
    text: str
    data: dict[str, object]


class RolloutControl(Protocol):
    """What one can ask of a guard about rollouts; the same in this process and over HTTP. All raise `RolloutError`.

    `actor` is a name for the record. Asking twice is harmless: hold while holding, abort after the end, are no errors.
    """

    async def start(self, plan_text: str, actor: str) -> RolloutStatus:
        """Submit a plan and begin. Raises also InvalidPlan."""

    async def rollouts(self) -> Sequence[RolloutStatus]:
        """All rollouts, the newest first."""

    async def status(self, rollout_id: str) -> RolloutStatus:
        """One rollout. A unique beginning of the id is enough; "latest" is the newest."""

    def watch(self, rollout_id: str) -> AsyncIterator[RolloutStatus]:
        """Its status whenever it changes, at least once a second, until it has ended."""

    async def events(self, rollout_id: str, after: int = 0) -> Sequence[RolloutEvent]:
        """Its journal from the entry after `after`."""

    async def hold(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Stay at the present weight until resumed. The deadline still counts."""

    async def resume(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Go on after a hold, or agree to the step that waits for approval."""

    async def abort(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Back to the baseline, now. Never refused while the rollout runs."""

    async def commit(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """End the bake now and make the candidate the durable default. Refused unless the rollout is baking without a finding."""

    async def erase(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Erase the evidence of a rollout that has ended, and what people wrote of it. The ledger says so before. Needs a reason."""
