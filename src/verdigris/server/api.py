"""The HTTP API: what people and programs ask of a guard about rollouts. Thin: it checks who asks and how much, then asks `RolloutControl`.

Over the Unix socket the caller is the local user; over TCP a bearer token says who it is. There are no cookies and no CORS,
so a page in somebody's browser has no credentials here; plain TCP also refuses every Host that is not this machine.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from verdigris.approvals.approval import SIGNED_BYTES_MAX
from verdigris.errors import VerdigrisError
from verdigris.rollout.status import AgreementStatus, NoSuchRollout, RolloutControl, RolloutStatus
from verdigris.server import wire
from verdigris.server.actors import Actor, ActorRole, Actors, Listener, actor_name
from verdigris.server.serving import HEADER_BYTES_MAX, LISTENER, Serving, TlsFiles, serve_api

__all__ = ["Serving", "TlsFiles", "make_api", "serve_api"]

API_VERSION = 1
ACTOR_HEADER = "x-verdigris-actor"
"""On the Unix socket: the caller's name, percent-encoded. Over TCP the token says the name and this is not read."""

REQUEST_BYTES_MAX = 16 * 1024
"""For every body that is not a plan."""

BODY_S_MAX = 20.0
"""A body that takes longer to arrive is refused."""

EVENTS_MAX = 1_000
"""At most so many events in one answer; ask again with `after`."""

ROLLOUTS_MAX = 1_000
"""At most so many rollouts in one answer, the newest."""

