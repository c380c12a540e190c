"""Verifies what a ledger of Verdigris hands to an auditor, offline: a whole log, one entry with its proof, or an evidence pack.

    python verify.py log FOLDER --key VKEY [--key ...] [--witness VKEY ...] [--checkpoint EARLIER ...] [--evidence FOLDER]
                                [--stamp-roots ROOTS.pem ...]
    python verify.py proof FILE.tlog-proof ENTRY --key VKEY
    python verify.py pack PACK.zip --key VKEY [--checkpoint EARLIER ...] [--stamp-roots ROOTS.pem ...]

Needs Python 3.9 or newer and `cryptography` (for time stamps 42 or newer), and nothing of Verdigris: no code is shared with the writer.
Take this file and the keys (`name+id+key`, as C2SP writes them) from somebody other than whoever hands you the log. Exit codes: 0
everything asked was proven, 1 something is wrong, 2 the input cannot be read or the call was wrong.

A log is verified in these steps; a proof and a pack in those of them that they have the files for.

    1. head       the checkpoint is a signed note, and a key that was given has signed it
    2. tree       the entries, hashed anew, have the signed root; every tile is what they give
    3. memory     earlier checkpoints that the auditor holds are roots of this tree at their size
    4. witnesses  have cosigned a head, and when
    5. time       authorities have stamped heads of this log (RFC 3161), under roots that were given
    6. entries    each is an envelope in canonical form, signed by keys that were in force, around a statement of a known kind that
                  has nothing in it but what its kind allows
    7. story      sequences without gaps; intended before observed; nothing after the end
    8. evidence   blobs have the SHA-256 that they are named by; one that is not here was called erased by a later entry, which came
                  when every rollout that names it had ended
    9. people     what people signed is about this rollout, plan and step, by keys of whom it names; what moved through a gate, or forward
                  in a freeze, had all whom the plan asks; what is erased is said, and is neither good nor wrong

Sources: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles and tlog-proof; RFC 6962 section 2.1 (the tree, inclusion and
consistency proofs); DSSE v1; in-toto Statement v1; RFC 8785 with ECMAScript's Number::toString; RFC 3161, RFC 5652, RFC 5035 and RFC 5280
(time stamps); OpenSSH's PROTOCOL.sshsig and PROTOCOL.u2f.

What this file reads may have been made to harm whoever reads it. So everything has a bound, nothing is unpacked to disk, and foreign
text is shown in ASCII only. `Refused` never leaves it: what is refused becomes a problem in the `Report`.
"""

from __future__ import annotations

import argparse
import base64
import calendar
import gzip
import hashlib
import io
import json
import math
import os
import re
import stat
import sys
import time
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Callable, NamedTuple, Protocol  # noqa: UP035  # Python 3.9 cannot subscript the other Callable with a list

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.x509 import (
    BasicConstraints,
    Certificate,
    ExtendedKeyUsage,
    ExtensionNotFound,
    KeyUsage,
    load_der_x509_certificate,
    load_pem_x509_certificate,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

FORMAT = "verdigris.verification/1"
PACK_FORMAT = "verdigris.pack/1"

# -- bounds --------------------------------------------------------------------------------------------------------------------------

ENTRY_BYTES_MAX = 2**16 - 1
"""tlog-tiles writes an entry's length in two bytes."""
NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 64
PROOF_BYTES_MAX = NOTE_BYTES_MAX + 10_000
HASHES_MAX = 63
"""In one proof: a log has at most 2^63 - 1 entries."""
SIZE_MAX = 2**63 - 1
EVIDENCE_BYTES_MAX = 64_000_000
PLAN_BYTES_MAX = 4_000_000
MANIFEST_BYTES_MAX = 8_000_000
FILE_BYTES_MAX = 256_000_000
FILES_MAX = 50_000
PACK_BYTES_MAX = 2_000_000_000
ZIP_DIRECTORY_BYTES_MAX = 8_000_000
DEPTH_MAX = 32
"""Of JSON in JSON; entries and manifests need fewer than ten."""
PROBLEMS_MAX = 1_000
"""So many are listed, and the rest counted."""
LISTED_MAX = 20
SHOWN_MAX = 120
CHUNK_BYTES = 1 << 20
STAMP_BYTES_MAX = 256 * 1024
STAMP_FILES_MAX = 4_000_000
"""Twenty authorities make so many in ten years, if each is asked once an hour."""
STAMPED_MAX = 10_000
"""So many heads with time stamps are read, the newest; one an hour makes as many in a year."""
CERTIFICATES_MAX = 32
PATH_MAX = 8
ROOTS_BYTES_MAX = 4_000_000
CLOCK_TOLERANCE_S = 5
"""Guards have clocks of their own: times may go back by so much from one entry to the next without a remark."""
DOCUMENT_BYTES_MAX = 32_768
SIGNED_BYTES_MAX = 100_000
PERSON_BYTES_MAX = 200_000
PERSON_KEYS_MAX = 10
SHOWN_BYTES_MAX = 4_000_000
REASON_CHARS_MAX = 4_000
WORDS_MAX = 500
"""Of people about one rollout."""
STEP_MAX, QUORUM_MAX = 50, 20
PERCENT_ERROR = 0.01
"""Every proxy sets weights to a hundredth of a percent."""
SSH_NAME_BYTES_MAX, SSH_BYTES_MAX, SSH_ARMORED_MAX = 255, 4_096, 16_384
RSA_BITS_MIN, RSA_BITS_MAX, RSA_EXPONENT_BYTES_MAX = 2_048, 16_384, 4
AHEAD_S = 120
"""So far the clock of who signs may be ahead of the guard's."""
LIFETIME_S = 30 * 86_400
DECIDING_S = 60
"""A guard acts on what it has read so long ago at most: what came in, ended or began within it may not have counted yet."""

# -- formats -------------------------------------------------------------------------------------------------------------------------

ED25519, COSIGNATURE = 0x01, 0x04
"""Signature types of C2SP signed-note."""
KEY_BYTES, KEY_ID_BYTES, TIMESTAMP_BYTES, HASH_BYTES = 32, 4, 8, 32
TILE_WIDTH, TILE_HEIGHT = 256, 8
EMPTY_ROOT = hashlib.sha256(b"").digest()
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
WHOLE_MAX = 2**53 - 1
"""The largest whole number that every JSON reader has exactly."""
LIST_MAX = 200
NANO = 10**9
APPROVAL_TYPE, APPROVAL_NAMESPACE = "https://verdigris.dev/approval/v1", "approval@verdigris.dev"
START = -1
"""What is about no single step."""
ROLES = frozenset({"author", "approver", "tester", "operator", "auditor", "security"})
REVIEWERS = frozenset({"approver", "security", "auditor"})
DECISIONS: Mapping[str, str] = {
    "approval.given": "give", "approval.refused": "refuse", "approval.withdrawn": "withdraw", "freeze.overridden": "override-freeze",
    "review.done": "review",
}  # fmt: skip
"""What is signed for each kind of entry."""
PEOPLE_READ = frozenset({*DECISIONS, "phase", "weight.intended", "commit.intended", "review.due"}) - {"review.done"}
"""Kinds of a rollout's entries that tell who agreed, and what moved."""
ENDING = frozenset({"give", "override-freeze"})
FORWARD = frozenset({"ready", "step passed", "approved"})
"""Events after which the next step begins."""
SSH_MAGIC, SSH_TOUCHED = b"SSHSIG", 0x01
SSH_ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    "ssh-rsa": ("rsa-sha2-256", "rsa-sha2-512"),
    **{
        name: (name,) for name in (
            "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com",
            "sk-ecdsa-sha2-nistp256@openssh.com",
        )
    },
}  # fmt: skip
"""Types of people's keys, and how each signs."""
SSH_CURVES: Mapping[str, tuple[bytes, Any, Any, int]] = {
    "ecdsa-sha2-nistp256": (b"nistp256", SECP256R1(), SHA256(), 65),
    "ecdsa-sha2-nistp384": (b"nistp384", SECP384R1(), SHA384(), 97),
    "ecdsa-sha2-nistp521": (b"nistp521", SECP521R1(), SHA512(), 133),
    "sk-ecdsa-sha2-nistp256@openssh.com": (b"nistp256", SECP256R1(), SHA256(), 65),
}
"""The curve's name in a key, the curve, what it hashes with, and the bytes of a point."""

SEQUENCE, SET, OCTET_STRING, GENERALIZED_TIME, CONTEXT_0 = 0x30, 0x31, 0x04, 0x18, 0xA0
"""Tags of DER."""
OID_SIGNED_DATA, OID_TST_INFO = bytes.fromhex("2a864886f70d010702"), bytes.fromhex("2a864886f70d0109100104")
OID_CONTENT_TYPE, OID_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010903"), bytes.fromhex("2a864886f70d010904")
OID_SIGNING_CERTIFICATE, OID_SIGNING_CERTIFICATE_V2 = bytes.fromhex("2a864886f70d010910020c"), bytes.fromhex("2a864886f70d010910022f")
OID_ED25519 = bytes.fromhex("2b6570")
DIGESTS = {bytes.fromhex(f"60864801650304020{n}"): name for n, name in ((1, "sha256"), (2, "sha384"), (3, "sha512"))}
HASHES: Mapping[str, Any] = {"sha256": SHA256, "sha384": SHA384, "sha512": SHA512}
RSA_SCHEMES = frozenset(bytes.fromhex(f"2a864886f70d0101{n:02x}") for n in (1, 11, 12, 13))
ECDSA_SCHEMES = frozenset(bytes.fromhex(f"2a8648ce3d04030{n}") for n in (2, 3, 4))
SIGNED_DIGESTS = {
    bytes.fromhex(f"{scheme}{n:02x}"): name
    for scheme, first in (("2a864886f70d0101", 11), ("2a8648ce3d0403", 2))
    for n, name in enumerate(HASHES, first)
}
"""The digest of signature schemes that have one of their own."""
TIME_STAMPING, ANY_PURPOSE = ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
UNDERSTOOD = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE})
"""Critical extensions of an authority's certificate that are looked at here; with another one it is not believed."""

_KEY_NAME = re.compile(r"[^\s+]+")
_SIGNATURE_LINE = re.compile("\u2014 ([^\\s+]+) ([A-Za-z0-9+/]+={0,2})")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}")
_ROLLOUT = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4,12}")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9])\.([0-9]{9})Z")
_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9])(?:\.([0-9]{1,9}))?Z")
_KIND = re.compile(r"https://verdigris\.dev/ledger/([a-z.]{1,40})/v1")
_EVIDENCE_NAME = re.compile(r"([0-9a-f]{64})(\.gz)?")
_ACTOR = re.compile(r"person|guard")
_OUTCOME = re.compile(r"announced|done|refused|failed|seen")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_STAMP_NAME = re.compile(r"([1-9][0-9]{0,18})-[0-9a-f]{8}\.tsr")
_GENERALIZED_TIME = re.compile(rb"([0-9]{14})(?:\.[0-9]{1,9})?Z")
_PACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")

WORDS: Mapping[str, tuple[str, ...]] = {
    "request": ("hold", "resume", "abort", "commit"),
    "check": ("proxy", "baseline", "drift", "tracing", "security", "vulnerabilities", "migration", "load", "acceptance"),
    "result": ("PASS", "FAIL", "CANNOT_TELL"),
    "phase": (
        "planned", "preflight", "waiting for approval", "shifting", "watching", "holding", "returning", "rolled back", "committing",
        "baking", "committed", "frozen",
    ),
    "event": (
        "begun", "ready", "approval needed", "approved", "step in force", "switch in force", "undecided", "step passed", "failed",
        "failed, and the baseline cannot run on the data", "cannot tell", "evidence missing", "hold asked", "resumed",
        "resumed before any traffic", "return asked", "baked", "commit in force", "baseline in force",
    ),
    "verdict": ("PASS", "FAIL", "NOT_ENOUGH_DATA", "BLIND"),
    "signal": (
        "latency", "exclusive latency", "errors", "new error kind", "refused more", "refused less", "rejected", "call missing",
        "call extra", "orphans", "no traces", "sampling", "instance", "operation missing", "new operation fails", "untraced requests",
        "failing at the proxy", "sensitive data", "more sensitive data", "new operation sends sensitive data",
    ),
    "severity": ("minor", "major", "critical"),
    "why": ("retention", "asked"),
    "end": ("rolled back", "committed"),
}  # fmt: skip
"""The words that an entry may use, by list."""

_WHY: Mapping[str, str] = {"retention": "because their retention had passed", "asked": "because somebody asked for it"}

_SPLIT = "candidatePercent=number~ generation=count~ committed=flag~"
_INTENDED = "candidatePercent=number generation=count step=number? leaseS=number?"
KINDS: Mapping[str, str] = {
    "ledger.opened": "key=digest version=version",
    "ledger.verified": "entries=count problems=count",
    "key.rotated": "old=digest new=digest",
    "guard.started": "version=version",
    "guard.stopped": "",
    "guard.recovered": "term=count",
    "masking.set": "masking=digest detectors=count allowed=count",
    "telemetry.refused": "spans=count",
    "plan.submitted": "",
    "request": "request=request",
    "preflight.check": "check=check result=result findings=count?",
    "approval.given": "step=number approval=digest",
    "approval.refused": "step=number approval=digest",
    "approval.withdrawn": "step=number approval=digest",
    "freeze.overridden": "step=number approval=digest",
    "phase": "from=phase to=phase event=event transition=count",
    "weight.intended": _INTENDED,
    "weight.observed": _SPLIT,
    "reference": "reference=digest windows=count operations=count",
    "verdict": "verdict=verdict judge=digest judgeVersion=version numpyVersion=version judgement=digest looks=digest reference=digest "
    "windows=count findings=count baselineTraces=count candidateTraces=count",
    "finding": "signal=signal severity=severity position=count",
    "telemetry.blind": "proxied=count traced=count",
    "telemetry.restored": "proxied=count traced=count",
    "rollback.intended": "generation=count",
    "rollback.observed": _SPLIT,
    "commit.intended": _INTENDED,
    "commit.observed": _SPLIT,
    "evidence.erased": "erased=digests why=why",
    "traffic.changed": f"{_SPLIT} recordedPercent=number plan=digest",
    "review.due": "dueUnixS=count of=digest",
    "review.done": "of=digest approval=digest",
    "rollout.ended": "phase=end",
}
"""What the values of each kind are: `name=type`, with `?` where one may be left out and `~` where it may be null."""

ROTATED_HINT = " (where a log changed its key, the old one and the new one are needed)"

NOT_EVIDENCE = frozenset({"key", "old", "new", "judge", "erased"})
"""Digests in values that name keys, source code, or what is meant to be gone; all others name blobs."""


# -- what comes out ------------------------------------------------------------------------------------------------------------------


class Refused(ValueError):
    """Something is not what it must be. Safe: nothing of it was believed. Stays in this file: it becomes a problem of a report."""


class CannotTell(Exception):
    """A time stamp is of a kind that is not verified here. Safe: it was not believed, and is not called wrong. Stays in this file."""


class Unreadable(Exception):
    """What was to be verified is not there, or a key was mistyped: nothing was verified. Safe: nothing was believed."""


@dataclass(frozen=True)
class Problem:
    """What is wrong, in a sentence, and where: an entry's index or a file."""

    where: str
    what: str


