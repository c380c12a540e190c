"""Whatever is erased in whatever order: the log verifies with what is left, and nothing is missing that it does not call erased."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ended_rollouts import DAY_S, NOW, Guarded, end_it, ended

from verdigris.audit.record import EvidenceFiles, Record
from verdigris.audit.verify import Folder, Report, verify_log_files
from verdigris.ledger.entry_kinds import DIGESTS_MAX
from verdigris.ledger.storage import LedgerUnavailable, LogFolder
from verdigris.rollout.records import RecordsUnavailable
from verdigris.rollout.status import RolloutError

LOOKS = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=4)
ROLLOUTS = st.tuples(st.just("rollout"), LOOKS, st.sampled_from(["ann", "bob"]), st.booleans())
DOINGS = st.lists(
    st.one_of(
        ROLLOUTS,
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("ask"), st.integers(0, 5)),
        st.tuples(st.just("sweep"), st.sampled_from(["g1", "g2"])),
        st.tuples(st.just("days"), st.integers(1, 40)),
        st.tuples(st.just("ledger"), st.booleans()),
        st.tuples(st.just("restart")),
    ),
    min_size=4, max_size=12,
)  # fmt: skip


class Story:
    """The records of two guards, and what is done to them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, NOW
        self.ids: list[str] = []
        self.works = True
        self.guards = {name: self.opened() for name in ("g1", "g2")}

    @property
    def guard(self) -> Guarded:
        return self.guards["g1"]

    def opened(self) -> Guarded:
        guard = Guarded(f"sqlite:///{self.folder / 'rollouts.sqlite'}", self.folder / "log")
        entering = guard.ledger.enter

        def enter(statements: object) -> int:
            if not self.works:
                msg = "the disk of the ledger is gone"
                raise LedgerUnavailable(msg)
            return entering(statements)  # type: ignore[arg-type]

        guard.ledger.enter = enter  # type: ignore[method-assign]
        return guard

    def close(self) -> None:
        for guard in self.guards.values():
            guard.records.close()

    def do(self, doing: tuple[object, ...]) -> None:
        match doing:
            case ("rollout", list(looks), str(actor), bool(end)):
                name = f"r{len(self.ids)}"
                self.ids.append(ended(self.guard.records, name, looks, kept_s=30 * DAY_S, actor=actor, at_unix_s=self.now, end=end))
            case ("end", int(at)) if at < len(self.ids) and self.ids[at] in self.guard.records.unfinished():
                claim = self.guard.records.claim(self.ids[at], "g1", stale_after_s=0)
                assert claim is not None
                end_it(self.guard.records, claim, self.now)
            case ("ask", int(at)) if at < len(self.ids):
                self.guard.records.erase_asked(self.ids[at], "g1", "bob", "because", self.now)
            case ("sweep", str(guard)):
                self.guards[guard].records.erase_due(guard, self.now)
            case ("days", int(days)):
                self.now += days * DAY_S
            case ("ledger", bool(works)):
                self.works = works
            case ("restart",):
                self.guard.records.close()
                self.guards["g1"] = self.opened()

    def verified(self) -> Report:
        storage = LogFolder(self.folder / "log")
        evidence = EvidenceFiles(Record(storage, self.guard.records._engine, self.guard.ledger.trusted))
        return verify_log_files(Folder(self.folder / "log", links=True), [str(self.guard.ledger.signer.key)], evidence=evidence)


@contextmanager
def story() -> Iterator[Story]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr("verdigris.rollout.erasing.BLOBS_AT_ONCE", 3)
        one = Story(Path(folder))
        try:
            yield one
        finally:
            one.close()


@settings(max_examples=15, deadline=None)
@given(DOINGS)
def test_the_log_verifies_after_any_erasing(doings: list[tuple[object, ...]]) -> None:
    with story() as told:
        for doing in [("rollout", [b"a", b"b"], "ann", True), *doings]:
            try:
                told.do(doing)
            except (RecordsUnavailable, RolloutError):
                continue
        told.works = True
        for name, guard in told.guards.items():
            guard.records.enter_all(name)
        report = told.verified()
        assert report.problems == []
        for rollout_id in told.guard.records.unfinished():
            assert all(content is not None for _, _, content in told.guard.records.looks(rollout_id))
        told.now += 4_000 * DAY_S
        for name in ("g1", "g2", "g1"):
            told.guards[name].records.erase_due(name, told.now)
        assert told.verified().problems == []


def test_a_blob_that_is_taken_away_is_found_among_erased_ones() -> None:
    with story() as told:
        told.do(("rollout", [b"a", b"b"], "ann", True))
        told.do(("rollout", [b"c"], "ann", False))
        told.do(("days", 31))
        told.do(("sweep", "g1"))
        assert told.verified().problems == []
        reference = hashlib.sha256(b"reference of r1").hexdigest()
        with told.guard.records._transaction("take it away") as connection:
            connection.exec_driver_sql(f"DELETE FROM verdigris_evidence WHERE digest = '{reference}'")
        [problem] = told.verified().problems
        assert reference in problem.what
        assert len(told.guard.erased()) <= DIGESTS_MAX
