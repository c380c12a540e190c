"""What only Envoy has: the control connection, its certificates, what it does to requests."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from tests.contract.data_planes.certificates import Authority
from tests.contract.data_planes.envoy import EnvoyHarness, envoy_harness
from tests.contract.data_planes.requests import Upstream, send, wait_until

from verdigris.plan.plan import Setting
from verdigris.traffic.data_plane import BASELINE_ONLY, NotSupported, OutcomeUnknown, Routing, StaleGeneration, TrafficError
from verdigris.traffic.envoy import EnvoyDataPlane, open_envoy
from verdigris.traffic.envoy_admin import ProxyClock
from verdigris.traffic.envoy_folder import EnvoyFolder
from verdigris.traffic.envoy_lease import CannotListen, LeaseServer, now_s
from verdigris.traffic.envoy_settings import Address
from verdigris.traffic.xds_messages import RUNTIME_TYPE, STREAM_METHOD, DiscoveryRequest, DiscoveryResponse, Resource

pytestmark = pytest.mark.anyio

LONG_S = 60.0
CONTEXT = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def harness() -> AsyncIterator[EnvoyHarness]:
    async with envoy_harness() as made:
        yield made


# -- the control connection -------------------------------------------------------------------------------------------------------


async def test_a_proxy_that_restarts_is_told_what_is_left_of_a_lease(harness: EnvoyHarness) -> None:
    plane = await harness.open()
    began_s = time.monotonic()
    await plane.apply(1, Routing(50.0), 5.0)
    await harness.restart_proxy()

    async def percent(wanted: float) -> bool:
        split = await plane.observe()
        return split is not None and split.routing == Routing(wanted)

    await wait_until(lambda: percent(50.0), 3.0)
    assert time.monotonic() - began_s < 4.5, "restarting took the whole lease; nothing was shown"
    await wait_until(lambda: percent(0.0), 5.0)
    assert time.monotonic() - began_s < 5.0 + 0.3


async def test_what_was_sent_into_a_cut_network_is_unknown_and_is_not_sent_again(harness: EnvoyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(10.0), LONG_S)
    harness.relay.cut()
    with pytest.raises(OutcomeUnknown):
        await plane.apply(2, Routing(60.0), 8.0)
    # Envoy has given the silent connection up within a second; what hung in it is lost, and it finds us again.
    harness.relay.mend()
    await wait_until(lambda: _connected(harness), 5.0)
    await asyncio.sleep(0.2)
    split = await plane.observe()
    assert split is not None
    assert (split.routing, split.generation) == (Routing(10.0), 1)


async def test_a_renewal_that_nobody_heard_does_not_lengthen_the_lease(harness: EnvoyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(50.0), 2.0)
    await asyncio.sleep(0.8)
    harness.relay.cut()
    with pytest.raises(OutcomeUnknown):
        await plane.apply(1, Routing(50.0), 2.0)

    async def ended() -> bool:
        split = await plane.observe()
        return split is not None and split.routing == BASELINE_ONLY

    await wait_until(ended, 1.0)
    harness.relay.mend()
    with pytest.raises(StaleGeneration):
        await plane.apply(1, Routing(50.0), 2.0)


async def _connected(harness: EnvoyHarness) -> bool:
    return "control_plane.connected_state: 1" in await harness.envoy.admin("/stats?filter=control_plane.connected_state")


async def test_a_return_wins_over_an_apply_that_is_under_way(harness: EnvoyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(10.0), LONG_S)
    harness.relay.cut()
    applying = asyncio.create_task(plane.apply(2, Routing(60.0), LONG_S))
    await asyncio.sleep(0.1)
    split = await plane.return_to_baseline(1)
    assert split is not None
    assert split.routing == BASELINE_ONLY
    harness.relay.mend()
    with pytest.raises(TrafficError):
        await applying
    with pytest.raises(StaleGeneration):
        await plane.apply(2, Routing(60.0), LONG_S)
    split = await plane.observe()
    assert split is not None
    assert split.routing == BASELINE_ONLY


async def test_without_a_proxy_nothing_is_applied(harness: EnvoyHarness) -> None:
    async with open_envoy(harness.plan, bind="127.0.0.1:0") as plane:  # the relay does not lead here
        with pytest.raises(TrafficError, match="no proxy is connected"):
            await plane.apply(2, Routing(50.0), 2.0)
        with pytest.raises(StaleGeneration):
            await plane.apply(1, Routing(50.0), 2.0)
        assert (await plane.return_to_baseline(2)) is not None
        harness.envoy.stop()
        assert await plane.observe() is None
        assert await plane.apply(3, Routing(50.0), 2.0) is None
        assert await plane.return_to_baseline(3) is None


@pytest.mark.parametrize("lease_s", [0.5, 4000.0, float("nan")])
async def test_leases_have_bounds(harness: EnvoyHarness, lease_s: float) -> None:
    with pytest.raises(NotSupported):
        await (await harness.open()).apply(1, Routing(1.0), lease_s)


async def test_two_subjects_of_one_guard_share_an_address(harness: EnvoyHarness) -> None:
    with tempfile.TemporaryDirectory(prefix="envoy-") as folder:
        address = f"{folder}/xds"
        async with open_envoy(harness.plan, bind=address) as first:
            with pytest.raises(TrafficError, match="already open"):
                async with open_envoy(harness.plan, bind=address):
                    pass
            assert first.control_address.path == address
            assert await first.observe() is not None
        async with open_envoy(harness.plan, bind=address):
            pass
    with pytest.raises(CannotListen, match="plain text"):
        async with open_envoy(harness.plan, bind="0.0.0.0:0"):
            pass


@contextlib.asynccontextmanager
async def guarded(folder: Path, **changed: Setting) -> AsyncIterator[EnvoyHarness]:
    """An Envoy that insists on TLS."""
    authority = Authority(folder)
    guard, proxy = authority.issue("guard.example"), authority.issue("proxy.example")
    settings: dict[str, Setting] = {
        "xds_certificate": str(guard[0]), "xds_key": str(guard[1]), "xds_client_ca": str(authority.file),
        "xds_server_name": "guard.example", "xds_server_ca": str(authority.file), "xds_proxy_certificate": str(proxy[0]),
        "xds_proxy_key": str(proxy[1]),
    }  # fmt: skip
    async with envoy_harness(**(settings | changed)) as harness:
        yield harness


async def test_both_ends_show_certificates(tmp_path: Path) -> None:
    async with guarded(tmp_path) as harness:
        split = await (await harness.open()).apply(1, Routing(50.0), LONG_S)
        assert split is not None
        assert split.routing == Routing(50.0)


@pytest.mark.parametrize("wrong", ["the guard's name", "the guard's authority", "the proxy's authority"])
async def test_a_wrong_certificate_is_told_nothing(tmp_path: Path, wrong: str) -> None:
    other = Authority(tmp_path, "other")
    proxy = other.issue("proxy.example")
    changed: dict[str, dict[str, Setting]] = {
        "the guard's name": {"xds_server_name": "somebody.example"},
        "the guard's authority": {"xds_server_ca": str(other.file)},
        "the proxy's authority": {"xds_proxy_certificate": str(proxy[0]), "xds_proxy_key": str(proxy[1])},
    }
    async with guarded(tmp_path, **changed[wrong]) as harness:
        plane = await harness.open()
        with pytest.raises(TrafficError, match="no proxy is connected"):
            await plane.apply(1, Routing(50.0), 2.0)


# -- requests ---------------------------------------------------------------------------------------------------------------------


def heads(upstream: Upstream) -> list[str]:
    return [head.decode("latin-1").lower() for head in upstream.heads]


async def test_trace_context_passes_and_copies_have_none(harness: EnvoyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(0.0, mirror_percent=100.0), LONG_S)
    headers = [CONTEXT, "tracestate: a=b", "baggage: c=d", "x-request-id: 17"]
    assert (await send(harness.envoy.port, 10, headers, connections=2)).baseline == 10
    await harness.seen()
    blue, green = heads(harness.upstreams.blue), heads(harness.upstreams.green)
    assert len(blue) == len(green) == 10
    for head in blue:
        assert all(f"{header}\r\n" in head for header in headers)
        assert "x-envoy" not in head
    for head in green:
        assert "traceparent" not in head
        assert "tracestate" not in head
        assert "x-verdigris-copy: 1" in head
        assert "host: shop.example\r\n" in head


async def test_only_safe_methods_are_copied(harness: EnvoyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(0.0, mirror_percent=100.0), LONG_S)
    assert (await send(harness.envoy.port, 20, method="POST")).baseline == 20
    seen = await harness.seen()
    assert (seen.baseline, seen.candidate) == (20, 0)


async def test_callers_cannot_choose_themselves(harness: EnvoyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(0.0, chosen_users=True), LONG_S)
    for header in ("x-verdigris-user: maria", "verdigris-user: 1", "x-envoy-force-trace: 1", "cookie: verdigris-user=maria"):
        answers = await send(harness.envoy.port, 10, [header])
        assert (answers.baseline, answers.failed) == (10, 0), header


async def test_what_services_see_of_a_token_is_nothing(harness: EnvoyHarness) -> None:
    from tests.contract.data_planes.harness import Token  # noqa: PLC0415

    plane = await harness.open()
    await plane.apply(1, Routing(0.0, chosen_users=True), LONG_S)
    assert (await harness.send(5, Token.VALID)).candidate == 5
    assert not [head for head in heads(harness.upstreams.green) if "x-verdigris-user" in head]


# -- reading back -----------------------------------------------------------------------------------------------------------------


async def test_a_folder_that_cannot_be_written_is_told_and_traffic_goes_back_all_the_same(
    harness: EnvoyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(50.0), LONG_S)

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EnvoyFolder, "_write", full)
    with pytest.raises(TrafficError, match="No space"):
        await plane.return_to_baseline(1)
    split = await plane.observe()
    assert split is not None
    assert split.routing == BASELINE_ONLY


def test_the_clock_is_known_to_a_quarter_of_a_second_after_some_answers() -> None:
    for offset_s in (0.0, 2.5, -40.0):
        for phase_s in (0.0, 0.3, 0.49):
            clock = ProxyClock()
            for number in range(40):
                ours = 1_760_000_000 + number * 0.37
                shown = int(ours + offset_s - phase_s)  # the text is made anew only so long after each second
                clock.add(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(shown)), ours - 0.001, ours + 0.001)
            assert clock.offset_s is not None
            assert abs(clock.offset_s - offset_s) < 0.3
    clock.add("not a date", 0, 0)
    clock.add("Sun, 20 Nov 2033 19:51:01 GMT", 1_760_000_000, 1_760_000_001)
    assert clock.offset_s is not None
    assert clock.offset_s > 1e8


async def test_the_administration_interface_is_only_read(harness: EnvoyHarness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(5.0), LONG_S)
    with contextlib.suppress(aiohttp.ClientError):
        assert '"name": "admin"' not in await harness.envoy.admin("/config_dump")
    assert '"admin"' not in (await harness.envoy.admin("/runtime?format=json")).split('"layers"')[1]


# -- the guard's end, spoken to by hand -------------------------------------------------------------------------------------------


async def answers(server: LeaseServer, name: str, node: str = "proxy", version: str = "", within_s: float = 0.3) -> list[Any]:
    """What a proxy that connects now is told."""
    address = server.address
    assert address is not None
    told: list[Any] = []
    async with grpc.aio.insecure_channel(str(address)) as channel:
        service, method = STREAM_METHOD
        stream = channel.stream_stream(f"/{service}/{method}", DiscoveryRequest.SerializeToString, DiscoveryResponse.FromString)()
        request = DiscoveryRequest(resource_names=[name], type_url=RUNTIME_TYPE, version_info=version)
        request.node.id = node
        await stream.write(request)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while (answer := await stream.read()) is not grpc.aio.EOF:
                    resource = Resource()
                    answer.resources[0].Unpack(resource)
                    told.append(resource)
        stream.cancel()
    return told


@pytest.fixture
async def server() -> AsyncIterator[LeaseServer]:
    made = LeaseServer()
    await made.start(Address("127.0.0.1", 0), None)
    made.register("layer", "proxy")
    yield made
    await made.stop()


async def test_only_what_is_left_is_told_and_nothing_when_nothing_is_left(server: LeaseServer) -> None:
    await server.hold("layer", {"key": 5}, {}, now_s() + 2.0)
    (told,) = await answers(server, "layer")
    assert 1.5 < told.ttl.ToMilliseconds() / 1000 < 2.0
    await server.hold("layer", {"key": 5}, {}, now_s() + 0.5)
    await asyncio.sleep(0.5)
    assert await answers(server, "layer") == []
    assert await server.answered("layer", "never", 0.01) is None


async def test_a_dropped_layer_is_not_told(server: LeaseServer) -> None:
    await server.hold("layer", {"key": 5}, {}, now_s() + 60.0)
    await server.drop("layer")
    assert await answers(server, "layer", version="held") == []


async def test_of_what_nothing_was_said_a_new_proxy_is_told_that_and_one_with_a_lease_is_left_alone(server: LeaseServer) -> None:
    (told,) = await answers(server, "layer")
    assert not told.HasField("ttl")
    assert await answers(server, "layer", version="held") == []


@pytest.mark.parametrize(("name", "node"), [("other", "proxy"), ("layer", "another")])
async def test_others_are_refused(server: LeaseServer, name: str, node: str) -> None:
    await server.hold("layer", {"key": 5}, {}, now_s() + 60.0)
    with pytest.raises(grpc.aio.AioRpcError):
        await answers(server, name, node, within_s=5.0)


async def test_what_is_refused_is_not_sent(harness: EnvoyHarness) -> None:
    plane = await harness.open()
    assert isinstance(plane, EnvoyDataPlane)
    await plane.apply(3, Routing(10.0), LONG_S)
    await plane.return_to_baseline(3)
    said = plane._server._count
    for generation in (2, 3):
        with pytest.raises(StaleGeneration):
            await plane.apply(generation, Routing(60.0), LONG_S)
    assert plane._server._count == said
