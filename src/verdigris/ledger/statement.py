"""What an entry is: an in-toto Statement in a DSSE envelope, in canonical JSON, with nothing in it that somebody outside chose.

Every string in an entry is one of a fixed list, a SHA-256, a rollout's id as the guard makes it, or a time. What people and programs
wrote (names, reasons, messages, names of operations) is in a *details* blob beside the log, with a random salt, and the entry has its
digest: a blob can be erased, and what stays does not let anybody guess what it said.

Sources: in-toto Statement v1, DSSE v1 (github.com/secure-systems-lab/dsse), RFC 8785, RFC 3339.
"""

import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Signature as EnvelopeSignature

from verdigris.ledger.entry_kinds import COUNT_MAX, KINDS, Field, Kind, Type, Value, wrong_value
from verdigris.ledger.errors import LedgerError
from verdigris.ledger.note import VerifierKey, strict_base64
from verdigris.ledger.signing import Signer
from verdigris.times import rfc3339, unix_nano

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_BASE = "https://verdigris.dev/ledger/"
BASED_ON_MAX = 200
_ERROR_MS = Field(Type.COUNT, none=True)
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_ROLLOUT = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4,12}\Z")


class InvalidEntry(LedgerError):
    """Something is not an entry of a ledger, or not signed by a trusted key. Safe: nothing of it was believed or written."""


class ActorKind(StrEnum):
    """What kind of actor did it."""

    PERSON = "person"
    GUARD = "guard"


class Outcome(StrEnum):
    """How what an entry speaks of stands."""

    ANNOUNCED = "announced"
    """It is about to be done."""
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who. `card`: digest of a details blob that has the name, the role and from where; erasable as all details are."""

    kind: ActorKind
    card: str


@dataclass(frozen=True, slots=True)
class Clock:
    """Which clock gave the time. `synchronised`: by the operating system's word; `error_ms`: its bound, None where it knows none."""

    synchronised: bool
    error_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """One entry.

    Args:
        kind: what happened.
        rollout: its id; None for what belongs to no rollout.
        sequence: from 1 on, without a gap: inside the rollout, or inside what one guard says of itself.
        plan: the SHA-256 of the rollout's plan; None where there is none.
        based_on: SHA-256 of evidence.
        details: SHA-256 of the details blob.
        late: it was entered after the act it speaks of, because the ledger could not be written then.
    """

    kind: Kind
    rollout: str | None
    sequence: int
    actor: Actor
    unix_nano: int
    clock: Clock
    outcome: Outcome
    plan: str | None = None
    based_on: tuple[str, ...] = ()
    details: str | None = None
    late: bool = False
    values: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        wrong = self._wrong()
        if wrong:
            msg = f"not an entry of kind {self.kind.value}: {wrong}"
            raise InvalidEntry(msg)

    def _wrong(self) -> str | None:
        """What is wrong with it; None if nothing is."""
        return self._wrong_type() or self._wrong_form() or self._wrong_values()

    def _wrong_type(self) -> str | None:
        if type(self.sequence) is not int or type(self.unix_nano) is not int or type(self.late) is not bool:
            return "a number or a flag is of another type"
        if type(self.clock.synchronised) is not bool or wrong_value(self.clock.error_ms, _ERROR_MS):
            return "what it says of the clock is not a flag and a number"
        return None if all(type(d) is str for d in (self.actor.card, *self.based_on)) else "a digest is not text"

    def _wrong_form(self) -> str | None:
        digests = [self.actor.card, *self.based_on, *(d for d in (self.plan, self.details) if d is not None)]
        if not all(_DIGEST.match(d) for d in digests):
            return "a digest is not 64 hexadecimal digits"
        if self.rollout is not None and not _ROLLOUT.match(self.rollout):
            return "the rollout's id is not one that a guard makes"
        if (self.rollout is None) != (self.plan is None):
            return "what belongs to a rollout names its plan, and nothing else does"
        in_bounds = 1 <= self.sequence <= COUNT_MAX and self.unix_nano >= 0 and len(self.based_on) <= BASED_ON_MAX
        return None if in_bounds else "a number is out of its bounds"

    def _wrong_values(self) -> str | None:
        fields = KINDS[self.kind]
        unknown = sorted(set(self.values) - set(fields))
        missing = sorted(name for name, spec in fields.items() if spec.required and name not in self.values)
        if unknown or missing:
            return f"unknown values: {', '.join(unknown) or 'none'}; missing values: {', '.join(missing) or 'none'}"
        return next((f"{name} {why}" for name, value in self.values.items() if (why := wrong_value(value, fields[name]))), None)

    def payload(self) -> bytes:
        """The in-toto Statement, as RFC 8785 JSON."""
        name, digest = ("plan", self.plan) if self.plan is not None else ("guard", self.actor.card)
        predicate: dict[str, Any] = {
            "sequence": self.sequence,
            "actor": {"kind": self.actor.kind.value, "card": self.actor.card},
            "time": rfc3339(self.unix_nano),
            "clock": {"synchronised": self.clock.synchronised, "errorMs": self.clock.error_ms},
            "outcome": self.outcome.value,
            "basedOn": list(self.based_on),
            "details": self.details,
            "late": self.late,
            "values": dict(self.values),
        }
        if self.rollout is not None:
            predicate["rollout"] = self.rollout
        return rfc8785.dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": name, "digest": {"sha256": digest}}],
                "predicateType": f"{PREDICATE_BASE}{self.kind.value}/v1",
                "predicate": predicate,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> "Statement":
        """What `payload` gives; anything else is refused, also the same in other bytes. Raises: InvalidEntry."""
        try:
            document = json.loads(payload)
            kind = Kind(document["predicateType"].removeprefix(PREDICATE_BASE).removesuffix("/v1"))
            predicate = document["predicate"]
            rollout = predicate.get("rollout")
            statement = cls(
                kind=kind, rollout=rollout, sequence=predicate["sequence"],
                actor=Actor(ActorKind(predicate["actor"]["kind"]), predicate["actor"]["card"]),
                unix_nano=unix_nano(predicate["time"]),
                clock=Clock(predicate["clock"]["synchronised"], predicate["clock"]["errorMs"]),
                outcome=Outcome(predicate["outcome"]),
                plan=document["subject"][0]["digest"]["sha256"] if rollout is not None else None,
                based_on=tuple(predicate["basedOn"]), details=predicate["details"], late=predicate["late"],
                values={name: tuple(v) if isinstance(v, list) else v for name, v in predicate["values"].items()},
            )  # fmt: skip
            same = statement.payload() == payload
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            msg = f"not an entry of a ledger: {error!r}"
            raise InvalidEntry(msg) from error
        if not same:
            msg = "an entry is not in canonical form, or says more than its kind has"
            raise InvalidEntry(msg)
        return statement


