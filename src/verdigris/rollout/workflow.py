"""The durable workflow: DBOS runs one step per phase of a rollout, and after a crash goes on at the step that was not finished.

A step that is run twice finds in the records that its transition was already kept, and does nothing. The workflow's id names the term of
the claim that it acts under; under an older term it ends without acting. Steps block a thread of DBOS and act on the guard's event loop,
where proxies and telemetry live.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from dbos import DBOS, DBOSConfig, SetWorkflowID

from verdigris.errors import VerdigrisError
from verdigris.plan.plan import Plan
from verdigris.plan.problems import PROBLEMS_TOLD, InvalidPlan
from verdigris.plan.settings import MissingSecret
from verdigris.rollout.driver import Driver
from verdigris.rollout.position import FORMAT, UnknownFormat
from verdigris.rollout.records import Claim, Records, RecordsUnavailable, Stored, Superseded
from verdigris.rollout.surroundings import TAKEOVER_AFTER_S, CannotMask, Surroundings
from verdigris.traffic.data_plane import DataPlane, TrafficError

APPLICATION_VERSION = f"verdigris-rollout-{FORMAT}"
"""DBOS resumes workflows of the same version only. A guard of another version claims the rollout anew, if it knows the format."""

SWEEP_EVERY_S = 2.0

log = logging.getLogger("verdigris.rollout")

OpenPlane = Callable[[Plan], AbstractAsyncContextManager[DataPlane]]
ReadPlan = Callable[[bytes], Plan]
Around = Callable[[Plan], Surroundings]


class CannotResume(VerdigrisError):
    """Another version of the guard began this rollout, and this one cannot read it. Safe: it is not acted on, the lease ends, and the
    baseline has the traffic. Use the version that began it.
    """


class _GuardStopped(BaseException):
    """Ends a workflow's thread without an outcome: what is unfinished stays so, and is resumed. DBOS records every `Exception`."""


class Acting:
    """Acts on this guard's rollouts, and takes over those that nobody acts on."""

    def __init__(
        self,
        records: Records,
        guard: str,
        read_plan: ReadPlan,
        open_plane: OpenPlane,
        around: Around,
        takeover_after_s: float = TAKEOVER_AFTER_S,
    ) -> None:
        """`guard` names this guard; no other may have its name."""
        self._takeover_after_s = takeover_after_s
        self.records, self.guard = records, guard
        self._read_plan, self._open_plane, self._around = read_plan, open_plane, around
        self.drivers: dict[str, Driver] = {}
        self.refused: dict[str, str] = {}
        """Rollouts that this guard cannot act on, and why."""
        self._opened: dict[str, contextlib.AsyncExitStack] = {}
        self._beginning: set[str] = set()
        self._loop = asyncio.get_running_loop()

    @contextlib.asynccontextmanager
    async def running(self, dbos_url: str) -> AsyncIterator[None]:
        """While inside, this guard acts. Afterwards its leases end by themselves."""
        global _acting  # noqa: PLW0603  # DBOS finds its functions by name, so they find the guard here: there is one per process
        _acting = self
        config: DBOSConfig = {
            "name": "verdigris", "system_database_url": dbos_url, "application_version": APPLICATION_VERSION, "executor_id": self.guard,
            "log_level": "ERROR", "console_log_level": "ERROR", "notification_listener_polling_interval_sec": 0.5,
        }  # fmt: skip
        DBOS(config=config)
        await asyncio.to_thread(DBOS.launch)
        sweeping = asyncio.create_task(self._sweep(), name="sweep")
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
            _acting = None
            for future in list(_futures):
                future.cancel()
            await asyncio.to_thread(DBOS.destroy)
            for rollout_id in list(self._opened):
                await self._close(rollout_id)

    async def begin(self, rollout_id: str) -> bool:
        """Claim a rollout and start its workflow. False when another guard acts on it."""
        if rollout_id in self._beginning:
            return True
        self._beginning.add(rollout_id)
        try:
            claim = await asyncio.to_thread(self.records.claim, rollout_id, self.guard, self._takeover_after_s)
            if claim is not None:
                await asyncio.to_thread(_start, claim)
            return claim is not None
        finally:
            self._beginning.discard(rollout_id)

    async def advance(self, claim: Claim, sequence: int) -> tuple[int, bool]:
        """One phase: the sequence that follows `sequence`, and whether the rollout has ended. Raises: Superseded, CannotResume."""
        driver = self.drivers.get(claim.rollout_id)
        if driver is None or driver.claim != claim:
            driver = await self._open(claim)
        if driver.position.sequence > sequence or driver.position.ended:
            position = driver.position
        else:
            position = await driver.advance()
        if position.ended:
            await self._close(claim.rollout_id)
        return position.sequence, position.ended

    async def _open(self, claim: Claim) -> Driver:
        await self._close(claim.rollout_id)
        await asyncio.to_thread(self.records.hear, claim)
        stored, plan = await self._readable(claim.rollout_id)
        stack = contextlib.AsyncExitStack()
        try:
            plane = await stack.enter_async_context(self._open_plane(plan))
            driver = Driver(plan, stored, claim, plane, self.records, self._around(plan))
            await stack.enter_async_context(driver.running())
        except BaseException:
            await stack.aclose()
            raise
        self.drivers[claim.rollout_id], self._opened[claim.rollout_id] = driver, stack
        return driver

    async def _close(self, rollout_id: str) -> None:
        self.drivers.pop(rollout_id, None)
        stack = self._opened.pop(rollout_id, None)
        if stack is not None:
            await stack.aclose()

    async def _sweep(self) -> None:
        """Take over what nobody acts on: after a crash of this guard or another, or an upgrade."""
        while True:
            try:
                unfinished = await asyncio.to_thread(self.records.unfinished)
                for ended in self.refused.keys() - set(unfinished):
                    del self.refused[ended]
                for rollout_id in unfinished:
                    if rollout_id not in self.drivers and rollout_id not in self._beginning:
                        await self._take_over(rollout_id)
            except RecordsUnavailable as error:
                log.warning("%s", error)
            except Exception:  # the sweep is what brings everything else back
                log.exception("could not look for rollouts that nobody acts on; trying again")
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _take_over(self, rollout_id: str) -> None:
        try:
            stored, _ = await self._readable(rollout_id)
            mine = Claim(rollout_id, self.guard, stored.term, resumed=True)
            if stored.term and stored.guard == self.guard and await asyncio.to_thread(_dbos_resumes, _workflow_id(mine)):
                return
            await self.begin(rollout_id)
        except CannotResume:
            return
        except RecordsUnavailable:
            raise
        except Exception:  # one that cannot be taken over must not keep others from it
            log.exception("%s: could not take it over; trying again", rollout_id)

    async def _readable(self, rollout_id: str) -> tuple[Stored, Plan]:
        """A rollout and its plan, as this version understands them. Raises: CannotResume: it is in `refused`, unless another guard acts."""
        stored = None
        try:
            stored = await asyncio.to_thread(self.records.load, rollout_id)
            plan = await asyncio.to_thread(self._read_plan, stored.plan)
        except (UnknownFormat, InvalidPlan) as error:
            what = cannot_read(error) if isinstance(error, InvalidPlan) else str(error)
            why = f"{what}; the lease ends and the baseline has the traffic; use the version that began it"
            if stored is None or stored.guard == self.guard or stored.heard_s_ago >= self._takeover_after_s:
                if rollout_id not in self.refused:
                    log.error("%s: %s", rollout_id, why)  # noqa: TRY400  # the message says it all
                self.refused[rollout_id] = why
            else:
                self.refused.pop(rollout_id, None)
            raise CannotResume(why) from error
        self.refused.pop(rollout_id, None)
        return stored, plan


