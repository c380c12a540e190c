"""`verdigris demo`: records a small real system in two versions, then compares them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bars

from verdigris.cli.compare import ComparisonProgress, write_html
from verdigris.cli.exit_codes import ExitCode
from verdigris.comparison import terminal
from verdigris.comparison.compare import compare
from verdigris.comparison.recordings import Input
from verdigris.demo.recording import describe, record
from verdigris.judge.windows import Role
from verdigris.plan.policy import Policy

EXPECTED_VERDICT = "FAIL"
CAUSE = "eligibility"
"""The service whose external dependency is slow in the candidate."""


def demo_command(
    folder: Annotated[Path, typer.Option(help="Where the recordings and the report go; a recording that is there is used again.")] = Path(
        "verdigris-demo"
    ),
    seconds: Annotated[float, typer.Option(help="How long to record.")] = 60,
) -> int:
    """Record three real services in two versions, side by side, and judge the new one.

    The services run on loopback only, instrumented with the OpenTelemetry SDK. Exit code 0 when the new one is found to be worse
    and the true cause is named first: that is how it should end. 70 when not.
    """
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
