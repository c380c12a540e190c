"""The questions: streams of paired counts, one per signal of an operation or edge (docs/statistics.md).

A stream has, per window and role, n trials and k bad events, and a tolerance. Everything after this is arithmetic on pairs.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from verdigris.judge.divergence import Array
from verdigris.judge.leaks import detectors_of, is_known, is_new
from verdigris.judge.tallies import EdgeTally, OperationTally, Tallies, TimeHistogram
from verdigris.judge.verdict import Signal
from verdigris.judge.windows import BUCKETS_PER_OCTAVE, Edge, Operation
from verdigris.plan.policy import Policy, Tolerance

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
QUANTILES_PASS = (0.5, 0.9, 0.99)

BASELINE_BAD_MIN = 1.0
"""A quantile is asked about only where the baseline has at least so many requests above it."""

EXCLUSIVE, DURATION, ERRORS, REFUSED, REJECTED, STRUCTURE, REST, LEAKS = 0.28, 0.1, 0.2, 0.05, 0.05, 0.2, 0.05, 0.02
"""How an operation's weight is shared between its kinds of signal; they sum to 1, refused counted twice: more and fewer."""

LEAKS_NEW, LEAKS_MORE, LEAKS_ELSEWHERE = LEAKS / 2, LEAKS / 4, LEAKS / 4
"""What is new in the operation, what the baseline sends as well, and what operations send that the baseline does not have."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One question. `base_*` have shape (windows,), `cand_*` (groups, windows). `weight` is its share of alpha, sum ≤ 1."""

    operation: Operation
    edge: Edge | None
    signal: Signal
    quantile: float | None
    threshold_ms: float | None
    """For latency: the baseline's time above which a request counts as slow; the candidate's allowance comes on top."""
    tolerance: Tolerance
    weight: float
    base_n: Array
    base_k: Array
    cand_n: Array
    cand_k: Array
    base_groups_n: Array
    base_groups_k: Array
    cand_k_strict: float
    """The candidate's bad events by the baseline's own threshold, without the allowance: what drift is measured by."""
    swapped: bool = False
    """The question is asked with the roles exchanged: "the baseline has more than the candidate" (of k, with its tolerance)."""


def bucket_ms(bucket: int) -> float:
    """Upper bound of a histogram bucket, in milliseconds."""
    return float(2.0 ** ((bucket + 1) / BUCKETS_PER_OCTAVE)) / 1e6


def operation_weights(tallies: Tallies) -> dict[Operation, float]:
    """Half of alpha equally over the baseline's operations, half by their share of its requests. Sums to 1."""
    return shares_of({operation: t.n for operation, t in tallies.baseline.operations.items()})


def shares_of(requests: Mapping[Operation, float]) -> dict[Operation, float]:
    """The same from the operations' requests."""
    total = sum(requests.values()) or 1.0
    return {operation: 0.5 / len(requests) + 0.5 * n / total for operation, n in requests.items()}


def streams_of(tallies: Tallies, policy: Policy, margin: float) -> list[Stream]:
    """All streams that find faults, for the baseline's operations that the candidate shows too. `margin` is latency's."""
    found: list[Stream] = []
    edges_of: dict[Operation, list[Edge]] = {}
    for edge in sorted(tallies.baseline.edges.keys() | tallies.candidate.edges.keys()):
        edges_of.setdefault(edge.caller, []).append(edge)
    for operation, weight in operation_weights(tallies).items():
        base, cand = tallies.baseline.operations[operation], tallies.candidate.operations.get(operation)
        if cand is None:
            continue
        found += _latency(operation, base, cand, Signal.EXCLUSIVE_LATENCY, policy, margin, weight * EXCLUSIVE)
        found += _latency(operation, base, cand, Signal.LATENCY, policy, margin, weight * DURATION)
        found += _outcomes(operation, base, cand, policy, weight)
        edges = edges_of.get(operation, [])
        for edge in edges:
            found += _structure(edge, base, cand, tallies, policy, weight * STRUCTURE / len(edges))
    return [*found, *_new_operations(tallies, policy)]


def slow_buckets(base: TimeHistogram, q: float, margin: float, floor_ms: float) -> tuple[int, int]:
    """The baseline's q-quantile bucket and the bucket that the candidate may reach: later by the margin or the floor."""
    bucket = base.quantile(q)
    by_margin = bucket + round(BUCKETS_PER_OCTAVE * math.log2(1 + margin))
    by_floor = math.floor(BUCKETS_PER_OCTAVE * math.log2(max((bucket_ms(bucket) + floor_ms) * 1e6, 1.0)))
    return bucket, max(by_margin, by_floor)


def _latency(
    operation: Operation, base: OperationTally, cand: OperationTally, signal: Signal, policy: Policy, margin: float, weight: float
) -> Iterator[Stream]:
    exclusive = signal is Signal.EXCLUSIVE_LATENCY
    slow_base, slow_cand = (base.exclusives, cand.exclusives) if exclusive else (base.durations, cand.durations)
    asked = [q for q in QUANTILES if base.n * (1 - q) >= BASELINE_BAD_MIN]
    for q in asked:
        own, allowed = slow_buckets(slow_base, q, margin, policy.latency_floor_share * base.trace_ms)
        yield Stream(
            operation, None, signal, q, bucket_ms(own), Tolerance(), weight / len(asked),
            *_counts(base.requests, slow_base.above(own)), cand.requests, slow_cand.above(allowed),
            base.requests, slow_base.above(own), float(slow_cand.above(own).sum()),
        )  # fmt: skip


