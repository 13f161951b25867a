"""Time and identity as values: the only module that reads the clock or makes an id.

Everything that decides takes `now` as an argument, so tests set the time instead of waiting for it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

NANOSECONDS = 1_000_000_000
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32: sorts like the number, no look-alikes


def now_ns() -> int:
    """Wall-clock time in nanoseconds since the epoch."""
    return time.time_ns()


def monotonic() -> float:
    """Seconds on a clock that cannot jump; for deadlines and leases."""
    return time.monotonic()


def iso(ns: int) -> str:
    """Nanoseconds since the epoch as an ISO 8601 time in UTC with milliseconds."""
    return datetime.fromtimestamp(ns / NANOSECONDS, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Ids:
    """Row ids that only grow: the wall clock in nanoseconds, or the last id plus one when the clock has not moved on.

    Sound because there is one owner: it seeds itself with the largest id in the store, so a clock that jumped
    back cannot make an id twice.
    """

    __slots__ = ("_last", "_now")

    def __init__(self, last: int = 0, now: Callable[[], int] = now_ns) -> None:
        self._last = last
        self._now = now

    def next(self) -> int:
        self._last = max(self._last + 1, self._now())
        return self._last


def encode(number: int, length: int = 13) -> str:
    """A non-negative 63-bit integer as `length` base32 characters that sort like the number."""
    out = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        out.append(_ALPHABET[digit])
    return "".join(reversed(out))


def decode(text: str) -> int:
    """The integer behind `encode`.

    Raises ValueError for a character outside the alphabet.
    """
    number = 0
    for char in text:
        number = number * 32 + _ALPHABET.index(char)
    return number


def token(characters: int = 16) -> str:
    """An unguessable string of base32 characters (5 bits each)."""
    return "".join(_ALPHABET[b & 31] for b in secrets.token_bytes(characters))
