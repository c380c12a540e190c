"""Masking as Python sees it: on by default, defined once, findings beside the batch. What is found is tested in native/tests."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from verdigris._native import Decoded, Finding, Masking, decode
from verdigris.telemetry.sources import Reading, expand

CARD = "4111111111111111"
HASH_KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="


def body(**attributes: str) -> bytes:
    """One span of the service "shop" and the operation "GET /pay"."""
    texts = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    span = {"traceId": "01" * 16, "spanId": "02" * 8, "name": "GET /pay", "attributes": texts}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).encode()


def attributes(decoded: Decoded) -> dict[str, str]:
    return dict(pa.record_batch(decoded).column("SpanAttributes").to_pylist()[0])


def seen(finding: Finding) -> tuple[str, str, str, str, str, int, str]:
    return (
        finding.detector, finding.position, finding.service, finding.operation, finding.treatment, finding.count, finding.sample,
    )  # fmt: skip


def test_it_is_on_by_default() -> None:
    decoded = decode(body(note=f"paid {CARD}", again=f"paid {CARD}"), format="json")
    shown = "paid 411111******1111"
    assert attributes(decoded) == {"note": shown, "again": shown, "verdigris.masked": "card@span_attribute"}
    assert [seen(finding) for finding in decoded.findings] == [
        ("card", "span_attribute", "shop", "GET /pay", "mask", 2, "411111******1111")
    ]
    assert decoded.findings_uncounted == 0
    assert CARD not in repr(decoded.findings)


def test_off_looks_for_nothing() -> None:
    decoded = decode(body(note=CARD), format="json", masking=Masking.off())
    assert attributes(decoded) == {"note": CARD}
    assert decoded.findings == []
    assert Masking.off().is_off
    assert not Masking().is_off


def test_a_definition_is_made_once_and_used_by_every_call() -> None:
    definition = {
        "treatments": {"card": "hash", "email": "drop"},
        "hash_key": HASH_KEY,
        "allow": [{"detector": "email", "key": "support", "service": "shop", "reason": "a public address"}],
        "detectors": [{"name": "case_number", "pattern": "CASE-[0-9]{4}", "treatment": "mask"}],
    }
    masking = Masking(json.dumps(definition))
    decoded = decode(body(note=CARD, to="a@b.cd", support="a@b.cd", case="CASE-1234!"), format="json", masking=masking)
    masked = attributes(decoded)
    assert masked["note"].startswith("[card~")
    assert (masked["to"], masked["support"], masked["case"]) == ("[email dropped]", "a@b.cd", "[case_number]!")
    assert {(finding.detector, finding.treatment) for finding in decoded.findings} == {
        ("card", "hash"), ("email", "drop"), ("email", "allow"), ("case_number", "mask"),
    }  # fmt: skip
    other = decode(body(x=f"also {CARD}"), format="json", masking=masking)
    assert attributes(other)["x"] == "also " + masked["note"]
    assert "0123456789abcdef" not in repr(masking)
    assert HASH_KEY not in repr(masking)


def test_a_span_can_be_refused() -> None:
    decoded = decode(body(note=CARD), format="json", masking=Masking('{"treatments": {"card": "refuse"}}'))
    assert (decoded.spans, decoded.refused) == (0, {"sensitive_value": 1})
    assert [finding.treatment for finding in decoded.findings] == ["refuse"]


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ("[]", "no JSON"),
        ('{"treatments": {"card": "keep"}}', "allow entry"),
        ('{"detectors": [{"name": "a", "pattern": "(x+x+)+y(?<z)"}]}', "pattern of a cannot be used"),
        ('{"allow": [{"detector": "card", "key": "a", "service": "b", "reason": " "}]}', "without a reason"),
    ],
)
def test_a_bad_definition_is_refused_with_the_reason(definition: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        Masking(definition)
    assert "Safe: nothing was decoded with it" in str(refused.value)


def test_recordings_are_masked_too(tmp_path: Path) -> None:
    recording = tmp_path / "spans.jsonl"
    recording.write_bytes(body(note=f"paid {CARD}") + b"\n" + body(**{"http.request.header.authorization": "Bearer abc"}) + b"\n")
    texts = repr([batch.to_pylist() for batch in Reading(expand([str(recording)]))])
    assert "411111******1111" in texts
    assert CARD not in texts
    assert "Bearer abc" not in texts
