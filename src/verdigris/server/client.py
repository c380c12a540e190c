"""`RolloutControl` over HTTP: the same calls, the same values, the same exceptions as in the guard's own process.

Reading is tried again by itself. So are `hold` and `abort`, which do no harm twice. `resume` and `commit` are not: where the
answer was lost, a second one could agree to a step that nobody looked at. A lost answer to `start` is looked up before
anything is sent again.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from verdigris.plan.document import load_plan
from verdigris.rollout.status import (
    AgreementStatus,
    AlreadyRunning,
    NoSuchRollout,
    ReviewStatus,
    RolloutError,
    RolloutEvent,
    RolloutStatus,
)
from verdigris.rollout.transitions import TERMINAL
from verdigris.server import wire
from verdigris.server.connection import CONNECT_S, GuardUnreachable, InvalidServer, NoGuard, connect, not_connected, state_folder

__all__ = ["AnswerLost", "GuardUnreachable", "InvalidServer", "NoGuard", "RemoteControl", "state_folder"]

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""A longer answer is not read: a thousand rollouts with all their evidence have some MiB."""

FRAME_BYTES_MAX = 4 * 1024 * 1024
"""A longer event of a stream ends the watching."""

SILENCE_MAX_S = 15.0
"""A stream that says nothing for so long is taken for lost: the guard speaks every 5 s."""

TRIES = 3
PAUSE_S = 0.2
PAUSE_MAX_S = 5.0
PATIENCE_S = 120.0
"""A watched rollout whose guard answers nothing for so long is given up."""

PAGE = 1_000
"""Events asked for at once."""


class AnswerLost(RolloutError):
    """No answer came after sending. It may have been done: look at the rollout's status before asking again."""


