"""Merges small record batches into large ones: stores take tens of thousands of rows as fast as ten."""

from collections.abc import Generator, Iterator
from contextlib import closing

import pyarrow as pa

MERGED_ROWS = 20_000
MERGED_BYTES = 64 << 20
"""Rows can be large: whichever bound is reached first ends a batch."""


def merged(batches: Generator[pa.RecordBatch], rows: int = MERGED_ROWS) -> Iterator[pa.RecordBatch]:
    """Merges neighbours until a batch has enough rows or bytes; the order of rows stays.

    Args:
        batches: of one schema, each of bounded size; closed at the end.
        rows: the rows from which a batch is handed out.
    Yields: batches of at least `rows` rows or `MERGED_BYTES` bytes, except for the last.
    """
    held: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    with closing(batches):  # whoever stops early also stops what feeds this, down to the open file
        for batch in batches:
            if not batch.num_rows:
                continue
            held.append(batch)
            held_rows += batch.num_rows
            held_bytes += batch.nbytes
            if held_rows >= rows or held_bytes >= MERGED_BYTES:
                # Released before it is handed out: while the caller works, only its own copy exists.
                joined, held, held_rows, held_bytes = _join(held), [], 0, 0
                yield joined
                del joined
    if held:
        yield _join(held)


def _join(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    # Also unifies the dictionaries, which every decoded batch numbers for itself.
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
