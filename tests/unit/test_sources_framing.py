"""Taking content apart: lines, array elements, messages; and recognising which of them it is."""

import json
import tracemalloc
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from verdigris.telemetry.sources.errors import UnknownFormat, Unreadable
from verdigris.telemetry.sources.json_elements import json_elements
from verdigris.telemetry.sources.lines import lines
from verdigris.telemetry.sources.protobuf_frames import (
    delimited_messages,
    is_request,
    message_fields,
    prefixed_messages,
)
from verdigris.telemetry.sources.recognise import Framing, recognise

LIMIT = 1000
RESOURCE_SPANS = b"\x0a\x02\x0a\x00"  # resource_spans { resource { } }


class Seen:
    """Problems as text, and the parts of one framing function."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def __call__(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")


def pieces(content: bytes, size: int = 3) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def split(framing: Any, content: bytes, *, limit: int = LIMIT, size: int = 3) -> tuple[dict[str, bytes], list[str]]:
    seen = Seen()
    parts = {part.where: part.content for part in framing(pieces(content, size), limit, seen)}
    return parts, seen.problems


def test_lines_lose_line_ends_blank_lines_and_the_byte_order_mark_but_keep_their_numbers() -> None:
    content = b"\xef\xbb\xbf{1}\r\n\n  \r\n{2}\n\n{3}"
    assert split(lines, content) == ({"line 1": b"{1}", "line 4": b"{2}", "line 6": b"{3}"}, [])


def test_a_line_above_the_limit_is_named_and_the_next_one_read() -> None:
    content = b"a" * (LIMIT + 1) + b"\n" + b"b" * LIMIT + b"\n" + b"c" * (LIMIT + 1)
    parts, problems = split(lines, content)
    assert parts == {"line 2": b"b" * LIMIT}
    assert [problem.split(":")[0] for problem in problems] == ["line 1", "line 3"]


def test_only_the_last_line_can_be_cut_off() -> None:
    assert [part.cut_off for part in lines(iter((b"a\nb",)), LIMIT, Seen())] == [False, True]


DOCUMENTS: dict[str, tuple[Any, list[str]]] = {
    "array": ([{"a": 1}, [1, [2]], {}], ["[0]", "[1]", "[2]"]),
    "jaeger": ({"total": 0, "x": {"y": ["]"]}, "data": [{"b": "}{"}, {"c": []}], "e": [1]}, ["data[0]", "data[1]"]),
    "otlp": ({"resourceSpans": [{"q": 'say \\"]} "hi"\\'}]}, ["resourceSpans[0]"]),
    "whole": ({"spans": [{"a": 1}], "processes": {"data": []}}, ["document"]),
    "empty array": ([], []),
    "empty data": ({"data": []}, []),
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 10, 10_000])
@pytest.mark.parametrize(("document", "places"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_elements_of_the_outer_array(document: Any, places: list[str], size: int, indent: int | None) -> None:
    parts, problems = split(json_elements, json.dumps(document, indent=indent).encode(), size=size)
    expected = document if isinstance(document, list) else document.get("data", document.get("resourceSpans"))
    assert [json.loads(content) for content in parts.values()] == ([document] if places == ["document"] else expected)
    assert list(parts) == places
    assert not problems


def test_documents_after_one_another_are_told_apart() -> None:
    parts, problems = split(json_elements, b'\xef\xbb\xbf [{}]\n{"data":[{}]} {"spans":[]} ')
    assert list(parts) == ["[0]", "document 2: data[0]", "document 3"]
    assert not problems


@pytest.mark.parametrize("size", [1, 64, 100_000])
def test_an_element_above_the_limit_is_named_and_the_next_one_read(size: int) -> None:
    large = {"text": "x" * LIMIT, "deep": [[{}]] * 50}
    parts, problems = split(json_elements, json.dumps({"data": [large, {"a": 1}, large]}).encode(), size=size)
    assert parts == {"data[1]": b'{"a": 1}'}
    assert [problem.split(":")[0] for problem in problems] == ["data[0]", "data[2]"]


def test_an_element_above_the_limit_is_never_held() -> None:
    endless = chain((b'[{"text":"',), (b"x" * (1 << 16) for _ in range(400)), (b'"},{}]',))
    seen = Seen()
    tracemalloc.start()
    try:
        parts = [part.where for part in json_elements(endless, LIMIT, seen)]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert parts == ["[1]"]
    assert len(seen.problems) == 1
    assert peak_bytes < 2 << 20


def test_a_whole_document_above_the_limit_is_named() -> None:
    parts, problems = split(json_elements, json.dumps({"spans": ["x" * 600, "y" * 600]}).encode())
    assert not parts
    assert problems == ["document: larger than 1000 bytes; passed over"]


def test_what_is_no_object_between_elements_is_named() -> None:
    parts, problems = split(json_elements, b"[1, {}, null, {}, 3]")
    assert len(parts) == 2
    assert [problem.split(":")[0] for problem in problems] == ["[0]", "[1]", "[2]"]


@pytest.mark.parametrize("content", [b"[{}, {}}", b"[{}] x {}", b"]", b"[{]}", b'{"data":[{}]]'])
def test_broken_structure_ends_the_reading_with_its_place(content: bytes) -> None:
    with pytest.raises(Unreadable, match=r"closing bracket|outside"):
        split(json_elements, content)


def test_a_cut_off_document_gives_the_whole_elements_before() -> None:
    parts, problems = split(json_elements, b'{"data":[{"a":1},{"b":2},{"c":"')
    assert list(parts) == ["data[0]", "data[1]"]
    assert problems == ["data[2]: the content ends inside this part: it was cut off; this part was not read"]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_messages_of_each_protobuf_framing(size: int) -> None:
    message = RESOURCE_SPANS * 2
    assert split(message_fields, message, size=size)[0] == {"byte 0": RESOURCE_SPANS, "byte 4": RESOURCE_SPANS}
    framed = bytes([len(message)]) + message
    assert split(delimited_messages, framed * 2 + b"\0", size=size) == ({"byte 0": message, "byte 9": message}, [])
    framed = len(message).to_bytes(4, "big") + message
    assert split(prefixed_messages, framed * 2, size=size) == ({"byte 0": message, "byte 12": message}, [])


def test_a_large_message_is_passed_over_and_a_cut_off_one_named() -> None:
    large, small = b"\x0a" + bytes([0xD0, 0x0F]) + bytes(2000), RESOURCE_SPANS
    parts, problems = split(message_fields, large + small + b"\x0a\x05ab")
    assert parts == {"byte 2003": small}
    assert "passed over" in problems[0]
    assert "cut off" in problems[1]
    with pytest.raises(Unreadable, match="no resource_spans"):
        split(message_fields, small + b"\x12\x00")


def test_a_length_beyond_the_end_is_named() -> None:
    assert "only 3 follow" in split(prefixed_messages, b"\xff\xff\xff\xffabc")[1][0]
    assert "cut off" in split(prefixed_messages, b"\x00\x00")[1][0]
    assert "cut off" in split(delimited_messages, b"\x80")[1][0]


def test_a_request_is_whole_fields_down_to_those_of_its_resource_spans() -> None:
    assert is_request(b"")
    assert is_request(RESOURCE_SPANS * 2)
    assert not is_request(RESOURCE_SPANS[:-1])
    assert not is_request(b"\x0a\x02\x0a\x05")  # a field that reaches beyond what holds it
    assert not is_request(b"\x0a\x02\x08\x01")
    assert not is_request(b"\x12\x00")


LINE = b'{"resourceSpans":[]}'
RECOGNISED = {
    "one line": (LINE, Framing.JSON_LINES),
    "lines": (LINE + b"\n" + LINE, Framing.JSON_LINES),
    "carriage returns, mark": (b"\xef\xbb\xbf" + LINE + b"\r\n" + LINE, Framing.JSON_LINES),
    "an empty first object": (b"{}\n" + LINE, Framing.JSON_LINES),
    "first line cut": (b'{"resourceSpans":[{"a\n' + LINE, Framing.JSON_LINES),
    "begins inside a line": (b'ans":[]}\n' + LINE + b"\n", Framing.JSON_LINES),
    "printed": (b'{\n "resourceSpans": [\n', Framing.JSON_DOCUMENT),
    "printed array": (b"[\n{},\n{}\n]", Framing.JSON_DOCUMENT),
    "printed lists": (b"[\n[\n{}]]", Framing.JSON_DOCUMENT),
    "array over lines": (b'[{"id":1},\n{"id":2}]', Framing.JSON_DOCUMENT),
    "document, an element a line": (b'{"resourceSpans":[\n{"a":1},\n{"b":2}\n]}', Framing.JSON_DOCUMENT),
    "one element on a line": (b'{"resourceSpans":[\n{"a":1}]}', Framing.JSON_DOCUMENT),
    "cut off": (b'{"resourceSpans":[{', Framing.JSON_DOCUMENT),
    "message": (RESOURCE_SPANS, Framing.PROTOBUF_MESSAGE),
    "message like a prefix": (
        b"\x0a\xa2\x9c\x01" + b"\x0a\x9e\x9c\x01\x0a\x9a\x9c\x01" + bytes(19994),
        Framing.PROTOBUF_MESSAGE,
    ),
    "message of 10 bytes": (b"\x0a\x0a\x0a\x08" + b"\x0a\x06" + b"ABCDEF", Framing.PROTOBUF_MESSAGE),
    "delimited": (b"\x04" + RESOURCE_SPANS, Framing.PROTOBUF_DELIMITED),
    "delimited, 10 bytes": (b"\x0a\x0a\x08\x0a\x06ABCDEF", Framing.PROTOBUF_DELIMITED),
    "prefixed": (b"\0\0\0\x04" + RESOURCE_SPANS, Framing.LENGTH_PREFIXED),
    "prefixed zstd": (b"\0\0\0\x09\x28\xb5\x2f\xfdabcde", Framing.LENGTH_PREFIXED),
    "prefixed JSON": (b"\0\0\0\x14" + LINE, Framing.LENGTH_PREFIXED),
}


@pytest.mark.parametrize(("head", "framing"), RECOGNISED.values(), ids=RECOGNISED)
def test_recognised(head: bytes, framing: Framing) -> None:
    assert recognise(head, complete=True) is framing


@pytest.mark.parametrize(
    ("head", "look"),
    [
        (b"a,b,c\n1,2,3", "comma-separated"),
        (b"# Notes\n", "plain text"),
        (b"PAR1\0\0", "Parquet"),
        (b"\x1f\x8b\x08\0", "gzip inside another compression"),
        (b"PK\x03\x04", "zip archive"),
        (b"\xff\xfe\0\x01", "binary data"),
        (b"<html>", "XML"),
    ],
)
def test_what_is_unknown_says_what_it_looks_like_and_what_can_be_read(head: bytes, look: str) -> None:
    with pytest.raises(UnknownFormat, match=f"{look}.*Zipkin v2 JSON"):
        recognise(head, complete=True)
