"""Runs the command line in this process, from the arguments to the exit code, as the installed program would."""

import io
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from verdigris.cli.main import run
from verdigris.comparison.document import Comparison, from_json


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    exit_code: int
    out: bytes
    err: str

    @property
    def comparison(self) -> Comparison:
        """The document that `--json` printed."""
        return from_json(self.out)


def verdigris(*arguments: str | Path) -> Ran:
    """`verdigris` with these arguments."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        stack.enter_context(patch.object(sys, "argv", ["verdigris", *map(str, arguments)]))
        try:
            run()
        except SystemExit as stop:
            code = stop.code
    assert isinstance(code, int)
    out.flush()
    err.flush()
    return Ran(code, bytes(_buffer(out)), bytes(_buffer(err)).decode())


def _buffer(text: io.TextIOWrapper) -> memoryview:
    assert isinstance(text.buffer, io.BytesIO)
    return text.buffer.getbuffer()
