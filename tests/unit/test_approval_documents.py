"""What an approval says, whose it is, and who is known."""

import contextlib
import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import rfc8785
import yaml
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.approval_people import (
    CRUZ,
    GIVE,
    KLEIN,
    MINUTE,
    NOW,
    PEOPLE,
    PLAN,
    ROLLOUT,
    SHOWN,
    at,
    person,
    private,
    public,
    said,
    signed,
    without,
)

from verdigris.approvals.approval import (
    AHEAD_MAX_NANO,
    ENDING,
    LIFETIME_MAX_NANO,
    REASON_CHARS_MAX,
    STEP_MAX,
    Approval,
    ApprovalDecision,
    InvalidApproval,
    NotEntitled,
    SignedApproval,
    Verified,
    verify,
)
from verdigris.approvals.people import InvalidPeople, Person, read_people
from verdigris.approvals.signing import FileSigner
from verdigris.approvals.ssh_signature import InvalidSshSignature, SshSignature
from verdigris.plan.fields import STEPS_MAX
from verdigris.plan.gates import Role
from verdigris.times import UNIX_NANO_MAX, rfc3339, unix_nano

REFUSE, WITHDRAW, REVIEW, OVERRIDE = (
    ApprovalDecision.REFUSE, ApprovalDecision.WITHDRAW, ApprovalDecision.REVIEW, ApprovalDecision.OVERRIDE_FREEZE,
)  # fmt: skip

# -- the document -------------------------------------------------------------------------------------------------------------------

REASONS = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" ") | st.just("\n"), max_size=200).map(str.strip)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@st.composite
def approvals(draw: st.DrawFn) -> Approval:
    decision = draw(st.sampled_from(ApprovalDecision))
    issued = draw(st.integers(0, UNIX_NANO_MAX - LIFETIME_MAX_NANO - 1))
    return Approval(
        decision, draw(st.from_regex(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4,12}", fullmatch=True)), draw(DIGESTS), draw(st.integers(-1, STEP_MAX)),
        draw(st.none() | DIGESTS), draw(st.sampled_from(Role)),
        draw(REASONS.filter(bool)) if decision is not ApprovalDecision.GIVE else draw(REASONS), issued,
        issued + draw(st.integers(1, LIFETIME_MAX_NANO)) if decision in ENDING else None,
    )  # fmt: skip


@given(approvals())
def test_a_document_is_read_as_it_was_written(approval: Approval) -> None:
    document = approval.document()
    assert Approval.parse(document) == approval
    assert rfc8785.dumps(json.loads(document)) == document


def test_the_document_is_what_its_description_says() -> None:
    assert GIVE.document().decode() == (
        '{"decision":"give","expires":"2026-11-03T20:10:00.000000000Z","issued":"2026-11-03T19:50:00.000000000Z",'
        f'"plan":"{PLAN}","reason":"","role":"approver","rollout":"{ROLLOUT}","shown":"{SHOWN}","step":1,'
        '"type":"https://verdigris.dev/approval/v1"}'
    )
    assert STEP_MAX == STEPS_MAX  # after the last step comes the switch


@given(approvals(), st.data())
def test_no_document_with_a_flipped_bit_is_the_same(approval: Approval, data: st.DataObject) -> None:
    document = bytearray(approval.document())
    bit = data.draw(st.integers(0, 8 * len(document) - 1))
    document[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(InvalidApproval):
        assert Approval.parse(bytes(document)) != approval


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"[" * 30_000, b"\xff\xfe{\0}\0", b"1" * 5000, GIVE.document() + b"\n", b" " + GIVE.document(),
        GIVE.document().replace(b'"step":1', b'"step":1.0'), GIVE.document().replace(b'"step":1', b'"step":true'),
        GIVE.document().replace(b'"step":1', b'"step":"1"'), GIVE.document().replace(b'"step":1', b'"step":NaN'),
        GIVE.document().replace(b'"step":1', b'"step":2,"step":1'), GIVE.document().replace(b'"step":1', b'"step":1,"x":1'),
        GIVE.document().replace(b'"reason":""', b'"reason":[]'), GIVE.document().replace(b'"reason":""', b'"reason":"\\ud800"'),
        GIVE.document().replace(b'"reason":"",', b""), GIVE.document().replace(b'"reason":""', b'"reason":null'),
        GIVE.document().replace(b"/v1", b"/v2"), GIVE.document().replace(b'"give"', b'"yes"'), GIVE.document().replace(b'"give"', b"{}"),
        GIVE.document().replace(b'"approver"', b'"owner"'), GIVE.document().replace(b"20:10", b"20:99"),
        GIVE.document().replace(b".000000000Z", b"Z"), GIVE.document().replace(b".000000000Z", b".000000000+00:00"),
        GIVE.document().replace(f'"{PLAN}"'.encode(), b"7"), GIVE.document().replace(f'"{SHOWN}"'.encode(), b"false"),
        GIVE.document().replace(PLAN.encode(), PLAN.upper().encode()),
        GIVE.document().replace(b'"reason":""', b'"reason":"' + b"x" * 40_000 + b'"'),
    ],
)  # fmt: skip
def test_what_is_no_document(document: bytes) -> None:
    with pytest.raises(InvalidApproval):
        Approval.parse(document)


