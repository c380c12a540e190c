"""Carries out a live case: starts proxy, services, guard and users, asks the guard for a rollout, and accounts for what happened.

This module owns the order of things and their end. What runs is in `system`; that it ends whatever happens is in `processes`.
"""

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

from verdigris.demo.audited import audit
from verdigris.demo.cases import Case
from verdigris.demo.ending import BUSY_MS, PACK_FILE, Ending, Killed, judge_ending
from verdigris.demo.errors import DemoFailed
from verdigris.demo.extra import require_live
from verdigris.demo.guard import Guard, start_guard
from verdigris.demo.harm import Answer, harm_of, last_answered_by, read_answers
from verdigris.demo.plan_text import Pace, Places, plan_text
from verdigris.demo.processes import LOOPBACK, Process, Processes, free_port
from verdigris.demo.proxy import Proxy, start_proxy
from verdigris.demo.system.deployment import Slot, start_load, start_outside, start_slot
from verdigris.errors import VerdigrisError
from verdigris.plan.document import load_plan
from verdigris.rollout.status import RolloutControl, RolloutEvent, RolloutStatus
from verdigris.rollout.transitions import TERMINAL, Phase

ACTOR = "demo"
MARKER = ".verdigris-demo"
"""In a folder that is ours: a folder without it that has something in it is left alone."""

STOPPED = frozenset({Phase.HOLDING, Phase.FROZEN})
"""Where a rollout waits for people. There are none here, so it is an end, and never the expected one."""

_AFTER_END_S = 2.0
"""The users stay so long after the end: what they meet then belongs to the ending."""
_AFTER_KILL_S = 4.0
"""Beyond the lease: long enough to see that nothing goes to green any more."""
_CHECK_S = 0.5
_WARM_UP_S = 2.0
_WARM_UPS = 6
CALM_MS = 90.0
"""What the median user of an idle machine does not wait for: 50 to 75 ms, most of it the services' own waiting."""
_RATES = 3


class Audience(Protocol):
    """Who watches."""

    def stage(self, text: str) -> None:
        """What happens now, before the rollout and after it."""

    def status(self, status: RolloutStatus, events: Sequence[RolloutEvent]) -> None:
        """The rollout, whenever it changes."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that runs."""

    processes: Processes
    guard: Guard
    proxy: Proxy
    load: Process
    log: Path
    plan: str


async def run_case(case: Case, folder: Path, pace: Pace, audience: Audience, *, seed: int = 1, limit_s: float = 300.0) -> Ending:
    """One case from nothing to its ending; nothing runs when it returns, and the folder keeps plan, configurations and logs.

    Args:
        case: what is rolled out.
        folder: is made if needed; an earlier run in it is replaced.
        pace: how long the phases last.
        audience: is told what happens.
        seed: of load and accidents.
        limit_s: the rollout is given up after so long.

    Raises:
        DemoExtraMissing: an optional part is not installed.
        DemoFailed: something did not start, ended early or took too long.
    """
    require_live()
    folder = await asyncio.to_thread(claim, folder)
    async with _scene(case, folder, pace, audience, seed) as scene:
        try:
            async with asyncio.timeout(limit_s):
                status, killed_unix_s = await _rollout(case, scene, pace, audience)
        except TimeoutError as error:
            msg = f"the rollout did not end within {limit_s:g} s; the logs are in {folder / 'logs'}"
            raise DemoFailed(msg) from error
        audience.stage("watching the users a little longer")
        await asyncio.sleep(_AFTER_END_S)
        await scene.load.stop()
        answers = await asyncio.to_thread(read_log, scene.log)
        audience.stage("stopping everything")
    audience.stage("verifying what the guard has written down")
    try:
        audited = await asyncio.to_thread(audit, scene.guard.state, folder / PACK_FILE)
    except VerdigrisError as error:
        msg = f"the guard's record cannot be read: {error}"
        raise DemoFailed(msg) from error
    green = "green"
    killed = None
    if killed_unix_s is not None:
        last = last_answered_by(answers, green, killed_unix_s)
        killed = Killed(killed_unix_s, last - killed_unix_s if last else 0.0, pace.lease_s)
    return judge_ending(case, status, harm_of(answers, green), killed, audited)


def claim(folder: Path) -> Path:
    """Makes the folder ours and empty.

    Returns: it as an absolute path.
    Raises: DemoFailed: it has other files in it, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / MARKER
        if any(folder.iterdir()) and not marker.exists():
            msg = f"{folder} is not empty and not from an earlier demonstration; nothing in it was touched. Choose another --folder"
            raise DemoFailed(msg)
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != marker:
                entry.unlink()
        marker.touch()
        return folder.resolve()
    except OSError as error:
        msg = f"cannot use the folder {folder}: {error.strerror or error}"
        raise DemoFailed(msg) from error


def read_log(log: Path) -> list[Answer]:
    """The load's log."""
    with log.open(encoding="ascii") as lines:
        return read_answers(lines)


