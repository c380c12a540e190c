"""`verdigris schema`: the JSON Schema of what `--json` prints."""

import json
from enum import StrEnum

import typer

from verdigris.comparison.document import json_schema


class Document(StrEnum):
    """Documents with a schema."""

    COMPARE = "compare"


def schema_text(document: Document) -> str:
    """The schema as text, ending in a newline."""
    assert document is Document.COMPARE  # noqa: S101  # the only one so far; a second must be told apart here
    return json.dumps(json_schema(), indent=2) + "\n"


def schema_command(document: Document = typer.Argument(help="Which document.")) -> None:  # noqa: B008  # Typer's way
    """Print the JSON Schema of a document."""
    typer.echo(schema_text(document), nl=False)
