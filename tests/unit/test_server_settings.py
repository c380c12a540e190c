"""The guard's settings: defaults, secrets that stay outside, and errors that say where and what instead."""

import contextlib
import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.authorities import Issuer

from verdigris import _native
from verdigris.plan.identity import IdentityMatch
from verdigris.server.settings import GuardSettings, InvalidSettings, keys, load_settings, parse_settings
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.listeners import Addresses
from verdigris.telemetry.retention import RetentionBounds
from verdigris.telemetry.senders import Presented

ROOT = Path(__file__).parents[2]
FULL = """
state_folder: state
otlp: {grpc: "0.0.0.0:0", http: null}
tls: {certificate: guard.pem, key: guard.key, client_ca: /etc/ca.pem}
senders:
  - name: blue
    speaks_for: [{service.version: v1}, {service.name: gateway}]
    certificate_sha256: ["AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99"]
    certificate_names: [blue.example]
  - name: green
    speaks_for: [{deployment.environment.name: "green-*"}]
    token: ${env:GREEN_TOKEN}
settle_s: 1.5
queue: {queue_spans_max: 5000, free_bytes_min: 0}
retention: {age_s: 3600, size_bytes_max: 1000000}
api: {unix_socket: /run/verdigris.sock, address: "127.0.0.1:8443"}
database_url: postgresql://guard:${file:db-password}@db/verdigris
"""


def parse(text: str, folder: Path = Path("/etc/verdigris"), **environ: str) -> GuardSettings:
    return parse_settings(text, "guard.yaml", folder, environ)


def test_a_folder_is_all_that_must_be_said() -> None:
    settings = parse("state_folder: /var/lib/verdigris")
    assert settings == GuardSettings(Path("/var/lib/verdigris"))
    assert (settings.otlp, settings.intake, settings.retention) == (Addresses(), IntakeBounds(), RetentionBounds())
    assert settings.otlp.grpc == "127.0.0.1:4317"
    assert not settings.senders.authenticated


def test_everything_that_can_be_said_arrives(tmp_path: Path) -> None:
    (tmp_path / "db-password").write_text("pässword\n")
    (tmp_path / "guard.yaml").write_text(FULL)
    settings = load_settings(tmp_path / "guard.yaml", {"GREEN_TOKEN": "s3cret"})
    assert settings.state_folder == tmp_path / "state"
    assert settings.otlp == Addresses("0.0.0.0:0", None)
    assert settings.tls is not None
    assert (settings.tls.certificate, settings.tls.client_ca) == (tmp_path / "guard.pem", Path("/etc/ca.pem"))
    blue, green = settings.senders.senders
    assert blue.certificate_sha256 == ("aabbccddeeff00112233445566778899" * 2,)
    assert blue.speaks_for == (IdentityMatch({"service.version": "v1"}), IdentityMatch({"service.name": "gateway"}))
    assert green.token_sha256 == (hashlib.sha256(b"s3cret").hexdigest(),)
    assert settings.senders.who(Presented(token="s3cret")) is green
    assert (settings.settle_s, settings.intake.queue_spans_max, settings.intake.free_bytes_min) == (1.5, 5000, 0)
    assert settings.intake.reach_back_s == settings.retention.age_s == 3600
    assert settings.api.unix_socket == "/run/verdigris.sock"
    assert settings.database_url == "postgresql://guard:pässword@db/verdigris"
    assert "s3cret" not in repr(settings)
    assert "pässword" not in repr(settings)


def test_time_stamping_authorities_are_read_with_their_roots(tmp_path: Path) -> None:
    root = Issuer.root()
    (tmp_path / "roots.pem").write_bytes(root.pem)
    text = """
state_folder: x
ledger:
  timestamps:
    - {url: "https://tsa.test/", roots: roots.pem, ca: ca.pem}
    - {command: [ask, the tsa], roots: roots.pem}
  timestamp_every_s: 600
  verify_every_s: 3600
"""
    ledger = parse(text, tmp_path).ledger
    by_url, by_command = ledger.timestamps
    assert (by_url.url, by_url.ca, by_url.roots) == ("https://tsa.test/", tmp_path / "ca.pem", (root.certificate,))
    assert (by_command.url, by_command.command) == (None, ("ask", "the tsa"))
    assert (by_url.name, by_command.name) == ("tsa.test", "ask")
    assert by_url.id != by_command.id
    assert (ledger.timestamp_every_s, ledger.verify_every_s) == (600, 3600)
    default = parse("state_folder: x").ledger
    assert (default.timestamps, default.timestamp_every_s, default.verify_every_s) == ((), 3_600, 86_400)


