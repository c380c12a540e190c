"""A rollout on a terminal while it runs: one picture that says where it stands, and for logs one line per change.

Pure: a status and a time in, text out. Names come from telemetry, so every text is made of visible characters before it is
drawn and is never read as markup. Says everything without colour.
"""

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.text import Text

from verdigris.comparison.terminal import SEVERITY_STYLES, VERDICT_STYLES, leak_text, moment, plural, shorten, visible
from verdigris.rollout.status import EvidenceStatus, FindingStatus, MissingStatus, RoleStatus, RolloutEvent, RolloutStatus
from verdigris.rollout.transitions import TERMINAL, Phase

WIDTH_MIN = 40
WIDTH_MAX = 120
WIDE = 100
"""From so many columns on there is room for more than the needful."""

EVIDENCE_LISTED = 8
FINDINGS_LISTED = 6
LEAKS_LISTED = 3
MISSING_LISTED = 4
NOTES_LISTED = 4
EVENTS_LISTED = 5
STEPS_LISTED = 40
ALL = 100.0
"""The weight of the switch, in percent."""

NAME_CHARS = 80
SENTENCE_CHARS = 400
ID_CHARS = 20
"""A guard's ids are as long; a beginning of a longer one is enough for every command."""

LABEL = 11
"""Columns of the labels on the left."""

PHASE_STYLES = {
    Phase.COMMITTED: "bold white on dark_green",
    Phase.ROLLED_BACK: "bold white on dark_red",
    Phase.RETURNING: "bold white on dark_red",
    Phase.FROZEN: "bold white on dark_red",
    Phase.HOLDING: "bold black on dark_goldenrod",
    Phase.WAITING_FOR_APPROVAL: "bold black on dark_goldenrod",
}
ASCII = str.maketrans({
    "█": "#", "░": ".", "●": "x", "◉": ">", "○": "-", "━": "=", "─": "-", "·": "|", "…": "~", "–": "-", "→": ">", "≈": "~", "×": "x",
})  # fmt: skip
"""One character for each, so that columns stay where they are."""


@dataclass(slots=True)
class _Section:
    """Lines that belong together, and how many of them must stay when the terminal is too low."""

    lines: list[Text]
    least: int = 0


@dataclass(slots=True)
class _Sheet:
    """Sections from top to bottom, each line at most `width` columns wide."""

    width: int
    plain_ascii: bool
    sections: list[_Section] = field(default_factory=list)

    def text(self, text: str, style: str = "", limit: int = SENTENCE_CHARS) -> Text:
        safe = shorten(visible(text), limit)
        if self.plain_ascii:
            safe = safe.translate(ASCII).encode("ascii", "replace").decode("ascii")
        return Text(safe, style=style)

    def section(self, least: int = 0) -> None:
        self.sections.append(_Section([], least))

    def line(self, *parts: Text | str) -> None:
        """One line; what does not fit is cut."""
        whole = Text.assemble(*(part if isinstance(part, Text) else self.text(part) for part in parts))
        whole.truncate(self.width)
        self.sections[-1].lines.append(whole)

    def hang(self, first: Text, body: Text) -> None:
        """A text behind a label, every further line under its start."""
        room = max(10, self.width - first.cell_len)
        for number, line in enumerate(_wrapped(body, room) or [Text()]):
            line.rstrip()
            self.line(first if number == 0 else " " * first.cell_len, line)

    def label(self, text: str) -> Text:
        return self.text(text.ljust(LABEL), "dim")

    def bar(self, share: float, columns: int, style: str) -> Text:
        share = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
        filled = round(share * columns)
        if share > 0:
            filled = max(1, filled)  # a little is not nothing
        return Text.assemble(self.text("█" * filled, style), self.text("░" * (columns - filled), "dim"))

    def lines(self, height: int | None) -> list[Text]:
        """All lines, with an empty one between sections; where they are too many, the last sections shrink first."""
        kept = [list(section.lines) for section in self.sections]
        while height is not None and _height(kept) > height:
            shrinkable = [at for at, section in enumerate(self.sections) if len(kept[at]) > section.least]
            if not shrinkable:
                break
            at = shrinkable[-1]
            left = len(kept[at]) - 1
            kept[at] = kept[at][:left] if left > 1 or self.sections[at].least else []
        shown: list[Text] = []
        for lines in filter(None, kept):
            shown += [Text(), *lines] if shown else lines
        return shown


