"""`verdigris approve`, `refuse` and `review`: read what is asked, sign it with your own key, hand it in."""

import getpass
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.prompt import Confirm

from verdigris.approvals.approval import ENDING, START, Approval, ApprovalDecision, InvalidApproval, SignedApproval
from verdigris.approvals.signing import open_signer
from verdigris.approvals.ssh_signature import ARMORED_BYTES_MAX, SshSignature
from verdigris.cli.compare import CannotWrite
from verdigris.cli.exit_codes import ExitCode
from verdigris.cli.rollout import Ca, Id, Json, Server, State, TokenFile, Where, out, read_text, run_command, say, where_of
from verdigris.plan.gates import ASKABLE, Role
from verdigris.rollout.status import AgreementStatus, GateStatus, ReviewStatus, RolloutError
from verdigris.server import wire
from verdigris.times import NANO

LIFETIME_H = 24.0
"""A give counts for so long, where nobody says otherwise."""

LIFETIME_H_MAX = 30 * 24.0

KEYS = """Your key is asked of your ssh-agent (its only key, or --key FINGERPRINT or FILE.pub), or read from --key FILE (OpenSSH or PEM).
The guard knows you by it: the key must stand in the guard's list of people. Nothing else identifies you."""

APPROVE_EPILOG = f"""[bold]Examples[/]

  verdigris approve                                    what is asked, and, if you agree, your signature

  verdigris approve 3f2a --role security --key ~/.ssh/id_ed25519 --reason 'looked at the findings'

  verdigris approve --withdraw --reason 'a new advisory'

  verdigris approve --override-freeze --reason 'patient data at risk'      loud: it opens a review

  verdigris approve --out approval.json                to sign on another machine:
  ssh-keygen -Y sign -n approval@verdigris.dev -f ~/.ssh/id_ed25519 approval.json
  verdigris approve --document approval.json --signature approval.json.sig

{KEYS}

[bold]Exit codes[/]: 0 signed and counted (or only shown), 2 not signed: you did not agree, 64 wrong call, 66 no such rollout or file,
69 no guard answers, 75 not possible now, 77 not permitted: it would not count; 78 no key to sign with.
"""

REFUSE_EPILOG = f"""[bold]Examples[/]

  verdigris refuse --reason 'the latency finding is real'

  verdigris approve --withdraw --reason 'explained'    takes it back

A refusal keeps the rollout where it is until you withdraw it. To go back to the baseline: verdigris rollout abort.

{KEYS}

[bold]Exit codes[/]: as of verdigris approve.
"""

REVIEW_EPILOG = f"""[bold]Examples[/]

  verdigris review                                     the reviews that are open, and since when they are due

  verdigris review 3f2a --reason 'rightly done; see INC-212'

{KEYS}

[bold]Exit codes[/]: 0 signed, or none is open; 1 some are open (list); else as of verdigris approve.
"""


@dataclass(frozen=True, slots=True)
class _By:
    """How to sign."""

    key: str | None
    role: Role | None
    reason: str
    out: Path | None
    document: Path | None
    signature: Path | None
    agreed: bool


def _option(*names: str, metavar: str | None, help: str) -> Any:  # noqa: A002  # Typer's word
    return typer.Option(*names, metavar=metavar, help=help, show_default=False)


Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", envvar="VERDIGRIS_KEY", help="Fingerprint, .pub file or private key's file.", show_default=False),
]
RoleOption = Annotated[
    str | None, _option("--role", metavar="ROLE", help=f"The role that you act in: {', '.join(r.value for r in ASKABLE)}.")
]
ReasonOption = Annotated[str, _option("--reason", metavar="TEXT", help="Why; it is signed and stands in the record.")]
Yes = Annotated[bool, typer.Option("--yes", help="Sign without being asked; you have read what is shown.")]
Out = Annotated[Path | None, _option("--out", metavar="FILE", help="Only write the document, to be signed elsewhere.")]
Document = Annotated[Path | None, _option("--document", metavar="FILE", help="The document that was signed elsewhere.")]
Signature = Annotated[Path | None, _option("--signature", metavar="FILE", help="Its signature, as ssh-keygen -Y sign wrote it.")]


