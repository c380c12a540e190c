"""The guard: telemetry in, rollouts acted on, an API for people. Puts the rooms together and takes them apart in a safe order.

Started in this order, stopped in the reverse: span store, intake, records, rollouts, API, listeners. What is acknowledged is durable
before anything stops, and leases end by themselves.
"""

import asyncio
import contextlib
import dataclasses
import logging
import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from verdigris import _native
from verdigris.errors import VerdigrisError
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.statement import Outcome, key_id
from verdigris.plan.document import load_plan
from verdigris.plan.plan import Plan
from verdigris.plan.settings import resolve_secrets
from verdigris.rollout.at_rest import Looking
from verdigris.rollout.control import GuardControl
from verdigris.rollout.journal import Act
from verdigris.rollout.position import Position
from verdigris.rollout.records import Records, RecordsUnavailable
from verdigris.rollout.status import RolloutControl
from verdigris.rollout.surroundings import Settled, Surroundings, TelemetryState
from verdigris.rollout.workflow import Acting, OpenPlane
from verdigris.server import people_file
from verdigris.server.actors import read_actors
from verdigris.server.api import make_api
from verdigris.server.keeping import Keeping
from verdigris.server.ledger_of import ledger_opener
from verdigris.server.masking import MaskingInForce, SeenLeaks
from verdigris.server.people_file import PeopleFile
from verdigris.server.serving import Serving, TlsFiles, serve_api
from verdigris.server.settings import GuardSettings
from verdigris.server.unix_socket import SOCKET_NAME
from verdigris.telemetry.chdb_store import ChdbStore
from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.live import LiveTelemetry
from verdigris.telemetry.receiver.intake import Intake
from verdigris.telemetry.receiver.listeners import Receiver
from verdigris.telemetry.retention import Retention
from verdigris.traffic.data_plane import DataPlane
from verdigris.traffic.open import Look, open_data_plane, open_look

REFUSALS_EVERY_S = 5.0
ENTER_EVERY_S = 5.0
ERASE_EVERY_S = 60.0
KEEP_SPANS_S = 600
"""While rollouts run, so much is kept whatever the retention says: their windows are still being read."""

log = logging.getLogger("verdigris.guard")


class CannotStart(VerdigrisError):
    """The guard cannot use its state folder. Safe: nothing was started."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A running guard."""

    name: str
    settings: GuardSettings
    control: RolloutControl
    receiver: Receiver
    telemetry: LiveTelemetry
    acting: Acting
    serving: Serving
    keeping: Keeping | None

    def health(self) -> Mapping[str, object]:
        """How it is, for anyone who can connect: counts and states, no names of people and no secrets."""
        return _health(self.name, self.telemetry, self.acting, self.keeping) | {"otlp": _ports(self.receiver)}


@contextlib.asynccontextmanager
async def open_guard(settings: GuardSettings) -> AsyncIterator[Guard]:
    """A guard, until the end of the block.

    Raises: CannotStart, StoreError, RecordsUnavailable, CannotMask, CannotListen, ListenerFailed, TlsUnusable, InvalidActors,
    InvalidPeople: then nothing runs.
    """
    folder = _made(settings.state_folder)
    name = guard_name(folder)
    clock = GuardClock()
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(contextlib.closing(ChdbStore(folder / "spans")))
        telemetry = LiveTelemetry(store, clock, settle_s=settings.settle_s)
        stack.callback(telemetry.close)
        records = stack.enter_context(contextlib.closing(Records(records_url(settings), ledger_opener(settings, folder))))
        refusals = _Refusals(records, name, clock)
        stack.push_async_callback(refusals.write)  # after the receiver has stopped: then nothing more is counted
        seen_leaks = SeenLeaks()
        intake = Intake(
            store,
            clock=clock,
            senders=settings.senders,
            bounds=settings.intake,
            masking=_native.Masking(settings.masking),
            folder=folder / "spans",
            on_stored=telemetry.observe,
            on_refused=refusals.count,
            on_found=seen_leaks.add,
        )
        masking = MaskingInForce(settings.masking, intake.mask_with)
        telemetry.fed_by(intake)
        receiver = Receiver(intake, settings.otlp, settings.tls)
        stack.push_async_callback(receiver.stop)
        takeover_after_s = settings.takeover_after_s
        people = PeopleFile(settings.people or folder / people_file.NAME, required=settings.people is not None)

        def around(plan: Plan) -> Surroundings:
            masking.include(plan)
            return Surroundings(
                _Windows(telemetry, plan), clock, takeover_after_s=takeover_after_s, people=people, leak=seen_leaks.leak
            )  # fmt: skip

        acting = Acting(records, name, _read_canonical, _opener(settings.proxies), around, takeover_after_s)
        control = GuardControl(records, acting, load_plan, _read_canonical, people, why_not=masking.why_not)
        keeping = None if records.ledger is None else Keeping(records.ledger, settings, folder, refusals.note)
        if records.ledger is not None:
            records.ledger.doubt = records.doubted()
        for background in (
            refusals.run(),
            _entering(records, name),
            _erasing(records, name, clock),
            Looking(records, name, _read_canonical, _open_look, clock.now_unix_s).run(),
            *(() if keeping is None else keeping.background()),
            Retention(store, settings.retention, clock, keep_from=lambda: _needed_from(acting, clock)).run(),
        ):
            await stack.enter_async_context(_beside(background))
        if (ledger := records.ledger) is not None and not ledger.log.size:
            opened = {"key": key_id(ledger.trusted[-1]), "version": metadata.version("verdigris")}
            await refusals.note(Kind.LEDGER_OPENED, f"the ledger {ledger.log.origin} was begun", opened)
        await refusals.note(Kind.GUARD_STARTED, f"guard {name} was started", {"version": metadata.version("verdigris")})
        await masking.load(records, clock.now_unix_s())  # before the first span comes
        await stack.enter_async_context(_beside(masking.keep(records, name, clock.now_unix_s)))
        await receiver.start()
        await stack.enter_async_context(acting.running(_dbos_url(settings)))
        app = make_api(
            control,
            lambda: _health(name, telemetry, acting, keeping) | {"otlp": _ports(receiver)},
            read_actors(settings.api.actors, "local"),
        )
        api = settings.api
        serving = await stack.enter_async_context(
            serve_api(app, Path(api.unix_socket) if api.unix_socket else folder / SOCKET_NAME, _host_port(api.address), _api_tls(settings))
        )
        yield Guard(name, settings, control, receiver, telemetry, acting, serving, keeping)
        log.info("stopping; leases end by themselves, and the baseline has the traffic until a guard runs again")
        await refusals.note(Kind.GUARD_STOPPED, f"guard {name} was stopped", {})


