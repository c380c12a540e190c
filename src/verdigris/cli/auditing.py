"""What the commands of `verdigris audit` do and print. Works on files alone; no guard need run."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import typer
from rich.console import Console

from verdigris.audit import verify as verifier
from verdigris.audit.erased import erased_by
from verdigris.audit.errors import CannotExport, NoRecord, NoSuchEntry
from verdigris.audit.pack import write_pack
from verdigris.audit.record import Entry, EvidenceFiles, Record, is_url, open_record
from verdigris.audit.replay import Answer, Replayed, replay
from verdigris.audit.reports import as_html, as_pdf, made_report
from verdigris.audit.traffic import Unexplained, unexplained
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.output import finish
from verdigris.comparison.terminal import visible
from verdigris.compliance.answers import State as ControlState
from verdigris.compliance.assess import Assessed, assess
from verdigris.compliance.catalogue import CATALOGUE, Control, control_of
from verdigris.compliance.consent import Review, reviews_of
from verdigris.compliance.oscal import assessment_results, poam
from verdigris.compliance.sarif import findings_sarif
from verdigris.compliance.summary import summary
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.note import Note, VerifierKey
from verdigris.ledger.signing import KEYS_FILE
from verdigris.ledger.stamps import files_of
from verdigris.ledger.storage import LOG_FOLDER
from verdigris.ledger.timestamp import Authority, stamp_by
from verdigris.server.connection import STATE_VARIABLE, state_folder
from verdigris.times import NANO, rfc3339


def verify_record(
    log: str | None,
    key: list[str] | None,
    checkpoint: list[Path] | None,
    witness: list[str] | None,
    evidence: Path | None,
    stamps: Path | None,
    stamp_roots: list[Path] | None,
    state: str | None,
    *,
    as_json: bool,
) -> int:
    """Verify a whole log, entry by entry, and say what was and what was not proven."""
    with _told_as_ours():
        report = _verified(log, key, [str(file) for file in checkpoint or ()], witness or (), evidence, stamps, stamp_roots or (), state)
    if not key:
        report.not_proven.append("that the log's keys are the right ones: they were taken from beside it (--key)")
    typer.echo(json.dumps(report.document(), indent=2) if as_json else verifier.printed(report), nl=as_json)
    finish()
    return ExitCode.PASS if report.ok else ExitCode.FAIL


@contextlib.contextmanager
def _told_as_ours() -> Iterator[None]:
    """The verifier shares nothing with us, not even errors."""
    try:
        yield
    except verifier.Unreadable as error:
        raise NoRecord(str(error)) from error


def _verified(
    log: str | None, key: list[str] | None, earlier: Sequence[str], witnesses: Sequence[str], evidence: Path | None, stamps: Path | None,
    roots: Sequence[Path], state: str | None,
) -> verifier.Report:  # fmt: skip
    if log is not None and not is_url(log):
        keys = key or _keys_beside(Path(log))
        return verifier.verify_log(
            log, keys, witnesses=witnesses, checkpoints=earlier, evidence=evidence, stamps=stamps, stamp_roots=roots
        )  # fmt: skip
    with open_record(_place(log or state), [VerifierKey.parse(one) for one in key or ()]) as record:
        keys = key or [str(one) for one in record.keys]
        return verifier.verify_log_files(
            _log_files(record, log or state), keys, witnesses=witnesses, earlier=verifier.held_checkpoints(earlier),
            evidence=None if log is not None else EvidenceFiles(record), stamp_roots=roots,
            stamps=record.stamp_files() if stamps is None else verifier.stamps_in(stamps),
        )  # fmt: skip


def _place(state: str | None) -> Path | str:
    """Where the record is: a state folder, or the URL of a database."""
    text = state or os.environ.get(STATE_VARIABLE) or ""
    return text if is_url(text) else state_folder(Path(text) if text else None)


def _log_files(record: Record, state: str | None) -> verifier.Files:
    """The log's files: on disk as they are there, so that a pipe or a link is told as such."""
    place = _place(state)
    return verifier.Folder(place / LOG_FOLDER, links=True) if isinstance(place, Path) else record.log_files()


def stamp_head(authority: Authority, output: Path, state: str | None) -> int:
    """Have the record's head stamped with a time, and write both into a folder. The record itself is not changed."""
    with open_record(_place(state)) as record:
        stamp = stamp_by(record.head.text, authority)
        files, size = files_of(record.head, authority, stamp), record.checkpoint.size
    _write(output, files)
    typer.echo(
        f"{output}: {', '.join(files)}; {authority.name} has stamped the head of {size} entries at {stamp.time:%Y-%m-%d %H:%M:%S} UTC"
    )
    finish()
    return ExitCode.PASS