_WRAPPING = Console(file=io.StringIO(), width=WIDTH_MAX, color_system=None)
"""Rich asks for a console to break lines; nothing is printed on it."""


def _wrapped(text: Text, columns: int) -> list[Text]:
    return list(text.wrap(_WRAPPING, columns, overflow="fold"))


def _height(sections: Iterable[Sequence[Text]]) -> int:
    shown = [len(lines) for lines in sections if lines]
    return sum(shown) + max(0, len(shown) - 1)


def render(
    status: RolloutStatus,
    events: Sequence[RolloutEvent],
    now_unix_s: float,
    width: int,
    *,
    height: int | None = None,
    plain_ascii: bool = False,
    trouble: str = "",
) -> RenderableType:
    """The picture of a rollout, as `picture` describes it, to print or to show live."""
    return Group(*picture(status, events, now_unix_s, width, height=height, plain_ascii=plain_ascii, trouble=trouble))


def picture(
    status: RolloutStatus,
    events: Sequence[RolloutEvent],
    now_unix_s: float,
    width: int,
    *,
    height: int | None = None,
    plain_ascii: bool = False,
    trouble: str = "",
) -> list[Text]:
    """The picture of a rollout as lines to print, at most `width` columns wide and, as far as it can be, `height` of them.

    `events`: its journal or the end of it, ascending. `trouble`: why the guard is not heard at present; the picture is old then.
    """
    sheet = _Sheet(max(WIDTH_MIN, min(width, WIDTH_MAX)), plain_ascii)
    _title(sheet, status, now_unix_s, trouble)
    _weight(sheet, status)
    _verdict(sheet, status, now_unix_s)
    _roles(sheet, status)
    _findings(sheet, status.findings)
    _evidence(sheet, status.evidence)
    _missing(sheet, status.missing)
    _telemetry(sheet, status)
    _events(sheet, events)
    return sheet.lines(height)


def _title(sheet: _Sheet, status: RolloutStatus, now_unix_s: float, trouble: str) -> None:
    sheet.section(least=20)
    badge = sheet.text(f" {status.phase.value.upper()} ", PHASE_STYLES.get(status.phase, "bold reverse"))
    since = sheet.text(f" for {duration(now_unix_s - status.phase_since_unix_s)}" if status.phase not in TERMINAL else "")
    room = sheet.width - badge.cell_len - since.cell_len - 2
    name = sheet.text(status.name, "bold", max(10, room))
    name.truncate(max(10, room), pad=True)
    sheet.line(name, "  ", badge, since)
    end = now_unix_s if status.ended_unix_s is None else status.ended_unix_s
    facts = [f"rollout {status.id[:ID_CHARS]}", f"plan {status.plan_digest[:8]}", f"guard {shorten(status.guard, 24)}"]
    facts.append(f"{'runs for' if status.ended_unix_s is None else 'took'} {duration(end - status.started_unix_s)}")
    if sheet.width >= WIDE:
        facts.append(f"started {moment(status.started_unix_s)}")
    sheet.hang(Text(), sheet.text(" · ".join(facts), "dim"))
    if trouble:
        sheet.hang(sheet.text("NOT CONNECTED  ", "bold"), sheet.text(f"{trouble}. This picture is old; trying again."))
    if status.cannot_resume:
        sheet.hang(sheet.text("CANNOT RESUME  ", "bold"), sheet.text(status.cannot_resume))


def _weight(sheet: _Sheet, status: RolloutStatus) -> None:
    sheet.section(least=20)
    _track(sheet, status)
    columns = min(50, sheet.width - 45)
    places = (("weight", status.intended_percent, "intended"), ("", status.observed_percent, "observed at the proxy"))
    for label, percent, what in places:
        if percent is None:
            sheet.line(sheet.label(label), sheet.text("observed: the proxy does not tell", "bold"))
        else:
            number = sheet.text(f" {percent_text(percent):>6} ", "bold")
            sheet.line(sheet.label(label), sheet.bar(percent / 100, columns, "cyan"), number, what)
    if status.phase in TERMINAL or status.cannot_resume:
        return
    sheet.hang(sheet.label("lease"), sheet.text(f"{duration(status.lease_s)}, then the proxy takes its default by itself", "dim"))


