"""Verifies what a ledger of Verdigris hands to an auditor, offline: a whole log, one entry with its proof, or an evidence pack.

    python verify.py log FOLDER --key VKEY [--key ...] [--witness VKEY ...] [--checkpoint EARLIER ...] [--evidence FOLDER]
    python verify.py proof FILE.tlog-proof ENTRY --key VKEY
    python verify.py pack PACK.zip --key VKEY

Needs Python 3.9 or newer and `cryptography`, and nothing of Verdigris: no code is shared with the writer. Take this file and the keys
(`name+id+key`, as C2SP writes them) from somebody other than whoever hands you the log. Exit codes: 0 everything asked was proven,
1 something is wrong, 2 the input cannot be read or the call was wrong.

A log is verified in these steps; a proof and a pack in those of them that they have the files for.

    1. head       the checkpoint is a signed note, and a key that was given has signed it
    2. tree       the entries, hashed anew, have the signed root; every tile is what they give
    3. memory     earlier checkpoints that the auditor holds are roots of this tree at their size
    4. witnesses  have cosigned a head, and when
    5. entries    each is an envelope in canonical form, signed by keys that were in force, around a statement of a known kind that
                  has nothing in it but what its kind allows
    6. story      sequences without gaps; intended before observed; nothing after the end
    7. evidence   blobs have the SHA-256 that they are named by

Sources: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles and tlog-proof; RFC 6962 section 2.1 (the tree, inclusion and
consistency proofs); DSSE v1; in-toto Statement v1; RFC 8785 with ECMAScript's Number::toString.

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
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Callable, NamedTuple, Protocol  # noqa: UP035  # Python 3.9 cannot subscript the other Callable with a list

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

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
CLOCK_TOLERANCE_S = 5
"""Guards have clocks of their own: times may go back by so much from one entry to the next without a remark."""

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

_KEY_NAME = re.compile(r"[^\s+]+")
_SIGNATURE_LINE = re.compile("\u2014 ([^\\s+]+) ([A-Za-z0-9+/]+={0,2})")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}")
_ROLLOUT = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4,12}")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9])\.([0-9]{9})Z")
_KIND = re.compile(r"https://verdigris\.dev/ledger/([a-z.]{1,40})/v1")
_EVIDENCE_NAME = re.compile(r"([0-9a-f]{64})(\.gz)?")
_ACTOR = re.compile(r"person|guard")
_OUTCOME = re.compile(r"announced|done|refused|failed|seen")
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

_SPLIT = "candidatePercent=number~ generation=count~ committed=flag~"
_INTENDED = "candidatePercent=number generation=count step=number? leaseS=number?"
KINDS: Mapping[str, str] = {
    "ledger.opened": "key=digest version=version",
    "ledger.verified": "entries=count problems=count",
    "key.rotated": "old=digest new=digest",
    "guard.started": "version=version",
    "guard.stopped": "",
    "guard.recovered": "term=count",
    "telemetry.refused": "spans=count",
    "plan.submitted": "",
    "request": "request=request",
    "preflight.check": "check=check result=result findings=count?",
    "approval.given": "step=number approval=digest",
    "approval.refused": "step=number approval=digest",
    "approval.withdrawn": "step=number approval=digest",
    "freeze.overridden": "approval=digest",
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

    def __init__(self, folder: Path, *, links: bool) -> None:
        """`links`: whether symbolic links are followed, as on the auditor's own copy of a log."""
        self._folder, self._links = folder, links

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
                    _need(len(found) <= FILES_MAX, f"there are more than {FILES_MAX} files")
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
    """Steps 1 to 4 over the files of a log."""

    def __init__(self, report: Report, files: Files, keys: Sequence[Key], witnesses: Sequence[Key]) -> None:
        super().__init__(report)
        self._files, self._keys, self._witnesses = files, keys, witnesses
        self.signed_by: list[Key] = []
        self.whole = False
        """Whether the entries have the signed root: what they tell is then what the log has."""

    def run(self, earlier: Sequence[tuple[str, bytes]], origin: str | None, each: Each) -> None:
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
        for where, one in held:
            if one.size > head.size:
                self.wrong(where, f"it was signed for {one.size} entries, and the log ends at {head.size}: its tail was cut off")
        self._tree(head, held, each)
        _witnessed(self, [("checkpoint", head), *held], self._witnesses)
        _memory(report, head, [one.size for _, one in held], witnessed=bool(self._witnesses))

    def _tree(self, head: Head, held: Sequence[tuple[str, Head]], each: Each) -> None:
        """Steps 2 and 3."""
        tree, tiles, before = Tree(), _Tiles(self._files, self), self.wrongs
        asked: dict[int, list[tuple[str, Head]]] = {}
        for where, one in held:
            asked.setdefault(one.size, []).append((where, one))
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

    def _remember(self, tree: Tree, asked: Mapping[int, list[tuple[str, Head]]]) -> None:
        """Step 3, where the tree has just the size of a checkpoint that is held."""
        for where, one in asked.get(tree.size, ()):
            if tree.root() != one.root:
                what = f"the log does not continue it: the first {one.size} entries are not what they were when it was signed"
                self.wrong(where, what)
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


