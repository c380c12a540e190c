"""A host: one process with one instance of every service of a system, in one version, each on a port of its own.

    python -m verdigris.demo.system.host

Reads its settings as a JSON line, says its ports, hears where the others are, says that it is ready, and serves until its
standard input ends. Every call between services is an HTTP request over TCP with W3C trace context, also within a host.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http import HTTPStatus
from random import Random

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from verdigris.demo.system.chatter import Chatter
from verdigris.demo.system.model import HURT_HEADER, SLOT_HEADER, Behaviour, Call, Route, Service, System, Work
from verdigris.demo.system.serving import LOOPBACK, listen, run
from verdigris.demo.system.systems import SYSTEMS
from verdigris.demo.system.tracing import PROPAGATOR, SCOPE, Sending, provider

TIMEOUT_S = 10.0
_SIGMA = 0.2
"""Of the log-normal times: the 99th percentile is 1.6 times the median."""


class Failed(Exception):
    """A request that cannot be served, with the status to say so."""

    def __init__(self, status: int, hurt: str = "") -> None:
        """`hurt`: what the fault did to it, if the fault did."""
        super().__init__(HTTPStatus(status).phrase)
        self.status = status
        self.hurt = hurt


@dataclass(slots=True)
class Request:
    """One request on its way through one service."""

    argument: str
    authorization: str
    hurt: str = ""


class Instance:
    """One instance of one service: answers `web.Server`."""

    def __init__(self, service: Service, behaviour: Behaviour, slot: str, tracer: Tracer, dice: Random, calls: "Calls") -> None:
        """`calls` reaches the other services."""
        self._service = service
        self._behaviour = behaviour
        self._slot = slot
        self._tracer = tracer
        self._dice = dice
        self._calls = calls

    async def __call__(self, incoming: web.BaseRequest) -> web.Response:
        """Routes the request, with a server span as an instrumented web framework makes it. Never raises."""
        path = incoming.path
        found = self._service.find(incoming.method, path)
        attributes = {
            "http.request.method": incoming.method,
            "url.scheme": "http",
            "url.path": path,
            "server.address": self._service.name,
            "network.protocol.version": "1.1",
        }
        if found:
            attributes["http.route"] = found[0].template
        with self._tracer.start_as_current_span(
            f"{incoming.method} {found[0].template}" if found else incoming.method,
            context=PROPAGATOR.extract(incoming.headers),
            kind=SpanKind.SERVER,
            attributes=attributes,
        ) as span:
            status, hurt = await self._answer(found, incoming, span)
            span.set_attribute("http.response.status_code", status)
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # the conventions leave a server span's status unset below 500
                span.set_attribute("error.type", str(status))
                span.set_status(StatusCode.ERROR)
        headers = {SLOT_HEADER: self._slot}
        if hurt:
            headers[HURT_HEADER] = hurt
        return web.json_response({"service": self._service.name, "status": status}, status=status, headers=headers)

    async def _answer(self, found: tuple[Route, str] | None, incoming: web.BaseRequest, span: Span) -> tuple[int, str]:
        """The status, and what the fault did to this request."""
        if found is None:
            return HTTPStatus.NOT_FOUND, ""
        route, argument = found
        request = Request(argument, incoming.headers.get("authorization", ""))
        if not self._behaviour.traces_arrive:
            request.hurt = "untraced"
        try:
            self._check_credentials(route, request)
            for step in route.steps:
                await (self._work(step) if isinstance(step, Work) else self._calls.make(step, request, self._tracer))
            await self._accidents(request)
            if self._behaviour.card_in_spans and self._behaviour.at == self._service.name:
                span.set_attribute("payment.source", f"card {card_number(self._dice)}")
                request.hurt = "leaked"
        except Failed as failed:
            if failed.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.record_exception(failed)
            return failed.status, failed.hurt or request.hurt
        return HTTPStatus.OK, request.hurt

    def _check_credentials(self, route: Route, request: Request) -> None:
        if route.credentials and not request.authorization:
            if self._behaviour.asks_credentials:
                raise Failed(HTTPStatus.UNAUTHORIZED)
            request.hurt = "unauthorized"

    async def _work(self, work: Work) -> None:
        await asyncio.sleep(self._dice.lognormvariate(math.log(work.median_s), _SIGMA))

    async def _accidents(self, request: Request) -> None:
        """What goes wrong here: naturally in both versions, and by the fault."""
        behaviour = self._behaviour
        if behaviour.at != self._service.name:
            return
        draw = self._dice.random()
        if draw < behaviour.error_share:
            raise Failed(HTTPStatus.SERVICE_UNAVAILABLE)
        if draw < behaviour.error_share + behaviour.fault_error_share:
            raise Failed(HTTPStatus.SERVICE_UNAVAILABLE, hurt="failed")
        if self._dice.random() < behaviour.slow_share:
            request.hurt = "slow"
            await asyncio.sleep(behaviour.slow_extra_s)


def card_number(dice: Random) -> str:
    """Sixteen digits of a range that issuers use for tests, with the check digit of a real card (ISO/IEC 7812-1)."""
    body = f"400000{dice.randrange(10**9):09}"
    doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(body)]
    return body + str(-sum(number // 10 + number % 10 for number in doubled) % 10)


class Calls:
    """Requests to other services, with a client span as an instrumented HTTP client makes it."""

    def __init__(self, session: ClientSession, system: System, behaviour: Behaviour, dice: Random) -> None:
        """`ports` is known only after all hosts have started."""
        self._session = session
        self._outside = system.outside
        self._version = behaviour.outside_version
        self._dice = dice
        self.ports: Mapping[str, Sequence[int]] = {}

    async def make(self, call: Call, request: Request, tracer: Tracer) -> None:
        """Asks one of the service's instances. Raises: Failed: with 401 and 404 as they came, 503 for everything else."""
        outside = self._outside if self._outside and self._outside.service == call.service else None
        path = call.path.replace("{}", request.argument)
        if outside:
            path = f"/{self._version}{path}"
        address = outside.address if outside else call.service
        port = self._dice.choice(self.ports[call.service])
        attributes: dict[str, str | int] = {
            "http.request.method": call.method,
            "url.full": f"http://{address}{path}",
            "server.address": address,
            "server.port": 80,
            "network.peer.address": LOOPBACK,
            "network.peer.port": port,
        }
        if outside:
            attributes["peer.service"] = outside.service
        headers = {"host": address}
        if request.authorization and not outside:
            headers["authorization"] = request.authorization
        with tracer.start_as_current_span(call.method, kind=SpanKind.CLIENT, attributes=attributes) as span:
            if not outside:  # the outside is not traced, and gets no context that it could pass on
                PROPAGATOR.inject(headers)
            status = HTTPStatus.SERVICE_UNAVAILABLE.value
            try:
                async with self._session.request(call.method, f"http://{LOOPBACK}:{port}{path}", headers=headers) as reply:
                    await reply.read()
                    status = reply.status
                    request.hurt = reply.headers.get(HURT_HEADER, request.hurt)
                    span.set_attribute("http.response.status_code", status)
            except (ClientError, TimeoutError, OSError) as error:
                span.record_exception(error)
            if status >= HTTPStatus.BAD_REQUEST:  # a client span's status is an error from 400 on
                span.set_attribute("error.type", str(status))
                span.set_status(StatusCode.ERROR)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}:
            raise Failed(status)
        if status >= HTTPStatus.BAD_REQUEST:
            raise Failed(HTTPStatus.SERVICE_UNAVAILABLE)


