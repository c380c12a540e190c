"""The report in a real browser: the charts are drawn, nothing is logged, nothing that a sender wrote is run."""

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from tests.required import missing

from verdigris.comparison import html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--window-size=1400,2000",
    "--virtual-time-budget=2000", "--enable-logging=stderr", "--dump-dom",
)  # fmt: skip


def _documents() -> ModuleType:
    name = "test_report_documents"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "unit" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


DOCUMENTS = _documents()


@dataclass(frozen=True)
class Loaded:
    """A page after its scripts ran: the document, without its inert data and script, and what was logged."""

    name: str
    body: str
    console: tuple[str, ...]

    def count(self, pattern: str) -> int:
        """How many times a pattern occurs in the drawn document."""
        return len(re.findall(pattern, self.body))


class Elements(HTMLParser):
    """Which elements and attributes a document has; what is inside attribute values is text."""

    def __init__(self, text: str) -> None:
        """Read the whole document."""
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


def load(name: str, folder: Path) -> Loaded:
    """Open the variant's page from a file."""
    if BROWSER is None:
        missing("chromium", "no Chromium or Chrome on the PATH; scripts/setup-browser installs it")
    file = folder / "report.html"
    file.write_text(html.render(DOCUMENTS.VARIANTS[name]()), encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    body = re.sub(r"<script.*?</script>|<style.*?</style>", "", done.stdout, flags=re.DOTALL)
    return Loaded(name, body, tuple(line for line in done.stderr.splitlines() if "CONSOLE" in line))


@pytest.fixture(scope="module", params=sorted(DOCUMENTS.VARIANTS))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Each variant, loaded once."""
    return load(request.param, tmp_path_factory.mktemp("report"))


def test_every_section_is_drawn_and_nothing_is_logged(loaded: Loaded) -> None:
    assert loaded.console == ()
    assert loaded.count(r'data-ready="yes"') == 1
    assert loaded.count(r'data-drawn="yes"') == 4
    assert "could not be drawn" not in loaded.body


def test_no_picture_holds_a_number_that_is_none(loaded: Loaded) -> None:
    assert not re.search(r'(?:NaN|Infinity|undefined|\[object)[^"<]*["<]', loaded.body)


def test_what_senders_wrote_is_only_text(loaded: Loaded) -> None:
    title = re.search(r"<title>(.*?)</title>", loaded.body)
    assert title is not None
    assert title[1].endswith("Verdigris comparison")
    elements = Elements(loaded.body)
    assert not elements.names & {"img", "iframe", "object", "embed", "link"}
    assert not [name for name in elements.attributes if name.startswith("on")]


EXPECTED = {
    "fail": {
        r"data-node=": 8,
        r'data-edge="gone"': 1,
        r'data-edge="new"': 1,
        r"class=\"steps (?:baseline|candidate)\"": 2,
        r"data-window=": 12,
        r"data-trail=": 6,
        r"data-span=": 22,
        r"class=\"crossing": 3,
    },
    "pass": {r"data-node=": 6, r'data-edge="(?:gone|new)"': 0, r"class=\"crossing": 0, r"data-window=": 12},
    "blind": {r'data-edge="gone"': 7, r"data-trail=": 0, r"data-window=": 12, r"data-span=": 12},
    "forty_services": {r"data-node=": 40},
    "many_operations": {r"class=\"what\"": 308},
    "empty": {r"<svg": 1},
}


def test_the_charts_hold_what_the_document_holds(loaded: Loaded) -> None:
    counted = {pattern: loaded.count(pattern) for pattern in EXPECTED.get(loaded.name, {})}
    assert counted == EXPECTED.get(loaded.name, {})
