"""Signing by an ssh-agent: a real one, and ones that answer slowly, too much, or nonsense."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.approval_people import private, public

from verdigris.approvals.signing import AgentSigner, CannotSign, Signer, open_signer
from verdigris.approvals.ssh_agent import MESSAGE_BYTES_MAX, Agent
from verdigris.approvals.ssh_key import PublicKey
from verdigris.approvals.ssh_wire import string, uint32

MESSAGE = b'{"decision":"give"}'
KINDS = {"ed25519": ("-t", "ed25519"), "ecdsa": ("-t", "ecdsa", "-b", "384"), "rsa": ("-t", "rsa", "-b", "2048")}
FAILURE, IDENTITIES_ANSWER, SIGN_RESPONSE = b"\x05", b"\x0c", b"\x0e"


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: openssh-client)")
    return found


# -- a real agent -------------------------------------------------------------------------------------------------------------------


class RealAgent:
    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "agent"
        self.environ = {"SSH_AUTH_SOCK": str(self.path)}

    def new_key(self, kind: str) -> Path:
        file = self.folder / kind
        subprocess.run([program("ssh-keygen"), "-q", *KINDS[kind], "-N", "", "-C", f"a {kind} key", "-f", file], check=True, timeout=60)
        return file

    def add(self, *arguments: str | Path, typed: bytes = b"") -> None:
        subprocess.run([program("ssh-add"), "-q", *arguments], input=typed, env=self.environ, check=True, timeout=60, capture_output=True)

    def held(self, kind: str) -> PublicKey:
        self.add(self.new_key(kind))
        return PublicKey.parse((self.folder / f"{kind}.pub").read_text())


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[RealAgent]:
    real = RealAgent(tmp_path)
    with subprocess.Popen([program("ssh-agent"), "-D", "-a", real.path], stdout=subprocess.DEVNULL) as running:
        try:
            ends = time.monotonic() + 20
            while not real.path.exists():
                assert time.monotonic() < ends
                time.sleep(0.01)
            yield real
        finally:
            running.terminate()


def signs(signer: Signer, key: PublicKey) -> None:
    signature = signer.sign(MESSAGE)
    assert signature.key == key
    signature.verify(MESSAGE)


@pytest.mark.parametrize("kind", KINDS)
def test_its_only_key_signs(agent: RealAgent, kind: str) -> None:
    key = agent.held(kind)
    signs(open_signer(None, agent.environ), key)
    signature = open_signer(None, agent.environ).sign(MESSAGE)
    (agent.folder / "signers").write_text(f"somebody {key}\n")
    (agent.folder / "signature").write_text(str(signature))
    subprocess.run(
        [program("ssh-keygen"), "-Y", "verify", "-f", agent.folder / "signers", "-I", "somebody", "-n", "approval@verdigris.dev",
         "-s", agent.folder / "signature"],
        input=MESSAGE, check=True, timeout=60, capture_output=True,
    )  # fmt: skip


def test_a_key_is_chosen_by_its_fingerprint_or_its_pub_file(agent: RealAgent) -> None:
    keys = {kind: agent.held(kind) for kind in KINDS}
    assert [(key, key.comment) for key in Agent(agent.path).public_keys()] == [(key, f"a {kind} key") for kind, key in keys.items()]
    for kind, key in keys.items():
        signs(open_signer(key.fingerprint, agent.environ), key)
        signs(open_signer(str(agent.folder / f"{kind}.pub"), agent.environ), key)
    with pytest.raises(CannotSign, match="holds several keys: name one by its fingerprint") as several:
        open_signer(None, agent.environ)
    assert all(key.fingerprint in str(several.value) for key in keys.values())
    with pytest.raises(CannotSign, match="not the key SHA256:nothing: add it"):
        open_signer("SHA256:nothing", agent.environ)


def test_without_keys_it_says_what_to_do(agent: RealAgent) -> None:
    with pytest.raises(CannotSign, match=r"holds no key: add it \(ssh-add\).*It holds: none"):
        open_signer(None, agent.environ)


def test_a_locked_agent_shows_no_keys_and_signs_nothing(agent: RealAgent, tmp_path: Path) -> None:
    key = agent.held("ed25519")
    signer = AgentSigner(Agent(agent.path), key)
    answer = tmp_path / "answer"
    answer.write_text("#!/bin/sh\necho secret\n")
    answer.chmod(0o700)
    agent.environ |= {"SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force", "PATH": "/usr/bin:/bin"}
    agent.add("-x")
    with pytest.raises(CannotSign, match="holds no key"):
        open_signer(None, agent.environ)
    with pytest.raises(CannotSign, match="refused to sign with SHA256:"):
        signer.sign(MESSAGE)
    agent.add("-X")
    signs(signer, key)


def test_a_key_that_was_taken_out_signs_nothing(agent: RealAgent) -> None:
    signer = AgentSigner(Agent(agent.path), agent.held("ed25519"))
    agent.add("-D")
    with pytest.raises(CannotSign, match="refused to sign"):
        signer.sign(MESSAGE)


def test_no_agent_at_all(tmp_path: Path) -> None:
    for environ in ({}, {"SSH_AUTH_SOCK": ""}):
        with pytest.raises(CannotSign, match="SSH_AUTH_SOCK is not set"):
            open_signer(None, environ)
    for path in (tmp_path / "nothing", tmp_path, tmp_path / ("x" * 200)):
        with pytest.raises(CannotSign, match="cannot speak with the ssh-agent"):
            open_signer(None, {"SSH_AUTH_SOCK": str(path)})


# -- agents that are none -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(path: Path, answer: Callable[[socket.socket, bytes], None]) -> Iterator[Agent]:
    """Answers every request by `answer`, which gets what follows the length."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    length = int.from_bytes(connection.recv(4, socket.MSG_WAITALL))
                    if not length:
                        return
                    answer(connection, connection.recv(length, socket.MSG_WAITALL))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Agent(path, list_limit_s=0.3, sign_limit_s=0.3)
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
                last.connect(str(path))
                last.sendall(uint32(0))
            thread.join()
            path.unlink()


