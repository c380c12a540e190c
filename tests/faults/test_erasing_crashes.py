"""Erasing is killed at every effect, before it and after it: nothing that the ledger does not call erased is gone, the next sweep goes on,
and no entry is doubled.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.ended_rollouts import KEPT_S, NOW, Guarded, ended, sha256
from tests.unit.ledger_logs import Failing, die, whole

from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.storage import LogFolder
from verdigris.rollout.records import Records

PASSED = NOW + KEPT_S
LOOKS = [b"1", b"2", b"3"]
DIGESTS = [sha256(look) for look in LOOKS]

TRANSACTIONS, EFFECTS = 6, 4
"""Of one sweep that erases one rollout's evidence: commits in the database, and effects on the log."""


def prepared(folder: Path) -> str:
    guard = Guarded(f"sqlite:///{folder / 'rollouts.sqlite'}", folder / "log")
    rollout_id = ended(guard.records, looks=LOOKS)
    guard.records.close()
    return rollout_id


class Killing:
    """Kills the process around the `number`-th commit from now on; None: only counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int | None, *, happened: bool) -> None:
        self.count, transaction = 0, Records._transaction

        @contextlib.contextmanager
        def killed(records: Records, what: str) -> Iterator[sa.Connection]:
            self.count += 1
            here = self.count == number
            with transaction(records, what) as connection:
                yield connection
                if here and not happened:
                    die()
            if here:
                die()

        monkeypatch.setattr(Records, "_transaction", killed)


def swept_in_a_child(folder: Path, monkeypatch: pytest.MonkeyPatch, *, commit: int | None, effect: int | None, happened: bool) -> int:
    """The wait status of a process that sweeps and is killed on its way."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            storage = Failing(LogFolder(folder / "log"), effect, happened=happened, how=die)
            Killing(monkeypatch, commit, happened=happened)
            guard = Guarded(f"sqlite:///{folder / 'rollouts.sqlite'}", folder / "log", storage)
            guard.records.erase_due("g1", PASSED)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def assert_goes_on(folder: Path, rollout_id: str) -> None:
    guard = Guarded(f"sqlite:///{folder / 'rollouts.sqlite'}", folder / "log")
    gone = set(DIGESTS) - set(guard.kept(DIGESTS))
    assert gone <= set(guard.erased()), "what is gone was called erased before"
    guard.records.enter_all("g1")
    guard.records.erase_due("g1", PASSED)
    guard.records.erase_due("g1", PASSED)
    assert guard.kept(DIGESTS) == []
    assert {event.text for event in guard.records.journal(rollout_id)} == {"erased"}
    said = guard.erased()
    assert set(DIGESTS) <= set(said)
    assert len(said) == len(set(said)), "no entry is doubled"
    assert guard.verified().problems == []
    assert [s.kind for s in guard.statements() if s.rollout == rollout_id][-1] is Kind.ROLLOUT_ENDED
    whole(LogFolder(folder / "log"))
    guard.records.close()


def test_the_matrix_below_has_every_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(tmp_path)
    storage = Failing(LogFolder(tmp_path / "log"), None, happened=False)
    counting = Killing(monkeypatch, None, happened=False)
    guard = Guarded(f"sqlite:///{tmp_path / 'rollouts.sqlite'}", tmp_path / "log", storage)
    guard.records.erase_due("g1", PASSED)
    assert (counting.count, len(storage.effects)) == (TRANSACTIONS, EFFECTS), storage.effects
    guard.records.close()


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("number", range(1, TRANSACTIONS + 1))
def test_a_kill_around_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, happened: bool) -> None:
    rollout_id = prepared(tmp_path)
    assert os.WIFSIGNALED(swept_in_a_child(tmp_path, monkeypatch, commit=number, effect=None, happened=happened))
    assert_goes_on(tmp_path, rollout_id)


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("number", range(1, EFFECTS + 1))
def test_a_kill_around_an_effect_on_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, happened: bool) -> None:
    rollout_id = prepared(tmp_path)
    assert os.WIFSIGNALED(swept_in_a_child(tmp_path, monkeypatch, commit=None, effect=number, happened=happened))
    assert_goes_on(tmp_path, rollout_id)
