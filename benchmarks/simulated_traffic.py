"""Simulated rollouts: small systems as the judge's `Windows`, and one operation's rollout as its `Tallies`, from a seed.

Two levels. `windows_of` plays whole requests through a tree of services, so that own time, durations, errors, stops and edges
belong together; it is for judgements and blame. `rollout` draws the counts of one operation window by window, with drift,
shocks shared by both roles and bursts on single instances; it is for error rates over many runs. Shared by the tests.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from verdigris.judge.live import open_banks_for
from verdigris.judge.live_banks import advance_live, decided, steady
from verdigris.judge.live_streams import LiveStream, streams_for
from verdigris.judge.reference import Reference, learn_tally
from verdigris.judge.tallies import GROUPS_MAX, EdgeTally, OperationTally, RoleTally, Tallies, TimeHistogram
from verdigris.judge.verdict import Signal
from verdigris.judge.windows import (
    BUCKETS_PER_OCTAVE,
    UNIT,
    Edge,
    EdgeCounts,
    Operation,
    OperationCounts,
    Role,
    RoleWindow,
    TraceCounts,
    Window,
    Windows,
    merge,
)
from verdigris.plan.objectives import Objectives
from verdigris.plan.policy import Policy

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

WINDOW_S = 10

# ---------------------------------------------------------------------------------------------------------------------------
# Whole requests through a tree of services
# ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Service:
    """A service, what its own work takes (median, log-normal), and what it calls, one after another."""

    name: str
    own_ms: float = 20.0
    sigma: float = 0.4
    calls: tuple["Service", ...] = ()
    gap_ms: float = 1.0
    """Median of what a call to it loses between the caller's span and its own."""
    called_share: float = 1.0
    error_share: float = 0.001

    def all(self) -> list["Service"]:
        """It and everything below it."""
        return [self, *(below for callee in self.calls for below in callee.all())]


@dataclass(frozen=True)
class Fault:
    """What is wrong with one service. Times are factors or additions to each request's own time."""

    own_factor: float = 1.0
    own_extra_ms: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    gap_extra_ms: float = 0.0
    errors: float = 0.0
    stops: float = 0.0
    """Share of its callers' requests that stop short right after calling it."""


HEALTHY = Fault()


def server(service: Service) -> Operation:
    """The operation of a service's server spans."""
    return Operation(service.name, "Server", f"/{service.name}")


def client(caller: Service, callee: Service) -> Operation:
    """The operation of a caller's client spans to a callee."""
    return Operation(caller.name, "Client", f"/{callee.name}")


def bucket_of(times_ns: Array) -> NDArray[np.int64]:
    """Histogram buckets: bucket i holds (2^(i/32), 2^((i+1)/32)] ns."""
    return np.asarray(np.ceil(np.log2(np.maximum(times_ns, 1.0)) * BUCKETS_PER_OCTAVE) - 1, dtype=np.int64)


@dataclass
class _Seen:
    """One operation in one window: a row per request."""

    active: Flags
    duration_ns: Array
    exclusive_ns: Array
    failed: Flags
    origin: Flags
    childless: Flags
    instance: NDArray[np.int64]


@dataclass
class _Calls:
    present: Flags
    last: Flags


