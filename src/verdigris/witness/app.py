"""A witness as an ASGI application: POST /add-checkpoint and GET /healthz.

Requests need no credentials: the signature on the checkpoint is all that counts. One request is one sequence under the log's lock:

    1. look       at the last cosigned checkpoint         a crash up to here: nothing happened
    2. decide     by the rules (`ledger.witness`)         refused: kept as evidence where the log had signed it, answered
    3. cosign     text and time                           nobody has the signature yet
    4. persist    checkpoint and signatures               from here on nothing that contradicts it is cosigned, whatever happens
    5. answer     with the signature                      lost: the log is told the size that it has to ask for (409)
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from verdigris.ledger.note import Algorithm, InvalidNote, Note, Signature, VerifierKey
from verdigris.ledger.signing import SignerFailed
from verdigris.ledger.witness import PATH, REQUEST_BYTES_MAX, SIZE_MEDIA, UNKNOWN_LOG, AddCheckpoint, Refused, Suspicion, answer_to, head_of
from verdigris.witness.state import LogRecord, StateUnusable, WitnessFolder

BODY_S_MAX = 20.0
"""A body that takes longer to arrive is refused."""

TEXT_MEDIA = "text/plain; charset=utf-8"

_log = logging.getLogger(__name__)


class CosigningKey(Protocol):
    """Signs for a witness; `KeySigner` and `CommandSigner` do."""

    @property
    def key(self) -> VerifierKey:
        """Its name and public key."""

    def cosign(self, text: str, unix_s: int) -> Signature:
        """A cosignature on a note's text. Raises: SignerFailed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a log."""

    status: HTTPStatus
    body: str
    media: str = TEXT_MEDIA


class Cosigner:
    """One witness: a folder, a key and the logs that it knows. From any thread."""

    def __init__(
        self,
        folder: WitnessFolder,
        signer: CosigningKey,
        trusted: Mapping[str, Sequence[VerifierKey]],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`trusted`: the keys of each log, by its origin. Raises: InvalidNote: the witness's key is a log's too."""
        self._folder, self._signer, self._trusted, self._now_s = folder, signer, dict(trusted), now_s
        self.key = VerifierKey(signer.key.name, Algorithm.COSIGNATURE, signer.key.public)
        if any(key.public == self.key.public for keys in self._trusted.values() for key in keys):
            msg = "the witness signs with the key of a log that it knows: who holds it could forge both. Give the witness one of its own"
            raise InvalidNote(msg)

    @property
    def origins(self) -> list[str]:
        """The logs that it knows."""
        return sorted(self._trusted)

    def refused(self) -> dict[Suspicion, int]:
        """How much evidence is kept. Raises: StateUnusable."""
        return self._folder.refused()

    def add_checkpoint(self, body: bytes) -> Reply:
        """Answer one request. Raises: StateUnusable, SignerFailed: no cosignature was given out."""
        try:
            request = AddCheckpoint.parse(body)
        except InvalidNote as error:
            return Reply(HTTPStatus.BAD_REQUEST, f"{error}\n")
        origin = request.head.origin
        if origin not in self._trusted:  # strangers' logs leave nothing on the disk
            return _reply(UNKNOWN_LOG)
        with self._folder.held(origin) as record:
            last = record.last((*self._trusted[origin], self.key))
            answer = answer_to(request, self._trusted, None if last is None else head_of(last.text))
            if isinstance(answer, Refused):
                if answer.suspicion is not None:
                    self._keep(record, request, answer, answer.suspicion, last)
                return _reply(answer)
            # Inside the lock, so that of two cosignatures the later one is on the larger log, as their times say.
            signature = self._signer.cosign(answer.checkpoint.text, int(self._now_s()))
            record.replace(Note(answer.checkpoint.text, (*answer.checkpoint.signatures, signature)))
        _log.info("cosigned %d entries of %s", request.head.size, origin)
        return Reply(HTTPStatus.OK, signature.line())

    def _keep(self, record: LogRecord, request: AddCheckpoint, answer: Refused, suspicion: Suspicion, last: Note | None) -> None:
        """Keep both checkpoints. That it cannot be kept changes no answer."""
        seen = datetime.fromtimestamp(int(self._now_s()), UTC).isoformat().replace("+00:00", "Z")
        evidence = {
            "seen": seen,
            "suspicion": suspicion,
            "why": answer.why,
            "witness": str(self.key),
            "cosigned": None if last is None else str(last),
            "request": str(request),
        }
        level = logging.ERROR if suspicion is Suspicion.FORKED else logging.WARNING
        _log.log(level, "refused to cosign %d entries of %s (%s): %s", request.head.size, request.head.origin, suspicion, answer.why)
        try:
            if not record.keep_refused(suspicion, request.checkpoint.text, json.dumps(evidence, indent=1, ensure_ascii=False).encode()):
                _log.warning("it is not kept: as many are already")
        except StateUnusable:
            _log.exception("it could not be kept")


def _reply(answer: Refused) -> Reply:
    if answer.size is not None:
        return Reply(answer.status, f"{answer.size}\n", SIZE_MEDIA)
    return Reply(answer.status, f"{answer.why}\n")


# -- HTTP -----------------------------------------------------------------------------------------------------------------------


def witness_app(cosigner: Cosigner) -> Starlette:
    """To be run by `serving.serve_witness`."""

    async def add_checkpoint(request: Request) -> Response:
        body = await _body(request)
        try:
            reply = await asyncio.to_thread(cosigner.add_checkpoint, body)
        except (StateUnusable, SignerFailed):
            # Why is for the operator, in the witness's log; nobody else needs the names of its files.
            _log.exception("cannot cosign")
            return _response(Reply(HTTPStatus.SERVICE_UNAVAILABLE, "the witness cannot cosign now; ask again later\n"))
        return _response(reply)

    async def healthz(_: Request) -> Response:
        """Whether it can cosign, as far as its folder tells, and whether somebody should look at what it refused."""
        about = {"witness": str(cosigner.key), "logs": cosigner.origins}
        try:
            refused = await asyncio.to_thread(cosigner.refused)
        except StateUnusable:
            return JSONResponse({**about, "alive": False}, HTTPStatus.SERVICE_UNAVAILABLE)
        return JSONResponse({**about, "alive": True, "refused": refused})

    return Starlette(
        routes=[Route(PATH, add_checkpoint, methods=["POST"]), Route("/healthz", healthz, methods=["GET"])],
    )


def _response(reply: Reply) -> Response:
    # Given as a header: Starlette would add a charset to every text type, and a tree size has none.
    return Response(reply.body, reply.status, {"content-type": reply.media, "x-content-type-options": "nosniff"})


async def _body(request: Request) -> bytes:
    """The body, of at most so many bytes. Raises: HTTPException 400, 408, 413."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                body += chunk
                if len(body) > REQUEST_BYTES_MAX:
                    raise HTTPException(413, f"the body is larger than {REQUEST_BYTES_MAX} bytes\n")
    except TimeoutError as error:
        raise HTTPException(408, f"the body took longer than {BODY_S_MAX:g} s to arrive\n") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended early\n") from error
    return bytes(body)
