"""The document as programs read it: its schema, and that it reads back what it wrote."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import jsonschema  # type: ignore[import-untyped]
import pytest

from verdigris.cli.schema import Document, schema_text
from verdigris.comparison.document import SCHEMA, from_json, json_schema, to_json

PUBLISHED = Path(__file__).parents[2] / "docs/compare.schema.json"


def _documents() -> ModuleType:
    name = "test_report_documents"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


VARIANTS = _documents().VARIANTS


def test_the_published_schema_is_the_programs() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(Document.COMPARE), "run: make docs"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$id"] == SCHEMA


def test_nothing_in_the_schema_may_be_left_out() -> None:
    schema = json_schema()
    for each in (schema, *schema["$defs"].values()):
        assert set(each["required"]) == set(each["properties"])


# The hostile one has numbers that are not finite, for which JSON has no word; the one of many operations takes seconds.
@pytest.mark.parametrize("name", sorted(VARIANTS.keys() - {"hostile", "many_operations"}))
def test_documents_obey_the_schema_and_are_read_back(name: str) -> None:
    document = VARIANTS[name]()
    written = to_json(document)
    jsonschema.validate(json.loads(written), json_schema(), cls=jsonschema.Draft202012Validator)
    assert from_json(written) == document
    assert to_json(from_json(written)) == written
    assert written.endswith(b"}\n")


@pytest.mark.parametrize("change", [{"verdict": None}, {"findings": {}}, {"alpha": "small"}, {"roles": []}])
def test_what_is_no_document_breaks_the_schema(change: dict[str, object]) -> None:
    document = json.loads(to_json(VARIANTS["fail"]())) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json_schema(), cls=jsonschema.Draft202012Validator)
