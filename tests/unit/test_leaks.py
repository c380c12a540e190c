"""Sensitive data that the candidate sends and the baseline does not: found side by side, apart and live; of both roles it is a note."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.test_judge import BANK, BUY, half, row, steady
from tests.unit.test_live_judge import BEFORE, Alter, Play, with_operations

from verdigris import _native
from verdigris.judge.judge import judge
from verdigris.judge.leaks import detectors_in, named
from verdigris.judge.live import judgement, look, open_judge
from verdigris.judge.reference import Proxied, Reference, learn
from verdigris.judge.verdict import LEAKS, Judgement, Outcome, Severity, Signal
from verdigris.judge.windows import UNIT, Operation, OperationCounts, RoleWindow, Window, Windows
from verdigris.plan.detectors import DETECTORS
from verdigris.plan.objectives import Objectives, OperationPolicy
from verdigris.plan.policy import Policy

POLICY = Policy()
CARD, EMAIL = "card@span_attribute", "email@span_name"
COLUMNS_BEFORE = 19
"""What a row of an operation had before there was masking."""


def masking(words: Mapping[str, int], operation: Operation = BUY, n: int = 200) -> OperationCounts:
    return replace(row(operation, n=n), masked={name: k * UNIT for name, k in words.items()})


def judged(base: Mapping[str, int], cand: Mapping[str, int], *, concurrent: bool = True, policy: Policy = POLICY) -> Judgement:
    return judge(steady(half(masking(base), traces=200), half(masking(cand), traces=200), concurrent=concurrent), policy)


# -- recordings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrent", [True, False])
def test_what_only_the_candidate_sends_is_a_reason_to_go_back(concurrent: bool) -> None:  # noqa: FBT001  # a parameter
    said = judged({}, {CARD: 2, f"{CARD} {EMAIL}": 1}, concurrent=concurrent)
    assert said.verdict is Outcome.FAIL
    (finding,) = said.findings
    assert (finding.signal, finding.operation, finding.severity) == (Signal.LEAK, BUY, Severity.CRITICAL)
    assert "card in span_attribute (90 requests), email in span_name (30 requests)" in finding.sentence
    assert finding.effect.baseline == 0
    assert finding.effect.candidate == pytest.approx(3 / 200)
    assert [cause.service for cause in said.causes] == ["shop"]


@pytest.mark.parametrize("concurrent", [True, False])
def test_what_both_send_is_a_note(concurrent: bool) -> None:  # noqa: FBT001  # a parameter
    said = judged({CARD: 3}, {CARD: 3}, concurrent=concurrent)
    assert not {f.signal for f in said.findings} & LEAKS
    (note,) = (note for note in said.notes if "Both roles" in note)
    assert "shop server /buy: card (1.5 % and 1.5 % of requests)" in note
    assert not [note for note in judged({CARD: 3}, {}).notes if "Both roles" in note]


def test_sending_more_of_it_is_a_finding_too() -> None:
    said = judged({CARD: 3}, {CARD: 60})
    assert [f.signal for f in said.findings] == [Signal.LEAK_MORE]
    assert "more often than the baseline: card in span_attribute" in said.findings[0].sentence


def test_a_detector_that_the_baseline_shows_hides_no_other() -> None:
    said = judged({EMAIL: 100}, {EMAIL: 100, f"{CARD} {EMAIL}": 5})
    assert [f.signal for f in said.findings] == [Signal.LEAK]
    assert "card in span_attribute" in said.findings[0].sentence
    assert "email" not in said.findings[0].sentence


@pytest.mark.parametrize("concurrent", [True, False])
def test_an_operation_that_only_the_candidate_has_is_asked_as_well(concurrent: bool) -> None:  # noqa: FBT001  # a parameter
    new = Operation("shop", "Server", "/pay/{n}")
    base, cand = half(masking({}), traces=200), half(masking({}), masking({CARD: 5}, new, 20), traces=200)
    said = judge(steady(base, cand, concurrent=concurrent), POLICY)
    assert [(f.signal, f.operation) for f in said.findings] == [(Signal.NEW_OPERATION_LEAKS, new)]
    assert said.verdict is Outcome.FAIL
    # Renamed, it sends what its service sent before.
    known = half(masking({}), masking({CARD: 5}, Operation("shop", "Server", "/pay"), 20), traces=200)
    assert not {f.signal for f in judge(steady(known, cand, concurrent=concurrent), POLICY).findings} & LEAKS


def test_a_plan_may_tolerate_a_detector_and_no_other() -> None:
    tolerant = Policy(tolerated_leaks={"card": "a test shop without real cards"})
    assert not judged({}, {CARD: 10}, policy=tolerant).findings
    assert not judged({CARD: 1}, {CARD: 100}, policy=tolerant).findings
    assert [f.signal for f in judged({}, {CARD: 10, EMAIL: 10}, policy=tolerant).findings] == [Signal.LEAK]


def test_words_are_read_and_told() -> None:
    assert detectors_in("card@span_name email@event_attribute {other}") == {"card", "email", "{other}"}
    assert detectors_in("") == frozenset()
    many = {f"d{n}@scope": float(n) for n in range(1, 7)}
    assert named(many, {f"d{n}" for n in range(1, 7)}) == (
        "d6 in scope (6 requests), d5 in scope (5 requests), d4 in scope (4 requests), d3 in scope (3 requests) and 2 more"
    )
    assert named({"{other}": 1.0}, {"{other}"}) == "{other} (1 request)"


def test_the_detectors_are_those_of_the_decoder() -> None:
    treatment = {"ip_address": "truncate"}
    for name in DETECTORS:
        _native.Masking(f'{{"treatments": {{"{name}": "{treatment.get(name, "mask")}"}}}}')
    documented = (_native.__doc__ or "") + Path("src/verdigris/_native.pyi").read_text(encoding="utf-8")
    assert ", ".join(DETECTORS) in " ".join(documented.split())


# -- evidence ---------------------------------------------------------------------------------------------------------------


def test_evidence_without_masking_has_the_bytes_that_it_had() -> None:
    plain, marked = (Windows(10, (Window(0, half(masking(words)), half(masking({}))),)) for words in ({}, {CARD: 1}))
    rows = [json.loads(w.canonical_bytes())["windows"][0]["baseline"]["operations"][0] for w in (plain, marked)]
    assert rows[1] == [*rows[0], {CARD: UNIT}]
    assert len(rows[0]) == COLUMNS_BEFORE
    for windows in (plain, marked):
        again = Windows.from_bytes(windows.canonical_bytes())
        assert again == windows
        assert again.digest() == windows.digest()
    with pytest.raises(ValueError, match="too many values"):
        Windows.from_bytes(marked.canonical_bytes().replace(b'{"card@span_attribute":720720}', b'{"card@span_attribute":720720},{}'))


def test_a_reference_remembers_what_the_baseline_sends() -> None:
    def learned(words: Mapping[str, int]) -> Reference:
        return learn(Windows(1, tuple(Window(t, half(masking(words))) for t in range(10))), Objectives())

    plain, marked = learned({}), learned({CARD: 2, EMAIL: 1})
    assert marked.operations[0].leaks == ("card", "email")
    assert marked.operations[0].rates[Signal.LEAK_MORE].bad == pytest.approx(30)
    assert b"leaks" not in plain.canonical_bytes()
    assert b"sensitive" not in plain.canonical_bytes()
    assert [Reference.from_bytes(r.canonical_bytes()) for r in (plain, marked)] == [plain, marked]


# -- live -------------------------------------------------------------------------------------------------------------------


def sending(words: str, every: int, of: int = 1, service: str = "pay") -> Alter:
    """Every so many windows, `of` requests of the service send something."""

    def alter(half: RoleWindow, at: int) -> RoleWindow:
        def change(o: OperationCounts) -> OperationCounts:
            mine = o.operation.service == service and o.operation.kind == "Server" and at % every == 0
            return replace(o, masked={words: min(of * UNIT, o.requests)}) if mine else o

        return with_operations(half, change)

    return alter


def test_live_a_few_occurrences_suffice() -> None:
    said, looks = Play(21).rollout(alter=sending(CARD, 1, 2), cand=20, windows=60)
    assert said.verdict is Outcome.FAIL
    (finding,) = said.findings
    assert (finding.signal, finding.service, finding.severity) == (Signal.LEAK, "pay", Severity.CRITICAL)
    assert "card in span_attribute" in finding.sentence
    assert said.causes[0].service == "pay"
    assert looks <= 20


def test_live_what_both_send_is_a_note() -> None:
    said, _ = Play(22, alter=sending(CARD, 2, 3)).rollout(windows=60, until=Outcome.FAIL)
    assert said.verdict is not Outcome.FAIL
    assert any("Both roles send sensitive data" in note and "pay server /pay: card" in note for note in said.notes)


def test_live_what_both_begin_to_send_is_a_note() -> None:
    """The reference knows nothing of it, but the baseline sends it now as well."""
    play = Play(23)
    state = open_judge(play.reference(), Objectives())
    leak = sending(CARD, 1, 3)
    for t in range(60):
        state = look(state, Window(BEFORE + t, leak(play.half(75), t), leak(play.half(50), t)), Proxied(75, 50))
    said = judgement(state)
    assert said.verdict is not Outcome.FAIL
    assert any("Both roles send" in note for note in said.notes)


def test_live_more_of_what_the_baseline_sends_is_found() -> None:
    said, _ = Play(24, alter=sending(CARD, 4, 1)).rollout(alter=sending(CARD, 1, 20), windows=60)
    assert said.verdict is Outcome.FAIL
    assert [f.signal for f in said.findings] == [Signal.LEAK_MORE]


def test_live_a_new_operation_that_leaks_is_found() -> None:
    new = Operation("front", "Server", "/v2/pay")

    def paying(half: RoleWindow, _at: int) -> RoleWindow:
        more = next(replace(o, operation=new, masked={CARD: 5 * UNIT}, instance="c") for o in half.operations)
        return replace(half, operations=tuple(sorted((*half.operations, more), key=lambda o: (o.operation, o.instance))))

    said, looks = Play(25).rollout(alter=paying)
    assert said.verdict is Outcome.FAIL
    assert [(f.signal, f.operation, f.severity) for f in said.findings] == [(Signal.NEW_OPERATION_LEAKS, new, Severity.CRITICAL)]
    assert "card in span_attribute" in said.findings[0].sentence
    assert looks <= 25


def test_live_a_plan_may_tolerate_it_for_one_operation() -> None:
    tolerant = Objectives(operations=(OperationPolicy("pay server *", Policy(tolerated_leaks={"card": "test cards only"})),))
    said, _ = Play(26).rollout(alter=sending(CARD, 1, 5), objectives=tolerant, windows=50)
    assert said.findings == ()
    said, _ = Play(26).rollout(alter=sending(CARD, 1, 5, service="cart"), objectives=tolerant, windows=50)
    assert [f.signal for f in said.findings] == [Signal.LEAK]


# -- error rates ------------------------------------------------------------------------------------------------------------


def drawn(rng: np.random.Generator, share: float, words: str = CARD) -> Callable[[OperationCounts], OperationCounts]:
    def change(o: OperationCounts) -> OperationCounts:
        k = int(rng.binomial(o.requests // UNIT, share))
        return replace(o, masked={words: k * UNIT}) if k else o

    return change


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.005, 0.2])
def test_an_unchanged_candidate_does_not_fail_for_what_both_send(share: float) -> None:
    """Twenty live rollouts of which the baseline leaks as much as the candidate; at alpha .01 none is expected to fail."""
    failed = 0
    for seed in range(20):
        play, rng = Play(100 + seed), np.random.default_rng(seed)
        change = drawn(rng, share)
        play.alter = lambda half, _at, change=change: with_operations(half, change)  # type: ignore[misc]
        said, _ = play.rollout(windows=40)
        failed += said.verdict is Outcome.FAIL
    assert failed <= 1


@pytest.mark.parametrize("share", [0.0005, 0.005, 0.2])
def test_recordings_that_leak_alike_do_not_fail(share: float) -> None:
    failed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        change = drawn(rng, share)
        window = half(row(n=500), row(BANK, n=80), traces=500)
        pairs = tuple(Window(10 * t, with_operations(window, change), with_operations(window, change)) for t in range(20))
        failed += judge(Windows(10, pairs), POLICY).verdict is Outcome.FAIL
        first = tuple(Window(w.start_unix_s, baseline=w.baseline) for w in pairs)
        apart = first + tuple(Window(200 + w.start_unix_s, candidate=w.candidate) for w in pairs)
        failed += judge(Windows(10, apart), POLICY).verdict is Outcome.FAIL
    assert failed <= 2
