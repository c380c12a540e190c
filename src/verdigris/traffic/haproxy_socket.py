"""Commands to HAProxy's admin socket and what it answers. Knows the language of the socket; knows nothing of rollouts.

Source: HAProxy 2.6 Management Guide, section 9.3. Every answer is bounded in size (`ANSWER_BYTES_MAX`) and time, and an answer that
reads otherwise than expected is an error, never a guess.
"""

import asyncio
import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass

from verdigris.traffic.data_plane import OutcomeUnknown, TrafficError

ANSWER_BYTES_MAX = 1 << 20
"""More than any answer to our commands: two lines of statistics, one row, a map of three lines."""

_MAP_LINE = re.compile(r"0x[0-9a-f]+ (\S+) (\S+)")
_MAP_VERSIONS = re.compile(r"\d+ \((\S+)\) .*curr_ver=(\d+) next_ver=(\d+)")
_NEW_VERSION = re.compile(r"New version created: (\d+)")
_ROW_FIELD = re.compile(r"(\w+)(?:\((\d+)\))?=(\d+)")
_TABLE = re.compile(r"# table: (\S+), ")


class MapMoved(TrafficError):
    """Somebody else replaced the map meanwhile. Safe: nothing changed; read it again."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the lease table: share of the second slot in millionths, slot of the chosen users, and how fresh it is.

    `until_ms` is the end, in milliseconds since 1970 modulo 2^32. `period_ms` is how long a renewal stands in this proxy; `rate` is the
    renewal as HAProxy counts it now.
    """

    share: int
    chosen: int
    until_ms: int
    rate: int
    period_ms: int


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests that HAProxy sent to one backend since it started; of them, those that failed, and those that ended without any answer.

    `unanswered` is a difference of counters that move while they are read: it can be one too high for one reading.
    """

    requests: int
    failures: int
    unanswered: int


@dataclass(frozen=True, slots=True)
class AdminSocket:
    """HAProxy's admin socket. Each command has a connection of its own, as HAProxy's command line is made for.

    All raise: TrafficError: it cannot be reached, refuses, or answers something else. OutcomeUnknown: sent, and no answer.
    """

    path: str
    timeout_s: float

    async def read_map(self, map_file: str) -> Mapping[str, str]:
        """The map that HAProxy matches against now."""
        command = f"show map {map_file}"
        text = await self._ask(command)
        entries: dict[str, str] = {}
        for line in filter(None, text.splitlines()):
            match = _MAP_LINE.fullmatch(line.strip())
            if match is None:
                raise _unexpected(command, text)
            entries[match[1]] = match[2]
        return entries

    async def prepare_map(self, map_file: str) -> int:
        """A number for a new version of the map, higher than all before. It is not in force."""
        command = f"prepare map {map_file}"
        text = await self._ask(command)
        match = _NEW_VERSION.fullmatch(text.strip())
        if match is None:
            raise _unexpected(command, text)
        return int(match[1])

    async def commit_map(self, map_file: str, version: int, entries: Mapping[str, str]) -> None:
        """Put these entries in force, all at once, in place of what was there.

        Raises: MapMoved: a version with a higher number is in force already.
        """
        for key, value in entries.items():
            await self._tell(f"add map @{version} {map_file} {key} {value}")
        command = f"commit map @{version} {map_file}"
        text = await self._ask(command)
        if "out of range" in text:
            msg = f"map {map_file} was replaced by another guard; nothing was changed, it will be read again"
            raise MapMoved(msg)
        if text.strip():
            raise _unexpected(command, text)

    async def map_versions(self, map_file: str) -> tuple[int, int]:
        """The version in force, and the highest number given out."""
        command = "show map"
        text = await self._ask(command)
        for line in text.splitlines():
            match = _MAP_VERSIONS.match(line)
            if match and match[1] == map_file:
                return int(match[2]), int(match[3])
        raise _unexpected(command, text)

    async def read_row(self, table: str, key: str) -> Row | None:
        """One row of the lease table; None if there is none."""
        command = f"show table {table} key {key}"
        text = await self._ask(command)
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            return None  # the table is there, the key is not
        header = _TABLE.match(lines[0])
        if header is None or header[1] != table or len(lines) != 2:  # noqa: PLR2004  # one line of header, one row
            raise _unexpected(command, text)
        fields = {name: (int(argument or 0), int(value)) for name, argument, value in _ROW_FIELD.findall(lines[1])}
        try:
            period_ms, rate = fields["gpc0_rate"]
            return Row(share=fields["gpt0"][1], chosen=fields["gpc0"][1], until_ms=fields["gpc1"][1], rate=rate, period_ms=period_ms)
        except KeyError as problem:
            raise _unexpected(command, text) from problem

    async def write_row(self, table: str, key: str, *, share: int, chosen: int, until_ms: int, rate: int) -> None:
        """Write and renew one row of the lease table. HAProxy takes the values together, under the row's lock."""
        values = f"data.gpt0 {share} data.gpc0 {chosen} data.gpc1 {until_ms} data.gpc0_rate {rate}"
        await self._tell(f"set table {table} key {key} {values}")

    async def counted(self, backend: str) -> Counted:
        """Requests of one backend.

        `stot` counts requests (not connections) when they begin, `scur` are under way, `req_tot` counts those that ended with a
        status. A status that HAProxy made because the server could not be reached or broke off is in `hrsp_5xx`, like the
        server's own; one that broke off later, in the body, in `srv_abrt`. What is missing in `req_tot` has no status: the server
        closed a request that was not the first on its client's connection, and HAProxy, as browsers expect, closed that too.
        A client that goes away leaves a status.
        """
        command = f"show stat {backend} 2 -1"
        text = await self._ask(command)
        rows = list(csv.DictReader(text.strip().removeprefix("# ").splitlines()))
        try:
            (row,) = rows
            begun, under_way, ended = (int(row[name]) for name in ("stot", "scur", "req_tot"))
            return Counted(begun, int(row["hrsp_5xx"]) + int(row["srv_abrt"]), max(0, begun - under_way - ended))
        except (KeyError, ValueError, TypeError) as problem:
            raise _unexpected(command, text) from problem

    async def process_id(self) -> int:
        """The process that answers."""
        command = "show info"
        text = await self._ask(command)
        match = re.search(r"^Pid: (\d+)$", text, re.MULTILINE)
        if match is None:
            raise _unexpected(command, text)
        return int(match[1])

    async def _tell(self, command: str) -> None:
        """A command that says nothing when it was done."""
        text = await self._ask(command)
        if text.strip():
            raise _unexpected(command, text)

    async def _ask(self, command: str) -> str:
        sent = False
        try:
            async with asyncio.timeout(self.timeout_s):
                reader, writer = await asyncio.open_unix_connection(self.path, limit=ANSWER_BYTES_MAX)
                try:
                    sent = True
                    writer.write(command.encode("ascii") + b"\n")
                    await writer.drain()
                    answer = await _read_to_end(reader)
                finally:
                    # Nothing is left to send; waiting for the close could only hang.
                    writer.transport.abort()
        except TimeoutError as problem:
            if sent:
                msg = f"HAProxy did not answer {command!r} within {self.timeout_s} s; whether it did it is unknown: read back before acting"
                raise OutcomeUnknown(msg) from problem
            msg = f"HAProxy's socket {self.path} did not open within {self.timeout_s} s; is HAProxy running?"
            raise TrafficError(msg) from problem
        except OSError as problem:
            if sent:
                msg = f"HAProxy broke off at {command!r} ({problem}); whether it did it is unknown: read back before acting"
                raise OutcomeUnknown(msg) from problem
            msg = (
                f"HAProxy's socket {self.path} cannot be reached ({problem}); is HAProxy running, and is the path traffic.settings.socket?"
            )
            raise TrafficError(msg) from problem
        # HAProxy ends every answer with an empty line. Without one it was cut off: a reload, a crash, or its own time limit.
        if not answer.endswith(b"\n"):
            msg = f"HAProxy broke off while it answered {command!r}; whether it did it is unknown: read back before acting"
            raise OutcomeUnknown(msg)
        return answer.decode("utf-8", "replace")


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    size_bytes = 0
    while part := await reader.read(65_536):
        size_bytes += len(part)
        if size_bytes > ANSWER_BYTES_MAX:
            msg = f"HAProxy's answer is longer than {ANSWER_BYTES_MAX} bytes; is traffic.settings.socket really HAProxy's admin socket?"
            raise OutcomeUnknown(msg)
        parts.append(part)
    return b"".join(parts)


def _unexpected(command: str, text: str) -> TrafficError:
    told = " ".join(text.split())[:200] or "nothing"
    msg = (
        f"HAProxy answered {command!r} with: {told}. Compare its configuration with that of `verdigris traffic haproxy-config`; "
        "the socket needs `level admin`"
    )
    return TrafficError(msg)
