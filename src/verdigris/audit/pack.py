"""An evidence pack: everything that shows what one rollout did, in a zip file that verifies itself with the `verify.py` in it."""

import hashlib
import json
import zipfile
from collections.abc import Container, Iterator, Sequence
from importlib import resources
from pathlib import Path

import rfc8785

from verdigris.audit.errors import CannotExport
from verdigris.audit.record import Entry, Record
from verdigris.audit.reports import report_files
from verdigris.compliance.assess import assess
from verdigris.compliance.oscal import assessment_results, poam
from verdigris.compliance.sarif import findings_sarif
from verdigris.compliance.summary import summary
from verdigris.ledger.checkpoint import Checkpoint
from verdigris.ledger.entry_kinds import Kind
from verdigris.ledger.merkle import InvalidProof, verify_consistency
from verdigris.ledger.note import Note, verified
from verdigris.ledger.stamps import STAMPS, Kept
from verdigris.ledger.statement import ActorKind, named_evidence

FORMAT = "verdigris.pack/1"
_MOMENT = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the zip: the same record gives the same pack."""

_README = """\
This is what one guarded rollout left in its ledger, with the proofs that it is in there.

    python verify.py pack . --key KEY

verifies it. That needs Python 3.9 or newer and the package `cryptography`, and nothing else: no network, and none of the software that
wrote it. KEY is the ledger's verifier key (name+id+key). Take it from somebody you trust, not from here; it should be one of:

{keys}

entries/   what was written, in order: DSSE envelopes around in-toto statements
proofs/    that each is in the ledger whose head is `checkpoint` (C2SP tlog-proof)
evidence/  what entries rest on, what people wrote and signed, and what the guards masked, by SHA-256; what
           is missing was erased, and an entry of the guard's says when and why
plan.json  what was asked for

stamps/       time stamps (RFC 3161) over earlier heads, where there are some; --stamp-roots ROOTS.pem verifies them, and so does
              openssl ts -verify, with the first three lines of a checkpoint as data
consistency/  that `checkpoint` continues these, and heads that somebody holds (--checkpoint EARLIER)

Made from these, and signed by nobody:

oscal/          what the rollout says of controls: assessment results, and a draft plan of action and milestones (OSCAL 1.2.1)
findings.sarif  what the judge found (SARIF 2.1.0)
report.html     the report for people, also as report.pdf
summary.json    what holds of the rollout, in one in-toto statement (SVR v0.2); not there while it has not ended
"""


def named_by(entries: Sequence[Entry], record: Record) -> Iterator[str]:
    """The digests of all evidence of these entries, also what is named in other evidence. Some may have been erased."""
    for entry in entries:
        statement = entry.statement
        yield from named_evidence(statement)
        if statement.kind is Kind.VERDICT:
            looks = record.evidence(str(statement.values["looks"]))
            yield from [] if looks is None else json.loads(looks)


def _erasing(named: Container[str], record: Record) -> Iterator[Entry]:
    """The guards' entries that call some of these blobs erased."""
    for entry in record.erasures():
        digests = entry.statement.values["erased"]
        if isinstance(digests, tuple) and any(digest in named for digest in digests):
            yield entry


def _masked(entries: Sequence[Entry], record: Record) -> Iterator[Entry]:
    """What the guards that acted masked: each one's last word of it before the rollout, and all until its end."""
    guards = {entry.statement.actor.card for entry in entries if entry.statement.actor.kind is ActorKind.GUARD}
    before: dict[str, Entry] = {}
    for entry in record.entries():
        card = entry.statement.actor.card
        if entry.statement.kind is Kind.MASKING_SET and card in guards and entry.index < entries[-1].index:
            if entry.index < entries[0].index:
                before[card] = entry
            else:
                yield entry
    yield from before.values()


def with_reviews(entries: Sequence[Entry], ledger: Sequence[Entry]) -> list[Entry]:
    """A rollout's entries, and those in which a guard says that what was overridden in it has been reviewed. In order."""
    overridden = {entry.statement.values["approval"] for entry in entries if entry.statement.kind is Kind.FREEZE_OVERRIDDEN}
    done = (one for one in ledger if one.statement.kind is Kind.REVIEW_DONE and one.statement.values["of"] in overridden)
    return sorted((*entries, *done), key=lambda entry: entry.index)


