"""Erases the evidence of rollouts that have ended: when the retention of their plan has passed, or when a person asks for it.

The ledger says so before; from its log nothing is ever deleted. For one rollout, in rounds of so many blobs:

    1. announce   `evidence.erased` in the guard's own journal, for nothing follows the end of a rollout, with the list of what is to go
    2. enter      into the ledger; while that cannot be done, nothing is erased
    3. erase      what was announced and no other rollout names meanwhile
    4. finish     when nothing is left: what people wrote is overwritten in the rows that people are shown, too

A crash anywhere is gone on from by the next sweep, of this guard or of another: what was announced is not announced again. A blob that
another rollout names stays, and so do the plan, the cards of guards and what guards' own journals name.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from verdigris.ledger import evidence
from verdigris.ledger.entry_kinds import DIGESTS_MAX
from verdigris.ledger.statement import ActorKind, Statement, named_evidence
from verdigris.plan.document import evidence_kept_s
from verdigris.rollout import acts, kept_approvals
from verdigris.rollout.journal import FORGOTTEN, Journal, Transaction
from verdigris.rollout.status import NoSuchRollout, RolloutError

BLOBS_AT_ONCE = 5 * DIGESTS_MAX
"""Of one round: five entries, and one transaction that others wait for."""

ROUNDS_AT_ONCE = 20
"""Of one sweep, and of one answer to a person; the next sweep goes on."""

ROLLOUTS_AT_ONCE = 200
"""So many are looked at in one sweep."""

ROWS_AT_ONCE = 2_000
"""So many rows are read in one transaction to know what they name."""

READS_AT_ONCE = 500
NAMED_AT_ONCE = 1_000
"""Digests in one statement of SQL: databases bound how many values that may have."""

LEFT_AFTER_S = 3_600.0
"""What another guard announced and has not entered for so long is announced anew."""

_GUARDS = ""
"""Holds what guards' own journals name."""

