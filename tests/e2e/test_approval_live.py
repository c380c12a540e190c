"""A gate with everything real: a guard's process, HAProxy and users; a key in a file, signed and handed in by the command line."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.faults.guards import stage, until
from tests.unit.approval_people import private, public

RUN = "import sys; from verdigris.cli.main import run; sys.argv[0] = 'verdigris'; run()"


async def verdigris(state: Path, *arguments: str) -> tuple[int, str, str]:
    """A command in a process of its own: exit code, standard output, standard error."""
    environ = {**os.environ, "VERDIGRIS_STATE": str(state), "COLUMNS": "200"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, *arguments, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.timeout(240)
def test_no_request_reaches_the_candidate_before_somebody_has_signed(tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(tmp_path) as on:
            (tmp_path / "g").mkdir()
            state = tmp_path / "g" / "state"
            state.mkdir()
            people = [{"name": "ann", "roles": ["author"], "keys": [str(public("ann"))]}]
            people += [{"name": "c.cruz", "roles": ["approver"], "keys": [str(public("c.cruz"))]}]
            (state / "people.yaml").write_text(json.dumps({"people": people}), encoding="utf-8")
            key = tmp_path / "id"
            key.write_bytes(private("c.cruz").private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
            key.chmod(0o600)
            guard = await on.guard("g")
            plan = json.loads(on.plan_text())
            plan["steps"][0]["gate"] = "approval"
            async with guard.control() as control:
                started = await control.start(json.dumps(plan), "ann")
                waiting = await until(control, started.id, "waiting for approval", within_s=60)
                assert waiting.observed_percent == 0
                await guard.kill()  # who dies while people think it over goes on waiting
                await guard.start()
                assert "green" not in {slot for _, slot in on.answers}
                code, out, err = await verdigris(state, "approve", "--key", str(key), "--yes", "--reason", "looked at it", "--json")
                assert code == 0, err
                assert json.loads(out)["gate"]["state"] in {"open", "waiting"}  # it may have moved on before the answer
                await until(control, started.id, "watching", within_s=60)
                await on.until_share(0.3, 0.7, within_s=40)
                events = await control.events(started.id)
                kinds = [event.kind for event in events]
                assert kinds.index("approval.given") < kinds.index("weight.intended")
                assert next(e.actor for e in events if e.kind == "approval.given") == "c.cruz"
                await control.abort(started.id, "ann", "seen enough")
                await until(control, started.id, "rolled back", within_s=20)
            code, out, err = await verdigris(state, "audit", "verify", "--json")
            assert code == 0, out + err
            for asked in ("PCI-DSS-4.0.1:10.2.2", "PCI-DSS-4.0.1:6.5.4"):  # also from where somebody acted; author and approver are two
                code, out, err = await verdigris(state, "audit", "control", asked, "--json")
                assert [one["state"] for one in json.loads(out)["rollouts"]] == ["evidenced"], out + err

    asyncio.run(main())
