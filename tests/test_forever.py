"""Loops that no fault ends."""

from __future__ import annotations

import asyncio

import pytest

from core import errors, forever
from core.forever import Loops
from tests import waiting

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forever, "FIRST_BACKOFF_SECONDS", 0.001)


@pytest.mark.parametrize(
    "fault",
    [OSError(24, "Too many files"), errors.StorageUnavailable("no"), MemoryError(), asyncio.CancelledError()],
)
async def test_a_fault_of_a_step_is_counted_and_told_and_the_step_comes_again(fault: BaseException) -> None:
    loops, faults, done = Loops(), [fault, fault], []

    async def step() -> None:
        if faults:
            raise faults.pop()
        done.append(1)
        await waiting.pause(0.001)  # a step that takes a moment

    task = loops.start("one", step)
    await waiting.until(lambda: len(done) > 2)
    (loop,) = loops
    assert (loop.name, loop.failures, loop.in_a_row) == ("one", 2, 0)
    assert loop.reason and loops.failing == []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_loop_that_fails_is_seen_while_it_does() -> None:
    loops = Loops()

    async def step() -> None:
        raise OSError(24, "Too many open files")

    task = loops.start("one", step)
    await waiting.until(lambda: loops.failing and loops.failing[0].in_a_row > 2)
    assert "Too many open files" in loops.failing[0].reason
    task.cancel()
