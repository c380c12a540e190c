"""The picture of a rollout: what it says, that it fits, and that no name from telemetry can do anything to a terminal."""

import io
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from verdigris.cli.listing import journal, listing
from verdigris.cli.watch import changes, duration, percent_text, picture, render, share_text
from verdigris.judge.verdict import Outcome
from verdigris.rollout.status import (
    EvidenceStatus,
    FindingStatus,
    MissingStatus,
    RoleStatus,
    RolloutEvent,
    RolloutStatus,
    StepStatus,
)
from verdigris.rollout.transitions import TERMINAL, Phase
from verdigris.sensitive.findings import Leak

NOW = 1_790_000_000.0
STATUS = RolloutStatus(
    id="20260921-135920-3f2a", name="payments 2.4 to 2.5", plan_digest="9c1f00aa" * 8, phase=Phase.WATCHING, phase_since_unix_s=NOW - 130,
    started_unix_s=NOW - 840, ended_unix_s=None, steps=(StepStatus(5, "done"), StepStatus(25, "now"), StepStatus(50, "to come")),
    intended_percent=25, observed_percent=24.97, lease_s=10.0, generation=17, guard="guard-a",
    baseline=RoleStatus("blue", 12_345, 12, 12_301), candidate=RoleStatus("green", 4_102, 9, 4_100), verdict=Outcome.NOT_ENOUGH_DATA,
    summary="Nothing wrong was found.",
    evidence=(
        EvidenceStatus("errors", "scheduling server POST /appointments", 2.0, 10.0, 1_204),
        EvidenceStatus("latency", "portal server GET /appointments/{id}", 4.5, 10.0, 4_102),
        EvidenceStatus("orphans", "portal", -1.0, 10.0, 4_102),
    ),
    findings=(),
    missing=(
        MissingStatus("portal server GET /", "latency", 120, 400, 190.0),
        MissingStatus("records server DELETE /", "errors", 0, 300, None),
    ),
    waiting_for="evidence for a PASS at 25 %", waiting_until_unix_s=NOW + 600, windows=84, late_spans=12, clock_skew_s=-0.021,
    notes=("Instance green-2 answers 40 % of the requests.",), proxy_clock_offset_s=-0.25,
)  # fmt: skip
FINDING = FindingStatus("F1", "exclusive latency", "critical", "eligibility", "Half of the calls take 290 ms longer.")
EVENTS = tuple(RolloutEvent(n, NOW - 10 + n, "phase", "guard-a", f"event {n}", {}) for n in range(1, 9))


def drawn(status: RolloutStatus = STATUS, events: tuple[RolloutEvent, ...] = EVENTS, width: int = 80, **options: Any) -> list[str]:
    lines = picture(status, events, NOW, width, **options)
    assert all(line.cell_len <= width for line in lines)
    return [line.plain.rstrip() for line in lines]


def test_it_says_where_the_rollout_stands() -> None:
    lines = drawn()
    assert lines[0] == "payments 2.4 to 2.5                                     WATCHING  for 2 min 10 s"
    assert lines[1] == "rollout 20260921-135920-3f2a · plan 9c1f00aa · guard guard-a · runs for 14 min"
    text = "\n".join(lines)
    for told in (
        "steps      ● 5 % ━━ ◉ 25 % now ── ○ 50 % ── ○ all",
        "  25 % intended",
        "24.97 % observed at the proxy",
        "lease      10 s, then the proxy takes its default by itself",
        "NOT ENOUGH DATA   Nothing wrong was found.",
        "waits for  evidence for a PASS at 25 %, 10 min left",
        "baseline   blue               12,345        12  0.10 %      12,301  99.6 %",
        "candidate  green               4,102         9  0.22 %       4,100  99.9 %",
        "45 %  latency  portal server GET /appointments/{id}",
        "  and 1 question without any",
        "    0 of 300  no requests come  errors · records server DELETE /",
        "  120 of 400   3 min 10 s more  latency · portal server GET /",
        "telemetry  84 windows · 12 late spans · clocks differ by 21 ms · the proxy's",
        "           clock by 250 ms",
        "notes      Instance green-2 answers 40 % of the requests.",
        "phase             event 8 (guard-a)",
    ):
        assert told in text, told
    assert "event 3" not in text
    assert text.index("latency  portal") < text.index("errors   scheduling")


