"""Chosen users' tokens: short JSON Web Tokens (ES256) that a proxy checks by itself, and that name the subject they are for.

ES256 because every build of every proxy checks it, those for FIPS 140 too. A token always ends: a proxy refuses one without `exp`.
"""

import base64
import hashlib
import json
import re
import secrets
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from verdigris.errors import VerdigrisError

ALGORITHM = "ES256"
ISSUER = "verdigris"
HEADER = "x-verdigris-user"
COOKIE = "verdigris-user"

LIFETIME_S_MAX = 7 * 86_400
"""Nobody tests for longer; what is lost must end by itself."""

KEY_BYTES_MAX = 64 * 1024
KEYS_MAX = 16
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_USER_CHARS_MAX = 200


class InvalidToken(VerdigrisError):
    """A key or token for chosen users cannot be made or read. Safe: nothing was written or routed."""


def new_key() -> tuple[bytes, bytes]:
    """A new key: the private part, to be kept from everybody, and the public part for the proxy; both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def issue(private_pem: bytes, subject: str, user: str, now_unix_s: float, lifetime_s: float) -> str:
    """A token for one user.

    Args:
        private_pem: from `new_key`.
        subject: what is moved; a token for one subject is worth nothing at another.
        user: whose it is, for logs; not empty.
        now_unix_s: the time it begins.
        lifetime_s: in (0, LIFETIME_S_MAX].
    Raises: InvalidToken.
    """
    if not 0 < lifetime_s <= LIFETIME_S_MAX:
        msg = f"a token lasts at most {LIFETIME_S_MAX // 86_400} days, not {lifetime_s:g} s"
        raise InvalidToken(msg)
    if not user.strip() or len(user) > _USER_CHARS_MAX:
        msg = f"a token needs the name of its user, at most {_USER_CHARS_MAX} characters"
        raise InvalidToken(msg)
    try:
        key = serialization.load_pem_private_key(private_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = "the file is no private key (PEM, without a pass phrase); make one with: verdigris traffic key new"
        raise InvalidToken(msg) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        msg = "the private key is not of the curve P-256; make one with: verdigris traffic key new"
        raise InvalidToken(msg)
    claims = {
        "iss": ISSUER, "aud": subject, "sub": user, "iat": int(now_unix_s), "nbf": int(now_unix_s),
        "exp": int(now_unix_s + lifetime_s), "jti": secrets.token_hex(8),
    }  # fmt: skip
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": _jwk(key.public_key())["kid"]})


def read_public_keys(file: Path) -> str:
    """The public keys of a PEM file as a JSON Web Key Set. Several keys are for the time of changing from one to the next.

    Raises: InvalidToken: no key, another kind of key, or a private one, which has no business at the proxy.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(KEY_BYTES_MAX)
    except OSError as error:
        msg = f"the public key {file} cannot be read: {error.strerror or error}"
        raise InvalidToken(msg) from error
    if b"PRIVATE KEY" in content:
        msg = f"{file} holds a private key; name the public one, and keep the private one away from the proxy"
        raise InvalidToken(msg)
    found = _PUBLIC.findall(content)
    if not 0 < len(found) <= KEYS_MAX:
        msg = f"{file} holds {len(found)} public keys; wanted are 1 to {KEYS_MAX}, as made by: verdigris traffic key new"
        raise InvalidToken(msg)
    keys = []
    for pem in found:
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            msg = f"a public key in {file} cannot be read"
            raise InvalidToken(msg) from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            msg = f"a key in {file} is not of the curve P-256"
            raise InvalidToken(msg)
        keys.append(_jwk(key) | {"alg": ALGORITHM, "use": "sig"})
    return json.dumps({"keys": keys}, sort_keys=True, separators=(",", ":"))


def _jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """As RFC 7517, with the key's thumbprint (RFC 7638) as its id."""
    numbers = key.public_numbers()
    parts = {"crv": "P-256", "kty": "EC", "x": _base64(numbers.x.to_bytes(32, "big")), "y": _base64(numbers.y.to_bytes(32, "big"))}
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()
    return parts | {"kid": _base64(hashlib.sha256(canonical).digest())}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
