"""What a single value of a plan may be: how it is read, its bounds, its JSON Schema, and what is said when it is something else.

A kind stands in `Annotated[float, Duration(...)]`; pydantic asks it for the value. All that is read comes out in one
spelling (seconds, percent, shares, UTC), so that equal plans have equal digests.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from verdigris.plan.problems import quoted

TEXT_CHARS_MAX = 4000
INTEGER_MAX = 2**53 - 1
"""Canonical JSON holds no larger ones exactly."""

_DURATION_UNITS_S: Mapping[str, Decimal] = {
    "d": Decimal(86400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001"),
}  # fmt: skip
_DURATION = r"(?:[0-9]{1,9}(?:\.[0-9]{1,6})?(?:d|h|ms|m|s))+"
_DURATION_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(d|h|ms|m|s)")
_PERCENT = r"[0-9]{1,9}(?:\.[0-9]{1,9})? ?%"
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[-+][0-9]{2}:[0-9]{2})"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?"
_ADDRESS = rf"(?:{_HOST}|\[[0-9A-Fa-f:.]{{2,45}}\]):[0-9]{{1,5}}"
_UNIX_PATH_CHARS_MAX = 107
"""What a Unix socket address holds."""


def wrong(message: str, suggestion: str) -> PydanticCustomError:
    """The error for one value; both texts reach the reader as they are."""
    return PydanticCustomError("plan", "{message}", {"message": message, "suggestion": suggestion})


def told(value: object) -> str:
    """A value in a few words."""
    match value:
        case None:
            return "nothing is here"
        case bool():
            return f"{str(value).lower()} is here"
        case int() | float():
            return f"{value:.12g} is here"
        case str():
            return f"{quoted(value)} is here"
        case list():
            return "a list is here"
        case _:
            return "a mapping is here"


class Kind(Protocol):
    """One kind of value."""

    @property
    def wanted(self) -> str:
        """What it is, with its bounds, as in "wanted is …"."""

    @property
    def example(self) -> str:
        """As one may write it."""

    def read(self, value: object) -> object:
        """The value in its one spelling. Raises: PydanticCustomError."""

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""


class Reads:
    """Joins a kind to pydantic."""

    __slots__ = ()

    def __get_pydantic_core_schema__(self: Kind, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads it."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self: Kind, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """How JSON Schema tells it."""
        return self.schema()

    def refuse(self: Kind, value: object) -> PydanticCustomError:
        """The error for a value of another kind or out of bounds."""
        suggestion = f"for example: {self.example}"
        if isinstance(value, int | float) and isinstance(self, Text):
            suggestion = "put it in quotes if it is text"
        return wrong(f"{told(value)}; wanted is {self.wanted}", suggestion)


@dataclass(frozen=True, slots=True)
class Bounds:
    """From `low` to `high`; `…_open` leaves the end itself out."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def admit(self, number: float) -> bool:
        """Whether the number is in. Infinite and not-a-number never are: the ends are finite."""
        above = number > self.low if self.low_open else number >= self.low
        below = number < self.high if self.high_open else number <= self.high
        return above and below

    def text(self, write: Callable[[float], str]) -> str:
        """The bounds in words."""
        low = f"more than {write(self.low)}" if self.low_open else f"at least {write(self.low)}"
        high = f"less than {write(self.high)}" if self.high_open else f"at most {write(self.high)}"
        return f"{low} and {high}"

    def schema(self, factor: float = 1) -> dict[str, Any]:
        """The bounds of a JSON number."""
        low, high = self.low * factor, self.high * factor
        return {
            "exclusiveMinimum" if self.low_open else "minimum": low,
            "exclusiveMaximum" if self.high_open else "maximum": high,
        }


def _number(value: object) -> float | None:
    """A JSON number; a truth value is none."""
    return None if isinstance(value, bool) or not isinstance(value, int | float) else value


def _plain(number: float) -> str:
    return f"{number:.12g}"


