"""Time and identity as values: the only module that reads the clock or makes an id.

Everything that decides takes `now` as an argument, so tests set the time instead of waiting for it.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any

NANOSECONDS = 1_000_000_000
_ENCODED = re.compile(r"[0-9a-f]{16}").fullmatch


def now_ns() -> int:
    """Wall-clock time in nanoseconds since the epoch."""
    return time.time_ns()


def monotonic() -> float:
    """Seconds on a clock that cannot jump; for deadlines and leases."""
    return time.monotonic()


def monotonic_ns() -> int:
    """The same in ns, for what is counted exactly."""
    return time.monotonic_ns()


def since_boot_ms() -> int:
    """Milliseconds since this machine started, the time that it slept included; nobody can set this clock.

    See clock_gettime(2), CLOCK_BOOTTIME; a system without one has its monotonic clock, which may stop in sleep.
    """
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000


def boot_id() -> str:
    """What is another text after each start of this machine (random(4)); empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def processor() -> float:
    """Seconds of processor time that this thread has used: what others do meanwhile does not count."""
    return time.thread_time()


class Age:
    """The wall clock for ends of keys and records, which a clock that is set forward must not bring on.

    It never runs ahead of the time that has passed since it was made: what has to be kept for a day is kept for one. A
    clock that is set back counts at once, and so only keeps more.
    """

    __slots__ = ("_boot_ms", "_start_ns", "_wall_ns")

    def __init__(self, wall_ns: Callable[[], int] = now_ns, boot_ms: Callable[[], int] = since_boot_ms) -> None:
        self._wall_ns, self._boot_ms = wall_ns, boot_ms
        self._start_ns = wall_ns() - boot_ms() * 1_000_000

    def now_ns(self) -> int:
        return min(self._wall_ns(), self._start_ns + self._boot_ms() * 1_000_000)


class Steady:
    """The wall clock as it was when this was made, plus the time that has passed since: for ends that a clock which is
    set, forward or back, neither brings on nor puts off. What was set before it was made counts."""

    __slots__ = ("_boot_ms", "_start_ns")

    def __init__(self, wall_ns: Callable[[], int] = now_ns, boot_ms: Callable[[], int] = since_boot_ms) -> None:
        self._boot_ms = boot_ms
        self._start_ns = wall_ns() - boot_ms() * 1_000_000

    def now_ns(self) -> int:
        return self._start_ns + self._boot_ms() * 1_000_000


def iso(ns: int) -> str:
    """Nanoseconds since the epoch as an ISO 8601 time in UTC with milliseconds."""
    ms = ns // 1_000_000
    return _second(ms // 1000) + _FRACTIONS[ms % 1000]


_FRACTIONS = tuple(f".{ms:03d}Z" for ms in range(1000))


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    """Every run is told with some times, and those of runs that are in flight together are of few seconds."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def iso_in(ns: int, zone: tzinfo | None) -> str:
    """The same in the time of a zone, with its offset; None and UTC: as `iso`."""
    if zone is None or zone is UTC:
        return iso(ns)
    return datetime.fromtimestamp(ns // 1_000_000 / 1000, zone).isoformat(timespec="milliseconds")


def with_text(value: dict[str, Any]) -> dict[str, Any]:
    """The value with each of its times (`X_ns`) also as text (`X`): such numbers are beyond 2**53, up to which every
    reader of JSON has them exactly (RFC 8259, 6)."""
    return value | {key[:-3]: iso(ns) for key, ns in value.items() if key.endswith("_ns") and ns}


def from_datetime(at: datetime) -> int:
    """A time with a zone in nanoseconds since the epoch (microseconds are the finest that it has)."""
    whole = at - datetime(1970, 1, 1, tzinfo=UTC)
    return ((whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds) * 1_000


class Ids:
    """Row ids that only grow: the wall clock in nanoseconds, or the last id plus one when the clock has not moved on.

    Sound because there is one owner: it seeds itself with the largest id in the store, so a clock that jumped
    back cannot make an id twice.
    """

    __slots__ = ("_last", "_now")

    def __init__(self, last: int = 0, now: Callable[[], int] = now_ns) -> None:
        self._last = last
        self._now = now

    def next(self, count: int = 1) -> int:
        """The first of `count` ids in a row."""
        now = self._now()
        first = now if now > self._last else self._last + 1
        self._last = first + count - 1
        return first


def encode(number: int) -> str:
    """A non-negative 63-bit integer as 16 hexadecimal characters that sort like the number."""
    return f"{number:016x}"


def is_encoded(text: str) -> bool:
    """Whether a text is one that `encode` makes."""
    return _ENCODED(text) is not None


def decode(text: str) -> int:
    """The integer behind `encode`.

    Raises ValueError for anything else than 16 lower-case hexadecimal characters.
    """
    if not _ENCODED(text):
        raise ValueError("not an encoded number")
    return int(text, 16)


def token(characters: int = 16) -> str:
    """An unguessable string of hexadecimal characters (4 bits each)."""
    return secrets.token_hex((characters + 1) // 2)[:characters]
