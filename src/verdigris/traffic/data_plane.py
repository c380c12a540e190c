"""The contract of every data plane. One contract test suite runs against each adapter and the fake."""

from dataclasses import dataclass
from typing import Protocol

from verdigris.errors import VerdigrisError


class TrafficError(VerdigrisError):
    """The data plane refused or could not be reached. Safe: at the latest when the lease ends, traffic is on the baseline."""


class StaleGeneration(TrafficError):
    """A newer generation was already applied. Safe: nothing changed; observe again. `newest`: the one to go beyond, if it is known."""

    def __init__(self, message: str, newest: int | None = None) -> None:
        super().__init__(message)
        self.newest = newest


class OutcomeUnknown(TrafficError):
    """No answer after sending. Not a failure: read back before acting again."""


class NotSupported(TrafficError):
    """This data plane cannot do what the plan asks. Safe: nothing changed; change the plan."""


RESOLUTION_PERCENT = 0.01
"""Every data plane sets a weight at least this exactly; what it says afterwards may differ by half of it."""


@dataclass(frozen=True, slots=True)
class Routing:
    """What is wanted. `candidate_percent` in [0, 100]; `mirror_percent`: of the requests that the baseline answers, those also copied
    to the candidate, answers thrown away; `chosen_users`: requests with a valid signed, unexpired token in header or cookie go to the
    candidate whatever the weight.

    Raises: NotSupported: a percentage outside [0, 100].
    """

    candidate_percent: float
    mirror_percent: float = 0.0
    chosen_users: bool = False

    def __post_init__(self) -> None:
        """Refuse what no proxy can do, NaN too, before it gets near one."""
        if not (0 <= self.candidate_percent <= 100 and 0 <= self.mirror_percent <= 100):  # noqa: PLR2004  # percent
            msg = f"weights are percentages from 0 to 100, not {self.candidate_percent} and {self.mirror_percent}; nothing was changed"
            raise NotSupported(msg)

    def agrees_with(self, other: "Routing") -> bool:
        """Whether both say the same, to the resolution of a data plane. This is how what was read back is compared."""
        return (
            abs(self.candidate_percent - other.candidate_percent) <= RESOLUTION_PERCENT / 2
            and abs(self.mirror_percent - other.mirror_percent) <= RESOLUTION_PERCENT / 2
            and self.chosen_users is other.chosen_users
        )


BASELINE_ONLY = Routing(0.0)


@dataclass(frozen=True, slots=True)
class Split:
    """What the proxy says is in force, read from the proxy itself.

    `generation`: the one that the weight in force was applied with; None when it is the proxy's own durable default.
    The counters are requests that the proxy sent to each role since it started (they may start again from 0);
    failures are those it answered with 5xx or could not deliver. Mirrored copies are in neither.
    """

    routing: Routing
    generation: int | None
    committed: bool
    """Whether the durable default is the candidate."""
    baseline_requests: int
    candidate_requests: int
    baseline_failures: int
    candidate_failures: int
    clock_offset_s: float | None = None
    """The proxy's clock minus ours, if it tells its time."""


class DataPlane(Protocol):
    """Splits traffic between baseline and candidate.

    `apply` is idempotent, refuses a generation older than the newest it has seen (`StaleGeneration`), and returns what the
    proxy says afterwards, never an echo of the request. `None` means "cannot tell", and cannot-tell holds. Applying the same
    again renews the lease: after `lease_s` without it the proxy is back at its durable default by itself, whatever became of
    the guard. Switching must not fail a single request.

    Nothing renews by itself: a lease lives by calls of `apply` alone. A lease that ended in this process is not renewed: its
    generation is over (`StaleGeneration`), so that a guard that was frozen, and wakes, does not move traffic by habit.

    `return_to_baseline` is never refused, needs nothing but the proxy, and fences: afterwards `apply` wants a newer
    generation. `commit` makes the candidate the durable default, which no lease takes back; it too is fenced.
    All raise `TrafficError`.
    """

    async def observe(self) -> Split | None:
        """What is in force now."""

    async def apply(self, generation: int, routing: Routing, lease_s: float) -> Split | None:
        """Put `routing` in force for `lease_s`, or renew it."""

    async def return_to_baseline(self, generation: int) -> Split | None:
        """All traffic to the baseline, now, and as the durable default."""

    async def commit(self, generation: int) -> Split | None:
        """All traffic to the candidate, as the durable default."""

    async def close(self) -> None:
        """Let go of the proxy. What was applied stays until its lease ends; what is durable stays."""