def sending(*parts: bytes, pause_s: float = 0.0) -> Callable[[socket.socket, bytes], None]:
    def answer(connection: socket.socket, _request: bytes) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)

    return answer


def both_refused(agent: Agent, why: str) -> None:
    with pytest.raises(CannotSign, match=why):
        agent.public_keys()
    with pytest.raises(CannotSign, match=why):
        agent.sign(public("a"), b"data")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "closed the connection"),
        (b"\0\0", "closed the connection"),
        (uint32(0), "said to have 0 bytes"),
        (uint32(MESSAGE_BYTES_MAX + 1), f"said to have {MESSAGE_BYTES_MAX + 1} bytes"),
        (uint32(2**32 - 1) + b"x" * 1000, "said to have 4294967295 bytes"),
        (uint32(100) + IDENTITIES_ANSWER, "closed the connection"),
        (string(FAILURE), "refused to"),
        (string(b"\x63"), "its answer has type 99"),
        (string(IDENTITIES_ANSWER), "ends after|where 14 was due"),
        (string(SIGN_RESPONSE), "ends after|where 12 was due"),
        (string(IDENTITIES_ANSWER + uint32(2**32 - 1)), "ends after|where 14 was due"),
        (string(SIGN_RESPONSE + uint32(2**32 - 1)), "may have|where 12 was due"),
        (string(IDENTITIES_ANSWER + uint32(0) + b"x"), "1 bytes follow|where 14 was due"),
        (string(SIGN_RESPONSE + string(b"x") + b"x"), "1 bytes follow|where 12 was due"),
        (string(IDENTITIES_ANSWER + uint32(3000) + string(b"") * 6000), "bytes follow|where 14 was due"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, answer: bytes, why: str) -> None:
    with answering(tmp_path / "agent", sending(answer)) as agent:
        both_refused(agent, why)


