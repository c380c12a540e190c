"""Step 8 of the verifier: what people signed, and whether what moved had it. Whatever is tampered with is found and said where."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from hypothesis import given as by_hypothesis
from hypothesis import settings
from hypothesis import strategies as st
from tests.unit.approval_people import AUTHOR, CRUZ, KLEIN, OTHER_PLAN, OTHER_ROLLOUT, person, private
from tests.unit.audit_logs import KEY, Memory, digest, sealed
from tests.unit.signed_logs import (
    DAY,
    GIVE,
    HOLIDAY,
    MINUTE,
    OVERRIDE,
    PLAN,
    REFUSE,
    START_OF,
    WITHDRAW,
    Signed,
    approved,
    overridden,
    to_the_gate,
)
from tests.unit.test_ssh_signature import HARDWARE, Hardware

from verdigris.approvals.approval import (
    AHEAD_MAX_NANO,
    DOCUMENT_BYTES_MAX,
    LIFETIME_MAX_NANO,
    REASON_CHARS_MAX,
    SIGNED_BYTES_MAX,
    STEP_MAX,
    TYPE,
    Approval,
    ApprovalDecision,
    SignedApproval,
    Verified,
)
from verdigris.approvals.gate import REVIEWERS
from verdigris.approvals.people import KEYS_MAX, Person
from verdigris.approvals.signing import FileSigner
from verdigris.approvals.ssh_key import BLOB_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN, KeyType
from verdigris.approvals.ssh_signature import NAMESPACE, SshSignature
from verdigris.audit import verify
from verdigris.audit.verify import Refused, Report, check_ssh_signature, read_asked, verify_log_files
from verdigris.ledger.entry_kinds import Kind
from verdigris.plan.gates import QUORUM_MAX, Role
from verdigris.rollout.kept_approvals import APPROVALS_MAX
from verdigris.rollout.position import Position
from verdigris.rollout.transitions import TRANSITIONS, Event, Phase
from verdigris.times import NANO


def of(told: Signed, without: tuple[str, ...] = ()) -> Report:
    """What the verifier says. `without`: what was erased, after the end, as an entry of the guard's says."""
    if without:
        if told.told[-1].kind is not Kind.ROLLOUT_ENDED:
            told.add(Kind.ROLLOUT_ENDED, {"phase": "rolled back"})
        told.erased(without)
    evidence = {name: blob for name, blob in told.evidence.items() if name not in without}
    return verify_log_files(sealed(told.log()), [KEY], evidence=Memory(files=evidence))


def says(lines: list[str], *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in lines)


def found(report: Report, where: str, what: str) -> None:
    assert any(one.where == where and what in one.what for one in report.problems), report.problems


def last(told: Signed, kind: Kind) -> str:
    """Where the last entry of a kind is."""
    return f"entry {[one.index for one in told.entries() if one.statement.kind is kind][-1]}"


def test_its_words_and_bounds_are_the_writers() -> None:
    assert set(Role) == verify.ROLES
    assert set(verify.DECISIONS.values()) == set(ApprovalDecision)
    assert {role for need in REVIEWERS.needs for role in need.roles} == verify.REVIEWERS
    assert set(verify.SSH_ALGORITHMS) == set(KeyType)
    assert (verify.APPROVAL_TYPE, verify.APPROVAL_NAMESPACE, verify.QUORUM_MAX) == (TYPE, NAMESPACE, QUORUM_MAX)
    assert verify.REASON_CHARS_MAX == REASON_CHARS_MAX
    assert (verify.DOCUMENT_BYTES_MAX, verify.STEP_MAX) == (DOCUMENT_BYTES_MAX, STEP_MAX)
    assert verify.SIGNED_BYTES_MAX >= SIGNED_BYTES_MAX
    assert (verify.PERSON_KEYS_MAX, verify.WORDS_MAX) == (KEYS_MAX, APPROVALS_MAX)
    assert (verify.RSA_BITS_MIN, verify.RSA_BITS_MAX, verify.SSH_BYTES_MAX) == (RSA_BITS_MIN, RSA_BITS_MAX, BLOB_BYTES_MAX)
    assert {event for event in Event if Position(Phase.WATCHING).step < moved(event)} == verify.FORWARD
    assert (verify.AHEAD_S * NANO, verify.LIFETIME_S * NANO) == (AHEAD_MAX_NANO, LIFETIME_MAX_NANO)


