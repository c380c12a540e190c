"""What holds for every plan, however it is written, changed or damaged."""

import json
import random
from collections.abc import Callable
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from verdigris.plan.checks import overlap
from verdigris.plan.document import check_plan, json_schema, load_plan
from verdigris.plan.example import example_plan
from verdigris.plan.plan import Plan
from verdigris.plan.problems import InvalidPlan
from verdigris.plan.scalars import Bounds, Duration, duration_text
from verdigris.plan.settings import MIRRORING
from verdigris.plan.yaml_text import read_yaml

quickly = settings(max_examples=40, deadline=None)
thoroughly = settings(max_examples=300, deadline=None)

VALIDATOR = jsonschema.Draft202012Validator(json_schema())
EXAMPLES = [example_plan("envoy"), example_plan("haproxy")]

LINE = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="$"), min_size=1, max_size=30).filter(str.strip)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
SECONDS = st.integers(1, 300) | st.integers(10, 3000).map(lambda n: n / 10)
RATIO = st.floats(1, 1000)
SHARE = st.floats(0, 1, exclude_max=True)
MOMENT = st.datetimes(datetime(1971, 1, 1), datetime(9990, 1, 1)).map(lambda t: t.replace(microsecond=t.microsecond // 10**5 * 10**5))  # noqa: DTZ001
ALWAYS = st.sampled_from([True])
TOLERANCE = st.fixed_dictionaries({}, optional={"ratio": RATIO, "difference": SHARE})
TOLERANCES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(["latency_margin", "latency_margin_apart", "latency_floor_share", "latency_margin_pass"], st.floats(0, 10)),
    **dict.fromkeys(["errors", "refused", "rejected", "structure", "new_error_kind", "errors_pass", "structure_pass"], TOLERANCE),
}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid plan as plain values, with anything optional left out now and then."""
    document: dict[str, Any] = json.loads(load_plan(draw(st.sampled_from(EXAMPLES))).canonical)
    document["name"] = draw(LINE)
    document["change"] = draw(st.fixed_dictionaries(dict.fromkeys(document["change"], LINE)))
    slots = draw(st.lists(NAME, min_size=2, max_size=2, unique=True))
    values = draw(st.lists(LINE.map(lambda s: s.replace("*", "x").replace("?", "y").strip()), min_size=2, max_size=2, unique=True))
    for role, slot, value in zip(("baseline", "candidate"), slots, values, strict=True):
        document[role] = {
            "slot": slot,
            "identity": {draw(LINE): "x", "version": value},
            "addresses": [f"{role}:{draw(st.integers(1, 65535))}"],
        }
    document["traffic"]["lease"] = draw(SECONDS.filter(lambda s: 1 <= s <= 300))
    document["observe"] = {"window": draw(st.integers(1, 10)), "settle": draw(st.integers(0, 100)) / 10, "reference": draw(SECONDS)}
    weights = sorted(draw(st.lists(st.integers(1, 9999), min_size=1, max_size=4, unique=True)))
    step = st.fixed_dictionaries(
        {},
        optional={
            "minimum": SECONDS, "maximum": st.integers(3000, 600000), "gate": st.sampled_from(["none", "approval"]),
            "require": st.just("pass") | st.fixed_dictionaries({"pass": ALWAYS, "requests": st.integers(0, 10**9)}),
        },
    )  # fmt: skip
    document["steps"] = [{"weight": weight / 100, **draw(step)} for weight in weights]
    levels = {"alpha": st.floats(0.001, 0.5), "beta": st.floats(0.001, 0.5)}
    matches = draw(st.lists(LINE.map(lambda s: f"a server {s.strip()}"), max_size=3, unique=True))
    document["objectives"] = {
        "defaults": draw(st.fixed_dictionaries({}, optional=TOLERANCES | levels)),
        "operations": [{"match": match, **draw(st.fixed_dictionaries({}, optional=TOLERANCES))} for match in matches],
    }
    document["policy"]["deadline"] = draw(st.integers(1200, 10**6))
    first, second = (t.isoformat() + "Z" for t in sorted(draw(st.lists(MOMENT, min_size=2, max_size=2, unique=True))))
    document["schedule"] = {"freezes": draw(st.sampled_from([[], [{"from": first, "to": second, "reason": draw(LINE)}]]))}
    for key in draw(st.lists(st.sampled_from(["objectives", "policy", "observe", "bake", "schedule"]), unique=True)):
        del document[key]
    return document


@quickly
@given(documents())
def test_the_canonical_form_is_a_plan_and_the_same_one(document: dict[str, Any]) -> None:
    plan = load_plan(json.dumps(document))
    again = load_plan(plan.canonical.decode())
    assert (again, again.canonical, again.digest) == (plan, plan.canonical, plan.digest)
    VALIDATOR.validate(document)
    VALIDATOR.validate(json.loads(plan.canonical))


@quickly
@given(documents(), st.randoms(use_true_random=False), st.booleans())
def test_the_spelling_does_not_change_the_digest(document: dict[str, Any], chance: random.Random, flow: bool) -> None:  # noqa: FBT001
    digest = load_plan(json.dumps(document)).digest
    spelled = respelled(document, chance)
    for text in (
        yaml.dump(spelled, Dumper=Quoting, sort_keys=False, default_flow_style=flow, allow_unicode=chance.random() < 0.5),
        json.dumps(spelled, indent=2),
        "# a comment\n" + yaml.dump(spelled, Dumper=Quoting, width=20, indent=chance.choice([2, 4])) + "# another\n",
    ):
        assert load_plan(text).digest == digest


class Quoting(yaml.SafeDumper):
    """Quotes all text: what PyYAML takes for text without quotes, others may take for a number (08)."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if "'" in text else '"'))

DURATIONS = ["lease", "minimum", "maximum", "window", "settle", "reference", "deadline", "within", "for"]
SPELLINGS: dict[str, Callable[[Any], list[object]]] = {
    **dict.fromkeys(DURATIONS, lambda s: [s, float(s), duration_text(s), f"{round(s * 1000)}ms", f"{s}s", f" {s}s "]),
    **dict.fromkeys(["weight", "holdback", "mirror"], lambda n: [n, f"{n}%", f"{n} %"]),
    **dict.fromkeys(["name", "reason", "ticket"], lambda text: [text, f" {text}\t"]),
    **dict.fromkeys(["from", "to"], lambda t: [t, t.replace("Z", "+00:00"), t.replace("Z", "z").replace("T", "t")]),
    "require": lambda r: [r, {"pass": True}, {"pass": True, "requests": 0}] if r == "pass" else [r],
}


def respelled(node: Any, chance: random.Random, key: str = "") -> Any:
    """The same plan, written in another way: order, units, space."""
    if key in SPELLINGS:
        return chance.choice(SPELLINGS[key](node))
    if isinstance(node, dict):
        entries = list(node.items())
        chance.shuffle(entries)
        return {k: respelled(v, chance, k) for k, v in entries}
    return [respelled(v, chance) for v in node] if isinstance(node, list) else node


def leaves(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every single value."""
    if isinstance(node, dict):
        return [p for k, v in node.items() for p in leaves(v, (*path, k))]
    if isinstance(node, list):
        return [p for i, v in enumerate(node) for p in leaves(v, (*path, i))]
    return [path]


def changed(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    """A copy with another value at this path."""
    copy = json.loads(json.dumps(document))
    inner = copy
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return copy


NEIGHBOURS: dict[str, list[object]] = {
    "gate": ["none", "approval"],
    "roles": ["operator", "auditor"],
    "when_worse": ["return", "freeze"],
    "without_evidence": ["hold", "return"],
    "adapter": ["envoy", "haproxy"],
    "xds": ["127.0.0.1:18001"],
    "admin": ["127.0.0.1:9902"],
    "mirror_methods": ["*"],
    "listen": ["127.0.0.1:8081"],
    "not_before": ["2026-01-01T00:00:00Z"],
    "not_after": ["2027-01-01T00:00:00Z"],
    "from": ["2026-12-23T00:00:00Z"],
    "to": ["2026-12-28T00:00:00Z"],
    "checksum": ["luhn"],
    "treatment": ["hash"],
}


def neighbours(key: str, value: Any) -> list[object]:
    """Other values that may well be valid in the same place."""
    others = NEIGHBOURS.get(key)
    if others is None and isinstance(value, bool):
        others = [not value]
    if others is None and isinstance(value, int | float):
        others = [value + 1, value * 1.01 + 0.001, value + 0.0001, value * 0.99]
    if others is None:
        others = [value + "x", value.replace(":", "1:")]
    return [other for other in others if other != value]


def test_a_change_of_any_field_changes_the_digest() -> None:
    # One value only: the version, and a pass at the last step. Another adapter has other settings; chosen users need a key.
    fixed = {"version", "adapter", "chosen_users", "pass"}
    for text in EXAMPLES:
        plan = load_plan(text)
        document = json.loads(plan.canonical)
        paths = leaves(document)
        assert len(paths) > 75
        for path in paths:
            key = next(part for part in reversed(path) if isinstance(part, str))
            loaded = (loads(changed(document, path, other)) for other in neighbours(key, at(document, path)))
            another = next((other for other in loaded if other is not None), None)
            if another is None:
                assert key in fixed or (key == "mirror" and plan.traffic.adapter not in MIRRORING), path
            else:
                assert another.digest != plan.digest, path
                assert without_form(another) != without_form(plan), path


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        document = document[part]
    return document


def loads(document: Any) -> Plan | None:
    try:
        return load_plan(json.dumps(document))
    except InvalidPlan:
        return None


def without_form(plan: Plan) -> dict[str, object]:
    """What the rollout sees of a plan: a field that is in the digest only would say nothing."""
    return {name: getattr(plan, name) for name in Plan.__slots__ if name not in {"canonical", "digest"}}


def only_a_plan_or_what_is_wrong(text: str) -> Plan | None:
    """The plan, which reads back, or None after a look at what is told. Raises what is neither."""
    try:
        plan = check_plan(text).plan
    except InvalidPlan as error:
        wrong = error
    else:
        assert load_plan(plan.canonical.decode()) == plan
        return plan
    lines = max(len(text.splitlines()), text.count("\n")) + 1
    assert wrong.problems
    assert all(1 <= p.line <= lines and p.column >= 1 and p.message and p.suggestion for p in wrong.problems)
    assert all(line.isprintable() for p in wrong.problems for line in (p.path, p.message, p.suggestion))
    assert "\n" not in str(wrong)
    return None


@thoroughly
@given(st.text(max_size=200))
@example("a: \\U00110000")
@example('"\\Uffffffff"')
@example("? ? ?")
@example("{a: {b: ")
@example("- - - - -\n: :")
@example("a: |9\n b")
@example("%TAG ! !\n--- !x")
@example("\ufeff")
@example("a: \ud800")
@example("--- >\n\n\n")
def test_any_text_is_a_plan_or_told(text: str) -> None:
    only_a_plan_or_what_is_wrong(text)


@thoroughly
@given(st.text(alphabet=":-?[]{},&*!|>'\"%@`# \t\n\\abxu01.~<=", max_size=60))
def test_any_marks_of_yaml_are_a_plan_or_told(text: str) -> None:
    only_a_plan_or_what_is_wrong(text)


MARKS = ["", "", ":", " ", "\n", "  ", "'", "[", "{", "*", "&a", "!", "0", "\t", "é", "-"]


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(EXAMPLES), st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_damaged_plan_is_a_plan_or_told(text: str, chance: random.Random, times: int) -> None:
    for _ in range(times):
        start = chance.randrange(len(text))
        end = min(len(text), start + chance.choice([0, 1, 1, 3, 20]))
        text = (
            text[:start]
            + chance.choice(["", "", ":", " ", "\n", "  ", "'", "[", "{", "*", "&a", "!", "0", "\t", "é", "-", text[start:end] * 2])
            + text[end:]
        )
    only_a_plan_or_what_is_wrong(text)


WRITTEN = ["5%", "10s", "pass", "1:30", "on", "${env:X}", "*", "127.0.0.1:80", "2026-01-01T00:00:00Z", 0, 1, 5, 100, 0.5]
NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text(max_size=5) | st.sampled_from(["pass", "weight", "ratio"])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=10) | st.sampled_from(WRITTEN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(EXAMPLES), st.data(), JSON)
def test_whatever_stands_in_a_place_is_accepted_or_told_and_the_schema_is_no_stricter(
    text: str, data: st.DataObject, value: object
) -> None:
    document = json.loads(load_plan(text).canonical)
    path = data.draw(st.sampled_from(leaves(document)))
    path = path[: data.draw(st.integers(1, len(path)))]
    spoiled = changed(document, path, value)
    if only_a_plan_or_what_is_wrong(json.dumps(spoiled)) is not None:
        VALIDATOR.validate(spoiled)


@thoroughly
@given(st.text("ab*?", max_size=4), st.text("ab*?", max_size=4))
@example("*", "")
@example("*a", "b*")
@example("a*b", "a?b")
def test_patterns_overlap_when_some_text_matches_both(one: str, other: str) -> None:
    texts = ("".join(letters) for n in range(8) for letters in product("ab", repeat=n))
    assert overlap(one, other) == any(fnmatchcase(text, one) and fnmatchcase(text, other) for text in texts)
    assert overlap(one, other) == overlap(other, one)


@quickly
@given(st.integers(0, 10**10).map(lambda n: n / 1000))
def test_a_duration_reads_back(seconds: float) -> None:
    assert Duration(Bounds(0, 10**8), "1s").read(duration_text(seconds)) == seconds


@thoroughly
@given(st.text(max_size=40))
def test_a_quoted_text_is_read_as_it_is_or_refused(text: str) -> None:
    reading = read_yaml(json.dumps({"a": text}))
    assume(not reading.problems)
    assert reading.value == {"a": text}
