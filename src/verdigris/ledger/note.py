"""C2SP signed notes: a text and signatures over it, in lines a person can read. Pure; who can sign is in `signing`.

Source: c2sp.org/signed-note, c2sp.org/tlog-cosignature.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from verdigris.ledger.errors import LedgerError

NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 64
KEY_ID_BYTES = 4
ED25519_KEY_BYTES, ED25519_SIGNATURE_BYTES = 32, 64
TIMESTAMP_MAX = 2**63 - 1
_MARK = "— "
_NAME = re.compile(r"[^\s+]+\Z")
_TIMESTAMP_BYTES = 8


class InvalidNote(LedgerError):
    """A signed note is malformed, or nobody who is trusted has signed it. Safe: its text was not believed."""


class Algorithm(IntEnum):
    """Signature types that are understood."""

    ED25519 = 0x01
    COSIGNATURE = 0x04
    """Ed25519 by a witness, over the text and a time."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Whose signatures are believed: a name, an algorithm and an Ed25519 public key (32 bytes)."""

    name: str
    algorithm: Algorithm
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            msg = f"a key's name has no spaces and no plus sign, and is not empty: {self.name!r}"
            raise InvalidNote(msg)
        if len(self.public) != ED25519_KEY_BYTES:
            msg = f"an Ed25519 public key has {ED25519_KEY_BYTES} bytes, not {len(self.public)}"
            raise InvalidNote(msg)

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart; no protection against a chosen collision."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        """As it is handed over: `name+id+key`."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.algorithm]) + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """What `str` gives. Raises: InvalidNote."""
        try:
            name, key_id, encoded = text.strip().split("+", 2)
            algorithm, *public = base64.b64decode(encoded, validate=True)
            key = cls(name, Algorithm(algorithm), bytes(public))
        except (ValueError, binascii.Error) as error:
            msg = f"not a verifier key (name+id+key, Ed25519): {text.strip()[:200]!r}"
            raise InvalidNote(msg) from error
        if key.id.hex() != key_id:
            msg = f"the id in the verifier key of {name} is not the one of its key: it was mistyped or changed"
            raise InvalidNote(msg)
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note. `bytes`: as the algorithm has them; a cosignature's begin with its time."""

    name: str
    key_id: bytes
    bytes: bytes

    def line(self) -> str:
        """With its line end."""
        return f"{_MARK}{self.name} {base64.b64encode(self.key_id + self.bytes).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, ending in a newline, and its signatures, believed or not."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        """The whole note."""
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)

    @classmethod
    def parse(cls, note: bytes) -> "Note":
        """Raises: InvalidNote."""
        if len(note) > NOTE_BYTES_MAX:
            msg = f"a note may have {NOTE_BYTES_MAX} bytes"
            raise InvalidNote(msg)
        try:
            whole = note.decode("utf-8")
        except UnicodeDecodeError as error:
            msg = "a note is text in UTF-8, and this is not"
            raise InvalidNote(msg) from error
        if any(c < " " and c != "\n" for c in whole):
            msg = "a note has no control characters but line ends, and this one does"
            raise InvalidNote(msg)
        text, separator, below = whole.rpartition("\n\n")
        if not separator or not text or not below.endswith("\n"):
            msg = "not a signed note: there is no empty line with signatures after it"
            raise InvalidNote(msg)
        lines = below[:-1].split("\n")
        if len(lines) > SIGNATURES_MAX:
            msg = f"a note may have {SIGNATURES_MAX} signatures"
            raise InvalidNote(msg)
        return cls(text + "\n", tuple(parse_signature(line) for line in lines))


def strict_base64(text: str) -> bytes:
    """What base64 says, in its one spelling: nothing is left over at the end of the last character. Raises: ValueError."""
    decoded = base64.b64decode(text, validate=True)
    if base64.b64encode(decoded).decode() != text:
        msg = "base64 with something left over"
        raise ValueError(msg)
    return decoded


def parse_signature(line: str) -> Signature:
    """One signature line, without its line end. Raises: InvalidNote."""
    try:
        name, encoded = line.removeprefix(_MARK).split(" ")
        decoded = strict_base64(encoded)
    except (ValueError, binascii.Error) as error:
        msg = f"not a signature line: {line[:200]!r}"
        raise InvalidNote(msg) from error
    if not line.startswith(_MARK) or not _NAME.match(name) or len(decoded) <= KEY_ID_BYTES:
        msg = f"not a signature line: {line[:200]!r}"
        raise InvalidNote(msg)
    return Signature(name, decoded[:KEY_ID_BYTES], decoded[KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Signed:
    """Who of the trusted has signed. `unix_s` is the time that a witness gives; None for others."""

    key: VerifierKey
    unix_s: int | None


def verified(note: Note, trusted: Sequence[VerifierKey]) -> tuple[Signed, ...]:
    """The trusted keys that have signed the note; signatures of others are ignored.

    Raises: InvalidNote: none has, or a signature in a trusted key's name is not by that key.
    """
    found = [
        Signed(key, _verify(note.text, signature, key))
        for signature in note.signatures
        for key in trusted
        if (key.name, key.id) == (signature.name, signature.key_id)
    ]
    if not found:
        names = ", ".join(sorted({key.name for key in trusted})) or "nobody"
        msg = f"no trusted key has signed this note (trusted: {names}; signed by: {', '.join(s.name for s in note.signatures)})"
        raise InvalidNote(msg)
    return tuple(found)


def _verify(text: str, signature: Signature, key: VerifierKey) -> int | None:
    """Returns the time of a cosignature. Raises: InvalidNote."""
    unix_s, message, by_key = None, text.encode(), signature.bytes
    if key.algorithm is Algorithm.COSIGNATURE:
        unix_s = int.from_bytes(by_key[:_TIMESTAMP_BYTES], "big")
        if unix_s > TIMESTAMP_MAX:
            msg = f"the cosignature of {key.name} has a time beyond all bounds"
            raise InvalidNote(msg)
        message, by_key = cosigned_message(text, unix_s), by_key[_TIMESTAMP_BYTES:]
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(by_key, message)
    except InvalidSignature as error:
        msg = f"the signature in the name of {key.name} (key id {key.id.hex()}) is wrong: the note was changed, or the signature forged"
        raise InvalidNote(msg) from error
    return unix_s


def cosigned_message(text: str, unix_s: int) -> bytes:
    """What a witness signs."""
    return f"cosignature/v1\ntime {unix_s}\n{text}".encode()


def cosignature_bytes(unix_s: int, signature: bytes) -> bytes:
    """A witness's signature with its time, as it stands in a signature line."""
    return unix_s.to_bytes(_TIMESTAMP_BYTES, "big") + signature
