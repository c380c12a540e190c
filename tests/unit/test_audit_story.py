"""What a rollout's entries and evidence tell: with everything there, with evidence erased, and where entries are late or missing."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from verdigris.audit.erased import Erased
from verdigris.audit.record import Entry
from verdigris.audit.seen import POINTS_MAX, Seen, seen
from verdigris.audit.story import GapKind, Story, tell
from verdigris.judge.reference import Proxied
from verdigris.judge.windows import UNIT, Operation, OperationCounts, RoleWindow, TraceCounts, Window
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.evidence import EvidenceDamaged
from verdigris.ledger.statement import Actor, ActorKind, Clock, Outcome, Statement
from verdigris.rollout.evidence import Look
from verdigris.times import NANO

START_S = 1_790_000_000
LOOKUP = Operation("portal", "SERVER", "GET /lookup")
QUIET = Operation("portal", "SERVER", "GET /quiet")
PLAN = {
    "name": "clinic", "change": {"reason": "faster", "ticket": "CHG-1"}, "baseline": {"slot": "blue"}, "candidate": {"slot": "green"},
    "steps": [{"weight": 5, "require": {"pass": False, "requests": 30}, "gate": "approval"}],
}  # fmt: skip
EFFECT = {"measure": "requests that fail", "unit": "share", "baseline": 0.01, "candidate": 0.1, "low": 0.05, "high": 0.2}
STRENGTH = {"log_e": 9.0, "threshold": 6.0, "baseline_requests": 900, "candidate_requests": 100}
FOUND = {
    "sentence": "it fails more often", "severity": "critical", "signal": "errors", "effect": EFFECT, "evidence": STRENGTH,
    "operation": {"service": "portal", "kind": "SERVER", "name": "GET /lookup"},
}  # fmt: skip
JUDGEMENT = {
    "findings": [FOUND],
    "evidence": [{"signal": "errors", "operation": None, "edge": None, "log_e": 9.0, "threshold": 6.0}],
    "causes": [{"service": "portal", "why": "errors begin in it", "share": 0.8}],
}


def half(requests: int, failed: int, bucket: int = 800, operation: Operation = LOOKUP) -> RoleWindow:
    """One role: all requests of one length."""
    counts = OperationCounts(operation, "i0", requests, requests * UNIT, errors=failed * UNIT, durations={bucket: requests * UNIT})
    return RoleWindow(TraceCounts(requests), (counts,) if requests else ())


def look(at_s: int, *, step: int = 0, proxied: Proxied | None = None, candidate: int = 10) -> Look:
    """A window of a second."""
    return Look(1, Window(at_s, half(90, 1), half(candidate, 2)), proxied, step)


class Told:
    """Entries and evidence as they are made."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.damaged: set[str] = set()
        self.entries: list[Entry] = []
        self.plan = self.put(json.dumps(PLAN).encode())

    def put(self, blob: bytes) -> str:
        digest = hashlib.sha256(blob).hexdigest()
        self.blobs[digest] = blob
        return digest

    def say(self, kind: Kind, text: str, values: Mapping[str, Value] | None = None, *, late: bool = False, at_s: float = 0.0) -> str:
        """One more entry. Returns the digest of its words."""
        details = self.put(json.dumps({"text": text, "n": len(self.entries)}).encode())
        card = self.put(b'{"kind": "person", "name": "ann"}')
        statement = Statement(
            kind, "20260921-141320-d367", len(self.entries) + 1, Actor(ActorKind.PERSON, card), round((START_S + at_s) * NANO),
            Clock(synchronised=True), Outcome.DONE, self.plan, (), details, late, values or {},
        )  # fmt: skip
        self.entries.append(Entry(len(self.entries) + 3, b"", statement))
        return details

    def weight(self, percent: float, at_s: float, *, read: float | None) -> None:
        self.say(Kind.WEIGHT_INTENDED, "about to", {"candidatePercent": percent, "generation": 1, "step": 0, "leaseS": 3}, at_s=at_s)
        observed: dict[str, Value] = {"candidatePercent": read, "generation": 1, "committed": False}
        self.say(Kind.WEIGHT_OBSERVED, "it is so", observed, at_s=at_s + 1)

    def verdict(self, verdict: str, looks: list[Look], at_s: float) -> tuple[str, str]:
        """Returns the digests of the judgement and of the list of looks."""
        judgement = self.put(json.dumps(JUDGEMENT).encode())
        listed = self.put(json.dumps([self.put(one.canonical_bytes()) for one in looks]).encode())
        values: dict[str, Value] = {
            "verdict": verdict, "judge": "0" * 64, "judgeVersion": "1.0", "numpyVersion": "2.0", "judgement": judgement, "looks": listed,
            "reference": "0" * 64, "windows": len(looks), "findings": 1, "baselineTraces": 90, "candidateTraces": 10,
        }  # fmt: skip
        self.say(Kind.VERDICT, "the candidate is worse", values, at_s=at_s)
        self.say(Kind.FINDING, "it fails more often", {"signal": "errors", "severity": "critical", "position": 0}, at_s=at_s)
        return judgement, listed

    def evidence(self, digest: str) -> bytes | None:
        if digest in self.damaged:
            msg = "damaged"
            raise EvidenceDamaged(msg)
        return self.blobs.get(digest)

    def story(self, erased: Mapping[str, Erased] | None = None) -> Story:
        return tell(self.entries, self.evidence, erased=erased or {})


