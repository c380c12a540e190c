"""What makes the evidence valid: expectations over whole sample spaces, and the projection against a grid."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from verdigris.judge.betting import advance, combine, open_banks
from verdigris.judge.divergence import kl, log_e, nearest_null

rates = st.floats(0.001, 0.999)
trials = st.integers(1, 14)
tolerances = st.sampled_from([(1.0, 0.0), (1.1, 0.005), (1.1, 0.0005), (1.5, 0.002), (1.0, 0.02)])
SLACK = 1e-9


def pmf(n: int, p: float) -> NDArray[np.float64]:
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def expectation(n_b: int, n_c: int, p_b: float, p_c: float, e: NDArray[np.float64]) -> float:
    return float(pmf(n_b, p_b) @ e @ pmf(n_c, p_c))


def e_values(n_b: int, n_c: int, a: float, c: float, tolerance: tuple[float, float], sign: int) -> NDArray[np.float64]:
    k_b, k_c = np.arange(n_b + 1.0)[:, None], np.arange(n_c + 1.0)[None, :]
    return np.asarray(np.exp(log_e(n_b, k_b, n_c, k_c, a, c, *tolerance, sign)))


@given(trials, trials, rates, rates, rates, st.floats(0, 1), tolerances, st.sampled_from([1, -1]))
@settings(max_examples=400, deadline=None)
def test_an_e_value_has_a_mean_of_at_most_one_under_the_null(
    n_b: int, n_c: int, a: float, c: float, p_b: float, depth: float, tolerance: tuple[float, float], sign: int
) -> None:
    r, d = tolerance
    edge = min(r * p_b + d, 1.0)
    inside = edge * (1 - depth) if sign > 0 else edge + (1 - edge) * depth
    e = e_values(n_b, n_c, a, c, tolerance, sign)
    if sign > 0 or r * p_b + d <= 1:
        assert expectation(n_b, n_c, p_b, edge, e) <= 1 + SLACK
        assert expectation(n_b, n_c, p_b, inside, e) <= 1 + SLACK


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("tolerance", [(1.0, 0.0), (1.1, 0.005)])
def test_the_mean_is_at_most_one_everywhere_on_the_boundary_and_one_where_it_touches(tolerance: tuple[float, float], sign: int) -> None:
    r, d = tolerance
    n_b, n_c, a = 9, 6, 0.2
    c = (r * a + d) * (2.5 if sign > 0 else 0.3)
    e = e_values(n_b, n_c, a, c, tolerance, sign)
    q = float(nearest_null(n_b, a, n_c, c, r, d))
    means = [expectation(n_b, n_c, p, r * p + d, e) for p in np.linspace(0.0005, (1 - d) / r - 0.0005, 500)]
    assert max(means) <= 1 + SLACK
    assert expectation(n_b, n_c, q, r * q + d, e) == pytest.approx(1, abs=1e-12)


@given(rates, rates, rates, st.floats(0, 1), tolerances, st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_requests_that_are_partly_bad_are_fine(
    a: float, c: float, p_b: float, partly: float, tolerance: tuple[float, float], n_b: int, n_c: int
) -> None:
    # A request whose calls fail in part counts a part: any law on {0, ½, 1} with the null's mean.
    p_c = min(tolerance[0] * p_b + tolerance[1], 1.0)

    def law(p: float) -> dict[float, float]:
        half = 2 * min(p, 1 - p) * partly
        return {0.0: 1 - p - half / 2, 0.5: half, 1.0: p - half / 2}

    mean = 0.0
    for ys in itertools.product((0.0, 0.5, 1.0), repeat=n_b + n_c):
        if len(ys) > 5:
            break
        chance = math.prod(law(p_b)[y] for y in ys[:n_b]) * math.prod(law(p_c)[y] for y in ys[n_b:])
        if chance > 0:
            mean += chance * math.exp(float(log_e(n_b, sum(ys[:n_b]), n_c, sum(ys[n_b:]), a, c, *tolerance)))
    assert mean <= 1 + SLACK


def exact_mean_wealth(rates_b: Sequence[float], rates_c: Sequence[float], n_b: int, n_c: int, *, sign: int, phi: float) -> float:
    """The mean of a bank's wealth after these windows, over every outcome there is."""
    r, d = 1.1, 0.005
    outcomes = list(itertools.product(itertools.product(range(n_b + 1), range(n_c + 1)), repeat=len(rates_b)))
    size = len(outcomes)
    banks = open_banks(np.full(size, r), d, phi, 0.3, sign=sign, clip=1.5)
    chance = np.ones(size)
    for t, (p_b, p_c) in enumerate(zip(rates_b, rates_c, strict=True)):
        k_b = np.array([path[t][0] for path in outcomes])
        k_c = np.array([path[t][1] for path in outcomes])
        banks = advance(banks, np.full(size, n_b), k_b, np.full(size, n_c), k_c)
        chance *= pmf(n_b, p_b)[k_b] * pmf(n_c, p_c)[k_c]
    assert chance.sum() == pytest.approx(1)
    return float(chance @ np.exp(banks.log_wealth))


