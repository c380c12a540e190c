"""What several contracts are held on: the databases that records may be in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ended_rollouts import emptied
from tests.postgres import postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server's address."""
    with postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: SQLite, and PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rollouts.sqlite'}"
    server: str = request.getfixturevalue("server")
    emptied(server)
    return server
