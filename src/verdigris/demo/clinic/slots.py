"""The database of one role: appointment slots in SQLite, in memory, shared by the instances of scheduling."""

import sqlite3
from contextlib import AbstractContextManager
from threading import Lock
from types import TracebackType

SELECT_FREE = "SELECT slot, ward, starts FROM slots WHERE booked < 1000 ORDER BY (slot + ?) % 97, slot LIMIT 20"
SELECT_ONE = "SELECT slot, ward, starts FROM slots WHERE slot = ?"
BOOK = "UPDATE slots SET booked = booked + 1 WHERE slot = ?"

_WARDS = ("cardiology", "dermatology", "eye clinic", "radiology")


class Slots(AbstractContextManager["Slots"]):
    """One connection for all threads, one statement at a time."""

    def __init__(self, slots: int) -> None:
        """Makes the table with that many slots, numbered from 0."""
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._lock = Lock()
        with self._connection:
            self._connection.execute("CREATE TABLE slots (slot INTEGER PRIMARY KEY, ward TEXT, starts TEXT, booked INTEGER)")
            self._connection.executemany(
                "INSERT INTO slots VALUES (?, ?, ?, 0)",
                ((n, _WARDS[n % len(_WARDS)], f"{8 + n % 9:02d}:{n % 4 * 15:02d}") for n in range(slots)),
            )

    def run(self, statement: str, argument: int, *, locked: bool = False) -> list[tuple[int, str, str]]:
        """Runs one of the statements above and commits. Returns: its rows.

        Raises: sqlite3.OperationalError: `locked`, which stands for a writer that a database in memory does not have.
        """
        if locked:
            msg = "database is locked"
            raise sqlite3.OperationalError(msg)
        with self._lock, self._connection:
            return self._connection.execute(statement, (argument,)).fetchall()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Forgets everything."""
        self._connection.close()
