"""Where spans are kept and windows come from: the port. One contract test suite runs against every implementation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import pyarrow as pa

from verdigris.errors import VerdigrisError
from verdigris.judge.attributes import AttributeCounts
from verdigris.judge.windows import Edge, Operation, Role, Windows
from verdigris.plan.identity import Identity

WINDOW_S = 10
"""Length of a window in seconds of event time."""

HORIZON_S = 60
"""How far around a period the spans of its traces are looked for, in seconds. What lies further off is cut, and counts as orphans."""

ATTRIBUTE_VALUES_MAX = 500
"""At most so many attribute values of an operation are counted."""

TRACE_SPANS_MAX = 2_000
"""At most so many spans of one example trace are returned."""

DURATION_MAX_NS = 366 * 86_400 * 1_000_000_000
"""Longer durations count as this one: a broken clock, and sums of them must stay within 128 bits."""

VALUE_CHARS_MAX = 200
"""Names and other values are cut to so many characters: enough to tell operations apart, and 32 KiB values cannot fill the memory."""

OPERATIONS_MAX = 2_000
"""Of a period's operations, over both roles, the busiest so many are told apart; the rest of each service is `OTHER`. A
hundred services of twenty routes fit; a million names made up by a sender do not reach the judge."""

SERVICES_MAX = 500
"""Of a period's services, over both roles, the busiest so many are told apart: twice what large systems show in one rollout's traces."""

VALUES_MAX = 100
"""Instances, error kinds, peers and what was masked per role and service, and sampling thresholds per role: the busiest so many
are told apart. The judge pools instances into five groups anyway."""

SIBLINGS_MAX = 16
"""Of the internal spans of one service under one parent, the first so many are covered by their siblings' calls. Real traces have one to
three; without a bound n of them beside n calls would cost n²."""

OTHER = "{other}"
"""What is pooled beyond a bound."""


PARTITION_S = 600
"""Spans are forgotten in slices of so many seconds of event time: at 100,000 spans a second and 40 bytes on disk for each, one is
2.4 GB. Whole days would not fit small disks; shorter slices would spread a late delivery over many files."""


class StoreError(VerdigrisError):
    """The span store refused or failed. Safe: what was acknowledged is kept; nothing was judged. Mend the cause, then try again."""


class StoreFull(StoreError):
    """There is no space for more spans. Safe: what was acknowledged is kept. Free some space; then it goes on."""


@dataclass(frozen=True, slots=True)
class Period:
    """Event time, nanoseconds since 1970: `start` inclusive, `end` exclusive, and how many spans start in it."""

    start_unix_nano: int
    end_unix_nano: int
    spans: int = 0


@dataclass(frozen=True, slots=True)
class StoredSlice:
    """What is forgotten together: the first and the last start of its spans (nanoseconds since 1970), their number, and bytes on disk."""

    first_unix_nano: int
    last_unix_nano: int
    spans: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Unassigned:
    """What no role's windows contain, and why. Spans that were delivered several times are counted once, except in `without_id`."""

    spans: int = 0
    """Spans that speak for neither role, in traces that touch neither."""
    shared_spans_of_mixed_traces: int = 0
    mixed_traces: int = 0
    ambiguous: int = 0
    """Spans that both matches claim. They count as shared spans, and say that the matches do not tell the roles apart."""
    clashing: int = 0
    """Spans left out because their trace has another, different span under the same id."""
    without_id: int = 0
    """Spans left out because their trace id or span id is empty or zero."""

    def __add__(self, other: "Unassigned") -> "Unassigned":
        """The two periods' together."""
        return Unassigned(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


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
    """Spans in, windows out. All methods raise `StoreError`, and may be called from several threads.

    `insert` is durable when it returns. `windows` is a function of the distinct spans stored: the order and the batching of
    the inserts do not matter, nor does a span that is delivered twice. What the windows mean stands in docs/windows.md.
    """

    def insert(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Keep a batch with the columns of `otel_traces`, in any order; one that lacks a column or has another one is refused whole."""

    def chunks(self, spans_max: int) -> Sequence[Period]:
        """All stored event time, cut at window boundaries into periods of about `spans_max` spans, ascending."""

    def windows(self, period: Period, identity: Identity) -> tuple[Windows, Unassigned]:
        """The windows of the traces that start in `period`, which begins and ends on multiples of the window."""

    def examples(
        self, period: Period, identity: Identity, operations: Sequence[Operation], limit: int, *, failed_first: bool = True
    ) -> Mapping[tuple[Role, Operation], Sequence[str]]:
        """Trace ids per role and operation: the baseline's most ordinary, the candidate's slowest, its failed ones first or last."""

    def examples_of_edge(self, period: Period, identity: Identity, edge: Edge, limit: int, *, absent: bool) -> Mapping[Role, Sequence[str]]:
        """Trace ids in which the candidate lacks the call and the baseline has it (`absent`), or the other way round."""

    def attributes(
        self, period: Period, identity: Identity, operation: Operation, keys: Sequence[str], slow_ns: int
    ) -> Sequence[AttributeCounts]:
        """How often values of these attributes stand on the candidate's bad spans of an operation and on its others.

        A span is bad when it failed or took more than `slow_ns` by itself. The first entry, with an empty key, counts all spans;
        then at most `ATTRIBUTE_VALUES_MAX`, the most frequent on bad spans first.
        """

    def trace(self, period: Period, identity: Identity, trace_id: str) -> Sequence[ExampleSpan]:
        """The spans of one trace of the period, ascending by start; at most `TRACE_SPANS_MAX`."""


class LiveSpanStore(SpanStore, Protocol):
    """A store that spans keep coming into: windows of several lengths, and an end for what is old. The same rules hold."""

    def viewed(self, window_s: int, horizon_s: int) -> "LiveSpanStore":
        """The same spans with windows of another length (seconds, at least 1) and another horizon (seconds, at least 0)."""

    def chunks(self, spans_max: int, within: Period | None = None) -> Sequence[Period]:
        """As in `SpanStore`; of `within` alone if given, which begins and ends on multiples of the window."""

    def slices(self) -> Sequence[StoredSlice]:
        """What is kept, ascending by the first start; each slice is forgotten whole. Two may overlap."""

    def forget(self, before_unix_nano: int) -> int:
        """Drop the slices all of whose spans start earlier. Returns how many spans went; their space comes free within a minute."""

    def size_bytes(self) -> int:
        """Bytes on disk, what is about to be freed included."""
