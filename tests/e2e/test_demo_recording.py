"""The real system, run for a few seconds: its traces are whole and differ where they should; stopping it is clean."""

import io
import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from errno import ENOSPC
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from verdigris.demo.clinic import otlp_lines
from verdigris.demo.clinic.behaviour import Behaviour
from verdigris.demo.clinic.chance import Chance
from verdigris.demo.clinic.deployment import running
from verdigris.demo.clinic.drive import drive
from verdigris.demo.clinic.http_server import HttpServer, Outgoing
from verdigris.demo.clinic.load import Arrival, Request
from verdigris.demo.clinic.otlp_lines import LinesExporter
from verdigris.demo.errors import RecordingFailed
from verdigris.demo.recording import Recording, record
from verdigris.judge.windows import Role

SECONDS, REQUESTS_PER_S = 4, 20
SERVICES = {"portal", "scheduling", "eligibility"}
SERVER, CLIENT = 2, 3
ERROR = 2


@dataclass(frozen=True)
class Seen:
    """One recorded span with its attributes and its resource's as plain mappings."""

    raw: dict[str, Any]
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])

    @property
    def status(self) -> int:
        return int(self.attributes.get("http.response.status_code", 0))

    @property
    def failed(self) -> bool:
        return bool(self.raw["status"].get("code") == ERROR)

    @property
    def exceptions(self) -> list[str]:
        return [plain(event["attributes"])["exception.type"] for event in self.raw.get("events", ()) if event["name"] == "exception"]

    @property
    def duration_ms(self) -> float:
        return (int(self.raw["endTimeUnixNano"]) - int(self.raw["startTimeUnixNano"])) / 1e6


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {attribute["key"]: next(iter(attribute["value"].values())) for attribute in attributes}


def spans(text: bytes) -> Iterator[Seen]:
    for line in text.splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    yield Seen(span, plain(span.get("attributes", [])), plain(resource["resource"]["attributes"]))


@pytest.fixture(scope="module")
def progress() -> list[float]:
    return []


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, progress: list[float]) -> Recording:
    folder = tmp_path_factory.mktemp("demo") / "clinic"
    return record(folder, seconds=SECONDS, requests_per_s=REQUESTS_PER_S, on_progress=progress.append)


@pytest.fixture(scope="module")
def baseline(recorded: Recording) -> list[Seen]:
    return list(spans(recorded.baseline.read_bytes()))


@pytest.fixture(scope="module")
def candidate(recorded: Recording) -> list[Seen]:
    return list(spans(recorded.candidate.read_bytes()))


@pytest.fixture(params=["baseline", "candidate"])
def either(request: pytest.FixtureRequest) -> list[Seen]:
    found: list[Seen] = request.getfixturevalue(request.param)
    return found


def test_only_whole_files_are_there(recorded: Recording) -> None:
    assert recorded.baseline.name == "baseline.jsonl"
    assert recorded.candidate.name == "candidate.jsonl"
    names = {path.name for path in recorded.baseline.parent.iterdir()}
    assert names == {"baseline.jsonl", "candidate.jsonl", "recording.json"}


def test_every_request_is_a_trace_with_one_root_and_no_orphan(either: list[Seen]) -> None:
    traces: dict[str, dict[str, Seen]] = defaultdict(dict)
    for span in either:
        traces[span.raw["traceId"]][span.raw["spanId"]] = span
    assert len(traces) == SECONDS * REQUESTS_PER_S
    for trace in traces.values():
        roots = [span for span in trace.values() if "parentSpanId" not in span.raw]
        assert [(root.service, root.raw["kind"]) for root in roots] == [("portal", SERVER)]
        assert all(span.raw.get("parentSpanId", roots[0].raw["spanId"]) in trace for span in trace.values())
    assert len(either) == sum(map(len, traces.values()))


def test_a_call_is_a_client_span_above_the_other_services_server_span(either: list[Seen]) -> None:
    by_id = {span.raw["spanId"]: span for span in either}
    entered = [span for span in either if span.raw["kind"] == SERVER and "parentSpanId" in span.raw]
    assert entered
    for span in entered:
        caller = by_id[span.raw["parentSpanId"]]
        assert caller.raw["kind"] == CLIENT
        assert caller.attributes["server.address"] == span.service != caller.service


@pytest.mark.parametrize(("role", "environment", "version"), [("baseline", "blue", "1."), ("candidate", "green", "2.")])
def test_three_services_in_two_instances_say_who_they_are(
    request: pytest.FixtureRequest, role: str, environment: str, version: str
) -> None:
    seen: list[Seen] = request.getfixturevalue(role)
    instances: dict[str, set[str]] = defaultdict(set)
    for span in seen:
        instances[span.service].add(span.resource["service.instance.id"])
        assert span.resource["deployment.environment.name"] == environment
        assert span.resource["service.version"].startswith(version)
    assert set(instances) == SERVICES
    assert {service: len(ids) for service, ids in instances.items()} == dict.fromkeys(SERVICES, 2)


def test_the_insurer_is_seen_only_from_eligibility_and_is_slower_for_the_candidate(baseline: list[Seen], candidate: list[Seen]) -> None:
    slow_ms = []
    for seen in (baseline, candidate):
        calls = [span for span in seen if span.attributes.get("peer.service") == "insurer-api"]
        assert {(call.service, call.raw["kind"]) for call in calls} == {("eligibility", CLIENT)}
        assert {call.attributes["server.address"] for call in calls} == {"insurer-api.example"}
        times_ms = sorted(call.duration_ms for call in calls)
        slow_ms.append(times_ms[int(len(times_ms) * 0.9)])
    # Which calls are slow is seeded and the least addition is 150 ms; half of it leaves room for a busy machine.
    assert slow_ms[1] > slow_ms[0] + 75


