"""kill -9 before and after every durable step of a rollout, then a restart: the same end, weights as recorded, nothing acted twice."""

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.crashing import Point, SavedWorld, killed, live
from tests.unit.plans import PLAN, plan
from tests.unit.rollout_world import behaving

from verdigris.plan.objectives import Objectives
from verdigris.plan.plan import Observation, Plan, Required
from verdigris.plan.policy import Policy, Tolerance
from verdigris.rollout.records import Records
from verdigris.rollout.status import RolloutEvent
from verdigris.traffic.data_plane import Routing

QUICK: Plan = plan(
    objectives=Objectives(Policy(errors_pass=Tolerance(1.5, 0.02), latency_margin_pass=0.6)),
    observation=Observation(window_s=1, settle_s=1.0, reference_s=4.0),
    steps=(
        replace(PLAN.steps[0], minimum_s=2, required=Required(passed=False, candidate_requests=50)),
        replace(PLAN.steps[1], minimum_s=2, maximum_s=200),
    ),
    bake_s=2,
)
RATE = 3_000

STEPS = {
    "good": {
        "claim": 1, "move": 9, "intend": 4, "apply": 3, "commit": 1, "note": 6, "verdict": 3, "keep_reference": 1,
        "keep_look": 12, "hear": 1,
    },
    "bad": {
        "claim": 1, "move": 7, "intend": 2, "apply": 2, "return_to_baseline": 3, "note": 5, "verdict": 2, "keep_reference": 1,
        "keep_look": 8, "hear": 1, "answered": 1,
    },
}  # fmt: skip
"""All durable steps of a rollout that nothing interrupts, and how many there are of each."""

LOOKS = {"good": (1, 4, 12), "bad": (1, 2, 8)}
"""Every look is the same step; the first, the last, and one between."""

CONDEMNED = {Point("return_to_baseline", 1, took_effect=True), Point("verdict", STEPS["bad"]["verdict"], took_effect=True)}
"""From here on nothing of the bad candidate may be put in force: its last verdict is the FAIL."""

POINTS = [
    (candidate, call, number)
    for candidate, counts in STEPS.items()
    for call, count in counts.items()
    for number in (LOOKS[candidate] if call == "keep_look" else range(1, count + 1))
]


def world_of(candidate: str) -> SavedWorld:
    return SavedWorld(rate_per_s=RATE, candidate=behaving(failed=0.2) if candidate == "bad" else behaving())


def journal(folder: Path) -> list[RolloutEvent]:
    records = Records(f"sqlite:///{folder / 'rollouts.sqlite'}")
    entries = list(records.journal(records.load("latest").id))
    records.close()
    return entries


@pytest.mark.parametrize("candidate", STEPS)
def test_the_points_are_all_that_there_are(tmp_path: Path, candidate: str) -> None:
    """A durable step that is added to a rollout must be added to the matrix."""
    calls = live(tmp_path, QUICK, world_of(candidate), None)
    assert Counter(calls) == STEPS[candidate]
    assert LOOKS[candidate][-1] == STEPS[candidate]["keep_look"]
    verdicts = [e.data["verdict"] for e in journal(tmp_path) if e.kind == "verdict"]
    assert verdicts.count("FAIL") == (candidate == "bad")
    assert candidate == "good" or verdicts[-1] == "FAIL"


CASES = [
    (candidate, Point(call, number, took_effect), away_s)
    for candidate, call, number in POINTS
    # A guard that is back at once still has its lease; one that comes late finds that it has ended.
    for took_effect, away_s in (
        (False, 0.5),
        (True, 30.0),
        *(((False, 30.0), (True, 0.5)) if call in {"apply", "commit", "keep_look"} else ()),
    )
]


@pytest.mark.parametrize(("candidate", "point", "away_s"), CASES, ids=str)
def test_restart_reaches_the_same_end(tmp_path: Path, candidate: str, point: Point, away_s: float) -> None:
    assert killed(tmp_path, QUICK, world_of(candidate), point)
    world = world_of(candidate)
    applied = pickle.loads((tmp_path / "world").read_bytes())["applied"] if (tmp_path / "world").exists() else []
    live(tmp_path, QUICK, world, None, away_s=away_s)
    if candidate == "bad" and point in CONDEMNED:
        assert world.applied == applied, "what was condemned got traffic once more"

    entries = journal(tmp_path)
    phases = [str(e.data["to"]) for e in entries if e.kind == "phase"]
    if candidate == "good":
        assert phases[-1] == "committed"
        assert world.default == Routing(100.0)
        # Each phase once: nothing was done twice. Only where a weight was lost with its guard may it go back instead; never forward.
        assert phases.count("committing") == phases.count("committed") == 1
    else:
        assert phases[-2:] == ["returning", "rolled back"]
        assert world.default == Routing(0.0)
        assert "committing" not in phases
    assert [e.sequence for e in entries] == list(range(1, len(entries) + 1))
    assert [e.kind for e in entries].count("rollout.ended") == 1

    intended = {e.data["generation"]: e.data["candidate_percent"] for e in entries if e.kind in {"weight.intended", "commit.intended"}}
    put_in_force = [(generation, percent) for _, generation, percent in world.applied if percent > 0]
    assert all(intended.get(generation) == percent for generation, percent in put_in_force)
    generations = [generation for generation, _ in put_in_force]
    assert generations == sorted(set(generations))
    percents = [percent for _, percent in put_in_force]
    assert percents == sorted(percents)
