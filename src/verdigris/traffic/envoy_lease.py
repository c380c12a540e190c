"""The guard's end of the control connection: an xDS server that tells Envoy one runtime layer per subject, each for a limited time.

The time to live is Envoy's dead-man's switch. Nothing here renews it: a layer is sent when `hold` says so, and again only to an Envoy
that connects anew, with what is left of the time. What is told but not yet sent is dropped when its time is over.
"""

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from verdigris.traffic.data_plane import TrafficError
from verdigris.traffic.envoy_settings import MILLION, Address, EnvoySettings
from verdigris.traffic.xds_messages import RUNTIME_TYPE, STREAM_METHOD, DiscoveryRequest, DiscoveryResponse, Resource, Runtime

log = logging.getLogger(__name__)

REQUEST_BYTES_MAX = 256 * 1024
"""Of one message from a proxy: its node description lists extensions, some tens of kilobytes."""

STREAMS_MAX = 64
LEFT_S_MIN = 0.05
"""A lease with less than this left is not sent any more."""

_OPTIONS = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_concurrent_streams", STREAMS_MAX),
    ("grpc.so_reuseport", 0),  # two guards on one address is a mistake that must show
    # Envoy asks every second whether we live, on a stream that is silent between leases; gRPC would call that too often.
    ("grpc.http2.min_ping_interval_without_data_ms", 100),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # And we ask whether Envoy lives: a stream that leads nowhere must not count as one.
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
)


class CannotListen(TrafficError):
    """The address of the control connection cannot be used. Safe: nothing was told to any proxy."""


def now_s() -> float:
    """Seconds on a clock that also counts while this machine sleeps: a lease must not outlive a suspended guard."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class _Layer:
    """What is to be told about one resource. `version` is empty as long as nothing was said."""

    node: str
    version: str = ""
    values: Mapping[str, int] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    until_s: float = math.inf
    streams: set["_Stream"] = field(default_factory=set)
    sent: str = ""
    accepted: str = ""
    refused: tuple[str, str] | None = None
    """Version and Envoy's reason."""


