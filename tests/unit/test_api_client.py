"""The client when things go wrong: answers that are lost, guards that are not there, certificates, a stream that breaks."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.contract.rollout_controls import ACTORS, ANOTHER_PLAN, PLAN, TOKEN, VIEWER_TOKEN, certificate
from tests.scripted_control import ScriptedControl

from verdigris.plan.problems import InvalidPlan, Problem
from verdigris.rollout.status import AlreadyRunning, NoSuchRollout, RolloutError
from verdigris.rollout.transitions import Phase
from verdigris.server import client as client_module
from verdigris.server import wire
from verdigris.server.api import make_api, serve_api
from verdigris.server.client import AnswerLost, GuardUnreachable, InvalidServer, NoGuard, RemoteControl
from verdigris.server.serving import TlsFiles


class Lossy:
    """Stands before a guard's socket and loses what it is told to: the request, or the answer to it."""

    def __init__(self, behind: Path) -> None:
        self.behind = behind
        self.lose: list[tuple[bytes, bool]] = []
        """Beginnings of requests to lose once each; whether the guard still gets the request."""
        self.lost = 0
        self.seen: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.read(1 << 20)
            self.seen.append(request.partition(b" HTTP/")[0])
            losing = next((each for each in self.lose if request.startswith(each[0])), None)
            if losing is not None:
                self.lose.remove(losing)
                self.lost += 1
                if losing[1]:
                    await self._answer(request, None)
                return
            await self._answer(request, writer)
        finally:
            writer.close()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter | None) -> None:
        behind_reader, behind_writer = await asyncio.open_unix_connection(self.behind)
        # One request per connection: its answer ends with the connection.
        behind_writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        try:
            while chunk := await behind_reader.read(1 << 16):
                if writer is not None:
                    writer.write(chunk)
                    await writer.drain()
        finally:
            behind_writer.close()


@asynccontextmanager
async def lossy_guard(folder: Path) -> AsyncIterator[tuple[ScriptedControl, Lossy, RemoteControl]]:
    control = ScriptedControl(every_s=0.05)
    lossy = Lossy(folder / "behind.sock")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve_api(make_api(control, dict, ACTORS), folder / "behind.sock"))
        server = await asyncio.start_unix_server(lossy, folder / "api.sock")
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        yield control, lossy, await stack.enter_async_context(RemoteControl(folder=folder))


Check = Callable[[ScriptedControl, Lossy, RemoteControl], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Check], None]:
    monkeypatch.setattr(client_module, "PAUSE_S", 0.01)

    def running(check: Check) -> None:
        async def whole() -> None:
            async with asyncio.timeout(20), lossy_guard(tmp_path) as parts:
                await check(*parts)

        asyncio.run(whole())

    return running


Run = Callable[[Check], None]
START = b"POST /v1/rollouts "


@pytest.mark.parametrize("took_effect", [False, True])
def test_a_start_whose_answer_is_lost_starts_once(run: Run, took_effect: bool) -> None:  # noqa: FBT001
    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        lossy.lose = [(START, took_effect)]
        status = await client.start(PLAN, "alice")
        assert lossy.lost == 1
        assert list(control.statuses) == [status.id]
        assert [call for call in control.calls if call[0] == "start"] == [("start", "alice")]

    run(check)


def test_a_lost_start_whose_rollout_ended_at_once_is_not_started_again(run: Run) -> None:
    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        first = await client.start(PLAN, "alice")
        await client.abort(first.id, "alice", "")
        start = control.start

        async def start_and_fail(plan_text: str, actor: str, *, break_glass: bool = False):  # type: ignore[no-untyped-def]  # noqa: ANN202
            status = await start(plan_text, actor, break_glass=break_glass)
            return control.to(status.id, Phase.ROLLED_BACK)

        control.start = start_and_fail  # type: ignore[method-assign]
        lossy.lose = [(START, True)]
        status = await client.start(PLAN, "alice")
        assert (status.phase, status.id) == (Phase.ROLLED_BACK, "0002-scripted")
        assert len(control.statuses) == 2

    run(check)


