"""People with keys, and what they say: for tests of approvals."""

from dataclasses import replace
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verdigris.approvals.approval import ENDING, Approval, ApprovalDecision, SignedApproval, Verified, verify
from verdigris.approvals.people import People, Person
from verdigris.approvals.signing import FileSigner
from verdigris.approvals.ssh_key import PublicKey
from verdigris.plan.gates import Role
from verdigris.times import NANO, unix_nano

ROLLOUT, OTHER_ROLLOUT = "20261103-200000-abcd", "20261103-200001-abcd"
PLAN, OTHER_PLAN, SHOWN, OTHER_SHOWN = (sha256(name).hexdigest() for name in (b"plan", b"other plan", b"shown", b"other shown"))
NOW = unix_nano("2026-11-03T20:00:00.000000000Z")
MINUTE = 60 * NANO


def private(name: str) -> Ed25519PrivateKey:
    """The same key for the same name, always."""
    return Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())


def public(name: str) -> PublicKey:
    return PublicKey.of(private(name).public_key())


def person(name: str, *roles: Role, keys: tuple[str, ...] = (), from_: int | None = None, until: int | None = None) -> Person:
    return Person(name, frozenset(roles), tuple(public(key) for key in keys or (name,)), from_, until)


AUTHOR = person("a.meyer", Role.AUTHOR, Role.APPROVER)
KLEIN = person("b.klein", Role.APPROVER, Role.TESTER, keys=("b.klein", "b.klein's other"))
CRUZ = person("c.cruz", Role.APPROVER)
DAHL = person("d.dahl", Role.TESTER)
ENGEL = person("e.engel", Role.SECURITY)
PEOPLE = People((AUTHOR, KLEIN, CRUZ, DAHL, ENGEL))

GIVE = Approval(ApprovalDecision.GIVE, ROLLOUT, PLAN, 1, SHOWN, Role.APPROVER, "", NOW - 10 * MINUTE, NOW + 10 * MINUTE)


def at(minutes: float) -> int:
    return NOW + int(minutes * MINUTE)


def without(name: str, *others: Person) -> People:
    return People((*(one for one in PEOPLE.people if one.name != name), *others))


def said(decision: ApprovalDecision, base: Approval = GIVE, **changes: object) -> Approval:
    """`base` with another decision, and with a reason and an end as that has them."""
    end = base.expires_unix_nano if decision in ENDING else None
    return replace(base, **{"decision": decision, "reason": "because", "expires_unix_nano": end, **changes})  # type: ignore[arg-type]


def signed(approval: Approval, key: str) -> SignedApproval:
    document = approval.document()
    return SignedApproval(document, FileSigner.of(private(key)).sign(document))


def verified(approval: Approval, key: str, people: People = PEOPLE, now: int | None = None) -> Verified:
    """As it came in, when it was signed."""
    return verify(signed(approval, key), people, approval.issued_unix_nano if now is None else now)
