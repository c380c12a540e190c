"""The live judge's questions, asked of one window at a time: streams fixed by the reference, and their counts in a window.

Find faults: the same streams as in `streams`, with thresholds from the reference, and more: an operation that the candidate
no longer reaches, calls that the baseline does not make, and new operations that fail or send sensitive data. Show health: the
questions of `assurance`; those of quiet operations are pooled.
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from verdigris.judge.assurance import ENOUGH_OF_BUSIEST, REST
from verdigris.judge.betting import PRIOR_TRIALS
from verdigris.judge.divergence import Array
from verdigris.judge.evidence import PRIOR_OF, Rows
from verdigris.judge.leaks import is_known, is_new
from verdigris.judge.reference import LearnedEdge, LearnedOperation, LearnedQuantile, LearnedRate, Reference
from verdigris.judge.streams import (
    DURATION,
    ERRORS,
    EXCLUSIVE,
    LEAKS_ELSEWHERE,
    LEAKS_MORE,
    LEAKS_NEW,
    REFUSED,
    REJECTED,
    STRUCTURE,
    shares_of,
)
from verdigris.judge.streams import REST as REST_SHARE
from verdigris.judge.tallies import GROUPS_MAX
from verdigris.judge.verdict import Signal
from verdigris.judge.windows import UNIT, Edge, Operation, OperationCounts, RoleWindow, Window
from verdigris.plan.objectives import Objectives
from verdigris.plan.policy import Policy, Tolerance

NEW_OPERATIONS, UNTRACED = 0.02, 0.02
"""Shares of alpha for new operations that fail, and for requests without a trace; the rest is the operations'."""

OPERATION_MISSING = Tolerance(2.0, 0.001)
"""The baseline's share of traces with an operation may be twice the candidate's: who asks for what may differ a little
between the roles. An operation that is gone is beyond any ratio."""

UNTRACED_TOLERANCE = Tolerance(1.1, 0.01)

USUAL_TRIALS = 10.0
"""What is usual for a signal counts for so many trials beside what was learned."""

PRIOR_TRIALS_MAX = 1000.0
"""What was learned before the rollout counts for at most so many trials: times change."""

SWAPPED_PRIOR = 0.25
"""Where the question is whether the candidate has less of something, the first bets are on a quarter of it."""

OUTCOMES: tuple[tuple[Signal, str, float], ...] = (
    (Signal.ERRORS, "errors", ERRORS),
    (Signal.REFUSED_MORE, "refused", REFUSED),
    (Signal.REJECTED, "rejected", REJECTED),
    (Signal.ORPHANS, "orphans", REST_SHARE / 2),
    (Signal.REFUSED_LESS, "refused", REFUSED),
)


@dataclass(frozen=True, slots=True)
class LiveStream:
    """One question. `bucket` and `allowed`: above which a request of the baseline and of the candidate is slow.

    `health`: asked the other way round, for a PASS ("is it worse?"); its `expected_rate` is the candidate's if nothing changed.
    `swapped`: asked with the roles exchanged ("the baseline has more"). `weight` is its share of alpha; 0 for health.
    """

    signal: Signal
    operation: Operation | None
    edge: Edge | None
    tolerance: Tolerance
    weight: float
    rho: float
    prior_rate: float
    prior_trials: float
    quantile: float | None = None
    bucket: int = 0
    allowed: int = 0
    swapped: bool = False
    health: bool = False
    expected_rate: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """One window. Baseline's counts have shape (streams,), the candidate's (streams, GROUPS_MAX), instances (streams,)."""

    base_n: Array
    base_k: Array
    cand_n: Array
    cand_k: Array
    base_instances: Array
    cand_instances: Array


