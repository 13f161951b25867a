"""When a scheduled job fires next, and with which window: what one instance keeps between two firings."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from core import clock
from core.dsl.language import firings
from core.dsl.language.firings import MOST_COUNTED
from core.dsl.language.timers import ALWAYS, Interval, Timer
from core.dsl.language.window import Span
from core.model.schedule import Cause

SET_NS = clock.NANOSECONDS // 10  # two clocks that go apart by more were set


class Now(NamedTuple):
    """The time on both clocks: an interval counts on the one that cannot jump, cron and windows on the other."""

    monotonic_ns: int
    wall_ns: int

    @property
    def monotonic(self) -> float:
        """In seconds."""
        return self.monotonic_ns / clock.NANOSECONDS

    @staticmethod
    def read() -> Now:
        return Now(clock.monotonic_ns(), clock.now_ns())


class Firing(NamedTuple):
    """One run that begins."""

    cause: Cause
    scheduled_ns: int
    """When it was due, or which time it makes up for; of one that somebody asks for now, that time."""
    span: Span | None = None
    skipped: int = 0
    """How many firings were left out since the one before."""
    order: int = 0
    """What asked for it; 0: the timetable."""


class Timetable:
    """Decides, and neither sleeps nor reads a clock.

    Runs never overlap. A firing that comes due while the last run is under way (its output may be trying again) is
    made up for when that run ends, once however many were missed; with `overlap: skip` it is left out.
    (With `overlap: cancel` the run ends at that moment: see overtaking.)
    """

    def __init__(self, timer: Timer, seed: str, now: Now, mark_ns: int | None = None, since_ns: int = 0) -> None:
        """`seed` is the name of the workload; `mark_ns` is the end of its last successful window, if one is known.

        What came due after `since_ns` and did not run was missed; 0: nothing is known of what was before.
        """
        self._timer = timer
        self._seed = seed
        self._started = self._on(now)
        self._last: int | None = None
        self._planned: int | None = None
        self._both = now
        self._behind = False
        self.mark_ns: int | None = None
        if timer.window is not None and timer.sequenced:
            self.mark_ns = timer.window.first_mark(now.wall_ns) if mark_ns is None else mark_ns
        self.missed = firings.missed(timer, since_ns, now.wall_ns, seed) if since_ns else firings.Missed()
        self._owed = deque(self.missed.owed)

    def wait(self, now: Now) -> float:
        """Seconds until the next firing; zero or less: now."""
        if self._owed:
            return 0.0
        window, (ready, _) = self._timer.window, ALWAYS
        if self.mark_ns is not None and window is not None:  # a window that is not over is waited for
            ready = window.ready_ns(self.mark_ns) - now.wall_ns
            if self._behind and ready <= 0:
                return 0.0
        at = self._on(now)
        if self._planned is None or self._planned > at:  # not yet due: thought over, for the clock may have been set
            self._planned = self._plan(at, now)
        return max(self._planned - at, ready) / clock.NANOSECONDS

    def fire(self, now: Now) -> Firing:
        """The job fires now, because its time came."""
        if self._owed:
            return self._about(Cause.CATCH_UP, self._owed.popleft())
        scheduled_ns, skipped = self._due(now)
        self._last, self._planned, self._behind = self._on(now), None, False
        window, span = self._timer.window, None
        if window is not None:
            span = window.sliding(scheduled_ns) if self.mark_ns is None else window.following(self.mark_ns)
        return Firing(Cause.SCHEDULE, scheduled_ns, span, skipped)

    def ordered(self, order: int, cause: Cause, scheduled_ns: int) -> Firing:
        """The job fires now, because somebody asked for it; what is planned stays as it is."""
        return self._about(cause, scheduled_ns, order)

    def resume(self, now: Now) -> None:
        """A pause is over: what came due meanwhile is not made up for."""
        self._last, self._planned, self._behind = self._on(now), None, False

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

    def _about(self, cause: Cause, scheduled_ns: int, order: int = 0) -> Firing:
        """A run for another time than now: its window is the one of that time."""
        window = self._timer.window if self.mark_ns is None else None
        span = window.sliding(scheduled_ns) if window is not None else None
        return Firing(cause, scheduled_ns, span, order=order)

    def _due(self, now: Now) -> tuple[int, int]:
        """For which time the job fires now, in ns since the epoch, and how many other ones came due since the last."""
        at = self._on(now)
        newest, skipped = self._planned, 0
        if newest is None or newest > at:  # a window that is behind
            return now.wall_ns, 0
        bounds = self._bounds(now)
        if self._last is not None:
            newest = min(newest, self._timer.next_fire(self._started, self._last, self._last, self._seed, bounds))
        while skipped < MOST_COUNTED:
            later = self._timer.next_fire(self._started, newest, newest, self._seed, bounds)
            if later > at:
                break
            newest, skipped = later, skipped + 1
        return self._to_wall(newest, now), skipped

    def _to_wall(self, at: int, now: Now) -> int:
        """A time of its clock on that of the wall: times at equal distances stay so.

        Both clocks go at one pace unless somebody sets one, so two readings tell the distance between them for long;
        that a reading was cut in two by other work is no change of it.
        """
        if not isinstance(self._timer, Interval):
            return at
        apart = (now.wall_ns - now.monotonic_ns) - (self._both.wall_ns - self._both.monotonic_ns)
        if abs(apart) > SET_NS:
            self._both = now
        return at + self._both.wall_ns - self._both.monotonic_ns

    def _plan(self, at: int, now: Now) -> int:
        bounds = self._bounds(now)
        due = self._timer.next_fire(self._started, self._last, at, self._seed, bounds)
        if self._last is None or self._timer.skips:
            return due
        return min(due, self._timer.next_fire(self._started, self._last, self._last, self._seed, bounds))

    def _bounds(self, now: Now) -> tuple[int, int]:
        """Start and end of the schedule, on its clock."""
        begin, end = self._timer.bounds
        if isinstance(self._timer, Interval):
            shift = now.monotonic_ns - now.wall_ns
            return begin + shift, end + shift
        return begin, end

    def _on(self, now: Now) -> int:
        return now.monotonic_ns if isinstance(self._timer, Interval) else now.wall_ns
