"""The telemetry of running rollouts: settled windows, what came too late, and how well the guard sees. Knows nothing of verdicts.

A period is given out once it has *settled*: it ended `settle_s` ago by the guard's clock, long enough for its spans to have come.
What is given out is closed: a span that arrives for it afterwards is late, is counted, and changes nothing.
"""

import asyncio
import collections
import math
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verdigris.errors import VerdigrisError
from verdigris.judge.windows import Role, Windows, merge
from verdigris.plan.identity import Identity
from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.receiver.intake import Intake, StoreState
from verdigris.telemetry.resources import Mask, claimed
from verdigris.telemetry.store import WINDOW_S, LiveSpanStore, Period, Unassigned

NANO = 1_000_000_000
SETTLE_S = 10.0
HORIZON_BEYOND_SETTLING_S = 10
"""How much longer than the settling a trace may be and still be seen whole: a look reads so much around its period."""

LOOK_SPANS = 500_000
"""About so many spans are made into windows at once, unless one window has more: bounds the memory of a look at a long period."""

WATCHES_MAX = 32
"""Identities that can be watched at once; each costs some hundred microseconds per export."""

SKEW_SPAN_S = 60
"""Clock skew is measured over the spans of so many seconds."""


Starts = npt.NDArray[np.int64]
Ends = npt.NDArray[np.float64]
_Key = tuple[tuple[tuple[str, str], ...] | None, ...]


class TooManyWatches(VerdigrisError):
    """More identities are watched than the guard can count for. Safe: nothing changed. End a rollout first."""


@dataclass(frozen=True, slots=True)
class Settled:
    """All windows from where was asked up to `until_unix_s` (exclusive): closed, and complete but for late spans."""

    until_unix_s: int
    windows: Windows
    unassigned: Unassigned = field(default_factory=Unassigned)


@dataclass(frozen=True, slots=True)
class RoleHealth:
    """What the guard has had of one role. `clock_skew_s`: the least time from a span's end to its arrival of late; negative where the
    sender's clock is ahead of the guard's, large where it is behind or the spans are long under way.
    """

    spans: int = 0
    late_spans: int = 0
    last_span_age_s: float | None = None
    clock_skew_s: float | None = None


@dataclass(frozen=True, slots=True)
class TelemetryHealth:
    """How well the guard sees. Counts are since it began; `queue_fill` in [0, 1]."""

    accepted_spans: int
    acknowledged_exports: int
    refused_spans: Mapping[str, int]
    refused_exports: Mapping[str, int]
    refused_by_sender: Mapping[tuple[str, str], int]
    queue_fill: float
    store: StoreState
    store_message: str
    senders_authenticated: bool
    baseline: RoleHealth
    candidate: RoleHealth
    late_spans: int
    """Of either role or neither."""
    clock_steps: int
    notes: tuple[str, ...]

    def of(self, role: Role) -> RoleHealth:
        """One role's."""
        return self.baseline if role is Role.BASELINE else self.candidate


@dataclass(slots=True)
class _RoleCounts:
    spans: int = 0
    late: int = 0
    last_s: float | None = None
    skews: collections.deque[tuple[float, float]] = field(default_factory=collections.deque)
    """(monotonic second, least skew in it), oldest first."""


@dataclass(slots=True)
class _Watch:
    identity: Identity
    roles: dict[Role, _RoleCounts] = field(default_factory=lambda: {role: _RoleCounts() for role in Role})
    late_of_neither: int = 0
    from_ns: int | None = None
    until_ns: int | None = None
    """The period that was given out; None before the first look."""


