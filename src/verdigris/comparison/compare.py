"""A comparison from end to end: read, make windows, judge, assemble."""

from collections.abc import Sequence
from typing import Protocol

from verdigris.comparison.assemble import assemble
from verdigris.comparison.document import Comparison
from verdigris.comparison.recordings import Input, read
from verdigris.judge.judge import judge_tallies, ran_side_by_side
from verdigris.judge.tallies import tally
from verdigris.judge.windows import Windows, merge
from verdigris.plan.policy import Policy
from verdigris.sensitive.definition import Detectors, default_detectors
from verdigris.telemetry.store import WINDOW_S


class Progress(Protocol):
    """Is told how far a comparison is. Totals may be unknown (None)."""

    def reading(self, total_bytes: int | None) -> None:
        """Reading begins."""

    def read(self, done_bytes: int) -> None:
        """So much is read, of all inputs together."""

    def summarising(self, total_spans: int) -> None:
        """Windows are being made."""

    def summarised(self, spans: int) -> None:
        """So many more spans are in windows."""

    def judging(self) -> None:
        """The judge is at work; what follows takes seconds."""


def compare(
    inputs: Sequence[Input], policy: Policy, progress: Progress, *, strict: bool = False, detectors: Detectors | None = None
) -> Comparison:
    """Judge the candidate in these inputs against the baseline in them. `detectors`: None for the decoder's strict defaults.

    Raises: SourceError: nothing to read. UnreadableInput: `strict`, and a part cannot be read. StoreError.
    """
    masked = detectors or default_detectors()
    with read(inputs, strict=strict, masking=masked.masking, on_total=progress.reading, on_read=progress.read) as recordings:
        progress.summarising(sum(r.counts.spans for r in recordings))
        made = [w for r in recordings if (w := r.windows(progress.summarised)) is not None]
        windows = merge(made) if made else Windows(WINDOW_S, ())
        progress.judging()
        tallies = tally(windows)
        judgement = judge_tallies(tallies, policy, concurrent=ran_side_by_side(windows))
        return assemble(recordings, windows, tallies, judgement, policy, masked.sha256)
