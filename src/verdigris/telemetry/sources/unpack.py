"""Unpacks gzip, zstd and xz as a stream, found by content and never by file name.

Bounded: whatever a file claims to unpack to, at most `OUTPUT_BYTES` (zstd: about 8 MiB) of it exist at a time, and a
window or dictionary above `WINDOW_BYTES` is refused. Several members, frames or streams one after the other are one
content, as `cat a.gz b.gz` makes them. Knows nothing of what is inside.
"""

import lzma
import zlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

from verdigris.telemetry.sources.problems import Report

CHUNK_BYTES = 256 << 10
OUTPUT_BYTES = 1 << 20
WINDOW_BYTES = 128 << 20
"""The largest window `zstd` itself unpacks unasked (`--long=27`); `xz -9` needs half of it."""

ZSTD_SLICE_BYTES = 256
"""zstd input per call. Its interface has no output bound; a block takes 4 bytes at least and yields 128 KiB at most
(RFC 8878, 3.1.1.2), so a slice yields at most 8 MiB."""

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ\x00"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # its first byte is 0x50 to 0x5f


class _Member(Protocol):
    """One gzip member, xz stream or zstd frame being unpacked."""

    finished: bool
    rest: bytes  # input after the end of the member, once it is finished

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Unpacks some input in bounded pieces."""


class _Gzip:
    def __init__(self) -> None:
        self.finished = False
        self.rest = b""
        self._stream = zlib.decompressobj(wbits=31)

    def feed(self, packed: bytes) -> Iterator[bytes]:
        while packed and not self._stream.eof:
            yield self._stream.decompress(packed, OUTPUT_BYTES)
            packed = self._stream.unconsumed_tail
        # Output can still be inside zlib although all input was taken.
        while not self._stream.eof and (more := self._stream.decompress(b"", OUTPUT_BYTES)):
            yield more
        self.finished, self.rest = self._stream.eof, self._stream.unused_data


class _Xz:
    def __init__(self) -> None:
        self.finished = False
        self.rest = b""
        self._stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=WINDOW_BYTES)

    def feed(self, packed: bytes) -> Iterator[bytes]:
        yield self._stream.decompress(packed, OUTPUT_BYTES)
        while not self._stream.eof and not self._stream.needs_input:
            yield self._stream.decompress(b"", OUTPUT_BYTES)
        self.finished, self.rest = self._stream.eof, self._stream.unused_data


class _Zstd:
    def __init__(self) -> None:
        self.finished = False
        self.rest = b""
        self._stream = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).decompressobj()

    def feed(self, packed: bytes) -> Iterator[bytes]:
        # Slices are small, so what they yield is gathered: every piece costs its readers a fixed price.
        gathered: list[bytes] = []
        gathered_bytes = 0
        try:
            for start in range(0, len(packed), ZSTD_SLICE_BYTES):
                stop = start + ZSTD_SLICE_BYTES
                gathered.append(self._stream.decompress(packed[start:stop]))
                gathered_bytes += len(gathered[-1])
                if self._stream.eof:
                    self.finished, self.rest = True, self._stream.unused_data + packed[stop:]
                    break
                if gathered_bytes >= CHUNK_BYTES:
                    yield b"".join(gathered)
                    gathered, gathered_bytes = [], 0
        except zstandard.ZstdError as error:
            # What was unpacked before the damage is good, and must not be lost with it.
            yield b"".join(gathered)
            raise error from None
        yield b"".join(gathered)


def compression_of(head: bytes) -> str | None:
    """Names the compression that content with these first bytes has; None if it is none we know.

    Args:
        head: the first 6 bytes or more, fewer only if there are no more.
    """
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    if head.startswith(XZ_MAGIC):
        return "xz"
    if head.startswith(ZSTD_MAGIC) or (head[1:4] == ZSTD_SKIPPABLE_MAGIC and head[0] & 0xF0 == 0x50):  # noqa: PLR2004
        return "zstd"
    return None


def _new_member(compression: str) -> _Member:
    match compression:
        case "gzip":
            return _Gzip()
        case "xz":
            return _Xz()
        case _:
            return _Zstd()


def unpack(chunks: Iterator[bytes], report: Report) -> Iterator[bytes]:
    """Unpacks content, or passes it on unchanged when it is not compressed.

    Damage ends the content after everything that could be unpacked before it, and is reported; it is not raised, so
    that whoever splits the content can still hand out the whole parts it has.

    Args:
        chunks: the bytes on disk, in pieces of any size.
        report: is told about damage, with "byte N" of the unpacked content as the place.
    Yields: the content, in pieces of bounded size, none of them empty.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(XZ_MAGIC):
            break
    compression = compression_of(head)
    if compression is None:
        if head:
            yield head
        yield from (chunk for chunk in chunks if chunk)
        return
    yield from _unpack_members(head, chunks, compression, report)


def _unpack_members(head: bytes, chunks: Iterator[bytes], compression: str, report: Report) -> Iterator[bytes]:
    member = _new_member(compression)
    unpacked_bytes = 0
    packed = head
    while True:
        try:
            for piece in member.feed(packed):
                unpacked_bytes += len(piece)
                if piece:
                    yield piece
        except (zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
            report(f"byte {unpacked_bytes}", f"the {compression} data is damaged ({error}); what follows was not read")
            return
        packed = b""
        if member.finished:
            # xz pads streams with zeros to a multiple of 4 bytes; gzip tapes are padded with zeros too.
            packed = _next_member(member.rest, chunks)
            if not packed:
                return
            if compression_of(packed) != compression:
                report(f"byte {unpacked_bytes}", f"what follows the {compression} data is not {compression}; not read")
                return
            member = _new_member(compression)
        else:
            packed = next(chunks, b"")
            if not packed:
                report(f"byte {unpacked_bytes}", f"the {compression} data ends too early: the file was cut off")
                return


def _next_member(rest: bytes, chunks: Iterator[bytes]) -> bytes:
    """The start of the next member, without padding and long enough to know its kind; b"" at the end."""
    rest = rest.lstrip(b"\0")
    while len(rest) < len(XZ_MAGIC):
        chunk = next(chunks, b"")
        if not chunk:
            break
        rest = (rest + chunk).lstrip(b"\0")
    return rest
