"""What can be said of a control from one rollout: evidenced, contradicted, or not covered by it. Values."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The three answers. None of them says that anybody complies with anything."""

    EVIDENCED = "evidenced"
    CONTRADICTED = "contradicted"
    NOT_COVERED = "not covered by this rollout"


@dataclass(frozen=True, slots=True)
class Evidenced:
    """Entries show what the control asks for, for this rollout.

    Args:
        entries: their indices in the ledger.
        why: what they show.
        lacking: parts of the control that they do not show; each must be evidenced elsewhere.
    """

    entries: tuple[int, ...]
    why: str
    lacking: tuple[str, ...] = ()
    state = State.EVIDENCED


@dataclass(frozen=True, slots=True)
class Contradicted:
    """Entries show the opposite of what the control asks for. `entries`: where."""

    entries: tuple[int, ...]
    why: str
    state = State.CONTRADICTED
    lacking = ()


@dataclass(frozen=True, slots=True)
class NotCovered:
    """Nothing in the record speaks for or against it."""

    why: str
    state = State.NOT_COVERED
    entries = ()
    lacking = ()


Answer = Evidenced | Contradicted | NotCovered
