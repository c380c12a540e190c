"""The states of a rollout as a table. Pure. What is not in the table cannot happen.

Forward leads only through WATCHING, and only on a step's own evidence; every doubt leads to HOLDING or RETURNING.
`docs/life-of-a-rollout.md` shows this table as a picture that is drawn from it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from verdigris.errors import VerdigrisError


class IllegalTransition(VerdigrisError):
    """This event cannot happen in this phase. Safe: nothing changed."""


class Phase(StrEnum):
    """Where a rollout stands."""

    PLANNED = "planned"
    PREFLIGHT = "preflight"
    WAITING_FOR_APPROVAL = "waiting for approval"
    SHIFTING = "shifting"
    WATCHING = "watching"
    HOLDING = "holding"
    RETURNING = "returning"
    ROLLED_BACK = "rolled back"
    BAKING = "baking"
    COMMITTING = "committing"
    COMMITTED = "committed"
    FROZEN = "frozen"


class Event(StrEnum):
    """What moves it."""

    BEGUN = "begun"
    READY = "ready"
    """Preflight passed: the proxy answers, the baseline is learned."""
    APPROVAL_NEEDED = "approval needed"
    APPROVED = "approved"
    STEP_IN_FORCE = "step in force"
    """The proxy says that the step's weight is in force."""
    SWITCH_IN_FORCE = "switch in force"
    """The proxy says that all traffic goes to the candidate."""
    UNDECIDED = "undecided"
    STEP_PASSED = "step passed"
    FAILED = "failed"
    """FAIL, BLIND, or the absolute guard."""
    FAILED_IRREVERSIBLE = "failed, and the baseline cannot run on the data"
    CANNOT_TELL = "cannot tell"
    """The proxy does not answer, or says something else than was asked."""
    EVIDENCE_MISSING = "evidence missing"
    """A deadline passed, or the watching itself was interrupted."""
    HOLD_ASKED = "hold asked"
    RESUMED = "resumed"
    RESUMED_BEFORE_TRAFFIC = "resumed before any traffic"
    RETURN_ASKED = "return asked"
    """By a person, or by the plan where a deadline passed."""
    BAKED = "baked"
    COMMIT_IN_FORCE = "commit in force"
    BASELINE_IN_FORCE = "baseline in force"
    """The proxy says that all traffic goes to the baseline, durably."""


TERMINAL = frozenset({Phase.ROLLED_BACK, Phase.COMMITTED})
"""Where a rollout ends."""

ON_TRAFFIC = frozenset({Phase.SHIFTING, Phase.WATCHING, Phase.HOLDING, Phase.BAKING, Phase.COMMITTING, Phase.FROZEN})
"""Phases in which the candidate may have traffic, on a lease."""

_BACK = {Event.RETURN_ASKED: Phase.RETURNING}
_WORSE = {Event.FAILED: Phase.RETURNING, Event.FAILED_IRREVERSIBLE: Phase.FROZEN, **_BACK}
_DOUBT = {Event.EVIDENCE_MISSING: Phase.HOLDING, Event.HOLD_ASKED: Phase.HOLDING}

TRANSITIONS: Mapping[Phase, Mapping[Event, Phase]] = MappingProxyType({
    Phase.PLANNED: {Event.BEGUN: Phase.PREFLIGHT, **_BACK},
    Phase.PREFLIGHT: {
        Event.UNDECIDED: Phase.PREFLIGHT,
        Event.READY: Phase.SHIFTING,
        Event.APPROVAL_NEEDED: Phase.WAITING_FOR_APPROVAL,
        Event.FAILED: Phase.RETURNING,
        Event.CANNOT_TELL: Phase.HOLDING,
        **_DOUBT,
        **_BACK,
    },
    Phase.WAITING_FOR_APPROVAL: {
        Event.UNDECIDED: Phase.WAITING_FOR_APPROVAL,
        Event.APPROVED: Phase.SHIFTING,
        Event.CANNOT_TELL: Phase.RETURNING,
        **_DOUBT,
        **_WORSE,
    },
    Phase.SHIFTING: {
        Event.STEP_IN_FORCE: Phase.WATCHING,
        Event.SWITCH_IN_FORCE: Phase.BAKING,
        Event.CANNOT_TELL: Phase.RETURNING,
        **_DOUBT,
        **_WORSE,
    },
    Phase.WATCHING: {
        Event.UNDECIDED: Phase.WATCHING,
        Event.STEP_PASSED: Phase.SHIFTING,
        Event.APPROVAL_NEEDED: Phase.WAITING_FOR_APPROVAL,
        Event.CANNOT_TELL: Phase.RETURNING,
        **_DOUBT,
        **_WORSE,
    },
    Phase.HOLDING: {
        Event.UNDECIDED: Phase.HOLDING,
        Event.RESUMED: Phase.SHIFTING,
        Event.RESUMED_BEFORE_TRAFFIC: Phase.PREFLIGHT,
        Event.CANNOT_TELL: Phase.RETURNING,
        **_DOUBT,
        **_WORSE,
    },
    Phase.FROZEN: {
        Event.UNDECIDED: Phase.FROZEN,
        Event.RESUMED: Phase.SHIFTING,
        Event.CANNOT_TELL: Phase.FROZEN,
        **_BACK,
    },
    Phase.BAKING: {
        Event.UNDECIDED: Phase.BAKING,
        Event.BAKED: Phase.COMMITTING,
        Event.CANNOT_TELL: Phase.RETURNING,
        **_DOUBT,
        **_WORSE,
    },
    Phase.COMMITTING: {
        Event.COMMIT_IN_FORCE: Phase.COMMITTED,
        Event.CANNOT_TELL: Phase.RETURNING,
        **_BACK,
    },
    Phase.RETURNING: {
        Event.CANNOT_TELL: Phase.RETURNING,
        Event.RETURN_ASKED: Phase.RETURNING,
        Event.BASELINE_IN_FORCE: Phase.ROLLED_BACK,
    },
    Phase.ROLLED_BACK: {},
    Phase.COMMITTED: {},
})  # fmt: skip
"""Phase, and for each event that can happen in it, the phase that follows."""


def after(phase: Phase, event: Event) -> Phase:
    """The phase that follows. Raises: IllegalTransition."""
    try:
        return TRANSITIONS[phase][event]
    except KeyError:
        possible = ", ".join(TRANSITIONS[phase]) or "nothing, it has ended"
        msg = f"a rollout that is {phase.value} cannot take {event.value!r}; it can take: {possible}"
        raise IllegalTransition(msg) from None


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    names = {phase: phase.name.lower() for phase in Phase}
    lines = ["stateDiagram-v2", "    [*] --> planned"]
    lines += [f"    {names[p]}: {p.value}" for p in Phase if p.value != names[p]]
    for phase, row in TRANSITIONS.items():
        labels: dict[Phase, list[str]] = {}
        for event, following in row.items():
            if following is not phase:
                labels.setdefault(following, []).append(event.value)
        lines += [f"    {names[phase]} --> {names[following]}: {' / '.join(events)}" for following, events in labels.items()]
    lines += [f"    {names[phase]} --> [*]" for phase in Phase if phase in TERMINAL]
    return "\n".join(lines) + "\n"
