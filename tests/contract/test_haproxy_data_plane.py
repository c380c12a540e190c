"""What is particular to HAProxy, against a real one: the two clocks of a lease, the fence between guards, its counters, its tokens."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.contract.data_planes.haproxy import HaproxyHarness, haproxy_harness
from tests.contract.data_planes.requests import Connection, Tally, send, wait_until

from verdigris.traffic.chosen_users import HEADER
from verdigris.traffic.data_plane import BASELINE_ONLY, NotSupported, OutcomeUnknown, Routing, Split, StaleGeneration, TrafficError
from verdigris.traffic.haproxy import HaproxyDataPlane
from verdigris.traffic.haproxy_config import first_map, haproxy_config
from verdigris.traffic.haproxy_map import Durable, read_file

pytestmark = pytest.mark.anyio

LONG_S = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def harness() -> AsyncIterator[HaproxyHarness]:
    async with haproxy_harness() as made:
        yield made


def told(split: Split | None) -> Split:
    assert split is not None
    return split


def map_file(harness: HaproxyHarness) -> Path:
    return Path(str(harness.plan.traffic.settings["map_file"]))


class Interrupted:
    """A plane's admin socket, with something happening before one kind of command, once."""

    def __init__(self, admin: Any, command: str, happens: Callable[[], Awaitable[object]]) -> None:
        self._admin, self._command, self._happens = admin, command, happens
        self._happened = False

    def __getattr__(self, name: str) -> Any:
        if name != self._command or self._happened:
            return getattr(self._admin, name)

        async def first(*arguments: Any, **named: Any) -> Any:
            self._happened = True
            await self._happens()
            return await getattr(self._admin, name)(*arguments, **named)

        return first


def interrupt(plane: HaproxyDataPlane, command: str, happens: Callable[[], Awaitable[object]]) -> None:
    plane._admin = Interrupted(plane._admin, command, happens)  # type: ignore[assignment]


# -- the two clocks of a lease ----------------------------------------------------------------------------------------------------


async def test_no_wall_clock_lengthens_a_lease() -> None:
    async with haproxy_harness(lease_s=1.0) as harness:
        plane = await harness.open()
        await plane.apply(1, Routing(100.0), 1.0)
        began_s = time.monotonic()

        async def over() -> bool:
            # As if the wall clock stood still: the end is always half a second away.
            until_ms = (round(time.time() * 1000) + 500) & 0xFFFFFFFF
            assert not (await harness.command(f"set table verdigris_shop key 1 data.gpc1 {until_ms}")).strip()
            return (await harness.send(1)).baseline == 1

        await wait_until(over, 1.6)
        assert time.monotonic() - began_s > 0.7
        assert told(await plane.observe()).routing == BASELINE_ONLY


async def test_no_steady_clock_lengthens_a_lease(harness: HaproxyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(100.0), 0.5)

    async def over() -> bool:
        # As if HAProxy's own clock stood still, which it does while HAProxy is starved of processor time.
        assert not (await harness.command("set table verdigris_shop key 1 data.gpc0_rate 1000000")).strip()
        return (await harness.send(1)).baseline == 1

    await wait_until(over, 1.0)
    assert told(await plane.observe()).routing == BASELINE_ONLY


@pytest.mark.parametrize("left_s", [-1.0, 121.0, 2_000_000.0, -2_000_000.0])
async def test_an_end_that_cannot_be_meant_does_not_count(harness: HaproxyHarness, left_s: float) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(100.0), LONG_S)
    until_ms = round((time.time() + left_s) * 1000) & 0xFFFFFFFF
    assert not (await harness.command(f"set table verdigris_shop key 1 data.gpc1 {until_ms}")).strip()
    assert (await harness.send(20)).baseline == 20
    assert told(await plane.observe()).generation is None


async def test_a_guard_that_was_frozen_in_the_middle_of_a_renewal_does_not_lengthen_its_lease(harness: HaproxyHarness) -> None:
    plane = HaproxyDataPlane(harness.plan)
    await plane.apply(1, Routing(100.0), 0.6)
    interrupt(plane, "write_row", lambda: asyncio.sleep(0.7))
    split = told(await plane.apply(1, Routing(100.0), 0.6))
    assert (split.routing, split.generation) == (BASELINE_ONLY, None)
    assert (await harness.send(20)).candidate == 0


