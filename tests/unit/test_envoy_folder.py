"""The durable default's folder: whole or not at all, and fenced."""

import fcntl
import os
from pathlib import Path

import pytest
from tests.unit.test_envoy_runtime import plan

from verdigris.traffic import envoy_folder
from verdigris.traffic.data_plane import StaleGeneration
from verdigris.traffic.envoy_folder import Durable, EnvoyFolder, FolderUnusable
from verdigris.traffic.envoy_settings import MILLION, envoy_settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "committed"


@pytest.fixture
def folder(root: Path) -> EnvoyFolder:
    made = EnvoyFolder(envoy_settings(plan({"committed_folder": str(root)})))
    made.prepare()
    return made


SETTINGS = envoy_settings(plan())
BASELINE, CANDIDATE = 0, MILLION


def test_it_is_made_once_and_empty(folder: EnvoyFolder) -> None:
    assert folder.read() == Durable(None, 0, closed=False)
    folder.close_fence(CANDIDATE, 4, whatever=False)
    folder.prepare()
    assert folder.read() == Durable(CANDIDATE, 4, closed=True)


def test_a_fence_opens_for_newer_generations_only_and_remembers(folder: EnvoyFolder) -> None:
    folder.close_fence(BASELINE, 4, whatever=True)
    with pytest.raises(StaleGeneration):
        folder.open_fence(4)
    assert folder.read().closed
    folder.open_fence(5)
    assert folder.read() == Durable(BASELINE, 4, closed=False)
    with pytest.raises(StaleGeneration):
        folder.open_fence(3)


def test_a_commit_is_repeatable_and_no_older_one_undoes_a_return(folder: EnvoyFolder) -> None:
    assert folder.close_fence(CANDIDATE, 4, whatever=False) == 4
    assert folder.close_fence(CANDIDATE, 4, whatever=False) == 4
    folder.close_fence(BASELINE, 4, whatever=True)
    with pytest.raises(StaleGeneration):
        folder.close_fence(CANDIDATE, 4, whatever=False)
    assert folder.read() == Durable(BASELINE, 4, closed=True)


def test_going_back_never_lowers_the_fence(folder: EnvoyFolder) -> None:
    folder.close_fence(CANDIDATE, 9, whatever=False)
    assert folder.close_fence(BASELINE, 2, whatever=True) == 9
    assert folder.read() == Durable(BASELINE, 9, closed=True)


@pytest.mark.parametrize("content", [b"nonsense", b"x" * 5000, b"\xff\xfe"])
def test_what_is_not_ours_stops_everything_but_going_back(folder: EnvoyFolder, root: Path, content: bytes) -> None:
    folder.close_fence(CANDIDATE, 2, whatever=False)
    (root / "current" / "durable" / SETTINGS.weight_key()).write_bytes(content)
    for act in (folder.read, lambda: folder.open_fence(3), lambda: folder.close_fence(CANDIDATE, 3, whatever=False)):
        with pytest.raises(FolderUnusable):
            act()
    folder.close_fence(BASELINE, 3, whatever=True)
    assert folder.read() == Durable(BASELINE, 3, closed=True)


def test_a_guard_that_is_frozen_while_it_writes_does_not_keep_others_from_going_back(
    folder: EnvoyFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_folder, "LOCK_WAIT_S", 0.05)
    with (root / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FolderUnusable, match="another guard"):
            folder.open_fence(5)
        with pytest.raises(FolderUnusable, match="another guard"):
            folder.close_fence(CANDIDATE, 5, whatever=False)
        folder.close_fence(BASELINE, 5, whatever=True)
    assert folder.read() == Durable(BASELINE, 5, closed=True)


def test_a_write_that_fails_leaves_what_was(folder: EnvoyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.close_fence(BASELINE, 1, whatever=True)

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for whatever in (False, True):
        with pytest.raises(FolderUnusable, match="No space"):
            folder.close_fence(CANDIDATE, 2, whatever=whatever)
    assert folder.read() == Durable(BASELINE, 1, closed=True)


def test_old_trees_go(folder: EnvoyFolder, root: Path) -> None:
    for generation in range(1, 12):
        folder.close_fence(BASELINE if generation % 2 else CANDIDATE, generation, whatever=True)
    assert len(list(root.glob("tree-*"))) <= 1 + envoy_folder.OLD_TREES_KEPT
    assert not [name for name in root.iterdir() if name.name.startswith(".tree")]
