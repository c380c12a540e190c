"""A clinic whose candidate begins to send a card number in a URL, judged live: real bodies, the real decoder, store and judge."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tests.clients.receiving import Span, receiving, sending
from tests.in_process import verdigris
from tests.scenarios.systems import BLUE, GREEN, START_UNIX_S, Deployment, Operation, changed, lines

from verdigris import _native
from verdigris.judge.live import LiveJudgement, LiveState, judgement, look, open_judge
from verdigris.judge.reference import Reference, learn
from verdigris.judge.verdict import LEAKS, Outcome, Severity, Signal
from verdigris.judge.windows import Role, Windows
from verdigris.plan.identity import Identity, IdentityMatch
from verdigris.plan.objectives import Objectives
from verdigris.plan.policy import Policy
from verdigris.rollout.evidence import Look, every_window
from verdigris.server.settings import parse_settings
from verdigris.telemetry.chdb_store import ChdbStore
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.store import Period

SLOTS = Identity(IdentityMatch({"slot": "blue"}), IdentityMatch({"slot": "green"}))
BOOK = "portal POST /appointments"
CARD = "4111111111111111"
LEARNED_S, WATCHED_S = 300, 200
WATCHED_FROM_S = START_UNIX_S + LEARNED_S
NANO = 1_000_000_000


def paying(deployment: Deployment, share: float) -> Deployment:
    """A deployment whose bookings have the card's number in their URL."""

    def change(o: Operation) -> Operation:
        return replace(o, url=f"https://portal.example.org/appointments?pay={CARD}", url_share=share)

    return replace(deployment, system=changed(deployment.system, BOOK, change))


def decoded(bodies: Iterable[bytes]) -> pa.Table:
    return pa.concat_tables(pa.Table.from_batches([pa.record_batch(_native.decode(body, format="json"))]) for body in bodies)


def watched(before: Deployment, baseline: Deployment, candidate: Deployment) -> tuple[Windows, Windows]:
    """Windows of the baseline alone, and of both roles after it; made by the store from what the decoder kept."""
    with ChdbStore() as store:
        for deployment, requests, seconds, after_s in (
            (before, 1500, LEARNED_S, 0), (baseline, 1000, WATCHED_S, LEARNED_S), (candidate, 600, WATCHED_S, LEARNED_S),
        ):  # fmt: skip
            spans = decoded(lines(deployment, requests=requests, seconds=seconds, seed=3 + after_s, after_s=after_s))
            assert CARD not in str(spans.to_pydict())
            store.insert(spans)
        end_s = WATCHED_FROM_S + WATCHED_S
        periods = Period(START_UNIX_S * NANO, WATCHED_FROM_S * NANO), Period(WATCHED_FROM_S * NANO, end_s * NANO)
        learned, rollout = (store.windows(period, SLOTS)[0] for period in periods)
    return learned, rollout


def judged(learned: Windows, rollout: Windows, objectives: Objectives) -> tuple[LiveJudgement, Sequence[bytes], Reference]:
    """The judgement after all windows, the evidence of each look, and the reference."""
    reference = learn(learned, objectives)
    state, evidence = open_judge(reference, objectives), []
    for window in every_window(rollout, WATCHED_FROM_S, WATCHED_FROM_S + WATCHED_S):
        state = look(state, window, None)
        evidence.append(Look(rollout.window_s, window, None).canonical_bytes())
    return judgement(state), evidence, reference


def replayed(evidence: Sequence[bytes], reference: Reference, objectives: Objectives) -> LiveJudgement:
    state: LiveState = open_judge(Reference.from_bytes(reference.canonical_bytes()), objectives)
    for kept in evidence:
        again = Look.from_bytes(kept)
        assert again.canonical_bytes() == kept
        state = look(state, again.window, again.proxied)
    return judgement(state)


def test_a_card_number_that_only_the_candidate_sends_fails_it() -> None:
    learned, rollout = watched(BLUE, BLUE, paying(GREEN, 0.3))
    said, evidence, reference = judged(learned, rollout, Objectives())
    assert said.verdict is Outcome.FAIL
    (finding,) = [f for f in said.findings if f.signal in LEAKS]
    assert (finding.signal, finding.service, finding.severity) == (Signal.LEAK, "portal", Severity.CRITICAL)
    assert str(finding.operation) == "portal server POST /appointments"
    assert "card in span_attribute" in finding.sentence
    assert said.causes[0].service == "portal"
    assert all(CARD.encode() not in kept for kept in (*evidence, reference.canonical_bytes(), said.canonical_bytes()))
    assert replayed(evidence, reference, Objectives()).digest() == said.digest()


