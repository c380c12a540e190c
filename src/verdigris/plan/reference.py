"""The reference of all fields as Markdown, made from the fields themselves. `docs/plan.md` holds it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic.fields import FieldInfo

from verdigris.plan.fields import (
    OPERATION,
    OPERATIONS_MAX,
    EnvironmentSection,
    Section,
    ToleranceSection,
    ToleranceSections,
    all_keys,
    is_list,
    keys_of,
    kind_of,
    section_in,
)
from verdigris.plan.policy import Policy
from verdigris.plan.scalars import Duration, Percent, Share, duration_text
from verdigris.plan.settings import SETTINGS


def reference() -> str:
    """Two kinds of table: fields, and the settings of each adapter."""
    lines = ["### Fields", "", "| field | holds | default | meaning |", "|---|---|---|---|"]
    told: set[type[Section]] = set()
    for place, field in all_keys():
        within = place.rpartition(".")[0]
        if any(within == each or within.startswith((f"{each}.", f"{each}[")) for each in _SHORT):
            continue
        lines.append(f"| `{place}` | {_holds(place, field)} | {_default(place, field)} | {field.description} |")
        section = section_in(field.annotation)
        if section is ToleranceSection and section not in told:
            told.add(section)
            lines += [f"| `….{key}` | {_holds(key, each)} | | {each.description} |" for key, each in keys_of(section).items()]
    for adapter, settings in SETTINGS.items():
        lines += ["", f"### Settings of {adapter}", "", "| `traffic.settings` | holds | default | meaning |", "|---|---|---|---|"]
        for name, setting in settings.items():
            default = "required" if setting.required else "none" if setting.default is None else f"`{_setting_text(setting.default)}`"
            lines.append(f"| `{name}` | {setting.kind.wanted} (`{setting.kind.example}`) | {default} | {setting.meaning} |")
    return "\n".join(lines) + "\n"


def _shared(section: type[Section]) -> str:
    return ", ".join(f"`{key}`" for key in keys_of(section))


_SHORT: Mapping[str, str] = {
    "candidate": f"a mapping with the fields of `baseline`: {_shared(EnvironmentSection)}",
    **{
        f"objectives.defaults.{key}": "a mapping with `ratio` and `difference`"
        for key, field in keys_of(ToleranceSections).items()
        if section_in(field.annotation) is ToleranceSection
    },
    "objectives.operations": f"a list, at most {OPERATIONS_MAX}, of mappings with `match` ({OPERATION.wanted}) and any of the "
    f"fields of `objectives.defaults` but `alpha` and `beta`: {_shared(ToleranceSections)}",
}
"""Places whose fields are told already, elsewhere or in this sentence."""


def _holds(place: str, field: FieldInfo) -> str:
    if place in _SHORT:
        return _SHORT[place]
    if place == "steps[].require":
        return "`pass`, or a mapping"
    section = section_in(field.annotation)
    inner = kind_of(field.annotation, field.metadata)
    limit = next((m.max_length for m in field.metadata if hasattr(m, "max_length")), None)
    if section is not None or inner is None:
        return _entries(field, section, limit)
    return f"a list, at most {limit}: {inner.wanted}" if is_list(field.annotation) else inner.wanted


def _entries(field: FieldInfo, section: type[Section] | None, limit: int | None) -> str:
    if section is None:
        return f"a mapping of names to values{f', at most {limit}' if limit else ''}"
    return f"a list, at most {limit}" if is_list(field.annotation) else "a mapping"


def _default(place: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    path = place.split(".")
    if path[:2] == ["objectives", "defaults"] and path[2:]:
        value: Any = asdict(Policy())[path[2]]
        if isinstance(value, dict) and value:
            return f"`{{ratio: {value['ratio']:.12g}, difference: {_percent(value['difference'])}}}`"
        return _written(value, field)
    default = field.get_default(call_default_factory=True)
    if place == "steps[].require":
        return "`pass`"
    return "as below" if isinstance(default, Section) else _written(default, field)


def _written(value: Any, field: FieldInfo) -> str:
    """A default as one may write it."""
    kind = kind_of(field.annotation, field.metadata)
    if value in (None, [], {}):
        return "none"
    if isinstance(kind, Duration):
        return f"`{duration_text(value)}`"
    if isinstance(kind, Share):
        return f"`{_percent(value)}`"
    if isinstance(kind, Percent):
        return f"`{value:.12g}%`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:.12g}`" if isinstance(value, float) else f"`{value}`"


def _percent(share: float) -> str:
    return f"{share * 100:.12g}%"


def _setting_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
