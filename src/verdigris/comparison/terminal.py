"""A comparison on a terminal: the verdict first, then why, then what to do.

Telemetry names are written by whoever sent the telemetry, so every text is made of visible characters before it is
printed (`visible`) and never read as markup. Says everything without colour; knows nothing of how the verdict was
reached.
"""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from verdigris.comparison.document import Attribute, Cause, Comparison, Finding, Missing, RoleSummary
from verdigris.judge.verdict import Effect
from verdigris.judge.windows import Operation
from verdigris.sensitive.findings import Leak

HEADLINES = {
    "PASS": "The candidate is no worse than the baseline, within the tolerances.",
    "FAIL": "The candidate is worse than the baseline.",
    "NOT_ENOUGH_DATA": "Too little evidence to call the candidate good. This is not a pass.",
    "BLIND": "The candidate cannot be seen well enough to be judged. This is not a pass.",
}
NEXT_STEPS = {
    "PASS": "The candidate may go to its next step. Keep the evidence digest with the change record.",
    "FAIL": "Keep the baseline in service. Look at the first cause, then at its example traces, before trying again.",
    "NOT_ENOUGH_DATA": "Hold. Record more traffic, at least of the operations listed as lacking it, and compare again.",
    "BLIND": "Keep the baseline in service. Repair the candidate's tracing first: the candidate may be well or ill.",
}
NOT_CONCURRENT = (
    "The roles were not recorded at the same time, so drift between the recordings does not cancel. That costs power: margins "
    "are wider, and evidence is weakened by how much the recordings vary by themselves and by how far most operations moved."
)
EXITS = {
    "PASS": "The exit code of compare is 0. Only a PASS exits with 0.",
    "FAIL": "The exit code of compare is not 0. Only a PASS exits with 0, so a script that stops on errors stops here.",
}
VERDICT_STYLES = {
    "PASS": "bold white on dark_green",
    "FAIL": "bold white on dark_red",
    "NOT_ENOUGH_DATA": "bold black on dark_goldenrod",
    "BLIND": "bold white on purple4",
}
SEVERITY_STYLES = {"critical": "bold red", "major": "bold dark_orange3", "minor": "bold"}
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

PROSE_COLUMNS = 108
"""Longer lines are hard to read back to their start, however wide the terminal is."""
NAME_CHARACTERS = 140
MINUS = "\N{MINUS SIGN}"
BAR_COLUMNS = 20
SECONDS_FROM_MS = 10_000
WHOLE_FROM = 100
"""From here on whole numbers carry three digits."""
LISTED = 12
WAIT_MAX_S = 1000 * 86_400
ASCII = str.maketrans({"→": "->", "\u2212": "-", "█": "#", "░": ".", "·": "|", "…": "...", "\u2013": "-", "\u00d7": "x"})


def visible(text: str) -> str:
    """The text with every control, bidirectional, invisible or unassigned character written as its escape."""
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in HIDDEN_CATEGORIES else c for c in text)


