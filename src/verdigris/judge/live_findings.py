"""What the live judge finds: evidence that crossed, measured on merged windows, and requests that nobody can see."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from verdigris.judge.consequences import felt_of_bad_instances, following, numbered
from verdigris.judge.divergence import Array
from verdigris.judge.effects import WORDS, share_effect
from verdigris.judge.evidence import Judged, StreamEvidence
from verdigris.judge.findings import TRUST, causes_of, findings_of, in_order, out_of_sight, sampling, seen, severity_of_share
from verdigris.judge.live_streams import Counts, LiveStream, LiveStreams
from verdigris.judge.merged import Merged
from verdigris.judge.sentences import leak_sentence, leak_words, share
from verdigris.judge.streams import Stream, bucket_ms
from verdigris.judge.tallies import Tallies, tally
from verdigris.judge.telemetry_trust import Trust, unseen_needed
from verdigris.judge.verdict import Cause, Effect, Evidence, Finding, Outcome, Severity, Signal
from verdigris.judge.windows import Edge, Operation, RoleWindow, Window, Windows

SAMPLING_TRACES_MIN = 30
"""Sampling is compared when both roles have so many traces: of a few, most may carry a threshold by chance."""

APART = frozenset({Signal.OPERATION_MISSING, Signal.NEW_OPERATION_FAILS, Signal.NEW_OPERATION_LEAKS, Signal.UNTRACED})
"""Signals whose findings are made here: they are of no operation that both roles have."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The state as it is judged. Arrays have shape (faults,), `totals` (4, faults): requests and bad ones of either role."""

    streams: LiveStreams
    faults: tuple[LiveStream, ...]
    needed: Array
    log_e: Array
    whole: Array
    suspect: NDArray[np.int_]
    phi: Array
    together: float
    threshold: float
    merged: Merged
    names: Mapping[tuple[str, int], tuple[str, ...]]
    trust: Trust
    totals: Array
    traced_share: float | None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """FAIL, BLIND, NOT_ENOUGH_DATA because of a finding that holds, or None where nothing was found."""

    outcome: Outcome | None
    findings: tuple[Finding, ...] = ()
    causes: tuple[Cause, ...] = ()


def found_in(state: Seen) -> Verdicts:
    """Findings, what they mean together, and their causes."""
    silent, blind = _silence(state)
    about_telemetry = silent + _unequal_sampling(state)
    crossed = (state.log_e >= state.needed) | (state.whole >= state.needed)
    if not crossed.any() and state.together < state.threshold:
        return _of_telemetry(about_telemetry, blind=blind)
    tallies, counts = _measured(state, crossed)
    judged = list(_judged(state, tallies, counts))
    found = [f for f in findings_of(tallies, judged, state.threshold, state.together) if f.signal is not Signal.SAMPLING]
    findings = felt_of_bad_instances(tallies, seen(tallies, in_order([*about_telemetry, *_apart(state, crossed), *found])))
    lost = {f.id for f in findings if f.signal in TRUST or _unseen(f, state, tallies)}
    faults = [f for f in findings if f.id not in lost and f.signal is not Signal.INSTANCE and f.follows_from is None]
    outcome: Outcome | None
    if faults:
        outcome = Outcome.FAIL
    elif any(f.id in lost and (blind or f.signal is not Signal.NO_TRACES) for f in findings):
        outcome = Outcome.BLIND
    else:
        outcome = Outcome.NOT_ENOUGH_DATA if findings else None
    causes: tuple[Cause, ...] = ()
    if outcome in {Outcome.FAIL, Outcome.BLIND}:
        causes = causes_of(tallies, judged, findings) or _plain_causes([f for f in faults if f.service])
    findings, causes = numbered(following(tallies, findings, causes), causes)
    return Verdicts(outcome, findings, causes)


def _of_telemetry(findings: Sequence[Finding], *, blind: bool) -> Verdicts:
    """Where no stream says anything: a silent candidate or unequal sampling is blindness; a silent baseline holds."""
    if not findings:
        return Verdicts(None)
    blind = blind or any(f.signal is Signal.SAMPLING for f in findings)
    return Verdicts(Outcome.BLIND if blind else Outcome.NOT_ENOUGH_DATA, in_order(findings))


