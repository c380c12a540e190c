"""The command line: thin. Commands live in modules of their own; here they meet their errors and exit codes."""

import sys
import traceback
from importlib.metadata import version

import typer
from rich.console import Console
from rich.markup import escape

from verdigris.approvals.approval import InvalidApproval
from verdigris.approvals.errors import ApprovalError
from verdigris.approvals.ssh_agent import CannotSign
from verdigris.audit.errors import CannotExport, NoRecord, NoSuchEntry
from verdigris.cli.approve import APPROVE_EPILOG, REFUSE_EPILOG, REVIEW_EPILOG, approve_command, refuse_command, review_command
from verdigris.cli.audit import app as audit_app
from verdigris.cli.compare import CannotWrite, NoDetectors, compare_command
from verdigris.cli.demo import demo_command
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.key import app as key_app
from verdigris.cli.output import Stopped, abandon, finish, stopping_on_signals
from verdigris.cli.plan import app as plan_app
from verdigris.cli.rollout import NoSuchFile
from verdigris.cli.rollout import app as rollout_app
from verdigris.cli.scan import scan_command
from verdigris.cli.schema import schema_command
from verdigris.cli.serve import EPILOG as SERVE_EPILOG
from verdigris.cli.serve import serve_command
from verdigris.cli.traffic import UnreadableFile, WrongLifetime
from verdigris.cli.traffic import app as traffic_app
from verdigris.cli.witness import app as witness_app
from verdigris.comparison.recordings import UnreadableInput
from verdigris.errors import VerdigrisError
from verdigris.ledger.errors import LedgerError
from verdigris.ledger.signing import KeyUnusable
from verdigris.ledger.storage import LedgerUnavailable
from verdigris.plan.identity import InvalidIdentity
from verdigris.plan.policy import InvalidPolicy
from verdigris.plan.problems import InvalidPlan
from verdigris.plan.settings import MissingSecret
from verdigris.rollout.status import NoSuchRollout, RolloutError
from verdigris.sensitive.definition import InvalidDetectors
from verdigris.server.client import GuardUnreachable, InvalidServer
from verdigris.server.wire import AccessDenied
from verdigris.telemetry.sources import SourceError
from verdigris.telemetry.store import StoreError
from verdigris.traffic.chosen_users import InvalidToken
from verdigris.traffic.data_plane import NotSupported
from verdigris.traffic.envoy_settings import InvalidSettings

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
app.command("scan")(scan_command)
app.command("schema")(schema_command)
app.command("serve", epilog=SERVE_EPILOG)(serve_command)
app.add_typer(rollout_app, name="rollout")
app.command("approve", epilog=APPROVE_EPILOG)(approve_command)
app.command("refuse", epilog=REFUSE_EPILOG)(refuse_command)
app.command("review", epilog=REVIEW_EPILOG)(review_command)
app.add_typer(plan_app, name="plan")
app.add_typer(traffic_app, name="traffic")
app.add_typer(witness_app, name="witness")
app.add_typer(audit_app, name="audit")
app.add_typer(key_app, name="key")


