"""`verdigris serve`: runs the guard until it is told to stop."""

import asyncio
import contextlib
import json
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from verdigris.cli.exit_codes import ExitCode
from verdigris.errors import VerdigrisError
from verdigris.server.connection import state_folder

if TYPE_CHECKING:
    from verdigris.server.guard import Guard
    from verdigris.server.settings import GuardSettings

EPILOG = """[bold]Examples[/]

  verdigris serve

  verdigris serve --settings guard.yaml

  verdigris serve --state /var/lib/verdigris --grpc 127.0.0.1:14317 --http none

[bold]Exit codes[/]: 0 stopped as asked, 64 wrong settings, 73 the state folder or an address cannot be used, 74 a store failed.
"""


def serve_command(
    settings: Annotated[Path | None, typer.Option(metavar="FILE", help="The guard's settings (see docs/telemetry-in.md).")] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", envvar="VERDIGRIS_STATE", help="Its state folder (default: .verdigris).", show_default=False),
    ] = None,
    grpc: Annotated[str | None, typer.Option(metavar="ADDRESS", help="OTLP over gRPC: host:port, or none.", show_default=False)] = None,
    http: Annotated[str | None, typer.Option(metavar="ADDRESS", help="OTLP over HTTP: host:port, or none.", show_default=False)] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every phase of every rollout.")] = False,  # noqa: FBT002
    json_output: Annotated[bool, typer.Option("--json", help="Print where it listens as one line of JSON.")] = False,  # noqa: FBT002
) -> int:
    """Run the guard: take spans in, act on rollouts, answer people.

    It runs until Ctrl-C or SIGTERM. Then nothing new is taken, what was acknowledged is durable, and leases end by themselves: the
    baseline gets the traffic until a guard runs again, which goes on with every rollout where it was. SIGUSR1 has it verify its ledger.
    """
    # The guard's parts take a second to load, which the other commands need not wait for.
    from verdigris.server.settings import GuardSettings, load_settings  # noqa: PLC0415
    from verdigris.telemetry.receiver.listeners import Addresses  # noqa: PLC0415

    chosen = load_settings(settings) if settings is not None else GuardSettings(state_folder=state_folder(state))
    if state is not None:
        chosen = replace(chosen, state_folder=state)
    addresses = Addresses(_address(grpc, chosen.otlp.grpc), _address(http, chosen.otlp.http))
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.run(_serve(replace(chosen, otlp=addresses), json_output=json_output))
    return 0


async def _serve(settings: "GuardSettings", *, json_output: bool) -> None:
    from verdigris.server.guard import open_guard  # noqa: PLC0415

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stopping.set)
    async with open_guard(settings) as guard:
        if guard.keeping is not None:
            loop.add_signal_handler(signal.SIGUSR1, guard.keeping.verifying.ask)
        _tell(guard, json_output=json_output)
        await stopping.wait()
        with contextlib.suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)  # a second Ctrl-C ends it at once


def _tell(guard: "Guard", *, json_output: bool) -> None:
    """Where it listens, once everything does."""
    settings = guard.settings
    where = {
        "guard": guard.name,
        "state_folder": str(settings.state_folder),
        "otlp_grpc": _bound(settings.otlp.grpc, guard.receiver.grpc_port),
        "otlp_http": _bound(settings.otlp.http, guard.receiver.http_port),
        "api_socket": str(guard.serving.unix_socket),
        "api": "{}:{}".format(*guard.serving.tcp) if guard.serving.tcp else None,
    }
    if json_output:
        typer.echo(json.dumps(where))
        sys.stdout.flush()
        return
    console = Console(stderr=True, highlight=False)
    console.print(f"guard {where['guard']} runs; its state is in {where['state_folder']}", markup=False)
    console.print(f"  spans: gRPC {where['otlp_grpc'] or 'off'}, HTTP {where['otlp_http'] or 'off'}", markup=False)
    console.print(f"  people: {where['api_socket']}" + (f" and {where['api']}" if where["api"] else ""), markup=False)
    for note in guard.telemetry.health().notes:
        console.print(f"  note: {note}", markup=False)
    console.print("  stop with Ctrl-C", markup=False)


def _bound(address: str | None, port: int | None) -> str | None:
    return None if address is None else f"{address.rpartition(':')[0]}:{port}"


def _address(given: str | None, default: str | None) -> str | None:
    return default if given is None else None if given == "none" else given


def exit_codes() -> tuple[tuple[type[VerdigrisError], ExitCode], ...]:
    """The exit codes of the guard's own errors."""
    from verdigris.approvals.people import InvalidPeople  # noqa: PLC0415
    from verdigris.ledger.log import LedgerDamaged  # noqa: PLC0415
    from verdigris.ledger.signing import KeyUnusable, SignerFailed  # noqa: PLC0415
    from verdigris.ledger.storage import LedgerUnavailable  # noqa: PLC0415
    from verdigris.rollout.records import RecordsUnavailable  # noqa: PLC0415
    from verdigris.server.actors import InvalidActors  # noqa: PLC0415
    from verdigris.server.guard import CannotStart  # noqa: PLC0415
    from verdigris.server.ledger_of import LedgerNotSetUp  # noqa: PLC0415
    from verdigris.server.settings import InvalidSettings  # noqa: PLC0415
    from verdigris.server.unix_socket import CannotListen  # noqa: PLC0415
    from verdigris.telemetry.receiver.otlp_grpc import ListenerFailed  # noqa: PLC0415
    from verdigris.telemetry.receiver.tls import TlsUnusable  # noqa: PLC0415

    return (
        (RecordsUnavailable, ExitCode.STORE),
        (LedgerDamaged, ExitCode.STORE),
        (LedgerUnavailable, ExitCode.STORE),
        (LedgerNotSetUp, ExitCode.USAGE),
        (KeyUnusable, ExitCode.USAGE),
        (SignerFailed, ExitCode.STORE),
        (CannotStart, ExitCode.CANNOT_WRITE),
        (CannotListen, ExitCode.CANNOT_WRITE),
        (ListenerFailed, ExitCode.CANNOT_WRITE),
        (TlsUnusable, ExitCode.USAGE),
        (InvalidSettings, ExitCode.USAGE),
        (InvalidActors, ExitCode.USAGE),
        (InvalidPeople, ExitCode.USAGE),
    )
