"""The report's plots as marks on a plane: lines, boxes, dots and words in a few styles. HTML draws them as SVG, the PDF as vectors. Pure.

The roles are told apart by their dashes and by words, not by colour alone.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from verdigris.audit.seen import Amount, Pair, Span
from verdigris.audit.story import Judged, Story, Weight
from verdigris.times import NANO

WIDTH, HEIGHT = 760.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 34.0, 26.0
TICKS_X, TICKS_Y = 7, 4
BARS_MAX = 10
BAR_HEIGHT, BAR_LEFT = 32.0, 330.0
PLACE_CHARACTERS = 52
LABEL_GAP = 34.0
"""Words over the steps of the weight that would stand closer than this are left out."""

DAY_S = 86_400
_TICK_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, DAY_S, 2 * DAY_S, 7 * DAY_S)


class Style(StrEnum):
    """How a mark looks; what that is in ink is the renderer's."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"
    INTENDED = "intended"
    GRID = "grid"
    AXIS = "axis"
    STEP = "step"
    STOP = "stop"
    SOFT = "soft"
    INK = "ink"
    BAR = "bar"
    FOUND = "found"


class Anchor(StrEnum):
    """Which end of a label stands at its place."""

    START = "start"
    MIDDLE = "middle"
    END = "end"


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; y grows downward."""

    points: tuple[tuple[float, float], ...]
    style: Style


@dataclass(frozen=True, slots=True)
class Box:
    """A filled box."""

    x: float
    y: float
    width: float
    height: float
    style: Style


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    style: Style


@dataclass(frozen=True, slots=True)
class Label:
    """Words on a base line."""

    x: float
    y: float
    text: str
    style: Style
    anchor: Anchor = Anchor.START


Mark = Line | Box | Dot | Label


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture, and what it shows in words for those who cannot see it."""

    title: str
    description: str
    width: float
    height: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """From a value to a place."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return round(self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start), 2)


def weight_plot(story: Story) -> Plot:
    """The candidate's share of the traffic: what was intended, and what the proxy said."""
    x, y = _time(story), _Scale(0.0, 100.0, HEIGHT - BOTTOM, TOP)
    intended, observed = _steps(story.intended, story, x, y), _steps(story.observed, story, x, y)
    marks: list[Mark] = [*_axes(story, x, y, (0, 25, 50, 75, 100), "{:g} %"), *_stops(story, x)]
    marks += [Line(points, Style.INTENDED) for points in intended]
    marks += [Line(points, Style.CANDIDATE) for points in observed]
    marks += [Dot(x.at(one.unix_nano / NANO), y.at(one.percent), Style.CANDIDATE) for one in story.observed if one.percent is not None]
    marks += _legend((("intended", Style.INTENDED), ("read back from the proxy", Style.CANDIDATE)))
    said = [f"{one.percent:g} %" if one.percent is not None else "unknown" for one in story.observed]
    description = f"Read back, in order: {', '.join(said) or 'never'}."
    return Plot("The candidate's share of the traffic", description, WIDTH, HEIGHT, tuple(marks))


def requests_plot(story: Story) -> Plot:
    """Requests in each window, of both roles: at the proxy where it counted, else traces."""
    proxied = all(one.proxied is not None for one in story.seen.points)

    def per_window(place: int) -> Callable[[Span], float]:
        return lambda span: (span.proxied if proxied and span.proxied is not None else span.traced)[place] / span.windows

    what = "requests counted by the proxy" if proxied else "traces that came"
    return _roles_plot(story, f"{what.capitalize()}, per window", what, [per_window(0), per_window(1)], _count_text)


def traced_plot(story: Story) -> Plot | None:
    """Which part of the requests at the proxy was traced, of both roles; None where the proxy's counters do not cover it."""
    if not any(one.proxied is not None for one in story.seen.points):
        return None

    def share(place: int) -> Callable[[Span], float | None]:
        return lambda span: None if span.proxied is None or not span.proxied[place] else 100 * span.traced[place] / span.proxied[place]

    return _roles_plot(story, "Traces for each 100 requests at the proxy", "traces in per cent", [share(0), share(1)], _percent_text)


def failed_plot(story: Story, operation: int) -> Plot:
    """The share of requests of an operation that failed, in both roles."""
    return _roles_plot(
        story, f"Failed requests of {_short(str(story.seen.operations[operation]))}", "share of requests that failed",
        [_of(operation, side, lambda amount: None if amount.failed_share is None else 100 * amount.failed_share) for side in _SIDES],
        _percent_text,
    )  # fmt: skip


def latency_plot(story: Story, operation: int) -> Plot:
    """How long half of the requests of an operation took at most, in both roles."""
    return _roles_plot(
        story, f"Median time of {_short(str(story.seen.operations[operation]))}", "median time, ms",
        [_of(operation, side, lambda amount: amount.p50_ms) for side in _SIDES], _ms_text,
    )  # fmt: skip


