"""The port that keeps a log: the same contract for plain files, SQLite and PostgreSQL."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.unit.ledger_keys import signer
from tests.unit.ledger_logs import ORIGIN, whole

from verdigris.database import open_engine
from verdigris.ledger.log import Log
from verdigris.ledger.sql_storage import LogTables
from verdigris.ledger.storage import HeadMoved, LedgerUnavailable, LogFolder, Storage

Opens = Callable[[], Storage]


@pytest.fixture(params=["files", "sqlite", "postgresql"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    """Opens the same log again and again, as other processes would."""
    if request.param == "files":
        yield lambda: LogFolder(tmp_path)
        return
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}" if request.param == "sqlite" else request.getfixturevalue("server")
    engines: list[sa.Engine] = []

    def open_tables() -> Storage:
        engines.append(open_engine(url))
        return LogTables(engines[-1])

    yield open_tables
    with engines[-1].begin() as connection:
        for table in ("files", "commits", "head"):
            connection.execute(sa.text(f"DROP TABLE verdigris_ledger_{table}"))
    for engine in engines:
        engine.dispose()


def test_what_is_written_is_read_and_replaced_whole(opens: Opens) -> None:
    storage = opens()
    assert (storage.read("tile/0/000"), storage.head(), storage.commits()) == (None, None, [])
    storage.write("tile/0/000", b"one", durable=True)
    storage.write("tile/0/000", b"two", durable=False)
    storage.write("tile/0/000.p/1", b"one", durable=False)
    storage.drop("tile/0/000.p")
    storage.drop("tile/0/001.p")
    assert opens().read("tile/0/000") == b"two"
    assert opens().read("tile/0/000.p/1") is None


def test_what_was_written_under_a_path_is_listed(opens: Opens) -> None:
    storage = opens()
    for path in ("stamps/7.tsr", "stamps/10.tsr", "stamps/older/1.tsr", "stampsnot/1.tsr", "tile/0/000"):
        storage.write(path, b"", durable=False)
    assert opens().listed("stamps") == ["10.tsr", "7.tsr"]
    assert opens().listed("stamp_") == []


def test_a_head_only_goes_on(opens: Opens) -> None:
    for size in (1, 3, 2, 3):
        opens().advance(size, f"o\n{size}\nroot\n".encode())
    assert opens().head() == b"o\n3\nroot\n"


def test_one_writer_makes_the_commit_of_a_size(opens: Opens) -> None:
    one, other = opens(), opens()
    one.commit(0, b"first")
    with pytest.raises(HeadMoved):
        other.commit(0, b"second")
    one.commit(5, b"third")
    one.forget(0)
    with pytest.raises(HeadMoved):
        other.commit(0, b"of a writer that was far behind")
    assert (other.commits(), other.committed(5)) == ([5], b"third")
    with pytest.raises(HeadMoved):
        other.committed(0)


def test_a_race_has_one_winner(opens: Opens) -> None:
    won: list[int] = []
    begin = threading.Barrier(4)

    def tries(number: int, storage: Storage) -> None:
        begin.wait()
        try:
            storage.commit(0, str(number).encode())
            won.append(number)
        except (HeadMoved, LedgerUnavailable):
            return

    running = [threading.Thread(target=tries, args=(n, opens())) for n in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(won) == 1
    assert opens().committed(0) == str(won[0]).encode()


def test_a_log_grows_over_bundles_and_writers(opens: Opens) -> None:
    expected = []
    heads = []
    for writer in (1, 2, 3):
        log = Log(opens(), ORIGIN, signer(writer), [signer(n).key for n in (1, 2, 3)])
        heads.append(log.head)
        for n in range(0, 300, 30):
            batch = [f"{writer}.{n + m}".encode() for m in range(30)]
            log.append(batch)
            expected += batch
    assert whole(opens(), *heads) == expected
