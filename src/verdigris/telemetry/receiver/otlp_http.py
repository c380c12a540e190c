"""The OTLP/HTTP listener: protobuf and JSON, answered in kind. Bodies are inflated by the decoder, never here."""

import asyncio
import math
import ssl
from typing import get_args

import aiohttp
from aiohttp import web

from verdigris.telemetry.receiver.answers import ExportRefused, QueueFull, Undecodable, WrongContent, status, success
from verdigris.telemetry.receiver.intake import Encoding, Format, Intake
from verdigris.telemetry.receiver.otlp_grpc import READ_TIMEOUT_S, ListenerFailed, presented
from verdigris.telemetry.receiver.tls import Tls
from verdigris.telemetry.senders import Presented, bearer

PATH = "/v1/traces"
FORMATS: dict[str, Format] = {"application/x-protobuf": "protobuf", "application/json": "json"}
ENCODINGS: dict[str, Encoding] = {name: name for name in get_args(Encoding)}
KEEPALIVE_S = 75.0


class HttpListener:
    """Takes `POST /v1/traces`. Start it in the event loop in which it is to run."""

    def __init__(
        self, intake: Intake, address: str, tls: Tls | None = None, *, grace_s: float = 5.0, read_timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        """`address` is `host:port`; port 0 lets the system choose. `grace_s`: how long `stop` waits for what is under way. A body that
        takes longer than `read_timeout_s` is given up: a half-closed or crawling connection must not hold its memory.
        """
        self._intake, self._address, self._tls, self._read_timeout_s = intake, address, tls, read_timeout_s
        app = web.Application(client_max_size=intake.bounds.body_bytes_max)
        app.router.add_post(PATH, self._export)
        self._runner = web.AppRunner(
            app, access_log=None, auto_decompress=False, keepalive_timeout=KEEPALIVE_S, handle_signals=False, shutdown_timeout=grace_s
        )
        self._listening: asyncio.Server | None = None
        self._under_way = 0

    async def start(self) -> int:
        """Listen. Returns the port. Raises: ListenerFailed, TlsUnusable."""
        context = self._tls.for_http() if self._tls else None
        await self._runner.setup()
        host, _, port = self._address.rpartition(":")
        try:
            loop = asyncio.get_running_loop()
            self._listening = await loop.create_server(self._connection, host.strip("[]"), int(port), ssl=context, backlog=128)
        except (OSError, ValueError) as error:
            await self._runner.cleanup()
            msg = f"cannot listen for OTLP/HTTP on {self._address}: {error}"
            raise ListenerFailed(msg) from error
        return int(self._listening.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Take nothing new, and let what is under way be answered within the grace."""
        if self._listening:
            self._listening.close()
            self._listening = None
        await self._runner.cleanup()

    def _connection(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        if server is None or len(server.connections) >= self._intake.bounds.connections_max:
            return _TurnedAway()
        return server()

    async def _export(self, request: web.Request) -> web.Response:
        """One export."""
        form = FORMATS.get(request.content_type)
        as_json = form == "json"
        # Whoever is turned away before the body is read gets the connection closed: what follows on it is that body.
        self._under_way += 1
        read = False
        try:
            if self._under_way > self._intake.bounds.exports_max:
                raise self._intake.counted(QueueFull("too many exports are under way; send again later", self._intake.bounds.retry_after_s))
            sender = self._intake.who(_presented(request, mutual=bool(self._tls and self._tls.client_ca)))
            encoding = ENCODINGS.get(request.headers.get("Content-Encoding", "identity").strip().lower() or "identity")
            if form is None or encoding is None:
                coding = request.headers.get("Content-Encoding", "identity")
                msg = (
                    f"Content-Type {request.content_type!r} with Content-Encoding {coding!r} cannot be read; send "
                    f"{' or '.join(FORMATS)}, with {', '.join(ENCODINGS)}"
                )
                raise self._intake.counted(WrongContent(msg[:400]))
            body = await self._body(request)
            read = True
            accepted = await self._intake.take(body, form, encoding, sender)
        except ExportRefused as refusal:
            return _refused(refusal, as_json=as_json, close=not read)
        finally:
            self._under_way -= 1
        return web.Response(body=success(accepted, as_json=as_json), content_type=_type(as_json=as_json))

    async def _body(self, request: web.Request) -> bytes:
        """The whole body, its bytes reserved. Raises: ExportRefused; then nothing is reserved."""
        bounds = self._intake.bounds
        # A length that is announced is reserved at once; one that is not, as the bound: bodies under way never exceed the queue.
        reserved = request.content_length if request.content_length is not None else bounds.body_bytes_max
        self._intake.reserve(reserved)
        kept = False
        try:
            async with asyncio.timeout(self._read_timeout_s):
                body = await request.read()
            kept = True
        except TimeoutError as error:
            msg = f"the body did not arrive within {self._read_timeout_s:.0f} s"
            raise self._intake.counted(Undecodable(msg)) from error
        except web.HTTPRequestEntityTooLarge as error:
            raise self._intake.counted(self._intake.too_large()) from error
        except (aiohttp.ClientPayloadError, aiohttp.http.HttpProcessingError, ConnectionError) as error:
            msg = f"the body broke off: {error}"
            raise self._intake.counted(Undecodable(msg[:400])) from error
        finally:
            self._intake.release(reserved - len(body) if kept else reserved)
        return body


class _TurnedAway(asyncio.Protocol):
    """A connection beyond the bound: closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _presented(request: web.Request, *, mutual: bool) -> Presented:
    token = bearer(request.headers.get("Authorization"))
    tls = request.transport.get_extra_info("ssl_object") if mutual and request.transport else None
    der = tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None
    if token is not None or not der:
        return Presented(token=token)
    return presented(der)


def _type(*, as_json: bool) -> str:
    return "application/json" if as_json else "application/x-protobuf"


def _refused(refusal: ExportRefused, *, as_json: bool, close: bool) -> web.Response:
    answer = web.Response(status=refusal.http_status, body=status(refusal, as_json=as_json), content_type=_type(as_json=as_json))
    if refusal.retry_after_s is not None:
        answer.headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after_s)))
    if close:
        answer.force_close()
    return answer
