"""A guard's ledger and a real witness: what it has signed cannot be cut off any more without being seen."""

import shutil
from pathlib import Path

import pytest
from tests.contract.witnesses import ORIGIN, WITNESS_KEY, cosigner_in, grow, log_in, serving
from tests.unit.ledger_keys import signer

from verdigris.audit.verify import verify_log
from verdigris.ledger.note import Note, verified
from verdigris.ledger.witness_client import Witness
from verdigris.server.witnessing import WITNESSED, Witnessing
from verdigris.witness.app import witness_app


def test_every_new_head_is_cosigned_and_kept(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 3)
    with serving(witness_app(cosigner_in(tmp_path / "witness"))) as url:
        asking = Witnessing(log, [Witness(url, WITNESS_KEY)])
        assert asking.ask() is not None
        assert asking.ask() is None
        for size in (4, 300, 301):
            grow(log, size)
            witnessed = asking.ask()
            assert witnessed is not None
            kept = Note.parse((tmp_path / "log" / WITNESSED).read_bytes())
            assert (kept, kept.text) == (witnessed, log.head.text)
            assert {one.key for one in verified(kept, [signer(1, ORIGIN).key, WITNESS_KEY])} == {signer(1, ORIGIN).key, WITNESS_KEY}


def test_a_log_that_was_cut_off_is_found_by_what_was_witnessed(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 3)
    shutil.copytree(tmp_path / "log", tmp_path / "earlier")
    with serving(witness_app(cosigner_in(tmp_path / "witness"))) as url:
        grow(log, 9)
        Witnessing(log, [Witness(url, WITNESS_KEY)]).ask()
        shutil.copy(tmp_path / "log" / WITNESSED, tmp_path / WITNESSED)
        cut = log_in(tmp_path / "earlier", 3)
        asking = Witnessing(cut, [Witness(url, WITNESS_KEY)])
        assert asking.ask() is None
        assert asking.failing
    report = verify_log(tmp_path / "earlier", [str(signer(1, ORIGIN).key)], checkpoints=[tmp_path / WITNESSED])
    assert not report.ok
    assert any("9" in one.what for one in report.problems)


def test_a_witness_that_does_not_answer_keeps_nobody_waiting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = log_in(tmp_path / "log", 3)
    asking = Witnessing(log, [Witness("http://127.0.0.1:9", WITNESS_KEY, limit_s=1.0)])
    assert asking.ask() is None
    assert list(asking.failing) == ["http://127.0.0.1:9"]
    assert not (tmp_path / "log" / WITNESSED).exists()
