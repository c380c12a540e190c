"""How large a difference is, with a 95 % interval: for people, after the evidence has decided.

Intervals of a difference are made from each side's own interval by the square-and-add rule (Zou & Donner 2008; for shares it
is Newcombe's hybrid score interval of 1998).
"""

import math

import numpy as np

from verdigris.judge.streams import Stream, bucket_ms
from verdigris.judge.tallies import OperationTally, Tallies, TimeHistogram
from verdigris.judge.verdict import Effect, Signal

Z95 = 1.959964

WORDS = {
    Signal.ERRORS: "requests that fail",
    Signal.NEW_ERROR_KIND: "requests that fail in a way the baseline never did",
    Signal.REFUSED_MORE: "requests refused for want of credentials",
    Signal.REFUSED_LESS: "requests refused for want of credentials",
    Signal.REJECTED: "requests rejected (4xx)",
    Signal.ORPHANS: "spans whose parent never came",
    Signal.CALL_MISSING: "requests that make the call",
    Signal.CALL_EXTRA: "requests that make more calls than usual",
    Signal.OPERATION_MISSING: "requests that reach it",
    Signal.NEW_OPERATION_FAILS: "requests that fail in operations which the baseline does not have",
    Signal.UNTRACED: "requests without a trace",
    Signal.LEAK: "requests that send sensitive data which the baseline does not send",
    Signal.LEAK_MORE: "requests that send sensitive data",
    Signal.NEW_OPERATION_LEAKS: "requests that send sensitive data in operations which the baseline does not have",
}


def effect_of(stream: Stream, tallies: Tallies, phi: float) -> Effect:
    """The effect that a stream measures. `phi` widens the interval as it weakens the evidence."""
    if stream.quantile is not None:
        exclusive = stream.signal is Signal.EXCLUSIVE_LATENCY
        base, cand = (_times(r.operations[stream.operation], exclusive=exclusive) for r in (tallies.baseline, tallies.candidate))
        name = "own time" if exclusive else "duration"
        return _quantile_effect(f"{_percentile(stream.quantile)} of {name}", base, cand, stream.quantile, phi)
    n_b, n_c = float(stream.base_n.sum()), float(stream.cand_n.sum())
    k_b, k_c = float(stream.base_k.sum()), float(stream.cand_k.sum())
    if stream.signal is Signal.CALL_MISSING and not stream.swapped:
        k_b, k_c = n_b - k_b, n_c - k_c
    return share_effect(WORDS[stream.signal], k_b, n_b, k_c, n_c, phi)


def share_effect(measure: str, k_b: float, n_b: float, k_c: float, n_c: float, phi: float) -> Effect:
    """The difference of two shares."""
    (b, b_low, b_high), (c, c_low, c_high) = wilson(k_b, n_b, phi), wilson(k_c, n_c, phi)
    low, high = _square_and_add(b, b_low, b_high, c, c_low, c_high)
    return Effect(measure, "share", b, c, low, high)


def wilson(k: float, n: float, phi: float = 1.0) -> tuple[float, float, float]:
    """Share and its Wilson score interval with n/phi effective trials; n > 0."""
    p, trials = k / n, n / phi
    middle = (p + Z95**2 / (2 * trials)) / (1 + Z95**2 / trials)
    half = Z95 * math.sqrt(max(p * (1 - p), 0.0) / trials + Z95**2 / (4 * trials**2)) / (1 + Z95**2 / trials)
    return p, max(0.0, middle - half), min(1.0, middle + half)


def quantile_ms(histogram: TimeHistogram, q: float) -> float:
    """A quantile in milliseconds: the upper bound of its bucket. The histogram must not be empty."""
    return bucket_ms(histogram.quantile(min(max(q, 0.0), 1.0)))


def _quantile_effect(measure: str, base: TimeHistogram, cand: TimeHistogram, q: float, phi: float) -> Effect:
    sides = []
    for histogram in (base, cand):
        trials = max(float(np.sum(histogram.pooled)) / phi, 1.0)
        half = Z95 * math.sqrt(q * (1 - q) / trials)
        sides.append((quantile_ms(histogram, q), quantile_ms(histogram, q - half), quantile_ms(histogram, q + half)))
    (b, b_low, b_high), (c, c_low, c_high) = sides
    low, high = _square_and_add(b, b_low, b_high, c, c_low, c_high)
    return Effect(measure, "ms", b, c, low, high)


def _square_and_add(b: float, b_low: float, b_high: float, c: float, c_low: float, c_high: float) -> tuple[float, float]:
    difference = c - b
    return difference - math.hypot(c - c_low, b_high - b), difference + math.hypot(c_high - c, b - b_low)


def _times(tally: OperationTally, *, exclusive: bool) -> TimeHistogram:
    return tally.exclusives if exclusive else tally.durations


def _percentile(q: float) -> str:
    return f"p{100 * q:g}"
