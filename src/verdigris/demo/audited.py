"""What an auditor sees of a case that has ended: its record verified, judged again, exported, and the pack verified by its own program in
an interpreter that knows nothing of us.
"""

import subprocess
import sys
from pathlib import Path

from verdigris.audit.pack import write_pack
from verdigris.audit.record import EvidenceFiles, open_record
from verdigris.audit.replay import Answer, replay
from verdigris.audit.verify import Folder, verify_log_files
from verdigris.demo.ending import Audited
from verdigris.ledger.storage import LOG_FOLDER

PACK_LIMIT_S = 60


def audit(state_folder: Path, pack: Path) -> Audited:
    """Everything, on the record that a guard left. Raises: NoRecord, InvalidEntry, …: there is no record that could be read."""
    problems: list[str] = []
    with open_record(state_folder) as record:
        keys = [str(key) for key in record.keys]
        report = verify_log_files(Folder(state_folder / LOG_FOLDER, links=True), keys, evidence=EvidenceFiles(record))
        problems += [f"the record: {one.where}: {one.what}" for one in report.problems]
        entries = record.of("latest")
        replayed = list(replay(entries, record.evidence))
        problems += [f"the verdict of entry {one.index}: {one.answer.value} {one.why}" for one in replayed if one.answer is not Answer.SAME]
        write_pack(record, entries, pack)
        size = record.checkpoint.size
    problems += _verified_alone(pack, keys)
    return Audited(size, len(replayed), tuple(problems))


def _verified_alone(pack: Path, keys: list[str]) -> list[str]:
    """The pack's own program, isolated: no environment, no user's packages, nothing of the current folder."""
    program = (
        "import runpy, sys, tempfile, zipfile, pathlib\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    pack = zipfile.ZipFile(sys.argv[1])\n"
        "    file = pathlib.Path(folder) / 'verify.py'\n"
        "    file.write_bytes(pack.read('verify.py'))\n"
        "    sys.argv = ['verify.py', 'pack', sys.argv[1], *sys.argv[2:]]\n"
        "    sys.modules['verdigris'] = None\n"
        "    runpy.run_path(str(file), run_name='__main__')\n"
    )
    command = [sys.executable, "-I", "-c", program, str(pack), *(part for key in keys for part in ("--key", key))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PACK_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"the pack could not be verified: {error}"]
    return [] if done.returncode == 0 else [f"the pack does not verify: {(done.stdout + done.stderr).strip()[-500:]}"]
