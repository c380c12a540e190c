"""What a plan says about Envoy: the settings that are read, the two slots, and which of them is which role. Pure.

Envoy's configuration speaks of slots, never of roles: after a commit the roles swap and the configuration stays.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from verdigris.plan.plan import Environment, Plan, Setting
from verdigris.traffic.data_plane import TrafficError

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "subject": "What is moved, as Envoy's runtime keys and clusters call it. Default: verdigris.",
        "admin": "Envoy's administration interface, host:port on loopback or the path of a Unix socket. Required.",
        "committed_folder": "Folder of the durable default, written by the guard and watched by Envoy. Required.",
        "xds": "Where Envoy finds the guards: host:port or the path of a Unix socket; several with commas between. Required.",
        "node": "Envoy's node id: only this proxy is told weights. Default: verdigris-proxy.",
        "listen": "Where Envoy takes the requests, for envoy-config. Default: 0.0.0.0:8080.",
        "xds_certificate": "The guard's certificate (PEM) on the control connection.",
        "xds_key": "The guard's private key (PEM).",
        "xds_client_ca": "The authority that proxies' certificates are checked against (PEM).",
        "xds_server_name": "The name in the guard's certificate that Envoy insists on.",
        "xds_server_ca": "On Envoy's machine: the authority that the guard's certificate is checked against (PEM).",
        "xds_proxy_certificate": "On Envoy's machine: its own certificate (PEM).",
        "xds_proxy_key": "On Envoy's machine: its own private key (PEM).",
        "chosen_users": "true: requests with a chosen user's token go to the candidate, during the steps.",
        "token_key": "The public key or keys (PEM) of chosen users' tokens.",
        "mirror_methods": "Methods whose requests may be copied to the candidate, with commas between, or *. Default: GET,HEAD,OPTIONS.",
    }
)
"""Every setting that the Envoy adapter knows, and what it means."""

CONTROL_TLS = ("xds_certificate", "xds_key", "xds_client_ca")
PROXY_TLS = ("xds_server_name", "xds_server_ca", "xds_proxy_certificate", "xds_proxy_key")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""Copied by default: a copied order would be a second order where both slots share their data."""

MILLION = 1_000_000
GUARDS_MAX = 16

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SLOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


class InvalidSettings(TrafficError):
    """The plan's traffic settings do not fit Envoy. Safe: nothing was started or changed; correct the plan."""


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen at or to reach: a Unix socket's path, or host and port."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str, name: str = "address") -> "Address":
        """Read `host:port` or `/path`. Raises: InvalidSettings."""
        text = text.strip()
        if text.startswith("/"):
            return cls(path=text)
        found = _ADDRESS.fullmatch(text)
        if found is None or int(found[2]) > 65535:  # noqa: PLR2004  # the last port
            msg = f"{name}: cannot read {text!r}; write host:port, or the path of a Unix socket"
            raise InvalidSettings(msg)
        return cls(found[1].strip("[]"), int(found[2]))

    @property
    def local(self) -> bool:
        """Whether nothing outside this machine gets there."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """As `parse` reads it."""
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """Mutual TLS of the control connection. `guard` files are read by the guard, `proxy` files by Envoy."""

    certificate: str
    key: str
    client_ca: str
    server_name: str
    server_ca: str
    proxy_certificate: str
    proxy_key: str


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """The settings of one subject behind one Envoy. `first` and `second` are the slots in order of their names."""

    subject: str
    baseline: Environment
    candidate: Environment
    admin: Address
    committed_folder: str
    guards: tuple[Address, ...]
    node: str
    listen: Address
    tls: Tls | None
    chosen_users: bool
    token_key: str | None
    mirror_methods: tuple[str, ...] | None
    """None: all."""

    @property
    def first(self) -> Environment:
        """The slot that has the traffic where the weight is 0."""
        return min(self.baseline, self.candidate, key=lambda e: e.slot)

    @property
    def second(self) -> Environment:
        """The slot whose share the weight is."""
        return max(self.baseline, self.candidate, key=lambda e: e.slot)

    @property
    def candidate_is_second(self) -> bool:
        """Whether the weight is the candidate's share, or the baseline's."""
        return self.candidate.slot == self.second.slot

    def cluster(self, slot: str) -> str:
        """Envoy's cluster of this slot."""
        return f"{self.subject}-{slot}"

    def mirror_cluster(self, slot: str) -> str:
        """The cluster for copies: its own, so that copies are not counted as requests."""
        return f"{self.subject}-{slot}-copies"

    @property
    def lease_layer(self) -> str:
        """The runtime layer that the guard sends, and its resource."""
        return f"verdigris.{self.subject}.lease"

    @property
    def durable_layer(self) -> str:
        """The runtime layer of the durable default."""
        return f"verdigris.{self.subject}.durable"

    @property
    def fence_layer(self) -> str:
        """The runtime layer above all: closed, it makes the durable default hold against any lease."""
        return f"verdigris.{self.subject}.fence"

    def weight_key(self) -> str:
        """The second slot's share."""
        return f"verdigris.{self.subject}.weight.{self.second.slot}"

    def mirror_key(self, slot: str) -> str:
        """Which requests are copied to this slot."""
        return f"verdigris.{self.subject}.mirror.{slot}"

    def chosen_key(self, slot: str) -> str:
        """Whether chosen users go to this slot."""
        return f"verdigris.{self.subject}.chosen.{slot}"

    @property
    def generation_key(self) -> str:
        """The generation that a lease was applied with."""
        return f"verdigris.{self.subject}.generation"

    @property
    def fenced_key(self) -> str:
        """The newest generation that is over."""
        return f"verdigris.{self.subject}.fenced"


