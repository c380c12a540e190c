"""A scan as SARIF 2.1.0, for tools that collect findings: one rule for each detector, one result for each place.

Level `error` is something sensitive, `note` a literal of a statement or a URL; what the operator allows is there too, suppressed with the
reason. The same inputs give the same bytes. Source: OASIS SARIF 2.1.0 with errata 01.
"""

from typing import Any
from urllib.parse import quote

from verdigris.compliance.documents import identifier, line, written
from verdigris.compliance.sarif import SCHEMA
from verdigris.scanning.document import Found, Scan
from verdigris.sensitive.findings import STRUCTURAL
from verdigris.sensitive.standards import meaning_of, standards_of

STANDARD_INPUT = "standard input"


def scan_sarif(scan: Scan) -> bytes:
    """A SARIF log with one run."""
    everything = [*scan.findings, *scan.literal_findings, *scan.beyond, *scan.allowed_findings]
    names = sorted({one.detector for one in everything})
    reading = scan.reading
    run = {
        "tool": {"driver": {
            "name": "Verdigris", "informationUri": "https://verdigris.dev", "version": scan.versions["verdigris"],
            "rules": [_rule(name) for name in names],
        }},
        "automationDetails": {"id": "verdigris/scan/"},
        "invocations": [{
            "executionSuccessful": reading.complete,
            "toolExecutionNotifications": [
                {"level": "warning", "message": {"text": line(f"{one.source}, {one.where}: {one.what}")}} for one in reading.problems
            ],
        }],
        "results": [_result(scan, one, names) for one in everything],
        "properties": {
            "complete": reading.complete, "spans": reading.spans, "sensitive": scan.sensitive, "literals": scan.literals,
            "allowed": scan.allowed, "uncounted": scan.uncounted, "definitionSha256": scan.definition_sha256,
        },
    }  # fmt: skip
    return written({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(name: str) -> dict[str, Any]:
    return {
        "id": _rule_id(name), "name": name, "shortDescription": {"text": f"{meaning_of(name)}."},
        "defaultConfiguration": {"level": _level(name)}, "properties": {"standards": list(standards_of(name))},
    }  # fmt: skip


def _rule_id(name: str) -> str:
    return f"verdigris/sensitive/{name}"


def _level(name: str) -> str:
    return "note" if name in STRUCTURAL else "error"


def _result(scan: Scan, found: Found, names: list[str]) -> dict[str, Any]:
    where = " ".join(name for name in (found.service, found.operation) if name) or "any service"
    shown = f", masked: {', '.join(found.samples)}" if found.samples else ""
    place: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": line(f"{where} {found.position}"), "kind": "operation"}]}
    result: dict[str, Any] = {
        "ruleId": _rule_id(found.detector), "ruleIndex": names.index(found.detector), "level": _level(found.detector),
        "message": {"text": line(f"{meaning_of(found.detector)}, {found.count} × in {found.position} of {where}{shown}")},
        "occurrenceCount": found.count,
        "partialFingerprints": {
            "place/v1": identifier("scan", found.detector, found.treatment, found.position, found.service, found.operation),
        },
        "locations": [place | _physical(found)],
        "properties": {"treatment": found.treatment, "samples": list(found.samples), "standards": list(standards_of(found.detector))},
    }  # fmt: skip
    if found.treatment == "allow":
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": line(_reasons(scan, found))}]
    return result


def _physical(found: Found) -> dict[str, Any]:
    """The input that showed it first; further ones may too."""
    if not found.first_input or found.first_input == STANDARD_INPUT:
        return {}
    return {"physicalLocation": {"artifactLocation": {"uri": quote(found.first_input)}}}


def _reasons(scan: Scan, found: Found) -> str:
    """The reasons of the exceptions that can have let it pass: the key is not part of what was counted."""
    possible = [one.reason for one in scan.allowances if one.detector in {"*", found.detector} and _fits(one.service, found.service)]
    return "; ".join(dict.fromkeys(possible))


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
