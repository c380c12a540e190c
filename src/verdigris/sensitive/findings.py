"""What was found in many bodies, counted in bounded memory. Only counts and masked samples, never a value."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from verdigris._native import Finding
from verdigris.sensitive.standards import standards_of

KINDS_MAX = 10_000
"""Different findings (detector, treatment, position, service, operation) that are counted apart; names are the sender's to choose."""

SAMPLES_MAX = 3
"""Different masked samples that are kept of each."""

STRUCTURAL = frozenset({"sql_literal", "url_query"})
"""Detectors that take every literal out of a statement or a URL, sensitive or not."""

TREATMENTS = ("mask", "hash", "truncate", "drop", "refuse")
"""What is done with what may not pass."""

ALLOWED = "allow"
"""The treatment of what an entry of the operator lets pass."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """What was found where. `operation` is empty in a resource or a scope; names are masked."""

    detector: str
    treatment: str
    position: str
    service: str
    operation: str

    @property
    def is_structural(self) -> bool:
        """Whether this is a literal of a statement or a URL, sensitive or not."""
        return self.detector in STRUCTURAL

    @property
    def is_allowed(self) -> bool:
        """Whether the operator lets it pass."""
        return self.treatment == ALLOWED


@dataclass(frozen=True, slots=True)
class Leak:
    """What an operation sends that should not be sent: which detector found it, in which position, how it looks masked (as far as that
    is known), and the rules that speak of it.
    """

    detector: str
    position: str
    samples: tuple[str, ...]
    standards: tuple[str, ...]


def joined(leaks: Sequence[Leak]) -> Leak:
    """The same leak as several tallies have it, at least one."""
    samples = dict.fromkeys(sample for leak in leaks for sample in leak.samples)
    return replace(leaks[0], samples=tuple(samples)[:SAMPLES_MAX])


@dataclass(slots=True)
class Seen:
    """How often something was found in one place, how it looked masked, and which source showed it first."""

    count: int = 0
    samples: list[str] = field(default_factory=list)
    source: str = ""


@dataclass(slots=True)
class Tally:
    """Findings of many bodies.

    Attributes:
        uncounted: findings that a body had beyond what the decoder counts apart; it does not say which they were.
    """

    uncounted: int = 0
    _seen: dict[Place, Seen] = field(default_factory=dict)
    _beyond: dict[Place, Seen] = field(default_factory=dict)
    _samples_of_services: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    """By detector, position and service."""

    def add(self, findings: Iterable[Finding], uncounted: int, source: str = "") -> None:
        """Count what one body of `source` had. Beyond `KINDS_MAX` kinds, services and operations are counted together."""
        self.uncounted += uncounted
        for finding in findings:
            place = Place(finding.detector, finding.treatment, finding.position, finding.service, finding.operation)
            seen = self._seen.get(place)
            if seen is None:
                if len(self._seen) < KINDS_MAX:
                    seen = self._seen.setdefault(place, Seen(source=source))
                    if not place.is_allowed:
                        self._samples_of_services.setdefault((place.detector, place.position, place.service), seen.samples)
                else:
                    together = Place(finding.detector, finding.treatment, finding.position, "", "")
                    seen = self._beyond.setdefault(together, Seen(source=source))
            seen.count += finding.count
            if finding.sample and len(seen.samples) < SAMPLES_MAX and finding.sample not in seen.samples:
                seen.samples.append(finding.sample)

    def leak(self, word: str, service: str, operation: str) -> Leak:
        """What a word of the windows (`detector@position`) says that an operation sends.

        Its samples are those of its spans or, where windows call the operation otherwise than its spans, of its service.
        """
        detector, _, position = word.partition("@")
        # What is in a resource or a scope is said of no operation, and before the service is known of no service either.
        places = [
            Place(detector, treatment, position, of, at) for of in (service, "") for at in (operation, "") for treatment in TREATMENTS
        ]
        samples = dict.fromkeys(sample for place in places if place in self._seen for sample in self._seen[place].samples)
        kept = tuple(samples) or tuple(self._samples_of_services.get((detector, position, service), ()))
        return Leak(detector, position, kept[:SAMPLES_MAX], standards_of(detector))

    def __iter__(self) -> Iterator[tuple[Place, Seen]]:
        """What was found, most first; equal counts by name."""
        return iter(sorted(self._seen.items(), key=lambda one: (-one[1].count, one[0])))

    def beyond(self) -> list[tuple[Place, Seen]]:
        """What was found beyond `KINDS_MAX` kinds, by detector, treatment and position only."""
        return sorted(self._beyond.items())