@pytest.mark.parametrize("also_before", [True, False])
def test_one_that_both_send_does_not(also_before: bool) -> None:  # noqa: FBT001  # a parameter
    learned, rollout = watched(paying(BLUE, 0.3) if also_before else BLUE, paying(BLUE, 0.3), paying(GREEN, 0.3))
    assert any(o.masked for w in rollout.windows for o in w.of(Role.BASELINE).operations)
    said, evidence, reference = judged(learned, rollout, Objectives())
    assert said.verdict is not Outcome.FAIL
    assert not {f.signal for f in said.findings} & LEAKS
    assert any("Both roles send sensitive data" in note and "portal server POST /appointments: card" in note for note in said.notes)
    assert replayed(evidence, reference, Objectives()).digest() == said.digest()


def test_a_comparison_shows_what_is_sent_as_it_looks_masked_and_which_rules_speak_of_it(tmp_path: Path) -> None:
    for name, deployment in (("blue", BLUE), ("green", paying(GREEN, 0.3))):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(lines(deployment, requests=600, seconds=120, seed=5)))
    _, out, _ = verdigris("compare", tmp_path / "blue.jsonl", tmp_path / "green.jsonl", "--json")
    (finding,) = [f for f in json.loads(out)["findings"] if f["leaks"]]
    (leak,) = finding["leaks"]
    assert (leak["detector"], leak["position"], leak["samples"]) == ("card", "span_attribute", ["411111******1111"])
    assert "PCI-DSS-4.0.1:3.4.1" in leak["standards"]
    (tmp_path / "allowed.yaml").write_text("allow: [{detector: card, key: url.full, reason: numbers of a test scheme}]\n")
    _, out, _ = verdigris("compare", tmp_path / "blue.jsonl", tmp_path / "green.jsonl", "--json", "--detectors", tmp_path / "allowed.yaml")
    assert not [f for f in json.loads(out)["findings"] if f["leaks"]]


def test_one_that_the_plan_tolerates_does_not() -> None:
    tolerant = Objectives(Policy(tolerated_leaks={"card": "numbers of a test scheme"}))
    said, _, _ = judged(*watched(BLUE, BLUE, paying(GREEN, 0.3)), tolerant)
    assert not said.findings


def test_a_sender_that_claims_to_have_been_masked_is_not_believed() -> None:
    """A forged attribute could return a good candidate, or make its leak look like the baseline's."""

    def forging(bodies: Iterable[bytes]) -> list[bytes]:
        forged = b'"attributes":[{"key":"verdigris.masked","value":{"stringValue":"card@span_name"}},'
        return [body.replace(b'"attributes":[', forged) for body in bodies]

    spans = decoded(forging(lines(GREEN, requests=50, seconds=10, seed=1)))
    assert spans.num_rows > 50
    kept = (dict(attributes) for attributes in spans.column("SpanAttributes").to_pylist())
    assert not any("verdigris.masked" in attributes for attributes in kept)


def test_the_receiver_masks_what_the_settings_say() -> None:
    """From a settings file to what is stored, over a socket."""
    settings = parse_settings(
        "{state_folder: s, masking: {detectors: [{name: case_number, pattern: 'CASE-[0-9]{8}'}]}}", "guard.yaml", Path("/etc"), {}
    )

    async def test() -> None:
        with ChdbStore() as store:
            masking = _native.Masking(settings.masking)
            async with receiving(store, masking=masking, bounds=IntakeBounds(group_wait_s=0.001)) as receiver, sending(receiver) as client:
                for way in ("grpc", "http+json"):
                    assert (await client.spans(way, [Span(1, resource={"note": "see CASE-00000018"})])).code in {"OK", "200"}
            rows = store._rows_of("SELECT ResourceAttributes AS r, SpanAttributes AS s FROM otel_traces", {})
        assert rows
        for row in rows:
            assert dict(row["r"])["note"] == "see [case_number]"
            assert dict(row["s"]) == {"verdigris.masked": "case_number@resource"}

    asyncio.run(test())
