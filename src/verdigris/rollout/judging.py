"""Judges a rollout's looks in their order. What it finds depends on the plan, the reference and the looks, and on nothing else: whoever
has kept these three finds the same, at any time.
"""

from collections import deque

from verdigris.judge.live import LiveJudgement, begin_step, judgement, look, open_judge, reanchored
from verdigris.judge.reference import Reference, learn
from verdigris.judge.windows import Window, Windows
from verdigris.plan.plan import Plan
from verdigris.rollout.evidence import Look

RELEARN_WINDOWS_MIN = 10
"""With fewer windows behind it, a step is asked by the reference from before the rollout."""


class Judging:
    """From one reference on. No clock, no disk, no chance."""

    def __init__(self, plan: Plan, reference: Reference) -> None:
        """Nothing was looked at yet."""
        self._plan = plan
        self._state = open_judge(reference, plan.objectives)
        observation = plan.observation
        self._recent: deque[Window] = deque(maxlen=max(RELEARN_WINDOWS_MIN, int(observation.reference_s // observation.window_s)))
        self._step = self._since_learned = 0

    def take(self, seen: Look) -> None:
        """The next look. Raises: OutOfOrder."""
        if seen.step != self._step and seen.step < len(self._plan.steps):
            self._state, self._since_learned = begin_step(self._state, self._relearned()), 0
        elif self._since_learned >= (self._recent.maxlen or 0) and (newer := self._relearned()) is not None:
            self._state, self._since_learned = reanchored(self._state, newer), 0
        self._step, self._since_learned = seen.step, self._since_learned + 1
        self._state = look(self._state, seen.window, seen.proxied)
        if seen.window.baseline.traces.traces:
            self._recent.append(seen.window)

    def judgement(self) -> LiveJudgement:
        """What all looks so far mean."""
        return judgement(self._state)

    def _relearned(self) -> Reference | None:
        """The baseline as it was in the last windows, if they are enough; what came before is all that it depends on."""
        if len(self._recent) < RELEARN_WINDOWS_MIN:
            return None
        return learn(Windows(self._plan.observation.window_s, tuple(self._recent)), self._plan.objectives)
