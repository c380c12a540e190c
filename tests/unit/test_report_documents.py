"""Comparisons that the report tests draw: each verdict, nothing at all, forty services, and a hostile sender.

Loaded by path from the other report tests, so that they need no package around them.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from verdigris.comparison.document import (
    SCHEMA,
    Attribute,
    Cause,
    Comparison,
    Examples,
    Finding,
    MapEdge,
    MapNode,
    Missing,
    OperationDetail,
    OperationStats,
    Problem,
    Reading,
    RoleSummary,
    ServiceMap,
    Trail,
    Waterfall,
    WaterfallSpan,
    Windows,
    WindowSummary,
    from_json,
    to_json,
)
from verdigris.judge.verdict import Effect, Evidence
from verdigris.judge.windows import Edge, Operation
from verdigris.sensitive.findings import Leak

START = 1_790_000_000
OWN = NOT_CONCURRENT = False
HOSTILE = "</script><img src=x onerror=document.title='owned'><!--\x1b[31m\u202eevil\u2028\x00&amp;\"'`${1}"

PORTAL = Operation("portal", "SERVER", "POST /appointments")
SCHEDULE = Operation("scheduling", "SERVER", "POST /v1/schedule")
ELIGIBILITY = Operation("scheduling", "CLIENT", "GET eligibility.example.org/v2/coverage")
SLOTS = Operation("scheduling", "SERVER", "GET /v1/slots")
QUERY = Operation("scheduling", "CLIENT", "SELECT slots")
SIGN_IN = Operation("identity", "SERVER", "POST /token")
NOTIFY = Operation("notifications", "CONSUMER", "appointment.created")
OPERATIONS = (PORTAL, SCHEDULE, ELIGIBILITY, SLOTS, QUERY, SIGN_IN, NOTIFY)


def histogram(median_ms: float, spread: float, slow: float = 0.0) -> tuple[tuple[float, float, float], ...]:
    """A log-normal in buckets of 1/32 octave, with `slow` of it four times slower."""
    first, last = math.floor(32 * math.log2(median_ms / 6)), math.ceil(32 * math.log2(median_ms * 14))
    middle = math.log2(median_ms)

    def density(at: float) -> float:
        return (1 - slow) * math.exp(-(((at - middle) / spread) ** 2)) + slow * math.exp(-(((at - middle - 2) / spread) ** 2))

    weights = [density((bucket + 0.5) / 32) * (1 + 0.3 * math.sin(bucket * 1.7)) for bucket in range(first, last)]
    total = sum(weights)
    return tuple(
        (2 ** (bucket / 32), 2 ** ((bucket + 1) / 32), weight / total)
        for bucket, weight in zip(range(first, last), weights, strict=True)
        if weight / total > 1e-6
    )


def quantile(buckets: tuple[tuple[float, float, float], ...], share: float) -> float:
    """The upper bound of the bucket in which `share` of the requests is reached."""
    reached = 0.0
    for _, high, weight in buckets:
        reached += weight
        if reached >= share:
            return high
    return buckets[-1][1]


def stats(requests: float, median_ms: float, slow: float = 0.0, errors: float = 0.001) -> OperationStats:
    """An operation that mostly takes `median_ms`."""
    durations, exclusives = histogram(median_ms, 0.6, slow), histogram(median_ms * 0.4, 0.7, slow / 2)
    p50, p90, p99 = (quantile(durations, share) for share in (0.5, 0.9, 0.99))
    return OperationStats(requests, requests * errors, median_ms * 0.42, p50, p90, p99, durations, exclusives)


def finding(name: str, operation: Operation, signal: str, effect: Effect, **changes: object) -> Finding:
    """A critical finding of `operation` with ample evidence."""
    made = Finding(
        id=name,
        signal=signal,
        severity="critical",
        service=operation.service,
        operation=operation,
        edge=None,
        effect=effect,
        evidence=Evidence(14.2, 7.6, 4_812, 1_204),
        sentence="",
        follows_from=None,
        examples=Examples(("b" * 32, "b1" * 16), ("c" * 32, "c1" * 16)),
        leaks=(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # every change is a field of Finding


def findings() -> tuple[Finding, ...]:
    """An external API that answers slowly, what that does to its caller, and a call that nobody makes any more."""
    return (
        finding(
            "F1",
            ELIGIBILITY,
            "exclusive latency",
            Effect("p90 of exclusive time", "ms", 61.4, 548.0, 471.0, 603.0),
            sentence="scheduling waits 548 ms instead of 61 ms for eligibility.example.org in one of ten calls.",
        ),
        finding(
            "F2",
            SCHEDULE,
            "errors",
            Effect("share of requests that fail", "share", 0.0012, 0.0431, 0.031, 0.055),
            severity="major",
            evidence=Evidence(11.3, 7.9, 4_812, 1_204),
            sentence="4.3 % of scheduling requests fail in the candidate, 0.12 % in the baseline: eligibility times out.",
        ),
        finding(
            "F3",
            NOTIFY,
            "call missing",
            Effect("share of requests without the call", "share", 0.002, 0.031, 0.019, 0.044),
            severity="minor",
            edge=Edge(SCHEDULE, NOTIFY),
            evidence=Evidence(8.4, 8.1, 4_790, 1_198),
            sentence="3.1 % of the appointments send no notification.",
            examples=Examples((), ("c1" * 16,)),
        ),
    )


def spans(role: str, *, wide: int = 3) -> tuple[WaterfallSpan, ...]:
    """One appointment: portal, identity, scheduling with its queries, eligibility, notification."""
    slow = 8.0 if role == "candidate" else 1.0
    wait = 58.0 * slow
    rows: list[WaterfallSpan] = []

    def add(parent: str, operation: Operation, depth: int, start: float, length: float, own: float, status: str = "") -> str:
        name = f"{len(rows):016x}"
        rows.append(
            WaterfallSpan(name, parent, operation.service, operation.kind, operation.name, depth, start, length, own, status),
        )
        return name

    root = add("", PORTAL, 0, 0.0, 74 + wait, 12.0)
    add(root, SIGN_IN, 1, 3.0, 9.0, 9.0)
    call = add(root, Operation("portal", "CLIENT", "POST scheduling/v1/schedule"), 1, 13.0, 57 + wait, 2.0)
    schedule = add(call, SCHEDULE, 2, 14.0, 55 + wait, 11.0)
    slots = add(schedule, SLOTS, 3, 16.0, 14.0, 2.0)
    for query in range(wide):
        add(slots, QUERY, 4, 17.0 + 12 / wide * query, 11 / wide, 11 / wide)
    failed = "Error: deadline exceeded after 500 ms" if role == "candidate" else ""
    outside = add(schedule, ELIGIBILITY, 3, 32.0, wait, wait - 2, failed)
    add(outside, Operation("scheduling", "INTERNAL", "tls handshake"), 4, 32.5, 2.0, 2.0)
    if role == "baseline":
        send = add(schedule, Operation("scheduling", "PRODUCER", "appointment.created publish"), 3, 33 + wait, 3.0, 3.0)
        add(send, NOTIFY, 4, 37 + wait, 11.0, 11.0)
    return tuple(rows)


def waterfalls() -> tuple[Waterfall, ...]:
    """Two example traces of each role, one short and one long."""
    return (
        Waterfall("b" * 32, "baseline", ("F1", "F2"), spans("baseline")),
        Waterfall("c" * 32, "candidate", ("F1", "F2"), spans("candidate")),
        Waterfall("b1" * 16, "baseline", ("F1",), spans("baseline", wide=26)),
        Waterfall("c1" * 16, "candidate", ("F1", "F2", "F3"), spans("candidate", wide=28)),
    )


def windows(*, baseline: int = 400, candidate: int = 100, trails: bool = True) -> Windows:
    """Twelve windows of ten seconds, with the evidence of the three findings and of two quiet signals."""
    each = tuple(
        WindowSummary(
            START + 10 * at,
            baseline + 9 * (at * 7 % 5) if baseline else 0,
            candidate + 3 * (at * 5 % 4) if candidate else 0,
        )
        for at in range(12)
    )

    def trail(operation: Operation, signal: str, rise: float, onset: int, edge: Edge | None = None) -> Trail:
        return Trail(operation, edge, signal, tuple(max(0, at - onset) * rise - 0.05 * at for at in range(12)))

    grown = (
        trail(ELIGIBILITY, "exclusive latency", 1.64, 2),
        trail(SCHEDULE, "errors", 1.48, 3),
        trail(NOTIFY, "call missing", 1.28, 4, Edge(SCHEDULE, NOTIFY)),
        trail(PORTAL, "latency", 0.62, 3),
        trail(SLOTS, "latency", 0.05, 2),
        trail(SIGN_IN, "refused more", 0.0, 0),
    )
    digest = hashlib.sha256(f"{baseline} {candidate}".encode()).hexdigest()
    return Windows(10, 12, digest, each, grown if trails else ())


def node(name: str, baseline: float, candidate: float, **changes: object) -> MapNode:
    """A service that takes so many milliseconds of a trace in each role."""
    made = MapNode(name, OWN, 4_812 if baseline else 0, 1_204 if candidate else 0, baseline, candidate, 0.001, 0.001, None, ())
    return replace(made, **changes)  # type: ignore[arg-type]  # every change is a field of MapNode


def service_map() -> ServiceMap:
    """The healthcare case: the candidate speaks to the real API and to a cache that the baseline does not have."""
    return ServiceMap(
        (
            node("portal", 14.0, 14.6),
            node("identity", 8.7, 8.9),
            node("scheduling", 19.2, 24.8, candidate_errors=0.043, cause_rank=2, findings=("F2",)),
            node("slots-db", 11.1, 11.4, external=True),
            node(
                "eligibility.example.org",
                58.0,
                464.0,
                external=True,
                candidate_errors=0.038,
                cause_rank=1,
                findings=("F1",),
            ),
            node("notifications", 10.9, 10.6, findings=("F3",)),
            node("eligibility-stub", 3.1, 0.0, external=True, candidate_errors=0.0),
            node("coverage-cache", 0.0, 2.2, external=True, baseline_errors=0.0),
        ),
        (
            MapEdge("portal", "identity", 1.0, 1.0, ()),
            MapEdge("portal", "scheduling", 1.0, 1.0, ()),
            MapEdge("scheduling", "slots-db", 3.2, 3.3, ()),
            MapEdge("scheduling", "eligibility.example.org", 1.0, 1.9, ("F1",)),
            MapEdge("scheduling", "eligibility-stub", 0.4, 0.0, ()),
            MapEdge("scheduling", "coverage-cache", 0.0, 1.0, ()),
            MapEdge("scheduling", "notifications", 0.998, 0.969, ("F3",)),
            MapEdge("notifications", "portal", 0.1, 0.1, ()),
        ),
    )


def operations() -> tuple[OperationDetail, ...]:
    """Seven operations, three of them with findings."""
    return (
        OperationDetail(PORTAL, stats(4_812, 132), stats(1_204, 210, 0.4), ()),
        OperationDetail(SCHEDULE, stats(4_812, 110), stats(1_204, 180, 0.4, errors=0.043), ("F2",)),
        OperationDetail(ELIGIBILITY, stats(4_812, 56), stats(1_204, 118, 0.5), ("F1",)),
        OperationDetail(SLOTS, stats(4_800, 14), stats(1_200, 14.2), ()),
        OperationDetail(QUERY, stats(15_100, 3.4), stats(3_900, 3.5), ()),
        OperationDetail(SIGN_IN, stats(4_812, 8.4), stats(1_204, 8.5), ()),
        OperationDetail(NOTIFY, stats(4_790, 10.6), stats(1_160, 10.4), ("F3",)),
        OperationDetail(Operation("coverage-cache", "CLIENT", "GET coverage"), None, stats(1_204, 2.2), ()),
    )


def role(name: str, traces: int) -> RoleSummary:
    """What was read for one role."""
    spans_read, known = traces * 11, (5, 24) if traces else (0, 0)
    first, last = (START, START + 119) if traces else (None, None)
    match = f"deployment.environment.name={'blue' if name == 'baseline' else 'green'}"
    return RoleSummary(
        (f"recordings/{name}.otlp.json.zst",),
        match,
        traces,
        spans_read,
        *known,
        3 if traces else 0,
        1 if traces else 0,
        first,
        last,
    )


def fail() -> Comparison:
    """A candidate that waits for an external API which the baseline's tests simulated."""
    return Comparison(
        schema=SCHEMA,
        verdict="FAIL",
        summary="The candidate waits nine times longer for eligibility.example.org; 4.3 % of scheduling requests fail.",
        concurrent=True,
        alpha=0.01,
        findings=findings(),
        causes=(
            Cause(
                1,
                "scheduling",
                ELIGIBILITY,
                0.87,
                "Its exclusive time grew by 406 ms per trace; everything above it only waits for it.",
                ("F1", "F2"),
                (Attribute("k8s.node.name", "node-7", 0.97, 0.31),),
            ),
            Cause(
                2,
                "scheduling",
                SCHEDULE,
                0.09,
                "5.6 ms more of its own time per trace, and it fails where it gives up waiting.",
                ("F2",),
                (),
            ),
        ),
        missing=(),
        notes=("One candidate instance only: a single bad instance cannot be told from a bad candidate.",),
        windows=windows(),
        roles={"baseline": role("baseline", 4_812), "candidate": role("candidate", 1_204)},
        reading=Reading(
            66_210,
            {"no trace id": 12, "duplicate span id": 3},
            4,
            17,
            2,
            19,
            1,
            (Problem("recordings/candidate.otlp.json.zst", "line 4,112", "JSON ends in the middle of a string"),),
        ),
        service_map=service_map(),
        operations=operations(),
        waterfalls=waterfalls(),
        versions={"verdigris": "0.1.0", "judge": "1", "chdb": "4.4.0"},
        definition_sha256="",
    )


