"""HAProxy, real, for the contract suite. Its port is a socket of the test's own that HAProxy inherits: no port is ever guessed."""

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import jwt
from tests.contract.data_planes.guards import GuardProcess
from tests.contract.data_planes.harness import Answers, Feature, Seen, Token
from tests.contract.data_planes.plans import plan_of
from tests.contract.data_planes.requests import RequestLoad, Upstreams, send, wait_until
from tests.required import missing

from verdigris.plan.plan import Plan, Setting
from verdigris.traffic.chosen_users import COOKIE, HEADER, issue, new_key
from verdigris.traffic.data_plane import DataPlane, Routing, TrafficError
from verdigris.traffic.haproxy import HaproxyDataPlane
from verdigris.traffic.haproxy_config import first_map, haproxy_config
from verdigris.traffic.haproxy_socket import AdminSocket

START_S_MAX = 15.0


def haproxy_binary() -> str:
    """HAProxy's program; without one the test is `missing` it."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        missing("haproxy", "there is no haproxy here; scripts/setup-servers installs it")
    return found


class HaproxyProcess:
    """A HAProxy that is running, and can be started again with the same files."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._binary = haproxy_binary()
        self._folder = folder
        self._plan = plan
        self._process: subprocess.Popen[bytes] | None = None
        # It stays open: while HAProxy is away, connections wait in the backlog for the next one.
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.set_inheritable(True)
        self.port = int(self._listener.getsockname()[1])
        (folder / "first.map").write_text(first_map(plan), encoding="utf-8")
        shutil.copy(folder / "first.map", str(plan.traffic.settings["map_file"]))
        self.configure(haproxy_config(plan))

    def configure(self, config: str) -> None:
        """What the next start reads, as it was generated but for the port."""
        taken, places = re.subn(r"^    bind .*$", f"    bind fd@{self._listener.fileno()}", config, flags=re.MULTILINE)
        assert places == 1
        (self._folder / "haproxy.cfg").write_text(taken, encoding="utf-8")

    async def start(self) -> None:
        """Start it; wait until it answers."""
        process = self._spawn()
        admin = AdminSocket(str(self._plan.traffic.settings["socket"]), 1.0)
        give_up_s = time.monotonic() + START_S_MAX
        while True:
            with contextlib.suppress(TrafficError):
                # The first one may still be the socket of the HAProxy before.
                if await admin.process_id() == process.pid:
                    return
            if time.monotonic() > give_up_s or process.poll() is not None:
                msg = f"haproxy does not start: {(self._folder / 'haproxy.log').read_text(encoding='utf-8')[-2000:]}"
                raise AssertionError(msg)
            await asyncio.sleep(0.02)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self._folder / "haproxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "-db", "-f", str(self._folder / "haproxy.cfg")],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=[self._listener.fileno()],
            )  # fmt: skip
        return self._process

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> None:
        self.stop()
        self._listener.close()


class HaproxyHarness:
    """See `Harness`. What carries weights is also what reads back, the admin socket: they can only be cut together."""

    features = frozenset({Feature.CHOSEN_USERS, Feature.REAL_REQUESTS})

    def __init__(self, plan: Plan, keys: dict[str, bytes], haproxy: HaproxyProcess, upstreams: Upstreams) -> None:
        self.plan, self.haproxy, self.upstreams = plan, haproxy, upstreams
        self._keys = keys
        self._planes: list[HaproxyDataPlane] = []
        self._guards: list[GuardProcess] = []
        self.socket = Path(str(plan.traffic.settings["socket"]))

    async def open(self) -> DataPlane:
        return HaproxyDataPlane(self.plan)

    async def end(self) -> None:
        for guard in self._guards:
            await guard.end()

    async def restart_proxy(self) -> None:
        self.haproxy.stop()
        await self.haproxy.start()

    async def cut_control(self) -> None:
        self.socket.rename(self.socket.with_suffix(".away"))

    async def mend_control(self) -> None:
        self.socket.with_suffix(".away").rename(self.socket)

    async def command(self, text: str) -> str:
        """What an operator with a shell can do; HAProxy's answer."""
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(text.encode() + b"\n")
            return (await reader.read()).decode()
        finally:
            writer.close()
            await writer.wait_closed()

    async def change_by_hand(self, candidate_percent: float) -> None:
        found = re.search(r"lease (\S+)", await self.command(f"show map {self.plan.traffic.settings['map_file']}"))
        assert found is not None
        assert not (await self.command(f"set table verdigris_shop key {found[1]} data.gpt0 {round(candidate_percent * 10_000)}")).strip()

    def token(self, token: Token) -> str:
        now_s = time.time()
        match token:
            case Token.VALID:
                return issue(self._keys["good"], "shop", "tester", now_s, 60)
            case Token.EXPIRED:
                return issue(self._keys["good"], "shop", "tester", now_s - 120, 60)
            case Token.FORGED:
                return issue(self._keys["other"], "shop", "tester", now_s, 60)
            case Token.OF_OTHER_SUBJECT:
                return issue(self._keys["good"], "bakery", "tester", now_s, 60)
            case Token.WITHOUT_END:
                claims = {"iss": "verdigris", "aud": "shop", "sub": "tester"}
                return jwt.encode(claims, self._keys["good"].decode(), algorithm="ES256")

    async def send(self, requests: int, token: Token | None = None, *, cookie: bool = False) -> Answers:
        if token is None:
            return await send(self.haproxy.port, requests)
        shown = self.token(token)
        return await send(self.haproxy.port, requests, [f"cookie: other=1; {COOKIE}={shown}" if cookie else f"{HEADER}: {shown}"])

    async def seen(self) -> Seen:
        return await self.upstreams.seen()

    async def break_candidate(self) -> None:
        await self.upstreams.green.stop()

    @contextlib.asynccontextmanager
    async def load(self) -> AsyncIterator[RequestLoad]:
        load = RequestLoad(self.haproxy.port)
        try:
            yield load
        finally:
            await load.stop()

    async def guard(self, generation: int, routing: Routing, lease_s: float, every_s: float) -> GuardProcess:
        guard = await GuardProcess.start(self.plan, None, generation, routing, lease_s, every_s)
        self._guards.append(guard)
        await guard.said("applied")
        return guard

    async def wait_until(self, holds: Callable[[], Awaitable[bool]], within_s: float) -> float:
        return await wait_until(holds, within_s)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@contextlib.asynccontextmanager
async def haproxy_harness(lease_s: float = 60.0, **settings: Setting) -> AsyncIterator[HaproxyHarness]:
    """Two upstreams and a HAProxy between them, that keeps a lease for `lease_s` at most."""
    haproxy_binary()
    async with contextlib.AsyncExitStack() as stack:
        # Not pytest's folder: the path of a Unix socket has 107 characters at most.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="haproxy-")))
        private, public = new_key()
        (folder / "token.pub").write_bytes(public)
        upstreams = await stack.enter_async_context(Upstreams())
        plan = plan_of(
            "haproxy", upstreams,
            {
                "subject": "shop", "socket": str(folder / "admin.sock"), "map_file": str(folder / "verdigris.map"),
                "token_key": str(folder / "token.pub"),
            } | settings,
        )  # fmt: skip
        plan = replace(plan, traffic=replace(plan.traffic, lease_s=lease_s))
        haproxy = HaproxyProcess(folder, plan)
        stack.callback(haproxy.end)
        await haproxy.start()
        harness = HaproxyHarness(plan, {"good": private, "other": new_key()[0]}, haproxy, upstreams)
        stack.push_async_callback(harness.end)
        yield harness
