"""Two proportions against "the candidate's is no worse than tolerated": projections and likelihood ratios.

The null is the convex set {(p, p') : p' ≤ r·p + d}; for the reversed test (`sign` −1) it is {(p, p') : p' ≥ r·p + d}.
All functions take and return arrays that broadcast. Sources: Turner, Ly & Grünwald, arXiv:2106.02693 and 2203.09785.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

PROJECTION_STEPS = 60
"""Bisection halves [0, 1] to below the spacing of doubles near any rate that counts can show."""


def kl(p: ArrayLike, q: ArrayLike) -> Array:
    """Kullback-Leibler divergence of Bernoulli(p) from Bernoulli(q), in nats; infinite where q excludes what p allows."""
    p, q = np.asarray(p, float), np.asarray(q, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        happened = np.where(p > 0, p * np.log(p / q), 0.0)
        missed = np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - q)), 0.0)
    return np.asarray(happened + missed)


def nearest_null(n_base: ArrayLike, a: ArrayLike, n_cand: ArrayLike, c: ArrayLike, r: ArrayLike, d: ArrayLike) -> Array:
    """The q that minimises n_base·KL(a‖q) + n_cand·KL(c‖r·q + d): the null's closest point to (a, c), on its boundary.

    Args:
        n_base, n_cand: trials, > 0.
        a, c: rates of baseline and candidate, in [0, 1].
        r, d: the tolerance, r > 0, 0 ≤ d < 1.
    Returns: q in (0, (1 − d)/r).
    """
    n_base, a, n_cand, c, r, d = np.broadcast_arrays(*(np.asarray(x, float) for x in (n_base, a, n_cand, c, r, d)), subok=False)
    if np.all((r == 1) & (d == 0)):
        return np.asarray((n_base * a + n_cand * c) / np.maximum(n_base + n_cand, 1e-300))
    low, high = np.zeros(a.shape), np.minimum(1.0, (1 - d) / r)
    for _ in range(PROJECTION_STEPS):
        q = (low + high) / 2
        f = r * q + d
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = n_base * (q - a) / (q * (1 - q)) + n_cand * r * (f - c) / (f * (1 - f))
        beyond = slope > 0
        high, low = np.where(beyond, q, high), np.where(beyond, low, q)
    return np.asarray((low + high) / 2)


def log_e(
    n_base: ArrayLike, k_base: ArrayLike, n_cand: ArrayLike, k_cand: ArrayLike,
    a: ArrayLike, c: ArrayLike, r: ArrayLike, d: ArrayLike, sign: int = 1,
) -> Array:  # fmt: skip
    """Log e-value of one window: betting on rates (a, c) against the closest point of the null.

    Args:
        n_base, k_base, n_cand, k_cand: trials and bad events of this window, k ≤ n, fractions allowed.
        a, c: the rates bet on; they must not depend on this window's counts. Looking voids the guarantee.
        r, d: tolerance. sign: +1 for the null "no worse", −1 for the null "worse".
    Returns: nats; its exponential has a mean of at most 1 under the null, whatever the baseline's rate. 0 where (a, c) lies
        inside the null or a role has no trials.
    """
    n_base, k_base, n_cand, k_cand, a, c, r, d = (np.asarray(x, float) for x in (n_base, k_base, n_cand, k_cand, a, c, r, d))
    q = nearest_null(n_base, a, n_cand, c, r, d)
    f, tolerated = r * q + d, r * a + d
    with np.errstate(divide="ignore", invalid="ignore"):
        base = _weighed(k_base, a / q) + _weighed(n_base - k_base, (1 - a) / (1 - q))
        cand = _weighed(k_cand, c / f) + _weighed(n_cand - k_cand, (1 - c) / (1 - f))
    inside = c <= tolerated if sign > 0 else c >= tolerated
    return np.asarray(np.where(inside | (n_base <= 0) | (n_cand <= 0), 0.0, base + cand))


def log_likelihood_ratio(
    n_base: ArrayLike, k_base: ArrayLike, n_cand: ArrayLike, k_cand: ArrayLike, r: ArrayLike, d: ArrayLike, sign: int = 1
) -> Array:
    """Log of the largest likelihood over the largest under the null, in nats; 0 where the observed rates lie inside the null.

    Half of Wilks' statistic: twice this is about chi-square with one degree of freedom on the null's boundary, so it serves
    one look at the end, not many.
    """
    n_base, k_base, n_cand, k_cand, r, d = (np.asarray(x, float) for x in (n_base, k_base, n_cand, k_cand, r, d))
    a, c = k_base / np.maximum(n_base, 1e-300), k_cand / np.maximum(n_cand, 1e-300)
    q = nearest_null(n_base, a, n_cand, c, r, d)
    with np.errstate(invalid="ignore"):  # 0 trials times an infinite divergence; without trials the ratio is 0 below
        ratio = n_base * kl(a, q) + n_cand * kl(c, r * q + d)
    inside = c <= r * a + d if sign > 0 else c >= r * a + d
    return np.asarray(np.where(inside | (n_base <= 0) | (n_cand <= 0), 0.0, np.maximum(ratio, 0.0)))


def _weighed(count: Array, ratio: Array) -> Array:
    """count·log(ratio), 0 where the count is 0 whatever the ratio."""
    return np.asarray(np.where(count > 0, count * np.log(ratio), 0.0))
