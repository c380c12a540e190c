"""The report as a PDF: the same document as the HTML, with text that can be selected and plots as vectors. The same report gives the
same bytes. Its fonts travel in it; a character that they lack is written as its escape, never left out.
"""

import html
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib import resources
from io import BytesIO
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_LEFT, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, PageTemplate, Paragraph, Spacer, Table, TableStyle
from reportlab.platypus.doctemplate import BaseDocTemplate
from reportlab.platypus.frames import Frame

from verdigris.audit import report
from verdigris.audit.report import Report, Section, Text, Tone, visible
from verdigris.audit.report_plots import Anchor, Box, Dot, Label, Line, Mark, Plot, Style

MARGIN = 17 * mm
WIDTH = A4[0] - 2 * MARGIN
SANS, BOLD, MONO = "VerdigrisSans", "VerdigrisSans-Bold", "VerdigrisMono"
FACES = {SANS: "DejaVuSansCondensed.ttf", BOLD: "DejaVuSansCondensed-Bold.ttf", MONO: "DejaVuSansMono.ttf"}

INK, SOFT, RULE, FAINT = HexColor("#1b2523"), HexColor("#58645f"), HexColor("#d2cec2"), HexColor("#e6e3da")
BASELINE, CANDIDATE = HexColor("#2a7567"), HexColor("#a84f22")
GOOD, BAD, UNSURE, BAR = HexColor("#1f6a4d"), HexColor("#a1281d"), HexColor("#7c5600"), HexColor("#8a938d")
SHEET, WHITE = HexColor("#f6f4ee"), HexColor("#ffffff")
TONES = {Tone.SOFT: SOFT, Tone.GOOD: GOOD, Tone.BAD: BAD, Tone.UNSURE: UNSURE}
ROOM, ROOM_DRAWN = 150.0, 270.0
"""What must be left of a page, in points, for a heading and what comes after it."""
FACTS_WHOLE, ROW_WHOLE = 1_500, 800
"""Facts, and cells of a table, of fewer characters are not split between pages."""

PLOT_LABEL, PLOT_DOT = 9.5, 2.6
"""In the units of a plot."""

_STROKES: dict[Style, tuple[Color, float, tuple[float, ...]]] = {
    Style.BASELINE: (BASELINE, 1.5, ()), Style.CANDIDATE: (CANDIDATE, 1.8, ()), Style.INTENDED: (SOFT, 1.1, (3, 3)),
    Style.GRID: (FAINT, 0.7, ()), Style.AXIS: (SOFT, 0.8, ()), Style.STEP: (RULE, 0.7, ()), Style.STOP: (BAD, 1.1, (5, 3)),
}  # fmt: skip
_FILLS = {
    Style.BASELINE: BASELINE, Style.CANDIDATE: CANDIDATE, Style.SOFT: SOFT, Style.STOP: BAD, Style.FOUND: BAD, Style.BAR: BAR,
}  # fmt: skip

_RULES = (
    ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 7),
    ("RIGHTPADDING", (-1, 0), (-1, -1), 0), ("TOPPADDING", (0, 0), (-1, -1), 2.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ("LINEBELOW", (0, 0), (-1, -1), 0.5, FAINT),
)  # fmt: skip


def pdf_report(told: Report) -> bytes:
    """The file."""
    _register()
    out = BytesIO()
    title = _plain(f"{told.title}: {told.ending.text} · Verdigris rollout report")
    document = BaseDocTemplate(
        out, pagesize=A4, leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN, bottomMargin=MARGIN, title=title, author="Verdigris",
        subject="Report of one guarded rollout, made from its ledger", lang="en", invariant=1,
        initialFontName=SANS,
    )  # fmt: skip
    frame = Frame(MARGIN, MARGIN, WIDTH, A4[1] - 2 * MARGIN, 0, 0, 0, 0)

    def foot(canvas: Canvas, _: BaseDocTemplate) -> None:
        canvas.setFont(SANS, 7.5)
        canvas.setFillColor(SOFT)
        canvas.drawString(MARGIN, 9 * mm, _cut(title, 110))
        canvas.drawRightString(A4[0] - MARGIN, 9 * mm, f"page {canvas.getPageNumber()}")

    document.addPageTemplates([PageTemplate("page", [frame], onPage=foot)])
    document.build([*_top(told), *(flowable for section in told.sections for flowable in _section(section))])
    return out.getvalue()


@cache
def _register() -> None:
    """The fonts, known to reportlab by names of ours."""
    for name, file in FACES.items():
        data = resources.files("verdigris.audit").joinpath("assets", file).read_bytes()
        pdfmetrics.registerFont(TTFont(name, BytesIO(data)))
    pdfmetrics.registerFontFamily(SANS, normal=SANS, bold=BOLD, italic=SANS, boldItalic=BOLD)


@cache
def _glyphs(font: str) -> frozenset[int]:
    known: Any = pdfmetrics.getFont(font)
    return frozenset(known.face.charToGlyph)


