"""The live judge: look at one window after another, and say at any time what all of them together mean. Pure.

`open_judge` fixes the questions from the reference. `look` folds one window into the state; what it costs does not depend on
the number of requests or of earlier windows. `judgement` reads the state. Folding the same windows gives the same bytes.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from zlib import crc32

import numpy as np

from verdigris.errors import VerdigrisError
from verdigris.judge.assurance import REST, needs_of
from verdigris.judge.betting import combine
from verdigris.judge.divergence import Array
from verdigris.judge.live_banks import LiveBanks, advance_live, decided, open_live_banks, steady, with_wealth_of
from verdigris.judge.live_findings import APART, Seen, Verdicts, found_in
from verdigris.judge.live_streams import Counts, LiveStream, LiveStreams, streams_for
from verdigris.judge.merged import Known, Merged, with_window
from verdigris.judge.reference import Proxied as Proxied  # noqa: PLC0414  # part of what this module offers
from verdigris.judge.reference import Reference
from verdigris.judge.sentences import shared_leaks, summary_sentence
from verdigris.judge.tallies import GROUPS_MAX, Tallies, tally
from verdigris.judge.telemetry_trust import Trust, counting
from verdigris.judge.verdict import Cause, Finding, Missing, Outcome, Signal
from verdigris.judge.windows import Edge, Operation, RoleWindow, Window, Windows
from verdigris.plan.objectives import Objectives

EVIDENCE_MAX = 20
"""So many signals are shown with their evidence, strongest first."""

INSTANCE_NAMES_MAX = 5
"""Names that are remembered for each group of a service's instances."""

DIGITS = 9
"""Significant digits in the canonical bytes: the last ones of a logarithm may differ between processors."""


class OutOfOrder(VerdigrisError):
    """A window does not come after the last one. Safe: nothing was counted; look at each window once, in order of time."""


@dataclass(frozen=True, slots=True)
class SignalEvidence:
    """How far one question is answered: `log_e` of `threshold` nats is a finding."""

    signal: Signal
    operation: Operation | None
    edge: Edge | None
    log_e: float
    threshold: float
    candidate_requests: int


