"""`verdigris audit`: what an auditor does with a record, as arguments and help. What is done is in `auditing`."""

from pathlib import Path
from typing import Annotated

import typer

VERIFY_EPILOG = """[bold]Examples[/]

  verdigris audit verify                                          # the record of the guard on this machine
  verdigris audit verify /mnt/copy/ledger --key "$(cat bank.vkey)" --checkpoint march.checkpoint
  verdigris audit verify --stamp-roots authorities.pem            # and the time stamps beside it
  verdigris audit verify --state postgresql://auditor@db.example/verdigris --key "$(cat bank.vkey)"

[bold]Exit codes[/]: 0 nothing is wrong (what was not proven is said), 1 something is wrong, 66 there is no record.
"""
STAMP_EPILOG = """[bold]Examples[/]

  verdigris audit stamp --url https://tsa.example/ --roots authorities.pem --output march
  verdigris audit verify --stamps march --stamp-roots authorities.pem --checkpoint march/301.checkpoint

[bold]Exit codes[/]: 0 stamped, 1 no stamp, or none by an authority under these roots, 66 there is no record, 73 a file cannot be written.
"""
REPLAY_EPILOG = """[bold]Examples[/]

  verdigris audit replay latest

[bold]Exit codes[/]: 0 every verdict is the same again, 1 one is not, or what it rests on is missing without an entry, 2 one could
not be compared (another judge, evidence that the ledger calls erased).
"""
EXPORT_EPILOG = """[bold]Examples[/]

  verdigris audit export latest --output pack.zip
  unzip pack.zip -d pack && cd pack && python verify.py pack . --key "$KEY"

  verdigris audit export latest --checkpoint march.checkpoint   # and that the log continues what its reader holds
"""
POPULATION_EPILOG = """[bold]Examples[/]

  verdigris audit population --from 2026-03-01 --to 2026-04-01

[bold]Exit codes[/]: 0 every rollout is without a gap and explains the traffic, 1 one has gaps, or traffic changed that no rollout explains,
66 there is no record.
"""
CONTROL_EPILOG = """[bold]Examples[/]

  verdigris audit control --list
  verdigris audit control PCI-DSS-4.0.1:6.5.1 --from 2026-03-01 --to 2026-04-01
  verdigris audit control "NIST-800-53r5:CM-3(2)" --json

[bold]Exit codes[/]: 0 every rollout of the period evidences it, 1 one contradicts it, 2 one does not cover it, or there is none, 64 no such
control, 66 there is no record.
"""
OSCAL_EPILOG = """[bold]Examples[/]

  verdigris audit oscal latest --output oscal
  verdigris audit oscal latest --json | jq '."assessment-results".results[0].findings'

[bold]Exit codes[/]: 0 nothing is contradicted, 1 a control is, 66 there is no such rollout, 73 a file cannot be written.
"""
SARIF_EPILOG = """[bold]Examples[/]

  verdigris audit sarif latest > findings.sarif

[bold]Exit codes[/]: 0 the document was printed (whatever is in it), 66 there is no such rollout.
"""
SUMMARY_EPILOG = """[bold]Examples[/]

  verdigris audit summary latest | jq .predicate.properties

[bold]Exit codes[/]: 0 the statement was printed (whatever it says), 66 there is no such rollout, or it has not ended.
"""

REPORT_EPILOG = """[bold]Examples[/]

  verdigris audit report latest --html report.html
  verdigris audit report 20260921-141320-d367 --html report.html --pdf report.pdf

[bold]Exit codes[/]: 0 written (whatever it says), 66 there is no such rollout, 73 a file cannot be written.
"""

app = typer.Typer(
    help="What an auditor does with a record: verify, show, replay, export. Needs no guard.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
State = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="FOLDER|URL",
        help="The guard's state folder (default: .verdigris), or postgresql://user@host/database (its password: PGPASSWORD, PGPASSFILE).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Rollout = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Its id, a unique beginning of it, or latest.")]


