"""`verdigris scan`: recordings of traces, and which sensitive values are in them."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from verdigris.cli.compare import CannotWrite, ComparisonProgress, detectors_in
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.output import finish
from verdigris.scanning import terminal
from verdigris.scanning.document import Scan, to_json
from verdigris.scanning.sarif import scan_sarif
from verdigris.scanning.scan import scan
from verdigris.sensitive.definition import default_detectors

EPILOG = """[bold]Examples[/]

  verdigris scan traces.jsonl.xz

  verdigris scan 'traces/**/*.json.gz' --json

  verdigris scan traces/ --detectors detectors.yaml --sarif scan.sarif

  kubectl exec collector -- cat /traces.jsonl | verdigris scan -

[bold]Exit codes[/]: 0 nothing found, 1 something found, 64 wrong call, 65 nothing found and not everything could be read, or a
definition of detectors that cannot be used, 66 no input, 70 internal error, 73 cannot write, 130 stopped; others are of other commands.
"""


def scan_command(  # noqa: PLR0917, RUF100
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="Recordings: files, folders, quoted globs, or - for standard input; the content says the format and compression.",
        ),
    ],
    detectors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML: treatments, what is allowed and why, detectors of your own (docs/scan.md)."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON (see: verdigris schema scan).")] = False,  # noqa: FBT002
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the findings as SARIF 2.1.0 too.")] = None,
    literals: Annotated[  # noqa: FBT002
        bool, typer.Option("--literals", help="Literals of statements and URLs count as found too, sensitive or not.")
    ] = False,
    unreadable: Annotated[  # noqa: FBT002
        bool, typer.Option("--allow-unreadable", help="What cannot be read is told, and is no reason for exit code 65.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,  # noqa: FBT002
) -> int:
    """Look for sensitive values in traces: counts and masked samples per detector, position, service and operation."""
    if sarif is not None and not sarif.parent.is_dir():
        # Known now, so not after minutes of reading.
        msg = f"there is no folder {sarif.parent} for the SARIF log"
        raise CannotWrite(msg)
    wanted = default_detectors() if detectors is None else detectors_in(detectors)
    with ComparisonProgress(enabled=not quiet) as progress:
        result = scan(inputs, wanted, progress, literals_count=literals)
    if json_output:
        sys.stdout.buffer.write(to_json(result))
    else:
        terminal.render(result, Console())
    finish()
    if sarif is not None:
        _write_sarif(result, sarif)
        Console(stderr=True).print(f"SARIF: {sarif}", markup=False, highlight=False, soft_wrap=True)
    return _exit_code(result, unreadable_is_told=unreadable)


scan_command.__doc__ = (scan_command.__doc__ or "") + "\n\n" + EPILOG


def _exit_code(result: Scan, *, unreadable_is_told: bool) -> ExitCode:
    """What was not looked at is no reason to say that nothing is there."""
    if result.found:
        return ExitCode.FAIL
    return ExitCode.PASS if result.reading.complete or unreadable_is_told else ExitCode.UNREADABLE


def _write_sarif(result: Scan, file: Path) -> None:
    """Write beside the final name first, so that a half-written log never has it. Raises: CannotWrite."""
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_bytes(scan_sarif(result))
        os.replace(part, file)  # noqa: PTH105  # the same call, in the words of POSIX
    except OSError as error:
        part.unlink(missing_ok=True)
        msg = f"could not write the SARIF log to {file}: {error.strerror or error}"
        raise CannotWrite(msg) from error