HEARTBEAT_S = 5.0
"""So often a stream says something, also when there is nothing to say; a client takes longer silence for a lost connection."""

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Asked(BaseModel):
    """The body of hold, resume, abort, commit and erase; it may be left out where no reason is needed."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(default="", max_length=wire.REASON_CHARS_MAX)


def make_api(control: RolloutControl, health: Callable[[], Mapping[str, object]], actors: Actors) -> FastAPI:
    """The API as an ASGI application, to be run by `serve_api`.

    `health` must be quick and without secrets: anyone who can connect may read it. What it raises is answered with 500.
    """
    app = FastAPI(title="Verdigris guard", version=version("verdigris"), docs_url=None, redoc_url=None, openapi_url=None)
    app.state.closing = asyncio.Event()
    app.add_middleware(_Gate)
    _answer_errors(app)

    def caller(request: Request) -> Actor:
        return _caller(request, actors)

    def operator(actor: Annotated[Actor, Depends(caller)]) -> Actor:
        if actor.role is not ActorRole.OPERATOR:
            raise HTTPException(403, f"{actor.name} may read, but not change a rollout")
        return actor

    _add_guard(app, health, Depends(caller))
    _add_reading(app, control, Depends(caller))
    _add_changing(app, control, operator)
    return app


def _add_guard(app: FastAPI, health: Callable[[], Mapping[str, object]], caller: Any) -> None:
    """What is asked of the guard itself."""

    @app.get("/v1/health", name="health")
    async def told_health() -> Response:
        """Alive, with a summary. Always 200 while the guard answers: no prober may kill a guard for being in trouble."""
        return _document(wire.to_json({**health(), "alive": True, "version": version("verdigris")}))

    @app.get("/v1/version", name="version", dependencies=[caller])
    async def told_version() -> dict[str, Any]:
        """Version of the program and of this API."""
        return {"version": version("verdigris"), "api": API_VERSION}

    @app.get("/v1/openapi.json", name="openapi", dependencies=[caller])
    async def described() -> dict[str, Any]:
        """This description."""
        return app.openapi()


def _add_reading(app: FastAPI, control: RolloutControl, caller: Any) -> None:
    """What any actor may ask."""

    @app.get("/v1/rollouts", response_model=wire.RolloutList, dependencies=[caller])
    async def rollouts(
        plan_digest: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=ROLLOUTS_MAX)] = ROLLOUTS_MAX,
    ) -> Response:
        """Rollouts, the newest first, at most `limit`; with `plan_digest` only those of this plan."""
        listed = [each for each in await control.rollouts() if plan_digest is None or each.plan_digest == plan_digest]
        return _document(wire.statuses_to_json(listed[:limit]))

    @app.get("/v1/rollouts/{rollout_id}", response_model=RolloutStatus, dependencies=[caller])
    async def status(rollout_id: str) -> Response:
        """One rollout. A unique beginning of the id is enough; "latest" is the newest."""
        return _document(wire.status_to_json(await control.status(_id(rollout_id))))

    @app.get("/v1/rollouts/{rollout_id}/events", response_model=wire.EventList, dependencies=[caller])
    async def events(
        rollout_id: str,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=EVENTS_MAX)] = EVENTS_MAX,
    ) -> Response:
        """The journal from the entry after `after`, at most `limit` entries."""
        listed = await control.events(_id(rollout_id), after)
        return _document(wire.events_to_json(listed[:limit]))

    @app.get("/v1/rollouts/{rollout_id}/watch", dependencies=[caller], responses={200: {"content": {"text/event-stream": {}}}})
    async def watch(rollout_id: str) -> Response:
        """Server-sent events: `status` with a status document, at last `end`; `error` with an error document; comments in between."""
        # An unknown id is an answer of its own, not a stream; and "latest" is settled once.
        exact = (await control.status(_id(rollout_id))).id
        return StreamingResponse(_stream(control, exact, app.state.closing), media_type="text/event-stream")

    @app.get("/v1/rollouts/{rollout_id}/agreement", response_model=AgreementStatus, dependencies=[caller])
    async def agreement(rollout_id: str) -> Response:
        """What people are asked about the rollout, what they are shown for it, and what they have signed."""
        return _document(wire.agreement_to_json(await control.agreement(_id(rollout_id))))

    @app.post("/v1/rollouts/{rollout_id}/agreement", response_model=AgreementStatus, dependencies=[caller], openapi_extra=_SIGNED_BODY)
    async def sign(rollout_id: str, request: Request) -> Response:
        """Take in a signed approval. Who says it is known by the key that signed, so whoever may read may hand it in."""
        return _document(wire.agreement_to_json(await control.sign(_id(rollout_id), await _body(request, SIGNED_BYTES_MAX))))

    @app.get("/v1/reviews", response_model=wire.ReviewList, dependencies=[caller])
    async def reviews() -> Response:
        """The reviews that overrides of freezes have opened, those that are still open first."""
        return _document(wire.reviews_to_json(await control.reviews()))


def _add_changing(app: FastAPI, control: RolloutControl, operator: Callable[..., Actor]) -> None:
    """What only an operator may ask."""

    @app.post("/v1/rollouts", status_code=201, response_model=RolloutStatus, openapi_extra=_PLAN_BODY)
    async def start(
        request: Request,
        actor: Annotated[Actor, Depends(operator)],
        break_glass: Annotated[bool, Query()] = False,  # noqa: FBT002
    ) -> Response:
        """Start a rollout of the plan in the body. 409 when one of this plan, or of the same traffic, is running.

        With `break_glass` also in a freeze; it then waits for whoever the plan says may override it.
        """
        asked = control.asked_from(_origin(request))
        status = await asked.start(await _text(request, wire.PLAN_BYTES_MAX), actor.name, break_glass=break_glass)
        return _document(wire.status_to_json(status), 201, {"location": f"/v1/rollouts/{status.id}"})

    def act(name: str, what: str) -> None:
        async def acted(rollout_id: str, request: Request, actor: Annotated[Actor, Depends(operator)]) -> Response:
            asked = _asked(await _body(request, REQUEST_BYTES_MAX))
            do: Callable[[str, str, str], Awaitable[RolloutStatus]] = getattr(control.asked_from(_origin(request)), name)
            return _document(wire.status_to_json(await do(_id(rollout_id), actor.name, asked.reason)))

        extra = {"requestBody": {"content": {"application/json": {"schema": Asked.model_json_schema()}}}}
        path = f"/v1/rollouts/{{rollout_id}}/{name}"
        app.post(path, response_model=RolloutStatus, name=name, description=what, openapi_extra=extra)(acted)

    act("hold", "Stay at the present weight until resumed.")
    act("resume", "Go on after a hold.")
    act("abort", "Back to the baseline, now. Never refused while the rollout runs.")
    act("commit", "End the bake now and make the candidate the durable default.")
    act("erase", "Erase the evidence of a rollout that has ended, and what people wrote of it. Needs a reason.")


_PLAN_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"The plan, YAML or JSON, at most {wire.PLAN_BYTES_MAX} bytes.",
        "content": {"application/yaml": {"schema": {"type": "string"}}},
    }
}


_SIGNED_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"The signed approval, canonical JSON with the texts `approval` and `signature`, at most {SIGNED_BYTES_MAX} bytes.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def _document(body: bytes, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status_code, headers, "application/json")


def _id(text: str) -> str:
    if wire.ID.fullmatch(text) is None:
        msg = "there is no rollout with such an id: ids are letters, digits, '.', '_' and '-'"
        raise NoSuchRollout(msg)
    return text


def _caller(request: Request, actors: Actors) -> Actor:
    if request.scope.get(LISTENER) == Listener.LOCAL:
        try:
            return Actor(actor_name(unquote(request.headers.get(ACTOR_HEADER, actors.local_name), errors="strict")), ActorRole.OPERATOR)
        except ValueError as error:  # a name that is not UTF-8 is one too
            raise HTTPException(400, f"{ACTOR_HEADER}: {error}") from error
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    actor = actors.of_token(token) if scheme.lower() == "bearer" else None
    if actor is None:
        raise HTTPException(401, "needs a bearer token that this guard knows", {"www-authenticate": "Bearer"})
    return actor


def _origin(request: Request) -> str:
    """From where somebody asks: the record says it of everything that people do (PCI DSS 10.2.2)."""
    if request.scope.get(LISTENER) == Listener.LOCAL:
        return "the guard's socket"
    return f"address {request.client.host}" if request.client is not None else "an unknown address"


async def _body(request: Request, bytes_max: int) -> bytes:
    """The body, of at most so many bytes. Raises: HTTPException 408, 413."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                body += chunk
                if len(body) > bytes_max:
                    raise HTTPException(413, f"the body is larger than {bytes_max} bytes")
    except TimeoutError as error:
        raise HTTPException(408, f"the body took longer than {BODY_S_MAX:g} s to arrive") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended early") from error
    return bytes(body)


