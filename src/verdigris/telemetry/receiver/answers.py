"""What an export is answered: OTLP's messages and google.rpc.Status, as bytes. Knows no transport."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from verdigris.errors import VerdigrisError

RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


class Code(IntEnum):
    """The codes of google.rpc that we answer with."""

    INVALID_ARGUMENT = 3
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Accepted:
    """The export is durable, except for `refused` spans, by reason; those must not be sent again."""

    spans: int
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """Why spans were refused; empty if none were."""
        return ", ".join(f"{count} × {REASONS.get(reason, reason)}" for reason, count in sorted(self.refused.items()))


class ExportRefused(VerdigrisError):
    """A whole export was refused. Safe: nothing of it was kept. `retry_after_s` is None where sending again cannot help."""

    code: ClassVar[Code]
    http_status: ClassVar[int]
    reason: ClassVar[str]
    retry_after_s: float | None = None

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        """The message is for the sender's log."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Undecodable(ExportRefused):
    """The body is not OTLP, or beyond a bound. Safe: nothing of it was kept. Do not send it again."""

    code, http_status, reason = Code.INVALID_ARGUMENT, 400, "undecodable"


class TooLarge(ExportRefused):
    """The body is beyond the bound on bodies. Safe: nothing of it was kept. Send smaller batches."""

    code, http_status, reason = Code.INVALID_ARGUMENT, 413, "too_large"


class WrongContent(ExportRefused):
    """The content type or encoding is none of OTLP's. Safe: nothing was read. Send protobuf or JSON; identity, gzip or zstd."""

    code, http_status, reason = Code.UNIMPLEMENTED, 415, "wrong_content"


class NotAuthenticated(ExportRefused):
    """The credential is missing or unknown. Safe: nothing was decoded. Add it to the guard's settings, or send with another."""

    code, http_status, reason = Code.UNAUTHENTICATED, 401, "unknown_sender"


class QueueFull(ExportRefused):
    """More arrives than the store takes. Safe: what was acknowledged is kept. Send it again later."""

    code, http_status, reason = Code.RESOURCE_EXHAUSTED, 429, "queue_full"


class NoSpace(ExportRefused):
    """The disk is full. Safe: what was acknowledged is kept. Send it again later; the guard takes spans again when there is space."""

    code, http_status, reason = Code.RESOURCE_EXHAUSTED, 429, "no_space"


class StoreFailing(ExportRefused):
    """The span store failed. Safe: what was acknowledged is kept. Send it again later."""

    code, http_status, reason = Code.UNAVAILABLE, 503, "store_failing"


class Stopping(ExportRefused):
    """The guard is stopping. Safe: what was acknowledged is kept. Send it again, to whoever listens then."""

    code, http_status, reason = Code.UNAVAILABLE, 503, "stopping"


REASONS: Mapping[str, str] = {
    "not_its_environment": "the sender may not speak for this resource",
    "time_too_old": "the span started before the guard's retention",
    "time_ahead": "the span starts in the guard's future",
    "sensitive_value": "the span, its resource or its scope holds a value that the guard's masking refuses",
}
"""What the reasons mean whose names do not speak for themselves, as most of the decoder's do."""


def success(accepted: Accepted, *, as_json: bool) -> bytes:
    """An ExportTraceServiceResponse, with a partial success if spans were refused."""
    refused = sum(accepted.refused.values())
    if as_json:
        partial = {"rejectedSpans": str(refused), "errorMessage": accepted.message}
        return json.dumps({"partialSuccess": partial} if refused else {}).encode()
    if not refused:
        return b""
    text = accepted.message.encode()
    partial_success = b"\x08" + _varint(refused) + b"\x12" + _varint(len(text)) + text
    return b"\x0a" + _varint(len(partial_success)) + partial_success


def status(refusal: ExportRefused, *, as_json: bool = False) -> bytes:
    """A google.rpc.Status, with a RetryInfo if sending again can help."""
    after_s = refusal.retry_after_s
    if as_json:
        retry = [{"@type": RETRY_INFO, "retryDelay": f"{after_s:.3f}s"}] if after_s is not None else []
        return json.dumps({"code": int(refusal.code), "message": str(refusal), "details": retry}).encode()
    details = []
    if after_s is not None:
        delay = duration_pb2.Duration(seconds=int(after_s), nanos=int(after_s % 1 * 1_000_000_000))
        info = error_details_pb2.RetryInfo(retry_delay=delay)
        details = [any_pb2.Any(type_url=RETRY_INFO, value=info.SerializeToString())]
    return bytes(status_pb2.Status(code=int(refusal.code), message=str(refusal), details=details).SerializeToString())


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004  seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
