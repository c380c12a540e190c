"""What every data plane does. A new one joins `HARNESSES`; nothing here knows which one it talks to."""

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from math import exp, lgamma, log

import pytest
from tests.contract.data_planes.envoy import envoy_harness
from tests.contract.data_planes.fake import fake_harness
from tests.contract.data_planes.harness import Feature, Harness, Token

from verdigris.plan.plan import Plan
from verdigris.traffic.data_plane import BASELINE_ONLY, DataPlane, NotSupported, Routing, Split, StaleGeneration, TrafficError
from verdigris.traffic.open import open_look

pytestmark = pytest.mark.anyio

LEASE_S = 2.0
SLACK_S = 0.5
"""For the machine: between the end of a lease and our seeing it."""

LONG_S = 60.0
"""A lease that does not end during a test."""


def haproxy_harness() -> AbstractAsyncContextManager[Harness]:
    made: AbstractAsyncContextManager[Harness] = importlib.import_module("tests.contract.data_planes.haproxy").haproxy_harness()
    return made


HARNESSES: dict[str, Callable[[], AbstractAsyncContextManager[Harness]]] = {
    "fake": fake_harness,
    "envoy": envoy_harness,
    "haproxy": haproxy_harness,
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=HARNESSES)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    async with HARNESSES[request.param]() as made:
        yield made


def needs(harness: Harness, feature: Feature) -> None:
    if feature not in harness.features:
        pytest.skip(f"not with this data plane: {feature.value}")


async def in_force(harness: Harness, plane: DataPlane, percent: float, within_s: float) -> float:
    """Wait until the proxy says so. Returns: seconds waited."""

    async def says() -> bool:
        split = await plane.observe()
        return split is not None and split.routing.agrees_with(Routing(percent))

    return await harness.wait_until(says, within_s)


def told(split: Split | None) -> Split:
    assert split is not None, "the proxy does not tell"
    return split


def binomial_bounds(requests: int, share: float, chance: float = 1e-6) -> tuple[int, int]:
    """The counts outside of which each tail has less than `chance`."""
    if share in {0.0, 1.0}:
        return round(requests * share), round(requests * share)

    def mass(count: int) -> float:
        # By logarithms: the binomial coefficient alone overflows a float.
        ways = lgamma(requests + 1) - lgamma(count + 1) - lgamma(requests - count + 1)
        return exp(ways + count * log(share) + (requests - count) * log(1 - share))

    low, below = 0, mass(0)
    while below < chance:
        low += 1
        below += mass(low)
    high, above = requests, mass(requests)
    while above < chance:
        high -= 1
        above += mass(high)
    return low, high


# -- applying and reading back ----------------------------------------------------------------------------------------------------


async def test_before_anything_all_is_on_the_baseline(harness: Harness) -> None:
    plane = await harness.open()
    split = told(await plane.observe())
    assert (split.routing, split.generation, split.committed) == (BASELINE_ONLY, None, False)
    answers = await harness.send(50)
    assert (answers.baseline, answers.candidate, answers.failed) == (50, 0, 0), answers.failures


@pytest.mark.parametrize(("percent", "requests"), [(0.0, 1000), (0.1, 6000), (1.0, 3000), (50.0, 1500), (100.0, 1000)])
async def test_a_weight_is_what_requests_get(harness: Harness, percent: float, requests: int) -> None:
    plane = await harness.open()
    split = told(await plane.apply(1, Routing(percent), LONG_S))
    assert split.generation == 1
    assert split.routing.agrees_with(Routing(percent))
    answers = await harness.send(requests)
    low, high = binomial_bounds(requests, percent / 100)
    assert answers.failed == 0, answers.failures
    assert low <= answers.candidate <= high
    assert answers.total == requests


async def test_applying_the_same_again_changes_nothing(harness: Harness) -> None:
    plane = await harness.open()
    first = told(await plane.apply(3, Routing(25.0), LONG_S))
    again = told(await plane.apply(3, Routing(25.0), LONG_S))
    assert first == again or (first.routing, first.generation) == (again.routing, again.generation)


