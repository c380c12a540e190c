"""The report of one rollout as a document: headings, sentences, tables and plots. HTML and PDF are made from this one. Values only.

Outside text is in it as it came; whoever renders it escapes it, and makes it visible.
"""

import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from verdigris.audit.report_plots import Plot

HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Tone(StrEnum):
    """What a text is, so that it can be set apart."""

    PLAIN = "plain"
    CODE = "code"
    NUMBER = "number"
    SOFT = "soft"
    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Text:
    """Words, and what they are."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences."""

    text: Text


@dataclass(frozen=True, slots=True)
class Heading:
    """Inside a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they are."""

    rows: tuple[tuple[str, Text], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a header. `widths`: of the columns, in parts of each other."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    widths: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Lines to be copied: commands, keys."""

    what: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with what it means."""

    plot: Plot
    caption: str


Block = Paragraph | Heading | Facts | Table | Items | Listing | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is under it."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """What a rollout shows of one control: evidenced, contradicted or not covered; by which entries, and what of it is not shown."""

    name: str
    title: str
    state: str
    why: str
    entries: tuple[int, ...] = ()
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The whole document."""

    title: str
    ending: Text
    summary: tuple[str, ...]
    facts: Facts
    sections: tuple[Section, ...]


def visible(text: str) -> str:
    """The text with every control, bidirectional, invisible or unassigned character but a line's end written as its escape."""
    return "".join(f"\\u{{{ord(c):x}}}" if c != "\n" and unicodedata.category(c) in HIDDEN_CATEGORIES else c for c in text)
