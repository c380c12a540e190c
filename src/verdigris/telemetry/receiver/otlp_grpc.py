"""The OTLP/gRPC listener. Requests stay bytes: the decoder is native, and nothing here reads a span."""

import asyncio
import hashlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID

from verdigris.errors import VerdigrisError
from verdigris.telemetry.receiver.answers import Code, ExportRefused, Undecodable, status, success
from verdigris.telemetry.receiver.intake import Encoding, Intake
from verdigris.telemetry.receiver.tls import Tls
from verdigris.telemetry.senders import Presented, bearer

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
GRPC_CODES = {
    Code.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Code.RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    Code.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Code.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
}
GZIP, ZSTD, DEFLATE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""How compressed messages begin. No OTLP request does: it has field 1 only, and these would be fields 3, 5 and 15. gRPC itself
refuses what a sender announces as zstd or snappy, before we see it."""
CERTIFICATES_CACHED_MAX = 256
METADATA_BYTES_MAX = 16_384
CALLS_BEYOND_MAX = 1_000
"""So many calls more than exports may be under way on one connection, so that they reach us and are told when to come again. Beyond, and
for as long as the library has not tidied up after calls that were answered, it resets them itself, without RetryInfo.
"""
READ_TIMEOUT_S = 20.0
"""A body that takes longer is given up: a call without one must not keep others from being read."""


class ListenerFailed(VerdigrisError):
    """A listener cannot start. Safe: nothing listens there. Another process may have the port; choose another address."""


class GrpcListener:
    """Takes `TraceService/Export`. Start it in the event loop in which it is to run."""

    def __init__(self, intake: Intake, address: str, tls: Tls | None = None, *, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        """`address` is `host:port`; port 0 lets the system choose."""
        self._intake, self._address, self._tls, self._read_timeout_s = intake, address, tls, read_timeout_s
        self._server: grpc.aio.Server | None = None
        self._presented: dict[bytes, Presented] = {}
        self._under_way = 0
        bounds = intake.bounds
        self._reading = asyncio.Semaphore(max(1, bounds.queue_bytes_max // bounds.body_bytes_max))
        """So many bodies may be under way from the network: together they are not larger than the queue."""

    async def start(self) -> int:
        """Listen. Returns the port. Raises: ListenerFailed, TlsUnusable."""
        bounds = self._intake.bounds
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", bounds.body_bytes_max),
                ("grpc.max_metadata_size", METADATA_BYTES_MAX),
                # Compressed messages are handed on as they came: the decoder inflates them within its bound.
                ("grpc.per_message_decompression", 0),
                ("grpc.max_concurrent_streams", bounds.exports_max + CALLS_BEYOND_MAX),
                # One connection is looked after every minute; who pings more often than every five seconds is told to stop.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.so_reuseport", 0),
            ],
        )
        server.add_generic_rpc_handlers((_Handlers(self._export),))
        try:
            credentials = self._tls.for_grpc() if self._tls else None
            port = int(server.add_secure_port(self._address, credentials) if credentials else server.add_insecure_port(self._address))
        except RuntimeError as error:
            msg = f"cannot listen for OTLP/gRPC on {self._address}: {error}"
            raise ListenerFailed(msg) from error
        await server.start()
        self._server = server
        return port

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, and let what is under way be answered for so long."""
        if self._server:
            await self._server.stop(grace_s)
            self._server = None

    async def _export(self, bodies: Any, context: Any) -> bytes:
        """One export; the body is as it came, perhaps compressed. It is read only when there is room for it."""
        try:
            sender = self._intake.who(self._who(context))
            if self._under_way >= self._intake.bounds.exports_max:
                raise self._intake.counted(self._intake.too_many())
            self._under_way += 1
            try:
                async with self._reading:
                    body = await self._body(bodies)
                    self._intake.reserve(len(body))
                accepted = await self._intake.take(body, "protobuf", _encoding(body), sender)
            finally:
                self._under_way -= 1
        except ExportRefused as refusal:
            metadata = (("grpc-status-details-bin", status(refusal)),)
            await context.abort(GRPC_CODES[refusal.code], str(refusal), metadata)
            raise  # abort has raised already; this says so to the type checker
        return success(accepted, as_json=False)

    async def _body(self, bodies: Any) -> bytes:
        try:
            async with asyncio.timeout(self._read_timeout_s):
                return bytes(await anext(aiter(bodies), b""))
        except TimeoutError as error:
            msg = f"the body did not arrive within {self._read_timeout_s:.0f} s"
            raise self._intake.counted(Undecodable(msg)) from error

    def _who(self, context: Any) -> Presented:
        metadata = {key: value for key, value in context.invocation_metadata() or () if key == "authorization"}
        token = bearer(metadata.get("authorization"))
        pem = (context.auth_context().get("x509_pem_cert") or [b""])[0] if self._tls and self._tls.client_ca else b""
        if token is not None or not pem:
            return Presented(token=token)
        key = hashlib.sha256(pem).digest()
        if key not in self._presented:
            if len(self._presented) >= CERTIFICATES_CACHED_MAX:
                self._presented.clear()
            self._presented[key] = presented(ssl.PEM_cert_to_DER_cert(pem.decode("ascii")))
        return self._presented[key]


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, export: Callable[[Any, Any], Awaitable[bytes]]) -> None:
        # As a stream of requests, which is the same on the wire, so that a handler runs before the body is read; without a deserializer
        # the request stays bytes.
        self._export = grpc.stream_unary_rpc_method_handler(export)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._export if handler_call_details.method == EXPORT else None


def presented(der: bytes) -> Presented:
    """What a client's certificate states: its DER form, common names, and alternative names. Raises: Undecodable."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        try:
            alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            for kind in (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name):
                names += [str(name) for name in alternative.get_values_for_type(kind)]
            names += [str(address) for address in alternative.get_values_for_type(x509.IPAddress)]
        except x509.ExtensionNotFound:
            pass
    except ValueError as error:
        msg = f"the client's certificate cannot be read: {error}"
        raise Undecodable(msg) from error
    return Presented(certificate_der=der, certificate_names=tuple(names))


def _encoding(body: bytes) -> Encoding:
    if body.startswith(GZIP):
        return "gzip"
    if body.startswith(DEFLATE):
        return "deflate"
    return "zstd" if body.startswith(ZSTD) else "identity"
