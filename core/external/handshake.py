"""The four records with which each line begins, whatever carries it.

    worker -> engine   hello    MAGIC, random (32 bytes)
    engine -> worker   offer    identity key (32), a fresh X25519 key (32), signature of both and of the hello (64)
    worker -> engine   asks     a fresh X25519 key (32), a sealed letter
    engine -> worker   answers  a sealed letter

The engine proves itself before it is told anything: the worker holds the identity key against the fingerprint that its
token or credential has, so that a man in the middle receives no secret. Letters are sealed with keys that nobody can
work out who saw the wire, nor who comes by the long-lived keys later (X25519, RFC 7748; HKDF-SHA256, RFC 5869;
ChaCha20-Poly1305, RFC 8439). Nothing of it needs a clock. A worker signs `Meeting.transcript`, which names both fresh
keys: what was recorded proves nothing again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core import errors
from core.external.identity import Identity, fingerprint
from core.external.line import Line
from core.external.sealed import Records

MAGIC = b"sluice\x00\x02"
RANDOM_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_LETTER_BYTES = 8192
HELLO_BYTES = len(MAGIC) + RANDOM_BYTES
OFFER_BYTES = 2 * KEY_BYTES + SIGNATURE_BYTES
_OFFER, _PROOF = b"sluice worker 2: offer\x00", b"sluice worker 2: proof\x00"
_NONCE = bytes(12)  # each key seals one letter

Letter = dict[str, Any]


class Foreign(Exception):
    """The other end does not speak this protocol."""


@dataclass(frozen=True, slots=True)
class _Keys:
    asks: bytes  # of the letter of the worker
    answers: bytes
    of_worker: bytes  # of the records that it sends
    of_engine: bytes

    @staticmethod
    def of(shared: bytes, transcript: bytes) -> _Keys:
        made = HKDF(hashes.SHA256(), 4 * KEY_BYTES, transcript, b"sluice worker 2: keys").derive(shared)
        return _Keys(*(made[at : at + KEY_BYTES] for at in range(0, len(made), KEY_BYTES)))


def proof(transcript: bytes) -> bytes:
    """What a worker signs."""
    return _PROOF + transcript


def proves(public: str, transcript: bytes, signature: str) -> bool:
    """Whether this is the signature of who has the private key of a public one; both as hex."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), proof(transcript))
    except (InvalidSignature, ValueError):
        return False
    return True


def _seal(key: bytes, letter: Letter, transcript: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(_NONCE, orjson.dumps(letter), transcript)


def _open(key: bytes, sealed: bytes, transcript: bytes) -> Letter:
    """Raises Foreign."""
    if len(sealed) > MAX_LETTER_BYTES:
        raise Foreign("it is too long")
    try:
        letter = orjson.loads(ChaCha20Poly1305(key).decrypt(_NONCE, sealed, transcript))
    except (InvalidTag, orjson.JSONDecodeError):
        raise Foreign("it cannot be opened") from None
    if not isinstance(letter, dict):
        raise Foreign("it is no letter")
    return letter


class Meeting:
    """The engine's side of a line on which a worker has asked for something."""

    def __init__(self, line: Line, keys: _Keys, transcript: bytes, letter: Letter) -> None:
        self.line = line
        self.letter = letter
        self.transcript = transcript
        self._keys = keys

    async def answer(self, letter: Letter) -> None:
        """Once. Raises LineBroken."""
        await self.line.send(_seal(self._keys.answers, letter, self.transcript))

    def records(self) -> Records:
        """What seals and opens whatever follows."""
        return Records(sends=self._keys.of_engine, receives=self._keys.of_worker)


async def meet(line: Line, identity: Identity) -> Meeting:
    """Prove who we are and hear what a worker asks. Raises Foreign, LineBroken."""
    hello = await line.take()
    if len(hello) != HELLO_BYTES or not hello.startswith(MAGIC):
        raise Foreign("it does not begin as a worker does")
    secret = X25519PrivateKey.generate()
    fresh = secret.public_key().public_bytes_raw()
    offer = identity.public + fresh + identity.sign(_OFFER + hello + fresh)
    await line.send(offer)
    asked = await line.take()
    theirs, sealed = asked[:KEY_BYTES], asked[KEY_BYTES:]
    transcript = hashlib.sha256(hello + offer + theirs).digest()
    try:
        shared = secret.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise Foreign("it has no key") from None
    keys = _Keys.of(shared, transcript)
    return Meeting(line, keys, transcript, _open(keys.asks, sealed, transcript))


async def ask(line: Line, engine: str, write: Callable[[bytes], Letter]) -> tuple[Letter, Records]:
    """Ask the engine with this fingerprint for what `write` makes of the transcript; its answer, and what follows.

    Raises Unauthenticated when another engine is at the other end, TargetUnavailable when none is, LineBroken.
    """
    hello = MAGIC + os.urandom(RANDOM_BYTES)
    await line.send(hello)
    offer = await line.take()
    public, fresh, signature = offer[:KEY_BYTES], offer[KEY_BYTES : 2 * KEY_BYTES], offer[2 * KEY_BYTES :]
    if len(offer) != OFFER_BYTES:
        raise errors.TargetUnavailable("What answers there is no engine of Sluice, or one that is older or newer.")
    if fingerprint(public) != engine:
        raise errors.Unauthenticated(
            "Another engine answers than the one that this worker belongs to.",
            hint="Look at the address. An engine whose home was made anew needs a new token:"
            " sluice worker-token create.",
        )
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _OFFER + hello + fresh)
    except InvalidSignature:
        raise errors.Unauthenticated("What answers there only pretends to be the engine of this worker.") from None
    secret = X25519PrivateKey.generate()
    ours = secret.public_key().public_bytes_raw()
    transcript = hashlib.sha256(hello + offer + ours).digest()
    keys = _Keys.of(secret.exchange(X25519PublicKey.from_public_bytes(fresh)), transcript)
    await line.send(ours + _seal(keys.asks, write(transcript), transcript))
    try:
        answer = _open(keys.answers, await line.take(), transcript)
    except Foreign as fault:
        raise errors.TargetUnavailable(f"The engine answered, but {fault}.") from None
    return answer, Records(sends=keys.of_worker, receives=keys.of_engine)
