"""The lines are OTLP/JSON, and hold what the SDK's own encoder says."""

import base64
import io
import json
from collections.abc import Iterator
from typing import IO, Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Link, SpanKind, StatusCode, set_span_in_context

from verdigris.demo.clinic.otlp_lines import LinesExporter, line

START_NS = 1_700_000_000_123_456_789


@pytest.fixture
def spans() -> list[ReadableSpan]:
    """A failed client span with everything on it, and its parent."""
    tracer = TracerProvider(resource=Resource({"service.name": "eligibility"}), shutdown_on_exit=False).get_tracer("t")
    parent = tracer.start_span("GET /coverage/{card}", kind=SpanKind.SERVER, start_time=START_NS)
    child = tracer.start_span(
        "GET",
        context=set_span_in_context(parent),
        kind=SpanKind.CLIENT,
        start_time=START_NS + 1,
        attributes={"http.response.status_code": 503, "name": "Zoë", "slow": True, "share": 0.5},
        links=[Link(parent.get_span_context())],
    )
    child.record_exception(TimeoutError("too late"), timestamp=START_NS + 2)
    child.set_status(StatusCode.ERROR, "no answer")
    child.end(START_NS + 3)
    parent.end(START_NS + 4)
    assert isinstance(child, ReadableSpan)
    assert isinstance(parent, ReadableSpan)
    return [child, parent]


def written(spans: list[ReadableSpan]) -> list[dict[str, Any]]:
    """The spans of one line, as JSON."""
    text = line(spans)
    assert text.count(b"\n") == 1
    assert text.endswith(b"\n")
    found: list[dict[str, Any]] = json.loads(text)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return found


def test_ids_are_hex_times_are_text_and_enums_are_integers(spans: list[ReadableSpan]) -> None:
    child, parent = written(spans)
    context = spans[0].get_span_context()
    assert context
    assert child["traceId"] == f"{context.trace_id:032x}"
    assert child["spanId"] == f"{context.span_id:016x}"
    assert child["parentSpanId"] == parent["spanId"]
    assert "parentSpanId" not in parent
    assert child["startTimeUnixNano"] == str(START_NS + 1)
    assert child["endTimeUnixNano"] == str(START_NS + 3)
    assert child["events"][0]["timeUnixNano"] == str(START_NS + 2)
    assert (child["kind"], parent["kind"]) == (3, 2)
    assert child["status"] == {"code": 2, "message": "no answer"}
    assert {"key": "http.response.status_code", "value": {"intValue": "503"}} in child["attributes"]


def test_protobuf_reads_back_what_the_sdk_encodes(spans: list[ReadableSpan]) -> None:
    document = json.loads(line(spans))
    for carrier in with_ids(document):
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in carrier:
                carrier[name] = base64.b64encode(bytes.fromhex(carrier[name])).decode()
    assert ParseDict(document, ExportTraceServiceRequest()) == encode_spans(spans)


def with_ids(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The spans and links of a document."""
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield span
                yield from span.get("links", ())


def test_one_export_is_one_line_and_processors_share_the_file(spans: list[ReadableSpan]) -> None:
    out = io.BytesIO()
    exporter = LinesExporter(out)
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    exporter.shutdown()  # of the first processor
    assert exporter.export(spans[:1]) is SpanExportResult.SUCCESS
    assert out.getvalue() == line(spans) + line(spans[:1])
    assert exporter.spans == 3
    assert exporter.failure is None


def test_the_first_failure_is_kept(spans: list[ReadableSpan]) -> None:
    failures = iter([OSError("disk full"), OSError("later")])

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise next(failures)

    out: IO[bytes] = Full()
    exporter = LinesExporter(out)
    assert exporter.export(spans) is SpanExportResult.FAILURE
    assert exporter.export(spans) is SpanExportResult.FAILURE
    assert str(exporter.failure) == "disk full"
    assert exporter.spans == 0
