"""The plan as a document: text in, a `Plan` or all that is wrong with it out. The edge that everything outside passes.

text ── yaml_text ──► values, positions ── validation (fields, scalars) ──► sections ── checks ──► Plan, canonical form, digest
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import rfc8785

from verdigris.plan.checks import CHECKS, own_detector
from verdigris.plan.fields import (
    EVIDENCE_KEPT,
    BreakGlassSection,
    EnvironmentSection,
    FreezeSection,
    MaskingSection,
    NeedSection,
    PlanDocument,
    RetentionSection,
    ScheduleSection,
    Section,
    StepSection,
)
from verdigris.plan.gates import ONE_APPROVER, Gate, Need, Role
from verdigris.plan.identity import IdentityMatch
from verdigris.plan.objectives import Objectives, OperationPolicy
from verdigris.plan.plan import (
    BreakGlass,
    Change,
    Environment,
    FastPath,
    Freeze,
    Observation,
    Otherwise,
    Plan,
    Required,
    Retention,
    Schedule,
    Setting,
    Step,
    Traffic,
    WhenWorse,
)
from verdigris.plan.policy import InvalidPolicy, Policy, Tolerance
from verdigris.plan.problems import InvalidPlan, Path, Problem, path_text
from verdigris.plan.scalars import unix_s
from verdigris.plan.settings import SETTINGS, MissingSecret, read_settings, resolve_secrets, settings_schema
from verdigris.plan.validation import Validation
from verdigris.plan.yaml_text import BYTES_MAX, PROBLEMS_MAX, read_yaml

__all__ = [
    "BYTES_MAX",
    "CheckedPlan",
    "InvalidPlan",
    "MissingSecret",
    "Problem",
    "check_plan",
    "evidence_kept_s",
    "json_schema",
    "load_plan",
    "resolve_secrets",
]

SCHEMA = "https://verdigris.dev/plan/v1"

ADDED_LATER: Mapping[str, type[Section]] = {"retention": RetentionSection, "masking": MaskingSection}
"""Sections that plans did not have from the beginning. Where one is as by default it is not written out: the digest under which a plan was
approved and recorded stays what it is, in every version. For the same reason their defaults may not change.
"""

GATE_WORDS: Mapping[Gate, str] = {(): "none", ONE_APPROVER: "approval"}
"""What a step's gate was before it could be more, and is still written as; `bake.gate` and `schedule.break_glass` only where they are."""

TOLERANCES_ADDED_LATER = ("leaks", "leaks_more", "tolerated_leaks")
"""Likewise for tolerances: not written out while all are as by default."""

LEVELS = frozenset({"alpha", "beta"})
"""Budgets of the whole rollout, not of an operation."""


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """A plan, and what is allowed but doubtful in it."""

    plan: Plan
    warnings: tuple[Problem, ...]


def load_plan(text: str, *, source: str = "plan") -> Plan:
    """Read a plan (YAML or JSON). `source` names it in the error. Raises: InvalidPlan, with all problems at once."""
    return check_plan(text, source=source).plan


def evidence_kept_s(canonical: bytes) -> float | None:
    """How long evidence is kept by a plan's canonical form, of whatever version; None where this version cannot tell."""
    try:
        kept = json.loads(canonical).get("retention", {}).get("evidence", Retention().evidence_s)
    except (ValueError, AttributeError):
        return None
    return float(kept) if type(kept) in {int, float} and EVIDENCE_KEPT.admit(kept) else None


