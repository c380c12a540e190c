"""SSH public keys: how they are written in `authorized_keys`, how they are told apart, and which kinds are believed. Pure.

Sources: RFC 4253 section 6.6 (RSA), RFC 5656 (ECDSA), RFC 8709 (Ed25519), OpenSSH's PROTOCOL.u2f (keys in hardware, `sk-…`), sshd(8)
"AUTHORIZED_KEYS FILE FORMAT".
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from verdigris.approvals.errors import ApprovalError
from verdigris.approvals.ssh_wire import Reader

BLOB_BYTES_MAX = 4_096
"""An RSA key of 16384 bits has 2.1 kB."""
LINE_CHARS_MAX = 8_192
COMMENT_CHARS_MAX = 200
NAME_CHARS_MAX = 64
RSA_BITS_MIN, RSA_BITS_MAX = 2_048, 16_384
RSA_EXPONENT_MAX = 2**32
"""Beyond it a verification is slow for no gain; 65537 is what is in use."""
ED25519_BYTES = 32
APPLICATION_CHARS_MAX = 255
_UNCOMPRESSED = b"\x04"

Verifier = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey


class InvalidPublicKey(ApprovalError):
    """A public key cannot be read, or is of a kind that is not accepted. Safe: nobody was given its rights."""


class KeyType(StrEnum):
    """Kinds of keys that are accepted. The `sk-` kinds are kept in hardware, which wants to be touched."""

    ED25519 = "ssh-ed25519"
    ECDSA_256 = "ecdsa-sha2-nistp256"
    ECDSA_384 = "ecdsa-sha2-nistp384"
    ECDSA_521 = "ecdsa-sha2-nistp521"
    RSA = "ssh-rsa"
    """The name of the key's format. What it signs with SHA-1, under the same name, is not accepted."""
    SK_ED25519 = "sk-ssh-ed25519@openssh.com"
    SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"


_CURVES: dict[KeyType, tuple[bytes, EllipticCurve, int]] = {
    KeyType.ECDSA_256: (b"nistp256", SECP256R1(), 65),
    KeyType.ECDSA_384: (b"nistp384", SECP384R1(), 97),
    KeyType.ECDSA_521: (b"nistp521", SECP521R1(), 133),
    KeyType.SK_ECDSA: (b"nistp256", SECP256R1(), 65),
}
"""The curve by its name in the key, and the bytes of an uncompressed point on it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key in SSH's form. Two are the same if their blobs are, whatever is noted beside them.

    Raises: InvalidPublicKey: on being made.
    """

    blob: bytes
    comment: str = field(default="", compare=False)
    type: KeyType = field(init=False, compare=False)
    application: str = field(init=False, compare=False, default="")
    """What a key in hardware was made for, such as `ssh:`; it is part of all that it signs. Empty for others."""
    verifier: Verifier = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        try:
            kind, verifier, application = _parsed(self.blob)
        except (ValueError, UnsupportedAlgorithm) as error:
            msg = f"not a public key in SSH's form: {error}"
            raise InvalidPublicKey(msg) from error
        for name, value in (("type", kind), ("verifier", verifier), ("application", application)):
            object.__setattr__(self, name, value)

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it: `SHA256:` and 43 characters."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def __str__(self) -> str:
        """A line as `authorized_keys` has it."""
        return f"{self.type.value} {base64.b64encode(self.blob).decode()}" + (f" {self.comment}" if self.comment else "")

    @classmethod
    def parse(cls, line: str) -> "PublicKey":
        """A line of `authorized_keys` or of a `.pub` file, without options. Raises: InvalidPublicKey."""
        if len(line) > LINE_CHARS_MAX:
            msg = f"a public key's line may have {LINE_CHARS_MAX} characters"
            raise InvalidPublicKey(msg)
        kind, _, rest = line.strip().partition(" ")
        encoded, _, comment = rest.strip().partition(" ")
        comment = comment.strip()
        if kind not in set(KeyType):
            raise InvalidPublicKey(_not_accepted(kind))
        try:
            blob = base64.b64decode(encoded, validate=True)
            same = bool(blob) and base64.b64encode(blob).decode() == encoded  # what is left over in the last character must be zero
        except (ValueError, binascii.Error):
            blob, same = b"", False
        if not same:
            msg = f"after {kind} a public key in base64 follows, and this is not; copy the whole line of the .pub file"
            raise InvalidPublicKey(msg)
        if len(comment) > COMMENT_CHARS_MAX or not comment.isprintable():
            msg = f"a public key's comment has at most {COMMENT_CHARS_MAX} visible characters"
            raise InvalidPublicKey(msg)
        key = cls(blob, comment)
        if key.type != kind:
            msg = f"the line says {kind}, and the key in it is {key.type.value}; copy the whole line of the .pub file"
            raise InvalidPublicKey(msg)
        return key

    @classmethod
    def of(cls, public: Verifier) -> "PublicKey":
        """The key of the `cryptography` package in SSH's form. Raises: InvalidPublicKey."""
        try:
            line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        except (ValueError, UnsupportedAlgorithm) as error:
            msg = f"this key has no form in SSH: {error}"
            raise InvalidPublicKey(msg) from error
        return cls.parse(line.decode("ascii"))