def show(rollout: str | None, state: str | None, *, as_json: bool) -> int:
    """Show entries as they stand in the ledger, with what people wrote where that is still kept."""
    with open_record(_place(state)) as record:
        entries = record.of(rollout) if rollout is not None else record.entries()
        for entry in entries:
            statement = entry.statement
            details = _details(record, statement.details)
            who = _details(record, statement.actor.card).get("name", f"erased ({statement.actor.card[:8]})")
            if as_json:
                said = {"index": entry.index, "statement": json.loads(statement.payload()), "details": details, "actor": who}
                typer.echo(json.dumps(said, sort_keys=True))
            else:
                late = " (entered late)" if statement.late else ""
                text = visible(str(details.get("text", "erased")))
                typer.echo(
                    f"{entry.index:>6}  {rfc3339(statement.unix_nano)[:19]}  {statement.kind.value:<18} {text}{late}  ({visible(str(who))})"
                )
    finish()
    return ExitCode.PASS


def replay_verdicts(rollout: str, state: str | None, *, as_json: bool) -> int:
    """Judge a rollout again from its evidence, and compare with what was decided then, byte by byte."""
    with open_record(_place(state)) as record:
        found = list(replay(record.of(rollout), record.evidence, erased_by(record.erasures())))
    if as_json:
        told = [{**{n: getattr(one, n) for n in Replayed.__slots__}, "answer": one.answer.value} for one in found]
        typer.echo(json.dumps({"schema": "verdigris.replay/1", "verdicts": told}, indent=2))
    else:
        for one in found:
            why = f": {one.why}" if one.why else ""
            typer.echo(f"entry {one.index}  {one.verdict:<16} {one.looks:>5} looks  {one.answer.value}{why}  [judge {one.judge_then}]")
        typer.echo(_ending(found))
    finish()
    answers = {one.answer for one in found}
    if answers & {Answer.DIFFERENT, Answer.EVIDENCE_MISSING}:
        return ExitCode.FAIL
    return ExitCode.PASS if answers <= {Answer.SAME} else ExitCode.NOT_ENOUGH_DATA


def list_population(since: str | None, until: str | None, state: str | None, *, as_json: bool) -> int:
    """List every rollout of a period, how it ended, whether its entries are without a gap, and traffic that no rollout explains."""
    first, last = _day(since, 0.0), _day(until, float("inf"))
    with open_record(_place(state)) as record:
        rollouts = [_member(name, entries) for name, entries in record.rollouts().items() if first <= _begun_unix_s(entries) < last]
        moved = [one for one in unexplained(record.entries()) if first <= one.unix_nano / NANO < last]
        size = record.checkpoint.size
        reviews = [one for one in reviews_of(record.reviews()[0], record.evidence) if one.open]
    now = time.time()
    if as_json:
        told = {"rollouts": rollouts, "traffic": [_traffic(one) for one in moved], "open_reviews": [_review(one, now) for one in reviews]}
        typer.echo(json.dumps({"schema": "verdigris.population/1", "log_size": size, **told}, indent=2))
    else:
        for row in rollouts:
            ended = row["ended"] or "OPEN: it has no end in the record"
            gaps = f", {row['gaps']} GAPS" if row["gaps"] else ""
            typer.echo(f"{row['rollout']}  {str(row['begun'])[:19]}  {ended}  {row['verdict'] or ''}  {row['entries']} entries{gaps}")
        for one in moved:
            typer.echo(f"NO ROLLOUT EXPLAINS IT: {one.words}; rollout {one.rollout or 'unknown'}")
        for review in reviews:
            typer.echo(_review_line(review, now))
        typer.echo(f"{len(rollouts)} rollouts in {size} entries; `verdigris audit verify` shows that none was taken out")
    finish()
    return ExitCode.FAIL if moved or any(row["gaps"] for row in rollouts) else ExitCode.PASS


def export(rollout: str, output: Path, checkpoint: list[Path] | None, state: str | None) -> int:
    """Write everything that shows what one rollout did into a zip file that verifies itself."""
    with _told_as_ours():
        held = [Note.parse(note) for _, note in verifier.held_checkpoints([str(file) for file in checkpoint or ()])]
    with open_record(_place(state)) as record:
        files = write_pack(record, record.of(rollout), output, held)
        keys = " ".join(f'--key "{key}"' for key in record.keys)
    said = Console(stderr=True)
    said.print(f"{output}: {files} files. Whoever has it verifies it with:", highlight=False, markup=False, soft_wrap=True)
    said.print(f"  python verify.py pack . {keys}", highlight=False, markup=False, soft_wrap=True)
    return ExitCode.PASS


