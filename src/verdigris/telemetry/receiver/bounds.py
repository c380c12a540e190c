"""Bounds on everything that senders can make grow. Each may be set in the guard's settings; these are the defaults."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class IntakeBounds:
    """How much is taken at once, and how long what. Memory for telemetry stays below about
    `queue_bytes_max` + `decoders` × (`decoded_bytes_max` + `table_bytes_max`) + `connections_max` × 64 KiB.
    """

    body_bytes_max: int = 16 * MIB
    """One export as received; collectors send some hundred KiB."""
    decoded_bytes_max: int = 64 * MIB
    """One export after decompression; inflating stops there."""
    table_bytes_max: int = 256 * MIB
    """One export as rows, with what is repeated written out."""
    export_spans_max: int = 200_000
    queue_bytes_max: int = 256 * MIB
    """Exports that were received and are not durable yet."""
    queue_spans_max: int = 1_000_000
    group_spans_max: int = 200_000
    """Spans that are made durable together."""
    group_wait_s: float = 0.02
    """How long the first export of a group waits for others: bounds the inserts to fifty a second, which the store can merge."""
    busy_wait_s: float = 0.1
    """The same after a group that was large. A span in a group of 80,000 costs a third of one in a group of 8,000."""
    busy_group_spans: int = 2_000
    """From how many spans on a group is large."""
    group_spans_enough: int = 20_000
    """A group of so many waits no longer."""
    decoders: int = 2
    """Threads that decode."""
    exports_max: int = 256
    """Exports under way in each listener; beyond, senders wait or are answered to try again."""
    connections_max: int = 1_024
    """Open HTTP connections."""
    free_bytes_min: int = 512 * MIB
    """Free space on the disk below which spans are refused: the guard's own records must still fit."""
    retry_after_s: float = 2.0
    """When refused senders are asked to come again; also how often a full disk is looked at."""
    reach_back_s: float = 86_400.0
    """Spans that started longer ago are refused: they would only be forgotten."""
    reach_ahead_s: float = 600.0
    """Spans that start further in the guard's future are refused: a clock that wrong is not evidence."""
