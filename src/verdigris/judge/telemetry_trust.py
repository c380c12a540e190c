"""Whether requests can be seen: what the proxy counted against the traces that came.

Both are counted by different clocks, so near a window's edge a few requests fall into another one. A shortfall is therefore carried
over, and only what exceeds a small allowance counts as untraced: what comes a window later makes up for what lacked before.
"""

import math
from dataclasses import dataclass

from verdigris.judge.reference import Proxied
from verdigris.judge.windows import Window

SLACK_REQUESTS, SLACK_SHARE = 10.0, 0.1
"""How many requests, and what share of a window's, may be missing because clocks differ."""

UNSEEN_MIN = 20
"""So many requests without a single trace are not chance where nearly all are traced; more where fewer are."""

UNSEEN_NATS = math.log(1e6)
"""How unlikely such a silence must be if requests were traced as often as the baseline's: one in a million."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What is carried from window to window. `base_carried` and `cand_carried` are ≤ 0: how much may still lack unnoticed.

    `unseen`: requests since the role's last trace; `proxied`: requests in all; `base_traced` and `base_proxied` of the baseline.
    """

    base_carried: float | None = None
    cand_carried: float | None = None
    base_unseen: int = 0
    cand_unseen: int = 0
    base_traced: int = 0
    base_proxied: int = 0
    cand_proxied: int = 0


@dataclass(frozen=True, slots=True)
class Untraced:
    """Requests of each role in one window, and those without a trace."""

    base_n: float = 0.0
    base_k: float = 0.0
    cand_n: float = 0.0
    cand_k: float = 0.0


def counting(trust: Trust, window: Window, proxied: Proxied | None, traced_share: float | None) -> tuple[Trust, Untraced]:
    """One window more. `traced_share`: the baseline's traces per request before the rollout, if that was counted."""
    base, cand = window.baseline.traces.traces, window.candidate.traces.traces
    if proxied is None:
        # Nothing was counted: what was traced still ends a silence.
        kept = Trust(
            None, None, 0 if base else trust.base_unseen, 0 if cand else trust.cand_unseen,
            trust.base_traced, trust.base_proxied, trust.cand_proxied,
        )  # fmt: skip
        return kept, Untraced()
    per_request = max(traced_share or 1.0, 1.0)
    base_k, base_carried = _shortfall(trust.base_carried, proxied.baseline, base / per_request)
    cand_k, cand_carried = _shortfall(trust.cand_carried, proxied.candidate, cand / per_request)
    after = Trust(
        base_carried,
        cand_carried,
        0 if base else trust.base_unseen + max(proxied.baseline, 0),
        0 if cand else trust.cand_unseen + max(proxied.candidate, 0),
        trust.base_traced + base,
        trust.base_proxied + max(proxied.baseline, 0),
        trust.cand_proxied + max(proxied.candidate, 0),
    )
    return after, Untraced(max(proxied.baseline, 0), base_k, max(proxied.candidate, 0), cand_k)


def unseen_needed(trust: Trust, traced_share: float | None) -> int:
    """Requests without any trace that mean blindness, given how often the baseline's requests are traced."""
    share = traced_share
    if share is None:
        share = trust.base_traced / trust.base_proxied if trust.base_traced and trust.base_proxied else 1.0
    share = min(max(share, 1e-6), 1 - 1e-9)
    return max(UNSEEN_MIN, math.ceil(UNSEEN_NATS / -math.log1p(-share)))


def _shortfall(carried: float | None, requests: int, traced: float) -> tuple[float, float | None]:
    """Requests without a trace in this window, and what is carried into the next."""
    if requests <= 0 and carried is None:
        return 0.0, None
    slack = -(SLACK_REQUESTS + SLACK_SHARE * max(requests, 0))
    lacking = (slack if carried is None else carried) + requests - traced
    counted = min(max(lacking, 0.0), float(max(requests, 0)))
    return counted, min(max(lacking - counted, slack), 0.0)
