"""A comparison as one HTML file that needs nothing else: no network, no server, no other file, not even JavaScript.

Verdict, causes, findings and what was read are written here and readable without a script; the scripts in `assets` add
the charts from the JSON in the page. Senders write the telemetry, so: markup is only made by `element`,
which escapes; names hold visible characters only; the content security policy admits this style and this script by their
hashes.
"""

import base64
import hashlib
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from string import Template
from typing import Any

from verdigris.comparison import terminal
from verdigris.comparison.document import Cause, Comparison, Finding, Missing, OperationStats, RoleSummary
from verdigris.comparison.terminal import quantity, visible
from verdigris.judge.windows import Operation

SCRIPTS = ("base.js", "layout.js", "map.js", "distributions.js", "timeline.js", "waterfall.js", "page.js")
TAG_CHARACTERS = 12
SMALLEST_DRAWN = 1e-9
CELLS_PER_OCTAVE = 16
"""Histograms are drawn in cells 4.4 % wide: finer than a screen shows, and it bounds the file's size."""

ICONS = {
    "PASS": "M5 12.5l4.5 4.5L19 7.5",
    "FAIL": "M6.5 6.5l11 11M17.5 6.5l-11 11",
    "NOT_ENOUGH_DATA": "M7 4h10M7 20h10M8 4c0 5 8 6 8 16M16 4c0 5-8 6-8 16",
    "BLIND": "M3 12c4-6 14-6 18 0-4 6-14 6-18 0zM5 20L19 4",
}
SIGNAL_HELP = {
    "exclusive latency": "Time spent in the operation itself, without what its callees took.",
    "latency": "Time from the operation's start to its end, callees included.",
    "call missing": "Requests in which the caller did not make this call.",
    "call extra": "Requests in which the caller made more calls than the baseline does.",
    "orphans": "Spans whose parent never came.",
}


class Markup(str):
    """Text that is HTML already. Everything else is escaped on its way into an element."""

    __slots__ = ()


def element(name: str, *children: str | None, **attributes: str | float | bool) -> Markup:
    """An element, its text and values escaped and made visible. `data_x` becomes `data-x`, `class_` becomes `class`."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_safe(str(value))}"')
        for key, value in attributes.items()
        if value is not False
    )
    return Markup(f"<{name}{written}>{''.join(_child(child) for child in children if child is not None)}</{name}>")


def join(parts: Iterable[Markup]) -> Markup:
    """Markup after markup."""
    return Markup("".join(parts))


def render(comparison: Comparison) -> str:
    """The page. The same comparison gives the same bytes."""
    style, script = _asset("report.css"), "\n".join(_asset(name) for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    words = comparison.verdict.replace("_", " ")
    return Template(_asset("report.html")).substitute(
        policy=html.escape(policy),
        title=_safe(f"{words} · Verdigris comparison"),
        style=style,
        verdict=_verdict(comparison),
        roles=join(_role(name, role) for name, role in comparison.roles.items()),
        causes=_causes(comparison.causes, comparison),
        findings=_findings(comparison),
        missing=_missing(comparison.missing),
        reading=_reading(comparison),
        reproduce=_reproduce(comparison),
        data=_json(chart_data(comparison)),
        script=script,
    )


def chart_data(comparison: Comparison) -> dict[str, Any]:
    """What the charts draw, and no more: plain values, numbers rounded to what can be seen, names made visible."""
    tags = _tags(comparison.findings)
    return {
        "alpha": comparison.alpha,
        "findings": [
            {
                "id": visible(one.id),
                "tag": visible(tags[one.id]),
                "signal": visible(one.signal),
                "service": visible(one.service),
                "operation": _plain(one.operation),
                "edge": _plain(one.edge),
                "threshold": _plain(one.evidence.threshold),
            }
            for one in comparison.findings
        ],
        "windows": _plain(comparison.windows),
        "map": _plain(comparison.service_map),
        "operations": [
            {
                "operation": _plain(one.operation),
                "findings": _plain(one.findings),
                "baseline": _stats(one.baseline),
                "candidate": _stats(one.candidate),
            }
            for one in comparison.operations
        ],
        "waterfalls": _plain(comparison.waterfalls),
    }


def _safe(text: str) -> str:
    return html.escape(visible(text))


def _child(child: str) -> str:
    return child if isinstance(child, Markup) else _safe(child)


def _asset(name: str) -> str:
    return resources.files("verdigris.comparison").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: object) -> str:
    """JSON that no HTML parser can leave: what could end the element, or start a comment in it, is escaped."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:  # any part of the document
    """The value as JSON has it: numbers finite and rounded, text visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {visible(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_plain(inner) for inner in value]
    return value


def _stats(stats: OperationStats | None) -> dict[str, Any] | None:
    if stats is None:
        return None
    numbers = ("requests", "errors", "exclusive_ms", "p50_ms", "p90_ms", "p99_ms")
    plain: dict[str, Any] = {name: _plain(getattr(stats, name)) for name in numbers}
    return plain | {name: _cells(getattr(stats, name)) for name in ("durations", "exclusives")}


def _cells(histogram: Sequence[tuple[float, float, float]]) -> list[list[float]]:
    """The histogram on the page's grid: [k, share] for the cell from 2^(k/16) ms; buckets are spread over cells."""
    cells: dict[int, float] = {}
    for low, high, share in histogram:
        if not (math.isfinite(high) and math.isfinite(share) and share > 0):
            continue
        upper = math.log2(max(high, 1e-6)) * CELLS_PER_OCTAVE
        lower = math.log2(low) * CELLS_PER_OCTAVE if low > 0 else upper - 1
        lower = max(min(lower, upper - 1e-9), upper - 64 * CELLS_PER_OCTAVE)
        for cell in range(math.floor(lower), math.ceil(upper)):
            part = (min(upper, cell + 1) - max(lower, cell)) / (upper - lower)
            cells[cell] = cells.get(cell, 0.0) + share * part
    return [[cell, float(f"{share:.3g}")] for cell, share in sorted(cells.items()) if share > 0]


