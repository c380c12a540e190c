"""What is kept of approvals: what people have signed and who they were then, what they were shown, and the reviews that are open.

Everything here works inside a caller's transaction, as evidence does.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from verdigris.approvals.approval import SignedApproval, Verified, restored
from verdigris.approvals.people import person_document, read_people
from verdigris.ledger import evidence
from verdigris.rollout.agreement import Shown
from verdigris.rollout.journal import FORGOTTEN
from verdigris.rollout.status import RolloutError

APPROVALS_MAX = 500
"""Of one rollout. Whoever has a key could fill the database otherwise."""

METADATA = sa.MetaData()
_APPROVALS = sa.Table(
    "verdigris_approvals", METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("rollout_id", sa.String(40), nullable=False, index=True),
    sa.Column("received_unix_s", sa.Float, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
)  # fmt: skip
_SHOWN = sa.Table(
    "verdigris_shown", METADATA,
    sa.Column("rollout_id", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("topic", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
)  # fmt: skip
_REVIEWS = sa.Table(
    "verdigris_reviews", METADATA,
    sa.Column("override", sa.String(64), primary_key=True),
    sa.Column("rollout_id", sa.String(40), nullable=False, index=True),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("by", sa.String(100), nullable=False),
    sa.Column("due_unix_s", sa.Float, nullable=False),
    sa.Column("done", sa.String(64)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Review:
    """A review that an override of a freeze has opened. `override`, `done`: digests of signed approvals; `done` None: it is open.

    `by`: who overrode it, and may not review it; known here also when the evidence has been erased meanwhile.
    """

    override: str
    rollout_id: str
    step: int
    by: str
    due_unix_s: float
    done: str | None = None


def put(connection: sa.Connection, rollout_id: str, given: Verified, received_unix_s: float) -> str | None:
    """Keep what somebody has signed. Returns the name of the blob that says who they were, or None where it is kept already.

    Raises: RolloutError: there are too many.
    """
    if connection.execute(sa.select(_APPROVALS.c.digest).where(_APPROVALS.c.digest == given.digest)).first() is not None:
        return None
    counted = sa.select(sa.func.count()).select_from(_APPROVALS).where(_APPROVALS.c.rollout_id == rollout_id)
    if connection.execute(counted).scalar_one() >= APPROVALS_MAX:
        msg = f"rollout {rollout_id} has {APPROVALS_MAX} approvals, and takes no more; abort it and start another. Nothing changed"
        raise RolloutError(msg)
    person = person_document(given.person)
    row = {"digest": given.digest, "rollout_id": rollout_id, "received_unix_s": received_unix_s, "person": json.dumps(person)}
    connection.execute(_APPROVALS.insert().values(**row))
    evidence.put(connection, given.signed.to_bytes())
    return evidence.put(connection, evidence.salted({"person": person}))


def of(connection: sa.Connection, rollout_id: str) -> Sequence[Verified]:
    """All that was signed about a rollout, as it was when it came in. Raises: ApprovalError, EvidenceDamaged: somebody changed it."""
    rows = connection.execute(sa.select(_APPROVALS).where(_APPROVALS.c.rollout_id == rollout_id).order_by(_APPROVALS.c.digest)).all()
    found = []
    for row in rows:
        signed = evidence.get(connection, row.digest)
        if signed is not None:
            (person,) = read_people({"people": [json.loads(row.person)]}).people
            found.append(restored(SignedApproval.parse(signed), person))
    return found


def show(connection: sa.Connection, rollout_id: str, shown: Shown) -> str:
    """Keep what is shown for a step. Returns its digest: of what was kept last, while that is about the same."""
    last = _last(connection, rollout_id)
    if last is not None and (last.step, last.topic) == (shown.step, shown.topic):
        return str(last.digest)
    digest = evidence.put(connection, shown.document)
    row = {"rollout_id": rollout_id, "number": 1 + (last.number if last else 0), "step": shown.step, "topic": shown.topic, "digest": digest}
    connection.execute(_SHOWN.insert().values(**row))
    return digest


def shown(connection: sa.Connection, rollout_id: str, step: int) -> bytes | None:
    """What is shown for a step now; None while nobody is asked about it."""
    last = _last(connection, rollout_id)
    return evidence.get(connection, last.digest) if last is not None and last.step == step else None


def open_review(connection: sa.Connection, review: Review) -> None:
    """A freeze was overridden: somebody else must look at it."""
    connection.execute(_REVIEWS.insert().values(**asdict(review)))


def close_review(connection: sa.Connection, override: str, done: str) -> None:
    """Somebody has."""
    connection.execute(_REVIEWS.update().where(_REVIEWS.c.override == override, _REVIEWS.c.done.is_(None)).values(done=done))


def reviews(connection: sa.Connection) -> Sequence[Review]:
    """All reviews, the open ones first, the one that is due first at the top."""
    chosen = sa.select(_REVIEWS).order_by(_REVIEWS.c.done.is_not(None), _REVIEWS.c.due_unix_s, _REVIEWS.c.override)
    return [Review(row.override, row.rollout_id, row.step, row.by, row.due_unix_s, row.done) for row in connection.execute(chosen)]


def forget(connection: sa.Connection, rollout_id: str) -> None:
    """The rollout's evidence has been erased: so is who signed, but for who may not do a review that is still open."""
    connection.execute(_APPROVALS.delete().where(_APPROVALS.c.rollout_id == rollout_id))
    connection.execute(_REVIEWS.update().where(_REVIEWS.c.rollout_id == rollout_id, _REVIEWS.c.done.is_not(None)).values(by=FORGOTTEN))


def _last(connection: sa.Connection, rollout_id: str) -> "sa.Row[tuple[object, ...]] | None":
    chosen = sa.select(_SHOWN).where(_SHOWN.c.rollout_id == rollout_id).order_by(_SHOWN.c.number.desc()).limit(1)
    return connection.execute(chosen).first()
