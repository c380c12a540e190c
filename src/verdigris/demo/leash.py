"""Becomes another program that cannot outlive the one that started it.

Run as a file, so that it is quick to start:

    python -I leash.py STARTER_PID PROGRAM [ARGUMENT …]

On Linux the kernel kills the program when the starter dies, however that happens (prctl's PR_SET_PDEATHSIG, which survives exec).
Elsewhere it only becomes the program; a starter that ends in an orderly way stops it there too.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Never returns."""
    starter, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != starter:
            sys.exit("the program that started this one is already gone")
    os.execv(program[0], program)  # noqa: S606 - a full path and an argument list


if __name__ == "__main__":
    main()
