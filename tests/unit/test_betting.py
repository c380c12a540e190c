import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verdigris.judge.betting import Banks, advance, combine, open_banks

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "judge" / "e_process.json"

Counts = Sequence[tuple[float, float, float, float]]


def vectors(kind: str) -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip("the vectors of the e-process are not beside this repository")
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())[kind]
    return found


def run(banks: Banks, counts: Counts) -> list[float]:
    trail = []
    for row in counts:
        banks = advance(banks, *([x] for x in row))
        trail.append(float(banks.log_wealth[0]))
    return trail


def reference(counts: Counts, r: float, d: float, phi: float, prior: float, *, sign: int = 1, clip: float | None = 1.5) -> list[float]:
    """One bank in plain numbers, written from the formulas in docs/statistics.md and not from the code."""
    odds_of = (1.2, 1.5, 2.2, 4.0, 10.0, 40.0, 300.0)
    experts = len(odds_of) if sign > 0 else 2
    start = [0.2] + [0.8 / experts] * experts
    shares, wealth, keep = list(start), 0.0, 0.5 ** (1 / 24)
    base = [50.0, 50.0 * prior]
    cand = [0.0, 0.0]
    trail = []
    for t, (n_b, k_b, n_c, k_c) in enumerate(counts):
        a = min(max(base[1] / base[0], 1e-6), 1 - 1e-4)
        f = min(r * a + d, 1 - 1e-4)
        if sign > 0:
            bets = [m * f / (1 - f + m * f) for m in odds_of]
        else:
            seen = (cand[1] + 50 * a) / (cand[0] + 50)
            bets = [min(a, f), min(math.sqrt(a * max(seen, 1e-6)), f)]
        factors = [1.0]
        for c in bets:
            gain = _gain(n_b, k_b, n_c, k_c, a, c, r, d, sign) / phi
            factors.append(math.exp(gain if clip is None else min(gain, clip)))
        grown = [s * x for s, x in zip(shares, factors, strict=True)]
        total = sum(grown)
        wealth += math.log(total)
        e = 1 / (t + 3)
        shares = [(1 - e) * g / total + e * s for g, s in zip(grown, start, strict=True)]
        base = [base[0] * keep + n_b, base[1] * keep + k_b]
        cand = [cand[0] * keep + n_c, cand[1] * keep + k_c]
        trail.append(wealth)
    return trail


def _gain(n_b: float, k_b: float, n_c: float, k_c: float, a: float, c: float, r: float, d: float, sign: int) -> float:
    if min(n_b, n_c) <= 0 or sign * (c - (r * a + d)) <= 0:
        return 0.0

    def objective(q: float) -> float:
        f = r * q + d
        return -n_b * (a * math.log(q) + (1 - a) * math.log(1 - q)) - n_c * (c * math.log(f) + (1 - c) * math.log(1 - f))

    low, high = 1e-12, min(1.0, (1 - d) / r) - 1e-12
    for _ in range(200):  # golden section on a convex function
        left, right = low + 0.382 * (high - low), low + 0.618 * (high - low)
        low, high = (low, right) if objective(left) < objective(right) else (left, high)
    q = (low + high) / 2
    f = r * q + d
    return (
        k_b * math.log(a / q)
        + (n_b - k_b) * math.log((1 - a) / (1 - q))
        + k_c * math.log(c / f)
        + (n_c - k_c) * math.log((1 - c) / (1 - f))
    )


def counts_of(seed: int, windows: int, p_b: float, p_c: float) -> list[tuple[float, float, float, float]]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(windows):
        n_b, n_c = int(rng.poisson(300)), int(rng.poisson(80))
        rows.append((float(n_b), float(rng.binomial(n_b, p_b)), float(n_c), float(rng.binomial(n_c, p_c))))
    return rows


def test_banks_equal_the_vectors() -> None:
    for v in vectors("bank"):
        rows = list(zip(v["n_base"], v["k_base"], v["n_cand"], v["k_cand"], strict=True))
        trail = run(open_banks(v["r"], v["d"], v["phi"], v["prior_p"], sign=v["sign"], clip=v["clip"]), rows)
        exact = v["r"] == 1 and v["d"] == 0
        # The vectors' projection is not solved to the last bit where the null has a tolerance; ours is (see the properties).
        assert trail == pytest.approx(v["log_wealth"], abs=1e-4 if exact else 0.03), v["name"]


def test_combine_equals_the_vectors() -> None:
    for v in vectors("combine"):
        assert combine(v["log_e"], v["weights"]) == pytest.approx(v["log_combined"], abs=1e-9)


@pytest.mark.parametrize(
    ("r", "d", "phi", "sign", "clip", "p_c"),
    [
        (1.0, 0.0, 1.0, 1, 1.5, 0.02),
        (1.0, 0.0, 1.0, 1, 1.5, 0.08),
        (1.0, 0.0, 3.0, 1, 1.5, 0.08),
        (1.1, 0.005, 1.4, 1, 2.9, 0.1),
        (1.1, 0.005, 1.0, 1, None, 0.1),
        (1.5, 0.002, 1.0, -1, None, 0.02),
        (1.0, 0.0, 2.0, -1, None, 0.005),
    ],
)
def test_a_bank_is_what_the_design_says(r: float, d: float, phi: float, sign: int, clip: float | None, p_c: float) -> None:
    rows = counts_of(3, 40, 0.02, p_c)
    trail = run(open_banks(r, d, phi, 0.05, sign=sign, clip=clip), rows)
    # Golden section finds the projection to about 1e-8, which the counts multiply.
    assert trail == pytest.approx(reference(rows, r, d, phi, 0.05, sign=sign, clip=clip), abs=1e-5)


