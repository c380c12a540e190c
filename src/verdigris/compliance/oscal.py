"""Assessment results and a plan of action and milestones in OSCAL 1.2.1.

- An *observation* is an entry that some control's answer, or a risk, rests on; or an evidenced control, with links to the entries that
  show it and what they leave open.
- A *finding* is a contradicted control. Controls that are evidenced have none: a finding's "satisfied" is an assessor's word.
- A *risk* is what the judge found at the rollout's last verdict with findings, or a rollout that has no end in the record.
- Controls that the rollout does not cover are properties of the result, each with the reason.
- Each review of an override that is open, in whatever rollout of the ledger, is an item of the plan of action.

Every UUID is of version 5 and made from what it identifies, the documents' own from their content, and no time is other than the ledger's:
the same ledger gives the same bytes. Links lead to the files of an evidence pack, in which the documents lie in `oscal/`.
Source: NIST OSCAL 1.2.1, the models assessment-results and plan-of-action-and-milestones.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from verdigris.compliance.answers import State
from verdigris.compliance.assess import Assessed, Assessment
from verdigris.compliance.catalogue import Framework
from verdigris.compliance.consent import Entry, Review
from verdigris.compliance.documents import identifier, line, written
from verdigris.compliance.facts import Facts
from verdigris.ledger.entry_kinds import Kind
from verdigris.times import NANO, rfc3339

OSCAL_VERSION = "1.2.1"
NAMESPACE = "https://verdigris.dev/ns/oscal"
PLAN_SYSTEM = "https://verdigris.dev/ns/plan"

_TESTS = frozenset({
    Kind.PREFLIGHT_CHECK, Kind.VERDICT, Kind.FINDING, Kind.WEIGHT_OBSERVED, Kind.ROLLBACK_OBSERVED, Kind.COMMIT_OBSERVED, Kind.REFERENCE,
    Kind.TELEMETRY_BLIND, Kind.TELEMETRY_RESTORED,
})  # fmt: skip
"""Entries of what was tried or measured; the others are to be examined."""

Json = dict[str, Any]


def assessment_results(assessment: Assessment) -> bytes:
    """The document `assessment-results`."""
    facts = assessment.facts
    plan = identifier("plan", facts.plan_digest)
    ended = {} if facts.ended_as is None else {"end": rfc3339(facts.last.unix_nano)}
    risks = _risks(facts)
    covered = [one for one in assessment.controls if one.answer.state is not State.NOT_COVERED]
    result = {
        "uuid": identifier("result", facts.rollout, *map(facts.digest, facts.entries)),
        "title": f"Rollout {facts.rollout}",
        "description": f"{_ending(facts)} Controls are evidenced, contradicted or not covered by this rollout; none is called satisfied.",
        "start": rfc3339(facts.first.unix_nano),
        **ended,
        "props": [
            _property("not-covered", one.control.key, one.answer.why, one.control.framework.name.lower())
            for one in assessment.of(State.NOT_COVERED)
        ] or [_property("not-covered", "none")],
        "reviewed-controls": {"control-selections": list(_selections(covered))},
        "observations": [*_observed(facts, _cited(covered, facts)), *(_evidenced(one, facts) for one in assessment.of(State.EVIDENCED))],
        **_some("risks", risks),
        **_some("findings", [_finding(one, facts) for one in assessment.of(State.CONTRADICTED)]),
    }  # fmt: skip
    document = {
        "metadata": _metadata("Assessment results", facts),
        "import-ap": {"href": f"#{plan}", "remarks": "What was asked for: the rollout's plan, which is no OSCAL document."},
        "results": [result],
        "back-matter": {"resources": [_plan(plan, facts)]},
    }
    return _document("assessment-results", document)


def poam(assessment: Assessment) -> bytes:
    """The document `plan-of-action-and-milestones`: a draft of what is left to do. Its last item is what the rollout does not cover."""
    facts, risks = assessment.facts, _risks(assessment.facts)
    contradicted, uncovered = assessment.of(State.CONTRADICTED), assessment.of(State.NOT_COVERED)
    open_parts = [one for one in assessment.of(State.EVIDENCED) if one.answer.lacking]
    items = [
        {
            "uuid": identifier("item", "contradicted", one.control.key, facts.rollout), "title": f"{one.control.key} is contradicted",
            "description": one.answer.why, "related-findings": [{"finding-uuid": _finding(one, facts)["uuid"]}],
        } for one in contradicted
    ] + [
        {
            "uuid": identifier("item", risk["uuid"]), "title": risk["title"], "description": risk["statement"],
            "related-risks": [{"risk-uuid": risk["uuid"]}],
        } for risk in risks
    ]  # fmt: skip
    items += [_review(one, facts) for one in facts.reviews if one.open]
    left = [_property("not-covered", one.control.key, one.answer.why) for one in uncovered]
    left += [_property("lacking", one.control.key, "; ".join(one.answer.lacking)) for one in open_parts]
    items.append({
        "uuid": identifier("item", "uncovered", facts.rollout), "title": "Evidence that must come from elsewhere",
        "description": f"{len(uncovered)} controls are not covered by this rollout, and {len(open_parts)} only in part.",
        **_some("props", left),
    })  # fmt: skip
    document = {
        "metadata": _metadata("Plan of action and milestones", facts),
        "system-id": {"identifier-type": PLAN_SYSTEM, "id": facts.plan_digest},
        **_some("observations", list(_observed(facts, _cited(contradicted, facts)))),
        **_some("risks", risks),
        **_some("findings", [_finding(one, facts) for one in contradicted]),
        "poam-items": items,
    }
    return _document("plan-of-action-and-milestones", document)


# -- parts


def _document(name: str, document: Json) -> bytes:
    return written({name: {"uuid": identifier("document", name, hashlib.sha256(written(document)).hexdigest()), **document}})


def _metadata(title: str, facts: Facts) -> Json:
    return {
        "title": f"{title} of the rollout {facts.rollout}", "last-modified": rfc3339(facts.last.unix_nano),
        "version": f"entry-{facts.last.sequence}", "oscal-version": OSCAL_VERSION,
    }  # fmt: skip


def _plan(uuid: str, facts: Facts) -> Json:
    link = {"href": "../plan.json", "media-type": "application/json", "hashes": [{"algorithm": "SHA-256", "value": facts.plan_digest}]}
    erased = {} if facts.evidence(facts.plan_digest) is not None else {"remarks": "It was erased; its digest stays."}
    return {"uuid": uuid, "title": "The rollout's plan, as RFC 8785 JSON", "rlinks": [link], **erased}


def _ending(facts: Facts) -> str:
    ended = facts.ended_as
    return f"The rollout was {ended}." if ended is not None else "The rollout has no end in the record."


def _selections(covered: Sequence[Assessed]) -> Iterable[Json]:
    for framework in Framework:
        chosen = [{"control-id": one.control.oscal_id} for one in covered if one.control.framework is framework]
        if chosen:
            edition = framework.value
            yield {
                "description": f"{edition.name} ({edition.version})", "include-controls": chosen,
                "props": [_property("framework", edition.key)],
            }  # fmt: skip


def _cited(controls: Iterable[Assessed], facts: Facts) -> frozenset[int]:
    cited = {index for one in controls for index in one.answer.entries}
    return frozenset(cited | {entry.index for entry in _risky(facts)} | ({facts.indices[-1]} if facts.ended_as is None else set()))


def _observed(facts: Facts, cited: frozenset[int]) -> Iterable[Json]:
    for entry in facts.entries:
        if entry.index not in cited:
            continue
        statement = entry.statement
        said = ", ".join(f"{name} {_value(value)}" for name, value in sorted(statement.values.items()))
        evidence = [{"href": f"../entries/{entry.index}.json", "description": "The entry, signed"}]
        evidence += [
            {"href": "../plan.json" if digest == facts.plan_digest else f"../evidence/{digest}", "description": "What it rests on"}
            for digest in statement.based_on if facts.evidence(digest) is not None
        ]  # fmt: skip
        yield {
            "uuid": _observation(entry, facts), "title": f"Entry {entry.index}: {statement.kind.value}",
            "description": f"{statement.kind.value}, {statement.outcome.value}" + (f": {said}" if said else ""),
            "methods": ["TEST" if statement.kind in _TESTS else "EXAMINE"],
            "props": [_property("entry", str(entry.index)), _property("sequence", str(statement.sequence))],
            "relevant-evidence": evidence, "collected": rfc3339(statement.unix_nano),
        }  # fmt: skip


def _evidenced(one: Assessed, facts: Facts) -> Json:
    cited = facts.at(one.answer.entries)
    lacking = [_property("lacking", one.control.key, part) for part in one.answer.lacking]
    return {
        "uuid": identifier("evidenced", one.control.key, *map(facts.digest, cited)),
        "title": f"{one.control.key}: {one.control.title}", "description": f"Evidenced: {one.answer.why}.", "methods": ["EXAMINE"],
        "types": ["control-objective"], "props": [_property("evidenced", one.control.key), *lacking],
        "links": [{"href": f"#{_observation(entry, facts)}", "rel": "entry"} for entry in cited],
        "collected": rfc3339(facts.last.unix_nano),
    }  # fmt: skip


def _finding(one: Assessed, facts: Facts) -> Json:
    cited = facts.at(one.answer.entries)
    return {
        "uuid": identifier("contradicted", one.control.key, *map(facts.digest, cited)), "title": f"{one.control.key}: {one.control.title}",
        "description": one.answer.why,
        "target": {
            "type": "statement-id", "target-id": f"{one.control.oscal_id}_smt",
            "status": {"state": "not-satisfied", "remarks": "Contradicted by entries of this rollout."},
        },
        "related-observations": [{"observation-uuid": _observation(entry, facts)} for entry in cited],
    }  # fmt: skip


def _review(review: Review, facts: Facts) -> Json:
    """An override that somebody else must still look at."""
    due = rfc3339(review.due_unix_s * NANO)
    given = None if review.override is None else review.override.given
    by = "who did it was erased, or is not shown" if given is None else f"by {given.person.name}, as {given.approval.role.value}"
    why = "" if given is None else f" The reason given: {given.approval.reason}"
    late = " It is overdue." if review.overdue(facts.now_unix_s) else ""
    return {
        "uuid": identifier("item", "review", review.of), "title": f"An override of a freeze in {review.rollout} is to be reviewed",
        "description": line(f"Overridden {by}; to be reviewed by somebody else, due {due}.{late}{why}"),
        "props": [_property("review-due", due), _property("entry", str(review.entry)), _property("override", review.of)],
    }  # fmt: skip


def _risky(facts: Facts) -> tuple[Entry, ...]:
    """The findings of the last verdict that has some."""
    findings = facts.of(Kind.FINDING)
    if not findings:
        return ()
    verdict = facts.verdict_before(findings[-1])
    return tuple(entry for entry in findings if verdict is None or entry.index > verdict.index)


def _risks(facts: Facts) -> list[Json]:
    back, risks = facts.back_at_baseline(), []
    for entry in _risky(facts):
        values = entry.statement.values
        away = back is not None and back.index > entry.index
        said = facts.finding(entry).get("sentence") or "What was found was erased; its signal and severity are in the entry."
        what = (
            "the candidate has no traffic; it must be corrected before the next attempt" if away else "the candidate may still have traffic"
        )
        risks.append({
            "uuid": identifier("risk", facts.digest(entry)), "title": line(f"{values['signal']} ({values['severity']})"),
            "description": line(said), "statement": f"{line(said)} As of the record, {what}.", "status": "closed" if away else "open",
            "props": [_property("signal", str(values["signal"])), _property("severity", str(values["severity"]))],
            "related-observations": [{"observation-uuid": _observation(entry, facts)}],
        })  # fmt: skip
    if facts.ended_as is None:
        risks.append({
            "uuid": identifier("risk", "open", facts.rollout), "title": "The rollout has no end in the record",
            "description": "A rollout that was begun and never ended leaves open which of the two versions serves whom.",
            "statement": f"As of entry {facts.indices[-1]} it had neither gone back nor been committed.", "status": "open",
            "related-observations": [{"observation-uuid": _observation(facts.entries[-1], facts)}],
        })  # fmt: skip
    return risks


def _observation(entry: Entry, facts: Facts) -> str:
    return identifier("entry", facts.digest(entry))


def _value(value: object) -> str:
    if value is None:
        return "not told"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _property(name: str, value: str, remarks: str | None = None, group: str | None = None) -> Json:
    told = {"remarks": remarks, "group": group}
    return {"name": name, "ns": NAMESPACE, "value": value, **{key: text for key, text in told.items() if text is not None}}


def _some(name: str, things: Sequence[Mapping[str, Any]]) -> Json:
    """A member of a document; OSCAL has no empty lists."""
    return {name: list(things)} if things else {}
