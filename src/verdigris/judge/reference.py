"""What the baseline is like before the rollout: thresholds, rates, dispersion and structure, learned from its windows alone.

The live judge asks its questions by this and nothing that it sees later, so that the questions never depend on the answers.
Kept as evidence: canonical bytes, and their digest.
"""

import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from verdigris.errors import VerdigrisError
from verdigris.judge.dispersion import Dispersion, block_lengths, dispersion_of, rhos
from verdigris.judge.divergence import Array
from verdigris.judge.leaks import detectors_of, is_known
from verdigris.judge.streams import BASELINE_BAD_MIN, QUANTILES, QUANTILES_PASS, is_rare, slow_buckets, usual_calls
from verdigris.judge.tallies import EdgeTally, OperationTally, RoleTally, TimeHistogram, tally
from verdigris.judge.verdict import Signal
from verdigris.judge.windows import Edge, Operation, Role, RoleWindow, Window, Windows
from verdigris.plan.objectives import Objectives
from verdigris.plan.policy import Policy

BYTES_MAX = 256 * 1024 * 1024
"""A reference of 2,000 operations has about 5 MB."""


class NothingToLearn(VerdigrisError):
    """The baseline has no traces. Safe: no traffic has moved. Mend its telemetry, or learn for longer."""


class InvalidReference(VerdigrisError):
    """These bytes are no reference. Safe: nothing was judged; learn the baseline anew."""


@dataclass(frozen=True, slots=True)
class Proxied:
    """Requests that the proxy sent to each role in a window."""

    baseline: int
    candidate: int


@dataclass(frozen=True, slots=True)
class LearnedRate:
    """Bad requests of the baseline, and their dispersion ρ (per request of an instance and window)."""

    bad: float
    rho: float = 0.0


@dataclass(frozen=True, slots=True)
class LearnedQuantile:
    """A quantile of the baseline's times: its bucket, the bucket that the candidate may reach, and the requests above either."""

    quantile: float
    bucket: int
    allowed: int
    above: float
    above_allowed: float
    rho: float = 0.0


@dataclass(frozen=True, slots=True)
class LearnedOperation:
    """One operation of the baseline. `passing`: the quantiles of duration that a PASS asks about.

    `rates`: errors, refused, rejected, orphans, and sensitive data if it sends some. `root`: most of its requests have no caller
    that is seen. `leaks`: the detectors of what it sends.
    """

    operation: Operation
    requests: float
    root: bool
    own: tuple[LearnedQuantile, ...]
    duration: tuple[LearnedQuantile, ...]
    passing: tuple[LearnedQuantile, ...]
    rates: Mapping[Signal, LearnedRate]
    error_kinds: tuple[str, ...]
    leaks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LearnedEdge:
    """One edge of the baseline, in its caller's requests. `rare`: fewer than half make the call.

    `usual_calls`: the 99th percentile of calls per caller span. `missing` and `extra`: requests without the call (with it, if
    rare), and with more calls.
    """

    edge: Edge
    rare: bool
    usual_calls: int
    missing: LearnedRate
    extra: LearnedRate


@dataclass(frozen=True, slots=True)
class Reference:
    """The baseline before the rollout. `traced_share`: its traces per request of the proxy; None where that was not counted."""

    window_s: int
    windows: int
    traces: int
    traced_share: float | None
    operations: tuple[LearnedOperation, ...]
    edges: tuple[LearnedEdge, ...]

    def canonical_bytes(self) -> bytes:
        """JSON with sorted keys and no white space; numbers are the shortest that read back as the same double."""
        document = {
            "window_s": self.window_s,
            "windows": self.windows,
            "traces": self.traces,
            "traced_share": self.traced_share,
            "operations": [_operation(o) for o in self.operations],
            "edges": [_edge(e) for e in self.edges],
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, canonical: bytes) -> "Reference":
        """What `canonical_bytes` wrote. Raises: InvalidReference."""
        if len(canonical) > BYTES_MAX:
            msg = f"a reference has at most {BYTES_MAX:,} bytes; these are {len(canonical):,}"
            raise InvalidReference(msg)
        try:
            document = json.loads(canonical)
            return cls(
                int(document["window_s"]),
                int(document["windows"]),
                int(document["traces"]),
                None if document["traced_share"] is None else float(document["traced_share"]),
                tuple(_read_operation(row) for row in document["operations"]),
                tuple(_read_edge(row) for row in document["edges"]),
            )
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            msg = f"these bytes are not what the baseline was learned as: {error!r}"
            raise InvalidReference(msg) from error


