"""What a witness answers: every rule of c2sp.org/tlog-witness, and the form of requests."""

import base64
from dataclasses import replace
from http import HTTPStatus
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.ledger_keys import signer

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.merkle import EMPTY_ROOT, SIZE_MAX, consistency_proof, leaf_hash, node_hash, root_of
from verdigris.ledger.note import Algorithm, InvalidNote, Note, Signature, VerifierKey, verified
from verdigris.ledger.witness import (
    PROOF_LINES_MAX,
    REQUEST_BYTES_MAX,
    Accepted,
    AddCheckpoint,
    Refused,
    Suspicion,
    answer_to,
    head_of,
    logs_of,
)

ORIGIN = "guard.test/log"
LOG = signer(1, ORIGIN)
STRANGER = signer(2, "stranger.test/log")
TRUSTED = {ORIGIN: (LOG.key,)}
SIZES = range(10)


class Tree:
    """A log's tree of `size` leaves; trees of one seed continue each other."""

    def __init__(self, size: int, seed: str = "log") -> None:
        self.size = size
        self._leaves = [leaf_hash(f"{seed} {n}".encode()) for n in range(size)]

    def hash_at(self, level: int, index: int) -> bytes:
        if level == 0:
            return self._leaves[index]
        return node_hash(self.hash_at(level - 1, 2 * index), self.hash_at(level - 1, 2 * index + 1))

    @property
    def head(self) -> Checkpoint:
        return Checkpoint(ORIGIN, self.size, root_of(self.size, self.hash_at))

    def proof(self, old_size: int) -> tuple[bytes, ...]:
        return tuple(consistency_proof(old_size, self.size, self.hash_at))


def signed(head: Checkpoint, *signatures: Signature, extension: str = "") -> Note:
    text = head.text() + extension
    return Note(text, signatures or (LOG.sign_note(text),))


def request(old_size: int, tree: Tree) -> AddCheckpoint:
    """As an honest log makes it."""
    return AddCheckpoint(old_size, tree.proof(old_size), signed(tree.head))


def refused(request: AddCheckpoint, last: Tree | None, status: HTTPStatus, size: int | None = None) -> Refused:
    answer = answer_to(request, TRUSTED, None if last is None else last.head)
    assert isinstance(answer, Refused), answer
    assert (answer.status, answer.size) == (status, size)
    assert answer.why
    return answer


# -- the rules --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_the_first_checkpoint_of_any_size_is_accepted_without_proof(size: int) -> None:
    assert answer_to(request(0, Tree(size)), TRUSTED, None) == Accepted(signed(Tree(size).head))


@pytest.mark.parametrize("old_size", SIZES)
@pytest.mark.parametrize("grown", SIZES)
def test_every_growth_that_is_proven_is_accepted(old_size: int, grown: int) -> None:
    tree = Tree(old_size + grown)
    assert answer_to(request(old_size, tree), TRUSTED, Tree(old_size).head) == Accepted(signed(tree.head))


def test_an_unknown_origin_is_404_whatever_else_is_wrong() -> None:
    head = replace(Tree(3).head, origin="stranger.test/log")
    for note in (signed(head), signed(head, STRANGER.sign_note(head.text()))):
        refused(AddCheckpoint(9, (bytes(32),), note), None, HTTPStatus.NOT_FOUND)
    assert answer_to(request(0, Tree(3)), {ORIGIN: ()}, None) == Refused(
        HTTPStatus.NOT_FOUND, "this witness does not know the log with this origin"
    )


def test_a_checkpoint_that_no_trusted_key_signed_is_403_whatever_else_is_wrong() -> None:
    text = Tree(3).head.text()
    other_key = signer(2, ORIGIN).sign_note(text)
    forged = replace(LOG.sign_note(text), bytes=bytes(64))
    of_another = LOG.sign_note(Tree(4).head.text())
    cosignature = LOG.cosign(text, 1)
    for signature in (other_key, STRANGER.sign_note(text), forged, of_another, cosignature):
        for old_size in (0, 9):
            answer = refused(AddCheckpoint(old_size, (), Note(text, (signature,))), None, HTTPStatus.FORBIDDEN)
            assert answer.suspicion is None


def test_signatures_of_others_are_ignored_and_dropped() -> None:
    text = Tree(3).head.text()
    mine = LOG.sign_note(text)
    junk = Signature(ORIGIN, b"abcd", b"junk of an unknown key")
    note = Note(text, (STRANGER.sign_note(text), junk, mine, mine))
    assert answer_to(AddCheckpoint(0, (), note), TRUSTED, None) == Accepted(Note(text, (mine,)))


