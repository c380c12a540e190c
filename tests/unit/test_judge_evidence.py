import math
import sys
from pathlib import Path

import numpy as np
import pytest

from verdigris.judge.evidence import apart, nats_of_tail, side_by_side, trail_apart
from verdigris.judge.streams import Stream
from verdigris.judge.verdict import Signal
from verdigris.judge.windows import Operation
from verdigris.plan.policy import Tolerance

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import Array

OPERATION = Operation("shop", "Server", "/buy")


def stream(
    base_n: Array, base_k: Array, cand_n: Array, cand_k: Array, tolerance: Tolerance | None = None, *,
    signal: Signal = Signal.ERRORS, quantile: float | None = None, swapped: bool = False, strict: float | None = None,
) -> Stream:  # fmt: skip
    """One question from counts by instance, shape (instances, windows)."""
    return Stream(
        OPERATION, None, signal, quantile, None, tolerance or Tolerance(), 0.2, base_n.sum(axis=0), base_k.sum(axis=0), cand_n, cand_k,
        base_n, base_k, float(cand_k.sum()) if strict is None else strict, swapped,
    )  # fmt: skip


def steady(instances: int, windows: int, n: float, share: float) -> tuple[Array, Array]:
    counts = np.full((instances, windows), n)
    return counts, counts * share


def test_nats_of_a_tail_are_normal_tails() -> None:
    # One-sided p of z = 1, 2, 3, 5 from tables; the ratio is z²/2.
    for z, p in ((1, 0.158655254), (2, 0.022750132), (3, 0.001349898), (5, 2.866516e-7)):
        assert nats_of_tail(z * z / 2) == pytest.approx(-math.log(p), rel=1e-6)
    assert nats_of_tail(0.0) == 0.0
    assert nats_of_tail(-3.0) == 0.0


def test_nats_of_a_tail_go_on_where_doubles_end() -> None:
    ratios = np.linspace(600, 760, 400)
    nats = [nats_of_tail(float(r)) for r in ratios]
    assert (np.diff(nats) > 0).all()
    assert np.diff(nats).max() < 1.05 * (ratios[1] - ratios[0])


def test_no_streams_no_evidence() -> None:
    assert side_by_side([], 1.5) == []
    assert apart([]) == []


def test_the_instance_that_contributes_most_does_not_decide() -> None:
    base_n, base_k = steady(3, 30, 100, 0.02)
    cand_n, cand_k = steady(3, 30, 100, 0.02)
    cand_k[1] = 40.0
    (evidence,) = side_by_side([stream(base_n, base_k, cand_n, cand_k)], 1.5)
    assert evidence.with_all_instances > 20
    assert evidence.log_e < 0
    assert evidence.suspect == "1"
    assert evidence.trail[0] == 0
    assert evidence.trail[-1] == evidence.with_all_instances
    assert len(evidence.trail) == 31


def test_a_fault_of_all_instances_decides_without_any_one() -> None:
    base_n, base_k = steady(3, 30, 100, 0.02)
    cand_n, cand_k = steady(3, 30, 100, 0.1)
    (evidence,) = side_by_side([stream(base_n, base_k, cand_n, cand_k)], 1.5)
    assert 15 < evidence.log_e <= evidence.with_all_instances


def test_streams_with_different_instances_are_told_apart() -> None:
    base = steady(2, 20, 100, 0.02)
    one, three = steady(1, 20, 100, 0.2), steady(3, 20, 100, 0.2)
    alone = side_by_side([stream(*base, *one)], 1.5)[0]
    many = side_by_side([stream(*base, *three)], 1.5)[0]
    both = side_by_side([stream(*base, *one), stream(*base, *three)], 1.5)
    assert both == [alone, many]
    assert alone.suspect is None
    assert alone.log_e == alone.with_all_instances


def test_a_swapped_question_finds_fewer_and_not_more() -> None:
    base_n, base_k = steady(2, 40, 100, 0.2)
    fewer, more = steady(2, 40, 100, 0.02), steady(2, 40, 100, 0.6)
    found = side_by_side([stream(base_n, base_k, *fewer, swapped=True), stream(base_n, base_k, *more, swapped=True)], 1.5)
    assert found[0].log_e > 15
    assert found[1].log_e < 0
    once = apart([stream(base_n, base_k, *fewer, swapped=True), stream(base_n, base_k, *more, swapped=True)])
    assert once[0].log_e > 10
    assert once[1].log_e == 0


