"""What the report of one rollout says, section by section, to somebody who has never seen Verdigris. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from verdigris.audit import report_plots as plots
from verdigris.audit.report import Block, Control, Facts, Figure, Heading, Items, Listing, Paragraph, Report, Section, Table, Text, Tone
from verdigris.audit.report_people import open_reviews_fact, signed_blocks
from verdigris.audit.report_words import (
    CONTRADICTED,
    ERASED,
    EVIDENCED,
    NOT_TOLD,
    VERDICTS,
    moment,
    quantity,
    share_of,
    told,
    took,
    who,
    word,
)
from verdigris.audit.seen import Pair, Span
from verdigris.audit.story import Found, Gap, GapKind, Judged, Line, PlannedStep, Story
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.statement import Outcome
from verdigris.times import NANO

ENTRIES_LISTED = 8


def report_of(story: Story, controls: Sequence[Control] = ()) -> Report:
    """The report of a story. `controls` may be none: then it says nothing of controls."""
    name = story.change.name if story.change is not None and story.change.name is not None else f"rollout {story.rollout}"
    sections = [
        Section("changed", "What was to change", tuple(_changed(story))),
        Section("people", "Who asked, and who approved", tuple(_people(story))),
        Section("checked", "What was checked before traffic moved", tuple(_checked(story))),
        Section("seen", "What was seen", tuple(_seen(story))),
        Section("decided", "What was decided, and why", tuple(_decided(story))),
        Section("ended", "How it ended", tuple(_ended(story))),
        Section("missing", "What is missing, late or weak", tuple(_missing(story))),
    ]
    if controls:
        sections.append(Section("controls", "Which controls it gives evidence for", tuple(_controls(controls))))
    sections += [
        Section("verify", "How to verify this", tuple(_verify(story))),
        Section("words", "Words used here", (Facts(tuple((word, Text(what)) for word, what in _WORDS)),)),
        Section("entries", "Every entry", tuple(_entries(story))),
    ]
    return Report(name, _ending(story), tuple(_summary(story)), _facts(story), tuple(sections))


# -- the beginning


def _ending(story: Story) -> Text:
    match story.ending:
        case "committed":
            return Text("committed", Tone.GOOD)
        case "rolled back":
            return Text("rolled back", Tone.BAD)
        case _:
            return Text("no end in the record", Tone.UNSURE)


def _slots(story: Story) -> tuple[str, str]:
    change = story.change
    return (change and change.baseline) or "the baseline", (change and change.candidate) or "the candidate"


def _summary(story: Story) -> Iterator[str]:
    blue, green = _slots(story)
    most = max((one.percent or 0 for one in story.observed if one.unix_nano < _commit_at(story)), default=0.0)
    trial = (
        f"traffic was moved from {blue} (the baseline: what was live) to {green} (the candidate: what is new) in steps, up to {most:g} %"
        if most
        else f"no traffic was moved from {blue} (the baseline: what was live) to {green} (the candidate: what is new)"
    )
    yield f"The rollout was asked for at {moment(story.begun_unix_nano)}; {trial}."
    decisive = story.decisive
    if decisive is not None:
        said = decisive.line.text or f"what it said was {ERASED}"
        yield (
            f"Both were compared from their distributed traces. The verdict that counts was given at "
            f"{moment(decisive.line.unix_nano)}: {decisive.verdict.replace('_', ' ')}, "
            f"{VERDICTS.get(decisive.verdict, 'a verdict that this version does not know')}. {said}"
        )
    yield _how_it_ended(story)


def _commit_at(story: Story) -> int:
    commits = story.of(Kind.COMMIT_INTENDED)
    return commits[-1].unix_nano if commits else story.last_unix_nano + 1


def _how_it_ended(story: Story) -> str:
    last = story.read_back
    back = "" if last is None else _read_back(last)
    match story.ending:
        case "committed":
            return f"The candidate was made the default for all traffic. {back}"
        case "rolled back" if story.return_s is not None:
            return f"All traffic went back to the baseline, {took(story.return_s)} after the verdict. {back}"
        case "rolled back":
            return f"All traffic is with the baseline. {back}"
        case _:
            return f"The record has no end of this rollout: how it ended is an open question. {back}"


def _read_back(line: Line) -> str:
    percent, committed = line.values.get("candidatePercent"), line.values.get("committed")
    if not isinstance(percent, int | float):
        return f"At {moment(line.unix_nano)} the proxy's weights could not be read back."
    durable = "" if committed is None else f", and its durable default is the {'candidate' if committed else 'baseline'}"
    return f"Read back from the proxy at {moment(line.unix_nano)}: the candidate has {percent:g} % of the traffic{durable}."


def _facts(story: Story) -> Facts:
    rows: list[tuple[str, Text]] = [
        ("Rollout", Text(story.rollout, Tone.CODE)),
        ("Begun", Text(moment(story.begun_unix_nano))),
        ("Ended", Text(moment(story.ended.unix_nano)) if story.ended is not None else Text("no end in the record", Tone.UNSURE)),
        ("Took", Text(took((story.last_unix_nano - story.begun_unix_nano) / NANO))),
    ]
    if story.exposed_s is not None:
        rows.append(("Candidate on trial", Text(took(story.exposed_s))))
    if story.return_s is not None:
        rows.append(("From verdict to baseline", Text(took(story.return_s))))
    if story.decisive is not None:
        rows.append(("Verdict", word(story.decisive.verdict)))
    rows += open_reviews_fact(story)
    rows.append(("Entries", Text(f"{len(story.lines)} in the ledger, {_gap_words(story)}")))
    return Facts(tuple(rows))


def _gap_words(story: Story) -> str:
    return "with a GAP" if any(gap.kind is GapKind.GAP for gap in story.gaps) else "without a gap"


# -- the sections


def _changed(story: Story) -> Iterator[Block]:
    change = story.change
    if change is None:
        yield Paragraph(Text("The plan was erased or cannot be read. What was to change is not known from this record.", Tone.UNSURE))
        yield Facts((("Plan (SHA-256)", Text(story.plan, Tone.CODE)),))
        return
    yield Facts((
        ("Change", told(change.name, NOT_TOLD)),
        ("Reason", told(change.reason, NOT_TOLD)),
        ("Security impact", told(change.security_impact, NOT_TOLD)),
        ("Rollback plan", told(change.rollback_plan, NOT_TOLD)),
        ("Ticket", told(change.ticket, NOT_TOLD)),
        ("Author of the plan", told(change.author, NOT_TOLD)),
        ("Baseline → candidate", Text(f"{change.baseline or NOT_TOLD} → {change.candidate or NOT_TOLD}")),
        ("Traffic split by", told(change.adapter, NOT_TOLD)),
        ("Plan (SHA-256)", Text(story.plan, Tone.CODE)),
    ))  # fmt: skip
    if change.steps:
        rows = [_planned(number, step) for number, step in enumerate(change.steps, 1)]
        yield Table("The steps that the plan has", ("Step", "Candidate gets", "At least", "At most", "What must be shown before the next"),
                    tuple(rows), (1, 2, 2, 2, 7))  # fmt: skip
    rest = []
    if change.switch_gate:
        rest.append(f"The switch, which follows the last step, begins only when signed by {change.switch_gate}.")
    if change.bake_s is not None:
        rest.append(f"After the last step the candidate is watched for {took(change.bake_s)} more before it becomes the default.")
    if change.alpha is not None:
        rest.append(
            f"The plan bounds the chance that an unchanged candidate is ever found to be worse, all looks together, at {change.alpha:g}."
        )
    if rest:
        yield Paragraph(Text(" ".join(rest), Tone.SOFT))


def _planned(number: int, step: PlannedStep) -> tuple[Text, ...]:
    shown = ["a PASS"] if step.passed else []
    if step.candidate_requests:
        shown.append(f"{step.candidate_requests:,} traced requests of the candidate without a finding")
    if step.gate:
        shown.append(f"(begins only when signed by {step.gate})")
    weight, least, most = step.weight_percent, step.minimum_s, step.maximum_s
    return (
        Text(str(number), Tone.NUMBER), Text("–" if weight is None else f"{weight:g} %", Tone.NUMBER),
        Text("–" if least is None else took(least), Tone.NUMBER), Text("–" if most is None else took(most), Tone.NUMBER),
        Text(", ".join(shown) or "nothing"),
    )  # fmt: skip


def _people(story: Story) -> Iterator[Block]:
    asked = story.of(Kind.PLAN_SUBMITTED, Kind.REQUEST)
    yield Table(
        "What people asked for", ("Time", "Who", "What"),
        tuple((Text(moment(line.unix_nano)), who(line), told(line.text)) for line in asked), (4, 3, 9),
    )  # fmt: skip
    went_on = [line for line in story.of(Kind.PHASE) if line.values["event"] in {"resumed", "resumed before any traffic"}]
    if went_on:
        yield Table(
            "Went on after a hold, as somebody asked (nobody signs that)", ("Time", "Who", "What"),
            tuple((Text(moment(line.unix_nano)), who(line), told(line.text)) for line in went_on), (4, 3, 9),
        )  # fmt: skip
    yield from signed_blocks(story)
    author = story.change.author if story.change is not None else None
    submitted = next(iter(story.of(Kind.PLAN_SUBMITTED)), None)
    if author is not None and submitted is not None and submitted.actor == author:
        yield Paragraph(Text(f"The author of the plan and who submitted it are the same: {author}.", Tone.SOFT))


def _checked(story: Story) -> Iterator[Block]:
    checks = story.of(Kind.PREFLIGHT_CHECK)
    if not checks:
        yield Paragraph(Text("No check is in the record.", Tone.UNSURE))
        return
    rows = ((Text(moment(line.unix_nano)), Text(str(line.values["check"])), word(str(line.values["result"])), told(line.text))
            for line in checks)  # fmt: skip
    yield Table("Checks before any traffic moved", ("Time", "Check", "Result", "In words"), tuple(rows), (4, 3, 3, 7))
    for line in story.of(Kind.REFERENCE):
        yield Paragraph(Text(f"{moment(line.unix_nano)}: {line.text or ERASED}.", Tone.SOFT))


def _seen(story: Story) -> Iterator[Block]:
    blue, green = _slots(story)
    yield Figure(
        plots.weight_plot(story),
        "What the guard was about to apply (dashed) and what the proxy said afterwards (solid, with a dot at each reading). "
        "Thin lines mark each reading; their percentages are the candidate's weight from there on. Times are UTC.",
    )
    seen = story.seen
    if not seen.points:
        yield Paragraph(Text("No window that was looked at is left in the record: what was seen cannot be shown.", Tone.UNSURE))
        return
    per_point = max(one.windows for one in seen.points)
    points = f"each point is {per_point} of them" if per_point > 1 else "each point is one"
    roles = f"The baseline ({blue}) is drawn solid, the candidate ({green}) dashed."
    yield Paragraph(Text(
        f"{seen.windows:,} windows of {seen.window_s} s were looked at; {points}. {roles} A line breaks where nobody looked.", Tone.SOFT,
    ))  # fmt: skip
    yield Figure(plots.requests_plot(story), "How much traffic both had. A candidate with too little cannot be judged.")
    traced = plots.traced_plot(story)
    if traced is not None and _is_untraced(seen.points):
        yield Figure(traced, "Where fewer traces come than requests go in, part of what happens is not seen.")
    for place, operation in enumerate(seen.operations):
        yield Heading(str(operation))
        if not any(pair.baseline.requests or pair.candidate.requests for pair in (one.operations[place] for one in seen.steps)):
            yield Paragraph(Text("No request of it is in the windows that were looked at.", Tone.SOFT))
            continue
        yield Figure(plots.failed_plot(story, place), "Failed requests in each hundred, in both roles at the same time.")
        yield Figure(plots.latency_plot(story, place), "Half of the requests took at most so long.")
        yield _by_step(story, place, str(operation))


def _is_untraced(points: Sequence[Span]) -> bool:
    """Whether an eighth of the requests of one role has no trace."""
    known = [one for one in points if one.proxied is not None]
    return any(
        sum(one.traced[role] for one in known) * 8 < sum(one.proxied[role] for one in known if one.proxied is not None) * 7
        for role in range(2)
    )


def _by_step(story: Story, place: int, operation: str) -> Table:
    steps = story.change.steps if story.change is not None else ()
    rows = []
    for span in story.seen.steps:
        planned = steps[span.step].weight_percent if span.step < len(steps) else None
        name = "bake" if steps and span.step == len(steps) else f"{span.step + 1}" + ("" if planned is None else f" ({planned:g} %)")
        rows.append((Text(name), Text(f"{span.windows:,}", Tone.NUMBER), *_amounts(span.operations[place])))
    header = ("Step", "Windows", "Requests", "", "Failed", "", "Median", "", "95 % within", "")
    named = tuple(
        name if at < 2 else f"{header[at - at % 2]}, {'baseline' if at % 2 == 0 else 'candidate'}"  # noqa: PLR2004  # two columns before the pairs
        for at, name in enumerate(header)
    )
    caption = f"{operation}, by step; a window counts for the step that was in force when it began"
    return Table(caption, named, tuple(rows), (3, 2.2, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6))


def _amounts(pair: Pair) -> Iterator[Text]:
    both = (pair.baseline, pair.candidate)
    yield from (Text(f"{one.requests:,.0f}", Tone.NUMBER) for one in both)
    yield from (Text(quantity(one.failed_share, "share"), Tone.NUMBER) for one in both)
    yield from (Text(quantity(one.p50_ms, "ms"), Tone.NUMBER) for one in both)
    yield from (Text(quantity(one.p95_ms, "ms"), Tone.NUMBER) for one in both)


def _decided(story: Story) -> Iterator[Block]:
    if not story.verdicts:
        yield Paragraph(Text("No verdict was given.", Tone.UNSURE))
    else:
        yield Table(
            "Every verdict that something was decided on", ("Time", "Verdict", "Why", "Windows", "Traces: baseline", "Traces: candidate"),
            tuple(_verdict_row(one) for one in story.verdicts), (5, 3, 8.5, 2.2, 2.5, 2.7),
        )  # fmt: skip
        meant = dict.fromkeys(one.verdict for one in story.verdicts)
        yield Items(tuple(Text(f"{name.replace('_', ' ')}: {VERDICTS[name]}.", Tone.SOFT) for name in meant if name in VERDICTS))
    decisive = story.decisive
    if decisive is not None:
        yield from _findings(decisive)
        strengths = plots.strength_plot(decisive)
        if strengths is not None:
            yield Figure(
                strengths,
                "Each bar is a question that was asked of the traces. Evidence grows only while the candidate looks worse than tolerated; "
                "at 100 % it is a finding. The thresholds are fixed before the first window and hold at any time one looks.",
            )
        if not decisive.known:
            yield Paragraph(Text("The judgement behind this verdict was erased or cannot be read; its numbers are not known.", Tone.UNSURE))
        if decisive.unanswered:
            yield Paragraph(Text(f"Questions that a PASS must answer and that had no answer yet: {decisive.unanswered}.", Tone.SOFT))
        if decisive.causes:
            yield Heading("Likely causes")
            yield Items(tuple(Text(cause) for cause in decisive.causes))
        if decisive.notes:
            yield Items(tuple(Text(note, Tone.SOFT) for note in decisive.notes))
    moves = story.of(Kind.PHASE)
    rows = ((Text(moment(one.unix_nano)), Text(f"{one.values['from']} → {one.values['to']}"), who(one), _reason(one)) for one in moves)
    yield Table("Every move of the rollout, and why", ("Time", "From → to", "By", "Why"), tuple(rows), (4, 4, 2.5, 8))


def _reason(line: Line) -> Text:
    """What a transition says of its reason, without the phases in front of it."""
    if line.text is None:
        return Text(ERASED, Tone.UNSURE)
    return told(line.text.removeprefix(f"{line.values['from']} → {line.values['to']}: "))


def _verdict_row(one: Judged) -> tuple[Text, ...]:
    return (
        Text(moment(one.line.unix_nano)), word(one.verdict), told(one.line.text), Text(f"{one.windows:,}", Tone.NUMBER),
        Text(f"{one.baseline_traces:,}", Tone.NUMBER), Text(f"{one.candidate_traces:,}", Tone.NUMBER),
    )  # fmt: skip


def _findings(judged: Judged) -> Iterator[Block]:
    yield Heading("What was found")
    if not judged.findings:
        yield Paragraph(Text("Nothing was found to be worse than tolerated."))
        return
    for number, one in enumerate(judged.findings, 1):
        yield Paragraph(Text(f"{number}. {told(one.sentence).text}"))
        yield Facts(tuple(_found(one)))


def _found(one: Found) -> Iterator[tuple[str, Text]]:
    yield "Severity", word(one.severity)
    yield "Signal", Text(one.signal)
    if not one.known:
        yield "Numbers", Text("erased with the judgement", Tone.UNSURE)
        return
    yield (
        "Measured",
        Text(f"{one.measure}: {quantity(one.baseline, one.unit)} in the baseline, {quantity(one.candidate, one.unit)} in the candidate"),
    )
    if one.low is not None and one.high is not None:
        yield "Difference", Text(f"between {quantity(one.low, one.unit)} and {quantity(one.high, one.unit)} (95 % interval)")
    yield "Evidence", Text(f"{one.log_e:.1f} nats, and {one.threshold:.1f} are a finding")
    yield "Requests", Text(f"{one.baseline_requests:,} of the baseline, {one.candidate_requests:,} of the candidate")
    if one.follows_from is not None:
        yield "Follows from", Text(one.follows_from)


def _ended(story: Story) -> Iterator[Block]:
    yield Paragraph(Text(_how_it_ended(story)))
    if story.turned is not None:
        yield Facts((
            ("Decided", Text(moment(story.turned.unix_nano))),
            ("By", who(story.turned)),
            ("Because", _reason(story.turned)),
        ))  # fmt: skip
    weights = story.of(
        Kind.WEIGHT_INTENDED, Kind.WEIGHT_OBSERVED, Kind.ROLLBACK_INTENDED, Kind.ROLLBACK_OBSERVED, Kind.COMMIT_INTENDED,
        Kind.COMMIT_OBSERVED,
    )  # fmt: skip
    rows = tuple(_weight_row(line) for line in weights)
    yield Table("Every weight, written before it was applied, and what the proxy said afterwards",
                ("Time", "Entry", "Kind", "Candidate", "In words"), rows, (4, 1.4, 3.6, 2.4, 7))  # fmt: skip


def _weight_row(line: Line) -> tuple[Text, ...]:
    percent = share_of(0 if line.kind is Kind.ROLLBACK_INTENDED else line.values.get("candidatePercent"))
    what = line.kind.value + (" (not as asked)" if line.outcome is Outcome.FAILED else "")
    kind = Text(what, Tone.BAD if line.outcome is Outcome.FAILED else Tone.PLAIN)
    return (
        Text(moment(line.unix_nano)), Text(str(line.index), Tone.NUMBER), kind, percent, told(line.text),
    )  # fmt: skip


_SERIOUS = dict.fromkeys(
    (GapKind.OPEN, GapKind.GAP, GapKind.DAMAGED, GapKind.MISSING, GapKind.TRAFFIC, GapKind.REVIEW, GapKind.CONSENT), Tone.BAD
)


def _missing(story: Story) -> Iterator[Block]:
    if story.gaps:
        yield Items(tuple(_gap(gap) for gap in story.gaps))
    else:
        yield Paragraph(Text("Nothing that this report looks for is missing from the record."))
    yield Paragraph(Text(
        "A log alone cannot show that its end was cut off: that needs somebody outside who holds an earlier checkpoint, or a witness.",
        Tone.SOFT,
    ))  # fmt: skip


def _gap(gap: Gap) -> Text:
    return Text(gap.text, _SERIOUS.get(gap.kind, Tone.PLAIN))


def _controls(controls: Iterable[Control]) -> Iterator[Block]:
    shown = [one for state in (CONTRADICTED, EVIDENCED) for one in controls if one.state == state]
    rows = ((Text(one.name, Tone.CODE), Text(one.title), word(one.state), Text(_control_why(one))) for one in shown)
    if shown:
        caption = "Controls, and what this rollout shows of them"
        yield Table(caption, ("Control", "What it asks", "This rollout", "Why"), tuple(rows), (5, 4.4, 2.8, 7.8))
    others: dict[str, list[str]] = {}
    for one in controls:
        if one.state not in {CONTRADICTED, EVIDENCED}:
            framework, _, identifier = one.name.partition(":")
            others.setdefault(framework, []).append(identifier)
    if others:
        yield Heading("Neither shown nor contradicted by this rollout")
        yield Facts(tuple((framework, Text(", ".join(identifiers), Tone.SOFT)) for framework, identifiers in others.items()))
    yield Paragraph(Text("Evidence for a control is not compliance with it; that is for an auditor to say.", Tone.SOFT))


def _control_why(control: Control) -> str:
    """What the entries show, which they are, and what must be shown elsewhere."""
    where = ""
    if control.entries:
        listed = ", ".join(str(index) for index in control.entries[:ENTRIES_LISTED])
        more = f" and {len(control.entries) - ENTRIES_LISTED} more" if len(control.entries) > ENTRIES_LISTED else ""
        where = f" (entries {listed}{more})"
    lacking = f" Not shown here: {'; '.join(control.lacking)}." if control.lacking else ""
    return f"{control.why}{where}.{lacking}"


def _verify(story: Story) -> Iterator[Block]:
    yield Paragraph(Text(
        "This report is made from the record and proves nothing by itself. What it says can be checked without the software that wrote it: "
        "the evidence pack of the rollout has every entry, its proof, the evidence, and a verifier that needs only Python and the package "
        "cryptography."
    ))  # fmt: skip
    yield Listing("With the evidence pack (unpacked), anywhere", ('python verify.py pack . --key "$KEY"',))
    yield Listing("With the guard's record", (
        "verdigris audit verify",
        f"verdigris audit show {story.rollout}",
        f"verdigris audit replay {story.rollout}",
        f"verdigris audit export {story.rollout} --output pack.zip",
    ))  # fmt: skip
    yield Paragraph(Text(
        "verify checks every signature and the whole Merkle tree; replay computes every verdict again from its evidence and compares "
        "byte by byte. Take the ledger's key from somebody you trust, not from here. It should be one of:"
    ))  # fmt: skip
    yield Listing("Keys of the ledger (name+id+key)", story.keys or ("none were given to this report",))
    if story.checkpoint:
        yield Listing("The checkpoint under which this report was made", tuple(story.checkpoint.strip().split("\n")))
    first, last = story.lines[0].index, story.lines[-1].index
    size = f" (the log has {story.log_size})" if story.log_size else ""
    yield Facts((
        ("Entries of this rollout", Text(f"{len(story.lines)}, from {first} to {last}{size}")),
        ("Judged by", Text(", ".join(dict.fromkeys(one.judge for one in story.verdicts)) or "nobody")),
    ))  # fmt: skip


_WORDS = (
    ("rollout", "One attempt to move a subject's traffic from its baseline to its candidate."),
    ("baseline, candidate", "What was live before, and what is to replace it. Both run at the same time while they are compared."),
    ("plan", "What was asked for. It is known by its SHA-256: another plan has another one."),
    ("weight", "The candidate's share of the traffic, in per cent. The proxy keeps it only while it hears from the guard."),
    ("guard", "The program that moves the traffic, judges, and writes the record."),
    ("window, look", "A fixed slice of time, and what both roles showed in it. Every look is kept as evidence."),
    ("verdict", "PASS, FAIL, NOT ENOUGH DATA or BLIND. No data is never a pass, and a deadline never moves anything forward."),
    ("finding", "One thing that is wrong: what, where, by how much, how sure."),
    (
        "nat",
        "The unit of evidence: the natural logarithm of how much more the data speak against the candidate being good enough than for it.",
    ),
    ("gate", "What a plan asks of people before a step: so many signatures, in these roles, of others than the change's author."),
    (
        "freeze, override",
        "A time in which nothing may move forward; and the signed word of who may lift it, which somebody else reviews.",
    ),
    ("commit, rollback", "The candidate becomes the proxy's durable default; or all traffic goes back to the baseline."),
    ("ledger, checkpoint", "The append-only log of signed entries, and its signed head."),
    ("erased", "Words and evidence can be erased, for instance for data protection. Their digests stay, and the log still verifies."),
)


def _entries(story: Story) -> Iterator[Block]:
    yield Paragraph(
        Text("All entries of this rollout in the ledger, in order. A person's name and all words are kept beside the log.", Tone.SOFT)
    )
    rows = (
        (
            Text(str(line.index), Tone.NUMBER), Text(moment(line.unix_nano)[:19]),
            Text(f"{line.kind.value}{' (entered late)' if line.late else ''}", Tone.UNSURE if line.late else Tone.PLAIN),
            who(line), told(line.text),
        )
        for line in story.lines
    )  # fmt: skip
    yield Table("Entries (UTC)", ("Entry", "Time", "Kind", "By", "In words"), tuple(rows), (1.5, 4, 3.6, 2.4, 9))
