"""Somebody else's API: one process, plain HTTP, no telemetry, the same for both slots.

    python -m verdigris.demo.system.outside

Its newer version answers a few requests a second as quickly as the old one, and keeps what goes beyond that waiting. A test with a
handful of requests does not see it, and neither does a stand-in; real traffic does.
"""

import asyncio
import math
import time
from contextlib import AsyncExitStack
from random import Random

from aiohttp import web

from verdigris.demo.system.chatter import Chatter
from verdigris.demo.system.model import HURT_HEADER, Outside
from verdigris.demo.system.serving import listen, run
from verdigris.demo.system.systems import SYSTEMS

_SIGMA = 0.2
BURST = 5.0
"""So many requests may come at once before the limit is felt."""


class Limit:
    """A token bucket. Times are seconds of any steady clock."""

    def __init__(self, per_s: float, now_s: float) -> None:
        """Starts full."""
        self._per_s = per_s
        self._tokens = BURST
        self._at_s = now_s

    def exceeded(self, now_s: float) -> bool:
        """Whether this request is one too many."""
        self._tokens = min(BURST, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False


class Api:
    """Answers every path; its first segment is the version of the API."""

    def __init__(self, outside: Outside, dice: Random) -> None:
        """`outside` says which version is limited, and how."""
        self._outside = outside
        self._dice = dice
        self._limit = Limit(outside.limited_per_s, time.monotonic())

    async def __call__(self, incoming: web.BaseRequest) -> web.Response:
        """An answer, later if it is one too many."""
        outside, headers = self._outside, {}
        wait_s = self._dice.lognormvariate(math.log(outside.median_s), _SIGMA)
        if incoming.path.split("/")[1] == outside.limited_version and self._limit.exceeded(time.monotonic()):
            wait_s += self._dice.uniform(*outside.extra_s)
            headers[HURT_HEADER] = "slow"
        await asyncio.sleep(wait_s)
        return web.json_response({"covered": True}, headers=headers)


async def main() -> None:
    """Settings in, port out; then serve until the end of standard input."""
    chatter = await Chatter.open()
    settings = await chatter.hear()
    outside = SYSTEMS[settings["system"]].outside
    if outside is None:
        return
    async with AsyncExitStack() as stack:
        dice = Random(f"{settings['seed']}:outside")  # noqa: S311 - accidents, not secrets
        chatter.say({"ports": {outside.service: await listen(stack, web.Server(Api(outside, dice)))}})
        await chatter.ended()


if __name__ == "__main__":
    run(main())
