"""What holds for every content, however it is cut, packed, damaged or made up."""

import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from verdigris.telemetry.sources import Reading, Source
from verdigris.telemetry.sources.errors import Unreadable
from verdigris.telemetry.sources.json_elements import json_elements
from verdigris.telemetry.sources.lines import lines
from verdigris.telemetry.sources.unpack import unpack

quickly = settings(max_examples=40, deadline=None)

Framing = Callable[[Iterator[bytes], int, Callable[[str, str], None]], Iterator[Any]]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "traceID", "traceId", "spanID", "spanId", "id", "parentId", "operationName", "startTime", "duration", "timestamp",
    "tags", "logs", "fields", "key", "value", "type", "vType", "vStr", "references", "refType", "process", "processes",
    "processID", "processMap", "serviceName", "spans", "data", "annotations", "localEndpoint", "remoteEndpoint", "ipv4",
    "port", "shared", "kind", "warnings", "resourceSpans", "name", "p1",
]  # fmt: skip
VALUES = st.sampled_from([
    "1", "ab", "ERROR", "CHILD_OF", "BOOL", "CLIENT", "2020-01-01T00:00:00Z", "5ns", "\ud800",
    7, 0, -1, 1.5, 10**20, float("nan"), float("inf"), True, None,
])  # fmt: skip
NEARLY = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=8),
    max_leaves=25,
)
"""JSON that is nearly Jaeger or Zipkin: the right fields with values of any kind."""


def read(*pieces: bytes) -> tuple[Reading, list[pa.RecordBatch]]:
    class Pieces(io.RawIOBase):
        def __init__(self) -> None:
            self.left = list(pieces)

        def read(self, _: int = -1, /) -> bytes:
            return self.left.pop(0) if self.left else b""

    reading = Reading([Source("made up", None, Pieces)])
    return reading, list(reading)


def cut(content: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(content), *(place % (len(content) + 1) for place in cuts)})
    return [content[start:stop] for start, stop in pairwise(marks)]


def outcome(framing: Framing, pieces: list[bytes], limit: int) -> tuple[list[Any], list[str]]:
    problems: list[str] = []
    parts = []
    try:
        for part in framing(iter(pieces), limit, lambda where, what: problems.append(f"{where}: {what}")):
            parts.append((part.where, part.content))  # noqa: PERF401 - what came before an error counts
    except Unreadable as error:
        problems.append(f"stopped: {error.what}")
    return parts, problems


ODD_JSON = st.lists(st.sampled_from([*'[]{}",\\ \nab', '"data":[', '{"data":[', "},{", '"]"', '\\"']), max_size=40)


@quickly
@given(content=ODD_JSON.map("".join).map(str.encode), cuts=st.lists(st.integers(0, 1000), max_size=8))
@pytest.mark.parametrize("framing", [lines, json_elements])
def test_parts_do_not_depend_on_the_pieces(framing: Framing, content: bytes, cuts: list[int]) -> None:
    assert outcome(framing, cut(content, cuts), 20) == outcome(framing, [content], 20)


@quickly
@given(document=st.lists(st.dictionaries(st.text(), JSON) | st.lists(JSON)), indent=st.none() | st.integers(0, 3))
def test_elements_are_those_of_a_json_parser(document: list[Any], indent: int | None) -> None:
    text = json.dumps(document, indent=indent)
    parts, problems = outcome(json_elements, [text.encode()], 1 << 20)
    assert not problems
    assert [json.dumps(json.loads(content)) for _, content in parts] == [json.dumps(entry) for entry in document]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@quickly
@given(members=st.lists(st.binary(max_size=300), min_size=1), cuts=st.lists(st.integers(0, 5000), max_size=6))
@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_unpacking_restores_what_was_packed(pack: Callable[[bytes], bytes], members: list[bytes], cuts: list[int]) -> None:
    problems: list[str] = []
    packed = b"".join(map(pack, members))
    content = b"".join(unpack(iter(cut(packed, cuts)), lambda where, what: problems.append(where + what)))
    assert (content, problems) == (b"".join(members), [])


def a_span(number: int) -> dict[str, Any]:
    return {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}


def an_otlp(*numbers: int) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [a_span(number)]}]} for number in numbers]}


def a_protobuf(number: int) -> bytes:
    def field(tag: int, content: bytes) -> bytes:
        return bytes([tag, len(content)]) + content

    span = field(0x0A, number.to_bytes(16, "big")) + field(0x12, number.to_bytes(8, "big"))
    return field(0x0A, field(0x12, field(0x12, span)))


