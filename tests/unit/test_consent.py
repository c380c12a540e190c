"""What reports and controls say of approvals: the guard's own code over the record, which must agree with the verifier that shares none."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.unit.approval_people import person
from tests.unit.signed_logs import (
    DAY,
    GIVE,
    HOLIDAY,
    MINUTE,
    OVERRIDE,
    PLAN,
    REFUSE,
    START_OF,
    SWITCH,
    WITHDRAW,
    WORKDAY,
    Signed,
    approved,
    overridden,
    to_the_gate,
)
from tests.unit.test_audit_people import TAMPERED, one_gives

from verdigris.approvals.gate import REVIEWERS, Policy
from verdigris.audit.erased import Erased
from verdigris.audit.report import Facts, Heading, Items, Paragraph, Report, Table
from verdigris.audit.report_sections import report_of
from verdigris.audit.reports import controls_told
from verdigris.audit.story import GapKind, Story, tell
from verdigris.compliance.answers import Answer, State
from verdigris.compliance.assess import assess
from verdigris.compliance.catalogue import control_of
from verdigris.compliance.consent import OF_REVIEWS, Consent, Review, consent_of, reviews_of
from verdigris.compliance.oscal import poam
from verdigris.compliance.summary import properties
from verdigris.plan.document import load_plan
from verdigris.plan.gates import Role
from verdigris.times import NANO

VERIFIERS_ALONE = {
    "shown_of_another_step", "role_that_the_gate_does_not_ask", "step_that_has_no_gate", "author_approves",
    "author_under_a_name_that_reads_the_same", "entry_in_anothers_name", "override_without_a_review", "review_due_too_late",
    "review_of_nothing", "weight_beyond_the_plan_under_a_small_step",
}  # fmt: skip
"""A guard takes no such word in, and nothing had moved on it; or it is about how entries hang together, which the verifier looks at."""


def own(told: Signed) -> list[Any]:
    return [one for one in told.entries() if one.statement.rollout is not None]


def ledger_of(*told: Signed) -> list[Any]:
    return [entry for one in told for entry in one.entries() if entry.statement.kind in OF_REVIEWS]


def consent(told: Signed, *erased: str) -> Consent:
    return consent_of(own(told), lambda digest: None if digest in erased else told.evidence.get(digest))


def reviews(told: Signed) -> tuple[Review, ...]:
    return reviews_of(ledger_of(told), told.evidence.get)


def answer(key: str, told: Signed, *erased: str, as_of_unix_s: float | None = None) -> Answer:
    control = control_of(key)
    assert control is not None
    kept: Callable[[str], bytes | None] = lambda digest: None if digest in erased else told.evidence.get(digest)  # noqa: E731
    return assess(own(told), kept, (control,), ledger=ledger_of(told), as_of_unix_s=as_of_unix_s).controls[0].answer


def signed_by(told: Signed) -> list[str]:
    """The digests of what was signed, in order."""
    return [str(one.values["approval"]) for one in told.told if "approval" in one.values]


# -- words, moves, reviews


def test_who_reviews_is_who_the_guard_takes() -> None:
    assert Policy.of(Role.APPROVER, Role.SECURITY, Role.AUDITOR) == REVIEWERS  # one policy, of the guard and of the audit


def test_what_people_agreed_to_is_read_as_it_was_signed() -> None:
    found = consent(approved())
    assert [(one.entry, one.decision, one.wrong, one.erased) for one in found.words] == [
        (10, GIVE, "", False), (11, GIVE, "", False), (16, GIVE, "", False), (17, GIVE, "", False),
    ]  # fmt: skip
    assert [(one.entry, one.about, [word.person.name for word in one.by]) for one in found.moves] == [
        (12, "the step to 50 %", ["b.klein", "c.cruz"]), (18, "the switch", ["e.engel", "d.dahl"]),
    ]  # fmt: skip
    assert not reviews(approved())


@pytest.mark.parametrize("name", sorted(set(TAMPERED) - VERIFIERS_ALONE))
def test_what_was_tampered_with_is_found_without_the_verifier(name: str) -> None:
    told, _, _ = TAMPERED[name]()
    found, left = consent(told), reviews(told)
    assert [*(one.wrong for one in found.words), *(one.wrong for one in found.moves), *(one.wrong for one in left)].count("") < (
        len(found.words) + len(found.moves) + len(left)
    )


@pytest.mark.parametrize("name", sorted(VERIFIERS_ALONE))
def test_what_only_the_verifier_finds_is_no_approval(name: str) -> None:
    told, _, _ = TAMPERED[name]()
    assert not [one for one in consent(told).moves if one.by and not one.freeze]


def test_what_was_erased_is_not_held_against_anybody() -> None:
    told = one_gives().step(2, "approved")
    for erased in (signed_by(told)[1], told.told[10].based_on[1]):
        found = consent(told, erased)
        assert [one.erased for one in found.words] == [False, True]
        assert [(one.by, one.wrong) for one in found.moves] == [((), "")]
    assert consent(told, PLAN.digest).plan is None


def test_a_list_of_people_may_have_given_somebody_more_time() -> None:
    told = to_the_gate().says("b.klein", GIVE, 2)
    told.says("c.cruz", GIVE, 2, person=person("c.cruz", Role.APPROVER, until=told.now + 2 * MINUTE))
    told.now += 5 * MINUTE
    assert consent(told.step(2, "approved")).moves[0].by


def test_a_review_is_open_until_somebody_else_has_done_it() -> None:
    told = overridden()
    (left,) = reviews(told)
    assert (left.open, left.overdue(told.now / NANO), left.overdue((told.now + 4 * DAY) / NANO)) == (True, False, True)
    assert left.override is not None
    (done,) = reviews(overridden().reviewed("c.cruz"))
    assert done.done is not None
    assert not done.overdue((told.now + 4 * DAY) / NANO)


# -- controls

APPROVALS = ("PCI-DSS-4.0.1:6.5.4", "NIST-800-53r5:AC-5", "NIST-800-53r5:CM-3(1)", "NIST-800-53r5:CM-5")
CHANGES = ("PCI-DSS-4.0.1:6.5.1", "NIST-800-53r5:CM-3", "SOC2-2017:CC8.1")
OPEN = load_plan(PLAN.canonical.decode().replace('"gate":[{"people":2,"roles":["approver"]}]', '"gate":[]').replace(
    '"gate":[{"people":1,"roles":["approver","security"]},{"people":1,"roles":["tester"]}]', '"gate":[]'
))  # fmt: skip
"""The plan without any gate."""


@pytest.mark.parametrize("key", APPROVALS)
def test_a_control_of_approvals_is_evidenced_only_by_verified_words_of_others_at_all_gates(key: str) -> None:
    shown = answer(key, approved())
    assert (shown.state, shown.entries) == (State.EVIDENCED, (10, 11, 12, 16, 17, 18))
    assert any("approval before the first traffic" in one for one in shown.lacking)
    assert answer(key, to_the_gate()).state is State.NOT_COVERED
    told = approved()
    assert answer(key, told, signed_by(told)[0]).state is State.NOT_COVERED
    assert answer(key, told, PLAN.digest).state is State.NOT_COVERED
    assert "has no gate" in answer(key, Signed(plan=OPEN).submitted().step(0, "ready").step(1).step(2).step(SWITCH).committed()).why
    for name in ("author_was_counted", "one_of_two", "refusal_stands", "gate_passed_without_being_asked", "forward_in_a_freeze",
                 "signature_of_another_key", "commit_without_the_switch", "weight_without_any_move"):  # fmt: skip
        assert answer(key, TAMPERED[name]()[0]).state is State.CONTRADICTED, name


@pytest.mark.parametrize("key", CHANGES)
def test_a_control_of_changes_lacks_an_approval_until_it_is_shown(key: str) -> None:
    before = answer(key, to_the_gate())
    assert before.state is State.EVIDENCED
    unsigned = "approval by an authorised person: no entry of this rollout is a signed approval: the rollout passed no gate"
    assert before.lacking[0].startswith(unsigned)
    after = answer(key, one_gives().step(2, "approved"))
    assert after.state is State.EVIDENCED
    assert "the step to 50 % was approved by 2 people" in after.why
    assert not any(one.startswith("approval by an authorised person") for one in after.lacking)
    assert answer(key, one_gives(key="a.meyer").step(2, "approved")).state is State.CONTRADICTED


def test_an_override_is_no_approval_and_contradicts_when_nobody_reviews_it() -> None:
    told, key = overridden(), "PCI-DSS-4.0.1:6.5.1"
    told.says("b.klein", GIVE, 2).says("c.cruz", GIVE, 2).step(2, "approved")
    now = told.now / NANO
    assert any("the review of an override, due 2026-12-28" in one for one in answer(key, told, as_of_unix_s=now).lacking)
    late = answer(key, told, as_of_unix_s=now + 4 * 86_400)
    assert (late.state, "overdue" in late.why) == (State.CONTRADICTED, True)
    told.reviewed("c.cruz")
    assert answer(key, told, as_of_unix_s=now + 4 * 86_400).state is State.EVIDENCED
    assert answer(APPROVALS[0], overridden()).state is State.NOT_COVERED


def test_an_approval_by_the_author_contradicts_separate_roles_also_where_it_did_not_count() -> None:
    told = one_gives().says("a.meyer", GIVE, 2).step(2, "approved")
    assert answer("NIST-800-53r5:AC-5", told).state is State.CONTRADICTED
    assert answer("NIST-800-53r5:CM-3(1)", told).state is State.EVIDENCED


def test_an_override_that_was_erased_shows_no_approval() -> None:
    told = overridden().says("b.klein", GIVE, 2).says("c.cruz", GIVE, 2).step(2, "approved")
    assert "whether the way of entry 5 was open cannot be told" in answer(APPROVALS[0], told, signed_by(told)[0]).why


def test_security_took_part_where_it_was_counted() -> None:
    assert answer("NIST-800-53r5:CM-3(4)", approved()).entries == (16, 17, 18)
    assert answer("NIST-800-53r5:CM-3(4)", one_gives().step(2, "approved")).state is State.NOT_COVERED


def test_nobody_can_deny_what_they_signed() -> None:
    assert answer("NIST-800-53r5:AU-10", approved()).entries == (10, 11, 16, 17)
    told = approved()
    assert "1 more words that were erased" in answer("NIST-800-53r5:AU-10", told, signed_by(told)[0]).lacking
    assert answer("NIST-800-53r5:AU-10", to_the_gate()).state is State.NOT_COVERED
    assert answer("NIST-800-53r5:AU-10", TAMPERED["signature_of_another_key"]()[0]).state is State.CONTRADICTED
    assert answer("PCI-DSS-4.0.1:6.2.3", approved()).state is State.NOT_COVERED


def test_the_summary_names_gates_only_where_they_were_approved() -> None:
    name = "VERDIGRIS_GATES_APPROVED_BY_OTHERS"
    for told, holds in ((approved(), True), (to_the_gate(), False), (one_gives(key="a.meyer").step(2, "approved"), False)):
        assert (name in properties(assess(own(told), told.evidence.get, ()).facts)) is holds


def test_every_open_review_of_the_ledger_is_an_item_of_the_plan_of_action() -> None:
    loud, other = overridden(), Signed(WORKDAY + 40 * DAY, rollout="20270111-090000-ab34").submitted()
    evidence = {**loud.evidence, **other.evidence}
    for of, ledger, late in ((loud, ledger_of(loud), False), (other, ledger_of(loud), True)):
        made = poam(assess(own(of), evidence.get, (), ledger=ledger)).decode()
        assert f"An override of a freeze in {loud.rollout} is to be reviewed" in made
        assert "by e.engel, as security" in made
        assert ("It is overdue" in made) is late
    done = overridden().reviewed("c.cruz")
    assert "is to be reviewed" not in poam(assess(own(done), done.evidence.get, (), ledger=ledger_of(done))).decode()


# -- the report


def story(told: Signed, evidence: Mapping[str, bytes] | None = None, ledger: list[Any] | None = None, **more: Any) -> Story:
    kept = told.evidence if evidence is None else evidence
    return tell(own(told), kept.get, ledger=ledger_of(told) if ledger is None else ledger, **more)


def text_of(report: Report, section: str | None = None) -> str:
    """All words of a report, or of one section."""
    told: list[str] = [] if section else [*report.summary, *(f"{name}: {text.text}" for name, text in report.facts.rows)]
    for one in report.sections:
        for block in one.blocks if section in {None, one.name} else ():
            match block:
                case Paragraph(text=text):
                    told.append(text.text)
                case Heading(text=text):
                    told.append(text)
                case Facts(rows=rows):
                    told += [f"{name}: {text.text}" for name, text in rows]
                case Items(items=items):
                    told += [text.text for text in items]
                case Table(caption=caption, rows=cells):
                    told += [caption, *(" | ".join(text.text for text in row) for row in cells)]
                case _:
                    pass
    return "\n".join(told)


def test_the_report_says_who_approved_what_with_which_key_on_what() -> None:
    told = approved()
    said = text_of(report_of(story(told)), "people")
    assert "b.klein | approver | approves | the step to 50 % | because it is so" in said
    given = told.signatures()[0]
    shown = told.told[9].based_on[2]
    assert f"10 | b.klein | {given.signature.key.fingerprint} | {shown} | 2026-12-01 10:10:00 UTC | good" in said
    assert f"Shown (SHA-256): {shown}" in said
    assert "12 | the step to 50 %, through its gate | yes | b.klein (approver), c.cruz (approver)" in said


def test_the_report_says_refusals_and_withdrawals_with_their_reasons_and_what_is_not_so() -> None:
    told = to_the_gate().says("b.klein", REFUSE, 2, reason="nobody is there").says("b.klein", WITHDRAW, 2, reason="somebody is")
    said = text_of(report_of(story(told)), "people")
    assert "b.klein | approver | REFUSES | the step to 50 % | nobody is there" in said
    assert "b.klein | approver | withdraws | the step to 50 % | somebody is" in said
    forged = report_of(story(one_gives(signs="e.engel").step(2, "approved")))
    assert "NOT GOOD" in text_of(forged, "people")
    assert "not so: it is signed with the key" in text_of(forged, "missing")
    assert "it was not open: 1 more of approver" in text_of(forged, "missing")
    assert "12 | the step to 50 %, through its gate | NO | 1 more of approver (2 asked; so far: b.klein)" in text_of(forged, "people")


def test_overrides_are_loud_and_reviews_stand_in_every_report_until_they_are_done() -> None:
    loud, later = overridden(), Signed(HOLIDAY + 9 * DAY, rollout="20270103-090000-ab34").submitted()
    evidence = {**loud.evidence, **later.evidence}
    said = text_of(report_of(story(loud)))
    assert "A FREEZE WAS OVERRIDDEN. e.engel, as security, overrode it at 2026-12-25 09:03:00 UTC" in said
    assert "Open reviews: 1 in this ledger" in said
    other = report_of(story(later, evidence, ledger_of(loud)))
    assert "Open reviews: 1 in this ledger, 1 OVERDUE" in text_of(other)
    assert f"OVERDUE as of 2027-01-03 09:01:00 UTC: the override of a freeze in the rollout {loud.rollout}" in text_of(other, "people")
    assert f"OVERDUE: the review of an override of a freeze in {loud.rollout} is open" in text_of(other, "missing")
    loud.reviewed("c.cruz")
    done = text_of(report_of(story(loud)))
    assert "The override was reviewed by c.cruz, as approver" in done
    assert "Open reviews" not in done
    assert "Open reviews" not in text_of(report_of(story(later, {**evidence, **loud.evidence}, ledger_of(loud))))


def test_the_report_says_what_was_erased() -> None:
    told = one_gives().step(2, "approved")
    name = signed_by(told)[1]
    told.evidence.pop(name)
    found = story(told, erased={name: Erased(99, told.now, "retention")})
    said = text_of(report_of(found), "people")
    assert "c.cruz | erased | approves | the step to 50 % | erased" in said
    assert "the step to 50 %, through its gate | cannot be told" in said
    assert any(gap.kind is GapKind.ERASED and "what somebody signed" in gap.text.lower() for gap in found.gaps)
    assert not any(gap.kind is GapKind.CONSENT for gap in found.gaps)


def test_controls_in_the_report_are_those_of_the_ledger() -> None:
    told = approved()
    controls = controls_told(own(told), told.evidence.get, ledger_of(told))
    assert {one.state for one in controls if one.name in APPROVALS} == {State.EVIDENCED.value}


def test_an_override_of_a_plan_that_lets_nobody_is_told() -> None:
    plan = load_plan(PLAN.canonical.decode().replace('"break_glass":{"gate":[{"people":1,"roles":["security"]}],"review_within":259200}',
                                                     '"break_glass":null'))  # fmt: skip
    told = Signed(HOLIDAY, plan).submitted().says("e.engel", OVERRIDE, START_OF, Role.SECURITY).step(0, "ready")
    assert [one.wrong for one in consent(told).moves] == ["the plan lets nobody override a freeze"]
