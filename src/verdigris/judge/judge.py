"""From windows to a judgement. Pure: equal windows and policy give equal bytes.

1. Regroup the windows into tallies, and ask first whether there is anything to see (BLIND, or nothing at all).
2. Decide whether the roles ran side by side; that decides how evidence is counted.
3. Ask every stream; those whose evidence reaches their threshold are findings.
4. Rank causes. Signals of lost telemetry make BLIND, not FAIL: the candidate may be well, but nobody can see it.
5. Without findings, ask for positive evidence: PASS, or NOT_ENOUGH_DATA with what is missing.
"""

import math
from collections.abc import Sequence

from verdigris.judge.assurance import missing_for_pass
from verdigris.judge.betting import combine
from verdigris.judge.consequences import felt_of_bad_instances, following, numbered
from verdigris.judge.evidence import Judged, StreamEvidence, apart, side_by_side, trail_apart
from verdigris.judge.findings import TRUST, causes_of, findings_of, out_of_sight, seen
from verdigris.judge.sentences import shared_leaks, summary_sentence
from verdigris.judge.streams import streams_of
from verdigris.judge.tallies import Tallies, tally
from verdigris.judge.verdict import Effect, Evidence, Finding, Judgement, Outcome, Severity, Signal, StreamTrail
from verdigris.judge.windows import Windows
from verdigris.plan.policy import Policy

JUDGE_VERSION = "2"
"""Raised whenever equal windows may give another judgement; recorded with every verdict."""

CONCURRENT_SHARE = 0.5
"""Roles ran side by side when at least this share of the windows with traces has traces of both."""

WINDOWS_MUST_AGREE = 3
"""Side by side, no window may contribute more than one part in so many of what a finding needs."""

TRAILS_MAX = 6


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
    together = combine([e.log_e for e in evidence], [s.weight for s in streams]) if concurrent else None
    findings = seen(tallies, findings_of(tallies, judged, threshold, together))
    findings = felt_of_bad_instances(tallies, findings)
    found = {f.signal for f in findings}
    lost = {f.id for f in findings if f.signal in TRUST or out_of_sight(f, tallies) is not None}
    faults = [f for f in findings if f.id not in lost and f.signal is not Signal.INSTANCE and f.follows_from is None]
    missing = () if findings else tuple(missing_for_pass(tallies, policy, _common_phi(evidence), concurrent=concurrent))
    if faults:
        outcome = Outcome.FAIL
    elif lost:
        outcome = Outcome.BLIND
    else:
        outcome = Outcome.NOT_ENOUGH_DATA if missing or found else Outcome.PASS
    causes = causes_of(tallies, judged, findings) if outcome in {Outcome.FAIL, Outcome.BLIND} else ()
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
    notes += shared_leaks(tallies)
    instances = {len(t.groups) for t in tallies.candidate.operations.values()}
    if concurrent and max(instances, default=0) < 3:  # noqa: PLR2004
        notes.append("The candidate has fewer than three instances of its services: one bad instance is hard to tell from a bad candidate.")
    return tuple(notes)
