"""The live cases are complete: each differs from blue in its fault only, and its end can be checked."""

import math
from dataclasses import replace

import pytest

from verdigris.demo.cases import CASES, Case
from verdigris.demo.system.load import Arrivals
from verdigris.demo.system.model import Behaviour, Call, Route, System
from verdigris.demo.system.outside import BURST, Limit
from verdigris.demo.system.systems import SYSTEMS
from verdigris.judge.verdict import Outcome, Signal
from verdigris.rollout.transitions import TERMINAL, Phase

ALL = list(CASES.values())
NO_FAULT = Behaviour("")


def test_the_cases_that_must_be_there() -> None:
    assert set(CASES) == {"good", "healthcare", "finance", "cloud", "leak", "errors", "slow-tail", "kill-guard"}


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_blue_is_well_and_green_differs_in_its_fault_only(case: Case) -> None:
    assert replace(case.blue, version="", at="") == NO_FAULT
    differences = {
        name for name in Behaviour.__dataclass_fields__ if name != "version" and getattr(case.green, name) != getattr(case.blue, name)
    }
    faultless = case.name in {"good", "kill-guard"}
    assert bool(differences) is not faultless
    assert case.blue.version != case.green.version
    assert case.green.at in {service.name for service in case.system.services}
    assert not case.expected.cause or case.expected.cause in {service.name for service in case.system.services}


def test_each_end_says_what_must_be_seen() -> None:
    ends = {case.name: case.expected for case in ALL}
    assert ends["good"].phase is Phase.COMMITTED
    assert ends["cloud"].verdict is Outcome.BLIND
    assert ends["finance"].signals == {Signal.REFUSED_LESS}
    assert ends["healthcare"].cause == "eligibility"
    assert ends["leak"].signals == {Signal.LEAK}
    assert ends["leak"].cause == "payments"
    assert all(end.phase is None or end.phase in TERMINAL for end in ends.values())
    assert [name for name, end in ends.items() if end.phase is None] == ["kill-guard"]


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=lambda system: system.name)
def test_every_call_and_every_ask_finds_its_route(system: System) -> None:
    services = {service.name: service for service in system.services}
    for service in system.services:
        for route in service.routes:
            for call in route.steps:
                if isinstance(call, Call) and not (system.outside and call.service == system.outside.service):
                    assert services[call.service].find(call.method, call.path.replace("{}", "17")), call
    assert all(system.front.find(ask.method, ask.path.replace("{}", "17")) for ask in system.asks)
    assert math.isclose(sum(ask.share for ask in system.asks), 1)


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("/appointments", "/appointments", ""),
        ("/appointments", "/appointments/1/book", None),
        ("/appointments/{id}/book", "/appointments/17/book", "17"),
        ("/appointments/{id}/book", "/appointments//book", None),
        ("/appointments/{id}/book", "/appointments/1/2/book", None),
        ("/a.b/{id}", "/axb/1", None),
    ],
)
def test_a_route_matches_its_own_paths_only(template: str, path: str, found: str | None) -> None:
    route = Route("POST", template, ())
    assert route.argument("POST", path) == found
    assert route.argument("GET", path) is None


def test_behaviour_survives_its_way_to_another_process() -> None:
    for case in ALL:
        assert Behaviour.read(case.green.document()) == case.green


def test_arrivals_repeat_for_a_seed_and_keep_rate_and_shares() -> None:
    system = SYSTEMS["bank"]
    first, again, other = (Arrivals(system.asks, 100.0, seed) for seed in (1, 1, 2))
    arrivals = [first.next() for _ in range(20_000)]
    assert [again.next() for _ in range(100)] == arrivals[:100]
    assert [other.next() for _ in range(100)] != arrivals[:100]
    # Standard errors: 1.4 s of 200 s; .0032 of the shares. Four of them.
    assert arrivals[-1].at_s == pytest.approx(200, abs=6)
    assert sum(a.path == "/rates" for a in arrivals) / 20_000 == pytest.approx(0.3, abs=0.013)
    assert sum(not a.authorized for a in arrivals) / 20_000 == pytest.approx(0.035, abs=0.006)
    assert all(a.authorized for a in arrivals if a.path == "/rates")


def test_the_outside_limit_is_felt_beyond_the_rate_only() -> None:
    limit = Limit(5.0, 0.0)
    assert [limit.exceeded(0.0) for _ in range(int(BURST) + 1)] == [False] * int(BURST) + [True]
    assert not limit.exceeded(0.2)
    assert limit.exceeded(0.2)
    assert not any(limit.exceeded(100 + n / 4.9) for n in range(200))
    assert sum(limit.exceeded(200 + n / 20) for n in range(200)) >= 140
