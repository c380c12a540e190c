"""The YAML that plans are written in: what it reads, where things stand, and what is refused because readers disagree about it."""

import json
from typing import Any

import pytest

from verdigris.plan.problems import path_text, quoted
from verdigris.plan.yaml_text import BYTES_MAX, DEPTH_MAX, NODES_MAX, PROBLEMS_MAX, Position, read_yaml


def value(text: str) -> Any:
    reading = read_yaml(text)
    assert reading.problems == []
    return reading.value


def refused(text: str) -> list[tuple[int, int, str, str]]:
    """Line, column, path and message of each problem."""
    problems = read_yaml(text).problems
    assert problems, text
    assert all(p.suggestion for p in problems)
    return [(p.line, p.column, p.path, p.message) for p in problems]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1", 1), ("-1", -1), ("0", 0), ("1.5", 1.5), ("1e3", 1000.0), ("2e-05", 2e-05), ("true", True), ("False", False),
        ("null", None), ("~", None), ("''", ""), ("'no'", "no"), ('"010"', "010"), ("1h30m", "1h30m"), ("5%", "5%"),
        ("127.0.0.1:8080", "127.0.0.1:8080"), ("v1.2.3", "v1.2.3"), ("2026-12-24", "2026-12-24"), ("a:b", "a:b"),
        ("2026-12-24T00:00:00+01:00", "2026-12-24T00:00:00+01:00"), ("'1:30'", "1:30"), ("north", "north"),
        ('"\\ud83d\\ude00"', "😀"), ("|\n  a\n  b\n", "a\nb\n"), ("9" * 41, "9" * 41),
    ],
)  # fmt: skip
def test_scalars(written: str, read: object) -> None:
    got = value(f"a: {written}\n")["a"]
    assert (got, type(got)) == (read, type(read))


@pytest.mark.parametrize(
    "word",
    ["on", "On", "off", "yes", "NO", "y", "N", "010", "0x1F", "0o17", "0b11", "1_000", "1:30", "-1:30:00", "190:20:30.15",
     ".5", "5.", ".inf", "-.INF", ".nan", "+5", "007"],
)  # fmt: skip
def test_what_yaml_readers_disagree_about_is_refused(word: str) -> None:
    ((line, column, path, message),) = refused(f"a: 1\nb:   {word}\n")
    assert (line, column, path) == (2, 6, "b")
    assert word in message
    assert value(f'b: "{word}"') == {"b": word}


def test_json_is_read_as_it_is() -> None:
    document = {"a": [1, 2.5, -3e-7, True, False, None, "x\ty\nz", "é😀/"], "b": {}, "c": [], "d": {"e f": "on"}}
    for text in (json.dumps(document), json.dumps(document, ensure_ascii=False, separators=(",", ":")), json.dumps(document, indent=2)):
        assert value(text) == document


def test_positions_are_those_of_keys_and_values() -> None:
    reading = read_yaml("# é\na: 1\nsteps:\n  - w: 😀x\n    'q r':   [1,  2]\n")
    assert reading.value == {"a": 1, "steps": [{"w": "😀x", "q r": [1, 2]}]}
    assert reading.keys["steps",] == Position(3, 1)
    assert reading.values["steps", 0, "w"] == Position(4, 8)
    assert reading.keys["steps", 0, "q r"] == Position(5, 5)
    assert reading.values["steps", 0, "q r", 1] == Position(5, 19)
    assert reading.position(("steps", 0, "absent", "deep")) == Position(4, 5)
    assert reading.key_position(("steps", 0)) == Position(4, 5)


