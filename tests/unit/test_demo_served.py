"""Whether the users of the first seconds were served well."""

import pytest

from verdigris.demo.harm import Answer
from verdigris.demo.run import served


def answers(count: int, latency_ms: float, slot: str = "blue") -> list[Answer]:
    return [Answer(float(n), slot, 200 if slot else 0, latency_ms, "") for n in range(count)]


@pytest.mark.parametrize(
    ("seen", "well"),
    [
        (answers(100, 80.0), True),
        (answers(45, 900.0) + answers(55, 80.0), True),
        (answers(100, 900.0), False),
        (answers(40, 80.0), False),
        (answers(99, 80.0) + answers(1, 80.0, slot=""), False),
        ([], False),
    ],
    ids=["quick", "mostly quick", "slow", "half of them still wait", "one was lost", "nobody"],
)
def test_users_are_served_well_or_there_are_too_many(seen: list[Answer], well: bool) -> None:  # noqa: FBT001
    assert served(seen, 100.0, 200.0) is well
