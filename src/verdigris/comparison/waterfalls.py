"""An example trace in the order in which people read it: parents before children, children by start."""

from collections.abc import Sequence

from verdigris.comparison.document import WaterfallSpan
from verdigris.telemetry.store import ExampleSpan

SPANS_MAX = 400
"""Spans of a waterfall; what is deeper down or later is left out."""


def waterfall(spans: Sequence[ExampleSpan]) -> tuple[WaterfallSpan, ...]:
    """Order and indent. A span whose parent is not in the trace, or is below itself, is shown as a root."""
    start = min((s.start_unix_nano for s in spans), default=0)
    known = {s.span_id for s in spans}
    children: dict[str, list[ExampleSpan]] = {}
    for span in spans:
        children.setdefault(span.parent_id if span.parent_id in known else "", []).append(span)
    ordered: list[tuple[ExampleSpan, int]] = []
    seen: set[str] = set()
    # What a circle of parents hides from the roots is visited afterwards, as roots of its own.
    waiting = [(s, 0) for s in reversed(spans)] + [(s, 0) for s in reversed(children.get("", []))]
    while waiting:
        span, depth = waiting.pop()
        if span.span_id in seen:
            continue
        seen.add(span.span_id)
        ordered.append((span, depth))
        waiting += [(child, depth + 1) for child in reversed(children.get(span.span_id, []))]
    return tuple(
        WaterfallSpan(
            span.span_id, span.parent_id, span.operation.service, span.operation.kind, span.operation.name, depth,
            round((span.start_unix_nano - start) / 1e6, 3), round(span.duration_ns / 1e6, 3), round(span.exclusive_ns / 1e6, 3),
            span.status,
        )
        for span, depth in ordered[:SPANS_MAX]
    )  # fmt: skip