@given(st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5), lambda x: st.lists(x, max_size=3), max_leaves=5))
def test_any_value_in_any_field_is_refused_or_canonical(value: Any) -> None:
    for name in ("type", "decision", "rollout", "plan", "step", "shown", "role", "reason", "issued", "expires"):
        document = json.loads(GIVE.document()) | {name: value}
        try:
            written = rfc8785.dumps(document)
        except rfc8785.CanonicalizationError:
            continue
        with contextlib.suppress(InvalidApproval):
            assert Approval.parse(written).document() == written


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(anything: bytes) -> None:
    with pytest.raises(InvalidApproval):
        Approval.parse(anything)
    with pytest.raises(InvalidApproval):
        SignedApproval.parse(anything)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rollout": "latest"}, "the rollout's id"), ({"rollout": ROLLOUT + "\n"}, "the rollout's id"), ({"plan": "abc"}, "64 hexadecimal"),
        ({"shown": ""}, "64 hexadecimal"), ({"step": -2}, "a number from -1"), ({"step": STEP_MAX + 1}, "a number from -1"),
        ({"reason": "x" * (REASON_CHARS_MAX + 1)}, "at most 4000"), ({"reason": " x"}, "without space"), ({"reason": "\x1b[2J"}, "visible"),
        ({"reason": "safe \u202e txt"}, "visible"), ({"reason": "a\rb"}, "visible"),
        ({"expires_unix_nano": None}, "what ends is"), ({"expires_unix_nano": NOW - 10 * MINUTE}, "ends before"),
        ({"expires_unix_nano": NOW - 10 * MINUTE + LIFETIME_MAX_NANO + 1}, "later than 30 days"),
        ({"issued_unix_nano": -1}, "out of all bounds"), ({"issued_unix_nano": UNIX_NANO_MAX}, "out of all bounds"),
    ],
)  # fmt: skip
def test_what_an_approval_cannot_say(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidApproval, match=why):
        replace(GIVE, **changes)


@pytest.mark.parametrize("decision", [REFUSE, WITHDRAW, REVIEW, OVERRIDE])
def test_all_but_a_give_have_a_reason_and_only_what_moves_forward_ends(decision: ApprovalDecision) -> None:
    said(decision)
    with pytest.raises(InvalidApproval, match=f"a {decision.value} has a reason"):
        said(decision, reason="")
    if decision is not OVERRIDE:
        with pytest.raises(InvalidApproval, match="what ends is"):
            said(decision, expires_unix_nano=NOW)


@given(st.integers(0, UNIX_NANO_MAX - 1))
def test_times_have_one_spelling(nano: int) -> None:
    assert unix_nano(rfc3339(nano)) == nano


def test_moments_keep_their_microseconds() -> None:
    [one] = read_people({"people": [entry(**{"from": "2026-01-01T00:00:00.123456Z"})]}).people
    assert one.from_unix_nano == unix_nano("2026-01-01T00:00:00.123456000Z")


def test_times_that_are_none() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    for text in (
        "", "2026-02-30T00:00:00.000000000Z", "2026-01-01T24:00:00.000000000Z", "2026-01-01T00:00:60.000000000Z", "2026-01-01T00:00:00Z",
        "1969-12-31T23:59:59.000000000Z", "2026-01-01T00:00:00.000000000Z\n", "٢026-01-01T00:00:00.000000000Z",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"time|day|second|hour|month"):
            unix_nano(text)


# -- signed and verified ------------------------------------------------------------------------------------------------------------


