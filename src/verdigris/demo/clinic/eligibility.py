"""eligibility: knows whether a patient is covered, by asking the insurer."""

import time

from opentelemetry.trace import Tracer

from verdigris.demo.clinic.chance import Chance, natural_s
from verdigris.demo.clinic.http_server import Incoming, Outgoing
from verdigris.demo.clinic.traced_client import TracedClient
from verdigris.demo.clinic.traced_server import Route, TracedServer

NAME = "eligibility"
_CHECK_MEDIAN_S = 0.003


def service(tracer: Tracer, insurer: TracedClient, chance: Chance) -> TracedServer:
    """One instance of the service."""

    def coverage(incoming: Incoming, card: str) -> Outgoing:
        with tracer.start_as_current_span("check card"):
            time.sleep(natural_s(chance.at("check card", incoming.request_id), _CHECK_MEDIAN_S))
        return Outgoing(200, insurer.call("GET", f"/coverage/{card}", incoming).body)

    return TracedServer(tracer, NAME, [Route("GET", "/coverage/{card}", coverage)])
