"""What could not be read, and how much was: the account that a reading gives of itself.

Nothing is skipped in silence. A part that cannot be read becomes a `Problem`; a span that the decoder refuses is
counted by its reason. Problems never quote values of the content, which may be sensitive and is not masked yet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from verdigris.sensitive.findings import Tally

KEPT_PROBLEMS = 100
"""Problems kept in full per reading. A broken file has millions of the same; the first ones explain it."""

Report: TypeAlias = Callable[[str, str], None]
"""Takes where and what, as in `Problem`. Every stage of reading is given one; it never raises."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One part of one source that could not be read.

    Attributes:
        source: the name of the source, as the person named it.
        where: "line 12", "byte 4096" (of the unpacked content) or a path such as "data[3].spans[7]".
        what: what is wrong there.
    """

    source: str
    where: str
    what: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.source}: {self.where}: {self.what}"


@dataclass(slots=True)
class ReadCounts:
    """How much was read so far.

    Attributes:
        spans: spans handed out as rows.
        bodies: documents, lines, messages or array elements that held trace data and could be read.
        refused: spans that the decoder refused, by its reason.
        ends_before_start: spans whose end lies before their start; they are handed out with duration 0.
        truncated_values: attribute values cut to the decoder's bound.
        dropped_attributes: attributes beyond the decoder's bound; as are dropped_events and dropped_links.
        problems: all problems, also those that were not kept in full.
        findings: what was sensitive, by place; masked already.
    """

    spans: int = 0
    bodies: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    ends_before_start: int = 0
    truncated_values: int = 0
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    problems: int = 0
    findings: Tally = field(default_factory=Tally)

    def add_refused(self, refused: Mapping[str, int]) -> None:
        """Adds what one decoded body had refused."""
        for reason, spans in refused.items():
            self.refused[reason] = self.refused.get(reason, 0) + spans


class ProblemLog:
    """Keeps the first problems in full and counts all of them."""

    def __init__(self, counts: ReadCounts) -> None:
        self._counts = counts
        self.kept: list[Problem] = []

    def reporter(self, source: str) -> Report:
        """A `Report` that files what it is told under the name of this source."""

        def report(where: str, what: str) -> None:
            self._counts.problems += 1
            if len(self.kept) < KEPT_PROBLEMS:
                self.kept.append(Problem(source, where, what))

        return report
