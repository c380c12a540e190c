"""Live rollouts of the demonstration, again and again: how they end, how fast traffic is back, and how many users were hurt.

    python benchmarks/rollouts.py [--cases good errors …] [--runs 20] [--folder build/rollouts] [--fast]

Each run is `verdigris demo CASE --json` with a seed of its own: real Envoy, services, users, guard. A run takes about a minute. All cases
are run with one seed before the next, and every run is written down when it ends (`runs.jsonl`): what was stopped goes on where it was.
What ends otherwise than it should is counted and kept: its folder says why. The figures come from the users' own log.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

CASES = ("good", "healthcare", "finance", "cloud", "leak", "errors", "slow-tail", "kill-guard")
LIMIT_S = 400


@dataclass(frozen=True)
class Run:
    """One run. `back_s`: from the first hurt request (or the kill) to the last request that the candidate answered."""

    case: str
    seed: int
    expected: bool
    phase: str
    back_s: float | None
    hurt: int
    at_once: int
    lost: int
    load: float
    problems: tuple[str, ...]


def run(case: str, seed: int, folder: Path, *, fast: bool) -> Run:
    """One live case, from nothing to its ending."""
    program = "import sys; from verdigris.cli.main import run; sys.argv[0] = 'verdigris'; run()"
    command = [sys.executable, "-c", program, "demo", case, "--json", "--no-watch", "--seed", str(seed), "--folder", str(folder)]
    done = subprocess.run([*command, *(["--fast"] if fast else [])], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    load = os.getloadavg()[0]
    try:
        told = json.loads(done.stdout)
    except ValueError:
        why = done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else "it said nothing"
        return Run(case, seed, expected=False, phase="no end", back_s=None, hurt=0, at_once=0, lost=0, load=load, problems=(why,))
    harm, killed = told["harm"], told["killed"]
    back_s = killed["back_after_s"] if killed else harm["exposed_s"] if harm["hurt"] else None
    if told["expected"]:
        shutil.rmtree(folder / case / "state", ignore_errors=True)  # the spans: what is kept of it is the users' log
    return Run(
        case, seed, told["expected"], told["phase"], back_s, harm["hurt"], harm["hurt_at_once"], harm["unanswered"], load,
        tuple(told["problems"]),
    )  # fmt: skip


def known(file: Path) -> dict[tuple[str, int], Run]:
    """The runs that were written down."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    runs = [Run(**{**json.loads(line), "problems": tuple(json.loads(line)["problems"])}) for line in lines]
    return {(r.case, r.seed): r for r in runs}


def middle(values: Sequence[float]) -> str:
    """Median, and the largest."""
    return f"{statistics.median(values):,.1f} / {max(values):,.1f}" if values else "–"


def table(runs: Sequence[Run], cases: Sequence[str]) -> str:
    """One row per case; median and largest of each figure."""
    rows = [
        "| case | runs | as expected | s to the candidate's last answer | requests hurt | at once | lost | load |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case in cases:
        of = [r for r in runs if r.case == case]
        back = [r for r in of if r.back_s is not None]
        hurt, once = [float(r.hurt) for r in back], [float(r.at_once) for r in back]
        rows.append(
            f"| {case} | {len(of)} | {sum(r.expected for r in of)} | {middle([r.back_s for r in back if r.back_s is not None])} | "
            f"{middle(hurt)} | {statistics.median(once) if once else 0:,.0f} | {sum(r.lost for r in of)} | "
            f"{middle([r.load for r in of])} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Run what was not run yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path("build/rollouts"))
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    file = given.folder / "runs.jsonl"
    done = known(file)
    wanted = [(case, seed) for seed in range(1, given.runs + 1) for case in given.cases if (case, seed) not in done]
    try:
        for number, (case, seed) in enumerate(wanted, 1):
            print(f"[{number}/{len(wanted)}] {case}, seed {seed}", end=": ", file=sys.stderr, flush=True)
            done[case, seed] = ran = run(case, seed, given.folder / f"seed-{seed}", fast=given.fast)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(ran)) + "\n")
            print(ran.phase if ran.expected else f"NOT AS EXPECTED: {ran.phase}; {'; '.join(ran.problems)}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on where it was ({file})", file=sys.stderr)
    print(f"{os.cpu_count()} processors\n\n{table(list(done.values()), given.cases)}")
    unexpected = [r for r in done.values() if not r.expected]
    if unexpected:
        print("\nNot as expected:\n" + "\n".join(f"- {r.case}, seed {r.seed}: {r.phase}; {'; '.join(r.problems)}" for r in unexpected))


if __name__ == "__main__":
    main()
