"""The people who may say something: their names, what they are, their public keys, and for how long. Pure; files are read by others.

Names are compared as people read them: the same letters in another case or another Unicode form are the same person. Letters of
another alphabet that look alike are not; they belong to nobody, and nobody is never believed to be another than the author.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from verdigris.approvals.errors import ApprovalError
from verdigris.approvals.ssh_key import InvalidPublicKey, PublicKey
from verdigris.plan.gates import Role
from verdigris.times import rfc3339, unix_nano_of

PEOPLE_MAX = 1_000
KEYS_MAX = 10
NAME_CHARS_MAX = 100
_NAMED = {"name", "roles", "keys"}
_TIMES = ("from", "until")


class InvalidPeople(ApprovalError):
    """The list of people cannot be read or contradicts itself. Safe: nobody on it was believed; correct the list."""


def folded(name: str) -> str:
    """A name as it is compared."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is known. Valid from `from_unix_nano` until just before `until_unix_nano`; None: without an end."""

    name: str
    roles: frozenset[Role]
    keys: tuple[PublicKey, ...]
    from_unix_nano: int | None = None
    until_unix_nano: int | None = None

    def is_valid(self, unix_nano: int) -> bool:
        """Whether the person may say something at this time."""
        began = self.from_unix_nano is None or self.from_unix_nano <= unix_nano
        return began and (self.until_unix_nano is None or unix_nano < self.until_unix_nano)

    def is_called(self, name: str) -> bool:
        """Whether it is this person's name."""
        return folded(self.name) == folded(name)


@dataclass(frozen=True, slots=True)
class People:
    """Everybody who is known. Each name and each key is one person's. Raises: InvalidPeople: on being made."""

    people: tuple[Person, ...] = ()

    def __post_init__(self) -> None:
        names: set[str] = set()
        owners: dict[PublicKey, str] = {}
        for person in self.people:
            if folded(person.name) in names:
                msg = f"{person.name} is there twice; give each person one entry with all their keys"
                raise InvalidPeople(msg)
            names.add(folded(person.name))
            for key in person.keys:
                if key in owners:
                    msg = f"the key {key.fingerprint} of {person.name} is also of {owners[key]}; a key has one owner, and stands there once"
                    raise InvalidPeople(msg)
                owners[key] = person.name

    def named(self, name: str) -> Person | None:
        """The person of this name."""
        return next((person for person in self.people if person.is_called(name)), None)

    def owner(self, key: PublicKey) -> Person | None:
        """Whose key it is."""
        return next((person for person in self.people if key in person.keys), None)


def read_people(document: Any) -> People:
    """People from parsed YAML or JSON: `{people: [{name, roles, keys, from, until}, …]}`, the last two optional.

    Keys are lines as in a `.pub` file. Times are RFC 3339 with an offset, or values that YAML has read as such.
    Raises: InvalidPeople.
    """
    entries = document.get("people") if isinstance(document, Mapping) and set(document) == {"people"} else None
    if not isinstance(entries, list) or len(entries) > PEOPLE_MAX:
        msg = f"the list of people must be one key, `people`, with a list of at most {PEOPLE_MAX} entries"
        raise InvalidPeople(msg)
    return People(tuple(_person(entry, f"people[{number}]") for number, entry in enumerate(entries)))


def person_document(person: Person) -> dict[str, Any]:
    """One entry of the list of people, as `read_people` takes it."""
    times = zip(_TIMES, (person.from_unix_nano, person.until_unix_nano), strict=True)
    keys = [str(key) for key in person.keys]
    return {"name": person.name, "roles": sorted(person.roles), "keys": keys} | {key: rfc3339(at) for key, at in times if at is not None}


def _person(entry: Any, where: str) -> Person:
    if not isinstance(entry, Mapping) or not _NAMED <= set(entry) <= {*_NAMED, *_TIMES}:
        msg = f"{where}: needs name, roles and keys, may have from and until, and nothing else"
        raise InvalidPeople(msg)
    name = entry["name"]
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable() or name != name.strip():
        msg = f"{where}.name: is 1 to {NAME_CHARS_MAX} visible characters without spaces around them"
        raise InvalidPeople(msg)
    where = f"{where} ({name})"
    roles, keys = entry["roles"], entry["keys"]
    if not isinstance(roles, list) or not roles or not all(isinstance(role, str) and role in set(Role) for role in roles):
        msg = f"{where}.roles: is a list of one or more of {', '.join(Role)}"
        raise InvalidPeople(msg)
    if not isinstance(keys, list) or not 0 < len(keys) <= KEYS_MAX or not all(isinstance(key, str) for key in keys):
        msg = f"{where}.keys: is a list of 1 to {KEYS_MAX} public keys, each a line as in a .pub file"
        raise InvalidPeople(msg)
    try:
        public = tuple(map(PublicKey.parse, keys))
    except InvalidPublicKey as error:
        msg = f"{where}.keys: {error}"
        raise InvalidPeople(msg) from error
    begin, end = (_unix_nano(entry.get(key), f"{where}.{key}") for key in _TIMES)
    if begin is not None and end is not None and end <= begin:
        msg = f"{where}: ends before it begins, so that it is never valid; correct from or until"
        raise InvalidPeople(msg)
    return Person(name, frozenset(map(Role, roles)), public, begin, end)


def _unix_nano(value: Any, where: str) -> int | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and "T" in value.upper() else value
        if isinstance(moment, datetime) and moment.tzinfo is not None:
            return unix_nano_of(moment)
    except (ValueError, OverflowError):
        pass
    msg = f"{where}: is a time with its offset, such as 2026-11-03T20:00:00+01:00"
    raise InvalidPeople(msg)