def learn(windows: Windows, objectives: Objectives, proxied: Iterable[Proxied | None] | None = None) -> Reference:
    """Learn the baseline from its windows before the rollout; what they say of a candidate is not read.

    Args:
        proxied: what the proxy counted in each of the windows, where it did.
    Raises: NothingToLearn: no window has a trace of the baseline.
    """
    alone = tuple(Window(w.start_unix_s, baseline=w.baseline) for w in windows.windows if w.baseline.traces.traces)
    if not alone:
        msg = "the baseline sent no traces while it was to be learned"
        raise NothingToLearn(msg)
    role = tally(Windows(windows.window_s, alone)).baseline
    return learn_tally(role, windows.window_s, _instances(w.baseline for w in alone), objectives, _traced_share(windows, proxied))


def learn_tally(
    role: RoleTally, window_s: int, instances: Mapping[str, int], objectives: Objectives, traced_share: float | None = None
) -> Reference:
    """The same for those who have the windows' tally already. `instances`: how many each service has."""
    learning = _Learning(role, instances, window_s)
    operations = [learning.operation(o, t, objectives.of(str(o))) for o, t in role.operations.items()]
    edges = [learning.edge(e, t) for e, t in role.edges.items()]
    found = learning.rhos()
    return Reference(
        window_s,
        len(role.traces),
        role.trace_count,
        traced_share,
        tuple(_with_rho(o, found) for o in operations),
        tuple(LearnedEdge(e.edge, e.rare, e.usual_calls, *(_tempered(r, found) for r in (e.missing, e.extra))) for e in edges),
    )


class _Learning:
    """Collects the dispersion of every stream, which is shared within families before ρ is known.

    Until then, `rho` of what is learned holds the stream's position.
    """

    def __init__(self, role: RoleTally, instances: Mapping[str, int], window_s: float) -> None:
        self._role, self._instances, self._lengths = role, instances, block_lengths(window_s)
        self._found: list[tuple[Hashable, Dispersion, float]] = []
        self._called = {
            operation: sum(float(t.present.sum()) for e, t in role.edges.items() if e.callee == operation) for operation in _callees(role)
        }

    def operation(self, operation: Operation, t: OperationTally, policy: Policy) -> LearnedOperation:
        floor_ms = policy.latency_floor_share * t.trace_ms

        def quantiles(times: TimeHistogram, asked: Iterable[float], margin: float, family: str) -> tuple[LearnedQuantile, ...]:
            made = []
            for q in asked:
                own, allowed = slow_buckets(times, q, margin, floor_ms)
                above = times.above(own)
                place = self._place((family, q), t.requests, above, operation.service)
                made.append(LearnedQuantile(q, own, allowed, float(above.sum()), float(times.above(allowed).sum()), place))
            return tuple(made)

        asked = [q for q in QUANTILES if t.n * (1 - q) >= BASELINE_BAD_MIN]
        rates = {
            Signal.ERRORS: t.errors,
            Signal.REFUSED_MORE: t.refused,
            Signal.REJECTED: t.rejected,
            Signal.ORPHANS: t.orphans,
        }
        leaks, tolerated = detectors_of(t.masked), policy.tolerated_detectors
        if leaks - tolerated:
            leaking = [counts for words, counts in t.masked.items() if is_known(words, leaks, tolerated)]
            rates[Signal.LEAK_MORE] = np.asarray(np.sum(leaking, axis=0))
        return LearnedOperation(
            operation,
            t.n,
            self._called.get(operation, 0.0) < t.n / 2,
            quantiles(t.exclusives, asked, policy.latency_margin, "own"),
            quantiles(t.durations, asked, policy.latency_margin, "duration"),
            quantiles(t.durations, QUANTILES_PASS, policy.latency_margin_pass, "duration"),
            {s: LearnedRate(float(k.sum()), self._place(s, t.requests, k, operation.service)) for s, k in rates.items()},
            tuple(sorted(t.error_kinds)),
            tuple(sorted(leaks)),
        )

    def edge(self, edge: Edge, t: EdgeTally) -> LearnedEdge:
        n = self._role.operations[edge.caller].requests.sum(axis=0) if edge.caller in self._role.operations else t.present
        rare, usual = is_rare(n, t), usual_calls(n, t)
        missing = t.present if rare else np.maximum(n - t.present, 0.0)
        extra = t.calls[:, usual + 1 :].sum(axis=1)
        rates = [
            LearnedRate(float(k.sum()), self._place(signal, n[None, :], np.minimum(k, n)[None, :], ""))
            for signal, k in ((Signal.CALL_MISSING, missing), (Signal.CALL_EXTRA, extra))
        ]
        return LearnedEdge(edge, rare, usual, rates[0], rates[1])

    def rhos(self) -> list[float]:
        shared = rhos([(family, dispersion) for family, dispersion, _ in self._found])
        # The tallies pool instances into groups: a group's dispersion is that of several instances taken together.
        return [rho * pooled for rho, (_, _, pooled) in zip(shared, self._found, strict=True)]

    def _place(self, family: Hashable, n: Array, k: Array, service: str) -> int:
        pooled = self._instances.get(service, 1) / n.shape[0] if service else 1.0
        self._found.append((family, dispersion_of(n, k, self._lengths), max(pooled, 1.0)))
        return len(self._found) - 1


