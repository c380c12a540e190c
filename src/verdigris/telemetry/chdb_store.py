"""The embedded span store: chDB (ClickHouse in this process). Knows SQL files and column types; nothing of judging."""

import contextlib
import errno
import json
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import pyarrow as pa
from chdb import ChdbError
from chdb.session import Session

from verdigris.judge.attributes import AttributeCounts
from verdigris.judge.windows import Edge, EdgeCounts, Operation, OperationCounts, Role, RoleWindow, TraceCounts, Window, Windows
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.telemetry.store import (
    ATTRIBUTE_VALUES_MAX,
    DURATION_MAX_NS,
    HORIZON_S,
    OPERATIONS_MAX,
    PARTITION_S,
    SERVICES_MAX,
    SIBLINGS_MAX,
    TRACE_SPANS_MAX,
    VALUE_CHARS_MAX,
    VALUES_MAX,
    WINDOW_S,
    ExampleSpan,
    Period,
    StoredSlice,
    StoreError,
    StoreFull,
    Unassigned,
)

NANO = 1_000_000_000
TIME_MAX_NS = 2**63 - 1
ERROR_CHARS = 400
"""chDB repeats the whole statement in its errors; what went wrong stands at the front."""
ROLES = {1: Role.BASELINE, 2: Role.CANDIDATE}
"""How the SQL writes the roles; 0 is neither."""

NO_SPACE = re.compile(r"NOT_ENOUGH_SPACE|No space left on device|errno: ?28\b")
"""How ClickHouse says that the disk is full: an error of its own before writing, the system's while it writes."""

Row = dict[str, Any]


@dataclass(slots=True)
class _Table:
    """What all views of one table have in common."""

    name: str
    columns: dict[str, str] = field(default_factory=dict)
    inserts: int = 0
    facts_of: tuple[Period, Identity, int, int] | None = None
    """What the temporary tables hold now: a period's facts for an identity, a window's length and a horizon."""
    inserts_in_facts: int = 0


