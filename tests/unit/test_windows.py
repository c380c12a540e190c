"""Windows as values: merged, written down, digested; the bounds that docs/windows.md states; and recordings made of chunks."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from verdigris.comparison.recordings import CHUNK_SPANS, AmbiguousIdentity, Input, Recording
from verdigris.judge.attributes import AttributeCounts
from verdigris.judge.windows import (
    UNIT,
    Edge,
    EdgeCounts,
    Operation,
    OperationCounts,
    Role,
    RoleWindow,
    TraceCounts,
    Window,
    Windows,
    merge,
)
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.telemetry import store as bounds
from verdigris.telemetry.sources import ReadCounts
from verdigris.telemetry.store import ExampleSpan, Period, Unassigned

CART = Operation("cart", "Server", "GET /cart/{id}")
DATABASE = Operation("cart", "Client", 'SELECT "ü"')


def half(errors: int = 0, traces: int = 1) -> RoleWindow:
    cart = OperationCounts(CART, "i-1", traces, traces * UNIT, errors=errors, durations={10: UNIT, 9: UNIT}, error_kinds={"b": 1, "a": 2})
    return RoleWindow(
        TraceCounts(traces, 2 * traces, services={"cart": traces}), (cart,), (EdgeCounts(Edge(CART, DATABASE), UNIT, UNIT, {1: UNIT}),)
    )


def test_roles_of_different_recordings_meet_in_one_window() -> None:
    merged = merge(
        [Windows(10, (Window(20, baseline=half()),)), Windows(10, (Window(10, candidate=half()), Window(20, candidate=half(3))))]
    )
    assert merged == Windows(10, (Window(10, candidate=half()), Window(20, half(), half(3))))
    assert merged.windows[1].of(Role.CANDIDATE) == half(3)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([Windows(10, (Window(20, half()),)), Windows(10, (Window(20, half()),))], "two parts have the baseline in the window at 20"),
        ([Windows(10, ()), Windows(60, ())], "windows of \\[10, 60\\] seconds"),
        ([], "one length"),
    ],
)
def test_what_cannot_be_merged_is_refused(parts: list[Windows], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        merge(parts)


def test_windows_without_traces_leave_no_mark() -> None:
    assert merge([Windows(10, (Window(0), Window(10, half())))]) == Windows(10, (Window(10, half()),))


def test_canonical_bytes_are_sorted_plain_json_and_do_not_depend_on_the_order_of_maps() -> None:
    windows = Windows(10, (Window(10, half()),))
    turned = replace(half().operations[0], durations={9: UNIT, 10: UNIT}, error_kinds={"a": 2, "b": 1})
    again = Windows(10, (Window(10, replace(half(), operations=(turned,))),))
    assert windows.canonical_bytes() == again.canonical_bytes()
    assert windows.digest() == again.digest()
    document = json.loads(windows.canonical_bytes())
    assert windows.canonical_bytes() == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert 'SELECT \\"ü\\"'.encode() in windows.canonical_bytes()


@pytest.mark.parametrize(
    "other",
    [
        Windows(10, (Window(20, half()),)),
        Windows(10, (Window(10, candidate=half()),)),
        Windows(10, (Window(10, half(1)),)),
        Windows(10, (Window(10, half(traces=2)),)),
        Windows(60, (Window(10, half()),)),
        Windows(10, (Window(10, replace(half(), edges=())),)),
    ],
)
def test_any_difference_changes_the_digest(other: Windows) -> None:
    assert Windows(10, (Window(10, half()),)).digest() != other.digest()


def test_a_unit_divides_into_one_to_sixteen_calls() -> None:
    assert math.lcm(*range(1, 17)) == UNIT


def test_the_documentation_states_every_bound() -> None:
    page = (Path(__file__).parents[2] / "docs" / "windows.md").read_text(encoding="utf-8")
    table = page[page.index("## Bounds") :]
    assert f"| horizon around a period | {bounds.HORIZON_S} s |" in table
    assert f"| duration | {bounds.DURATION_MAX_NS // (86_400 * 10**9)} days |" in table
    assert f"| {bounds.VALUE_CHARS_MAX} characters |" in table
    assert f"| {bounds.OPERATIONS_MAX:,} |" in table
    assert f"| {bounds.SERVICES_MAX:,} |" in table
    assert f"| {bounds.VALUES_MAX} |" in table
    assert f"| {bounds.SIBLINGS_MAX} per parent and service |" in table
    assert f"| spans of an example trace | {bounds.TRACE_SPANS_MAX:,} |" in table
    assert f"| spans per chunk (`compare`) | {CHUNK_SPANS:,}," in table
    assert bounds.OTHER == "{other}"


class Chunks:
    """A store of two chunks."""

    def __init__(self, windows: Sequence[Windows], unassigned: Unassigned) -> None:
        self.made, self.unassigned = windows, unassigned
        self.asked: list[Period] = []

    def insert(self, batch: pa.RecordBatch | pa.Table) -> None:
        raise NotImplementedError

    def chunks(self, spans_max: int) -> Sequence[Period]:
        return [Period(10 * n, 10 * n + 10, spans=n + 1) for n in range(len(self.made))]

    def windows(self, period: Period, identity: Identity) -> tuple[Windows, Unassigned]:
        return self.made[period.start_unix_nano // 10], self.unassigned

    def examples(
        self, period: Period, identity: Identity, operations: Sequence[Operation], limit: int, *, failed_first: bool = True
    ) -> Mapping[tuple[Role, Operation], Sequence[str]]:
        self.asked.append(period)
        return {(Role.CANDIDATE, CART): ["1"]}

    def examples_of_edge(self, period: Period, identity: Identity, edge: Edge, limit: int, *, absent: bool) -> Mapping[Role, Sequence[str]]:
        self.asked.append(period)
        return {Role.CANDIDATE: ["2"]}

    def attributes(
        self, period: Period, identity: Identity, operation: Operation, keys: Sequence[str], slow_ns: int
    ) -> Sequence[AttributeCounts]:
        self.asked.append(period)
        return [AttributeCounts("", "", 1, slow_ns)]

    def trace(self, period: Period, identity: Identity, trace_id: str) -> Sequence[ExampleSpan]:
        self.asked.append(period)
        return []


VERSIONS = Input(("x",), identity=Identity(IdentityMatch({"v": "v*"}), IdentityMatch({"v": "v2"})))


def recording(windows: Sequence[Windows], unassigned: Unassigned = Unassigned()) -> tuple[Recording, Chunks]:  # noqa: B008  frozen
    store = Chunks(windows, unassigned)
    return Recording(VERSIONS, store, ReadCounts(), ()), store


def test_a_recording_is_the_windows_of_all_its_chunks() -> None:
    made, _ = recording([Windows(10, (Window(10, half()),)), Windows(10, (Window(20, half()),))], Unassigned(spans=2, clashing=1))
    told: list[int] = []
    windows = made.windows(told.append)
    assert windows is not None
    assert [w.start_unix_s for w in windows.windows] == [10, 20]
    assert told == [1, 2]
    assert made.unassigned == Unassigned(spans=4, clashing=2)


def test_a_recording_without_spans_has_no_windows() -> None:
    made, _ = recording([])
    assert made.windows(lambda _: None) is None
    assert made.examples(Role.CANDIDATE, CART, 3) == ()


def test_matches_that_do_not_tell_the_roles_apart_stop_the_comparison() -> None:
    made, _ = recording([Windows(10, ())], Unassigned(ambiguous=7))
    with pytest.raises(AmbiguousIdentity, match=r"7 spans match both the baseline \(v=v\*\) and the candidate \(v=v2\)"):
        made.windows(lambda _: None)


def test_examples_come_from_the_chunk_that_shows_the_operation_at_its_worst() -> None:
    made, store = recording([Windows(10, (Window(10, candidate=half()),)), Windows(10, (Window(20, candidate=half(errors=UNIT)),))])
    made.windows(lambda _: None)
    assert made.examples(Role.CANDIDATE, CART, 3) == ["1"]
    assert made.examples_of_edge(Role.CANDIDATE, Edge(CART, DATABASE), 3, absent=True) == ["2"]
    assert made.trace(Role.CANDIDATE, CART, "1") == []
    assert made.examples(Role.BASELINE, CART, 3) == ()
    assert [p.start_unix_nano for p in store.asked] == [10, 10, 10]
