"""The verifier: what it proves, what it says that it cannot prove, and that nothing hostile gets more than a sentence out of it."""

import ast
import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.audit_logs import (
    ANOTHER,
    EVIDENCE,
    KEY,
    ORIGIN,
    OTHER_KEY,
    PLAN,
    PLAN_DIGEST,
    ROLLOUT,
    START_UNIX_S,
    WITNESS,
    Memory,
    cosigned,
    digest,
    entry,
    guard,
    listed,
    packed,
    sealed,
    statement,
    told,
    twelve,
)
from tests.unit.ledger_keys import signer

from verdigris.audit import verify
from verdigris.audit.verify import (
    KINDS,
    NOT_EVIDENCE,
    WORDS,
    Refused,
    Report,
    Unreadable,
    canonical,
    check_consistency,
    check_inclusion,
    es6,
    main,
    read_canonical,
    read_envelope,
    read_head,
    read_key,
    read_proof,
    read_statement,
    verify_log,
    verify_log_files,
    verify_pack,
    verify_proof,
    verify_tree,
)
from verdigris.ledger import entry_kinds
from verdigris.ledger import statement as statements
from verdigris.ledger.entry_kinds import Kind, Type
from verdigris.ledger.log import Log
from verdigris.ledger.statement import Actor, ActorKind, Clock, Outcome
from verdigris.ledger.storage import LogFolder
from verdigris.times import NANO

FILE = Path(verify.__file__)
VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
needs_vectors = pytest.mark.skipif(not VECTORS.exists(), reason="the vectors by others are not beside the project (../shared/vectors)")
TESSERA = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
ROTATED = (digest("an old key"), digest("a new key"))


def found(report: Report, where: str, what: str) -> None:
    assert any(problem.where == where and what in problem.what for problem in report.problems), report.problems


def of(entries: list[bytes], **more: Any) -> Report:
    return verify_log_files(sealed(entries), more.pop("keys", [KEY]), **more)


def says(lines: list[str], *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in lines)


# -- it stands alone ------------------------------------------------------------------------------------------------------------------


def test_it_imports_the_standard_library_and_cryptography_only() -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in modules} - sys.stdlib_module_names == {"cryptography"}


def test_its_syntax_is_that_of_python_3_9() -> None:
    ast.parse(FILE.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_its_table_of_kinds_is_the_writers() -> None:
    written = {}
    for kind, fields in entry_kinds.KINDS.items():
        written[kind.value] = {
            name: (spec.words or spec.type.value, spec.required, spec.none) for name, spec in fields.items()
        }  # fmt: skip
    known: dict[str, dict[str, Any]] = {}
    for known_kind, specs in KINDS.items():
        known[known_kind] = {}
        for one in specs.split():
            name, _, form = one.partition("=")
            bare = form.rstrip("?~")
            known[known_kind][name] = (WORDS.get(bare, bare), "?" not in form, "~" in form)
    assert known == written


def test_what_it_takes_for_no_evidence_is_only_what_kinds_have() -> None:
    digests = {
        name for fields in entry_kinds.KINDS.values() for name, spec in fields.items() if spec.type in {Type.DIGEST, Type.DIGESTS}
    }  # fmt: skip
    assert digests >= NOT_EVIDENCE


# -- canonical JSON -------------------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_is_that_of_another_implementation(value: Any) -> None:
    written = rfc8785.dumps(value)
    assert canonical(value) == written
    assert canonical(read_canonical(written, "it")) == written


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_as_another_implementation_writes_them(number: float) -> None:
    assert es6(number).encode() == rfc8785.dumps(number)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"), (1e21, "1e+21"),
        (999999999999999900000.0, "999999999999999900000"), (1e-6, "0.000001"), (1e-7, "1e-7"), (-1.5e-9, "-1.5e-9"),
        (333333333.3333332, "333333333.3333332"), (100.0, "100"),
    ],
)  # fmt: skip
def test_numbers_of_rfc_8785_appendix_b(number: float, text: str) -> None:
    assert es6(number) == text


@needs_vectors
@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_the_vectors_of_canonical_json(name: str) -> None:
    output = (VECTORS / "jcs" / "output" / f"{name}.json").read_bytes()
    assert canonical(json.loads((VECTORS / "jcs" / "input" / f"{name}.json").read_bytes())) == output
    assert canonical(read_canonical(output, "it")) == output
    if (VECTORS / "jcs" / "input" / f"{name}.json").read_bytes() != output:
        with pytest.raises(Refused, match="canonical"):
            read_canonical((VECTORS / "jcs" / "input" / f"{name}.json").read_bytes(), "it")


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}', b'{"b":1,"a":1}', b'{ "a":1}', b'{"a":1.0}', b"1e2", b"-0", b"NaN", b"Infinity", b"[1,]", b'"\\u0041"', b'"\xff"',
        b'"\\ud800"', b"9007199254740993", b"1" * 5000, b"[" * 5000, b"[" * 40 + b"]" * 40, b"\xef\xbb\xbf1", b"", b"1 ", b'"\\/"',
        b"1e999", '"a"'.encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_not_canonical_json_is_refused(text: bytes) -> None:
    with pytest.raises(Refused):
        read_canonical(text, "it")


@pytest.mark.parametrize("value", [2**53, float("inf"), object(), {1: 2}, "\ud800", b"bytes"])
def test_what_canonical_json_has_not_is_not_written(value: Any) -> None:
    with pytest.raises(Refused):
        canonical(value)


# -- vectors by others ----------------------------------------------------------------------------------------------------------------


def cases(kind: str) -> list[Any]:
    folder = VECTORS / "merkle-proofs" / kind
    return [pytest.param(file, id=str(file.relative_to(folder))) for file in sorted(folder.rglob("*.json"))]