class LiveTelemetry:
    """Windows of a store that spans keep coming into. Its methods belong to one event loop; `observe` to any thread."""

    def __init__(self, store: LiveSpanStore, clock: GuardClock, *, window_s: int = WINDOW_S, settle_s: float = SETTLE_S) -> None:
        """`window_s` and `settle_s` (seconds) are the defaults of a look."""
        self._store, self._clock, self._window_s, self._settle_s = store, clock, window_s, settle_s
        self._intake: Intake | None = None
        self._lock = threading.Lock()
        self._watches: dict[_Key, _Watch] = {}
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="windows")

    def fed_by(self, intake: Intake) -> None:
        """Whose counts `health` shows. The intake is made with this object's `observe`, so it comes later."""
        self._intake = intake

    def watch(self, identity: Identity) -> None:
        """Count spans, late spans and skew of this identity's roles from now on. Again is harmless. Raises: TooManyWatches."""
        with self._lock:
            if _key(identity) not in self._watches:
                if len(self._watches) >= WATCHES_MAX:
                    msg = f"{WATCHES_MAX} identities are watched already; end a rollout first"
                    raise TooManyWatches(msg)
                self._watches[_key(identity)] = _Watch(identity)

    def unwatch(self, identity: Identity) -> None:
        """Stop counting and forget the counts. Harmless if it is not watched."""
        with self._lock:
            self._watches.pop(_key(identity), None)

    def settled_until(self, *, window_s: int | None = None, settle_s: float | None = None) -> int:
        """Up to when (seconds since 1970, a multiple of the window) event time has settled."""
        length = window_s or self._window_s
        settling = self._settle_s if settle_s is None else settle_s
        return math.floor((self._clock.now_unix_s() - settling) / length) * length

    async def settled(
        self, identity: Identity, after_unix_s: int, *, window_s: int | None = None, settle_s: float | None = None
    ) -> Settled:
        """All windows that start at or after `after_unix_s` and have settled. Watches the identity.

        Ask with the `until_unix_s` of the last answer to get each window once. Windows without traces are absent. Works in a thread
        of its own, one look after the other; spans keep being taken meanwhile.

        Raises: StoreError: nothing was given out; ask again. TooManyWatches. ValueError: `after_unix_s` is no multiple of the window.
        """
        self._clock.check()
        length = window_s or self._window_s
        if after_unix_s % length:
            msg = f"windows of {length} s do not begin at {after_unix_s}"
            raise ValueError(msg)
        self.watch(identity)
        settling = self._settle_s if settle_s is None else settle_s
        until = self.settled_until(window_s=length, settle_s=settling)
        if until <= after_unix_s:
            return Settled(after_unix_s, Windows(length, ()))
        # Given out from here on, before it is read: what comes during the look may be missing in it, so it counts as late.
        period = Period(after_unix_s * NANO, until * NANO)
        given = self._give_out(identity, period)
        view = self._store.viewed(length, math.ceil(settling) + HORIZON_BEYOND_SETTLING_S)
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._looking, _make, view, period, identity, length)
        except BaseException:
            self._take_back(identity, given)
            raise
        windows, unassigned = made
        return Settled(until, windows, unassigned)

    def observe(self, batch: pa.RecordBatch, arrived_unix_s: float) -> None:
        """Count one durable export that arrived at this time: what the intake calls. Cheap where nobody watches."""
        with self._lock:
            watched = list(self._watches.values())
        if not watched or not batch.num_rows:
            return
        starts = batch.column("Timestamp").cast(pa.int64()).to_numpy(zero_copy_only=False)
        durations = batch.column("Duration").to_numpy(zero_copy_only=False)
        ends_s = starts / NANO + durations / NANO
        at_s = self._clock.monotonic_s()
        for watch in watched:
            identity = watch.identity
            matches = ((Role.BASELINE, identity.baseline), (Role.CANDIDATE, identity.candidate))
            masks = {role: claimed(batch, match) for role, match in matches if match}
            if len(masks) == len(Role):
                both = masks[Role.BASELINE] & masks[Role.CANDIDATE]
                if both.any():  # speaks for neither, as in the windows
                    masks = {role: mask & ~both for role, mask in masks.items()}
            with self._lock:
                _count(watch, masks, starts, ends_s, arrived_unix_s, at_s)

    def health(self, identity: Identity | None = None) -> TelemetryHealth:
        """How well the guard sees: of one identity's roles, or of all watched ones together."""
        self._clock.check()
        now_s = self._clock.monotonic_s()
        with self._lock:
            watches = [w for key, w in self._watches.items() if identity is None or key == _key(identity)]
            roles = {role: _role_health([w.roles[role] for w in watches], now_s) for role in Role}
            late = sum(w.late_of_neither + sum(r.late for r in w.roles.values()) for w in watches)
        intake = self._intake.health() if self._intake else None
        notes = []
        if intake and not intake.senders_authenticated:
            notes.append("senders are not authenticated: whoever reaches the receiver can send spans for either role")
        if intake and intake.store is not StoreState.OK:
            notes.append(f"spans are refused, the store is {intake.store.value}: {intake.store_message}")
        if self._clock.steps_count:
            notes.append(f"the guard's wall clock was set {self._clock.steps_count} times, last by {self._clock.steps[-1].step_s:+.1f} s")
        return TelemetryHealth(
            intake.accepted_spans if intake else 0,
            intake.acknowledged_exports if intake else 0,
            intake.refused_spans if intake else {},
            intake.refused_exports if intake else {},
            intake.refused_by_sender if intake else {},
            intake.queue_fill if intake else 0.0,
            intake.store if intake else StoreState.OK,
            intake.store_message if intake else "",
            intake.senders_authenticated if intake else False,
            roles[Role.BASELINE],
            roles[Role.CANDIDATE],
            late,
            self._clock.steps_count,
            tuple(notes),
        )

    def close(self) -> None:
        """Let the look that runs end, and take no other."""
        self._looking.shutdown(wait=True, cancel_futures=True)

    def _give_out(self, identity: Identity, period: Period) -> tuple[int | None, int | None]:
        with self._lock:
            watch = self._watches[_key(identity)]
            before = watch.from_ns, watch.until_ns
            watch.from_ns = period.start_unix_nano if watch.from_ns is None else min(watch.from_ns, period.start_unix_nano)
            watch.until_ns = period.end_unix_nano if watch.until_ns is None else max(watch.until_ns, period.end_unix_nano)
            return before

    def _take_back(self, identity: Identity, given: tuple[int | None, int | None]) -> None:
        with self._lock:
            if watch := self._watches.get(_key(identity)):
                watch.from_ns, watch.until_ns = given


