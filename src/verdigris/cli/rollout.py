"""`verdigris rollout`: start, watch and steer rollouts, through the guard of a state folder or one elsewhere."""

import asyncio
import getpass
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.listing import journal, listing
from verdigris.cli.output import Stopped, finish
from verdigris.cli.watch import picture
from verdigris.cli.watching import Screen, follow
from verdigris.errors import VerdigrisError
from verdigris.judge.verdict import Outcome
from verdigris.plan.document import load_plan
from verdigris.rollout.status import RolloutControl, RolloutStatus
from verdigris.rollout.transitions import TERMINAL, Phase
from verdigris.server import wire
from verdigris.server.actors import TOKEN_CHARS_MAX, actor_name
from verdigris.server.client import GuardUnreachable, NoGuard, RemoteControl, state_folder

EPILOG = """[bold]Examples[/]

  verdigris rollout start plan.yaml

  verdigris rollout start plan.yaml --no-watch --json

  verdigris rollout watch

  verdigris rollout abort --reason 'customers call'

  verdigris rollout list --server https://guard.example:4443 --token-file token --ca ca.pem

[bold]Exit codes[/] of start, watch and status: 0 committed (status: or running well), 1 rolled back, 2 holding, waiting for
signatures or still undecided, 3 rolled back for being BLIND. Errors: 64 wrong call, 65 the plan is invalid, 66 no such rollout
or file, 69 no guard answers, 75 not possible now, 77 not permitted, 130 stopped: the rollout goes on.
"""

app = typer.Typer(
    help="Start, watch and steer rollouts.\n\n" + EPILOG, no_args_is_help=True, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


class NoSuchFile(VerdigrisError):
    """A file that the command line names cannot be read. Safe: nothing was started."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which guard, and how to show who we are."""

    server: str | None
    token_file: Path | None
    ca: Path | None
    state: Path | None
    actor: str

    def control(self, trouble: Callable[[str | None], None] = lambda _: None) -> RemoteControl:
        """A connection to it. Raises: RolloutError, NoSuchFile."""
        token = None if self.token_file is None else read_text(self.token_file, TOKEN_CHARS_MAX)
        return RemoteControl(self.server, self.state, token, self.ca, trouble=trouble)


def _option(*names: str, metavar: str | None, help: str, default: str = "", envvar: str | None = None) -> Any:  # noqa: A002  # Typer's word
    shown = f"{help} (default: {default})." if default else help
    return typer.Option(*names, metavar=metavar, help=shown, envvar=envvar, show_default=False)


Server = Annotated[str | None, _option("--server", metavar="URL", envvar="VERDIGRIS_SERVER", help="A guard elsewhere: https://host:port.")]
TokenFile = Annotated[
    Path | None, _option("--token-file", metavar="FILE", envvar="VERDIGRIS_TOKEN_FILE", help="With --server: a file with the token.")
]
Ca = Annotated[
    Path | None, _option("--ca", metavar="FILE", envvar="VERDIGRIS_CA", help="With --server: the authorities to trust, not the system's.")
]
State = Annotated[
    Path | None, _option("--state", metavar="FOLDER", envvar="VERDIGRIS_STATE", help="The local guard's state folder", default=".verdigris")
]
As = Annotated[str | None, _option("--as", metavar="NAME", help="Your name in the record, on a local guard", default="your login")]
Json = Annotated[bool, _option("--json", metavar=None, help="Print JSON (see: verdigris schema rollout).")]
Watch = Annotated[bool, typer.Option("--watch/--no-watch", help="Stay and show the rollout until it ends.")]
BreakGlass = Annotated[
    bool, typer.Option("--break-glass", help="Start in a freeze too; it moves once it is overridden by whoever the plan says.")
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", min=0, help="Leave after so long, with exit code 2 at best; the rollout goes on.")
]


def complete_id(incomplete: str) -> list[str]:
    """Ids of the local guard's rollouts, for the shell; nothing when there is no guard, or a slow one."""

    async def ids() -> list[str]:
        async with asyncio.timeout(1), RemoteControl(folder=state_folder()) as control:
            return ["latest", *(each.id for each in await control.rollouts())]

    try:
        return [each for each in asyncio.run(ids()) if each.startswith(incomplete)]
    except (VerdigrisError, TimeoutError):
        return []


Id = Annotated[
    str,
    typer.Argument(
        metavar="[ID]",
        help="The rollout: its id or the beginning of it (default: the newest).",
        autocompletion=complete_id,
        show_default=False,
    ),
]
Reason = Annotated[str, _option("--reason", metavar="TEXT", help="Why; it stands in the record.")]


@app.command("start")
def start_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="The plan: a YAML or JSON file, or - for standard input.")],
    watch: Watch = True,  # noqa: FBT002
    local: Annotated[bool, typer.Option("--local", help="Run a guard in this process, until the rollout has ended.")] = False,  # noqa: FBT002
    timeout: Timeout = None,
    break_glass: BreakGlass = False,  # noqa: FBT002
    server: Server = None, token_file: TokenFile = None, ca: Ca = None, state: State = None, as_: As = None, json_output: Json = False,  # noqa: FBT002
) -> int:  # fmt: skip
    """Start a rollout of a plan, and watch it.

    Example: verdigris rollout start plan.yaml
    """
    where = where_of(server, token_file, ca, state, as_)
    text = read_text(plan, wire.PLAN_BYTES_MAX)
    load_plan(text, source=str(plan))  # a wrong plan is told with its file's name, and before a guard is needed
    if local and (server is not None or not watch):
        msg = "--local runs the guard here until the end: it goes neither with --server nor with --no-watch"
        raise typer.BadParameter(msg)

    async def started() -> int:
        screen = Screen(as_json=json_output)
        async with _guard_here(text, where.state) if local else _guard(where, screen) as control:
            try:
                status = await control.start(text, where.actor, break_glass=break_glass)
            except NoGuard as error:
                msg = f"{error}, or run one for this rollout only: verdigris rollout start {plan} --local"
                raise NoGuard(msg) from error
            if not watch:
                _print_status(status, as_json=json_output)
                return ExitCode.PASS
            return await _watched(control, status.id, screen, timeout, leaves_guard=not local)

    return run_command(started(), "the start may have been done; see: verdigris rollout list")


