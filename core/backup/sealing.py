"""The keys of a home in a backup: encrypted with a passphrase, bound to the backup that they are in.

scrypt makes guesses slow (128 MiB and a third of a second each), AES-256-GCM keeps the keys secret and whole.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from core import errors

LEAST_CHARACTERS = 12
MOST_BYTES = 1024 * 1024
_COST, _BLOCKS, _LANES = 2**17, 8, 1  # of format 1: an archive does not say how long opening it may take


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies in the archive."""

    salt: bytes
    nonce: bytes
    sealed: bytes


def passphrase(text: str) -> str:
    """The passphrase without the end of its line. Raises InvalidParams when it is too short to keep anything."""
    text = text.rstrip("\r\n")
    if len(text) < LEAST_CHARACTERS:
        raise errors.InvalidParams(
            f"The passphrase has {len(text)} characters; at least {LEAST_CHARACTERS} are needed.",
            hint="openssl rand -base64 24 makes one. Whoever has the archive can guess as long as he likes.",
        )
    return text


def passphrase_of(file: Path) -> str:
    """The first line of a file, to seal with. Raises InvalidParams."""
    return passphrase(line_of(file))


def line_of(file: Path) -> str:
    """The first line of a file, to open with what was good enough to seal. Raises InvalidParams."""
    try:
        with file.open(encoding="utf-8") as stream:
            return stream.readline(4096).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.InvalidParams(f"The passphrase file {file} cannot be read: {error}.") from None


def seal(files: Mapping[str, bytes], passphrase: str, bound_to: str) -> bytes:
    """Encrypt files by name. `bound_to`: which backup they are of; they open in no other one."""
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    plain = msgspec.json.encode({name: base64.b64encode(data).decode() for name, data in files.items()})
    return msgspec.json.encode(
        Sealed(salt, nonce, AESGCM(_key(passphrase, salt)).encrypt(nonce, plain, _bound(bound_to)))
    )


def unseal(data: bytes, passphrase: str, bound_to: str) -> dict[str, bytes]:
    """The files by name. Raises Forbidden when the passphrase is another one, or something was changed."""
    try:
        found = msgspec.json.decode(data, type=Sealed)
        plain = AESGCM(_key(passphrase, found.salt)).decrypt(found.nonce, found.sealed, _bound(bound_to))
        texts = msgspec.json.decode(plain, type=dict[str, str])
        return {name: base64.b64decode(text, validate=True) for name, text in texts.items()}
    except (InvalidTag, msgspec.MsgspecError, ValueError):
        raise errors.Forbidden(
            "The keys of this backup do not open: the passphrase is another one, or they were changed.",
            hint="Give the passphrase of this backup. 'sluice restore FILE --without-keys' does without its keys.",
        ) from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_COST, r=_BLOCKS, p=_LANES).derive(passphrase.encode())


def _bound(to: str) -> bytes:
    return f"sluice backup keys 1\0{to}".encode()
