"""What the admin socket may answer when it is not well: silence, too much, half, something else. No HAProxy does this on demand."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from verdigris.traffic.data_plane import OutcomeUnknown, TrafficError
from verdigris.traffic.haproxy_socket import ANSWER_BYTES_MAX, AdminSocket, Counted, MapMoved, Row


@contextlib.asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[AdminSocket]:
    """A socket that gives every command this answer; None: it takes the command and stays silent."""
    held: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await reader.readline()
        if answer is not None:
            with contextlib.suppress(ConnectionError):
                writer.write(answer)
                await writer.drain()
            writer.close()

    with tempfile.TemporaryDirectory(prefix="haproxy-") as folder:
        server = await asyncio.start_unix_server(serve, f"{folder}/s")
        try:
            yield AdminSocket(f"{folder}/s", 0.2 if answer is None else 10.0)
        finally:
            server.close()
            for writer in held:
                writer.close()
            await server.wait_closed()


COMMANDS: dict[str, Callable[[AdminSocket], Awaitable[object]]] = {
    "show map": lambda a: a.read_map("/m"),
    "prepare map": lambda a: a.prepare_map("/m"),
    "commit map": lambda a: a.commit_map("/m", 1, {}),
    "map versions": lambda a: a.map_versions("/m"),
    "show table": lambda a: a.read_row("t", "1"),
    "set table": lambda a: a.write_row("t", "1", share=1, chosen=0, until_ms=1, rate=1),
    "show stat": lambda a: a.counted("b"),
    "show info": lambda a: a.process_id(),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_that_reads_otherwise_is_an_error_that_shows_it(command: str) -> None:
    async def run() -> None:
        for answer in (b"Permission denied\n\n", b"Unknown command\n\n", b"0x1 a\n\n", b"# pxname,svname\nb,BACKEND\n\n", b"\xff\xfe\n"):
            async with answering(answer) as admin:
                with pytest.raises(TrafficError, match="HAProxy answered"):
                    await COMMANDS[command](admin)

    asyncio.run(run())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "did not answer"),
        (b"", "broke off"),
        (b"New version cre", "broke off"),
        (b"x" * (ANSWER_BYTES_MAX + 1) + b"\n", "longer than"),
    ],
)
def test_no_answer_or_half_of_one_or_too_much_leaves_the_outcome_unknown(command: str, answer: bytes | None, told: str) -> None:
    async def run() -> None:
        async with answering(answer) as admin:
            with pytest.raises(OutcomeUnknown, match=told):
                await COMMANDS[command](admin)

    asyncio.run(run())


def test_a_socket_that_is_not_there_says_so() -> None:
    with pytest.raises(TrafficError, match="cannot be reached") as error:
        asyncio.run(AdminSocket("/nowhere/s", 0.3).prepare_map("/m"))
    assert not isinstance(error.value, OutcomeUnknown)


def asked(answer: bytes, ask: Callable[[AdminSocket], Awaitable[Any]]) -> Any:
    async def run() -> object:
        async with answering(answer) as admin:
            return await ask(admin)

    return asyncio.run(run())


def test_answers_as_haproxy_gives_them() -> None:
    assert asked(b"0x5555c6cbff20 default blue\n0x5555c6cbff70 newest 3\n\n", COMMANDS["show map"]) == {"default": "blue", "newest": "3"}
    assert asked(b"\n", COMMANDS["show map"]) == {}
    row = b"0x7f9e: key=1 use=0 exp=3599 shard=0 gpt0=1000 gpc0=2 gpc1=5 gpc0_rate(3000)=1000000\n\n"
    table = b"# table: t, type: string, size:1024, used:1\n"
    assert asked(table + row, COMMANDS["show table"]) == Row(share=1000, chosen=2, until_ms=5, rate=1_000_000, period_ms=3000)
    assert asked(b"\n", COMMANDS["show table"]) is None
    with pytest.raises(TrafficError):
        asked(b"# table: another, type: string, size:1024, used:1\n" + row, COMMANDS["show table"])
    versions = (
        b"# id (file) description\n0 (/other) map, curr_ver=9 next_ver=9 entry_cnt=1\n1 (/m) x. curr_ver=3 next_ver=4 entry_cnt=3\n\n"
    )
    assert asked(versions, COMMANDS["map versions"]) == (3, 4)
    with pytest.raises(MapMoved):
        asked(b"Version number out of range.\n\n", COMMANDS["commit map"])


@pytest.mark.parametrize(
    ("begun", "under_way", "ended", "unanswered"),
    [(10, 0, 10, 0), (10, 2, 8, 0), (10, 1, 7, 2), (10, 3, 8, 0)],
)
def test_requests_that_ended_without_a_status_are_unanswered(begun: int, under_way: int, ended: int, unanswered: int) -> None:
    line = f"# pxname,scur,stot,hrsp_5xx,req_tot,srv_abrt,\nb,{under_way},{begun},3,{ended},1,\n\n"
    assert asked(line.encode(), COMMANDS["show stat"]) == Counted(begun, 4, unanswered)
