"""What an auditor gets of approvals, overrides and reviews from the record of real rollouts: by every command, and from a pack alone."""

import asyncio
import json
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.contract.test_audit_cli import PLACES, opened, started
from tests.contract.test_audit_report import page, pdf_text
from tests.unit.approval_people import verified
from tests.unit.rollout_world import World
from tests.unit.test_driver import Rollout, rolled_out
from tests.unit.test_driver_approvals import say, waits, word
from tests.unit.test_plan_cli import verdigris
from tests.virtual import START_UNIX_S

from verdigris.approvals.approval import START, Approval, ApprovalDecision
from verdigris.audit.record import open_record
from verdigris.compliance.consent import reviews_of
from verdigris.demo.cases import CASES
from verdigris.demo.plan_text import FAST, plan_text
from verdigris.ledger.entry_kinds import Kind
from verdigris.plan.document import load_plan
from verdigris.plan.gates import Role
from verdigris.rollout.records import Records
from verdigris.times import NANO, rfc3339

GIVE, REFUSE, WITHDRAW, OVERRIDE = (
    ApprovalDecision.GIVE, ApprovalDecision.REFUSE, ApprovalDecision.WITHDRAW, ApprovalDecision.OVERRIDE_FREEZE,
)  # fmt: skip
WHOLE = plan_text(CASES["good"], FAST, PLACES).replace("author: demo", "author: a.meyer")
GATED = load_plan(WHOLE.replace("- {weight: 50%,", "- {gate: [{roles: [approver], people: 2}], weight: 50%,"))
FROM, TO = (f"{rfc3339(round((START_UNIX_S + at) * NANO))[:19]}Z" for at in (5, 100_000))
FROZEN = load_plan(
    WHOLE.replace("name: ", "name: frozen ", 1)
    + f"schedule: {{freezes: [{{from: '{FROM}', to: '{TO}', reason: audit}}], break_glass: {{gate: [{{roles: [security]}}]}}}}\n"
)
DUE_UNIX_S = START_UNIX_S + 90_000


async def agree(rollout: Rollout) -> None:
    """Somebody refuses and takes it back; two approve."""
    await waits(rollout)
    say(rollout, word(rollout, REFUSE, 2))
    await asyncio.sleep(5)
    say(rollout, word(rollout, WITHDRAW, 2))
    say(rollout, word(rollout, GIVE, 2, key="b.klein"))
    await asyncio.sleep(1)
    say(rollout, word(rollout, GIVE, 2))


async def override(rollout: Rollout) -> None:
    await asyncio.sleep(60)
    say(rollout, word(rollout, OVERRIDE, START, role=Role.SECURITY, key="e.engel"), DUE_UNIX_S)


