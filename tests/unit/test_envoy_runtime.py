"""Weights as numerators of runtime keys, and back from what Envoy prints."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.data_planes.plans import plan_between

from verdigris.plan.identity import IdentityMatch
from verdigris.plan.plan import Environment, Plan, Setting
from verdigris.traffic.data_plane import RESOLUTION_PERCENT, Routing
from verdigris.traffic.envoy_runtime import NotOurConfiguration, fractions, read_runtime
from verdigris.traffic.envoy_settings import MILLION, EnvoySettings, InvalidSettings, envoy_settings

BASE: dict[str, Setting] = {"subject": "shop", "admin": "/run/admin", "committed_folder": "/var/committed", "xds": "127.0.0.1:18000"}


def slot(name: str) -> Environment:
    return Environment(name, IdentityMatch({"slot": name}), ("127.0.0.1:1",))


def plan(settings: Mapping[str, Setting] | None = None, baseline: str = "blue", candidate: str = "green") -> Plan:
    return plan_between(slot(baseline), slot(candidate), "envoy", {**BASE, **(settings or {})})


BLUE_GREEN, GREEN_BLUE = envoy_settings(plan()), envoy_settings(plan(None, "green", "blue"))
both_ways = pytest.mark.parametrize("settings", [BLUE_GREEN, GREEN_BLUE], ids=["blue to green", "green to blue"])

hundredths = st.integers(0, 10_000).map(lambda n: n / 100)


def debug_text(numerator: int) -> str:
    """As Envoy prints a structure that came over xDS."""
    return (
        'goo.gle/debugonly    \nfields {\n  key: "denominator"\n  value {\n    string_value: "MILLION"\n  }\n}\n'
        f'fields {{\n  key: "numerator"\n  value {{\n    number_value: {numerator}\n  }}\n}}\n'
    )


def answer(settings: EnvoySettings, *layers: dict[str, int] | None, generation: int = 7, fenced: int = 3) -> dict[str, Any]:
    """What `/runtime` prints: the start layer, then durable, lease and fence."""
    names = [f"verdigris.{settings.subject}.start", settings.durable_layer, settings.lease_layer, settings.fence_layer]
    texts: dict[str, list[str]] = {}
    for number, values in enumerate(layers):
        for key, numerator in (values or {}).items():
            text = debug_text(numerator) if number in {0, 2} else f"numerator: {numerator}\ndenominator: MILLION"
            texts.setdefault(key, [""] * 4)[number] = text
    texts[settings.fenced_key] = ["", str(fenced), "", ""]
    if layers[2]:
        texts[settings.generation_key] = ["", "", str(generation), ""]
    return {"layers": names, "entries": {k: {"layer_values": v, "final_value": v[-1]} for k, v in texts.items()}}


def start(settings: EnvoySettings) -> dict[str, int]:
    return {settings.weight_key(): fractions(settings, Routing(0.0))[settings.weight_key()]}


@both_ways
@given(percent=hundredths, mirror=hundredths, chosen=st.booleans())
def test_what_is_written_reads_back(settings: EnvoySettings, percent: float, mirror: float, chosen: bool) -> None:  # noqa: FBT001
    routing = Routing(percent, mirror, chosen_users=chosen)
    values = fractions(settings, routing)
    assert all(0 <= numerator <= MILLION for numerator in values.values())
    in_force = read_runtime(settings, answer(settings, start(settings), None, values, None))
    assert in_force is not None
    assert (in_force.generation, in_force.committed, in_force.newest, in_force.fence_closed) == (7, False, 7, False)
    assert in_force.routing.candidate_percent == pytest.approx(percent, abs=1e-9)
    assert in_force.routing.chosen_users is chosen
    if percent <= 99:
        assert abs(in_force.routing.mirror_percent - mirror) <= RESOLUTION_PERCENT / 2 + 1e-9


@both_ways
@pytest.mark.parametrize("percent", [0.0, 0.1, 20.0, 95.0])
@pytest.mark.parametrize("mirror", [0.0, 1.0, 50.0, 100.0])
def test_copies_are_the_asked_share_of_the_baselines_requests(settings: EnvoySettings, percent: float, mirror: float) -> None:
    # Envoy compares one number per request with every fraction of its route.
    values = fractions(settings, Routing(percent, mirror))
    weight, below = values[settings.weight_key()], values[settings.mirror_key(settings.candidate.slot)]
    baseline = [n for n in range(0, MILLION, 100) if (n >= weight) is settings.candidate_is_second]
    copied = [n for n in baseline if n < below]
    assert len(baseline) == pytest.approx((100 - percent) * 100, abs=1)
    assert len(copied) == pytest.approx(len(baseline) * mirror / 100, abs=1)


def test_a_tenth_of_a_percent_is_a_thousand_of_a_million() -> None:
    assert fractions(BLUE_GREEN, Routing(0.1))[BLUE_GREEN.weight_key()] == 1000
    assert fractions(GREEN_BLUE, Routing(0.1))[GREEN_BLUE.weight_key()] == MILLION - 1000


@both_ways
def test_a_closed_fence_is_above_the_lease(settings: EnvoySettings) -> None:
    durable = fractions(settings, Routing(0.0))
    lease = fractions(settings, Routing(50.0, 50.0, chosen_users=True))
    in_force = read_runtime(settings, answer(settings, start(settings), durable, lease, durable))
    assert in_force is not None
    assert (in_force.routing, in_force.generation, in_force.committed, in_force.fence_closed) == (Routing(0.0), None, False, True)
    assert in_force.newest == 7, "what is told below the fence is known all the same"


@both_ways
def test_committed_is_what_holds_without_the_lease(settings: EnvoySettings) -> None:
    durable = fractions(settings, Routing(100.0))
    in_force = read_runtime(settings, answer(settings, start(settings), durable, fractions(settings, Routing(10.0)), None))
    assert in_force is not None
    assert (in_force.routing.candidate_percent, in_force.committed) == (10.0, True)


@pytest.mark.parametrize("text", ["", "50", "numerator: x\ndenominator: MILLION", "numerator: 5\ndenominator: HUNDRED"])
def test_what_cannot_be_read_is_not_guessed(text: str) -> None:
    said = answer(BLUE_GREEN, start(BLUE_GREEN), None, None, None)
    said["entries"][BLUE_GREEN.weight_key()]["layer_values"][3] = text
    in_force = read_runtime(BLUE_GREEN, said)
    assert (in_force is None) is bool(text)


@pytest.mark.parametrize("said", [{}, {"layers": 5, "entries": {}}, {"layers": []}])
def test_an_answer_of_another_shape_is_no_answer(said: dict[str, Any]) -> None:
    assert read_runtime(BLUE_GREEN, said) is None


def test_another_configuration_is_told_as_such() -> None:
    said = answer(BLUE_GREEN, start(BLUE_GREEN), None, None, None)
    said["layers"] = ["admin"]
    with pytest.raises(NotOurConfiguration, match="envoy-config"):
        read_runtime(BLUE_GREEN, said)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"admin": "10.0.0.1:9901"}, "loopback"),
        ({"admin": None}, "admin is missing"),
        ({"committed_folder": "relative"}, "absolute"),
        ({"xds": "10.0.0.1:18000"}, "plain text"),
        ({"xds": "10.0.0.1:18000", "xds_key": "/k"}, "xds_certificate"),
        ({"xds": ",".join(["127.0.0.1:1"] * 17)}, "at most 16"),
        ({"subject": "a b"}, "letters"),
        ({"colour": "blue"}, "does not know colour"),
        ({"chosen_users": True}, "token_key"),
        ({"mirror_methods": "get"}, "methods"),
        ({"admin": "localhost:99999"}, "host:port"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Setting], says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        envoy_settings(plan(settings))


@pytest.mark.parametrize(("baseline", "candidate"), [("blue", "blue"), ("blue", "gr een"), ("blue", "")])
def test_slots_that_cannot_be_clusters_are_refused(baseline: str, candidate: str) -> None:
    with pytest.raises(InvalidSettings):
        envoy_settings(plan(None, baseline, candidate))
