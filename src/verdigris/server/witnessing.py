"""Asks witnesses to remember the ledger's head: who has the key and the disk can then no longer cut the log off, or write another one,
without its being seen. What they signed is kept beside the log, as `witnessed`; nothing waits for it.
"""

import asyncio
import logging
from collections.abc import Sequence

from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.log import Hashes, Log
from verdigris.ledger.merkle import consistency_proof
from verdigris.ledger.note import Note, Signature
from verdigris.ledger.storage import LedgerUnavailable
from verdigris.ledger.witness_client import Witness, WitnessFailed, cosignature

WITNESSED = "witnessed"
EVERY_S = 5.0

log = logging.getLogger("verdigris.ledger")


class Witnessing:
    """One log's witnesses."""

    def __init__(self, ledger_log: Log, witnesses: Sequence[Witness]) -> None:
        """Nothing is asked yet."""
        self._log, self._witnesses = ledger_log, witnesses
        self._sizes = dict.fromkeys((witness.url for witness in witnesses), 0)
        self.failing: dict[str, str] = {}
        """By witness: why it has not signed the newest head that it was asked for."""

    async def run(self) -> None:
        """Ask whenever the log has grown, for ever."""
        while True:
            try:
                await asyncio.to_thread(self.ask)
            except LedgerUnavailable as error:
                log.warning("%s", error)
            await asyncio.sleep(EVERY_S if self._witnesses else 3600)

    def ask(self) -> Note | None:
        """Have the present head cosigned. Returns it with what was signed; None where nobody signed, or nothing is new."""
        head = self._log.head
        size = Checkpoint.parse(head.text).size
        if not size or all(known == size for known in self._sizes.values()):
            return None
        hashes = Hashes(self._log.storage, size)
        signed: list[Signature] = []
        for witness in self._witnesses:
            try:
                signed.append(
                    cosignature(head, lambda old: consistency_proof(old, size, hashes), witness, min(size, self._sizes[witness.url]))
                )
                self._sizes[witness.url] = size
                self.failing.pop(witness.url, None)
            except WitnessFailed as error:
                if self.failing.get(witness.url) != str(error):
                    (log.error if error.contradicted else log.warning)("witness %s: %s", witness.url, error)
                self.failing[witness.url] = str(error)
        if not signed:
            return None
        witnessed = Note(head.text, (*head.signatures, *signed))
        self._log.storage.write(WITNESSED, str(witnessed).encode(), durable=True)
        return witnessed
