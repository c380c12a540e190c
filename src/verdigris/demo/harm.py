"""Who was hurt, for how long, and what the alternative would have cost: from the users' own log, which knows no guard. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from statistics import median


@dataclass(frozen=True, slots=True)
class Answer:
    """One request as its user saw it: when it was due, who answered (empty: nobody), status (0: none), and how it was hurt."""

    due_unix_s: float
    slot: str
    status: int
    latency_ms: float
    hurt: str


def read_answers(lines: Iterable[str]) -> list[Answer]:
    """The load's log, ascending by the time that requests were due. A last line that is not written to its end is left out."""
    answers = []
    for line in lines:
        parts = line.split(",")
        if not line.endswith("\n") or len(parts) != 5:  # noqa: PLR2004 - the columns
            continue
        due, slot, status, latency, hurt = parts
        answers.append(Answer(float(due), slot, int(status), float(latency), hurt.strip()))
    return sorted(answers, key=lambda answer: answer.due_unix_s)


@dataclass(frozen=True, slots=True)
class Harm:
    """What users felt of the candidate. Times are those at which requests were due.

    `exposed_s` is from the first hurt request to the last request that the candidate answered. In that time there were
    `requests_exposed` requests, of which the candidate answered `candidate_exposed`.
    """

    requests: int
    candidate_requests: int
    unanswered: int
    """Nobody answered, or the proxy itself did (its answers name no slot)."""
    hurt: int
    first_hurt_unix_s: float | None
    last_candidate_unix_s: float | None
    exposed_s: float
    requests_exposed: int
    candidate_exposed: int
    baseline_median_ms: float
    """What the other slot's users waited, as a check of the machine: where it is too busy, nothing here says much about the guard."""

    @property
    def hurt_share(self) -> float:
        """Of the requests that the candidate answered while it hurt, in [0, 1]."""
        return self.hurt / self.candidate_exposed if self.candidate_exposed else 0.0

    @property
    def hurt_at_once(self) -> int:
        """How many would have been hurt had all traffic been switched at once and gone back as late: every request of that time, at the
        candidate's share of hurt ones. Where the fault grows with traffic this says too little.
        """
        return round(self.requests_exposed * self.hurt_share)


def harm_of(answers: Sequence[Answer], candidate: str) -> Harm:
    """The harm that one slot did."""
    of_candidate = [answer for answer in answers if answer.slot == candidate]
    hurt = [answer for answer in of_candidate if answer.hurt]
    first = hurt[0].due_unix_s if hurt else None
    last = of_candidate[-1].due_unix_s if of_candidate else None
    exposed = [a for a in answers if first is not None and last is not None and first <= a.due_unix_s <= last]
    return Harm(
        requests=len(answers),
        candidate_requests=len(of_candidate),
        unanswered=sum(not answer.slot or answer.status < HTTPStatus.OK for answer in answers),
        hurt=len(hurt),
        first_hurt_unix_s=first,
        last_candidate_unix_s=last,
        exposed_s=last - first if first is not None and last is not None else 0.0,
        requests_exposed=len(exposed),
        candidate_exposed=sum(answer.slot == candidate for answer in exposed),
        baseline_median_ms=median([a.latency_ms for a in answers if a.slot and a.slot != candidate] or [0.0]),
    )


def last_answered_by(answers: Sequence[Answer], slot: str, after_unix_s: float) -> float | None:
    """When the last request was due that a slot answered after a moment; None if there was none."""
    return max((a.due_unix_s for a in answers if a.slot == slot and a.due_unix_s >= after_unix_s), default=None)
