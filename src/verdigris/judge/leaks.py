"""Sensitive data that a role sends: which of it is new, and which the baseline sends as well. Pure.

The decoder masks what it finds and says so in words, `detector@position` with one space between two (docs/windows.md); windows
count requests by these words. A detector that the baseline shows in an operation is known there; one that the plan tolerates
counts nowhere.
"""

from collections.abc import Collection, Iterable, Mapping

NAMED_MAX = 4
"""So many words are named in one sentence, those of most requests first."""


def detectors_in(words: str) -> frozenset[str]:
    """The detectors of one value of the windows: `card@span_name email@span_name` has card and email."""
    return frozenset(word.partition("@")[0] for word in words.split(" ") if word)


def detectors_of(masked: Iterable[str]) -> frozenset[str]:
    """The detectors of several."""
    return frozenset().union(*map(detectors_in, masked))


def is_new(words: str, known: Collection[str], tolerated: Collection[str]) -> bool:
    """Whether any of the detectors is neither known nor tolerated."""
    return any(detector not in known and detector not in tolerated for detector in detectors_in(words))


def is_known(words: str, known: Collection[str], tolerated: Collection[str]) -> bool:
    """Whether any of the detectors is known and not tolerated."""
    return any(detector in known and detector not in tolerated for detector in detectors_in(words))


def most_frequent(masked: Mapping[str, float], detectors: Collection[str]) -> list[tuple[str, float]]:
    """The words of these detectors with the requests that each stands for, most first, then by name."""
    found: dict[str, float] = {}
    for words, requests in masked.items():
        for word in words.split(" "):
            if word.partition("@")[0] in detectors:
                found[word] = found.get(word, 0.0) + requests
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))


def named(masked: Mapping[str, float], detectors: Collection[str]) -> str:
    """The words for people: `card in span_name (12 requests)`."""
    words = most_frequent(masked, detectors)
    told = [f"{_told(word)} ({requests:,.0f} request{'' if round(requests) == 1 else 's'})" for word, requests in words[:NAMED_MAX]]
    return ", ".join(told) + (f" and {len(words) - NAMED_MAX} more" if len(words) > NAMED_MAX else "")


def _told(word: str) -> str:
    detector, at, position = word.partition("@")
    return f"{detector} in {position}" if at else detector