def test_any_of_several_keys_of_a_log_will_do() -> None:
    new = signer(3, ORIGIN)
    trusted = logs_of([LOG.key, new.key])
    assert trusted == {ORIGIN: (LOG.key, new.key)}
    text = Tree(3).head.text()
    both = (LOG.sign_note(text), new.sign_note(text))
    for signatures in (both[:1], both[1:], both):
        assert answer_to(AddCheckpoint(0, (), Note(text, signatures)), trusted, None) == Accepted(Note(text, signatures))


def test_the_key_of_a_witness_is_no_logs() -> None:
    with pytest.raises(InvalidNote, match="is the key of a witness"):
        logs_of([LOG.key, VerifierKey(ORIGIN, Algorithm.COSIGNATURE, LOG.key.public)])


def test_an_old_size_beyond_the_checkpoints_is_400_before_it_is_compared() -> None:
    for last in (None, Tree(2), Tree(5), Tree(7)):
        refused(AddCheckpoint(4, (), signed(Tree(3).head)), last, HTTPStatus.BAD_REQUEST)


@pytest.mark.parametrize("size", [0, 1, 4, 9])
def test_another_old_size_than_the_last_is_409_with_that_one(size: int) -> None:
    for old_size in range(10):
        if old_size != size:
            assert refused(request(old_size, Tree(9)), Tree(size), HTTPStatus.CONFLICT, size).suspicion is None


def test_without_a_last_one_the_old_size_is_0() -> None:
    refused(request(1, Tree(9)), None, HTTPStatus.CONFLICT, 0)


def test_an_older_checkpoint_is_409_and_no_misdeed() -> None:
    assert refused(request(3, Tree(4)), Tree(9), HTTPStatus.CONFLICT, 9).suspicion is None


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_the_same_size_with_another_root_is_409_and_a_fork(size: int) -> None:
    for old_size, proof in ((size, ()), (size, (bytes(32),)), (0, ())):
        fork = AddCheckpoint(old_size, proof, signed(Tree(size, "fork").head))
        assert refused(fork, Tree(size), HTTPStatus.CONFLICT, size).suspicion is Suspicion.FORKED
    beyond = AddCheckpoint(size + 1, (), signed(Tree(size, "fork").head))
    assert refused(beyond, Tree(size), HTTPStatus.BAD_REQUEST).suspicion is Suspicion.FORKED


def test_an_empty_log_has_one_root() -> None:
    assert Tree(0).head.root == EMPTY_ROOT
    fork = AddCheckpoint(0, (), signed(Checkpoint(ORIGIN, 0, bytes(32))))
    for last in (None, Tree(0)):
        assert refused(fork, last, HTTPStatus.CONFLICT, 0).suspicion is Suspicion.FORKED


def test_the_same_checkpoint_is_cosigned_again() -> None:
    assert answer_to(request(5, Tree(5)), TRUSTED, Tree(5).head) == Accepted(signed(Tree(5).head))


@pytest.mark.parametrize("old_size", [1, 3, 4, 6])
def test_a_checkpoint_that_does_not_continue_the_last_is_422_and_suspicious(old_size: int) -> None:
    fork, tree = Tree(8, "fork"), Tree(8)
    for proof, head in ((fork.proof(old_size), fork.head), (tree.proof(old_size), fork.head), (fork.proof(old_size), tree.head)):
        answer = refused(AddCheckpoint(old_size, proof, signed(head)), Tree(old_size), HTTPStatus.UNPROCESSABLE_ENTITY)
        assert answer.suspicion is Suspicion.UNPROVEN


@pytest.mark.parametrize("old_size", [1, 2, 3, 4, 6, 7])
def test_every_wrong_proof_is_422(old_size: int) -> None:
    right = request(old_size, Tree(8))
    proof = right.proof
    wrong = [(), proof[1:], proof[:-1], (*proof, bytes(32)), (bytes(32), *proof), proof[::-1]]
    wrong += [(*proof[:n], bytes([proof[n][0] ^ 1]) + proof[n][1:], *proof[n + 1 :]) for n in range(len(proof))]
    for one in wrong:
        if one != proof:
            refused(replace(right, proof=one), Tree(old_size), HTTPStatus.UNPROCESSABLE_ENTITY)


