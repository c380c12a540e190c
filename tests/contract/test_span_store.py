"""What every span store does. A new implementation joins `STORES`; nothing here knows which one it talks to."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pytest

from verdigris.judge.attributes import AttributeCounts
from verdigris.judge.windows import UNIT, Edge, Operation, Role, Windows, merge
from verdigris.plan.identity import EVERY_SPAN, Identity, IdentityMatch
from verdigris.telemetry.chdb_store import ChdbStore, _Turns
from verdigris.telemetry.store import (
    HORIZON_S,
    PARTITION_S,
    SIBLINGS_MAX,
    TRACE_SPANS_MAX,
    WINDOW_S,
    LiveSpanStore,
    Period,
    SpanStore,
    StoreError,
)

NANO = 1_000_000_000
START_NS = 1_760_000_000 * NANO
MINUTE = Period(START_NS - 60 * NANO, START_NS + 60 * NANO)
VERSIONS = Identity(IdentityMatch({"service.version": "v1"}), IdentityMatch({"service.version": "v2"}))
ALL = Identity(EVERY_SPAN, None)

TEXT, PAIRS = pa.string(), pa.map_(pa.string(), pa.string())
COLUMNS: dict[str, tuple[pa.DataType, Any]] = {
    "Timestamp": (pa.timestamp("ns"), START_NS), "TraceId": (TEXT, f"{1:032x}"), "SpanId": (TEXT, f"{1:016x}"),
    "ParentSpanId": (TEXT, ""), "TraceState": (TEXT, ""), "SpanName": (TEXT, "work"), "SpanKind": (TEXT, "Server"),
    "ServiceName": (TEXT, "cart"), "ResourceAttributes": (PAIRS, {}), "ScopeName": (TEXT, ""), "ScopeVersion": (TEXT, ""),
    "SpanAttributes": (PAIRS, {}), "Duration": (pa.uint64(), 1000), "StatusCode": (TEXT, "Unset"), "StatusMessage": (TEXT, ""),
    "Events.Timestamp": (pa.list_(pa.timestamp("ns")), []), "Events.Name": (pa.list_(TEXT), []),
    "Events.Attributes": (pa.list_(PAIRS), []), "Links.TraceId": (pa.list_(TEXT), []), "Links.SpanId": (pa.list_(TEXT), []),
    "Links.TraceState": (pa.list_(TEXT), []), "Links.Attributes": (pa.list_(PAIRS), []),
}  # fmt: skip


def spans(*rows: Mapping[str, Any]) -> pa.Table:
    """Rows of `otel_traces`; what a row does not say is ordinary."""

    def value(row: Mapping[str, Any], name: str) -> Any:
        given = row.get(name, COLUMNS[name][1])
        return list(given.items()) if isinstance(given, dict) else given

    return pa.table({name: pa.array([value(row, name) for row in rows], kind) for name, (kind, _) in COLUMNS.items()})


def span(trace: int | str, number: int | str, parent: int | str = "", **more: Any) -> dict[str, Any]:
    """A span whose ids may be given as numbers."""

    def text(given: int | str, digits: int) -> str:
        return given if isinstance(given, str) else f"{given:0{digits}x}"

    version = more.pop("version", None)
    resource = more.pop("resource", {}) | ({"service.version": version} if version else {})
    ids = {"TraceId": text(trace, 32), "SpanId": text(number, 16), "ParentSpanId": text(parent, 16)}
    return ids | {"ResourceAttributes": resource} | more


class Folder(Protocol):
    """Where an implementation keeps spans; `beside` gives further, separate stores of the same kind."""

    def beside(self, table: str) -> LiveSpanStore: ...


STORES: Mapping[str, Callable[[], AbstractContextManager[Folder]]] = {"chdb": ChdbStore}


@pytest.fixture(scope="module", params=list(STORES))
def folder(request: pytest.FixtureRequest) -> Iterator[Folder]:
    with STORES[request.param]() as opened:
        yield opened


NUMBERS = count()


@pytest.fixture
def store(folder: Folder) -> LiveSpanStore:
    return folder.beside(f"spans_{next(NUMBERS)}")


def counts(windows: Windows, role: Role) -> dict[str, int]:
    """Spans by operation name."""
    found: dict[str, int] = {}
    for window in windows.windows:
        for operation in window.of(role).operations:
            found[operation.operation.name] = found.get(operation.operation.name, 0) + operation.spans
    return found


# --- insert -------------------------------------------------------------------------------------------------------------------


def test_a_store_without_spans_has_no_chunks_and_no_windows(store: SpanStore) -> None:
    store.insert(spans())
    assert store.chunks(10) == []
    windows, left_out = store.windows(MINUTE, VERSIONS)
    assert windows == Windows(WINDOW_S, ())
    assert not any(getattr(left_out, name) for name in type(left_out).__slots__)


def test_a_record_batch_is_as_good_as_a_table_and_columns_are_known_by_name(store: SpanStore) -> None:
    table = spans(span(1, 1), span(1, 2, 1))
    store.insert(table.select(sorted(table.column_names, reverse=True)).to_batches()[0])
    (window,) = store.windows(MINUTE, ALL)[0].windows
    assert (window.baseline.traces.spans, window.baseline.traces.roots, window.baseline.traces.orphans) == (2, 1, 0)


BAD_BATCHES = {
    "a column less": lambda t: t.drop_columns(["TraceId"]),
    "a column more": lambda t: t.append_column("Shoe", pa.array(["x"])),
    "a column twice": lambda t: t.append_column("TraceId", pa.array(["x"])),
    "no columns": lambda t: t.select([]),
    "text for a duration": lambda t: t.set_column(t.column_names.index("Duration"), "Duration", pa.array(["soon"])),
    "text for a map": lambda t: t.set_column(t.column_names.index("SpanAttributes"), "SpanAttributes", pa.array(["{}x"])),
    "lists of different lengths": lambda t: t.set_column(t.column_names.index("Events.Name"), "Events.Name", pa.array([["a"]])),
}


@pytest.mark.parametrize("spoil", BAD_BATCHES.values(), ids=BAD_BATCHES.keys())
def test_a_bad_batch_is_refused_whole_and_what_was_kept_stays(store: SpanStore, spoil: Callable[[pa.Table], pa.Table]) -> None:
    store.insert(spans(span(1, 1)))
    with pytest.raises(StoreError, match="could not insert"):
        store.insert(spoil(spans(span(2, 2))))
    assert store.windows(MINUTE, ALL)[0].windows[0].baseline.traces.traces == 1


def test_an_insert_after_windows_is_seen_by_the_next_windows(store: SpanStore) -> None:
    for number in (1, 2):
        store.insert(spans(span(number, 1)))
        assert store.windows(MINUTE, ALL)[0].windows[0].baseline.traces.traces == number


def test_clocks_spread_over_centuries_are_kept_and_judged(store: SpanStore) -> None:
    day_ns = 86_400 * NANO
    starts = [number * 400 * day_ns + 5 for number in range(120)] + [-5, 2**63 - 2]
    store.insert(spans(*(span(n + 1, 1, Timestamp=start, Duration=2**64 - 1) for n, start in enumerate(starts))))
    periods = store.chunks(1_000_000)
    assert sum(p.spans for p in periods) == len(starts)
    windows, _ = store.windows(periods[0], ALL)
    assert sum(w.baseline.traces.traces for w in windows.windows) == len(starts)
    assert [w.start_unix_s for w in windows.windows][:2] == [-WINDOW_S, 0]


def test_inserts_and_windows_from_several_threads_do_not_disturb_each_other(folder: Folder) -> None:
    stores: list[SpanStore] = [folder.beside(f"threads_{n}") for n in range(2)]

    def work(number: int) -> int:
        store = stores[number % 2]
        store.insert(spans(*(span(number * 100 + n, 1, SpanName=f"op {number % 2}") for n in range(1, 51))))
        windows, _ = store.windows(MINUTE, ALL)
        assert set(counts(windows, Role.BASELINE)) == {"op {n}"}
        return windows.windows[0].baseline.traces.traces

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(work, range(8)))
    assert all(n % 50 == 0 for n in seen)
    assert all(s.windows(MINUTE, ALL)[0].windows[0].baseline.traces.traces == 200 for s in stores)


# --- windows ------------------------------------------------------------------------------------------------------------------


def test_chunks_cover_all_spans_and_begin_and_end_on_windows(store: SpanStore) -> None:
    store.insert(spans(*(span(n, 1, Timestamp=START_NS + n * 3 * NANO) for n in range(1, 41))))
    periods = store.chunks(10)
    assert sum(p.spans for p in periods) == 40
    assert all(p.spans <= 10 for p in periods)
    assert all(p.start_unix_nano % (WINDOW_S * NANO) == p.end_unix_nano % (WINDOW_S * NANO) == 0 for p in periods)
    assert all(a.end_unix_nano <= b.start_unix_nano for a, b in pairwise(periods))
    whole, _ = store.windows(Period(START_NS, periods[-1].end_unix_nano), ALL)
    assert merge(store.windows(p, ALL)[0] for p in periods).canonical_bytes() == whole.canonical_bytes()


def test_a_trace_across_a_chunk_belongs_to_the_window_of_its_earliest_span(store: SpanStore) -> None:
    later = START_NS + (HORIZON_S - 1) * NANO
    store.insert(spans(span(1, 1), span(1, 2, 1, Timestamp=later)))
    first, second = Period(START_NS, START_NS + 10 * NANO), Period(START_NS + 10 * NANO, START_NS + 100 * NANO)
    assert [w.baseline.traces.spans for w in store.windows(first, ALL)[0].windows] == [2]
    assert store.windows(second, ALL)[0].windows == ()


def test_what_lies_beyond_the_horizon_is_cut_and_counts_as_an_orphan(store: SpanStore) -> None:
    far = START_NS + (2 * HORIZON_S + 10) * NANO
    store.insert(spans(span(1, 1), span(1, 2, 1, Timestamp=far)))
    assert store.windows(Period(START_NS, START_NS + 10 * NANO), ALL)[0].windows[0].baseline.traces.spans == 1
    (late,) = store.windows(Period(far, far + 10 * NANO), ALL)[0].windows
    assert (late.baseline.traces.spans, late.baseline.traces.orphans) == (1, 1)


def test_ids_may_be_capital_short_or_no_hex_at_all(store: SpanStore) -> None:
    store.insert(
        spans(
            span("ABCDEF" + "0" * 26, "AB"), span("abcdef" + "0" * 26, 2, "00000000000000ab"),  # one trace, parent and child
            span("f00", 1), span("0f00", 2, 1),  # one trace: leading zeros left away
            span("not hex", 1), span("Not hex", 1), span("not hex ", 1), span("0x12", 1), span("é" * 40, 1),  # five traces
            span("a" * 33, 1), span("a" * 34, 1), span("a" * 32, 1),  # three: too long is text, not a number cut short
            span("not hex", "span'\\", "é"), span("not hex", "child", "span'\\"),
        )
    )  # fmt: skip
    (window,) = store.windows(MINUTE, ALL)[0].windows
    traces = window.baseline.traces
    assert (traces.traces, traces.spans, traces.orphans, traces.roots) == (10, 14, 1, 10)
    assert [s.parent_id for s in store.trace(MINUTE, ALL, "ABCDEF" + "0" * 26)] == [f"{0xAB:016x}", ""]
    assert len(store.trace(MINUTE, ALL, "not hex")) == 3
    assert not store.trace(MINUTE, ALL, "nothing of the kind")


def test_spans_without_an_id_are_left_out_and_counted(store: SpanStore) -> None:
    store.insert(spans(span("", 1), span("0" * 32, 1), span(1, ""), span(1, "0000"), span(1, 7), span(2, 1, "0" * 16)))
    windows, left_out = store.windows(MINUTE, ALL)
    assert (windows.windows[0].baseline.traces.spans, windows.windows[0].baseline.traces.roots) == (2, 2)
    assert left_out.without_id == 4


def test_different_spans_under_one_id_count_once_and_are_reported(store: SpanStore) -> None:
    twice = span(1, 1, ServiceName="cart")
    store.insert(spans(twice, twice, span(1, 1, ServiceName="shop"), span(1, 2, 1)))
    windows, left_out = store.windows(MINUTE, ALL)
    assert windows.windows[0].baseline.traces.spans == 2
    assert left_out.clashing == 1


def test_text_that_is_not_utf_8_does_no_harm(store: SpanStore) -> None:
    table = spans(span(1, 1), span(2, 1))
    broken = pa.array([b"caf\xff", b"caf\xff"], pa.binary())
    for name in ("SpanName", "ServiceName"):
        table = table.set_column(table.column_names.index(name), name, broken)
    store.insert(table)
    (operation,) = store.windows(MINUTE, ALL)[0].windows[0].baseline.operations
    assert operation.operation == Operation("caf�", "Server", "caf�")


UUID = "123e4567-e89b-12d3-a456-426614174000"
ROUTE, CLIENT, DATABASE = "http.route", {"SpanKind": "Client"}, {"SpanAttributes": {"server.address": "10.2.0.17"}}
NAMED: dict[str, tuple[dict[str, Any], str]] = {
    "the route of a server": ({"SpanName": "x", "SpanAttributes": {ROUTE: "/c/{id}", "http.request.method": "GET"}}, "GET /c/{id}"),
    "the older name of the method": ({"SpanAttributes": {ROUTE: "/a", "http.method": "PUT"}}, "PUT /a"),
    "a route alone": ({"SpanAttributes": {ROUTE: "/cart/12"}}, "/cart/{n}"),
    "no route of a client": (CLIENT | {"SpanName": "ask", "SpanAttributes": {ROUTE: "/a"}}, "ask"),
    "the peer of a bare method": (CLIENT | DATABASE | {"SpanName": "GET"}, "GET {n}.{n}.{n}.{n}"),
    "no peer of a telling name": (CLIENT | DATABASE | {"SpanName": "GET /"}, "GET /"),
    "no peer of a server": (DATABASE | {"SpanName": "GET"}, "GET"),
    "a uuid inside a word": ({"SpanName": f"item{UUID}x"}, "item{uuid}x"),
    "sixteen hex digits with decimal ones only in the middle": ({"SpanName": "GET /abcdef12abcdefab"}, "GET /{hex}"),
    "fifteen are a word": ({"SpanName": "abcdef12abcdefa"}, "abcdef12abcdefa"),
    "a number": ({"SpanName": "job 8231 of v2 part_7"}, "job {n} of v2 part_7"),
    "an address in memory": ({"SpanName": "Object@0xFFa0"}, "Object@{hex}"),
}


def test_operations_are_named_as_documented(store: SpanStore) -> None:
    rows = [span(trace, 1, **given) for trace, (given, _) in enumerate(NAMED.values(), 1)]
    # A bare method is named for the service that answered, the first by name if there are several, whatever the peer's name.
    asked = span(99, 1, SpanKind="Client", SpanName="HTTP GET", SpanAttributes={"peer.service": "z"})
    answers = [span(99, n, 1, ServiceName=service) for n, service in ((2, "shop"), (3, "cart"))]
    store.insert(spans(*rows, asked, *answers, span(99, 4, 1, ServiceName="aaa", SpanKind="Internal")))
    for trace, (what, (_, name)) in enumerate(NAMED.items(), 1):
        (only,) = store.trace(MINUTE, ALL, f"{trace:032x}")
        assert only.operation.name == name, what
    assert {s.operation.name for s in store.trace(MINUTE, ALL, f"{99:032x}")} == {"HTTP GET cart", "work"}


# --- identity -----------------------------------------------------------------------------------------------------------------


def matched(store: SpanStore, patterns: Mapping[str, str]) -> int:
    identity = Identity(IdentityMatch(patterns), None)
    return sum(w.baseline.traces.traces for w in store.windows(MINUTE, identity)[0].windows)


@pytest.mark.parametrize(
    ("pattern", "values", "others"),
    [
        ("v1", ["v1"], ["v10", "V1", " v1", ""]),
        ("v1*", ["v1", "v10", "v1\nx"], ["xv1"]),
        ("v?", ["v1", "vé", "v\n"], ["v", "v10"]),
        ("100%", ["100%"], ["100", "1000"]),
        ("a_b", ["a_b"], ["axb"]),
        ("a\\b", ["a\\b"], ["ab", "a\\\\b"]),
        ("a\\*", ["a\\", "a\\x"], ["a*", "ax"]),
        ('it\'s "x"', ['it\'s "x"'], ["its x"]),
        ("tab\there", ["tab\there"], ["tab here", "tab\\there"]),
        ("{x:String}", ["{x:String}"], ["x"]),
        ("*", ["", "anything"], []),
    ],
)
def test_a_pattern_matches_this_and_not_that(store: SpanStore, pattern: str, values: Sequence[str], others: Sequence[str]) -> None:
    given = [*values, *others]
    store.insert(spans(*(span(n, 1, resource={"it's": value}) for n, value in enumerate(given, 1))))
    windows, left_out = store.windows(MINUTE, Identity(None, IdentityMatch({"it's": pattern})))
    assert sum(w.candidate.traces.traces for w in windows.windows) == len(values)
    assert left_out.spans == len(others)


def test_all_keys_of_a_match_must_match(store: SpanStore) -> None:
    both = {"version": "v1", "env": "green"}
    store.insert(spans(span(1, 1, resource=both), span(2, 1, resource={"version": "v1"}), span(3, 1, resource={"env": "green"})))
    assert matched(store, both) == 1
    assert matched(store, {"version": "v1", "env": "gr*"}) == 1
    assert matched(store, {"version": "v1"}) == 2
    assert matched(store, {}) == 0


def test_what_speaks_for_no_role_takes_the_role_that_its_trace_touches(store: SpanStore) -> None:
    """A shared gateway above, a shared database client below."""
    store.insert(
        spans(
            span(1, 1, SpanName="gateway"), span(1, 2, 1, version="v1", SpanName="cart"), span(1, 3, 2, SpanName="database"),
            span(2, 1, SpanName="gateway"), span(2, 2, 1, version="v2", SpanName="cart"), span(2, 3, 2, SpanName="database"),
            span(3, 1, SpanName="gateway"), span(3, 2, 1, version="v3", SpanName="cart"),
        )
    )  # fmt: skip
    windows, left_out = store.windows(MINUTE, VERSIONS)
    for role in Role:
        assert counts(windows, role) == {"gateway": 1, "cart": 1, "database": 1}
    assert left_out.spans == 2


def test_a_mixed_trace_counts_in_both_roles_with_each_roles_own_spans_only(store: SpanStore) -> None:
    store.insert(
        spans(
            span(1, 1, SpanName="gateway", Duration=9000), span(1, 2, 1, version="v1", SpanName="old"),
            span(1, 3, 2, version="v2", SpanName="new"), span(1, 4, 3, version="v2", SpanName="newer"),
            span(1, 5, 4, SpanName="database"), span(1, 6, 3, version="v1", SpanName="old"),
        )
    )  # fmt: skip
    windows, left_out = store.windows(MINUTE, VERSIONS)
    (window,) = windows.windows
    assert counts(windows, Role.BASELINE) == {"old": 2}
    assert counts(windows, Role.CANDIDATE) == {"new": 1, "newer": 1}
    # The trace takes as long as all of it, the gateway included.
    assert [o.trace_ns for role in Role for o in window.of(role).operations] == [9000, 9000, 9000]
    assert (window.baseline.traces.mixed, window.candidate.traces.mixed) == (1, 1)
    assert (window.baseline.traces.orphans, window.candidate.traces.orphans) == (0, 0)
    # A call from one role into the other is neither's edge.
    assert [e.edge.callee.name for e in window.candidate.edges] == ["newer"]
    assert window.baseline.edges == ()
    assert (left_out.mixed_traces, left_out.shared_spans_of_mixed_traces, left_out.spans) == (1, 2, 0)


def test_a_span_that_both_matches_claim_counts_for_neither_and_is_reported(store: SpanStore) -> None:
    store.insert(spans(span(1, 1, version="v2"), span(1, 2, 1, version="v1"), span(2, 1, version="v2")))
    windows, left_out = store.windows(MINUTE, Identity(IdentityMatch({"service.version": "v*"}), IdentityMatch({"service.version": "v2"})))
    assert left_out.ambiguous == 2
    assert left_out.spans == 1
    assert sum(w.candidate.traces.traces for w in windows.windows) == 0


# --- examples -----------------------------------------------------------------------------------------------------------------

CART = Operation("cart", "Server", "work")


def test_examples_are_the_candidates_worst_and_the_baselines_most_ordinary(store: SpanStore) -> None:
    rows = [span(n, 1, version="v1", Duration=n * 1000) for n in range(1, 10)]
    rows += [span(100 + n, 1, version="v2", Duration=n * 1000) for n in range(1, 10)]
    rows += [span(99, 1, version="v1", Duration=5000, StatusCode="Error"), span(110, 1, version="v2", Duration=1, StatusCode="Error")]
    store.insert(spans(*rows))
    found = store.examples(MINUTE, VERSIONS, [CART, Operation("x", "Server", "it's \\ not there")], 3)
    assert set(found) == {(Role.BASELINE, CART), (Role.CANDIDATE, CART)}
    assert found[Role.BASELINE, CART] == [f"{n:032x}" for n in (5, 4, 6)]
    assert found[Role.CANDIDATE, CART] == [f"{n:032x}" for n in (110, 109, 108)]
    assert store.examples(MINUTE, VERSIONS, [], 3) == {}
    slow = store.examples(MINUTE, VERSIONS, [CART], 3, failed_first=False)
    assert slow[Role.CANDIDATE, CART] == [f"{n:032x}" for n in (109, 108, 107)]


def test_attributes_are_counted_on_the_candidates_bad_spans_and_on_its_others(store: SpanStore) -> None:
    zones = {1: "a", 2: "a", 3: "b", 4: "it's \\ b"}
    rows = [span(n, 1, version="v2", Duration=n * 1000, SpanAttributes={"zone": zone, "secret": str(n)}) for n, zone in zones.items()]
    rows += [span(5, 1, version="v2", Duration=1, StatusCode="Error", SpanAttributes={"zone": "a"})]
    rows += [span(6, 1, version="v1", Duration=9000, SpanAttributes={"zone": "a"})]
    store.insert(spans(*rows))
    first, *values = store.attributes(MINUTE, VERSIONS, CART, ["zone", "service.version"], slow_ns=3000)
    assert first == AttributeCounts("", "", bad=2, good=3)
    assert {(v.key, v.value): (v.bad, v.good) for v in values} == {
        ("service.version", "v2"): (2, 3),
        ("zone", "a"): (1, 2),
        ("zone", "b"): (0, 1),
        ("zone", "it's \\ b"): (1, 0),
    }


def test_examples_of_an_edge_show_its_absence_in_one_role_and_its_presence_in_the_other(store: SpanStore) -> None:
    callee = Operation("it's", "Client", 'ask "\\')
    rows = []
    for trace, version in enumerate(("v1", "v1", "v2", "v2"), 1):
        rows.append(span(trace, 1, version=version))
        if trace % 2:
            rows.append(span(trace, 2, 1, version=version, ServiceName=callee.service, SpanKind="Client", SpanName=callee.name))
    store.insert(spans(*rows))
    edge = Edge(CART, callee)
    assert store.examples_of_edge(MINUTE, VERSIONS, edge, 5, absent=True) == {Role.BASELINE: [f"{1:032x}"], Role.CANDIDATE: [f"{4:032x}"]}
    assert store.examples_of_edge(MINUTE, VERSIONS, edge, 5, absent=False) == {Role.BASELINE: [f"{2:032x}"], Role.CANDIDATE: [f"{3:032x}"]}
    nowhere = Edge(CART, Operation("x", "Server", "y"))
    assert set(store.examples_of_edge(MINUTE, VERSIONS, nowhere, 5, absent=True)) == {Role.CANDIDATE}


def test_a_trace_is_given_with_times_roles_and_what_is_wrong(store: SpanStore) -> None:
    store.insert(
        spans(
            span(7, 1, Duration=1000),
            span(7, 2, 1, version="v2", Duration=400, Timestamp=START_NS + 100, StatusCode="Error", resource={"host.name": "h'1"}),
            span(7, 3, 1, version="v2", Duration=100, Timestamp=START_NS + 600, SpanAttributes={"http.response.status_code": "404"}),
        )
    )
    gateway, failed, rejected = store.trace(MINUTE, VERSIONS, f"{7:032x}")
    assert (gateway.parent_id, gateway.role, gateway.exclusive_ns, gateway.status) == ("", Role.CANDIDATE, 500, "")
    assert (failed.span_id, failed.parent_id, failed.instance, failed.status) == (f"{2:016x}", f"{1:016x}", "h'1", "status Error")
    assert (rejected.start_unix_nano, rejected.duration_ns, rejected.status) == (START_NS + 600, 100, "HTTP 404")
    assert not store.trace(MINUTE, VERSIONS, f"{8:032x}")


def test_examples_of_two_stores_in_one_folder_are_each_their_own(folder: Folder) -> None:
    """Both recordings of a comparison live in one folder, and are asked in turn."""
    first, second = folder.beside("two_1"), folder.beside("two_2")
    first.insert(spans(span(1, 1)))
    second.insert(spans(span(2, 1)))
    for store in (first, second, first):
        store.windows(MINUTE, ALL)
    assert second.examples(MINUTE, ALL, [CART], 3) == {(Role.BASELINE, CART): [f"{2:032x}"]}
    assert first.examples(MINUTE, ALL, [CART], 3) == {(Role.BASELINE, CART): [f"{1:032x}"]}
    assert first.trace(MINUTE, ALL, f"{2:032x}") == []


# --- size ---------------------------------------------------------------------------------------------------------------------


def test_a_trace_of_a_hundred_thousand_spans_is_one_request(store: SpanStore) -> None:
    rows = 100_000
    base = spans(span(1, 1), span(1, 2, 1, SpanKind="Client", ServiceName="shop"))
    table = base.take(pa.array([0] + [1] * rows))
    table = table.set_column(table.column_names.index("SpanId"), "SpanId", pa.array([f"{n:016x}" for n in range(1, rows + 2)]))
    store.insert(table)
    (window,) = store.windows(MINUTE, ALL)[0].windows
    parent, child = window.baseline.operations
    assert (parent.requests, child.spans, child.requests) == (UNIT, rows, rows * (UNIT // rows))
    assert dict(window.baseline.edges[0].calls) == {rows: UNIT}
    assert len(store.trace(MINUTE, ALL, f"{1:032x}")) == TRACE_SPANS_MAX


def test_a_call_covers_only_the_first_internal_siblings(store: SpanStore) -> None:
    internal = [span(1, n, 1, SpanKind="Internal", Timestamp=START_NS + n) for n in range(2, SIBLINGS_MAX + 6)]
    store.insert(spans(span(1, 1), *internal, span(1, 999, 1, SpanKind="Client", Timestamp=START_NS + 500, Duration=10_000)))
    own = [s.exclusive_ns for s in store.trace(MINUTE, ALL, f"{1:032x}") if s.operation.kind == "Internal"]
    assert own == [500 - n for n in range(2, SIBLINGS_MAX + 2)] + [1000] * 4


def test_ten_thousand_siblings_of_either_kind_do_not_multiply(store: SpanStore) -> None:
    rows = 10_000
    kinds = [("Internal", 0), ("Client", 1)]
    base = spans(span(1, 1), *(span(1, 2, 1, SpanKind=kind, Timestamp=START_NS + at, Duration=500) for kind, at in kinds))
    table = base.take(pa.array([0] + [1, 2] * rows))
    table = table.set_column(table.column_names.index("SpanId"), "SpanId", pa.array([f"{n:016x}" for n in range(1, 2 * rows + 2)]))
    store.insert(table)
    (window,) = store.windows(MINUTE, ALL)[0].windows
    assert [(o.operation.kind, o.spans) for o in window.baseline.operations] == [("Client", rows), ("Internal", rows), ("Server", 1)]


def test_a_million_made_up_names_do_not_reach_the_judge(store: SpanStore) -> None:
    rows = 50_000
    letters = ["".join("abcdefghij"[int(d)] for d in f"{n:06}") + "é" * 400 for n in range(rows)]
    base = spans(span(1, 1, resource={"host.name": "h"}), span(2, 1, SpanName="known", StatusCode="Error"))
    table = base.take(pa.array([0] * rows + [1] * 500))
    ids = [f"{n:032x}" for n in range(1, rows + 501)]
    table = table.set_column(table.column_names.index("TraceId"), "TraceId", pa.array(ids))
    table = table.set_column(table.column_names.index("SpanName"), "SpanName", pa.array(letters + ["known"] * 500))
    table = table.set_column(table.column_names.index("ServiceName"), "ServiceName", pa.array(letters + ["cart"] * 500))
    table = table.set_column(table.column_names.index("TraceState"), "TraceState", pa.array([f"ot=th:{n:x}" for n in range(rows + 500)]))
    store.insert(table)
    (window,) = store.windows(MINUTE, ALL)[0].windows
    found = {o.operation.name: o.spans for o in window.baseline.operations}
    assert len(found) == 501
    assert found["known"] == 500
    assert found["{other}"] == rows - 499
    assert len(window.baseline.traces.services) == 501
    assert len(window.baseline.traces.thresholds) == 101
    assert window.baseline.traces.spans == rows + 500


# --- other lengths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window_s", [1, 2, 10, 60])
def test_windows_of_any_length_hold_the_traces_that_begin_in_them(store: LiveSpanStore, window_s: int) -> None:
    starts = [START_NS + at for at in (0, NANO - 1, NANO, 9 * NANO, 10 * NANO, 59 * NANO, 60 * NANO)]
    rows = [s for n, at in enumerate(starts) for s in (span(n + 1, 1, Timestamp=at), span(n + 1, 2, 1, Timestamp=at + NANO // 2))]
    store.insert(spans(*rows))
    view = store.viewed(window_s, 5)
    period = Period(START_NS // (60 * NANO) * 60 * NANO, START_NS + 120 * NANO)
    windows, _ = view.windows(period, ALL)
    expected: dict[int, int] = {}
    for at in starts:
        expected[at // (window_s * NANO) * window_s] = expected.get(at // (window_s * NANO) * window_s, 0) + 1
    assert windows.window_s == window_s
    assert {w.start_unix_s: w.baseline.traces.traces for w in windows.windows} == expected
    assert sum(w.baseline.traces.orphans for w in windows.windows) == 0
    pieces = view.chunks(1, period)
    assert all(p.start_unix_nano % (window_s * NANO) == p.end_unix_nano % (window_s * NANO) == 0 for p in pieces)
    assert merge(view.windows(p, ALL)[0] for p in pieces).canonical_bytes() == windows.canonical_bytes()


def test_views_of_one_table_do_not_take_each_others_facts(store: LiveSpanStore) -> None:
    store.insert(spans(span(1, 1), span(2, 1, Timestamp=START_NS + 3 * NANO)))
    period = Period(START_NS, START_NS + 10 * NANO)
    second, ten = store.viewed(1, 5), store.viewed(10, 5)
    assert [len(view.windows(period, ALL)[0].windows) for view in (ten, second, ten, second, store)] == [1, 2, 1, 2, 1]
    ten.insert(spans(span(3, 1, Timestamp=START_NS + 5 * NANO)))
    assert [len(view.windows(period, ALL)[0].windows) for view in (second, ten)] == [3, 1]


def test_a_horizon_says_how_far_around_a_period_its_traces_are_looked_for(store: LiveSpanStore) -> None:
    store.insert(spans(span(1, 1), span(1, 2, 1, Timestamp=START_NS + 4 * NANO)))
    period = Period(START_NS, START_NS + NANO)
    found = {h: store.viewed(1, h).windows(period, ALL)[0].windows[0].baseline.traces.spans for h in (0, 3, 4)}
    assert found == {0: 1, 3: 1, 4: 2}
    later = Period(START_NS + 4 * NANO, START_NS + 5 * NANO)
    assert {h: len(store.viewed(1, h).windows(later, ALL)[0].windows) for h in (3, 4)} == {3: 1, 4: 0}


@pytest.mark.parametrize(("window_s", "horizon_s"), [(0, 5), (-1, 5), (1, -1)])
def test_lengths_that_cannot_be_are_refused(store: LiveSpanStore, window_s: int, horizon_s: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        store.viewed(window_s, horizon_s)


def test_chunks_of_a_period_are_cut_to_it(store: LiveSpanStore) -> None:
    store.insert(spans(*(span(n, 1, Timestamp=START_NS + n * 10 * NANO) for n in range(5))))
    within = Period(START_NS + 10 * NANO, START_NS + 30 * NANO)
    assert [(c.start_unix_nano - START_NS, c.end_unix_nano - START_NS, c.spans) for c in store.chunks(1, within)] == [
        (10 * NANO, 20 * NANO, 1),
        (20 * NANO, 30 * NANO, 1),
    ]


# --- forgetting ---------------------------------------------------------------------------------------------------------------

SLICE_NS = PARTITION_S * NANO


def test_what_is_old_is_forgotten_by_slices_and_what_is_not_stays(store: LiveSpanStore) -> None:
    base = START_NS // SLICE_NS * SLICE_NS
    at = [base - 3 * SLICE_NS, base - 1, base, base + SLICE_NS - 1]
    store.insert(spans(*(span(n + 1, 1, Timestamp=t) for n, t in enumerate(at))))
    slices = store.slices()
    assert [(s.first_unix_nano, s.last_unix_nano, s.spans) for s in slices] == [(at[0], at[0], 1), (at[1], at[1], 1), (at[2], at[3], 2)]
    assert all(s.size_bytes > 0 for s in slices)
    size = store.size_bytes()
    assert size >= sum(s.size_bytes for s in slices)
    everything = Period(base - 4 * SLICE_NS, base + 2 * SLICE_NS)

    def left() -> int:
        return sum(w.baseline.traces.traces for w in store.windows(everything, ALL)[0].windows)

    assert left() == 4
    assert store.forget(at[0]) == 0
    assert store.forget(at[1]) == 1
    assert left() == 3, "facts made before must not outlive what was forgotten"
    assert store.forget(at[3]) == 1, "a slice goes when all of it is older"
    assert left() == 2
    assert [s.first_unix_nano for s in store.slices()] == [base]
    assert store.forget(at[3] + 1) == 2
    assert (store.slices(), left()) == ([], 0)
    store.insert(spans(span(9, 1)))
    assert left() == 1


def test_forgetting_in_one_table_leaves_the_other(folder: Folder) -> None:
    first, second = folder.beside("forget_1"), folder.beside("forget_2")
    first.insert(spans(span(1, 1)))
    second.insert(spans(span(1, 1)))
    assert first.forget(START_NS + 1) == 1
    assert first.size_bytes() < 1_000 < second.size_bytes()
    assert [s.spans for s in second.slices()] == [1]


def test_times_before_1970_and_far_ahead_are_kept_counted_and_forgotten(store: LiveSpanStore) -> None:
    store.insert(spans(span(1, 1, Timestamp=-(10**15)), span(2, 1, Timestamp=-1), span(3, 1, Timestamp=0), span(4, 1, Timestamp=2**63 - 1)))
    assert sum(s.spans for s in store.slices()) == 4
    assert sum(c.spans for c in store.chunks(1)) == 4
    assert store.forget(2**63 - 1) == 3
    assert [s.first_unix_nano for s in store.slices()] == [2**63 - 1]


def test_an_insert_waits_for_one_statement_of_a_look_and_not_for_the_whole_look() -> None:
    """Whoever runs statement after statement lets those in who wait; a plain lock would go back to who just released it."""
    turns, stop, runs = _Turns(), threading.Event(), 0

    def look() -> None:
        nonlocal runs
        while not stop.is_set():
            with turns:
                time.sleep(0.01)  # a statement
                runs += 1

    with ThreadPoolExecutor(1) as pool:
        pool.submit(look)
        while not runs:
            time.sleep(0.001)
        waited = []
        for _ in range(40):
            at = runs
            while runs == at:  # until the look has the turn again
                time.sleep(0.001)
            before = runs
            with turns:
                waited.append(runs - before)
        stop.set()
    assert sum(w > 1 for w in waited) <= 5


# --- other people's tables ----------------------------------------------------------------------------------------------------

OLD_TABLE = """
CREATE TABLE {table} (
    Timestamp DateTime64(9), TraceId String, SpanId String, ParentSpanId String, TraceState String,
    SpanName LowCardinality(String), SpanKind LowCardinality(String), ServiceName LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String), SpanAttributes Map(LowCardinality(String), String), Duration Int64,
    StatusCode LowCardinality(String), StatusMessage String,
    Events Nested(Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)),
    Links Nested(TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String))
) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, SpanName, toUnixTimestamp(Timestamp))
"""


def test_a_table_of_an_older_exporter_is_read_as_it_is() -> None:
    """No scope columns, signed durations that may be negative, and the long names of kinds and status codes."""
    with ChdbStore() as first:
        first._shared.session.query(OLD_TABLE.format(table="theirs"))
        theirs, ours = first.beside("theirs"), first.beside("ours")
        table = spans(
            span(1, 1, SpanKind="SPAN_KIND_SERVER", StatusCode="STATUS_CODE_ERROR"), span(1, 2, 1, SpanKind="SPAN_KIND_CLIENT", Duration=0)
        )
        old = table.drop_columns(["ScopeName", "ScopeVersion"])
        theirs.insert(old.set_column(old.column_names.index("Duration"), "Duration", pa.array([1000, -5], pa.int64())))
        ours.insert(spans(span(1, 1, SpanKind="Server", StatusCode="Error"), span(1, 2, 1, SpanKind="Client", Duration=0)))
        windows, _ = theirs.windows(MINUTE, ALL)
        assert windows.canonical_bytes() == ours.windows(MINUTE, ALL)[0].canonical_bytes()
        assert windows.windows[0].baseline.operations[1].errors == UNIT
        with pytest.raises(StoreError, match="ScopeName"):
            theirs.insert(table)


# --- folders and processes (embedded stores only) -----------------------------------------------------------------------------

CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_span_store import MINUTE, ALL, ChdbStore, StoreError, span, spans

def traces(store):
    return sum(w.baseline.traces.traces for w in store.windows(MINUTE, ALL)[0].windows)

folder = Path(sys.argv[1])
"""


