"""A real PostgreSQL of the test's own: a cluster in a temporary folder, on a unix socket, gone afterwards."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.required import missing

_FOLDERS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin"), Path("/usr/bin")]


def _program(name: str) -> str | None:
    return next((str(folder / name) for folder in _FOLDERS if (folder / name).exists()), None)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """SQLAlchemy's URL of a fresh server in `folder`. Where PostgreSQL is not installed, the test is `missing` it."""
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        missing("postgresql", "PostgreSQL is not installed; scripts/setup-servers installs it")
    # The server refuses to run as root; on Debian the package brings a user for it.
    as_user: list[str] = []
    if os.geteuid() == 0:
        runuser = shutil.which("runuser")
        if runuser is None:
            missing("postgresql", "PostgreSQL does not run as root, and there is no runuser")
        as_user = [runuser, "-u", "postgres", "--"]
    folder.mkdir(parents=True, exist_ok=True)
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    if as_user:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    subprocess.run(
        [*as_user, initdb, "-D", data, "-U", "verdigris", "-A", "trust", "--no-sync"], check=True, capture_output=True, timeout=120, cwd="/"
    )
    process = subprocess.Popen(
        [*as_user, server, "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/",
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "ready to accept connections" in line:
                break
        else:
            pytest.fail("PostgreSQL did not start")
        yield f"postgresql+psycopg://verdigris@/postgres?host={folder}"
    finally:
        process.terminate()
        process.communicate(timeout=30)
