"""The HTTP API: who may ask, the one shape of errors, the stream, and what hostile callers get."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.contract.rollout_controls import ACTORS, PLAN, TOKEN, VIEWER_TOKEN, certificate
from tests.scripted_control import ScriptedControl

from verdigris import http_serving
from verdigris.errors import VerdigrisError
from verdigris.plan.document import load_plan
from verdigris.rollout.transitions import Phase
from verdigris.server import api, wire
from verdigris.server.actors import Actor, ActorRole, Actors, InvalidActors, read_actors
from verdigris.server.api import make_api, serve_api
from verdigris.server.serving import TlsFiles
from verdigris.server.unix_socket import PATH_BYTES_MAX, CannotListen, reachable

OPERATOR = {"authorization": f"Bearer {TOKEN}"}
VIEWER = {"authorization": f"Bearer {VIEWER_TOKEN}"}


class Guard:
    """The API on both listeners, its control, and clients of both."""

    def __init__(self, control: ScriptedControl, local: httpx.AsyncClient, tcp: httpx.AsyncClient, port: int) -> None:
        self.control, self.local, self.tcp, self.port = control, local, tcp, port

    async def start(self) -> str:
        answer = await self.local.post("/v1/rollouts", content=PLAN)
        assert answer.status_code == 201
        started: str = answer.json()["id"]
        assert answer.headers["location"] == f"/v1/rollouts/{started}"
        return started


@asynccontextmanager
async def serving_both(folder: Path, health: Callable[[], Mapping[str, object]] = dict) -> AsyncIterator[Guard]:
    control = ScriptedControl(every_s=0.05)
    path = folder / "api.sock"
    async with serve_api(make_api(control, health, ACTORS), path, ("127.0.0.1", 0)) as served:
        assert served.tcp is not None
        local = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://localhost", trust_env=False)
        tcp = httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.tcp[1]}", trust_env=False)
        async with local, tcp:
            yield Guard(control, local, tcp, served.tcp[1])


Check = Callable[[Guard], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Check], None]:
    def running(check: Check) -> None:
        async def whole() -> None:
            async with asyncio.timeout(30), serving_both(tmp_path) as guard:
                await check(guard)
                # Whatever was tried, it still serves.
                assert (await guard.local.get("/v1/health")).status_code == 200
                assert (await guard.tcp.get("/v1/health")).status_code == 200

        asyncio.run(whole())

    return running


Run = Callable[[Check], None]


def refused(answer: httpx.Response, status_code: int, kind: str) -> dict[str, Any]:
    """The error document of an answer, checked for its shape."""
    assert answer.status_code == status_code, answer.text
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, Any] = answer.json()
    assert set(document) == {"kind", "error", "safe", "hint", "problems", "rollout"}
    assert document["kind"] == kind
    assert document["error"]
    return document


def test_over_the_socket_the_caller_is_the_local_user_under_the_name_given(run: Run) -> None:
    async def check(guard: Guard) -> None:
        await guard.start()
        await guard.local.post("/v1/rollouts/latest/abort", headers={"x-verdigris-actor": "Zo%C3%AB"}, json={"reason": "why"})
        assert guard.control.calls == [("start", "somebody"), ("abort", "latest", "Zoë", "why")]
        for name in ("", "%20", "a%0Ab", "%1b[31m", "x" * 101, "%ff", "%E2%80%AE"):
            answer = await guard.local.post("/v1/rollouts/latest/abort", headers={"x-verdigris-actor": name})
            refused(answer, 400, "InvalidRequest")

    run(check)


def test_over_tcp_a_token_says_who_it_is_and_what_they_may(run: Run) -> None:
    async def check(guard: Guard) -> None:
        started = await guard.start()
        for path in ("/v1/rollouts", f"/v1/rollouts/{started}", "/v1/rollouts/latest/events", "/v1/version", "/v1/openapi.json"):
            refused(await guard.tcp.get(path), 401, "AccessDenied")
            for headers in (OPERATOR, VIEWER):
                assert (await guard.tcp.get(path, headers=headers)).status_code == 200
        for act in ("hold", "resume", "abort", "commit"):
            refused(await guard.tcp.post(f"/v1/rollouts/{started}/{act}"), 401, "AccessDenied")
            refused(await guard.tcp.post(f"/v1/rollouts/{started}/{act}", headers=VIEWER), 403, "AccessDenied")
        refused(await guard.tcp.post("/v1/rollouts", content=PLAN), 401, "AccessDenied")
        refused(await guard.tcp.post("/v1/rollouts", content=PLAN, headers=VIEWER), 403, "AccessDenied")
        assert guard.control.calls == [("start", "somebody")]
        await guard.tcp.post(f"/v1/rollouts/{started}/abort", headers={**OPERATOR, "x-verdigris-actor": "mallory"})
        assert guard.control.calls[-1] == ("abort", started, "alice", "")

    run(check)


def test_a_wrong_token_is_no_token(run: Run) -> None:
    near = (f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer  {TOKEN}", f"Basic {TOKEN}", TOKEN)
    digest = sha256(TOKEN.encode()).hexdigest()

    async def check(guard: Guard) -> None:
        for credentials in ("", "Bearer", *near, "Bearer \xff\xfe", f"Bearer {digest}"):
            answer = await guard.tcp.get("/v1/rollouts", headers={b"authorization": credentials.encode("latin-1")})
            refused(answer, 401, "AccessDenied")
            assert answer.headers["www-authenticate"] == "Bearer"

    run(check)


def test_plain_tcp_answers_to_local_names_only(run: Run) -> None:
    foreign = ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "", "localhost@evil", "[::2]")

    async def check(guard: Guard) -> None:
        for host in foreign:
            for path in ("/v1/health", "/v1/rollouts", "/nowhere"):
                refused(await guard.tcp.get(path, headers={**OPERATOR, "host": host}), 403, "AccessDenied")
        for name in ("localhost", "LOCALHOST:99", "127.0.0.1", "[::1]", "[::1]:4443"):
            assert (await guard.tcp.get("/v1/rollouts", headers={**OPERATOR, "host": name})).status_code == 200

    run(check)


def test_health_needs_no_credentials_and_nothing_may_be_kept(tmp_path: Path) -> None:
    async def check() -> None:
        async with serving_both(tmp_path, lambda: {"rollouts_running": 2, "alive": False}) as guard:
            for client in (guard.local, guard.tcp):
                answer = await client.get("/v1/health")
                assert answer.json() == {"rollouts_running": 2, "alive": True, "version": answer.json()["version"]}
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "access-control-allow-origin" not in answer.headers
                assert "set-cookie" not in answer.headers
                assert "server" not in answer.headers

    asyncio.run(check())


def test_a_mistake_of_ours_is_told_without_its_details(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Mapping[str, object]:
        msg = "secret detail"
        raise ZeroDivisionError(msg)

    async def check() -> None:
        async with serving_both(tmp_path, broken) as guard:
            document = refused(await guard.local.get("/v1/health"), 500, "InternalError")
            assert "ZeroDivisionError" in document["error"]
            assert "secret" not in json.dumps(document)

    asyncio.run(check())
    assert "secret detail" in caplog.text


def test_every_error_has_the_one_shape(run: Run) -> None:
    async def check(guard: Guard) -> None:
        started = await guard.start()
        second = refused(await guard.local.post("/v1/rollouts", content=PLAN), 409, "AlreadyRunning")
        assert second["rollout"] == started
        refused(await guard.local.get("/v1/rollouts/nowhere"), 404, "NoSuchRollout")
        refused(await guard.local.get("/v1/rollouts/nowhere/watch"), 404, "NoSuchRollout")
        refused(await guard.local.post(f"/v1/rollouts/{started}/commit"), 409, "RolloutError")
        refused(await guard.local.get("/nowhere"), 404, "InvalidRequest")
        refused(await guard.local.delete("/v1/rollouts"), 405, "InvalidRequest")
        for query in ("after=-1", "after=x", "after=1e3", "limit=0", "limit=100000", f"after={10**30}"):
            refused(await guard.local.get(f"/v1/rollouts/latest/events?{query}"), 400, "InvalidRequest")
        for body in (b"[]", b'{"reason": 1}', b'{"reason": "x", "more": 1}', b"\xff", b"{", b'{"reason": "%s"}' % (b"x" * 1001)):
            refused(await guard.local.post(f"/v1/rollouts/{started}/hold", content=body), 400, "InvalidRequest")
        invalid = refused(await guard.local.post("/v1/rollouts", content=PLAN.replace("\nname:", "\nnane:")), 422, "InvalidPlan")
        assert {"line", "column", "path", "message", "suggestion"} == set(invalid["problems"][0])
        assert all(document["safe"] and document["hint"] for document in (second, invalid))
        assert (await guard.local.get(f"/v1/rollouts/{started}")).json()["phase"] == "watching"

    run(check)


def test_a_store_that_fails_is_told_in_its_own_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(guard: Guard) -> None:
        class RecordsUnavailable(VerdigrisError):
            pass

        async def fails(*_: object) -> Any:
            msg = "the database does not answer; nothing moves"
            raise RecordsUnavailable(msg)

        monkeypatch.setattr(guard.control, "status", fails)
        document = refused(await guard.local.get("/v1/rollouts/latest"), 503, "RecordsUnavailable")
        assert document["error"] == "the database does not answer; nothing moves"

    run(check)


def test_strange_ids_are_unknown_and_not_looked_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a%2Fb", "%2e%2e", "..%2fhealth", "%00", "%ff%fe", "x" * 129, "%E2%80%AE", "*", "-x", "a%0d%0ab")

    async def check(guard: Guard) -> None:
        await guard.start()

        async def never(*_: object) -> Any:
            pytest.fail("no such id may be looked up")

        monkeypatch.setattr(guard.control, "status", never)
        monkeypatch.setattr(guard.control, "events", never)
        for name in names:
            for path in (f"/v1/rollouts/{name}", f"/v1/rollouts/{name}/events"):
                answer = await guard.local.get(path)
                refused(answer, 404, answer.json()["kind"])

    run(check)


def test_bodies_are_bounded_however_they_come(run: Run) -> None:
    async def check(guard: Guard) -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(10_000):
                yield b"#" * 65536

        too_large = b"# " + b"x" * wire.PLAN_BYTES_MAX
        refused(await guard.local.post("/v1/rollouts", content=too_large), 413, "InvalidRequest")
        with suppress(httpx.WriteError, httpx.ReadError):  # it may hang up on us while we are still sending
            refused(await guard.local.post("/v1/rollouts", content=endless()), 413, "InvalidRequest")
        await guard.start()
        refused(await guard.local.post("/v1/rollouts/latest/hold", content=b" " * (api.REQUEST_BYTES_MAX + 1)), 413, "InvalidRequest")
        not_text = refused(await guard.local.post("/v1/rollouts", content=b"name: \xff\xfe"), 400, "InvalidRequest")
        assert "not UTF-8 at byte 6" in not_text["error"]
        assert len(guard.control.statuses) == 1

    run(check)


def test_a_body_that_does_not_come_is_given_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "BODY_S_MAX", 0.1)

    async def check(guard: Guard) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", guard.port)
        head = f"POST /v1/rollouts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\nname"
        writer.write(head.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()

    run(check)


def test_what_is_not_http_is_hung_up_on(run: Run) -> None:
    sent = (
        b"",
        b"\0" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n",
        b"GET /v1/health HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET /" + b"x" * 100_000,
        b"POST /v1/rollouts HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    )

    async def check(guard: Guard) -> None:
        for each in sent:
            reader, writer = await asyncio.open_connection("127.0.0.1", guard.port)
            with suppress(ConnectionError):
                writer.write(each)
                writer.write_eof()
                assert b"200 OK" not in await reader.read(100_000), each[:40]
            writer.close()

    run(check)


def test_the_number_of_connections_is_bounded_per_listener(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_serving, "CONNECTIONS_MAX", 5)

    async def check(guard: Guard) -> None:
        opened = [await asyncio.open_connection("127.0.0.1", guard.port) for _ in range(8)]
        for reader, _ in opened[5:]:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), http_serving.IDLE_MAX_S / 2)
        # The socket has connections of its own.
        assert (await guard.local.get("/v1/health")).status_code == 200
        opened[0][1].write(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await opened[0][0].readline() == b"HTTP/1.1 200 OK\r\n"
        for _, writer in opened:
            writer.close()

    run(check)


def test_a_connection_that_brings_nothing_is_closed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_serving, "IDLE_MAX_S", 0.2)

    async def check(guard: Guard) -> None:
        started = await guard.start()
        async with guard.local.stream("GET", f"/v1/rollouts/{started}/watch") as answer:
            chunks = answer.aiter_raw()
            for sent in (b"", b"GET /v1/health HT", b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX: "):
                reader, writer = await asyncio.open_connection("127.0.0.1", guard.port)
                writer.write(sent)
                with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                    await asyncio.wait_for(reader.readexactly(1), 5)
                writer.close()
            for _ in range(3):  # a request that takes its time is not idle
                await anext(chunks)

    run(check)


def test_a_stream_is_statuses_then_the_end(run: Run) -> None:
    async def check(guard: Guard) -> None:
        started = await guard.start()
        async with guard.local.stream("GET", f"/v1/rollouts/{started[:3]}/watch") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            assert await anext(lines) == "event: status"
            assert json.loads((await anext(lines)).removeprefix("data: "))["phase"] == "watching"
            guard.control.to(started, Phase.COMMITTED)
            rest = [line async for line in lines]
        assert rest[-3:] == ["event: end", "data: {}", ""]
        assert json.loads(rest[-5].removeprefix("data: "))["phase"] == "committed"
        assert guard.control.watchers == 0

    run(check)


def test_a_stream_that_has_nothing_to_say_says_so_and_its_error_is_an_event(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_S", 0.05)

    async def check(guard: Guard) -> None:
        started = await guard.start()
        fail = asyncio.Event()

        async def silent(_: str) -> AsyncIterator[Any]:
            await fail.wait()
            if fail.is_set():
                msg = "gone"
                raise VerdigrisError(msg)
            yield

        monkeypatch.setattr(guard.control, "watch", silent)
        async with guard.local.stream("GET", f"/v1/rollouts/{started}/watch") as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith(":")
            fail.set()
            rest = [line async for line in lines]
        assert rest[-3] == "event: error"
        assert json.loads(rest[-2].removeprefix("data: "))["error"] == "gone"

    run(check)


def test_a_watcher_that_leaves_is_let_go(run: Run) -> None:
    async def check(guard: Guard) -> None:
        started = await guard.start()
        left = asyncio.Event()
        watch = guard.control.watch

        async def watched(rollout_id: str) -> AsyncIterator[Any]:
            try:
                async for status in watch(rollout_id):
                    yield status
            finally:
                left.set()

        guard.control.watch = watched  # type: ignore[method-assign]
        async with guard.local.stream("GET", f"/v1/rollouts/{started}/watch") as answer:
            await anext(answer.aiter_raw())
            assert not left.is_set()
        await asyncio.wait_for(left.wait(), 5)

    run(check)


def test_a_guard_that_stops_ends_its_streams_and_says_no_end(tmp_path: Path) -> None:
    async def check() -> None:
        control, path, gone = ScriptedControl(every_s=0.05), tmp_path / "api.sock", AsyncExitStack()
        await gone.enter_async_context(serve_api(make_api(control, dict, ACTORS), path))
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await client.post("/v1/rollouts", content=PLAN)
            async with client.stream("GET", "/v1/rollouts/latest/watch") as answer:
                chunks = answer.aiter_raw()
                await anext(chunks)
                async with asyncio.timeout(http_serving.GRACE_S):
                    await gone.aclose()
                assert b"event: end" not in b"".join([chunk async for chunk in chunks])
        assert control.watchers == 0

    asyncio.run(check())


def test_the_description_names_every_path(run: Run) -> None:
    async def check(guard: Guard) -> None:
        document = (await guard.local.get("/v1/openapi.json")).json()
        assert "/v1/rollouts/{rollout_id}/watch" in document["paths"]
        assert "RolloutStatus" in document["components"]["schemas"]
        documented = (Path(__file__).parents[2] / "docs/rollout-commands.md").read_text(encoding="utf-8")
        for path in document["paths"]:
            last = path.rpartition("/")[2]
            assert path.replace("{rollout_id}", "ID") in documented or f"…/{last}" in documented, path

    run(check)


# -- listening -----------------------------------------------------------------------------------------------------------------


def app() -> Any:
    return make_api(ScriptedControl(), dict, ACTORS)


async def health_over(path: Path) -> int:
    with reachable(path) as name:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=name), base_url="http://localhost") as client:
            return (await client.get("/v1/health")).status_code


def test_the_socket_is_the_owners_alone_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"

    async def check() -> None:
        before = os.umask(0)
        try:
            async with serve_api(app(), path):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                assert await health_over(path) == 200
        finally:
            os.umask(before)
        assert not path.exists()

    asyncio.run(check())


def test_a_dead_guards_socket_is_replaced_and_a_live_ones_is_not(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def check() -> None:
        async with serve_api(app(), path):
            assert await health_over(path) == 200
            with pytest.raises(CannotListen, match="another guard serves"):
                async with serve_api(app(), path):
                    pass
            assert await health_over(path) == 200

    asyncio.run(check())


def test_what_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("precious", encoding="utf-8")

    async def check() -> None:
        with pytest.raises(CannotListen, match="is no socket"):
            async with serve_api(app(), path):
                pass

    asyncio.run(check())
    assert path.read_text(encoding="utf-8") == "precious"


def test_a_long_folder_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / ("longer" * 20)
    folder.mkdir(parents=True)
    path = folder / "api.sock"
    assert len(os.fsencode(path)) > PATH_BYTES_MAX

    async def check() -> None:
        async with serve_api(app(), path):
            assert await health_over(path) == 200
        assert not path.exists()

    asyncio.run(check())


def test_tcp_without_tls_is_for_this_machine_only(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"

    async def check() -> None:
        for host in ("0.0.0.0", "::", "192.0.2.1"):
            with pytest.raises(CannotListen, match="can be reached from other machines"):
                async with serve_api(app(), path, (host, 0)):
                    pass
            assert not path.exists()

    asyncio.run(check())


def test_tls_files_that_do_not_fit_are_told(tmp_path: Path) -> None:
    async def check() -> None:
        tls = certificate(tmp_path)
        for files in (
            TlsFiles(tmp_path / "none", tls.key),
            TlsFiles(tls.key, tls.certificate),
            TlsFiles(tls.certificate, tls.key, tls.key),
        ):
            with pytest.raises(CannotListen, match="cannot use the certificate"):
                async with serve_api(app(), None, ("127.0.0.1", 0), files):
                    pass

    asyncio.run(check())


# -- actors --------------------------------------------------------------------------------------------------------------------


def test_actors_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "actors.yaml"
    digest = sha256(b"token").hexdigest()
    file.write_text(f"- {{actor: ann, role: operator, sha256: {digest}}}\n", encoding="utf-8")
    actors = read_actors(file, "me")
    assert actors == Actors("me", {digest: Actor("ann", ActorRole.OPERATOR)})
    assert actors.of_token("token") == Actor("ann", ActorRole.OPERATOR)
    assert actors.of_token("Token") is None
    assert read_actors(None, "me").of_token("") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "- 1",
        "- [",
        "\xff",
        "- {actor: a, role: operator}",
        "- {actor: a, role: root, sha256: DIGEST}",
        "- {actor: a, role: viewer, sha256: abc}",
        "- {actor: 1, role: viewer, sha256: DIGEST}",
        "- {actor: '', role: viewer, sha256: DIGEST}",
        '- {actor: "a\\nb", role: viewer, sha256: DIGEST}',
        "- {actor: a, role: viewer, sha256: DIGEST, x: y}",
        "- {actor: a, role: viewer, sha256: DIGEST}\n" * 2,
        "- !!python/object/apply:os.system [echo]",
    ],
)
def test_a_wrong_file_of_actors_is_refused_whole(tmp_path: Path, text: str) -> None:
    file = tmp_path / "actors.yaml"
    file.write_bytes(text.replace("DIGEST", "'" + "a1" * 32 + "'").encode("latin-1"))
    with pytest.raises(InvalidActors):
        read_actors(file, "me")
    with pytest.raises(InvalidActors):
        read_actors(tmp_path / "none", "me")


def test_the_plan_that_runs_is_the_one_that_was_sent(run: Run) -> None:
    async def check(guard: Guard) -> None:
        started = await guard.start()
        digest = load_plan(PLAN).digest
        assert guard.control.statuses[started].plan_digest == digest
        for query, found in (("", 1), (f"?plan_digest={digest}", 1), (f"?plan_digest={'0' * 64}", 0), ("?limit=1", 1)):
            assert len((await guard.local.get(f"/v1/rollouts{query}")).json()["rollouts"]) == found

    run(check)