def shorten(text: str, limit: int = NAME_CHARACTERS) -> str:
    """At most `limit` characters, the middle left out: services differ at their start, routes at their end."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[-(limit - 1 - head) :]}"


def operation_text(operation: Operation) -> str:
    """An operation as a sentence names it."""
    return visible(f"{operation.service} {operation.kind.lower()} {operation.name}")


def place(finding: Finding) -> str:
    """Where a finding is: its edge, else its operation, else its service."""
    if finding.edge is not None:
        return f"{operation_text(finding.edge.caller)} → {operation_text(finding.edge.callee)}"
    return operation_text(finding.operation) if finding.operation is not None else visible(finding.service)


def quantity(value: float | None, unit: str) -> str:
    """A number with its unit, with as many digits as a reader can use."""
    if value is None or not math.isfinite(value):
        return "unknown"
    if unit == "share":
        return f"{_digits(value * 100)} %"
    if unit == "ms":
        return f"{_digits(value / 1000)} s" if abs(value) >= SECONDS_FROM_MS else f"{_digits(value)} ms"
    return _digits(value)


def difference(effect: Effect) -> str:
    """Candidate minus baseline with its interval; empty where neither is known."""
    parts = []
    if effect.baseline is not None and effect.candidate is not None:
        parts.append(_signed(effect.candidate - effect.baseline, effect.unit))
    if effect.low is not None and effect.high is not None:
        low, high = _signed(effect.low, effect.unit), _signed(effect.high, effect.unit)
        low = low.rpartition(" ")[0] if " " in low and low.split(" ")[-1] == high.split(" ")[-1] else low
        interval = f"{low} to {high}"
        parts.append(f"(95 % interval {interval})" if parts else f"95 % interval {interval}")
    return " ".join(parts)


def moment(unix_s: float | None) -> str:
    """A time in UTC to the second."""
    if unix_s is None:
        return "unknown"
    try:
        return datetime.fromtimestamp(unix_s, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"{unix_s} s after 1970"


def period(role: RoleSummary) -> str:
    """From when to when a role was seen."""
    if role.first_unix_s is None or role.last_unix_s is None:
        return "no traces"
    return f"{moment(role.first_unix_s)} to {moment(role.last_unix_s)}"


def plural(number: float, noun: str) -> str:
    """A count of things: "1 trace", "2,000 traces"."""
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def exit_sentence(verdict: str) -> str:
    """What the exit code of `verdigris compare` says about this verdict."""
    return EXITS.get(verdict, EXITS["FAIL"])


def render(comparison: Comparison, console: Console) -> None:
    """Print the comparison for a person."""
    page = Page(console)
    _verdict(page, comparison)
    _causes(page, comparison.causes)
    _findings(page, comparison.findings)
    _missing(page, comparison.missing)
    page.section("Notes", _notes(comparison))
    _read(page, comparison)
    _unread(page, comparison)
    _next(page, comparison)


def _digits(value: float) -> str:
    """Three significant digits, thousands separated; never an exponent."""
    size = abs(value)
    if size >= WHOLE_FROM:
        return f"{value:,.0f}"
    if size == 0:
        return "0"
    decimals = min(6, max(0, 2 - math.floor(math.log10(size))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _signed(value: float, unit: str) -> str:
    text = quantity(abs(value), unit)
    if unit == "share":
        text = text.replace("%", "points")
    return f"{MINUS if value < 0 else '+'}{text}"


class Page:
    """Prints blocks at a readable width, in ASCII where the terminal knows nothing else."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.columns = min(console.width, PROSE_COLUMNS)
        self._ascii = not console.encoding.lower().startswith("utf")

    def text(self, text: str, style: str = "") -> Text:
        """Text that is safe to print: never markup, only visible characters."""
        safe = visible(text)
        if self._ascii:
            safe = safe.translate(ASCII).encode("ascii", "backslashreplace").decode("ascii")
        return Text(safe, style=style)

    def line(self, *parts: Text | str, indent: int = 0) -> None:
        """One paragraph, wrapped with its indent kept."""
        self.hang(Text(" " * indent), Text.assemble(*(part if isinstance(part, Text) else self.text(part) for part in parts)))

    def hang(self, first: Text, body: Text) -> None:
        """Print `body` behind `first`, every further line under its start, no spaces at the ends of lines."""
        room = max(10, self.columns - first.cell_len)
        for number, line in enumerate(body.wrap(self.console, room, overflow="fold") or [Text()]):
            line.rstrip()
            before = first if number == 0 else Text(" " * first.cell_len)
            whole = Text.assemble(before, line)
            whole.rstrip()
            self.console.print(whole, highlight=False, soft_wrap=True)

    def blank(self) -> None:
        """An empty line."""
        self.console.print()

    def heading(self, title: str) -> None:
        """A section's title, underlined so that it stands out without colour."""
        self.blank()
        self.line(self.text(title, "bold"))
        self.line(self.text("─" * len(title) if not self._ascii else "-" * len(title), "dim"))

    def section(self, title: str, sentences: Iterable[str]) -> None:
        """A titled list of sentences; nothing at all when there are none."""
        listed = list(sentences)
        if listed:
            self.heading(title)
        for sentence in listed:
            self.facts([("-", self.text(sentence))], width=1)

    def facts(self, rows: Iterable[tuple[str, Text]], *, indent: int = 2, width: int = 10) -> None:
        """Labelled values whose continuation lines stay aligned."""
        for label, value in rows:
            short = self.text(shorten(visible(label), max(width, 2 * LISTED)).ljust(width), "dim")
            self.hang(Text.assemble(" " * indent, short, " "), value)


