"""Unpacking: by content, across members, bounded, and with every damage reported."""

import gzip
import lzma
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
import zstandard

from verdigris.telemetry.sources.unpack import unpack

CONTENT = b'{"resourceSpans":[]}\n' * 2000
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
each_packer = pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)


def unpacked(packed: bytes, piece_bytes: int = 1000) -> tuple[bytes, list[str]]:
    problems: list[str] = []
    pieces = (packed[start : start + piece_bytes] for start in range(0, len(packed), piece_bytes))
    return b"".join(unpack(pieces, lambda where, what: problems.append(f"{where}: {what}"))), problems


@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 20])
@each_packer
def test_members_one_after_the_other_are_one_content(pack: Callable[[bytes], bytes], piece_bytes: int) -> None:
    assert unpacked(pack(CONTENT) + pack(b"") + pack(b"end"), piece_bytes) == (CONTENT + b"end", [])


def test_what_is_not_packed_passes_unchanged() -> None:
    assert unpacked(CONTENT) == (CONTENT, [])
    assert unpacked(b"") == (b"", [])
    assert unpacked(b"\x1f") == (b"\x1f", [])


@each_packer
def test_a_cut_off_file_gives_what_it_has_and_says_so(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(CONTENT + bytes(range(256)) * 64)
    content, problems = unpacked(packed[:-20])
    assert (CONTENT + bytes(range(256)) * 64).startswith(content)
    assert len(problems) == 1
    assert "cut off" in problems[0]


@each_packer
def test_damage_ends_the_content_and_is_reported_once(pack: Callable[[bytes], bytes]) -> None:
    packed = bytearray(pack(CONTENT))
    packed[len(packed) // 2] ^= 0xFF
    packed[-3] ^= 0xFF
    _, problems = unpacked(bytes(packed))
    assert len(problems) == 1
    assert "damaged" in problems[0] or "cut off" in problems[0]


@each_packer
def test_what_follows_the_packed_data_is_reported_not_passed_on(pack: Callable[[bytes], bytes]) -> None:
    content, problems = unpacked(pack(CONTENT) + b"something else")
    assert content == CONTENT
    assert len(problems) == 1
    assert "not read" in problems[0]


@pytest.mark.parametrize("piece_bytes", [5, 1 << 20])
@pytest.mark.parametrize("name", ["gzip", "xz"])
def test_zero_padding_is_no_problem(name: str, piece_bytes: int) -> None:
    pack = PACKERS[name]
    assert unpacked(pack(CONTENT) + bytes(8) + pack(b"end") + bytes(512), piece_bytes) == (CONTENT + b"end", [])


def test_a_skippable_zstd_frame_is_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    assert unpacked(skippable + PACKERS["zstd"](CONTENT)) == (CONTENT, [])


@each_packer
def test_a_bomb_unpacks_in_bounded_memory(pack: Callable[[bytes], bytes]) -> None:
    bomb_bytes = 96 << 20
    packed = pack(bytes(bomb_bytes))

    def pieces() -> Iterator[bytes]:
        yield packed

    tracemalloc.start()
    try:
        seen = sum(len(piece) for piece in unpack(pieces(), lambda *_: None))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == bomb_bytes
    assert peak_bytes < 40 << 20
