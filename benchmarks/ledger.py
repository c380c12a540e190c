"""What the ledger costs: an append, alone and in batches, by the size of the log; proofs; verifying all of it; bytes per entry.

    python benchmarks/ledger.py [--sizes 1000 10000 100000 1000000] [--verify-up-to 10000] [--folder DIR]

Entries are signed statements as a rollout makes them. Appends are durable: each waits for the disk. The peer is the Go project's own
implementation of tiled logs (build/tlogcheck, scripts/setup-tlogcheck), which proves every entry of the same log to itself; beside it
stand the tree alone (`audit.verify.verify_tree`) and everything that `audit verify` does, with signatures and what entries say.
"""

import argparse
import hashlib
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verdigris.audit.verify import Folder, verify_log, verify_tree
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.log import Log
from verdigris.ledger.signing import KeySigner
from verdigris.ledger.statement import Actor, ActorKind, Clock, Outcome, Statement, signed
from verdigris.ledger.storage import LogFolder

ORIGIN = "bench.test/log"
CHECKER = Path(__file__).parents[1] / "build" / "tlogcheck"
BATCH = 5_000
ALONE = 200
TOGETHER = 50


def entry(signer: KeySigner, number: int) -> bytes:
    """One entry; `number` counts from 0, and is its place in one guard's own sequence."""
    values = {"version": "0.1.0"}
    card = hashlib.sha256(b"card").hexdigest()
    return signed(
        Statement(Kind.GUARD_STARTED, None, number + 1, Actor(ActorKind.GUARD, card), 1_790_000_000_000_000_000 + number,
                  Clock(synchronised=True), Outcome.DONE, values=values),
        [signer],
    )  # fmt: skip


def took(act: Callable[[], object]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def appended(log: Log, entries: list[bytes]) -> float:
    """Seconds for one append."""
    return took(lambda: log.append(entries))


def main() -> None:
    """Grow one log, and measure at each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--verify-up-to", type=int, default=10_000, help="all that audit verify does, for logs up to this size")
    parser.add_argument("--folder", default=None)
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n")
    print("| entries | alone, ms (p99) | appends/s, 50 at once | proof, ms | tree, s | audit verify, s | Go, s | bytes each |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        signer = KeySigner(ORIGIN, Ed25519PrivateKey.generate())
        log = Log(LogFolder(Path(folder)), ORIGIN, signer)
        for size in given.sizes:
            measure(log, signer, Path(folder), size, verify=size <= given.verify_up_to)


def measure(log: Log, signer: KeySigner, folder: Path, size: int, *, verify: bool) -> None:
    """Grow the log to a size, and print a row."""
    last = size - ALONE - 10 * TOGETHER
    while log.size < last:
        log.append([entry(signer, n) for n in range(log.size, min(last, log.size + BATCH))])
    alone = [appended(log, [entry(signer, log.size)]) for _ in range(ALONE)]
    together = sum(appended(log, [entry(signer, log.size + n) for n in range(TOGETHER)]) for _ in range(10))
    step = max(1, size // 50)
    proofs = [took(partial(log.proof, n)) for n in range(0, size, step)]
    tree = took(lambda: verify_tree(Folder(folder, links=True), [str(signer.key)]))
    whole = f"{took(lambda: verify_log(folder, [str(signer.key)])):.1f}" if verify else "–"
    go = "–"
    if CHECKER.exists():
        go = f"{took(lambda: subprocess.run([CHECKER, folder, str(signer.key)], check=True, capture_output=True)):.1f}"
    kept = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    p99 = sorted(alone)[int(0.99 * len(alone))]
    print(
        f"| {size:,} | {statistics.median(alone) * 1e3:.1f} ({p99 * 1e3:.1f}) | {10 * TOGETHER / together:,.0f} | "
        f"{statistics.median(proofs) * 1e3:.2f} | {tree:.1f} | {whole} | {go} | {kept / size:,.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
