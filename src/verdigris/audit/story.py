"""What one rollout's entries and evidence tell, as values: everything that a report says, and nothing of how it looks. Pure.

Evidence may have been erased, or be damaged: then what it said is None here, and `Story.gaps` says so. Nothing is made up in its place.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from verdigris.audit.erased import Erased, words_for
from verdigris.audit.record import Entry
from verdigris.audit.seen import Seen, seen
from verdigris.audit.traffic import Unexplained
from verdigris.compliance.consent import OF_REVIEWS, Consent, Review, consent_of, reviews_of
from verdigris.judge.windows import Operation
from verdigris.ledger.entry_kinds import KINDS, Kind, Value
from verdigris.ledger.evidence import EvidenceDamaged
from verdigris.ledger.statement import ActorKind, Outcome
from verdigris.rollout.evidence import Look
from verdigris.times import NANO, rfc3339

Evidence = Callable[[str], bytes | None]

APPROVALS = frozenset({Kind.APPROVAL_GIVEN, Kind.APPROVAL_REFUSED, Kind.APPROVAL_WITHDRAWN, Kind.FREEZE_OVERRIDDEN})
SAID_MAX = 12
"""So many numbers of entries are listed one by one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry. `actor` and `text` are None where they were erased. `person`: not the guard."""

    index: int
    sequence: int
    unix_nano: int
    kind: Kind
    outcome: Outcome
    actor: str | None
    person: bool
    text: str | None
    late: bool
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A candidate weight that the plan has, and what it asks for. None: the plan does not say."""

    weight_percent: float | None
    minimum_s: float | None
    maximum_s: float | None
    passed: bool
    candidate_requests: int
    gate: str
    """Who must agree before it begins, in words; empty: nobody."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was to change, in the plan's words. None: the plan does not say."""

    name: str | None = None
    reason: str | None = None
    security_impact: str | None = None
    rollback_plan: str | None = None
    ticket: str | None = None
    author: str | None = None
    baseline: str | None = None
    candidate: str | None = None
    adapter: str | None = None
    steps: tuple[PlannedStep, ...] = ()
    bake_s: float | None = None
    switch_gate: str = ""
    alpha: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found to be wrong. `known`: its numbers are known; else the judgement was erased and only the entry is left."""

    sentence: str | None
    severity: str
    signal: str
    known: bool = False
    measure: str = ""
    unit: str = ""
    baseline: float | None = None
    candidate: float | None = None
    low: float | None = None
    high: float | None = None
    log_e: float = 0.0
    threshold: float = 0.0
    baseline_requests: int = 0
    candidate_requests: int = 0
    follows_from: str | None = None
    operation: Operation | None = None


@dataclass(frozen=True, slots=True)
class Strength:
    """How far one question was answered: `log_e` of `threshold` nats is a finding."""

    signal: str
    place: str
    log_e: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Judged:
    """One verdict. `known`: its judgement is still kept."""

    line: Line
    verdict: str
    known: bool
    windows: int
    baseline_traces: int
    candidate_traces: int
    judge: str
    judgement: str
    findings: tuple[Found, ...] = ()
    causes: tuple[str, ...] = ()
    strengths: tuple[Strength, ...] = ()
    notes: tuple[str, ...] = ()
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class Weight:
    """The candidate's share of the traffic in percent. None: nobody could tell."""

    unix_nano: int
    percent: float | None


