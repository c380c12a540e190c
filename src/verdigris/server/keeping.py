"""What a guard does for its ledger beside appending to it: has its head remembered, has it stamped with times, and verifies it whole."""

from collections.abc import Coroutine, Mapping
from pathlib import Path

from verdigris.ledger.ledger import Ledger
from verdigris.ledger.storage import LOG_FOLDER
from verdigris.server.settings import GuardSettings
from verdigris.server.stamping import Stamping
from verdigris.server.verifying import Note, Verifying, log_in_folder, log_in_tables
from verdigris.server.witnessing import Witnessing


class Keeping:
    """One ledger's witnesses, time stamps and verification."""

    def __init__(self, ledger: Ledger, settings: GuardSettings, state_folder: Path, note: Note) -> None:
        """Nobody is asked yet. `note`: enters what was found."""
        asked, self._log = settings.ledger, ledger.log
        keys = [str(key) for key in ledger.trusted]
        command = (
            log_in_folder(asked.folder or state_folder / LOG_FOLDER, keys)
            if settings.database_url is None
            else log_in_tables(settings.database_url, keys)
        )
        self.witnessing = Witnessing(ledger.log, asked.witnesses)
        self.stamping = Stamping(ledger.log, asked.timestamps, asked.timestamp_every_s)
        self.verifying = Verifying(ledger, command, note, asked.verify_every_s)

    def background(self) -> tuple[Coroutine[None, None, None], ...]:
        """What is to run beside the guard, for ever."""
        return (self.witnessing.run(), self.stamping.run(), self.verifying.run())

    def health(self) -> Mapping[str, object]:
        """How it stands, for anyone: counts, names of authorities and times."""
        return {
            "entries": self._log.size,
            "witnesses_failing": len(self.witnessing.failing),
            **self.stamping.health(),
            **self.verifying.health(),
        }
