"""What a rollout leaves in the ledger: everything, in order, before it is done; and what happens when the ledger cannot be written."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.unit.approval_people import CRUZ, person, verified
from tests.unit.ledger_keys import signer
from tests.unit.ledger_logs import ORIGIN, Failing, whole
from tests.unit.rollout_world import World, behaving
from tests.unit.test_driver import SHORT, Rollout, rolled_out
from tests.virtual import run

from verdigris.approvals.approval import Approval, ApprovalDecision, Verified
from verdigris.approvals.people import People, Person
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.ledger import Ledger
from verdigris.ledger.log import Log
from verdigris.ledger.statement import ActorKind, Outcome, Statement
from verdigris.ledger.storage import LedgerUnavailable, LogFolder
from verdigris.plan.gates import Role
from verdigris.rollout import acts
from verdigris.rollout.journal import Act
from verdigris.rollout.records import Records, RecordsUnavailable
from verdigris.rollout.transitions import Phase
from verdigris.times import NANO
from verdigris.traffic.data_plane import Routing


class Kept:
    """Records with a ledger whose storage can stop working."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self.storage = Failing(LogFolder(self.folder), None, happened=False)
        self.works = True
        self.storage._effect = self._effect  # type: ignore[method-assign]
        self.records = Records(f"sqlite:///{folder / 'rollouts.sqlite'}", self.opened)

    def _effect(self, name: str, act: object) -> None:
        self.storage.effects.append(name)
        if not self.works:
            msg = "the disk of the ledger is gone"
            raise LedgerUnavailable(msg)
        act()  # type: ignore[operator]

    def opened(self, engine: sa.Engine) -> Ledger:
        self.ledger = Ledger(Log(self.storage, ORIGIN, signer()), signer())
        return self.ledger

    def statements(self) -> list[Statement]:
        whole(LogFolder(self.folder))
        return [statement for _, statement in self.ledger.since(0)]

    def details(self, statement: Statement) -> dict[str, object]:
        content = self.records.evidence(statement.details or "")
        assert content is not None
        assert hashlib.sha256(content).hexdigest() == statement.details
        document = json.loads(content)
        assert len(document["salt"]) == 32
        return dict(document)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    one = Kept(tmp_path)
    yield one
    one.records.close()


def test_a_rollout_is_told_from_its_plan_to_its_end(kept: Kept) -> None:
    rollout = rolled_out(World(), kept.records)
    said = kept.statements()
    assert [s.sequence for s in said] == list(range(1, len(said) + 1))
    assert {s.rollout for s in said} == {rollout.id}
    assert {s.plan for s in said} == {rollout.plan.digest}
    assert not any(s.late for s in said)
    kinds = [s.kind for s in said]
    assert kinds[0] is Kind.PLAN_SUBMITTED
    assert kinds[-1] is Kind.ROLLOUT_ENDED
    assert kinds.count(Kind.VERDICT) >= 3
    assert [s.values["check"] for s in said if s.kind is Kind.PREFLIGHT_CHECK] == ["proxy", "baseline"]
    journal = kept.records.journal(rollout.id)
    assert [(e.sequence, e.kind) for e in journal] == [(s.sequence, s.kind.value) for s in said]
    assert [kept.details(s)["text"] for s in said] == [e.text for e in journal]
    assert (said[0].actor.kind, said[-1].actor.kind) == (ActorKind.PERSON, ActorKind.GUARD)
    card = json.loads(kept.records.evidence(said[0].actor.card) or b"")
    assert (card["name"], card["kind"]) == ("ann", "person")
    assert said[0].based_on == (rollout.plan.digest,)
    assert kept.records.evidence(hashlib.sha256(rollout.plan.canonical).hexdigest()) == rollout.plan.canonical


def test_a_weight_is_in_the_ledger_before_it_is_in_force(kept: Kept) -> None:
    world = World()

    def look(generation: int, percent: float) -> None:
        last = kept.statements()[-1]
        assert last.kind in {Kind.WEIGHT_INTENDED, Kind.COMMIT_INTENDED}
        assert (last.values["generation"], last.values["candidatePercent"], last.outcome) == (generation, percent, Outcome.ANNOUNCED)

    world.before_change = look
    rolled_out(world, kept.records)