class GapKind(StrEnum):
    """Why something is not, or not fully, in the record."""

    OPEN = "open"
    GAP = "gap"
    LATE = "late"
    ERASED = "erased"
    """And the ledger says so."""
    MISSING = "missing"
    DAMAGED = "damaged"
    UNSIGNED = "unsigned"
    CLOCK = "clock"
    UNSEEN = "unseen"
    REVIEW = "review"
    TRAFFIC = "traffic"
    CONSENT = "consent"


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a reader must know is missing, late or weak, in a sentence."""

    kind: GapKind
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody was shown when they signed. `known`: it is still kept; else only its digest is known."""

    digest: str
    known: bool = False
    about: str = ""
    verdict: str | None = None
    summary: str = ""
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """One rollout, from its record."""

    rollout: str
    plan: str
    lines: tuple[Line, ...]
    change: Change | None
    verdicts: tuple[Judged, ...]
    intended: tuple[Weight, ...]
    observed: tuple[Weight, ...]
    seen: Seen
    gaps: tuple[Gap, ...]
    consent: Consent
    shown: tuple[Shown, ...] = ()
    reviews: tuple[Review, ...] = ()
    as_of_unix_s: float = 0.0
    checkpoint: str = ""
    keys: tuple[str, ...] = ()
    log_size: int = field(default=0)

    def of(self, *kinds: Kind) -> tuple[Line, ...]:
        """The entries of these kinds."""
        return tuple(line for line in self.lines if line.kind in kinds)

    @property
    def begun_unix_nano(self) -> int:
        """When the plan was submitted."""
        return self.lines[0].unix_nano

    @property
    def last_unix_nano(self) -> int:
        """When the last entry was made."""
        return max(line.unix_nano for line in self.lines)

    @property
    def ended(self) -> Line | None:
        """The entry that ends it; None: it is open."""
        return next(iter(self.of(Kind.ROLLOUT_ENDED)), None)

    @property
    def ending(self) -> str | None:
        """Committed or rolled back; None: open."""
        return None if self.ended is None else str(self.ended.values["phase"])

    @property
    def read_back(self) -> Line | None:
        """What the proxy said last of its weights."""
        said = self.of(Kind.WEIGHT_OBSERVED, Kind.ROLLBACK_OBSERVED, Kind.COMMIT_OBSERVED)
        return said[-1] if said else None

    @property
    def turned(self) -> Line | None:
        """The transition that decided how it ends: toward the return, or toward the commit."""
        phases = [line for line in self.of(Kind.PHASE) if line.values["to"] in {"returning", "committing"}]
        return phases[-1] if phases else None

    @property
    def decisive(self) -> Judged | None:
        """The verdict that decided: the last one that stopped the candidate, else the last."""
        stopping = [one for one in self.verdicts if one.verdict in {"FAIL", "BLIND"}]
        return (stopping or self.verdicts or (None,))[-1]

    @property
    def exposed_s(self) -> float | None:
        """How long the candidate had traffic and was on trial; None: it never had any."""
        first = next((one for one in self.of(Kind.WEIGHT_OBSERVED) if one.values["candidatePercent"]), None)
        if first is None:
            return None
        last = self.of(Kind.ROLLBACK_OBSERVED, Kind.COMMIT_OBSERVED)
        return ((last[-1].unix_nano if last else self.last_unix_nano) - first.unix_nano) / NANO

    @property
    def return_s(self) -> float | None:
        """From the verdict that stopped the candidate to the baseline's weight being read back."""
        back = [one for one in self.of(Kind.ROLLBACK_OBSERVED) if one.values["candidatePercent"] == 0]
        if not back or self.decisive is None or self.decisive.verdict not in {"FAIL", "BLIND"}:
            return None
        return (back[-1].unix_nano - self.decisive.line.unix_nano) / NANO


def tell(
    entries: Sequence[Entry], evidence: Evidence, *, checkpoint: str = "", keys: Sequence[str] = (), log_size: int = 0,
    erased: Mapping[str, Erased] = MappingProxyType({}), moved: Sequence[Unexplained] = (),
    ledger: Sequence[Entry] = (), as_of_unix_s: float | None = None,
) -> Story:  # fmt: skip
    """The story of one rollout's entries. `evidence` gives blobs by digest; None or `EvidenceDamaged` where one cannot be had.

    Args:
        ledger: what the whole ledger says of reviews; none: only those of this rollout are known.
        as_of_unix_s: until when it goes.
    Raises: ValueError: there is no entry, or they are not of one rollout.
    """
    rollouts = {entry.statement.rollout for entry in entries}
    if len(rollouts) != 1 or None in rollouts:
        msg = f"a story is told of one rollout, and these entries are of {len(rollouts)}"
        raise ValueError(msg)
    blobs = _Blobs(evidence, erased)
    lines = tuple(_line(entry, blobs) for entry in entries)
    first = entries[0].statement
    change = _change(blobs.document(first.plan or "", "the plan"))
    verdicts = tuple(_judged(line, lines, blobs) for line in lines if line.kind is Kind.VERDICT)
    operations = dict.fromkeys(f.operation for v in verdicts for f in v.findings if f.operation is not None)
    looks = seen(_looks(lines, blobs), tuple(operations))
    by_hand = (Gap(GapKind.TRAFFIC, f"Traffic that no rollout explains: {one.words}.") for one in moved)
    consent = consent_of(entries, blobs.signed)
    reviews = reviews_of(ledger or [one for one in entries if one.statement.kind in OF_REVIEWS], blobs.quiet)
    as_of = max(line.unix_nano for line in lines) / NANO if as_of_unix_s is None else as_of_unix_s
    gaps = (
        *_reviews(reviews, as_of), *_gaps(entries, lines), *_consent(consent), *by_hand, *_unseen(lines, verdicts), *blobs.gaps(),
    )  # fmt: skip
    return Story(
        str(first.rollout), str(first.plan), lines, change, verdicts, tuple(_intended(lines)), tuple(_observed(lines)), looks, gaps,
        consent, tuple(_shown(consent, blobs)), reviews, as_of, checkpoint, tuple(keys), log_size,
    )  # fmt: skip


