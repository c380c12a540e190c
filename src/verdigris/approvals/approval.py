"""The approval: what somebody says about one step of one rollout, signed with their own SSH key. Pure.

What is signed are the bytes of the document: RFC 8785 JSON, one spelling for one meaning, that a person can read and sign by hand:

    ssh-keygen -Y sign -n approval@verdigris.dev -f ~/.ssh/id_ed25519 approval.json

It names the plan by its digest and what was shown at the time by its own, so that it says nothing about another plan or other findings.
A give has an end. A refusal has none, and stands until it is withdrawn; a withdrawal has none, because what ends would come back.

Sources: RFC 8785, RFC 3339, OpenSSH's PROTOCOL.sshsig.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import rfc8785

from verdigris.approvals.errors import ApprovalError
from verdigris.approvals.people import People, Person
from verdigris.approvals.ssh_signature import ARMORED_BYTES_MAX, SshSignature
from verdigris.plan.gates import Role
from verdigris.times import DAY_NANO, NANO, UNIX_NANO_MAX, rfc3339, unix_nano

TYPE = "https://verdigris.dev/approval/v1"
START = -1
"""The step that stands for the start of a rollout; the plan's own count from 0."""
STEP_MAX = 50
"""A plan has at most fifty steps; the number after the last stands for the switch."""
REASON_CHARS_MAX = 4_000
DOCUMENT_BYTES_MAX = 32_768
SIGNED_BYTES_MAX = 2 * DOCUMENT_BYTES_MAX + 2 * ARMORED_BYTES_MAX
"""The document and its signature as JSON texts, where a quotation mark takes two bytes."""
LIFETIME_MAX_NANO = 30 * DAY_NANO
AHEAD_MAX_NANO = 120 * NANO
"""So far a signer's clock may be ahead of ours."""
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_ROLLOUT = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4,12}\Z")
_FIELDS = frozenset({"type", "decision", "rollout", "plan", "step", "shown", "role", "reason", "issued", "expires"})


class InvalidApproval(ApprovalError):
    """An approval is malformed, or its time is past or has not come. Safe: it was not counted."""


class NotEntitled(ApprovalError):
    """An approval is signed by nobody who is known, or not by one who may say this. Safe: it was not counted."""


class ApprovalDecision(StrEnum):
    """What is said."""

    GIVE = "give"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    """All that the same person has said about the step before."""
    OVERRIDE_FREEZE = "override-freeze"
    REVIEW = "review"
    """What was done in spite of a freeze was looked at afterwards."""


