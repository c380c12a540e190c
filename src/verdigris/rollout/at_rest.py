"""Proxies whose rollout has ended: looks at them, and tells of traffic that no rollout explains. Moves nothing.

What the proxy does is compared with what its newest rollout left, or with what was told of it last: one entry per change, not per look.
A proxy that does not answer, or that this machine cannot reach, is not told of; nor is one of which a rollout runs, which tells itself.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from verdigris.errors import VerdigrisError
from verdigris.plan.plan import Plan
from verdigris.rollout import acts
from verdigris.rollout.journal import Journal, Transaction
from verdigris.rollout.transitions import Phase
from verdigris.traffic.data_plane import Routing, Split

LOOK_EVERY_S = 30.0
PROXIES_AT_ONCE = 50
"""So many are looked at in one round; the next round goes on with the others."""

PATIENCE_S = 5.0
"""For one look at one proxy, which is read twice."""

AGAIN_S = 0.5
"""Between the two: what is seen once only may be a change that somebody is just making."""

METADATA = sa.MetaData()
_TOLD = sa.Table(
    "verdigris_traffic_at_rest", METADATA,
    sa.Column("subject", sa.String(200), primary_key=True),
    sa.Column("rollout_id", sa.String(40), nullable=False),
    sa.Column("candidate_percent", sa.Float, nullable=False),
    sa.Column("committed", sa.Boolean, nullable=False),
)  # fmt: skip
"""What was told last of a proxy since its newest rollout ended."""

Look = Callable[[], Awaitable[Split | None]]
OpenLook = Callable[[Plan], AbstractAsyncContextManager[Look]]

log = logging.getLogger("verdigris.traffic")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A subject, its newest rollout, which has ended, and the canonical form of that one's plan."""

    subject: str
    rollout_id: str
    plan: bytes


class AtRest:
    """What the records know of proxies at rest. Methods block, and raise what `transaction` does."""

    def __init__(self, transaction: Transaction, journal: Journal, rollouts: sa.Table) -> None:
        self._transaction, self._journal, self._rollouts = transaction, journal, rollouts

    def proxies(self, after: str, limit: int) -> Sequence[Proxy]:
        """Those of the subjects after one, in order, whose newest rollout has ended."""
        one = self._rollouts
        ended = (one.c.ended_unix_s.is_not(None), one.c.subject > after, ~self._has_newer(one))
        with self._transaction("list proxies at rest") as connection:
            rows = connection.execute(sa.select(one).where(*ended).order_by(one.c.subject).limit(limit)).all()
        return [Proxy(row.subject, row.id, bytes(row.plan)) for row in rows]

    def note(self, proxy: Proxy, guard: str, now_unix_s: float, split: Split) -> int | None:
        """A row of the guard's journal where the proxy does something else than was told last. Returns its number; None: no news."""
        one = self._rollouts
        with self._journal.noting(guard, now_unix_s, "record traffic that changed") as (connection, note):
            # Whoever sees the same at the same time waits here, and then finds it told.
            still = sa.select(one).where(one.c.id == proxy.rollout_id, ~self._has_newer(one)).with_for_update()
            row = connection.execute(still).first()
            if row is None:
                return None  # another rollout has begun meanwhile, and tells of its traffic itself
            before = self._last_told(connection, proxy, row)
            now = (split.routing.candidate_percent, split.committed)
            if before[1] == now[1] and Routing(before[0]).agrees_with(Routing(now[0])):
                return None
            number = note(acts.traffic_changed(f"guard {guard}", proxy.rollout_id, row.digest, split, before[0]))
            connection.execute(_TOLD.delete().where(_TOLD.c.subject == proxy.subject))
            told = {"rollout_id": proxy.rollout_id, "candidate_percent": now[0], "committed": now[1]}
            connection.execute(_TOLD.insert().values(subject=proxy.subject, **told))
        return number

    def _last_told(self, connection: sa.Connection, proxy: Proxy, row: Any) -> tuple[float, bool]:
        told = connection.execute(sa.select(_TOLD).where(_TOLD.c.subject == proxy.subject)).first()
        if told is not None and told.rollout_id == proxy.rollout_id:
            return told.candidate_percent, told.committed
        committed = json.loads(row.position)["phase"] == Phase.COMMITTED
        return (100.0 if committed else 0.0), committed

    def _has_newer(self, one: sa.Table) -> sa.ColumnElement[bool]:
        other = self._rollouts.alias()
        same_time = sa.and_(other.c.started_unix_s == one.c.started_unix_s, other.c.id > one.c.id)
        newer = sa.or_(other.c.started_unix_s > one.c.started_unix_s, same_time)
        return sa.exists().where(other.c.subject == one.c.subject, newer)


class _Records(Protocol):
    """What looking needs of the records."""

    def proxies_at_rest(self, after: str, limit: int) -> Sequence[Proxy]:
        """See `AtRest.proxies`."""

    def note_traffic(self, proxy: Proxy, guard: str, now_unix_s: float, split: Split) -> bool:
        """See `AtRest.note`."""


class Looking:
    """Looks at the proxies at rest that a guard can reach, round by round."""

    def __init__(
        self, records: _Records, guard: str, read_plan: Callable[[bytes], Plan], open_look: OpenLook, now_unix_s: Callable[[], float]
    ) -> None:
        """Nothing was looked at yet."""
        self._records, self._guard, self._read_plan, self._open_look, self._now = records, guard, read_plan, open_look, now_unix_s
        self._after = ""

    async def run(self) -> None:
        """A round every `LOOK_EVERY_S`, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.round()
            except VerdigrisError as error:
                log.warning("proxies without a rollout were not looked at, next try in %.0f s: %s", LOOK_EVERY_S, error)
            except Exception:  # looking goes on, whatever one round met
                log.exception("proxies without a rollout were not looked at, next try in %.0f s", LOOK_EVERY_S)

    async def round(self) -> int:
        """One round. Returns how many changes were told. Raises: RecordsUnavailable."""
        proxies = await asyncio.to_thread(self._records.proxies_at_rest, self._after, PROXIES_AT_ONCE)
        self._after = proxies[-1].subject if len(proxies) == PROXIES_AT_ONCE else ""
        changes = 0
        for proxy in proxies:
            split = await self._seen(proxy)
            if split is not None and await asyncio.to_thread(self._records.note_traffic, proxy, self._guard, self._now(), split):
                log.warning("%s: traffic changed, and no rollout explains it; see: verdigris audit population", proxy.subject)
                changes += 1
        return changes

    async def _seen(self, proxy: Proxy) -> Split | None:
        """What the proxy says twice; None where it does not, or cannot be reached from here."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._open_look(self._read_plan(proxy.plan)) as look:
                first = await look()
                await asyncio.sleep(AGAIN_S)
                second = await look()
        except (VerdigrisError, OSError, ValueError) as error:  # TimeoutError is an OSError
            log.debug("%s cannot be looked at: %s", proxy.subject, error)
            return None
        if first is None or second is None or first.committed is not second.committed:
            return None
        return second if first.routing.agrees_with(second.routing) else None
