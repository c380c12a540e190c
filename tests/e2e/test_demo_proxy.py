"""The live cases' system behind the real proxy, with the weight set by hand: who answers, who is hurt, and what a dead guard leaves."""

import asyncio
from pathlib import Path

import pytest

from verdigris.demo.cases import CASES
from verdigris.demo.errors import DemoExtraMissing
from verdigris.demo.extra import require_live
from verdigris.demo.harm import harm_of, last_answered_by, read_answers
from verdigris.demo.plan_text import NORMAL, Places, plan_text
from verdigris.demo.processes import LOOPBACK, Processes, free_port
from verdigris.demo.proxy import start_proxy
from verdigris.demo.system.deployment import start_load, start_outside, start_slot
from verdigris.plan.document import load_plan
from verdigris.traffic.data_plane import Routing, Split
from verdigris.traffic.open import open_data_plane

try:
    require_live()
except DemoExtraMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

LEASE_S = 1.0
PER_S = 200.0


def test_the_weight_decides_who_answers_and_the_lease_ends_it(tmp_path: Path) -> None:
    case = CASES["errors"]
    times: list[float] = []
    splits: list[Split | None] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        async with Processes(tmp_path / "logs") as processes:
            nobody = f"{LOOPBACK}:{free_port()}"
            outside = await start_outside(processes, case.system, 1)
            blue, green = await asyncio.gather(
                start_slot(processes, case.system, "blue", case.blue, outside=outside, traces_to=nobody, seed=1),
                start_slot(processes, case.system, "green", case.green, outside=outside, traces_to=nobody, seed=1),
            )
            listen, admin, control = (f"{LOOPBACK}:{free_port()}" for _ in range(3))
            places = Places(blue.addresses, green.addresses, listen, admin, control, str(tmp_path / "committed"))
            plan = load_plan(plan_text(case, NORMAL, places))
            proxy = await start_proxy(processes, tmp_path, plan)
            load = await start_load(processes, case.system, proxy.address, PER_S, 1, tmp_path / "log.csv")
            async with open_data_plane(plan) as plane:
                await asyncio.sleep(0.5)
                end_s = loop.time() + 2.5
                while loop.time() < end_s:
                    splits.append(await plane.apply(1, Routing(50.0), LEASE_S))
                    await asyncio.sleep(LEASE_S / 4)
                times.append(asyncio.get_running_loop().time())
                # Nobody renews any more, as when the guard is dead.
                while (split := await plane.observe()) is None or split.routing.candidate_percent:  # noqa: ASYNC110  # another process
                    await asyncio.sleep(0.05)
                splits.append(split)
                times.append(loop.time())
                await asyncio.sleep(0.7)
            processes.check()
            await load.stop()

    asyncio.run(body())
    with (tmp_path / "log.csv").open() as lines:
        answers = read_answers(lines)
    assert splits[-1] is not None
    assert splits[-1].routing.candidate_percent == 0
    assert times[1] - times[0] < LEASE_S + 1.0
    harm = harm_of(answers, "green")
    assert harm.unanswered == 0
    # About 50 % of 2.5 s and what the lease adds; four standard errors and the edges.
    assert harm.candidate_requests == pytest.approx(PER_S * 0.5 * (2.5 + times[1] - times[0]), rel=0.35)
    assert harm.candidate_requests == pytest.approx(splits[-1].candidate_requests, abs=1)
    assert harm.requests == pytest.approx(splits[-1].baseline_requests + splits[-1].candidate_requests, abs=PER_S)
    assert 0 < harm.hurt < harm.candidate_requests * 0.1
    assert harm.hurt_at_once >= harm.hurt
    assert harm.first_hurt_unix_s is not None
    assert harm.last_candidate_unix_s is not None
    assert last_answered_by(answers, "green", harm.last_candidate_unix_s + 0.001) is None
    assert answers[-1].slot == "blue"
    assert answers[-1].due_unix_s > harm.last_candidate_unix_s + 0.3
