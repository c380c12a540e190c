"""The root of what goes wrong with the record."""

from verdigris.errors import VerdigrisError


class LedgerError(VerdigrisError):
    """Something about the record is not as it must be. Safe: nothing that depends on it was believed or done."""