def moved(event: Event) -> int:
    """The step after an event, in whatever phase it can happen; -1 is where it began."""
    phases = [phase for phase in Phase if event in TRANSITIONS.get(phase, {})]
    return Position(phases[0]).moved(event, "", 0.0).step


def test_a_plan_asks_what_it_asks() -> None:
    asked = read_asked(PLAN.canonical)
    assert asked.author == "a.meyer"
    gates = [*(step.gate for step in PLAN.steps), PLAN.switch_gate]
    assert [len(gate) for gate in gates] == [0, 0, 1, 2]
    for theirs, ours in zip(gates, asked.gates, strict=True):
        assert list(ours) == [(frozenset(role.value for role in need.roles), need.quorum) for need in theirs]
    freeze = PLAN.schedule.freezes[0]
    assert [list(one) for one in asked.freezes] == [[freeze.start_unix_s * NANO, freeze.end_unix_s * NANO]]
    assert asked.review_within_s == 3 * 86_400


def test_what_everybody_signed_is_proven() -> None:
    report = of(approved())
    assert report.problems == []
    assert says(report.proven, "4 words of people are signed", "2 moves through gates had all whom the plan asks")
    assert says(report.not_proven, "that the people are who the guard's list of people says")
    assert not says(report.not_proven, "had been agreed to")


def test_a_refusal_that_was_taken_back_holds_nothing_up() -> None:
    told = to_the_gate().says("b.klein", REFUSE, 2).says("c.cruz", GIVE, 2).says("b.klein", WITHDRAW, 2).says("b.klein", GIVE, 2)
    assert of(told.step(2, "approved")).problems == []


def test_an_override_and_its_review() -> None:
    told = overridden()
    report = of(told)
    assert report.problems == []
    assert says(report.notes, "the review of a freeze's override", "is open; due 2026-12-28")
    assert not says(report.notes, "OVERDUE")
    told.now += 4 * DAY
    assert says(of(told.step(1, "resumed")).notes, "OVERDUE")
    done = of(overridden().reviewed("c.cruz"))
    assert done.problems == []
    assert not says(done.notes, "review")
    assert says(done.proven, "2 words of people")


Tamper = Callable[[], tuple[Signed, str, str]]
TAMPERED: dict[str, Tamper] = {}


def tamper(make: Callable[[], tuple[Signed, str | Kind, str]]) -> None:
    def made() -> tuple[Signed, str, str]:
        told, where, what = make()
        return told, last(told, where) if isinstance(where, Kind) else where, what

    TAMPERED[make.__name__] = made


def one_gives(**changes: Any) -> Signed:
    """One of two approvers is good; the other is `changes`."""
    key = changes.pop("key", "c.cruz")
    return to_the_gate().says("b.klein", GIVE, 2).says(key, GIVE, changes.pop("step", 2), changes.pop("role", Role.APPROVER), **changes)


@tamper
def approval_blob_replaced() -> tuple[Signed, str | Kind, str]:
    told = approved()
    name, other = [str(one.values["approval"]) for one in told.told if one.kind is Kind.APPROVAL_GIVEN][:2]
    told.evidence[name] = told.evidence[other]
    return told, f"evidence {name}", "another SHA-256"


