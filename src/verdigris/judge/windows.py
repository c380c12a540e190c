"""What the judge looks at: counts per window, role, operation and edge. No spans, no clocks, no storage.

A request counts once per operation however often it calls it: each of its m spans weighs 1/m. To stay in whole numbers,
and so be equal byte for byte in any order of arrival, weights are integers in units of 1/`UNIT` request.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

UNIT = 720_720
"""Units per request: the least common multiple of 1 to 16, so that the weights of up to 16 calls are exact."""

BUCKETS_PER_OCTAVE = 32
"""Histograms are OpenTelemetry base-2 exponential, scale 5: bucket i holds (2^(i/32), 2^((i+1)/32)] nanoseconds."""


class Role(StrEnum):
    """Which side of the comparison a span belongs to."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, order=True)
class Operation:
    """Service, span kind, and route or span name with ids templated away."""

    service: str
    kind: str
    name: str

    def __str__(self) -> str:
        """The way people read it in a sentence."""
        return f"{self.service} {self.kind.lower()} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """Caller operation to callee operation."""

    caller: Operation
    callee: Operation

    def __str__(self) -> str:
        """The way people read it in a sentence."""
        return f"{self.caller} → {self.callee}"


@dataclass(frozen=True, slots=True)
class OperationCounts:
    """One operation on one instance in one window.

    In units of requests: `requests`, `errors`, `error_origins` (failed, and none of its children did), `refused` (401, 403,
    gRPC 7 and 16), `rejected` (other 4xx), `orphans` (parent never came), `childless` (made no call), `error_kinds`, `masked` (in
    which something sensitive was masked, by what: words as in "card@span_name email@event_attribute"), and both
    histograms (bucket to units). `spans` and `peers` count spans; `duration_ns`, `exclusive_ns` and `trace_ns` (the whole
    trace's duration) are sums over requests.
    """

    operation: Operation
    instance: str
    spans: int
    requests: int
    errors: int = 0
    error_origins: int = 0
    refused: int = 0
    rejected: int = 0
    orphans: int = 0
    childless: int = 0
    error_kinds: Mapping[str, int] = field(default_factory=dict)
    durations: Mapping[int, int] = field(default_factory=dict)
    exclusives: Mapping[int, int] = field(default_factory=dict)
    duration_ns: int = 0
    exclusive_ns: int = 0
    trace_ns: int = 0
    peers: Mapping[str, int] = field(default_factory=dict)
    masked: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EdgeCounts:
    """One edge in one window, in units of the caller's requests.

    `present`: made the call; `last`: it was the last call made; `calls`: those present, by calls per caller span.
    """

    edge: Edge
    present: int
    last: int = 0
    calls: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceCounts:
    """The traces of one role in one window, and what speaks for or against believing them. `services` counts traces."""

    traces: int = 0
    spans: int = 0
    orphans: int = 0
    roots: int = 0
    mixed: int = 0
    services: Mapping[str, int] = field(default_factory=dict)
    thresholds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoleWindow:
    """One role in one window; operations and edges in ascending order."""

    traces: TraceCounts = field(default_factory=TraceCounts)
    operations: tuple[OperationCounts, ...] = ()
    edges: tuple[EdgeCounts, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A slice of event time, `start_unix_s` inclusive, as both roles saw it."""

    start_unix_s: int
    baseline: RoleWindow = field(default_factory=RoleWindow)
    candidate: RoleWindow = field(default_factory=RoleWindow)

    def of(self, role: Role) -> RoleWindow:
        """The half of this window that belongs to `role`."""
        return self.baseline if role is Role.BASELINE else self.candidate


@dataclass(frozen=True, slots=True)
class Windows:
    """All windows of a period, ascending, without those in which neither role has a trace."""

    window_s: int
    windows: tuple[Window, ...]

    def canonical_bytes(self) -> bytes:
        """The evidence as it is kept and hashed: JSON with sorted keys and no white space, integers and text only."""
        document = {"window_s": self.window_s, "windows": [_window(w) for w in self.windows]}
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, canonical: bytes) -> "Windows":
        """What `canonical_bytes` wrote. Raises: ValueError: it did not write this."""
        try:
            document = json.loads(canonical)
            return cls(document["window_s"], tuple(_read_window(w) for w in document["windows"]))
        except (KeyError, TypeError, IndexError) as error:
            msg = f"this is not the evidence of windows: {error!r}"
            raise ValueError(msg) from error


