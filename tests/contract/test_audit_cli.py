"""What an auditor does with the record of a rollout, by command: verify, show, judge again, list, export; and what a rotated key means."""

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.unit.rollout_world import World, behaving
from tests.unit.test_driver import rolled_out
from tests.unit.test_plan_cli import verdigris

from verdigris.audit import verify
from verdigris.demo.cases import CASES
from verdigris.demo.plan_text import FAST, Places, plan_text
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.note import VerifierKey
from verdigris.ledger.storage import LedgerUnavailable
from verdigris.plan.document import load_plan
from verdigris.rollout.journal import Act
from verdigris.rollout.judge_identity import judge_identity
from verdigris.rollout.judging import Judging
from verdigris.rollout.records import Records
from verdigris.server.guard import records_url
from verdigris.server.ledger_of import KEY_FILE, LedgerNotSetUp, ledger_opener
from verdigris.server.settings import GuardSettings

PLACES = Places(("127.0.0.1:1",), ("127.0.0.1:2",), "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5", "/committed")
PLAN = load_plan(plan_text(CASES["errors"], FAST, PLACES))


MASKED = b'{"allow":[{"detector":"email","key":"support.mailbox","reason":"a public address","service":"*"}]}'


def opened(state: Path) -> Records:
    settings = GuardSettings(state_folder=state)
    return Records(records_url(settings), ledger_opener(settings, state))


