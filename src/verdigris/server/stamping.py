"""Has the ledger's head stamped by time stamping authorities (RFC 3161): then it is shown that this head existed at a time which somebody
else gave. Stamps are kept beside the log (`stamps`); nothing waits for one, and nothing stops without.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.log import Log
from verdigris.ledger.stamps import keep, kept
from verdigris.ledger.storage import LedgerUnavailable
from verdigris.ledger.timestamp import Authority, TimestampFailed, stamp_by
from verdigris.times import NANO, rfc3339

RETRY_S = 60.0
"""After a failure it is asked again so soon, or after the interval where that is shorter."""

LOOK_S = 5.0
"""How often it is looked whether something is due."""

log = logging.getLogger("verdigris.ledger")


class Stamping:
    """One log's time stamping authorities. Each is asked once per interval, if the log has grown since its last stamp."""

    def __init__(
        self, ledger_log: Log, authorities: Sequence[Authority], every_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is asked yet. `now_s`: a clock of which only differences count."""
        self._log, self._authorities, self._every_s, self._now_s = ledger_log, authorities, every_s, now_s
        self._due = dict.fromkeys((one.id for one in authorities), now_s())
        self._stamped: dict[str, int] = {}
        self.last: dict[str, str] = {}
        """By authority: the time in the last stamp."""
        self.failing: dict[str, str] = {}
        """By authority: why it gave no stamp when it was asked last."""

    async def run(self) -> None:
        """Ask whenever it is due, for ever."""
        while self._authorities:
            try:
                await asyncio.to_thread(self.ask)
            except LedgerUnavailable as error:
                log.warning("%s", error)
            await asyncio.sleep(LOOK_S)

    def ask(self) -> int:
        """Have the present head stamped by whom it is due with. Returns how many stamps were kept. Raises: LedgerUnavailable."""
        head, now = self._log.head, self._now_s()
        size = Checkpoint.parse(head.text).size
        due = [one for one in self._authorities if now >= self._due[one.id] and self._stamped.get(one.id, 0) < size]
        if not size or not due:
            return 0
        there = {(one.size, one.authority) for one in kept(self._log.storage)}  # another guard on the same log may have asked
        count = 0
        for authority in due:
            self._due[authority.id] = now + self._every_s
            if (size, authority.id) in there:
                self._stamped[authority.id] = size
                continue
            try:
                stamp = stamp_by(head.text, authority)
            except TimestampFailed as error:
                if self.failing.get(authority.name) != str(error):
                    log.warning("time stamping authority %s: %s", authority.name, error)
                self.failing[authority.name] = str(error)
                self._due[authority.id] = now + min(RETRY_S, self._every_s)
                continue
            keep(self._log.storage, head, authority, stamp)
            self._stamped[authority.id] = size
            self.last[authority.name] = rfc3339(round(stamp.time.timestamp()) * NANO)
            self.failing.pop(authority.name, None)
            count += 1
        return count

    def health(self) -> Mapping[str, object]:
        """How it stands, for anyone: names of authorities and times."""
        return {
            "stamped_entries": max(self._stamped.values(), default=0),
            "stamps": dict(self.last),
            "stamps_failing": sorted(self.failing),
        }
