"""What a command's exit code says. Verdicts are 0 to 3, errors 64 and above (after BSD's sysexits.h)."""

from enum import IntEnum


class ExitCode(IntEnum):
    """All exit codes of `verdigris`."""

    PASS = 0
    FAIL = 1
    NOT_ENOUGH_DATA = 2
    BLIND = 3
    USAGE = 64
    """The command was called wrongly."""
    UNREADABLE = 65
    """`--strict`, and part of an input cannot be read; or a plan is invalid."""
    NO_INPUT = 66
    """An input or a rollout does not exist, or there is nothing in it."""
    NO_GUARD = 69
    """No guard answers."""
    INTERNAL = 70
    """A mistake of ours."""
    CANNOT_WRITE = 73
    """An output cannot be written."""
    STORE = 74
    """The span store failed."""
    CONFLICT = 75
    """The rollout cannot do what was asked now."""
    DENIED = 77
    """The guard does not permit it."""
    NO_KEY = 78
    """There is no key to sign with."""
    INTERRUPTED = 130
    """Ctrl-C, SIGTERM or SIGHUP."""
