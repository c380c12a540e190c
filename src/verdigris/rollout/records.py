"""What is kept of rollouts: where each stands, who acts on it, its journal and its evidence. SQLite, or PostgreSQL for several guards.

Exactly one guard acts on a rollout. Acting needs a `Claim`; every write of the one who acts names its term, and a write under an
older term changes nothing (`Superseded`). A claim that is not renewed for a while may be taken by another guard, which raises the
term. Weights carry generations, which only grow per data plane, whoever acts.
"""

import contextlib
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import rfc8785
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from verdigris.approvals.approval import ApprovalDecision, Verified
from verdigris.approvals.errors import ApprovalError
from verdigris.database import make_tables, open_engine
from verdigris.errors import VerdigrisError
from verdigris.judge.live import LiveJudgement
from verdigris.judge.verdict import Outcome
from verdigris.ledger import evidence
from verdigris.ledger.entry_kinds import Kind, Value
from verdigris.ledger.ledger import Ledger
from verdigris.plan.detectors import OwnDetector
from verdigris.plan.document import evidence_kept_s
from verdigris.plan.plan import Plan
from verdigris.rollout import acts, at_rest, erasing, journal, kept_approvals
from verdigris.rollout.agreement import Shown
from verdigris.rollout.journal import Act
from verdigris.rollout.kept_approvals import Review
from verdigris.rollout.position import FORMAT, Position, UnknownFormat
from verdigris.rollout.status import AlreadyRunning, NoSuchRollout, RolloutError, RolloutEvent
from verdigris.rollout.transitions import Event, Phase
from verdigris.traffic.data_plane import Split


class RecordsUnavailable(VerdigrisError):
    """The database of rollouts does not answer. Safe: nothing moves except toward the baseline until it does."""


class Superseded(VerdigrisError):
    """Another guard acts on this rollout now. Safe: this guard stops acting on it; nothing was changed."""