@dataclass(frozen=True, slots=True)
class Text(Reads):
    """A text that is not blank, without the space around it; with `pattern` of certain characters only."""

    example: str
    chars_max: int = TEXT_CHARS_MAX
    pattern: str | None = None
    called: str = "text"

    @property
    def wanted(self) -> str:
        """What it is."""
        return f"{self.called}, at most {self.chars_max} characters"

    def read(self, value: object) -> str:
        """The text. Raises: PydanticCustomError."""
        if not isinstance(value, str):
            raise self.refuse(value)
        text = value.strip()
        if "${" in text:
            message = "${…} is here; a plan says the same wherever it is read, so only secrets may come from the environment"
            raise wrong(message, "write the value out; secrets are settings whose names end in _token, _password or _secret")
        if not text or len(text) > self.chars_max or (self.pattern is not None and not re.fullmatch(self.pattern, text)):
            raise self.refuse(value)
        return text

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        pattern = rf"^\s*{self.pattern}\s*$" if self.pattern else r"\S"
        return {"type": "string", "minLength": 1, "pattern": pattern}


@dataclass(frozen=True, slots=True)
class Number(Reads):
    """A number."""

    bounds: Bounds
    example: str
    whole: bool = False

    @property
    def wanted(self) -> str:
        """What it is."""
        if self.bounds.low == self.bounds.high:
            return f"the number {_plain(self.bounds.low)}"
        return f"a {'whole ' if self.whole else ''}number, {self.bounds.text(_plain)}"

    def read(self, value: object) -> float:
        """The number. Raises: PydanticCustomError."""
        number = _number(value)
        if number is None or not self.bounds.admit(number) or (self.whole and number != int(number)):
            raise self.refuse(value)
        return int(number) if self.whole else float(number)

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {"type": "integer" if self.whole else "number", **self.bounds.schema()}


@dataclass(frozen=True, slots=True)
class Percent(Reads):
    """A percentage of requests, in percent: `5%` or 5."""

    bounds: Bounds
    example: str

    @property
    def wanted(self) -> str:
        """What it is."""
        return f"a percentage, {self.bounds.text(lambda n: f'{n:.12g}%')}"

    def read(self, value: object) -> float:
        """In percent. Raises: PydanticCustomError."""
        number = _number(value)
        if isinstance(value, str) and re.fullmatch(_PERCENT, value.strip()):
            number = float(Decimal(value.strip().removesuffix("%").strip()))
        if number is None or not self.bounds.admit(number):
            raise self.refuse(value)
        return float(number) + 0.0

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {"anyOf": [{"type": "number", **self.bounds.schema()}, {"type": "string", "pattern": rf"^\s*{_PERCENT}\s*$"}]}


@dataclass(frozen=True, slots=True)
class Share(Reads):
    """A share of one: `0.05` or `5%`."""

    bounds: Bounds
    example: str

    @property
    def wanted(self) -> str:
        """What it is."""
        return f"a share as 0.05 or 5%, {self.bounds.text(_plain)}"

    def read(self, value: object) -> float:
        """The share. Raises: PydanticCustomError."""
        number = _number(value)
        if isinstance(value, str) and re.fullmatch(_PERCENT, value.strip()):
            number = float(Decimal(value.strip().removesuffix("%").strip()) / 100)
        if number is None or not self.bounds.admit(number):
            raise self.refuse(value)
        return float(number) + 0.0

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {"anyOf": [{"type": "number", **self.bounds.schema()}, {"type": "string", "pattern": rf"^\s*{_PERCENT}\s*$"}]}


@dataclass(frozen=True, slots=True)
class Duration(Reads):
    """A time span in seconds: `30s`, `5m`, `1h30m`, `250ms`, `2d`, or a number of seconds."""

    bounds: Bounds
    example: str
    whole: bool = False

    @property
    def wanted(self) -> str:
        """What it is."""
        return f"a duration{' of whole seconds' if self.whole else ''}, {self.bounds.text(duration_text)}"

    def read(self, value: object) -> float:
        """In seconds. Raises: PydanticCustomError."""
        number = _number(value)
        if isinstance(value, str) and len(value) <= 60 and re.fullmatch(_DURATION, value.strip()):  # noqa: PLR2004  # five parts and space
            parts = _DURATION_PART.findall(value.strip())
            units = [unit for _, unit in parts]
            # Each unit once and the greater first: 5m1h is more likely a mistake than 65 minutes.
            if units == sorted(set(units), key=list(_DURATION_UNITS_S).index):
                number = float(sum(Decimal(count) * _DURATION_UNITS_S[unit] for count, unit in parts))
        if number is None or not self.bounds.admit(number) or (self.whole and number != int(number)):
            raise self.refuse(value)
        return int(number) if self.whole else float(number) + 0.0

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        number = {"type": "integer" if self.whole else "number", **self.bounds.schema()}
        return {"anyOf": [number, {"type": "string", "pattern": rf"^\s*{_DURATION}\s*$"}]}