async def test_an_older_generation_is_refused_and_changes_nothing(harness: Harness) -> None:
    plane = await harness.open()
    await plane.apply(5, Routing(10.0), LONG_S)
    with pytest.raises(StaleGeneration):
        await plane.apply(4, Routing(90.0), LONG_S)
    split = told(await plane.observe())
    assert (split.routing, split.generation) == (Routing(10.0), 5)


async def test_another_adapter_learns_the_newest_generation_from_the_proxy(harness: Harness) -> None:
    await (await harness.open()).apply(5, Routing(10.0), LONG_S)
    other = await harness.open()
    await harness.pass_time(0.8)  # the proxy has found it
    split = told(await other.observe())
    assert (split.routing, split.generation) == (Routing(10.0), 5), "opening an adapter must not disturb what is in force"
    with pytest.raises(StaleGeneration):
        await other.apply(4, Routing(90.0), LONG_S)
    split = told(await other.apply(6, Routing(20.0), LONG_S))
    assert (split.routing, split.generation) == (Routing(20.0), 6)


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan"), float("inf")])
def test_a_weight_that_is_no_percentage_is_refused(percent: float) -> None:
    with pytest.raises(NotSupported):
        Routing(percent)
    with pytest.raises(NotSupported):
        Routing(0.0, mirror_percent=percent)


async def test_what_somebody_changed_by_hand_is_what_is_read_back(harness: Harness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(10.0), LONG_S)
    await harness.change_by_hand(77.0)
    await in_force(harness, plane, 77.0, 2.0)
    answers = await harness.send(500)
    low, high = binomial_bounds(500, 0.77)
    assert low <= answers.candidate <= high
    split = told(await plane.return_to_baseline(1))
    assert split.routing == BASELINE_ONLY
    assert (await harness.send(50)).candidate == 0


async def test_a_closed_adapter_refuses_and_leaves_what_is_in_force(harness: Harness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(30.0), LONG_S)
    await plane.close()
    await plane.close()
    with pytest.raises(TrafficError):
        await plane.apply(2, Routing(40.0), LONG_S)
    assert told(await (await harness.open()).observe()).routing == Routing(30.0)


# -- fences -----------------------------------------------------------------------------------------------------------------------


async def test_after_a_return_only_a_newer_generation_is_taken(harness: Harness) -> None:
    plane = await harness.open()
    await plane.apply(3, Routing(50.0), LONG_S)
    split = told(await plane.return_to_baseline(3))
    assert (split.routing, split.generation, split.committed) == (BASELINE_ONLY, None, False)
    assert (await harness.send(100)).candidate == 0
    for again in (False, True):
        plane = await harness.open() if again else plane
        with pytest.raises(StaleGeneration) as refused:
            await plane.apply(3, Routing(50.0), LONG_S)
        assert refused.value.newest == 3
    assert told(await plane.apply(4, Routing(50.0), LONG_S)).routing == Routing(50.0)


async def test_a_return_is_never_refused(harness: Harness) -> None:
    plane = await harness.open()
    await plane.apply(9, Routing(50.0), LONG_S)
    assert told(await plane.return_to_baseline(2)).routing == BASELINE_ONLY
    assert told(await plane.return_to_baseline(2)).routing == BASELINE_ONLY
    with pytest.raises(StaleGeneration):
        await plane.apply(9, Routing(50.0), LONG_S)


async def test_a_return_needs_no_control_connection(harness: Harness) -> None:
    needs(harness, Feature.CONTROL_CONNECTION)
    plane = await harness.open()
    mirror_percent = 50.0 if Feature.MIRROR in harness.features else 0.0
    await plane.apply(1, Routing(50.0, mirror_percent, chosen_users=Feature.CHOSEN_USERS in harness.features), LONG_S)
    await harness.cut_control()
    assert told(await plane.return_to_baseline(1)).routing == BASELINE_ONLY
    assert (await harness.send(50)).candidate == 0


