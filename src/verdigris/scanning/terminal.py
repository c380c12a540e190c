"""A scan on a terminal: what was found first, then where, then which rules speak of it and what was not looked at."""

from collections.abc import Sequence

from rich.console import Console

from verdigris.comparison.terminal import LISTED, Page, plural, shorten, visible
from verdigris.scanning.document import DetectorCount, Found, Scan

PLACES_LISTED = 50
"""Places in full; `--json` has all of them."""


def render(scan: Scan, console: Console) -> None:
    """Print the scan for a person."""
    page = Page(console)
    _headline(page, scan)
    _detectors(page, scan.detectors)
    _places(page, "Where", scan.findings)
    _places(page, "Literals of statements and URLs, sensitive or not", scan.literal_findings)
    _places(page, "Beyond the bound of places, by detector and position", scan.beyond)
    _places(page, "Found, and allowed", scan.allowed_findings)
    page.section("Allowed by the definition", [
        f"{one.detector} under {one.key} of {one.service}: {one.reason}" for one in scan.allowances
    ])  # fmt: skip
    page.section("Rules that speak of it", [
        f"{one.id}: {one.title} ({one.count:,} × {', '.join(one.detectors)})" for one in scan.standards
    ])  # fmt: skip
    _read(page, scan)


def _headline(page: Page, scan: Scan) -> None:
    page.blank()
    spans = plural(scan.reading.spans, "span")
    if scan.found:
        badge, style = " FOUND ", "bold white on dark_red"
        what = [plural(scan.sensitive, "sensitive value")] if scan.sensitive else []
        what += [plural(scan.literals, "literal")] if not what else []
        words = f"{what[0]} in {spans}."
    elif scan.reading.complete:
        badge, style, words = " NOTHING FOUND ", "bold white on dark_green", f"No detector found anything in {spans}."
        if scan.literals or scan.allowed:
            words = f"Nothing but literals and what is allowed was found in {spans}."
    else:
        badge, style = " INCOMPLETE ", "bold black on dark_goldenrod"
        words = "Nothing was found in what could be looked at, and not everything could be. This does not say that nothing is there."
    page.hang(page.text(badge, style) + "  ", page.text(words, "bold"))
    if scan.uncounted:
        page.line(f"{plural(scan.uncounted, 'more finding')} could not be counted by detector: too many different ones in one body.")


def _detectors(page: Page, detectors: Sequence[DetectorCount]) -> None:
    if not detectors:
        return
    page.heading("By detector")
    page.facts([(one.detector, page.text(f"{one.count:,} × {one.meaning}")) for one in detectors], width=14)


def _places(page: Page, title: str, places: Sequence[Found]) -> None:
    if not places:
        return
    page.heading(title)
    for one in places[:PLACES_LISTED]:
        where = " · ".join(shorten(visible(name)) for name in (one.service, one.operation) if name) or "any service"
        page.line(page.text(f"{one.count:,} × {one.detector}", "bold"), f" in {one.position} ({one.treatment})", indent=2)
        samples = ", ".join(shorten(visible(sample)) for sample in one.samples)
        page.line(f"{where}{': ' if samples else ''}{samples}", indent=4)
    if len(places) > PLACES_LISTED:
        page.line(f"and {plural(len(places) - PLACES_LISTED, 'more place')}; --json has all", indent=2)


def _read(page: Page, scan: Scan) -> None:
    reading = scan.reading
    page.heading("What was read")
    rows = [page.text(f"{plural(reading.spans, 'span')} in {plural(reading.bodies, 'document')}")]
    rows += [page.text(f"from {shorten(visible(name))}") for name in scan.inputs[:LISTED]]
    if len(scan.inputs) > LISTED:
        rows.append(page.text(f"and {len(scan.inputs) - LISTED} more inputs"))
    page.facts([("" if at else "looked at", row) for at, row in enumerate(rows)])
    sentences = [f"{plural(spans, 'span')} refused: {reason}" for reason, spans in reading.refused.items()]
    sentences += [
        f"{plural(number, what)} over the limit" for number, what in (
            (reading.truncated_values, "text"), (reading.dropped_attributes, "attribute"), (reading.dropped_events, "event"),
            (reading.dropped_links, "link"),
        ) if number
    ]  # fmt: skip
    sentences += [
        f"{shorten(visible(one.source))} {shorten(visible(one.where))}: {shorten(visible(one.what))}" for one in reading.problems[:LISTED]
    ]
    if reading.problem_count > min(LISTED, len(reading.problems)):
        sentences.append(f"{plural(reading.problem_count, 'unreadable part')} in all")
    page.section("What was not looked at", sentences)
