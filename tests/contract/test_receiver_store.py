"""The receiver with its real store in a process of its own: killed at any time, and on a disk that fills up."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from tests.clients.receiving import Sending, Span, sending

ROOT = Path(__file__).parents[2]
GUARD = ROOT / "tests" / "clients" / "guard_process.py"

COUNT = """
import sys
from pathlib import Path
from verdigris.telemetry.chdb_store import ChdbStore
with ChdbStore(Path(sys.argv[1]) / "spans") as store:
    print(" ".join(str(int(row["t"], 16)) for row in store._rows_of("SELECT TraceId AS t FROM otel_traces", {})))
"""


@asynccontextmanager
async def guard(folder: Path, free_bytes_min: int = 0) -> AsyncIterator[tuple[Any, Sending]]:
    """The process and a client of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(GUARD), str(folder), str(free_bytes_min), stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert process.stdout
        ports = json.loads(await process.stdout.readline())
        async with sending(SimpleNamespace(grpc_port=ports["grpc"], http_port=ports["http"])) as client:  # type: ignore[arg-type]
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def stored(folder: Path) -> list[int]:
    found = subprocess.run([sys.executable, "-c", COUNT, str(folder)], capture_output=True, text=True, check=True, timeout=60)
    return sorted(map(int, found.stdout.split()))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_every_acknowledged_span_is_there_after_the_guard_is_gone(tmp_path: Path, how: signal.Signals) -> None:
    acknowledged: list[int] = []
    sent: list[int] = []

    async def test() -> None:
        async with guard(tmp_path) as (process, client):

            async def lane(number: int) -> None:
                for n in range(1, 100_000):
                    way = ("grpc", "http+protobuf", "http+json")[number % 3]
                    sent.append(number * 1_000_000 + n)
                    try:
                        answer = await client.spans(way, [Span(sent[-1])] if n % 2 else [Span(sent[-1]), Span(sent[-1], 2)])
                    except (OSError, aiohttp.ClientError):
                        return
                    if answer.code != "OK":
                        assert answer.code in {"UNAVAILABLE", "CANCELLED"}, answer
                        return
                    acknowledged.append(number * 1_000_000 + n)

            async def die() -> None:
                while len(acknowledged) < 60:  # noqa: ASYNC110  others fill it
                    await asyncio.sleep(0.005)
                os.kill(process.pid, how)

            async with asyncio.timeout(60):
                await asyncio.gather(die(), *(lane(number) for number in range(1, 10)))
                await process.wait()

    asyncio.run(test())
    found = set(stored(tmp_path))
    assert set(acknowledged) <= found, "acknowledged and lost"
    assert found <= set(sent)


FULL = """
import asyncio, json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.contract.test_receiver_store import filling
asyncio.run(filling(Path(sys.argv[1]), int(sys.argv[2])))
"""


async def filling(folder: Path, free_bytes_min: int) -> None:
    """On a small disk: fill it with other things, see spans refused, free it, see them taken. Prints what happened."""
    async with guard(folder, free_bytes_min) as (process, client), asyncio.timeout(90):
        told: dict[str, Any] = {"before": (await client.spans("grpc", [Span(1)])).code}
        filler = folder / "filler"
        with filler.open("wb") as file:
            left = shutil.disk_usage(folder).free - (free_bytes_min // 2 if free_bytes_min else 0)
            file.write(bytes(left))
        answer = None
        refused = []
        for n in range(2, 400):
            answer = await client.spans("grpc", [Span(n, k) for k in range(1, 2000)])
            if answer.code != "OK":
                refused.append(n)
                break
        assert answer is not None
        told["full"] = (answer.code, answer.retry_after_s is not None)
        told["http"] = (await client.spans("http+json", [Span(9_999)])).code
        process.send_signal(signal.SIGUSR1)
        told["health"] = json.loads(await process.stdout.readline())["store"]
        filler.unlink()
        for _ in range(100):
            if (answer := await client.spans("grpc", [Span(10_000)])).code == "OK":
                break
            await asyncio.sleep(0.1)
        told["after"] = answer.code
        process.send_signal(signal.SIGUSR1)
        told["health after"] = json.loads(await process.stdout.readline())["store"]
        process.send_signal(signal.SIGTERM)
        await process.wait()
    told["stored"] = 10_000 in set(stored(folder)) and 1 in set(stored(folder))
    print(json.dumps(told))  # noqa: T201  how the process tells


@pytest.mark.parametrize("floor", [0, 8 << 20])
def test_on_a_full_disk_spans_are_refused_retryably_and_taken_again_when_there_is_space(tmp_path: Path, floor: int) -> None:
    """On a file system of 48 MiB in memory, in a mount namespace of its own; with a floor of free space and without."""
    script = f'mount -t tmpfs -o size=48m tmpfs "$1" && exec "$2" -c "$3" "$1" {floor}'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FULL.format(root=str(ROOT))]
    probe = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$1"', "sh", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("needs mount namespaces (root)")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {
        "before": "OK",
        "full": ["RESOURCE_EXHAUSTED", True],
        "http": "RESOURCE_EXHAUSTED",
        "health": "full",
        "after": "OK",
        "health after": "ok",
        "stored": True,
    }
