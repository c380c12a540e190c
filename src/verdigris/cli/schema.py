"""`verdigris schema`: the JSON Schema of a plan, of what `--json` prints, and of the entries of a ledger."""

import json
from enum import StrEnum

import typer

from verdigris.comparison.document import json_schema
from verdigris.ledger.entry_schema import json_schema as record_schema
from verdigris.plan.document import schema_text as plan_schema_text
from verdigris.scanning.document import json_schema as scan_schema
from verdigris.server.wire import json_schema as rollout_schema


class Document(StrEnum):
    """Documents with a schema."""

    COMPARE = "compare"
    PLAN = "plan"
    RECORD = "record"
    ROLLOUT = "rollout"
    SCAN = "scan"


def schema_text(document: Document) -> str:
    """The schema as text, ending in a newline."""
    match document:
        case Document.COMPARE:
            return json.dumps(json_schema(), indent=2) + "\n"
        case Document.PLAN:
            return plan_schema_text()
        case Document.RECORD:
            return json.dumps(record_schema(), indent=2) + "\n"
        case Document.ROLLOUT:
            return json.dumps(rollout_schema(), indent=2) + "\n"
        case Document.SCAN:
            return json.dumps(scan_schema(), indent=2) + "\n"


def schema_command(document: Document = typer.Argument(help="Which document.")) -> None:  # noqa: B008  # Typer's way
    """Print the JSON Schema of a document."""
    typer.echo(schema_text(document), nl=False)