def approve_command(
    rollout_id: Id = "latest",
    key: Key = None,
    role: RoleOption = None,
    reason: ReasonOption = "",
    hours: Annotated[float, typer.Option(metavar="HOURS", min=0.01, max=LIFETIME_H_MAX, help="How long it counts.")] = LIFETIME_H,
    override_freeze: Annotated[bool, typer.Option("--override-freeze", help="Move on in spite of the freeze; opens a review.")] = False,  # noqa: FBT002
    whole: Annotated[bool, typer.Option("--whole", help="With --override-freeze: for all steps, not only the next.")] = False,  # noqa: FBT002
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back what you have said about the step.")] = False,  # noqa: FBT002
    yes: Yes = False,  # noqa: FBT002
    out_file: Out = None, document: Document = None, signature: Signature = None,
    server: Server = None, token_file: TokenFile = None, ca: Ca = None, state: State = None, json_output: Json = False,  # noqa: FBT002
) -> int:  # fmt: skip
    """Show what a rollout's next step is, and agree to it with a signature.

    Example: verdigris approve latest --reason 'looked at the findings'
    """
    if override_freeze and withdraw:
        msg = "--override-freeze and --withdraw are two things; sign one after the other"
        raise typer.BadParameter(msg)
    if whole and not override_freeze:
        msg = "--whole goes with --override-freeze"
        raise typer.BadParameter(msg)
    decision = (
        ApprovalDecision.OVERRIDE_FREEZE if override_freeze else ApprovalDecision.WITHDRAW if withdraw else ApprovalDecision.GIVE
    )  # fmt: skip
    by = _by(key, role, reason, out_file, document, signature, yes=yes)
    where = where_of(server, token_file, ca, state, None)
    return run_command(
        _say_it(where, rollout_id, decision, by, hours, whole=whole, as_json=json_output),
        "it may have been handed in; see: verdigris approve",
    )


def refuse_command(
    rollout_id: Id = "latest",
    key: Key = None,
    role: RoleOption = None,
    reason: ReasonOption = "",
    yes: Yes = False,  # noqa: FBT002
    out_file: Out = None, document: Document = None, signature: Signature = None,
    server: Server = None, token_file: TokenFile = None, ca: Ca = None, state: State = None, json_output: Json = False,  # noqa: FBT002
) -> int:  # fmt: skip
    """Refuse a rollout's next step, with a signature and a reason.

    Example: verdigris refuse latest --reason 'the latency finding is real'
    """
    by = _by(key, role, reason, out_file, document, signature, yes=yes)
    where = where_of(server, token_file, ca, state, None)
    return run_command(
        _say_it(where, rollout_id, ApprovalDecision.REFUSE, by, LIFETIME_H, whole=False, as_json=json_output),
        "it may have been handed in; see: verdigris approve",
    )


def review_command(
    rollout_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The rollout whose override you have looked at.")] = None,
    key: Key = None,
    role: RoleOption = None,
    reason: ReasonOption = "",
    yes: Yes = False,  # noqa: FBT002
    out_file: Out = None, document: Document = None, signature: Signature = None,
    server: Server = None, token_file: TokenFile = None, ca: Ca = None, state: State = None, json_output: Json = False,  # noqa: FBT002
) -> int:  # fmt: skip
    """List the reviews of overridden freezes, or sign one.

    Example: verdigris review latest --reason 'rightly done'
    """
    where = where_of(server, token_file, ca, state, None)
    if rollout_id is None:
        return run_command(_list_reviews(where, as_json=json_output), "nothing was changed")
    by = _by(key, role, reason, out_file, document, signature, yes=yes)
    return run_command(_review(where, rollout_id, by, as_json=json_output), "it may have been handed in; see: verdigris review")


async def _say_it(
    where: Where, rollout_id: str, decision: ApprovalDecision, by: _By, hours: float, *, whole: bool, as_json: bool
) -> int:  # fmt: skip
    async with where.control() as control:
        asked = await control.agreement(rollout_id)
        if by.document is not None:
            after = await control.sign(asked.rollout, _signed_elsewhere(by))
            return _told(after, as_json=as_json)
        _show(asked, decision, quiet=as_json)
        step = START if whole else asked.step
        shown = None if decision is ApprovalDecision.OVERRIDE_FREEZE or asked.shown is None else _digest(asked.shown)
        if decision is ApprovalDecision.GIVE and not asked.asked:
            msg = f"rollout {asked.rollout} asks nobody now; nothing was signed"
            raise RolloutError(msg)
        role = by.role or _role(asked, decision)
        approval = _approval(decision, asked.rollout, asked.plan, step, shown, role, by.reason, hours)
        signed = _sign(approval, by)
        if signed is None:
            return ExitCode.PASS if by.out is not None else ExitCode.NOT_ENOUGH_DATA
        return _told(await control.sign(asked.rollout, signed), as_json=as_json)


