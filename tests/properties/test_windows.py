"""The SQL's windows are those of an oracle that was written from docs/windows.md, byte for byte, whatever the spans look like."""

import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from verdigris.plan.identity import EVERY_SPAN, Identity, IdentityMatch
from verdigris.telemetry import chdb_store
from verdigris.telemetry.chdb_store import ChdbStore
from verdigris.telemetry.store import (
    DURATION_MAX_NS,
    OPERATIONS_MAX,
    SERVICES_MAX,
    SIBLINGS_MAX,
    VALUE_CHARS_MAX,
    VALUES_MAX,
    WINDOW_S,
    Period,
    Unassigned,
)

NANO = 1_000_000_000
START_NS = 1_760_000_000 * NANO
TIME_MAX_NS = 2**63 - 1
ROLES = {1: Role.BASELINE, 2: Role.CANDIDATE}


@dataclass(frozen=True)
class Span:
    """One row of `otel_traces`."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    start: int = START_NS
    duration: int = 0
    service: str = "a"
    kind: str = "Internal"
    name: str = "work"
    resource: tuple[tuple[str, str], ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    status: str = "Unset"
    events: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    state: str = ""


def batch(spans: Sequence[Span]) -> pa.Table:
    text, pairs = pa.string(), pa.map_(pa.string(), pa.string())
    none: list[list[Any]] = [[] for _ in spans]
    columns: dict[str, tuple[Any, pa.DataType]] = {
        "Timestamp": ([s.start for s in spans], pa.timestamp("ns")),
        "TraceId": ([s.trace_id for s in spans], text),
        "SpanId": ([s.span_id for s in spans], text),
        "ParentSpanId": ([s.parent_id for s in spans], text),
        "TraceState": ([s.state for s in spans], text),
        "SpanName": ([s.name for s in spans], text),
        "SpanKind": ([s.kind for s in spans], text),
        "ServiceName": ([s.service for s in spans], text),
        "ResourceAttributes": ([s.resource for s in spans], pairs),
        "ScopeName": (["" for _ in spans], text),
        "ScopeVersion": (["" for _ in spans], text),
        "SpanAttributes": ([s.attributes for s in spans], pairs),
        "Duration": ([s.duration for s in spans], pa.uint64()),
        "StatusCode": ([s.status for s in spans], text),
        "StatusMessage": (["" for _ in spans], text),
        "Events.Timestamp": ([[0 for _ in s.events] for s in spans], pa.list_(pa.timestamp("ns"))),
        "Events.Name": ([[name for name, _ in s.events] for s in spans], pa.list_(text)),
        "Events.Attributes": ([[pairs for _, pairs in s.events] for s in spans], pa.list_(pairs)),
        "Links.TraceId": (none, pa.list_(text)),
        "Links.SpanId": (none, pa.list_(text)),
        "Links.TraceState": (none, pa.list_(text)),
        "Links.Attributes": (none, pa.list_(pairs)),
    }
    return pa.table({name: pa.array(values, kind) for name, (values, kind) in columns.items()})


# --- the oracle ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounds:
    operations: int = OPERATIONS_MAX
    services: int = SERVICES_MAX
    values: int = VALUES_MAX
    siblings: int = SIBLINGS_MAX
    chars: int = VALUE_CHARS_MAX


class Seen(NamedTuple):
    """A span as the windows see it, its fields in the order that decides between clashing spans."""

    start: int
    duration: int
    parent: int
    own_role: int
    ambiguous: bool
    service: str
    kind: str
    span_name: str
    bare_method: bool
    route: str
    method: str
    peer: str
    instance: str
    http_code: int
    error_kind: str
    refused: bool
    failed: bool
    threshold: str
    masked: str
    rejected: bool

    @property
    def end(self) -> int:
        return self.start + self.duration


Key = tuple[int, int]
"""Trace and span."""


def id_number(text: str, digits: int) -> int:
    if re.fullmatch(f"[0-9A-Fa-f]{{1,{digits}}}", text):
        return int(text, 16)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: digits // 2], "little") if text else 0


def templated(text: str, chars: int) -> str:
    text = re.sub(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", "{uuid}", text)
    text = re.sub(r"\b(0x[0-9A-Fa-f]+|[0-9A-Fa-f]{16,})\b", "{hex}", text, flags=re.ASCII)
    return re.sub(r"\b[0-9]+\b", "{n}", text, flags=re.ASCII)[:chars]


def claims(match: IdentityMatch | None, resource: Mapping[str, str]) -> bool:
    def like(pattern: str) -> str:
        return "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)

    return match is not None and all(re.fullmatch(like(p), resource.get(k, ""), re.DOTALL) for k, p in match.patterns.items())


def first_of(attributes: Mapping[str, str], *keys: str) -> str:
    return next((attributes[k] for k in keys if attributes.get(k)), "")


GRPC_REFUSED = {"7", "16", "PERMISSION_DENIED", "UNAUTHENTICATED"}
GRPC_FAILED = {"2", "4", "12", "13", "14", "15", "UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


def see(span: Span, identity: Identity, bounds: Bounds) -> Seen:
    resource, attributes = dict(span.resource), dict(span.attributes)
    baseline, candidate = claims(identity.baseline, resource), claims(identity.candidate, resource)
    kind = span.kind.removeprefix("SPAN_KIND_").capitalize() if span.kind.startswith("SPAN_KIND_") else span.kind
    kind = kind if kind in {"Internal", "Server", "Client", "Producer", "Consumer"} else "Unspecified"
    written = first_of(attributes, "http.response.status_code", "http.status_code")
    http = int(written) if re.fullmatch("[1-5][0-9][0-9]", written) else 0
    grpc = first_of(attributes, "rpc.grpc.status_code", "rpc.response.status_code")
    thrown = [dict(pairs)["exception.type"] for name, pairs in span.events if name == "exception" and dict(pairs).get("exception.type")]
    error_kind = (
        (thrown[0] if thrown else "")
        or attributes.get("error.type", "")
        or (f"HTTP {http}" if http >= 400 else "")
        or (f"gRPC {grpc}" if grpc not in {"", "0", "OK"} else "status Error")
    )
    refused = grpc in GRPC_REFUSED or http in {401, 403}
    failed = span.status in {"Error", "STATUS_CODE_ERROR"} or (kind == "Server" and (http >= 500 or grpc in GRPC_FAILED))
    threshold = re.search(r"(?:^|,)\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})", span.state, re.ASCII)
    number, parent = id_number(span.span_id, 16), id_number(span.parent_id, 16)
    return Seen(
        start=span.start,
        duration=max(0, min(span.duration, DURATION_MAX_NS, TIME_MAX_NS - span.start)),
        parent=0 if parent == number else parent,
        own_role=0 if baseline and candidate else 1 if baseline else 2 if candidate else 0,
        ambiguous=baseline and candidate,
        service=span.service[: bounds.chars],
        kind=kind,
        span_name=templated(span.name, bounds.chars),
        bare_method=bool(re.fullmatch("(http )?(get|head|post|put|patch|delete|options)", span.name, re.IGNORECASE)),
        route=templated(attributes.get("http.route", ""), bounds.chars),
        method=templated(first_of(attributes, "http.request.method", "http.method"), bounds.chars),
        peer=templated(
            first_of(attributes, "peer.service", "server.address", "net.peer.name", "db.system.name", "db.system", "messaging.system"),
            bounds.chars,
        ),
        instance=first_of(resource, "service.instance.id", "k8s.pod.name", "container.id", "host.name")[: bounds.chars],
        http_code=http,
        error_kind=error_kind[: bounds.chars],
        refused=refused,
        failed=failed,
        threshold=threshold[1] if threshold else "",
        masked=attributes.get("verdigris.masked", "")[: bounds.chars],
        rejected=not refused and not failed and 400 <= http < 500,
    )


def busiest(counted: Mapping[Any, int], limit: int) -> set[Any]:
    return set(sorted(counted, key=lambda value: (-counted[value], value))[:limit])


def union_length(intervals: Iterable[tuple[int, int]]) -> int:
    total, reached = 0, -(2**70)
    for start, end in sorted(intervals):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def bucket(nanoseconds: int) -> int:
    """The i with 2^(i/32) < ns <= 2^((i+1)/32), in whole numbers: ns^32 <= 2^(i+1)."""
    return (int(max(nanoseconds, 1) ** 32) - 1).bit_length() - 1


class Oracle:
    """Windows by following each trace, one after the other."""

    def __init__(self, spans: Iterable[Span], identity: Identity, period: Period, bounds: Bounds) -> None:
        self.bounds = bounds
        self._settle(spans, identity, period)
        self.children: dict[Key, list[Key]] = defaultdict(list)
        for (trace, number), one in self.spans.items():
            if one.parent:
                self.children[trace, one.parent].append((trace, number))
        self._give_roles()
        self.exclusive = {key: self._exclusive(key) for key in self.spans}
        self.operations = self._pooled({key: self._name(key) for key in self.spans})
        times = Counter((key[0], self.roles[key], self.operations[key]) for key in self.spans)
        self.weights = {key: max(1, UNIT // times[key[0], self.roles[key], self.operations[key]]) for key in self.spans}
        self.instances = self._pooled_values("instance", lambda key: True)
        self.error_kinds = self._pooled_values("error_kind", lambda key: self.spans[key].failed)
        self.peers = self._pooled_values("peer", self._has_peer)
        self.masked = self._pooled_values("masked", lambda key: bool(self.spans[key].masked))
        self.thresholds = self._pooled_values("threshold", lambda key: bool(self.spans[key].threshold), by_service=False)

    def _settle(self, spans: Iterable[Span], identity: Identity, period: Period) -> None:
        """The distinct spans of the traces that start in the period. Which these are is asked before clashing spans are settled."""
        contents: dict[Key, set[Seen]] = defaultdict(set)
        self.without_id = 0
        for span in spans:
            trace, number = id_number(span.trace_id, 32), id_number(span.span_id, 16)
            if trace and number:
                contents[trace, number].add(see(span, identity, self.bounds))
            else:
                self.without_id += period.start_unix_nano <= span.start < period.end_unix_nano
        earliest: dict[int, int] = {}
        for (trace, _), seen in contents.items():
            earliest[trace] = min([earliest.get(trace, TIME_MAX_NS), *(s.start for s in seen)])
        self.spans: dict[Key, Seen] = {}
        self.clashing = 0
        for key, seen in contents.items():
            if period.start_unix_nano <= earliest[key[0]] < period.end_unix_nano:
                self.spans[key] = min(seen)
                self.clashing += len(seen) - 1

    def _give_roles(self) -> None:
        self.of_trace: dict[int, dict[int, Seen]] = defaultdict(dict)
        for (trace, number), one in self.spans.items():
            self.of_trace[trace][number] = one
        self.roles: dict[Key, int] = {}
        self.mixed: set[int] = set()
        for trace, members in self.of_trace.items():
            touched = {s.own_role for s in members.values()} - {0}
            if len(touched) == 2:
                self.mixed.add(trace)
            for number, one in members.items():
                self.roles[trace, number] = one.own_role or (touched.copy().pop() if len(touched) == 1 else 0)

    def _has_peer(self, key: Key) -> bool:
        return self.spans[key].peer != "" and self.spans[key].kind in {"Client", "Producer"}

    def _exclusive(self, key: Key) -> int:
        span = self.spans[key]
        covered = []
        for child in (self.spans[c] for c in self.children[key]):
            start = child.start
            if child.kind == "Server" and child.duration <= span.duration:
                start = max(span.start, min(start, span.end - child.duration))
            covered.append((max(start, span.start), min(start + child.duration, span.end)))
        if span.kind == "Internal" and span.parent:
            siblings = [k for k in self.children[key[0], span.parent] if self.spans[k].service == span.service]
            internal = sorted((self.spans[k].start, k[1]) for k in siblings if self.spans[k].kind == "Internal")
            if (span.start, key[1]) in internal[: self.bounds.siblings]:
                calls = [self.spans[k] for k in siblings if self.spans[k].kind in {"Client", "Producer"}]
                covered += [(c.start, min(c.end, span.end)) for c in calls if span.start <= c.start < span.end]
        return span.duration - union_length((low, high) for low, high in covered if high > low)

    def _name(self, key: Key) -> Operation:
        span = self.spans[key]
        called = [s.service for s in (self.spans[c] for c in self.children[key]) if s.kind == "Server"]
        name = span.span_name
        if span.kind == "Server" and span.route:
            name = f"{span.method} {span.route}" if span.method else span.route
        elif span.kind == "Client" and span.bare_method and called and min(called):
            name += f" {min(called)}"
        elif span.kind == "Client" and span.bare_method and span.peer:
            name += f" {span.peer}"
        return Operation(span.service, span.kind, name)

    def _pooled(self, names: Mapping[Key, Operation]) -> dict[Key, Operation]:
        spans = Counter(dict.fromkeys(names.values(), 0))
        spans.update(o for key, o in names.items() if self.roles[key])
        of_service: Counter[str] = Counter()
        for operation, count in spans.items():
            of_service[operation.service] += count
        services, operations = busiest(of_service, self.bounds.services), busiest(spans, self.bounds.operations)
        pooled = {}
        for o in spans:
            known = o.service in services
            pooled[o] = Operation(o.service if known else "{other}", o.kind, o.name if known and o in operations else "{other}")
        return {key: pooled[o] for key, o in names.items()}

    def _pooled_values(self, of: str, counts: Callable[[Key], bool], *, by_service: bool = True) -> dict[Key, str]:
        groups: dict[Any, Counter[str]] = defaultdict(Counter)
        for key, span in self.spans.items():
            if counts(key):
                groups[self.roles[key], self.operations[key].service if by_service else ""][getattr(span, of)] += 1
        kept = {group: busiest(counter, self.bounds.values) for group, counter in groups.items()}
        out = {}
        for key, span in self.spans.items():
            value = str(getattr(span, of))
            group = (self.roles[key], self.operations[key].service if by_service else "")
            out[key] = "{other}" if value in groups[group] and value not in kept[group] else value
        return out

    def unassigned(self) -> Unassigned:
        without = [key for key in self.spans if not self.roles[key]]
        shared = sum(key[0] in self.mixed for key in without)
        ambiguous = sum(s.ambiguous for s in self.spans.values())
        return Unassigned(len(without) - shared, shared, len(self.mixed), ambiguous, self.clashing, self.without_id)

    def windows(self) -> Windows:
        halves: dict[tuple[int, int], list[Key]] = defaultdict(list)
        for trace, members in self.of_trace.items():
            window_s = min(s.start for s in members.values()) // (WINDOW_S * NANO) * WINDOW_S
            for number in members:
                if self.roles[trace, number]:
                    halves[window_s, self.roles[trace, number]].append((trace, number))
        empty = RoleWindow()
        made = {at: self._half(keys) for at, keys in halves.items()}
        starts = sorted({start for start, _ in made})
        return Windows(WINDOW_S, tuple(Window(s, made.get((s, 1), empty), made.get((s, 2), empty)) for s in starts))

    def _half(self, keys: Sequence[Key]) -> RoleWindow:
        rows: dict[tuple[Operation, str], list[Key]] = defaultdict(list)
        for key in keys:
            rows[self.operations[key], self.instances[key]].append(key)
        counts = [self._operation(o, instance, members) for (o, instance), members in sorted(rows.items())]
        return RoleWindow(self._traces(keys), tuple(counts), tuple(self._edges(keys)))

    def _orphan(self, key: Key) -> bool:
        return self.spans[key].parent != 0 and (key[0], self.spans[key].parent) not in self.spans

    def _traces(self, keys: Sequence[Key]) -> TraceCounts:
        of_trace: dict[int, list[Key]] = defaultdict(list)
        for key in keys:
            of_trace[key[0]].append(key)
        services = Counter(s for members in of_trace.values() for s in {self.operations[k].service for k in members})
        thresholds = Counter(max(self.thresholds[k] for k in members) for members in of_trace.values())
        thresholds.pop("", None)
        return TraceCounts(
            traces=len(of_trace),
            spans=len(keys),
            orphans=sum(map(self._orphan, keys)),
            roots=sum(self.spans[k].parent == 0 for k in keys),
            mixed=sum(trace in self.mixed for trace in of_trace),
            services=services,
            thresholds=thresholds,
        )

    def _operation(self, operation: Operation, instance: str, keys: Sequence[Key]) -> OperationCounts:
        def weight(counts: Callable[[Key], bool]) -> int:
            return sum(self.weights[k] for k in keys if counts(k))

        def histogram(value: Callable[[Key], Any], among: Iterable[Key] = keys) -> dict[Any, int]:
            found: Counter[Any] = Counter()
            for key in among:
                found[value(key)] += self.weights[key]
            return found

        def total(value: Callable[[Key], int]) -> int:
            return sum(value(k) * self.weights[k] // UNIT for k in keys)

        def whole(key: Key) -> int:
            members = self.of_trace[key[0]].values()
            return max(s.end for s in members) - min(s.start for s in members)

        def origin(key: Key) -> bool:
            return self.spans[key].failed and not any(self.spans[c].failed for c in self.children[key])

        return OperationCounts(
            operation,
            instance,
            spans=len(keys),
            requests=weight(lambda _: True),
            errors=weight(lambda k: self.spans[k].failed),
            error_origins=weight(origin),
            refused=weight(lambda k: self.spans[k].refused),
            rejected=weight(lambda k: self.spans[k].rejected),
            orphans=weight(self._orphan),
            childless=weight(lambda k: not self.children[k]),
            error_kinds=histogram(lambda k: self.error_kinds[k], [k for k in keys if self.spans[k].failed]),
            durations=histogram(lambda k: bucket(self.spans[k].duration)),
            exclusives=histogram(lambda k: bucket(self.exclusive[k])),
            duration_ns=total(lambda k: self.spans[k].duration),
            exclusive_ns=total(lambda k: self.exclusive[k]),
            trace_ns=total(whole),
            peers=Counter(self.peers[k] for k in keys if self._has_peer(k)),
            masked=histogram(lambda k: self.masked[k], [k for k in keys if self.spans[k].masked]),
        )

    def _edges(self, keys: Sequence[Key]) -> Iterator[EdgeCounts]:
        present: Counter[Edge] = Counter()
        last: Counter[Edge] = Counter()
        calls: dict[Edge, Counter[int]] = defaultdict(Counter)
        for key in keys:
            made = [c for c in self.children[key] if self.roles[c] == self.roles[key]]
            latest = max((self.spans[c].start for c in made), default=0)
            for callee, count in Counter(self.operations[c] for c in made).items():
                edge = Edge(self.operations[key], callee)
                present[edge] += self.weights[key]
                calls[edge][count] += self.weights[key]
                if any(self.spans[c].start == latest and self.operations[c] == callee for c in made):
                    last[edge] += self.weights[key]
        for edge in sorted(present):
            yield EdgeCounts(edge, present[edge], last[edge], calls[edge])


# --- random spans -------------------------------------------------------------------------------------------------------------

ODD_TEXT = ("", "x'y", 'a"b', "back\\slash", "tab\there", "new\nline", "é — ü", "nul\0", "{other}", "%_*?", "\r", "𝄞" * 201)
TRACE_IDS = ("a1" * 16, "A1" * 16, "a1" * 15 + "a2", "b2" * 16, "abc", "0abc", "zz", "Zz", "ab" * 20, "ÿ", "0" * 32, "")
SPAN_IDS = (*(f"{n:016x}" for n in range(1, 31)), "8", "0" * 16, "", "zz", "zz'\\", "ab" * 12, "FF", "ff")
UUID = "123e4567-e89b-12d3-a456-426614174000"
NAMES = (
    *ODD_TEXT, "work", "GET", "HTTP get", "get\n", "POST /a/12", f"x/{UUID}/y", f"x{UUID}",
    "get 0xfF", "h a1b2c3d4e5f6a7b8", "h abcdefabcdef4abcdabcd",
    "deadbeefdeadbeef", "v1/12-3_4", "١٢ 12é", "a" * 300, "9" * 250,
)  # fmt: skip
CODES = ("200", "399", "400", "401", "403", "404", "499", "500", "503", "599", "600", "099", "404 ", "+500", "70000", "x", "٤٠٤", "500\n")
GRPC = ("0", "OK", "2", "7", "16", "UNAVAILABLE", "5", "odd'", "PERMISSION_DENIED")
DURATIONS = (0, 1, 2, 7, 2**10, 2**20 + 1, 2**30, 2**40, DURATION_MAX_NS - 1, DURATION_MAX_NS + 1, 2**63 - 1, 2**63, 2**64 - 1)


def pairs_of(values: Mapping[str, Sequence[str]]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    optional = {key: st.sampled_from(each) for key, each in values.items()}
    return st.fixed_dictionaries({}, optional=optional).map(lambda d: tuple(sorted(d.items())))


NAMES_MADE_UP = st.sampled_from(NAMES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)

RESOURCES = pairs_of({
    "service.version": ("v1", "v2", "v1'", "v1\\", "%", "v_", "v1-green", "", "v\n1"),
    "env": ("blue", "green", "", "é"),
    "service.instance.id": ("i1", "i2", "", "\\N"),
    "k8s.pod.name": ("p'1", ""),
    "host.name": ("h1", "𝄞" * 201),
})  # fmt: skip
ATTRIBUTE_VALUES: dict[str, Sequence[str]] = {
    "http.route": ("/a/{id}", "/a/12", *ODD_TEXT),
    "http.request.method": ("GET", "", "_OTHER"),
    "http.method": ("POST",),
    "http.response.status_code": CODES,
    "http.status_code": CODES,
    "rpc.grpc.status_code": GRPC,
    "rpc.response.status_code": GRPC,
    "peer.service": ("p", "", "10.2.0.17", "x\\'"),
    "server.address": ("db-12.example", ""),
    "db.system": ("mysql",),
    "error.type": ("timeout", "", "500", "o'dd\\"),
    "verdigris.masked": ("card@span_name", "card@span_name email@span_attribute", "", "o'dd\\", "x" * 201),
}  # fmt: skip
ATTRIBUTES = pairs_of(ATTRIBUTE_VALUES)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["exception", "log", "'"]), pairs_of({"exception.type": ("IOError", "", "a\\b'")})), max_size=2
).map(tuple)
STATES = st.sampled_from(["", "", "ot=th:8", "a=b,ot=rv:1;th:c8f", "a=b, ot=th:0", "xot=th:1", "ot=th:zz", "b=ot=th:8", "ot=p:1,q=th:9"])
STATUS = st.sampled_from(["Unset", "Ok", "Error", "STATUS_CODE_ERROR", "STATUS_CODE_OK", "", "error"])
KINDS = st.sampled_from([
    "Internal", "Internal", "Client", "Client", "Server", "Server", "Producer", "Consumer", "Unspecified", "", "odd", "SPAN_KIND_CLIENT",
    "SPAN_KIND_SERVER", "SPAN_KIND_INTERNAL",
])  # fmt: skip


VERSIONED = st.sampled_from(
    [(), (), (("service.version", "v1"),), (("service.version", "v2"),), (("service.version", "v1"), ("host.name", "h"))]
)


@st.composite
def calm_trace(draw: st.DrawFn) -> list[Span]:
    """A small tree whose spans overlap: shared and mixed, with siblings, clocks that disagree a little, and a lost parent now and then."""
    trace_id = f"{draw(st.integers(1, 10**6)):032x}"
    start = START_NS + draw(st.integers(-3, 3)) * 5 * NANO
    all_versions = [(), (("service.version", "v1"),), (("service.version", "v2"),)]
    versions = draw(st.just(all_versions) | st.lists(VERSIONED, min_size=1, max_size=3))
    made = [Span(trace_id, "1", start=start, duration=30, kind="Server", resource=draw(st.sampled_from(versions)))]
    for number in range(2, draw(st.integers(3, 9))):
        made.append(
            Span(
                trace_id,
                str(number),
                parent_id=draw(st.sampled_from(["1", "1", *(s.span_id for s in made[-3:]), "77"])),
                start=start + draw(st.integers(-3, 30)),
                duration=draw(st.integers(0, 20)),
                service=draw(st.sampled_from(["a", "a", "b"])),
                kind=draw(st.sampled_from(["Internal", "Client", "Internal", "Client", "Server", "Producer"])),
                name=draw(st.sampled_from(["work", "GET"])),
                resource=draw(st.sampled_from(versions)),
                status=draw(st.sampled_from(["Unset", "Error"])),
                state=draw(st.sampled_from(["", "ot=th:8", "ot=th:c"])),
            )
        )
    return made


@st.composite
def wild_trace(draw: st.DrawFn) -> list[Span]:
    """Everything that goes wrong: spans without ids, clashing and repeated ones, circles, odd text, absurd durations."""
    trace_ids = draw(st.lists(st.sampled_from(TRACE_IDS), min_size=1, max_size=2))
    start = START_NS + draw(st.integers(-3, 3)) * 5 * NANO + draw(st.integers(-1, 1))
    resources = draw(st.lists(VERSIONED | RESOURCES, min_size=1, max_size=3))
    made: list[Span] = []
    for _ in range(draw(st.integers(1, 9))):
        made.append(
            Span(
                trace_id=draw(st.sampled_from(trace_ids)),
                span_id=draw(st.sampled_from(SPAN_IDS)),
                parent_id=draw(st.sampled_from([s.span_id for s in made] or [""]) | st.sampled_from(SPAN_IDS)),
                start=start + draw(st.integers(-5, 40) | st.integers(-(2**33), 2**34)),
                duration=draw(st.integers(0, 40) | st.sampled_from(DURATIONS)),
                service=draw(st.sampled_from(ODD_TEXT)),
                kind=draw(KINDS),
                name=draw(NAMES_MADE_UP),
                resource=draw(st.sampled_from(resources)),
                attributes=draw(ATTRIBUTES),
                status=draw(STATUS),
                events=draw(EVENTS),
                state=draw(STATES),
            )
        )
    return made


FORESTS = st.lists(calm_trace() | wild_trace(), min_size=1, max_size=6).map(lambda traces: [s for t in traces for s in t])
PATTERNS = ("v1", "v2", "v*", "v?", "*", "v1*", "v1'", "v1\\", "%", "v_", "", "?*", "*\n*")
MATCHES = st.none() | st.dictionaries(st.sampled_from(["service.version", "env", "it's"]), st.sampled_from(PATTERNS), min_size=1).map(
    IdentityMatch
)
TOLD_APART = st.just(Identity(IdentityMatch({"service.version": "v1"}), IdentityMatch({"service.version": "v2"})))
IDENTITIES = (
    TOLD_APART
    | TOLD_APART
    | st.just(Identity(EVERY_SPAN, None))
    | st.just(Identity(IdentityMatch({"service.version": "v*"}), IdentityMatch({"service.version": "v2"})))
    | st.builds(Identity, MATCHES, MATCHES)
)
ALL_TIME = Period(START_NS - 60 * NANO, START_NS + 60 * NANO)
EXAMPLES = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


class Tables:
    """An empty table for every example: emptied, because making one and closing over hundreds takes seconds."""

    def __init__(self, store: ChdbStore) -> None:
        self.store = store

    def windows(self, batches: Iterable[Sequence[Span]], identity: Identity, *periods: Period) -> tuple[Windows, Unassigned]:
        """Of so many inserts, period by period."""
        self.store._shared.session.query("TRUNCATE TABLE otel_traces")
        for spans in batches:
            self.store.insert(batch(spans))
        made = [self.store.windows(period, identity) for period in periods or (ALL_TIME,)]
        return merge([w for w, _ in made]), sum((u for _, u in made), Unassigned())


@pytest.fixture(scope="module")
def tables() -> Iterator[Tables]:
    with ChdbStore() as store:
        yield Tables(store)


@EXAMPLES
@given(spans=FORESTS, identity=IDENTITIES)
def test_the_windows_are_those_of_the_oracle(tables: Tables, spans: list[Span], identity: Identity) -> None:
    windows, unassigned = tables.windows([spans], identity)
    oracle = Oracle(spans, identity, ALL_TIME, Bounds())
    assert windows == oracle.windows()
    assert windows.canonical_bytes() == oracle.windows().canonical_bytes()
    assert unassigned == oracle.unassigned()


def crowd(draw: Random, traces: int) -> Iterator[Span]:
    """Many small traces at once: what is rare in one of them is not rare in all."""
    shared: tuple[tuple[str, str], ...] = ()
    versions: list[tuple[tuple[str, str], ...]] = [
        (("service.version", version), ("host.name", draw.choice("hij"))) for version in ("v1", "v2")
    ]
    for trace in range(1, traces + 1):
        start = START_NS + draw.randrange(-4, 4) * 5 * NANO
        resources: list[tuple[tuple[str, str], ...]] = draw.choice([[shared, *versions], [shared, versions[0]], [versions[1]], versions])
        for number in range(1, draw.randint(2, 12)):
            parent = draw.choice([1, 1, draw.randint(1, 12)]) if number > 1 else draw.choice([0, 0, 0, 99])
            yield Span(
                f"{trace:032x}",
                f"{number:016x}",
                f"{parent:016x}",
                start=start + draw.randint(-3, 30),
                duration=draw.choice([draw.randint(0, 20), 40, draw.randrange(2**35)]),
                service=draw.choice("aab"),
                kind=draw.choice(["Internal", "Client", "Internal", "Client", "Server", "Producer", "Consumer"]),
                name=draw.choice([*NAMES, *["GET"] * 20]),
                resource=draw.choice(resources),
                attributes=tuple((k, draw.choice(v)) for k, v in ATTRIBUTE_VALUES.items() if draw.random() < 0.2),
                status=draw.choice(["Unset", "Unset", "Error"]),
                state=draw.choice(["", "ot=th:8", "ot=th:c", "a=b,ot=rv:1;th:c8f"]),
            )


@pytest.mark.parametrize("seed", range(4))
def test_a_crowd_of_traces_gives_the_windows_of_the_oracle(tables: Tables, seed: int) -> None:
    spans = list(crowd(Random(seed), 400))
    identity = Identity(IdentityMatch({"service.version": "v1"}), IdentityMatch({"service.version": "v2"}))
    windows, unassigned = tables.windows([spans], identity)
    oracle = Oracle(spans, identity, ALL_TIME, Bounds())
    assert windows.canonical_bytes() == oracle.windows().canonical_bytes()
    assert unassigned == oracle.unassigned()


SMALL = Bounds(operations=3, services=2, values=1, siblings=1, chars=5)


@EXAMPLES
@given(spans=FORESTS, identity=IDENTITIES)
def test_what_is_beyond_a_bound_is_pooled_as_the_oracle_pools_it(
    tables: Tables, spans: list[Span], identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as small:
        for name, value in (
            ("OPERATIONS_MAX", SMALL.operations),
            ("SERVICES_MAX", SMALL.services),
            ("VALUES_MAX", SMALL.values),
            ("SIBLINGS_MAX", SMALL.siblings),
            ("VALUE_CHARS_MAX", SMALL.chars),
        ):
            small.setattr(chdb_store, name, value)
        windows, unassigned = tables.windows([spans], identity)
    oracle = Oracle(spans, identity, ALL_TIME, SMALL)
    assert windows == oracle.windows()
    assert unassigned == oracle.unassigned()


@settings(EXAMPLES, max_examples=10)
@given(spans=FORESTS, identity=IDENTITIES, data=st.data())
def test_order_batching_and_repeated_delivery_do_not_matter(
    tables: Tables, spans: list[Span], identity: Identity, data: st.DataObject
) -> None:
    repeated = spans + data.draw(st.lists(st.sampled_from(spans), max_size=6))
    shuffled = data.draw(st.permutations(repeated))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=3)))
    batches = [shuffled[low:high] for low, high in itertools.pairwise([0, *cuts, len(shuffled)])]
    once, left_out = tables.windows([spans], identity)
    again, left_out_again = tables.windows(batches, identity)
    assert again.canonical_bytes() == once.canonical_bytes()
    assert {**vars_of(left_out_again), "without_id": 0} == {**vars_of(left_out), "without_id": 0}


def vars_of(unassigned: Unassigned) -> dict[str, int]:
    return {name: getattr(unassigned, name) for name in Unassigned.__slots__}


@settings(EXAMPLES, max_examples=10)
@given(spans=FORESTS, identity=IDENTITIES, cuts=st.lists(st.integers(-5, 5), max_size=3, unique=True).map(sorted))
def test_several_periods_give_the_windows_of_one(tables: Tables, spans: list[Span], identity: Identity, cuts: list[int]) -> None:
    edges = [ALL_TIME.start_unix_nano, *(START_NS + cut * WINDOW_S * NANO for cut in cuts), ALL_TIME.end_unix_nano]
    periods = [Period(low, high) for low, high in itertools.pairwise(edges)]
    whole, left_out = tables.windows([spans], identity)
    parts, left_out_of_parts = tables.windows([spans], identity, *periods)
    assert parts.canonical_bytes() == whole.canonical_bytes()
    assert left_out_of_parts == left_out
