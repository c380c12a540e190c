"""How strong the evidence of each stream is: window by window where the roles ran side by side, one look where they did not.

Both give nats that mean the same: a stream of weight w is a finding when its evidence reaches log(1/(alpha·w)).

- Side by side: wealth of bets (`betting`), tempered by the dispersion between instances; decided without the instance that
  contributes most, so that one bad instance cannot return a candidate.
- Apart in time: one likelihood ratio per stream, tempered by what the recordings vary by themselves: between their own
  blocks, and by how far *most* operations moved from one recording to the other (drift moves many a little; a fault moves a
  few a lot). −log p of its tail.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verdigris.judge.betting import advance, open_banks
from verdigris.judge.dispersion import BLOCK_LENGTHS, excess_between
from verdigris.judge.divergence import Array, log_likelihood_ratio
from verdigris.judge.streams import Stream
from verdigris.judge.verdict import Signal

Rows = NDArray[np.int_]
"""Positions of some of the streams."""

DRIFT_MAX = 0.5
"""Standard deviation of log odds put down to drift at the most. What moved further than that is the candidate's doing."""

DRIFT_SIGNALS = (Signal.EXCLUSIVE_LATENCY, Signal.CALL_MISSING)
DRIFT_QUANTILES = (None, 0.5, 0.75, 0.9)
DRIFT_STEPS = 30
CHI_SQUARE_MEDIAN = 0.4549364
DRIFT_REQUESTS_MIN = 10
"""Drift is measured on signals that every operation has, where both roles have at least so many requests."""

DRIFT_STREAMS_MIN = 10
"""Fewer streams of a family do not tell drift from a fault; then it is measured on all families together."""

PRIOR_OF = {
    Signal.ERRORS: 0.001,
    Signal.REFUSED_MORE: 0.001,
    Signal.REFUSED_LESS: 0.001,
    Signal.NEW_ERROR_KIND: 0.00001,
    Signal.LEAK: 0.00001,
    Signal.LEAK_MORE: 0.001,
    Signal.NEW_OPERATION_LEAKS: 0.00001,
}

WITHOUT_ONE_MAX = 0.25
"""One instance is at fault when the evidence without it is at most this part of the whole."""

BLOCK_PRIOR_WINDOWS = 10.0
"""A stream's own dispersion between windows counts against that of all streams as this many windows would."""


@dataclass(frozen=True, slots=True)
class StreamEvidence:
    """Evidence of one stream, in nats: what decides (`log_e`), the same with all instances, and its growth over the windows."""

    log_e: float
    with_all_instances: float
    phi: float
    trail: tuple[float, ...]
    suspect: str | None
    """The instance without which the evidence is weakest."""

    def is_of_one_instance(self, needed: float) -> bool:
        """Whether it suffices, and hardly anything is left without one instance. More of that is only less data."""
        return self.with_all_instances >= needed and self.log_e <= self.with_all_instances * WITHOUT_ONE_MAX


Judged = tuple[Stream, StreamEvidence, float]
"""A stream with its evidence and the threshold, in nats, at which it is a finding."""


def side_by_side(streams: Sequence[Stream], clip: float) -> list[StreamEvidence]:
    """Evidence where every window has both roles. `clip`: the most that one window may add, in nats."""
    if not streams:
        return []
    base_n, base_k = np.array([s.base_n for s in streams]), np.array([s.base_k for s in streams])
    cand_n, cand_k = np.array([s.cand_n.sum(axis=0) for s in streams]), np.array([s.cand_k.sum(axis=0) for s in streams])
    phi = np.array([_phi_between_instances(s) for s in streams])
    whole = _trails(streams, base_n, base_k, cand_n, cand_k, phi, clip)

    def without(rows: Rows, group: int) -> Array:
        fewer_n = np.array([cand_n[i] - streams[i].cand_n[group] for i in rows])
        fewer_k = np.array([cand_k[i] - streams[i].cand_k[group] for i in rows])
        return _trails([streams[i] for i in rows], base_n[rows], base_k[rows], fewer_n, fewer_k, phi[rows], clip)[:, -1]

    decided, suspects = _weakest(streams, whole[:, -1], without)
    return [
        StreamEvidence(float(decided[i]), float(whole[i, -1]), float(phi[i]), tuple(float(x) for x in whole[i]), suspects[i])
        for i in range(len(streams))
    ]


def apart(streams: Sequence[Stream]) -> list[StreamEvidence]:
    """Evidence where the recordings are of different times: one look over everything, decided as well without each instance."""
    if not streams:
        return []
    n_b, k_b, n_c, k_c = (np.array(x, float) for x in zip(*(_pooled(s) for s in streams), strict=True))
    tau = _drift(streams)
    phi = _phi_between_blocks(streams) + np.array([tau[_family(s)] ** 2 for s in streams]) * _information(n_b, k_b, n_c, k_c)
    whole = _one_look(streams, n_b, k_b, n_c, k_c, phi)

    def without(rows: Rows, group: int) -> Array:
        chosen = [streams[i] for i in rows]
        n_b, k_b, n_c, k_c = (np.array(x, float) for x in zip(*(_pooled(s, without=group) for s in chosen), strict=True))
        return _one_look(chosen, n_b, k_b, n_c, k_c, phi[rows])

    decided, suspects = _weakest(streams, whole, without)
    return [StreamEvidence(float(decided[i]), float(whole[i]), float(phi[i]), (), suspects[i]) for i in range(len(streams))]


