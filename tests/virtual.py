"""An event loop whose time is a number: waiting costs nothing, and every run is the same."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_UNIX_S = 1_790_000_000.0


class _NoWaiting(selectors.DefaultSelector):
    """Where a real selector would wait, time moves on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            msg = "everything waits, and nothing will ever happen"
            raise RuntimeError(msg)
        if not ready and timeout is not None:
            self.now_s += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time` starts at 0 and moves only when everything waits."""

    def __init__(self) -> None:
        self._waits = _NoWaiting()
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.now_s


class VirtualClock:
    """The guard's clock on a virtual loop. `step_s` moves the wall clock as if somebody had set it."""

    step_s = 0.0

    def now_unix_s(self) -> float:
        return START_UNIX_S + asyncio.get_running_loop().time() + self.step_s

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


async def at_once(call: Any, *arguments: Any) -> Any:
    """Instead of a thread: a thread's time is not virtual. Others run meanwhile, as they would beside a thread."""
    await asyncio.sleep(0.001)
    return call(*arguments)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
