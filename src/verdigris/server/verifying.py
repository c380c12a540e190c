"""The guard verifies its own ledger: with the auditor's verifier, which shares no code with the writer, in a process of its own and at the
lowest priority. What was found is entered (`ledger.verified`). Problems stop everything but the way back to the baseline.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import sqlalchemy as sa

from verdigris.errors import VerdigrisError
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.ledger import Ledger
from verdigris.ledger.statement import Outcome

LIMIT_S = 3_600.0
"""For one verification; a million entries take five minutes of a processor, for which it waits behind everybody else."""

RETRY_S = 600.0
"""After one that could not be made, the next comes so soon, or after the interval where that is shorter."""

LOWEST = 19
PROBLEMS_MAX = 20
"""So many are told in the journal; all are counted."""

_RUN = "from verdigris.cli.main import run; run()"
_PROVEN, _WRONG = 0, 1

log = logging.getLogger("verdigris.ledger")

Note = Callable[[Kind, str, Mapping[str, Value], Mapping[str, object], Outcome], Awaitable[bool]]
"""Enters something that the guard says of itself."""


class CannotVerify(VerdigrisError):
    """The ledger could not be verified. Safe: nothing was found and nothing was changed; it is tried again."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is run. `environment`: what is added to the guard's own, where a secret must not stand on a command line."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """`entries`: so many were read and believed; `problems`: so many; `first`: some of them, in words."""

    entries: int
    problems: int
    first: tuple[str, ...]

    @property
    def text(self) -> str:
        """For people."""
        if not self.problems:
            return f"the ledger was verified: nothing is wrong with its {self.entries} entries"
        return f"the ledger was verified, and has {self.problems} problem{'s' if self.problems > 1 else ''}; the first: {self.first[0]}"


def log_in_folder(folder: Path, keys: Sequence[str]) -> Command:
    """The verifier as an auditor gets it, on a log's folder."""
    verifier = str(resources.files("verdigris.audit").joinpath("verify.py"))
    return Command((sys.executable, "-I", verifier, "log", str(folder), "--json", *_given(keys)), {})


def log_in_tables(database_url: str, keys: Sequence[str]) -> Command:
    """`verdigris audit verify` on a log in PostgreSQL."""
    url = sa.make_url(database_url)
    query = {name: value for name, value in url.query.items() if name != "password"}
    bare = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    password = url.password if url.password is not None else url.query.get("password")
    arguments = (sys.executable, "-I", "-c", _RUN, "audit", "verify", bare.render_as_string(hide_password=False), "--json", *_given(keys))
    return Command(arguments, {} if password is None else {"PGPASSWORD": str(password)})


def _given(keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for key in dict.fromkeys(keys) for word in ("--key", key))


class Verifying:
    """One ledger's verification: at the start, at an interval, and when it is asked for."""

    def __init__(self, ledger: Ledger, command: Command, note: Note, every_s: float, limit_s: float = LIMIT_S) -> None:
        """Nothing is verified yet."""
        self._ledger, self._command, self._note = ledger, command, note
        self._every_s, self._limit_s = every_s, limit_s
        self._asked = asyncio.Event()
        self.found: Found | None = None
        """Of the last verification."""
        self.failing = ""
        """Why the last one could not be made."""

    def ask(self) -> None:
        """Verify soon: now, or once the present verification has ended. To be called in the event loop's thread."""
        self._asked.set()

    async def run(self) -> None:
        """Verify for ever."""
        while True:
            self._asked.clear()
            pause_s = self._every_s
            try:
                if self._ledger.log.size:
                    await self.verify()
            except CannotVerify as error:
                log.warning("the ledger could not be verified: %s", error)
                self.failing, pause_s = str(error), min(RETRY_S, self._every_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), pause_s)

    async def verify(self) -> Found:
        """Verify now, and enter what was found. Raises: CannotVerify."""
        found = await self._ran()
        values = {"entries": found.entries, "problems": found.problems}
        if not found.problems:
            self._ledger.doubt = None
        (log.error if found.problems else log.info)("%s", found.text)
        # It is entered before nothing can be entered any more.
        outcome = Outcome.FAILED if found.problems else Outcome.DONE
        await self._note(Kind.LEDGER_VERIFIED, found.text, values, {**values, "first": list(found.first)}, outcome)
        if found.problems:
            self._ledger.doubt = found.text
        self.found, self.failing = found, ""
        return found

    async def _ran(self) -> Found:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command.arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, env={**os.environ, **self._command.environment},
            )  # fmt: skip
        except OSError as error:
            msg = f"the verifier cannot be started: {error}"
            raise CannotVerify(msg) from error
        try:
            with contextlib.suppress(OSError):  # it has ended already
                os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)
            async with asyncio.timeout(self._limit_s):
                answer, said = await process.communicate()
        except TimeoutError as error:
            msg = f"it takes longer than {self._limit_s:g} s"
            raise CannotVerify(msg) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode not in {_PROVEN, _WRONG}:
            msg = f"the verifier ended with {process.returncode}: {said.decode(errors='replace').strip()[-500:]}"
            raise CannotVerify(msg)
        return _found(answer)

    def health(self) -> Mapping[str, object]:
        """How it stands, for anyone: counts."""
        if self.found is None:
            return {"verified_entries": None, "problems": None, "cannot_verify": bool(self.failing)}
        return {"verified_entries": self.found.entries, "problems": self.found.problems, "cannot_verify": bool(self.failing)}


def _found(answer: bytes) -> Found:
    try:
        report = json.loads(answer)
        problems = [f"{one['where']}: {one['what']}" for one in report["problems"]]
        return Found(int(report["entries"]), len(problems) + int(report["more_problems"]), tuple(problems[:PROBLEMS_MAX]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = f"the verifier gave no report: {error!r}"
        raise CannotVerify(msg) from error
