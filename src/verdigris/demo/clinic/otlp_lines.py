"""Writes spans as OTLP/JSON lines, an export request per line: the format of the Collector's file exporter.

OTLP/JSON is protobuf's JSON mapping with two exceptions (OTLP specification, "JSON Protobuf Encoding"): trace and span
ids are hex instead of base64, and enums are integers.
"""

import base64
import json
from collections.abc import Sequence
from threading import Lock
from typing import IO, Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_ID_FIELDS = ("traceId", "spanId", "parentSpanId")


class LinesExporter(SpanExporter):
    """Appends to one open file, from any number of span processors. Does not own the file.

    The SDK logs an exporter's failure and drops the batch, so the first failure is kept: look at `failure` after the
    providers are shut down, before believing the file.
    """

    def __init__(self, out: IO[bytes]) -> None:
        """Writes nothing yet."""
        self._out = out
        self._lock = Lock()
        self.spans = 0
        self.failure: Exception | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Writes one line. Never raises."""
        try:
            written = line(spans)
            with self._lock:
                self._out.write(written)
                self.spans += len(spans)
        except Exception as error:  # noqa: BLE001 - kept for whoever started the recording, see above
            self.failure = self.failure or error
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing: every processor of a role calls this, and the first must not close the file for the others."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the name is the SDK's
        """Nothing is held back here. Returns: True."""
        return True


def line(spans: Sequence[ReadableSpan]) -> bytes:
    """The spans as one OTLP/JSON export request, ending in a newline."""
    request: dict[str, Any] = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    for resource in request.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                _ids_to_hex(span)
                for link in span.get("links", ()):
                    _ids_to_hex(link)
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _ids_to_hex(carrier: dict[str, Any]) -> None:
    for name in _ID_FIELDS:
        if name in carrier:
            carrier[name] = base64.b64decode(carrier[name]).hex()
