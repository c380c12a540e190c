"""Windows regrouped by operation and edge: counts as arrays over time, in requests, ready for arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from verdigris.judge.divergence import Array
from verdigris.judge.windows import UNIT, Edge, EdgeCounts, Operation, OperationCounts, Role, TraceCounts, Windows

GROUPS_MAX = 5
"""Instances are told apart up to this many; more are pooled into so many groups by their order."""

CALLS_MAX = 64
"""Calls per caller span are counted exactly up to this; more count as this many."""


@dataclass(frozen=True, slots=True)
class TimeHistogram:
    """Requests by window and time bucket. `counts` has shape (groups, windows, buckets); bucket i is `first` + i."""

    first: int
    counts: Array

    def above(self, bucket: int) -> Array:
        """Requests slower than `bucket`'s upper bound, shape (groups, windows)."""
        start = min(max(bucket + 1 - self.first, 0), self.counts.shape[2])
        return np.asarray(self.counts[:, :, start:].sum(axis=2))

    @property
    def pooled(self) -> Array:
        """Requests by bucket over all groups and windows."""
        return np.asarray(self.counts.sum(axis=(0, 1)))

    def quantile(self, q: float) -> int:
        """The bucket in which the q-quantile lies. The histogram must not be empty."""
        cumulative = np.cumsum(self.pooled)
        return self.first + int(np.searchsorted(cumulative, q * cumulative[-1] * (1 - 1e-12)))


@dataclass(frozen=True, slots=True)
class OperationTally:
    """One operation in one role. Arrays have shape (groups, windows); a group is an instance, or several of them."""

    groups: tuple[str, ...]
    requests: Array
    errors: Array
    error_origins: Array
    refused: Array
    rejected: Array
    orphans: Array
    childless: Array
    durations: TimeHistogram
    exclusives: TimeHistogram
    error_kinds: Mapping[str, Array]
    masked: Mapping[str, Array]
    """Requests in which something sensitive was masked, by its words."""
    duration_ms: float
    """Mean per request, as are the two below."""
    exclusive_ms: float
    trace_ms: float
    spans: int
    peers: Mapping[str, int]

    @property
    def n(self) -> float:
        """Requests in all."""
        return float(self.requests.sum())

    def share(self, counts: Array) -> float:
        """What part of the requests these counts are; 0 without requests."""
        return float(counts.sum()) / max(self.n, 1e-12)


@dataclass(frozen=True, slots=True)
class EdgeTally:
    """One edge in one role, in the caller's requests. `calls` has shape (windows, CALLS_MAX + 1), the others (windows,)."""

    present: Array
    last: Array
    calls: Array

    @property
    def made(self) -> float:
        """Calls in all, over the caller's requests."""
        return float((self.calls * np.arange(self.calls.shape[1])).sum())


@dataclass(frozen=True)
class RoleTally:
    """All of one role."""

    operations: Mapping[Operation, OperationTally]
    edges: Mapping[Edge, EdgeTally]
    traces: Sequence[TraceCounts]

    @cached_property
    def trace_count(self) -> int:
        """Traces in all windows."""
        return sum(t.traces for t in self.traces)

    @cached_property
    def services(self) -> frozenset[str]:
        """Services that sent any span."""
        return frozenset(o.service for o in self.operations)

    @cached_property
    def thresholds(self) -> Mapping[str, int]:
        """Traces by sampling threshold (`tracestate`, `ot=th`)."""
        found: dict[str, int] = {}
        for counts in self.traces:
            for threshold, traces in counts.thresholds.items():
                found[threshold] = found.get(threshold, 0) + traces
        return found


@dataclass(frozen=True)
class Tallies:
    """Both roles over the same windows."""

    starts_unix_s: tuple[int, ...]
    baseline: RoleTally
    candidate: RoleTally

    def of(self, role: Role) -> RoleTally:
        """One role's half."""
        return self.baseline if role is Role.BASELINE else self.candidate