@asynccontextmanager
async def _scene(case: Case, folder: Path, pace: Pace, audience: Audience, seed: int) -> AsyncIterator[Scene]:
    """Starts everything in the order in which one needs the other; leaving stops it in the reverse order."""
    async with Processes(folder / "logs") as processes:
        audience.stage("starting the guard")
        guard = await start_guard(processes, folder)
        audience.stage(f"starting {case.system.title}, blue {case.blue.version} and green {case.green.version}")
        blue, green = await _slots(processes, case, guard, seed)
        places = Places(
            blue=blue.addresses,
            green=green.addresses,
            proxy_listen=f"{LOOPBACK}:{free_port()}",
            proxy_admin=f"{LOOPBACK}:{free_port()}",
            guard_control=f"{LOOPBACK}:{free_port()}",
            committed_folder=str(folder / "committed"),
        )
        text = plan_text(case, pace, places)
        (folder / "plan.yaml").write_text(text, encoding="utf-8")
        audience.stage("starting the proxy")
        proxy = await start_proxy(processes, folder, load_plan(text, source=str(folder / "plan.yaml")))
        log = folder / "requests.csv"
        load = await _users(processes, case, proxy, audience, seed, log)
        yield Scene(processes, guard, proxy, load, log, text)


async def _users(processes: Processes, case: Case, proxy: Proxy, audience: Audience, seed: int, log: Path) -> Process:
    """The users, as many as this machine can serve: where it is busy with something else, half as many or a quarter.

    Returns when starting has calmed down: a reference that is learned before would be of a slower system than what follows.

    Raises: DemoFailed: even these wait too long.
    """
    rate_per_s = case.rate_per_s
    for _ in range(_RATES):
        audience.stage(f"users arrive: {rate_per_s:g} requests a second")
        load = await start_load(processes, case.system, proxy.address, rate_per_s, seed, log)
        for _ in range(_WARM_UPS):
            await asyncio.sleep(_WARM_UP_S)
            processes.check()
            lately = (await asyncio.to_thread(read_log, log))[-round(rate_per_s * _WARM_UP_S) :]
            if served(lately, rate_per_s * _WARM_UP_S, CALM_MS):
                return load
        if served(lately, rate_per_s * _WARM_UP_S, BUSY_MS):
            return load
        await load.stop()
        processes.forget(load)
        rate_per_s /= 2
    msg = f"this machine is too busy: at {2 * rate_per_s:g} requests a second answers still take longer than {BUSY_MS:g} ms. Try later"
    raise DemoFailed(msg)


def served(answers: Sequence[Answer], expected: float, median_max_ms: float) -> bool:
    """Whether the latest users were served well: most of the requests that were due are answered, and quickly."""
    if len(answers) < expected / 2 or any(not answer.slot for answer in answers):
        return False
    return median(answer.latency_ms for answer in answers) <= median_max_ms


async def _slots(processes: Processes, case: Case, guard: Guard, seed: int) -> tuple[Slot, Slot]:
    outside = await start_outside(processes, case.system, seed)
    nobody = f"{LOOPBACK}:{free_port()}"

    async def slot(name: str) -> Slot:
        behaviour = case.green if name == "green" else case.blue
        traces_to = guard.traces_to if behaviour.traces_arrive else nobody
        return await start_slot(processes, case.system, name, behaviour, outside=outside, traces_to=traces_to, seed=seed)

    blue, green = await asyncio.gather(slot("blue"), slot("green"))
    return blue, green


async def _rollout(case: Case, scene: Scene, pace: Pace, audience: Audience) -> tuple[RolloutStatus, float | None]:
    """Returns: how the rollout stood at the end, and when the guard was killed, if it was."""
    async with scene.guard.control() as control:
        started = await control.start(scene.plan, ACTOR)
        watching = asyncio.create_task(_watch(control, started.id, case.kill_guard_at_percent, audience))
        checking = asyncio.create_task(_check(scene))
        try:
            await asyncio.wait([watching, checking], return_when=asyncio.FIRST_COMPLETED)
            if not watching.done():
                await checking  # raises what it found
            status = await watching
        finally:
            for task in (watching, checking):
                task.cancel()
            await asyncio.gather(watching, checking, return_exceptions=True)
    if status.phase in TERMINAL | STOPPED or case.kill_guard_at_percent is None:
        return status, None
    audience.stage(f"the guard is killed at {status.observed_percent:g} %")
    scene.guard.process.send(signal.SIGKILL)
    killed_unix_s = time.time()
    await scene.guard.process.wait()
    await asyncio.sleep(pace.lease_s + _AFTER_KILL_S)
    scene.processes.check(scene.guard.process)
    return status, killed_unix_s


async def _watch(control: RolloutControl, rollout_id: str, until_percent: float | None, audience: Audience) -> RolloutStatus:
    """Shows the rollout until its end, until it stops and waits for people, or until this much of the traffic goes to the candidate."""
    events: list[RolloutEvent] = []
    async for status in control.watch(rollout_id):
        events += await control.events(rollout_id, after=events[-1].sequence if events else 0)
        audience.status(status, events)
        if status.phase in TERMINAL | STOPPED:
            return status
        if until_percent is not None and status.phase is Phase.WATCHING and (status.observed_percent or 0.0) >= until_percent:
            return status
    return await control.status(rollout_id)


async def _check(scene: Scene) -> None:
    """Raises: DemoFailed: a process has ended."""
    while True:
        scene.processes.check()
        await asyncio.sleep(_CHECK_S)