def test_the_end_says_how_it_ended() -> None:
    rolled_back = replace(
        STATUS, phase=Phase.ROLLED_BACK, ended_unix_s=NOW - 60, intended_percent=0, observed_percent=0.0, verdict=Outcome.FAIL,
        findings=(FINDING,), waiting_for="", evidence=(EvidenceStatus("latency", "portal", 14.0, 10.0, 1),),
    )  # fmt: skip
    text = "\n".join(drawn(rolled_back))
    for told in ("ROLLED BACK", "took 13 min", "25 % ended here", "CRITICAL exclusive latency · eligibility: Half of", "found  latency"):
        assert told in text
    for gone in ("waits for", "lease", " for 2 min", "now"):
        assert gone not in text
    committed = replace(STATUS, phase=Phase.COMMITTED, ended_unix_s=NOW, steps=tuple(replace(s, state="done") for s in STATUS.steps))
    assert "● 50 % ━━ ● all" in "\n".join(drawn(committed))
    switching = replace(STATUS, phase=Phase.BAKING, steps=(StepStatus(50, "done"), StepStatus(100, "now")))
    assert "steps      ● 50 % ━━ ◉ all now" in drawn(switching)
    assert "steps      ● 50 % ━━ ◉ all now" in drawn(replace(switching, steps=switching.steps[:1]))


def test_a_reason_is_told_once() -> None:
    holding = replace(STATUS, phase=Phase.HOLDING, verdict=None, summary="the proxy is silent", waiting_for="somebody: the proxy is silent")
    assert "\n".join(drawn(holding)).count("the proxy is silent") == 1
    assert "because    the proxy is silent" in drawn(replace(holding, waiting_for=""))


def test_what_is_not_known_is_not_drawn_as_nothing() -> None:
    text = "\n".join(drawn(replace(STATUS, observed_percent=None, verdict=None, clock_skew_s=None, proxy_clock_offset_s=None, summary="")))
    assert "observed: the proxy does not tell" in text
    assert "verdict    none yet" in text
    assert "clocks" not in text


def test_a_lost_guard_is_told_above_an_old_picture() -> None:
    text = "\n".join(drawn(trouble="no guard answers"))
    assert "NOT CONNECTED  no guard answers. This picture is old; trying again." in text


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_every_phase_and_verdict_stands_there_in_words(phase: Phase, outcome: Outcome | None) -> None:
    for plain_ascii in (False, True):
        text = "\n".join(drawn(replace(STATUS, phase=phase, verdict=outcome), plain_ascii=plain_ascii))
        assert phase.value.upper() in text
        assert outcome is None or outcome.value.replace("_", " ") in text


@pytest.mark.parametrize("height", [10, 24, 30, 36, 100])
def test_a_low_terminal_gets_the_important_part(height: int) -> None:
    many = replace(
        STATUS,
        evidence=tuple(EvidenceStatus("errors", f"op {n}", n / 2, 10.0, n) for n in range(30)),
        findings=tuple(replace(FINDING, id=f"F{n}", sentence="It is slow. " * 20) for n in range(12)),
        missing=tuple(MissingStatus(f"op {n}", "errors", n, 100, float(n)) for n in range(30)),
        notes=tuple(f"note {n}" for n in range(9)),
    )
    lines = drawn(many, height=height)
    assert len(lines) <= max(height, 30)
    assert lines[0].startswith("payments")
    assert any("NOT ENOUGH DATA" in line for line in lines)
    assert len(drawn(height=30)) <= 30
    whole = "\n".join(drawn(many))
    assert all(told in whole for told in ("21 weaker, 1 question without any", "and 6 more: ", "and 26 more that need less", "and 5 more"))


