"""Runs of messages that are ended where they are: what they do no more, and what goes on beside them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock
from core.dsl.component import Batch, Channel, Event, Run
from core.dsl.language.timers import Interval
from core.dsl.outputs import file as file_output
from core.model import frames
from core.model.canceling import Stopped
from core.worker import runs
from core.worker.executor import Executor
from core.worker.orders import Orders
from core.worker.overtaking import Overtaking
from core.worker.timetable import Now, Timetable
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.worker.test_executor import ON_MESSAGE, Bus

pytestmark = pytest.mark.anyio
CHANNEL = {"worker-channel": "c"}


@asynccontextmanager
async def at_work(executor: Executor) -> AsyncIterator[Executor]:
    task = asyncio.create_task(executor.run())
    with anyio.fail_after(20):
        await rig.opened(executor)
        yield executor
        await executor.drain(5)
        await task


async def test_a_run_that_waits_for_its_output_is_ended_and_the_one_beside_it_goes_on(worker: Worker) -> None:
    bus = Bus()
    async with at_work(worker.executor(ON_MESSAGE, CHANNEL)) as executor:
        for number in (1, 2):
            executor.deliver(bus.delivery(number, type="trigger_invoke", who=str(number)))
        channel = worker.env("reader").channel("c")
        first, second = [await channel.get() for _ in (1, 2)]
        assert await executor.cancel(1) is Stopped.STOPPED
        assert bus.settled == {1: None}
        second.settle(None)
        await waiting.until(lambda: 2 in bus.settled)
        first.settle(None)  # its consumer has it and may use it: nobody hears of it
        assert await executor.cancel(1) is Stopped.OVER
    assert [(report.ok, report.reason) for report in worker.reports] == [(False, runs.CANCELED), (True, "")]


async def test_one_that_waits_for_its_turn_is_ended_without_having_begun(worker: Worker) -> None:
    bus = Bus()
    async with at_work(worker.executor(ON_MESSAGE, CHANNEL)) as executor:
        for number in range(20):
            executor.deliver(bus.delivery(number, who=str(number)))
        assert await executor.cancel(19) is Stopped.STOPPED
        assert bus.settled == {19: None} and worker.reports == []
        assert await executor.cancel(0) is Stopped.STOPPED, "in the tick in which it was to begin"
        channel = worker.env("reader").channel("c")
        for _ in range(18):
            (await channel.get()).settle(None)
        await waiting.until(lambda: len(bus.settled) == 20)


async def test_one_that_waits_to_be_tried_again_is_not(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "FIRST_PAUSE_SECONDS", 3600)

    def fail(events: list[Event], run: Run) -> list[Event]:
        raise OSError("no way out")

    bus = Bus()
    async with at_work(worker.executor(ON_MESSAGE, CHANNEL, fail)) as executor:
        executor.deliver(bus.delivery(1, who="alice"))
        await waiting.until(lambda: executor.metrics.runs_failed)
        assert await executor.cancel(1) is Stopped.STOPPED
    assert bus.settled == {1: None}


async def test_a_run_that_takes_turns_ends_between_two_of_them_and_answers_nothing(worker: Worker) -> None:
    """Its output needs no wait, so it runs in slices; `respond` answers in the place of runs that fail."""
    seen: list[Event] = []

    def slow(events: list[Event], run: Run) -> list[Event]:
        seen.extend(events)
        waiting.pause_thread(0.003)  # longer than a slice: the rest goes on in a later turn
        return events

    many = {"echo": {**ON_MESSAGE["echo"], "event": "\n".join(['{"n": 1}'] * 2000)}}
    invocation = {"type": "trigger_invoke", "tenant_id": "t", "invocation_id": "inv_1", "response_slot": "s"}
    bus = Bus()
    async with at_work(worker.executor(many, {"respond": {"result": {"ok": True}}}, slow)) as executor:
        executor.deliver(bus.delivery(1, **invocation))
        assert bus.settled == {} and seen
        said = len(worker.messages)
        assert await executor.cancel(1) is Stopped.STOPPED
        assert bus.settled == {1: None} and len(worker.messages) == said
        assert len(seen) < 2000


async def test_a_message_among_others_of_a_batch_is_not_ended_and_one_that_is_not_taken_yet_is(worker: Worker) -> None:
    bus = Bus()
    async with at_work(worker.executor({"internal-messages": {}}, CHANNEL)) as executor:
        for number in (1, 2):
            executor.deliver(bus.delivery(number, who=str(number)))
        batch: Batch = await worker.env("reader").channel("c").get()
        assert await executor.cancel(1) is Stopped.SHARED
        executor.deliver(bus.delivery(3, who="3"))
        assert await executor.cancel(3) is Stopped.STOPPED, "before its source was asked for it"
        batch.settle(None)
        await waiting.until(lambda: len(bus.settled) == 3)


async def test_what_was_to_be_ended_when_its_job_stops_goes_to_nobody(worker: Worker) -> None:
    executor, bus = worker.executor(ON_MESSAGE, CHANNEL), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    for number in (1, 2):
        executor.deliver(bus.delivery(number, who=str(number)))
    await worker.env("reader").channel("c").get()
    ending = asyncio.create_task(executor.cancel(1))
    task.cancel()
    with anyio.fail_after(5), pytest.raises(asyncio.CancelledError):
        await task
    assert await ending is Stopped.STOPPED
    assert bus.settled == {1: None}
    assert [one.id for one in executor.unsettled(failed=False)] == [2]


async def test_the_run_beside_one_that_is_ended_while_a_file_is_synced_is_accepted(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be stopped: the sync that both wait for goes on."""
    gate, syncing = threading.Event(), threading.Event()

    def slowly(descriptors: list[int]) -> None:
        syncing.set()
        gate.wait(10)
        for fd in descriptors:
            os.close(fd)

    monkeypatch.setattr(file_output, "_sync_and_close", slowly)
    bus, out = Bus(), tmp_path / "out"
    async with at_work(worker.executor(ON_MESSAGE, {"file": str(out)})) as executor:
        for number in (1, 2):
            executor.deliver(bus.delivery(number, who=str(number)))
        await waiting.until(syncing.is_set)
        assert await executor.cancel(1) is Stopped.STOPPED
        gate.set()
        await waiting.until(lambda: 2 in bus.settled)
    assert bus.settled == {1: None, 2: None}
    assert len(out.read_text().splitlines()) == 2


