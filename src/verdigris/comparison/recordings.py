"""Recordings in, windows and examples out: the telemetry side of a comparison, in bounded memory."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from verdigris._native import Masking
from verdigris.errors import VerdigrisError
from verdigris.judge.attributes import AttributeCounts
from verdigris.judge.windows import Edge, Operation, Role, Windows, merge
from verdigris.plan.identity import EVERY_SPAN, Identity, IdentityMatch
from verdigris.telemetry.chdb_store import ChdbStore
from verdigris.telemetry.sources import Problem as ReadProblem
from verdigris.telemetry.sources import ReadCounts, Reading, expand
from verdigris.telemetry.store import ExampleSpan, Period, SpanStore, Unassigned

CHUNK_SPANS = 1_000_000
"""Windows are made of about so many spans at a time; a chunk takes about half a gigabyte while it is worked on."""


class UnreadableInput(VerdigrisError):
    """`--strict`, and part of an input cannot be read. Safe: nothing was judged. Mend the input or judge without `--strict`."""


class AmbiguousIdentity(VerdigrisError):
    """Both roles' matches claim the same spans. Safe: nothing was judged. Narrow the matches until no span fits both."""


@dataclass(frozen=True, slots=True)
class Input:
    """What is to be read: paths, folders, globs or `-`, and which roles are in it (None: the whole of it is `role`)."""

    names: tuple[str, ...]
    role: Role | None = None
    identity: Identity | None = None

    @property
    def settled(self) -> Identity:
        """The identity by which spans are told apart."""
        if self.identity is not None:
            return self.identity
        return Identity(EVERY_SPAN, None) if self.role is Role.BASELINE else Identity(None, EVERY_SPAN)

    def match(self, role: Role) -> IdentityMatch | None:
        """What claims spans for `role`."""
        return self.settled.baseline if role is Role.BASELINE else self.settled.candidate


@dataclass(slots=True)
class Recording:
    """One input, read into a store."""

    source: Input
    store: SpanStore
    counts: ReadCounts
    problems: tuple[ReadProblem, ...]
    chunks: tuple[Period, ...] = ()
    chunk_windows: list[Windows] = field(default_factory=list)
    unassigned: Unassigned = field(default_factory=Unassigned)

    def windows(self, on_chunk: Callable[[int], None]) -> Windows | None:
        """All windows, chunk by chunk; `on_chunk` is told the spans of each when it is done. None when there are no spans.

        Raises: StoreError. AmbiguousIdentity: a span is claimed for both roles, so the roles are not what they were meant to be.
        """
        self.chunks = tuple(self.store.chunks(CHUNK_SPANS))
        for period in self.chunks:
            windows, unassigned = self.store.windows(period, self.source.settled)
            if unassigned.ambiguous:
                identity = self.source.settled
                msg = (
                    f"{unassigned.ambiguous} spans match both the baseline ({identity.baseline}) and the candidate ({identity.candidate}); "
                    "narrow the matches until no span fits both"
                )
                raise AmbiguousIdentity(msg)
            self.chunk_windows.append(windows)
            self.unassigned += unassigned
            on_chunk(period.spans)
        return merge(self.chunk_windows) if self.chunk_windows else None

    def telling_chunk(self, role: Role, operation: Operation) -> Period | None:
        """The chunk in which `role` shows this operation at its worst: most failures, then slowest."""
        scored = []
        for period, windows in zip(self.chunks, self.chunk_windows, strict=True):
            rows = [o for w in windows.windows for o in w.of(role).operations if o.operation == operation]
            requests = sum(o.requests for o in rows)
            if requests:
                bad = sum(o.errors + o.refused + o.rejected + o.childless for o in rows) / requests
                scored.append((bad, sum(o.duration_ns for o in rows) / requests, period))
        return max(scored, key=lambda s: s[:2])[2] if scored else None

    def examples(self, role: Role, operation: Operation, limit: int, *, failed_first: bool = True) -> Sequence[str]:
        """Trace ids that show this operation in `role`: failed ones first, or slow ones that did not fail."""
        period = self.telling_chunk(role, operation)
        if period is None:
            return ()
        return self.store.examples(period, self.source.settled, [operation], limit, failed_first=failed_first).get((role, operation), ())

    def examples_of_edge(self, role: Role, edge: Edge, limit: int, *, absent: bool) -> Sequence[str]:
        """Trace ids that show this edge's presence or absence in `role`."""
        period = self.telling_chunk(role, edge.caller)
        if period is None:
            return ()
        return self.store.examples_of_edge(period, self.source.settled, edge, limit, absent=absent).get(role, ())

    def attributes(self, operation: Operation, keys: Sequence[str], slow_ns: int) -> Sequence[AttributeCounts]:
        """Attribute values of the candidate's bad and other spans of this operation."""
        period = self.telling_chunk(Role.CANDIDATE, operation)
        return self.store.attributes(period, self.source.settled, operation, keys, slow_ns) if period is not None else ()

    def trace(self, role: Role, operation: Operation, trace_id: str) -> Sequence[ExampleSpan]:
        """The spans of an example of `operation`."""
        period = self.telling_chunk(role, operation)
        return self.store.trace(period, self.source.settled, trace_id) if period is not None else ()


@contextmanager
def read(
    inputs: Sequence[Input],
    *,
    strict: bool,
    on_total: Callable[[int | None], None],
    on_read: Callable[[int], None],
    masking: Masking | None = None,
) -> Iterator[list[Recording]]:
    """Read all inputs into a store in a temporary folder that is gone afterwards.

    Args:
        strict: an unreadable part is an error, not a count.
        on_total: told the bytes on disk of all inputs, or None when that cannot be known; on_read: bytes read so far.
        masking: what is looked for and what is done with it; None means the decoder's strict defaults.
    Raises: UnreadableInput, SourceError, StoreError.
    """
    readings: list[Reading] = []
    done = 0

    def progress(bytes_of_this: int) -> None:
        on_read(done + bytes_of_this)

    readings = [Reading(expand(source.names), on_progress=progress, masking=masking) for source in inputs]
    totals = [reading.total_bytes for reading in readings]
    on_total(sum(t for t in totals if t is not None) if None not in totals else None)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="verdigris-", ignore_cleanup_errors=True))
        first = stack.enter_context(ChdbStore(Path(folder) / "spans"))
        recordings = []
        for number, (source, reading) in enumerate(zip(inputs, readings, strict=True)):
            store = first if number == 0 else first.beside(f"otel_traces_{number}")
            for batch in reading:
                store.insert(batch)
                if strict:
                    _refuse_problems(reading)
            if strict:
                _refuse_problems(reading)
            done += reading.total_bytes or 0
            recordings.append(Recording(source, store, reading.counts, tuple(reading.problems)))
        yield recordings


def _refuse_problems(reading: Reading) -> None:
    refused = sum(reading.counts.refused.values())
    if reading.counts.problems:
        problem = reading.problems[0]
        msg = f"{problem.source}, {problem.where}: {problem.what}"
        raise UnreadableInput(msg)
    if refused:
        reasons = ", ".join(f"{n}× {reason}" for reason, n in sorted(reading.counts.refused.items()))
        msg = f"{refused} spans were refused ({reasons})"
        raise UnreadableInput(msg)