@dataclass
class Report:
    """What was found.

    Args:
        subject: "log", "proof" or "pack".
        origin: which log it is, by its own word.
        size: entries under the checkpoint; None where no checkpoint could be believed.
        entries: how many entries were read and believed.
        proven: what was shown.
        not_proven: what nobody could see from these files, and would have to be believed.
        notes: what is allowed and yet worth knowing.
        open_rollouts: ids of rollouts without an end.
        problems: what contradicts; an empty list is needed for everything in `proven` to count.
        more_problems: how many more there were than are listed.
    """

    subject: str
    origin: str = ""
    size: int | None = None
    entries: int = 0
    proven: list[str] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    open_rollouts: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more_problems: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def wrong(self, where: str, what: object) -> None:
        """Add a problem."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(where, str(what)))
        else:
            self.more_problems += 1

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"format": FORMAT, "ok": self.ok, **asdict(self)}


class _Part:
    """A part of the verification, which counts its own problems: what it proves holds only without them."""

    def __init__(self, report: Report) -> None:
        self.report, self.wrongs = report, 0

    def wrong(self, where: str, what: object) -> None:
        """Add a problem."""
        self.wrongs += 1
        self.report.wrong(where, what)


def shown(text: object) -> str:
    """Foreign text, safe for a terminal: quoted, in ASCII, and not long."""
    whole = ascii(text)
    return whole if len(whole) <= SHOWN_MAX else whole[:SHOWN_MAX] + "..."


def listed(things: Sequence[object]) -> str:
    """The first of them, and how many more there are."""
    first = ", ".join(str(one) for one in things[:LISTED_MAX])
    return first if len(things) <= LISTED_MAX else f"{first} and {len(things) - LISTED_MAX} more"


def _need(condition: object, what: str) -> None:
    if not condition:
        raise Refused(what)


# -- canonical JSON (RFC 8785) -------------------------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """The one way to write a JSON value. Raises: Refused: it has a number or text that JSON has not, or is too deep."""
    try:
        return _canonical(value, DEPTH_MAX).encode("utf-8")
    except UnicodeEncodeError as error:
        msg = "a text has half of a character (a lone surrogate)"
        raise Refused(msg) from error


def _canonical(value: Any, depth: int) -> str:
    _need(depth, f"JSON is nested more than {DEPTH_MAX} deep")
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # escapes exactly what RFC 8785 section 3.2.2.2 escapes
    if isinstance(value, int):
        _need(abs(value) <= WHOLE_MAX, "a whole number is larger than JSON keeps exactly")
        return str(value)
    if isinstance(value, float):
        return es6(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_canonical(one, depth - 1) for one in value) + "]"
    _need(isinstance(value, dict) and all(isinstance(name, str) for name in value), "not a JSON value")
    # By UTF-16 code units, as ECMAScript compares.
    names = sorted(value, key=lambda name: str(name).encode("utf-16-be"))
    return "{" + ",".join(_canonical(name, 1) + ":" + _canonical(value[name], depth - 1) for name in names) + "}"


def es6(number: float) -> str:
    """A number as ECMAScript writes it (ECMA-262, Number::toString). Raises: Refused: it is not finite."""
    _need(math.isfinite(number), "a number is not finite")
    if number == 0:
        return "0"
    # Python's repr gives the same shortest digits; only where the point and the exponent go is another rule.
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    written = whole + fraction
    digits = written.lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(written) - len(digits))
    digits = digits.rstrip("0")
    return ("-" if number < 0 else "") + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """ECMA-262's cases, with k digits and the point after the n-th: 21 and -6 are its numbers."""
    k, n = len(digits), point
    if k <= n <= 21:  # noqa: PLR2004
        return digits + "0" * (n - k)
    if 0 < n <= 21:  # noqa: PLR2004
        return digits[:n] + "." + digits[n:]
    if -6 < n <= 0:  # noqa: PLR2004
        return "0." + "0" * -n + digits
    fraction = "." + digits[1:] if k > 1 else ""
    return f"{digits[0]}{fraction}e{'+' if n > 0 else '-'}{abs(n - 1)}"


def read_canonical(data: bytes, what: str) -> Any:
    """A JSON value, which must be written the one way. Raises: Refused."""
    try:
        value = json.loads(data.decode("utf-8"), parse_int=_whole, parse_constant=_no_constant)
        same = canonical(value) == data
    except Refused as error:
        msg = f"{what} is not canonical JSON: {error}"
        raise Refused(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{what} is not JSON: {shown(str(error))}"
        raise Refused(msg) from error
    _need(same, f"{what} is not in canonical form (RFC 8785): the same could be said in other bytes")
    return value


def _whole(digits: str) -> float:
    """JSON has one kind of number, a double; what fits is kept as a whole number."""
    number = int(digits) if len(digits) <= len(str(-WHOLE_MAX)) else None
    return number if number is not None and abs(number) <= WHOLE_MAX else float(digits)


def _no_constant(name: str) -> Any:
    msg = f"{name} is not a number"
    raise Refused(msg)


def _base64(text: str) -> bytes:
    """Standard base64, written the one way. Raises: Refused."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError as error:
        msg = f"not base64: {shown(text)}"
        raise Refused(msg) from error
    _need(base64.b64encode(decoded).decode() == text, f"base64 with something left over: {shown(text)}")
    return decoded


# -- keys, notes, checkpoints (C2SP) -------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """A key that the auditor believes. `id`: four bytes, by name, type and key; `digest`: how envelopes name it."""

    name: str
    kind: int
    public: bytes
    id: bytes
    digest: str

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether it made the signature."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def read_key(text: str, *, witness: bool = False) -> Key:
    """A verifier key, `name+id+key`. Raises: Unreadable: it is none, or not of the kind that is asked for."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = _base64(encoded)
        _need(_KEY_NAME.fullmatch(name) and len(raw) == 1 + KEY_BYTES and raw[0] in {ED25519, COSIGNATURE}, "")
    except Refused as error:
        msg = f"not a verifier key (name+id+key, Ed25519): {shown(text)}"
        raise Unreadable(msg) from error
    key = Key(name, raw[0], raw[1:], hashlib.sha256(name.encode() + b"\n" + raw).digest()[:KEY_ID_BYTES], sha256(raw[1:]))
    if key.id.hex() != key_id:
        msg = f"the id in the verifier key of {shown(name)} is not the one of its key: it was mistyped or changed"
        raise Unreadable(msg)
    if (key.kind == COSIGNATURE) != witness:
        there, here = ("--witness", "--key") if key.kind == COSIGNATURE else ("--key", "--witness")
        msg = f"the key of {shown(name)} belongs to {there}, not to {here} (witnesses sign with type 0x04, logs with 0x01)"
        raise Unreadable(msg)
    return key


class Head(NamedTuple):
    """A checkpoint. `text` is what was signed; `lines` are name, key id and signature of each who says that it did."""

    origin: str
    size: int
    root: bytes
    text: str
    lines: tuple[tuple[str, bytes, bytes], ...]


def read_head(note: bytes) -> Head:
    """A checkpoint in a signed note; nobody's signature is believed yet. Raises: Refused."""
    _need(len(note) <= NOTE_BYTES_MAX, f"a checkpoint of more than {NOTE_BYTES_MAX} bytes")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = "it is not text in UTF-8"
        raise Refused(msg) from error
    _need(all(c >= " " or c == "\n" for c in whole), "it has control characters, which no signed note has")
    body, blank, below = whole.rpartition("\n\n")
    _need(blank and below.endswith("\n"), "it is not a signed note: no empty line with signatures after it")
    signatures = below[:-1].split("\n")
    _need(len(signatures) <= SIGNATURES_MAX, f"it has more than {SIGNATURES_MAX} signatures")
    lines = body.split("\n")
    _need(
        len(lines) == 3 and lines[0] and _DECIMAL.fullmatch(lines[1]) and int(lines[1]) <= SIZE_MAX,  # noqa: PLR2004
        "it is not a checkpoint: origin, size and root, in three lines, and nothing else that nobody could audit",
    )
    root = _base64(lines[2])
    _need(len(root) == HASH_BYTES, f"its root has {len(root)} bytes, and a SHA-256 has {HASH_BYTES}")
    return Head(lines[0], int(lines[1]), root, body + "\n", tuple(_signature(line) for line in signatures))


def _signature(line: str) -> tuple[str, bytes, bytes]:
    match = _SIGNATURE_LINE.fullmatch(line)
    _need(match, f"a signature line is malformed: {shown(line)}")
    assert match is not None  # noqa: S101  # for the type checker
    raw = _base64(match[2])
    _need(len(raw) > KEY_ID_BYTES, f"a signature line has no signature: {shown(line)}")
    return match[1], raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:]


def signers(head: Head, keys: Sequence[Key]) -> list[Key]:
    """Which of these keys have signed it; signatures of others are ignored, as signed-note says.

    Raises: Refused: none has, or one that says so is forged.
    """
    found = []
    for name, key_id, signature in head.lines:
        for key in (one for one in keys if (one.name, one.id) == (name, key_id)):
            _need(
                key.verifies(signature, head.text.encode()),
                f"the signature in the name of {shown(key.name)} (key id {key_id.hex()}) is wrong: the checkpoint was changed, or forged",
            )
            found.append(key)
    given, by = listed([shown(key.name) for key in keys]), listed([shown(line[0]) for line in head.lines])
    _need(found, f"no key that was given has signed it (given: {given}; signed in the name of: {by})")
    return found


def cosigned_unix_s(head: Head, witness: Key) -> int | None:
    """When a witness cosigned it, in seconds since 1970; None: it has not. Raises: Refused: a cosignature is forged."""
    seen = None
    for name, key_id, signature in head.lines:
        if (name, key_id) != (witness.name, witness.id):
            continue
        unix_s = int.from_bytes(signature[:TIMESTAMP_BYTES], "big")
        message = f"cosignature/v1\ntime {unix_s}\n{head.text}".encode()
        _need(
            unix_s <= SIZE_MAX and witness.verifies(signature[TIMESTAMP_BYTES:], message),
            f"the cosignature in the name of the witness {shown(witness.name)} is wrong: the checkpoint was changed, or forged",
        )
        seen = unix_s if seen is None else max(seen, unix_s)
    return seen