def test_a_start_that_is_still_under_way_is_found_when_the_next_is_refused(run: Run) -> None:
    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        # The first list after the loss does not show it yet.
        rollouts, empty = control.rollouts, [True, True]

        async def late():  # type: ignore[no-untyped-def]  # noqa: ANN202
            return [] if empty and empty.pop() else await rollouts()

        control.rollouts = late  # type: ignore[method-assign]
        lossy.lose = [(START, True)]
        status = await client.start(PLAN, "alice")
        assert list(control.statuses) == [status.id]

    run(check)


def test_a_start_that_never_gets_an_answer_says_that_nobody_knows(run: Run) -> None:
    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        lossy.lose = [(START, False)] * 9
        with pytest.raises(AnswerLost, match="did not answer"):
            await client.start(PLAN, "alice")
        assert lossy.lost == 3
        assert control.statuses == {}

    run(check)


def test_a_rollout_that_ran_before_is_not_taken_for_ones_own(run: Run) -> None:
    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        first = await client.start(PLAN, "bob")
        with pytest.raises(AlreadyRunning) as caught:
            await client.start(PLAN, "alice")
        assert caught.value.rollout_id == first.id
        lossy.lose = [(START, True)]
        with pytest.raises(AlreadyRunning) as again:
            await client.start(PLAN, "alice")
        assert again.value.rollout_id == first.id
        other = await client.start(ANOTHER_PLAN, "alice")
        assert other.id != first.id

    run(check)


def test_a_start_that_somebody_else_made_a_moment_before_is_not_ones_own(run: Run) -> None:
    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        rollouts, empty = control.rollouts, [True]
        first = await control.start(PLAN, "bob")

        async def late():  # type: ignore[no-untyped-def]  # noqa: ANN202
            return [] if empty and empty.pop() else await rollouts()

        control.rollouts = late  # type: ignore[method-assign]
        with pytest.raises(AlreadyRunning) as caught:
            await client.start(PLAN, "alice")
        assert caught.value.rollout_id == first.id

    run(check)


@pytest.mark.parametrize("took_effect", [False, True])
def test_what_does_no_harm_twice_is_asked_again_and_the_rest_is_not(run: Run, took_effect: bool) -> None:  # noqa: FBT001
    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        started = await client.start(PLAN, "alice")
        for path, asked in (
            (f"GET /v1/rollouts/{started.id} ", client.status(started.id)),
            (f"POST /v1/rollouts/{started.id}/hold", client.hold(started.id, "alice", "")),
        ):
            lossy.lose = [(path.encode(), took_effect)]
            assert (await asked).id == started.id
            assert lossy.lose == []
        before = len(control.calls)
        for name, do in (("resume", client.resume), ("commit", client.commit)):
            lossy.lose = [(f"POST /v1/rollouts/{started.id}/{name}".encode(), took_effect)] * 2
            with pytest.raises(AnswerLost, match="look at the rollout's status"):
                await do(started.id, "alice", "")
            assert len(lossy.lose) == 1
        assert len(control.calls) == before + 2 * took_effect
        lossy.lose = [(f"POST /v1/rollouts/{started.id}/abort".encode(), took_effect)] * 2
        assert (await client.abort(started.id, "alice", "")).phase is Phase.ROLLED_BACK

    run(check)


def test_a_stream_that_breaks_is_made_again(run: Run, tmp_path: Path) -> None:
    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        started = await client.start(PLAN, "alice")
        told: list[str | None] = []
        lossy.lose = [(f"GET /v1/rollouts/{started.id}/watch".encode(), False)] * 3
        async with RemoteControl(folder=tmp_path, trouble=told.append) as watcher:
            seen = []
            async for status in watcher.watch("latest"):
                seen.append(status.phase)
                if len(seen) == 3:
                    control.to(started.id, Phase.COMMITTED)
        assert lossy.lose == []
        assert seen[-1] is Phase.COMMITTED
        assert told.count(None) == 1
        assert [why is None for why in told] == [False] * 3 + [True]
        assert told[0] is not None
        assert "lost" in told[0]

    run(check)


def test_a_guard_that_dies_is_waited_for_and_then_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAUSE_S", 0.01)

    async def check() -> None:
        control = ScriptedControl(every_s=0.05)
        told: list[str | None] = []
        app = make_api(control, dict, ACTORS)
        async with RemoteControl(folder=tmp_path, trouble=told.append, patience_s=0.3) as client:
            async with serve_api(app, tmp_path / "api.sock"):
                await client.start(PLAN, "alice")
                watching = client.watch("latest")
                await anext(watching)
                await anext(watching)
            with pytest.raises(GuardUnreachable, match="no word of rollout 0001-scripted"):
                async for _ in watching:
                    pass
            assert any(why and "no guard answers" in why for why in told)
            with pytest.raises(NoGuard):
                await anext(client.watch("latest"))

    asyncio.run(check())