def started(records: Records) -> None:
    act = Act(Kind.GUARD_STARTED, "guard g1", "started", {}, {"version": metadata.version("verdigris")})
    records.note_guard("g1", 1_790_000_000.0, act)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with one rollout in it that was rolled back."""
    state = tmp_path_factory.mktemp("state")
    records = opened(state)
    started(records)
    rolled_out(World(rate_per_s=2_000, candidate=behaving(failed=0.1)), records, PLAN)
    records.close()
    return state


@pytest.fixture
def state(played: Path, tmp_path: Path) -> Path:
    """A copy to do something with."""
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", played, copy], check=True)
    return copy


def test_the_record_of_a_rollout_verifies(played: Path) -> None:
    code, out, err = verdigris("audit", "verify", "--state", played)
    assert (code, err) == (0, "")
    assert "Nothing is wrong" in out
    assert "nobody outside held an earlier head" in out
    document = json.loads(verdigris("audit", "verify", "--state", played, "--json")[1])
    assert document["ok"]
    assert document["open_rollouts"] == []


def test_every_verdict_is_the_same_again(played: Path) -> None:
    code, out, err = verdigris("audit", "replay", "latest", "--state", played)
    assert (code, err) == (0, "")
    told = json.loads(verdigris("audit", "replay", "latest", "--state", played, "--json")[1])["verdicts"]
    assert [one["answer"] for one in told] == ["same"] * len(told)
    assert {one["verdict"] for one in told} >= {"FAIL"}
    assert f"{len(told)} of {len(told)} verdicts are the same again" in out


def test_entries_are_shown_with_what_people_wrote(played: Path) -> None:
    code, out, _ = verdigris("audit", "show", "latest", "--state", played)
    assert code == 0
    assert "plan.submitted" in out
    assert "(ann)" in out
    first = json.loads(verdigris("audit", "show", "latest", "--state", played, "--json")[1].splitlines()[0])
    assert first["actor"] == "ann"
    assert first["statement"]["predicate"]["sequence"] == 1


def test_the_population_has_every_rollout_and_what_became_of_it(played: Path) -> None:
    code, out, _ = verdigris("audit", "population", "--from", "2026-09-01", "--to", "2026-10-01", "--state", played)
    assert code == 0
    assert "rolled back  FAIL" in out
    assert json.loads(verdigris("audit", "population", "--to", "2026-09-01", "--state", played, "--json")[1])["rollouts"] == []


def test_a_pack_has_what_was_masked_meanwhile_with_the_reasons_of_exceptions(tmp_path: Path) -> None:
    state, pack = tmp_path / "state", tmp_path / "pack.zip"
    state.mkdir()
    records = opened(state)
    for definition in (b'{"allow":[]}', MASKED):
        records.note_masking("g1", 1_790_000_000.0, definition, 0, 1)
    rolled_out(World(rate_per_s=2_000, candidate=behaving(failed=0.1)), records, PLAN)
    records.close()
    assert verdigris("audit", "export", "latest", "--state", state, "--output", pack)[0] == 0
    with zipfile.ZipFile(pack) as files:
        assert files.read(f"evidence/{hashlib.sha256(MASKED).hexdigest()}") == MASKED
        entries = [json.loads(files.read(name)) for name in files.namelist() if name.startswith("entries/")]
    statements = [json.loads(base64.b64decode(entry["payload"])) for entry in entries]
    masking = [one["predicate"]["values"]["masking"] for one in statements if one["predicateType"].endswith("masking.set/v1")]
    assert masking == [hashlib.sha256(MASKED).hexdigest()]  # and not what was masked earlier
    key = (state / "ledger.keys").read_text(encoding="utf-8").strip()
    with zipfile.ZipFile(pack) as files:
        files.extractall(tmp_path / "pack")
    verified = subprocess.run([sys.executable, tmp_path / "pack" / "verify.py", "pack", tmp_path / "pack", "--key", key], check=False)
    assert verified.returncode == 0


def test_a_pack_verifies_itself_without_us(played: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack.zip"
    assert verdigris("audit", "export", "latest", "--state", played, "--output", pack)[0] == 0
    again = tmp_path / "again.zip"
    assert verdigris("audit", "export", "latest", "--state", played, "--output", again)[0] == 0
    assert pack.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(pack) as files:
        files.extractall(tmp_path / "pack")
    key = (played / "ledger.keys").read_text(encoding="utf-8").strip()
    command = [sys.executable, "-I", "verify.py", "pack", ".", "--key", key, "--json"]
    done = subprocess.run(command, cwd=tmp_path / "pack", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"]
    blob = next(iter((tmp_path / "pack" / "evidence").iterdir()))
    blob.write_bytes(blob.read_bytes() + b" ")
    assert subprocess.run(command, cwd=tmp_path / "pack", capture_output=True, timeout=60, check=False).returncode == 1


def changed_evidence(state: Path, like: str, erase: bool = False) -> str:  # noqa: FBT001, FBT002  # two ways to lose it
    """Change the reference, the judgement or a look, in the database."""
    engine = sa.create_engine(f"sqlite:///{state / 'rollouts.sqlite'}")
    with engine.begin() as connection:
        query = {
            "look": "SELECT digest FROM verdigris_looks ORDER BY number DESC LIMIT 1",
            "reference": "SELECT reference FROM verdigris_rollouts",
        }[like]
        digest = str(connection.execute(sa.text(query)).scalar_one())
        if erase:
            connection.execute(sa.text("DELETE FROM verdigris_evidence WHERE digest = :d"), {"d": digest})
        else:
            connection.execute(sa.text("UPDATE verdigris_evidence SET content = x'28b52ffd' WHERE digest = :d"), {"d": digest})
    engine.dispose()
    return digest


def test_erased_evidence_breaks_no_log_and_no_verdict_is_claimed_from_it(state: Path, tmp_path: Path) -> None:
    records = opened(state)
    rollout_id = records.load("latest").id
    assert all(content is not None for _, _, content in records.looks(rollout_id))
    records.erase_asked(rollout_id, "g1", "bob", "erasure request 17", 1_790_086_400.0)
    assert all(content is None for _, _, content in records.looks(rollout_id))
    records.close()
    when = "2026-09-22"
    code, out, _ = verdigris("audit", "verify", "--state", state)
    assert code == 0, out
    assert f"erased and recorded as erased at {when}" in out
    assert "because somebody asked for it" in out
    code, out, _ = verdigris("audit", "replay", "latest", "--state", state)
    assert code == 2
    assert f"evidence erased: the list of looks was erased at {when}" in out
    code, out, _ = verdigris("audit", "show", "--state", state)
    assert "erasure request 17" in out
    assert verdigris("audit", "report", "latest", "--state", state, "--html", tmp_path / "report.html")[0] == 0
    assert f"was erased at {when}" in (tmp_path / "report.html").read_text(encoding="utf-8")
    pack, key = tmp_path / "pack.zip", (state / "ledger.keys").read_text(encoding="utf-8").strip()
    assert verdigris("audit", "export", "latest", "--state", state, "--output", pack)[0] == 0
    report = verify.verify_pack(pack, [key])
    assert report.problems == []
    assert any(f"erased and recorded as erased at {when}" in line for line in report.not_proven)


def test_evidence_that_is_missing_without_an_entry_is_a_problem(state: Path, tmp_path: Path) -> None:
    digest = changed_evidence(state, "look", erase=True)
    code, out, _ = verdigris("audit", "verify", "--state", state)
    assert code == 1
    assert "1 blobs are not here, and no entry says that they were erased" in out
    code, out, _ = verdigris("audit", "replay", "latest", "--state", state)
    assert code == 1
    assert f"no entry says that it was erased ({digest})" in out
    pack, key = tmp_path / "pack.zip", (state / "ledger.keys").read_text(encoding="utf-8").strip()
    assert verdigris("audit", "export", "latest", "--state", state, "--output", pack)[0] == 0
    assert any(digest in problem.what for problem in verify.verify_pack(pack, [key]).problems)


def test_changed_evidence_is_found(state: Path) -> None:
    digest = changed_evidence(state, "reference")
    code, out, _ = verdigris("audit", "verify", "--state", state)
    assert code == 1
    assert digest in out
    code, _, err = verdigris("audit", "replay", "latest", "--state", state)
    assert code == 1
    assert "cannot be unpacked" in err


def test_another_judge_is_never_a_match(played: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**judge_identity(), "judge": hashlib.sha256(b"another judge").hexdigest()}
    monkeypatch.setattr("verdigris.audit.replay.judge_identity", lambda: other)
    code, out, _ = verdigris("audit", "replay", "latest", "--state", played)
    assert code == 2
    assert "different judge" in out
    assert "same" not in out.replace("the same again", "")


def test_a_judge_that_finds_something_else_is_told(played: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Judging.judgement
    monkeypatch.setattr(Judging, "judgement", lambda self: replace(before(self), candidate_traces=before(self).candidate_traces + 1))
    code, out, _ = verdigris("audit", "replay", "latest", "--state", played)
    assert code == 1
    assert "different" in out


def test_what_is_not_there_is_said(tmp_path: Path, played: Path) -> None:
    assert verdigris("audit", "verify", "--state", tmp_path)[0] == 66
    assert verdigris("audit", "show", "nothing", "--state", played)[0] == 66


# -- keys


def test_a_rotated_key_goes_on_with_the_same_ledger(state: Path, tmp_path: Path) -> None:
    old = VerifierKey.parse(verdigris("key", "show", "--state", state)[1])
    code, out, err = verdigris("key", "rotate", "--state", state)
    assert code == 0, err
    new = VerifierKey.parse(out)
    assert verdigris("key", "show", "--state", state)[1].splitlines() == [str(old), str(new)]
    records = opened(state)
    started(records)
    records.close()
    assert verdigris("audit", "verify", state / "ledger", "--key", str(old), "--key", str(new))[0] == 0
    code, out, _ = verdigris("audit", "verify", state / "ledger", "--key", str(old))
    assert code == 1
    assert (state / "ledger.key.old-1").stat().st_mode & 0o777 == 0o600


def test_an_interrupted_rotation_is_finished_before_anything_else(state: Path) -> None:
    verdigris("key", "new", state / "ledger.key.new", "--name", "any")
    with pytest.raises(LedgerNotSetUp, match="verdigris key rotate"):
        opened(state)
    assert verdigris("key", "rotate", "--state", state)[0] == 0
    opened(state).close()
    assert verdigris("audit", "verify", "--state", state)[0] == 0


def test_a_rotation_that_cannot_be_entered_changes_no_key(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (state / KEY_FILE).read_bytes()

    def fails(*_: object) -> int:
        msg = "the disk of the ledger is gone"
        raise LedgerUnavailable(msg)

    with monkeypatch.context() as broken:
        broken.setattr("verdigris.ledger.ledger.Ledger.enter", fails)
        code, _, err = verdigris("key", "rotate", "--state", state)
    assert code != 0
    assert "could not enter into the ledger" in err
    assert (state / KEY_FILE).read_bytes() == before
    assert verdigris("key", "rotate", "--state", state)[0] == 0
    assert (state / KEY_FILE).read_bytes() != before
    records = opened(state)
    started(records)
    records.close()
    code, out, _ = verdigris("audit", "verify", "--state", state)
    assert code == 0, out
    assert verdigris("audit", "show", "--state", state)[1].count("key.rotated") == 1


def test_a_key_is_made_once_and_read_by_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "some.key"
    code, out, _ = verdigris("key", "new", file, "--name", "bank.example/rollouts")
    assert code == 0
    assert verdigris("key", "show", file, "--name", "bank.example/rollouts")[1] == out
    assert verdigris("key", "new", file, "--name", "x")[0] == 64
    file.chmod(0o644)
    code, _, err = verdigris("key", "show", file)
    assert code == 64
    assert "chmod 600" in err


def test_a_ledger_whose_key_is_lost_is_not_gone_on_with(state: Path) -> None:
    (state / KEY_FILE).unlink()
    with pytest.raises(LedgerNotSetUp, match="put it back"):
        opened(state)


def test_several_guards_need_a_key_that_they_know(tmp_path: Path) -> None:
    with pytest.raises(LedgerNotSetUp, match=r"ledger\.trusted"):
        ledger_opener(GuardSettings(state_folder=tmp_path, database_url="postgresql://db/x"), tmp_path)