def _track(sheet: _Sheet, status: RolloutStatus) -> None:
    stops = [
        ("all" if step.weight_percent >= ALL else percent_text(step.weight_percent), step.state) for step in status.steps[:STEPS_LISTED]
    ]
    if not any(step.weight_percent >= ALL for step in status.steps):
        last = {Phase.BAKING: "now", Phase.COMMITTING: "now", Phase.COMMITTED: "done"}.get(status.phase, "to come")
        stops.append(("all", last))
    here = {Phase.ROLLED_BACK: "ended here", Phase.RETURNING: "going back from here"}.get(status.phase, "now")
    whole = Text()
    lines: list[Text] = []
    for number, (name, state) in enumerate(stops):
        mark, style = {"done": ("●", "green"), "now": ("◉", "bold")}.get(state, ("○", "dim"))
        piece = sheet.text(f"{mark} {name}{f' {here}' if state == 'now' else ''}", style)
        link = sheet.text(" ━━ " if state != "to come" else " ── ", style) if number else Text()
        if whole.cell_len + link.cell_len + piece.cell_len > sheet.width - LABEL:
            lines.append(whole)
            whole, link = Text(), Text()
        whole = Text.assemble(whole, link, piece)
    for number, line in enumerate([*lines, whole]):
        sheet.line(sheet.label("" if number else "steps"), line)


def _verdict(sheet: _Sheet, status: RolloutStatus, now_unix_s: float) -> None:
    sheet.section(least=20)
    if status.verdict is None:
        # Before the first verdict the summary says why the phase is what it is; so may what it waits for.
        if not status.summary or status.summary not in status.waiting_for:
            sheet.hang(sheet.label("because" if status.summary else "verdict"), sheet.text(status.summary or "none yet"))
    else:
        badge = sheet.text(f" {status.verdict.replace('_', ' ')} ", VERDICT_STYLES.get(status.verdict, "bold reverse"))
        sheet.hang(sheet.label("verdict"), Text.assemble(badge, "  ", sheet.text(status.summary)))
    if status.waiting_for:
        left = _until(status.waiting_until_unix_s, now_unix_s)
        sheet.hang(sheet.label("waits for"), sheet.text(f"{status.waiting_for.rstrip('.')}{left}"))


def _until(until_unix_s: float | None, now_unix_s: float) -> str:
    if until_unix_s is None:
        return ""
    left_s = until_unix_s - now_unix_s
    return f", {duration(left_s)} left" if left_s > 0 else ", due now"


def _roles(sheet: _Sheet, status: RolloutStatus) -> None:
    sheet.section(least=3)
    sheet.line(sheet.text(f"{'requests':<{LABEL}}{'slot':<14}{'proxied':>11}{'failed':>18}{'traced':>20}", "dim"))
    for name, role in (("baseline", status.baseline), ("candidate", status.candidate)):
        _role(sheet, name, role)


def _role(sheet: _Sheet, name: str, role: RoleStatus) -> None:
    failed, traced = share_text(role.failed, role.proxied), share_text(role.traced, role.proxied)
    slot = sheet.text(shorten(visible(role.slot), 13))
    slot.truncate(14, pad=True)
    numbers = f"{role.proxied:>11,}{role.failed:>10,}{failed:>8}{role.traced:>12,}{traced:>8}"
    sheet.line(sheet.text(name.ljust(LABEL)), slot, sheet.text(numbers))


