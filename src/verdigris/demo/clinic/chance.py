"""Everything accidental in the system: which requests fail, how long work takes. Seeded, so a run repeats."""

import math
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Chance:
    """A source of accidents per request and place, independent of the order in which threads ask."""

    seed: int
    role: str
    """Part of the key: both roles get the same requests, but a slow disk in one says nothing about the other."""

    def at(self, place: str, request_id: str) -> Random:
        """The accidents of one request at one place: the same sequence for the same seed, role, place and request."""
        return Random(f"{self.seed}:{self.role}:{place}:{request_id}")  # noqa: S311 - jitter, not a secret


def natural_s(accidents: Random, median_s: float, sigma: float = 0.25) -> float:
    """How long a piece of work takes: log-normal, as latencies are. Returns: seconds, above 0."""
    return accidents.lognormvariate(math.log(median_s), sigma)