class _Stream:
    """One proxy, connected."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.nonces: dict[str, str] = {}
        """Nonce of the newest answers, and their version."""
        self.sent = ""


class LeaseServer:
    """Tells runtime layers to Envoys. One per listening address and process; subjects share it."""

    def __init__(self) -> None:
        self._layers: dict[str, _Layer] = {}
        self._changed = asyncio.Condition()
        self._streams = 0
        self._server: grpc.aio.Server | None = None
        self._instance = secrets.token_hex(4)
        self._count = 0
        self.address: Address | None = None

    async def start(self, listen: Address, credentials: grpc.ServerCredentials | None) -> None:
        """Listen. Raises: CannotListen."""
        if credentials is None and not listen.local:
            msg = f"{listen} is reachable from outside this machine, and weights are not sent in plain text; set the TLS files"
            raise CannotListen(msg)
        server = grpc.aio.server(options=_OPTIONS)
        service, method = STREAM_METHOD
        stream = grpc.stream_stream_rpc_method_handler(self.StreamRuntime, DiscoveryRequest.FromString, DiscoveryResponse.SerializeToString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: stream}),))
        target = f"unix:{listen.path}" if listen.path else str(listen)
        try:
            port = server.add_secure_port(target, credentials) if credentials else server.add_insecure_port(target)
            await server.start()
        except RuntimeError as error:
            msg = f"cannot listen at {listen} for proxies: {error}"
            raise CannotListen(msg) from error
        self._server = server
        self.address = listen if listen.path else Address(listen.host, port)

    async def stop(self) -> None:
        """Close all streams. Leases that Envoys hold run on until their end."""
        if self._server is not None:
            await self._server.stop(grace=0)
            self._server = None

    # -- telling --------------------------------------------------------------------------------------------------------------

    def register(self, name: str, node: str) -> None:
        """A subject's layer, of which nothing is said yet. Raises: TrafficError: somebody has it open already."""
        if name in self._layers:
            msg = f"{name} is already open in this guard; close it first. Nothing was changed"
            raise TrafficError(msg)
        self._layers[name] = _Layer(node)

    def forget(self, name: str) -> None:
        """Say nothing about it any more."""
        layer = self._layers.pop(name, None)
        for stream in layer.streams if layer else ():
            stream.wake.set()

    async def hold(self, name: str, values: Mapping[str, int], numbers: Mapping[str, int], until_s: float) -> str:
        """Tell a layer until this time (of `now_s`); in place of what was told before. Returns its version.

        Args:
            name: of the resource.
            values: numerators of a million.
            numbers: whole numbers.
            until_s: infinity for a layer that says nothing and so needs no end.
        """
        layer = self._layers[name]
        self._count += 1
        layer.version = f"{self._instance}-{self._count}"
        layer.values, layer.numbers, layer.until_s = dict(values), dict(numbers), until_s
        await self._wake(layer)
        return layer.version

    async def drop(self, name: str) -> None:
        """Do not tell it any more. Envoys that have it keep it until its end."""
        layer = self._layers[name]
        layer.version, layer.until_s = "", 0.0

    async def answered(self, name: str, version: str, within_s: float) -> bool | str | None:
        """Wait for an answer. Returns: True accepted; Envoy's reason if it refused; False sent, no answer; None not even sent."""
        layer = self._layers[name]

        def settled() -> bool:
            return layer.accepted == version or (layer.refused is not None and layer.refused[0] == version)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(settled)
        if layer.accepted == version:
            return True
        if layer.refused is not None and layer.refused[0] == version:
            return layer.refused[1]
        return False if layer.sent == version else None

    def connected(self, name: str) -> bool:
        """Whether a proxy listens to this layer now."""
        return bool(self._layers[name].streams)

    async def _wake(self, layer: _Layer) -> None:
        for stream in layer.streams:
            stream.wake.set()

    # -- a proxy's stream -----------------------------------------------------------------------------------------------------

    async def StreamRuntime(self, _requests: AsyncIterator[Any], context: Any) -> None:  # noqa: N802  # the protocol's name
        """Serve one proxy, state of the world: it subscribes once, then answers each response by its nonce."""
        if self._streams >= STREAMS_MAX:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {STREAMS_MAX} proxies")
        self._streams += 1
        stream = _Stream()
        name = ""
        try:
            first = await context.read()
            if first is grpc.aio.EOF:
                return
            name = await self._subscription(first, context)
            layer = self._layers.get(name)
            if layer is None:
                # Another subject's layer, or nobody's rollout now. Closing makes Envoy ask again, here or at the next guard.
                await context.abort(grpc.StatusCode.UNAVAILABLE, f"this guard has nothing to say about {name}")
                return
            if layer.node != first.node.id:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{name} is not for the node {first.node.id!r}")
            layer.streams.add(stream)
            if layer.version:
                stream.wake.set()
            elif not first.version_info:
                # A proxy that starts waits for its first answer: an empty one lets it go on. One that holds a lease is left alone.
                await self._send(context, stream, name, _response(name, "empty", {}, {}, None))
            writer = asyncio.create_task(self._tell(context, stream, name, layer))
            try:
                while (request := await context.read()) is not grpc.aio.EOF:
                    await self._heard(stream, layer, request)
            finally:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
        finally:
            self._streams -= 1
            if name in self._layers:
                self._layers[name].streams.discard(stream)

    async def _subscription(self, first: Any, context: Any) -> str:
        names = list(first.resource_names)
        if first.type_url not in {"", RUNTIME_TYPE} or len(names) != 1:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "subscribe to one runtime layer")
        return str(names[0])

    async def _tell(self, context: Any, stream: _Stream, name: str, layer: _Layer) -> None:
        """Send what is new, as long as its time is not over."""
        while self._layers.get(name) is layer:
            await stream.wake.wait()
            stream.wake.clear()
            version = layer.version
            if not version or version == stream.sent:
                continue
            # Looked at as late as possible: whatever held us up, a lease never starts again from its beginning.
            left_s = layer.until_s - now_s()
            if left_s < LEFT_S_MIN:
                continue
            stream.sent = layer.sent = version
            await self._send(context, stream, name, _response(name, version, layer.values, layer.numbers, left_s))

    async def _send(self, context: Any, stream: _Stream, _name: str, response: Any) -> None:
        stream.nonces[response.nonce] = response.version_info
        while len(stream.nonces) > 16:  # noqa: PLR2004  # Envoy answers in order; older answers do not matter
            del stream.nonces[next(iter(stream.nonces))]
        await context.write(response)

    async def _heard(self, stream: _Stream, layer: _Layer, request: Any) -> None:
        version = stream.nonces.get(request.response_nonce)
        if version is None:
            return
        if request.HasField("error_detail"):
            reason = str(request.error_detail.message)[:500]
            log.warning("a proxy refused weights: %s", reason)
            layer.refused = (version, reason)
        else:
            layer.accepted = version
        async with self._changed:
            self._changed.notify_all()


