"""The plan's sections and fields as they are written: names, meanings, bounds, defaults. JSON Schema and docs are made from it.

Only shapes are checked here; what several fields must agree on stands in `checks`. Defaults are those of the values in
`plan`, `policy` and `objectives` where these have some.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from verdigris.plan.detectors import CHECKSUMS, TREATMENTS
from verdigris.plan.gates import ASKABLE, ONE_APPROVER, QUORUM_MAX
from verdigris.plan.plan import FastPath, Observation, Otherwise, Retention, WhenWorse
from verdigris.plan.policy import Policy
from verdigris.plan.scalars import Address, Bounds, Choice, Duration, Kind, Moment, Number, Percent, Share, Text, Truth, told, wrong
from verdigris.plan.settings import SETTINGS, Settings

STEPS_MAX = 50
ADDRESSES_MAX = 64
ATTRIBUTES_MAX = 16
OPERATIONS_MAX = 200
FREEZES_MAX = 100
NEEDS_MAX = len(ASKABLE)
LEAKS_MAX = 64
OWN_DETECTORS_MAX = 16
DETECTOR_KEYS_MAX = 64
DAY_S = 86400

_LINE = r"[^\n\t]+"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62})"
_WEIGHT = Bounds(0.01, 99.99)
"""In percent. Every data plane sets weights to a hundredth of a percent."""

_SHARE = Bounds(0, 1, high_open=True)

EVIDENCE_KEPT = Bounds(DAY_S, 3653 * DAY_S)
"""In seconds: a day, so that nothing is gone before people have looked; ten years, which is more than HIPAA's six."""

Line = Annotated[str, Text("Faster appointment search", 200, _LINE, "one line of text")]
Prose = Annotated[str, Text("Replaces the search index; clinics report slow answers.")]
Slot = Annotated[str, Text("green", 63, _NAME, "a name of letters, digits, _ and -")]
AttributeKey = Annotated[str, Text("service.version", 256, _LINE, "the name of a resource attribute")]
Pattern = Annotated[str, Text("v2*", 256, _LINE, "a pattern")]
OPERATION = Text("portal server GET *", 500, _LINE, "a pattern of service, kind and name")
OperationPattern = Annotated[str, OPERATION]
DetectorName = Annotated[str, Text("email", 32, r"[a-z][a-z0-9_]*", "the name of a detector: a-z, 0-9 and _")]
DetectorPattern = Annotated[str, Text("CASE-[0-9]{8}", 512, _LINE, "a regular expression")]
DetectorKey = Annotated[str, Text("case.*", 512, _LINE, "the key of an attribute")]
HostPort = Annotated[str, Address("10.0.0.12:8080")]
Ratio = Annotated[float, Number(Bounds(1, 1000), "1.1")]
Difference = Annotated[float, Share(_SHARE, "0.05%")]
Margin = Annotated[float, Share(Bounds(0, 10), "9%")]
AskedRole = Annotated[str, Choice(tuple(role.value for role in ASKABLE))]
Level = Annotated[float, Number(Bounds(0, 1, low_open=True, high_open=True), "0.01")]


AS_ELSEWHERE: Any = None
"""The default of a tolerance: what stands elsewhere. It is put in later, and may not be written."""


