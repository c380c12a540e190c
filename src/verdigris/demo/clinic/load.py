"""Who asks the portal for what, and when: a seeded plan, made before anything runs. No clock, no network."""

import math
from dataclasses import dataclass
from random import Random

from verdigris.demo.errors import ImpossibleLoad
from verdigris.judge.windows import Role

MAX_SECONDS = 3600.0
MAX_REQUESTS_PER_S = 50.0
"""Per role. Beyond it one Python process would add its own waiting to the latencies that it records."""

PORTALS = 2
"""Instances of the portal per role, between which the load is spread."""

SLOTS = 400
CARDS = 1000
UNKNOWN_SHARE = 0.0015
"""Share of requests that ask for something that does not exist: people mistype."""

_ROUTES = ("appointments", "book", "health-card")
_WEIGHTS = (50, 30, 20)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the patient's browser sends it."""

    id: str
    method: str
    path: str
    card: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that reaches one instance of a role's portal (`portal` is its index), `at_s` after the start."""

    at_s: float
    role: Role
    portal: int
    request: Request


def arrivals(seconds: float, requests_per_s: float, seed: int) -> tuple[Arrival, ...]:
    """The load on both roles, in the order of arrival.

    Arrivals are a Poisson process with a fixed number of requests. Both roles get the same requests: of every two
    neighbouring arrivals one goes to each role, and a coin decides which is first. A fixed order would give one role
    all the waiting behind the other, and the judge would rightly find it.

    Raises: ImpossibleLoad: a number is out of bounds, or there would be no request at all.
    """
    _check(seconds, requests_per_s)
    count = round(seconds * requests_per_s)
    dice = Random(f"load:{seed}")  # noqa: S311 - a load plan, not a secret
    times = sorted(dice.uniform(0, seconds) for _ in range(2 * count))
    plan = []
    for number in range(count):
        request = _request(dice, number)
        roles = [Role.BASELINE, Role.CANDIDATE]
        dice.shuffle(roles)
        for at_s, role in zip(times[2 * number : 2 * number + 2], roles, strict=True):
            plan.append(Arrival(at_s, role, dice.randrange(PORTALS), request))
    return tuple(plan)


def _check(seconds: float, requests_per_s: float) -> None:
    if not (math.isfinite(seconds) and 0 < seconds <= MAX_SECONDS):
        msg = f"cannot record for {seconds:g} seconds; choose more than 0 and at most {MAX_SECONDS:g}"
        raise ImpossibleLoad(msg)
    if not (math.isfinite(requests_per_s) and 0 < requests_per_s <= MAX_REQUESTS_PER_S):
        msg = f"cannot send {requests_per_s:g} requests per second; choose more than 0 and at most {MAX_REQUESTS_PER_S:g}"
        raise ImpossibleLoad(msg)
    if round(seconds * requests_per_s) < 1:
        msg = f"{requests_per_s:g} requests per second for {seconds:g} seconds is no request; choose more of either"
        raise ImpossibleLoad(msg)


def _request(dice: Random, number: int) -> Request:
    unknown = dice.random() < UNKNOWN_SHARE
    card = f"c{dice.randrange(CARDS):04d}"
    slot = SLOTS + dice.randrange(SLOTS) if unknown else dice.randrange(SLOTS)
    request_id = f"r{number:06d}"
    match dice.choices(_ROUTES, _WEIGHTS)[0]:
        case "book":
            return Request(request_id, "POST", f"/appointments/{slot}/book", card)
        case "health-card":
            return Request(request_id, "GET", f"/health-card/{'c9999' if unknown else card}", card)
        case _:
            return Request(request_id, "GET", "/appointments", card)
