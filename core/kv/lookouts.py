"""Watches of people: kept between one call and the next, until nobody has asked for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core import clock, errors
from core.model.kv import KV, Watch

KEPT_SECONDS = 120.0  # after the last call
MOST_OF_A_TENANT = 100
MOST_OF_A_USER = 25


@dataclass(slots=True)
class _Kept:
    namespace: str
    username: str
    watch: Watch
    asked_at: float
    asking: int = 0  # calls that wait for it now


class Lookouts:
    """Of one engine, by their ids."""

    def __init__(self, store: KV, now: Callable[[], float] = clock.monotonic) -> None:
        self._store = store
        self._now = now
        self._kept: dict[str, _Kept] = {}

    async def begin(self, namespace: str, prefix: str, username: str) -> str:
        """Watch the keys with this prefix; returns the id to ask with.

        Raises RateLimited for more than a user, or all users of a tenant, may have.
        """
        await self._expire()
        tenant = namespace.partition(":")[0] + ":"
        theirs = [kept.username for kept in self._kept.values() if kept.namespace.startswith(tenant)]
        for whose, number, most in (
            (f"The user {errors.shorten(username, 100)}", theirs.count(username), MOST_OF_A_USER),
            ("This tenant", len(theirs), MOST_OF_A_TENANT),
        ):
            if number >= most:
                raise errors.RateLimited(
                    f"{whose} has {most} watches already.",
                    hint=f"One ends {KEPT_SECONDS:.0f} s after its last call; try again then.",
                    details={"most": most, "retry_after_seconds": round(KEPT_SECONDS)},
                )
        id = clock.token()
        self._kept[id] = _Kept(namespace, username, await self._store.watch(namespace, prefix), self._now())
        return id

    async def next(self, id: str, namespace: str, wait_seconds: float) -> tuple[list[tuple[str, bool]], bool]:
        """What has changed since the last call, as (key, deleted), and whether more was than could be remembered.

        Raises NotFound for a watch that has ended, or is of another namespace.
        """
        await self._expire()
        kept = self._kept.get(id)
        if kept is None or kept.namespace != namespace:
            raise errors.NotFound(
                "This watch has ended.", hint="Begin a new one: leave `watch` out. It tells first what is there now."
            )
        kept.asking += 1
        try:
            told = await kept.watch.next(wait_seconds)
        finally:
            kept.asking -= 1
            kept.asked_at = self._now()
        return [(change.key, change.deleted) for change in told.changes], told.lagged

    async def _expire(self) -> None:
        oldest = self._now() - KEPT_SECONDS
        for id, kept in list(self._kept.items()):
            if not kept.asking and kept.asked_at < oldest:
                del self._kept[id]
                await kept.watch.close()