async def _review(where: Where, rollout_id: str, by: _By, *, as_json: bool) -> int:
    async with where.control() as control:
        exact = (await control.status(rollout_id)).id
        if by.document is not None:
            await control.sign(exact, _signed_elsewhere(by))
            return _told_reviews(await control.reviews(), as_json=as_json)
        review = next((r for r in await control.reviews() if r.rollout == exact and not r.done), None)
        if review is None:
            msg = f"rollout {exact} has no review that is open; verdigris review lists them"
            raise RolloutError(msg)
        if not as_json:
            say(_review_line(review))
        role = by.role or Role.SECURITY
        approval = _approval(ApprovalDecision.REVIEW, exact, review.plan, review.step, review.override, role, by.reason, LIFETIME_H)
        signed = _sign(approval, by)
        if signed is None:
            return ExitCode.PASS if by.out is not None else ExitCode.NOT_ENOUGH_DATA
        await control.sign(exact, signed)
        return _told_reviews(await control.reviews(), as_json=as_json)


async def _list_reviews(where: Where, *, as_json: bool) -> int:
    async with where.control() as control:
        reviews = await control.reviews()
    _told_reviews(reviews, as_json=as_json)
    return ExitCode.FAIL if any(not review.done for review in reviews) else ExitCode.PASS


# -- what is signed ---------------------------------------------------------------------------------------------------------


def _by(
    key: str | None, role: str | None, reason: str, out_file: Path | None, document: Path | None, signature: Path | None, *, yes: bool
) -> _By:  # fmt: skip
    if role is not None and role not in set(ASKABLE):
        msg = f"--role: {role!r} is none of {', '.join(r.value for r in ASKABLE)}"
        raise typer.BadParameter(msg)
    if (document is None) != (signature is None) or (document is not None and out_file is not None):
        msg = "--document and --signature go together, and without --out"
        raise typer.BadParameter(msg)
    return _By(key, None if role is None else Role(role), reason.strip(), out_file, document, signature, yes)


def _approval(
    decision: ApprovalDecision, rollout: str, plan: str, step: int, shown: str | None, role: Role, reason: str, hours: float
) -> Approval:  # fmt: skip
    """Raises: InvalidApproval."""
    issued = round(time.time() * NANO)
    expires = issued + round(hours * 3600 * NANO) if decision in ENDING else None
    return Approval(decision, rollout, plan, step, shown, role, reason, issued, expires)


def _role(asked: AgreementStatus, decision: ApprovalDecision) -> Role:
    """The only role that is asked for. Raises: InvalidApproval: there are several."""
    gate = asked.freeze.gate if decision is ApprovalDecision.OVERRIDE_FREEZE and asked.freeze is not None else asked.gate
    roles = sorted({role for need in gate.needs for role in need.roles}) if gate is not None else []
    if len(roles) == 1:
        return Role(roles[0])
    if decision in {ApprovalDecision.REFUSE, ApprovalDecision.WITHDRAW}:
        return Role.APPROVER  # it counts in any role
    msg = f"say in which role you act: --role {' or --role '.join(roles) or 'approver'}; nothing was signed"
    raise InvalidApproval(msg)


def _sign(approval: Approval, by: _By) -> bytes | None:
    """Signed, if the person agrees; None: not, or it was only written down. Raises: CannotSign, CannotWrite."""
    document = approval.document()
    if by.out is not None:
        try:
            by.out.write_bytes(document)
        except OSError as error:
            msg = f"cannot write {by.out}: {error.strerror or error}; nothing was signed"
            raise CannotWrite(msg) from error
        say(f"written to {by.out}; sign it with: ssh-keygen -Y sign -n approval@verdigris.dev -f KEY {by.out}")
        return None
    if not by.agreed:
        if not sys.stdin.isatty():
            msg = "there is no terminal to ask you on: read what is shown and sign with --yes; nothing was signed"
            raise InvalidApproval(msg)
        if not Confirm.ask(f"Sign: {approval.decision.value}, as {approval.role.value}?", console=Console(stderr=True), default=False):
            say("not signed; nothing changed")
            return None
    signer = open_signer(by.key, os.environ, _passphrase)
    return SignedApproval(document, signer.sign(document)).to_bytes()


