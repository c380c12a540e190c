"""Live rollouts of the demonstration, again and again: how they end, how fast traffic is back, and how many users were hurt.

    python benchmarks/rollouts.py [--cases good errors …] [--runs 20] [--folder build/rollouts] [--fast]

Each run is `verdigris demo CASE --json` with a seed of its own: real Envoy, services, users, guard. A run takes about a minute. What ends
otherwise than it should is counted and kept: its folder says why. The figures come from the users' own log.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CASES = ("good", "healthcare", "finance", "cloud", "errors", "slow-tail", "kill-guard")
LIMIT_S = 400


@dataclass(frozen=True)
class Run:
    """One run. `back_s`: from the first hurt request (or the kill) to the last request that the candidate answered."""

    expected: bool
    phase: str
    back_s: float | None
    hurt: int
    at_once: int
    lost: int
    problems: tuple[str, ...]


def run(case: str, seed: int, folder: Path, *, fast: bool) -> Run:
    """One live case, from nothing to its ending."""
    program = "import sys; from verdigris.cli.main import run; sys.argv[0] = 'verdigris'; run()"
    command = [sys.executable, "-c", program, "demo", case, "--json", "--no-watch", "--seed", str(seed), "--folder", str(folder)]
    done = subprocess.run([*command, *(["--fast"] if fast else [])], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        return Run(
            expected=False, phase="no end", back_s=None, hurt=0, at_once=0, lost=0, problems=(done.stderr.strip().splitlines()[-1][:200],)
        )
    harm, killed = told["harm"], told["killed"]
    back_s = killed["back_after_s"] if killed else harm["exposed_s"] if harm["hurt"] else None
    return Run(told["expected"], told["phase"], back_s, harm["hurt"], harm["hurt_at_once"], harm["unanswered"], tuple(told["problems"]))


def middle(values: list[float]) -> str:
    """Median, and the largest."""
    return f"{statistics.median(values):,.1f} / {max(values):,.1f}" if values else "–"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path("build/rollouts"))
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the beginning\n")
    print("| case | runs | as expected | s to the last answer of the candidate | hurt | at once | lost |")
    print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
    unexpected: list[str] = []
    for case in given.cases:
        runs = []
        for seed in range(1, given.runs + 1):
            runs.append(run(case, seed, given.folder / f"seed-{seed}", fast=given.fast))
            if not runs[-1].expected:
                unexpected.append(f"{case}, seed {seed}: {runs[-1].phase}; {'; '.join(runs[-1].problems)}")
                print(f"  {unexpected[-1]}", file=sys.stderr, flush=True)
        back = [r.back_s for r in runs if r.back_s is not None]
        hurt = [float(r.hurt) for r in runs if r.back_s is not None]
        once = [float(r.at_once) for r in runs if r.back_s is not None]
        print(
            f"| {case} | {len(runs)} | {sum(r.expected for r in runs)} | {middle(back)} | {middle(hurt)} | "
            f"{statistics.median(once) if once else 0:,.0f} | {sum(r.lost for r in runs)} |",
            flush=True,
        )
    if unexpected:
        print("\nNot as expected:\n" + "\n".join(f"- {line}" for line in unexpected))


if __name__ == "__main__":
    main()