@tamper
def document_changed_under_its_signature() -> tuple[Signed, str | Kind, str]:
    told = to_the_gate().says("b.klein", GIVE, 2)
    given = told.signatures()[0]
    document = given.document.replace(b"because it is so", b"because I say so")
    told.enter(Verified(Approval.parse(given.document), KLEIN, SignedApproval(document, given.signature)))
    return told, Kind.APPROVAL_GIVEN, "has not signed it"


@tamper
def signature_of_another_key() -> tuple[Signed, str | Kind, str]:
    return one_gives(signs="e.engel"), Kind.APPROVAL_GIVEN, "which is none of 'c.cruz'"


@tamper
def another_rollouts_approval() -> tuple[Signed, str | Kind, str]:
    return one_gives(rollout=OTHER_ROLLOUT), Kind.APPROVAL_GIVEN, "it was signed about the rollout"


@tamper
def another_plans_approval() -> tuple[Signed, str | Kind, str]:
    return one_gives(plan=OTHER_PLAN), Kind.APPROVAL_GIVEN, "about another plan"


@tamper
def another_steps_approval() -> tuple[Signed, str | Kind, str]:
    return one_gives(step=3, entered_step=2), Kind.APPROVAL_GIVEN, "about the step 3, and the entry says 2"


@tamper
def another_decision_than_the_kind() -> tuple[Signed, str | Kind, str]:
    told = to_the_gate().says("b.klein", REFUSE, 2)
    told.told[-1] = replace(told.told[-1], kind=Kind.APPROVAL_GIVEN)
    return told, Kind.APPROVAL_GIVEN, "is a 'refuse', and a approval.given needs a give"


@tamper
def shown_is_another() -> tuple[Signed, str | Kind, str]:
    told = one_gives(about="one")
    told.told[-1] = replace(told.told[-1], based_on=(*told.told[-1].based_on[:2], told.shown(2, "another")))
    return told, Kind.APPROVAL_GIVEN, "does not rest on what was signed and on one person"


@tamper
def shown_of_another_step() -> tuple[Signed, str | Kind, str]:
    told = to_the_gate()
    told.says("b.klein", GIVE, 2, shown=told.shown(1, "the step before"))
    return told, Kind.APPROVAL_GIVEN, "is about another rollout, plan or step"


@tamper
def issued_after_it_came_in() -> tuple[Signed, str | Kind, str]:
    told = to_the_gate()
    later = told.now + MINUTE + AHEAD_MAX_NANO + 1
    return told.says("b.klein", GIVE, 2, issued_unix_nano=later, expires_unix_nano=later + MINUTE), Kind.APPROVAL_GIVEN, "after it came in"


@tamper
def expired_when_it_came_in() -> tuple[Signed, str | Kind, str]:
    told = to_the_gate()
    then = told.now - 10 * MINUTE
    return told.says("b.klein", GIVE, 2, issued_unix_nano=then, expires_unix_nano=then + MINUTE), Kind.APPROVAL_GIVEN, "it had ended"


@tamper
def expired_when_the_gate_opened() -> tuple[Signed, str | Kind, str]:
    told = one_gives()
    told.now += 3 * 60 * MINUTE
    return told.step(2, "approved"), "entry 12", "its gate was not open: it asks for 2 of approver"


@tamper
def role_that_the_person_has_not() -> tuple[Signed, str | Kind, str]:
    return one_gives(person=person("c.cruz", Role.TESTER)), Kind.APPROVAL_GIVEN, "was known as 'tester'"


@tamper
def person_whose_time_was_over() -> tuple[Signed, str | Kind, str]:
    gone = Person(CRUZ.name, CRUZ.roles, CRUZ.keys, None, to_the_gate().now)
    return one_gives(person=gone), Kind.APPROVAL_GIVEN, "was not valid then"


@tamper
def role_that_the_gate_does_not_ask() -> tuple[Signed, str | Kind, str]:
    return one_gives(key="d.dahl", role=Role.TESTER), Kind.APPROVAL_GIVEN, "who is not asked about step 3"


