"""What the report says of who agreed: overrides first, then what was signed, with which keys, on what, and what it opened. Pure."""

from collections.abc import Iterator, Sequence

from verdigris.approvals.approval import START, ApprovalDecision, Verified
from verdigris.audit.report import Block, Facts, Heading, Items, Paragraph, Table, Text, Tone
from verdigris.audit.report_words import ERASED, moment, told, word
from verdigris.audit.story import Line, Shown, Story
from verdigris.compliance.consent import Move, Review, Word
from verdigris.times import NANO

_SAID = {
    ApprovalDecision.GIVE: Text("approves", Tone.GOOD), ApprovalDecision.REFUSE: Text("REFUSES", Tone.BAD),
    ApprovalDecision.WITHDRAW: Text("withdraws", Tone.UNSURE), ApprovalDecision.OVERRIDE_FREEZE: Text("OVERRIDES THE FREEZE", Tone.BAD),
    ApprovalDecision.REVIEW: Text("reviewed", Tone.GOOD),
}  # fmt: skip
FINDINGS_LISTED = 10


def signed_blocks(story: Story) -> Iterator[Block]:
    """All of it. What is not there is said."""
    words = story.consent.words
    for one in words:
        if one.decision is ApprovalDecision.OVERRIDE_FREEZE:
            yield Paragraph(_loud(one))
    yield from _reviews(story)
    if not words:
        yield Paragraph(Text("Nobody's approval is signed in this record.", Tone.UNSURE))
    else:
        lines = {line.index: line for line in story.lines}
        rows = tuple(_word(one, lines[one.entry], story) for one in words)
        yield Table(
            "What people signed", ("Time", "Who", "As", "Says", "About", "Reason"), rows,
            (3.6, 2.4, 2, 2.6, 2.6, 4.4),
        )  # fmt: skip
        yield Table(
            "With which keys, and bound to what: each signature was verified for this report, with who they were known to be then",
            ("Entry", "Who", "Key", "Shown (SHA-256)", "Counts until", "Signature"), tuple(_bound(one) for one in words),
            (1.2, 2, 4.4, 4.4, 2.6, 2.4),
        )  # fmt: skip
    if story.shown:
        yield Heading("What they were shown")
        for shown in story.shown:
            yield Facts(tuple(_shown(shown)))
    yield from _moves(story)


def open_reviews_fact(story: Story) -> list[tuple[str, Text]]:
    """How many reviews are open, of whatever rollout of the ledger."""
    left = [one for one in story.reviews if one.open]
    late = sum(one.overdue(story.as_of_unix_s) for one in left)
    return [("Open reviews", Text(f"{len(left)} in this ledger{f', {late} OVERDUE' if late else ''}", Tone.BAD))] if left else []


def _loud(one: Word) -> Text:
    given = one.given
    by = "Somebody" if given is None else f"{given.person.name}, as {given.approval.role.value},"
    why = "" if given is None else f" The reason given: {given.approval.reason}"
    return Text(f"A FREEZE WAS OVERRIDDEN. {by} overrode it at {moment(one.unix_nano)} (entry {one.entry}).{why}", Tone.BAD)


def _about(step: int, story: Story) -> str:
    plan = story.consent.plan
    if step == START:
        return "the whole rollout"
    return f"step {step + 1}" if plan is None or step > len(plan.steps) else plan.step_text(step)


def _word(one: Word, line: Line, story: Story) -> tuple[Text, ...]:
    given = one.given
    if given is None:
        left = Text(ERASED, Tone.UNSURE) if one.erased else Text("not so", Tone.BAD)
        step = line.values.get("step")
        about = _about(step, story) if isinstance(step, int) else "–"
        return Text(moment(one.unix_nano)), told(line.actor), left, _SAID[one.decision], Text(about), told(one.wrong or None)
    approval = given.approval
    return (
        Text(moment(one.unix_nano)), Text(given.person.name), Text(approval.role.value), _SAID[one.decision],
        Text(_about(approval.step, story)), told(approval.reason) if approval.reason else Text("–"),
    )  # fmt: skip


