"""Keys that are the same in every run. For tests only."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verdigris.ledger.signing import KeySigner


def private_key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"test key {number}".encode()).digest())


def signer(number: int = 1, name: str = "guard.test/log") -> KeySigner:
    return KeySigner(name, private_key(number))
