"""The credential of a worker on its own machine: one file in its home, with the private key that never leaves it.

A key is in the file before an engine is told of it, so that a crash, or an answer that is lost, leaves nothing to
guess: the worker asks for the same again and gets the same answer.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import clock, errors, keyfile
from core.external.assertion import Claim, by_secret
from core.external.handshake import proof
from core.external.identity import short
from core.external.membership import CredentialId, Enrol, Enrolled, Generation, Join, Key, Name, Rotate
from core.model.enrolment import token_id

MOST_BYTES = 4096
ROTATE_SECONDS = 30 * 86_400
REMEDY = "Remove it and let the worker in anew with a token: sluice worker-token create."


class _Page(BaseModel):
    """The content of the file. Keys are private ones, as hex."""

    model_config = ConfigDict(extra="forbid")

    engine: str = Field(pattern="^[0-9a-f]{32}$")
    """The fingerprint of its identity."""
    key: Key
    made_at_ns: int
    next: Key | None = None
    """The key that is to come: asked for, perhaps in force."""
    token: str = Field(pattern="^slw_[0-9a-f]{16}$")
    """The id of the token that it is asked for with."""
    credential: CredentialId | None = None
    """None: asked for, perhaps given."""
    ephemeral: bool = False
    name: Name | None = None
    group: Name | None = None
    generation: Generation = 1


def _fresh() -> str:
    return Ed25519PrivateKey.generate().private_bytes_raw().hex()


def _public(key: str) -> str:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)).public_key().public_bytes_raw().hex()


def _sign(key: str, transcript: bytes) -> str:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)).sign(proof(transcript)).hex()


class Held:
    """Of one worker. Every change is on the disk before it is used."""

    def __init__(self, path: Path, page: _Page) -> None:
        self._path = path
        self._page = page

    @property
    def engine(self) -> str:
        """The fingerprint of the engine that it is for."""
        return self._page.engine

    @property
    def enrolled(self) -> bool:
        return self._page.credential is not None

    @property
    def name(self) -> str:
        """Empty until an engine has said it."""
        return self._page.name or ""

    @property
    def group(self) -> str:
        return self._page.group or ""

    @property
    def token(self) -> str:
        """The id of the token that it came by."""
        return self._page.token

    @property
    def ephemeral(self) -> bool:
        """Whether it ends when the worker says good-bye."""
        return self._page.ephemeral

    @property
    def fingerprint(self) -> str:
        """What people compare of its key."""
        return short(_public(self._page.key))

    @property
    def due(self) -> bool:
        """Whether another key is to come."""
        old = clock.now_ns() - self._page.made_at_ns > ROTATE_SECONDS * clock.NANOSECONDS
        return self.enrolled and (self._page.next is not None or old)

    def claim(self, token: str) -> Claim:
        """Who it is to a NATS server: by its credential, or else by the token that it is asked for with."""
        page = self._page
        if page.credential is not None:
            return Claim(page.engine, page.credential, lambda text: _sign(page.key, text))
        secret = hashlib.sha256(token.split("_")[2].encode("ascii")).hexdigest()
        return Claim(page.engine, page.token, lambda text: by_secret(secret, text))

    def enrol(self, token: str, name: str, host: str, transcript: bytes) -> Enrol:
        key = self._page.key
        return Enrol(token=token, name=name, host=host, public_key=_public(key), proof=_sign(key, transcript))

    def join(self, slots: int, instance: str, transcript: bytes) -> Join:
        page = self._page
        assert page.credential is not None
        return Join(
            credential=page.credential,
            generation=page.generation,
            slots=slots,
            instance=instance,
            proof=_sign(page.key, transcript),
        )

    def prepare(self) -> None:
        """Make the key that is to come, unless there is one. Raises StorageUnavailable."""
        if self._page.next is None:
            self._write(self._page.model_copy(update={"next": _fresh()}))

    def rotate(self, transcript: bytes) -> Rotate:
        page = self._page
        assert page.credential is not None and page.next is not None
        return Rotate(
            credential=page.credential,
            generation=page.generation,
            proof=_sign(page.key, transcript),
            next_key=_public(page.next),
            next_proof=_sign(page.next, transcript),
        )

    def enrolled_as(self, made: Enrolled, path: Path) -> None:
        """Keep what an engine has given, at its place. Raises StorageUnavailable."""
        given = {
            "credential": made.credential,
            "name": made.name,
            "group": made.group,
            "generation": made.generation,
            "ephemeral": made.ephemeral,
        }
        asked, self._path = self._path, path
        self._write(self._page.model_copy(update=given))
        if asked != path:
            asked.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def rotated(self, made: Enrolled) -> None:
        """The key that was to come is in force. Raises StorageUnavailable."""
        page = self._page
        given = {"key": page.next, "next": None, "made_at_ns": clock.now_ns(), "generation": made.generation}
        self._write(page.model_copy(update=given))

    def _write(self, page: _Page) -> None:
        try:
            keyfile.keep(self._path, page.model_dump_json().encode())
        except OSError as fault:
            raise errors.StorageUnavailable(
                f"The credential of the worker cannot be kept ({self._path}): {fault.strerror}.",
                hint="Make room, or let the worker own its home.",
            ) from None
        self._page = page


def read(path: Path) -> Held | None:
    """What the file holds; None without one. Raises StorageUnavailable for a torn one, and when others can read it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise errors.StorageUnavailable(f"{path} cannot be read: {fault.strerror}.", hint=REMEDY) from None
    with os.fdopen(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        content = file.read(MOST_BYTES + 1) if stat.S_ISREG(mode) else b""
    if stat.S_IMODE(mode) & 0o077:
        raise errors.StorageUnavailable(
            f"Others can read the credential of this worker ({path}, mode {stat.S_IMODE(mode):04o}).",
            hint="If somebody did, revoke it (sluice worker revoke NAME) and let the worker in anew; else chmod 600.",
        )
    try:
        return Held(path, _Page.model_validate_json(content))
    except ValidationError:
        raise errors.StorageUnavailable(f"{path} is no credential of a worker.", hint=REMEDY) from None


def begin(path: Path, token: str) -> Held:
    """A key to ask with for a credential, by a token, kept in place of what was there. Raises StorageUnavailable."""
    page = _Page(engine=token.rpartition("_")[2], token=token_id(token), key=_fresh(), made_at_ns=clock.now_ns())
    held = Held(path, page)
    held._write(held._page)
    return held
