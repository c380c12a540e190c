"""How one host's services trace themselves: OpenTelemetry's SDK, set up in code only.

Nothing global is set, and OTEL_* variables do not decide: whoever runs the demonstration has those for something else.
"""

from importlib.metadata import version
from threading import Timer

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SCOPE = "demo.http"
PROPAGATOR = TraceContextTextMapPropagator()
_DELAY_MS = 250
"""Spans wait so long before they are sent: the guard's windows are a second, so that a span must not be late by more."""
_FINISH_S = 1.5


class Sending:
    """Sends the spans of all services of a host to `host:port`, OTLP over gRPC without TLS (loopback)."""

    def __init__(self, endpoint: str) -> None:
        """Connects when there is something to send."""
        self._exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=5)
        # An export is answered when its spans are durable; a busy disk takes its time, and then one large batch must do.
        self.processor = BatchSpanProcessor(
            self._exporter, max_queue_size=16_384, schedule_delay_millis=_DELAY_MS, max_export_batch_size=2048
        )

    def finish(self) -> None:
        """Sends what is left; what cannot be sent in `_FINISH_S` is given up, where the SDK would wait for half a minute."""
        give_up = Timer(_FINISH_S, self._exporter.shutdown)
        give_up.daemon = True
        give_up.start()
        self.processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK does not say
        give_up.cancel()


def provider(system: str, service: str, slot: str, instance: int, release: str, processor: SpanProcessor) -> TracerProvider:
    """A tracer provider whose spans say which instance of which service they come from."""
    resource = Resource(
        {
            "service.name": service,
            "service.namespace": system,
            "service.version": release,
            "service.instance.id": f"{service}-{slot}-{instance}",
            "deployment.environment.name": slot,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": version("opentelemetry-sdk"),
        }
    )
    tracing = TracerProvider(resource=resource, sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    tracing.add_span_processor(processor)
    return tracing
