"""A witness on loopback: what it cosigns and refuses, what it keeps, and that neither a kill nor a race makes it forget."""

import asyncio
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.contract.data_planes.certificates import Authority
from tests.contract.witnesses import (
    DIE,
    LOG_KEY,
    ORIGIN,
    WITNESS_KEY,
    WITNESS_NAME,
    WITNESS_NUMBER,
    arguments,
    body_of,
    cosigner_in,
    grow,
    key_file,
    log_in,
    request_of,
    serving,
    witness_in,
    witness_process,
)
from tests.unit.ledger_keys import private_key, signer

from verdigris.cli.main import run
from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.note import Algorithm, InvalidNote, Note, VerifierKey, parse_signature, verified
from verdigris.ledger.signing import CommandSigner
from verdigris.ledger.witness import PATH, REQUEST_BYTES_MAX, AddCheckpoint, Suspicion, logs_of
from verdigris.ledger.witness_client import Witness, WitnessFailed, cosignature
from verdigris.witness import app as app_module
from verdigris.witness import state as state_module
from verdigris.witness.app import Cosigner, witness_app
from verdigris.witness.serving import CannotServe, TlsFiles, serve_witness
from verdigris.witness.state import LogRecord, StateUnusable, WitnessFolder


def remembered(folder: Path) -> Checkpoint | None:
    """What the witness would say after a restart; believed with both signatures only."""
    files = list((folder / "logs").glob("*/checkpoint"))
    if not files:
        return None
    note = Note.parse(files[0].read_bytes())
    assert {one.key for one in verified(note, [LOG_KEY, WITNESS_KEY])} == {LOG_KEY, WITNESS_KEY}
    return Checkpoint.parse(note.text)


def evidence(folder: Path) -> list[dict[str, str]]:
    return [json.loads(file.read_text()) for file in sorted((folder / "logs").glob("*/refused/*"))]


def asked(witness: Witness, request: AddCheckpoint | bytes | str) -> httpx.Response:
    body = request if isinstance(request, bytes) else str(request).encode()
    return httpx.post(witness.url + PATH, content=body, trust_env=False)


# -- what it cosigns ----------------------------------------------------------------------------------------------------------------


def test_a_log_is_cosigned_from_nothing_on_as_it_grows(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 0)
    with witness_in(tmp_path / "w") as witness:
        for size in (0, 1, 1, 2, 7, 256, 300):
            grow(log, size)
            line = cosignature(log.head, log.consistency, witness)
            whole = Note(log.head.text, (*log.head.signatures, line))
            assert [one.key for one in verified(whole, [LOG_KEY, WITNESS_KEY])] == [LOG_KEY, WITNESS_KEY]
            assert verified(whole, [WITNESS_KEY])[0].unix_s == 1_790_000_000
            assert remembered(tmp_path / "w") == Checkpoint.parse(log.head.text)
    assert evidence(tmp_path / "w") == []


def test_one_question_is_enough_for_who_knows_the_last_size_and_two_for_who_does_not(tmp_path: Path) -> None:
    cosigner = cosigner_in(tmp_path / "w")
    seen: list[str] = []

    class Counting(Cosigner):
        def __init__(self) -> None:
            pass

        def add_checkpoint(self, body: bytes) -> app_module.Reply:
            seen.append(body.decode().split("\n")[0])
            return cosigner.add_checkpoint(body)

    log = log_in(tmp_path / "log", 3)
    with serving(witness_app(Counting())) as url:
        witness = Witness(url + "/", WITNESS_KEY)
        cosignature(log.head, log.consistency, witness)
        grow(log, 5)
        cosignature(log.head, log.consistency, witness, 3)
        assert seen == ["old 0", "old 3"]
        grow(log, 8)
        cosignature(log.head, log.consistency, witness, 4)
        cosignature(log.head, log.consistency, witness)
    assert seen == ["old 0", "old 3", "old 4", "old 5", "old 0", "old 8"]


