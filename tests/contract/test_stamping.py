"""A guard's ledger and real time stamping authorities: what is kept of stamps, what they prove to an auditor, and what they do not."""

import asyncio
import json
import shutil
import stat
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from tests.contract.authorities import Change, Issuer, TimeStamping, changes, openssl
from tests.contract.test_audit_cli import PLAN, opened, started
from tests.contract.test_timestamp import query
from tests.contract.witnesses import Answer, answering
from tests.unit.audit_logs import KEY, ORIGIN, told
from tests.unit.ledger_keys import signer
from tests.unit.rollout_world import World, behaving
from tests.unit.test_driver import rolled_out
from tests.unit.test_plan_cli import verdigris

from verdigris.audit.verify import CannotTell, Refused, Report, check_authority, read_stamp, utc, verify_log, verify_pack
from verdigris.ledger.log import Log
from verdigris.ledger.note import Note
from verdigris.ledger.stamps import kept
from verdigris.ledger.storage import LogFolder
from verdigris.ledger.timestamp import Authority, TimestampFailed, verify_stamp
from verdigris.server.guard import open_guard
from verdigris.server.settings import GuardSettings, LedgerSettings
from verdigris.server.stamping import RETRY_S, Stamping
from verdigris.telemetry.receiver.listeners import Addresses

HOUR_S = 3_600.0
ROOT = Issuer.root("a root")
ANOTHER = "20260502-090000-cd34"


