"""Error rates of whole judgements on simulated recordings with fixed seeds, side by side and of different times."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from verdigris.judge.judge import judge
from verdigris.judge.verdict import Outcome, Signal
from verdigris.plan.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import Fault, Service, most_by_chance, windows_of

POLICY = Policy()
ROOT = Service("front", calls=(Service("cart", calls=(Service("db"),)), Service("pay"), Service("ads", called_share=0.3)))


def verdicts(runs: int, *, concurrent: bool, drift: float = 0.0, shift: float = 1.0) -> Counter[Outcome]:
    return Counter(
        judge(
            windows_of(
                np.random.default_rng(seed), ROOT, windows=12, base_requests=60, cand_requests=60, concurrent=concurrent, drift=drift,
                shift=shift,
            ),
            POLICY,
        ).verdict
        for seed in range(runs)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("concurrent", "drift", "runs"),
    [(True, 0.0, 16), (True, 0.4, 16), (False, 0.0, 40), (False, 0.15, 40), (False, -0.15, 40)],
)
def test_an_unchanged_candidate_does_not_fail(concurrent: bool, drift: float, runs: int) -> None:  # noqa: FBT001  # a parameter
    found = verdicts(runs, concurrent=concurrent, drift=drift)
    assert found[Outcome.FAIL] <= most_by_chance(runs, POLICY.alpha)
    assert found[Outcome.BLIND] == 0


def test_a_slower_day_is_not_a_fault_where_everything_is_slower_by_little() -> None:
    assert verdicts(40, concurrent=False, shift=1.15)[Outcome.FAIL] <= most_by_chance(40, POLICY.alpha)


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(own_factor=2.0), Fault(slow_share=0.1, slow_factor=10), Fault(errors=0.08), Fault(stops=0.5), Fault(gap_extra_ms=15),
    ],
    ids=["twice as slow", "a slow path", "errors", "stops", "the way there"],
)  # fmt: skip
def test_a_clear_fault_fails(fault: Fault, concurrent: bool) -> None:  # noqa: FBT001  # a parameter
    found = Counter(
        judge(
            windows_of(
                np.random.default_rng(seed), ROOT, windows=20, base_requests=150, cand_requests=150, concurrent=concurrent,
                faults={"cart": fault},
            ),
            POLICY,
        ).verdict
        for seed in range(4)
    )  # fmt: skip
    assert found[Outcome.FAIL] == 4


@pytest.mark.parametrize("instances", [2, 3])
@pytest.mark.parametrize("sick", ["front", "db", "pay"])
@pytest.mark.parametrize("when", [(5,), (3, 4, 10, 11, 12), tuple(range(16))], ids=["once", "now and then", "always"])
def test_a_single_bad_instance_does_not_fail_the_candidate(instances: int, sick: str, when: tuple[int, ...]) -> None:
    windows = windows_of(
        np.random.default_rng(len(sick)), ROOT, windows=16, base_requests=80, cand_requests=80, instances=instances, bursts={sick: when}
    )
    judgement = judge(windows, POLICY)
    assert judgement.verdict is Outcome.NOT_ENOUGH_DATA
    # Whoever calls it feels it, and is said only to feel it.
    assert all(f.signal is Signal.INSTANCE or f.follows_from == sick for f in judgement.findings)
    if len(when) == 16:
        assert Signal.INSTANCE in {f.signal for f in judgement.findings}


def test_a_bad_instance_does_not_hide_a_fault_of_all() -> None:
    windows = windows_of(
        np.random.default_rng(1), ROOT, windows=20, base_requests=150, cand_requests=150, bursts={"db": range(20)},
        faults={"pay": Fault(own_factor=2.0)},
    )  # fmt: skip
    judgement = judge(windows, POLICY)
    assert judgement.verdict is Outcome.FAIL
    assert judgement.causes[0].service == "pay"
