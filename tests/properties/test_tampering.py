"""Nothing of a log can be changed without being found: every bit of a small one, and many changes of larger ones.

Two attackers. One can write the files and has no key: every change is found from the files alone. The other has the log's key and signs
what he makes: he is found by what the entries say of themselves, or by a head that somebody outside holds.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.audit_logs import ANOTHER, KEY, ORIGIN, OTHER_KEY, ROLLOUT, WITNESS, Memory, cosigned, entry, guard, sealed, told, twelve
from tests.unit.ledger_keys import signer

from verdigris.audit import verify
from verdigris.audit.verify import Report, verify_log_files, verify_tree
from verdigris.ledger.entry_kinds import Kind, Value

CARD_BLOB = b"the card of the guard"
CARD = hashlib.sha256(CARD_BLOB).hexdigest()
CHECKPOINT, TILE, BUNDLE = "checkpoint", "tile/0/000.p/12", "tile/entries/000.p/12"
BYTES = {CHECKPOINT: 176, TILE: 384, BUNDLE: 12_792}
"""All that is read of the small log: 106 816 bits."""

WHOLE_BYTES_STEP = 59
"""Where everything is verified and not only the tree, one bit of every 59th byte is flipped: 227 in all."""


@functools.cache
def small() -> Memory:
    return sealed(twelve(), at_once=5)


@functools.cache
def many(size: int) -> tuple[bytes, ...]:
    """Entries of a log in which rollouts of ten follow each other."""
    entries: list[bytes] = [guard(Kind.GUARD_STARTED, 1)]
    while len(entries) < size:
        number = len(entries)
        entries += told(f"20260501-{number:06}-ab12")
    return tuple(entries[:size])


@functools.cache
def large(size: int) -> Memory:
    return sealed(many(1_000)[:size])


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def with_files(memory: Memory, **changes: bytes | None) -> Memory:
    return Memory({name: content for name, content in {**memory.files, **changes}.items() if content is not None})


def all_of(memory: Memory, **more: object) -> Report:
    return verify_log_files(memory, [KEY], **more)  # type: ignore[arg-type]


def assert_found(report: Report, *sentences: str) -> None:
    assert report.problems
    assert all(problem.where and problem.what and problem.what.isascii() for problem in report.problems)
    for sentence in sentences:
        assert any(sentence in problem.what for problem in report.problems), report.problems


# -- without the key ------------------------------------------------------------------------------------------------------------------


def test_the_small_log_is_whole() -> None:
    memory = small()
    assert all_of(memory).problems == []
    assert {name: len(memory.files[name]) for name in BYTES} == BYTES


@pytest.mark.parametrize("name", BYTES)
def test_every_flipped_bit_of_every_file_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the tree, which is what `verify_log` begins with. The good signature, asked for 100 000 times, is verified once."""
    monkeypatch.setattr(verify.Key, "verifies", functools.cache(verify.Key.verifies))
    memory = small()
    count = 0
    for bit in range(8 * BYTES[name]):
        report = verify_tree(with_files(memory, **{name: flipped(memory.files[name], bit)}), [KEY])
        assert_found(report)
        count += 1
    assert count == 8 * BYTES[name]


@pytest.mark.parametrize("name", BYTES)
def test_flipped_bits_are_found_by_the_whole_verification(name: str) -> None:
    memory = small()
    for byte in range(0, BYTES[name], WHOLE_BYTES_STEP):
        assert_found(all_of(with_files(memory, **{name: flipped(memory.files[name], 8 * byte + byte % 8)})))


@pytest.mark.parametrize("name", BYTES)
def test_every_length_that_a_file_can_be_cut_to_is_found(name: str) -> None:
    memory = small()
    for length in range(0, BYTES[name], 1 if BYTES[name] < 1000 else 7):
        assert_found(verify_tree(with_files(memory, **{name: memory.files[name][:length]}), [KEY]))
    assert_found(verify_tree(with_files(memory, **{name: memory.files[name] + b"\0"}), [KEY]))
    assert_found(verify_tree(with_files(memory, **{name: None}), [KEY]), "is missing")


def bundle(entries: Sequence[bytes]) -> bytes:
    return b"".join(len(one).to_bytes(2, "big") + one for one in entries)


def tile(entries: Sequence[bytes]) -> bytes:
    return b"".join(hashlib.sha256(b"\0" + one).digest() for one in entries)