@dataclass(frozen=True, slots=True)
class LiveJudgement:
    """What all windows so far mean. `windows`: looks, also at silent ones; traces of each role since the first look."""

    verdict: Outcome
    summary: str
    findings: tuple[Finding, ...]
    causes: tuple[Cause, ...]
    missing: tuple[Missing, ...]
    evidence: tuple[SignalEvidence, ...]
    windows: int
    baseline_traces: int
    candidate_traces: int
    notes: tuple[str, ...]

    def canonical_bytes(self) -> bytes:
        """JSON with sorted keys and no white space; numbers to nine significant digits."""
        return json.dumps(_rounded(asdict(self)), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class LiveState:
    """Everything that was seen, in a size that does not grow with it. Opaque: read it with `judgement`.

    `owners`: groups of the first instances of each service, one each while there are groups left. `totals`, shape (4, streams):
    requests and bad ones of baseline and candidate.
    """

    reference: Reference
    objectives: Objectives
    streams: LiveStreams
    asking: LiveStreams
    """Whose questions a PASS must answer: the same, until a step begins with a newer reference."""
    needed: Array
    faults: LiveBanks
    health: LiveBanks
    trust: Trust = field(default_factory=Trust)
    merged: Merged = field(default_factory=Merged)
    owners: Mapping[tuple[str, str], int] = field(default_factory=dict)
    names: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    totals: Array = field(default_factory=lambda: np.zeros((4, 0)))
    since_step: Array = field(default_factory=lambda: np.zeros((4, 0)))
    windows: int = 0
    last_start_unix_s: int | None = None


def open_judge(reference: Reference, objectives: Objectives) -> LiveState:
    """Before the first window."""
    streams = streams_for(reference, objectives)
    faults = [streams.streams[i] for i in streams.faults]
    needed = math.log(1 / objectives.defaults.alpha) - np.log([s.weight for s in faults])
    return LiveState(
        reference, objectives, streams, streams, needed,
        open_banks_for(faults, reference.window_s, needed), open_banks_for(streams.questions, reference.window_s, None),
        totals=np.zeros((4, len(streams.streams))), since_step=np.zeros((4, len(streams.questions))),
    )  # fmt: skip


def look(state: LiveState, window: Window, proxied: Proxied | None) -> LiveState:
    """The state after one window more, also a silent one. `proxied`: what the proxy sent in it; None where it was not counted.

    Raises: OutOfOrder: the window does not begin after the last one.
    """
    if state.last_start_unix_s is not None and window.start_unix_s <= state.last_start_unix_s:
        msg = f"the window at {window.start_unix_s} does not come after the one at {state.last_start_unix_s}"
        raise OutOfOrder(msg)
    owners, names = _grouped(state, window)

    def group_of(service: str, instance: str) -> int:
        return owners.get((service, instance), _hashed(instance))

    trust, untraced = counting(state.trust, window, proxied, state.reference.traced_share)
    counts = state.streams.count(window, group_of)
    at = state.streams.untraced
    counts.base_n[at], counts.base_k[at] = untraced.base_n, untraced.base_k
    counts.cand_n[at, 0], counts.cand_k[at, 0] = untraced.cand_n, untraced.cand_k
    if state.streams.streams[at].swapped:
        counts.base_k[at], counts.cand_k[at, 0] = untraced.base_n - untraced.base_k, untraced.cand_n - untraced.cand_k
    known = Known(state.streams.knows, state.streams.knows_call, lambda service, instance: str(group_of(service, instance)))
    asked = of_questions(state.asking, counts if state.asking is state.streams else state.asking.count(window, group_of))
    cand_n, cand_k = counts.cand_n.sum(axis=1), counts.cand_k.sum(axis=1)
    return replace(
        state,
        faults=advance_live(state.faults, *_rows(counts, state.streams.faults)),
        health=advance_live(state.health, *asked),
        trust=trust,
        merged=with_window(state.merged, window, known),
        owners=owners,
        names=names,
        totals=state.totals + np.stack([counts.base_n, counts.base_k, cand_n, cand_k]),
        since_step=state.since_step + np.stack([asked[0], asked[1], asked[2].sum(axis=1), asked[3].sum(axis=1)]),
        windows=state.windows + 1,
        last_start_unix_s=window.start_unix_s,
    )


def begin_step(state: LiveState, reference: Reference | None = None) -> LiveState:
    """Ask anew for the evidence of a PASS. Faults are not forgotten.

    `reference`: the baseline as it is now, learned from earlier windows. A PASS is asked by thresholds; those of a slower hour are hardly
    ever reached, and then neither role shows anything. Operations and calls that it lacks are asked as before.
    """
    asking = state.streams if reference is None else streams_for(_with_the_rest(reference, state.reference), state.objectives)
    fresh = open_banks_for(asking.questions, state.reference.window_s, None)
    return replace(state, asking=asking, health=fresh, since_step=np.zeros((4, len(asking.questions))))


def reanchored(state: LiveState, reference: Reference) -> LiveState:
    """Ask for a PASS by the baseline as it is now, and keep what was shown already.

    Each window's evidence holds for the thresholds that were fixed before it, so evidence by several thresholds multiplies.
    """
    fresh = begin_step(state, reference)
    before = {_question(s): i for i, s in enumerate(state.asking.questions)}
    pairs = [(i, before[key]) for i, s in enumerate(fresh.asking.questions) if (key := _question(s)) in before]
    if not pairs:
        return fresh
    new, old = (np.array(column, np.int_) for column in zip(*pairs, strict=True))
    since_step = fresh.since_step.copy()
    since_step[:, new] = state.since_step[:, old]
    return replace(fresh, health=with_wealth_of(fresh.health, new, state.health, old), since_step=since_step)


def _question(stream: LiveStream) -> tuple[object, ...]:
    return stream.operation, stream.edge, stream.signal, stream.quantile


def _with_the_rest(newer: Reference, older: Reference) -> Reference:
    """The newer reference with what only the older one knows."""
    operations, edges = {o.operation for o in newer.operations}, {e.edge for e in newer.edges}
    return replace(
        newer,
        operations=(*newer.operations, *(o for o in older.operations if o.operation not in operations)),
        edges=(*newer.edges, *(e for e in older.edges if e.edge not in edges)),
    )


def judgement(state: LiveState) -> LiveJudgement:
    """What all windows so far mean. FAIL beats BLIND beats NOT_ENOUGH_DATA beats PASS."""
    seen = _seen(state)
    verdicts = found_in(seen)
    missing = () if verdicts.findings else _missing(state)
    base, cand = (traces.traces for traces in state.merged.traces())
    outcome = verdicts.outcome or (Outcome.NOT_ENOUGH_DATA if missing else Outcome.PASS)
    return LiveJudgement(
        outcome,
        _summary(state, verdicts, outcome, missing, cand),
        verdicts.findings,
        verdicts.causes,
        missing,
        _evidence(seen),
        state.windows,
        base,
        cand,
        _notes(state),
    )


def open_banks_for(streams: Sequence[LiveStream], window_s: float, needed: Array | None, groups: int = GROUPS_MAX) -> LiveBanks:
    """The banks of these streams. `needed`: nats at which each is a finding; None for those of a PASS. `groups`: left out in turn."""
    return open_live_banks(
        np.array([s.tolerance.ratio for s in streams]), np.array([s.tolerance.difference for s in streams]),
        np.array([s.rho for s in streams]), np.array([s.prior_rate for s in streams]), np.array([s.prior_trials for s in streams]),
        np.array([s.swapped for s in streams], bool), window_s, needed=needed, groups=groups,
    )  # fmt: skip


def of_questions(streams: LiveStreams, counts: Counts) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Counts of the questions of a PASS, in `advance_live`'s order; those of quiet operations added up."""
    size, of = len(streams.questions), streams.question_of

    def summed(x: Array) -> Array:
        return np.asarray(np.bincount(of, x[streams.health], minlength=size), float)

    def most(x: Array) -> Array:
        found = np.ones(size)
        np.maximum.at(found, of, x[streams.health])
        return found

    def grouped(x: Array) -> Array:
        found = np.zeros((size, GROUPS_MAX))
        found[:, 0] = summed(x.sum(axis=1))
        return found

    return (
        summed(counts.base_n), summed(counts.base_k), grouped(counts.cand_n), grouped(counts.cand_k), most(counts.base_instances),
        most(counts.cand_instances),
    )  # fmt: skip


def _rows(counts: Counts, rows: Any) -> tuple[Array, Array, Array, Array, Array, Array]:
    return (
        counts.base_n[rows], counts.base_k[rows], counts.cand_n[rows], counts.cand_k[rows], counts.base_instances[rows],
        counts.cand_instances[rows],
    )  # fmt: skip


def _hashed(instance: str) -> int:
    """A group by name alone, the same wherever and whenever it is seen."""
    return crc32(instance.encode()) % GROUPS_MAX


def _grouped(state: LiveState, window: Window) -> tuple[Mapping[tuple[str, str], int], Mapping[tuple[str, int], tuple[str, ...]]]:
    """Groups and their names after this window. The first five instances of a service get a group each: the one their name
    hashes to, or the next that is free. Later ones share: by their hash.
    """
    owners, names = dict(state.owners), dict(state.names)
    new = sorted({(o.operation.service, o.instance) for o in window.candidate.operations} - owners.keys())
    for service, instance in new:
        group = _hashed(instance)
        free = [g for g in ((group + i) % GROUPS_MAX for i in range(GROUPS_MAX)) if (service, g) not in names]
        if free:
            group = free[0]
            owners[service, instance] = group
        have = names.get((service, group), ())
        if instance not in have and len(have) < INSTANCE_NAMES_MAX:
            names[service, group] = (*have, instance)
    return owners, names


def _seen(state: LiveState) -> Seen:
    log_e, whole, suspect = decided(state.faults)
    faults = [state.streams.streams[i] for i in state.streams.faults]
    weights = np.array([s.weight for s in faults])
    # Those apart are found by themselves or not at all: together with them, the strongest of the others would be named.
    compared = np.array([s.signal not in APART for s in faults])
    return Seen(
        streams=state.streams,
        faults=tuple(faults),
        needed=state.needed,
        log_e=log_e,
        whole=whole,
        suspect=suspect,
        phi=state.faults.phi,
        together=combine(steady(state.faults)[compared], weights[compared]),
        threshold=math.log(1 / state.objectives.defaults.alpha),
        merged=state.merged,
        names=state.names,
        trust=state.trust,
        totals=state.totals[:, state.streams.faults],
        traced_share=state.reference.traced_share,
    )


def _missing(state: LiveState) -> tuple[Missing, ...]:
    """Questions that a PASS must answer and that have no answer yet."""
    if not state.asking.questions:
        return (Missing(REST, Signal.LATENCY, 0, 1),)
    enough = math.log(1 / state.objectives.defaults.beta)
    open_ = np.flatnonzero(state.health.log_wealth < enough)
    asked = [state.asking.questions[i] for i in open_]
    base_n, base_k, have, _ = state.since_step[:, open_]
    r, d = np.array([s.tolerance.ratio for s in asked]), np.array([s.tolerance.difference for s in asked])
    needs = needs_of(base_n, base_k, have, np.array([s.expected_rate for s in asked]), r, d, state.health.phi[open_], enough)
    return tuple(
        Missing(s.operation, s.signal, round(float(n)), need)
        for s, n, need in zip(asked, have, needs, strict=True)
        if s.operation is not None
    )


def _evidence(seen: Seen) -> tuple[SignalEvidence, ...]:
    """The strongest signals, one per signal, operation and edge."""
    shown: dict[tuple[object, ...], SignalEvidence] = {}
    for i in np.argsort(seen.needed - seen.log_e, kind="stable"):
        stream = seen.faults[i]
        key = (stream.signal, stream.operation, stream.edge)
        if key not in shown and seen.totals[2, i] > 0:
            shown[key] = SignalEvidence(
                stream.signal, stream.operation, stream.edge, float(seen.log_e[i]), float(seen.needed[i]), round(float(seen.totals[2, i]))
            )
            if len(shown) == EVIDENCE_MAX:
                break
    return tuple(shown.values())


def _summary(state: LiveState, verdicts: Verdicts, outcome: Outcome, missing: tuple[Missing, ...], candidate_traces: int) -> str:
    if outcome is Outcome.NOT_ENOUGH_DATA and not verdicts.findings and not candidate_traces:
        return "No trace of the candidate has come yet." if state.windows else "Nothing has been looked at yet."
    return summary_sentence(outcome, verdicts.findings, verdicts.causes, missing)


def _notes(state: LiveState) -> tuple[str, ...]:
    notes = []
    candidate = sorted({o for s in _sums(state) for o, _ in s.candidate.operations if not state.streams.knows(o)})
    if candidate:
        more = f" and {len(candidate) - 5} more" if len(candidate) > 5 else ""  # noqa: PLR2004  # as many as one reads
        named = ", ".join(str(o) for o in candidate[:5])
        judged = "only their failures and what they leak are judged"
        notes.append(f"The candidate shows operations that the reference does not know; {judged}: {named}{more}.")
    if any(o.masked for s in _sums(state) for o in s.baseline.operations.values()):
        notes += shared_leaks(_leaking(state))
    groups: dict[str, int] = {}
    for service, _ in state.names:
        groups[service] = groups.get(service, 0) + 1
    if groups and max(groups.values()) < 3:  # noqa: PLR2004  # of two, which one is bad?
        notes.append("The candidate has fewer than three instances of its services: one bad instance is hard to tell from a bad candidate.")
    return tuple(notes)


def _leaking(state: LiveState) -> Tallies:
    """The operations that send something sensitive, over all windows."""
    window = state.merged.everything()

    def leaking(half: RoleWindow) -> RoleWindow:
        shown = {o.operation for o in half.operations if o.masked}
        return RoleWindow(operations=tuple(o for o in half.operations if o.operation in shown))

    return tally(Windows(1, (Window(0, leaking(window.baseline), leaking(window.candidate)),)))


def _sums(state: LiveState) -> tuple[Any, ...]:
    return state.merged.older, state.merged.block, state.merged.filling


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value