async def test_runs_whose_events_were_in_the_request_of_one_that_is_ended_hear_of_it(worker: Worker) -> None:
    """They do not wait for ever for what nobody sends any more: a message is tried again."""
    sent = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port: Any = server.sockets[0].getsockname()[1]
    worker.limits = type(worker.limits)(files=worker.limits.files, egress_allow=("127.0.0.0/8",))
    sink = {"http-post": {"url": f"http://127.0.0.1:{port}/", "batch": {"fixed-size": 2, "timeout": "1h"}}}
    bus = Bus()
    executor = worker.executor(ON_MESSAGE, sink)
    task = asyncio.create_task(executor.run())
    async with server:
        with anyio.fail_after(20):
            await rig.opened(executor)
            for number in (1, 2):
                executor.deliver(bus.delivery(number, who=str(number)))
            await sent.wait()
            assert await executor.cancel(1) is Stopped.STOPPED
            assert await executor.cancel(2) is Stopped.STOPPED
            assert bus.settled == {1: None, 2: None}
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


# ---- runs of a schedule, and of jobs that run once


async def under_way(executor: Executor) -> str:
    """The run that is under way."""
    return await waiting.until(lambda: next(iter(executor.under_way._begun), ""))


async def test_a_firing_that_hangs_is_ended_and_its_schedule_goes_on_with_what_is_opened_anew(worker: Worker) -> None:
    source = {"echo": {"event": "a", "trigger": {"interval": {"duration": "50ms"}}}}
    executor = worker.executor(source, CHANNEL)
    channel = worker.env("reader").channel("c")
    async with at_work(executor):
        first = await channel.get()
        run, sink = await under_way(executor), executor._sink
        assert await executor.cancel_run("another") is Stopped.OVER
        assert await executor.cancel_run(run) is Stopped.STOPPED
        assert executor._sink is not sink
        first.settle(None)  # nobody hears of it any more
        reading = asyncio.create_task(_take_all(channel))
        await waiting.until(lambda: len(worker.reports) > 1)
        assert await executor.cancel_run(run) is Stopped.OVER
        ended, later = worker.reports[:2]
        assert (ended.run_id, ended.ok, ended.canceled) == (run, False, True)
        assert (later.ok, later.canceled) == (True, False)
        assert executor.metrics.runs_failed == 0
    reading.cancel()


