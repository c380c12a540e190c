"""The live judge's arithmetic: banks for every stream, with all instances and without each group of them.

Pure arrays, so that many rollouts can be advanced as one in simulations. What decides is the least over leaving out each
group; a row without requests in a window does not change at all.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from verdigris.judge.betting import CASH, HALF_LIFE_WINDOWS, ODDS, Banks, bets_of, open_banks, paid, remembering
from verdigris.judge.divergence import Array, log_e
from verdigris.judge.tallies import GROUPS_MAX

BLOCKS_MUST_AGREE = 3
"""So many full blocks can make a finding, and fewer cannot: none contributes more than its part of what a stream needs."""

MIXTURE_NATS = math.log(len(ODDS) / (1 - CASH))
"""What a bank has lost when only one of its experts was right: three full blocks must make up for it too."""

BLOCK_S = 10 / 3
"""Windows are taken together in blocks of about this length, longer ones singly. A burst that is shorter than three cannot decide.

Only gains are cut, losses are not: cut second by second, a fault that shows in two seconds of three would hardly be found.
"""

BEYOND_NATS = 1.0
"""Wealth beyond what a finding needs and so much more is given away. One bad instance would else leave evidence behind that
lasts until another has its bad minute, and both together look like all of them."""

HALF_LIFE_S = 240.0
"""The baseline's rate is forgotten by half in this time, or in 24 windows, whichever is longer."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveBanks:
    """Rows: copy by copy, each with all streams. Copy 0 has all groups, copy 1 + g all but g.

    `banks` stand where the last full block left them, but know the rates of every window; `before`, (rows,), is their log wealth a
    block earlier. `pending`, shape (rows, experts), and
    `held`, (rows,): what the experts gained in the block that is not full, and of how many windows; `log_wealth`, (rows,), has it in.
    `seen`, shape (streams, GROUPS_MAX): groups that ever had a request of the stream. `phi`, (streams,): the last dispersion.
    `most`, (rows,): what no row's log wealth may exceed.
    """

    banks: Banks
    before: Array
    pending: Array
    held: Array
    log_wealth: Array
    block: int
    most: Array
    phi: Array
    rho: Array
    swapped: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    @property
    def copies(self) -> int:
        """How often each stream is kept."""
        return int(self.log_wealth.size // max(self.rho.size, 1))


def windows_in_a_block(window_s: float) -> int:
    """How many windows are taken together."""
    return max(1, round(BLOCK_S / window_s))


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
        clip=None if needed is None else np.tile(np.minimum((needed + MIXTURE_NATS) / BLOCKS_MUST_AGREE, needed / 2), copies),
        prior_trials=np.tile(prior_trials, copies),
        half_life_windows=max(HALF_LIFE_WINDOWS, HALF_LIFE_S / window_s),
    )  # fmt: skip
    rows, block = banks.log_wealth.size, 1 if needed is None else windows_in_a_block(window_s)
    return LiveBanks(
        banks=banks,
        before=np.zeros(rows),
        pending=np.zeros((rows, banks.shares.shape[1] - 1)),
        held=np.zeros(rows),
        log_wealth=np.zeros(rows),
        block=block,
        most=np.full(rows, np.inf) if needed is None else np.tile(needed + BEYOND_NATS, copies),
        phi=np.ones(r.size),
        rho=rho,
        swapped=swapped,
        exact=(r == 1) & (d == 0),
        seen=np.zeros((r.size, GROUPS_MAX), bool),
    )


def with_wealth_of(live: LiveBanks, rows: NDArray[np.int_], other: LiveBanks, of: NDArray[np.int_]) -> LiveBanks:
    """Fresh banks with the wealth of others in some rows, and how it is shared between experts. For banks of one copy and blocks of one."""

    def moved(fresh: NDArray[np.float64], kept: NDArray[np.float64]) -> NDArray[np.float64]:
        made = fresh.copy()
        made[rows] = kept[of]
        return made

    banks, old = live.banks, other.banks
    wealth = replace(
        banks,
        shares=moved(banks.shares, old.shares),
        log_wealth=moved(banks.log_wealth, old.log_wealth),
        windows=moved(banks.windows, old.windows),
    )
    return replace(live, banks=wealth, before=moved(live.before, other.before), log_wealth=moved(live.log_wealth, other.log_wealth))


