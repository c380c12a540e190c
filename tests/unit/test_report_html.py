"""The report as a page: complete without a script, closed to the network and to what senders write into names."""

import base64
import hashlib
import html as entities
import importlib.util
import json
import re
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from verdigris.comparison import html, terminal


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
NAMES = sorted(DOCUMENTS.VARIANTS)


class Page(HTMLParser):
    """Elements, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        """Read the whole page."""
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.words: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        self.elements.append((tag, dict(attrs)))
        if tag in self.raw:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or a style."""
        if tag in self.raw:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        """Keep text by where it stands."""
        (self.raw[self.inside[-1]] if self.inside else self.words).append(data)


@pytest.fixture(scope="module", params=NAMES)
def page(request: pytest.FixtureRequest) -> tuple[str, str, Page]:
    """Each variant's name, text and parsed page."""
    text = html.render(DOCUMENTS.VARIANTS[request.param]())
    return request.param, text, Page(text)


def test_the_text_is_complete_without_a_script() -> None:
    words = " ".join(" ".join(Page(html.render(DOCUMENTS.fail())).words).split())
    comparison = DOCUMENTS.fail()
    told = [
        terminal.HEADLINES["FAIL"],
        comparison.summary,
        *comparison.notes,
        "87 %",
        "61.4 ms → 548 ms",
        "+487 ms (95 % interval +471 to +603 ms)",
    ]
    told += [cause.why for cause in comparison.causes] + [finding.sentence for finding in comparison.findings]
    told += [
        "14.2 nats; a finding from 7.6 nats on",
        comparison.windows.sha256,
        "JSON ends in the middle of a string",
        "judge 1",
        "c" * 32,
    ]
    for sentence in told:
        assert sentence in words


def test_what_a_pass_lacks_is_a_table() -> None:
    words = " ".join(" ".join(Page(html.render(DOCUMENTS.not_enough_data())).words).split())
    assert "61 of about 2,400" in words
    assert "2,339" in words
    assert terminal.NOT_CONCURRENT in words


def test_nothing_is_fetched(page: tuple[str, str, Page]) -> None:
    _, _, parsed = page
    for tag, attributes in parsed.elements:
        assert tag not in {
            "img",
            "link",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
            "video",
            "audio",
            "source",
            "image",
        }
        assert not {"src", "srcset", "action", "style", "xlink:href"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    style = "".join(parsed.raw["style"])
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_admits_exactly_this_style_and_this_script(page: tuple[str, str, Page]) -> None:
    _, text, parsed = page
    policy = next(a["content"] for tag, a in parsed.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    style, script = (
        re.search(r"<style>(.*?)</style>", text, re.DOTALL),
        re.search(r"<script>(.*?)</script>", text, re.DOTALL),
    )
    for directive, found in (("style-src", style), ("script-src", script)):
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_the_data_cannot_leave_its_element(page: tuple[str, str, Page]) -> None:
    _, text, parsed = page
    scripts = [attributes for tag, attributes in parsed.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert data[1].isascii()
    assert not set("<>&") & set(data[1])
    json.loads(data[1], parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_every_name_is_made_of_visible_characters(page: tuple[str, str, Page]) -> None:
    _, text, parsed = page
    hidden = {c for c in text if unicodedata.category(c) in terminal.HIDDEN_CATEGORIES}
    assert hidden == {"\n"}
    data = json.loads("".join(parsed.raw["script"][:1]))
    assert not [c for c in _strings(data) if unicodedata.category(c) in terminal.HIDDEN_CATEGORIES]


def _strings(value: Any) -> str:  # any JSON
    if isinstance(value, dict):
        return "".join(_strings(part) for part in [*value.keys(), *value.values()])
    if isinstance(value, list):
        return "".join(map(_strings, value))
    return value if isinstance(value, str) else ""


def test_the_same_comparison_gives_the_same_bytes() -> None:
    assert html.render(DOCUMENTS.hostile()) == html.render(DOCUMENTS.hostile())


def test_the_size_is_bounded(page: tuple[str, str, Page]) -> None:
    name, text, _ = page
    assert len(text) < (1_600_000 if name == "many_operations" else 200_000)


def test_links_lead_somewhere(page: tuple[str, str, Page]) -> None:
    _, _, parsed = page
    targets = {attributes["id"] for _, attributes in parsed.elements if attributes.get("id")}
    links = {(attributes["href"] or "")[1:] for tag, attributes in parsed.elements if tag == "a" and attributes.get("href")}
    assert links <= targets


def test_headings_do_not_skip_a_level(page: tuple[str, str, Page]) -> None:
    _, _, parsed = page
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert set(levels) <= {1, 2, 3}


def test_a_histogram_keeps_its_mass_on_the_grid() -> None:
    operation = DOCUMENTS.fail().operations[0]
    cells = html.chart_data(DOCUMENTS.fail())["operations"][0]["baseline"]["durations"]
    assert sum(share for _, share in cells) == pytest.approx(sum(share for *_, share in operation.baseline.durations), rel=0.01)
    assert cells == sorted(cells)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrast_is_aa(scheme: str) -> None:
    style = html._asset("report.css")  # the asset as it is put into the page
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[0]))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[1]))
    for text in ("ink", "soft", "baseline", "candidate", "fail", "pass", "unsure", "blind"):
        for ground in ("paper", "sheet"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert _contrast(colours["ink"], colours["mark"]) >= 4.5
    for service in range(8):
        assert _contrast(colours[f"s{service}"], colours["paper"]) >= 3, service


def _contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_scripts_never_parse_markup() -> None:
    for name in html.SCRIPTS:
        script = html._asset(name)  # the asset as it is put into the page
        assert not re.search(
            r"(?:inner|outer|Adjacent)HTML|document\.write|eval\(|new Function|fetch\(|XMLHttpRequest|import\(",
            script,
        )
        assert "</script" not in script


def test_attributes_are_escaped() -> None:
    assert html.element("a", "<b>", title="\"'<\u202e", data_x=1, open=True, hidden=False) == (
        f'<a title="{entities.escape(chr(34) + chr(39) + "<")}\\u{{202e}}" data-x="1" open>&lt;b&gt;</a>'
    )
