"""The emit hook: what is sent beside the data, when, and when not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from core.dsl.component import Batch, Event, Run
from core.dsl.language.compile import check_job
from core.dsl.language.emit import Emit
from core.dsl.reference import schemas
from core.errors import InvalidDocument, JobFailed
from core.worker.executor import Executor
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.worker.test_executor import ON_MESSAGE, Bus

pytestmark = pytest.mark.anyio
ECHO = {"echo": {"event": "a\nb\nc"}}


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path / "state")


def executor(
    worker: Worker, source: dict[str, Any], sink: dict[str, Any], *emits: Any, process: rig.Process = rig.pass_on
) -> Executor:
    job = replace(rig.job(source, sink, process), emit=tuple(Emit.model_validate(emit) for emit in emits))
    return Executor(job, worker.env(), on_run=worker.reports.append)


async def test_a_run_is_told_after_its_output_has_accepted_it_with_figures(worker: Worker) -> None:
    await executor(worker, ECHO, {"print": "STDOUT"}, {"tag": "@{job}.done"}).run()
    (sent,) = worker.messages
    assert (sent.kind, sent.type, sent.tag) == ("user", "user-generated", "job.done")
    assert sent.data is not None
    body = sent.data["job_event"]
    assert (body["job"], body["events_in"], body["events_out"], body["errors"]) == ("job", 3, 3, 0)
    assert body["run_id"] == worker.reports[0].run_id


async def test_the_payload_may_be_templates_over_figures_times_and_variables(worker: Worker) -> None:
    worker.variables["zone"] = "north"
    data = {"n": "${stat|events_out}", "at": "${time|now_time_secs}", "zone": "${dyn|zone}", "fix": [1, True]}
    await executor(worker, ECHO, {"print": "STDOUT"}, {"tag": "t", "data": data}).run()
    assert worker.messages[0].data is not None
    body = worker.messages[0].data["job_event"]
    assert (body["n"], body["zone"], body["fix"]) == ("3", "north", [1, True])
    assert int(body["at"]) > 1_700_000_000


async def test_the_primary_output_is_the_same_with_and_without(worker: Worker) -> None:
    await executor(worker, ECHO, {"print": "STDOUT"}).run()
    plain = list(worker.printed)
    await executor(worker, ECHO, {"print": "STDOUT"}, "t").run()
    assert worker.printed == plain * 2


async def test_nothing_is_sent_when_the_output_failed(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for on in ("run", "batch", "document"):
        with pytest.raises(JobFailed):
            await executor(worker, ECHO, {"file": str(tmp_path / "out")}, {"tag": "t", "on": on}).run()
    assert worker.messages == []


async def test_nothing_is_sent_when_the_output_accepted_no_event(worker: Worker) -> None:
    def drop(events: list[Event], run: Run) -> list[Event]:
        rig.pass_on(events, run)
        return []

    emits = [{"tag": "t", "on": on} for on in ("run", "batch", "document")]
    await executor(worker, ECHO, {"print": "STDOUT"}, *emits, process=drop).run()
    assert worker.messages == []


async def test_batches_are_told_as_they_are_accepted_and_the_last_figures_at_the_end(worker: Worker) -> None:
    running = executor(worker, {"worker-channel": "c"}, {"print": "STDOUT"}, {"tag": "t", "on": "batch", "every": "1h"})
    task = asyncio.create_task(running.run())
    channel = worker.env("sender").channel("c")
    for _ in range(3):
        await channel.put(Batch([{"n": 1}]))
    await waiting.until(lambda: len(worker.printed) == 3 and worker.messages != [])
    assert [m.data["job_event"]["events_out"] for m in worker.messages if m.data] == [1]
    await running.drain(1)
    await task
    assert [m.data["job_event"]["events_out"] for m in worker.messages if m.data] == [1, 3]


async def test_documents_are_told_at_their_ends(worker: Worker) -> None:
    running = executor(worker, {"worker-channel": "c"}, {"print": "STDOUT"}, {"tag": "t", "on": "document"})
    task = asyncio.create_task(running.run())
    channel = worker.env("sender").channel("c")
    for end in (False, True, False, True):
        await channel.put(Batch([{"n": 1}], document_end=end))
    await waiting.until(lambda: len(worker.printed) == 4)
    await running.drain(1)
    await task
    assert [m.data["job_event"]["events_out"] for m in worker.messages if m.data] == [2, 4]


async def test_the_message_leaves_before_the_source_hears_that_its_batch_was_accepted(worker: Worker) -> None:
    running = executor(worker, {"worker-channel": "c"}, {"print": "STDOUT"}, {"tag": "t", "on": "batch"})
    seen: list[int] = []
    await worker.env("sender").channel("c").put(Batch([{"n": 1}], lambda error: seen.append(len(worker.messages))))
    task = asyncio.create_task(running.run())
    await waiting.until(lambda: seen)
    assert seen == [1]
    await running.drain(1)
    await task


async def test_a_message_triggered_run_tells_before_its_delivery_is_settled(worker: Worker) -> None:
    running, bus = executor(worker, ON_MESSAGE, {"message": {"tag": "main"}}, "side"), Bus()
    task = asyncio.create_task(running.run())
    await rig.opened(running)
    delivery = bus.delivery(1, who="alice")
    order: list[str] = []
    delivery.settle = lambda reason: order.extend(m.tag for m in worker.messages)
    running.deliver(delivery)
    assert order == ["main", "side"]
    await running.drain(1)
    await task


async def test_a_bus_that_does_not_take_the_message_does_not_fail_the_run(worker: Worker) -> None:
    worker.bus_fault = JobFailed("no bus")
    await executor(worker, ECHO, {"print": "STDOUT"}, "t").run()
    assert worker.reports[0].ok
    await waiting.until(lambda: any("did not take a message" in text for _, text, _ in worker.log_lines))


def document(emit: Any) -> dict[str, Any]:
    return {"name": "j", "input": ECHO, "output": {"discard": {}}, "emit": emit}


@pytest.mark.parametrize(
    "emit", ["done", {"tag": "done"}, {"on": "batch", "every": "5s"}, [{"tag": "a"}, {"tag": "b"}]]
)
def test_every_form_is_read_and_in_the_published_schema(emit: Any) -> None:
    assert len(check_job(document(emit)).emit) == (2 if isinstance(emit, list) else 1)
    assert jsonschema.Draft202012Validator(schemas.job_schema()).is_valid(document(emit))


@pytest.mark.parametrize(
    ("emit", "pointer", "told"),
    [
        ({"on": "event"}, "/emit/on", "run"),
        ({"tag": "${user}"}, "/emit/tag", "there is none here"),
        ([{"tag": "a"}, {"data": {"x": ["${a.b}"]}}], "/emit/1/data", "there is none here"),
        ({"to": "x"}, "/emit/to", ""),
        ([{"tag": "a"}] * 11, "/emit", "at most 10"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(emit: Any, pointer: str, told: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        check_job(document(emit))
    (problem,) = caught.value.errors
    assert problem.pointer == pointer
    assert told in problem.message
