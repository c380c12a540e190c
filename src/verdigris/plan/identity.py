"""Which spans are the baseline's and which the candidate's: matches on resource attributes."""

from collections.abc import Mapping
from dataclasses import dataclass

from verdigris.errors import VerdigrisError


class InvalidIdentity(VerdigrisError):
    """A role's match cannot be read. Safe: nothing was read or changed; correct the match."""


@dataclass(frozen=True, slots=True)
class IdentityMatch:
    """Resource attributes that must all match. A pattern is exact text, with `*` for any run of characters and `?` for one."""

    patterns: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "IdentityMatch":
        """Read `key=pattern[,key=pattern…]`, for example `service.version=v2,deployment.environment.name=green-*`.

        Raises: InvalidIdentity: no `=`, an empty key, an empty pattern or the same key twice.
        """
        patterns: dict[str, str] = {}
        for part in text.split(","):
            key, equals, pattern = (piece.strip() for piece in part.partition("="))
            if not (key and equals and pattern):
                msg = f"cannot read {part.strip()!r} as key=pattern; write for example service.version=v2 (several: a=x,b=y*)"
                raise InvalidIdentity(msg)
            if key in patterns:
                msg = f"{key!r} is given twice in {text!r}; give each resource attribute one pattern"
                raise InvalidIdentity(msg)
            patterns[key] = pattern
        return cls(patterns)

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return ",".join(f"{key}={pattern}" for key, pattern in self.patterns.items())


EVERY_SPAN = IdentityMatch({"": "*"})
"""Matches all: no span has an attribute without a name, and `*` matches what is absent."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The two roles' matches. A role without a match claims no span of its own."""

    baseline: IdentityMatch | None
    candidate: IdentityMatch | None
