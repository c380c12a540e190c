"""Who may send spans, and whose: a credential gives a name and the environments it may speak for. Knows no protocol."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from verdigris.errors import VerdigrisError
from verdigris.plan.identity import IdentityMatch
from verdigris.telemetry.resources import Mask, claimed

CREDENTIAL_CHARS_MAX = 4_096
"""A longer token is refused without being hashed."""


class UnknownSender(VerdigrisError):
    """The credential is missing or not one of ours. Safe: nothing was decoded or kept. Add it to the guard's settings under `senders`."""


@dataclass(frozen=True, slots=True)
class Sender:
    """One sender: its name for the record, its credentials, and which resources it may speak for (any of the matches).

    Digests are SHA-256 in lower-case hex: of a certificate in DER form, of a token as it is sent.
    """

    name: str
    speaks_for: tuple[IdentityMatch, ...]
    certificate_sha256: tuple[str, ...] = ()
    certificate_names: tuple[str, ...] = ()
    """Common names and subject alternative names, compared as text. They are worth what the configured authority is worth."""
    token_sha256: tuple[str, ...] = ()

    def may_send(self, batch: pa.RecordBatch) -> Mask:
        """Which rows it may send: shape (rows,)."""
        allowed = np.zeros(batch.num_rows, dtype=np.bool_)
        for match in self.speaks_for:
            if allowed.all():
                break
            allowed |= claimed(batch, match)
        return allowed


@dataclass(frozen=True, slots=True)
class Presented:
    """What came with a request. The certificate was verified by TLS already; `names` are those it states."""

    token: str | None = None
    certificate_der: bytes | None = None
    certificate_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Senders:
    """All senders that are configured. Without any, anyone may send anything, and health says so."""

    senders: Sequence[Sender] = ()

    @property
    def authenticated(self) -> bool:
        """Whether a credential is asked for."""
        return bool(self.senders)

    def who(self, presented: Presented) -> Sender | None:
        """Whose credential it is; None if nobody is asked. A token decides over a certificate. Raises: UnknownSender."""
        if not self.senders:
            return None
        if presented.token is not None:
            sender = self._of_token(presented.token)
        elif presented.certificate_der is not None:
            sender = self._of_certificate(presented.certificate_der, presented.certificate_names)
        else:
            msg = "telemetry needs a credential: a client certificate or the header 'authorization: Bearer …'"
            raise UnknownSender(msg)
        if sender is None:
            what = "token" if presented.token is not None else "certificate"
            msg = f"this {what} belongs to no sender that the guard knows"
            raise UnknownSender(msg)
        return sender

    def _of_token(self, token: str) -> Sender | None:
        if len(token) > CREDENTIAL_CHARS_MAX:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for sender in self.senders:  # all are compared, whichever matches: time tells nothing
            for known in sender.token_sha256:
                if hmac.compare_digest(digest, known):
                    found = sender
        return found

    def _of_certificate(self, der: bytes, names: tuple[str, ...]) -> Sender | None:
        digest = hashlib.sha256(der).hexdigest()
        by_digest = next((s for s in self.senders if digest in s.certificate_sha256), None)
        return by_digest or next((s for s in self.senders if not set(names).isdisjoint(s.certificate_names)), None)


def bearer(header: str | None) -> str | None:
    """The token of an Authorization header; None if there is none or it is of another kind."""
    kind, _, token = (header or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None
