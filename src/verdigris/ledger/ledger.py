"""Statements in, signed entries in a log; and back. What an entry means is in `statement`, how it is appended in `log`."""

import contextlib
import ctypes
from collections.abc import Iterator, Sequence

from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.log import LedgerDamaged, Log
from verdigris.ledger.note import VerifierKey
from verdigris.ledger.signing import Signer
from verdigris.ledger.statement import Clock, Statement, opened, signed

_UNSYNCHRONISED = 5
"""What adjtime answers where nothing disciplines the clock (TIME_ERROR)."""


class Ledger:
    """A log of statements by one signer. May be used from any thread."""

    def __init__(self, log: Log, signer: Signer, trusted: Sequence[VerifierKey] = ()) -> None:
        """`trusted`: keys whose entries are read beside the signer's own."""
        self.log, self.signer = log, signer
        self._also: list[Signer] = []
        self.doubt: str | None = None
        """What was found wrong when it was verified; while it stands, nothing is entered."""
        self.trusted = (*trusted, signer.key)

    def enter(self, statements: Sequence[Statement]) -> int:
        """Sign and append. Returns the index of the first; durable and in the tree. Raises: as `Log.append`; LedgerDamaged: in doubt."""
        if self.doubt is not None:
            msg = (
                f"{self.doubt}. Nothing is entered, and nothing moves except toward the baseline. Keep the files as they are, and run "
                "`verdigris audit verify`; once it finds nothing wrong, restart the guard, or send it SIGUSR1"
            )
            raise LedgerDamaged(msg)
        return self.log.append([signed(statement, self._signers(statement)) for statement in statements])

    def _signers(self, statement: Statement) -> list[Signer]:
        return [self.signer, *self._also] if statement.kind is Kind.KEY_ROTATED else [self.signer]

    @contextlib.contextmanager
    def signed_also_by(self, signer: Signer) -> Iterator[None]:
        """Inside, a rotation has a second signature: the key that takes over signs beside the one that it replaces."""
        self._also = [signer]
        self.trusted = (*self.trusted, signer.key)
        try:
            yield
        finally:
            self._also = []

    def since(self, index: int) -> Iterator[tuple[int, Statement]]:
        """Statements from an index on, as far as anybody has appended. Raises: InvalidEntry, LedgerUnavailable."""
        self.log.refresh()
        size = self.log.size
        for number, entry in enumerate(self.log.entries(min(index, size), size), index):
            yield number, opened(entry, self.trusted)[0]


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 256),
    )  # fmt: skip


def system_clock() -> Clock:
    """What the operating system says of its clock (adjtimex); where it does not say, it is not synchronised."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return Clock(synchronised=False)
    if state in (-1, _UNSYNCHRONISED):
        return Clock(synchronised=False)
    return Clock(synchronised=True, error_ms=timex.maxerror // 1000)
