"""Who an engine is to the workers of other machines: an Ed25519 key in its home, and the fingerprint of it in every
token that it hands out. A worker speaks to nobody else (RFC 8032)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core import errors, keyfile

IDENTITY_FILE = "engine.identity"
IDENTITY_PURPOSE = "proves to workers of other machines which engine this is"
FINGERPRINT_BYTES = 16


def fingerprint(public: bytes) -> str:
    """What a token and a credential say of a public key: 128 bits of its SHA-256, as hex."""
    return hashlib.sha256(public).digest()[:FINGERPRINT_BYTES].hex()


def short(public: str) -> str:
    """What people compare of a key that is given as hex: of the key of a worker, on its machine and in the list."""
    return fingerprint(bytes.fromhex(public))[:16]


class Identity:
    """The identity of one engine."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: bytes = self._key.public_key().public_bytes_raw()
        self.fingerprint = fingerprint(self.public)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def derive(self, purpose: bytes) -> bytes:
        """A secret of 32 bytes for one purpose, which says nothing of the identity (HKDF, RFC 5869)."""
        return HKDF(hashes.SHA256(), 32, None, b"sluice " + purpose).derive(self._seed)


def of_home(home: Path) -> Identity:
    """The identity in a home, made at first use. Raises StorageUnavailable."""
    path = home / IDENTITY_FILE
    text = keyfile.read_or_make(path, IDENTITY_PURPOSE)
    try:
        return Identity(bytes.fromhex(text.decode("ascii")))
    except ValueError:
        raise errors.StorageUnavailable(
            f"The key that {IDENTITY_PURPOSE} ({path}) is none.",
            hint="Restore it from a backup; without it, workers of other machines have to be let in anew.",
        ) from None


def installation(fingerprint: str) -> str:
    """What names an installation in subjects of NATS."""
    return fingerprint[:16]
