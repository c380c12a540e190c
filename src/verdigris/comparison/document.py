"""The result of a comparison as people and programs read it: what `--json` prints and both reports draw.

Times are milliseconds, shares are in [0, 1], evidence is in nats. Plain data only; `docs/compare.schema.json` is made from it.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from verdigris.judge.verdict import Effect, Evidence
from verdigris.judge.windows import Edge, Operation
from verdigris.sensitive.findings import Leak

SCHEMA = "https://verdigris.dev/compare/v1"


@dataclass(frozen=True, slots=True)
class Examples:
    """Trace ids to look at."""

    baseline: tuple[str, ...]
    candidate: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what, where, how much, how sure, in a plain sentence.

    `follows_from` names the service of the cause when this is only what its callers feel of it. `leaks`: what is sent that should
    not be, with masked samples.
    """

    id: str
    signal: str
    severity: str
    service: str
    operation: Operation | None
    edge: Edge | None
    effect: Effect
    evidence: Evidence
    sentence: str
    follows_from: str | None
    examples: Examples
    leaks: tuple[Leak, ...]


@dataclass(frozen=True, slots=True)
class Attribute:
    """A value that the cause's bad spans have more often than its others, with its share among both."""

    key: str
    value: str
    bad_share: float
    good_share: float


@dataclass(frozen=True, slots=True)
class Cause:
    """A likely cause, first is likeliest: the share of the total excess that it explains and why it is blamed."""

    rank: int
    service: str
    operation: Operation | None
    share: float
    why: str
    findings: tuple[str, ...]
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Evidence that a PASS lacks, in candidate requests, and how much longer that takes at the recorded rate."""

    operation: Operation
    signal: str
    have: int
    need: int
    more_s: float | None
    """Seconds; None when no request came at all."""


@dataclass(frozen=True, slots=True)
class WindowSummary:
    """One window: its start (seconds since 1970) and how many traces each role has in it."""

    start_unix_s: int
    baseline_traces: int
    candidate_traces: int


@dataclass(frozen=True, slots=True)
class Trail:
    """How the evidence of one signal grew, window by window (nats, cumulative), parallel to `Windows.each`."""

    operation: Operation
    edge: Edge | None
    signal: str
    log_e: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """The evidence in short: window length, digest of the canonical evidence, each window, and how evidence grew."""

    seconds: int
    count: int
    sha256: str
    each: tuple[WindowSummary, ...]
    trails: tuple[Trail, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of an input that could not be read."""

    source: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class RoleSummary:
    """What was read for one role and what of it could not be used. `match` is empty when a whole recording is the role."""

    inputs: tuple[str, ...]
    match: str
    traces: int
    spans: int
    services: int
    operations: int
    orphans: int
    mixed_traces: int
    first_unix_s: int | None
    last_unix_s: int | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the readers met: spans read, spans refused by reason, unreadable parts (the first hundred, and how many in all)."""

    spans: int
    refused: dict[str, int]
    ends_before_start: int
    truncated_values: int
    dropped_attributes: int
    unassigned_spans: int
    problem_count: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class OperationStats:
    """One operation of one role. Histograms are [lower bound ms, upper bound ms, share of requests] in ascending order."""

    requests: float
    errors: float
    exclusive_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    durations: tuple[tuple[float, float, float], ...]
    exclusives: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class OperationDetail:
    """An operation as both roles show it; None where a role never has it. `findings` are ids."""

    operation: Operation
    baseline: OperationStats | None
    candidate: OperationStats | None
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MapNode:
    """A service on the map, or something outside (`external`) that only client spans speak of."""

    name: str
    external: bool
    baseline_requests: float
    candidate_requests: float
    baseline_exclusive_ms: float
    """Mean per trace, as are the candidate's: where the time of a request goes."""
    candidate_exclusive_ms: float
    baseline_errors: float
    """Share of the service's requests that failed there first."""
    candidate_errors: float
    cause_rank: int | None
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MapEdge:
    """Calls between two services: mean calls per trace in each role."""

    caller: str
    callee: str
    baseline_calls: float
    candidate_calls: float
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceMap:
    """Services and the calls between them, both roles together; a count of 0 means that role does not have it."""

    nodes: tuple[MapNode, ...]
    edges: tuple[MapEdge, ...]


@dataclass(frozen=True, slots=True)
class WaterfallSpan:
    """One span; `start_ms` counts from the trace's first span; `depth` 0 is a root; `status` is empty when it is well."""

    span_id: str
    parent_id: str
    service: str
    kind: str
    name: str
    depth: int
    start_ms: float
    duration_ms: float
    exclusive_ms: float
    status: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """An example trace; `findings` are the ids that it is an example of. Spans in display order (parents before children)."""

    trace_id: str
    role: str
    findings: tuple[str, ...]
    spans: tuple[WaterfallSpan, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A whole comparison. `definition_sha256`: of the file that says what is masked; empty for the defaults."""

    schema: str
    verdict: str
    summary: str
    concurrent: bool
    alpha: float
    findings: tuple[Finding, ...]
    causes: tuple[Cause, ...]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    windows: Windows
    roles: dict[str, RoleSummary]
    reading: Reading
    service_map: ServiceMap
    operations: tuple[OperationDetail, ...]
    waterfalls: tuple[Waterfall, ...]
    versions: dict[str, str]
    definition_sha256: str


_ADAPTER: TypeAdapter[Comparison] = TypeAdapter(Comparison)


def to_json(comparison: Comparison) -> bytes:
    """The document, indented for people, ending in a newline."""
    return _ADAPTER.dump_json(comparison, indent=2) + b"\n"


def from_json(document: bytes) -> Comparison:
    """Read it back. Raises: pydantic.ValidationError."""
    return _ADAPTER.validate_json(document)


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the document."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA} | _ADAPTER.json_schema(mode="serialization")
