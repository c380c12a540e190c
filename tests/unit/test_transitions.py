import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verdigris.rollout.transitions import ON_TRAFFIC, TERMINAL, TRANSITIONS, Event, IllegalTransition, Phase, after, diagram

ROOT = Path(__file__).parents[2]

DOUBT = {
    Event.CANNOT_TELL,
    Event.EVIDENCE_MISSING,
    Event.HOLD_ASKED,
    Event.FAILED,
    Event.FAILED_IRREVERSIBLE,
    Event.RETURN_ASKED,
    Event.UNDECIDED,
}
FORWARD = {Phase.SHIFTING, Phase.COMMITTING, Phase.COMMITTED, Phase.BAKING}


def test_every_phase_has_a_row_and_every_event_a_use() -> None:
    assert set(TRANSITIONS) == set(Phase)
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)


@pytest.mark.parametrize("phase", [p for p in Phase if p not in TERMINAL])
def test_the_way_back_is_open_from_everywhere(phase: Phase) -> None:
    assert after(phase, Event.RETURN_ASKED) is Phase.RETURNING


def test_doubt_never_leads_forward() -> None:
    for phase, row in TRANSITIONS.items():
        for event in DOUBT & row.keys():
            assert row[event] not in FORWARD - {phase}, (phase, event)


def test_returning_ends_only_when_the_proxy_says_baseline() -> None:
    assert set(TRANSITIONS[Phase.RETURNING].values()) == {Phase.RETURNING, Phase.ROLLED_BACK}
    assert [e for e, p in TRANSITIONS[Phase.RETURNING].items() if p is Phase.ROLLED_BACK] == [Event.BASELINE_IN_FORCE]


def test_only_a_bake_leads_to_a_commit() -> None:
    def into(phase: Phase) -> set[tuple[Phase, Event]]:
        return {(p, e) for p, row in TRANSITIONS.items() for e, q in row.items() if q is phase and p is not phase}

    assert into(Phase.COMMITTED) == {(Phase.COMMITTING, Event.COMMIT_IN_FORCE)}
    assert into(Phase.COMMITTING) == {(Phase.BAKING, Event.BAKED)}
    assert into(Phase.BAKING) == {(Phase.SHIFTING, Event.SWITCH_IN_FORCE)}


@pytest.mark.parametrize("phase", sorted(TERMINAL))
def test_an_end_is_an_end(phase: Phase) -> None:
    assert not TRANSITIONS[phase]
    with pytest.raises(IllegalTransition, match="it has ended"):
        after(phase, Event.BEGUN)


def test_an_illegal_event_names_the_legal_ones() -> None:
    with pytest.raises(IllegalTransition, match=r"planned cannot take 'baked'; it can take: begun, return asked"):
        after(Phase.PLANNED, Event.BAKED)


@given(st.lists(st.sampled_from(list(Event)), max_size=60))
def test_no_walk_commits_without_passing_a_step_switching_and_baking(events: list[Event]) -> None:
    phase, taken = Phase.PLANNED, list[Event]()
    for event in events:
        if event in TRANSITIONS[phase]:
            phase = after(phase, event)
            taken.append(event)
    if phase is Phase.COMMITTED:
        assert [e for e in taken if e in {Event.SWITCH_IN_FORCE, Event.BAKED, Event.COMMIT_IN_FORCE}][-3:] == [
            Event.SWITCH_IN_FORCE, Event.BAKED, Event.COMMIT_IN_FORCE,
        ]  # fmt: skip


def test_phases_with_traffic_are_those_between_the_first_shift_and_the_return() -> None:
    assert ON_TRAFFIC.isdisjoint(TERMINAL | {Phase.PLANNED, Phase.PREFLIGHT, Phase.RETURNING})


def test_the_diagram_in_the_docs_is_drawn_from_the_table() -> None:
    text = (ROOT / "docs" / "life-of-a-rollout.md").read_text(encoding="utf-8")
    drawn = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert drawn is not None
    assert drawn.group(1) == diagram()
