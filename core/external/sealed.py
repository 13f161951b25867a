"""Who may join, and records that nobody else can read, forge, repeat or reorder.

Both sides hold one secret of the installation, the worker key. A join and its answer are sealed with it; each session
then has two keys of its own, one for each direction, derived from the worker key and a random value of either side
(HKDF-SHA256, RFC 5869). A record is `sequence (8 bytes) + ChaCha20-Poly1305(kind + body)` (RFC 8439) with the sequence
as nonce: a foreign, changed or repeated record does not open, and a missing one is noticed.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

RANDOM_BYTES = 32
NONCE_BYTES = 12
MAX_LETTER_BYTES = 8192
OVERHEAD_BYTES = 8 + 1 + 16  # sequence, kind, tag
_SEQUENCE = struct.Struct(">Q")
_NONCE = struct.Struct(">IQ")


class Lost(Exception):
    """A record is missing: the stream cannot go on."""


class WorkerKey:
    """The secret that lets a worker join."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._letters = ChaCha20Poly1305(self._derive(b"", b"letters", 32))
        self.installation = self._derive(b"", b"installation", 8).hex()
        """Names the installation in subjects of NATS; says nothing about the secret."""

    def _derive(self, salt: bytes, what: bytes, length: int) -> bytes:
        return HKDF(hashes.SHA256(), length, salt, b"sluice worker key 1: " + what).derive(self._secret)

    def seal(self, letter: dict[str, Any], about: bytes) -> bytes:
        """A JSON object for whoever has the key; `about` must be the same when it is opened."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._letters.encrypt(nonce, orjson.dumps(letter), about)

    def open(self, data: bytes, about: bytes) -> dict[str, Any] | None:
        """What was sealed, None for everything else."""
        if not NONCE_BYTES < len(data) <= MAX_LETTER_BYTES:
            return None
        try:
            letter = orjson.loads(self._letters.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], about))
        except (InvalidTag, orjson.JSONDecodeError):
            return None
        return letter if isinstance(letter, dict) else None

    def session(self, of_worker: bytes, of_engine: bytes) -> tuple[bytes, bytes]:
        """The keys of a session: of what the worker sends, and of what the engine sends."""
        both = self._derive(of_worker + of_engine, b"session", 64)
        return both[:32], both[32:]


class Records:
    """Seals what one side of a session sends and opens what it receives. Each record opens once, and in order."""

    def __init__(self, sends: bytes, receives: bytes) -> None:
        self._sends = ChaCha20Poly1305(sends)
        self._receives = ChaCha20Poly1305(receives)
        self._sent = 0
        self._received = 0

    def seal(self, kind: int, body: bytes = b"") -> bytes:
        self._sent += 1
        head = _SEQUENCE.pack(self._sent)
        return head + self._sends.encrypt(_NONCE.pack(0, self._sent), bytes((kind,)) + body, head)

    def open(self, record: bytes) -> tuple[int, bytes] | None:
        """Kind and body of the next record; None for what is foreign, changed or was here before.

        Raises Lost when records before it are missing.
        """
        if len(record) < OVERHEAD_BYTES:
            return None
        head = record[: _SEQUENCE.size]
        (sequence,) = _SEQUENCE.unpack(head)
        if sequence <= self._received:
            return None
        try:
            content = self._receives.decrypt(_NONCE.pack(0, sequence), record[_SEQUENCE.size :], head)
        except InvalidTag:
            return None
        if sequence != self._received + 1:
            raise Lost(f"{sequence - self._received - 1} records are missing")
        self._received = sequence
        return content[0], content[1:]