ENDING = frozenset({ApprovalDecision.GIVE, ApprovalDecision.OVERRIDE_FREEZE})
"""These move something forward, and have an end; the others have none."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What one person says. Raises: InvalidApproval: on being made.

    Args:
        rollout: its id.
        plan: the plan's digest, SHA-256 in hex.
        step: counted from 0 as in the plan; -1 is the start.
        shown: SHA-256 in hex of what the signer was shown (findings, verdict); None: there was nothing yet.
        role: the one that the signer acts in.
        reason: may be empty for a give only.
        expires_unix_nano: for a give and an override, at most 30 days after `issued_unix_nano`; None for all others.
    """

    decision: ApprovalDecision
    rollout: str
    plan: str
    step: int
    shown: str | None
    role: Role
    reason: str
    issued_unix_nano: int
    expires_unix_nano: int | None = None

    def __post_init__(self) -> None:
        wrong = self._wrong()
        if wrong:
            msg = f"not an approval: {wrong}"
            raise InvalidApproval(msg)

    def _wrong(self) -> str | None:
        if not _ROLLOUT.match(self.rollout):
            return "the rollout's id is not one that a guard makes"
        if not _DIGEST.match(self.plan) or (self.shown is not None and not _DIGEST.match(self.shown)):
            return "a digest is not 64 hexadecimal digits"
        if type(self.step) is not int or not START <= self.step <= STEP_MAX:
            return f"a step is a number from {START} (the start) to {STEP_MAX}"
        return _wrong_reason(self.reason, self.decision) or self._wrong_times()

    def _wrong_times(self) -> str | None:
        issued, expires = self.issued_unix_nano, self.expires_unix_nano
        if not 0 <= issued < UNIX_NANO_MAX - LIFETIME_MAX_NANO:
            return "its time is out of all bounds"
        if (expires is not None) != (self.decision in ENDING):
            return f"what ends is a {' or an '.join(sorted(ENDING))}, and nothing else"
        if expires is not None and not issued < expires <= issued + LIFETIME_MAX_NANO:
            return f"it ends before it begins, or later than {LIFETIME_MAX_NANO // DAY_NANO} days after"
        return None

    def document(self) -> bytes:
        """What is signed."""
        return rfc8785.dumps({
            "type": TYPE, "decision": self.decision.value, "rollout": self.rollout, "plan": self.plan, "step": self.step,
            "shown": self.shown, "role": self.role.value, "reason": self.reason, "issued": rfc3339(self.issued_unix_nano),
            "expires": None if self.expires_unix_nano is None else rfc3339(self.expires_unix_nano),
        })  # fmt: skip

    @classmethod
    def parse(cls, document: bytes) -> "Approval":
        """What `document` gives; anything else is refused, also the same in other bytes. Raises: InvalidApproval."""
        fields = _json(document, DOCUMENT_BYTES_MAX, "an approval")
        if set(fields) != _FIELDS or fields["type"] != TYPE:
            msg = f"not an approval: it is not of type {TYPE}, or has other fields"
            raise InvalidApproval(msg)
        try:
            approval = cls(
                ApprovalDecision(fields["decision"]), fields["rollout"], fields["plan"], fields["step"], fields["shown"],
                Role(fields["role"]), fields["reason"], unix_nano(fields["issued"]),
                None if fields["expires"] is None else unix_nano(fields["expires"]),
            )  # fmt: skip
            same = approval.document() == document
        except (ValueError, TypeError, AttributeError) as error:
            msg = f"not an approval: {error}"
            raise InvalidApproval(msg) from error
        if not same:
            msg = "an approval is not in canonical form (RFC 8785): sign the file as it was made"
            raise InvalidApproval(msg)
        return approval


def _wrong_reason(reason: str, decision: ApprovalDecision) -> str | None:
    if not reason and decision is not ApprovalDecision.GIVE:
        return f"a {decision.value} has a reason"
    if len(reason) > REASON_CHARS_MAX or reason != reason.strip() or not all(line.isprintable() for line in reason.split("\n")):
        return f"a reason is at most {REASON_CHARS_MAX} visible characters and line ends, without space around them"
    return None


@dataclass(frozen=True)
class SignedApproval:
    """An approval's bytes and the signature over them: what is sent, kept and shown to an auditor. Nothing is verified yet."""

    document: bytes
    signature: SshSignature

    def to_bytes(self) -> bytes:
        """Both in one file: RFC 8785 JSON with the texts `approval` and `signature`. Raises: InvalidApproval: it is no text."""
        try:
            return rfc8785.dumps({"approval": self.document.decode("utf-8"), "signature": str(self.signature)})
        except UnicodeDecodeError as error:
            msg = "not an approval: it is not UTF-8"
            raise InvalidApproval(msg) from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex of `to_bytes`. Nobody can guess it from what the document might say: the signature is in it."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def parse(cls, signed: bytes) -> "SignedApproval":
        """What `to_bytes` gives, and nothing else. Raises: InvalidApproval, InvalidSshSignature."""
        fields = _json(signed, SIGNED_BYTES_MAX, "a signed approval")
        if set(fields) != {"approval", "signature"} or not all(isinstance(text, str) for text in fields.values()):
            msg = "not a signed approval: it has the texts approval and signature, and nothing else"
            raise InvalidApproval(msg)
        try:
            parsed = cls(fields["approval"].encode("utf-8"), SshSignature.parse(fields["signature"]))
        except UnicodeEncodeError as error:
            msg = "not a signed approval: it is not UTF-8"
            raise InvalidApproval(msg) from error
        if parsed.to_bytes() != signed:
            msg = "a signed approval is not in canonical form (RFC 8785)"
            raise InvalidApproval(msg)
        return parsed


