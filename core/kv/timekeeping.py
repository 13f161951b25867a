"""The clock of the KV store: it goes on evenly, whatever is done to the wall clock.

TTLs and leases are lengths of time, and a wall clock can be set. So the store has a time of its own, which moves with
the time since the machine's start (it counts sleep, and nobody can set it). As long as the machine is up it goes on
through restarts of the engine. After a restart of the machine nothing but the wall clock tells how long that took, and
the store goes on from there as far ahead of it, or behind, as it was before; what then would last longer than its own
length is cut to it (core.store.kv.resume). A wall clock that is right makes both the same.
"""

from __future__ import annotations

from collections.abc import Callable

from core import clock
from core.model.kv import Anchor

SLACK_MS = 1000  # how far the wall clock may move against the store's before that is worth a write


def wall_ms() -> int:
    return clock.now_ns() // 1_000_000


def resumed(saved: Anchor | None, boot_id: str, boot_ms: int, wall_ms: int) -> Anchor:
    """Where the store's clock goes on, by what was saved, this boot, the time since it, and the wall clock."""
    if saved is None:
        now = wall_ms
    elif saved.boot_id and saved.boot_id == boot_id and saved.boot_ms <= boot_ms:
        now = boot_ms + saved.ahead_of_boot_ms
    else:
        now = wall_ms + saved.ahead_of_wall_ms
    return Anchor(boot_id, boot_ms, now - boot_ms, now - wall_ms)


class StoreClock:
    """The store's time in milliseconds, near the wall clock's; before `resume` as if nothing had been saved."""

    def __init__(
        self,
        boot_id: Callable[[], str] = clock.boot_id,
        boot_ms: Callable[[], int] = clock.since_boot_ms,
        wall_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._boot_id, self._boot_ms, self._wall_ms = boot_id(), boot_ms, wall_ms
        self._anchor = resumed(None, self._boot_id, boot_ms(), wall_ms())

    def now_ms(self) -> int:
        return self._boot_ms() + self._anchor.ahead_of_boot_ms

    def to_wall(self, at_ms: int) -> int:
        """What the wall clock will show, as it stands now, when it is `at_ms` here."""
        return at_ms - self.now_ms() + self._wall_ms()

    def resume(self, saved: Anchor | None) -> Anchor:
        """Go on from where an earlier owner was; returns what to save."""
        self._anchor = resumed(saved, self._boot_id, self._boot_ms(), self._wall_ms())
        return self._anchor

    def moved(self) -> Anchor | None:
        """What to save because the wall clock has been set since the last time; None: nothing."""
        now = self.now_ms()
        ahead = now - self._wall_ms()
        if abs(ahead - self._anchor.ahead_of_wall_ms) <= SLACK_MS:
            return None
        self._anchor = self._anchor._replace(boot_ms=self._boot_ms(), ahead_of_wall_ms=ahead)
        return self._anchor
