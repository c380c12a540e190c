"""Asks every control's rule about one rollout. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from verdigris.compliance.answers import Answer, State
from verdigris.compliance.catalogue import CATALOGUE, Control
from verdigris.compliance.consent import Entry, EvidenceOf
from verdigris.compliance.facts import Facts


@dataclass(frozen=True, slots=True)
class Assessed:
    """What one rollout says of one control."""

    control: Control
    answer: Answer


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one rollout says of all of them, in the order of the catalogue."""

    facts: Facts
    controls: tuple[Assessed, ...]

    def of(self, state: State) -> tuple[Assessed, ...]:
        """The controls with one kind of answer."""
        return tuple(one for one in self.controls if one.answer.state is state)


def assess(
    entries: Sequence[Entry], evidence: EvidenceOf, controls: Sequence[Control] = CATALOGUE, *, ledger: Sequence[Entry] = (),
    as_of_unix_s: float | None = None,
) -> Assessment:  # fmt: skip
    """The assessment of one rollout from its entries, at least one, in order. `evidence` gives blobs by digest, and has checked them.

    `ledger` and `as_of_unix_s`: as in `Facts`. Raises: what `evidence` raises.
    """
    facts = Facts(entries, evidence, ledger, as_of_unix_s)
    return Assessment(facts, tuple(Assessed(control, control.rule(facts)) for control in controls))
