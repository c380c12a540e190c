"""`verdigris approve`, `refuse` and `review`, and the control behind them: real signatures, a real API and records; no proxy."""

import asyncio
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests import in_process
from tests.contract.rollout_controls import ACTORS
from tests.unit.approval_people import private, public

from verdigris.approvals.approval import restored
from verdigris.plan.document import load_plan
from verdigris.plan.example import example_plan
from verdigris.rollout.agreement import shown_for
from verdigris.rollout.control import GuardControl
from verdigris.rollout.position import Position
from verdigris.rollout.records import Records
from verdigris.rollout.transitions import Event, Phase
from verdigris.server.api import make_api, serve_api
from verdigris.server.people_file import PeopleFile

PLAN = example_plan("envoy")
"""Its third step asks two approvers, its switch an approver or security and a tester; security may override a freeze."""

FROZEN = PLAN.replace("from: 2026-12-24T00:00:00+01:00", "from: 2020-12-24T00:00:00+01:00").replace("2026-12-27", "2036-12-27")


@dataclass
class NobodyActs:
    """What the control needs of the part that acts."""

    guard: str = "test"
    drivers: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    async def begin(self, _rollout_id: str) -> bool:
        return True


@dataclass
class Guard:
    """A guard without a proxy, in a thread of its own; tests say where its rollouts stand."""

    records: Records
    people: Path
    folder: Path

    def started(self, text: str = PLAN, *arguments: str) -> str:
        (self.folder / "plan.yaml").write_text(text, encoding="utf-8")
        code, out, err = verdigris("rollout", "start", "plan.yaml", "--no-watch", "--json", *arguments)
        assert code == 0, err
        return str(json.loads(out)["id"])

    def bring_to_gate(self, rollout_id: str, step: int) -> None:
        """As the one who acts would: it waits for whoever is asked for a step."""
        claim = self.records.claim(rollout_id, "test", 0)
        assert claim is not None
        plan = load_plan(self.records.load(rollout_id).plan.decode())
        position = Position().moved(Event.BEGUN, "", time.time()).moved(Event.READY, "", time.time())
        position = position.moved(Event.STEP_IN_FORCE, "", time.time())
        for _ in range(step - 1):
            position = position.moved(Event.STEP_PASSED, "", time.time()).moved(Event.STEP_IN_FORCE, "", time.time())
        self.records.move(claim, position.moved(Event.APPROVAL_NEEDED, "asked", time.time()), Event.APPROVAL_NEEDED, "guard test")
        self.records.show(claim, shown_for(plan, rollout_id, step, None))


def verdigris(*arguments: str | Path) -> tuple[int, str, str]:
    """A call without a terminal."""
    return in_process.verdigris(*arguments, stdin=b"")


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    state = tmp_path / "state"
    state.mkdir()
    for variable in ("VERDIGRIS_SERVER", "VERDIGRIS_TOKEN_FILE", "VERDIGRIS_CA", "VERDIGRIS_KEY", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("VERDIGRIS_STATE", str(state))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    roles = {"a.meyer": "author, approver", "b.klein": "approver", "c.cruz": "approver", "d.dahl": "tester", "e.engel": "security"}
    people = tmp_path / "people.yaml"
    entries = [f"  - {{name: {name}, roles: [{of}], keys: ['{public(name)}']}}" for name, of in roles.items()]
    people.write_text("\n".join(["people:", *entries]), encoding="utf-8")
    for name in roles:
        key = private(name).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        (tmp_path / name).write_bytes(key)
        (tmp_path / name).chmod(0o600)
    records = Records(f"sqlite:///{tmp_path / 'rollouts.sqlite'}")
    control = GuardControl(
        records, NobodyActs(), load_plan, lambda text: load_plan(text.decode()), PeopleFile(people, required=True)  # type: ignore[arg-type]
    )  # fmt: skip
    up, stop, loops = threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        async with serve_api(make_api(control, dict, ACTORS), state / "api.sock", None, None):
            loops.append(asyncio.get_running_loop())
            up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        assert up.wait(10)
        yield Guard(records, people, tmp_path)
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)
        records.close()


def author(text: str) -> str:
    """The plan by somebody who is known."""
    assert "author: a.meyer" in text
    return text


