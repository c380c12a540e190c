"""The kinds of entries, and what each may say in values: numbers, flags, digests and words of fixed lists; nothing else. Pure."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

Value = int | float | bool | str | tuple[str, ...] | None

COUNT_MAX = 2**53 - 1
"""The largest whole number that canonical JSON has (RFC 8785)."""

DIGESTS_MAX = 200
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}\Z")


class Kind(StrEnum):
    """What an entry speaks of."""

    LEDGER_OPENED = "ledger.opened"
    LEDGER_VERIFIED = "ledger.verified"
    KEY_ROTATED = "key.rotated"
    GUARD_STARTED = "guard.started"
    GUARD_STOPPED = "guard.stopped"
    GUARD_RECOVERED = "guard.recovered"
    MASKING_SET = "masking.set"
    """What a guard masks from now on: its definition is evidence, with the exceptions and their reasons."""
    TELEMETRY_REFUSED = "telemetry.refused"
    PLAN_SUBMITTED = "plan.submitted"
    REQUEST = "request"
    """A person asked to hold, resume, abort or commit."""
    PREFLIGHT_CHECK = "preflight.check"
    APPROVAL_GIVEN = "approval.given"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_WITHDRAWN = "approval.withdrawn"
    FREEZE_OVERRIDDEN = "freeze.overridden"
    PHASE = "phase"
    WEIGHT_INTENDED = "weight.intended"
    WEIGHT_OBSERVED = "weight.observed"
    REFERENCE = "reference"
    """What the baseline was like; the judge's questions are asked by it."""
    VERDICT = "verdict"
    FINDING = "finding"
    TELEMETRY_BLIND = "telemetry.blind"
    TELEMETRY_RESTORED = "telemetry.restored"
    ROLLBACK_INTENDED = "rollback.intended"
    ROLLBACK_OBSERVED = "rollback.observed"
    COMMIT_INTENDED = "commit.intended"
    COMMIT_OBSERVED = "commit.observed"
    EVIDENCE_ERASED = "evidence.erased"
    TRAFFIC_CHANGED = "traffic.changed"
    """A proxy whose rollout has ended sends traffic in another way than the record says, and no rollout explains it."""
    REVIEW_DUE = "review.due"
    REVIEW_DONE = "review.done"
    ROLLOUT_ENDED = "rollout.ended"


class Type(StrEnum):
    """What a value is."""

    COUNT = "count"
    NUMBER = "number"
    FLAG = "flag"
    DIGEST = "digest"
    DIGESTS = "digests"
    VERSION = "version"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Field:
    """One value. `words`: the list, for a WORD. `none`: it may be null."""

    type: Type
    required: bool = True
    none: bool = False
    words: tuple[str, ...] = ()


_COUNT, _NUMBER, _FLAG, _DIGEST_FIELD = Field(Type.COUNT), Field(Type.NUMBER), Field(Type.FLAG), Field(Type.DIGEST)
_OPTIONAL_COUNT = Field(Type.COUNT, required=False)
_PERCENT = Field(Type.NUMBER, none=True)


def _word(*words: str, required: bool = True) -> Field:
    return Field(Type.WORD, required=required, words=words)


PHASES = (
    "planned", "preflight", "waiting for approval", "shifting", "watching", "holding", "returning", "rolled back", "committing", "baking",
    "committed", "frozen",
)  # fmt: skip
EVENTS = (
    "begun", "ready", "approval needed", "approved", "step in force", "switch in force", "undecided", "step passed", "failed",
    "failed, and the baseline cannot run on the data", "cannot tell", "evidence missing", "hold asked", "resumed",
    "resumed before any traffic", "return asked", "baked", "commit in force", "baseline in force",
)  # fmt: skip
CHECKS = ("proxy", "baseline", "drift", "tracing", "security", "vulnerabilities", "migration", "load", "acceptance")
VERDICTS = ("PASS", "FAIL", "NOT_ENOUGH_DATA", "BLIND")
SIGNALS = (
    "latency", "exclusive latency", "errors", "new error kind", "refused more", "refused less", "rejected", "call missing", "call extra",
    "orphans", "no traces", "sampling", "instance", "operation missing", "new operation fails", "untraced requests",
    "failing at the proxy", "sensitive data", "more sensitive data", "new operation sends sensitive data",
)  # fmt: skip
SEVERITIES = ("minor", "major", "critical")

_SPLIT = {"candidatePercent": _PERCENT, "generation": Field(Type.COUNT, none=True), "committed": Field(Type.FLAG, none=True)}
_INTENDED = {
    "candidatePercent": _NUMBER,
    "generation": _COUNT,
    "step": Field(Type.NUMBER, required=False),
    "leaseS": Field(Type.NUMBER, required=False),
}

