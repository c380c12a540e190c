"""From a body to durable spans: decode, refuse, commit in groups, then answer. Knows no transport.

An export goes: bytes reserved → decoded in a thread → spans of others' environments and impossible times taken out → queue →
one insert for the whole group by the one writer → answered. Nothing is answered before its insert has returned.
"""

import asyncio
import collections
import logging
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa

from verdigris import _native
from verdigris.telemetry.clock import GuardClock
from verdigris.telemetry.receiver.answers import (
    Accepted,
    ExportRefused,
    NoSpace,
    NotAuthenticated,
    QueueFull,
    Stopping,
    StoreFailing,
    TooLarge,
    Undecodable,
)
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.resources import Mask
from verdigris.telemetry.senders import Presented, Sender, Senders, UnknownSender
from verdigris.telemetry.store import StoreError, StoreFull

NANO = 1_000_000_000
NOT_ITS_ENVIRONMENT = "not_its_environment"
ANYONE = "anyone"
"""The sender's name where senders are not authenticated."""
EXAMPLE_CHARS = 500
SENDERS_COUNTED_MAX = 1_000
"""Pairs of sender and reason that are counted apart."""

Format = Literal["protobuf", "json"]
Encoding = Literal["identity", "gzip", "deflate", "zstd"]
OnStored = Callable[[pa.RecordBatch, float], None]
"""Called in the writer's thread with each durable export and the guard's time (seconds since 1970) at which it arrived."""
OnRefused = Callable[[str, str, int, str], None]
"""Called in a decoder's thread with a sender's name, the reason, how many spans, and an example of their resource."""
OnFound = Callable[[Sequence[_native.Finding], int], None]
"""Called in a decoder's thread with what was sensitive in an export, and how much of it is in no finding."""

_log = logging.getLogger(__name__)