@dataclass
class _Play:
    rng: np.random.Generator
    n: int
    faults: Mapping[str, Fault]
    instances: int
    scale: float
    bursting: frozenset[str]
    seen: dict[Operation, _Seen] = field(default_factory=dict)
    edges: dict[Edge, _Calls] = field(default_factory=dict)

    def times(self, median_ms: float, sigma: float) -> Array:
        return np.asarray(median_ms * 1e6 * self.scale * np.exp(sigma * self.rng.standard_normal(self.n)))

    def visit(self, service: Service, active: Flags) -> tuple[Array, Flags]:
        fault = self.faults.get(service.name, HEALTHY)
        instance = self.rng.integers(self.instances, size=self.n)
        own = self.times(service.own_ms, service.sigma) * fault.own_factor + fault.own_extra_ms * 1e6
        own = np.where(self.rng.random(self.n) < fault.slow_share, own * fault.slow_factor, own)
        sick = (instance == 0) & (service.name in self.bursting)
        own = np.where(sick, own * 4, own)
        duration, child_failed = own.copy(), np.zeros(self.n, bool)
        running, called_any = active.copy(), np.zeros(self.n, bool)
        made: list[tuple[Edge, Flags]] = []
        for callee in service.calls:
            below = self.faults.get(callee.name, HEALTHY)
            calling = running & (self.rng.random(self.n) < callee.called_share)
            taken, failed = self.visit(callee, calling)
            gap = self.times(callee.gap_ms, 0.3) + below.gap_extra_ms * 1e6
            outer = client(service, callee)
            self.seen[outer] = _Seen(calling, taken + gap, gap, failed, np.zeros(self.n, bool), ~calling, instance)
            self.edges[Edge(outer, server(callee))] = _Calls(calling, calling)
            made.append((Edge(server(service), outer), calling))
            duration += np.where(calling, taken + gap, 0.0)
            child_failed |= failed
            called_any |= calling
            running = running & ~(calling & (self.rng.random(self.n) < below.stops))
        later = np.zeros(self.n, bool)
        for edge, calling in reversed(made):
            self.edges[edge] = _Calls(calling, calling & ~later)
            later |= calling
        origin = active & ~child_failed & (self.rng.random(self.n) < service.error_share + fault.errors + np.where(sick, 0.2, 0.0))
        failed = active & (child_failed | origin)
        self.seen[server(service)] = _Seen(active, duration, own, failed, origin, active & ~called_any, instance)
        return duration, failed


def role_window(
    rng: np.random.Generator, root: Service, requests: int, faults: Mapping[str, Fault] | None = None, *, role: str = "b",
    instances: int = 3, scale: float = 1.0, bursting: frozenset[str] = frozenset(),
) -> RoleWindow:  # fmt: skip
    """One role's counts in one window.

    `scale` multiplies all times. The first instance of the services in `bursting` is four times as slow and fails a fifth of
    its requests.
    """
    play = _Play(rng, requests, faults or {}, instances, scale, bursting)
    trace_ns, _ = play.visit(root, np.ones(requests, bool))
    operations = [
        counts
        for operation, seen in sorted(play.seen.items(), key=lambda item: item[0])
        for counts in _operation_counts(operation, seen, trace_ns, role, instances)
    ]
    edges = [_edge_counts(edge, play.edges[edge]) for edge in sorted(play.edges)]
    names = {s.name for s in root.all()}
    traces = TraceCounts(
        traces=requests, spans=sum(o.spans for o in operations), roots=requests, services=dict.fromkeys(sorted(names), requests)
    )
    return RoleWindow(traces, tuple(operations), tuple(e for e in edges if e.present))


def _operation_counts(operation: Operation, seen: _Seen, trace_ns: Array, role: str, instances: int) -> Iterable[OperationCounts]:
    for i in range(instances):
        here = seen.active & (seen.instance == i)
        n = int(here.sum())
        if not n:
            continue
        failed = int(seen.failed[here].sum())
        yield OperationCounts(
            operation, f"{operation.service}-{role}{i}", n, n * UNIT, failed * UNIT, int(seen.origin[here].sum()) * UNIT,
            childless=int(seen.childless[here].sum()) * UNIT, error_kinds={"500": failed * UNIT} if failed else {},
            durations=_histogram(seen.duration_ns[here]), exclusives=_histogram(seen.exclusive_ns[here]),
            duration_ns=int(seen.duration_ns[here].sum()), exclusive_ns=int(seen.exclusive_ns[here].sum()),
            trace_ns=int(trace_ns[here].sum()),
        )  # fmt: skip


def _edge_counts(edge: Edge, calls: _Calls) -> EdgeCounts:
    present = int(calls.present.sum()) * UNIT
    return EdgeCounts(edge, present, int(calls.last.sum()) * UNIT, {1: present} if present else {})


def _histogram(times_ns: Array) -> dict[int, int]:
    buckets, counts = np.unique(bucket_of(times_ns), return_counts=True)
    return {int(b): int(c) * UNIT for b, c in zip(buckets, counts, strict=True)}


