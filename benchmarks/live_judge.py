"""The live judge over many simulated hours: false returns, how soon faults are found, and what a look costs.

    python benchmarks/live_judge.py [--hours 200] [--runs 40] [--seed 1] [--window-s 10 1] [--rates 100] [--bursts-s 0 10] [--cost]

One operation of six baseline and three candidate instances as in `judge_simulation.py`: half an hour of baseline alone to learn
from, then half an hour at 5, 10, 25 and 50 %. With windows of a second the steps are 60 s at 5, 25 and 50 %, ten minutes in all, learned
from five minutes. Two in a hundred requests come without credentials and are refused. Kayenta, Flagger and Argo see the same
streams. `--cost` measures a look of the whole judge, with many operations, instead.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from verdigris.judge.live import judgement, look, open_judge
from verdigris.judge.reference import Proxied, learn
from verdigris.judge.windows import Window, Windows
from verdigris.plan.objectives import Objectives
from verdigris.plan.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.judge_simulation import BATCH, RULES, Found, cell, hurt, judged
from benchmarks.simulated_traffic import (
    FAULTS,
    UNCHANGED,
    Change,
    Service,
    Setting,
    decide_live,
    most_by_chance,
    role_window,
    rollout,
)

REFUSED = 0.02
CLEAR = (
    Change("errors .1 → 3 %", errors=0.03),
    Change("p50 +100 %", factor=2.0),
    Change("half of a child call missing", calls_lost=0.5),
    Change("refused 2 → 0 %", refused=0.0),
)


def setting_of(window_s: float, rate: float, burst_s: float) -> Setting:
    """How a rollout runs with windows of this length."""
    if window_s >= 5:
        return Setting(rate, window_s=window_s, burst_s=burst_s, refused=REFUSED)
    return Setting(
        rate, window_s=window_s, duration_s=600.0, weights=(0.05, 0.25, 0.5), step_s=60.0, burst_s=burst_s, refused=REFUSED, before_s=300.0
    )


def false_returns(setting: Setting, hours: float, seed: int) -> tuple[int, int]:
    """Unchanged candidates that were returned, and rollouts."""
    rng = np.random.default_rng(seed)
    runs = round(hours * 3600 / setting.duration_s)
    returned = 0
    for start in range(0, runs, BATCH):
        batch = [rollout(rng, setting, UNCHANGED) for _ in range(min(BATCH, runs - start))]
        returned += sum(d.window is not None for d in decide_live(batch, Policy()))
    return returned, runs


def found(setting: Setting, change: Change, runs: int, seed: int) -> list[str]:
    """A row of the table: what each rule does about one fault."""
    rng = np.random.default_rng(seed)
    answers: dict[str, list[tuple[Found, float]]] = {name: [] for name in ("Verdigris", *RULES)}
    for start in range(0, runs, BATCH):
        batch = [rollout(rng, setting, change) for _ in range(min(BATCH, runs - start))]
        answers["Verdigris"] += [(f, hurt(run, f)) for run, f in zip(batch, judged(batch, 1.0, tempered=True), strict=True)]
        for name, rule in RULES.items():
            answers[name] += [(f := rule(run), hurt(run, f)) for run in batch]
    return [cell(a) for a in answers.values()]


def cost(operations: Sequence[int], seed: int) -> None:
    """Milliseconds of a look and of a judgement, by operations and requests in a window."""
    print("| operations | streams | requests in a window | look | judgement |\n|---|---|---|---|---|")
    for size in operations:
        root = Service("front", calls=tuple(Service(f"s{i}") for i in range(size // 2)))
        for requests in (100, 1000):
            rng = np.random.default_rng(seed)
            windows = [Window(t, role_window(rng, root, requests), role_window(rng, root, requests, role="c")) for t in range(8)]
            reference = learn(Windows(10, tuple(replace(w, candidate=Window(0).candidate) for w in windows)), Objectives())
            state, looks, reads = open_judge(reference, Objectives()), [], []
            for window in windows:
                began = time.perf_counter()
                state = look(state, window, Proxied(requests, requests))
                looked = time.perf_counter()
                judgement(state)
                looks.append(looked - began)
                reads.append(time.perf_counter() - looked)
            times = " | ".join(f"{1e3 * statistics.median(of):.0f} ms" for of in (looks, reads))
            print(f"| {size + 1} | {len(state.streams.streams):,} | 2 × {requests:,} | {times} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The live judge over many simulated hours.")
    parser.add_argument("--hours", type=float, default=200.0, help="simulated hours of an unchanged candidate, per setting")
    parser.add_argument("--runs", type=int, default=40, help="runs per fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--window-s", type=float, nargs="+", default=[10.0, 1.0])
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0])
    parser.add_argument("--bursts-s", type=float, nargs="+", default=[0.0, 10.0])
    parser.add_argument("--cost", action="store_true", help="instead: what a look costs")
    args = parser.parse_args()
    if args.cost:
        cost((10, 100, 300), args.seed)
        return
    began = time.perf_counter()
    for window_s in args.window_s:
        for rate in args.rates:
            for burst_s in args.bursts_s:
                setting = setting_of(window_s, rate, burst_s)
                print(f"\nwindows of {window_s:g} s, {rate:g} requests/s, " + (f"bursts of {burst_s:g} s" if burst_s else "no bursts"))
                if args.hours:
                    returned, runs = false_returns(setting, args.hours, args.seed)
                    most = most_by_chance(runs, Policy().alpha)
                    print(f"false returns: {returned} of {runs} rollouts ({args.hours:g} h); by chance at alpha at most {most}", flush=True)
                if args.runs:
                    print("| fault in the candidate | " + " | ".join(["Verdigris", *RULES]) + " |\n|---|" + "---|" * (1 + len(RULES)))
                    for change in (*FAULTS, *CLEAR) if window_s >= 5 else CLEAR:
                        print(f"| {change.name} | {' | '.join(found(setting, change, args.runs, args.seed))} |", flush=True)
                print(f"  {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