@app.command("verify", epilog=VERIFY_EPILOG)
def verify_command(
    log: Annotated[
        str | None, typer.Argument(metavar="[LOG]", help="A log alone, by its folder or URL; default: the guard's own record.")
    ] = None,
    key: Annotated[list[str] | None, typer.Option(metavar="VKEY", help="A key that is trusted (name+id+key); may be repeated.")] = None,
    checkpoint: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="An earlier checkpoint that somebody kept.")] = None,
    witness: Annotated[list[str] | None, typer.Option(metavar="VKEY", help="A witness's key; may be repeated.")] = None,
    evidence: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Evidence as files, with a LOG.")] = None,
    stamps: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Time stamps; default: those beside the log.")] = None,
    stamp_roots: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="PEM file: what time stamps must lead to; may be repeated.")
    ] = None,
    state: State = None,
    *,
    as_json: Json = False,
) -> int:
    """Verify a whole log, entry by entry, and say what was and what was not proven."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.verify_record(log, key, checkpoint, witness, evidence, stamps, stamp_roots, state, as_json=as_json)


@app.command("stamp", epilog=STAMP_EPILOG)
def stamp_command(
    roots: Annotated[Path, typer.Option(metavar="FILE", help="PEM file: what the authority's certificate must lead to.")],
    url: Annotated[str, typer.Option(metavar="URL", help="Where a time stamping authority answers (RFC 3161).")],
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file: whom its https certificate must be from.")] = None,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the head and its stamp are written.")] = Path("stamps"),
    state: State = None,
) -> int:
    """Have the record's head stamped with a time by an authority of your own, and keep both. The record is not changed."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load
    from verdigris.ledger.timestamp import Authority, read_roots  # noqa: PLC0415  # as above

    return auditing.stamp_head(Authority(read_roots(roots), url, ca=ca), output, state)


@app.command("show")
def show_command(
    rollout: Annotated[str | None, typer.Argument(metavar="[ROLLOUT]", help="One rollout; default: all entries.")] = None,
    state: State = None,
    *,
    as_json: Json = False,
) -> int:
    """Show entries as they stand in the ledger, with what people wrote where that is still kept."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.show(rollout, state, as_json=as_json)


@app.command("replay", epilog=REPLAY_EPILOG)
def replay_command(rollout: Rollout, state: State = None, *, as_json: Json = False) -> int:
    """Judge a rollout again from its evidence, and compare with what was decided then, byte by byte."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.replay_verdicts(rollout, state, as_json=as_json)


@app.command("population", epilog=POPULATION_EPILOG)
def population_command(
    since: Annotated[str | None, typer.Option("--from", metavar="DATE", help="Begun at or after, 2026-03-01 (UTC).")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Begun before.")] = None,
    state: State = None,
    *,
    as_json: Json = False,
) -> int:
    """List every rollout of a period, how it ended, gaps, traffic that no rollout explains, and every review that is open."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.list_population(since, until, state, as_json=as_json)


@app.command("export", epilog=EXPORT_EPILOG)
def export_command(
    rollout: Rollout,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The zip file; replaced if it is there.")] = Path("evidence-pack.zip"),
    checkpoint: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A checkpoint that its reader holds; may be repeated.")
    ] = None,
    state: State = None,
) -> int:
    """Write everything that shows what one rollout did into a zip file that verifies itself."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.export(rollout, output, checkpoint, state)


@app.command("control", epilog=CONTROL_EPILOG)
def control_command(
    control: Annotated[str | None, typer.Argument(metavar="[CONTROL]", help="Framework, version and identifier.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="DATE", help="Rollouts begun at or after, 2026-03-01 (UTC).")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Begun before.")] = None,
    state: State = None,
    *,
    listing: Annotated[bool, typer.Option("--list", help="List all controls that are known.")] = False,
    as_json: Json = False,
) -> int:
    """Show what evidence there is for a control, and from which rollouts. Nothing is called compliant: that is the auditor's word."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.show_control(control, since, until, state, listing=listing, as_json=as_json)


@app.command("oscal", epilog=OSCAL_EPILOG)
def oscal_command(
    rollout: Rollout,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Where assessment-results.json and poam.json go.")] = None,
    state: State = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the assessment results instead.")] = False,
) -> int:
    """Write what a rollout says of controls as OSCAL 1.2.1: assessment results, and a draft plan of action and milestones."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.write_oscal(rollout, output, state, as_json=as_json)


@app.command("sarif", epilog=SARIF_EPILOG)
def sarif_command(rollout: Rollout, state: State = None) -> int:
    """Print what the judge found in a rollout as SARIF 2.1.0."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.print_sarif(rollout, state)


@app.command("summary", epilog=SUMMARY_EPILOG)
def summary_command(rollout: Rollout, state: State = None) -> int:
    """Print what holds of a rollout that has ended, as an in-toto statement (Simple Verification Result v0.2)."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.print_summary(rollout, state)


@app.command("report", epilog=REPORT_EPILOG)
def report_command(
    rollout: Rollout,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as one HTML file that needs nothing else.")] = None,
    pdf: Annotated[Path | None, typer.Option("--pdf", metavar="FILE", help="Write it as a PDF.")] = None,
    state: State = None,
) -> int:
    """Write the report of one rollout for people: what changed, who asked, what was seen and decided, how it ended, how to verify it."""
    from verdigris.cli import auditing  # noqa: PLC0415  # an auditor's rooms take a second to load

    return auditing.write_report(rollout, html, pdf, state)