def overlapping(worker: Worker, orders: Orders | None = None) -> Executor:
    """Each of its runs hangs, for nobody takes what it writes."""
    source = {"echo": {"event": "a", "trigger": {"interval": {"duration": "50ms", "overlap": "cancel"}}}}
    return worker.executor(source, CHANNEL, orders=orders)


async def test_a_firing_that_comes_due_ends_the_run_before_where_that_is_asked_for(worker: Worker) -> None:
    executor = overlapping(worker)
    async with at_work(executor):
        await waiting.until(lambda: len(worker.reports) > 2)
        reading = asyncio.create_task(_take_all(worker.env("reader").channel("c")))
        await waiting.until(lambda: worker.reports[-1].ok)
    reading.cancel()
    for report in worker.reports[:3]:
        assert (report.reason, report.canceled, report.cause) == (runs.OVERTAKEN, True, "schedule")
    times = [report.scheduled_ns for report in worker.reports]
    assert times == sorted(set(times)), "each is for a firing of its own"
    assert executor.metrics.runs_failed == 0


async def test_the_timetable_ends_no_run_that_was_asked_for_and_none_in_a_pause(worker: Worker) -> None:
    orders = Orders()
    orders.add(frames.Fire("w", 7, "manual", 1))
    executor = overlapping(worker, orders)
    async with at_work(executor):
        first = await worker.env("reader").channel("c").get()
        timetable = (await waiting.until(lambda: executor._firings)).table
        await waiting.until(lambda: timetable.wait(Now.read()) <= 0)
        assert worker.reports == []
        orders.heard(frames.Schedule("w", 0, True), Now.read())
        first.settle(None)
        await waiting.until(lambda: worker.reports)
        assert [(one.order, one.canceled) for one in worker.reports] == [(7, False)]
        orders.heard(frames.Schedule("w", 0, False), Now.read())
        await waiting.until(lambda: len(worker.reports) > 1)
        reading = asyncio.create_task(_take_all(worker.env("reader").channel("c")))
    reading.cancel()
    assert worker.reports[1].reason == runs.OVERTAKEN


async def test_what_comes_due_in_a_pause_ends_nothing() -> None:
    orders, ended = Orders(), list[str]()
    table = Timetable(Interval.model_validate({"duration": "1ms", "overlap": "cancel"}), "w", Now.read())
    table.fire(Now.read())
    orders.heard(frames.Schedule("w", 0, True), Now.read())
    with Overtaking(table, orders, lambda: ended.append("ended")):
        await waiting.until(lambda: table.wait(Now.read()) <= 0)
        assert ended == []
    orders.heard(frames.Schedule("w", 0, False), Now.read())
    with Overtaking(table, orders, lambda: ended.append("ended")):
        await waiting.until(lambda: ended)
    assert ended == ["ended"]


async def _take_all(channel: Channel) -> None:
    while True:
        (await channel.get()).settle(None)


async def test_a_job_that_runs_once_is_complete_when_its_run_is_ended(worker: Worker) -> None:
    executor = worker.executor({"echo": {"event": "a"}}, CHANNEL)
    task = asyncio.create_task(executor.run())
    with anyio.fail_after(10):
        await worker.env("reader").channel("c").get()
        assert await executor.cancel_run(await under_way(executor)) is Stopped.STOPPED
        await task
    assert [report.canceled for report in worker.reports] == [True]


async def test_only_runs_that_take_long_are_told_before_their_end_and_once(worker: Worker) -> None:
    bus = Bus()
    async with at_work(worker.executor(ON_MESSAGE, CHANNEL)) as executor:
        executor.deliver(bus.delivery(7, who="alice"))
        batch: Batch = await worker.env("reader").channel("c").get()
        now = clock.now_ns()
        assert executor.under_way.long_ones(now) == []
        (told,) = executor.under_way.long_ones(now + 2 * clock.NANOSECONDS)
        assert (told.trigger, told.delivery) == ("message", 7)
        assert executor.under_way.long_ones(now + 3 * clock.NANOSECONDS) == []
        batch.settle(None)
        await waiting.until(lambda: worker.reports)
        assert worker.reports[0].told and worker.reports[0].run_id == told.run
        assert executor.under_way.long_ones(now + 9 * clock.NANOSECONDS) == []