def _weakest(streams: Sequence[Stream], whole: Array, without: Callable[[Rows, int], Array]) -> tuple[Array, list[str | None]]:
    """The least evidence of each stream over leaving out each of the candidate's instances, and without which that is.

    Args:
        whole: evidence with all instances. without: evidence of the streams in these rows without this instance.
    """
    decided, suspect = whole.copy(), np.full(len(streams), -1)
    for group in range(max(s.cand_n.shape[0] for s in streams)):
        rows = np.array([i for i, s in enumerate(streams) if group < s.cand_n.shape[0] > 1], int)
        if rows.size:
            fewer = without(rows, group)
            suspect[rows[fewer < decided[rows]]] = group
            decided[rows] = np.minimum(decided[rows], fewer)
    return decided, [str(group) if group >= 0 else None for group in suspect]


def _one_look(streams: Sequence[Stream], n_b: Array, k_b: Array, n_c: Array, k_c: Array, phi: Array) -> Array:
    """Nats against "no worse" of each stream's pooled counts."""
    r, d = np.array([s.tolerance.ratio for s in streams]), np.array([s.tolerance.difference for s in streams])
    return np.array([nats_of_tail(float(x)) for x in log_likelihood_ratio(n_b, k_b, n_c, k_c, r, d) / phi])


def trail_apart(stream: Stream, phi: float) -> tuple[float, ...]:
    """How the evidence of one stream grew while the candidate's windows came in, against all of the baseline; starts with 0."""
    n_b, k_b = float(stream.base_n.sum()), float(stream.base_k.sum())
    n_c, k_c = (np.concatenate([[0.0], np.cumsum(counts.sum(axis=0))]) for counts in (stream.cand_n, stream.cand_k))
    r, d = stream.tolerance.ratio, stream.tolerance.difference
    swapped = stream.swapped
    ratio = log_likelihood_ratio(n_c, k_c, n_b, k_b, r, d) if swapped else log_likelihood_ratio(n_b, k_b, n_c, k_c, r, d)
    return tuple(nats_of_tail(float(x) / phi) for x in ratio)


def nats_of_tail(log_ratio: float) -> float:
    """−log of the chance, under the null, of a one-sided log likelihood ratio this large (nats in, nats out)."""
    if log_ratio <= 0:
        return 0.0
    root = math.sqrt(log_ratio)
    tail = 0.5 * math.erfc(root)
    # Beyond the range of doubles: erfc(x) ~ exp(−x²)/(x·√π).
    return -math.log(tail) if tail > 1e-300 else log_ratio + math.log(2 * root * math.sqrt(math.pi))  # noqa: PLR2004


def _pooled(stream: Stream, without: int | None = None) -> tuple[float, float, float, float]:
    """Trials and bad events of baseline and candidate over all windows, perhaps without one of the candidate's instances."""
    cand_n, cand_k = float(stream.cand_n.sum()), float(stream.cand_k.sum())
    if without is not None:
        cand_n, cand_k = cand_n - float(stream.cand_n[without].sum()), cand_k - float(stream.cand_k[without].sum())
    base_n, base_k = float(stream.base_n.sum()), float(stream.base_k.sum())
    return (cand_n, cand_k, base_n, base_k) if stream.swapped else (base_n, base_k, cand_n, cand_k)


def _trails(streams: Sequence[Stream], base_n: Array, base_k: Array, cand_n: Array, cand_k: Array, phi: Array, clip: float) -> Array:
    """Log wealth after each window, shape (streams, windows + 1); the first column is 0."""
    swapped = np.array([s.swapped for s in streams])[:, None]
    base_n, cand_n = np.where(swapped, cand_n, base_n), np.where(swapped, base_n, cand_n)
    base_k, cand_k = np.where(swapped, cand_k, base_k), np.where(swapped, base_k, cand_k)
    banks = open_banks(
        np.array([s.tolerance.ratio for s in streams]),
        np.array([s.tolerance.difference for s in streams]),
        phi,
        np.array([_prior(s) for s in streams]),
        clip=clip,
    )
    trail = [banks.log_wealth]
    for t in range(base_n.shape[1]):
        banks = advance(banks, base_n[:, t], base_k[:, t], cand_n[:, t], cand_k[:, t])
        trail.append(banks.log_wealth)
    return np.stack(trail, axis=1)


def _prior(stream: Stream) -> float:
    """The rate before anything was seen: by construction of a quantile, else what is usual for such a signal."""
    if stream.quantile is not None:
        return 1.0 - stream.quantile
    return PRIOR_OF.get(stream.signal, 0.01)


