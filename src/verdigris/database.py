"""How every database is opened: SQLite with real transactions that are durable when they return, or PostgreSQL; and how to read one."""

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from verdigris.errors import VerdigrisError

BUSY_WAIT_S = 5
"""How long a write waits for SQLite's lock before it counts as unavailable."""

CONNECT_S = 10
"""How long a reader waits for PostgreSQL's answer."""


class CannotBeRead(VerdigrisError):
    """A database cannot be read without writing to it. Safe: nothing was changed."""


def open_engine(url: str) -> sa.Engine:
    """An engine for SQLAlchemy's URL, `sqlite` or `postgresql+psycopg`. Nothing is connected yet."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_WAIT_S})
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def make_tables(engine: sa.Engine, tables: sa.MetaData) -> None:
    """Make the tables that are missing, and in those that an earlier version made, the columns.

    A column that came later is nullable or has a default of the database's. Raises: SQLAlchemyError.
    """
    tables.create_all(engine)
    with engine.begin() as connection:
        there = sa.inspect(connection)
        for table in tables.sorted_tables:
            known = {column["name"] for column in there.get_columns(table.name)}
            for column in table.columns:
                if column.name not in known:
                    made = sa.schema.CreateColumn(column).compile(dialect=engine.dialect)
                    connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {made}")


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own; `_begin_immediate` does
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    # A transaction that reads and then writes must hold the lock from its beginning, or two of them refuse each other.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


# -- reading only -----------------------------------------------------------------------------------------------------------------


def open_postgresql_to_read(url: sa.URL) -> sa.Engine:
    """An engine of which the server refuses every write. Nothing is connected yet."""
    return sa.create_engine(
        url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_S}, execution_options={"postgresql_readonly": True}
    )


def open_sqlite_to_read(file: Path) -> sa.Engine:
    """An engine on a database that may lie where nothing can be written. Raises: CannotBeRead."""
    uri = _uri_to_read(file.absolute())
    engine = sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, timeout=BUSY_WAIT_S, check_same_thread=False), poolclass=sa.QueuePool
    )
    sa.event.listen(engine, "connect", _without_own_transactions)
    return engine


def _uri_to_read(file: Path) -> str:
    """How SQLite is to open it.

    Whoever has it open to write keeps a write-ahead log beside it. Where there is none, nobody has, and it is read as a file that does
    not change; otherwise SQLite would leave files of its own beside it. Where there is one, what it has must be read too.
    """
    plain, ahead = f"file:{quote(str(file))}?mode=ro", file.with_name(f"{file.name}-wal")
    if not ahead.exists():
        return f"{plain}&immutable=1"
    try:
        connection = sqlite3.connect(plain, uri=True, timeout=BUSY_WAIT_S)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema")
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if ahead.stat().st_size:
            msg = (
                f"{file} cannot be read where it is: {error}. Its newest changes are in {ahead.name}, which can be read only together with "
                f"{file.name}-shm or where files can be made: copy all three, copy the folder to where you may write, or copy it while the "
                "guard is stopped"
            )
            raise CannotBeRead(msg) from error
        return f"{plain}&immutable=1"
    return plain


def _without_own_transactions(connection: Any, _record: object) -> None:
    connection.isolation_level = None
