"""Which spans of a batch a match claims, without looking at spans one by one. Means what the store's SQL means by it."""

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from verdigris.plan.identity import IdentityMatch

Mask = npt.NDArray[np.bool_]


def claimed(batch: pa.RecordBatch, match: IdentityMatch) -> Mask:
    """Which rows' resources match all patterns; an attribute that is absent is empty text. A match without patterns claims nothing.

    Costs about what it takes to compare the numbers of the keys: each distinct value is looked at once.

    Args:
        batch: with a `ResourceAttributes` column whose keys and values are dictionaries and whose maps hold a key once.
        match: the patterns.
    Returns: shape (rows,).
    """
    rows = batch.num_rows
    if not match.patterns:
        return np.zeros(rows, dtype=np.bool_)
    maps = batch.column("ResourceAttributes")
    offsets = maps.offsets.to_numpy(zero_copy_only=False)
    first, last = int(offsets[0]) if rows else 0, int(offsets[-1]) if rows else 0
    # Of a sliced array `keys` and `items` are the whole children; the offsets say which entries are its own.
    keys, values = maps.keys.slice(first, last - first), maps.items.slice(first, last - first)
    key_numbers = keys.indices.to_numpy(zero_copy_only=False)
    value_numbers = values.indices.to_numpy(zero_copy_only=False)
    ends = offsets[1:] - first
    result = np.ones(rows, dtype=np.bool_)
    for key, pattern in match.patterns.items():
        expression = regular_expression(pattern)
        absent = bool(re.fullmatch(expression, ""))
        matching = np.full(rows, absent, dtype=np.bool_)
        number = pc.index(keys.dictionary, key).as_py()
        if number >= 0:
            at = np.flatnonzero(key_numbers == number)
            good = pc.match_substring_regex(values.dictionary, f"^(?:{expression})$").to_numpy(zero_copy_only=False).astype(np.bool_)
            matching[np.searchsorted(ends, at, side="right")] = good[value_numbers[at]]
        result &= matching
    return result


def regular_expression(pattern: str) -> str:
    """A pattern with `*` and `?` as a regular expression that Python and RE2 read the same way."""
    special = {"*": r"[\s\S]*", "?": r"[\s\S]"}
    return "".join(special.get(c) or (c if c.isalnum() or ord(c) > 127 else f"\\x{ord(c):02x}") for c in pattern)  # noqa: PLR2004  ASCII
