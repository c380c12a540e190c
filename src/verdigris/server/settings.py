"""The guard's settings: a YAML file at the edge, frozen values inside. Reads files and environment variables, starts nothing.

Secrets never stand in the file: `${env:NAME}` and `${file:/path}` say where they are.
"""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from verdigris.errors import VerdigrisError
from verdigris.ledger.note import Algorithm, InvalidNote, VerifierKey
from verdigris.ledger.timestamp import Authority, TimestampFailed, read_roots
from verdigris.ledger.witness_client import Witness
from verdigris.plan.detectors import SOME_HASH_KEY, refusal
from verdigris.plan.identity import IdentityMatch
from verdigris.plan.yaml_text import read_yaml
from verdigris.rollout.surroundings import TAKEOVER_AFTER_S
from verdigris.telemetry.live import SETTLE_S
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.listeners import Addresses
from verdigris.telemetry.receiver.tls import Tls
from verdigris.telemetry.retention import RetentionBounds
from verdigris.telemetry.senders import Sender, Senders

SECRET = re.compile(r"\$\{(env|file):([^}]+)\}")
SECRET_BYTES_MAX = 65_536
PASSWORD_IN_URL = re.compile(r"://[^/@\s:]*:[^@\s]+@")
_Place = tuple[str | int, ...]
"""Keys and numbers, from the top of the file."""

SHA256_HEX = re.compile(r"[0-9a-f]{64}")
VERIFY_EVERY_S = 86_400.0
STAMP_EVERY_S = 3_600.0
STAMP_EVERY_S_MIN = 60.0
"""Each stamp is kept, with about six kilobytes; so often at most."""


