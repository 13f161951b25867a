"""A scheduled job on its worker: paused, resumed, and asked to run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.model import frames
from core.worker.executor import Executor
from core.worker.orders import Orders
from core.worker.timetable import Now
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio
EVENT = '{"for": "${time|scheduled_time_secs}"}'


class Told:
    """The orders of one workload, with what its engine heard."""

    def __init__(self, *, paused: bool = False, since_ns: int = 0) -> None:
        self.frames: list[frames.Fired | frames.Missed] = []
        self.orders = Orders("default/job#0", self.frames.append)
        self.orders.heard(frames.Schedule("default/job#0", since_ns, paused), Now.read())

    def say(self, *, paused: bool) -> None:
        self.orders.heard(frames.Schedule("default/job#0", 0, paused), Now.read())

    def ask(self, order: int, cause: str = "manual", scheduled_ns: int = 5_000_000_000) -> None:
        self.orders.add(frames.Fire("default/job#0", order, cause, scheduled_ns))

    @property
    def causes(self) -> list[str]:
        return [one.cause for one in self.frames if isinstance(one, frames.Fired)]


@asynccontextmanager
async def running(worker: Worker, told: Told, trigger: dict[str, Any]) -> AsyncIterator[Executor]:
    job = rig.job({"echo": {"event": EVENT, "json": True, "trigger": trigger}}, {"print": "STDOUT"})
    executor = Executor(job, worker.env(), on_run=worker.reports.append, orders=told.orders)
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    try:
        yield executor
    finally:
        await executor.drain(2.0)
        await task


async def test_a_paused_job_fires_when_it_is_resumed_and_not_before(worker: Worker) -> None:
    told = Told(paused=True)
    async with running(worker, told, {"interval": "20ms"}):
        await waiting.pause(0.1)  # in which nothing may fire
        assert told.causes == []
        told.say(paused=False)
        await waiting.until(lambda: len(told.causes) > 1)
        told.say(paused=True)
        seen = await waiting.until(lambda: len(worker.reports))  # the one that was under way ends
        await waiting.pause(0.1)  # likewise
        assert len(worker.reports) <= seen + 1


async def test_what_is_asked_for_runs_once_in_a_pause_and_names_its_order(worker: Worker) -> None:
    told = Told(paused=True)
    async with running(worker, told, {"cron": "@yearly"}):
        told.ask(7)
        told.ask(7)  # the engine asks again, for it has not heard of the end
        await waiting.until(lambda: worker.reports)
        told.ask(7)
        await waiting.pause(0.05)  # in which it may not run again
    (report,) = worker.reports
    assert (report.order, report.cause, report.scheduled_ns, report.trigger) == (7, "manual", 5_000_000_000, "cron")
    assert worker.printed == ['{"for":"5"}']
    assert told.causes == ["manual"]


async def test_what_is_asked_for_now_goes_before_what_is_due_and_a_backfill_behind_it(worker: Worker) -> None:
    told = Told()
    told.ask(1)
    told.ask(2, "backfill")
    async with running(worker, told, {"interval": "1h"}):
        await waiting.until(lambda: len(worker.reports) == 3)
    assert told.causes == ["manual", "schedule", "backfill"]


async def test_an_instance_that_takes_the_place_of_a_failed_one_knows_what_it_missed(worker: Worker) -> None:
    told = Told(since_ns=Now.read().wall_ns - 10_500_000_000)
    trigger = {"cron": {"expression": "* * * * * *", "missed": "last"}}
    async with running(worker, told, trigger):
        await waiting.until(lambda: told.causes)
        (missed,) = (one for one in told.frames if isinstance(one, frames.Missed))
        assert missed.count in (9, 10) and missed.owed == 1
        assert told.causes[0] == "catch-up"
    since = told.orders.since_ns
    told.frames.clear()
    async with running(worker, told, {"cron": {"expression": "* * * * * *"}}):
        await waiting.until(lambda: told.causes)
    again = [one for one in told.frames if isinstance(one, frames.Missed)]
    assert all(one.first_ns > since for one in again), "nothing is missed twice"