def passed() -> Comparison:
    """Nothing is worse, and there is enough evidence to say so."""
    even = tuple(replace(one, candidate=one.baseline, findings=()) for one in operations()[:-1])
    calm = tuple(
        replace(one, cause_rank=None, findings=(), candidate_exclusive_ms=one.baseline_exclusive_ms, candidate_errors=0.001)
        for one in service_map().nodes[:6]
    )
    edges = tuple(
        replace(one, candidate_calls=one.baseline_calls, findings=())
        for one in service_map().edges
        if one.callee not in {"eligibility-stub", "coverage-cache"}
    )
    return replace(
        fail(),
        verdict="PASS",
        summary="All 24 operations are shown to be no worse than tolerated.",
        findings=(),
        causes=(),
        notes=(),
        windows=replace(
            windows(),
            trails=tuple(replace(one, log_e=tuple(-0.2 * at for at in range(12))) for one in windows().trails),
        ),
        operations=even,
        service_map=ServiceMap(calm, edges),
        waterfalls=tuple(replace(one, findings=(), spans=spans("baseline")) for one in waterfalls()[:2]),
        reading=Reading(66_210, {}, 0, 0, 0, 0, 0, ()),
    )


def not_enough_data() -> Comparison:
    """Nothing is worse so far, but too few requests to promote on; recorded on two days."""
    return replace(
        passed(),
        verdict="NOT_ENOUGH_DATA",
        summary="Nothing is worse so far, but 3 operations have too few candidate requests to be shown good.",
        concurrent=False,
        missing=(
            Missing(NOTIFY, "call missing", 61, 2_400, 4_600),
            Missing(SCHEDULE, "errors", 204, 1_150, 560),
            Missing(PORTAL, "latency", 204, 900, None),
        ),
        notes=("The margin was raised from 9 % to 14 %, the baseline's own variation between blocks.",),
    )