def _phi_between_instances(stream: Stream) -> float:
    """Dispersion from the baseline's instances, compared inside each window so that shared drift cancels."""
    n_it, k_it = stream.base_groups_n, stream.base_groups_k
    instances = n_it.shape[0]
    if instances < 2 or not k_it.any():  # noqa: PLR2004  # two instances make a comparison
        return 1.0
    n_t = n_it.sum(axis=0)
    excess, spread = excess_between(n_it, k_it)
    worst = 1.0
    for length in BLOCK_LENGTHS:
        blocks = excess.shape[1] // length
        if blocks < 2:  # noqa: PLR2004  # one block cannot vary
            break
        cut = blocks * length
        x = excess[:, :cut].reshape(instances, blocks, length).sum(axis=2)
        v = spread[:, :cut].sum()
        worst = max(worst, float((x**2).sum() / v) if v > 0 else 1.0)
    active = float(np.count_nonzero(n_it)) or 1.0
    rho = (worst - 1) / max(float(n_it.sum()) / active, 1.0)
    n_b, n_c = float(n_t.sum()), float(stream.cand_n.sum())
    windows = max(int(np.count_nonzero(n_t)), 1)
    phi_b = 1 + rho * n_b / windows / instances
    phi_c = 1 + rho * n_c / windows / stream.cand_n.shape[0]
    return max(1.0, float((phi_c * n_b + phi_b * n_c) / max(n_b + n_c, 1e-12)))


def _phi_between_blocks(streams: Sequence[Stream]) -> Array:
    """Dispersion of each stream between the baseline's windows, shrunk toward that of all streams together."""
    chi, freedom = np.zeros(len(streams)), np.zeros(len(streams))
    for i, stream in enumerate(streams):
        n, k = stream.base_n, stream.base_k
        p = k.sum() / n.sum() if n.sum() > 0 else 0.0
        expected = n * p
        used = expected >= 0.5  # noqa: PLR2004  # below, chi-square says nothing
        if 0 < p < 1 and np.count_nonzero(used) > 1:
            chi[i] = float(((k - expected)[used] ** 2 / (expected * (1 - p))[used]).sum())
            freedom[i] = np.count_nonzero(used) - 1
    common = max(1.0, chi.sum() / freedom.sum()) if freedom.sum() > 0 else 1.0
    return np.maximum(1.0, (chi + BLOCK_PRIOR_WINDOWS * common) / (freedom + BLOCK_PRIOR_WINDOWS))


def _family(stream: Stream) -> str:
    """Streams that drift together: times, and everything else."""
    return "time" if stream.quantile is not None else "share"


def _information(n_b: Array, k_b: Array, n_c: Array, k_c: Array) -> Array:
    """What the counts say about the difference of two log odds: one over the variance of its estimate."""
    p = (k_b + k_c) / np.maximum(n_b + n_c, 1e-12)
    return np.asarray(n_b * n_c / np.maximum(n_b + n_c, 1e-12) * p * (1 - p))


def _drift(streams: Sequence[Stream]) -> dict[str, float]:
    """How far the middle of all streams moved between the recordings: a standard deviation of log odds per family."""
    moves = {family: _moves([s for s in streams if _family(s) == family]) for family in ("time", "share")}
    both = tuple(np.concatenate(parts) for parts in zip(*moves.values(), strict=True))
    return {
        family: _tau(moved, information) if moved.size >= DRIFT_STREAMS_MIN else _tau(both[0], both[1])
        for family, (moved, information) in moves.items()
    }


def _moves(streams: Sequence[Stream]) -> tuple[Array, Array]:
    """For each stream that tells of drift: twice its log likelihood ratio, in either direction, and its information."""
    told = [s for s in streams if s.signal in DRIFT_SIGNALS and s.quantile in DRIFT_QUANTILES]
    n_b, k_b = np.array([float(s.base_n.sum()) for s in told]), np.array([float(s.base_k.sum()) for s in told])
    n_c, k_c = np.array([float(s.cand_n.sum()) for s in told]), np.array([s.cand_k_strict for s in told])
    some = (np.minimum(n_b, n_c) >= DRIFT_REQUESTS_MIN) & (k_b + k_c > 0) & (k_b + k_c < n_b + n_c)
    n_b, k_b, n_c, k_c = n_b[some], k_b[some], n_c[some], k_c[some]
    forth, back = log_likelihood_ratio(n_b, k_b, n_c, k_c, 1.0, 0.0), log_likelihood_ratio(n_c, k_c, n_b, k_b, 1.0, 0.0)
    return 2 * np.maximum(forth, back), _information(n_b, k_b, n_c, k_c)


def _tau(moved: Array, information: Array) -> float:
    """Where the median fits: under drift, `moved` is chi-square (one degree of freedom) times 1 + tau²·information."""
    if not moved.size:
        return 0.0
    low, high = 0.0, DRIFT_MAX
    for _ in range(DRIFT_STEPS):
        tau = (low + high) / 2
        too_small = float(np.median(moved / (1 + tau**2 * information))) > CHI_SQUARE_MEDIAN
        low, high = (tau, high) if too_small else (low, tau)
    return low
