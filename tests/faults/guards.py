"""Real guards (`verdigris serve`) before one real HAProxy, with users and spans: what tests of several or restarted guards need."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from tests.contract.data_planes.haproxy import HaproxyHarness, haproxy_harness
from tests.contract.data_planes.requests import Connection, Tally

from verdigris.ledger.signing import new_key
from verdigris.rollout.status import RolloutStatus
from verdigris.server.client import RemoteControl

RATE_PER_S = 100
START_S = 60.0


class Guard:
    """One guard process with a state folder of its own. `program` runs before the command, for a guard of another version."""

    def __init__(self, folder: Path, database_url: str | None = None, program: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.state, self.folder, self.program = folder / "state", folder, program
        settings = [f"state_folder: {self.state}", "otlp: {grpc: null, http: '127.0.0.1:0'}", "takeover_after_s: 3"]
        if database_url:
            key = folder.parent / "ledger.key"
            if not key.exists():
                new_key(key)
            settings += [f"database_url: '{database_url}'", f"ledger: {{key: '{key}'}}"]
        (folder / "guard.yaml").write_text("\n".join(settings), encoding="utf-8")
        self.process: asyncio.subprocess.Process | None = None
        self.spans_to = ""

    async def start(self) -> None:
        run = f"import sys; {self.program}\nfrom verdigris.cli.main import run; sys.argv[0] = 'verdigris'; run()"
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", run, "serve", "--settings", str(self.folder / "guard.yaml"), "--json", "-v",
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), START_S)
        assert line, (self.folder / "log").read_text(encoding="utf-8")[-3000:]
        self.spans_to = f"http://{json.loads(line)['otlp_http']}/v1/traces"

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def control(self) -> RemoteControl:
        return RemoteControl(folder=self.state)


class Stage:
    """HAProxy, its upstreams, users and their spans."""

    def __init__(self, haproxy: HaproxyHarness, folder: Path) -> None:
        self.haproxy, self.folder = haproxy, folder
        self.guards: list[Guard] = []
        self.answers: list[tuple[float, str]] = []
        """When a request was answered (monotonic seconds), and by which slot."""

    async def guard(self, name: str, database_url: str | None = None, program: str = "") -> Guard:
        guard = Guard(self.folder / name, database_url, program)
        self.guards.append(guard)
        await guard.start()
        return guard

    def plan_text(self) -> str:
        plan = self.haproxy.plan
        settings = {key: plan.traffic.settings[key] for key in ("subject", "socket", "map_file")}
        return json.dumps(
            {
                "version": 1,
                "name": "shop",
                "change": {"reason": "test", "security_impact": "none", "rollback_plan": "blue", "ticket": "T-1", "author": "ann"},
                "baseline": {"slot": "blue", "identity": {"slot": "blue"}, "addresses": list(plan.baseline.addresses)},
                "candidate": {"slot": "green", "identity": {"slot": "green"}, "addresses": list(plan.candidate.addresses)},
                "traffic": {"adapter": "haproxy", "lease": "3s", "settings": settings},
                "steps": [{"weight": "50%", "minimum": "300s", "maximum": "600s", "require": "pass"}],
                "observe": {"window": "1s", "settle": "1s", "reference": "4s"},
                "bake": {"for": "5s"},
            }
        )

    async def users(self) -> None:
        """Requests at an even rate; each answer becomes a span, sent to every guard twice a second."""
        connection, tally, spans = Connection(self.haproxy.haproxy.port), Tally(), dict[str, list[dict[str, Any]]]()
        sent_s, posting = time.monotonic(), set[asyncio.Task[None]]()
        async with httpx.AsyncClient(timeout=2.0) as client, contextlib.AsyncExitStack() as stack:
            stack.callback(connection.close)
            while True:
                began_ns, before = time.time_ns(), tally.answers()
                await connection.ask(tally)
                slot = "green" if tally.answers().candidate > before.candidate else "blue"
                self.answers.append((time.monotonic(), slot))
                spans.setdefault(slot, []).append(_span(began_ns, time.time_ns()))
                if time.monotonic() - sent_s > 0.5:
                    body, spans, sent_s = _export(spans), {}, time.monotonic()
                    posting = {task for task in posting if not task.done()}
                    posting |= {asyncio.create_task(_post(client, guard.spans_to, body)) for guard in self.guards}
                await asyncio.sleep(1 / RATE_PER_S)

    def share_of_green(self, over_s: float) -> float:
        """Of the answers in the last seconds."""
        since = time.monotonic() - over_s
        recent = [slot for at, slot in self.answers if at >= since]
        return recent.count("green") / max(len(recent), 1)

    async def until_share(self, low: float, high: float, within_s: float) -> float:
        """Wait until green's share of the last second is in the range. Returns how long that took."""
        began_s = time.monotonic()
        while True:
            waited_s = time.monotonic() - began_s
            if waited_s > 0.5 and low <= self.share_of_green(0.5) <= high:
                return waited_s
            assert waited_s < within_s, f"green has {self.share_of_green(0.5):.0%}, wanted {low:.0%} to {high:.0%}; {self.logs()}"
            await asyncio.sleep(0.05)

    def logs(self) -> str:
        return "\n".join((guard.folder / "log").read_text(encoding="utf-8")[-1500:] for guard in self.guards)


@contextlib.asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Everything, and all of it gone at the end."""
    async with haproxy_harness() as haproxy:
        made = Stage(haproxy, folder)
        users = asyncio.create_task(made.users())
        try:
            yield made
        finally:
            users.cancel()
            await asyncio.gather(users, return_exceptions=True)
            for guard in made.guards:
                with contextlib.suppress(ProcessLookupError):
                    guard.signal(signal.SIGCONT)
                await guard.kill()


async def until(control: RemoteControl, rollout_id: str, *phases: str, within_s: float) -> RolloutStatus:
    """The rollout's status once it is in one of these phases."""
    async with asyncio.timeout(within_s):
        while True:
            status = await control.status(rollout_id)
            if status.phase.value in phases:
                return status
            await asyncio.sleep(0.1)


async def _post(client: httpx.AsyncClient, url: str, body: bytes) -> None:
    with contextlib.suppress(httpx.HTTPError):  # a guard that is dead or frozen takes nothing; that is what is being tested
        await client.post(url, content=body, headers={"content-type": "application/json"})


def _span(start_ns: int, end_ns: int) -> dict[str, Any]:
    return {
        "traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "name": "GET /things", "kind": 2,
        "startTimeUnixNano": str(start_ns), "endTimeUnixNano": str(end_ns), "status": {},
    }  # fmt: skip


def _export(spans: dict[str, list[dict[str, Any]]]) -> bytes:
    instance = str(os.getpid())
    resources = [
        {
            "resource": {
                "attributes": [_text("service.name", "things"), _text("slot", slot), _text("service.instance.id", slot + instance)]
            },
            "scopeSpans": [{"scope": {"name": "test"}, "spans": of_slot}],
        }
        for slot, of_slot in spans.items()
    ]  # fmt: skip
    return json.dumps({"resourceSpans": resources}).encode()


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}
