"""Which service is at fault: one ranking that explains all findings.

Every signal of trouble is an *excess* at one place: time of its own that an operation takes longer, errors that begin
there, requests that stop short after a call. Excess is weighed by how sure it is and how much of a request it costs, and
then goes to a service:

1. Own time of an operation is its service's.
2. Time lost between a caller's client span and the callee's server span may be either's. Both are tried: who else is
   trouble with, and who is well with everybody else? A callee is likelier at equal evidence, because its caller is already
   seen to be well where it talks to others.
3. Errors count where they begin: the deepest failing span whose children are well.
4. A request that stops short is blamed on the last call it made before it stopped, or on the caller if it made none. A call
   that is never made any more, while the caller's others are, was taken out of the caller.
5. Sensitive data is blamed on the operation that sends it.
6. A span whose parent never comes is blamed on whose span that was in the baseline.

So a caller that is slower only because its callee is has no excess of its own and cannot be blamed above it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from verdigris.judge.evidence import Judged, StreamEvidence
from verdigris.judge.sight import crosses_to_server, present_share, unseen
from verdigris.judge.streams import bucket_ms
from verdigris.judge.tallies import RoleTally, Tallies, TimeHistogram
from verdigris.judge.verdict import LEAKS, Signal
from verdigris.judge.windows import Edge, Operation

CALLEE_ODDS = 3.0
"""Prior odds that the callee, not the caller, is to blame for time lost between them."""

TROUBLE_IF_GUILTY, TROUBLE_IF_INNOCENT = 0.5, 0.05
"""Chance that another of a service's relations is in trouble, when the service is to blame and when it is not."""

TESTABLE_REQUESTS = 30.0
"""A relation speaks in full for a service's innocence from so many requests on, in proportion below."""

SHARE_MIN = 0.02
"""Causes that explain less than this share are not named."""

SURE_MIN = 0.25
"""A service is named only where its evidence reaches half of what makes a finding."""

LOST_ENTIRELY = 0.02
"""A call is no longer made at all when at most this part of the requests that made it still do."""


@dataclass(frozen=True, slots=True)
class Excess:
    """Trouble at one place. `harm` is the cost as a share of a mean request (time) or of requests (errors, structure)."""

    operation: Operation
    signal: Signal
    harm: float
    sure: float
    """In [0, 1]: evidence as a part of what makes a finding, squared; 1 for findings."""
    between: tuple[str, str] | None
    """Caller's and callee's service when the time is lost between them."""
    edge: Edge | None = None


@dataclass(frozen=True, slots=True)
class Suspect:
    """A service (and its worst operation) with the share of all excess that it explains."""

    service: str
    operation: Operation
    share: float
    excess: tuple[Excess, ...]


def rank(tallies: Tallies, judged: Sequence[Judged]) -> list[Suspect]:
    """Suspects by share, descending; empty when nothing is in excess.

    Args:
        judged: each stream with its evidence and the threshold (nats) at which it is a finding.
    """
    found = list(_time_excess(tallies, judged)) + list(_error_excess(tallies, judged)) + list(_structure_excess(tallies, judged))
    found += _leak_excess(tallies, judged)
    by_service: dict[str, list[tuple[float, Excess]]] = {}
    trouble = _Trouble(tallies, found)
    for excess in found:
        weight = excess.harm * excess.sure
        if excess.between is None:
            by_service.setdefault(excess.operation.service, []).append((weight, excess))
            continue
        caller, callee = excess.between
        callee_part = trouble.callee_share(caller, callee)
        by_service.setdefault(caller, []).append((weight * (1 - callee_part), excess))
        by_service.setdefault(callee, []).append((weight * callee_part, excess))
    total = sum(weight for parts in by_service.values() for weight, _ in parts)
    if total <= 0:
        return []
    suspects = []
    for service, parts in by_service.items():
        share = sum(weight for weight, _ in parts) / total
        ordered = sorted(parts, key=lambda part: (-part[0], part[1].operation))
        if share >= SHARE_MIN and max(excess.sure for _, excess in parts) >= SURE_MIN:
            suspects.append(Suspect(service, ordered[0][1].operation, share, tuple(excess for _, excess in ordered)))
    return sorted(suspects, key=lambda s: (-s.share, s.service))


def callees(role: RoleTally) -> dict[Operation, tuple[str, ...]]:
    """For each calling operation, the other services whose server or consumer spans it is the parent of."""
    found: dict[Operation, set[str]] = {}
    for edge in role.edges:
        if crosses_to_server(edge):
            found.setdefault(edge.caller, set()).add(edge.callee.service)
    return {operation: tuple(sorted(services)) for operation, services in found.items()}


def mean_ms(histogram: TimeHistogram) -> float:
    """Mean time by bucket middles, ms."""
    pooled = histogram.pooled
    middles = np.array([bucket_ms(histogram.first + i) for i in range(pooled.size)]) * 0.99
    return float((pooled * middles).sum() / max(pooled.sum(), 1e-12))