BAD = {
    "state_folder: x\nledger: {timestamps: [{roots: r.pem}]}": "ledger.timestamps[0]: give either url or command",
    "state_folder: x\nledger: {timestamps: [{url: 'http://t', command: [a], roots: r.pem}]}": "give either url or command",
    "state_folder: x\nledger: {timestamps: [{url: 'http://t'}]}": "ledger.timestamps[0].roots: is missing",
    "state_folder: x\nledger: {timestamps: [{url: 'http://t', roots: none.pem}]}": "ledger.timestamps[0].roots: cannot read certificates",
    "state_folder: x\nledger: {timestamps: [{url: 'tsa.test', roots: r.pem}]}": "ledger.timestamps[0].url",
    "state_folder: x\nledger: {timestamp_every_s: 1}": "ledger.timestamp_every_s: Input should be greater than or equal to 60",
    "state_folder: x\nledger: {verify_every_s: 0}": "ledger.verify_every_s: Input should be greater than or equal to 60",
    "": "is empty; begin with state_folder",
    "otlp: {}": "state_folder: is missing; add it",
    "state_folder: x\notpl: {}": "line 2: otpl: there is no such setting; did you mean otlp?",
    "state_folder: x\nqueue:\n  body_byte_max: 1": "line 3: queue.body_byte_max: there is no such setting; did you mean body_bytes_max?",
    "state_folder: x\napi: {metrics: 1}": "known here: unix_socket, address",
    "state_folder: x\notlp: {grpc: '4317'}": "otlp.grpc: '4317' is no address; write host:port",
    "state_folder: x\notlp: {grpc: 'a:70000'}": "is no address",
    "state_folder: x\nsettle_s: yes": "line 2: yes without quotes",
    "state_folder: x\nsettle_s: true": "line 2: settle_s: Input should be a valid number",
    "state_folder: x\ndatabase_url: 'postgresql://u:hunter2${env:A}@h/d'": "a password must not stand in the file",
    "state_folder: x\nsettle_s: -1": "settle_s: Input should be greater than or equal to 0",
    "state_folder: x\nsettle_s: 1\nsettle_s: 2": "line 3",
    "state_folder: x\nqueue: {queue_spans_max: 0}": "queue.queue_spans_max: Input should be greater than 0",
    "state_folder: x\nqueue: {queue_spans_max: '5'}": "queue.queue_spans_max: Input should be a valid integer",
    "state_folder: x\nsenders: [{name: a, speaks_for: [{a: b}]}]": "senders[0]: a sender needs a credential",
    "state_folder: x\nsenders: [{name: a, speaks_for: [], token: '${env:A}'}]": "senders[0].speaks_for",
    "state_folder: x\nsenders: [{name: a, speaks_for: [{a: ''}], token: '${env:A}'}]": "resource attribute with a pattern",
    "state_folder: x\nsenders: [{name: a, speaks_for: [{a: b}], token: itself}]": "a token must not stand in the file; write ${env:NAME}",
    "state_folder: x\nsenders: [{name: a, speaks_for: [{a: b}], token: '${env:A}'}]": "the environment variable A is not set",
    "state_folder: x\nsenders: [{name: a, speaks_for: [{a: b}], token: '${file:none}'}]": "senders[0].token: cannot read the file none",
    "state_folder: x\nsenders: [{name: a, speaks_for: [{a: b}], token_sha256: [abc]}]": "'abc' is no SHA-256; it has 64 hex digits",
    "state_folder: x\nsenders: [{name: a, speaks_for: [{a: b}], certificate_names: [c]}]": "only with mutual TLS; set tls.client_ca",
    "state_folder: x\ndatabase_url: postgresql://u:hunter2@h/d": "a password must not stand in the file",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_said_with_its_place_and_what_to_write(text: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith("guard.yaml has ")
    assert BAD[text] in message
    assert "hunter2" not in message


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidSettings, match="3 problems"):
        parse("state_folder: 5\nsettle_s: x\notpl: 1")


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"none\.yaml: cannot be read"):
        load_settings(tmp_path / "none.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"state_folder: \xff")
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_settings(tmp_path / "latin.yaml", {})


@given(
    st.text(max_size=80)
    | st.tuples(st.sampled_from(list(BAD)), st.text(max_size=3)).map(lambda t: t[0][: len(t[0]) // 2] + t[1] + t[0][len(t[0]) // 2 :])
)
def test_any_text_is_settings_or_said_to_be_none(text: str) -> None:
    with contextlib.suppress(InvalidSettings):
        parse(text)


def test_the_documentation_lists_every_setting_with_its_meaning() -> None:
    page = (ROOT / "docs" / "telemetry-in.md").read_text(encoding="utf-8")
    for key, meaning in keys().items():
        assert f"| `{key}` |" in page, f"docs/telemetry-in.md lacks the setting {key}"
        assert meaning in page, f"docs/telemetry-in.md says something else of {key} than: {meaning}"


MASKING = """
state_folder: s
masking:
  treatments: {email: hash, ip_address: truncate}
  hash_key: ${env:HASH_KEY}
  detectors:
    - name: case_number
      pattern: CASE-[0-9]{8}
      keys: ["case.*"]
      treatment: drop
  allow:
    - detector: case_number
      key: case.public
      service: portal
      reason: Published on the court's own pages
  identity: [deployment.slot]
"""
HASH_KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="


def test_masking_arrives_at_the_decoder_and_its_key_is_not_shown() -> None:
    settings = parse(MASKING, HASH_KEY=HASH_KEY)
    assert HASH_KEY in settings.masking
    assert HASH_KEY not in repr(settings)
    assert not _native.Masking(settings.masking).is_off
    assert parse("state_folder: s").masking == "{}"


@pytest.mark.parametrize(
    ("old", "new", "line", "where", "why"),
    [
        ("CASE-[0-9]{8}", "CASE-(?=x)", 7, "masking.detectors[0]", "look-around"),
        ("CASE-[0-9]{8}", "x*", 7, "masking.detectors[0]", "matches the empty text"),
        ("name: case_number", "name: email", 7, "masking.detectors[0]", "is taken"),
        ("treatment: drop", "treatment: keep", 7, "masking.detectors[0]", "none of mask, hash, drop, refuse"),
        ("email: hash", "email: keep", 4, "masking.treatments.email", "an allow entry"),
        ("email: hash", "mail: hash", 4, "masking.treatments.mail", "no detector"),
        ("detector: case_number", "detector: case_numbers", 12, "masking.allow[0]", "no detector"),
        ("      reason: Published on the court's own pages\n", "", 12, "masking.allow[0].reason", "is missing"),
        ("key: case.public\n      service: portal", 'key: "*"', 12, "masking.allow[0]", "every key of every service"),
        ("${env:HASH_KEY}", HASH_KEY, 5, "masking.hash_key", "must not stand in the file"),
    ],
)
def test_a_bad_definition_of_masking_is_refused_with_its_place(old: str, new: str, line: int, where: str, why: str) -> None:
    assert old in MASKING
    with pytest.raises(InvalidSettings) as refused:
        parse(MASKING.replace(old, new), HASH_KEY=HASH_KEY)
    assert re.search(rf"line {line}(, column \d+)?: {re.escape(where)}: ", str(refused.value))
    assert why in str(refused.value)
    assert HASH_KEY not in str(refused.value)


def test_hashes_need_a_key_of_some_length() -> None:
    with pytest.raises(InvalidSettings, match="needs at least 16"):
        parse(MASKING, HASH_KEY="c2hvcnQ=")
    with pytest.raises(InvalidSettings, match="no hash_key"):
        parse(MASKING.replace("  hash_key: ${env:HASH_KEY}\n", ""))