def strength_plot(judged: Judged) -> Plot | None:
    """How far each question was answered when the verdict was given: the part of what a finding needs. None: there is nothing to show."""
    rows = [one for one in judged.strengths if one.threshold > 0]
    if not rows:
        return None
    rows = sorted(rows, key=lambda one: -one.log_e / one.threshold)[:BARS_MAX]
    height = TOP + BAR_HEIGHT * len(rows) + BOTTOM
    most = max(1.25, *(one.log_e / one.threshold for one in rows))
    x = _Scale(0.0, most, BAR_LEFT, WIDTH - 60)
    bottom = height - BOTTOM
    marks: list[Mark] = [
        Line(((x.at(0), TOP - 6), (x.at(0), bottom)), Style.AXIS),
        Line(((x.at(1), TOP - 6), (x.at(1), bottom)), Style.STOP),
        Label(x.at(1), TOP - 12, "enough for a finding", Style.STOP, Anchor.MIDDLE),
        Label(x.at(0), bottom + 16, "0 %", Style.SOFT, Anchor.MIDDLE),
        Label(x.at(1), bottom + 16, "100 %", Style.SOFT, Anchor.MIDDLE),
    ]
    for place, one in enumerate(rows):
        top, part = TOP + place * BAR_HEIGHT, one.log_e / one.threshold
        found = part >= 1
        marks.append(Label(BAR_LEFT - 10, top + 11, one.signal, Style.FOUND if found else Style.INK, Anchor.END))
        marks.append(Label(BAR_LEFT - 10, top + 23, _short(one.place), Style.SOFT, Anchor.END))
        if part > 0:
            marks.append(Box(x.at(0), top + 5, max(x.at(part) - x.at(0), 1.0), BAR_HEIGHT - 14, Style.FOUND if found else Style.BAR))
        marks.append(Label(x.at(max(part, 0)) + 6, top + 18, f"{100 * max(part, 0):.0f} %", Style.FOUND if found else Style.SOFT))
    told = "; ".join(f"{one.signal} of {one.place}: {100 * max(one.log_e / one.threshold, 0):.0f} %" for one in rows)
    description = f"Part of the evidence that a finding needs. {told}."
    return Plot(f"How far each question was answered at the verdict {judged.verdict}", description, WIDTH, height, tuple(marks))


def _side_baseline(pair: Pair) -> Amount:
    return pair.baseline


def _side_candidate(pair: Pair) -> Amount:
    return pair.candidate


_SIDES = (_side_baseline, _side_candidate)


def _of(operation: int, side: Callable[[Pair], Amount], value: Callable[[Amount], float | None]) -> Callable[[Span], float | None]:
    return lambda span: value(side(span.operations[operation]))


def _roles_plot(
    story: Story, title: str, what: str, values: Sequence[Callable[[Span], float | None]], text: Callable[[float], str]
) -> Plot:
    """A value of both roles over time. A line breaks where there is no value, or no window."""
    points = story.seen.points
    known = [value for role in values for span in points if (value := role(span)) is not None]
    ticks = _ticks(max(known, default=1.0))
    x, y = _time(story), _Scale(0.0, ticks[-1], HEIGHT - BOTTOM, TOP)
    marks: list[Mark] = [*_axes(story, x, y, ticks, text), *_stops(story, x)]
    styles = (Style.BASELINE, Style.CANDIDATE)
    for role, style in zip(values, styles, strict=True):
        for run in _runs(points, role):
            places = tuple((x.at((span.start_unix_s + span.end_unix_s) / 2), y.at(value)) for span, value in run)
            marks += [Line(places, style)] if len(places) > 1 else [Dot(*places[0], style)]
    marks += _legend((("baseline", Style.BASELINE), ("candidate", Style.CANDIDATE)))
    told = []
    for name, role in zip(("baseline", "candidate"), values, strict=True):
        of_role = [value for span in points if (value := role(span)) is not None]
        told.append(f"{name} {text(min(of_role))} to {text(max(of_role))}" if of_role else f"{name} never")
    return Plot(title, f"{what.capitalize()}: {'; '.join(told)}.", WIDTH, HEIGHT, tuple(marks))


def _runs(points: Sequence[Span], value: Callable[[Span], float | None]) -> list[list[tuple[Span, float]]]:
    runs: list[list[tuple[Span, float]]] = []
    before: Span | None = None
    for span in points:
        found = value(span)
        if found is not None:
            if before is None or before.end_unix_s != span.start_unix_s:
                runs.append([])
            runs[-1].append((span, found))
        before = span if found is not None else None
    return runs