class Section(BaseModel):
    """A part of a plan: no keys beside its own, nothing turned into something else."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ChangeSection(Section):
    """What is being changed and why. It is what approvers read and auditors ask for (PCI DSS 6.5.1)."""

    reason: Prose = Field(description="Why the change is made.", examples=["Search is slow for large clinics."])
    security_impact: Prose = Field(
        description="What it means for security; `none` with the reason is an answer.", examples=["None: no new input."]
    )
    rollback_plan: Prose = Field(
        description="What going back needs beside the traffic, data above all.", examples=["Traffic only; no schema change."]
    )
    ticket: Line = Field(description="Where the change is recorded.", examples=["CHG-4711"])
    author: Line = Field(description="Who wrote the plan. Another person approves it.", examples=["a.meyer"])


class EnvironmentSection(Section):
    """One of the two environments."""

    slot: Slot = Field(description="The name of the slot in the proxy, for example blue.", examples=["green"])
    identity: Annotated[dict[AttributeKey, Pattern], Field(min_length=1, max_length=ATTRIBUTES_MAX)] = Field(
        description="How its spans say whose they are: resource attributes and a pattern for each (`*` any run of characters, "
        "`?` one). All must match.",
        examples=[{"service.version": "v2*"}],
    )
    addresses: Annotated[list[HostPort], Field(min_length=1, max_length=ADDRESSES_MAX)] = Field(
        description="Where the proxy finds it.", examples=[["10.0.0.12:8080"]]
    )


class TrafficSection(Section):
    """Which data plane splits the traffic."""

    adapter: Annotated[str, Choice(tuple(SETTINGS))] = Field(description="The kind of proxy.", examples=["envoy"])
    lease: Annotated[float, Duration(Bounds(1, 300), "10s")] = Field(
        10.0,
        description="How long the proxy keeps the candidate's weight without hearing from the guard; then all traffic is back on the "
        "baseline. The guard renews every third of it.",
        examples=["10s"],
    )
    settings: Settings = Field(default_factory=dict, description="What the adapter needs to know.", examples=[{"admin": "127.0.0.1:9901"}])


class RequireSection(Section):
    """What a step must show."""

    passed: Annotated[bool, Truth()] = Field(default=False, alias="pass", description="A PASS.", examples=[True])
    requests: Annotated[int, Number(Bounds(0, 10**9), "500", whole=True)] = Field(
        0, description="So many traced candidate requests without a finding.", examples=[500]
    )


@dataclass(frozen=True, slots=True)
class _PassAlone:
    """`require: pass` is short for `require: {pass: true}`."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """How JSON Schema tells it."""
        return {"anyOf": [{"const": "pass"}, handler(schema)]}


def _required(value: object) -> object:
    if isinstance(value, str):
        if value.strip() != "pass":
            message = f"{told(value)}; wanted is pass, or a mapping with pass and requests"
            raise wrong(message, "for example: pass, or {requests: 500}")
        return {"pass": True}
    return value


class NeedSection(Section):
    """So many people, each in one of these roles. A role stands in one need of a gate only."""

    roles: Annotated[list[AskedRole], Field(min_length=1, max_length=len(ASKABLE))] = Field(
        description="Any of these. Authors are not asked: another person approves a change.", examples=[["approver", "security"]]
    )
    people: Annotated[int, Number(Bounds(1, QUORUM_MAX), "1", whole=True)] = Field(1, description="So many of them.", examples=[2])


@dataclass(frozen=True, slots=True)
class _GateWord:
    """`gate: approval` is short for one approver, `gate: none` for nobody."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """How JSON Schema tells it."""
        return {"anyOf": [{"enum": ["none", "approval"]}, handler(schema)]}


def _gate(value: object) -> object:
    if value == "none":
        return []
    if value == "approval":
        return [{"roles": [role.value for role in need.roles], "people": need.quorum} for need in ONE_APPROVER]
    if not isinstance(value, list):
        message = f"{told(value)}; wanted is none, approval, or a list of needs"
        raise wrong(message, "for example: approval, or [{roles: [approver], people: 2}, {roles: [security]}]")
    return value


GateList = Annotated[list[NeedSection], BeforeValidator(_gate), _GateWord(), Field(max_length=NEEDS_MAX)]


class StepSection(Section):
    """One step: a weight, and what must be shown before the next."""

    weight: Annotated[float, Percent(_WEIGHT, "5%")] = Field(description="The candidate's share of requests.", examples=["5%"])
    minimum: Annotated[float, Duration(Bounds(0, 7 * DAY_S), "2m")] = Field(
        120.0, description="The step takes at least so long.", examples=["2m"]
    )
    maximum: Annotated[float, Duration(Bounds(1, 7 * DAY_S), "30m")] = Field(
        1800.0, description="When evidence is still missing after so long, `policy.without_evidence` decides.", examples=["30m"]
    )
    require: Annotated[RequireSection, BeforeValidator(_required), _PassAlone()] = Field(
        RequireSection.model_validate({"pass": True}),
        description="What must be shown before the next step: `pass`, or a mapping. The last step always needs a pass.",
        examples=["pass", {"requests": 500}],
    )
    gate: GateList = Field(
        [],
        description="Who must agree, with a signature, before the step begins: `none`, `approval` (one approver), or a list of needs "
        "that must all be met.",
        examples=["approval", [{"roles": ["approver"], "people": 2}, {"roles": ["security"]}]],
    )
    mirror: Annotated[float, Percent(Bounds(0, 100), "0%")] = Field(
        0.0,
        description="Of the requests that the baseline answers, those copied to the candidate too; the copies' answers are thrown away.",
        examples=["0%"],
    )


class ToleranceSection(Section):
    """The candidate's rate may be up to `ratio` times the baseline's plus `difference`. What is left out stays as it is by default."""

    ratio: Ratio = Field(AS_ELSEWHERE, description="Times the baseline's rate.", examples=[1.1])
    difference: Difference = Field(AS_ELSEWHERE, description="Plus this share of requests.", examples=["0.05%"])


class ToleranceSections(Section):
    """What is tolerated. The names are the judge's own."""

    latency_margin: Margin = Field(
        AS_ELSEWHERE, description="FAIL: slower than the baseline's quantile by more than this share.", examples=["9%"]
    )
    latency_margin_apart: Margin = Field(
        AS_ELSEWHERE, description="The same for recordings of different times, where drift does not cancel.", examples=["19%"]
    )
    latency_floor_share: Margin = Field(
        AS_ELSEWHERE,
        description="In any case an operation may become slower by this share of the mean duration of the traces it is part of.",
        examples=["1%"],
    )
    errors: ToleranceSection = Field(AS_ELSEWHERE, description="FAIL: more failed requests.", examples=[{"difference": "0.05%"}])
    refused: ToleranceSection = Field(
        AS_ELSEWHERE, description="FAIL: more, or fewer, requests refused for lack of rights.", examples=[{"ratio": 1.1}]
    )
    rejected: ToleranceSection = Field(
        AS_ELSEWHERE, description="FAIL: more requests rejected as wrong (other 4xx).", examples=[{"difference": "0.5%"}]
    )
    structure: ToleranceSection = Field(
        AS_ELSEWHERE, description="FAIL: calls missing or added, parents that never came.", examples=[{"difference": "0.5%"}]
    )
    new_error_kind: ToleranceSection = Field(
        AS_ELSEWHERE, description="FAIL: kinds of error that the baseline does not have.", examples=[{"difference": "0.002%"}]
    )
    leaks: ToleranceSection = Field(
        AS_ELSEWHERE, description="FAIL: sensitive data that the baseline does not send.", examples=[{"difference": "0.002%"}]
    )
    leaks_more: ToleranceSection = Field(
        AS_ELSEWHERE, description="FAIL: more of the sensitive data that the baseline sends too.", examples=[{"difference": "0.05%"}]
    )
    tolerated_leaks: Annotated[dict[DetectorName, Line], Field(max_length=LEAKS_MAX)] = Field(
        AS_ELSEWHERE,
        description="Sensitive data that is no reason to go back: detectors, each with the reason. It is masked and told all the same.",
        examples=[{"email": "The mailbox of the help desk, which is public"}],
    )
    latency_margin_pass: Margin = Field(AS_ELSEWHERE, description="PASS: shown not to be slower by more than this share.", examples=["19%"])
    errors_pass: ToleranceSection = Field(
        AS_ELSEWHERE, description="PASS: shown not to fail more than this.", examples=[{"difference": "0.2%"}]
    )
    structure_pass: ToleranceSection = Field(
        AS_ELSEWHERE, description="PASS: shown not to differ more in its calls.", examples=[{"difference": "2%"}]
    )


