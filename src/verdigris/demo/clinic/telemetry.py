"""How one instance of a service traces itself: OpenTelemetry's SDK, set up in code only.

Nothing global is set, because the process may have tracing of its own. Sampling, resource, propagation and batching are
set here rather than left to OTEL_* variables: whoever runs the demonstration has those for something else.
"""

from dataclasses import dataclass
from importlib.metadata import version

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SCOPE = "clinic.http"
PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of a service; `environment` is its slot, blue or green."""

    service: str
    version: str
    environment: str
    number: int

    @property
    def id(self) -> str:
        """Readable rather than random, so that a person can follow a trace."""
        return f"{self.service}-{self.environment}-{self.number}"


def provider(instance: Instance, exporter: SpanExporter) -> TracerProvider:
    """A tracer provider whose spans say which instance they come from. Shut it down to flush it."""
    resource = Resource(
        {
            "service.name": instance.service,
            "service.namespace": "clinic",
            "service.version": instance.version,
            "service.instance.id": instance.id,
            "deployment.environment.name": instance.environment,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": version("opentelemetry-sdk"),
        }
    )
    tracing = TracerProvider(resource=resource, sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    # Small batches often: encoding a large one would hold the interpreter while a request waits for it.
    tracing.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=8192, schedule_delay_millis=1000, max_export_batch_size=64))
    return tracing
