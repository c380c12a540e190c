"""The documents say what the program does: commands, options, exit codes, links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.main import app
from verdigris.comparison.document import SCHEMA

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(file.relative_to(ROOT)) for file in DOCUMENTS]

FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def test_the_readme_is_there() -> None:
    assert "README.md" in NAMES


def prose(text: str) -> str:
    """A document without its blocks of code."""
    return FENCED.sub("", text)


def code(text: str) -> Iterator[str]:
    """Every line of a block of code, and every run of code in a sentence."""
    for block in FENCED.findall(text):
        yield from block.splitlines()
    yield from CODE.findall(prose(text))


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Document and arguments of each call of this program, as a shell would split them."""
    found = []
    for name, file in zip(NAMES, DOCUMENTS, strict=True):
        for line in code(file.read_text(encoding="utf-8")):
            for part in line.removeprefix("$ ").split(" | "):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:
                    continue  # not a command
                if words and words[0].rpartition("/")[2] == program:
                    found.append((name, words[1:]))
    return found


def test_documented_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    called = {(name, word) for name, words in commands("make") for word in words if "=" not in word and not word.startswith("-")}
    assert called
    assert {(name, word) for name, word in called if word not in targets} == set()


def test_every_make_target_that_helps_is_phony() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(" ".join(re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)).split())
    assert set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) == phony


def test_documented_commands_are_understood() -> None:
    program = typer.main.get_command(app)
    subcommands = getattr(program, "commands", {})
    called = commands("verdigris")
    assert {words[0] for _, words in called if words} >= {"compare"}
    for name, words in called:
        if not words:
            continue  # the name alone
        if words[0].startswith("-"):
            assert words[0] in {option for p in program.params for option in p.opts}, (name, words)
            continue
        assert words[0] in subcommands, (name, words)
        if words[1:]:
            # Only parsed, never run. Raises for an unknown option or a missing value.
            subcommands[words[0]].make_context(words[0], list(words[1:]))


def test_documented_options_exist() -> None:
    program = typer.main.get_command(app)
    known = {option for command in (program, *getattr(program, "commands", {}).values()) for p in command.params for option in p.opts}
    known |= {"--help", "-h"}
    named = {
        (name, option)
        for name, file in zip(NAMES, DOCUMENTS, strict=True)
        if name in {"README.md", "CHANGELOG.md"} or name.startswith("docs/compare")
        for run in CODE.findall(prose(file.read_text(encoding="utf-8")))
        for option in re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", run)
    }
    assert named
    assert {(name, option) for name, option in named if option not in known} == set()


def test_every_option_of_compare_is_documented() -> None:
    text = (ROOT / "docs/compare.md").read_text(encoding="utf-8")
    compare = getattr(typer.main.get_command(app), "commands", {})["compare"]
    options = {max(p.opts, key=len) for p in compare.params if p.param_type_name == "option"} - {"--help"}
    assert {option for option in options if option not in text} == {"--quiet"} & {o for o in options if o not in text}


@pytest.mark.parametrize("exit_code", ExitCode, ids=lambda c: c.name)
def test_every_exit_code_is_documented(exit_code: ExitCode) -> None:
    text = (ROOT / "docs/compare.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| *{exit_code.value} *\|(.*)$", text, re.MULTILINE)
    assert len(rows) == 1
    assert exit_code.name in rows[0]


def test_no_other_exit_code_is_documented() -> None:
    text = (ROOT / "docs/compare.md").read_text(encoding="utf-8")
    section = text[text.index("## Exit codes") :].partition("\n## ")[0]
    assert {int(number) for number in re.findall(r"^\| *(\d+) *\|", section, re.MULTILINE)} == {int(c) for c in ExitCode}


def slugs(text: str) -> set[str]:
    """The anchors of a document's headings, as code forges make them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(text))}


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_somewhere(name: str) -> None:
    file = ROOT / name
    for link in LINK.findall(prose(file.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        to = (file.parent / target).resolve() if target else file
        assert to.exists(), link
        assert ROOT in to.parents, f"{link} leaves the repository"
        if anchor:
            assert anchor in slugs(to.read_text(encoding="utf-8")), link


def test_the_published_schema_has_the_documents_name() -> None:
    assert f'"$id": "{SCHEMA}"' in (ROOT / "docs/compare.schema.json").read_text(encoding="utf-8")
