"""The list of people as a file: read again when it has changed, so that who leaves is not believed from then on."""

import logging
import os
import threading
from pathlib import Path
from typing import Any

from verdigris.approvals.people import InvalidPeople, People, read_people
from verdigris.plan.yaml_text import read_yaml

BYTES_MAX = 1 << 20
NAME = "people.yaml"
"""Where it is in the state folder, if the settings do not say."""

log = logging.getLogger("verdigris.people")


class PeopleFile:
    """Who may say something, as the file says now. May be called from any thread; blocks while the file is read."""

    def __init__(self, path: Path, *, required: bool) -> None:
        """`required`: it must be there. Raises: InvalidPeople: it cannot be read now."""
        self.path, self._required = path, required
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, ...] | None, People] | None = None
        with self._lock:
            self._refresh()

    def __call__(self) -> People:
        """The people. While the file cannot be read, nobody is known: gates stay closed, and what leads back needs nobody."""
        with self._lock:
            try:
                return self._refresh()
            except InvalidPeople as error:
                if self._read is None or self._read[1].people:
                    log.error("%s; nobody is believed until it can be", error)  # noqa: TRY400  # the message says it all
                self._read = (None, People())
                return People()

    def _refresh(self) -> People:
        """Raises: InvalidPeople."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
                if self._read is None or self._read[0] != stamp:
                    self._read = (stamp, read_people(_value(file.read(BYTES_MAX + 1), self.path)))
        except FileNotFoundError as error:
            if self._required:
                msg = f"the list of people, {self.path}, is not there"
                raise InvalidPeople(msg) from error
            self._read = (None, People())
        except OSError as error:
            msg = f"the list of people, {self.path}, cannot be read: {error.strerror or error}"
            raise InvalidPeople(msg) from error
        return self._read[1]


def _value(content: bytes, path: Path) -> Any:
    """Raises: InvalidPeople."""
    if len(content) > BYTES_MAX:
        msg = f"{path}: is larger than {BYTES_MAX} bytes"
        raise InvalidPeople(msg)
    try:
        reading = read_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        msg = f"{path}: is not UTF-8 at byte {error.start}"
        raise InvalidPeople(msg) from error
    if reading.problems:
        first = reading.problems[0]
        msg = f"{path}, line {first.line}: {first.message}; {first.suggestion}"
        raise InvalidPeople(msg)
    return reading.value
