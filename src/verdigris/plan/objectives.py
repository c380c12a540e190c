"""Which tolerances hold for which operation: defaults, and exceptions by pattern."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from verdigris.plan.policy import Policy


@dataclass(frozen=True, slots=True)
class OperationPolicy:
    """Another policy for the operations whose text (`service kind name`) matches `pattern` (`*`, `?`)."""

    pattern: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class Objectives:
    """The plan's tolerances. The levels alpha and beta are always the defaults': they are budgets of the whole rollout."""

    defaults: Policy = field(default_factory=Policy)
    operations: tuple[OperationPolicy, ...] = ()

    def of(self, operation: str) -> Policy:
        """The policy of one operation, given as text; the first pattern that matches holds."""
        return next((e.policy for e in self.operations if fnmatchcase(operation, e.pattern)), self.defaults)
