"""The guard of a live case: `verdigris serve` as a process of its own, so that it can be killed."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from verdigris.demo.processes import LOOPBACK, START_S, Process, Processes, free_port
from verdigris.server.client import GuardUnreachable, RemoteControl

_POLL_S = 0.1
_PROGRAM = "import sys; from verdigris.cli.main import run; sys.argv[0] = 'verdigris'; run()"


@dataclass(frozen=True, slots=True)
class Guard:
    """A running guard: `traces_to` is where spans go, OTLP over gRPC."""

    process: Process
    state: Path
    traces_to: str

    def control(self) -> RemoteControl:
        """A connection to it, over the socket in its state folder."""
        return RemoteControl(folder=self.state)


async def start_guard(processes: Processes, folder: Path) -> Guard:
    """A guard of this folder; returns when it answers and takes spans.

    Raises: DemoFailed: it does not start.
    """
    state = folder / "state"
    traces_to, over_http = f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{free_port()}"
    settings = folder / "guard.yaml"
    await asyncio.to_thread(settings.write_text, settings_text(state, traces_to, over_http), encoding="utf-8")
    process = await processes.start("guard", serve_command(settings))
    guard = Guard(process, state, traces_to)
    await _answers(guard)
    return guard


def settings_text(state: Path, traces_to: str, over_http: str) -> str:
    """The guard's settings file."""
    return f"""\
state_folder: {state}
otlp:
  grpc: {traces_to}
  http: {over_http}
"""


def serve_command(settings: Path) -> Sequence[str]:
    """`verdigris serve`, by this interpreter and this installation."""
    return (sys.executable, "-c", _PROGRAM, "serve", "--verbose", "--settings", str(settings))


async def _answers(guard: Guard) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            async with guard.control() as control:
                await control.health()
                return
        except GuardUnreachable as error:
            if guard.process.ended or time.monotonic() > deadline_s:
                what = f"does not answer: {error}"
                raise guard.process.failure(what) from error
        await asyncio.sleep(_POLL_S)
