"""Recordings of systems that do not exist: a table of operations in, OTLP/JSON lines out, the same ones every time.

A system is a table of operations with the calls they make, their own times and how they fail. A deployment runs one, on
several instances, and may export badly. What a request does is drawn from a seeded generator, so a recording is a function
of its arguments.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

START_UNIX_S = 1_790_000_000
"""When recordings begin, a multiple of the judge's window."""

LINE_TRACES = 100
"""Traces whose spans share a line, as a collector batches them."""

NETWORK_NS = 200_000
"""From a client to its server, and back."""

SERVER, CLIENT = 2, 3
OK, UNAUTHORIZED, FAILED = 200, 401, 500
UNAUTHENTICATED = 16
"""gRPC's word for 401."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call to another operation, or to something outside of which only the client span speaks.

    `share`: the part of requests that make it; `times` in a row; after `stops` of the calls the caller is done early.
    """

    to: str
    share: float = 1.0
    times: int = 1
    stops: float = 0.0


@dataclass(frozen=True, slots=True)
class Operation:
    """What a server does. `own_ms` is the median of its own time, log-normal with `spread`.

    `slow_share` of the requests take `slow_ms` more. `errors` of them fail with `exception`, `refused` are answered 401 and
    do nothing. With `grpc` a failure is that status code and a refusal 16, otherwise HTTP 500 and 401. `outside`: nobody
    records it; its callers do. `url_share` of them have `url` as the URL that was asked.
    """

    own_ms: float
    calls: tuple[Call, ...] = ()
    spread: float = 0.25
    slow_share: float = 0.0
    slow_ms: float = 0.0
    errors: float = 0.0
    exception: str = "builtins.ValueError"
    refused: float = 0.0
    grpc: int = 0
    outside: bool = False
    url: str = ""
    url_share: float = 0.0


System = Mapping[str, Operation]
"""Operations by "service route", for example "portal GET /appointments"."""


def changed(system: System, name: str, change: Callable[[Operation], Operation]) -> System:
    """The system with one operation changed."""
    return {**system, name: change(system[name])}


@dataclass(frozen=True, slots=True)
class Deployment:
    """A system as it runs and exports.

    `odd` replaces the system on single instances. `silent` services export nothing; `headless` of the traces lack their first
    span. `slot` is a resource attribute of every service but the `shared` ones.
    """

    system: System
    entries: Mapping[str, float]
    """How requests are shared out over operations."""
    slot: str
    instances: int = 3
    odd: Mapping[int, System] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    headless: float = 0.0
    tracestate: str = ""
    shared: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Request:
    """One trace being made: spans by service, and the names of the tables' rows split in two."""

    system: System
    chance: Random
    trace_id: str
    tracestate: str
    spans: dict[str, list[str]]

    def serve(self, name: str, at: int, parent: str) -> tuple[int, int]:
        """Run an operation; returns when it ended and what it answered."""
        operation, chance = self.system[name], self.chance
        own = int(operation.own_ms * 1e6 * chance.lognormvariate(0.0, operation.spread))
        if operation.slow_share and chance.random() < operation.slow_share:
            own += int(operation.slow_ms * 1e6)
        answer, span_id = OK, f"{chance.getrandbits(64) | 1:016x}"
        if operation.refused and chance.random() < operation.refused:
            answer = UNAUTHORIZED
        now = at + own // 2
        for call in operation.calls if answer == OK else ():
            if call.share < 1 and chance.random() >= call.share:
                continue
            for _ in range(call.times):
                now, theirs = self.call(name, call.to, now, span_id)
                answer = FAILED if theirs >= FAILED else answer
            if answer != OK or (call.stops and chance.random() < call.stops):
                break
        now += own - own // 2
        exception = ""
        if operation.errors and answer == OK and chance.random() < operation.errors:
            answer, exception = FAILED, operation.exception
        if not operation.outside:
            service, _, route = name.partition(" ")
            attributes = _rpc(operation, answer) if operation.grpc else _http(route, answer)
            if operation.url_share and chance.random() < operation.url_share:
                attributes += _text("url.full", operation.url)
            self.emit(service, route, SERVER, (span_id, parent), (at, now), attributes, failed=answer >= FAILED, exception=exception)
        return now, answer

    def call(self, caller: str, name: str, at: int, parent: str) -> tuple[int, int]:
        """Call an operation; returns when the answer was there and what it was."""
        span_id = f"{self.chance.getrandbits(64) | 1:016x}"
        back, answer = self.serve(name, at + NETWORK_NS, span_id)
        callee, _, route = name.partition(" ")
        operation = self.system[name]
        method = route.partition(" ")[0]
        attributes = _rpc(operation, answer) if operation.grpc else _http("", answer)
        attributes += _text("server.address", callee)
        done = back + NETWORK_NS
        service = caller.partition(" ")[0]
        self.emit(service, route if operation.grpc else method, CLIENT, (span_id, parent), (at, done), attributes, failed=answer != OK)
        return done, answer

    def emit(
        self,
        service: str,
        name: str,
        kind: int,
        ids: tuple[str, str],
        times: tuple[int, int],
        attributes: str,
        *,
        failed: bool,
        exception: str = "",
    ) -> None:
        """Export a span. `ids`: its own and its parent's; `times`: start and end."""
        (span_id, parent), (start, end) = ids, times
        events = (
            f',"events":[{{"timeUnixNano":"{end}","name":"exception","attributes":[{_text("exception.type", exception)[:-1]}]}}]'
            if exception
            else ""
        )
        self.spans.setdefault(service, []).append(
            f'{{"traceId":"{self.trace_id}","spanId":"{span_id}"'
            + (f',"parentSpanId":"{parent}"' if parent else "")
            + (f',"traceState":"{self.tracestate}"' if self.tracestate else "")
            + f',"name":"{name}","kind":{kind},"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}"'
            f',"attributes":[{attributes[:-1]}]{events}' + (',"status":{"code":2}}' if failed else "}")
        )


