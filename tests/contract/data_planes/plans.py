"""The plan of the contract suite: baseline "blue", candidate "green"."""

from collections.abc import Mapping

from tests.contract.data_planes.requests import Upstreams

from verdigris.plan.identity import IdentityMatch
from verdigris.plan.objectives import Objectives
from verdigris.plan.plan import (
    Change,
    Environment,
    FastPath,
    Observation,
    Otherwise,
    Plan,
    Schedule,
    Setting,
    Step,
    Traffic,
    WhenWorse,
)  # fmt: skip


def plan_of(adapter: str, upstreams: Upstreams, settings: Mapping[str, Setting]) -> Plan:
    """Everything that is not about traffic is ordinary."""
    blue, green = (
        Environment(slot, IdentityMatch({"slot": slot}), (f"127.0.0.1:{port}",))
        for slot, port in (("blue", upstreams.blue.port), ("green", upstreams.green.port))
    )
    return plan_between(blue, green, adapter, settings)


def plan_between(baseline: Environment, candidate: Environment, adapter: str, settings: Mapping[str, Setting]) -> Plan:
    """A plan for these two."""
    return Plan(
        name="shop", change=Change("test", "none", "traffic only", "T-1", "tester"), baseline=baseline, candidate=candidate,
        traffic=Traffic(adapter, 3.0, dict(settings)), steps=(Step(5.0, 1.0, 60.0),), objectives=Objectives(), observation=Observation(),
        fast_path=FastPath(), when_worse=WhenWorse.RETURN, without_evidence=Otherwise.RETURN, deadline_s=600.0, bake_s=10.0,
        bake_holdback_percent=5.0, switch_gate=(), schedule=Schedule(), canonical=b"{}", digest="0" * 64,
    )  # fmt: skip