class DefaultsSection(ToleranceSections):
    """The levels of the whole rollout, and what is tolerated of every operation."""

    alpha: Level = Field(Policy().alpha, description="Bound on the chance that an unchanged candidate ever FAILs.", examples=[0.01])
    beta: Level = Field(
        Policy().beta, description="Bound on the chance that something worse by its `…_pass` tolerance passes.", examples=[0.05]
    )


class OperationSection(ToleranceSections):
    """What is tolerated of some operations; all that is left out is as in `objectives.defaults`."""

    match: OperationPattern = Field(
        description="Which operations: a pattern of `service kind name`, kind in lower case; the first that matches holds.",
        examples=["portal server GET /search"],
    )


class ObjectivesSection(Section):
    """What is tolerated, and how sure the judge must be."""

    defaults: DefaultsSection = Field(DefaultsSection.model_validate({}), description="For every operation.", examples=[{"alpha": 0.01}])
    operations: Annotated[list[OperationSection], Field(max_length=OPERATIONS_MAX)] = Field(
        [], description="Exceptions.", examples=[[{"match": "portal server GET /search", "latency_margin": "20%"}]]
    )


class FastPathSection(Section):
    """The absolute guard beside the statistics: it goes back at once when very much fails."""

    failed_share: Annotated[float, Share(Bounds(0, 1, low_open=True), "50%")] = Field(
        FastPath().failed_share, description="Goes back when this share of the candidate's requests failed.", examples=["50%"]
    )
    requests: Annotated[int, Number(Bounds(1, 10**6), "20", whole=True)] = Field(
        FastPath().requests_min, description="There must be at least so many to say so.", examples=[20]
    )
    within: Annotated[float, Duration(Bounds(1, 3600), "10s")] = Field(
        FastPath().span_s, description="Looks at requests of the last so long.", examples=["10s"]
    )