def _plain(text: str, font: str = SANS) -> str:
    """Text that the font can show: what it lacks is written as its escape."""
    known = _glyphs(font)
    return "".join(c if c == "\n" or ord(c) in known else f"\\u{{{ord(c):x}}}" for c in visible(text))


def _markup(text: str, font: str = SANS) -> str:
    """Text for a paragraph: escaped, its lines kept."""
    return html.escape(_plain(text, font)).replace("\n", "<br/>")


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


@lru_cache(maxsize=64)
def _style(
    size: float = 9.0, font: str = SANS, color: Color = INK, before: float = 0, after: float = 4, *, right: bool = False
) -> ParagraphStyle:
    return ParagraphStyle(
        f"{font}-{size}",
        fontName=font,
        fontSize=size,
        leading=size * 1.38,
        textColor=color,
        spaceBefore=before,
        spaceAfter=after,
        alignment=TA_RIGHT if right else TA_LEFT,
    )


class _Mark(Flowable):
    """A place in the outline; takes no room."""

    def __init__(self, name: str, title: str) -> None:
        super().__init__()
        self.width = self.height = 0
        self._name, self._title = name, title

    def draw(self) -> None:
        self.canv.bookmarkPage(self._name)
        self.canv.addOutlineEntry(self._title, self._name, 0, closed=True)


class _Drawn(Flowable):
    """A plot, as wide as the page."""

    def __init__(self, plot: Plot) -> None:
        super().__init__()
        self._plot, self._scale = plot, WIDTH / plot.width
        self.width, self.height = WIDTH, plot.height * self._scale
        roles = {mark.style for mark in plot.marks if isinstance(mark, Line)} & {Style.BASELINE, Style.CANDIDATE}
        self._compared = len(roles) > 1

    def draw(self) -> None:
        self.canv.saveState()
        self.canv.scale(self._scale, self._scale)
        for mark in self._plot.marks:
            self._mark(mark)
        self.canv.restoreState()

    def _mark(self, mark: Mark) -> None:
        canvas, top = self.canv, self._plot.height
        match mark:
            case Line(points):
                color, width, dash = _STROKES.get(mark.style, (INK, 1.0, ()))
                if self._compared and mark.style is Style.CANDIDATE:
                    dash = (6, 3)
                canvas.setStrokeColor(color)
                canvas.setLineWidth(width)
                canvas.setDash(*(dash, 0) if dash else ())
                path = canvas.beginPath()
                path.moveTo(points[0][0], top - points[0][1])
                for x, y in points[1:]:
                    path.lineTo(x, top - y)
                canvas.drawPath(path)
            case Box(x, y, width, height):
                canvas.setFillColor(_FILLS.get(mark.style, INK))
                canvas.rect(x, top - y - height, width, height, stroke=0, fill=1)
            case Dot(x, y):
                canvas.setFillColor(_FILLS.get(mark.style, INK))
                canvas.circle(x, top - y, PLOT_DOT, stroke=0, fill=1)
            case Label():
                self._label(mark)

    def _label(self, mark: Label) -> None:
        strong = mark.style in {Style.STOP, Style.FOUND}
        self.canv.setFillColor(_FILLS.get(mark.style, INK))
        self.canv.setFont(BOLD if strong else SANS, PLOT_LABEL)
        draw = {
            Anchor.START: self.canv.drawString, Anchor.MIDDLE: self.canv.drawCentredString, Anchor.END: self.canv.drawRightString,
        }[mark.anchor]  # fmt: skip
        draw(mark.x, self._plot.height - mark.y, _plain(mark.text, BOLD if strong else SANS))


def _top(told: Report) -> Iterator[Flowable]:
    yield Paragraph("Verdigris <font color='#58645f' size='8.5'>  report of one guarded rollout</font>", _style(12, after=22))
    badge = Table(
        [[Paragraph(_markup(told.ending.text.upper(), BOLD), _style(9.5, BOLD, WHITE, after=0))]],
        colWidths=[pdfmetrics.stringWidth(told.ending.text.upper(), BOLD, 9.5) + 24], hAlign="LEFT",
    )  # fmt: skip
    badge.setStyle(TableStyle([
        ("BACKGROUND", (0, 0), (-1, -1), TONES.get(told.ending.tone, INK)), ("LEFTPADDING", (0, 0), (-1, -1), 11),
        ("TOPPADDING", (0, 0), (-1, -1), 3), ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
    ]))  # fmt: skip
    yield badge
    yield Spacer(0, 8)
    yield Paragraph(_markup(told.title), _style(22, after=9))
    for one in told.summary:
        yield Paragraph(_markup(one), _style(10.5, after=6))
    yield Spacer(0, 4)
    yield from _facts(told.facts)