@app.command("list")
def list_command(
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    state: State = None,
    json_output: Json = False,  # noqa: FBT002
) -> int:
    """All rollouts, the newest first.

    Example: verdigris rollout list --json
    """
    where = where_of(server, token_file, ca, state, None)

    async def listed() -> int:
        async with where.control() as control:
            statuses = await control.rollouts()
        if json_output:
            out(wire.statuses_to_json(statuses, indent=2))
        else:
            _print(lambda console: listing(statuses, plain_ascii=_is_ascii(console)))
        return ExitCode.PASS

    return run_command(listed(), "nothing was changed")


@app.command("status")
def status_command(
    rollout_id: Id = "latest",
    server: Server = None, token_file: TokenFile = None, ca: Ca = None, state: State = None, json_output: Json = False,  # noqa: FBT002
) -> int:  # fmt: skip
    """One rollout as it stands; the exit code says how it is.

    Example: verdigris rollout status
    """
    where = where_of(server, token_file, ca, state, None)

    async def shown() -> int:
        async with where.control() as control:
            status = await control.status(rollout_id)
            _print_status(status, as_json=json_output)
        return exit_of(status)

    return run_command(shown(), "nothing was changed")


@app.command("watch")
def watch_command(
    rollout_id: Id = "latest", timeout: Timeout = None,
    server: Server = None, token_file: TokenFile = None, ca: Ca = None, state: State = None, json_output: Json = False,  # noqa: FBT002
) -> int:  # fmt: skip
    """Show a rollout until it has ended. Ctrl-C leaves it running.

    Example: verdigris rollout watch 3f2a
    """
    where = where_of(server, token_file, ca, state, None)

    async def watched() -> int:
        screen = Screen(as_json=json_output)
        async with _guard(where, screen) as control:
            return await _watched(control, rollout_id, screen, timeout, leaves_guard=True)

    return run_command(watched(), "nothing was changed")