# -- 5: entries ----------------------------------------------------------------------------------------------------------------------


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
        said["late"], values, (actor["card"], *said["basedOn"], *details, *in_values),
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


# -- 6: the story --------------------------------------------------------------------------------------------------------------------


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
        self.erased: dict[str, int] = {}
        self.retired: dict[str, int] = {}
        """SHA-256 of keys that were replaced, and by which entry."""
        self._first_signed: dict[str, int] = {}
        self._late: list[int] = []
        self._back: list[int] = []
        self._unsynchronised = 0
        self._newest_nano = 0

    def entry(self, index: int, entry: bytes) -> None:
        """Steps 5 and 6 for one."""
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
        if said.kind == "evidence.erased":
            for digest in said.values["erased"]:
                self.erased.setdefault(digest, index)
        if said.rollout is not None:
            self._in_order(index, said, self.rollouts[said.rollout])

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
        if said.unix_nano < self._newest_nano - CLOCK_TOLERANCE_S * NANO:
            self._back.append(index)
        self._newest_nano = max(self._newest_nano, said.unix_nano)

    # -- order

    def _in_order(self, index: int, said: Statement, rollout: _Rollout) -> None:
        where = f"entry {index}"
        if rollout.ended is not None:
            self.wrong(where, f"it follows the end of the rollout {said.rollout} (entry {rollout.ended}), which is the last of it")
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


# -- 7: evidence ---------------------------------------------------------------------------------------------------------------------


def _evidence(report: Report, files: Files, folder: str, story: Story, also: frozenset[str] = frozenset()) -> None:
    """Step 7. `folder` is empty or ends in a slash; `also` are digests whose content was verified elsewhere."""
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
    found = [digest for digest in story.named if digest in good]
    if found:
        report.proven.append(f"{len(found)} blobs of evidence are what the entries name")
    unnamed = good - set(story.named) - also
    if unnamed:
        report.notes.append(f"{len(unnamed)} blobs are named by no entry here; they may be named by other blobs: {listed(sorted(unnamed))}")
    _missing(report, story, good | bad)


def _missing(report: Report, story: Story, there: set[str]) -> None:
    erased = [f"{one} (entry {index})" for one, index in story.named.items() if one not in there and one in story.erased]
    absent = [f"{one} (entry {index})" for one, index in story.named.items() if one not in there and one not in story.erased]
    if erased:
        report.not_proven.append(f"what {len(erased)} blobs said, which were erased and recorded as erased: {listed(erased)}")
    if absent:
        report.not_proven.append(f"what {len(absent)} blobs say that entries name and that are not here: {listed(absent)}")


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


# -- a log ---------------------------------------------------------------------------------------------------------------------------


def verify_tree(
    files: Files, keys: Sequence[str], *, witnesses: Sequence[str] = (), earlier: Sequence[tuple[str, bytes]] = (),
    origin: str | None = None,
) -> Report:  # fmt: skip
    """Steps 1 to 4 alone: also for logs of which the entries are not ours. Raises: Unreadable: a key is none."""
    report = Report("log")
    _Log(report, files, _keys(keys), _witness_keys(witnesses)).run(earlier, origin, lambda _index, _entry: None)
    report.not_proven.append("anything of what the entries say: only that they are in the log was looked at")
    return report


def verify_log_files(
    files: Files, keys: Sequence[str], *, witnesses: Sequence[str] = (), earlier: Sequence[tuple[str, bytes]] = (),
    evidence: Files | None = None, origin: str | None = None,
) -> Report:  # fmt: skip
    """All steps, over files from anywhere. `earlier`: checkpoints, with where they are from. Raises: Unreadable: a key is none."""
    report, believed = Report("log"), _keys(keys)
    log, story = _Log(report, files, believed, _witness_keys(witnesses)), Story(report, believed)
    log.run(earlier, origin, story.entry)
    if report.size is None:
        return report
    story.end(signed_by=log.signed_by, whole=log.whole)
    if evidence is not None:
        _evidence(report, evidence, "", story)
    elif story.named:
        report.not_proven.append(f"what the {len(story.named)} blobs of evidence say that entries name: none were given (--evidence)")
    report.not_proven.append("files that a log of this size does not need (older partial tiles, commits, what was staged): not read")
    return report


