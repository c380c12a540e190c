"""`verdigris demo`: a live case, from the first request to the ending; or a recording of a small system, compared."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from inspect import cleandoc
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress as Bars

from verdigris.cli.compare import ComparisonProgress, write_html
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.output import finish
from verdigris.cli.watch import changes, picture
from verdigris.comparison import terminal
from verdigris.comparison.compare import compare
from verdigris.comparison.recordings import Input
from verdigris.comparison.terminal import visible
from verdigris.demo.cases import CASES, Case
from verdigris.demo.ending import Ending
from verdigris.demo.plan_text import FAST, NORMAL
from verdigris.demo.recording import describe, record
from verdigris.judge.windows import Role
from verdigris.plan.policy import Policy
from verdigris.rollout.status import RolloutEvent, RolloutStatus

EXPECTED_VERDICT = "FAIL"
CAUSE = "eligibility"
"""The service whose external dependency is slow in the recorded candidate."""

RECORDING_S = 60.0
LIMIT_S = 300.0
EVENTS_SHOWN = 20
HEIGHT_MIN = 20
"""Lines below which a picture is not worth drawing."""

EPILOG = (
    "[bold]Cases[/]\n\n"
    + "\n\n".join(f"  [bold]{case.name}[/]: {case.title}" for case in CASES.values())
    + """

  [bold]recording[/]: two recorded versions, side by side, and `verdigris compare`

[bold]Examples[/]

  verdigris demo

  verdigris demo finance --folder /tmp/demo

  verdigris demo errors --fast --json