def reviewed(records: Records) -> None:
    """Somebody else has looked at the override, after the rollout."""
    (review,) = records.reviews()
    (given,) = records.approvals(review.rollout_id)
    at = round((START_UNIX_S + 50_000) * NANO)
    approval = Approval(
        ApprovalDecision.REVIEW, review.rollout_id, given.approval.plan, START, review.override, Role.APPROVER, "rightly done", at
    )  # fmt: skip
    records.review(review, verified(approval, "c.cruz"), "g1", at / NANO)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with two rollouts: one through a gate, then one in a freeze that was overridden. Its review is open."""
    state = tmp_path_factory.mktemp("state")
    records = opened(state)
    started(records)
    assert rolled_out(World(rate_per_s=2_000), records, GATED, agree).phases()[-1] == "committed"
    assert rolled_out(World(rate_per_s=2_000), records, FROZEN, override).phases()[-1] == "committed"
    records.close()
    return state


@pytest.fixture
def state(played: Path, tmp_path: Path) -> Path:
    """A copy to do something with."""
    return Path(shutil.copytree(played, tmp_path / "copy"))


def rollouts(state: Path) -> list[str]:
    with open_record(state) as record:
        return sorted(record.rollouts(), key=lambda one: record.rollouts()[one][0].index)


def verified_alone(pack: Path, folder: Path, state: Path) -> tuple[int, dict[str, object]]:
    """By the verifier in a pack, in a Python that sees nothing of ours. Returns its exit code and what it says."""
    with zipfile.ZipFile(pack) as files:
        files.extractall(folder)
    key = (state / "ledger.keys").read_text(encoding="utf-8").strip()
    command = [sys.executable, "-I", "verify.py", "pack", ".", "--key", key, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


def test_a_record_with_approvals_and_an_override_verifies(played: Path) -> None:
    code, out, err = verdigris("audit", "verify", "--state", played)
    assert (code, err) == (0, ""), out
    assert "5 words of people are signed with keys of who they are said to be" in out
    assert "1 moves through gates had all whom the plan asks" in out
    assert "the review of a freeze's override in" in out
    assert "had been agreed to" not in out


def test_a_pack_has_what_people_signed_and_verifies_it_alone(state: Path, tmp_path: Path) -> None:
    gated, frozen = rollouts(state)
    pack = tmp_path / "pack.zip"
    assert verdigris("audit", "export", gated, "--state", state, "--output", pack)[0] == 0
    code, said = verified_alone(pack, tmp_path / "pack", state)
    assert (code, said["problems"]) == (0, [])
    assert any("4 words of people" in line for line in said["proven"])  # type: ignore[attr-defined]
    assert not any("blobs say that entries name and that are not here" in line for line in said["not_proven"])  # type: ignore[attr-defined]

    records = opened(state)
    reviewed(records)
    records.close()
    assert verdigris("audit", "export", frozen, "--state", state, "--output", pack)[0] == 0
    code, said = verified_alone(pack, tmp_path / "frozen", state)
    assert (code, said["problems"]) == (0, [])
    assert any("2 words of people" in line for line in said["proven"])  # type: ignore[attr-defined]
    assert not any("review" in line for line in said["notes"])  # type: ignore[attr-defined]


def test_reports_of_other_rollouts_show_the_open_review_until_it_is_done(state: Path, tmp_path: Path) -> None:
    gated, frozen = rollouts(state)
    html, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    assert verdigris("audit", "report", gated, "--state", state, "--html", html, "--pdf", pdf)[0] == 0
    for text in (page(html.read_text(encoding="utf-8")).text, pdf_text(pdf.read_bytes())):
        assert f"the override of a freeze in the rollout {frozen} by e.engel, as security is to be reviewed" in text
        assert "REFUSES" in text
        assert "b.klein (approver), c.cruz (approver)" in text
    assert verdigris("audit", "report", frozen, "--state", state, "--html", html)[0] == 0
    assert "A FREEZE WAS OVERRIDDEN. e.engel, as security, overrode it" in page(html.read_text(encoding="utf-8")).text
    records = opened(state)
    reviewed(records)
    records.close()
    for rollout in (gated, frozen):
        assert verdigris("audit", "report", rollout, "--state", state, "--html", html)[0] == 0
        assert "the override of a freeze in" not in page(html.read_text(encoding="utf-8")).text


def test_the_population_lists_open_reviews(state: Path) -> None:
    _, frozen = rollouts(state)
    code, out, _ = verdigris("audit", "population", "--state", state)
    assert code == 0
    assert f"OPEN REVIEW of an override of a freeze in {frozen}" in out
    assert "overridden by e.engel, as security: because" in out
    (one,) = json.loads(verdigris("audit", "population", "--state", state, "--json")[1])["open_reviews"]
    assert (one["rollout"], one["due"], one["by"]) == (frozen, rfc3339(round(DUE_UNIX_S * NANO)), "e.engel")
    none = verdigris("audit", "population", "--to", "2020-01-01", "--state", state)[1]  # whatever period is asked for
    assert f"OPEN REVIEW of an override of a freeze in {frozen}" in none
    records = opened(state)
    reviewed(records)
    records.close()
    assert "OPEN REVIEW" not in verdigris("audit", "population", "--state", state)[1]


def test_controls_of_approvals_are_told_by_rollout(played: Path) -> None:
    gated, frozen = rollouts(played)
    told = json.loads(verdigris("audit", "control", "PCI-DSS-4.0.1:6.5.4", "--state", played, "--json")[1])["rollouts"]
    assert {one["rollout"]: one["state"] for one in told}[gated] == "evidenced"
    assert {one["rollout"]: one["state"] for one in told}[frozen] != "evidenced"


def erased(state: Path, kind: Kind, place: int) -> str:
    """Erase what the first entry of a kind rests on, without a word in the ledger."""
    with open_record(state) as record:
        digest = next(one.statement.based_on[place] for one in record.entries() if one.statement.kind is kind)
    engine = sa.create_engine(f"sqlite:///{state / 'rollouts.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM verdigris_evidence WHERE digest = :d"), {"d": digest})
    engine.dispose()
    return digest


@pytest.mark.parametrize("place", [0, 1])
def test_what_is_missing_is_told_and_what_somebody_signed_is_not_called_wrong(state: Path, place: int) -> None:
    digest = erased(state, Kind.APPROVAL_GIVEN, place)
    code, out, _ = verdigris("audit", "verify", "--state", state)
    assert code == 1
    assert "1 blobs are not here, and no entry says that they were erased" in out
    assert "its gate was not open" not in out
    what = "what was signed" if place == 0 else "who signed it"
    assert f"what is said to be signed, for it is not here (erased, or left out): {what} ({digest})" in out
    assert "began as its gate asks is in blobs that are not here" in out


def test_evidence_that_somebody_changed_is_found(state: Path) -> None:
    with open_record(state) as record:
        given = [one.statement for one in record.entries() if one.statement.kind is Kind.APPROVAL_GIVEN]
        other = record.evidence(given[1].based_on[0])
    assert other is not None
    engine = sa.create_engine(f"sqlite:///{state / 'rollouts.sqlite'}")
    with engine.begin() as connection:
        content = connection.execute(
            sa.text("SELECT content FROM verdigris_evidence WHERE digest = :d"), {"d": sha256(other).hexdigest()}
        ).scalar_one()
        connection.execute(
            sa.text("UPDATE verdigris_evidence SET content = :c WHERE digest = :d"), {"c": content, "d": given[0].based_on[0]}
        )
    engine.dispose()
    code, out, _ = verdigris("audit", "verify", "--state", state)
    assert code == 1
    assert f"evidence {given[0].based_on[0]}: its content has another SHA-256" in out


def test_the_reviews_of_the_record_are_those_of_the_ledger(state: Path) -> None:
    with open_record(state) as record:
        ledger, _ = record.reviews()
        (one,) = reviews_of(ledger, record.evidence)
    assert (one.due_unix_s, one.open) == (DUE_UNIX_S, True)
