"""Judges a rollout again from its evidence, and compares with what was decided then, byte by byte."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from verdigris.audit.erased import Erased, words_for
from verdigris.audit.record import Entry
from verdigris.judge.reference import Reference
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.plan.document import load_plan
from verdigris.plan.plan import Plan
from verdigris.rollout.evidence import Look
from verdigris.rollout.judge_identity import judge_identity
from verdigris.rollout.judging import Judging

Evidence = Callable[[str], bytes | None]


class Answer(StrEnum):
    """How a verdict compares with the one of then."""

    SAME = "same"
    DIFFERENT = "different"
    """The same judge finds something else: the evidence, the judgement or the program was changed."""
    DIFFERENT_JUDGE = "different judge"
    """This is not the judge that judged then: nothing was compared."""
    EVIDENCE_ERASED = "evidence erased"
    """The ledger says when and why: nothing could be compared."""
    EVIDENCE_MISSING = "evidence missing"
    """No entry says that it was erased: somebody took it away, or it was lost."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One verdict, judged again. `then` and `now`: digests of the judgements; `judge_then`: the judge's version and digest."""

    index: int
    sequence: int
    verdict: str
    answer: Answer
    why: str
    then: str
    now: str | None
    judge_then: str
    looks: int


def replay(entries: Sequence[Entry], evidence: Evidence, erased: Mapping[str, Erased] | None = None) -> Iterator[Replayed]:
    """Every verdict of one rollout, in order. `evidence` gives blobs by digest, checked; `erased`: what the ledger calls erased."""
    again = _Again(evidence, erased or {})
    for entry in entries:
        if entry.statement.kind is Kind.PLAN_SUBMITTED and entry.statement.plan is not None:
            again.plan(entry.statement.plan)
        if entry.statement.kind is Kind.VERDICT:
            yield again.verdict(entry)


class _Again:
    """Judges on from verdict to verdict: what was looked at for one is not looked at again for the next."""

    def __init__(self, evidence: Evidence, erased: Mapping[str, Erased]) -> None:
        self._evidence, self._erased = evidence, erased
        self._plan: Plan | None = None
        self._plan_digest = ""
        self._judging: Judging | None = None
        self._reference = ""
        self._taken: list[str] = []

    def plan(self, digest: str) -> None:
        canonical, self._plan_digest = self._evidence(digest), digest
        self._plan = None if canonical is None else load_plan(canonical.decode())

    def verdict(self, entry: Entry) -> Replayed:
        values, here = entry.statement.values, judge_identity()

        def answered(answer: Answer, why: str = "", now: str | None = None) -> Replayed:
            return Replayed(
                entry.index, entry.statement.sequence, str(values["verdict"]), answer, why, str(values["judgement"]), now,
                _judge(values), len(self._taken),
            )  # fmt: skip

        if values["judge"] != here["judge"]:
            return answered(Answer.DIFFERENT_JUDGE, f"this is {_judge(here)}; replay with the version of then")
        missing = self._take(str(values["reference"]), str(values["looks"]))
        if missing is not None or self._judging is None:
            what, digest = missing or ("what it rests on", "")
            answer = Answer.EVIDENCE_ERASED if digest in self._erased else Answer.EVIDENCE_MISSING
            return answered(answer, f"{what} {words_for(digest, self._erased)} ({digest})")
        found = self._judging.judgement()
        if found.digest() == values["judgement"] and found.verdict.value == values["verdict"]:
            return answered(Answer.SAME, now=found.digest())
        return answered(Answer.DIFFERENT, f"judged again it is {found.verdict.value}, with another judgement", found.digest())

    def _take(self, reference: str, listed: str) -> tuple[str, str] | None:
        """Look at what a verdict rests on. Returns what is missing and its digest, or None."""
        names = self._evidence(listed)
        if self._plan is None:
            return "the plan", self._plan_digest
        if names is None:
            return "the list of looks", listed
        looks = [str(digest) for digest in json.loads(names)]
        if self._judging is None or self._reference != reference or looks[: len(self._taken)] != self._taken:
            learned = self._evidence(reference)
            if learned is None:
                return "what the baseline was like", reference
            self._judging, self._reference, self._taken = Judging(self._plan, Reference.from_bytes(learned)), reference, []
        for digest in looks[len(self._taken) :]:
            look = self._evidence(digest)
            if look is None:
                self._judging = None
                return f"look {len(self._taken) + 1} of {len(looks)}", digest
            self._judging.take(Look.from_bytes(look))
            self._taken.append(digest)
        return None


def _judge(values: Mapping[str, Value]) -> str:
    return f"{values['judgeVersion']} ({str(values['judge'])[:12]}, numpy {values['numpyVersion']})"