def decoded(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@needs_vectors
@pytest.mark.parametrize("file", cases("inclusion"))
def test_the_vectors_of_inclusion_proofs(file: Path) -> None:
    case = json.loads(file.read_text())
    proof = [decoded(one) for one in case["proof"] or []]
    arguments = (case["leafIdx"], case["treeSize"], decoded(case["leafHash"]), proof, decoded(case["root"]))
    if case["wantErr"]:
        with pytest.raises(Refused):
            check_inclusion(*arguments)
    else:
        check_inclusion(*arguments)


@needs_vectors
@pytest.mark.parametrize("file", cases("consistency"))
def test_the_vectors_of_consistency_proofs(file: Path) -> None:
    case = json.loads(file.read_text())
    proof = [decoded(one) for one in case["proof"] or []]
    arguments = (case["size1"], case["size2"], decoded(case["root1"]), decoded(case["root2"]), proof)
    if case["wantErr"]:
        with pytest.raises(Refused):
            check_consistency(*arguments)
    else:
        check_consistency(*arguments)


@needs_vectors
@pytest.mark.parametrize("size", range(16))
def test_the_log_of_others_is_whole_at_every_size(size: int) -> None:
    files = {
        str(file.relative_to(VECTORS / "tlog-tiles" / "log")): file.read_bytes()
        for file in (VECTORS / "tlog-tiles" / "log").rglob("*")
        if file.is_file()
    }
    earlier = [(f"checkpoint.{old}", files[f"checkpoint.{old}"]) for old in range(size + 1)]
    log = Memory({**files, "checkpoint": files[f"checkpoint.{size}"]})
    report = verify_tree(log, [TESSERA], earlier=earlier)
    assert report.problems == []
    assert report.size == size
    later = verify_tree(log, [TESSERA], earlier=[("held", files["checkpoint.15"])])
    assert later.ok == (size == 15)
    # Its entries are none of ours, and that is said of each.
    assert len(verify_log_files(log, [TESSERA]).problems) == size


# -- a log ----------------------------------------------------------------------------------------------------------------------------


def test_a_good_log_is_proven_and_what_is_not_is_said() -> None:
    report = of(twelve())
    assert report.ok
    assert (report.origin, report.size, report.entries, report.open_rollouts) == (ORIGIN, 12, 12, [])
    assert says(report.proven, "of 12 entries, is signed by 'guard.test/log'")
    assert says(report.proven, "12 entries have the signed root")
    assert says(report.proven, f"{ROLLOUT} (10 entries, committed)")
    assert says(report.not_proven, "nobody outside held an earlier head")
    assert says(report.not_proven, "blobs of evidence", "none were given")
    assert says(report.not_proven, "that what the entries say is true")


def test_an_empty_log_is_one() -> None:
    report = of([])
    assert report.ok
    assert report.size == 0


@pytest.mark.parametrize("size", [1, 255, 256, 257, 300])
def test_a_log_on_disk_as_the_writer_leaves_it(tmp_path: Path, size: int) -> None:
    log = Log(LogFolder(tmp_path / "log"), ORIGIN, signer())
    entries = [guard(Kind.GUARD_STARTED, n) for n in range(1, size + 1)]
    log.append(entries[:3])
    held = tmp_path / "held"
    held.write_text(str(log.head))
    for start in range(3, size, 100):
        log.append(entries[start : start + 100])
    report = verify_log(tmp_path / "log", [KEY], checkpoints=[held])
    assert report.problems == []
    assert report.size == size
    assert says(report.proven, f"the first {min(3, size)} entries are those of the checkpoint held in")


def test_a_full_tile_stands_for_a_partial_one_that_was_dropped() -> None:
    """The checkpoint of 200 entries, beside the files of 256: tlog-tiles lets a log drop partial tiles then."""
    entries = [guard(Kind.GUARD_STARTED, n) for n in range(1, 257)]
    full, part = sealed(entries), sealed(entries[:200])
    files = {name: content for name, content in full.files.items() if ".p/" not in name}
    memory = Memory({**files, "checkpoint": part.files["checkpoint"]})
    assert verify_log_files(memory, [KEY]).problems == []
    bad = Memory({**memory.files, "tile/0/000": bytes(8192)})
    found(verify_log_files(bad, [KEY]), "tile/0/000", "hash 0 is not that of entry 0")


def test_every_problem_says_where_it_is() -> None:
    memory = sealed(twelve())
    bundle = bytearray(memory.files["tile/entries/000.p/12"])
    bundle[500] ^= 1
    report = verify_log_files(Memory({**memory.files, "tile/entries/000.p/12": bytes(bundle)}), [KEY])
    found(report, "tile/0/000.p/12", "hash 0 is not that of entry 0")
    found(report, "checkpoint", "do not have the root that was signed")
    assert not says(report.proven, "signed root")


def test_a_checkpoint_for_more_entries_than_there_are_ends_the_reading() -> None:
    text = f"{ORIGIN}\n{2**62}\n{base64.b64encode(bytes(32)).decode()}\n"
    forged = text + "\n" + signer().sign_note(text).line()
    report = verify_log_files(Memory({"checkpoint": forged.encode()}), [KEY])
    found(report, "tile/entries/000", "entries 0 to 255 are not there; nothing from entry 0 on was verified")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda note: b"", "not a signed note"),
        (lambda note: note.replace(b"\n\n", b"\n"), "not a signed note"),
        (lambda note: note[:-1], "not a signed note"),
        (lambda note: note.replace(b"\n12\n", b"\n012\n"), "not a checkpoint"),
        (lambda note: note.replace(b"\n12\n", b"\n12\n\n"), "not a checkpoint"),
        (lambda note: note.replace(b"=\n\n", b"=\nmore\n\n"), "nothing else that nobody could audit"),
        (lambda note: note.replace(b"\n12\n", b"\n99999999999999999999\n"), "not a checkpoint"),
        (lambda note: note.replace(b"guard", b"gu\x07rd"), "control characters"),
        (lambda note: note.replace(b"guard", b"gu\xffrd"), "not text in UTF-8"),
        (lambda note: note.replace("\u2014".encode(), b"-"), "a signature line is malformed"),
        (lambda note: note + "\u2014 witness.test/w AAAA\n".encode(), "has no signature"),
        (lambda note: note + 70 * "\u2014 witness.test/w AAAAAAAA\n".encode(), "more than 64 signatures"),
        (lambda note: note + b"x" * 1_000_000, "more than 1000000 bytes"),
    ],
)
def test_what_is_not_a_checkpoint_is_refused(change: Callable[[bytes], bytes], what: str) -> None:
    note = change(sealed(twelve()).files["checkpoint"])
    with pytest.raises(Refused, match=what):
        read_head(note)


def test_an_unknown_signature_is_ignored() -> None:
    memory = sealed(twelve())
    more = cosigned(memory.files["checkpoint"], 1_777_700_000)
    assert verify_log_files(Memory({**memory.files, "checkpoint": more}), [KEY]).ok


@pytest.mark.parametrize(
    "key",
    [
        "", "name", "name+0+0", KEY + "A", KEY.replace("guard", "gward"), WITNESS, "a b" + KEY[KEY.index("+") :],
        "example.com/foo+530d903a+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
    ],
)  # fmt: skip
def test_a_mistyped_key_is_told_before_anything_is_read(key: str) -> None:
    with pytest.raises(Unreadable):
        verify_log_files(Memory(), [key])


def test_a_key_is_needed_and_belongs_to_its_option() -> None:
    with pytest.raises(Unreadable, match="no key was given"):
        verify_log_files(Memory(), [])
    with pytest.raises(Unreadable, match="belongs to --key, not to --witness"):
        verify_log_files(Memory(), [KEY], witnesses=[KEY])
    assert read_key(f" {KEY}\n").digest == statements.key_id(signer().key)


# -- witnesses ------------------------------------------------------------------------------------------------------------------------


def test_a_witness_says_when_it_saw_the_head() -> None:
    memory = sealed(twelve())
    seen = Memory({**memory.files, "checkpoint": cosigned(memory.files["checkpoint"], 1_777_700_000)})
    report = verify_log_files(seen, [KEY], witnesses=[WITNESS])
    assert report.ok
    assert says(report.proven, "the witness 'witness.test/w' saw the head of 12 entries (checkpoint) at 2026-05-02 05:33:20 UTC")
    assert not says(report.not_proven, "nobody outside")


def test_a_witness_of_a_held_checkpoint_counts() -> None:
    memory, held = sealed(twelve()), cosigned(sealed(twelve()[:5]).files["checkpoint"], 1_777_700_000)
    report = verify_log_files(memory, [KEY], witnesses=[WITNESS], earlier=[("held", held)])
    assert report.ok
    assert says(report.proven, "saw the head of 5 entries (held)")
    found(verify_log_files(memory, [KEY], witnesses=[WITNESS]), "checkpoint", "has not cosigned it")


@pytest.mark.parametrize("unix_s", [0, 2**63 - 1, 2**64 - 1])
def test_times_that_witnesses_may_and_may_not_give(unix_s: int) -> None:
    memory = sealed(twelve())
    seen = Memory({**memory.files, "checkpoint": cosigned(memory.files["checkpoint"], unix_s)})
    assert verify_log_files(seen, [KEY], witnesses=[WITNESS]).ok == (unix_s < 2**63)


