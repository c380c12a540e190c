"""The judge beside the rules of Kayenta, Flagger and Argo Rollouts, on the same simulated rollouts.

    python benchmarks/judge_simulation.py [--runs 60] [--null-runs 200] [--seed 1] [--window-s 10] [--rates 100 1000] [--bursts-s 0 10]

One operation of six baseline and three candidate instances; 30 minutes at 5, 10, 25 and 50 % (300 s each, the last to the end)
after 30 minutes of baseline alone. Both roles ride on the same drift and feel the same shocks; with bursts, each instance is
three times as slow and fails a tenth of its requests for so many seconds, once in half an hour on average. The judge looks after
every window; thresholds and dispersion are from before the rollout. `docs/statistics.md` tells what the rules of the others are.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verdigris.judge.judge import judge
from verdigris.judge.streams import bucket_ms
from verdigris.judge.verdict import Outcome
from verdigris.plan.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.simulated_traffic import (
    FAULTS,
    FIRST_BUCKET,
    UNCHANGED,
    Change,
    Rollout,
    Service,
    Setting,
    decide_live,
    rollout,
    windows_of,
)

Array = NDArray[np.float64]

Answers = dict[str, list[tuple["Found", float]]]
"""By rule: what it found and the requests hurt, for each run."""

BATCH = 25
"""Runs that are judged together; bounds memory."""

KAYENTA_EVERY_S, KAYENTA_FIRST_S, KAYENTA_EFFECT, KAYENTA_Z = 300.0, 600.0, 0.25, 2.326
FLAGGER_EVERY_S, FLAGGER_SUCCESS, FLAGGER_P99_MS, FLAGGER_CHECKS = 60.0, 0.99, 500.0, 5
ARGO_EVERY_S, ARGO_SUCCESS, ARGO_LIMIT = 300.0, 0.95, 3


@dataclass(frozen=True)
class Found:
    """When a rule returned the candidate, seconds after the rollout began; None for never."""

    at_s: float | None


# ---------------------------------------------------------------------------------------------------------------------------
# The others' rules
# ---------------------------------------------------------------------------------------------------------------------------


def quantile_ms(counts: Array, q: float) -> float:
    """A quantile within its bucket, by geometric interpolation, so that points do not tie where histograms are coarse."""
    cumulative = np.cumsum(counts)
    if cumulative[-1] <= 0:
        return math.nan
    target = q * cumulative[-1]
    i = int(np.searchsorted(cumulative, target))
    before = cumulative[i - 1] if i else 0.0
    part = (target - before) / max(counts[i], 1e-12)
    low, high = bucket_ms(FIRST_BUCKET + i - 1), bucket_ms(FIRST_BUCKET + i)
    return float(low * (high / low) ** part)


def minutes_of(run: Rollout) -> dict[str, tuple[Array, Array]]:
    """Points per minute, baseline and candidate: p50, p90, p99, error rate, and requests without the call."""
    per = round(60 / run.setting.window_s)
    points: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ("p50", "p90", "p99", "errors", "no call")}
    for side, (tally, edge) in enumerate(((run.base, run.base_edge), (run.cand, run.cand_edge))):
        for start in range(0, run.setting.windows, per):
            cut = slice(start, start + per)
            counts, n = tally.durations.counts[:, cut].sum(axis=(0, 1)), float(tally.requests[:, cut].sum())
            for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
                points[name][side].append(quantile_ms(counts, q))
            points["errors"][side].append(float(tally.errors[:, cut].sum()) / n if n else math.nan)
            points["no call"][side].append(1 - float(edge.present[cut].sum()) / n if n else math.nan)
    return {name: (np.array(b), np.array(c)) for name, (b, c) in points.items()}


def kayenta_high(base: Array, cand: Array) -> bool:
    """Whether a metric is High: the interval of the shift, by Mann-Whitney, lies above a quarter of the shift's estimate."""
    y, x = base[~np.isnan(base)], cand[~np.isnan(cand)]
    m, n = x.size, y.size
    if not m or not n or (np.array_equal(np.unique(x), np.unique(y))):
        return False
    shifts = np.sort((x[:, None] - y[None, :]).ravel())
    _, counts = np.unique(np.concatenate([x, y]), return_counts=True)
    ties = float((counts**3 - counts).sum()) / ((m + n) * (m + n - 1))
    sigma = math.sqrt(m * n / 12 * (m + n + 1 - ties))
    low = math.floor(m * n / 2 - 0.5 - KAYENTA_Z * sigma)
    if low < 0:
        return False
    estimate = float(np.median(shifts))
    return bool(shifts[low] > KAYENTA_EFFECT * abs(estimate) and x.mean() >= y.mean() and shifts[low] > 0)


