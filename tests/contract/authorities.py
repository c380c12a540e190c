"""Time stamping authorities: OpenSSL's, with certificates of a test's own. For tests only."""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import strategies as st
from tests.contract.witnesses import Answer, answering

TIME_STAMPING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
MEDIA = "application/timestamp-reply"

CONFIGURATION = """
[tsa]
serial = {folder}/serial
signer_cert = {folder}/signer.pem
{chain}
signer_key = {folder}/signer.key
signer_digest = sha256
ess_cert_id_alg = sha256
default_policy = 1.2.3.4.1
digests = {digests}
"""


def openssl(*arguments: str | Path) -> bytes:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    ran = subprocess.run([program, *arguments], capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


class Issuer:
    """A certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate, self.key = certificate, key

    @classmethod
    def root(cls, name: str = "root") -> "Issuer":
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(_certificate(name, key, name, key, ca=True, usage=None, critical=True), key)

    def issue(
        self,
        name: str,
        *,
        ca: bool = False,
        usage: x509.ExtendedKeyUsage | None = TIME_STAMPING,
        critical: bool = True,
        ends: timedelta = timedelta(days=1),
    ) -> "Issuer":
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        certificate = _certificate(
            name, key, str(issuer), self.key, ca=ca, usage=None if ca else usage, critical=critical, ends=ends
        )  # fmt: skip
        return Issuer(certificate, key)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    usage: x509.ExtendedKeyUsage | None,
    critical: bool,
    ends: timedelta = timedelta(days=1),
) -> x509.Certificate:
    now = datetime.now(UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if usage is not None:
        builder = builder.add_extension(usage, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


class TimeStamping:
    """`openssl ts -reply` with this signer. `chain`: what it sends beside its own certificate, in this order."""

    def __init__(self, folder: Path, signer: Issuer, chain: Sequence[Issuer] = (), digests: str = "sha256, sha512") -> None:
        folder.mkdir()
        self.folder, self.signer = folder, signer
        (folder / "serial").write_text("01\n")
        (folder / "signer.pem").write_bytes(signer.pem)
        (folder / "signer.key").write_bytes(signer.key_pem)
        (folder / "chain.pem").write_bytes(b"".join(one.pem for one in chain))
        chosen = f"certs = {folder}/chain.pem" if chain else ""
        (folder / "conf").write_text(CONFIGURATION.format(folder=folder, chain=chosen, digests=digests))

    def reply(self, query: bytes) -> bytes:
        (self.folder / "query").write_bytes(query)
        openssl(
            "ts", "-reply", "-config", self.folder / "conf", "-section", "tsa", "-queryfile", self.folder / "query",
            "-out", self.folder / "reply",
        )  # fmt: skip
        return (self.folder / "reply").read_bytes()

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        with answering(lambda query: Answer(200, [self.reply(query)], MEDIA)) as url:
            yield url

    def signed_by(self, other: Issuer, reply: bytes) -> bytes:
        """The same stamp by somebody whom OpenSSL would not let be an authority."""
        file = {name: self.folder / name for name in ("stamp", "token", "content", "other.pem", "other.key")}
        file["stamp"].write_bytes(reply)
        file["other.pem"].write_bytes(other.pem)
        file["other.key"].write_bytes(other.key_pem)
        openssl("ts", "-reply", "-in", file["stamp"], "-token_out", "-out", file["token"])
        openssl("cms", "-verify", "-noverify", "-inform", "DER", "-in", file["token"], "-out", file["content"])
        openssl(
            "cms", "-sign", "-binary", "-nodetach", "-econtent_type", "1.2.840.113549.1.9.16.1.4", "-outform", "DER",
            "-signer", file["other.pem"], "-inkey", file["other.key"], "-in", file["content"], "-out", file["token"],
        )  # fmt: skip
        openssl("ts", "-reply", "-in", file["token"], "-token_in", "-out", file["stamp"])
        return file["stamp"].read_bytes()


Change = Callable[[bytes], bytes]


def changes() -> st.SearchStrategy[Change]:
    """What becomes of bytes: others altogether, or a part of them."""

    def changed(at: float, length: int, new: bytes) -> Change:
        return lambda der: der[: int(at * len(der))] + new + der[int(at * len(der)) + length :]

    anything = st.binary(max_size=300).map(lambda new: lambda _: new)
    return st.one_of(anything, st.builds(changed, st.floats(0, 1), st.integers(0, 40), st.binary(max_size=8)))
