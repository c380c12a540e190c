"""Time stamps by a real authority (OpenSSL's) on loopback: what is believed of them, now and later, and what is not."""

import hashlib
import time
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from rfc3161_client import TimestampRequestBuilder, decode_timestamp_response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.contract.authorities import MEDIA, Change, Issuer, TimeStamping, changes, openssl
from tests.contract.data_planes.certificates import Authority
from tests.contract.witnesses import Answer, answering, log_in, serving

from verdigris.ledger.timestamp import (
    STAMP_BYTES_MAX,
    HashAlgorithm,
    TimeStamp,
    TimestampFailed,
    read_roots,
    stamp,
    verify_stamp,
)
from verdigris.witness.serving import TlsFiles

TEXT = "guard.test/log\n5\n5/r9wwCz53/LCEyL1GTD5tmHbiWw7zGFS6wCAKhv0F8=\n"
ROOT = Issuer.root()
ROOTS = [ROOT.certificate]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimeStamping:
    openssl("version")
    return TimeStamping(tmp_path_factory.mktemp("tsa") / "tsa", ROOT.issue("tsa"))


@pytest.fixture(scope="module")
def stamped(authority: TimeStamping) -> TimeStamp:
    with authority.served() as url:
        return stamp(TEXT, url, ROOTS)


def query(text: str = TEXT) -> bytes:
    return TimestampRequestBuilder().data(text.encode()).hash_algorithm(HashAlgorithm.SHA256).build().as_bytes()


# -- what is believed -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", list(HashAlgorithm))
def test_the_head_of_a_log_is_stamped(authority: TimeStamping, tmp_path: Path, digest: HashAlgorithm) -> None:
    text = log_in(tmp_path / "log", 3).head.text
    before = datetime.now(UTC).replace(microsecond=0)
    with authority.served() as url:
        made = stamp(text, url, ROOTS, digest=digest)
    assert before <= made.time <= datetime.now(UTC)
    assert made.time.utcoffset() == timedelta(0)
    assert verify_stamp(made.der, text, ROOTS) == made.time
    imprint = decode_timestamp_response(made.der).tst_info.message_imprint.message
    assert imprint == hashlib.new(digest.value, text.encode()).digest()


def test_others_verify_it_too(stamped: TimeStamp, tmp_path: Path) -> None:
    (tmp_path / "stamp.tsr").write_bytes(stamped.der)
    (tmp_path / "text").write_text(TEXT)
    (tmp_path / "root.pem").write_bytes(ROOT.pem)
    openssl("ts", "-verify", "-in", tmp_path / "stamp.tsr", "-data", tmp_path / "text", "-CAfile", tmp_path / "root.pem")


def test_the_certificates_may_come_in_any_order(tmp_path: Path) -> None:
    middle = ROOT.issue("middle", ca=True)
    signer = middle.issue("tsa")
    refused = 0
    for number, chain in enumerate(permutations([middle, ROOT])):
        reply = TimeStamping(tmp_path / str(number), signer, chain).reply(query())
        try:
            decode_timestamp_response(reply)
        except ValueError:
            refused += 1
        assert isinstance(verify_stamp(reply, TEXT, ROOTS), datetime)
    assert refused, "one of both orders is not DER's"


def test_a_certificate_that_ran_out_since_does_no_harm(tmp_path: Path) -> None:
    signer = ROOT.issue("tsa", ends=timedelta(seconds=3))
    reply = TimeStamping(tmp_path / "tsa", signer).reply(query())
    while datetime.now(UTC) <= signer.certificate.not_valid_after_utc + timedelta(seconds=1):
        time.sleep(0.1)
    assert verify_stamp(reply, TEXT, ROOTS) <= signer.certificate.not_valid_after_utc


def test_any_of_several_roots_will_do(stamped: TimeStamp) -> None:
    other = Issuer.root("other")
    assert verify_stamp(stamped.der, TEXT, [other.certificate, *ROOTS]) == stamped.time


def test_roots_are_read_from_a_file(stamped: TimeStamp, tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_bytes(Issuer.root("other").pem + ROOT.pem)
    roots = read_roots(tmp_path / "roots.pem")
    assert len(roots) == 2
    assert verify_stamp(stamped.der, TEXT, roots) == stamped.time
    (tmp_path / "none.pem").write_text("nothing")
    for name, why in (("missing.pem", "No such file"), ("none.pem", "cannot read certificates from")):
        with pytest.raises(TimestampFailed, match=why):
            read_roots(tmp_path / name)


# -- what is not ----------------------------------------------------------------------------------------------------------------------


def not_believed(der: bytes, why: str, text: str = TEXT, roots: list[x509.Certificate] | None = None) -> None:
    with pytest.raises(TimestampFailed, match=why):
        verify_stamp(der, text, ROOTS if roots is None else roots)


def test_it_is_for_this_text_only(stamped: TimeStamp) -> None:
    for text in (TEXT + "\n", TEXT[:-1], "", TEXT.replace("5", "6", 1)):
        not_believed(stamped.der, "not one for this text", text)


def test_it_is_under_these_roots_only(stamped: TimeStamp) -> None:
    # The second has the root's name and another key.
    for other in (Issuer.root("other"), Issuer.root("root")):
        not_believed(stamped.der, "not one for this text under these roots", roots=[other.certificate])
    not_believed(stamped.der, "without a root certificate", roots=[])


@pytest.mark.parametrize(
    ("usage", "critical"),
    [
        (None, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), True),
    ],
)
def test_a_certificate_for_something_else_stamps_nothing(
    authority: TimeStamping, stamped: TimeStamp, usage: x509.ExtendedKeyUsage | None, *, critical: bool
) -> None:
    right = authority.signed_by(ROOT.issue("tsa"), stamped.der)
    assert verify_stamp(right, TEXT, ROOTS) == stamped.time
    not_believed(authority.signed_by(ROOT.issue("other", usage=usage, critical=critical), stamped.der), "unsuitable certificate purpose")