class Insertable(Protocol):
    """The part of a span store that the intake needs."""

    def insert(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Keep a batch; durable when it returns. Raises: StoreError, StoreFull."""


class StoreState(StrEnum):
    """How the last commit went."""

    OK = "ok"
    FULL = "full"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class IntakeHealth:
    """What the intake has done since it began. `queue_fill` is the fuller of bytes and spans, in [0, 1]."""

    accepted_spans: int
    acknowledged_exports: int
    refused_spans: Mapping[str, int]
    refused_exports: Mapping[str, int]
    refused_by_sender: Mapping[tuple[str, str], int]
    queue_fill: float
    store: StoreState
    store_message: str
    senders_authenticated: bool


@dataclass(slots=True)
class _Export:
    batch: pa.RecordBatch
    bytes: int
    arrived_unix_s: float
    refused: Mapping[str, int]
    answered: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class _Tried:
    """How an insert went."""

    state: StoreState
    message: str
    refusal: ExportRefused | None


@dataclass(slots=True)
class _Counts:
    accepted_spans: int = 0
    acknowledged_exports: int = 0
    refused_spans: collections.Counter[str] = field(default_factory=collections.Counter)
    refused_exports: collections.Counter[str] = field(default_factory=collections.Counter)
    refused_by_sender: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)


class Intake:
    """Takes exports from any listener in one event loop. Close it after the listeners."""

    def __init__(
        self,
        store: Insertable,
        *,
        clock: GuardClock,
        senders: Senders | None = None,
        bounds: IntakeBounds | None = None,
        folder: Path | None = None,
        masking: _native.Masking | None = None,
        on_stored: OnStored | None = None,
        on_refused: OnRefused | None = None,
        on_found: OnFound | None = None,
        disk_free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """Start the writer. `folder` is where the store keeps spans; None: its free space is not looked at. `masking`: None
        is as strict as can be. `on_found` is told what was sensitive in an export, in a decoder's thread.
        """
        self.bounds = bounds or IntakeBounds()
        self._store, self._clock, self._senders, self._folder = store, clock, senders or Senders(), folder
        self._on_stored, self._on_refused, self._on_found, self._disk_free_bytes = on_stored, on_refused, on_found, disk_free_bytes
        self._masking = masking or _native.Masking()
        b = self.bounds
        self._limits = _native.Limits(
            body_bytes=b.body_bytes_max, decoded_bytes=b.decoded_bytes_max, table_bytes=b.table_bytes_max, spans=b.export_spans_max
        )
        self._decoders = ThreadPoolExecutor(b.decoders, thread_name_prefix="otlp-decode")
        self._changed = threading.Condition()
        self._queue: collections.deque[_Export] = collections.deque()
        self._held_bytes = self._held_spans = self._last_group_spans = 0
        self._closing = False
        self._state, self._state_message, self._look_again_s = StoreState.OK, "", 0.0
        self._counts = _Counts()
        self._writer = threading.Thread(target=self._write, name="otlp-commit", daemon=True)
        self._writer.start()

    def mask_with(self, masking: _native.Masking) -> None:
        """What comes from now on is masked with this definition. May be called from any thread."""
        self._masking = masking

    def health(self) -> IntakeHealth:
        """What it has done; cheap."""
        with self._changed:
            counts, b = self._counts, self.bounds
            return IntakeHealth(
                counts.accepted_spans,
                counts.acknowledged_exports,
                dict(counts.refused_spans),
                dict(counts.refused_exports),
                dict(counts.refused_by_sender),
                max(self._held_bytes / b.queue_bytes_max, self._held_spans / b.queue_spans_max),
                self._state,
                self._state_message,
                self._senders.authenticated,
            )

    def who(self, presented: Presented) -> Sender | None:
        """Whose credential it is. Raises: NotAuthenticated."""
        try:
            return self._senders.who(presented)
        except UnknownSender as error:
            raise self.counted(NotAuthenticated(str(error))) from error

    def reserve(self, count: int) -> None:
        """Count bytes of a body that is about to be read or was. Raises: TooLarge, QueueFull, NoSpace, Stopping."""
        if count > self.bounds.body_bytes_max:
            raise self.counted(self.too_large())
        after_s = self.bounds.retry_after_s
        free = self._free_bytes() if time.monotonic() >= self._look_again_s else None
        with self._changed:
            if self._closing:
                raise self._counted(Stopping("the guard is stopping; send again", after_s))
            if free is not None:
                self._judge_space(free)
            if self._state is StoreState.FULL and time.monotonic() < self._look_again_s:
                raise self._counted(NoSpace(f"no space for spans on the guard's disk: {self._state_message}", after_s))
            if self._held_bytes + count > self.bounds.queue_bytes_max:
                raise self._counted(QueueFull(f"{self._held_bytes >> 20} MiB of spans wait to become durable; send again later", after_s))
            self._held_bytes += count

    def release(self, count: int) -> None:
        """Give reserved bytes back."""
        with self._changed:
            self._held_bytes -= count

    async def take(self, body: bytes, form: Format, encoding: Encoding, sender: Sender | None) -> Accepted:
        """Decode and commit one body whose bytes are reserved; they are given back. Returns when it is durable.

        Raises: ExportRefused: nothing of it was kept; except after StoreFailing and NoSpace, where parts may have been: a span
        that is sent again counts once.
        """
        loop = asyncio.get_running_loop()
        arrived_unix_s = self._clock.now_unix_s()
        held = len(body)
        try:
            batch, refused = await loop.run_in_executor(self._decoders, self._decode, body, form, encoding, sender, arrived_unix_s)
            if not batch.num_rows:
                with self._changed:
                    self._counts.acknowledged_exports += 1
                return Accepted(0, refused)
            export = _Export(batch, batch.nbytes, arrived_unix_s, refused, loop.create_future())
            self._enqueue(export, held)
            held = 0  # from here on the writer gives back what the export holds
            await export.answered
            return Accepted(batch.num_rows, refused)
        finally:
            if held:
                self.release(held)

    async def close(self) -> None:
        """Commit what waits, answer it, and stop. Exports that come later are refused with Stopping."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        await asyncio.get_running_loop().run_in_executor(None, self._writer.join)
        self._decoders.shutdown(wait=False)

    def too_large(self) -> TooLarge:
        """The refusal of a body beyond the bound."""
        return TooLarge(f"a body may have {self.bounds.body_bytes_max} bytes; send smaller batches")

    def too_many(self) -> QueueFull:
        """The refusal of an export beyond those that may be under way."""
        return QueueFull(f"{self.bounds.exports_max} exports are under way; send again later", self.bounds.retry_after_s)

    def counted(self, refusal: ExportRefused) -> ExportRefused:
        """The same refusal, counted in health."""
        with self._changed:
            return self._counted(refusal)

    def _counted(self, refusal: ExportRefused) -> ExportRefused:
        self._counts.refused_exports[refusal.reason] += 1
        return refusal

    # --- in a decoder's thread ------------------------------------------------------------------------------------------------

    def _decode(
        self, body: bytes, form: Format, encoding: Encoding, sender: Sender | None, arrived_unix_s: float
    ) -> tuple[pa.RecordBatch, Mapping[str, int]]:
        try:
            if encoding == "deflate":
                decoded = _native.decode(self._inflated(body), format=form, limits=self._limits, masking=self._masking)
            else:
                decoded = _native.decode(body, format=form, encoding=encoding, limits=self._limits, masking=self._masking)
            batch = pa.record_batch(decoded)
        except (_native.DecodeError, zlib.error, MemoryError) as error:
            raise self.counted(Undecodable(str(error))) from error
        if self._on_found is not None and decoded.findings:
            self._on_found(decoded.findings, decoded.findings_uncounted)
        refused = collections.Counter(decoded.refused)
        name = sender.name if sender else ANYONE
        examples: dict[str, str] = {}
        starts = batch.column("Timestamp").cast(pa.int64()).to_numpy(zero_copy_only=False)
        oldest = int((arrived_unix_s - self.bounds.reach_back_s) * NANO)
        newest = int((arrived_unix_s + self.bounds.reach_ahead_s) * NANO)
        if starts.size and (starts.min() < oldest or starts.max() > newest):
            late_enough = starts >= oldest
            batch = _without(batch, late_enough, "time_too_old", refused, examples)
            batch = _without(batch, starts[late_enough] <= newest, "time_ahead", refused, examples)
        if sender:
            batch = _without(batch, sender.may_send(batch), NOT_ITS_ENVIRONMENT, refused, examples)
        if refused:
            with self._changed:
                self._counts.refused_spans.update(refused)
                for reason, count in refused.items():
                    pair = (name, reason)
                    if pair in self._counts.refused_by_sender or len(self._counts.refused_by_sender) < SENDERS_COUNTED_MAX:
                        self._counts.refused_by_sender[pair] += count
            self._report(name, refused, examples)
        return batch, dict(refused)

    def _inflated(self, body: bytes) -> bytes:
        """What zlib's form holds, which the decoder does not read; within its bounds. Raises: Undecodable, zlib.error."""
        inflating = zlib.decompressobj()
        inflated = inflating.decompress(body, min(self.bounds.body_bytes_max, self.bounds.decoded_bytes_max))
        if inflating.unconsumed_tail or not inflating.eof:
            msg = f"too_large or truncated: the deflated body has no end within {len(inflated)} bytes; send smaller batches"
            raise self.counted(Undecodable(msg))
        return inflated

    def _report(self, name: str, refused: Mapping[str, int], examples: Mapping[str, str]) -> None:
        if not self._on_refused:
            return
        for reason, count in refused.items():
            try:
                self._on_refused(name, reason, count, examples.get(reason, ""))
            except Exception:  # noqa: BLE001  a listener's mistake must not cost the sender its spans
                _log.exception("refused spans could not be reported")

    # --- the queue and its writer ---------------------------------------------------------------------------------------------

    def _enqueue(self, export: _Export, body_bytes: int) -> None:
        with self._changed:
            spans, b = export.batch.num_rows, self.bounds
            if self._closing:
                raise self._counted(Stopping("the guard is stopping; send again", b.retry_after_s))
            held_bytes = self._held_bytes - body_bytes + export.bytes
            # One export alone always fits, or a large one could be sent again for ever.
            if self._held_spans and (held_bytes > b.queue_bytes_max or self._held_spans + spans > b.queue_spans_max):
                raise self._counted(QueueFull(f"{self._held_spans} spans wait to become durable; send again later", b.retry_after_s))
            self._held_bytes = held_bytes
            self._held_spans += spans
            self._queue.append(export)
            self._changed.notify_all()

    def _write(self) -> None:
        while group := self._next_group():
            for part, refusal in self._committed(group):
                for loop in {export.answered.get_loop() for export in part}:
                    loop.call_soon_threadsafe(_answer, [e for e in part if e.answered.get_loop() is loop], refusal)
            del group

    def _committed(self, group: list[_Export]) -> Iterator[tuple[list[_Export], ExportRefused | None]]:
        """Insert a group. Yields its exports with why they were refused, None if they are durable."""
        tried = self._insert(group)
        if isinstance(tried.refusal, StoreFailing) and len(group) > 1:
            # Perhaps one of them is what the store cannot take: each is tried alone, so that it fails for itself only.
            for export in group:
                alone = self._insert([export])
                self._settle([export], alone)
                yield [export], alone.refusal
            return
        self._settle(group, tried)
        yield group, tried.refusal

    def _next_group(self) -> list[_Export]:
        """What is made durable together; empty when all is done and the intake closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._closing:
                b = self.bounds
                wait_s = b.busy_wait_s if self._last_group_spans >= b.busy_group_spans else b.group_wait_s
                self._changed.wait_for(lambda: self._closing or self._held_spans >= b.group_spans_enough, wait_s)
            group: list[_Export] = []
            spans = 0
            while self._queue and (not group or spans + self._queue[0].batch.num_rows <= self.bounds.group_spans_max):
                group.append(self._queue.popleft())
                spans += group[-1].batch.num_rows
            self._last_group_spans = spans
            return group

    def _insert(self, group: list[_Export]) -> _Tried:
        after_s = self.bounds.retry_after_s
        try:
            self._store.insert(pa.Table.from_batches([export.batch for export in group]))
        except StoreFull as error:
            return _Tried(StoreState.FULL, str(error), NoSpace(f"no space for spans on the guard's disk: {error}", after_s))
        except StoreError as error:
            return _Tried(StoreState.FAILING, str(error), StoreFailing(f"the span store failed: {error}", after_s))
        except Exception as error:  # noqa: BLE001  the writer must live: without it nothing is ever acknowledged again
            _log.exception("spans could not be stored")
            return _Tried(StoreState.FAILING, repr(error), StoreFailing("the span store failed unexpectedly; see the guard's log", after_s))
        return _Tried(StoreState.OK, "", None)

    def _settle(self, group: list[_Export], tried: _Tried) -> None:
        """Count what was durable or refused, and give back what it held."""
        if tried.refusal is None and self._on_stored:
            for export in group:
                try:
                    self._on_stored(export.batch, export.arrived_unix_s)
                except Exception:  # noqa: BLE001  what is durable must be acknowledged all the same
                    _log.exception("stored spans could not be reported")
        with self._changed:
            if tried.state is not StoreState.OK or self._state is not StoreState.FULL or not self._floor_reached():
                self._state, self._state_message = tried.state, tried.message
            if tried.state is StoreState.FULL:
                self._look_again_s = time.monotonic() + self.bounds.retry_after_s
            spans = sum(e.batch.num_rows for e in group)
            self._held_bytes -= sum(e.bytes for e in group)
            self._held_spans -= spans
            if tried.refusal is None:
                self._counts.accepted_spans += spans
                self._counts.acknowledged_exports += len(group)
            else:
                self._counts.refused_exports[tried.refusal.reason] += len(group)

    # --- space ----------------------------------------------------------------------------------------------------------------

    def _free_bytes(self) -> int | None:
        if self._folder is None:
            return None
        try:
            return self._disk_free_bytes(self._folder)
        except OSError:
            return None  # the next insert will tell

    def _floor_reached(self) -> bool:
        free = self._free_bytes()
        return free is not None and free < self.bounds.free_bytes_min

    def _judge_space(self, free: int) -> None:
        self._look_again_s = time.monotonic() + self.bounds.retry_after_s
        if free < self.bounds.free_bytes_min:
            self._state = StoreState.FULL
            self._state_message = f"{free >> 20} MiB are free, {self.bounds.free_bytes_min >> 20} MiB are kept for the guard's own records"
        elif self._state is StoreState.FULL:
            # There is room by the count; whether there really is, the next insert tells.
            self._state, self._state_message = StoreState.OK, ""


def _without(
    batch: pa.RecordBatch, allowed: Mask, reason: str, refused: collections.Counter[str], examples: dict[str, str]
) -> pa.RecordBatch:
    """The batch without the rows that are not allowed, which are counted, with the first one's resource as the example."""
    if allowed.all():
        return batch
    resource = batch.column("ResourceAttributes")[int(np.argmin(allowed))].as_py()
    refused[reason] += int(batch.num_rows - allowed.sum())
    examples[reason] = ",".join(f"{key}={value}" for key, value in resource)[:EXAMPLE_CHARS]
    return batch.filter(pa.array(allowed))


def _answer(group: list[_Export], refusal: ExportRefused | None) -> None:
    """In the event loop: tell those who wait. Who went away meanwhile is not told; the spans are kept all the same."""
    for export in group:
        if export.answered.done():
            continue
        if refusal is None:
            export.answered.set_result(None)
        else:
            export.answered.set_exception(refusal)
