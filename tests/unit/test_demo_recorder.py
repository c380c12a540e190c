"""What the recorder says and refuses before anything runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from verdigris.demo import extra, recording
from verdigris.demo.clinic.http_server import Incoming, Outgoing
from verdigris.demo.clinic.traced_server import Route
from verdigris.demo.errors import DemoExtraMissing, ImpossibleLoad
from verdigris.errors import VerdigrisError


def test_the_truth_is_told_in_plain_words() -> None:
    told = recording.describe()
    for word in (
        "portal",
        "scheduling",
        "eligibility",
        "insurer",
        "35%",
        "150 to 350 ms",
        "the cause is eligibility's",
    ):
        assert word in told
    assert max(map(len, told.splitlines())) <= 120


@pytest.mark.parametrize("missing", ["opentelemetry_that_nobody_has.sdk", "json.no_such_module_in_a_package"])
def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(extra, "NEEDED", (*extra.NEEDED, missing))
    with pytest.raises(DemoExtraMissing, match=r"pip install 'verdigris\[demo\]'") as caught:
        recording.record(tmp_path / "new")
    assert missing in str(caught.value)
    assert isinstance(caught.value, VerdigrisError)
    assert not (tmp_path / "new").exists()


def test_the_recorder_can_be_imported_without_the_extra() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None; sys.modules['google'] = None; "
        "from verdigris.demo.recording import describe; print(describe())"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == recording.describe().strip()


def test_an_impossible_load_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImpossibleLoad):
        recording.record(tmp_path / "new", seconds=0)
    assert not (tmp_path / "new").exists()


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        recording.main(["--help"])
    assert left.value.code == 0
    assert "python -m verdigris.demo.recording /tmp/clinic --seconds 60" in capsys.readouterr().out


def test_the_command_reports_an_error_and_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recording.main([str(tmp_path), "--seconds", "0"]) == 1
    assert "error: cannot record for 0 seconds" in capsys.readouterr().err

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recording, "record", interrupted)
    assert recording.main([str(tmp_path)]) == 130
    assert "nothing was kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("/appointments", "/appointments", ""),
        ("/appointments", "/appointments/1/book", None),
        ("/appointments/{id}/book", "/appointments/17/book", "17"),
        ("/appointments/{id}/book", "/appointments//book", None),
        ("/appointments/{id}/book", "/appointments/1/2/book", None),
    ],
)
def test_a_route_matches_its_own_paths_only(template: str, path: str, found: str | None) -> None:
    def act(_: Incoming, __: str) -> Outgoing:
        return Outgoing(200)

    route = Route("POST", template, act)
    assert route.match("POST", path) == found
    assert route.match("GET", path) is None
