"""Rate limits of triggers: at most so many runs by one user in any window, whatever door, process or owner they used.

All calls of a home come together in its owner, so the count is kept there in memory, on a clock that cannot jump; its
beginning is read from the records, so that a new owner goes on where the one before was killed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from core import clock, errors
from core.model.principal import Caller
from core.model.trigger import RateLimit
from core.store import invocations
from core.store.database import Database
from core.triggers.registry import Trigger

Key = tuple[str, str, str, int]  # (tenant, slug, user, window in seconds)
MOST_KEYS = 10_000  # users with a count in memory; the others' are read again


class Limits:
    """The counts of one engine. Use from its loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: dict[Key, deque[float]] = {}  # monotonic times of the runs of a window, oldest first

    async def take(self, trigger: Trigger, limit: RateLimit, caller: Caller) -> Callable[[], None]:
        """Count a run; what is returned gives it back, for a call that records none after all.

        Raises RateLimited with the time after which the next one is allowed, StorageUnavailable.
        """
        key = (trigger.tenant, trigger.slug, caller.username, limit.per_seconds)
        recent = self._recent.get(key)
        if recent is None:
            recent = await self._read(key)
        now = clock.monotonic()
        while recent and recent[0] <= now - limit.per_seconds:
            recent.popleft()
        if len(recent) >= limit.per_user:
            retry = max(1, int(recent[-limit.per_user] + limit.per_seconds - now) + 1)
            raise errors.RateLimited(
                f"Trigger {trigger.slug} allows {limit.per_user} runs per user in {limit.per_seconds} s.",
                hint=f"Try again in {retry} s.",
                details={"retry_after_seconds": retry},
            )
        recent.append(now)
        return lambda: _give_back(recent, now)

    async def _read(self, key: Key) -> deque[float]:
        tenant, slug, username, seconds = key
        now_ns, now = clock.now_ns(), clock.monotonic()
        since = now_ns - seconds * clock.NANOSECONDS
        times = await self._database.read(invocations.recent_by, tenant, slug, username, since)
        found = deque(now - max(0.0, (now_ns - at_ns) / clock.NANOSECONDS) for at_ns in times)
        if len(self._recent) >= MOST_KEYS:
            del self._recent[next(iter(self._recent))]
        # Of two first calls at once, both have read before either was counted; the second one counts with the first.
        return self._recent.setdefault(key, found)


def _give_back(recent: deque[float], at: float) -> None:
    if at in recent:
        recent.remove(at)