class RemoteControl:
    """A guard elsewhere. Use it as an async context manager, or `close` it.

    `server`: https://host:port, with a `token` and, for an authority of one's own, `ca`. Without `server` the guard of
    `folder` is asked over its socket. `trouble` is told, in a sentence, when a watched guard stops answering, and None when it
    answers again. Over TCP the token says who acts; the calls' `actor` counts on the socket only.
    Raises: InvalidServer, NoGuard.
    """

    def __init__(
        self,
        server: str | None = None,
        folder: Path | None = None,
        token: str | None = None,
        ca: Path | None = None,
        *,
        trouble: Callable[[str | None], None] = lambda _: None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._connection = connect(server, folder, token, ca)
        self._trouble = trouble
        self._patience_s = patience_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._connection.close()

    async def health(self) -> dict[str, object]:
        """The guard's summary of itself."""
        document: dict[str, object] = json.loads(await self._ask("GET", "/v1/health", again=True))
        return document

    async def start(self, plan_text: str, actor: str, *, break_glass: bool = False) -> RolloutStatus:
        """Submit a plan and begin. Raises also InvalidPlan.

        Never starts twice: what is running is asked first, and again whenever the answer to the start was lost.
        """
        digest = (await asyncio.to_thread(load_plan, plan_text)).digest
        before = {each.id for each in await self._of_plan(digest)}
        lost, refused = False, None
        for _ in range(TRIES):
            try:
                document = await self._ask(
                    "POST", f"/v1/rollouts{'?break_glass=true' if break_glass else ''}", actor, plan_text.encode(), media="application/yaml"
                )
                return wire.status_from_json(document)
            except AnswerLost:
                # Where nothing is found it was not begun, or not yet: then the guard refuses the next one, and names the first.
                lost = True
                await asyncio.sleep(PAUSE_S)
            except AlreadyRunning as running:
                if not lost:
                    raise
                refused = running
            ours = [each for each in await self._of_plan(digest) if each.id not in before]
            if ours:
                return ours[0]
            if refused is not None:  # by another rollout than the one that was asked for
                raise refused
        msg = "the guard was asked to start and did not answer; look for the rollout with `verdigris rollout list` before starting again"
        raise AnswerLost(msg)

    async def rollouts(self) -> Sequence[RolloutStatus]:
        """All rollouts, the newest first; at most the newest thousand."""
        return wire.statuses_from_json(await self._ask("GET", "/v1/rollouts", again=True))

    async def status(self, rollout_id: str) -> RolloutStatus:
        """One rollout. A unique beginning of the id is enough; "latest" is the newest."""
        return wire.status_from_json(await self._ask("GET", _path(rollout_id), again=True))

    async def events(self, rollout_id: str, after: int = 0) -> Sequence[RolloutEvent]:
        """Its journal from the entry after `after`."""
        listed: list[RolloutEvent] = []
        while True:
            page = wire.events_from_json(await self._ask("GET", f"{_path(rollout_id)}/events?after={after}&limit={PAGE}", again=True))
            listed += page
            if len(page) < PAGE or page[-1].sequence <= after:
                return listed
            after = page[-1].sequence

    async def hold(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Stay at the present weight until resumed."""
        return await self._act("hold", rollout_id, actor, reason, again=True)

    async def resume(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Go on after a hold."""
        return await self._act("resume", rollout_id, actor, reason)

    async def abort(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Back to the baseline, now."""
        return await self._act("abort", rollout_id, actor, reason, again=True)

    async def commit(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """End the bake now and make the candidate the durable default."""
        return await self._act("commit", rollout_id, actor, reason)

    async def agreement(self, rollout_id: str) -> AgreementStatus:
        """What people are asked about it, and what they have said."""
        return wire.agreement_from_json(await self._ask("GET", f"{_path(rollout_id)}/agreement", again=True))

    async def sign(self, rollout_id: str, signed: bytes) -> AgreementStatus:
        """Hand in what somebody has signed; twice is harmless."""
        return wire.agreement_from_json(await self._ask("POST", f"{_path(rollout_id)}/agreement", body=signed, again=True))

    async def reviews(self) -> Sequence[ReviewStatus]:
        """The reviews that overrides of freezes have opened, those that are still open first."""
        return wire.reviews_from_json(await self._ask("GET", "/v1/reviews", again=True))

    def asked_from(self, origin: str) -> Self:  # noqa: ARG002  # the guard that is asked sees it for itself
        """This one."""
        return self

    async def erase(self, rollout_id: str, actor: str, reason: str) -> RolloutStatus:
        """Erase the evidence of a rollout that has ended."""
        return await self._act("erase", rollout_id, actor, reason, again=True)

    async def watch(self, rollout_id: str) -> AsyncIterator[RolloutStatus]:
        """Its status whenever it changes, at least once a second, until it has ended.

        A lost connection is made again for `patience_s`; the first one must succeed.
        """
        latest = await self.status(rollout_id)
        yield latest
        heard_s, pause_s = time.monotonic(), PAUSE_S
        while latest.phase not in TERMINAL:
            why = "the guard ended the stream"
            try:
                async for status in self._follow(latest.id):
                    latest = status
                    if pause_s > PAUSE_S:
                        self._trouble(None)
                    heard_s, pause_s = time.monotonic(), PAUSE_S
                    yield latest
            except (GuardUnreachable, AnswerLost) as error:
                why = str(error)
            if latest.phase in TERMINAL:
                return
            silent_s = time.monotonic() - heard_s
            if silent_s > self._patience_s:
                msg = f"no word of rollout {latest.id} for {silent_s:.0f} s, last: {why}"
                raise GuardUnreachable(msg)
            self._trouble(why)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _follow(self, rollout_id: str) -> AsyncIterator[RolloutStatus]:
        """One stream until it ends or breaks. Raises: GuardUnreachable, AnswerLost, and what an `error` event says."""
        timeout = httpx.Timeout(SILENCE_MAX_S, connect=CONNECT_S)
        try:
            async with self._connection.http.stream("GET", f"{_path(rollout_id)}/watch", timeout=timeout) as response:
                if response.is_server_error:  # for now: the store, or the guard while it stops
                    msg = f"{self._connection.place} answered {response.status_code}"
                    raise AnswerLost(msg)
                if response.status_code != httpx.codes.OK:
                    raise wire.error_of(response.status_code, await _bounded(response, FRAME_BYTES_MAX))
                async for name, document in _frames(response):
                    match name:
                        case "status":
                            yield wire.status_from_json(document)
                        case "error":
                            raise wire.error_of(response.status_code, document)
                        case "end":
                            return
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise not_connected(self._connection, error) from error
        except httpx.TransportError as error:
            msg = f"the connection to {self._connection.place} was lost ({str(error) or type(error).__name__})"
            raise AnswerLost(msg) from error

    async def _of_plan(self, digest: str) -> Sequence[RolloutStatus]:
        return wire.statuses_from_json(await self._ask("GET", f"/v1/rollouts?plan_digest={digest}", again=True))

    async def _act(self, name: str, rollout_id: str, actor: str, reason: str, *, again: bool = False) -> RolloutStatus:
        body = json.dumps({"reason": reason}).encode()
        return wire.status_from_json(await self._ask("POST", f"{_path(rollout_id)}/{name}", actor, body, again=again))

    async def _ask(
        self,
        method: str,
        path: str,
        actor: str | None = None,
        body: bytes | None = None,
        *,
        media: str = "application/json",
        again: bool = False,
    ) -> bytes:
        """One question and its answer. `again`: asking twice does no harm, so a lost answer is asked for again.

        Raises: GuardUnreachable, AnswerLost, and what an error document says.
        """
        headers = {} if actor is None else {"x-verdigris-actor": quote(actor, safe="")}
        if body is not None:
            headers["content-type"] = media
        lost: AnswerLost | None = None
        for attempt in range(TRIES if again else 1):
            if attempt:
                await asyncio.sleep(PAUSE_S * 2**attempt)
            try:
                async with self._connection.http.stream(method, path, headers=headers, content=body) as response:
                    document = await _bounded(response, ANSWER_BYTES_MAX)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise not_connected(self._connection, error) from error
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
                msg = f"{self._connection.place} did not answer ({why}); it may have done what was asked: look at the rollout's status"
                lost = AnswerLost(msg)
                lost.__cause__ = error
                continue
            if response.is_success:
                return document
            raise wire.error_of(response.status_code, document)
        assert lost is not None  # noqa: S101  # the loop ran at least once and did not return
        raise lost


def _path(rollout_id: str) -> str:
    if wire.ID.fullmatch(rollout_id) is None:
        msg = f"there is no rollout {rollout_id!r}: ids are letters, digits, '.', '_' and '-'"
        raise NoSuchRollout(msg)
    return f"/v1/rollouts/{rollout_id}"


async def _bounded(response: httpx.Response, bytes_max: int) -> bytes:
    document = bytearray()
    async for chunk in response.aiter_raw():
        document += chunk
        if len(document) > bytes_max:
            msg = f"the guard's answer is larger than {bytes_max} bytes; nothing of it was used"
            raise wire.InvalidAnswer(msg)
    return bytes(document)


async def _frames(response: httpx.Response) -> AsyncIterator[tuple[str, bytes]]:
    """Server-sent events: name and data. Ours have one line of each; comments and other fields are passed over."""
    waiting = bytearray()
    async for chunk in response.aiter_raw():
        waiting += chunk
        while (end := waiting.find(b"\n\n")) >= 0:
            lines = bytes(waiting[:end]).split(b"\n")
            del waiting[: end + 2]
            fields = {name: value.removeprefix(b" ") for name, colon, value in (line.partition(b":") for line in lines) if colon}
            if b"event" in fields:
                yield fields[b"event"].decode("ascii", "replace"), fields.get(b"data", b"")
        if len(waiting) > FRAME_BYTES_MAX:
            msg = f"the guard sent an event of more than {FRAME_BYTES_MAX} bytes; nothing of it was used"
            raise wire.InvalidAnswer(msg)
