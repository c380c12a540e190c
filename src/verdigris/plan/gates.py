"""Who must agree before a rollout moves: roles, and how many people of each. Who these people are is known elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

QUORUM_MAX = 20


class Role(StrEnum):
    """What somebody is in a change (PCI DSS 6.5.4, NIST AC-5: separate roles). A person may be several, and acts as one at a time."""

    AUTHOR = "author"
    APPROVER = "approver"
    TESTER = "tester"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    SECURITY = "security"


ASKABLE = tuple(role for role in Role if role is not Role.AUTHOR)
"""Whom a gate can ask: who wrote a change does not approve it."""


@dataclass(frozen=True, slots=True)
class Need:
    """So many people, each in one of these roles."""

    roles: tuple[Role, ...]
    quorum: int = 1

    def __str__(self) -> str:
        """As in "2 of approver or security"."""
        return f"{self.quorum} of {any_of(self.roles)}"


Gate = tuple[Need, ...]
"""All of these are needed; empty: nobody is asked."""

ONE_APPROVER: Gate = (Need((Role.APPROVER,)),)


def asked_twice(roles: Sequence[Role]) -> Role | None:
    """The first role that stands twice in a gate: then a word would count for two needs."""
    return next((role for place, role in enumerate(roles) if role in roles[:place]), None)


def any_of(roles: Iterable[Role]) -> str:
    """As in "approver or security"."""
    asked = set(roles)
    return " or ".join(role.value for role in Role if role in asked)
