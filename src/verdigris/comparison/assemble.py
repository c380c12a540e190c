"""The document of a comparison from its parts: judgement, tallies, recordings. Selects and rounds; decides nothing."""

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from verdigris.comparison import document as doc
from verdigris.comparison.attributes import telling_attributes
from verdigris.comparison.recordings import Recording
from verdigris.comparison.waterfalls import waterfall
from verdigris.judge.blame import callees
from verdigris.judge.effects import quantile_ms
from verdigris.judge.judge import JUDGE_VERSION
from verdigris.judge.streams import bucket_ms
from verdigris.judge.tallies import OperationTally, RoleTally, Tallies, TimeHistogram
from verdigris.judge.verdict import Effect, Evidence, Finding, Judgement, Missing, Signal
from verdigris.judge.windows import Operation, Role, Windows
from verdigris.plan.policy import Policy
from verdigris.sensitive.findings import Leak, joined
from verdigris.telemetry.store import ExampleSpan, Unassigned

OPERATIONS_MAX = 150
"""Operations with distributions in the document: those with findings, then the busiest."""

EXAMPLES_PER_FINDING = 3
WATERFALLS_MAX = 8
"""Example traces drawn: of the first findings, one of each role."""

MISSING_MAX = 40
"""Questions without an answer that are listed, the farthest from one first."""


def assemble(
    recordings: Sequence[Recording], windows: Windows, tallies: Tallies, judgement: Judgement, policy: Policy, definition_sha256: str = ""
) -> doc.Comparison:
    """Everything that people and programs may want to know about a comparison."""
    examples = _examples(recordings, judgement.findings)
    lacking = sorted(judgement.missing, key=lambda m: (m.have - m.need, m.operation, m.signal))
    recorded_s = windows.window_s * sum(1 for traces in tallies.candidate.traces if traces.traces)
    notes = [*judgement.notes, *_why_silent(recordings, tallies), *_left_out(recordings)]
    if len(lacking) > MISSING_MAX:
        notes.append(f"{len(lacking)} questions have no answer yet; the {MISSING_MAX} farthest from one are listed.")
    return doc.Comparison(
        schema=doc.SCHEMA,
        verdict=judgement.verdict.value,
        summary=judgement.summary,
        concurrent=judgement.concurrent,
        alpha=policy.alpha,
        findings=tuple(_finding(f, examples[f.id], _leaks(recordings, f)) for f in judgement.findings),
        causes=tuple(
            doc.Cause(rank, c.service, c.operation, c.share, c.why, c.findings, telling_attributes(recordings, tallies, c, policy))
            for rank, c in enumerate(judgement.causes, 1)
        ),
        missing=tuple(_missing(m, recorded_s) for m in lacking[:MISSING_MAX]),
        notes=tuple(notes),
        windows=_windows(windows, judgement),
        roles={role.value: _role(recordings, tallies.of(role), role, tallies.starts_unix_s, windows.window_s) for role in Role},
        reading=_reading(recordings),
        service_map=_service_map(tallies, judgement),
        operations=_operations(tallies, judgement),
        waterfalls=_waterfalls(recordings, judgement, examples),
        versions={"verdigris": version("verdigris"), "judge": JUDGE_VERSION},
        definition_sha256=definition_sha256,
    )


