"""Who was hurt, counted from the users' own log."""

import pytest

from verdigris.demo.harm import Answer, harm_of, last_answered_by, read_answers

LOG = """\
100.000,blue,200,50.1,
101.000,green,200,50.1,
103.000,green,503,20.0,failed
102.000,blue,200,50.0,
104.000,blue,503,50.0,
105.000,green,200,450.0,slow
106.000,green,200,50.0,
107.000,blue,200,50.0,
108.000,,0,10000.0,
109.000,,503,2.0,
110.000,blue,200,2.0,slo""".splitlines(keepends=True)


def test_the_log_is_read_in_order_without_its_unfinished_line() -> None:
    answers = read_answers(LOG)
    assert [answer.due_unix_s for answer in answers] == [100, 101, 102, 103, 104, 105, 106, 107, 108, 109]
    assert answers[3] == Answer(103.0, "green", 503, 20.0, "failed")


def test_harm_lasts_from_the_first_hurt_request_to_the_candidates_last() -> None:
    harm = harm_of(read_answers(LOG), "green")
    assert (harm.requests, harm.candidate_requests, harm.unanswered, harm.hurt) == (10, 4, 2, 2)
    assert (harm.first_hurt_unix_s, harm.last_candidate_unix_s, harm.exposed_s) == (103, 106, 3)
    assert (harm.requests_exposed, harm.candidate_exposed) == (4, 3)
    assert harm.baseline_median_ms == 50.0
    # All four requests of that time at green's share of hurt ones: 4 x 2/3.
    assert harm.hurt_at_once == 3


def test_what_blue_fails_by_nature_hurts_nobody() -> None:
    harm = harm_of(read_answers(["1.0,blue,503,5.0,\n", "2.0,green,503,5.0,\n"]), "green")
    assert (harm.hurt, harm.exposed_s, harm.hurt_at_once, harm.hurt_share, harm.unanswered) == (0, 0.0, 0, 0.0, 0)


def test_no_requests_are_no_harm() -> None:
    assert harm_of([], "green").requests == 0


@pytest.mark.parametrize(("after", "last"), [(0, 106.0), (106, 106.0), (106.5, None)])
def test_the_last_answer_of_a_slot(after: float, last: float | None) -> None:
    assert last_answered_by(read_answers(LOG), "green", after) == last
