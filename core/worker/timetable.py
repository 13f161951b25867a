"""When a scheduled job fires next, and with which window: what one instance keeps between two firings."""

from __future__ import annotations

import math
from typing import NamedTuple

from core import clock
from core.dsl.language.schedule import Cron, Interval
from core.dsl.language.window import Span


class Now(NamedTuple):
    """The time on both clocks: an interval counts on the one that cannot jump, cron and windows on the other."""

    monotonic: float
    wall_ns: int

    @staticmethod
    def read() -> Now:
        return Now(clock.monotonic(), clock.now_ns())


class Timetable:
    """Decides, and neither sleeps nor reads a clock.

    Runs never overlap. A firing that comes due while the last run is under way (its output may be trying again) is
    made up for when that run ends, once however many were missed; with `block` it is left out.
    """

    def __init__(self, timer: Interval | Cron, seed: str, now: Now, mark_ns: int | None = None) -> None:
        """`seed` is the name of the workload; `mark_ns` is the end of its last successful window, if one is known."""
        self._timer = timer
        self._seed = seed
        self._started = self._on(now)
        self._last: float | None = None
        self._planned: float | None = None
        self._behind = False
        self.mark_ns: int | None = None
        if timer.window is not None and timer.window.sequenced:
            self.mark_ns = timer.window.first_mark(now.wall_ns) if mark_ns is None else mark_ns

    def wait(self, now: Now) -> float:
        """Seconds until the next firing; zero or less: now."""
        window, ready = self._timer.window, -math.inf
        if self.mark_ns is not None and window is not None:  # a window that is not over is waited for
            ready = (window.ready_ns(self.mark_ns) - now.wall_ns) / clock.NANOSECONDS
            if self._behind and ready <= 0:
                return 0.0
        at = self._on(now)
        if self._planned is None or self._planned > at:  # not yet due: thought over, for the clock may have been set
            self._planned = self._plan(at)
        return max(self._planned - at, ready)

    def fire(self, now: Now) -> Span | None:
        """The job fires now; returns its window."""
        self._last, self._planned, self._behind = self._on(now), None, False
        window = self._timer.window
        if window is None:
            return None
        return window.sliding(now.wall_ns) if self.mark_ns is None else window.following(self.mark_ns)

    def succeeded(self, span: Span, now: Now) -> None:
        """The run with that window of a sequence ended well: the next one follows it."""
        assert self._timer.window is not None
        self.mark_ns = span.end_ns
        self._behind = self._timer.window.ready_ns(span.end_ns) <= now.wall_ns

    def lag_seconds(self, now: Now) -> float:
        """How long the next window of a sequence has been over already; 0 without one."""
        if self.mark_ns is None or self._timer.window is None:
            return 0.0
        return max(0, now.wall_ns - self._timer.window.ready_ns(self.mark_ns)) / clock.NANOSECONDS

    def _plan(self, at: float) -> float:
        due = self._timer.next_fire(self._started, self._last, at, self._seed)
        if self._last is None or self._timer.block:
            return due
        return min(due, self._timer.next_fire(self._started, self._last, self._last, self._seed))

    def _on(self, now: Now) -> float:
        return now.monotonic if isinstance(self._timer, Interval) else now.wall_ns / clock.NANOSECONDS