@contextlib.asynccontextmanager
async def run_local(plan_text: str, state_folder: Path) -> AsyncIterator[Guard]:
    """A guard in this process, with default settings, for one rollout. The plan is read first. Raises: as `open_guard`, InvalidPlan."""
    load_plan(plan_text)
    async with open_guard(GuardSettings(state_folder=state_folder)) as guard:
        yield guard


class _Windows:
    """One plan's windows out of the telemetry of all: the port that a rollout is given."""

    def __init__(self, telemetry: LiveTelemetry, plan: Plan) -> None:
        self._telemetry, self._plan = telemetry, plan

    async def settled(self, after_unix_s: int) -> Settled:
        observation = self._plan.observation
        found = await self._telemetry.settled(
            self._plan.identity, after_unix_s, window_s=observation.window_s, settle_s=observation.settle_s
        )
        return Settled(found.until_unix_s, found.windows)

    def state(self) -> TelemetryState:
        health = self._telemetry.health(self._plan.identity)
        skews = [role.clock_skew_s for role in (health.baseline, health.candidate) if role.clock_skew_s is not None]
        return TelemetryState(health.late_spans, max(skews, key=abs, default=None), health.notes)

    def end(self) -> None:
        self._telemetry.unwatch(self._plan.identity)


class _Refusals:
    """Spans that were refused, added up and written to the guard's journal every few seconds: refused is refused and recorded."""

    def __init__(self, records: Records, guard: str, clock: GuardClock) -> None:
        self._records, self._guard, self._clock = records, guard, clock
        self._counts: dict[tuple[str, str], tuple[int, str]] = {}
        self._lock = threading.Lock()

    def count(self, sender: str, reason: str, spans: int, example: str) -> None:
        """Called from the decoders' threads."""
        with self._lock:
            before, _ = self._counts.get((sender, reason), (0, ""))
            self._counts[sender, reason] = (before + spans, example)

    async def note(
        self, kind: Kind, text: str, values: Mapping[str, Value], data: Mapping[str, object] | None = None, outcome: Outcome = Outcome.DONE
    ) -> bool:
        """One entry of the guard's journal. It is not what a rollout stands on: where it cannot be written, that is logged.

        Returns: whether it was written.
        """
        try:
            act = Act(kind, f"guard {self._guard}", text, data or {}, values, outcome=outcome)
            await asyncio.to_thread(self._records.note_guard, self._guard, self._clock.now_unix_s(), act)
        except RecordsUnavailable as error:
            log.warning("%s", error)
            return False
        return True

    async def run(self) -> None:
        """Write what was counted, for ever."""
        while True:
            await asyncio.sleep(REFUSALS_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write what was counted; what cannot be written stays counted."""
        for sender, reason in list(self._counts):
            with self._lock:
                spans, example = self._counts.pop((sender, reason))
            text = f"{spans} spans of sender {sender} were refused: {reason}"
            data = {"sender": sender, "reason": reason, "spans": spans, "example": example}
            if not await self.note(Kind.TELEMETRY_REFUSED, text, {"spans": spans}, data):
                self.count(sender, reason, spans, example)


async def _entering(records: Records, guard: str) -> None:
    """Enter what could not be entered when it happened, for ever."""
    while True:
        try:
            await asyncio.to_thread(records.enter_all, guard)
        except RecordsUnavailable as error:
            log.warning("%s; nothing moves forward until it can", error)
        await asyncio.sleep(ENTER_EVERY_S)


async def _erasing(records: Records, guard: str, clock: GuardClock) -> None:
    """Erase the evidence of rollouts whose plan's retention has passed, for ever."""
    while True:
        try:
            erased = await asyncio.to_thread(records.erase_due, guard, clock.now_unix_s())
            if erased:
                log.info("%d pieces of evidence were erased: their retention has passed", erased)
        except VerdigrisError as error:
            log.warning("evidence whose retention has passed was not erased, next try in %.0f s: %s", ERASE_EVERY_S, error)
        except Exception:  # the next sweep comes
            log.exception("evidence whose retention has passed was not erased, next try in %.0f s", ERASE_EVERY_S)
        await asyncio.sleep(ERASE_EVERY_S)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "spans").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        msg = f"the state folder {folder} cannot be used: {error.strerror or error}; give the guard one that it may write"
        raise CannotStart(msg) from error
    return folder.resolve()