def blind() -> Comparison:
    """The candidate emitted no traces."""
    return replace(
        fail(),
        verdict="BLIND",
        summary="The candidate emitted no traces in 120 s while the baseline emitted 4,812.",
        findings=(
            replace(
                finding("F1", PORTAL, "no traces", Effect("traces", "count", 4_812, 0, None, None)),
                operation=None,
                service="candidate",
                sentence="Not one trace of the candidate arrived.",
                evidence=Evidence(120.0, 4.6, 4_812, 0),
                examples=Examples((), ()),
            ),
        ),
        causes=(),
        windows=windows(candidate=0, trails=False),
        roles={"baseline": role("baseline", 4_812), "candidate": role("candidate", 0)},
        service_map=ServiceMap(
            tuple(
                replace(
                    one,
                    candidate_requests=0,
                    candidate_exclusive_ms=0,
                    candidate_errors=0,
                    cause_rank=None,
                    findings=(),
                )
                for one in service_map().nodes[:7]
            ),
            tuple(replace(one, candidate_calls=0, findings=()) for one in service_map().edges if one.callee != "coverage-cache"),
        ),
        operations=tuple(replace(one, candidate=None, findings=()) for one in operations()[:-1]),
        waterfalls=(replace(waterfalls()[0], findings=()),),
    )


