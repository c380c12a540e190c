"""What the contract suite needs of a data plane: a real proxy (or a simulated one) between a client and two upstreams.

A harness is started once per test. The baseline is the slot "blue", the candidate the slot "green". The upstreams name their slot in
the response header `x-slot` and count what reaches them, so nothing here believes the proxy's own counters.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from verdigris.traffic.data_plane import DataPlane, Routing


class Feature(Enum):
    """What not every data plane can do. A test of something else than these runs against all."""

    MIRROR = "requests can be copied to the candidate"
    CHOSEN_USERS = "chosen users are routed by signed tokens"
    CONTROL_CONNECTION = "the guard reaches the proxy over a connection that can be cut apart from reading back"
    REAL_REQUESTS = "requests are real: timing, load and failures mean something"
    CLOCK = "the proxy tells its time"


@dataclass(frozen=True, slots=True)
class Answers:
    """What clients got: answers by the slot that gave them, and requests that failed (no answer, or 5xx)."""

    baseline: int
    candidate: int
    failed: int = 0
    failures: tuple[str, ...] = ()
    """The first few, for the message of a failed test."""

    @property
    def total(self) -> int:
        return self.baseline + self.candidate + self.failed


@dataclass(frozen=True, slots=True)
class Seen:
    """Requests that reached the upstreams themselves; copies are those that no client waits for."""

    baseline: int
    candidate: int


class Token(Enum):
    """Tokens for chosen users that a harness makes."""

    VALID = "valid"
    EXPIRED = "expired, but well signed"
    FORGED = "signed by another key"
    WITHOUT_END = "well signed, but it never expires"
    OF_OTHER_SUBJECT = "well signed, for another subject"


class Load(Protocol):
    """Clients that send requests all the time, half of them over kept connections, half each over a new one."""

    def so_far(self) -> Answers:
        """What they got until now."""

    async def stop(self) -> Answers:
        """What they got, all of them having been answered."""


class Guard(Protocol):
    """The adapter in a process of its own, which applies the same over and over. Ended by the harness at the latest."""

    def kill(self) -> None:
        """SIGKILL."""

    def freeze(self) -> None:
        """SIGSTOP."""

    def wake(self) -> None:
        """SIGCONT."""

    async def said(self, what: str) -> None:
        """Wait until it has said (after the last call of this) `applied`, or the name of the error that an `apply` raised."""


class Harness(Protocol):
    """One proxy with two upstreams. All of it is stopped by the context manager that made it."""

    features: frozenset[Feature]

    async def open(self) -> DataPlane:
        """A new adapter in this process. One at a time; the harness closes what is still open at the end."""

    async def restart_proxy(self) -> None:
        """Stop the proxy and start it again with the same configuration and the same durable files; wait until it serves."""

    async def cut_control(self) -> None:
        """Break what carries weights from the guard to the proxy. Connections hang or close; new ones do not get through."""

    async def mend_control(self) -> None:
        """Let it through again."""

    async def change_by_hand(self, candidate_percent: float) -> None:
        """Change the weight in force behind the adapter's back, as an operator with a shell would."""

    async def send(self, requests: int, token: Token | None = None, *, cookie: bool = False) -> Answers:
        """So many requests from a few kept connections, and what came back; `token` in the header, or in the cookie."""

    async def seen(self) -> Seen:
        """What the upstreams counted, after everything under way has arrived."""

    async def break_candidate(self) -> None:
        """From now on the candidate refuses connections."""

    def load(self) -> AbstractAsyncContextManager[Load]:
        """Clients in the background."""

    async def guard(self, generation: int, routing: Routing, lease_s: float, every_s: float) -> Guard:
        """Start a guard in a process of its own that applies this every `every_s`, and wait until it has been applied once."""

    async def wait_until(self, holds: Callable[[], Awaitable[bool]], within_s: float) -> float:
        """Let time pass until the condition holds. Returns: seconds waited. Fails the test after `within_s`."""

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass where the test is about time itself."""