def _key(identity: Identity) -> _Key:
    """Equal for equal identities; their patterns are maps, which have no hash."""
    return tuple(tuple(sorted(match.patterns.items())) if match else None for match in (identity.baseline, identity.candidate))


def _make(store: LiveSpanStore, period: Period, identity: Identity, window_s: int) -> tuple[Windows, Unassigned]:
    one_window = period.end_unix_nano - period.start_unix_nano == window_s * NANO
    chunks = [period] if one_window else store.chunks(LOOK_SPANS, period)
    made = [store.windows(chunk, identity) for chunk in chunks]
    unassigned = sum((left_out for _, left_out in made), Unassigned())
    return merge(windows for windows, _ in made) if made else Windows(window_s, ()), unassigned


def _count(watch: _Watch, masks: Mapping[Role, Mask], starts: Starts, ends_s: Ends, arrived_unix_s: float, at_s: float) -> None:
    late = None
    if watch.from_ns is not None and watch.until_ns is not None:
        late = (starts >= watch.from_ns) & (starts < watch.until_ns)
    late_of_roles = 0
    for role, mask in masks.items():
        spans = int(np.count_nonzero(mask))
        if not spans:
            continue
        counts = watch.roles[role]
        counts.spans += spans
        counts.last_s = at_s
        skew_s = arrived_unix_s - float(ends_s[mask].max())
        if counts.skews and counts.skews[-1][0] == math.floor(at_s):
            counts.skews[-1] = (counts.skews[-1][0], min(counts.skews[-1][1], skew_s))
        else:
            counts.skews.append((math.floor(at_s), skew_s))
        while counts.skews[0][0] < at_s - SKEW_SPAN_S:
            counts.skews.popleft()
        if late is not None:
            role_late = int(np.count_nonzero(mask & late))
            counts.late += role_late
            late_of_roles += role_late
    if late is not None:
        watch.late_of_neither += int(np.count_nonzero(late)) - late_of_roles


def _role_health(counts: list[_RoleCounts], now_s: float) -> RoleHealth:
    last = [c.last_s for c in counts if c.last_s is not None]
    skews = [skew for c in counts for at_s, skew in c.skews if at_s >= now_s - SKEW_SPAN_S - 1]
    return RoleHealth(
        sum(c.spans for c in counts),
        sum(c.late for c in counts),
        max(0.0, now_s - max(last)) if last else None,
        min(skews) if skews else None,
    )