async def test_a_commit_is_durable_and_fences(harness: Harness) -> None:
    plane = await harness.open()
    await plane.apply(4, Routing(95.0), LEASE_S)
    with pytest.raises(StaleGeneration):
        await plane.commit(3)
    split = told(await plane.commit(5))
    assert (split.routing, split.generation, split.committed) == (Routing(100.0), None, True)
    assert told(await plane.commit(5)).committed, "committing the same again is no error"
    with pytest.raises(StaleGeneration):
        await plane.apply(5, Routing(10.0), LONG_S)
    await harness.pass_time(LEASE_S + SLACK_S)
    assert told(await plane.observe()).routing == Routing(100.0), "no lease takes it back"
    await harness.restart_proxy()
    split = told(await plane.observe())
    assert (split.routing, split.committed) == (Routing(100.0), True)
    assert (await harness.send(50)).candidate == 50
    split = told(await plane.return_to_baseline(5))
    assert (split.routing, split.committed) == (BASELINE_ONLY, False)
    await harness.restart_proxy()
    split = told(await plane.observe())
    assert (split.routing, split.committed) == (BASELINE_ONLY, False)
    with pytest.raises(StaleGeneration):
        await plane.commit(5)


async def test_over_a_commit_a_lease_holds_and_ends_at_the_commit(harness: Harness) -> None:
    plane = await harness.open()
    await plane.commit(1)
    split = told(await plane.apply(2, Routing(40.0), LEASE_S))
    assert (split.routing, split.generation, split.committed) == (Routing(40.0), 2, True)
    await in_force(harness, plane, 100.0, LEASE_S + SLACK_S)


# -- leases -----------------------------------------------------------------------------------------------------------------------


async def test_without_renewal_the_lease_ends(harness: Harness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(50.0), LEASE_S)
    waited_s = await in_force(harness, plane, 0.0, LEASE_S + SLACK_S)
    assert waited_s > LEASE_S - SLACK_S
    split = told(await plane.observe())
    assert (split.generation, split.committed) == (None, False)
    assert (await harness.send(50)).candidate == 0


async def test_renewing_keeps_it_and_a_lease_that_ended_is_over(harness: Harness) -> None:
    plane = await harness.open()
    for _ in range(5):
        assert told(await plane.apply(1, Routing(50.0), LEASE_S)).routing == Routing(50.0)
        await harness.pass_time(LEASE_S / 4)
        assert told(await plane.observe()).routing == Routing(50.0)
    await harness.pass_time(LEASE_S + SLACK_S)
    with pytest.raises(StaleGeneration):
        await plane.apply(1, Routing(50.0), LEASE_S)
    assert told(await plane.observe()).routing == BASELINE_ONLY
    assert told(await plane.apply(2, Routing(50.0), LEASE_S)).routing == Routing(50.0)


async def test_a_killed_guard_means_the_baseline(harness: Harness) -> None:
    guard = await harness.guard(1, Routing(50.0), LEASE_S, LEASE_S / 4)
    guard.kill()
    observer = await harness.open()
    await in_force(harness, observer, 0.0, LEASE_S + SLACK_S)
    assert (await harness.send(50)).candidate == 0


async def test_a_frozen_guard_means_the_baseline_and_wakes_up_too_late(harness: Harness) -> None:
    guard = await harness.guard(1, Routing(50.0), LEASE_S, LEASE_S / 10)
    observer = await harness.open()
    guard.freeze()
    await in_force(harness, observer, 0.0, LEASE_S + SLACK_S)
    await harness.pass_time(LEASE_S / 2)
    guard.wake()
    await guard.said("StaleGeneration")
    assert told(await observer.observe()).routing == BASELINE_ONLY
    assert (await harness.send(50)).candidate == 0


