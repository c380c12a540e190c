"""`verdigris compare`: two recordings, or two roles in one, and which is worse."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.output import finish
from verdigris.comparison import html, terminal
from verdigris.comparison.compare import compare
from verdigris.comparison.document import Comparison, to_json
from verdigris.comparison.recordings import Input
from verdigris.errors import VerdigrisError
from verdigris.judge.windows import Role
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.plan.policy import Policy
from verdigris.plan.yaml_text import BYTES_MAX
from verdigris.sensitive.definition import Detectors, read_detectors

EPILOG = """[bold]Examples[/]

  verdigris compare before.jsonl.xz after.jsonl.xz

  verdigris compare 'blue/*.json.gz' green/ --html report.html

  verdigris compare traces/ --baseline service.version=v1 --candidate 'service.version=v2*'

  kubectl exec collector -- cat /traces.jsonl | verdigris compare - --baseline slot=blue --candidate slot=green --json

[bold]Exit codes[/]: 0 PASS, 1 FAIL, 2 NOT_ENOUGH_DATA, 3 BLIND, 64 wrong call, 65 unreadable input (--strict), 66 no input,
70 internal error, 73 cannot write, 74 span store failed, 130 stopped; 69, 75, 77 and 78 are of other commands.
"""


class NoDetectors(VerdigrisError):
    """The file of detectors cannot be read. Safe: nothing was read, judged or scanned."""


class CannotWrite(VerdigrisError):
    """An output cannot be written. Safe: the verdict stands, and was printed if it could be."""


def compare_command(  # noqa: PLR0917, RUF100
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="BASELINE CANDIDATE",
            help="Two recordings: files, folders, quoted globs, or - for standard input; the content says the format and compression. "
            "With --baseline and --candidate: any number of inputs that hold both roles.",
        ),
    ],
    baseline: Annotated[str | None, typer.Option(help="Resource attributes of the baseline's spans: key=pattern[,key=pattern…].")] = None,
    candidate: Annotated[str | None, typer.Option(help="Resource attributes of the candidate's spans.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON (see: verdigris schema compare).")] = False,  # noqa: FBT002
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report: one file, no outside requests.")] = None,
    detectors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML: what is masked, what is allowed and why, detectors of your own (docs/scan.md)."),
    ] = None,
    strict: Annotated[bool, typer.Option(help="An unreadable part or a refused span is an error (exit code 65).")] = False,  # noqa: FBT002
    alpha: Annotated[float, typer.Option(help="Bound on the chance that an unchanged candidate FAILs.")] = Policy().alpha,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,  # noqa: FBT002
) -> int:
    """Judge a candidate's traces against a baseline's: is it worse, where, how sure is that."""
    judged = inputs_of(inputs, baseline, candidate)
    policy = Policy(alpha=alpha)
    if html_file is not None and not html_file.parent.is_dir():
        # Known now, so not after minutes of judging.
        msg = f"there is no folder {html_file.parent} for the report"
        raise CannotWrite(msg)
    masked = None if detectors is None else detectors_in(detectors)
    with ComparisonProgress(enabled=not quiet) as progress:
        comparison = compare(judged, policy, progress, strict=strict, detectors=masked)
    if json_output:
        sys.stdout.buffer.write(to_json(comparison))
    else:
        terminal.render(comparison, Console())
    finish()
    if html_file is not None:
        write_html(comparison, html_file)
        Console(stderr=True).print(f"report: {html_file}", markup=False, highlight=False, soft_wrap=True)
    return ExitCode[comparison.verdict]


compare_command.__doc__ = (compare_command.__doc__ or "") + "\n\n" + EPILOG


def detectors_in(file: Path) -> Detectors:
    """What a file says is masked. Raises: NoDetectors, InvalidDetectors."""
    try:
        with file.open("rb") as opened:
            content = opened.read(BYTES_MAX + 1)
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror or error}"
        raise NoDetectors(msg) from error
    return read_detectors(content, str(file), os.environ)


def inputs_of(names: list[str], baseline: str | None, candidate: str | None) -> list[Input]:
    """What the command line says is to be read. Raises: typer.BadParameter, InvalidIdentity."""
    if baseline is not None or candidate is not None:
        if baseline is None or candidate is None:
            msg = "give both --baseline and --candidate, or neither and two recordings"
            raise typer.BadParameter(msg)
        return [Input(tuple(names), identity=Identity(IdentityMatch.parse(baseline), IdentityMatch.parse(candidate)))]
    if len(names) != 2:  # noqa: PLR2004  # a baseline and a candidate
        msg = (
            f"needs two recordings, BASELINE and CANDIDATE, and was given {len(names)}; quote globs, "
            "or use --baseline and --candidate to tell roles apart in one source"
        )
        raise typer.BadParameter(msg)
    if names[0] == names[1] == "-":
        msg = "standard input can be read once: name a file for one of the two"
        raise typer.BadParameter(msg)
    return [Input((names[0],), role=Role.BASELINE), Input((names[1],), role=Role.CANDIDATE)]


def write_html(comparison: Comparison, file: Path) -> None:
    """Write the report beside its final name first, so that a half-written one never has it. Raises: CannotWrite."""
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(html.render(comparison), encoding="utf-8")
        os.replace(part, file)  # noqa: PTH105  # the same call, in the words of POSIX
    except OSError as error:
        part.unlink(missing_ok=True)
        msg = f"could not write the report to {file}: {error.strerror or error}"
        raise CannotWrite(msg) from error


class ComparisonProgress:
    """Bars on standard error, where a person watches; silent in a pipe."""

    def __init__(self, *, enabled: bool) -> None:
        console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description:<12}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
            console=console, transient=True, disable=not (enabled and console.is_terminal),
        )  # fmt: skip
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Show."""
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Clear away."""
        self._bars.stop()

    def reading(self, total_bytes: int | None) -> None:
        """Reading begins."""
        self._task = self._bars.add_task("reading", total=total_bytes)

    def read(self, done_bytes: int) -> None:
        """So much is read."""
        if self._task is not None:
            self._bars.update(self._task, completed=done_bytes)

    def summarising(self, total_spans: int) -> None:
        """Windows are being made."""
        self._task = self._bars.add_task("windows", total=total_spans)

    def summarised(self, spans: int) -> None:
        """So many more spans are in windows."""
        if self._task is not None:
            self._bars.advance(self._task, spans)

    def judging(self) -> None:
        """The judge is at work."""
        self._task = self._bars.add_task("judging", total=None)
