"""Our logs are accepted by the Go project's own implementation of tiled logs and signed notes, and what was changed is not."""

import subprocess
from pathlib import Path

import pytest
from tests.required import missing
from tests.unit.ledger_keys import signer
from tests.unit.ledger_logs import opened

CHECKER = Path(__file__).parents[2] / "build" / "tlogcheck"


def checked(folder: Path, *keys: str) -> subprocess.CompletedProcess[str]:
    if not CHECKER.exists():
        missing("tlogcheck", "needs build/tlogcheck (scripts/setup-tlogcheck; Go)")
    return subprocess.run([CHECKER, folder, *keys], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
def test_a_log_of_ours_is_accepted(tmp_path: Path, size: int) -> None:
    log = opened(tmp_path)
    for start in range(0, size, 90):
        log.append([f"entry {n}".encode() for n in range(start, min(size, start + 90))])
    done = checked(tmp_path, str(signer().key))
    assert (done.returncode, done.stdout.strip()) == (0, str(size)), done.stderr


@pytest.mark.parametrize("file", ["tile/0/000.p/3", "tile/entries/000.p/3", "checkpoint"])
def test_a_changed_log_is_not(tmp_path: Path, file: str) -> None:
    opened(tmp_path).append([b"one", b"two", b"three"])
    content = bytearray((tmp_path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / file).write_bytes(content)
    assert checked(tmp_path, str(signer().key)).returncode == 1


def test_a_log_of_another_key_is_not(tmp_path: Path) -> None:
    opened(tmp_path).append([b"one"])
    assert checked(tmp_path, str(signer(2).key)).returncode == 1