class InvalidSettings(VerdigrisError):
    """The guard's settings cannot be used. Safe: the guard did not start. Correct what the message names."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Where the API listens: a Unix socket's path and a TCP `host:port`; and the file that says whose tokens are taken."""

    unix_socket: str | None = None
    address: str | None = None
    actors: Path | None = None


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Where the ledger is and who signs it. `signer`: a command that signs its standard input with the key `signer_key`."""

    folder: Path | None = None
    origin: str | None = None
    key: Path | None = None
    signer: tuple[str, ...] | None = None
    signer_key: VerifierKey | None = None
    trusted: tuple[VerifierKey, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    timestamps: tuple[Authority, ...] = ()
    timestamp_every_s: float = STAMP_EVERY_S
    verify_every_s: float = VERIFY_EVERY_S


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """All settings, with defaults. `database_url` may hold a password: it is not shown."""

    state_folder: Path
    otlp: Addresses = field(default_factory=Addresses)
    tls: Tls | None = None
    senders: Senders = field(default_factory=Senders)
    settle_s: float = SETTLE_S
    intake: IntakeBounds = field(default_factory=IntakeBounds)
    retention: RetentionBounds = field(default_factory=RetentionBounds)
    api: ApiSettings = field(default_factory=ApiSettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    database_url: str | None = field(default=None, repr=False)
    masking: str = field(default="{}", repr=False)
    """The decoder's definition, in JSON. It may hold the key of hashes: it is not shown."""
    takeover_after_s: float = TAKEOVER_AFTER_S
    """Another guard that was not heard for so long is replaced."""
    proxies: str | None = None
    """Where this guard listens for its proxies, where a plan names several guards."""
    people: Path | None = None
    """The list of people who may sign approvals; None: people.yaml in the state folder, if it is there."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Positive = Annotated[int, Field(gt=0)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _checked_address(value: str | None) -> str | None:
    if value is None:
        return None
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65_535):  # noqa: PLR2004  ports have 16 bits
        msg = f"{value!r} is no address; write host:port, for example 127.0.0.1:4317 (port 0: any that is free)"
        raise ValueError(msg)
    return value


class _Otlp(_Part):
    grpc: str | None = Field(default=Addresses().grpc, description="address of OTLP/gRPC; null: off")
    http: str | None = Field(default=Addresses().http, description="address of OTLP/HTTP; null: off")

    _address = field_validator("grpc", "http")(_checked_address)


class _Tls(_Part):
    certificate: str = Field(description="PEM file: the receiver's certificate and its chain")
    key: str = Field(description="PEM file: its key")
    client_ca: str | None = Field(default=None, description="PEM file: whoever signs the clients' certificates; makes TLS mutual")


class _Sender(_Part):
    name: str = Field(min_length=1, max_length=200, description="for the record")
    speaks_for: list[dict[str, str]] = Field(min_length=1, description="resource attributes and their patterns; any of the entries")
    certificate_sha256: list[str] = Field(default=[], description="fingerprints of client certificates, hex")
    certificate_names: list[str] = Field(default=[], description="common or alternative names of client certificates")
    token_sha256: list[str] = Field(default=[], description="SHA-256 of bearer tokens, hex")
    token: str | None = Field(default=None, description="where a bearer token is: ${env:NAME} or ${file:/path}")

    @field_validator("certificate_sha256", "token_sha256")
    @classmethod
    def _hex(cls, values: list[str]) -> list[str]:
        plain = [value.replace(":", "").lower() for value in values]
        if bad := next((v for v in plain if not SHA256_HEX.fullmatch(v)), None):
            msg = f"{bad[:80]!r} is no SHA-256; it has 64 hex digits, with or without colons"
            raise ValueError(msg)
        return plain

    @field_validator("token")
    @classmethod
    def _reference(cls, value: str | None) -> str | None:
        if value is not None and not SECRET.fullmatch(value):
            msg = "a token must not stand in the file; write ${env:NAME} or ${file:/path}"
            raise ValueError(msg)
        return value

    @field_validator("speaks_for")
    @classmethod
    def _patterns(cls, values: list[dict[str, str]]) -> list[dict[str, str]]:
        if not all(v and all(v.values()) for v in values):
            msg = "each entry needs a resource attribute with a pattern, for example service.version: v1; {'': '*'} means any span"
            raise ValueError(msg)
        return values

    @model_validator(mode="after")
    def _credential(self) -> "_Sender":
        if not (self.certificate_sha256 or self.certificate_names or self.token_sha256 or self.token):
            msg = "a sender needs a credential; give certificate_sha256, certificate_names, token_sha256 or token"
            raise ValueError(msg)
        return self


class _Queue(_Part):
    body_bytes_max: _Positive = Field(default=IntakeBounds().body_bytes_max, description="bytes of one export as received")
    decoded_bytes_max: _Positive = Field(default=IntakeBounds().decoded_bytes_max, description="bytes of one export after decompression")
    queue_bytes_max: _Positive = Field(default=IntakeBounds().queue_bytes_max, description="bytes of exports that are not durable yet")
    queue_spans_max: _Positive = Field(default=IntakeBounds().queue_spans_max, description="spans that are not durable yet")
    exports_max: _Positive = Field(default=IntakeBounds().exports_max, description="exports under way in each listener")
    connections_max: _Positive = Field(default=IntakeBounds().connections_max, description="open HTTP connections")
    free_bytes_min: int = Field(default=IntakeBounds().free_bytes_min, ge=0, description="free disk space below which spans are refused")
    retry_after_s: _PositiveSeconds = Field(default=IntakeBounds().retry_after_s, description="when refused senders shall come again")
    reach_ahead_s: _Seconds = Field(default=IntakeBounds().reach_ahead_s, description="how far in the future a span may start")


class _Retention(_Part):
    age_s: _PositiveSeconds = Field(default=RetentionBounds().age_s, description="how long spans are kept")
    size_bytes_max: _Positive = Field(default=RetentionBounds().size_bytes_max, description="how much disk they may take")


class _Api(_Part):
    unix_socket: str | None = Field(default=None, description="path of the socket for people on this machine")
    address: str | None = Field(default=None, description="host:port for others")
    actors: str | None = Field(default=None, description="file with a list of {actor, role, sha256}: who may ask over TCP")

    _address = field_validator("address")(_checked_address)


class _Witness(_Part):
    url: str = Field(pattern=r"^https?://", max_length=500, description="its submission prefix, for example https://witness.example")
    key: str = Field(description="its verifier key (name+id+key), of the type of cosignatures")
    ca: str | None = Field(default=None, description="PEM file: whom its certificate must be from; null: the system's authorities")

    @field_validator("key")
    @classmethod
    def _cosigns(cls, value: str) -> str:
        try:
            key = VerifierKey.parse(value)
        except InvalidNote as error:
            raise ValueError(str(error)) from error
        if key.algorithm is not Algorithm.COSIGNATURE:
            msg = "this is a log's key, not a witness's: `verdigris witness serve` prints the right one"
            raise ValueError(msg)
        return value


class _Authority(_Part):
    url: str | None = Field(default=None, pattern=r"^https?://", max_length=500, description="where it answers RFC 3161 over HTTP")
    command: list[str] | None = Field(
        default=None, min_length=1, description="a command instead: it has the query on its standard input and prints the response"
    )
    roots: str = Field(description="PEM file: what the certificate in its stamps must lead to")
    ca: str | None = Field(
        default=None, description="PEM file: whom its address's certificate must be from; null: the system's authorities"
    )

    @model_validator(mode="after")
    def _one_way(self) -> "_Authority":
        if (self.url is None) == (self.command is None):
            msg = "give either url or command"
            raise ValueError(msg)
        return self


class _Ledger(_Part):
    folder: str | None = Field(default=None, description="where the log's files are; null: ledger in the state folder")
    origin: str | None = Field(default=None, pattern=r"^[^\s+]{1,200}$", description="the log's name; null: one is made up once")
    key: str | None = Field(default=None, description="file with the Ed25519 key that signs; null: ledger.key in the state folder")
    signer: list[str] | None = Field(default=None, min_length=1, description="a command that signs its input instead, for an HSM or a KMS")
    signer_key: str | None = Field(default=None, description="the verifier key (name+id+key) of what the command signs")
    trusted: list[str] = Field(default=[], max_length=100, description="verifier keys of other guards that append to this ledger")

    witnesses: list[_Witness] = Field(default=[], max_length=20, description="who is asked to remember the log's head")
    timestamps: list[_Authority] = Field(
        default=[], max_length=20, description="who is asked to stamp the log's head with a time (RFC 3161)"
    )
    timestamp_every_s: float = Field(
        default=STAMP_EVERY_S, ge=STAMP_EVERY_S_MIN, le=31_536_000, description="how often each is asked, if the log has grown"
    )
    verify_every_s: float = Field(
        default=VERIFY_EVERY_S,
        ge=60,
        le=31_536_000,
        description="how often the guard verifies its whole ledger, beside once when it starts",
    )

    @field_validator("signer_key", "trusted")
    @classmethod
    def _keys(cls, value: str | list[str] | None) -> str | list[str] | None:
        for key in [value] if isinstance(value, str) else value or []:
            try:
                VerifierKey.parse(key)
            except InvalidNote as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _one_signer(self) -> "_Ledger":
        if (self.signer is None) != (self.signer_key is None) or (self.signer is not None and self.key is not None):
            msg = "give either key, or signer together with signer_key"
            raise ValueError(msg)
        return self


class _Allow(_Part):
    detector: str = Field(min_length=1, description="whose findings may pass; *: those of every detector")
    key: str = Field(min_length=1, description="under which attribute key, or in which position; * at its end stands for any rest")
    service: str = Field(default="*", min_length=1, description="of which service; * at its end stands for any rest")
    reason: str = Field(min_length=1, description="why, for the record")


class _Detector(_Part):
    name: str = Field(min_length=1, description="its name: up to 32 of a-z, 0-9 and _")
    pattern: str = Field(min_length=1, description="a regular expression that is matched in linear time: no look-around, no references")
    keys: list[str] = Field(default=[], max_length=64, description="the attribute keys it holds for; none: every text")
    checksum: str = Field(default="none", description="what must hold of a match: none, luhn, mod97 or mod11")
    treatment: str = Field(default="mask", description="what is done with it: mask, hash, drop or refuse")


class _Masking(_Part):
    treatments: dict[str, str] = Field(
        default={}, description="by detector: mask, hash, drop or refuse; of ip_address also keep and truncate. Everything else is masked"
    )
    hash_key: str | None = Field(default=None, description="where the key of hashes is, base64: ${env:NAME} or ${file:/path}")
    detectors: list[_Detector] = Field(default=[], max_length=64, description="detectors of your own")
    allow: list[_Allow] = Field(default=[], max_length=1_024, description="what may pass although a detector finds it")
    identity: list[str] = Field(default=[], max_length=64, description="more resource attributes that say which instance a span is from")

    @field_validator("hash_key")
    @classmethod
    def _reference(cls, value: str | None) -> str | None:
        if value is not None and not SECRET.fullmatch(value):
            msg = "the key must not stand in the file; write ${env:NAME} or ${file:/path}"
            raise ValueError(msg)
        return value


class _Document(_Part):
    state_folder: str = Field(description="where the guard keeps spans, evidence and its journal")
    otlp: _Otlp = Field(default_factory=_Otlp, description="where spans come in")
    tls: _Tls | None = Field(default=None, description="TLS of both OTLP listeners")
    senders: list[_Sender] = Field(default=[], max_length=1_000, description="who may send spans, and whose; empty: anyone")
    settle_s: _Seconds = Field(
        default=SETTLE_S, le=3_600, description="how long after its end a window is closed, where a plan does not say"
    )
    queue: _Queue = Field(default_factory=_Queue, description="how much is taken at once")
    retention: _Retention = Field(default_factory=_Retention, description="how long spans are kept")
    masking: _Masking = Field(default_factory=_Masking, description="what is done with sensitive data before anything is stored")
    api: _Api = Field(default_factory=_Api, description="where people and programs ask")
    ledger: _Ledger = Field(default_factory=_Ledger, description="the signed record of everything that rollouts do")
    takeover_after_s: float = Field(
        default=TAKEOVER_AFTER_S, ge=2, le=600, description="a guard on the same database that is silent for so long is replaced"
    )
    proxies: str | None = Field(
        default=None, description="host:port where this guard listens for its proxies, where a plan names several guards"
    )
    people: str | None = Field(
        default=None, description="file with the people who may sign approvals; null: people.yaml in the state folder, if it is there"
    )
    database_url: str | None = Field(default=None, description="PostgreSQL for several guards; null: SQLite in the state folder")

    _address = field_validator("proxies")(_checked_address)

    @field_validator("database_url")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value and PASSWORD_IN_URL.search(SECRET.sub("", value)):
            msg = "a password must not stand in the file; write postgresql://guard:${env:NAME}@host/db or ${file:/path} for the whole"
            raise ValueError(msg)
        return value


def load_settings(path: Path, environ: Mapping[str, str] = os.environ) -> GuardSettings:
    """Read a settings file. Paths in it are relative to its folder. Raises: InvalidSettings, with every problem in one message."""
    try:
        text = path.read_bytes()[: 1 << 20].decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read: {error}"
        raise InvalidSettings(msg) from error
    return parse_settings(text, str(path), path.parent, environ)


def parse_settings(text: str, source: str, folder: Path, environ: Mapping[str, str]) -> GuardSettings:
    """Settings from text. Raises: InvalidSettings."""
    if not text.strip():
        raise _invalid(source, ["it is empty; begin with state_folder: /var/lib/verdigris"])
    reading = read_yaml(text)
    problems = [f"line {p.line}: {p.message}; {p.suggestion}" for p in reading.problems]
    if problems:
        raise _invalid(source, problems)
    try:
        document = _Document.model_validate(reading.value if reading.value is not None else {})
    except ValidationError as error:
        raise _invalid(source, [_problem(e, reading.position) for e in error.errors()]) from None
    if bad := _masking_problems(document.masking):
        told = [(reading.position(place), _path_text(place), why) for place, why in bad]
        raise _invalid(source, [f"line {at.line}, column {at.column}: {path}: {why}" for at, path, why in told])
    try:
        return _settings(document, folder, environ)
    except InvalidSettings as error:
        raise _invalid(source, [str(error)]) from error


def keys() -> dict[str, str]:
    """Every key with what it means, as `otlp.grpc`: what the documentation must list."""
    found: dict[str, str] = {}
    _collect(_Document, "", found)
    return found


def _settings(document: _Document, folder: Path, environ: Mapping[str, str]) -> GuardSettings:
    senders = []
    for number, sender in enumerate(document.senders):
        digests = list(sender.token_sha256)
        if sender.token:
            token = _resolved(sender.token, f"senders[{number}].token", folder, environ)
            digests.append(hashlib.sha256(token.encode()).hexdigest())
        speaks_for = tuple(IdentityMatch(dict(patterns)) for patterns in sender.speaks_for)
        names = tuple(sender.certificate_names)
        senders.append(Sender(sender.name, speaks_for, tuple(sender.certificate_sha256), names, tuple(digests)))
    tls = document.tls
    if any(s.certificate_sha256 or s.certificate_names for s in senders) and not (tls and tls.client_ca):
        msg = "senders: certificates are asked for only with mutual TLS; set tls.client_ca, or give the senders tokens"
        raise InvalidSettings(msg)
    queue = document.queue.model_dump()
    return GuardSettings(
        state_folder=folder / document.state_folder,
        otlp=Addresses(document.otlp.grpc, document.otlp.http),
        tls=Tls(folder / tls.certificate, folder / tls.key, folder / tls.client_ca if tls.client_ca else None) if tls else None,
        senders=Senders(tuple(senders)),
        settle_s=document.settle_s,
        intake=IntakeBounds(**queue, reach_back_s=document.retention.age_s),
        retention=RetentionBounds(document.retention.age_s, document.retention.size_bytes_max),
        api=ApiSettings(document.api.unix_socket, document.api.address, folder / document.api.actors if document.api.actors else None),
        ledger=_ledger(document.ledger, folder),
        database_url=_resolved(document.database_url, "database_url", folder, environ) if document.database_url else None,
        masking=_masking(document.masking, folder, environ),
        takeover_after_s=document.takeover_after_s,
        proxies=document.proxies,
        people=folder / document.people if document.people else None,
    )


def _masking(asked: _Masking, folder: Path, environ: Mapping[str, str]) -> str:
    """The decoder's definition. Raises: InvalidSettings: the decoder does not take it."""
    if asked == _Masking():
        return "{}"
    key = _resolved(asked.hash_key, "masking.hash_key", folder, environ) if asked.hash_key else None
    definition = _definition(asked, asked.treatments, asked.detectors, asked.allow, key)
    if why := refusal(definition):
        msg = f"masking: {why}"
        raise InvalidSettings(msg)
    return definition


