"""`verdigris compare` as a program among others: signals, pipes, terminals, files left behind, the network."""

import gzip
import json
import lzma
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.scenarios.systems import BLUE, GREEN, lines, record

PROGRAM = Path(sys.executable).with_name("verdigris")
WAIT_S = 60.0


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A baseline and an unchanged candidate, small."""
    folder = tmp_path_factory.mktemp("recordings")
    return (
        record(folder / "before.jsonl", BLUE, requests=300, seconds=60, seed=1),
        record(folder / "after.jsonl", GREEN, requests=300, seconds=60, seed=2),
    )


@pytest.fixture(scope="module")
def document(recordings: tuple[Path, Path]) -> bytes:
    """What `--json` prints of them."""
    return subprocess.run([PROGRAM, "compare", *recordings, "--json"], capture_output=True, timeout=WAIT_S, check=False).stdout


class Place:
    """A home, a current folder and a temporary folder of their own, to see what is left in them."""

    def __init__(self, root: Path) -> None:
        self.temporary, self.home, self.current = (root / name for name in ("temporary", "home", "current"))
        for folder in (self.temporary, self.home, self.current):
            folder.mkdir()
        self.environment = {"PATH": os.environ["PATH"], "TMPDIR": str(self.temporary), "HOME": str(self.home), "LANG": "C.UTF-8"}

    def run(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """The program, to its end."""
        return subprocess.run(
            [PROGRAM, *arguments], cwd=self.current, env=self.environment, timeout=WAIT_S, check=False,
            stdin=options.pop("stdin", subprocess.DEVNULL), capture_output="stdout" not in options, **options,
        )  # fmt: skip

    def left(self) -> list[Path]:
        """What is in the three folders."""
        return sorted(p for folder in (self.temporary, self.home, self.current) for p in folder.rglob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_json_goes_alone_to_standard_output_and_nothing_is_left_behind(place: Place, recordings: tuple[Path, Path]) -> None:
    ran = place.run("compare", *recordings, "--json", "--html", "report.html")
    assert ran.returncode == 2
    assert json.loads(ran.stdout)["verdict"] == "NOT_ENOUGH_DATA"
    assert ran.stderr == b"report: report.html\n"
    assert place.left() == [place.current / "report.html"]


@pytest.mark.parametrize(("arguments", "code"), [(("bad.jsonl", "bad.jsonl", "--strict"), 65), (("nowhere", "bad.jsonl"), 66)])
def test_nothing_is_left_behind_by_a_failure(place: Place, arguments: tuple[str, ...], code: int) -> None:
    (place.current / "bad.jsonl").write_text('{"resourceSpans": [}\n')
    ran = place.run("compare", *arguments, "--html", "report.html")
    assert (ran.returncode, ran.stdout) == (code, b"")
    assert ran.stderr.startswith(b"error: ")
    assert b"Traceback" not in ran.stderr
    assert place.left() == [place.current / "bad.jsonl"]


def hear_all_signals() -> None:
    """What runs the tests may ignore some (nohup, a shell's background jobs), and its children would inherit that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped_while_reading_leaves_nothing(place: Place, number: signal.Signals) -> None:
    command: list[str | Path] = [PROGRAM, "compare", "-", "--baseline", "slot=blue", "--candidate", "slot=green", "--html", "report.html"]
    with subprocess.Popen(
        command, cwd=place.current, env=place.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=hear_all_signals,  # noqa: PLW1509  # no threads run here that a fork could deadlock
    ) as running:  # fmt: skip
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        for line in lines(BLUE, requests=5000, seconds=60, seed=1):
            running.stdin.write(line)
        running.stdin.flush()
        until = time.monotonic() + WAIT_S
        while not list(place.temporary.rglob("*.bin")):
            assert time.monotonic() < until
            time.sleep(0.01)
        running.send_signal(number)
        assert running.wait(WAIT_S) == 130
        assert running.stdout.read() == b""
        assert running.stderr.read() == b"stopped: nothing was judged and nothing is left behind.\n"
        running.stdin.close()
    assert place.left() == []


@pytest.mark.parametrize("arguments", [("compare", "{}", "{}"), ("compare", "{}", "{}", "--json"), ("schema", "compare"), ("--help",)])
def test_a_reader_that_goes_away_is_no_verdict_and_no_traceback(
    place: Place, recordings: tuple[Path, Path], arguments: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        files = iter(recordings)
        ran = place.run(*(next(files) if a == "{}" else a for a in arguments), stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert (ran.returncode, ran.stderr) == (73, b"")
    assert place.left() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_full_disk_is_no_verdict(place: Place, recordings: tuple[Path, Path], form: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = place.run("compare", *recordings, *form, stdout=full, stderr=subprocess.PIPE)
    assert (ran.returncode, ran.stderr) == (73, b"error: cannot write: [Errno 28] No space left on device\n")


def without_inputs(document: bytes) -> Any:
    found = json.loads(document)
    for role in found["roles"].values():
        role.pop("inputs")
    return found


def test_equal_inputs_give_equal_bytes(place: Place, recordings: tuple[Path, Path], document: bytes) -> None:
    assert place.run("compare", *recordings, "--json").stdout == document


def test_equal_spans_give_equal_documents_however_they_are_split_and_packed(
    place: Place, recordings: tuple[Path, Path], document: bytes
) -> None:
    packed = place.current / "packed"
    for file in recordings:
        folder = packed / file.stem
        folder.mkdir(parents=True)
        content = file.read_bytes().splitlines(keepends=True)
        (folder / "2.gz").write_bytes(gzip.compress(content[0]))
        (folder / "1.xz").write_bytes(lzma.compress(content[1]))
        (folder / "3.zst").write_bytes(zstandard.compress(b"".join(content[2:])))
    split = place.run("compare", packed / "before", packed / "after", "--json")
    assert without_inputs(split.stdout) == without_inputs(document)


def test_standard_input_is_a_recording_like_any_other(place: Place, recordings: tuple[Path, Path], document: bytes) -> None:
    with recordings[1].open("rb") as after:
        piped = place.run("compare", recordings[0], "-", "--json", stdin=after)
    assert without_inputs(piped.stdout) == without_inputs(document)
    assert json.loads(piped.stdout)["roles"]["candidate"]["inputs"] == ["-"]


def on_a_terminal(place: Place, *arguments: str | Path, columns: int = 100, **environment: str) -> str:
    """All that the program shows on a terminal; standard output is one too."""
    ours, theirs = pty.openpty()
    command: list[str | Path] = [PROGRAM, *arguments]
    settings = place.environment | {"TERM": "xterm-256color", "COLUMNS": str(columns)} | environment
    with subprocess.Popen(command, cwd=place.current, env=settings, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        return b"".join(_shown(ours)).decode()


def _shown(terminal: int) -> Iterator[bytes]:
    try:
        while select.select([terminal], [], [], WAIT_S)[0]:
            chunk = os.read(terminal, 65536)
            if not chunk:
                break
            yield chunk
    except OSError:
        pass  # how Linux says that the other side was closed
    finally:
        os.close(terminal)


def test_progress_and_colour_are_for_terminals_only(place: Place, recordings: tuple[Path, Path]) -> None:
    shown = on_a_terminal(place, "compare", *recordings)
    assert "\x1b[2K" in shown, "bars are drawn over and cleared away"
    assert "reading" in shown
    assert "\x1b[1;" in shown
    assert "NOT ENOUGH DATA" in shown
    piped = place.run("compare", *recordings)
    assert b"\x1b" not in piped.stdout
    assert piped.stderr == b""


def test_no_color_and_quiet_are_obeyed(place: Place, recordings: tuple[Path, Path]) -> None:
    shown = on_a_terminal(place, "compare", *recordings, "--quiet", NO_COLOR="1")
    assert "\x1b[2K" not in shown, "nothing is drawn over"
    assert "reading" not in shown
    styles = {style for found in re.findall(r"\x1b\[([0-9;]*)m", shown) for style in found.split(";")}
    assert styles <= {"", "0", "1", "2", "3", "4", "7"}, "no colours: weight, slant and reversal at most"


def test_no_socket_is_opened(place: Place, recordings: tuple[Path, Path]) -> None:
    script = """
import os, sys
def refuse(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(event)
sys.addaudithook(refuse)
from verdigris.cli import compare, main
def sockets():
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return [link for link in links if os.path.lexists(link) and os.readlink(link).startswith("socket:")]
seen = compare.ComparisonProgress.judging
def judging(self):
    assert not sockets(), sockets()
    print("looked", file=sys.stderr)
    seen(self)
compare.ComparisonProgress.judging = judging
main.run()
"""
    command: list[str | Path] = [sys.executable, "-c", script, "compare", *recordings, "--json", "--html", "report.html"]
    ran = subprocess.run(command, cwd=place.current, env=place.environment, capture_output=True, timeout=WAIT_S, check=False)
    assert ran.returncode == 2, ran.stderr.decode()
    assert b"looked\n" in ran.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown(place: Place, shell: str) -> None:
    ran = place.run("--show-completion", shell)
    assert ran.returncode == 0, ran.stderr.decode()
    assert b"_VERDIGRIS_COMPLETE" in ran.stdout
    assert place.left() == []


def test_completion_completes(place: Place) -> None:
    place.environment |= {"_VERDIGRIS_COMPLETE": "complete_bash", "COMP_WORDS": "verdigris com", "COMP_CWORD": "1"}
    ran = place.run()
    assert (ran.returncode, ran.stdout.split()) == (0, [b"compare"])
