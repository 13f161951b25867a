"""What a worker sends to its engine of the ends of runs that messages start."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from core.channel import Channel
from core.model import frames
from core.worker.link import Link
from core.worker.runs import RunReport

pytestmark = pytest.mark.anyio


async def test_runs_that_failed_are_summed_up_apart_from_those_that_came_to_a_good_end() -> None:
    sent: list[bytes] = []
    told = asyncio.Event()

    class Wire:
        def send(self, data: bytes) -> None:
            sent.append(data)
            told.set()

    link = Link(cast(Channel, Wire()), {})
    for number in range(1, 6):
        link.run_ended("t/j#0", RunReport(f"r-{number}", "message", number, number + 1, 20, 20, 0, True, ""))
    for number in range(6, 8):
        report = RunReport(f"r-{number}", "message", number, number + 1, 100, 0, 100, False, f"no {number}")
        link.run_ended("t/j#0", report._replace(refused=100))
    await asyncio.wait_for(told.wait(), 30)
    good, failed = (cast(frames.Run, frames.OF_WORKER.decode(line)) for line in sent)
    assert (good.runs, good.failed, good.ok, good.events_in, good.refused, good.reason) == (5, 0, True, 100, 0, "")
    assert (failed.runs, failed.failed, failed.ok, failed.events_in, failed.refused) == (2, 2, False, 200, 200)
    assert failed.reason == "no 7"
