"""Appends entries to a log, in one linear sequence; opening walks the same path.

    1. stage      the entries, durable                        a crash here: nothing happened
    2. commit     link them to the size they follow           from here on they are in the log, whatever happens; one writer wins
    3. publish    bundles and tiles that follow from them     a crash from here on: opening publishes again, to the same bytes
    4. sign       the checkpoint, and replace the old one     readers see the entries from here on
    5. forget     commits whose entries are in full bundles, and what was partial of these   durable twice until here

Nobody signs a head that was not committed first, so two writers cannot sign two histories.
"""

import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.errors import LedgerError
from verdigris.ledger.merkle import consistency_proof, inclusion_proof, leaf_hash, root_of
from verdigris.ledger.note import InvalidNote, Note, VerifierKey, verified
from verdigris.ledger.proof_file import ProofFile
from verdigris.ledger.signing import Signer
from verdigris.ledger.storage import HeadMoved, Storage
from verdigris.ledger.tiles import TILE_WIDTH, InvalidTile, Tile, bundle, folded, split_bundle, split_tile, tile_of, tiles_of

log = logging.getLogger("verdigris.ledger")

OTHERS_MAX = 100
"""How often an append is tried again because others appended meanwhile."""


class LedgerDamaged(LedgerError):
    """The log's files contradict its signed checkpoint, or each other. Safe: nothing was appended, and nothing moves except toward the
    baseline. Keep the files as they are, run `verdigris audit verify`, and begin a new log.
    """


@dataclass(slots=True)
class _Edge:
    """The log's right edge: what an append needs, in a size that grows with the logarithm of the log's.

    `hashes[l]`: the hashes of the partial tile of level l; `entries`: those of the partial bundle.
    """

    size: int = 0
    hashes: list[list[bytes]] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)


