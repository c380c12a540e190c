"""What the demonstration's programs share: an event loop that starts and ends well, and servers on loopback."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

from aiohttp import web

LOOPBACK = "127.0.0.1"
_SWITCH_S = 0.001
"""The exporter's thread encodes spans while requests wait for the interpreter: let it hold on for less than a request's time."""


async def listen(stack: AsyncExitStack, server: web.Server) -> int:
    """Serves on a port that the kernel chooses until the stack ends."""
    runner = web.ServerRunner(server, access_log=None, shutdown_timeout=2)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, LOOPBACK, 0, backlog=512).start()
    return int(runner.addresses[0][1])


def run(program: Coroutine[Any, Any, None]) -> None:
    """Runs one of the demonstration's programs; that the starter is gone early is no error."""
    sys.setswitchinterval(_SWITCH_S)
    # Ctrl-C reaches every process of the terminal; the one that started us decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError):
        asyncio.run(program)