# -- entries --------------------------------------------------------------------------------------------------------------------------


def enveloped(payload: bytes, number: int = 1, **changes: Any) -> bytes:
    """An envelope with any payload, signed as it should be."""
    pae = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    line = {"keyid": statements.key_id(signer(number).key), "sig": base64.b64encode(signer(number).sign(pae)).decode()}
    whole = {"payload": base64.b64encode(payload).decode(), "payloadType": "application/vnd.in-toto+json", "signatures": [line]}
    return rfc8785.dumps(whole | changes)


def test_an_entry_is_read_as_it_was_written() -> None:
    for kind in Kind:
        values = {name: sample(spec) for name, spec in entry_kinds.KINDS[kind].items()}
        for rollout in (ROLLOUT, None):
            written = statement(kind, 3, rollout, values, details=digest("details"), based_on=(digest("a"), digest("b")), late=True)
            said = read_statement(written.payload())
            assert (said.kind, said.rollout, said.sequence, said.plan) == (kind.value, rollout, 3, written.plan)
            assert (said.unix_nano, said.late, said.outcome) == (written.unix_nano, True, "done")
            assert set(said.named) >= {digest("details"), digest("a"), digest("b"), written.actor.card}


def sample(spec: entry_kinds.Field) -> Any:
    return {
        Type.COUNT: 7, Type.NUMBER: 2.5, Type.FLAG: True, Type.DIGEST: digest("a value"), Type.DIGESTS: (digest("a value"),),
        Type.VERSION: "1.2.3", Type.WORD: spec.words[0] if spec.words else None,
    }[spec.type]  # fmt: skip


def changed(path: str, value: Any) -> bytes:
    """The payload of a good entry, in canonical form, with one thing other than it may be; `...` removes it."""
    document = json.loads(told_payload())
    *above, last = path.split(".")
    at = document
    for name in above:
        at = at[int(name)] if isinstance(at, list) else at[name]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return rfc8785.dumps(document)


def told_payload() -> bytes:
    return statement(
        Kind.WEIGHT_OBSERVED, 5, values={"candidatePercent": 5.5, "generation": 7, "committed": False}, outcome=Outcome.SEEN
    ).payload()


