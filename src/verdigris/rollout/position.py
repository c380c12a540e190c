"""Where one rollout stands: a value that moves by the transition table. Pure; it is what a restarted guard goes on from."""

from dataclasses import dataclass, replace

from verdigris.errors import VerdigrisError
from verdigris.plan.plan import Plan
from verdigris.rollout.transitions import TERMINAL, Event, Phase, after
from verdigris.traffic.data_plane import BASELINE_ONLY, Routing

FORMAT = 1
"""Raised when a position means something else than before. A guard goes on only from positions whose format it knows."""


class UnknownFormat(VerdigrisError):
    """Another version of the guard wrote this position. Safe: the lease ends, and the baseline has all traffic. Use that version."""


@dataclass(frozen=True, slots=True)
class Position:
    """A rollout's place in its plan.

    `sequence` counts transitions. `step` is the index of the plan's step that is (or is about to be) in force; -1 before the first,
    and the number of steps for the switch. `step_since_unix_s` is when its weight was read back; `first_shift_unix_s` likewise for
    the first. `reason` says why the phase is what it is.
    """

    phase: Phase = Phase.PLANNED
    sequence: int = 0
    step: int = -1
    since_unix_s: float = 0.0
    step_since_unix_s: float | None = None
    first_shift_unix_s: float | None = None
    reason: str = ""
    format: int = FORMAT

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.phase in TERMINAL

    def moved(self, event: Event, reason: str, now_unix_s: float) -> "Position":
        """The position after an event. Raises: IllegalTransition."""
        phase = after(self.phase, event)
        forward = event in {Event.READY, Event.STEP_PASSED, Event.APPROVED}
        in_force = event in {Event.STEP_IN_FORCE, Event.SWITCH_IN_FORCE}
        first = self.first_shift_unix_s
        return replace(
            self,
            phase=phase,
            sequence=self.sequence + 1,
            step=self.step + 1 if forward else self.step,
            since_unix_s=now_unix_s,
            step_since_unix_s=now_unix_s if in_force else None if forward else self.step_since_unix_s,
            first_shift_unix_s=now_unix_s if in_force and first is None else first,
            reason=reason,
        )

    def routing(self, plan: Plan) -> Routing:
        """What should be in force here."""
        if self.phase in {Phase.PLANNED, Phase.PREFLIGHT, Phase.RETURNING, Phase.ROLLED_BACK} or self.step < 0:
            return BASELINE_ONLY
        if self.phase is Phase.COMMITTED:
            return Routing(100.0)
        return routing_of(plan, self.step)


def routing_of(plan: Plan, step: int) -> Routing:
    """What a step of the plan asks for; the switch comes after the last and leaves the holdback on the baseline."""
    if step >= len(plan.steps):
        return Routing(100.0 - plan.bake_holdback_percent)
    wanted = plan.steps[step]
    return Routing(wanted.weight_percent, wanted.mirror_percent, chosen_users=bool(plan.traffic.settings.get("chosen_users")))
