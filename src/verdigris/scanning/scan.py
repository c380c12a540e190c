"""A scan from end to end: recordings in, counts and masked samples out. Nothing is stored."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Protocol

from verdigris._native import Limits
from verdigris.scanning.document import SCHEMA, Allowance, DetectorCount, Found, Problem, Scan, StandardCount
from verdigris.scanning.document import Reading as ReadingSummary
from verdigris.sensitive.definition import Detectors
from verdigris.sensitive.findings import Place, Seen
from verdigris.sensitive.standards import TITLES, meaning_of, standards_of
from verdigris.telemetry.sources import NothingToRead, Reading, expand

SENSITIVE_VALUE = "sensitive_value"
"""The decoder's reason for a span that a treatment refuses. It was looked at, so it does not make a scan incomplete."""

LIMITS = Limits(value_bytes=1 << 20, attributes=10_000, events=100_000, links=100_000)
"""Wider than for spans that are kept: what lies beyond the bounds is not looked at, and a scan that leaves something out says so."""


class Progress(Protocol):
    """Is told how far a scan is. The total may be unknown (None)."""

    def reading(self, total_bytes: int | None) -> None:
        """Reading begins."""

    def read(self, done_bytes: int) -> None:
        """So much is read, of all inputs together."""


def scan(names: Sequence[str], detectors: Detectors, progress: Progress, *, literals_count: bool = False) -> Scan:
    """Run the detectors over recordings. Memory does not grow with their size.

    Args:
        names: files, folders, globs or `-`.
        detectors: what is looked for.
        literals_count: whether literals of statements and URLs count as found, which they are whether they are sensitive or not.
    Raises: SourceError: an input does not exist, or there is no span in any.
    """
    reading = Reading(expand(names), limits=LIMITS, masking=detectors.masking, on_progress=progress.read)
    progress.reading(reading.total_bytes)
    for _ in reading:
        pass  # what the spans hold is counted while they are decoded; the spans themselves are not needed
    counts = reading.counts
    if not (counts.spans or counts.problems or counts.refused):
        msg = "there is no span in what was named, so nothing was looked at; check that these are recordings of traces"
        raise NothingToRead(msg)
    return _document(names, reading, detectors, literals_count=literals_count)


def _document(names: Sequence[str], reading: Reading, detectors: Detectors, *, literals_count: bool) -> Scan:
    tally = reading.counts.findings
    shown = _Shown(detectors)
    seen = [(place, shown.found(place, each)) for place, each in tally]
    beyond = [(place, shown.found(place, each)) for place, each in tally.beyond()]
    allowed = [found for place, found in seen if place.is_allowed]
    literals = [found for place, found in seen if place.is_structural and not place.is_allowed]
    sensitive = [found for place, found in seen if not place.is_structural and not place.is_allowed]
    count_by_detector: Counter[str] = Counter()
    total = Counter({"sensitive": 0, "literals": 0, "allowed": 0})
    for place, found in [*seen, *beyond]:
        kind = "allowed" if place.is_allowed else "literals" if place.is_structural else "sensitive"
        total[kind] += found.count
        if kind != "allowed":
            count_by_detector[found.detector] += found.count
    # Which detector the uncounted ones are of is not known, so they count as sensitive.
    decides = total["sensitive"] + tally.uncounted + (total["literals"] if literals_count else 0)
    return Scan(
        schema=SCHEMA,
        found=decides > 0,
        sensitive=total["sensitive"],
        literals=total["literals"],
        allowed=total["allowed"],
        detectors=tuple(
            DetectorCount(name, meaning_of(name), count, standards_of(name))
            for name, count in sorted(count_by_detector.items(), key=lambda one: (-one[1], one[0]))
        ),
        standards=_standards(count_by_detector),
        findings=tuple(sensitive),
        literal_findings=tuple(literals),
        allowed_findings=tuple(allowed),
        allowances=tuple(Allowance(**asdict(one)) for one in detectors.allowances),
        beyond=tuple(found for _, found in beyond),
        uncounted=tally.uncounted,
        inputs=tuple(shown.name(name) for name in names),
        reading=_summary(reading, shown),
        definition_sha256=detectors.sha256,
        versions={"verdigris": version("verdigris")},
    )


def _standards(count_by_detector: Counter[str]) -> tuple[StandardCount, ...]:
    counted = []
    for rule, title in TITLES.items():
        names = sorted(name for name in count_by_detector if rule in standards_of(name))
        if names:
            counted.append(StandardCount(rule, title, sum(count_by_detector[name] for name in names), tuple(names)))
    return tuple(counted)


def _summary(reading: Reading, shown: "_Shown") -> ReadingSummary:
    counts = reading.counts
    lost = sum(spans for reason, spans in counts.refused.items() if reason != SENSITIVE_VALUE)
    cut = counts.truncated_values + counts.dropped_attributes + counts.dropped_events + counts.dropped_links
    return ReadingSummary(
        spans=counts.spans + counts.refused.get(SENSITIVE_VALUE, 0),
        bodies=counts.bodies,
        refused={reason: spans for reason, spans in sorted(counts.refused.items()) if reason != SENSITIVE_VALUE},
        truncated_values=counts.truncated_values,
        dropped_attributes=counts.dropped_attributes,
        dropped_events=counts.dropped_events,
        dropped_links=counts.dropped_links,
        problem_count=counts.problems,
        problems=tuple(Problem(*map(shown.name, (one.source, one.where, one.what))) for one in reading.problems),
        complete=not (counts.problems or lost or cut),
    )


class _Shown:
    """How things are shown: names of inputs are masked too, because a file can be called after a patient."""

    def __init__(self, detectors: Detectors) -> None:
        self._masking = detectors.masking

    def name(self, name: str) -> str:
        """The name of an input, masked; bytes of it that are no text become U+FFFD."""
        text = name.encode(errors="surrogateescape").decode(errors="replace")
        [treated] = self._masking.treat([text])
        return text if treated is None else treated.text

    def found(self, place: Place, seen: Seen) -> Found:
        """A place and what was seen there."""
        names = (place.detector, place.position, place.service, place.operation, place.treatment)
        return Found(*names, seen.count, tuple(seen.samples), self.name(seen.source))