def child(code: str, folder: Path) -> subprocess.Popen[str]:
    source = CHILD.format(here=str(Path(__file__).parent)) + textwrap.dedent(code)
    command = [sys.executable, "-c", source, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def test_what_was_acknowledged_survives_a_kill_and_nobody_else_may_open_the_folder_before(tmp_path: Path) -> None:
    writer = child(
        """
        with ChdbStore(folder / "spans") as store:
            for number in range(1, 10_000):
                store.insert(spans(*(span(number * 10 + n, 1) for n in range(10))))
                print(number, flush=True)
        """,
        tmp_path,
    )
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(5)]
    intruder = child(
        """
        try:
            ChdbStore(folder / "spans")
        except StoreError as error:
            print("refused:", error)
        """,
        tmp_path,
    )
    refusal = said(intruder)
    assert refusal.startswith("refused: could not open the span store"), refusal
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in writer.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
    reader = child(
        """
        for turn in range(2):
            with ChdbStore(folder / "spans") as store:
                print(traces(store))
                store.insert(spans(span("the reader's", 1)))
        """,
        tmp_path,
    )
    first, second = map(int, said(reader).split())
    # The one that was under way when the process died may have been kept as well.
    assert first in {len(acknowledged) * 10, (len(acknowledged) + 1) * 10}
    assert second == first + 1


def test_a_folder_that_cannot_be_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    opener = child(
        """
        try:
            ChdbStore(folder / "file" / "spans")
        except StoreError as error:
            print("refused:", error)
        """,
        tmp_path,
    )
    assert said(opener).startswith("refused: could not open the span store")
