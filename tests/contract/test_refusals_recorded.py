"""Spans that a sender may not send, in a whole guard: refused, and recorded with who, why and how many; nothing twice, nothing lost."""

import asyncio
import collections
import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.clients.receiving import WAYS, Sending, Span, sending, until
from tests.contract.test_receiver_senders import BOTH, token

from verdigris.ledger.statement import Statement
from verdigris.ledger.storage import LedgerUnavailable
from verdigris.rollout.records import RecordsUnavailable
from verdigris.server.guard import Guard, open_guard
from verdigris.server.settings import GuardSettings
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.intake import NOT_ITS_ENVIRONMENT
from verdigris.telemetry.receiver.listeners import Addresses

EVERY_S = 0.1
EXPORTS = 60
BLUE, GREEN = "blue's collector", "green's"
GREENS = {"deployment.environment.name": "green-1"}

Counts = collections.Counter[tuple[str, str]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.server.guard.REFUSALS_EVERY_S", EVERY_S)
    monkeypatch.setattr("verdigris.server.guard.ENTER_EVERY_S", EVERY_S)


@asynccontextmanager
async def guarding(folder: Path) -> AsyncIterator[tuple[Guard, list[Sending]]]:
    """A guard that knows two senders, and four connections to it."""
    bounds = replace(IntakeBounds(), decoders=4, group_wait_s=0.001)
    settings = GuardSettings(folder / "state", Addresses("127.0.0.1:0", "127.0.0.1:0"), senders=BOTH, intake=bounds)
    async with open_guard(settings) as guard, AsyncExitStack() as stack:
        yield guard, [await stack.enter_async_context(sending(guard.receiver)) for _ in range(4)]


async def some_are_refused(clients: list[Sending]) -> Counts:
    """Many exports at once, of both senders, with own and others’ spans and impossible ids. Returns what must be recorded."""

    async def export(number: int) -> Counts:
        sender, secret, own = ((BLUE, "blue", Span(1)), (GREEN, "green", Span(2, version="v2", resource=GREENS)))[number % 2]
        others, impossible = 1 + number % 3, number % 2
        spans = [own, *(Span(3, version="v3") for _ in range(others)), *(Span(0) for _ in range(impossible))]
        answer = await clients[number % len(clients)].spans(WAYS[number % len(WAYS)], spans, headers=token(secret))
        assert (answer.code, answer.refused) == ("OK", others + impossible)
        return Counts({(sender, NOT_ITS_ENVIRONMENT): others, (sender, "trace_id_zero"): impossible})

    return sum(await asyncio.gather(*(export(number) for number in range(EXPORTS))), Counts())


def entries(guard: Guard) -> list[dict[str, Any]]:
    while True:
        with contextlib.suppress(RecordsUnavailable):  # the guard writes too
            return [data for _, kind, _, data in guard.acting.records.guard_journal() if kind == "telemetry.refused"]


def recorded(guard: Guard) -> Counts:
    found = Counts()
    for data in entries(guard):
        found[data["sender"], data["reason"]] += data["spans"]
    return found


def entered(guard: Guard) -> int:
    """How many spans the ledger says were refused."""
    ledger = guard.acting.records.ledger
    assert ledger is not None
    return sum(int(str(s.values["spans"])) for _, s in ledger.since(0) if s.kind.value == "telemetry.refused")


async def is_recorded(guard: Guard, refused: Counts) -> None:
    """All of it, once; and it stays so."""
    await until(lambda: recorded(guard).total() >= refused.total())
    await asyncio.sleep(10 * EVERY_S)
    assert recorded(guard) == refused == Counts(guard.receiver.intake.health().refused_by_sender)
    await until(lambda: entered(guard) == refused.total())


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(100):
            await test

    asyncio.run(bounded())


def test_what_was_refused_is_recorded_with_who_why_and_how_many(tmp_path: Path) -> None:
    async def test() -> None:
        async with guarding(tmp_path) as (guard, clients):
            refused = Counts()
            for _ in range(3):
                refused += await some_are_refused(clients)
            await is_recorded(guard, refused)
            [example, *_] = [data["example"] for data in entries(guard) if data["reason"] == NOT_ITS_ENVIRONMENT]
            assert example == "service.name=cart,service.version=v3"
            assert len(entries(guard)) < EXPORTS, "a sender that does everything wrong must not fill the journal"

    run(test())


def test_records_that_do_not_answer_for_a_moment_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.database.BUSY_WAIT_S", 1.0)

    async def test() -> None:
        async with guarding(tmp_path) as (guard, clients):
            with sqlite3.connect(tmp_path / "state" / "rollouts.sqlite", isolation_level=None) as other:
                other.execute("BEGIN IMMEDIATE")
                refused = await some_are_refused(clients)
                await asyncio.sleep(2.5)  # an attempt or two
                refused += await some_are_refused(clients)
                await asyncio.sleep(1.5)
                other.execute("ROLLBACK")
            other.close()
            await is_recorded(guard, refused)

    run(test())


def test_a_ledger_that_does_not_answer_for_a_moment_makes_nothing_be_recorded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with guarding(tmp_path) as (guard, clients):
            ledger = guard.acting.records.ledger
            assert ledger is not None
            enter, failing = ledger.enter, itertools.count()

            def fails(statements: list[Statement]) -> int:
                if next(failing) < 5:
                    msg = "no answer"
                    raise LedgerUnavailable(msg)
                return enter(statements)

            monkeypatch.setattr(ledger, "enter", fails)
            refused = await some_are_refused(clients)
            await is_recorded(guard, refused)
            assert next(failing) > 5

    run(test())


def test_what_was_refused_just_before_the_guard_stopped_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdigris.server.guard.REFUSALS_EVERY_S", 600.0)

    async def test() -> None:
        async with guarding(tmp_path) as (_, clients):
            refused = await some_are_refused(clients)
        monkeypatch.setattr("verdigris.server.guard.REFUSALS_EVERY_S", EVERY_S)
        async with guarding(tmp_path) as (guard, _):
            assert recorded(guard) == refused

    run(test())
