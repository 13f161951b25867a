"""What the engine says of the schedule of one workload: that it is paused, and which runs somebody asked for.

It outlives the instances of a workload on its worker: one that begins after a failure knows what it has missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from core.dsl.language.firings import Missed
from core.model import frames
from core.model.schedule import Cause
from core.worker.timetable import Firing, Now

Tell = Callable[[frames.Fired | frames.Missed], None]


def _nobody(frame: frames.Fired | frames.Missed) -> None:
    """There is no engine to tell."""


class Orders:
    """Of one workload."""

    def __init__(self, workload: str = "", tell: Tell = _nobody) -> None:
        self.paused = False
        self.since_ns = 0
        """What came due after it and did not run was missed; 0: nothing is known of what was before."""
        self._workload = workload
        self._tell = tell
        self._resumed: Now | None = None
        self._waiting: deque[frames.Fire] = deque()
        self._running = 0  # the order that is under way, or was last
        self._changed = asyncio.Event()

    # -- what the engine says ------------------------------------------------------------------------------

    def heard(self, told: frames.Schedule, now: Now) -> None:
        """Where the schedule stands, as its engine knows it."""
        if self.paused and not told.paused:
            self._resumed = now
        self.paused, self.since_ns = told.paused, max(self.since_ns, told.since_ns)
        self._changed.set()

    def add(self, order: frames.Fire) -> None:
        """Somebody asks for a run; the engine asks again for one that it has not heard the end of."""
        if order.order != self._running and all(order.order != one.order for one in self._waiting):
            self._waiting.append(order)
            self._changed.set()

    # -- what an instance asks -----------------------------------------------------------------------------

    def take(self, *, now: bool) -> frames.Fire | None:
        """The next run that was asked for; with `now`, only one that goes before what is due."""
        if not self._waiting or (now and self._waiting[0].cause == Cause.BACKFILL):
            return None
        order = self._waiting.popleft()
        self._running = order.order
        return order

    def resumed(self) -> Now | None:
        """When a pause ended that this instance has not heard of yet."""
        resumed, self._resumed = self._resumed, None
        return resumed

    async def wait(self, seconds: float) -> None:
        """Until something is said, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    # -- what the engine hears -----------------------------------------------------------------------------

    def missed(self, missed: Missed) -> None:
        """A timetable begins, and knows what came due before."""
        if missed.left_out:
            self.since_ns = max(self.since_ns, missed.last_ns)
            told = frames.Missed(self._workload, missed.left_out, missed.first_ns, missed.last_ns, len(missed.owed))
            self._tell(told)

    def fired(self, firing: Firing) -> None:
        """A run begins."""
        if firing.cause in (Cause.SCHEDULE, Cause.CATCH_UP):
            self.since_ns = max(self.since_ns, firing.scheduled_ns)
        cause = firing.cause.value
        self._tell(frames.Fired(self._workload, cause, firing.scheduled_ns, firing.skipped, firing.order))
