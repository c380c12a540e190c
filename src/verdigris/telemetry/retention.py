"""Forgets old spans: by age, and when they take too much space; never what a running rollout still needs."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.store import HORIZON_S, LiveSpanStore, StoreError

NANO = 1_000_000_000
SWEEP_EVERY_S = 30.0

KeepFrom = Callable[[], int | None]
"""The earliest event time (seconds since 1970) that running rollouts need; None if they need none."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionBounds:
    """How long spans are kept and how much disk they may take. What rollouts need is kept even beyond both."""

    age_s: float = 86_400.0
    size_bytes_max: int = 20 << 30


@dataclass(frozen=True, slots=True)
class Swept:
    """One sweep: spans forgotten, and bytes on disk afterwards. `over`: rollouts need more than `size_bytes_max`."""

    spans: int
    size_bytes: int
    over: bool


def sweep(store: LiveSpanStore, bounds: RetentionBounds, now_unix_s: float, keep_from_unix_s: int | None) -> Swept:
    """Forget what is too old, then the oldest until the rest is small enough. Raises: StoreError: try again later."""
    before_ns = int((now_unix_s - bounds.age_s) * NANO)
    # Windows look a horizon around their period.
    needed_ns = None if keep_from_unix_s is None else (keep_from_unix_s - HORIZON_S) * NANO
    gone = store.forget(before_ns if needed_ns is None else min(before_ns, needed_ns))
    slices = store.slices()
    size = store.size_bytes()
    for oldest in slices[:-1]:  # the newest is what comes in now: dropping it would not end
        if size <= bounds.size_bytes_max or (needed_ns is not None and oldest.last_unix_nano >= needed_ns):
            break
        gone += store.forget(oldest.last_unix_nano + 1)
        size -= oldest.size_bytes
    return Swept(gone, size, size > bounds.size_bytes_max)


class Retention:
    """Sweeps in the background."""

    def __init__(
        self,
        store: LiveSpanStore,
        bounds: RetentionBounds,
        clock: GuardClock,
        *,
        keep_from: KeepFrom = lambda: None,
        every_s: float = SWEEP_EVERY_S,
        executor: Executor | None = None,
    ) -> None:
        """`keep_from` is called in the event loop before each sweep; if it raises, nothing is forgotten."""
        self._store, self._bounds, self._clock, self._keep_from, self._every_s = store, bounds, clock, keep_from, every_s
        self._executor = executor
        self.last: Swept | None = None

    async def run(self) -> None:
        """Sweep now and every `every_s` until cancelled. Failures are logged and tried again."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                needed = self._keep_from()
                now_s = self._clock.now_unix_s()
                swept = await loop.run_in_executor(self._executor, sweep, self._store, self._bounds, now_s, needed)
            except StoreError as error:
                _log.warning("old spans were not forgotten, next try in %.0f s: %s", self._every_s, error)
            except Exception:  # noqa: BLE001  nothing is forgotten when it is not known what is needed, and the next sweep comes
                _log.exception("old spans were not forgotten, next try in %.0f s", self._every_s)
            else:
                if swept.over and not (self.last and self.last.over):
                    _log.warning("running rollouts need %d MiB of spans, more than retention allows", swept.size_bytes >> 20)
                self.last = swept
            await asyncio.sleep(self._every_s)
