"""`verdigris demo` as people start it: a whole case from nothing to its ending, and an interruption that leaves nothing running.

A case takes a minute or two, and all run. DEMO_CASES=cloud,good in the environment runs only those.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from verdigris.demo.cases import CASES
from verdigris.demo.errors import DemoExtraMissing
from verdigris.demo.extra import require_live

try:
    require_live()
except DemoExtraMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

PROGRAM = [sys.executable, "-c", "import sys; from verdigris.cli.main import run; sys.argv[0] = 'verdigris'; run()", "demo"]
PATIENCE_S = 240.0
CHOSEN = [name.strip() for name in os.environ.get("DEMO_CASES", "").split(",") if name.strip()] or list(CASES)
if not set(CHOSEN) <= set(CASES):
    unknown = f"DEMO_CASES may name {', '.join(CASES)}, not {', '.join(sorted(set(CHOSEN) - set(CASES)))}"
    raise ValueError(unknown)


class Demo:
    """The command, and every process that it starts: they have its mark in their environment."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._mark = f"DEMO_TEST={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments, "--folder", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, name: value},
        )  # fmt: skip

    def running(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    marked = self._mark.encode() in (entry / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                found += [int(entry.name)] if marked else []
        return found


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[Demo]:
    running = Demo(folder, *arguments)
    try:
        yield running
    finally:
        for pid in running.running():
            os.kill(pid, signal.SIGKILL)
        running.process.wait()
        for pipe in (running.process.stdout, running.process.stderr):
            if pipe is not None:
                pipe.close()


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="processes are counted in /proc")


@linux_only
@pytest.mark.timeout(PATIENCE_S + 60)  # what is left is for taking it apart, and for saying what was the matter
@pytest.mark.parametrize("case", CASES)
def test_a_case_ends_as_it_should_and_leaves_nothing_running(tmp_path: Path, case: str) -> None:
    if case not in CHOSEN:
        pytest.skip(f"DEMO_CASES={os.environ['DEMO_CASES']} leaves it out")
    with demo(tmp_path, case, "--json") as run:
        out, err = run.process.communicate(timeout=PATIENCE_S)
        told = f"{out}\n{err}"
        assert run.process.returncode == 0, told
        ending = json.loads(out)
        assert ending["expected"], told
        assert ending["harm"]["unanswered"] == 0
        assert run.running() == []
    kept = {path.name for path in (tmp_path / case).iterdir()}
    assert kept >= {"plan.yaml", "envoy.yaml", "guard.yaml", "requests.csv", "logs", "state"}


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopping_it_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path, "good", "--no-watch") as run:
        assert run.process.stdout is not None
        for line in run.process.stdout:
            if "phase: preflight" in line:
                break
        else:
            pytest.fail(f"it ended before it was stopped: {run.process.communicate()}")
        assert len(run.running()) >= 8  # the command, guard, proxy, outside, four hosts, users
        run.process.send_signal(number)
        run.process.wait(timeout=30)
        deadline_s = time.monotonic() + 10
        while run.running() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert run.running() == []
        assert run.process.returncode == (-number if number is signal.SIGKILL else 130)
