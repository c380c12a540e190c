"""Both listeners with one intake, started and stopped in the order in which nothing acknowledged is lost."""

from dataclasses import dataclass

from verdigris.telemetry.receiver.intake import Intake
from verdigris.telemetry.receiver.otlp_grpc import GrpcListener
from verdigris.telemetry.receiver.otlp_http import HttpListener
from verdigris.telemetry.receiver.tls import Tls

GRACE_S = 5.0
"""How long `stop` waits for exports that are under way."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where to listen, as `host:port`; port 0 lets the system choose, None leaves a listener out."""

    grpc: str | None = "127.0.0.1:4317"
    http: str | None = "127.0.0.1:4318"


class Receiver:
    """OTLP over gRPC and HTTP into one intake."""

    def __init__(self, intake: Intake, addresses: Addresses | None = None, tls: Tls | None = None, grace_s: float = GRACE_S) -> None:
        """The same TLS files serve both."""
        addresses = addresses or Addresses()
        self.intake, self._grace_s = intake, grace_s
        self._grpc = GrpcListener(intake, addresses.grpc, tls) if addresses.grpc else None
        self._http = HttpListener(intake, addresses.http, tls, grace_s=grace_s) if addresses.http else None
        self.grpc_port: int | None = None
        self.http_port: int | None = None

    async def start(self) -> None:
        """Listen; afterwards the ports are known. Raises: ListenerFailed, TlsUnusable; then nothing listens."""
        try:
            self.grpc_port = await self._grpc.start() if self._grpc else None
            self.http_port = await self._http.start() if self._http else None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take nothing new, answer what is under way, make durable what waits. The store may be closed afterwards."""
        try:
            if self._grpc:
                await self._grpc.stop(self._grace_s)
            if self._http:
                await self._http.stop()
        finally:
            await self.intake.close()
