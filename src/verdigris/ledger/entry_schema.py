"""The JSON Schema of entries: of the in-toto Statement in each envelope, a predicate type per kind. Made from `entry_kinds`. Pure.

The published file is `docs/record.schema.json`. What a schema cannot say is left to whoever verifies: that the bytes are canonical, that
a day is in the calendar, and that the subject of what belongs to no rollout is the card of the guard who says it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from verdigris.ledger.entry_kinds import COUNT_MAX, DIGESTS_MAX, KINDS, Field, Kind, Type
from verdigris.ledger.statement import BASED_ON_MAX, PREDICATE_BASE, STATEMENT_TYPE, ActorKind, Outcome

SCHEMA = "https://verdigris.dev/ledger/v1"

MEANINGS: Mapping[Kind, str] = MappingProxyType({
    Kind.LEDGER_OPENED: "The ledger was begun; `key` is the SHA-256 of the key that signs it.",
    Kind.LEDGER_VERIFIED: "The guard has verified its whole ledger: so many entries were believed, and so many problems found.",
    Kind.KEY_ROTATED: "A new key takes over from the old one; both have signed this entry.",
    Kind.GUARD_STARTED: "A guard of this version was started.",
    Kind.GUARD_STOPPED: "A guard was stopped.",
    Kind.GUARD_RECOVERED: "A guard acts on a rollout on which somebody acted before; `term` numbers those who did.",
    Kind.MASKING_SET: "A guard masks this from now on: the definition, with so many detectors beside the decoder's own, and exceptions.",
    Kind.TELEMETRY_REFUSED: "So many spans of a sender were refused.",
    Kind.PLAN_SUBMITTED: "A plan was submitted; the rollout begins.",
    Kind.REQUEST: "A person asked for something.",
    Kind.PREFLIGHT_CHECK: "A check before any traffic, and how it went.",
    Kind.APPROVAL_GIVEN: "A person agrees to a step; `approval` is the SHA-256 of what they have signed. -1 is the whole rollout.",
    Kind.APPROVAL_REFUSED: "A person refuses a step, with a signature.",
    Kind.APPROVAL_WITHDRAWN: "A person takes back what they have said about a step, with a signature.",
    Kind.FREEZE_OVERRIDDEN: "A person has the rollout move on in spite of a freeze, with a signature; -1 is the whole rollout.",
    Kind.PHASE: "The rollout went from one phase to another, and why.",
    Kind.WEIGHT_INTENDED: "A weight that is about to be applied.",
    Kind.WEIGHT_OBSERVED: "The weight that the proxy says is in force.",
    Kind.REFERENCE: "What the baseline was like; the judge's questions are asked by it.",
    Kind.VERDICT: "A verdict, which judge gave it, and the evidence from which it can be given again.",
    Kind.FINDING: "One finding of the verdict before it.",
    Kind.TELEMETRY_BLIND: "The candidate can no longer be seen well enough to judge it.",
    Kind.TELEMETRY_RESTORED: "The candidate can be seen again.",
    Kind.ROLLBACK_INTENDED: "All traffic is about to go back to the baseline.",
    Kind.ROLLBACK_OBSERVED: "What the proxy says after the way back.",
    Kind.COMMIT_INTENDED: "The candidate is about to take the baseline's place.",
    Kind.COMMIT_OBSERVED: "What the proxy says after the commit.",
    Kind.EVIDENCE_ERASED: "These blobs were erased, and why.",
    Kind.TRAFFIC_CHANGED: "A proxy whose rollout has ended sends traffic in another way than that left it; `plan` is that rollout's.",
    Kind.REVIEW_DUE: "Somebody else must have looked at an override (`of`) by a time.",
    Kind.REVIEW_DONE: "Somebody else has looked at an override (`of`), with a signature.",
    Kind.ROLLOUT_ENDED: "The rollout has ended; nothing of it follows.",
})  # fmt: skip

_END = r"$(?!\n)"
"""Python's `$` is also before a last line end; ECMAScript's is not, and takes this too."""
_DEFINITIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "count": {"type": "integer", "minimum": 0, "maximum": COUNT_MAX},
    "number": {"type": "number", "minimum": -COUNT_MAX, "maximum": COUNT_MAX},
    "flag": {"type": "boolean"},
    "digest": {"description": "A SHA-256.", "type": "string", "pattern": f"^[0-9a-f]{{64}}{_END}"},
    "digests": {"type": "array", "maxItems": DIGESTS_MAX, "items": {"$ref": "#/$defs/digest"}},
    "version": {"type": "string", "pattern": rf"^[0-9]{{1,4}}(\.[0-9]{{1,4}}){{0,3}}{_END}"},
    "rollout": {"description": "A rollout's id.", "type": "string", "pattern": f"^[0-9]{{8}}-[0-9]{{6}}-[0-9a-f]{{4,12}}{_END}"},
    "time": {
        "description": "RFC 3339 in UTC, with nanoseconds.", "type": "string",
        "pattern": r"^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
        rf"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{{9}}Z{_END}",
    },
})  # fmt: skip


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a Statement. Each predicate type is one of the definitions, by its kind."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        "title": "An entry of Verdigris's ledger: the in-toto Statement in a DSSE envelope",
        **_object({
            "_type": {"const": STATEMENT_TYPE},
            "subject": {"type": "array", "minItems": 1, "maxItems": 1, "items": _subject()},
            "predicateType": {"enum": [_predicate_type(kind) for kind in KINDS]},
            "predicate": {"$ref": "#/$defs/predicate"},
        }),
        "allOf": [
            {
                "description": "What belongs to a rollout has its plan as the subject, and nothing else has one.",
                "if": {"properties": {"predicate": {"required": ["rollout"]}}},
                "then": _subject_is("plan"),
                "else": _subject_is("guard"),
            },
            {"oneOf": [{"$ref": f"#/$defs/{kind.value}"} for kind in KINDS]},
        ],
        "$defs": {**_DEFINITIONS, "predicate": _predicate(), **{kind.value: _kind(kind) for kind in KINDS}},
    }  # fmt: skip


def _kind(kind: Kind) -> dict[str, Any]:
    """What a kind's values may be."""
    fields = KINDS[kind]
    values = _object(
        {name: _value(spec) for name, spec in fields.items()}, optional=[name for name, spec in fields.items() if not spec.required]
    )
    return {
        "description": MEANINGS[kind],
        "properties": {
            "predicateType": {"const": _predicate_type(kind)},
            "predicate": {"properties": {"values": values}},
        },
    }


