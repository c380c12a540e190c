"""The published JSON Schema of entries: every entry of real rollouts is by it, and what the writer and the verifier refuse is not."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.audit_logs import ROLLOUT, digest, statement
from tests.unit.rollout_world import World, behaving
from tests.unit.test_audit_verify import WRONG, changed, sample, told_payload
from tests.unit.test_driver import SHORT, Rollout, rolled_out
from tests.unit.test_rollout_ledger import Kept

from verdigris.audit.verify import Refused, read_statement
from verdigris.cli.schema import Document, schema_text
from verdigris.ledger.entry_kinds import KINDS, Kind
from verdigris.ledger.entry_schema import MEANINGS, json_schema
from verdigris.ledger.statement import InvalidEntry, Statement
from verdigris.rollout.transitions import Phase

PUBLISHED = Path(__file__).parents[2] / "docs/record.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
NOT_IN_A_CALENDAR = "2026-02-30T12:00:00.000000000Z"


def test_the_published_schema_is_the_one_of_the_kinds() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(Document.RECORD), "run: make docs"
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_every_kind_has_a_definition_and_a_meaning() -> None:
    definitions = json_schema()["$defs"]
    assert set(MEANINGS) == set(KINDS) == set(Kind)
    for kind, fields in KINDS.items():
        values = definitions[kind.value]["properties"]["predicate"]["properties"]["values"]
        assert set(values["properties"]) == set(fields)
        assert set(values["required"]) == {name for name, spec in fields.items() if spec.required}


def test_every_entry_of_real_rollouts_is_by_the_schema(tmp_path: Path) -> None:
    seen: set[Kind] = set()

    for name, world, asks in (
        ("good", World(), False),
        ("bad", World(candidate=behaving(failed=0.05)), False),
        ("asked", World(), True),
    ):
        (tmp_path / name).mkdir()
        kept = Kept(tmp_path / name)
        rolled_out(world, kept.records, SHORT, *([asking(world, kept)] if asks else []))
        for said in kept.statements():
            VALIDATOR.validate(json.loads(said.payload()))
            seen.add(said.kind)
        kept.records.close()
    assert seen >= {
        Kind.PLAN_SUBMITTED, Kind.PREFLIGHT_CHECK, Kind.PHASE, Kind.WEIGHT_INTENDED, Kind.WEIGHT_OBSERVED, Kind.REFERENCE, Kind.VERDICT,
        Kind.FINDING, Kind.REQUEST, Kind.ROLLBACK_INTENDED, Kind.ROLLBACK_OBSERVED, Kind.COMMIT_INTENDED, Kind.COMMIT_OBSERVED,
        Kind.ROLLOUT_ENDED,
    }  # fmt: skip


def asking(world: World, kept: Kept) -> Callable[[Rollout], Awaitable[None]]:
    async def asks(rollout: Rollout) -> None:
        await world.when(lambda: rollout.driver.position.phase is Phase.WATCHING, lambda: None)
        kept.records.ask(rollout.id, "abort", "ann", "enough", world.clock.now_unix_s())

    return asks


@pytest.mark.parametrize("kind", Kind)
def test_an_entry_of_every_kind_is_by_the_schema(kind: Kind) -> None:
    values = {name: sample(spec) for name, spec in KINDS[kind].items()}
    for rollout in (ROLLOUT, None):
        written = statement(kind, 3, rollout, values, details=digest("details"), based_on=(digest("a"), digest("b")), late=True)
        VALIDATOR.validate(json.loads(written.payload()))
    for name, spec in KINDS[kind].items():
        for other in (None, "words of somebody", -1, [1], {"a": 1}):
            document = json.loads(statement(kind, 3, ROLLOUT, values).payload())
            document["predicate"]["values"][name] = other
            assert VALIDATOR.is_valid(document) == (other is None and spec.none) or (other == -1 and spec.type.value == "number")


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[f"{path}={str(value)[:30]!r}" for path, value in WRONG])
def test_what_no_entry_may_say_is_not_by_the_schema(path: str, value: Any) -> None:
    assert VALIDATOR.is_valid(json.loads(changed(path, value))) == (value == NOT_IN_A_CALENDAR)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**53 - 1) | st.floats(-1e6, 1e6) | st.text(max_size=5) | st.just(digest("x")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)
PATHS = sorted({path for path, _ in WRONG})


@given(st.sampled_from(PATHS), JSON)
def test_schema_writer_and_verifier_agree_on_any_value(path: str, value: Any) -> None:
    VALIDATOR.validate(json.loads(told_payload()))
    payload = changed(path, value)
    accepted = VALIDATOR.is_valid(json.loads(payload))
    assert (accepted, accepted) == (read(read_statement, payload), read(Statement.from_payload, payload))


def read(reading: Callable[[bytes], object], payload: bytes) -> bool:
    try:
        reading(payload)
    except (Refused, InvalidEntry):
        return False
    return True