def test_the_answers_are_in_the_form_of_the_specification(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    with witness_in(tmp_path / "w") as witness:
        first = asked(witness, request_of(log, 0))
        assert (first.status_code, first.text[-1]) == (200, "\n")
        assert parse_signature(first.text[:-1]).name == WITNESS_NAME
        wrong = asked(witness, request_of(log, 2))
        assert (wrong.status_code, wrong.text, wrong.headers["content-type"]) == (409, "5\n", "text/x.tlog.size")
        assert asked(witness, b"").status_code == 400
        assert asked(witness, str(request_of(log, 5)).replace("old 5", "old 6")).status_code == 400
        assert httpx.get(witness.url + PATH, trust_env=False).status_code == 405
        assert httpx.post(witness.url + "/elsewhere", trust_env=False).status_code == 404


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    with witness_in(tmp_path / "w") as witness, contextlib.closing(http.client.HTTPConnection(urlsplit(witness.url).netloc)) as connection:
        for old_size, status in ((0, 200), (0, 409), (5, 200)):
            connection.request("POST", PATH, body_of(log, old_size))
            with connection.getresponse() as answer:
                assert answer.status == status
                answer.read()
            assert connection.sock is not None


def test_health_says_who_it_is_and_what_it_refused(tmp_path: Path) -> None:
    with witness_in(tmp_path / "w") as witness:
        health = httpx.get(witness.url + "/healthz", trust_env=False)
        none = {"forked": 0, "unproven": 0}
        assert health.json() == {"alive": True, "witness": str(WITNESS_KEY), "logs": [ORIGIN], "refused": none}
        log, fork = log_in(tmp_path / "log", 5), log_in(tmp_path / "fork", 5, "fork")
        cosignature(log.head, log.consistency, witness)
        asked(witness, request_of(fork, 5))
        assert httpx.get(witness.url + "/healthz", trust_env=False).json()["refused"] == {"forked": 1, "unproven": 0}


# -- what it refuses ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "status", "suspicion"), [(5, 409, "forked"), (8, 422, "unproven")])
def test_a_fork_is_refused_and_kept(tmp_path: Path, size: int, status: int, suspicion: str) -> None:
    log, fork = log_in(tmp_path / "log", 5), log_in(tmp_path / "fork", size, "fork")
    with witness_in(tmp_path / "w") as witness:
        cosignature(log.head, log.consistency, witness)
        assert asked(witness, request_of(fork, 5)).status_code == status
        with pytest.raises(WitnessFailed, match=r"forked|does not continue") as failed:
            cosignature(fork.head, fork.consistency, witness)
        assert failed.value.contradicted
        [kept] = evidence(tmp_path / "w")
        assert (kept["suspicion"], kept["seen"], kept["witness"]) == (suspicion, "2026-09-21T14:13:20Z", str(WITNESS_KEY))
        # Both are there with the log's own signature, so that nobody has to believe the witness.
        heads = [Note.parse(kept["cosigned"].encode()), AddCheckpoint.parse(kept["request"].encode()).checkpoint]
        for head in heads:
            verified(head, [LOG_KEY])
        assert [Checkpoint.parse(head.text).size for head in heads] == [5, size]
        # The honest log goes on.
        grow(log, 9)
        cosignature(log.head, log.consistency, witness, 5)


def test_a_log_that_was_cut_off_is_found(tmp_path: Path) -> None:
    log, cut = log_in(tmp_path / "log", 5), log_in(tmp_path / "cut", 4)
    with witness_in(tmp_path / "w") as witness:
        cosignature(log.head, log.consistency, witness)
        with pytest.raises(WitnessFailed, match=r"has cosigned 5 entries of this log, and this head has 4: .* cut off") as failed:
            cosignature(cut.head, cut.consistency, witness)
    assert failed.value.contradicted
    assert evidence(tmp_path / "w") == []


def test_strangers_leave_nothing(tmp_path: Path) -> None:
    stranger = log_in(tmp_path / "stranger", 3, origin="stranger.test/log")
    forger = log_in(tmp_path / "forger", 3, number=2)
    with witness_in(tmp_path / "w") as witness:
        assert asked(witness, request_of(stranger, 0)).status_code == 404
        assert list((tmp_path / "w" / "logs").iterdir()) == []
        assert asked(witness, request_of(forger, 0)).status_code == 403
        for log, why in ((stranger, "does not know this log"), (forger, "does not trust the key")):
            with pytest.raises(WitnessFailed, match=why) as failed:
                cosignature(log.head, log.consistency, witness)
            assert not failed.value.contradicted
    assert remembered(tmp_path / "w") is None
    assert evidence(tmp_path / "w") == []


def test_logs_do_not_mix(tmp_path: Path) -> None:
    one, other = log_in(tmp_path / "1", 5), log_in(tmp_path / "2", 3, number=2, origin="other.test/log")
    with witness_in(tmp_path / "w", LOG_KEY, signer(2, "other.test/log").key) as witness:
        for log in (one, other, one, other):
            cosignature(log.head, log.consistency, witness)
    assert len(list((tmp_path / "w" / "logs").iterdir())) == 2


def test_evidence_has_a_bound_for_each_suspicion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "REFUSED_MAX", 3)
    cosigner = cosigner_in(tmp_path / "w")
    log = log_in(tmp_path / "log", 5)
    cosigner.add_checkpoint(body_of(log, 0))
    for n in range(5):
        fork = log_in(tmp_path / f"fork {n}", 6 + n, f"fork {n}")
        for _ in range(2):  # once is enough
            assert cosigner.add_checkpoint(body_of(fork, 5)).status == 422
    assert cosigner.refused() == {Suspicion.FORKED: 0, Suspicion.UNPROVEN: 3}
    fork = log_in(tmp_path / "fork", 5, "fork")
    assert cosigner.add_checkpoint(body_of(fork, 5)).status == 409
    assert cosigner.refused() == {Suspicion.FORKED: 1, Suspicion.UNPROVEN: 3}


