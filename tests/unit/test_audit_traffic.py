"""Which traffic no rollout explains, from the entries alone."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.audit_logs import ANOTHER, PLAN_DIGEST, ROLLOUT, START_UNIX_S, statement, told
from tests.unit.ledger_keys import signer

from verdigris.audit.record import Entry
from verdigris.audit.traffic import Unexplained, unexplained
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.statement import Outcome, opened
from verdigris.times import NANO


def entries(*said: tuple[Kind, Mapping[str, Value], Mapping[str, Any]]) -> list[Entry]:
    """A rollout that intended 5 % (generation 7) and 50 % (generation 8), and then what is said."""
    weight = {"step": 0, "leaseS": 30}
    of: list[tuple[Kind, Mapping[str, Value], Mapping[str, Any]]] = [
        (Kind.PLAN_SUBMITTED, {}, {}),
        (Kind.WEIGHT_INTENDED, {"candidatePercent": 5, "generation": 7, **weight}, {}),
        (Kind.WEIGHT_INTENDED, {"candidatePercent": 50, "generation": 8, **weight}, {}),
        *said,
    ]
    return [Entry(n, b"", statement(kind, n + 1, ROLLOUT, values, **more)) for n, (kind, values, more) in enumerate(of)]


def observed(percent: float | None, generation: int | None, outcome: Outcome = Outcome.FAILED) -> Any:
    return Kind.WEIGHT_OBSERVED, {"candidatePercent": percent, "generation": generation, "committed": False}, {"outcome": outcome}


@pytest.mark.parametrize(
    ("percent", "generation", "outcome", "expected"),
    [
        (5.0, 7, Outcome.FAILED, ...),  # 50 % could not be put in force: what was asked for before is still there
        (0.0, None, Outcome.FAILED, ...),  # the lease has ended
        (None, None, Outcome.FAILED, ...),  # nobody could tell
        (50.0, 8, Outcome.SEEN, ...),
        (50.004, 8, Outcome.FAILED, ...),  # the same, as exactly as a proxy tells it
        (80.0, None, Outcome.FAILED, None),
        (80.0, 8, Outcome.FAILED, 50.0),
        (50.0, 9, Outcome.FAILED, None),
    ],
)
def test_a_weight_that_nobody_asked_for(percent: float | None, generation: int | None, outcome: Outcome, expected: Any) -> None:
    found = unexplained(entries(observed(percent, generation, outcome)))
    if expected is ...:
        assert found == []
    else:
        assert found == [
            Unexplained(
                3, (START_UNIX_S + 4) * NANO, ROLLOUT, running=True, percent=percent or 0.0, expected_percent=expected, committed=False
            )
        ]


def test_what_is_seen_after_the_end_belongs_to_the_newest_rollout_of_the_plan() -> None:
    changed = {"candidatePercent": 25.0, "generation": None, "committed": False, "recordedPercent": 0.0, "plan": PLAN_DIGEST}
    of_none = {**changed, "plan": "0" * 64, "committed": True}
    said = [opened(entry, [signer(1).key])[0] for entry in [*told(), *told(ANOTHER)]]
    said += [statement(Kind.TRAFFIC_CHANGED, n, None, values) for n, values in enumerate((changed, of_none), 1)]
    first, second = unexplained([Entry(n, b"", one) for n, one in enumerate(said)])
    assert (first.rollout, first.running, first.percent, first.expected_percent) == (ANOTHER, False, 25.0, 0.0)
    assert first.words == (
        "at 2026-05-01T12:00:01Z the proxy sent 25 % to the candidate, after the rollout had ended, and the record says 0 % (entry 20)"
    )
    assert second.rollout is None
    assert "by its durable default" in second.words
