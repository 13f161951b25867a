"""The keys that secrets are encrypted with; they live outside the database: in a 0600 file, or the environment."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core import errors

VARIABLE = "SLUICE_SECRETS_KEY"
FILE = "secrets.key"
KEY_BYTES = 32
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Keyring:
    """Keys by id, in order; the first one encrypts, all of them decrypt. `repr` shows ids only."""

    keys: tuple[tuple[str, bytes], ...]
    from_environment: bool

    def __repr__(self) -> str:
        return f"Keyring({[id for id, _ in self.keys]}, from_environment={self.from_environment})"

    @property
    def current(self) -> tuple[str, bytes] | None:
        return self.keys[0] if self.keys else None

    def find(self, id: str) -> bytes | None:
        return next((key for known, key in self.keys if known == id), None)


def key_id(key: bytes) -> str:
    """The name of a key: a digest, which tells nothing about 256 random bits."""
    return hashlib.sha256(b"sluice key id\0" + key).hexdigest()[:12]


def make() -> tuple[str, bytes]:
    """A new random key with its id."""
    key = secrets.token_bytes(KEY_BYTES)
    return key_id(key), key


def read(home: Path, environment: Mapping[str, str]) -> Keyring:
    """The keys that are there. Keys of the environment come first; those of the file still decrypt.

    Raises SecretsLocked when a key is malformed, or the file can be read by others.
    """
    given = environment.get(VARIABLE, "").strip()
    ours = [_decode(part, f"The variable {VARIABLE}") for part in given.split(",") if part.strip()] if given else []
    filed = _read_file(home / FILE)
    keys = {key_id(key): key for key in [*ours, *filed]}
    return Keyring(tuple(keys.items()), bool(ours))


def write(home: Path, keys: tuple[tuple[str, bytes], ...]) -> None:
    """Replace the key file at once (or remove it, when there are no keys): a crash leaves the old or the new one.

    Raises SecretsLocked when it cannot be written.
    """
    path = home / FILE
    try:
        if not keys:
            path.unlink(missing_ok=True)
        else:
            new = home / f"{FILE}.new"
            new.unlink(missing_ok=True)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "wb") as stream:
                stream.writelines(f"{id} {base64.b64encode(key).decode()}\n".encode() for id, key in keys)
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(path)
        directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise errors.SecretsLocked(
            f"The key file {path} cannot be written: {error.strerror}.", hint="Check the disk and the permissions."
        ) from error


def _read_file(path: Path) -> list[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise errors.SecretsLocked(
            f"The key file {path} cannot be read: {error.strerror}.", hint="It must be a plain file of yours."
        ) from error
    with os.fdopen(fd, "rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise errors.SecretsLocked(
                f"The key file {path} can be used by others (mode {stat.S_IMODE(mode):o}).",
                hint=f"chmod 600 {path}; if others may have read it, call secret_rotate_key afterwards.",
            )
        text = stream.read(_MOST_BYTES).decode("ascii", "replace")
    return [_decode(line.split()[-1], f"The key file {path}") for line in text.splitlines() if line.strip()]


def _decode(text: str, whose: str) -> bytes:
    text = text.strip()
    try:
        if re.fullmatch(r"[0-9a-fA-F]{64}", text):
            return bytes.fromhex(text)
        key = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise errors.SecretsLocked(
            f"{whose} holds something that is no key.",
            hint=f"A key is {KEY_BYTES} random bytes as base64 or hex, for instance from: openssl rand -base64 32",
        )
    return key