async def main() -> None:
    """Settings in, ports out, others in, ready out; then serve until the end of standard input."""
    chatter = await Chatter.open()
    settings = await chatter.hear()
    system = SYSTEMS[settings["system"]]
    behaviour = Behaviour.read(settings["behaviour"])
    slot, number = str(settings["slot"]), int(settings["instance"])
    dice = Random(f"{settings['seed']}:{slot}:{number}")  # noqa: S311 - accidents, not secrets
    async with AsyncExitStack() as stack:
        sending = Sending(settings["traces_to"])
        stack.callback(sending.finish)
        session = await stack.enter_async_context(
            ClientSession(connector=TCPConnector(limit=0, force_close=False), timeout=ClientTimeout(TIMEOUT_S), cookie_jar=DummyCookieJar())
        )
        calls = Calls(session, system, behaviour, dice)
        ports = {}
        for service in system.services:
            tracing = provider(system.name, service.name, slot, number, behaviour.version, sending.processor)
            instance = Instance(service, behaviour, slot, tracing.get_tracer(SCOPE, behaviour.version), dice, calls)
            ports[service.name] = await listen(stack, web.Server(instance))
        chatter.say({"ports": ports})
        calls.ports = (await chatter.hear())["ports"]
        chatter.say({"ready": True})
        await chatter.ended()


if __name__ == "__main__":
    run(main())
