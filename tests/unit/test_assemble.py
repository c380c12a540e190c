"""How a comparison's document is put together: examples, waterfalls, waiting times, notes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from verdigris.comparison import assemble
from verdigris.comparison.document import Examples
from verdigris.comparison.recordings import Input, Recording
from verdigris.judge.tallies import RoleTally, Tallies
from verdigris.judge.verdict import Effect, Evidence, Finding, Judgement, Missing, Outcome, Severity, Signal
from verdigris.judge.windows import Edge, Operation, Role, TraceCounts
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.telemetry.sources import Problem, ReadCounts
from verdigris.telemetry.store import ExampleSpan, Period, Unassigned

PORTAL = Operation("portal", "Server", "GET /")
CALL = Operation("portal", "Client", "GET slots")
SLOTS = Operation("slots", "Server", "GET /")
EDGE = Edge(PORTAL, CALL)
EARLY, LATE = Period(0, 10), Period(10, 20)


def finding(name: str, signal: Signal, operation: Operation, edge: Edge | None = None) -> Finding:
    return Finding(
        name, signal, Severity.MAJOR, operation.service, operation, edge,
        Effect("requests", "share", 0.0, 1.0, 0.0, 1.0), Evidence(9.0, 5.0, 10, 10), "A sentence.",
    )  # fmt: skip


@dataclass
class FakeRecording:
    """A recording that knows its chunks and tells which questions it was asked."""

    role: Role
    chunks: dict[Operation, Period]
    name: str = "r"
    source: Input = field(default_factory=lambda: Input(("r",), role=Role.BASELINE))
    counts: ReadCounts = field(default_factory=ReadCounts)
    problems: tuple[Problem, ...] = ()
    unassigned: Unassigned = field(default_factory=Unassigned)
    edge_examples: tuple[str, ...] = ("e1",)
    asked: list[Period] = field(default_factory=list)

    def telling_chunk(self, role: Role, operation: Operation) -> Period | None:
        return self.chunks.get(operation) if role is self.role else None

    def examples(self, role: Role, operation: Operation, limit: int, *, failed_first: bool) -> Sequence[str]:
        self.asked.append(self.chunks[operation])
        return [f"{self.name} {operation.name} {number}" for number in range(limit)]

    def examples_of_edge(self, role: Role, edge: Edge, limit: int, *, absent: bool) -> Sequence[str]:
        self.asked.append(self.chunks[edge.caller])
        return self.edge_examples

    def trace(self, role: Role, operation: Operation, trace_id: str) -> Sequence[ExampleSpan]:
        self.asked.append(self.chunks[operation])
        return [ExampleSpan("1", "", role, operation, "", 0, 1_000_000, 1_000_000, "")]


def real(*fakes: FakeRecording) -> list[Recording]:
    return cast("list[Recording]", list(fakes))


def judged(*findings: Finding) -> Judgement:
    return Judgement(Outcome.FAIL, "", findings, (), (), (), concurrent=True, threshold=5.0, trails=())


FINDINGS = (
    finding("f1", Signal.ERRORS, PORTAL),
    finding("f2", Signal.ERRORS, SLOTS),
    finding("f3", Signal.LATENCY, PORTAL),
    finding("f4", Signal.CALL_MISSING, CALL, EDGE),
)


def both_roles() -> tuple[FakeRecording, FakeRecording]:
    chunks = {PORTAL: LATE, SLOTS: EARLY, CALL: EARLY}
    return FakeRecording(Role.BASELINE, chunks, "before"), FakeRecording(Role.CANDIDATE, chunks, "after")


def test_a_chunk_is_worked_out_once_for_all_its_findings() -> None:
    recordings = both_roles()
    examples = assemble._examples(real(*recordings), FINDINGS)
    for recording in recordings:
        assert recording.asked == [EARLY, LATE, LATE, LATE]
        recording.asked.clear()
    assemble._waterfalls(real(*recordings), judged(*FINDINGS), examples)
    for recording in recordings:
        assert recording.asked == sorted(recording.asked, key=lambda period: period.start_unix_nano)


def test_examples_are_each_roles_own_and_few() -> None:
    examples = assemble._examples(real(*both_roles()), FINDINGS)
    assert examples["f2"].baseline == ("before GET / 0", "before GET / 1", "before GET / 2")
    assert examples["f2"].candidate == ("after GET / 0", "after GET / 1", "after GET / 2")
    assert examples["f4"].candidate == ("e1",)


def test_a_finding_of_no_operation_has_no_examples() -> None:
    nowhere = replace(FINDINGS[0], operation=None)
    assert assemble._examples(real(*both_roles()), [nowhere])["f1"] == Examples((), ())
    assert assemble._waterfalls(real(*both_roles()), judged(nowhere), {"f1": Examples((), ())}) == ()


def test_where_no_request_shows_a_calls_absence_ordinary_ones_are_shown() -> None:
    before, after = both_roles()
    before.edge_examples = ()
    examples = assemble._examples(real(before, after), [finding("f1", Signal.CALL_EXTRA, CALL, EDGE)])
    assert examples["f1"].baseline == ("before GET / 0", "before GET / 1", "before GET / 2")
    assert examples["f1"].candidate == ("e1",)


def test_a_trace_that_shows_several_findings_is_drawn_once() -> None:
    recordings = real(*both_roles())
    drawn = assemble._waterfalls(recordings, judged(*FINDINGS), assemble._examples(recordings, FINDINGS))
    assert [(w.role, w.findings) for w in drawn] == [
        ("baseline", ("f1", "f2", "f3")),
        ("candidate", ("f1", "f2", "f3")),
        ("baseline", ("f4",)),
        ("candidate", ("f4",)),
    ]


def test_so_many_traces_are_drawn_and_no_more() -> None:
    operations = [Operation("portal", "Server", f"GET /{number}") for number in range(9)]
    recordings = [FakeRecording(role, dict.fromkeys(operations, EARLY), role.value) for role in Role]
    findings = [finding(f"f{number}", Signal.ERRORS, operation) for number, operation in enumerate(operations)]
    drawn = assemble._waterfalls(real(*recordings), judged(*findings), assemble._examples(real(*recordings), findings))
    assert len(drawn) == assemble.WATERFALLS_MAX
    assert drawn[-1].findings == ("f3",)


@pytest.mark.parametrize(
    ("have", "need", "recorded_s", "more_s"), [(100, 300, 60.0, 120.0), (999, 1000, 60.0, 1.0), (0, 50, 60.0, None), (50, 51, 100.0, 2.0)]
)
def test_how_much_longer_is_never_less_than_it_takes(have: int, need: int, recorded_s: float, more_s: float | None) -> None:
    assert assemble._missing(Missing(PORTAL, Signal.ERRORS, have, need), recorded_s).more_s == more_s


SILENT, HEARD = RoleTally({}, {}, ()), RoleTally({}, {}, (TraceCounts(traces=1),))


def test_a_silent_role_is_explained_by_what_could_not_be_read() -> None:
    broken = FakeRecording(Role.CANDIDATE, {}, source=Input(("c",), role=Role.CANDIDATE))
    broken.counts, broken.problems = ReadCounts(problems=3), (Problem("c", "line 1", "no"),)
    assert assemble._why_silent(real(broken), Tallies((), HEARD, SILENT)) == [
        "Of what was given for the candidate, 3 parts could not be read; the first: c: line 1: no."
    ]
    assert assemble._why_silent(real(broken), Tallies((), HEARD, HEARD)) == []


def test_a_silent_role_is_explained_by_a_match_that_fits_nothing() -> None:
    identity = Identity(IdentityMatch.parse("slot=blue"), IdentityMatch.parse("slot=gren"))
    source = FakeRecording(Role.BASELINE, {}, source=Input(("a",), identity=identity), unassigned=Unassigned(spans=70))
    assert assemble._why_silent(real(source), Tallies((), HEARD, SILENT)) == [
        "No span matches the candidate's slot=gren; 70 spans match neither role."
    ]
