"""Plain sentences for tired people. Numbers, names, no adjectives."""

from collections.abc import Sequence

from verdigris.judge.blame import Excess, Suspect
from verdigris.judge.leaks import detectors_of, is_known, most_frequent, named
from verdigris.judge.sight import unseen
from verdigris.judge.streams import Stream
from verdigris.judge.tallies import Tallies
from verdigris.judge.verdict import LEAKS, Cause, Effect, Finding, Missing, Outcome, Signal
from verdigris.judge.windows import Edge, Operation

SHARED_MAX = 5
"""So many operations are named in which both roles send sensitive data."""

WORDS_MAX = 20
"""So many words say what a finding is about."""


def ms(value: float | None) -> str:
    """A time with three significant digits and its unit."""
    if value is None:
        return "?"
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"  # noqa: PLR2004


def share(value: float | None) -> str:
    """A share in per cent, two significant digits where it is small."""
    if value is None:
        return "?"
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"  # noqa: PLR2004


def finding_sentence(stream: Stream, signal: Signal, effect: Effect, suspect: str, tallies: Tallies) -> str:
    """What is wrong, where, by how much."""
    edge, moved = stream.edge, _moved(effect)
    if signal is Signal.INSTANCE:
        return f"One instance ({suspect}) shows this, the others do not: {stream.operation}, {moved}."
    if signal in LEAKS:
        return leak_sentence(signal, stream.operation, tallies, moved)
    if edge is None:
        return f"{_OPERATION_IS[signal].format(stream.operation)}: {moved}.{_AND_THAT_MEANS.get(signal, '')}"
    if signal is Signal.CALL_EXTRA:
        return f"{edge.caller} calls {edge.callee} more often than before: {moved}."
    hidden = unseen(tallies, edge)
    if hidden is not None:
        return f"{edge.caller} makes its call, but no span of {hidden} comes: {moved}."
    return f"{edge.caller} no longer makes its call to {edge.callee}: {moved}."


def leak_sentence(signal: Signal, operation: Operation, tallies: Tallies, moved: str) -> str:
    """What is sent, in which position, by how many requests. Values are never in it: they were masked before anything was stored."""
    what = named(*_leaked(signal, operation, tallies))
    return f"{_SENDS[signal].format(operation)}: {f'{what}; ' if what else ''}{moved}. The values were masked and are not stored."


def leak_words(signal: Signal, operation: Operation, tallies: Tallies) -> tuple[str, ...]:
    """What is sent, for programs: `detector@position`."""
    return tuple(word for word, _ in most_frequent(*_leaked(signal, operation, tallies))[:WORDS_MAX])


def _leaked(signal: Signal, operation: Operation, tallies: Tallies) -> tuple[dict[str, float], frozenset[str]]:
    """What the candidate sends in an operation, in requests, and the detectors that a finding is about."""
    base, cand = (role.operations.get(operation) for role in (tallies.baseline, tallies.candidate))
    masked = {words: float(counts.sum()) for words, counts in cand.masked.items()} if cand is not None else {}
    sent, known = detectors_of(masked), detectors_of(base.masked) if base is not None else frozenset[str]()
    return masked, (sent & known if signal is Signal.LEAK_MORE else sent - known) or sent


def shared_leaks(tallies: Tallies) -> list[str]:
    """What both roles send: no reason to go back, and something to know all the same. One note at most, of the worst operations."""
    found = []
    for operation, base in tallies.baseline.operations.items():
        cand = tallies.candidate.operations.get(operation)
        both = detectors_of(base.masked) & detectors_of(cand.masked) if cand is not None else frozenset[str]()
        if cand is not None and both:
            counts = [
                sum(float(k.sum()) for words, k in role.masked.items() if is_known(words, both, ())) / max(role.n, 1e-12)
                for role in (base, cand)
            ]
            found.append((counts[1], f"{operation}: {', '.join(sorted(both))} ({share(counts[0])} and {share(counts[1])} of requests)"))
    if not found:
        return []
    worst = [told for _, told in sorted(found, key=lambda pair: (-pair[0], pair[1]))]
    more = f" and {len(worst) - SHARED_MAX} operations more" if len(worst) > SHARED_MAX else ""
    return [f"Both roles send sensitive data, which was masked: {'; '.join(worst[:SHARED_MAX])}{more}."]


