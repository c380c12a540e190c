"""The report on a terminal: what it says, at every width, with and without colour, and whatever the names hold."""

import importlib.util
import io
import re
import sys
import unicodedata
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from verdigris.comparison import terminal
from verdigris.comparison.document import Comparison


def _documents() -> ModuleType:
    name = "test_report_documents"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


DOCUMENTS = _documents()
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def printed(comparison: Comparison, width: int = 80, *, colour: bool = False, encoding: str = "utf-8") -> str:
    """What a terminal of this width is sent."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    environment = {} if colour else {"NO_COLOR": "1"}
    console = Console(
        file=file,
        width=width,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
        _environ=environment,
    )
    terminal.render(comparison, console)
    file.flush()
    return raw.getvalue().decode(encoding)


def test_the_verdict_comes_first_and_the_advice_last() -> None:
    lines = [line for line in printed(DOCUMENTS.fail()).splitlines() if line]
    assert lines[0].startswith(" FAIL   The candidate is worse")
    assert "exit code" in " ".join(lines[-4:])


def test_a_failure_is_told_with_its_numbers() -> None:
    text = " ".join(printed(DOCUMENTS.fail(), 160).split())
    for told in (
        "61.4 ms → 548 ms",
        "+487 ms",
        "+471 to +603 ms",
        "14.2 nats, found from 7.6",
        "4,812 baseline, 1,204 candidate",
        "87 % of the excess",
        "c" * 32,
    ):
        assert told in text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pass", "The exit code of compare is 0."),
        ("not_enough_data", "2,339 more candidate requests needed (has 61 of about 2,400)"),
        ("not_enough_data", "not recorded at the same time"),
        ("blind", "Repair the candidate's tracing first"),
        ("empty", "no traces"),
    ],
)
def test_every_verdict_says_what_to_do(name: str, told: str) -> None:
    assert told in " ".join(printed(DOCUMENTS.VARIANTS[name](), 120).split())


@pytest.mark.parametrize("verdict", ["not_enough_data", "blind"])
def test_ignorance_is_never_called_a_pass(verdict: str) -> None:
    text = " ".join(printed(DOCUMENTS.VARIANTS[verdict]()).split())
    assert "This is not a pass." in text
    assert "The exit code of compare is not 0." in text


@pytest.mark.parametrize("name", sorted(DOCUMENTS.VARIANTS))
@pytest.mark.parametrize("width", [40, 80, 160])
def test_lines_fit_and_do_not_end_in_spaces(name: str, width: int) -> None:
    for line in printed(DOCUMENTS.VARIANTS[name](), width).splitlines():
        assert len(line) <= width
        assert line == line.rstrip()


def test_colour_adds_nothing_but_colour() -> None:
    plain = printed(DOCUMENTS.fail())
    assert "\x1b" not in plain
    coloured = printed(DOCUMENTS.fail(), colour=True)
    assert "\x1b[" in coloured
    stripped = [line.rstrip() for line in ESCAPE.sub("", coloured).splitlines()]
    assert stripped == plain.splitlines()


def test_a_terminal_without_unicode_is_served() -> None:
    text = printed(DOCUMENTS.fail(), encoding="ascii")
    assert "61.4 ms -> 548 ms" in text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_hostile_names_cannot_steer_the_terminal(encoding: str) -> None:
    text = printed(DOCUMENTS.hostile(), 160, encoding=encoding)
    assert {c for c in text if unicodedata.category(c) in terminal.HIDDEN_CATEGORIES} == {"\n"}
    assert "[bold]markup[/bold]" in text


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.0, "ms", "0 ms"),
        (0.01234, "ms", "0.0123 ms"),
        (1204.4, "ms", "1,204 ms"),
        (61_000.0, "ms", "61 s"),
        (0.0431, "share", "4.31 %"),
        (4812.0, "count", "4,812"),
        (None, "ms", "unknown"),
        (float("nan"), "ms", "unknown"),
    ],
)
def test_quantities_have_three_digits_and_no_exponent(value: float | None, unit: str, written: str) -> None:
    assert terminal.quantity(value, unit) == written


def test_an_impossible_time_is_still_told() -> None:
    assert terminal.moment(10**30) == f"{10**30} s after 1970"


def test_long_names_keep_both_ends() -> None:
    assert terminal.shorten("a" * 50 + "b" * 50, 11) == "aaaaa…bbbbb"