class PolicySection(Section):
    """What follows from the judge's answers."""

    when_worse: Annotated[str, Choice(tuple(WhenWorse))] = Field(
        WhenWorse.RETURN.value,
        description="On FAIL and BLIND: back to the baseline; or `freeze`, where the baseline cannot run on the data any more.",
        examples=["return"],
    )
    without_evidence: Annotated[str, Choice(tuple(Otherwise))] = Field(
        Otherwise.HOLD.value,
        description="When evidence is missing at the end of a time: hold, or return. Never forward.",
        examples=["hold"],
    )
    deadline: Annotated[float, Duration(Bounds(1, 60 * DAY_S), "1d")] = Field(
        float(DAY_S), description="For the whole rollout, from its first shift; then `without_evidence` decides.", examples=["1d"]
    )
    fast_path: FastPathSection = Field(
        FastPathSection.model_validate({}), description="The absolute guard.", examples=[{"failed_share": "50%", "requests": 20}]
    )


class ObserveSection(Section):
    """How the rollout is watched."""

    window: Annotated[int, Duration(Bounds(1, 300), "10s", whole=True)] = Field(
        Observation().window_s, description="The slice of time that is summarised and judged at once.", examples=["10s"]
    )
    settle: Annotated[float, Duration(Bounds(0, 600), "10s")] = Field(
        Observation().settle_s, description="How long late spans of a window are waited for.", examples=["10s"]
    )
    reference: Annotated[float, Duration(Bounds(0, 7 * DAY_S), "5m")] = Field(
        Observation().reference_s, description="How long the baseline alone is learned from before the first step.", examples=["5m"]
    )


class BakeSection(Section):
    """The last watch, after the switch and before the candidate becomes the durable default."""

    duration: Annotated[float, Duration(Bounds(0, 30 * DAY_S), "30m")] = Field(
        1800.0, alias="for", description="How long the candidate is watched with almost all traffic, still on a lease.", examples=["30m"]
    )
    holdback: Annotated[float, Percent(Bounds(0, 100, high_open=True), "5%")] = Field(
        5.0, description="What stays on the baseline meanwhile, to compare with.", examples=["5%"]
    )
    gate: GateList = Field([], description="Who must agree before the switch, as in `steps[].gate`.", examples=["approval"])


