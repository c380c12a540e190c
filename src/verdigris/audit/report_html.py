"""The report as one HTML file that needs nothing else: no network, no other file, no script. Markup is only made by `_element`, which
escapes; names hold visible characters only; the content security policy admits this style by its hash, and nothing else.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterable
from importlib import resources

from verdigris.audit.report import Block, Facts, Figure, Heading, Items, Listing, Paragraph, Report, Section, Table, Text, Tone, visible
from verdigris.audit.report_plots import Box, Dot, Label, Line, Mark, Plot, Style

DOT_RADIUS = 3.2
UNBROKEN = frozenset({"Time", "Kind", "As", "Says", "Signature", "This rollout"})
"""Columns whose cells stand on one line."""
_UNIT = re.compile(r"(?<=\d) (?=%|ms\b|s\b)")


class _Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def html_report(report: Report) -> str:
    """The file. The same report gives the same bytes."""
    style = resources.files("verdigris.audit").joinpath("assets", "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = _join((
        _Markup('<meta charset="utf-8">'),
        _void("meta", http_equiv="Content-Security-Policy", content=policy),
        _void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _void("meta", name="referrer", content="no-referrer"),
        _element("title", f"{report.title}: {report.ending.text} · Verdigris rollout report"),
        _Markup(f"<style>{style}</style>"),
    ))  # fmt: skip
    contents = _join(_element("li", _element("a", one.title, href=f"#{one.name}")) for one in report.sections)
    top = _element(
        "header",
        _element("p", "Verdigris ", _element("span", "report of one guarded rollout"), class_="wordmark"),
        _element("p", report.ending.text, class_=f"badge {report.ending.tone.value}"),
        _element("h1", report.title),
        _element("div", _join(_element("p", _kept(one)) for one in report.summary), class_="summary"),
        _facts(report.facts, "facts first"),
        _element("nav", _element("ol", contents), aria_label="Sections"),
    )
    body = _element(
        "body",
        _element("a", "To the report", class_="skip", href="#report"),
        top,
        _element("main", _join(_section(one) for one in report.sections), id="report"),
        _element("footer", _element("p", "Made from the ledger by verdigris audit report. The ledger, not this report, is the record.")),
    )
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n{body}\n</html>\n'


def _safe(text: str) -> str:
    return html.escape(visible(text))


def _attributes(attributes: dict[str, str | float]) -> str:
    return "".join(f' {name.rstrip("_").replace("_", "-")}="{_safe(str(value))}"' for name, value in attributes.items())


def _element(name: str, /, *children: str, **attributes: str | float) -> _Markup:
    """An element, its text and values escaped and made visible. `aria_label` becomes `aria-label`, `class_` becomes `class`."""
    inside = "".join(child if isinstance(child, _Markup) else _safe(child) for child in children)
    return _Markup(f"<{name}{_attributes(attributes)}>{inside}</{name}>")


def _void(name: str, /, **attributes: str | float) -> _Markup:
    return _Markup(f"<{name}{_attributes(attributes)}>")


def _join(parts: Iterable[_Markup]) -> _Markup:
    return _Markup("\n".join(parts))


def _section(section: Section) -> _Markup:
    title = _element("h2", section.title, id=f"{section.name}-title")
    blocks = _join(_block(one, f"{section.name}-{at}") for at, one in enumerate(section.blocks))
    return _element("section", title, _Markup("\n"), blocks, id=section.name, aria_labelledby=f"{section.name}-title")


def _block(block: Block, name: str) -> _Markup:
    match block:
        case Paragraph(text):
            made = _element("p", _text(text), class_=text.tone.value)
        case Heading(words):
            made = _element("h3", _element("bdi", words))
        case Facts():
            made = _facts(block, "facts")
        case Table():
            made = _table(block)
        case Items(items):
            made = _element("ul", _join(_element("li", _text(one), class_=one.tone.value) for one in items))
        case Listing(what, lines):
            made = _element("figure", _element("figcaption", what), _element("pre", "\n".join(lines)), class_="listing")
        case Figure(plot, caption):
            told = _element("figcaption", _element("b", f"{plot.title}."), f" {caption}")
            made = _element("figure", told, _element("div", _svg(plot, name), class_="drawn"))
    return made


def _text(text: Text) -> _Markup:
    return _element("code", text.text) if text.tone is Tone.CODE else _element("bdi", _kept(text.text))


def _kept(text: str) -> str:
    """A number stays with its unit."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", text)


def _facts(facts: Facts, class_: str) -> _Markup:
    rows = (_element("div", _element("dt", label), _element("dd", _text(value), class_=value.tone.value)) for label, value in facts.rows)
    return _element("dl", _join(rows), class_=class_)


def _table(table: Table) -> _Markup:
    numbers = [all(row[at].tone is Tone.NUMBER for row in table.rows) for at in range(len(table.header))]
    header = (
        _element("th", name, scope="col", class_="number" if number and table.rows else "text")
        for name, number in zip(table.header, numbers, strict=True)
    )
    rows = (_element("tr", _join(_cell(cell, table.header[at]) for at, cell in enumerate(row))) for row in table.rows)
    parts = (_element("caption", table.caption), _element("thead", _element("tr", _join(header))), _element("tbody", _join(rows)))
    return _element("div", _element("table", _join(parts)), class_="wide", tabindex="0", role="region", aria_label=table.caption)


def _cell(cell: Text, column: str) -> _Markup:
    return _element("td", _text(cell), class_=f"whole {cell.tone.value}" if column in UNBROKEN else cell.tone.value)


def _svg(plot: Plot, name: str) -> _Markup:
    return _element(
        "svg",
        _element("title", plot.title, id=f"{name}-name"),
        _element("desc", plot.description, id=f"{name}-told"),
        _join(_mark(mark, compared=len(_roles(plot)) > 1) for mark in plot.marks),
        viewBox=f"0 0 {plot.width:g} {plot.height:g}", role="img", aria_labelledby=f"{name}-name {name}-told", class_="plot",
    )  # fmt: skip


def _roles(plot: Plot) -> set[Style]:
    """Which roles a plot has lines of: only where there are two is one of them dashed."""
    return {mark.style for mark in plot.marks if isinstance(mark, Line) and mark.style in {Style.BASELINE, Style.CANDIDATE}}


def _mark(mark: Mark, *, compared: bool) -> _Markup:
    class_ = f"compared {mark.style.value}" if compared else mark.style.value
    match mark:
        case Line(points):
            return _element("polyline", points=" ".join(f"{x:g},{y:g}" for x, y in points), class_=class_)
        case Box(x, y, width, height):
            return _element("rect", x=f"{x:g}", y=f"{y:g}", width=f"{width:g}", height=f"{height:g}", class_=class_)
        case Dot(x, y):
            return _element("circle", cx=f"{x:g}", cy=f"{y:g}", r=DOT_RADIUS, class_=class_)
        case Label(x, y, text):
            return _element("text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=mark.anchor.value, class_=class_)
