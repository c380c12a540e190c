"""From parts to record batches: OTLP goes to the decoder as it is, Jaeger and Zipkin are translated to OTLP first.

Small bodies are decoded together, because a call costs more than a short line does: the ResourceSpans of neighbours
become one request. Nothing can be lost or invented by that. A JSON line is joined only after it was parsed and found
to hold the one key and nothing else; an array element's brackets and strings were matched when it was taken out; a
protobuf message is joined only if its fields end where it ends. When a joined request is refused it is halved until
the bodies that spoil it stand alone and are named.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from verdigris._native import DecodeError, Limits, Masking, decode
from verdigris.telemetry.sources import jaeger, zipkin
from verdigris.telemetry.sources.documents import Kind, NotTraceData, kind_of, parse
from verdigris.telemetry.sources.parts import Part, size_text, within
from verdigris.telemetry.sources.problems import ReadCounts, Report
from verdigris.telemetry.sources.protobuf_frames import is_request
from verdigris.telemetry.sources.unpack import ZSTD_MAGIC, unpack

JOINED_BYTES = 4 << 20
"""From this size on, a request is decoded; about 20,000 small spans."""

SMALL_BYTES = 16 << 10
"""Lines up to this size are joined. Parsing one to be sure of its shape costs less than a decoder call of its own."""

TRANSLATED_SPANS = 500
"""Translated spans per body: the most that one undecodable span can take with it."""

GROUP_SPANS = 20_000
"""Zipkin spans seen together, so that the two halves of a shared span meet."""

GROUP_BYTES = 32 << 20

_OPEN = b'{"resourceSpans":['
_CLOSE = b"]}"
_OTLP_START = re.compile(rb'\{\s*+"resourceSpans"\s*+:\s*+\[')
_OTLP_END = re.compile(rb"\]\s*+\}\Z")
_END_BYTES = 256

Format = Literal["json", "protobuf"]


@dataclass(frozen=True, slots=True)
class _Body:
    """Something to decode.

    Attributes:
        where: its place.
        content: its bytes.
        inner: where in `content` the run of ResourceSpans lies that can be joined with others; None: decode it alone.
        whole: `content` is a request; otherwise it is a run of JSON ResourceSpans.
        translated_spans: how many spans were translated into it; 0 for what came as OTLP.
    """

    where: str
    content: bytes
    inner: slice | None
    whole: bool = True
    cut_off: bool = False
    translated_spans: int = 0


class Bodies:
    """Reads the parts of one source, in order; some are held back to be read together.

    Args:
        source: its name, for what is found in it.
        masking: None for the decoder's strict defaults.
    """

    def __init__(
        self, limits: Limits, part_bytes: int, counts: ReadCounts, report: Report, *, source: str = "", masking: Masking | None = None
    ) -> None:
        self._limits = limits
        self._source = source
        self._masking = masking
        self._part_bytes = part_bytes
        self._counts = counts
        self._report = report
        self._format: Format = "json"
        self._joined: list[_Body] = []
        self._joined_bytes = 0
        self._zipkin: list[zipkin.PlacedSpan] = []
        self._zipkin_bytes = 0
        self._calls = zipkin.Calls()

    def read_json(self, part: Part) -> Iterator[pa.RecordBatch]:
        """Reads a JSON value."""
        if part.key == "resourceSpans":
            yield from self._zipkin_done()
            yield from self._add("json", _Body(part.where, part.content, slice(None), whole=False))
            return
        start = _OTLP_START.match(part.content)
        if start:
            yield from self._zipkin_done()
            yield from self._add("json", _otlp_line(part, start.end()))
            return
        try:
            value = parse(part.content)
        except NotTraceData as error:
            self._report(part.where, f"{error}{_cut_off(part)}")
            return
        yield from self._read_value(value, part, part.where)

    def read_protobuf(self, part: Part) -> Iterator[pa.RecordBatch]:
        """Reads a message, or a run of its fields."""
        yield from self._zipkin_done()
        inner = slice(None) if is_request(part.content) else None
        yield from self._add("protobuf", _Body(part.where, part.content, inner))

    def read_message(self, part: Part) -> Iterator[pa.RecordBatch]:
        """Reads a message of the Collector's file exporter: protobuf or JSON, perhaps a zstd frame of its own."""
        content = part.content
        if content.startswith(ZSTD_MAGIC):
            unpacked = bytearray()
            damaged = False

            def damage(_where: str, what: str) -> None:
                nonlocal damaged
                damaged = True
                self._report(part.where, what)

            for piece in unpack(iter((content,)), damage):
                unpacked += piece
                if len(unpacked) > self._part_bytes:
                    self._report(part.where, f"unpacks to more than {size_text(self._part_bytes)}; passed over")
                    return
            if damaged:
                return
            content = bytes(unpacked)
        part = Part(part.where, content)
        yield from self.read_json(part) if content[:1] in (b"{", b"[") else self.read_protobuf(part)

    def finish(self) -> Iterator[pa.RecordBatch]:
        """Reads what was held back."""
        yield from self._zipkin_done()
        yield from self._join_done()

    def _read_value(self, value: Any, part: Part, where: str) -> Iterator[pa.RecordBatch]:
        try:
            kind = kind_of(value)
        except NotTraceData as error:
            self._report(where, str(error))
            return
        if kind is Kind.LIST:
            for index, item in enumerate(value):
                yield from self._read_value(item, part, within(where, f"[{index}]"))
            return
        if kind is Kind.ZIPKIN_SPAN:
            self._counts.bodies += 1
            self._zipkin.append(zipkin.PlacedSpan(where, value))
            # A part with many spans is spread over them; only the sum matters.
            self._zipkin_bytes += len(part.content) if where == part.where else SMALL_BYTES // 8
            if len(self._zipkin) >= GROUP_SPANS or self._zipkin_bytes >= GROUP_BYTES:
                yield from self._zipkin_done()
            return
        yield from self._zipkin_done()
        if kind is Kind.OTLP:
            content = part.content if where == part.where else _dump(value)
            yield from self._add("json", _Body(where, content, None, cut_off=part.cut_off))
        elif kind is Kind.JAEGER:
            self._counts.bodies += 1
            translated = jaeger.translate(value, lambda place, what: self._report(within(where, place), what))
            yield from self._add_translated(where, translated)
        else:
            self._counts.bodies += 1  # an empty list or object: valid, and nothing in it

    def _zipkin_done(self) -> Iterator[pa.RecordBatch]:
        if self._zipkin:
            group, self._zipkin, self._zipkin_bytes = self._zipkin, [], 0
            where = f"{group[0].where} to {group[-1].where}" if len(group) > 1 else group[0].where
            yield from self._add_translated(where, zipkin.translate(group, self._calls, self._report))

    def _add_translated(self, where: str, translated: Iterable[Any]) -> Iterator[pa.RecordBatch]:
        held: list[Any] = []
        for resource_spans in translated:
            held.append(resource_spans)
            if len(held) >= TRANSLATED_SPANS:
                yield from self._add("json", _translated_body(where, held))
                held = []
        if held:
            yield from self._add("json", _translated_body(where, held))

    def _add(self, form: Format, body: _Body) -> Iterator[pa.RecordBatch]:
        if form != self._format or body.inner is None:
            yield from self._join_done()
        self._format = form
        self._joined.append(body)
        self._joined_bytes += len(body.content)
        if body.inner is None or self._joined_bytes >= JOINED_BYTES:
            yield from self._join_done()

    def _join_done(self) -> Iterator[pa.RecordBatch]:
        if self._joined:
            joined, self._joined, self._joined_bytes = self._joined, [], 0
            yield from self._decode(joined)

    def _decode(self, bodies: list[_Body]) -> Iterator[pa.RecordBatch]:
        try:
            decoded = decode(_request(self._format, bodies), format=self._format, limits=self._limits, masking=self._masking)
        except DecodeError as error:
            if len(bodies) > 1:
                middle = len(bodies) // 2
                yield from self._decode(bodies[:middle])
                yield from self._decode(bodies[middle:])
            else:
                self._report(bodies[0].where, self._refusal(bodies[0], error))
            return
        counts = self._counts
        counts.spans += decoded.spans
        counts.bodies += sum(not body.translated_spans for body in bodies)
        counts.ends_before_start += decoded.ends_before_start
        counts.truncated_values += decoded.truncated_values
        counts.dropped_attributes += decoded.dropped_attributes
        counts.dropped_events += decoded.dropped_events
        counts.dropped_links += decoded.dropped_links
        counts.add_refused(decoded.refused)
        counts.findings.add(decoded.findings, decoded.findings_uncounted, self._source)
        yield pa.record_batch(decoded)

    def _refusal(self, body: _Body, error: DecodeError) -> str:
        name = "OTLP/JSON" if self._format == "json" else "OTLP protobuf"
        if body.translated_spans:
            return f"{body.translated_spans} translated spans do not decode as {name}: {error.kind}"
        offset = error.offset - (0 if body.whole else len(_OPEN))
        return f"not readable as {name}: {error.kind} at its byte {max(offset, 0)}{_cut_off(body)}"


