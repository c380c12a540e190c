"""The live judge's parts: what is learned, how counts become evidence, what is carried over, and the absolute guard."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from verdigris.judge.betting import PRIOR_TRIALS, advance, open_banks
from verdigris.judge.dispersion import SINGLE_MAX, block_lengths, dispersion_of, rhos
from verdigris.judge.fast_path import too_many_failures
from verdigris.judge.live import look, open_judge
from verdigris.judge.live_banks import BEYOND_NATS, advance_live, decided, open_live_banks, steady, windows_in_a_block
from verdigris.judge.live_streams import streams_for
from verdigris.judge.reference import InvalidReference, NothingToLearn, Proxied, Reference, learn
from verdigris.judge.streams import bucket_ms
from verdigris.judge.tallies import GROUPS_MAX
from verdigris.judge.telemetry_trust import UNSEEN_MIN, Trust, counting, unseen_needed
from verdigris.judge.verdict import Severity, Signal
from verdigris.judge.windows import RoleWindow, TraceCounts, Window, Windows
from verdigris.plan.objectives import Objectives, OperationPolicy
from verdigris.plan.plan import FastPath
from verdigris.plan.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import (
    EDGE,
    Change,
    Service,
    Setting,
    client,
    live_counts,
    live_reference,
    live_trail,
    live_windows,
    role_window,
    rollout,
    server,
)

ROOT = Service("front", calls=(Service("cart"), Service("ads", called_share=0.3)))
OBJECTIVES = Objectives()


def before(seed: int = 1, windows: int = 30, requests: int = 100, instances: int = 3) -> Windows:
    rng = np.random.default_rng(seed)
    return Windows(1, tuple(Window(t, role_window(rng, ROOT, requests, instances=instances)) for t in range(windows)))


# -- the reference ----------------------------------------------------------------------------------------------------------


def test_the_reference_knows_the_baseline() -> None:
    learned = learn(before(), OBJECTIVES, [Proxied(110, 0)] * 30)
    assert (learned.windows, learned.traces, learned.window_s) == (30, 3000, 1)
    assert learned.traced_share == pytest.approx(100 / 110)
    front, cart = (next(o for o in learned.operations if o.operation == server(s)) for s in (ROOT, ROOT.calls[0]))
    assert (front.requests, front.root, cart.root) == (3000, True, False)
    median = next(q for q in front.own if q.quantile == 0.5)
    assert bucket_ms(median.bucket) == pytest.approx(20, rel=0.05)
    assert median.above == pytest.approx(1500, rel=0.05)
    assert bucket_ms(median.allowed) / bucket_ms(median.bucket) == pytest.approx(1.09, abs=0.03)
    edges = {e.edge.callee: e for e in learned.edges}
    assert not edges[client(ROOT, ROOT.calls[0])].rare
    assert edges[client(ROOT, ROOT.calls[1])].rare


def test_what_a_reference_says_of_a_candidate_is_not_read() -> None:
    alone = before()
    both = Windows(1, tuple(replace(w, candidate=w.baseline) for w in alone.windows))
    assert learn(both, OBJECTIVES) == learn(alone, OBJECTIVES)


def test_another_policy_of_an_operation_has_other_allowances() -> None:
    wide = Objectives(operations=(OperationPolicy("front server *", Policy(latency_margin=1.0)),))
    front = next(o for o in learn(before(), wide).operations if o.operation == server(ROOT))
    assert bucket_ms(front.own[0].allowed) / bucket_ms(front.own[0].bucket) == pytest.approx(2.0, abs=0.05)


def test_without_traces_nothing_is_learned() -> None:
    with pytest.raises(NothingToLearn, match="no traces"):
        learn(Windows(1, (Window(0), Window(1))), OBJECTIVES)


@pytest.mark.parametrize("broken", [b"", b"{}", b"[]", b"null", b'{"window_s":1}', b"\xff", b"[" * 100_000])
def test_what_is_no_reference_is_refused(broken: bytes) -> None:
    with pytest.raises(InvalidReference):
        Reference.from_bytes(broken)


def test_a_reference_with_a_row_cut_short_is_refused() -> None:
    document = json.loads(learn(before(), OBJECTIVES).canonical_bytes())
    document["operations"][0].pop()
    with pytest.raises(InvalidReference):
        Reference.from_bytes(json.dumps(document).encode())


# -- dispersion -------------------------------------------------------------------------------------------------------------


def bursty(rng: np.random.Generator, instances: int, windows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Each instance is in trouble for `length` windows at a time, a tenth of the time."""
    n = rng.poisson(100, (instances, windows)).astype(float)
    sick = np.repeat(rng.random((instances, -(-windows // length))) < 0.1, length, axis=1)[:, :windows]
    return n, rng.binomial(n.astype(int), np.where(sick, 0.3, 0.05)).astype(float)


def test_independent_requests_have_no_dispersion() -> None:
    rng = np.random.default_rng(1)
    n = rng.poisson(100, (4, 200)).astype(float)
    drifting = 0.05 * np.exp(0.5 * np.sin(np.arange(200) / 15))
    (rho,) = rhos([("x", dispersion_of(n, rng.binomial(n.astype(int), drifting).astype(float)))])
    assert 0 <= rho * 100 < 0.5


def test_bursts_are_dispersion_and_longer_ones_more() -> None:
    rng = np.random.default_rng(2)
    short, long = (rhos([("x", dispersion_of(*bursty(rng, 4, 300, length)))])[0] for length in (1, 10))
    assert short * 100 > 3
    assert long > 2 * short


@pytest.mark.parametrize(("window_s", "lengths"), [(1, (1, 10, 30)), (5, (1, 2, 6)), (10, (1, 3)), (60, (1,))])
def test_blocks_last_as_long_whatever_the_windows(window_s: float, lengths: tuple[int, ...]) -> None:
    assert block_lengths(window_s) == lengths


def test_a_stream_without_events_borrows_from_its_family() -> None:
    rng = np.random.default_rng(3)
    n, k = bursty(rng, 4, 300, 1)
    quiet = dispersion_of(n, np.zeros_like(k))
    assert rhos([("x", quiet), ("y", dispersion_of(n, k))])[0] == 0
    assert rhos([("x", quiet), ("x", dispersion_of(n, k))])[0] * 100 > 1


def test_of_a_single_instance_neighbouring_windows_are_compared_and_drift_is_bounded() -> None:
    rng = np.random.default_rng(4)
    n = rng.poisson(10_000, (1, 100)).astype(float)
    steady = rng.binomial(n.astype(int), 0.05).astype(float)
    jumping = rng.binomial(n.astype(int), np.where(np.arange(100) % 2, 0.02, 0.1)).astype(float)
    calm, wild = (rhos([("x", dispersion_of(n, k))])[0] * 10_000 for k in (steady, jumping))
    assert calm < 0.5
    assert wild == pytest.approx(SINGLE_MAX - 1, rel=0.01)


def test_two_windows_say_nothing_about_dispersion() -> None:
    n = np.full((1, 2), 100.0)
    assert rhos([("x", dispersion_of(n, np.array([[0.0, 50.0]])))])[0] == 0


# -- banks ------------------------------------------------------------------------------------------------------------------


def one_bank(window_s: float = 1.0, rho: float = 0.0, *, swapped: bool = False):  # type: ignore[no-untyped-def]  # noqa: ANN201
    array = np.array
    return open_live_banks(
        array([1.1]), array([0.0005]), array([rho]), array([0.001]), array([50.0]), array([swapped]), window_s, needed=array([9.0])
    )  # fmt: skip


def counts(n_b: float, k_b: float, n_c: dict[int, float], k_c: dict[int, float]) -> list[np.ndarray]:
    cand_n, cand_k = np.zeros((1, GROUPS_MAX)), np.zeros((1, GROUPS_MAX))
    for group, n in n_c.items():
        cand_n[0, group], cand_k[0, group] = n, k_c.get(group, 0.0)
    return [np.array([n_b]), np.array([k_b]), cand_n, cand_k, np.ones(1), np.array([float(len(n_c))])]


@pytest.mark.parametrize(("window_s", "block", "least"), [(1, 3, 7), (2, 2, 5), (5, 1, 3), (10, 1, 3), (60, 1, 3)])
def test_three_blocks_must_agree(window_s: float, block: int, least: int) -> None:
    assert windows_in_a_block(window_s) == block
    live = one_bank(window_s)
    looks = 0
    while decided(live)[0][0] < 9.0:
        live = advance_live(live, *counts(1e5, 100, {0: 1e5}, {0: 5e4}))
        looks += 1
    # The third block need not be full.
    assert least <= looks <= least + block


@pytest.mark.parametrize("window_s", [1, 10])
def test_streams_that_move_together_need_a_third_block_too(window_s: float) -> None:
    live, nothing = one_bank(window_s), counts(1e5, 100, {0: 1e5}, {0: 100})
    for _ in range(2 * windows_in_a_block(window_s)):
        live = advance_live(live, *counts(1e5, 100, {0: 1e5}, {0: 5e4}))
    one_block = live.before[0]
    assert 0 < steady(live)[0] == one_block < decided(live)[0][0]
    assert steady(advance_live(live, *nothing))[0] < 5
    assert steady(advance_live(live, *counts(1e5, 100, {0: 1e5}, {0: 5e4})))[0] == decided(live)[0][0]


def test_a_block_gives_no_more_than_its_part_at_any_time_and_the_losses_in_full() -> None:
    live = one_bank()
    for _ in range(3):
        live = advance_live(live, *counts(1e5, 100, {0: 1e5}, {0: 5e4}))
        assert decided(live)[0][0] <= (9 + 2.2) / 3
    lost = advance_live(live, *counts(1e5, 100, {0: 1e5}, {0: 0}))
    # What was lost is lost but for the cash.
    assert decided(lost)[0][0] < 1
    assert lost.held[0] == 1


def test_a_block_of_small_windows_is_a_large_window() -> None:
    small, large = one_bank(1), one_bank(10)
    small, large = (replace(x, banks=replace(x.banks, keep=1.0)) for x in (small, large))
    for k in (0, 1, 0, 2, 0, 1):
        small = advance_live(small, *counts(500, 0.5, {0: 50}, {0: k}))
    for k in (1, 3):
        large = advance_live(large, *counts(1500, 1.5, {0: 150}, {0: k}))
    # Not quite: the first of a block's windows already teaches the second what to expect.
    assert decided(small)[0][0] == pytest.approx(decided(large)[0][0], abs=0.1)


def test_with_one_instance_evidence_is_the_plain_banks() -> None:
    live = one_bank(10)
    plain = open_banks(1.1, 0.0005, 1.0, 0.001, clip=live.banks.clip[:1])
    for k in (1, 4, 6, 3):
        live = advance_live(live, *counts(500, 1, {2: 200}, {2: k}))
        plain = advance(plain, [500], [1], [200], [k])
    assert decided(live)[0][0] == pytest.approx(plain.log_wealth[0], abs=1e-12)


def test_the_instance_that_contributes_most_is_left_out() -> None:
    sick, shared = one_bank(10), one_bank(10)
    for _ in range(8):
        sick = advance_live(sick, *counts(500, 1, {0: 100, 3: 100}, {3: 20}))
        shared = advance_live(shared, *counts(500, 1, {0: 100, 3: 100}, {0: 10, 3: 10}))
    least, whole, suspect = decided(sick)
    assert whole[0] > 9
    assert least[0] < 1
    assert suspect[0] == 3
    assert decided(shared)[0][0] > 9


def test_instances_that_are_ill_one_after_the_other_are_not_all_of_them() -> None:
    live, worst = one_bank(10), 0.0
    for sick in (0, 1, 2):
        for t in range(24):
            live = advance_live(live, *counts(500, 1, dict.fromkeys(range(3), 100.0), {sick: 30.0 if t < 5 else 0.0}))
            worst = max(worst, decided(live)[0][0])
            assert decided(live)[1][0] <= 9 + BEYOND_NATS
    assert worst < 9


def test_a_second_instance_that_comes_late_must_confirm() -> None:
    live = one_bank(10)
    for _ in range(8):
        live = advance_live(live, *counts(500, 1, {0: 100}, {0: 20}))
    assert decided(live)[0][0] > 9
    live = advance_live(live, *counts(500, 1, {0: 100, 1: 100}, {0: 20}))
    assert decided(live)[0][0] < 1


def test_dispersion_weakens_evidence() -> None:
    even, bursts = one_bank(10), one_bank(10, rho=0.05)
    for _ in range(4):
        even, bursts = (advance_live(x, *counts(500, 1, {0: 200}, {0: 5})) for x in (even, bursts))
    assert decided(bursts)[0][0] < decided(even)[0][0] / 2


def test_a_role_without_requests_changes_nothing_that_decides() -> None:
    live = one_bank()
    for _ in range(3):
        live = advance_live(live, *counts(500, 1, {0: 200}, {0: 5}))
    silent = advance_live(live, *counts(0, 0, {0: 200}, {0: 100}))
    assert np.array_equal(silent.pending, live.pending)
    assert np.array_equal(silent.banks.shares, live.banks.shares)
    assert decided(silent)[0][0] == decided(live)[0][0]
    nothing = advance_live(live, *counts(0, 0, {}, {}))
    assert all(np.array_equal(getattr(nothing.banks, f), getattr(live.banks, f)) for f in ("base_n", "base_k", "cand_n", "windows"))


def test_without_an_instance_an_exchanged_question_is_asked_as_if_it_had_never_been() -> None:
    live, alone = one_bank(10, swapped=True), one_bank(10, swapped=True)
    for t in range(6):
        # The second instance comes and goes, and what it shows is not what the first one does.
        both = {0: 200.0, 1: 300.0} if t % 2 else {0: 200.0}
        live = advance_live(live, *counts(500, 50, both, {0: 10, 1: 200}))
        alone = advance_live(alone, *counts(500, 50, {0: 200}, {0: 10}))
    without_second = live.log_wealth.reshape(live.copies, 1)[2]
    assert without_second == pytest.approx(alone.log_wealth[0], abs=1e-12)


def test_exchanged_questions_bet_on_the_baseline_having_more() -> None:
    live = one_bank(10, swapped=True)
    for _ in range(8):
        live = advance_live(live, *counts(500, 50, {0: 200}, {0: 0}))
    assert decided(live)[0][0] > 9


# -- simulated rollouts are judged as real ones -----------------------------------------------------------------------------


def test_the_simulation_counts_as_the_judge_does() -> None:
    setting = Setting(60, window_s=10, duration_s=300, step_s=60, refused=0.1)
    run = rollout(np.random.default_rng(5), setting, Change("worse", factor=1.3, errors=0.02, calls_lost=0.2, refused=0.05))
    streams = streams_for(live_reference(run, Policy()), OBJECTIVES)
    faults = [streams.streams[i] for i in streams.faults]
    at_once = live_counts(run, faults)
    for t, window in enumerate(live_windows(run).windows):
        one = streams.count(window, lambda _service, instance: int(instance[1:]))
        for i, at in enumerate(streams.faults):
            if faults[i].signal is not Signal.UNTRACED:
                expected = one.base_n[at], one.base_k[at], *one.cand_n[at], *one.cand_k[at]
                found = at_once.base_n[i, t], at_once.base_k[i, t], *at_once.cand_n[i, :, t], *at_once.cand_k[i, :, t]
                assert found == pytest.approx(expected), faults[i]
    assert EDGE in {s.edge for s in faults}


def test_the_simulation_decides_as_the_judge_does() -> None:
    run = rollout(np.random.default_rng(6), Setting(100, duration_s=400, step_s=100), Change("worse", factor=1.1, errors=0.004))
    state = open_judge(live_reference(run, Policy()), OBJECTIVES)
    faults = tuple(state.streams.streams[i] for i in state.streams.faults)
    (trail,) = live_trail([run], [faults], [live_counts(run, faults)], Policy(), 1.0, tempered=True, groups=GROUPS_MAX)
    for t, one in enumerate(live_windows(run).windows):
        state = look(state, one, None)
        assert decided(state.faults)[0] == pytest.approx(trail.log_e[t], abs=1e-9)
        assert steady(state.faults) == pytest.approx(trail.steady[t], abs=1e-9)


def test_shares_of_alpha_sum_to_at_most_one() -> None:
    streams = streams_for(learn(before(), OBJECTIVES), OBJECTIVES).streams
    assert 0.9 < sum(s.weight for s in streams) <= 1 + 1e-12
    assert all((s.weight == 0) == s.health for s in streams)


def test_less_of_something_is_looked_for_with_a_quarter_of_it() -> None:
    learned = learn(before(), OBJECTIVES)
    streams = streams_for(learned, OBJECTIVES).streams
    lost = {s.edge: s for s in streams if s.signal is Signal.CALL_MISSING and s.swapped}
    (edge,) = (e for e in learned.edges if e.rare and e.edge.caller == server(ROOT))
    made = edge.missing.bad / next(o.requests for o in learned.operations if o.operation == server(ROOT))
    assert lost[edge.edge].prior_rate == pytest.approx(made / 4, rel=0.02)
    assert lost[edge.edge].prior_trials == PRIOR_TRIALS


# -- telemetry --------------------------------------------------------------------------------------------------------------


def window(base: int, cand: int) -> Window:
    return Window(0, RoleWindow(TraceCounts(traces=base, roots=base)), RoleWindow(TraceCounts(traces=cand, roots=cand)))


def test_what_comes_a_window_late_is_not_untraced() -> None:
    trust, counted = Trust(), []
    for traces in (92, 108, 90, 105, 105):
        trust, untraced = counting(trust, window(500, traces), Proxied(500, 100), 1.0)
        counted.append(untraced.cand_k)
    assert counted == [0] * 5


def test_what_never_comes_is_untraced() -> None:
    trust, total = Trust(), 0.0
    for _ in range(10):
        trust, untraced = counting(trust, window(500, 70), Proxied(500, 100), 1.0)
        total += untraced.cand_k
        assert untraced.base_k == 0
    # All that lacked but for the allowance: ten requests and a tenth of a window.
    assert total == 10 * 30 - 20


def test_several_traces_a_request_are_known_from_before() -> None:
    _, untraced = counting(Trust(cand_carried=0.0), window(1000, 100), Proxied(500, 100), 2.0)
    assert untraced.cand_k == 50


def test_without_counters_a_trace_still_ends_the_silence() -> None:
    trust, _ = counting(Trust(cand_unseen=30), window(5, 0), None, 1.0)
    assert trust.cand_unseen == 30
    trust, _ = counting(trust, window(5, 1), None, 1.0)
    assert trust.cand_unseen == 0


@pytest.mark.parametrize(("share", "needed"), [(1.0, UNSEEN_MIN), (0.9, UNSEEN_MIN), (0.1, 132), (0.01, 1375)])
def test_silence_is_longer_where_few_requests_are_sampled(share: float, needed: int) -> None:
    assert unseen_needed(Trust(), share) == needed
    assert (1 - min(share, 0.999)) ** needed <= 1.1e-6


def test_untraced_requests_of_a_role_are_counted_as_bad_ones() -> None:
    state = open_judge(learn(before(), OBJECTIVES, [Proxied(100, 0)] * 30), OBJECTIVES)
    at = state.streams.untraced
    for t in range(4):
        state = look(state, replace(window(50, 20), start_unix_s=t), Proxied(50, 40))
    assert state.totals[:, at].tolist() == [200, 0, 160, 4 * 20 - 14]


# -- the absolute guard -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "requests", "found"),
    [(10, 20, True), (9, 20, False), (19, 19, False), (20, 20, True), (0, 0, False), (0, 1000, False), (600, 1000, True)],
)
def test_most_requests_failing_at_the_proxy_is_a_finding(failed: int, requests: int, found: bool) -> None:  # noqa: FBT001  # a parameter
    finding = too_many_failures(failed, requests, FastPath(0.5, 20, 10.0))
    assert (finding is not None) == found
    if finding is not None:
        assert (finding.signal, finding.severity) == (Signal.FAILING_AT_PROXY, Severity.CRITICAL)
        assert f"{failed:,} of its last {requests:,}" in finding.sentence
        assert finding.effect.low is not None
        assert finding.effect.low < failed / requests
        assert math.isfinite(finding.evidence.log_e)
