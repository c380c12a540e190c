"""How well or badly the clinic behaves: the only numbers in which baseline and candidate can differ."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Shares are in [0, 1] of the calls at that place, times are seconds."""

    version: str
    insurer_api: str
    """The insurer's API version that eligibility asks: a path segment."""
    insurer_slow_share: float = 0.0
    insurer_extra_s: tuple[float, float] = (0.150, 0.350)
    insurer_unavailable_share: float = 0.002
    database_locked_share: float = 0.001


BASELINE = Behaviour(version="1.8.2", insurer_api="v1")
CANDIDATE = Behaviour(version="2.0.0", insurer_api="v2", insurer_slow_share=0.35)
