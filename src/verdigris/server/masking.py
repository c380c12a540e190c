"""What this guard masks: the definition in its settings, and beside it the detectors of the plans whose evidence it keeps.

A plan's detectors are in force before its rollout begins anything, on the guard that acts on it, and within seconds on the others. What is
in force is entered into the ledger, with the exceptions and their reasons: when the guard starts, and whenever it changes.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import rfc8785

from verdigris import _native
from verdigris.judge.windows import Operation
from verdigris.plan.detectors import OwnDetector, refusal
from verdigris.plan.plan import Plan
from verdigris.rollout.records import Records, RecordsUnavailable
from verdigris.rollout.surroundings import CannotMask
from verdigris.sensitive.findings import Leak, Tally

REFRESH_EVERY_S = 2.0

log = logging.getLogger("verdigris.masking")


class SeenLeaks:
    """What the decoders found since this guard was started, for samples. May be used in any thread."""

    def __init__(self) -> None:
        self._tally, self._lock = Tally(), threading.Lock()

    def add(self, findings: Sequence[_native.Finding], uncounted: int) -> None:
        """Count what one export had."""
        with self._lock:
            self._tally.add(findings, uncounted)

    def leak(self, word: str, operation: Operation) -> Leak:
        """What a word of the windows says that an operation sends."""
        with self._lock:
            return self._tally.leak(word, operation.service, operation.name)


class MaskingInForce:
    """What is masked now. Belongs to the guard's event loop."""

    def __init__(self, settings: str, use: Callable[[_native.Masking], None]) -> None:
        """`settings`: the decoder's definition, as the settings have it. `use` is given what is in force, whenever it changes."""
        self._settings: dict[str, Any] = json.loads(settings)
        self._use = use
        self._own: tuple[OwnDetector, ...] = ()
        self._included = 0
        """So often a plan's detectors were added here: a reading of the records from before does not know of the last ones."""
        self._noted: tuple[OwnDetector, ...] | None = None

    def why_not(self, plan: Plan) -> str | None:
        """Why a plan's detectors could not be put in force beside those that are; None if they could."""
        settings = map(OwnDetector.read, self._settings.get("detectors", ()))
        known = {*settings, *self._own}
        for one in plan.detectors:
            if any(other.name == one.name and other != one for other in known):
                return f"another detector has the name {one.name} already, in this guard's settings or in another plan; give it another"
        return refusal(self._definition(_joined(self._own, plan.detectors)))

    def include(self, plan: Plan) -> None:
        """Put a plan's detectors in force now. Raises: CannotMask."""
        self._included += 1
        self._put_in_force(_joined(self._own, plan.detectors))

    async def keep(self, records: Records, guard: str, now_unix_s: Callable[[], float]) -> None:
        """Put in force what the records say, and enter what is in force, for ever."""
        while True:
            try:
                await self.load(records, now_unix_s())
                await self._note(records, guard, now_unix_s())
            except (RecordsUnavailable, CannotMask) as error:
                log.warning("%s", error)
            except Exception:  # the next round comes; until then what was masked is masked
                log.exception("what plans want to be masked could not be read; trying again")
            await asyncio.sleep(REFRESH_EVERY_S)

    async def load(self, records: Records, now_unix_s: float) -> None:
        """Put in force what the records say. Raises: RecordsUnavailable, CannotMask."""
        included = self._included
        found = await asyncio.to_thread(records.own_detectors, now_unix_s)
        if included == self._included:
            self._put_in_force(found)

    async def _note(self, records: Records, guard: str, now_unix_s: float) -> None:
        own = self._own
        if own != self._noted:
            document = rfc8785.dumps(json.loads(self._definition(own)) | {"hash_key": "hash_key" in self._settings})
            detectors, allowed = len(own) + len(self._settings.get("detectors", ())), len(self._settings.get("allow", ()))
            await asyncio.to_thread(records.note_masking, guard, now_unix_s, document, detectors, allowed)
            self._noted = own

    def _put_in_force(self, own: tuple[OwnDetector, ...]) -> None:
        if own == self._own:
            return
        definition = self._definition(own)
        if why := refusal(definition):
            msg = f"the detectors of plans cannot be put in force: {why}; what was masked before is masked. Have fewer in the settings"
            raise CannotMask(msg)
        self._use(_native.Masking(definition))
        self._own = own

    def _definition(self, own: Sequence[OwnDetector]) -> str:
        """The decoder's, which has detectors before what allows their findings."""
        members: dict[str, Any] = {name: self._settings[name] for name in ("treatments", "hash_key") if name in self._settings}
        members["detectors"] = _with_names_of_their_own(self._settings.get("detectors", []), own)
        members.update((name, self._settings[name]) for name in ("allow", "identity") if name in self._settings)
        return json.dumps(members)


def _joined(known: tuple[OwnDetector, ...], more: Sequence[OwnDetector]) -> tuple[OwnDetector, ...]:
    return tuple(dict.fromkeys((*known, *more)))


def _with_names_of_their_own(settings: Sequence[dict[str, Any]], own: Sequence[OwnDetector]) -> list[dict[str, Any]]:
    """All detectors in the decoder's form. Two plans that were taken by different guards may use one name for two things: then the later
    gets a number, so that both are masked.
    """
    found: dict[str, dict[str, Any]] = {one["name"]: one for one in settings}
    for one in own:
        form = one.document()
        number = 1
        while found.get(form["name"], form) != form:
            number += 1
            form = replace(one, name=f"{one.name[:28]}_{number}").document()
        found[form["name"]] = form
    return list(found.values())
