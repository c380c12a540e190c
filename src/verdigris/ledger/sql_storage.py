"""A log's bytes in a database, for several guards that share one (PostgreSQL) or for one file (SQLite). The same port as plain files."""

import contextlib
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from verdigris.ledger.storage import HeadMoved, LedgerUnavailable

_METADATA = sa.MetaData()
_FILES = sa.Table(
    "verdigris_ledger_files", _METADATA,
    sa.Column("path", sa.String(200), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)  # fmt: skip
_HEAD = sa.Table(
    "verdigris_ledger_head", _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("checkpoint", sa.LargeBinary, nullable=False),
)  # fmt: skip
_COMMITS = sa.Table(
    "verdigris_ledger_commits", _METADATA,
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)  # fmt: skip
_KEYS = sa.Table(
    "verdigris_ledger_keys", _METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(500), nullable=False, unique=True),
)  # fmt: skip
"""How others verify the log: what `ledger.keys` is beside a folder. Public, and as little to be believed as anything beside the log."""


class LogTables:
    """See `Storage`. Everything is durable when it returns, as far as the database is."""

    def __init__(self, engine: sa.Engine, *, to_read: bool = False) -> None:
        """Make the tables if needed; `to_read`: nothing is made. Raises: LedgerUnavailable."""
        self._engine = engine
        if to_read:
            return
        with _translated():
            _METADATA.create_all(engine)

    def exists(self) -> bool:
        """Whether somebody has made the tables. Raises: LedgerUnavailable."""
        with _translated():
            return sa.inspect(self._engine).has_table(_HEAD.name)

    def keys(self) -> list[str]:
        """The verifier keys that were remembered, the newest last. Raises: LedgerUnavailable."""
        with _translated():
            if not sa.inspect(self._engine).has_table(_KEYS.name):
                return []
        with self._connected() as connection:
            return [row.key for row in connection.execute(sa.select(_KEYS.c.key).order_by(_KEYS.c.number))]

    def remember(self, key: str) -> None:
        """Add a verifier key. Again is harmless. Raises: LedgerUnavailable."""
        with self._connected() as connection:
            if connection.execute(sa.select(_KEYS.c.number).where(_KEYS.c.key == key)).first() is None:
                with contextlib.suppress(IntegrityError), connection.begin_nested():  # another guard has just added the same
                    connection.execute(_KEYS.insert().values(key=key))

    def read(self, path: str) -> bytes | None:
        """See `Storage`."""
        with self._connected() as connection:
            found = connection.execute(sa.select(_FILES.c.content).where(_FILES.c.path == path)).first()
        return None if found is None else bytes(found.content)

    def write(self, path: str, content: bytes, *, durable: bool) -> None:
        """See `Storage`."""
        del durable
        with self._connected() as connection:
            changed = connection.execute(_FILES.update().where(_FILES.c.path == path).values(content=content))
            if not changed.rowcount:
                with contextlib.suppress(IntegrityError), connection.begin_nested():  # another writer has just written the same
                    connection.execute(_FILES.insert().values(path=path, content=content))

    def listed(self, folder: str) -> list[str]:
        """See `Storage`."""
        under = _FILES.c.path.startswith(f"{folder}/", autoescape=True)
        with self._connected() as connection:
            paths = [row.path for row in connection.execute(sa.select(_FILES.c.path).where(under))]
        names = (path.removeprefix(f"{folder}/") for path in paths)
        return sorted(name for name in names if "/" not in name)

    def drop(self, folder: str) -> None:
        """See `Storage`."""
        with self._connected() as connection:
            connection.execute(_FILES.delete().where(_FILES.c.path.startswith(f"{folder}/", autoescape=True)))

    def head(self) -> bytes | None:
        """See `Storage`."""
        with self._connected() as connection:
            found = connection.execute(sa.select(_HEAD.c.checkpoint)).first()
        return None if found is None else bytes(found.checkpoint)

    def advance(self, size: int, checkpoint: bytes) -> None:
        """See `Storage`."""
        values = {"size": size, "checkpoint": checkpoint}
        with self._connected() as connection:
            if connection.execute(sa.select(_HEAD.c.id)).first() is None:
                with contextlib.suppress(IntegrityError), connection.begin_nested():
                    connection.execute(_HEAD.insert().values(id=1, **values))
            connection.execute(_HEAD.update().where(_HEAD.c.size <= size).values(**values))

    def commits(self) -> list[int]:
        """See `Storage`."""
        with self._connected() as connection:
            return [row.start for row in connection.execute(sa.select(_COMMITS.c.start).order_by(_COMMITS.c.start))]

    def commit(self, start: int, content: bytes) -> None:
        """See `Storage`. The primary key makes the name for exactly one writer."""
        with self._connected() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(_COMMITS.insert().values(start=start, content=content))
            except IntegrityError as error:
                msg = f"another writer has appended to the log of {start} entries"
                raise HeadMoved(msg) from error
            if connection.execute(sa.select(sa.func.max(_COMMITS.c.start))).scalar_one() != start:
                msg = f"the log has more than {start} entries"
                raise HeadMoved(msg)

    def committed(self, start: int) -> bytes:
        """See `Storage`."""
        with self._connected() as connection:
            found = connection.execute(sa.select(_COMMITS.c.content).where(_COMMITS.c.start == start)).first()
        if found is None:
            msg = f"the commit that follows {start} entries has been dropped meanwhile"
            raise HeadMoved(msg)
        return bytes(found.content)

    def forget(self, start: int) -> None:
        """See `Storage`."""
        with self._connected() as connection:
            connection.execute(_COMMITS.delete().where(_COMMITS.c.start == start))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.begin() as connection:
            yield connection


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        msg = f"the ledger's database does not answer: {error}. Nothing moves forward until it does"
        raise LedgerUnavailable(msg) from error
