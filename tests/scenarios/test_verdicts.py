"""Whole comparisons of recorded systems: which verdict, which exit code, which cause.

Each case changes one thing in the candidate of a small clinic and runs the command line on both recordings.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.scenarios.running import verdigris
from tests.scenarios.systems import BLUE, GREEN, Call, Deployment, Operation, changed, record

from verdigris.cli.exit_codes import ExitCode
from verdigris.comparison.document import Comparison

HOUR_S = 3600.0

INSURER = "insurer.example.org GET /v2/coverage"
SLOTS = "scheduling GET /slots"
BOOKINGS = "scheduling POST /bookings"
TOKEN = "identity POST /token/check"
NOTIFY = "notifications notify.v1.Notify/Send"
PAID = "https://portal.example.org/appointments?pay=4111111111111111"
LIST, BOOK = "portal GET /appointments", "portal POST /appointments"


def with_operation(name: str, change: Callable[[Operation], Operation], deployment: Deployment = GREEN) -> Deployment:
    """A deployment with one operation changed."""
    return replace(deployment, system=changed(deployment.system, name, change))


def with_call(name: str, to: str, change: Callable[[Call], Call | None]) -> Deployment:
    """The candidate with one call changed, or left out (None)."""

    def calls(operation: Operation) -> Operation:
        new = (change(call) if call.to == to else call for call in operation.calls)
        return replace(operation, calls=tuple(call for call in new if call is not None))

    return with_operation(name, calls)


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate, and what is to be said of it."""

    candidate: Deployment
    verdict: str
    cause: str | None = None
    """The service that is named first."""
    why: str = ""
    """A pattern that the reason given for it matches."""
    finds: tuple[tuple[str, str], ...] = ()
    """Signal and service of findings that must be there."""
    severity: str = ""
    """Of the first finding."""
    requests: int = 3000
    seconds: float = 300.0
    after_s: float = 0.0


