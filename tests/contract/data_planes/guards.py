"""Starts, watches and ends guards in processes of their own; the same for every real proxy."""

import asyncio
import contextlib
import json
import os
import pickle
import signal
import sys
from pathlib import Path

from verdigris.plan.plan import Plan
from verdigris.traffic.data_plane import Routing

SAID_S_MAX = 15.0


class GuardProcess:
    """A guard. `control` is where it listens for the proxy, if it does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.control = ""

    @classmethod
    async def start(cls, plan: Plan, bind: str | None, generation: int, routing: Routing, lease_s: float, every_s: float) -> "GuardProcess":
        """Start it, and wait until it has opened the data plane."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.contract.data_planes.guard_process", stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3], env=os.environ | {"PYTHONPATH": "src"},
        )  # fmt: skip
        guard = cls(process)
        try:
            assert process.stdin is not None
            process.stdin.write(pickle.dumps((plan, bind, generation, routing, lease_s, every_s)))
            process.stdin.close()
            guard.control = str((await guard._next("open"))["control"])
        except BaseException:
            await guard.end()
            raise
        return guard

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def said(self, what: str) -> None:
        await self._next(what)

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _next(self, what: str) -> dict[str, object]:
        assert self._process.stdout is not None
        heard: list[str] = []
        try:
            async with asyncio.timeout(SAID_S_MAX):
                while line := await self._process.stdout.readline():
                    heard.append(line.decode().strip())
                    document: dict[str, object] = json.loads(line)
                    if document["said"] == what:
                        return document
        except TimeoutError:
            pass
        msg = f"the guard did not say {what!r}, but {heard[-5:]}"
        raise AssertionError(msg)
