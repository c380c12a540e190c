"""How a case ended: what was expected of it, what happened, and what it cost its users. Pure; the same for the terminal and `--json`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from verdigris.demo.cases import Case, Expected
from verdigris.demo.harm import Harm
from verdigris.judge.verdict import Outcome
from verdigris.rollout.status import RolloutStatus
from verdigris.rollout.transitions import Phase

SCHEMA = "verdigris.demo/1"
PACK_FILE = "evidence-pack.zip"
"""The evidence pack of a case, in its folder."""

BUSY_MS = 200.0
"""An idle machine answers in 50 to 120 ms, most of it the services' own waiting."""

LEASE_GRACE_S = 2.0
"""Beyond the lease: requests that were already at the candidate, the proxy's own clock, and a busy machine."""


@dataclass(frozen=True, slots=True)
class Killed:
    """What followed the guard's death: for how long the candidate still got requests."""

    at_unix_s: float
    back_after_s: float
    lease_s: float


@dataclass(frozen=True, slots=True)
class Audited:
    """`problems`: what is wrong with the record; empty when nothing is. `verdicts`: how many were judged again."""

    entries: int
    verdicts: int
    problems: tuple[str, ...]

    def sentence(self) -> str:
        """For people."""
        return (
            f"The record: {self.entries} signed entries verified, {self.verdicts} verdicts judged again from their evidence to the same "
            f"bytes, and an evidence pack that verified itself ({PACK_FILE})."
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """`problems` says what was not as it should be; empty when all was."""

    case: str
    problems: tuple[str, ...]
    phase: Phase
    verdict: Outcome | None
    summary: str
    findings: tuple[str, ...]
    harm: Harm
    hurt_means: str
    killed: Killed | None = None
    audited: Audited | None = None

    @property
    def expected(self) -> bool:
        """Whether it ended as it should."""
        return not self.problems

    def document(self) -> dict[str, Any]:
        """As JSON."""
        harm = asdict(self.harm) | {"hurt_share": self.harm.hurt_share, "hurt_at_once": self.harm.hurt_at_once}
        return {"schema": SCHEMA, "expected": self.expected} | asdict(self) | {"harm": harm, "sentences": self.sentences()}

    def sentences(self) -> list[str]:
        """What happened, for people."""
        harm = self.harm
        told = [self._result()]
        if self.killed:
            told.append(
                f"The last request that green answered came {self.killed.back_after_s:.1f} s after the guard was killed; "
                f"the lease was {self.killed.lease_s:g} s."
            )
        elif harm.hurt:
            told += [
                f"From the first hurt request to the last one that green answered: {harm.exposed_s:.1f} s.",
                (
                    f"Hurt ({self.hurt_means}): {count(harm.hurt)}. Switched all at once and back as late, it would have been about "
                    f"{harm.hurt_at_once:,}: {harm.requests_exposed:,} requests came in that time, and green hurt {harm.hurt_share:.1%} "
                    f"of the {harm.candidate_exposed:,} that it answered."
                ),
            ]
        else:
            told.append(f"Hurt ({self.hurt_means}): no request of the {harm.candidate_requests:,} that green answered.")
        told.append(f"Lost on the way: {harm.unanswered:,} of {count(harm.requests)}.")
        if self.audited is not None and not self.audited.problems:
            told.append(self.audited.sentence())
        return told

    def _result(self) -> str:
        if self.killed:
            return "The guard is dead, and the proxy went back to blue by itself."
        return f"The rollout was {self.phase.value}" + (f", {self.verdict.value}: {self.summary}" if self.verdict else f": {self.summary}")


def count(requests: int) -> str:
    """A number of requests in words."""
    return f"{requests:,} request{'' if requests == 1 else 's'}"


def judge_ending(case: Case, status: RolloutStatus, harm: Harm, killed: Killed | None = None, audited: Audited | None = None) -> Ending:
    """What happened against what was expected."""
    problems = _problems(case.expected, status) if killed is None else _problems_after_death(killed)
    if case.kill_guard_at_percent is not None and killed is None:
        problems.append(f"the rollout was {status.phase.value} before the guard could be killed: {status.summary}")
    if harm.unanswered:
        problems.append(f"{count(harm.unanswered)} got no answer from either slot")
    problems += [] if audited is None else audited.problems
    if problems and harm.baseline_median_ms > BUSY_MS:
        problems.append(
            f"blue's median answer took {harm.baseline_median_ms:,.0f} ms: this machine was too busy for these users; try again later"
        )
    if not harm.candidate_requests:
        problems.append("green answered no request at all, so nothing was shown")
    return Ending(
        case=case.name,
        problems=tuple(problems),
        phase=status.phase,
        verdict=status.verdict,
        summary=status.summary,
        findings=tuple(finding.sentence for finding in status.findings),
        harm=harm,
        hurt_means=case.hurt_means,
        killed=killed,
        audited=audited,
    )


def _problems(expected: Expected, status: RolloutStatus) -> list[str]:
    problems = []
    if expected.phase is not None and status.phase is not expected.phase:
        problems.append(f"it should have been {expected.phase.value}, and is {status.phase.value}: {status.summary}")
    if expected.verdict is not None and status.verdict is not expected.verdict:
        verdict = status.verdict.value if status.verdict else "none"
        problems.append(f"the verdict should have been {expected.verdict.value}, and is {verdict}")
    signals = {finding.signal for finding in status.findings}
    if expected.signals and not signals & {signal.value for signal in expected.signals}:
        found = _either(sorted(signals)) or "none"
        problems.append(f"a finding about {_either(sorted(expected.signals))} should be there; there is {found}")
    if expected.cause and not _names(expected.cause, status):
        problems.append(f"{expected.cause} should have been named, and is not")
    return problems


def _problems_after_death(killed: Killed) -> list[str]:
    bound_s = killed.lease_s + LEASE_GRACE_S
    if killed.back_after_s <= bound_s:
        return []
    return [f"green still got requests {killed.back_after_s:.1f} s after the guard was killed; the bound is {bound_s:g} s"]


def _names(service: str, status: RolloutStatus) -> bool:
    """Whether a finding is this service's own, or what the rollout says of itself names it."""
    told = (status.summary, *status.notes)
    return any(finding.service == service for finding in status.findings) or any(service in text for text in told)


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)