def _silence(state: Seen) -> tuple[list[Finding], bool]:
    """Requests that the proxy counted and of which no trace came, and whether the candidate is among the silent."""
    trust, enough = state.trust, unseen_needed(state.trust, state.traced_share)
    base, cand = trust.base_unseen >= enough, trust.cand_unseen >= enough
    if not base and not cand:
        return [], False
    if base and cand:
        sentence = (
            f"Telemetry stopped for both roles: no trace came of the last {trust.base_unseen:,} requests to the baseline and the last "
            f"{trust.cand_unseen:,} to the candidate. The way of the spans is broken, not the candidate; nobody can see either."
        )
    elif cand:
        sentence = (
            f"The proxy sent the candidate {trust.cand_unseen:,} requests and no trace of them came. Nobody can see whether it is well."
        )
    else:
        sentence = (
            f"The proxy sent the baseline {trust.base_unseen:,} requests and no trace of them came. There is nothing to compare with."
        )
    requests = trust.cand_unseen if cand else trust.base_unseen
    effect = Effect("requests since the last trace", "count", float(trust.base_unseen), float(trust.cand_unseen), None, None)
    evidence = Evidence(float(requests), float(enough), trust.base_proxied, trust.cand_proxied)
    return [Finding("f1", Signal.NO_TRACES, Severity.CRITICAL, "", None, None, effect, evidence, sentence)], cand


def _unequal_sampling(state: Seen) -> list[Finding]:
    base, cand = state.merged.traces()
    if min(base.traces, cand.traces) < SAMPLING_TRACES_MIN:
        return []
    return sampling(tally(Windows(1, (Window(0, RoleWindow(base), RoleWindow(cand)),))), state.threshold)


def _measured(state: Seen, crossed: NDArray[np.bool_]) -> tuple[Tallies, Counts]:
    """What effects are measured on: the last windows, if all that crossed is in them, else all windows."""
    asked = {s.operation for s, some in zip(state.faults, crossed, strict=True) if some and s.signal not in APART}
    lately = state.merged.lately()
    shown = [{o.operation for o in half.operations} for half in (lately.baseline, lately.candidate)]
    window = lately if all(operation in role for operation in asked for role in shown) else state.merged.everything()
    named = tuple(replace(o, instance=_label(state, o.operation.service, o.instance)) for o in window.candidate.operations)
    window = replace(window, candidate=replace(window.candidate, operations=named))
    return tally(Windows(1, (window,))), state.streams.count(window, lambda _service, _instance: 0)


def _label(state: Seen, service: str, group: str) -> str:
    return ", ".join(state.names.get((service, int(group)), (group,)))


def _judged(state: Seen, tallies: Tallies, counts: Counts) -> Iterator[Judged]:
    """Streams with their evidence, as a comparison has them, where both roles show the operation."""
    none = np.zeros((1, 1))
    new_calls = _new_calls(state, tallies)
    for i, (at, live) in enumerate(zip(state.streams.faults, state.faults, strict=True)):
        operation, edge = live.operation, live.edge
        if live.signal in APART or operation is None or any(operation not in r.operations for r in (tallies.baseline, tallies.candidate)):
            continue
        if live.signal is Signal.CALL_EXTRA and edge is None:
            edge = new_calls.get(operation)
            if edge is None:
                continue
        suspect = None
        if state.suspect[i] >= 0:
            label = _label(state, operation.service, str(state.suspect[i]))
            groups = tallies.candidate.operations[operation].groups
            suspect = str(groups.index(label)) if label in groups else None
        stream = Stream(
            operation, edge, live.signal, live.quantile, bucket_ms(live.bucket) if live.quantile is not None else None, live.tolerance,
            live.weight, counts.base_n[at : at + 1], counts.base_k[at : at + 1], counts.cand_n[at : at + 1].sum(axis=1, keepdims=True),
            counts.cand_k[at : at + 1].sum(axis=1, keepdims=True), none, none, 0.0, swapped=live.swapped,
        )  # fmt: skip
        evidence = StreamEvidence(float(state.log_e[i]), float(state.whole[i]), float(state.phi[i]), (), suspect)
        yield stream, evidence, float(state.needed[i])


def _new_calls(state: Seen, tallies: Tallies) -> dict[Operation, Edge]:
    """For each caller, the most frequent of the candidate's calls that the reference does not know."""
    most: dict[Operation, tuple[float, Edge]] = {}
    for edge, made in tallies.candidate.edges.items():
        if not state.streams.knows_call(edge):
            most[edge.caller] = max(most.get(edge.caller, (0.0, edge)), (float(made.present.sum()), edge))
    return {caller: edge for caller, (_, edge) in most.items()}