def test_only_an_authority_issues_certificates(tmp_path: Path) -> None:
    no_authority = ROOT.issue("no authority")
    reply = TimeStamping(tmp_path / "tsa", no_authority.issue("tsa"), [no_authority]).reply(query())
    not_believed(reply, "under these roots: invalid CA certificate")


def test_a_certificate_that_had_run_out_stamps_nothing(tmp_path: Path) -> None:
    reply = TimeStamping(tmp_path / "tsa", ROOT.issue("tsa", ends=timedelta(minutes=-5))).reply(query())
    not_believed(reply, "under these roots: certificate has expired")


def test_an_earlier_stamp_is_no_answer(stamped: TimeStamp) -> None:
    with answering(lambda _: Answer(200, [stamped.der], MEDIA)) as url, pytest.raises(TimestampFailed, match="Nonce mismatch"):
        stamp(TEXT, url, ROOTS)


def test_a_refusal_is_told(tmp_path: Path) -> None:
    with TimeStamping(tmp_path / "tsa", ROOT.issue("tsa"), digests="sha256").served() as url:
        stamp(TEXT, url, ROOTS, digest=HashAlgorithm.SHA256)
        with pytest.raises(TimestampFailed, match=r"gave no time stamp: REJECTION, 'Message digest algorithm is not supported\.'"):
            stamp(TEXT, url, ROOTS)


def test_no_answer_is_told() -> None:
    cases = [
        (Answer(503, [b"later"]), "answered 503 instead of a time stamp"),
        (Answer(200, [b""]), "this is no time stamp"),
        (Answer(200, [b"<html>"]), "this is no time stamp"),
        (Answer(200, [b"x" * 100_000] * 1000), f"larger than {STAMP_BYTES_MAX} bytes"),
        (Answer(200, [b"x"] * 1000, pause_s=0.1), r"within 0\.5 s"),
    ]
    for answer, why in cases:
        with answering(lambda _, answer=answer: answer) as url, pytest.raises(TimestampFailed, match=why):  # type: ignore[misc]
            stamp(TEXT, url, ROOTS, limit_s=0.5)
    with pytest.raises(TimestampFailed, match="cannot ask"):
        stamp(TEXT, url, ROOTS)


def test_tls_with_an_authority_of_ones_own(authority: TimeStamping, tmp_path: Path) -> None:
    async def reply(request: Request) -> Response:
        return Response(authority.reply(await request.body()))

    tls = Authority(tmp_path)
    with serving(Starlette(routes=[Route("/", reply, methods=["POST"])]), TlsFiles(*tls.issue("localhost"))) as url:
        stamp(TEXT, url, ROOTS, ca=tls.file)
        with pytest.raises(TimestampFailed, match="CERTIFICATE_VERIFY_FAILED"):
            stamp(TEXT, url, ROOTS)


def believed_or_refused(der: bytes, expected: datetime) -> None:
    try:
        found = verify_stamp(der, TEXT, ROOTS)
    except TimestampFailed:
        return
    assert found == expected


def test_no_flipped_bit_changes_what_it_says(stamped: TimeStamp) -> None:
    """A few bytes are not signed, and say nothing (for example the version of CMS); all others are refused."""
    refused = 0
    for bit in range(len(stamped.der) * 8):
        changed = bytearray(stamped.der)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert verify_stamp(bytes(changed), TEXT, ROOTS) == stamped.time
        except TimestampFailed:
            refused += 1
    assert refused > 0.95 * len(stamped.der) * 8


def test_no_part_of_one_is_one(stamped: TimeStamp) -> None:
    for end in range(len(stamped.der)):
        not_believed(stamped.der[:end], "this is no time stamp")
    not_believed(stamped.der + b"\0", "this is no time stamp")
    not_believed(bytes(STAMP_BYTES_MAX + 1), "may have")


@given(changes())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_stamp_or_refused(stamped: TimeStamp, change: Change) -> None:
    believed_or_refused(change(stamped.der), stamped.time)
