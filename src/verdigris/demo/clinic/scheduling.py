"""scheduling: owns the appointment slots. Booking one asks eligibility first."""

import sqlite3
import time

from opentelemetry.trace import SpanKind, Tracer

from verdigris.demo.clinic.behaviour import Behaviour
from verdigris.demo.clinic.chance import Chance, natural_s
from verdigris.demo.clinic.http_server import Incoming, Outgoing
from verdigris.demo.clinic.slots import BOOK, SELECT_FREE, SELECT_ONE, Slots
from verdigris.demo.clinic.traced_client import TracedClient
from verdigris.demo.clinic.traced_server import NOT_FOUND, UNAVAILABLE, Refusal, Route, TracedServer

NAME = "scheduling"
_QUERY_MEDIAN_S = 0.004
_RANK_MEDIAN_S = 0.002


def service(tracer: Tracer, slots: Slots, eligibility: TracedClient, behaviour: Behaviour, chance: Chance) -> TracedServer:
    """One instance of the service."""

    def query(incoming: Incoming, statement: str, argument: int) -> list[tuple[int, str, str]]:
        operation = statement.split(" ", 1)[0]
        attributes = {
            "db.system.name": "sqlite",
            "db.namespace": "main",
            "db.collection.name": "slots",
            "db.operation.name": operation,
            "db.query.text": statement,
        }
        accidents = chance.at(statement, incoming.request_id)
        try:
            # Leaving the span by an exception records it there and marks the span as failed.
            with tracer.start_as_current_span(f"{operation} slots", kind=SpanKind.CLIENT, attributes=attributes):
                time.sleep(natural_s(accidents, _QUERY_MEDIAN_S))  # a database in memory has no disk to wait for
                return slots.run(statement, argument, locked=accidents.random() < behaviour.database_locked_share)
        except sqlite3.OperationalError as error:
            raise Refusal(UNAVAILABLE, "the appointment book is busy") from error

    def free(incoming: Incoming, _: str) -> Outgoing:
        rows = query(incoming, SELECT_FREE, int(incoming.card.removeprefix("c") or 0))
        with tracer.start_as_current_span("rank slots", attributes={"clinic.slots": len(rows)}):
            time.sleep(natural_s(chance.at("rank", incoming.request_id), _RANK_MEDIAN_S))
            return Outgoing(200, {"slots": sorted(rows, key=lambda row: (row[2], row[0]))})

    def reserve(incoming: Incoming, slot: str) -> Outgoing:
        if not (slot.isdecimal() and query(incoming, SELECT_ONE, int(slot))):
            raise Refusal(NOT_FOUND, "no such appointment")
        coverage = eligibility.call("GET", f"/coverage/{incoming.card}", incoming).body
        query(incoming, BOOK, int(slot))
        return Outgoing(201, {"slot": int(slot), "coverage": coverage})

    return TracedServer(tracer, NAME, [Route("GET", "/slots", free), Route("POST", "/slots/{slot}/reservations", reserve)])
