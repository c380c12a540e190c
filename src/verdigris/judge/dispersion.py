"""How much more counts vary than independent requests would: learned from the baseline's own windows, before the rollout.

One instance's bad requests come in bursts. Then a window with many of them says less than its number of requests pretends,
and evidence is divided by φ = 1 + ρ·(requests per instance and window). ρ is a property of a stream and does not depend on
traffic, so it serves other weights and other numbers of instances.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from verdigris.judge.divergence import Array

BLOCK_LENGTHS = (1, 3, 12)
"""Windows per block when the dispersion between instances is estimated: bursts last longer than a window."""

BLOCKS_S = (10.0, 30.0)
"""Live, blocks are one window and about so many seconds: what lasts longer on one instance is left to leaving it out."""

FREEDOM_MIN = 8.0
"""Blocks of a length are asked only where they give this many degrees of freedom: fewer say anything by chance."""

FAMILY_FREEDOM = 30.0
"""What all streams of a kind say about one of them counts as this many degrees of freedom of its own."""

SINGLE_MAX = 4.0
"""Of a single instance, dispersion cannot be told from drift that both roles will share: it counts for so much at the most."""


@dataclass(frozen=True, slots=True)
class Dispersion:
    """One stream's dispersion by length of block: the ratio of variances, its degrees of freedom, and requests per instance and window."""

    ratios: tuple[float, ...]
    freedoms: tuple[float, ...]
    requests: float
    single: bool = False


def block_lengths(window_s: float) -> tuple[int, ...]:
    """Windows per block, ascending, for windows of this length."""
    return tuple(sorted({1, *(max(1, round(length / window_s)) for length in BLOCKS_S)}))


def excess_between(n: Array, k: Array) -> tuple[Array, Array]:
    """Bad events beyond an instance's share of the window's, and the variance that independent requests would give it.

    Instances are compared inside each window, so drift that they share cancels. Args: counts, shape (instances, windows).
    """
    n_t, k_t = n.sum(axis=0), k.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_t = np.where(n_t > 0, k_t / n_t, 0.0)
        spread = n * p_t * (1 - p_t) * (1 - n / np.maximum(n_t, 1e-12)) * n_t / np.maximum(n_t - 1, 1.0)
    return k - n * p_t, spread


def dispersion_of(n: Array, k: Array, lengths: Sequence[int] = BLOCK_LENGTHS) -> Dispersion:
    """What these counts say. Args: counts, shape (instances, windows). With one instance, successive windows are compared."""
    instances = n.shape[0]
    requests = max(float(n.sum()) / (float(np.count_nonzero(n)) or 1.0), 1.0)
    if instances == 1:
        ratio, freedom = _between_successive(n[0], k[0])
        return Dispersion((ratio,), (freedom,), requests, single=True)
    excess, spread = excess_between(n, k)
    ratios, freedoms = [], []
    for length in lengths:
        blocks = excess.shape[1] // length
        if blocks == 0:
            break
        cut = blocks * length
        x = excess[:, :cut].reshape(instances, blocks, length).sum(axis=2)
        v = spread[:, :cut].reshape(instances, blocks, length).sum(axis=2)
        cells = v[v > 0]
        ratios.append(float((x**2).sum() / cells.sum()) if cells.size else 1.0)
        freedoms.append(_freedom(cells) * (instances - 1) / instances)
    return Dispersion(tuple(ratios), tuple(freedoms), requests)


def rhos(found: Sequence[tuple[Hashable, Dispersion]]) -> list[float]:
    """ρ of each stream, from its own counts and those of its family (the first of each pair)."""
    families: dict[Hashable, list[Dispersion]] = {}
    for family, dispersion in found:
        families.setdefault(family, []).append(dispersion)
    common = {
        family: [_pooled_rho(members, at) for at in range(max(len(m.ratios) for m in members))] for family, members in families.items()
    }
    return [_rho(dispersion, common[family]) for family, dispersion in found]


def _rho(one: Dispersion, common: Sequence[float]) -> float:
    worst = 1.0
    for at, (ratio, freedom) in enumerate(zip(one.ratios, one.freedoms, strict=True)):
        if freedom + FAMILY_FREEDOM * (common[at] > 0) < FREEDOM_MIN:
            continue
        expected = 1 + common[at] * one.requests
        worst = max(worst, (ratio * freedom + expected * FAMILY_FREEDOM) / (freedom + FAMILY_FREEDOM))
    return (min(worst, SINGLE_MAX) if one.single else worst) / one.requests - 1 / one.requests


def _pooled_rho(members: Iterable[Dispersion], at: int) -> float:
    """The slope of the ratios over the requests, by least squares weighed with the degrees of freedom."""
    above = below = freedom = 0.0
    for m in members:
        if at < len(m.ratios):
            above += m.freedoms[at] * m.requests * (m.ratios[at] - 1)
            below += m.freedoms[at] * m.requests**2
            freedom += m.freedoms[at]
    return max(0.0, above / below) if freedom >= FREEDOM_MIN and below > 0 else 0.0


def _between_successive(n: Array, k: Array) -> tuple[float, float]:
    """The dispersion between neighbouring windows and its degrees of freedom."""
    n1, n2, k1, k2 = n[:-1], n[1:], k[:-1], k[1:]
    together = n1 + n2
    p = (k1 + k2) / np.maximum(together, 1e-12)
    v = p * (1 - p) * n1 * n2 / np.maximum(together, 1e-12) * together / np.maximum(together - 1, 1.0)
    x = (k1 * n2 - k2 * n1) / np.maximum(together, 1e-12)
    used = v > 0
    if not used.any():
        return 1.0, 0.0
    return float((x[used] ** 2).sum() / v[used].sum()), _freedom(v[used])


def _freedom(variances: Array) -> float:
    """Degrees of freedom of a sum of squares: few where a count is expected to be small, because then its square varies much."""
    return float((1 / (1 + 0.5 / variances)).sum()) if variances.size else 0.0