def test_an_error_in_the_stream_ends_the_watch(run: Run) -> None:
    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        started = await client.start(PLAN, "alice")
        watching = client.watch(started.id)
        await anext(watching)
        del control.statuses[started.id]
        with pytest.raises(NoSuchRollout):
            await anext(watching)

    run(check)


def test_without_a_guard_it_says_how_to_start_one(tmp_path: Path) -> None:
    async def asked(folder: Path) -> str:
        with pytest.raises(NoGuard) as caught:
            async with RemoteControl(folder=folder) as client:
                await client.rollouts()
        return str(caught.value)

    assert asyncio.run(asked(tmp_path)).endswith(f"Start one: verdigris serve --state {tmp_path}")
    asyncio.run(asked(tmp_path / "none"))
    asyncio.run(asked(tmp_path / ("x" * 120)))
    (tmp_path / "api.sock").write_text("no socket", encoding="utf-8")
    asyncio.run(asked(tmp_path))


@pytest.mark.parametrize(
    ("server", "token", "told"),
    [
        ("https://guard", None, "needs a token"),
        ("http://guard.example:80", "t", "unencrypted"),
        ("http://10.0.0.1:80", "t", "unencrypted"),
        ("http://127.0.0.1.evil:80", "t", "unencrypted"),
        ("guard:4443", "t", "https://host:port"),
        ("ftp://guard", "t", "https://host:port"),
        ("https://", "t", "https://host:port"),
        ("https://user:pw@guard", "t", "https://host:port"),
        ("https://guard/path", "t", "https://host:port"),
        ("https://[::1", "t", "cannot read"),
        ("https://guard", "two words", "one line"),
        ("https://guard", "a\nb", "one line"),
        ("https://guard", "é", "one line"),
        ("https://guard", " ", "one line"),
    ],
)
def test_a_server_that_cannot_be_used_is_told_before_anything_is_sent(server: str, token: str | None, told: str) -> None:
    with pytest.raises(InvalidServer, match=told):
        RemoteControl(server, token=token)