def test_a_bad_candidate_leaves_its_findings_and_what_they_rest_on(kept: Kept) -> None:
    rolled_out(World(candidate=behaving(failed=0.05)), kept.records)
    said = kept.statements()
    verdict = next(s for s in said if s.kind is Kind.VERDICT and s.values["verdict"] == "FAIL")
    findings = [s for s in said if s.kind is Kind.FINDING and s.sequence > verdict.sequence]
    assert findings
    assert len(findings) == verdict.values["findings"]
    for digest in verdict.based_on:
        assert kept.records.evidence(digest) is not None
    looks = json.loads(kept.records.evidence(str(verdict.values["looks"])) or b"")
    assert len(looks) == verdict.values["windows"]
    assert all(kept.records.evidence(digest) is not None for digest in looks)
    assert [s.kind for s in said if s.kind.value.startswith("rollback.")] == [Kind.ROLLBACK_INTENDED, Kind.ROLLBACK_OBSERVED]


def test_without_its_ledger_a_rollout_goes_back_and_tells_of_it_later(kept: Kept) -> None:
    world = World()

    async def breaks(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.step == 0 and rollout.driver.position.phase is Phase.WATCHING, lambda: None)
        kept.works = False

    rollout = rolled_out(world, kept.records, SHORT, breaks)
    assert rollout.driver.position.phase is Phase.ROLLED_BACK
    assert world.default == Routing(0.0)
    assert max(percent for _, _, percent in world.applied) == 5.0
    before = len(kept.statements())
    kept.works = True
    kept.records.enter(rollout.id)
    said = kept.statements()
    assert [s.sequence for s in said] == list(range(1, len(kept.records.journal(rollout.id)) + 1))
    assert [s.late for s in said] == [n >= before for n in range(len(said))]
    assert said[-1].kind is Kind.ROLLOUT_ENDED


def test_nothing_begins_while_the_ledger_cannot_be_written(kept: Kept) -> None:
    world = World()
    kept.works = False
    with pytest.raises(Exception, match="could not enter into the ledger"):
        rolled_out(world, kept.records)
    assert world.applied == []


def test_what_is_in_the_ledger_already_is_not_entered_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard dies between the ledger and the row that says so."""
    rollout = rolled_out(World(candidate=behaving(failed=0.05)), kept.records)
    before = kept.statements()
    with kept.records._transaction("forget") as connection:
        connection.execute(sa.text("UPDATE verdigris_journal SET ledger_index = NULL WHERE sequence > 7"))
    kept.records.enter(rollout.id)
    assert kept.statements() == before
    with kept.records._transaction("look") as connection:
        indices = [row[0] for row in connection.execute(sa.text("SELECT ledger_index FROM verdigris_journal ORDER BY sequence"))]
    assert indices == list(range(len(before)))


def refused(rollout: Rollout, reason: str = "because", by: Person = CRUZ) -> Verified:
    now = round(rollout.world.clock.now_unix_s() * NANO)
    approval = Approval(ApprovalDecision.REFUSE, rollout.id, rollout.plan.digest, 1, None, Role.APPROVER, reason, now)
    return verified(approval, "c.cruz", People((by,)))


def test_what_people_sign_is_in_the_ledger_before_anything_moves_on_it(kept: Kept) -> None:
    """Without the ledger a refusal counts, and what agrees is an error and moves nothing until it is entered."""

    async def main() -> None:
        rollout = Rollout(World(), kept.records)
        entries = len(kept.statements())
        refusal = refused(rollout)
        ends = refusal.approval.issued_unix_nano + NANO
        give = replace(refusal.approval, decision=ApprovalDecision.GIVE, expires_unix_nano=ends)
        kept.works = False
        kept.records.sign(rollout.id, refusal, "the step", rollout.world.clock.now_unix_s())
        with pytest.raises(RecordsUnavailable, match="could not enter into the ledger"):
            kept.records.sign(rollout.id, verified(give, "c.cruz"), "the step", rollout.world.clock.now_unix_s())
        assert {one.approval.decision for one in kept.records.approvals(rollout.id)} == {ApprovalDecision.REFUSE, ApprovalDecision.GIVE}
        with pytest.raises(RecordsUnavailable):
            kept.records.intend(rollout.driver.claim, 0.0, lambda generation: acts.intended("guard g1", "", 5.0, generation, 0, 3.0))
        kept.works = True
        kept.records.intend(rollout.driver.claim, 0.0, lambda generation: acts.intended("guard g1", "", 5.0, generation, 0, 3.0))
        said = [(s.kind, s.late) for s in kept.statements()[entries:]]
        assert said == [(Kind.APPROVAL_REFUSED, True), (Kind.APPROVAL_GIVEN, True), (Kind.WEIGHT_INTENDED, False)]

    run(main())


def test_what_is_in_the_ledger_already_is_found_behind_what_others_entered_since(kept: Kept) -> None:
    """As above; before anybody looks, a guard's own note and another rollout are entered."""
    rollout = rolled_out(World(), kept.records)
    with kept.records._transaction("forget") as connection:
        connection.execute(sa.text("UPDATE verdigris_journal SET ledger_index = NULL WHERE sequence > 7"))
    kept.records.note_guard("g1", 1_790_000_000.0, Act(Kind.GUARD_STARTED, "guard g1", "started", {}, {"version": "0.1.0"}))
    other = rolled_out(World(), kept.records)
    before = len(kept.statements())
    kept.records.enter(rollout.id)
    kept.records.enter_all("g1")
    said = kept.statements()
    assert len(said) == before
    for one in (rollout, other):
        assert [s.sequence for s in said if s.rollout == one.id] == list(range(1, len(kept.records.journal(one.id)) + 1))