def _outcomes(operation: Operation, base: OperationTally, cand: OperationTally, policy: Policy, weight: float) -> Iterator[Stream]:
    def stream(signal: Signal, tolerance: Tolerance, share: float, base_k: Array, cand_k: Array) -> Stream:
        return Stream(
            operation, None, signal, None, None, tolerance, weight * share,
            *_counts(base.requests, base_k), cand.requests, cand_k, base.requests, base_k, float(cand_k.sum()),
            swapped=signal is Signal.REFUSED_LESS,
        )  # fmt: skip

    yield stream(Signal.ERRORS, policy.errors, ERRORS, base.errors, cand.errors)
    yield stream(Signal.REFUSED_MORE, policy.refused, REFUSED, base.refused, cand.refused)
    yield stream(Signal.REJECTED, policy.rejected, REJECTED, base.rejected, cand.rejected)
    yield stream(Signal.ORPHANS, policy.structure, REST / 2, base.orphans, cand.orphans)
    # "Fewer are refused" is "the baseline refuses more": the same question with the roles exchanged.
    yield stream(Signal.REFUSED_LESS, policy.refused, REFUSED, base.refused, cand.refused)
    new = [counts for kind, counts in cand.error_kinds.items() if kind not in base.error_kinds]
    if new:
        yield stream(Signal.NEW_ERROR_KIND, policy.new_error_kind, REST / 2, np.zeros_like(base.requests), np.sum(new, axis=0))
    known, tolerated = detectors_of(base.masked), policy.tolerated_detectors
    leaked = [counts for words, counts in cand.masked.items() if is_new(words, known, tolerated)]
    if leaked:
        yield stream(Signal.LEAK, policy.leaks, LEAKS_NEW, np.zeros_like(base.requests), np.sum(leaked, axis=0))
    if known - tolerated:
        before, after = (
            np.sum([np.zeros_like(r.requests), *(c for words, c in r.masked.items() if is_known(words, known, tolerated))], axis=0)
            for r in (base, cand)
        )
        yield stream(Signal.LEAK_MORE, policy.leaks_more, LEAKS_MORE, before, after)


def _new_operations(tallies: Tallies, policy: Policy) -> Iterator[Stream]:
    """One question about all operations that only the candidate has: do they send what their service does not send in the baseline?"""
    known: dict[str, frozenset[str]] = {}
    for operation, base in tallies.baseline.operations.items():
        known[operation.service] = known.get(operation.service, frozenset()) | detectors_of(base.masked)
    leaked: dict[Operation, Array] = {}
    for operation, cand in tallies.candidate.operations.items():
        if operation in tallies.baseline.operations:
            continue
        for words, counts in cand.masked.items():
            if is_new(words, known.get(operation.service, frozenset()), policy.tolerated_detectors):
                leaked[operation] = leaked.get(operation, np.zeros(counts.shape[1])) + counts.sum(axis=0)
    if not leaked:
        return
    most = max(leaked, key=lambda o: (float(leaked[o].sum()), o))
    base_n, cand_n = (np.array([float(t.traces) for t in role.traces]) for role in (tallies.baseline, tallies.candidate))
    base_k, cand_k = np.zeros_like(base_n), np.minimum(np.sum(list(leaked.values()), axis=0), cand_n)
    yield Stream(
        most, None, Signal.NEW_OPERATION_LEAKS, None, None, policy.leaks, LEAKS_ELSEWHERE, base_n, base_k, cand_n[None, :], cand_k[None, :],
        base_n[None, :], base_k[None, :], float(cand_k.sum()),
    )  # fmt: skip


def _structure(edge: Edge, base: OperationTally, cand: OperationTally, tallies: Tallies, policy: Policy, weight: float) -> Iterator[Stream]:
    windows = base.requests.shape[1]
    nothing = EdgeTally(np.zeros(windows), np.zeros(windows), np.zeros((windows, 1)))
    before, after = tallies.baseline.edges.get(edge, nothing), tallies.candidate.edges.get(edge, nothing)
    base_n, cand_n = base.requests.sum(axis=0), cand.requests.sum(axis=0)
    usual, rare = usual_calls(base_n, before), is_rare(base_n, before)
    missing = (before.present, after.present) if rare else (base_n - before.present, cand_n - after.present)
    extra = (before.calls[:, usual + 1 :].sum(axis=1), after.calls[:, usual + 1 :].sum(axis=1))
    for signal, (base_k, cand_k), swapped in ((Signal.CALL_MISSING, missing, rare), (Signal.CALL_EXTRA, extra, False)):
        yield Stream(
            edge.caller, edge, signal, None, None, policy.structure, weight / 2,
            base_n, np.maximum(base_k, 0), cand_n[None, :], np.maximum(cand_k, 0)[None, :],
            base_n[None, :], np.maximum(base_k, 0)[None, :], float(cand_k.sum()), swapped=bool(rare and swapped),
        )  # fmt: skip


def usual_calls(n: Array, edge: EdgeTally) -> int:
    """The 99th percentile of the edge's calls per request of its caller. Args: the caller's requests, shape (windows,)."""
    absent = n.sum() - edge.present.sum()
    cumulative = np.cumsum(np.concatenate([[absent], edge.calls.sum(axis=0)[1:]]))
    return int(np.searchsorted(cumulative, 0.99 * cumulative[-1] * (1 - 1e-12)))


def is_rare(n: Array, edge: EdgeTally) -> bool:
    """A call that most requests make is missed where it lacks; a rare one, that fewer than half make, where it is seen less often."""
    return bool(n.sum() - edge.present.sum() > n.sum() / 2)


def _counts(n: Array, k: Array) -> tuple[Array, Array]:
    """Summed over instances."""
    return n.sum(axis=0), k.sum(axis=0)
