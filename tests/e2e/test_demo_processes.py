"""Processes of a demonstration end whatever happens: asked, killed, interrupted, or because their starter is gone."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from verdigris.demo.errors import DemoFailed
from verdigris.demo.processes import LOOPBACK, Processes, free_port

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); time.sleep(600)",
]
ECHO = [sys.executable, "-uc", "import sys\nfor line in sys.stdin: print(line, end='')"]
BREAKS = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until_dead(pid: int) -> None:
    deadline_s = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline_s, f"{pid} still runs"
        time.sleep(0.01)


def test_it_talks_and_ends_with_its_context(tmp_path: Path) -> None:
    async def body() -> tuple[object, int]:
        async with Processes(tmp_path) as processes:
            process = await processes.start("echo", ECHO, talks=True)
            process.say({"heard": 1})
            return await process.hear(), process.pid

    heard, pid = asyncio.run(body())
    assert heard == {"heard": 1}
    assert not alive(pid)


def test_one_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.demo.processes.STOP_S", 0.2)

    async def body() -> int:
        async with Processes(tmp_path) as processes:
            process = await processes.start("deaf", DEAF, talks=True)
            await process.hear()
            return process.pid

    assert not alive(asyncio.run(body()))


def test_one_that_breaks_is_named_with_its_log(tmp_path: Path) -> None:
    async def body() -> None:
        async with Processes(tmp_path) as processes:
            process = await processes.start("breaks", BREAKS, talks=True)
            await process.hear()

    with pytest.raises(DemoFailed, match=r"breaks ended with status 1.*breaks\.log(?s:.*)no such thing"):
        asyncio.run(body())


def test_one_that_ended_by_itself_is_found(tmp_path: Path) -> None:
    async def body() -> None:
        async with Processes(tmp_path) as processes:
            sleeps = await processes.start("sleeps", SLEEP)
            processes.check()
            sleeps.send(signal.SIGKILL)
            await sleeps.wait()
            processes.check(sleeps)
            processes.check()

    with pytest.raises(DemoFailed, match="sleeps ended with status -9"):
        asyncio.run(body())


def test_one_that_stays_silent_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.demo.processes.STOP_S", 0.2)

    async def body() -> None:
        async with Processes(tmp_path) as processes:
            await (await processes.start("sleeps", SLEEP, talks=True)).hear(timeout_s=0.1)

    with pytest.raises(DemoFailed, match=r"sleeps gave no answer within 0\.1 s"):
        asyncio.run(body())


def test_an_error_inside_leaves_no_process(tmp_path: Path) -> None:
    pids = []

    async def body() -> None:
        async with Processes(tmp_path) as processes:
            pids.append((await processes.start("sleeps", SLEEP)).pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(body())
    assert not alive(pids[0])


STARTER = """
import asyncio, sys
from pathlib import Path
from verdigris.demo import processes
from verdigris.demo.processes import Processes

processes.STOP_S = 0.2
CODE = "print('{}', flush=True); import time; time.sleep(600)"

async def main():
    async with Processes(Path(sys.argv[1])) as processes:
        process = await processes.start("sleeps", [sys.executable, "-c", CODE], talks=True)
        await process.hear()
        print(process.pid, flush=True)
        await process.wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills with the starter")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_its_starter(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as starter:
        try:
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            assert alive(pid)
            os.kill(starter.pid, number)
            until_dead(pid)
        finally:
            starter.kill()


def test_free_ports_can_be_bound_and_are_below_those_of_outgoing_connections() -> None:
    port = free_port()
    low, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split() if sys.platform == "linux" else ("49152", "")
    assert port < int(low)

    async def body() -> None:
        (await asyncio.start_server(lambda _, __: None, LOOPBACK, port)).close()

    asyncio.run(body())