WRONG = [
    ("_type", "https://in-toto.io/Statement/v2"), ("_type", ...), ("extra", 1), ("subject", []), ("subject", {}), ("subject", [1, 2]),
    ("subject.0.name", "guard"), ("subject.0.name", 5), ("subject.0.uri", "x"), ("subject.0.digest.sha256", "ab"),
    ("subject.0.digest.sha512", "ab"), ("predicateType", "https://verdigris.dev/ledger/weight.watched/v1"), ("predicateType", 1),
    ("predicateType", "https://verdigris.dev/ledger/weight.observed/v2"), ("predicate", []), ("predicate.rollout", ...),
    ("predicate.rollout", None), ("predicate.rollout", "the rollout of Jane Doe"), ("predicate.rollout", ROLLOUT + "\n"),
    ("predicate.sequence", 0), ("predicate.sequence", True), ("predicate.sequence", 1.5), ("predicate.sequence", "1"),
    ("predicate.actor", "Jane Doe"), ("predicate.actor.kind", "robot"), ("predicate.actor.kind", []), ("predicate.actor.card", "Jane Doe"),
    ("predicate.actor.name", "Jane Doe"), ("predicate.time", "2026-05-01T12:00:00Z"), ("predicate.time", 1),
    ("predicate.time", "2026-02-30T12:00:00.000000000Z"), ("predicate.time", "2026-05-01T12:00:61.000000000Z"),
    ("predicate.time", "0000-05-01T12:00:01.000000000Z"), ("predicate.time", "1901-05-01T12:00:01.000000000Z"),
    ("predicate.clock.synchronised", "by Jane Doe"), ("predicate.clock.synchronised", 1), ("predicate.clock.errorMs", "none"),
    ("predicate.clock.errorMs", -1), ("predicate.clock.errorMs", True), ("predicate.clock.source", "x"), ("predicate.clock", None),
    ("predicate.outcome", "well"), ("predicate.outcome", []), ("predicate.outcome", ...), ("predicate.late", "no"), ("predicate.late", 0),
    ("predicate.basedOn", {}), ("predicate.basedOn", "x"), ("predicate.basedOn", ["x"]), ("predicate.basedOn", [digest("a")] * 201),
    ("predicate.basedOn", [None]), ("predicate.details", "it went well"), ("predicate.details", ...), ("predicate.values", []),
    ("predicate.values.committed", ...), ("predicate.values.committed", "no"), ("predicate.values.committed", 0),
    ("predicate.values.note", "it went well"), ("predicate.values.generation", 1.5), ("predicate.values.generation", -1),
    ("predicate.values.candidatePercent", "5.5"), ("predicate.values.candidatePercent", True), ("predicate.comment", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[f"{path}={str(value)[:30]!r}" for path, value in WRONG])
def test_an_entry_with_anything_that_its_kind_does_not_allow_is_refused(path: str, value: Any) -> None:
    with pytest.raises(Refused):
        read_statement(changed(path, value))
    found(of([enveloped(changed(path, value))]), "entry 0", "")


def test_values_may_be_null_or_left_out_only_where_the_kind_says_so() -> None:
    read_statement(changed("predicate.values.generation", None))
    read_statement(changed("predicate.values.candidatePercent", None))
    intended = {"candidatePercent": 5, "generation": 7}
    read_statement(statement(Kind.WEIGHT_INTENDED, 1, values=intended).payload())
    for value in (None, "x"):
        with pytest.raises(Refused, match=r"step is not what a weight\.intended may say"):
            read_statement(
                rfc8785.dumps(
                    json.loads(statement(Kind.WEIGHT_INTENDED, 1, values=intended).payload())
                    | {"predicate": _with_step(intended, value)}
                )
            )  # fmt: skip


def _with_step(intended: Mapping[str, Any], value: Any) -> Any:
    predicate = json.loads(statement(Kind.WEIGHT_INTENDED, 1, values=intended).payload())["predicate"]
    predicate["values"]["step"] = value
    return predicate


def test_the_same_in_other_bytes_is_refused() -> None:
    payload = told_payload()
    with pytest.raises(Refused, match="not in canonical form"):
        read_statement(payload.replace(b'{"_type"', b'{ "_type"'))
    with pytest.raises(Refused, match="not in canonical form"):
        read_statement(payload.replace(b"5.5", b"5.50"))


KEYS = {statements.key_id(signer(n).key): read_key(str(signer(n).key)) for n in (1, 2)}


def test_an_envelope_has_nothing_that_nobody_has_signed() -> None:
    good = json.loads(enveloped(told_payload()))
    assert read_envelope(rfc8785.dumps(good), KEYS)[0] == told_payload()
    line = good["signatures"][0]
    for bad, what in (
        (good | {"comment": "Jane Doe"}, "what it may not have"),
        (good | {"payloadType": "text/plain"}, "its payload type is 'text/plain'"),
        (good | {"signatures": []}, "no signature"),
        (good | {"signatures": {}}, "no signature"),
        (good | {"signatures": [line | {"comment": "Jane Doe"}]}, "what it may not have"),
        (good | {"signatures": [line, line]}, "signed it twice"),
        (good | {"signatures": [line, line | {"keyid": "ab" * 32}]}, "a key that was not given with --key"),
        (good | {"signatures": [line | {"keyid": statements.key_id(signer(2).key)}]}, "was changed, or forged"),
        (good | {"signatures": [line | {"sig": 5}]}, "is not text"),
        (good | {"signatures": [line | {"sig": "AA"}]}, "not base64"),
        (good | {"signatures": [line | {"sig": "AB=="}]}, "something left over"),
        (good | {"payload": good["payload"] + "\n"}, "not base64"),
        ([good], "is not an object"),
    ):
        with pytest.raises(Refused, match=what):
            read_envelope(rfc8785.dumps(bad), KEYS)
    with pytest.raises(Refused, match="more than 65535 bytes"):
        read_envelope(b" " * 65_536, KEYS)


# -- keys that change -----------------------------------------------------------------------------------------------------------------

OLD, NEW = (statements.key_id(signer(n).key) for n in (1, 2))
BOTH = [KEY, OTHER_KEY]


def rotation(sequence: int, old: str = OLD, new: str = NEW, keys: tuple[int, ...] = (1, 2)) -> bytes:
    return entry(Kind.KEY_ROTATED, sequence, None, {"old": old, "new": new}, keys=keys)


def started(sequence: int, *keys: int) -> bytes:
    return guard(Kind.GUARD_STARTED, sequence, keys=keys)


def test_a_key_that_both_signed_for_is_trusted_from_then_on() -> None:
    entries = [started(1, 1), rotation(2), started(3, 2)]
    report = verify_log_files(sealed(entries, 2), BOTH)
    assert report.problems == []
    assert says(report.notes, "entry 1 replaced the key 'guard.test/log'")


def test_without_the_new_key_it_is_said_that_it_was_not_given() -> None:
    entries = [started(1, 1), rotation(2), started(3, 2)]
    report = of(entries)
    found(report, "entry 1", f"it is signed by a key that was not given with --key: SHA-256 '{NEW}'")
    found(report, "entry 2", "where a log changed its key, the old one and the new one are needed")


@pytest.mark.parametrize(
    ("entries", "where", "what"),
    [
        ([started(1, 1), rotation(2), started(3, 1)], "entry 2", "which entry 1 had replaced"),
        ([started(1, 1), started(2, 2), rotation(3)], "entry 2", "which had signed entry 1 before anybody trusted it"),
        ([started(1, 1), rotation(2, keys=(1,))], "entry 1", "not exactly these two have signed it"),
        ([started(1, 1), rotation(2, keys=(2,))], "entry 1", "not exactly these two have signed it"),
        ([started(1, 1), rotation(2, *ROTATED)], "entry 1", "not exactly these two have signed it"),
        ([started(1, 1), rotation(2, new=OLD, keys=(1,))], "entry 1", "not exactly these two have signed it"),
        ([started(1, 1), rotation(2), rotation(3)], "entry 2", "which entry 1 had replaced"),
    ],
)
def test_a_key_is_not_in_force_before_or_after_its_time(entries: list[bytes], where: str, what: str) -> None:
    found(verify_log_files(sealed(entries, 2), BOTH), where, what)


def test_a_key_may_come_back() -> None:
    entries = [started(1, 1), rotation(2), started(3, 2), rotation(4, NEW, OLD), started(5, 1)]
    assert verify_log_files(sealed(entries), BOTH).problems == []


def test_a_replaced_key_signs_no_checkpoint_but_the_one_of_its_replacement() -> None:
    entries = [started(1, 1), rotation(2)]
    report = verify_log_files(sealed(entries), BOTH)
    assert report.ok
    assert says(report.notes, "still signed by the key that its last entry replaced")
    found(verify_log_files(sealed([*entries, started(3, 2)]), BOTH), "checkpoint", "only a key that entry 1 had replaced has signed it")


# -- the story ------------------------------------------------------------------------------------------------------------------------


def opening(key: str, sequence: int = 1, **more: Any) -> bytes:
    return entry(Kind.LEDGER_OPENED, sequence, None, {"key": key, "version": "0.1.0"}, **more)


def test_the_key_that_a_ledger_was_opened_with_is_the_one_that_signs_it() -> None:
    mine, other = read_key(KEY).digest, read_key(OTHER_KEY).digest
    report = of([opening(mine), *told()])
    assert report.problems == []
    assert says(report.proven, "every key that has signed is the one that entry 0 opened the ledger with")
    found(of([opening(other), *told()], keys=[KEY, OTHER_KEY]), "entry 0", "that one has not signed it")
    found(of([opening(digest("a key"))]), "entry 0", "a key that was not given with --key")


def test_a_key_that_the_ledger_does_not_name_is_told() -> None:
    mine = read_key(KEY).digest
    report = of([opening(mine), *told(), guard(Kind.GUARD_STARTED, 1, keys=(2,), actor=Actor(ActorKind.GUARD, digest("another")))], keys=[
        KEY, OTHER_KEY,
    ])  # fmt: skip
    assert report.problems == []
    assert says(report.notes, "these keys have signed, and neither", read_key(OTHER_KEY).digest)
    assert not says(report.proven, "every key that has signed")
    rotated = entry(Kind.KEY_ROTATED, 2, None, {"old": mine, "new": read_key(OTHER_KEY).digest}, keys=(1, 2))
    after = [entry(Kind.GUARD_STOPPED, 3, None, {}, keys=(2,))]
    report = verify_log_files(sealed([opening(mine), rotated, *after], 2), [KEY, OTHER_KEY])
    assert report.problems == []
    assert says(report.proven, "every key that has signed")


def test_gaps_and_repetitions_are_named() -> None:
    of_rollout = told()
    found(of([*of_rollout[:3], *of_rollout[4:]]), "entry 3", f"in the rollout {ROLLOUT} it has number 5, and 4 is missing before it")
    found(of(of_rollout[3:]), "entry 0", "it has number 4, and 1 to 3 is missing before it")
    found(of([*of_rollout[:3], *of_rollout[2:]]), "entry 3", "it has number 3, and 3 came before")
    found(of([started(2, 1)]), "entry 0", "says of itself it has number 2, and 1 is missing before it")


def test_guards_and_rollouts_have_sequences_of_their_own() -> None:
    other = statements.Actor(statements.ActorKind.GUARD, digest("the card of another guard"))
    entries = [started(1, 1), guard(Kind.GUARD_STARTED, 1, actor=other)]
    for one, another in zip(told(), told(ANOTHER), strict=True):
        entries += [one, another]
    report = of([*entries, started(2, 1)])
    assert report.problems == []
    assert report.entries == 23


def test_a_rollout_without_an_end_is_an_open_question_and_no_error() -> None:
    report = of([*told(ended=False), *told(ANOTHER)])
    assert report.ok
    assert report.open_rollouts == [ROLLOUT]
    assert says(report.not_proven, "how these rollouts ended", ROLLOUT)


def test_nothing_follows_the_end() -> None:
    late = entry(Kind.REQUEST, 11, values={"request": "abort"})
    found(of([*told(), late]), "entry 10", "it follows the end of the rollout")
    twice = entry(Kind.ROLLOUT_ENDED, 11, values={"phase": "rolled back"})
    found(of([*told(), twice]), "entry 10", "it follows the end of the rollout")


def weights(*said: tuple[Kind, float | None, int | None, Outcome]) -> list[bytes]:
    entries = []
    for n, (kind, percent, generation, outcome) in enumerate(said, 1):
        observed: dict[str, entry_kinds.Value] = {} if kind.value.endswith("intended") else {"committed": False}
        values: dict[str, entry_kinds.Value] = {"candidatePercent": percent, "generation": generation, **observed}
        entries.append(entry(kind, n, values=values, outcome=outcome))
    return entries


INTENDED = (Kind.WEIGHT_INTENDED, 5.0, 7, Outcome.ANNOUNCED)


def test_a_weight_that_was_not_announced_is_found() -> None:
    seen = (Kind.WEIGHT_OBSERVED, 5.0, 7, Outcome.SEEN)
    assert of(weights(INTENDED, seen)).ok
    assert of(weights((Kind.WEIGHT_OBSERVED, 0, None, Outcome.SEEN))).ok
    assert of(weights((Kind.WEIGHT_OBSERVED, None, None, Outcome.FAILED))).ok
    found(of(weights(seen)), "entry 0", "5 % was observed with generation 7, and no weight of it was intended before")
    found(of(weights(INTENDED, (Kind.WEIGHT_OBSERVED, 5.0, 8, Outcome.SEEN))), "entry 1", "generation 8")
    found(of(weights(INTENDED, (Kind.WEIGHT_OBSERVED, 5.0, None, Outcome.SEEN))), "entry 1", "no generation")
    found(of(weights((Kind.WEIGHT_OBSERVED, 5.0, 8, Outcome.FAILED))), "entry 0", "generation 8")


def test_traffic_that_somebody_else_moved_is_a_remark_where_it_is_recorded_as_failed() -> None:
    report = of(weights(INTENDED, (Kind.WEIGHT_OBSERVED, 50.0, 9, Outcome.FAILED)))
    assert report.ok
    assert says(report.notes, "entry 1: the proxy sent 50 % to the candidate with generation 9", "had not intended")


def test_a_commit_that_was_not_announced_is_found() -> None:
    found(of(weights((Kind.COMMIT_OBSERVED, 100, None, Outcome.SEEN))), "entry 0", "a commit was observed that was not intended before")
    assert of(weights((Kind.COMMIT_INTENDED, 100, 8, Outcome.ANNOUNCED), (Kind.COMMIT_OBSERVED, 100, None, Outcome.SEEN))).ok


def test_a_rollout_has_one_plan() -> None:
    found(of([*told()[:1], entry(Kind.GUARD_RECOVERED, 2, values={"term": 2}, plan=digest("b"))]), "entry 1", "it names the plan")


def test_times_that_go_back_are_a_remark() -> None:
    def at(n: int, unix_s: float, **more: Any) -> bytes:
        return guard(Kind.GUARD_STARTED, n, unix_nano=int((START_UNIX_S + unix_s) * NANO), **more)

    report = of([at(1, 100), at(2, 96), at(3, 94), at(4, 101), at(5, 50, late=True)])
    assert report.ok
    assert says(report.notes, "times go back by more than 5 s at these entries: 2")
    assert says(report.not_proven, "they are marked late: 4")


def test_clocks_that_nothing_kept_right_are_a_remark() -> None:
    assert says(of([guard(Kind.GUARD_STARTED, 1, clock=Clock(synchronised=False))]).notes, "1 entries have the time of a clock")


def test_problems_are_listed_up_to_a_bound_and_counted_beyond() -> None:
    report = of([b"x"] * 1_200)
    assert (len(report.problems), report.more_problems) == (1_000, 200)
    assert "and 200 more" in verify.printed(report)


# -- evidence -------------------------------------------------------------------------------------------------------------------------

BLOB = b"what was seen"
CARD = digest("the card of the guard")


def with_evidence(folder: Path, **files: bytes) -> Report:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return of([entry(Kind.PLAN_SUBMITTED, 1, based_on=(digest(BLOB.decode()),))], evidence=verify.Folder(folder, links=False))


def test_evidence_is_there_or_not_or_another(tmp_path: Path) -> None:
    name = digest(BLOB.decode())
    assert says(with_evidence(tmp_path / "a", **{name: BLOB}).proven, "1 blobs of evidence")
    assert says(with_evidence(tmp_path / "b", **{f"{name}.gz": gzip.compress(BLOB)}).proven, "1 blobs of evidence")
    found(with_evidence(tmp_path / "c", **{name: b"another"}), f"evidence {name}", "another SHA-256")
    found(with_evidence(tmp_path / "d", **{f"{name}.gz": b"no gzip"}), f"evidence {name}.gz", "cannot be read")
    found(with_evidence(tmp_path / "e", **{f"{name}.gz": gzip.compress(BLOB)[:-9]}), f"evidence {name}.gz", "cannot be read")
    found(with_evidence(tmp_path / "f", **{name: BLOB, f"{name}.gz": gzip.compress(b"another")}), f"evidence {name}.gz", "another")
    report = with_evidence(tmp_path / "g", **{digest("of nobody"): b"of nobody", "notes.txt": b""})
    assert says(report.notes, "named by no entry here")
    assert says(report.notes, "files among the evidence that are none", "notes.txt")
    found(report, "evidence", f"2 blobs are not here, and no entry says that they were erased: {CARD} (entry 0), {name} (entry 0)")


def test_a_bomb_of_zeros_is_not_unpacked_whole(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(65_000_000))
    found(with_evidence(tmp_path / "a", **{f"{digest('x')}.gz": bomb}), f"evidence {digest('x')}.gz", "more than the 64000000 bytes")


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / digest("x"))
    found(with_evidence(tmp_path / "a"), "evidence", "is not a plain file")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / digest("x")).symlink_to("/dev/zero")
    found(with_evidence(tmp_path / "b"), "evidence", "is not a plain file")
    os.mkfifo(tmp_path / "checkpoint")
    found(verify_log(tmp_path, [KEY]), "checkpoint", "it is not a plain file")


