"""From evidence to findings and causes: which streams say that something is wrong, how large it is, and whose fault.

Shared by the judgement of recordings and the live one; it does not know how the evidence was counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from verdigris.judge.blame import rank
from verdigris.judge.consequences import reachable
from verdigris.judge.effects import effect_of, share_effect
from verdigris.judge.evidence import Judged
from verdigris.judge.sentences import cause_sentence, finding_sentence, leak_words
from verdigris.judge.sight import crosses_to_server, unseen
from verdigris.judge.streams import Stream
from verdigris.judge.tallies import Tallies
from verdigris.judge.verdict import LEAKS, Cause, Effect, Evidence, Finding, Severity, Signal
from verdigris.judge.windows import Operation

TRUST = frozenset({Signal.NO_TRACES, Signal.UNTRACED, Signal.ORPHANS, Signal.SAMPLING})
"""Signals that speak against the telemetry, not against the candidate."""


def findings_of(tallies: Tallies, judged: Sequence[Judged], threshold: float, together: float | None) -> tuple[Finding, ...]:
    """The streams that reached what they need, the worst first, one per operation, edge and signal.

    `together`: the evidence of all streams, where it may be combined. If it reaches `threshold` and no stream does what it needs,
    the strongest stands for all.
    """
    best: dict[tuple[object, ...], tuple[float, Judged, Signal]] = {}
    for row in judged:
        stream, evidence, needed = row
        signal = stream.signal
        if evidence.log_e < needed:
            if not evidence.is_of_one_instance(needed):
                continue
            signal = Signal.INSTANCE
        key = (stream.operation, stream.edge, signal)
        if key not in best or evidence.log_e - needed > best[key][0]:
            best[key] = (evidence.log_e - needed, row, signal)
    if together is not None and together >= threshold and judged and not best:
        row = max(judged, key=lambda r: r[1].log_e - r[2])
        best[row[0].operation, row[0].edge, row[0].signal] = (0.0, row, row[0].signal)
    own = {stream.operation for _, (stream, _, _), signal in best.values() if signal is Signal.EXCLUSIVE_LATENCY}
    kept = [(row, signal) for _, row, signal in best.values() if not (signal is Signal.LATENCY and row[0].operation in own)]
    made = [_finding(tallies, row, signal) for row, signal in kept] + sampling(tallies, threshold)
    return in_order(made)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first, then the surest; numbered."""
    rank_of = list(Severity)
    ordered = sorted(
        findings,
        key=lambda f: (rank_of.index(f.severity), f.evidence.threshold - f.evidence.log_e, f.signal.value, str(f.edge or f.operation)),
    )
    return tuple(replace(f, id=f"f{number}") for number, f in enumerate(ordered, 1))


def _finding(tallies: Tallies, row: Judged, signal: Signal) -> Finding:
    stream, evidence, needed = row
    effect = effect_of(stream, tallies, evidence.phi)
    operation = stream.edge.callee if stream.edge is not None else stream.operation
    suspect = ""
    if signal is Signal.INSTANCE and evidence.suspect is not None:
        suspect = tallies.candidate.operations[stream.operation].groups[int(evidence.suspect)]
    hidden = unseen(tallies, stream.edge) if stream.edge is not None and stream.signal is Signal.CALL_MISSING else None
    return Finding(
        "", signal, _severity(stream, effect, tallies), hidden.service if hidden is not None else stream.operation.service,
        operation, stream.edge, effect,
        Evidence(
            evidence.with_all_instances if signal is Signal.INSTANCE else evidence.log_e, needed,
            round(float(stream.base_n.sum())), round(float(stream.cand_n.sum())),
        ),
        finding_sentence(stream, signal, effect, suspect, tallies),
        leaks=leak_words(stream.signal, stream.operation, tallies) if stream.signal in LEAKS else (),
    )  # fmt: skip