def test_both_roles_have_the_same_operations(baseline: list[Seen], candidate: list[Seen]) -> None:
    def operations(seen: list[Seen]) -> set[tuple[str, int, str]]:
        return {(span.service, span.raw["kind"], span.raw["name"]) for span in seen if not span.failed}

    assert operations(baseline) == operations(candidate)
    assert ("scheduling", CLIENT, "SELECT slots") in operations(candidate)


def test_progress_grows_to_one(recorded: Recording, progress: list[float]) -> None:
    assert recorded
    assert all(earlier <= later for earlier, later in pairwise(progress))
    assert progress[-1] == 1.0


def test_the_same_recording_is_returned_at_once_and_another_is_made(tmp_path: Path) -> None:
    first = record(tmp_path, seconds=0.2)
    written = first.baseline.read_bytes()
    progress: list[float] = []
    assert record(tmp_path, seconds=0.2, on_progress=progress.append) == first
    assert progress == [1.0]
    assert first.baseline.read_bytes() == written

    record(tmp_path, seconds=0.2, seed=2)
    assert first.baseline.read_bytes() != written
    remade = first.candidate.read_bytes()

    os.truncate(first.candidate, len(remade) // 2)
    record(tmp_path, seconds=0.2, seed=2)
    assert len(list(spans(first.candidate.read_bytes()))) == len(list(spans(remade)))


def test_an_interruption_leaves_the_earlier_recording_and_nothing_else(tmp_path: Path) -> None:
    first = record(tmp_path, seconds=0.2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    threads = set(threading.enumerate())

    def interrupt(done: float) -> None:
        if done > 0.002:
            raise KeyboardInterrupt  # as Ctrl-C does: in the main thread, between two requests

    with pytest.raises(KeyboardInterrupt):
        record(tmp_path, seconds=60, on_progress=interrupt)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(threading.enumerate()) == threads
    assert record(tmp_path, seconds=0.2) == first


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RecordingFailed, match="cannot write the recording"):
        record(tmp_path / "file" / "clinic", seconds=0.2)


def test_spans_that_could_not_be_written_make_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> bytes:
        raise OSError(ENOSPC, "no space left")

    monkeypatch.setattr(otlp_lines, "line", full)
    with pytest.raises(RecordingFailed, match=r"spans of the baseline could not be written.*no space left"):
        record(tmp_path, seconds=0.2)
    assert not list(tmp_path.iterdir())


def test_a_switched_off_sdk_makes_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with pytest.raises(RecordingFailed, match="OTEL_SDK_DISABLED"):
        record(tmp_path, seconds=0.2)
    assert not list(tmp_path.iterdir())


def test_a_portal_that_breaks_or_is_gone_fails_the_run() -> None:
    arrival = Arrival(0, Role.CANDIDATE, 0, Request("r1", "GET", "/appointments", "c0001"))
    with HttpServer(lambda _: Outgoing(500)) as server, pytest.raises(RecordingFailed, match="answered with 500"):
        drive([arrival], {Role.CANDIDATE: (server.port,)})
    with pytest.raises(RecordingFailed, match=f"GET to port {server.port}"):
        drive([arrival], {Role.CANDIDATE: (server.port,)})


def ask(behaviour: Behaviour, method: str, path: str) -> list[Seen]:
    """The spans of one request to a system that behaves like that."""
    out = io.BytesIO()
    request = Request("r1", method, path, "c0001")
    with running(behaviour, "green", Chance(1, "candidate"), LinesExporter(out)) as ports:
        drive([Arrival(0, Role.CANDIDATE, 0, request)], {Role.CANDIDATE: ports})
    return list(spans(out.getvalue()))


def test_an_unavailable_insurer_fails_the_request_with_exceptions_on_the_server_spans() -> None:
    seen = ask(Behaviour("2.0.0", "v2", insurer_unavailable_share=1), "GET", "/health-card/c0001")
    assert {(span.service, span.raw["kind"], span.status) for span in seen if span.failed} == {
        ("eligibility", CLIENT, 503),
        ("eligibility", SERVER, 503),
        ("portal", CLIENT, 503),
        ("portal", SERVER, 503),
    }
    assert [len(span.exceptions) for span in seen if span.raw["kind"] == SERVER] == [1, 1]
    assert all(span.attributes["error.type"] == "503" for span in seen if span.failed)


def test_a_locked_database_is_recorded_on_its_span() -> None:
    seen = ask(Behaviour("2.0.0", "v2", database_locked_share=1), "GET", "/appointments")
    [query] = [span for span in seen if span.attributes.get("db.system.name") == "sqlite"]
    assert query.failed
    assert query.exceptions == ["sqlite3.OperationalError"]
    assert {span.status for span in seen if span.raw["kind"] == SERVER} == {503}


@pytest.mark.parametrize(("method", "path"), [("GET", "/health-card/c9999"), ("POST", "/appointments/100000/book")])
def test_what_does_not_exist_is_no_error_of_a_server(method: str, path: str) -> None:
    healthy = Behaviour("2.0.0", "v2", insurer_unavailable_share=0, database_locked_share=0)
    seen = ask(healthy, method, path)
    answers = [span for span in seen if span.raw["kind"] == SERVER]
    assert {span.status for span in answers} == {404}
    assert not any(span.failed or span.exceptions for span in answers)
    assert all(span.failed for span in seen if span.raw["kind"] == CLIENT and span.status == 404)
