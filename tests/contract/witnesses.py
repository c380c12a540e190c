"""Witnesses in a thread and in processes, logs that go to them, and servers that are no witnesses. For tests only."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from starlette.types import ASGIApp
from tests.unit.ledger_keys import private_key, signer

from verdigris.ledger.log import Log
from verdigris.ledger.note import Algorithm, VerifierKey
from verdigris.ledger.storage import LogFolder
from verdigris.ledger.witness import AddCheckpoint, logs_of
from verdigris.ledger.witness_client import Witness
from verdigris.witness.app import Cosigner, witness_app
from verdigris.witness.serving import TlsFiles, serve_witness
from verdigris.witness.state import WitnessFolder

ORIGIN = "guard.test/log"
LOG_KEY, WITNESS_NUMBER, WITNESS_NAME = signer(1, ORIGIN).key, 20, "witness.test/w1"
WITNESS_KEY = VerifierKey(WITNESS_NAME, Algorithm.COSIGNATURE, signer(WITNESS_NUMBER).key.public)


def log_in(folder: Path, entries: int, seed: str = "log", number: int = 1, origin: str = ORIGIN) -> Log:
    """A log; those of one seed continue each other."""
    log = Log(LogFolder(folder), origin, signer(number, origin))
    grow(log, entries, seed)
    return log


def grow(log: Log, entries: int, seed: str = "log") -> None:
    if log.size < entries:
        log.append([f"{seed} {n}".encode() for n in range(log.size, entries)])


def request_of(log: Log, old_size: int) -> AddCheckpoint:
    return AddCheckpoint(old_size, tuple(log.consistency(old_size)), log.head)


def body_of(log: Log, old_size: int) -> bytes:
    return str(request_of(log, old_size)).encode()


def cosigner_in(folder: Path, *keys: VerifierKey, now_s: Callable[[], float] = lambda: 1_790_000_000.9) -> Cosigner:
    return Cosigner(WitnessFolder(folder), signer(WITNESS_NUMBER, WITNESS_NAME), logs_of(keys or (LOG_KEY,)), now_s)


@contextlib.contextmanager
def serving(app: ASGIApp, tls: TlsFiles | None = None) -> Iterator[str]:
    """The application's address, while a thread serves it."""
    bound: Future[int] = Future()
    ends: Future[Callable[[], object]] = Future()

    async def serve() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with serve_witness(app, "127.0.0.1", 0, tls) as (_, port):
            ends.set_result(lambda: loop.call_soon_threadsafe(stopping.set))
            bound.set_result(port)
            await stopping.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if bound.done():
                raise
            bound.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{bound.result(20)}"
    finally:
        if ends.done():
            ends.result()()
        thread.join()


@contextlib.contextmanager
def witness_in(folder: Path, *keys: VerifierKey) -> Iterator[Witness]:
    with serving(witness_app(cosigner_in(folder, *keys))) as url:
        yield Witness(url, WITNESS_KEY)


# -- processes ----------------------------------------------------------------------------------------------------------------------


def key_file(folder: Path, number: int = WITNESS_NUMBER) -> Path:
    file = folder / f"{number}.key"
    pem = private_key(number).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.touch(mode=0o600)
    file.write_bytes(pem)
    return file


def arguments(folder: Path) -> list[str]:
    """Of `verdigris` for a witness in this folder."""
    key = key_file(folder.parent)
    given = ["--folder", folder, "--key", key, "--name", WITNESS_NAME, "--log", LOG_KEY, "--listen", "127.0.0.1:0"]
    return ["witness", "serve", "--json", *map(str, given)]


RUN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from verdigris.cli.main import run
run()
"""
"""Whoever runs the tests in the background has Ctrl-C ignored, and a process inherits that."""

DIE = """
import os, signal
from verdigris.witness.state import LogRecord

replace = LogRecord.replace

def dying(self, checkpoint):
    if {happened}:
        replace(self, checkpoint)
    os.kill(os.getpid(), signal.SIGKILL)

LogRecord.replace = dying
"""
"""Kills the witness between persisting and answering, or just before."""


@dataclass
class WitnessProcess:
    process: subprocess.Popen[bytes]
    about: dict[str, object]

    @property
    def witness(self) -> Witness:
        return Witness(str(self.about["url"]), VerifierKey.parse(str(self.about["witness"])))

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def witness_process(folder: Path, before: str = "") -> Iterator[WitnessProcess]:
    """`verdigris witness serve`, once it answers; killed at the end if it still runs."""
    command = [sys.executable, "-c", before + RUN, *arguments(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONWARNINGS": "ignore"}) as process:
        try:
            assert process.stdout is not None
            yield WitnessProcess(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


# -- servers that are no witnesses --------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """`body` in pieces, with `pause_s` before each."""

    status: int
    body: list[bytes]
    media: str = "text/plain"
    pause_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def answering(answer: Callable[[bytes], Answer]) -> Iterator[str]:
    """Answers every POST with what the function makes of its body."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made = answer(self.rfile.read(int(self.headers["content-length"])))
            with contextlib.suppress(OSError):
                self.send_response(made.status)
                for name, value in {"content-type": made.media, "connection": "close", **made.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in made.body:
                    if ended.wait(made.pause_s):
                        return
                    self.wfile.write(piece)
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            ended.set()
            server.shutdown()
            thread.join()
