"""Many rollouts, or the events of one, as plain lines. Pure; names become visible characters first."""

from collections.abc import Sequence

from rich.text import Text

from verdigris.cli.watch import ASCII, percent_text
from verdigris.comparison.terminal import moment, shorten, visible
from verdigris.rollout.status import RolloutEvent, RolloutStatus

ID_CHARS_MAX = 36
NAME_CHARS_MAX = 40


def listing(statuses: Sequence[RolloutStatus], *, plain_ascii: bool = False) -> list[Text]:
    """A table, one rollout per line."""
    if not statuses:
        return [Text("there is no rollout yet; start one: verdigris rollout start PLAN")]
    rows = [("id", "started", "phase", "weight", "verdict", "name")]
    rows += [
        (
            one.id, moment(one.started_unix_s), one.phase.value if not one.cannot_resume else "cannot resume",
            "unknown" if one.observed_percent is None else percent_text(one.observed_percent),
            "" if one.verdict is None else one.verdict.replace("_", " "), shorten(one.name, NAME_CHARS_MAX),
        )
        for one in statuses
    ]  # fmt: skip
    safe = [[_safe(shorten(cell, NAME_CHARS_MAX), plain_ascii=plain_ascii) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in safe) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in safe]
    return [Text(line, style="dim" if number == 0 else "") for number, line in enumerate(lines)]


def journal(events: Sequence[RolloutEvent], *, plain_ascii: bool = False) -> list[Text]:
    """One event per line: number, time, kind, what, who."""
    if not events:
        return [Text("no events")]
    return [
        Text.assemble(
            Text(f"{event.sequence:>5}  {moment(event.unix_s)}  ", style="dim"),
            Text(_safe(shorten(event.kind, NAME_CHARS_MAX), plain_ascii=plain_ascii).ljust(18), style="bold"),
            "  ",
            _safe(event.text, plain_ascii=plain_ascii),
            Text(_safe(f"  ({event.actor})" if event.actor else "", plain_ascii=plain_ascii), style="dim"),
        )
        for event in events
    ]


def _safe(text: str, *, plain_ascii: bool) -> str:
    safe = visible(text)
    return safe.translate(ASCII).encode("ascii", "replace").decode("ascii") if plain_ascii else safe