def _masking_problems(asked: _Masking) -> list[tuple[_Place, str]]:
    """What the decoder says against each part, with its place: each is shown to it by itself, with the parts that it needs."""
    found: list[tuple[_Place, str]] = []
    good: list[_Detector] = []
    for number, detector in enumerate(asked.detectors):
        if why := refusal(_definition(asked, {}, [*good, detector], [], SOME_HASH_KEY)):
            found.append((("masking", "detectors", number), why))
        else:
            good.append(detector)
    for name, treatment in asked.treatments.items():
        if why := refusal(_definition(asked, {name: treatment}, [], [], SOME_HASH_KEY)):
            found.append((("masking", "treatments", name), why))
    for number, allow in enumerate(asked.allow):
        if why := refusal(_definition(asked, {}, good, [allow], SOME_HASH_KEY)):
            found.append((("masking", "allow", number), why))
    return found


def _definition(
    asked: _Masking, treatments: Mapping[str, str], detectors: Sequence[_Detector], allow: Sequence[_Allow], key: str | None
) -> str:
    """In the decoder's JSON, which has detectors before what allows their findings."""
    written: dict[str, Any] = {"treatments": dict(treatments)}
    if key is not None:
        written["hash_key"] = key
    written["detectors"] = [detector.model_dump() for detector in detectors]
    written["allow"] = [entry.model_dump() for entry in allow]
    written["identity"] = asked.identity
    return json.dumps(written, ensure_ascii=False)


