"""Windows added up, in a size that does not grow with their number: what findings are measured on and causes ranked by.

Two sums: everything, and what was seen lately, so that a fault that begins late is not measured on the healthy hours before it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from verdigris.judge.windows import Edge, EdgeCounts, Operation, OperationCounts, RoleWindow, TraceCounts, Window

LATELY_WINDOWS = 24
"""The last so many windows, up to twice as many, are "lately"."""

NEW_OPERATIONS_MAX, NEW_EDGES_MAX = 200, 1_000
"""Operations (by label) and edges that the reference does not know: the first so many are added up, more are not."""

VALUES_MAX = 100
OTHER = "{other}"
"""Error kinds, peers, services, thresholds and what was masked are counted apart up to so many each; the rest is pooled."""

Name = TypeVar("Name")
Key = TypeVar("Key")
Row = TypeVar("Row")
_SUMS = (
    "spans",
    "requests",
    "errors",
    "error_origins",
    "refused",
    "rejected",
    "orphans",
    "childless",
    "duration_ns",
    "exclusive_ns",
    "trace_ns",
)


@dataclass(frozen=True, slots=True)
class Half:
    """One role's sum. Operations by instance label (a group of instances has one)."""

    traces: TraceCounts = field(default_factory=TraceCounts)
    operations: Mapping[tuple[Operation, str], OperationCounts] = field(default_factory=dict)
    edges: Mapping[Edge, EdgeCounts] = field(default_factory=dict)

    def window(self) -> RoleWindow:
        """As one window."""
        rows = tuple(self.operations[key] for key in sorted(self.operations))
        return RoleWindow(self.traces, rows, tuple(self.edges[edge] for edge in sorted(self.edges)))


@dataclass(frozen=True, slots=True)
class Sum:
    """Both roles' sums over some windows."""

    windows: int = 0
    baseline: Half = field(default_factory=Half)
    candidate: Half = field(default_factory=Half)

    def window(self) -> Window:
        """As one window."""
        return Window(0, self.baseline.window(), self.candidate.window())


@dataclass(frozen=True, slots=True)
class Merged:
    """`older` holds what is neither in `block` (the last full one) nor in `filling`."""

    older: Sum = field(default_factory=Sum)
    block: Sum = field(default_factory=Sum)
    filling: Sum = field(default_factory=Sum)

    def lately(self) -> Window:
        """The last windows as one."""
        return _together(self.block, self.filling).window()

    def everything(self) -> Window:
        """All windows as one."""
        return _together(_together(self.older, self.block), self.filling).window()

    def traces(self) -> tuple[TraceCounts, TraceCounts]:
        """All traces of the baseline and of the candidate."""
        base = [s.baseline.traces for s in (self.older, self.block, self.filling)]
        cand = [s.candidate.traces for s in (self.older, self.block, self.filling)]
        return _traces(_traces(base[0], base[1]), base[2]), _traces(_traces(cand[0], cand[1]), cand[2])


@dataclass(frozen=True, slots=True)
class Known:
    """What the reference knows, and how the candidate's instances are labelled (by service and instance)."""

    operation: Callable[[Operation], bool]
    edge: Callable[[Edge], bool]
    label: Callable[[str, str], str]


def with_window(merged: Merged, window: Window, known: Known) -> Merged:
    """One window more, if either role has a trace in it. Of the baseline, instances are not told apart."""
    if not window.baseline.traces.traces and not window.candidate.traces.traces:
        return merged
    everyone = replace(known, label=lambda _service, _instance: "all")
    filling = Sum(
        merged.filling.windows + 1,
        _add(merged.filling.baseline, _rows(window.baseline, everyone), everyone),
        _add(merged.filling.candidate, _rows(window.candidate, known), known),
    )
    if filling.windows < LATELY_WINDOWS:
        return replace(merged, filling=filling)
    return Merged(_together(merged.older, merged.block, known), filling, Sum())


def _rows(half: RoleWindow, known: Known) -> Half:
    operations: dict[tuple[Operation, str], OperationCounts] = {}
    for counts in half.operations:
        key = (counts.operation, known.label(counts.operation.service, counts.instance))
        operations[key] = _operation(operations[key], counts) if key in operations else replace(counts, instance=key[1])
    return Half(half.traces, operations, {e.edge: e for e in half.edges})


def _together(one: Sum, two: Sum, known: Known | None = None) -> Sum:
    """Without `known` nothing is bounded, beyond what bounds either part."""
    baseline, candidate = _add(one.baseline, two.baseline, known), _add(one.candidate, two.candidate, known)
    return Sum(one.windows + two.windows, baseline, candidate)


def _add(one: Half, two: Half, known: Known | None) -> Half:
    operations, edges = dict(one.operations), dict(one.edges)
    knows_row = None if known is None else lambda key: known.operation(key[0])
    knows_edge = None if known is None else known.edge
    for (operation, label), counts in _room(one.operations, two.operations, knows_row, NEW_OPERATIONS_MAX):
        before = operations.get((operation, label))
        operations[operation, label] = counts if before is None else _operation(before, counts)
    for edge, made in _room(one.edges, two.edges, knows_edge, NEW_EDGES_MAX):
        edges[edge] = _edge(edges[edge], made) if edge in edges else made
    return Half(_traces(one.traces, two.traces), operations, edges)


def _room(have: Mapping[Key, Row], more: Mapping[Key, Row], known: Callable[[Key], bool] | None, new_max: int) -> Iterator[tuple[Key, Row]]:
    """What of `more` is added: all that is known or there already, and new keys while there are fewer than `new_max`."""
    if known is None or all(key in have or known(key) for key in more):
        yield from more.items()
        return
    new = sum(not known(key) for key in have)
    for key, row in more.items():
        if key not in have and not known(key):
            if new >= new_max:
                continue
            new += 1
        yield key, row


def _operation(one: OperationCounts, two: OperationCounts) -> OperationCounts:
    return OperationCounts(
        one.operation,
        one.instance,
        **{name: getattr(one, name) + getattr(two, name) for name in _SUMS},
        error_kinds=_bounded(one.error_kinds, two.error_kinds),
        durations=_summed(one.durations, two.durations),
        exclusives=_summed(one.exclusives, two.exclusives),
        peers=_bounded(one.peers, two.peers),
        masked=_bounded(one.masked, two.masked),
    )


def _edge(one: EdgeCounts, two: EdgeCounts) -> EdgeCounts:
    return EdgeCounts(one.edge, one.present + two.present, one.last + two.last, _summed(one.calls, two.calls))


def _traces(one: TraceCounts, two: TraceCounts) -> TraceCounts:
    sums = {f.name: getattr(one, f.name) + getattr(two, f.name) for f in fields(TraceCounts) if f.name not in {"services", "thresholds"}}
    return TraceCounts(**sums, services=_bounded(one.services, two.services), thresholds=_bounded(one.thresholds, two.thresholds))


def _summed(one: Mapping[Name, int], two: Mapping[Name, int]) -> dict[Name, int]:
    found = dict(one)
    for name, units in two.items():
        found[name] = found.get(name, 0) + units
    return found


def _bounded(one: Mapping[str, int], two: Mapping[str, int]) -> dict[str, int]:
    found = dict(one)
    for name, units in sorted(two.items()):
        key = name if name in found or len(found) < VALUES_MAX else OTHER
        found[key] = found.get(key, 0) + units
    return found
