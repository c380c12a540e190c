"""When a gate opens: who may say what about a rollout, and what counts."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.unit.approval_people import (
    AUTHOR,
    CRUZ,
    DAHL,
    ENGEL,
    GIVE,
    KLEIN,
    NOW,
    OTHER_PLAN,
    OTHER_ROLLOUT,
    OTHER_SHOWN,
    PEOPLE,
    PLAN,
    ROLLOUT,
    SHOWN,
    at,
    person,
    said,
    verified,
    without,
)

from verdigris.approvals.approval import (
    AHEAD_MAX_NANO,
    ENDING,
    ApprovalDecision,
    Verified,
)
from verdigris.approvals.gate import Granted, InvalidGate, Policy, Question, Refused, Waiting, decide
from verdigris.approvals.people import People
from verdigris.plan.gates import Need, Role
from verdigris.times import DAY_NANO

REFUSE, WITHDRAW, REVIEW, OVERRIDE = (
    ApprovalDecision.REFUSE, ApprovalDecision.WITHDRAW, ApprovalDecision.REVIEW, ApprovalDecision.OVERRIDE_FREEZE,
)  # fmt: skip
ONE, TWO = Policy.of(Role.APPROVER), Policy.of(Role.APPROVER, quorum=2)
BOTH = Policy(
    (
        Need(
            (
                Role.APPROVER,
                Role.SECURITY,
            )
        ),
        Need((Role.TESTER,)),
    )
)
QUESTION = Question(ROLLOUT, PLAN, 1, SHOWN)

Decided = Granted | Waiting | Refused


def gate(
    *approvals: Verified,
    policy: Policy = ONE,
    question: Question = QUESTION,
    people: People = PEOPLE,
    author: str = "a.meyer",
    now: int = NOW,
) -> Decided:
    return decide(policy, question, people, author, approvals, now)


def names(by: Sequence[Verified]) -> list[str]:
    return [one.person.name for one in by]


def whys(decided: Decided) -> list[str]:
    return [one.why for one in decided.not_counted]


# -- the gate -----------------------------------------------------------------------------------------------------------------------


def test_nothing_said_is_waiting() -> None:
    assert gate() == Waiting(("1 more of approver (1 asked)",))


def test_one_approver_opens_the_gate() -> None:
    one = verified(GIVE, "c.cruz")
    assert gate(one) == Granted((one,))


def test_a_quorum_is_people_not_words() -> None:
    cruz, klein = verified(GIVE, "c.cruz"), verified(GIVE, "b.klein")
    other_key, again = verified(GIVE, "b.klein's other"), verified(replace(GIVE, reason="again"), "b.klein")
    waiting = gate(klein, other_key, again, klein, policy=TWO)
    assert isinstance(waiting, Waiting)
    assert waiting.missing == ("1 more of approver (2 asked; so far: b.klein)",)
    assert whys(waiting) == ["b.klein has said it again later, and counts once"] * 3
    granted = gate(klein, other_key, cruz, policy=TWO)
    assert isinstance(granted, Granted)
    assert sorted(names(granted.by)) == ["b.klein", "c.cruz"]


def test_one_person_in_two_roles_counts_in_the_last() -> None:
    approver, tester = verified(GIVE, "b.klein"), verified(replace(GIVE, role=Role.TESTER, issued_unix_nano=at(-9)), "b.klein's other")
    waiting = gate(approver, tester, policy=BOTH)
    assert isinstance(waiting, Waiting)
    assert waiting.missing == ("1 more of approver or security (1 asked)",)
    assert names(waiting.by) == ["b.klein"]
    for second in (verified(GIVE, "c.cruz"), verified(replace(GIVE, role=Role.SECURITY), "e.engel")):
        assert isinstance(gate(approver, tester, second, policy=BOTH), Granted)
    assert isinstance(gate(verified(GIVE, "c.cruz"), verified(replace(GIVE, role=Role.TESTER), "d.dahl"), policy=BOTH), Granted)


def test_the_author_never_approves() -> None:
    own, cruz = verified(GIVE, "a.meyer"), verified(GIVE, "c.cruz")
    for spelled in ("a.meyer", "A.Meyer", "ａ.meyer"):
        waiting = gate(own, author=spelled)
        assert isinstance(waiting, Waiting)
        assert whys(waiting) == ["a.meyer is the author of the change; another person approves it"]
        assert isinstance(gate(own, cruz, author=spelled), Granted)
        assert isinstance(gate(own, cruz, author=spelled, policy=TWO), Waiting)
    assert isinstance(gate(own, author="b.klein"), Granted)


def test_where_the_author_is_unknown_nobody_is_another() -> None:
    for spelled in ("Anna Meyer", "", "а.meyer", "a.meyer "):
        waiting = gate(verified(GIVE, "a.meyer"), verified(GIVE, "c.cruz"), author=spelled)
        assert isinstance(waiting, Waiting)
        assert waiting.missing == (
            f"the author of the change, {spelled!r}, is not among the known people, so nobody is known to be another person",
        )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rollout": OTHER_ROLLOUT}, f"is about the rollout {OTHER_ROLLOUT}"),
        ({"plan": OTHER_PLAN}, f"is about another plan, {OTHER_PLAN}"),
        ({"step": 2}, "is about step 3"), ({"step": -1}, "is about the start"), ({"shown": OTHER_SHOWN}, "was signed on other findings"),
        ({"shown": None}, "was signed on other findings"), ({"role": Role.TESTER}, "is said as tester, and this gate asks approver"),
        ({"decision": OVERRIDE, "reason": "x"}, "is a override-freeze, and a give is asked for"),
        ({"expires_unix_nano": NOW}, "has ended at"), ({"issued_unix_nano": NOW + AHEAD_MAX_NANO + 1}, "has not come"),
    ],
)  # fmt: skip
def test_what_does_not_answer_is_not_counted_and_says_why(changes: dict[str, Any], why: str) -> None:
    one = verified(replace(GIVE, **changes), "b.klein")
    waiting = gate(one)
    assert isinstance(waiting, Waiting)
    assert [entry.approval for entry in waiting.not_counted] == [one]
    assert why in whys(waiting)[0]


def test_what_is_just_in_time_is_counted() -> None:
    for one in (replace(GIVE, expires_unix_nano=NOW + 1), replace(GIVE, issued_unix_nano=NOW + AHEAD_MAX_NANO)):
        assert isinstance(gate(verified(one, "c.cruz")), Granted)


def test_nothing_shown_is_answered_by_nothing_shown() -> None:
    question = replace(QUESTION, shown=None, step=-1)
    assert isinstance(gate(verified(replace(GIVE, shown=None, step=-1), "c.cruz"), question=question), Granted)
    assert isinstance(gate(verified(replace(GIVE, step=-1), "c.cruz"), question=question), Waiting)


@pytest.mark.parametrize(
    ("people", "why"),
    [
        (without("c.cruz"), "c.cruz is not known any more"),
        (without("c.cruz", person("c.cruz", Role.APPROVER, keys=("new",))), "is not c.cruz's any more"),
        (without("c.cruz", person("c.cruz", Role.OPERATOR)), "c.cruz does not have the role approver"),
        (without("c.cruz", person("c.cruz", Role.APPROVER, until=NOW)), "c.cruz is not valid now"),
        (without("c.cruz", person("c.cruz", Role.APPROVER, from_=NOW + 1)), "c.cruz is not valid now"),
        (without("c.cruz", person("e.novak", Role.APPROVER, keys=("c.cruz",))), "c.cruz is not known any more"),
    ],
)
def test_who_lost_key_role_or_time_since_does_not_count(people: People, why: str) -> None:
    one = verified(GIVE, "c.cruz")
    waiting = gate(one, people=people)
    assert isinstance(waiting, Waiting)
    assert why in whys(waiting)[0]
    # What they refused, they refused; and it cannot be taken back with such a key.
    refusal, withdrawal = verified(said(REFUSE), "c.cruz"), verified(said(WITHDRAW, issued_unix_nano=at(-1)), "c.cruz")
    refused = gate(refusal, verified(GIVE, "b.klein"), withdrawal, people=people)
    assert isinstance(refused, Refused)
    assert names(refused.by) == ["c.cruz"]
    # A withdrawal still takes back what was given.
    assert whys(gate(one, withdrawal, people=people)) == ["was withdrawn"]


@pytest.mark.parametrize("key", ["a.meyer", "b.klein", "c.cruz", "d.dahl", "e.engel"])
def test_whoever_is_known_can_refuse(key: str) -> None:
    [role, *_] = next(one.roles for one in PEOPLE.people if one.name == key)
    refusal = verified(said(REFUSE, role=role), key)
    refused = gate(refusal, verified(GIVE, "c.cruz"), verified(GIVE, "b.klein"))
    assert refused == Refused((refusal,))
    assert refused.by[0].approval.reason == "because"
    assert len(refused.by[0].digest) == 64


def test_a_refusal_stands_until_it_is_withdrawn_by_the_same_person_later() -> None:
    refusal, give, cruz = (
        verified(said(REFUSE), "b.klein"),
        verified(replace(GIVE, issued_unix_nano=at(-1)), "b.klein"),
        verified(GIVE, "c.cruz"),
    )
    assert isinstance(gate(refusal, give, cruz), Refused), "to give is not to withdraw"
    assert isinstance(gate(refusal, give, cruz, now=at(10_000_000)), Refused), "it does not end"
    for key, minutes, lifted in (
        ("b.klein's other", -5, True), ("c.cruz", -5, False), ("b.klein", -10, False), ("b.klein", -11, False), ("b.klein", 3, False),
    ):  # fmt: skip
        withdrawal = verified(said(WITHDRAW, issued_unix_nano=at(minutes)), key)
        assert isinstance(gate(refusal, give, withdrawal), Granted if lifted else Refused), (key, minutes)
    twice = verified(said(REFUSE, issued_unix_nano=at(-2)), "b.klein")
    assert isinstance(gate(refusal, verified(said(WITHDRAW, issued_unix_nano=at(-5)), "b.klein"), twice, cruz), Refused)


def test_a_withdrawal_cancels_what_the_same_person_gave_before() -> None:
    give = verified(GIVE, "c.cruz")
    for key, minutes, cancelled in (
        ("c.cruz", -5, True),
        ("c.cruz", -10, True),
        ("c.cruz", 100, True),
        ("c.cruz", -11, False),
        ("b.klein", -5, False),
    ):
        withdrawal = verified(said(WITHDRAW, issued_unix_nano=at(minutes)), key)
        assert isinstance(gate(give, withdrawal), Waiting if cancelled else Granted), (key, minutes)
    withdrawal = verified(said(WITHDRAW, issued_unix_nano=at(-5)), "c.cruz")
    assert isinstance(gate(give, withdrawal, verified(replace(GIVE, issued_unix_nano=at(-4)), "c.cruz")), Granted)
    assert isinstance(gate(give, withdrawal, give), Waiting), "the old give, sent again, is as withdrawn as before"
    elsewhere = verified(said(WITHDRAW, issued_unix_nano=at(-5), step=2), "c.cruz")
    assert isinstance(gate(give, elsewhere), Granted)


def test_a_freeze_is_overridden_by_the_named_role_only() -> None:
    question = replace(QUESTION, asks=OVERRIDE)
    policy = Policy.of(Role.SECURITY)
    override = verified(said(OVERRIDE, role=Role.SECURITY), "e.engel")
    assert isinstance(gate(override, policy=policy, question=question), Granted)
    assert isinstance(gate(verified(said(OVERRIDE), "c.cruz"), policy=policy, question=question), Waiting)
    assert isinstance(gate(verified(replace(GIVE, role=Role.SECURITY), "e.engel"), policy=policy, question=question), Waiting)
    assert isinstance(gate(override, verified(said(REFUSE), "c.cruz"), policy=policy, question=question), Refused)
    assert isinstance(gate(override, policy=policy, question=question, now=at(10)), Waiting), "it ends"


def test_a_review_is_by_another_than_who_overrode_and_is_not_held_up_by_a_refusal() -> None:
    question = replace(QUESTION, asks=REVIEW, not_by=frozenset({"E.Engel"}))
    policy = Policy.of(Role.SECURITY, Role.AUDITOR, Role.APPROVER)
    waiting = gate(verified(said(REVIEW, role=Role.SECURITY), "e.engel"), policy=policy, question=question)
    assert isinstance(waiting, Waiting)
    assert whys(waiting) == ["e.engel cannot answer this for themselves"]
    review, refusal = verified(said(REVIEW), "c.cruz"), verified(said(REFUSE), "b.klein")
    granted = gate(review, refusal, policy=policy, question=question, now=NOW + 10_000 * DAY_NANO)
    assert isinstance(granted, Granted)
    assert whys(granted) == ["is a refuse, and a review is asked for"]
    assert isinstance(gate(verified(said(REVIEW), "a.meyer"), policy=policy, question=question), Waiting)


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        ((), "asks somebody"), ((Need(()),), "asks somebody"), ((Need((Role.APPROVER,), 0),), "from 1 to 20"),
        ((Need((Role.APPROVER,), 21),), "from 1 to 20"), ((Need((Role.AUTHOR,)),), "cannot ask authors"),
        ((Need((Role.APPROVER, Role.TESTER)), Need((Role.TESTER,))), "asks for a role twice"),
    ],
)  # fmt: skip
def test_gates_that_contradict_themselves(needs: tuple[Need, ...], why: str) -> None:
    with pytest.raises(InvalidGate, match=why):
        Policy(needs)


@pytest.mark.parametrize("asks", [REFUSE, WITHDRAW])
def test_a_gate_asks_for_nothing_that_holds_back(asks: ApprovalDecision) -> None:
    with pytest.raises(InvalidGate, match="a gate asks for give"):
        replace(QUESTION, asks=asks)


# -- whatever is said ---------------------------------------------------------------------------------------------------------------

_KEYS = {"a.meyer": AUTHOR, "b.klein": KLEIN, "b.klein's other": KLEIN, "c.cruz": CRUZ, "d.dahl": DAHL, "e.engel": ENGEL}
_POLICIES = [ONE, TWO, BOTH, Policy.of(Role.APPROVER, Role.TESTER, Role.SECURITY, quorum=3)]


@st.composite
def words(draw: st.DrawFn, decisions: Sequence[ApprovalDecision] = (*[ApprovalDecision.GIVE] * 3, REFUSE, WITHDRAW, OVERRIDE)) -> Verified:
    """Anything that any known person may have said about this step or another, in the last minutes."""
    key = draw(st.sampled_from(sorted(_KEYS)))
    what = draw(st.sampled_from(decisions))
    changes: dict[str, Any] = {
        "role": draw(st.sampled_from(sorted(_KEYS[key].roles))), "issued_unix_nano": at(-draw(st.integers(1, 4))),
        "reason": draw(st.sampled_from(["because", "well"])),
    }  # fmt: skip
    if draw(st.booleans()):
        changes |= draw(
            st.sampled_from([{"rollout": OTHER_ROLLOUT}, {"plan": OTHER_PLAN}, {"step": 2}, {"shown": OTHER_SHOWN}, {}, {}, {}])
        )
    if what in ENDING and draw(st.integers(0, 9)) == 0:
        changes["expires_unix_nano"] = at(-0.5)
    return verified(said(what, **changes), key)


SAID = st.lists(words(), max_size=8)
slow = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@given(SAID, st.sampled_from(_POLICIES), st.randoms(use_true_random=False))
@slow
def test_the_order_does_not_matter(approvals: list[Verified], policy: Policy, random: Any) -> None:
    before = gate(*approvals, policy=policy)
    random.shuffle(approvals)
    assert gate(*approvals, policy=policy) == before
    assert gate(*approvals, *approvals, policy=policy).by == before.by or isinstance(before, Refused)


@given(SAID, st.sampled_from(_POLICIES), words())
@slow
def test_nothing_that_is_refused_ended_or_of_elsewhere_opens_a_gate(approvals: list[Verified], policy: Policy, more: Verified) -> None:
    foreign = (more.approval.rollout, more.approval.plan, more.approval.step, more.approval.shown) != (ROLLOUT, PLAN, 1, SHOWN)
    ended = more.approval.expires_unix_nano is not None and more.approval.expires_unix_nano <= NOW
    assume(foreign or ended or more.approval.decision is REFUSE)
    before = gate(*approvals, policy=policy)
    after = gate(*approvals, more, policy=policy)
    assert not isinstance(after, Granted) or isinstance(before, Granted)
    if isinstance(before, Refused) and more.approval.decision is not WITHDRAW:
        assert isinstance(after, Refused)


@given(SAID, st.sampled_from(_POLICIES), st.sampled_from(sorted(one.name for one in PEOPLE.people)))
@slow
def test_the_authors_own_word_never_counts(approvals: list[Verified], policy: Policy, author: str) -> None:
    decided = gate(*approvals, policy=policy, author=author)
    without_them = gate(*(one for one in approvals if one.person.name != author), policy=policy, author=author)
    if isinstance(decided, Granted | Waiting):
        assert author not in names(decided.by)
        # Whoever the author is, all that they can do is refuse.
        assert (type(decided), decided.by) == (type(without_them), without_them.by)


@given(SAID, st.sampled_from(_POLICIES))
@slow
def test_a_granted_gate_has_every_need_met_by_different_people(approvals: list[Verified], policy: Policy) -> None:
    decided = gate(*approvals, policy=policy)
    if isinstance(decided, Refused):
        assert all(one.approval.decision is REFUSE for one in decided.by)
        return
    assert len(set(names(decided.by))) == len(decided.by)
    short = [need for need in policy.needs if sum(one.approval.role in need.roles for one in decided.by) < need.quorum]
    assert bool(short) == isinstance(decided, Waiting)
    assert len(decided.missing if isinstance(decided, Waiting) else ()) == len(short)
    # Each word that was said is accounted for: it counts, takes something back, or is listed with why.
    listed = [*decided.by, *(one.approval for one in decided.not_counted)]
    quiet = [one for one in approvals if one.approval.decision is WITHDRAW]
    assert all(one in listed for one in approvals if one not in quiet)


@given(st.lists(words([ApprovalDecision.GIVE]), max_size=10), st.integers(1, 5))
@slow
def test_one_less_than_a_quorum_waits(approvals: list[Verified], quorum: int) -> None:
    policy = Policy.of(Role.APPROVER, Role.TESTER, Role.SECURITY, quorum=quorum)
    decided = gate(*approvals, policy=policy)
    anybody = Policy.of(Role.APPROVER, Role.TESTER, Role.SECURITY)
    people = {one.person.name for one in approvals if isinstance(gate(one, policy=anybody), Granted)}
    assert isinstance(decided, Granted if len(people) >= quorum else Waiting)


def test_every_n_of_a_quorum() -> None:
    people = People((AUTHOR, *(person(f"p{n}", Role.APPROVER) for n in range(5))))
    gives = [verified(GIVE, f"p{n}", people) for n in range(5)]
    for quorum, count in itertools.product(range(1, 6), range(6)):
        decided = gate(*gives[:count], policy=Policy.of(Role.APPROVER, quorum=quorum), people=people)
        assert isinstance(decided, Granted if count >= quorum else Waiting), (quorum, count)


@given(st.sampled_from(_POLICIES), SAID)
@slow
def test_where_nobody_is_known_nothing_opens(policy: Policy, approvals: list[Verified]) -> None:
    assert not isinstance(gate(*approvals, policy=policy, people=People()), Granted)