def _sure(evidence: StreamEvidence, threshold: float) -> float:
    """With all instances, for a fault of all; what is one instance's alone does not fail the candidate, and explains no FAIL."""
    nats = evidence.log_e if evidence.is_of_one_instance(threshold) else evidence.with_all_instances
    return min(1.0, max(0.0, nats / threshold)) ** 2


def _time_excess(tallies: Tallies, judged: Sequence[Judged]) -> Iterable[Excess]:
    best: dict[Operation, float] = {}
    for stream, evidence, threshold in judged:
        if stream.signal is Signal.EXCLUSIVE_LATENCY:
            best[stream.operation] = max(best.get(stream.operation, 0.0), _sure(evidence, threshold))
    called = callees(tallies.baseline) | callees(tallies.candidate)
    traces = max(tallies.candidate.trace_count, 1)
    trace_ms = _trace_ms(tallies)
    for operation, sure in best.items():
        base, cand = tallies.baseline.operations[operation], tallies.candidate.operations[operation]
        longer = (mean_ms(cand.exclusives) - mean_ms(base.exclusives)) * cand.n / traces
        if sure > 0 and longer > 0:
            to = called.get(operation, ())
            between = (operation.service, to[0]) if operation.kind in {"Client", "Producer"} and len(to) == 1 else None
            yield Excess(operation, Signal.EXCLUSIVE_LATENCY, longer / trace_ms, sure, between)


def _trace_ms(tallies: Tallies) -> float:
    """Mean duration of the baseline's traces: that of its operations' traces, by requests."""
    operations = tallies.baseline.operations.values()
    total = sum(t.trace_ms * t.n for t in operations)
    return max(total / max(sum(t.n for t in operations), 1e-12), 1e-6)


_OUTCOMES: Mapping[Signal, str] = {
    Signal.ERRORS: "error_origins",
    Signal.REFUSED_MORE: "refused",
    Signal.REFUSED_LESS: "refused",
    Signal.REJECTED: "rejected",
    Signal.ORPHANS: "orphans",
}


def _error_excess(tallies: Tallies, judged: Sequence[Judged]) -> Iterable[Excess]:
    called = callees(tallies.baseline) | callees(tallies.candidate)
    traces = max(tallies.candidate.trace_count, 1)
    for stream, evidence, threshold in judged:
        counted, sure = _OUTCOMES.get(stream.signal), _sure(evidence, threshold)
        if counted is None or sure == 0:
            continue
        operation = stream.operation
        to = called.get(operation, ())
        if operation.kind == "Client" and to and stream.signal in {Signal.REFUSED_MORE, Signal.REFUSED_LESS, Signal.REJECTED}:
            continue  # the callee's own span says the same
        base, cand = tallies.baseline.operations[operation], tallies.candidate.operations[operation]
        more = abs(cand.share(getattr(cand, counted)) - base.share(getattr(base, counted)))
        if more > 0:
            if stream.signal is Signal.ORPHANS:
                yield Excess(_usual_parent(tallies, operation), stream.signal, more * cand.n / traces, sure, None)
                continue
            between = (operation.service, to[0]) if operation.kind == "Client" and len(to) == 1 else None
            yield Excess(operation, stream.signal, more * cand.n / traces, sure, between)


def _leak_excess(tallies: Tallies, judged: Sequence[Judged]) -> Iterable[Excess]:
    """What is sent is its sender's doing."""
    traces = max(tallies.candidate.trace_count, 1)
    for stream, evidence, threshold in judged:
        sure = _sure(evidence, threshold)
        n_b, n_c = float(stream.base_n.sum()), float(stream.cand_n.sum())
        if stream.signal not in LEAKS or sure == 0 or not n_b or not n_c:
            continue
        more = float(stream.cand_k.sum()) - float(stream.base_k.sum()) * n_c / n_b
        if more > 0:
            yield Excess(stream.operation, stream.signal, more / traces, sure, None)


def _usual_parent(tallies: Tallies, operation: Operation) -> Operation:
    """Whose span it is that an orphan of this operation misses: the baseline knows its caller."""
    callers = {e.caller: float(t.present.sum()) for e, t in tallies.baseline.edges.items() if e.callee == operation}
    return max(sorted(callers), key=lambda caller: callers[caller], default=operation)