class FreezeSection(Section):
    """A time in which nothing starts and nothing moves forward. Going back is always possible."""

    start: Annotated[str, Moment("2026-12-24T00:00:00+01:00")] = Field(
        alias="from", description="Its first moment.", examples=["2026-12-24T00:00:00+01:00"]
    )
    end: Annotated[str, Moment("2026-12-27T00:00:00+01:00")] = Field(
        alias="to", description="The first moment after it.", examples=["2026-12-27T00:00:00+01:00"]
    )
    reason: Line = Field(description="Why.", examples=["Holidays"])


class BreakGlassSection(Section):
    """Who may move the rollout forward in spite of a freeze. It is loud: it opens a review that every report shows until it is done."""

    gate: Annotated[list[NeedSection], BeforeValidator(_gate), _GateWord(), Field(min_length=1, max_length=NEEDS_MAX)] = Field(
        description="Whose signatures it takes, as in `steps[].gate`.", examples=[[{"roles": ["security"]}]]
    )
    review_within: Annotated[float, Duration(Bounds(60, 90 * DAY_S), "3d")] = Field(
        3.0 * DAY_S, description="Within this, somebody else must have looked at it.", examples=["3d"]
    )


class ScheduleSection(Section):
    """When the rollout may move forward."""

    not_before: Annotated[str | None, Moment("2026-11-03T20:00:00+01:00", optional=True)] = Field(
        None, description="Not before this.", examples=["2026-11-03T20:00:00+01:00"]
    )
    not_after: Annotated[str | None, Moment("2026-11-04T04:00:00+01:00", optional=True)] = Field(
        None, description="Not from this on.", examples=["2026-11-04T04:00:00+01:00"]
    )
    freezes: Annotated[list[FreezeSection], Field(max_length=FREEZES_MAX)] = Field(
        [],
        description="Nor in these times.",
        examples=[[{"from": "2026-12-24T00:00:00Z", "to": "2026-12-27T00:00:00Z", "reason": "Holidays"}]],
    )
    break_glass: BreakGlassSection | None = Field(
        None,
        description="Who may move it forward in a freeze all the same. Left out: nobody.",
        examples=[{"gate": [{"roles": ["security"]}]}],
    )


class DetectorSection(Section):
    """Something that is masked wherever it is found, because the decoder's own detectors do not know it."""

    name: DetectorName = Field(description="Its name, which findings and `tolerated_leaks` have.", examples=["case_number"])
    pattern: DetectorPattern = Field(
        description="A regular expression that is matched in linear time: look-around and back references do not exist.",
        examples=["CASE-[0-9]{8}"],
    )
    keys: Annotated[list[DetectorKey], Field(max_length=DETECTOR_KEYS_MAX)] = Field(
        [],
        description="The attributes it holds for, `*` at the end for any rest; left out: every text. Attributes that say which instance a "
        "span is from must be named without `*`.",
        examples=[["case.*"]],
    )
    checksum: Annotated[str, Choice(CHECKSUMS)] = Field("none", description="What must hold of a match.", examples=["luhn"])
    treatment: Annotated[str, Choice(TREATMENTS)] = Field(
        "mask",
        description="What is done with it: the name in its place, a keyed hash (the key is the guard's), or the whole text goes.",
        examples=["mask"],
    )


class MaskingSection(Section):
    """What is masked beside that which the guard masks anyway, in everything that the guard takes in."""

    detectors: Annotated[list[DetectorSection], Field(max_length=OWN_DETECTORS_MAX)] = Field(
        [],
        description="Detectors of your own. They hold from the submission of the plan for as long as its evidence is kept.",
        examples=[[{"name": "case_number", "pattern": "CASE-[0-9]{8}"}]],
    )


