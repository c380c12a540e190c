"""OpenSSH's signatures of files (`ssh-keygen -Y sign`): read, written and verified. Pure; who signs is in `signing`.

Accepted is what `ssh-keygen` makes, and less than it would verify: no bytes that are not signed (`reserved`), no SHA-1, no RSA below
2048 bits, no signature of a hardware key that nobody touched. Only ECDSA leaves a choice: from a signature (r, s) anybody can make
(r, -s), also valid, of the same document by the same key. So a signature names nothing; documents are told apart by their own digest.

Sources: OpenSSH's PROTOCOL.sshsig and PROTOCOL.u2f, RFC 8332 (rsa-sha2-256/512), RFC 5656 (ECDSA), RFC 8709 (Ed25519).
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from verdigris.approvals.errors import ApprovalError
from verdigris.approvals.ssh_key import BLOB_BYTES_MAX, NAME_CHARS_MAX, RSA_BITS_MAX, InvalidPublicKey, KeyType, PublicKey
from verdigris.approvals.ssh_wire import Reader, string, uint32

NAMESPACE = "approval@verdigris.dev"
"""What our signatures are for. One made for another purpose (a git commit, a file) is none of an approval."""

MAGIC = b"SSHSIG"
VERSION = 1
ARMORED_BYTES_MAX = 16_384
RAW_BYTES_MAX = 4_096
"""Of the algorithm's own signature: RSA with 16384 bits has 2 kB."""
NAMESPACE_CHARS_MAX = 255
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_LINE_CHARS = 70
_USER_PRESENT = 0x01
_ED25519_BYTES = 64
_CURVE_HASHES: dict[str, HashAlgorithm] = {"secp256r1": SHA256(), "secp384r1": SHA384(), "secp521r1": SHA512()}
_RSA_HASHES: dict[str, HashAlgorithm] = {"rsa-sha2-256": SHA256(), "rsa-sha2-512": SHA512()}


class InvalidSshSignature(ApprovalError):
    """A signature is malformed, for another purpose, or not of this message by its key. Safe: what it was under was not believed."""


class MessageHash(StrEnum):
    """What a message is hashed with before it is signed."""

    SHA256 = "sha256"
    SHA512 = "sha512"


@dataclass(frozen=True, slots=True)
class SshSignature:
    """A signature with the key that made it. `raw`: as the key's algorithm has it (its name, then its bytes)."""

    key: PublicKey
    namespace: str
    hash: MessageHash
    raw: bytes

    def blob(self) -> bytes:
        """In bytes: PROTOCOL.sshsig, section 2."""
        parts = (self.key.blob, self.namespace, b"", self.hash.value, self.raw)
        return MAGIC + uint32(VERSION) + b"".join(string(part) for part in parts)

    def __str__(self) -> str:
        """In lines of text, as `ssh-keygen -Y sign` writes it."""
        encoded = base64.b64encode(self.blob()).decode()
        lines = [encoded[at : at + _LINE_CHARS] for at in range(0, len(encoded), _LINE_CHARS)]
        return "\n".join([_BEGIN, *lines, _END, ""])

    @classmethod
    def parse(cls, armored: str) -> "SshSignature":
        """What `str` or `ssh-keygen -Y sign` gives, in lines of any length. Nothing is verified. Raises: InvalidSshSignature."""
        if len(armored) > ARMORED_BYTES_MAX:
            msg = f"a signature may have {ARMORED_BYTES_MAX} characters"
            raise InvalidSshSignature(msg)
        begin, *lines = armored.removesuffix("\n").removesuffix("\r").replace("\r\n", "\n").split("\n")
        if begin != _BEGIN or not lines or lines.pop() != _END:
            msg = f"not an SSH signature: it begins with the line {_BEGIN} and ends with {_END}"
            raise InvalidSshSignature(msg)
        encoded = "".join(lines)
        try:
            blob = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            msg = f"not an SSH signature: between its first and its last line is no base64: {error}"
            raise InvalidSshSignature(msg) from error
        if base64.b64encode(blob).decode() != encoded:  # what is left over in the last character must be zero
            msg = "not an SSH signature: its base64 has something left over"
            raise InvalidSshSignature(msg)
        return cls.from_blob(blob)

    @classmethod
    def from_blob(cls, blob: bytes) -> "SshSignature":
        """What `blob` gives. Raises: InvalidSshSignature."""
        try:
            key, namespace, reserved, hash_name, raw = _parts(blob)
        except (ValueError, InvalidPublicKey) as error:
            msg = f"not an SSH signature that is accepted: {error}"
            raise InvalidSshSignature(msg) from error
        if not namespace or reserved:
            msg = "not an SSH signature that is accepted: it has no namespace, or has something in the place that nobody signs"
            raise InvalidSshSignature(msg)
        if hash_name not in set(MessageHash):
            msg = f"the message of this signature was hashed with {hash_name}, and {' or '.join(MessageHash)} is accepted"
            raise InvalidSshSignature(msg)
        return cls(key, namespace, MessageHash(hash_name), raw)

    def verify(self, message: bytes, namespace: str = NAMESPACE) -> None:
        """That the key in the signature has signed this message for this purpose. Whose key it is, others know.

        Raises: InvalidSshSignature.
        """
        if self.namespace != namespace:
            msg = f"this signature is for {self.namespace!r} and not for {namespace!r}: sign with ssh-keygen -Y sign -n {namespace}"
            raise InvalidSshSignature(msg)
        verify_raw(self.key, self.raw, signed_data(message, namespace, self.hash))