async def test_a_lease_that_haproxy_does_not_keep_moves_nothing(harness: HaproxyHarness) -> None:
    plane = await harness.open()
    with pytest.raises(NotSupported, match="60 s at most"):
        await plane.apply(1, Routing(100.0), 61.0)
    assert told(await plane.observe()).routing == BASELINE_ONLY
    assert (await harness.send(20)).candidate == 0
    await plane.apply(2, Routing(50.0), LONG_S)
    with pytest.raises(NotSupported, match="60 s at most"):
        await plane.apply(2, Routing(100.0), 61.0)
    assert told(await plane.observe()).routing == Routing(50.0)


# -- the fence between guards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["read_map", "write_row", "prepare_map", "commit_map", "map_versions"])
async def test_wherever_another_guard_comes_in_between_the_older_one_loses(harness: HaproxyHarness, at: str) -> None:
    older, newer = HaproxyDataPlane(harness.plan), HaproxyDataPlane(harness.plan)
    interrupt(older, at, lambda: newer.return_to_baseline(7))
    with pytest.raises(StaleGeneration):
        await older.apply(5, Routing(100.0), LONG_S)
    assert told(await newer.observe()).routing == BASELINE_ONLY
    assert (await harness.send(20)).candidate == 0
    assert read_file(str(map_file(harness))) == Durable("blue", 7, None)


@pytest.mark.parametrize("at", ["read_map", "read_row", "write_row"])
async def test_a_renewal_that_another_guard_overtook_is_told(harness: HaproxyHarness, at: str) -> None:
    older, newer = HaproxyDataPlane(harness.plan), HaproxyDataPlane(harness.plan)
    await older.apply(5, Routing(100.0), LONG_S)
    interrupt(older, at, lambda: newer.return_to_baseline(7))
    with pytest.raises(StaleGeneration) as refused:
        await older.apply(5, Routing(100.0), LONG_S)
    assert refused.value.newest == 7
    assert (await harness.send(20)).candidate == 0
    assert read_file(str(map_file(harness))) == Durable("blue", 7, None)


async def test_who_asked_for_a_version_before_the_newer_commit_cannot_use_it_after(harness: HaproxyHarness) -> None:
    older, newer = HaproxyDataPlane(harness.plan), HaproxyDataPlane(harness.plan)
    go_on = asyncio.Event()
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await go_on.wait()

    async def start_older() -> None:
        # The older guard asks for its version, a higher one, and reads the map before the newer one's commit; then it is held up.
        tasks.append(asyncio.create_task(older.apply(5, Routing(100.0), LONG_S)))
        await waiting.wait()

    tasks: list[asyncio.Task[Split | None]] = []
    interrupt(older, "commit_map", wait)
    interrupt(newer, "commit_map", start_older)
    await newer.return_to_baseline(7)
    go_on.set()
    with pytest.raises(StaleGeneration):
        await tasks[0]
    assert Durable.read(await newer._admin.read_map(str(map_file(harness)))) == Durable("blue", 7, None)


async def test_a_return_is_not_refused_by_whoever_comes_in_between(harness: HaproxyHarness) -> None:
    plane, other = HaproxyDataPlane(harness.plan), HaproxyDataPlane(harness.plan)
    interrupt(plane, "commit_map", lambda: other.apply(9, Routing(100.0), LONG_S))
    assert told(await plane.return_to_baseline(3)).routing == BASELINE_ONLY
    with pytest.raises(StaleGeneration):
        await other.apply(9, Routing(100.0), LONG_S)


async def test_the_fence_holds_over_a_restart(harness: HaproxyHarness) -> None:
    await HaproxyDataPlane(harness.plan).apply(5, Routing(50.0), LONG_S)
    await harness.restart_proxy()
    plane = HaproxyDataPlane(harness.plan)
    assert told(await plane.observe()).routing == BASELINE_ONLY, "rows do not outlive HAProxy"
    with pytest.raises(StaleGeneration):
        await plane.apply(4, Routing(50.0), LONG_S)


# -- the durable default ----------------------------------------------------------------------------------------------------------


async def test_a_file_that_says_something_else_is_told_and_cured_by_returning(harness: HaproxyHarness) -> None:
    plane = await harness.open()
    map_file(harness).write_text(first_map(harness.plan).replace("blue", "green"), encoding="utf-8")
    with pytest.raises(TrafficError, match="would start again with 'green'"):
        await plane.observe()
    assert told(await plane.return_to_baseline(1)).routing == BASELINE_ONLY
    assert read_file(str(map_file(harness))).default == "blue"


async def test_a_map_that_somebody_cleared_means_the_slot_it_was_configured_with_and_returning_cures_it(harness: HaproxyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(100.0), LONG_S)
    await harness.command(f"clear map {map_file(harness)}")
    assert (await harness.send(20)).baseline == 20
    with pytest.raises(TrafficError, match="default, newest and lease"):
        await plane.observe()
    assert told(await plane.return_to_baseline(1)).routing == BASELINE_ONLY


