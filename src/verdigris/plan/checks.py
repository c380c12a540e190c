"""What the parts of a plan must agree on, and what is allowed but doubtful. Each check takes the parts it needs, and skips
when one of them could not be read.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

from pydantic_core import PydanticCustomError

from verdigris.plan.detectors import DETECTORS, OwnDetector
from verdigris.plan.fields import DetectorSection, EnvironmentSection, NeedSection, StepSection, ToleranceSections, TrafficSection
from verdigris.plan.gates import Role, asked_twice
from verdigris.plan.plan import Setting
from verdigris.plan.problems import Path
from verdigris.plan.scalars import duration_text, unix_s
from verdigris.plan.settings import MIRRORING, SETTINGS, disagreements, read_setting
from verdigris.plan.validation import Parts

LEASE_LONG_S = 60.0
REQUESTS_FEW = 100
REFERENCE_SHORT_S = 60.0
AUDIT_TRAIL_S = 365 * 86_400.0
WEIGHT_RISE_PERCENT = 0.01
"""What every data plane can tell apart."""


class Tell(Protocol):
    """Takes what a check has found."""

    def __call__(self, path: Path, message: str, suggestion: str, *, at_key: bool = False) -> None:
        """`path` says where."""


def roles(parts: Parts, problem: Tell, warning: Tell) -> None:
    """Baseline and candidate can be told apart."""
    baseline, candidate = parts.baseline, parts.candidate
    if baseline is None or candidate is None:
        return
    if baseline.slot == candidate.slot:
        problem(("candidate", "slot"), f"both roles have the slot {candidate.slot}", "give the candidate's slot, for example green")
    for index, address in enumerate(candidate.addresses):
        if address in baseline.addresses:
            problem(
                ("candidate", "addresses", index), f"{address} is an address of the baseline too", "give the candidate addresses of its own"
            )
    for role, environment in (("baseline", baseline), ("candidate", candidate)):
        for index, address in enumerate(environment.addresses):
            if address in environment.addresses[:index]:
                problem((role, "addresses", index), f"{address} is here twice", "remove one")
    _identities(baseline, candidate, problem, warning)


def _identities(baseline: EnvironmentSection, candidate: EnvironmentSection, problem: Tell, warning: Tell) -> None:
    shared = sorted(baseline.identity.keys() & candidate.identity.keys())
    path: Path = ("candidate", "identity")
    if not shared:
        warning(
            path, "the two identities share no attribute, so spans may match both",
            "use one attribute with two values, for example service.version",
            at_key=True,
        )  # fmt: skip
    elif baseline.identity == candidate.identity:
        problem(path, "it is the baseline's: no span could be told apart", "give one attribute another value", at_key=True)
    elif all(overlap(baseline.identity[key], candidate.identity[key]) for key in shared):
        both = ", ".join(f"{key}: {baseline.identity[key]} and {candidate.identity[key]}" for key in shared)
        problem(path, f"a span can match both roles ({both})", "make the patterns of one attribute exclude each other", at_key=True)


def overlap(one: str, other: str) -> bool:
    """Whether some text matches both patterns (`*`, `?`)."""
    # row[j]: whether one[:i] and other[:j] can match the same text, for the i of the loop.
    row = [set(other[:j]) <= {"*"} for j in range(len(other) + 1)]
    for mine in one:
        last, row = row, [row[0] and mine == "*"]
        for j, theirs in enumerate(other):
            if "*" in (mine, theirs):
                row.append((mine == "*" and (last[j + 1] or row[j])) or (theirs == "*" and (row[j] or last[j + 1])))
            else:
                row.append(last[j] and (mine == theirs or "?" in (mine, theirs)))
    return row[-1]


def traffic(parts: Parts, problem: Tell, warning: Tell) -> None:
    """The adapter knows the settings and has those it needs."""
    section = parts.traffic
    if section is None:
        return
    _settings(section, problem)
    for index, step in parts.steps:
        if step.mirror > 0 and section.adapter not in MIRRORING:
            able = ", ".join(sorted(MIRRORING))
            problem(("steps", index, "mirror"), f"the {section.adapter} adapter cannot copy requests", f"write 0%, or use: {able}")
    if section.lease > LEASE_LONG_S:
        warning(
            ("traffic", "lease"),
            f"if the guard dies, the candidate keeps its traffic for up to {duration_text(section.lease)}",
            "10s is usual; longer only where the proxy is reached slowly",
        )


def _settings(section: TrafficSection, problem: Tell) -> None:
    known = SETTINGS[section.adapter]
    path: Path = ("traffic", "settings")
    right: dict[str, Setting] = {}
    for name, value in section.settings.items():
        if name not in known:
            problem((*path, name), f"the {section.adapter} adapter has no such setting", _known(name, known), at_key=True)
            continue
        try:
            right[name] = read_setting(name, known[name], value)
        except PydanticCustomError as error:
            context = error.context or {}
            problem((*path, name), context["message"], context["suggestion"])
    for name, setting in known.items():
        if setting.required and name not in section.settings:
            problem(path, f"{name} is missing. {setting.meaning}", f"add, for example: {name}: {setting.kind.example}", at_key=True)
    if len(right) == len(section.settings):
        for name, message, suggestion in disagreements(section.adapter, right):
            problem((*path, name), message, suggestion)


def _known(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"it has: {', '.join(known)}"


def steps(parts: Parts, problem: Tell, warning: Tell) -> None:
    """Steps ascend, each can be decided, and the last needs a pass."""
    for (_, before), (index, step) in pairwise(parts.steps):
        if step.weight < before.weight + WEIGHT_RISE_PERCENT * (1 - 1e-9):  # a sum of binary fractions may miss the last bit
            problem(
                ("steps", index, "weight"),
                f"{step.weight:.12g}% does not follow {before.weight:.12g}%",
                f"each weight is greater than the one before, by {WEIGHT_RISE_PERCENT}% at least",
            )
    for index, step in parts.steps:
        _step(parts, index, step, problem)
        if not step.require.passed and step.require.requests < REQUESTS_FEW:
            if step.require.requests == 0:
                problem(("steps", index, "require"), "nothing is required", "for example: pass, or {requests: 500}")
            else:
                warning(("steps", index, "require"), f"{step.require.requests} requests show little", f"{REQUESTS_FEW} at least, or a pass")
    if parts.steps_complete and parts.steps:
        index, last = parts.steps[-1]
        if not last.require.passed and last.require.requests > 0:
            problem(
                ("steps", index, "require"), "the last step must require a pass: a candidate is committed on a PASS only",
                f"for example: {{pass: true, requests: {last.require.requests}}}",
            )  # fmt: skip
        if len(parts.steps) == 1:
            warning(
                ("steps",),
                "there is one step only, so the first look is at all of its weight",
                "begin with a small weight, for example 5%",
                at_key=True,
            )


def _step(parts: Parts, index: int, step: StepSection, problem: Tell) -> None:
    if step.minimum > step.maximum:
        problem(
            ("steps", index, "minimum"), f"{duration_text(step.minimum)} is more than the maximum ({duration_text(step.maximum)})",
            "make the maximum longer",
        )  # fmt: skip
    if parts.observe is not None and parts.observe.settle + parts.observe.window > step.maximum:
        needed = duration_text(parts.observe.settle + parts.observe.window)
        problem(
            ("steps", index, "maximum"),
            f"nothing can be judged in {duration_text(step.maximum)}: a window is complete after {needed} (observe.window and settle)",
            "make the maximum longer, or observe.window and observe.settle shorter",
        )


def times(parts: Parts, problem: Tell, warning: Tell) -> None:
    """The deadline leaves room for the steps, and the learning and the bake are worth their names."""
    if parts.policy is not None and parts.steps_complete:
        minimum = sum(step.minimum for _, step in parts.steps)
        bake = parts.bake.duration if parts.bake is not None else 0.0
        deadline = duration_text(parts.policy.deadline)
        if parts.policy.deadline < minimum:
            problem(("policy", "deadline"), f"{deadline} is less than the steps take at least ({duration_text(minimum)})", "make it longer")
        elif parts.policy.deadline < minimum + bake:
            warning(
                ("policy", "deadline"),
                f"{deadline} is less than steps and bake take at least ({duration_text(minimum + bake)})",
                "make it longer",
            )
    if parts.bake is not None:
        if parts.bake.duration == 0:
            warning(
                ("bake", "for"),
                "there is no bake: the candidate is never seen with almost all traffic before it is committed",
                "for example 30m",
            )
        elif parts.bake.holdback == 0:
            warning(("bake", "holdback"), "nothing stays on the baseline during the bake, so nothing can be compared", "for example 5%")
    if parts.observe is not None and parts.observe.reference < REFERENCE_SHORT_S:
        warning(
            ("observe", "reference"), f"{duration_text(parts.observe.reference)} is short to learn what the baseline does", "5m is usual"
        )


def schedule(parts: Parts, problem: Tell, _warning: Tell) -> None:
    """Times are in order."""
    section = parts.schedule
    if section is None:
        return
    if section.not_before is not None and section.not_after is not None and unix_s(section.not_after) <= unix_s(section.not_before):
        problem(("schedule", "not_after"), f"it is not after not_before ({section.not_before})", "exchange the two, or correct the day")
    for index, freeze in enumerate(section.freezes):
        if unix_s(freeze.end) <= unix_s(freeze.start):
            problem(("schedule", "freezes", index, "to"), f"it is not after from ({freeze.start})", "exchange the two, or correct the day")


def gates(parts: Parts, problem: Tell, _warning: Tell) -> None:
    """A role stands in one need of a gate only, so that a word counts for one of them."""
    _gate(("bake", "gate"), parts.bake.gate if parts.bake is not None else [], problem)
    for index, step in parts.steps:
        _gate(("steps", index, "gate"), step.gate, problem)
    if parts.schedule is not None and parts.schedule.break_glass is not None:
        _gate(("schedule", "break_glass", "gate"), parts.schedule.break_glass.gate, problem)


def _gate(path: Path, needs: Sequence[NeedSection], problem: Tell) -> None:
    twice = asked_twice([Role(role) for need in needs for role in need.roles])
    if twice is not None:
        problem(path, f"it asks for {twice.value} twice", "write the role once, with the number of people", at_key=True)


def retention(parts: Parts, _problem: Tell, warning: Tell) -> None:
    """Evidence is kept as long as those who look at it later expect."""
    if parts.retention is not None and parts.retention.evidence < AUDIT_TRAIL_S:
        warning(
            ("retention", "evidence"),
            f"after {duration_text(parts.retention.evidence)} nothing can be judged again, and no name or reason is left",
            "PCI DSS 4.0.1 10.5.1 asks for 365d; HIPAA (45 CFR 164.316) for six years, 2192d",
        )


_KINDS = frozenset({"server", "client", "producer", "consumer", "internal", "unspecified"})


def objectives(parts: Parts, problem: Tell, warning: Tell) -> None:
    """Patterns of operations can match, and each says something new."""
    if parts.objectives is None:
        return
    own = () if parts.masking is None else parts.masking.detectors
    known = dict.fromkeys((*DETECTORS, *(detector.name for detector in own)))
    _tolerated_leaks(("objectives", "defaults"), parts.objectives.defaults, known, warning)
    seen: dict[str, int] = {}
    for index, operation in enumerate(parts.objectives.operations):
        _tolerated_leaks(("objectives", "operations", index), operation, known, warning)
        path: Path = ("objectives", "operations", index, "match")
        words = operation.match.split(" ")
        if operation.match in seen:
            problem(path, f"the same pattern stands in operations[{seen[operation.match]}], which holds", "put both in one")
        seen.setdefault(operation.match, index)
        if len(words) < 3 and "*" not in operation.match:  # noqa: PLR2004  # service, kind, name
            problem(
                path, "it can match no operation: these are written as service, kind and name", "for example: portal server GET /search"
            )
        elif len(words) > 1 and words[1].lower() in _KINDS and words[1] not in _KINDS:
            problem(path, f"it can match no operation: kinds are in lower case ({words[1].lower()})", f"write {words[1].lower()}")
        if not operation.model_fields_set - {"match"}:
            warning(path, "nothing is different here from objectives.defaults", "give at least one tolerance, or remove it")


def _tolerated_leaks(path: Path, section: ToleranceSections, known: Mapping[str, object], warning: Tell) -> None:
    """The guard's settings may have detectors too; they are not at hand here."""
    for detector in section.tolerated_leaks or ():
        if detector not in known:
            warning(
                (*path, "tolerated_leaks", detector),
                "neither Verdigris nor this plan has a detector of this name: it counts only if the guard's settings do",
                _known(detector, known), at_key=True,
            )  # fmt: skip


def masking(parts: Parts, problem: Tell, _warning: Tell) -> None:
    """The decoder takes each detector, and none has the name of another."""
    if parts.masking is None:
        return
    seen: dict[str, int] = {}
    for index, detector in enumerate(parts.masking.detectors):
        path: Path = ("masking", "detectors", index)
        if detector.name in seen:
            problem((*path, "name"), f"detectors[{seen[detector.name]}] has this name too", "give each a name of its own")
        elif why := own_detector(detector).refusal():
            problem(path, why, "correct it as said; docs/masking.md shows detectors that work")
        seen.setdefault(detector.name, index)


def own_detector(section: DetectorSection) -> OwnDetector:
    """The value of a section."""
    return OwnDetector(section.name, section.pattern, tuple(section.keys), section.checksum, section.treatment)


CHECKS: Sequence[Callable[[Parts, Tell, Tell], None]] = (roles, traffic, steps, gates, times, schedule, retention, objectives, masking)
"""All checks. Each tells problems to its second argument, and warnings to its third."""