class _Blobs:
    """Evidence as it is asked for, remembering what was not there."""

    def __init__(self, evidence: Evidence, erased: Mapping[str, Erased]) -> None:
        self._evidence, self._erased = evidence, erased
        self._lost: dict[tuple[GapKind, str, str], dict[str, None]] = {}

    def get(self, digest: str, what: str) -> bytes | None:
        try:
            blob = self._evidence(digest)
        except EvidenceDamaged:
            self.unreadable(digest, what)
            return None
        if blob is None:
            kind = GapKind.ERASED if digest in self._erased else GapKind.MISSING
            self._lost.setdefault((kind, what, words_for(digest, self._erased)), {})[digest] = None
        return blob

    def signed(self, digest: str) -> bytes | None:
        """What people signed, who they were, and the plan. What is known to be lost is not told again."""
        known = any(digest in digests for digests in self._lost.values())
        return self.quiet(digest) if known else self.get(digest, "what somebody signed, or who they were")

    def quiet(self, digest: str) -> bytes | None:
        """What need not be there."""
        try:
            return self._evidence(digest)
        except EvidenceDamaged:
            return None

    def document(self, digest: str, what: str) -> Any:
        """JSON; None where it is not there, or is no JSON."""
        blob = self.get(digest, what)
        try:
            return None if blob is None else json.loads(blob)
        except (ValueError, RecursionError):
            self.unreadable(digest, what)
            return None

    def unreadable(self, digest: str, what: str) -> None:
        """It is there, and is not what it should be."""
        self._lost.setdefault((GapKind.DAMAGED, what, "cannot be read: it is damaged or was changed"), {})[digest] = None

    def gaps(self) -> Iterator[Gap]:
        for (kind, what, why), digests in self._lost.items():
            names = list(digests)
            listed = ", ".join(name[:16] for name in names[:SAID_MAX]) + (" …" if len(names) > SAID_MAX else "")
            times = f" ({len(names)} times)" if len(names) > 1 else ""
            yield Gap(kind, f"{what[0].upper()}{what[1:]}{times} {why}: SHA-256 {listed}.")


def _line(entry: Entry, blobs: _Blobs) -> Line:
    said = entry.statement
    card = blobs.document(said.actor.card, "the name of an actor")
    details = None if said.details is None else blobs.document(said.details, "what an entry says in words")
    return Line(
        entry.index, said.sequence, said.unix_nano, said.kind, said.outcome, _text(card, "name"), said.actor.kind is ActorKind.PERSON,
        _text(details, "text"), said.late, said.values,
    )  # fmt: skip


