"""Every step of an append fails, or is reported as failed although it happened, or the process is killed there: nothing that was
acknowledged is lost, nothing is in the log twice unless it was appended twice, and the log verifies and goes on.
"""

import os
import threading
from pathlib import Path

import pytest
from tests.unit.ledger_keys import signer
from tests.unit.ledger_logs import ORIGIN, Failing, die, opened, whole

from verdigris.ledger.log import LedgerDamaged, Log
from verdigris.ledger.note import Note
from verdigris.ledger.storage import LedgerUnavailable, LogFolder

BEFORE = [f"entry {n}".encode() for n in range(254)]
BATCHES = [[b"a"], [b"b", b"c", b"d"], [b"e"]]
"""The second batch fills a bundle: its append has every kind of effect."""


def prepared(folder: Path) -> Note:
    log = opened(folder)
    for start in range(0, 254, 50):
        log.append(BEFORE[start : start + 50])
    return log.head


def effects_of_an_append(folder: Path) -> list[str]:
    prepared(folder)
    counting = Failing(LogFolder(folder), None, happened=False)
    log = Log(counting, ORIGIN, signer())
    for batch in BATCHES:
        log.append(batch)
    return counting.effects


EFFECTS = 23


def test_the_matrix_below_has_every_effect(tmp_path: Path) -> None:
    effects = effects_of_an_append(tmp_path)
    assert len(effects) == EFFECTS, effects
    assert {name.split()[0] for name in effects} == {"commit", "write", "advance", "forget", "drop"}


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("number", range(1, EFFECTS + 1))
def test_a_failed_effect_loses_nothing(tmp_path: Path, number: int, *, happened: bool) -> None:
    earlier = prepared(tmp_path)
    log = Log(Failing(LogFolder(tmp_path), number, happened=happened), ORIGIN, signer())
    acknowledged: list[bytes] = []
    uncertain: list[bytes] = []
    for batch in BATCHES:
        try:
            log.append(batch)
            acknowledged += batch
        except LedgerUnavailable:
            uncertain += batch
    assert uncertain
    same_writer = log.append([b"last"])
    entries = whole(LogFolder(tmp_path), earlier, log.head)
    assert entries[same_writer] == b"last"
    added = entries[254:-1]
    assert [e for e in added if e in acknowledged] == acknowledged
    assert set(added) - set(acknowledged) <= set(uncertain)
    assert len(set(added)) == len(added)
    # Entries of one batch are in together or not at all, and in order.
    assert [b for b in BATCHES if set(b) & set(added)] == [b for b in BATCHES if set(b) <= set(added)]


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("number", range(1, EFFECTS + 1))
def test_a_kill_loses_nothing(tmp_path: Path, number: int, *, happened: bool) -> None:
    earlier = prepared(tmp_path)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        log = Log(Failing(LogFolder(tmp_path), number, happened=happened, how=die), ORIGIN, signer())
        for batch in BATCHES:
            log.append(batch)
            os.write(tell, b"".join(batch))
        os._exit(0)
    os.close(tell)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    acknowledged = [bytes([c]) for c in os.read(told, 100)]
    os.close(told)
    log = opened(tmp_path, 2)
    entries = whole(LogFolder(tmp_path), earlier, log.head)
    assert entries[:254] == BEFORE
    assert entries[254 : 254 + len(acknowledged)] == acknowledged
    log.append([b"last"])
    again = whole(LogFolder(tmp_path), earlier)
    assert again == [*entries, b"last"]


def test_several_writers_never_fork_the_log(tmp_path: Path) -> None:
    """Three processes and their threads append as fast as they can; each keeps what was acknowledged."""
    each, threads = 60, 3
    children = []
    for number in (1, 2, 3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                log = opened(tmp_path, number)

                def work(thread: int, log: Log = log, number: int = number) -> None:
                    for n in range(each):
                        entry = f"{number}.{thread}.{n}".encode()
                        assert log.entry(log.append([entry])) == entry

                running = [threading.Thread(target=work, args=(t,)) for t in range(threads)]
                for thread in running:
                    thread.start()
                for thread in running:
                    thread.join()
                code = 0 if log.size >= each * threads else 2
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    entries = whole(LogFolder(tmp_path))
    assert sorted(entries) == sorted(f"{w}.{t}.{n}".encode() for w in (1, 2, 3) for t in range(threads) for n in range(each))
    for beginning in (f"{writer}.{number}." for writer in (1, 2, 3) for number in range(threads)):
        mine = [e for e in entries if e.startswith(beginning.encode())]
        assert mine == [f"{beginning}{n}".encode() for n in range(each)]


def test_a_log_can_be_opened_while_others_write(tmp_path: Path) -> None:
    """What they have staged comes and goes meanwhile; so do folders of partial tiles."""
    writing, done = opened(tmp_path), threading.Event()

    def work() -> None:
        while not done.is_set():
            writing.append([b"x"] * 50)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(200):
            opened(tmp_path)
    finally:
        done.set()
        thread.join()
    whole(LogFolder(tmp_path), writing.head)


def test_a_slow_writer_takes_no_head_back_and_forks_nothing(tmp_path: Path) -> None:
    slow, quick = opened(tmp_path, 1), opened(tmp_path, 2)
    for n in range(600):
        quick.append([f"{n}".encode()])
    assert len(LogFolder(tmp_path).commits()) < 600
    earlier = quick.head
    LogFolder(tmp_path).advance(0, str(slow.head).encode())
    assert LogFolder(tmp_path).head() == str(earlier).encode()
    assert slow.append([b"slow"]) == 600
    assert whole(LogFolder(tmp_path), earlier)[600] == b"slow"


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "checkpoint").write_text((f / "checkpoint").read_text().replace("\n3\n", "\n2\n")),
        lambda f: (f / "checkpoint").write_bytes(b"nothing"),
        lambda f: [p.rename(p.with_name("9")) for p in sorted((f / "commits").iterdir())[-1:]],
        lambda f: [(f / "tile/entries/000.p/3").unlink(), (f / "commits" / "1").unlink()],
        lambda f: [(f / "tile/0/000.p/3").write_bytes(bytes(96)), (f / "commits" / "1").write_bytes((f / "commits" / "2").read_bytes())],
    ],
)
def test_a_damaged_log_is_not_appended_to(tmp_path: Path, damage: object) -> None:
    log = opened(tmp_path)
    for n in range(3):
        log.append([f"{n}".encode()])
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(LedgerDamaged):
        opened(tmp_path)


@pytest.mark.parametrize("size", [3, 255, 256, 257, 600])
@pytest.mark.parametrize("left", ["nothing", "empty files", "zeros"])
def test_a_power_cut_that_takes_what_was_not_durable_loses_nothing(tmp_path: Path, size: int, left: str) -> None:
    """Partial tiles and bundles are written without waiting for the disk."""
    log = opened(tmp_path)
    entries = [f"{n}".encode() for n in range(size)]
    for start in range(0, size, 40):
        log.append(entries[start : start + 40])
    head = log.head
    for file in [*(tmp_path / "tile").rglob("*.p/*")]:
        if left == "nothing":
            file.unlink()
        else:
            file.write_bytes(b"" if left == "empty files" else bytes(file.stat().st_size))
    again = opened(tmp_path)
    again.append([b"last"])
    assert whole(LogFolder(tmp_path), head) == [*entries, b"last"]


def test_a_disk_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LedgerUnavailable, match="Nothing moves forward"):
        LogFolder(tmp_path / "file" / "log")
