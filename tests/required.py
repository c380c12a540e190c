"""What tests need from the machine. Where VERDIGRIS_REQUIRE names it (a list with commas), its absence is a failure; elsewhere a skip."""

import os
from collections.abc import Mapping
from typing import NoReturn

import pytest

VARIABLE = "VERDIGRIS_REQUIRE"
NAMES = frozenset({"haproxy", "postgresql", "collector", "node", "chromium", "tlogcheck"})


def required(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """What must be there. Raises: ValueError: a name that no test asks for; misspelt, it would require nothing."""
    names = frozenset(filter(None, (name.strip() for name in environ.get(VARIABLE, "").split(","))))
    if names - NAMES:
        msg = f"{VARIABLE} names {', '.join(sorted(names - NAMES))}; it may name {', '.join(sorted(NAMES))}"
        raise ValueError(msg)
    return names


def missing(name: str, why: str) -> NoReturn:
    """This test cannot run here."""
    assert name in NAMES
    if name in required():
        pytest.fail(f"{why} ({VARIABLE} names {name})", pytrace=False)
    pytest.skip(why)
