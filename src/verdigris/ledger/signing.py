"""Who signs: an Ed25519 key in a file of its own, or an outside command that holds the key. Both sign bytes; nobody else sees the key.

A command is run with the message on its standard input and answers with 64 bytes (raw or base64): an HSM, a KMS or an agent behind it
never lets the key go.
"""

import base64
import binascii
import os
import shlex
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from verdigris.ledger.errors import LedgerError
from verdigris.ledger.note import (
    ED25519_SIGNATURE_BYTES,
    Algorithm,
    Signature,
    VerifierKey,
    cosignature_bytes,
    cosigned_message,
)

COMMAND_LIMIT_S = 10.0
KEYS_FILE = "ledger.keys"
"""In a guard's state folder: how others verify its ledger, a verifier key per line, the newest last."""


class KeyUnusable(LedgerError):
    """A signing key cannot be read, or others can read it. Safe: nothing was signed."""


class SignerFailed(LedgerError):
    """The outside signer did not answer with a signature of its key. Safe: nothing that was to be signed counts."""


class Signer(Protocol):
    """Signs in the name of one key."""

    @property
    def key(self) -> VerifierKey:
        """How others verify it."""

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes. Raises: SignerFailed."""

    def sign_note(self, text: str) -> Signature:
        """A signature line for a note's text. Raises: SignerFailed."""


class _NoteSigner:
    key: VerifierKey

    def sign(self, message: bytes) -> bytes:
        raise NotImplementedError

    def sign_note(self, text: str) -> Signature:
        """See `Signer`."""
        return Signature(self.key.name, self.key.id, self.sign(text.encode()))

    def cosign(self, text: str, unix_s: int) -> Signature:
        """A witness's signature line: the text, and the time at which it was seen. Raises: SignerFailed."""
        key = VerifierKey(self.key.name, Algorithm.COSIGNATURE, self.key.public)
        return Signature(key.name, key.id, cosignature_bytes(unix_s, self.sign(cosigned_message(text, unix_s))))


class KeySigner(_NoteSigner):
    """Signs with a key in this process's memory."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        """`name`: of the key, as it stands in signature lines."""
        self._private = private
        self.key = VerifierKey(name, Algorithm.ED25519, public_bytes(private.public_key()))

    def sign(self, message: bytes) -> bytes:
        """See `Signer`."""
        return self._private.sign(message)


class CommandSigner(_NoteSigner):
    """Signs by an outside command. What it answers is verified before it counts."""

    def __init__(self, key: VerifierKey, command: Sequence[str], limit_s: float = COMMAND_LIMIT_S) -> None:
        """`command`: a program and its arguments; no shell is involved."""
        self.key, self._command, self._limit_s = key, list(command), limit_s

    def sign(self, message: bytes) -> bytes:
        """See `Signer`."""
        shown = shlex.join(self._command)
        try:
            done = subprocess.run(self._command, input=message, capture_output=True, timeout=self._limit_s, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = f"the signer `{shown}` did not answer: {error}"
            raise SignerFailed(msg) from error
        if done.returncode:
            msg = f"the signer `{shown}` ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()[:500]}"
            raise SignerFailed(msg)
        signature = _answered(done.stdout)
        try:
            Ed25519PublicKey.from_public_bytes(self.key.public).verify(signature, message)
        except InvalidSignature as error:
            msg = f"the signer `{shown}` answered with something that the key {self.key} did not sign"
            raise SignerFailed(msg) from error
        return signature


def _answered(output: bytes) -> bytes:
    if len(output) == ED25519_SIGNATURE_BYTES:
        return output
    try:
        return base64.b64decode(output.strip(), validate=True)
    except binascii.Error:
        return b""


# -- key files --------------------------------------------------------------------------------------------------------------------


def public_bytes(public: Ed25519PublicKey) -> bytes:
    """32 bytes."""
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def verifier_keys(lines: str) -> tuple[VerifierKey, ...]:
    """The keys in a file of verifier keys. Raises: InvalidNote."""
    return tuple(VerifierKey.parse(line) for line in lines.splitlines() if line.strip())


def new_key(file: Path) -> Ed25519PrivateKey:
    """Make a key and its file (PKCS #8 PEM, mode 0600), which must not be there yet. Raises: KeyUnusable."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
    except FileExistsError as error:
        msg = f"{file} is there already, and a key is never overwritten; choose another name or move it away"
        raise KeyUnusable(msg) from error
    except OSError as error:
        msg = f"cannot write {file}: {error.strerror or error}"
        raise KeyUnusable(msg) from error
    return private


def read_key(file: Path) -> Ed25519PrivateKey:
    """A key file that nobody else can read. Raises: KeyUnusable."""
    try:
        mode = file.stat().st_mode
        pem = file.read_bytes()
    except OSError as error:
        msg = f"cannot read the key {file}: {error.strerror or error}"
        raise KeyUnusable(msg) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        msg = f"others can read or change the key {file}: `chmod 600 {file}`, and rotate it if somebody may have"
        raise KeyUnusable(msg)
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        msg = f"{file} is not an unencrypted private key in PEM: {error}"
        raise KeyUnusable(msg) from error
    if not isinstance(private, Ed25519PrivateKey):
        msg = f"{file} has a key of another kind; Verdigris signs with Ed25519 (`verdigris key new` makes one)"
        raise KeyUnusable(msg)
    return private