@tamper
def step_that_has_no_gate() -> tuple[Signed, str | Kind, str]:
    return to_the_gate().says("b.klein", GIVE, 1), Kind.APPROVAL_GIVEN, "nobody is asked about step 2"


@tamper
def author_approves() -> tuple[Signed, str | Kind, str]:
    return one_gives(key=AUTHOR.name), Kind.APPROVAL_GIVEN, "is the author of the change"


@tamper
def author_was_counted() -> tuple[Signed, str | Kind, str]:
    return one_gives(key=AUTHOR.name).step(2, "approved"), "entry 12", "of others than the author; before it there is 'b.klein'"


@tamper
def author_under_a_name_that_reads_the_same() -> tuple[Signed, str | Kind, str]:
    told = one_gives(key=AUTHOR.name, person=person("A.Meyer", Role.APPROVER, keys=("a.meyer",)))
    return told, Kind.APPROVAL_GIVEN, "is the author of the change"


@tamper
def entry_in_anothers_name() -> tuple[Signed, str | Kind, str]:
    return one_gives(named="e.engel"), Kind.APPROVAL_GIVEN, "is in the name of 'e.engel', and 'c.cruz' has signed it"


@tamper
def one_of_two() -> tuple[Signed, str | Kind, str]:
    return to_the_gate().says("b.klein", GIVE, 2).step(2, "approved"), "entry 11", "step 3 began, and its gate was not open"


@tamper
def one_person_twice() -> tuple[Signed, str | Kind, str]:
    return one_gives(key="b.klein", signs="b.klein's other").step(2, "approved"), "entry 12", "its gate was not open"


@tamper
def two_who_were_shown_different_things() -> tuple[Signed, str | Kind, str]:
    return one_gives(about="another finding").step(2, "approved"), "entry 12", "its gate was not open"


@tamper
def approval_after_the_transition() -> tuple[Signed, str | Kind, str]:
    told = to_the_gate().says("b.klein", GIVE, 2).step(2, "approved").says("c.cruz", GIVE, 2)
    return told, "entry 11", "its gate was not open"


@tamper
def approvals_left_out_and_numbered_anew() -> tuple[Signed, str | Kind, str]:
    told = one_gives().step(2, "approved")
    del told.told[9]
    told.told = [replace(one, sequence=number) for number, one in enumerate(told.told, 1)]
    return told, "entry 11", "its gate was not open"


@tamper
def entry_removed() -> tuple[Signed, str | Kind, str]:
    told = one_gives().step(2, "approved")
    del told.told[9]
    return told, "entry 10", "10 is missing before it"


@tamper
def refusal_stands() -> tuple[Signed, str | Kind, str]:
    told = one_gives().says("e.engel", REFUSE, 2, Role.SECURITY)
    told.now += 2 * MINUTE
    return told.step(2, "approved"), "entry 13", "'e.engel' had refused it (entry 12)"


@tamper
def refusal_withdrawn_by_another() -> tuple[Signed, str | Kind, str]:
    told = one_gives().says("e.engel", REFUSE, 2, Role.SECURITY).says("d.dahl", WITHDRAW, 2, Role.TESTER)
    return told.step(2, "approved"), "entry 14", "'e.engel' had refused it"


@tamper
def withdrawn_before() -> tuple[Signed, str | Kind, str]:
    told = one_gives().says("c.cruz", WITHDRAW, 2)
    told.now += 2 * MINUTE
    return told.step(2, "approved"), "entry 13", "its gate was not open"


@tamper
def gate_passed_without_being_asked() -> tuple[Signed, str | Kind, str]:
    return to_the_gate().step(2, "step passed"), "entry 10", "its gate was not open"


@tamper
def weight_without_any_move() -> tuple[Signed, str | Kind, str]:
    return to_the_gate().weight(50.0, 2), "entry 10", "50 % was announced, and nobody had approved step 3, as the plan asks"


