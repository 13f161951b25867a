"""Waiting in tests: for something, under a deadline. Nothing else in the tests sleeps (ruff's banned-api holds it).

A test that waits for a fixed time is slow on a fast machine and wrong on a slow one; one that reads what is still being
written sees half a line on a busy one.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
SECONDS = 30.0  # far more than anything takes: what never comes ends a test, not what comes late
LOOK_SECONDS = 0.01  # at first; what takes its time is looked for ten times a second


async def until(
    look: Callable[[], T | Awaitable[T]],
    enough: Callable[[T], Any] = bool,
    *,
    seconds: float = SECONDS,
    every: float = LOOK_SECONDS,
) -> T:
    """What `look` sees as soon as it is `enough`, for what gives no signal: a file, the log, another process.

    Raises AssertionError with what it saw last when it is not enough after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        found: T = await answer if inspect.isawaitable(answer) else answer  # type: ignore[assignment]
        if enough(found):
            return found
        assert time.monotonic() < deadline, f"not enough after {seconds} s: {found!r}"
        await asyncio.sleep(every)
        every = min(every * 1.25, max(every, 0.1))


def until_now(look: Callable[[], T], enough: Callable[[T], Any] = bool, *, seconds: float = SECONDS) -> T:
    """The same for a test that has no event loop."""
    deadline, every = time.monotonic() + seconds, LOOK_SECONDS
    while not enough(found := look()):
        assert time.monotonic() < deadline, f"not enough after {seconds} s: {found!r}"
        time.sleep(every)
        every = min(every * 1.25, 0.1)
    return found


def lines(path: Path) -> list[str]:
    """The whole lines of a file that somebody may be writing to; none while it is not there."""
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")  # behind the last end of a line, one is on its way
    return whole.decode().splitlines()


def size(path: Path) -> int:
    """The size of a file, in bytes; 0 while it is not there."""
    return path.stat().st_size if path.exists() else 0


async def begun(*tasks: asyncio.Task[Any]) -> None:
    """Until each of the tasks has begun and waits for something (or is done)."""

    def waits(task: asyncio.Task[Any]) -> bool:
        # Nothing but this runs now: what is not new has come to its first wait.
        return task.done() or inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_CREATED  # type: ignore[arg-type]

    await until(lambda: all(map(waits, tasks)), every=0)


async def turn() -> None:
    """Let whatever is ready on the event loop run once: where rounds of the loop are what is tried, never in the hope
    that something has begun by then (`begun`) or is there (`until`). A comment says why one is enough."""
    await asyncio.sleep(0)


async def pause(seconds: float) -> None:
    """Time that is part of what a test does (a slow server, a lease that runs out, a while in which nothing may
    happen), and never a wait for something: that is `until`."""
    await asyncio.sleep(seconds)


def pause_thread(seconds: float) -> None:
    """The same where there is no event loop, or where it is to be held up."""
    time.sleep(seconds)
