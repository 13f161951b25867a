"""JSON Web Tokens of this installation: short-lived credentials that an API key is exchanged for.

One algorithm (HS256), one issuer, one audience; everything else is refused. Time is an argument.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from core import clock, errors

ALGORITHM = "HS256"
ISSUER = "sluice"
AUDIENCE = "sluice-api"
KEY_BYTES = 32
KEY_FILE = "jwt.key"
REQUIRED = ("iss", "aud", "sub", "key", "iat", "nbf", "exp", "jti")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says: who it stands for, and the API key that it was minted from."""

    username: str
    key_id: str
    expires_at_ns: int


class Signer:
    """Signs and reads tokens with one secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mint(self, username: str, key_id: str, now_ns: int, ttl_seconds: int) -> str:
        """A token that is valid for `ttl_seconds` from now. It holds no rights: they are those of its API key."""
        import jwt  # with its x509 support it takes 0.1 s to import, which no engine pays that mints nothing

        now = now_ns // clock.NANOSECONDS
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": username,
            "key": key_id,
            "iat": now,
            "nbf": now,
            "exp": now + ttl_seconds,
            "jti": clock.token(32),
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def read(self, token: str, now_ns: int) -> Claims | None:
        """The claims of a token that this installation minted and that is valid now; None for every other text."""
        import jwt

        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # The times are compared below, with `now_ns`.
                options={"require": list(REQUIRED), "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return None
        begins, ends = claims["nbf"], claims["exp"]
        if not isinstance(begins, int) or not isinstance(ends, int):
            return None
        if not begins * clock.NANOSECONDS <= now_ns < ends * clock.NANOSECONDS:
            return None
        return Claims(str(claims["sub"]), str(claims["key"]), ends * clock.NANOSECONDS)


def looks_like_one(token: str) -> bool:
    """Whether a bearer token has the three parts of a JWT; an API key has one."""
    return token.count(".") == 2


def open_signer(home: Path, key_file: Path | None) -> Signer:
    """The signer of an installation: with the key in `key_file`, or with one that is made in the home at first use.

    Raises StorageUnavailable when the key cannot be read, is too short, or others can read it.
    """
    path = key_file or home / KEY_FILE
    if key_file is None and not path.exists():
        _make(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(4096).strip()
    except OSError as error:
        raise errors.StorageUnavailable(
            f"The key that signs tokens cannot be read ({path}): {error.strerror}.",
            hint="Look at the file, or point SLUICE_JWT_KEY_FILE at another one.",
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise errors.StorageUnavailable(
            f"Others can read the key that signs tokens ({path}, mode {stat.S_IMODE(mode):04o}).",
            hint=f"chmod 600 {path}; if it was read, remove it: a new one is made, and old tokens end.",
        )
    if len(key) < KEY_BYTES:
        raise errors.StorageUnavailable(
            f"The key that signs tokens ({path}) has {len(key)} bytes; at least {KEY_BYTES} are needed.",
            hint="openssl rand -hex 32 makes one.",
        )
    return Signer(key)


def _make(path: Path) -> None:
    """Write a new key whole before it has its name, so that a crash leaves none that is cut."""
    fresh = path.with_name(f"{path.name}.{clock.token(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(clock.token(2 * KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
