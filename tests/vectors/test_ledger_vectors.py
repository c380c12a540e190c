"""Vectors by others: Merkle proofs (transparency-dev/merkle), a log in tiles (transparency-dev/tessera), a signed note (C2SP), RFC 8785.

They lie beside the project and are read from there; without them these tests are skipped.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from tests.unit.ledger_keys import private_key

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.log import Hashes, Log, read_entries
from verdigris.ledger.merkle import (
    InvalidProof,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from verdigris.ledger.note import InvalidNote, Note, VerifierKey, verified
from verdigris.ledger.signing import KeySigner
from verdigris.ledger.storage import LogFolder

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="the vectors by others are not beside the project (../shared/vectors)")

TESSERA = VerifierKey.parse("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")
SPECIFICATION = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
SPECIFIED = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
SIZES = range(16)


def proofs(kind: str) -> list[Any]:
    folder = VECTORS / "merkle-proofs" / kind
    return [pytest.param(file, id=str(file.relative_to(folder))) for file in sorted(folder.rglob("*.json"))]


def decoded(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.parametrize("file", proofs("inclusion"))
def test_inclusion(file: Path) -> None:
    case = json.loads(file.read_text())
    proof = [decoded(one) for one in case["proof"] or []]
    arguments = (case["leafIdx"], case["treeSize"], decoded(case["leafHash"]), proof, decoded(case["root"]))
    if case["wantErr"]:
        with pytest.raises(InvalidProof):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("file", proofs("consistency"))
def test_consistency(file: Path) -> None:
    case = json.loads(file.read_text())
    proof = [decoded(one) for one in case["proof"] or []]
    arguments = (case["size1"], case["size2"], decoded(case["root1"]), decoded(case["root2"]), proof)
    if case["wantErr"]:
        with pytest.raises(InvalidProof):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


def head(size: int) -> Checkpoint:
    note = Note.parse((VECTORS / "tlog-tiles" / "log" / f"checkpoint.{size}").read_bytes())
    assert str(note).encode() == (VECTORS / "tlog-tiles" / "log" / f"checkpoint.{size}").read_bytes()
    assert [one.key for one in verified(note, [TESSERA])] == [TESSERA]
    return Checkpoint.parse(note.text)


class ReadOnly(LogFolder):
    """A log of others: nothing is made in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


THEIRS = ReadOnly(VECTORS / "tlog-tiles" / "log")


@pytest.mark.parametrize("size", SIZES)
def test_the_log_of_others_gives_its_signed_roots(size: int) -> None:
    checkpoint = head(size)
    assert checkpoint.size == size
    assert root_of(size, Hashes(THEIRS, size)) == checkpoint.root
    leaves = [leaf_hash(entry) for entry in read_entries(THEIRS, size, 0, size)]
    for index, leaf in enumerate(leaves):
        verify_inclusion(index, size, leaf, inclusion_proof(index, size, Hashes(THEIRS, size)), checkpoint.root)
    for old in range(1, size + 1):
        verify_consistency(old, size, head(old).root, checkpoint.root, consistency_proof(old, size, Hashes(THEIRS, size)))


def test_our_log_of_the_same_entries_has_the_same_files(tmp_path: Path) -> None:
    entries = list(read_entries(THEIRS, 15, 0, 15))
    log = Log(LogFolder(tmp_path), "example.com/log/testdata", KeySigner("example.com/log/testdata", private_key(1)))
    for size, entry in enumerate(entries, 1):
        log.append([entry])
        assert log.head.text == head(size).text()
    for theirs in (VECTORS / "tlog-tiles" / "log" / "tile").rglob("*"):
        if theirs.is_file():
            assert (tmp_path / theirs.relative_to(THEIRS.folder)).read_bytes() == theirs.read_bytes(), theirs


def test_the_note_of_the_specification() -> None:
    note = Note.parse(SPECIFIED.encode())
    assert str(note) == SPECIFIED
    assert [one.key for one in verified(note, [SPECIFICATION])] == [SPECIFICATION]
    with pytest.raises(InvalidNote, match="no trusted key"):
        verified(note, [TESSERA])
    with pytest.raises(InvalidNote, match="is wrong"):
        verified(Note.parse(SPECIFIED.replace("example message", "exemplary message").encode()), [SPECIFICATION])


@pytest.mark.parametrize("name", sorted(f.name for f in (VECTORS / "jcs" / "input").glob("*.json")))
def test_canonical_json(name: str) -> None:
    assert rfc8785.dumps(json.loads((VECTORS / "jcs" / "input" / name).read_bytes())) == (VECTORS / "jcs" / "output" / name).read_bytes()
