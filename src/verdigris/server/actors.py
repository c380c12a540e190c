"""Who asks: actors, their roles and their tokens; and over what listener they came.

Tokens are kept as SHA-256 only. A token is 32 random bytes or more, so a plain hash is enough: there is nothing to guess.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import yaml

from verdigris.errors import VerdigrisError

ACTOR_CHARS_MAX = 100
TOKEN_CHARS_MAX = 512
ACTORS_MAX = 1_000
FILE_BYTES_MAX = 1024 * 1024


class InvalidActors(VerdigrisError):
    """The file of actors cannot be read or is wrong. Safe: no address was opened; correct the file."""


class Listener(StrEnum):
    """How a request came in. It is set by the server that took the connection, never by the request."""

    LOCAL = "local"
    """The Unix socket: only the owner of the state folder can open it."""
    LOOPBACK = "loopback"
    """TCP without TLS, from this machine: any of its users, and any page in a browser of theirs."""
    TLS = "tls"


class ActorRole(StrEnum):
    """What an actor may do."""

    OPERATOR = "operator"
    """Everything."""
    VIEWER = "viewer"
    """Reading."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A name for the record, and what it may do."""

    name: str
    role: ActorRole


@dataclass(frozen=True, slots=True)
class Actors:
    """Who is known: SHA-256 of the token in hex to actor. `local_name`: who it is on the Unix socket without saying a name."""

    local_name: str
    by_token_sha256: Mapping[str, Actor]

    def of_token(self, token: str) -> Actor | None:
        """The actor of a token. Takes the same time whichever token is given, and whether it is known."""
        digest = sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        found: Actor | None = None
        for known, actor in self.by_token_sha256.items():
            if hmac.compare_digest(known, digest):
                found = actor
        return found


def actor_name(text: str) -> str:
    """A name that can stand in a record. Raises: ValueError: empty, too long, or with characters that cannot be seen."""
    if not 0 < len(text) <= ACTOR_CHARS_MAX or not text.isprintable() or text != text.strip():
        msg = f"an actor's name has 1 to {ACTOR_CHARS_MAX} visible characters and no spaces around it"
        raise ValueError(msg)
    return text


def read_actors(file: Path | None, local_name: str) -> Actors:
    """Actors from a YAML file: a list of {actor, role, sha256}. Without a file only the Unix socket is served.

    Raises: InvalidActors.
    """
    if file is None:
        return Actors(local_name, {})
    try:
        with file.open("rb") as stream:
            text = stream.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            msg = f"the actors' file {file} is larger than {FILE_BYTES_MAX} bytes"
            raise InvalidActors(msg)
        document = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"the actors' file {file} cannot be read: {error}"
        raise InvalidActors(msg) from error
    if not isinstance(document, list) or len(document) > ACTORS_MAX:
        msg = f"the actors' file {file} must be a list of at most {ACTORS_MAX} entries, each with actor, role and sha256"
        raise InvalidActors(msg)
    actors: dict[str, Actor] = {}
    for number, entry in enumerate(document, 1):
        digest, actor = _entry(entry, f"{file}, entry {number}")
        if digest in actors:
            msg = f"{file}, entry {number}: the same token stands there twice; give every actor a token of their own"
            raise InvalidActors(msg)
        actors[digest] = actor
    return Actors(local_name, actors)


def _entry(entry: object, where: str) -> tuple[str, Actor]:
    wanted = {"actor", "role", "sha256"}
    if not isinstance(entry, dict) or set(entry) != wanted or not all(isinstance(value, str) for value in entry.values()):
        msg = f"{where}: needs exactly the texts actor, role and sha256"
        raise InvalidActors(msg)
    if entry["role"] not in set(ActorRole):
        msg = f"{where}: the role is one of {', '.join(ActorRole)}"
        raise InvalidActors(msg)
    if not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]):
        msg = f"{where}: sha256 is the SHA-256 of the token: 64 digits 0-9a-f"
        raise InvalidActors(msg)
    try:
        name = actor_name(entry["actor"])
    except ValueError as error:
        msg = f"{where}: {error}"
        raise InvalidActors(msg) from error
    return entry["sha256"], Actor(name, ActorRole(entry["role"]))
