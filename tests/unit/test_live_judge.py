"""The live judge: which fault is which verdict, how soon, and what is said of it."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from verdigris.judge.assurance import REST
from verdigris.judge.live import LiveJudgement, OutOfOrder, begin_step, judgement, look, open_judge
from verdigris.judge.reference import Proxied, Reference, learn
from verdigris.judge.verdict import Outcome, Signal
from verdigris.judge.windows import UNIT, Edge, EdgeCounts, Operation, OperationCounts, RoleWindow, TraceCounts, Window, Windows
from verdigris.plan.objectives import Objectives, OperationPolicy
from verdigris.plan.policy import Policy, Tolerance

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.simulated_traffic import Fault, Service, role_window, server

SHOP = Service("front", calls=(Service("cart", calls=(Service("db"),)), Service("pay"), Service("ads", called_share=0.3)))
OBJECTIVES = Objectives()
BEFORE = 40
NOTHING: Mapping[str, Fault] = {}

Alter = Callable[[RoleWindow, int], RoleWindow]


def as_it_is(half: RoleWindow, _at: int) -> RoleWindow:
    return half


class Play:
    """A small shop, window by window of one second: 100 requests to the baseline, and to the candidate what is asked."""

    def __init__(self, seed: int = 1, *, instances: int = 1, alter: Alter = as_it_is) -> None:
        """`alter` changes the baseline's windows: what every role is like."""
        self.rng, self.instances, self.alter = np.random.default_rng(seed), instances, alter

    def half(self, requests: int, faults: Mapping[str, Fault] = NOTHING, role: str = "b", sick: frozenset[str] = frozenset()) -> RoleWindow:
        return role_window(self.rng, SHOP, requests, faults, role=role, instances=self.instances, bursting=sick)

    def reference(self, windows: int = BEFORE, requests: int = 100) -> Reference:
        halves = [self.alter(self.half(requests), t) for t in range(windows)]
        return learn(
            Windows(1, tuple(Window(t, half) for t, half in enumerate(halves))), OBJECTIVES, [Proxied(requests, 0) for _ in halves]
        )

    def rollout(
        self, faults: Mapping[str, Fault] = NOTHING, *, windows: int = 40, base: int = 75, cand: int = 50, alter: Alter = as_it_is,
        sick: frozenset[str] = frozenset(), objectives: Objectives = OBJECTIVES, until: Outcome | None = Outcome.FAIL,
    ) -> tuple[LiveJudgement, int]:  # fmt: skip
        """The judgement after the last window, or after the first with the verdict `until`, and the number of looks."""
        state, said = open_judge(self.reference(), objectives), None
        for t in range(windows):
            candidate = alter(self.alter(self.half(cand, faults, "c", sick), BEFORE + t), t)
            window = Window(BEFORE + t, self.alter(self.half(base), BEFORE + t), candidate)
            state = look(state, window, Proxied(base, cand))
            said = judgement(state)
            if said.verdict is until:
                break
        assert said is not None
        return said, said.windows


def with_operations(half: RoleWindow, change: Callable[[OperationCounts], OperationCounts | None]) -> RoleWindow:
    changed = (change(o) for o in half.operations)
    return replace(half, operations=tuple(sorted((o for o in changed if o is not None), key=lambda o: (o.operation, o.instance))))


def without(*services: str) -> Alter:
    """Their spans do not come: the operations are gone, and the edges to them."""

    def alter(half: RoleWindow, _at: int) -> RoleWindow:
        edges = tuple(e for e in half.edges if e.edge.callee.service not in services and e.edge.caller.service not in services)
        return replace(with_operations(half, lambda o: None if o.operation.service in services else o), edges=edges)

    return alter