@tamper
def weight_beyond_the_plan_under_a_small_step() -> tuple[Signed, str | Kind, str]:
    return to_the_gate().weight(95.0, 0), "entry 10", "95 % was announced, and by its plan the rollout was at most at 10 % then"


@tamper
def one_key_under_two_names() -> tuple[Signed, str | Kind, str]:
    told = one_gives(person=person("c.cruz", Role.APPROVER, keys=("b.klein",)), signs="b.klein").step(2, "approved")
    return told, "entry 12", "its gate was not open"


@tamper
def commit_without_the_switch() -> tuple[Signed, str | Kind, str]:
    told = one_gives().step(2, "approved").committed()
    return told, Kind.COMMIT_INTENDED, "nobody had approved the switch"


@tamper
def approved_what_nobody_asks() -> tuple[Signed, str | Kind, str]:
    told = Signed().submitted().moved("begun", "planned", "preflight").step(0, "approved")
    return told, "entry 3", "and the plan asks nobody about it"


@tamper
def beyond_the_switch() -> tuple[Signed, str | Kind, str]:
    return approved().moved("step passed", "watching", "shifting"), Kind.PHASE, "it goes beyond the switch"


@tamper
def forward_in_a_freeze() -> tuple[Signed, str | Kind, str]:
    told = Signed(HOLIDAY).submitted().moved("begun", "planned", "preflight").step(0, "ready")
    return told, "entry 4", "1 % was announced in a freeze of the plan (until 2026-12-26 23:00:00 UTC), and nobody who may had overridden"


@tamper
def override_of_another_step() -> tuple[Signed, str | Kind, str]:
    told = Signed(HOLIDAY).submitted().says("e.engel", OVERRIDE, 0, Role.SECURITY).step(0, "ready").step(1)
    return told, "entry 8", "10 % was announced in a freeze"


@tamper
def override_by_a_role_that_may_not() -> tuple[Signed, str | Kind, str]:
    return Signed(HOLIDAY).submitted().says("c.cruz", OVERRIDE, START_OF).step(0, "ready"), "entry 2", "who is not asked about a freeze"


@tamper
def override_after_the_move() -> tuple[Signed, str | Kind, str]:
    told = Signed(HOLIDAY).submitted().step(0, "ready").says("e.engel", OVERRIDE, START_OF, Role.SECURITY)
    return told, "entry 2", "the rollout moved forward in a freeze"


@tamper
def override_that_had_ended() -> tuple[Signed, str | Kind, str]:
    told = overridden()
    told.now += 2 * 60 * MINUTE
    return told.step(2, "approved"), Kind.PHASE, "the rollout moved forward in a freeze"


@tamper
def override_without_a_review() -> tuple[Signed, str | Kind, str]:
    told = overridden()
    del told.told[3]
    told.told = [replace(one, sequence=number) for number, one in enumerate(told.told, 1)]
    return told, Kind.FREEZE_OVERRIDDEN, "no review of it was opened"


