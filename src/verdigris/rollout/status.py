"""What people and programs see of a rollout: one document, the same in the terminal, in `--json` and over HTTP."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from verdigris.errors import VerdigrisError
from verdigris.judge.verdict import Outcome
from verdigris.rollout.transitions import Phase
from verdigris.sensitive.findings import Leak


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
    """One finding in a sentence; where it is about sensitive data, what is sent that should not be."""

    id: str
    signal: str
    severity: str
    service: str
    sentence: str
    leaks: tuple[Leak, ...] = ()


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
class WordStatus:
    """What one person has signed about a rollout. `counts`: for the next step; `why_not`: why it does not."""

    person: str
    role: str
    decision: str
    """give, refuse, withdraw, override-freeze or review."""
    step: int
    reason: str
    issued: str
    """As they signed it: RFC 3339."""
    digest: str
    """SHA-256 of document and signature: the name of the evidence."""
    counts: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class NeedStatus:
    """So many people in any of these roles."""

    roles: tuple[str, ...]
    people: int


@dataclass(frozen=True, slots=True)
class GateStatus:
    """One thing that people are asked for. `state`: "open", "waiting" or "refused"."""

    state: str
    needs: tuple[NeedStatus, ...]
    missing: tuple[str, ...]
    """What is still missing, in words."""


@dataclass(frozen=True, slots=True)
class FreezeStatus:
    """The freeze that holds now. `gate`: who may override it; None: nobody."""

    reason: str
    until_unix_s: float
    gate: GateStatus | None


@dataclass(frozen=True, slots=True)
class AgreementStatus:
    """What people are asked about a rollout, and what they have said.

    Whoever agrees signs the rollout's id, the plan's digest, the step, and the SHA-256 of `shown`: read it first.
    """

    rollout: str
    plan: str
    """SHA-256, hex."""
    author: str
    step: int
    """The step that a forward move is about, from 0; the number of steps stands for the switch."""
    about: str
    """The step in words."""
    asked: bool
    """Whether the rollout waits for people now."""
    gate: GateStatus | None
    """Who must agree to the step; None: nobody is asked."""
    shown: str | None
    """The document that approvers of the step are shown, canonical JSON; None while nobody is asked."""
    freeze: FreezeStatus | None
    words: tuple[WordStatus, ...]


@dataclass(frozen=True, slots=True)
class ReviewStatus:
    """A review that the override of a freeze has opened. `done`: whether somebody else has looked at it."""

    rollout: str
    name: str
    plan: str
    override: str
    """SHA-256 of the signed override: what the review is about."""
    step: int
    by: str
    reason: str
    due_unix_s: float
    done: bool


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

    async def start(self, plan_text: str, actor: str, *, break_glass: bool = False) -> RolloutStatus:
        """Submit a plan and begin. With `break_glass` also in a freeze: it then waits for whoever the plan says may override it.

        Raises also InvalidPlan.
        """

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
        """Go on after a hold."""

    async def abort(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Back to the baseline, now. Never refused while the rollout runs."""

    async def commit(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """End the bake now and make the candidate the durable default. Refused unless the rollout is baking without a finding."""

    async def agreement(self, rollout_id: str) -> AgreementStatus:
        """What people are asked about it, and what they have said."""

    async def sign(self, rollout_id: str, signed: bytes) -> AgreementStatus:
        """Take in a signed approval, refusal, withdrawal, override or review, as `SignedApproval.to_bytes` has it.

        Who says it is known by the key that signed. Raises also ApprovalError: it was not counted.
        """

    async def reviews(self) -> Sequence[ReviewStatus]:
        """The reviews that overrides of freezes have opened, those that are still open first."""

    def asked_from(self, origin: str) -> "RolloutControl":
        """The same control for somebody who asks from there, which the record says (PCI DSS 10.2.2)."""

    async def erase(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Erase the evidence of a rollout that has ended, and what people wrote of it. The ledger says so before. Needs a reason."""