def _rounded(value: float | None) -> float | None:
    """Six significant digits: more than the evidence carries, and the same text on every machine."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _number(value: float) -> float:
    return float(f"{value:.6g}")


def _finding(finding: Finding, examples: doc.Examples, leaks: tuple[Leak, ...]) -> doc.Finding:
    effect, evidence = finding.effect, finding.evidence
    return doc.Finding(
        finding.id, finding.signal.value, finding.severity.value, finding.service, finding.operation, finding.edge,
        Effect(
            effect.measure, effect.unit, _rounded(effect.baseline), _rounded(effect.candidate), _rounded(effect.low), _rounded(effect.high)
        ),
        Evidence(_number(evidence.log_e), _number(evidence.threshold), evidence.baseline_requests, evidence.candidate_requests),
        finding.sentence,
        finding.follows_from,
        examples,
        leaks,
    )  # fmt: skip


def _leaks(recordings: Sequence[Recording], finding: Finding) -> tuple[Leak, ...]:
    """What the finding says is sent, as it looked masked in the recordings that have the candidate in them."""
    if finding.operation is None:
        return ()
    tallies = [r.counts.findings for r in recordings if r.source.match(Role.CANDIDATE) is not None]
    place = (finding.operation.service, finding.operation.name)
    return tuple(joined([tally.leak(word, *place) for tally in tallies]) for word in finding.leaks)


def _examples(recordings: Sequence[Recording], findings: Sequence[Finding]) -> dict[str, doc.Examples]:
    """Traces to look at: the candidate's that show each finding, the baseline's that show how it was."""
    found: dict[tuple[str, Role], list[str]] = {(finding.id, role): [] for finding in findings for role in Role}
    for recording in recordings:
        for finding, role, at in _by_chunk(recording, findings):
            found[finding.id, role] += _examples_of(recording, finding, role, at)
    return {
        finding.id: doc.Examples(*(tuple(found[finding.id, role][:EXAMPLES_PER_FINDING]) for role in (Role.BASELINE, Role.CANDIDATE)))
        for finding in findings
    }


def _by_chunk(recording: Recording, findings: Sequence[Finding]) -> list[tuple[Finding, Role, Operation]]:
    """Findings with a place in this recording, those of one chunk together: a store works out one chunk at a time."""
    placed = []
    for number, finding in enumerate(findings):
        for role in Role:
            at = finding.edge.caller if finding.edge is not None else finding.operation
            period = recording.telling_chunk(role, at) if at is not None else None
            if at is not None and period is not None:
                placed.append((period.start_unix_nano, number, finding, role, at))
    return [(finding, role, at) for _, _, finding, role, at in sorted(placed, key=lambda p: (p[0], p[1], p[3]))]


def _examples_of(recording: Recording, finding: Finding, role: Role, at: Operation) -> Sequence[str]:
    if finding.edge is not None and finding.signal in {Signal.CALL_MISSING, Signal.CALL_EXTRA}:
        absent = finding.signal is Signal.CALL_MISSING
        shown = recording.examples_of_edge(role, finding.edge, EXAMPLES_PER_FINDING, absent=absent)
        # Where every request of the baseline makes the call once, none shows that it was not made more often.
        return shown or recording.examples(role, at, EXAMPLES_PER_FINDING, failed_first=True)
    slow = finding.signal in {Signal.LATENCY, Signal.EXCLUSIVE_LATENCY}
    return recording.examples(role, finding.operation or at, EXAMPLES_PER_FINDING, failed_first=not slow)


def _why_silent(recordings: Sequence[Recording], tallies: Tallies) -> list[str]:
    """Why a role has no traces, where that lies in what was read and not in the role."""
    notes = []
    for role in Role:
        mine = [r for r in recordings if r.source.match(role) is not None]
        problems = sum(r.counts.problems for r in mine)
        if tallies.of(role).trace_count or not mine:
            continue
        if problems:
            first = next(p for r in mine for p in r.problems)
            notes.append(f"Of what was given for the {role.value}, {problems} parts could not be read; the first: {first}.")
        elif mine[0].source.identity is not None and (others := sum(r.unassigned.spans for r in mine)):
            notes.append(f"No span matches the {role.value}'s {mine[0].source.match(role)}; {others} spans match neither role.")
    return notes


def _left_out(recordings: Sequence[Recording]) -> list[str]:
    """Spans that were read but could not be used, beyond those that match neither role."""
    left = sum((r.unassigned for r in recordings), Unassigned())
    said = (
        (left.mixed_traces, "traces have spans of both roles; only each role's own spans of them are compared"),
        (left.clashing, "spans were left out because another, different span has the same id"),
        (left.without_id, "spans were left out because they have no trace id or span id"),
    )
    return [f"{number:,} {what}." for number, what in said if number]


def _missing(missing: Missing, recorded_s: float) -> doc.Missing:
    more_s = math.ceil((missing.need - missing.have) * recorded_s / missing.have) if missing.have else None
    return doc.Missing(missing.operation, missing.signal.value, missing.have, missing.need, more_s)


def _windows(windows: Windows, judgement: Judgement) -> doc.Windows:
    return doc.Windows(
        windows.window_s,
        len(windows.windows),
        windows.digest(),
        tuple(doc.WindowSummary(w.start_unix_s, w.baseline.traces.traces, w.candidate.traces.traces) for w in windows.windows),
        tuple(
            # The judge's trail starts with the empty hand before the first window.
            doc.Trail(t.operation, t.edge, t.signal.value, t.log_e[1:])
            for t in judgement.trails
        ),
    )


def _role(recordings: Sequence[Recording], tally: RoleTally, role: Role, starts: Sequence[int], window_s: int) -> doc.RoleSummary:
    mine = [r for r in recordings if r.source.match(role) is not None]
    seen = [start for start, traces in zip(starts, tally.traces, strict=True) if traces.traces]
    return doc.RoleSummary(
        inputs=tuple(name for r in mine for name in r.source.names),
        match=", ".join(str(r.source.match(role)) for r in mine if r.source.identity is not None),
        traces=tally.trace_count,
        spans=sum(t.spans for t in tally.traces),
        services=len(tally.services),
        operations=len(tally.operations),
        orphans=sum(t.orphans for t in tally.traces),
        mixed_traces=sum(t.mixed for t in tally.traces),
        first_unix_s=seen[0] if seen else None,
        last_unix_s=seen[-1] + window_s if seen else None,
    )


def _reading(recordings: Sequence[Recording]) -> doc.Reading:
    counts = [r.counts for r in recordings]
    refused: dict[str, int] = {}
    for each in counts:
        for reason, spans in sorted(each.refused.items()):
            refused[reason] = refused.get(reason, 0) + spans
    return doc.Reading(
        spans=sum(c.spans for c in counts),
        refused=refused,
        ends_before_start=sum(c.ends_before_start for c in counts),
        truncated_values=sum(c.truncated_values for c in counts),
        dropped_attributes=sum(c.dropped_attributes for c in counts),
        unassigned_spans=sum(r.unassigned.spans for r in recordings),
        problem_count=sum(c.problems for c in counts),
        problems=tuple(doc.Problem(p.source, p.where, p.what) for r in recordings for p in r.problems),
    )


def _finding_ids(judgement: Judgement, *, service: str) -> tuple[str, ...]:
    return tuple(f.id for f in judgement.findings if f.service == service)


def _service_map(tallies: Tallies, judgement: Judgement) -> doc.ServiceMap:
    calls = {role: _calls_per_trace(tallies.of(role)) for role in Role}
    internal = tallies.baseline.services | tallies.candidate.services
    names = sorted(internal | {end for role in Role for pair in calls[role] for end in pair})
    ranks = {cause.service: rank for rank, cause in reversed(list(enumerate(judgement.causes, 1)))}
    outward = {role: _outward(tallies.of(role)) for role in Role}
    nodes = []
    for name in names:
        halves = [_node_half(tallies.of(role), name, outward[role]) for role in Role]
        nodes.append(
            doc.MapNode(
                name, name not in internal, halves[0][0], halves[1][0], halves[0][1], halves[1][1], halves[0][2], halves[1][2],
                ranks.get(name), _finding_ids(judgement, service=name),
            )
        )  # fmt: skip
    edges = [
        doc.MapEdge(
            caller, callee, _number(calls[Role.BASELINE].get((caller, callee), 0.0)),
            _number(calls[Role.CANDIDATE].get((caller, callee), 0.0)), _edge_findings(judgement, caller, callee),
        )
        for caller, callee in sorted(calls[Role.BASELINE].keys() | calls[Role.CANDIDATE].keys())
    ]  # fmt: skip
    return doc.ServiceMap(tuple(nodes), tuple(edges))


def _edge_findings(judgement: Judgement, caller: str, callee: str) -> tuple[str, ...]:
    return tuple(f.id for f in judgement.findings if f.edge and (f.edge.caller.service, f.edge.callee.service) == (caller, callee))


def _calls_per_trace(role: RoleTally) -> dict[tuple[str, str], float]:
    """Mean calls between services per trace; to the outside by what a client span without a callee says of its peer."""
    traces = max(role.trace_count, 1)
    found: dict[tuple[str, str], float] = {}
    for edge, calls in role.edges.items():
        pair = (edge.caller.service, edge.callee.service)
        if pair[0] != pair[1]:
            found[pair] = found.get(pair, 0.0) + calls.made / traces
    for operation, tally in _outward(role).items():
        for peer, spans in sorted(tally.peers.items()):
            found[operation.service, peer] = found.get((operation.service, peer), 0.0) + spans / traces
    return found


def _outward(role: RoleTally) -> dict[Operation, OperationTally]:
    """Calls to peers that send no spans."""
    inside = callees(role)
    return {o: t for o, t in role.operations.items() if t.peers and o not in inside}


def _node_half(role: RoleTally, service: str, outward: Mapping[Operation, OperationTally]) -> tuple[float, float, float]:
    """Requests that entered the service, its own time per trace (ms), and the share of requests whose failure began there.

    Calls to the outside count there, not at the caller: so the map shows where a request's time goes.
    """
    if service not in role.services:
        calls = [(t, t.peers[service] / sum(t.peers.values())) for t in outward.values() if service in t.peers]
        requests = sum(t.n * part for t, part in calls)
        waiting = sum(t.exclusive_ms * t.n * part for t, part in calls) / max(role.trace_count, 1)
        failed = sum(float(t.error_origins.sum()) * part for t, part in calls) / max(requests, 1e-12)
        return _number(requests), _number(waiting), _number(min(failed, 1.0))
    own = {o: t for o, t in role.operations.items() if o.service == service and o not in outward}
    entries = {o: t for o, t in own.items() if o.kind in {"Server", "Consumer"}} or own
    requests = sum(t.n for t in entries.values())
    exclusive = sum(t.exclusive_ms * t.n for t in own.values()) / max(role.trace_count, 1)
    errors = sum(float(t.error_origins.sum()) for t in own.values()) / max(requests, 1e-12)
    return _number(requests), _number(exclusive), _number(min(errors, 1.0))


def _operations(tallies: Tallies, judgement: Judgement) -> tuple[doc.OperationDetail, ...]:
    found: dict[Operation, list[str]] = {}
    for finding in judgement.findings:
        for operation in filter(None, (finding.operation, finding.edge.caller if finding.edge else None)):
            if finding.id not in found.setdefault(operation, []):
                found[operation].append(finding.id)
    both = tallies.baseline.operations.keys() | tallies.candidate.operations.keys()

    def requests(operation: Operation) -> float:
        return sum(t.n for role in Role if (t := tallies.of(role).operations.get(operation)) is not None)

    chosen = sorted(both, key=lambda o: (o not in found, -requests(o), o))[:OPERATIONS_MAX]
    return tuple(
        doc.OperationDetail(
            o,
            _stats(tallies.baseline.operations.get(o)),
            _stats(tallies.candidate.operations.get(o)),
            tuple(found.get(o, ())),
        )
        for o in chosen
    )


def _stats(tally: OperationTally | None) -> doc.OperationStats | None:
    if tally is None or tally.n <= 0:
        return None
    return doc.OperationStats(
        requests=_number(tally.n),
        errors=_number(float(tally.errors.sum())),
        exclusive_ms=_number(tally.exclusive_ms),
        p50_ms=_number(quantile_ms(tally.durations, 0.5)),
        p90_ms=_number(quantile_ms(tally.durations, 0.9)),
        p99_ms=_number(quantile_ms(tally.durations, 0.99)),
        durations=_shares(tally.durations),
        exclusives=_shares(tally.exclusives),
    )


def _shares(histogram: TimeHistogram) -> tuple[tuple[float, float, float], ...]:
    pooled = histogram.pooled
    total = float(pooled.sum())
    return tuple(
        (_number(bucket_ms(histogram.first + i - 1)), _number(bucket_ms(histogram.first + i)), _number(float(count) / total))
        for i, count in enumerate(pooled)
        if count > 0
    )


def _waterfalls(recordings: Sequence[Recording], judgement: Judgement, examples: Mapping[str, doc.Examples]) -> tuple[doc.Waterfall, ...]:
    """The first example of each role for the first findings; a trace that shows several is drawn once."""
    shows: dict[tuple[Role, str], list[Finding]] = {}
    for finding in judgement.findings:
        at = finding.edge.caller if finding.edge is not None else finding.operation
        if at is None or len(shows) >= WATERFALLS_MAX:
            continue
        shown = examples[finding.id]
        for role, ids in ((Role.BASELINE, shown.baseline), (Role.CANDIDATE, shown.candidate)):
            if ids:
                shows.setdefault((role, ids[0]), []).append(finding)
    spans: dict[tuple[Role, str], Sequence[ExampleSpan]] = {}
    for recording in reversed(recordings):  # the last one's chunk is still at hand from finding examples
        for finding, role, at in _by_chunk(recording, judgement.findings):
            for drawn_role, trace_id in shows:
                if drawn_role is role and (role, trace_id) not in spans and finding is shows[role, trace_id][0]:
                    found = recording.trace(role, at, trace_id)
                    if found:
                        spans[role, trace_id] = found
    return tuple(
        doc.Waterfall(trace_id, role.value, tuple(f.id for f in findings), waterfall(spans[role, trace_id]))
        for (role, trace_id), findings in shows.items()
        if (role, trace_id) in spans
    )
