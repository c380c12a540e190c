"""What holds of every tree, note, tile and entry."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.ledger_keys import signer

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.merkle import (
    EMPTY_ROOT,
    InvalidProof,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from verdigris.ledger.note import Algorithm, InvalidNote, Note, VerifierKey, verified
from verdigris.ledger.proof_file import ProofFile
from verdigris.ledger.tiles import InvalidTile, bundle, folded, split_bundle, tile_of, tiles_of

SIZES = st.integers(1, 700)


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(str(n).encode()) for n in range(size)]


def textbook_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word by word."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node_hash(textbook_root(hashes[:k]), textbook_root(hashes[k:]))


class OfList:
    def __init__(self, hashes: list[bytes]) -> None:
        self.hashes = hashes

    def __call__(self, level: int, index: int) -> bytes:
        return folded(self.hashes[index << level : (index + 1) << level])


@given(SIZES)
def test_the_root_is_the_textbooks(size: int) -> None:
    assert root_of(size, OfList(leaves(size))) == textbook_root(leaves(size))
    assert root_of(0, OfList([])) == hashlib.sha256().digest()


@given(st.data(), SIZES)
def test_inclusion_is_shown_and_nothing_else_is(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    of = leaves(size)
    proof, root = inclusion_proof(index, size, OfList(of)), textbook_root(of)
    verify_inclusion(index, size, of[index], proof, root)
    for wrong in (
        (index, size, leaf_hash(b"another"), proof, root),
        (index, size, of[index], proof, leaf_hash(b"another")),
        (index, size, of[index], [*proof, root], root),
        (size, size, of[index], proof, root),
        (-1, size, of[index], proof, root),
    ):
        with pytest.raises(InvalidProof):
            verify_inclusion(*wrong)
    if proof:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        changed = bytearray(proof[at])
        changed[bit // 8] ^= 1 << bit % 8
        for mutated in ([*proof[:at], bytes(changed), *proof[at + 1 :]], proof[:-1], [*proof[:at], proof[at][:31], *proof[at + 1 :]]):
            with pytest.raises(InvalidProof):
                verify_inclusion(index, size, of[index], mutated, root)
        other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index))
        with pytest.raises(InvalidProof):
            verify_inclusion(other, size, of[index], proof, root)


@given(st.data(), SIZES)
def test_consistency_is_shown_and_nothing_else_is(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size))
    of = leaves(size)
    proof = consistency_proof(old, size, OfList(of))
    old_root, root = textbook_root(of[:old]), textbook_root(of)
    verify_consistency(old, size, old_root, root, proof)
    rewritten = [leaf_hash(b"rewritten"), *of[1:]]
    for wrong in (
        (old, size, textbook_root(rewritten[:old]), root, proof),
        (old, size, old_root, textbook_root(rewritten), proof),
        (old, size, textbook_root(rewritten[:old]), root, consistency_proof(old, size, OfList(rewritten))),
        (old, size, old_root, root, [*proof, root]),
        (0, size, EMPTY_ROOT, root, proof),
        (size + 1, size, old_root, root, proof),
    ):
        with pytest.raises(InvalidProof):
            verify_consistency(*wrong)
    if proof:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        changed = bytearray(proof[at])
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidProof):
            verify_consistency(old, size, old_root, root, [*proof[:at], bytes(changed), *proof[at + 1 :]])


@pytest.mark.parametrize(("index", "size"), [(5, 5), (-1, 5), (0, 0)])
def test_there_is_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="there is no entry"):
        inclusion_proof(index, size, OfList([]))
    with pytest.raises(ValueError, match="cannot continue"):
        consistency_proof(size + 1, size, OfList([]))


# -- tiles


@given(st.integers(0, 200_000), st.integers(0, 70_000))
def test_tiles_of_a_tree_are_the_specifications(size: int, more: int) -> None:
    def every(of: int) -> set[tuple[int, int, int]]:
        found, level = set(), 0
        while count := of // 256**level:
            found |= {(level, n, 256) for n in range(count // 256)}
            if count % 256:
                found.add((level, count // 256, count % 256))
            level += 1
        return found

    added = {(t.level, t.index, t.width) for t in tiles_of(size + more, size) if t.level is not None}
    assert added == every(size + more) - every(size)


def test_paths_of_the_specification() -> None:
    paths = [t.path for t in tiles_of(70_000)]
    assert len([p for p in paths if p.startswith("tile/0/") and ".p" not in p]) == 273
    assert [p for p in paths if ".p" in p] == ["tile/0/273.p/112", "tile/entries/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert [t.path for t in tiles_of(256)] == ["tile/0/000", "tile/entries/000", "tile/1/000.p/1"]
    assert tile_of(0, 1234067 * 256, 1234068 * 256)[0].path == "tile/0/x001/x234/067"


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_bundles(entries: list[bytes]) -> None:
    packed = bundle(entries)
    assert split_bundle(packed, len(entries), "it") == entries
    for damaged in (packed + b"\0", packed[:-1], packed + b"\0\0"):
        if damaged != packed:
            with pytest.raises(InvalidTile):
                split_bundle(damaged, len(entries), "it")


def test_an_entry_beyond_two_bytes_of_length_is_refused() -> None:
    bundle([bytes(65_535)])
    with pytest.raises(InvalidTile, match="make what is large evidence"):
        bundle([bytes(65_536)])


# -- notes

NAMES = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20).filter(lambda n: "+" not in n and not n.isspace())
LINES = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), max_size=30)


@given(NAMES, st.lists(LINES, min_size=1, max_size=5), st.integers(0, 2**40))
def test_notes_are_read_as_they_were_written(name: str, lines: list[str], unix_s: int) -> None:
    one, two = signer(1, name), signer(2, name)
    text = "\n".join(lines) + "\n"
    if not text.strip("\n"):
        text = "x" + text
    note = Note(text, (one.sign_note(text), two.cosign(text, unix_s)))
    witness = VerifierKey(name, Algorithm.COSIGNATURE, two.key.public)
    assert Note.parse(str(note).encode()) == note
    assert [(s.key, s.unix_s) for s in verified(note, [one.key, witness])] == [(one.key, None), (witness, unix_s)]
    assert VerifierKey.parse(str(witness)) == witness


@given(st.data())
def test_a_flipped_bit_of_a_checkpoint_is_refused_or_not_believed(data: st.DataObject) -> None:
    one = signer()
    text = Checkpoint("guard.test/log", 7, leaf_hash(b"root")).text()
    note = str(Note(text, (one.sign_note(text),))).encode()
    at, bit = data.draw(st.integers(0, len(note) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(note)
    changed[at] ^= 1 << bit
    with pytest.raises(InvalidNote):
        verified(Note.parse(bytes(changed)), [one.key])


@given(st.one_of(st.binary(max_size=400), st.text(max_size=400).map(str.encode)))
def test_no_bytes_break_the_readers(content: bytes) -> None:
    for read in (
        Note.parse,
        ProofFile.parse,
        lambda b: Checkpoint.parse(b.decode(errors="replace")),
        lambda b: VerifierKey.parse(b.decode(errors="replace")),
    ):
        try:
            read(content)
        except InvalidNote:
            continue


@given(st.integers(0, 2**62), st.lists(st.binary(min_size=32, max_size=32), max_size=63), st.one_of(st.none(), st.binary(max_size=50)))
def test_proof_files_are_read_as_they_were_written(index: int, hashes: list[bytes], extra: bytes | None) -> None:
    text = Checkpoint("guard.test/log", index + 1, leaf_hash(b"root")).text()
    file = ProofFile(index, tuple(hashes), Note(text, (signer().sign_note(text),)), extra)
    assert ProofFile.parse(str(file).encode()) == file


def test_checkpoints_have_one_form() -> None:
    root = base64.b64encode(leaf_hash(b"")).decode()
    assert Checkpoint.parse(f"o\n0\n{root}\n").size == 0
    for wrong in (
        f"o\n00\n{root}\n",
        f"o\n-1\n{root}\n",
        f"\n1\n{root}\n",
        f"o\n1\n{root}\nmore\n",
        f"o\n1\n{root}",
        f"o\n1\n{root[:-4]}\n",
        f"o\n{10**19}\n{root}\n",
    ):
        with pytest.raises(InvalidNote):
            Checkpoint.parse(wrong)