async def _text(request: Request, bytes_max: int) -> str:
    body = await _body(request, bytes_max)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"the plan is not UTF-8 at byte {error.start}") from error


def _asked(body: bytes) -> Asked:
    try:
        return Asked.model_validate_json(body) if body.strip() else Asked()
    except ValidationError as error:
        raise HTTPException(400, _first(error.errors(include_url=False, include_input=False))) from error


async def _stream(control: RolloutControl, rollout_id: str, closing: asyncio.Event) -> AsyncIterator[bytes]:
    """Server-sent events of a rollout. Ends with `end`, with `error`, or without either when the guard stops: ask another then."""
    closed = asyncio.create_task(closing.wait())
    following: asyncio.Task[RolloutStatus] | None = None
    watching = control.watch(rollout_id)
    try:
        while True:
            following = following or asyncio.ensure_future(anext(watching))
            await asyncio.wait({following, closed}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if closed.done():
                return
            if not following.done():
                yield b": still watching\n\n"
                continue
            done, following = following, None
            try:
                yield _event("status", wire.status_to_json(done.result()))
            except StopAsyncIteration:
                yield _event("end", b"{}")
                return
            except VerdigrisError as error:
                yield _event("error", wire.refusal_to_json(wire.refusal_of(error)[1]))
                return
    finally:
        tasks = [task for task in (closed, following) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(watching, AsyncGenerator):
            await watching.aclose()


def _event(name: str, document: bytes) -> bytes:
    # JSON on one line: no byte of a document can end the event.
    return b"event: " + name.encode() + b"\ndata: " + document + b"\n\n"


def _answer_errors(app: FastAPI) -> None:
    """Every error in the one shape."""

    def answer(status_code: int, told: wire.Refusal, headers: Mapping[str, str] | None = None) -> Response:
        return _document(wire.refusal_to_json(told), status_code, headers)

    @app.exception_handler(VerdigrisError)
    async def refused(_: Request, error: VerdigrisError) -> Response:
        return answer(*wire.refusal_of(error))

    @app.exception_handler(StarletteHTTPException)
    async def http(_: Request, error: StarletteHTTPException) -> Response:
        kind = "AccessDenied" if error.status_code in {401, 403} else "InvalidRequest"
        detail = error.detail
        if detail == HTTPStatus(error.status_code).phrase:  # Starlette's own
            detail = {404: "there is nothing at this path", 405: "this path does not take this method"}.get(error.status_code, detail)
        return answer(error.status_code, wire.refusal(kind, str(detail)), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return answer(400, wire.refusal("InvalidRequest", _first(error.errors())))

    @app.exception_handler(Exception)
    async def mistake(_: Request, error: Exception) -> Response:
        # The traceback goes to the guard's log; a caller is told no more than the kind.
        return answer(500, wire.refusal("InternalError", f"the guard made a mistake ({type(error).__name__})"))


def _first(errors: Any) -> str:
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


class _Gate:
    """Around everything: refuses large headers, and foreign Hosts on plain TCP (DNS rebinding); forbids storing and guessing at answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["cache-control"] = "no-store"
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES_MAX:
            # The server's own bound holds for headers that come in pieces only.
            told = wire.refusal("InvalidRequest", f"the headers are larger than {HEADER_BYTES_MAX} bytes")
            await _document(wire.refusal_to_json(told), 431)(scope, receive, sending)
            return
        if scope.get(LISTENER) not in {Listener.LOCAL, Listener.TLS} and not _is_local(Headers(scope=scope).getlist("host")):
            told = wire.refusal("AccessDenied", "this Host is not the guard's; without TLS it answers to localhost only")
            await _document(wire.refusal_to_json(told), 403)(scope, receive, sending)
            return
        await self.app(scope, receive, sending)


def _is_local(hosts: list[str]) -> bool:
    if len(hosts) != 1:
        return False
    host, colon, port = hosts[0].lower().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        host = hosts[0].lower()
    return host in LOCAL_HOSTS
