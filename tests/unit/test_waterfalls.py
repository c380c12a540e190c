"""The order in which an example trace is read."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verdigris.comparison.waterfalls import SPANS_MAX, waterfall
from verdigris.judge.windows import Operation, Role
from verdigris.telemetry.store import ExampleSpan

START_NS = 1_760_000_000_000_000_000


def span(number: int, parent: int = 0, start_ns: int = 0) -> ExampleSpan:
    parent_id = f"{parent:016x}" if parent else ""
    operation = Operation("cart", "Server", "work")
    return ExampleSpan(f"{number:016x}", parent_id, Role.BASELINE, operation, "i", START_NS + start_ns, 2_000_000, 1_500_000, "")


def drawn(*spans: ExampleSpan) -> list[tuple[int, int]]:
    """Span numbers with their depths."""
    return [(int(s.span_id, 16), s.depth) for s in waterfall(spans)]


def test_no_spans_are_no_waterfall() -> None:
    assert waterfall([]) == ()


def test_parents_stand_before_their_children_and_children_by_start() -> None:
    # As the store gives them: ascending by start.
    assert drawn(span(1), span(2, 1), span(5, 1, 3), span(3, 2, 4), span(4, 2, 5)) == [(1, 0), (2, 1), (3, 2), (4, 2), (5, 1)]


def test_a_child_that_seems_to_start_before_its_parent_still_stands_below_it() -> None:
    assert drawn(span(2, 1), span(1, start_ns=10)) == [(1, 0), (2, 1)]


def test_a_span_whose_parent_never_came_is_a_root() -> None:
    assert drawn(span(1), span(3, 9, 1), span(4, 3, 2)) == [(1, 0), (3, 0), (4, 1)]


def test_circles_are_shown_once_with_the_earliest_as_root() -> None:
    assert drawn(span(1, 2), span(2, 3, 1), span(3, 1, 2), span(4, 4, 3)) == [(1, 0), (3, 1), (2, 2), (4, 0)]


def test_times_count_in_milliseconds_from_the_first_span() -> None:
    first, second = waterfall([span(1), span(2, 1, 1_234_567)])
    assert (first.start_ms, second.start_ms, second.duration_ms, second.exclusive_ms) == (0.0, 1.235, 2.0, 1.5)


def test_only_so_many_spans_are_drawn() -> None:
    assert len(waterfall([span(1), *(span(n, 1, n) for n in range(2, SPANS_MAX + 50))])) == SPANS_MAX


def test_a_chain_as_long_as_a_trace_may_be_needs_no_recursion() -> None:
    chain = drawn(*(span(n, n - 1, n) for n in range(1, 2_001)))
    assert chain == [(n, n - 1) for n in range(1, SPANS_MAX + 1)]


@given(parents=st.lists(st.integers(0, 12), min_size=1, max_size=12))
def test_every_span_is_shown_exactly_once_at_most_one_deeper_than_the_one_before(parents: list[int]) -> None:
    shown = drawn(*(span(n, parent, n) for n, parent in enumerate(parents, 1)))
    assert sorted(number for number, _ in shown) == list(range(1, len(parents) + 1))
    assert shown[0][1] == 0
    assert all(depth <= before + 1 for (_, before), (_, depth) in itertools.pairwise(shown))


@pytest.mark.parametrize("role", [None, *Role])
def test_the_role_of_a_span_does_not_matter(role: Role | None) -> None:
    (one,) = waterfall([ExampleSpan("a", "", role, Operation("s", "Client", "n"), "", START_NS, 1, 1, "HTTP 500")])
    assert (one.service, one.kind, one.name, one.status) == ("s", "Client", "n", "HTTP 500")