def verify_log(
    folder: str | Path, keys: Sequence[str], *, witnesses: Sequence[str] = (), checkpoints: Sequence[str | Path] = (),
    evidence: str | Path | None = None, origin: str | None = None,
) -> Report:  # fmt: skip
    """A whole log in a folder. `checkpoints`: files with earlier ones.

    Raises: Unreadable: a folder or file is not there, or a key is none.
    """
    return verify_log_files(
        Folder(_folder(folder), links=True), keys, witnesses=witnesses, earlier=_checkpoints(checkpoints), origin=origin,
        evidence=None if evidence is None else Folder(_folder(evidence), links=False),
    )  # fmt: skip


def _keys(keys: Sequence[str]) -> list[Key]:
    """Raises: Unreadable: one is no key, or there is none."""
    if not keys:
        msg = "no key was given: without one nothing can be believed (--key)"
        raise Unreadable(msg)
    return [read_key(one) for one in keys]


def _witness_keys(keys: Sequence[str]) -> list[Key]:
    return [read_key(one, witness=True) for one in keys]


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


def _checkpoints(files: Sequence[str | Path]) -> list[tuple[str, bytes]]:
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


def verify_proof(
    proof: bytes, entry: bytes, keys: Sequence[str], *, witnesses: Sequence[str] = (), origin: str | None = None, ours: bool = True
) -> Report:
    """That an entry is in a log: steps 1, 2, 4 and 5. `ours`: the entry is one of ours, and not only some bytes.

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
    """Step 5 for an entry without those around it."""
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

    def __init__(self, report: Report, files: Files, keys: Sequence[Key], witnesses: Sequence[Key]) -> None:
        super().__init__(report)
        self._files, self._keys, self._witnesses = files, keys, witnesses
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
        held = _held(self, earlier, head, self._keys)
        self._remember(head, held)
        _witnessed(self, [("checkpoint", head), *held], self._witnesses)
        _memory(report, head, [one.size for _, one in held if one.size == head.size], witnessed=bool(self._witnesses))
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
            self.report.proven.append(f"the pack has the {len(files)} files of its manifest, unchanged, and no others")

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

    def _remember(self, head: Head, held: Sequence[tuple[str, Head]]) -> None:
        """Step 3, as far as a pack goes: a head of the same size is the same head."""
        for where, one in held:
            if one.size == head.size and one.root != head.root:
                self.wrong(where, f"it is another head of {head.size} entries: somebody signed two histories")
            elif one.size == head.size:
                self.report.proven.append(f"its head is the one held in {where}")
            else:
                what = f"that its head and the checkpoint of {one.size} entries held in {where} are of one history: the whole log shows it"
                self.report.not_proven.append(what)


def _of_entry(index: int) -> tuple[tuple[str, str], tuple[str, str]]:
    return (f"entries/{index}", "json"), (f"proofs/{index}", "tlog-proof")


def verify_pack(
    pack: str | Path, keys: Sequence[str], *, witnesses: Sequence[str] = (), checkpoints: Sequence[str | Path] = (),
    origin: str | None = None,
) -> Report:  # fmt: skip
    """An evidence pack: a zip file, or the folder it was unpacked to. Raises: Unreadable: it is not there, or a key is none."""
    report, path = Report("pack"), Path(pack)
    believed, witness_keys, earlier = _keys(keys), _witness_keys(witnesses), _checkpoints(checkpoints)
    if path.is_dir():
        _Pack(report, Folder(path, links=False), believed, witness_keys).run(earlier, origin)
        return report
    if not path.is_file():
        msg = f"there is no pack {shown(str(pack))}"
        raise Unreadable(msg)
    try:
        with path.open("rb") as file, closing(Zip(file)) as files:
            _Pack(report, files, believed, witness_keys).run(earlier, origin)
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
    proof = commands.add_parser("proof", parents=[common], help="one entry with its proof", allow_abbrev=False)
    proof.add_argument("proof", metavar="FILE.tlog-proof")
    proof.add_argument("entry")
    pack = commands.add_parser("pack", parents=[common], help="an evidence pack", allow_abbrev=False)
    pack.add_argument("pack", metavar="PACK.zip")
    for command in (log, pack):
        command.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="a checkpoint that you hold")
    return parser


def _asked(asked: argparse.Namespace) -> Report:
    """Raises: Unreadable."""
    common = {"witnesses": asked.witness, "origin": asked.origin}
    if asked.command == "log":
        return verify_log(asked.folder, asked.key, checkpoints=asked.checkpoint, evidence=asked.evidence, **common)
    if asked.command == "pack":
        return verify_pack(asked.pack, asked.key, checkpoints=asked.checkpoint, **common)
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