def _bound(one: Word) -> tuple[Text, ...]:
    given, entry = one.given, Text(str(one.entry), Tone.NUMBER)
    if given is None:
        state = Text("cannot be told", Tone.UNSURE) if one.erased else Text("NOT GOOD", Tone.BAD)
        return entry, Text("–"), Text("–"), Text("–"), Text("–"), state
    approval = given.approval
    return (
        entry, Text(given.person.name), Text(given.signed.signature.key.fingerprint, Tone.CODE),
        Text("nothing is shown for it") if approval.shown is None else Text(approval.shown, Tone.CODE),
        Text("no end" if approval.expires_unix_nano is None else moment(approval.expires_unix_nano)), Text("good", Tone.GOOD),
    )  # fmt: skip


def _shown(shown: Shown) -> Iterator[tuple[str, Text]]:
    yield "Shown (SHA-256)", Text(shown.digest, Tone.CODE)
    if not shown.known:
        yield "What it said", Text(ERASED, Tone.UNSURE)
        return
    yield "Asked about", told(shown.about)
    if shown.verdict is None:
        yield "Verdict then", Text("none yet")
    else:
        yield "Verdict then", word(shown.verdict)
    if shown.summary:
        yield "In words", told(shown.summary)
    more = len(shown.findings) - FINDINGS_LISTED
    findings = " · ".join(shown.findings[:FINDINGS_LISTED]) + (f" · and {more} more" if more > 0 else "")
    yield "Findings then", told(findings) if findings else Text("none")


def _moves(story: Story) -> Iterator[Block]:
    moves, plan = story.consent.moves, story.consent.plan
    if plan is None:
        yield Paragraph(Text("The plan was erased or cannot be read: whom it asks, and what needed them, is not shown.", Tone.UNSURE))
    elif moves:
        rows = tuple((Text(str(one.entry), Tone.NUMBER), Text(_needed(one)), *_opened(one)) for one in moves)
        yield Table("What needed people, and who opened it", ("Entry", "What moved", "Open", "By"), rows, (1.2, 5, 2, 7))
    elif any(plan.gate_before(step) for step in range(len(plan.steps) + 1)):
        yield Paragraph(Text("The rollout passed no gate of its plan."))
    else:
        yield Paragraph(Text("The plan has no gate: it asks nobody before it moves.", Tone.UNSURE))


def _needed(one: Move) -> str:
    return f"{one.about}, in the freeze: {one.freeze}" if one.freeze else f"{one.about}, through its gate"


def _opened(one: Move) -> tuple[Text, Text]:
    if one.wrong:
        return Text("NO", Tone.BAD), Text(one.wrong, Tone.BAD)
    if not one.by:
        return Text("cannot be told", Tone.UNSURE), Text("what was signed was erased", Tone.UNSURE)
    return Text("yes", Tone.GOOD), Text(_names(one.by))


def _names(words: Sequence[Verified]) -> str:
    return ", ".join(f"{one.person.name} ({one.approval.role.value})" for one in words)


def _reviews(story: Story) -> Iterator[Block]:
    """Of this rollout all; of others what is open."""
    left = tuple(_open(one, story) for one in story.reviews if one.open)
    if left:
        yield Heading("Open reviews in this ledger")
        yield Items(left)
    for one in story.reviews:
        if one.rollout == story.rollout and not one.open:
            given = None if one.done is None else one.done.given
            if one.done is None or given is None:
                yield Paragraph(Text(f"The override was reviewed; by whom was {ERASED}.", Tone.UNSURE))
            else:
                yield Paragraph(Text(
                    f"The override was reviewed by {given.person.name}, as {given.approval.role.value}, at {moment(one.done.unix_nano)} "
                    f"(entry {one.done.entry}): {given.approval.reason}", Tone.GOOD,
                ))  # fmt: skip


def _open(one: Review, story: Story) -> Text:
    given = None if one.override is None else one.override.given
    by = "by somebody who is not shown" if given is None else f"by {given.person.name}, as {given.approval.role.value}"
    where = "this rollout" if one.rollout == story.rollout else f"the rollout {one.rollout}"
    late = f"OVERDUE as of {moment(round(story.as_of_unix_s * NANO))}: " if one.overdue(story.as_of_unix_s) else ""
    wrong = f" What was entered as its review is none: {one.wrong}." if one.wrong else ""
    return Text(
        f"{late}the override of a freeze in {where} {by} is to be reviewed by somebody else by {moment(one.due_unix_s * NANO)}.{wrong}",
        Tone.BAD,
    )
