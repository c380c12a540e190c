"""Traffic that moved and that no rollout explains: somebody changed weights by hand, or a guard with another record did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from verdigris.audit.record import Entry
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.statement import Outcome
from verdigris.times import rfc3339
from verdigris.traffic.data_plane import RESOLUTION_PERCENT


@dataclass(frozen=True, slots=True)
class Unexplained:
    """One such change.

    `rollout`: the one that ran, or after whose end it was seen; None where the record has none of that plan. `percent`: what the proxy sent
    to the candidate, `expected_percent`: what the record says that it should; None: it was not asked for anything with that generation.
    """

    index: int
    unix_nano: int
    rollout: str | None
    running: bool
    percent: float
    expected_percent: float | None
    committed: bool | None

    @property
    def words(self) -> str:
        """For people."""
        when = f"at {rfc3339(self.unix_nano)[:19]}Z the proxy sent {self.percent:g} % to the candidate"
        durable = {True: ", by its durable default", False: "", None: ""}[self.committed]
        expected = "nobody had asked for it" if self.expected_percent is None else f"the record says {self.expected_percent:g} %"
        where = "while the rollout ran" if self.running else "after the rollout had ended"
        return f"{when}{durable}, {where}, and {expected} (entry {self.index})"


def unexplained(entries: Iterable[Entry]) -> list[Unexplained]:
    """All of a record, in the order of its entries, which must be all from the first."""
    newest: dict[str, str] = {}
    intended: dict[str, dict[Value, float]] = {}
    found = []
    for entry in entries:
        statement = entry.statement
        values, rollout = statement.values, statement.rollout
        if statement.kind is Kind.TRAFFIC_CHANGED:
            expected = _number(values, "recordedPercent")
            found.append(_seen(entry, newest.get(str(values["plan"])), expected, running=False))
        if rollout is None or statement.plan is None:
            continue
        newest[statement.plan] = rollout
        asked = intended.setdefault(rollout, {})
        if statement.kind in {Kind.WEIGHT_INTENDED, Kind.COMMIT_INTENDED}:
            asked[values["generation"]] = _number(values, "candidatePercent") or 0.0
        elif statement.kind is Kind.WEIGHT_OBSERVED and statement.outcome is Outcome.FAILED:
            percent, expected = _number(values, "candidatePercent"), asked.get(values["generation"])
            # What could not be put in force leaves the weight from before, which was asked for then.
            if percent and (expected is None or abs(percent - expected) > RESOLUTION_PERCENT / 2):
                found.append(_seen(entry, rollout, expected, running=True))
        elif statement.kind is Kind.ROLLOUT_ENDED:
            del intended[rollout]
    return found


def _seen(entry: Entry, rollout: str | None, expected: float | None, *, running: bool) -> Unexplained:
    values = entry.statement.values
    committed = values["committed"]
    return Unexplained(
        entry.index, entry.statement.unix_nano, rollout, running, _number(values, "candidatePercent") or 0.0, expected,
        committed if isinstance(committed, bool) else None,
    )  # fmt: skip


def _number(values: Mapping[str, Value], name: str) -> float | None:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
