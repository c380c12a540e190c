"""What holds of the records on SQLite and on PostgreSQL."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.unit.approval_people import CRUZ, MINUTE, verified
from tests.unit.plans import PLAN

from verdigris.approvals.approval import Approval, ApprovalDecision
from verdigris.database import make_tables
from verdigris.plan.gates import Role
from verdigris.rollout import acts
from verdigris.rollout import records as rollout_records
from verdigris.rollout.agreement import Shown
from verdigris.rollout.journal import Act
from verdigris.rollout.position import Position, UnknownFormat
from verdigris.rollout.records import Claim, Records, RecordsUnavailable, Superseded
from verdigris.rollout.status import AlreadyRunning, NoSuchRollout
from verdigris.rollout.transitions import Event, Phase

NOW = 1_790_000_000.0
SAID = acts.requested("hold", "ann", "why", "here")


def intended(generation: int) -> Act:
    return acts.intended("guard g1", "5 %", 5.0, generation, 0, 3.0)


@pytest.fixture
def records(url: str) -> Iterator[Records]:
    kept = Records(url)
    yield kept
    kept.close()


def submitted(records: Records, name: str = "one") -> str:
    return records.submit(replace(PLAN, digest=name.ljust(64, "0")), f"envoy:{name}", "ann", "g1", NOW)


def claimed(records: Records, rollout_id: str, guard: str = "g1", stale_after_s: float = 60) -> Claim:
    claim = records.claim(rollout_id, guard, stale_after_s)
    assert claim is not None
    return claim


def moved(records: Records, claim: Claim, position: Position, event: Event) -> Position:
    following = position.moved(event, "because", NOW)
    records.move(claim, following, event, "ann")
    return following


def test_a_submitted_rollout_is_there_after_opening_again(url: str, records: Records) -> None:
    rollout_id = submitted(records)
    again = Records(url)
    stored = again.load(rollout_id)
    again.close()
    assert (stored.name, stored.position.phase, stored.term, stored.plan) == ("payments", Phase.PLANNED, 0, PLAN.canonical)
    assert [e.kind for e in records.journal(rollout_id)] == ["plan.submitted"]


def test_a_rollout_is_found_by_the_beginning_of_its_id(records: Records) -> None:
    one, two = submitted(records, "one"), submitted(records, "two")
    assert records.load(one).id == one
    assert records.load("latest").id in {one, two}
    with pytest.raises(NoSuchRollout, match="more than one"):
        records.load(one[:8])
    with pytest.raises(NoSuchRollout, match="there is no rollout 'x%'"):
        records.load("x%")


def test_one_rollout_at_a_time_per_plan_and_per_data_plane(records: Records) -> None:
    running = submitted(records, "one")
    with pytest.raises(AlreadyRunning) as same_plan:
        records.submit(replace(PLAN, digest="one".ljust(64, "0")), "envoy:elsewhere", "ann", "g1", NOW)
    assert same_plan.value.rollout_id == running
    with pytest.raises(AlreadyRunning, match="the same data plane"):
        records.submit(replace(PLAN, digest="f" * 64), "envoy:one", "ann", "g1", NOW)


def test_only_one_guard_has_a_claim(records: Records) -> None:
    rollout_id = submitted(records)
    claimed(records, rollout_id, "g1")
    assert records.claim(rollout_id, "g2", stale_after_s=60) is None
    assert claimed(records, rollout_id, "g2", stale_after_s=0).term == 2


def test_a_guard_that_lost_its_claim_can_write_nothing(records: Records) -> None:
    rollout_id = submitted(records)
    old = claimed(records, rollout_id, "g1")
    position = moved(records, old, records.load(rollout_id).position, Event.BEGUN)
    claimed(records, rollout_id, "g2", stale_after_s=0)
    before = records.journal(rollout_id)
    for write in (
        lambda: records.hear(old),
        lambda: records.intend(old, NOW, intended),
        lambda: records.note(old, NOW, SAID),
        lambda: records.move(old, position.moved(Event.READY, "", NOW), Event.READY, "ann"),
        lambda: records.publish(old, "{}"),
        lambda: records.keep_reference(old, NOW, b"{}", 1, 1),
        lambda: records.keep_look(old, 1, 10, b"e"),
        lambda: records.answered(old, []),
    ):
        with pytest.raises(Superseded, match="guard g2 acts"):
            write()
    assert records.journal(rollout_id) == before
    assert records.load(rollout_id).position == position


def test_an_earlier_term_of_the_same_guard_is_superseded_too(records: Records) -> None:
    rollout_id = submitted(records)
    old = claimed(records, rollout_id, "g1")
    claimed(records, rollout_id, "g1")
    with pytest.raises(Superseded):
        records.hear(old)


def test_generations_only_grow_on_one_data_plane_whoever_acts(records: Records) -> None:
    rollout_id = submitted(records)
    first = claimed(records, rollout_id)
    seen = [records.load(rollout_id).generation, records.intend(first, NOW, intended)]
    second = claimed(records, rollout_id, "g2", stale_after_s=0)
    seen += [records.load(rollout_id).generation, records.intend(second, NOW, intended)]
    assert seen == sorted(set(seen))


def test_the_journal_has_no_gaps_with_many_writers(records: Records) -> None:
    rollout_id = submitted(records)
    claim = claimed(records, rollout_id)
    start = threading.Barrier(4)

    def write(number: int) -> None:
        start.wait()
        for _ in range(10):
            if number % 2:
                records.ask(rollout_id, "hold", f"p{number}", "", NOW)
            else:
                records.note(claim, NOW, replace(SAID, text=str(number)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [e.sequence for e in records.journal(rollout_id)] == list(range(1, 42))
    assert [e.sequence for e in records.journal(rollout_id, after=39)] == [40, 41]


def test_two_guards_that_reach_for_one_rollout_at_once_get_different_terms_or_nothing(records: Records) -> None:
    rollout_id = submitted(records)
    start = threading.Barrier(2)

    def reach(guard: str) -> Claim | None:
        start.wait()
        return records.claim(rollout_id, guard, stale_after_s=60)

    with ThreadPoolExecutor(2) as pool:
        got = [claim for claim in pool.map(reach, ("g1", "g2")) if claim is not None]
    assert len(got) == 1


def test_a_transition_that_is_kept_twice_is_there_once(records: Records) -> None:
    rollout_id = submitted(records)
    claim = claimed(records, rollout_id)
    position = moved(records, claim, records.load(rollout_id).position, Event.BEGUN)
    records.move(claim, position, Event.BEGUN, "ann")
    assert [e.kind for e in records.journal(rollout_id)] == ["plan.submitted", "phase"]


def test_an_ended_rollout_can_be_claimed_by_nobody_and_makes_room(records: Records) -> None:
    rollout_id = submitted(records)
    claim = claimed(records, rollout_id)
    position = records.load(rollout_id).position
    for event in (Event.RETURN_ASKED, Event.BASELINE_IN_FORCE):
        position = moved(records, claim, position, event)
    assert records.claim(rollout_id, "g1", stale_after_s=0) is None
    assert records.unfinished() == []
    assert records.journal(rollout_id)[-1].kind == "rollout.ended"
    assert submitted(records) != rollout_id


def test_evidence_comes_back_in_order_and_once(records: Records) -> None:
    rollout_id = submitted(records)
    claim = claimed(records, rollout_id)
    records.keep_reference(claim, NOW, b"reference", 1, 1)
    for number in (1, 2, 2, 3):
        records.keep_look(claim, number, 10 * number, b"e" * number)
    assert list(records.looks(rollout_id)) == [(1, 10, b"e"), (2, 20, b"ee"), (3, 30, b"eee")]
    assert records.evidence(records.load(rollout_id).reference or "") == b"reference"
    assert records.evidence("0" * 64) is None


def test_requests_are_answered_once(records: Records) -> None:
    rollout_id = submitted(records)
    claim = claimed(records, rollout_id)
    records.ask(rollout_id, "hold", "ann", "lunch", NOW)
    records.ask(rollout_id, "abort", "bob", "", NOW)
    asked = records.asked(claim)
    assert [(r.kind, r.actor, r.reason) for r in asked] == [("hold", "ann", "lunch"), ("abort", "bob", "")]
    records.answered(claim, [asked[0].number])
    assert [r.kind for r in records.asked(claim)] == ["abort"]


def test_a_position_of_another_version_is_refused_with_a_reason(records: Records) -> None:
    rollout_id = submitted(records)
    claim = claimed(records, rollout_id)
    records.move(claim, replace(Position().moved(Event.BEGUN, "", NOW), format=99), Event.BEGUN, "ann")
    with pytest.raises(UnknownFormat, match="format 99"):
        records.load(rollout_id)
    assert records.newest() == []
    assert records.unfinished() == [rollout_id]


def test_a_locked_database_is_unavailable_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.database.BUSY_WAIT_S", 0.1)
    url = f"sqlite:///{tmp_path / 'rollouts.sqlite'}"
    records = Records(url)
    rollout_id = submitted(records)
    claim = claimed(records, rollout_id)
    other = sa.create_engine(url)
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(RecordsUnavailable, match="locked"):
            records.note(claim, NOW, SAID)
    other.dispose()
    records.note(claim, NOW, SAID)
    assert [e.sequence for e in records.journal(rollout_id)] == [1, 2]
    records.close()


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(RecordsUnavailable, match="could not open"):
        Records(f"sqlite:///{tmp_path / 'nowhere' / 'rollouts.sqlite'}")


def test_a_database_of_an_earlier_version_is_completed(records: Records) -> None:
    """Requests had no origin once; what was asked then is still there, and what is asked now is told from where."""
    begun = submitted(records)
    records.ask(begun, "hold", "ann", "why", NOW)
    with records._transaction("go back") as connection:
        connection.exec_driver_sql("ALTER TABLE verdigris_requests DROP COLUMN origin")
    make_tables(records._engine, rollout_records._METADATA)
    make_tables(records._engine, rollout_records._METADATA)
    records.ask(begun, "abort", "ann", "why", NOW, "address 10.0.0.3")
    claim = records.claim(begun, "g1", 5.0)
    assert claim is not None
    assert [(r.kind, r.origin) for r in records.asked(claim)] == [("hold", ""), ("abort", "address 10.0.0.3")]


def test_what_people_sign_is_kept_once_and_is_what_they_signed(records: Records) -> None:
    begun = submitted(records)
    claim = claimed(records, begun)
    digest = records.show(claim, Shown(1, b"{}", "t"))
    assert records.show(claim, Shown(1, b"{ }", "t")) == digest  # about the same: what people have read stays
    assert records.shown(begun, 1) == b"{}"
    assert records.shown(begun, 2) is None
    other = records.show(claim, Shown(1, b"{ }", "u"))
    issued = round(NOW * 1e9)
    give = Approval(ApprovalDecision.OVERRIDE_FREEZE, begun, "0" * 64, 1, other, Role.APPROVER, "because", issued, issued + MINUTE)
    given = verified(give, "c.cruz")
    for _ in range(2):
        records.sign(begun, given, "the step", NOW, NOW + 60)
    (one,) = records.approvals(begun)
    assert (one, one.person) == (given, CRUZ)
    assert [e.kind for e in records.journal(begun)][-2:] == ["freeze.overridden", "review.due"]
    (review,) = records.reviews()
    assert (review.override, review.rollout_id, review.due_unix_s, review.done) == (given.digest, begun, NOW + 60, None)
    done = verified(replace(give, decision=ApprovalDecision.REVIEW, shown=given.digest, expires_unix_nano=None), "c.cruz")
    records.review(review, done, "g1", NOW)
    records.review(review, done, "g1", NOW)
    assert [r.done for r in records.reviews()] == [done.digest]
    assert [kind for _, kind, _, _ in records.guard_journal()] == ["review.done"]