def test_two_people_open_a_gate_and_it_is_said_what_is_still_missing(guard: Guard) -> None:
    rollout_id = guard.started(author(PLAN))
    guard.bring_to_gate(rollout_id, 2)
    code, out, err = verdigris("approve", "--key", "b.klein", "--yes", "--reason", "looked")
    assert (code, out) == (0, "")
    assert "about   the step to 50 %" in err
    assert "finding none" in err
    assert "handed in. the step to 50 %: waiting: 1 more of approver (2 asked; so far: b.klein)" in err
    code, out, err = verdigris("approve", rollout_id[:12], "--key", "c.cruz", "--yes", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["gate"]["state"], [w["person"] for w in told["words"] if w["counts"]]) == ("open", ["b.klein", "c.cruz"])
    kinds = [(e.kind, e.actor) for e in guard.records.journal(rollout_id) if e.kind.startswith("approval.")]
    assert kinds == [("approval.given", "b.klein"), ("approval.given", "c.cruz")]
    for given in guard.records.approvals(rollout_id):
        assert restored(given.signed, given.person) == given


def test_what_would_not_count_is_refused_with_the_reason_and_leaves_nothing(guard: Guard) -> None:
    rollout_id = guard.started(author(PLAN))
    assert verdigris("approve", "--key", "b.klein", "--yes", "--role", "approver")[0] == 75  # nobody is asked yet
    guard.bring_to_gate(rollout_id, 2)
    for arguments, exit_code, why in (
        (("--key", "a.meyer"), 77, "a.meyer is the author of the change"),
        (("--key", "d.dahl"), 77, "d.dahl does not have the role approver"),
        (("--key", "d.dahl", "--role", "tester"), 77, "is said as tester, and this gate asks approver"),
        (("--override-freeze", "--key", "e.engel", "--role", "security", "--reason", "x"), 77, "no freeze holds"),
        (("--key", "nowhere"), 78, "nowhere"),
        ((), 78, "SSH_AUTH_SOCK"),
        (("--role", "boss"), 64, "is none of"),
        (("--override-freeze", "--withdraw"), 64, "two things"),
    ):
        code, _, err = verdigris("approve", "--yes", *arguments)
        assert (code, why in " ".join(err.split())) == (exit_code, True), (arguments, err)
    assert guard.records.approvals(rollout_id) == []
    assert not [e for e in guard.records.journal(rollout_id) if e.kind.startswith(("approval.", "freeze."))]


def test_without_a_terminal_nothing_is_signed_unless_it_is_said(guard: Guard) -> None:
    rollout_id = guard.started(author(PLAN))
    guard.bring_to_gate(rollout_id, 2)
    code, _, err = verdigris("approve", "--key", "b.klein")
    assert (code, "sign with --yes" in " ".join(err.split())) == (64, True)
    assert guard.records.approvals(rollout_id) == []


def test_a_refusal_needs_a_reason_holds_the_gate_and_can_be_withdrawn(guard: Guard) -> None:
    rollout_id = guard.started(author(PLAN))
    guard.bring_to_gate(rollout_id, 2)
    assert verdigris("refuse", "--key", "e.engel", "--role", "security", "--yes")[0] == 64
    code, out, _ = verdigris("refuse", "--key", "e.engel", "--role", "security", "--yes", "--reason", "an advisory", "--json")
    gate = json.loads(out)["gate"]
    assert (code, gate["state"], gate["missing"]) == (0, "refused", ["the withdrawal of e.engel's refusal"])
    for name in ("b.klein", "c.cruz"):
        assert verdigris("approve", "--key", name, "--yes")[0] == 0
    assert "refused by" not in verdigris("rollout", "status")[1]
    code, out, _ = verdigris("approve", "--withdraw", "--key", "e.engel", "--role", "security", "--yes", "--reason", "patched", "--json")
    assert (code, json.loads(out)["gate"]["state"]) == (0, "open")


def test_what_is_signed_elsewhere_is_handed_in(guard: Guard) -> None:
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")
    rollout_id = guard.started(author(PLAN))
    guard.bring_to_gate(rollout_id, 2)
    code, _, err = verdigris("approve", "--out", "approval.json")
    assert (code, "ssh-keygen -Y sign" in err) == (0, True)
    subprocess.run(
        [program, "-Y", "sign", "-n", "approval@verdigris.dev", "-f", "b.klein", "approval.json"], check=True, capture_output=True
    )
    code, out, _ = verdigris("approve", "--document", "approval.json", "--signature", "approval.json.sig", "--json")
    assert (code, [w["person"] for w in json.loads(out)["words"]]) == (0, ["b.klein"])
    altered = (guard.folder / "approval.json").read_text(encoding="utf-8").replace('"step":2', '"step":1')
    (guard.folder / "approval.json").write_text(altered, encoding="utf-8")
    assert verdigris("approve", "--document", "approval.json", "--signature", "approval.json.sig")[0] == 77
    assert verdigris("approve", "--document", "approval.json")[0] == 64


