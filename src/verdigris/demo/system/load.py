"""The users: asks the proxy at a stated rate whether or not earlier requests were answered (an open loop), and logs every request.

    python -m verdigris.demo.system.load

Latency counts from the moment a request was due, so that a stall of this process or of the proxy is not hidden. One line per answered
request: seconds since 1970 when it was due, slot that answered (empty: nobody), status (0: no answer), latency in ms, how it was hurt.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TextIO

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from verdigris.demo.system.chatter import Chatter
from verdigris.demo.system.model import HURT_HEADER, SLOT_HEADER, Ask
from verdigris.demo.system.serving import run
from verdigris.demo.system.systems import SYSTEMS

TIMEOUT_S = 10.0
IN_FLIGHT_MAX = 1_000
"""More than that means that nothing is answered any more; further requests are logged as unanswered, not sent."""
_FLUSH_S = 0.2
_IDS = 100_000
_STEP_S = 0.002


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: when it is due, seconds after the start, and what it is."""

    at_s: float
    method: str
    path: str
    authorized: bool


class Arrivals:
    """A Poisson process of users' requests, the same for the same seed."""

    def __init__(self, asks: Sequence[Ask], per_s: float, seed: int) -> None:
        """`asks` have shares that add up to 1."""
        self._dice = Random(f"load:{seed}")  # noqa: S311 - a load, not a secret
        self._asks = asks
        self._shares = [ask.share for ask in asks]
        self._per_s = per_s
        self._at_s = 0.0

    def next(self) -> Arrival:
        """The next request."""
        dice = self._dice
        self._at_s += dice.expovariate(self._per_s)
        [ask] = dice.choices(self._asks, self._shares)
        path = ask.path.replace("{}", str(dice.randrange(_IDS)))
        return Arrival(self._at_s, ask.method, path, dice.random() >= ask.anonymous_share)


class Load:
    """Sends arrivals to one address and logs what became of them."""

    def __init__(self, session: ClientSession, address: str, log: TextIO) -> None:
        """`address` is the proxy's `host:port`."""
        self._session = session
        self._address = address
        self._log = log
        self._in_flight: set[asyncio.Task[None]] = set()

    async def run(self, arrivals: Arrivals) -> None:
        """Until it is cancelled."""
        start_s, start_unix_s = time.monotonic(), time.time()
        while True:
            arrival = arrivals.next()
            wait_s = start_s + arrival.at_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            due_unix_s = start_unix_s + arrival.at_s
            if len(self._in_flight) >= IN_FLIGHT_MAX:
                self._write(due_unix_s, "", 0, 0.0, "")
                await asyncio.sleep(_STEP_S)
                continue
            task = asyncio.create_task(self._ask(arrival, start_s + arrival.at_s, due_unix_s))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _ask(self, arrival: Arrival, due_s: float, due_unix_s: float) -> None:
        headers = {"authorization": "Bearer a-user-of-the-demo"} if arrival.authorized else None
        slot, status, hurt = "", 0, ""
        try:
            async with self._session.request(arrival.method, f"http://{self._address}{arrival.path}", headers=headers) as reply:
                await reply.read()
                slot, status, hurt = reply.headers.get(SLOT_HEADER, ""), reply.status, reply.headers.get(HURT_HEADER, "")
        except (ClientError, TimeoutError, OSError):
            pass  # logged as unanswered
        self._write(due_unix_s, slot, status, 1000 * (time.monotonic() - due_s), hurt)

    def _write(self, due_unix_s: float, slot: str, status: int, latency_ms: float, hurt: str) -> None:
        self._log.write(f"{due_unix_s:.3f},{slot},{status},{latency_ms:.1f},{hurt}\n")

    async def finish(self) -> None:
        """What is in flight is answered or runs into its time-out."""
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=TIMEOUT_S)


async def _flush(log: TextIO) -> None:
    while True:
        await asyncio.sleep(_FLUSH_S)
        log.flush()


async def main() -> None:
    """Settings in, ready out; then ask until the end of standard input."""
    chatter = await Chatter.open()
    settings = await chatter.hear()
    system = SYSTEMS[settings["system"]]
    arrivals = Arrivals(system.asks, float(settings["per_s"]), int(settings["seed"]))
    connector = TCPConnector(limit=0)
    with Path(settings["log"]).open("w", encoding="ascii") as log:  # noqa: ASYNC230  # a local file
        async with ClientSession(connector=connector, timeout=ClientTimeout(TIMEOUT_S), cookie_jar=DummyCookieJar()) as session:
            load = Load(session, settings["address"], log)
            tasks = [asyncio.create_task(load.run(arrivals)), asyncio.create_task(_flush(log))]
            chatter.say({"ready": True})
            ended = asyncio.create_task(chatter.ended())
            await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            failed = [error for error in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(error, Exception)]
            ended.cancel()
            await load.finish()
    if failed:
        raise failed[0]


if __name__ == "__main__":
    run(main())
