"""What holds of the repository as a whole."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINE_PATH = re.compile(rb"(?<![\w.}/-])/(?:wo" + rb"rk|ro" + rb"ot|home/[a-z]+)/")


def kept_files() -> list[Path]:
    """What version control keeps, or would keep if it were added."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not in a checkout")
    listing = subprocess.run(
        [git, "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, check=True, timeout=60
    ).stdout
    return [ROOT / name for name in listing.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    found = {
        str(file.relative_to(ROOT)): [match.group().decode() for match in MACHINE_PATH.finditer(file.read_bytes())] for file in kept_files()
    }
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_no_file_is_what_a_machine_made() -> None:
    made = {".so", ".pyc", ".orig", ".rej", ".swp"}
    assert [str(file.relative_to(ROOT)) for file in kept_files() if file.suffix in made] == []


def test_layers_point_inward() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout


def test_every_module_says_what_it_owns() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "src").rglob("*.py"))
        if file.stat().st_size and not file.read_text(encoding="utf-8").startswith('"""')
    ]
    assert silent == []


def test_no_command_waits_for_what_another_needs() -> None:
    """The command line alone loads no database, no report and no server: each is a second at every start."""
    program = "import sys, verdigris.cli.main; print(*sorted({'sqlalchemy', 'reportlab', 'dbos', 'fastapi', 'grpc'} & sys.modules.keys()))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split() == []