def show_control(control: str | None, since: str | None, until: str | None, state: str | None, *, listing: bool, as_json: bool) -> int:
    """Show what evidence there is for a control, and from which rollouts. Nothing is called compliant: that is the auditor's word."""
    if listing:
        _list_controls(as_json=as_json)
        finish()
        return ExitCode.PASS
    asked = None if control is None else control_of(control)
    if asked is None:
        msg = "name a control" if control is None else f"there is no control {control!r}"
        raise typer.BadParameter(f"{msg}; `verdigris audit control --list` lists them")  # noqa: TRY003, EM102  # as Typer shows it
    first, last, now = _day(since, 0.0), _day(until, float("inf")), time.time()
    with open_record(_place(state)) as record:
        ledger, _ = record.reviews()
        found = {
            str(entries[0].statement.rollout): assess(entries, record.evidence, (asked,), ledger=ledger, as_of_unix_s=now).controls[0]
            for entries in record.rollouts().values() if first <= _begun_unix_s(entries) < last
        }  # fmt: skip
    if as_json:
        told = [{"rollout": name, **_answer(one)} for name, one in found.items()]
        typer.echo(json.dumps({"schema": "verdigris.control/1", **_control(asked), "rollouts": told}, indent=2))
    else:
        typer.echo(f"{asked.key}: {asked.title} ({asked.framework.value.name} {asked.framework.value.version})")
        for name, one in found.items():
            typer.echo(f"{name}  {one.answer.state.value}{_where(one.answer.entries)}: {visible(one.answer.why)}")
            for part in one.answer.lacking:
                typer.echo(f"    not shown: {part}")
        count = {state: sum(one.answer.state is state for one in found.values()) for state in ControlState}
        typer.echo(f"{len(found)} rollouts: " + ", ".join(f"{number} {state.value}" for state, number in count.items()))
    finish()
    states = {one.answer.state for one in found.values()}
    if ControlState.CONTRADICTED in states:
        return ExitCode.FAIL
    return ExitCode.PASS if states == {ControlState.EVIDENCED} else ExitCode.NOT_ENOUGH_DATA


def write_oscal(rollout: str, output: Path | None, state: str | None, *, as_json: bool) -> int:
    """Write what a rollout says of controls as OSCAL 1.2.1: assessment results, and a draft plan of action and milestones."""
    if (output is None) is not as_json:
        msg = "say where the documents go (--output DIR), or print one (--json)"
        raise typer.BadParameter(msg)
    with open_record(_place(state)) as record:
        ledger, as_of_unix_s = record.reviews()
        assessment = assess(record.of(rollout), record.evidence, ledger=ledger, as_of_unix_s=as_of_unix_s)
        files = {"assessment-results.json": assessment_results(assessment), "poam.json": poam(assessment)}
    if output is None:
        typer.echo(files["assessment-results.json"].decode(), nl=False)
    else:
        _write(output, files)
        count = ", ".join(f"{len(assessment.of(one))} {one.value}" for one in ControlState)
        typer.echo(f"{output}: {', '.join(files)}; controls: {count}")
    finish()
    return ExitCode.FAIL if assessment.of(ControlState.CONTRADICTED) else ExitCode.PASS


def print_sarif(rollout: str, state: str | None) -> int:
    """Print what the judge found in a rollout as SARIF 2.1.0."""
    with open_record(_place(state)) as record:
        typer.echo(findings_sarif(record.of(rollout), record.evidence).decode(), nl=False)
    finish()
    return ExitCode.PASS


def print_summary(rollout: str, state: str | None) -> int:
    """Print what holds of a rollout that has ended, as an in-toto statement (Simple Verification Result v0.2)."""
    with open_record(_place(state)) as record:
        entries = record.of(rollout)
        statement = summary(entries, record.evidence)
    if statement is None:
        msg = f"the rollout {entries[0].statement.rollout} has not ended: there is nothing to sum up yet"
        raise NoSuchEntry(msg)
    typer.echo(statement.decode())
    finish()
    return ExitCode.PASS


def _list_controls(*, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"schema": "verdigris.controls/1", "controls": [_control(one) for one in CATALOGUE]}, indent=2))
        return
    width = max(len(one.key) for one in CATALOGUE)
    for one in CATALOGUE:
        typer.echo(f"{one.key:<{width}}  {one.title}")


def _begun_unix_s(entries: Sequence[Entry]) -> float:
    return entries[0].statement.unix_nano / NANO