class RetentionSection(Section):
    """What is kept of the rollout after its end, and how long."""

    evidence: Annotated[float, Duration(EVIDENCE_KEPT, "365d")] = Field(
        Retention().evidence_s,
        description="How long after its end its evidence is kept: looks, reference, judgements, and what people wrote and their names. "
        "Then it is erased; the plan and the entries in the ledger stay.",
        examples=["365d"],
    )


class PlanDocument(Section):
    """A plan for a Verdigris rollout."""

    version: Annotated[int, Number(Bounds(1, 1), "1", whole=True)] = Field(description="The version of this format.", examples=[1])
    name: Line = Field(description="What the rollout is called.", examples=["Faster appointment search"])
    change: ChangeSection = Field(description="What is being changed and why.", examples=[{"reason": "Search is slow for large clinics."}])
    baseline: EnvironmentSection = Field(description="What is live now.", examples=[{"slot": "blue"}])
    candidate: EnvironmentSection = Field(description="What shall take its place.", examples=[{"slot": "green"}])
    traffic: TrafficSection = Field(description="Which data plane splits the traffic.", examples=[{"adapter": "envoy"}])
    steps: Annotated[list[StepSection], Field(min_length=1, max_length=STEPS_MAX)] = Field(
        description="The way to the candidate, weights ascending.", examples=[[{"weight": "5%"}, {"weight": "50%"}]]
    )
    objectives: ObjectivesSection = Field(
        ObjectivesSection.model_validate({}), description="What is tolerated.", examples=[{"defaults": {"latency_margin": "9%"}}]
    )
    policy: PolicySection = Field(
        PolicySection.model_validate({}), description="What follows from the judge's answers.", examples=[{"deadline": "1d"}]
    )
    observe: ObserveSection = Field(
        ObserveSection.model_validate({}), description="How the rollout is watched.", examples=[{"window": "10s"}]
    )
    bake: BakeSection = Field(BakeSection.model_validate({}), description="The last watch.", examples=[{"for": "30m"}])
    schedule: ScheduleSection = Field(
        ScheduleSection.model_validate({}), description="When it may move forward.", examples=[{"not_before": "2026-11-03T20:00:00+01:00"}]
    )
    retention: RetentionSection = Field(
        RetentionSection.model_validate({}), description="What is kept after its end.", examples=[{"evidence": "365d"}]
    )
    masking: MaskingSection = Field(
        MaskingSection.model_validate({}),
        description="What is masked beside the guard's own.",
        examples=[{"detectors": [{"name": "case_number", "pattern": "CASE-[0-9]{8}"}]}],
    )


def keys_of(section: type[Section]) -> Mapping[str, FieldInfo]:
    """The keys as they are written, each with its field: a section's own, then those it shares with others."""
    names = sorted(section.model_fields, key=lambda name: name not in section.__annotations__)
    return {section.model_fields[name].alias or name: section.model_fields[name] for name in names}


def section_in(annotation: Any) -> type[Section] | None:
    """The section that a field holds, itself or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in {list, Annotated, UnionType}:  # a section that may be left out is `Section | None`
        return section_in(get_args(annotation)[0])
    return None


def is_list(annotation: Any) -> bool:
    """Whether a field holds a list."""
    origin = get_origin(annotation)
    return origin is list or (origin is Annotated and is_list(get_args(annotation)[0]))


def kind_of(annotation: Any, metadata: list[Any]) -> Kind | None:
    """The kind of value that a field, or each entry of its list, is."""
    for each in metadata:
        if hasattr(each, "wanted"):
            kind: Kind = each
            return kind
    if get_origin(annotation) is Annotated:
        inner, *found = get_args(annotation)
        return kind_of(inner, found)
    return kind_of(get_args(annotation)[0], []) if is_list(annotation) else None


def all_keys(section: type[Section] = PlanDocument, within: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a plan with its place (`steps[].weight`), sections before what is in them."""
    for key, field in keys_of(section).items():
        place = f"{within}{key}"
        yield place, field
        inner = section_in(field.annotation)
        if inner is not None:
            yield from all_keys(inner, place + ("[]." if is_list(field.annotation) else "."))