class Clock:
    """Says what it is told."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def authority(tmp_path: Path) -> TimeStamping:
    openssl("version")
    return TimeStamping(tmp_path / "tsa", ROOT.issue("a tsa"))


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    (tmp_path / "roots.pem").write_bytes(ROOT.pem)
    return tmp_path / "roots.pem"


def log_in(folder: Path) -> Log:
    log = Log(LogFolder(folder), ORIGIN, signer(1))
    if not log.size:
        log.append(told())
    return log


def asked(url: str, limit_s: float = 15.0) -> Authority:
    return Authority((ROOT.certificate,), url, limit_s=limit_s)


def says(lines: list[str], *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in lines)


def found(report: Report, where: str, what: str) -> None:
    assert any(where in problem.where and what in problem.what for problem in report.problems), report.problems


# -- the guard asks -------------------------------------------------------------------------------------------------------------------


def test_a_head_is_stamped_once_per_interval_and_only_if_the_log_has_grown(authority: TimeStamping, tmp_path: Path) -> None:
    log, clock = log_in(tmp_path / "log"), Clock()
    with authority.served() as url:
        asking = Stamping(log, [asked(url)], HOUR_S, clock)
        assert [asking.ask(), asking.ask()] == [1, 0]
        log.append(told(ANOTHER))
        assert asking.ask() == 0
        clock.s += HOUR_S
        assert asking.ask() == 1
        clock.s += HOUR_S
        assert asking.ask() == 0
        assert [one.size for one in kept(log.storage)] == [10, 20]
        again = Stamping(log, [asked(url)], HOUR_S, clock)  # another guard on this log, or this one after a restart
        assert again.ask() == 0
        assert again.health()["stamped_entries"] == 20
    assert asking.health()["stamps_failing"] == []
    for one in kept(log.storage):
        head = Note.parse((tmp_path / "log" / "stamps" / f"{one.size}.checkpoint").read_bytes())
        der = (tmp_path / "log" / "stamps" / one.file).read_bytes()
        assert abs(verify_stamp(der, head.text, [ROOT.certificate]) - datetime.now(UTC)) < timedelta(minutes=5)


def test_an_authority_that_gives_no_stamp_stops_nothing_and_is_asked_again_soon(
    authority: TimeStamping, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, clock = log_in(tmp_path / "log"), Clock()
    with authority.served() as url, answering(lambda _: Answer(200, [b"x"] * 1000, pause_s=0.1)) as slow:
        asking = Stamping(log, [asked(slow, 0.3), asked(url), asked("http://127.0.0.1:9")], HOUR_S, clock)
        assert asking.ask() == 1
        assert sorted(asking.failing) == ["127.0.0.1"]
        assert len(caplog.records) == 2
        assert asking.ask() == 0
        clock.s += RETRY_S
        assert asking.ask() == 0
        assert asking.health()["stamps_failing"] == ["127.0.0.1"]
    assert log.append(told(ANOTHER)) == 10


def test_a_stamp_by_somebody_else_is_not_kept(authority: TimeStamping, tmp_path: Path) -> None:
    log = log_in(tmp_path / "log")
    with authority.served() as url:
        asking = Stamping(log, [Authority((Issuer.root("other").certificate,), url)], HOUR_S)
        assert asking.ask() == 0
    assert kept(log.storage) == []
    assert "under these roots" in asking.failing["127.0.0.1"]


def test_a_command_may_ask_in_its_own_way(authority: TimeStamping, tmp_path: Path) -> None:
    log, script = log_in(tmp_path / "log"), tmp_path / "ask"
    script.write_text(
        f"#!/bin/sh\ncat >{tmp_path}/q\n"
        f"exec openssl ts -reply -config {authority.folder}/conf -section tsa -queryfile {tmp_path}/q -out /dev/stdout\n"
    )
    script.chmod(0o755)
    by_command = Authority((ROOT.certificate,), command=(str(script),))
    asking = Stamping(log, [by_command], HOUR_S)
    assert asking.ask() == 1, asking.failing
    assert list(asking.last) == ["ask"]
    script.write_text("#!/bin/sh\necho no >&2\nexit 3\n")
    log.append(told(ANOTHER))
    failing = Stamping(log, [by_command], HOUR_S)
    assert failing.ask() == 0
    assert "ended with 3: no" in failing.failing["ask"]


def test_a_guard_has_its_head_stamped_and_says_who_does_not_answer(authority: TimeStamping, tmp_path: Path) -> None:
    async def runs(url: str) -> None:
        ledger = LedgerSettings(timestamps=(asked(url), asked("http://localhost:9")))
        async with open_guard(GuardSettings(tmp_path / "state", Addresses("127.0.0.1:0", None), ledger=ledger)) as guard:
            assert guard.keeping is not None
            stamping = guard.keeping.stamping
            async with asyncio.timeout(60):
                while not stamping.last or not stamping.failing:  # noqa: ASYNC110  # what is waited for is any state at all
                    await asyncio.sleep(0.05)
            told = guard.health()["ledger"]
            assert isinstance(told, dict)
            assert told["stamps_failing"] == ["localhost"]
            assert list(told["stamps"]) == ["127.0.0.1"]
            assert 0 < told["stamped_entries"] <= told["entries"]

    with authority.served() as url:
        asyncio.run(runs(url))
    (tmp_path / "roots.pem").write_bytes(ROOT.pem)
    code, out, _ = verdigris("audit", "verify", "--state", tmp_path / "state", "--stamp-roots", tmp_path / "roots.pem")
    assert code == 0
    assert "was there at" in out


# -- what an auditor is told ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stamped(authority: TimeStamping, tmp_path: Path) -> Path:
    """A log of twenty entries with stamps over the first ten and over all."""
    folder, clock = tmp_path / "log", Clock()
    log = log_in(folder)
    with authority.served() as url:
        asking = Stamping(log, [asked(url)], HOUR_S, clock)
        asking.ask()
        log.append(told(ANOTHER))
        clock.s += HOUR_S
        asking.ask()
    return folder


def test_a_stamp_proves_when_a_head_was_there(stamped: Path, roots: Path) -> None:
    report = verify_log(stamped, [KEY], stamp_roots=[roots])
    assert report.problems == []
    stamp = read_stamp(next(iter(stamped.glob("stamps/20-*.tsr"))).read_bytes())
    assert says(report.proven, "the head of 20 entries was there at", utc(stamp.unix_s), "CN=a tsa", "1 smaller heads too", "of 10 entries")
    assert not says(report.not_proven, "time stamp")
    # Stamps that lie with the log are no memory outside: whoever writes the log anew can leave them out.
    assert says(report.not_proven, "nobody outside held an earlier head")


def test_without_stamps_or_without_roots_nothing_is_claimed(stamped: Path, roots: Path, tmp_path: Path) -> None:
    report = verify_log(stamped, [KEY])
    assert report.ok
    assert says(report.not_proven, "what 2 time stamps say: no root")
    assert not says(report.proven, "CN=a tsa")
    shutil.rmtree(stamped / "stamps")
    report = verify_log(stamped, [KEY])
    assert report.ok
    assert says(report.not_proven, "there is no time stamp")
    (tmp_path / "none.pem").write_bytes(Issuer.root("other").pem)
    log_in(stamped)


def test_roots_that_no_stamp_leads_to_are_a_problem(stamped: Path, roots: Path, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(Issuer.root("a root").pem)
    report = verify_log(stamped, [KEY], stamp_roots=[tmp_path / "other.pem"])
    found(report, "stamps", "no time stamp here is by one of them")
    assert says(report.not_proven, "does not lead to a root that was given")
    shutil.rmtree(stamped / "stamps")
    found(verify_log(stamped, [KEY], stamp_roots=[roots]), "stamps", "no time stamp here is by one of them")


def test_a_log_that_does_not_continue_a_stamped_head_is_found(stamped: Path, roots: Path, tmp_path: Path) -> None:
    rewritten = Log(LogFolder(tmp_path / "rewritten"), ORIGIN, signer(1))
    rewritten.append([*told(ANOTHER), *told()])
    shutil.copytree(stamped / "stamps", tmp_path / "rewritten" / "stamps")
    report = verify_log(tmp_path / "rewritten", [KEY], stamp_roots=[roots])
    found(report, "10.checkpoint", "does not continue it")
    assert not says(report.proven, "was there at")
    log_in(tmp_path / "short")
    report = verify_log(tmp_path / "short", [KEY], stamps=stamped / "stamps", stamp_roots=[roots])
    found(report, "20.checkpoint", "its tail was cut off")


def test_a_stamp_is_over_its_own_head(stamped: Path, roots: Path) -> None:
    first, second = sorted(stamped.glob("stamps/*.tsr"))
    shutil.copy(first, second)
    report = verify_log(stamped, [KEY], stamp_roots=[roots])
    found(report, second.name, "it is not over 20.checkpoint")


def test_a_checkpoint_that_the_log_has_not_signed_is_no_stamped_head(stamped: Path, roots: Path) -> None:
    (stamped / "stamps" / "20.checkpoint").write_bytes((stamped / "stamps" / "10.checkpoint").read_bytes())
    found(verify_log(stamped, [KEY], stamp_roots=[roots]), "20.checkpoint", "it is of 10 entries")


# -- the verifier's own reading of RFC 3161 -------------------------------------------------------------------------------------------

TEXT = "guard.test/log\n5\n5/r9wwCz53/LCEyL1GTD5tmHbiWw7zGFS6wCAKhv0F8=\n"


def believed(reply: bytes, root: Issuer = ROOT) -> int:
    """Raises: Refused."""
    stamp = read_stamp(reply)
    check_authority(stamp, [root.certificate])
    return stamp.unix_s


@pytest.mark.parametrize("kind", ["rsa:2048", "ec"])
def test_it_gives_the_time_that_others_give(tmp_path: Path, kind: str) -> None:
    if kind == "ec":
        reply, root = TimeStamping(tmp_path / "tsa", ROOT.issue("tsa")).reply(query(TEXT)), ROOT.certificate
    else:
        reply, root = with_openssls_own_keys(tmp_path, kind)
    (tmp_path / "reply").write_bytes(reply)
    shown = openssl("ts", "-reply", "-in", tmp_path / "reply", "-text").decode()
    stamp = read_stamp(reply)
    check_authority(stamp, [root])
    assert stamp.unix_s == round(verify_stamp(reply, TEXT, [root]).timestamp())
    assert f"Time stamp: {datetime.fromtimestamp(stamp.unix_s, UTC):%b %_d %H:%M:%S %Y} GMT" in shown


def with_openssls_own_keys(folder: Path, kind: str) -> tuple[bytes, x509.Certificate]:
    """A root and an authority of which OpenSSL made everything."""
    made = TimeStamping(folder / "tsa", ROOT.issue("replaced"))
    key, pem = made.folder / "signer.key", made.folder / "signer.pem"
    root_key, root_pem = folder / "root.key", folder / "root.pem"
    openssl("req", "-x509", "-newkey", kind, "-nodes", "-keyout", root_key, "-out", root_pem, "-subj", "/CN=root", "-days", "2")
    openssl("req", "-newkey", kind, "-nodes", "-keyout", key, "-out", folder / "csr", "-subj", "/CN=tsa")
    (folder / "ext").write_text("extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n")
    openssl(
        "x509", "-req", "-in", folder / "csr", "-CA", root_pem, "-CAkey", root_key, "-CAcreateserial", "-days", "1", "-extfile",
        folder / "ext", "-out", pem,
    )  # fmt: skip
    return made.reply(query(TEXT)), x509.load_pem_x509_certificate(root_pem.read_bytes())


def test_the_path_to_a_root_is_walked_and_bounded(tmp_path: Path) -> None:
    middle = ROOT.issue("middle", ca=True)
    deeper = middle.issue("deeper", ca=True)
    whole = TimeStamping(tmp_path / "whole", deeper.issue("tsa"), [middle, deeper]).reply(query(TEXT))
    assert believed(whole)
    without = TimeStamping(tmp_path / "without", deeper.issue("tsa"), [middle]).reply(query(TEXT))
    no_ca = ROOT.issue("no authority")
    by_none = TimeStamping(tmp_path / "by-none", no_ca.issue("tsa"), [no_ca]).reply(query(TEXT))
    for reply in (without, by_none):
        with pytest.raises(Refused, match="does not lead to a root"):
            believed(reply)
    with pytest.raises(Refused, match="does not lead to a root"):
        believed(whole, Issuer.root("a root"))
    chain = [ROOT]
    for number in range(12):
        chain.append(chain[-1].issue(f"authority {number}", ca=True))
    with pytest.raises(Refused, match="does not lead to a root"):
        believed(TimeStamping(tmp_path / "long", chain[-1].issue("tsa"), chain[1:]).reply(query(TEXT)))


@pytest.mark.parametrize(
    ("usage", "critical"),
    [
        (None, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING]), True),
    ],
)
def test_a_certificate_for_something_else_stamps_nothing(
    authority: TimeStamping, usage: x509.ExtendedKeyUsage | None, *, critical: bool
) -> None:
    reply = authority.reply(query(TEXT))
    # OpenSSL signs these without naming the certificate in the way that time stamps need, so the certificate's use is asked for alone.
    stamp = read_stamp(reply)
    other = stamp._replace(signer=ROOT.issue("other", usage=usage, critical=critical).certificate)
    with pytest.raises(Refused, match="not one for time stamps"):
        check_authority(other, [ROOT.certificate])
    check_authority(stamp._replace(signer=ROOT.issue("right").certificate), [ROOT.certificate])


def test_a_signer_whom_the_stamp_does_not_name_is_refused(authority: TimeStamping) -> None:
    with pytest.raises(Refused, match="which certificate has signed it"):
        read_stamp(authority.signed_by(ROOT.issue("tsa"), authority.reply(query(TEXT))))


def test_a_certificate_counts_as_of_the_stamps_time(tmp_path: Path) -> None:
    reply = TimeStamping(tmp_path / "tsa", ROOT.issue("tsa", ends=timedelta(minutes=-5))).reply(query(TEXT))
    with pytest.raises(Refused, match="not valid at the time"):
        believed(reply)
    stamp = read_stamp(reply)
    check_authority(stamp._replace(unix_s=stamp.unix_s - 600), [ROOT.certificate])


def test_what_an_authority_refused_is_no_stamp(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="gave no time stamp"):
        read_stamp(TimeStamping(tmp_path / "tsa", ROOT.issue("tsa"), digests="sha512").reply(query(TEXT)))


def test_no_flipped_bit_changes_what_a_stamp_says(authority: TimeStamping) -> None:
    """All that say something are refused; a few bytes are signed by nobody and say nothing."""
    reply = authority.reply(query(TEXT))
    right, refused = read_stamp(reply), 0
    for bit in range(len(reply) * 8):
        changed = bytearray(reply)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            stamp = read_stamp(bytes(changed))
            check_authority(stamp, [ROOT.certificate])
            assert (stamp.imprint, stamp.digest, stamp.unix_s) == (right.imprint, right.digest, right.unix_s)
        except (Refused, CannotTell):
            refused += 1
    assert refused > 0.95 * len(reply) * 8


@given(changes())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_stamp_or_refused(stamp_of_text: bytes, change: Change) -> None:
    try:
        stamp = read_stamp(change(stamp_of_text))
        check_authority(stamp, [ROOT.certificate])
    except (Refused, CannotTell):
        return
    assert stamp.unix_s == read_stamp(stamp_of_text).unix_s


@pytest.fixture(scope="module")
def stamp_of_text(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return TimeStamping(tmp_path_factory.mktemp("tsa") / "tsa", ROOT.issue("tsa")).reply(query(TEXT))


# -- with a record, by command --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A state folder with a rollout that was stamped half-way and at its end, and the roots; and later entries."""
    folder = tmp_path_factory.mktemp("stamped")
    state, clock = folder / "state", Clock()
    state.mkdir()
    (folder / "roots.pem").write_bytes(ROOT.pem)
    records = opened(state)
    started(records)
    assert records.ledger is not None
    log = records.ledger.log
    with TimeStamping(folder / "tsa", ROOT.issue("a tsa")).served() as url:
        asking = Stamping(log, [asked(url)], HOUR_S, clock)
        asking.ask()
        shutil.copy(state / "ledger" / "checkpoint", folder / "early.checkpoint")
        rolled_out(World(rate_per_s=2_000, candidate=behaving(failed=0.1)), records, PLAN)
        clock.s += HOUR_S
        asking.ask()
    started(records)
    records.close()
    return state, folder / "roots.pem"