def _member(name: str, entries: Sequence[Entry]) -> dict[str, object]:
    """One rollout of a population: what became of it, and how many of its entries are not where they should be."""
    first = entries[0]
    said = [entry.statement for entry in entries]
    verdicts = [one.values["verdict"] for one in said if one.kind is Kind.VERDICT]
    ends = [one.values["phase"] for one in said if one.kind is Kind.ROLLOUT_ENDED]
    return {
        "rollout": name, "begun": rfc3339(first.statement.unix_nano), "plan": first.statement.plan, "entries": len(entries),
        "gaps": sum(one.sequence != place for place, one in enumerate(said, 1)), "ended": ends[-1] if ends else None,
        "verdict": verdicts[-1] if verdicts else None, "first": first.index,
    }  # fmt: skip


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Raises: CannotExport."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        msg = f"{folder} cannot be written: {error.strerror or error}"
        raise CannotExport(msg) from error


def _review(review: Review, now_unix_s: float) -> dict[str, object]:
    """A review that is open: in whatever rollout of the ledger, whenever that was."""
    by = review.override and review.override.given
    return {
        "rollout": review.rollout, "entry": review.entry, "override": review.of, "due": rfc3339(review.due_unix_s * NANO),
        "overdue": review.overdue(now_unix_s), "by": by.person.name if by else None, "role": by.approval.role.value if by else None,
        "reason": by.approval.reason if by else None,
    }  # fmt: skip


def _review_line(review: Review, now_unix_s: float) -> str:
    by = review.override and review.override.given
    who = (
        visible(f"{by.person.name}, as {by.approval.role.value}: {by.approval.reason}")
        if by
        else "somebody who was erased, or is not shown"
    )
    late = ", OVERDUE" if review.overdue(now_unix_s) else ""
    due = rfc3339(review.due_unix_s * NANO)[:10]
    return f"OPEN REVIEW of an override of a freeze in {review.rollout} (entry {review.entry}), due {due}{late}; overridden by {who}"


def _control(control: Control) -> dict[str, object]:
    edition = control.framework.value
    return {
        "control": control.key, "framework": edition.name, "version": edition.version, "identifier": control.identifier,
        "title": control.title,
    }  # fmt: skip


def _answer(one: Assessed) -> dict[str, object]:
    answer = one.answer
    return {"state": answer.state.value, "entries": list(answer.entries), "why": answer.why, "lacking": list(answer.lacking)}


def _where(entries: Sequence[int]) -> str:
    """Indices for people: what follows on each other as one range."""
    if not entries:
        return ""
    ranges: list[list[int]] = []
    for index in entries:
        if ranges and ranges[-1][-1] + 1 == index:
            ranges[-1] = [ranges[-1][0], index]
        else:
            ranges.append([index, index])
    return " by entries " + ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in ranges)


def _traffic(one: Unexplained) -> dict[str, object]:
    return {
        "index": one.index, "time": rfc3339(one.unix_nano), "rollout": one.rollout, "running": one.running,
        "candidate_percent": one.percent, "expected_percent": one.expected_percent, "committed": one.committed,
    }  # fmt: skip


def _ending(found: list[Replayed]) -> str:
    same = sum(one.answer is Answer.SAME for one in found)
    return f"{same} of {len(found)} verdicts are the same again, byte by byte" if found else "the rollout has no verdict"


def _details(record: Record, digest: str | None) -> dict[str, object]:
    blob = None if digest is None else record.evidence(digest)
    document = {} if blob is None else json.loads(blob)
    return document if isinstance(document, dict) else {}


def _keys_beside(log: Path) -> list[str]:
    file = log.resolve().parent / KEYS_FILE
    return file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []


def _day(text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        return datetime.strptime(text + " +0000", "%Y-%m-%d %z").timestamp()
    except ValueError as error:
        msg = f"{text!r} is no day; write 2026-03-01"
        raise typer.BadParameter(msg) from error


def write_report(rollout: str, html: Path | None, pdf: Path | None, state: str | None) -> int:
    """Write the report of one rollout for people: what changed, who asked, what was seen and decided, how it ended, how to verify it."""
    if html is None and pdf is None:
        msg = "say where the report goes: --html FILE, --pdf FILE, or both"
        raise typer.BadParameter(msg)
    with open_record(_place(state)) as record:
        report = made_report(record, record.of(rollout))
    said = Console(stderr=True)
    for file, made in ((html, as_html), (pdf, as_pdf)):
        if file is None:
            continue
        content = made(report)
        try:
            file.write_bytes(content)
        except OSError as error:
            msg = f"{file} cannot be written: {error.strerror or error}"
            raise CannotExport(msg) from error
        said.print(f"{file}: {len(content):,} bytes", highlight=False, markup=False, soft_wrap=True)
    return ExitCode.PASS
