"""JSON Web Tokens of this installation: short-lived credentials that an API key is exchanged for.

One algorithm (HS256), one issuer, one audience; everything else is refused. Time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core import clock, keyfile

ALGORITHM = "HS256"
ISSUER = "sluice"
AUDIENCE = "sluice-api"
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
    purpose = "signs tokens"
    return Signer(keyfile.read(key_file, purpose) if key_file else keyfile.read_or_make(home / KEY_FILE, purpose))
