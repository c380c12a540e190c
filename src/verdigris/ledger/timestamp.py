"""RFC 3161 time stamps over a log's head: a time stamping authority (TSA) signs that this text existed at its time.

A stamp is verified here, when it comes and years later from the file: against roots that the reader chooses, as of the stamp's own time,
so that a certificate that has run out since does not matter. Whether it was revoked is not asked.

Source: RFC 3161, RFC 5652 (CMS).
"""

import hashlib
import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from verdigris.ledger.errors import LedgerError
from verdigris.ledger.outside import post

__all__ = ["Authority", "HashAlgorithm", "TimeStamp", "TimestampFailed", "read_roots", "stamp", "stamp_by", "verify_stamp"]

LIMIT_S = 15.0
"""For the whole question; authorities take about a second."""

STAMP_BYTES_MAX = 256 * 1024
"""Some send their whole chain of certificates, with ten kilobytes."""

ROOTS_BYTES_MAX = 4 * 1024 * 1024

_QUERY = "application/timestamp-query"
_CERTIFICATES = 0xA0
_REASON = re.compile(r'"Verify error: ([^"]+)"')
"""What OpenSSL means, in the middle of what it says."""


class TimestampFailed(LedgerError):
    """There is no time stamp, or not one for this text by an authority under these roots. Safe: nothing was believed, and the log and
    its signatures are as they were; they only lack a time by somebody else. Ask again, or ask another authority.
    """


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """`der`: the authority's response (TimeStampResp), to be kept as it is; `openssl ts -verify` reads it. `time`: in UTC, by its clock."""

    der: bytes
    time: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """Who is asked for time stamps: over HTTP, or by a command that has the query on its standard input and prints the response.

    Args:
        roots: what the authority's certificate must lead to.
        url: where it answers; None: the command is used.
        command: a program and its arguments; no shell is involved.
        ca: certificates (PEM) that https is verified with; None: the ones that the system trusts.
        limit_s: how long one question may take.
    """

    roots: tuple[x509.Certificate, ...]
    url: str | None = None
    command: tuple[str, ...] = ()
    ca: Path | None = None
    limit_s: float = LIMIT_S

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that tell authorities apart in the names of files."""
        return hashlib.sha256(json.dumps([self.url, *self.command]).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """For people: its host, or its program. What else stands in an address or after a command may be a secret."""
        return (urlsplit(self.url).hostname or "?") if self.url is not None else Path(self.command[0]).name


def stamp_by(text: str, authority: Authority) -> TimeStamp:
    """As `stamp`, by whichever way this authority is asked. Raises: TimestampFailed."""
    if authority.url is not None:
        return stamp(text, authority.url, authority.roots, ca=authority.ca, limit_s=authority.limit_s)
    request = TimestampRequestBuilder(cert_req=True, nonce=True).data(text.encode()).hash_algorithm(HashAlgorithm.SHA512).build()
    answer = _by_command(request.as_bytes(), authority)
    return TimeStamp(answer, _verified(answer, text, authority.roots, request.nonce))


def _by_command(query: bytes, authority: Authority) -> bytes:
    shown = shlex.join(authority.command)
    try:
        done = subprocess.run(authority.command, input=query, capture_output=True, timeout=authority.limit_s, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:  # ValueError: a word of it has a null byte
        msg = f"the command `{shown}` gave no time stamp: {error}"
        raise TimestampFailed(msg) from error
    if done.returncode:
        msg = f"the command `{shown}` ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()[:500]}"
        raise TimestampFailed(msg)
    return done.stdout


def stamp(
    text: str,
    url: str,
    roots: Sequence[x509.Certificate],
    *,
    digest: HashAlgorithm = HashAlgorithm.SHA512,
    ca: Path | None = None,
    limit_s: float = LIMIT_S,
) -> TimeStamp:
    """Ask an authority for a time stamp over a note's text; it sees the digest only. Not to be called in an event loop's thread.

    Args:
        roots: what its certificate must lead to.
        ca: certificates (PEM) that https is verified with; None: the ones that the system trusts. Most authorities have plain HTTP.
    Raises: TimestampFailed.
    """
    request = TimestampRequestBuilder(cert_req=True, nonce=True).data(text.encode()).hash_algorithm(digest).build()
    reply = post(url, request.as_bytes(), _QUERY, ca=ca, limit_s=limit_s, bytes_max=STAMP_BYTES_MAX, failed=TimestampFailed)
    if reply.status != HTTPStatus.OK:
        msg = f"{url} answered {reply.status} instead of a time stamp"
        raise TimestampFailed(msg)
    # The nonce shows that this is the answer to this question, and not an earlier one.
    return TimeStamp(reply.body, _verified(reply.body, text, roots, request.nonce))


def verify_stamp(der: bytes, text: str, roots: Sequence[x509.Certificate]) -> datetime:
    """The time in a stamp that was kept, once it is shown to be over this text. Asks nobody. Raises: TimestampFailed."""
    return _verified(der, text, roots, None)


def read_roots(file: Path) -> tuple[x509.Certificate, ...]:
    """Certificates in PEM. Raises: TimestampFailed."""
    try:
        with file.open("rb") as opened:
            return tuple(x509.load_pem_x509_certificates(opened.read(ROOTS_BYTES_MAX)))
    except (OSError, ValueError) as error:
        msg = f"cannot read certificates from {file}: {getattr(error, 'strerror', None) or error}"
        raise TimestampFailed(msg) from error


def _verified(der: bytes, text: str, roots: Sequence[x509.Certificate], nonce: int | None) -> datetime:
    if not roots:
        msg = "without a root certificate no time stamp can be believed"
        raise TimestampFailed(msg)
    if len(der) > STAMP_BYTES_MAX:
        msg = f"a time stamp may have {STAMP_BYTES_MAX} bytes"
        raise TimestampFailed(msg)
    try:
        response = decode_timestamp_response(_ordered(der))
        refusal = _refusal(response)
        if not refusal:
            VerifierBuilder(roots=list(roots), nonce=nonce).build().verify_message(response, text.encode())
            return response.tst_info.gen_time
    except VerificationError as error:
        why = _REASON.search(str(error))
        msg = f"the time stamp is not one for this text under these roots: {why[1] if why else error}"
        raise TimestampFailed(msg) from error
    except Exception as error:  # the bytes are a stranger's, and the parsers behind this each have errors of their own
        msg = f"this is no time stamp: {error}"
        raise TimestampFailed(msg) from error
    raise TimestampFailed(refusal)


def _refusal(response: TimeStampResponse) -> str:
    """What an authority says that gives no stamp; nothing if it gave one."""
    if response.status == PKIStatus.GRANTED:
        return ""
    name = PKIStatus(response.status).name if response.status in set(PKIStatus) else str(response.status)
    said = " ".join(response.status_string)[:300]
    return f"the authority gave no time stamp: {name}{f', {said!r}' if said else ''}"


# -- certificates in any order ------------------------------------------------------------------------------------------------------


def _ordered(der: bytes) -> bytes:
    """The same response with the certificates in DER's order of a set. OpenSSL's authorities send them in the order of their chain,
    which the decoder refuses. No signature covers that order; whatever else is wrong is left for the decoder.
    """
    try:
        _, at, _ = _element(der, 0)  # TimeStampResp
        _, _, at = _element(der, at)  # its status, passed over
        _, at, _ = _element(der, at)  # ContentInfo
        _, _, at = _element(der, at)  # its type, passed over
        _, at, _ = _element(der, at)  # [0]
        _, at, end = _element(der, at)  # SignedData
        while at < end:
            tag, start, after = _element(der, at)
            if tag == _CERTIFICATES:
                return der[:start] + b"".join(sorted(_elements(der, start, after))) + der[after:]
            at = after
    except IndexError:
        pass
    return der


def _elements(der: bytes, at: int, end: int) -> list[bytes]:
    found = []
    while at < end:
        _, _, after = _element(der, at)
        found.append(der[at:after])
        at = after
    return found


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, and where the content of a DER element should begin and end. Raises: IndexError: there is none."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length > 0x7F:  # noqa: PLR2004  # the long form: so many bytes of length follow
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    return tag, start, start + length