def _cut_off(part: Part | _Body) -> str:
    return "; it is the last line and has no line feed: the recording was cut off" if part.cut_off else ""


def _otlp_line(part: Part, inner_start: int) -> _Body:
    """An OTLP/JSON document, to be joined with others if it is small and holds nothing but its ResourceSpans."""
    content = part.content
    alone = _Body(part.where, content, None, cut_off=part.cut_off)
    if len(content) > SMALL_BYTES:
        return alone
    try:
        value = parse(content)
    except NotTraceData:
        return alone  # the decoder says what is wrong with it
    end = _OTLP_END.search(content, max(len(content) - _END_BYTES, 0))
    if end is None or value.keys() != {"resourceSpans"} or not value["resourceSpans"]:
        return alone
    return _Body(part.where, content, slice(inner_start, end.start()), cut_off=part.cut_off)


def _translated_body(where: str, resource_spans: list[Any]) -> _Body:
    return _Body(where, _dump(resource_spans)[1:-1], slice(None), whole=False, translated_spans=len(resource_spans))


def _dump(value: Any) -> bytes:
    # A lone surrogate, which JSON can escape but UTF-8 cannot hold, becomes "?": OTLP text is UTF-8.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _request(form: Format, bodies: list[_Body]) -> bytes:
    if len(bodies) == 1 and bodies[0].whole:
        return bodies[0].content
    runs = (body.content[body.inner or slice(None)] for body in bodies)
    return b"".join(runs) if form == "protobuf" else _OPEN + b",".join(runs) + _CLOSE
