"""Reading Envoy's own administration interface: what is in force, what was counted, what time it is there. It changes nothing."""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from verdigris.traffic.data_plane import TrafficError
from verdigris.traffic.envoy_settings import Address, EnvoySettings

ANSWER_S_MAX = 1.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""Of `/runtime`, which lists every key of every layer."""

DATE_S = 1.0
"""Envoy's Date header has whole seconds,"""
DATE_CACHE_S = 0.5
"""and is made anew so often."""

CLOCK_SAMPLES = 40

_DELIVERED = "upstream_rq_total"
_FAILED = "upstream_rq_5xx"
_RETRIED = "upstream_rq_retry"
_UNDELIVERED = ("upstream_rq_pending_failure_eject", "upstream_rq_pending_overflow", "upstream_cx_none_healthy")
_COUNTERS = (_DELIVERED, _FAILED, _RETRIED, *_UNDELIVERED)


class AdminUnreachable(TrafficError):
    """Envoy's administration interface does not answer. Safe: nothing changed; what is in force is not known."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests of one slot since Envoy started, and those answered with 5xx or not delivered. Copies are in neither."""

    requests: int
    failures: int


class EnvoyAdmin:
    """A client of one Envoy's administration interface."""

    def __init__(self, address: Address) -> None:
        connector = aiohttp.UnixConnector(path=address.path) if address.path else aiohttp.TCPConnector(limit=4)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX), cookie_jar=aiohttp.DummyCookieJar()
        )
        self._base = "http://envoy" if address.path else f"http://{address}"
        self._address = address
        self._clock = ProxyClock()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def runtime(self) -> Mapping[str, Any]:
        """`/runtime`: every layer's values. Raises: AdminUnreachable."""
        return await self._get("/runtime", {"format": "json"})

    async def counted(self, settings: EnvoySettings) -> dict[str, Counted]:
        """Requests by slot. Raises: AdminUnreachable."""
        clusters = {settings.cluster(e.slot): e.slot for e in (settings.baseline, settings.candidate)}
        pattern = rf"^cluster\.({'|'.join(map(re.escape, clusters))})\.({'|'.join(_COUNTERS)})$"
        answer = await self._get("/stats", {"format": "json", "filter": pattern})
        values: dict[str, int] = {}
        for row in answer.get("stats", ()):
            if isinstance(row, dict) and isinstance(row.get("value"), int) and not isinstance(row["value"], bool):
                values[str(row.get("name"))] = row["value"]
        return {slot: _counted(values, cluster) for cluster, slot in clusters.items()}

    @property
    def clock_offset_s(self) -> float | None:
        """Envoy's clock minus ours; None before the first answer."""
        return self._clock.offset_s

    async def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        sent_unix_s = time.time()
        try:
            async with self._session.get(self._base + path, params=query, allow_redirects=False) as answer:
                body = await _bounded(answer)
                date = answer.headers.get("date")
                status = answer.status
            received_unix_s = time.time()
            document = json.loads(body) if status == 200 else None  # noqa: PLR2004  # HTTP
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
            msg = f"Envoy's administration interface at {self._address} does not answer: {type(error).__name__} {error}".rstrip()
            raise AdminUnreachable(msg) from error
        if not isinstance(document, dict):
            msg = f"Envoy's administration interface at {self._address} answered {path} with status {status}, not with a JSON object"
            raise AdminUnreachable(msg)
        if date:
            self._clock.add(date, sent_unix_s, received_unix_s)
        return document


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in answer.content.iter_chunked(64 * 1024):
        body += part
        if len(body) > ANSWER_BYTES_MAX:
            msg = f"the answer is longer than {ANSWER_BYTES_MAX} bytes"
            raise ValueError(msg)
        await asyncio.sleep(0)
    return bytes(body)


def _counted(values: Mapping[str, int], cluster: str) -> Counted:
    """From attempts to requests: those delivered and those not, less those that were tried again.

    `upstream_rq_total` alone would count nothing for a slot that refuses every connection.
    """
    of = {name: values.get(f"cluster.{cluster}.{name}", 0) for name in _COUNTERS}
    attempts = of[_DELIVERED] + sum(of[name] for name in _UNDELIVERED)
    return Counted(max(0, attempts - of[_RETRIED]), of[_FAILED])


class ProxyClock:
    """How far the proxy's clock is from ours. Each answer says a whole second; many together say it to a fraction of one."""

    def __init__(self) -> None:
        self._bounds: deque[tuple[float, float]] = deque(maxlen=CLOCK_SAMPLES)

    def add(self, date: str, sent_unix_s: float, received_unix_s: float) -> None:
        """One answer's Date header, and our time before and after."""
        try:
            said = parsedate_to_datetime(date)
        except ValueError:
            return
        unix_s = (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
        # What the proxy's clock showed when it answered lies between the second and its end, plus the age of the cached text.
        self._bounds.append((unix_s - received_unix_s, unix_s + DATE_S + DATE_CACHE_S - sent_unix_s))
        while len(self._bounds) > 1 and max(low for low, _ in self._bounds) > min(high for _, high in self._bounds):
            self._bounds.popleft()  # a clock was set: what was before says nothing any more

    @property
    def offset_s(self) -> float | None:
        """The middle of what all answers allow."""
        if not self._bounds:
            return None
        return (max(low for low, _ in self._bounds) + min(high for _, high in self._bounds)) / 2