def advance_live(
    live: LiveBanks, base_n: Array, base_k: Array, cand_n: Array, cand_k: Array, base_instances: Array, cand_instances: Array
) -> LiveBanks:
    """The banks after one more window. Args: baseline's counts (streams,), the candidate's (streams, GROUPS_MAX), instances (streams,)."""
    copies, whole_n, whole_k = live.copies, cand_n.sum(axis=1), cand_k.sum(axis=1)
    fewer_n = [whole_n] + [whole_n - cand_n[:, g] for g in range(copies - 1)]
    fewer_k = [whole_k] + [whole_k - cand_k[:, g] for g in range(copies - 1)]
    swapped = np.tile(live.swapped, copies)
    n_b, k_b = np.tile(base_n, copies), np.tile(base_k, copies)
    n_c, k_c = np.maximum(np.concatenate(fewer_n), 0.0), np.maximum(np.concatenate(fewer_k), 0.0)
    n_b, n_c = np.where(swapped, n_c, n_b), np.where(swapped, n_b, n_c)
    k_b, k_c = np.minimum(np.where(swapped, k_c, k_b), n_b), np.minimum(np.where(swapped, k_b, k_c), n_c)
    phi = dispersions(live.rho, base_n, whole_n, base_instances, cand_instances)
    active = (n_b > 0) & (n_c > 0)
    # Without a group that had no request now the gain is that with all, but for streams whose baseline is the candidate.
    without = np.concatenate([np.ones(live.rho.size, bool)] + [(cand_n[:, g] > 0) | live.swapped for g in range(copies - 1)])
    gains = _gains(live.banks, np.tile(live.exact, copies), n_b, k_b, n_c, k_c, active & without)
    same = active & ~without
    gains[same] = gains[np.flatnonzero(same) % live.rho.size]
    pending, held = live.pending + gains / np.tile(phi, copies)[:, None], live.held + active
    after = paid(live.banks, pending)
    after = replace(after, log_wealth=np.minimum(after.log_wealth, live.most))
    full = held >= live.block
    return replace(
        live,
        banks=_seen_more(_where(full, after, live.banks), n_b, k_b, n_c, k_c),
        before=np.where(full, live.banks.log_wealth, live.before),
        pending=np.where(full[:, None], 0.0, pending),
        held=np.where(full, 0.0, held),
        log_wealth=np.where(active, after.log_wealth, live.log_wealth),
        seen=live.seen | (cand_n > 0),
        phi=np.where((base_n > 0) & (whole_n > 0), phi, live.phi),
    )


def dispersions(rho: Array, base_n: Array, cand_n: Array, base_instances: Array, cand_instances: Array) -> Array:
    """φ of each stream for the requests of this window, ≥ 1: of either role, weighed with the other's requests."""
    phi_b = 1 + rho * base_n / np.maximum(base_instances, 1.0)
    phi_c = 1 + rho * cand_n / np.maximum(cand_instances, 1.0)
    both = base_n + cand_n
    return np.asarray(np.where(both > 0, np.maximum(1.0, (phi_c * base_n + phi_b * cand_n) / np.maximum(both, 1e-12)), 1.0))


def decided(live: LiveBanks) -> tuple[Array, Array, NDArray[np.int_]]:
    """What decides, the evidence with all instances, and the group without which it is weakest (−1 for none), for each stream."""
    return _least(live, live.log_wealth)


def steady(live: LiveBanks) -> Array:
    """What decides about all streams together: the lesser of what they have now and had a block before.

    Streams that move together would else need fewer blocks than one of them alone.
    """
    earlier = np.where(live.held > 0, live.banks.log_wealth, live.before)
    return _least(live, np.minimum(live.log_wealth, earlier))[0]


def _least(live: LiveBanks, log_wealth: Array) -> tuple[Array, Array, NDArray[np.int_]]:
    """The least over leaving out each group, the whole, and the group that makes it least."""
    logs = log_wealth.reshape(live.copies, live.rho.size)
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


def _where(rows: NDArray[np.bool_], one: Banks, other: Banks) -> Banks:
    """What the experts own: of `one` in these rows, of `other` elsewhere."""
    return replace(
        other,
        shares=np.where(rows[:, None], one.shares, other.shares),
        log_wealth=np.where(rows, one.log_wealth, other.log_wealth),
        windows=np.where(rows, one.windows, other.windows),
    )


def _seen_more(banks: Banks, n_b: Array, k_b: Array, n_c: Array, k_c: Array) -> Banks:
    """With this window's rates in what is expected, of a role that had requests."""
    after = remembering(banks, n_b, k_b, n_c, k_c)
    return replace(
        after,
        base_n=np.where(n_b > 0, after.base_n, banks.base_n),
        base_k=np.where(n_b > 0, after.base_k, banks.base_k),
        cand_n=np.where(n_c > 0, after.cand_n, banks.cand_n),
        cand_k=np.where(n_c > 0, after.cand_k, banks.cand_k),
    )
