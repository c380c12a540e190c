"""The load and the accidents repeat for a seed, and favour neither role."""

import math
from statistics import median

import pytest

from verdigris.demo.clinic.chance import Chance, natural_s
from verdigris.demo.clinic.load import MAX_REQUESTS_PER_S, MAX_SECONDS, PORTALS, Arrival, arrivals
from verdigris.demo.errors import ImpossibleLoad
from verdigris.judge.windows import Role

SEED = 7


@pytest.fixture(scope="module")
def plan() -> tuple[Arrival, ...]:
    return arrivals(60, 20, SEED)


def of(plan: tuple[Arrival, ...], role: Role) -> list[Arrival]:
    return [arrival for arrival in plan if arrival.role is role]


def test_a_seed_repeats_its_plan_and_another_makes_another(plan: tuple[Arrival, ...]) -> None:
    assert arrivals(60, 20, SEED) == plan
    assert arrivals(60, 20, SEED + 1) != plan


def test_arrivals_are_in_order_and_in_time(plan: tuple[Arrival, ...]) -> None:
    times = [arrival.at_s for arrival in plan]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= 60
    assert {arrival.portal for arrival in plan} == set(range(PORTALS))


def test_both_roles_get_the_same_requests(plan: tuple[Arrival, ...]) -> None:
    baseline = [arrival.request for arrival in of(plan, Role.BASELINE)]
    assert baseline == [arrival.request for arrival in of(plan, Role.CANDIDATE)]
    assert len(baseline) == 1200
    assert len({request.id for request in baseline}) == 1200


def test_neither_role_is_always_first(plan: tuple[Arrival, ...]) -> None:
    first = [arrival.role for arrival in plan[::2]].count(Role.BASELINE)
    assert 520 < first < 680  # 1200 coins: 600, give or take 4.6 standard deviations


def test_all_routes_are_used_and_booking_is_common(plan: tuple[Arrival, ...]) -> None:
    kinds = [request.path.split("/")[1] + request.method for request in (a.request for a in of(plan, Role.BASELINE))]
    assert {kind: round(kinds.count(kind) / len(kinds), 1) for kind in set(kinds)} == {
        "appointmentsGET": 0.5,
        "appointmentsPOST": 0.3,
        "health-cardGET": 0.2,
    }


@pytest.mark.parametrize(
    ("seconds", "requests_per_s"),
    [
        (0, 20),
        (-1, 20),
        (math.nan, 20),
        (math.inf, 20),
        (MAX_SECONDS * 1.01, 20),
        (60, 0),
        (60, -1),
        (60, math.nan),
        (60, MAX_REQUESTS_PER_S * 1.01),
        (0.1, 1),
    ],
)
def test_an_impossible_load_is_refused(seconds: float, requests_per_s: float) -> None:
    with pytest.raises(ImpossibleLoad, match="choose more"):
        arrivals(seconds, requests_per_s, SEED)


def test_accidents_depend_on_seed_role_place_and_request_only() -> None:
    again = Chance(SEED, "baseline").at("insurer", "r1").random()
    assert Chance(SEED, "baseline").at("insurer", "r1").random() == again
    others = [
        Chance(SEED + 1, "baseline").at("insurer", "r1"),
        Chance(SEED, "candidate").at("insurer", "r1"),
        Chance(SEED, "baseline").at("render", "r1"),
        Chance(SEED, "baseline").at("insurer", "r2"),
    ]
    assert again not in [other.random() for other in others]


def test_natural_times_lie_around_their_median() -> None:
    times = [natural_s(Chance(SEED, "baseline").at("insurer", f"r{n}"), 0.025) for n in range(2000)]
    assert median(times) == pytest.approx(0.025, rel=0.05)
    assert min(times) > 0
