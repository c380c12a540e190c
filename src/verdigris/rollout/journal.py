"""The journal of rollouts and guards: rows for people, and for each the entry that the ledger has of it.

A row and its entry are made in the transaction of what they speak of; the ledger is entered right after it, and before anything is done.
What could not be entered waits in its row and is entered, in order and marked late, before anything else is. Whether an entry is in
the ledger already, after a crash in between, the ledger itself is asked.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import sqlalchemy as sa

from verdigris.errors import VerdigrisError
from verdigris.ledger import evidence
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.ledger import Ledger, system_clock
from verdigris.ledger.statement import Actor, ActorKind, Outcome, Statement
from verdigris.rollout.status import RolloutEvent
from verdigris.times import NANO

ENTER_AT_ONCE_MAX = 500
HOST = socket.gethostname()
FORGOTTEN = "erased"
"""What stands in the place of words that were erased."""

METADATA = sa.MetaData()
_JOURNAL = sa.Table(
    "verdigris_journal", METADATA,
    sa.Column("rollout_id", sa.String(40), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("unix_s", sa.Float, nullable=False),
    sa.Column("kind", sa.String(60), nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("statement", sa.LargeBinary),
    sa.Column("ledger_index", sa.BigInteger, index=True),
)  # fmt: skip
_GUARDS = sa.Table(
    "verdigris_guard_journal", METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("guard", sa.String(200), nullable=False),
    sa.Column("unix_s", sa.Float, nullable=False),
    sa.Column("kind", sa.String(60), nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("statement", sa.LargeBinary),
    sa.Column("ledger_index", sa.BigInteger, index=True),
)  # fmt: skip

Transaction = Callable[[str], AbstractContextManager[sa.Connection]]


class NotEntered(VerdigrisError):
    """The ledger could not be entered. Safe: what it would say waits and is entered first; nothing moves except toward the baseline."""


@dataclass(frozen=True, slots=True)
class Act:
    """What happened, for people and for the ledger.

    Args:
        kind: of the entry.
        actor: whose it is, as people know them.
        text: for people.
        data: for programs that read the journal.
        values: what the entry says; only what its kind allows.
        based_on: SHA-256 of the evidence it rests on.
        outcome: how it stands.
        origin: from where a person asked for it; "" where that is not known. A guard acts from its own machine.
    """

    kind: Kind
    actor: str
    text: str
    data: Mapping[str, object]
    values: Mapping[str, Value]
    based_on: tuple[str, ...] = ()
    outcome: Outcome = Outcome.DONE
    origin: str = ""


class Journal:
    """Writes rows, and enters them into a ledger where there is one. `transaction` opens one on the database of the rollouts."""

    def __init__(self, transaction: Transaction, ledger: Ledger | None) -> None:
        """Without a ledger there are rows only."""
        self._transaction, self._ledger = transaction, ledger
        self._cards: dict[tuple[str, str], bytes] = {}
        self._said: dict[str, int] = {}
        self._uncertain: set[str | None] = set()
        """Rollouts (None: guards) of which something may have been entered although nobody was told."""
        self._saying = threading.Lock()

    # -- rollouts

    def append(self, connection: sa.Connection, rollout_id: str, plan: str, unix_s: float, act: Act) -> None:
        """The next row of a rollout. The rollout's row is locked by the caller, so that the sequence has no gaps."""
        sequence = self.last(connection, rollout_id) + 1
        statement = None
        if self._ledger is not None:
            statement = self._statement(connection, rollout_id, plan, sequence, unix_s, act).payload()
        row = {"rollout_id": rollout_id, "sequence": sequence, "statement": statement}
        connection.execute(_JOURNAL.insert().values(**row, **_columns(unix_s, act)))

    def last(self, connection: sa.Connection, rollout_id: str) -> int:
        """The sequence of a rollout's last row; 0 where there is none."""
        found = connection.execute(sa.select(sa.func.max(_JOURNAL.c.sequence)).where(_JOURNAL.c.rollout_id == rollout_id)).scalar_one()
        return int(found or 0)

    def rows(self, connection: sa.Connection, rollout_id: str, after: int) -> Sequence[RolloutEvent]:
        """Rows with a sequence greater than `after`."""
        chosen = sa.select(_JOURNAL).where(_JOURNAL.c.rollout_id == rollout_id, _JOURNAL.c.sequence > after).order_by(_JOURNAL.c.sequence)
        return [
            RolloutEvent(row.sequence, row.unix_s, row.kind, row.actor, row.text, json.loads(row.data))
            for row in connection.execute(chosen)
        ]

    def waiting(self, connection: sa.Connection, before_unix_s: float) -> Sequence[str]:
        """The rollouts of which something from before a time is not in the ledger."""
        chosen = (
            sa.select(_JOURNAL.c.rollout_id)
            .where(_JOURNAL.c.statement.is_not(None), _JOURNAL.c.ledger_index.is_(None), _JOURNAL.c.unix_s < before_unix_s)
            .distinct()
        )
        return [row.rollout_id for row in connection.execute(chosen.order_by(_JOURNAL.c.rollout_id))]

    def enter(self, rollout_id: str, lock: Callable[[sa.Connection], object], fresh_after: int | None = None) -> None:
        """Enter what a rollout's rows have and the ledger has not; rows up to `fresh_after` are late (None: all are).

        Raises: NotEntered.
        """
        fresh_from = None if fresh_after is None else fresh_after + 1
        self._enter(_JOURNAL.c.sequence, _JOURNAL.c.rollout_id == rollout_id, fresh_from, lock)

    # -- guards

    def note_guard(self, guard: str, unix_s: float, act: Act) -> int:
        """A row of a guard's own journal: what belongs to no rollout. Returns its number, for `enter_guards`."""
        with self.noting(guard, unix_s, f"record {act.kind.value}") as (_, note):
            return note(act)

    @contextlib.contextmanager
    def noting(self, guard: str, unix_s: float, what: str) -> Iterator[tuple[sa.Connection, Callable[[Act], int]]]:
        """A transaction, and what writes rows of a guard's own journal in it: together with what they speak of. It gives their numbers."""
        with self._saying:
            said = dict(self._said)
            with self._transaction(what) as connection:

                def note(act: Act) -> int:
                    said[act.actor] = sequence = said.get(act.actor, 0) + 1
                    statement = None
                    if self._ledger is not None:
                        statement = self._statement(connection, None, None, sequence, unix_s, act).payload()
                    made = connection.execute(_GUARDS.insert().values(guard=guard, statement=statement, **_columns(unix_s, act)))
                    (number,) = made.inserted_primary_key or (0,)
                    return int(number)

                yield connection, note
            self._said = said

    def waits(self, connection: sa.Connection, rollout_id: str) -> bool:
        """Whether the ledger has not all of a rollout's rows yet."""
        left = (_JOURNAL.c.rollout_id == rollout_id, _JOURNAL.c.statement.is_not(None), _JOURNAL.c.ledger_index.is_(None))
        return connection.execute(sa.select(_JOURNAL.c.sequence).where(*left).limit(1)).first() is not None

    def all_entered(self, connection: sa.Connection, numbers: Sequence[int]) -> bool:
        """Whether these rows of guards are in the ledger."""
        missing = sa.select(sa.func.count()).where(_GUARDS.c.number.in_(numbers), _GUARDS.c.ledger_index.is_(None))
        return not connection.execute(missing).scalar_one()

    def enter_guards(self, guard: str, fresh_from: int | None = None) -> None:
        """Enter what a guard's rows have and the ledger has not. Raises: NotEntered."""
        self._enter(_GUARDS.c.number, _GUARDS.c.guard == guard, fresh_from, lambda _connection: None)

    def guard_rows(self, connection: sa.Connection, limit: int) -> Sequence[tuple[str, str, str, dict[str, object]]]:
        """The last rows, the oldest first: guard, kind, text, data."""
        rows = connection.execute(sa.select(_GUARDS).order_by(_GUARDS.c.number.desc()).limit(limit)).all()
        return [(row.guard, row.kind, row.text, json.loads(row.data)) for row in reversed(rows)]

    # -- what rows name, and forgetting what people wrote in them

    def statements(self, connection: sa.Connection, rollout_id: str | None, after: int, limit: int) -> Sequence[tuple[int, Statement]]:
        """What the rows after a sequence say in the ledger: a rollout's, or, with None, those of guards after a number."""
        key = _GUARDS.c.number if rollout_id is None else _JOURNAL.c.sequence
        of = sa.true() if rollout_id is None else _JOURNAL.c.rollout_id == rollout_id
        chosen = sa.select(key, key.table.c.statement).where(of, key > after, key.table.c.statement.is_not(None)).order_by(key).limit(limit)
        return [(number, Statement.from_payload(payload)) for number, payload in connection.execute(chosen)]

    def forget_words(self, connection: sa.Connection, rollout_id: str) -> None:
        """Overwrite what people wrote in a rollout's rows, and who they were. What the ledger has of them stays."""
        of = _JOURNAL.c.rollout_id == rollout_id
        connection.execute(_JOURNAL.update().where(of).values(text=FORGOTTEN, data="{}"))
        connection.execute(_JOURNAL.update().where(of, _JOURNAL.c.actor.not_like("guard %")).values(actor=FORGOTTEN))

    def last_of_guards(self, connection: sa.Connection, kind: Kind) -> tuple[str, dict[str, object]] | None:
        """Text and data of the last row of a kind in any guard's journal; None where there is none."""
        chosen = sa.select(_GUARDS).where(_GUARDS.c.kind == kind.value).order_by(_GUARDS.c.number.desc()).limit(1)
        row = connection.execute(chosen).first()
        return None if row is None else (row.text, json.loads(row.data))

    # -- within

    def _enter(
        self, key: sa.Column[int], of: sa.ColumnElement[bool], fresh_from: int | None, lock: Callable[[sa.Connection], object]
    ) -> None:
        """Enter rows that are not in the ledger, by their key; those before `fresh_from` are late (None: all are). Raises: NotEntered."""
        if self._ledger is None:
            return
        table = key.table
        left = (of, table.c.statement.is_not(None), table.c.ledger_index.is_(None))
        # The rows are locked: whoever else would enter them waits, and then finds them entered.
        chosen = sa.select(key, table.c.statement).where(*left).order_by(key).limit(ENTER_AT_ONCE_MAX).with_for_update()
        with self._entering() as connection:
            lock(connection)
            waiting = [
                (number, replace(Statement.from_payload(payload), late=fresh_from is None or number < fresh_from))
                for number, payload in connection.execute(chosen).all()
            ]
            if waiting:
                for number, index in self._entered(connection, waiting, of):
                    connection.execute(sa.update(table).where(of, key == number).values(ledger_index=index))

    @contextlib.contextmanager
    def _entering(self) -> Iterator[sa.Connection]:
        with self._transaction("enter into the ledger") as connection:
            try:
                yield connection
            except VerdigrisError as error:
                msg = f"could not enter into the ledger: {error}"
                raise NotEntered(msg) from error

    def _entered(
        self, connection: sa.Connection, waiting: Sequence[tuple[int, Statement]], of: sa.ColumnElement[bool]
    ) -> Iterator[tuple[int, int]]:
        """Append what is not in the ledger yet. Yields key and index of each.

        What is late may be there: a crash, or an answer that did not come, was before its row could say so. It is then behind what its own
        rollout or guard has said before, for each is entered in order; others may have entered anything since.
        """
        assert self._ledger is not None  # noqa: S101  # the callers looked
        there: dict[tuple[str | None, str, int], int] = {}
        rollout = waiting[0][1].rollout
        if rollout in self._uncertain or any(statement.late for _, statement in waiting):
            table = _JOURNAL if rollout is not None else _GUARDS
            known = connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.ledger_index), -1)).where(of)).scalar_one()
            there = {(s.rollout, s.actor.card if s.rollout is None else "", s.sequence): i for i, s in self._ledger.since(known + 1)}
        missing = []
        for key, statement in waiting:
            name = (statement.rollout, statement.actor.card if statement.rollout is None else "", statement.sequence)
            if name in there:
                yield key, there[name]
            else:
                missing.append((key, statement))
        if missing:
            self._uncertain.add(rollout)
            first = self._ledger.enter([statement for _, statement in missing])
            self._uncertain.discard(rollout)
            yield from ((key, first + n) for n, (key, _) in enumerate(missing))

    def _statement(
        self, connection: sa.Connection, rollout_id: str | None, plan: str | None, sequence: int, unix_s: float, act: Act
    ) -> Statement:
        details = {"kind": act.kind.value, "text": act.text}
        return Statement(
            kind=act.kind, rollout=rollout_id, sequence=sequence, actor=self._actor(connection, act.actor, act.origin),
            unix_nano=round(unix_s * NANO),
            clock=system_clock(), outcome=act.outcome, plan=plan, based_on=act.based_on,
            details=evidence.put(connection, evidence.salted(details)), values=act.values,
        )  # fmt: skip

    def _actor(self, connection: sa.Connection, name: str, origin: str) -> Actor:
        kind = ActorKind.GUARD if name.startswith("guard ") else ActorKind.PERSON
        if kind is ActorKind.GUARD:
            origin = HOST
        if (name, origin) not in self._cards:
            card = {"kind": kind.value, "name": name.removeprefix("guard ")} | ({"from": origin} if origin else {})
            self._cards[name, origin] = evidence.salted(card)
        return Actor(kind, evidence.put(connection, self._cards[name, origin]))


def _columns(unix_s: float, act: Act) -> dict[str, object]:
    return {
        "unix_s": unix_s, "kind": act.kind.value, "actor": act.actor, "text": act.text, "data": json.dumps(act.data, sort_keys=True),
    }  # fmt: skip