# -- verdicts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "signal", "service"),
    [
        ({"cart": Fault(errors=0.03)}, Signal.ERRORS, "cart"),
        ({"cart": Fault(own_factor=2.0)}, Signal.EXCLUSIVE_LATENCY, "cart"),
        ({"pay": Fault(stops=0.5)}, Signal.CALL_MISSING, "pay"),
        ({"db": Fault(slow_share=0.05, slow_factor=10)}, Signal.EXCLUSIVE_LATENCY, "db"),
    ],
    ids=["errors", "twice as slow", "half of a call missing", "a slow path"],
)
def test_a_clear_fault_is_found_within_forty_windows_of_a_second(faults: Mapping[str, Fault], signal: Signal, service: str) -> None:
    said, looks = Play().rollout(faults)
    assert said.verdict is Outcome.FAIL
    assert 3 <= looks <= 40
    assert signal in {f.signal for f in said.findings}
    assert said.causes[0].service == service
    assert service in said.summary
    assert said.missing == ()
    strongest = said.evidence[0]
    assert strongest.log_e > 0.5 * strongest.threshold
    assert strongest.candidate_requests <= looks * 50


def test_an_unchanged_candidate_does_not_fail_and_passes_in_time() -> None:
    said, _ = Play(2).rollout(windows=120, base=400, cand=400, until=Outcome.PASS)
    assert said.verdict is Outcome.PASS
    assert said.findings == () == said.missing
    assert "no worse than the baseline" in said.summary


def test_what_a_pass_lacks_is_told_in_requests() -> None:
    said, looks = Play(3).rollout(windows=5)
    assert said.verdict is Outcome.NOT_ENOUGH_DATA
    assert all(m.need > m.have for m in said.missing)
    assert {m.have for m in said.missing if m.operation == server(SHOP)} == {50 * looks}


def test_a_step_can_be_asked_to_show_its_own_evidence() -> None:
    play = Play(4)
    state = open_judge(play.reference(), OBJECTIVES)
    for t in range(8):
        state = look(state, Window(BEFORE + t, play.half(400), play.half(400, role="c")), None)
    before, anew = judgement(state), judgement(begin_step(state))
    assert {m.have for m in anew.missing} == {0}
    assert len(anew.missing) >= len(before.missing)
    assert anew.evidence == before.evidence


def test_before_the_first_window_nothing_is_said() -> None:
    said = judgement(open_judge(Play().reference(), OBJECTIVES))
    assert said.verdict is Outcome.NOT_ENOUGH_DATA
    assert said.summary == "Nothing has been looked at yet."


# -- doors ------------------------------------------------------------------------------------------------------------------