def _severity(stream: Stream, effect: Effect, tallies: Tallies) -> Severity:
    """Critical: an open door, sensitive data, 5 % more failures, or a fifth of the request's time; minor: under a hundredth."""
    if stream.signal is Signal.REFUSED_LESS or stream.signal in LEAKS:
        return Severity.CRITICAL
    change = abs((effect.candidate or 0.0) - (effect.baseline or 0.0))
    if effect.unit == "ms":
        change /= max(tallies.baseline.operations[stream.operation].trace_ms, 1e-9)
        return Severity.CRITICAL if change >= 0.2 else Severity.MINOR if change < 0.01 else Severity.MAJOR  # noqa: PLR2004  # as it says
    return severity_of_share(change)


def severity_of_share(change: float) -> Severity:
    """Critical: 5 % more requests; minor: under a hundredth."""
    return Severity.CRITICAL if change >= 0.05 else Severity.MINOR if change < 0.01 else Severity.MAJOR  # noqa: PLR2004  # as it says


def out_of_sight(finding: Finding, tallies: Tallies) -> Operation | None:
    """The remote operation whose spans stopped coming, if that is what this finding is."""
    return unseen(tallies, finding.edge) if finding.signal is Signal.CALL_MISSING and finding.edge is not None else None


def seen(tallies: Tallies, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Without what only follows from lost sight: a client span whose server's span is lost seems to take all its time itself,
    and a call that is known under another name now seems to be a new one.
    """
    lost = [f.edge for f in findings if f.edge is not None and out_of_sight(f, tallies) is not None]
    waiting = {e.caller for e in lost if crosses_to_server(e)}
    renamed = {(e.caller, e.callee.kind) for e in lost if not crosses_to_server(e)}
    return tuple(
        f
        for f in findings
        if not (f.signal is Signal.EXCLUSIVE_LATENCY and f.operation in waiting)
        and not (f.signal is Signal.CALL_EXTRA and f.edge is not None and (f.edge.caller, f.edge.callee.kind) in renamed)
    )


def sampling(tallies: Tallies, threshold: float) -> list[Finding]:
    """Unequal sampling: one role's traces carry a threshold (`ot=th`) that the other's do not."""
    base, cand = tallies.baseline, tallies.candidate
    shares = {
        t: (base.thresholds.get(t, 0) / base.trace_count, cand.thresholds.get(t, 0) / cand.trace_count)
        for t in sorted(base.thresholds.keys() | cand.thresholds.keys())
    }
    differing = [(abs(b - c), t, b, c) for t, (b, c) in shares.items() if abs(b - c) > 0.5]  # noqa: PLR2004  # most traces
    if not differing:
        return []
    _, threshold_text, b, c = max(differing)
    effect = share_effect(
        f"traces sampled with th:{threshold_text}", b * base.trace_count, base.trace_count, c * cand.trace_count, cand.trace_count, 1.0
    )
    sentence = (
        f"The roles are sampled differently: {b:.0%} of the baseline's traces and {c:.0%} of the candidate's carry the "
        f"threshold th:{threshold_text}. What is compared is not the same share of requests."
    )
    evidence = Evidence(threshold, threshold, base.trace_count, cand.trace_count)
    return [Finding("", Signal.SAMPLING, Severity.MAJOR, "", None, None, effect, evidence, sentence)]


def causes_of(tallies: Tallies, judged: Sequence[Judged], findings: Sequence[Finding]) -> tuple[Cause, ...]:
    """The likeliest causes, each with the findings that it explains."""
    suspects = rank(tallies, judged)
    reach = reachable(tallies)
    causes = []
    for suspect in suspects:
        explained = tuple(f.id for f in findings if f.service == suspect.service or suspect.service in reach.get(f.service, ()))
        causes.append(Cause(suspect.service, suspect.operation, round(suspect.share, 4), cause_sentence(suspect, tallies), explained))
    return tuple(causes)
