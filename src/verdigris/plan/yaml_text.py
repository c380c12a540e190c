"""Reads YAML to plain values and remembers where each stands. Knows nothing of plans.

A subset on purpose: what YAML readers disagree about is refused, never guessed. A plan is signed and read by several
programs and people; all must see the same. Refused are: the same key twice, anchors, aliases and tags, a second document,
plain words and numbers that YAML 1.1 and 1.2 read differently (`on`, `no`, `010`, `1:30`), and characters that do not show
or that reorder what is shown. JSON is read as it is, except with such characters.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import yaml

from verdigris.plan.problems import Path, Problem, path_text, quoted

BYTES_MAX = 256 * 1024
DEPTH_MAX = 20
NODES_MAX = 10_000
PROBLEMS_MAX = 100
NUMBER_CHARS_MAX = 40
"""Longer runs of digits are no number that a plan needs."""
KEY_CHARS_MAX = 256

Scalar = str | int | float | bool | None
Value = Scalar | list["Value"] | dict[str, "Value"]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip
_TRUTHS = frozenset({"y", "n", "yes", "no", "on", "off"})
_DISPUTED_NUMBER = re.compile(
    r"[-+]?(?:0[0-9_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[0-9]+_[0-9_]*|\.(?:inf|Inf|INF|nan|NaN|NAN)|\.[0-9]+|(?:0|[1-9][0-9]*)\.)|\+[0-9].*"
)
_PAIRED = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
_HINTS = (
    ("\\t", "indent with spaces, not with tabs"),
    ("mapping values are not allowed", "check the indentation; text that holds ': ' needs quotes"),
    ("alias", "a text that begins with * needs quotes"),
    ("anchor", "a text that begins with & needs quotes"),
    ("cannot start any token", "a text that begins with this character needs quotes"),
    ("found unexpected end of stream", "close the quotes or brackets that are open"),
    ("expected ',' or", "close the brackets that are open, and put commas between what is in them"),
    ("could not find expected ':'", "each line of a mapping is written as key: value"),
    ("expected <block end>", "check the indentation: lines of one mapping or list begin in the same column"),
)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value stands, counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Reading:
    """What was read: the value, where each part of it stands, and what is wrong with it."""

    value: Value = None
    values: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: set[Path] = field(default_factory=set)
    """Paths whose value is not what was written, because of a problem that is told already."""

    def position(self, path: Path) -> Position:
        """Where the value of `path` stands, or the nearest around it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Position(1, 1))

    def key_position(self, path: Path) -> Position:
        """Where the key of `path` stands; an entry of a list has none, and then its value counts."""
        return self.keys.get(path) or self.position(path)


class _Stopped(Exception):  # not an error: what is read so far, with its problems, is the result
    """Nothing more can be read."""


def read_yaml(text: str) -> Reading:
    """Read one document. Never raises: what cannot be read is a problem of the result."""
    reader = _Reader()
    try:
        reader.document(text)
    except _Stopped:
        pass
    except yaml.YAMLError as error:
        reader.syntax(error, text)
    except (ValueError, OverflowError):
        # PyYAML turns an escape above U+10FFFF into a character, and fails at it.
        reader.tell((), Position(1, 1), "an escape names a character that does not exist", "correct the text's \\U escapes")
    return reader.reading


