"""What is said at the end, and when an end counts as the expected one."""

import json
from dataclasses import replace

import pytest

from verdigris.demo.cases import CASES
from verdigris.demo.ending import LEASE_GRACE_S, Killed, judge_ending
from verdigris.demo.harm import Harm
from verdigris.judge.verdict import Outcome
from verdigris.rollout.status import FindingStatus, RoleStatus, RolloutStatus
from verdigris.rollout.transitions import Phase

HARM = Harm(
    requests=9_000,
    candidate_requests=1_200,
    unanswered=0,
    hurt=30,
    first_hurt_unix_s=100.0,
    last_candidate_unix_s=112.5,
    exposed_s=12.5,
    requests_exposed=3_000,
    candidate_exposed=1_000,
    baseline_median_ms=80.0,
)
NO_HARM = replace(HARM, hurt=0, first_hurt_unix_s=None, exposed_s=0.0, requests_exposed=0, candidate_exposed=0)


def finding(signal: str, service: str) -> FindingStatus:
    return FindingStatus("f1", signal, "critical", service, f"{service} is worse")


STATUS = RolloutStatus(
    id="r1", name="clinic", plan_digest="d", phase=Phase.ROLLED_BACK, phase_since_unix_s=0, started_unix_s=0, ended_unix_s=1, steps=(),
    intended_percent=0, observed_percent=0, lease_s=3, generation=9, guard="g", baseline=RoleStatus("blue", 1, 0, 1),
    candidate=RoleStatus("green", 1, 0, 1), verdict=Outcome.FAIL, summary="errors", evidence=(),
    findings=(finding("errors", "scheduling"),), missing=(), waiting_for="", waiting_until_unix_s=None, windows=40, late_spans=0,
    clock_skew_s=0.0,
)  # fmt: skip


def test_the_expected_end_is_told_with_its_price() -> None:
    ending = judge_ending(CASES["errors"], STATUS, HARM)
    assert ending.expected
    told = " ".join(ending.sentences())
    for words in (
        "The rollout was rolled back, FAIL: errors",
        "first hurt request to the last one that green answered: 12.5 s",
        "Hurt (failed because of the fault): 30 requests",
        "about 90: 3,000 requests came in that time, and green hurt 3.0% of the 1,000 that it answered",
        "Lost on the way: 0 of 9,000 requests",
    ):
        assert words in told


def test_it_can_be_written_as_json() -> None:
    document = json.loads(json.dumps(judge_ending(CASES["errors"], STATUS, HARM).document()))
    assert document["expected"] is True
    assert document["harm"]["hurt_at_once"] == 90
    assert document["phase"] == "rolled back"
    assert document["sentences"]


@pytest.mark.parametrize(
    ("case", "status", "harm", "problem"),
    [
        ("good", STATUS, NO_HARM, "should have been committed, and is rolled back: errors"),
        ("errors", replace(STATUS, verdict=Outcome.BLIND), HARM, "verdict should have been FAIL, and is BLIND"),
        ("cloud", replace(STATUS, verdict=None), HARM, "verdict should have been BLIND, and is none"),
        ("errors", replace(STATUS, findings=()), HARM, "a finding about errors or new error kind should be there; there is none"),
        ("errors", replace(STATUS, findings=(finding("errors", "portal"),)), HARM, "scheduling should have been named"),
        (
            "finance",
            replace(STATUS, findings=(finding("errors", "accounts"),)),
            HARM,
            "about refused less should be there; there is errors",
        ),
        ("errors", STATUS, replace(HARM, unanswered=1), "1 request got no answer"),
        ("errors", STATUS, replace(HARM, candidate_requests=0), "nothing was shown"),
    ],
)
def test_another_end_is_a_problem(case: str, status: RolloutStatus, harm: Harm, problem: str) -> None:
    ending = judge_ending(CASES[case], status, harm)
    assert not ending.expected
    assert problem in "; ".join(ending.problems)


@pytest.mark.parametrize(("summary", "notes"), [("eligibility's call to the insurer", ()), ("slow", ("eligibility",))])
def test_a_cause_may_be_named_in_the_summary_or_a_note(summary: str, notes: tuple[str, ...]) -> None:
    slow = replace(STATUS, summary=summary, notes=notes, findings=(finding("latency", "portal"),))
    assert judge_ending(CASES["healthcare"], slow, HARM).expected


@pytest.mark.parametrize(("after_s", "expected"), [(3.1, True), (3 + LEASE_GRACE_S + 0.1, False)])
def test_a_dead_guard_is_followed_by_blue_within_the_lease(after_s: float, expected: bool) -> None:  # noqa: FBT001
    ending = judge_ending(CASES["kill-guard"], replace(STATUS, phase=Phase.WATCHING), NO_HARM, Killed(1.0, after_s, 3.0))
    assert ending.expected is expected
    assert f"came {after_s:.1f} s after the guard was killed" in " ".join(ending.sentences())


def test_a_machine_that_was_too_busy_is_said_to_be() -> None:
    busy = replace(HARM, unanswered=5, baseline_median_ms=2_500.0)
    assert "blue's median answer took 2,500 ms" in "; ".join(judge_ending(CASES["errors"], STATUS, busy).problems)
    assert judge_ending(CASES["errors"], STATUS, replace(busy, unanswered=0)).expected


def test_a_guard_that_was_not_killed_in_time_is_a_problem() -> None:
    assert not judge_ending(CASES["kill-guard"], STATUS, NO_HARM).expected