def _time(story: Story) -> _Scale:
    """From a moment to a place: the whole rollout, in all plots the same."""
    start, end = story.begun_unix_nano / NANO, story.last_unix_nano / NANO
    margin = max(end - start, 1.0) * 0.02
    return _Scale(start - margin, end + margin, LEFT, WIDTH - RIGHT)


def _steps(weights: Sequence[Weight], story: Story, x: _Scale, y: _Scale) -> list[tuple[tuple[float, float], ...]]:
    """Steps of a weight, broken where nobody could tell. Before the first, the candidate has nothing."""
    lines: list[list[tuple[float, float]]] = [[(x.at(story.begun_unix_nano / NANO), y.at(0))]]
    known = True
    for one in weights:
        at = x.at(one.unix_nano / NANO)
        if known:
            lines[-1].append((at, lines[-1][-1][1]))
        if one.percent is None:
            known = False
            continue
        if not known:
            lines.append([])
        lines[-1].append((at, y.at(one.percent)))
        known = True
    if known:
        lines[-1].append((x.at(story.last_unix_nano / NANO), lines[-1][-1][1]))
    return [tuple(points) for points in lines]


def _axes(story: Story, x: _Scale, y: _Scale, ticks: Sequence[float], text: str | Callable[[float], str]) -> Iterable[Mark]:
    for tick in ticks:
        at = y.at(tick)
        yield Line(((LEFT, at), (WIDTH - RIGHT, at)), Style.GRID if tick else Style.AXIS)
        yield Label(LEFT - 8, at + 4, text.format(tick) if isinstance(text, str) else text(tick), Style.SOFT, Anchor.END)
    bottom = HEIGHT - BOTTOM
    for moment, words in _moments(x.low, x.high):
        at = x.at(moment)
        yield Line(((at, bottom), (at, bottom + 4)), Style.AXIS)
        yield Label(at, bottom + 16, words, Style.SOFT, Anchor.MIDDLE)
    before = -math.inf
    for one in story.observed:
        at = x.at(one.unix_nano / NANO)
        yield Line(((at, TOP), (at, bottom)), Style.STEP)
        if one.percent is not None and at - before >= LABEL_GAP:
            inside = at + LABEL_GAP < WIDTH
            place, anchor = (at + 3, Anchor.START) if inside else (WIDTH - 1, Anchor.END)
            yield Label(place, TOP - 4, f"{one.percent:g} %", Style.SOFT, anchor)
            before = at


def _stops(story: Story, x: _Scale) -> Iterable[Mark]:
    """Where a verdict stopped the candidate."""
    for one in story.verdicts:
        if one.verdict in {"FAIL", "BLIND"}:
            at = x.at(one.line.unix_nano / NANO)
            yield Line(((at, TOP - 2), (at, HEIGHT - BOTTOM)), Style.STOP)
            yield Label(at - 4, TOP + 10, one.verdict, Style.STOP, Anchor.END)


def _legend(rows: Sequence[tuple[str, Style]]) -> Iterable[Mark]:
    at = LEFT
    for words, style in rows:
        yield Line(((at, 9.0), (at + 26, 9.0)), style)
        yield Label(at + 32, 13, words, Style.INK)
        at += 50 + 6.4 * len(words)


def _ticks(most: float) -> tuple[float, ...]:
    """Round numbers from 0 to at least the largest value."""
    if not math.isfinite(most) or most <= 0:
        return (0.0, 1.0)
    size = 10.0 ** math.floor(math.log10(most / TICKS_Y))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor * TICKS_Y >= most * 0.999)
    return tuple(round(step * n, 12) for n in range(math.ceil(most / step * 0.999) + 1))


def _moments(start: float, end: float) -> list[tuple[float, str]]:
    """Round times inside a period, in UTC."""
    step = next((one for one in _TICK_S if (end - start) / one <= TICKS_X), 7 * DAY_S * math.ceil((end - start) / DAY_S / 7 / TICKS_X))
    form = "%m-%d" if step >= DAY_S else "%m-%d %H:%M" if end - start > DAY_S else "%H:%M" if step % 60 == 0 else "%H:%M:%S"
    first = math.ceil(start / step) * step
    return [(at, datetime.fromtimestamp(at, UTC).strftime(form)) for at in range(first, math.floor(end) + 1, step)]


def _count_text(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"  # noqa: PLR2004  # digits that can be read


def _percent_text(value: float) -> str:
    return f"{value:.3g} %"


def _ms_text(value: float) -> str:
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"  # noqa: PLR2004  # a second


def _short(text: str) -> str:
    """The middle left out: services differ at their start, routes at their end."""
    if len(text) <= PLACE_CHARACTERS:
        return text
    head = (PLACE_CHARACTERS - 1) // 2
    return f"{text[:head]}…{text[-(PLACE_CHARACTERS - 1 - head) :]}"
