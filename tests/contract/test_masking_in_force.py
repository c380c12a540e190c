"""What a whole guard masks: its settings, and what plans bring along, from before their rollouts begin; and what it records."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.clients.receiving import WAYS, Span, as_json, sending, until
from tests.unit.test_plan_document import SHORT

from verdigris import _native
from verdigris.judge.windows import Operation
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.statement import Statement
from verdigris.plan.detectors import OwnDetector
from verdigris.plan.document import load_plan
from verdigris.rollout.position import Position
from verdigris.rollout.records import Records
from verdigris.rollout.status import RolloutError
from verdigris.rollout.surroundings import CannotMask
from verdigris.rollout.transitions import Event
from verdigris.server.guard import Guard, open_guard
from verdigris.server.masking import MaskingInForce, SeenLeaks
from verdigris.server.settings import GuardSettings, parse_settings
from verdigris.telemetry.receiver.listeners import Addresses

DAY_S = 86_400.0
NOW = 1_790_000_000.0
CASE, TICKET = OwnDetector("case_number", "CASE-[0-9]{8}"), OwnDetector("ticket", "TICKET-[0-9]{4}", ("note",))
TEXT = "see CASE-00000018 and TICKET-4711"
MASKING = """
state_folder: state
masking:
  detectors: [{name: ticket, pattern: 'TICKET-[0-9]{4}'}]
  allow: [{detector: email, key: support.mailbox, reason: a public address}]