KINDS: Mapping[Kind, Mapping[str, Field]] = MappingProxyType({
    Kind.LEDGER_OPENED: {"key": _DIGEST_FIELD, "version": Field(Type.VERSION)},
    Kind.LEDGER_VERIFIED: {"entries": _COUNT, "problems": _COUNT},
    Kind.KEY_ROTATED: {"old": _DIGEST_FIELD, "new": _DIGEST_FIELD},
    Kind.GUARD_STARTED: {"version": Field(Type.VERSION)},
    Kind.GUARD_STOPPED: {},
    Kind.GUARD_RECOVERED: {"term": _COUNT},
    Kind.MASKING_SET: {"masking": _DIGEST_FIELD, "detectors": _COUNT, "allowed": _COUNT},
    Kind.TELEMETRY_REFUSED: {"spans": _COUNT},
    Kind.PLAN_SUBMITTED: {},
    Kind.REQUEST: {"request": _word("hold", "resume", "abort", "commit")},
    Kind.PREFLIGHT_CHECK: {"check": _word(*CHECKS),
                           "result": _word("PASS", "FAIL", "CANNOT_TELL"), "findings": _OPTIONAL_COUNT},
    Kind.APPROVAL_GIVEN: {"step": _NUMBER, "approval": _DIGEST_FIELD},
    Kind.APPROVAL_REFUSED: {"step": _NUMBER, "approval": _DIGEST_FIELD},
    Kind.APPROVAL_WITHDRAWN: {"step": _NUMBER, "approval": _DIGEST_FIELD},
    Kind.FREEZE_OVERRIDDEN: {"step": _NUMBER, "approval": _DIGEST_FIELD},
    Kind.PHASE: {"from": _word(*PHASES), "to": _word(*PHASES), "event": _word(*EVENTS), "transition": _COUNT},
    Kind.WEIGHT_INTENDED: _INTENDED,
    Kind.WEIGHT_OBSERVED: _SPLIT,
    Kind.REFERENCE: {"reference": _DIGEST_FIELD, "windows": _COUNT, "operations": _COUNT},
    Kind.VERDICT: {
        "verdict": _word(*VERDICTS), "judge": _DIGEST_FIELD, "judgeVersion": Field(Type.VERSION),
        "numpyVersion": Field(Type.VERSION), "judgement": _DIGEST_FIELD, "looks": _DIGEST_FIELD,
        "reference": _DIGEST_FIELD,
        "windows": _COUNT, "findings": _COUNT, "baselineTraces": _COUNT, "candidateTraces": _COUNT,
    },
    Kind.FINDING: {"signal": _word(*SIGNALS), "severity": _word(*SEVERITIES), "position": _COUNT},
    Kind.TELEMETRY_BLIND: {"proxied": _COUNT, "traced": _COUNT},
    Kind.TELEMETRY_RESTORED: {"proxied": _COUNT, "traced": _COUNT},
    Kind.ROLLBACK_INTENDED: {"generation": _COUNT},
    Kind.ROLLBACK_OBSERVED: _SPLIT,
    Kind.COMMIT_INTENDED: _INTENDED,
    Kind.COMMIT_OBSERVED: _SPLIT,
    Kind.EVIDENCE_ERASED: {"erased": Field(Type.DIGESTS), "why": _word("retention", "asked")},
    Kind.TRAFFIC_CHANGED: {**_SPLIT, "recordedPercent": _NUMBER, "plan": _DIGEST_FIELD},
    Kind.REVIEW_DUE: {"dueUnixS": _COUNT, "of": _DIGEST_FIELD},
    Kind.REVIEW_DONE: {"of": _DIGEST_FIELD, "approval": _DIGEST_FIELD},
    Kind.ROLLOUT_ENDED: {"phase": _word("rolled back", "committed")},
})  # fmt: skip
"""What each kind has in its values."""


def wrong_value(value: Any, spec: Field) -> str | None:
    """What is wrong with a value; None if nothing is."""
    if value is None:
        return None if spec.none else "is missing"
    if _is_right(value, spec):
        return None
    return f"is not a {spec.type.value}" + (f" (one of: {', '.join(spec.words)})" if spec.words else "")


def _is_right(value: Any, spec: Field) -> bool:
    match spec.type:
        case Type.COUNT:
            return type(value) is int and 0 <= value <= COUNT_MAX
        case Type.NUMBER:
            return type(value) in (int, float) and math.isfinite(value) and abs(value) <= COUNT_MAX
        case Type.FLAG:
            return type(value) is bool
        case Type.DIGESTS:
            return type(value) is tuple and len(value) <= DIGESTS_MAX and all(type(d) is str and _DIGEST.match(d) for d in value)
        case Type.DIGEST | Type.VERSION:
            return type(value) is str and (_DIGEST if spec.type is Type.DIGEST else _VERSION).match(value) is not None
        case Type.WORD:
            return type(value) is str and value in spec.words