@dataclass(frozen=True)
class Verified:
    """An approval, and the person who has signed it, as known when it came in. Only `verify` and `restored` make one.

    Keep it as it is: who signed it is decided once. What may end (keys, roles, times) the gate looks at again, each time.
    """

    approval: Approval
    person: Person
    signed: SignedApproval

    @property
    def digest(self) -> str:
        """Of the signed approval, as the record names it."""
        return self.signed.digest


def verify(signed: SignedApproval, people: People, now_unix_nano: int) -> Verified:
    """An approval as it comes in: whole, of its time, and by somebody who may say this.

    1. The document is an approval in canonical form.
    2. The signature is over these bytes, for approvals, by the key in it.
    3. That key belongs to a known person.
    4. It was not issued ahead of time, and has not ended.
    5. The person was valid when it was issued, is valid now, and has the role that it is said in.

    `now_unix_nano`: when it came in; an auditor gives the time in the record, with the people as they were known then.
    Raises: InvalidApproval (1, 4), InvalidSshSignature (2), NotEntitled (3, 5).
    """
    approval = Approval.parse(signed.document)
    signed.signature.verify(signed.document)
    person = people.owner(signed.signature.key)
    if person is None:
        msg = (
            f"nobody known has the key {signed.signature.key.fingerprint} that signed this approval; "
            "sign with a key from the list of people, or have yours added"
        )
        raise NotEntitled(msg)
    wrong = untimely(approval, now_unix_nano)
    if wrong:
        msg = f"the {approval.decision.value} by {person.name} {wrong}"
        raise InvalidApproval(msg)
    issued = approval.issued_unix_nano
    wrong = why_not_entitled(approval, person, now_unix_nano)
    if wrong is None and not person.is_valid(issued):
        wrong = f"was not valid at {rfc3339(issued)}, when it was signed"
    if wrong:
        msg = f"{person.name} {wrong}"
        raise NotEntitled(msg)
    return Verified(approval, person, signed)


def restored(signed: SignedApproval, person: Person) -> Verified:
    """An approval as `verify` once gave it, from what was kept. Its time is over or not: that the gate looks at.

    Args:
        person: as they were known when it came in.
    Raises: InvalidApproval, InvalidSshSignature, NotEntitled: what was kept has been changed since.
    """
    approval = Approval.parse(signed.document)
    signed.signature.verify(signed.document)
    if signed.signature.key not in person.keys:
        msg = f"the approval that was kept as {person.name}'s is signed with another key: somebody has changed what was kept"
        raise NotEntitled(msg)
    return Verified(approval, person, signed)


def untimely(approval: Approval, now_unix_nano: int) -> str | None:
    """Why an approval's time is not now, in words; None if it is."""
    if approval.issued_unix_nano > now_unix_nano + AHEAD_MAX_NANO:
        return f"is dated {rfc3339(approval.issued_unix_nano)}, which has not come: set the clock where it was signed"
    if approval.expires_unix_nano is not None and approval.expires_unix_nano <= now_unix_nano:
        return f"has ended at {rfc3339(approval.expires_unix_nano)}: sign a new one"
    return None


def why_not_entitled(approval: Approval, person: Person, now_unix_nano: int) -> str | None:
    """Why a person may not say this now, in words; None if they may."""
    if not person.is_valid(now_unix_nano):
        return "is not valid now"
    if approval.role not in person.roles:
        return f"does not have the role {approval.role.value}"
    return None


def _json(text: bytes, bytes_max: int, what: str) -> dict[str, Any]:
    """A JSON object. Raises: InvalidApproval."""
    if len(text) > bytes_max:
        msg = f"{what} may have {bytes_max} bytes"
        raise InvalidApproval(msg)
    try:
        fields = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"not {what}: {error}"
        raise InvalidApproval(msg) from error
    if not isinstance(fields, dict):
        msg = f"not {what}: it is no JSON object"
        raise InvalidApproval(msg)
    return fields
