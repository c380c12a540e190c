"""Turns what was read into sections, and what does not fit into problems with places and suggestions.

Each section is read by itself, so that a mistake in one does not hide the mistakes in the others.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from verdigris.plan.fields import (
    BakeSection,
    ChangeSection,
    EnvironmentSection,
    MaskingSection,
    ObjectivesSection,
    ObserveSection,
    PlanDocument,
    PolicySection,
    RetentionSection,
    ScheduleSection,
    Section,
    StepSection,
    TrafficSection,
    all_keys,
    is_list,
    keys_of,
    section_in,
)
from verdigris.plan.problems import Path, Problem, path_text, quoted
from verdigris.plan.scalars import told
from verdigris.plan.yaml_text import PROBLEMS_MAX, Reading, Value

KEYS_TOLD = 12
_EDITED_ELSEWHERE = {
    ("alpha", "operations"): "alpha is a budget of the whole rollout: it stands in objectives.defaults only",
    ("beta", "operations"): "beta is a budget of the whole rollout: it stands in objectives.defaults only",
}

T = TypeVar("T")


@dataclass(slots=True)
class Parts:
    """The sections that could be read; None, or left out of `steps`, where one could not."""

    change: ChangeSection | None = None
    baseline: EnvironmentSection | None = None
    candidate: EnvironmentSection | None = None
    traffic: TrafficSection | None = None
    steps: list[tuple[int, StepSection]] = field(default_factory=list)
    steps_complete: bool = False
    """Whether all steps that are written are in `steps`."""
    objectives: ObjectivesSection | None = None
    policy: PolicySection | None = None
    observe: ObserveSection | None = None
    bake: BakeSection | None = None
    schedule: ScheduleSection | None = None
    retention: RetentionSection | None = None
    masking: MaskingSection | None = None
    document: PlanDocument | None = None
    """All of it, if each part could be read."""


class Validation:
    """One plan being validated."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.problems: list[Problem] = []
        self.parts = Parts()

    def run(self) -> None:
        """Fill `problems` and `parts`."""
        value = self._reading.value
        if () in self._reading.unread:
            return
        if not isinstance(value, dict):
            self.tell((), f"{told(value)}; a plan is a mapping that begins with version: 1", "begin with: verdigris plan new")
            return
        parts = self.parts
        document = self._read(PlanDocument, value, ())
        parts.document = document
        given = cast(Mapping[str, Any], document.__dict__ if document is not None else self._sections(value))
        parts.change, parts.baseline, parts.candidate = given.get("change"), given.get("baseline"), given.get("candidate")
        parts.traffic, parts.objectives, parts.policy = given.get("traffic"), given.get("objectives"), given.get("policy")
        parts.observe, parts.bake, parts.schedule = given.get("observe"), given.get("bake"), given.get("schedule")
        parts.retention, parts.masking = given.get("retention"), given.get("masking")
        if document is not None:
            parts.steps, parts.steps_complete = list(enumerate(document.steps)), True
        elif isinstance(steps := value.get("steps"), list):
            read = [(i, _quietly(StepSection, step)) for i, step in enumerate(steps)]
            parts.steps = [(i, step) for i, step in read if step is not None]
            parts.steps_complete = len(parts.steps) == len(steps)

    def _sections(self, value: Mapping[str, Value]) -> Mapping[str, Section | None]:
        """Each section that can be read by itself; a section that is left out is its default."""
        sections: dict[str, Section | None] = {}
        for name, info in PlanDocument.model_fields.items():
            section = section_in(info.annotation)
            if section is not None and not is_list(info.annotation):
                written = name in value
                sections[name] = _quietly(section, value[name]) if written else None if info.is_required() else info.get_default()
        return sections

    def _read(self, section: type[T], value: Value, path: Path) -> T | None:
        try:
            return TypeAdapter(section).validate_python(value)
        except ValidationError as error:
            # Telling costs more than reading: a text of nothing but mistakes shall not keep anyone busy.
            for detail in error.errors(include_url=False)[:PROBLEMS_MAX]:
                self._explain(detail, path)
            return None

    def tell(self, path: Path, message: str, suggestion: str, *, at_key: bool = False) -> None:
        """Add a problem, unless what is at its place was not read as it is written, which is told already."""
        if any(path[: len(unread)] == unread for unread in self._reading.unread):
            return
        position = self._reading.key_position(path) if at_key else self._reading.position(path)
        self.problems.append(Problem(position.line, position.column, path_text(path), message, suggestion))

    def _explain(self, detail: ErrorDetails, within: Path) -> None:
        """One of pydantic's errors in our words."""
        path = (*within, *detail["loc"])
        value = detail["input"]
        context = detail.get("ctx", {})
        if path and path[-1] == "[key]":  # how pydantic points at the key of a mapping
            path = path[:-1]
        match detail["type"]:
            case "plan":
                self.tell(path, context["message"], context["suggestion"])
            case "missing":
                self._missing(path)
            case "extra_forbidden":
                self._unknown(path)
            case "model_type" | "model_attributes_type" | "dict_type":
                section = section_at(path)
                keys = f" with the keys {_listed(list(keys_of(section)))}" if section is not None else ""
                self.tell(path, f"{told(value)}; wanted is a mapping{keys}", f"for example: {example_of(path)}")
            case "list_type":
                self.tell(path, f"{told(value)}; wanted is a list", f"for example: {example_of(path)}")
            case "too_short":
                self.tell(path, "it is empty; wanted is at least one entry", f"for example: {example_of(path)}")
            case "too_long":
                self.tell(path, f"it has more entries than are allowed ({context.get('max_length')})", "shorten it")
            case _:
                self.tell(path, f"{told(value)}; {detail['msg'].lower()}", f"for example: {example_of(path)}")

    def _missing(self, path: Path) -> None:
        key = str(path[-1])
        section = section_at(path[:-1])
        description = keys_of(section)[key].description if section is not None and key in keys_of(section) else None
        self.tell(path, f"it is missing. {description or ''}".rstrip(), f"add, for example: {example_of(path)}", at_key=True)

    def _unknown(self, path: Path) -> None:
        key = str(path[-1])
        section = section_at(path[:-1])
        known = list(keys_of(section)) if section is not None else []
        close = difflib.get_close_matches(key.lower(), known, n=1)
        elsewhere = [place for place, _ in all_keys() if place.rpartition(".")[2] == key]
        special = next((text for (name, part), text in _EDITED_ELSEWHERE.items() if name == key and part in path), None)
        if special is not None:
            suggestion = special
        elif close:
            suggestion = f"did you mean {close[0]}?"
        elif elsewhere:
            suggestion = f"did you mean {elsewhere[0]}?"
        else:
            suggestion = f"known here: {_listed(known)}"
        self.tell(path, "this key is not known here", suggestion, at_key=True)


