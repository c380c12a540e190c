"""How every database is opened: SQLite with real transactions that are durable when they return, or PostgreSQL."""

from typing import Any

import sqlalchemy as sa

BUSY_WAIT_S = 5
"""How long a write waits for SQLite's lock before it counts as unavailable."""


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
