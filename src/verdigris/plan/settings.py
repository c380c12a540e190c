"""The settings that each traffic adapter knows, and the secrets among them. The one table; adapters read nothing else.

A secret is a setting whose name ends in `_token`, `_password` or `_secret`. Its value is never in a plan: there stands
`${env:NAME}`, in the plan's canonical form and digest too, and the guard looks it up when it opens the proxy.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from verdigris.errors import VerdigrisError
from verdigris.plan.plan import Setting
from verdigris.plan.scalars import Address, Kind, Reads, Text, Truth, told, wrong

SECRET_ENDINGS = ("_token", "_password", "_secret")
GUARDS_MAX = 16
GIVEN_MAX = 50
"""More settings than any adapter has."""

_LINE = r"[^\n\t]+"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62})"
_METHODS = r"[A-Z]{1,20}(?:,[A-Z]{1,20}){0,19}"
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]{0,127})\}")


class MissingSecret(VerdigrisError):
    """A secret that the plan names is not in the environment. Safe: nothing was started; set the variable for the guard."""


@dataclass(frozen=True, slots=True)
class AdapterSetting:
    """One setting of an adapter. A `default` is written into the plan, and so into its digest."""

    kind: Kind
    meaning: str
    required: bool = False
    default: Setting = None


@dataclass(frozen=True, slots=True)
class Methods(Reads):
    """HTTP methods, or all."""

    example: str = "GET,HEAD,OPTIONS"
    wanted: str = "HTTP methods with commas between, or *"

    def read(self, value: object) -> str:
        """The methods without space. Raises: PydanticCustomError."""
        text = value.replace(" ", "") if isinstance(value, str) else ""
        if text != "*" and not re.fullmatch(_METHODS, text):
            raise self.refuse(value)
        return text

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Guards(Reads):
    """Where the proxy finds the guards."""

    example: str = "127.0.0.1:18000"
    wanted: str = f"host:port or the path of a Unix socket; several with commas between, at most {GUARDS_MAX}"

    def read(self, value: object) -> str:
        """The places without space. Raises: PydanticCustomError."""
        parts = value.split(",") if isinstance(value, str) else []
        if not 1 <= len(parts) <= GUARDS_MAX:
            raise self.refuse(value)
        try:
            return ",".join(Address(self.example, unix=True, listen=True).read(part) for part in parts)
        except PydanticCustomError:
            raise self.refuse(value) from None

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {"type": "string"}


def _path(example: str) -> Kind:
    return Text(example, 1024, r"/[^\n\t]*", "an absolute path")


def _bare_path(example: str) -> Kind:
    # These are written into HAProxy's configuration and commands, where nothing may need quoting.
    return Text(example, 251, r"/[A-Za-z0-9_./+-]{1,250}", "an absolute path of letters, digits and _ . / + -")


_SUBJECT = Text("appointments", 63, _NAME, "a name of letters, digits, _, . and -")
_SUBJECT_MEANING = "What is shifted, as the proxy's configuration calls it."
_TOKEN_KEY_MEANING = "The public key (PEM) that checks chosen users' tokens."  # noqa: S105  # what it is for
_CHOSEN_USERS = AdapterSetting(
    Truth(), "Requests with a chosen user's token go to the candidate, whatever the weight, during the steps.", default=False
)

ENVOY_TLS = ("xds_certificate", "xds_key", "xds_client_ca", "xds_server_name", "xds_server_ca", "xds_proxy_certificate", "xds_proxy_key")
"""Both sides of the control connection show who they are: all of these, or none."""

SETTINGS: Mapping[str, Mapping[str, AdapterSetting]] = {
    "envoy": {
        "subject": AdapterSetting(_SUBJECT, _SUBJECT_MEANING, default="verdigris"),
        "admin": AdapterSetting(
            Address("127.0.0.1:9901", unix=True), "Envoy's administration interface, on loopback or a Unix socket.", required=True
        ),
        "xds": AdapterSetting(Guards(), "Where Envoy finds the guards. What leaves the machine needs the TLS settings.", required=True),
        "committed_folder": AdapterSetting(
            _path("/var/lib/verdigris/envoy"), "Where the durable default is kept; the guard writes it, Envoy watches it.", required=True
        ),
        "node": AdapterSetting(
            Text("edge-1", 63, _NAME, "a name of letters, digits, _, . and -"), "Envoy's node id: only this proxy is told weights.",
            default="verdigris-proxy",
        ),
        "listen": AdapterSetting(
            Address("127.0.0.1:8080", unix=True, listen=True), "Where Envoy takes the requests, in the configuration that we write.",
            default="0.0.0.0:8080",  # a proxy is there for others; it is Envoy that listens
        ),
        "xds_certificate": AdapterSetting(_path("/etc/verdigris/xds.pem"), "The guard's certificate (PEM) on the control connection."),
        "xds_key": AdapterSetting(_path("/etc/verdigris/xds.key"), "The guard's private key (PEM)."),
        "xds_client_ca": AdapterSetting(_path("/etc/verdigris/ca.pem"), "What proxies' certificates are checked against (PEM)."),
        "xds_server_name": AdapterSetting(
            Text("guard.example.org", 253, _LINE, "a name"), "The name in the guard's certificate that Envoy insists on."
        ),
        "xds_server_ca": AdapterSetting(
            _path("/etc/envoy/ca.pem"), "On Envoy's machine: what the guard's certificate is checked against (PEM)."
        ),
        "xds_proxy_certificate": AdapterSetting(_path("/etc/envoy/envoy.pem"), "On Envoy's machine: its own certificate (PEM)."),
        "xds_proxy_key": AdapterSetting(_path("/etc/envoy/envoy.key"), "On Envoy's machine: its own private key (PEM)."),
        "chosen_users": _CHOSEN_USERS,
        "token_key": AdapterSetting(_path("/etc/verdigris/users.pub.pem"), _TOKEN_KEY_MEANING),
        "mirror_methods": AdapterSetting(
            Methods(), "Methods whose requests may be copied to the candidate: a copied order would be a second order.",
            default="GET,HEAD,OPTIONS",
        ),
    },
    "haproxy": {
        # Backends and a table are named after it; a plan's name could rarely stand there.
        "subject": AdapterSetting(_SUBJECT, _SUBJECT_MEANING, required=True),
        "socket": AdapterSetting(
            _bare_path("/run/haproxy/admin.sock"), "HAProxy's administration socket (`stats socket … level admin`).", required=True
        ),
        "map_file": AdapterSetting(
            _bare_path("/etc/haproxy/verdigris.map"), "The file that holds the durable default; the guard writes it, HAProxy reads it.",
            required=True,
        ),
        "listen": AdapterSetting(
            Address("127.0.0.1:8080", listen=True), "Where HAProxy takes the requests, in the configuration that we write.",
            default="127.0.0.1:8080",
        ),
        "chosen_users": _CHOSEN_USERS,
        "token_key": AdapterSetting(_bare_path("/etc/verdigris/users.pub.pem"), _TOKEN_KEY_MEANING),
    },
}  # fmt: skip
"""Adapter, setting, and what it holds."""

MIRRORING = frozenset({"envoy"})
"""Adapters that can copy requests to the candidate."""


def is_secret(name: str) -> bool:
    """Whether the setting of this name holds a secret."""
    return name.endswith(SECRET_ENDINGS)


def secret_reference(name: str, value: object) -> str:
    """The reference that stands for a secret. Raises: PydanticCustomError."""
    if isinstance(value, str) and _REFERENCE.fullmatch(value.strip()):
        return value.strip()
    variable = name.upper()
    found = "a secret is written here; a plan is kept and shown to many" if isinstance(value, str) else told(value)
    message = f"{found}; wanted is the name of an environment variable"
    raise wrong(message, f"{name}: ${{env:{variable}}}")


def resolve_secrets(settings: Mapping[str, Setting], environ: Mapping[str, str]) -> dict[str, Setting]:
    """The settings with each secret in place of its reference.

    Args:
        settings: of a plan that was loaded.
        environ: the guard's environment variables.
    Raises: MissingSecret: a variable is not set, or empty.
    """
    resolved = dict(settings)
    for name, value in settings.items():
        reference = _REFERENCE.fullmatch(value) if isinstance(value, str) and is_secret(name) else None
        if reference is not None:
            secret = environ.get(reference[1])
            if not secret:
                msg = f"traffic.settings.{name} needs the environment variable {reference[1]}, which is not set; set it for the guard"
                raise MissingSecret(msg)
            resolved[name] = secret
    return resolved


class _AnySetting:
    """A plain value. Whether the adapter knows it is checked with the adapter, in `checks`."""

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads it."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """How JSON Schema tells it."""
        return {"type": ["string", "number", "boolean", "null"]}

    def read(self, value: object) -> object:
        """The value. Raises: PydanticCustomError."""
        if isinstance(value, list | dict):
            message = f"{told(value)}; wanted is a single value"
            raise wrong(message, "settings hold text, numbers, true or false")
        return value


Settings = Annotated[dict[str, Annotated[Setting, _AnySetting()]], Field(max_length=GIVEN_MAX)]
"""The settings as they are written."""


def read_settings(adapter: str, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """The settings that are known to be right, in their one spelling, in order, with defaults. Raises: PydanticCustomError."""
    known = SETTINGS[adapter]
    settings: dict[str, Setting] = {name: setting.default for name, setting in known.items() if setting.default is not None}
    settings |= {name: read_setting(name, known[name], value) for name, value in given.items()}
    return dict(sorted(settings.items()))


def read_setting(name: str, setting: AdapterSetting, value: object) -> Setting:
    """One setting in its one spelling. Raises: PydanticCustomError."""
    if is_secret(name):
        return secret_reference(name, value)
    read = setting.kind.read(value)
    assert read is None or isinstance(read, str | int | float)  # noqa: S101  # what kinds of settings read
    return read


def disagreements(adapter: str, settings: Mapping[str, Setting]) -> Iterator[tuple[str, str, str]]:
    """What an adapter's settings, each right by itself, do not agree on: the setting, what is wrong, what to do."""
    if settings.get("chosen_users") is True and settings.get("token_key") is None:
        yield "chosen_users", "chosen users need token_key, the public key of their tokens", "add token_key, or write false"
    if adapter == "envoy":
        admin = settings.get("admin")
        if isinstance(admin, str) and not _local(admin):
            yield "admin", f"{admin} can be reached by others, who could stop Envoy", "use loopback or a Unix socket"
        missing = [name for name in ENVOY_TLS if settings.get(name) is None]
        if missing and len(missing) < len(ENVOY_TLS):
            given = next(name for name in ENVOY_TLS if name not in missing)
            yield given, f"TLS of the control connection also needs {', '.join(missing)}", "both sides must show who they are: give all"
        xds = settings.get("xds")
        if isinstance(xds, str) and len(missing) == len(ENVOY_TLS) and not all(map(_local, xds.split(","))):
            names = ", ".join(ENVOY_TLS)
            yield "xds", "it leaves this machine, and weights are not sent in plain text", f"give {names}; or use loopback or a Unix socket"


def _local(address: str) -> bool:
    """Whether nothing outside this machine gets there."""
    host = address.rpartition(":")[0].strip("[]")
    if address.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def settings_schema(adapter: str) -> dict[str, Any]:
    """The JSON Schema of one adapter's settings."""
    known = SETTINGS[adapter]
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {
                **({"type": "string", "pattern": rf"^\s*{_REFERENCE.pattern}\s*$"} if is_secret(name) else setting.kind.schema()),
                "description": setting.meaning,
                **({} if setting.default is None else {"default": setting.default}),
            }
            for name, setting in known.items()
        },
    }
    required = [name for name, setting in known.items() if setting.required]
    return schema | ({"required": required} if required else {})
