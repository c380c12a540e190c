"""The command line, called in this process."""

import io
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from verdigris.cli.main import run


def verdigris(*arguments: str | Path, stdin: bytes | None = None) -> tuple[int, str, str]:
    """Exit code, standard output and standard error. `stdin` None: what the process has."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        stack.enter_context(patch.object(sys, "argv", ["verdigris", *map(str, arguments)]))
        if stdin is not None:
            stack.enter_context(patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))))
        with pytest.raises(SystemExit) as stopped:
            run()
    texts = [stream.buffer.getvalue().decode() for stream in (out, err) if isinstance(stream.buffer, io.BytesIO)]
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, texts[0], texts[1]
