"""Verdicts and causes on recorded faults: every case of ../shared/data/traces, with one fixed configuration.

    python benchmarks/accuracy.py [--traces FOLDER] [--only TEXT] [--json]

Prints a row per case (verdict, rank of the service at fault, innocent services ranked above it, seconds), then how the
results stand against what is asked of them. Exit code 1 when something that must hold does not, 2 without recordings.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from verdigris.cli.compare import ComparisonProgress
from verdigris.comparison.compare import compare
from verdigris.comparison.document import Comparison
from verdigris.comparison.recordings import Input
from verdigris.judge.windows import Role
from verdigris.plan.policy import Policy

TRACES = Path(__file__).resolve().parents[2] / "shared" / "data" / "traces"


@dataclass(frozen=True, slots=True)
class Result:
    """One case. `rank` is the guilty service's place among the causes, from 1; None when it is not among them."""

    case: str
    tier: str
    verdict: str
    guilty: str
    fault: str
    rank: int | None
    accused: tuple[str, ...]
    seconds: float

    @property
    def alarm(self) -> bool:
        """Whether anything was reported as wrong."""
        return self.verdict in {"FAIL", "BLIND"}

    @property
    def accuses_innocent(self) -> bool:
        """Whether the first cause is a service that is not at fault."""
        return bool(self.accused) and self.accused[0] != self.guilty


def run_case(folder: Path) -> tuple[Comparison, float]:
    """Compare one folder's recordings. Returns the comparison and the seconds it took."""
    began = time.perf_counter()
    inputs = [
        Input((str(folder / "baseline.jsonl.xz"),), role=Role.BASELINE),
        Input((str(folder / "candidate.jsonl.xz"),), role=Role.CANDIDATE),
    ]
    with ComparisonProgress(enabled=False) as progress:  # a table is being printed
        return compare(inputs, Policy(), progress), time.perf_counter() - began


def result_of(entry: dict[str, object], traces: Path) -> Result:
    """Judge one entry of truth.json."""
    case = str(entry["id"])
    truth = entry["truth"] if isinstance(entry["truth"], dict) else {}
    comparison, seconds = run_case(traces / case)
    accused = tuple(cause.service for cause in comparison.causes)
    guilty = str(truth.get("service", ""))
    rank = accused.index(guilty) + 1 if guilty in accused else None
    tier = str(entry.get("tier") or case.partition("-")[0])
    return Result(case, tier, comparison.verdict, guilty, str(truth.get("fault", "")), rank, accused, seconds)


def share(results: Sequence[Result], holds: Callable[[Result], bool]) -> float:
    """The share of results for which it holds; 1 when there are none."""
    return sum(holds(r) for r in results) / len(results) if results else 1.0


def demands(results: Sequence[Result]) -> list[tuple[str, str, bool, bool]]:
    """What is asked: (what, figure, whether it holds, whether it must)."""
    tiers = {tier: [r for r in results if r.tier == tier] for tier in ("core", "medium", "hard", "same", "null")}
    core, medium = tiers["core"], tiers["medium"]
    innocents, same, null = (sum(map(f, rs)) for f, rs in (
        (lambda r: r.accuses_innocent, tiers["hard"]),
        (lambda r: r.verdict == "FAIL", tiers["same"]),
        (lambda r: r.verdict == "FAIL", tiers["null"]),
    ))  # fmt: skip

    def first(n: int) -> Callable[[Result], bool]:
        return lambda r: r.alarm and r.rank is not None and r.rank <= n

    rows = [
        ("core: alarm in 85 %", share(core, lambda r: r.alarm), 0.85, True),
        ("core: cause first in 70 %", share(core, first(1)), 0.70, True),
        ("core: cause in the first two in 90 %", share(core, first(2)), 0.90, True),
        ("core: cause first in 90 % (aim)", share(core, first(1)), 0.90, False),
        ("medium: alarm in 60 % (aim)", share(medium, lambda r: r.alarm), 0.60, False),
        ("medium: cause in the first two in 50 % (aim)", share(medium, first(2)), 0.50, False),
    ]
    counted = [
        ("hard: an innocent accused in at most one case", innocents, 1),
        ("same: no FAIL", same, 0),
        ("null: at most one FAIL", null, 1),
    ]
    return [(what, f"{100 * got:.0f} %", got >= need, must) for what, got, need, must in rows] + [
        (what, str(got), got <= most, True) for what, got, most in counted
    ]


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder with truth.json and a folder for each case")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--json", action="store_true", help="print results as JSON lines")
    arguments = parser.parse_args()
    truth = arguments.traces / "truth.json"
    if not truth.exists():
        print(f"skipped: no recordings at {arguments.traces}", file=sys.stderr)
        return 2
    entries = json.loads(truth.read_text())
    results = []
    for entry in entries["cases"] + entries["null_pairs"]:
        if arguments.only not in entry["id"]:
            continue
        result = result_of(entry, arguments.traces)
        results.append(result)
        if arguments.json:
            print(json.dumps(asdict(result)), flush=True)
            continue
        rank = f"rank {result.rank}" if result.rank else ("–" if not result.accused else "not named")
        said = ", ".join(result.accused[:3]) or "nobody"
        columns = f"{result.case:22} {result.tier:7} {result.verdict:16} {result.guilty:30} {result.fault:15} {rank:10}"
        print(f"{columns} {result.seconds:5.1f} s  accused: {said}", flush=True)
    if arguments.json:
        return 0
    print()
    failed = False
    for what, figure, holds, must in demands(results):
        print(f"{'holds' if holds else ('FAILS' if must else 'short')}  {what}: {figure}")
        failed = failed or (must and not holds)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
