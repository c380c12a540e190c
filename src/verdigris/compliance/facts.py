"""What rules read: the entries of one rollout in order, and the evidence that they name. Pure; nothing here decides anything.

The entries are taken as genuine: whoever read them from a ledger has checked their signatures, and who wants to know that none is missing
verifies the ledger. A blob that was erased is a fact too, and no rule takes it for more than that.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verdigris.compliance.consent import OF_REVIEWS, Consent, Entry, EvidenceOf, Review, consent_of, reviews_of
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.statement import Statement
from verdigris.times import NANO

FULL_PERCENT = 100.0
PERCENT_ERROR = 0.01
"""Every proxy sets weights to a hundredth of a percent."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The entries of one rollout, in order and at least one, and how to read what they name.

    Args:
        evidence: a blob by its SHA-256; None where it was erased.
        ledger: what the whole ledger says of reviews, where it is known; else nothing of other rollouts is.
        as_of_unix_s: when a review is overdue; None: the newest entry that is known here.
    """

    entries: Sequence[Entry]
    evidence: EvidenceOf
    ledger: Sequence[Entry] = ()
    as_of_unix_s: float | None = None
    _digests: dict[int, str] = field(default_factory=dict, repr=False, compare=False)
    _people: list[tuple[Consent, tuple[Review, ...]]] = field(default_factory=list, repr=False, compare=False)

    @property
    def consent(self) -> Consent:
        """What people agreed to, verified."""
        return self._signed[0]

    @property
    def reviews(self) -> tuple[Review, ...]:
        """The reviews that were opened anywhere in the ledger."""
        return self._signed[1]

    @property
    def now_unix_s(self) -> float:
        """The time at which a review is overdue or not."""
        newest = max(entry.statement.unix_nano for entry in (*self.entries, *self.ledger)) / NANO
        return newest if self.as_of_unix_s is None else self.as_of_unix_s

    @property
    def _signed(self) -> tuple[Consent, tuple[Review, ...]]:
        if not self._people:
            own = [entry for entry in self.entries if entry.statement.kind in OF_REVIEWS]
            self._people.append((consent_of(self.entries, self.evidence), reviews_of(self.ledger or own, self.evidence)))
        return self._people[0]

    @property
    def first(self) -> Statement:
        """What began it."""
        return self.entries[0].statement

    @property
    def last(self) -> Statement:
        """The newest that is known of it."""
        return self.entries[-1].statement

    @property
    def rollout(self) -> str:
        """Its id."""
        return str(self.first.rollout)

    @property
    def plan_digest(self) -> str:
        """The SHA-256 of its plan."""
        return str(self.first.plan)

    @property
    def indices(self) -> tuple[int, ...]:
        """Of all entries."""
        return tuple(entry.index for entry in self.entries)

    def of(self, *kinds: Kind) -> tuple[Entry, ...]:
        """The entries of some kinds, in order."""
        return tuple(entry for entry in self.entries if entry.statement.kind in kinds)

    @property
    def ended_as(self) -> str | None:
        """How it ended, "rolled back" or "committed"; None where the rollout has no end in the record."""
        ended = self.of(Kind.ROLLOUT_ENDED)
        return str(ended[-1].statement.values["phase"]) if ended else None

    def at(self, indices: Iterable[int]) -> tuple[Entry, ...]:
        """The entries with some indices, in order."""
        wanted = frozenset(indices)
        return tuple(entry for entry in self.entries if entry.index in wanted)

    def digest(self, entry: Entry) -> str:
        """The SHA-256 of what an entry says, in hex."""
        if entry.index not in self._digests:
            self._digests[entry.index] = hashlib.sha256(entry.statement.payload()).hexdigest()
        return self._digests[entry.index]

    def first_gap(self) -> int | None:
        """The place of the first entry whose sequence is not the one before and one more; None where there is no gap."""
        return next((at for at, entry in enumerate(self.entries) if entry.statement.sequence != at + 1), None)

    def plan(self) -> Mapping[str, Any] | None:
        """The plan as it was submitted; None where it was erased."""
        return self._object(self.plan_digest)

    def card(self, entry: Entry) -> Mapping[str, Any] | None:
        """Who acted: what the entry's card says; None where it was erased."""
        return self._object(entry.statement.actor.card)

    def finding(self, entry: Entry) -> Mapping[str, Any]:
        """All that the judge said of the finding of an entry: from the judgement it rests on. Empty where that was erased."""
        for digest in entry.statement.based_on:
            judgement = self._object(digest)
            found = [] if judgement is None else judgement.get("findings", [])
            place = entry.statement.values["position"]
            if isinstance(place, int) and place < len(found) and isinstance(found[place], dict):
                return dict(found[place])
        return {}

    def verdict_before(self, entry: Entry) -> Entry | None:
        """The last verdict before an entry."""
        return next((one for one in reversed(self.of(Kind.VERDICT)) if one.index < entry.index), None)

    def back_at_baseline(self) -> Entry | None:
        """The entry in which the proxy, after the last announced return, says that nothing goes to the candidate; None where none does."""
        announced = self.of(Kind.ROLLBACK_INTENDED)
        if not announced:
            return None
        seen = (one for one in self.of(Kind.ROLLBACK_OBSERVED) if one.index > announced[-1].index)
        return next((one for one in seen if one.statement.values["candidatePercent"] == 0 and not one.statement.values["committed"]), None)

    def _object(self, digest: str) -> dict[str, Any] | None:
        blob = self.evidence(digest)
        if blob is None:
            return None
        document = json.loads(blob)
        return document if isinstance(document, dict) else None


def percent_of(entry: Entry) -> float | None:
    """The candidate's weight that an entry speaks of, in percent; None where the proxy could not tell."""
    percent = entry.statement.values["candidatePercent"]
    return float(percent) if isinstance(percent, int | float) else None
