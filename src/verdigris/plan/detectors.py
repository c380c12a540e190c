"""Detectors of sensitive data: the names of the decoder's own, which a test asks it for, and those that a plan brings along."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from verdigris._native import Masking

DETECTORS = (
    "card", "card_code", "pin", "ssn", "iban", "nhs_number", "npi", "mrn", "email", "phone", "birth_date", "ip_address", "jwt", "bearer",
    "basic", "private_key", "cookie", "service_key", "url_password", "secret", "sql_literal", "url_query",
)  # fmt: skip

CHECKSUMS = ("none", "luhn", "mod97", "mod11")
TREATMENTS = ("mask", "hash", "drop")
"""What a plan may have done with what its detectors find. A span may belong to another rollout as well, so none is refused for a plan."""

SOME_HASH_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
"""For asking the decoder about a part of a definition; whether there is a key is asked of the whole."""


@dataclass(frozen=True, slots=True)
class OwnDetector:
    """What the decoder does not know by itself: a regular expression that is matched in linear time, under these keys only (none: in
    every text), where the checksum holds; and what is done with what it finds.
    """

    name: str
    pattern: str
    keys: tuple[str, ...] = ()
    checksum: str = "none"
    treatment: str = "mask"

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "OwnDetector":
        """What `document` wrote."""
        return cls(**{**document, "keys": tuple(document["keys"])})

    def document(self) -> dict[str, Any]:
        """In the form of the decoder's JSON."""
        return asdict(self) | {"keys": list(self.keys)}

    def refusal(self) -> str | None:
        """Why the decoder does not take it; None if it does. Whether the guard has a key for hashes is not asked."""
        return refusal(json.dumps({"hash_key": SOME_HASH_KEY, "detectors": [self.document()]}))


def refusal(definition: str) -> str | None:
    """Why the decoder does not take a definition of masking, in one line; None if it does."""
    try:
        Masking(definition)
    except ValueError as error:
        # The reason can have the lines of a pattern in it, with a mark under the place.
        why = " ".join(str(error).split())
        return why.removeprefix("the definition of masking cannot be used: ").removesuffix(". Safe: nothing was decoded with it")
    return None