def documents(entries: Sequence[Entry], record: Record, ledger: Sequence[Entry], as_of_unix_s: float) -> dict[str, bytes]:
    """What a pack says of a rollout in formats of others, by file name. Raises: EvidenceDamaged."""
    assessment = assess(entries, record.evidence, ledger=ledger, as_of_unix_s=as_of_unix_s)
    made = {
        "oscal/assessment-results.json": assessment_results(assessment),
        "oscal/poam.json": poam(assessment),
        "findings.sarif": findings_sarif(entries, record.evidence),
        "summary.json": summary(entries, record.evidence),
    }
    return {name: content for name, content in made.items() if content is not None}


def write_pack(record: Record, entries: Sequence[Entry], file: Path, held: Sequence[Note] = ()) -> int:
    """Write the pack of one rollout's entries. Returns how many files it has. `held`: earlier heads that its reader holds.

    Raises: CannotExport, EvidenceDamaged.
    """
    rollout, plan = entries[0].statement.rollout, entries[0].statement.plan
    contents: dict[str, bytes] = {"checkpoint": str(record.head).encode()}
    ledger, as_of_unix_s = record.reviews()
    chosen = [*with_reviews(entries, ledger), *_masked(entries, record)]
    named = dict.fromkeys(named_by(chosen, record))
    told = sorted([*chosen, *_erasing(named, record)], key=lambda entry: entry.index)
    for entry in told:
        contents[f"entries/{entry.index}.json"] = entry.content
        contents[f"proofs/{entry.index}.tlog-proof"] = str(record.proof(entry.index)).encode()
    for digest in dict.fromkeys(named_by(told, record)):
        blob = record.evidence(digest)
        if blob is not None:
            contents["plan.json" if digest == plan else f"evidence/{digest}"] = blob
    contents |= _continued(record, held) | _stamped(record, entries)
    contents |= documents(entries, record, ledger, as_of_unix_s)
    contents |= report_files(record, entries)
    contents["README.txt"] = _README.format(keys="\n".join(f"    {key}" for key in record.keys)).encode()
    manifest = {
        "format": FORMAT, "rollout": rollout, "entries": [entry.index for entry in told],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }  # fmt: skip
    contents["manifest.json"] = rfc8785.dumps(manifest)
    contents["verify.py"] = resources.files("verdigris.audit").joinpath("verify.py").read_bytes()
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as pack:
            for name in sorted(contents):
                info = zipfile.ZipInfo(name, _MOMENT)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                pack.writestr(info, contents[name])
    except OSError as error:
        msg = f"{file} cannot be written: {error.strerror or error}"
        raise CannotExport(msg) from error
    return len(contents)


def _continued(record: Record, held: Sequence[Note]) -> dict[str, bytes]:
    """That the record's head continues heads that somebody holds. Raises: CannotExport: it does not; InvalidNote, NoSuchEntry."""
    found = {}
    for note in held:
        verified(note, record.keys)
        earlier, head = Checkpoint.parse(note.text), record.checkpoint
        if not earlier.size:
            continue  # every log continues the empty one
        proof = record.consistency(earlier.size)
        try:
            verify_consistency(earlier.size, head.size, earlier.root, head.root, proof.proof)
        except InvalidProof as error:
            msg = (
                f"the record does not continue the checkpoint of {earlier.size} entries that is held: {error}. Keep both as they are, and "
                "run `verdigris audit verify` with --checkpoint"
            )
            raise CannotExport(msg) from error
        if earlier.size < head.size:
            found[f"consistency/{earlier.size}"] = str(proof).encode()
    return found


def _stamped(record: Record, entries: Sequence[Entry]) -> dict[str, bytes]:
    """Of each authority the first stamp that has all of these entries under it, or else its last that has some."""
    chosen: dict[str, Kept] = {}
    for one in record.stamps():
        before = chosen.get(one.authority)
        if one.size > entries[0].index and (before is None or before.size <= entries[-1].index):
            chosen[one.authority] = one
    found: dict[str, bytes] = {}
    for one in chosen.values():
        files = record.stamp(one)
        found |= {f"{STAMPS}/{name}": content for name, content in files.items()}
        if files and one.size < record.checkpoint.size:
            found[f"consistency/{one.size}"] = str(record.consistency(one.size)).encode()
    return found
