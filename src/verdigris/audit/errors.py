"""What goes wrong when a record is read or exported."""

from verdigris.errors import VerdigrisError


class NoRecord(VerdigrisError):
    """There is no record here, or it cannot be read. Safe: nothing was changed."""


class NoSuchEntry(VerdigrisError):
    """The record has no such rollout or entry. Safe: nothing was changed."""


class CannotExport(VerdigrisError):
    """A pack or a report cannot be written. Safe: the record was not changed; what was written of it is of no use."""
