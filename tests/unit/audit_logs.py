"""Small logs and packs for the verifier, made by the writer. For tests only."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from tests.unit.ledger_keys import signer

from verdigris.audit.verify import PACK_FORMAT
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.log import Log
from verdigris.ledger.note import Algorithm, VerifierKey
from verdigris.ledger.statement import Actor, ActorKind, Clock, Outcome, Statement, signed
from verdigris.ledger.storage import HeadMoved
from verdigris.times import NANO

ORIGIN = "guard.test/log"
KEY, OTHER_KEY = str(signer(1).key), str(signer(2).key)
WITNESS = str(VerifierKey("witness.test/w", Algorithm.COSIGNATURE, signer(9).key.public))
ROLLOUT, ANOTHER = "20260501-120000-ab12", "20260502-090000-cd34"
PLAN = b'{"a":"plan"}'
PLAN_DIGEST = hashlib.sha256(PLAN).hexdigest()
START_UNIX_S = 1_777_636_800


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def statement(
    kind: Kind, sequence: int, rollout: str | None = ROLLOUT, values: Mapping[str, Value] | None = None, **more: Any
) -> Statement:
    said: dict[str, Any] = {
        "actor": Actor(ActorKind.GUARD, digest("the card of the guard")), "unix_nano": (START_UNIX_S + sequence) * NANO,
        "clock": Clock(synchronised=True, error_ms=12), "outcome": Outcome.DONE, "plan": None if rollout is None else PLAN_DIGEST,
    } | more  # fmt: skip
    return Statement(kind=kind, rollout=rollout, sequence=sequence, values=values or {}, **said)


def entry(kind: Kind, sequence: int, rollout: str | None = ROLLOUT, values: Mapping[str, Value] | None = None, **more: Any) -> bytes:
    keys: Sequence[int] = more.pop("keys", (1,))
    return signed(statement(kind, sequence, rollout, values, **more), [signer(n) for n in keys])


def guard(kind: Kind, sequence: int, **more: Any) -> bytes:
    return entry(kind, sequence, None, {"version": "0.1.0"} if kind is Kind.GUARD_STARTED else {}, **more)


def told(rollout: str = ROLLOUT, *, ended: bool = True) -> list[bytes]:
    """A rollout of ten entries: one step, the commit, the end."""
    weight: dict[str, Value] = {"candidatePercent": 5.5, "generation": 7}
    split: dict[str, Value] = {"committed": False, **weight}
    whole: dict[str, Value] = {"candidatePercent": 100.0, "generation": 8}
    verdict: dict[str, Value] = {
        "verdict": "PASS", "judge": digest("judge"), "judgeVersion": "0.1.0", "numpyVersion": "2.1.0", "judgement": digest("judgement"),
        "looks": digest("looks"), "reference": digest("reference"), "windows": 12, "findings": 0, "baselineTraces": 1000,
        "candidateTraces": 55,
    }  # fmt: skip
    moved: dict[str, Value] = {"from": "planned", "to": "preflight", "event": "begun", "transition": 1}
    of: list[tuple[Kind, dict[str, Value], dict[str, Any]]] = [
        (Kind.PLAN_SUBMITTED, {}, {"based_on": (PLAN_DIGEST,), "details": digest("details")}),
        (Kind.PHASE, moved, {}),
        (Kind.PREFLIGHT_CHECK, {"check": "proxy", "result": "PASS"}, {}),
        (Kind.WEIGHT_INTENDED, {**weight, "step": 0, "leaseS": 30}, {"outcome": Outcome.ANNOUNCED}),
        (Kind.WEIGHT_OBSERVED, split, {"outcome": Outcome.SEEN}),
        (Kind.VERDICT, verdict, {"based_on": (digest("judgement"),)}),
        (Kind.REQUEST, {"request": "commit"}, {"outcome": Outcome.SEEN}),
        (Kind.COMMIT_INTENDED, whole, {"outcome": Outcome.ANNOUNCED}),
        (Kind.COMMIT_OBSERVED, {"candidatePercent": 100, "generation": None, "committed": True}, {"outcome": Outcome.SEEN}),
        (Kind.ROLLOUT_ENDED, {"phase": "committed"}, {}),
    ]
    return [entry(kind, n, rollout, values, **more) for n, (kind, values, more) in enumerate(of, 1) if ended or n < len(of)]


def twelve() -> list[bytes]:
    return [guard(Kind.GUARD_STARTED, 1), *told(), guard(Kind.GUARD_STOPPED, 2, unix_nano=(START_UNIX_S + 20) * NANO)]


@dataclass
class Memory:
    """Where a writer keeps a log, and from where the verifier reads it: the same bytes, without a disk."""

    files: dict[str, bytes] = field(default_factory=dict)
    made: dict[int, bytes] = field(default_factory=dict)

    # -- for the writer

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def write(self, path: str, content: bytes, *, durable: bool) -> None:
        self.files[path] = content

    def listed(self, folder: str) -> list[str]:
        under = [path.removeprefix(f"{folder}/") for path in self.files if path.startswith(f"{folder}/")]
        return sorted(name for name in under if "/" not in name)

    def head(self) -> bytes | None:
        return self.files.get("checkpoint")

    def advance(self, size: int, checkpoint: bytes) -> None:
        self.files["checkpoint"] = checkpoint

    def commits(self) -> list[int]:
        return sorted(self.made)

    def commit(self, start: int, content: bytes) -> None:
        if start in self.made:
            raise HeadMoved
        self.made[start] = content

    def committed(self, start: int) -> bytes:
        return self.made[start]

    def forget(self, start: int) -> None:
        del self.made[start]

    def drop(self, folder: str) -> None:
        for path in [path for path in self.files if path.startswith(f"{folder}/")]:
            del self.files[path]

    # -- for the verifier

    def names(self) -> dict[str, int]:
        return {name: len(content) for name, content in self.files.items()}

    def chunks(self, name: str, limit: int) -> Iterator[bytes] | None:
        content = self.files.get(name)
        assert content is None or len(content) <= limit
        return None if content is None else iter([content])


def sealed(entries: Sequence[bytes], number: int = 1, origin: str = ORIGIN, at_once: int = 10_000) -> Memory:
    """A log of these entries, appended in batches, signed by one key."""
    memory = Memory()
    log = Log(memory, origin, signer(number))
    for start in range(0, len(entries), at_once):
        log.append(entries[start : start + at_once])
    return memory


def cosigned(checkpoint: bytes, unix_s: int, number: int = 9) -> bytes:
    text = checkpoint.decode().rpartition("\n\n")[0] + "\n"
    return checkpoint + signer(number, "witness.test/w").cosign(text, unix_s).line().encode()


EVIDENCE = {digest(text): text.encode() for text in ("the card of the guard", "details", "judgement", "looks", "reference")}
"""All that the entries of `told` name."""


def packed(entries: Sequence[bytes], chosen: Sequence[int], evidence: Mapping[str, bytes] = EVIDENCE) -> dict[str, bytes]:
    """A pack's files."""
    memory = Memory()
    log = Log(memory, ORIGIN, signer(1))
    log.append(entries)
    files = {"checkpoint": memory.files["checkpoint"], "plan.json": PLAN}
    for index in chosen:
        files[f"entries/{index}.json"] = entries[index]
        files[f"proofs/{index}.tlog-proof"] = str(log.proof(index)).encode()
    files |= {f"evidence/{name}": content for name, content in evidence.items()}
    return listed(files, chosen)


def listed(files: Mapping[str, bytes], chosen: Sequence[int], other: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    """With a manifest of these files, in which other things stand."""
    manifest = {
        "format": PACK_FORMAT, "rollout": ROLLOUT, "entries": list(chosen),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "manifest.json"},
    } | dict(other or {})  # fmt: skip
    return {**files, "manifest.json": rfc8785.dumps(manifest)}
