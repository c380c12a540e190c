"""The result of a scan as people and programs read it: what `--json` prints and both other reports draw.

Counts and masked samples only. Plain data; `docs/scan.schema.json` is made from it.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

SCHEMA = "https://verdigris.dev/scan/v1"


@dataclass(frozen=True, slots=True)
class Found:
    """What one detector found in one position of one operation: how often, how it looks masked, which input showed it first.

    `service` and `operation` are masked; `operation` is empty in a resource or a scope. Both are empty in `beyond`.
    """

    detector: str
    position: str
    service: str
    operation: str
    treatment: str
    count: int
    samples: tuple[str, ...]
    first_input: str


@dataclass(frozen=True, slots=True)
class DetectorCount:
    """How often one detector found something, in all places, and which rules speak of what it finds."""

    detector: str
    meaning: str
    count: int
    standards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StandardCount:
    """A rule that speaks of something that was found, and how often that was. It does not say that the rule was broken."""

    id: str
    title: str
    count: int
    detectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Allowance:
    """An exception of the operator, with the reason that was given for it."""

    detector: str
    key: str
    service: str
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of an input that could not be read, so that nothing is known of it."""

    source: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What was looked at, and what was not: parts that cannot be read (the first hundred, and how many in all), spans that the
    decoder refuses by reason, and what lies beyond the decoder's bounds.

    `complete` says that nothing of the inputs was left out.
    """

    spans: int
    bodies: int
    refused: dict[str, int]
    truncated_values: int
    dropped_attributes: int
    dropped_events: int
    dropped_links: int
    problem_count: int
    problems: tuple[Problem, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole scan.

    Attributes:
        found: whether anything decides for exit code 1.
        sensitive: how often something sensitive was found and not allowed.
        literals: how often a literal was found in a statement or in the query of a URL, sensitive or not.
        allowed: how often something was found that an allowance lets pass.
        findings, literal_findings, allowed_findings: the same by place, most first.
        beyond: what was found beyond the bound of places, without service and operation.
        uncounted: findings whose detector is not known either, because one body had too many different ones.
        definition_sha256: of the file of detectors; empty for the defaults.
    """

    schema: str
    found: bool
    sensitive: int
    literals: int
    allowed: int
    detectors: tuple[DetectorCount, ...]
    standards: tuple[StandardCount, ...]
    findings: tuple[Found, ...]
    literal_findings: tuple[Found, ...]
    allowed_findings: tuple[Found, ...]
    allowances: tuple[Allowance, ...]
    beyond: tuple[Found, ...]
    uncounted: int
    inputs: tuple[str, ...]
    reading: Reading
    definition_sha256: str
    versions: dict[str, str]


_ADAPTER: TypeAdapter[Scan] = TypeAdapter(Scan)


def to_json(scan: Scan) -> bytes:
    """The document, indented for people, ending in a newline."""
    return _ADAPTER.dump_json(scan, indent=2) + b"\n"


def from_json(document: bytes) -> Scan:
    """Read it back. Raises: pydantic.ValidationError."""
    return _ADAPTER.validate_json(document)


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the document."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA} | _ADAPTER.json_schema(mode="serialization")
