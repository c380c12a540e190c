"""`verdigris key`: the key that signs the ledger."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.output import finish
from verdigris.ledger.signing import KeySigner, new_key, read_key
from verdigris.server.connection import state_folder

NEW_EPILOG = """[bold]Examples[/]

  verdigris key new ledger.key --name bank.example/rollouts

Keep the file where only the guard can read it, and give the verifier key that is printed to whoever audits.
"""
ROTATE_EPILOG = """[bold]Examples[/]

  verdigris key rotate --state /var/lib/verdigris

The guard must be stopped. The old key's file is kept beside the new one, as `ledger.key.old-1`; destroy it when nothing needs it.
"""
app = typer.Typer(
    help="The key that signs the ledger.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
State = Annotated[Path | None, typer.Option("--state", metavar="FOLDER", help="The guard's state folder; default: .verdigris.")]


@app.command("new", epilog=NEW_EPILOG)
def new_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Must not be there yet; only you will be able to read it.")],
    name: Annotated[str, typer.Option(help="Of the key, as it stands beside signatures: the ledger's name.")],
) -> int:
    """Make an Ed25519 key for a ledger, and print how others verify it."""
    typer.echo(str(KeySigner(name, new_key(file)).key))
    _say(f"{file} signs; keep it from everybody. What was printed verifies, and is for auditors.")
    finish()
    return ExitCode.PASS


@app.command("show")
def show_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A key's file; default: those that signed the guard's ledger.")
    ] = None,
    name: Annotated[str, typer.Option(help="With a file: the key's name.")] = "verdigris",
    state: State = None,
) -> int:
    """Print verifier keys: of a key's file, or of all that have signed the guard's ledger, the newest last."""
    if file is not None:
        typer.echo(str(KeySigner(name, read_key(file)).key))
    else:
        from verdigris.server.ledger_of import known_keys  # noqa: PLC0415  # the guard's rooms take a second to load

        for key in known_keys(state_folder(state)):
            typer.echo(str(key))
    finish()
    return ExitCode.PASS


@app.command("rotate", epilog=ROTATE_EPILOG)
def rotate_command(
    state: State = None,
    settings: Annotated[Path | None, typer.Option(metavar="FILE", help="The guard's settings, where the ledger is elsewhere.")] = None,
) -> int:
    """Make a new key, and let the old and the new one sign that the new one takes over."""
    from verdigris.server.rotation import rotate  # noqa: PLC0415  # as above
    from verdigris.server.settings import GuardSettings, load_settings  # noqa: PLC0415

    asked = GuardSettings(state_folder=state_folder(state)) if settings is None else load_settings(settings, os.environ)
    key = rotate(asked)
    typer.echo(str(key))
    _say("the ledger is signed with this key from now on; give it to auditors beside the ones before it")
    finish()
    return ExitCode.PASS


def _say(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
