"""The embedded span store: chDB (ClickHouse in this process). Knows SQL files and column types; nothing of judging."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from chdb import ChdbError
from chdb.session import Session

from verdigris.judge.windows import Edge, EdgeCounts, Operation, OperationCounts, Role, RoleWindow, TraceCounts, Window, Windows
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.telemetry.store import HORIZON_S, TRACE_SPANS_MAX, WINDOW_S, ExampleSpan, Period, StoreError, Unassigned

NANO = 1_000_000_000
ROLES = {1: Role.BASELINE, 2: Role.CANDIDATE}
"""How the SQL writes the roles; 0 is neither."""

Row = dict[str, Any]


@dataclass(slots=True)
class _Facts:
    """What the session's temporary tables were made of: table, period, baseline's and candidate's match."""

    made_of: tuple[str, Period, str, str] | None = None


class ChdbStore:
    """A `SpanStore` in a folder of its own, or in a temporary one that goes with the process."""

    def __init__(self, folder: Path | None = None, table: str = "otel_traces", session: Session | None = None, facts: "_Facts | None" = None) -> None:
        """Open or create `folder`. One process owns a folder at a time.

        Raises: StoreError: the folder is in use or cannot be written.
        """
        self._table = table
        with _translated("open the span store"):
            self._session = session or Session(str(folder) if folder else None)
            self._session.query(_sql("otel_traces").replace("otel_traces", table, 1))
        # Temporary tables belong to the session, so what they hold is known to all stores on it.
        self._facts = facts if facts is not None else _Facts()

    def beside(self, table: str) -> "ChdbStore":
        """Another table in the same folder: a second recording whose trace ids may collide with this one's."""
        return ChdbStore(table=table, session=self._session, facts=self._facts)

    def __enter__(self) -> Self:
        """Use as a context manager to close it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give the folder free for another process."""
        self._session.close()

    def insert(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Keep a batch with the columns of `otel_traces`; durable when it returns."""
        spans = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        if not spans.num_rows:
            return
        self._forget_facts()
        with _translated(f"insert {spans.num_rows} spans"):
            self._session.query(f"INSERT INTO {self._table} SELECT * FROM Python(spans)")

    def chunks(self, spans_max: int) -> Sequence[Period]:
        """All stored event time, cut at window boundaries into periods of about `spans_max` spans, ascending."""
        chunks: list[Period] = []
        for row in self._rows("spans_per_window"):
            start_ns, spans = row["window_s"] * NANO, row["spans"]
            end_ns = start_ns + WINDOW_S * NANO
            if chunks and chunks[-1].spans + spans <= spans_max:
                chunks[-1] = Period(chunks[-1].start_unix_nano, end_ns, chunks[-1].spans + spans)
            else:
                chunks.append(Period(start_ns, end_ns, spans))
        return chunks

    def windows(self, period: Period, identity: Identity) -> tuple[Windows, Unassigned]:
        """The windows of the traces that start in `period`."""
        self._make_facts(period, identity)
        halves: dict[tuple[int, Role], tuple[TraceCounts, list[OperationCounts], list[EdgeCounts]]] = {}
        for row in self._rows("traces"):
            halves[row["window_s"], ROLES[row["role"]]] = (_trace_counts(row), [], [])
        for row in self._rows("operations"):
            halves[row["window_s"], ROLES[row["role"]]][1].append(_operation_counts(row))
        for row in self._rows("edges"):
            halves[row["window_s"], ROLES[row["role"]]][2].append(_edge_counts(row))
        roles = {at: RoleWindow(t, tuple(o), tuple(e)) for at, (t, o, e) in halves.items()}
        starts = sorted({start for start, _ in roles})
        empty = RoleWindow()
        windows = tuple(Window(s, roles.get((s, Role.BASELINE), empty), roles.get((s, Role.CANDIDATE), empty)) for s in starts)
        (unassigned,) = self._rows("unassigned")
        return Windows(WINDOW_S, windows), Unassigned(**unassigned)

    def examples(
        self, period: Period, identity: Identity, operations: Sequence[Operation], limit: int
    ) -> Mapping[tuple[Role, Operation], Sequence[str]]:
        """Trace ids per role and operation: the baseline's most ordinary, the candidate's worst."""
        if not operations:
            return {}
        self._make_facts(period, identity)
        found: dict[tuple[Role, Operation], list[str]] = {}
        wanted = json.dumps([[o.service, o.kind, o.name] for o in operations])
        for row in self._rows("exemplars", limit=limit, operations=wanted):
            found.setdefault((ROLES[row["role"]], _operation(row)), []).append(row["trace_id"])
        return found

    def examples_of_edge(
        self, period: Period, identity: Identity, edge: Edge, limit: int, *, absent: bool
    ) -> Mapping[Role, Sequence[str]]:
        """Trace ids in which the candidate lacks the call and the baseline has it (`absent`), or the other way round."""
        self._make_facts(period, identity)
        ends = {
            f"{end}_{part}": getattr(operation, part)
            for end, operation in (("caller", edge.caller), ("callee", edge.callee))
            for part in ("service", "kind", "name")
        }
        found: dict[Role, list[str]] = {}
        for row in self._rows("exemplars_without_call", limit=limit, absent=int(absent), **ends):
            found.setdefault(ROLES[row["role"]], []).append(row["trace_id"])
        return found

    def trace(self, period: Period, identity: Identity, trace_id: str) -> Sequence[ExampleSpan]:
        """The spans of one trace of the period, ascending by start."""
        self._make_facts(period, identity)
        return [
            ExampleSpan(
                row["span_id"], row["parent_id"], ROLES.get(row["role"]), _operation(row), row["instance"], row["start_ns"],
                row["duration_ns"], row["exclusive_ns"], row["status"],
            )
            for row in self._rows("trace", trace_id=trace_id, limit=TRACE_SPANS_MAX)
        ]  # fmt: skip

    def _make_facts(self, period: Period, identity: Identity) -> None:
        """Build the temporary tables of `facts.sql`, unless they are those of the last call."""
        wanted = (self._table, period, str(identity.baseline), str(identity.candidate))
        if self._facts.made_of == wanted:
            return
        self._forget_facts()
        parameters = {
            "baseline": _like(identity.baseline),
            "candidate": _like(identity.candidate),
            "from_ns": period.start_unix_nano,
            "to_ns": period.end_unix_nano,
            "horizon_ns": HORIZON_S * NANO,
        }
        for statement in _sql("facts").split(";\n"):
            self._rows_of(statement, parameters)
        self._facts.made_of = wanted

    def _forget_facts(self) -> None:
        self._facts.made_of = None
        for statement in _sql("drop_facts").split(";\n"):
            self._rows_of(statement, {})

    def _rows(self, name: str, **parameters: object) -> Iterator[Row]:
        yield from self._rows_of(_sql(name), parameters)

    def _rows_of(self, statement: str, parameters: Mapping[str, object]) -> list[Row]:
        settled = {"table": self._table, "window_ns": WINDOW_S * NANO}
        settled |= {key: _escaped(value) if isinstance(value, str) else value for key, value in parameters.items()}
        with _translated("query the span store"):
            answer = self._session.query(statement, "ArrowTable", params=settled)
        return answer.to_pylist() if isinstance(answer, pa.Table) else []


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Raise chDB's errors as ours."""
    try:
        yield
    except (ChdbError, RuntimeError) as error:
        msg = f"could not {what}: {error}"
        raise StoreError(msg) from error


def _sql(name: str) -> str:
    return resources.files("verdigris.telemetry").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def _escaped(value: str) -> str:
    """Text as ClickHouse reads a query parameter: backslash escapes, as in a tab-separated file."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _like(match: IdentityMatch | None) -> str:
    """The match's patterns as a JSON object of SQL LIKE patterns."""
    if match is None:
        return "{}"
    quoted = {key: p.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") for key, p in match.patterns.items()}
    return json.dumps({key: pattern.replace("*", "%").replace("?", "_") for key, pattern in quoted.items()})


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
        duration_ns=row["duration_ns_sum"],
        exclusive_ns=row["exclusive_ns_sum"],
        trace_ns=row["trace_ns_sum"],
        peers=dict(row["peers"]),
    )


def _edge_counts(row: Row) -> EdgeCounts:
    caller = Operation(row["caller_service"], row["caller_kind"], row["caller_name"])
    return EdgeCounts(Edge(caller, _operation(row)), row["present"], row["last"], dict(row["calls"]))


def _trace_counts(row: Row) -> TraceCounts:
    return TraceCounts(
        row["traces"], row["spans"], row["orphans"], row["roots"], row["mixed"], dict(row["services"]), dict(row["thresholds"])
    )