"""


def plan_with(*detectors: OwnDetector, name: str = "Faster search", subject: str = "appointments", kept: str = "365d") -> str:
    """A plan that asks nobody, with these detectors."""
    document = json.loads(load_plan(SHORT).canonical) | {"name": name, "retention": {"evidence": kept}}
    document["traffic"]["settings"]["subject"] = subject
    document["masking"] = {
        "detectors": [{"name": d.name, "pattern": d.pattern, "keys": d.keys, "treatment": d.treatment} for d in detectors]
    }
    return json.dumps(document)


@asynccontextmanager
async def guarding(folder: Path, settings: str = "state_folder: state") -> AsyncIterator[Guard]:
    read = parse_settings(settings, "guard.yaml", folder, {})
    async with open_guard(GuardSettings(folder / "state", Addresses("127.0.0.1:0", "127.0.0.1:0"), masking=read.masking)) as guard:
        yield guard


async def stored(guard: Guard, number: int, text: str = TEXT) -> str:
    """What is stored of a text that every way of sending has in a resource."""
    async with sending(guard.receiver) as client:
        for at, way in enumerate(WAYS):
            answer = await client.spans(way, [Span(number, at + 1, resource={"note": text})])
            assert answer.code in {"OK", "200"}
    rows = guard.telemetry._store._rows_of(  # type: ignore[attr-defined]
        "SELECT DISTINCT ResourceAttributes['note'] AS note FROM otel_traces WHERE TraceId = {id:String}", {"id": f"{number:032x}"}
    )
    (one,) = rows
    return str(one["note"])


def recorded(guard: Guard) -> list[tuple[Statement, dict[str, Any]]]:
    """What the ledger says is masked, with the definitions that it names."""
    records = guard.acting.records
    assert records.ledger is not None
    said = [one for _, one in records.ledger.since(0) if one.kind is Kind.MASKING_SET]
    return [(one, json.loads(records.evidence(str(one.values["masking"])) or b"")) for one in said]


def test_a_plans_detectors_hold_before_its_rollout_begins_and_after_the_guard_was_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_more(*_: object) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        async with guarding(tmp_path) as guard:
            assert await stored(guard, 1) == TEXT
            await until(lambda: len(recorded(guard)) == 1)
            await guard.control.start(plan_with(CASE), "alice")
            await until(lambda: len(recorded(guard)) == 2)
            assert await stored(guard, 2) == "see [case_number] and TICKET-4711"
            await until(lambda: len(recorded(guard)) == 2)
            (before, _), (after, definition) = recorded(guard)
            assert (before.values["detectors"], after.values["detectors"]) == (0, 1)
            assert [one["name"] for one in definition["detectors"]] == ["case_number"]
        monkeypatch.setattr(MaskingInForce, "keep", nothing_more)
        async with guarding(tmp_path) as guard:  # from before its first span on
            assert await stored(guard, 3) == "see [case_number] and TICKET-4711"

    asyncio.run(test())


def test_they_hold_as_soon_as_somebody_acts_on_the_rollout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.server.masking.REFRESH_EVERY_S", 3600.0)  # what the records say is not asked for again

    async def test() -> None:
        async with guarding(tmp_path) as guard:
            begun = await guard.control.start(plan_with(CASE), "alice")
            await until(lambda: begun.id in guard.acting.drivers)
            assert await stored(guard, 1) == "see [case_number] and TICKET-4711"

    asyncio.run(test())


def test_they_hold_beside_those_of_the_settings_whose_exceptions_are_recorded_with_their_reasons(tmp_path: Path) -> None:
    async def test() -> None:
        async with guarding(tmp_path, MASKING) as guard:
            await until(lambda: len(recorded(guard)) == 1)
            ((said, definition),) = recorded(guard)
            assert (said.values["detectors"], said.values["allowed"]) == (1, 1)
            assert definition["allow"] == [{"detector": "email", "key": "support.mailbox", "service": "*", "reason": "a public address"}]
            assert definition["hash_key"] is False
            for text, why in (
                (plan_with(OwnDetector("ticket", "T-[0-9]{4}")), "another detector has the name ticket already"),
                (plan_with(OwnDetector("case_number", "CASE-[0-9]{8}", treatment="hash")), "hash_key"),
            ):
                with pytest.raises(RolloutError, match=f"{why}.*Nothing was started"):
                    await guard.control.start(text, "alice")
            await guard.control.start(plan_with(CASE), "alice")
            await until(lambda: len(recorded(guard)) == 2)
            assert await stored(guard, 1) == "see [case_number] and [ticket]"
            assert recorded(guard)[-1][1]["allow"] == definition["allow"]

    asyncio.run(test())


def test_the_records_know_the_detectors_for_as_long_as_the_evidence_is_kept(url: str) -> None:
    with contextlib.closing(Records(url)) as records:
        for number, (own, kept) in enumerate((((CASE,), "2d"), ((TICKET, CASE), "365d"), ((), "365d"))):
            plan = load_plan(plan_with(*own, name=f"plan {number}", subject=f"s{number}", kept=kept))
            rollout_id = records.submit(plan, str(number), "ann", "g1", NOW + number)
            claim = records.claim(rollout_id, "g1", 60.0)
            assert claim is not None
            position = Position(since_unix_s=NOW)
            for event in (Event.BEGUN, Event.RETURN_ASKED, Event.BASELINE_IN_FORCE):
                if number == 0:
                    position = position.moved(event, "because", NOW)
                    records.move(claim, position, event, "ann")
        assert records.own_detectors(NOW + DAY_S) == (CASE, TICKET)
        assert records.own_detectors(NOW + 3 * DAY_S) == (TICKET, CASE)


def test_a_name_that_two_guards_gave_to_two_things_is_no_way_around_either() -> None:
    """Each guard takes a plan whose names are new to it; the other one then has both."""
    in_force: list[_native.Masking] = []
    masking = MaskingInForce("{}", in_force.append)
    other = OwnDetector("case_number", "CASE/[0-9]{8}")
    for own in (CASE, other):
        masking.include(load_plan(plan_with(own)))
    (treated,) = in_force[-1].treat(["CASE-00000018 CASE/00000018"])
    assert treated is not None
    assert treated.text == "[case_number] [case_number_2]"
    assert masking.why_not(load_plan(plan_with(other))) is not None


def test_what_is_put_in_force_while_the_records_are_read_stays() -> None:
    masking = MaskingInForce("{}", lambda _: None)

    class Records:
        """Read just before a plan was submitted."""

        def own_detectors(self, _: float) -> tuple[OwnDetector, ...]:
            masking.include(load_plan(plan_with(CASE)))
            return ()

    asyncio.run(masking.load(Records(), NOW))  # type: ignore[arg-type]
    assert masking.why_not(load_plan(plan_with(replace(CASE, pattern="CASE/[0-9]{8}")))) is not None


def test_more_than_the_decoder_takes_is_refused_and_what_was_masked_is_masked() -> None:
    in_force: list[_native.Masking] = []
    masking = MaskingInForce("{}", in_force.append)
    for plan in range(4):
        masking.include(load_plan(plan_with(*(OwnDetector(f"d{plan}_{n}", f"{plan}:{n}") for n in range(16)))))
    one_more = load_plan(plan_with(CASE))
    assert "more than 64" in str(masking.why_not(one_more))
    with pytest.raises(CannotMask, match="what was masked before is masked"):
        masking.include(one_more)
    assert len(in_force) == 4


def test_a_leak_is_shown_as_it_looked_masked() -> None:
    decoded = _native.decode(as_json([Span(1, resource={"note": "4111111111111111"})]), format="json")
    seen = SeenLeaks()
    seen.add(decoded.findings, decoded.findings_uncounted)
    leak = seen.leak("card@resource", Operation("cart", "Server", "work"))
    assert leak.samples == ("411111******1111",)
    assert "PCI-DSS-4.0.1:3.4.1" in leak.standards
    assert seen.leak("email@resource", Operation("cart", "Server", "work")).samples == ()
    # Windows call an operation otherwise than its spans where a number is in its name.
    named = _native.decode(as_json([Span(1)]).replace(b'"work"', b'"pay 7 with jane@example.com"'), format="json")
    seen.add(named.findings, named.findings_uncounted)
    assert seen.leak("email@span_name", Operation("cart", "Server", "pay {n} with [email]")).samples == ("[email]",)
    assert seen.leak("email@span_name", Operation("other", "Server", "pay {n} with [email]")).samples == ()