def windows_of(
    rng: np.random.Generator, root: Service, *, windows: int = 20, base_requests: int = 200, cand_requests: int = 200,
    faults: Mapping[str, Fault] | None = None, concurrent: bool = True, instances: int = 3, drift: float = 0.0, shift: float = 1.0,
    bursts: Mapping[str, Sequence[int]] | None = None,
) -> Windows:  # fmt: skip
    """A recording of both roles.

    Args:
        concurrent: side by side in the same windows; otherwise the candidate's follow the baseline's.
        drift: amplitude, in log time, of a slow wave that both roles ride on. shift: factor on the candidate's times.
        bursts: for a service, the windows in which the candidate's first instance of it is slow and fails.
    """
    start = 1_700_000_000
    made = []
    for t in range(windows):
        at = start + t * WINDOW_S
        base = role_window(rng, root, int(rng.poisson(base_requests)) + 1, instances=instances, scale=_wave(drift, t, windows))
        made.append(Windows(WINDOW_S, (Window(at, baseline=base),)))
    for t in range(windows):
        later = 0 if concurrent else windows + 1
        cand = role_window(
            rng, root, int(rng.poisson(cand_requests)) + 1, faults, role="c", instances=instances,
            scale=_wave(drift, t + later, windows) * shift,
            bursting=frozenset(name for name, when in (bursts or {}).items() if t in when),
        )  # fmt: skip
        made.append(Windows(WINDOW_S, (Window(start + (t + later) * WINDOW_S, candidate=cand),)))
    return merge(made)


def _wave(drift: float, t: int, windows: int) -> float:
    return math.exp(drift * math.sin(2.7 * t / windows))


# ---------------------------------------------------------------------------------------------------------------------------
# One operation's rollout, counts only
# ---------------------------------------------------------------------------------------------------------------------------

MEDIAN_MS, SIGMA = 100.0, 0.55
P99_MS = MEDIAN_MS * math.exp(2.326 * SIGMA)
ERROR_SHARE, REJECTED_SHARE, CALL_LOST_SHARE = 0.001, 0.002, 0.002
FIRST_BUCKET, LAST_BUCKET = (math.floor(BUCKETS_PER_OCTAVE * math.log2(ms * 1e6)) for ms in (8.0, 8_000.0))
EDGES_LOG2 = np.arange(FIRST_BUCKET, LAST_BUCKET + 2) / BUCKETS_PER_OCTAVE
OPERATION, CALLEE = Operation("shop", "Server", "/buy"), Operation("shop", "Client", "/pay")
EDGE = Edge(OPERATION, CALLEE)


@dataclass(frozen=True)
class Change:
    """What is different about the candidate."""

    name: str
    factor: float = 1.0
    slow_share: float = 0.0
    slow_ms: float = MEDIAN_MS
    errors: float = ERROR_SHARE
    refused: float | None = None
    """None: as the setting has it."""
    calls_lost: float = CALL_LOST_SHARE


UNCHANGED = Change("unchanged")
FAULTS = (
    Change("p99 +100 %", slow_share=0.02, slow_ms=2 * P99_MS),
    Change("p50 +20 %", factor=1.2),
    Change("5 % take a slow path", slow_share=0.05, slow_ms=10 * MEDIAN_MS),
    Change("errors .1 → 1 %", errors=0.01),
    Change("errors .1 → 5 %", errors=0.05),
    Change("half of a child call missing", calls_lost=0.5),
)


