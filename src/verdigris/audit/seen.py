"""What the looks of a rollout show over time: requests, failures and times of both roles. Counts what is there; judges nothing. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from verdigris.judge.windows import BUCKETS_PER_OCTAVE, UNIT, Operation, Role, RoleWindow
from verdigris.rollout.evidence import Look

POINTS_MAX = 120
"""More points than this are not told apart on paper; neighbouring windows are counted together."""

OPERATIONS_MAX = 3
SAMPLE_WINDOWS = 10
"""So many of the last windows say which operation is the busiest."""

NANO_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Amount:
    """One operation of one role over some windows. Times are None where it was not called."""

    requests: float = 0.0
    failed: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None

    @property
    def failed_share(self) -> float | None:
        """In [0, 1]; None where there was no request."""
        return self.failed / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class Pair:
    """The same of both roles."""

    baseline: Amount
    candidate: Amount


@dataclass(frozen=True, slots=True)
class Span:
    """Some neighbouring windows of one step. `traced` and `proxied`: requests of baseline and candidate; `proxied` is None where the
    proxy's counters do not cover all of them. `operations`: in the order of `Seen.operations`.
    """

    start_unix_s: int
    end_unix_s: int
    step: int
    windows: int
    traced: tuple[int, int]
    proxied: tuple[int, int] | None
    operations: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen: over time, and by step. Empty where every look was erased."""

    window_s: int = 0
    windows: int = 0
    operations: tuple[Operation, ...] = ()
    points: tuple[Span, ...] = ()
    steps: tuple[Span, ...] = ()


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    failed: int = 0
    durations: dict[int, int] = field(default_factory=dict)

    def amount(self) -> Amount:
        return Amount(self.requests / UNIT, self.failed / UNIT, _quantile_ms(self.durations, 0.5), _quantile_ms(self.durations, 0.95))


@dataclass(slots=True)
class _Gathered:
    """Windows on their way into a `Span`."""

    operations: Sequence[Operation]
    start_unix_s: int
    end_unix_s: int
    step: int
    windows: int = 0
    traced: list[int] = field(default_factory=lambda: [0, 0])
    proxied: list[int] | None = field(default_factory=lambda: [0, 0])
    sums: dict[tuple[Operation, Role], _Sum] = field(default_factory=dict)

    def take(self, look: Look) -> None:
        self.windows += 1
        self.end_unix_s = look.window.start_unix_s + look.window_s
        for place, role in enumerate(Role):
            half = look.window.of(role)
            self.traced[place] += half.traces.traces
            self._count(role, half)
        if look.proxied is None or self.proxied is None:
            self.proxied = None
        else:
            self.proxied[0] += look.proxied.baseline
            self.proxied[1] += look.proxied.candidate

    def _count(self, role: Role, half: RoleWindow) -> None:
        for counts in half.operations:
            if counts.operation not in self.operations:
                continue
            found = self.sums.setdefault((counts.operation, role), _Sum())
            found.requests += counts.requests
            found.failed += counts.errors
            for bucket, units in counts.durations.items():
                found.durations[bucket] = found.durations.get(bucket, 0) + units

    def span(self) -> Span:
        pairs = (
            Pair(*(self.sums[operation, role].amount() if (operation, role) in self.sums else Amount() for role in Role))
            for operation in self.operations
        )
        proxied = None if self.proxied is None else (self.proxied[0], self.proxied[1])
        return Span(self.start_unix_s, self.end_unix_s, self.step, self.windows, (self.traced[0], self.traced[1]), proxied, tuple(pairs))


def seen(looks: Iterable[Look], found: Sequence[Operation]) -> Seen:
    """What the looks show, of the operations that findings name and of the busiest. A window that is there twice counts once."""
    ordered = [look for _, look in sorted({look.window.start_unix_s: look for look in looks}.items())]
    if not ordered:
        return Seen()
    operations = _chosen(ordered[-SAMPLE_WINDOWS:], found)
    together = -(-len(ordered) // POINTS_MAX)
    points: list[_Gathered] = []
    steps: dict[int, _Gathered] = {}
    for look in ordered:
        start = look.window.start_unix_s
        if not points or points[-1].windows >= together or points[-1].step != look.step or start != points[-1].end_unix_s:
            points.append(_Gathered(operations, start, start, look.step))
        points[-1].take(look)
        steps.setdefault(look.step, _Gathered(operations, start, start, look.step)).take(look)
    return Seen(
        ordered[-1].window_s, len(ordered), operations, tuple(one.span() for one in points),
        tuple(one.span() for _, one in sorted(steps.items())),
    )  # fmt: skip


def _chosen(looks: Sequence[Look], found: Sequence[Operation]) -> tuple[Operation, ...]:
    """What findings name first, then the busiest."""
    totals: dict[Operation, int] = {}
    for look in looks:
        for role in Role:
            for counts in look.window.of(role).operations:
                totals[counts.operation] = totals.get(counts.operation, 0) + counts.requests
    busiest = sorted(totals, key=lambda operation: (operation.kind.upper() != "SERVER", -totals[operation], operation))
    return tuple(dict.fromkeys([*found[: OPERATIONS_MAX - 1], *busiest[:1]]))


def _quantile_ms(histogram: Mapping[int, int], quantile: float) -> float | None:
    """The middle of the bucket that has it; buckets are 2.2 % wide."""
    total, below = sum(histogram.values()), 0
    for bucket, units in sorted(histogram.items()):
        below += units
        if below >= total * quantile:
            return float(2.0 ** ((bucket + 0.5) / BUCKETS_PER_OCTAVE)) / NANO_PER_MS
    return None
