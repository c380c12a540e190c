"""What a rollout needs from the process around it: time, closed windows, threads. Ports; tests give virtual ones."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from verdigris.approvals.people import People
from verdigris.errors import VerdigrisError
from verdigris.judge.windows import Operation, Windows
from verdigris.sensitive.findings import Leak, Tally

TAKEOVER_AFTER_S = 15.0
"""A guard that was not heard for so long may be replaced by another, where the settings do not say."""


class CannotMask(VerdigrisError):
    """A plan's detectors cannot be put in force. Safe: its rollout does not go on, and what was masked before is masked."""


class Clock(Protocol):
    """The guard's clock. `now_unix_s` does not jump when somebody sets the system's clock."""

    def now_unix_s(self) -> float:
        """Seconds since 1970."""

    def monotonic_s(self) -> float:
        """Seconds since any moment."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Windows of a period that is closed: nothing that comes later changes it. `until_unix_s` is its end, exclusive."""

    until_unix_s: int
    windows: Windows


@dataclass(frozen=True, slots=True)
class TelemetryState:
    """What speaks for or against believing the windows. `clock_skew_s`: the largest of any role's, positive or negative."""

    late_spans: int = 0
    clock_skew_s: float | None = None
    notes: tuple[str, ...] = ()


class Telemetry(Protocol):
    """Closed windows of one rollout's two roles. Raises: StoreError."""

    async def settled(self, after_unix_s: int) -> Settled:
        """All windows that begin at or after `after_unix_s` and are closed by now."""

    def state(self) -> TelemetryState:
        """Late spans, skew and anything people should know."""

    def end(self) -> None:
        """Nobody asks any more."""


async def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    """Run a blocking call beside the event loop."""
    return await asyncio.to_thread(call, *arguments)


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clocks."""

    def now_unix_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds since any moment."""
        return time.monotonic()


def _nothing_seen(word: str, operation: Operation) -> Leak:
    return Tally().leak(word, operation.service, operation.name)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All of it together."""

    telemetry: Telemetry
    clock: Clock = field(default_factory=SystemClock)
    offload: Callable[..., Awaitable[Any]] = in_thread
    takeover_after_s: float = TAKEOVER_AFTER_S
    people: Callable[[], People] = People
    """Who may say something, as they are known now. Blocks. By default nobody."""
    leak: Callable[[str, Operation], Leak] = _nothing_seen
    """What a word of the windows says that an operation sends, with masked samples where some were seen."""
