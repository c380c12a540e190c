"""From windows to a judgement. Pure: equal windows and policy give equal bytes.

1. Regroup the windows into tallies, and ask first whether there is anything to see (BLIND, or nothing at all).
2. Decide whether the roles ran side by side; that decides how evidence is counted.
3. Ask every stream; those whose evidence reaches their threshold are findings.
4. Rank causes. Signals of lost telemetry make BLIND, not FAIL: the candidate may be well, but nobody can see it.
5. Without findings, ask for positive evidence: PASS, or NOT_ENOUGH_DATA with what is missing.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from verdigris.judge.assurance import missing_for_pass
from verdigris.judge.betting import combine
from verdigris.judge.blame import rank
from verdigris.judge.consequences import felt_of_bad_instances, following, numbered, reachable
from verdigris.judge.effects import effect_of, share_effect
from verdigris.judge.evidence import Judged, StreamEvidence, apart, side_by_side, trail_apart
from verdigris.judge.sentences import cause_sentence, finding_sentence, summary_sentence
from verdigris.judge.sight import crosses_to_server, unseen
from verdigris.judge.streams import Stream, streams_of
from verdigris.judge.tallies import Tallies, tally
from verdigris.judge.verdict import Cause, Effect, Evidence, Finding, Judgement, Outcome, Severity, Signal, StreamTrail
from verdigris.judge.windows import Operation, Windows
from verdigris.plan.policy import Policy

JUDGE_VERSION = "1"
"""Raised whenever equal windows may give another judgement; recorded with every verdict."""

CONCURRENT_SHARE = 0.5
"""Roles ran side by side when at least this share of the windows with traces has traces of both."""

WINDOWS_MUST_AGREE = 3
"""Side by side, no window may contribute more than one part in so many of what a finding needs."""

WITHOUT_ONE_MAX = 0.25
"""One instance is at fault when the evidence without it is at most this part of the whole. More is only less data."""

TRAILS_MAX = 6

TRUST = frozenset({Signal.NO_TRACES, Signal.ORPHANS, Signal.SAMPLING})
"""Signals that speak against the telemetry, not against the candidate."""


def judge(windows: Windows, policy: Policy) -> Judgement:
    """Judge the candidate's windows against the baseline's."""
    return judge_tallies(tally(windows), policy, concurrent=ran_side_by_side(windows))


def judge_tallies(tallies: Tallies, policy: Policy, *, concurrent: bool) -> Judgement:
    """The same for those who have the windows' tallies already. `concurrent`: whether the roles ran side by side."""
    traces = (tallies.baseline.trace_count, tallies.candidate.trace_count)
    threshold = math.log(1 / policy.alpha)
    if not all(traces):
        return _nothing_to_see(tallies, threshold)
    streams = streams_of(tallies, policy, policy.latency_margin if concurrent else policy.latency_margin_apart)
    clip = max(1.5, (threshold + math.log(max(len(streams), 1))) / WINDOWS_MUST_AGREE)
    evidence = side_by_side(streams, clip) if concurrent else apart(streams)
    judged = [(s, e, threshold - math.log(s.weight)) for s, e in zip(streams, evidence, strict=True)]
    findings = _seen(tallies, _findings(tallies, judged, threshold, concurrent=concurrent))
    findings = felt_of_bad_instances(tallies, findings)
    found = {f.signal for f in findings}
    lost = {f.id for f in findings if f.signal in TRUST or _out_of_sight(f, tallies) is not None}
    faults = [f for f in findings if f.id not in lost and f.signal is not Signal.INSTANCE and f.follows_from is None]
    missing = () if findings else tuple(missing_for_pass(tallies, policy, _common_phi(evidence), concurrent=concurrent))
    if faults:
        outcome = Outcome.FAIL
    elif lost:
        outcome = Outcome.BLIND
    else:
        outcome = Outcome.NOT_ENOUGH_DATA if missing or found else Outcome.PASS
    causes = _causes(tallies, judged, findings) if outcome in {Outcome.FAIL, Outcome.BLIND} else ()
    findings, causes = numbered(following(tallies, findings, causes), causes)
    return Judgement(
        verdict=outcome,
        summary=summary_sentence(outcome, findings, causes, missing),
        findings=findings,
        causes=causes,
        missing=missing,
        notes=_notes(tallies, concurrent=concurrent),
        concurrent=concurrent,
        threshold=threshold,
        trails=_trails(judged),
    )


def ran_side_by_side(windows: Windows) -> bool:
    """Whether the roles' traces share most of their windows, so that drift cancels inside each."""
    seen = [(bool(w.baseline.traces.traces), bool(w.candidate.traces.traces)) for w in windows.windows]
    shorter = min(sum(b for b, _ in seen), sum(c for _, c in seen))
    return shorter > 0 and sum(b and c for b, c in seen) >= CONCURRENT_SHARE * shorter


def _nothing_to_see(tallies: Tallies, threshold: float) -> Judgement:
    """A role without traces: a silent candidate is BLIND; without a baseline there is nothing to compare with."""
    base, cand = tallies.baseline.trace_count, tallies.candidate.trace_count
    if base and not cand:
        finding = Finding(
            "f1", Signal.NO_TRACES, Severity.CRITICAL, "", None, None,
            Effect("traces", "count", float(base), 0.0, None, None), Evidence(0.0, threshold, base, 0),
            f"The candidate sent no traces at all; the baseline sent {base}. Nobody can see whether it is well.",
        )  # fmt: skip
        return Judgement(Outcome.BLIND, finding.sentence, (finding,), (), (), (), concurrent=False, threshold=threshold, trails=())
    summary = "There is no baseline to compare with: it has no traces." if cand else "Neither role has any traces."
    return Judgement(Outcome.NOT_ENOUGH_DATA, summary, (), (), (), (), concurrent=False, threshold=threshold, trails=())


