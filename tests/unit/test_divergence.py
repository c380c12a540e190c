import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verdigris.judge.divergence import kl, log_e, log_likelihood_ratio, nearest_null

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "judge" / "e_process.json"


def vectors(kind: str) -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip("the vectors of the e-process are not beside this repository")
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())[kind]
    return found


def test_log_e_equals_the_vectors() -> None:
    for v in vectors("log_e"):
        names = ("n_base", "k_base", "n_cand", "k_cand", "a", "c", "r", "d", "sign")
        assert float(log_e(*(v[name] for name in names))) == pytest.approx(v["log_e"], abs=1e-9), v


def test_log_e_by_hand() -> None:
    # Equal trials, betting on .1 against .3: the nearest point of the null is their middle, .2.
    expected = 2 * math.log(0.1 / 0.2) + 8 * math.log(0.9 / 0.8) + 4 * math.log(0.3 / 0.2) + 6 * math.log(0.7 / 0.8)
    assert float(log_e(10, 2, 10, 4, 0.1, 0.3, 1, 0)) == pytest.approx(expected, abs=1e-12)


def test_more_bad_events_of_the_candidate_are_more_evidence_and_of_the_baseline_less() -> None:
    cand = log_e(100, 5, 100, np.arange(100), 0.05, 0.2, 1.1, 0.0005)
    base = log_e(100, np.arange(100), 100, 10, 0.05, 0.2, 1.1, 0.0005)
    assert (np.diff(cand) > 0).all()
    assert (np.diff(base) < 0).all()


def test_the_reversed_question_gains_from_few_bad_events() -> None:
    reversed_ = log_e(1000, 10, 1000, np.arange(50), 0.01, 0.01, 1.5, 0.002, -1)
    assert (np.diff(reversed_) < 0).all()
    assert reversed_[5] > 0


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("r", "d"), [(1.0, 0.0), (1.1, 0.005), (1.5, 0.002)])
def test_log_e_is_nothing_inside_the_null_and_without_trials(sign: int, r: float, d: float) -> None:
    a = 0.1
    edge = r * a + d
    inside = edge * (0.8 if sign > 0 else 1.2)
    outside = edge * (1.5 if sign > 0 else 0.5)
    assert float(log_e(50, 20, 60, 3, a, inside, r, d, sign)) == 0
    assert float(log_e(50, 20, 60, 3, a, edge, r, d, sign)) == 0
    assert float(log_e(0, 0, 60, 30, a, outside, r, d, sign)) == 0
    assert float(log_e(50, 0, 0, 0, a, outside, r, d, sign)) == 0
    assert float(log_e(50, 20, 60, 3, a, outside, r, d, sign)) != 0


def test_kl_by_hand_and_at_the_ends() -> None:
    assert float(kl(0.5, 0.25)) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75))
    assert float(kl(0.0, 0.2)) == pytest.approx(-math.log(0.8))
    assert float(kl(1.0, 0.2)) == pytest.approx(-math.log(0.2))
    assert float(kl(0.3, 0.3)) == 0
    assert math.isinf(float(kl(0.3, 0.0)))


def test_the_nearest_null_without_tolerance_is_the_pooled_rate() -> None:
    assert float(nearest_null(300, 0.1, 100, 0.5, 1, 0)) == pytest.approx(0.2)
    # The general way comes to the same rate.
    assert float(nearest_null(300, 0.1, 100, 0.5, 1 + 1e-12, 0)) == pytest.approx(0.2, abs=1e-9)


def test_the_largest_ratio_is_nothing_inside_the_null_and_grows_outside() -> None:
    ratios = log_likelihood_ratio(1000, 100, 1000, np.arange(80, 200), 1.1, 0.005)
    inside = np.arange(80, 200) <= 115
    assert (ratios[inside] == 0).all()
    assert (np.diff(ratios[~inside]) > 0).all()
    assert float(log_likelihood_ratio(0, 0, 10, 5, 1, 0)) == 0


def test_the_largest_ratio_is_half_of_the_deviance_of_two_shares() -> None:
    pooled = (30 + 60) / 1200
    expected = sum(k * math.log(k / n / pooled) + (n - k) * math.log((1 - k / n) / (1 - pooled)) for k, n in ((30, 700), (60, 500)))
    assert float(log_likelihood_ratio(700, 30, 500, 60, 1, 0)) == pytest.approx(expected)


def test_twice_the_largest_ratio_is_chi_square_on_the_boundary() -> None:
    rng = np.random.default_rng(11)
    k_b, k_c = rng.binomial(2000, 0.1, 40_000), rng.binomial(1000, 0.115, 40_000)
    twice = 2 * log_likelihood_ratio(2000, k_b, 1000, k_c, 1.1, 0.005)
    # One-sided: half of the mass is 0; the quantiles of the other half are chi-square's with one degree of freedom.
    for tail, value in ((0.05, 2.706), (0.01, 5.412), (0.001, 9.550)):
        assert (twice > value).mean() == pytest.approx(tail, abs=4 * math.sqrt(tail / 40_000) + tail * 0.15)
