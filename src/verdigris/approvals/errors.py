"""What all errors of this room are."""

from verdigris.errors import VerdigrisError


class ApprovalError(VerdigrisError):
    """Something was not said, or not by one who may say it. Safe: it was not counted, and no gate opened by it."""