def _at(document: Any, *path: str) -> Any:
    """What is at a path in JSON; None where there is nothing. What was written by another version may have another shape."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _text(document: Any, *path: str) -> str | None:
    found = _at(document, *path)
    return found if isinstance(found, str) else None


def _number(document: Any, *path: str) -> float | None:
    found = _at(document, *path)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _rows(document: Any, *path: str) -> list[Any]:
    found = _at(document, *path)
    return found if isinstance(found, list) else []


def _change(plan: Any) -> Change | None:
    if not isinstance(plan, dict):
        return None
    steps = tuple(
        PlannedStep(
            _number(step, "weight"), _number(step, "minimum"), _number(step, "maximum"), _at(step, "require", "pass") is True,
            int(_number(step, "require", "requests") or 0), _gate(step),
        )
        for step in _rows(plan, "steps")
    )  # fmt: skip
    return Change(
        name=_text(plan, "name"),
        reason=_text(plan, "change", "reason"),
        security_impact=_text(plan, "change", "security_impact"),
        rollback_plan=_text(plan, "change", "rollback_plan"),
        ticket=_text(plan, "change", "ticket"),
        author=_text(plan, "change", "author"),
        baseline=_text(plan, "baseline", "slot"),
        candidate=_text(plan, "candidate", "slot"),
        adapter=_text(plan, "traffic", "adapter"),
        steps=steps,
        bake_s=_number(plan, "bake", "for"),
        switch_gate=_gate(_at(plan, "bake")),
        alpha=_number(plan, "objectives", "defaults", "alpha"),
    )


def _gate(step: Any) -> str:
    """Who must agree before a step, as in "2 of approver and 1 of tester or security"."""
    needs = [
        f"{_number(need, 'people') or 1:g} of {' or '.join(role for role in _rows(need, 'roles') if isinstance(role, str))}"
        for need in _rows(step, "gate")
    ]  # fmt: skip
    return " and ".join(needs) or ("an approval" if _text(step, "gate") == "approval" else "")


def _judged(line: Line, lines: Sequence[Line], blobs: _Blobs) -> Judged:
    values = line.values
    document = blobs.document(str(values["judgement"]), "the judgement behind a verdict")
    known = isinstance(document, dict)
    return Judged(
        line, str(values["verdict"]), known, _count(values, "windows"), _count(values, "baselineTraces"), _count(values, "candidateTraces"),
        f"{values['judgeVersion']} ({str(values['judge'])[:12]})", str(values["judgement"]),
        tuple(_findings(document)) if known else tuple(_entered(line, lines)),
        tuple(filter(None, (_cause(one) for one in _rows(document, "causes")))),
        tuple(_strengths(document)),
        tuple(note for note in _rows(document, "notes") if isinstance(note, str)),
        len(_rows(document, "missing")),
    )  # fmt: skip


def _count(values: Mapping[str, Value], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else 0


def _entered(verdict: Line, lines: Sequence[Line]) -> Iterator[Found]:
    """The findings that have entries of their own right after their verdict's: all that is left of them without the judgement."""
    for line in lines:
        if line.sequence > verdict.sequence:
            if line.kind is not Kind.FINDING:
                return
            yield Found(line.text, str(line.values["severity"]), str(line.values["signal"]))


def _findings(judgement: Any) -> Iterator[Found]:
    for one in _rows(judgement, "findings"):
        yield Found(
            sentence=_text(one, "sentence"),
            severity=_text(one, "severity") or "",
            signal=_text(one, "signal") or "",
            known=True,
            measure=_text(one, "effect", "measure") or "",
            unit=_text(one, "effect", "unit") or "",
            baseline=_number(one, "effect", "baseline"),
            candidate=_number(one, "effect", "candidate"),
            low=_number(one, "effect", "low"),
            high=_number(one, "effect", "high"),
            log_e=_number(one, "evidence", "log_e") or 0.0,
            threshold=_number(one, "evidence", "threshold") or 0.0,
            baseline_requests=int(_number(one, "evidence", "baseline_requests") or 0),
            candidate_requests=int(_number(one, "evidence", "candidate_requests") or 0),
            follows_from=_text(one, "follows_from"),
            operation=_operation(_at(one, "operation")),
        )


def _operation(document: Any) -> Operation | None:
    names = [_text(document, name) for name in ("service", "kind", "name")]
    return Operation(*(name or "" for name in names)) if any(names) else None


def _cause(cause: Any) -> str | None:
    service, why, share = _text(cause, "service"), _text(cause, "why"), _number(cause, "share")
    if service is None:
        return None
    part = "" if share is None else f" ({100 * share:.0f} % of the excess)"
    return f"{service}{part}: {why or 'no reason is given'}"


def _strengths(judgement: Any) -> Iterator[Strength]:
    for one in _rows(judgement, "evidence"):
        operation, edge = _operation(_at(one, "operation")), _at(one, "edge")
        caller, callee = _operation(_at(edge, "caller")), _operation(_at(edge, "callee"))
        place = f"{caller} → {callee}" if caller and callee else str(operation or "all operations")
        yield Strength(_text(one, "signal") or "", place, _number(one, "log_e") or 0.0, _number(one, "threshold") or 0.0)


def _looks(lines: Sequence[Line], blobs: _Blobs) -> Iterator[Look]:
    """Every look that a verdict names, each once."""
    lists = (blobs.document(str(line.values["looks"]), "the list of looks of a verdict") for line in lines if line.kind is Kind.VERDICT)
    for digest in dict.fromkeys(digest for listed in lists if isinstance(listed, list) for digest in listed if isinstance(digest, str)):
        blob = blobs.get(digest, "the windows of a look")
        if blob is None:
            continue
        try:
            yield Look.from_bytes(blob)
        except (ValueError, KeyError, TypeError):
            blobs.unreadable(digest, "the windows of a look")


def _intended(lines: Sequence[Line]) -> Iterator[Weight]:
    for line in lines:
        if line.kind in {Kind.WEIGHT_INTENDED, Kind.COMMIT_INTENDED}:
            yield Weight(line.unix_nano, _number(line.values, "candidatePercent"))
        elif line.kind is Kind.ROLLBACK_INTENDED:
            yield Weight(line.unix_nano, 0.0)


