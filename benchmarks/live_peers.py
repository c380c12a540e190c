"""The rules of Kayenta, Flagger and Argo Rollouts on the fault streams of live rollouts, beside what the guard did.

    python benchmarks/live_peers.py [--folder build/rollouts] [--minutes 60] [--seed 1]

Reads what `benchmarks/rollouts.py` left: the users' own log of every run (who answered, status, latency, whether it was hurt). The guard's
figures are what happened in those runs. The others look for longer than a run lasts, so the seconds in which the candidate had traffic are
played to them again and again, in random order, at 150 requests a second for each role: half of the traffic, from the first minute on. They
see what a proxy's metrics show, status and latency; `docs/statistics.md` tells their rules.
"""

import argparse
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from verdigris.demo.harm import Answer
from verdigris.demo.run import read_log

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.judge_simulation import (
    ARGO_EVERY_S,
    ARGO_LIMIT,
    ARGO_SUCCESS,
    FLAGGER_CHECKS,
    FLAGGER_P99_MS,
    FLAGGER_SUCCESS,
    KAYENTA_EVERY_S,
    KAYENTA_FIRST_S,
    kayenta_high,
)
from benchmarks.rollouts import known

CASES = ("healthcare", "finance", "cloud", "errors", "slow-tail")
RATE_PER_S = 150
SERVER_ERROR = 500


def seconds_of(folder: Path, case: str) -> dict[str, list[list[Answer]]]:
    """The answers of each slot, second by second, while the candidate had traffic; of all runs that ended as they should."""
    seconds: dict[str, list[list[Answer]]] = {"blue": [], "green": []}
    for run in known(folder / "runs.jsonl").values():
        log = folder / f"seed-{run.seed}" / case / "requests.csv"
        if run.case != case or not run.expected or not log.exists():
            continue
        answers = read_log(log)
        green = [a.due_unix_s for a in answers if a.slot == "green"]
        by_second: dict[tuple[str, int], list[Answer]] = defaultdict(list)
        for answer in answers:
            if answer.slot in seconds and min(green) <= answer.due_unix_s <= max(green):
                by_second[answer.slot, int(answer.due_unix_s)].append(answer)
        for (slot, _), of in by_second.items():
            seconds[slot].append(of)
    return seconds


def minutes_of(seconds: Sequence[list[Answer]], minutes: int, chance: random.Random) -> Iterator[list[Answer]]:
    """Minutes of requests, from seconds in random order."""
    waiting: list[Answer] = []
    for _ in range(minutes):
        while len(waiting) < 60 * RATE_PER_S:
            waiting += chance.choice(seconds)
        yield waiting[: 60 * RATE_PER_S]
        waiting = waiting[60 * RATE_PER_S :]


def points(minutes: Sequence[list[Answer]]) -> dict[str, np.ndarray]:
    """What a proxy's metrics show, a point a minute."""
    times = [np.array([a.latency_ms for a in minute]) for minute in minutes]
    failed = [sum(a.status >= SERVER_ERROR for a in minute) / len(minute) for minute in minutes]
    return {
        "p50": np.array([np.quantile(t, 0.5) for t in times]),
        "p90": np.array([np.quantile(t, 0.9) for t in times]),
        "p99": np.array([np.quantile(t, 0.99) for t in times]),
        "errors": np.array(failed),
    }


def kayenta(base: dict[str, np.ndarray], cand: dict[str, np.ndarray]) -> float | None:
    """Seconds until it fails the canary; None for never."""
    minutes = len(cand["p50"])
    looks = np.arange(KAYENTA_FIRST_S, minutes * 60 + 1, KAYENTA_EVERY_S)
    return next((float(s) for s in looks if any(kayenta_high(base[n][: int(s // 60)], cand[n][: int(s // 60)]) for n in base)), None)


def flagger(cand: dict[str, np.ndarray]) -> float | None:
    """Likewise: the fifth failed check of a minute."""
    failed = np.cumsum((cand["p99"] > FLAGGER_P99_MS) | (1 - cand["errors"] < FLAGGER_SUCCESS))
    return float(np.argmax(failed >= FLAGGER_CHECKS) + 1) * 60 if failed[-1] >= FLAGGER_CHECKS else None


def argo(cand: dict[str, np.ndarray]) -> float | None:
    """Likewise: more than three failed measurements, one in five minutes."""
    per = int(ARGO_EVERY_S // 60)
    successes = [1 - cand["errors"][i : i + per].mean() for i in range(0, len(cand["errors"]), per)]
    failed = np.cumsum(np.array(successes) < ARGO_SUCCESS)
    return float(np.argmax(failed > ARGO_LIMIT) + 1) * ARGO_EVERY_S if failed[-1] > ARGO_LIMIT else None


def main() -> None:
    """Read, play and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=Path("build/rollouts"))
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    runs = known(given.folder / "runs.jsonl").values()
    print("| fault | runs | Verdigris, s / hurt | Kayenta | Flagger | Argo |\n|---|---:|---:|---:|---:|---:|")
    for case in CASES:
        ours = [r for r in runs if r.case == case and r.back_s is not None and r.expected]
        if not ours:
            continue
        seconds, chance = seconds_of(given.folder, case), random.Random(given.seed)
        base = list(minutes_of(seconds["blue"], given.minutes, chance))
        cand = list(minutes_of(seconds["green"], given.minutes, chance))
        hurt_per_s = sum(bool(a.hurt) for minute in cand for a in minute) / (given.minutes * 60)
        seen_base, seen_cand = points(base), points(cand)
        cells = [
            "not found" if at is None else f"{at:,.0f} / {at * hurt_per_s:,.0f}"
            for at in (kayenta(seen_base, seen_cand), flagger(seen_cand), argo(seen_cand))
        ]
        back, hurt = (statistics.median(x) for x in ([r.back_s for r in ours if r.back_s is not None], [r.hurt for r in ours]))
        print(f"| {case} | {len(ours)} | {back:,.1f} / {hurt:,.0f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