@given(approvals())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_signed_approval_is_read_as_it_was_written(approval: Approval) -> None:
    one = signed(approval, "c.cruz")
    assert SignedApproval.parse(one.to_bytes()) == one
    assert SignedApproval.parse(one.to_bytes()).digest == one.digest


def test_the_largest_approval_fits() -> None:
    for filling in ('"', "\U0001f600", "\\"):
        one = signed(replace(GIVE, reason=filling * REASON_CHARS_MAX), "c.cruz")
        assert Approval.parse(SignedApproval.parse(one.to_bytes()).document).reason == filling * REASON_CHARS_MAX


def test_a_signed_approval_has_one_spelling() -> None:
    one = signed(GIVE, "c.cruz")
    document, armored = one.document.decode(), str(one.signature)
    wrongs: list[Any] = [
        {"approval": document}, {"approval": document, "signature": armored, "more": 1}, {"approval": 1, "signature": armored},
        {"approval": document, "signature": armored.replace("\n", "\r\n")}, {"approval": document, "signature": armored[:-1]},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(InvalidApproval):
            SignedApproval.parse(rfc8785.dumps(wrong))
    with pytest.raises(InvalidSshSignature):
        SignedApproval.parse(rfc8785.dumps({"approval": document, "signature": "hello"}))
    for bad in (one.to_bytes() + b"\n", b"x" * 200_000, json.dumps({"approval": "\ud800", "signature": armored}).encode()):
        with pytest.raises(InvalidApproval):
            SignedApproval.parse(bad)
    with pytest.raises(InvalidApproval, match="UTF-8"):
        SignedApproval(b"\xff", one.signature).to_bytes()


def test_an_approval_signed_by_hand_is_verified(tmp_path: Path) -> None:
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")
    key, document = tmp_path / "key", tmp_path / "approval.json"
    key.write_bytes(
        private("c.cruz").private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )  # fmt: skip
    key.chmod(0o600)
    document.write_bytes(GIVE.document())
    subprocess.run(
        [program, "-Y", "sign", "-n", "approval@verdigris.dev", "-f", key, document], check=True, capture_output=True, timeout=60
    )
    by_hand = SignedApproval(document.read_bytes(), SshSignature.parse((tmp_path / "approval.json.sig").read_text()))
    assert verify(by_hand, PEOPLE, NOW) == Verified(GIVE, CRUZ, by_hand)


def test_verify_says_whose_it_is() -> None:
    for key, whose in (("c.cruz", CRUZ), ("b.klein", KLEIN), ("b.klein's other", KLEIN)):
        one = signed(GIVE, key)
        assert verify(one, PEOPLE, NOW) == Verified(GIVE, whose, one)
        assert verify(one, PEOPLE, NOW).digest == one.digest


def test_verify_refuses_what_can_never_count() -> None:
    one = signed(GIVE, "c.cruz")
    with pytest.raises(NotEntitled, match=r"nobody known has the key SHA256:"):
        verify(signed(GIVE, "z.nobody"), PEOPLE, NOW)
    with pytest.raises(NotEntitled, match=r"d\.dahl does not have the role approver"):
        verify(signed(GIVE, "d.dahl"), PEOPLE, NOW)
    with pytest.raises(InvalidSshSignature, match="has not signed"):
        verify(SignedApproval(replace(GIVE, step=2).document(), one.signature), PEOPLE, NOW)
    with pytest.raises(InvalidSshSignature, match="has not signed"):
        verify(SignedApproval(one.document, signed(replace(GIVE, step=2), "c.cruz").signature), PEOPLE, NOW)
    with pytest.raises(InvalidApproval, match="has ended at"):
        verify(one, PEOPLE, at(10))
    with pytest.raises(InvalidApproval, match="has not come"):
        verify(one, PEOPLE, GIVE.issued_unix_nano - AHEAD_MAX_NANO - 1)
    verify(one, PEOPLE, at(10) - 1)
    verify(one, PEOPLE, GIVE.issued_unix_nano - AHEAD_MAX_NANO)
    document = one.document.replace(b'"step":1', b'"step": 1')
    with pytest.raises(InvalidApproval, match="canonical form"):
        verify(SignedApproval(document, FileSigner.of(private("c.cruz")).sign(document)), PEOPLE, NOW)


def test_verify_wants_a_person_valid_then_and_now() -> None:
    one = signed(GIVE, "c.cruz")
    for from_, until, ok in (
        (GIVE.issued_unix_nano, NOW + 1, True),
        (None, None, True),
        (GIVE.issued_unix_nano + 1, None, False),
        (None, NOW, False),
        (NOW + 1, None, False),
    ):
        people = without("c.cruz", person("c.cruz", Role.APPROVER, from_=from_, until=until))
        if ok:
            verify(one, people, NOW)
        else:
            with pytest.raises(NotEntitled, match=r"was not valid at|is not valid now"):
                verify(one, people, NOW)


# -- people -------------------------------------------------------------------------------------------------------------------------


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "b.klein", "roles": ["approver"], "keys": [str(public("b.klein"))], **changes}