def overdispersed(rng: np.random.Generator, instances: int, windows: int, n: int, *, length: int, extra: float) -> tuple[Array, Array]:
    """Counts whose instances each have spells with another rate, on top of a drift that they share."""
    shared = 0.1 * np.exp(0.3 * np.sin(np.arange(windows) / 7))
    spell = np.repeat(rng.normal(0, extra, (instances, windows // length + 1)), length, axis=1)[:, :windows]
    return np.full((instances, windows), float(n)), rng.binomial(n, np.clip(shared * np.exp(spell), 0, 1)).astype(float)


def test_dispersion_between_instances_sees_spells_and_not_shared_drift() -> None:
    rng = np.random.default_rng(2)
    cand = steady(3, 240, 50, 0.1)

    def phi(extra: float, length: int = 1) -> float:
        return side_by_side([stream(*overdispersed(rng, 4, 240, 50, length=length, extra=extra), *cand)], 1.5)[0].phi

    assert phi(0.0) < 1.4
    # Log-normal rates of mean p inflate n·p·(1 − p) by 1 + n·p·(exp(σ²) − 1)/(1 − p); the largest of three block lengths is taken.
    p = 0.1 * math.exp(0.6**2 / 2)
    assert phi(0.6) == pytest.approx(1 + 50 * p * math.expm1(0.6**2) / (1 - p), rel=0.4)
    # Spells of twelve windows add up within a block.
    assert phi(0.6, 12) > 2.5 * phi(0.6)


def test_dispersion_is_for_the_requests_each_role_has() -> None:
    rng = np.random.default_rng(3)
    base = overdispersed(rng, 4, 240, 200, length=1, extra=0.6)
    few, many = (side_by_side([stream(*base, *steady(3, 240, n, 0.1))], 1.5)[0].phi for n in (10, 200))
    # Few candidate requests are little correlated; the formula weighs each role's dispersion by the other's requests.
    assert 1.2 < few < many / 2


@pytest.mark.parametrize("instances", [1, 2])
def test_dispersion_of_one_instance_or_of_no_events_is_one(instances: int) -> None:
    base_n, base_k = steady(instances, 30, 100, 0.0 if instances > 1 else 0.3)
    assert side_by_side([stream(base_n, base_k, *steady(2, 30, 100, 0.3))], 1.5)[0].phi == 1.0


def apart_streams(rng: np.random.Generator, operations: int, drift: float, n: int = 4000, windows: int = 20) -> list[Stream]:
    found = []
    for _ in range(operations):
        moved = 1 / (1 + math.exp(-rng.normal(0, drift)))
        base_n, cand_n = np.full((1, windows), n / windows), np.full((1, windows), n / windows)
        base_k = rng.binomial(n // windows, 0.5, (1, windows)).astype(float)
        cand_k = rng.binomial(n // windows, moved, (1, windows)).astype(float)
        found.append(stream(base_n, base_k, cand_n, cand_k, signal=Signal.EXCLUSIVE_LATENCY, quantile=0.5))
    return found


def test_apart_drift_of_most_operations_weakens_evidence_of_all() -> None:
    rng = np.random.default_rng(5)
    calm, drifting = apart(apart_streams(rng, 60, 0.0)), apart(apart_streams(rng, 60, 0.3))
    assert np.median([e.phi for e in calm]) < 2
    # tau² · information, with an information of n/2 · p · (1 − p) = 500.
    assert np.median([e.phi for e in drifting]) == pytest.approx(0.09 * 500, rel=0.6)
    assert max(e.log_e for e in drifting) < math.log(100 * 60)


def test_apart_one_operation_that_moved_is_not_drift() -> None:
    rng = np.random.default_rng(6)
    streams = apart_streams(rng, 40, 0.05)
    n, windows = 4000, 20
    slow = rng.binomial(n // windows, 0.9, (1, windows)).astype(float)
    full = np.full((1, windows), n / windows)
    fault = stream(full, full * 0.5, full, slow, signal=Signal.EXCLUSIVE_LATENCY, quantile=0.5)
    evidence = apart([*streams, fault])
    assert evidence[-1].log_e > math.log(100 * 41 / 0.05)


def test_apart_drift_is_bounded() -> None:
    # Everything moved by far more than drift may: still found.
    rng = np.random.default_rng(7)
    evidence = apart(apart_streams(rng, 30, 4.0))
    assert all(e.phi < 1 + 0.5**2 * 1000 * 1.01 + 3 for e in evidence)


def test_apart_blocks_that_vary_weaken_evidence() -> None:
    rng = np.random.default_rng(8)
    windows, n = 30, 400.0
    full = np.full((1, windows), n)
    steady_k = rng.binomial(400, 0.1, (1, windows)).astype(float)
    wild_k = rng.binomial(400, np.clip(0.1 * np.exp(rng.normal(0, 0.8, (1, windows))), 0, 0.9)).astype(float)
    cand_k = rng.binomial(400, 0.14, (1, windows)).astype(float)
    calm = apart([stream(full, steady_k, full, cand_k)])[0]
    wild = apart([stream(full, wild_k, full, cand_k)])[0]
    assert calm.phi < 1.6
    assert wild.phi > 5
    assert wild.log_e < calm.log_e


@pytest.mark.parametrize("swapped", [False, True])
def test_apart_the_trail_ends_where_the_evidence_does(swapped: bool) -> None:  # noqa: FBT001  # a parameter
    rng = np.random.default_rng(10)
    n = np.full((2, 15), 200.0)
    low, high = (rng.binomial(200, p, (2, 15)).astype(float) for p in (0.05, 0.2))
    asked = stream(n, high if swapped else low, n, low if swapped else high, swapped=swapped)
    (evidence,) = apart([asked])
    trail = trail_apart(asked, evidence.phi)
    assert trail[0] == 0
    assert trail[-1] == pytest.approx(evidence.with_all_instances)
    assert 0 < evidence.log_e < evidence.with_all_instances
    assert trail[-1] > trail[5] > 0