def duration_text(seconds: float) -> str:
    """Seconds as `1h30m`; the text reads back to the same number."""
    rest, text = Decimal(repr(seconds)), ""
    for unit, size in list(_DURATION_UNITS_S.items())[:3]:
        count, rest = divmod(rest, size)
        text += f"{int(count)}{unit}" if count else ""
    return text + (f"{rest.normalize():f}s" if rest or not text else "")


@dataclass(frozen=True, slots=True)
class Moment(Reads):
    """A point in time, RFC 3339 with its offset from UTC; comes out in UTC. None only where `optional`."""

    example: str
    optional: bool = False

    @property
    def wanted(self) -> str:
        """What it is."""
        return "a time as RFC 3339 has it, with its offset from UTC (Z or +02:00), from 1970 to 9998"

    def read(self, value: object) -> str | None:
        """In UTC. Raises: PydanticCustomError."""
        if value is None and self.optional:
            return None
        if not isinstance(value, str) or not re.fullmatch(_MOMENT, value.strip()):
            raise self.refuse(value)
        try:
            moment = datetime.fromisoformat(value.strip().upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.refuse(value) from None
        if not 1970 <= moment.year <= 9998:  # noqa: PLR2004  # what every program can hold, whatever the offset
            raise self.refuse(value)
        text = moment.replace(tzinfo=None).isoformat()
        return (text.rstrip("0").rstrip(".") if "." in text else text) + "Z"

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        text = {"type": "string", "pattern": rf"^\s*{_MOMENT}\s*$"}
        return {"anyOf": [text, {"type": "null"}]} if self.optional else text


def unix_s(moment: str) -> float:
    """Seconds since 1970 of what `Moment` reads."""
    return datetime.fromisoformat(moment).timestamp()


@dataclass(frozen=True, slots=True)
class Address(Reads):
    """`host:port`; with `unix` also the absolute path of a Unix socket; port 0 only where one is listened on."""

    example: str
    unix: bool = False
    listen: bool = False

    @property
    def wanted(self) -> str:
        """What it is."""
        return "host:port" + (" or the path of a Unix socket" if self.unix else "") + (", port 0 for any" if self.listen else "")

    def read(self, value: object) -> str:
        """The address. Raises: PydanticCustomError."""
        if not isinstance(value, str):
            raise self.refuse(value)
        text = value.strip()
        if self.unix and text.startswith("/") and len(text) <= _UNIX_PATH_CHARS_MAX and "${" not in text:
            return text
        port = text.rpartition(":")[2]
        if not re.fullmatch(_ADDRESS, text) or not (0 if self.listen else 1) <= int(port) <= 65535 or str(int(port)) != port:  # noqa: PLR2004
            raise self.refuse(value)
        return text

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {"type": "string", "pattern": rf"^\s*(?:{_ADDRESS}{'|/.+' if self.unix else ''})\s*$"}


@dataclass(frozen=True, slots=True)
class Choice(Reads):
    """One of a few words."""

    words: Sequence[str]

    @property
    def wanted(self) -> str:
        """What it is."""
        return " or ".join(self.words)

    @property
    def example(self) -> str:
        """The first of them."""
        return self.words[0]

    def read(self, value: object) -> str:
        """The word. Raises: PydanticCustomError."""
        if value not in self.words or not isinstance(value, str):
            raise self.refuse(value)
        return value

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Truth(Reads):
    """true or false."""

    example: str = "true"
    wanted: str = "true or false"

    def read(self, value: object) -> bool:
        """The truth value. Raises: PydanticCustomError."""
        if not isinstance(value, bool):
            raise self.refuse(value)
        return value

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {"type": "boolean"}