def rolled_back() -> tuple[Told, str, str]:
    """A rollout that failed at 5 %, with the digests of its judgement and list of looks."""
    told = Told()
    told.say(Kind.PLAN_SUBMITTED, "plan clinic was submitted")
    told.weight(5.0, 10, read=5.0)
    judgement, looks = told.verdict("FAIL", [look(START_S + 12 + n, proxied=Proxied(90, 10)) for n in range(4)], 17)
    told.say(Kind.ROLLBACK_INTENDED, "all goes back", {"generation": 1}, at_s=17)
    told.say(Kind.ROLLBACK_OBSERVED, "it is back", {"candidatePercent": 0, "generation": None, "committed": False}, at_s=19)
    told.say(Kind.ROLLOUT_ENDED, "rolled back", {"phase": "rolled back"}, at_s=20)
    return told, judgement, looks


def kinds(story: Story) -> set[GapKind]:
    return {gap.kind for gap in story.gaps}


def test_a_rollout_is_told_from_its_entries_and_evidence() -> None:
    story = rolled_back()[0].story()
    assert story.change is not None
    assert (story.change.name, story.change.reason, story.change.author) == ("clinic", "faster", None)
    assert story.change.steps[0].gate == "an approval"
    assert [one.percent for one in story.intended] == [5.0, 0.0]
    assert [one.percent for one in story.observed] == [5.0, 0.0]
    assert (story.ending, story.exposed_s, story.return_s) == ("rolled back", 8.0, 2.0)
    assert story.decisive is not None
    (found,) = story.decisive.findings
    assert (found.known, found.candidate, found.candidate_requests) == (True, 0.1, 100)
    assert story.decisive.causes == ("portal (80 % of the excess): errors begin in it",)
    assert kinds(story) == {GapKind.UNSIGNED}


def test_what_was_seen_has_both_roles_over_time_and_by_step() -> None:
    story = rolled_back()[0].story()
    assert (story.seen.windows, story.seen.operations) == (4, (LOOKUP,))
    (step,) = story.seen.steps
    assert (step.traced, step.proxied) == ((360, 40), (360, 40))
    (pair,) = step.operations
    assert pair.candidate.failed_share == pytest.approx(0.2)
    assert pair.baseline.p50_ms == pytest.approx(2 ** (800.5 / 32) / 1e6)


def test_erased_evidence_is_told_as_erased_and_what_is_missing_as_missing() -> None:
    told, judgement, looks = rolled_back()
    for digest in (judgement, looks, told.plan, told.entries[0].statement.details or ""):
        del told.blobs[digest]
    story = told.story({judgement: Erased(40, 1_790_000_000 * NANO, "retention")})
    assert story.change is None
    assert story.lines[0].text is None
    assert story.seen == Seen()
    assert story.decisive is not None
    assert not story.decisive.known
    assert [(one.sentence, one.known) for one in story.decisive.findings] == [("it fails more often", False)]
    assert sum(gap.kind is GapKind.MISSING for gap in story.gaps) == 3
    [erased] = [gap.text for gap in story.gaps if gap.kind is GapKind.ERASED]
    when = "was erased at 2026-09-21T14:13:20Z, because its retention had passed (entry 40)"
    assert erased == f"The judgement behind a verdict {when}: SHA-256 {judgement[:16]}."