def test_evidence_says_when_it_was_first_seen(tmp_path: Path) -> None:
    now_s = [0.0]
    cosigner = cosigner_in(tmp_path / "w", now_s=lambda: now_s[0])
    log, fork = log_in(tmp_path / "log", 5), log_in(tmp_path / "fork", 5, "fork")
    cosigner.add_checkpoint(body_of(log, 0))
    for now_s[0] in (1.0, 2.0):
        cosigner.add_checkpoint(body_of(fork, 5))
    assert [kept["seen"] for kept in evidence(tmp_path / "w")] == ["1970-01-01T00:00:01Z"]


def test_a_body_is_bounded_while_it_is_read(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 3)
    with witness_in(tmp_path / "w") as witness:
        assert asked(witness, b"x" * (REQUEST_BYTES_MAX + 1)).status_code == 413
        assert asked(witness, b"x" * REQUEST_BYTES_MAX).status_code == 400
        with socket.create_connection(("127.0.0.1", urlsplit(witness.url).port or 0), 20) as endless:
            endless.sendall(f"POST {PATH} HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    endless.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert endless.recv(100).startswith(b"HTTP/1.1 413 ")
        cosignature(log.head, log.consistency, witness)


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "BODY_S_MAX", 0.2)
    with witness_in(tmp_path / "w") as witness, socket.create_connection(("127.0.0.1", urlsplit(witness.url).port or 0), 20) as slow:
        slow.sendall(f"POST {PATH} HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold 0\n".encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")


# -- what it remembers ----------------------------------------------------------------------------------------------------------------


def test_a_changed_memory_cosigns_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    log, fork = log_in(tmp_path / "log", 5), log_in(tmp_path / "fork", 5, "fork")
    other = log_in(tmp_path / "other", 5, number=1, origin="other.test/log")
    cosigner = cosigner_in(folder)
    cosigner.add_checkpoint(body_of(log, 0))
    [file] = (folder / "logs").glob("*/checkpoint")
    right = file.read_bytes()
    damaged = [
        b"",
        right[:-40],
        right.replace(b"\n5\n", b"\n0\n"),
        str(other.head).encode(),
        str(log_in(tmp_path / "x", 5, number=2).head).encode(),
    ]
    for content in damaged:
        file.write_bytes(content)
        for one in (log, fork):
            for old_size in (0, 5):
                with pytest.raises(StateUnusable, match="was changed"):
                    cosigner.add_checkpoint(body_of(one, old_size))
        assert file.read_bytes() == content
    with serving(witness_app(cosigner)) as url:
        answer = asked(Witness(url, WITNESS_KEY), request_of(log, 5))
        assert (answer.status_code, answer.text) == (503, "the witness cannot cosign now; ask again later\n")
        with pytest.raises(WitnessFailed, match="answered 503"):
            cosignature(log.head, log.consistency, Witness(url, WITNESS_KEY))
    file.write_bytes(right)
    assert cosigner.add_checkpoint(body_of(log, 5)).status == 200


def test_the_memory_of_another_log_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    log, other = log_in(tmp_path / "log", 5), log_in(tmp_path / "other", 3, number=2, origin="other.test/log")
    cosigner = cosigner_in(tmp_path / "w", LOG_KEY, signer(2, "other.test/log").key)
    cosigner.add_checkpoint(body_of(log, 0))
    [mine] = (tmp_path / "w" / "logs").glob("*/checkpoint")
    cosigner.add_checkpoint(body_of(other, 0))
    [others] = set((tmp_path / "w" / "logs").glob("*/checkpoint")) - {mine}
    mine.write_bytes(others.read_bytes())  # the witness has signed this, too
    with pytest.raises(StateUnusable, match="is the checkpoint of another log than"):
        cosigner.add_checkpoint(body_of(log, 0))


def test_a_witness_with_a_new_key_remembers_by_the_logs_signature(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    cosigner_in(tmp_path / "w").add_checkpoint(body_of(log, 0))
    renewed = Cosigner(WitnessFolder(tmp_path / "w"), signer(21, WITNESS_NAME), logs_of([LOG_KEY]))
    assert renewed.add_checkpoint(body_of(log, 0)).body == "5\n"
    assert renewed.add_checkpoint(body_of(log, 5)).status == 200


def test_what_cannot_be_written_is_not_cosigned(tmp_path: Path) -> None:
    log, fork = log_in(tmp_path / "log", 5), log_in(tmp_path / "fork", 5, "fork")
    cosigner = cosigner_in(tmp_path / "w")
    cosigner.add_checkpoint(body_of(log, 0))
    [record] = (tmp_path / "w" / "logs").iterdir()
    (record / "staged").mkdir()
    grow(log, 6)
    with pytest.raises(StateUnusable, match="It cosigns nothing until it can"):
        cosigner.add_checkpoint(body_of(log, 5))
    # Evidence that cannot be kept changes no answer.
    assert cosigner.add_checkpoint(body_of(fork, 5)).body == "5\n"
    (record / "staged").rmdir()
    assert cosigner.add_checkpoint(body_of(log, 5)).status == 200


def test_a_folder_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match="cannot use"):
        WitnessFolder(tmp_path / "file")


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    cosigner_in(tmp_path / "w").add_checkpoint(body_of(log, 0))
    for path in (tmp_path / "w", *(tmp_path / "w").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_signer_that_fails_leaves_it_as_it_was(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    key = signer(WITNESS_NUMBER, WITNESS_NAME).key
    cosigner = Cosigner(WitnessFolder(tmp_path / "w"), CommandSigner(key, ["/bin/false"]), logs_of([LOG_KEY]))
    with serving(witness_app(cosigner)) as url:
        assert asked(Witness(url, WITNESS_KEY), request_of(log, 0)).status_code == 503
    assert remembered(tmp_path / "w") is None


def test_the_key_of_a_log_cannot_be_the_witnesss(tmp_path: Path) -> None:
    with pytest.raises(InvalidNote, match="could forge both"):
        Cosigner(WitnessFolder(tmp_path), signer(1, WITNESS_NAME), logs_of([LOG_KEY]))


# -- kills ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("happened", [False, True])
def test_a_kill_between_persisting_and_answering_loses_nothing(tmp_path: Path, *, happened: bool) -> None:
    log, fork = log_in(tmp_path / "log", 5), log_in(tmp_path / "fork", 5, "fork")
    with witness_process(tmp_path / "w", DIE.format(happened=happened)) as dying:
        with pytest.raises(WitnessFailed, match="cannot ask"):
            cosignature(log.head, log.consistency, dying.witness)
        assert dying.process.wait(30) == -signal.SIGKILL
    assert remembered(tmp_path / "w") == (Checkpoint.parse(log.head.text) if happened else None)
    with witness_in(tmp_path / "w") as witness:
        first = asked(witness, request_of(fork, 0))
        if happened:
            assert (first.status_code, first.text) == (409, "5\n")
            cosignature(log.head, log.consistency, witness)
        else:
            assert first.status_code == 200


EFFECTS = 5
"""The content, the name, and the folders above."""


def dying_at(number: int, *, happened: bool) -> Callable[[], list[str]]:
    """From now on in this process: the `number`-th effect on the disk (from 1) kills it, before or after it happened."""
    effects: list[str] = []

    def around(name: str, act: Callable[..., object]) -> Callable[..., object]:
        def effect(*arguments: object) -> object:
            effects.append(name)
            if len(effects) == number and not happened:
                os.kill(os.getpid(), signal.SIGKILL)
            result = act(*arguments)
            if len(effects) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return effect

    os.fsync = around("fsync", os.fsync)  # type: ignore[assignment]
    Path.replace = around("replace", Path.replace)  # type: ignore[method-assign, assignment]
    return lambda: effects


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("number", range(1, EFFECTS + 2))
def test_a_kill_at_any_effect_leaves_the_old_or_the_new_checkpoint(tmp_path: Path, number: int, *, happened: bool) -> None:
    folder = tmp_path / "w"
    log = log_in(tmp_path / "log", 5)
    cosigner = cosigner_in(folder)
    cosigner.add_checkpoint(body_of(log, 0))
    old = Checkpoint.parse(log.head.text)
    grow(log, 8)
    request = body_of(log, 5)
    child = os.fork()
    if child == 0:
        effects = dying_at(number, happened=happened)
        cosigner.add_checkpoint(request)
        os._exit(len(effects()))
    _, status = os.waitpid(child, 0)
    if number > EFFECTS:
        assert os.waitstatus_to_exitcode(status) == EFFECTS, "every effect has been killed at"
    else:
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    renamed = number > 2 or (number == 2 and happened)
    assert remembered(folder) == (Checkpoint.parse(log.head.text) if renamed else old)
    with witness_in(folder) as witness:
        cosignature(log.head, log.consistency, witness, 5)
    assert remembered(folder) == Checkpoint.parse(log.head.text)


# -- races ----------------------------------------------------------------------------------------------------------------------------


def test_of_two_requests_at_once_the_slower_takes_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race of the specification: A (to 6) has been checked and is about to persist when B (to 9) comes."""
    folder = tmp_path / "w"
    log = log_in(tmp_path / "log", 5)
    cosigner_in(folder).add_checkpoint(body_of(log, 0))
    grow(log, 6)
    to_6 = body_of(log, 5)
    grow(log, 9)
    to_9 = body_of(log, 5)
    replace = LogRecord.replace
    checked, go_on = threading.Event(), threading.Event()

    def stalling(self: LogRecord, checkpoint: Note) -> None:
        if Checkpoint.parse(checkpoint.text).size == 6:
            checked.set()
            assert go_on.wait(20)
        replace(self, checkpoint)

    monkeypatch.setattr(LogRecord, "replace", stalling)
    with ThreadPoolExecutor() as threads:
        a = threads.submit(cosigner_in(folder).add_checkpoint, to_6)
        assert checked.wait(20)
        b = threads.submit(cosigner_in(folder).add_checkpoint, to_9)
        time.sleep(0.2)
        assert not b.done()
        go_on.set()
        assert a.result().status == 200
        assert (b.result().status, b.result().body) == (409, "6\n")
    last = remembered(folder)
    assert last is not None
    assert last.size == 6


def test_a_request_that_never_ends_stops_its_own_log_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "LOCK_WAIT_S", 0.2)
    log, other = log_in(tmp_path / "log", 5), log_in(tmp_path / "other", 5, number=2, origin="other.test/log")
    cosigner = cosigner_in(tmp_path / "w", LOG_KEY, signer(2, "other.test/log").key)
    with WitnessFolder(tmp_path / "w").held(ORIGIN):
        with pytest.raises(StateUnusable, match=r"has been locked for 0\.2 s"):
            cosigner.add_checkpoint(body_of(log, 0))
        assert cosigner.add_checkpoint(body_of(other, 0)).status == 200
    assert cosigner.add_checkpoint(body_of(log, 0)).status == 200


def test_two_processes_on_one_folder_are_one_witness(tmp_path: Path) -> None:
    """Many ask both at once, each for a step of its own choice. What was cosigned is one chain: no step begins where none ended."""
    size_max = 24
    requests: dict[tuple[int, int], bytes] = {}
    log = log_in(tmp_path / "log", 0)
    for size in range(1, size_max + 1):
        grow(log, size)
        requests |= {(old, size): body_of(log, old) for old in range(size)}
    chance = random.Random(20)
    granted: list[tuple[int, int]] = []
    with witness_process(tmp_path / "w") as one, witness_process(tmp_path / "w") as other:
        urls = [one.witness.url, other.witness.url]
        last = 0

        def ask(url: str, step: tuple[int, int]) -> tuple[tuple[int, int], int, str]:
            answer = httpx.post(url + PATH, content=requests[step], trust_env=False, timeout=60)
            return step, answer.status_code, answer.text

        with ThreadPoolExecutor(6) as threads:
            while last < size_max:
                steps = [(last, chance.randint(last + 1, min(last + 4, size_max))) for _ in range(6)]
                for step, status, text in threads.map(ask, chance.choices(urls, k=6), steps):
                    assert status in {200, 409}, text
                    if status == 200:
                        granted.append(step)
                    else:
                        assert int(text) > step[0]
                now = remembered(tmp_path / "w")
                assert now is not None
                assert now.size > last
                last = now.size
    assert granted[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(sorted(granted)))


# -- the address ----------------------------------------------------------------------------------------------------------------------


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    authority, another = Authority(tmp_path), Authority(tmp_path, "another")
    with serving(witness_app(cosigner_in(tmp_path / "w")), TlsFiles(*authority.issue("localhost"))) as url:
        assert url.startswith("https://")
        cosignature(log.head, log.consistency, Witness(url, WITNESS_KEY, authority.file))
        for ca, why in (
            (another.file, "CERTIFICATE_VERIFY_FAILED"),
            (None, "CERTIFICATE_VERIFY_FAILED"),
            (tmp_path / "none", "No such file"),
        ):
            with pytest.raises(WitnessFailed, match=why):
                cosignature(log.head, log.consistency, Witness(url, WITNESS_KEY, ca))


def test_an_address_or_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    async def serve(host: str, port: int, tls: TlsFiles | None = None) -> None:
        async with serve_witness(witness_app(cosigner_in(tmp_path / "w")), host, port, tls):
            pytest.fail("it is served")

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotServe, match="cannot listen on 127"):
        asyncio.run(serve("127.0.0.1", taken.getsockname()[1]))
    with pytest.raises(CannotServe, match="cannot listen on nowhere"):
        asyncio.run(serve("nowhere.invalid", 0))
    with pytest.raises(CannotServe, match="cannot use the certificate"):
        asyncio.run(serve("127.0.0.1", 0, TlsFiles(tmp_path / "none", tmp_path / "none")))


# -- the command ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    log = log_in(tmp_path / "log", 5)
    with witness_process(tmp_path / "w") as running:
        assert running.about["logs"] == [ORIGIN]
        assert running.about["witness"] == str(WITNESS_KEY)
        cosignature(log.head, log.consistency, running.witness)
        assert running.stop(number) == 0
    assert remembered(tmp_path / "w") == Checkpoint.parse(log.head.text)


@pytest.fixture(scope="module")
def openssl_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    file = tmp_path_factory.mktemp("key") / "witness.key"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", file], check=True, capture_output=True, timeout=60)
    return file


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Calls `verdigris` in this process; exit code and what was said."""
    monkeypatch.setenv("COLUMNS", "1000")

    def call(*given: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["verdigris", *map(str, given)])
        with pytest.raises(SystemExit) as ended:
            run()
        assert isinstance(ended.value.code, int)
        written = capsys.readouterr()
        return ended.value.code, written.err + written.out

    return call


Called = Callable[..., tuple[int, str]]


def test_a_key_by_openssl_is_one(openssl_key: Path, tmp_path: Path, called: Called) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = called(
            "witness", "serve", "--folder", tmp_path / "w", "--key", openssl_key, "--name", "w", "--log", str(LOG_KEY), "--listen", listen
        )  # fmt: skip
    assert (code, "cannot listen on 127.0.0.1" in said) == (73, True), said


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no verifier key": ({"--log": "nonsense"}, "not a verifier key"),
    "a mistyped one": ({"--log": str(LOG_KEY).replace(ORIGIN, "guard.test/lag")}, "was mistyped or changed"),
    "a witness's": ({"--log": str(WITNESS_KEY)}, "is the key of a witness"),
    "no key": ({"--key": "none.key"}, "cannot read the key none.key"),
    "a key that others can read": ({"--key": "open.key"}, "chmod 600"),
    "the log's own key": ({"--key": "1.key"}, "could forge both"),
    "no name": ({"--name": "a b"}, "has no spaces"),
    "no address": ({"--listen": "7380"}, "is no address"),
    "no port": ({"--listen": "127.0.0.1:70000"}, "is no address"),
    "half of TLS": ({"--certificate": "w.pem"}, "needs both"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: Called, case: str) -> None:
    monkeypatch.chdir(tmp_path)
    key_file(tmp_path, 1)
    open_key = key_file(tmp_path, 2).rename(tmp_path / "open.key")
    open_key.chmod(0o644)
    changed, why = WRONG[case]
    options = arguments(tmp_path / "w")[3:]
    given = dict(zip(options[::2], options[1::2], strict=True)) | changed
    code, said = called("witness", "serve", *(word for pair in given.items() for word in pair))
    assert code == 64, said
    assert why in said, said
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path, called: Called) -> None:
    given = arguments(tmp_path / "w")
    (tmp_path / "w").write_text("")
    code, said = called(*given)
    assert (code, "the witness cannot use" in said) == (73, True), said
    assert "Traceback" not in said


def test_help_has_examples(called: Called) -> None:
    code, said = called("witness", "serve", "--help")
    assert code == 0
    assert said.count("verdigris witness serve --") == 2
    assert "Exit codes" in said


def test_the_verifier_key_that_is_told_is_the_one_of_the_key() -> None:
    public = private_key(WITNESS_NUMBER).public_key().public_bytes_raw()
    assert VerifierKey(WITNESS_NAME, Algorithm.COSIGNATURE, public) == WITNESS_KEY
