"""Which attribute values are named for a cause, and which are not."""

import numpy as np

from verdigris.judge.attributes import SHOWN_MAX, AttributeCounts, telling


def test_the_value_of_one_bad_instance_is_named() -> None:
    counts = [
        AttributeCounts("service.instance.id", "a", bad=2, good=150),
        AttributeCounts("service.instance.id", "b", bad=1, good=150),
        AttributeCounts("service.instance.id", "c", bad=57, good=100),
        AttributeCounts("service.version", "v2", bad=60, good=400),
    ]
    (found,) = telling(counts, 60, 400, 0.01)
    assert (found.key, found.value) == ("service.instance.id", "c")
    assert (found.bad_share, found.good_share) == (0.95, 0.25)
    assert found.log_e > 20


def test_a_value_on_all_spans_tells_nothing() -> None:
    assert telling([AttributeCounts("service.version", "v2", 60, 400)], 60, 400, 0.01) == ()


def test_without_bad_or_without_good_spans_nothing_is_told() -> None:
    some = [AttributeCounts("k", "v", 3, 0)]
    assert telling(some, 3, 0, 0.01) == ()
    assert telling(some, 0, 3, 0.01) == ()
    assert telling([], 3, 3, 0.01) == ()


def test_much_evidence_for_a_small_difference_is_not_told() -> None:
    counts = [AttributeCounts("http.request.method", "GET", bad=60_000, good=50_000)]
    assert telling(counts, 100_000, 100_000, 0.01) == ()


def test_the_strongest_few_are_told_strongest_first() -> None:
    counts = [AttributeCounts("k", str(n), bad=40 + n, good=5) for n in range(8)]
    found = telling(counts, 100, 100, 0.01)
    assert [t.value for t in found] == ["7", "6", "5"]
    assert len(found) == SHOWN_MAX


def test_by_chance_alone_a_value_is_seldom_told() -> None:
    rng = np.random.default_rng(11)
    told = 0
    for _ in range(300):
        bad, good = rng.binomial(50, 0.2, 40), rng.binomial(500, 0.2, 40)
        counts = [AttributeCounts("k", str(i), int(b), int(g)) for i, (b, g) in enumerate(zip(bad, good, strict=True))]
        told += bool(telling(counts, 50, 500, 0.01))
    assert told <= 9
