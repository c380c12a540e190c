"""What the judge answers: a verdict, its findings, the causes behind them, and what evidence is still missing."""

from dataclasses import dataclass
from enum import StrEnum

from verdigris.judge.windows import Edge, Operation


class Outcome(StrEnum):
    """The four verdicts. FAIL beats BLIND beats NOT_ENOUGH_DATA beats PASS."""

    PASS = "PASS"  # noqa: S105  # a verdict, not a password
    FAIL = "FAIL"
    NOT_ENOUGH_DATA = "NOT_ENOUGH_DATA"
    BLIND = "BLIND"


class Signal(StrEnum):
    """The questions the judge asks of an operation, an edge or the telemetry."""

    LATENCY = "latency"
    EXCLUSIVE_LATENCY = "exclusive latency"
    ERRORS = "errors"
    NEW_ERROR_KIND = "new error kind"
    REFUSED_MORE = "refused more"
    REFUSED_LESS = "refused less"
    REJECTED = "rejected"
    CALL_MISSING = "call missing"
    CALL_EXTRA = "call extra"
    ORPHANS = "orphans"
    NO_TRACES = "no traces"
    SAMPLING = "sampling"
    INSTANCE = "instance"
    OPERATION_MISSING = "operation missing"
    NEW_OPERATION_FAILS = "new operation fails"
    UNTRACED = "untraced requests"
    FAILING_AT_PROXY = "failing at the proxy"
    LEAK = "sensitive data"
    LEAK_MORE = "more sensitive data"
    NEW_OPERATION_LEAKS = "new operation sends sensitive data"


LEAKS = frozenset({Signal.LEAK, Signal.LEAK_MORE, Signal.NEW_OPERATION_LEAKS})
"""Signals that something sensitive is sent that should not be."""


class Severity(StrEnum):
    """How much it matters to the people whose requests these are."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"


@dataclass(frozen=True, slots=True)
class Effect:
    """What differs, by how much, with a 95 % interval for the difference.

    `unit` is "ms" (a time; `baseline` and `candidate` are that quantile of it), "share" (a probability) or "count".
    `low` and `high` bound candidate minus baseline; None where there is nothing to estimate it from.
    """

    measure: str
    unit: str
    baseline: float | None
    candidate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """How strong: `log_e` nats against "no worse than tolerated", and what it takes (`threshold`, nats) to be found."""

    log_e: float
    threshold: float
    baseline_requests: int
    candidate_requests: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `operation` is the edge's callee where `edge` is given; `service` is whose it is.

    `follows_from` names the service of the cause when this is only what its callers feel of it. `leaks`: what is sent that should
    not be, as words `detector@position`, those of most requests first.
    """

    id: str
    signal: Signal
    severity: Severity
    service: str
    operation: Operation | None
    edge: Edge | None
    effect: Effect
    evidence: Evidence
    sentence: str
    follows_from: str | None = None
    leaks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """A likely cause: `share` of the total excess that it explains, in [0, 1], and the findings it explains."""

    service: str
    operation: Operation | None
    share: float
    why: str
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Evidence that a PASS still lacks: about how many more candidate requests this operation's signal needs."""

    operation: Operation
    signal: Signal
    have: int
    need: int


@dataclass(frozen=True, slots=True)
class StreamTrail:
    """How the evidence of one signal grew: cumulative `log_e` after each window."""

    operation: Operation
    edge: Edge | None
    signal: Signal
    log_e: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict with everything behind it. Equal windows, policy and judge version give an equal judgement."""

    verdict: Outcome
    summary: str
    findings: tuple[Finding, ...]
    causes: tuple[Cause, ...]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    concurrent: bool
    threshold: float
    trails: tuple[StreamTrail, ...]