ZIPKIN = [{"traceId": f"{number:x}", "id": f"{number:x}", "timestamp": 5} for number in range(1, 9)]
JAEGER = [{"traceID": "1", "spanID": f"{number:x}", "operationName": "o", "startTime": 5, "processID": "p"} for number in range(1, 9)]
TRACES = [{"spans": [span], "processes": {"p": {"serviceName": "s"}}} for span in JAEGER]
UNITS = {
    "lines": [json.dumps(an_otlp(number)).encode() + b"\n" for number in range(1, 9)],
    "document": [json.dumps(an_otlp(*range(1, 9)), indent=1).encode()],
    "message": [a_protobuf(number) for number in range(1, 9)],
    "delimited": [bytes([len(a_protobuf(1))]) + a_protobuf(number) for number in range(1, 9)],
    "prefixed": [bytes([0, 0, 0, len(a_protobuf(1))]) + a_protobuf(number) for number in range(1, 9)],
    "zipkin": [json.dumps(ZIPKIN, indent=1).encode()],
    "jaeger": [json.dumps({"data": TRACES}, indent=1).encode()],
}
"""Recordings as the units after which they may end: between two of them nothing is missing."""

RECORDINGS = {name: b"".join(units) for name, units in UNITS.items()}
each_recording = pytest.mark.parametrize("content", RECORDINGS.values(), ids=RECORDINGS)


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
def test_a_recording_cut_off_anywhere_gives_its_beginning_and_a_named_problem(units: list[bytes]) -> None:
    ends = set(accumulate(map(len, units)))
    ends |= {end - 1 for end in ends if units[0].endswith(b"\n")}  # the last line feed is not missed
    content = b"".join(units)
    for length in range(len(content) + 1):
        reading, batches = read(content[:length])
        found = [int(span_id, 16) for batch in batches for span_id in batch["SpanId"].to_pylist()]
        assert found == list(range(1, len(found) + 1))
        assert bool(reading.problems) == (length not in ends)


@each_recording
@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_packed_recording_cut_off_anywhere_gives_its_beginning_and_a_named_problem(
    content: bytes, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(content)
    for length in range(0, len(packed), 5):
        reading, batches = read(packed[:length])
        found = [int(span_id, 16) for batch in batches for span_id in batch["SpanId"].to_pylist()]
        assert found == list(range(1, len(found) + 1))
        assert reading.problems


@quickly
@given(st.binary(max_size=400))
def test_random_bytes_are_read_or_named(content: bytes) -> None:
    reading, _ = read(content)
    assert reading.problems or reading.counts.bodies or reading.counts.spans


@quickly
@given(
    start=st.sampled_from([b"{", b"[", b'{"data":[', b"\x0a", b"\0\0\0\x08", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"]),
    content=st.binary(max_size=200),
)
def test_random_bytes_behind_a_known_beginning_are_read_or_named(start: bytes, content: bytes) -> None:
    reading, _ = read(start + content)
    assert reading.problems or reading.counts.bodies or reading.counts.spans


@settings(max_examples=150, deadline=None)
@given(
    place=st.integers(0, 100_000),
    byte=st.integers(0, 255),
    content=st.sampled_from(sorted(RECORDINGS.values())),
)
def test_any_changed_byte_is_survived(place: int, byte: int, content: bytes) -> None:
    changed = bytearray(content)
    changed[place % len(changed)] = byte
    reading, batches = read(bytes(changed))
    assert sum(batch.num_rows for batch in batches) == reading.counts.spans


@settings(max_examples=120, deadline=None)
@given(st.lists(NEARLY | JSON, max_size=4))
def test_what_is_nearly_a_trace_is_read_or_named(values: list[Any]) -> None:
    content = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    reading, batches = read(content, b"{}\n")
    assert sum(batch.num_rows for batch in batches) == reading.counts.spans


@settings(max_examples=120, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), NEARLY, max_size=6),
    st.sampled_from([JAEGER[0] | {"process": {"serviceName": "s"}}, ZIPKIN[0]]),
)
def test_one_span_is_a_row_or_refused_or_named(odd: dict[str, Any], span: dict[str, Any]) -> None:
    kept = {"traceID": "1", "operationName": "o"} if "traceID" in span else {"traceId": "1", "id": "2"}
    nesting = {"data", "spans", "resourceSpans"}
    only = span | {key: value for key, value in odd.items() if key not in nesting} | kept
    if "traceID" in span:
        only.pop("id", None)
    else:
        only.pop("operationName", None)
    reading, _ = read(json.dumps(only).encode())
    assert reading.counts.spans + sum(reading.counts.refused.values()) + reading.counts.problems == 1
