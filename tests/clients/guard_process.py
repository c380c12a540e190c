"""A receiver with a real store in a process of its own: `python guard_process.py FOLDER [FREE_BYTES_MIN]`.

Prints its ports as JSON when it listens; SIGTERM stops it gracefully. SIGUSR1 prints health.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from verdigris.telemetry.chdb_store import ChdbStore
from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.intake import Intake
from verdigris.telemetry.receiver.listeners import Addresses, Receiver


async def main(folder: Path, free_bytes_min: int) -> None:
    with ChdbStore(folder / "spans") as store:
        bounds = IntakeBounds(retry_after_s=0.2, free_bytes_min=free_bytes_min)
        intake = Intake(store, clock=GuardClock(), bounds=bounds, folder=folder)
        receiver = Receiver(intake, Addresses("127.0.0.1:0", "127.0.0.1:0"))
        await receiver.start()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGUSR1, lambda: print(json.dumps({"store": intake.health().store}), flush=True))  # noqa: T201
        print(json.dumps({"grpc": receiver.grpc_port, "http": receiver.http_port}), flush=True)  # noqa: T201
        await stop.wait()
        await receiver.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
