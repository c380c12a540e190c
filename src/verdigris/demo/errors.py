"""What can go wrong when a demonstration runs, as one branch of the error tree.

    VerdigrisError
    └── DemoError               something about a demonstration
        ├── DemoExtraMissing    OpenTelemetry's SDK is not installed
        ├── DemoFailed          a live case could not be carried out
        ├── ImpossibleLoad      the load that was asked for is out of bounds
        └── RecordingFailed     the system ran, but its spans are not to be trusted or could not be written

Safe in every case: a finished recording under its final name is never changed, and no process is left running.
"""

from verdigris.errors import VerdigrisError


class DemoError(VerdigrisError):
    """A demonstration cannot go on. Safe: no finished recording was changed."""


class DemoExtraMissing(DemoError):
    """The optional dependencies are missing. Safe: nothing was started; the message says what to install."""


class DemoFailed(DemoError):
    """A live case could not be carried out. Safe: everything that it started is stopped; its logs are kept and named."""


class ImpossibleLoad(DemoError):
    """The load is out of bounds. Safe: nothing was started; the message has the bounds."""


class RecordingFailed(DemoError):
    """The recording is incomplete and was thrown away. Safe: nothing of it is left; run it again."""
