"""A state folder that cannot be written: a guard does not start there and says why; a rollout's records say that they cannot be written."""

import asyncio
import contextlib
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.clients.small_disk import mount, on_small_disk
from tests.unit.plans import PLAN

from verdigris.errors import VerdigrisError
from verdigris.rollout import acts
from verdigris.rollout.records import Records, RecordsUnavailable
from verdigris.rollout.transitions import Event
from verdigris.server.guard import open_guard
from verdigris.server.settings import GuardSettings
from verdigris.telemetry.receiver.listeners import Addresses

NOW = 1_790_000_000.0


def sockets() -> int:
    """How many this process has."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found += str(entry.readlink()).startswith("socket:")
        except OSError:
            continue  # the descriptor that lists the folder
    return found


def started(folder: Path, before: str) -> dict[str, Any]:
    """Start a guard in a folder that has become read-only; `used`: one ran there before."""
    state = folder / "state"
    settings = GuardSettings(state, Addresses("127.0.0.1:0", "127.0.0.1:0"))

    async def start() -> str:
        async with open_guard(settings):
            return "started"

    if before == "used":
        assert asyncio.run(start()) == "started"
    else:
        state.mkdir()
    threads, connections, files = len(threading.enumerate()), sockets(), sorted(map(str, folder.rglob("*")))
    mount("-o", "remount,ro", str(folder))
    try:
        told = asyncio.run(start())
    except VerdigrisError as error:
        told = f"{type(error).__name__}: {error}".replace(str(folder), "FOLDER")
    return {
        "told": told,
        "left running": [len(threading.enumerate()) - threads, sockets() - connections],
        "changed": sorted(map(str, folder.rglob("*"))) != files,
    }


def test_a_guard_does_not_start_on_a_state_folder_that_is_read_only(tmp_path: Path) -> None:
    assert on_small_disk(tmp_path, "200m", __name__, "started", "fresh") == {
        "told": "CannotStart: the state folder FOLDER/state cannot be used: Read-only file system; give the guard one that it may write",
        "left running": [0, 0],
        "changed": False,
    }


def test_a_guard_does_not_start_again_on_its_state_folder_when_it_has_become_read_only(tmp_path: Path) -> None:
    found = on_small_disk(tmp_path, "200m", __name__, "started", "used")
    kind, _, told = found.pop("told").partition(": ")
    assert kind in {"CannotStart", "StoreError"}
    assert "FOLDER/state" in told
    assert "cannot be written: Read-only file system; give it one that may be written" in told
    assert found == {"left running": [0, 0], "changed": False}


def recorded(folder: Path, how: str) -> dict[str, Any]:
    """A rollout whose database can no longer be written in the middle, and then can again. Returns what its records said."""
    records = Records(f"sqlite:///{folder / 'rollouts.sqlite'}")
    rollout_id = records.submit(PLAN, "envoy:payments", "ann", "g1", NOW)
    claim = records.claim(rollout_id, "g1", stale_after_s=60)
    assert claim is not None
    said = replace(acts.requested("hold", "ann", "why", "here"), text="x" * 4_000)
    position = records.load(rollout_id).position
    records.note(claim, NOW, said)
    filler = folder / "filler"
    if how == "full":
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
    else:
        records.close()  # connections are made anew
        mount("-o", "remount,ro", str(folder))
    refused = []
    for _ in range(50):
        for write in (
            lambda: records.note(claim, NOW, said),
            lambda: records.intend(claim, NOW, lambda generation: acts.intended("guard g1", "5 %", 5.0, generation, 0, 3.0)),
            lambda: records.move(claim, position.moved(Event.BEGUN, "", NOW), Event.BEGUN, "ann"),
            lambda: records.keep_look(claim, 1, 10, os.urandom(50_000)),
        ):
            try:
                write()
            except RecordsUnavailable as error:
                refused.append(str(error))
        if len(refused) >= 4:
            break
    if how == "full":
        filler.unlink()
    else:
        records.close()
        mount("-o", "remount,rw", str(folder))
    records.note(claim, NOW, said)
    entries = [entry.sequence for entry in records.journal(rollout_id)]
    records.close()
    return {"refused": sorted(set(refused)), "no gaps": entries == list(range(1, len(entries) + 1)), "last": entries[-1] > 2}


@pytest.mark.parametrize(("how", "why"), [("full", "database or disk is full"), ("read-only", "unable to open database file")])
def test_records_that_cannot_be_written_say_so_and_go_on_when_they_can(tmp_path: Path, how: str, why: str) -> None:
    assert on_small_disk(tmp_path, "2m", __name__, "recorded", how) == {
        "refused": [
            f"could not {what}: {why}" for what in ("keep evidence", "record a transition", "record an intended weight", "record request")
        ],
        "no gaps": True,
        "last": True,
    }
