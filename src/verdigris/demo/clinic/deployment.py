"""One role of the clinic, running: two instances of each service, their database and the insurer that they ask.

Leaving stops it from the outside in, caller before callee, and each instance's telemetry last: when it returns, every
span of every answered request has been exported.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import Tracer

from verdigris.demo.clinic import eligibility, insurer, portal, scheduling
from verdigris.demo.clinic.behaviour import Behaviour
from verdigris.demo.clinic.chance import Chance
from verdigris.demo.clinic.http_server import HttpServer
from verdigris.demo.clinic.load import PORTALS, SLOTS
from verdigris.demo.clinic.slots import Slots
from verdigris.demo.clinic.telemetry import SCOPE, Instance, provider
from verdigris.demo.clinic.traced_client import Target, TracedClient
from verdigris.demo.clinic.traced_server import TracedServer

INSTANCES = 2


@contextmanager
def running(behaviour: Behaviour, environment: str, chance: Chance, exporter: SpanExporter) -> Iterator[tuple[int, ...]]:
    """Runs one role while the body runs. Yields: the ports of its portals.

    Args:
        behaviour: the version and what is wrong with it.
        environment: the slot, blue or green.
        chance: the role's accidents.
        exporter: gets the spans of all instances; is left open.
    """
    with ExitStack() as stack:

        def instances(
            service: str, count: int, build: Callable[[Tracer, Callable[[Target], TracedClient]], TracedServer]
        ) -> tuple[int, ...]:
            """Starts the instances of one service. Each closes in reverse: server, its connections, its telemetry."""
            ports = []
            for number in range(1, count + 1):
                tracing = provider(Instance(service, behaviour.version, environment, number), exporter)
                stack.callback(tracing.shutdown)
                tracer = tracing.get_tracer(SCOPE, behaviour.version)

                def client(target: Target, tracer: Tracer = tracer) -> TracedClient:
                    return stack.enter_context(TracedClient(tracer, target, chance))

                ports.append(stack.enter_context(HttpServer(build(tracer, client))).port)
            return tuple(ports)

        slots = stack.enter_context(Slots(SLOTS))
        outside = stack.enter_context(HttpServer(insurer.Insurer(behaviour, chance)))
        to_insurer = Target(insurer.ADDRESS, (outside.port,), insurer.PEER_SERVICE, f"/{behaviour.insurer_api}")
        to_eligibility = Target(
            eligibility.NAME,
            instances(eligibility.NAME, INSTANCES, lambda t, client: eligibility.service(t, client(to_insurer), chance)),
        )
        to_scheduling = Target(
            scheduling.NAME,
            instances(
                scheduling.NAME,
                INSTANCES,
                lambda t, client: scheduling.service(t, slots, client(to_eligibility), behaviour, chance),
            ),
        )
        yield instances(
            portal.NAME,
            PORTALS,
            lambda t, client: portal.service(t, client(to_scheduling), client(to_eligibility), chance),
        )