def _quietly(section: type[T], value: Value) -> T | None:
    """A section that is already told about: without the keys that are not known, and None when more is wrong with it."""
    adapter = TypeAdapter(section)
    for _ in range(2):
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            details = error.errors(include_url=False)
            if any(d["type"] != "extra_forbidden" for d in details):
                return None
            value = _without(value, [d["loc"] for d in details])
    return None


def _without(value: Any, paths: Sequence[Path]) -> Any:
    """A copy without what is at these paths."""
    copy = json.loads(json.dumps(value))
    for path in paths:
        inner = copy
        for part in path[:-1]:
            inner = inner[part]
        del inner[path[-1]]
    return copy


def section_at(path: Path) -> type[Section] | None:
    """The section that a path leads to, if it leads to one."""
    section: type[Section] | None = PlanDocument
    for part in path:
        if section is None:
            return None
        if isinstance(part, int):
            continue
        info = keys_of(section).get(part)
        section = None if info is None else section_in(info.annotation)
    return section


def example_of(path: Path) -> str:
    """How the value at a path may be written, on one line."""
    if not path:
        return "version: 1"
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    within = path[: len(path) - list(reversed(path)).index(key) - 1] if key in path else ()
    section = section_at(within)
    info = keys_of(section).get(key) if section is not None else None
    if info is None or not info.examples:
        return f"{key}: …"
    example = info.examples[0]
    return f"{key}: {example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)}"


def _listed(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:KEYS_TOLD])
    return shown + (", …" if len(keys) > KEYS_TOLD else "") if keys else quoted("")
