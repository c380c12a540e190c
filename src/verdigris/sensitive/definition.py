"""The detectors' definition in YAML: treatments, exceptions with their reasons, detectors of the operator's own.

The file has the members of `_native.Masking`'s definition, and is read as strictly as a plan is: a key that does not exist, a word that
YAML readers disagree about or a pattern that cannot be matched in linear time is refused with its place and the reason.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

from verdigris._native import Masking
from verdigris.errors import VerdigrisError
from verdigris.plan.problems import Path, path_text, quoted
from verdigris.plan.yaml_text import BYTES_MAX, Reading, Value, read_yaml

ANY = "*"

_ENTRY_MEMBERS: Mapping[str, Mapping[str, bool]] = MappingProxyType({
    "allow": {"detector": False, "key": False, "service": False, "reason": True},
    "detectors": {"name": True, "pattern": True, "keys": False, "checksum": False, "treatment": False},
})  # fmt: skip
"""Lists, the members of each of their entries, and whether an entry must have it."""
_MEMBERS = ("treatments", "hash_key", "allow", "detectors", "identity")
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


class InvalidDetectors(VerdigrisError):
    """A definition of detectors cannot be used. Safe: nothing was scanned or decoded with it; correct what is named and start again."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """A value that may pass although a detector finds it, and why. `*` at the end of a key or service stands for any rest."""

    detector: str
    key: str
    service: str
    reason: str


@dataclass(frozen=True, slots=True)
class Detectors:
    """What is looked for and what is done with it.

    `sha256` is that of the file as it was read; empty for the defaults.
    """

    masking: Masking
    allowances: tuple[Allowance, ...] = ()
    own: tuple[str, ...] = ()
    sha256: str = ""


def default_detectors() -> Detectors:
    """The strict defaults: everything is masked but IP addresses, and nothing is allowed."""
    return Detectors(Masking())


def read_detectors(content: bytes, source: str, environ: Mapping[str, str]) -> Detectors:
    """Read a definition.

    Args:
        content: of the file, YAML or JSON in UTF-8.
        source: its name, for messages.
        environ: where `hash_key: ${env:NAME}` is looked up.
    Raises: InvalidDetectors: with the place and the reason.
    """
    if len(content) > BYTES_MAX:
        msg = f"{source} has more than {BYTES_MAX} bytes; shorten it"
        raise InvalidDetectors(msg)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        msg = f"{source} is not UTF-8 at its byte {error.start}; save it as UTF-8"
        raise InvalidDetectors(msg) from error
    reading = read_yaml(text)
    if reading.problems:
        msg = f"{source}: {reading.problems[0]} ({reading.problems[0].suggestion})"
        raise InvalidDetectors(msg)
    members = _Form(reading, source).members()
    if "hash_key" in members:
        members["hash_key"] = _secret(str(members["hash_key"]), source, environ)
    allowances = tuple(Allowance(**entry) for entry in members.get("allow", ()))
    ordered = {name: members[name] for name in ("treatments", "hash_key", "detectors", "allow", "identity") if name in members}
    try:
        masking = Masking(json.dumps(ordered))
    except ValueError as error:
        # The reason can have the lines of a pattern in it, with a mark under the place.
        msg = f"{source}: {' '.join(str(error).split())}"
        raise InvalidDetectors(msg) from error
    own = tuple(entry["name"] for entry in members.get("detectors", ()))
    return Detectors(masking, allowances, own, hashlib.sha256(content).hexdigest())


def _secret(reference: str, source: str, environ: Mapping[str, str]) -> str:
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        msg = f"{source}: hash_key holds a key itself, and files are copied; name a variable that holds it: ${{env:VERDIGRIS_HASH_KEY}}"
        raise InvalidDetectors(msg)
    key = environ.get(found[1], "")
    if not key:
        msg = f"{source}: hash_key needs the environment variable {found[1]}, which is not set; set it to 16 bytes or more in base64"
        raise InvalidDetectors(msg)
    return key


@dataclass(slots=True)
class _Form:
    """Checks the form of a definition: which members it has, and that each holds text where text belongs."""

    reading: Reading
    source: str

    def members(self) -> dict[str, Any]:
        """The definition, with everything that may be left out of an `allow` entry filled in. Raises: InvalidDetectors."""
        top = self._mapping(self.reading.value, (), _MEMBERS)
        return {name: self._member(name, value) for name, value in top.items()}

    def _member(self, name: str, value: Value) -> Any:
        if name == "treatments":
            return {detector: self._text(one, (name, detector)) for detector, one in self._mapping(value, (name,), None).items()}
        if name == "hash_key":
            return self._text(value, (name,))
        if name == "identity":
            return [self._text(one, (name, number)) for number, one in enumerate(self._list(value, (name,)))]
        return [self._entry(name, number, one) for number, one in enumerate(self._list(value, (name,)))]

    def _entry(self, name: str, number: int, value: Value) -> dict[str, Any]:
        known = _ENTRY_MEMBERS[name]
        path: Path = (name, number)
        entry = self._mapping(value, path, tuple(known))
        for member, needed in known.items():
            if needed and member not in entry:
                self._refuse(path, f"{member} is missing")
        read: dict[str, Any] = {
            member: [self._text(key, (*path, member, at)) for at, key in enumerate(self._list(one, (*path, member)))]
            if member == "keys"
            else self._text(one, (*path, member))
            for member, one in entry.items()
        }
        return dict.fromkeys(("detector", "key", "service"), ANY) | read if name == "allow" else read

    def _mapping(self, value: Value, path: Path, known: Sequence[str] | None) -> dict[str, Value]:
        if not isinstance(value, dict):
            self._refuse(path, "members are needed here, each as name: value")
        for name in value:
            if known is not None and name not in known:
                self._refuse((*path, name), f"there is no member {quoted(name)}; known are {', '.join(known)}")
        return value

    def _list(self, value: Value, path: Path) -> list[Value]:
        if not isinstance(value, list):
            self._refuse(path, "a list is needed here")
        return value

    def _text(self, value: Value, path: Path) -> str:
        if not isinstance(value, str):
            self._refuse(path, "a text is needed here; put a number in quotes")
        return value

    def _refuse(self, path: Path, what: str) -> NoReturn:
        at = self.reading.key_position(path)
        where = path_text(path)
        msg = f"{self.source}: line {at.line}, column {at.column}: {where}{': ' if where else ''}{what}"
        raise InvalidDetectors(msg)