class Log:
    """One log. Its methods may be called from any thread; appends of several threads share a commit."""

    def __init__(self, storage: Storage, origin: str, signer: Signer, trusted: Sequence[VerifierKey] = ()) -> None:
        """Open it, or begin it, and publish what a crash left committed. `trusted`: keys that signed its checkpoints before this one.

        Raises: LedgerUnavailable, LedgerDamaged, SignerFailed.
        """
        self.storage, self.origin, self.signer = storage, origin, signer
        self._trusted = (*trusted, signer.key)
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._joining = threading.Lock()
        self._edge, self._certain = _Edge(), False
        self._head = Note("", ())
        with self._lock:
            self._refresh()

    @property
    def head(self) -> Note:
        """The last checkpoint that this writer has seen or signed."""
        return self._head

    @property
    def size(self) -> int:
        """How many entries it has."""
        return Checkpoint.parse(self._head.text).size

    def append(self, entries: Sequence[bytes]) -> int:
        """Append entries together. Returns the index of the first; they are durable and in the tree.

        Raises: InvalidTile: one is too large. LedgerUnavailable, SignerFailed: it cannot be told whether they are in; reading tells.
        """
        bundle(entries)  # too large is an error of whom it belongs to, not of everyone who shares the commit
        mine = _Waiting(list(entries))
        with self._joining:
            self._waiting.append(mine)
        with self._lock:
            if mine.index is None and mine.failed is None:
                self._append_all()
        if mine.failed is not None:
            raise mine.failed
        assert mine.index is not None  # noqa: S101  # one of both was set
        return mine.index

    def refresh(self) -> None:
        """Take in what others have appended. Raises: LedgerUnavailable, LedgerDamaged, SignerFailed."""
        with self._lock:
            others = self.storage.head() != str(self._head).encode() or any(s >= self._edge.size for s in self.storage.commits()[-1:])
            if others or not self._certain:
                self._refresh()

    def _append_all(self) -> None:
        """Append what all threads wait for: whoever has the lock does it for the others."""
        with self._joining:
            together, self._waiting = self._waiting, []
        try:
            start = self._commit([entry for one in together for entry in one.entries])
        except Exception as error:  # noqa: BLE001  # each of them is told
            for one in together:
                one.failed = error
            return
        for one in together:
            one.index, start = start, start + len(one.entries)

    def _commit(self, entries: list[bytes]) -> int:
        for _ in range(OTHERS_MAX):
            if not self._certain:
                self._refresh()
            self._certain = False  # until all that follows is done: what fails in between may have happened
            start = self._edge.size
            try:
                self.storage.commit(start, _commit_content(start, entries))
            except HeadMoved:
                continue
            self._publish(entries)
            self._certain = True
            return start
        msg = f"others appended {OTHERS_MAX} times in between"
        raise HeadMoved(msg)

    # -- opening ----------------------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Take in what the storage has. Where another writer dropped a commit meanwhile, its head is further: begin again."""
        self._certain = False
        for _ in range(OTHERS_MAX):
            with contextlib.suppress(HeadMoved):
                self._take_in()
                self._certain = True
                return
        msg = f"others appended {OTHERS_MAX} times in between"
        raise HeadMoved(msg)

    def _take_in(self) -> None:
        """The signed head, then what was committed and not published."""
        written = self.storage.head()
        if written is None:
            self._edge, unpublished = _Edge(), True
        else:
            unpublished = self._take_head(written)
        for start in self.storage.commits():
            if start < self._edge.size:
                continue
            if start > self._edge.size:
                if self.storage.head() != written:
                    msg = "another writer has published and dropped commits meanwhile"
                    raise HeadMoved(msg)
                msg = f"the log ends at {self._edge.size} entries, and the next commit continues one of {start}: something is missing"
                raise LedgerDamaged(msg)
            self._publish(_committed_entries(start, self.storage.committed(start)))
            unpublished = False
        if unpublished:
            self._sign()

    def _take_head(self, written: bytes) -> bool:
        """Begin at the signed head. Returns whether this writer's key has not signed it. Raises: LedgerDamaged."""
        try:
            head = Note.parse(written)
            signed = verified(head, self._trusted)
            checkpoint = Checkpoint.parse(head.text)
        except InvalidNote as error:
            msg = f"the log's checkpoint cannot be believed: {error}"
            raise LedgerDamaged(msg) from error
        if checkpoint.origin != self.origin:
            msg = f"this is the log of {checkpoint.origin!r}, not of {self.origin!r}"
            raise LedgerDamaged(msg)
        try:
            self._edge = self._edge_of(checkpoint.size)
            right = _root(self._edge) == checkpoint.root
        except InvalidTile:
            right = False
        if not right:
            self._mend(checkpoint)
        self._head = head
        return all(one.key != self.signer.key for one in signed)

    def _edge_of(self, size: int) -> _Edge:
        edge = _Edge(size)
        level = 0
        while count := size >> (8 * level):
            width = count % TILE_WIDTH
            edge.hashes.append(read_tile(self.storage, Tile(level, count // TILE_WIDTH, width)) if width else [])
            level += 1
        width = size % TILE_WIDTH
        edge.entries = read_bundle(self.storage, Tile(None, size // TILE_WIDTH, width)) if width else []
        return edge

    def _mend(self, checkpoint: Checkpoint) -> None:
        """Partial tiles and bundles do not outlive a power cut. Full ones do, and so do the commits of what is in no full one: make the
        edge again from these, and believe it if it gives the root that was signed. Raises: LedgerDamaged.
        """
        full = checkpoint.size - checkpoint.size % TILE_WIDTH
        try:
            edge = _Edge(full)
            level = 0
            while count := full >> (8 * level):
                first = count - count % TILE_WIDTH
                edge.hashes.append(
                    [folded(read_tile(self.storage, Tile(level - 1, index))) for index in range(first, count)] if level else []
                )
                level += 1
            contents = _grown(edge, self._from_commits(full, checkpoint.size))
        except InvalidTile as error:
            msg = f"the log's files do not give its checkpoint of {checkpoint.size} entries: {error}"
            raise LedgerDamaged(msg) from error
        if _root(edge) != checkpoint.root:
            msg = f"the log's files do not give the root that its checkpoint of {checkpoint.size} entries was signed for"
            raise LedgerDamaged(msg)
        log.warning("the ledger's partial files were not as its checkpoint says, and were made again from what was committed")
        for tile, content in contents.items():
            self.storage.write(tile.path, content, durable=False)
        self._edge = edge

    def _from_commits(self, start: int, end: int) -> list[bytes]:
        """The entries `start` … `end - 1`, as commits have them. Raises: LedgerDamaged."""
        found: dict[int, bytes] = {}
        for begin in self.storage.commits():
            found |= dict(enumerate(_committed_entries(begin, self.storage.committed(begin)), begin))
        if any(index not in found for index in range(start, end)):
            msg = f"of the entries {start} … {end - 1} some are neither in a bundle nor in a commit"
            raise LedgerDamaged(msg)
        return [found[index] for index in range(start, end)]

    # -- publishing -------------------------------------------------------------------------------------------------------------

    def _publish(self, entries: Sequence[bytes]) -> None:
        """Write what follows from committed entries, sign the new head, and drop commits that are not needed any more."""
        before = self._edge.size
        contents = _grown(self._edge, entries)
        for tile in tiles_of(self._edge.size, before):
            # What a commit holds can be made again; full tiles must outlive it.
            self.storage.write(tile.path, contents[tile], durable=tile.width == TILE_WIDTH)
        self._sign()
        full = self._edge.size - self._edge.size % TILE_WIDTH
        if full > before - before % TILE_WIDTH:
            *older, _ = self.storage.commits()
            following = [*older[1:], self._edge.size]
            for start, end in zip(older, following, strict=False):
                if end <= full:
                    self.storage.forget(start)
            for tile in contents:
                if tile.width == TILE_WIDTH:  # whoever has an older head reads the beginning of the full one
                    self.storage.drop(f"{tile.path}.p")

    def _sign(self) -> None:
        head = Checkpoint(self.origin, self._edge.size, _root(self._edge)).text()
        self._head = Note(head, (self.signer.sign_note(head),))
        self.storage.advance(self._edge.size, str(self._head).encode())

    # -- reading ----------------------------------------------------------------------------------------------------------------

    def entry(self, index: int) -> bytes:
        """One entry. Raises: ValueError: there is none."""
        return self.entries(index, index + 1)[0]

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` … `end - 1`. Raises: ValueError: there are not so many."""
        return list(read_entries(self.storage, self.size, start, end))

    def proof(self, index: int) -> ProofFile:
        """That an entry is in the log, as of its head. Raises: ValueError: there is no such entry."""
        head = self._head
        size = Checkpoint.parse(head.text).size
        return ProofFile(index, tuple(inclusion_proof(index, size, Hashes(self.storage, size))), head)

    def consistency(self, old_size: int) -> list[bytes]:
        """That the log's head continues an older one. Raises: ValueError."""
        size = self.size
        return consistency_proof(old_size, size, Hashes(self.storage, size))


@dataclass(slots=True, eq=False)
class _Waiting:
    entries: list[bytes]
    index: int | None = None
    failed: Exception | None = None


class Hashes:
    """The hashes of a log's perfect subtrees, from its tiles. Keeps the last tiles that it read."""

    def __init__(self, storage: Storage, size: int) -> None:
        """As of a tree of `size`."""
        self._storage, self._size = storage, size
        self._read: dict[Tile, list[bytes]] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of one. Raises: InvalidTile."""
        tile, begin, end = tile_of(level, index, self._size)
        if tile not in self._read:
            if len(self._read) > 2 * 8:
                self._read.clear()
            self._read[tile] = read_tile(self._storage, tile)
        return folded(self._read[tile][begin:end])


def read_tile(storage: Storage, tile: Tile) -> list[bytes]:
    """The hashes of a tile; a partial one from the full one where that is all there is. Raises: InvalidTile."""
    content = storage.read(tile.path)
    if content is None and tile.width < TILE_WIDTH and (full := storage.read(tile.full.path)) is not None:
        return split_tile(tile.full, full)[: tile.width]
    if content is None:
        msg = f"{tile.path} is missing"
        raise InvalidTile(msg)
    return split_tile(tile, content)


def read_bundle(storage: Storage, tile: Tile) -> list[bytes]:
    """The entries of a bundle, in the same way. Raises: InvalidTile."""
    content = storage.read(tile.path)
    if content is None and tile.width < TILE_WIDTH and (full := storage.read(tile.full.path)) is not None:
        return split_bundle(full, TILE_WIDTH, tile.full.path)[: tile.width]
    if content is None:
        msg = f"{tile.path} is missing"
        raise InvalidTile(msg)
    return split_bundle(content, tile.width, tile.path)


def read_entries(storage: Storage, size: int, start: int, end: int) -> Iterator[bytes]:
    """Entries `start` … `end - 1` of a log of `size`, one bundle at a time. Raises: InvalidTile; ValueError: there are not so many."""
    if not 0 <= start <= end <= size:
        msg = f"the log has {size} entries, not {start} … {end}"
        raise ValueError(msg)
    for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
        first = index * TILE_WIDTH
        entries = read_bundle(storage, Tile(None, index, min(TILE_WIDTH, size - first)))
        yield from entries[max(0, start - first) : end - first]


def _grown(edge: _Edge, entries: Sequence[bytes]) -> dict[Tile, bytes]:
    """Add entries to the edge. Returns the contents of all tiles and bundles that are new or wider."""
    contents: dict[Tile, bytes] = {}
    for entry in entries:
        edge.entries.append(entry)
        edge.size += 1
        if len(edge.entries) == TILE_WIDTH:
            contents[Tile(None, edge.size // TILE_WIDTH - 1)] = bundle(edge.entries)
            edge.entries = []
        _grow_level(edge, 0, leaf_hash(entry), contents)
    for level, hashes in enumerate(edge.hashes):
        if hashes:
            contents[Tile(level, (edge.size >> 8 * level) // TILE_WIDTH, len(hashes))] = b"".join(hashes)
    if edge.entries:
        contents[Tile(None, edge.size // TILE_WIDTH, len(edge.entries))] = bundle(edge.entries)
    return contents


def _grow_level(edge: _Edge, level: int, one: bytes, contents: dict[Tile, bytes]) -> None:
    while True:
        if level == len(edge.hashes):
            edge.hashes.append([])
        edge.hashes[level].append(one)
        if len(edge.hashes[level]) < TILE_WIDTH:
            return
        full, edge.hashes[level] = edge.hashes[level], []
        contents[Tile(level, (edge.size >> 8 * level) // TILE_WIDTH - 1)] = b"".join(full)
        level, one = level + 1, folded(full)


def _root(edge: _Edge) -> bytes:
    def hash_at(level: int, index: int) -> bytes:
        tile, begin, end = tile_of(level, index, edge.size)
        assert tile.level is not None  # noqa: S101  # a tile of hashes
        return folded(edge.hashes[tile.level][begin:end])

    return root_of(edge.size, hash_at)


def _commit_content(start: int, entries: Sequence[bytes]) -> bytes:
    body = bundle(entries)
    head = {"start": start, "count": len(entries), "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(head, sort_keys=True).encode() + b"\n" + body


def _committed_entries(start: int, content: bytes) -> list[bytes]:
    """Raises: LedgerDamaged."""
    head, _, body = content.partition(b"\n")
    try:
        fields = json.loads(head)
        if fields["start"] != start or fields["sha256"] != hashlib.sha256(body).hexdigest():
            msg = f"the commit that follows {start} entries is not what was written"
            raise LedgerDamaged(msg)
        return split_bundle(body, int(fields["count"]), f"the commit that follows {start} entries")
    except (ValueError, KeyError, TypeError, InvalidTile) as error:
        msg = f"the commit that follows {start} entries cannot be read: {error}"
        raise LedgerDamaged(msg) from error