def _section(section: Section) -> Iterator[Flowable]:
    drawn = bool(section.blocks) and isinstance(section.blocks[0], report.Figure)
    yield Spacer(0, 14)
    yield CondPageBreak(ROOM_DRAWN if drawn else ROOM)
    yield _Mark(section.name, section.title)
    yield _Rule()
    yield Paragraph(_markup(section.title), _style(15, after=7))
    for at, block in enumerate(section.blocks):
        if isinstance(block, report.Heading):
            following = section.blocks[at + 1 : at + 2]
            yield CondPageBreak(ROOM_DRAWN if any(isinstance(one, report.Figure) for one in following) else ROOM)
        yield from _block(block)


class _Rule(Flowable):
    """A line over the whole width."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.height = WIDTH, 9.0

    def draw(self) -> None:
        self.canv.setStrokeColor(INK)
        self.canv.setLineWidth(0.8)
        self.canv.line(0, 7, WIDTH, 7)


def _block(block: report.Block) -> Iterator[Flowable]:
    match block:
        case report.Paragraph(text):
            yield _words(text, 9.0, after=6)
        case report.Heading(words):
            yield Paragraph(_markup(words, BOLD), _style(10.5, BOLD, before=9, after=4))
        case report.Facts():
            yield from _facts(block)
        case report.Table():
            yield from _table(block)
        case report.Items(items):
            for one in items:
                yield Paragraph(f"•  {_markup(one.text)}", _style(9.0, SANS, TONES.get(one.tone, INK), after=3))
            yield Spacer(0, 5)
        case report.Listing(what, lines):
            yield from _listing(what, lines)
        case report.Figure(plot, caption):
            words = f'<font name="{BOLD}" color="#1b2523">{_markup(plot.title, BOLD)}.</font> {_markup(caption)}'
            yield KeepTogether([Paragraph(words, _style(8.5, SANS, SOFT, after=3)), _Drawn(plot), Spacer(0, 10)])


def _words(text: Text, size: float, after: float = 0) -> Paragraph:
    """A paragraph in the tone of its text."""
    font = MONO if text.tone is Tone.CODE else BOLD if text.tone in {Tone.GOOD, Tone.BAD, Tone.UNSURE} else SANS
    size = size - 1 if text.tone is Tone.CODE else size
    return Paragraph(_markup(text.text, font), _style(size, font, TONES.get(text.tone, INK), after=after, right=text.tone is Tone.NUMBER))


def _facts(facts: report.Facts) -> Iterator[Flowable]:
    rows = [[Paragraph(_markup(label), _style(9, SANS, SOFT, after=0)), _words(value, 9)] for label, value in facts.rows]
    made = Table(rows, colWidths=[WIDTH * 0.24, WIDTH * 0.76], hAlign="LEFT", splitInRow=_is_long(value for _, value in facts.rows))
    made.setStyle(TableStyle(_RULES))
    whole = sum(len(value.text) for _, value in facts.rows) < FACTS_WHOLE
    yield KeepTogether([made]) if whole else made
    yield Spacer(0, 8)


def _is_long(texts: Iterable[Text]) -> int:
    """Whether a row may have to go on on the next page; else it moves there as a whole."""
    return int(any(len(text.text) > ROW_WHOLE for text in texts))


def _table(table: report.Table) -> Iterator[Flowable]:
    size = 8.0 if len(table.header) <= 6 else 7.3  # noqa: PLR2004  # wider tables have smaller words
    numbers = [bool(table.rows) and all(row[at].tone is Tone.NUMBER for row in table.rows) for at in range(len(table.header))]
    header = [
        Paragraph(_markup(name), _style(size - 0.5, SANS, SOFT, after=0, right=number))
        for name, number in zip(table.header, numbers, strict=True)
    ]
    rows = [[_words(cell, size) for cell in row] for row in table.rows]
    whole = sum(table.widths)
    # The caption is a row: so it is repeated on the next page, and never left alone at the foot of one.
    caption = [Paragraph(_markup(table.caption, BOLD), _style(9, BOLD, after=0)), *[""] * (len(header) - 1)]
    made = Table(
        [caption, header, *rows],
        colWidths=[WIDTH * part / whole for part in table.widths],
        repeatRows=2,
        hAlign="LEFT",
        splitInRow=_is_long(cell for row in table.rows for cell in row),
    )
    made.setStyle(TableStyle([*_RULES, ("SPAN", (0, 0), (-1, 0)), ("LINEBELOW", (0, 1), (-1, 1), 0.6, RULE)]))
    yield made
    yield Spacer(0, 9)


def _listing(what: str, lines: Iterable[str]) -> Iterator[Flowable]:
    caption = Paragraph(_markup(what), _style(8, SANS, SOFT, after=2))
    caption.keepWithNext = True
    yield caption
    box = Table(
        [[[Paragraph(_markup(line, MONO) or "&nbsp;", _style(7.6, MONO, after=0)) for line in lines]]], colWidths=[WIDTH], splitInRow=1
    )
    box.setStyle(TableStyle([
        ("BACKGROUND", (0, 0), (-1, -1), SHEET), ("BOX", (0, 0), (-1, -1), 0.5, FAINT), ("TOPPADDING", (0, 0), (-1, -1), 5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
    ]))  # fmt: skip
    yield box
    yield Spacer(0, 8)