def guard_name(folder: Path) -> str:
    """This guard's name, the same after a restart: it stands in the folder."""
    file = folder / "guard-name"
    try:
        if not file.exists():
            fresh = file.with_suffix(".new")
            fresh.write_text(f"{socket.gethostname()[:60]}-{secrets.token_hex(3)}\n", encoding="utf-8")
            fresh.replace(file)
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        msg = f"{file} cannot be written: {error.strerror or error}; free space, or give the guard a folder that it may write"
        raise CannotStart(msg) from error


def _read_canonical(canonical: bytes) -> Plan:
    return load_plan(canonical.decode())


def _opener(bind: str | None) -> OpenPlane:
    @contextlib.asynccontextmanager
    async def open_plane(plan: Plan) -> AsyncIterator[DataPlane]:
        async with open_data_plane(_with_secrets(plan), bind=bind) as plane:
            yield plane

    return open_plane


@contextlib.asynccontextmanager
async def _open_look(plan: Plan) -> AsyncIterator[Look]:
    async with open_look(_with_secrets(plan)) as look:
        yield look


def _with_secrets(plan: Plan) -> Plan:
    """Raises: MissingSecret."""
    return replace(plan, traffic=replace(plan.traffic, settings=resolve_secrets(plan.traffic.settings, os.environ)))


def records_url(settings: GuardSettings) -> str:
    """SQLAlchemy's URL of the database of rollouts."""
    if settings.database_url is None:
        return f"sqlite:///{settings.state_folder.resolve() / 'rollouts.sqlite'}"
    _, _, rest = settings.database_url.partition("://")
    return f"postgresql+psycopg://{rest}"


def _dbos_url(settings: GuardSettings) -> str:
    if settings.database_url is None:
        return f"sqlite:///{settings.state_folder.resolve() / 'workflows.sqlite'}"
    _, _, rest = settings.database_url.partition("://")
    return f"postgresql://{rest}"


def _host_port(address: str | None) -> tuple[str, int] | None:
    if address is None:
        return None
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _api_tls(settings: GuardSettings) -> TlsFiles | None:
    """The API shows the same certificate as the receivers. People are known by their tokens, not by certificates."""
    return TlsFiles(settings.tls.certificate, settings.tls.key) if settings.tls else None


def _needed_from(acting: Acting, clock: GuardClock) -> int | None:
    return int(clock.now_unix_s()) - KEEP_SPANS_S if acting.drivers else None


def _ports(receiver: Receiver) -> dict[str, object]:
    return {"grpc_port": receiver.grpc_port, "http_port": receiver.http_port}


def _health(name: str, telemetry: LiveTelemetry, acting: Acting, keeping: Keeping | None) -> dict[str, object]:
    seen = telemetry.health()
    fields = {
        f.name: getattr(seen, f.name) for f in dataclasses.fields(seen) if f.name not in {"refused_by_sender", "baseline", "candidate"}
    }
    return {
        "guard": name,
        "telemetry": fields | {"store": seen.store.value},
        "rollouts": {rollout_id: _position(driver.position) for rollout_id, driver in acting.drivers.items()},
        "cannot_resume": dict(acting.refused),
        "ledger": {} if keeping is None else dict(keeping.health()),
    }


def _position(position: Position) -> str:
    return position.phase.value