@app.callback(invoke_without_command=True)
def _main(*, show_version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:  # noqa: FBT003
    if show_version:
        typer.echo(f"verdigris {version('verdigris')}")
        raise typer.Exit


_EXIT_OF: tuple[tuple[type[VerdigrisError], ExitCode], ...] = (
    (InvalidIdentity, ExitCode.USAGE),
    (InvalidPolicy, ExitCode.USAGE),
    (InvalidPlan, ExitCode.UNREADABLE),
    (CannotWrite, ExitCode.CANNOT_WRITE),
    (UnreadableInput, ExitCode.UNREADABLE),
    (InvalidDetectors, ExitCode.UNREADABLE),
    (NoDetectors, ExitCode.NO_INPUT),
    (SourceError, ExitCode.NO_INPUT),
    (StoreError, ExitCode.STORE),
    (Stopped, ExitCode.INTERRUPTED),
    (NoSuchFile, ExitCode.NO_INPUT),
    (NoSuchRollout, ExitCode.NO_INPUT),
    (InvalidServer, ExitCode.USAGE),
    (GuardUnreachable, ExitCode.NO_GUARD),
    (AccessDenied, ExitCode.DENIED),
    (RolloutError, ExitCode.CONFLICT),
    (CannotSign, ExitCode.NO_KEY),
    (InvalidApproval, ExitCode.USAGE),
    (ApprovalError, ExitCode.DENIED),
    (MissingSecret, ExitCode.USAGE),
    (InvalidToken, ExitCode.USAGE),
    (WrongLifetime, ExitCode.USAGE),
    (NotSupported, ExitCode.USAGE),
    (UnreadableFile, ExitCode.NO_INPUT),
    (InvalidSettings, ExitCode.UNREADABLE),
    (NoRecord, ExitCode.NO_INPUT),
    (NoSuchEntry, ExitCode.NO_INPUT),
    (CannotExport, ExitCode.CANNOT_WRITE),
    (LedgerUnavailable, ExitCode.STORE),
    (KeyUnusable, ExitCode.USAGE),
    (LedgerError, ExitCode.FAIL),
)


def _exit_code_of(error: VerdigrisError) -> ExitCode:
    """What the command ends with. The guard's errors are looked up only where its modules are loaded, which takes a second."""
    table = _EXIT_OF
    if "verdigris.server.guard" in sys.modules:
        from verdigris.cli.serve import exit_codes  # noqa: PLC0415

        table += exit_codes()
    return next((code for kind, code in table if isinstance(error, kind)), ExitCode.INTERNAL)


NOTHING_LEFT = "nothing was judged and nothing is left behind."


def run() -> None:
    """The entry point: runs a command and turns what goes wrong into one line and an exit code."""
    with stopping_on_signals():
        code, farewell = _run()
    if code == ExitCode.INTERRUPTED:
        Console(stderr=True).print(f"[bold]stopped[/]: {escape(farewell)}", highlight=False, soft_wrap=True)
    sys.exit(int(code or 0))


def _run() -> tuple[int | None, str]:
    """The exit code, and what to say when the command was stopped."""
    errors = Console(stderr=True)
    farewell = NOTHING_LEFT
    try:
        # Not standalone: a wrong call must not exit with 2, which is a verdict here.
        code: int | None = app(standalone_mode=False)
        finish()
    except typer.Exit as stop:
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED  # Typer itself makes it an exit code, which arrives as a return value
    except typer.TyperException as wrong:
        # What Typer raises for a wrong call can show itself, with a usage line; its public base class does not say so.
        show = getattr(wrong, "show", None)
        if show is not None:
            show(sys.stderr)
        else:
            errors.print(str(wrong), markup=False)
        code = ExitCode.USAGE
    except VerdigrisError as error:
        farewell = str(error)
        code = _refused(errors, error)
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        # The reader of our output went away; there is nobody to tell. Typer and Rich would exit with 1, a verdict here.
        abandon()
        code = ExitCode.CANNOT_WRITE
    except OSError as error:
        # What cannot be read is a problem of its input, not an error; so this is an output or the temporary folder.
        abandon()
        _tell(errors, "cannot write", str(error))
        code = ExitCode.CANNOT_WRITE
    except Exception:  # noqa: BLE001  # Python would exit with 1, which is a verdict here
        abandon()
        traceback.print_exc()
        _tell(errors, "this is a mistake of ours", "nothing was judged; please report the lines above")
        code = ExitCode.INTERNAL
    return code, farewell


def _refused(errors: Console, error: VerdigrisError) -> ExitCode:
    """The exit code of an error that was told. Being stopped is told later, when no signal can cut it off."""
    code = _exit_code_of(error)
    if code is not ExitCode.INTERRUPTED:
        _tell(errors, type(error).__name__, str(error))
    return code


def _tell(errors: Console, what: str, text: str) -> None:
    """One line, however narrow the terminal is: logs are searched by line."""
    errors.print(f"[bold red]error[/]: {what}: ", end="")
    errors.print(text, markup=False, highlight=False, soft_wrap=True)
