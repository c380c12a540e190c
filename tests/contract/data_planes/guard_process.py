"""A guard in a process of its own: reads a plan and what to apply from standard input, applies it over and over, says what came of it."""

import asyncio
import json
import pickle
import sys

from verdigris.traffic.data_plane import TrafficError
from verdigris.traffic.open import open_data_plane


def say(what: str, **more: object) -> None:
    sys.stdout.write(json.dumps({"said": what, **more}) + "\n")
    sys.stdout.flush()


async def main() -> None:
    plan, bind, generation, routing, lease_s, every_s = pickle.load(sys.stdin.buffer)
    async with open_data_plane(plan, bind=bind) as plane:
        say("open", control=str(getattr(plane, "control_address", "")))
        while True:
            try:
                split = await plane.apply(generation, routing, lease_s)
                in_force = split is not None and split.generation == generation and split.routing.agrees_with(routing)
                say("applied" if in_force else "not in force")
            except TrafficError as error:
                say(type(error).__name__, text=str(error))
            await asyncio.sleep(every_s)


if __name__ == "__main__":
    asyncio.run(main())
