"""Tells from the first bytes of a recording's content how it is to be taken apart; file names play no part.

What a JSON value *is* (OTLP, Jaeger, Zipkin) is decided value by value later, in `documents`; here only whether the
values stand one per line, and which protobuf framing is in use.
"""

import json
import re
from enum import Enum
from itertools import islice

from verdigris.telemetry.sources.errors import UnknownFormat
from verdigris.telemetry.sources.lines import BYTE_ORDER_MARK
from verdigris.telemetry.sources.parts import PART_BYTES
from verdigris.telemetry.sources.protobuf_frames import RESOURCE_SPANS_TAG, Malformed, is_request, varint
from verdigris.telemetry.sources.unpack import ZSTD_MAGIC, compression_of

HEAD_BYTES = 1 << 20
"""How much content is looked at, unless that is the beginning of a long line of OTLP/JSON: see `is_enough`."""

_FOREIGN = (
    (0, b"PAR1", "Apache Parquet"),
    (0, b"ARROW1", "Apache Arrow"),
    (0, b"PK\x03\x04", "a zip archive (unpack it and name the folder)"),
    (257, b"ustar", "a tar archive (unpack it and name the folder)"),
    (0, b"<", "XML or HTML"),
)
_LINES_TRIED = 20
_LONG_START_BYTES = 256
_PREFIX_BYTES = 4
_JSON_SPACE = b" \t\r\n"

READABLE = (
    "OTLP/JSON (a document, an array or one per line), OTLP protobuf (one message, or messages behind their length), "
    "Jaeger JSON, Zipkin v2 JSON; each plain or packed with gzip, zstd or xz"
)


_OTLP_START = re.compile(rb'\{\s*+"resourceSpans"\s*+:\s*+\[')


class Framing(Enum):
    """How a recording's content is taken apart."""

    JSON_LINES = "JSON lines"
    JSON_DOCUMENT = "JSON document"
    PROTOBUF_MESSAGE = "OTLP protobuf message"
    PROTOBUF_DELIMITED = "OTLP protobuf messages behind varint lengths"
    LENGTH_PREFIXED = "OTLP messages behind 4-byte lengths"


def is_enough(head: bytes | bytearray, newest: bytes) -> bool:
    """Whether `recognise` needs no more content than this.

    Collectors write lines of many MiB. As lines they go to the decoder whole, ten times faster than a document is
    taken apart, so the end of a long first line is worth waiting for. A long first line of anything else is read as a
    document, so that its elements stream.

    Args:
        head: the content so far.
        newest: the end of it that was not looked at before.
    """
    if len(head) < HEAD_BYTES:
        return False
    return len(head) >= PART_BYTES or b"\n" in newest or not _OTLP_START.match(_text(head[:_LONG_START_BYTES]))


def recognise(head: bytes, *, complete: bool) -> Framing:
    """Recognises the framing.

    Args:
        head: the first bytes of the unpacked content, enough of them (`is_enough`) or all.
        complete: `head` is all of the content.
    Raises: UnknownFormat: it is none of ours; the message says what it looks like and what could be read.
    """
    text = _text(head)
    if text[:1] in (b"{", b"["):
        return Framing.JSON_LINES if _stands_in_lines(text, complete=complete) else Framing.JSON_DOCUMENT
    if protobuf := _protobuf_framing(head):
        return protobuf
    if any(_is_json_value(line) for line in islice(text.split(b"\n"), 1, _LINES_TRIED)):
        return Framing.JSON_LINES  # begins in the middle of a line, as rotated files may; that line is reported
    msg = f"this looks like {_look(head)}; readable formats: {READABLE}"
    raise UnknownFormat(msg)


def _text(head: bytes | bytearray) -> bytes:
    return bytes(head.removeprefix(BYTE_ORDER_MARK).lstrip(_JSON_SPACE))


def _is_json_value(line: bytes) -> bool:
    line = line.strip(_JSON_SPACE)
    if line[:1] not in (b"{", b"["):
        return False
    try:
        return bool(json.loads(line))
    except (ValueError, RecursionError):
        return False


def _stands_in_lines(text: bytes, *, complete: bool) -> bool:
    first, feed, rest = text.partition(b"\n")
    if not feed and not complete:
        return False
    if len(first) > HEAD_BYTES:
        return bool(_OTLP_START.match(first))  # too long to parse for a guess
    if _is_json_value(first) or (first.strip(_JSON_SPACE) in (b"{}", b"[]")):
        return True
    # A broken first line must not turn lines into one broken document. A document is broken into lines behind a bracket
    # or comma, a cut-off line ends anywhere; and only a line of its own begins with a bracket after anything else.
    second = next((line for line in rest.split(b"\n") if line.strip(_JSON_SPACE)), b"")
    return not first.rstrip(_JSON_SPACE).endswith((b"[", b"{", b",", b":")) and second[:1] in (b"{", b"[")


def _protobuf_framing(head: bytes) -> Framing | None:
    if _prefixed(head):
        return Framing.LENGTH_PREFIXED
    # Order matters: "0A 0A .." is a field of 10 bytes, or a message of 10 bytes that begins with a field. What is
    # inside decides, and only content that is valid as both would be read as the one message.
    if _single(head):
        return Framing.PROTOBUF_MESSAGE
    if _delimited(head):
        return Framing.PROTOBUF_DELIMITED
    return None


def _prefixed(head: bytes) -> bool:
    length = int.from_bytes(head[:_PREFIX_BYTES], "big")
    body = head[_PREFIX_BYTES : _PREFIX_BYTES + length]
    # The bound keeps a plain message, whose tag would be the highest byte of a length, from looking like a prefix.
    if not 0 < length <= PART_BYTES or not body:
        return False
    return body.startswith(ZSTD_MAGIC) or body[:1] == b"{" or _begins_request(body, length)


def _single(head: bytes) -> bool:
    return _begins_request(head, None)


def _delimited(head: bytes) -> bool:
    try:
        length, start = varint(head)
    except Malformed:
        return False
    body = head[start : start + length]
    return length > 0 and bool(body) and _begins_request(body, length)


def _begins_request(body: bytes, length: int | None) -> bool:
    """Whether a request begins here. A whole one is checked down to the fields of ResourceSpans.

    Args:
        body: the message as far as it is known.
        length: its length in bytes; None when it reaches to the end of the content.
    """
    if length is not None and len(body) == length:
        return is_request(body)
    if body[0] != RESOURCE_SPANS_TAG:
        return False
    try:
        size, start = varint(body, 1)
    except Malformed:
        return len(body) == 1  # cut off right after the tag: as good a guess as any, and reported when it is read
    if length is not None and start + size > length:
        return False
    end = start + size
    if end <= len(body):
        return is_request(body[:end])
    return start >= len(body) or body[start] in (0x0A, 0x12, 0x1A)


def _look(head: bytes) -> str:
    if inner := compression_of(head):
        return f"{inner} inside another compression (unpack it once)"
    for start, magic, name in _FOREIGN:
        if head[start:].startswith(magic):
            return name
    try:
        first = head.partition(b"\n")[0].decode()
    except UnicodeDecodeError:
        return "binary data of an unknown kind"
    if "\0" in first:
        return "binary data of an unknown kind"
    return "comma-separated text" if first.count(",") > 1 else "plain text"
