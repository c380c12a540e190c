"""Plans as values for tests of the rollout: small, complete, and easy to change."""

from dataclasses import replace
from typing import Any

from verdigris.plan.identity import IdentityMatch
from verdigris.plan.objectives import Objectives
from verdigris.plan.plan import (
    Change,
    Environment,
    FastPath,
    Observation,
    Otherwise,
    Plan,
    Required,
    Schedule,
    Step,
    Traffic,
    WhenWorse,
)

PLAN = Plan(
    name="payments",
    change=Change("faster lookups", "none", "back to blue", "CHG-1", "ann"),
    baseline=Environment("blue", IdentityMatch({"deployment.environment.name": "blue"}), ("127.0.0.1:8001",)),
    candidate=Environment("green", IdentityMatch({"deployment.environment.name": "green"}), ("127.0.0.1:8002",)),
    traffic=Traffic("envoy", 3.0, {"subject": "payments"}),
    steps=(
        Step(5.0, 10, 100, Required(passed=False, candidate_requests=50)),
        Step(50.0, 10, 100, Required()),
    ),
    objectives=Objectives(),
    observation=Observation(window_s=1, settle_s=1.0, reference_s=10.0),
    fast_path=FastPath(),
    when_worse=WhenWorse.RETURN,
    without_evidence=Otherwise.HOLD,
    deadline_s=1000,
    bake_s=20,
    bake_holdback_percent=5.0,
    switch_gate=(),
    schedule=Schedule(),
    canonical=b"{}",
    digest="0" * 64,
)


def plan(**changes: Any) -> Plan:
    """The plan above, with changes."""
    return replace(PLAN, **changes)