def erased_at(sequence: int, *digests: str, why: str = "asked", at_unix_s: int = START_UNIX_S + 100) -> bytes:
    return entry(Kind.EVIDENCE_ERASED, sequence, None, {"erased": digests, "why": why}, unix_nano=at_unix_s * NANO)


def left(*gone: str) -> Memory:
    return Memory({PLAN_DIGEST: PLAN} | {name: blob for name, blob in EVIDENCE.items() if name not in gone})


def test_what_was_erased_and_recorded_is_told_apart_from_what_is_missing() -> None:
    entries = [*told(), erased_at(1, digest("details")), erased_at(2, digest("looks"), why="retention")]
    report = of(entries, evidence=left(digest("details"), digest("looks")))
    assert report.problems == []
    when = "which were erased and recorded as erased at 2026-05-01 12:01:40 UTC, because"
    assert says(report.not_proven, f"what 1 blobs said, {when} somebody asked for it (entry 10): {digest('details')}")
    assert says(report.not_proven, f"what 1 blobs said, {when} their retention had passed (entry 11): {digest('looks')}")
    report = of(entries, evidence=left(digest("details"), digest("looks"), digest("judgement")))
    found(report, "evidence", f"1 blobs are not here, and no entry says that they were erased: {digest('judgement')} (entry 5)")
    assert says(of(entries, evidence=left(digest("looks"))).notes, "1 blobs were recorded as erased and are here", digest("details"))


def test_what_is_named_again_after_it_was_called_erased_must_be_there() -> None:
    again = told("20260501-130000-ab12")
    found(of([*told(), erased_at(1, digest("details")), *again], evidence=left(digest("details"))), "evidence", "1 blobs are not here")
    assert of([*told(), *again, erased_at(1, digest("details"))], evidence=left(digest("details"))).ok


def test_what_a_running_rollout_is_judged_by_may_not_be_erased() -> None:
    running = [*told(ended=False), erased_at(1, digest("reference"))]
    found(of(running, evidence=left(digest("reference"))), "entry 9", f"it erased what the rollout {ROLLOUT} is judged by")
    assert of(running, evidence=left()).ok, "it was announced, and then it was needed"


