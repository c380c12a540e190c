"""Reading end to end: every framing and packing gives the same rows, and every loss has a name."""

import gzip
import io
import json
import lzma
import os
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from verdigris._native import Limits
from verdigris.telemetry.sources import AlreadyRead, Reading, Source, expand
from verdigris.telemetry.sources.batches import merged

Document = dict[str, Any]


def document(*numbers: int, name: str = "GET /") -> Document:
    spans = [
        {
            "traceId": f"{number + 1:032x}",
            "spanId": f"{number + 1:016x}",
            "name": name,
            "kind": 2,
            "startTimeUnixNano": str(1_700_000_000_000_000_000 + number),
            "endTimeUnixNano": str(1_700_000_000_000_001_000 + number),
        }
        for number in numbers
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "lib"}, "spans": spans}]}]}


DOCUMENTS = [document(0, 1), document(2), document(3, 4, 5)]


def in_lines(*documents: Any) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in documents)


def protobuf(entry: Document) -> bytes:
    """The same document as a protobuf message; its JSON mapping has ids in base64, OTLP's has them in hex."""
    entry = json.loads(json.dumps(entry))
    for resource_spans in entry["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                span["traceId"], span["spanId"] = _base64(span["traceId"]), _base64(span["spanId"])
    return bytes(ParseDict(entry, TracesData()).SerializeToString())


def _base64(text: str) -> str:
    import base64  # noqa: PLC0415

    return base64.b64encode(bytes.fromhex(text)).decode()


def delimited(body: bytes) -> bytes:
    """The body behind its length as a varint of two bytes, which is valid for small lengths too."""
    return bytes([len(body) % 128 | 128, len(body) // 128]) + body


def prefixed(*bodies: bytes) -> bytes:
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


class Opened(io.BytesIO):
    """Remembers whether it was closed."""


def source(content: bytes, name: str = "recording") -> Source:
    return Source(name, len(content), lambda: io.BytesIO(content))


def read(*contents: bytes, **settings: Any) -> tuple[Reading, list[pa.RecordBatch]]:
    reading = Reading([source(content, f"r{index}") for index, content in enumerate(contents)], **settings)
    return reading, list(reading)


def numbers(batches: Sequence[pa.RecordBatch]) -> list[int]:
    return [int(span_id, 16) - 1 for batch in batches for span_id in batch["SpanId"].to_pylist()]


def rows(batches: Sequence[pa.RecordBatch]) -> list[dict[str, Any]]:
    """Rows with whole nanoseconds, which Python's datetime cannot hold."""
    table = pa.Table.from_batches(batches)
    times = table["Timestamp"].cast(pa.int64())
    return table.set_column(0, "Timestamp", times).to_pylist()  # type: ignore[no-any-return]


MERGED = {"resourceSpans": [entry["resourceSpans"][0] for entry in DOCUMENTS]}
FRAMED = {
    "lines": in_lines(*DOCUMENTS),
    "lines, last without end": in_lines(*DOCUMENTS)[:-1],
    "lines, mark and carriage returns": b"\xef\xbb\xbf\r\n" + in_lines(*DOCUMENTS).replace(b"\n", b"\r\n\r\n"),
    "document": json.dumps(MERGED).encode(),
    "printed document": json.dumps(MERGED, indent=2).encode(),
    "array": json.dumps(DOCUMENTS).encode(),
    "printed array": json.dumps(DOCUMENTS, indent="\t").encode(),
    "printed documents": b"\n".join(json.dumps(entry, indent=1).encode() for entry in DOCUMENTS),
    "protobuf message": b"".join(map(protobuf, DOCUMENTS)),
    "delimited messages": b"".join(map(delimited, map(protobuf, DOCUMENTS))),
    "prefixed messages": prefixed(*map(protobuf, DOCUMENTS)),
    "prefixed zstd messages": prefixed(*(zstandard.compress(protobuf(entry)) for entry in DOCUMENTS)),
    "prefixed zstd JSON": prefixed(*(zstandard.compress(json.dumps(entry).encode()) for entry in DOCUMENTS)),
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("content", FRAMED.values(), ids=FRAMED)
def test_every_framing_and_packing_gives_the_same_rows(content: bytes, pack: Callable[[bytes], bytes]) -> None:
    reading, batches = read(pack(content))
    _, (expected,) = read(FRAMED["lines"])
    assert reading.problems == ()
    assert reading.counts.spans == 6
    assert rows(batches) == rows([expected])


def test_an_unreadable_line_is_named_and_the_next_one_read() -> None:
    bad = [
        b'{"resourceSpans":[{]}\n',
        b"not JSON\n",
        b'{"resourceSpans":[{"scopeSpans":3}]}\n',
        b'{"resourceLogs":[]}\n',
        b"7\n",
    ]
    good = in_lines(DOCUMENTS[0])
    reading, batches = read(good + good.join(bad) + good)
    assert numbers(batches) == [0, 1] * 6
    why = {problem.where: problem.what for problem in reading.problems}
    assert why.keys() == {"line 2", "line 4", "line 6", "line 8", "line 10"}
    assert "logs" in why["line 8"]
    assert reading.counts.bodies == 6


def test_lines_are_joined_only_as_what_they_are_alone() -> None:
    """Two lines that are broken alone, but whose texts joined would be valid, must not become one."""
    halves = b'{"resourceSpans":[{"schemaUrl":"a]}\n{"resourceSpans":[b"}]}\n'
    more = b'{"resourceSpans":[{}],"note":[1]}\n'
    reading, batches = read(in_lines(DOCUMENTS[0]) + halves + more + in_lines(DOCUMENTS[1]))
    assert numbers(batches) == [0, 1, 2]
    assert [problem.where for problem in reading.problems] == ["line 2", "line 3"]


def test_messages_are_joined_only_as_what_they_are_alone() -> None:
    """A message whose field reaches beyond it must not take its bytes from the next message."""
    reading, batches = read(b"".join(map(delimited, (protobuf(DOCUMENTS[0]), b"\x0a\x04", b"\x0a\x02\x0a\x00"))))
    assert numbers(batches) == [0, 1]
    assert len(reading.problems) == 1
    assert reading.counts.bodies == 2


def test_a_cut_off_last_line_is_named_as_such() -> None:
    reading, batches = read(in_lines(*DOCUMENTS)[:-30])
    assert numbers(batches) == [0, 1, 2]
    assert reading.problems[0].where == "line 3"
    assert "cut off" in reading.problems[0].what


def test_a_broken_element_is_named_and_the_next_one_read() -> None:
    element = json.dumps(MERGED["resourceSpans"][1])
    content = '{"resourceSpans":[\n' + element + ',{"a" "b"},' + element + "]}"
    reading, batches = read(content.encode())
    assert numbers(batches) == [2, 2]
    assert [problem.where for problem in reading.problems] == ["resourceSpans[1]"]


def test_broken_structure_says_how_much_was_not_read() -> None:
    content = b"[\n" + json.dumps(DOCUMENTS[0]).encode() + b"}" + b" " * 100
    reading, batches = read(content)
    assert numbers(batches) == [0, 1]
    assert "the rest was not read" in reading.problems[0].what


def test_problems_are_kept_up_to_a_bound_and_counted_beyond() -> None:
    reading, batches = read(in_lines(DOCUMENTS[0]) + b"x\n" * 250)
    assert numbers(batches) == [0, 1]
    assert len(reading.problems) == 100
    assert reading.counts.problems == 250


@pytest.mark.parametrize("content", [b"", b" \r\n\n", gzip.compress(b"")])
def test_an_empty_source_is_named(content: bytes) -> None:
    reading, batches = read(content, in_lines(DOCUMENTS[0]))
    assert numbers(batches) == [0, 1]
    assert [(problem.source, problem.what) for problem in reading.problems] == [("r0", "there is nothing in it")]


def test_an_unknown_source_does_not_keep_others_from_being_read() -> None:
    reading, batches = read(b"# Notes\n", in_lines(DOCUMENTS[0]))
    assert numbers(batches) == [0, 1]
    assert "plain text" in reading.problems[0].what


def test_a_source_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone.json").write_text("x")
    sources = expand([str(tmp_path)])
    (tmp_path / "gone.json").unlink()
    reading = Reading(sources)
    assert list(reading) == []
    assert "No such file" in reading.problems[0].what


def test_a_source_that_fails_while_it_is_read_keeps_what_it_gave() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if chunk := super().read(size):
                return chunk
            raise OSError(5, "Input/output error")

    reading = Reading([Source("disk", None, lambda: Failing(in_lines(DOCUMENTS[0])))])
    assert numbers(list(reading)) == [0, 1]
    assert "Input/output error" in reading.problems[0].what


def test_refused_spans_are_counted_by_reason() -> None:
    bad = document(0, 1)
    bad["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = "0" * 32
    reading, batches = read(in_lines(bad))
    assert numbers(batches) == [1]
    assert sum(reading.counts.refused.values()) == 1


def test_progress_is_bytes_on_disk_over_all_sources() -> None:
    told: list[int] = []
    contents = [gzip.compress(in_lines(*DOCUMENTS)), in_lines(*DOCUMENTS)]
    reading, _ = read(*contents, on_progress=told.append)
    assert reading.total_bytes == sum(map(len, contents))
    assert told == [len(contents[0]), reading.total_bytes]


def test_the_total_is_unknown_with_a_source_of_unknown_size() -> None:
    assert Reading([source(b"x"), Source("pipe", None, lambda: io.BytesIO(b""))]).total_bytes is None


def test_a_reading_is_read_once() -> None:
    reading, _ = read(b"")
    with pytest.raises(AlreadyRead):
        iter(reading)


def test_files_are_closed_however_the_iteration_ends() -> None:
    opened: list[io.BytesIO] = []

    def open_one() -> io.BytesIO:
        opened.append(io.BytesIO(in_lines(document(*range(30_000))) * 2))
        return opened[-1]

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    iterator = iter(Reading([Source("a", None, open_one)]))
    next(iterator)
    assert [entry.closed for entry in opened] == [False]
    iterator.close()  # type: ignore[attr-defined]
    assert [entry.closed for entry in opened] == [True]
    with pytest.raises(KeyboardInterrupt):
        list(Reading([Source("a", None, open_one)], on_progress=interrupted))
    assert opened[1].closed


def test_small_lines_become_large_batches_with_one_dictionary() -> None:
    content = b"".join(in_lines(document(number, name=f"op {number % 7}")) for number in range(50_000))
    _, batches = read(content)
    assert [batch.num_rows >= 20_000 for batch in batches] == [True, True, False]
    assert numbers(batches) == list(range(50_000))
    assert len(batches[0]["SpanName"].dictionary) == 7


def test_merging_ends_a_batch_by_rows() -> None:
    one = pa.record_batch({"a": [1, 2, 3]})
    assert [batch.num_rows for batch in merged((one for _ in range(5)), rows=6)] == [6, 6, 3]


def test_a_part_above_the_bound_is_named() -> None:
    reading, batches = read(in_lines(document(*range(50)), document(1)), part_bytes=2000)
    assert numbers(batches) == [1]
    assert reading.problems[0].where == "line 1"


def test_the_decoders_bounds_are_the_callers() -> None:
    reading, batches = read(in_lines(document(0, 1, 2), document(3)), limits=Limits(spans=2))
    assert numbers(batches) == [3]
    assert reading.problems[0].where == "line 1"


@pytest.mark.parametrize("name", ["jaeger", "zipkin"])
def test_jaeger_and_zipkin_in_every_shape(name: str) -> None:
    trace_id, span_id = "1".zfill(32), "2".zfill(16)
    if name == "jaeger":
        span = {"traceID": trace_id, "spanID": span_id, "operationName": "o", "startTime": 1, "duration": 1}
        alone = span | {"process": {"serviceName": "s"}}
        trace = {"traceID": trace_id, "processes": {"p": {"serviceName": "s"}}, "spans": [span | {"processID": "p"}]}
        shapes: list[Any] = [{"data": [trace]}, trace, [alone], [trace, alone], alone, {"data": []}, [[alone]]]
        spans = 1 + 1 + 1 + 2 + 1 + 0 + 1
    else:
        alone = {"traceId": trace_id, "id": span_id, "timestamp": 1}
        shapes = [[alone], [[alone], [alone, alone]], alone, []]
        spans = 1 + 3 + 1
    for content in (in_lines(*shapes), b"\n".join(json.dumps(shape, indent=1).encode() for shape in shapes)):
        reading, batches = read(content)
        assert reading.problems == ()
        assert reading.counts.spans == sum(batch.num_rows for batch in batches) == spans


def test_places_inside_a_line_and_a_document() -> None:
    bad = {"traceID": "x", "spanID": "1", "operationName": "o"}
    trace = {"processes": {}, "spans": [bad]}
    where = [
        read(content)[0].problems[0].where
        for content in (
            in_lines({"data": [trace]}),
            json.dumps({"data": [trace]}, indent=1).encode(),
            json.dumps(trace, indent=1).encode(),
            in_lines([bad]),
            json.dumps([bad], indent=1).encode(),
        )
    ]
    assert where == ["line 1: data[0].spans[0]", "data[0].spans[0]", "spans[0]", "line 1: [0]", "[0]"]


def test_problems_quote_no_values() -> None:
    secret = "4111111111111111"
    contents = [
        in_lines({"card": secret}, {secret: 1}, secret),
        f'[{{"a": "{secret}" 1}}]'.encode(),
        f"{secret}\n".encode(),
        in_lines([{"traceId": secret * 3, "id": secret}], {"traceID": "1", "operationName": 1, "spanID": secret * 2}),
    ]
    reading, _ = read(*contents)
    assert len(reading.problems) >= 6
    assert not [problem for problem in reading.problems if secret in str(problem)]


def test_two_hundred_megabytes_through_a_pipe_in_bounded_memory() -> None:
    """A stream that exists nowhere as a whole: memory must not grow with it."""
    block = in_lines(document(*range(4_000))) + in_lines(*(document(number) for number in range(100)))
    blocks = (200 << 20) // len(block)
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            for _ in range(blocks):
                pipe.write(block)

    feeder = threading.Thread(target=write)
    feeder.start()
    arrow_before = pa.total_allocated_bytes()
    arrow_peak = 0
    tracemalloc.start()
    try:
        reading = Reading([Source("pipe", None, lambda: os.fdopen(reader, "rb", buffering=0))])
        for batch in reading:
            assert batch.num_rows < 60_000
            arrow_peak = max(arrow_peak, pa.total_allocated_bytes() - arrow_before)
        _, python_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        feeder.join()
    assert reading.counts.spans == blocks * 4_100
    assert reading.counts.problems == 0
    assert python_peak < 32 << 20
    assert arrow_peak < 64 << 20


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_array_streams_in_bounded_memory(packed: bool) -> None:  # noqa: FBT001
    element = b'{"traceId":"1","id":"2","timestamp":1700000000000000,"tags":{"text":"' + b"x" * 5_000 + b'"}}'
    content = b"[" + b",".join([element] * 6_000) + b"]"
    content = gzip.compress(content, 1) if packed else content
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        reading = Reading([source(content)], part_bytes=1 << 20)
        spans = sum(batch.num_rows for batch in reading)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert spans == 6_000
    assert reading.problems == ()
    assert peak - before < 110 << 20
