"""What the machine of a worker sees of its process: how long that has said nothing, and whose code ran meanwhile.

The engine cuts off a worker that is silent; the witness that says whose code held it up is here. Pure: each look is
told what there is. While nobody looked (this process, or the machine, stood still), nobody was silent.
"""

from __future__ import annotations

from core.external.tunnel import SILENT_BEATS
from core.fleet import deaths
from core.fleet.deaths import Cause
from core.witness import NOBODY, Seen

ENOUGH_BEATS = SILENT_BEATS - 0.5  # the engine hears later than we do, and is the one who has decided


class Watch:
    """Over one life of a worker process; `look` once for each heartbeat, and when its tunnel has ended."""

    def __init__(self, beat_seconds: float, killed_for_memory: int, now: float) -> None:
        """`killed_for_memory` is the count of the system (core.fleet.kernel), `now` monotonic."""
        self._beat = beat_seconds
        self._looked = now
        self._idle_since: float | None = None
        self._forgiven = 0.0
        self._quiet = 0.0
        self._stopped = False
        self._held = NOBODY
        self._killed = (killed_for_memory,) * 3  # at the last looks: one may come between a death and its end here

    def observe(
        self, idle_since: float | None, running: int, stopped: bool, killed_for_memory: int, now: float
    ) -> None:
        """`idle_since` is since when it says nothing (None: it does, or nobody listens), `running` whose code runs."""
        still = max(0.0, now - self._looked - self._beat)
        self._looked = now
        self._killed = (*self._killed[1:], killed_for_memory)
        if idle_since is None or idle_since != self._idle_since:
            self._idle_since, self._forgiven, self._stopped, self._held = idle_since, 0.0, False, NOBODY
        self._forgiven += still
        self._quiet = 0.0 if idle_since is None else now - idle_since - self._forgiven
        self._stopped = self._stopped or stopped or still > self._beat * ENOUGH_BEATS
        self._held = running or self._held

    @property
    def silent(self) -> bool:
        """Whether the code of a workload keeps it from saying anything; not when somebody told it to stand still."""
        return self._quiet > self._beat * ENOUGH_BEATS and self._held != NOBODY and not self._stopped

    def verdict(self, code: int | None, killed_for_memory: int, seen: Seen) -> tuple[Cause, int] | None:
        """Who is to blame for its end, after the last look; see core.fleet.deaths.blame."""
        if self._stopped:
            return None
        if self.silent:
            seen = seen._replace(running=self._held)
        return deaths.blame(code, self.silent, killed_for_memory > self._killed[0], seen)