def test_a_look_is_named_by_the_list_that_a_verdict_names() -> None:
    looks = rfc8785.dumps([digest("look one"), digest("look two")])
    name = hashlib.sha256(looks).hexdigest()
    entries = told()
    payload = json.loads(base64.b64decode(json.loads(entries[5])["payload"]))
    payload["predicate"]["values"]["looks"] = name
    entries[5] = enveloped(rfc8785.dumps(payload))
    there = left(digest("looks")).files | {name: looks, digest("look one"): b"look one"}
    found(
        of(entries, evidence=Memory(there)),
        "evidence",
        f"1 blobs are not here, and no entry says that they were erased: {digest('look two')}",
    )
    erased = [*entries, erased_at(1, digest("look two"), why="retention")]
    assert of(erased, evidence=Memory(there)).ok


# -- a proof --------------------------------------------------------------------------------------------------------------------------


def proof_of(index: int) -> bytes:
    memory = Memory()
    log = Log(memory, ORIGIN, signer())
    log.append(twelve())
    return str(log.proof(index)).encode()


@pytest.mark.parametrize("index", range(12))
def test_an_entry_is_shown_with_its_proof_and_no_other_is(index: int) -> None:
    report = verify_proof(proof_of(index), twelve()[index], [KEY])
    assert report.problems == []
    assert says(report.proven, f"the entry is the one that this log has at index {index}")
    other = verify_proof(proof_of(index), twelve()[index - 1], [KEY])
    found(other, f"entry {index}", "this entry is not what the log has there")
    found(verify_proof(proof_of(index), twelve()[index], [OTHER_KEY]), "proof", "no key that was given")


def test_every_flipped_bit_of_a_proof_is_found() -> None:
    proof, entry_bytes = proof_of(5), twelve()[5]
    for bit in range(8 * len(proof)):
        bad = bytearray(proof)
        bad[bit // 8] ^= 1 << bit % 8
        assert verify_proof(bytes(bad), entry_bytes, [KEY], ours=False).problems, bit


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (b"", "no empty line"), (b"c2sp.org/tlog-proof@v2\nindex 0\n\nx", "its first line is not"),
        (b"c2sp.org/tlog-proof@v1\n\nx", "does not say which entry"),
        (b"c2sp.org/tlog-proof@v1\nindex 01\n\nx", "does not say which entry"),
        (b"c2sp.org/tlog-proof@v1\nindex -1\n\nx", "does not say which entry"), (b"c2sp.org/tlog-proof@v1\nindex 0\n!\n\nx", "not base64"),
        (b"c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\nx", "not base64"),
        (b"c2sp.org/tlog-proof@v1\nindex 0" + b"\nAAAA" * 64 + b"\n\nx", "63"),
        (b"x" * 1_010_001, "more than 1010000 bytes"), (b"\xff\n\n", "no empty line"),
    ],
)  # fmt: skip
def test_what_is_not_a_proof_file_is_refused(file: bytes, what: str) -> None:
    with pytest.raises(Refused, match=what):
        read_proof(file)
    assert not verify_proof(file, b"", [KEY]).ok


def test_extra_data_of_a_proof_is_allowed_and_not_believed() -> None:
    with_extra = proof_of(5).replace(b"@v1\n", b"@v1\nextra SmFuZSBEb2U=\n")
    report = verify_proof(with_extra, twelve()[5], [KEY])
    assert report.ok
    assert "Jane" not in verify.printed(report)


# -- a pack ---------------------------------------------------------------------------------------------------------------------------

CHOSEN = range(1, 11)


PACK = packed(twelve(), CHOSEN)


def pack_of(**changes: bytes | None) -> dict[str, bytes]:
    files: dict[str, bytes | None] = {**PACK, **changes}
    return {name: content for name, content in files.items() if content is not None}


def unpacked(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(file: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return file


def test_a_pack_is_proven_as_a_folder_and_as_a_zip_file(tmp_path: Path) -> None:
    files = pack_of(**{"verify.py": b"anything"})
    for pack in (unpacked(tmp_path / "pack", files), zipped(tmp_path / "pack.zip", files)):
        report = verify_pack(pack, [KEY])
        assert report.problems == []
        assert (report.size, report.entries, report.open_rollouts) == (12, 10, [])
        assert says(report.proven, "10 entries are in the log under that checkpoint")
        assert says(report.proven, "plan.json is the plan")
        assert says(report.proven, "has the 27 files of its manifest")
        assert says(report.not_proven, "that the log has no more entries")
        assert says(report.not_proven, "which nobody signed")
        assert says(report.proven, "6 blobs of evidence are what the entries name")
        assert not says(report.not_proven, PLAN_DIGEST)


def test_evidence_in_a_pack(tmp_path: Path) -> None:
    others = {name: blob for name, blob in EVIDENCE.items() if name != digest("looks")}
    files = packed(twelve(), CHOSEN, others | {f"{digest('looks')}.gz": gzip.compress(b"looks")})
    report = verify_pack(zipped(tmp_path / "pack.zip", files), [KEY])
    assert report.problems == []
    assert says(report.proven, "6 blobs of evidence are what the entries name")
    bad = listed({**files, f"evidence/{digest('judgement')}": b"another"}, list(CHOSEN))
    found(verify_pack(zipped(tmp_path / "bad.zip", bad), [KEY]), f"evidence {digest('judgement')}", "another SHA-256")


def test_heads_that_are_held_beside_a_pack(tmp_path: Path) -> None:
    pack = zipped(tmp_path / "pack.zip", pack_of())
    heads = {}
    for name, entries in (
        ("same", twelve()),
        ("forked", [*twelve()[:11], started(2, 1)]),
        ("older", twelve()[:5]),
        ("newer", [*twelve(), started(3, 1)]),
    ):
        heads[name] = tmp_path / name
        heads[name].write_bytes(sealed(entries).files["checkpoint"])
    assert says(verify_pack(pack, [KEY], checkpoints=[heads["same"]]).proven, "its head is the one held in")
    assert not verify_pack(pack, [KEY], checkpoints=[heads["forked"]]).ok
    for name in ("older", "newer"):
        report = verify_pack(pack, [KEY], checkpoints=[heads[name]])
        assert report.ok
        assert says(report.not_proven, "held in", "are of one history: the whole log shows it")


ENTRY_4, PROOF_4 = "entries/4.json", "proofs/4.tlog-proof"


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"notes.txt": b"put in"}, "notes.txt", "the manifest does not name it"),
        ({"evidence/" + "ab" * 32: b"put in"}, "evidence/" + "ab" * 32, "the manifest does not name it"),
        ({ENTRY_4: None}, ENTRY_4, "the manifest names it, and it is missing"),
        ({PROOF_4: None}, "entry 4", "it or its proof is missing"),
        ({ENTRY_4: told()[4]}, PROOF_4, "this entry is not what the log has there"),
        ({ENTRY_4: b"x" * 65_536}, ENTRY_4, "more than the 65535 bytes"),
        ({PROOF_4: proof_of(5)}, PROOF_4, "it is for entry 5"),
        ({"plan.json": b"{}"}, "plan.json", "it is not the plan"),
        ({"plan.json": None}, "plan.json", "it is missing"),
        ({"checkpoint": sealed(twelve()[:11]).files["checkpoint"]}, PROOF_4, "it has another checkpoint than the pack"),
        ({"checkpoint": None}, "checkpoint", "it is missing"),
        ({"manifest.json": None}, "manifest.json", "it is missing: this is not an evidence pack"),
        ({"manifest.json": b"{}"}, "manifest.json", "the manifest has no entries, files, format, rollout"),
        ({"manifest.json": b"[" * 9_000_000}, "manifest.json", "more than the 8000000 bytes"),
    ],
)  # fmt: skip
def test_what_is_changed_in_a_pack_is_found(tmp_path: Path, changes: dict[str, bytes | None], where: str, what: str) -> None:
    for pack in (unpacked(tmp_path / "pack", pack_of(**changes)), zipped(tmp_path / "pack.zip", pack_of(**changes))):
        found(verify_pack(pack, [KEY]), where, what)