def _signed_elsewhere(by: _By) -> bytes:
    """Raises: NoSuchFile, InvalidApproval, InvalidSshSignature."""
    assert by.document is not None  # noqa: S101  # both or none were given
    assert by.signature is not None  # noqa: S101
    document = read_text(by.document, wire.PLAN_BYTES_MAX).encode()
    Approval.parse(document)  # what is wrong with it is told before a guard is asked
    return SignedApproval(document, SshSignature.parse(read_text(by.signature, ARMORED_BYTES_MAX))).to_bytes()


def _passphrase(what: str) -> str | None:
    return getpass.getpass(f"{what}: ") if sys.stdin.isatty() else None


def _digest(shown: str) -> str:
    # Hashed here: what is signed is what was shown here, whatever the guard says its digest is.
    return hashlib.sha256(shown.encode()).hexdigest()


# -- what is shown ----------------------------------------------------------------------------------------------------------


def _show(asked: AgreementStatus, decision: ApprovalDecision, *, quiet: bool) -> None:
    """What the person agrees to, on standard error: standard output is for programs."""
    if quiet:
        return
    say(f"rollout {asked.rollout}, plan {asked.plan[:12]}…, by {asked.author}")
    if decision is not ApprovalDecision.OVERRIDE_FREEZE:
        say(f"  about   {asked.about}{'' if asked.asked else '  (nobody is asked now)'}")
        for line in _shown_lines(asked.shown):
            say(f"  {line}")
    if asked.freeze is not None:
        say(f"  freeze  {asked.freeze.reason}, until {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(asked.freeze.until_unix_s))}")
        for line in _gate_lines(asked.freeze.gate):
            say(f"          {line}")
    for line in _gate_lines(asked.gate):
        say(f"  gate    {line}")
    for word in asked.words:
        counts = "" if word.counts else f"  (does not count: {word.why_not})"
        say(f"  said    {word.decision} by {word.person}, {word.role}{f': {word.reason}' if word.reason else ''}{counts}")


def _shown_lines(shown: str | None) -> Sequence[str]:
    if shown is None:
        return ()
    try:
        fields = json.loads(shown)
        verdict = [f"verdict {fields['verdict']}: {fields['summary']}"] if fields["verdict"] is not None else ["verdict none yet"]
        findings = [f"finding {f['severity']} {f['signal']}: {f['sentence']}" for f in fields["findings"]]
    except (ValueError, KeyError, TypeError):
        return [f"shown   {shown}"]
    return [*verdict, *(findings or ["finding none"])]


def _gate_lines(gate: GateStatus | None) -> Sequence[str]:
    if gate is None:
        return ()
    return ["open"] if gate.state == "open" else [f"{gate.state}: {missing}" for missing in gate.missing]


def _told(after: AgreementStatus, *, as_json: bool) -> int:
    if as_json:
        out(wire.agreement_to_json(after, indent=2))
    else:
        state = "nobody is asked now" if after.gate is None else "; ".join(_gate_lines(after.gate))
        say(f"handed in. {after.about}: {state}")
    return ExitCode.PASS


def _told_reviews(reviews: Sequence[ReviewStatus], *, as_json: bool) -> int:
    if as_json:
        out(wire.reviews_to_json(reviews, indent=2))
    else:
        for review in reviews:
            say(_review_line(review))
        if not reviews:
            say("no freeze was overridden")
    return ExitCode.PASS


def _review_line(review: ReviewStatus) -> str:
    due = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(review.due_unix_s))
    late = " OVERDUE" if not review.done and review.due_unix_s < time.time() else ""
    state = "done" if review.done else f"due {due}{late}"
    return f"{review.rollout} {review.name}: freeze overridden by {review.by} ({review.reason}); review {state}"