async def test_the_traffic_goes_back_also_when_the_file_cannot_be_written(harness: HaproxyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(100.0), LONG_S)
    map_file(harness).rename(map_file(harness).with_suffix(".away"))
    map_file(harness).mkdir()
    with pytest.raises(TrafficError, match="cannot be written"):
        await plane.return_to_baseline(2)
    assert (await harness.send(20)).baseline == 20
    map_file(harness).rmdir()
    assert told(await plane.return_to_baseline(2)).routing == BASELINE_ONLY
    assert read_file(str(map_file(harness))) == Durable("blue", 2, None)


async def test_when_the_roles_have_changed_places_the_same_configuration_serves(harness: HaproxyHarness) -> None:
    await HaproxyDataPlane(harness.plan).commit(1)
    plan = replace(harness.plan, baseline=harness.plan.candidate, candidate=harness.plan.baseline)
    plane = HaproxyDataPlane(plan)
    split = told(await plane.apply(2, Routing(20.0, chosen_users=True), LONG_S))
    assert (split.routing, split.committed) == (Routing(20.0, chosen_users=True), False)
    slots = await harness.send(1000)  # the harness calls blue the baseline
    assert 130 < slots.baseline < 270
    assert told(await plane.observe()).candidate_requests == slots.baseline
    assert told(await plane.return_to_baseline(2)).committed is False
    assert (await harness.send(20)).candidate == 20
    assert told(await plane.commit(3)).committed is True
    assert (await harness.send(20)).baseline == 20


# -- requests and their counters --------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def candidate_that(harness: HaproxyHarness, answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[None]:
    """Replaces the candidate's service by one that answers like this."""
    await harness.upstreams.green.stop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                await reader.readuntil(b"\r\n\r\n")
                await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", harness.upstreams.green.port)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def refuse(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def break_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("answer", [refuse, hang_up, break_off])
@pytest.mark.parametrize("kept", [False, True])
async def test_each_failure_is_counted_once(
    harness: HaproxyHarness, answer: Callable[[asyncio.StreamWriter], Awaitable[None]], kept: bool  # noqa: FBT001
) -> None:  # fmt: skip
    plane = await harness.open()
    connection, tally = Connection(harness.haproxy.port), Tally()
    requests = 12
    async with candidate_that(harness, answer):
        for number in range(requests):
            if kept:
                # A request to the baseline first: the next is not the first one on its connection.
                await plane.apply(2 * number, Routing(0.0), LONG_S)
                await connection.ask(tally)
            await plane.apply(2 * number + 1, Routing(100.0), LONG_S)
            await connection.ask(tally)
            if not kept:
                connection.close()

        async def counted() -> bool:
            split = told(await plane.observe())
            assert split.candidate_failures <= requests
            return (split.candidate_requests, split.candidate_failures) == (requests, requests)

        await wait_until(counted, 2.0)
    connection.close()
    split = told(await plane.observe())
    assert (split.baseline_requests, split.baseline_failures) == (requests if kept else 0, 0)
    assert tally.answers().failed == requests


async def test_requests_under_way_are_answered_when_the_traffic_goes_back(harness: HaproxyHarness) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nx-slot: green\r\ncontent-length: 0\r\n\r\n")

    plane = await harness.open()
    await plane.apply(1, Routing(100.0), LONG_S)
    async with candidate_that(harness, slowly):
        under_way = asyncio.create_task(send(harness.haproxy.port, 1, connections=1))
        await arrived.wait()
        split = told(await plane.return_to_baseline(1))
        assert (split.candidate_requests, split.candidate_failures) == (1, 0)
        assert (await harness.send(5)).baseline == 5
        go_on.set()
        answers = await under_way
        assert (answers.candidate, answers.failed) == (1, 0), answers.failures


async def test_trace_context_passes_untouched(harness: HaproxyHarness) -> None:
    parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await send(harness.haproxy.port, 3, [parent, "tracestate: vendor=1"])
    for head in harness.upstreams.blue.heads:
        assert parent.encode() in head.lower()
        assert b"tracestate: vendor=1" in head.lower()


# -- HAProxy not answering --------------------------------------------------------------------------------------------------------