@pytest.mark.parametrize(
    ("text", "where", "part"),
    [
        ("a: 1\nb: 2\na: 3\n", (3, 1, "a"), "twice; the first is in line 1"),
        ('{"a": 1, "a": 1}', (1, 10, "a"), "twice"),
        ("a: &x 1\n", (1, 4, "a"), "anchor (&x)"),
        ("a: *x\n", (1, 4, "a"), "alias (*x)"),
        ("a: !!str 1\n", (1, 4, "a"), "tag"),
        ("a: !!python/object:os.system x\n", (1, 4, "a"), "tag"),
        ("a: !!binary aGk=\n", (1, 4, "a"), "tag"),
        ("*a : 1\n", (1, 1, ""), "alias cannot be a key"),
        ("&a b: 1\n", (1, 1, ""), "a key has an anchor"),
        ("? [a]\n: 1\n", (1, 3, ""), "a key is not plain text"),
        ("1: a\n", (1, 1, ""), 'the key "1" is no text'),
        ("null: a\n", (1, 1, ""), 'the key "null" is no text'),
        ("on: a\n", (1, 1, ""), "on without quotes"),
        ("k" * 257 + ": a\n", (1, 1, ""), "256 characters"),
        ("a: 1\n---\nb: 1\n", (2, 1, ""), "second document"),
        ("", (1, 1, ""), "nothing in it"),
        ("# only a comment\n", (1, 1, ""), "nothing in it"),
        ("a: 'x\u202ey'\n", (1, 4, "a"), "U+202E"),
        ('a: "\\x00"\n', (1, 4, "a"), "U+0000"),
        ('a: "\\ud800"\n', (1, 4, "a"), "U+D800"),
        ("a: 'x\u2028y'\n", (1, 4, "a"), "U+2028"),
        ("a: \x01\n", (1, 4, ""), "character is here that YAML does not allow"),
        ("a: 1\n\tb: 2\n", (2, 1, ""), "no YAML"),
        ("a: b: c\n", (1, 5, ""), "mapping values are not allowed"),
        ("a: 'b\n", (2, 1, ""), "end of stream"),
        ("a: [1, 2\n", (2, 1, ""), "no YAML"),
        ("%YAML 2.0\n---\na: 1\n", (1, 1, ""), "no YAML"),
        ('a: "\\U00110000"\n', (1, 1, ""), "does not exist"),
    ],
)
def test_what_is_refused_and_where(text: str, where: tuple[int, int, str], part: str) -> None:
    line, column, path, message = refused(text)[0]
    assert (line, column, path) == where
    assert part in message


@pytest.mark.parametrize(
    ("text", "hint"),
    [("a: *\n", "begins with * needs quotes"), ("a: @x\n", "needs quotes"), ("a:\n\t- b\n", "spaces"), ("a: 'b\n", "close the quotes")],
)
def test_what_yaml_says_gets_a_suggestion(text: str, hint: str) -> None:
    assert hint in read_yaml(text).problems[0].suggestion


def test_all_problems_are_told_at_once() -> None:
    told = refused("a: on\na: 1\nb: *x\nc: [&y 1, {d: 010, d: 1}]\n")
    assert [(line, path) for line, _, path, _ in told] == [(1, "a"), (2, "a"), (3, "b"), (4, "c[0]"), (4, "c[1].d"), (4, "c[1].d")]


def test_a_value_under_a_refused_key_is_not_told() -> None:
    assert len(refused("a: 1\na: [on, off, {b: *x}]\n")) == 1
    assert len(refused("1: [on, off]\n")) == 1


def test_bounds_hold() -> None:
    assert value("a: " + "[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1))
    assert f"more than {DEPTH_MAX} deep" in refused("a: " + "[" * 5000)[0][3]
    assert f"more than {DEPTH_MAX} deep" in refused("{a: " * (DEPTH_MAX + 2))[0][3]
    assert f"more than {DEPTH_MAX} deep" in refused("a: 1\na: " + "[" * 5000)[-1][3]
    assert len(value("[" + "1," * (NODES_MAX - 1) + "]")) == NODES_MAX - 1
    assert f"more than {NODES_MAX} values" in refused("[" + "1," * NODES_MAX + "]")[0][3]
    assert f"more than {NODES_MAX} values" in refused("{a: 1, a: [" + "1," * NODES_MAX + "]}")[-1][3]
    assert value("a: " + "x" * (BYTES_MAX - 3))
    assert str(BYTES_MAX) in refused("a: " + "x" * (BYTES_MAX - 2))[0][3]
    assert str(BYTES_MAX) in refused("a: " + "é" * (BYTES_MAX // 2))[0][3]
    assert len(refused("[" + "on," * 5000 + "]")) == PROBLEMS_MAX


def test_paths_read_as_people_write_them() -> None:
    assert path_text(("steps", 0, "weight")) == "steps[0].weight"
    assert path_text(("candidate", "identity", "service.version")) == 'candidate.identity["service.version"]'
    assert path_text(()) == ""


def test_a_quoted_text_has_nothing_that_a_terminal_obeys() -> None:
    assert quoted("a\x1b[31m\u202e") == '"a\\u001b[31m\\u202e"'
    assert len(quoted("x" * 1000)) == 62
