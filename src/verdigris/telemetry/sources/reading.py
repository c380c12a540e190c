"""Reads recordings one after the other into record batches, in bounded memory, and keeps account of it."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain

import pyarrow as pa

from verdigris._native import Limits, Masking
from verdigris.telemetry.sources.batches import merged
from verdigris.telemetry.sources.bodies import Bodies
from verdigris.telemetry.sources.errors import AlreadyRead, UnknownFormat, Unreadable
from verdigris.telemetry.sources.inputs import Source
from verdigris.telemetry.sources.json_elements import json_elements
from verdigris.telemetry.sources.lines import lines
from verdigris.telemetry.sources.parts import PART_BYTES, Part, size_text
from verdigris.telemetry.sources.problems import Problem, ProblemLog, ReadCounts, Report
from verdigris.telemetry.sources.protobuf_frames import delimited_messages, message_fields, prefixed_messages
from verdigris.telemetry.sources.recognise import Framing, is_enough, recognise
from verdigris.telemetry.sources.unpack import CHUNK_BYTES, unpack

TAKEN_APART: Mapping[Framing, Callable[[Iterator[bytes], int, Report], Iterator[Part]]] = {
    Framing.JSON_LINES: lines,
    Framing.JSON_DOCUMENT: json_elements,
    Framing.PROTOBUF_MESSAGE: message_fields,
    Framing.PROTOBUF_DELIMITED: delimited_messages,
    Framing.LENGTH_PREFIXED: prefixed_messages,
}
"""What takes the content of each framing apart; a framing without an entry cannot be read."""


class Reading:
    """Iterates over the spans of all sources, as record batches of at least 20,000 rows where there are that many.

    One source is open at a time, and closed however the iteration ends (also by Ctrl-C, or by closing the iterator).
    What cannot be read is never raised: it becomes a `Problem`, and reading goes on at the next line, element,
    message or source. Whoever wants to stop at the first problem looks at `counts.problems` between batches.

    Memory: a few times the largest part (at most `part_bytes`; a Jaeger or Zipkin part takes about ten times its size
    while it is translated), plus one batch. Never the size of a source.

    Args:
        sources: read in this order.
        limits: the decoder's bounds; None means its defaults.
        part_bytes: the largest line, array element or message that is read. Keep it at or below the decoder's
            `body_bytes`, which refuses what is larger.
        masking: what is looked for and what is done with it; None means the decoder's strict defaults.
        on_progress: is told how many bytes on disk (packed, where the file is) were consumed so far, over all sources.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        limits: Limits | None = None,
        part_bytes: int = PART_BYTES,
        masking: Masking | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        self._sources = tuple(sources)
        self._limits = limits if limits is not None else Limits()
        self._part_bytes = part_bytes
        self._masking = masking
        self._on_progress = on_progress
        self._consumed_bytes = 0
        self._started = False
        self.counts = ReadCounts()
        self._log = ProblemLog(self.counts)

    @property
    def total_bytes(self) -> int | None:
        """Bytes on disk of all sources; None when one of them is standard input or a pipe."""
        sizes = [source.size_bytes for source in self._sources]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def problems(self) -> Sequence[Problem]:
        """The first `KEPT_PROBLEMS` problems so far; `counts.problems` counts all of them."""
        return tuple(self._log.kept)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches.

        Raises: AlreadyRead: this reading was started before.
        """
        if self._started:
            msg = "this reading was already started: make a new one to read again"
            raise AlreadyRead(msg)
        self._started = True
        return merged(self._read_all())

    def _read_all(self) -> Generator[pa.RecordBatch]:
        for source in self._sources:
            yield from self._read(source)

    def _read(self, source: Source) -> Generator[pa.RecordBatch]:
        report = self._log.reporter(source.name)
        before = self._consumed_bytes
        try:
            opened = source.open()
        except OSError as error:
            report("byte 0", f"cannot be opened: {error.strerror or error}")
            return
        with closing(opened):
            try:
                content = unpack(self._chunks(opened.read, report), report)
                yield from self._read_content(source, content, report)
            except Unreadable as error:
                report(error.where, f"{error.what}; {self._unread(source, before)}")
            except UnknownFormat as error:
                report("byte 0", f"not read: {error}")

    def _chunks(self, read: Callable[[int], bytes | None], report: Report) -> Iterator[bytes]:
        start = self._consumed_bytes
        while True:
            try:
                chunk = read(CHUNK_BYTES)
            except OSError as error:
                report(f"byte {self._consumed_bytes - start} on disk", f"cannot be read: {error.strerror or error}")
                return
            if not chunk:
                return
            self._consumed_bytes += len(chunk)
            yield chunk
            # After the chunk was used: progress means read, not fetched.
            if self._on_progress:
                self._on_progress(self._consumed_bytes)

    def _read_content(self, source: Source, content: Iterator[bytes], report: Report) -> Iterator[pa.RecordBatch]:
        head = bytearray()
        complete = True
        for chunk in content:
            head += chunk
            if is_enough(head, chunk):
                complete = False
                break
        if not head.strip(b" \t\r\n"):
            report("byte 0", "there is nothing in it")
            return
        framing = recognise(bytes(head), complete=complete)
        content = chain((bytes(head),), content)
        del head
        bodies = Bodies(self._limits, self._part_bytes, self.counts, report, source=source.name, masking=self._masking)
        read = {
            Framing.JSON_LINES: bodies.read_json,
            Framing.JSON_DOCUMENT: bodies.read_json,
            Framing.PROTOBUF_MESSAGE: bodies.read_protobuf,
            Framing.PROTOBUF_DELIMITED: bodies.read_protobuf,
            Framing.LENGTH_PREFIXED: bodies.read_message,
        }[framing]
        try:
            for part in TAKEN_APART[framing](content, self._part_bytes, report):
                yield from read(part)
        except Unreadable:
            yield from bodies.finish()
            raise
        yield from bodies.finish()

    def _unread(self, source: Source, before: int) -> str:
        if source.size_bytes is None:
            return "the rest was not read"
        left = max(source.size_bytes - (self._consumed_bytes - before), 0)
        return f"the rest was not read ({size_text(left)} on disk, and up to {size_text(CHUNK_BYTES)} before them)"
