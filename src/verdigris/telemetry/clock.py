"""The guard's clock: wall time that does not jump. Knows nothing of spans.

Windows are settled by it. The system's wall clock may be set by a person or a time service in the middle of a rollout; then
seconds would pass twice or never. This clock goes on evenly and says that the system's was stepped.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

STEP_MIN_S = 0.5
"""A difference to the system's clock from which it counts as stepped: time services slew smaller ones, and slewing moves both."""

STEPS_MAX = 100
"""So many steps are remembered; all are counted."""


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The system's clock was set: at what time by the old reckoning, and by how many seconds (negative: back)."""

    at_unix_s: float
    step_s: float


class GuardClock:
    """Wall time from one reading of the system's clock and the monotonic clock since. May be used from several threads."""

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic, step_min_s: float = STEP_MIN_S
    ) -> None:
        """Both clocks in seconds; `wall` since 1970."""
        self._wall, self._monotonic, self._step_min_s = wall, monotonic, step_min_s
        self._lock = threading.Lock()
        self._anchor_wall_s, self._anchor_s = wall(), monotonic()
        self._steps: list[ClockStep] = []
        self._count = 0

    def now_unix_s(self) -> float:
        """Seconds since 1970. Goes forward only, except when `check` finds that the system's clock was set back."""
        with self._lock:
            return self._now()

    def monotonic_s(self) -> float:
        """Seconds since some time; never set by anyone."""
        return self._monotonic()

    def check(self) -> ClockStep | None:
        """Compare with the system's clock; if that was stepped, follow it from now on and say so."""
        with self._lock:
            wall_s, now_s = self._wall(), self._now()
            if abs(wall_s - now_s) < self._step_min_s:
                return None
            step = ClockStep(now_s, wall_s - now_s)
            self._anchor_wall_s, self._anchor_s = wall_s, self._monotonic()
            self._count += 1
            self._steps = [*self._steps, step][-STEPS_MAX:]
            return step

    @property
    def steps(self) -> tuple[ClockStep, ...]:
        """The steps that were found, the latest `STEPS_MAX` of them."""
        with self._lock:
            return tuple(self._steps)

    @property
    def steps_count(self) -> int:
        """How many were found."""
        return self._count

    def _now(self) -> float:
        return self._anchor_wall_s + (self._monotonic() - self._anchor_s)
