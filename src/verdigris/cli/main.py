"""The command line: thin. Commands live in modules of their own; here they meet their errors and exit codes."""

import sys
from importlib.metadata import version

import typer
from rich.console import Console

from verdigris.cli.compare import compare_command
from verdigris.cli.demo import demo_command
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.schema import schema_command
from verdigris.comparison.recordings import UnreadableInput
from verdigris.errors import VerdigrisError
from verdigris.plan.identity import InvalidIdentity
from verdigris.plan.policy import InvalidPolicy
from verdigris.telemetry.sources import SourceError
from verdigris.telemetry.store import StoreError

app = typer.Typer(
    name="verdigris",
    help="Guards blue-green rollouts: judges a candidate against its baseline from distributed traces.",
    epilog="Exit codes of a judgement: 0 PASS, 1 FAIL, 2 NOT_ENOUGH_DATA, 3 BLIND; 64 and above are errors.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compare")(compare_command)
app.command("demo")(demo_command)
app.command("schema")(schema_command)


@app.callback(invoke_without_command=True)
def _main(*, show_version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:  # noqa: FBT003
    if show_version:
        typer.echo(f"verdigris {version('verdigris')}")
        raise typer.Exit


_EXIT_OF: tuple[tuple[type[VerdigrisError], ExitCode], ...] = (
    (InvalidIdentity, ExitCode.USAGE),
    (InvalidPolicy, ExitCode.USAGE),
    (UnreadableInput, ExitCode.UNREADABLE),
    (SourceError, ExitCode.NO_INPUT),
    (StoreError, ExitCode.STORE),
)


def run() -> None:
    """The entry point: runs a command and turns what goes wrong into one line and an exit code."""
    errors = Console(stderr=True)
    try:
        # Not standalone: a wrong call must not exit with 2, which is a verdict here.
        code = app(standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        errors.print("[bold]stopped[/]: nothing was judged and nothing is left behind.")
        code = ExitCode.INTERRUPTED
    except typer.TyperException as wrong:
        # What Typer raises for a wrong call can show itself, with a usage line; its public base class does not say so.
        show = getattr(wrong, "show", None)
        if show is not None:
            show(sys.stderr)
        else:
            errors.print(str(wrong), markup=False)
        code = ExitCode.USAGE
    except VerdigrisError as error:
        errors.print(f"[bold red]error[/]: {type(error).__name__}: ", end="")
        errors.print(str(error), markup=False, highlight=False)
        code = next((code for kind, code in _EXIT_OF if isinstance(error, kind)), ExitCode.INTERNAL)
    except BrokenPipeError:
        # The reader of our output went away; there is nobody to tell.
        sys.stderr.close()
        code = ExitCode.CANNOT_WRITE
    sys.exit(int(code or 0))
