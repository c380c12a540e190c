"""Bytes of the documents that are made here: stable, and identifiers that come from what they identify."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://verdigris.dev/compliance")
"""Of all identifiers. RFC 9562, version 5."""


def identifier(*parts: str) -> str:
    """The UUID of what the parts name: always the same one."""
    return str(uuid.uuid5(NAMESPACE, json.dumps(parts)))


def written(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys, for people and diffs: equal documents are equal bytes."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def line(text: object) -> str:
    """Text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split()) or "-"