def test_the_record_with_its_stamps(played: tuple[Path, Path]) -> None:
    state, roots = played
    code, out, err = verdigris("audit", "verify", "--state", state, "--stamp-roots", roots)
    assert (code, err) == (0, "")
    assert "was there at" in out
    assert "no root of their authorities was given" in verdigris("audit", "verify", "--state", state)[1]


def test_a_pack_shows_that_its_entries_were_stamped_and_continue_what_is_held(played: tuple[Path, Path], tmp_path: Path) -> None:
    state, roots = played
    early, pack = state.parent / "early.checkpoint", tmp_path / "pack.zip"
    key = (state / "ledger.keys").read_text(encoding="utf-8").strip()
    assert verdigris("audit", "export", "latest", "--state", state, "--output", pack)[0] == 0
    plain = verify_pack(pack, [key], stamp_roots=[roots], checkpoints=[early])
    assert plain.ok, plain.problems
    assert says(plain.not_proven, "are of one history")
    assert says(plain.not_proven, "nobody outside held an earlier head")
    assert verdigris("audit", "export", "latest", "--state", state, "--output", pack, "--checkpoint", early)[0] == 0
    report = verify_pack(pack, [key], stamp_roots=[roots], checkpoints=[early])
    assert report.ok, report.problems
    assert says(report.proven, "its head continues that of 1 entries, the one held in")
    assert not says(report.not_proven, "nobody outside held an earlier head")
    count = len([name for name in zipfile.ZipFile(pack).namelist() if name.startswith("entries/")])
    assert says(report.proven, f"{count} of its {count} entries are under the stamped head")
    assert says(verify_pack(pack, [key]).not_proven, "what 1 time stamps say: no root")
    with zipfile.ZipFile(pack) as files:
        files.extractall(tmp_path / "unpacked")
    command = [
        sys.executable,
        "-I",
        "verify.py",
        "pack",
        ".",
        "--key",
        key,
        "--stamp-roots",
        str(roots),
        "--checkpoint",
        str(early),
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path / "unpacked", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["proven"] == report.proven
    # Others verify it too, from the files of the pack alone.
    stamp = next(iter((tmp_path / "unpacked" / "stamps").glob("*.tsr")))
    text = stamp.with_name(f"{stamp.name.partition('-')[0]}.checkpoint").read_text(encoding="utf-8").partition("\n\n")[0] + "\n"
    (tmp_path / "text").write_text(text, encoding="utf-8")
    openssl("ts", "-verify", "-in", stamp, "-data", tmp_path / "text", "-CAfile", roots)


def test_a_head_of_another_history_is_not_continued(played: tuple[Path, Path], tmp_path: Path) -> None:
    state, _ = played
    records = opened(state)
    ledger = records.ledger
    assert ledger is not None
    text = ledger.log.head.text.split("\n")
    forged = "\n".join([text[0], "3", text[2], ""])
    (tmp_path / "forged").write_text(str(Note(forged, (ledger.signer.sign_note(forged),))), encoding="utf-8")
    records.close()
    pack = tmp_path / "pack.zip"
    code, _, err = verdigris("audit", "export", "latest", "--state", state, "--output", pack, "--checkpoint", tmp_path / "forged")
    assert code == 73
    assert "does not continue the checkpoint of 3 entries" in err
    assert not pack.exists()
    # A pack that has the proof for that size is held against the forged head all the same.
    key = (state / "ledger.keys").read_text(encoding="utf-8").strip()
    shutil.copy(state.parent / "early.checkpoint", tmp_path / "early")
    verdigris("audit", "export", "latest", "--state", state, "--output", pack, "--checkpoint", tmp_path / "early")
    forged = "\n".join([text[0], "1", text[2], ""])
    (tmp_path / "forged").write_text(str(Note(forged, (ledger.signer.sign_note(forged),))), encoding="utf-8")
    found(verify_pack(pack, [key], checkpoints=[tmp_path / "forged"]), "consistency/1", "does not show that the pack's head continues")


def test_an_auditor_has_the_head_stamped_by_an_authority_of_his_own(
    played: tuple[Path, Path], authority: TimeStamping, tmp_path: Path
) -> None:
    state, roots = played
    before = sorted(str(file) for file in state.rglob("*"))
    mine = tmp_path / "mine"
    with authority.served() as url:
        code, out, err = verdigris("audit", "stamp", "--url", url, "--roots", roots, "--output", mine, "--state", state)
    assert (code, err) == (0, "")
    assert "127.0.0.1 has stamped the head of" in out
    assert sorted(str(file) for file in state.rglob("*")) == before
    head = next(iter(mine.glob("*.checkpoint")))
    given: list[str | Path] = ["--stamps", mine, "--stamp-roots", roots, "--checkpoint", head, "--state", state]
    code, out, _ = verdigris("audit", "verify", *given)
    assert code == 0
    assert "was there at" in out
    with answering(lambda _: Answer(503, [b"later"])) as url:
        code, _, err = verdigris("audit", "stamp", "--url", url, "--roots", roots, "--output", mine, "--state", state)
    assert code == 1
    assert "answered 503" in err


def test_what_is_kept_can_be_read_by_others(played: tuple[Path, Path]) -> None:
    """An auditor copies it as another user."""
    state, _ = played
    for file in (state / "ledger" / "stamps").iterdir():
        assert stat.S_ISREG(file.stat().st_mode)


def test_the_query_names_nothing_but_a_digest(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def answer(body: bytes) -> Answer:
        seen.append(body)
        return Answer(503, [b""])

    with answering(answer) as url:
        asking = Stamping(log_in(tmp_path / "log"), [asked(url)], HOUR_S)
        asking.ask()
    assert seen
    assert ORIGIN.encode() not in seen[0]
    assert len(seen[0]) < 150
    with pytest.raises(TimestampFailed):
        verify_stamp(seen[0], TEXT, [ROOT.certificate])