def _observed(lines: Sequence[Line]) -> Iterator[Weight]:
    for line in lines:
        if line.kind in {Kind.WEIGHT_OBSERVED, Kind.COMMIT_OBSERVED, Kind.ROLLBACK_OBSERVED}:
            yield Weight(line.unix_nano, _number(line.values, "candidatePercent"))


def _gaps(entries: Sequence[Entry], lines: Sequence[Line]) -> Iterator[Gap]:
    """What the entries themselves say of what is missing, late or weak."""
    if not any(line.kind is Kind.ROLLOUT_ENDED for line in lines):
        yield Gap(GapKind.OPEN, "The rollout has no end in the record: how it ended is an open question.")
    for expected, line in enumerate(lines, 1):
        if line.sequence != expected:
            yield Gap(GapKind.GAP, f"Entries are missing: number {expected} is expected, and number {line.sequence} follows.")
            break
    late = [line.index for line in lines if line.late]
    if late:
        yield Gap(GapKind.LATE, f"Entered after the act, because the ledger could not be written then: {_entries(late)}.")
    if not any(line.kind in APPROVALS for line in lines):
        yield Gap(GapKind.UNSIGNED, "Nobody has signed anything in this record: no approval is shown by it.")
    unsure = [entry.index for entry in entries if not entry.statement.clock.synchronised]
    if unsure:
        which = "every entry" if len(unsure) == len(lines) else _entries(unsure)
        yield Gap(GapKind.CLOCK, f"The operating system did not say that its clock was synchronised: {which}.")


def _shown(consent: Consent, blobs: _Blobs) -> Iterator[Shown]:
    """What approvers were shown, each once."""
    digests = dict.fromkeys(word.given.approval.shown for word in consent.words if word.given is not None)
    for digest in digests:
        if digest is not None:
            document = blobs.document(digest, "what an approver was shown")
            findings = (_text(one, "sentence") for one in _rows(document, "findings"))
            yield Shown(
                digest, document is not None, _text(document, "about") or "", _text(document, "verdict"), _text(document, "summary") or "",
                tuple(filter(None, findings)),
            )  # fmt: skip


def _reviews(reviews: Sequence[Review], as_of_unix_s: float) -> Iterator[Gap]:
    """Reviews that are open, of whatever rollout: every report shows them until they are done."""
    for one in reviews:
        if one.open:
            late = "OVERDUE: " if one.overdue(as_of_unix_s) else ""
            due = rfc3339(one.due_unix_s * NANO)[:16].replace("T", " ")
            wrong = f" What was entered as its review is none: {one.wrong}." if one.wrong else ""
            yield Gap(GapKind.REVIEW, f"{late}the review of an override of a freeze in {one.rollout} is open; it is due {due} UTC.{wrong}")


def _consent(consent: Consent) -> Iterator[Gap]:
    """What is wrong with what people are said to have signed, and what moved without whom its plan asks."""
    for word in consent.words:
        if word.wrong:
            yield Gap(GapKind.CONSENT, f"What entry {word.entry} says that somebody signed is not so: {word.wrong}.")
    for move in consent.moves:
        if move.wrong:
            how = f"in a freeze ({move.freeze})" if move.freeze else "through its gate"
            yield Gap(GapKind.CONSENT, f"Entry {move.entry} moved on to {move.about} {how}, and it was not open: {move.wrong}.")


def _unseen(lines: Sequence[Line], verdicts: Sequence[Judged]) -> Iterator[Gap]:
    """What nobody looked at, or could see."""
    if not verdicts:
        yield Gap(GapKind.UNSEEN, "There is no verdict: nothing was judged.")
    blind = [line.index for line in lines if line.kind is Kind.TELEMETRY_BLIND]
    if blind:
        yield Gap(GapKind.UNSEEN, f"The candidate could not be seen for a time: {_entries(blind)}.")
    unknown = [line.index for line in lines if "candidatePercent" in KINDS[line.kind] and line.values.get("candidatePercent", 0) is None]
    if unknown:
        yield Gap(GapKind.UNSEEN, f"The proxy's weight could not be read back at the time: {_entries(unknown)}.")


def _entries(indices: Sequence[int]) -> str:
    listed = ", ".join(str(index) for index in indices[:SAID_MAX])
    more = f" and {len(indices) - SAID_MAX} more" if len(indices) > SAID_MAX else ""
    return f"{'entry' if len(indices) == 1 else 'entries'} {listed}{more}"
