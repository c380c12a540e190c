"""`verdigris rollout` against a real API with a scripted guard behind it: what is asked, what is said, exit codes, Ctrl-C."""

import asyncio
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import typer.main
from tests import in_process
from tests.contract.rollout_controls import ACTORS, ANOTHER_PLAN, PLAN, TOKEN, VIEWER_TOKEN, certificate
from tests.scripted_control import ScriptedControl

from verdigris.cli import rollout as rollout_module
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.main import app
from verdigris.cli.rollout import complete_id, exit_of
from verdigris.cli.schema import Document, schema_text
from verdigris.judge.verdict import Outcome
from verdigris.rollout.transitions import Phase
from verdigris.server.api import make_api, serve_api
from verdigris.server.wire import SCHEMA, json_schema

DOCS = Path(__file__).parents[2] / "docs"


@dataclass
class Guard:
    """A guard in a thread of its own."""

    control: ScriptedControl
    loop: asyncio.AbstractEventLoop
    folder: Path
    server: str
    ca: Path

    def to(self, rollout_id: str, phase: Phase, **changes: Any) -> None:
        """Move a rollout, from the test's thread."""

        async def move() -> None:
            self.control.to(rollout_id, phase, **changes)

        asyncio.run_coroutine_threadsafe(move(), self.loop).result(10)

    def when(self, seen: Any, phase: Phase, **changes: Any) -> None:
        """Move the newest rollout once `seen(control)` is true."""

        async def moving() -> None:
            async with asyncio.timeout(20):
                while not seen(self.control):  # noqa: ASYNC110  # what is waited for is any state at all
                    await asyncio.sleep(0.01)
            self.control.to(list(self.control.statuses)[-1], phase, **changes)

        asyncio.run_coroutine_threadsafe(moving(), self.loop)


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    state = tmp_path / "state"
    state.mkdir()
    for variable in ("SERVER", "TOKEN_FILE", "CA"):
        monkeypatch.delenv(f"VERDIGRIS_{variable}", raising=False)
    monkeypatch.setenv("VERDIGRIS_STATE", str(state))
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    (tmp_path / "token").write_text(TOKEN + "\n", encoding="utf-8")
    (tmp_path / "viewer").write_text(VIEWER_TOKEN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    tls = certificate(tmp_path)
    ready: list[Guard] = []
    up, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        control = ScriptedControl(every_s=0.05)
        async with serve_api(make_api(control, dict, ACTORS), state / "api.sock", ("127.0.0.1", 0), tls) as served:
            assert served.tcp is not None
            ready.append(Guard(control, asyncio.get_running_loop(), state, f"https://127.0.0.1:{served.tcp[1]}", tls.certificate))
            up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        assert up.wait(10)
        yield ready[0]
    finally:
        if ready:
            ready[0].loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def verdigris(*arguments: str | Path) -> tuple[int, str, str]:
    """A call of `verdigris rollout`."""
    return in_process.verdigris("rollout", *arguments)


def test_a_rollout_from_start_to_end_in_a_log(guard: Guard) -> None:
    guard.when(lambda control: control.watchers, Phase.ROLLED_BACK, verdict=Outcome.FAIL, summary="It is slow.", observed_percent=0.0)
    code, out, err = verdigris("start", "plan.yaml")
    assert (code, err) == (1, "")
    lines = [line.partition(" UTC  ")[2] for line in out.splitlines()]
    digest = guard.control.statuses["0001-scripted"].plan_digest
    assert lines[0] == f"rollout 0001-scripted of Faster appointment search, plan {digest[:12]}"
    assert lines[-1] == "ended: rolled back: It is slow."
    assert guard.control.calls == [("start", rollout_module._login())]


@pytest.mark.parametrize(
    ("phase", "verdict", "code"),
    [
        (Phase.COMMITTED, Outcome.PASS, 0),
        (Phase.ROLLED_BACK, Outcome.FAIL, 1),
        (Phase.ROLLED_BACK, Outcome.NOT_ENOUGH_DATA, 1),
        (Phase.ROLLED_BACK, None, 1),
        (Phase.ROLLED_BACK, Outcome.BLIND, 3),
    ],
)
def test_watching_ends_with_the_rollouts_exit_code(guard: Guard, phase: Phase, verdict: Outcome | None, code: int) -> None:
    assert verdigris("start", "plan.yaml", "--no-watch")[0] == 0
    guard.when(lambda control: control.watchers, phase, verdict=verdict)
    assert verdigris("watch")[0] == code
    assert verdigris("status")[0] == code


def test_every_phase_has_an_exit_code(guard: Guard) -> None:
    verdigris("start", "plan.yaml", "--no-watch")
    status = guard.control.statuses["0001-scripted"]
    codes = {phase: exit_of(replace(status, phase=phase, verdict=Outcome.NOT_ENOUGH_DATA)) for phase in Phase}
    assert {phase for phase, code in codes.items() if code == 1} == {Phase.ROLLED_BACK, Phase.RETURNING}
    assert {phase for phase, code in codes.items() if code == 2} == {Phase.HOLDING, Phase.FROZEN, Phase.WAITING_FOR_APPROVAL}
    assert exit_of(replace(status, phase=Phase.RETURNING, verdict=Outcome.BLIND)) is ExitCode.BLIND
    assert exit_of(replace(status, cannot_resume="another version began it")) is ExitCode.NOT_ENOUGH_DATA


def test_steering_asks_in_ones_own_name_with_the_reason(guard: Guard) -> None:
    verdigris("start", "plan.yaml", "--no-watch", "--as", "Zoë")
    for command in ("hold", "resume", "abort"):
        code, out, err = verdigris(command, "0001", "--reason", "“why” 50 %", "--as", "Zoë")
        assert (code, out) == (0, "")
        assert err == f"asked to {command}: rollout 0001-scripted is {guard.control.statuses['0001-scripted'].phase.value} now\n"
    assert guard.control.calls == [
        ("start", "Zoë"), *((command, "0001", "Zoë", "“why” 50 %") for command in ("hold", "resume", "abort"))
    ]  # fmt: skip
    code, out, _ = verdigris("abort", "--json")
    assert (code, json.loads(out)["phase"]) == (0, "rolled back")


def test_refusals_are_one_line_and_an_exit_code(guard: Guard, tmp_path: Path) -> None:
    verdigris("start", "plan.yaml", "--no-watch")
    (tmp_path / "invalid.yaml").write_text(PLAN.replace("\nname:", "\nnane:"), encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (256 * 1024 + 1))
    for arguments, code, told in (
        (("start", "plan.yaml"), 75, "error: AlreadyRunning: a rollout of this plan is under way: 0001-scripted"),
        (("commit",), 75, "error: RolloutError: rollout 0001-scripted is watching"),
        (("status", "nowhere"), 66, "error: NoSuchRollout: there is no rollout 'nowhere'"),
        (("hold", "a/b"), 66, "error: NoSuchRollout: "),
        (("start", "invalid.yaml"), 65, "error: InvalidPlan: invalid.yaml has "),
        (("start", "missing.yaml"), 66, "error: NoSuchFile: cannot read missing.yaml: No such file"),
        (("start", "binary"), 66, "error: NoSuchFile: binary is not UTF-8 at byte 0"),
        (("start", "large"), 66, "error: NoSuchFile: large is larger than 262144 bytes"),
        (("list", "--state", "elsewhere"), 69, f"no guard answers at {tmp_path}/elsewhere/api.sock. Start one: verdigris serve --state"),
        (("start", "plan.yaml", "--state", "elsewhere"), 69, "or run one for this rollout only: verdigris rollout start plan.yaml --local"),
        (("list", "--server", guard.server, "--token-file", "token"), 69, "is not to be trusted"),
        (("list", "--server", "http://guard.example", "--token-file", "token"), 64, "unencrypted"),
        (("list", "--server", guard.server), 64, "needs a token"),
        (("list", "--server", guard.server, "--token-file", "none"), 66, "cannot read none"),
        (("abort", "--server", guard.server, "--token-file", "viewer", "--ca", guard.ca), 77, "wallboard may read"),
    ):
        got, out, err = verdigris(*arguments)
        assert (got, out) == (code, ""), (arguments, err)
        assert told in err
        assert err.count("\n") == 1
    for wrong in (("hold", "--as", "a\nb"), ("start", "plan.yaml", "--local", "--no-watch"), ("start",), ("events", "--after", "-1")):
        assert verdigris(*wrong)[0] == 64, wrong


def test_a_guard_elsewhere_is_asked_with_a_token(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = ("--server", guard.server, "--token-file", "token", "--ca", guard.ca)
    assert verdigris("start", "plan.yaml", "--no-watch", "--as", "mallory", *elsewhere)[0] == 0
    assert guard.control.calls == [("start", "alice")]
    for name, value in zip(("SERVER", "TOKEN_FILE", "CA"), elsewhere[1::2], strict=True):
        monkeypatch.setenv(f"VERDIGRIS_{name}", str(value))
    monkeypatch.setenv("VERDIGRIS_STATE", "nowhere")
    assert "0001-scripted" in verdigris("list")[1]


def test_json_is_what_the_schema_says(guard: Guard) -> None:
    verdigris("start", "plan.yaml", "--no-watch")
    whole = json_schema()

    def check(document: Any, definition: str) -> None:
        jsonschema.Draft202012Validator({**whole, "$ref": f"#/$defs/{definition}"}).validate(document)

    jsonschema.Draft202012Validator.check_schema(whole)
    check(json.loads(verdigris("status", "--json")[1]), "RolloutStatus")
    check(json.loads(verdigris("list", "--json")[1]), "RolloutList")
    check(json.loads(verdigris("events", "--json")[1]), "EventList")
    guard.when(lambda control: control.watchers, Phase.COMMITTED)
    lines = verdigris("watch", "--json")[1].splitlines()
    for line in lines:
        check(json.loads(line), "RolloutStatus")
    assert [json.loads(line)["phase"] for line in lines] == ["watching", "committed"]  # one per change
    assert whole["$id"] == SCHEMA
    assert (DOCS / "rollout.schema.json").read_text(encoding="utf-8") == schema_text(Document.ROLLOUT), "run: make docs"


def test_lists_and_journals_for_people(guard: Guard, tmp_path: Path) -> None:
    assert "there is no rollout yet" in verdigris("list")[1]
    verdigris("start", "plan.yaml", "--no-watch")
    (tmp_path / "another.yaml").write_text(ANOTHER_PLAN, encoding="utf-8")
    verdigris("start", "another.yaml", "--no-watch")
    listed = verdigris("list")[1].splitlines()
    assert [line.split()[0] for line in listed] == ["id", "0002-scripted", "0001-scripted"]
    guard.to("0002-scripted", Phase.HOLDING)
    assert "plan.submitted" in verdigris("events")[1]
    assert verdigris("events", "latest", "--after", "1")[1].split()[0] == "2"
    code, out, _ = verdigris("status")
    assert code == 2
    assert "HOLDING" in out


def test_a_timeout_leaves_the_rollout_alone(guard: Guard) -> None:
    code, out, err = verdigris("start", "plan.yaml", "--timeout", "0.3")
    assert code == 2
    assert "phase: watching" in out
    assert err == "left after 0.3 s: rollout 0001-scripted goes on, watching\n"
    assert guard.control.statuses["0001-scripted"].phase is Phase.WATCHING
    assert [call[0] for call in guard.control.calls] == ["start"]


def program(*arguments: str | Path, tty: int | None = None) -> "subprocess.Popen[str]":
    """The real program in a process of its own."""
    command = [sys.executable, "-c", "from verdigris.cli.main import run; run()", "rollout", *map(str, arguments)]
    output = subprocess.PIPE if tty is None else tty
    return subprocess.Popen(
        command, stdout=output, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "40"}
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_stopped_leaves_the_rollout_running_and_says_so(guard: Guard, number: signal.Signals) -> None:
    verdigris("start", "plan.yaml", "--no-watch")
    with program("watch") as process:
        try:
            assert process.stdout is not None
            assert "rollout 0001-scripted" in process.stdout.readline()
            process.send_signal(number)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err == (
        "stopped: rollout 0001-scripted goes on. Watch it: verdigris rollout watch 0001-scripted; "
        "end it: verdigris rollout abort 0001-scripted\n"
    )
    assert guard.control.statuses["0001-scripted"].phase is Phase.WATCHING


def test_on_a_terminal_the_picture_is_drawn_and_its_end_stays(guard: Guard) -> None:
    verdigris("start", "plan.yaml", "--no-watch")
    ours, theirs = pty.openpty()
    with program("watch", tty=theirs) as process:
        os.close(theirs)
        try:
            drawn = b""
            while b"Ctrl-C leaves" not in drawn:
                drawn += os.read(ours, 65536)
            assert b" WATCHING " in drawn
            assert b"plan.submitted" in drawn
            guard.to("0001-scripted", Phase.COMMITTED)
            rest = b""
            try:
                while chunk := os.read(ours, 65536):
                    rest += chunk
            except OSError:
                pass  # how a terminal says that the other side is gone
            assert process.wait(20) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""
        finally:
            process.kill()
            os.close(ours)
    last = rest[rest.rindex(b" COMMITTED ") :]
    assert b"Ctrl-C" not in last
    assert b"\x1b[?25h" in rest  # the cursor is back


def test_a_guard_in_this_process_runs_until_the_end(guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Path]] = []
    control = ScriptedControl(every_s=0.05)

    @asynccontextmanager
    async def run_local(plan_text: str, folder: Path) -> Any:
        asked.append((plan_text, folder))
        watch = control.watch

        async def ending(rollout_id: str) -> Any:
            async for status in watch(rollout_id):
                yield status
                if status.phase is Phase.WATCHING:
                    control.to(rollout_id, Phase.COMMITTED)

        monkeypatch.setattr(control, "watch", ending)
        yield SimpleNamespace(control=control)
        asked.append(("closed", folder))

    monkeypatch.setitem(sys.modules, "verdigris.server.guard", SimpleNamespace(run_local=run_local))
    code, out, _ = verdigris("start", "plan.yaml", "--local", "--state", "mine")
    assert code == 0
    assert "ended: committed" in out
    assert asked == [(PLAN, Path("mine")), ("closed", Path("mine"))]
    assert guard.control.calls == []


def test_the_shell_completes_commands_and_ids(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    verdigris("start", "plan.yaml", "--no-watch")
    assert complete_id("") == ["latest", "0001-scripted"]
    assert complete_id("00") == ["0001-scripted"]
    monkeypatch.setenv("VERDIGRIS_STATE", "nowhere")
    assert complete_id("") == []
    environment = {**os.environ, "_VERDIGRIS_COMPLETE": "complete_bash", "COMP_WORDS": "verdigris rollout a", "COMP_CWORD": "2"}
    command = [sys.executable, "-c", "import sys; sys.argv = ['verdigris']; from verdigris.cli.main import run; run()"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["abort"]


def test_help_documentation_and_exit_codes_agree() -> None:
    group: Any = getattr(typer.main.get_command(app), "commands", {})["rollout"]
    text = (DOCS / "rollout-commands.md").read_text(encoding="utf-8")
    for name, command in group.commands.items():
        assert re.search(rf"^\| {name}\b", text, re.MULTILINE), name
        for option in {max(p.opts, key=len) for p in command.params if p.param_type_name == "option"} - {"--help", "--watch"}:
            assert f"{option}" in text, (name, option)
        [example] = re.findall(r"Example: verdigris rollout (.*)", command.help)
        words = shlex.split(example)
        assert words[0] == name
        command.make_context(name, words[1:])  # only parsed, never run; raises for what is not understood
    section = text[text.index("## Exit codes") :].partition("\n## ")[0]
    told = {int(number) for number in re.findall(r"^\| *(\d+) *\|", section, re.MULTILINE)}
    assert told | {ExitCode.STORE, ExitCode.NO_KEY} == {int(code) for code in ExitCode}
    codes = " ".join(rollout_module.EPILOG.split())
    for code in told - {70, 73}:
        assert re.search(rf"\b{code}\b", codes[codes.index("Exit codes") :]), code
