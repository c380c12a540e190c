"""Where spans are kept and windows come from: the port. One contract test suite runs against every implementation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from verdigris.errors import VerdigrisError
from verdigris.judge.windows import Edge, Operation, Role, Windows
from verdigris.plan.identity import Identity

WINDOW_S = 10
"""Length of a window in seconds of event time."""

HORIZON_S = 60
"""How far around a period the spans of its traces are looked for, in seconds. What lies further off is cut, and counts as orphans."""

TRACE_SPANS_MAX = 2_000
"""At most so many spans of one example trace are returned."""


class StoreError(VerdigrisError):
    """The span store refused or failed. Safe: what was acknowledged is kept; nothing was judged. Mend the cause, then try again."""


@dataclass(frozen=True, slots=True)
class Period:
    """Event time, nanoseconds since 1970: `start` inclusive, `end` exclusive, and how many spans start in it."""

    start_unix_nano: int
    end_unix_nano: int
    spans: int = 0


@dataclass(frozen=True, slots=True)
class Unassigned:
    """What no role's windows contain."""

    spans: int = 0
    """Spans that speak for neither role, in traces that touch neither."""
    shared_spans_of_mixed_traces: int = 0
    mixed_traces: int = 0

    def __add__(self, other: "Unassigned") -> "Unassigned":
        """The two periods' together."""
        return Unassigned(
            self.spans + other.spans,
            self.shared_spans_of_mixed_traces + other.shared_spans_of_mixed_traces,
            self.mixed_traces + other.mixed_traces,
        )


@dataclass(frozen=True, slots=True)
class ExampleSpan:
    """One span of an example trace, for people to look at. Times in nanoseconds; `status` is empty when the span is well."""

    span_id: str
    parent_id: str
    role: Role | None
    operation: Operation
    instance: str
    start_unix_nano: int
    duration_ns: int
    exclusive_ns: int
    status: str


class SpanStore(Protocol):
    """Spans in, windows out. All methods raise `StoreError`.

    `insert` is durable when it returns. `windows` is a function of the distinct spans stored: the order and the batching of
    the inserts do not matter, nor does a span that is delivered twice.
    """

    def insert(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Keep a batch with the columns of `otel_traces`."""

    def chunks(self, spans_max: int) -> Sequence[Period]:
        """All stored event time, cut at window boundaries into periods of about `spans_max` spans, ascending."""

    def windows(self, period: Period, identity: Identity) -> tuple[Windows, Unassigned]:
        """The windows of the traces that start in `period`, which begins and ends on multiples of the window."""

    def examples(
        self, period: Period, identity: Identity, operations: Sequence[Operation], limit: int
    ) -> Mapping[tuple[Role, Operation], Sequence[str]]:
        """Trace ids per role and operation: the baseline's most ordinary, the candidate's worst (failed first, then slowest)."""

    def examples_of_edge(
        self, period: Period, identity: Identity, edge: Edge, limit: int, *, absent: bool
    ) -> Mapping[Role, Sequence[str]]:
        """Trace ids in which the candidate lacks the call and the baseline has it (`absent`), or the other way round."""

    def trace(self, period: Period, identity: Identity, trace_id: str) -> Sequence[ExampleSpan]:
        """The spans of one trace of the period, ascending by start; at most `TRACE_SPANS_MAX`."""