@given(st.lists(st.floats(0.01, 0.85), min_size=3, max_size=3), st.sampled_from([1.0, 2.0]))
@settings(max_examples=25, deadline=None)
def test_wealth_has_a_mean_of_at_most_one_whatever_the_rate_does(path: list[float], phi: float) -> None:
    edge = [min(1.1 * p + 0.005, 1.0) for p in path]
    assert exact_mean_wealth(path, edge, 3, 3, sign=1, phi=phi) <= 1 + SLACK
    assert exact_mean_wealth(path, edge, 3, 3, sign=-1, phi=phi) <= 1 + SLACK


@given(
    st.floats(1, 1e6), st.floats(1, 1e6), rates, rates,
    st.floats(1, 2), st.floats(0, 0.5),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_the_nearest_null_minimises_the_divergence(n_b: float, n_c: float, a: float, c: float, r: float, d: float) -> None:
    def objective(q: NDArray[np.float64]) -> NDArray[np.float64]:
        return n_b * kl(a, q) + n_c * kl(c, r * q + d)

    q = nearest_null(n_b, a, n_c, c, r, d)
    top = min(1.0, (1 - d) / r)
    assert 0 < float(q) < top + 1e-15
    near = np.clip(q * (1 + np.linspace(-1e-3, 1e-3, 201)), 1e-12, top * (1 - 1e-12))
    grid = np.concatenate([np.linspace(top / 4000, top * (1 - 1 / 4000), 3999), near])
    best = float(objective(grid).min())
    assert float(objective(q)) <= best + 1e-9 * (n_b + n_c)


@given(trials, trials, rates, rates, tolerances, st.sampled_from([1, -1]))
@settings(deadline=None)
def test_log_e_is_nothing_exactly_inside_the_null(
    n_b: int, n_c: int, a: float, c: float, tolerance: tuple[float, float], sign: int
) -> None:
    k_b, k_c = np.arange(n_b + 1.0)[:, None], np.arange(n_c + 1.0)[None, :]
    values = log_e(n_b, k_b, n_c, k_c, a, c, *tolerance, sign)
    r, d = tolerance
    inside = c <= r * a + d if sign > 0 else c >= r * a + d
    assert bool((values == 0).all()) is inside or math.isclose(c, r * a + d, rel_tol=1e-6)


logs = st.lists(st.tuples(st.floats(-50, 900), st.floats(1e-6, 1)), min_size=1, max_size=8)


@given(logs, st.integers(0, 7), st.floats(0, 5))
def test_combined_evidence_is_bounded_by_the_strongest_and_grows_with_each(
    parts: list[tuple[float, float]], which: int, more: float
) -> None:
    total = sum(w for _, w in parts)
    nats, weights = [x for x, _ in parts], [w / max(total, 1.0) for _, w in parts]
    combined = combine(nats, weights)
    assert combined <= max(0.0, *nats) + SLACK
    assert combined >= max(x + math.log(w) for x, w in zip(nats, weights, strict=True)) - SLACK
    which %= len(nats)
    nats[which] += more
    assert combine(nats, weights) >= combined - SLACK


counts = st.tuples(st.integers(0, 500), st.floats(0, 1), st.integers(0, 500), st.floats(0, 1))


@given(st.lists(counts, min_size=1, max_size=12), st.sampled_from([1, -1]), tolerances)
@settings(deadline=None)
def test_a_window_in_which_a_role_is_silent_changes_no_wealth(
    rows: list[tuple[int, float, int, float]], sign: int, tolerance: tuple[float, float]
) -> None:
    banks = open_banks(*tolerance, 1.3, 0.05, sign=sign)
    for n_b, s_b, n_c, s_c in rows:
        before = float(banks.log_wealth[0])
        banks = advance(banks, [n_b], [n_b * s_b], [n_c], [n_c * s_c])
        assert math.isfinite(float(banks.log_wealth[0]))
        assert float(banks.shares.sum()) == pytest.approx(1)
        if min(n_b, n_c) == 0:
            assert float(banks.log_wealth[0]) == pytest.approx(before, abs=1e-12)
