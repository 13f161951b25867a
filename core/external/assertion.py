"""What a worker says of itself to a NATS server, which hands it to the engine (core.external.callout): who it is, by
its credential or by the token that it redeems, and under which name it wants subjects. It holds once.

    VERSION.ENGINE.WHO.SPACE.NONCE.PROOF    texts without dots; PROOF is hex

SPACE is whose subjects are wanted: those of WHO, when that is a credential, else those of one connection, by a name of
its own. NONCE is new each time, so that nothing needs a clock. Whoever reads it on the way learns no secret: the proof
is a signature of the rest by the key of the credential, or a MAC under the hash of the token's secret (RFC 2104).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from core.external.identity import installation

VERSION = "sluice-nats-1"
MOST_CHARACTERS = 512
_FORM = re.compile(
    rf"{VERSION}\.(?P<engine>[0-9a-f]{{16}})\.(?P<who>(?:wrk|slw)_[0-9a-z]{{1,32}})"
    r"\.(?P<space>wrk_[0-9a-z]{1,32}|[0-9a-f]{32})\.(?P<nonce>[0-9a-f]{32})\.(?P<proof>[0-9a-f]{64,128})"
).fullmatch
CREDENTIAL, TOKEN = "wrk_", "slw_"
_PURPOSE = b"sluice: to a NATS server: "

Prove = Callable[[bytes], str]
"""The proof of a text, as hex."""


class Assertion(NamedTuple):
    """One that was read; nothing of it is proved."""

    engine: str
    who: str
    """The id of a credential (wrk_) or of a token (slw_)."""
    space: str
    nonce: str
    proof: str

    @property
    def of_token(self) -> bool:
        return self.who.startswith(TOKEN)

    @property
    def proved(self) -> bytes:
        """What the proof is of."""
        return _proved(self.engine, self.who, self.space, self.nonce)


class Claim(NamedTuple):
    """Who wants to connect, and what proves it."""

    engine: str
    """The fingerprint of the engine that it is for."""
    who: str
    prove: Prove

    @property
    def space(self) -> str:
        """A name for subjects: always the same for a credential, a new one for a token."""
        return os.urandom(16).hex() if self.who.startswith(TOKEN) else self.who

    def write(self, space: str) -> str:
        """A new assertion."""
        name, nonce = installation(self.engine), os.urandom(16).hex()
        proof = self.prove(_proved(name, self.who, space, nonce))
        return ".".join((VERSION, *Assertion(name, self.who, space, nonce, proof)))


def _proved(engine: str, who: str, space: str, nonce: str) -> bytes:
    return _PURPOSE + f"{engine}.{who}.{space}.{nonce}".encode()


def inbox(space: str) -> str:
    """Where answers to who has a space come in: the beginning of subjects."""
    return f"_INBOX_{space}"


def read(text: str) -> Assertion | None:
    """What a text says; None when it is none."""
    found = _FORM(text) if len(text) <= MOST_CHARACTERS else None
    if found is None or not _fits(found["who"], found["space"]):
        return None
    return Assertion(*found.group("engine", "who", "space", "nonce", "proof"))


def _fits(who: str, space: str) -> bool:
    """Whether a space is one that this may want: never that of somebody else."""
    return not space.startswith(CREDENTIAL) if who.startswith(TOKEN) else space == who


def by_secret(secret_hash: str, text: bytes) -> str:
    """The proof of who has a token, of which the engine keeps the hash of the secret (hex)."""
    return hmac.new(bytes.fromhex(secret_hash), text, hashlib.sha256).hexdigest()
