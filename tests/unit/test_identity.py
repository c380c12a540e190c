"""Matches as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verdigris.plan.identity import EVERY_SPAN, IdentityMatch, InvalidIdentity


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("service.version=v2", {"service.version": "v2"}),
        ("a=x,b=y*", {"a": "x", "b": "y*"}),
        (" a = x , b = y ", {"a": "x", "b": "y"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=x;b", {"a": "x;b"}),
        ("a=100%_\\'\"?", {"a": "100%_\\'\"?"}),
        ("image=repo/app:1.2@sha256:ab", {"image": "repo/app:1.2@sha256:ab"}),
    ],
)
def test_a_match_is_read(text: str, patterns: dict[str, str]) -> None:
    assert IdentityMatch.parse(text).patterns == patterns


@pytest.mark.parametrize("text", ["", "a", "a=", "=x", "a=x,", ",a=x", "a=x,,b=y", " = ", "a=x,b"])
def test_what_is_not_a_match_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidIdentity, match=r"service\.version=v2"):
        IdentityMatch.parse(text)


def test_one_attribute_has_one_pattern() -> None:
    with pytest.raises(InvalidIdentity, match="'a' is given twice"):
        IdentityMatch.parse("a=x,b=y,a=z")


def test_every_span_asks_for_an_attribute_that_none_has() -> None:
    assert EVERY_SPAN.patterns == {"": "*"}


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters=",="), min_size=1)


@given(patterns=st.dictionaries(WORDS, WORDS, min_size=1))
def test_what_is_printed_is_read_back(patterns: dict[str, str]) -> None:
    match = IdentityMatch(patterns)
    assert IdentityMatch.parse(str(match)) == match