NOT_EVIDENCE = frozenset({"judge", "key", "old", "new"})
"""Digests in values that name source code and keys; all others name blobs."""


def named_evidence(statement: Statement) -> Iterator[str]:
    """The SHA-256 of every blob that an entry names; what it says to be erased is not among them."""
    yield statement.actor.card
    yield from statement.based_on
    if statement.details is not None:
        yield statement.details
    for name, spec in KINDS[statement.kind].items():
        value = statement.values.get(name)
        if spec.type is Type.DIGEST and isinstance(value, str) and name not in NOT_EVIDENCE:
            yield value


def key_id(key: VerifierKey) -> str:
    """How envelopes name a key: the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public).hexdigest()


def signed(statement: Statement, signers: Sequence[Signer]) -> bytes:
    """The envelope around a statement, as RFC 8785 JSON; what the log has as an entry. Raises: SignerFailed."""
    envelope = Envelope(statement.payload(), PAYLOAD_TYPE, {})
    for signer in signers:
        envelope.signatures[key_id(signer.key)] = EnvelopeSignature(key_id(signer.key), signer.sign(envelope.pae()).hex())
    return rfc8785.dumps(envelope.to_dict())


def opened(entry: bytes, trusted: Sequence[VerifierKey]) -> tuple[Statement, tuple[VerifierKey, ...]]:
    """The statement in an entry, and which trusted keys have signed it. Every signature must be good and of a trusted key.

    Raises: InvalidEntry.
    """
    try:
        document = json.loads(entry)
        payload = strict_base64(document["payload"])
        named = [(one["keyid"], strict_base64(one["sig"])) for one in document["signatures"]]
        bare = all(set(one) == {"keyid", "sig"} and type(one["keyid"]) is str for one in document["signatures"])
        same = rfc8785.dumps(document) == entry and set(document) == {"payload", "payloadType", "signatures"}
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError, rfc8785.CanonicalizationError) as error:
        msg = f"not an envelope: {error!r}"
        raise InvalidEntry(msg) from error
    if not same or not bare or document["payloadType"] != PAYLOAD_TYPE or not named or len({one for one, _ in named}) < len(named):
        msg = "an envelope is not in canonical form, says more than it may, has another payload type, or not one signature per key"
        raise InvalidEntry(msg)
    keys = {key_id(key): key for key in trusted}
    message = Envelope(payload, PAYLOAD_TYPE, {}).pae()
    found = []
    for named_id, signature in named:
        key = keys.get(named_id)
        if key is None:
            msg = f"an entry is signed by a key that is not trusted here: {str(named_id)[:64]}"
            raise InvalidEntry(msg)
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
        except InvalidSignature as error:
            msg = f"the signature of {key.name} on an entry is wrong: it was changed, or the signature forged"
            raise InvalidEntry(msg) from error
        found.append(key)
    return Statement.from_payload(payload), tuple(found)