class _Reader:
    def __init__(self) -> None:
        self.reading = Reading()
        self._nodes = 0

    def document(self, text: str) -> None:
        size_bytes = len(text.encode(errors="surrogatepass"))
        if size_bytes > BYTES_MAX:
            self.stop((), Position(1, 1), f"{size_bytes} bytes are more than a plan may have ({BYTES_MAX})", "shorten it")
        events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                break
        else:
            self.stop((), Position(1, 1), "there is nothing in it", "begin with: verdigris plan new")
        self.reading.value = self._value(events, next(events), (), 0)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.stop((), _position(event), "a second document begins here", "write each plan to a file of its own")

    def _value(self, events: Iterator[yaml.Event], event: yaml.Event, path: Path, depth: int) -> Value:
        position = _position(event)
        self.reading.values[path] = position
        self._nodes += 1
        if self._nodes > NODES_MAX:
            self.stop(path, position, f"it has more than {NODES_MAX} values", "shorten it")
        if depth > DEPTH_MAX:
            self.stop(path, position, f"it is nested more than {DEPTH_MAX} deep", "no plan is: check the brackets and the indentation")
        if isinstance(event, yaml.AliasEvent):
            self.refuse(
                path, position, f"an alias (*{event.anchor}) is not allowed", "write the value out; a text that begins with * needs quotes"
            )
            return None
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self.refuse(path, position, f"an anchor (&{event.anchor}) is not allowed", "remove it; a text that begins with & needs quotes")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.refuse(path, position, f"a tag ({quoted(str(tag))}) is not allowed", "remove it; a text that begins with ! needs quotes")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(events, path, depth)
        assert isinstance(event, yaml.ScalarEvent)  # noqa: S101  # the parser's grammar has nothing else here
        return self._scalar(event, path)

    def _list(self, events: Iterator[yaml.Event], path: Path, depth: int) -> list[Value]:
        values: list[Value] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            values.append(self._value(events, event, (*path, len(values)), depth + 1))
        return values

    def _mapping(self, events: Iterator[yaml.Event], path: Path, depth: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            position = _position(event)
            key = self._key(event, path)
            if key is None:
                # Read on for the problems after it; what stands under a key that cannot be used is put aside.
                if not isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
                    self.stop(path, position, "a key is not plain text", "write key: value; text that begins with [ or { needs quotes")
                self._aside(events, path, depth)
                continue
            within = (*path, key)
            if key in values:
                before = self.reading.keys[within].line
                self.refuse(within, position, f"the key is here twice; the first is in line {before}", "keep one of the two", keep=True)
                self._aside(events, path, depth)
                continue
            self.reading.keys[within] = position
            values[key] = self._value(events, next(events), within, depth + 1)
        return values

    def _aside(self, events: Iterator[yaml.Event], path: Path, depth: int) -> None:
        """Read a value that is not kept: its bounds hold, its positions and problems do not matter."""
        kept, self.reading = self.reading, Reading()
        try:
            self._value(events, next(events), path, depth + 1)
        except _Stopped:
            kept.problems += self.reading.problems[-1:]
            raise
        finally:
            self.reading = kept

    def _key(self, event: yaml.Event, path: Path) -> str | None:
        """The key, or None after telling why it cannot be used."""
        position = _position(event)
        if not isinstance(event, yaml.ScalarEvent):
            if isinstance(event, yaml.AliasEvent):
                self.refuse(
                    path, position, "an alias cannot be a key", "write the key out; a key that begins with * needs quotes", keep=True
                )
            return None
        if event.anchor is not None or event.tag is not None:
            self.refuse(path, position, "a key has an anchor or a tag", "remove it; a key that begins with & or ! needs quotes", keep=True)
            return None
        if len(event.value) > KEY_CHARS_MAX:
            self.refuse(path, position, f"a key has more than {KEY_CHARS_MAX} characters", "shorten it", keep=True)
            return None
        told = len(self.reading.problems)
        key = self._scalar(event, path, keep=True)
        if isinstance(key, str):
            return key
        if len(self.reading.problems) == told:
            self.refuse(path, position, f"the key {quoted(event.value)} is no text", "put it in quotes", keep=True)
        return None

    def _scalar(self, event: yaml.ScalarEvent, path: Path, *, keep: bool = False) -> Scalar:
        text: str = event.value
        position = _position(event)
        if event.style is None:
            if text in _WORDS:
                return _WORDS[text]
            if text.lower() in _TRUTHS:
                what = "true" if text.lower() in {"y", "yes", "on"} else "false"
                suggestion = f'put it in quotes if it is text: "{text}"' + ("" if keep else f"; write {what} if it is a truth value")
                self.refuse(path, position, f"{text} without quotes is {what} to some programs and text to others", suggestion, keep=keep)
                return None
            if len(text) <= NUMBER_CHARS_MAX:
                number = _NUMBER.fullmatch(text)
                if number is not None:
                    return float(text) if number[1] or number[2] else int(text)
                if _DISPUTED_NUMBER.fullmatch(text):
                    self.refuse(
                        path, position, f"{text} without quotes is one number to some programs, and another or text to others",
                        f'put it in quotes if it is text: "{text}"; write a time as 90s or 1m30s, a number as 0.5 or 10',
                        keep=keep,
                    )  # fmt: skip
                    return None
        return self._text(text, path, position, keep=keep)

    def _text(self, text: str, path: Path, position: Position, *, keep: bool) -> str | None:
        if _PAIRED.search(text):
            # JSON writes a character above U+FFFF as two escapes, which YAML reads as two characters.
            text = _PAIRED.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
        unseen = _UNSEEN.search(text)
        if unseen is not None:
            self.refuse(path, position, f"the text holds a character that does not show (U+{ord(unseen[0]):04X})", "remove it", keep=keep)
            return None
        return text

    def refuse(self, path: Path, position: Position, message: str, suggestion: str, *, keep: bool = False) -> None:
        """Tell a problem. What stands at `path` is not looked at again, unless `keep`."""
        if not keep:
            self.reading.unread.add(path)
        self.tell(path, position, message, suggestion)
        if len(self.reading.problems) >= PROBLEMS_MAX:
            raise _Stopped

    def stop(self, path: Path, position: Position, message: str, suggestion: str) -> NoReturn:
        """Tell a problem after which nothing can be read. Raises: _Stopped, always."""
        self.tell(path, position, message, suggestion)
        self.reading.unread.add(())
        raise _Stopped

    def tell(self, path: Path, position: Position, message: str, suggestion: str) -> None:
        self.reading.problems.append(Problem(position.line, position.column, path_text(path), message, suggestion))

    def syntax(self, error: yaml.YAMLError, text: str) -> None:
        """Tell what PyYAML could not read."""
        self.reading.unread.add(())
        if isinstance(error, yaml.MarkedYAMLError):
            mark = error.problem_mark or error.context_mark
            position = Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)
            what = ", ".join(part for part in (error.context, error.problem) if part)
            suggestion = next(
                (hint for sign, hint in _HINTS if sign in what), "check quotes, brackets and indentation here and just before"
            )
            self.tell((), position, f"this is no YAML: {what}", suggestion)
            return
        at = getattr(error, "position", 0)
        before = text[: at if isinstance(at, int) else 0]
        position = Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        self.tell((), position, "a character is here that YAML does not allow", "remove it; it may not show in an editor")


def _position(event: yaml.Event) -> Position:
    mark = event.start_mark
    assert mark is not None  # noqa: S101  # what is parsed has one
    return Position(mark.line + 1, mark.column + 1)
