"""Who may send spans, and whose: tokens, certificates, and spans that claim an environment that is not the sender's."""

import asyncio
import hashlib
import ssl
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clients.certificates import Authority, Pair
from tests.clients.receiving import WAYS, HeldStore, Span, encoded, receiving, sending

from verdigris import _native
from verdigris.plan.identity import IdentityMatch
from verdigris.telemetry.receiver.bounds import IntakeBounds
from verdigris.telemetry.receiver.listeners import Addresses, Receiver
from verdigris.telemetry.receiver.otlp_grpc import ListenerFailed
from verdigris.telemetry.receiver.tls import Tls, TlsUnusable
from verdigris.telemetry.resources import claimed
from verdigris.telemetry.senders import CREDENTIAL_CHARS_MAX, Presented, Sender, Senders, UnknownSender, bearer

QUICK = IntakeBounds(group_wait_s=0.001, retry_after_s=0.05)
BLUE, GREEN = IdentityMatch({"service.version": "v1"}), IdentityMatch({"service.version": "v2", "deployment.environment.name": "green-*"})
SHARED = IdentityMatch({"service.name": "gateway"})


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


BOTH = Senders(
    (
        Sender("blue's collector", (BLUE, SHARED), token_sha256=(sha256("old"), sha256("blue"))),
        Sender("green's", (GREEN,), token_sha256=(sha256("green"),)),
    )
)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(bounded())


