"""What only follows: findings that a service feels because of one that it calls. They are told, but they are not the news."""

from collections.abc import Sequence
from dataclasses import replace

from verdigris.judge.tallies import Tallies
from verdigris.judge.verdict import Cause, Finding, Signal


def following(tallies: Tallies, findings: Sequence[Finding], causes: Sequence[Cause]) -> tuple[Finding, ...]:
    """Mark what follows from a cause: slower though its own time is not, failing though the errors begin elsewhere."""
    return tuple(
        replace(f, follows_from=next((c.service for c in causes if f.id in c.findings), None))
        if f.follows_from is None and _is_felt(f, tallies)
        else f
        for f in findings
    )


def felt_of_bad_instances(tallies: Tallies, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Mark what callers feel of one bad instance: all of theirs are slower or fail, yet none by itself."""
    sick = sorted({f.service for f in findings if f.signal is Signal.INSTANCE})
    reach = reachable(tallies) if sick else {}
    return tuple(
        replace(f, follows_from=next((s for s in sick if s in reach.get(f.service, ())), None)) if _is_felt(f, tallies) else f
        for f in findings
    )


def numbered(findings: Sequence[Finding], causes: Sequence[Cause]) -> tuple[tuple[Finding, ...], tuple[Cause, ...]]:
    """Direct findings first, then what follows, with ids in that order."""
    ordered = sorted(findings, key=lambda f: f.follows_from is not None)
    ids = {f.id: f"f{number}" for number, f in enumerate(ordered, 1)}
    renamed = tuple(replace(f, id=ids[f.id]) for f in ordered)
    return renamed, tuple(replace(c, findings=tuple(f.id for f in renamed if f.id in {ids[old] for old in c.findings})) for c in causes)


def reachable(tallies: Tallies) -> dict[str, frozenset[str]]:
    """For each service, all that it calls, directly or through others."""
    direct: dict[str, set[str]] = {}
    for role in (tallies.baseline, tallies.candidate):
        for edge in role.edges:
            direct.setdefault(edge.caller.service, set()).add(edge.callee.service)
    reached: dict[str, frozenset[str]] = {}
    for service in direct:
        seen, waiting = set[str](), [service]
        while waiting:
            for callee in direct.get(waiting.pop(), ()):
                if callee not in seen:
                    seen.add(callee)
                    waiting.append(callee)
        reached[service] = frozenset(seen)
    return reached


def _is_felt(finding: Finding, tallies: Tallies) -> bool:
    if finding.signal is Signal.LATENCY:
        return True
    return finding.signal in {Signal.ERRORS, Signal.NEW_ERROR_KIND} and not _errors_begin_here(finding, tallies)


def _errors_begin_here(finding: Finding, tallies: Tallies) -> bool:
    """Whether at least half of the operation's additional errors begin in it."""
    if finding.operation is None:
        return True
    base, cand = (role.operations[finding.operation] for role in (tallies.baseline, tallies.candidate))
    more = cand.share(cand.errors) - base.share(base.errors)
    own = cand.share(cand.error_origins) - base.share(base.error_origins)
    return own >= more / 2