@app.command("events")
def events_command(
    rollout_id: Id = "latest",
    after: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Only what came after this event.")] = 0,
    server: Server = None, token_file: TokenFile = None, ca: Ca = None, state: State = None, json_output: Json = False,  # noqa: FBT002
) -> int:  # fmt: skip
    """A rollout's journal: what was decided and done, by whom.

    Example: verdigris rollout events latest --after 20
    """
    where = where_of(server, token_file, ca, state, None)

    async def told() -> int:
        async with where.control() as control:
            events = await control.events(rollout_id, after)
        if json_output:
            out(wire.events_to_json(events, indent=2))
        else:
            _print(lambda console: journal(events, plain_ascii=_is_ascii(console)))
        return ExitCode.PASS

    return run_command(told(), "nothing was changed")


def _steering(name: str, what: str, example: str) -> None:
    def steer(
        rollout_id: Id = "latest", reason: Reason = "",
        server: Server = None, token_file: TokenFile = None, ca: Ca = None, state: State = None, as_: As = None, json_output: Json = False,  # noqa: FBT002
    ) -> int:  # fmt: skip
        where = where_of(server, token_file, ca, state, as_)

        async def steered() -> int:
            async with where.control() as control:
                status: RolloutStatus = await getattr(control, name)(rollout_id, where.actor, reason)
                if json_output:
                    out(wire.status_to_json(status, indent=2))
                else:
                    say(f"asked to {name}: rollout {status.id} is {status.phase.value} now")
            return ExitCode.PASS

        return run_command(steered(), f"{name} may have been done; see: verdigris rollout status")

    steer.__doc__ = f"{what}\n\nExample: {example}"
    app.command(name)(steer)


_steering("hold", "Stay at the present weight until resumed. The deadline still counts.", "verdigris rollout hold --reason 'a look first'")
_steering("resume", "Go on after a hold.", "verdigris rollout resume --reason 'looks well'")
_steering("abort", "Back to the baseline, now. Never refused while the rollout runs.", "verdigris rollout abort --reason 'customers call'")
_steering("commit", "End the bake now and make the candidate the durable default.", "verdigris rollout commit --reason 'accepted'")


@app.command("erase")
def erase_command(
    rollout_id: Annotated[str, typer.Argument(metavar="ID", help="The rollout, by its id or a unique beginning of it.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why. It stands in the record; write nothing there that is to be erased.")],
    server: Server = None, token_file: TokenFile = None, ca: Ca = None, state: State = None, as_: As = None, json_output: Json = False,  # noqa: FBT002
) -> int:  # fmt: skip
    """Erase the evidence of a rollout that has ended, and what people wrote of it, before its retention has passed.

    The ledger says so before, and goes on verifying; no verdict of the rollout can be judged again afterwards. It cannot be undone.

    Example: verdigris rollout erase 20260921-141320-d367 --reason 'erasure request 17, GDPR art. 17'
    """
    where = where_of(server, token_file, ca, state, as_)

    async def erased() -> int:
        async with where.control() as control:
            status = await control.erase(rollout_id, where.actor, reason)
        if json_output:
            out(wire.status_to_json(status, indent=2))
        else:
            say(f"asked to erase the evidence of rollout {status.id}; `verdigris audit verify` says what is erased, and when")
        return ExitCode.PASS

    return run_command(erased(), "it may have been erased; see: verdigris audit verify")


def exit_of(status: RolloutStatus) -> ExitCode:
    """What a status says in an exit code; the same numbers as the verdicts'."""
    if status.cannot_resume and status.ended_unix_s is None:
        return ExitCode.NOT_ENOUGH_DATA
    match status.phase:
        case Phase.ROLLED_BACK | Phase.RETURNING:
            return ExitCode.BLIND if status.verdict is Outcome.BLIND else ExitCode.FAIL
        case Phase.HOLDING | Phase.FROZEN | Phase.WAITING_FOR_APPROVAL:
            return ExitCode.NOT_ENOUGH_DATA
        case _:
            return ExitCode.PASS