def _ledger(asked: _Ledger, folder: Path) -> LedgerSettings:
    return LedgerSettings(
        folder=folder / asked.folder if asked.folder else None,
        origin=asked.origin,
        key=folder / asked.key if asked.key else None,
        signer=tuple(asked.signer) if asked.signer else None,
        signer_key=VerifierKey.parse(asked.signer_key) if asked.signer_key else None,
        trusted=tuple(VerifierKey.parse(key) for key in asked.trusted),
        witnesses=tuple(Witness(one.url, VerifierKey.parse(one.key), folder / one.ca if one.ca else None) for one in asked.witnesses),
        timestamps=tuple(_authority(one, number, folder) for number, one in enumerate(asked.timestamps)),
        timestamp_every_s=asked.timestamp_every_s,
        verify_every_s=asked.verify_every_s,
    )


def _authority(asked: _Authority, number: int, folder: Path) -> Authority:
    try:
        roots = read_roots(folder / asked.roots)
    except TimestampFailed as error:
        msg = f"ledger.timestamps[{number}].roots: {error}"
        raise InvalidSettings(msg) from error
    return Authority(roots, asked.url, tuple(asked.command or ()), folder / asked.ca if asked.ca else None)


def _resolved(text: str, path: str, folder: Path, environ: Mapping[str, str]) -> str:
    """The text with its secrets in place. Raises: InvalidSettings, which never shows one."""

    def value(found: re.Match[str]) -> str:
        kind, name = found.groups()
        if kind == "env":
            if name not in environ:
                msg = f"{path}: the environment variable {name} is not set; set it, or write ${{file:/path}}"
                raise InvalidSettings(msg)
            return environ[name]
        try:
            with (folder / name).open("rb") as file:
                return file.read(SECRET_BYTES_MAX).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{path}: cannot read the file {name}: {error}"
            raise InvalidSettings(msg) from error

    return SECRET.sub(value, text)