def _verdict(page: Page, comparison: Comparison) -> None:
    verdict = comparison.verdict
    badge = page.text(f" {verdict.replace('_', ' ')} ", VERDICT_STYLES.get(verdict, "bold reverse"))
    page.blank()
    page.hang(Text.assemble(badge, "  "), page.text(HEADLINES.get(verdict, "This version does not know the verdict."), "bold"))
    if comparison.summary:
        page.blank()
        page.line(comparison.summary)


def _causes(page: Page, causes: Sequence[Cause]) -> None:
    if not causes:
        return
    page.heading("Likely causes, likeliest first")
    for cause in causes:
        where = visible(cause.service)
        filled = round(BAR_COLUMNS * min(1.0, max(0.0, cause.share)))
        bar = "█" * filled + "░" * (BAR_COLUMNS - filled)
        page.facts([(f"{cause.rank}.", page.text(shorten(where), "bold"))], indent=1, width=2)
        page.line(bar, f" {quantity(cause.share, 'share')} of the excess", indent=4)
        page.line(cause.why, indent=4)
        for each in cause.attributes:
            page.line(attribute_sentence(each), indent=4)
        if cause.findings:
            page.line(page.text(f"findings: {', '.join(cause.findings[:LISTED])}", "dim"), indent=4)


def _findings(page: Page, findings: Sequence[Finding]) -> None:
    if not findings:
        return
    direct = [f for f in findings if f.follows_from is None]
    following = [f for f in findings if f.follows_from is not None]
    page.heading(plural(len(direct), "finding"))
    for number, finding in enumerate(direct):
        if number:
            page.blank()
        _finding(page, finding)
    if following:
        page.heading(f"{len(following)} more that follow")
        for finding in following[:LISTED]:
            page.line(page.text(f"{finding.id}  "), finding.sentence, indent=2)
        if len(following) > LISTED:
            page.line(f"and {len(following) - LISTED} more", indent=2)


def _finding(page: Page, finding: Finding) -> None:
    effect, evidence, examples = finding.effect, finding.evidence, finding.examples
    severity = page.text(finding.severity.upper(), SEVERITY_STYLES.get(finding.severity, "bold"))
    page.line(severity, f"  {finding.signal} · {finding.id}")
    page.line(finding.sentence, indent=2)
    numbers = f"{quantity(effect.baseline, effect.unit)} → {quantity(effect.candidate, effect.unit)}"
    change = difference(effect)
    rows = [
        ("where", page.text(shorten(place(finding), 2 * NAME_CHARACTERS))),
        ("measured", page.text(f"{effect.measure}: {numbers}" + (f", {change}" if change else ""))),
        ("evidence", page.text(f"{evidence.log_e:.1f} nats, found from {evidence.threshold:.1f} nats on")),
        (
            "requests",
            page.text(f"{evidence.baseline_requests:,} baseline, {evidence.candidate_requests:,} candidate"),
        ),
    ]
    for name, traces in (("candidate", examples.candidate), ("baseline", examples.baseline)):
        rows += [("e.g. trace", page.text(f"{shorten(visible(trace), 48)} ({name})")) for trace in traces[:2]]
    rows += [("sent", page.text(leak_text(leak))) for leak in finding.leaks]
    page.facts(rows)


def leak_text(leak: Leak) -> str:
    """What is sent that should not be, how it looks masked, and which rules speak of it."""
    samples = f": {', '.join(visible(sample) for sample in leak.samples)}" if leak.samples else ""
    rules = f" ({', '.join(leak.standards)})" if leak.standards else ""
    place = f" in {leak.position}" if leak.position else ""  # what was too much for the words of one span has none
    return f"{leak.detector}{place}{samples}{rules}"


def _missing(page: Page, missing: Sequence[Missing]) -> None:
    if not missing:
        return
    page.heading("What a PASS still lacks")
    hardest = sorted(missing, key=lambda one: (one.have - one.need, one.operation.service, one.operation.name, one.signal))
    for one in hardest[:LISTED]:
        lacking = plural(max(0, one.need - one.have), "more candidate request")
        page.line(page.text(shorten(operation_text(one.operation)), "bold"), f" · {one.signal}", indent=2)
        page.line(f"{lacking} needed (has {one.have:,} of about {one.need:,}){waiting(one)}", indent=4)
    if len(hardest) > LISTED:
        page.line(f"and {len(hardest) - LISTED} more that need less", indent=2)