def cannot_read(error: InvalidPlan) -> str:
    """What this version finds wrong with a plan that another took; lines and columns of what is stored would say nothing."""
    wrong = [f"{problem.path}: {problem.message}" if problem.path else problem.message for problem in error.problems]
    return f"this version of the guard cannot read the plan ({'; '.join(wrong[:PROBLEMS_TOLD])})"


_acting: Acting | None = None
_futures: set["concurrent.futures.Future[tuple[int, bool]]"] = set()


@DBOS.workflow(name="verdigris.rollout")
def _carry_out(rollout_id: str, guard: str, term: int) -> str:
    """One rollout under one claim, to its end."""
    sequence, ended = -1, False
    while not ended:
        sequence, ended = DBOS.run_step({"name": "advance"}, _advance, rollout_id, guard, term, sequence)
        if sequence < 0:
            return "let go"
    return "ended"


def _advance(rollout_id: str, guard: str, term: int, sequence: int) -> tuple[int, bool]:
    """A step: acts on the guard's event loop, and waits for what happens."""
    acting = _acting
    if acting is None:
        raise _GuardStopped
    claim = Claim(rollout_id, guard, term, resumed=True)
    future = asyncio.run_coroutine_threadsafe(_patiently(acting, claim, sequence), acting._loop)  # noqa: SLF001  # one module
    _futures.add(future)
    try:
        return future.result()
    except concurrent.futures.CancelledError:
        raise _GuardStopped from None
    except Superseded as error:
        log.warning("%s", error)
        return -1, True
    except CannotResume:
        return -1, True
    finally:
        _futures.discard(future)


async def _patiently(acting: Acting, claim: Claim, sequence: int) -> tuple[int, bool]:
    """Go on when the proxy's adapter cannot be opened or the records do not answer: an exception would end the workflow."""
    while True:
        try:
            return await acting.advance(claim, sequence)
        except (Superseded, CannotResume):
            await acting._close(claim.rollout_id)  # noqa: SLF001  # one module
            raise
        except (RecordsUnavailable, TrafficError, MissingSecret, CannotMask, OSError) as error:
            log.error("%s: %s; trying again", claim.rollout_id, error)  # noqa: TRY400  # the message says it all
        except Exception:
            log.exception("%s: a mistake of ours; the lease ends, then this phase is begun again", claim.rollout_id)
            await acting._close(claim.rollout_id)  # noqa: SLF001  # one module
        await asyncio.sleep(SWEEP_EVERY_S)


def _workflow_id(claim: Claim) -> str:
    return f"{claim.rollout_id}.{claim.term}"


def _start(claim: Claim) -> None:
    with SetWorkflowID(_workflow_id(claim)):
        DBOS.start_workflow(_carry_out, claim.rollout_id, claim.guard, claim.term)


def _dbos_resumes(workflow_id: str) -> bool:
    """Whether DBOS runs this workflow in this process, or will."""
    status = DBOS.get_workflow_status(workflow_id)
    if status is None or status.status not in {"PENDING", "ENQUEUED"}:
        return False
    return status.app_version == APPLICATION_VERSION