def envoy_settings(plan: Plan) -> EnvoySettings:
    """The settings of a plan, checked. Raises: InvalidSettings."""
    given = _Given(plan.traffic.settings)
    given.check_names()
    for environment in (plan.baseline, plan.candidate):
        _check_slot(environment)
    if plan.baseline.slot == plan.candidate.slot:
        msg = f"baseline and candidate are both in the slot {plan.baseline.slot!r}; Envoy needs two"
        raise InvalidSettings(msg)
    subject = given.text("subject", "verdigris")
    node = given.text("node", "verdigris-proxy")
    for name, value in (("subject", subject), ("node", node)):
        if not _NAME.fullmatch(value):
            msg = f"traffic.settings.{name}: {value!r} must be letters, digits, _, . and -, at most 63"
            raise InvalidSettings(msg)
    admin = Address.parse(given.required("admin"), "traffic.settings.admin")
    if not admin.local:
        msg = f"traffic.settings.admin is {admin}: who reaches Envoy's admin interface can stop it; it must be on loopback or a Unix socket"
        raise InvalidSettings(msg)
    folder = given.required("committed_folder")
    if not folder.startswith("/"):
        msg = f"traffic.settings.committed_folder: {folder!r} must be an absolute path; Envoy and the guard both use it"
        raise InvalidSettings(msg)
    guards = tuple(Address.parse(part, "traffic.settings.xds") for part in given.required("xds").split(","))
    if len(guards) > GUARDS_MAX:
        msg = f"traffic.settings.xds names {len(guards)} guards; at most {GUARDS_MAX}"
        raise InvalidSettings(msg)
    tls = given.tls()
    if tls is None and not all(guard.local for guard in guards):
        msg = (
            "traffic.settings.xds leaves this machine, and weights are not sent in plain text; "
            f"set {', '.join((*CONTROL_TLS, *PROXY_TLS))}, or use loopback or a Unix socket"
        )
        raise InvalidSettings(msg)
    chosen = plan.traffic.settings.get("chosen_users") is True
    token_key = given.text("token_key", "") or None
    if chosen and token_key is None:
        msg = "traffic.settings.chosen_users needs token_key, the public key of their tokens; make one with: verdigris traffic key new"
        raise InvalidSettings(msg)
    return EnvoySettings(
        subject=subject,
        baseline=plan.baseline,
        candidate=plan.candidate,
        admin=admin,
        committed_folder=folder,
        guards=guards,
        node=node,
        listen=Address.parse(given.text("listen", "0.0.0.0:8080"), "traffic.settings.listen"),
        tls=tls,
        chosen_users=chosen,
        token_key=token_key,
        mirror_methods=_methods(given.text("mirror_methods", ",".join(SAFE_METHODS))),
    )


def _check_slot(environment: Environment) -> None:
    if not _SLOT.fullmatch(environment.slot):
        msg = f"the slot {environment.slot!r} cannot name an Envoy cluster; use letters, digits, _ and -"
        raise InvalidSettings(msg)
    if not environment.addresses:
        msg = f"the slot {environment.slot!r} has no addresses; Envoy needs at least one host:port"
        raise InvalidSettings(msg)
    for address in environment.addresses:
        Address.parse(address, f"addresses of {environment.slot}")


def _methods(text: str) -> tuple[str, ...] | None:
    if text.strip() == "*":
        return None
    methods = tuple(part.strip() for part in text.split(","))
    if not all(re.fullmatch(r"[A-Z]{1,20}", method) for method in methods):
        msg = f"traffic.settings.mirror_methods: {text!r} must be methods like GET,HEAD, or *"
        raise InvalidSettings(msg)
    return methods


@dataclass(frozen=True, slots=True)
class _Given:
    settings: Mapping[str, Setting]

    def check_names(self) -> None:
        unknown = sorted(self.settings.keys() - SETTINGS.keys())
        if unknown:
            msg = f"traffic.settings: Envoy's adapter does not know {', '.join(unknown)}; it knows {', '.join(SETTINGS)}"
            raise InvalidSettings(msg)

    def text(self, name: str, default: str) -> str:
        value = self.settings.get(name)
        return default if value is None else str(value).strip()

    def required(self, name: str) -> str:
        value = self.text(name, "")
        if not value:
            msg = f"traffic.settings.{name} is missing: {SETTINGS[name]}"
            raise InvalidSettings(msg)
        return value

    def tls(self) -> Tls | None:
        names = (*CONTROL_TLS, *PROXY_TLS)
        values = [self.text(name, "") for name in names]
        if not any(values):
            return None
        missing = [name for name, value in zip(names, values, strict=True) if not value]
        if missing:
            msg = f"traffic.settings: TLS of the control connection also needs {', '.join(missing)}; both sides must show who they are"
            raise InvalidSettings(msg)
        return Tls(*values)