async def test_a_guard_that_wakes_up_does_not_pass_the_fence_of_another(harness: Harness) -> None:
    guard = await harness.guard(1, Routing(50.0), LONG_S, LEASE_S / 10)
    guard.freeze()
    successor = await harness.open()
    assert told(await successor.return_to_baseline(2)).routing == BASELINE_ONLY
    guard.wake()
    await guard.said("StaleGeneration")
    assert told(await successor.observe()).routing == BASELINE_ONLY
    assert (await harness.send(50)).candidate == 0


async def test_a_cut_network_means_the_baseline(harness: Harness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(50.0), LEASE_S)
    assert (await harness.send(20)).candidate > 0
    await harness.cut_control()
    with pytest.raises(TrafficError):
        await plane.apply(1, Routing(50.0), LEASE_S)  # what is sent now does not arrive

    async def all_on_the_baseline() -> bool:
        return (await harness.send(20)).candidate == 0  # reading back may be cut too

    await harness.wait_until(all_on_the_baseline, LEASE_S + SLACK_S)
    answers = await harness.send(200)
    assert (answers.baseline, answers.failed) == (200, 0), answers.failures
    await harness.pass_time(LEASE_S / 2)
    await harness.mend_control()
    await harness.pass_time(LEASE_S / 2)
    assert told(await plane.observe()).routing == BASELINE_ONLY, "what hung in the network must not arrive as a new lease"

    async def taken() -> bool:
        try:
            split = await plane.apply(2, Routing(20.0), LONG_S)
        except TrafficError:
            return False
        return split is not None and split.routing == Routing(20.0)

    await harness.wait_until(taken, 10.0)


async def test_a_restart_of_the_proxy_neither_lengthens_nor_invents_a_lease(harness: Harness) -> None:
    needs(harness, Feature.REAL_REQUESTS)
    plane = await harness.open()
    await plane.apply(1, Routing(50.0), 3.0)
    await harness.restart_proxy()
    # Until here it may be the baseline, or again the lease with what is left of it; never longer.
    await harness.pass_time(3.0 + SLACK_S - 0.4)
    await in_force(harness, plane, 0.0, 0.4)
    assert told(await plane.apply(2, Routing(20.0), LONG_S)).routing == Routing(20.0)
    assert (await harness.send(50)).failed == 0


# -- requests ---------------------------------------------------------------------------------------------------------------------


async def test_no_request_fails_by_switching(harness: Harness) -> None:
    needs(harness, Feature.REAL_REQUESTS)
    plane = await harness.open()
    before = await harness.seen()
    generation = 0
    async with harness.load() as load:
        for turn in range(200):
            for percent in (5.0, 50.0, 100.0, 0.0):
                generation += 1
                await plane.apply(generation, Routing(percent), LONG_S)
            await plane.commit(generation)
            await plane.return_to_baseline(generation)
            so_far = load.so_far()
            if turn >= 11 and min(so_far.baseline, so_far.candidate) > 20:  # a busy machine answers few in so many switches
                break
        answers = await load.stop()
    assert answers.failed == 0, answers.failures
    assert min(answers.baseline, answers.candidate) > 20
    seen = await harness.seen()
    assert (seen.baseline - before.baseline, seen.candidate - before.candidate) == (answers.baseline, answers.candidate)
    split = told(await plane.observe())
    assert (split.baseline_requests, split.candidate_requests) == (answers.baseline, answers.candidate)


async def test_the_proxy_counts_what_the_services_saw(harness: Harness) -> None:
    plane = await harness.open()
    start = told(await plane.apply(1, Routing(30.0), LONG_S))
    answers = await harness.send(400)
    split = told(await plane.observe())
    counted = (split.baseline_requests - start.baseline_requests, split.candidate_requests - start.candidate_requests)
    assert counted == (answers.baseline, answers.candidate)
    assert (split.baseline_failures, split.candidate_failures) == (0, 0)
    seen = await harness.seen()
    assert (seen.baseline, seen.candidate) == counted


async def test_requests_that_cannot_be_delivered_are_counted_as_failed(harness: Harness) -> None:
    plane = await harness.open()
    await plane.apply(1, Routing(40.0), LONG_S)
    await harness.break_candidate()
    answers = await harness.send(200)
    split = told(await plane.observe())
    assert answers.failed > 0
    assert split.candidate_failures == split.candidate_requests == answers.failed
    assert split.baseline_requests == answers.baseline
    assert split.baseline_failures == 0


