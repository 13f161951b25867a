"""Dead letters on their way through a running job: into its output, beside its own events, and back when refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.dsl.component import Batch
from core.dsl.language.compile import compile_job
from core.errors import Busy
from core.model.letter import Posted
from core.worker import runs
from core.worker.executor import Executor
from core.worker.letters import Outbox
from core.worker.runs import Delivery, Metrics
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio
HEAR = {"echo": {"trigger": {"message": {"filter-tag": "go"}}, "json": True, "event": '{"n": "${msg|job_event.n}"}'}}
WAIT = {"worker-channel": {"channel": "in"}}


class Posts:
    """An engine that keeps everything."""

    def __init__(self) -> None:
        self.letters: list[Posted] = []

    async def post(self, missed: int, posted: Sequence[Posted]) -> tuple[int, int, bool]:
        self.letters += posted
        return len(posted), 0, False


def executor(
    worker: Worker, posts: Posts, source: Any, sink: Any, actions: Sequence[Any] = (), on_error: Any = "keep"
) -> Executor:
    env = worker.env()
    job = compile_job(
        {"name": "job", "input": source, "actions": list(actions), "output": sink, "on-error": on_error}, env
    )
    ends, metrics = {"/input": job.input.name, "/output": job.output.name}, Metrics()
    outbox = Outbox(job.on_error, "1", ends, metrics, env.log, posts.post, lambda: None)
    return Executor(job, env, on_run=worker.reports.append, metrics=metrics, outbox=outbox)


@asynccontextmanager
async def running(made: Executor) -> AsyncIterator[Executor]:
    task = asyncio.create_task(made.run())
    try:
        await rig.opened(made)
        yield made
    finally:
        await made.drain(5)
        await task


async def test_an_event_goes_on_from_its_step(worker: Worker, tmp_path: Path) -> None:
    actions = [{"add": {"output-fields": {"a": "1"}}}, {"add": {"output-fields": {"b": "2"}}}]
    out = tmp_path / "out"
    async with running(executor(worker, Posts(), WAIT, {"file": str(out)}, actions)) as job:
        for step in ("/actions/0/add", "/actions/1/add", "/output/file"):
            assert (await job.replay(step, {"at": step}, None)).state == "accepted"
        assert [sorted(orjson.loads(line)) for line in waiting.lines(out)] == [["a", "at", "b"], ["at", "b"], ["at"]]


async def test_a_step_is_found_where_it_is_now_and_one_that_is_gone_is_told(worker: Worker, tmp_path: Path) -> None:
    actions = [
        {"add": {"output-fields": {"a": "1"}}},
        {"convert": {"conversions": [{"field": "n", "conversion": "num"}]}},
    ]
    out = tmp_path / "out"
    async with running(executor(worker, Posts(), WAIT, {"file": str(out)}, actions)) as job:
        assert (await job.replay("/actions/0/convert", {"n": "1"}, None)).state == "accepted"
        assert orjson.loads(waiting.lines(out)[0]) == {"n": 1}
        gone = await job.replay("/actions/1/script", {}, None)
        assert gone.state == "not-now"
        assert "/actions/1/script" in gone.reason


async def test_an_event_that_is_refused_again_is_no_letter_of_its_own(worker: Worker, tmp_path: Path) -> None:
    posts = Posts()
    async with running(executor(worker, posts, WAIT, {"file": f"{tmp_path}/${{host}}"})) as job:
        refused = await job.replay("/output/file", {"n": 1}, None)
        assert (refused.state, refused.code) == ("refused", "empty-placeholder")
        assert posts.letters == []
        assert job.metrics.refused_by_output == 1


async def test_the_message_of_its_run_is_there_for_templates(worker: Worker, tmp_path: Path) -> None:
    async with running(executor(worker, Posts(), WAIT, {"file": f"{tmp_path}/${{msg|job_event.name}}"})) as job:
        assert (await job.replay("/output/file", {"n": 1}, {"job_event": {"name": "x"}})).state == "accepted"
        assert waiting.lines(tmp_path / "x") == ['{"n":1}']


async def test_what_is_refused_of_other_runs_in_the_same_group_becomes_letters(worker: Worker, tmp_path: Path) -> None:
    """An output may send what it still holds of the job together with the event of a letter."""
    posts = Posts()
    sink = {
        "file-store": {
            "path": str(tmp_path),
            "object-name": {"field": "name"},
            "batch": {"fixed-size": 2, "timeout": "60s"},
        }
    }
    async with running(executor(worker, posts, WAIT, sink)) as job:
        settled: list[BaseException | None] = []
        await worker.env("sender").channel("in").put(Batch([{"n": "of the job"}], settled.append))
        await waiting.until(lambda: job.metrics.events_in == 1)
        outcome = await job.replay("/output/file-store", {"n": "of the letter", "name": 7}, None)
        assert outcome.state == "refused"
        await waiting.until(lambda: settled == [None])
        assert [orjson.loads(one.event or "") for one in posts.letters] == [{"n": "of the job"}]


async def test_a_replay_empties_no_file_and_ends_no_run(worker: Worker, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text('{"n":0}\n')
    async with running(executor(worker, Posts(), WAIT, {"file": {"path": str(out), "truncate": True}})) as job:
        assert (await job.replay("/output/file", {"n": 1}, None)).state == "accepted"
        assert [orjson.loads(line)["n"] for line in waiting.lines(out)] == [0, 1]


async def test_a_fault_of_the_output_is_not_one_of_the_event(worker: Worker, tmp_path: Path) -> None:
    posts = Posts()
    (tmp_path / "busy").write_text("a file, and no directory")
    async with running(executor(worker, posts, WAIT, {"file": f"{tmp_path}/busy/${{host}}"})) as job:
        outcome = await job.replay("/output/file", {"host": "a"}, None)
        assert outcome.state == "not-now"
        assert outcome.reason
        assert posts.letters == []


async def test_a_job_that_has_ended_opens_its_output_for_replays_alone(worker: Worker, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = executor(worker, Posts(), {"echo": {"event": "a"}}, {"file": str(out)})
    await job.run()
    with pytest.raises(Busy):
        await job.replay("/output/file", {"n": 1}, None)
    async with job.for_replays():
        assert (await job.replay("/output/file", {"n": 1}, None)).state == "accepted"
    assert orjson.loads(waiting.lines(out)[-1]) == {"n": 1}


async def test_a_message_that_is_given_up_is_a_letter_and_starts_a_run_once_more(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(runs, "LONGEST_PAUSE_SECONDS", 0.001)
    posts, settled, busy = Posts(), list[str | None](), tmp_path / "busy"
    busy.write_text("a file, and no directory")
    message = {"id": "msg_1", "message_data": {"job_event": {"n": 7}}}
    async with running(executor(worker, posts, HEAR, {"file": f"{busy}/out"})) as job:
        job.deliver(Delivery(1, 1, message, settled.append))
        (reason,) = await waiting.until(lambda: settled)
        assert reason is not None
        assert reason.startswith(runs.GIVEN_UP)
        (letter,) = posts.letters
        assert (letter.step, letter.code, orjson.loads(letter.event or "")) == ("", "given-up", message)
        again = await job.replay("", message, None)
        assert again.state == "refused"
        assert len(posts.letters) == 1, "it is the same letter"
        busy.unlink()
        assert (await job.replay("", message, None)).state == "accepted"
        assert waiting.lines(busy / "out") == ['{"n":"7"}']


async def test_a_message_is_settled_behind_the_letters_of_its_run(worker: Worker, tmp_path: Path) -> None:
    answer = asyncio.Event()

    class Slow(Posts):
        async def post(self, missed: int, posted: Sequence[Posted]) -> tuple[int, int, bool]:
            await answer.wait()
            return await super().post(missed, posted)

    settled: list[str | None] = []
    posts = Slow()
    async with running(executor(worker, posts, HEAR, {"message": {"input-field": "missing"}})) as job:
        job.deliver(Delivery(1, 1, {"message_data": {"job_event": {"n": 7}}}, settled.append))
        await waiting.until(lambda: job._outbox is not None and job._outbox.owed)
        await waiting.turn()  # a settlement that does not wait would be there by now
        assert settled == []
        assert job.unsettled(failed=False) != [], "who takes its place gets the message"
        answer.set()
        await waiting.until(lambda: posts.letters)