def test_the_ssh_agent_signs(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, add = shutil.which("ssh-agent"), shutil.which("ssh-add")
    if agent is None or add is None:
        pytest.skip("ssh-agent is not installed (Debian: openssh-client)")
    rollout_id = guard.started(author(PLAN))
    guard.bring_to_gate(rollout_id, 2)
    socket = guard.folder / "agent.sock"
    process = subprocess.Popen([agent, "-D", "-a", str(socket)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        give_up_s = time.monotonic() + 10
        while subprocess.run([add, "b.klein"], capture_output=True, check=False).returncode:
            assert time.monotonic() < give_up_s
        code, out, err = verdigris("approve", "--yes", "--json")
        assert code == 0, err
        assert [w["person"] for w in json.loads(out)["words"]] == ["b.klein"]
    finally:
        process.terminate()
        process.wait()


# -- freezes and reviews ----------------------------------------------------------------------------------------------------


def test_a_freeze_can_be_overridden_and_reviewed_by_somebody_else(guard: Guard) -> None:
    (guard.folder / "plan.yaml").write_text(author(FROZEN), encoding="utf-8")
    code, _, err = verdigris("rollout", "start", "plan.yaml", "--no-watch")
    assert (code, "--break-glass" in " ".join(err.split())) == (75, True)
    rollout_id = guard.started(author(FROZEN), "--break-glass")
    code, out, _ = verdigris("approve", "--override-freeze", "--whole", "--key", "e.engel", "--yes", "--reason", "patients", "--json")
    freeze = json.loads(out)["freeze"]
    assert (code, freeze["gate"]["state"], freeze["reason"]) == (0, "open", "Holidays")
    kinds = [e.kind for e in guard.records.journal(rollout_id)]
    assert kinds == ["plan.submitted", "freeze.overridden", "review.due"]
    code, _, err = verdigris("review")
    assert (code, "freeze overridden by e.engel (patients); review due" in err) == (1, True)
    for key, role in (("e.engel", "security"), ("a.meyer", "approver")):
        assert verdigris("review", "latest", "--key", key, "--role", role, "--yes", "--reason", "fine")[0] == 77
    assert verdigris("review", "latest", "--key", "c.cruz", "--role", "approver", "--yes")[0] == 64  # a review has a reason
    claim = guard.records.claim(rollout_id, "test", 0)
    assert claim is not None
    position = Position().moved(Event.RETURN_ASKED, "", time.time())
    guard.records.move(claim, position, Event.RETURN_ASKED, "guard test")
    guard.records.move(claim, position.moved(Event.BASELINE_IN_FORCE, "", time.time()), Event.BASELINE_IN_FORCE, "guard test")
    assert guard.records.load(rollout_id).position.phase is Phase.ROLLED_BACK
    code, out, _ = verdigris("review", "latest", "--key", "c.cruz", "--role", "approver", "--yes", "--reason", "rightly", "--json")
    assert (code, [r["done"] for r in json.loads(out)["reviews"]]) == (0, [True])
    assert [kind for _, kind, _, _ in guard.records.guard_journal()] == ["review.done"]
    assert verdigris("review")[0] == 0
    assert verdigris("review", "latest", "--key", "c.cruz", "--role", "approver", "--yes", "--reason", "again")[0] == 75


# -- people -----------------------------------------------------------------------------------------------------------------


def test_a_plan_that_nobody_could_agree_to_is_not_started(guard: Guard) -> None:
    guard.people.write_text(f"people:\n  - {{name: b.klein, roles: [approver], keys: ['{public('b.klein')}']}}\n", encoding="utf-8")
    (guard.folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
    code, _, err = verdigris("rollout", "start", "plan.yaml", "--no-watch")
    assert (code, "its author, 'a.meyer', is not among the people" in " ".join(err.split())) == (75, True)
    guard.people.write_text(
        f"people:\n  - {{name: b.klein, roles: [approver], keys: ['{public('b.klein')}']}}\n"
        f"  - {{name: a.meyer, roles: [author, approver], keys: ['{public('a.meyer')}']}}\n", encoding="utf-8",
    )  # fmt: skip
    code, _, err = verdigris("rollout", "start", "plan.yaml", "--no-watch")
    assert (code, "asks for 2 of approver, and this guard knows 1 beside the author" in " ".join(err.split())) == (75, True)


def test_a_list_of_people_that_cannot_be_read_closes_the_gates(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    rollout_id = guard.started(author(PLAN))
    guard.bring_to_gate(rollout_id, 2)
    for name in ("b.klein", "c.cruz"):
        assert verdigris("approve", "--key", name, "--yes")[0] == 0
    for broken in (b"people: [", b"people: 5", b"\xff", b"people: []\n" + b"#" * (1 << 20)):
        guard.people.write_bytes(broken)
        code, _, err = verdigris("approve", "--key", "b.klein", "--yes")
        assert (code, "nobody known has the key" in " ".join(err.split())) == (77, True)
    assert "nobody is believed until it can be" in caplog.text
