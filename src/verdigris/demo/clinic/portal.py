"""portal: what patients see. Has no data of its own; asks scheduling and eligibility, then renders."""

import time

from opentelemetry.trace import Tracer

from verdigris.demo.clinic.chance import Chance, natural_s
from verdigris.demo.clinic.http_client import Reply
from verdigris.demo.clinic.http_server import Incoming, Outgoing
from verdigris.demo.clinic.traced_client import TracedClient
from verdigris.demo.clinic.traced_server import Route, TracedServer

NAME = "portal"
_RENDER_MEDIAN_S = 0.005


def service(tracer: Tracer, scheduling: TracedClient, eligibility: TracedClient, chance: Chance) -> TracedServer:
    """One instance of the service."""

    def page(incoming: Incoming, reply: Reply) -> Outgoing:
        with tracer.start_as_current_span("render page"):
            time.sleep(natural_s(chance.at("render", incoming.request_id), _RENDER_MEDIAN_S))
        return Outgoing(reply.status, {"page": reply.body})

    def appointments(incoming: Incoming, _: str) -> Outgoing:
        return page(incoming, scheduling.call("GET", "/slots", incoming))

    def book(incoming: Incoming, slot: str) -> Outgoing:
        return page(incoming, scheduling.call("POST", f"/slots/{slot}/reservations", incoming))

    def health_card(incoming: Incoming, card: str) -> Outgoing:
        return page(incoming, eligibility.call("GET", f"/coverage/{card}", incoming))

    routes = [
        Route("GET", "/appointments", appointments),
        Route("POST", "/appointments/{id}/book", book),
        Route("GET", "/health-card/{id}", health_card),
    ]
    return TracedServer(tracer, NAME, routes)
