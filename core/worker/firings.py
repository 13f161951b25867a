"""When a scheduled job fires: by its timetable, by what somebody asked for, and where its windows have come to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from core.dsl.component import Env
from core.dsl.language.timers import Interval, Timer
from core.model.schedule import Cause
from core.worker.orders import Orders
from core.worker.overtaking import Overtaking
from core.worker.timetable import Firing, Now, Timetable
from core.worker.waits import Waits
from core.worker.watermark import Watermark

LONGEST_SLEEP_SECONDS = 30.0  # the clock is looked at at least this often, so that one that jumps is seen


class Firings:
    """Those of one instance of a job. Made by `begun`."""

    def __init__(self, timer: Timer, table: Timetable, orders: Orders, watermark: Watermark | None) -> None:
        self.trigger = "interval" if isinstance(timer, Interval) else "cron"
        self.table = table
        self._timer = timer
        self._orders = orders
        self._watermark = watermark

    @classmethod
    async def begun(cls, timer: Timer, orders: Orders, env: Env) -> Firings:
        """Those that follow from now, and from what was made before. Raises JobFailed for a watermark that is none."""
        window = timer.window
        watermark = Watermark(window, env) if window is not None and window.sequenced else None
        mark = await asyncio.to_thread(watermark.read) if watermark is not None else None
        since_ns = 0 if orders.paused else orders.since_ns  # a pause is no outage: nothing is missed in it
        table = Timetable(timer, env.workload, Now.read(), mark, since_ns)
        orders.missed(table.missed)
        return cls(timer, table, orders, watermark)

    async def next(self, waits: Waits) -> Firing | None:
        """What runs now; None after a wait. What is asked for now goes before what is due, a backfill behind it."""
        orders, table, now = self._orders, self.table, Now.read()
        if (resumed := orders.resumed()) is not None:
            table.resume(resumed)
        order = orders.take(now=True)
        wait = LONGEST_SLEEP_SECONDS if orders.paused else table.wait(now)
        if order is None and wait > 0:
            order = orders.take(now=False)
        if order is not None:
            firing = table.ordered(order.order, Cause(order.cause), order.scheduled_ns)
        elif wait > 0:
            await waits.wait(orders.wait(min(wait, LONGEST_SLEEP_SECONDS)))
            return None
        else:
            firing = table.fire(now)
        if firing is not None:
            orders.fired(firing)
        return firing

    def overtaking(self, firing: Firing, end: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """Around the run of a firing: `end` is called when the next one is due and the schedule wants it so.

        What somebody asked for, and what makes up for a firing that was missed, is not ended by the timetable.
        """
        if self._timer.overlap != "cancel" or firing.cause is not Cause.SCHEDULE:
            return contextlib.nullcontext()
        return Overtaking(self.table, self._orders, end)

    async def succeeded(self, firing: Firing) -> None:
        """Its run came to its end: a sequence of windows goes on behind it."""
        span = firing.span if firing.cause is Cause.SCHEDULE else None
        if self._watermark is not None and span is not None:
            await asyncio.to_thread(self._watermark.write, span.end_ns)
            self.table.succeeded(span, Now.read())