def _parsed(blob: bytes) -> tuple[KeyType, Verifier, str]:
    """The key in a blob. Raises: InvalidPublicKey: it is not accepted; ValueError, UnsupportedAlgorithm: it is malformed."""
    if len(blob) > BLOB_BYTES_MAX:
        msg = f"it has {len(blob)} bytes, and may have {BLOB_BYTES_MAX}"
        raise ValueError(msg)
    reader = Reader(blob)
    name = reader.text(NAME_CHARS_MAX)
    if name not in set(KeyType):
        raise InvalidPublicKey(_not_accepted(name))
    kind = KeyType(name)
    verifier: Verifier
    match kind:
        case KeyType.ED25519 | KeyType.SK_ED25519:
            verifier = Ed25519PublicKey.from_public_bytes(reader.string(ED25519_BYTES))
        case KeyType.RSA:
            verifier = _rsa(reader)
        case _:
            verifier = _ecdsa(kind, reader)
    application = reader.text(APPLICATION_CHARS_MAX) if kind in {KeyType.SK_ED25519, KeyType.SK_ECDSA} else ""
    reader.end()
    return kind, verifier, application


def _rsa(reader: Reader) -> RSAPublicKey:
    exponent = reader.mpint(RSA_EXPONENT_MAX.bit_length() // 8)
    modulus = reader.mpint(RSA_BITS_MAX // 8)
    bits = modulus.bit_length()
    if bits < RSA_BITS_MIN:
        msg = f"an RSA key of {bits} bits is too short; at least {RSA_BITS_MIN} are accepted: make a new key with ssh-keygen -t ed25519"
        raise InvalidPublicKey(msg)
    if bits > RSA_BITS_MAX or modulus % 2 == 0 or not (1 < exponent <= RSA_EXPONENT_MAX and exponent % 2):
        msg = "its numbers are not those of an RSA key"
        raise ValueError(msg)
    return RSAPublicNumbers(exponent, modulus).public_key()


def _ecdsa(kind: KeyType, reader: Reader) -> EllipticCurvePublicKey:
    name, curve, point_bytes = _CURVES[kind]
    if reader.string(NAME_CHARS_MAX) != name:
        msg = f"a key of type {kind.value} is on the curve {name.decode()}, and this one says another"
        raise ValueError(msg)
    point = reader.string(point_bytes)
    if not point.startswith(_UNCOMPRESSED):
        msg = "its point is not uncompressed, as SSH wants it"
        raise ValueError(msg)
    return EllipticCurvePublicKey.from_encoded_point(curve, point)


def _not_accepted(kind: str) -> str:
    accepted = ", ".join(KeyType)
    shown = ascii(kind[:NAME_CHARS_MAX])
    if "-cert-v01@" in kind:
        return f"{shown} is a certificate; give the key itself: the .pub file beside it"
    if kind == "ssh-dss":
        return "DSA keys are not accepted: make a new key with ssh-keygen -t ed25519"
    return f"{shown} is no type of key that is accepted ({accepted}); write a key without options before it, as a .pub file has it"