def attribute_sentence(attribute: Attribute) -> str:
    """What bad spans have in common, and how common it is otherwise."""
    bad, good = quantity(attribute.bad_share, "share"), quantity(attribute.good_share, "share")
    return f"{attribute.key} is {attribute.value} on {bad} of the bad spans and on {good} of the others."


def waiting(missing: Missing) -> str:
    """How much longer that takes at the recorded rate, in the unit that reads best; empty when no request came."""
    if missing.more_s is None or not math.isfinite(missing.more_s) or missing.more_s > WAIT_MAX_S:
        return ""
    for seconds, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if missing.more_s >= 2 * seconds:
            return f", {plural(round(missing.more_s / seconds), unit)} more at this rate"
    return f", {plural(max(1, round(missing.more_s)), 'second')} more at this rate"


def _notes(comparison: Comparison) -> list[str]:
    return ([] if comparison.concurrent else [NOT_CONCURRENT]) + list(comparison.notes)


def _read(page: Page, comparison: Comparison) -> None:
    page.heading("What was read")
    for name, role in comparison.roles.items():
        amounts = (
            (role.traces, "trace"),
            (role.spans, "span"),
            (role.services, "service"),
            (role.operations, "operation"),
        )
        rows = [page.text(", ".join(plural(number, noun) for number, noun in amounts)), page.text(period(role))]
        if role.match:
            rows.append(page.text(f"where {shorten(visible(role.match))}"))
        rows += [page.text(f"from {shorten(visible(source))}") for source in role.inputs[:LISTED]]
        if len(role.inputs) > LISTED:
            rows.append(page.text(f"and {len(role.inputs) - LISTED} more inputs"))
        if role.orphans:
            rows.append(page.text(f"{plural(role.orphans, 'span')} whose parent never came"))
        if role.mixed_traces:
            rows.append(page.text(f"{plural(role.mixed_traces, 'trace')} left out for having spans of both roles"))
        page.facts([(name if at == 0 else "", row) for at, row in enumerate(rows)])
    windows = comparison.windows
    page.facts([("windows", page.text(f"{windows.count:,} of {windows.seconds} s"))])
    if windows.sha256:
        page.facts([("sha256", page.text(windows.sha256))])


def _unread(page: Page, comparison: Comparison) -> None:
    """What of the input could not be used; silence would look like completeness."""
    reading = comparison.reading
    counts = [(number, f"refused: {reason}") for reason, number in sorted(reading.refused.items())]
    counts += [
        (reading.unassigned_spans, "belong to neither role"),
        (reading.ends_before_start, "end before they start"),
    ]
    sentences = [f"{plural(number, 'span')} {what}" for number, what in counts if number]
    if reading.truncated_values:
        sentences.append(f"{plural(reading.truncated_values, 'attribute value')} cut to the limit")
    if reading.dropped_attributes:
        sentences.append(f"{plural(reading.dropped_attributes, 'attribute')} over the limit and left out")
    sentences += [
        f"{shorten(visible(one.source))} {shorten(visible(one.where))}: {shorten(visible(one.what))}" for one in reading.problems[:LISTED]
    ]
    if reading.problem_count > min(LISTED, len(reading.problems)):
        sentences.append(f"{plural(reading.problem_count, 'unreadable part')} in all")
    page.section("What could not be used", sentences)


def _next(page: Page, comparison: Comparison) -> None:
    page.heading("What to do")
    page.line(NEXT_STEPS.get(comparison.verdict, NEXT_STEPS["BLIND"]))
    page.line(exit_sentence(comparison.verdict))
    page.line(false_fail_sentence(comparison))


def false_fail_sentence(comparison: Comparison) -> str:
    """What alpha bounds. Side by side the bound holds for every look; apart it rests on an estimate of drift."""
    bound = quantity(comparison.alpha, "share")
    if comparison.concurrent:
        return f"Chance of a false FAIL, all operations and all looks together: at most {bound}."
    estimated = "as far as the drift between the recordings was estimated well"
    return f"Chance of a false FAIL, all operations together: about {bound} at most, {estimated}."
