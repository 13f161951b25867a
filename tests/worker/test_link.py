"""What a worker sends to its engine of runs that messages start: their messages and their ends."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from core.channel import Channel
from core.dsl.component import Outgoing
from core.model import frames
from core.model.states import WorkloadState
from core.worker.link import MAX_LOG_CHARACTERS, Link
from core.worker.redact import Redactor
from core.worker.runs import RunReport
from tests import waiting

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


async def test_a_message_is_sent_before_all_that_comes_behind_it_and_settles_the_run_that_ends_well_with_it() -> None:
    sent: list[bytes] = []

    class Wire:
        def send(self, data: bytes) -> None:
            sent.append(data)

    link = Link(cast(Channel, Wire()), {})
    message = Outgoing(kind="user", type="user-generated", tag="", data={"a": 1})
    link.publish("t/j#0", message)
    link.publish("t/j#0", message)
    link.settle("t/j#0", 7, None, ())  # ended well, with the second message
    link.settle("t/j#0", 8, None, ())  # without a message
    link.publish("t/j#0", message)
    link.settle("t/j#0", 9, "it failed", ())
    link.publish("t/j#0", message)
    link.status("t/j#0", "1", WorkloadState.RUNNING, "", 0)
    link.publish("t/j#0", message)  # it belongs to a run that goes on
    await waiting.until(lambda: len(sent) == 8)
    found = [
        (one.sequence, one.settles) if isinstance(one, frames.Publish) else one
        for one in map(frames.OF_WORKER.decode, sent)
    ]
    assert found == [
        (1, 0),
        (2, 7),
        frames.Settle(8, None),
        (3, 0),
        frames.Settle(9, "it failed"),
        (4, 0),
        frames.Status("t/j#0", "1", WorkloadState.RUNNING, "", 0),
        (5, 0),
    ]
    link.close()


async def test_a_line_that_is_too_long_says_so_with_its_whole_length_and_keeps_its_secrets() -> None:
    redactor = Redactor()
    link = Link(cast(Channel, None), {"other": redactor})
    longest, fields = "x" * MAX_LOG_CHARACTERS, {"target": "STDOUT"}
    assert link.clean("t/j#0", longest, fields) == (longest, fields)
    assert link.clean("t/j#0", longest + "yz", fields) == (longest, {**fields, "truncated": {"of": 8194}})
    assert fields == {"target": "STDOUT"}
    redactor.learn("s3cret-value")
    text, said = link.clean("other/j#0", "s3cret-value" + longest, {"of": "s3cret-value"})
    assert text.startswith("***xxx")
    assert len(text) <= MAX_LOG_CHARACTERS
    assert said == {"of": "***", "truncated": {"of": MAX_LOG_CHARACTERS + 12}}
    assert link.clean("other/j#0", "s3cret-value", {}) == ("***", {})