def merge(parts: Iterable[Windows]) -> Windows:
    """One set of windows from several, of different periods or of different roles.

    Raises: ValueError: two parts have the same role in the same window, or windows of different lengths.
    """
    halves: dict[int, dict[Role, RoleWindow]] = {}
    lengths: set[int] = set()
    for part in parts:
        lengths.add(part.window_s)
        for window in part.windows:
            for role in Role:
                half = window.of(role)
                if not half.traces.traces:
                    continue
                if role in halves.setdefault(window.start_unix_s, {}):
                    msg = f"two parts have the {role.value} in the window at {window.start_unix_s}"
                    raise ValueError(msg)
                halves[window.start_unix_s][role] = half
    if len(lengths) != 1:
        msg = f"the parts have windows of {sorted(lengths)} seconds; they must be of one length"
        raise ValueError(msg)
    empty = RoleWindow()
    windows = (Window(start, roles.get(Role.BASELINE, empty), roles.get(Role.CANDIDATE, empty)) for start, roles in sorted(halves.items()))
    return Windows(lengths.pop(), tuple(windows))


def _window(window: Window) -> dict[str, object]:
    return {"start": window.start_unix_s} | {role.value: _role_window(window.of(role)) for role in Role}


def _role_window(half: RoleWindow) -> dict[str, object]:
    traces = half.traces
    return {
        "traces": [traces.traces, traces.spans, traces.orphans, traces.roots, traces.mixed],
        "services": dict(traces.services),
        "thresholds": dict(traces.thresholds),
        "operations": [
            [
                *_operation(o.operation), o.instance, o.spans, o.requests, o.errors, o.error_origins, o.refused, o.rejected,
                o.orphans, o.childless, dict(o.error_kinds), _histogram(o.durations), _histogram(o.exclusives), o.duration_ns,
                o.exclusive_ns, o.trace_ns, dict(o.peers),
                # Where nothing was masked the evidence is what it was before there was masking, and keeps its digest.
                *([dict(o.masked)] if o.masked else []),
            ]
            for o in half.operations
        ],
        "edges": [
            [*_operation(e.edge.caller), *_operation(e.edge.callee), e.present, e.last, _histogram(e.calls)] for e in half.edges
        ],
    }  # fmt: skip


def _operation(operation: Operation) -> tuple[str, str, str]:
    return operation.service, operation.kind, operation.name


def _histogram(histogram: Mapping[int, int]) -> list[list[int]]:
    return [[bucket, units] for bucket, units in sorted(histogram.items())]


def _read_window(document: dict[str, Any]) -> Window:
    return Window(document["start"], *(_read_role_window(document[role.value]) for role in Role))


def _read_role_window(document: dict[str, Any]) -> RoleWindow:
    traces, spans, orphans, roots, mixed = document["traces"]
    return RoleWindow(
        TraceCounts(traces, spans, orphans, roots, mixed, document["services"], document["thresholds"]),
        tuple(_read_operation(row) for row in document["operations"]),
        tuple(
            EdgeCounts(Edge(Operation(*row[0:3]), Operation(*row[3:6])), row[6], row[7], _read_histogram(row[8]))
            for row in document["edges"]
        ),
    )


def _read_operation(row: list[Any]) -> OperationCounts:
    (
        service, kind, name, instance, spans, requests, errors, error_origins, refused, rejected, orphans, childless, error_kinds,
        durations, exclusives, duration_ns, exclusive_ns, trace_ns, peers, *more,
    ) = row  # fmt: skip
    (masked,) = more or [{}]
    return OperationCounts(
        Operation(service, kind, name), instance, spans, requests, errors, error_origins, refused, rejected, orphans, childless,
        error_kinds, _read_histogram(durations), _read_histogram(exclusives), duration_ns, exclusive_ns, trace_ns, peers, masked,
    )  # fmt: skip


def _read_histogram(rows: list[list[int]]) -> dict[int, int]:
    return {bucket: units for bucket, units in rows}  # noqa: C416  # a wrong shape must not pass