@pytest.mark.parametrize(
    ("chosen", "other", "where", "what"),
    [
        ([1, 2, 4, 5, 6, 7, 8, 9, 10], {}, "entry 4", "it has number 4, and 3 is missing"),
        (list(range(2, 11)), {}, "entry 2", "it has number 2, and 1 is missing"),
        (list(CHOSEN), {"rollout": ANOTHER}, "entry 1", f"and this pack is of {ANOTHER}"),
        (list(CHOSEN), {"rollout": "../../etc"}, "manifest.json", "an id that no guard makes"),
        (list(CHOSEN), {"entries": [2, 1]}, "manifest.json", "not in order"),
        (list(CHOSEN), {"entries": [1, 1]}, "manifest.json", "not in order"),
        (list(CHOSEN), {"entries": []}, "manifest.json", "none"),
        (list(CHOSEN), {"entries": ["1"]}, "manifest.json", "not a list of indices"),
        (list(CHOSEN), {"entries": [1, 2]}, "entries/3.json", "has no entry that it belongs to"),
        (list(CHOSEN), {"format": "verdigris.pack/2"}, "manifest.json", "its format is 'verdigris.pack/2'"),
        (list(CHOSEN), {"files": {"../../etc/passwd": "ab" * 32}}, "manifest.json", "not names with their SHA-256"),
        (list(CHOSEN), {"more": 1}, "manifest.json", "what it may not have"),
    ],
)
def test_a_pack_with_another_manifest_is_found(
    tmp_path: Path, chosen: list[int], other: dict[str, Any], where: str, what: str
) -> None:  # fmt: skip
    files = packed(twelve(), chosen)
    found(verify_pack(zipped(tmp_path / "pack.zip", listed(files, chosen, other)), [KEY]), where, what)


def rewritten(folder: Path, files: Mapping[str, bytes | None], chosen: Sequence[int], other: Mapping[str, Any] | None = None) -> Report:
    """What somebody without a key makes of a pack: other files, and a manifest that fits them, which nobody signs."""
    whole = {name: content for name, content in {**PACK, **files}.items() if content is not None and name != "manifest.json"}
    return verify_pack(unpacked(folder, listed(whole, list(chosen), other)), [KEY])


def test_nothing_is_believed_because_the_manifest_says_so(tmp_path: Path) -> None:
    middle, last = CHOSEN[4], CHOSEN[-1]

    def without(index: int) -> dict[str, bytes | None]:
        return {f"entries/{index}.json": None, f"proofs/{index}.tlog-proof": None}

    report = rewritten(tmp_path / "middle", without(middle), [one for one in CHOSEN if one != middle])
    found(report, f"entry {middle + 1}", "is missing before it")
    # What is missing at the end is in no gap: it is said that only the whole log shows it, and that the rollout has no end here.
    report = rewritten(tmp_path / "last", without(last), CHOSEN[:-1])
    assert report.ok
    assert report.open_rollouts == [ROLLOUT]
    assert says(report.not_proven, "the log has no more entries of the rollout")
    changed = PACK[f"entries/{middle}.json"][:-3] + b"AA" + PACK[f"entries/{middle}.json"][-1:]
    assert rewritten(tmp_path / "changed", {f"entries/{middle}.json": changed}, CHOSEN).problems
    moved = {f"entries/{middle}.json": PACK[f"entries/{last}.json"], f"proofs/{middle}.tlog-proof": PACK[f"proofs/{last}.tlog-proof"]}
    found(rewritten(tmp_path / "moved", moved, CHOSEN), f"proofs/{middle}.tlog-proof", f"it is for entry {last}")
    found(rewritten(tmp_path / "plan", {"plan.json": b"{}"}, CHOSEN), "plan.json", "it is not the plan")
    found(rewritten(tmp_path / "rollout", {}, CHOSEN, {"rollout": ANOTHER}), "entry 1", f"this pack is of {ANOTHER}")
    assert rewritten(tmp_path / "head", {"checkpoint": sealed(twelve(), 2).files["checkpoint"]}, CHOSEN).problems


def test_what_only_the_manifest_speaks_for_is_told_as_not_proven(tmp_path: Path) -> None:
    report = rewritten(tmp_path / "report", {"report.html": b"all is well", "oscal/poam.json": b"{}"}, CHOSEN)
    assert report.ok
    assert says(report.not_proven, "neither entries, proofs, evidence nor the plan", "which nobody signed")
    assert not says(report.proven, "report.html")


def test_a_pack_may_have_entries_of_the_guard_and_of_keys(tmp_path: Path) -> None:
    report = verify_pack(zipped(tmp_path / "pack.zip", packed(twelve(), range(12))), [KEY])
    assert report.problems == []
    entries = [started(1, 1), rotation(2), *(entry(Kind.PLAN_SUBMITTED, 1, keys=(1,)),)]
    memory = Memory()
    log = Log(memory, ORIGIN, signer(2))
    log.append(entries)
    files = {"checkpoint": memory.files["checkpoint"], "plan.json": packed(twelve(), [1])["plan.json"]}
    for index, one in enumerate(entries):
        files |= {f"entries/{index}.json": one, f"proofs/{index}.tlog-proof": str(log.proof(index)).encode()}
    report = verify_pack(zipped(tmp_path / "rotated.zip", listed(files, [0, 1, 2])), BOTH)
    found(report, "entry 2", "which entry 1 had replaced")
    assert says(report.not_proven, "that each key was in force when it signed")


def hostile_zip(*infos: tuple[str, int, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, mode, content in infos:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (hostile_zip(("../evil", 0o100644, b"x")), "a name that no pack has"),
        (hostile_zip(("/etc/passwd", 0o100644, b"x")), "a name that no pack has"),
        (hostile_zip(("a\\b", 0o100644, b"x")), "a name that no pack has"),
        (hostile_zip(("a//b", 0o100644, b"x")), "a name that no pack has"),
        (hostile_zip(("a\x1b[31m", 0o100644, b"x")), "a name that no pack has"),
        (hostile_zip(("link", 0o120777, b"/etc/passwd")), "link is not a plain file"),
        (hostile_zip(("device", 0o020666, b"")), "device is not a plain file"),
        (b"", "it is not a zip file"),
        (b"PK\x05\x06", "it is not a zip file"),
        (b"not a zip file at all" * 10, "it is not a zip file"),
        (b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18), "more than 4 GB"),
        (b"PK\x05\x06" + bytes(8) + b"\xff\xff\xff\x7f" + bytes(6), "its directory has more than"),
        (hostile_zip(), "manifest.json"),
    ],
)
def test_a_hostile_zip_file_gets_a_sentence(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "pack.zip").write_bytes(content)
    report = verify_pack(tmp_path / "pack.zip", [KEY])
    assert any(what in f"{one.where} {one.what}" for one in report.problems), report.problems


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_file_with_two_files_of_one_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pack.zip").write_bytes(hostile_zip(("a", 0o100644, b"x"), ("a", 0o100644, b"y")))
    found(verify_pack(tmp_path / "pack.zip", [KEY]), "pack", "two files of the name a")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pack.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("manifest.json", bytes(9_000_000))
    found(verify_pack(tmp_path / "pack.zip", [KEY]), "manifest.json", "more than the 8000000 bytes")