def test_people_are_read_from_yaml() -> None:
    document = yaml.safe_load(
        "people:\n"
        f"  - {{name: b.klein, roles: [approver, tester], keys: ['{public('b.klein')} laptop', '{public('x')}']}}\n"
        f"  - {{name: Jürgen Größe, roles: [author], keys: ['{public('y')}'], "
        "from: 2026-01-01T00:00:00Z, until: '2027-01-01T01:00:00+01:00'}\n"
    )
    people = read_people(document)
    klein, other = people.people
    assert klein == Person("b.klein", frozenset({Role.APPROVER, Role.TESTER}), (public("b.klein"), public("x")))
    assert other.from_unix_nano == unix_nano("2026-01-01T00:00:00.000000000Z")
    assert other.until_unix_nano == unix_nano("2027-01-01T00:00:00.000000000Z")
    assert people.owner(public("x")) == klein
    assert people.owner(public("z")) is None
    for spelled in ("jürgen größe", "JÜRGEN GRÖSSE", "Ju\u0308rgen Gro\u0308ße"):
        assert people.named(spelled) == other
    assert people.named("b.klеin") is None, "the е is a Cyrillic one"


WRONG_ROLES: list[Any] = [[], "approver", ["boss"], [1], None, [[]], ["approver", "boss"]]
WRONG_TIMES: list[Any] = [
    "2026-01-01", "2026-01-01T00:00:00", 7, date(2026, 1, 1), datetime(2026, 1, 1), "never", "1960-01-01T00:00:00Z",  # noqa: DTZ001
    "0001-01-01T00:00:00+14:00", True,
]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (None, "one key, `people`"), ([], "one key, `people`"), ({}, "one key, `people`"), ({"people": {}}, "one key, `people`"),
        ({"people": [], "x": 1}, "one key, `people`"), ({"people": [entry()] * 1001}, "at most 1000"),
        ({"people": ["b.klein"]}, "needs name"),
        ({"people": [entry(more=1)]}, "nothing else"), ({"people": [{"name": "b"}]}, "needs name"),
        *(({"people": [entry(name=name)]}, "visible characters") for name in ("", " b", "b\n", "x" * 101, 7, None, "a\u202eb")),
        *(({"people": [entry(roles=roles)]}, "is a list of one or more of author") for roles in WRONG_ROLES),
        *(({"people": [entry(keys=keys)]}, "1 to 10 public keys") for keys in ([], "x", [1], None, [str(public("a"))] * 11)),
        ({"people": [entry(keys=["ssh-dss AAAA"])]}, r"people\[0\] \(b.klein\).keys: DSA"),
        ({"people": [entry(), entry(name="B.Klein", keys=[str(public("x"))])]}, "is there twice"),
        ({"people": [entry(), entry(name="c")]}, "is also of b.klein"),
        ({"people": [entry(keys=[str(public("x"))] * 2)]}, "a key has one owner"),
        *(({"people": [entry(until=until)]}, "a time with its offset") for until in WRONG_TIMES),
        ({"people": [entry(**{"from": "2026-01-02T00:00:00Z", "until": datetime(2026, 1, 2, tzinfo=UTC)})]}, "ends before it begins"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_people(document: Any, why: str) -> None:
    with pytest.raises(InvalidPeople, match=why):
        read_people(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["people", "name", "roles", "keys", "from", "until"]), inner)
    ),
    max_leaves=12,
)


@given(JSON, JSON, st.sampled_from(["name", "roles", "keys", "from", "until"]))
def test_any_document_is_people_or_refused(document: Any, value: Any, field: str) -> None:
    for one in (document, {"people": document}, {"people": [entry(**{field: value})]}):
        with contextlib.suppress(InvalidPeople):
            read_people(one)
