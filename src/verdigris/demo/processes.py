"""Starts a demonstration's processes, talks with them, and ends them: by asking, then by force, and in any case when this process dies.

Start them from the main thread: the kernel takes the end of the starting *thread* for the starter's death.
"""

import asyncio
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from verdigris.demo.errors import DemoFailed

LOOPBACK = "127.0.0.1"
START_S = 60.0
"""A process that has not answered by then does not start; Python with OpenTelemetry takes about a second on an idle machine."""
STOP_S = 5.0
_LEASH = Path(__file__).with_name("leash.py")
_LOG_TAIL_BYTES = 2_000
_PORTS = range(20_000, 32_000)
"""Below what kernels give to outgoing connections, so that none of ours takes a port between finding and using it."""


def free_port() -> int:
    """A loopback port that nobody uses now. Raises: DemoFailed."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    msg = f"found no free port between {_PORTS.start} and {_PORTS.stop}; end what occupies them"
    raise DemoFailed(msg)


class Process:
    """One running program. Its standard error is in `log`."""

    def __init__(self, name: str, log: Path, process: asyncio.subprocess.Process) -> None:
        """Made by `Processes.start`."""
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id: the program's own, not a wrapper's."""
        return self._process.pid

    @property
    def talks(self) -> bool:
        """Whether it ends when its standard input does."""
        return self._process.stdin is not None

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.returncode is not None

    def say(self, document: Mapping[str, Any]) -> None:
        """One JSON line to its standard input."""
        assert self._process.stdin is not None  # noqa: S101 - opened by start
        self._process.stdin.write(json.dumps(document).encode() + b"\n")

    async def hear(self, timeout_s: float = START_S) -> dict[str, Any]:
        """The next JSON line of its standard output. Raises: DemoFailed: none came; the message has the log's end."""
        assert self._process.stdout is not None  # noqa: S101 - opened by start
        line = b""
        with suppress(TimeoutError):
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
            if not line:  # it closed its output: it is ending, and soon its status is known
                await asyncio.wait_for(self._process.wait(), STOP_S)
        if not line:
            what = f"gave no answer within {timeout_s:g} s"
            raise self.failure(what)
        heard: dict[str, Any] = json.loads(line)
        return heard

    async def wait(self) -> int:
        """Its exit status, when it has ended."""
        return await self._process.wait()

    def failure(self, what: str = "has ended") -> DemoFailed:
        """An error about this process: what happened if it still runs, and the end of its log."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            tail = log.read().decode(errors="replace").strip()
        state = f"ended with status {self._process.returncode}" if self.ended else what
        return DemoFailed(f"{self.name} {state}. Its log is {self.log}" + (f" and ends with:\n{tail}" if tail else ", and is empty"))

    def send(self, number: signal.Signals) -> None:
        """A signal, unless it is gone."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self) -> None:
        """Ends it: its standard input ends and it is told to stop, and after `STOP_S` it is killed. Never fails."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        else:
            self.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._process.wait()


class Processes:
    """All processes of one demonstration; leaving stops them: first our own programs, together, then the others, the last started first."""

    def __init__(self, logs: Path) -> None:
        """`logs` is the folder for their logs; it is made."""
        self._logs = logs
        self._processes: list[Process] = []

    async def __aenter__(self) -> Self:
        """Makes the folder."""
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stops what still runs; being interrupted while that takes its time kills it."""
        try:
            await asyncio.gather(*(process.stop() for process in self._processes if process.talks))
            for process in reversed(self._processes):
                await process.stop()
        except BaseException:
            for process in self._processes:
                process.send(signal.SIGKILL)
            raise

    async def start(
        self, name: str, command: Sequence[str], *, talks: bool = False, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Starts a program by full path.

        Args:
            name: names its log, too.
            command: the program and its arguments.
            talks: whether it speaks JSON lines on its standard input and output; otherwise its output goes to the log.
            environment: is added to ours.
        Raises: DemoFailed: it cannot be started.
        """
        path = self._logs / f"{name}.log"
        with path.open("wb") as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", str(_LEASH), str(os.getpid()), *command),
                    stdin=asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE if talks else log,
                    stderr=log,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,  # Ctrl-C is for us; we end them in order
                )
            except OSError as error:
                msg = f"{name} cannot be started: {error}"
                raise DemoFailed(msg) from error
        started = Process(name, path, process)
        self._processes.append(started)
        return started

    async def program(self, name: str, module: str, settings: Mapping[str, Any]) -> Process:
        """Starts one of our own programs and tells it its settings."""
        process = await self.start(name, [sys.executable, "-m", module], talks=True)
        process.say(settings)
        return process

    def forget(self, process: Process) -> None:
        """A process that was stopped on purpose."""
        self._processes.remove(process)

    def check(self, *except_for: Process) -> None:
        """Raises: DemoFailed: one of them has ended although nobody stopped it."""
        for process in self._processes:
            if process.ended and process not in except_for:
                raise process.failure()