METADATA = sa.MetaData()
_ERASURES = sa.Table(
    "verdigris_erasures", METADATA,
    sa.Column("rollout_id", sa.String(40), primary_key=True),
    sa.Column("due_unix_s", sa.Float),
    sa.Column("why", sa.String(20), nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("origin", sa.String(200), nullable=False),
    sa.Column("done_unix_s", sa.Float),
)  # fmt: skip
_ANNOUNCED = sa.Table(
    "verdigris_erasing", METADATA,
    sa.Column("rollout_id", sa.String(40), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("guard", sa.String(200), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("unix_s", sa.Float, nullable=False),
)  # fmt: skip
_NAMED = sa.Table(
    "verdigris_evidence_named", METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(40), primary_key=True, index=True),
)  # fmt: skip
_READ = sa.Table(
    "verdigris_evidence_read", METADATA,
    sa.Column("holder", sa.String(40), primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("looks", sa.Integer, nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
)  # fmt: skip
"""How far the journals were read to fill `_NAMED`, which says nothing that they do not."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What erasing reads, and overwrites, of the records."""

    rollouts: sa.Table
    requests: sa.Table
    looks: sa.Table


class Erasing:
    """Erases on the database of the rollouts, for one guard or several. Methods block, and raise what `transaction` does."""

    def __init__(self, transaction: Transaction, journal: Journal, tables: Tables) -> None:
        """`journal` enters into a ledger: without one nothing may be erased."""
        self._transaction, self._journal, self._tables = transaction, journal, tables

    def sweep(self, guard: str, now_unix_s: float) -> int:
        """Erase what is due, or some of it. Returns how many blobs went. Raises: NotEntered: nothing more was erased."""
        self._note_due()
        erased, rounds = 0, ROUNDS_AT_ONCE
        for rollout_id in self._due(now_unix_s):
            while rounds:
                rounds -= 1
                gone, over = self._round(rollout_id, guard, now_unix_s)
                erased += gone
                if over or not gone:
                    break
        return erased

    def ask(self, rollout_id: str, guard: str, actor: str, reason: str, now_unix_s: float, origin: str) -> None:
        """A person asks for it: erase now, whatever the plan says. What many rounds take longer for is gone on with by sweeps.

        Raises: RolloutError: it has not ended; NotEntered: nothing was erased, and it will be when the ledger can be written.
        """
        with self._transaction("record that evidence is to be erased") as connection:
            if self._locked(connection, rollout_id).ended_unix_s is None:
                msg = f"rollout {rollout_id} has not ended, and it is judged by its evidence; end it first. Nothing was erased"
                raise RolloutError(msg)
            asked = {"due_unix_s": now_unix_s, "why": "asked", "actor": actor, "reason": reason, "origin": origin}
            known = self._erasure(connection, rollout_id)
            if known is None:
                connection.execute(_ERASURES.insert().values(rollout_id=rollout_id, **asked))
            elif known.done_unix_s is None and known.why != "asked":
                connection.execute(_ERASURES.update().where(_ERASURES.c.rollout_id == rollout_id).values(**asked))
        for _ in range(ROUNDS_AT_ONCE):
            gone, over = self._round(rollout_id, guard, now_unix_s)
            if over or not gone:
                return

    # -- what is due

    def _note_due(self) -> None:
        """For rollouts that have ended since: when their evidence may go. Where this version cannot tell: only when somebody asks."""
        rollouts = self._tables.rollouts.c
        unknown = ~sa.exists().where(_ERASURES.c.rollout_id == rollouts.id)
        chosen = sa.select(rollouts.id, rollouts.ended_unix_s, rollouts.plan).where(rollouts.ended_unix_s.is_not(None), unknown)
        with self._transaction("note until when evidence is kept") as connection:
            self._only_one(connection)
            for row in connection.execute(chosen.limit(ROLLOUTS_AT_ONCE)).all():
                kept_s = evidence_kept_s(bytes(row.plan))
                due = None if kept_s is None else row.ended_unix_s + kept_s
                values = {"rollout_id": row.id, "due_unix_s": due, "why": "retention", "actor": "", "reason": "", "origin": ""}
                connection.execute(_ERASURES.insert().values(**values))

    def _due(self, now_unix_s: float) -> Sequence[str]:
        due = (_ERASURES.c.done_unix_s.is_(None), _ERASURES.c.due_unix_s <= now_unix_s)
        chosen = sa.select(_ERASURES.c.rollout_id).where(*due).order_by(_ERASURES.c.due_unix_s, _ERASURES.c.rollout_id)
        with self._transaction("list what is to be erased") as connection:
            return [row.rollout_id for row in connection.execute(chosen.limit(ROLLOUTS_AT_ONCE))]

    # -- one round of one rollout

    def _round(self, rollout_id: str, guard: str, now_unix_s: float) -> tuple[int, bool]:
        """Announce, enter, erase. Returns how many blobs went, and whether nothing is left to do. Raises: NotEntered."""
        if not self._read_all():
            return 0, False
        first = self._announce(rollout_id, guard, now_unix_s)
        self._journal.enter_guards(guard, first)
        return self._erase(rollout_id, now_unix_s)

    def _announce(self, rollout_id: str, guard: str, now_unix_s: float) -> int | None:
        """Write what is about to go. Returns the number of the first row that was made; None where none had to be."""
        with self._journal.noting(guard, now_unix_s, "announce what is erased") as (connection, note):
            row, due = self._locked(connection, rollout_id), self._erasure(connection, rollout_id)
            if row.ended_unix_s is None or due is None or due.done_unix_s is not None:
                return None
            # What a rollout has still to say comes before what is erased of it, in the ledger too.
            if self._journal.waits(connection, rollout_id) or self._is_announced(connection, rollout_id, guard, now_unix_s):
                return None
            digests = [one.digest for one in connection.execute(self._erasable(rollout_id).limit(BLOBS_AT_ONCE))]
            numbers = []
            for start in range(0, len(digests), DIGESTS_MAX):
                some = digests[start : start + DIGESTS_MAX]
                asked_by = due.actor if due.why == "asked" else f"guard {guard}"
                numbers.append(note(acts.erased(asked_by, rollout_id, some, due.why, due.reason, due.origin)))
                rows = [{"rollout_id": rollout_id, "digest": d, "guard": guard, "number": numbers[-1], "unix_s": now_unix_s} for d in some]
                connection.execute(_ANNOUNCED.insert(), rows)
        return numbers[0] if numbers else None

    def _is_announced(self, connection: sa.Connection, rollout_id: str, guard: str, now_unix_s: float) -> bool:
        """Whether something is announced already and may still be entered. What another guard has left is forgotten."""
        of = _ANNOUNCED.c.rollout_id == rollout_id
        chosen = sa.select(_ANNOUNCED.c.guard, _ANNOUNCED.c.unix_s, _ANNOUNCED.c.number).where(of).distinct()
        rows = connection.execute(chosen).all()
        if not rows or self._journal.all_entered(connection, [row.number for row in rows]):
            return bool(rows)
        if all(row.guard == guard or now_unix_s - row.unix_s < LEFT_AFTER_S for row in rows):
            return True
        connection.execute(_ANNOUNCED.delete().where(of))
        return False

    def _erase(self, rollout_id: str, now_unix_s: float) -> tuple[int, bool]:
        """Erase what is announced and in the ledger. Returns how many blobs went, and whether nothing is left to do."""
        with self._transaction("erase evidence") as connection:
            row, due = self._locked(connection, rollout_id), self._erasure(connection, rollout_id)
            if row.ended_unix_s is None or due is None or due.done_unix_s is not None:
                return 0, True
            of = _ANNOUNCED.c.rollout_id == rollout_id
            announced = {one.digest: one.number for one in connection.execute(sa.select(_ANNOUNCED).where(of))}
            if not self._journal.all_entered(connection, sorted(set(announced.values()))):
                return 0, False
            # Whoever is about to name one of them holds it, and it is left for the next round; whoever comes later finds it gone.
            seized = evidence.seized(connection, list(announced))
            if not self._read_some(connection):
                return 0, False
            others = sa.select(_NAMED.c.digest).where(_NAMED.c.digest.in_(seized), _NAMED.c.holder != rollout_id)
            needed = {one.digest for one in connection.execute(others)}
            gone = [digest for digest in seized if digest not in needed]
            evidence.erase(connection, gone)
            connection.execute(_NAMED.delete().where(_NAMED.c.holder == rollout_id, _NAMED.c.digest.in_(gone)))
            busy = evidence.kept(sa.select(_ANNOUNCED.c.digest).where(of, _ANNOUNCED.c.digest.not_in(seized)))
            held = [one.digest for one in connection.execute(busy)]
            connection.execute(_ANNOUNCED.delete().where(of, _ANNOUNCED.c.digest.not_in(held)))
            over = not held and connection.execute(self._erasable(rollout_id).limit(1)).first() is None
            if over:
                self._finish(connection, rollout_id, row.position, now_unix_s)
        return len(gone), over

    def _finish(self, connection: sa.Connection, rollout_id: str, position: str, now_unix_s: float) -> None:
        """Nothing is left: overwrite what people wrote wherever it stands beside the evidence."""
        rollouts, requests = self._tables.rollouts, self._tables.requests
        self._journal.forget_words(connection, rollout_id)
        kept_approvals.forget(connection, rollout_id)
        connection.execute(requests.update().where(requests.c.rollout_id == rollout_id).values(actor=FORGOTTEN, reason=""))
        stands = json.dumps({**json.loads(position), "reason": FORGOTTEN}, sort_keys=True)
        connection.execute(rollouts.update().where(rollouts.c.id == rollout_id).values(status=None, position=stands))
        connection.execute(_NAMED.delete().where(_NAMED.c.holder == rollout_id))
        done = {"done_unix_s": now_unix_s, "actor": "", "reason": "", "origin": ""}
        connection.execute(_ERASURES.update().where(_ERASURES.c.rollout_id == rollout_id).values(**done))

    # -- who names what

    def _erasable(self, rollout_id: str) -> sa.Select[Any]:
        """The blobs that are there, that this rollout names and nobody else does."""
        other = _NAMED.alias()
        shared = sa.exists().where(other.c.digest == _NAMED.c.digest, other.c.holder != rollout_id)
        return evidence.kept(sa.select(_NAMED.c.digest).where(_NAMED.c.holder == rollout_id, ~shared))

    def _read_all(self) -> bool:
        """Know what all rows name. False: there are more than are read at once."""
        for _ in range(READS_AT_ONCE):
            with self._transaction("read what evidence is named") as connection:
                if self._read_some(connection):
                    return True
        return False

    def _read_some(self, connection: sa.Connection) -> bool:
        """Read the next rows. Returns whether those were all."""
        self._only_one(connection)
        rollouts, left = self._tables.rollouts.c, ROWS_AT_ONCE
        joined = self._tables.rollouts.outerjoin(_READ, _READ.c.holder == rollouts.id)
        unread = sa.select(rollouts.id, rollouts.ended_unix_s, _READ.c.rows, _READ.c.looks).select_from(joined)
        guards = connection.execute(sa.select(_READ).where(_READ.c.holder == _GUARDS)).one()
        left -= self._read_rows(connection, _GUARDS, guards.rows, 0, left)
        for row in connection.execute(unread.where(_READ.c.complete.is_not(sa.true()))).all():
            if left <= 0:
                return False
            if row.rows is None:
                connection.execute(_READ.insert().values(holder=row.id, rows=0, looks=0, complete=False))
            left -= self._read_rows(connection, row.id, row.rows or 0, row.looks or 0, left)
            # Nothing follows the end: what has ended, and was read to there, is read no more.
            if row.ended_unix_s is not None and left > 0:
                connection.execute(_READ.update().where(_READ.c.holder == row.id).values(complete=True))
        return left > 0

    def _read_rows(self, connection: sa.Connection, holder: str, rows: int, looks: int, limit: int) -> int:
        """Read on from so many rows and looks. Returns how many were read."""
        said = self._journal.statements(connection, holder or None, rows, limit)
        of = self._tables.looks.c
        seen = sa.select(of.number, of.digest).where(of.rollout_id == holder, of.number > looks).order_by(of.number).limit(limit)
        looked = connection.execute(seen).all()
        digests = {digest for _, statement in said for digest in _erasable_names(statement)} | {row.digest for row in looked}
        self._name(connection, holder, digests)
        if said or looked:
            reached = {"rows": said[-1][0] if said else rows, "looks": looked[-1].number if looked else looks}
            connection.execute(_READ.update().where(_READ.c.holder == holder).values(**reached))
        return len(said) + len(looked)

    def _name(self, connection: sa.Connection, holder: str, digests: Iterable[str]) -> None:
        named = sorted(digests)
        for start in range(0, len(named), NAMED_AT_ONCE):
            some = named[start : start + NAMED_AT_ONCE]
            known = {r.digest for r in connection.execute(sa.select(_NAMED).where(_NAMED.c.holder == holder, _NAMED.c.digest.in_(some)))}
            fresh = [{"digest": digest, "holder": holder} for digest in some if digest not in known]
            if fresh:
                connection.execute(_NAMED.insert(), fresh)

    def _only_one(self, connection: sa.Connection) -> None:
        """Of several guards one at a time reads on: until the transaction ends."""
        if connection.execute(sa.select(_READ).where(_READ.c.holder == _GUARDS).with_for_update()).first() is None:
            connection.execute(_READ.insert().values(holder=_GUARDS, rows=0, looks=0, complete=False))

    def _erasure(self, connection: sa.Connection, rollout_id: str) -> Any:
        return connection.execute(sa.select(_ERASURES).where(_ERASURES.c.rollout_id == rollout_id)).first()

    def _locked(self, connection: sa.Connection, rollout_id: str) -> Any:
        rollouts = self._tables.rollouts
        row = connection.execute(sa.select(rollouts).where(rollouts.c.id == rollout_id).with_for_update()).first()
        if row is None:
            msg = f"there is no rollout {rollout_id!r}"
            raise NoSuchRollout(msg)
        return row


def _erasable_names(statement: Statement) -> Iterable[str]:
    """What an entry names and may be erased: not the plan, without which nothing could be explained, nor the card of a guard, which names
    no person. Of a guard's own entries only the names of people count: nothing else of theirs is in a rollout.
    """
    person = statement.actor.kind is ActorKind.PERSON
    if statement.rollout is None:
        return [statement.actor.card] if person else []
    kept = {statement.plan} | (set() if person else {statement.actor.card})
    return [digest for digest in named_evidence(statement) if digest not in kept]
