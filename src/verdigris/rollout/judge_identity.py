"""Which judge judged: its version for people, and the SHA-256 of its source, which no change can leave as it was."""

import functools
import hashlib
from collections.abc import Mapping
from importlib import metadata, resources

from verdigris.ledger.entry_kinds import Value

ROOMS = ("verdigris.judge", "verdigris.plan")


@functools.cache
def judge_identity() -> Mapping[str, Value]:
    """`judge`: the digest of its source and of the arithmetic it runs on; `judgeVersion`, `numpyVersion`."""
    digest = hashlib.sha256()
    numpy = metadata.version("numpy")
    digest.update(numpy.encode() + b"\n")
    for room in ROOMS:
        for file in sorted(resources.files(room).iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".py"):
                source = file.read_bytes()
                digest.update(f"{room}/{file.name} {len(source)}\n".encode() + source)
    for name in ("evidence.py", "judging.py"):
        digest.update(resources.files("verdigris.rollout").joinpath(name).read_bytes())
    return {"judge": digest.hexdigest(), "judgeVersion": metadata.version("verdigris"), "numpyVersion": numpy}