def check_plan(text: str, *, source: str = "plan") -> CheckedPlan:
    """As `load_plan`, with the warnings. Raises: InvalidPlan."""
    reading = read_yaml(text)
    validation = Validation(reading)
    validation.run()
    warnings: list[Problem] = []

    def warn(path: Path, message: str, suggestion: str, *, at_key: bool = False) -> None:
        position = reading.key_position(path) if at_key else reading.position(path)
        warnings.append(Problem(position.line, position.column, path_text(path), message, suggestion))

    for check in CHECKS:
        check(validation.parts, validation.tell, warn)
    plan = None
    if validation.parts.document is not None and not (reading.problems or validation.problems):
        try:
            plan = _plan(validation.parts.document)
        except InvalidPolicy as error:
            # The fields' own bounds come first; this is what they do not know.
            validation.tell(("objectives",), str(error), "correct the tolerance or level", at_key=True)
    problems = sorted([*reading.problems, *validation.problems], key=lambda p: (p.line, p.column, p.path))
    if plan is None or problems:
        raise InvalidPlan(problems[:PROBLEMS_MAX], source)
    return CheckedPlan(plan, tuple(sorted(warnings, key=lambda p: (p.line, p.column, p.path))))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the document, for editors. It knows shapes and bounds, not what sections must agree on."""
    schema = PlanDocument.model_json_schema(by_alias=True)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **_without_null_defaults(schema)}
    schema["$defs"]["TrafficSection"]["allOf"] = [
        {
            "if": {"properties": {"adapter": {"const": adapter}}, "required": ["adapter"]},
            "then": {"properties": {"settings": settings_schema(adapter)}},
        }
        for adapter in SETTINGS
    ]
    return schema


def _without_null_defaults(schema: Any) -> Any:
    """`None` stands for "as elsewhere" in our fields; it is nothing that one may write."""
    if isinstance(schema, dict):
        return {k: _without_null_defaults(v) for k, v in schema.items() if not (k == "default" and v is None)}
    if isinstance(schema, list):
        return [_without_null_defaults(v) for v in schema]
    return schema


def _plan(document: PlanDocument) -> Plan:
    """The values of a document without problems. Raises: InvalidPolicy."""
    defaults = _policy(Policy(), document.objectives.defaults.model_dump(exclude_unset=True))
    operations = tuple(
        (o.match, _policy(defaults, o.model_dump(exclude_unset=True, exclude={"match"}))) for o in document.objectives.operations
    )
    settings = read_settings(document.traffic.adapter, document.traffic.settings)
    canonical = rfc8785.dumps(_normalised(document, settings, defaults, operations))
    return Plan(
        name=document.name,
        change=Change(**document.change.model_dump()),
        baseline=_environment(document.baseline),
        candidate=_environment(document.candidate),
        traffic=Traffic(document.traffic.adapter, document.traffic.lease, settings),
        steps=tuple(map(_step, document.steps)),
        objectives=Objectives(defaults, tuple(OperationPolicy(_fnmatch(match), policy) for match, policy in operations)),
        observation=Observation(document.observe.window, document.observe.settle, document.observe.reference),
        fast_path=FastPath(
            document.policy.fast_path.failed_share, document.policy.fast_path.requests, document.policy.fast_path.within
        ),
        when_worse=WhenWorse(document.policy.when_worse),
        without_evidence=Otherwise(document.policy.without_evidence),
        deadline_s=document.policy.deadline,
        bake_s=document.bake.duration,
        bake_holdback_percent=document.bake.holdback,
        switch_gate=_gate(document.bake.gate),
        schedule=_schedule(document.schedule),
        canonical=canonical,
        digest=hashlib.sha256(canonical).hexdigest(),
        retention=Retention(document.retention.evidence),
        detectors=tuple(map(own_detector, document.masking.detectors)),
    )  # fmt: skip


def _normalised(
    document: PlanDocument, settings: Mapping[str, Setting], defaults: Policy, operations: tuple[tuple[str, Policy], ...]
) -> dict[str, Any]:
    """The document with every default written out. It is a document too: reading it gives the same plan."""
    written = document.model_dump(by_alias=True)
    for name, section in ADDED_LATER.items():
        if written[name] == section.model_validate({}).model_dump(by_alias=True):
            del written[name]
    for step, asked in zip(written["steps"], document.steps, strict=True):
        step["gate"] = GATE_WORDS.get(_gate(asked.gate), step["gate"])
    for of, name in ((written["bake"], "gate"), (written["schedule"], "break_glass")):
        if not of[name]:
            del of[name]
    written["traffic"]["settings"] = dict(settings)
    policies = (defaults, *(policy for _, policy in operations))
    known = Policy()
    later = {name for name in TOLERANCES_ADDED_LATER if all(getattr(policy, name) == getattr(known, name) for policy in policies)}
    written["objectives"] = {
        "defaults": _without(defaults, later),
        "operations": [{"match": match} | _without(policy, later | LEVELS) for match, policy in operations],
    }
    return written


def _without(policy: Policy, names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in asdict(policy).items() if name not in names}


def _policy(base: Policy, given: Mapping[str, Any]) -> Policy:
    """`base` with what is given in its place. A tolerance may be given in part. Raises: InvalidPolicy."""
    values: dict[str, Any] = {name: getattr(base, name) for name in base.__slots__}
    for name, value in given.items():
        values[name] = Tolerance(**(asdict(values[name]) | value)) if isinstance(values[name], Tolerance) else value
    return Policy(**values)


def _environment(section: EnvironmentSection) -> Environment:
    match = IdentityMatch({key: section.identity[key] for key in sorted(section.identity)})
    return Environment(section.slot, match, tuple(section.addresses))


def _step(section: StepSection) -> Step:
    return Step(
        section.weight, section.minimum, section.maximum, Required(section.require.passed, section.require.requests), _gate(section.gate),
        section.mirror,
    )  # fmt: skip


def _fnmatch(pattern: str) -> str:
    """A pattern of `*` and `?` as one of fnmatch, where `[` would begin a set of characters; routes are full of them."""
    return pattern.replace("[", "[[]")


def _schedule(section: ScheduleSection) -> Schedule:
    return Schedule(
        unix_s(section.not_before) if section.not_before is not None else None,
        unix_s(section.not_after) if section.not_after is not None else None,
        tuple(map(_freeze, section.freezes)),
        _break_glass(section.break_glass) if section.break_glass is not None else None,
    )


def _freeze(section: FreezeSection) -> Freeze:
    return Freeze(unix_s(section.start), unix_s(section.end), section.reason)


def _break_glass(section: BreakGlassSection) -> BreakGlass:
    return BreakGlass(_gate(section.gate), section.review_within)


def _gate(needs: Sequence[NeedSection]) -> Gate:
    return tuple(Need(tuple(map(Role, need.roles)), need.people) for need in needs)


def schema_text() -> str:
    """The JSON Schema as text, ending in a newline."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
