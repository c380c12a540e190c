"""What one rollout says of controls: the catalogue, the rules, and documents that are the same for the same ledger."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import rfc8785
from tests.unit.audit_logs import ROLLOUT, digest, statement

from verdigris.compliance.answers import Answer, State
from verdigris.compliance.assess import assess
from verdigris.compliance.catalogue import CATALOGUE, Framework, control_of
from verdigris.compliance.documents import line
from verdigris.compliance.oscal import assessment_results, poam
from verdigris.compliance.sarif import LEVELS, MEANINGS, findings_sarif
from verdigris.compliance.summary import summary
from verdigris.judge.verdict import Severity, Signal
from verdigris.ledger.entry_kinds import SIGNALS, Kind, Value
from verdigris.ledger.statement import Actor, ActorKind, Clock, Outcome, Statement

ASKED = {
    Framework.PCI_DSS: (
        "1.2.2 2.2.1 3.3.1.1 3.3.1.2 3.3.1.3 3.4.1 3.5.1 6.2.3 6.3.1 6.3.2 6.3.3 6.5.1 6.5.2 6.5.3 6.5.4 6.5.5 6.5.6 8.2.1 10.2.1 10.2.2 "
        "10.3.1 10.3.2 10.3.3 10.3.4 10.4.1.1 10.5.1 10.6 10.7.2 11.5.2"
    ),
    Framework.HIPAA: (
        "164.308(a)(1)(ii)(D) 164.308(a)(3) 164.308(a)(4) 164.308(a)(6)(ii) 164.308(a)(7) 164.308(a)(8) 164.312(a)(2)(i) 164.312(b) "
        "164.312(c)(1) 164.312(c)(2) 164.312(d) 164.312(e) 164.316(b)(2)(i) 164.502(b)"
    ),
    Framework.GDPR: "5(1)(c) 5(1)(f) 5(2) 25 30 32(1)(b) 32(1)(d) 33(5) 35(11)",
    Framework.NIST_800_53: (
        "AC-5 AC-6(9) AU-2 AU-3 AU-5 AU-6 AU-7 AU-8 AU-9 AU-9(2) AU-9(3) AU-9(4) AU-10 AU-11 AU-12 CA-2 CA-5 CA-7 CM-2 CM-2(3) CM-3 "
        "CM-3(1) CM-3(2) CM-3(4) CM-4 CM-4(1) CM-4(2) CM-5 CM-5(1) CM-6 CM-6(2) CM-8 CP-10 IA-2 IR-4 IR-5 IR-6 RA-5 SA-10 SA-11 SI-2 "
        "SI-4 SI-7 SI-7(1) SI-7(7) SI-12 SI-19"
    ),
    Framework.SOC_2: "CC3.4 CC6.1 CC6.8 CC7.1 CC7.2 CC7.3 CC7.4 CC7.5 CC8.1 PI1.5",
}
PLAN = rfc8785.dumps({
    "name": "clinic", "change": {"reason": "r", "security_impact": "none", "rollback_plan": "blue", "ticket": "C-1", "author": "ann"},
})  # fmt: skip
PLAN_DIGEST = digest(PLAN.decode())
JUDGEMENT = rfc8785.dumps({"findings": [{
    "sentence": "GET /x fails\nmore often.", "operation": {"service": "portal", "kind": "SERVER", "name": "GET /x"}, "edge": None,
    "effect": {"unit": "share", "baseline": 0.1, "candidate": 0.2}, "evidence": {"log_e": 7.5, "threshold": 6.0},
}]})  # fmt: skip
PERSON, GUARD = rfc8785.dumps({"name": "ann", "kind": "person"}), rfc8785.dumps({"name": "g1", "kind": "guard"})
EVIDENCE = {digest(blob.decode()): blob for blob in (PLAN, JUDGEMENT, PERSON, GUARD)}
BY_GUARD, BY_PERSON = Actor(ActorKind.GUARD, digest(GUARD.decode())), Actor(ActorKind.PERSON, digest(PERSON.decode()))

Told = tuple[Kind, dict[str, Value], dict[str, Any]]


@dataclass(frozen=True)
class At:
    index: int
    statement: Statement


def submitted() -> Told:
    return Kind.PLAN_SUBMITTED, {}, {"actor": BY_PERSON, "based_on": (PLAN_DIGEST,)}


def weight(percent: float, step: int = 0) -> list[Told]:
    asked: dict[str, Value] = {"candidatePercent": percent, "generation": step + 1}
    seen: dict[str, Value] = {**asked, "committed": False}
    return [
        (Kind.WEIGHT_INTENDED, {**asked, "step": step, "leaseS": 10}, {"outcome": Outcome.ANNOUNCED}),
        (Kind.WEIGHT_OBSERVED, seen, {"outcome": Outcome.SEEN}),
    ]


def verdict(found: str, findings: int = 0) -> Told:
    values: dict[str, Value] = {
        "verdict": found, "judge": digest("judge"), "judgeVersion": "0.1.0", "numpyVersion": "2.1.0",
        "judgement": digest(JUDGEMENT.decode()), "looks": digest("looks"), "reference": digest("reference"), "windows": 3,
        "findings": findings, "baselineTraces": 9, "candidateTraces": 9,
    }  # fmt: skip
    return Kind.VERDICT, values, {"based_on": (digest(JUDGEMENT.decode()),)}


def finding(signal: str = "errors", severity: str = "critical") -> Told:
    values: dict[str, Value] = {"signal": signal, "severity": severity, "position": 0}
    return Kind.FINDING, values, {"based_on": (digest(JUDGEMENT.decode()),), "outcome": Outcome.SEEN}


def back(percent: float | None = 0.0) -> list[Told]:
    observed: dict[str, Value] = {"candidatePercent": percent, "generation": None, "committed": False if percent is not None else None}
    return [
        (Kind.ROLLBACK_INTENDED, {"generation": 9}, {"outcome": Outcome.ANNOUNCED}),
        (Kind.ROLLBACK_OBSERVED, observed, {"outcome": Outcome.SEEN}),
    ]


def commit() -> list[Told]:
    whole: dict[str, Value] = {"candidatePercent": 100.0, "generation": 8}
    return [
        (Kind.COMMIT_INTENDED, whole, {"outcome": Outcome.ANNOUNCED}),
        (Kind.COMMIT_OBSERVED, {**whole, "committed": True}, {"outcome": Outcome.SEEN}),
    ]


def ended(phase: str) -> Told:
    return Kind.ROLLOUT_ENDED, {"phase": phase}, {}


def entries(*told: Told) -> list[At]:
    """A rollout whose first entry is the hundredth of the ledger."""
    return [
        At(99 + n, statement(kind, n, ROLLOUT, values, **{"plan": PLAN_DIGEST, "actor": BY_GUARD, **more}))
        for n, (kind, values, more) in enumerate(told, 1)
    ]


COMMITTED = entries(submitted(), *weight(5), *weight(50, 1), verdict("PASS"), *commit(), ended("committed"))
RETURNED = entries(submitted(), *weight(5), verdict("FAIL", 1), finding(), *back(), ended("rolled back"))


def answer(key: str, told: list[At], evidence: Mapping[str, bytes] = EVIDENCE) -> Answer:
    control = control_of(key)
    assert control is not None, key
    (one,) = assess(told, evidence.get, (control,)).controls
    return one.answer


def without(*blobs: bytes) -> dict[str, bytes]:
    return {name: blob for name, blob in EVIDENCE.items() if blob not in blobs}


# -- the catalogue


def test_the_catalogue_has_every_control_and_no_other() -> None:
    for framework, identifiers in ASKED.items():
        assert [one.identifier for one in CATALOGUE if one.framework is framework] == identifiers.split()
    assert len({one.key for one in CATALOGUE}) == len({one.oscal_id for one in CATALOGUE}) == len(CATALOGUE)


def test_a_control_is_named_with_the_version_of_its_framework() -> None:
    assert control_of("pci-dss-4.0.1:6.5.1") is control_of("PCI-DSS-4.0.1:6.5.1") is not None
    assert control_of("PCI-DSS-3.2.1:6.4.5") is None
    assert control_of("") is None
    assert {f.value.version for f in Framework} >= {"v4.0.1", "Revision 5", "Regulation (EU) 2016/679"}
    cm = control_of("NIST-800-53r5:CM-3(2)")
    assert cm is not None
    assert cm.oscal_id == "cm-3.2"


@pytest.mark.parametrize("told", [COMMITTED, RETURNED, COMMITTED[:1]], ids=["committed", "returned", "begun"])
@pytest.mark.parametrize("evidence", [EVIDENCE, {}], ids=["kept", "erased"])
def test_every_answer_cites_entries_of_the_rollout_and_says_why(told: list[At], evidence: Mapping[str, bytes]) -> None:
    indices = {entry.index for entry in told}
    for one in assess(told, evidence.get).controls:
        assert one.answer.why, one.control.key
        assert "complian" not in one.answer.why + one.control.title
        assert set(one.answer.entries) <= indices
        assert bool(one.answer.entries) is (one.answer.state is not State.NOT_COVERED)


def test_what_a_rollout_evidences_is_exactly_this() -> None:
    always = {
        "PCI-DSS-4.0.1:6.5.1", "PCI-DSS-4.0.1:10.2.1", "PCI-DSS-4.0.1:10.3.4", "PCI-DSS-4.0.1:10.6", "HIPAA-45CFR:164.308(a)(8)",
        "HIPAA-45CFR:164.312(b)", "NIST-800-53r5:AC-6(9)", "NIST-800-53r5:AU-8", "NIST-800-53r5:AU-9(3)", "NIST-800-53r5:AU-12",
        "NIST-800-53r5:CM-3", "NIST-800-53r5:CM-3(2)", "NIST-800-53r5:CM-4", "SOC2-2017:CC7.2", "SOC2-2017:CC8.1",
    }  # fmt: skip
    for told, more in ((COMMITTED, set()), (RETURNED, {"NIST-800-53r5:CM-2(3)", "NIST-800-53r5:CP-10"})):
        assessment = assess(told, EVIDENCE.get)
        assert {one.control.key for one in assessment.of(State.EVIDENCED)} == always | more
        assert assessment.of(State.CONTRADICTED) == ()


# -- the rules


def test_a_change_is_controlled_by_its_plan_its_announcements_and_a_test_and_approval_is_told_as_lacking() -> None:
    found = answer("PCI-DSS-4.0.1:6.5.1", COMMITTED)
    assert found.state is State.EVIDENCED
    assert set(found.entries) == {100, 101, 102, 103, 104, 105, 106, 107}
    assert any("approval" in part for part in found.lacking)
    assert answer("PCI-DSS-4.0.1:6.5.1", COMMITTED, without(PLAN)).state is State.NOT_COVERED
    begun = answer("PCI-DSS-4.0.1:6.5.1", COMMITTED[:1])
    assert (begun.state, len(begun.lacking)) == (State.EVIDENCED, 3)


@pytest.mark.parametrize("field", ["reason", "security_impact", "rollback_plan", "ticket", "author"])
def test_a_plan_without_one_of_its_fields_contradicts(field: str) -> None:
    plan = json.loads(PLAN)
    plan["change"][field] = " "
    found = answer("PCI-DSS-4.0.1:6.5.1", COMMITTED, {**EVIDENCE, PLAN_DIGEST: rfc8785.dumps(plan)})
    assert (found.state, found.entries) == (State.CONTRADICTED, (100,))
    assert field in found.why


def test_a_commit_without_a_pass_contradicts() -> None:
    unfit: list[list[Told]] = [[], [verdict("NOT_ENOUGH_DATA")], [verdict("PASS"), verdict("FAIL")], [verdict("PASS"), verdict("BLIND")]]
    for verdicts in unfit:
        told = entries(submitted(), *verdicts, *commit())
        for key in ("PCI-DSS-4.0.1:6.5.1", "NIST-800-53r5:CM-3(2)", "SOC2-2017:CC8.1"):
            assert answer(key, told).state is State.CONTRADICTED
    assert answer("NIST-800-53r5:CM-3(2)", entries(submitted(), verdict("BLIND"), *back())).state is State.NOT_COVERED


def test_a_bake_needs_no_pass_of_its_own_and_that_is_told() -> None:
    told = entries(submitted(), *weight(50), verdict("PASS"), verdict("NOT_ENOUGH_DATA"), *commit())
    for key in ("NIST-800-53r5:CM-3(2)", "PCI-DSS-4.0.1:6.5.1"):
        found = answer(key, told)
        assert found.state is State.EVIDENCED
        assert "the last verdict was NOT_ENOUGH_DATA (entry 104)" in found.lacking[-1]
    assert answer("NIST-800-53r5:CM-3(2)", COMMITTED).lacking == ()


def test_traffic_that_nobody_announced_contradicts() -> None:
    told = entries(submitted(), *weight(5), weight(20)[1])
    found = answer("NIST-800-53r5:CM-3", told)
    assert (found.state, found.entries) == (State.CONTRADICTED, (103,))


def test_a_gap_contradicts_and_lateness_is_told() -> None:
    found = answer("PCI-DSS-4.0.1:10.2.1", [*COMMITTED[:2], *COMMITTED[3:]])
    assert (found.state, found.entries) == (State.CONTRADICTED, (103,))
    assert answer("PCI-DSS-4.0.1:10.2.1", COMMITTED[1:]).state is State.CONTRADICTED
    late = entries(submitted(), (Kind.ROLLBACK_OBSERVED, back()[1][1], {"late": True}))
    assert "1 of them were entered after the act" in answer("HIPAA-45CFR:164.312(b)", late).why
    assert answer("PCI-DSS-4.0.1:10.7.2", late).entries == (101,)
    assert answer("NIST-800-53r5:AU-5", COMMITTED).state is State.NOT_COVERED


def test_a_clock_that_nobody_vouches_for_evidences_no_synchronisation() -> None:
    kind, values, more = submitted()
    told = entries((kind, values, {**more, "clock": Clock(synchronised=False)}))
    assert answer("PCI-DSS-4.0.1:10.6", told).state is State.NOT_COVERED
    assert "not say" in answer("NIST-800-53r5:AU-8", told).lacking[0]
    assert "at most 12 ms" in answer("PCI-DSS-4.0.1:10.6", COMMITTED).why


def test_all_fields_of_an_event_need_a_card_that_says_from_where() -> None:
    assert answer("PCI-DSS-4.0.1:10.2.2", COMMITTED).state is State.NOT_COVERED
    cards = {actor.card: rfc8785.dumps({"name": "x", "from": "10.0.0.1"}) for actor in (BY_GUARD, BY_PERSON)}
    assert answer("NIST-800-53r5:AU-3", COMMITTED, {**EVIDENCE, **cards}).state is State.EVIDENCED
    assert "erased" in answer("NIST-800-53r5:AU-3", COMMITTED, without(GUARD, PERSON)).why


def test_people_are_named_in_what_they_asked_for() -> None:
    assert answer("NIST-800-53r5:AC-6(9)", COMMITTED).entries == (100,)
    assert answer("NIST-800-53r5:AC-6(9)", COMMITTED, without(PERSON)).state is State.NOT_COVERED
    assert answer("NIST-800-53r5:AC-6(9)", COMMITTED[1:]).state is State.NOT_COVERED


@pytest.mark.parametrize("key", ["PCI-DSS-4.0.1:6.5.4", "NIST-800-53r5:AC-5"])
def test_an_approval_whose_signature_is_not_there_separates_no_roles(key: str) -> None:
    approval: Told = (Kind.APPROVAL_GIVEN, {"step": 0, "approval": digest("a")}, {"actor": BY_PERSON})
    for told in (COMMITTED, entries(submitted(), approval)):
        assert answer(key, told).state is State.NOT_COVERED
    assert "approval by an authorised person: " in answer("PCI-DSS-4.0.1:6.5.1", entries(submitted(), approval)).lacking[0]


def test_a_return_counts_when_the_proxy_says_so() -> None:
    key = "NIST-800-53r5:CP-10"
    assert answer(key, RETURNED).entries == (105, 106)
    assert answer(key, COMMITTED).state is State.NOT_COVERED
    assert answer(key, entries(submitted(), *back(None))).state is State.NOT_COVERED
    assert answer(key, entries(submitted(), *back(None), ended("rolled back"))).state is State.CONTRADICTED
    assert answer(key, entries(submitted(), *back(5.0), ended("rolled back"))).state is State.CONTRADICTED


def test_weights_that_somebody_else_set_are_answered_by_going_back() -> None:
    key, (_, seen, _) = "NIST-800-53r5:CM-6(2)", weight(30)[1]
    foreign: Told = (Kind.WEIGHT_OBSERVED, seen, {"outcome": Outcome.FAILED})
    assert answer(key, RETURNED).state is State.NOT_COVERED
    assert answer(key, entries(submitted(), *weight(5), foreign)).state is State.NOT_COVERED
    assert answer(key, entries(submitted(), *weight(5), foreign, *back())).state is State.EVIDENCED


def test_an_open_door_is_a_suspected_incident() -> None:
    for key in ("NIST-800-53r5:IR-4", "HIPAA-45CFR:164.308(a)(6)(ii)", "SOC2-2017:CC7.4"):
        assert answer(key, RETURNED).state is State.NOT_COVERED
        door = [submitted(), verdict("FAIL", 1), finding("refused less")]
        assert answer(key, entries(*door, *back())).state is State.EVIDENCED
        assert answer(key, entries(*door)).state is State.NOT_COVERED
        assert answer(key, entries(*door, *commit())).state is State.CONTRADICTED


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["card@span_attribute"], {"PCI-DSS-4.0.1:3.4.1", "HIPAA-45CFR:164.502(b)", "GDPR-2016-679:5(1)(c)", "GDPR-2016-679:32(1)(b)"}),
        (["card_code@span_name"], {"PCI-DSS-4.0.1:3.3.1.2", "GDPR-2016-679:32(1)(b)"}),
        (["bearer@event_attribute", "npi@span_name"], {"GDPR-2016-679:32(1)(b)"}),
        (["case_number@span_name"], set()),
    ],
)
def test_a_leak_speaks_of_the_controls_of_what_was_sent_and_of_no_other(words: list[str], shown: set[str]) -> None:
    judgement = rfc8785.dumps({"findings": [{"sentence": "It sends.", "operation": None, "edge": None, "leaks": words}]})
    evidence = {**EVIDENCE, digest(judgement.decode()): judgement}
    kind, values, more = finding("sensitive data")
    leak = (kind, values, {**more, "based_on": (digest(judgement.decode()),)})
    asked = [c for c in CATALOGUE if c.identifier in {"3.3.1.2", "3.3.1.3", "3.4.1", "164.502(b)", "5(1)(c)", "32(1)(b)"}]
    assert len(asked) == 6

    def of(state: State, *told: Told, kept: Mapping[str, bytes] = evidence) -> set[str]:
        found = assess(entries(submitted(), verdict("FAIL", 1), leak, *told), kept.get, tuple(asked))
        return {one.control.key for one in found.of(state)}

    assert of(State.EVIDENCED, *back()) == shown
    assert of(State.CONTRADICTED, *commit()) == shown
    assert of(State.EVIDENCED) == of(State.CONTRADICTED) == set()
    assert of(State.EVIDENCED, *back(), kept=EVIDENCE) == of(State.CONTRADICTED, *commit(), kept=EVIDENCE) == set()


def test_blind_and_finished_contradicts_monitoring() -> None:
    blind: Told = (Kind.TELEMETRY_BLIND, {"proxied": 90, "traced": 0}, {})
    again: Told = (Kind.TELEMETRY_RESTORED, {"proxied": 90, "traced": 80}, {})
    assert answer("SOC2-2017:CC7.2", entries(submitted(), verdict("PASS"), blind, *commit())).state is State.CONTRADICTED
    assert answer("SOC2-2017:CC7.2", entries(submitted(), verdict("PASS"), blind, again, *commit())).state is State.EVIDENCED
    assert answer("SOC2-2017:CC7.2", entries(submitted(), verdict("NOT_ENOUGH_DATA"), blind, *back())).state is State.NOT_COVERED


@pytest.mark.parametrize(
    ("result", "moved", "state"),
    [("PASS", True, "evidenced"), ("FAIL", False, "evidenced"), ("FAIL", True, "contradicted"), ("CANNOT_TELL", True, "not covered")],
)
def test_a_check_for_vulnerabilities_counts_by_its_result(result: str, moved: bool, state: str) -> None:  # noqa: FBT001
    check: Told = (Kind.PREFLIGHT_CHECK, {"check": "vulnerabilities", "result": result}, {})
    told = entries(submitted(), check, *(weight(5) if moved else []))
    for key in ("PCI-DSS-4.0.1:6.3.1", "NIST-800-53r5:RA-5", "SOC2-2017:CC7.1"):
        assert answer(key, told).state.value.startswith(state)
        assert answer(key, COMMITTED).state is State.NOT_COVERED


# -- documents


def test_the_same_ledger_gives_the_same_bytes_and_another_gives_others() -> None:
    for made in (assessment_results, poam):
        first = made(assess(RETURNED, EVIDENCE.get))
        assert first == made(assess(list(RETURNED), EVIDENCE.get))
        assert first != made(assess(COMMITTED, EVIDENCE.get))
        assert json.loads(first) == json.loads(first.decode())
    assert findings_sarif(RETURNED, EVIDENCE.get) == findings_sarif(list(RETURNED), EVIDENCE.get)
    assert summary(RETURNED, EVIDENCE.get) == summary(list(RETURNED), EVIDENCE.get)


def uuids(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for name, value in document.items():
            if name in {"uuid", "guid"}:
                yield value
            yield from uuids(value)
    elif isinstance(document, list):
        for value in document:
            yield from uuids(value)


def test_uuids_are_of_version_5_distinct_and_stay_when_evidence_is_erased() -> None:
    found = list(uuids(json.loads(assessment_results(assess(RETURNED, EVIDENCE.get)))))
    assert {uuid.UUID(one).version for one in found} == {5}
    assert len(set(found)) == len(found)
    erased = list(uuids(json.loads(assessment_results(assess(RETURNED, without(JUDGEMENT).get)))))
    assert len(set(found) ^ set(erased)) == 2  # the document itself


def test_references_within_a_document_lead_somewhere() -> None:
    told = entries(submitted(), *weight(5), verdict("FAIL", 1), finding("refused less"), *commit())
    for made in (assessment_results, poam):
        text = made(assess(told, EVIDENCE.get)).decode()
        document = json.loads(text)
        known = set(uuids(document))
        (body,) = document.values()
        for part in [body, *body.get("results", [])]:
            for thing in [*part.get("findings", []), *part.get("risks", []), *part.get("poam-items", []), *part.get("observations", [])]:
                named = [
                    reference[name]
                    for group, name in (
                        ("related-observations", "observation-uuid"), ("related-risks", "risk-uuid"), ("related-findings", "finding-uuid"),
                    )
                    for reference in thing.get(group, [])
                ]  # fmt: skip
                assert set(named) | {link["href"][1:] for link in thing.get("links", [])} <= known


def test_findings_are_contradicted_controls_and_risks_are_what_the_judge_found_or_what_is_open() -> None:
    told = entries(submitted(), *weight(5), verdict("FAIL", 1), finding("refused less"), *commit())
    (result,) = json.loads(assessment_results(assess(told, EVIDENCE.get)))["assessment-results"]["results"]
    assert {one["target"]["status"]["state"] for one in result["findings"]} == {"not-satisfied"}
    assert any(one["target"]["target-id"] == "cm-3.2_smt" for one in result["findings"])
    assert [one["status"] for one in result["risks"]] == ["open", "open"]
    assert "GET /x fails more often." in result["risks"][0]["description"]
    assert "no end" in result["risks"][1]["title"]
    (result,) = json.loads(assessment_results(assess(RETURNED, EVIDENCE.get)))["assessment-results"]["results"]
    assert "findings" not in result
    assert [one["status"] for one in result["risks"]] == ["closed"]


def test_a_plan_of_action_says_what_must_be_shown_elsewhere() -> None:
    items = json.loads(poam(assess(COMMITTED, EVIDENCE.get)))["plan-of-action-and-milestones"]["poam-items"]
    assert len(items) == 1
    names = [prop["value"] for prop in items[0]["props"] if prop["name"] == "not-covered"]
    assert "PCI-DSS-4.0.1:6.5.4" in names


def test_findings_as_sarif() -> None:
    assert {signal.value for signal in MEANINGS} == set(SIGNALS) == {signal.value for signal in Signal}
    assert set(LEVELS) == {severity.value for severity in Severity}
    (run,) = json.loads(findings_sarif(RETURNED, EVIDENCE.get))["runs"]
    (result,) = run["results"]
    assert (result["level"], result["message"]["text"]) == ("error", "GET /x fails more often.")
    assert result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "portal SERVER GET /x"
    (run,) = json.loads(findings_sarif(RETURNED, without(JUDGEMENT).get))["runs"]
    assert "erased" in run["results"][0]["message"]["text"]
    assert json.loads(findings_sarif(COMMITTED, EVIDENCE.get))["runs"][0]["results"] == []


def test_a_summary_has_what_holds_and_nothing_for_what_does_not() -> None:
    def holds(told: list[At]) -> list[str]:
        statement = json.loads(summary(told, EVIDENCE.get) or b"")
        assert statement["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
        assert statement["predicate"]["verifier"]["policies"][0]["digest"]["sha256"] == PLAN_DIGEST
        return [name.removeprefix("VERDIGRIS_") for name in statement["predicate"]["properties"]]

    whole = ["WEIGHTS_ANNOUNCED", "ENTRIES_WITHOUT_GAP", "NO_ENTRY_LATE"]
    assert holds(COMMITTED) == ["ROLLOUT_ENDED", "CANDIDATE_COMMITTED", "COMMITTED_AFTER_PASS", *whole]
    assert holds(RETURNED) == ["ROLLOUT_ENDED", "RETURNED_TO_BASELINE", *whole]
    assert holds(entries(submitted(), *commit(), ended("committed"))) == ["ROLLOUT_ENDED", "CANDIDATE_COMMITTED", *whole]
    assert holds(entries(submitted(), *back(None), ended("rolled back"))) == ["ROLLOUT_ENDED", *whole[1:]]
    assert summary(COMMITTED[:-1], EVIDENCE.get) is None


def test_text_in_titles_is_one_line_without_control_characters() -> None:
    assert line("a\nb\x1b[31m\tc ") == "a b [31m c"
    assert line("\n") == "-"
