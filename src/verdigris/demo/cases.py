"""The live cases: what is rolled out, what is wrong with it, and how it must end. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from verdigris.demo.system.model import Behaviour, System
from verdigris.demo.system.systems import BANK, CLINIC, SHOP
from verdigris.judge.verdict import Outcome, Signal
from verdigris.rollout.transitions import Phase


@dataclass(frozen=True, slots=True)
class Expected:
    """How a case must end. Empty fields ask for nothing."""

    phase: Phase | None = None
    verdict: Outcome | None = None
    signals: frozenset[Signal] = frozenset()
    """At least one finding must be of one of these."""
    cause: str = ""
    """The service that must have a finding of its own, or be named as the cause."""


@dataclass(frozen=True, slots=True)
class Case:
    """One demonstration. `fault` is the candidate's behaviour; the baseline's differs from it in the fault only."""

    name: str
    title: str
    story: str
    """What is wrong, in plain words, before it runs."""
    hurt_means: str
    """What is counted as a hurt request."""
    system: System
    blue: Behaviour
    green: Behaviour
    expected: Expected
    kill_guard_at_percent: float | None = None
    rate_per_s: float = 300.0


_CLINIC = Behaviour("1.8.2", at="scheduling")
_BANK = Behaviour("3.4.0", at="book")
_SHOP = Behaviour("7.1.0", at="payments")
_BACK = Phase.ROLLED_BACK
_SLOW = frozenset({Signal.LATENCY, Signal.EXCLUSIVE_LATENCY})

_CASES = (
    Case(
        name="good",
        title="a good release",
        story="Nothing is wrong with green. It must be promoted and become the durable default.",
        hurt_means="harmed by a fault (there is none)",
        system=CLINIC,
        blue=_CLINIC,
        green=Behaviour("1.9.0", at="scheduling"),
        expected=Expected(Phase.COMMITTED),  # only a PASS leads there; what is said last is of the bake
    ),
    Case(
        name="healthcare",
        title="an external API that was only simulated in the tests",
        story=(
            "Green asks the insurer's new v2 API. The tests had a stand-in for it; the real one keeps callers waiting for 150 to 450 ms "
            "beyond five requests a second. With a few requests all is well; with real traffic booking an appointment slows down."
        ),
        hurt_means="kept waiting by the insurer's v2 API",
        system=CLINIC,
        blue=_CLINIC,
        green=Behaviour("2.0.0", at="scheduling", outside_version="v2"),
        expected=Expected(_BACK, Outcome.FAIL, _SLOW, cause="eligibility"),
    ),
    Case(
        name="finance",
        title="security settings that differ between the environments",
        story=(
            "Green's accounts service was started without its authentication setting: it answers requests without credentials that blue "
            "refuses with 401. Nothing fails and nothing is slow: unauthorized requests succeed."
        ),
        hurt_means="answered without credentials",
        system=BANK,
        blue=_BANK,
        green=Behaviour("3.5.0", at="book", asks_credentials=False),
        expected=Expected(_BACK, Outcome.FAIL, frozenset({Signal.REFUSED_LESS})),
    ),
    Case(
        name="cloud",
        title="tracing that was not updated for green",
        story=(
            "Green sends its spans to the tracing endpoint of the old environment, where nobody listens any more. Its transactions work, "
            "but nobody can see them: whatever goes wrong would be looked for in the wrong place."
        ),
        hurt_means="left without a trace",
        system=SHOP,
        blue=_SHOP,
        green=Behaviour("7.2.0", at="payments", traces_arrive=False),
        expected=Expected(_BACK, Outcome.BLIND),
    ),
    Case(
        name="leak",
        title="card numbers in the telemetry",
        story=(
            "Green's payments writes the payer's card number into an attribute of its spans, for debugging. Nothing fails or is slow. "
            "The numbers are masked before anything is stored; that only green sends them is a reason to go back."
        ),
        hurt_means="paid, and their card number was sent to telemetry",
        system=SHOP,
        blue=_SHOP,
        green=Behaviour("7.3.0", at="payments", card_in_spans=True),
        expected=Expected(_BACK, Outcome.FAIL, frozenset({Signal.LEAK}), cause="payments"),
    ),
    Case(
        name="errors",
        title="errors from 0.1 % to 3 %",
        story="Green's scheduling fails 3 % of its requests with 503; blue fails 0.1 %.",
        hurt_means="failed because of the fault",
        system=CLINIC,
        blue=_CLINIC,
        green=Behaviour("2.0.0", at="scheduling", fault_error_share=0.029),
        expected=Expected(_BACK, Outcome.FAIL, frozenset({Signal.ERRORS, Signal.NEW_ERROR_KIND}), cause="scheduling"),
    ),
    Case(
        name="slow-tail",
        title="1 % of the requests take a slow path",
        story=(
            "Green's eligibility takes a path 400 ms longer for 1 in 40 of its requests, 1 % of all. Averages and medians do not show it."
        ),
        hurt_means="sent down the slow path",
        system=CLINIC,
        blue=replace(_CLINIC, at="eligibility"),
        green=Behaviour("2.0.0", at="eligibility", slow_share=0.025, slow_extra_s=0.4),
        expected=Expected(_BACK, Outcome.FAIL, _SLOW, cause="eligibility"),
    ),
    Case(
        name="kill-guard",
        title="the guard is killed while half of the traffic is on green",
        story=(
            "Nothing is wrong with green, but the guard is killed (SIGKILL) at 50 %. Nobody renews the lease then: the proxy itself "
            "must send all traffic to blue, and no request may fail."
        ),
        hurt_means="harmed by a fault (there is none)",
        system=CLINIC,
        blue=_CLINIC,
        green=Behaviour("1.9.0", at="scheduling"),
        expected=Expected(),
        kill_guard_at_percent=50.0,
    ),
)

CASES: Mapping[str, Case] = MappingProxyType({case.name: case for case in _CASES})
"""By name."""
