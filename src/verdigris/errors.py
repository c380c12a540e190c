"""The tree of everything Verdigris raises on purpose. Each error says what went wrong, what is safe now and what to do.

VerdigrisError
├── InvalidIdentity          plan: a role's match cannot be read
├── InvalidPolicy            plan: a tolerance or level is out of range
├── StoreError               telemetry: the span store refused or failed
└── SourceError …            telemetry.sources: an input cannot be opened or read
"""


class VerdigrisError(Exception):
    """Base of all errors that Verdigris raises on purpose."""
