"""What the judge tolerates and how sure it must be. A plan may change it, the judge may not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from verdigris.errors import VerdigrisError


class InvalidPolicy(VerdigrisError):
    """A tolerance or a level is out of range. Safe: nothing was judged; correct the value."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The candidate's rate may be up to `ratio` times the baseline's plus `difference`."""

    ratio: float = 1.0
    difference: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Levels and tolerances of a judgement.

    `alpha` bounds the chance that an unchanged candidate ever FAILs; `beta` the chance that a stream which is worse by its
    `…_pass` tolerance passes. Latency margins are shares of the baseline's quantile, rounded to whole histogram buckets
    (2.2 %). `latency_floor_share`: an operation may in any case become slower by this share of the mean duration of the
    traces it is part of; less does not matter to the people who wait.
    """

    alpha: float = 0.01
    beta: float = 0.05
    latency_margin: float = 0.09
    latency_margin_apart: float = 0.19
    """For recordings of different times, where drift does not cancel."""
    latency_floor_share: float = 0.01
    errors: Tolerance = field(default=Tolerance(1.1, 0.0005))
    refused: Tolerance = field(default=Tolerance(1.1, 0.0005))
    rejected: Tolerance = field(default=Tolerance(1.1, 0.005))
    structure: Tolerance = field(default=Tolerance(1.1, 0.005))
    new_error_kind: Tolerance = field(default=Tolerance(1.0, 0.00002))
    leaks: Tolerance = field(default=Tolerance(1.0, 0.00002))
    leaks_more: Tolerance = field(default=Tolerance(1.1, 0.0005))
    tolerated_leaks: Mapping[str, str] = field(default_factory=dict)
    """Detectors whose findings are no reason to go back, each with the reason why. What they find is masked all the same."""
    latency_margin_pass: float = 0.19
    errors_pass: Tolerance = field(default=Tolerance(1.5, 0.002))
    structure_pass: Tolerance = field(default=Tolerance(1.0, 0.02))

    def __post_init__(self) -> None:
        """Raises: InvalidPolicy."""
        if not (0 < self.alpha < 1 and 0 < self.beta < 1):
            msg = f"alpha ({self.alpha}) and beta ({self.beta}) must lie between 0 and 1"
            raise InvalidPolicy(msg)
        margins = (self.latency_margin, self.latency_margin_apart, self.latency_margin_pass, self.latency_floor_share)
        if min(margins) < 0:
            msg = "latency margins and the latency floor must not be negative"
            raise InvalidPolicy(msg)
        tolerances = (
            self.errors, self.refused, self.rejected, self.structure, self.new_error_kind, self.leaks, self.leaks_more,
            self.errors_pass, self.structure_pass,
        )  # fmt: skip
        if any(t.ratio < 1 or not 0 <= t.difference < 1 for t in tolerances):
            msg = "a tolerance's ratio must be at least 1 and its difference in [0, 1)"
            raise InvalidPolicy(msg)

    @property
    def tolerated_detectors(self) -> frozenset[str]:
        """The detectors whose findings are tolerated."""
        return frozenset(self.tolerated_leaks)
