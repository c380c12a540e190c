"""`verdigris plan`: check a plan, begin a new one, look its fields up."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from verdigris.cli.compare import CannotWrite
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.output import finish
from verdigris.plan.document import BYTES_MAX, CheckedPlan, InvalidPlan, Problem, check_plan
from verdigris.plan.example import example_plan
from verdigris.plan.plan import Plan, Required
from verdigris.plan.reference import reference
from verdigris.plan.scalars import duration_text

EXCERPT_CHARS = 110
"""So much of a source line is shown around what is wrong."""

CHECK_EPILOG = """[bold]Examples[/]

  verdigris plan check plan.yaml

  verdigris plan check plans/*.yaml --json

  cat plan.yaml | verdigris plan check -

[bold]Exit codes[/]: 0 all plans are valid (there may be warnings), 65 a plan is invalid, 66 a file cannot be read, 64 wrong call.
"""

NEW_EPILOG = """[bold]Examples[/]

  verdigris plan new --output plan.yaml

  verdigris plan new --adapter haproxy > plan.yaml

[bold]Exit codes[/]: 0 written, 73 cannot write, or the file is there already and --force was not given, 64 wrong call.
"""

FIELDS_EPILOG = """[bold]Examples[/]

  verdigris plan fields

  verdigris plan fields | grep lease
"""


class Adapter(StrEnum):
    """Adapters with an example."""

    ENVOY = "envoy"
    HAPROXY = "haproxy"


app = typer.Typer(
    help="Check a plan, begin a new one, look its fields up.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One file: its name, its lines, and what the check said, or why it could not be read."""

    source: str
    lines: tuple[str, ...] = ()
    checked: CheckedPlan | None = None
    problems: tuple[Problem, ...] = ()
    unreadable: str = ""

    @property
    def code(self) -> ExitCode:
        """What this file alone would end with."""
        if self.unreadable:
            return ExitCode.NO_INPUT
        return ExitCode.PASS if self.checked is not None else ExitCode.UNREADABLE


def check_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Plans, YAML or JSON; - is standard input.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,  # noqa: FBT002
) -> int:
    """Check plans: all that is wrong, where, and what to do about it. Nothing is started."""
    outcomes = [_check(name) for name in files]
    if json_output:
        sys.stdout.write(json.dumps([_as_json(outcome) for outcome in outcomes], indent=2, ensure_ascii=False) + "\n")
    else:
        out, errors = Console(), Console(stderr=True)
        for outcome in outcomes:
            _show(outcome, out, errors)
    finish()
    codes = {outcome.code for outcome in outcomes}
    # What is wrong with a plan is more to the point than that another was not found.
    return next((code for code in (ExitCode.UNREADABLE, ExitCode.NO_INPUT) if code in codes), ExitCode.PASS)


def new_command(
    adapter: Annotated[Adapter, typer.Option(help="The proxy that splits the traffic.")] = Adapter.ENVOY,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; else to standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,  # noqa: FBT002
) -> int:
    """Write a complete plan to begin with: every field, commented. It is valid as it is."""
    text = example_plan(adapter)
    if output is None:
        sys.stdout.write(text)
        finish()
    else:
        _write(output, text, force=force)
        Console(stderr=True).print(f"written: {output}; next: verdigris plan check {output}", markup=False, highlight=False, soft_wrap=True)
    return ExitCode.PASS


def fields_command() -> int:
    """Print what every field means, holds and is by default, as Markdown."""
    sys.stdout.write(reference())
    finish()
    return ExitCode.PASS


for _command, _epilog in ((check_command, CHECK_EPILOG), (new_command, NEW_EPILOG), (fields_command, FIELDS_EPILOG)):
    _command.__doc__ = (_command.__doc__ or "") + "\n\n" + _epilog
app.command("check")(check_command)
app.command("new")(new_command)
app.command("fields")(fields_command)


def _check(name: str) -> _Outcome:
    # A name may hold bytes that no text holds; it is shown as far as it can be.
    source = "standard input" if name == "-" else name.encode(errors="surrogateescape").decode(errors="replace")
    try:
        # One byte more than a plan may have, so that the check itself says that it is too long.
        if name == "-":
            content = sys.stdin.buffer.read(BYTES_MAX + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        return _Outcome(source, unreadable=getattr(error, "strerror", None) or str(error))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(content) <= BYTES_MAX or error.start < len(content) - 4:
            line = content.count(b"\n", 0, error.start) + 1
            column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
            return _Outcome(source, problems=(Problem(line, column, "", "this is no UTF-8", "save the file as UTF-8"),))
        text = content.decode("utf-8", "replace")  # cut in the middle of a character; it is too long anyway
    # As YAML counts lines, not as Python does.
    lines = tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    try:
        return _Outcome(source, lines, check_plan(text, source=source))
    except InvalidPlan as error:
        return _Outcome(source, lines, problems=error.problems)


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    result: dict[str, Any] = {"source": outcome.source, "valid": outcome.checked is not None}
    if outcome.checked is not None:
        plan = outcome.checked.plan
        result |= {"name": plan.name, "digest": plan.digest, "steps": [asdict(step) for step in plan.steps]}
        result |= {"minimum_s": _minimum_s(plan), "warnings": [asdict(w) for w in outcome.checked.warnings]}
    else:
        result["problems"] = [asdict(p) for p in outcome.problems]
    return result | ({"error": outcome.unreadable} if outcome.unreadable else {})


def _show(outcome: _Outcome, out: Console, errors: Console) -> None:
    if outcome.unreadable:
        errors.print(Text.assemble(("error", "bold red"), f": {outcome.source}: {outcome.unreadable}"), soft_wrap=True)
    for problem in outcome.problems:
        _show_problem(outcome, problem, "error", "bold red", errors)
    if outcome.problems:
        count = len(outcome.problems)
        errors.print(Text(f"{outcome.source}: {count} problem{'s' if count != 1 else ''}; nothing was started"), soft_wrap=True)
    if outcome.checked is not None:
        for warning in outcome.checked.warnings:
            _show_problem(outcome, warning, "warning", "bold yellow", errors)
        _show_plan(outcome.source, outcome.checked.plan, out)


def _show_problem(outcome: _Outcome, problem: Problem, word: str, style: str, errors: Console) -> None:
    """As compilers do: one line that editors understand, the source line, a caret, what to do."""
    path = f"{problem.path}: " if problem.path else ""
    where = f"{outcome.source}:{problem.line}:{problem.column}: "
    errors.print(Text.assemble(where, (word, style), f": {path}{problem.message}"), soft_wrap=True)
    if problem.line <= len(outcome.lines):
        excerpt, caret = _excerpt(outcome.lines[problem.line - 1], problem.column)
        if excerpt.strip():
            number = str(problem.line)
            errors.print(Text(f"  {number} | {excerpt}"), soft_wrap=True, no_wrap=True)
            errors.print(Text.assemble(f"  {' ' * len(number)} | {' ' * caret}", ("^", style)), soft_wrap=True)
    errors.print(Text(f"  → {problem.suggestion}"), soft_wrap=True)


def _excerpt(line: str, column: int) -> tuple[str, int]:
    """What to show of a line, and how far the caret is in. A terminal obeys nothing in it."""
    shown = "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)
    start = max(0, min(column - 1, len(shown)) - EXCERPT_CHARS // 2) if len(shown) > EXCERPT_CHARS else 0
    before, after = "…" if start else "", "…" if start + EXCERPT_CHARS < len(shown) else ""
    return before + shown[start : start + EXCERPT_CHARS] + after, max(0, column - 1 - start) + len(before)


def _show_plan(source: str, plan: Plan, out: Console) -> None:
    out.print(Text(f"{source}: valid"), soft_wrap=True)
    out.print(Text(f"  name    {plan.name}"), soft_wrap=True)
    out.print(Text(f"  digest  {plan.digest}"), soft_wrap=True)
    table = Table("step", "weight", "at least", "at most", "requires", "gate", "mirror", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, step in enumerate(plan.steps, start=1):
        gate = ", ".join(map(str, step.gate))
        mirror = f"{step.mirror_percent:.12g}%" if step.mirror_percent else ""
        times = (duration_text(step.minimum_s), duration_text(step.maximum_s))
        table.add_row(str(number), f"{step.weight_percent:.12g}%", *times, _required(step.required), gate, mirror)
    out.print(table)
    out.print(
        f"  at least {duration_text(_minimum_s(plan))} in all: {duration_text(plan.observation.reference_s)} reference, "
        f"{duration_text(sum(step.minimum_s for step in plan.steps))} steps, {duration_text(plan.bake_s)} bake",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _required(required: Required) -> str:
    parts = (["pass"] if required.passed else []) + ([f"{required.candidate_requests} requests"] if required.candidate_requests else [])
    return " and ".join(parts)


def _minimum_s(plan: Plan) -> float:
    """Reference, all steps and bake at their shortest."""
    return plan.observation.reference_s + sum(step.minimum_s for step in plan.steps) + plan.bake_s


def _write(file: Path, text: str, *, force: bool) -> None:
    """Write a file that is not there; with `force` replace it as a whole. Raises: CannotWrite."""
    part = file.with_name(f".{file.name}.part") if force else file
    try:
        with part.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
        if force:
            os.replace(part, file)  # noqa: PTH105  # the same call, in the words of POSIX
    except FileExistsError:
        msg = f"{file} is there already and was left as it is; give --force to replace it"
        raise CannotWrite(msg) from None
    except OSError as error:
        if force:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        msg = f"could not write {file}: {error.strerror or error}"
        raise CannotWrite(msg) from error