def tally(windows: Windows) -> Tallies:
    """Regroup."""
    return Tallies(
        tuple(w.start_unix_s for w in windows.windows),
        _role_tally(windows, Role.BASELINE),
        _role_tally(windows, Role.CANDIDATE),
    )


def _role_tally(windows: Windows, role: Role) -> RoleTally:
    operations: dict[Operation, list[tuple[int, OperationCounts]]] = {}
    edges: dict[Edge, list[tuple[int, EdgeCounts]]] = {}
    for at, window in enumerate(windows.windows):
        half = window.of(role)
        for counts in half.operations:
            operations.setdefault(counts.operation, []).append((at, counts))
        for edge in half.edges:
            edges.setdefault(edge.edge, []).append((at, edge))
    length = len(windows.windows)
    return RoleTally(
        {operation: _operation_tally(rows, length) for operation, rows in sorted(operations.items())},
        {edge: _edge_tally(rows, length) for edge, rows in sorted(edges.items())},
        tuple(w.of(role).traces for w in windows.windows),
    )


def _operation_tally(rows: Sequence[tuple[int, OperationCounts]], length: int) -> OperationTally:
    instances = sorted({counts.instance for _, counts in rows})
    group_of = {name: i % GROUPS_MAX for i, name in enumerate(instances)}
    groups = tuple(", ".join(n for n in instances if group_of[n] == g) for g in range(min(len(instances), GROUPS_MAX)))
    shape = (len(groups), length)
    fields = ("requests", "errors", "error_origins", "refused", "rejected", "orphans", "childless")
    arrays = {name: np.zeros(shape) for name in fields}
    kinds: dict[str, Array] = {}
    masked: dict[str, Array] = {}
    peers: dict[str, int] = {}
    for at, counts in rows:
        cell = (group_of[counts.instance], at)
        for name, array in arrays.items():
            array[cell] += getattr(counts, name) / UNIT
        for kind, units in counts.error_kinds.items():
            kinds.setdefault(kind, np.zeros(shape))[cell] += units / UNIT
        for words, units in counts.masked.items():
            masked.setdefault(words, np.zeros(shape))[cell] += units / UNIT
        for peer, spans in counts.peers.items():
            peers[peer] = peers.get(peer, 0) + spans
    requests = float(arrays["requests"].sum())
    per_request = 1e-6 / max(requests, 1e-12)
    return OperationTally(
        groups=groups,
        durations=_histogram([(group_of[c.instance], at, c.durations) for at, c in rows], shape),
        exclusives=_histogram([(group_of[c.instance], at, c.exclusives) for at, c in rows], shape),
        error_kinds=kinds,
        masked=masked,
        duration_ms=sum(c.duration_ns for _, c in rows) * per_request,
        exclusive_ms=sum(c.exclusive_ns for _, c in rows) * per_request,
        trace_ms=sum(c.trace_ns for _, c in rows) * per_request,
        spans=sum(c.spans for _, c in rows),
        peers=peers,
        **arrays,
    )


def _histogram(rows: Sequence[tuple[int, int, Mapping[int, int]]], shape: tuple[int, int]) -> TimeHistogram:
    buckets = [bucket for _, _, histogram in rows for bucket in histogram]
    first, last = min(buckets, default=0), max(buckets, default=0)
    counts = np.zeros((*shape, last - first + 1))
    for group, at, histogram in rows:
        for bucket, units in histogram.items():
            counts[group, at, bucket - first] += units / UNIT
    return TimeHistogram(first, counts)


def _edge_tally(rows: Sequence[tuple[int, EdgeCounts]], length: int) -> EdgeTally:
    present, last, calls = np.zeros(length), np.zeros(length), np.zeros((length, CALLS_MAX + 1))
    for at, counts in rows:
        present[at] += counts.present / UNIT
        last[at] += counts.last / UNIT
        for number, units in counts.calls.items():
            calls[at, min(number, CALLS_MAX)] += units / UNIT
    return EdgeTally(present, last, calls)
