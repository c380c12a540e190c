"""`verdigris audit`: what an auditor does with a record. Works on files alone; no guard need run."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from verdigris.audit import verify as verifier
from verdigris.audit.pack import write_pack
from verdigris.audit.record import KEYS_FILE, LOG_FOLDER, EvidenceFiles, Record, open_record
from verdigris.audit.replay import Answer, Replayed, replay
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.output import finish
from verdigris.comparison.terminal import visible
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.statement import rfc3339
from verdigris.server.connection import state_folder

VERIFY_EPILOG = """[bold]Examples[/]

  verdigris audit verify                                          # the record of the guard on this machine
  verdigris audit verify /mnt/copy/ledger --key "$(cat bank.vkey)" --checkpoint march.checkpoint

[bold]Exit codes[/]: 0 nothing is wrong (what was not proven is said), 1 something is wrong, 66 there is no record.
"""
REPLAY_EPILOG = """[bold]Examples[/]

  verdigris audit replay latest

[bold]Exit codes[/]: 0 every verdict is the same again, 1 one is not, 2 one could not be compared (another judge, erased evidence).
"""
EXPORT_EPILOG = """[bold]Examples[/]

  verdigris audit export latest --output pack.zip
  unzip pack.zip -d pack && cd pack && python verify.py pack . --key "$KEY"
"""
POPULATION_EPILOG = """[bold]Examples[/]

  verdigris audit population --from 2026-03-01 --to 2026-04-01
"""

app = typer.Typer(
    help="What an auditor does with a record: verify, show, replay, export. Needs no guard.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
State = Annotated[Path | None, typer.Option("--state", metavar="FOLDER", help="The guard's state folder; default: .verdigris.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Rollout = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Its id, a unique beginning of it, or latest.")]


@app.command("verify", epilog=VERIFY_EPILOG)
def verify_command(
    log: Annotated[Path | None, typer.Argument(metavar="[LOG]", help="A log's folder; default: the guard's own record.")] = None,
    key: Annotated[list[str] | None, typer.Option(metavar="VKEY", help="A key that is trusted (name+id+key); may be repeated.")] = None,
    checkpoint: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="An earlier checkpoint that somebody kept.")] = None,
    witness: Annotated[list[str] | None, typer.Option(metavar="VKEY", help="A witness's key; may be repeated.")] = None,
    evidence: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Evidence as files, with a LOG.")] = None,
    state: State = None,
    *,
    as_json: Json = False,
) -> int:
    """Verify a whole log, entry by entry, and say what was and what was not proven."""
    earlier = [str(file) for file in checkpoint or ()]
    if log is not None:
        keys = key or _keys_beside(log)
        report = verifier.verify_log(log, keys, witnesses=witness or (), checkpoints=earlier, evidence=evidence)
    else:
        with open_record(state_folder(state)) as record:
            keys = key or [str(one) for one in record.keys]
            files = verifier.Folder(state_folder(state) / LOG_FOLDER, links=True)
            kept = [(str(file), file.read_bytes()) for file in checkpoint or ()]
            report = verifier.verify_log_files(files, keys, witnesses=witness or (), earlier=kept, evidence=EvidenceFiles(record))
    if not key:
        report.not_proven.append("that the log's keys are the right ones: they were taken from beside it (--key)")
    typer.echo(json.dumps(report.document(), indent=2) if as_json else verifier.printed(report), nl=as_json)
    finish()
    return ExitCode.PASS if report.ok else ExitCode.FAIL


@app.command("show")
def show_command(
    rollout: Annotated[str | None, typer.Argument(metavar="[ROLLOUT]", help="One rollout; default: all entries.")] = None,
    state: State = None,
    *,
    as_json: Json = False,
) -> int:
    """Show entries as they stand in the ledger, with what people wrote where that is still kept."""
    with open_record(state_folder(state)) as record:
        entries = record.of(rollout) if rollout is not None else tuple(record.entries())
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


@app.command("replay", epilog=REPLAY_EPILOG)
def replay_command(rollout: Rollout, state: State = None, *, as_json: Json = False) -> int:
    """Judge a rollout again from its evidence, and compare with what was decided then, byte by byte."""
    with open_record(state_folder(state)) as record:
        found = list(replay(record.of(rollout), record.evidence))
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
    if Answer.DIFFERENT in answers:
        return ExitCode.FAIL
    return ExitCode.PASS if answers <= {Answer.SAME} else ExitCode.NOT_ENOUGH_DATA


@app.command("population", epilog=POPULATION_EPILOG)
def population_command(
    since: Annotated[str | None, typer.Option("--from", metavar="DATE", help="Begun at or after, 2026-03-01 (UTC).")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Begun before.")] = None,
    state: State = None,
    *,
    as_json: Json = False,
) -> int:
    """List every rollout of a period, how it ended, and whether its entries are without a gap."""
    first, last = _day(since, 0.0), _day(until, float("inf"))
    with open_record(state_folder(state)) as record:
        rollouts: dict[str, dict[str, object]] = {}
        for entry in record.entries():
            statement = entry.statement
            if statement.rollout is None:
                continue
            row = rollouts.setdefault(
                statement.rollout,
                {"rollout": statement.rollout, "begun": rfc3339(statement.unix_nano), "plan": statement.plan, "entries": 0, "gaps": 0,
                 "ended": None, "verdict": None, "first": entry.index, "unix_s": statement.unix_nano / 1e9},
            )  # fmt: skip
            row["entries"] = int(str(row["entries"])) + 1
            row["gaps"] = int(str(row["gaps"])) + (statement.sequence != row["entries"])
            if statement.kind is Kind.VERDICT:
                row["verdict"] = statement.values["verdict"]
            if statement.kind is Kind.ROLLOUT_ENDED:
                row["ended"] = statement.values["phase"]
        size = record.checkpoint.size
    chosen = [row for row in rollouts.values() if first <= float(str(row.pop("unix_s"))) < last]
    if as_json:
        typer.echo(json.dumps({"schema": "verdigris.population/1", "log_size": size, "rollouts": chosen}, indent=2))
    else:
        for row in chosen:
            ended = row["ended"] or "OPEN: it has no end in the record"
            gaps = f", {row['gaps']} GAPS" if row["gaps"] else ""
            typer.echo(f"{row['rollout']}  {str(row['begun'])[:19]}  {ended}  {row['verdict'] or ''}  {row['entries']} entries{gaps}")
        typer.echo(f"{len(chosen)} rollouts in {size} entries; `verdigris audit verify` shows that none was taken out")
    finish()
    return ExitCode.FAIL if any(row["gaps"] for row in chosen) else ExitCode.PASS


@app.command("export", epilog=EXPORT_EPILOG)
def export_command(
    rollout: Rollout,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The zip file; replaced if it is there.")] = Path("evidence-pack.zip"),
    state: State = None,
) -> int:
    """Write everything that shows what one rollout did into a zip file that verifies itself."""
    with open_record(state_folder(state)) as record:
        files = write_pack(record, record.of(rollout), output)
        keys = " ".join(f'--key "{key}"' for key in record.keys)
    said = Console(stderr=True)
    said.print(f"{output}: {files} files. Whoever has it verifies it with:", highlight=False, markup=False, soft_wrap=True)
    said.print(f"  python verify.py pack . {keys}", highlight=False, markup=False, soft_wrap=True)
    return ExitCode.PASS


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
