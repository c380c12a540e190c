"""Starts a system's processes and tells each where the others are."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from verdigris.demo.processes import LOOPBACK, Process, Processes
from verdigris.demo.system.model import INSTANCES, Behaviour, System


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot as it runs: `addresses` are where the proxy finds its front service."""

    name: str
    behaviour: Behaviour
    addresses: tuple[str, ...]


async def start_outside(processes: Processes, system: System, seed: int) -> dict[str, list[int]]:
    """The API that the system calls outside, if any. Returns: its service name and ports."""
    if system.outside is None:
        return {}
    process = await processes.program("outside", "verdigris.demo.system.outside", {"system": system.name, "seed": seed})
    ports: dict[str, int] = (await process.hear())["ports"]
    return {name: [port] for name, port in ports.items()}


async def start_slot(
    processes: Processes, system: System, name: str, behaviour: Behaviour, *, outside: dict[str, list[int]], traces_to: str, seed: int
) -> Slot:
    """All hosts of one slot.

    Args:
        name: blue or green.
        outside: what `start_outside` returned.
        traces_to: `host:port` of an OTLP/gRPC receiver.
        seed: of everything accidental.
    Raises: DemoFailed: a host does not start.
    """
    hosts = []
    for number in range(1, INSTANCES + 1):
        settings = {"system": system.name, "slot": name, "instance": number, "behaviour": behaviour.document()}
        settings |= {"traces_to": traces_to, "seed": seed}
        hosts.append(await processes.program(f"{name}-{number}", "verdigris.demo.system.host", settings))
    ports: dict[str, list[int]] = defaultdict(list, {service: list(found) for service, found in outside.items()})
    for answer in await asyncio.gather(*(host.hear() for host in hosts)):
        for service, port in answer["ports"].items():
            ports[service].append(port)
    for host in hosts:
        host.say({"ports": ports})
    await asyncio.gather(*(host.hear() for host in hosts))
    return Slot(name, behaviour, tuple(f"{LOOPBACK}:{port}" for port in ports[system.front.name]))


async def start_load(processes: Processes, system: System, address: str, per_s: float, seed: int, log: Path) -> Process:
    """The users, asking `address` from now on; `log` grows. Close it by stopping the process."""
    settings = {"system": system.name, "address": address, "per_s": per_s, "seed": seed, "log": str(log)}
    process = await processes.program("load", "verdigris.demo.system.load", settings)
    await process.hear()
    return process
