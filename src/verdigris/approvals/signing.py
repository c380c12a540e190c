"""Who signs an approval: a key in the person's ssh-agent, a key in a file, or `ssh-keygen` for files that only it can open.

Nobody needs a new secret, and no passphrase passes through a command line or the environment. Whatever signed, the signature is
verified before it is given out.
"""

import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from verdigris.approvals.ssh_agent import Agent, CannotSign
from verdigris.approvals.ssh_key import NAME_CHARS_MAX, InvalidPublicKey, KeyType, PublicKey
from verdigris.approvals.ssh_signature import (
    ARMORED_BYTES_MAX,
    NAMESPACE,
    RAW_BYTES_MAX,
    InvalidSshSignature,
    MessageHash,
    SshSignature,
    signed_data,
)
from verdigris.approvals.ssh_wire import Reader, mpint, string

KEY_FILE_BYTES_MAX = 65_536
PROGRAM_LIMIT_S = 120.0
"""For somebody to type a passphrase or to touch a key."""
_FINGERPRINT = "SHA256:"
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_HASHES: dict[KeyType, HashAlgorithm] = {KeyType.ECDSA_256: SHA256(), KeyType.ECDSA_384: SHA384(), KeyType.ECDSA_521: SHA512()}

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
Ask = Callable[[str], str | None]
"""Asks a person for a passphrase; None: there is nobody to ask."""

__all__ = ["AgentSigner", "Ask", "CannotSign", "FileSigner", "ProgramSigner", "Signer", "open_signer"]


class Signer(Protocol):
    """Signs for one person."""

    def sign(self, message: bytes) -> SshSignature:
        """A verified signature for approvals. Raises: CannotSign."""


@dataclass(frozen=True, slots=True)
class AgentSigner:
    """Signs by a key in an ssh-agent."""

    agent: Agent
    key: PublicKey

    def sign(self, message: bytes) -> SshSignature:
        """See `Signer`."""
        raw = self.agent.sign(self.key, signed_data(message))
        return _checked(SshSignature(self.key, NAMESPACE, MessageHash.SHA512, _in_full(self.key, raw)), message)


@dataclass(frozen=True, slots=True)
class FileSigner:
    """Signs by a key in this process's memory."""

    private: PrivateKey
    key: PublicKey

    @classmethod
    def of(cls, private: PrivateKey) -> "FileSigner":
        """By this key. Raises: CannotSign: such keys are not accepted."""
        try:
            return cls(private, PublicKey.of(private.public_key()))
        except InvalidPublicKey as error:
            msg = f"this key cannot sign approvals: {error}"
            raise CannotSign(msg) from error

    def sign(self, message: bytes) -> SshSignature:
        """See `Signer`."""
        data = signed_data(message)
        match self.private:
            case Ed25519PrivateKey():
                raw = string(self.key.type.value) + string(self.private.sign(data))
            case EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.private.sign(data, ECDSA(_HASHES[self.key.type])))
                raw = string(self.key.type.value) + string(mpint(r) + mpint(s))
            case RSAPrivateKey():
                raw = string("rsa-sha2-512") + string(self.private.sign(data, PKCS1v15(), SHA512()))
        return _checked(SshSignature(self.key, NAMESPACE, MessageHash.SHA512, raw), message)


@dataclass(frozen=True, slots=True)
class ProgramSigner:
    """Signs by `ssh-keygen -Y sign`, which asks on the terminal for the key's passphrase, or for a touch of the key in hardware."""

    file: Path
    program: str
    limit_s: float = PROGRAM_LIMIT_S

    def sign(self, message: bytes) -> SshSignature:
        """See `Signer`."""
        # The message is a file: on standard input, ssh-keygen without a terminal would take it for the passphrase.
        with tempfile.TemporaryDirectory(prefix="verdigris-") as folder:
            document = Path(folder) / "approval.json"
            document.write_bytes(message)
            command = [self.program, "-Y", "sign", "-f", str(self.file.absolute()), "-n", NAMESPACE, str(document)]
            said = self._run(command)
            armored = _content(document.with_name("approval.json.sig"), ARMORED_BYTES_MAX, f"what `ssh-keygen` wrote{said}")
        try:
            signature = SshSignature.parse(armored.decode("ascii", "replace"))
        except InvalidSshSignature as error:
            msg = f"{self.program} wrote no signature that is accepted: {error}"
            raise CannotSign(msg) from error
        return _checked(signature, message)

    def _run(self, command: list[str]) -> str:
        """Returns what it said, in brackets. Raises: CannotSign."""
        # On a terminal it must be seen: that is where it says that the key wants to be touched.
        error_out = None if sys.stderr.isatty() else subprocess.PIPE
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=error_out, timeout=self.limit_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            msg = f"{self.program} did not sign within {self.limit_s:g} s: nobody typed the passphrase or touched the key; try again"
            raise CannotSign(msg) from error
        except OSError as error:
            msg = f"cannot start {self.program}: {error.strerror or error}"
            raise CannotSign(msg) from error
        lines = (done.stderr or b"").decode(errors="replace").strip()[:500].splitlines()
        said = f" ({'; '.join(line.strip() for line in lines if line.isprintable())})" if lines else ""
        if done.returncode:
            msg = (
                f"{self.program} could not sign with {self.file}{said}: the passphrase was wrong, or there is no terminal to ask for it; "
                "add the key to your ssh-agent (ssh-add) and try again"
            )
            raise CannotSign(msg)
        return said


