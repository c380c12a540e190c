"""Which evidence the ledger calls erased, when and why. What is missing without such an entry was taken away, or lost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from verdigris.audit.record import Entry
from verdigris.ledger.entry_kinds import Kind
from verdigris.times import rfc3339

_WHY = {"retention": "because its retention had passed", "asked": "because somebody asked for it"}


@dataclass(frozen=True, slots=True)
class Erased:
    """What an entry says of a blob: when it was erased and why, "retention" or "asked"."""

    index: int
    unix_nano: int
    why: str

    @property
    def words(self) -> str:
        """For people."""
        return f"was erased at {rfc3339(self.unix_nano)[:19]}Z, {_WHY[self.why]} (entry {self.index})"


UNRECORDED = "was erased or never kept; its digest stays in the ledger, and no entry says that it was erased"


def erased_by(entries: Iterable[Entry]) -> dict[str, Erased]:
    """What these entries call erased, by digest; the last one that does."""
    found: dict[str, Erased] = {}
    for entry in entries:
        statement = entry.statement
        digests = statement.values.get("erased") if statement.kind is Kind.EVIDENCE_ERASED else None
        for digest in digests if isinstance(digests, tuple) else ():
            found[digest] = Erased(entry.index, statement.unix_nano, str(statement.values["why"]))
    return found


def words_for(digest: str, erased: Mapping[str, Erased]) -> str:
    """What is to be said of a blob that is not there."""
    return erased[digest].words if digest in erased else UNRECORDED
