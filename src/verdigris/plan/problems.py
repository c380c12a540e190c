"""What is wrong with a plan, and where: one `Problem` each, all of them in one `InvalidPlan`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from verdigris.errors import VerdigrisError

Path = tuple[str | int, ...]
"""Keys and indexes from the top of a plan to one of its values."""

PROBLEMS_TOLD = 3
"""So many problems stand in the error's own text; all are in `problems`."""

TOLD_CHARS = 60
"""So much of a value that is not understood is repeated."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong or doubtful. `line` and `column` count from 1; `column` counts characters."""

    line: int
    column: int
    path: str
    """As `steps[0].weight`; empty where the whole plan is meant."""
    message: str
    suggestion: str

    def __str__(self) -> str:
        """One line, without the suggestion."""
        return f"line {self.line}, column {self.column}: {self.path}{': ' if self.path else ''}{self.message}"


class InvalidPlan(VerdigrisError):
    """A plan cannot be read or contradicts itself. Safe: nothing was started; correct what `problems` names."""

    def __init__(self, problems: Sequence[Problem], source: str = "plan") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        """One line: how many problems, and the first of them."""
        count = len(self.problems)
        told = "; ".join(map(str, self.problems[:PROBLEMS_TOLD]))
        more = f"; and {count - PROBLEMS_TOLD} more" if count > PROBLEMS_TOLD else ""
        return f"{self.source} has {count} problem{'s' if count != 1 else ''}, nothing was started: {told}{more}"


def path_text(path: Path) -> str:
    """A path as people write it: `steps[0].weight`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and part.replace("_", "").isalnum():
            text += f".{part}" if text else part
        else:
            text += f"[{quoted(part)}]"
    return text


def quoted(text: str, chars_max: int = TOLD_CHARS) -> str:
    """A text in quotes, on one line, cut when it is long, with nothing in it that a terminal would obey."""
    cut = text if len(text) <= chars_max else text[: chars_max - 1] + "…"
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in json.dumps(cut, ensure_ascii=False))