@tamper
def review_due_too_late() -> tuple[Signed, str | Kind, str]:
    told = overridden()
    values = {**told.told[3].values, "dueUnixS": (told.now + 30 * DAY) // NANO}
    told.told[3] = replace(told.told[3], values=values)
    return told, Kind.REVIEW_DUE, "due later than the plan allows"


@tamper
def review_by_who_overrode() -> tuple[Signed, str | Kind, str]:
    return overridden().reviewed("e.engel", Role.SECURITY), Kind.REVIEW_DONE, "reviews what they had overridden"


@tamper
def review_by_the_author() -> tuple[Signed, str | Kind, str]:
    return overridden().reviewed("a.meyer"), Kind.REVIEW_DONE, "is the author of the change"


@tamper
def review_by_a_tester() -> tuple[Signed, str | Kind, str]:
    return overridden().reviewed("d.dahl", Role.TESTER), Kind.REVIEW_DONE, "who is not asked to review"


@tamper
def review_of_nothing() -> tuple[Signed, str | Kind, str]:
    return overridden().reviewed("c.cruz", of=digest("another")), Kind.REVIEW_DONE, "an override that is not here"


@tamper
def review_of_another_plan() -> tuple[Signed, str | Kind, str]:
    return overridden().reviewed("c.cruz", plan=OTHER_PLAN), Kind.REVIEW_DONE, "another rollout or plan"


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_tampered_with_is_found(name: str) -> None:
    told, where, what = TAMPERED[name]()
    found(of(told), where, what)


def test_so_many_are_found() -> None:
    """That none is lost from the list above unseen."""
    assert len(TAMPERED) == 48


# -- what cannot be told


@pytest.mark.parametrize("lost", [0, 1])
def test_what_was_erased_is_said_and_not_called_wrong(lost: int) -> None:
    """The signature, or who it was."""
    told = one_gives().step(2, "approved")
    name = [one.based_on[lost] for one in told.told if one.kind is Kind.APPROVAL_GIVEN][1]
    report = of(told, (name,))
    assert report.problems == []
    assert says(report.not_proven, "for it is not here", name)
    assert says(report.not_proven, "had been agreed to", "whether step 3 began as its gate asks")
    assert says(report.proven, "0 moves through gates")


def test_what_was_erased_cannot_stand_for_more_than_it_may_have_been() -> None:
    told = to_the_gate().says("b.klein", GIVE, 2).step(2, "approved")
    report = of(told, (told.told[9].based_on[0],))
    found(report, "entry 11", "its gate was not open")


def test_an_erased_refusal_stands_unless_something_may_take_it_back() -> None:
    told = one_gives().says("e.engel", REFUSE, 2, Role.SECURITY)
    told.now += 2 * MINUTE
    told.step(2, "approved")
    found(of(told, (told.told[11].based_on[0],)), "entry 13", "entry 12 refuses it, and nothing takes that back")
    back = one_gives().says("e.engel", REFUSE, 2, Role.SECURITY).says("e.engel", WITHDRAW, 2, Role.SECURITY).step(2, "approved")
    assert of(back, (back.told[11].based_on[0],)).problems == []


def test_what_was_shown_may_be_erased() -> None:
    told = approved()
    shown = {one.based_on[2] for one in told.told if one.kind is Kind.APPROVAL_GIVEN}
    report = of(told, tuple(shown))
    assert report.problems == []
    assert says(report.proven, "4 words of people")


def test_without_the_plan_nothing_is_said_of_gates() -> None:
    told = to_the_gate().step(2, "step passed")
    report = of(told, (PLAN.digest,))
    assert report.problems == []
    assert says(report.not_proven, "had been agreed to", "its plan is not here")


def test_a_move_at_the_beginning_of_a_freeze_may_have_been_decided_before() -> None:
    begins = round(PLAN.schedule.freezes[0].start_unix_s) * NANO
    told = Signed(begins - MINUTE - 2 * NANO).submitted()
    told.now -= MINUTE - 5 * NANO
    report = of(told.step(0, "ready"))
    assert says(report.not_proven, "had been agreed to", "may have been decided before it began")
    found(report, "entry 3", "1 % was announced in a freeze")
    report = of(Signed(begins - 3 * MINUTE).submitted().says("e.engel", OVERRIDE, START_OF, Role.SECURITY).step(0, "ready"))
    assert report.ok
    assert not says(report.not_proven, "had been agreed to")


def test_what_came_in_while_the_guard_decided_is_no_contradiction() -> None:
    told = one_gives().says("e.engel", REFUSE, 2, Role.SECURITY)
    told.now -= MINUTE - 2 * NANO
    assert of(told.step(2, "approved")).problems == []


# -- signatures

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
KEYS: dict[str, PrivateKey] = {
    "ed25519": private("b.klein"), "p256": generate_private_key(SECP256R1()), "p384": generate_private_key(SECP384R1()),
    "p521": generate_private_key(SECP521R1()), "rsa": generate_rsa(65_537, 2_048),
}  # fmt: skip


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key_is_verified_and_every_change_of_a_signature_is_found(kind: str) -> None:
    armored = str(FileSigner.of(KEYS[kind]).sign(b"message"))
    assert check_ssh_signature(armored, b"message").fingerprint.startswith("SHA256:")
    with pytest.raises(Refused, match="has not signed it"):
        check_ssh_signature(armored, b"massage")


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_no_flipped_bit_of_a_signature_is_accepted(kind: str) -> None:
    blob = FileSigner.of(KEYS[kind]).sign(b"message").blob()
    lines = str(SshSignature.from_blob(blob)).split("\n")
    for bit in range(len(blob) * 8):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refused):
            check_ssh_signature("\n".join([lines[0], base64.b64encode(bytes(flipped)).decode(), *lines[-2:]]), b"message")


