"""What goes over the wire: status, event and error documents, and the exceptions that errors become again on the other side.

The API and its client share this file, so that they cannot disagree. Knows neither HTTP nor rollouts' inner workings.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from verdigris.approvals.errors import ApprovalError
from verdigris.errors import VerdigrisError
from verdigris.plan.problems import InvalidPlan, Problem
from verdigris.rollout.status import (
    AgreementStatus,
    AlreadyRunning,
    NoSuchRollout,
    ReviewStatus,
    RolloutError,
    RolloutEvent,
    RolloutStatus,
)

SCHEMA = "https://verdigris.dev/rollout/v1"

PLAN_BYTES_MAX = 256 * 1024
"""A longer plan is refused unread; real ones have some KiB."""

REASON_CHARS_MAX = 1_000
"""A longer reason is refused: it stands in the record for ever."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What an id, its beginning, or "latest" looks like. Nothing else is looked up, so that no id can become another path."""

PROBLEMS_MAX = 200
"""At most so many problems of one plan are told."""


class AccessDenied(RolloutError):
    """The caller has no valid credentials, or may only read. Safe: nothing changed."""


class InvalidAnswer(RolloutError):
    """The guard's answer cannot be read. Safe: what was asked may have been done; look at the rollout's status."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The one shape of an error: its kind (an exception's name), what is wrong, what is safe now, what to do."""

    kind: str
    error: str
    safe: str
    hint: str
    problems: tuple[Problem, ...] = ()
    rollout: str | None = None
    """The rollout that stands in the way."""


@dataclass(frozen=True, slots=True)
class RolloutList:
    """Rollouts, the newest first."""

    rollouts: tuple[RolloutStatus, ...]


@dataclass(frozen=True, slots=True)
class EventList:
    """Events of one rollout, ascending."""

    events: tuple[RolloutEvent, ...]


@dataclass(frozen=True, slots=True)
class ReviewList:
    """Reviews, those that are still open first."""

    reviews: tuple[ReviewStatus, ...]


_STATUS: TypeAdapter[RolloutStatus] = TypeAdapter(RolloutStatus)
_LIST: TypeAdapter[RolloutList] = TypeAdapter(RolloutList)
_EVENTS: TypeAdapter[EventList] = TypeAdapter(EventList)
_AGREEMENT: TypeAdapter[AgreementStatus] = TypeAdapter(AgreementStatus)
_REVIEWS: TypeAdapter[ReviewList] = TypeAdapter(ReviewList)
_REFUSAL: TypeAdapter[Refusal] = TypeAdapter(Refusal)

_Document = TypeVar("_Document")

NOTHING_CHANGED = "Nothing changed."

_KINDS: Mapping[str, type[VerdigrisError]] = {"ApprovalError": ApprovalError, "AccessDenied": AccessDenied}
"""What an error becomes on the other side, where it has no fields of its own; all others are `RolloutError`."""

_ADVICE: Mapping[str, tuple[str, str]] = {
    "NoSuchRollout": (NOTHING_CHANGED, "List the rollouts: verdigris rollout list"),
    "AlreadyRunning": ("Nothing was started.", "Watch the one that runs, or abort it before starting another."),
    "InvalidPlan": ("Nothing was started.", "Correct the plan and start again."),
    "ApprovalError": ("It was not counted, and no gate opened by it.", ""),
    "AccessDenied": (NOTHING_CHANGED, "Use a valid token whose role permits this."),
    "InvalidRequest": (NOTHING_CHANGED, "Correct the request; GET /v1/openapi.json describes all of them."),
    "InternalError": (
        "The candidate's weight is on a lease: without the guard the proxy goes back to the baseline.",
        "Look at the guard's log and at the rollout's status before you ask again.",
    ),
}


def refusal(kind: str, error: str, *, problems: Sequence[Problem] = (), rollout: str | None = None) -> Refusal:
    """An error of a kind, with what is safe and what to do."""
    safe, hint = _ADVICE.get(kind, (NOTHING_CHANGED, ""))
    return Refusal(kind, error, safe, hint, tuple(problems)[:PROBLEMS_MAX], rollout)


def refusal_of(error: VerdigrisError) -> tuple[int, Refusal]:
    """The HTTP status and the document of an exception."""
    match error:
        case InvalidPlan():
            return 422, refusal("InvalidPlan", str(error), problems=error.problems)
        case NoSuchRollout():
            return 404, refusal("NoSuchRollout", str(error))
        case AlreadyRunning():
            return 409, refusal("AlreadyRunning", str(error), rollout=error.rollout_id)
        case RolloutError():
            return 409, refusal("RolloutError", str(error))
        case ApprovalError():
            return 422, refusal("ApprovalError", str(error))
        case _:
            # Its own text says what is safe: the store, the proxy or the record refused.
            return 503, Refusal(type(error).__name__, str(error), "", "Look at the guard's health: GET /v1/health")


