"""Which attribute values bad spans have more often than the others: is it one instance, one route, one version, or all?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from verdigris.judge.divergence import log_likelihood_ratio
from verdigris.judge.evidence import nats_of_tail

SHOWN_MAX = 3
"""At most so many values are named for a cause."""

LIFT_MIN = 1.5
"""A value is telling only when it is at least so many times as frequent among the bad spans as among the others."""


@dataclass(frozen=True, slots=True)
class AttributeCounts:
    """Spans of the candidate's operation with this value: `bad` failed or were slow, `good` are the others."""

    key: str
    value: str
    bad: int
    good: int


@dataclass(frozen=True, slots=True)
class TellingAttribute:
    """A value that bad spans have more often: its share among them and among the others, and the evidence in nats."""

    key: str
    value: str
    bad_share: float
    good_share: float
    log_e: float


def telling(counts: Sequence[AttributeCounts], bad: int, good: int, alpha: float) -> tuple[TellingAttribute, ...]:
    """The most telling values, strongest first; Bonferroni over all values looked at.

    Args:
        bad, good: spans in all.
        alpha: chance that any value is named when none matters.
    """
    if not (bad and good and counts):
        return ()
    threshold = math.log(len(counts) / alpha)
    found = []
    for each in counts:
        nats = nats_of_tail(float(log_likelihood_ratio(good, each.good, bad, each.bad, 1.0, 0.0)))
        bad_share, good_share = each.bad / bad, each.good / good
        if nats >= threshold and bad_share >= LIFT_MIN * good_share:
            found.append(TellingAttribute(each.key, each.value, bad_share, good_share, nats))
    return tuple(sorted(found, key=lambda t: (-t.log_e, t.key, t.value))[:SHOWN_MAX])