@dataclass(frozen=True)
class Setting:
    """How a rollout runs. Rates are requests per second of both roles together."""

    rate: float
    window_s: float = 10.0
    duration_s: float = 1800.0
    weights: tuple[float, ...] = (0.05, 0.10, 0.25, 0.50)
    step_s: float = 300.0
    base_instances: int = 6
    cand_instances: int = 3
    drift: bool = True
    shocks: bool = True
    burst_s: float = 10.0
    """Length of bursts on single instances; 0 for none."""
    burst_every_s: float = 1800.0
    """Mean time between the bursts of one instance."""
    refused: float = 0.0
    """Share of requests without credentials, which are refused."""
    before_s: float | None = None
    """How long the baseline alone is watched before; as long as the rollout if None."""

    @property
    def windows(self) -> int:
        """Windows of the rollout."""
        return round(self.duration_s / self.window_s)

    @property
    def windows_before(self) -> int:
        """Windows of the baseline alone."""
        return round((self.duration_s if self.before_s is None else self.before_s) / self.window_s)

    def shares(self) -> Array:
        """The candidate's share of traffic in each window."""
        starts = np.arange(self.windows) * self.window_s
        return np.asarray([self.weights[min(int(s // self.step_s), len(self.weights) - 1)] for s in starts])


@dataclass(frozen=True)
class Rollout:
    """One run: the baseline alone before, then both. Arrays have shape (groups, windows), times (groups, windows, buckets)."""

    setting: Setting
    before: OperationTally
    before_edge: EdgeTally
    base: OperationTally
    cand: OperationTally
    base_edge: EdgeTally
    cand_edge: EdgeTally

    @property
    def tallies(self) -> Tallies:
        """The windows of the rollout as the judge's tallies."""
        return Tallies(
            tuple(range(self.setting.windows)),
            RoleTally({OPERATION: self.base}, {EDGE: self.base_edge}, ()),
            RoleTally({OPERATION: self.cand}, {EDGE: self.cand_edge}, ()),
        )


def rollout(rng: np.random.Generator, setting: Setting, change: Change = UNCHANGED) -> Rollout:
    """Draw one run."""
    half = setting.windows_before
    t = half + setting.windows
    level = _level(rng, setting, t)
    shock = _spells(rng, t, setting.window_s, 60.0, 900.0) if setting.shocks else np.zeros(t)
    traffic = setting.rate * setting.window_s * np.exp(0.2 * np.sin(np.arange(t) * setting.window_s / 1100 + rng.uniform(0, 6)))
    share = np.concatenate([np.zeros(half), setting.shares()])
    base = _draw(rng, setting, UNCHANGED, traffic * (1 - share), level, shock, setting.base_instances)
    cand = _draw(rng, setting, change, (traffic * share)[half:], level[half:], shock[half:], setting.cand_instances)
    return Rollout(
        setting, _part(base[0], slice(None, half)), _edge(base[1][:half]), _part(base[0], slice(half, None)), cand[0],
        _edge(base[1][half:]), _edge(cand[1]),
    )  # fmt: skip


def _level(rng: np.random.Generator, setting: Setting, windows: int) -> Array:
    """Log of the factor on both roles' times: a slow wave and noise that fades over minutes."""
    if not setting.drift:
        return np.zeros(windows)
    keep = 0.5 ** (setting.window_s / 120.0)
    noise, now = np.zeros(windows), 0.0
    for t, step in enumerate(rng.standard_normal(windows)):
        now = keep * now + math.sqrt(1 - keep**2) * 0.06 * step
        noise[t] = now
    return np.asarray(0.2 * np.sin(np.arange(windows) * setting.window_s / 900 + rng.uniform(0, 6)) + noise)


def _spells(rng: np.random.Generator, windows: int, window_s: float, length_s: float, every_s: float) -> Array:
    """The part of each window that lies in a spell; spells begin as a Poisson process."""
    starts = rng.uniform(-length_s, windows * window_s, rng.poisson((windows * window_s + length_s) / every_s))
    edges = np.arange(windows + 1) * window_s
    covered = np.zeros(windows)
    for s in starts:
        covered += np.clip(np.minimum(edges[1:], s + length_s) - np.maximum(edges[:-1], s), 0, None)
    return np.asarray(np.minimum(covered / window_s, 1.0))


def _draw(
    rng: np.random.Generator, setting: Setting, change: Change, traffic: Array, level: Array, shock: Array, instances: int
) -> tuple[OperationTally, Array]:
    """One role: its tally and its requests that make the call, by window."""
    windows = traffic.size
    if setting.burst_s > 0:
        burst = np.stack([_spells(rng, windows, setting.window_s, setting.burst_s, setting.burst_every_s) for _ in range(instances)])
    else:
        burst = np.zeros((instances, windows))
    scale = level + math.log(change.factor) + 0.3 * shock
    counts = np.empty((instances, windows, EDGES_LOG2.size - 1))
    for g in range(instances):
        well, slow = (_bucket_shares(scale + extra, change) for extra in (0.0, math.log(3.0)))
        mixed = well + burst[g][:, None] * (slow - well)
        counts[g] = rng.poisson(mixed * (traffic / instances)[:, None])
    n = counts.sum(axis=2)
    errors = rng.binomial(n.astype(np.int64), np.minimum(change.errors + 0.02 * shock + 0.1 * burst, 1.0)).astype(float)
    rejected = rng.binomial(n.astype(np.int64), REJECTED_SHARE).astype(float)
    present = rng.binomial(n.sum(axis=0).astype(np.int64), 1 - change.calls_lost).astype(float)
    none = np.zeros_like(n)
    share = setting.refused if change.refused is None else change.refused
    refused = rng.binomial(n.astype(np.int64), share).astype(float) if share else none
    times = TimeHistogram(FIRST_BUCKET, counts)
    trace_ms = float(MEDIAN_MS * math.exp(SIGMA**2 / 2))
    tally = OperationTally(
        groups=tuple(str(i) for i in range(instances)), requests=n, errors=errors, error_origins=errors, refused=refused, rejected=rejected,
        orphans=none, childless=none, durations=times, exclusives=times, error_kinds={"500": errors}, masked={}, duration_ms=trace_ms,
        exclusive_ms=trace_ms, trace_ms=trace_ms, spans=int(n.sum()), peers={},
    )  # fmt: skip
    return tally, present


_GRID = np.linspace(-8.0, 8.0, 4001)
_NORMAL = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in _GRID])


def _bucket_shares(log_scale: Array, change: Change) -> Array:
    """Chance of each bucket in each window, shape (windows, buckets); the ends take the tails."""
    log_edges = EDGES_LOG2 * math.log(2) - math.log(1e6)

    def below(median_ms: float) -> Array:
        z = (log_edges[None, :] - math.log(median_ms) - log_scale[:, None]) / SIGMA
        return np.asarray(np.interp(z, _GRID, _NORMAL, left=0.0, right=1.0))

    cdf = (1 - change.slow_share) * below(MEDIAN_MS)
    if change.slow_share:
        cdf = cdf + change.slow_share * below(change.slow_ms)
    cdf[:, 0], cdf[:, -1] = 0.0, 1.0
    return np.asarray(np.diff(cdf, axis=1))


def _edge(present: Array) -> EdgeTally:
    calls = np.zeros((present.size, 3))
    calls[:, 1] = present
    return EdgeTally(present, present, calls)


def _part(tally: OperationTally, windows: slice) -> OperationTally:
    cut = {name: getattr(tally, name)[:, windows] for name in (
        "requests", "errors", "error_origins", "refused", "rejected", "orphans", "childless",
    )}  # fmt: skip
    times = TimeHistogram(tally.durations.first, tally.durations.counts[:, windows])
    return replace(tally, durations=times, exclusives=times, error_kinds={"500": cut["errors"]}, **cut)


def live_reference(run: Rollout, policy: Policy) -> Reference:
    """What the live judge learns from the time before the rollout."""
    traces = tuple(TraceCounts(traces=round(float(n)), roots=round(float(n))) for n in run.before.requests.sum(axis=0))
    role = RoleTally({OPERATION: run.before}, {EDGE: run.before_edge}, traces)
    return learn_tally(role, round(run.setting.window_s), {OPERATION.service: run.setting.base_instances}, Objectives(policy), 1.0)


@dataclass(frozen=True)
class LiveCounts:
    """The counts of all streams over all windows, as `LiveStreams.count` finds them window by window.

    Shapes: baseline (streams, windows), candidate (streams, groups, windows); an instance is a group.
    """

    base_n: Array
    base_k: Array
    cand_n: Array
    cand_k: Array


def live_counts(run: Rollout, streams: Sequence[LiveStream]) -> LiveCounts:
    """Count everything at once: thousands of windows would take the judge's own way seconds."""
    windows = run.setting.windows
    counted = LiveCounts(
        *(np.zeros((len(streams), *shape)) for shape in ((windows,), (windows,), (GROUPS_MAX, windows), (GROUPS_MAX, windows)))
    )
    groups = run.cand.requests.shape[0]
    for i, stream in enumerate(streams):
        if stream.signal is Signal.UNTRACED:
            continue
        base_n, cand_n = run.base.requests.sum(axis=0), run.cand.requests
        base_k, cand_k = _live_bad(run, stream)
        if cand_k.shape[0] == 1:
            cand_n = cand_n.sum(axis=0, keepdims=True)
        counted.base_n[i], counted.base_k[i] = base_n, base_k
        counted.cand_n[i, : min(groups, cand_n.shape[0])], counted.cand_k[i, : min(groups, cand_k.shape[0])] = cand_n, cand_k
    return counted


_FIELDS = {
    Signal.ERRORS: "errors", Signal.REFUSED_MORE: "refused", Signal.REFUSED_LESS: "refused", Signal.REJECTED: "rejected",
    Signal.ORPHANS: "orphans",
}  # fmt: skip


def _live_bad(run: Rollout, stream: LiveStream) -> tuple[Array, Array]:
    if stream.quantile is not None:
        return run.base.durations.above(stream.bucket).sum(axis=0), run.cand.durations.above(stream.allowed)
    if stream.signal in _FIELDS:
        field_ = _FIELDS[stream.signal]
        return getattr(run.base, field_).sum(axis=0), getattr(run.cand, field_)
    base_n, cand_n = run.base.requests.sum(axis=0), run.cand.requests.sum(axis=0)
    if stream.signal is Signal.CALL_MISSING:
        return base_n - run.base_edge.present, (cand_n - run.cand_edge.present)[None, :]
    if stream.signal is Signal.OPERATION_MISSING:
        return base_n, cand_n[None, :]
    if stream.signal in {Signal.NEW_ERROR_KIND, Signal.LEAK}:
        return np.zeros_like(base_n), np.zeros_like(run.cand.requests)
    return np.zeros_like(base_n), np.zeros_like(cand_n)[None, :]


def live_windows(run: Rollout) -> Windows:
    """The same rollout as windows, for the judge's own way."""
    made = []
    for t in range(run.setting.windows):
        halves = [
            _live_half(tally, edge, t, prefix) for tally, edge, prefix in ((run.base, run.base_edge, "b"), (run.cand, run.cand_edge, "c"))
        ]
        made.append(Window(round(t * run.setting.window_s), *halves))
    return Windows(round(run.setting.window_s), tuple(made))


def _live_half(tally: OperationTally, edge: EdgeTally, t: int, prefix: str) -> RoleWindow:
    operations = []
    for g in range(tally.requests.shape[0]):
        n, errors, refused, rejected = (
            round(float(counts[g, t])) for counts in (tally.requests, tally.errors, tally.refused, tally.rejected)
        )
        if not n:
            continue
        row = tally.durations.counts[g, t]
        times = {tally.durations.first + int(b): round(float(row[b])) * UNIT for b in np.flatnonzero(row)}
        operations.append(
            OperationCounts(
                OPERATION, f"{prefix}{g}", n, n * UNIT, errors * UNIT, refused=refused * UNIT, rejected=rejected * UNIT,
                error_kinds={"500": errors * UNIT} if errors else {}, durations=times, exclusives=times,
                trace_ns=round(tally.trace_ms * 1e6) * n,
            )
        )  # fmt: skip
    present, n = round(float(edge.present[t])) * UNIT, round(float(tally.requests[:, t].sum()))
    edges = (EdgeCounts(EDGE, present, present, {1: present}),) if present else ()
    return RoleWindow(TraceCounts(traces=n, spans=n, roots=n), tuple(operations), edges)


@dataclass(frozen=True)
class Decision:
    """When a rule returned the candidate: window (0 is the first) or None for never, and how strong evidence ever was."""

    window: int | None
    peak: float = -math.inf
    instance: bool = False
    """Some stream had enough evidence with all instances, and never without one of them."""


def decide_live(runs: Sequence[Rollout], policy: Policy, weight: float = 1.0, *, tempered: bool = True) -> list[Decision]:
    """The live judge's decision for each run, looked at after every window.

    A run ends when a stream reaches log(1/(alpha·w)) or all together reach log(1/alpha). `weight` is the operation's share of
    alpha where it is one of many. `tempered`: divided by the dispersion between instances, as the judge does.
    """
    asked = [streams_for(live_reference(run, policy), Objectives(policy)) for run in runs]
    faults = [tuple(s.streams[i] for i in s.faults) for s in asked]
    counted = [live_counts(run, streams) for run, streams in zip(runs, faults, strict=True)]
    whole = live_trail(runs, faults, counted, policy, weight, tempered=tempered, groups=0)
    # Leaving an instance out only lowers what decides: runs that never crossed with all of them need no second look.
    near = [i for i, trail in enumerate(whole) if trail.crossed(policy, faults[i], weight).size]
    some = ([runs[i] for i in near], [faults[i] for i in near], [counted[i] for i in near])
    least = dict(zip(near, live_trail(*some, policy, weight, tempered=tempered, groups=GROUPS_MAX), strict=True)) if near else {}
    made = []
    for i, trail in enumerate(whole):
        decided = least.get(i, trail)
        crossed = decided.crossed(policy, faults[i], weight)
        made.append(Decision(int(crossed[0]) if crossed.size else None, decided.peak(faults[i], weight), i in least and not crossed.size))
    return made


@dataclass(frozen=True)
class LiveTrail:
    """What decides after each window about each stream, and about all together; shape (windows, streams)."""

    log_e: Array
    steady: Array

    def crossed(self, policy: Policy, streams: Sequence[LiveStream], weight: float) -> NDArray[np.int_]:
        """The windows after which the candidate is returned."""
        weights = np.array([s.weight for s in streams]) * weight
        needed = math.log(1 / policy.alpha) - np.log(weights)
        return np.flatnonzero((self.log_e >= needed).any(axis=1) | (self._together(weights) >= math.log(1 / policy.alpha)))

    def peak(self, streams: Sequence[LiveStream], weight: float) -> float:
        """The strongest that all streams together ever were."""
        return float(self._together(np.array([s.weight for s in streams]) * weight).max())

    def _together(self, weights: Array) -> Array:
        top = np.maximum(self.steady.max(axis=1), 0.0)
        return np.asarray(top + np.log((1 - weights.sum()) * np.exp(-top) + (weights * np.exp(self.steady - top[:, None])).sum(axis=1)))


def live_trail(
    runs: Sequence[Rollout], faults: Sequence[tuple[LiveStream, ...]], counted: Sequence[LiveCounts], policy: Policy, weight: float, *,
    tempered: bool, groups: int,
) -> list[LiveTrail]:  # fmt: skip
    """All runs advanced as one; runs with the same setting have the same windows."""
    together = [s for streams in faults for s in streams]
    if not tempered:
        together = [replace(s, rho=0.0) for s in together]
    needed = math.log(1 / policy.alpha) - np.log(np.array([s.weight for s in together]) * weight)
    banks = open_banks_for(together, runs[0].setting.window_s, needed, groups=groups)
    base_n, base_k, cand_n, cand_k = (
        np.concatenate([getattr(c, name) for c in counted]) for name in ("base_n", "base_k", "cand_n", "cand_k")
    )
    structural = np.array([s.edge is not None or s.signal in {Signal.CALL_EXTRA, Signal.OPERATION_MISSING} for s in together])
    b_instances = np.where(structural, 1.0, float(runs[0].setting.base_instances))
    c_instances = np.where(structural, 1.0, float(runs[0].setting.cand_instances))
    trail, held = np.empty((base_n.shape[1], len(together))), np.empty((base_n.shape[1], len(together)))
    for t in range(base_n.shape[1]):
        banks = advance_live(banks, base_n[:, t], base_k[:, t], cand_n[:, :, t], cand_k[:, :, t], b_instances, c_instances)
        trail[t], held[t] = decided(banks)[0], steady(banks)
    ends = np.cumsum([0, *(len(streams) for streams in faults)])
    return [LiveTrail(trail[:, start:end], held[:, start:end]) for start, end in pairwise(ends)]


def most_by_chance(runs: int, level: float, unlikely: float = 1e-4) -> int:
    """The most alarms among so many runs that a method of this level gives, but for a chance of `unlikely`."""
    tail, k = 1.0, -1
    while tail > unlikely:
        k += 1
        tail -= math.comb(runs, k) * level**k * (1 - level) ** (runs - k)
    return k


def relabelled(windows: Windows, names: Mapping[str, str]) -> Windows:
    """The same counts with services renamed, rows in ascending order again."""

    def op(o: Operation) -> Operation:
        return Operation(names[o.service], o.kind, "/" + names[o.name[1:]])

    def half(r: RoleWindow) -> RoleWindow:
        operations = sorted((replace(o, operation=op(o.operation)) for o in r.operations), key=lambda o: (o.operation, o.instance))
        edges = sorted((replace(e, edge=Edge(op(e.edge.caller), op(e.edge.callee))) for e in r.edges), key=lambda e: e.edge)
        services = {names[s]: n for s, n in r.traces.services.items()}
        return RoleWindow(replace(r.traces, services=services), tuple(operations), tuple(edges))

    return Windows(windows.window_s, tuple(Window(w.start_unix_s, half(w.baseline), half(w.candidate)) for w in windows.windows))


def exchanged(windows: Windows) -> Windows:
    """The same recording with the roles exchanged."""
    return Windows(windows.window_s, tuple(Window(w.start_unix_s, w.of(Role.CANDIDATE), w.of(Role.BASELINE)) for w in windows.windows))