@pytest.mark.parametrize(("old_size", "size"), [(0, 5), (0, 0), (5, 5)])
def test_a_proof_where_none_is_due_is_422(old_size: int, size: int) -> None:
    answer = refused(AddCheckpoint(old_size, (bytes(32),), signed(Tree(size).head)), Tree(old_size), HTTPStatus.UNPROCESSABLE_ENTITY)
    assert answer.suspicion is None


def test_extension_lines_are_kept_and_mean_nothing() -> None:
    tree = Tree(5)
    note = signed(tree.head, extension="1700000000\nanything at all\n")
    assert head_of(note.text) == tree.head
    answer = answer_to(AddCheckpoint(3, tree.proof(3), note), TRUSTED, Tree(3).head)
    assert answer == Accepted(note)
    assert isinstance(answer, Accepted)
    verified(answer.checkpoint, [LOG.key])


@pytest.mark.parametrize("extension", ["\n", "one\n\n", "one\n\ntwo\n", "no end"])
def test_no_line_of_a_checkpoint_is_empty(extension: str) -> None:
    with pytest.raises(InvalidNote, match="no empty lines"):
        head_of(Tree(5).head.text() + extension)
    with pytest.raises(InvalidNote):
        AddCheckpoint.parse(str(AddCheckpoint(0, (), signed(Tree(5).head, extension=extension))).encode())


def test_the_last_checkpoint_of_another_log_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="is another log"):
        answer_to(request(0, Tree(3)), TRUSTED, replace(Tree(3).head, origin="stranger.test/log"))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.data())
@settings(max_examples=50, deadline=None)
def test_what_is_accepted_one_after_another_is_one_log(sizes: list[int], data: st.DataObject) -> None:
    """Two histories are offered in any order with their own proofs; what is accepted never shrinks and never changes sides."""
    last: Checkpoint | None = None
    accepted: list[tuple[str, int]] = []
    for size in sizes:
        seed = data.draw(st.sampled_from(["log", "fork"]))
        tree = Tree(size, seed)
        old_size = data.draw(st.sampled_from([0, size, 0 if last is None else last.size]))
        proof = tree.proof(old_size) if old_size <= size else ()
        answer = answer_to(AddCheckpoint(old_size, proof, signed(tree.head)), TRUSTED, last)
        if isinstance(answer, Accepted):
            last = head_of(answer.checkpoint.text)
            accepted.append((seed, size))
    assert all(one[1] <= other[1] for one, other in pairwise(accepted))
    assert len({seed for seed, size in accepted if size}) <= 1


# -- the form ---------------------------------------------------------------------------------------------------------------------

BODY = str(request(5, Tree(9))).encode()


def test_a_request_reads_as_the_specification_has_it() -> None:
    tree = Tree(2)
    assert str(request(1, tree)).split("\n") == [
        "old 1",
        base64.b64encode(tree.proof(1)[0]).decode(),
        "",
        ORIGIN,
        "2",
        base64.b64encode(tree.head.root).decode(),
        "",
        LOG.sign_note(tree.head.text()).line()[:-1],
        "",
    ]


names = st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="+"), min_size=1, max_size=20)
signatures = st.builds(Signature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))
hashes = st.binary(min_size=32, max_size=32)
lines = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=20)


