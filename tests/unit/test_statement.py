"""What an entry may say, and in which bytes."""

import base64
import dataclasses
import json
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.ledger_keys import signer

from verdigris.judge.verdict import Outcome as Verdict
from verdigris.judge.verdict import Severity, Signal
from verdigris.ledger.entry_kinds import EVENTS, KINDS, PHASES, SEVERITIES, SIGNALS, VERDICTS, Field, Kind, Type
from verdigris.ledger.statement import Actor, ActorKind, Clock, InvalidEntry, Outcome, Statement, key_id, opened, signed
from verdigris.rollout.transitions import Event, Phase
from verdigris.times import rfc3339

D = "ab" * 32
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


def value_of(spec: Field) -> st.SearchStrategy[Any]:
    made: st.SearchStrategy[Any] = {
        Type.COUNT: st.integers(0, 2**53 - 1),
        Type.NUMBER: st.floats(-1e9, 1e9) | st.integers(-100, 100),
        Type.FLAG: st.booleans(),
        Type.DIGEST: DIGESTS,
        Type.DIGESTS: st.lists(DIGESTS, max_size=3).map(tuple),
        Type.VERSION: st.sampled_from(["1", "0.1.0", "12.0.3.4"]),
        Type.WORD: st.sampled_from(spec.words or ("",)),
    }[spec.type]
    return made | st.none() if spec.none else made


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    kind = draw(st.sampled_from(Kind))
    of_rollout = draw(st.booleans())
    return Statement(
        kind=kind, rollout="20261125-130000-ab12" if of_rollout else None, sequence=draw(st.integers(1, 10**6)),
        actor=Actor(draw(st.sampled_from(ActorKind)), draw(DIGESTS)), unix_nano=draw(st.integers(0, 2**61)),
        clock=Clock(draw(st.booleans()), draw(st.none() | st.integers(0, 10**6))), outcome=draw(st.sampled_from(Outcome)),
        plan=draw(DIGESTS) if of_rollout else None, based_on=tuple(draw(st.lists(DIGESTS, max_size=3))),
        details=draw(st.none() | DIGESTS), late=draw(st.booleans()),
        values={name: draw(value_of(spec)) for name, spec in KINDS[kind].items() if spec.required or draw(st.booleans())},
    )  # fmt: skip


@given(statements())
def test_entries_are_read_as_they_were_written(statement: Statement) -> None:
    entry = signed(statement, [signer()])
    again, by = opened(entry, [signer().key])
    assert (again, by) == (statement, (signer().key,))
    assert rfc8785.dumps(json.loads(entry)) == entry
    payload = json.loads(base64.b64decode(json.loads(entry)["payload"]))
    assert payload["_type"] == "https://in-toto.io/Statement/v1"
    assert payload["predicateType"] == f"https://verdigris.dev/ledger/{statement.kind.value}/v1"


@given(statements(), st.data())
def test_a_flipped_bit_is_refused(statement: Statement, data: st.DataObject) -> None:
    entry = bytearray(signed(statement, [signer()]))
    bit = data.draw(st.integers(0, 8 * len(entry) - 1))
    entry[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidEntry):
        opened(bytes(entry), [signer().key])


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    for read in (Statement.from_payload, lambda b: opened(b, [signer().key])):
        with pytest.raises(InvalidEntry):
            read(content)


ONE = Statement(
    Kind.ROLLOUT_ENDED, "20261125-130000-ab12", 7, Actor(ActorKind.GUARD, D), 1_790_000_000_123_456_789, Clock(synchronised=True),
    Outcome.DONE, plan=D, values={"phase": "committed"},
)  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": True},
        {"sequence": 1.5},
        {"sequence": 0},
        {"late": "4111 1111 1111 1111"},
        {"clock": Clock("yes")},  # type: ignore[arg-type]
        {"clock": Clock(synchronised=True, error_ms="much")},  # type: ignore[arg-type]
        {"details": "jane"},
        {"based_on": ("jane",)},
        {"plan": None},
        {"rollout": "jane.doe"},
        {"rollout": None},
        {"actor": Actor(ActorKind.PERSON, "jane")},
        {"values": {"phase": "jane"}},
        {"values": {}},
        {"values": {"phase": "committed", "note": "jane"}},
        {"based_on": (D,) * 201},
        {"unix_nano": -1},
    ],
    ids=str,
)
def test_there_is_no_place_for_what_somebody_wrote(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidEntry):
        dataclasses.replace(ONE, **changes)


RIGHT = {Type.COUNT: 1, Type.NUMBER: 1.5, Type.FLAG: True, Type.DIGEST: D, Type.DIGESTS: (D,), Type.VERSION: "1.0"}


def test_every_kind_refuses_every_other_value() -> None:
    for kind, fields in KINDS.items():
        right: dict[str, Any] = {name: RIGHT.get(spec.type, (spec.words or ("",))[0]) for name, spec in fields.items()}
        good = dataclasses.replace(ONE, kind=kind, values=right)
        for name in fields:
            for wrong in ("jane", math.nan, math.inf, 2**53, b"x", [D], {"a": 1}, -(2**60)):
                changed: dict[str, Any] = {**right, name: wrong}
                with pytest.raises(InvalidEntry):
                    dataclasses.replace(good, values=changed)


def test_what_nobody_signed_is_not_in_an_envelope() -> None:
    document = json.loads(signed(ONE, [signer()]))
    one = document["signatures"][0]
    for changed in (
        {**document, "note": "jane"},
        {**document, "signatures": [{**one, "note": "jane"}]},
        {**document, "signatures": [one, one]},
        {**document, "signatures": []},
        {**document, "signatures": [{**one, "keyid": []}]},
        {**document, "signatures": [{**one, "keyid": key_id(signer(2).key)}]},
        {**document, "payloadType": "text/plain"},
    ):
        with pytest.raises(InvalidEntry):
            opened(rfc8785.dumps(changed), [signer().key, signer(2).key])
    with pytest.raises(InvalidEntry):
        opened(json.dumps(document, indent=1).encode(), [signer().key])


def test_the_lists_of_words_are_the_programs_own() -> None:
    assert [p.value for p in Phase] == sorted(PHASES, key=[p.value for p in Phase].index)
    assert {e.value for e in Event} == set(EVENTS)
    assert {s.value for s in Signal} == set(SIGNALS)
    assert {s.value for s in Severity} == set(SEVERITIES)
    assert {v.value for v in Verdict} == set(VERDICTS)


def test_times_have_nanoseconds() -> None:
    assert rfc3339(1_790_000_000_123_456_789) == "2026-09-21T14:13:20.123456789Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