def _with_rho(o: LearnedOperation, found: Sequence[float]) -> LearnedOperation:
    def quantiles(asked: Iterable[LearnedQuantile]) -> tuple[LearnedQuantile, ...]:
        return tuple(LearnedQuantile(q.quantile, q.bucket, q.allowed, q.above, q.above_allowed, found[int(q.rho)]) for q in asked)

    rates = {signal: _tempered(rate, found) for signal, rate in o.rates.items()}
    own, duration, passing = quantiles(o.own), quantiles(o.duration), quantiles(o.passing)
    return LearnedOperation(o.operation, o.requests, o.root, own, duration, passing, rates, o.error_kinds, o.leaks)


def _tempered(rate: LearnedRate, found: Sequence[float]) -> LearnedRate:
    return LearnedRate(rate.bad, found[int(rate.rho)])


def _callees(role: RoleTally) -> set[Operation]:
    return {edge.callee for edge in role.edges}


def _instances(halves: Iterable[RoleWindow]) -> dict[str, int]:
    """Instances of each service."""
    names: dict[str, set[str]] = {}
    for counts in chain.from_iterable(half.operations for half in halves):
        names.setdefault(counts.operation.service, set()).add(counts.instance)
    return {service: len(instances) for service, instances in names.items()}


def _traced_share(windows: Windows, proxied: Iterable[Proxied | None] | None) -> float | None:
    """Traces per proxied request, over the windows in which the proxy counted."""
    requests = traces = 0
    for window, counted in zip(windows.windows, proxied or (), strict=False):
        if counted is not None:
            requests += counted.baseline
            traces += window.of(Role.BASELINE).traces.traces
    return traces / requests if requests else None


def _operation(o: LearnedOperation) -> list[object]:
    def quantiles(asked: Iterable[LearnedQuantile]) -> list[list[float]]:
        return [[q.quantile, q.bucket, q.allowed, q.above, q.above_allowed, q.rho] for q in asked]

    rates = {signal.value: [rate.bad, rate.rho] for signal, rate in o.rates.items()}
    name = [o.operation.service, o.operation.kind, o.operation.name]
    row = [*name, o.requests, o.root, quantiles(o.own), quantiles(o.duration), quantiles(o.passing), rates, list(o.error_kinds)]
    # Where the baseline sends nothing sensitive the bytes are what they were before there was masking.
    return [*row, list(o.leaks)] if o.leaks else row


def _read_operation(row: list[Any]) -> LearnedOperation:
    def quantiles(rows: list[list[Any]]) -> tuple[LearnedQuantile, ...]:
        return tuple(
            LearnedQuantile(float(q), int(own), int(to), float(k), float(beyond), float(rho)) for q, own, to, k, beyond, rho in rows
        )

    service, kind, name, requests, root, own, duration, passing, rates, kinds, *more = row
    (leaks,) = more or [()]
    read = {Signal(signal): LearnedRate(float(bad), float(rho)) for signal, (bad, rho) in rates.items()}
    times = quantiles(own), quantiles(duration), quantiles(passing)
    return LearnedOperation(Operation(service, kind, name), float(requests), bool(root), *times, read, tuple(kinds), tuple(leaks))


def _edge(e: LearnedEdge) -> list[object]:
    ends = [x for o in (e.edge.caller, e.edge.callee) for x in (o.service, o.kind, o.name)]
    return [*ends, e.rare, e.usual_calls, [e.missing.bad, e.missing.rho], [e.extra.bad, e.extra.rho]]


def _read_edge(row: list[Any]) -> LearnedEdge:
    rare, usual, (missing, missing_rho), (extra, extra_rho) = row[6:]
    rates = LearnedRate(float(missing), float(missing_rho)), LearnedRate(float(extra), float(extra_rho))
    return LearnedEdge(Edge(Operation(*row[0:3]), Operation(*row[3:6])), bool(rare), int(usual), *rates)
