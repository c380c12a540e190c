"""Real requests for the contract suite: two upstreams that count, a client over kept connections, and a load. Plain asyncio, for speed."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from tests.contract.data_planes.harness import Answers, Seen

SLOTS = ("blue", "green")
FAILURES_KEPT = 5
ANSWER_S_MAX = 10.0


class Upstream:
    """One slot's service: answers every request with its slot's name, and keeps what it saw."""

    def __init__(self, slot: str) -> None:
        self.slot = slot
        self.requests = 0
        self.heads: list[bytes] = []
        """The first thousand requests' heads."""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._answer = f"HTTP/1.1 200 OK\r\nx-slot: {slot}\r\ncontent-length: 2\r\n\r\nok".encode()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                if len(self.heads) < 1000:
                    self.heads.append(head)
                writer.write(self._answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class Upstreams:
    """The two slots' services."""

    def __init__(self) -> None:
        self.blue, self.green = Upstream("blue"), Upstream("green")

    async def __aenter__(self) -> Self:
        await self.blue.start()
        await self.green.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.blue.stop()
        await self.green.stop()

    async def seen(self) -> Seen:
        """What arrived, once nothing more arrives."""
        seen = Seen(-1, -1)
        while True:
            before, seen = seen, Seen(self.blue.requests, self.green.requests)
            if seen == before:
                return seen
            await asyncio.sleep(0.1)


class Tally:
    """Counts answers."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()
        self._failures: list[str] = []

    def add(self, slot: str) -> None:
        self._of[slot] += 1

    def failed(self, why: str) -> None:
        self._of["failed"] += 1
        if len(self._failures) < FAILURES_KEPT:
            self._failures.append(why)

    def answers(self) -> Answers:
        return Answers(self._of["blue"], self._of["green"], self._of["failed"], tuple(self._failures))


class Connection:
    """One connection to the proxy."""

    def __init__(self, port: int, headers: Sequence[str] = (), method: str = "GET") -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        lines = [f"{method} /things HTTP/1.1", "host: shop.example", "content-length: 0", *headers, "", ""]
        self._request = "\r\n".join(lines).encode()

    async def ask(self, tally: Tally) -> None:
        """One request and its answer, counted."""
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                if self._writer is None or self._reader is None:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                self._writer.write(self._request)
                head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                await self._reader.readexactly(int(fields.get("content-length", "0")))
        except (OSError, EOFError, TimeoutError) as error:
            tally.failed(f"{type(error).__name__} {error}")
            self.close()
            return
        status = head.split(" ", 2)[1]
        if status == "200":
            tally.add(fields["x-slot"])
        else:
            tally.failed(head.split("\r\n", 1)[0])
        if fields.get("connection") == "close":
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def send(port: int, requests: int, headers: Sequence[str] = (), method: str = "GET", connections: int = 16) -> Answers:
    """So many requests over a few kept connections."""
    tally = Tally()
    left = iter(range(requests))

    async def client() -> None:
        connection = Connection(port, headers, method)
        for _ in left:
            await connection.ask(tally)
        connection.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return tally.answers()


class RequestLoad:
    """Clients in the background: half keep their connection, half make a new one for each request. About `rate` requests a second."""

    def __init__(self, port: int, clients: int = 8, rate: float = 400.0) -> None:
        self._port, self._pause_s = port, clients / rate
        self._tally = Tally()
        self._stopping = asyncio.Event()
        self._clients = [asyncio.create_task(self._client(keeps=bool(number % 2))) for number in range(clients)]

    async def _client(self, *, keeps: bool) -> None:
        connection = Connection(self._port)
        while not self._stopping.is_set():
            await connection.ask(self._tally)
            if not keeps:
                connection.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._pause_s)
        connection.close()

    def so_far(self) -> Answers:
        return self._tally.answers()

    async def stop(self) -> Answers:
        self._stopping.set()
        await asyncio.gather(*self._clients)
        return self._tally.answers()


class Relay:
    """A TCP relay that can be cut: then bytes stop, and connections stay, as behind a pulled cable."""

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        self._flowing.clear()

    def mend(self) -> None:
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._flowing.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            finally:
                back.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


async def wait_until(holds: Callable[[], Awaitable[bool]], within_s: float) -> float:
    """Look every 10 ms. Returns: seconds waited."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while not await holds():
        if loop.time() - began_s > within_s:
            msg = f"this did not happen within {within_s} s"
            raise AssertionError(msg)
        await asyncio.sleep(0.01)
    return loop.time() - began_s