def refusing(share: float) -> Alter:
    """A share of the front's requests come without credentials; of these, all are refused."""

    def alter(half: RoleWindow, _at: int) -> RoleWindow:
        def change(o: OperationCounts) -> OperationCounts:
            return replace(o, refused=round(o.requests // UNIT * share) * UNIT) if o.operation == server(SHOP) else o

        return with_operations(half, change)

    return alter


def test_a_door_that_stands_open_is_found() -> None:
    said, looks = Play(5, alter=refusing(0.1)).rollout(alter=refusing(0.0))
    assert said.verdict is Outcome.FAIL
    assert [f.signal for f in said.findings] == [Signal.REFUSED_LESS]
    assert "A door may stand open" in said.findings[0].sentence
    assert looks <= 25


def test_people_locked_out_are_found() -> None:
    said, looks = Play(6, alter=refusing(0.02)).rollout(alter=refusing(0.2))
    assert [f.signal for f in said.findings] == [Signal.REFUSED_MORE]
    assert looks <= 25


# -- structure --------------------------------------------------------------------------------------------------------------

SEARCH, SEARCH_NEW = Operation("front", "Server", "/search"), Operation("front", "Server", "/v2/search")


def searching(operation: Operation, errors: int = 0) -> Alter:
    """A fifth of the requests go to another operation, which is a root like the front's."""

    def alter(half: RoleWindow, _at: int) -> RoleWindow:
        n = half.traces.traces // 5
        times = {900: n * UNIT}
        kinds = {"502": errors * UNIT} if errors else {}
        row = OperationCounts(
            operation, "s0", n, n * UNIT, errors * UNIT, error_kinds=kinds, durations=times, exclusives=times, trace_ns=n * 10**6
        )
        traces = replace(half.traces, traces=half.traces.traces + n)
        return RoleWindow(traces, tuple(sorted((*half.operations, row), key=lambda o: (o.operation, o.instance))), half.edges)

    return alter


def losing_search(half: RoleWindow, _at: int) -> RoleWindow:
    return with_operations(half, lambda o: None if o.operation == SEARCH else o)


def test_an_operation_that_the_candidate_lost_is_a_finding() -> None:
    said, looks = Play(7, alter=searching(SEARCH)).rollout(alter=losing_search)
    assert said.verdict is Outcome.FAIL
    (finding,) = said.findings
    assert (finding.signal, finding.operation) == (Signal.OPERATION_MISSING, SEARCH)
    assert "hardly reach" in finding.sentence
    assert finding.effect.candidate == 0
    assert said.causes[0].service == "front"
    assert looks <= 25


def test_a_plan_may_tolerate_that_an_operation_goes() -> None:
    tolerant = Objectives(operations=(OperationPolicy("front server /search", Policy(structure=Tolerance(1.1, 0.99))),))
    said, _ = Play(7, alter=searching(SEARCH)).rollout(alter=losing_search, objectives=tolerant)
    assert said.verdict is Outcome.NOT_ENOUGH_DATA
    assert said.findings == ()


def test_one_whose_requests_leave_no_trace_is_out_of_sight_not_gone() -> None:
    def unseen(half: RoleWindow, at: int) -> RoleWindow:
        lost = losing_search(half, at)
        return replace(lost, traces=replace(lost.traces, traces=lost.traces.traces * 5 // 6))

    play = Play(8, alter=searching(SEARCH))
    state = open_judge(play.reference(), OBJECTIVES)
    verdicts = set()
    for t in range(40):
        base, cand = play.alter(play.half(75), t), unseen(play.alter(play.half(50), t), t)
        state = look(state, Window(BEFORE + t, base, cand), Proxied(base.traces.traces, 60))
        verdicts.add(judgement(state).verdict)
    assert verdicts == {Outcome.NOT_ENOUGH_DATA, Outcome.BLIND}


def test_new_operations_are_noted_and_fail_only_by_failing() -> None:
    well, _ = Play(9).rollout(alter=searching(SEARCH_NEW))
    assert well.verdict is Outcome.NOT_ENOUGH_DATA
    assert any("/v2/search" in note for note in well.notes)
    ill, looks = Play(9).rollout(alter=searching(SEARCH_NEW, errors=5))
    assert ill.verdict is Outcome.FAIL
    assert [(f.signal, f.operation) for f in ill.findings] == [(Signal.NEW_OPERATION_FAILS, SEARCH_NEW)]
    assert looks <= 25


def test_calls_that_the_baseline_never_makes_are_found() -> None:
    call = Edge(server(SHOP), Operation("front", "Client", "/elsewhere"))

    def calling(half: RoleWindow, _at: int) -> RoleWindow:
        made = half.traces.traces // 3 * UNIT
        return replace(half, edges=tuple(sorted((*half.edges, EdgeCounts(call, made, 0, {1: made})), key=lambda e: e.edge)))

    said, looks = Play(10).rollout(alter=calling)
    assert said.verdict is Outcome.FAIL
    assert [(f.signal, f.edge) for f in said.findings] == [(Signal.CALL_EXTRA, call)]
    assert looks <= 25


def test_a_new_kind_of_error_is_found_before_the_rate_of_errors_moves() -> None:
    def kind(half: RoleWindow, at: int) -> RoleWindow:
        def change(o: OperationCounts) -> OperationCounts:
            if o.operation.service != "pay" or o.operation.kind != "Server" or at % 4:
                return o
            return replace(
                o, errors=o.errors + UNIT, error_origins=o.error_origins + UNIT, error_kinds={**o.error_kinds, "NullPointer": UNIT}
            )

        return with_operations(half, change)

    said, _ = Play(11).rollout(alter=kind, windows=160, cand=75)
    assert said.verdict is Outcome.FAIL
    assert Signal.NEW_ERROR_KIND in {f.signal for f in said.findings}


# -- instances --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instances", [2, 3, 8])
def test_one_bad_instance_is_told_apart_from_a_bad_candidate(instances: int) -> None:
    said, _ = Play(12, instances=instances).rollout(sick=frozenset({"db"}), windows=60, cand=40 * min(instances, 3), until=None)
    assert said.verdict is Outcome.NOT_ENOUGH_DATA
    mine = [f for f in said.findings if f.signal is Signal.INSTANCE]
    assert mine
    assert all("db-c0" in f.sentence for f in mine if f.service == "db")


@pytest.mark.parametrize("seed", [1010, 1015, 1019, 1029, 1038])
def test_the_cause_is_named_also_while_chance_has_shown_it_at_one_instance_only(seed: int) -> None:
    """All of db's instances have the slow path; when its callers' findings are sure, without one of them its own is not yet."""
    said, _ = Play(seed, instances=2).rollout({"db": Fault(slow_share=0.012, slow_factor=20)}, windows=150, cand=75)
    assert said.verdict is Outcome.FAIL
    assert "db" not in {f.service for f in said.findings if f.signal is not Signal.INSTANCE}
    assert said.causes[0].service == "db"
    assert {f.follows_from for f in said.findings} == {"db"}


def test_few_instances_are_each_left_out_whatever_their_names_hash_to() -> None:
    for seed in range(6):
        play = Play(seed, instances=5)
        state = look(open_judge(play.reference(), OBJECTIVES), Window(BEFORE, play.half(75), play.half(200, role=f"c{seed}-")), None)
        groups = {group for (service, _), group in state.owners.items() if service == "front"}
        assert groups == {0, 1, 2, 3, 4}


def test_many_instances_share_five_groups() -> None:
    play = Play(13, instances=40)
    state = open_judge(play.reference(), OBJECTIVES)
    for t in range(3):
        state = look(state, Window(BEFORE + t, play.half(75), play.half(200, role=f"c{t}-")), None)
    assert {group for service, group in state.names if service == "front"} == {0, 1, 2, 3, 4}
    assert sum(service == "front" for service, _ in state.owners) == 5
    assert all(len(names) <= 5 for names in state.names.values())


# -- telemetry --------------------------------------------------------------------------------------------------------------


def test_a_candidate_without_traces_is_blind_within_one_window() -> None:
    play = Play(14)
    state = look(open_judge(play.reference(), OBJECTIVES), Window(BEFORE, play.half(75)), Proxied(75, 25))
    said = judgement(state)
    assert said.verdict is Outcome.BLIND
    assert said.findings[0].signal is Signal.NO_TRACES
    assert "25 requests and no trace" in said.summary


def test_few_requests_without_a_trace_are_not_blindness_yet() -> None:
    play = Play(14)
    state = open_judge(play.reference(), OBJECTIVES)
    for t in range(3):
        state = look(state, Window(BEFORE + t, play.half(75)), Proxied(75, 6))
        assert judgement(state).verdict is Outcome.NOT_ENOUGH_DATA
        assert judgement(state).summary == "No trace of the candidate has come yet."
    assert judgement(look(state, Window(BEFORE + 3, play.half(75)), Proxied(75, 6))).verdict is Outcome.BLIND


def test_telemetry_that_stops_for_both_is_blindness_that_says_so() -> None:
    play = Play(15)
    state = look(open_judge(play.reference(), OBJECTIVES), Window(BEFORE, play.half(75), play.half(50, role="c")), Proxied(75, 50))
    state = look(state, Window(BEFORE + 1), Proxied(75, 50))
    said = judgement(state)
    assert said.verdict is Outcome.BLIND
    assert "stopped for both roles" in said.summary
    again = look(state, Window(BEFORE + 2, play.half(75), play.half(50, role="c")), Proxied(75, 50))
    assert judgement(again).verdict is Outcome.NOT_ENOUGH_DATA


def test_a_baseline_that_falls_silent_holds() -> None:
    play = Play(16)
    state = look(open_judge(play.reference(), OBJECTIVES), Window(BEFORE, candidate=play.half(50, role="c")), Proxied(75, 50))
    said = judgement(state)
    assert said.verdict is Outcome.NOT_ENOUGH_DATA
    assert "nothing to compare with" in said.summary


def test_spans_of_a_callee_that_do_not_come_are_blindness() -> None:
    said, looks = Play(17).rollout(alter=without("pay"), until=Outcome.BLIND)
    assert said.verdict is Outcome.BLIND
    assert "no span of pay" in said.summary
    assert looks <= 25


def test_a_third_of_the_requests_without_a_trace_is_blindness() -> None:
    play = Play(18)
    state = open_judge(play.reference(), OBJECTIVES)
    for _t in range(40):
        state = look(state, Window(BEFORE + _t, play.half(75), play.half(34, role="c")), Proxied(75, 50))
    said = judgement(state)
    assert said.verdict is Outcome.BLIND
    assert [f.signal for f in said.findings] == [Signal.UNTRACED]


def test_clocks_that_differ_a_little_do_not_alarm() -> None:
    play = Play(19)
    state, rng = open_judge(play.reference(), OBJECTIVES), np.random.default_rng(1)
    ahead = np.zeros(2)
    for t in range(150):
        # The proxy's counters are read up to 60 ms early or late: what is lacking now comes with the next window.
        late = rng.uniform(-0.06, 0.06, 2) * (300, 100)
        seen = np.array([300, 100]) + late - ahead
        ahead = late
        state = look(state, Window(BEFORE + t, play.half(300), play.half(100, role="c")), Proxied(*(round(x) for x in seen)))
        assert Signal.UNTRACED not in {f.signal for f in judgement(state).findings}
    assert all(e.log_e < 1 for e in judgement(state).evidence if e.signal is Signal.UNTRACED)


def test_unequal_sampling_is_blindness() -> None:
    def sampled(half: RoleWindow, _at: int) -> RoleWindow:
        return replace(half, traces=replace(half.traces, thresholds={"c": half.traces.traces}))

    said, _ = Play(20).rollout(alter=sampled, until=Outcome.BLIND)
    assert said.verdict is Outcome.BLIND
    assert said.findings[0].signal is Signal.SAMPLING


def test_a_fault_is_worse_news_than_blindness() -> None:
    play = Play(21)
    state = open_judge(play.reference(), OBJECTIVES)
    for t in range(20):
        state = look(state, Window(BEFORE + t, play.half(75), play.half(50, {"cart": Fault(own_factor=2.0)}, "c")), Proxied(75, 50))
    assert judgement(look(state, Window(BEFORE + 30, play.half(75)), Proxied(75, 50))).verdict is Outcome.FAIL


# -- the bake ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("faults", "verdict"), [(NOTHING, Outcome.NOT_ENOUGH_DATA), ({"cart": Fault(own_factor=2.0)}, Outcome.FAIL)])
def test_a_holdback_of_five_requests_a_window_is_enough(faults: Mapping[str, Fault], verdict: Outcome) -> None:
    said, _ = Play(22).rollout(faults, base=5, cand=95, windows=60)
    assert said.verdict is verdict


def test_a_fault_that_begins_late_is_measured_where_it_is() -> None:
    def late(half: RoleWindow, at: int) -> RoleWindow:
        if at < 90:
            return half
        failing = {o.operation: o.requests // 10 // UNIT * UNIT for o in half.operations if o.operation == server(SHOP)}
        return with_operations(
            half,
            lambda o: (
                replace(o, errors=o.errors + failing[o.operation], error_origins=o.error_origins + failing[o.operation])
                if o.operation in failing
                else o
            ),
        )

    said, looks = Play(23).rollout(alter=late, windows=130)
    assert said.verdict is Outcome.FAIL
    assert 93 <= looks <= 115
    effect = next(f.effect for f in said.findings if f.signal is Signal.ERRORS)
    # Over all windows it would be a tenth of a tenth.
    assert effect.candidate is not None
    assert effect.candidate > 0.025


# -- order and size ---------------------------------------------------------------------------------------------------------


def test_windows_are_looked_at_once_and_in_order() -> None:
    play = Play(24)
    state = look(open_judge(play.reference(), OBJECTIVES), Window(100, play.half(75), play.half(50)), None)
    for start in (100, 99):
        with pytest.raises(OutOfOrder, match="does not come after"):
            look(state, Window(start), None)


def test_a_state_is_not_changed_by_looking_further() -> None:
    play = Play(25)
    state = look(open_judge(play.reference(), OBJECTIVES), Window(100, play.half(75), play.half(50)), None)
    before = judgement(state).canonical_bytes()
    for t in range(30):
        look(state, Window(101 + t, play.half(75), play.half(50, {"cart": Fault(errors=0.5)})), Proxied(75, 50))
    assert judgement(state).canonical_bytes() == before


def test_the_state_does_not_grow_with_names_that_a_sender_makes_up() -> None:
    play = Play(26)
    state = open_judge(play.reference(), OBJECTIVES)
    for t in range(60):

        def made_up(o: OperationCounts, t: int = t) -> OperationCounts:
            return replace(
                o,
                operation=replace(o.operation, name=f"{o.operation.name}{t}"),
                instance=f"{o.instance}-{t}",
                error_kinds={f"kind {t}": UNIT},
            )

        half = play.half(20, role="c")
        noise = with_operations(half, made_up).operations * 1
        rows = tuple(sorted((*half.operations, *noise), key=lambda o: (o.operation, o.instance)))
        state = look(state, Window(100 + t, play.half(75), replace(half, operations=rows)), None)
    for added in (state.merged.older, state.merged.block, state.merged.filling):
        new = [o for o, _ in added.candidate.operations if not state.streams.knows(o)]
        assert 0 < len(new) <= 200
    assert len(state.owners) <= 5 * 5
    assert all(len(names) <= 5 for names in state.names.values())
    kinds = [len(o.error_kinds) for o in state.merged.everything().candidate.operations]
    assert max(kinds) <= 101


def test_traces_are_counted_however_long_it_takes() -> None:
    play = Play(27)
    state, base, cand = open_judge(play.reference(), OBJECTIVES), play.half(8), play.half(5, role="c")
    for t in range(100):
        state = look(state, Window(BEFORE + t, base, cand), Proxied(8, 5))
    said = judgement(state)
    assert (said.windows, said.baseline_traces, said.candidate_traces) == (100, 800, 500)
    everything = state.merged.everything()
    assert sum(o.requests for o in everything.candidate.operations if o.operation == server(SHOP)) == 500 * UNIT
    assert 24 * 5 <= state.merged.lately().candidate.traces.traces <= 48 * 5


def test_quiet_operations_are_asked_for_a_pass_as_one() -> None:
    def quiet(half: RoleWindow, _at: int) -> RoleWindow:
        rows = [
            OperationCounts(Operation("front", "Server", name), "q", 2, 2 * UNIT, durations={900: 2 * UNIT}, exclusives={900: 2 * UNIT})
            for name in ("/rare", "/seldom")
        ]
        return replace(half, operations=tuple(sorted((*half.operations, *rows), key=lambda o: (o.operation, o.instance))))

    state = open_judge(Play(29, alter=quiet).reference(), OBJECTIVES)
    asked = [q for q in state.streams.questions if q.operation is not None and q.operation.name in {"/rare", "/seldom"}]
    rest = [q.signal for q in state.streams.questions if q.operation == REST]
    assert asked == []
    assert sorted(rest) == [Signal.ERRORS, Signal.LATENCY, Signal.LATENCY, Signal.LATENCY]
    half = quiet(Play(30).half(50), 0)
    state = look(state, Window(BEFORE, half, half), None)
    assert {m.have for m in judgement(state).missing if m.operation == REST} == {4}


def test_an_empty_reference_asks_nothing_and_shows_nothing() -> None:
    empty = learn(Windows(1, (Window(0, RoleWindow(TraceCounts(traces=5, roots=5))),)), OBJECTIVES)
    play = Play(28)
    state = look(open_judge(empty, OBJECTIVES), Window(1, play.half(75), play.half(50)), Proxied(75, 50))
    assert judgement(state).verdict is Outcome.NOT_ENOUGH_DATA
