"""Evidence that may be looked at after every window: wealth from bets against the null, one bank per stream.

Wealth is a product of e-values, so the chance that it ever reaches 1/alpha under the null is at most alpha (Ville). Within
a stream, experts bet on different sizes of fault and share what they own over time, so that a fault that starts late is
still found quickly; across streams wealth is averaged, which is valid whatever depends on what (arXiv:2409.19888).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from verdigris.judge.divergence import Array, log_e

ODDS = (1.2, 1.5, 2.2, 4.0, 10.0, 40.0, 300.0)
"""How many times the tolerated odds each expert bets that the candidate's odds are."""

CASH = 0.2
"""Share of a bank that is never bet."""

HALF_LIFE_WINDOWS = 24.0
PRIOR_TRIALS = 50.0
"""What the rate from before the rollout counts for, in trials, when the coming window's rate is predicted."""

RATE_MIN, RATE_MAX = 1e-6, 1 - 1e-4


@dataclass(frozen=True, slots=True)
class Banks:
    """One bank per stream. Shapes: `shares` (streams, experts + 1), all others (streams,). `windows`: how many each has bet on."""

    tolerance_r: Array
    tolerance_d: Array
    phi: Array
    sign: int
    clip: float | Array | None
    keep: float
    prior_rate: Array
    base_n: Array
    base_k: Array
    cand_n: Array
    cand_k: Array
    shares: Array
    log_wealth: Array
    windows: Array


def open_banks(
    r: ArrayLike, d: ArrayLike, phi: ArrayLike, prior_rate: ArrayLike, *,
    sign: int = 1, clip: float | Array | None = 1.5, prior_trials: ArrayLike = PRIOR_TRIALS, half_life_windows: float = HALF_LIFE_WINDOWS,
) -> Banks:  # fmt: skip
    """Banks before the first window.

    Args:
        r, d: shape (streams,), the tolerance of each stream. phi: dispersion, ≥ 1; evidence is divided by it.
        prior_rate: the baseline's rate from before the rollout. prior_trials: what it counts for, in trials.
        sign: +1 bets against "no worse" (to find a fault), −1 bets against "worse" (to show health).
        clip: the most that one window may add, in nats, so that a single burst cannot decide; None for no bound.
        half_life_windows: how fast the baseline's rate of earlier windows is forgotten.
    """
    r, d, phi, prior = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, float)) for x in (r, d, phi, prior_rate)), subok=False)
    experts = len(ODDS) if sign > 0 else 2
    zeros = np.zeros(r.shape)
    trials = zeros + np.asarray(prior_trials, float)
    return Banks(
        r, d, phi, sign, clip, 0.5 ** (1 / half_life_windows), prior, trials, prior * trials, zeros, zeros,
        np.tile(_start(experts), (r.size, 1)), zeros, zeros,
    )  # fmt: skip


def advance(banks: Banks, n_base: ArrayLike, k_base: ArrayLike, n_cand: ArrayLike, k_cand: ArrayLike) -> Banks:
    """The banks after one more window. Args: counts, shape (streams,). The bets use earlier windows only."""
    n_base, k_base, n_cand, k_cand = (np.asarray(x, float) for x in (n_base, k_base, n_cand, k_cand))
    a, bets = bets_of(banks)
    gains = log_e(
        n_base[:, None], k_base[:, None], n_cand[:, None], k_cand[:, None],
        a[:, None], bets, banks.tolerance_r[:, None], banks.tolerance_d[:, None], banks.sign,
    )  # fmt: skip
    return remembering(paid(banks, gains), n_base, k_base, n_cand, k_cand)


def bets_of(banks: Banks) -> tuple[Array, Array]:
    """What is bet on for the coming window: the baseline's rate, shape (streams,), and the experts', shape (streams, experts)."""
    a = np.clip(banks.base_k / banks.base_n, RATE_MIN, RATE_MAX)
    return a, _bets(banks, a)


def paid(banks: Banks, gains: Array) -> Banks:
    """The banks after their experts gained. Args: log e-values of one window, shape (streams, experts), not yet tempered."""
    gains = gains / banks.phi[:, None]
    if banks.clip is not None:
        gains = np.minimum(gains, banks.clip if isinstance(banks.clip, float) else banks.clip[:, None])
    # Relative to the largest gain: a busy window without a clip may gain more than the exponential of a double can hold.
    top = np.maximum(gains.max(axis=1), 0.0)
    grown = banks.shares * np.exp(np.concatenate([np.zeros((top.size, 1)), gains], axis=1) - top[:, None])
    total = grown.sum(axis=1)
    share = (1.0 / (banks.windows + 3))[:, None]
    return replace(
        banks,
        shares=(1 - share) * grown / total[:, None] + share * _start(gains.shape[1]),
        log_wealth=banks.log_wealth + top + np.log(total),
        windows=banks.windows + 1,
    )


def remembering(banks: Banks, n_base: Array, k_base: Array, n_cand: Array, k_cand: Array) -> Banks:
    """The banks with one more window in what they expect. Args: counts, shape (streams,)."""
    return replace(
        banks,
        base_n=banks.base_n * banks.keep + n_base,
        base_k=banks.base_k * banks.keep + k_base,
        cand_n=banks.cand_n * banks.keep + n_cand,
        cand_k=banks.cand_k * banks.keep + k_cand,
    )


def combine(log_wealth: Sequence[float] | NDArray[np.float64], weights: Sequence[float] | NDArray[np.float64]) -> float:
    """Log of the weighted mean of wealths, the rest of the weight being cash. Weights: ≥ 0, sum ≤ 1. Returns nats."""
    logs, shares = np.asarray(log_wealth, float), np.asarray(weights, float)
    cash = max(0.0, 1.0 - float(shares.sum()))
    top = max(0.0, float(logs.max(initial=0.0)))
    return top + float(np.log(cash * np.exp(-top) + np.sum(shares * np.exp(logs - top))))


def _bets(banks: Banks, a: Array) -> Array:
    """The candidate rates that the experts bet on, shape (streams, experts)."""
    tolerated = np.minimum(banks.tolerance_r * a + banks.tolerance_d, RATE_MAX)
    if banks.sign > 0:
        odds = np.array(ODDS)[None, :] * (tolerated / (1 - tolerated))[:, None]
        return np.asarray(odds / (1 + odds))
    seen = (banks.cand_k + a * PRIOR_TRIALS) / (banks.cand_n + PRIOR_TRIALS)
    between = np.sqrt(a * np.maximum(seen, RATE_MIN))
    return np.stack([np.minimum(a, tolerated), np.minimum(between, tolerated)], axis=1)


def _start(experts: int) -> Array:
    """The shares of a bank that has not bet yet: cash, then the experts."""
    return np.array([CASH] + [(1 - CASH) / experts] * experts)
