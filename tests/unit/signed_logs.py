"""Logs of rollouts that people have signed, with the blobs that their entries name. For tests only."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from tests.unit.approval_people import PEOPLE, signed
from tests.unit.audit_logs import ROLLOUT, guard, statement
from tests.unit.ledger_keys import signer

from verdigris.approvals.approval import ENDING, Approval, ApprovalDecision, SignedApproval, Verified
from verdigris.approvals.people import Person, person_document
from verdigris.ledger import statement as statements
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.evidence import salted
from verdigris.ledger.statement import Actor, ActorKind, Outcome, Statement
from verdigris.plan.document import load_plan
from verdigris.plan.example import example_plan
from verdigris.plan.gates import Role
from verdigris.plan.plan import Plan
from verdigris.rollout import acts
from verdigris.times import NANO, unix_nano

PLAN = load_plan(example_plan("envoy"))
"""Three steps. Two approvers before the third, an approver or security and a tester before the switch; security in the freeze."""
SWITCH = 3
WORKDAY, HOLIDAY = unix_nano("2026-12-01T09:00:00.000000000Z"), unix_nano("2026-12-25T09:00:00.000000000Z")
MINUTE = 60 * NANO
DAY = 1_440 * MINUTE
START_OF = -1


@dataclass(frozen=True)
class At:
    """An entry as it is read from a record."""

    index: int
    statement: Statement
    content: bytes = b""


@dataclass
class Signed:
    """A rollout that is told entry by entry, a minute apart. Its first entry is the second of its log."""

    now: int = WORKDAY
    plan: Plan = PLAN
    rollout: str = ROLLOUT
    evidence: dict[str, bytes] = field(default_factory=dict)
    told: list[Statement] = field(default_factory=list)
    after: list[Statement] = field(default_factory=list)
    """What the guard says of itself afterwards."""

    def keep(self, blob: bytes) -> str:
        digest = hashlib.sha256(blob).hexdigest()
        self.evidence[digest] = blob
        return digest

    def card(self, name: str, kind: ActorKind = ActorKind.GUARD) -> Actor:
        return Actor(kind, self.keep(rfc8785.dumps({"kind": kind.value, "name": name})))

    def add(self, kind: Kind, values: Mapping[str, Value] | None = None, **more: Any) -> "Signed":
        self.now += MINUTE
        said = {"plan": self.plan.digest, "unix_nano": self.now, "actor": self.card("g1")} | more
        said.setdefault("details", self.keep(salted({"kind": kind.value, "text": f"{kind.value} was entered"})))
        self.told.append(statement(kind, len(self.told) + 1, self.rollout, values, **said))
        return self

    def submitted(self) -> "Signed":
        plan = self.keep(self.plan.canonical)
        return self.add(Kind.PLAN_SUBMITTED, based_on=(plan,), actor=self.card("a.meyer", ActorKind.PERSON))

    def moved(self, event: str, before: str, after: str) -> "Signed":
        return self.add(Kind.PHASE, {"from": before, "to": after, "event": event, "transition": len(self.told)})

    def weight(self, percent: float, step: int) -> "Signed":
        asked: dict[str, Value] = {"candidatePercent": percent, "generation": step + 1}
        self.add(Kind.WEIGHT_INTENDED, {**asked, "step": step, "leaseS": 10}, outcome=Outcome.ANNOUNCED)
        return self.add(Kind.WEIGHT_OBSERVED, {**asked, "committed": False}, outcome=Outcome.SEEN)

    def step(self, step: int, event: str = "step passed", percent: float | None = None) -> "Signed":
        """A move into a step, and its weight."""
        weight = percent or (1.0, 10.0, 50.0, 95.0)[step]
        before = "preflight" if step == 0 else "waiting for approval" if event == "approved" else "watching"
        return self.moved(event, before, "shifting").weight(weight, step)

    def erased(self, digests: Sequence[str]) -> "Signed":
        """What the guard says before it erases something."""
        values: dict[str, Value] = {"erased": tuple(digests), "why": "retention"}
        more = {"unix_nano": self.now + MINUTE, "actor": self.card("g1"), "outcome": Outcome.ANNOUNCED}
        self.after.append(statement(Kind.EVIDENCE_ERASED, len(self.after) + 2, None, values, **more))
        return self

    def committed(self) -> "Signed":
        whole: dict[str, Value] = {"candidatePercent": 100.0, "generation": 9}
        self.moved("baked", "baking", "committing").add(Kind.COMMIT_INTENDED, {**whole, "step": SWITCH}, outcome=Outcome.ANNOUNCED)
        self.add(Kind.COMMIT_OBSERVED, {**whole, "committed": True}, outcome=Outcome.SEEN)
        return self.moved("commit in force", "committing", "committed").add(Kind.ROLLOUT_ENDED, {"phase": "committed"})

    def shown(self, step: int, what: str = "") -> str:
        return self.keep(rfc8785.dumps({
            "type": "https://verdigris.dev/shown/v1", "rollout": self.rollout, "plan": self.plan.digest, "step": step, "about": what,
        }))  # fmt: skip

    def says(
        self, key: str, decision: ApprovalDecision, step: int, role: Role = Role.APPROVER, *, person: Person | None = None,
        about: str | None = "", signs: str | None = None, entered_step: int | None = None, named: str | None = None, **changes: Any,
    ) -> "Signed":  # fmt: skip
        """Somebody signs, and it is entered. `signs`: with whose key, if not their own; `named`: who the entry says it was."""
        self.now += MINUTE
        overrides = decision is ApprovalDecision.OVERRIDE_FREEZE
        shown = None if overrides or about is None else self.shown(step, about)
        fields: dict[str, Any] = {
            "decision": decision, "rollout": self.rollout, "plan": self.plan.digest, "step": step, "shown": shown, "role": role,
            "reason": "because it is so", "issued_unix_nano": self.now - 2 * NANO,
            "expires_unix_nano": self.now + 60 * MINUTE if decision in ENDING else None,
        } | changes  # fmt: skip
        approval = Approval(**fields)
        who = person or PEOPLE.named(key)
        assert who is not None
        return self.enter(Verified(approval, who, signed(approval, signs or key)), entered_step, named)

    def enter(self, given: Verified, step: int | None = None, named: str | None = None) -> "Signed":
        """As the guard enters it."""
        approval = given.approval
        self.keep(given.signed.to_bytes())
        act = acts.signed(given, self.keep(salted({"person": person_document(given.person)})), "the step", "here")
        values = dict(act.values) | ({} if step is None else {"step": step})
        self.now -= MINUTE
        self.add(act.kind, values, based_on=act.based_on, outcome=act.outcome, actor=self.card(named or act.actor, ActorKind.PERSON),
                 details=self.keep(salted({"kind": act.kind.value, "text": act.text})))  # fmt: skip
        if approval.decision is ApprovalDecision.OVERRIDE_FREEZE:
            due = acts.review_due(given, (self.now + 3 * DAY) / NANO, "here")
            self.add(due.kind, due.values, based_on=due.based_on, outcome=due.outcome, actor=self.card(act.actor, ActorKind.PERSON))
        return self

    def reviewed(self, key: str, role: Role = Role.APPROVER, of: str | None = None, **changes: Any) -> "Signed":
        """Somebody reviews the last override."""
        self.now += MINUTE
        override = [one for one in self.told if one.kind is Kind.FREEZE_OVERRIDDEN][-1]
        of = of or str(override.values["approval"])
        step = override.values["step"]
        assert isinstance(step, int)
        fields: dict[str, Any] = {
            "decision": ApprovalDecision.REVIEW, "rollout": self.rollout, "plan": self.plan.digest, "step": step, "shown": of,
            "role": role, "reason": "rightly so", "issued_unix_nano": self.now,
        } | changes  # fmt: skip
        approval = Approval(**fields)
        who = PEOPLE.named(key)
        assert who is not None
        given = Verified(approval, who, signed(approval, key))
        self.keep(given.signed.to_bytes())
        act = acts.review_done("guard g1", given, self.rollout, self.keep(salted({"person": person_document(who)})))
        card = self.card("g1")
        self.after.append(statement(act.kind, len(self.after) + 2, None, act.values, actor=card, based_on=act.based_on, unix_nano=self.now))
        return self

    def entries(self) -> list[At]:
        return [At(index, one) for index, one in enumerate([*self.told, *self.after], 1)]

    def log(self) -> list[bytes]:
        card = self.card("g1")
        begun = guard(Kind.GUARD_STARTED, 1, actor=card, unix_nano=(self.told[0].unix_nano if self.told else self.now) - MINUTE)
        return [begun, *(statements.signed(one, [signer(1)]) for one in (*self.told, *self.after))]

    def signatures(self) -> list[SignedApproval]:
        """What people signed, in order."""
        return [SignedApproval.parse(self.evidence[str(one.values["approval"])]) for one in self.told if "approval" in one.values]


GIVE, REFUSE, WITHDRAW, OVERRIDE = (
    ApprovalDecision.GIVE, ApprovalDecision.REFUSE, ApprovalDecision.WITHDRAW, ApprovalDecision.OVERRIDE_FREEZE,
)  # fmt: skip


def to_the_gate(now: int = WORKDAY) -> Signed:
    """Two steps without a gate; the third waits."""
    return Signed(now).submitted().moved("begun", "planned", "preflight").step(0, "ready").step(1).moved(
        "approval needed", "watching", "waiting for approval"
    )  # fmt: skip


def approved(now: int = WORKDAY) -> Signed:
    """A whole rollout in which everybody who is asked has agreed."""
    told = to_the_gate(now).says("b.klein", GIVE, 2).says("c.cruz", GIVE, 2).step(2, "approved")
    told.moved("approval needed", "watching", "waiting for approval")
    return told.says("e.engel", GIVE, SWITCH, Role.SECURITY).says("d.dahl", GIVE, SWITCH, Role.TESTER).step(SWITCH, "approved").committed()


def overridden() -> Signed:
    """The first two steps in the freeze, which was overridden for the whole way."""
    return Signed(HOLIDAY).submitted().moved("begun", "planned", "preflight").says(
        "e.engel", OVERRIDE, START_OF, Role.SECURITY
    ).step(0, "ready").step(1)  # fmt: skip