def open_signer(wanted: str | None, environ: Mapping[str, str], ask: Ask = lambda _: None) -> Signer:
    """Whoever signs by the wanted key.

    Args:
        wanted: a fingerprint (`SHA256:…`) or a public key's file: by the agent; a private key's file (OpenSSH or PEM): by that;
            None: by the only key that the agent holds.
        environ: where SSH_AUTH_SOCK stands.
        ask: for the passphrase of a PEM file. That of an OpenSSH file is asked for by ssh-keygen.
    Raises: CannotSign.
    """
    if wanted is None or wanted.startswith(_FINGERPRINT):
        return _agent_signer(Agent.of(environ), wanted)
    file = Path(wanted)
    content = _content(file, KEY_FILE_BYTES_MAX, f"the key {file}")
    if b"PRIVATE KEY-----" in content:
        return _file_signer(file, content, ask)
    try:
        public = PublicKey.parse(content.decode("utf-8", "replace"))
    except InvalidPublicKey as error:
        msg = f"{file} is neither a private key (OpenSSH or PEM) nor a public one: {error}"
        raise CannotSign(msg) from error
    return _agent_signer(Agent.of(environ), public.fingerprint)


def _agent_signer(agent: Agent, fingerprint: str | None) -> AgentSigner:
    """Raises: CannotSign."""
    keys = agent.public_keys()
    chosen = [key for key in keys if fingerprint is None or key.fingerprint == fingerprint.rstrip("=")]
    if len(chosen) == 1:
        return AgentSigner(agent, chosen[0])
    held = "".join(f"\n  {key.fingerprint} {key.type.value} {key.comment}".rstrip() for key in keys) or " none that is accepted"
    if not chosen:
        missing = "no key" if fingerprint is None else f"not the key {fingerprint}"
        msg = f"the ssh-agent holds {missing}: add it (ssh-add), or give the private key's file. It holds:{held}"
        raise CannotSign(msg)
    msg = f"the ssh-agent holds several keys: name one by its fingerprint or its .pub file. It holds:{held}"
    raise CannotSign(msg)


def _file_signer(file: Path, content: bytes, ask: Ask) -> Signer:
    """Raises: CannotSign."""
    try:
        mode = file.stat().st_mode
    except OSError as error:
        msg = f"cannot read the key {file}: {error.strerror or error}"
        raise CannotSign(msg) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        msg = f"others can read or change the key {file}: `chmod 600 {file}`, and make a new one if somebody may have"
        raise CannotSign(msg)
    if content.lstrip().startswith(_OPENSSH):
        private = _openssh_key(file, content)
        return _program_signer(file) if private is None else FileSigner.of(_accepted(file, private))
    return FileSigner.of(_accepted(file, _pem_key(file, content, ask)))


def _openssh_key(file: Path, content: bytes) -> object | None:
    """The key; None where only ssh-keygen can open it: it has a passphrase (bcrypt), or is in hardware. Raises: CannotSign."""
    try:
        return serialization.load_ssh_private_key(content, None)
    except (TypeError, UnsupportedAlgorithm):
        return None
    except ValueError as error:
        msg = f"{file} is not a private key of OpenSSH that can be read: {error}"
        raise CannotSign(msg) from error


def _pem_key(file: Path, content: bytes, ask: Ask) -> object:
    """Raises: CannotSign."""
    try:
        try:
            return serialization.load_pem_private_key(content, None)
        except TypeError:  # it has a passphrase
            passphrase = ask(f"Passphrase for {file}: ")
        if not passphrase:
            msg = f"the key {file} has a passphrase, and nobody is here to type it: add the key to your ssh-agent (ssh-add)"
            raise CannotSign(msg)
        return serialization.load_pem_private_key(content, passphrase.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"{file} is not a private key in PEM, or its passphrase is another one: {error}"
        raise CannotSign(msg) from error


def _accepted(file: Path, private: object) -> PrivateKey:
    """Raises: CannotSign."""
    if isinstance(private, PrivateKey):
        return private
    msg = f"{file} has a key of a kind that does not sign approvals; make a new one: ssh-keygen -t ed25519"
    raise CannotSign(msg)


def _program_signer(file: Path) -> ProgramSigner:
    """Raises: CannotSign."""
    program = shutil.which("ssh-keygen")
    if program is None:
        msg = (
            f"the key {file} has a passphrase or is in hardware, and ssh-keygen is not installed, which would ask for it: "
            "install it (Debian: openssh-client), or add the key to an ssh-agent"
        )
        raise CannotSign(msg)
    return ProgramSigner(file, program)


def _content(file: Path, bytes_max: int, what: str) -> bytes:
    """A whole file. Raises: CannotSign."""
    try:
        with file.open("rb") as stream:
            content = stream.read(bytes_max + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        msg = f"cannot read {what}: {getattr(error, 'strerror', None) or error}"
        raise CannotSign(msg) from error
    if len(content) > bytes_max:
        msg = f"{what} is larger than {bytes_max} bytes"
        raise CannotSign(msg)
    return content


def _in_full(key: PublicKey, raw: bytes) -> bytes:
    """An RSA signature as long as its key: some agents leave zeros at its front out, and verifiers want them."""
    if not isinstance(key.verifier, RSAPublicKey):
        return raw
    reader = Reader(raw)
    try:
        algorithm, signature = reader.text(NAME_CHARS_MAX), reader.string(RAW_BYTES_MAX)
        reader.end()
    except ValueError:
        return raw  # it is refused when it is verified
    return string(algorithm) + string(signature.rjust((key.verifier.key_size + 7) // 8, b"\0"))


def _checked(signature: SshSignature, message: bytes) -> SshSignature:
    """Raises: CannotSign."""
    try:
        signature.verify(message)
    except InvalidSshSignature as error:
        msg = f"what was to sign by {signature.key.fingerprint} gave something else: {error}"
        raise CannotSign(msg) from error
    return signature