def _findings(sheet: _Sheet, findings: Sequence[FindingStatus]) -> None:
    if not findings:
        return
    sheet.section(least=2)
    sheet.line(sheet.text(plural(len(findings), "finding"), "dim"))
    for finding in findings[:FINDINGS_LISTED]:
        severity = sheet.text(finding.severity.upper(), SEVERITY_STYLES.get(finding.severity, "bold"), 12)
        where = sheet.text(f" {finding.signal} · {shorten(finding.service, 40)}: ", "bold")
        sheet.hang(Text("  "), Text.assemble(severity, where, sheet.text(finding.sentence)))
        for leak in finding.leaks[:LEAKS_LISTED]:
            sheet.hang(Text("    "), sheet.text(leak_text(leak), "dim"))
    if len(findings) > FINDINGS_LISTED:
        sheet.line(f"  and {len(findings) - FINDINGS_LISTED} more: verdigris rollout status --json")


def _evidence(sheet: _Sheet, evidence: Sequence[EvidenceStatus]) -> None:
    if not evidence:
        return
    sheet.section(least=2)
    sheet.line(sheet.text("evidence against the candidate, as a share of what makes a finding", "dim"))
    some = sorted((one for one in evidence if _share(one) > 0), key=lambda one: (-_share(one), one.operation, one.signal))
    strongest = some[:EVIDENCE_LISTED]
    columns = 24 if sheet.width >= WIDE else 16
    signals = max((len(shorten(visible(one.signal), 18)) for one in strongest), default=0)
    for one in strongest:
        share = _share(one)
        reached = "found" if share >= 1 else percent_text(math.floor(100 * share)) if share >= 0.01 else "<1 %"  # noqa: PLR2004  # a percent
        requests = f"  {one.candidate_requests:>9,} requests" if sheet.width >= WIDE else ""
        signal = sheet.text(shorten(visible(one.signal), 18).ljust(signals), "bold" if share >= 1 else "")
        room = sheet.width - columns - signals - len(requests) - 13
        operation = sheet.text(one.operation, limit=room)
        operation.truncate(room, pad=bool(requests))
        bar = sheet.bar(share, columns, "red" if share >= 1 else "yellow")
        sheet.line("  ", bar, f" {reached:>6}  ", signal, "  ", operation, requests)
    told = [f"{len(some) - len(strongest):,} weaker"] if len(some) > len(strongest) else []
    told += [f"{plural(len(evidence) - len(some), 'question')} without any"] if len(evidence) > len(some) else []
    if told:
        sheet.line(sheet.text(f"  {'and ' if strongest else ''}{', '.join(told)}", "dim"))


def _share(one: EvidenceStatus) -> float:
    if math.isnan(one.log_e) or not one.threshold > 0:
        return 0.0
    return max(0.0, one.log_e / one.threshold)


def _missing(sheet: _Sheet, missing: Sequence[MissingStatus]) -> None:
    if not missing:
        return
    sheet.section(least=2)
    sheet.line(sheet.text("what a PASS still lacks, in candidate requests", "dim"))
    hardest = sorted(missing, key=lambda one: (-_wait(one), one.have - one.need, one.operation, one.signal))
    rows = [
        (f"{one.have:,} of {one.need:,}", "no requests come" if one.remaining_s is None else f"{duration(one.remaining_s)} more", one)
        for one in hardest[:MISSING_LISTED]
    ]
    counts, waits = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    for count, wait, one in rows:
        room = sheet.width - counts - waits - 6
        name = sheet.text(f"{one.signal} · {one.operation}", limit=room)
        sheet.line("  ", sheet.text(count.rjust(counts)), "  ", sheet.text(wait.rjust(waits)), "  ", name)
    if len(hardest) > MISSING_LISTED:
        sheet.line(sheet.text(f"  and {len(hardest) - MISSING_LISTED:,} more that need less", "dim"))


def _wait(one: MissingStatus) -> float:
    return math.inf if one.remaining_s is None or math.isnan(one.remaining_s) else one.remaining_s


