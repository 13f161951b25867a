from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from core import clock
from core.dsl.component import Batch, Event, Limits, Run
from core.dsl.language.action import JobAborted
from core.dsl.outputs import file as file_output
from core.dsl.stores import local
from core.errors import JobFailed
from core.worker import executor as executors
from core.worker import firings, runs
from core.worker.runs import Delivery
from core.worker.timetable import Now
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.filepolicies import EVERYWHERE

pytestmark = pytest.mark.anyio

DOCUMENT = {"mode": "document"}
ON_MESSAGE: dict[str, Any] = {
    "echo": {
        "trigger": {"message": {"filter-tag": "smoke.invoke"}},
        "json": True,
        "event": '{"who": "${msg|job_event.who}"}',
    }
}


class Bus:
    """Deliveries and what became of them."""

    def __init__(self) -> None:
        self.settled: dict[int, str | None] = {}

    def delivery(self, number: int, **payload: Any) -> Delivery:
        message = {"id": f"msg_{number}", "message_data": {"job_event": payload}}
        return Delivery(number, 1, message, lambda reason: self.settled.__setitem__(number, reason))


# ---- once


async def test_a_job_without_a_trigger_runs_once_and_reports(worker: Worker) -> None:
    executor = worker.executor({"echo": {"event": "a\nb"}}, {"print": "STDOUT"})
    assert (executor.mode, executor.filter) == ("once", None)
    await executor.run()
    (report,) = worker.reports
    assert (report.trigger, report.ok, report.reason) == ("once", True, "")
    assert (report.events_in, report.events_out, report.errors) == (2, 2, 0)
    assert report.started_ns <= report.ended_ns
    assert executor.metrics.runs == 1
    assert executor.metrics.last_event_at > 0


async def test_a_job_is_complete_only_when_its_output_has_accepted_everything(worker: Worker) -> None:
    worker.held = []
    executor = worker.executor({"echo": {"event": "a"}}, {"message": {}})
    task = asyncio.create_task(executor.run())
    await waiting.until(lambda: worker.held)
    assert not task.done()
    worker.held[0].set_result(None)
    with anyio.fail_after(5):
        await task
    assert worker.reports[0].ok


async def test_a_fault_ends_the_job_with_its_reason_and_the_batch_unaccepted(worker: Worker) -> None:
    def abort(events: list[Event], run: Run) -> list[Event]:
        raise RuntimeError("the document says stop")

    with pytest.raises(JobFailed, match="the document says stop"):
        await worker.executor({"echo": {"event": "a"}}, {"print": "STDOUT"}, abort).run()
    (report,) = worker.reports
    assert (report.ok, report.reason) == (False, "the document says stop")
    assert worker.printed == []


async def test_an_input_or_output_that_cannot_open_fails_the_job(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="allow_exec"):
        await worker.executor({"exec": {"command": "true"}}, {"print": "STDOUT"}).run()
    assert worker.reports == []