@given(
    st.integers(0, SIZE_MAX),
    st.lists(hashes, max_size=PROOF_LINES_MAX),
    st.builds(Checkpoint, lines, st.integers(0, SIZE_MAX), hashes),
    st.lists(lines, max_size=3),
    st.lists(signatures, min_size=1, max_size=5),
)
def test_what_is_printed_is_parsed(
    old_size: int, proof: list[bytes], head: Checkpoint, extension: list[str], signed_by: list[Signature]
) -> None:
    text = head.text() + "".join(f"{line}\n" for line in extension)
    whole = AddCheckpoint(old_size, tuple(proof), Note(text, tuple(signed_by)))
    parsed = AddCheckpoint.parse(str(whole).encode())
    assert parsed == whole
    assert parsed.head == head


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (b"old 5\n", b"", "not a request"),
        (b"old 5\n", b"old 05\n", "not a request"),
        (b"old 5\n", b"old -5\n", "not a request"),
        (b"old 5\n", b"old +5\n", "not a request"),
        (b"old 5\n", b"old  5\n", "not a request"),
        (b"old 5\n", b"old 5 \n", "not a request"),
        (b"old 5\n", b"old 5\r\n", "not a request"),
        (b"old 5\n", b"old\n", "not a request"),
        (b"old 5\n", b"old \n", "not a request"),
        (b"old 5\n", b"Old 5\n", "not a request"),
        (b"old 5\n", b"old 5\n\n", "not a signed note|no empty lines|not a checkpoint"),
        (b"old 5\n", b"\nold 5\n", "not a request"),
        (b"old 5\n", b"old 9223372036854775808\n", "not a request"),
        (b"old 5\n", b"old 99999999999999999999\n", "not a request"),
        (b"old 5\n", "old \u0665\n".encode(), "ASCII"),
        (b"old 5\n", b"old 5\nAAAA\n", "not a hash of 32 bytes"),
        (b"old 5\n", b"old 5\n" + b"A" * 43 + b"\n", "not a hash"),
        (b"old 5\n", b"old 5\n" + b"A" * 42 + b"B=\n", "not a hash of 32 bytes"),
        (b"old 5\n", b"old 5\n" + b"A" * 43 + b"= \n", "not a hash"),
        (b"old 5\n", b"old 5\n" + base64.b64encode(bytes(33)) + b"\n", "not a hash of 32 bytes"),
        (b"old 5\n", b"old 5\n" + (base64.b64encode(bytes(32)) + b"\n") * 61, "at most 63"),
        (b"\n\n", b"\n", "not a request|ASCII|not a hash"),
        (b"\n9\n", b"\n09\n", "not a checkpoint"),
        (b"\n9\n", b"\n9 \n", "not a checkpoint"),
        (b"\n9\n", b"\n99999999999999999999\n", "not a checkpoint"),
        (b"\n9\n", b"\n9\n\n", "not a checkpoint|no empty lines"),
        (b"\nguard.test/log\n9", b"\n\n9", "no empty lines|not a checkpoint"),
        ("— ".encode(), b"- ", "not a signature line"),
    ],
)  # fmt: skip
def test_anything_else_is_no_request(before: bytes, after: bytes, why: str) -> None:
    assert AddCheckpoint.parse(BODY) == request(5, Tree(9))
    assert before in BODY
    with pytest.raises(InvalidNote, match=why):
        AddCheckpoint.parse(BODY.replace(before, after, 1))


def test_63_hashes_are_taken_and_64_are_not() -> None:
    whole = AddCheckpoint(5, (bytes(32),) * PROOF_LINES_MAX, signed(Tree(9).head))
    assert AddCheckpoint.parse(str(whole).encode()) == whole
    with pytest.raises(InvalidNote, match="at most 63"):
        AddCheckpoint.parse(str(replace(whole, proof=(bytes(32),) * 64)).encode())


def test_a_request_has_a_bound_in_bytes() -> None:
    text = Tree(9).head.text()
    for missing in (0, 1):
        whole = AddCheckpoint(5, (), signed(Tree(9).head, extension=""))
        room = REQUEST_BYTES_MAX - len(str(whole).encode()) - 1 + missing
        note = Note(text + "x" * room + "\n", whole.checkpoint.signatures)
        body = str(replace(whole, checkpoint=note)).encode()
        assert len(body) == REQUEST_BYTES_MAX + missing
        if missing:
            with pytest.raises(InvalidNote, match="may have"):
                AddCheckpoint.parse(body)
        else:
            assert AddCheckpoint.parse(body).checkpoint == note


def test_every_beginning_of_a_request_is_none() -> None:
    for end in range(len(BODY)):
        with pytest.raises(InvalidNote):
            AddCheckpoint.parse(BODY[:end])


def bodies() -> st.SearchStrategy[bytes]:
    """Anything, and requests in which something was changed."""
    piece = st.one_of(st.binary(max_size=8), st.sampled_from([b"\n", b"\n\n", b"old ", b"0", "— ".encode(), b"=", b"\xff", b" "]))
    changed = st.builds(lambda at, length, new: BODY[:at] + new + BODY[at + length :], st.integers(0, len(BODY)), st.integers(0, 60), piece)
    return st.one_of(st.binary(max_size=200), changed, st.lists(piece, max_size=20).map(b"".join))


@given(bodies())
@settings(max_examples=400, deadline=None)
def test_any_body_is_a_request_or_refused(body: bytes) -> None:
    try:
        parsed = AddCheckpoint.parse(body)
    except InvalidNote:
        return
    assert str(parsed).encode() == body
    for last in (None, Tree(5).head):
        if last is not None and parsed.head.origin != ORIGIN:
            continue
        answer = answer_to(parsed, TRUSTED, last)
        # A change of what is signed is never accepted; others (the old size, the proof, lines of others) may be.
        assert isinstance(answer, Refused) or answer.checkpoint == signed(Tree(9).head)