def read_text(file: Path, bytes_max: int) -> str:
    """A small text file; "-" is standard input. Raises: NoSuchFile."""
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(bytes_max + 1)
        else:
            with file.open("rb") as stream:
                content = stream.read(bytes_max + 1)
        if len(content) > bytes_max:
            msg = f"{file} is larger than {bytes_max} bytes"
            raise NoSuchFile(msg)
        return content.decode("utf-8")
    except OSError as error:
        msg = f"cannot read {file}: {error.strerror or error}"
        raise NoSuchFile(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{file} is not UTF-8 at byte {error.start}"
        raise NoSuchFile(msg) from error


def where_of(server: str | None, token_file: Path | None, ca: Path | None, state: Path | None, as_: str | None) -> Where:
    """Which guard the options mean. Raises: typer.BadParameter."""
    if server is None and (token_file is not None or ca is not None) and state is None:
        # From the environment they may stand without a server; on the command line it is a slip.
        token_file = ca = None
    try:
        actor = actor_name(as_ if as_ is not None else _login())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return Where(server, token_file, ca, state, actor)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"


@asynccontextmanager
async def _guard(where: Where, screen: Screen) -> AsyncIterator[RolloutControl]:
    async with where.control(screen.trouble) as control:
        yield control


@asynccontextmanager
async def _guard_here(plan_text: str, state: Path | None) -> AsyncIterator[RolloutControl]:
    """A guard in this process."""
    from verdigris.server.guard import run_local  # noqa: PLC0415  # a client needs none of it, and it takes a second to load

    async with run_local(plan_text, state_folder(state)) as running:
        yield running.control


async def _watched(control: RolloutControl, rollout_id: str, screen: Screen, timeout_s: float | None, *, leaves_guard: bool) -> int:
    """Show until the end, or until left."""
    try:
        async with asyncio.timeout(timeout_s):
            status = await follow(control, rollout_id, screen)
    except TimeoutError:
        screen.close()
        if screen.latest is None or screen.latest.phase in TERMINAL:
            msg = "the guard did not answer in time"
            raise GuardUnreachable(msg) from None
        left = (
            f"rollout {screen.latest.id} goes on, {screen.latest.phase.value}" if leaves_guard else _left(screen.latest, leaves_guard=False)
        )
        say(f"left after {timeout_s:g} s: {left}")
        return exit_of(screen.latest) or ExitCode.NOT_ENOUGH_DATA
    except (asyncio.CancelledError, KeyboardInterrupt):
        screen.close()
        raise Stopped(_left(screen.latest, leaves_guard=leaves_guard)) from None
    finally:
        screen.close()
    return exit_of(status)


def _left(status: RolloutStatus | None, *, leaves_guard: bool) -> str:
    if status is None:
        return "the rollout, if it was begun, goes on; see: verdigris rollout list"
    if not leaves_guard:
        return (
            f"the guard of rollout {status.id} ran in this process: in {status.lease_s:g} s at the latest the proxy takes its default by "
            "itself. To go on, or to end it for good, start a guard on the same state folder."
        )
    return f"rollout {status.id} goes on. Watch it: verdigris rollout watch {status.id}; end it: verdigris rollout abort {status.id}"


def run_command(work: Coroutine[Any, Any, int], when_stopped: str) -> int:
    """Run a command; Ctrl-C says what has become of the rollout. Raises: Stopped, VerdigrisError."""
    try:
        code = asyncio.run(_stoppable(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Stopped(when_stopped) from None
    finish()
    return code


async def _stoppable(work: Coroutine[Any, Any, int]) -> int:
    """Make SIGTERM and SIGHUP stop the work the way Ctrl-C does: with time to say what has become of the rollout."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101  # a coroutine runs in a task
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    # What is ignored stays ignored: that is how nohup works.
    caught = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in caught:
        loop.add_signal_handler(number, task.cancel)
    try:
        return await work
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


def _print(lines: Callable[[Console], list[Text]]) -> None:
    console = Console()
    for line in lines(console):
        console.print(line, soft_wrap=True)


def _is_ascii(console: Console) -> bool:
    return not console.encoding.lower().startswith("utf")


def _print_status(status: RolloutStatus, *, as_json: bool) -> None:
    if as_json:
        out(wire.status_to_json(status, indent=2))
    else:
        _print(lambda console: picture(status, (), time.time(), console.width, plain_ascii=_is_ascii(console)))


def out(document: bytes) -> None:
    """A document for programs, on standard output."""
    sys.stdout.buffer.write(document + b"\n")


def say(line: str) -> None:
    """A line for people, on standard error: standard output is for programs."""
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