def _verdict(comparison: Comparison) -> Markup:
    verdict = comparison.verdict
    known = verdict if verdict in ICONS else "BLIND"
    icon = element("svg", element("path", d=ICONS[known]), viewBox="0 0 24 24", aria_hidden="true")
    cautions = [] if comparison.concurrent else [terminal.NOT_CONCURRENT]
    cautions += comparison.notes
    words = element(
        "div",
        element("p", icon, element("span", verdict.replace("_", " ")), class_="badge"),
        element("h1", terminal.HEADLINES.get(verdict, "This version does not know the verdict.")),
        element("p", comparison.summary, class_="summary") if comparison.summary else None,
    )
    aside = element(
        "div",
        element("p", terminal.NEXT_STEPS.get(verdict, terminal.NEXT_STEPS["BLIND"])),
        element("ul", join(element("li", note) for note in cautions), class_="cautions", aria_label="Notes") if cautions else None,
        class_="aside",
    )
    return element(
        "section",
        words,
        aside,
        class_=f"verdict verdict-{known.lower()}",
        id="verdict",
        data_verdict=known,
    )


def _pairs(rows: Iterable[tuple[str, str]], class_: str = "facts") -> Markup:
    """A list of labels and values, those without a value left out."""
    kept = [(label, value) for label, value in rows if value]
    return element("dl", join(element("div", element("dt", label), element("dd", value)) for label, value in kept), class_=class_)


def _role(name: str, role: RoleSummary) -> Markup:
    counts = (
        (role.traces, "traces"),
        (role.spans, "spans"),
        (role.services, "services"),
        (role.operations, "operations"),
    )
    figures = join(element("div", element("dd", f"{number:,}"), element("dt", noun)) for number, noun in counts)
    more = len(role.inputs) - terminal.LISTED
    return element(
        "article",
        element("h3", element("i", class_="key", aria_hidden="true"), name),
        element("dl", figures, class_="figures"),
        _pairs(
            (
                ("When", terminal.period(role)),
                ("Where", role.match),
                ("From", ", ".join(role.inputs[: terminal.LISTED]) + (f" and {more} more" if more > 0 else "")),
                ("Orphans", f"{terminal.plural(role.orphans, 'span')} whose parent never came" if role.orphans else ""),
                (
                    "Left out",
                    f"{terminal.plural(role.mixed_traces, 'trace')} with spans of both roles" if role.mixed_traces else "",
                ),
            ),
        ),
        class_=f"role {'candidate' if name == 'candidate' else 'baseline'}",
    )


def _operation(operation: Operation) -> Markup:
    """An operation with its three parts told apart."""
    kind = element("span", operation.kind.lower(), class_="kind")
    service, name = element("b", element("bdi", operation.service)), element("bdi", operation.name)
    return element("span", service, " ", kind, " ", name, class_="operation")


def _tags(findings: Sequence[Finding]) -> dict[str, str]:
    """What each finding is called on the page: its id, or its number where the id is too long to repeat."""
    return {one.id: one.id if len(one.id) <= TAG_CHARACTERS else f"#{at}" for at, one in enumerate(findings, 1)}


