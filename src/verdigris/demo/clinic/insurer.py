"""The stand-in for the insurer's API: plain HTTP, outside the clinic, without telemetry. The fault acts here."""

import time

from verdigris.demo.clinic.behaviour import Behaviour
from verdigris.demo.clinic.chance import Chance, natural_s
from verdigris.demo.clinic.http_server import Incoming, Outgoing
from verdigris.demo.clinic.load import CARDS

ADDRESS = "insurer-api.example"
PEER_SERVICE = "insurer-api"

_MEDIAN_S = 0.025
_OK, _NOT_FOUND, _UNAVAILABLE = 200, 404, 503


class Insurer:
    """One version of the API: answers `GET /{version}/coverage/{card}`. An `HttpServer` calls it."""

    def __init__(self, behaviour: Behaviour, chance: Chance) -> None:
        """The behaviour says which share of the calls is slow, by how much, and which share fails."""
        self._behaviour = behaviour
        self._chance = chance
        self._prefix = f"/{behaviour.insurer_api}/coverage/"

    def __call__(self, incoming: Incoming) -> Outgoing:
        """Whether a card is covered, after the time that the insurer takes."""
        behaviour, accidents = self._behaviour, self._chance.at("insurer", incoming.request_id)
        card = incoming.path.removeprefix(self._prefix)
        time.sleep(natural_s(accidents, _MEDIAN_S))
        if accidents.random() < behaviour.insurer_unavailable_share:
            return Outgoing(_UNAVAILABLE, {"error": "try again later"})
        if accidents.random() < behaviour.insurer_slow_share:
            time.sleep(accidents.uniform(*behaviour.insurer_extra_s))
        if not (card.startswith("c") and card[1:].isdecimal() and int(card[1:]) < CARDS):
            return Outgoing(_NOT_FOUND, {"error": "no such card"})
        return Outgoing(_OK, {"card": card, "covered": True})
