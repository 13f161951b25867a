"""A wheel of deadlines: thousands of open waits cost one timer.

Entries sit in buckets of an eighth of a second and are forgotten as soon as what they watch has ended. The timer goes
off where a bucket ends, so a deadline is kept up to one bucket late, never early.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from core import clock

BUCKET_SECONDS = 0.125  # a power of two, so that numbers of buckets and times are the same exactly


class TimerWheel:
    """Use from one event loop."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[object, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: object, at: float, callback: Callable[[], None]) -> int:
        """Call `callback` once the monotonic time `at` has passed; the bucket is needed to forget it."""
        bucket = math.ceil(at / BUCKET_SECONDS)
        self._buckets.setdefault(bucket, {})[key] = callback
        if self._timer is None:
            self._schedule()
        return bucket

    def forget(self, key: object, bucket: int) -> None:
        """Drop an entry; one whose time has come may still be called once."""
        entries = self._buckets.get(bucket)
        if entries is not None:
            entries.pop(key, None)

    def close(self) -> None:
        self._buckets.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        now = clock.monotonic()
        bucket = math.floor(now / BUCKET_SECONDS) + 1
        self._timer = asyncio.get_running_loop().call_later(bucket * BUCKET_SECONDS - now, self._turn, bucket)

    def _turn(self, now: int) -> None:
        """The time of bucket `now` has come, and that of those before it if the loop was busy."""
        now = max(now, math.floor(clock.monotonic() / BUCKET_SECONDS))
        due = [entry for b in sorted(b for b in self._buckets if b <= now) for entry in self._buckets.pop(b).values()]
        self._timer = None
        if self._buckets:
            self._schedule()
        loop = asyncio.get_running_loop()
        for callback in due:
            loop.call_soon(callback)  # one that fails is reported by the loop, and the others are called
