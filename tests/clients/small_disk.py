"""A small file system in memory, in a mount namespace of its own: one that can be filled, or made read-only, for real."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import importlib, json, sys
from pathlib import Path
root, module, function, folder, *arguments = sys.argv[1:]
sys.path.insert(0, root)
print(json.dumps(getattr(importlib.import_module(module), function)(Path(folder), *arguments)))
"""


def on_small_disk(folder: Path, size: str, module: str, function: str, *arguments: object) -> Any:
    """What `module.function(folder, *arguments)` returns in a process that sees such a file system at `folder`. Arguments become text."""
    probe = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$1"', "sh", str(folder)]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("needs mount namespaces (root)")
    script = f'mount -t tmpfs -o size={size} tmpfs "$1" && shift && exec "$@"'
    command = [sys.executable, "-c", PROGRAM, str(ROOT), module, function, str(folder), *map(str, arguments)]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(folder), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def mount(*arguments: str) -> None:
    """Inside: change what is mounted. Nothing outside sees it."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def read_only(folder: Path) -> None:
    """From here on whoever opens something in the folder can only read it. `writable` ends that."""
    mount("--bind", str(folder), str(folder))
    mount("-o", "remount,bind,ro", str(folder))


def writable(folder: Path) -> None:
    """As it was before `read_only`."""
    done = subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
