"""Takes a JSON document of any size apart into the elements of its outer array, in bounded memory.

A structural scan only: it follows brackets and skips strings, and leaves judging an element to whoever parses it. So
one broken element does not end the reading, which an event parser such as ijson cannot offer: it stops at the first
error, and makes Python objects of everything on the way, which OTLP elements do not need at all.

The content is a sequence of documents. Of a top-level array the elements are handed out ("[3]"); of a top-level object
the elements of the arrays named in `STREAMED_KEYS` ("data[3]"); an object without such an array as a whole
("document"). From the second document on, places begin with "document 2: ".
"""

import re
from collections.abc import Iterator

from verdigris.telemetry.sources.errors import Unreadable
from verdigris.telemetry.sources.lines import BYTE_ORDER_MARK
from verdigris.telemetry.sources.parts import Part, size_text
from verdigris.telemetry.sources.problems import Report

STREAMED_KEYS = frozenset({b"data", b"resourceSpans"})
"""Jaeger's user interface exports {"data": [trace, ...]}, OTLP is {"resourceSpans": [...]}."""

GAP_BYTES = 64 << 10
"""What may stand between two elements (white space and a comma) or before the value of a key."""

# Possessive quantifiers: nothing is tried twice, so the scan is linear whatever the content.
_STRING_REST = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_TO_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"' + _STRING_REST + rb'"[^"{}\[\]]*+)*+', re.DOTALL)
_IN_STRING = re.compile(_STRING_REST, re.DOTALL)
_KEY = re.compile(rb'"([^"\\]*+)"\s*+:\s*+\Z')
_BETWEEN = re.compile(rb"\s*+,?\s*+\Z")
_SPACE = re.compile(rb"\s*+\Z")
_CLOSER = {0x7B: 0x7D, 0x5B: 0x5D}
_QUOTE = 0x22


class _Brackets:
    """Finds the brackets outside strings in a buffer that grows at its end and is trimmed at its front."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.trimmed_bytes = 0  # bytes of the content in front of the buffer
        self._next = 0
        self._in_string = False

    def positions(self) -> Iterator[int]:
        """Where brackets stand in the buffer, up to the point where more content is needed."""
        while self._next < len(self.buffer):
            if self._in_string:
                found = _IN_STRING.match(self.buffer, self._next)
                end = found.end() if found else self._next
                del found  # a match pins the buffer, which could then not grow
                self._next = end
                if end == len(self.buffer) or self.buffer[end] != _QUOTE:
                    return  # the string goes on, perhaps after a lone backslash
                self._in_string = False
                self._next += 1
                continue
            found = _TO_BRACKET.match(self.buffer, self._next)
            end = found.end() if found else self._next
            del found
            self._next = end
            if end == len(self.buffer):
                return
            self._next += 1
            if self.buffer[end] == _QUOTE:
                self._in_string = True
            else:
                yield end

    def trim(self, keep_from: int) -> None:
        """Forgets what lies in front of a position."""
        keep_from = min(keep_from, self._next)
        del self.buffer[:keep_from]
        self._next -= keep_from
        self.trimmed_bytes += keep_from


class _Elements:
    """The place in the document while its brackets go by."""

    def __init__(self, limit_bytes: int, report: Report) -> None:
        self._limit_bytes = limit_bytes
        self._report = report
        self._brackets = _Brackets()
        self._open: list[int] = []  # the closing brackets that are due, innermost last
        self._document = 0
        self._level = 0  # depth at which elements are handed out; 0: not inside a streamed array
        self._key = ""
        self._index = 0
        self._part_start: int | None = None  # in the buffer, of the element or whole document being gathered
        self._too_large = False
        self._streamed = False  # this document had a streamed array: it is not handed out as a whole
        self._gap_start = 0

    def feed(self, chunk: bytes) -> Iterator[Part]:
        scan = self._brackets
        scan.buffer += chunk
        for at in scan.positions():
            bracket = scan.buffer[at]
            if bracket in _CLOSER:
                self._opened(at, bracket)
            elif not self._open or self._open[-1] != bracket:
                what = f"a closing bracket without its opening one (byte {scan.trimmed_bytes + at} of the content)"
                raise Unreadable(self._place(), what)
            elif part := self._closed(at):
                yield part
        self._forget()

    def finish(self) -> None:
        """Accounts for what is left when the content ends."""
        rest = bytes(self._brackets.buffer[self._gap_start :])
        if self._open:
            self._report(self._place(), "the content ends inside this part: it was cut off; this part was not read")
        elif not _SPACE.match(rest.removeprefix(BYTE_ORDER_MARK)):
            self._report(self._place(), "text outside any JSON document; not read")

    def _place(self) -> str:
        document = f"document {self._document}: " if self._document > 1 else ""
        if self._level:
            return f"{document}{self._key}[{self._index}]"
        return (
            f"{document}byte {self._brackets.trimmed_bytes + self._gap_start}"
            if not self._open
            else (document.removesuffix(": ") or "document")
        )

    def _opened(self, at: int, bracket: int) -> None:
        depth = len(self._open)
        if depth == 0:
            self._check_gap(at, _SPACE)
            self._document += 1
            self._streamed = bracket == 0x5B  # noqa: PLR2004 - "["
            self._too_large = False
            if self._streamed:
                self._enter(at, 1, "")
            else:
                self._part_start = at
                self._gap_start = at + 1
        elif self._level and depth == self._level:
            self._check_gap(at, _SPACE if self._index == 0 else _BETWEEN)
            self._part_start = at
            self._too_large = False
        elif not self._level and depth == 1 and bracket == 0x5B:  # noqa: PLR2004 - "["
            key = _KEY.search(bytes(self._brackets.buffer[max(self._gap_start, at - GAP_BYTES) : at]))
            if key and key[1] in STREAMED_KEYS:
                self._streamed = True
                self._part_start = None
                self._enter(at, 2, key[1].decode())
        self._open.append(_CLOSER[bracket])

    def _enter(self, at: int, level: int, key: str) -> None:
        self._level, self._key, self._index = level, key, 0
        self._gap_start = at + 1

    def _closed(self, at: int) -> Part | None:
        self._open.pop()
        depth = len(self._open)
        part = None
        if self._level and depth == self._level:
            part = self._take(at)
            self._index += 1
        elif self._level and depth == self._level - 1:
            self._check_gap(at, _SPACE)
            self._level = 0
        if depth == 0 and not self._streamed:
            part = self._take(at)
        if depth <= 1 or depth == self._level:
            self._gap_start = at + 1
        return part

    def _take(self, at: int) -> Part | None:
        start, self._part_start = self._part_start, None
        place = self._place() if self._level else f"document {self._document}" if self._document > 1 else "document"
        if self._too_large or start is None or at + 1 - start > self._limit_bytes:
            self._report(place, f"larger than {size_text(self._limit_bytes)}; passed over")
            return None
        return Part(place, bytes(self._brackets.buffer[start : at + 1]), key=self._key if self._level else "")

    def _check_gap(self, at: int, allowed: "re.Pattern[bytes]") -> None:
        gap = bytes(self._brackets.buffer[self._gap_start : at])
        if not self._document:
            gap = gap.removeprefix(BYTE_ORDER_MARK)
        if allowed.match(gap):
            return
        if not self._level:
            raise Unreadable(self._place(), "text outside any JSON document")
        # An array may hold numbers or words between its objects: they are no spans, but they are not passed in silence.
        self._report(self._place(), "text that is neither an object nor an array; not read")

    def _forget(self) -> None:
        """Trims the buffer to what is still needed, and drops a part that has grown too large."""
        scan = self._brackets
        if self._part_start is not None and len(scan.buffer) - self._part_start > self._limit_bytes:
            self._too_large, self._part_start = True, None
        if self._part_start is not None:
            keep_from = self._part_start
        elif not self._open or len(self._open) == self._level:
            if len(scan.buffer) - self._gap_start > GAP_BYTES:
                raise Unreadable(self._place(), f"more than {size_text(GAP_BYTES)} between two parts")
            keep_from = self._gap_start
        else:
            # Inside something that is passed over: only the key in front of the next bracket can still matter.
            keep_from = max(self._gap_start, len(scan.buffer) - GAP_BYTES)
        before = scan.trimmed_bytes
        scan.trim(keep_from)
        moved = scan.trimmed_bytes - before
        self._gap_start = max(self._gap_start - moved, 0)
        if self._part_start is not None:
            self._part_start -= moved


def json_elements(chunks: Iterator[bytes], limit_bytes: int, report: Report) -> Iterator[Part]:
    """Takes a document, or several after another, apart (see the module's docstring for how).

    Args:
        chunks: the content, in pieces of any size; the parts do not depend on them.
        limit_bytes: the largest part handed out; a larger one is reported and passed over. Memory stays below about
            twice that.
        report: is told about parts that are too large, cut off, or no object or array.

    Raises:
        Unreadable: the brackets do not match, or text stands where a document should begin. Everything before was
            handed out.
    """
    elements = _Elements(limit_bytes, report)
    for chunk in chunks:
        yield from elements.feed(chunk)
    elements.finish()