def error_of(status_code: int, document: bytes) -> VerdigrisError:
    """The exception that an error document stands for."""
    try:
        told = _REFUSAL.validate_json(document)
    except ValidationError:
        return InvalidAnswer(f"the guard answered {status_code} in a form that this version does not know; look at the rollout's status")
    text = " ".join(part for part in (told.error, told.hint) if part)
    if told.kind == "InvalidPlan":
        return InvalidPlan(told.problems)
    if told.kind == "AlreadyRunning":
        return AlreadyRunning(told.error, told.rollout or "")
    if told.kind == "NoSuchRollout":
        return NoSuchRollout(told.error)
    return _KINDS.get(told.kind, RolloutError)(text)


def status_to_json(status: RolloutStatus, *, indent: int | None = None) -> bytes:
    """A status document."""
    return _json(_STATUS.dump_python(status, mode="json"), indent)


def statuses_to_json(statuses: Sequence[RolloutStatus], *, indent: int | None = None) -> bytes:
    """A document with several."""
    return _json(_LIST.dump_python(RolloutList(tuple(statuses)), mode="json"), indent)


def events_to_json(events: Sequence[RolloutEvent], *, indent: int | None = None) -> bytes:
    """A document with a journal's events."""
    return _json(_EVENTS.dump_python(EventList(tuple(events)), mode="json"), indent)


def agreement_to_json(agreement: AgreementStatus, *, indent: int | None = None) -> bytes:
    """What people are asked and have said."""
    return _json(_AGREEMENT.dump_python(agreement, mode="json"), indent)


def reviews_to_json(reviews: Sequence[ReviewStatus], *, indent: int | None = None) -> bytes:
    """A document with reviews."""
    return _json(_REVIEWS.dump_python(ReviewList(tuple(reviews)), mode="json"), indent)


def to_json(document: Mapping[str, object]) -> bytes:
    """Any other document, of plain values."""
    return _json(document, None)


def refusal_to_json(told: Refusal) -> bytes:
    """An error document."""
    return _json(_REFUSAL.dump_python(told, mode="json"), None)


def status_from_json(document: bytes) -> RolloutStatus:
    """Read a status. Raises: InvalidAnswer."""
    return _read(_STATUS, document)


def statuses_from_json(document: bytes) -> tuple[RolloutStatus, ...]:
    """Read several. Raises: InvalidAnswer."""
    return _read(_LIST, document).rollouts


def events_from_json(document: bytes) -> tuple[RolloutEvent, ...]:
    """Read a journal's events. Raises: InvalidAnswer."""
    return _read(_EVENTS, document).events


def agreement_from_json(document: bytes) -> AgreementStatus:
    """Read what people are asked and have said. Raises: InvalidAnswer."""
    return _read(_AGREEMENT, document)


def reviews_from_json(document: bytes) -> tuple[ReviewStatus, ...]:
    """Read reviews. Raises: InvalidAnswer."""
    return _read(_REVIEWS, document).reviews


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a status document; its definitions also hold the lists, the events and the errors."""
    _, schema = TypeAdapter.json_schemas(
        [("status", "serialization", _STATUS), ("list", "serialization", _LIST), ("events", "serialization", _EVENTS),
         ("agreement", "serialization", _AGREEMENT), ("reviews", "serialization", _REVIEWS), ("error", "serialization", _REFUSAL)],
        ref_template="#/$defs/{model}",
    )  # fmt: skip
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, "$ref": "#/$defs/RolloutStatus"} | schema


def _read(adapter: TypeAdapter[_Document], document: bytes) -> _Document:
    try:
        return adapter.validate_json(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        msg = f"the guard's answer cannot be read ({where}: {first['msg']}); are the guard and this program of the same version?"
        raise InvalidAnswer(msg) from error


def _json(document: object, indent: int | None) -> bytes:
    separators = (",", ":") if indent is None else None
    text = json.dumps(_finite(document), ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    # A lone surrogate, from a name that was not UTF-8, has no bytes; it must not stop a status from being shown.
    return text.encode("utf-8", "backslashreplace")


def _finite(value: object) -> object:
    """JSON has no infinity: the largest number stands for it, so that a certainty stays one. What is no number is 0."""
    match value:
        case float():
            return value if math.isfinite(value) else 0.0 if math.isnan(value) else math.copysign(1.7e308, value)
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case _:
            return value
