"""`docs/plan.md`, the JSON Schema and the example say what the code does."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from verdigris.plan import checks, yaml_text
from verdigris.plan.document import SCHEMA, json_schema, load_plan, schema_text
from verdigris.plan.example import example_plan
from verdigris.plan.fields import all_keys
from verdigris.plan.reference import reference
from verdigris.plan.settings import ENVOY_TLS, MIRRORING, SECRET_ENDINGS, SETTINGS, is_secret
from verdigris.traffic import envoy_settings, haproxy_config

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/plan.md").read_text(encoding="utf-8")

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def example(adapter: str) -> Any:
    """The example as plain values, read by a reader that is not ours."""
    return yaml.safe_load(re.sub(r"(\d{4}-\d\d-\d\dT[^\s]+)", r'"\1"', example_plan(adapter)))


def test_the_document_holds_the_reference() -> None:
    made = re.search(r"<!-- made by: verdigris plan fields -->\n(.*)<!-- end -->", DOCUMENT, re.DOTALL)
    assert made is not None
    assert made[1] == f"\n{reference()}\n"


def test_the_reference_has_every_field_and_setting() -> None:
    text = reference()
    for place, _ in all_keys():
        short = re.sub(r"^candidate\.", "baseline.", place)
        last = place.rpartition(".")[2]
        assert f"`{short}`" in text or (f"`{last}`" in text and place.startswith("objectives.")) or f"`….{last}`" in text, place
    for adapter, settings in SETTINGS.items():
        section = text.partition(f"### Settings of {adapter}")[2].partition("###")[0]
        assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) - {"traffic"} == set(settings)


def test_the_document_states_the_bounds_of_the_code() -> None:
    assert f"{yaml_text.BYTES_MAX // 1024} KiB, {yaml_text.NODES_MAX:,} values and {yaml_text.DEPTH_MAX} levels" in DOCUMENT.replace(
        "\n", " "
    )
    assert f"a lease over {checks.LEASE_LONG_S:.0f} s" in DOCUMENT
    assert f"fewer than {checks.REQUESTS_FEW} requests" in DOCUMENT
    assert f"a reference under {checks.REFERENCE_SHORT_S:.0f} s" in DOCUMENT.replace("\n", " ")
    assert f"by {checks.WEIGHT_RISE_PERCENT} % at least" in DOCUMENT
    assert all(f"`{ending}`" in DOCUMENT for ending in SECRET_ENDINGS)
    for adapter in SETTINGS.keys() - MIRRORING:
        assert f"The {adapter} adapter cannot mirror" in DOCUMENT


def test_disputed_words_of_the_document_are_refused() -> None:
    sentence = DOCUMENT.partition("never guessed:")[2].partition("without quotes")[0]
    words = re.findall(r"`([^`]+)`", sentence)
    assert len(words) >= 4
    for word in words:
        assert yaml_text.read_yaml(f"a: {word}").problems


def test_the_published_schema_is_the_codes() -> None:
    assert (ROOT / "docs/plan.schema.json").read_text(encoding="utf-8") == schema_text()
    assert json_schema()["$id"] == SCHEMA
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("adapter", sorted(SETTINGS))
def test_the_schema_accepts_the_example_and_its_canonical_form(adapter: str) -> None:
    VALIDATOR.validate(example(adapter))
    VALIDATOR.validate(json.loads(load_plan(example_plan(adapter)).canonical))


def schema_places(node: Any, where: str = "") -> set[str]:
    """Every key that the schema knows, with its place."""
    found: set[str] = set()
    if "$ref" in node:
        found |= schema_places(json_schema()["$defs"][node["$ref"].rpartition("/")[2]], where)
    for each in node.get("anyOf", []):
        found |= schema_places(each, where)
    if "items" in node:
        found |= schema_places(node["items"], f"{where}[]")
    for key, inner in node.get("properties", {}).items():
        place = f"{where}.{key}" if where else key
        found |= {place} | schema_places(inner, place)
    return found


def test_the_schema_knows_the_same_fields() -> None:
    assert schema_places(json_schema()) == {place for place, _ in all_keys()}


def test_the_schemas_defaults_are_accepted_by_the_schema() -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "default" in node and not isinstance(node["default"], dict | list):
                jsonschema.Draft202012Validator({**node, "$defs": json_schema()["$defs"]}).validate(node["default"])
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(json_schema())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(lease=5),
        lambda d: d.update(name=5),
        lambda d: d.update(version=2),
        lambda d: d.pop("change"),
        lambda d: d["change"].update(ticket=4711),
        lambda d: d["change"].update(reason=" "),
        lambda d: d["baseline"].update(addresses=[]),
        lambda d: d["baseline"].update(identity={}),
        lambda d: d["baseline"].update(addresses=["a"]),
        lambda d: d["traffic"].update(lease="10x"),
        lambda d: d["traffic"].update(lease=0.5),
        lambda d: d["traffic"].update(adapter="nginx"),
        lambda d: d["traffic"]["settings"].update(nodes="x"),
        lambda d: d["traffic"]["settings"].update(subject=5),
        lambda d: d["traffic"]["settings"].clear(),
        lambda d: d.update(steps=[]),
        lambda d: d["steps"][0].update(weight="5"),
        lambda d: d["steps"][0].update(weight=100),
        lambda d: d["steps"][0].update(require="passed"),
        lambda d: d["steps"][0].update(gate="x"),
        lambda d: d["objectives"]["operations"][0].update(alpha=0.1),
        lambda d: d["observe"].update(window=1.5),
        lambda d: d["objectives"]["defaults"].update(errors=0.1),
        lambda d: d["objectives"]["defaults"].update(alpha=1),
        lambda d: d["policy"].update(when_worse="forward"),
        lambda d: d["schedule"].update(not_before="2026-11-03"),
        lambda d: d["bake"].update(holdback=None),
        lambda d: d["objectives"]["defaults"].update(latency_margin=None),
    ],
)
@pytest.mark.parametrize("adapter", sorted(SETTINGS))
def test_the_schema_refuses_what_loading_refuses_for_its_shape(adapter: str, spoil: Callable[[Any], object]) -> None:
    document = example(adapter)
    spoil(document)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(Exception, match="problem"):
        load_plan(json.dumps(document))


@pytest.mark.parametrize("adapter", sorted(SETTINGS))
def test_the_example_shows_every_field_and_setting(adapter: str) -> None:
    document = example(adapter)
    for place, _ in all_keys():
        if place.startswith("objectives.operations[]."):
            continue  # they are those of objectives.defaults
        values = [document]
        for part in place.split("."):
            values = [v[part.removesuffix("[]")] for v in values if isinstance(v, dict) and part.removesuffix("[]") in v]
            values = [e for v in values for e in (v if part.endswith("[]") else [v])]
        assert values, place
    text = example_plan(adapter)
    for name in SETTINGS[adapter]:
        assert re.search(rf"^    (# )?{name}: ", text, re.MULTILINE), name


def test_the_table_of_settings_is_the_adapters() -> None:
    assert SETTINGS["envoy"].keys() == envoy_settings.SETTINGS.keys()
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "src/verdigris/traffic").glob("haproxy*.py"))
    read = set(re.findall(r'settings(?:\.get\(|\[)"(\w+)"', sources))
    # Chosen users are asked for by the rollout, whichever the adapter.
    assert SETTINGS["haproxy"].keys() == read | {"chosen_users"}
    assert set(ENVOY_TLS) == {*envoy_settings.CONTROL_TLS, *envoy_settings.PROXY_TLS}


def test_the_adapters_read_what_the_plan_accepts() -> None:
    envoy = load_plan(uncommented(example_plan("envoy")))
    read = envoy_settings.envoy_settings(envoy)
    assert (read.subject, read.node, read.tls is not None) == ("appointments", "edge-1", True)
    haproxy = load_plan(uncommented(example_plan("haproxy")))
    assert haproxy_config.names(haproxy).subject == "appointments"
    assert haproxy_config.haproxy_config(haproxy)


def test_the_adapters_defaults_are_the_tables() -> None:
    text = re.sub(r"^    (subject|node|listen|mirror_methods|chosen_users): .*\n", "", example_plan("envoy"), flags=re.MULTILINE)
    plan = load_plan(text)
    bare = replace(
        plan, traffic=replace(plan.traffic, settings={k: plan.traffic.settings[k] for k in ("admin", "xds", "committed_folder")})
    )
    assert plan.traffic.settings.keys() - bare.traffic.settings.keys() == {"subject", "node", "listen", "mirror_methods", "chosen_users"}
    assert envoy_settings.envoy_settings(plan) == replace(
        envoy_settings.envoy_settings(bare), baseline=plan.baseline, candidate=plan.candidate
    )
    haproxy = load_plan(re.sub(r"^    listen: .*\n", "", example_plan("haproxy"), flags=re.MULTILINE))
    without = {k: v for k, v in haproxy.traffic.settings.items() if k != "listen"}
    assert haproxy_config.haproxy_config(
        replace(haproxy, traffic=replace(haproxy.traffic, settings=without))
    ) == haproxy_config.haproxy_config(haproxy)


def uncommented(text: str) -> str:
    """An example with the settings that are comments."""
    return re.sub(r"^    # (\w+: )", r"    \1", text, flags=re.MULTILINE)


@pytest.mark.parametrize("adapter", sorted(SETTINGS))
def test_the_settings_that_are_comments_are_valid_too(adapter: str) -> None:
    assert set(load_plan(uncommented(example_plan(adapter))).traffic.settings) == set(SETTINGS[adapter])


def test_examples_of_settings_are_what_they_are_examples_of() -> None:
    for settings in SETTINGS.values():
        for name, setting in settings.items():
            if not is_secret(name):
                value = yaml.safe_load(setting.kind.example)
                assert setting.kind.read(value) == value
