"""Error rates of evidence that is looked at after every window, on simulated rollouts with fixed seeds."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from verdigris.judge.betting import advance, open_banks
from verdigris.plan.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import ERROR_SHARE, FAULTS, UNCHANGED, Change, Decision, Setting, decide_live, most_by_chance, rollout

POLICY = Policy()


def decisions(setting: Setting, change: Change, runs: int, seed: int) -> list[Decision]:
    rng = np.random.default_rng(seed)
    return decide_live([rollout(rng, setting, change) for _ in range(runs)], POLICY)


def test_the_slack_is_the_binomials() -> None:
    assert most_by_chance(100, 0.01) == 6
    assert most_by_chance(4000, 0.01) == 65


@pytest.mark.parametrize(
    ("setting", "runs"),
    [
        (Setting(100), 30),
        (Setting(1000), 30),
        (Setting(1000, burst_s=0), 30),
        (Setting(1000, burst_s=30), 30),
        (Setting(10, duration_s=900), 30),
    ],
)
def test_an_unchanged_candidate_is_not_returned(setting: Setting, runs: int) -> None:
    # Drift, shocks that both roles feel, bursts on single instances, and a weight that ramps up: 180 looks.
    found = decisions(setting, UNCHANGED, runs, 1)
    assert sum(d.window is not None for d in found) <= most_by_chance(runs, POLICY.alpha)


def test_a_candidate_exactly_at_what_is_tolerated_is_not_returned() -> None:
    edge = Change("at the edge", factor=2 ** (4 / 32), errors=1.1 * ERROR_SHARE + 0.0005, calls_lost=1.1 * 0.002 + 0.005)
    found = decisions(Setting(500, burst_s=0, shocks=False), edge, 40, 2)
    assert sum(d.window is not None for d in found) <= most_by_chance(40, POLICY.alpha)


@pytest.mark.parametrize(("r", "d"), [(1.0, 0.0), (1.1, 0.005)])
def test_on_the_boundary_a_stream_reaches_a_hundred_in_less_than_a_hundredth(r: float, d: float) -> None:
    rng = np.random.default_rng(3)
    streams, windows = 1500, 180
    banks = open_banks(np.full(streams, r), d, 1.0, 0.01)
    ever = np.zeros(streams, bool)
    for t in range(windows):
        share = (0.05, 0.1, 0.25, 0.5)[min(t // 30, 3)]
        rate = 0.02 * np.exp(0.5 * np.sin(t / 20 + rng.uniform(0, 0.1, streams)))
        n_b, n_c = rng.poisson(500 * (1 - share), streams), rng.poisson(500 * share, streams)
        banks = advance(banks, n_b, rng.binomial(n_b, rate), n_c, rng.binomial(n_c, r * rate + d))
        ever |= banks.log_wealth >= math.log(100)
    assert ever.sum() <= most_by_chance(streams, 0.01)
    # Not so careful either that nothing would ever be found.
    assert float(np.exp(banks.log_wealth).mean()) <= 1.5


# Median windows of 10 s until the return, measured at 100 runs (docs/statistics.md), and half as many again.
FOUND_WITHIN = {
    "p99 +100 %": (50, 10),
    "p50 +20 %": (60, 12),
    "5 % take a slow path": (15, 6),
    "errors .1 → 1 %": (70, 14),
    "errors .1 → 5 %": (14, 6),
    "half of a child call missing": (6, 6),
}


@pytest.mark.parametrize("rate", [100, 1000])
@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.name)
def test_faults_are_found_in_time(change: Change, rate: int) -> None:
    found = decisions(Setting(rate, burst_s=0), change, 12, 4)
    at = sorted(math.inf if d.window is None else d.window + 1 for d in found)
    assert math.isfinite(at[-2])
    assert at[len(at) // 2] <= FOUND_WITHIN[change.name][0 if rate == 100 else 1]
    # And none before three windows agree.
    assert at[0] >= 3


def test_with_bursts_on_single_instances_faults_are_found_later_but_found() -> None:
    found = decisions(Setting(1000), FAULTS[1], 12, 5)
    assert sum(d.window is not None for d in found) >= 11
