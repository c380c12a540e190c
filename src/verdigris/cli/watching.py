"""Follows a rollout and shows it: a live picture on a terminal, one line per change in a log, JSON lines for programs."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from verdigris.cli.watch import changes, picture
from verdigris.comparison.terminal import moment, visible
from verdigris.errors import VerdigrisError
from verdigris.rollout.status import RolloutControl, RolloutEvent, RolloutStatus
from verdigris.server import wire

TICK_S = 1.0
"""So often the picture is drawn again when nothing comes, for its times go on."""

EVENTS_KEPT = 20
HEIGHT_MIN = 10


class Screen:
    """Where a followed rollout is shown. `close` it."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = Console()
        self._json = as_json
        self._ascii = not self._console.encoding.lower().startswith("utf")
        # A screen of a few lines, or a dumb one, is a log.
        drawn = not as_json and self._console.is_terminal and not self._console.is_dumb_terminal and self._console.height >= HEIGHT_MIN
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop") if drawn else None
        self._events: list[RolloutEvent] = []
        self._trouble = ""
        self.latest: RolloutStatus | None = None

    @property
    def wants_events(self) -> bool:
        """Whether the journal is shown."""
        return self._live is not None

    @property
    def last_event(self) -> int:
        """The newest event that is known."""
        return self._events[-1].sequence if self._events else 0

    def trouble(self, why: str | None) -> None:
        """The guard stopped answering (why), or answers again (None)."""
        before, self._trouble = self._trouble, why or ""
        if self._live is not None:
            self.redraw()
        elif not self._json and self._trouble != before:
            self._line(f"not connected: {why}; trying again" if why else "connected again")

    def show(self, status: RolloutStatus, events: list[RolloutEvent]) -> None:
        """A newer status, and the events since `last_event`."""
        before, self.latest = self.latest, status
        self._trouble = ""
        self._events = [*self._events, *events][-EVENTS_KEPT:]
        if self._json:
            if status != before:
                sys.stdout.buffer.write(wire.status_to_json(status) + b"\n")
                sys.stdout.buffer.flush()
        elif self._live is not None:
            self._live.start()
            self.redraw()
        else:
            for line in changes(before, status):
                self._line(line)

    def redraw(self) -> None:
        """The same status at a later time."""
        if self._live is not None and self.latest is not None:
            foot = Text("Ctrl-C leaves, and the rollout goes on", style="dim")
            self._live.update(Group(*self._picture(self._console.height - 2), Text(), foot), refresh=True)

    def close(self) -> None:
        """The last picture stays, whole."""
        if self._live is not None and self._live.is_started and self.latest is not None:
            self._live.update(Group(*self._picture(None)), refresh=True)
            self._live.stop()

    def _picture(self, height: int | None) -> list[Text]:
        assert self.latest is not None  # noqa: S101  # asked by both callers
        return picture(
            self.latest, self._events, time.time(), self._console.width, height=height, plain_ascii=self._ascii, trouble=self._trouble
        )

    def _line(self, line: str) -> None:
        safe = visible(f"{moment(time.time())}  {line}")
        if self._ascii:
            safe = safe.encode("ascii", "replace").decode("ascii")
        self._console.print(safe, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()


async def follow(control: RolloutControl, rollout_id: str, screen: Screen) -> RolloutStatus:
    """Show a rollout until it has ended; its last status."""
    watching = control.watch(rollout_id)
    following: asyncio.Task[RolloutStatus] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(watching))
            await asyncio.wait({following}, timeout=TICK_S)
            if not following.done():
                screen.redraw()
                continue
            done, following = following, None
            try:
                status = done.result()
            except StopAsyncIteration:
                break
            events: list[RolloutEvent] = []
            if screen.wants_events:
                with suppress(VerdigrisError):  # the picture is worth more than its last lines
                    events = list(await control.events(status.id, screen.last_event))
            screen.show(status, events)
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        if isinstance(watching, AsyncGenerator):
            await watching.aclose()
    assert screen.latest is not None  # noqa: S101  # every watch begins with a status
    return screen.latest