@dataclass(frozen=True, slots=True)
class _Times:
    """Which streams count requests above which bucket: ascending buckets, each with its stream's offset."""

    buckets: tuple[int, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the streams of an operation stand: from `first` on, `count` of them; everything else are offsets from there.

    `own` and `duration`: the baseline's thresholds, then the candidate's.
    """

    first: int
    count: int
    own: tuple[_Times, _Times]
    duration: tuple[_Times, _Times]
    outcomes: tuple[tuple[int, str], ...]
    new_kind: int
    known_kinds: frozenset[str]
    leak: int
    leak_more: int | None
    known_leaks: frozenset[str]
    tolerated_leaks: frozenset[str]


@dataclass(frozen=True, slots=True)
class _EdgePlace:
    """Where the streams of an edge stand: missing, extra (the next), and the one that shows health, if it is asked."""

    missing: int
    health: int | None
    rare: bool
    usual_calls: int


Requests = Mapping[Operation, float]


@dataclass(frozen=True, slots=True, eq=False)
class LiveStreams:
    """All questions in a fixed order. Source of every count is one window at a time.

    `faults` and `health` are positions of the streams of either kind. `question_of`, for each of `health`, which of `questions`
    it is part of: quiet operations are asked as one.
    """

    streams: tuple[LiveStream, ...]
    faults: Rows
    health: Rows
    question_of: Rows
    questions: tuple[LiveStream, ...]
    untraced: int
    _new_operations: int
    _new_leaks: int
    _leaks_of: Mapping[str, frozenset[str]]
    _objectives: Objectives
    _places: Mapping[Operation, _Place]
    _edges: Mapping[Edge, _EdgePlace]
    _new_calls: Mapping[Operation, int]
    _missing: Mapping[Operation, int]

    def knows(self, operation: Operation) -> bool:
        """Whether the baseline showed this operation before the rollout."""
        return operation in self._places

    def knows_call(self, edge: Edge) -> bool:
        """Whether the baseline showed this call before the rollout."""
        return edge in self._edges

    def count(self, window: Window, group_of: Callable[[str, str], int]) -> Counts:
        """The counts of one window, all but the untraced requests. `group_of`: the group of a service's instance."""
        size = len(self.streams)
        base_n, base_k, cand_n, cand_k = (np.zeros((size, GROUPS_MAX)) for _ in range(4))
        base_instances = self._count(window.baseline, 0, lambda _service, _instance: 0, base_n, base_k)
        cand_instances = self._count(window.candidate, 1, group_of, cand_n, cand_k)
        # Sums of fractions: the last digits may disagree, and a bad request may not be one more than there are.
        base_k, cand_k = np.clip(base_k, 0.0, base_n), np.clip(cand_k, 0.0, cand_n)
        return Counts(base_n.sum(axis=1), base_k.sum(axis=1), cand_n, cand_k, base_instances, cand_instances)

    def _count(self, half: RoleWindow, side: int, group_of: Callable[[str, str], int], n: Array, k: Array) -> Array:
        instances = np.ones(len(self.streams))
        seen: dict[Operation, float] = {}
        failing = leaking = 0.0
        for counts in half.operations:
            place = self._places.get(counts.operation)
            if place is None:
                failing += counts.errors / UNIT
                leaking += self._leaked(counts)
                continue
            requests, group = counts.requests / UNIT, group_of(counts.operation.service, counts.instance)
            here = slice(place.first, place.first + place.count)
            instances[here] += counts.operation in seen
            seen[counts.operation] = seen.get(counts.operation, 0.0) + requests
            n[here, group] += requests
            k[here, group] += _bad(counts, place, side)
        self._count_edges(half, seen, n[:, 0], k[:, 0])
        traces = float(half.traces.traces)
        for operation, at in self._missing.items():
            n[at, 0], k[at, 0] = traces, seen.get(operation, 0.0)
        n[self._new_operations, 0], k[self._new_operations, 0] = traces, failing
        n[self._new_leaks, 0], k[self._new_leaks, 0] = traces, leaking
        return instances

    def _leaked(self, counts: OperationCounts) -> float:
        """Requests of an operation unknown to the reference that send what its service was not seen to send."""
        if not counts.masked:
            return 0.0
        known = self._leaks_of.get(counts.operation.service, frozenset())
        tolerated = self._objectives.of(str(counts.operation)).tolerated_detectors
        return sum(units for words, units in counts.masked.items() if is_new(words, known, tolerated)) / UNIT

    def _count_edges(self, half: RoleWindow, seen: Requests, n: Array, k: Array) -> None:
        """Edges have no instances: everything counts in the first group."""
        for operation, requests in seen.items():
            n[self._new_calls[operation]] = requests
        counted = {counts.edge: counts for counts in half.edges}
        for edge, place in self._edges.items():
            requests = seen.get(edge.caller, 0.0)
            if not requests:
                continue
            counts = counted.get(edge)
            made = counts.present / UNIT if counts is not None else 0.0
            many = sum(units for calls, units in counts.calls.items() if calls > place.usual_calls) / UNIT if counts is not None else 0.0
            n[place.missing : place.missing + 2] = requests
            k[place.missing] = made if place.rare else requests - made
            k[place.missing + 1] = many
            if place.health is not None:
                n[place.health], k[place.health] = requests, requests - made
        for edge, counts in counted.items():
            if edge not in self._edges and edge.caller in seen:
                k[self._new_calls[edge.caller]] += counts.present / UNIT


def _bad(counts: OperationCounts, place: _Place, side: int) -> list[float]:
    """The bad requests of one instance of an operation, for each of its streams."""
    units = [0] * place.count
    for times, histogram in ((place.own[side], counts.exclusives), (place.duration[side], counts.durations)):
        above = [0] * (len(times.buckets) + 1)
        for bucket, of_bucket in histogram.items():
            above[bisect_left(times.buckets, bucket)] += of_bucket
        total = 0
        for i in range(len(times.buckets) - 1, -1, -1):
            total += above[i + 1]
            units[times.offsets[i]] = total
    for offset, field in place.outcomes:
        units[offset] = getattr(counts, field)
    units[place.new_kind] = sum(of_kind for kind, of_kind in counts.error_kinds.items() if kind not in place.known_kinds)
    known, tolerated = place.known_leaks, place.tolerated_leaks
    units[place.leak] = sum(of_words for words, of_words in counts.masked.items() if is_new(words, known, tolerated))
    if place.leak_more is not None:
        units[place.leak_more] = sum(of_words for words, of_words in counts.masked.items() if is_known(words, known, tolerated))
    return [of_stream / UNIT for of_stream in units]


def streams_for(reference: Reference, objectives: Objectives) -> LiveStreams:
    """All questions that a reference allows."""
    laid = _Laying(reference, objectives)
    for learned in reference.operations:
        laid.operation(learned)
    return laid.finished()


class _Laying:
    """Lays the streams out one after another."""

    def __init__(self, reference: Reference, objectives: Objectives) -> None:
        self._reference, self._objectives = reference, objectives
        requests = {o.operation: o.requests for o in reference.operations}
        self._alone_from = ENOUGH_OF_BUSIEST * max(requests.values(), default=0.0)
        self._weights = {o: (1 - NEW_OPERATIONS - UNTRACED) * share for o, share in shares_of(requests).items()}
        self._edges_of: dict[Operation, list[LearnedEdge]] = {}
        for edge in reference.edges:
            self._edges_of.setdefault(edge.edge.caller, []).append(edge)
        self._streams: list[LiveStream] = []
        self._places: dict[Operation, _Place] = {}
        self._edges: dict[Edge, _EdgePlace] = {}
        self._new_calls: dict[Operation, int] = {}
        self._missing: dict[Operation, int] = {}
        self._pools: list[Hashable] = []

    def operation(self, learned: LearnedOperation) -> None:
        """The streams of one operation: what its own counts answer in one run, then structure."""
        operation, n, first = learned.operation, learned.requests, len(self._streams)
        policy = self._objectives.of(str(operation))
        weight = self._weights[operation]
        own = [self._quantile(learned, q, Signal.EXCLUSIVE_LATENCY, weight * EXCLUSIVE / len(learned.own)) for q in learned.own]
        duration = [self._quantile(learned, q, Signal.LATENCY, weight * DURATION / len(learned.duration)) for q in learned.duration]
        duration += [self._quantile(learned, q, Signal.LATENCY, None) for q in learned.passing]
        tolerances = {
            Signal.ERRORS: policy.errors, Signal.REFUSED_MORE: policy.refused, Signal.REFUSED_LESS: policy.refused,
            Signal.REJECTED: policy.rejected, Signal.ORPHANS: policy.structure,
        }  # fmt: skip
        outcomes = []
        for signal, field, share in OUTCOMES:
            rate = learned.rates[Signal.REFUSED_MORE if signal is Signal.REFUSED_LESS else signal]
            at = self._fault(signal, operation, tolerances[signal], weight * share, rate, n, swapped=signal is Signal.REFUSED_LESS)
            outcomes.append((at - first, field))
        failing = learned.rates[Signal.ERRORS]
        outcomes.append((self._health(learned, Signal.ERRORS, policy.errors_pass, failing) - first, "errors"))
        kinds = LearnedRate(0.0, failing.rho)
        new_kind = self._fault(Signal.NEW_ERROR_KIND, operation, policy.new_error_kind, weight * REST_SHARE / 2, kinds, n)
        leak = self._fault(Signal.LEAK, operation, policy.leaks, weight * LEAKS_NEW, kinds, n)
        leak_more = None
        if Signal.LEAK_MORE in learned.rates:
            leaks = learned.rates[Signal.LEAK_MORE]
            leak_more = self._fault(Signal.LEAK_MORE, operation, policy.leaks_more, weight * LEAKS_MORE, leaks, n) - first
        self._places[operation] = _Place(
            first, len(self._streams) - first, self._times(own, first), self._times(duration, first), tuple(outcomes), new_kind - first,
            frozenset(learned.error_kinds), leak - first, leak_more, frozenset(learned.leaks), policy.tolerated_detectors,
        )  # fmt: skip
        self._structure(learned, policy, weight * STRUCTURE)

    def _structure(self, learned: LearnedOperation, policy: Policy, weight: float) -> None:
        operation, n = learned.operation, learned.requests
        edges = self._edges_of.get(operation, [])
        each = weight / (len(edges) + 1 + learned.root)
        for e in edges:
            missing = self._fault(Signal.CALL_MISSING, operation, policy.structure, each / 2, e.missing, n, edge=e.edge, swapped=e.rare)
            self._fault(Signal.CALL_EXTRA, operation, policy.structure, each / 2, e.extra, n, edge=e.edge)
            health = None if e.rare else self._health(learned, Signal.CALL_MISSING, policy.structure_pass, e.missing)
            self._edges[e.edge] = _EdgePlace(missing, health, e.rare, e.usual_calls)
        self._new_calls[operation] = self._fault(Signal.CALL_EXTRA, operation, policy.structure, each, LearnedRate(0.0), n)
        if learned.root:
            # Whoever tolerates more than usual of missing calls tolerates as much more of this.
            more = max(0.0, policy.structure.difference - Policy().structure.difference)
            lost = Tolerance(max(OPERATION_MISSING.ratio, policy.structure.ratio), min(OPERATION_MISSING.difference + more, 0.999))
            rate, traces = LearnedRate(n), self._reference.traces
            self._missing[operation] = self._fault(Signal.OPERATION_MISSING, operation, lost, each, rate, traces, swapped=True)

    def finished(self) -> LiveStreams:
        """With the questions that belong to no operation."""
        traces, share = self._reference.traces, self._reference.traced_share
        new = self._fault(Signal.NEW_OPERATION_FAILS, None, self._objectives.defaults.errors, NEW_OPERATIONS, LearnedRate(0.0), traces)
        elsewhere = (1 - NEW_OPERATIONS - UNTRACED) * LEAKS_ELSEWHERE
        leaks = self._fault(Signal.NEW_OPERATION_LEAKS, None, self._objectives.defaults.leaks, elsewhere, LearnedRate(0.0), traces)
        leaks_of: dict[str, frozenset[str]] = {}
        for o in self._reference.operations:
            leaks_of[o.operation.service] = leaks_of.get(o.operation.service, frozenset()) | frozenset(o.leaks)
        # Where most requests are not sampled, an absent trace is the normal case: then the question is whether fewer come.
        rare = share is not None and share < 0.5  # noqa: PLR2004  # most
        traced = min(share, 1.0) * traces if share is not None else traces
        bad = LearnedRate(traced if rare else traces - traced)
        untraced = self._fault(Signal.UNTRACED, None, UNTRACED_TOLERANCE, UNTRACED, bad, traces, swapped=rare)
        faults = np.array([i for i, s in enumerate(self._streams) if not s.health], np.int_)
        health = np.array([i for i, s in enumerate(self._streams) if s.health], np.int_)
        numbers: dict[Hashable, int] = {}
        question_of = np.array([numbers.setdefault(pool, len(numbers)) for pool in self._pools], np.int_)
        members: dict[int, list[LiveStream]] = {}
        for question, at in zip(question_of, health, strict=True):
            members.setdefault(int(question), []).append(self._streams[at])
        requests = {o.operation: o.requests for o in self._reference.operations}
        return LiveStreams(
            tuple(self._streams), faults, health, question_of, tuple(_pooled(m, requests) for m in members.values()), untraced, new,
            leaks, leaks_of, self._objectives, self._places, self._edges, self._new_calls, self._missing,
        )  # fmt: skip

    def _quantile(self, learned: LearnedOperation, q: LearnedQuantile, signal: Signal, weight: float | None) -> int:
        """Without a weight: one that shows health."""
        prior, trials = _prior(1 - q.quantile, q.above, learned.requests)
        expected = q.above_allowed / max(learned.requests, 1e-12)
        stream = LiveStream(
            signal, learned.operation, None, Tolerance(), weight or 0.0, q.rho, prior, trials, q.quantile, q.bucket, q.allowed,
            health=weight is None, expected_rate=expected,
        )  # fmt: skip
        return self._add(stream, learned.requests)

    def _fault(
        self, signal: Signal, operation: Operation | None, tolerance: Tolerance, weight: float, rate: LearnedRate, n: float,
        *, edge: Edge | None = None, swapped: bool = False,
    ) -> int:  # fmt: skip
        prior, trials = _prior(PRIOR_OF.get(signal, 0.01), rate.bad, n)
        if swapped:
            # What is predicted here is the candidate's rate, and what is looked for is that it fell.
            prior, trials = prior * SWAPPED_PRIOR, PRIOR_TRIALS
        return self._add(LiveStream(signal, operation, edge, tolerance, weight, rate.rho, prior, trials, swapped=swapped), n)

    def _health(self, learned: LearnedOperation, signal: Signal, tolerance: Tolerance, rate: LearnedRate) -> int:
        prior, trials = _prior(PRIOR_OF.get(signal, 0.01), rate.bad, learned.requests)
        expected = rate.bad / max(learned.requests, 1e-12)
        stream = LiveStream(signal, learned.operation, None, tolerance, 0.0, rate.rho, prior, trials, health=True, expected_rate=expected)
        return self._add(stream, learned.requests)

    def _add(self, stream: LiveStream, requests: float) -> int:
        self._streams.append(stream)
        at = len(self._streams) - 1
        if stream.health:
            self._pools.append(at if requests >= self._alone_from else (stream.signal, stream.quantile, stream.tolerance))
        return at

    def _times(self, positions: Sequence[int], first: int) -> tuple[_Times, _Times]:
        def ascending(bucket_of: Callable[[LiveStream], int]) -> _Times:
            pairs = sorted((bucket_of(self._streams[at]), at - first) for at in positions)
            return _Times(tuple(bucket for bucket, _ in pairs), tuple(offset for _, offset in pairs))

        return ascending(lambda s: s.bucket), ascending(lambda s: s.allowed)


def _prior(usual: float, bad: float, n: float) -> tuple[float, float]:
    """The baseline's rate before the first window, and what it counts for in trials."""
    rate = (bad + USUAL_TRIALS * usual) / (n + USUAL_TRIALS)
    return rate, min(max(n / 2, PRIOR_TRIALS), PRIOR_TRIALS_MAX)


def _pooled(members: Sequence[LiveStream], requests: Requests) -> LiveStream:
    """One question from several streams; rates and dispersion are means over the requests."""
    if len(members) == 1:
        return members[0]
    n = [requests[m.operation] for m in members if m.operation is not None]
    total = max(sum(n), 1e-12)

    def mean(of: Iterable[float]) -> float:
        return sum(x * share for x, share in zip(of, n, strict=True)) / total

    return replace(
        members[0], operation=REST, rho=mean(m.rho for m in members), prior_rate=mean(m.prior_rate for m in members),
        prior_trials=max(m.prior_trials for m in members), expected_rate=mean(m.expected_rate for m in members),
    )  # fmt: skip