def _anchors(findings: Sequence[Finding]) -> dict[str, str]:
    """Fragments by position: an id may hold anything, and two may look alike."""
    return {one.id: f"finding-{at}" for at, one in enumerate(findings, 1)}


def _causes(causes: Sequence[Cause], comparison: Comparison) -> Markup:
    if not causes:
        words = "No cause could be singled out." if comparison.findings else "Nothing was found, so there is nothing to blame."
        return element("p", words, class_="nothing")
    return element("ol", join(_cause(cause, comparison.findings) for cause in causes), class_="causes")


def _cause(cause: Cause, findings: Sequence[Finding]) -> Markup:
    anchors, tags = _anchors(findings), _tags(findings)
    share = min(1.0, max(0.0, cause.share))
    known = [name for name in cause.findings if name in anchors]
    links = [element("a", tags[name], href=f"#{anchors[name]}") for name in known]
    return element(
        "li",
        element("span", str(cause.rank), class_="rank", aria_hidden="true"),
        element(
            "div",
            element("h3", element("bdi", cause.service)),
            element("p", cause.why),
            join(element("p", terminal.attribute_sentence(each)) for each in cause.attributes),
            element("p", "Explains ", join(element("span", link, " ") for link in links), class_="links") if links else None,
        ),
        element(
            "div",
            element("b", quantity(share, "share")),
            element("span", " of the excess"),
            _bar(share),
            class_="share",
        ),
    )


def _bar(share: float) -> Markup:
    """A bar drawn without any style attribute, which the policy forbids."""
    filled = element("rect", x=0, y=0, width=f"{100 * share:.1f}", height=6, class_="filled")
    return element(
        "svg", element("rect", x=0, y=0, width=100, height=6), filled,
        viewBox="0 0 100 6", preserveAspectRatio="none", class_="bar", aria_hidden="true",
    )  # fmt: skip


def _findings(comparison: Comparison) -> Markup:
    if not comparison.findings:
        return element("p", "Nothing was found to be worse than tolerated.", class_="nothing")
    known = {one.operation: at for at, one in enumerate(comparison.operations)}
    shown = {name for waterfall in comparison.waterfalls for name in waterfall.findings}
    anchors, tags = _anchors(comparison.findings), _tags(comparison.findings)
    return join(
        element(
            "details",
            _finding_summary(one, tags[one.id]),
            element("div", _finding_facts(one), _examples(one), _finding_links(one, known, shown), class_="body"),
            id=anchors[one.id],
            class_="finding",
            open=at == 0,
        )
        for at, one in enumerate(comparison.findings)
    )


def _numbers(finding: Finding) -> str:
    effect = finding.effect
    return f"{quantity(effect.baseline, effect.unit)} → {quantity(effect.candidate, effect.unit)}"


def _finding_summary(finding: Finding, tag: str) -> Markup:
    known = finding.severity if finding.severity in terminal.SEVERITY_STYLES else "minor"
    severity = element("b", finding.severity, class_=f"severity {known}")
    return element(
        "summary",
        element("span", severity, " ", tag, class_="tags"),
        element("span", finding.sentence or finding.signal, class_="sentence"),
        element("span", element("b", _numbers(finding)), _dumbbell(finding), class_="numbers"),
    )


def _finding_facts(finding: Finding) -> Markup:
    effect, evidence = finding.effect, finding.evidence
    help_ = SIGNAL_HELP.get(finding.signal, "")
    return _pairs(
        (
            ("Finding", finding.id if len(finding.id) > TAG_CHARACTERS else ""),
            ("Signal", f"{finding.signal}. {help_}".strip()),
            ("Where", terminal.place(finding)),
            ("Follows from", finding.follows_from or ""),
            ("Measured", f"{effect.measure}: {_numbers(finding)}"),
            ("Difference", terminal.difference(effect)),
            ("Evidence", f"{evidence.log_e:.1f} nats; a finding from {evidence.threshold:.1f} nats on"),
            ("Requests", f"{evidence.baseline_requests:,} baseline, {evidence.candidate_requests:,} candidate"),
            *(("Sent", terminal.leak_text(leak)) for leak in finding.leaks),
        ),
    )


def _finding_links(finding: Finding, known: Mapping[Operation, int], shown: set[str]) -> Markup | None:
    links = []
    if finding.operation is not None and finding.operation in known:
        place = known[finding.operation]
        links.append(element("a", "Latency of this operation", href="#latency", data_operation=place))
    if finding.id in shown:
        links.append(element("a", "Example traces", href="#traces", data_finding=finding.id))
    return element("p", *links, class_="links") if links else None


