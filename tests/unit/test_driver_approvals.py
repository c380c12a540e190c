"""Gates and freezes in a rollout: whose signatures move it, what they are bound to, and that nothing else does."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from tests.unit.approval_people import AUTHOR, CRUZ, ENGEL, KLEIN, MINUTE, verified, without
from tests.unit.plans import PLAN
from tests.unit.rollout_world import World, behaving
from tests.unit.test_driver import SHORT, Breakable, Rollout, rolled_out
from tests.virtual import START_UNIX_S, run

from verdigris.approvals.approval import START, Approval, ApprovalDecision, Verified
from verdigris.ledger.entry_kinds import Kind
from verdigris.plan.gates import ONE_APPROVER, Need, Role
from verdigris.plan.plan import BreakGlass, Freeze, Schedule
from verdigris.rollout.agreement import agreed
from verdigris.rollout.position import Position
from verdigris.rollout.status import RolloutError
from verdigris.rollout.transitions import Phase
from verdigris.times import NANO

CHANGE = replace(PLAN.change, author=AUTHOR.name)
GATED = replace(SHORT, change=CHANGE, steps=(SHORT.steps[0], replace(SHORT.steps[1], gate=ONE_APPROVER)))
FREEZE = Freeze(START_UNIX_S + 20, START_UNIX_S + 4_000, "audit")
FROZEN = replace(SHORT, change=CHANGE, schedule=Schedule(freezes=(FREEZE,), break_glass=BreakGlass((Need((Role.SECURITY,)),), 3 * 86_400)))


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Breakable]:
    kept = Breakable(f"sqlite:///{tmp_path / 'rollouts.sqlite'}")
    yield kept
    kept.close()


def word(rollout: Rollout, decision: ApprovalDecision, step: int, *, role: Role = Role.APPROVER, key: str = "c.cruz") -> Verified:
    """What somebody signs now, about what is shown now."""
    now = round(rollout.world.clock.now_unix_s() * NANO)
    shown = rollout.records.shown(rollout.id, step) if decision is not ApprovalDecision.OVERRIDE_FREEZE else None
    ends = now + 10 * MINUTE if decision in {ApprovalDecision.GIVE, ApprovalDecision.OVERRIDE_FREEZE} else None
    digest = sha256(shown).hexdigest() if shown is not None else None
    approval = Approval(decision, rollout.id, rollout.plan.digest, step, digest, role, "because", now, ends)
    return verified(approval, key, rollout.people)


def say(rollout: Rollout, given: Verified, due_unix_s: float | None = None) -> None:
    rollout.records.sign(rollout.id, given, "the step", given.approval.issued_unix_nano / NANO, due_unix_s)


async def waits(rollout: Rollout) -> None:
    await rollout.world.when(lambda: rollout.driver.position.phase is Phase.WAITING_FOR_APPROVAL, lambda: None)
    await asyncio.sleep(1)


def test_a_gate_waits_for_a_signature_and_says_whose_it_was(records: Breakable) -> None:
    world = World()

    async def approves(rollout: Rollout) -> None:
        await waits(rollout)
        await asyncio.sleep(50)
        assert world.share(world.now()) == 0.05
        assert rollout.driver.status().waiting_for == "approval of the step to 50 %: 1 more of approver (1 asked)"
        records.ask(rollout.id, "resume", "carol", "go on", world.clock.now_unix_s())  # nobody resumes a gate
        await asyncio.sleep(10)
        assert rollout.driver.position.phase is Phase.WAITING_FOR_APPROVAL
        say(rollout, word(rollout, ApprovalDecision.GIVE, 1))

    rollout = rolled_out(world, records, GATED, approves)
    given = next(e for e in rollout.journal(Kind.APPROVAL_GIVEN.value))
    assert (given.actor, given.text) == (CRUZ.name, "approves the step, as approver: because")
    approved = next(e for e in rollout.journal("phase") if e.data["event"] == "approved")
    assert f"approved by {CRUZ.name}" in approved.text
    assert given.sequence < approved.sequence
    assert rollout.phases()[-1] == "committed"


@pytest.mark.parametrize(
    ("key", "role", "why"),
    [("a.meyer", Role.APPROVER, "is the author"), ("d.dahl", Role.TESTER, "is said as tester"), ("e.engel", Role.SECURITY, "is said as")],
)
def test_nobody_else_opens_it(records: Breakable, key: str, role: Role, why: str) -> None:
    world = World()
    held: list[str] = []

    async def tries(rollout: Rollout) -> None:
        await waits(rollout)
        say(rollout, word(rollout, ApprovalDecision.GIVE, 1, role=role, key=key))
        await asyncio.sleep(20)
        held.append(rollout.driver.position.phase.value)
        now = round(world.clock.now_unix_s() * NANO)
        shown = sha256(records.shown(rollout.id, 1) or b"").hexdigest()
        position = rollout.driver.position
        answer = agreed(rollout.plan, rollout.id, position, shown, rollout.people, records.approvals(rollout.id), now).gate
        assert answer is not None
        assert any(why in n.why for n in answer.not_counted)
        await rollout.driver.abort_now("ann", "enough")

    rollout = rolled_out(world, records, GATED, tries)
    assert held == ["waiting for approval"]
    assert rollout.phases()[-1] == "rolled back"


def test_a_refusal_holds_until_it_is_withdrawn_also_against_others_who_agree(records: Breakable) -> None:
    world = World()

    async def refuses(rollout: Rollout) -> None:
        await waits(rollout)
        say(rollout, word(rollout, ApprovalDecision.REFUSE, 1, role=Role.SECURITY, key="e.engel"))
        say(rollout, word(rollout, ApprovalDecision.GIVE, 1))
        await asyncio.sleep(30)
        assert rollout.driver.position.phase is Phase.WAITING_FOR_APPROVAL
        assert f"{ENGEL.name} to withdraw the refusal" in rollout.driver.status().waiting_for
        say(rollout, word(rollout, ApprovalDecision.WITHDRAW, 1, role=Role.SECURITY, key="e.engel"))

    rollout = rolled_out(world, records, GATED, refuses)
    kinds = [k for k in rollout.kinds() if k.startswith("approval.")]
    assert kinds == ["approval.refused", "approval.given", "approval.withdrawn"]
    assert rollout.phases()[-1] == "committed"


def test_an_approval_is_bound_to_what_was_shown(records: Breakable) -> None:
    world = World()
    seen: list[bytes | None] = []

    async def approves_something_else(rollout: Rollout) -> None:
        await waits(rollout)
        seen.append(records.shown(rollout.id, 1))
        early = word(rollout, ApprovalDecision.GIVE, 0)  # of the step before: nothing was shown for it
        say(rollout, early)
        wrong = replace(early.approval, step=1, shown=sha256(b"other findings").hexdigest())
        say(rollout, verified(wrong, "b.klein", rollout.people))
        await asyncio.sleep(20)
        assert rollout.driver.position.phase is Phase.WAITING_FOR_APPROVAL
        assert records.shown(rollout.id, 1) == seen[0]  # the judge's numbers move with every window; what is signed does not
        say(rollout, word(rollout, ApprovalDecision.GIVE, 1, key="b.klein"))

    rollout = rolled_out(world, records, GATED, approves_something_else)
    assert seen[0] is not None
    assert b'"about":"the step to 50 %"' in seen[0]
    assert rollout.phases()[-1] == "committed"


def test_who_leaves_is_not_believed_any_more(records: Breakable) -> None:
    world = World()
    two = replace(GATED, steps=(GATED.steps[0], replace(GATED.steps[1], gate=(Need((Role.APPROVER,), 2),))))

    async def leaves(rollout: Rollout) -> None:
        await waits(rollout)
        say(rollout, word(rollout, ApprovalDecision.GIVE, 1))
        rollout.people = without(CRUZ.name)
        say(rollout, word(rollout, ApprovalDecision.GIVE, 1, key="b.klein"))
        await asyncio.sleep(20)
        assert "1 more of approver (2 asked; so far: b.klein)" in rollout.driver.status().waiting_for
        rollout.people = without("")
        await asyncio.sleep(20)

    rollout = rolled_out(world, records, two, leaves)
    assert rollout.phases()[-1] == "committed"


def test_a_worse_candidate_goes_back_whoever_has_agreed(records: Breakable) -> None:
    world = World()

    async def turns(rollout: Rollout) -> None:
        await waits(rollout)
        world.candidate = behaving(failed=0.4)
        await asyncio.sleep(3)

    rollout = rolled_out(world, records, GATED, turns)
    assert rollout.phases()[-2:] == ["returning", "rolled back"]
    assert "approval.given" not in rollout.kinds()


def test_a_guard_that_takes_over_counts_what_was_signed_before(records: Breakable) -> None:
    world = World()

    async def main(rollout: Rollout) -> None:
        await waits(rollout)
        shown = records.shown(rollout.id, 1)
        say(rollout, word(rollout, ApprovalDecision.GIVE, 1))
        fresh = rollout.take_over("g2")
        async with fresh.running():
            while fresh.position.phase is Phase.WAITING_FOR_APPROVAL:
                await fresh.advance()
        assert fresh.position.phase is Phase.SHIFTING
        assert records.shown(rollout.id, 1) == shown
        rollout.world.candidate = behaving(failed=0.9)

    with pytest.raises(Exception, match="acts on"):
        rolled_out(world, records, GATED, main)


# -- freezes ----------------------------------------------------------------------------------------------------------------


def test_a_freeze_is_overridden_by_whoever_the_plan_says_and_that_opens_a_review(records: Breakable) -> None:
    world = World()

    async def overrides(rollout: Rollout) -> None:
        await asyncio.sleep(300)
        assert "the end of the freeze: audit" in rollout.driver.status().waiting_for
        by_another = word(rollout, ApprovalDecision.OVERRIDE_FREEZE, START)  # an approver, and the plan asks security
        say(rollout, by_another, START_UNIX_S + 9_000)
        await asyncio.sleep(60)
        assert "the end of the freeze: audit" in rollout.driver.status().waiting_for
        given = word(rollout, ApprovalDecision.OVERRIDE_FREEZE, START, role=Role.SECURITY, key="e.engel")
        assert rollout.driver.status().notes == ()
        say(rollout, given, START_UNIX_S + 5_000)
        say(rollout, given, START_UNIX_S + 5_000)
        await asyncio.sleep(1)
        assert rollout.driver.status().notes == (
            f"THE FREEZE IS OVERRIDDEN by {ENGEL.name} (security: because); somebody else must review it",
        )

    rollout = rolled_out(world, records, FROZEN, overrides)
    assert rollout.phases()[-1] == "committed"
    assert rollout.driver.position.since_unix_s < FREEZE.end_unix_s
    overridden = [e.actor for e in rollout.journal(Kind.FREEZE_OVERRIDDEN.value)]
    assert overridden == [CRUZ.name, ENGEL.name]
    assert len(rollout.journal(Kind.REVIEW_DUE.value)) == 2
    assert [r.due_unix_s for r in records.reviews()] == [START_UNIX_S + 5_000, START_UNIX_S + 9_000]


def test_an_override_of_one_step_is_for_that_step(records: Breakable) -> None:
    world = World()

    async def overrides(rollout: Rollout) -> None:
        await asyncio.sleep(300)
        step = rollout.driver.position.step + 1
        say(rollout, word(rollout, ApprovalDecision.OVERRIDE_FREEZE, step, role=Role.SECURITY, key="e.engel"), START_UNIX_S + 5_000)
        await asyncio.sleep(300)
        assert rollout.driver.position.step == step
        assert "the end of the freeze: audit" in rollout.driver.status().waiting_for
        await rollout.driver.abort_now("ann", "enough")

    rollout = rolled_out(world, records, FROZEN, overrides)
    assert rollout.phases()[-1] == "rolled back"


# -- what is kept -----------------------------------------------------------------------------------------------------------


def begun(records: Breakable) -> tuple[Rollout, int]:
    """A rollout that nobody acts on yet, and the time, in nanoseconds since 1970."""

    async def main() -> tuple[Rollout, int]:
        world = World()
        return Rollout(world, records, GATED), round(world.clock.now_unix_s() * NANO)

    return run(main())


def test_what_was_kept_and_changed_since_is_not_believed(records: Breakable) -> None:
    rollout, now = begun(records)
    approval = Approval(ApprovalDecision.REFUSE, rollout.id, rollout.plan.digest, 1, None, Role.APPROVER, "because", now)
    say(rollout, verified(approval, "c.cruz", rollout.people))
    assert [one.person for one in records.approvals(rollout.id)] == [CRUZ]
    with records._transaction("tamper") as connection:
        connection.exec_driver_sql("UPDATE verdigris_approvals SET person = replace(person, 'c.cruz', 'b.klein')")
    (one,) = records.approvals(rollout.id)
    answer = agreed(rollout.plan, rollout.id, Position(Phase.WAITING_FOR_APPROVAL, step=0), None, rollout.people, [one], now).gate
    assert one.person.name == KLEIN.name  # a refusal is believed from whoever is named; a give needs the key of whoever is named:
    give = replace(approval, decision=ApprovalDecision.GIVE, expires_unix_nano=now + MINUTE)
    forged = Verified(give, KLEIN, verified(give, "c.cruz", rollout.people).signed)
    answer = agreed(rollout.plan, rollout.id, Position(Phase.WAITING_FOR_APPROVAL, step=0), None, rollout.people, [forged], now).gate
    assert answer is not None
    assert not answer.by


def test_a_rollout_takes_no_end_of_approvals(records: Breakable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.rollout.kept_approvals.APPROVALS_MAX", 3)
    rollout, now = begun(records)
    for n in range(4):
        approval = Approval(ApprovalDecision.REFUSE, rollout.id, rollout.plan.digest, 1, None, Role.APPROVER, f"because {n}", now)
        if n < 3:
            say(rollout, verified(approval, "c.cruz", rollout.people))
        else:
            with pytest.raises(RolloutError, match="takes no more"):
                say(rollout, verified(approval, "c.cruz", rollout.people))
