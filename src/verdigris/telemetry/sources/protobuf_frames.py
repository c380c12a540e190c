"""Takes protobuf recordings apart in bounded memory, by walking lengths; fields are left to the decoder.

Three framings are in use:
- one message, as `protoc` or an OTLP/HTTP body has it. Its field 1 (ResourceSpans) repeats; every occurrence is a
  part of its own, so the message may be larger than memory.
- messages after one another, each behind its length as a varint (the `writeDelimitedTo` of the protobuf libraries).
- messages after one another, each behind its length as 4 bytes, big-endian: what the OpenTelemetry Collector's file
  exporter writes with `format: proto`, and with `compression: zstd` (then each message is a zstd frame of its own).

Every part is a run of whole top-level fields. Such runs put after one another are again one valid message (protobuf
encoding, "Last One Wins" and repeated fields), which is how small ones are decoded together.
"""

from collections.abc import Iterator

from verdigris.telemetry.sources.errors import Unreadable
from verdigris.telemetry.sources.parts import Part, size_text
from verdigris.telemetry.sources.problems import Report

RESOURCE_SPANS_TAG = 0x0A
"""Field 1, length-delimited: `resource_spans` of TracesData and ExportTraceServiceRequest."""

_RESOURCE_SPANS_FIELDS = frozenset({1, 2, 3, 1000})  # resource, scope_spans, schema_url, instrumentation_library_spans
_LENGTH_DELIMITED = 2
_VARINT_BYTES = 10
_PREFIX_BYTES = 4


class Malformed(ValueError):
    """These bytes are no run of protobuf fields."""


class _Window:
    """A view on the content that moves forward: it can be filled up, taken from, and passed over."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = bytearray()
        self.position = 0  # of the first held byte, in the content

    def fill(self, size: int) -> int:
        """Holds `size` bytes if there are that many left; returns how many are held."""
        while len(self._held) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._held += chunk
        return len(self._held)

    def peek(self, size: int) -> bytes:
        self.fill(size)
        return bytes(self._held[:size])

    def take(self, size: int) -> bytes:
        taken = self.peek(size)
        del self._held[: len(taken)]
        self.position += len(taken)
        return taken

    def skip(self, size: int) -> int:
        """Passes over up to `size` bytes without holding them; returns how many there were."""
        skipped = 0
        while skipped < size and (taken := self.take(min(size - skipped, 1 << 16))):
            skipped += len(taken)
        return skipped


def varint(data: bytes, at: int = 0) -> tuple[int, int]:
    """Reads one varint.

    Returns: its value, and the position after it.
    Raises: Malformed: it is longer than 10 bytes, or the data ends inside it.
    """
    value = 0
    for index in range(_VARINT_BYTES):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at + index + 1
    msg = "no varint"
    raise Malformed(msg)


def is_request(message: bytes) -> bool:
    """Whether these bytes are a run of whole `resource_spans` fields, each of them a run of whole fields."""
    at = 0
    try:
        while at < len(message):
            if message[at] != RESOURCE_SPANS_TAG:
                return False
            length, start = varint(message, at + 1)
            at = start + length
            if at > len(message) or not _is_resource_spans(message, start, at):
                return False
    except Malformed:
        return False
    return True


def _is_resource_spans(message: bytes, at: int, end: int) -> bool:
    while at < end:
        tag, at = varint(message, at)
        if tag & 7 != _LENGTH_DELIMITED or tag >> 3 not in _RESOURCE_SPANS_FIELDS:
            return False
        length, at = varint(message, at)
        at += length
    return at == end


def message_fields(chunks: Iterator[bytes], limit_bytes: int, report: Report) -> Iterator[Part]:
    """The `resource_spans` fields of one message of any size, each with its tag and length.

    Args:
        chunks: the content, in pieces of any size.
        limit_bytes: the largest field handed out; a larger one is reported and passed over without being held.
        report: is told about fields that are too large, cut off, or of another kind.
    Raises: Unreadable: a field that cannot be passed over. Everything before was handed out.
    """
    window = _Window(chunks)
    while head := window.peek(1 + _VARINT_BYTES):
        where = f"byte {window.position}"
        if head[0] != RESOURCE_SPANS_TAG:
            raise Unreadable(where, "no resource_spans field of an OTLP message begins here")
        try:
            length, start = varint(head, 1)
        except Malformed as error:
            if len(head) <= _VARINT_BYTES:
                report(where, "the content ends inside the length of a field: it was cut off")
                return
            raise Unreadable(where, "the length of a field is malformed") from error
        yield from _framed(window, where, start + length, 0, limit_bytes, report)


def delimited_messages(chunks: Iterator[bytes], limit_bytes: int, report: Report) -> Iterator[Part]:
    """The messages of a recording in which each stands behind its length as a varint.

    Args, Raises: as `message_fields`.
    """
    window = _Window(chunks)
    while head := window.peek(_VARINT_BYTES):
        where = f"byte {window.position}"
        try:
            length, start = varint(head)
        except Malformed as error:
            if len(head) < _VARINT_BYTES:
                report(where, "the content ends inside the length of a message: it was cut off")
                return
            raise Unreadable(where, "the length of a message is malformed") from error
        window.skip(start)
        yield from _framed(window, where, length, start, limit_bytes, report)


def prefixed_messages(chunks: Iterator[bytes], limit_bytes: int, report: Report) -> Iterator[Part]:
    """The messages of a recording in which each stands behind its length as 4 bytes, big-endian.

    Args: as `message_fields`.
    """
    window = _Window(chunks)
    while prefix := window.peek(_PREFIX_BYTES):
        where = f"byte {window.position}"
        if len(prefix) < _PREFIX_BYTES:
            report(where, "the content ends inside the length of a message: it was cut off")
            return
        window.skip(_PREFIX_BYTES)
        yield from _framed(window, where, int.from_bytes(prefix, "big"), _PREFIX_BYTES, limit_bytes, report)


def _framed(window: _Window, where: str, size: int, before: int, limit_bytes: int, report: Report) -> Iterator[Part]:  # at most one part
    if size > limit_bytes:
        skipped = window.skip(size)
        if skipped < size:
            # A length that reaches beyond the end is as likely a damaged length as a cut-off file.
            report(where, f"a length of {size} bytes, but only {skipped} follow: cut off or damaged; not read")
        else:
            report(where, f"larger than {size_text(limit_bytes)}; passed over")
        return
    content = window.take(size)
    if len(content) < size:
        report(where, f"the content ends {size - len(content)} bytes before the end of this message: it was cut off")
    elif content or before == 0:
        yield Part(where, content)
