"""TLS of both listeners: who we are, and whose client certificates are asked for."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from verdigris.errors import VerdigrisError

FILE_BYTES_MAX = 1 << 20
"""A certificate or key file is not larger."""


class TlsUnusable(VerdigrisError):
    """A certificate or key cannot be used. Safe: the listener did not start. Correct the file."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files. With `client_ca` every client must show a certificate that this authority signed (mutual TLS)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def for_grpc(self) -> grpc.ServerCredentials:
        """As gRPC wants it; it takes TLS 1.2 and newer. Raises: TlsUnusable."""
        self.for_http()  # gRPC would say only that the handshake failed
        pair = (_read(self.key), _read(self.certificate))
        if self.client_ca is None:
            return grpc.ssl_server_credentials([pair])
        return grpc.ssl_server_credentials([pair], root_certificates=_read(self.client_ca), require_client_auth=True)

    def for_http(self) -> ssl.SSLContext:
        """As asyncio wants it; TLS 1.2 and newer. Raises: TlsUnusable."""
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            named = ", ".join(str(path) for path in (self.certificate, self.key, self.client_ca) if path)
            msg = f"the TLS files cannot be used ({named}): {error}"
            raise TlsUnusable(msg) from error
        return context


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise TlsUnusable(msg) from error