def test_nothing_at_all_may_be_left_but_the_entries() -> None:
    told, *_ = rolled_back()
    told.blobs.clear()
    story = told.story()
    assert {line.actor for line in story.lines} == {None}
    assert story.ending == "rolled back"


def test_damaged_evidence_is_no_error_and_is_told_apart() -> None:
    told, judgement, looks = rolled_back()
    told.damaged.add(judgement)
    told.blobs[looks] = b"no json"
    story = told.story()
    assert sum(gap.kind is GapKind.DAMAGED for gap in story.gaps) == 2
    assert story.seen.points == ()


@pytest.mark.parametrize("document", [b"[]", b"1", b'{"change": 3, "steps": 4}', b'{"steps": [null, 5, {"weight": "x"}]}'])
def test_a_plan_of_another_shape_is_read_as_far_as_it_goes(document: bytes) -> None:
    told, *_ = rolled_back()
    told.blobs[told.plan] = document
    assert told.story().ending == "rolled back"


def test_late_open_and_missing_entries_are_told() -> None:
    told = Told()
    told.say(Kind.PLAN_SUBMITTED, "submitted", late=True)
    told.say(Kind.PHASE, "on", {"from": "planned", "to": "preflight", "event": "begun", "transition": 1})
    told.entries[1] = replace(told.entries[1], statement=replace(told.entries[1].statement, sequence=3))
    story = told.story()
    assert kinds(story) >= {GapKind.LATE, GapKind.OPEN, GapKind.GAP, GapKind.UNSEEN}
    assert any("entry 3" in gap.text for gap in story.gaps if gap.kind is GapKind.LATE)
    assert story.ending is None


def test_a_weight_that_nobody_could_read_is_not_made_up() -> None:
    told = Told()
    told.say(Kind.PLAN_SUBMITTED, "submitted")
    told.weight(5.0, 10, read=None)
    story = told.story()
    assert [one.percent for one in story.observed] == [None]
    assert GapKind.UNSEEN in kinds(story)
    assert story.exposed_s is None


def test_a_clock_that_nothing_kept_right_is_told() -> None:
    told, *_ = rolled_back()
    told.entries = [replace(one, statement=replace(one.statement, clock=Clock(synchronised=False))) for one in told.entries]
    assert GapKind.CLOCK in kinds(told.story())


def test_a_story_is_of_one_rollout() -> None:
    with pytest.raises(ValueError, match="one rollout"):
        tell([], lambda _: None)


def test_the_same_record_tells_the_same_story() -> None:
    assert rolled_back()[0].story() == rolled_back()[0].story()


# -- what was seen


def test_long_rollouts_are_shown_in_bounded_points_that_add_up() -> None:
    story = seen([look(START_S + n, step=n // 600) for n in range(1000)], ())
    assert len(story.points) <= POINTS_MAX + 2
    assert sum(one.windows for one in story.points) == story.windows == 1000
    assert sum(one.traced[0] for one in story.points) == 90_000
    assert [one.windows for one in story.steps] == [600, 400]


def test_windows_that_nobody_looked_at_break_the_points() -> None:
    points = seen([look(START_S), look(START_S + 500)], ()).points
    assert [one.end_unix_s - one.start_unix_s for one in points] == [1, 1]


def test_a_window_that_the_proxy_did_not_count_is_not_counted() -> None:
    (step,) = seen([look(START_S, proxied=Proxied(1, 1)), look(START_S + 1)], ()).steps
    assert step.proxied is None


def test_findings_name_the_operations_that_are_shown() -> None:
    assert seen([look(START_S)], (QUIET,)).operations == (QUIET, LOOKUP)
    (pair, _) = seen([look(START_S)], (QUIET,)).points[0].operations
    assert pair.candidate.failed_share is None


def test_the_same_window_twice_counts_once() -> None:
    assert seen([look(START_S), look(START_S)], ()).windows == 1