def test_silence_and_dripping_end_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    with answering(tmp_path / "silent", sending(pause_s=0)) as agent:
        both_refused(agent, "closed the connection")
    with answering(tmp_path / "slow", sending(b"", pause_s=1)) as agent:
        both_refused(agent, r"within 0\.3 s")
    # Each byte comes soon after the last; all of them would take 20 s.
    with answering(tmp_path / "dripping", sending(*[b"\0", b"\0", b"\1", b"\0"], *[b"x"] * 200, pause_s=0.1)) as agent:
        both_refused(agent, r"within 0\.3 s")
    assert time.monotonic() - began < 15


def test_keys_that_are_not_accepted_are_left_out_and_comments_obey_nobody(tmp_path: Path) -> None:
    held = [(b"nonsense", b""), (string("ssh-dss"), b""), (public("a").blob, b"\x1b[2J\xff" + b"x" * 500), (public("b").blob, b"")]
    answer = IDENTITIES_ANSWER + uint32(len(held)) + b"".join(string(blob) + string(comment) for blob, comment in held)
    with answering(tmp_path / "agent", sending(string(answer))) as agent:
        keys = agent.public_keys()
    assert keys == (public("a"), public("b"))
    assert keys[0].comment.startswith("\ufffd[2J\ufffdxxx")
    assert len(keys[0].comment) == 200


def test_what_it_signed_otherwise_is_not_given_out(tmp_path: Path) -> None:
    other = string("ssh-ed25519") + string(private("a").sign(b"something else"))
    for raw in (other, b"", b"\0" * 100, string("ssh-ed25519")):
        with (
            answering(tmp_path / "agent", sending(string(SIGN_RESPONSE + string(raw)))) as agent,
            pytest.raises(CannotSign, match="something else"),
        ):
            AgentSigner(agent, public("a")).sign(MESSAGE)


def test_rsa_signatures_without_their_zeros_are_filled_up(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)

    def answer(connection: socket.socket, request: bytes) -> None:
        blob = PublicKey.of(key.public_key()).blob
        assert request.endswith(uint32(4)), "SHA-512 is asked for"
        data = request[1 + 4 + len(blob) + 4 : -4]
        signature = key.sign(data, padding.PKCS1v15(), hashes.SHA512())
        connection.sendall(string(SIGN_RESPONSE + string(string("rsa-sha2-512") + string(signature.lstrip(b"\0")))))

    with answering(tmp_path / "agent", answer) as agent:
        signer = AgentSigner(agent, PublicKey.of(key.public_key()))
        # One in 256 begins with a zero byte.
        lengths = {len(signer.sign(str(n).encode()).raw) for n in range(1500)}
    assert lengths == {4 + len("rsa-sha2-512") + 4 + 256}


def test_a_hardware_key_in_an_agent_signs(tmp_path: Path) -> None:
    private_key = ec.derive_private_key(4711, ec.SECP256R1())
    point = private_key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    name = "sk-ecdsa-sha2-nistp256@openssh.com"
    key = PublicKey(string(name) + string("nistp256") + string(point) + string("ssh:"))
    with answering(tmp_path / "agent", sending(string(FAILURE))) as agent, pytest.raises(CannotSign, match="touch it"):
        AgentSigner(agent, key).sign(MESSAGE)


@given(st.binary(max_size=300), st.sampled_from([b"", IDENTITIES_ANSWER, SIGN_RESPONSE, IDENTITIES_ANSWER + uint32(1)]))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_answer_is_keys_or_refused(tmp_path: Path, content: bytes, front: bytes) -> None:
    with answering(tmp_path / "any", sending(string(front + content))) as agent:
        for ask in (agent.public_keys, lambda: AgentSigner(agent, public("a")).sign(MESSAGE)):
            with contextlib.suppress(CannotSign):
                ask()
