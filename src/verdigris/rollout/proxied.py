"""How many requests the proxy sent to each role, per window: its counters, sampled, and read between two times. Pure."""

from collections import deque
from dataclasses import dataclass

from verdigris.judge.reference import Proxied
from verdigris.traffic.data_plane import Split

SAMPLES_MAX = 20_000
"""At two samples a second, nearly three hours: windows are asked for within minutes."""


@dataclass(frozen=True, slots=True)
class _Sample:
    unix_s: float
    baseline: int
    candidate: int
    baseline_failed: int
    candidate_failed: int


class ProxyCounters:
    """Samples of a proxy's counters as one growing count, across the proxy's restarts."""

    def __init__(self) -> None:
        """Empty: nothing is known before the first sample."""
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES_MAX)
        self._last: Split | None = None
        self._restarts: deque[float] = deque(maxlen=100)

    def add(self, unix_s: float, split: Split) -> None:
        """One sample, not older than the one before."""
        before, last = self._last, self._samples[-1] if self._samples else _Sample(unix_s, 0, 0, 0, 0)
        self._last = split
        if before is None:
            self._samples.append(last)
            return
        now = (split.baseline_requests, split.candidate_requests, split.baseline_failures, split.candidate_failures)
        then = (before.baseline_requests, before.candidate_requests, before.baseline_failures, before.candidate_failures)
        if any(n < t for n, t in zip(now, then, strict=True)):
            # The proxy was started again: what it counted between the last sample and its end is lost.
            self._restarts.append(unix_s)
            then = (0, 0, 0, 0)
        b, c, bf, cf = (n - t for n, t in zip(now, then, strict=True))
        self._samples.append(
            _Sample(max(unix_s, last.unix_s), last.baseline + b, last.candidate + c, last.baseline_failed + bf, last.candidate_failed + cf)
        )

    @property
    def totals(self) -> tuple[int, int, int, int]:
        """Since the first sample: baseline's requests, candidate's, and the failed ones of each."""
        last = self._samples[-1] if self._samples else _Sample(0.0, 0, 0, 0, 0)
        return last.baseline, last.candidate, last.baseline_failed, last.candidate_failed

    def between(self, start_unix_s: float, end_unix_s: float) -> Proxied | None:
        """Requests in a period; None where the samples do not cover it or the proxy was started again in it.

        Between two samples the requests are taken to be spread evenly.
        """
        if not self._samples or self._samples[0].unix_s > start_unix_s or self._samples[-1].unix_s < end_unix_s:
            return None
        if any(start_unix_s <= at <= end_unix_s for at in self._restarts):
            return None
        b0, c0 = self._at(start_unix_s)
        b1, c1 = self._at(end_unix_s)
        return Proxied(round(b1) - round(b0), round(c1) - round(c0))

    def failed_candidate(self, span_s: float) -> tuple[int, int]:
        """The candidate's failed requests and all its requests over the last `span_s`."""
        if not self._samples:
            return 0, 0
        first = last = self._samples[-1]
        for sample in reversed(self._samples):
            if sample.unix_s < last.unix_s - span_s:
                break
            first = sample
        return last.candidate_failed - first.candidate_failed, last.candidate - first.candidate

    def _at(self, unix_s: float) -> tuple[float, float]:
        before = after = self._samples[0]
        for sample in reversed(self._samples):
            if sample.unix_s <= unix_s:
                before = sample
                break
            after = sample
        if after.unix_s <= before.unix_s:
            return before.baseline, before.candidate
        part = (unix_s - before.unix_s) / (after.unix_s - before.unix_s)
        return before.baseline + part * (after.baseline - before.baseline), before.candidate + part * (after.candidate - before.candidate)
