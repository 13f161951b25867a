"""The wheel of deadlines: late by at most a bucket, never early, and not stopped by a callback that fails."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from core import clock
from core.triggers.deadlines import BUCKET_SECONDS, Deadlines

pytestmark = pytest.mark.anyio


async def test_a_deadline_is_kept_within_a_bucket_and_never_early() -> None:
    wheel = Deadlines()
    called = anyio.Event()
    at = clock.monotonic() + 0.1
    wheel.add("key", at, called.set)
    with anyio.fail_after(5):
        await called.wait()
    assert at <= clock.monotonic() <= at + 2 * BUCKET_SECONDS + 0.5


async def test_what_is_forgotten_is_not_called() -> None:
    wheel = Deadlines()
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
        wheel = Deadlines()
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
    wheel = Deadlines()
    called: list[int] = []
    wheel.add(1, clock.monotonic(), lambda: called.append(1))
    wheel.close()
    other = Deadlines()
    done = anyio.Event()
    other.add(1, clock.monotonic() + 2 * BUCKET_SECONDS, done.set)
    with anyio.fail_after(5):
        await done.wait()
    assert called == []