def kayenta(run: Rollout) -> Found:
    """Looks every five minutes from the tenth, on all that has been seen; a critical metric that is High fails the canary."""
    points = minutes_of(run)
    at = KAYENTA_FIRST_S
    while at <= run.setting.duration_s:
        upto = round(at / 60)
        if any(kayenta_high(b[:upto], c[:upto]) for b, c in points.values()):
            return Found(at)
        at += KAYENTA_EVERY_S
    return Found(None)


def flagger(run: Rollout) -> Found:
    """Looks every minute at the candidate alone; the fifth failed check rolls back. Checks that fail are never forgiven."""
    points, failed = minutes_of(run), 0
    for minute, (p99, errors) in enumerate(zip(points["p99"][1], points["errors"][1], strict=True)):
        failed += bool(math.isnan(p99) or p99 > FLAGGER_P99_MS or 1 - errors < FLAGGER_SUCCESS)
        if failed >= FLAGGER_CHECKS:
            return Found((minute + 1) * FLAGGER_EVERY_S)
    return Found(None)


def argo(run: Rollout) -> Found:
    """Measures the candidate's success every five minutes; more than three failures fail the analysis (its documented example)."""
    per, failed = round(ARGO_EVERY_S / run.setting.window_s), 0
    for i, start in enumerate(range(0, run.setting.windows, per)):
        cut = slice(start, start + per)
        failed += bool(1 - run.cand.errors[:, cut].sum() / max(run.cand.requests[:, cut].sum(), 1e-12) < ARGO_SUCCESS)
        if failed > ARGO_LIMIT:
            return Found((i + 1) * ARGO_EVERY_S)
    return Found(None)


# ---------------------------------------------------------------------------------------------------------------------------
# Side by side
# ---------------------------------------------------------------------------------------------------------------------------


def judged(runs: Sequence[Rollout], weight: float, *, tempered: bool) -> list[Found]:
    """The judge's own answers."""
    window_s = runs[0].setting.window_s
    decisions = decide_live(runs, Policy(), weight, tempered=tempered)
    return [Found(None if d.window is None else (d.window + 1) * window_s) for d in decisions]


def hurt(run: Rollout, found: Found) -> float:
    """Candidate requests until the return."""
    if found.at_s is None:
        return math.nan
    return float(run.cand.requests[:, : round(found.at_s / run.setting.window_s)].sum())


RULES: dict[str, Callable[[Rollout], Found]] = {"Kayenta": kayenta, "Flagger": flagger, "Argo": argo}


def measure(setting: Setting, change: Change, runs: int, seed: int, weight: float, *, tempered: bool) -> Answers:
    """Every rule's answer and the requests hurt, for each run."""
    rng = np.random.default_rng(seed)
    answers: Answers = {name: [] for name in ("Verdigris", *RULES)}
    for start in range(0, runs, BATCH):
        batch = [rollout(rng, setting, change) for _ in range(min(BATCH, runs - start))]
        for run, found in zip(batch, judged(batch, weight, tempered=tempered), strict=True):
            answers["Verdigris"].append((found, hurt(run, found)))
        for name, rule in RULES.items():
            answers[name] += [(found := rule(run), hurt(run, found)) for run in batch]
    return answers