def _examples(finding: Finding) -> Markup | None:
    rows = [(role, getattr(finding.examples, role)[: terminal.LISTED]) for role in ("baseline", "candidate")]
    kept = [(f"Trace ids, {role}", join(element("code", trace) for trace in traces)) for role, traces in rows if traces]
    return _pairs(kept, "facts traces") if kept else None


def _dumbbell(finding: Finding) -> Markup | None:
    """Both values on one scale from zero, the interval of the candidate's as a band."""
    effect = finding.effect
    baseline, candidate = _finite(effect.baseline), _finite(effect.candidate)
    if baseline is None or candidate is None:
        return None
    ends = [baseline + bound for bound in (_finite(effect.low), _finite(effect.high)) if bound is not None]
    top = max(abs(value) for value in (baseline, candidate, *ends))
    if not SMALLEST_DRAWN < top < 1 / SMALLEST_DRAWN:
        return None

    def at(value: float) -> float:
        return 5 + 190 * min(1.0, max(0.0, value / top))

    band = Markup()
    if ends[1:]:
        left, right = at(ends[0]), at(ends[1])
        band = element("rect", x=f"{left:.1f}", y=4, width=f"{max(1.0, right - left):.1f}", height=10, class_="interval")
    return element(
        "svg",
        element("path", d="M5 9H195", class_="axis"),
        band,
        element("path", d=f"M{at(baseline):.1f} 9H{at(candidate):.1f}", class_="change"),
        element("circle", cx=f"{at(baseline):.1f}", cy=9, r=3.5, class_="baseline"),
        element("circle", cx=f"{at(candidate):.1f}", cy=9, r=4.5, class_="candidate"),
        viewBox="0 0 200 18",
        class_="dumbbell",
        aria_hidden="true",
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _missing(missing: Sequence[Missing]) -> Markup:
    if not missing:
        return Markup()
    rows = [
        element(
            "tr",
            element("th", _operation(one.operation), scope="row"),
            element("td", one.signal),
            element("td", _bar(one.have / one.need if 0 <= one.have <= one.need and one.need else 1.0)),
            element("td", f"{one.have:,} of about {one.need:,}", class_="number"),
            element("td", f"{max(0, one.need - one.have):,}{terminal.waiting(one)}", class_="number"),
        )
        for one in sorted(missing, key=lambda one: one.have - one.need)
    ]
    titles = ("Operation", "Signal", "Candidate requests", "", "Still needed")
    head = element("thead", element("tr", *(element("th", title, scope="col") if title else element("td") for title in titles)))
    table = element("table", head, element("tbody", *rows))
    return element("section", element("h2", "What a PASS still lacks"), element("div", table, class_="wide"), id="missing")


def _reading(comparison: Comparison) -> Markup:
    reading = comparison.reading
    rows = [("Spans read", f"{reading.spans:,}")]
    rows += [(f"Refused: {reason}", f"{number:,}") for reason, number in sorted(reading.refused.items())]
    counts = (
        ("Belong to neither role", reading.unassigned_spans),
        ("End before they start", reading.ends_before_start),
        ("Attribute values cut to the limit", reading.truncated_values),
        ("Attributes over the limit, left out", reading.dropped_attributes),
        ("Unreadable parts", reading.problem_count),
    )
    rows += [(label, f"{number:,}") for label, number in counts if number]
    problems = [element("li", element("code", one.source), " ", one.where, ": ", one.what) for one in reading.problems]
    clean = len(rows) == 1 and reading.spans > 0
    return join(
        [
            _pairs(rows, "facts counts"),
            element("p", "Every part of every input could be read and used.", class_="nothing") if clean else Markup(),
            element("ul", *problems, class_="problems", aria_label="Unreadable parts") if problems else Markup(),
        ],
    )


def _reproduce(comparison: Comparison) -> Markup:
    windows = comparison.windows
    words = "Compare the same inputs with the same versions: evidence digest and verdict come out equal, byte for byte."
    facts = _pairs(
        (
            ("Evidence, SHA-256", element("code", windows.sha256) if windows.sha256 else ""),
            ("Windows", f"{windows.count:,} of {windows.seconds} s"),
            ("Chance of a false FAIL", terminal.false_fail_sentence(comparison).removeprefix("Chance of a false FAIL, ")),
            ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(comparison.versions.items()))),
            ("Document", comparison.schema),
            ("Exit code", terminal.exit_sentence(comparison.verdict)),
        ),
        "facts counts",
    )
    return join([element("p", words), facts])
