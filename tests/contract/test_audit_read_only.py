"""A record where nothing can be written: an auditor's read-only copy, a snapshot of a running guard's folder, and what is not whole."""

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.clients.small_disk import mount, on_small_disk
from tests.contract.test_audit_cli import opened, started
from tests.contract.test_audit_cli import played as played  # noqa: PLC0414  # a fixture
from tests.unit.test_plan_cli import verdigris

from verdigris.audit.record import open_record

WAL, SHARED = "rollouts.sqlite-wal", "rollouts.sqlite-shm"
COMMANDS = (
    ("verify",), ("show", "latest"), ("replay", "latest"), ("population",), ("sarif", "latest"), ("oscal", "latest", "--json"),
    ("summary", "latest"),
)  # fmt: skip


def audited(folder: Path, copy: str, missing: str) -> dict[str, Any]:
    """Every command on a copy that has become read-only. `missing`: a file that was not copied."""
    state = folder / "state"
    shutil.copytree(copy, state)
    if missing != "nothing":
        (state / missing).unlink()
    before = {str(file): file.stat().st_mtime_ns for file in state.rglob("*")}
    mount("-o", "remount,ro", str(folder))
    with pytest.raises(OSError, match="Read-only"):
        (state / "probe").touch()
    answers = {command[0]: verdigris("audit", *command, "--state", state) for command in COMMANDS}
    return {
        "codes": {name: code for name, (code, _, _) in answers.items()},
        "said": sorted({err.replace(str(folder), "FOLDER") for _, _, err in answers.values()}),
        "blobs": "blobs of evidence are what the entries name" in answers["verify"][1],
        "missing": "that are not here" in answers["verify"][1],
        "touched": {str(file): file.stat().st_mtime_ns for file in state.rglob("*")} != before,
    }


GOOD = {"codes": dict.fromkeys([command[0] for command in COMMANDS], 0), "said": [""], "blobs": True, "missing": False, "touched": False}


def test_a_copy_of_a_stopped_guards_record_is_audited_where_nothing_can_be_written(played: Path, tmp_path: Path) -> None:
    assert not (played / WAL).exists()
    assert on_small_disk(tmp_path, "200m", __name__, "audited", played, "nothing") == GOOD


@pytest.fixture
def running(played: Path, tmp_path: Path) -> Path:
    """A copy of the folder of a guard that runs: its newest changes are in the write-ahead log alone."""
    state = tmp_path / "running"
    subprocess.run(["cp", "-a", played, state], check=True)
    records = opened(state)
    started(records)
    copy = tmp_path / "copy"
    shutil.copytree(state, copy)
    assert (copy / WAL).stat().st_size
    records.close()
    return copy


def test_a_copy_of_a_running_guards_record_is_read_with_its_newest_changes(running: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    assert on_small_disk(folder, "200m", __name__, "audited", running, "nothing") == GOOD


def test_newest_changes_that_cannot_be_read_are_never_left_out_silently(running: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    found = on_small_disk(folder, "200m", __name__, "audited", running, SHARED)
    assert set(found["codes"].values()) == {66}
    assert len(found["said"]) == 1
    assert "Its newest changes are in rollouts.sqlite-wal" in found["said"][0]
    assert "copy the folder to where you may write" in found["said"][0]
    # Where it may be written, the same copy is read.
    (running / SHARED).unlink()
    assert verdigris("audit", "verify", "--state", running)[0] == 0


def test_a_copy_without_them_says_which_evidence_is_not_there(running: Path) -> None:
    for name in (WAL, SHARED):
        (running / name).unlink()
    code, out, _ = verdigris("audit", "verify", "--state", running)
    assert code == 1  # they may have been erased, and an entry may say so; this copy does not have it
    assert "are not here, and no entry says that they were erased" in out


def test_an_audit_leaves_no_file_in_the_folder_and_disturbs_no_guard(played: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    subprocess.run(["cp", "-a", played, state], check=True)
    before = sorted(map(str, state.rglob("*")))
    assert verdigris("audit", "verify", "--state", state)[0] == 0
    assert sorted(map(str, state.rglob("*"))) == before
    records = opened(state)
    started(records)
    assert verdigris("audit", "verify", "--state", state)[0] == 0
    started(records)
    records.close()
    assert verdigris("audit", "verify", "--state", state)[0] == 0


def test_an_audit_makes_and_tidies_up_nothing_in_the_log(played: Path, tmp_path: Path) -> None:
    """A copy as a web server would serve it, without the writer's own folders; and one in which a crash has left something."""
    served, left = tmp_path / "served", tmp_path / "left"
    for copy in (served, left):
        subprocess.run(["cp", "-a", played, copy], check=True)
    for name in ("commits", "staged"):
        shutil.rmtree(served / "ledger" / name)
    staged = left / "ledger" / "staged" / "1-0123456789abcdef"
    staged.write_bytes(b"left by a crash")
    os.utime(staged, (0, 0))
    for copy in (served, left):
        before = sorted(map(str, copy.rglob("*")))
        assert verdigris("audit", "verify", "--state", copy)[0] == 0
        assert verdigris("audit", "show", "--state", copy)[0] == 0
        assert sorted(map(str, copy.rglob("*"))) == before


def as_nobody(folder: Path, copy: str) -> dict[str, Any]:
    """On a file system that can be written, by somebody who may not: files 0444, folders 0555."""
    state = folder / "state"
    shutil.copytree(copy, state)
    for file in (state, *state.rglob("*")):
        file.chmod(0o555 if file.is_dir() else 0o444)
    verdigris("audit", "verify", "--state", state)  # whoever runs the tests may be the only one who can read Python's own files
    os.setgid(65534)
    os.setuid(65534)
    with pytest.raises(OSError, match="denied"):
        (state / "probe").touch()
    code, _, err = verdigris("audit", "verify", "--state", state)
    return {"code": code, "err": err}


def test_a_file_that_may_only_be_read_is_read(played: Path, running: Path, tmp_path: Path) -> None:
    for number, copy in enumerate((played, running)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for parent in folder.parents[:-2]:
            parent.chmod(parent.stat().st_mode | 0o055)
        assert on_small_disk(folder, "200m", __name__, "as_nobody", copy) == {"code": 0, "err": ""}


def test_a_database_that_is_read_is_not_changed_by_any_query(played: Path) -> None:
    with (
        open_record(played) as record,
        record._engine.connect() as connection,
        pytest.raises(sa.exc.OperationalError, match="readonly database"),
    ):
        connection.exec_driver_sql("DELETE FROM verdigris_evidence")
    assert sqlite3.sqlite_version_info >= (3, 22)
