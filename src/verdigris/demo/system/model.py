"""What a demonstrated system is made of, as values. No network, no clock."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SLOT_HEADER = "x-demo-slot"
"""On every answer: the slot whose services answered."""

HURT_HEADER = "x-demo-hurt"
"""On an answer that the candidate's fault made worse: how. The services know, so the count is exact and not a guess from times."""

INSTANCES = 2
"""Hosts per slot, each with one instance of every service."""


@dataclass(frozen=True, slots=True)
class Work:
    """Something a service does by itself. It takes log-normal time around the median."""

    median_s: float


@dataclass(frozen=True, slots=True)
class Call:
    """A request to another service; `{}` in the path is what stood for it in the caller's path."""

    service: str
    method: str
    path: str


Step = Work | Call


@dataclass(frozen=True, slots=True)
class Route:
    """A path template with at most one `{…}`, and what is done for it, in order."""

    method: str
    template: str
    steps: tuple[Step, ...]
    credentials: bool = False
    """Whether a request without credentials is refused with 401."""

    def argument(self, method: str, path: str) -> str | None:
        """What stands for `{…}`, empty without one; None when the request is for another route."""
        if method != self.method:
            return None
        pattern = re.sub(r"\\\{.*?\\\}", "([^/]+)", re.escape(self.template))
        found = re.fullmatch(pattern, path)
        return None if found is None else "".join(found.groups())


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the system; the routes are tried in order."""

    name: str
    routes: tuple[Route, ...]

    def find(self, method: str, path: str) -> tuple[Route, str] | None:
        """The route of a request and its argument."""
        for route in self.routes:
            argument = route.argument(method, path)
            if argument is not None:
                return route, argument
        return None


@dataclass(frozen=True, slots=True)
class Outside:
    """Somebody else's API that the system calls: not traced, the same for both slots, in several versions."""

    service: str
    """What callers name it in `peer.service`."""
    address: str
    median_s: float
    limited_version: str
    """The API version that keeps callers waiting beyond a rate."""
    limited_per_s: float
    extra_s: tuple[float, float]
    """How much longer a request beyond that rate takes."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What users ask of the first service: `{}` is an id. `share` of all requests; `anonymous_share` of these come without credentials."""

    method: str
    path: str
    share: float
    anonymous_share: float = 0.0


@dataclass(frozen=True, slots=True)
class System:
    """A whole system. The first service is the one that the proxy sends users to."""

    name: str
    title: str
    services: tuple[Service, ...]
    asks: tuple[Ask, ...]
    outside: Outside | None = None

    @property
    def front(self) -> Service:
        """The service that users reach."""
        return self.services[0]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One version of a system: the only values in which blue and green differ. Shares are of the requests to the service `at`."""

    version: str
    outside_version: str = "v1"
    at: str = ""
    """The service in which errors, slow paths and leaks happen."""
    error_share: float = 0.001
    """Requests that fail with 503. A small share fails in both versions: real systems do."""
    fault_error_share: float = 0.0
    """Requests that fail beyond that, because of the fault."""
    slow_share: float = 0.0
    """Requests that take the slow path."""
    slow_extra_s: float = 0.0
    asks_credentials: bool = True
    traces_arrive: bool = True
    """Whether the tracing endpoint is the one that exists."""
    card_in_spans: bool = False
    """Whether the payer's card number stands in an attribute of the server's spans."""

    def document(self) -> dict[str, Any]:
        """As JSON, for the process that behaves so."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Behaviour":
        """What `document` wrote."""
        return cls(**{f.name: document[f.name] for f in fields(cls)})