def token(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize("way", WAYS)
def test_without_a_known_token_nothing_is_taken(way: str) -> None:
    async def test() -> None:
        store = HeldStore()
        async with receiving(store, senders=BOTH, bounds=QUICK) as receiver, sending(receiver) as client:
            for headers in ({}, token("gren"), token(""), {"Authorization": "Basic Ymx1ZQ=="}, token(sha256("blue")), token("x" * 5000)):
                answer = await client.spans(way, [Span(1)], headers=headers)
                assert (answer.code, answer.retry_after_s) == ("UNAUTHENTICATED", None), headers
            assert receiver.intake.health().refused_exports == {"unknown_sender": 6}
            assert store.batches == []
            for known in ("old", "blue"):
                assert (await client.spans(way, [Span(1)], headers=token(known))).code == "OK"

    run(test())


@pytest.mark.parametrize("way", WAYS)
def test_spans_of_an_environment_the_sender_may_not_speak_for_are_refused_counted_and_reported(way: str) -> None:
    async def test() -> None:
        store, told = HeldStore(), list[tuple[str, str, int, str]]()
        async with (
            receiving(store, senders=BOTH, bounds=QUICK, on_refused=lambda *what: told.append(what)) as receiver,
            sending(receiver) as client,
        ):
            green = {"deployment.environment.name": "green-7"}
            spans = [
                Span(1),
                Span(2, version="v2", resource=green),
                Span(3, version="v2"),
                Span(4, version=None, resource={"service.name": "gateway"}),
                Span(5, version=None),
            ]
            blue = await client.spans(way, spans, headers=token("blue"))
            assert (blue.code, blue.refused, store.traces()) == ("OK", 3, [1, 4])
            assert "may not speak" in blue.message
            assert (await client.spans(way, spans, headers=token("green"))).refused == 4
            assert store.traces() == [1, 2, 4]
            health = receiver.intake.health()
            assert health.refused_by_sender == {("blue's collector", "not_its_environment"): 3, ("green's", "not_its_environment"): 4}
            assert health.senders_authenticated
            first, second = told
            assert first[:3] == ("blue's collector", "not_its_environment", 3)
            assert "deployment.environment.name=green-7" in first[3]
            assert second == ("green's", "not_its_environment", 4, "service.name=cart,service.version=v1")
            everything = await client.spans(way, [Span(9)], headers=token("green"))
            assert (everything.code, everything.refused) == ("OK", 1)

    run(test())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger").signs("blue")


def ours(authority: Authority, *, mutual: bool) -> Tls:
    pair = authority.signs("guard", server=True)
    return Tls(pair.certificate, pair.key, authority.certificate if mutual else None)


def theirs(authority: Authority, pair: Pair | None) -> tuple[Any, ssl.SSLContext]:
    """What a client needs for gRPC and for HTTP."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    root = authority.certificate.read_bytes()
    if pair is None:
        return grpc.ssl_channel_credentials(root), context
    context.load_cert_chain(pair.certificate, pair.key)
    return grpc.ssl_channel_credentials(root, pair.key.read_bytes(), pair.certificate.read_bytes()), context


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_is_known_by_its_digest_or_by_its_names(way: str, authority: Authority) -> None:
    pairs = {
        "by digest": authority.signs("nobody"),
        "by common name": authority.signs("blue"),
        "by dns name": authority.signs("x", "blue.example"),
        "by uri": authority.signs("y", "spiffe://example/blue"),
        "unknown": authority.signs("z", "green.example"),
    }
    names = ("blue", "blue.example", "spiffe://example/blue")
    senders = Senders((Sender("blue", (BLUE,), (pairs["by digest"].sha256,), names),))

    async def test() -> None:
        store = HeldStore()
        async with receiving(store, ours(authority, mutual=True), senders=senders, bounds=QUICK) as receiver:
            for how, pair in pairs.items():
                async with sending(receiver, *theirs(authority, pair)) as client:
                    answer = await client.spans(way, [Span(1), Span(2, version="v2")])
                    assert (answer.code, answer.refused) == (("UNAUTHENTICATED", 0) if how == "unknown" else ("OK", 1)), how
            assert store.traces() == [1] * 4

    run(test())


@pytest.mark.parametrize("way", WAYS)
def test_mutual_tls_admits_nobody_without_a_certificate_of_our_authority(way: str, authority: Authority, stranger: Pair) -> None:
    async def test() -> None:
        store = HeldStore()
        async with receiving(store, ours(authority, mutual=True), bounds=QUICK) as receiver:
            for pair in (None, stranger):
                async with sending(receiver, *theirs(authority, pair)) as client:
                    try:
                        assert (await client.spans(way, [Span(1)])).code == "UNAVAILABLE"
                    except aiohttp.ClientError:
                        assert way != "grpc"
            async with sending(receiver) as plain:
                try:
                    assert (await plain.spans(way, [Span(1)])).code == "UNAVAILABLE"
                except aiohttp.ClientError:
                    assert way != "grpc"
            assert store.batches == []

    run(test())


@pytest.mark.parametrize("way", WAYS)
def test_tokens_work_over_tls_without_client_certificates(way: str, authority: Authority) -> None:
    async def test() -> None:
        store = HeldStore()
        async with (
            receiving(store, ours(authority, mutual=False), senders=BOTH, bounds=QUICK) as receiver,
            sending(receiver, *theirs(authority, None)) as client,
        ):
            assert (await client.spans(way, [Span(1)], headers=token("blue"))).code == "OK"
            assert (await client.spans(way, [Span(1)])).code == "UNAUTHENTICATED"

    run(test())


def test_an_unknown_token_is_not_saved_by_a_known_certificate(authority: Authority) -> None:
    pair = authority.signs("blue")
    senders = Senders((Sender("blue", (BLUE,), (pair.sha256,)),))

    async def test() -> None:
        async with (
            receiving(HeldStore(), ours(authority, mutual=True), senders=senders, bounds=QUICK) as receiver,
            sending(receiver, *theirs(authority, pair)) as client,
        ):
            for way in WAYS:
                assert (await client.spans(way, [Span(1)], headers=token("guess"))).code == "UNAUTHENTICATED"

    run(test())


def test_files_that_are_no_certificates_are_said_and_nothing_listens(authority: Authority, tmp_path: Path) -> None:
    good = ours(authority, mutual=True)
    (tmp_path / "junk.pem").write_text("junk")

    async def test() -> None:
        for bad in (tmp_path / "none.pem", tmp_path / "junk.pem"):
            for tls in (replace(good, certificate=bad), replace(good, key=bad), replace(good, client_ca=bad)):
                with pytest.raises(TlsUnusable, match=str(bad.name)):
                    async with receiving(HeldStore(), tls):
                        pass

    run(test())


def test_an_address_in_use_is_said() -> None:
    async def test() -> None:
        async with receiving(HeldStore()) as first:
            for addresses in (Addresses(f"127.0.0.1:{first.grpc_port}", None), Addresses(None, f"127.0.0.1:{first.http_port}")):
                async with receiving(HeldStore()) as other:
                    second = Receiver(other.intake, addresses)
                    with pytest.raises(ListenerFailed):
                        await second.start()

    run(test())


def test_a_token_decides_whatever_the_certificate() -> None:
    senders = Senders((Sender("blue", (BLUE,), certificate_names=("blue",)),))
    known = Presented(certificate_der=b"der", certificate_names=("blue",))
    assert senders.who(known) is senders.senders[0]
    for presented in (replace(known, token="guess"), Presented(), Presented(certificate_der=b"der", certificate_names=("green",))):
        with pytest.raises(UnknownSender):
            senders.who(presented)


def test_a_bearer_is_read_as_servers_do() -> None:
    assert [bearer(h) for h in (None, "", "Bearer", "Bearer ", "Basic x", "bearer a b", "BEARER  t ")] == [None] * 5 + ["a b", "t"]
    assert BOTH._of_token("x" * (CREDENTIAL_CHARS_MAX + 1)) is None


# --- the patterns -------------------------------------------------------------------------------------------------------------

ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.text(".\n$^|%_\\é()[]", max_size=4)
VALUES = st.sampled_from(["", "a", "b", "ab", "abb"]) | ODD
PATTERNS = st.sampled_from(["*", "a", "?", "a*", "*b", "a?b", "??*"]) | ODD.filter(bool)


def like(pattern: str, value: str) -> bool:
    """Matching by the book, one character after the other."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return any(like(pattern[1:], value[n:]) for n in range(len(value) + 1))
    return bool(value) and pattern[0] in {"?", value[0]} and like(pattern[1:], value[1:])


@given(
    st.lists(st.tuples(VALUES | st.none(), VALUES | st.none()), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from("kl"), PATTERNS, min_size=1),
    st.integers(0, 3),
)
def test_a_match_claims_what_its_patterns_say(
    resources: list[tuple[str | None, str | None]], patterns: dict[str, str], skipped: int
) -> None:
    spans = [
        Span(n + 1, version=None, resource={key: value for key, value in zip("kl", values, strict=True) if value is not None})
        for n, values in enumerate(resources)
    ]
    batch = pa.record_batch(_native.decode(encoded(spans, "http+json"), format="json"))
    expected = [all(like(p, dict(zip("kl", v, strict=True))[k] or "") for k, p in patterns.items()) for v in resources]
    match = IdentityMatch(patterns)
    assert claimed(batch, match).tolist() == expected
    assert claimed(batch.slice(skipped), match).tolist() == expected[skipped:]
