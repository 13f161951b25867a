"""The wheel of deadlines: late by at most a bucket, never early, and not stopped by a callback that fails."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import clock
from core.triggers.timer_wheel import BUCKET_SECONDS, TimerWheel

pytestmark = pytest.mark.anyio


async def test_a_deadline_comes_and_is_never_early() -> None:
    wheel = TimerWheel()
    called = anyio.Event()
    at = clock.monotonic() + 0.1
    wheel.add("key", at, called.set)
    with anyio.fail_after(5):
        await called.wait()
    assert clock.monotonic() >= at


class Time:
    """A loop whose time is what the test says: it moves to the next timer, and no further."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.timer: tuple[float, Callable[[int], None], int] | None = None

    def call_later(self, delay: float, callback: Callable[[int], None], bucket: int) -> str:
        assert self.timer is None, "a wheel has one timer"
        self.timer = (self.now + delay, callback, bucket)
        return "the timer"

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    def move(self, until: float = math.inf) -> bool:
        """Let the timer go off, if that is not later than `until`."""
        if self.timer is None or self.timer[0] > until:
            return False
        (self.now, callback, bucket), self.timer = self.timer, None
        callback(bucket)
        return True


@given(st.floats(0, 1000), st.lists(st.tuples(st.floats(0, 0.3), st.floats(0, 2)), min_size=1, max_size=8))
def test_a_deadline_is_kept_within_one_bucket_however_it_lies(start: float, waits: list[tuple[float, float]]) -> None:
    time = Time(start)
    late: dict[int, float] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "monotonic", lambda: time.now)
        patch.setattr(asyncio, "get_running_loop", lambda: time)
        wheel = TimerWheel()
        for n, (pause, wait) in enumerate(waits):
            until = time.now + pause
            while time.move(until):
                pass
            time.now = until
            at = time.now + wait

            def called(n: int = n, at: float = at) -> None:
                late[n] = time.now - at

            wheel.add(n, at, called)
        while time.move():
            pass
    assert len(late) == len(waits)
    assert all(-1e-9 <= seconds <= BUCKET_SECONDS + 1e-6 for seconds in late.values()), late


async def test_what_is_forgotten_is_not_called() -> None:
    wheel = TimerWheel()
    called: list[str] = []
    end = anyio.Event()
    at = clock.monotonic() + 0.05
    bucket = wheel.add("gone", at, lambda: called.append("gone"))
    wheel.add("there", at, end.set)
    wheel.forget("gone", bucket)
    wheel.forget("never added", bucket)
    with anyio.fail_after(5):
        await end.wait()
    assert called == []


async def test_a_callback_that_fails_stops_neither_its_neighbours_nor_the_wheel() -> None:
    loop = asyncio.get_running_loop()
    faults: list[object] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: faults.append(context.get("exception")))
    try:
        wheel = TimerWheel()
        neighbour, later = anyio.Event(), anyio.Event()
        at = clock.monotonic() + 0.05
        wheel.add(1, at, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        wheel.add(2, at, neighbour.set)
        with anyio.fail_after(5):
            await neighbour.wait()
            wheel.add(3, clock.monotonic() + 0.05, later.set)
            await later.wait()
    finally:
        loop.set_exception_handler(before)
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


async def test_a_closed_wheel_calls_nobody() -> None:
    wheel = TimerWheel()
    called: list[int] = []
    wheel.add(1, clock.monotonic(), lambda: called.append(1))
    wheel.close()
    other = TimerWheel()
    done = anyio.Event()
    other.add(1, clock.monotonic() + 2 * BUCKET_SECONDS, done.set)
    with anyio.fail_after(5):
        await done.wait()
    assert called == []