def _text(key: str, value: str) -> str:
    return f'{{"key":"{key}","value":{{"stringValue":"{value}"}}}},'


def _int(key: str, value: int) -> str:
    return f'{{"key":"{key}","value":{{"intValue":"{value}"}}}},'


def _http(route: str, code: int) -> str:
    method, _, path = route.partition(" ")
    return (_text("http.request.method", method) + _text("http.route", path) if route else "") + _int("http.response.status_code", code)


def _rpc(operation: Operation, code: int) -> str:
    status = operation.grpc if code >= FAILED else UNAUTHENTICATED if code == UNAUTHORIZED else 0
    return _text("rpc.system", "grpc") + _int("rpc.grpc.status_code", status)


def lines(deployment: Deployment, *, requests: int, seconds: float, seed: int, after_s: float = 0.0) -> Iterator[bytes]:
    """The recording of so many requests, evenly over so many seconds that begin `after_s` after `START_UNIX_S`."""
    chance = Random(f"{deployment.slot} {seed}")
    names, weights = list(deployment.entries), list(deployment.entries.values())
    batch: dict[tuple[str, int], list[str]] = {}
    start_ns = int((START_UNIX_S + after_s) * 1e9)
    for number in range(requests):
        instance = number % deployment.instances
        request = _Request(
            deployment.odd.get(instance, deployment.system), chance, f"{chance.getrandbits(128) | 1:032x}", deployment.tracestate, {}
        )
        name = chance.choices(names, weights)[0]
        at = start_ns + int((number + chance.random()) * seconds * 1e9 / requests)
        request.serve(name, at, "")
        if deployment.headless and chance.random() < deployment.headless:
            request.spans[name.partition(" ")[0]].pop()
        for service, spans in request.spans.items():
            if service not in deployment.silent:
                batch.setdefault((service, instance), []).extend(spans)
        if (number + 1) % LINE_TRACES == 0 or number + 1 == requests:
            if batch:
                yield _line(deployment, batch)
            batch = {}


def _line(deployment: Deployment, batch: Mapping[tuple[str, int], list[str]]) -> bytes:
    resources = []
    for (service, instance), spans in sorted(batch.items()):
        shared = service in deployment.shared
        attributes = _text("service.name", service)
        attributes += _text("service.instance.id", f"{service}-{'shared' if shared else f'{deployment.slot}-{instance}'}")
        attributes += "" if shared else _text("slot", deployment.slot)
        resources.append(
            f'{{"resource":{{"attributes":[{attributes[:-1]}]}},"scopeSpans":[{{"scope":{{"name":"scenario"}},"spans":[{",".join(spans)}]}}]}}'
        )
    return f'{{"resourceSpans":[{",".join(resources)}]}}\n'.encode()


def record(file: Path, deployment: Deployment, *, requests: int, seconds: float, seed: int, after_s: float = 0.0) -> Path:
    """Write a recording; returns `file`."""
    with file.open("wb") as out:
        out.writelines(lines(deployment, requests=requests, seconds=seconds, seed=seed, after_s=after_s))
    return file


CLINIC: System = {
    "portal GET /appointments": Operation(2.0, (Call("scheduling GET /slots"), Call("eligibility GET /coverage/{card}"))),
    "portal POST /appointments": Operation(
        2.5, (Call("identity POST /token/check"), Call("scheduling POST /bookings"), Call("notifications notify.v1.Notify/Send"))
    ),
    "scheduling GET /slots": Operation(3.0, (Call("slots-db SELECT slots"),), errors=0.001),
    "scheduling POST /bookings": Operation(4.0, (Call("slots-db SELECT slots"), Call("slots-db UPDATE slots")), errors=0.001),
    "eligibility GET /coverage/{card}": Operation(2.0, (Call("insurer.example.org GET /v2/coverage"),)),
    "identity POST /token/check": Operation(1.5, refused=0.06),
    "notifications notify.v1.Notify/Send": Operation(1.0, grpc=14),
    "slots-db SELECT slots": Operation(1.2, outside=True),
    "slots-db UPDATE slots": Operation(1.8, outside=True),
    "insurer.example.org GET /v2/coverage": Operation(12.0, outside=True),
}
"""A clinic's appointments: a portal, four services behind it, a database and an insurer's interface outside."""

CLINIC_ENTRIES = {"portal GET /appointments": 0.7, "portal POST /appointments": 0.3}
BLUE = Deployment(CLINIC, CLINIC_ENTRIES, "blue")
GREEN = replace(BLUE, slot="green")