def _value(spec: Field) -> dict[str, Any]:
    one: dict[str, Any] = {"enum": list(spec.words)} if spec.type is Type.WORD else {"$ref": f"#/$defs/{spec.type.value}"}
    return {"anyOf": [one, {"type": "null"}]} if spec.none else one


def _predicate() -> dict[str, Any]:
    digest, count = {"$ref": "#/$defs/digest"}, {"$ref": "#/$defs/count"}
    return {
        "description": "What every entry says, whatever its kind.",
        **_object(
            {
                "rollout": {"$ref": "#/$defs/rollout"},
                "sequence": {
                    "description": "From 1 on, without a gap: inside the rollout, or inside what one guard says of itself.",
                    "type": "integer", "minimum": 1, "maximum": COUNT_MAX,
                },
                "actor": {
                    "description": "Who; the name is in the blob of this SHA-256.",
                    **_object({"kind": {"enum": [one.value for one in ActorKind]}, "card": digest}),
                },
                "time": {"$ref": "#/$defs/time"},
                "clock": {
                    "description": "Whether the operating system says that its clock is synchronised, and the bound of its error.",
                    **_object({"synchronised": {"type": "boolean"}, "errorMs": {"anyOf": [count, {"type": "null"}]}}),
                },
                "outcome": {"enum": [one.value for one in Outcome]},
                "basedOn": {"description": "The evidence it rests on.", "type": "array", "maxItems": BASED_ON_MAX, "items": digest},
                "details": {"description": "The blob with the words.", "anyOf": [digest, {"type": "null"}]},
                "late": {"description": "It was entered after the act it speaks of.", "type": "boolean"},
                "values": {"type": "object"},
            },
            optional=["rollout"],
        ),
    }  # fmt: skip


def _subject() -> dict[str, Any]:
    return _object({"name": {"enum": ["plan", "guard"]}, "digest": _object({"sha256": {"$ref": "#/$defs/digest"}})})


def _subject_is(name: str) -> dict[str, Any]:
    return {"properties": {"subject": {"items": {"properties": {"name": {"const": name}}}}}}


def _object(properties: Mapping[str, Any], optional: list[str] | None = None) -> dict[str, Any]:
    """An object with these fields and no others."""
    required = [name for name in properties if name not in (optional or [])]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": dict(properties)}


def _predicate_type(kind: Kind) -> str:
    return f"{PREDICATE_BASE}{kind.value}/v1"