def cell(answers: Sequence[tuple[Found, float]]) -> str:
    """Median seconds / candidate requests hurt, over the runs in which it was found, and the share of those where not all."""
    found = [(f.at_s, h) for f, h in answers if f.at_s is not None]
    if len(found) < len(answers) / 2:
        return f"{len(found) / len(answers):.0%} found" if found else "not found"
    seconds, requests = (statistics.median(column) for column in zip(*found, strict=True))
    share = "" if len(found) == len(answers) else f" ({len(found) / len(answers):.0%})"
    return f"{seconds:,.0f} s / {_thousands(requests)}{share}"


def _thousands(n: float) -> str:
    return f"{n / 1000:.1f} k" if n >= 1000 else f"{n:.0f}"


SHOP = Service("front", calls=(Service("cart", calls=(Service("db"),)), Service("pay"), Service("ads", called_share=0.3)))


def recordings(runs: int) -> None:
    """Verdicts on recordings of an unchanged candidate: five services, 20 windows of about 80 requests in each role."""
    print("| roles ran | drift (amplitude, log time) | all times of the candidate | FAIL |\n|---|---|---|---|")
    settings = [(True, d, 1.0) for d in (0.1, -0.1, 0.2, -0.2, 0.4, -0.4)] + [(False, d, 1.0) for d in (0.1, -0.1, 0.2, -0.2, 0.4, -0.4)]
    for concurrent, drift, shift in settings + [(False, 0.0, s) for s in (1.1, 1.2, 1.3, 1.5, 2.0)]:
        fails = 0
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            windows = windows_of(rng, SHOP, base_requests=80, cand_requests=80, concurrent=concurrent, drift=drift, shift=shift)
            fails += judge(windows, Policy()).verdict is Outcome.FAIL
        print(f"| {'side by side' if concurrent else 'apart'} | {drift:+g} | × {shift:g} | {fails} of {runs} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The judge beside the rules of others, on simulated rollouts.")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--null-runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--window-s", type=float, default=10.0)
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0, 1000.0])
    parser.add_argument("--bursts-s", type=float, nargs="+", default=[0.0, 10.0])
    parser.add_argument("--operations", type=int, default=1, help="the operation is one of so many; it has its share of alpha")
    parser.add_argument("--traffic-share", type=float, default=1.0, help="the operation's share of the traffic")
    parser.add_argument("--phi-one", action="store_true", help="do not temper evidence by the dispersion between instances")
    parser.add_argument("--recordings", type=int, default=0, help="instead: whole judgements of so many recordings per setting")
    args = parser.parse_args()
    if args.recordings:
        recordings(args.recordings)
        return
    weight = 0.5 / args.operations + 0.5 * args.traffic_share
    began = time.perf_counter()
    print(f"{args.runs} runs per fault, {args.null_runs} unchanged, seed {args.seed}; windows of {args.window_s:g} s; weight {weight:.4g}")
    for burst_s in args.bursts_s:
        for rate in args.rates:
            setting = Setting(rate, window_s=args.window_s, burst_s=burst_s)
            print(f"\n{rate:g} requests/s, bursts on single instances of {burst_s:g} s" if burst_s else f"\n{rate:g} requests/s, no bursts")
            print("| fault in the candidate | " + " | ".join(["Verdigris", *RULES]) + " |")
            print("|---|" + "---|" * (1 + len(RULES)))
            for change in (*FAULTS, UNCHANGED):
                runs = args.null_runs if change is UNCHANGED else args.runs
                answers = measure(setting, change, runs, args.seed, weight, tempered=not args.phi_one)
                if change is UNCHANGED:
                    cells = [f"{sum(f.at_s is not None for f, _ in a)} of {runs}" for a in answers.values()]
                    print(f"| **false returns, unchanged** | {' | '.join(cells)} |", flush=True)
                else:
                    print(f"| {change.name} | {' | '.join(cell(a) for a in answers.values())} |", flush=True)
                print(f"  {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
