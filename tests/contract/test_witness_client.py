"""What a log believes of a witness: nothing that it did not sign, and nothing that takes too long. Servers here are no witnesses."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.witnesses import ORIGIN, WITNESS_KEY, WITNESS_NAME, WITNESS_NUMBER, Answer, answering, grow, log_in
from tests.unit.ledger_keys import signer

from verdigris.ledger.log import Log
from verdigris.ledger.note import Algorithm, Signature, VerifierKey, cosignature_bytes, cosigned_message
from verdigris.ledger.witness import AddCheckpoint
from verdigris.ledger.witness_client import QUESTIONS_MAX, Witness, WitnessFailed, cosignature

COSIGNS = signer(WITNESS_NUMBER, WITNESS_NAME)
OTHER = signer(21, WITNESS_NAME)
SIZE = "text/x.tlog.size"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return log_in(tmp_path / "log", 5)


def size(text: bytes, media: str = SIZE) -> Answer:
    return Answer(409, [text], media)


def failed(log: Log, answer: Callable[[bytes], Answer] | Answer, why: str, *, contradicted: bool = False, old_size: int = 0) -> None:
    with answering(answer if callable(answer) else lambda _: answer) as url, pytest.raises(WitnessFailed, match=why) as error:
        cosignature(log.head, log.consistency, Witness(url, WITNESS_KEY, limit_s=2.0), old_size)
    assert error.value.contradicted is contradicted


def lines(*signatures: Signature) -> Answer:
    return Answer(200, ["".join(one.line() for one in signatures).encode()])


def test_its_line_is_found_among_others(log: Log) -> None:
    mine = COSIGNS.cosign(log.head.text, 1_790_000_000)
    unknown = Signature(WITNESS_NAME, b"abcd", b"of another kind")
    for answer in (lines(mine), lines(OTHER.cosign(log.head.text, 1), unknown, mine), lines(mine, mine)):
        with answering(lambda _, answer=answer: answer) as url:  # type: ignore[misc]
            assert cosignature(log.head, log.consistency, Witness(url, WITNESS_KEY)) == mine


def test_what_it_did_not_sign_is_not_believed(log: Log) -> None:
    text = log.head.text
    mine = COSIGNS.cosign(text, 1)
    later = Signature(mine.name, mine.key_id, (2).to_bytes(8, "big") + mine.bytes[8:])
    plain = Signature(mine.name, mine.key_id, COSIGNS.sign(text.encode()))
    for one in (
        COSIGNS.cosign(text.replace("\n5\n", "\n6\n"), 1), later, plain, Signature(mine.name, mine.key_id, b"x"),
        Signature(mine.name, mine.key_id, mine.bytes[:-1]), Signature(mine.name, mine.key_id, OTHER.cosign(text, 1).bytes),
    ):  # fmt: skip
        failed(log, lines(one), "is not a cosignature by witness.test/w1: the (signature .* is wrong|cosignature .* beyond all bounds)")
        failed(log, lines(mine, one), "is not a cosignature")
    for answer in (lines(OTHER.cosign(text, 1)), lines(COSIGNS.sign_note(text)), lines(signer(20, "other.test").cosign(text, 1))):
        failed(log, answer, "no trusted key has signed")


def test_a_time_beyond_all_bounds_is_refused(log: Log) -> None:
    for unix_s, right in ((2**63 - 1, True), (2**63, False), (2**64 - 1, False)):
        key = WITNESS_KEY
        line = Signature(key.name, key.id, cosignature_bytes(unix_s, COSIGNS.sign(cosigned_message(log.head.text, unix_s))))
        if right:
            with answering(lambda _, line=line: lines(line)) as url:  # type: ignore[misc]
                assert cosignature(log.head, log.consistency, Witness(url, WITNESS_KEY)) == line
        else:
            failed(log, lines(line), "has a time beyond all bounds")


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"\n\n", b"yes", b"yes\n", b"\xff\n", "— w1 AAAA\n".encode(), b"\x1b[2Jred\n", "— ".encode() * 3, b"x\n" * 65],
)
def test_anything_else_is_no_cosignature(log: Log, body: bytes) -> None:
    failed(log, Answer(200, [body]), "is not a cosignature by")


def test_a_line_that_is_cut_is_none(log: Log) -> None:
    whole = COSIGNS.cosign(log.head.text, 1).line().encode()
    for end in (-1, -2, 20):
        failed(log, Answer(200, [whole[:end]]), "is not a cosignature by")


def test_the_size_that_it_names_is_asked_for_with_its_proof(log: Log) -> None:
    asked: list[AddCheckpoint] = []

    def answer(body: bytes) -> Answer:
        asked.append(AddCheckpoint.parse(body))
        return size(b"3\n", SIZE.upper() + "; charset=utf-8") if len(asked) == 1 else lines(COSIGNS.cosign(log.head.text, 1))

    with answering(answer) as url:
        cosignature(log.head, log.consistency, Witness(url + "/", WITNESS_KEY))
    assert asked == [AddCheckpoint(0, (), log.head), AddCheckpoint(3, tuple(log.consistency(3)), log.head)]


@pytest.mark.parametrize("body", [b"", b"\n", b"3", b"03\n", b"-3\n", b"3 \n", b"three\n", b"3\n3\n", b"9223372036854775808\n", b"\xff\n"])
def test_a_conflict_without_a_size_is_told(log: Log, body: bytes) -> None:
    failed(log, size(body), "answered 409 without a tree size")
    failed(log, size(b"3\n", "text/plain"), r"without a tree size \(text/plain\)")


def test_contradictions_are_told_from_mishaps(log: Log) -> None:
    failed(log, size(b"6\n"), "has cosigned 6 entries of this log, and this head has 5", contradicted=True)
    failed(log, size(b"5\n"), "another root for 5 entries: the log was forked", contradicted=True)
    failed(log, size(b"no\n"), "without a tree size", contradicted=True, old_size=5)
    failed(log, Answer(422, [b"no"]), "does not continue what it has cosigned", contradicted=True)
    failed(log, size(b"0\n"), "refused the size that it had named itself")
    failed(log, size(b"3\n"), "refused the size that it had named itself", old_size=3)
    for status, why in (
        (400, "answered 400: no"),
        (403, "does not trust the key"),
        (404, "does not know this log"),
        (500, "answered 500: no"),
    ):
        failed(log, Answer(status, [b"no"]), why)


def test_a_witness_that_names_ever_other_sizes_is_given_up(log: Log) -> None:
    asked = 0

    def answer(_: bytes) -> Answer:
        nonlocal asked
        asked += 1
        return size(f"{1 + asked % 2}\n".encode())

    failed(log, answer, f"named another size {QUESTIONS_MAX} times")
    assert asked == QUESTIONS_MAX


def test_redirections_are_not_followed(log: Log) -> None:
    with answering(lambda _: lines(COSIGNS.cosign(log.head.text, 1))) as elsewhere:
        failed(log, Answer(307, [b""], headers={"location": elsewhere + "/add-checkpoint"}), "answered 307")


def test_what_it_says_obeys_nobody_on_a_terminal(log: Log) -> None:
    with answering(lambda _: Answer(400, [b"\x1b[2J\x07no\n" + b"x" * 1000])) as url, pytest.raises(WitnessFailed) as error:
        cosignature(log.head, log.consistency, Witness(url, WITNESS_KEY))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


def test_silence_dripping_and_endless_answers_end_in_time(log: Log) -> None:
    began = time.monotonic()
    failed(log, Answer(200, [b"x"], pause_s=30), r"did not answer within 2 s")
    failed(log, Answer(200, [b"x"] * 1000, pause_s=0.1), r"did not answer within 2 s")
    failed(log, Answer(200, [b"x" * 100_000] * 1000), "is larger than 65536 bytes")
    assert time.monotonic() - began < 20


def test_nobody_there(log: Log) -> None:
    with answering(lambda _: Answer(200, [b""])) as url:
        pass
    for address, why in ((url, "cannot ask"), ("http://", "cannot ask"), ("nonsense", "cannot ask"), ("ftp://127.0.0.1", "cannot ask")):
        with pytest.raises(WitnessFailed, match=why):
            cosignature(log.head, log.consistency, Witness(address, WITNESS_KEY))


def test_the_environment_names_no_proxy(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with answering(lambda _: lines(COSIGNS.cosign(log.head.text, 1))) as url:
        cosignature(log.head, log.consistency, Witness(url, WITNESS_KEY))


def test_it_can_be_asked_from_a_thread_of_a_running_loop(log: Log) -> None:
    async def ask(url: str) -> Signature:
        return await asyncio.to_thread(cosignature, log.head, log.consistency, Witness(url, WITNESS_KEY))

    with answering(lambda _: lines(COSIGNS.cosign(log.head.text, 1))) as url:
        assert asyncio.run(ask(url)).name == WITNESS_NAME


def test_a_log_that_grows_meanwhile_is_the_callers_care(log: Log) -> None:
    """The head is what is sent, whatever the log has by now."""
    head = log.head
    grow(log, 9)
    asked: list[AddCheckpoint] = []

    def answer(body: bytes) -> Answer:
        asked.append(AddCheckpoint.parse(body))
        return lines(COSIGNS.cosign(head.text, 1))

    with answering(answer) as url:
        cosignature(head, log.consistency, Witness(url, WITNESS_KEY))
    assert asked[0].checkpoint == head


def test_only_a_witnesss_key_makes_a_witness() -> None:
    with pytest.raises(WitnessFailed, match="is no witness's key"):
        Witness("http://127.0.0.1", VerifierKey(ORIGIN, Algorithm.ED25519, COSIGNS.key.public))