def utc(unix_s: int) -> str:
    """A time for people."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_s))
    except (ValueError, OverflowError, OSError):
        return f"{unix_s} s after 1970"


# -- the Merkle tree (RFC 6962) ------------------------------------------------------------------------------------------------------


def sha256(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def leaf_of(entry: bytes) -> bytes:
    """MTH({d}) = SHA-256(0x00 || d)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def above(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """Takes the leaves one by one and keeps only the full subtrees on its right edge, highest first."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> Iterator[tuple[int, bytes]]:
        """Yields every subtree that this leaf completes, as (height, hash): itself first."""
        height, node = 0, leaf
        yield height, node
        while self._edge and self._edge[-1][0] == height:
            height, node = height + 1, above(self._edge.pop()[1], node)
            yield height, node
        self._edge.append((height, node))
        self.size += 1

    def root(self) -> bytes:
        """MTH over the leaves so far."""
        if not self._edge:
            return EMPTY_ROOT
        node = self._edge[-1][1]
        for _, left in reversed(self._edge[:-1]):
            node = above(left, node)
        return node


def check_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """That a leaf is in the tree. RFC 6962 section 2.1.1, its definition of PATH read backwards. Raises: Refused."""
    _need(0 <= index < size <= SIZE_MAX, f"there is no entry {index} in a log of {size}")
    _need(all(len(one) == HASH_BYTES for one in (leaf, root, *proof)), f"a hash is not {HASH_BYTES} bytes long")
    _need(_with_path(index, size, leaf, list(proof)) == root, "the proof leads to another root: this entry is not what the log has there")


def _with_path(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    if size == 1:
        _need(not path, "the proof has more hashes than the tree is high")
        return leaf
    _need(path, "the proof has fewer hashes than the tree is high")
    half, beside = _half(size), path.pop()
    if index < half:
        return above(_with_path(index, half, leaf, path), beside)
    return above(beside, _with_path(index - half, size - half, leaf, path))


def check_consistency(old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """That a tree continues an older one. RFC 6962 section 2.1.2, its definition of SUBPROOF read backwards; from an empty tree nothing
    is shown. For who is handed such a proof; in a whole log the older root is computed anew. Raises: Refused.
    """
    _need(0 < old_size <= size <= SIZE_MAX, f"nothing shows that a log of {size} entries continues one of {old_size}")
    _need(all(len(one) == HASH_BYTES for one in proof), f"a hash is not {HASH_BYTES} bytes long")
    path = list(proof)
    found = _with_subproof(old_size, size, old_root, path)
    _need(
        found == (old_root, root) and not path,
        f"the log of {size} entries does not continue the one of {old_size}: what was logged then is not what is logged now",
    )


def _with_subproof(m: int, n: int, known: bytes | None, path: list[bytes]) -> tuple[bytes, bytes]:
    """The roots over the first m and over all n leaves. `known`: the former, where the proof leaves it out (RFC 6962's b)."""
    if m == n:
        if known is not None:
            return known, known
        _need(path, "the proof has too few hashes")
        node = path.pop()
        return node, node
    _need(path, "the proof has too few hashes")
    half, last = _half(n), path.pop()
    if m <= half:
        old, new = _with_subproof(m, half, known, path)
        return old, above(new, last)
    old, new = _with_subproof(m - half, n - half, None, path)
    return above(last, old), above(last, new)


def _half(size: int) -> int:
    """RFC 6962's k: the largest power of two smaller than the size."""
    return 1 << (size - 1).bit_length() - 1


# -- files ---------------------------------------------------------------------------------------------------------------------------


class Files(Protocol):
    """What is read: a folder, or a zip file as if it were one. Names are relative, with slashes."""

    def names(self) -> dict[str, int]:
        """All plain files and their sizes. Raises: Refused: too many, too large, or something that is no plain file."""

    def chunks(self, name: str, limit: int) -> Iterator[bytes] | None:
        """A file's bytes, up to a limit; None: it is not there. Raises, also while it is read: Refused."""


def read(files: Files, name: str, limit: int) -> bytes | None:
    """A whole file; None: it is not there. Raises: Refused."""
    chunks = files.chunks(name, limit)
    return None if chunks is None else b"".join(chunks)


class Folder:
    """A folder on disk."""

    def __init__(self, folder: Path, *, links: bool, files_max: int = FILES_MAX) -> None:
        """`links`: whether symbolic links are followed, as on the auditor's own copy of a log."""
        self._folder, self._links, self._files_max = folder, links, files_max

    def names(self) -> dict[str, int]:
        """See `Files`."""
        found: dict[str, int] = {}
        try:
            for at, folders, names in os.walk(self._folder, onerror=_cannot_list):
                for name in (*names, *(one for one in folders if (Path(at) / one).is_symlink())):
                    path = Path(at) / name
                    relative, status = path.relative_to(self._folder).as_posix(), path.lstat()
                    _need(stat.S_ISREG(status.st_mode), f"{shown(relative)} is not a plain file (links are not followed)")
                    found[relative] = status.st_size
                    _need(len(found) <= self._files_max, f"there are more than {self._files_max} files")
        except OSError as error:
            raise _cannot_read(error) from error
        return found

    def chunks(self, name: str, limit: int) -> Iterator[bytes] | None:
        """See `Files`."""
        path = self._folder / name
        try:
            status = path.stat() if self._links else path.lstat()
            # A pipe would keep its reader waiting for ever.
            _need(stat.S_ISREG(status.st_mode), "it is not a plain file")
            return _bounded(path.open("rb"), limit) if status.st_size <= limit else _too_large(limit)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _cannot_read(error) from error


def _bounded(file: IO[bytes] | gzip.GzipFile, limit: int) -> Iterator[bytes]:
    """A stream, to its end and closed. Raises: Refused: it does not end in time, or breaks."""
    with file:
        left = limit
        while True:
            try:
                chunk = file.read(min(CHUNK_BYTES, left + 1))
            except Exception as error:  # zipfile and gzip raise half a dozen kinds on what was made to break them
                raise _cannot_read(error) from error
            if not chunk:
                return
            left -= len(chunk)
            if left < 0:
                _too_large(limit)
            yield chunk


def _too_large(limit: int) -> Iterator[bytes]:
    msg = f"it has more than the {limit} bytes that it may have"
    raise Refused(msg)


def _cannot_read(error: Exception) -> Refused:
    return Refused(f"it cannot be read: {shown(str(error) or repr(error))}")


def _cannot_list(error: OSError) -> None:
    raise _cannot_read(error) from error


class Zip:
    """A zip file, read in place: nothing is unpacked, so nothing can be written anywhere."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises: Refused: not a zip file, or one that was made to exhaust its reader."""
        _check_zip_end(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except Exception as error:  # see `_bounded`
            msg = f"it is not a zip file that can be read: {shown(str(error))}"
            raise Refused(msg) from error
        self._infos: dict[str, zipfile.ZipInfo] = {}

    def close(self) -> None:
        """Let go of it."""
        self._zip.close()

    def names(self) -> dict[str, int]:
        """See `Files`."""
        _need(len(self._zip.infolist()) <= FILES_MAX, f"there are more than {FILES_MAX} files")
        found: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name, mode = info.orig_filename, info.external_attr >> 16
            if name.endswith("/") and not info.file_size:
                continue
            _need(_PACK_NAME.fullmatch(name), f"it has a file with a name that no pack has: {shown(name)}")
            _need(name not in found, f"it has two files of the name {name}")
            _need(stat.S_IFMT(mode) in {0, stat.S_IFREG}, f"{name} is not a plain file (a link, or a device)")
            _need(not info.flag_bits & 1, f"{name} is encrypted")
            _need(info.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}, f"{name} is packed in a way that packs are not")
            found[name] = info
        self._infos = found
        return {name: info.file_size for name, info in found.items()}

    def chunks(self, name: str, limit: int) -> Iterator[bytes] | None:
        """See `Files`."""
        info = self._infos.get(name)
        if info is None:
            return None
        if info.file_size > limit:
            return _too_large(limit)
        try:
            file = self._zip.open(info)
        except Exception as error:  # see `_bounded`
            raise _cannot_read(error) from error
        return _bounded(file, limit)


def _check_zip_end(file: IO[bytes]) -> None:
    """The directory is read in one piece as soon as a zip file is opened, so its size is looked at first. Raises: Refused."""
    end_bytes, comment_max, mark = 22, 65_535, b"PK\x05\x06"
    size = file.seek(0, io.SEEK_END)
    _need(size <= PACK_BYTES_MAX, f"it has more than {PACK_BYTES_MAX} bytes")
    file.seek(max(0, size - end_bytes - comment_max - end_bytes))
    tail = file.read()
    at = tail.rfind(mark)
    _need(at >= 0 and len(tail) - at >= end_bytes, "it is not a zip file: it has no directory at its end")
    _need(b"PK\x06\x07" not in tail[max(0, at - end_bytes) : at], "it is a zip file of the kind for more than 4 GB, which no pack is")
    directory_bytes = int.from_bytes(tail[at + 12 : at + 16], "little")
    _need(directory_bytes <= ZIP_DIRECTORY_BYTES_MAX, f"its directory has more than {ZIP_DIRECTORY_BYTES_MAX} bytes")
    file.seek(0)


# -- 1 to 4: head, tree, memory, witnesses -------------------------------------------------------------------------------------------


def tile_path(level: str, index: int, width: int) -> str:
    """tlog-tiles: three digits per folder, `.p/W` for a partial one."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*("x" + part for part in parts[:-1]), parts[-1]])
    return f"tile/{level}/{path}" + ("" if width == TILE_WIDTH else f".p/{width}")


def _tile(files: Files, level: str, index: int, width: int, limit: int) -> tuple[str, bytes | None]:
    """The file of a tile or bundle, and its path; where only the full one is left of a partial one, that (tlog-tiles allows it)."""
    path, full = tile_path(level, index, width), tile_path(level, index, TILE_WIDTH)
    try:
        content = read(files, path, limit)
    except Refused as error:
        raise _At(path, error) from error
    if content is None and path != full:
        try:
            content = read(files, full, limit)
        except Refused as error:
            raise _At(full, error) from error
        if content is not None:
            return full, content
    return path, content


class _At(Refused):
    """A refusal that knows its file."""

    def __init__(self, where: str, why: object) -> None:
        super().__init__(str(why))
        self.where = where


def _bundle(files: Files, first: int, size: int) -> list[bytes]:
    """The entries from `first` on that one bundle has. Raises: _At."""
    width = min(TILE_WIDTH, size - first)
    path, content = _tile(files, "entries", first // TILE_WIDTH, width, TILE_WIDTH * (2 + ENTRY_BYTES_MAX))
    if content is None:
        msg = f"it is missing: entries {first} to {first + width - 1} are not there"
        raise _At(path, msg)
    entries, at = [], 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 2], "big")
        entries.append(content[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(content) or len(entries) != (TILE_WIDTH if path == tile_path("entries", first // TILE_WIDTH, TILE_WIDTH) else width):
        msg = f"it does not hold {width} whole entries ({first} to {first + width - 1}): it was cut, or its lengths were changed"
        raise _At(path, msg)
    return entries[:width]


class _Tiles:
    """Holds every tile of hashes against the hashes that the entries give."""

    def __init__(self, files: Files, part: _Part) -> None:
        self._files, self._part = files, part
        self._rows: list[list[bytes]] = []
        self._full: list[int] = []
        self.compared = 0

    def add(self, height: int, node: bytes) -> None:
        """A full subtree. Each eighth height is a level of tiles."""
        level, between = divmod(height, TILE_HEIGHT)
        if between:
            return
        if level == len(self._rows):
            self._rows.append([])
            self._full.append(0)
        self._rows[level].append(node)
        if len(self._rows[level]) == TILE_WIDTH:
            self._compare(level)
            self._rows[level] = []
            self._full[level] += 1

    def end(self) -> None:
        """The partial tiles of this size."""
        for level, row in enumerate(self._rows):
            if row:
                self._compare(level)

    def _compare(self, level: int) -> None:
        row, index = self._rows[level], self._full[level]
        self.compared += 1
        try:
            path, content = _tile(self._files, str(level), index, len(row), TILE_WIDTH * HASH_BYTES)
        except _At as error:
            self._part.wrong(error.where, error)
            return
        if content is None:
            self._part.wrong(path, "it is missing: a tile that a log of this size has")
            return
        width = TILE_WIDTH if path == tile_path(str(level), index, TILE_WIDTH) else len(row)
        if len(content) != width * HASH_BYTES:
            self._part.wrong(path, f"it has {len(content)} bytes, and {width} hashes have {width * HASH_BYTES}")
            return
        for at, node in enumerate(row):
            if content[at * HASH_BYTES : (at + 1) * HASH_BYTES] != node:
                first, span = (index * TILE_WIDTH + at) << TILE_HEIGHT * level, 1 << TILE_HEIGHT * level
                of = f"entry {first}" if span == 1 else f"entries {first} to {first + span - 1}"
                self._part.wrong(path, f"hash {at} is not that of {of}: the tile was changed, or what it is the hash of")
                return


def _believed(part: _Part, where: str, note: bytes | None, keys: Sequence[Key], origin: str | None) -> tuple[Head, list[Key]] | None:
    """Step 1: a head that a key has signed, or a problem."""
    try:
        _need(note is not None, "it is missing: this is not a log, or somebody took its checkpoint away")
        head = read_head(note or b"")
        by = signers(head, keys)
        _need(origin in {None, head.origin}, f"it is of the log {shown(head.origin)}, not of {shown(origin)}")
    except Refused as error:
        part.wrong(where, error)
        return None
    return head, by


Each = Callable[[int, bytes], None]
"""Is given every entry with its index, in order."""


class _Log(_Part):
    """Steps 1 to 5 over the files of a log."""

    def __init__(self, report: Report, files: Files, keys: Sequence[Key], witnesses: Sequence[Key]) -> None:
        super().__init__(report)
        self._files, self._keys, self._witnesses = files, keys, witnesses
        self.signed_by: list[Key] = []
        self._right: set[str] = set()
        """Where the stamped heads are from that this log continues."""
        self.whole = False
        """Whether the entries have the signed root: what they tell is then what the log has."""

    def run(
        self, earlier: Sequence[tuple[str, bytes]], origin: str | None, each: Each, stamps: Files | None, roots: Sequence[Certificate]
    ) -> None:
        """`earlier`: checkpoints that the auditor holds, with where they are from."""
        report = self.report
        try:
            note = read(self._files, "checkpoint", NOTE_BYTES_MAX)
        except Refused as error:
            self.wrong("checkpoint", error)
            return
        believed = _believed(self, "checkpoint", note, self._keys, origin)
        if believed is None:
            report.not_proven.append("anything at all: no checkpoint could be believed, and nothing else was looked at")
            return
        head, self.signed_by = believed
        report.origin, report.size = head.origin, head.size
        report.proven.append(_signed_line(head, self.signed_by))
        held = _held(self, earlier, head, self._keys)
        stamped = [] if stamps is None else _stamped(self, stamps, "", self._keys, head.origin)
        for where, one in (*held, *((one.where, one.head) for one in stamped)):
            if one.size > head.size:
                self.wrong(where, f"it was signed for {one.size} entries, and the log ends at {head.size}: its tail was cut off")
        self._tree(head, held, stamped, each)
        _witnessed(self, [("checkpoint", head), *held], self._witnesses)
        _memory(report, head, [one.size for _, one in held], witnessed=bool(self._witnesses))
        _times(self, stamps or self._files, [one for one in stamped if one.where in self._right], roots)

    def _tree(self, head: Head, held: Sequence[tuple[str, Head]], stamped: Sequence[Stamped], each: Each) -> None:
        """Steps 2 and 3."""
        tree, tiles, before = Tree(), _Tiles(self._files, self), self.wrongs
        asked: dict[int, list[tuple[str, Head, bool]]] = {}
        for where, one in held:
            asked.setdefault(one.size, []).append((where, one, True))
        for two in stamped:
            asked.setdefault(two.head.size, []).append((two.where, two.head, False))
        self._remember(tree, asked)
        bundles = 0
        while tree.size < head.size:
            first = tree.size
            try:
                entries = _bundle(self._files, first, head.size)
            except _At as error:
                self.wrong(error.where, f"{error}; nothing from entry {first} on was verified")
                return
            bundles += 1
            for index, entry in enumerate(entries, first):
                for height, node in tree.add(leaf_of(entry)):
                    tiles.add(height, node)
                each(index, entry)
                self._remember(tree, asked)
        tiles.end()
        self.whole = tree.root() == head.root
        if not self.whole:
            what = f"its {head.size} entries do not have the root that was signed: an entry was changed, dropped, moved or put in"
            self.wrong("checkpoint", what)
        if self.wrongs == before:
            self.report.proven.append(
                f"its {head.size} entries have the signed root, and {tiles.compared} tiles of hashes and {bundles} bundles of entries "
                "are what they must be"
            )

    def _remember(self, tree: Tree, asked: Mapping[int, list[tuple[str, Head, bool]]]) -> None:
        """Step 3, where the tree has just the size of a checkpoint that is held, or only stamped: then it proves nothing by itself."""
        for where, one, is_held in asked.get(tree.size, ()):
            if tree.root() != one.root:
                what = f"the log does not continue it: the first {one.size} entries are not what they were when it was signed"
                self.wrong(where, what)
            elif not is_held:
                self._right.add(where)
            elif one.size:
                self.report.proven.append(f"the first {one.size} entries are those of the checkpoint held in {where}")


def _held(part: _Part, earlier: Sequence[tuple[str, bytes]], head: Head, keys: Sequence[Key]) -> list[tuple[str, Head]]:
    """The checkpoints that the auditor holds, where they can be believed."""
    held = []
    for where, note in earlier:
        believed = _believed(part, where, note, keys, head.origin)
        if believed is not None:
            held.append((where, believed[0]))
    return held


def _signed_line(head: Head, by: Sequence[Key]) -> str:
    names = listed([f"{shown(key.name)} (key id {key.id.hex()})" for key in by])
    return f"the checkpoint of the log {shown(head.origin)}, of {head.size} entries, is signed by {names}"


def _witnessed(part: _Part, heads: Sequence[tuple[str, Head]], witnesses: Sequence[Key]) -> None:
    """Step 4: each witness that was named has cosigned one of the heads."""
    for witness in witnesses:
        cosigned = False
        for where, head in heads:
            try:
                unix_s = cosigned_unix_s(head, witness)
            except Refused as error:
                part.wrong(where, error)
                cosigned = True  # it was tried: a second problem would say the same
                continue
            if unix_s is not None:
                cosigned = True
                seen = f"the witness {shown(witness.name)} saw the head of {head.size} entries ({where}) at {utc(unix_s)}, and none larger"
                part.report.proven.append(seen)
        if not cosigned:
            what = f"the witness {shown(witness.name)} has not cosigned it: it was not asked yet, or it saw another history and refused"
            part.wrong("checkpoint", what)


def _memory(report: Report, head: Head, held: Sequence[int], *, witnessed: bool) -> None:
    """What outside memory there was, and what it cannot show."""
    if not any(held) and not witnessed:
        report.not_proven.append(
            "that nothing was cut off or written anew: nobody outside held an earlier head (--checkpoint, --witness), and whoever has the "
            "log's key could have signed a shorter or another log"
        )
    else:
        report.not_proven.append(
            f"that the log ends with these {head.size} entries: what was appended after the newest head that somebody outside holds, and "
            "cut off since, would not be seen"
        )


# -- 5: time stamps (RFC 3161) -------------------------------------------------------------------------------------------------------


class Der(NamedTuple):
    """An element of DER. `whole`: with its tag and length."""

    tag: int
    content: bytes
    whole: bytes


def read_der(data: bytes) -> list[Der]:
    """The elements that follow on each other, with definite lengths and tags of one byte, as RFC 3161 needs. Raises: Refused."""
    found, at = [], 0
    while at < len(data):
        _need(len(data) >= at + 2 and data[at] & 0x1F != 0x1F, "it is not DER: an element has no length, or a tag of many bytes")  # noqa: PLR2004
        length, start = data[at + 1], at + 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[at + 2 : start], "big")
            _need(0 < start - at - 2 <= 4, "it is not DER: a length has no end, or more than four bytes")  # noqa: PLR2004
        _need(start + length <= len(data), "it is not DER: an element is cut off")
        found.append(Der(data[at], data[start : start + length], data[at : start + length]))
        at = start + length
    return found


def _in_der(element: Der, tag: int, what: str, least: int = 1) -> list[Der]:
    """What an element has in it. Raises: Refused: it has another tag, or fewer."""
    _need(element.tag == tag, f"{what} is not what RFC 3161 has there")
    within = read_der(element.content)
    _need(len(within) >= least, f"{what} is not what RFC 3161 has there: it has too little in it")
    return within


class Stamp(NamedTuple):
    """A time stamp whose signature is that of the certificate in it; whose certificate that is nobody has believed yet."""

    digest: str
    imprint: bytes
    unix_s: int
    signer: Certificate
    others: tuple[Certificate, ...]


def read_stamp(response: bytes) -> Stamp:
    """A TimeStampResp (RFC 3161, RFC 5652). Raises: Refused: it is none, or its signature is wrong; CannotTell."""
    _need(len(response) <= STAMP_BYTES_MAX, f"a time stamp of more than {STAMP_BYTES_MAX} bytes")
    top = read_der(response)
    _need(len(top) == 1, "it is not one time stamp")
    status, *token = _in_der(top[0], SEQUENCE, "the response")
    granted = _in_der(status, SEQUENCE, "its status")[0].content
    _need(granted in {b"\x00", b"\x01"} and len(token) == 1, "it is the answer of an authority that gave no time stamp")
    content_type, explicit = _in_der(token[0], SEQUENCE, "the token", 2)[:2]
    _need(content_type.content == OID_SIGNED_DATA, "the token is not signed data")
    signed = _in_der(_in_der(explicit, CONTEXT_0, "the token")[0], SEQUENCE, "the signed data", 4)
    kind, inner = _in_der(signed[2], SEQUENCE, "what is signed", 2)[:2]
    _need(kind.content == OID_TST_INFO, "what is signed is not a time stamp")
    told = _in_der(inner, CONTEXT_0, "what is signed")[0]
    _need(told.tag == OCTET_STRING, "what is signed is not a time stamp")
    signers = _in_der(signed[-1], SET, "its signers")
    _need(len(signers) == 1, "it has more than one signer")
    certificates = [one for part in signed[3:-1] if part.tag == CONTEXT_0 for one in read_der(part.content)]
    _need(0 < len(certificates) <= CERTIFICATES_MAX, f"it has no certificate, or more than {CERTIFICATES_MAX}")
    signer, used = _signed_by(signers[0], told.content, [one.whole for one in certificates])
    others = tuple(_certificate(one.whole) for at, one in enumerate(certificates) if at != used)
    digest, imprint, unix_s = _tst_info(told.content)
    return Stamp(digest, imprint, unix_s, signer, others)


def _signed_by(info: Der, content: bytes, certificates: Sequence[bytes]) -> tuple[Certificate, int]:
    """The certificate that its one signer means, and that has signed it. Raises: Refused, CannotTell."""
    _, named, digest_of, attributes, scheme, signature = _in_der(info, SEQUENCE, "its signer", 6)[:6]
    _need(attributes.tag == CONTEXT_0 and signature.tag == OCTET_STRING, "its signer has signed no attributes")
    values: dict[bytes, Der] = {}
    for one in read_der(attributes.content):
        name, held = _in_der(one, SEQUENCE, "an attribute", 2)[:2]
        _need(name.content not in values, "it has an attribute twice")
        values[name.content] = _in_der(held, SET, "an attribute")[0]
    digest = _digest(_in_der(digest_of, SEQUENCE, "its digest's algorithm")[0].content)
    _need(OID_CONTENT_TYPE in values and values[OID_CONTENT_TYPE].content == OID_TST_INFO, "its signer has signed something else")
    same = OID_MESSAGE_DIGEST in values and values[OID_MESSAGE_DIGEST].content == hashlib.new(digest, content).digest()
    _need(same, "its signer has signed other content: it was changed")
    used = _meant(values, certificates)
    certificate = _certificate(certificates[used])
    if named.tag == SEQUENCE:
        issuer, serial = _in_der(named, SEQUENCE, "its signer's name", 2)[:2]
        _need(
            (serial.content, issuer.whole) == _serial_and_issuer(certificates[used]),
            "its signer has two certificates: the one that is named by its issuer is not the one that is named by its hash",
        )
    # What is signed is the attributes as a SET, which is how DER writes them on their own (RFC 5652 section 5.4).
    message = bytes([SET]) + attributes.whole[1:]
    _verify_by_certificate(
        certificate, _in_der(scheme, SEQUENCE, "its signature's algorithm")[0].content, digest, signature.content, message
    )
    return certificate, used


def _serial_and_issuer(certificate: bytes) -> tuple[bytes, bytes]:
    """As they stand in it. Raises: Refused."""
    fields = _in_der(_in_der(read_der(certificate)[0], SEQUENCE, "a certificate")[0], SEQUENCE, "a certificate", 4)
    at = 1 if fields[0].tag == CONTEXT_0 else 0
    return fields[at].content, fields[at + 2].whole


def _meant(values: Mapping[bytes, Der], certificates: Sequence[bytes]) -> int:
    """Which certificate the signer has named by its hash (RFC 5035, RFC 2634). Raises: Refused."""
    if OID_SIGNING_CERTIFICATE_V2 in values:
        first = _in_der(_in_der(values[OID_SIGNING_CERTIFICATE_V2], SEQUENCE, "what names its certificate")[0], SEQUENCE, "its names")[0]
        named = _in_der(first, SEQUENCE, "what names its certificate")
        digest = "sha256" if named[0].tag == OCTET_STRING else _digest(_in_der(named[0], SEQUENCE, "the algorithm")[0].content)
        named_hash = named[0] if named[0].tag == OCTET_STRING else named[-1] if len(named) == 2 else named[1]  # noqa: PLR2004
    else:
        _need(OID_SIGNING_CERTIFICATE in values, "it does not say which certificate has signed it")
        first = _in_der(_in_der(values[OID_SIGNING_CERTIFICATE], SEQUENCE, "what names its certificate")[0], SEQUENCE, "its names")[0]
        digest, named_hash = "sha1", _in_der(first, SEQUENCE, "what names its certificate")[0]
    for at, one in enumerate(certificates):
        if hashlib.new(digest, one).digest() == named_hash.content:
            return at
    msg = "the certificate that has signed it is not in it"
    raise Refused(msg)


def _tst_info(content: bytes) -> tuple[str, bytes, int]:
    """Digest, imprint and time. Raises: Refused."""
    whole = read_der(content)
    _need(len(whole) == 1, "what is signed is not one time stamp")
    _, _, imprint, _, at = _in_der(whole[0], SEQUENCE, "the time stamp", 5)[:5]
    algorithm, hashed = _in_der(imprint, SEQUENCE, "its imprint", 2)[:2]
    match = _GENERALIZED_TIME.fullmatch(at.content) if at.tag == GENERALIZED_TIME else None
    try:
        unix_s = calendar.timegm(time.strptime(match[1].decode(), "%Y%m%d%H%M%S")) if match else -1
    except ValueError:
        unix_s = -1
    _need(unix_s >= 0, f"its time is none: {shown(at.content)}")
    return _digest(_in_der(algorithm, SEQUENCE, "its imprint")[0].content), hashed.content, unix_s


def _digest(oid: bytes) -> str:
    if oid not in DIGESTS:
        msg = f"a digest that is not verified here (OID {oid.hex()}); `openssl ts -verify` may"
        raise CannotTell(msg)
    return DIGESTS[oid]


def _certificate(der: bytes) -> Certificate:
    try:
        return load_der_x509_certificate(der)
    except Exception as error:  # the library raises several kinds on what was made to break it
        msg = f"a certificate in it cannot be read: {shown(str(error))}"
        raise Refused(msg) from error


def _verify_by_certificate(certificate: Certificate, scheme: bytes, digest: str, signature: bytes, message: bytes) -> None:
    """Raises: Refused: the signature is wrong; CannotTell: it is of a kind that is not verified here."""
    digest = SIGNED_DIGESTS.get(scheme, digest)
    try:
        key = certificate.public_key()
        if isinstance(key, RSAPublicKey) and scheme in RSA_SCHEMES:
            key.verify(signature, message, PKCS1v15(), HASHES[digest]())
        elif isinstance(key, EllipticCurvePublicKey) and scheme in ECDSA_SCHEMES:
            key.verify(signature, message, ECDSA(HASHES[digest]()))
        elif isinstance(key, Ed25519PublicKey) and scheme == OID_ED25519:
            key.verify(signature, message)
        else:
            msg = f"a signature of a kind that is not verified here (OID {scheme.hex()}); `openssl ts -verify` may"
            raise CannotTell(msg)
    except InvalidSignature as error:
        msg = "the authority's signature is wrong: the stamp was changed, or forged"
        raise Refused(msg) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"the authority's key cannot be used: {shown(str(error))}"
        raise Refused(msg) from error


def check_authority(stamp: Stamp, roots: Sequence[Certificate]) -> None:
    """That the certificate is one for time stamps, and leads to a root, all valid at the stamp's time. Raises: Refused.

    Whether one was revoked is not asked: nobody is asked anything. RFC 3161 section 2.3, RFC 5280 section 6 as far as said here.
    """
    usage = _extension(stamp.signer, ExtendedKeyUsage)
    purposes = [] if usage is None else list(usage.value)
    _need(
        usage is not None and usage.critical and purposes == [TIME_STAMPING], "its certificate is not one for time stamps and nothing else"
    )
    _need(_valid_at(stamp.signer, stamp.unix_s), "its certificate was not valid at the time that it gives")
    reached, seen = [(stamp.signer, 0)], {stamp.signer}
    while reached:
        below, between = reached.pop(0)
        if below in roots:
            return
        for issuer in (*roots, *stamp.others):
            # Each certificate is come by once: what was made to have many paths has at most the square of 32 signatures.
            if issuer not in seen and between < PATH_MAX and _valid_at(issuer, stamp.unix_s) and _issued(issuer, below, between):
                seen.add(issuer)
                reached.append((issuer, between + 1))
    msg = "its certificate does not lead to a root that was given"
    raise Refused(msg)


def _issued(issuer: Certificate, below: Certificate, between: int) -> bool:
    """Whether one may issue certificates for time stamps, with so many authorities below it, and has issued the other."""
    basic, usage, extended = (_extension(issuer, kind) for kind in (BasicConstraints, KeyUsage, ExtendedKeyUsage))
    if basic is None or not basic.value.ca or (basic.value.path_length is not None and basic.value.path_length < between):
        return False
    if usage is not None and not usage.value.key_cert_sign:
        return False
    if extended is not None and not {TIME_STAMPING, ANY_PURPOSE} & set(extended.value):
        return False
    if any(one.critical and one.oid not in UNDERSTOOD for one in issuer.extensions):
        return False
    try:
        below.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _extension(certificate: Certificate, kind: Any) -> Any:
    """An extension; None where there is none. Raises: Refused."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except ExtensionNotFound:
        return None
    except Exception as error:  # as in `_certificate`
        msg = f"a certificate's extensions cannot be read: {shown(str(error))}"
        raise Refused(msg) from error


def _valid_at(certificate: Certificate, unix_s: int) -> bool:
    return certificate.not_valid_before_utc.timestamp() <= unix_s <= certificate.not_valid_after_utc.timestamp()


class Stamped(NamedTuple):
    """A head with stamps: the file of its checkpoint, and those of its stamps."""

    where: str
    head: Head
    stamps: tuple[str, ...]


def _stamped(part: _Part, files: Files, folder: str, keys: Sequence[Key], origin: str) -> list[Stamped]:
    """The heads in a folder of stamps that the log's key has signed, the smallest first; a problem for each that it has not."""
    try:
        matches = [_STAMP_NAME.fullmatch(name[len(folder) :]) for name in files.names() if name.startswith(folder)]
    except Refused as error:
        part.wrong(folder or "stamps", error)
        return []
    of: dict[int, list[str]] = {}
    for match in (one for one in matches if one):
        of.setdefault(int(match[1]), []).append(folder + match[0])
    sizes = sorted(of)[-STAMPED_MAX:]
    if len(of) > len(sizes):
        part.report.not_proven.append(
            f"what the time stamps of the {len(of) - len(sizes)} smallest heads say: only {STAMPED_MAX} were read"
        )
    found = []
    for size in sizes:
        where = f"{folder}{size}.checkpoint"
        try:
            note = read(files, where, NOTE_BYTES_MAX)
        except Refused as error:
            part.wrong(where, error)
            continue
        believed = _believed(part, where, note, keys, origin)
        if believed is not None and believed[0].size != size:
            part.wrong(where, f"it is of {believed[0].size} entries")
        elif believed is not None:
            found.append(Stamped(where, believed[0], tuple(sorted(of[size]))))
    return found


def _times(part: _Part, files: Files, stamped: Sequence[Stamped], roots: Sequence[Certificate]) -> None:
    """Step 5: what the stamps over these heads say, each of which is one of this log's."""
    report, count = part.report, sum(len(one.stamps) for one in stamped)
    if not roots:
        report.not_proven.append(
            f"what {count} time stamps say: no root of their authorities was given (--stamp-roots)" if count else
            "when anything of this was there, by another clock than the guard's: there is no time stamp (RFC 3161)"
        )  # fmt: skip
        return
    told: dict[str, list[tuple[int, int, str]]] = {}
    unknown: list[str] = []
    for one in stamped:
        for where in one.stamps:
            try:
                stamp = read_stamp(read(files, where, STAMP_BYTES_MAX) or b"")
                same = hashlib.new(stamp.digest, one.head.text.encode()).digest() == stamp.imprint
                _need(same, f"it is not over {one.where}")
            except CannotTell as error:
                unknown.append(f"{where}: {error}")
                continue
            except Refused as error:
                part.wrong(where, error)
                continue
            try:
                check_authority(stamp, roots)
            except Refused as error:
                unknown.append(f"{where}: {error}")
                continue
            told.setdefault(shown(stamp.signer.subject.rfc4514_string()), []).append((one.head.size, stamp.unix_s, where))
    for name, stamps in told.items():
        (first_size, first_s, _), (size, unix_s, where) = stamps[0], stamps[-1]
        more = f"; {len(stamps) - 1} smaller heads too, the first, of {first_size} entries, at {utc(first_s)}" if len(stamps) > 1 else ""
        report.proven.append(f"the head of {size} entries was there at {utc(unix_s)}, as {name} has stamped ({where}){more}")
    if unknown:
        report.not_proven.append(f"what these time stamps say, which could not be believed: {listed(unknown)}")
    if not told:
        part.wrong("stamps", "roots of time stamping authorities were given, and no time stamp here is by one of them")


# -- 6: entries ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """What an entry says. `plan` is None where there is no rollout; `named` are the SHA-256 of the blobs it names."""

    kind: str
    rollout: str | None
    sequence: int
    card: str
    unix_nano: int
    synchronised: bool
    outcome: str
    plan: str | None
    late: bool
    values: Mapping[str, Any]
    based_on: tuple[str, ...]
    named: tuple[str, ...]


def read_envelope(entry: bytes, keys: Mapping[str, Key]) -> tuple[bytes, list[str]]:
    """An entry's payload, and the digests of the keys that signed it. `keys`: by digest. Raises: Refused.

    DSSE v1; every signature in it must be good, for one that cannot be verified would be room for text that nobody answers for.
    """
    _need(len(entry) <= ENTRY_BYTES_MAX, f"it has more than {ENTRY_BYTES_MAX} bytes")
    envelope = _object(read_canonical(entry, "the envelope"), "the envelope", "payload payloadType signatures")
    _need(envelope["payloadType"] == PAYLOAD_TYPE, f"its payload type is {shown(envelope['payloadType'])}, not {PAYLOAD_TYPE}")
    payload = _base64(_text(envelope["payload"], "the payload"))
    signed = b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    lines = envelope["signatures"]
    _need(isinstance(lines, list) and 0 < len(lines) <= SIGNATURES_MAX, "it has no signature, or too many")
    by: list[str] = []
    for line in lines:
        signature = _object(line, "a signature", "keyid sig")
        key = keys.get(_text(signature["keyid"], "a key id"))
        _need(key, f"it is signed by a key that was not given with --key: SHA-256 {shown(signature['keyid'])}{ROTATED_HINT}")
        assert key is not None  # noqa: S101  # for the type checker
        good = key.verifies(_base64(_text(signature["sig"], "a signature")), signed)
        _need(good, f"the signature of {shown(key.name)} is wrong: the entry was changed, or forged")
        _need(key.digest not in by, f"{shown(key.name)} has signed it twice")
        by.append(key.digest)
    return payload, by


def read_statement(payload: bytes) -> Statement:
    """What a payload says, which may be nothing but what its kind allows. Raises: Refused."""
    document = _object(read_canonical(payload, "the statement"), "the statement", "_type subject predicateType predicate")
    _need(document["_type"] == STATEMENT_TYPE, f"its type is {shown(document['_type'])}, not {STATEMENT_TYPE}")
    match = _KIND.fullmatch(_text(document["predicateType"], "its predicate type"))
    _need(match and match[1] in KINDS, f"it is of a kind that is not known: {shown(document['predicateType'])}")
    kind = match[1] if match else ""
    names = "sequence actor time clock outcome basedOn details late values"
    said = _object(document["predicate"], "the predicate", names, "rollout")
    actor = _object(said["actor"], "the actor", "kind card")
    clock = _object(said["clock"], "the clock", "synchronised errorMs")
    rollout = said.get("rollout")
    _need("rollout" not in said or _is(_ROLLOUT, rollout), f"its rollout has an id that no guard makes: {shown(rollout)}")
    plan = _subject(document["subject"], actor["card"], of_rollout=rollout is not None)
    _need(_is_count(said["sequence"]) and said["sequence"] > 0, f"its sequence number is {shown(said['sequence'])}")
    _need(_is(_ACTOR, actor["kind"]) and _is(_SHA256, actor["card"]), "its actor is not a person or guard with the SHA-256 of a card")
    _need(isinstance(clock["synchronised"], bool) and (clock["errorMs"] is None or _is_count(clock["errorMs"])), "its clock is malformed")
    _need(_is(_OUTCOME, said["outcome"]), f"its outcome is {shown(said['outcome'])}")
    _need(isinstance(said["late"], bool), "whether it is late is neither true nor false")
    _need(_is_digests(said["basedOn"]), f"what it is based on is not a list of at most {LIST_MAX} SHA-256")
    _need(said["details"] is None or _is(_SHA256, said["details"]), "its details are not a SHA-256")
    values = _values(kind, said["values"])
    details = () if said["details"] is None else (said["details"],)
    in_values = (value for name, value in values.items() if name not in NOT_EVIDENCE and _is(_SHA256, value))
    return Statement(
        kind, rollout, said["sequence"], actor["card"], _unix_nano(said["time"]), clock["synchronised"], said["outcome"], plan,
        said["late"], values, tuple(said["basedOn"]), (actor["card"], *said["basedOn"], *details, *in_values),
    )  # fmt: skip


def _subject(subject: Any, card: Any, *, of_rollout: bool) -> str | None:
    """The plan's digest. Raises: Refused."""
    _need(isinstance(subject, list) and len(subject) == 1, "it has not exactly one subject")
    one = _object(subject[0], "the subject", "name digest")
    digest = _object(one["digest"], "the subject's digest", "sha256")["sha256"]
    _need(_is(_SHA256, digest), "its subject has no SHA-256")
    if not of_rollout:
        _need(one["name"] == "guard" and digest == card, "it belongs to no rollout, and its subject is not the guard who says it")
        return None
    _need(one["name"] == "plan", "it belongs to a rollout, and its subject is not a plan")
    return str(digest)


def _values(kind: str, values: Any) -> dict[str, Any]:
    """Raises: Refused."""
    _need(isinstance(values, dict), "its values are not an object")
    left = dict(values)
    for spec in KINDS[kind].split():
        name, _, form = spec.partition("=")
        if name not in left:
            _need(form.endswith("?"), f"a {kind} has no value {name}")
            continue
        value = left.pop(name)
        _need((value is None and form.endswith("~")) or _is_value(value, form.rstrip("?~")), f"{name} is not what a {kind} may say")
    _need(not left, f"a {kind} has values that it may not have: {listed([shown(name) for name in left])}")
    return dict(values)


def _is_value(value: Any, form: str) -> bool:
    if form == "count":
        return _is_count(value)
    if form == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= WHOLE_MAX
    if form == "flag":
        return isinstance(value, bool)
    if form == "digests":
        return _is_digests(value)
    if form in {"digest", "version"}:
        return _is(_SHA256 if form == "digest" else _VERSION, value)
    return isinstance(value, str) and value in WORDS[form]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= WHOLE_MAX


def _is_digests(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= LIST_MAX and all(_is(_SHA256, one) for one in value)


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _text(value: Any, what: str) -> str:
    _need(isinstance(value, str), f"{what} is not text")
    return str(value)


def _object(value: Any, what: str, names: str, optional: str = "") -> dict[str, Any]:
    """An object that has these fields and no others. Raises: Refused."""
    _need(isinstance(value, dict), f"{what} is not an object")
    needed, allowed = set(names.split()), set(names.split()) | set(optional.split())
    missing, unknown = sorted(needed - set(value)), [shown(name) for name in sorted(set(value) - allowed)]
    _need(not missing, f"{what} has no {listed(missing)}")
    _need(not unknown, f"{what} has what it may not have: {listed(unknown)}")
    return dict(value)


def _unix_nano(text: Any) -> int:
    """RFC 3339 in UTC with nanoseconds. Raises: Refused."""
    match = _TIME.fullmatch(_text(text, "its time"))
    try:
        unix_s = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S")) if match else -1
    except ValueError:
        unix_s = -1
    _need(match and unix_s >= 0, f"its time is not a time in UTC with nanoseconds: {shown(text)}")
    return unix_s * NANO + (int(match[2]) if match else 0)


# -- 7: the story --------------------------------------------------------------------------------------------------------------------


@dataclass
class _Rollout:
    """A rollout as far as it was told."""

    plan: str | None
    entries: int = 0
    sequence: int = 0
    ended: int | None = None
    end: str = ""
    intended: set[int] = field(default_factory=set)
    commit_intended: bool = False
    named: set[str] = field(default_factory=set)
    """Blobs that its entries name, while it has not ended."""
    told: list[tuple[int, Statement]] = field(default_factory=list)
    """What step 9 looks at: words of people, and what moved."""


@dataclass(frozen=True)
class _Erased:
    """An entry that calls a blob erased. `running`: a rollout that had not ended and named it; what it is judged by may not go."""

    index: int
    unix_nano: int
    why: str
    running: str | None


class Story(_Part):
    """Takes the entries in order, and holds each against what was said before it."""

    def __init__(self, report: Report, keys: Sequence[Key], *, part_of: str | None = None) -> None:
        """`part_of`: the rollout of a pack, which has its entries alone; None: all entries of a log come by."""
        super().__init__(report)
        self._part_of = part_of
        self._keys = {key.digest: key for key in keys}
        self.rollouts: dict[str, _Rollout] = {}
        self._guards: dict[str, int] = {}
        self.named: dict[str, int] = {}
        """SHA-256 of each blob that an entry names, and the first that does."""
        self.last_named: dict[str, int] = {}
        """And the last that does: what is erased after that is gone for good."""
        self.looks: dict[str, int] = {}
        """SHA-256 of each list of looks that a verdict names: what stands in it is named too."""
        self.erased: dict[str, _Erased] = {}
        """The last entry that calls a blob erased."""
        self.retired: dict[str, int] = {}
        """SHA-256 of keys that were replaced, and by which entry."""
        self.introduced: dict[str, int] = {}
        """SHA-256 of the keys that the ledger was opened with or rotated to, and by which entry."""
        self._first_signed: dict[str, int] = {}
        self._late: list[int] = []
        self._back: list[int] = []
        self._unsynchronised = 0
        self.newest_nano = 0
        self.reviews: list[tuple[int, Statement]] = []

    def entry(self, index: int, entry: bytes) -> None:
        """Steps 6 and 7 for one."""
        where = f"entry {index}"
        try:
            payload, by = read_envelope(entry, self._keys)
            said = read_statement(payload)
        except Refused as error:
            self.wrong(where, error)
            return
        self.report.entries += 1
        self._in_force(index, said, by)
        self._in_sequence(index, said)
        self._in_time(index, said)
        for digest in said.named:
            self.named.setdefault(digest, index)
            self.last_named[digest] = index
        if said.kind == "verdict":
            self.looks.setdefault(said.values["looks"], index)
        if said.kind == "evidence.erased":
            self._erase(index, said)
        if said.rollout is not None:
            self._in_order(index, said, self.rollouts[said.rollout])
            if said.kind in PEOPLE_READ:
                self.rollouts[said.rollout].told.append((index, said))
        if said.kind == "review.done":
            self.reviews.append((index, said))

    def _erase(self, index: int, said: Statement) -> None:
        running = {name: one.named for name, one in self.rollouts.items() if one.named}
        for digest in said.values["erased"]:
            needing = next((name for name, named in running.items() if digest in named), None)
            self.erased[digest] = _Erased(index, said.unix_nano, said.values["why"], needing)

    # -- keys

    def _in_force(self, index: int, said: Statement, by: Sequence[str]) -> None:
        """Signed by keys that were in force then; a rotation is signed by both, and changes which are."""
        where = f"entry {index}"
        old, new = (said.values["old"], said.values["new"]) if said.kind == "key.rotated" else ("", "")
        for digest in by:
            if digest in self.retired and digest != new:
                what = f"it is signed by {self._name(digest)}, which entry {self.retired[digest]} had replaced"
                self.wrong(where, what)
            if digest != new:
                self._first_signed.setdefault(digest, index)
        if said.kind == "key.rotated":
            self._rotate(index, old, new, by)
        if said.kind == "ledger.opened":
            self._open(index, said.values["key"], by)

    def _open(self, index: int, key: str, by: Sequence[str]) -> None:
        if key not in by:
            self.wrong(f"entry {index}", f"it says that the ledger is signed by {self._name(key)}, and that one has not signed it")
            return
        self.introduced.setdefault(key, index)

    def _rotate(self, index: int, old: str, new: str, by: Sequence[str]) -> None:
        where = f"entry {index}"
        if old == new or set(by) != {old, new}:
            what = f"it changes the key from {self._name(old)} to {self._name(new)}, and not exactly these two have signed it"
            self.wrong(where, what)
            return
        if new in self._first_signed and new not in self.retired:
            what = f"it introduces {self._name(new)}, which had signed entry {self._first_signed[new]} before anybody trusted it"
            self.wrong(where, what)
        self.retired[old] = index
        self.retired.pop(new, None)
        self.introduced.setdefault(new, index)
        self.report.notes.append(f"entry {index} replaced {self._name(old)} by {self._name(new)}; both signed it")

    def _name(self, digest: str) -> str:
        key = self._keys.get(digest)
        return f"a key that was not given with --key (SHA-256 {digest})" if key is None else f"the key {shown(key.name)} (SHA-256 {digest})"

    # -- sequences and times

    def _in_sequence(self, index: int, said: Statement) -> None:
        where = f"entry {index}"
        if said.rollout is None:
            if self._part_of is None:
                last = self._guards.get(said.card, 0)
                self._follows(where, f"what the guard with the card {said.card} says of itself", last, said.sequence)
                self._guards[said.card] = max(last, said.sequence)
            return
        rollout = self.rollouts.setdefault(said.rollout, _Rollout(said.plan))
        if self._part_of not in {None, said.rollout}:
            self.wrong(where, f"it is of the rollout {said.rollout}, and this pack is of {self._part_of}")
        if rollout.plan != said.plan:
            self.wrong(where, f"it names the plan {said.plan}, and the rollout {said.rollout} began with {rollout.plan}")
        self._follows(where, f"the rollout {said.rollout}", rollout.sequence, said.sequence)
        rollout.sequence = max(rollout.sequence, said.sequence)
        rollout.entries += 1

    def _follows(self, where: str, what: str, last: int, sequence: int) -> None:
        if sequence == last + 1:
            return
        if sequence <= last:
            self.wrong(where, f"in {what} it has number {sequence}, and {last} came before: it was moved, or is there twice")
            return
        gap = str(last + 1) if sequence == last + 2 else f"{last + 1} to {sequence - 1}"
        self.wrong(where, f"in {what} it has number {sequence}, and {gap} is missing before it")

    def _in_time(self, index: int, said: Statement) -> None:
        self._unsynchronised += not said.synchronised
        if said.late:
            self._late.append(index)
            return
        if said.unix_nano < self.newest_nano - CLOCK_TOLERANCE_S * NANO:
            self._back.append(index)
        self.newest_nano = max(self.newest_nano, said.unix_nano)

    # -- order

    def _in_order(self, index: int, said: Statement, rollout: _Rollout) -> None:
        where = f"entry {index}"
        if rollout.ended is not None:
            self.wrong(where, f"it follows the end of the rollout {said.rollout} (entry {rollout.ended}), which is the last of it")
        else:
            rollout.named.update(said.named)
        if said.kind == "weight.intended":
            rollout.intended.add(said.values["generation"])
        elif said.kind == "weight.observed":
            self._weight(index, said, rollout)
        elif said.kind == "commit.intended":
            rollout.commit_intended = True
        elif said.kind == "commit.observed" and not rollout.commit_intended:
            self.wrong(where, "a commit was observed that was not intended before: what was done was not announced")
        elif said.kind == "rollout.ended" and rollout.ended is None:
            rollout.ended, rollout.end = index, said.values["phase"]
            rollout.named.clear()

    def _weight(self, index: int, said: Statement, rollout: _Rollout) -> None:
        percent, generation = said.values["candidatePercent"], said.values["generation"]
        if not percent or percent <= 0 or generation in rollout.intended:
            return
        shown_generation = "no generation" if generation is None else f"generation {generation}"
        if said.outcome == "failed" and rollout.intended:
            self.report.notes.append(
                f"entry {index}: the proxy sent {percent:g} % to the candidate with {shown_generation}, which the rollout {said.rollout} "
                "had not intended; it is recorded as failed, so somebody else had moved the traffic"
            )
            return
        what = f"{percent:g} % was observed with {shown_generation}, and no weight of it was intended before: it was not announced"
        self.wrong(f"entry {index}", what)

    # -- the end

    def end(self, *, signed_by: Sequence[Key], whole: bool) -> None:
        """What can be said once all entries came by. `whole`: they are what the log has, so that their story is its story."""
        report, newest = self.report, (self.report.size or 0) - 1
        replaced = [self.retired[key.digest] for key in signed_by if key.digest in self.retired]
        if replaced and len(replaced) == len(signed_by):
            if max(replaced) == newest:
                report.notes.append("the checkpoint is still signed by the key that its last entry replaced")
            else:
                self.wrong("checkpoint", f"only a key that entry {max(replaced)} had replaced has signed it")
        if whole and not self.wrongs:
            self._proven()
        if self._part_of is None and self.introduced:
            self._introductions([key.digest for key in signed_by])
        report.open_rollouts = [name for name, one in self.rollouts.items() if one.ended is None]
        report.not_proven.append(
            "that what the entries say is true: their signatures show who wrote them, and the tree that nobody changed them since"
        )
        if report.open_rollouts:
            report.not_proven.append(f"how these rollouts ended, for they have no rollout.ended: {listed(report.open_rollouts)}")
        if self._late:
            report.not_proven.append(
                f"that these entries were written before what they speak of was done; they are marked late: {listed(self._late)}"
            )
        if self._back:
            report.notes.append(f"times go back by more than {CLOCK_TOLERANCE_S} s at these entries: {listed(self._back)}")
        if self._unsynchronised:
            report.notes.append(f"{self._unsynchronised} entries have the time of a clock that nothing kept right")

    def _introductions(self, signed_by: Sequence[str]) -> None:
        """Whether every key that has signed is one that the ledger itself names: by how it was opened, or by a rotation."""
        strangers = [one for one in dict.fromkeys((*self._first_signed, *signed_by)) if one not in self.introduced]
        if strangers:
            self.report.notes.append(
                "these keys have signed, and neither the ledger's opening nor a rotation names them, so that only whoever gave them to you "
                f"speaks for them (guards that share a ledger may have keys of their own): {listed([self._name(one) for one in strangers])}"
            )
        elif not self.wrongs:
            first = min(self.introduced.values())
            self.report.proven.append(
                f"every key that has signed is the one that entry {first} opened the ledger with, or replaced one of those"
            )

    def _proven(self) -> None:
        report = self.report
        by = listed([shown(self._keys[digest].name) for digest in self._first_signed])
        if report.entries:
            report.proven.append(f"{report.entries} entries are signed ({by}), in canonical form, and say only what their kinds allow")
        if self.rollouts:
            ended = listed([f"{name} ({one.entries} entries{', ' + one.end if one.end else ''})" for name, one in self.rollouts.items()])
            report.proven.append(
                f"the rollouts have sequences without gaps, in which every weight and commit was announced before: {ended}"
            )


# -- 8: evidence ---------------------------------------------------------------------------------------------------------------------


def _evidence(report: Report, files: Files, folder: str, story: Story, also: frozenset[str] = frozenset()) -> None:
    """Step 8. `folder` is empty or ends in a slash; `also` are digests whose content was verified elsewhere."""
    try:
        names = [name[len(folder) :] for name in files.names() if name.startswith(folder)]
    except Refused as error:
        report.wrong(folder or "evidence", error)
        return
    good, bad, others = set(also), set(), []
    for name in sorted(names):
        match = _EVIDENCE_NAME.fullmatch(name)
        if match is None:
            others.append(shown(name))
            continue
        try:
            same = _blob_digest(files, folder + name, packed=match[2] is not None) == match[1]
            _need(same, "its content has another SHA-256 than its name says: it was changed, or replaced")
        except Refused as error:
            report.wrong(f"evidence {name}", error)
            bad.add(match[1])
        else:
            good.add(match[1])
    if others:
        report.notes.append(f"files among the evidence that are none, and were not looked at: {listed(others)}")
    _read_looks(report, files, folder, story, good)
    found = [digest for digest in story.named if digest in good]
    if found:
        report.proven.append(f"{len(found)} blobs of evidence are what the entries name")
    unnamed = good - set(story.named) - also
    if unnamed:
        report.notes.append(f"{len(unnamed)} blobs are named by no entry here; they may be named by other blobs: {listed(sorted(unnamed))}")
    _missing(report, story, good | bad)


def _read_looks(report: Report, files: Files, folder: str, story: Story, good: set[str]) -> None:
    """What stands in a verdict's list of looks is named by that verdict."""
    strange = []
    for name, index in story.looks.items():
        if name not in good:
            continue
        try:
            digests = read_canonical(_blob(files, folder + name), "a list of looks")
            _need(isinstance(digests, list) and all(_is(_SHA256, one) for one in digests), "it is no list of SHA-256")
        except Refused:
            strange.append(name)
            continue
        for digest in digests:
            story.named.setdefault(digest, index)
            story.last_named[digest] = max(index, story.last_named.get(digest, index))
    if strange:
        report.notes.append(f"blobs that verdicts call lists of looks, and that could not be read as such: {listed(strange)}")


def _missing(report: Report, story: Story, there: set[str]) -> None:
    """What is not here must have been called erased, after everything that names it."""
    absent = [digest for digest in story.named if digest not in there]
    erased = [digest for digest in absent if digest in story.erased and story.erased[digest].index > story.last_named[digest]]
    by: dict[_Erased, list[str]] = {}
    for digest in erased:
        by.setdefault(story.erased[digest], []).append(f"{digest} (entry {story.named[digest]})")
    for one, names in by.items():
        if one.running is not None:
            report.wrong(
                f"entry {one.index}", f"it erased what the rollout {one.running} is judged by, which had not ended: {listed(names)}"
            )
    for one, names in list(by.items())[:LISTED_MAX]:
        when = f"erased and recorded as erased at {utc(one.unix_nano // NANO)}, {_WHY[one.why]} (entry {one.index})"
        report.not_proven.append(f"what {len(names)} blobs said, which were {when}: {listed(names)}")
    if len(by) > LISTED_MAX:
        report.not_proven.append(f"what more blobs said, which {len(by) - LISTED_MAX} more entries call erased")
    gone = [f"{digest} (entry {story.named[digest]})" for digest in absent if digest not in set(erased)]
    if gone:
        report.wrong("evidence", f"{len(gone)} blobs are not here, and no entry says that they were erased: {listed(gone)}")
    left = [digest for digest, one in story.erased.items() if digest in there and one.index > story.last_named.get(digest, one.index)]
    if left:
        report.notes.append(f"{len(left)} blobs were recorded as erased and are here: {listed(left)}")


def _blob(files: Files, name: str) -> bytes:
    """A blob's bytes, as they are or packed. Raises: Refused."""
    content = read(files, name, EVIDENCE_BYTES_MAX)
    if content is not None:
        return content
    packed = io.BytesIO(read(files, f"{name}.gz", EVIDENCE_BYTES_MAX) or b"")
    return b"".join(_bounded(gzip.GzipFile(fileobj=packed), EVIDENCE_BYTES_MAX))


def _blob_digest(files: Files, name: str, *, packed: bool) -> str:
    """Raises: Refused."""
    digest = hashlib.sha256()
    chunks = files.chunks(name, EVIDENCE_BYTES_MAX)
    if packed:
        file = io.BytesIO(b"".join(chunks or ()))
        chunks = _bounded(gzip.GzipFile(fileobj=file), EVIDENCE_BYTES_MAX)
    for chunk in chunks or ():
        digest.update(chunk)
    return digest.hexdigest()


# -- 8: people -----------------------------------------------------------------------------------------------------------------------


class _Wire:
    """SSH's data types (RFC 4251 section 5), each in its one spelling. Raises, everywhere: Refused."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """So many bytes."""
        _need(count <= len(self._data) - self._at, "it ends in the middle of a value")
        self._at += count
        return self._data[self._at - count : self._at]

    def string(self, limit: int) -> bytes:
        """Bytes with their length before them."""
        length = int.from_bytes(self.take(4), "big")
        _need(length <= limit, f"a value has {length} bytes, and may have {limit}")
        return self.take(length)

    def name(self) -> str:
        """A string of visible ASCII."""
        value = self.string(SSH_NAME_BYTES_MAX)
        _need(all(0x21 <= byte <= 0x7E for byte in value), "a name has characters that are not visible ASCII")  # noqa: PLR2004
        return value.decode("ascii")

    def number(self, limit: int) -> int:
        """A big number that is not negative, in as few bytes as it needs."""
        value = self.string(limit + 1)
        number = int.from_bytes(value, "big")
        _need(value == (number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b""), "a big number has another spelling")
        return number

    def end(self) -> None:
        """There is nothing more."""
        _need(self._at == len(self._data), "bytes follow where nothing may")


def _wired(*values: bytes) -> bytes:
    return b"".join(len(value).to_bytes(4, "big") + value for value in values)


class SshKey(NamedTuple):
    """A person's public key. `application`: of a key in hardware; empty for others."""

    blob: bytes
    kind: str
    public: Any
    application: bytes

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def verify(self, raw: bytes, data: bytes) -> None:
        """RFC 8332, RFC 5656, RFC 8709; PROTOCOL.u2f for keys in hardware. Raises: Refused."""
        wire = _Wire(raw)
        algorithm = wire.name()
        _need(algorithm in SSH_ALGORITHMS[self.kind], f"a key of type {self.kind} does not sign with {shown(algorithm)}")
        signature = wire.string(SSH_BYTES_MAX)
        if self.kind.startswith("sk-"):
            flags, counter = wire.take(1), wire.take(4)
            _need(flags[0] & SSH_TOUCHED, "nobody touched the key in hardware that signed it")
            data = hashlib.sha256(self.application).digest() + flags + counter + hashlib.sha256(data).digest()
        wire.end()
        try:
            if "ed25519" in self.kind:
                self.public.verify(signature, data)
            elif self.kind == "ssh-rsa":
                _need(len(signature) == (self.public.key_size + 7) // 8, "its signature has not the length of the key")
                self.public.verify(signature, data, PKCS1v15(), SHA256() if algorithm.endswith("256") else SHA512())
            else:
                numbers, width = _Wire(signature), (self.public.key_size + 7) // 8
                pair = numbers.number(width), numbers.number(width)
                numbers.end()
                self.public.verify(encode_dss_signature(*pair), data, ECDSA(SSH_CURVES[self.kind][2]))
        except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
            msg = f"the key {self.fingerprint} has not signed it: it was changed, or the signature is of something else, or forged"
            raise Refused(msg) from error


def read_ssh_key(blob: bytes) -> SshKey:
    """A public key in SSH's form. Raises: Refused: it is none, or of a kind that no guard accepts."""
    wire = _Wire(blob)
    kind = wire.name()
    _need(kind in SSH_ALGORITHMS, f"keys of type {shown(kind)} are not accepted")
    try:
        public: Any
        if "ed25519" in kind:
            public = Ed25519PublicKey.from_public_bytes(wire.string(KEY_BYTES))
        elif kind == "ssh-rsa":
            exponent, modulus = wire.number(RSA_EXPONENT_BYTES_MAX), wire.number(RSA_BITS_MAX // 8)
            good = RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX and modulus % 2 and exponent > 1 and exponent % 2
            _need(good, f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits and odd numbers")
            public = RSAPublicNumbers(exponent, modulus).public_key()
        else:
            name, curve, _, point_bytes = SSH_CURVES[kind]
            _need(wire.string(SSH_NAME_BYTES_MAX) == name, "its curve is not that of its type")
            point = wire.string(point_bytes)
            _need(point[:1] == b"\x04", "its point is compressed")
            public = EllipticCurvePublicKey.from_encoded_point(curve, point)
    except Refused:
        raise
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"not a public key: {shown(str(error))}"
        raise Refused(msg) from error
    application = wire.string(SSH_BYTES_MAX) if kind.startswith("sk-") else b""
    wire.end()
    return SshKey(blob, kind, public, application)


def check_ssh_signature(armored: str, message: bytes) -> SshKey:
    """That the key in a signature has signed this message as an approval (PROTOCOL.sshsig). Returns the key. Raises: Refused."""
    lines = armored.split("\n")
    _need(
        len(armored) <= SSH_ARMORED_MAX
        and lines[0] == "-----BEGIN SSH SIGNATURE-----"
        and lines[-2:] == ["-----END SSH SIGNATURE-----", ""],
        "it has no SSH signature between its two lines",
    )
    wire = _Wire(_base64("".join(lines[1:-2])))
    _need(wire.take(len(SSH_MAGIC)) == SSH_MAGIC and wire.take(4) == b"\x00\x00\x00\x01", "it is no SSH signature of version 1")
    key = read_ssh_key(wire.string(SSH_BYTES_MAX))
    namespace, reserved, hash_name, raw = wire.name(), wire.string(SSH_BYTES_MAX), wire.name(), wire.string(SSH_BYTES_MAX)
    wire.end()
    _need(namespace == APPROVAL_NAMESPACE, f"its signature is for {shown(namespace)}, not for {APPROVAL_NAMESPACE}")
    _need(not reserved, "its signature has something in the place that nobody signs")
    _need(hash_name in {"sha256", "sha512"}, f"what it signs was hashed with {shown(hash_name)}")
    key.verify(raw, SSH_MAGIC + _wired(namespace.encode(), b"", hash_name.encode(), hashlib.new(hash_name, message).digest()))
    return key


@dataclass(frozen=True)
class Word:
    """What one person has signed, verified: by whom, when they signed it and when it came in, and what about."""

    index: int
    decision: str
    step: int
    digest: str
    person: str
    role: str
    key: str
    shown: str | None
    issued_nano: int
    expires_nano: int | None
    unix_nano: int
    rollout: str
    plan: str

    def is_by(self, name: str) -> bool:
        """Whether a name is this person's, as people read names."""
        return _folded(self.person) == _folded(name)


class _Gone(Exception):
    """A blob is not there, so that it cannot be told. Stays in this part. `args[0]`: what it is."""


Blob = Callable[[str, int], "bytes | None"]
"""A blob by its SHA-256 and up to a size; None where it is not there. Raises: Refused."""


def _blobs(files: Files, folder: str, elsewhere: Mapping[str, str]) -> Blob:
    """`elsewhere`: names of files that are not in the folder, by digest."""

    def get(digest: str, limit: int) -> bytes | None:
        content = read(files, elsewhere.get(digest, folder + digest), limit)
        if content is None:
            packed = read(files, f"{folder}{digest}.gz", limit)
            content = packed and b"".join(_bounded(gzip.GzipFile(fileobj=io.BytesIO(packed)), limit))
        return content if content is not None and sha256(content) == digest else None  # of another content step 8 has told

    return get


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def read_word(index: int, said: Statement, get: Blob) -> Word:
    """What an entry says that somebody has signed. Raises: Refused: it is not so; _Gone: it cannot be told."""
    digest = said.values["approval"]
    fields, key = _signed(get(digest, SIGNED_BYTES_MAX), digest)
    decision, step = DECISIONS[said.kind], fields["step"]
    _need(fields["decision"] == decision, f"what was signed is a {shown(fields['decision'])}, and a {said.kind} needs a {decision}")
    if decision != "review":
        _need(fields["rollout"] == said.rollout, f"it was signed about the rollout {fields['rollout']}, not about {said.rollout}")
        _need(fields["plan"] == said.plan, f"it was signed about another plan: {fields['plan']}")
        _need(step == said.values["step"], f"it was signed about the step {step}, and the entry says {said.values['step']}")
    else:
        _need(fields["shown"] == said.values["of"], "it was signed about another override than the entry names")
    rests = [one for one in said.based_on if one not in {digest, fields["shown"]}]
    _need(digest in said.based_on and len(rests) == 1, "it does not rest on what was signed and on one person")
    _need(fields["shown"] in {None, *said.based_on}, "what its signer was shown is not what the entry rests on")
    issued, expires = _unix_nano(fields["issued"]), None if fields["expires"] is None else _unix_nano(fields["expires"])
    _need(issued <= said.unix_nano + AHEAD_S * NANO, f"it was issued at {fields['issued']}, after it came in")
    _need((expires is not None) == (decision in ENDING), "it ends, or does not, where its kind has it otherwise")
    _need(expires is None or issued < expires <= issued + LIFETIME_S * NANO, f"it lasts longer than {LIFETIME_S} s, or not at all")
    _need(expires is None or expires > said.unix_nano, f"it had ended at {fields['expires']}, before it came in")
    if fields["shown"] is not None and decision != "review":
        _about(get(fields["shown"], SHOWN_BYTES_MAX), fields)
    name = _person(get(rests[0], PERSON_BYTES_MAX), rests[0], key, fields["role"], (issued, said.unix_nano))
    card = get(said.card, PERSON_BYTES_MAX) if decision != "review" else None
    acted = _name_on(card)
    _need(acted in (None, name), f"the entry is in the name of {shown(acted)}, and {shown(name)} has signed it")
    return Word(
        index, decision, step, digest, name, fields["role"], key.fingerprint, fields["shown"], issued, expires, said.unix_nano,
        fields["rollout"], fields["plan"],
    )  # fmt: skip


def _signed(blob: bytes | None, digest: str) -> tuple[dict[str, Any], SshKey]:
    """The document that a person signed, with the key. Raises: Refused, _Gone."""
    if blob is None:
        msg = f"what was signed ({digest})"
        raise _Gone(msg)
    both = _object(read_canonical(blob, "what was signed"), "what was signed", "approval signature")
    text = _text(both["approval"], "the approval")
    document = text.encode("utf-8")
    _need(len(document) <= DOCUMENT_BYTES_MAX, f"the approval has more than {DOCUMENT_BYTES_MAX} bytes")
    names = "type decision rollout plan step shown role reason issued expires"
    fields = _object(read_canonical(document, "the approval"), "the approval", names)
    _need(fields["type"] == APPROVAL_TYPE, f"it is of type {shown(fields['type'])}, not {APPROVAL_TYPE}")
    _need(_is(_ROLLOUT, fields["rollout"]) and _is(_SHA256, fields["plan"]), "the approval is about no rollout or no plan")
    _need(fields["shown"] is None or _is(_SHA256, fields["shown"]), "what was shown is not a SHA-256")
    step = fields["step"]
    _need(isinstance(step, int) and not isinstance(step, bool) and START <= step <= STEP_MAX, f"there is no step {shown(step)}")
    _need(_text(fields["role"], "its role") in ROLES, f"there is no role {shown(fields['role'])}")
    reason = _text(fields["reason"], "its reason")
    _need(len(reason) <= REASON_CHARS_MAX and (reason or fields["decision"] == "give"), "it has no reason, or one that is too long")
    return fields, check_ssh_signature(_text(both["signature"], "the signature"), document)


def _about(blob: bytes | None, fields: Mapping[str, Any]) -> None:
    """What was shown was about the same, as far as it is still there. Raises: Refused."""
    if blob is None:
        return
    document = read_canonical(blob, "what was shown")
    same = isinstance(document, dict) and all(document.get(name) == fields[name] for name in ("rollout", "plan", "step"))
    _need(same, "what its signer was shown is about another rollout, plan or step")


def _person(blob: bytes | None, digest: str, key: SshKey, role: str, times: Sequence[int]) -> str:
    """The name of who has the key, as known when it came in. Raises: Refused, _Gone."""
    if blob is None:
        msg = f"who signed it ({digest})"
        raise _Gone(msg)
    person = _object(_object(read_canonical(blob, "the person"), "the person", "salt person")["person"], "the person", "name roles keys",
                     "from until")  # fmt: skip
    name, roles, keys = _text(person["name"], "the person's name"), person["roles"], person["keys"]
    _need(isinstance(roles, list) and isinstance(keys, list) and len(keys) <= PERSON_KEYS_MAX, "the person has no roles or no keys")
    blobs = [_base64(_text(line, "a key").partition(" ")[2].partition(" ")[0]) for line in keys]
    _need(key.blob in blobs, f"it is signed with the key {key.fingerprint}, which is none of {shown(name)}, as known then")
    _need(role in roles, f"it is said as {role}, and {shown(name)} was known as {listed([shown(one) for one in roles])}")
    begins, ends = (None if person.get(at) is None else _unix_nano(person[at]) for at in ("from", "until"))
    for unix_nano in times:
        valid = (begins is None or begins <= unix_nano) and (ends is None or unix_nano < ends)
        _need(valid, f"{shown(name)} was not valid then: from {shown(person.get('from'))}, until {shown(person.get('until'))}")
    return name


def _name_on(card: bytes | None) -> str | None:
    """The name on an actor's card; None where it was erased. Raises: Refused."""
    document = None if card is None else read_canonical(card, "the actor's card")
    return document.get("name") if isinstance(document, dict) else None


Gate = Sequence["tuple[frozenset[str], int]"]
"""Needs, which all must be met: roles, and so many people in any of them. Empty: nobody is asked."""


@dataclass(frozen=True)
class Asked:
    """What a plan asks of people. `gates`: of its steps, then of the switch; `glass` None: nobody may override a freeze.

    `weights`: of its steps, and all of the traffic for the switch; in percent.
    """

    author: str
    weights: tuple[float, ...]
    gates: tuple[Gate, ...]
    freezes: tuple[tuple[int, int], ...]
    glass: Gate | None
    review_within_s: float

    def gate(self, step: int) -> Gate:
        """Who is asked before a step; the number of steps stands for the switch."""
        return self.gates[step] if 0 <= step < len(self.gates) else ()

    def named(self, step: int) -> str:
        """A step in words."""
        return "the switch" if step == len(self.gates) - 1 else "the start" if step == START else f"step {step + 1}"


def read_asked(plan: bytes) -> Asked:
    """What a plan asks of people. Raises: Refused: it is not a plan of the form that is known here."""
    document = read_canonical(plan, "the plan")
    try:
        schedule, steps = document["schedule"], document["steps"]
        _need(isinstance(steps, list) and 0 < len(steps) <= STEP_MAX, "it has no steps, or too many")
        gates = [_gate_of(step["gate"]) for step in steps] + [_gate_of(document["bake"].get("gate", "none"))]
        freezes = tuple((_moment(one["from"]), _moment(one["to"])) for one in schedule["freezes"])
        glass = schedule.get("break_glass")
        within = 0.0 if glass is None else glass["review_within"]
        _need(len(freezes) <= LIST_MAX and isinstance(within, (int, float)), "its schedule is malformed")
        author, weights = _text(document["change"]["author"], "its author"), [step["weight"] for step in steps]
        _need(all(isinstance(one, (int, float)) for one in weights), "a weight is no number")
        return Asked(author, (*weights, 100.0), tuple(gates), freezes, None if glass is None else _gate_of(glass["gate"]), within)
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"it does not say who is asked, as plans do: {shown(str(error))}"
        raise Refused(msg) from error


def _gate_of(value: Any) -> Gate:
    if value in ("none", "approval"):  # as plans spell nobody, and one approver
        return [(frozenset({"approver"}), 1)] if value == "approval" else []
    _need(isinstance(value, list) and len(value) <= len(ROLES), "a gate is not a list of needs")
    needs = [(frozenset(one["roles"]), one["people"]) for one in value]
    _need(all(roles and roles <= ROLES and _is_count(people) and 0 < people <= QUORUM_MAX for roles, people in needs), "a gate asks nobody")
    return needs


def _moment(text: Any) -> int:
    match = _MOMENT.fullmatch(_text(text, "a time of its schedule"))
    _need(match, f"a time of its schedule is malformed: {shown(text)}")
    return _unix_nano(f"{match[1]}.{(match[2] or '').ljust(9, '0')}Z") if match else 0


class _People:
    """Step 9 for one rollout: who signed what, and whether what moved forward had what its plan asks for."""

    def __init__(self, part: _Part, name: str, rollout: _Rollout, get: Blob) -> None:
        self._part, self._name, self._rollout, self._get = part, name, rollout, get
        self.words: list[Word] = []
        self.erased: list[str] = []
        self.opened: dict[int, int] = {}
        """Steps of which the gate opened, and the entry of the move."""
        self._judged: set[int] = set()
        """Steps of which it was said whether the gate was open."""
        self.unsure: list[str] = []
        self._lost: list[tuple[int, Statement]] = []
        self._step, self._highest = START, 0.0
        self._asked: Asked | None = None

    def run(self) -> None:
        """All of it, in order."""
        told, why = self._rollout.told, "its plan is not here"
        try:
            plan = self._get(self._rollout.plan or "", PLAN_BYTES_MAX)
            self._asked = None if plan is None else read_asked(plan)
        except Refused as error:
            why = f"its plan cannot be read for it: {error}"
        for index, said in told:
            if said.kind in DECISIONS:
                self._hear(index, said)
            elif said.kind == "phase":
                self._moved(index, said)
            elif said.kind in {"weight.intended", "commit.intended"}:
                self._weighed(index, said)
        if self._asked is None and told:
            self.unsure.append(f"the rollout {self._name}: {why}")
        self._reviews_opened()

    def _hear(self, index: int, said: Statement) -> None:
        where = f"entry {index}"
        if len(self.words) + len(self._lost) >= WORDS_MAX:
            self._part.wrong(where, f"the rollout {self._name} has more than {WORDS_MAX} approvals, and no guard takes so many")
            return
        try:
            word = read_word(index, said, self._get)
            self._would_count(word)
        except Refused as error:
            self._part.wrong(where, error)
        except _Gone as error:
            self.erased.append(f"{error} (entry {index})")
            self._lost.append((index, said))
        else:
            self.words.append(word)

    def _would_count(self, word: Word) -> None:
        """A guard takes what moves something forward only where it is asked for. Raises: Refused."""
        asked = self._asked
        if asked is None or word.decision not in ENDING:
            return
        overrides = word.decision == DECISIONS["freeze.overridden"]
        gate = (asked.glass or ()) if overrides else asked.gate(word.step)
        what = "a freeze" if overrides else asked.named(word.step)
        _need(gate, "nobody may override a freeze of this plan" if overrides else f"nobody is asked about {what}")
        _need(not word.is_by(asked.author), f"{shown(word.person)} is the author of the change, and another person approves it")
        _need(any(word.role in roles for roles, _ in gate), f"it is said as {word.role}, who is not asked about {what}: {_needs(gate)}")
        _need(not overrides or word.shown is None, "an override of a freeze is shown nothing")

    def _moved(self, index: int, said: Statement) -> None:
        """A transition: forward only through the step's gate, and not in a freeze."""
        event, asked, where = said.values["event"], self._asked, f"entry {index}"
        self._step += event in FORWARD
        if asked is None:
            return
        if event in FORWARD:
            gate = asked.gate(self._step)
            if self._step >= len(asked.gates):
                self._part.wrong(where, f"it goes beyond the switch: the plan has {len(asked.gates) - 1} steps")
            elif event == "approved" and not gate:
                self._part.wrong(where, f"it says that {asked.named(self._step)} was approved, and the plan asks nobody about it")
            elif gate:
                self._gated(index, gate, said.unix_nano)
        if event in FORWARD or event == "baked":
            self._thawed(where, said.unix_nano, "the rollout moved forward")

    def _weighed(self, index: int, said: Statement) -> None:
        """A weight that was announced: more than before only with the step's gate open, and not in a freeze."""
        percent, asked, where = said.values["candidatePercent"], self._asked, f"entry {index}"
        commits = said.kind == "commit.intended"
        if asked is None or not (commits or percent > self._highest):
            return
        self._highest = max(self._highest, percent)
        step = len(asked.gates) - 1 if commits else said.values.get("step", self._step)
        closed = [one for one in range(len(asked.gates)) if one <= step and asked.gate(one) and one not in self._judged]
        self._judged |= set(closed)
        if closed:
            what = f"{percent:g} % was announced, and nobody had approved {listed([asked.named(one) for one in closed])}, as the plan asks"
            self._part.wrong(where, what)
        most = max(asked.weights[: max(self._step + 1, 0)], default=0.0)
        if not commits and percent > most + PERCENT_ERROR:
            self._part.wrong(where, f"{percent:g} % was announced, and by its plan the rollout was at most at {most:g} % then")
        self._thawed(where, said.unix_nano, f"{percent:g} % was announced")

    def _thawed(self, where: str, unix_nano: int, what: str) -> None:
        """No freeze held, or it was overridden: for the whole way, or for this step."""
        asked = self._asked
        frozen = asked and next((one for one in asked.freezes if one[0] <= unix_nano < one[1]), None)
        if asked is None or not frozen:
            return
        until = f"in a freeze of the plan (until {utc(frozen[1] // NANO)})"
        step = max(self._step, 0)
        lacks: dict[int, str | None] = {START: "nobody may override it"}
        if asked.glass is not None:
            lacks = {one: self._lacks(asked.glass, one, DECISIONS["freeze.overridden"], unix_nano) for one in (START, step)}
        if "" in lacks.values():
            return
        if unix_nano < frozen[0] + DECIDING_S * NANO:
            self.unsure.append(f"{where}: {what} {until}, and may have been decided before it began")
        elif None in lacks.values():
            self.unsure.append(f"{where}: {what} {until}; whether it was overridden is in blobs that are not here")
        else:
            self._part.wrong(where, f"{what} {until}, and nobody who may had overridden it: {lacks.get(step) or lacks[START]}")

    def _gated(self, index: int, gate: Gate, unix_nano: int) -> None:
        """The step that begins now has a gate."""
        where, step = f"entry {index}", self._step
        named = self._asked.named(step) if self._asked else ""
        missing = self._lacks(gate, step, "give", unix_nano)
        self._judged.add(step)
        if missing is None:
            self.unsure.append(f"{where}: whether {named} began as its gate asks is in blobs that are not here")
        elif missing:
            self._part.wrong(where, f"{named} began, and its gate was not open: {missing}")
        else:
            self.opened[step] = index

    def _lacks(self, gate: Gate, step: int, decision: str, unix_nano: int) -> str | None:
        """What a gate waited for at a time, by all that was entered before; empty: nothing; None: it is in what was erased.

        The rules of a guard: a refusal stands until the same person takes it back later; a give counts in a role that is asked, on the
        same thing shown, once for each person, while it lasts, and not from the author. A guard needs a moment from reading to
        writing, so what came in, or ended, within it may not have counted.
        """
        late = unix_nano - DECIDING_S * NANO
        here = [one for one in self.words if one.step == step]
        lost = [(index, said) for index, said in self._lost if said.values["step"] == step]
        backs = [one for one in here if one.decision == "withdraw" and one.unix_nano <= late]
        all_backs = [one for one in here if one.decision == "withdraw"]
        lost_back = [index for index, said in lost if said.kind == "approval.withdrawn"]
        for one in here:
            lifted = any(back.is_by(one.person) and back.issued_nano > one.issued_nano for back in all_backs)
            if one.decision == "refuse" and one.unix_nano <= late and not lifted:
                return None if lost_back else f"{shown(one.person)} had refused it (entry {one.index}) and not taken it back"
        for index, said in lost:
            if said.kind == "approval.refused":
                stands = not any(back > index for back in [*lost_back, *(one.index for one in all_backs)])
                return f"entry {index} refuses it, and nothing takes that back" if stands else None
        # What is said by the author, or in a role that is not asked, is no word: `_would_count` has refused it.
        good = [
            one for one in here
            if one.decision == decision and (one.expires_nano or 0) > late
            and not any(back.is_by(one.person) and back.issued_nano >= one.issued_nano for back in backs)
        ]  # fmt: skip
        best = min((_short(gate, [one for one in good if one.shown == about]) for about in {one.shown for one in good} | {None}), key=sum)
        if not any(best):
            return ""
        unread = sum(DECISIONS[said.kind] == decision for _, said in lost)
        if unread >= sum(best):
            return None
        by = listed([f"{shown(one.person)} as {one.role} (entry {one.index})" for one in good])
        return f"it asks for {_needs(gate)}, of others than the author; before it there is {by or 'nobody'}"

    def _reviews_opened(self) -> None:
        """An override opens a review, which is due within the time that the plan gives."""
        due = {said.values["of"]: (index, said) for index, said in self._rollout.told if said.kind == "review.due"}
        overrides = {said.values["approval"]: (index, said) for index, said in self._rollout.told if said.kind == "freeze.overridden"}
        for digest, (index, said) in due.items():
            if digest not in overrides:
                self._part.wrong(f"entry {index}", "it opens the review of an override that is not in the rollout")
            elif self._asked and said.values["dueUnixS"] > said.unix_nano / NANO + self._asked.review_within_s + 1:
                self._part.wrong(f"entry {index}", "its review is due later than the plan allows")
        for digest, (index, said) in overrides.items():
            if digest not in due and said.sequence < self._rollout.sequence:
                self._part.wrong(f"entry {index}", "a freeze was overridden, and no review of it was opened")


def _short(gate: Gate, words: Sequence[Word]) -> list[int]:
    """How many people are missing, by need. The last word of each person counts, and who has the same key is the same person."""
    by_name = {_folded(one.person): one for one in sorted(words, key=lambda one: (one.issued_nano, one.digest))}
    last = {one.key: one for one in by_name.values()}
    return [max(0, people - sum(one.role in roles for one in last.values())) for roles, people in gate]


def _needs(gate: Gate) -> str:
    return " and ".join(f"{people} of {' or '.join(sorted(roles))}" for roles, people in gate)


def _agreed(report: Report, story: Story, get: Blob) -> None:
    """Step 9."""
    part, words, opened = _Part(report), 0, 0
    erased: list[str] = []
    unsure: list[str] = []
    by_override: dict[str, tuple[Word | None, str, _Rollout]] = {}
    for name, rollout in story.rollouts.items():
        people = _People(part, name, rollout, get)
        people.run()
        words, opened = words + len(people.words), opened + len(people.opened)
        erased += people.erased
        unsure += people.unsure
        known = {one.digest: one for one in people.words}
        by_override |= {
            said.values["approval"]: (known.get(said.values["approval"]), name, rollout)
            for _, said in rollout.told if said.kind == "freeze.overridden"
        }  # fmt: skip
    done = _reviewed(part, story, get, by_override, erased)
    _open_reviews(report, story, done)
    if (words or done) and not part.wrongs:
        report.proven.append(
            f"{words + len(done)} words of people are signed with keys of who they are said to be, about the rollout, plan and step that "
            f"the entries name; {opened} moves through gates had all whom the plan asks"
        )
    if words or done:
        report.not_proven.append(
            "that the people are who the guard's list of people says, and that what they were shown was the newest and was read"
        )
    if erased:
        report.not_proven.append(f"what is said to be signed, for it is not here (erased, or left out): {listed(erased)}")
    if unsure:
        report.not_proven.append(f"that what moved had been agreed to: {listed(unsure)}")


def _reviewed(
    part: _Part, story: Story, get: Blob, overrides: Mapping[str, tuple[Word | None, str, _Rollout]], erased: list[str]
) -> set[str]:
    """The overrides that somebody else has reviewed, whom that is asked of."""
    done = set()
    for index, said in story.reviews:
        try:
            _need(said.values["of"] in overrides, "it reviews an override that is not here")
            override, name, rollout = overrides[said.values["of"]]
            word = read_word(index, said, get)
            _need((word.rollout, word.plan) == (name, rollout.plan), "it was signed about another rollout or plan than the override")
            _need(word.role in REVIEWERS, f"it is said as {word.role}, who is not asked to review")
            _need(override is None or word.step == override.step, "it was signed about another step than the override")
            _need(override is None or not word.is_by(override.person), f"{shown(word.person)} reviews what they had overridden")
            plan = get(rollout.plan or "", PLAN_BYTES_MAX)
            _need(plan is None or not word.is_by(read_asked(plan).author), f"{shown(word.person)} is the author of the change")
            done.add(said.values["of"])
        except Refused as error:
            part.wrong(f"entry {index}", error)
        except _Gone as error:
            erased.append(f"{error} (entry {index})")
            done.add(said.values["of"])
    return done


def _open_reviews(report: Report, story: Story, done: set[str]) -> None:
    newest = story.newest_nano // NANO
    for name, rollout in story.rollouts.items():
        for index, said in rollout.told:
            if said.kind == "review.due" and said.values["of"] not in done:
                due = said.values["dueUnixS"]
                overdue = f", and was OVERDUE when the newest entry was made ({utc(newest)})" if due < newest else ""
                report.notes.append(f"entry {index}: the review of a freeze's override in {name} is open; due {utc(due)}{overdue}")


# -- a log ---------------------------------------------------------------------------------------------------------------------------


def verify_tree(
    files: Files, keys: Sequence[str], *, witnesses: Sequence[str] = (), earlier: Sequence[tuple[str, bytes]] = (),
    origin: str | None = None,
) -> Report:  # fmt: skip
    """Steps 1 to 4 alone: also for logs of which the entries are not ours. Raises: Unreadable: a key is none."""
    report = Report("log")
    _Log(report, files, _keys(keys), _witness_keys(witnesses)).run(earlier, origin, lambda _index, _entry: None, None, ())
    report.not_proven.append("anything of what the entries say: only that they are in the log was looked at")
    return report


def verify_log_files(
    files: Files, keys: Sequence[str], *, witnesses: Sequence[str] = (), earlier: Sequence[tuple[str, bytes]] = (),
    evidence: Files | None = None, origin: str | None = None, stamps: Files | None = None, stamp_roots: Sequence[str | Path] = (),
) -> Report:  # fmt: skip
    """All steps, over files from anywhere. `earlier`: checkpoints, with where they are from. `stamps`: time stamps and the heads they are
    over; `stamp_roots`: PEM files. Raises: Unreadable: a key is none, or a file cannot be read.
    """
    report, believed = Report("log"), _keys(keys)
    log, story = _Log(report, files, believed, _witness_keys(witnesses)), Story(report, believed)
    log.run(earlier, origin, story.entry, stamps, _roots(stamp_roots))
    if report.size is None:
        return report
    story.end(signed_by=log.signed_by, whole=log.whole)
    if evidence is not None:
        _evidence(report, evidence, "", story)
        _agreed(report, story, _blobs(evidence, "", {}))
    elif story.named:
        report.not_proven.append(f"what the {len(story.named)} blobs of evidence say that entries name: none were given (--evidence)")
    report.not_proven.append("files that a log of this size does not need (older partial tiles, commits, what was staged): not read")
    return report


def verify_log(
    folder: str | Path, keys: Sequence[str], *, witnesses: Sequence[str] = (), checkpoints: Sequence[str | Path] = (),
    evidence: str | Path | None = None, origin: str | None = None, stamps: str | Path | None = None,
    stamp_roots: Sequence[str | Path] = (),
) -> Report:  # fmt: skip
    """A whole log in a folder. `checkpoints`: files with earlier ones. `stamps`: a folder; None: the one in the log's.

    Raises: Unreadable: a folder or file is not there, or a key is none.
    """
    beside = _folder(folder) / "stamps" if stamps is None else _folder(stamps)
    return verify_log_files(
        Folder(_folder(folder), links=True), keys, witnesses=witnesses, earlier=held_checkpoints(checkpoints), origin=origin,
        evidence=None if evidence is None else Folder(_folder(evidence), links=False),
        stamps=stamps_in(beside) if beside.is_dir() else None, stamp_roots=stamp_roots,
    )  # fmt: skip


def stamps_in(folder: str | Path) -> Files:
    """Time stamps and the heads that they are over, in a folder. Raises: Unreadable: it is not there."""
    return Folder(_folder(folder), links=False, files_max=STAMP_FILES_MAX)


def _keys(keys: Sequence[str]) -> list[Key]:
    """Raises: Unreadable: one is no key, or there is none."""
    if not keys:
        msg = "no key was given: without one nothing can be believed (--key)"
        raise Unreadable(msg)
    return [read_key(one) for one in keys]


def _witness_keys(keys: Sequence[str]) -> list[Key]:
    return [read_key(one, witness=True) for one in keys]


def _roots(files: Sequence[str | Path]) -> list[Certificate]:
    """Raises: Unreadable."""
    found = []
    for file in files:
        blocks = _PEM.findall(_file(file, ROOTS_BYTES_MAX))
        try:
            found += [load_pem_x509_certificate(block) for block in blocks]
        except Exception as error:  # as in `_certificate`
            msg = f"{shown(str(file))}: a certificate in it cannot be read: {shown(str(error))}"
            raise Unreadable(msg) from error
        if not blocks:
            msg = f"{shown(str(file))} has no certificate in PEM"
            raise Unreadable(msg)
    return found


def _folder(folder: str | Path) -> Path:
    path = Path(folder)
    if not path.is_dir():
        msg = f"there is no folder {shown(str(folder))}"
        raise Unreadable(msg)
    return path


def _file(file: str | Path, limit: int) -> bytes:
    """Raises: Unreadable."""
    path = Path(file)
    try:
        content = read(Folder(path.parent, links=True), path.name, limit)
    except Refused as error:
        msg = f"{shown(str(file))}: {error}"
        raise Unreadable(msg) from error
    if content is None:
        msg = f"there is no file {shown(str(file))}"
        raise Unreadable(msg)
    return content


def held_checkpoints(files: Sequence[str | Path]) -> list[tuple[str, bytes]]:
    """Files as `earlier` wants them: where each is from, and what is in it. Raises: Unreadable."""
    return [(shown(str(one)), _file(one, NOTE_BYTES_MAX)) for one in files]


# -- a proof -------------------------------------------------------------------------------------------------------------------------


def read_proof(file: bytes) -> tuple[int, list[bytes], bytes]:
    """A C2SP tlog-proof: index, hashes from the leaf up, and the checkpoint's note. What it calls extra is not believed.

    Raises: Refused.
    """
    _need(len(file) <= PROOF_BYTES_MAX, f"it has more than {PROOF_BYTES_MAX} bytes")
    above_blank, blank, note = file.partition(b"\n\n")
    _need(blank and above_blank.isascii(), "it is not a proof file: no empty line before a checkpoint")
    header, *lines = above_blank.decode("ascii").split("\n")
    _need(header == PROOF_HEADER, f"its first line is not {PROOF_HEADER}")
    if lines and lines[0].startswith("extra "):
        _base64(lines.pop(0)[len("extra ") :])
    word, _, number = (lines.pop(0) if lines else "").partition(" ")
    _need(word == "index" and _DECIMAL.fullmatch(number), "it does not say which entry it is for (index N)")
    _need(len(lines) <= HASHES_MAX, f"it has more than {HASHES_MAX} hashes")
    return int(number), [_base64(line) for line in lines], note


def read_consistency(file: bytes) -> tuple[int, list[bytes], bytes]:
    """A consistency proof, as a log sends it to a witness (tlog-witness, add-checkpoint): old size, hashes, the new checkpoint's note.

    Raises: Refused.
    """
    _need(len(file) <= PROOF_BYTES_MAX, f"it has more than {PROOF_BYTES_MAX} bytes")
    above_blank, blank, note = file.partition(b"\n\n")
    _need(blank and above_blank.isascii(), "it is not a consistency proof: no empty line before a checkpoint")
    first, *lines = above_blank.decode("ascii").split("\n")
    word, _, number = first.partition(" ")
    _need(word == "old" and _DECIMAL.fullmatch(number), "it does not say which size it is from (old N)")
    _need(len(lines) <= HASHES_MAX, f"it has more than {HASHES_MAX} hashes")
    return int(number), [_base64(line) for line in lines], note


def verify_proof(
    proof: bytes, entry: bytes, keys: Sequence[str], *, witnesses: Sequence[str] = (), origin: str | None = None, ours: bool = True
) -> Report:
    """That an entry is in a log: steps 1, 2, 4 and 6. `ours`: the entry is one of ours, and not only some bytes.

    Raises: Unreadable: a key is none.
    """
    report, believed = Report("proof"), _keys(keys)
    part = _Part(report)
    witness_keys = _witness_keys(witnesses)
    try:
        index, hashes, note = read_proof(proof)
    except Refused as error:
        part.wrong("proof", error)
        return report
    found = _believed(part, "proof", note, believed, origin)
    if found is None:
        return report
    head, by = found
    report.origin, report.size = head.origin, head.size
    report.proven.append(_signed_line(head, by))
    try:
        check_inclusion(index, head.size, leaf_of(entry), hashes, head.root)
        report.proven.append(f"the entry is the one that this log has at index {index}")
    except Refused as error:
        part.wrong(f"entry {index}", error)
    if ours:
        _one_entry(part, index, entry, believed)
    _witnessed(part, [("proof", head)], witness_keys)
    _memory(report, head, [], witnessed=bool(witnesses))
    report.not_proven.append("anything of the entries before and after it: only the whole log, or a pack, shows them")
    return report


def _one_entry(part: _Part, index: int, entry: bytes, keys: Sequence[Key]) -> None:
    """Step 6 for an entry without those around it."""
    try:
        payload, by = read_envelope(entry, {key.digest: key for key in keys})
        said = read_statement(payload)
    except Refused as error:
        part.wrong(f"entry {index}", error)
        return
    names = listed([shown(key.name) for key in keys if key.digest in by])
    of = "" if said.rollout is None else f", number {said.sequence} of the rollout {said.rollout}"
    part.report.entries = 1
    part.report.proven.append(f"it is a {said.kind}{of}, signed by {names}, and says only what its kind allows")
    part.report.not_proven.append(f"what the {len(set(said.named))} blobs of evidence say that it names")
    if said.late:
        part.report.not_proven.append("that it was written before what it speaks of was done: it is marked late")


# -- a pack --------------------------------------------------------------------------------------------------------------------------


class _Pack(_Part):
    """An evidence pack: one rollout's entries with their proofs, under one checkpoint."""

    def __init__(
        self, report: Report, files: Files, keys: Sequence[Key], witnesses: Sequence[Key], roots: Sequence[Certificate] = ()
    ) -> None:
        super().__init__(report)
        self._files, self._keys, self._witnesses, self._roots = files, keys, witnesses, roots
        self._digests: dict[str, str] = {}

    def run(self, earlier: Sequence[tuple[str, bytes]], origin: str | None) -> None:
        """All of it, as far as it can be read."""
        report = self.report
        try:
            names = self._files.names()
            _need(sum(names.values()) <= PACK_BYTES_MAX, f"its files have more than {PACK_BYTES_MAX} bytes")
            manifest = self._manifest()
        except Refused as error:
            self.wrong("manifest.json" if isinstance(error, _At) else "pack", error)
            report.not_proven.append("anything at all: without a manifest nothing else was looked at")
            return
        self._listed(names, manifest["files"])
        note = self._read("checkpoint", NOTE_BYTES_MAX)
        believed = _believed(self, "checkpoint", note, self._keys, origin)
        if believed is None:
            report.not_proven.append("anything at all: no checkpoint could be believed")
            return
        head, by = believed
        report.origin, report.size = head.origin, head.size
        report.proven.append(_signed_line(head, by))
        story = self._entries(names, manifest, head, note or b"")
        story.end(signed_by=by, whole=not self.wrongs)
        plan = self._plan(story, manifest["rollout"])
        _evidence(report, self._files, "evidence/", story, plan)
        _agreed(report, story, _blobs(self._files, "evidence/", dict.fromkeys(plan, "plan.json")))
        held = _held(self, earlier, head, self._keys)
        known = self._remember(head, held)
        _witnessed(self, [("checkpoint", head), *held], self._witnesses)
        _memory(report, head, known, witnessed=bool(self._witnesses))
        self._stamps(head, manifest["entries"])
        report.not_proven.append(
            f"that the log has no more entries of the rollout {manifest['rollout']} than these: the whole log shows it"
        )
        if len(self._keys) > 1:
            report.not_proven.append("that each key was in force when it signed: the whole log shows when keys were replaced")
        report.not_proven.append(
            "files in the pack that are neither entries, proofs, evidence nor the plan (reports, verify.py): they are those of the "
            "manifest, which nobody signed"
        )

    def _read(self, name: str, limit: int) -> bytes | None:
        """A file; a problem where it cannot be read."""
        try:
            return read(self._files, name, limit)
        except Refused as error:
            self.wrong(name, error)
            return None

    def _manifest(self) -> dict[str, Any]:
        """Raises: Refused."""
        where = "manifest.json"
        try:
            content = read(self._files, where, MANIFEST_BYTES_MAX)
            _need(content is not None, "it is missing: this is not an evidence pack")
            manifest = _object(read_canonical(content or b"", "the manifest"), "the manifest", "format rollout entries files")
            _need(manifest["format"] == PACK_FORMAT, f"its format is {shown(manifest['format'])}, and this verifies {PACK_FORMAT}")
            _need(_is(_ROLLOUT, manifest["rollout"]), f"its rollout has an id that no guard makes: {shown(manifest['rollout'])}")
            indices, files = manifest["entries"], manifest["files"]
            _need(isinstance(indices, list) and all(_is_count(one) for one in indices), "its entries are not a list of indices")
            _need(indices and all(one < indices[at] for at, one in enumerate(indices[:-1], 1)), "its entries are none, or not in order")
            _need(
                isinstance(files, dict) and all(_is(_PACK_NAME, name) and _is(_SHA256, files[name]) for name in files),
                "its files are not names with their SHA-256",
            )
        except Refused as error:
            raise _At(where, error) from error
        return manifest

    def _listed(self, names: Mapping[str, int], files: Mapping[str, str]) -> None:
        """Every file is in the manifest with its SHA-256, and the other way round."""
        before = self.wrongs
        for name in sorted(set(names) - set(files) - {"manifest.json", "verify.py"}):
            self.wrong(shown(name)[1:-1], "the manifest does not name it: it was put in")
        for name in sorted(files):
            if name not in names:
                self.wrong(name, "the manifest names it, and it is missing")
                continue
            digest = hashlib.sha256()
            try:
                for chunk in self._files.chunks(name, FILE_BYTES_MAX) or ():
                    digest.update(chunk)
            except Refused as error:
                self.wrong(name, error)
                continue
            self._digests[name] = digest.hexdigest()
            if self._digests[name] != files[name]:
                self.wrong(name, "it has another SHA-256 than the manifest says: one of both was changed")
        if self.wrongs == before:
            self.report.proven.append(f"the pack has the {len(files)} files of its manifest, which nobody signed, and no others")

    def _entries(self, names: Mapping[str, int], manifest: Mapping[str, Any], head: Head, note: bytes) -> Story:
        """Each with its proof under the one checkpoint."""
        story, before = Story(self.report, self._keys, part_of=manifest["rollout"]), self.wrongs
        expected = {f"{kind}.{end}" for index in manifest["entries"] for kind, end in _of_entry(index)}
        for name in sorted(names):
            if name.startswith(("entries/", "proofs/")) and name not in expected:
                self.wrong(shown(name)[1:-1], "the manifest has no entry that it belongs to")
        for index in manifest["entries"]:
            self._entry(index, head, note, story)
        if self.wrongs == before:
            self.report.proven.append(f"{len(manifest['entries'])} entries are in the log under that checkpoint")
        return story

    def _entry(self, index: int, head: Head, note: bytes, story: Story) -> None:
        entry = self._read(f"entries/{index}.json", ENTRY_BYTES_MAX)
        proof = self._read(f"proofs/{index}.tlog-proof", PROOF_BYTES_MAX)
        if entry is None or proof is None:
            self.wrong(f"entry {index}", "it or its proof is missing, or cannot be read")
            return
        try:
            at, hashes, of = read_proof(proof)
            _need(at == index, f"it is for entry {at}")
            _need(of == note, "it has another checkpoint than the pack")
            check_inclusion(index, head.size, leaf_of(entry), hashes, head.root)
        except Refused as error:
            self.wrong(f"proofs/{index}.tlog-proof", error)
            return
        story.entry(index, entry)

    def _plan(self, story: Story, rollout: str) -> frozenset[str]:
        """The plan is the one that the entries name. Returns its digest where it is."""
        told = story.rollouts.get(rollout)
        if told is None:
            self.wrong("manifest.json", f"no entry of the rollout {rollout} could be believed")
            return frozenset()
        content = self._read("plan.json", PLAN_BYTES_MAX)
        if content is None:
            self.wrong("plan.json", "it is missing, or cannot be read")
            return frozenset()
        if sha256(content) != told.plan:
            self.wrong("plan.json", f"it is not the plan of the rollout {rollout}: its entries name the SHA-256 {told.plan}")
            return frozenset()
        self.report.proven.append(f"plan.json is the plan that the entries of the rollout {rollout} name")
        return frozenset({sha256(content)})

    def _remember(self, head: Head, held: Sequence[tuple[str, Head]]) -> list[int]:
        """Step 3, as far as a pack goes. Returns the sizes of those that its head was shown to continue."""
        known = []
        for where, one in held:
            shown_by = self._continues(where, one, head)
            if shown_by:
                known.append(one.size)
                self.report.proven.append(f"{shown_by} the one held in {where}")
            elif shown_by is not None:
                self.report.not_proven.append(
                    f"that its head and the checkpoint of {one.size} entries held in {where} are of one history: the whole log shows it, "
                    "or a pack that was exported for this checkpoint"
                )
        return known

    def _continues(self, where: str, earlier: Head, head: Head) -> str | None:
        """How the pack's head is shown to continue an earlier one; empty: nothing shows it; None: it does not, which is a problem."""
        if earlier.size == head.size:
            if earlier.root == head.root:
                return "its head is"
            self.wrong(where, f"it is another head of {head.size} entries: somebody signed two histories")
            return None
        name = f"consistency/{earlier.size}"
        proof = self._read(name, PROOF_BYTES_MAX)
        if proof is None or not 0 < earlier.size < head.size:
            return ""
        try:
            old_size, hashes, _ = read_consistency(proof)
            _need(old_size == earlier.size, f"it is for {old_size} entries")
            check_consistency(earlier.size, head.size, earlier.root, head.root, hashes)
        except Refused as error:
            # The proof may be wrong, or one of both heads may be: whoever made the pack had both.
            self.wrong(name, f"it does not show that the pack's head continues {where}: {error}")
            return None
        return f"its head continues that of {earlier.size} entries,"

    def _stamps(self, head: Head, indices: Sequence[int]) -> None:
        """Step 5: stamps over heads that the pack's head continues, and how many of its entries these have."""
        of_this_log = []
        for one in _stamped(self, self._files, "stamps/", self._keys, head.origin):
            shown_by = self._continues(one.where, one.head, head)
            if shown_by:
                of_this_log.append(one)
            elif shown_by is not None:
                self.report.not_proven.append(f"that the stamped head of {one.head.size} entries ({one.where}) is one of this log")
        before = self.wrongs
        _times(self, self._files, of_this_log, self._roots)
        if of_this_log and self._roots and self.wrongs == before:
            size = of_this_log[-1].head.size
            count = sum(index < size for index in indices)
            self.report.proven.append(f"{count} of its {len(indices)} entries are under the stamped head of {size} entries")


def _of_entry(index: int) -> tuple[tuple[str, str], tuple[str, str]]:
    return (f"entries/{index}", "json"), (f"proofs/{index}", "tlog-proof")


def verify_pack(
    pack: str | Path, keys: Sequence[str], *, witnesses: Sequence[str] = (), checkpoints: Sequence[str | Path] = (),
    origin: str | None = None, stamp_roots: Sequence[str | Path] = (),
) -> Report:  # fmt: skip
    """An evidence pack: a zip file, or the folder it was unpacked to. Raises: Unreadable: it is not there, or a key is none."""
    report, path, roots = Report("pack"), Path(pack), _roots(stamp_roots)
    believed, witness_keys, earlier = _keys(keys), _witness_keys(witnesses), held_checkpoints(checkpoints)
    if path.is_dir():
        _Pack(report, Folder(path, links=False), believed, witness_keys, roots).run(earlier, origin)
        return report
    if not path.is_file():
        msg = f"there is no pack {shown(str(pack))}"
        raise Unreadable(msg)
    try:
        with path.open("rb") as file, closing(Zip(file)) as files:
            _Pack(report, files, believed, witness_keys, roots).run(earlier, origin)
    except Refused as error:
        report.wrong("pack", error)
    except OSError as error:
        msg = f"{shown(str(pack))} cannot be read: {shown(str(error))}"
        raise Unreadable(msg) from error
    return report


# -- the command ---------------------------------------------------------------------------------------------------------------------


def printed(report: Report) -> str:
    """For people."""
    problems = [f"{one.where}: {one.what}" for one in report.problems]
    if report.more_problems:
        problems.append(f"and {report.more_problems} more")
    parts = (
        ("Proven", report.proven if report.ok else []),
        ("Shown, as far as it goes beside what is wrong", [] if report.ok else report.proven),
        ("NOT proven", report.not_proven),
        ("To know", report.notes),
        ("WRONG", problems),
    )
    lines = [line for title, told in parts if told for line in (f"{title}:", *(f"  - {one}" for one in told), "")]
    end = "Nothing is wrong; what was not proven stands above." if report.ok else "Something is wrong: do not rely on it as it is."
    return "\n".join([*lines, end, ""])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Verifies a ledger of Verdigris offline.", allow_abbrev=False)
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--key", action="append", required=True, metavar="VKEY", help="a log's verifier key: name+id+key; more than once")
    common.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness that must have cosigned")
    common.add_argument("--origin", help="which log it must be: the first line of its checkpoint")
    common.add_argument("--json", action="store_true", help="the report as JSON")
    commands = parser.add_subparsers(dest="command", required=True)
    log = commands.add_parser("log", parents=[common], help="a whole log in a folder", allow_abbrev=False)
    log.add_argument("folder")
    log.add_argument("--evidence", metavar="FOLDER", help="blobs, named by their SHA-256, plain or with .gz")
    log.add_argument("--stamps", metavar="FOLDER", help="time stamps and the heads they are over; default: the folder stamps in the log's")
    proof = commands.add_parser("proof", parents=[common], help="one entry with its proof", allow_abbrev=False)
    proof.add_argument("proof", metavar="FILE.tlog-proof")
    proof.add_argument("entry")
    pack = commands.add_parser("pack", parents=[common], help="an evidence pack", allow_abbrev=False)
    pack.add_argument("pack", metavar="PACK.zip")
    for command in (log, pack):
        command.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="a checkpoint that you hold")
        command.add_argument("--stamp-roots", action="append", default=[], metavar="FILE", help="PEM: what time stamps must lead to")
    return parser


def _asked(asked: argparse.Namespace) -> Report:
    """Raises: Unreadable."""
    common = {"witnesses": asked.witness, "origin": asked.origin}
    if asked.command == "log":
        return verify_log(
            asked.folder, asked.key, checkpoints=asked.checkpoint, evidence=asked.evidence, stamps=asked.stamps,
            stamp_roots=asked.stamp_roots, **common,
        )  # fmt: skip
    if asked.command == "pack":
        return verify_pack(asked.pack, asked.key, checkpoints=asked.checkpoint, stamp_roots=asked.stamp_roots, **common)
    return verify_proof(_file(asked.proof, PROOF_BYTES_MAX), _file(asked.entry, ENTRY_BYTES_MAX), asked.key, **common)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 proven, 1 something is wrong, 2 unreadable or called wrongly (argparse exits with the same)."""
    asked = _parser().parse_args(arguments)
    try:
        report = _asked(asked)
    except Unreadable as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except Exception as error:  # noqa: BLE001  # whatever it was fed, it answers with a sentence
        sys.stderr.write(f"a mistake of this verifier, so nothing is proven: {shown(repr(error))}\n")
        return 2
    sys.stdout.write(json.dumps(report.document(), indent=2) + "\n" if asked.json else printed(report))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