def test_certificates_that_are_not_to_be_trusted_are_told(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    tls, other = certificate(tmp_path), certificate(tmp_path / "other")

    async def asked(server: str, ca: Path | None, token: str = TOKEN) -> None:
        async with RemoteControl(server, token=token, ca=ca) as client:
            await client.rollouts()

    async def check() -> None:
        app = make_api(ScriptedControl(), dict, ACTORS)
        async with serve_api(app, None, ("127.0.0.1", 0), tls) as served:
            assert served.tcp is not None
            at = f"https://127.0.0.1:{served.tcp[1]}"
            await asked(at, tls.certificate)
            await asked(at, tls.certificate, VIEWER_TOKEN)
            for ca in (None, other.certificate):
                with pytest.raises(GuardUnreachable, match=r"not to be trusted \(.+\); give the right authority with --ca"):
                    await asked(at, ca)
            with pytest.raises(GuardUnreachable, match="not to be trusted"):
                await asked(f"https://localhost:{served.tcp[1]}", tls.certificate)
            with pytest.raises(wire.AccessDenied):
                await asked(at, tls.certificate, "wrong")
            with pytest.raises(InvalidServer, match="cannot read certificates"):
                await asked(at, tmp_path / "none.pem")
            with pytest.raises(AnswerLost):
                await asked(at.replace("https", "http"), None)
        with pytest.raises(GuardUnreachable, match="nothing listens"):
            await asked(at, tls.certificate)
        async with serve_api(app, None, ("127.0.0.1", 0)) as plain:
            assert plain.tcp is not None
            with pytest.raises(GuardUnreachable, match="cannot agree on TLS"):
                await asked(f"https://127.0.0.1:{plain.tcp[1]}", tls.certificate)
            await asked(f"http://127.0.0.1:{plain.tcp[1]}", None)

    asyncio.run(check())


def test_old_tls_and_callers_without_a_certificate_are_refused(tmp_path: Path) -> None:
    tls = certificate(tmp_path)

    async def check() -> None:
        app = make_api(ScriptedControl(), dict, ACTORS)
        async with serve_api(app, None, ("127.0.0.1", 0), TlsFiles(tls.certificate, tls.key, tls.certificate)) as served:
            assert served.tcp is not None
            async with RemoteControl(f"https://127.0.0.1:{served.tcp[1]}", token=TOKEN, ca=tls.certificate) as client:
                with pytest.raises((AnswerLost, GuardUnreachable)):
                    await client.rollouts()
            context = ssl.create_default_context(cafile=tls.certificate)
            context.load_cert_chain(tls.certificate, tls.key)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            _, writer = await asyncio.open_connection(*served.tcp, ssl=context)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    asyncio.run(check())


@asynccontextmanager
async def answering(folder: Path, answer: bytes) -> AsyncIterator[RemoteControl]:
    """A guard that answers everything with these bytes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(1 << 16)
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(talk, folder / "api.sock")
    try:
        async with RemoteControl(folder=folder) as client:
            yield client
    finally:
        server.close()
        await server.wait_closed()


def http(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http(b"{}"), wire.InvalidAnswer),
        (http(b"\xff"), wire.InvalidAnswer),
        (http(b"[" * 100_000), wire.InvalidAnswer),
        (http(b'{"id": 1}'), wire.InvalidAnswer),
        (http(b"<html>", "404 Not Found"), wire.InvalidAnswer),
        (http(b"{}", "500 Oops"), wire.InvalidAnswer),
        (http(b"", "302 Found", "Location: http://evil.example/\r\n"), wire.InvalidAnswer),
        (http(b"{}", "200 OK", "Content-Encoding: gzip\r\n"), wire.InvalidAnswer),
        (b"nonsense", AnswerLost),
        (b"", AnswerLost),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", AnswerLost),
    ],
)
def test_an_answer_that_is_not_ours_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, error: type[Exception]
) -> None:
    monkeypatch.setattr(client_module, "PAUSE_S", 0.001)

    async def check() -> None:
        async with answering(tmp_path, answer) as client:
            with pytest.raises(error):
                await client.status("latest")

    asyncio.run(check())


def test_answers_and_events_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_BYTES_MAX", 1000)
    monkeypatch.setattr(client_module, "FRAME_BYTES_MAX", 1000)

    async def check() -> None:
        async with answering(tmp_path, http(b" " * 5000)) as client:
            with pytest.raises(wire.InvalidAnswer, match="larger than 1000 bytes"):
                await client.rollouts()
            with pytest.raises(wire.InvalidAnswer, match="more than 1000 bytes"):
                async for _ in client._follow("x"):
                    pass

    asyncio.run(check())


def test_every_error_document_becomes_its_exception_again() -> None:
    problems = (Problem(3, 5, "steps[0]", "is wrong", "write 5%"),)
    for error in (
        InvalidPlan(problems),
        NoSuchRollout("no such"),
        AlreadyRunning("runs", "0001"),
        RolloutError("cannot"),
    ):
        status_code, told = wire.refusal_of(error)
        again = wire.error_of(status_code, wire.refusal_to_json(told))
        assert type(again) is type(error)
        assert str(error) in str(again)
        if isinstance(again, InvalidPlan):
            assert again.problems == problems
        if isinstance(again, AlreadyRunning):
            assert again.rollout_id == "0001"


def test_what_json_cannot_say_becomes_what_it_can() -> None:
    document = wire.to_json({"a": float("inf"), "b": [float("-inf"), float("nan"), 1.5], "c": {"d": "\ud800"}})
    assert document == b'{"a":1.7e+308,"b":[-1.7e+308,0.0,1.5],"c":{"d":"\\ud800"}}'


def test_long_journals_are_read_page_by_page(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGE", 10)

    async def check(control: ScriptedControl, lossy: Lossy, client: RemoteControl) -> None:
        started = await client.start(PLAN, "alice")
        for number in range(34):
            control.note(started.id, "note", "x", str(number))
        assert [event.sequence for event in await client.events(started.id)] == list(range(1, 36))
        assert [event.sequence for event in await client.events(started.id, 30)] == list(range(31, 36))
        assert sum(b"/events" in each for each in lossy.seen) == 4 + 1

    run(check)
