"""`verdigris witness`: remembers other people's logs and cosigns their heads, until it is told to stop."""

import asyncio
import contextlib
import json
import logging
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from verdigris.cli.compare import CannotWrite

if TYPE_CHECKING:
    from verdigris.witness.app import Cosigner
    from verdigris.witness.serving import TlsFiles

PORT_MAX = 65_535
LISTEN = "127.0.0.1:7380"

SERVE_EPILOG = """[bold]Examples[/]

  openssl genpkey -algorithm ed25519 -out witness.key

  verdigris witness serve --folder /var/lib/witness --key witness.key --name witness.example/w1 --log guard.example/log+1a2b3c4d+AT…

  verdigris witness serve --listen 0.0.0.0:8443 --certificate w1.pem --certificate-key w1.key --folder w1 --key witness.key --name witness.example/w1 --log guard.example/log+1a2b3c4d+AT…

Run it on another machine than the guards, under other people's hands: what it remembers shows when a log was cut off or rewritten.
It prints its verifier key, which those who check a log need; a log's operator has the log's.

[bold]Exit codes[/]: 0 stopped as asked, 64 wrong call, a wrong verifier key or an unusable key file, 73 the folder or the address cannot be used.
"""  # noqa: E501  # an example is one line, so that it can be copied

app = typer.Typer(
    help="Remember other people's logs and cosign what continues them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _witness() -> None:
    """Remember other people's logs and cosign what continues them."""


@dataclass(frozen=True, slots=True)
class _Address:
    host: str
    port: int


@app.command("serve", epilog=SERVE_EPILOG)
def serve_command(
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="What it remembers. Keep it: an empty one has forgotten every log.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="Its private key: Ed25519, PEM, mode 0600; used for nothing else.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Its name in signature lines, for example witness.example/w1.")],
    log: Annotated[list[str], typer.Option(metavar="VKEY", help="The verifier key of a log that it knows; may be given again.")],
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="Where it answers: host:port; port 0 takes a free one.")] = LISTEN,
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="For TLS: its certificate and chain, PEM.")] = None,
    certificate_key: Annotated[Path | None, typer.Option(metavar="FILE", help="For TLS: the certificate's key, PEM.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every cosignature.")] = False,  # noqa: FBT002
    json_output: Annotated[bool, typer.Option("--json", help="Print where it answers as one line of JSON.")] = False,  # noqa: FBT002
) -> int:
    """Cosign the checkpoints of logs, as C2SP tlog-witness has it: POST /add-checkpoint.

    A checkpoint is cosigned once it is shown to continue the last one. One that contradicts it is refused, and kept in the folder below
    refused/ with both signatures: proof that somebody rewrote the log. It runs until Ctrl-C or SIGTERM.
    """
    address = _address(listen)
    if (certificate is None) != (certificate_key is None):
        msg = "TLS needs both --certificate and --certificate-key"
        raise typer.BadParameter(msg)
    # The witness's parts take half a second to load, which the other commands need not wait for.
    from verdigris.witness.serving import CannotServe, TlsFiles  # noqa: PLC0415
    from verdigris.witness.state import StateUnusable  # noqa: PLC0415

    tls = None if certificate is None or certificate_key is None else TlsFiles(certificate, certificate_key)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        asyncio.run(_serve(_cosigner(folder, key, name, log), address, tls, json_output=json_output))
    except (CannotServe, StateUnusable) as error:
        raise CannotWrite(str(error)) from error
    return 0


def _cosigner(folder: Path, key: Path, name: str, logs: list[str]) -> "Cosigner":
    from verdigris.ledger.note import InvalidNote, VerifierKey  # noqa: PLC0415
    from verdigris.ledger.signing import KeySigner, KeyUnusable, read_key  # noqa: PLC0415
    from verdigris.ledger.witness import logs_of  # noqa: PLC0415
    from verdigris.witness.app import Cosigner  # noqa: PLC0415
    from verdigris.witness.state import WitnessFolder  # noqa: PLC0415

    try:
        trusted = logs_of(VerifierKey.parse(text) for text in logs)
    except InvalidNote as error:
        raise typer.BadParameter(str(error), param_hint="'--log'") from error
    try:
        signer = KeySigner(name, read_key(key))
    except KeyUnusable as error:
        raise typer.BadParameter(str(error), param_hint="'--key'") from error
    except InvalidNote as error:
        raise typer.BadParameter(str(error), param_hint="'--name'") from error
    try:
        return Cosigner(WitnessFolder(folder), signer, trusted)
    except InvalidNote as error:
        raise typer.BadParameter(str(error), param_hint="'--key'") from error


async def _serve(cosigner: "Cosigner", address: _Address, tls: "TlsFiles | None", *, json_output: bool) -> None:
    from verdigris.witness.app import witness_app  # noqa: PLC0415
    from verdigris.witness.serving import serve_witness  # noqa: PLC0415

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stopping.set)
    async with serve_witness(witness_app(cosigner), address.host, address.port, tls) as (host, port):
        shown = f"[{host}]" if ":" in host else host
        _tell(cosigner, f"{'http' if tls is None else 'https'}://{shown}:{port}", json_output=json_output)
        await stopping.wait()
        with contextlib.suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)  # a second Ctrl-C ends it at once


def _tell(cosigner: "Cosigner", url: str, *, json_output: bool) -> None:
    """Where it answers, once it does, and what others need to know of it."""
    if json_output:
        typer.echo(json.dumps({"url": url, "witness": str(cosigner.key), "logs": cosigner.origins}))
        sys.stdout.flush()
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"witness {cosigner.key.name} answers at {url}", markup=False)
    console.print(f"  verifier key: {cosigner.key}", markup=False)
    for origin in cosigner.origins:
        console.print(f"  log: {origin}", markup=False)
    for suspicion, count in cosigner.refused().items():
        if count:
            console.print(f"  note: {count} refused checkpoints are kept ({suspicion}); look at them", markup=False)
    console.print("  stop with Ctrl-C", markup=False)


def _address(text: str) -> _Address:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        msg = f"{text!r} is no address; write host:port, for example {LISTEN} (port 0: any that is free)"
        raise typer.BadParameter(msg, param_hint="'--listen'")
    return _Address(host.removeprefix("[").removesuffix("]"), int(port))