TEXT = st.text(max_size=60)
EVIL = st.sampled_from(
    ["\x1b[31mred", "\x1b]0;title\x07", "\r\n", "a\u202eb", "\x9b1m", "[bold]x[/bold]", "\u200b", "\ud800", "x" * 500, "漢字" * 80, "\t"]
)
NAMES = TEXT | EVIL
STATES = st.sampled_from(["done", "now", "to come"]) | NAMES
NUMBERS = st.floats() | st.floats(0, 1e6)
COUNTS = st.integers(0, 10**15)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_name_reaches_the_terminal_as_it_came_and_every_line_fits(data: st.DataObject) -> None:
    def name() -> str:
        return data.draw(NAMES)

    def number() -> float:
        return data.draw(NUMBERS)

    def count() -> int:
        return data.draw(COUNTS)

    status = replace(
        STATUS, id=name(), name=name(), guard=name(), plan_digest=name(), summary=name(), waiting_for=name(), waiting_until_unix_s=number(),
        phase=data.draw(st.sampled_from(Phase)), lease_s=number(), started_unix_s=number(), phase_since_unix_s=number(),
        ended_unix_s=data.draw(st.none() | NUMBERS), intended_percent=number(), observed_percent=data.draw(st.none() | NUMBERS),
        steps=tuple(StepStatus(number(), data.draw(STATES)) for _ in range(data.draw(st.integers(0, 50)))),
        baseline=RoleStatus(name(), count(), count(), count()), candidate=RoleStatus(name(), count(), count(), count()),
        evidence=tuple(EvidenceStatus(name(), name(), number(), number(), count()) for _ in range(3)),
        findings=(FindingStatus(name(), name(), name(), name(), name(), (Leak(name(), name(), (name(),), (name(),)),)),),
        missing=tuple(MissingStatus(name(), name(), count(), count(), data.draw(st.none() | NUMBERS)) for _ in range(2)),
        windows=count(), late_spans=count(), clock_skew_s=data.draw(st.none() | NUMBERS), notes=(name(), name()),
        proxy_clock_offset_s=data.draw(st.none() | NUMBERS), cannot_resume=name(),
    )  # fmt: skip
    events = (RolloutEvent(1, number(), name(), name(), name(), {}),)
    width = data.draw(st.integers(40, 130))
    plain_ascii = data.draw(st.booleans())
    lines = picture(status, events, NOW, width, plain_ascii=plain_ascii, trouble=name())
    assert all(line.cell_len <= width for line in lines)
    printed = [
        *lines, *map(Text, changes(None, status)), *listing([status], plain_ascii=plain_ascii), *journal(events, plain_ascii=plain_ascii)
    ]  # fmt: skip
    for line in printed:
        assert line.plain.isprintable() or set(filter(lambda c: not c.isprintable(), line.plain)) <= {"\u3000", "\xa0"} | SPACES
    if plain_ascii:
        assert all(line.plain.isascii() for line in lines)


def test_what_is_sent_is_shown_masked_with_the_rules_that_speak_of_it() -> None:
    leak = Leak("card", "span_attribute", ("411111******1111",), ("PCI-DSS-4.0.1:3.4.1",))
    status = replace(STATUS, findings=(replace(FINDING, leaks=(leak, Leak("{other}", "", (), ()))),))
    shown = "\n".join(line.plain for line in picture(status, (), NOW, 100))
    assert "card in span_attribute: 411111******1111 (PCI-DSS-4.0.1:3.4.1)" in shown
    assert "    {other}\n" in shown


