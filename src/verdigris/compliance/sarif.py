"""The judge's findings of one rollout as SARIF 2.1.0, for tools that collect findings.

One result for each entry of a finding; its place is logical (an operation of a service, or a call from one to another), because nothing
that a rollout sees is a file. The same ledger gives the same bytes: the tool's version is that of the judge of then, and all times are the
ledger's. Source: OASIS SARIF 2.1.0 with errata 01.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from verdigris.compliance.consent import Entry, EvidenceOf
from verdigris.compliance.documents import identifier, line, written
from verdigris.compliance.facts import Facts
from verdigris.judge.verdict import Severity, Signal
from verdigris.ledger.entry_kinds import Kind
from verdigris.times import rfc3339

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS: Mapping[str, str] = MappingProxyType({
    Severity.CRITICAL.value: "error", Severity.MAJOR.value: "warning", Severity.MINOR.value: "note",
})  # fmt: skip
ERASED = "What was found was erased; its signal and severity are in the entry."

MEANINGS: Mapping[Signal, str] = MappingProxyType({
    Signal.LATENCY: "Requests take longer.",
    Signal.EXCLUSIVE_LATENCY: "The operation itself takes longer.",
    Signal.ERRORS: "More requests fail.",
    Signal.NEW_ERROR_KIND: "Requests fail in a way that the baseline does not know.",
    Signal.REFUSED_MORE: "More requests are refused.",
    Signal.REFUSED_LESS: "Requests that the baseline refuses get through.",
    Signal.REJECTED: "More requests are rejected as wrong.",
    Signal.CALL_MISSING: "Calls that the baseline makes are not made, or not seen.",
    Signal.CALL_EXTRA: "Calls are made that the baseline does not make.",
    Signal.ORPHANS: "Spans come without their parents.",
    Signal.NO_TRACES: "Requests leave no traces.",
    Signal.SAMPLING: "The roles are sampled differently.",
    Signal.INSTANCE: "One instance is at fault.",
    Signal.OPERATION_MISSING: "Requests hardly reach an operation any more.",
    Signal.NEW_OPERATION_FAILS: "An operation that the baseline does not have fails.",
    Signal.UNTRACED: "More requests leave no trace.",
    Signal.FAILING_AT_PROXY: "Requests fail at the proxy.",
    Signal.LEAK: "Sensitive data is sent that the baseline does not send.",
    Signal.LEAK_MORE: "Sensitive data is sent more often.",
    Signal.NEW_OPERATION_LEAKS: "An operation that the baseline does not have sends sensitive data.",
})  # fmt: skip


def findings_sarif(entries: Sequence[Entry], evidence: EvidenceOf) -> bytes:
    """A SARIF log with one run: the rollout. Raises: what `evidence` raises."""
    facts = Facts(entries, evidence)
    found, verdicts = facts.of(Kind.FINDING), facts.of(Kind.VERDICT)
    signals = sorted({str(entry.statement.values["signal"]) for entry in found})
    rules = [{"id": _rule(signal), "name": signal, "shortDescription": {"text": MEANINGS[Signal(signal)]}} for signal in signals]
    driver: dict[str, Any] = {"name": "Verdigris", "informationUri": "https://verdigris.dev", "rules": rules}
    if verdicts:
        driver["version"] = str(verdicts[-1].statement.values["judgeVersion"])
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"verdigris/rollout/{facts.rollout}", "guid": identifier("run", facts.rollout)},
        "invocations": [{
            "executionSuccessful": facts.ended_as is not None,
            "startTimeUtc": rfc3339(facts.first.unix_nano), "endTimeUtc": rfc3339(facts.last.unix_nano),
        }],
        "results": [_result(facts, entry, signals) for entry in found],
        "properties": {"rollout": facts.rollout, "plan": facts.plan_digest, "ended": facts.ended_as},
    }  # fmt: skip
    return written({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(facts: Facts, entry: Entry, signals: list[str]) -> dict[str, Any]:
    values, said = entry.statement.values, facts.finding(entry)
    signal, severity = str(values["signal"]), str(values["severity"])
    verdict = facts.verdict_before(entry)
    measured = {name: said[name] for name in ("effect", "evidence") if name in said}
    return {
        "ruleId": _rule(signal), "ruleIndex": signals.index(signal), "level": LEVELS[severity],
        "message": {"text": line(said.get("sentence") or ERASED)},
        "guid": identifier("result", facts.rollout, str(entry.index)),
        "partialFingerprints": {"place/v1": identifier("place", signal, *_names(said))},
        "locations": _locations(said),
        "properties": {
            "entry": entry.index, "severity": severity, "time": rfc3339(entry.statement.unix_nano),
            "verdict": None if verdict is None else verdict.statement.values["verdict"], **measured,
        },
    }  # fmt: skip


def _rule(signal: str) -> str:
    return f"verdigris/{signal.replace(' ', '-')}"


def _names(said: Mapping[str, Any]) -> list[str]:
    """The operations that a finding is about: a caller and whom it calls, or one; empty where that is not known."""
    edge, operation = said.get("edge"), said.get("operation")
    chosen = [edge["caller"], edge["callee"]] if isinstance(edge, dict) else [operation] if isinstance(operation, dict) else []
    return [line(f"{one['service']} {one['kind']} {one['name']}") for one in chosen]


def _locations(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = _names(said)
    if not names:
        return []
    return [{"logicalLocations": [{"fullyQualifiedName": " → ".join(names), "kind": "operation" if len(names) == 1 else "call"}]}]
