"""The report of a rollout as people get it: what it says of one that was rolled back and of one that was committed, whatever was erased,
whatever somebody wrote.
"""

import re
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pypdf
import pytest
import sqlalchemy as sa
from tests.contract.test_audit_cli import PLACES, PLAN, changed_evidence, opened, started
from tests.unit.rollout_world import World, behaving
from tests.unit.test_driver import rolled_out
from tests.unit.test_plan_cli import verdigris

from verdigris.audit import reports
from verdigris.audit.record import open_record
from verdigris.audit.report import Report, visible
from verdigris.demo.cases import CASES
from verdigris.demo.plan_text import FAST, plan_text
from verdigris.plan.document import load_plan

HOSTILE = '<script>alert("x")</script> & <b>bold</b> {{x}} 日本'


@dataclass(frozen=True)
class Page:
    """An HTML report as a browser takes it apart."""

    elements: tuple[str, ...]
    attributes: dict[str, list[str]]
    text: str
    source: str


class Reader(HTMLParser):
    """Elements, attributes, and the text between them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self.parts: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        if self.elements[-1:] != ["style"]:
            self.parts.append(data)


def page(source: str) -> Page:
    reader = Reader(source)
    return Page(tuple(reader.elements), reader.attributes, flat(" ".join(reader.parts)), source)


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def pdf_text(content: bytes) -> str:
    return flat(" ".join(sheet.extract_text() for sheet in pypdf.PdfReader(BytesIO(content)).pages))


def played(state: Path, world: World, plan: str | None = None) -> Path:
    records = opened(state)
    started(records)
    rolled_out(world, records, PLAN if plan is None else load_plan(plan))
    records.close()
    return state


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("back"), World(rate_per_s=2_000, candidate=behaving(failed=0.1)))


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("good"), World(rate_per_s=2_000))


@pytest.fixture
def copy(rolled_back: Path, tmp_path: Path) -> Path:
    """A copy to do something with."""
    subprocess.run(["cp", "-a", rolled_back, tmp_path / "copy"], check=True)
    return tmp_path / "copy"


@contextmanager
def report(state: Path) -> Iterator[Report]:
    with open_record(state) as record:
        yield reports.made_report(record, record.of("latest"))


def both(state: Path) -> tuple[Page, str]:
    """The HTML taken apart, and the text of the PDF."""
    with report(state) as made:
        return page(reports.as_html(made).decode()), pdf_text(reports.as_pdf(made))


FACTS = (
    "clinic 2.0.0", "demonstration: errors from 0.1 % to 3 %", "none, everything runs on loopback", "the proxy goes back to blue by itself",
    "DEMO-1", "ann", "Nobody's approval is signed in this record", "blue → green", "proxy: as it should be", "50 %",
    "portal server GET /lookup", "without a gap", "verify.py pack . --key", "verdigris audit replay", "verdigris.local/",
)  # fmt: skip


def test_the_report_of_a_rollout_that_was_rolled_back_says_what_happened(rolled_back: Path) -> None:
    for text in (both(rolled_back)[0].text, both(rolled_back)[1]):
        for fact in (*FACTS, "FAIL", "requests that fail", "95 % interval", "nats", "0 % of the traffic", "errors begin in portal"):
            assert fact.replace(" ", "") in text.replace(" ", ""), fact
        assert "rolled back" in text.lower()
        assert "no end in the record" not in text


def test_the_report_of_a_rollout_that_was_committed_says_what_happened(committed: Path) -> None:
    for text in (both(committed)[0].text, both(committed)[1]):
        for fact in (*FACTS, "PASS", "Nothing was found to be worse than tolerated", "100 % of the traffic", "bake"):
            assert fact.replace(" ", "") in text.replace(" ", ""), fact
        assert "committed" in text.lower()
        assert "From verdict to baseline" not in text


def test_both_forms_say_the_same(rolled_back: Path) -> None:
    told, text = both(rolled_back)
    with report(rolled_back) as made:
        for section in made.sections:
            assert section.title in told.text
            assert section.title in text


def test_the_html_needs_nothing_else_and_runs_nothing(rolled_back: Path) -> None:
    told, _ = both(rolled_back)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(told.elements)
    assert not {"src", "style", "onclick", "onload"} & set(told.attributes)
    assert all(href.startswith("#") for href in told.attributes["href"])
    assert "default-src 'none'; style-src 'sha256-" in told.attributes["content"][0]


def test_the_html_can_be_read_aloud(rolled_back: Path) -> None:
    told, _ = both(rolled_back)
    assert told.elements.count("h1") == 1
    assert told.elements.count("caption") == told.elements.count("table") > 5
    assert told.elements.count("svg") == told.attributes["role"].count("img") == told.elements.count("desc") >= 5
    ids = told.attributes["id"]
    assert len(ids) == len(set(ids))
    assert {name for names in told.attributes["aria-labelledby"] for name in names.split()} <= set(ids)
    assert {href.removeprefix("#") for href in told.attributes["href"]} <= set(ids)


def test_the_pdf_has_a_title_an_outline_and_its_fonts(rolled_back: Path) -> None:
    with report(rolled_back) as made:
        document = pypdf.PdfReader(BytesIO(reports.as_pdf(made)))
        assert document.metadata is not None
        assert document.metadata.title == "clinic 2.0.0: rolled back · Verdigris rollout report"
        assert len(document.outline) == len(made.sections)


def test_the_same_record_gives_the_same_bytes(rolled_back: Path) -> None:
    with report(rolled_back) as first, report(rolled_back) as second:
        assert reports.as_html(first) == reports.as_html(second)
        assert reports.as_pdf(first) == reports.as_pdf(second)


# -- what somebody wrote


def test_what_somebody_wrote_is_words_and_never_markup(tmp_path: Path) -> None:
    text = plan_text(CASES["errors"], FAST, PLACES)
    changed = re.sub(r"(?m)^(\s+)reason: .*$", lambda m: f"{m[1]}reason: {quoted(HOSTILE + 'x' * 1500)}", text)
    changed = re.sub(r"(?m)^(\s+)ticket: .*$", lambda m: f"{m[1]}ticket: {quoted('<img src=x onerror=y>')}", changed)
    assert changed != text
    played(tmp_path, World(rate_per_s=2_000, candidate=behaving(failed=0.1)), changed)
    told, pdf = both(tmp_path)
    assert not {"script", "img"} & set(told.elements)
    assert "onerror" not in told.attributes
    assert '<script>alert("x")</script>' in told.text
    assert "<img src=x onerror=y>" in told.text
    assert '<script>alert("x")</script>' in pdf
    assert "\\u{65e5}\\u{672c}" in pdf.replace(" ", "")


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def test_characters_that_cannot_be_seen_are_written_as_their_escape(rolled_back: Path) -> None:
    assert visible("a\u200bb\x00\nc") == "a\\u{200b}b\\u{0}\nc"
    with report(rolled_back) as made:
        hostile = replace(made, title="right\u202eto left", summary=("</p><script>", "&nbsp;<para>]]>"))
        source = reports.as_html(hostile).decode()
        assert "\u202e" not in source
        assert "right\\u{202e}to left" in source
        assert "<script>" not in source
        assert "&nbsp;<para>]]>" in pdf_text(reports.as_pdf(hostile))


# -- what is not there any more


def test_erased_words_and_names_are_shown_as_erased(copy: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{copy / 'rollouts.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM verdigris_evidence"))
    engine.dispose()
    told, pdf = both(copy)
    for text in (told.text, pdf):
        assert "The plan was erased or cannot be read" in text
        assert "was erased or never kept; its digest stays in the ledger, and no entry says that it was erased" in text
        assert "No window that was looked at is left" in text
        assert "rolled back" in text.lower()
    assert "clinic" not in told.text


def test_an_erased_look_is_told_and_the_others_are_shown(copy: Path) -> None:
    digest = changed_evidence(copy, "look", erase=True)
    told, _ = both(copy)
    assert digest[:16] in told.text
    assert "Failed requests of portal server GET /lookup" in told.text


def test_a_damaged_look_is_told_apart_from_an_erased_one(copy: Path) -> None:
    digest = changed_evidence(copy, "look")
    told, _ = both(copy)
    assert f"it is damaged or was changed: SHA-256 {digest[:16]}" in told.text


def test_without_a_catalogue_of_controls_nothing_is_said_of_them(rolled_back: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "COMPLIANCE", "verdigris.no_such_room")
    told, _ = both(rolled_back)
    assert "Which controls" not in told.text


# -- the command, and the pack


def test_the_command_writes_both(rolled_back: Path, tmp_path: Path) -> None:
    html, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    code, out, err = verdigris("audit", "report", "latest", "--state", rolled_back, "--html", html, "--pdf", pdf)
    assert (code, out) == (0, "")
    assert str(html) in err
    assert html.read_bytes().startswith(b"<!doctype html>")
    assert pdf.read_bytes().startswith(b"%PDF-")


def test_the_command_needs_a_file_that_can_be_written_and_a_rollout(rolled_back: Path, tmp_path: Path) -> None:
    assert verdigris("audit", "report", "latest", "--state", rolled_back)[0] == 64
    assert verdigris("audit", "report", "nothing", "--state", rolled_back, "--html", tmp_path / "x")[0] == 66
    assert verdigris("audit", "report", "latest", "--state", rolled_back, "--html", tmp_path / "no" / "x")[0] == 73


def test_the_pack_has_both(rolled_back: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack.zip"
    assert verdigris("audit", "export", "latest", "--state", rolled_back, "--output", pack)[0] == 0
    with zipfile.ZipFile(pack) as files, report(rolled_back) as made:
        assert files.read("report.html") == reports.as_html(made)
        assert files.read("report.pdf") == reports.as_pdf(made)


def test_a_report_of_very_long_words_still_fits_its_pages(rolled_back: Path) -> None:
    with report(rolled_back) as made:
        long = replace(made, title="x" * 400, summary=("y" * 9_000,))
        assert pdf_text(reports.as_pdf(long)).count("y") >= 9_000
