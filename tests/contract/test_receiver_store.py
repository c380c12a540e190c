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
from tests.clients.receiving import WAYS, Answer, Sending, Span, sending
from tests.clients.small_disk import on_small_disk, read_only, writable

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


def filled(folder: Path, free_bytes_min: str) -> dict[str, Any]:
    """On a small disk: fill it with other things, see spans refused, free it, see them taken. Returns what happened."""
    return asyncio.run(filling(folder, int(free_bytes_min)))


async def filling(folder: Path, free_bytes_min: int) -> dict[str, Any]:
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
    return told


@pytest.mark.parametrize("floor", [0, 8 << 20])
def test_on_a_full_disk_spans_are_refused_retryably_and_taken_again_when_there_is_space(tmp_path: Path, floor: int) -> None:
    told = on_small_disk(tmp_path, "48m", __name__, "filled", floor)
    assert told == {
        "before": "OK",
        "full": ["RESOURCE_EXHAUSTED", True],
        "http": "RESOURCE_EXHAUSTED",
        "health": "full",
        "after": "OK",
        "health after": "ok",
        "stored": True,
    }


def turned_read_only(folder: Path) -> dict[str, Any]:
    """On a small disk: make the store's folder read-only while spans come, and writable again. Returns what happened."""
    return asyncio.run(turning_read_only(folder))


async def turning_read_only(folder: Path) -> dict[str, Any]:
    (folder / "spans").mkdir()
    acknowledged: list[int] = []
    traces = iter(range(1, 1_000_000))

    async def export(client: Sending, way: str) -> Answer:
        trace = next(traces)
        answer = await client.spans(way, [Span(trace)])
        acknowledged.extend([trace] if answer.code == "OK" else [])
        return answer

    async def health(process: Any) -> str:
        process.send_signal(signal.SIGUSR1)
        return str(json.loads(await process.stdout.readline())["store"])

    async with guard(folder) as (process, client), asyncio.timeout(90):
        told: dict[str, Any] = {"before": [(await export(client, way)).code for way in WAYS]}
        read_only(folder / "spans")
        refused = [await export(client, way) for way in WAYS for _ in range(3)]
        told["read-only"] = sorted({answer.code for answer in refused})
        told["when to come again"] = sorted({answer.retry_after_s or 0 for answer in refused})
        told["said"] = sorted({"Read-only file system" in answer.message for answer in refused})
        told["health"] = await health(process)
        writable(folder / "spans")
        for way in WAYS:
            for _ in range(100):
                if (await export(client, way)).code == "OK":
                    break
                await asyncio.sleep(0.1)
        told["health after"] = await health(process)
        process.send_signal(signal.SIGTERM)
        told["ended"] = await process.wait()
    found = stored(folder)
    told["acknowledged and lost"] = sorted(set(acknowledged) - set(found))
    told["twice"] = len(found) - len(set(found))
    return told


def test_while_the_stores_folder_is_read_only_spans_are_refused_retryably_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    told = on_small_disk(tmp_path, "200m", __name__, "turned_read_only")
    assert told == {
        "before": ["OK"] * 3,
        "read-only": ["UNAVAILABLE"],
        "when to come again": [0.2],
        "said": [True],
        "health": "failing",
        "health after": "ok",
        "ended": 0,
        "acknowledged and lost": [],
        "twice": 0,
    }
