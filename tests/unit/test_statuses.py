"""The status document: what is measured beside the verdict, and what a document of another version of the guard is read as."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.rollout_world import World
from tests.unit.test_driver import Rollout
from tests.virtual import run

from verdigris.judge.verdict import Effect, Evidence, Finding, Severity, Signal
from verdigris.judge.windows import Operation
from verdigris.rollout.records import Records
from verdigris.rollout.status import RolloutStatus
from verdigris.rollout.statuses import began_unix_s, finding_status, read_status, status_text
from verdigris.rollout.transitions import Phase
from verdigris.sensitive.findings import Leak
from verdigris.traffic.data_plane import Split


class TellsItsTime(World):
    """A world whose proxy has a clock of its own."""

    async def observe(self) -> Split | None:
        split = await super().observe()
        return split and replace(split, clock_offset_s=-0.25)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    kept = Records(f"sqlite:///{tmp_path / 'rollouts.sqlite'}")
    yield kept
    kept.close()


def while_watching(world: World, records: Records) -> tuple[RolloutStatus, RolloutStatus]:
    """The status in the first step, and the published one."""

    async def main() -> tuple[RolloutStatus, RolloutStatus]:
        rollout = Rollout(world, records)
        async with rollout.driver.running(), asyncio.timeout(1_000):
            await rollout.until(Phase.WATCHING)
            return rollout.driver.status(), read_status(records.load(rollout.id).status or "")

    return run(main())


def test_the_proxys_clock_is_shown_where_it_tells_its_time(records: Records) -> None:
    assert [status.proxy_clock_offset_s for status in while_watching(TellsItsTime(), records)] == [-0.25, -0.25]


def test_of_a_proxy_that_does_not_tell_its_time_nothing_is_said(records: Records) -> None:
    assert [status.proxy_clock_offset_s for status in while_watching(World(), records)] == [None, None]


def test_a_document_of_an_older_version_can_be_read(records: Records) -> None:
    status, _ = while_watching(TellsItsTime(), records)
    older = json.loads(status_text(status))
    for added in ("proxy_clock_offset_s", "cannot_resume"):
        del older[added]
    assert read_status(json.dumps(older)) == replace(status, proxy_clock_offset_s=None)


def test_a_finding_of_what_is_sent_shows_it_as_the_process_around_has_seen_it() -> None:
    operation = Operation("pay", "Server", "/pay")
    effect, evidence = Effect("share", "share", 0.0, 0.1, None, None), Evidence(9.0, 8.0, 10, 10)
    finding = Finding(
        "f1", Signal.LEAK, Severity.CRITICAL, "pay", operation, None, effect, evidence, "sent",
        leaks=("card@span_attribute", "email@span_name"),
    )  # fmt: skip
    asked: list[tuple[str, Operation]] = []

    def seen(word: str, of: Operation) -> Leak:
        asked.append((word, of))
        return Leak(word, "", (), ())

    status = finding_status(finding, seen)
    assert asked == [("card@span_attribute", operation), ("email@span_name", operation)]
    assert [leak.detector for leak in status.leaks] == ["card@span_attribute", "email@span_name"]
    assert finding_status(replace(finding, operation=None), seen).leaks == ()


def test_an_id_says_when_the_rollout_began() -> None:
    assert began_unix_s("20260921-135920-3f2a") == 1_789_999_160.0
    assert began_unix_s("0001-scripted") == 0.0
