"""What can go wrong before a single span is read, as one branch of the error tree.

    VerdigrisError
    └── SourceError             something about the recordings that were named
        ├── InputNotFound       a path that does not exist
        ├── NothingToRead       a folder or a pattern without files, or no input at all
        ├── UnknownFormat       content that is no recording we can read
        ├── Unreadable          content that cannot be read any further
        └── AlreadyRead         a reading was started a second time

`UnknownFormat` and `Unreadable` concern one source among several: `Reading` turns them into a `Problem` and goes on
with the next source. The others stop before anything was read. Safe in every case: reading changes nothing.
"""

from verdigris.errors import VerdigrisError


class SourceError(VerdigrisError):
    """Something about the recordings that were named is wrong. Safe: nothing was changed."""


class InputNotFound(SourceError):
    """A named file or folder does not exist. Safe: nothing was read; correct the path and start again."""


class NothingToRead(SourceError):
    """A folder, a pattern or the whole command names no file. Safe: nothing was read."""


class UnknownFormat(SourceError):
    """The content is no recording we can read; the message says what it looks like and what we can read."""


class Unreadable(SourceError):
    """The content cannot be read past a point, because its structure is broken there.

    Args:
        where: the place, as in `Problem.where`.
        what: what is wrong there, without values from the content (they may be sensitive).
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class AlreadyRead(SourceError):
    """A reading is read once: its counts would otherwise count twice. Safe: make a new `Reading`."""