CASES: Mapping[str, Case] = {
    "an outside interface is slow": Case(
        with_operation(INSURER, lambda o: replace(o, own_ms=30.0)),
        "FAIL", "eligibility", r"waiting for insurer\.example\.org",
        (("exclusive latency", "eligibility"), ("latency", "portal")), "critical", requests=1000, seconds=100,
    ),
    "an outside interface is slow, apart in time": Case(
        with_operation(INSURER, lambda o: replace(o, own_ms=30.0)),
        "FAIL", "eligibility", r"waiting for insurer\.example\.org", (("exclusive latency", "eligibility"),), "critical", after_s=HOUR_S,
        requests=1000, seconds=100,
    ),
    "a door stands open": Case(
        with_operation(TOKEN, lambda o: replace(o, refused=0.0)),
        "FAIL", "identity", "lets requests in that the baseline refuses", (("refused less", "identity"),), "critical",
    ),
    "a door stands open, apart in time": Case(
        with_operation(TOKEN, lambda o: replace(o, refused=0.0)),
        "FAIL", "identity", "lets requests in that the baseline refuses", (("refused less", "identity"),), "critical",
        requests=6000, after_s=HOUR_S,
    ),
    "people are locked out": Case(
        with_operation(TOKEN, lambda o: replace(o, refused=0.2)),
        "FAIL", "identity", "refuses more requests", (("refused more", "identity"),), "critical", requests=5000,
    ),
    "a service stopped exporting": Case(
        replace(GREEN, silent=frozenset({"eligibility"})),
        "BLIND", "eligibility", "its spans do not come", (("call missing", "eligibility"),), "critical", requests=1000, seconds=100,
    ),
    "a service stopped exporting, apart in time": Case(
        replace(GREEN, silent=frozenset({"eligibility"})),
        "BLIND", "eligibility", "its spans do not come", (("call missing", "eligibility"),), "critical", after_s=HOUR_S,
        requests=1000, seconds=100,
    ),
    "a service in the middle stopped exporting": Case(
        replace(GREEN, silent=frozenset({"scheduling"})), "BLIND", "scheduling", "its spans do not come", (("call missing", "scheduling"),),
        requests=1000, seconds=100,
    ),
    "the first service stopped exporting": Case(
        replace(GREEN, silent=frozenset({"portal"})), "BLIND", "portal", "", (("orphans", "scheduling"),), "critical",
        requests=1000, seconds=100,
    ),
    "half of the traces lost their first span": Case(
        replace(GREEN, headless=0.5), "BLIND", "portal", "", (("orphans", "portal"),), "critical", requests=1000, seconds=100,
    ),
    "a leaf fails in 3 of 100, its callers with it": Case(
        with_operation(SLOTS, lambda o: replace(o, errors=0.03)), "FAIL", "scheduling", "GET /slots", (("errors", "scheduling"),),
    ),
    "a leaf fails in 3 of 100, apart in time": Case(
        with_operation(SLOTS, lambda o: replace(o, errors=0.03)), "FAIL", "scheduling", "GET /slots", (("errors", "scheduling"),),
        requests=8000, seconds=600, after_s=HOUR_S,
    ),
    "a leaf fails in a new way": Case(
        with_operation(SLOTS, lambda o: replace(o, errors=0.02, exception="sqlite3.OperationalError")),
        "FAIL", "scheduling", "", (("new error kind", "scheduling"),),
    ),
    "a gRPC service is unavailable": Case(
        with_operation(NOTIFY, lambda o: replace(o, errors=0.05)),
        "FAIL", "notifications", "errors begin in notifications", (("errors", "notifications"),),
    ),
    "a gRPC service denies": Case(
        with_operation(NOTIFY, lambda o: replace(o, refused=0.2)),
        "FAIL", "notifications", "refuses more", (("refused more", "notifications"),),
    ),
    "a call is made no longer": Case(
        with_call(BOOK, NOTIFY, lambda _: None), "FAIL", "portal", "", (("call missing", "portal"),), "critical",
        requests=1000, seconds=100,
    ),
    "one call became six": Case(
        with_call(SLOTS, "slots-db SELECT slots", lambda c: replace(c, times=6)),
        "FAIL", "scheduling", "more often than before", (("call extra", "scheduling"), ("latency", "portal")), "critical",
        requests=1000, seconds=100,
    ),
    "requests stop short after a callee": Case(
        with_call(BOOK, TOKEN, lambda c: replace(c, stops=0.1)),
        "FAIL", "identity", "stop short after identity", (("call missing", "portal"),),
    ),
    "1 of 100 takes a slow path": Case(
        with_operation(SLOTS, lambda o: replace(o, slow_share=0.01, slow_ms=400.0)),
        "FAIL", "scheduling", "takes longer by itself", (("exclusive latency", "scheduling"),), "critical", requests=8000,
    ),
    "own time is 30 % longer": Case(
        with_operation(SLOTS, lambda o: replace(o, own_ms=3.9)),
        "FAIL", "scheduling", "takes longer by itself", (("exclusive latency", "scheduling"),), "major",
    ),
    "own time is 30 % longer, apart in time": Case(
        with_operation(SLOTS, lambda o: replace(o, own_ms=3.9)),
        "FAIL", "scheduling", "takes longer by itself", (("exclusive latency", "scheduling"),), "major", after_s=HOUR_S,
    ),
    "one instance of three is slow": Case(
        replace(GREEN, odd={1: changed(GREEN.system, SLOTS, lambda o: replace(o, own_ms=30.0))}),
        "NOT_ENOUGH_DATA", None, "", (("instance", "scheduling"),), "critical", requests=1000, seconds=100,
    ),
    "a card number in a URL": Case(
        with_operation(BOOK, lambda o: replace(o, url=PAID, url_share=0.1)),
        "FAIL", "portal", "sends sensitive data that the baseline does not send", (("sensitive data", "portal"),), "critical",
        requests=2000, seconds=200,
    ),
    "a card number in a URL, apart in time": Case(
        with_operation(BOOK, lambda o: replace(o, url=PAID, url_share=0.1)),
        "FAIL", "portal", "sends sensitive data that the baseline does not send", (("sensitive data", "portal"),), "critical",
        requests=2000, seconds=200, after_s=HOUR_S,
    ),
    "the roles are sampled differently": Case(
        replace(GREEN, tracestate="ot=th:c"), "BLIND", None, "", (("sampling", ""),), "major", requests=1000, seconds=100,
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def baselines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, float], Path]:
    """The baseline's recording of so many requests in so many seconds, made once."""
    folder = tmp_path_factory.mktemp("baselines")

    def baseline(requests: int, seconds: float) -> Path:
        file = folder / f"{requests}-{seconds}.jsonl"
        return file if file.exists() else record(file, BLUE, requests=requests, seconds=seconds, seed=1)

    return baseline


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_and_its_cause(name: str, baselines: Callable[[int, float], Path], tmp_path: Path) -> None:
    case = CASES[name]
    after = record(
        tmp_path / "after.jsonl", case.candidate, requests=case.requests, seconds=case.seconds, seed=2, after_s=case.after_s
    )  # fmt: skip
    ran = verdigris("compare", baselines(case.requests, case.seconds), after, "--json", "--quiet")
    document = ran.comparison
    assert (document.verdict, ran.exit_code) == (case.verdict, ExitCode[case.verdict]), document.summary
    assert document.concurrent == (not case.after_s)
    check_document(document, recorded=case.requests)
    assert {(f.signal, f.service) for f in document.findings} >= set(case.finds)
    if case.severity:
        assert document.findings[0].severity == case.severity
    if case.cause is None:
        return
    assert document.causes[0].service == case.cause, document.causes
    assert document.causes[0].share > 0.5
    assert re.search(case.why, document.causes[0].why), document.causes[0].why
    if case.verdict == "FAIL":
        assert document.causes[0].service in document.summary
        assert document.causes[0].findings
    felt = [f for f in document.findings if f.signal == "latency" and f.service != case.cause]
    assert [f.follows_from for f in felt] == [case.cause] * len(felt)


def check_document(document: Comparison, *, recorded: int) -> None:
    """What holds of every document with a verdict: it is one story, and its parts name each other."""
    ids = [finding.id for finding in document.findings]
    assert len(set(ids)) == len(ids)
    causes = [cause.service for cause in document.causes]
    assert len(set(causes)) == len(causes)
    assert [cause.rank for cause in document.causes] == list(range(1, len(causes) + 1))
    assert sum(cause.share for cause in document.causes) <= 1.001
    for cause in document.causes:
        assert set(cause.findings) <= set(ids)
    for finding in document.findings:
        assert finding.follows_from in {None, *causes}
        assert finding.evidence.log_e >= finding.evidence.threshold - 1e-9
        assert finding.sentence.endswith(".")
        if finding.operation is not None:
            assert finding.examples.candidate
        assert set(finding.examples.baseline).isdisjoint(finding.examples.candidate)
    direct = [finding.follows_from is None for finding in document.findings]
    assert direct == sorted(direct, reverse=True), "direct findings come first"
    for waterfall in document.waterfalls:
        assert waterfall.spans[0].depth == 0
        shown = {f.id for f in document.findings if waterfall.trace_id in (*f.examples.baseline, *f.examples.candidate)}
        assert set(waterfall.findings) <= shown
    assert document.roles["baseline"].traces == recorded
    assert document.roles["candidate"].traces == recorded
    assert (document.verdict == "PASS") <= (not document.missing and not document.findings)
    assert document.reading.problem_count == 0