_METADATA = sa.MetaData()
_ROLLOUTS = sa.Table(
    "verdigris_rollouts", _METADATA,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("plan", sa.LargeBinary, nullable=False),
    sa.Column("started_unix_s", sa.Float, nullable=False),
    sa.Column("ended_unix_s", sa.Float),
    sa.Column("position", sa.Text, nullable=False),
    sa.Column("status", sa.Text),
    sa.Column("reference", sa.String(64)),
    sa.Column("reference_after", sa.Integer, nullable=False, default=0),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("guard", sa.String(200), nullable=False),
    sa.Column("heard_unix_s", sa.Float, nullable=False),
    sa.Column("detectors", sa.Text),
)  # fmt: skip
_GENERATIONS = sa.Table(
    "verdigris_generations", _METADATA,
    sa.Column("subject", sa.String(200), primary_key=True),
    sa.Column("newest", sa.BigInteger, nullable=False),
)  # fmt: skip
_REQUESTS = sa.Table(
    "verdigris_requests", _METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("rollout_id", sa.String(40), nullable=False, index=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("origin", sa.String(200), nullable=False, server_default=""),
    sa.Column("done", sa.Boolean, nullable=False),
)  # fmt: skip
_LOOKS = sa.Table(
    "verdigris_looks", _METADATA,
    sa.Column("rollout_id", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("until_unix_s", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
)  # fmt: skip


LEFT_AFTER_S = 10.0
TOWARD_BASELINE = frozenset({Phase.RETURNING, Phase.ROLLED_BACK, Phase.HOLDING})
"""What leads here needs no ledger."""

OpenLedger = Callable[[sa.Engine], Ledger]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to act on a rollout. `resumed`: somebody acted on it before."""

    rollout_id: str
    guard: str
    term: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """A rollout as it is kept. `status` is the last published document, as JSON; `reference` the digest of what the baseline was like.

    Looks up to `reference_after` were made before the reference was learned (again): they are not judged by it.
    """

    id: str
    subject: str
    name: str
    digest: str
    plan: bytes
    started_unix_s: float
    ended_unix_s: float | None
    position: Position
    status: str | None
    reference: str | None
    reference_after: int
    generation: int
    term: int
    guard: str
    heard_s_ago: float


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for: `kind` is "hold", "resume", "abort" or "commit"."""

    number: int
    kind: str
    actor: str
    reason: str
    origin: str = ""


class Records:
    """The database. Methods block, may be called from any thread, and raise `RecordsUnavailable`."""

    def __init__(self, url: str, open_ledger: OpenLedger | None = None) -> None:
        """Open, and make what is missing. `url` is SQLAlchemy's, for `sqlite` or `postgresql+psycopg`.

        With `open_ledger`, everything that is written down is entered into that ledger before the method returns; without, nothing is.
        """
        self._sqlite = url.startswith("sqlite")
        self._engine = open_engine(url)
        with _translated("open"):
            for tables in (_METADATA, journal.METADATA, evidence.METADATA, kept_approvals.METADATA, erasing.METADATA, at_rest.METADATA):
                make_tables(self._engine, tables)
        self.ledger = None if open_ledger is None else open_ledger(self._engine)
        self._journal = journal.Journal(self._transaction, self.ledger)
        self._erasing = erasing.Erasing(self._transaction, self._journal, erasing.Tables(_ROLLOUTS, _REQUESTS, _LOOKS))
        self._at_rest = at_rest.AtRest(self._transaction, self._journal, _ROLLOUTS)

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    # -- submitting and reading ---------------------------------------------------------------------------------------------

    def submit(self, plan: Plan, subject: str, actor: str, guard: str, now_unix_s: float, origin: str = "") -> str:
        """A new rollout in its first position, with its first journal entry. Raises: AlreadyRunning."""
        made = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_unix_s)) + "-" + secrets.token_hex(2)
        with self._transaction("submit a plan") as connection:
            running = connection.execute(
                sa.select(_ROLLOUTS.c.id, _ROLLOUTS.c.digest, _ROLLOUTS.c.name).where(
                    _ROLLOUTS.c.ended_unix_s.is_(None), sa.or_(_ROLLOUTS.c.subject == subject, _ROLLOUTS.c.digest == plan.digest)
                )
            ).first()
            if running is not None:
                what = "this plan" if running.digest == plan.digest else f"the same data plane ({running.name})"
                msg = f"a rollout of {what} is under way: {running.id}; watch it, or abort it before another is started"
                raise AlreadyRunning(msg, running.id)
            generation = _next_generation(connection, subject)
            connection.execute(
                _ROLLOUTS.insert().values(
                    id=made, subject=subject, name=plan.name, digest=plan.digest, plan=plan.canonical, started_unix_s=now_unix_s,
                    position=_position_text(Position(since_unix_s=now_unix_s)), generation=generation, term=0, guard=guard,
                    heard_unix_s=0.0, detectors=json.dumps([one.document() for one in plan.detectors]) if plan.detectors else None,
                )
            )  # fmt: skip
            evidence.put(connection, plan.canonical)
            self._journal.append(connection, made, plan.digest, now_unix_s, acts.submitted(plan, actor, origin))
        self.enter(made, fresh_after=0)
        return made

    def load(self, rollout_id: str) -> Stored:
        """One rollout, by its id, a unique beginning of it, or "latest". Raises: NoSuchRollout; UnknownFormat."""
        with self._transaction("read a rollout") as connection:
            chosen = sa.select(_ROLLOUTS).order_by(_ROLLOUTS.c.started_unix_s.desc(), _ROLLOUTS.c.id.desc()).limit(2)
            if rollout_id != "latest":
                chosen = chosen.where(_ROLLOUTS.c.id.startswith(rollout_id, autoescape=True))
            rows = connection.execute(chosen).all()
            now = self._now(connection)
        exact = [row for row in rows if row.id == rollout_id]
        rows = rows if rollout_id else []
        if not rows or (len(rows) > 1 and not exact and rollout_id != "latest"):
            what = "there is no rollout" if not rows else "there is more than one rollout whose id begins with"
            msg = f"{what} {rollout_id!r}; `verdigris rollout list` shows them"
            raise NoSuchRollout(msg)
        return _stored(exact[0] if exact else rows[0], now)

    def newest(self, limit: int = 200) -> Sequence[Stored]:
        """The newest rollouts, the newest first; those left in an unknown form are left out."""
        with self._transaction("list rollouts") as connection:
            chosen = sa.select(_ROLLOUTS).order_by(_ROLLOUTS.c.started_unix_s.desc(), _ROLLOUTS.c.id.desc()).limit(limit)
            rows = connection.execute(chosen).all()
            now = self._now(connection)
        found = []
        for row in rows:
            with contextlib.suppress(UnknownFormat):
                found.append(_stored(row, now))
        return found

    def unfinished(self) -> Sequence[str]:
        """Ids of the rollouts that have not ended, the oldest first."""
        with self._transaction("list unfinished rollouts") as connection:
            rows = connection.execute(
                sa.select(_ROLLOUTS.c.id).where(_ROLLOUTS.c.ended_unix_s.is_(None)).order_by(_ROLLOUTS.c.started_unix_s, _ROLLOUTS.c.id)
            )
            return [row.id for row in rows]

    def own_detectors(self, now_unix_s: float) -> tuple[OwnDetector, ...]:
        """The detectors of the plans whose evidence is kept, each once, those of the oldest plan first."""
        one = _ROLLOUTS.c
        with self._transaction("read the detectors of plans") as connection:
            chosen = sa.select(one.plan, one.detectors, one.ended_unix_s).where(one.detectors.is_not(None))
            rows = connection.execute(chosen.order_by(one.started_unix_s, one.id)).all()
        found: dict[OwnDetector, None] = {}
        for row in rows:
            kept_s = None if row.ended_unix_s is None else evidence_kept_s(bytes(row.plan))
            if kept_s is None or row.ended_unix_s + kept_s > now_unix_s:
                found |= dict.fromkeys(map(OwnDetector.read, json.loads(row.detectors)))
        return tuple(found)

    def note_masking(self, guard: str, now_unix_s: float, definition: bytes, detectors: int, allowed: int) -> None:
        """What a guard masks from now on, in its own journal; `definition` is kept as evidence."""
        with self._journal.noting(guard, now_unix_s, "record what is masked") as (connection, note):
            number = note(acts.masking_set(f"guard {guard}", evidence.put(connection, definition), detectors, allowed))
        with contextlib.suppress(RecordsUnavailable), _entering():
            self._journal.enter_guards(guard, number)

    def journal(self, rollout_id: str, after: int = 0) -> Sequence[RolloutEvent]:
        """Journal entries with a sequence greater than `after`."""
        with self._transaction("read the journal") as connection:
            return self._journal.rows(connection, rollout_id, after)

    def note_guard(self, guard: str, now_unix_s: float, act: Act) -> None:
        """An entry of a guard's own journal: what belongs to no rollout. What cannot be entered now is kept, and entered later."""
        number = self._journal.note_guard(guard, now_unix_s, act)
        with contextlib.suppress(RecordsUnavailable), _entering():
            self._journal.enter_guards(guard, number)

    def enter_guards(self, guard: str) -> None:
        """Enter what a guard's own journal has from before and the ledger has not."""
        with _entering():
            self._journal.enter_guards(guard)

    def guard_journal(self, limit: int = 1_000) -> Sequence[tuple[str, str, str, dict[str, object]]]:
        """The last entries, the oldest first: guard, kind, text, data."""
        with self._transaction("read the guards' journal") as connection:
            return self._journal.guard_rows(connection, limit)

    def proxies_at_rest(self, after: str, limit: int) -> Sequence[at_rest.Proxy]:
        """Proxies whose newest rollout has ended, by subject: those after a subject."""
        return self._at_rest.proxies(after, limit)

    def note_traffic(self, proxy: at_rest.Proxy, guard: str, now_unix_s: float, split: Split) -> bool:
        """Enter what a proxy at rest does, where nothing explains it: once per change, whoever sees it. Returns whether there was one."""
        number = self._at_rest.note(proxy, guard, now_unix_s, split)
        if number is not None:
            with contextlib.suppress(RecordsUnavailable), _entering():
                self._journal.enter_guards(guard, number)
        return number is not None

    def doubted(self) -> str | None:
        """What was found wrong when a guard verified the ledger last; None: nothing was, or nobody has."""
        with self._transaction("read the last verification") as connection:
            last = self._journal.last_of_guards(connection, Kind.LEDGER_VERIFIED)
        return None if last is None or not last[1].get("problems") else last[0]

    # -- acting -------------------------------------------------------------------------------------------------------------

    def claim(self, rollout_id: str, guard: str, stale_after_s: float) -> Claim | None:
        """The right to act, if nobody else has it: nobody did yet, this guard did, or the one who did was not heard for so long."""
        with self._transaction("claim a rollout") as connection:
            row = self._locked(connection, rollout_id)
            now = self._now(connection)
            if row.ended_unix_s is not None or (row.term and row.guard != guard and now - row.heard_unix_s < stale_after_s):
                return None
            generation = _next_generation(connection, row.subject)
            connection.execute(
                _ROLLOUTS.update()
                .where(_ROLLOUTS.c.id == rollout_id)
                .values(term=row.term + 1, guard=guard, heard_unix_s=now, generation=generation)
            )
        return Claim(rollout_id, guard, row.term + 1, resumed=row.term > 0)

    def hear(self, claim: Claim) -> None:
        """Say that the one who acts is alive. Raises: Superseded."""
        with self._acting(claim, "renew a claim") as (connection, _):
            connection.execute(_ROLLOUTS.update().where(_ROLLOUTS.c.id == claim.rollout_id).values(heard_unix_s=self._now(connection)))

    def intend(self, claim: Claim, now_unix_s: float, act: Callable[[int], Act]) -> int:
        """Write what is about to be applied: `act`, given the generation to apply it with, which is returned. Raises: Superseded."""
        with self._writing(claim, "record an intended weight") as (connection, row):
            generation = _next_generation(connection, row.subject)
            connection.execute(_ROLLOUTS.update().where(_ROLLOUTS.c.id == claim.rollout_id).values(generation=generation))
            self._journal.append(connection, claim.rollout_id, row.digest, now_unix_s, act(generation))
        return generation

    def adopt(self, claim: Claim, newest: int) -> int:
        """The proxy knows a newer generation than these records do: they are new. Returns one that it will take. Raises: Superseded."""
        with self._acting(claim, "adopt a proxy's generation") as (connection, row):
            connection.execute(_GENERATIONS.update().where(_GENERATIONS.c.subject == row.subject).values(newest=newest))
            generation = _next_generation(connection, row.subject)
            connection.execute(_ROLLOUTS.update().where(_ROLLOUTS.c.id == claim.rollout_id).values(generation=generation))
        return generation

    def note(self, claim: Claim, now_unix_s: float, act: Act) -> None:
        """A journal entry by the one who acts. Raises: Superseded."""
        with self._writing(claim, f"record {act.kind.value}", spools=act.kind is Kind.ROLLBACK_OBSERVED) as (connection, row):
            self._journal.append(connection, claim.rollout_id, row.digest, now_unix_s, act)

    def note_verdict(self, claim: Claim, now_unix_s: float, found: LiveJudgement, judge: Mapping[str, Value]) -> None:
        """A verdict that something is about to be decided on, with the evidence that gives it again. Raises: Superseded."""
        with self._writing(claim, "record a verdict", spools=found.verdict in (Outcome.FAIL, Outcome.BLIND)) as (connection, row):
            chosen = sa.select(_LOOKS.c.digest).where(_LOOKS.c.rollout_id == claim.rollout_id, _LOOKS.c.number > row.reference_after)
            digests = [look.digest for look in connection.execute(chosen.order_by(_LOOKS.c.number))]
            looks = evidence.put(connection, rfc8785.dumps(digests[: found.windows]))
            judgement = evidence.put(connection, found.canonical_bytes())
            for act in acts.judged(_me(claim), found, judgement=judgement, looks=looks, reference=row.reference, judge=judge):
                self._journal.append(connection, claim.rollout_id, row.digest, now_unix_s, act)

    def move(self, claim: Claim, position: Position, event: Event, actor: str, status: str | None = None, origin: str = "") -> None:
        """Keep the position that follows `event`, and the document that says it (None: the last one stays).

        Keeping the same position again changes nothing. Raises: Superseded.
        """
        with self._writing(claim, "record a transition", spools=position.phase in TOWARD_BASELINE) as (connection, row):
            before = _position(row.position)
            if before.sequence >= position.sequence:
                return
            kept: dict[str, object] = {
                "position": _position_text(position),
                "ended_unix_s": position.since_unix_s if position.ended else None,
            }
            if status is not None:
                kept["status"] = status
            connection.execute(_ROLLOUTS.update().where(_ROLLOUTS.c.id == claim.rollout_id).values(**kept))
            for act in acts.moved(before, position, event, actor, row.generation, origin):
                self._journal.append(connection, claim.rollout_id, row.digest, position.since_unix_s, act)

    def publish(self, claim: Claim, status: str) -> None:
        """Keep the status document that others are shown. Raises: Superseded."""
        with self._acting(claim, "publish a status") as (connection, _):
            values = {"status": status, "heard_unix_s": self._now(connection)}
            connection.execute(_ROLLOUTS.update().where(_ROLLOUTS.c.id == claim.rollout_id).values(**values))

    # -- evidence -----------------------------------------------------------------------------------------------------------

    def keep_reference(self, claim: Claim, now_unix_s: float, reference: bytes, windows: int, operations: int) -> None:
        """What the baseline was like before the rollout; everything is judged against it. Raises: Superseded."""
        with self._writing(claim, "keep the reference") as (connection, row):
            looks = sa.select(sa.func.coalesce(sa.func.max(_LOOKS.c.number), 0)).where(_LOOKS.c.rollout_id == claim.rollout_id)
            digest = evidence.put(connection, reference)
            kept = {"reference": digest, "reference_after": connection.execute(looks).scalar_one()}
            connection.execute(_ROLLOUTS.update().where(_ROLLOUTS.c.id == claim.rollout_id).values(**kept))
            act = acts.learned(_me(claim), digest, windows, operations)
            self._journal.append(connection, claim.rollout_id, row.digest, now_unix_s, act)

    def keep_look(self, claim: Claim, number: int, until_unix_s: int, content: bytes) -> None:
        """The evidence of one look, before it is judged. Keeping it again changes nothing. Raises: Superseded."""
        with self._acting(claim, "keep evidence") as (connection, _):
            there = sa.select(_LOOKS.c.digest).where(_LOOKS.c.rollout_id == claim.rollout_id, _LOOKS.c.number == number)
            if connection.execute(there).first() is None:
                row = {"rollout_id": claim.rollout_id, "number": number, "until_unix_s": until_unix_s}
                connection.execute(_LOOKS.insert().values(**row, digest=evidence.put(connection, content)))

    def looks(self, rollout_id: str) -> Sequence[tuple[int, int, bytes | None]]:
        """The evidence so far, in order: number, until when (seconds since 1970), bytes; None where they are gone or were changed."""
        with self._transaction("read evidence") as connection:
            rows = connection.execute(sa.select(_LOOKS).where(_LOOKS.c.rollout_id == rollout_id).order_by(_LOOKS.c.number)).all()
            return [(row.number, row.until_unix_s, _whole(connection, row.digest)) for row in rows]

    def evidence(self, digest: str) -> bytes | None:
        """A blob by its SHA-256; None where it was erased or never kept. Raises: EvidenceDamaged."""
        with self._transaction("read evidence") as connection:
            return evidence.get(connection, digest)

    def erase_due(self, guard: str, now_unix_s: float) -> int:
        """Erase evidence whose retention has passed, or some of it, once the ledger says so. Returns how many blobs went."""
        if self.ledger is None:
            return 0
        with _entering():
            erased = self._erasing.sweep(guard, now_unix_s)
        if erased:
            self._forget_for_good()
        return erased

    def erase_asked(self, rollout_id: str, guard: str, actor: str, reason: str, now_unix_s: float, origin: str = "") -> None:
        """Erase the evidence of a rollout that has ended, because a person asks for it, once the ledger says so. Raises: RolloutError."""
        if self.ledger is None:
            msg = "evidence is erased only where a ledger can say so, and there is none. Nothing was erased"
            raise RolloutError(msg)
        with _entering():
            self._erasing.ask(rollout_id, guard, actor, reason, now_unix_s, origin)
        self._forget_for_good()

    def _forget_for_good(self) -> None:
        """SQLite overwrites what was erased, but only when its write-ahead log is taken over; until then the old pages can be read."""
        if self._sqlite:
            with contextlib.suppress(sqlite3.Error), contextlib.closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")  # SQLite does so by itself later, where it cannot now

    # -- what people ask ----------------------------------------------------------------------------------------------------

    def ask(self, rollout_id: str, kind: str, actor: str, reason: str, now_unix_s: float, origin: str = "") -> None:
        """Leave a request for the one who acts, and write it down."""
        with self._transaction(f"record a request to {kind}") as connection:
            row = self._locked(connection, rollout_id)
            if row.ended_unix_s is not None:  # it has ended meanwhile: nothing is left to ask of it, and its record is closed
                return
            asked = {"rollout_id": rollout_id, "kind": kind, "actor": actor, "reason": reason, "origin": origin, "done": False}
            connection.execute(_REQUESTS.insert().values(**asked))
            last = self._journal.last(connection, rollout_id)
            self._journal.append(connection, rollout_id, row.digest, now_unix_s, acts.requested(kind, actor, reason, origin))
        with contextlib.suppress(RecordsUnavailable) if kind in {"abort", "hold"} else contextlib.nullcontext():
            self.enter(rollout_id, fresh_after=last)

    def asked(self, claim: Claim) -> Sequence[Request]:
        """Requests that nobody has acted on yet, the oldest first."""
        with self._transaction("read requests") as connection:
            rows = connection.execute(
                sa.select(_REQUESTS)
                .where(_REQUESTS.c.rollout_id == claim.rollout_id, _REQUESTS.c.done.is_(False))
                .order_by(_REQUESTS.c.number)
            ).all()
        return [Request(row.number, row.kind, row.actor, row.reason, row.origin) for row in rows]

    def answered(self, claim: Claim, numbers: Sequence[int]) -> None:
        """These requests were acted on, or can no longer be. Raises: Superseded."""
        with self._acting(claim, "answer requests") as (connection, _):
            connection.execute(_REQUESTS.update().where(_REQUESTS.c.number.in_(list(numbers))).values(done=True))

    # -- what people sign ---------------------------------------------------------------------------------------------------

    def show(self, claim: Claim, shown: Shown) -> str:
        """Keep what approvers of a step are shown, before they are asked. Returns the digest that they sign. Raises: Superseded."""
        with self._acting(claim, "keep what approvers are shown") as (connection, _):
            return kept_approvals.show(connection, claim.rollout_id, shown)

    def shown(self, rollout_id: str, step: int) -> bytes | None:
        """What is shown for a step now; None while nobody is asked about it."""
        with self._transaction("read what approvers are shown") as connection:
            return kept_approvals.shown(connection, rollout_id, step)

    def sign(
        self, rollout_id: str, given: Verified, about: str, now_unix_s: float, review_due_unix_s: float | None = None, origin: str = ""
    ) -> None:
        """Keep what somebody has signed about a rollout, and write it down; again is harmless. It counts from then on.

        A refusal counts also while the ledger cannot be written, as all that holds a rollout back.
        """
        with self._transaction("keep an approval") as connection:
            row = self._locked(connection, rollout_id)
            if row.ended_unix_s is not None:
                msg = f"rollout {rollout_id} has ended; there is nothing to agree to. Nothing changed"
                raise RolloutError(msg)
            last = self._journal.last(connection, rollout_id)
            person = kept_approvals.put(connection, rollout_id, given, now_unix_s)
            if person is not None:
                said = [acts.signed(given, person, about, origin)]
                if review_due_unix_s is not None:
                    review = Review(given.digest, rollout_id, given.approval.step, given.person.name, review_due_unix_s)
                    kept_approvals.open_review(connection, review)
                    said.append(acts.review_due(given, review_due_unix_s, origin))
                for act in said:
                    self._journal.append(connection, rollout_id, row.digest, now_unix_s, act)
        refuses = given.approval.decision is ApprovalDecision.REFUSE
        with contextlib.suppress(RecordsUnavailable) if refuses else contextlib.nullcontext():
            self.enter(rollout_id, fresh_after=last)

    def approvals(self, rollout_id: str) -> Sequence[Verified]:
        """All that was signed about a rollout and has been kept."""
        with self._transaction("read approvals") as connection:
            try:
                return kept_approvals.of(connection, rollout_id)
            except (ApprovalError, evidence.EvidenceDamaged) as error:
                msg = f"could not read approvals: {error}"
                raise RecordsUnavailable(msg) from error

    def reviews(self) -> Sequence[Review]:
        """All reviews that overrides of freezes have opened, those that are still open first."""
        with self._transaction("read reviews") as connection:
            return kept_approvals.reviews(connection)

    def review(self, review: Review, given: Verified, guard: str, now_unix_s: float) -> None:
        """A review is done: write it down, then close it. The rollout may have ended: the entry is the guard's."""
        with self._transaction("keep a review") as connection:
            person = kept_approvals.put(connection, review.rollout_id, given, now_unix_s)
        if person is not None:
            self.note_guard(guard, now_unix_s, acts.review_done(f"guard {guard}", given, review.rollout_id, person))
        with self._transaction("close a review") as connection:
            kept_approvals.close_review(connection, review.override, given.digest)

    # -- within ---------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, what: str) -> Iterator[sa.Connection]:
        with _translated(what), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _acting(self, claim: Claim, what: str) -> Iterator[tuple[sa.Connection, Any]]:
        with self._transaction(what) as connection:
            row = self._locked(connection, claim.rollout_id)
            if row.term != claim.term or row.guard != claim.guard:
                msg = f"guard {row.guard} acts on {claim.rollout_id} now (term {row.term}, ours was {claim.term})"
                raise Superseded(msg)
            yield connection, row

    @contextlib.contextmanager
    def _writing(self, claim: Claim, what: str, *, spools: bool = False) -> Iterator[tuple[sa.Connection, Any]]:
        """As `_acting`, and what is written is in the ledger afterwards. `spools`: if it cannot be, it waits: the way back needs no ledger.

        What waits is entered first, so that a ledger that does not answer gets no more to wait for with every attempt.
        """
        if not spools:
            self.enter(claim.rollout_id)
        with self._acting(claim, what) as (connection, row):
            last = self._journal.last(connection, claim.rollout_id)
            yield connection, row
        with contextlib.suppress(RecordsUnavailable) if spools else contextlib.nullcontext():
            self.enter(claim.rollout_id, fresh_after=last)

    def enter_all(self, guard: str) -> None:
        """Enter what any rollout and this guard have left to say. What was written just now is entered by whoever wrote it."""
        with self._transaction("read what is not in the ledger") as connection:
            waiting = self._journal.waiting(connection, time.time() - LEFT_AFTER_S)
        for rollout_id in waiting:
            self.enter(rollout_id)
        self.enter_guards(guard)

    def enter(self, rollout_id: str, fresh_after: int | None = None) -> None:
        """Enter what a rollout has left to say. What could not be entered when it happened, up to `fresh_after` (None: all), is late."""
        if self.ledger is not None:
            with _entering():
                self._journal.enter(rollout_id, lambda connection: self._locked(connection, rollout_id), fresh_after)

    def _locked(self, connection: sa.Connection, rollout_id: str) -> Any:
        row = connection.execute(sa.select(_ROLLOUTS).where(_ROLLOUTS.c.id == rollout_id).with_for_update()).first()
        if row is None:
            msg = f"there is no rollout {rollout_id!r}"
            raise NoSuchRollout(msg)
        return row

    def _now(self, connection: sa.Connection) -> float:
        """The database's clock: guards on several machines compare times by it."""
        if self._sqlite:
            return time.time()
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        msg = f"could not {what}: {error.orig}"
        raise RecordsUnavailable(msg) from error
    except SQLAlchemyError as error:
        msg = f"could not {what}: {error}"
        raise RecordsUnavailable(msg) from error


def _whole(connection: sa.Connection, digest: str) -> bytes | None:
    try:
        return evidence.get(connection, digest)
    except evidence.EvidenceDamaged:
        return None


def _next_generation(connection: sa.Connection, subject: str) -> int:
    row = connection.execute(sa.select(_GENERATIONS.c.newest).where(_GENERATIONS.c.subject == subject).with_for_update()).first()
    if row is None:
        connection.execute(_GENERATIONS.insert().values(subject=subject, newest=1))
        return 1
    connection.execute(_GENERATIONS.update().where(_GENERATIONS.c.subject == subject).values(newest=row.newest + 1))
    return int(row.newest) + 1


def _me(claim: Claim) -> str:
    return f"guard {claim.guard}"


@contextlib.contextmanager
def _entering() -> Iterator[None]:
    try:
        yield
    except journal.NotEntered as error:
        raise RecordsUnavailable(str(error)) from error


def _stored(row: Any, now: float) -> Stored:
    return Stored(
        id=row.id, subject=row.subject, name=row.name, digest=row.digest, plan=bytes(row.plan), started_unix_s=row.started_unix_s,
        ended_unix_s=row.ended_unix_s, position=_position(row.position), status=row.status,
        reference=row.reference,
        reference_after=row.reference_after, generation=row.generation, term=row.term, guard=row.guard,
        heard_s_ago=now - row.heard_unix_s,
    )  # fmt: skip


def _position_text(position: Position) -> str:
    return json.dumps(asdict(position), sort_keys=True)


def _position(text: str) -> Position:
    fields = json.loads(text)
    if fields.get("format") != FORMAT:
        msg = f"this rollout was left in a form (format {fields.get('format')}) that this version of the guard does not know ({FORMAT})"
        raise UnknownFormat(msg)
    return Position(**{**fields, "phase": Phase(fields["phase"])})
