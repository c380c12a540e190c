"""How output ends, also when its reader, its disk or its user goes away."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from verdigris.errors import VerdigrisError


class Stopped(VerdigrisError):
    """A command was stopped (Ctrl-C, SIGTERM, SIGHUP) and has said in its own words what that left."""


def finish() -> None:
    """Write out what is buffered, while a failure can still be told. Raises: OSError."""
    sys.stdout.flush()


def abandon() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not stumble over it at its end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Make being told to stop (SIGTERM, SIGHUP) the same as Ctrl-C: temporary files go, also when a job is cancelled."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    # What is ignored stays ignored: that is how nohup works.
    asked = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    before = {number: signal.signal(number, stop) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
