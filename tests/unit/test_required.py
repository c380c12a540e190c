"""What a test needs from the machine is skipped where it is missing, unless the environment says that it must be there."""

import pytest
from tests.required import NAMES, VARIABLE, missing, required


@pytest.fixture(autouse=True)
def _nothing_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_what_is_missing_is_skipped_with_the_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="no haproxy here"):
        missing("haproxy", "no haproxy here")


def test_what_is_missing_and_required_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "postgresql, haproxy")
    with pytest.raises(pytest.fail.Exception, match=r"no haproxy here \(VERDIGRIS_REQUIRE names haproxy\)"):
        missing("haproxy", "no haproxy here")
    with pytest.raises(pytest.skip.Exception):
        missing("node", "no Node.js here")


def test_a_name_that_nothing_asks_for_is_an_error() -> None:
    assert required({VARIABLE: ",".join(NAMES)}) == NAMES
    assert required({VARIABLE: ""}) == required({}) == frozenset()
    with pytest.raises(ValueError, match="names postgres; it may name chromium, collector"):
        required({VARIABLE: "postgres"})
