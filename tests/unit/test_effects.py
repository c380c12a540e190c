import numpy as np
import pytest

from verdigris.judge.effects import quantile_ms, share_effect, wilson
from verdigris.judge.tallies import TimeHistogram


def test_wilson_as_published() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857-872, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for k, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):
        share, lower, upper = wilson(k, n)
        assert share == k / n
        assert [lower, upper] == pytest.approx([low, high], abs=6e-5)


def test_the_difference_of_shares_as_published() -> None:
    # Newcombe (1998), Statistics in Medicine 17:873-890, table II, method 10: 56/70 against 48/80.
    effect = share_effect("x", 48, 80, 56, 70, 1.0)
    assert effect.low == pytest.approx(0.0524, abs=6e-5)
    assert effect.high == pytest.approx(0.3339, abs=6e-5)
    # And the other way round it is the mirror image.
    mirrored = share_effect("x", 56, 70, 48, 80, 1.0)
    assert mirrored.low == pytest.approx(-0.3339, abs=6e-5)
    assert mirrored.high == pytest.approx(-0.0524, abs=6e-5)


def test_dispersion_widens_as_fewer_trials_would() -> None:
    assert wilson(10, 100, 4.0)[1:] == pytest.approx(wilson(2.5, 25)[1:])
    wide, narrow = share_effect("x", 10, 100, 30, 100, 4.0), share_effect("x", 10, 100, 30, 100, 1.0)
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.low < narrow.low


def test_intervals_of_shares_cover() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for k_b, k_c in zip(rng.binomial(400, 0.03, 3000), rng.binomial(150, 0.05, 3000), strict=True):
        effect = share_effect("x", float(k_b), 400, float(k_c), 150, 1.0)
        assert effect.low is not None
        assert effect.high is not None
        covered += effect.low <= 0.02 <= effect.high
    assert covered / 3000 == pytest.approx(0.95, abs=0.02)


def test_a_quantile_is_its_buckets_upper_bound() -> None:
    # 2^20 ns = 1.048576 ms is the upper bound of bucket 639; the next one ends 2^(1/32) later.
    histogram = TimeHistogram(639, np.array([[[50.0, 40.0, 10.0]]]))
    assert quantile_ms(histogram, 0.5) == pytest.approx(2**20 / 1e6)
    assert quantile_ms(histogram, 0.9) == pytest.approx(2 ** (20 + 1 / 32) / 1e6)
    assert quantile_ms(histogram, 0.91) == pytest.approx(2 ** (20 + 2 / 32) / 1e6)
    assert quantile_ms(histogram, 2.0) == quantile_ms(histogram, 1.0)