SPACES = {chr(n) for n in range(0x3001) if chr(n).isspace() and not chr(n).isprintable() and n > 0xA0} - {"\u2028", "\u2029"}
"""Wide and thin spaces: they do nothing to a terminal."""


def test_without_colour_it_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=80).print(render(STATUS, EVENTS, NOW, 80))
    assert "\x1b[3" not in out.getvalue()
    assert "\x1b[4" not in out.getvalue()


def test_a_log_gets_a_line_for_every_change_and_none_for_the_rest() -> None:
    assert changes(None, STATUS) == [
        "rollout 20260921-135920-3f2a of payments 2.4 to 2.5, plan 9c1f00aa9c1f",
        "phase: watching, waits for evidence for a PASS at 25 %",
        "weight: 25 % intended, 24.97 % observed",
        "verdict: NOT_ENOUGH_DATA: Nothing wrong was found.",
    ]
    assert changes(STATUS, replace(STATUS, windows=85, baseline=RoleStatus("blue", 12_400, 12, 12_390))) == []
    ended = replace(
        STATUS, phase=Phase.ROLLED_BACK, observed_percent=None, intended_percent=0, verdict=Outcome.FAIL, findings=(FINDING,),
        summary="It is slow.", waiting_for="",
    )  # fmt: skip
    assert changes(STATUS, ended) == [
        "phase: rolled back",
        "weight: 0 % intended, unknown observed",
        "verdict: FAIL: It is slow.",
        "finding: critical exclusive latency in eligibility: Half of the calls take 290 ms longer.",
        "ended: rolled back: It is slow.",
    ]
    assert changes(ended, ended) == []
    for phase in Phase:
        told = changes(STATUS, replace(STATUS, phase=phase))
        assert any(line.startswith("ended: ") for line in told) == (phase in TERMINAL)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (0.4, "0.4 s"), (3, "3 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (5400, "1 h 30 min"),
     (90_000, "1 d 1 h"), (math.inf, "unknown"), (math.nan, "unknown")],
)  # fmt: skip
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_are_never_rounded_to_nothing_or_to_all() -> None:
    assert [share_text(part, 100_000) for part in (0, 1, 50, 999, 50_000, 99_999, 100_000)] == [
        "0.00 %", "<0.01 %", "0.05 %", "1.00 %", "50.0 %", "99.9 %", "100.0 %",
    ]  # fmt: skip
    assert share_text(0, 0) == ""
    assert percent_text(5) == "5 %"


def test_what_this_guard_cannot_resume_is_said_everywhere() -> None:
    why = "this version of the guard cannot read the plan; use the version that began it"
    stuck = replace(STATUS, cannot_resume=why, waiting_for="", observed_percent=None)
    assert f"CANNOT RESUME  {why}" in " ".join(" ".join(line.split()) for line in drawn(stuck)).replace("CANNOT RESUME ", "CANNOT RESUME  ")
    assert not any(line.startswith("lease") for line in drawn(stuck)), "nobody renews one"
    assert f"cannot be resumed: {why}" in changes(STATUS, stuck)
    assert changes(stuck, stuck) == []
    assert "  cannot resume  unknown  " in listing([stuck])[1].plain


def test_the_proxys_clock_is_told_without_spans_too() -> None:
    assert "the proxy's clock differs by 250 ms" in "\n".join(drawn(replace(STATUS, clock_skew_s=None)))


def test_a_list_is_a_table() -> None:
    ended = replace(STATUS, id="20260920-100000-aaaa", phase=Phase.ROLLED_BACK, verdict=None, observed_percent=None)
    lines = [line.plain for line in listing([STATUS, ended])]
    assert lines[0].split() == ["id", "started", "phase", "weight", "verdict", "name"]
    assert "watching     24.97 %  NOT ENOUGH DATA  payments 2.4 to 2.5" in lines[1]
    assert "rolled back  unknown" in lines[2]
    assert "no rollout yet" in listing([])[0].plain
    assert journal([])[0].plain == "no events"
