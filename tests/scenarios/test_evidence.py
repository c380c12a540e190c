"""What a candidate must show before it passes, and that one which did not become worse never fails."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.scenarios.running import verdigris
from tests.scenarios.systems import BLUE, CLINIC, GREEN, Deployment, record

HOUR_S = 3600.0
BETTER = replace(GREEN, system={name: replace(operation, own_ms=operation.own_ms / 2, errors=0.0) for name, operation in CLINIC.items()})


def recorded(folder: Path, candidate: Deployment, requests: int, seconds: float, after_s: float) -> tuple[Path, Path]:
    return (
        record(folder / "before.jsonl", BLUE, requests=requests, seconds=seconds, seed=1),
        record(folder / "after.jsonl", candidate, requests=requests, seconds=seconds, seed=2, after_s=after_s),
    )


@pytest.mark.parametrize(("requests", "after_s"), [(12_000, 0.0), (6_000, HOUR_S)], ids=["side by side", "apart in time"])
def test_an_unchanged_candidate_passes_with_enough_requests(tmp_path: Path, requests: int, after_s: float) -> None:
    ran = verdigris("compare", *recorded(tmp_path, GREEN, requests, 600, after_s), "--json")
    document = ran.comparison
    assert (document.verdict, ran.exit_code) == ("PASS", 0), document.summary
    assert (document.findings, document.causes, document.missing, document.waterfalls) == ((), (), (), ())
    assert document.concurrent == (not after_s)


@pytest.mark.parametrize("after_s", [0.0, HOUR_S], ids=["side by side", "apart in time"])
def test_few_requests_pass_nobody_and_say_how_many_are_missing(tmp_path: Path, after_s: float) -> None:
    ran = verdigris("compare", *recorded(tmp_path, GREEN, 200, 60, after_s), "--json")
    document = ran.comparison
    assert (document.verdict, ran.exit_code) == ("NOT_ENOUGH_DATA", 2)
    assert document.findings == ()
    assert document.missing
    for missing in document.missing:
        assert missing.need > missing.have
        assert missing.more_s is not None
        # At the recorded rate: so many more in as many times the minute that was recorded.
        assert missing.more_s == pytest.approx((missing.need - missing.have) * 60 / missing.have, abs=1)
    lacking = [missing.need - missing.have for missing in document.missing]
    assert lacking == sorted(lacking, reverse=True)


def test_an_operation_that_never_came_is_missing_without_a_time(tmp_path: Path) -> None:
    only_listing = replace(GREEN, entries={"portal GET /appointments": 1.0})
    document = verdigris("compare", *recorded(tmp_path, only_listing, 1000, 100, 0.0), "--json").comparison
    assert document.verdict == "NOT_ENOUGH_DATA"
    silent = [m for m in document.missing if m.have == 0]
    assert "POST /appointments" in {m.operation.name for m in silent}
    assert {m.more_s for m in silent} == {None}
    assert "Services seen only in the baseline: identity, notifications." in document.notes


def test_a_recording_compared_with_itself_never_fails(tmp_path: Path) -> None:
    file = record(tmp_path / "both.jsonl", BLUE, requests=1500, seconds=150, seed=3)
    document = verdigris("compare", file, file, "--json").comparison
    assert document.verdict in {"PASS", "NOT_ENOUGH_DATA"}
    assert document.findings == ()
    assert document.roles["baseline"] == document.roles["candidate"]


@pytest.mark.parametrize("after_s", [0.0, HOUR_S], ids=["side by side", "apart in time"])
@pytest.mark.parametrize("seed", [11, 12])
def test_an_unchanged_candidate_does_not_fail(tmp_path: Path, seed: int, after_s: float) -> None:
    before = record(tmp_path / "before.jsonl", BLUE, requests=600, seconds=120, seed=seed)
    after = record(tmp_path / "after.jsonl", GREEN, requests=600, seconds=120, seed=seed, after_s=after_s)
    ran = verdigris("compare", before, after, "--json")
    assert ran.comparison.verdict in {"PASS", "NOT_ENOUGH_DATA"}, f"seed {seed}: {ran.comparison.summary}"


@pytest.mark.parametrize("after_s", [0.0, HOUR_S], ids=["side by side", "apart in time"])
def test_a_better_candidate_does_not_fail(tmp_path: Path, after_s: float) -> None:
    document = verdigris("compare", *recorded(tmp_path, BETTER, 1500, 150, after_s), "--json").comparison
    assert document.verdict in {"PASS", "NOT_ENOUGH_DATA"}
    assert document.findings == ()


def test_a_tiny_alpha_asks_for_more_than_there_is(tmp_path: Path) -> None:
    # With the usual alpha this candidate FAILs; see the verdicts.
    failing = replace(CLINIC["scheduling GET /slots"], errors=0.03)
    files = recorded(tmp_path, replace(GREEN, system={**CLINIC, "scheduling GET /slots": failing}), 2000, 200, 0.0)
    document = verdigris("compare", *files, "--json", "--alpha", "1e-30").comparison
    assert (document.verdict, document.alpha) == ("NOT_ENOUGH_DATA", 1e-30)