def _parts(blob: bytes) -> tuple[PublicKey, str, bytes, str, bytes]:
    """Key, namespace, reserved, name of the hash, raw signature. Raises: ValueError, InvalidPublicKey."""
    reader = Reader(blob)
    if reader.take(len(MAGIC)) != MAGIC or reader.uint32() != VERSION:
        msg = f"it is not {MAGIC.decode()} of version {VERSION}"
        raise ValueError(msg)
    key = PublicKey(reader.string(BLOB_BYTES_MAX))
    namespace, reserved = reader.text(NAMESPACE_CHARS_MAX), reader.string(BLOB_BYTES_MAX)
    hash_name, raw = reader.text(NAME_CHARS_MAX), reader.string(RAW_BYTES_MAX)
    reader.end()
    return key, namespace, reserved, hash_name, raw


def signed_data(message: bytes, namespace: str = NAMESPACE, hash_: MessageHash = MessageHash.SHA512) -> bytes:
    """The bytes that a key signs for a message: PROTOCOL.sshsig, section 3."""
    parts = (namespace, b"", hash_.value, hashlib.new(hash_.value, message).digest())
    return MAGIC + b"".join(string(part) for part in parts)


def verify_raw(key: PublicKey, raw: bytes, data: bytes) -> None:
    """That a key has signed these bytes, in its algorithm's own form. Raises: InvalidSshSignature."""
    try:
        _verify(key, raw, data)
    except InvalidSignature as error:
        msg = f"the key {key.fingerprint} has not signed this: it was changed, or is another document, or the signature is forged"
        raise InvalidSshSignature(msg) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"not a signature by a key of type {key.type.value}: {error}"
        raise InvalidSshSignature(msg) from error


def _verify(key: PublicKey, raw: bytes, data: bytes) -> None:
    """Raises: InvalidSignature; ValueError: it is malformed."""
    reader = Reader(raw)
    algorithm = reader.text(NAME_CHARS_MAX)
    if algorithm not in (_RSA_HASHES if key.type is KeyType.RSA else {key.type.value}):
        msg = "ssh-rsa signs with SHA-1, which is broken" if algorithm == "ssh-rsa" else f"{algorithm} is not how such a key signs"
        raise ValueError(msg)
    signature = reader.string(RAW_BYTES_MAX)
    if key.type in {KeyType.SK_ED25519, KeyType.SK_ECDSA}:
        # PROTOCOL.u2f, "Signature Formats": the hardware signs hashes of where and what, and in between how often and by whose touch.
        flags, counter = reader.take(1), reader.take(4)
        data = hashlib.sha256(key.application.encode()).digest() + flags + counter + hashlib.sha256(data).digest()
        if not flags[0] & _USER_PRESENT:
            msg = "nobody touched the hardware key, so no person has agreed"
            raise ValueError(msg)
    reader.end()
    match key.verifier:
        case Ed25519PublicKey():
            if len(signature) != _ED25519_BYTES:
                raise InvalidSignature
            key.verifier.verify(signature, data)
        case EllipticCurvePublicKey():
            numbers, width = Reader(signature), (key.verifier.key_size + 7) // 8
            r, s = numbers.mpint(width), numbers.mpint(width)
            numbers.end()
            key.verifier.verify(encode_dss_signature(r, s), data, ECDSA(_CURVE_HASHES[key.verifier.curve.name]))
        case RSAPublicKey():
            if len(signature) != (key.verifier.key_size + 7) // 8 or len(signature) > RSA_BITS_MAX // 8:
                msg = "its length is not that of the key"
                raise ValueError(msg)
            key.verifier.verify(signature, data, PKCS1v15(), _RSA_HASHES[algorithm])