def empty() -> Comparison:
    """Empty everything."""
    nobody = RoleSummary((), "", 0, 0, 0, 0, 0, 0, None, None)
    return Comparison(
        SCHEMA,
        "NOT_ENOUGH_DATA",
        "",
        NOT_CONCURRENT,
        0.01,
        (),
        (),
        (),
        (),
        Windows(10, 0, "", (), ()),
        {"baseline": nobody, "candidate": nobody},
        Reading(0, {}, 0, 0, 0, 0, 0, ()),
        ServiceMap((), ()),
        (),
        (),
        {},
        "",
    )


def forty_services() -> Comparison:
    """A map of forty services in six tiers, with a cycle, a self-call, and edges that only one role has."""
    tiers = ("edge", "bff", "core", "ledger", "risk", "store")
    greek = ("alpha", "beta", "gamma", "delta", "omega", "sigma", "theta")
    names = [f"{tiers[at % 6]}-{greek[at // 6]}" for at in range(40)]
    nodes = tuple(
        node(
            name,
            4 + at * 13 % 29,
            4 + at * 13 % 29 + (60 if at == 14 else at % 3),
            external=at % 6 == 5,
            cause_rank=1 if at == 14 else None,
        )
        for at, name in enumerate(names)
    )
    pairs = sorted(
        {
            (at, other)
            for at in range(40)
            for other in (at + 1, at + 7, at + 8 if at % 5 == 0 else at + 1)
            if other < 40 and at % 6 != 5 and other % 6 > at % 6
        }
    )
    edges = [
        MapEdge(names[a], names[b], 0.0 if (a + b) % 17 == 0 else 1.0, 0.0 if (a + b) % 19 == 0 else 1.0 + (a == 14), ()) for a, b in pairs
    ]
    edges += [MapEdge(names[9], names[1], 0.2, 0.2, ()), MapEdge(names[14], names[14], 1.0, 3.0, ())]
    edges = [edge for edge in edges if edge.baseline_calls or edge.candidate_calls]
    return replace(fail(), service_map=ServiceMap(nodes, tuple(edges)))