def _findings(tallies: Tallies, judged: Sequence[Judged], threshold: float, *, concurrent: bool) -> tuple[Finding, ...]:
    best: dict[tuple[object, ...], tuple[float, Judged, Signal]] = {}
    for row in judged:
        stream, evidence, needed = row
        signal = stream.signal
        if evidence.log_e < needed:
            whole = evidence.with_all_instances
            if whole < needed or evidence.log_e > whole * WITHOUT_ONE_MAX:
                continue
            signal = Signal.INSTANCE
        key = (stream.operation, stream.edge, signal)
        if key not in best or evidence.log_e - needed > best[key][0]:
            best[key] = (evidence.log_e - needed, row, signal)
    if concurrent and not best:
        together = combine([e.log_e for _, e, _ in judged], [s.weight for s, _, _ in judged])
        if together >= threshold:
            row = max(judged, key=lambda r: r[1].log_e - r[2])
            best[row[0].operation, row[0].edge, row[0].signal] = (0.0, row, row[0].signal)
    own = {stream.operation for _, (stream, _, _), signal in best.values() if signal is Signal.EXCLUSIVE_LATENCY}
    kept = [(row, signal) for _, row, signal in best.values() if not (signal is Signal.LATENCY and row[0].operation in own)]
    made = [_finding(tallies, row, signal) for row, signal in kept] + _sampling(tallies, threshold)
    rank_of = list(Severity)
    ordered = sorted(
        made, key=lambda f: (rank_of.index(f.severity), f.evidence.threshold - f.evidence.log_e, f.signal.value, str(f.edge or f.operation))
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
    )  # fmt: skip


def _severity(stream: Stream, effect: Effect, tallies: Tallies) -> Severity:
    """Critical: an open door, 5 % more failures, or a fifth of the request's time; minor: under a hundredth."""
    if stream.signal is Signal.REFUSED_LESS:
        return Severity.CRITICAL
    change = abs((effect.candidate or 0.0) - (effect.baseline or 0.0))
    if effect.unit == "ms":
        change /= max(tallies.baseline.operations[stream.operation].trace_ms, 1e-9)
        critical, minor = 0.2, 0.01
    else:
        critical, minor = 0.05, 0.01
    return Severity.CRITICAL if change >= critical else Severity.MINOR if change < minor else Severity.MAJOR


def _out_of_sight(finding: Finding, tallies: Tallies) -> Operation | None:
    """The remote operation whose spans stopped coming, if that is what this finding is."""
    return unseen(tallies, finding.edge) if finding.signal is Signal.CALL_MISSING and finding.edge is not None else None


def _seen(tallies: Tallies, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Without what only follows from lost sight: a client span whose server's span is lost seems to take all its time itself,
    and a call that is known under another name now seems to be a new one.
    """
    lost = [f.edge for f in findings if f.edge is not None and _out_of_sight(f, tallies) is not None]
    waiting = {e.caller for e in lost if crosses_to_server(e)}
    renamed = {(e.caller, e.callee.kind) for e in lost if not crosses_to_server(e)}
    return tuple(
        f
        for f in findings
        if not (f.signal is Signal.EXCLUSIVE_LATENCY and f.operation in waiting)
        and not (f.signal is Signal.CALL_EXTRA and f.edge is not None and (f.edge.caller, f.edge.callee.kind) in renamed)
    )


def _sampling(tallies: Tallies, threshold: float) -> list[Finding]:
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


def _causes(tallies: Tallies, judged: Sequence[Judged], findings: Sequence[Finding]) -> tuple[Cause, ...]:
    suspects = rank(tallies, judged)
    reach = reachable(tallies)
    causes = []
    for suspect in suspects:
        explained = tuple(f.id for f in findings if f.service == suspect.service or suspect.service in reach.get(f.service, ()))
        causes.append(Cause(suspect.service, suspect.operation, round(suspect.share, 4), cause_sentence(suspect, tallies), explained))
    return tuple(causes)


def _common_phi(evidence: Sequence[StreamEvidence]) -> float:
    """One dispersion for all questions of a PASS: the middle of what the streams have."""
    ordered = sorted(e.phi for e in evidence)
    return ordered[len(ordered) // 2] if ordered else 1.0


def _trails(judged: Sequence[Judged]) -> tuple[StreamTrail, ...]:
    """How evidence grew, for the strongest streams (one per operation, edge and signal)."""
    seen: set[tuple[object, ...]] = set()
    trails = []
    for stream, evidence, _ in sorted(judged, key=lambda r: r[2] - r[1].log_e):
        key = (stream.operation, stream.edge, stream.signal)
        if key in seen:
            continue
        seen.add(key)
        trail = evidence.trail or trail_apart(stream, evidence.phi)
        trails.append(StreamTrail(stream.operation, stream.edge, stream.signal, tuple(round(x, 4) for x in trail)))
        if len(trails) == TRAILS_MAX:
            break
    return tuple(trails)


def _notes(tallies: Tallies, *, concurrent: bool) -> tuple[str, ...]:
    notes = []
    for role, other, word in (
        (tallies.baseline, tallies.candidate, "baseline"),
        (tallies.candidate, tallies.baseline, "candidate"),
    ):
        alone = sorted(role.services - other.services)
        if alone:
            notes.append(f"Services seen only in the {word}: {', '.join(alone[:10])}{' …' if len(alone) > 10 else ''}.")  # noqa: PLR2004
    instances = {len(t.groups) for t in tallies.candidate.operations.values()}
    if concurrent and max(instances, default=0) < 3:  # noqa: PLR2004
        notes.append("The candidate has fewer than three instances of its services: one bad instance is hard to tell from a bad candidate.")
    return tuple(notes)