def test_bets_use_earlier_windows_only() -> None:
    rows = counts_of(5, 20, 0.02, 0.05)
    banks = open_banks(1, 0, 1, 0.02)
    for row in rows[:10]:
        banks = advance(banks, *([x] for x in row))
    # One window's wealth is linear in what each expert's fixed bets pay: the mean over one trial's outcomes is at most 1.
    p = 0.3
    mean = 0.0
    for k_b in (0.0, 1.0):
        for k_c in (0.0, 1.0):
            chance = (p if k_b else 1 - p) * (p if k_c else 1 - p)
            gained = advance(banks, [1.0], [k_b], [1.0], [k_c]).log_wealth[0] - banks.log_wealth[0]
            mean += chance * math.exp(float(gained))
    assert mean <= 1 + 1e-12
    # And what comes later changes nothing before it.
    assert run(open_banks(1, 0, 1, 0.02), rows)[:10] == run(open_banks(1, 0, 1, 0.02), [*rows[:10], *counts_of(6, 10, 0.5, 0.9)])[:10]


def test_no_window_adds_more_than_the_clip() -> None:
    rows = [(1000.0, 10.0, 1000.0, 900.0)] * 20
    for clip in (0.5, 1.5, 3.0):
        grown = np.diff([0.0, *run(open_banks(1, 0, 1, 0.01, clip=clip), rows)])
        assert (grown <= clip + 1e-12).all()
        assert grown[-1] > 0.9 * clip
    unbounded = run(open_banks(1, 0, 1, 0.01, clip=None), rows)
    # Hundreds of nats a window: more than the exponential of a double can hold.
    assert (np.diff([0.0, *unbounded]) > 100).all()
    assert unbounded[-1] > 10_000


def test_dispersion_divides_evidence() -> None:
    rows = counts_of(7, 30, 0.02, 0.06)
    one, four = (run(open_banks(1, 0, phi, 0.02, clip=None), rows)[-1] for phi in (1, 4))
    assert one / 6 < four < one / 3


def test_a_fault_that_starts_late_is_found_as_fast_again() -> None:
    early = run(open_banks(1, 0, 1, 0.02), counts_of(8, 60, 0.02, 0.06))
    late = run(open_banks(1, 0, 1, 0.02), counts_of(9, 200, 0.02, 0.02) + counts_of(8, 60, 0.02, 0.06))
    needed = math.log(100)
    first_early = int(np.argmax(np.array(early) >= needed))
    first_late = int(np.argmax(np.array(late) >= needed)) - 200
    assert 0 <= first_early <= 12
    assert 0 <= first_late <= first_early + 12


def test_cash_is_never_lost() -> None:
    # The candidate is far better: every expert loses everything, the cash of the first window and its share of later ones stay.
    trail = run(open_banks(1, 0, 1, 0.5), [(500.0, 250.0, 500.0, 0.0)] * 200)
    assert trail[0] == pytest.approx(math.log(0.2), abs=1e-6)
    assert trail[-1] > math.log(0.2) - 0.8 * sum(1 / (t + 3) for t in range(200)) * 1.3


def test_windows_without_trials_change_no_wealth() -> None:
    rows: Counts = [(300, 6, 80, 9), (0, 0, 80, 70), (300, 299, 0, 0), (0, 0, 0, 0)]
    trail = run(open_banks([1.1], [0.005], 1, 0.02), rows)
    assert trail[1:] == pytest.approx([trail[0]] * 3, abs=1e-12)


def test_a_silence_of_days_leaves_the_rate_known() -> None:
    banks = open_banks(1, 0, 1, 0.02)
    banks = advance(banks, [500.0], [10.0], [100.0], [2.0])
    for _ in range(40_000):
        banks = advance(banks, [0.0], [0.0], [0.0], [0.0])
    banks = advance(banks, [500.0], [10.0], [100.0], [30.0])
    assert math.isfinite(float(banks.log_wealth[0]))


@pytest.mark.parametrize("shift", [0.0, 800.0, -800.0])
def test_combine_is_a_weighted_mean_in_logs(shift: float) -> None:
    logs, weights = [shift + 1.0, shift - 2.0], [0.3, 0.2]
    if abs(shift) < 1:
        expected = math.log(0.5 + 0.3 * math.e + 0.2 * math.exp(-2))
    else:
        expected = shift + math.log(0.3 * math.e + 0.2 * math.exp(-2)) if shift > 0 else math.log(0.5)
    assert combine(logs, weights) == pytest.approx(expected, abs=1e-12)


def test_combine_of_nothing_is_cash() -> None:
    assert combine([], []) == 0.0