def _telemetry(sheet: _Sheet, status: RolloutStatus) -> None:
    sheet.section(least=1)
    facts = [plural(status.windows, "window"), plural(status.late_spans, "late span")]
    if status.clock_skew_s is not None:
        facts.append(f"clocks differ by {_skew(status.clock_skew_s)}")
    if status.proxy_clock_offset_s is not None:
        differs = "" if status.clock_skew_s is not None else " differs"
        facts.append(f"the proxy's clock{differs} by {_skew(status.proxy_clock_offset_s)}")
    sheet.hang(sheet.label("telemetry"), sheet.text(" · ".join(facts)))
    for number, note in enumerate(status.notes[:NOTES_LISTED]):
        sheet.hang(sheet.label("" if number else "notes"), sheet.text(note))
    if len(status.notes) > NOTES_LISTED:
        sheet.line(sheet.label(""), sheet.text(f"and {len(status.notes) - NOTES_LISTED} more", "dim"))


def _skew(seconds: float) -> str:
    return f"{abs(seconds) * 1000:,.0f} ms" if abs(seconds) < 1 else f"{abs(seconds):,.1f} s"


def _events(sheet: _Sheet, events: Sequence[RolloutEvent]) -> None:
    if not events:
        return
    sheet.section()
    sheet.line(sheet.text("last events", "dim"))
    for event in sorted(events, key=lambda one: one.sequence)[-EVENTS_LISTED:]:
        kind = sheet.text(shorten(visible(event.kind), 20).ljust(18), "bold")
        said = f"{event.text} ({event.actor})" if event.actor else event.text
        sheet.line("  ", sheet.text(clock(event.unix_s), "dim"), "  ", kind, sheet.text(said, limit=max(10, sheet.width - 30)))


def changes(before: RolloutStatus | None, after: RolloutStatus) -> list[str]:
    """What a log should say about the step from one status to the next: a line each, without the time; often none."""
    told: list[str] = []
    if before is None:
        told.append(f"rollout {after.id} of {after.name}, plan {after.plan_digest[:12]}")
    if before is None or before.phase is not after.phase:
        told.append(f"phase: {after.phase.value}" + (f", waits for {after.waiting_for}" if after.waiting_for else ""))
    seen = None if before is None else (before.intended_percent, before.observed_percent)
    if seen != (after.intended_percent, after.observed_percent):
        observed = "unknown" if after.observed_percent is None else percent_text(after.observed_percent)
        told.append(f"weight: {percent_text(after.intended_percent)} intended, {observed} observed")
    if after.verdict is not None and (before is None or before.verdict is not after.verdict):
        told.append(f"verdict: {after.verdict.value}: {after.summary}")
    if after.cannot_resume and (before is None or before.cannot_resume != after.cannot_resume):
        told.append(f"cannot be resumed: {after.cannot_resume}")
    known = set() if before is None else {finding.id for finding in before.findings}
    told += [f"finding: {one.severity} {one.signal} in {one.service}: {one.sentence}" for one in after.findings if one.id not in known]
    if after.phase in TERMINAL and (before is None or before.phase is not after.phase):
        told.append(f"ended: {after.phase.value}: {after.summary}")
    return [shorten(visible(line), SENTENCE_CHARS) for line in told]


def duration(seconds: float) -> str:
    """A time span as people say it, with two units at most; a negative one is 0 s."""
    if not math.isfinite(seconds):
        return "unknown"
    if 0 < seconds < 10 and seconds != round(seconds):  # noqa: PLR2004  # below, a tenth is worth telling
        return f"{seconds:.1f} s"
    whole = max(0, round(seconds))
    for size, unit, smaller, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size:,} {unit} {rest} {below}" if rest else f"{whole // size:,} {unit}"
    return f"{whole} s"


def percent_text(percent: float) -> str:
    """A percentage with as many digits as it needs."""
    return f"{percent:.4g} %"


def share_text(part: int, whole: int) -> str:
    """A share in percent; empty when there is nothing to share. Never rounded to nothing, nor to all."""
    if whole <= 0:
        return ""
    percent = 100 * part / whole
    if 0 < percent < 0.01:  # noqa: PLR2004  # what two digits can show
        return "<0.01 %"
    digits = 2 if percent < 1 else 1
    text = f"{percent:.{digits}f}"
    return f"{'99.9' if float(text) >= 100 > percent else text} %"  # noqa: PLR2004  # all of it


def clock(unix_s: float) -> str:
    """A time of day in UTC."""
    try:
        return datetime.fromtimestamp(unix_s, tz=UTC).strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "--:--:--"
