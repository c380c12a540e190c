"""`verdigris traffic`: what a proxy needs before a rollout: its configuration, and tokens for chosen users. Talks to no proxy."""

import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from verdigris.cli.compare import CannotWrite
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.output import finish
from verdigris.errors import VerdigrisError
from verdigris.plan.document import BYTES_MAX, load_plan
from verdigris.plan.plan import Plan
from verdigris.traffic.chosen_users import COOKIE, HEADER, KEY_BYTES_MAX, LIFETIME_S_MAX, issue, new_key
from verdigris.traffic.data_plane import NotSupported
from verdigris.traffic.envoy_config import envoy_config
from verdigris.traffic.envoy_settings import envoy_settings
from verdigris.traffic.haproxy_config import haproxy_config, names

CONFIG_EPILOG = """[bold]Examples[/]

  verdigris traffic {name}-config plan.yaml > {name}.conf

[bold]Exit codes[/]: 0 printed, 65 the plan is invalid, 66 it cannot be read, 64 wrong call, or the plan is for another proxy.
"""

TOKEN_EPILOG = f"""[bold]Examples[/]

  verdigris traffic token plan.yaml --user maria --for 1h --key users.pem

  curl -H "{HEADER}: $(verdigris traffic token plan.yaml --user maria --key users.pem)" https://shop.example/

In a browser the token may also be the cookie {COOKIE}. It works while a step with chosen users is in force.
"""

KEY_EPILOG = """[bold]Examples[/]

  verdigris traffic key new users

writes users.pem, which makes tokens and stays with those who choose users, and users.pub.pem, which the plan names as token_key.
"""


class UnreadableFile(VerdigrisError):
    """A file that was named cannot be read. Safe: nothing was printed or written."""


class WrongLifetime(VerdigrisError):
    """A time span cannot be read. Safe: no token was made."""


app = typer.Typer(
    help="What a proxy needs before a rollout: its configuration, and tokens for chosen users.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
key_app = typer.Typer(help="Keys of chosen users' tokens.", no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(key_app, name="key")

PlanFile = Annotated[str, typer.Argument(metavar="PLAN", help="The plan, YAML or JSON; - is standard input.")]


def envoy_config_command(plan_file: PlanFile) -> int:
    """Print a complete, commented Envoy configuration for a plan: its slots, its guards, its chosen users."""
    return _print(envoy_config(_plan_for(plan_file, "envoy")))


def haproxy_config_command(plan_file: PlanFile) -> int:
    """Print a complete, commented HAProxy configuration for a plan."""
    return _print(haproxy_config(_plan_for(plan_file, "haproxy")))


def token_command(
    plan_file: PlanFile,
    user: Annotated[str, typer.Option(help="Whose token it is.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The private key, from: verdigris traffic key new.")],
    lifetime: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it is good: 45m, 8h, 2d; at most 7d.")] = "1h",
) -> int:
    """Print a signed token that takes one user to the candidate, whatever the weight. It ends by itself."""
    plan = _plan(plan_file)
    subject = names(plan).subject if plan.traffic.adapter == "haproxy" else envoy_settings(plan).subject
    return _print(issue(_read(key, KEY_BYTES_MAX), subject, user, time.time(), _lifetime_s(lifetime)) + "\n")


def new_key_command(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="The files are NAME.pem and NAME.pub.pem; neither may be there.")],
) -> int:
    """Make a key for chosen users' tokens: one file to sign with, one for the proxy."""
    private, public = new_key()
    files = (name.with_name(f"{name.name}.pem"), name.with_name(f"{name.name}.pub.pem"))
    for file, content, mode in ((files[0], private, 0o600), (files[1], public, 0o644)):
        _create(file, content, mode)
    words = f"keep {files[0]} from everybody; name {files[1]} in the plan as traffic.settings.token_key"
    Console(stderr=True).print(words, markup=False, highlight=False, soft_wrap=True)
    return ExitCode.PASS


envoy_config_command.__doc__ = f"{envoy_config_command.__doc__}\n\n{CONFIG_EPILOG.format(name='envoy')}"
haproxy_config_command.__doc__ = f"{haproxy_config_command.__doc__}\n\n{CONFIG_EPILOG.format(name='haproxy')}"
token_command.__doc__ = f"{token_command.__doc__}\n\n{TOKEN_EPILOG}"
new_key_command.__doc__ = f"{new_key_command.__doc__}\n\n{KEY_EPILOG}"
app.command("envoy-config")(envoy_config_command)
app.command("haproxy-config")(haproxy_config_command)
app.command("token")(token_command)
key_app.command("new")(new_key_command)


def _print(text: str) -> int:
    sys.stdout.write(text)
    finish()
    return ExitCode.PASS


def _plan_for(name: str, adapter: str) -> Plan:
    plan = _plan(name)
    if plan.traffic.adapter != adapter:
        msg = f"the plan's adapter is {plan.traffic.adapter}; use: verdigris traffic {plan.traffic.adapter}-config"
        raise NotSupported(msg)
    return plan


def _plan(name: str) -> Plan:
    if name == "-":
        content, source = sys.stdin.buffer.read(BYTES_MAX + 1), "standard input"
    else:
        content, source = _read(Path(name), BYTES_MAX + 1), name
    return load_plan(content.decode("utf-8", errors="replace"), source=source)


def _read(file: Path, bytes_max: int) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(bytes_max)
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UnreadableFile(msg) from error


def _create(file: Path, content: bytes, mode: int) -> None:
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(number, "wb") as opened:
            opened.write(content)
    except OSError as error:
        msg = f"{file} cannot be written: {error.strerror or error}; a key is never replaced"
        raise CannotWrite(msg) from error


def _lifetime_s(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    if found is None:
        msg = f"cannot read the time {text!r}; write for example 45m, 8h or 2d, at most {LIFETIME_S_MAX // 86_400}d"
        raise WrongLifetime(msg)
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]