def test_links_in_a_pack_are_not_followed(tmp_path: Path) -> None:
    pack = unpacked(tmp_path / "pack", pack_of())
    (pack / "entries" / "4.json").unlink()
    (pack / "entries" / "4.json").symlink_to("5.json")
    found(verify_pack(pack, [KEY]), "pack", "'entries/4.json' is not a plain file")


def test_any_flipped_bit_of_a_packs_files_is_found(tmp_path: Path) -> None:
    """One bit of each 97th byte of each file."""
    files = packed(twelve(), CHOSEN)
    pack = unpacked(tmp_path / "pack", files)
    count = 0
    for name, content in files.items():
        for byte in range(0, len(content), 97):
            bad = bytearray(content)
            bad[byte] ^= 1 << byte % 8
            (pack / name).write_bytes(bad)
            assert verify_pack(pack, [KEY]).problems, (name, byte)
            count += 1
        (pack / name).write_bytes(content)
    assert count == 193
    assert verify_pack(pack, [KEY]).ok


@given(st.data())
def test_a_damaged_zip_file_is_found_or_has_the_same_content(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Dates and the like in a zip file are nobody's words: changing them changes nothing of the pack."""
    folder = tmp_path_factory.mktemp("zip")
    content = bytearray(zipped(folder / "good.zip", pack_of()).read_bytes())
    good = verify_pack(folder / "good.zip", [KEY])
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    (folder / "bad.zip").write_bytes(content)
    bad = verify_pack(folder / "bad.zip", [KEY])
    assert bad.problems or bad == good
    shutil.rmtree(folder)


# -- the command ----------------------------------------------------------------------------------------------------------------------


def on_disk(folder: Path, memory: Memory) -> str:
    return str(unpacked(folder, memory.files))


def test_the_exit_code_says_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = on_disk(tmp_path / "log", sealed(twelve()))
    (tmp_path / "held").write_bytes(sealed([*twelve(), started(3, 1)]).files["checkpoint"])
    assert main(["log", folder, "--key", KEY]) == 0
    assert capsys.readouterr().out.startswith("Proven:\n  - the checkpoint of the log 'guard.test/log', of 12 entries, is signed by")
    assert main(["log", folder, "--key", OTHER_KEY]) == 1
    assert "WRONG:\n  - checkpoint: no key that was given has signed it" in capsys.readouterr().out
    assert main(["log", folder, "--key", KEY, "--checkpoint", str(tmp_path / "held")]) == 1
    assert "its tail was cut off" in capsys.readouterr().out
    assert main(["log", folder, "--key", KEY, "--origin", "another"]) == 1
    assert main(["log", str(tmp_path / "nowhere"), "--key", KEY]) == 2
    assert main(["log", folder, "--key", "mistyped"]) == 2
    assert main(["log", folder, "--key", KEY, "--checkpoint", str(tmp_path / "nowhere")]) == 2
    assert main(["pack", str(tmp_path / "nowhere"), "--key", KEY]) == 2
    assert "there is no pack" in capsys.readouterr().err
    for call in ([], ["log"], ["log", folder], ["verify", folder, "--key", KEY]):
        with pytest.raises(SystemExit) as ended:
            main(call)
        assert ended.value.code == 2


def test_json_has_all_of_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "proof").write_bytes(proof_of(4))
    (tmp_path / "entry").write_bytes(twelve()[4])
    assert main(["proof", str(tmp_path / "proof"), str(tmp_path / "entry"), "--key", KEY, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {
        "format", "ok", "subject", "origin", "size", "entries", "proven", "not_proven", "notes", "open_rollouts", "problems",
        "more_problems",
    }  # fmt: skip
    assert (document["format"], document["ok"], document["subject"], document["size"]) == ("verdigris.verification/1", True, "proof", 12)
    assert main(["proof", str(tmp_path / "proof"), str(tmp_path / "proof"), "--key", KEY, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0].keys() == {"where", "what"}


def test_a_mistake_of_its_own_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: Any, **__: Any) -> Report:
        what = "x\x1b[31m"
        raise KeyError(what)

    monkeypatch.setattr(verify, "verify_pack", broken)
    assert main(["pack", str(tmp_path), "--key", KEY]) == 2
    assert capsys.readouterr().err == "a mistake of this verifier, so nothing is proven: \"KeyError('x\\\\x1b[31m')\"\n"


def test_foreign_text_reaches_no_terminal_as_it_is() -> None:
    text = "guard.test/\u202elog\n12\n" + base64.b64encode(bytes(32)).decode() + "\n"
    note = text + "\n" + signer(1, "\u202ename").sign_note(text).line()
    report = verify_log_files(Memory({"checkpoint": note.encode()}), [str(signer(1, "\u202ename").key)])
    assert verify.printed(report).isascii()


def test_it_runs_as_a_script_without_verdigris(tmp_path: Path) -> None:
    """A copy, in a Python that sees neither the project nor the folder it is called from."""
    copy = shutil.copy(FILE, tmp_path / "verify.py")
    pack = zipped(tmp_path / "pack.zip", pack_of(**{"verify.py": FILE.read_bytes()}))
    code = f"import sys, runpy; sys.modules['verdigris'] = None; sys.argv = ['verify.py', 'pack', {str(pack)!r}, '--key', {KEY!r}]; "
    code += f"runpy.run_path({str(copy)!r}, run_name='__main__')"
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Nothing is wrong" in ran.stdout


PATHS = sorted({path for path, _ in WRONG if path not in {"extra", "predicate.comment"}})


@given(st.sampled_from(PATHS), JSON)
def test_any_value_in_the_place_of_another_gets_a_sentence(path: str, value: Any) -> None:
    """Signed as it should be: what is refused is refused with a sentence, and what is believed has number 5, which follows nothing."""
    report = of([enveloped(changed(path, value))])
    assert report.problems
    assert all(one.where == "entry 0" for one in report.problems)


@given(JSON)
def test_any_value_in_an_envelope_gets_a_sentence(value: Any) -> None:
    good = json.loads(enveloped(told_payload()))
    for bad in (value, *(good | {name: value} for name in good), good | {"signatures": [value]}):
        assert of([rfc8785.dumps(bad)]).problems
    assert of([enveloped(rfc8785.dumps(value))]).problems


@given(JSON, st.sampled_from(["format", "rollout", "entries", "files"]))
def test_any_value_in_a_manifest_gets_a_sentence(value: Any, name: str) -> None:
    for manifest in (rfc8785.dumps(value), listed(PACK, CHOSEN, {name: value})["manifest.json"]):
        report = Report("pack")
        verify._Pack(report, Memory({**PACK, "manifest.json": manifest}), [read_key(KEY)], []).run([], None)
        assert report.problems


@given(st.binary(max_size=400))
def test_any_bytes_for_any_file_get_a_sentence(junk: bytes) -> None:
    memory = sealed([])
    for name in ("checkpoint", "tile/entries/000.p/1"):
        files = {**sealed([junk]).files, name: junk}
        report = verify_log_files(Memory(files), [KEY])
        assert report.problems
    assert verify_log_files(memory, [KEY]).ok
    assert not verify_proof(junk, junk, [KEY]).ok