def _apart(state: Seen, crossed: NDArray[np.bool_]) -> Iterator[Finding]:
    for i in np.flatnonzero(crossed & (state.log_e >= state.needed)):
        stream = state.faults[i]
        if stream.signal not in APART:
            continue
        base_n, base_k, cand_n, cand_k = (float(x) for x in state.totals[:, i])
        operation, service = stream.operation, stream.operation.service if stream.operation is not None else ""
        if stream.signal is Signal.UNTRACED and stream.swapped:
            base_k, cand_k = base_n - base_k, cand_n - cand_k
        if stream.signal is Signal.NEW_OPERATION_FAILS:
            operation = _failing_new_operation(state)
            service = operation.service if operation is not None else ""
        if stream.signal is Signal.NEW_OPERATION_LEAKS:
            operation = _leaking_new_operation(state)
            service = operation.service if operation is not None else ""
        effect = share_effect(WORDS[stream.signal], base_k, base_n, cand_k, cand_n, float(state.phi[i]))
        moved = f"{effect.measure} {share(effect.baseline)} → {share(effect.candidate)}"
        evidence = Evidence(float(state.log_e[i]), float(state.needed[i]), round(base_n), round(cand_n))
        if stream.signal is Signal.NEW_OPERATION_LEAKS and operation is not None:
            everything = tally(Windows(1, (state.merged.everything(),)))
            sentence = leak_sentence(stream.signal, operation, everything, moved)
            yield Finding(
                "",
                stream.signal,
                Severity.CRITICAL,
                service,
                operation,
                None,
                effect,
                evidence,
                sentence,
                leaks=leak_words(stream.signal, operation, everything),
            )
            continue
        severity = severity_of_share(abs((effect.candidate or 0.0) - (effect.baseline or 0.0)))
        yield Finding(
            "", stream.signal, severity, service, operation, None, effect, evidence, f"{_SAYS[stream.signal].format(operation)}: {moved}."
        )


_SAYS = {
    Signal.OPERATION_MISSING: "Requests hardly reach {} any more",
    Signal.NEW_OPERATION_FAILS: "{}, which the baseline does not have, fails",
    Signal.NEW_OPERATION_LEAKS: "Operations which the baseline does not have send sensitive data",
    Signal.UNTRACED: "More of the candidate's requests leave no trace",
}


def _failing_new_operation(state: Seen) -> Operation | None:
    failed: dict[Operation, int] = {}
    for counts in state.merged.everything().candidate.operations:
        if not state.streams.knows(counts.operation):
            failed[counts.operation] = failed.get(counts.operation, 0) + counts.errors
    return max(sorted(failed), key=lambda o: failed[o], default=None)


def _leaking_new_operation(state: Seen) -> Operation | None:
    """The one that the reference does not know and of which most requests send something."""
    leaked: dict[Operation, int] = {}
    for counts in state.merged.everything().candidate.operations:
        if counts.masked and not state.streams.knows(counts.operation):
            leaked[counts.operation] = leaked.get(counts.operation, 0) + sum(counts.masked.values())
    return max(sorted(leaked), key=lambda o: leaked[o], default=None)


def _unseen(finding: Finding, state: Seen, tallies: Tallies) -> bool:
    """Whether the finding says only that something cannot be seen: its spans do not come, though the requests are made."""
    if finding.signal is not Signal.OPERATION_MISSING:
        return out_of_sight(finding, tallies) is not None
    at = next(i for i, s in enumerate(state.faults) if s.signal is Signal.UNTRACED)
    base_n, base_k, cand_n, cand_k = (float(x) for x in state.totals[:, at])
    if not base_n or not cand_n:
        return False
    more = cand_k / cand_n - base_k / base_n
    lost = (finding.effect.baseline or 0.0) - (finding.effect.candidate or 0.0)
    return (-more if state.faults[at].swapped else more) >= lost / 2


def _plain_causes(findings: Sequence[Finding]) -> tuple[Cause, ...]:
    """Where nothing else tells causes apart: the services of the findings, alike."""
    services = sorted({f.service for f in findings})
    causes = []
    for service in services:
        its = [f for f in findings if f.service == service]
        causes.append(Cause(service, its[0].operation, round(1 / len(services), 4), its[0].sentence, tuple(f.id for f in its)))
    return tuple(causes)