def _structure_excess(tallies: Tallies, judged: Sequence[Judged]) -> Iterable[Excess]:
    traces = max(tallies.candidate.trace_count, 1)
    stopped: dict[Operation, list[_Lost]] = {}
    for stream, evidence, threshold in judged:
        sure = _sure(evidence, threshold)
        edge = stream.edge
        if edge is None or sure == 0:
            continue
        base, cand = tallies.baseline.operations[edge.caller], tallies.candidate.operations[edge.caller]
        before, after = (r.edges.get(edge) for r in (tallies.baseline, tallies.candidate))
        share_before, share_after = present_share(before, base), present_share(after, cand)
        if stream.signal is Signal.CALL_MISSING:
            lost = (share_before - share_after) * cand.n / traces
            hidden = unseen(tallies, edge)
            if hidden is not None:
                yield Excess(hidden, stream.signal, max(lost, 0.0), sure, None, edge)
            elif lost > 0:
                entirely = share_after <= LOST_ENTIRELY * share_before
                stopped.setdefault(edge.caller, []).append(_Lost(lost, sure, edge, entirely=entirely))
        else:
            more = (
                ((after.made if after else 0.0) / max(cand.n, 1e-12) - (before.made if before else 0.0) / max(base.n, 1e-12))
                * cand.n
                / traces
            )
            callee = tallies.candidate.operations.get(edge.callee)
            cost = (callee.duration_ms if callee else 0.0) / _trace_ms(tallies)
            yield Excess(edge.caller, stream.signal, max(more, 0.0) * cost, sure, None, edge)
    for caller, calls in stopped.items():
        worst = max(calls, key=lambda call: (call.lost * call.sure, call.edge))
        # One call that is never made any more, while all others are, was taken out of the caller.
        certain = [call for call in calls if call.sure >= SURE_MIN]
        taken_out = worst.entirely and len(certain) == 1
        for operation, part in [(caller, 1.0)] if taken_out else stopped_after(tallies, caller):
            yield Excess(operation, Signal.CALL_MISSING, worst.lost * part, worst.sure, None, worst.edge)


@dataclass(frozen=True, slots=True)
class _Lost:
    """A call that fewer of a caller's requests make: how many fewer per trace, and whether hardly any is left."""

    lost: float
    sure: float
    edge: Edge
    entirely: bool


def stopped_after(tallies: Tallies, caller: Operation) -> list[tuple[Operation, float]]:
    """What the caller's requests that stop short stopped after: operations with their parts, which sum to 1.

    The callee of a last call to another service stands for that call. The caller itself stands where nothing was called.
    """
    base, cand = tallies.baseline.operations[caller], tallies.candidate.operations[caller]
    parts: dict[Operation, float] = {}
    nothing = cand.share(cand.childless) - base.share(base.childless)
    if nothing > 0:
        parts[caller] = nothing
    far_end = {e.caller: e.callee for e in sorted(tallies.candidate.edges) if crosses_to_server(e)}
    for edge, after in tallies.candidate.edges.items():
        if edge.caller != caller:
            continue
        before = tallies.baseline.edges.get(edge)
        more = cand.share(after.last) - (base.share(before.last) if before else 0.0)
        if more > 0:
            at = far_end.get(edge.callee, edge.callee)
            parts[at] = parts.get(at, 0.0) + more
    total = sum(parts.values())
    return [(operation, part / total) for operation, part in sorted(parts.items())] if total > 0 else [(caller, 1.0)]


class _Trouble:
    """How much trouble each service has by itself and with each other service, to tell callers from callees."""

    def __init__(self, tallies: Tallies, found: Sequence[Excess]) -> None:
        self._with: dict[frozenset[str], float] = {}
        self._own: dict[str, float] = {}
        for excess in found:
            if excess.between is not None:
                pair = frozenset(excess.between)
                self._with[pair] = max(self._with.get(pair, 0.0), excess.sure)
            elif excess.signal in {Signal.EXCLUSIVE_LATENCY, Signal.ERRORS}:
                service = excess.operation.service
                self._own[service] = max(self._own.get(service, 0.0), excess.sure)
        self._requests: dict[str, dict[str, float]] = {}
        for operation, to in callees(tallies.candidate).items():
            for service in to:
                n = tallies.candidate.operations[operation].n if operation in tallies.candidate.operations else 0.0
                for one, other in ((operation.service, service), (service, operation.service)):
                    known = self._requests.setdefault(one, {})
                    known[other] = known.get(other, 0.0) + n

    def callee_share(self, caller: str, callee: str) -> float:
        """Chance that `callee` is to blame for time lost between the two, given all else that is seen of both."""
        balance = math.log(CALLEE_ODDS) + self._guilt(callee, besides=caller) - self._guilt(caller, besides=callee)
        return 1 / (1 + math.exp(-balance))

    def _guilt(self, service: str, besides: str) -> float:
        for_it, against = math.log(TROUBLE_IF_GUILTY / TROUBLE_IF_INNOCENT), math.log((1 - TROUBLE_IF_GUILTY) / (1 - TROUBLE_IF_INNOCENT))
        own = self._own.get(service, 0.0)
        score = own * for_it + (1 - own) * against
        for other, requests in sorted(self._requests.get(service, {}).items()):
            if other == besides:
                continue
            sure = self._with.get(frozenset((service, other)), 0.0)
            score += sure * for_it + (1 - sure) * against * min(1.0, requests / TESTABLE_REQUESTS)
        return score
