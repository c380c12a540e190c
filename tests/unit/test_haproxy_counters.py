"""Requests without an answer are a difference of counters that move while they are read: it does not flicker."""

import asyncio
from typing import Any

import pytest
from tests.unit.plans import plan

from verdigris.plan.plan import Traffic
from verdigris.traffic.haproxy import HaproxyDataPlane
from verdigris.traffic.haproxy_socket import Counted

SETTINGS = {"subject": "shop", "socket": "/run/haproxy/admin.sock", "map_file": "/etc/haproxy/verdigris.map"}


class Readings:
    """An admin socket that counts what it is told to."""

    def __init__(self, *readings: tuple[int, int]) -> None:
        self._readings = [Counted(requests, 0, unanswered) for requests, unanswered in readings]

    async def counted(self, backend: str) -> Counted:
        return self._readings.pop(0)


@pytest.mark.parametrize(
    ("readings", "unanswered"),
    [
        ([(5, 1), (5, 0)], [0]),  # seen once: a request that was beginning
        ([(5, 1), (5, 1)], [1]),  # seen twice: it has no answer
        ([(5, 3), (6, 2)], [2]),
        ([(5, 1), (5, 1), (9, 0), (9, 1)], [1, 1, 1]),  # less for a moment: one is under way
        ([(5, 1), (5, 1), (2, 0)], [1, 0]),  # fewer requests: HAProxy started anew
    ],
)
def test_one_too_many_is_not_told(readings: list[tuple[int, int]], unanswered: list[int]) -> None:
    plane = HaproxyDataPlane(plan(traffic=Traffic("haproxy", 3.0, SETTINGS)))
    admin: Any = Readings(*readings)
    plane._admin = admin

    async def read() -> list[int]:
        return [(await plane._counted("green")).unanswered for _ in unanswered]

    assert asyncio.run(read()) == unanswered
    assert not admin._readings