async def test_a_proxy_that_does_not_answer_leaves_the_outcome_unknown(harness: HaproxyHarness) -> None:
    plane = HaproxyDataPlane(harness.plan, timeout_s=0.3)
    process = harness.haproxy._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(OutcomeUnknown, match="read back"):
            await plane.apply(1, Routing(50.0), LONG_S)
    finally:
        process.send_signal(signal.SIGCONT)
    assert told(await plane.return_to_baseline(1)).routing == BASELINE_ONLY


async def test_a_proxy_that_is_gone_is_told(harness: HaproxyHarness) -> None:
    plane = await harness.open()
    await harness.cut_control()
    for call in (plane.observe(), plane.apply(1, Routing(5.0), LONG_S), plane.return_to_baseline(1), plane.commit(1)):
        with pytest.raises(TrafficError, match="cannot be reached"):
            await call
    await harness.mend_control()


async def test_what_haproxy_cannot_do_is_refused_before_anything_moves(harness: HaproxyHarness) -> None:
    plane = await harness.open()
    with pytest.raises(NotSupported, match="copy requests"):
        await plane.apply(1, Routing(5.0, mirror_percent=1.0), LONG_S)
    settings = {name: value for name, value in harness.plan.traffic.settings.items() if name != "token_key"}
    without = HaproxyDataPlane(replace(harness.plan, traffic=replace(harness.plan.traffic, settings=settings)))
    with pytest.raises(NotSupported, match="token_key"):
        await without.apply(1, Routing(5.0, chosen_users=True), LONG_S)
    assert told(await plane.observe()).routing == BASELINE_ONLY


# -- tokens -----------------------------------------------------------------------------------------------------------------------


def unsigned(claims: dict[str, object], algorithm: str, key: bytes | None) -> str:
    """A token whose header names another algorithm."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    body = part(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()) + "." + part(json.dumps(claims).encode())
    return f"{body}.{part(hmac.new(key, body.encode(), hashlib.sha256).digest()) if key else ''}"


async def test_tokens_that_look_right_but_are_not_go_to_the_baseline(harness: HaproxyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(0.0, chosen_users=True), LONG_S)
    now_s = int(time.time())
    claims: dict[str, object] = {"iss": "verdigris", "aud": "shop", "sub": "tester", "exp": now_s + 60}
    private = harness._keys["good"]
    public = map_file(harness).with_name("token.pub").read_bytes()

    def signed(**changes: object) -> str:
        return jwt.encode({name: value for name, value in (claims | changes).items() if value is not None}, private, algorithm="ES256")

    good = signed()
    head, body, signature = good.split(".")
    assert (await send(harness.haproxy.port, 5, [f"{HEADER}: {good}"])).candidate == 5
    assert (await send(harness.haproxy.port, 5, [f"{HEADER}: {signed(nbf=now_s - 1)}"])).candidate == 5
    wrong = {
        "the public key as a shared secret": unsigned(claims, "HS256", public),
        "no algorithm": unsigned(claims, "none", None),
        "for another subject": signed(aud="shop2"),
        "for several subjects": signed(aud=["shop", "bakery"]),
        "for none": signed(aud=None),
        "not yet": signed(nbf=now_s + 50),
        "ends as text": signed(exp="soon"),
        "ended long ago": signed(exp=-1),
        "without end": signed(exp=None),
        "ends never": signed(exp=2**63),
        "signature cut off": f"{head}.{body}.",
        "signature changed": f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "body of another": f"{head}.{signed(sub='x').split('.')[1]}.{signature}",
        "no token": "x",
        "dots": "...",
        "long": "a" * 4000,
    }
    for what, token in wrong.items():
        answers = await send(harness.haproxy.port, 3, [f"{HEADER}: {token}"])
        assert (answers.baseline, answers.failed) == (3, 0), what
    # Two headers: only one is looked at, and neither reaches the services.
    await send(harness.haproxy.port, 3, [f"{HEADER}: x", f"{HEADER}: {good}"])
    heads = harness.upstreams.blue.heads + harness.upstreams.green.heads
    assert len(heads) > 40
    assert not [head for head in heads if HEADER.encode() in head.lower()]


async def test_a_configuration_without_key_knows_no_chosen_users() -> None:
    async with haproxy_harness() as harness:
        settings = {name: value for name, value in harness.plan.traffic.settings.items() if name != "token_key"}
        plan = replace(harness.plan, traffic=replace(harness.plan.traffic, settings=settings))
        harness.haproxy.configure(haproxy_config(plan))
        await harness.restart_proxy()
        plane = HaproxyDataPlane(plan)
        assert told(await plane.apply(1, Routing(100.0), LONG_S)).routing == Routing(100.0)
        assert (await harness.send(20)).candidate == 20
