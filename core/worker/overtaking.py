"""Ends the run of a schedule when its next firing comes due (`overlap: cancel`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from core.worker.orders import Orders
from core.worker.timetable import Now, Timetable

LONGEST_SECONDS = 30.0  # the clock is looked at at least this often, so that one that jumps is seen


class Overtaking:
    """For one run, around which it is entered: `end` is called when the timetable has another firing that is due.

    What comes due in a pause ends nothing.
    """

    def __init__(self, table: Timetable, orders: Orders, end: Callable[[], None]) -> None:
        self._table = table
        self._orders = orders
        self._end = end
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._wait(max(0.0, self._seconds()))

    def __exit__(self, type: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end_if_due(self) -> None:
        seconds = self._seconds()
        if seconds > 0:
            self._wait(seconds)
        else:
            self._end()

    def _seconds(self) -> float:
        if (resumed := self._orders.resumed()) is not None:
            self._table.resume(resumed)
        return LONGEST_SECONDS if self._orders.paused else self._table.wait(Now.read())

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(min(seconds, LONGEST_SECONDS), self._end_if_due)
