"""`verdigris plan` and `verdigris schema plan`: what they print and end with."""

import json
from pathlib import Path

import pytest
import typer.main
from tests import in_process

from verdigris.cli import plan as plan_module
from verdigris.cli.main import app
from verdigris.cli.schema import Document, schema_text
from verdigris.plan.document import BYTES_MAX, check_plan, load_plan
from verdigris.plan.example import example_plan
from verdigris.plan.reference import reference


def verdigris(*arguments: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
    """A call with a standard input of its own."""
    return in_process.verdigris(*arguments, stdin=stdin)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example as a file."""
    file = tmp_path / "plan.yaml"
    file.write_text(example_plan("envoy"), encoding="utf-8")
    return file


def test_a_valid_plan_is_shown_with_its_digest_and_steps(example: Path) -> None:
    code, out, err = verdigris("plan", "check", example)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == [f"{example}:", "valid"]
    assert ["digest", load_plan(example.read_text(encoding="utf-8")).digest] in lines
    assert ["1", "1%", "2m", "30m", "500", "requests"] in lines
    assert ["3", "50%", "2m", "2h", "pass", "and", "5000", "requests", "2", "of", "approver"] in lines
    assert out.splitlines()[-1] == "  at least 41m in all: 5m reference, 6m steps, 30m bake"


def test_an_invalid_plan_is_shown_with_line_caret_and_suggestion(example: Path) -> None:
    example.write_text(
        example.read_text(encoding="utf-8").replace("lease: 10s", "lease: 10x").replace("gate:", "gat:", 1).replace("[red]", ""),
        encoding="utf-8",
    )
    code, out, err = verdigris("plan", "check", example)
    assert (code, out) == (65, "")
    lines = err.splitlines()
    assert lines[0] == f'{example}:29:10: error: traffic.lease: "10x" is here; wanted is a duration, at least 1s and at most 5m'
    assert lines[1].startswith("  29 |   lease: 10x ")
    assert lines[2] == "     |          ^"
    assert lines[1][lines[2].index("^") :].startswith("10x")
    assert lines[3] == "  → for example: 10s"
    assert lines[4].endswith("error: steps[2].gat: this key is not known here")
    assert lines[7] == "  → did you mean gate?"
    assert lines[8] == f"{example}: 2 problems; nothing was started"


def test_warnings_are_shown_and_the_plan_is_valid(example: Path) -> None:
    example.write_text(example.read_text(encoding="utf-8").replace("lease: 10s", "lease: 2m"), encoding="utf-8")
    code, out, err = verdigris("plan", "check", example)
    assert (code, out.splitlines()[0]) == (0, f"{example}: valid")
    assert err.startswith(f"{example}:29:10: warning: traffic.lease: if the guard dies, ")


def test_json_has_it_all(example: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("version: 1\nname: [x\n", encoding="utf-8")
    code, out, err = verdigris("plan", "check", example, broken, tmp_path / "nowhere", "--json")
    assert (code, err) == (65, "")
    valid, invalid, missing = json.loads(out)
    assert (valid["valid"], valid["name"], len(valid["digest"]), valid["warnings"]) == (True, "Faster appointment search", 64, [])
    assert (valid["minimum_s"], len(valid["steps"]), valid["steps"][0]["weight_percent"]) == (41 * 60, 3, 1.0)
    assert (invalid["source"], invalid["valid"], invalid["problems"][0]["line"]) == (str(broken), False, 3)
    assert set(invalid["problems"][0]) == {"line", "column", "path", "message", "suggestion"}
    assert (missing["valid"], missing["error"]) == (False, "No such file or directory")


def test_standard_input_is_a_plan_too() -> None:
    code, out, err = verdigris("plan", "check", "-", stdin=example_plan("haproxy").encode())
    assert (code, out.splitlines()[0], err) == (0, "standard input: valid", "")


def test_a_plan_that_is_too_long_is_not_cut_to_one_that_is_valid(tmp_path: Path) -> None:
    text = example_plan("haproxy").encode()
    longest = text + b"#" * (BYTES_MAX - len(text))
    file = tmp_path / "p.yaml"
    for content, expected in ((longest, 0), (longest + b"#", 65), (longest + b"#" * 9999, 65)):
        file.write_bytes(content)
        assert verdigris("plan", "check", file)[0] == expected
        assert verdigris("plan", "check", "-", stdin=content)[0] == expected


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"name: \xff\xfe\n", ":1:7: error: this is no UTF-8"),
        (b"", ":1:1: error: there is nothing in it"),
        (b"a: " + b"x" * BYTES_MAX, f"bytes are more than a plan may have ({BYTES_MAX})"),
        (b"a: " + "é".encode() * (BYTES_MAX // 2), f"bytes are more than a plan may have ({BYTES_MAX})"),
        (b"a: \x1b[31mred\n", ":1:4: error: a character is here that YAML does not allow"),
        (b"a: '[red]\\[/]'\n", "error: a: this key is not known here"),
    ],
)
def test_a_file_that_is_no_plan_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(content)
    code, out, err = verdigris("plan", "check", file)
    assert (code, out) == (65, "")
    assert told in err
    assert "\x1b" not in err


@pytest.mark.parametrize("name", ["nowhere.yaml", "folder", "a\0b", "a\udcffb"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    code, out, err = verdigris("plan", "check", f"{tmp_path}/{name}")
    assert (code, out, err.count("\n")) == (66, "", 1)
    assert err.startswith("error: ")


def test_an_invalid_plan_weighs_more_than_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("x", encoding="utf-8")
    assert verdigris("plan", "check", tmp_path / "nowhere", tmp_path / "p.yaml")[0] == 65
    assert verdigris("plan", "check")[0] == 64


def test_a_long_line_is_shown_around_what_is_wrong() -> None:
    line = "a" * 300 + "HERE" + "b" * 300
    shown, caret = plan_module._excerpt(line, 301)
    assert len(shown) == plan_module.EXCERPT_CHARS + 2
    assert shown[caret:].startswith("HERE")
    assert plan_module._excerpt("\tx: \x1b[0m", 2) == (" x: \N{REPLACEMENT CHARACTER}[0m", 1)
    assert plan_module._excerpt("short", 99) == ("short", 98)


@pytest.mark.parametrize("adapter", ["envoy", "haproxy"])
def test_the_example_is_valid_and_without_warnings(adapter: str) -> None:
    code, out, err = verdigris("plan", "new", "--adapter", adapter)
    assert (code, err) == (0, "")
    checked = check_plan(out)
    assert (checked.plan.traffic.adapter, checked.warnings) == (adapter, ())


def test_a_plan_that_is_there_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    code, out, err = verdigris("plan", "new", "--output", file)
    assert (code, out, err) == (0, "", f"written: {file}; next: verdigris plan check {file}\n")
    file.write_text("mine", encoding="utf-8")
    code, out, err = verdigris("plan", "new", "--output", file)
    assert (code, out) == (73, "")
    assert err == f"error: CannotWrite: {file} is there already and was left as it is; give --force to replace it\n"
    assert file.read_text(encoding="utf-8") == "mine"
    assert verdigris("plan", "new", "--output", file, "--force")[0] == 0
    assert file.read_text(encoding="utf-8") == example_plan("envoy")
    assert [f.name for f in tmp_path.iterdir()] == ["plan.yaml"]


def test_a_plan_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    for force in ((), ("--force",)):
        code, _, err = verdigris("plan", "new", "--output", tmp_path / "missing" / "p.yaml", *force)
        assert (code, "No such file or directory" in err) == (73, True)
    (tmp_path / "folder").mkdir()
    assert verdigris("plan", "new", "--output", tmp_path / "folder", "--force")[0] == 73
    assert [f.name for f in tmp_path.iterdir()] == ["folder"]


def test_fields_and_schema_go_alone_to_standard_output() -> None:
    assert verdigris("plan", "fields") == (0, reference(), "")
    assert verdigris("schema", "plan") == (0, schema_text(Document.PLAN), "")


@pytest.mark.parametrize("command", ["check", "new", "fields"])
def test_help_has_examples_that_are_understood(command: str) -> None:
    code, out, err = verdigris("plan", command, "--help")
    assert (code, err) == (0, "")
    examples = [line.strip() for line in out.splitlines() if f"verdigris plan {command}" in line and "Usage" not in line]
    assert len(examples) >= 2
    group = getattr(typer.main.get_command(app), "commands", {})["plan"]
    for example in examples:
        words = example.partition(f"verdigris plan {command}")[2].partition(" | ")[0].partition(" > ")[0].split()
        group.commands[command].make_context(command, words)