def test_a_guards_note_that_is_in_the_ledger_already_is_not_entered_again(kept: Kept) -> None:
    act = Act(Kind.GUARD_STARTED, "guard g1", "started", {}, {"version": "0.1.0"})
    kept.records.note_guard("g1", 1_790_000_000.0, act)
    kept.records.note_guard("g1", 1_790_000_000.0, act)
    with kept.records._transaction("forget") as connection:
        connection.execute(sa.text("UPDATE verdigris_guard_journal SET ledger_index = NULL WHERE number = 2"))
    rolled_out(World(), kept.records)
    kept.records.note_guard("g1", 1_790_000_000.0, act)
    assert [s.sequence for s in kept.statements() if s.rollout is None] == [1, 2, 3]


SECRETS = ("4111 1111 1111 1111", "jane.doe@hospital.test", "eyJhbGciOiJIUzI1NiJ9.secret", "+49 170 1234567")


def test_nothing_that_somebody_wrote_gets_into_an_entry(kept: Kept) -> None:
    """Through a plan's fields, an actor's name, a reason, an error message, and what somebody signs."""
    card, mail, token, phone = SECRETS
    asked = replace(SHORT, name=f"plan {card}", change=replace(SHORT.change, reason=mail, ticket=token, author=phone))
    world = World()

    async def meddles(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.WATCHING, lambda: None)
        kept.records.ask(rollout.id, "hold", mail, f"because {card}", world.clock.now_unix_s())
        await world.when(lambda: rollout.driver.position.phase is Phase.HOLDING, lambda: None)
        refusal = refused(rollout, f"because of {mail} and {card}", person(phone, Role.APPROVER, keys=("c.cruz",)))
        kept.records.sign(rollout.id, refusal, f"the step of {token}", world.clock.now_unix_s())
        kept.records.ask(rollout.id, "abort", token, phone, world.clock.now_unix_s())
        await asyncio.sleep(1)

    rolled_out(world, kept.records, asked, meddles)
    entries = b"".join(whole(LogFolder(kept.folder)))
    payloads = b"".join(s.payload() for s in kept.statements())
    for secret in SECRETS:
        assert secret.encode() not in entries
        assert secret.encode() not in payloads
        assert hashlib.sha256(secret.encode()).hexdigest().encode() not in payloads
