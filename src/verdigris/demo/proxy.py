"""The proxy of a live case: Envoy, with the configuration that `verdigris traffic envoy-config` would print for the plan."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from verdigris.demo.errors import DemoFailed
from verdigris.demo.extra import envoy_program
from verdigris.demo.processes import START_S, Process, Processes
from verdigris.plan.plan import Plan
from verdigris.traffic.envoy_config import envoy_config

_POLL_S = 0.1
_OK = 200


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy: `address` is where users ask, `admin` where it says what it does."""

    process: Process
    address: str
    admin: str


async def start_proxy(processes: Processes, folder: Path, plan: Plan) -> Proxy:
    """Envoy for a plan; returns when it takes requests.

    Raises:
        DemoExtraMissing: there is no Envoy.
        DemoFailed: it does not start.
    """
    settings = plan.traffic.settings
    path = folder / "envoy.yaml"
    await asyncio.to_thread(path.write_text, envoy_config(plan), encoding="utf-8")
    await asyncio.to_thread(Path(str(settings["committed_folder"])).mkdir, parents=True, exist_ok=True)
    process = await processes.start("envoy", envoy_command(path))
    proxy = Proxy(process, str(settings["listen"]), str(settings["admin"]))
    await _ready(proxy)
    return proxy


def envoy_command(config: Path) -> Sequence[str]:
    """One worker: requests then share one connection pool, and two cores have other work to do. No hot restart: it shares memory by a
    number that other Envoys of this machine may use.
    """
    options = ("--concurrency", "1", "--log-level", "warning", "--disable-hot-restart")
    return (str(envoy_program()), "--config-path", str(config), *options)


async def _ready(proxy: Proxy) -> None:
    deadline_s = time.monotonic() + START_S
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
        while True:
            try:
                if (await client.get(f"http://{proxy.admin}/ready")).status_code == _OK:
                    return
            except httpx.HTTPError as error:
                if proxy.process.ended or time.monotonic() > deadline_s:
                    what = f"does not answer at {proxy.admin}: {error}"
                    raise proxy.process.failure(what) from error
            if time.monotonic() > deadline_s:
                msg = f"{proxy.process.name} is not ready after {START_S:g} s; its log is {proxy.process.log}"
                raise DemoFailed(msg)
            await asyncio.sleep(_POLL_S)
