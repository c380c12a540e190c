"""What a cause's bad spans have in common: one instance, one route, one version."""

from collections.abc import Sequence

from verdigris.comparison.document import Attribute
from verdigris.comparison.recordings import Recording
from verdigris.judge.attributes import telling
from verdigris.judge.effects import quantile_ms
from verdigris.judge.tallies import Tallies
from verdigris.judge.verdict import Cause
from verdigris.plan.policy import Policy

KEYS = (
    "cloud.availability_zone", "cloud.region", "container.image.tags", "db.collection.name", "db.namespace", "db.operation.name",
    "db.system.name", "deployment.environment.name", "error.type", "feature_flag.key", "feature_flag.result.variant", "host.name",
    "http.request.method", "http.response.status_code", "http.route", "k8s.cluster.name", "k8s.namespace.name", "k8s.node.name",
    "k8s.pod.name", "messaging.destination.name", "messaging.system", "network.protocol.version", "peer.service",
    "process.runtime.version", "rpc.grpc.status_code", "rpc.method", "rpc.service", "server.address", "server.port",
    "service.instance.id", "service.version", "telemetry.sdk.version", "thread.name", "url.scheme", "url.template",
)  # fmt: skip
"""Attributes that say what runs where. Others may hold what people entrusted to the system, and are not shown."""

SLOW_QUANTILE = 0.95


def telling_attributes(recordings: Sequence[Recording], tallies: Tallies, cause: Cause, policy: Policy) -> tuple[Attribute, ...]:
    """Values that the bad spans of a cause's operation have more often: failed ones, and those slower than nearly all of the baseline's."""
    base = tallies.baseline.operations.get(cause.operation) if cause.operation is not None else None
    if cause.operation is None or base is None:
        return ()
    slow_ms = quantile_ms(base.exclusives, SLOW_QUANTILE) * (1 + policy.latency_margin_apart)
    for recording in recordings:
        counts = recording.attributes(cause.operation, KEYS, round(slow_ms * 1e6))
        if counts:
            spans, *values = counts
            found = telling(values, spans.bad, spans.good, policy.alpha)
            return tuple(Attribute(t.key, t.value, round(t.bad_share, 4), round(t.good_share, 4)) for t in found)
    return ()
