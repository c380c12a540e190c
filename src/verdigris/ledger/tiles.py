"""C2SP tlog-tiles: how a log's hashes and entries lie in files that any web server can serve. Pure.

A tile has up to 256 hashes of one level; a bundle up to 256 entries. Source: c2sp.org/tlog-tiles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from verdigris.ledger.errors import LedgerError
from verdigris.ledger.merkle import HASH_BYTES, node_hash

TILE_WIDTH = 256
TILE_HEIGHT = 8
LEVEL_MAX = 63
ENTRY_BYTES_MAX = 2**16 - 1
"""An entry's length is written in two bytes. What is larger becomes evidence, and the entry names its digest."""

_LENGTH_BYTES = 2


class InvalidTile(LedgerError):
    """A file of the log is not what the tile layout says. Safe: nothing of it was believed."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One file. `level` is None for a bundle of entries; `width` is 1 … 256, below 256 for a partial one."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Relative to the log, with slashes."""
        level = "entries" if self.level is None else str(self.level)
        return f"tile/{level}/{_index_path(self.index)}" + (f".p/{self.width}" if self.width < TILE_WIDTH else "")

    @property
    def full(self) -> "Tile":
        """The same tile once it is full."""
        return Tile(self.level, self.index)


def _index_path(index: int) -> str:
    parts = [f"{index % 1000:03}"]
    while index := index // 1000:
        parts.insert(0, f"x{index % 1000:03}")
    return "/".join(parts)


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """The tiles and bundles that a tree of `size` has and one of `since` had not, full ones and the partial one of each level."""
    for level in range(LEVEL_MAX // TILE_HEIGHT + 1):
        now, before = size >> (TILE_HEIGHT * level), since >> (TILE_HEIGHT * level)
        if not now:
            return
        if now == before:
            continue
        for of in (level, None) if level == 0 else (level,):
            for index in range(before // TILE_WIDTH, -(-now // TILE_WIDTH)):
                yield Tile(of, index, min(TILE_WIDTH, now - index * TILE_WIDTH))


def tile_of(level: int, index: int, size: int) -> tuple[Tile, int, int]:
    """Where the hash of the perfect subtree (level, index) comes from in a tree of `size`: a tile, and which of its hashes, from … to."""
    tile_level, height = divmod(level, TILE_HEIGHT)
    first = index << height
    at = first // TILE_WIDTH
    width = min(TILE_WIDTH, (size >> (TILE_HEIGHT * tile_level)) - at * TILE_WIDTH)
    begin = first - at * TILE_WIDTH
    return Tile(tile_level, at, width), begin, begin + (1 << height)


def folded(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def split_tile(tile: Tile, content: bytes) -> list[bytes]:
    """The hashes of a tile. Raises: InvalidTile."""
    if len(content) != tile.width * HASH_BYTES:
        msg = f"{tile.path} has {len(content)} bytes where {tile.width} hashes have {tile.width * HASH_BYTES}"
        raise InvalidTile(msg)
    return [content[i : i + HASH_BYTES] for i in range(0, len(content), HASH_BYTES)]


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as a bundle has them. Raises: InvalidTile: one is too large."""
    largest = max((len(entry) for entry in entries), default=0)
    if largest > ENTRY_BYTES_MAX:
        msg = f"an entry of {largest} bytes does not fit into the log ({ENTRY_BYTES_MAX} at most); make what is large evidence"
        raise InvalidTile(msg)
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def split_bundle(content: bytes, count: int, path: str) -> list[bytes]:
    """The entries of a bundle. Raises: InvalidTile: they are not `count`, or something is left over."""
    entries, at = [], 0
    while at < len(content):
        length = int.from_bytes(content[at : at + _LENGTH_BYTES], "big")
        at += _LENGTH_BYTES
        entries.append(content[at : at + length])
        at += length
    if len(entries) != count or at != len(content):
        msg = f"{path} does not hold {count} whole entries"
        raise InvalidTile(msg)
    return entries