class _Turns:
    """A lock that is given in turn. Without it a thread that runs many statements would shut out one that waits for each."""

    def __init__(self) -> None:
        self._next = threading.Lock()
        self._running = threading.Lock()

    def __enter__(self) -> None:
        with self._next:  # whoever holds it is the next: the one that just ran waits behind
            self._running.acquire()

    def __exit__(self, *_: object) -> None:
        self._running.release()


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the stores of one folder have in common."""

    session: Any
    folder: Path | None
    partition_s: int
    tables: dict[str, _Table] = field(default_factory=dict)
    making: threading.RLock = field(default_factory=threading.RLock)
    """Held while facts are made and read: the steps of facts.sql have the same names in all stores of a session."""
    running: _Turns = field(default_factory=_Turns)
    """Held for one statement. A session runs one at a time, and two threads that leave the waiting to chDB can wait for ever: one
    for the session with Python's lock in hand, the other for Python's lock to read a batch."""


class ChdbStore:
    """A `SpanStore` in a folder of its own, or in memory, where it goes with the process.

    Spans may be inserted while windows are made, from any thread; windows and examples wait for each other.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        window_s: int = WINDOW_S,
        horizon_s: int = HORIZON_S,
        partition_s: int = PARTITION_S,
        table: str = "otel_traces",
        shared: _Shared | None = None,
    ) -> None:
        """Open or create `table` in `folder`. One process owns a folder at a time.

        Args:
            folder: None keeps spans in memory.
            window_s: length of the windows, seconds, at least 1.
            horizon_s: how far around a period the spans of its traces are looked for, seconds.
            partition_s: how much event time is forgotten at once, seconds; of a table that exists it is what it was made with.
            table: its name.
            shared: of another store of the same folder; then `folder` and `partition_s` do not matter.

        Raises: StoreError: the folder is in use or cannot be written. ValueError: a length that cannot be.
        """
        if window_s < 1 or horizon_s < 0 or partition_s < 1:
            msg = f"a window of {window_s} s, a horizon of {horizon_s} s, a partition of {partition_s} s: at least 1, 0 and 1"
            raise ValueError(msg)
        self._window_s, self._horizon_s = window_s, horizon_s
        if folder is not None and shared is None:
            _require_writable(folder)
        with _translated("open the span store"):
            self._shared = shared or _Shared(Session(str(folder) if folder else None), folder, partition_s)  # type: ignore[no-untyped-call]
        if table not in self._shared.tables:
            self._table = _Table(table)
            self._rows("otel_traces", {"partition_ns": str(self._shared.partition_s * NANO)})
            self._table.columns = {row["name"]: row["type"] for row in self._rows("columns")}
            self._shared.tables[table] = self._table
        self._table = self._shared.tables[table]

    def beside(self, table: str) -> "ChdbStore":
        """Another table in the same folder: a second recording whose trace ids may collide with this one's."""
        return ChdbStore(table=table, shared=self._shared, window_s=self._window_s, horizon_s=self._horizon_s)

    def viewed(self, window_s: int, horizon_s: int) -> "ChdbStore":
        """The same spans with windows of another length and another horizon. Closing any view closes the folder."""
        return ChdbStore(table=self._table.name, shared=self._shared, window_s=window_s, horizon_s=horizon_s)

    def __enter__(self) -> Self:
        """Use as a context manager to close it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give the folder free for another process."""
        self._shared.session.close()

    def insert(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Keep a batch with the columns of `otel_traces`; durable when it returns."""
        spans = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        self._check(spans)
        if not spans.num_rows:
            return
        spans = spans.select(list(self._table.columns))
        with _translated(f"insert {spans.num_rows} spans"), self._shared.running:
            # Broken clocks spread a batch over many days, each a partition: a refusal would be repeated for ever.
            self._shared.session.query(
                "INSERT INTO {table:Identifier} SELECT * FROM Python(spans) SETTINGS max_partitions_per_insert_block = 0",
                params={"table": self._table.name},
            )
            self._table.inserts += 1

    def _check(self, spans: pa.Table) -> None:
        """Refuse what chDB would silently read as something else: text for a number is 0 to it, and an absent value the default."""
        lacking, unknown = set(self._table.columns) - set(spans.column_names), set(spans.column_names) - set(self._table.columns)
        wrong = [
            f"{name} ({column.type}{', some absent' if column.null_count else ''} for {self._table.columns[name]})"
            for name, column in zip(spans.column_names, spans.columns, strict=True)
            if name in self._table.columns and (column.null_count or not _fits(column.type, self._table.columns[name]))
        ]
        if lacking or unknown or wrong or len(spans.column_names) != len(self._table.columns):
            msg = (
                f"could not insert {spans.num_rows} spans: the batch must have each column of {self._table.name} once. "
                f"Lacking: {sorted(lacking) or 'none'}; unknown: {sorted(unknown) or 'none'}; of another type: {wrong or 'none'}"
            )
            raise StoreError(msg)

    def chunks(self, spans_max: int, within: Period | None = None) -> Sequence[Period]:
        """Stored event time, cut at window boundaries into periods of about `spans_max` spans, ascending."""
        bounds = within or Period(-TIME_MAX_NS, TIME_MAX_NS + 1)
        chunks: list[Period] = []
        for row in self._rows("spans_per_window", from_ns=_time(bounds.start_unix_nano), last_ns=_time(bounds.end_unix_nano - 1)):
            start_ns, spans = row["start_ns"], row["spans"]
            end_ns = start_ns + self._window_s * NANO
            if chunks and chunks[-1].spans + spans <= spans_max:
                chunks[-1] = Period(chunks[-1].start_unix_nano, end_ns, chunks[-1].spans + spans)
            else:
                chunks.append(Period(start_ns, end_ns, spans))
        return chunks

    def slices(self) -> Sequence[StoredSlice]:
        """What is kept, ascending by the first start; each slice is forgotten whole."""
        sizes = {row["slice"]: row["size_bytes"] for row in self._rows("slice_sizes")}
        return [StoredSlice(row["first_ns"], row["last_ns"], row["spans"], sizes.get(row["slice"], 0)) for row in self._rows("slices")]

    def forget(self, before_unix_nano: int) -> int:
        """Drop the slices all of whose spans start earlier. Returns how many spans went."""
        gone = 0
        for row in self._rows("slices"):
            if row["last_ns"] < before_unix_nano:
                self._rows("forget", {"slice": _slice_id(row["slice"])})
                gone += row["spans"]
        if gone:
            with self._shared.making:
                self._table.inserts += 1  # facts made before are not those of what is left
        return gone

    def size_bytes(self) -> int:
        """Bytes on disk, what is about to be freed included."""
        return sum(int(row["size_bytes"]) for row in self._rows("slice_sizes"))

    def windows(self, period: Period, identity: Identity) -> tuple[Windows, Unassigned]:
        """The windows of the traces that start in `period`."""
        halves: dict[tuple[int, Role], tuple[TraceCounts, list[OperationCounts], list[EdgeCounts]]] = {}
        with self._facts(period, identity):
            for row in self._rows("traces"):
                halves[row["window_s"], ROLES[row["role"]]] = (_trace_counts(row), [], [])
            for row in self._rows("operations"):
                halves[row["window_s"], ROLES[row["role"]]][1].append(_operation_counts(row))
            for row in self._rows("edges"):
                halves[row["window_s"], ROLES[row["role"]]][2].append(_edge_counts(row))
            (unassigned,) = self._rows("unassigned")
        roles = {at: RoleWindow(t, tuple(o), tuple(e)) for at, (t, o, e) in halves.items()}
        starts = sorted({start for start, _ in roles})
        empty = RoleWindow()
        windows = tuple(Window(s, roles.get((s, Role.BASELINE), empty), roles.get((s, Role.CANDIDATE), empty)) for s in starts)
        return Windows(self._window_s, windows), Unassigned(**unassigned)

    def examples(
        self, period: Period, identity: Identity, operations: Sequence[Operation], limit: int, *, failed_first: bool = True
    ) -> Mapping[tuple[Role, Operation], Sequence[str]]:
        """Trace ids per role and operation: the baseline's most ordinary, the candidate's slowest, its failed ones first or last."""
        if not operations:
            return {}
        found: dict[tuple[Role, Operation], list[str]] = {}
        wanted = json.dumps([[o.service, o.kind, o.name] for o in operations])
        with self._facts(period, identity):
            for row in self._rows("exemplars", limit=limit, wanted=wanted, failed_first=int(failed_first)):
                found.setdefault((ROLES[row["role"]], _operation(row)), []).append(row["trace_id"])
        return found

    def examples_of_edge(self, period: Period, identity: Identity, edge: Edge, limit: int, *, absent: bool) -> Mapping[Role, Sequence[str]]:
        """Trace ids in which the candidate lacks the call and the baseline has it (`absent`), or the other way round."""
        ends = {
            f"{end}_{part}": getattr(operation, part)
            for end, operation in (("caller", edge.caller), ("callee", edge.callee))
            for part in ("service", "kind", "name")
        }
        found: dict[Role, list[str]] = {}
        with self._facts(period, identity):
            for row in self._rows("exemplars_without_call", limit=limit, absent=int(absent), **ends):
                found.setdefault(ROLES[row["role"]], []).append(row["trace_id"])
        return found

    def attributes(
        self, period: Period, identity: Identity, operation: Operation, keys: Sequence[str], slow_ns: int
    ) -> Sequence[AttributeCounts]:
        """How often values of these attributes stand on the candidate's bad spans of an operation and on its others."""
        asked = {"service": operation.service, "kind": operation.kind, "name": operation.name, "keys": json.dumps(list(keys))}
        with self._facts(period, identity):
            rows = self._rows("attributes", slow_ns=slow_ns, limit=ATTRIBUTE_VALUES_MAX + 1, **asked, **_bounds(period, self._horizon_s))
        return [AttributeCounts(row["key"], row["value"], row["bad"], row["good"]) for row in rows]

    def trace(self, period: Period, identity: Identity, trace_id: str) -> Sequence[ExampleSpan]:
        """The spans of one trace of the period, ascending by start."""
        with self._facts(period, identity):
            rows = self._rows("trace", trace_id=trace_id, limit=TRACE_SPANS_MAX)
        return [
            ExampleSpan(
                row["span_id"], row["parent_id"], ROLES.get(row["role"]), _operation(row), row["instance"], row["start_ns"],
                row["duration_ns"], row["exclusive_ns"], row["status"],
            )
            for row in rows
        ]  # fmt: skip

    @contextlib.contextmanager
    def _facts(self, period: Period, identity: Identity) -> Iterator[None]:
        """While inside, the temporary tables that `facts.sql` leaves are those of the period. They stay for the next call."""
        with self._shared.making:
            table, wanted = self._table, (period, identity, self._window_s, self._horizon_s)
            if table.facts_of != wanted or table.inserts_in_facts != table.inserts:
                table.facts_of, table.inserts_in_facts = None, table.inserts
                self._run("drop_facts")
                claims, parameters = {}, _bounds(period, self._horizon_s)
                for role, match in (("baseline", identity.baseline), ("candidate", identity.candidate)):
                    claims[role], patterns = _claim(role, match)
                    parameters |= patterns
                try:
                    self._run("facts", claims, **parameters)
                except StoreError:
                    with contextlib.suppress(StoreError):
                        self._run("drop_facts")  # a step that outgrew the memory must not keep what it took
                    raise
                table.facts_of = wanted
            yield

    def _run(self, name: str, texts: Mapping[str, str] = MappingProxyType({}), **parameters: object) -> None:
        """Each statement of an SQL file in turn."""
        for statement in _filled(name, texts).split(";\n"):
            self._rows_of(statement, parameters)

    def _rows(self, name: str, texts: Mapping[str, str] = MappingProxyType({}), /, **parameters: object) -> list[Row]:
        return self._rows_of(_filled(name, texts), parameters)

    def _rows_of(self, statement: str, parameters: Mapping[str, object]) -> list[Row]:
        name = self._table.name
        tables = {"table": name} | {kept: f"{name}_{kept}" for kept in ("facts", "operations", "left_out")}
        settled: dict[str, object] = {"window_ns": self._window_s * NANO, **tables}
        settled |= {key: _escaped(value) if isinstance(value, str) else value for key, value in parameters.items()}
        with _translated("query the span store"), self._shared.running:
            answer = self._shared.session.query(statement, "ArrowTable", params=settled)
            return answer.to_pylist() if isinstance(answer, pa.Table) else []


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Raise chDB's errors as ours."""
    try:
        yield
    except (ChdbError, RuntimeError, ValueError, TypeError, pa.ArrowException) as error:
        msg = f"could not {what}: {str(error)[:ERROR_CHARS]}"
        raise (StoreFull if NO_SPACE.search(str(error)) else StoreError)(msg) from error


def _require_writable(folder: Path) -> None:
    """Say why a folder cannot be used: chDB tells its own log, not us. Whether a full disk is enough it must tell. Raises: StoreError."""
    try:
        if folder.exists():
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return
        msg = f"the span store's folder {folder} cannot be written: {error.strerror or error}; give it one that may be written"
        raise StoreError(msg) from error


@cache
def _sql(name: str) -> str:
    return resources.files("verdigris.telemetry").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def _filled(name: str, texts: Mapping[str, str]) -> str:
    """An SQL file with the given texts between its {{ }}: what cannot be a parameter. They are ours, or checked."""
    statements = _sql(name)
    for place, text in texts.items():
        statements = statements.replace("{{" + place + "}}", text)
    return statements


def _slice_id(text: str) -> str:
    """A partition's id, which stands in a statement as it is. Raises: StoreError: it is none."""
    if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", text):
        msg = f"the span store names a slice {text[:64]!r}; nothing was forgotten"
        raise StoreError(msg)
    return text


def _escaped(value: str) -> str:
    """Text as ClickHouse reads a query parameter: backslash escapes, as in a tab-separated file."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _fits(arrow: pa.DataType, column: str) -> bool:
    """Whether a column of the table can hold values of an Arrow type as they are."""
    if pa.types.is_dictionary(arrow):
        return _fits(arrow.value_type, column)
    outer, _, inner = column.partition("(")
    match outer.rstrip(")"):
        case "LowCardinality":
            return _fits(arrow, inner)
        case "Array":
            fits = (pa.types.is_list(arrow) or pa.types.is_large_list(arrow)) and _fits(arrow.value_type, inner)
        case "Map":
            fits = pa.types.is_map(arrow) and _fits(arrow.key_type, "String") and _fits(arrow.item_type, "String")
        case "DateTime64":
            fits = pa.types.is_timestamp(arrow)
        case "String":
            types = pa.types
            fits = types.is_string(arrow) or types.is_large_string(arrow) or types.is_binary(arrow) or types.is_large_binary(arrow)
        case _:
            fits = pa.types.is_integer(arrow)
    return bool(fits)


def _bounds(period: Period, horizon_s: int) -> dict[str, object]:
    """What facts.sql is told of the period and of the bounds. Times stay within the 63 bits that the columns have."""
    return {
        "from_ns": _time(period.start_unix_nano),
        "to_ns": _time(period.end_unix_nano),
        "read_from_ns": _time(period.start_unix_nano - horizon_s * NANO),
        "read_to_ns": _time(period.end_unix_nano + horizon_s * NANO),
        "duration_max_ns": DURATION_MAX_NS,
        "chars_max": VALUE_CHARS_MAX,
        "siblings_max": SIBLINGS_MAX,
        "operations_max": OPERATIONS_MAX,
        "services_max": SERVICES_MAX,
        "values_max": VALUES_MAX,
    }


def _time(unix_nano: int) -> int:
    return max(-TIME_MAX_NS, min(TIME_MAX_NS, unix_nano))


def _claim(role: str, match: IdentityMatch | None) -> tuple[str, dict[str, object]]:
    """The condition under which a span claims `role`, and its parameters: LIKE with a constant pattern is compiled once."""
    if match is None or not match.patterns:
        return "0", {}
    conditions, parameters = [], dict[str, object]()
    for number, (key, pattern) in enumerate(match.patterns.items()):
        parameters |= {f"{role}_key_{number}": key, f"{role}_like_{number}": _like(pattern)}
        conditions.append(f"ResourceAttributes[{{{role}_key_{number}:String}}] LIKE {{{role}_like_{number}:String}}")
    return f"({' AND '.join(conditions)})", parameters


def _like(pattern: str) -> str:
    """A pattern with `*` and `?` as one of SQL's LIKE."""
    quoted = pattern.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return quoted.replace("*", "%").replace("?", "_")


def _operation(row: Row) -> Operation:
    return Operation(row["service"], row["kind"], row["name"])


def _operation_counts(row: Row) -> OperationCounts:
    return OperationCounts(
        operation=_operation(row),
        instance=row["instance"],
        spans=row["spans"],
        requests=row["requests"],
        errors=row["errors"],
        error_origins=row["error_origins"],
        refused=row["refused"],
        rejected=row["rejected"],
        orphans=row["orphans"],
        childless=row["childless"],
        error_kinds=dict(row["error_kinds"]),
        durations=dict(row["durations"]),
        exclusives=dict(row["exclusives"]),
        duration_ns=int(row["duration_ns_sum"]),
        exclusive_ns=int(row["exclusive_ns_sum"]),
        trace_ns=int(row["trace_ns_sum"]),
        peers=dict(row["peers"]),
        masked=dict(row["masked_words"]),
    )


def _edge_counts(row: Row) -> EdgeCounts:
    caller = Operation(row["caller_service"], row["caller_kind"], row["caller_name"])
    return EdgeCounts(Edge(caller, _operation(row)), row["present"], row["last"], dict(row["calls"]))


def _trace_counts(row: Row) -> TraceCounts:
    return TraceCounts(
        row["traces"], row["spans"], row["orphans"], row["roots"], row["mixed"], dict(row["services"]), dict(row["thresholds"])
    )