def _invalid(source: str, problems: list[str]) -> InvalidSettings:
    return InvalidSettings(f"{source} has {len(problems)} problem{'s' if len(problems) != 1 else ''}:\n  " + "\n  ".join(problems))


def _problem(error: Any, position: Any) -> str:
    """One line: where, what, and a suggestion."""
    location = tuple(part for part in error["loc"] if isinstance(part, (str, int)))
    path = _path_text(location) or "the file"
    where = f"line {position(location).line}: {path}"
    if error["type"] == "extra_forbidden":
        siblings = [key.rpartition(".")[2] for key in keys() if key.rpartition(".")[0] == re.sub(r"\[\d+\]", "[]", path).rpartition(".")[0]]
        near = difflib.get_close_matches(str(location[-1]), siblings, 1)
        advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(siblings)}"
        return f"{where}: there is no such setting; {advice}"
    if error["type"] == "missing":
        return f"{where}: is missing; add it"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"


def _path_text(location: _Place) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _collect(model: type[BaseModel], prefix: str, found: dict[str, str]) -> None:
    for name, info in model.model_fields.items():
        found[f"{prefix}{name}"] = info.description or ""
        kind = info.annotation
        inner = next((k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if inner:
            _collect(inner, f"{prefix}{name}{'[]' if get_origin(kind) is list else ''}.", found)