async def test_a_sink_that_settles_later_with_a_fault_ends_a_job_that_waits_for_input(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sync(descriptors: list[int]) -> None:
        for fd in descriptors:
            os.close(fd)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(file_output, "_sync_and_close", no_sync)
    executor = worker.executor({"worker-channel": "c"}, {"file": str(tmp_path / "out")})
    settled: list[BaseException | None] = []
    await worker.env("sender").channel("c").put(Batch([{"n": 1}], settled.append))
    with anyio.fail_after(5), pytest.raises(JobFailed, match="Input/output error"):
        await executor.run()
    assert isinstance(settled[0], JobFailed)


async def test_a_consumer_that_fails_tells_the_sender(worker: Worker) -> None:
    def fail(events: list[Event], run: Run) -> list[Event]:
        raise OSError("broken consumer")

    consumer = worker.executor({"worker-channel": "c"}, {"discard": {}}, fail, "consumer")
    consuming = asyncio.create_task(consumer.run())
    with anyio.fail_after(5):
        with pytest.raises(JobFailed, match="broken consumer"):
            await worker.executor({"echo": {"event": "a"}}, {"worker-channel": "c"}, name="sender").run()
        with pytest.raises(JobFailed, match="broken consumer"):
            await consuming


# ---- what counts as out


async def test_events_count_as_out_when_the_output_has_accepted_them(worker: Worker) -> None:
    worker.held = []
    executor = worker.executor({"worker-channel": "c"}, {"message": {}})
    task = asyncio.create_task(executor.run())
    channel = worker.env("sender").channel("c")
    settled: list[BaseException | None] = []
    await channel.put(Batch([{"n": 1}], settled.append))
    await waiting.until(lambda: worker.held)
    assert executor.metrics.events_out == 0
    worker.held[0].set_result(None)
    await waiting.until(lambda: settled)
    assert (executor.metrics.events_in, executor.metrics.events_out) == (1, 1), "also when no further batch comes"
    await executor.drain(5)
    await task
    assert (worker.reports[0].events_in, worker.reports[0].events_out) == (1, 1)


async def test_what_a_failed_output_had_taken_and_not_accepted_does_not_count(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = local.LocalStore.put

    async def fails_for_some(self: local.LocalStore, objects: Sequence[tuple[str, bytes]]) -> None:
        if any("late" in name for name, _ in objects):
            raise JobFailed("the disk is broken")
        await put(self, objects)

    monkeypatch.setattr(local.LocalStore, "put", fails_for_some)
    store = {"file-store": {"path": str(tmp_path), "object-name": {"field": "to"}, "batch": {"fixed-size": 5}}}
    executor = worker.executor({"worker-channel": "c"}, store)
    channel = worker.env("sender").channel("c")
    await channel.put(Batch([{"n": n, "to": "out"} for n in range(5)]))
    await channel.put(Batch([{"n": 5, "to": "late"}]))
    running = asyncio.create_task(executor.run())
    await waiting.until(lambda: executor.metrics.events_in == 6)
    await executor.drain(5)
    with anyio.fail_after(5), pytest.raises(JobFailed):
        await running
    (report,) = worker.reports
    assert (report.ok, report.events_in, report.events_out) == (False, 6, 5), "one group is in the store, one is not"
    assert (executor.metrics.events_in, executor.metrics.events_out, executor.metrics.runs_failed) == (6, 5, 1)


async def test_a_channel_counts_what_its_consumer_accepted(worker: Worker) -> None:
    def fail(events: list[Event], run: Run) -> list[Event]:
        raise OSError("broken consumer")

    consumer = worker.executor({"worker-channel": "c"}, {"discard": {}}, fail, "consumer")
    consuming = asyncio.create_task(consumer.run())
    sender = worker.executor({"echo": {"event": "a"}}, {"worker-channel": "c"}, name="sender")
    with anyio.fail_after(5):
        with pytest.raises(JobFailed):
            await sender.run()
        with pytest.raises(JobFailed):
            await consuming
    assert (sender.metrics.events_in, sender.metrics.events_out) == (1, 0)


async def test_what_an_output_leaves_out_of_an_accepted_batch_does_not_count(worker: Worker, tmp_path: Path) -> None:
    """Each group is written long after the batches that its events came with."""
    store = {
        "path": str(tmp_path),
        "object-name": {"field": "to"},
        "batch": {"fixed-size": 2, "timeout": "1h"},
    }
    executor = worker.executor({"worker-channel": "c"}, {"file-store": store})
    task = asyncio.create_task(executor.run())
    settled: list[BaseException | None] = []
    for to in ("../out", "a", "b"):  # the first two make a group, whose name comes from the first
        await worker.env("sender").channel("c").put(Batch([{"to": to}], settled.append))
    await waiting.until(lambda: len(settled) == 2)
    assert executor.metrics.events_out == 0
    await executor.drain(5)
    await task
    assert settled == [None, None, None]
    assert (worker.reports[0].events_out, worker.reports[0].errors) == (1, 2)


# ---- by time


async def test_an_interval_job_fires_at_once_and_again(worker: Worker) -> None:
    executor = worker.executor({"echo": {"event": "tick", "trigger": {"interval": "10ms"}}}, {"print": "STDOUT"})
    assert executor.mode == "scheduled"
    task = asyncio.create_task(executor.run())
    await waiting.until(lambda: len(worker.reports) >= 3)
    await executor.drain(1)
    await task
    assert {report.trigger for report in worker.reports} == {"interval"}
    assert len({report.run_id for report in worker.reports}) == len(worker.reports)


async def test_a_cron_job_fires_on_the_clock(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    hour = 1_800_000_000 * 1_000_000_000  # a full hour
    now = hour - 1_000_000_000
    monkeypatch.setattr(executors.clock, "now_ns", lambda: now)
    monkeypatch.setattr(firings, "LONGEST_SLEEP_SECONDS", 0.005)
    executor = worker.executor({"echo": {"event": "t", "trigger": {"cron": "@hourly"}}}, {"print": "STDOUT"})
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    assert worker.reports == []
    now = hour
    await waiting.until(lambda: worker.reports)
    now = hour + 7200 * 1_000_000_000  # the machine slept over two firings: one is made up for
    await waiting.until(lambda: len(worker.reports) == 2)
    now += 1_000_000_000
    await waiting.pause(0.02)  # nothing may happen in this time
    assert len(worker.reports) == 2
    await executor.drain(1)
    await task


async def test_draining_a_waiting_schedule_ends_at_once(worker: Worker) -> None:
    executor = worker.executor({"echo": {"event": "t", "trigger": {"interval": "1h"}}}, {"print": "STDOUT"})
    task = asyncio.create_task(executor.run())
    await waiting.until(lambda: worker.reports)
    with anyio.fail_after(1):
        await executor.drain(10)
        await task
    assert [report.trigger for report in worker.reports] == ["interval"], "no firing came of it"


# ---- by message


async def test_a_delivery_is_one_run_that_is_over_before_deliver_returns(worker: Worker) -> None:
    executor, bus = worker.executor(ON_MESSAGE, {"message": {"tag": "reply"}}), Bus()
    assert executor.mode == "message"
    assert executor.filter is not None
    assert executor.filter.tag == "smoke.invoke"
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    executor.deliver(bus.delivery(1, who="alice"))
    assert worker.messages[0].data == {"job_event": {"who": "alice"}}
    assert bus.settled == {1: None}
    assert worker.reports[0].trigger == "message"
    await executor.drain(1)
    await task


async def test_what_is_delivered_before_the_job_is_open_waits_for_it(worker: Worker) -> None:
    executor, bus = worker.executor(ON_MESSAGE, {"message": {}}), Bus()
    executor.deliver(bus.delivery(1, who="early"))
    assert bus.settled == {}
    task = asyncio.create_task(executor.run())
    await waiting.until(lambda: bus.settled)
    assert worker.messages[0].data == {"job_event": {"who": "early"}}
    await executor.drain(1)
    await task


async def test_a_run_that_fails_settles_with_the_reason_and_the_next_one_works(worker: Worker) -> None:
    def picky(events: list[Event], run: Run) -> list[Event]:
        if events[0]["who"] == "mallory":
            raise ValueError("not for you")
        return rig.pass_on(events, run)

    executor, bus = worker.executor(ON_MESSAGE, {"message": {}}, picky), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    executor.deliver(bus.delivery(1, who="mallory"))
    executor.deliver(bus.delivery(2, who="alice"))
    assert bus.settled == {1: "not for you", 2: None}
    assert [report.ok for report in worker.reports] == [False, True]
    assert (executor.metrics.runs, executor.metrics.runs_failed) == (2, 1)
    await executor.drain(1)
    await task


TRIGGERS: list[dict[str, Any] | None] = [
    None,
    {"interval": "1h"},
    {"cron": {"expression": "@yearly", "immediate": True}},
    {"message": {"filter-tag": "go"}},
]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=["once", "interval", "cron", "message"])
@pytest.mark.parametrize(
    ("refused", "dropped", "reason"),
    [("", "", ""), ("a", "", ""), ("ab", "", "not b"), ("a", "b", "not a"), ("", "ab", "")],
    ids=["none", "some", "all", "all that were left", "none of those that were left out"],
)
async def test_a_run_of_which_no_event_came_through_because_they_were_refused_has_failed_whatever_started_it(
    worker: Worker, trigger: dict[str, Any] | None, refused: str, dropped: str, reason: str
) -> None:
    env = worker.env()

    def refuse(events: list[Event], run: Run) -> list[Event]:
        for event in events:
            if event["id"] in refused:
                run.fail(env, f"not {event['id']}", event)
        return rig.pass_on([event for event in events if event["id"] not in refused + dropped], run)

    source: dict[str, Any] = {"event": '{"id":"a"}\n{"id":"b"}', "json": True}
    source |= {"trigger": trigger} if trigger is not None else {}
    executor, bus = worker.executor({"echo": source}, {"print": "STDOUT"}, refuse), Bus()
    task = asyncio.create_task(executor.run())
    if trigger is not None:
        await rig.opened(executor)
    if executor.mode == "message":
        executor.deliver(bus.delivery(1))
    await waiting.until(lambda: worker.reports)
    (report,) = worker.reports
    assert (report.ok, report.reason, report.refused) == (not reason, reason, len(refused))
    assert executor.metrics.runs_failed == int(bool(reason))
    await executor.drain(1)
    await task


async def test_a_message_whose_run_failed_is_tried_again_until_the_source_is_back(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that is woken by a message, as those of durable channels are."""
    monkeypatch.setattr(runs, "FIRST_PAUSE_SECONDS", 0.01)
    trigger = {"message": {"filter-tag": "new-objects"}}
    store = {"path": str(tmp_path / "store"), "mode": "download-objects", "object-names": ["a"], "trigger": trigger}
    executor, bus = worker.executor({"file-store": store}, {"print": "STDOUT"}), Bus()
    task = asyncio.create_task(executor.run())
    (tmp_path / "store").mkdir()
    await rig.opened(executor)
    executor.deliver(bus.delivery(1))
    await waiting.until(lambda: executor.metrics.runs_failed >= 2)
    assert bus.settled == {}
    (tmp_path / "store" / "a").write_text("here it is\n")
    await waiting.until(lambda: bus.settled)
    assert bus.settled == {1: None}
    assert worker.printed == ['{"_raw":"here it is"}']
    assert any("its message is tried again in 0.01 s" in line for line in worker.warnings)
    await executor.drain(1)
    await task


async def test_a_message_whose_runs_all_fail_is_given_up_with_the_reason(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(runs, "LONGEST_PAUSE_SECONDS", 0.002)

    def fail(events: list[Event], run: Run) -> list[Event]:
        raise OSError("no way out")

    executor, bus = worker.executor(ON_MESSAGE, {"worker-channel": "c"}, fail), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    executor.deliver(bus.delivery(1, who="alice"))
    await waiting.until(lambda: bus.settled)
    assert bus.settled == {1: "given up after 10 runs of the job that failed with it: no way out"}
    assert (executor.metrics.runs, executor.metrics.runs_failed) == (10, 10)
    assert ("error", "a run failed: given up after 10 runs of the job that failed with it: no way out", {}) in (
        worker.log_lines
    )
    await executor.drain(1)
    await task


async def test_an_invocation_whose_run_failed_is_told_and_not_run_again(worker: Worker) -> None:
    def fail(events: list[Event], run: Run) -> list[Event]:
        raise OSError("no way out")

    executor, bus = worker.executor(ON_MESSAGE, {"worker-channel": "c"}, fail), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    executor.deliver(bus.delivery(1, type="trigger_invoke", who="alice"))
    await waiting.until(lambda: bus.settled)
    assert bus.settled == {1: "no way out"}
    assert executor.metrics.runs == 1
    await executor.drain(1)
    await task


async def test_a_run_that_aborts_is_over_and_the_job_goes_on_with_the_next_message(worker: Worker) -> None:
    def abort(events: list[Event], run: Run) -> list[Event]:
        raise JobAborted("poison")

    executor, bus = worker.executor(ON_MESSAGE, {"worker-channel": "c"}, abort), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    for number in (1, 2):
        executor.deliver(bus.delivery(number, type="user-generated", who="alice"))
    await waiting.until(lambda: len(bus.settled) == 2)
    assert bus.settled == {1: "poison", 2: "poison"}
    assert executor.metrics.runs == 2, "neither is tried again"
    await executor.drain(1)
    await task


async def test_a_message_that_waits_to_be_tried_again_goes_to_someone_else_when_the_job_is_drained(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FIRST_PAUSE_SECONDS", 3600)

    def fail(events: list[Event], run: Run) -> list[Event]:
        raise OSError("no way out")

    executor, bus = worker.executor(ON_MESSAGE, {"worker-channel": "c"}, fail), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    executor.deliver(bus.delivery(1, who="alice"))
    await waiting.until(lambda: executor.metrics.runs_failed)
    with anyio.fail_after(2):
        await executor.drain(30)
        await task
    assert bus.settled == {}
    assert [(delivery.id, delivery.attempt) for delivery in executor.unsettled(failed=False)] == [(1, 2)]


async def test_a_run_whose_only_event_was_refused_settles_with_why(worker: Worker) -> None:
    executor, bus = worker.executor(ON_MESSAGE, {"message": {"input-field": "trigger_response"}}), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    executor.deliver(bus.delivery(1, who="alice"))
    assert bus.settled == {1: "message: the event has no field trigger_response"}
    await executor.drain(1)
    await task


async def test_runs_that_wait_for_their_output_are_bounded_and_the_rest_queue(worker: Worker) -> None:
    executor, bus = worker.executor(ON_MESSAGE, {"worker-channel": "c"}), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    for number in range(100):
        executor.deliver(bus.delivery(number, who=str(number)))
    channel = worker.env("reader").channel("c")
    got: list[str] = []
    with anyio.fail_after(5):
        while len(got) < 100:
            assert len(executor._runs) <= executors.MOST_RUNS_AT_ONCE
            batch = await channel.get()
            got += [event["who"] for event in batch.events]
            batch.settle(None)
        await waiting.until(lambda: len(bus.settled) == 100)
    assert got == [str(number) for number in range(100)]
    assert set(bus.settled.values()) == {None}
    await executor.drain(1)
    await task


async def test_draining_finishes_the_runs_under_way_and_leaves_the_others_to_someone_else(worker: Worker) -> None:
    executor, bus = worker.executor(ON_MESSAGE, {"worker-channel": "c"}), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    for number in range(20):
        executor.deliver(bus.delivery(number, who=str(number)))
    channel = worker.env("reader").channel("c")
    with anyio.fail_after(5):
        first = await channel.get()
    draining = asyncio.create_task(executor.drain(5))
    await waiting.begun(draining)
    executor.deliver(bus.delivery(99, who="too late"))
    first.settle(None)
    with anyio.fail_after(5):
        for _ in range(15):
            (await channel.get()).settle(None)
        await draining
        await task
    assert set(bus.settled) == set(range(16))
    assert [delivery.id for delivery in executor.unsettled(failed=False)] == [16, 17, 18, 19, 99]


async def test_what_a_failed_instance_did_not_settle_goes_to_the_next_one_and_is_given_up_in_the_end(
    worker: Worker,
) -> None:
    worker.bus_fault = OSError("no engine")
    executor, bus = worker.executor({"internal-messages": {}}, {"message": {}}), Bus()
    executor.deliver(bus.delivery(1, who="x"))
    for attempt in range(2, 12):
        with anyio.fail_after(5), pytest.raises(JobFailed, match="no engine"):
            await executor.run()
        again = executor.unsettled(failed=True)
        assert executor.unsettled(failed=True) == []
        if attempt == 11:
            break
        assert [(delivery.id, delivery.attempt) for delivery in again] == [(1, attempt)]
        executor = worker.executor({"internal-messages": {}}, {"message": {}})
        executor.deliver(again[0])
    assert again == []
    assert bus.settled == {1: "given up after 10 runs of the job that failed with it"}


# ---- stopping


async def test_draining_a_reader_flushes_what_it_has_and_loses_nothing(worker: Worker, tmp_path: Path) -> None:
    sink = {"file-store": {"path": str(tmp_path / "s"), "object-name": {"name": "x"}, "batch": {"fixed-size": 1000}}}
    reader = worker.executor({"worker-channel": "c"}, sink)
    task = asyncio.create_task(reader.run())
    settled: list[BaseException | None] = []
    channel = worker.env("sender").channel("c")
    for number in range(3):
        await channel.put(Batch([{"n": number}], settled.append))
    await waiting.until(lambda: reader.metrics.events_in == 3)
    assert settled == []
    with anyio.fail_after(5):
        await reader.drain(3)
        await task
    assert settled == [None, None, None]
    (stored,) = [path for path in (tmp_path / "s").rglob("*") if path.is_file()]
    assert stored.read_text() == '{"n":0}\n{"n":1}\n{"n":2}\n'


async def test_a_drain_that_takes_too_long_ends_hard_and_the_sender_hears_of_it(worker: Worker) -> None:
    worker.held = []
    reader = worker.executor({"worker-channel": "c"}, {"message": {}})
    task = asyncio.create_task(reader.run())
    settled: list[BaseException | None] = []
    await worker.env("sender").channel("c").put(Batch([{"n": 1}], settled.append))
    await waiting.until(lambda: worker.held)
    with anyio.fail_after(5):
        await reader.drain(0.05)
        with pytest.raises(JobFailed, match="did not end in time"):
            await task
    assert isinstance(settled[0], JobFailed)
    assert worker.reports[-1].reason == "stopped"


async def test_a_cancelled_job_stops_and_is_not_mistaken_for_a_drained_one(worker: Worker) -> None:
    reader = worker.executor({"worker-channel": "c"}, {"print": "STDOUT"})
    task = asyncio.create_task(reader.run())
    await waiting.until(lambda: reader._waits._idle)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await reader.drain(1)


async def test_draining_before_the_start_and_twice_is_harmless(worker: Worker) -> None:
    executor = worker.executor({"worker-channel": "c"}, {"print": "STDOUT"})
    await executor.drain(1)
    with anyio.fail_after(1):
        await executor.run()
        await executor.drain(1)
    assert executor.metrics.events_in == 0


# ---- large inputs


async def test_a_large_file_goes_through_in_bounded_memory_and_leaves_the_loop_free(
    worker: Worker, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    line = b'{"n":1,"text":"' + b"x" * 100 + b'"}\n'
    with source.open("wb") as out:
        for _ in range(200):
            out.write(line * 2000)
    executor = worker.executor({"files": {"path": str(source), "mode": "batch", "json": True}}, {"file": str(target)})
    process = psutil.Process()
    longest = most = 0.0
    done = False

    async def watch() -> None:
        nonlocal longest, most
        while not done:
            before = time.thread_time()  # not elapsed time, in which others have the processor
            await waiting.turn()  # how long a round of the loop takes is what is measured
            longest = max(longest, time.thread_time() - before)
            most = max(most, process.memory_info().rss - start)

    start = process.memory_info().rss
    watching = asyncio.create_task(watch())
    with anyio.fail_after(60):
        await executor.run()
    done = True
    await watching
    assert target.stat().st_size == source.stat().st_size == 200 * 2000 * len(line)
    assert executor.metrics.events_out == 400_000
    assert most < 40 * 1024 * 1024
    assert longest < 0.5  # a heartbeat would have been sent many times


async def test_a_line_of_many_megabytes_fails_the_job_without_being_kept(worker: Worker, tmp_path: Path) -> None:
    worker.limits = Limits(max_line_bytes=1024 * 1024, files=EVERYWHERE)
    source = tmp_path / "in"
    with source.open("wb") as out:
        out.truncate(100 * 1024 * 1024)  # sparse: a hundred megabytes without a line end
    process = psutil.Process()
    start = process.memory_info().rss
    with anyio.fail_after(30), pytest.raises(JobFailed, match="a line is longer than 1048576 bytes"):
        await worker.run({"files": {"path": str(source), "mode": "batch"}}, {"discard": {}})
    assert process.memory_info().rss - start < 40 * 1024 * 1024


async def test_each_firing_is_one_document_for_the_batches_of_an_output(worker: Worker, tmp_path: Path) -> None:
    store = tmp_path / "store"
    source = {"echo": {"event": "a\nb\nc", "trigger": {"interval": "10ms"}}}
    sink = {"file-store": {"path": str(store), "object-name": {"name": "${stat|_BATCH_NUMBER}"}, "batch": DOCUMENT}}
    executor = worker.executor(source, sink)
    task = asyncio.create_task(executor.run())
    await waiting.until(lambda: len(worker.reports) >= 3)
    await executor.drain(1)
    await task
    objects = [path.read_text().splitlines() for path in store.rglob("*") if path.is_file()]
    assert len(objects) >= 3
    assert all(len(lines) == 3 for lines in objects), "the three events of a firing, no more and no less"


async def test_the_lag_is_the_age_of_the_oldest_message_that_is_not_accepted(worker: Worker) -> None:
    executor, bus = worker.executor(ON_MESSAGE, {"worker-channel": "c"}), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    now = Now.read()
    assert executor.lag_seconds(now) == 0
    for number, age in ((1, 7), (2, 3)):
        delivery = bus.delivery(number, who="x")
        delivery.message["nanoseconds_since_epoch"] = now.wall_ns - age * 1_000_000_000
        executor.deliver(delivery)
    channel = worker.env("reader").channel("c")
    batch = await channel.get()
    assert executor.lag_seconds(now) == pytest.approx(7, abs=0.1)
    batch.settle(None)
    await waiting.until(lambda: 1 in bus.settled)
    assert executor.lag_seconds(now) == pytest.approx(3, abs=0.1)
    (await channel.get()).settle(None)
    await waiting.until(lambda: 2 in bus.settled)
    assert executor.lag_seconds(now) == 0
    await executor.drain(1)
    await task


async def test_a_batch_that_its_output_has_not_accepted_makes_the_job_lag(worker: Worker) -> None:
    executor = worker.executor({"echo": {"event": "a"}}, {"worker-channel": "c"})
    task = asyncio.create_task(executor.run())
    batch = await worker.env("reader").channel("c").get()
    now = Now.read()
    assert executor.lag_seconds(now._replace(monotonic_ns=now.monotonic_ns + 60 * clock.NANOSECONDS)) > 59
    batch.settle(None)
    await task
    assert executor.lag_seconds(now._replace(monotonic_ns=now.monotonic_ns + 60 * clock.NANOSECONDS)) == 0


async def test_bytes_are_counted_on_both_sides(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"hello\nworld\n")
    executor = worker.executor(
        {"files": {"path": str(tmp_path / "in"), "mode": "batch"}}, {"file": {"path": str(tmp_path / "out")}}
    )
    await executor.run()
    assert executor.metrics.bytes_in == 12
    assert executor.metrics.bytes_out == (tmp_path / "out").stat().st_size


async def test_a_tail_that_is_behind_its_file_lags_and_one_that_has_caught_up_does_not(
    worker: Worker, tmp_path: Path
) -> None:
    (tmp_path / "log").write_bytes((b"x" * 99 + b"\n") * 20_000)
    source = {"files": {"path": str(tmp_path / "log"), "poll-interval": "10ms"}}
    executor = worker.executor(source, {"worker-channel": "c"})
    task = asyncio.create_task(executor.run())

    def lag() -> float:
        now = Now.read()
        return executor.lag_seconds(now._replace(monotonic_ns=now.monotonic_ns + 60 * clock.NANOSECONDS))

    await waiting.until(lambda: lag() > 59)
    channel, read = worker.env("reader").channel("c"), 0
    with anyio.fail_after(20):
        while read < 20_000:
            batch = await channel.get()
            read += len(batch.events)
            batch.settle(None)
            assert lag() > 59 or read == 20_000, "as long as anything is unread"
    await waiting.until(lambda: lag() == 0)
    await executor.drain(1)
    await task
