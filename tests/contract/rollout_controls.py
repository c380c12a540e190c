"""What the contract's tests are run against: each is a way to get at a `RolloutControl`, and to make its rollouts move.

To run them against another one, add its subject to `SUBJECTS`.
"""

import datetime as dt
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.scripted_control import ScriptedControl

from verdigris.plan.example import example_plan
from verdigris.rollout.status import RolloutControl, RolloutStatus
from verdigris.rollout.transitions import Phase
from verdigris.server.actors import Actor, ActorRole, Actors
from verdigris.server.api import make_api, serve_api
from verdigris.server.client import RemoteControl
from verdigris.server.serving import TlsFiles
from verdigris.server.unix_socket import SOCKET_NAME

TOKEN = "5b6b6a1f0c1d4e0fa9c44be7a4d1ce1b"
VIEWER_TOKEN = "0f9e8d7c6b5a49382716051423324150"
ACTORS = Actors(
    "somebody",
    {
        sha256(TOKEN.encode()).hexdigest(): Actor("alice", ActorRole.OPERATOR),
        sha256(VIEWER_TOKEN.encode()).hexdigest(): Actor("wallboard", ActorRole.VIEWER),
    },
)
PLAN = example_plan("envoy")
"""A plan that does not end by itself while a test lasts."""

ANOTHER_PLAN = PLAN.replace("name: Faster appointment search", "name: Another").replace("subject: appointments", "subject: another")


class Subject(Protocol):
    """A control, with two plans of different traffic that go on until they are told otherwise."""

    control: RolloutControl
    plan_text: str
    another_plan_text: str

    async def bring_to(self, rollout_id: str, phase: Phase) -> RolloutStatus:
        """Make the rollout reach WATCHING, WAITING_FOR_APPROVAL, BAKING, COMMITTED or ROLLED_BACK by itself."""


@dataclass
class ScriptedSubject:
    """The fake, or the fake behind the API and its client."""

    control: RolloutControl
    scripted: ScriptedControl
    plan_text: str = PLAN
    another_plan_text: str = ANOTHER_PLAN

    async def bring_to(self, rollout_id: str, phase: Phase) -> RolloutStatus:
        return self.scripted.to(rollout_id, phase)


@asynccontextmanager
async def scripted(_: Path) -> AsyncIterator[Subject]:
    """The fake itself."""
    control = ScriptedControl(every_s=0.05)
    yield ScriptedSubject(control, control)


@asynccontextmanager
async def over_the_socket(folder: Path) -> AsyncIterator[Subject]:
    """The fake, asked through the Unix socket."""
    control = ScriptedControl(every_s=0.05)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve_api(make_api(control, dict, ACTORS), folder / SOCKET_NAME))
        yield ScriptedSubject(await stack.enter_async_context(RemoteControl(folder=folder)), control)


@asynccontextmanager
async def over_tls(folder: Path) -> AsyncIterator[Subject]:
    """The fake, asked through TLS with a token."""
    control = ScriptedControl(every_s=0.05)
    tls = certificate(folder)
    async with AsyncExitStack() as stack:
        api = make_api(control, dict, ACTORS)
        serving = await stack.enter_async_context(serve_api(api, None, ("127.0.0.1", 0), tls))
        assert serving.tcp is not None
        client = RemoteControl(f"https://127.0.0.1:{serving.tcp[1]}", token=TOKEN, ca=tls.certificate)
        yield ScriptedSubject(await stack.enter_async_context(client), control)


SUBJECTS: dict[str, Callable[[Path], AbstractAsyncContextManager[Subject]]] = {
    "scripted": scripted,
    "over the socket": over_the_socket,
    "over TLS": over_tls,
}


def certificate(folder: Path) -> TlsFiles:
    """A certificate for 127.0.0.1 that signs itself, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "guard")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    files = TlsFiles(folder / "guard.pem", folder / "guard.key")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files