def reordered(entries: Sequence[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Every drop, swap of neighbours, doubling and insertion."""
    of, strange = list(entries), guard(Kind.GUARD_STOPPED, 3)
    for at in range(len(of)):
        yield f"drop {at}", of[:at] + of[at + 1 :]
        yield f"double {at}", [*of[:at], of[at], *of[at:]]
        yield f"put in at {at}", [*of[:at], strange, *of[at:]]
        yield f"put in the place of {at}", [*of[:at], strange, *of[at + 1 :]]
        if at:
            yield f"swap {at}", [*of[: at - 1], of[at], of[at - 1], *of[at + 1 :]]


CHANGES = dict(reordered(twelve()))


@pytest.mark.parametrize("change", CHANGES)
def test_entries_dropped_moved_doubled_and_put_in_without_the_key_are_found(change: str) -> None:
    """Bundle and tile are changed together, and everything under the old checkpoint's names."""
    entries = CHANGES[change]
    assert_found(all_of(with_files(small(), **{BUNDLE: bundle(entries), TILE: tile(entries)})))


def test_a_checkpoint_of_another_key_is_not_believed() -> None:
    forged = sealed(twelve(), 2)
    assert_found(all_of(with_files(small(), checkpoint=forged.files[CHECKPOINT])), "no key that was given has signed it")
    renamed = forged.files[CHECKPOINT].replace(b"guard.test/log", b"other.test/log")
    assert_found(all_of(with_files(small(), checkpoint=renamed)), "no key that was given has signed it")
    assert_found(verify_log_files(small(), [OTHER_KEY]), "no key that was given has signed it")


def test_a_whole_log_of_another_key_is_not_believed() -> None:
    assert_found(all_of(sealed(twelve(), 2)), "no key that was given has signed it")


def test_entries_of_another_key_in_a_log_of_this_one_are_found() -> None:
    report = all_of(sealed([guard(Kind.GUARD_STARTED, 1), guard(Kind.GUARD_STOPPED, 2, keys=(2,))]))
    assert [problem.where for problem in report.problems] == ["entry 1"]
    assert_found(report, "a key that was not given with --key")


def test_a_signature_with_the_id_of_a_key_that_did_not_make_it_is_found() -> None:
    head = small().files[CHECKPOINT].decode()
    text = head.rpartition("\n\n")[0] + "\n"
    forged = signer(2).sign_note(text)
    line = type(forged)(forged.name, signer(1).key.id, forged.bytes).line()
    assert_found(all_of(with_files(small(), checkpoint=f"{text}\n{line}".encode())), "was changed, or forged")
    # Beside a good one as well: the whole note is refused.
    assert_found(all_of(with_files(small(), checkpoint=(head + line).encode())), "was changed, or forged")


def test_the_checkpoint_of_another_log_by_the_same_key_is_found() -> None:
    another = sealed(twelve(), origin="guard.test/another")
    assert all_of(another).ok
    assert_found(all_of(another, origin=ORIGIN), "it is of the log 'guard.test/another'")
    assert_found(all_of(small(), earlier=[("held", another.files[CHECKPOINT])]), "it is of the log 'guard.test/another'")


# -- with the key ---------------------------------------------------------------------------------------------------------------------

UNSEEN = {
    "drop 10": "the end of a rollout, which is then an open question",
    "drop 11": "the tail",
    "swap 1": "a guard's entry and a rollout's: no sequence has both",
    "swap 11": "as above",
}
"""What tells a story without a gap; only a head that somebody outside holds shows it."""


@pytest.mark.parametrize("change", CHANGES)
def test_what_whoever_has_the_key_drops_moves_doubles_or_puts_in_is_found(change: str) -> None:
    changed, head = sealed(CHANGES[change]), small().files[CHECKPOINT]
    assert_found(all_of(changed, earlier=[("held", head)]))
    if change in UNSEEN:
        alone = all_of(changed)
        assert alone.ok
        assert (alone.open_rollouts == [ROLLOUT]) == (change == "drop 10")
    else:
        assert_found(all_of(changed))


@pytest.mark.parametrize("size", range(12))
def test_a_log_cut_off_by_whoever_has_the_key_is_found_by_a_head_held_outside(size: int) -> None:
    cut, head = sealed(twelve()[:size]), small().files[CHECKPOINT]
    alone = all_of(cut)
    assert alone.ok
    assert any("nobody outside held an earlier head" in line for line in alone.not_proven)
    assert_found(all_of(cut, earlier=[("held", head)]), "its tail was cut off")
    # A head from before the cut cannot show it, and says so.
    before = all_of(cut, earlier=[("held", sealed(twelve()[:size]).files[CHECKPOINT])])
    assert before.ok
    assert any("cut off" in line for line in before.not_proven)


@pytest.mark.parametrize("size", range(1, 12))
def test_a_log_cut_off_is_found_by_a_witness_who_saw_more(size: int) -> None:
    """The witness does not cosign a head that is shorter than the one it saw."""
    cut, seen = sealed(twelve()[:size]), cosigned(small().files[CHECKPOINT], 1_777_700_000)
    assert all_of(with_files(small(), checkpoint=seen), witnesses=[WITNESS]).ok
    assert_found(all_of(cut, witnesses=[WITNESS]), "has not cosigned it")
    lines = seen.decode().rpartition("\n\n")[2].split("\n")
    moved = cut.files[CHECKPOINT].decode() + lines[1] + "\n"
    assert_found(all_of(with_files(cut, checkpoint=moved.encode()), witnesses=[WITNESS]), "the cosignature in the name of the witness")


@pytest.mark.parametrize("size", range(1, 13))
def test_a_log_written_anew_is_found_by_every_earlier_head(size: int) -> None:
    """A rollout is taken out as a whole and another put in its place: the entries tell a story without gaps."""
    anew = sealed([guard(Kind.GUARD_STARTED, 1, late=True), *told(ANOTHER), guard(Kind.GUARD_STOPPED, 2)])
    assert all_of(anew).ok
    earlier = sealed(twelve()[:size]).files[CHECKPOINT]
    assert all_of(small(), earlier=[("held", earlier)]).ok
    assert_found(all_of(anew, earlier=[("held", earlier)]), "the log does not continue it")


def test_evidence_replaced_or_gone_is_told_apart() -> None:
    blob = b"what the reference was like"
    name = hashlib.sha256(blob).hexdigest()
    of: dict[str, Value] = {"reference": name, "windows": 3, "operations": 2}
    memory = sealed([entry(Kind.REFERENCE, 1, values=of, based_on=(name,))])
    good = all_of(memory, evidence=Memory({name: blob, CARD: CARD_BLOB}))
    assert good.ok
    assert "2 blobs of evidence are what the entries name" in good.proven
    for bit in range(8 * len(blob)):
        assert_found(all_of(memory, evidence=Memory({name: flipped(blob, bit), CARD: CARD_BLOB})), "another SHA-256 than its name")
    gone = all_of(memory, evidence=Memory({CARD: CARD_BLOB}))
    assert_found(gone, f"1 blobs are not here, and no entry says that they were erased: {name}")


# -- larger logs ----------------------------------------------------------------------------------------------------------------------

SIZES = st.sampled_from([1, 2, 13, 255, 256, 257, 511, 512, 700, 1_000])


def needed(memory: Memory, size: int) -> list[str]:
    """The files of a log that its size has: full ones, and the partial ones of just this size."""
    widths = {"entries": size % 256, "0": size % 256, "1": (size // 256) % 256}
    return [
        name
        for name in memory.files
        if ".p/" not in name or (name.split("/")[-1] == str(widths[name.split("/")[1]]) and ".p/" in name and _last(name, size))
    ]


def _last(name: str, size: int) -> bool:
    level, index = name.split("/")[1], int(name.split("/")[2].removesuffix(".p"))
    return index == (size // 256 if level in {"entries", "0"} else size // 65_536)


@settings(max_examples=40, deadline=None)
@given(st.data(), SIZES)
def test_any_flipped_bit_of_a_larger_log_is_found(data: st.DataObject, size: int) -> None:
    memory = large(size)
    name = data.draw(st.sampled_from(sorted(needed(memory, size))))
    bit = data.draw(st.integers(0, 8 * len(memory.files[name]) - 1))
    assert_found(verify_tree(with_files(memory, **{name: flipped(memory.files[name], bit)}), [KEY]))


FULL = {"tile/1/000.p/1": 1, "tile/0/001.p/1": 1, "tile/0/000": 32, "tile/entries/001.p/1": 8, "tile/entries/000": 1_999}
"""Files of a log of 257 entries, and at which distance bytes have each of their bits flipped."""


@pytest.mark.parametrize("name", FULL)
def test_flipped_bits_of_full_tiles_and_of_those_above_them_are_found(name: str) -> None:
    memory = large(257)
    for byte in range(0, len(memory.files[name]), FULL[name]):
        for bit in range(8 * byte, 8 * byte + 8):
            assert_found(verify_tree(with_files(memory, **{name: flipped(memory.files[name], bit)}), [KEY]))


@settings(max_examples=10, deadline=None)
@given(st.data(), SIZES)
def test_a_larger_log_is_whole_and_holds_every_earlier_head(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size))
    report = all_of(large(size), earlier=[("held", sealed(many(1_000)[:old]).files[CHECKPOINT])])
    assert report.problems == []
    assert report.entries == size


Change = Callable[[list[bytes], int, int], list[bytes]]
WITH_KEY: Mapping[str, Change] = {
    "dropped": lambda of, at, _: of[:at] + of[at + 1 :],
    "moved": lambda of, at, to: [*(rest := of[:at] + of[at + 1 :])[:to], of[at], *rest[to:]],
    "doubled": lambda of, at, to: [*of[:to], of[at], *of[to:]],
}


@settings(max_examples=15, deadline=None)
@given(st.data(), st.sampled_from([13, 257, 700]), st.sampled_from(sorted(WITH_KEY)))
def test_a_changed_larger_log_is_found_even_if_it_was_signed_again(data: st.DataObject, size: int, change: str) -> None:
    """By a head held outside always; by the sequences unless the log's tail was dropped or whole rollouts changed places."""
    at = data.draw(st.integers(0, size - 1))
    to = data.draw(st.integers(0, size - 2).filter(lambda to: to != at))
    entries = WITH_KEY[change](list(many(1_000)[:size]), at, to)
    report = verify_tree(sealed(entries), [KEY], earlier=[("held", large(size).files[CHECKPOINT])])
    assert_found(report)