[bold]Exit codes[/]: 0 it ended as it should, 70 it did not, 130 stopped.
"""
)


class Story(StrEnum):
    """What can be demonstrated."""

    GOOD = "good"
    HEALTHCARE = "healthcare"
    FINANCE = "finance"
    CLOUD = "cloud"
    LEAK = "leak"
    ERRORS = "errors"
    SLOW_TAIL = "slow-tail"
    KILL_GUARD = "kill-guard"
    RECORDING = "recording"


def demo_command(
    case: Annotated[Story, typer.Argument(metavar="[CASE]", help="What to demonstrate.", show_choices=True)] = Story.HEALTHCARE,
    folder: Annotated[
        Path, typer.Option(help="Where everything goes: plan, configurations, logs and state, one folder in it for each case.")
    ] = Path("verdigris-demo"),
    seconds: Annotated[
        float | None,
        typer.Option(
            help=f"Give a live case up after so long (default: {LIMIT_S:g}); for recording, how long to record ({RECORDING_S:g})."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the load and of everything accidental.")] = 1,
    fast: Annotated[bool, typer.Option("--fast", help="Shorter phases: the guard learns less and decides on less.")] = False,  # noqa: FBT002
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Draw the rollout while it runs; else a line per change.")] = True,  # noqa: FBT002
    json_output: Annotated[bool, typer.Option("--json", help="Print the ending as JSON; what happens goes to standard error.")] = False,  # noqa: FBT002
) -> int:
    """Roll a real system out behind a real proxy, with a fault in the new version, and see what the guard does.

    Everything runs on loopback of this machine: Envoy, services in two versions with OpenTelemetry's SDK, their users, and the guard as
    a process of its own. A case takes a minute or two.
    """
    if case is Story.RECORDING:
        return recording_demo(folder, RECORDING_S if seconds is None else seconds)
    return live_demo(
        CASES[case.value], folder / case.value, LIMIT_S if seconds is None else seconds,
        seed=seed, fast=fast, watch=watch, json_output=json_output,
    )  # fmt: skip


demo_command.__doc__ = cleandoc(demo_command.__doc__ or "") + "\n\n" + EPILOG


def live_demo(case: Case, folder: Path, limit_s: float, *, seed: int, fast: bool, watch: bool, json_output: bool) -> int:
    """One live case. Returns: the exit code."""
    stage = Stage(Console(stderr=json_output), draw=watch and not json_output)
    stage.introduce(case)
    stage.stage("preparing")
    from verdigris.demo.run import run_case  # noqa: PLC0415  # proxy, guard and SDK: a second that other commands need not wait

    try:
        ending = asyncio.run(run_case(case, folder, FAST if fast else NORMAL, stage, seed=seed, limit_s=limit_s))
    finally:
        stage.close()
    if json_output:
        sys.stdout.write(json.dumps(ending.document(), indent=2) + "\n")
    stage.conclude(ending, folder)
    finish()
    return 0 if ending.expected else ExitCode.INTERNAL


class Stage:
    """Shows a case: lines before and after the rollout, and the rollout as a picture, or as lines where nothing can be drawn."""

    def __init__(self, console: Console, *, draw: bool) -> None:
        """`close` it."""
        self._console = console
        drawn = draw and console.is_terminal and not console.is_dumb_terminal and console.height >= HEIGHT_MIN
        self._ascii = not console.encoding.lower().startswith("utf")
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop") if drawn else None
        self._start_s = time.monotonic()
        self._latest: RolloutStatus | None = None

    def introduce(self, case: Case) -> None:
        """What will run, and what is wrong with it."""
        self._console.print(f"[bold]{case.name}[/]: {case.title}", highlight=False)
        self._console.print(case.story, markup=False, highlight=False)
        self._console.print()

    def stage(self, text: str) -> None:
        """What happens now."""
        self.close()
        self._line(text)

    def status(self, status: RolloutStatus, events: Sequence[RolloutEvent]) -> None:
        """The rollout, whenever it changes."""
        before, self._latest = self._latest, status
        if self._live is None:
            for line in changes(before, status):
                self._line(line)
            return
        self._live.start()
        height = self._console.height - 1
        lines = picture(status, events[-EVENTS_SHOWN:], time.time(), self._console.width, height=height, plain_ascii=self._ascii)
        self._live.update(Group(*lines), refresh=True)

    def close(self) -> None:
        """The last picture stays."""
        if self._live is not None and self._live.is_started:
            self._live.stop()

    def conclude(self, ending: Ending, folder: Path) -> None:
        """How it ended, what it cost, and whether that is as it should be."""
        self._console.print()
        for sentence in ending.sentences():
            self._print(sentence)
        for finding in ending.findings[:3]:
            self._print(f"  finding: {finding}")
        if ending.expected:
            self._console.print(f"[bold]As it should end.[/] Plan, configurations and logs: {visible(str(folder))}", highlight=False)
            return
        for problem in ending.problems:
            self._print(f"Not as it should be: {problem}.")
        self._print(f"The logs are in {folder / 'logs'}")

    def _line(self, text: str) -> None:
        self._print(f"{time.monotonic() - self._start_s:5.1f} s  {text}")

    def _print(self, text: str) -> None:
        safe = visible(text)
        if self._ascii:
            safe = safe.encode("ascii", "replace").decode("ascii")
        self._console.print(safe, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()


def recording_demo(folder: Path, seconds: float) -> int:
    """Records three services in two versions, side by side, and judges the new one. Returns: the exit code."""
    console = Console()
    console.print(describe(), markup=False, highlight=False)
    console.print()
    errors = Console(stderr=True)
    with Bars(console=errors, transient=True, disable=not errors.is_terminal) as bars:
        task = bars.add_task("recording", total=1.0)
        recording = record(folder, seconds=seconds, on_progress=lambda share: bars.update(task, completed=share))
    judged = [
        Input((str(recording.baseline),), role=Role.BASELINE),
        Input((str(recording.candidate),), role=Role.CANDIDATE),
    ]
    with ComparisonProgress(enabled=True) as progress:
        comparison = compare(judged, Policy(), progress)
    terminal.render(comparison, console)
    report = folder / "report.html"
    write_html(comparison, report)
    console.print(f"\nreport: {report}", markup=False, highlight=False)
    named = comparison.causes[0].service if comparison.causes else "nobody"
    if (comparison.verdict, named) == (EXPECTED_VERDICT, CAUSE):
        console.print(f"As it should end: {comparison.verdict}, and {named} is named first.", highlight=False)
        return 0
    console.print(f"This should have ended with {EXPECTED_VERDICT} and {CAUSE} named first; it named {named}.", highlight=False)
    return ExitCode.INTERNAL
