"""Lost sight: the call is made, but the other side's spans do not come. That is blindness, not a fault of the candidate."""

from verdigris.judge.tallies import EdgeTally, OperationTally, RoleTally, Tallies
from verdigris.judge.windows import Edge, Operation

REMOTE = frozenset({"Server", "Consumer"})
OUTGOING = frozenset({"Client", "Producer"})


def crosses_to_server(edge: Edge) -> bool:
    """Whether the edge leaves a service: the caller's side of the call is seen, and then what lacks is the other side's span."""
    return edge.callee.kind in REMOTE and edge.callee.service != edge.caller.service


def present_share(edge: EdgeTally | None, caller: OperationTally) -> float:
    """The share of the caller's requests that have the edge."""
    return caller.share(edge.present) if edge is not None else 0.0


def unseen(tallies: Tallies, edge: Edge) -> Operation | None:
    """The remote operation that an edge the candidate lacks tells to be out of sight; None when the call itself is missing.

    Two ways: the caller's client span is there without the server's span; or, where client spans are named after whom they
    reach, it is there under another name because nobody answers any more. In both the caller does not fail more than before
    by anything like what is lost: otherwise the other side is not unseen but down.
    """
    base, cand = (role.operations.get(edge.caller) for role in (tallies.baseline, tallies.candidate))
    if base is None or cand is None:
        return None
    lost = present_share(tallies.baseline.edges.get(edge), base) - present_share(tallies.candidate.edges.get(edge), cand)
    failed_more = cand.share(cand.errors) - base.share(base.errors)
    if lost <= 0 or failed_more >= lost / 2:
        return None
    if crosses_to_server(edge):
        return edge.callee
    return _reached_before(tallies, edge) if _renamed_share(tallies, edge, cand) >= lost / 2 else None


def _reached_before(tallies: Tallies, edge: Edge) -> Operation | None:
    """The one remote operation that the baseline's call reached, if its service sends no spans at all in the candidate."""
    reached = [e.callee for e in tallies.baseline.edges if e.caller == edge.callee and crosses_to_server(e)]
    gone = [o for o in reached if o.service not in tallies.candidate.services]
    return min(gone) if gone and len(gone) == len(reached) else None


def _renamed_share(tallies: Tallies, edge: Edge, caller: OperationTally) -> float:
    """The largest share of the caller's requests with an outgoing call of the same service that the baseline does not know."""
    if edge.callee.kind not in OUTGOING:
        return 0.0
    return max((present_share(t, caller) for e, t in _new_calls(tallies.baseline, tallies.candidate, edge)), default=0.0)


def _new_calls(baseline: RoleTally, candidate: RoleTally, edge: Edge) -> list[tuple[Edge, EdgeTally]]:
    return [
        (e, t)
        for e, t in candidate.edges.items()
        if e.caller == edge.caller
        and e not in baseline.edges
        and e.callee.kind == edge.callee.kind
        and e.callee.service == edge.callee.service
    ]
