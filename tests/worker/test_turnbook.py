"""A worker notes whose code runs, where its engine can read it after the worker was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from core import witness
from core.witness import NOBODY, Seen, Witness
from core.worker.ceiling import Growth
from core.worker.turnbook import Turnbook
from tests import waiting

pytestmark = pytest.mark.anyio
MEBIBYTE = 2**20

STUCK = """
import os, sys, time
from core.witness import Witness
from core.worker.turnbook import Turnbook

def work(_):
    print("at work", flush=True)
    time.sleep(60)

Turnbook(Witness(int(sys.argv[1]))).call(7, work, None)
"""


@pytest.fixture
def shown() -> Iterator[Witness]:
    fd = witness.make()
    made = Witness(fd)
    os.close(fd)
    yield made
    made.close()


async def test_each_step_of_a_task_and_of_those_that_it_starts_is_noted(shown: Witness) -> None:
    book = Turnbook(shown)
    seen: list[Seen] = []

    async def inner() -> None:
        await waiting.turn()  # each round is a step of the task
        seen.append(shown.seen())

    async def outer() -> None:
        seen.append(shown.seen())
        inherited = asyncio.create_task(inner())
        await waiting.turn()  # each round is a step of the task
        seen.append(shown.seen())
        await inherited

    loop = asyncio.get_running_loop()
    book.inherit(loop)
    try:
        task = asyncio.create_task(book.noted(3, outer()))
        await waiting.turn()  # its first step
        assert (shown.seen().running, shown.last()) == (NOBODY, 3)
        await task
        foreign = asyncio.create_task(inner())  # of nobody's code
        await foreign
    finally:
        loop.set_task_factory(None)
    assert [one.running for one in seen] == [3, 3, 3, NOBODY]


async def test_a_fault_and_a_cancellation_go_through_and_end_the_note(shown: Witness) -> None:
    book = Turnbook(shown)

    async def fails() -> None:
        raise OSError("no")

    async def waits() -> None:
        await asyncio.Event().wait()

    with pytest.raises(OSError, match="no"):
        await asyncio.create_task(book.noted(1, fails()))
    task = asyncio.create_task(book.noted(2, waits()))
    await waiting.until(lambda: shown.last() == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (shown.seen().running, shown.last()) == (NOBODY, 2)


def test_what_was_noted_can_be_read_after_the_process_was_killed() -> None:
    fd = witness.make()
    seen = Witness(fd)
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, str(fd)], pass_fds=(fd,), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "at work\n"
        child.send_signal(signal.SIGKILL)
    os.close(fd)
    assert seen.seen() == Seen(7, NOBODY, False)
    seen.close()


def test_memory_is_put_down_to_whose_turns_it_grew_in() -> None:
    growth = Growth(100 * MEBIBYTE)
    assert growth.note(1, 100 * MEBIBYTE) == NOBODY
    assert growth.note(1, 110 * MEBIBYTE) == 1
    assert growth.note(2, 150 * MEBIBYTE) == 2
    assert growth.note(1, 120 * MEBIBYTE) == 2  # given back by whom nobody knows
    for total in range(125, 200, 5):
        growth.note(1, total * MEBIBYTE)
    assert growth.note(2, 195 * MEBIBYTE) == 1
