"""The live cases' services, as real processes: their hops, their traces, their faults, and what is logged of them."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from verdigris._native import Masking
from verdigris.demo.cases import CASES, Case
from verdigris.demo.harm import Answer, read_answers
from verdigris.demo.processes import LOOPBACK, Processes, free_port
from verdigris.demo.system.deployment import start_load, start_outside, start_slot
from verdigris.demo.system.model import INSTANCES, Behaviour

PER_S, SECONDS = 200.0, 2.0


@dataclass
class Seen:
    """What one run of one slot left."""

    answers: list[Answer]
    spans: list[tuple[dict[str, str], Span]] = field(default_factory=list)

    def of(self, kind: "Span.SpanKind.ValueType") -> list[tuple[dict[str, str], Span]]:
        return [(resource, span) for resource, span in self.spans if span.kind == kind]


@contextmanager
def receiver(seen: list[tuple[dict[str, str], Span]]) -> Iterator[str]:
    """An OTLP/gRPC receiver that keeps every span."""

    def keep(request: bytes, _: object) -> bytes:
        for entry in ExportTraceServiceRequest.FromString(request).resource_spans:
            resource = {a.key: a.value.string_value for a in entry.resource.attributes}
            seen.extend((resource, span) for scope in entry.scope_spans for span in scope.spans)
        return b""

    handler = grpc.method_handlers_generic_handler(
        "opentelemetry.proto.collector.trace.v1.TraceService",
        {"Export": grpc.unary_unary_rpc_method_handler(keep, lambda body: body, lambda answer: answer)},
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    try:
        yield f"{LOOPBACK}:{port}"
    finally:
        server.stop(0).wait()


def use(case: Case, slot: str, folder: Path, behaviour: Behaviour | None = None) -> Seen:
    """Users ask one host of the slot for some seconds; then everything is stopped, so every span has come."""
    seen = Seen([])
    behaviour = behaviour or (case.green if slot == "green" else case.blue)

    async def body(endpoint: str) -> None:
        async with Processes(folder / "logs") as processes:
            traces_to = endpoint if behaviour.traces_arrive else f"{LOOPBACK}:{free_port()}"
            outside = await start_outside(processes, case.system, 1)
            running = await start_slot(processes, case.system, slot, behaviour, outside=outside, traces_to=traces_to, seed=1)
            assert len(running.addresses) == INSTANCES
            load = await start_load(processes, case.system, running.addresses[0], PER_S, 1, folder / "log.csv")
            await asyncio.sleep(SECONDS)
            processes.check()
            await load.stop()

    with receiver(seen.spans) as endpoint:
        asyncio.run(body(endpoint))
    with (folder / "log.csv").open() as lines:
        seen.answers = read_answers(lines)
    return seen


@pytest.fixture(scope="module")
def blue(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return use(CASES["healthcare"], "blue", tmp_path_factory.mktemp("blue"))


def test_the_load_comes_at_its_rate_and_is_answered_by_the_slot(blue: Seen) -> None:
    assert PER_S * SECONDS * 0.8 < len(blue.answers) < PER_S * SECONDS * 1.4
    assert {answer.slot for answer in blue.answers} == {"blue"}
    assert {answer.hurt for answer in blue.answers} == {""}
    assert {answer.status for answer in blue.answers} <= {200, 503}
    assert sum(answer.status == 503 for answer in blue.answers) <= 5  # 0.1 % of about 400


def test_every_request_is_one_whole_trace(blue: Seen) -> None:
    by_id = {span.span_id: span for _, span in blue.spans}
    assert len(by_id) == len(blue.spans)
    roots = [(resource, span) for resource, span in blue.spans if not span.parent_span_id]
    assert len(roots) == len(blue.answers)
    assert {(resource["service.name"], span.kind) for resource, span in roots} == {("portal", Span.SPAN_KIND_SERVER)}
    for _, span in blue.spans:
        assert not span.parent_span_id or by_id[span.parent_span_id].trace_id == span.trace_id


def test_a_call_is_a_client_span_above_the_other_services_server_span(blue: Seen) -> None:
    service_of = {span.span_id: resource["service.name"] for resource, span in blue.spans}
    kind_of = {span.span_id: span.kind for _, span in blue.spans}
    entered = [(r["service.name"], span) for r, span in blue.of(Span.SPAN_KIND_SERVER) if span.parent_span_id]
    hops = {(service_of[span.parent_span_id], service) for service, span in entered}
    assert hops == {("portal", "scheduling"), ("scheduling", "eligibility")}
    assert {kind_of[span.parent_span_id] for _, span in entered} == {Span.SPAN_KIND_CLIENT}
    outside = [(r["service.name"], a.value.string_value) for r, s in blue.spans for a in s.attributes if a.key == "peer.service"]
    assert set(outside) == {("eligibility", "insurer-api")}


def test_spans_say_which_instance_of_which_slot_they_come_from(blue: Seen) -> None:
    said = {(r["service.name"], r["service.version"], r["deployment.environment.name"], r["service.instance.id"]) for r, _ in blue.spans}
    assert said == {("portal", "1.8.2", "blue", "portal-blue-1")} | {
        (name, "1.8.2", "blue", f"{name}-blue-{number}") for name in ("scheduling", "eligibility") for number in range(1, INSTANCES + 1)
    }


def test_the_insurers_new_api_is_slow_under_traffic_and_marks_whom_it_hurts(tmp_path: Path) -> None:
    seen = use(CASES["healthcare"], "green", tmp_path)
    hurt = [answer for answer in seen.answers if answer.hurt]
    well = [answer for answer in seen.answers if not answer.hurt]
    assert {answer.hurt for answer in hurt} == {"slow"}
    assert min(answer.latency_ms for answer in hurt) > 150
    # Bookings are 40 %; 5 a second and the first burst of 5 are served quickly.
    assert len(hurt) == pytest.approx(0.4 * len(seen.answers) - 5 * SECONDS - 5, rel=0.3)
    assert len(well) > len(hurt)


def test_green_of_the_shop_writes_card_numbers_that_pass_for_real_ones_into_its_spans(tmp_path: Path) -> None:
    case = CASES["leak"]
    of_blue, of_green = (use(case, slot, tmp_path / slot) for slot in ("blue", "green"))
    notes = [a.value.string_value for _, span in of_green.spans for a in span.attributes if a.key == "payment.source"]
    assert notes
    assert all(treated is not None and treated.detectors == ["card"] for treated in Masking().treat(notes))
    leaked = sum(answer.hurt == "leaked" for answer in of_green.answers)
    assert leaked == pytest.approx(len(notes), abs=5)  # the load is stopped, and does not log what is under way
    assert not any(a.key == "payment.source" for _, span in of_blue.spans for a in span.attributes)
    assert not any(answer.hurt for answer in of_blue.answers)


def test_green_of_the_bank_answers_what_blue_refuses(tmp_path: Path) -> None:
    case = CASES["finance"]
    of_blue, of_green = (use(case, slot, tmp_path / slot) for slot in ("blue", "green"))
    assert Counter(a.status for a in of_blue.answers)[401] == pytest.approx(0.035 * len(of_blue.answers), abs=14)
    assert not any(answer.hurt for answer in of_blue.answers)
    assert not any(answer.status == 401 for answer in of_green.answers)
    unauthorized = [answer for answer in of_green.answers if answer.hurt == "unauthorized"]
    # The same seed asks the same, so these are the requests that blue refuses; the last ones may be cut off by the end.
    assert len(unauthorized) == pytest.approx(Counter(a.status for a in of_blue.answers)[401], abs=5)
    refused = [s for r, s in of_blue.of(Span.SPAN_KIND_SERVER) if any(a.value.int_value == 401 for a in s.attributes)]
    assert {span.status.code for span in refused} == {0}


def test_green_of_the_shop_works_and_leaves_no_trace(tmp_path: Path) -> None:
    seen = use(CASES["cloud"], "green", tmp_path)
    assert seen.spans == []
    assert {answer.hurt for answer in seen.answers} == {"untraced"}
    assert {answer.status for answer in seen.answers} <= {200, 503}


@pytest.mark.parametrize(("name", "hurt"), [("errors", "failed"), ("slow-tail", "slow")])
def test_faults_hurt_their_share_and_say_so(tmp_path: Path, name: str, hurt: str) -> None:
    # The case's own share is too small to be measured within seconds.
    green = CASES[name].green
    assert (green.fault_error_share > 0, green.slow_share > 0) == (hurt == "failed", hurt == "slow")
    more = replace(green, fault_error_share=0.3) if hurt == "failed" else replace(green, slow_share=0.3)
    seen = use(CASES[name], "green", tmp_path, more)
    found = [answer for answer in seen.answers if answer.hurt]
    assert {answer.hurt for answer in found} == {hurt}
    asked = 1.0 if hurt == "failed" else 0.4  # all requests ask scheduling, bookings alone ask eligibility
    assert len(found) == pytest.approx(0.3 * asked * len(seen.answers), rel=0.35)
    assert all(answer.status == 503 if hurt == "failed" else answer.latency_ms > 400 for answer in found)
