"""Takes content apart at line feeds, in bounded memory."""

from collections.abc import Iterator

from verdigris.telemetry.sources.parts import Part, size_text
from verdigris.telemetry.sources.problems import Report

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JSON_SPACE = b" \t\r\n"


def lines(chunks: Iterator[bytes], limit_bytes: int, report: Report) -> Iterator[Part]:
    """The lines that are not blank, whatever the pieces the content comes in.

    Args:
        chunks: the content, in pieces of any size.
        limit_bytes: the longest line handed out; a longer one is reported and passed over without being held.
        report: is told about lines that are too long.
    Yields: lines without the white space around them, numbered from 1; a byte-order mark at the start is dropped.
    """
    number = 1
    pieces: list[bytes] = []  # the line so far; a list, because growing one bytes object is quadratic
    held_bytes = 0
    too_long = False

    def line(content: bytes, *, cut_off: bool = False) -> Part | None:
        if too_long:
            report(f"line {number}", f"longer than {size_text(limit_bytes)}; passed over")
            return None
        if number == 1:
            content = content.removeprefix(BYTE_ORDER_MARK)
        content = content.strip(_JSON_SPACE)
        return Part(f"line {number}", content, cut_off) if content else None

    for chunk in chunks:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            too_long = too_long or held_bytes + end - start > limit_bytes
            pieces.append(chunk[start:end])
            if part := line(b"".join(pieces) if not too_long else b""):
                yield part
            pieces, held_bytes, too_long = [], 0, False
            number += 1
            start = end + 1
        held_bytes += len(chunk) - start
        too_long = too_long or held_bytes > limit_bytes
        if too_long:
            pieces = []
        elif start < len(chunk):
            pieces.append(chunk[start:])
    if part := line(b"".join(pieces), cut_off=True):
        yield part
