"""The command line without a system behind it: calls, errors, exit codes, help."""

import json
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.in_process import verdigris

from verdigris.cli import compare as compare_module
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.main import app
from verdigris.cli.schema import Document, schema_text
from verdigris.comparison.recordings import Input, UnreadableInput
from verdigris.errors import VerdigrisError
from verdigris.judge.verdict import Outcome
from verdigris.judge.windows import Role
from verdigris.plan.identity import InvalidIdentity
from verdigris.telemetry import chdb_store
from verdigris.telemetry.sources import NothingToRead
from verdigris.telemetry.store import StoreError

SPAN = (
    '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},"scopeSpans":[{"spans":'
    '[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"GET /x","kind":2,'
    '"startTimeUnixNano":"1790000000000000000","endTimeUnixNano":"1790000000001000000"}]}]}]}\n'
)


@pytest.fixture
def span(tmp_path: Path) -> Path:
    """A recording of a single span."""
    file = tmp_path / "span.jsonl"
    file.write_text(SPAN, encoding="utf-8")
    return file


@pytest.fixture
def no_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that must not be reached."""

    def never(*_: object, **__: object) -> None:
        pytest.fail("nothing may be read or judged")

    monkeypatch.setattr(compare_module, "compare", never)


def test_exit_codes_of_verdicts_are_their_names() -> None:
    assert [ExitCode[outcome.value].value for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.NOT_ENOUGH_DATA, Outcome.BLIND)] == [
        0,
        1,
        2,
        3,
    ]
    assert all(code >= 64 for code in ExitCode if code.name not in Outcome.__members__)


@pytest.mark.usefixtures("no_comparison")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("bogus",), "No such command 'bogus'"),
        (("compare",), "Missing argument"),
        (("compare", "a"), "needs two recordings, BASELINE and CANDIDATE, and was given 1"),
        (("compare", "a", "b", "c"), "was given 3"),
        (("compare", "a", "b", "--bogus"), "No such option: --bogus"),
        (("compare", "a", "b", "--alpha", "small"), "Invalid value for '--alpha'"),
        (("compare", "a", "b", "--alpha", "0"), "must lie between 0 and 1"),
        (("compare", "a", "b", "--alpha", "1"), "must lie between 0 and 1"),
        (("compare", "a", "b", "--alpha", "nan"), "must lie between 0 and 1"),
        (("compare", "a", "--baseline", "x=1"), "give both --baseline and --candidate"),
        (("compare", "a", "--candidate", "x=1"), "give both --baseline and --candidate"),
        (("compare", "a", "--baseline", "x", "--candidate", "x=1"), "cannot read 'x' as key=pattern"),
        (("compare", "a", "--baseline", "x=1,x=2", "--candidate", "x=1"), "'x' is given twice"),
        (("compare", "a", "--baseline", "", "--candidate", "x=1"), "cannot read ''"),
        (("compare", "-", "-"), "standard input can be read once"),
        (("schema", "bogus"), "'bogus'"),
        (("demo", "--seconds", "long"), "Invalid value for '--seconds'"),
    ],
)
def test_a_wrong_call_is_no_verdict(arguments: tuple[str, ...], told: str) -> None:
    code, out, err = verdigris(*arguments)
    assert (code, out) == (64, "")
    assert told in " ".join(err.split())
    assert "Traceback" not in err


def test_no_command_is_a_wrong_call_that_gets_help() -> None:
    code, out, err = verdigris()
    assert code == 64
    assert "compare" in out + err


def test_names_on_the_command_line_become_inputs() -> None:
    assert compare_module.inputs_of(["a", "-"], None, None) == [
        Input(("a",), role=Role.BASELINE),
        Input(("-",), role=Role.CANDIDATE),
    ]
    [both] = compare_module.inputs_of(["a", "b", "c"], "x=1", "x=2,y=*")
    assert both.names == ("a", "b", "c")
    assert (str(both.match(Role.BASELINE)), str(both.match(Role.CANDIDATE))) == ("x=1", "x=2,y=*")


def failing(error: Callable[[], BaseException]) -> Callable[..., Any]:
    """A comparison that fails like this."""

    def fail(*_: object, **__: object) -> None:
        raise error()

    return fail


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (lambda: InvalidIdentity("no [b]such[/b] match"), 64, "error: InvalidIdentity: no [b]such[/b] match\n"),
        (lambda: UnreadableInput("line 3"), 65, "error: UnreadableInput: line 3\n"),
        (lambda: NothingToRead("empty"), 66, "error: NothingToRead: empty\n"),
        (lambda: StoreError("disk " * 40), 74, "error: StoreError: " + "disk " * 40 + "\n"),
        (lambda: VerdigrisError("new"), 70, "error: VerdigrisError: new\n"),
        (lambda: OSError(28, "No space left on device"), 73, "error: cannot write: [Errno 28] No space left on device\n"),
        (KeyboardInterrupt, 130, "stopped: nothing was judged and nothing is left behind.\n"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException], code: int, told: str
) -> None:
    monkeypatch.setattr(compare_module, "compare", failing(error))
    assert verdigris("compare", "a", "b") == (code, "", told)


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), MemoryError(), RecursionError(), AssertionError("no")])
def test_a_mistake_of_ours_is_no_verdict(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(compare_module, "compare", failing(lambda: error))
    code, out, err = verdigris("compare", "a", "b")
    assert (code, out) == (70, "")
    assert type(error).__name__ in err
    assert err.endswith("error: this is a mistake of ours: nothing was judged; please report the lines above\n")


def test_a_store_that_fails_is_told_and_leaves_nothing(span: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def broken(*_: object) -> Sequence[object]:
        msg = "could not query the span store: no memory"
        raise StoreError(msg)

    monkeypatch.setattr(chdb_store.ChdbStore, "chunks", broken)
    code, out, err = verdigris("compare", span, span)
    assert (code, out, err) == (74, "", "error: StoreError: could not query the span store: no memory\n")
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("no_comparison")
def test_a_report_in_a_folder_that_is_missing_is_told_before_anything_is_read(tmp_path: Path) -> None:
    code, out, err = verdigris("compare", "a", "b", "--html", tmp_path / "missing" / "report.html")
    assert (code, out) == (73, "")
    assert err == f"error: CannotWrite: there is no folder {tmp_path / 'missing'} for the report\n"


def test_a_report_that_cannot_be_written_does_not_swallow_the_verdict(span: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report.html"
    folder.mkdir()
    code, out, err = verdigris("compare", span, span, "--json", "--html", folder)
    assert code == 73
    assert json.loads(out)["verdict"] == "NOT_ENOUGH_DATA"
    assert err.startswith(f"error: CannotWrite: could not write the report to {folder}: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "span.jsonl"]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_report_replaces_the_last_one_as_a_whole(span: Path, tmp_path: Path, form: tuple[str, ...]) -> None:
    report = tmp_path / "report.html"
    report.write_text("old", encoding="utf-8")
    code, out, err = verdigris("compare", span, span, "--html", report, *form)
    assert (code, err) == (2, f"report: {report}\n")
    assert out.startswith("{") == bool(form)
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "span.jsonl"]


@pytest.mark.parametrize("names", [("nowhere", "{span}"), ("{span}", "nowhere"), ("{empty}", "{span}"), ("{empty}/*.json", "{span}")])
def test_what_is_not_there_is_told_before_anything_is_read(span: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    (tmp_path / "empty").mkdir()
    given = [name.format(span=span, empty=tmp_path / "empty") for name in names]
    code, out, err = verdigris("compare", *given)
    assert (code, out) == (66, "")
    assert err.count("\n") == 1
    assert given[1 if names[0] == "{span}" else 0] in err


def test_strict_refuses_what_cannot_be_read(span: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(SPAN + "{\n" + SPAN, encoding="utf-8")
    refused = tmp_path / "refused.jsonl"
    refused.write_text(SPAN + SPAN.replace("b7ad6b7169203331", "0" * 16), encoding="utf-8")
    for file, told in ((broken, f"{broken}, line 2: "), (refused, "1 spans were refused (1× ")):
        code, out, err = verdigris("compare", span, file, "--strict", "--json")
        assert (code, out) == (65, "")
        assert told in err


def test_the_version_is_the_packages() -> None:
    assert verdigris("--version") == (0, f"verdigris {version('verdigris')}\n", "")


def test_the_schema_goes_alone_to_standard_output() -> None:
    assert verdigris("schema", "compare") == (0, schema_text(Document.COMPARE), "")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_has_examples_and_exit_codes(flag: str) -> None:
    code, out, err = verdigris("compare", flag)
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    assert text.count("verdigris compare ") >= 4
    codes = text[text.index("Exit codes") :]
    for each in ExitCode:
        assert re.search(rf"\b{each.value}\b", codes), each


def test_examples_in_help_are_understood() -> None:
    compare = getattr(typer.main.get_command(app), "commands", {})["compare"]
    examples = [line.strip() for line in compare_module.EPILOG.splitlines() if "verdigris compare " in line]
    assert len(examples) == 4
    for example in examples:
        words = example.partition("verdigris compare ")[2].replace("'", "").split()
        parameters = compare.make_context("compare", words).params
        assert compare_module.inputs_of(parameters["inputs"], parameters["baseline"], parameters["candidate"])


@pytest.mark.parametrize("command", [(), ("compare",), ("demo",), ("schema",)])
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    code, out, err = verdigris(*command, "--help")
    assert (code, err) == (0, "")
    assert "Usage: " in out
    assert "--help" in out
