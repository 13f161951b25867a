"""The lease of a worker of another machine: whoever was silent for its length has nothing left to do.

An engine that hears nothing for that long gives what the worker holds to another one. A worker that stood still (its
process was stopped, its machine suspended) and goes on cannot know what became of its deliveries, so it ends before it
runs any of them, and joins anew. Workers of the engine's own machine need none: the engine kills a silent process.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


def since_boot() -> float:
    """Seconds since the machine started, with the time that it was suspended: CLOCK_BOOTTIME of clock_gettime(2)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """`renew` with each sign of life, `hold` before each run; `lapsed` hears the seconds of silence and ends all.

    `renewed` is called with each renewal: what it winds up ends the process also while its loop is held.
    """

    def __init__(
        self,
        seconds: float,
        lapsed: Callable[[float], None],
        now: Clock = since_boot,
        renewed: Callable[[], None] = lambda: None,
    ) -> None:
        self._seconds = seconds
        self._lapsed = lapsed
        self._now = now
        self._wind_up = renewed
        self._renewed = now()

    def hold(self) -> None:
        """Make sure that the lease is not over."""
        silent = self._now() - self._renewed
        if silent > self._seconds:
            self._lapsed(silent)

    def renew(self) -> None:
        """A sign of life is about to be given; one that comes too late renews nothing."""
        self.hold()
        self._renewed = self._now()
        self._wind_up()