def _response(name: str, version: str, values: Mapping[str, int], numbers: Mapping[str, int], left_s: float | None) -> Any:
    runtime = Runtime(name=name)
    for key, numerator in values.items():
        fraction = runtime.layer.get_or_create_struct(key)
        fraction.update({"numerator": numerator, "denominator": "MILLION"})
        assert numerator <= MILLION  # noqa: S101  # made by `fractions`
    for key, number in numbers.items():
        runtime.layer[key] = number
    resource = Resource(name=name, version=version)
    resource.resource.Pack(runtime)
    if left_s is not None and math.isfinite(left_s):
        resource.ttl.FromNanoseconds(int(left_s * 1e9))
    response = DiscoveryResponse(version_info=version, nonce=secrets.token_hex(8), type_url=RUNTIME_TYPE)
    response.resources.add().Pack(resource)
    return response


def server_credentials(settings: EnvoySettings) -> grpc.ServerCredentials | None:
    """Mutual TLS from the plan's files. Raises: CannotListen."""
    if settings.tls is None:
        return None
    try:
        key, certificate, client_ca = (
            Path(file).read_bytes() for file in (settings.tls.key, settings.tls.certificate, settings.tls.client_ca)
        )
    except OSError as error:
        msg = f"the TLS files of the control connection cannot be read: {error}"
        raise CannotListen(msg) from error
    return grpc.ssl_server_credentials([(key, certificate)], root_certificates=client_ca, require_client_auth=True)


@dataclass(slots=True)
class _Shared:
    server: LeaseServer
    started: asyncio.Future[None]
    users: int = 0


_SHARED: dict[tuple[int, str, str | None], _Shared] = {}


@contextlib.asynccontextmanager
async def listening(listen: Address, settings: EnvoySettings) -> AsyncIterator[LeaseServer]:
    """The server at this address; subjects of one guard that name the same address share it. Raises: CannotListen."""
    loop = asyncio.get_running_loop()
    key = (id(loop), str(listen), settings.tls.certificate if settings.tls else None)
    anywhere = not listen.port and not listen.path  # a port of its own
    shared = None if anywhere else _SHARED.get(key)
    if shared is None:
        server = LeaseServer()
        shared = _Shared(server, asyncio.ensure_future(server.start(listen, server_credentials(settings))))
        if not anywhere:
            _SHARED[key] = shared
    shared.users += 1
    try:
        await asyncio.shield(shared.started)
        yield shared.server
    finally:
        shared.users -= 1
        if not shared.users:
            if _SHARED.get(key) is shared:
                del _SHARED[key]
            await shared.server.stop()
