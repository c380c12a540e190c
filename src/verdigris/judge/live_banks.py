"""The live judge's arithmetic: banks for every stream, with all instances and without each group of them.

Pure arrays, so that many rollouts can be advanced as one in simulations. What decides is the least over leaving out each
group; a row without requests in a window does not change at all.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from verdigris.judge.betting import HALF_LIFE_WINDOWS, Banks, bets_of, open_banks, paid, remembering
from verdigris.judge.divergence import Array, log_e
from verdigris.judge.tallies import GROUPS_MAX

AGREE_WINDOWS_MIN = 3
"""No window contributes more than one part in so many of what a stream needs, so at least so many must agree …"""

AGREE_S = 10.0
"""… and with short windows so many that together they last this long: a burst that is shorter cannot decide."""

HALF_LIFE_S = 240.0
"""The baseline's rate is forgotten by half in this time, or in 24 windows, whichever is longer."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveBanks:
    """Rows of `banks`: copy by copy, each with all streams.

    Copy 0 has all groups, copy 1 + g all but g. `seen`, shape (streams, GROUPS_MAX): groups that ever had a request of it.
    """

    banks: Banks
    rho: Array
    swapped: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    @property
    def copies(self) -> int:
        """How often each stream is kept."""
        return int(self.banks.log_wealth.size // max(self.rho.size, 1))


def windows_that_must_agree(window_s: float) -> int:
    """Windows of a fault that it takes at least to be found."""
    return max(AGREE_WINDOWS_MIN, min(round(AGREE_S / window_s), round(AGREE_S)))


def open_live_banks(
    r: Array, d: Array, rho: Array, prior_rate: Array, prior_trials: Array, swapped: NDArray[np.bool_], window_s: float, *,
    needed: Array | None, groups: int = GROUPS_MAX,
) -> LiveBanks:  # fmt: skip
    """Banks before the first window. All arrays have shape (streams,).

    Args:
        needed: nats at which each stream is a finding; None for the streams of a PASS, which are not clipped and leave nothing out.
        groups: how many groups are left out; 0 for none.
    """
    copies = 1 if needed is None else groups + 1
    banks = open_banks(
        np.tile(r, copies), np.tile(d, copies), 1.0, np.tile(prior_rate, copies),
        sign=-1 if needed is None else 1,
        clip=None if needed is None else np.tile(needed / windows_that_must_agree(window_s), copies),
        prior_trials=np.tile(prior_trials, copies),
        half_life_windows=max(HALF_LIFE_WINDOWS, HALF_LIFE_S / window_s),
    )  # fmt: skip
    return LiveBanks(banks, rho, swapped, (r == 1) & (d == 0), np.zeros((r.size, GROUPS_MAX), bool))


def advance_live(
    live: LiveBanks, base_n: Array, base_k: Array, cand_n: Array, cand_k: Array, base_instances: Array, cand_instances: Array
) -> LiveBanks:
    """The banks after one more window. Args: baseline's counts (streams,), the candidate's (streams, GROUPS_MAX), instances (streams,)."""
    copies, whole_n, whole_k = live.copies, cand_n.sum(axis=1), cand_k.sum(axis=1)
    seen = live.seen | (cand_n > 0)
    fewer_n = [whole_n] + [whole_n - cand_n[:, g] for g in range(copies - 1)]
    fewer_k = [whole_k] + [whole_k - cand_k[:, g] for g in range(copies - 1)]
    swapped = np.tile(live.swapped, copies)
    n_b, k_b = np.tile(base_n, copies), np.tile(base_k, copies)
    n_c, k_c = np.maximum(np.concatenate(fewer_n), 0.0), np.maximum(np.concatenate(fewer_k), 0.0)
    n_b, n_c = np.where(swapped, n_c, n_b), np.where(swapped, n_b, n_c)
    k_b, k_c = np.minimum(np.where(swapped, k_c, k_b), n_b), np.minimum(np.where(swapped, k_b, k_c), n_c)
    phi = np.tile(dispersions(live.rho, base_n, whole_n, base_instances, cand_instances), copies)
    banks = replace(live.banks, phi=phi)
    active = (n_b > 0) & (n_c > 0)
    # Without a group that had no request now the gain is that with all, but for streams whose baseline is the candidate.
    without = np.concatenate([np.ones(live.rho.size, bool)] + [(cand_n[:, g] > 0) | live.swapped for g in range(copies - 1)])
    gains = _gains(banks, np.tile(live.exact, copies), n_b, k_b, n_c, k_c, active & without)
    same = active & ~without
    gains[same] = gains[np.flatnonzero(same) % live.rho.size]
    grown = remembering(paid(banks, gains), n_b, k_b, n_c, k_c)
    return replace(live, banks=_only(banks, grown, active, n_b > 0, n_c > 0), seen=seen)


def dispersions(rho: Array, base_n: Array, cand_n: Array, base_instances: Array, cand_instances: Array) -> Array:
    """φ of each stream for the requests of this window, ≥ 1: of either role, weighed with the other's requests."""
    phi_b = 1 + rho * base_n / np.maximum(base_instances, 1.0)
    phi_c = 1 + rho * cand_n / np.maximum(cand_instances, 1.0)
    both = base_n + cand_n
    return np.asarray(np.where(both > 0, np.maximum(1.0, (phi_c * base_n + phi_b * cand_n) / np.maximum(both, 1e-12)), 1.0))


def decided(live: LiveBanks) -> tuple[Array, Array, NDArray[np.int_]]:
    """What decides, the evidence with all instances, and the group without which it is weakest (−1 for none), for each stream."""
    logs = live.banks.log_wealth.reshape(live.copies, live.rho.size)
    whole = logs[0]
    several = live.seen.sum(axis=1) > 1
    left_out = live.seen.T[: live.copies - 1] & several[None, :]
    without = np.where(left_out, logs[1:], np.inf) if live.copies > 1 else np.full((1, whole.size), np.inf)
    least = without.min(axis=0)
    weaker = least < whole
    return np.where(weaker, least, whole), whole, np.where(weaker, without.argmin(axis=0), -1)


def _gains(banks: Banks, exact: NDArray[np.bool_], n_b: Array, k_b: Array, n_c: Array, k_c: Array, asked: NDArray[np.bool_]) -> Array:
    """Log e-values of the rows asked for, 0 elsewhere. The null's nearest point has a closed form where nothing is tolerated."""
    a, bets = bets_of(banks)
    gains = np.zeros(bets.shape)
    for some in (asked & exact, asked & ~exact):
        at = np.flatnonzero(some)
        if at.size:
            n_base, k_base, n_cand, k_cand, rate, r, d = (
                x[at][:, None] for x in (n_b, k_b, n_c, k_c, a, banks.tolerance_r, banks.tolerance_d)
            )
            gains[at] = log_e(n_base, k_base, n_cand, k_cand, rate, bets[at], r, d, banks.sign)
    return gains


def _only(before: Banks, after: Banks, active: NDArray[np.bool_], base: NDArray[np.bool_], cand: NDArray[np.bool_]) -> Banks:
    """`after` where something was seen, `before` where not."""
    return replace(
        after,
        shares=np.where(active[:, None], after.shares, before.shares),
        log_wealth=np.where(active, after.log_wealth, before.log_wealth),
        windows=np.where(active, after.windows, before.windows),
        base_n=np.where(base, after.base_n, before.base_n),
        base_k=np.where(base, after.base_k, before.base_k),
        cand_n=np.where(cand, after.cand_n, before.cand_n),
        cand_k=np.where(cand, after.cand_k, before.cand_k),
    )