def many_operations() -> Comparison:
    """Three hundred operations."""
    more = tuple(
        OperationDetail(
            Operation(f"service-{at % 23}", "SERVER", f"GET /v1/resource-{at}/{{id}}"),
            stats(900, 3 + at),
            stats(300, 3.1 + at),
            (),
        )
        for at in range(300)
    )
    return replace(fail(), operations=operations() + more)


def hostile() -> Comparison:
    """Every name is an attack: on the page, on the terminal, on the reader's eye, or on the layout."""
    evil = Operation(HOSTILE, "SERVER", HOSTILE + "A" * 300)
    name = HOSTILE + "F1"
    ours = tuple(
        replace(
            one,
            id=name,
            operation=evil,
            service=HOSTILE,
            sentence=HOSTILE,
            signal=HOSTILE,
            examples=Examples((HOSTILE,), (HOSTILE,)),
            effect=replace(one.effect, measure=HOSTILE),
            leaks=(Leak(HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,)),),
        )
        for one in findings()[:1]
    )
    shown = tuple(replace(one, service=HOSTILE, name=evil.name, status=HOSTILE) for one in spans("candidate"))
    return replace(
        fail(),
        summary=HOSTILE,
        notes=(HOSTILE, "[bold]markup[/bold] [link=https://example.org]x[/link]"),
        findings=ours,
        causes=(Cause(1, HOSTILE, evil, 7.0, HOSTILE, (name,), (Attribute(HOSTILE, HOSTILE, 1e300, -1.0),)),),
        missing=(Missing(evil, HOSTILE, 1, 2, 1e300),),
        roles={
            HOSTILE: replace(role("baseline", 9), inputs=(HOSTILE, "x" * 300), match=HOSTILE),
            "candidate": role("candidate", 9),
        },
        reading=Reading(9, {HOSTILE: 1}, 0, 0, 0, 0, 1, (Problem(HOSTILE, HOSTILE, HOSTILE),)),
        service_map=ServiceMap(
            (node(HOSTILE, 3, math.nan, cause_rank=1), node("B" * 300, 1, 1e12)),
            (MapEdge(HOSTILE, "B" * 300, 1, 0, ()), MapEdge("nowhere", "B", 1, 1, ())),
        ),
        operations=(OperationDetail(evil, stats(9, 3), replace(stats(9, 3), durations=((0.0, 0.0, 1.0),), p99_ms=math.inf), (name,)),),
        waterfalls=(Waterfall(HOSTILE, "candidate", (name,), shown), Waterfall("0", "baseline", (), ())),
        versions={HOSTILE: HOSTILE},
        definition_sha256=HOSTILE,
    )


VARIANTS: dict[str, Callable[[], Comparison]] = {
    "fail": fail,
    "pass": passed,
    "not_enough_data": not_enough_data,
    "blind": blind,
    "empty": empty,
    "forty_services": forty_services,
    "many_operations": many_operations,
    "hostile": hostile,
}


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - {"hostile"}))
def test_the_document_survives_json(name: str) -> None:
    """What the reports draw is what `--json` prints."""
    comparison = VARIANTS[name]()
    assert from_json(to_json(comparison)) == comparison
