"""Words and numbers of the report: times, quantities, and what people and programs wrote. Pure."""

from verdigris.audit.report import Text, Tone
from verdigris.audit.story import Line
from verdigris.ledger.entry_kinds import Value
from verdigris.times import rfc3339

ERASED = "erased"
NOT_TOLD = "not told"
EVIDENCED, CONTRADICTED = "evidenced", "contradicted"
TEXT_MAX = 4_000
"""Longer text is cut in the report, and says so; the record has all of it."""


def moment(unix_nano: int) -> str:
    """A time as people read it, in UTC."""
    return f"{rfc3339(unix_nano)[:19].replace('T', ' ')} UTC"


def took(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004  # an hour
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:  # noqa: PLR2004  # a day
        return f"{hours} h {minutes:02} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def quantity(value: float | None, unit: str) -> str:
    """A measure with its unit: "ms", "share" (in per cent) or a plain number."""
    if value is None:
        return "–"
    if unit == "ms":
        return f"{value / 1000:.3g} s" if abs(value) >= 1000 else f"{value:.3g} ms"  # noqa: PLR2004  # a second
    if unit == "share":
        return f"{100 * value:.2g} %" if abs(value) < 0.1 else f"{100 * value:.3g} %"  # noqa: PLR2004  # small shares have fewer digits
    return f"{value:.4g}"


def told(text: str | None, otherwise: str = ERASED) -> Text:
    """What somebody wrote; or that it is not there."""
    if text is None:
        return Text(otherwise, Tone.UNSURE)
    if len(text) > TEXT_MAX:
        return Text(f"{text[:TEXT_MAX]} … (cut here; {len(text):,} characters in the record)")
    return Text(text)


def who(line: Line) -> Text:
    """Whose entry it is."""
    if line.actor is None:
        return Text(ERASED, Tone.UNSURE)
    return Text(line.actor if line.person else f"guard {line.actor}")


def share_of(value: Value) -> Text:
    """A weight that was read back, or that could not be."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return Text(f"{value:g} %", Tone.NUMBER) if known else Text("could not be read", Tone.UNSURE)


_TONES = {
    "PASS": Tone.GOOD, "FAIL": Tone.BAD, "BLIND": Tone.BAD, "NOT_ENOUGH_DATA": Tone.UNSURE, "CANNOT_TELL": Tone.UNSURE,
    "critical": Tone.BAD, "major": Tone.UNSURE, EVIDENCED: Tone.GOOD, CONTRADICTED: Tone.BAD,
}  # fmt: skip
VERDICTS = {
    "PASS": "the candidate is no worse than the baseline, within the tolerances of the plan",
    "FAIL": "the candidate is worse than the baseline",
    "NOT_ENOUGH_DATA": "too little was seen to say that the candidate is no worse",
    "BLIND": "the candidate cannot be seen well enough to be judged",
}


def word(word: str) -> Text:
    """A verdict or a result as a word with a tone."""
    return Text(word.replace("_", " "), _TONES.get(word, Tone.PLAIN))