@pytest.mark.parametrize("hardware", HARDWARE, ids=["ed25519", "ecdsa"])
def test_a_key_in_hardware_is_verified_if_somebody_touched_it(hardware: Hardware) -> None:
    assert check_ssh_signature(str(hardware.sign(b"message")), b"message").fingerprint == hardware.key.fingerprint
    with pytest.raises(Refused, match="nobody touched"):
        check_ssh_signature(str(replace(hardware, flags=4).sign(b"message")), b"message")
    with pytest.raises(Refused, match="has not signed it"):
        check_ssh_signature(str(hardware.sign(b"massage")), b"message")


def test_a_signature_for_another_purpose_is_refused() -> None:
    armored = str(replace(FileSigner.of(private("b.klein")).sign(b"message"), namespace="git"))
    with pytest.raises(Refused, match="is for 'git'"):
        check_ssh_signature(armored, b"message")


@settings(deadline=None)  # whole logs are made and signed
@by_hypothesis(st.binary(max_size=300))
def test_any_bytes_in_the_place_of_a_blob_get_a_sentence(junk: bytes) -> None:
    """Named rightly, so that only what is in them is wrong."""
    told = to_the_gate().says("b.klein", GIVE, 2)
    entry = told.told[-1]
    for place in range(3):
        name = told.keep(junk)
        based_on = tuple(name if at == place else one for at, one in enumerate(entry.based_on))
        values = {**entry.values, "approval": name} if place == 0 else entry.values
        told.told[-1] = replace(entry, based_on=based_on, values=values)
        assert not of(told).ok


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)  # whole logs are made and signed
@by_hypothesis(st.sampled_from(["change", "steps", "bake", "schedule"]), JSON)
def test_any_value_in_a_plan_gets_a_sentence(name: str, value: Any) -> None:
    plan = rfc8785.dumps({**json.loads(PLAN.canonical), name: value})
    try:
        read_asked(plan)
    except Refused:
        return
    assert name == "bake"  # whose gate may be left out
    assert value.get("gate", "none") == "none"


@settings(deadline=None)  # whole logs are made and signed
@by_hypothesis(st.sampled_from(["type", "decision", "rollout", "plan", "step", "shown", "role", "reason", "issued", "expires"]), JSON)
def test_any_value_in_an_approval_gets_a_sentence(name: str, value: Any) -> None:
    told = to_the_gate().says("b.klein", GIVE, 2)
    given, entry = told.signatures()[0], told.told[-1]
    document = rfc8785.dumps({**json.loads(given.document), name: value})
    blob = rfc8785.dumps({"approval": document.decode(), "signature": str(FileSigner.of(private("b.klein")).sign(document))})
    digest_of = hashlib.sha256(blob).hexdigest()
    told.keep(blob)
    told.told[-1] = replace(entry, values={**entry.values, "approval": digest_of}, based_on=(digest_of, *entry.based_on[1:]))
    report = of(told)
    assert all(one.where.startswith("entry") for one in report.problems)
    assert (not report.ok) or name in {"reason", "step"}
