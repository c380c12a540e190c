"""The table of encodings in docs/trust.md says what the detectors do."""

import re
from pathlib import Path

import pytest

from verdigris._native import Masking

TRUST = Path(__file__).parents[2] / "docs/trust.md"
ROW = re.compile(r"^\|[^|]*\| `([^`]+)` \| (yes|no) \|$", re.MULTILINE)
ESCAPE = re.compile(r"\\(\\)|\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
SECTION = TRUST.read_text(encoding="utf-8").partition("## Which encodings of a value are found")[2]
EXAMPLES = ROW.findall(SECTION)


def written(example: str) -> str:
    """The text that a row of the table stands for."""
    return ESCAPE.sub(lambda found: "\\" if found[1] else chr(int(found[2] or found[3], 16)), example)


def test_the_table_has_rows_of_both_kinds() -> None:
    assert len(EXAMPLES) == SECTION.count("| `")
    assert {found for _, found in EXAMPLES} == {"yes", "no"}


@pytest.mark.parametrize(("example", "found"), EXAMPLES, ids=[example for example, _ in EXAMPLES])
def test_the_table_of_encodings_is_true(example: str, found: str) -> None:
    text = written(example)
    [treated] = Masking().treat([text])
    assert (treated is not None) == (found == "yes")
    if treated is not None:
        assert set(treated.detectors) <= {"card", "email"}
        assert treated.text != text


def test_texts_that_stand_alone_are_treated_as_attributes_are() -> None:
    masking = Masking('{"treatments": {"email": "drop"}}')
    clean, card, mail = masking.treat(iter(["nothing", "4111 1111 1111 1111 twice 4111111111111111", "to a@example.com"]))
    assert clean is None
    assert card is not None
    assert (card.text, card.detectors) == ("411111******1111 twice 411111******1111", ["card"])
    assert mail is not None
    assert (mail.text, mail.detectors) == ("[email dropped]", ["email"])
    assert "4111111111111111" not in repr(card)
    [by_key] = masking.treat(["1234"], key="user.pin")
    assert by_key is not None
    assert by_key.detectors == ["pin"]
    assert Masking.off().treat(["4111111111111111"]) == [None]


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError):
        Masking().treat([b"4111"])  # type: ignore[list-item]
    with pytest.raises(UnicodeEncodeError):
        Masking().treat(["\udc00"])