async def test_copies_reach_the_candidate_and_count_as_nobodys_requests(harness: Harness) -> None:
    needs(harness, Feature.MIRROR)
    plane = await harness.open()
    split = told(await plane.apply(1, Routing(20.0, mirror_percent=50.0), LONG_S))
    assert split.routing.agrees_with(Routing(20.0, mirror_percent=50.0))
    answers = await harness.send(1000)
    assert answers.failed == 0
    low, high = binomial_bounds(1000, 0.2)
    assert low <= answers.candidate <= high
    seen = await harness.seen()
    copies = seen.candidate - answers.candidate
    low, high = binomial_bounds(answers.baseline, 0.5)
    assert low <= copies <= high
    split = told(await plane.observe())
    assert (split.baseline_requests, split.candidate_requests) == (answers.baseline, answers.candidate)
    await harness.break_candidate()
    await plane.apply(2, Routing(0.0, mirror_percent=100.0), LONG_S)
    before = told(await plane.observe())
    answers = await harness.send(100)
    assert (answers.baseline, answers.failed) == (100, 0), "a copy that fails hurts nobody"
    assert told(await plane.observe()).candidate_failures == before.candidate_failures
    assert told(await plane.return_to_baseline(2)).routing == BASELINE_ONLY


async def test_chosen_users_go_to_the_candidate_with_a_good_token_only(harness: Harness) -> None:
    needs(harness, Feature.CHOSEN_USERS)
    plane = await harness.open()
    assert (await harness.send(20, Token.VALID)).candidate == 0, "not switched on"
    split = told(await plane.apply(1, Routing(0.0, chosen_users=True), LEASE_S * 2))
    assert split.routing == Routing(0.0, chosen_users=True)
    assert (await harness.send(20, Token.VALID)).candidate == 20
    assert (await harness.send(20, Token.VALID, cookie=True)).candidate == 20
    for token in (None, Token.EXPIRED, Token.FORGED, Token.WITHOUT_END, Token.OF_OTHER_SUBJECT):
        answers = await harness.send(20, token)
        assert (answers.baseline, answers.candidate, answers.failed) == (20, 0, 0), token
    await in_force(harness, plane, 0.0, LEASE_S * 2 + SLACK_S)
    assert (await harness.send(20, Token.VALID)).candidate == 0, "it ends with the lease"


async def test_the_proxy_tells_its_time(harness: Harness) -> None:
    needs(harness, Feature.CLOCK)
    plane = await harness.open()
    split = told(await plane.observe())
    assert split.clock_offset_s is not None
    assert abs(split.clock_offset_s) < 1.6


async def test_who_only_looks_sees_what_is_in_force_and_changes_nothing(harness: Harness) -> None:
    plan: Plan | None = getattr(harness, "plan", None)
    if plan is None:
        pytest.skip("it has no plan to open it by")
    plane = await harness.open()
    generations = iter(range(1, 10))
    # A guard need not listen any more, and the look takes no address of one that does.
    async with open_look(plan) as look:
        for do in (plane.commit, plane.return_to_baseline):
            done = told(await do(next(generations)))
            seen = told(await look())
            assert seen == replace(done, clock_offset_s=seen.clock_offset_s)
        await plane.apply(next(generations), Routing(30.0), LONG_S)
        seen = told(await look())
        assert (seen.routing, seen.generation, seen.committed) == (Routing(30.0), 3, False)
        await harness.change_by_hand(77.0)

        async def sees() -> bool:
            split = await look()
            return split is not None and split.routing.agrees_with(Routing(77.0))

        await harness.wait_until(sees, 5)
    assert told(await plane.observe()).routing.agrees_with(Routing(77.0)), "nothing was changed by looking"
    assert told(await plane.return_to_baseline(next(generations))).routing == BASELINE_ONLY
