"""Which run a line of a log is of: the one in which it was written, also where runs take turns, and none otherwise."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from core.dsl.component import Event, Run
from core.errors import JobFailed
from core.model.log_line import NO_RUN, InRun
from core.worker import in_run
from core.worker.executor import Executor
from core.worker.runs import Delivery
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio
ON_MESSAGE = {"echo": {"trigger": {"message": {"filter-tag": "t"}}, "event": "x"}}

INVOCATIONS = ("", "inv_" + 28 * "7")


class Written:
    """A job whose lines are kept with their run."""

    def __init__(self, worker: Worker, source: dict[str, Any], sink: dict[str, Any], fault: str = "") -> None:
        self.lines: list[tuple[str, InRun]] = []
        self.settled: dict[int, str | None] = {}
        self._fault = fault
        self._env = dataclasses.replace(worker.env(), log=self._log)
        self.executor = Executor(rig.job(source, sink, self._process, "job"), self._env, on_run=worker.reports.append)

    def _log(self, level: str, text: str, **fields: Any) -> None:
        self.lines.append((text, in_run.of("job.0")))

    def _process(self, events: list[Event], run: Run) -> list[Event]:
        self._log("info", f"in {run.id}")
        if self._fault:
            raise JobFailed(self._fault)
        return events

    def deliver(self, number: int, invocation: str = "") -> None:
        body = {"type": "trigger_invoke", "invocation_id": invocation} if invocation else {}
        message = {"id": f"msg_{number}", "message_data": {"job_event": body}}
        settle = self.settled.__setitem__
        self.executor.deliver(Delivery(number, 1, message, lambda reason: settle(number, reason)))


@pytest.mark.parametrize("output", ["print", "file"])  # the one takes events at once, the other makes runs wait
async def test_lines_of_messages_are_of_their_runs_and_of_the_invocations_behind_them(
    worker: Worker, output: str
) -> None:
    to = {"print": "STDOUT", "file": {"path": str(worker.state / "out.txt")}}
    job = Written(worker, ON_MESSAGE, {output: to[output]})
    running = asyncio.create_task(job.executor.run())
    await waiting.until(lambda: job.executor.open)
    for number in range(4):
        job.deliver(number, INVOCATIONS[number % 2])
    await waiting.until(lambda: len(job.settled) == 4)
    await job.executor.drain(5)
    await running
    ids = [report.run_id for report in worker.reports]
    by_run = {told.run: told.invocation for _, told in job.lines}
    assert sorted(by_run) == sorted(ids)
    assert sorted(by_run.values()) == ["", "", *2 * [INVOCATIONS[1]]]
    assert all(text == f"in {told.run}" for text, told in job.lines if text.startswith("in "))


@pytest.mark.parametrize("invocation", INVOCATIONS)
async def test_the_line_that_says_why_a_message_failed_is_of_its_run(worker: Worker, invocation: str) -> None:
    job = Written(worker, ON_MESSAGE, {"print": "STDOUT"}, fault="no way")
    running = asyncio.create_task(job.executor.run())
    await waiting.until(lambda: job.executor.open)
    job.deliver(1, invocation)
    await job.executor.drain(5)
    await running
    (report,) = worker.reports
    assert job.lines == [
        (f"in {report.run_id}", InRun(report.run_id, invocation)),
        ("a run failed: no way", InRun(report.run_id, invocation)),
    ]


async def test_a_job_tells_with_which_run_it_failed(worker: Worker) -> None:
    job = Written(worker, {"echo": {"event": "x"}}, {"print": "STDOUT"}, fault="no way")
    with pytest.raises(JobFailed, match="no way"):
        await job.executor.run()
    (report,) = worker.reports
    assert job.executor.failed_in == job.lines[0][1] == InRun(report.run_id, "")
    assert in_run.of("job.0") == NO_RUN


async def test_a_run_is_over_for_what_it_leaves_behind_and_is_none_of_another_job() -> None:
    go_on = asyncio.Event()
    seen: list[InRun] = []

    async def left_behind() -> None:
        seen.append(in_run.of("t/a#0"))
        await go_on.wait()
        seen.append(in_run.of("t/a#0"))

    with in_run.Begun("t/a#0", "r-1", None):
        task = asyncio.create_task(left_behind())
        await waiting.until(lambda: seen)
        assert await asyncio.to_thread(in_run.of, "t/a#0") == InRun("r-1", "")
        assert in_run.of("t/b#0") == NO_RUN
        with in_run.Begun("t/b#0", "r-2", None):
            assert in_run.of("t/b#0") == InRun("r-2", "")
        assert in_run.of("t/a#0") == InRun("r-1", "")
    go_on.set()
    await task
    assert seen == [InRun("r-1", ""), NO_RUN]