_SENDS = {
    Signal.LEAK: "{} sends sensitive data that the baseline does not send",
    Signal.LEAK_MORE: "{} sends sensitive data more often than the baseline",
    Signal.NEW_OPERATION_LEAKS: "{}, which the baseline does not have, sends sensitive data",
}
_OPERATION_IS = {
    Signal.EXCLUSIVE_LATENCY: "{} takes longer by itself",
    Signal.LATENCY: "{} is slower",
    Signal.ERRORS: "{} fails more often",
    Signal.NEW_ERROR_KIND: "{} fails in a way the baseline never did",
    Signal.REFUSED_MORE: "{} refuses more requests for want of credentials (401, 403)",
    Signal.REFUSED_LESS: "{} refuses fewer requests for want of credentials (401, 403)",
    Signal.REJECTED: "{} rejects more requests (4xx)",
    Signal.ORPHANS: "Spans of {} name a parent that never came",
}
_AND_THAT_MEANS = {
    Signal.REFUSED_LESS: " A door may stand open.",
    Signal.ORPHANS: " Part of the trace is not being recorded.",
}


def cause_sentence(suspect: Suspect, tallies: Tallies) -> str:
    """Why this service is blamed, from its largest excess."""
    excess = suspect.excess[0]
    text = _excess(excess, suspect.service, tallies)
    more = len({(e.operation, e.signal) for e in suspect.excess}) - 1
    return text + (f", and {more} more sign{'s' if more > 1 else ''}." if more else ".")


def summary_sentence(outcome: Outcome, findings: Sequence[Finding], causes: Sequence[Cause], missing: Sequence[Missing]) -> str:
    """The verdict in one sentence."""
    match outcome:
        case Outcome.FAIL:
            likely = f"; the likeliest cause is {causes[0].service} ({share(causes[0].share)} of the excess)" if causes else ""
            direct = sum(f.follows_from is None for f in findings) or len(findings)
            more = f" (and {len(findings) - direct} more that follow)" if direct < len(findings) else ""
            return f"The candidate is worse in {direct} way{'s' if direct > 1 else ''}{more}{likely}."
        case Outcome.BLIND:
            return f"The candidate cannot be seen well enough to judge: {findings[0].sentence}"
        case Outcome.NOT_ENOUGH_DATA if findings:
            return f"No verdict on the candidate as a whole: {findings[0].sentence}"
        case Outcome.NOT_ENOUGH_DATA:
            most = max(missing, key=lambda m: m.need - m.have, default=None)
            about = (
                f"; most is lacking for {most.operation} ({most.signal.value}): {most.have:,} of about {most.need:,} requests"
                if most
                else ""
            )
            return f"Nothing wrong was found, but {len(missing)} of the questions a PASS must answer have no answer yet{about}."
        case Outcome.PASS:
            return "The candidate is no worse than the baseline, within the stated tolerances, wherever there is traffic to tell."


def _moved(effect: Effect) -> str:
    show = ms if effect.unit == "ms" else share
    return f"{effect.measure} {show(effect.baseline)} → {show(effect.candidate)}"


def _excess(excess: Excess, service: str, tallies: Tallies) -> str:
    operation, edge = excess.operation, excess.edge
    if excess.signal is Signal.EXCLUSIVE_LATENCY:
        return _slower(excess, service, tallies)
    if excess.signal is Signal.CALL_MISSING and edge is not None:
        return _call_missing(operation, edge, tallies)
    if excess.signal is Signal.CALL_EXTRA and edge is not None:
        return f"it calls {edge.callee} more often than before"
    return _BEGINS_IN.get(excess.signal, "{}: " + excess.signal.value).format(operation)


_BEGINS_IN = {
    Signal.ERRORS: "errors begin in {}",
    Signal.ORPHANS: "spans of {} do not come, though those below them do",
    Signal.REFUSED_MORE: "{} refuses more requests for want of credentials",
    Signal.REFUSED_LESS: "{} lets requests in that the baseline refuses",
    Signal.REJECTED: "{} rejects more requests",
    Signal.LEAK: "{} sends sensitive data that the baseline does not send",
    Signal.LEAK_MORE: "{} sends sensitive data more often",
    Signal.NEW_OPERATION_LEAKS: "{} sends sensitive data",
}


def _slower(excess: Excess, service: str, tallies: Tallies) -> str:
    operation = excess.operation
    base, cand = tallies.baseline.operations[operation], tallies.candidate.operations[operation]
    own = f"{ms(base.exclusive_ms)} → {ms(cand.exclusive_ms)}"
    if excess.between is not None and service == excess.between[1]:
        return f"{excess.between[0]} waits longer for it than its own work explains ({operation}: {own} a request)"
    peer = max(cand.peers, key=lambda p: (cand.peers[p], p), default="")
    outside = f", waiting for {peer}" if operation.kind == "Client" and peer and excess.between is None else ""
    return f"{operation} takes longer by itself ({own} a request{outside})"


def _call_missing(operation: Operation, edge: Edge, tallies: Tallies) -> str:
    if unseen(tallies, edge) == operation:
        return f"it is called, but its spans do not come ({operation})"
    if edge.caller == operation:
        return f"{operation} no longer calls {edge.callee}"
    return f"requests of {edge.caller} stop short after {operation}"
