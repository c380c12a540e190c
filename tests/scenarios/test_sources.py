"""Both roles in one source, roles without anything in them, and what cannot be read."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.scenarios.running import verdigris
from tests.scenarios.systems import BLUE, CLINIC, GREEN, Call, Operation, lines, record

GATED = {
    "gateway GET /appointments": Operation(0.5, (Call("portal GET /appointments"),)),
    "gateway POST /appointments": Operation(0.5, (Call("portal POST /appointments"),)),
    **CLINIC,
}
ENTRIES = {"gateway GET /appointments": 0.7, "gateway POST /appointments": 0.3}
INSURER = "insurer.example.org GET /v2/coverage"
BOTH = ("--baseline", "slot=blue", "--candidate", "slot=green")


def test_roles_in_one_source_under_a_shared_gateway(tmp_path: Path) -> None:
    blue = replace(BLUE, system=GATED, entries=ENTRIES, shared=frozenset({"gateway"}))
    green = replace(blue, slot="green", system={**GATED, INSURER: replace(GATED[INSURER], own_ms=40.0)})
    red = replace(BLUE, slot="red")
    with (tmp_path / "all.jsonl").open("wb") as out:
        for role, requests in ((blue, 1500), (green, 1500), (red, 100)):
            out.writelines(lines(role, requests=requests, seconds=150, seed=4))
    others = sum(line.count(b'"spanId"') for line in lines(red, requests=100, seconds=150, seed=4))
    ran = verdigris("compare", tmp_path / "all.jsonl", *BOTH, "--json")
    document = ran.comparison
    assert (document.verdict, ran.exit_code) == ("FAIL", 1)
    assert document.concurrent
    assert document.causes[0].service == "eligibility"
    assert {role: summary.match for role, summary in document.roles.items()} == {"baseline": "slot=blue", "candidate": "slot=green"}
    assert {role.traces for role in document.roles.values()} == {1500}
    assert {role.mixed_traces for role in document.roles.values()} == {0}
    assert document.reading.unassigned_spans == others
    gateway = next(o for o in document.operations if o.operation.service == "gateway")
    assert gateway.baseline is not None
    assert gateway.candidate is not None
    follow = {f.service: f.follows_from for f in document.findings if f.signal == "latency"}
    assert follow["gateway"] == follow["portal"] == "eligibility"


def test_roles_may_be_spread_over_several_sources(tmp_path: Path) -> None:
    blue = record(tmp_path / "1.jsonl", BLUE, requests=200, seconds=60, seed=5)
    green = record(tmp_path / "2.jsonl", GREEN, requests=200, seconds=60, seed=5)
    together = verdigris("compare", blue, green, *BOTH, "--json").comparison
    apart = verdigris("compare", blue, green, "--json").comparison
    assert together.windows == apart.windows
    assert together.missing == apart.missing
    assert together.roles["candidate"].inputs == (str(blue), str(green))


def test_an_export_that_was_retried_counts_once(tmp_path: Path) -> None:
    blue = record(tmp_path / "1.jsonl", BLUE, requests=200, seconds=60, seed=5)
    retried = tmp_path / "retried"
    retried.mkdir()
    for name in ("1.jsonl", "2.jsonl"):
        (retried / name).write_bytes(blue.read_bytes())
    once, twice = (verdigris("compare", source, blue, "--json").comparison for source in (blue, retried))
    assert twice.windows == once.windows
    assert twice.reading.spans == once.reading.spans * 3 // 2


def test_a_match_that_fits_nothing_is_blind_and_says_so(tmp_path: Path) -> None:
    file = record(tmp_path / "all.jsonl", BLUE, requests=100, seconds=60, seed=5)
    ran = verdigris("compare", file, "--baseline", "slot=blue", "--candidate", "slot=gren", "--json")
    assert (ran.comparison.verdict, ran.exit_code) == ("BLIND", 3)
    ran = verdigris("compare", file, "--baseline", "slot=bleu", "--candidate", "slot=green", "--json")
    assert (ran.comparison.verdict, ran.exit_code) == ("NOT_ENOUGH_DATA", 2)
    spans = file.read_bytes().count(b'"spanId"')
    assert f"No span matches the baseline's slot=bleu; {spans} spans match neither role." in ran.comparison.notes


SOMETHING, NOTHING, RUBBISH = "something.jsonl", "nothing.jsonl", "rubbish.jsonl"


@pytest.mark.parametrize(
    ("before", "after", "verdict", "code"),
    [
        (SOMETHING, NOTHING, "BLIND", 3),
        (NOTHING, SOMETHING, "NOT_ENOUGH_DATA", 2),
        (NOTHING, NOTHING, "NOT_ENOUGH_DATA", 2),
        (SOMETHING, RUBBISH, "BLIND", 3),
        (RUBBISH, SOMETHING, "NOT_ENOUGH_DATA", 2),
        (RUBBISH, RUBBISH, "NOT_ENOUGH_DATA", 2),
    ],
)
def test_a_role_without_traces_never_passes(tmp_path: Path, before: str, after: str, verdict: str, code: int) -> None:
    record(tmp_path / SOMETHING, BLUE, requests=100, seconds=60, seed=6)
    (tmp_path / NOTHING).write_bytes(b"")
    (tmp_path / RUBBISH).write_bytes(b'{"resourceSpans": 7}\n{"resourceSpans": [{"scopeSpans": [{]}\n')
    ran = verdigris("compare", tmp_path / before, tmp_path / after, "--json")
    document = ran.comparison
    assert (document.verdict, ran.exit_code) == (verdict, code)
    assert [f.signal for f in document.findings] == (["no traces"] if verdict == "BLIND" else [])
    unread = {str(tmp_path / name) for name in (before, after) if name != SOMETHING}
    assert {problem.source for problem in document.reading.problems} == unread
    for role, name in (("baseline", before), ("candidate", after)):
        told = [note for note in document.notes if f"given for the {role}" in note]
        assert [str(tmp_path / name) in note for note in told] == ([] if name == SOMETHING else [True])


def test_what_cannot_be_read_is_named_and_counted_and_the_rest_is_judged(tmp_path: Path) -> None:
    blue = record(tmp_path / "before.jsonl", BLUE, requests=300, seconds=60, seed=7)
    good = record(tmp_path / "after.jsonl", GREEN, requests=300, seconds=60, seed=7).read_bytes().splitlines(keepends=True)
    zeros = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000000","spanId":"0000000000000001"}]}]}]}\n'
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(good[0] + b'{"resourceSpans": [\n' + good[1] + zeros + good[2])
    document = verdigris("compare", blue, broken, "--json").comparison
    assert document.roles["candidate"].traces == 300
    [problem] = document.reading.problems
    assert (problem.source, problem.where) == (str(broken), "line 2")
    assert document.reading.problem_count == 1
    assert sum(document.reading.refused.values()) == 1
    shown = verdigris("compare", blue, broken).out.decode()
    assert "broken.jsonl" in shown
    assert "line 2" in shown
    strict = verdigris("compare", blue, broken, "--json", "--strict")
    assert (strict.exit_code, strict.out) == (65, b"")
    assert f"{broken}, line 2: " in strict.err
