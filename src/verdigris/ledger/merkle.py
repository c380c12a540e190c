"""The arithmetic of an append-only Merkle tree: roots, inclusion and consistency proofs, and how both are verified. Pure.

Hashes are SHA-256, 32 bytes. A tree of size n has the leaves 0 … n-1. A *perfect* subtree is full and aligned: 2^level leaves from a
multiple of 2^level on; it is named (level, index), and every hash that a proof needs is made of such.

Sources: RFC 6962 section 2.1 (the tree, making proofs), RFC 9162 sections 2.1.3.2 and 2.1.4.2 (verifying them).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

from verdigris.ledger.errors import LedgerError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
SIZE_MAX = 2**63 - 1
"""A tree is never larger: proofs then have at most 63 hashes (C2SP tlog-witness)."""

HashAt = Callable[[int, int], bytes]
"""The hash of the perfect subtree (level, index)."""


class InvalidProof(LedgerError):
    """A Merkle proof does not show what it claims. Safe: nothing was believed; the entry or the log must not be trusted as it is."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def perfect_subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """The largest perfect subtrees that the leaves `start` … `end - 1` are made of, from left to right, as (level, index)."""
    parts = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        parts.append((level, start >> level))
        start += 1 << level
    return parts


def joined(hashes: Sequence[bytes]) -> bytes:
    """The root over subtrees side by side, of descending size, as RFC 6962 joins them: from the right."""
    if not hashes:
        return EMPTY_ROOT
    *left, root = hashes
    for one in reversed(left):
        root = node_hash(one, root)
    return root


def root_of(size: int, hash_at: HashAt) -> bytes:
    """The root of the tree of the first `size` leaves."""
    return joined([hash_at(level, index) for level, index in perfect_subtrees(0, size)])


# -- making proofs --------------------------------------------------------------------------------------------------------------


def inclusion_proof(index: int, size: int, hash_at: HashAt) -> list[bytes]:
    """That leaf `index` is in the tree of `size` leaves: RFC 6962's audit path, from the leaf's sibling up.

    Raises: ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        msg = f"there is no entry {index} in a log of {size}"
        raise ValueError(msg)
    return [_subtree(start, end, hash_at) for start, end in _siblings(index, index + 1, size)]


def consistency_proof(old_size: int, size: int, hash_at: HashAt) -> list[bytes]:
    """That the tree of `old_size` leaves is the beginning of the one of `size`. Empty where the sizes are equal or `old_size` is 0.

    Raises: ValueError: the old tree is larger.
    """
    if not 0 <= old_size <= size:
        msg = f"a log of {size} entries cannot continue one of {old_size}"
        raise ValueError(msg)
    if old_size in (0, size):
        return []
    level, index = perfect_subtrees(0, old_size)[-1]
    first = [] if old_size == 1 << level else [hash_at(level, index)]
    return first + [_subtree(start, end, hash_at) for start, end in _siblings(index << level, old_size, size)]


def _siblings(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """On the way from the subtree of these leaves up to the root: what stands beside it at each height. The leaves are a node."""
    path = []
    low, high = 0, size
    while (low, high) != (start, end):
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if start >= middle:
            path.append((low, middle))
            low = middle
        else:
            path.append((middle, high))
            high = middle
    return reversed(path)


def _subtree(start: int, end: int, hash_at: HashAt) -> bytes:
    return joined([hash_at(level, index) for level, index in perfect_subtrees(start, end)])


# -- verifying them -------------------------------------------------------------------------------------------------------------


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 section 2.1.3.2, with its numbers. `leaf` is the leaf's hash. Raises: InvalidProof."""
    _check_hashes([leaf, root, *proof])
    # 1. If leaf_index is greater than or equal to tree_size, then fail.
    if not 0 <= index < size <= SIZE_MAX:
        msg = f"there is no entry {index} in a log of {size}"
        raise InvalidProof(msg)
    # 2. Set fn to leaf_index and sn to tree_size - 1.  3. Set r to hash.
    fn, sn, r = index, size - 1, leaf
    # 4. For each value p in the inclusion_path array:
    for p in proof:
        # 4.1 If sn is 0, then stop and fail.
        if sn == 0:
            msg = f"the inclusion proof of entry {index} in {size} has more hashes than the tree is high"
            raise InvalidProof(msg)
        # 4.2 If LSB(fn) is set, or if fn equals sn, then …
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            # … if LSB(fn) is not set, right-shift both equally until it is, or fn is 0.
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        # 4.3 Finally, right-shift both fn and sn one time.
        fn, sn = fn >> 1, sn >> 1
    # 5. Compare sn to 0, and r to the root_hash.
    if sn or r != root:
        msg = f"the inclusion proof of entry {index} in {size} leads to another root"
        raise InvalidProof(msg)


def verify_consistency(  # noqa: C901  # the RFC's steps in one piece
    old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """RFC 9162 section 2.1.4.2, with its numbers. A proof from an empty tree shows nothing and is refused. Raises: InvalidProof."""
    _check_hashes(proof)
    if not 0 < old_size <= size <= SIZE_MAX:
        msg = f"nothing shows that a log of {size} entries continues one of {old_size}"
        raise InvalidProof(msg)
    if old_size == size:
        if proof or old_root != root:
            msg = f"two logs of {size} entries have different roots: the log was forked"
            raise InvalidProof(msg)
        return
    # 1. If consistency_path is an empty array, stop and fail.
    if not proof:
        msg = f"the consistency proof from {old_size} to {size} is empty"
        raise InvalidProof(msg)
    # 2. If first is an exact power of 2, then prepend first_hash to the consistency_path array.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    # 3. Set fn to first - 1 and sn to second - 1.  4. If LSB(fn) is set, right-shift both equally until it is not.
    fn, sn = old_size - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    # 5. Set both fr and sr to the first value in the consistency_path array.
    fr = sr = path[0]
    # 6. For each subsequent value c in the consistency_path array:
    for c in path[1:]:
        # 6.1 If sn is 0, then stop and fail.
        if sn == 0:
            msg = f"the consistency proof from {old_size} to {size} has more hashes than the tree is high"
            raise InvalidProof(msg)
        # 6.2 If LSB(fn) is set, or if fn equals sn, then …
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            # … if LSB(fn) is not set, right-shift both equally until it is, or fn is 0.
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        # 6.3 Finally, right-shift both fn and sn one time.
        fn, sn = fn >> 1, sn >> 1
    # 7. Verify that fr is equal to first_hash, sr to second_hash, and sn is 0.
    if sn or fr != old_root or sr != root:
        msg = f"the log of {size} entries does not continue the one of {old_size}: what was logged then is not what is logged now"
        raise InvalidProof(msg)


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(one) != HASH_BYTES for one in hashes):
        msg = f"a hash in a Merkle proof is not {HASH_BYTES} bytes long"
        raise InvalidProof(msg)
