"""The jetstream input and output, with a real server that keeps its streams on a disk."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock
from core.dsl.component import Batch, BehindSource, Limits, Run
from core.dsl.connections import streams
from core.dsl.connections.retry import Temporary
from core.dsl.inputs.jetstream import JetstreamSource
from core.errors import JobFailed
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.external import server

pytestmark = pytest.mark.anyio

FRESH = itertools.count()


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    with server.running("-js", "-sd", str(tmp_path_factory.mktemp("store"))) as started:
        yield started


@pytest.fixture
def worker(tmp_path: Path, bus: server.Server) -> Worker:
    return Worker(tmp_path / "state", Limits(nats=bus.url))


@pytest.fixture
def stream() -> str:
    """The name of a stream that no other test has."""
    return f"s{next(FRESH)}"


@asynccontextmanager
async def reading(worker: Worker, job: str = "job", **config: Any) -> AsyncIterator[tuple[JetstreamSource, Any]]:
    """An open input and its batches."""
    source = rig.declare("input", {"jetstream": config}).open(worker.env(job))
    batches = source.batches(Run())
    try:
        with anyio.fail_after(20):
            yield source, batches
    finally:
        await batches.aclose()
        await source.close()


async def write(worker: Worker, stream: str, numbers: range, **more: Any) -> None:
    lines = "\n".join(f'{{"n": {n}}}' for n in numbers)
    report = await worker.write(lines, {"jetstream": {"stream": stream, **more}})
    assert report.ok, report.reason


def this_moment() -> str:
    """The time to the microsecond: the messages of a test are less than a millisecond apart."""
    return datetime.now(UTC).isoformat()


async def take(batches: Any, count: int) -> list[int]:
    """Accept so many events."""
    out: list[int] = []
    while len(out) < count:
        batch: Batch = await anext(batches)
        out += [event["n"] for event in batch.events]
        batch.settle(None)
    return out


async def consumers(worker: Worker, stream: str) -> dict[str, int]:
    opened = await streams.connect(worker.env(), stream)
    try:
        return {one.name: one.floor for one in await opened.consumers()}
    finally:
        await opened.close()


async def read_up_to(worker: Worker, stream: str, job: str, floor: int) -> None:
    with anyio.fail_after(10):
        while (await consumers(worker, stream)).get(job) != floor:
            pass


async def held(worker: Worker, stream: str) -> int:
    """How many messages are in a stream."""
    opened = await streams.connect(worker.env(), stream)
    try:
        return int((await opened._context.stream_info(opened.name)).state.messages)
    finally:
        await opened.close()


async def test_what_is_written_is_read_once_by_every_job(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(5))
    await write(worker, stream, range(5, 30), batch={"fixed-size": 10})
    assert await held(worker, stream) == 8
    for job in ("one", "two"):
        async with reading(worker, job, stream=stream) as (_, batches):
            assert await take(batches, 30) == list(range(30))
    await write(worker, stream, range(30, 32))
    async with reading(worker, "one", stream=stream) as (_, batches):
        assert await take(batches, 2) == [30, 31]


async def test_replicas_of_a_job_share_the_messages(worker: Worker, stream: str) -> None:
    async with reading(worker, stream=stream) as (_, one), reading(worker, stream=stream) as (_, two):
        both = [asyncio.ensure_future(anext(one)), asyncio.ensure_future(anext(two))]
        await write(worker, stream, range(2))
        got = [batch.events[0]["n"] for batch in await asyncio.gather(*both)]
    assert sorted(got) == [0, 1]


async def test_what_was_refused_or_left_comes_again(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(3))
    async with reading(worker, stream=stream) as (_, batches):
        first, second, third = [await anext(batches) for _ in range(3)]
        second.settle(None)
        first.settle(JobFailed("no"))
        third.settle(JobFailed("no"))
    async with reading(worker, stream=stream) as (_, batches):
        assert sorted(await take(batches, 2)) == [0, 2]
    await read_up_to(worker, stream, "job", 3)


async def test_a_batch_that_takes_longer_than_ack_wait_does_not_come_twice(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(1))
    async with reading(worker, **{"stream": stream, "ack-wait": "1s"}) as (source, batches):
        batch = await anext(batches)
        assert source._stream is not None
        said, answer = [0], source._stream.answer
        enough = asyncio.Event()

        async def counting(reply: str, what: bytes) -> None:
            said[0] += what == streams.WORKING
            if said[0] == 6:  # two seconds
                enough.set()
            await answer(reply, what)

        source._stream.answer = counting  # type: ignore[method-assign]
        await enough.wait()
        await write(worker, stream, range(1, 2))
        assert (await anext(batches)).events == [{"n": 1}]
        batch.settle(None)
    await read_up_to(worker, stream, "job", 1)


async def test_a_reader_that_gives_no_sign_of_life_loses_its_messages(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(1))
    async with reading(worker, **{"stream": stream, "ack-wait": "1s"}) as (source, batches):
        await anext(batches)
        for task in source._tasks:
            task.cancel()
        async with reading(worker, **{"stream": stream, "ack-wait": "1s"}) as (_, others):
            assert await take(others, 1) == [0]


async def test_a_job_with_another_ack_wait_stays_where_it_is(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(3))
    async with reading(worker, stream=stream, replay="2020-01-01") as (_, batches):
        assert await take(batches, 2) == [0, 1]
    changed = {"stream": stream, "replay": "2020-01-01", "ack-wait": "2s"}
    async with reading(worker, **changed) as (source, batches):
        assert await take(batches, 1) == [2]
        assert source._stream is not None
        name = streams.consumer_name("job", "2020-01-01")
        info = await source._stream._context.consumer_info(source._stream.name, name)
        assert info.config.ack_wait == 2


async def test_a_message_that_is_tried_again_is_kept_once(worker: Worker, stream: str) -> None:
    opened = await streams.connect(worker.env(), stream)
    for id in ("a", "a", "b"):
        await opened.publish(b'{"n": 1}', id)
    await opened.close()
    assert await held(worker, stream) == 2


async def test_an_event_that_no_message_holds_is_left_out(worker: Worker, stream: str) -> None:
    large = '{"n": "%s"}' % ("x" * 1_050_000)
    report = await worker.write(f'{large}\n{{"n": 1}}', {"jetstream": stream})
    assert (report.ok, report.errors, report.events_out) == (True, 1, 1)
    assert "1047552" in worker.warnings[0]
    async with reading(worker, stream=stream) as (_, batches):
        assert await take(batches, 1) == [1]


async def test_lines_of_strangers_are_read_as_far_as_they_are_events(worker: Worker, stream: str) -> None:
    opened = await streams.connect(worker.env(), stream)
    await opened.publish(b'{"n": 1}\nhello\n', "a")
    await opened.publish(b"", "b")
    await opened.close()
    async with reading(worker, stream=stream) as (_, batches):
        batch = await anext(batches)
        assert batch.events == [{"n": 1}, {"_raw": "hello"}]
        batch.settle(None)
        (await anext(batches)).settle(None)
    await read_up_to(worker, stream, "job", 2)


async def test_tenants_do_not_see_each_others_streams(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(1))
    env = worker.env()
    env.tenant = "other"
    opened = await streams.connect(env, stream)
    assert (await opened._context.stream_info(opened.name)).state.messages == 0
    await opened.close()


async def test_a_reader_says_since_when_it_is_behind(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(2))
    async with reading(worker, stream=stream) as (source, batches):
        assert isinstance(source, BehindSource)
        await anext(batches)
        assert source.behind_since() is not None
        await anext(batches)
        assert source.behind_since() is None


# ---- replay and retention


async def test_a_new_reader_begins_where_its_replay_says(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(3))
    middle = this_moment()
    await write(worker, stream, range(3, 6))
    async with reading(worker, "since", stream=stream, replay=middle) as (_, batches):
        assert await take(batches, 3) == [3, 4, 5]
    async with reading(worker, "now", stream=stream, replay="now") as (_, batches):
        coming = asyncio.ensure_future(anext(batches))
        await read_up_to(worker, stream, streams.consumer_name("now", "now"), 6)
        await write(worker, stream, range(6, 7))
        assert (await coming).events == [{"n": 6}]


async def test_another_replay_reads_once_more_and_passes_over_nothing(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(4))
    async with reading(worker, stream=stream) as (_, batches):
        assert await take(batches, 4) == [0, 1, 2, 3]
    again = {"stream": stream, "replay": {"from": "beginning", "marker": "again"}}
    for wanted in ([0, 1, 2, 3], [4, 5]):  # carried out once
        async with reading(worker, **again) as (_, batches):
            assert await take(batches, len(wanted)) == wanted
        if wanted[0] == 0:
            await write(worker, stream, range(4, 6))
    await write(worker, stream, range(6, 8))
    async with reading(worker, stream=stream, replay=this_moment()) as (_, batches):
        assert await take(batches, 2) == [6, 7]
    assert len(await consumers(worker, stream)) == 1


async def test_what_all_readers_have_read_is_deleted_as_the_retention_says(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(10))
    opened = await streams.connect(worker.env(), stream)
    later = clock.now_ns() / clock.NANOSECONDS + 60
    async with reading(worker, "one", stream=stream) as (_, batches):
        await take(batches, 10)
    assert await opened.trim(["one", "two"], later, None) is None
    async with reading(worker, "two", stream=stream) as (_, batches):
        await take(batches, 4)
    await read_up_to(worker, stream, "two", 4)
    assert await opened.trim(["one", "two"], 0.0, None) is None
    assert await opened.trim(["one", "two"], later, None) == 5
    assert await held(worker, stream) == 6
    assert await opened.trim(["one", "two"], None, 1) is None
    await opened.close()
    async with reading(worker, "two", stream=stream) as (_, batches):
        assert await take(batches, 6) == [4, 5, 6, 7, 8, 9]


async def test_a_reader_deletes_by_itself(worker: Worker, stream: str) -> None:
    await write(worker, stream, range(5))
    async with reading(worker, stream=stream, retention={"age": "0s"}) as (_, batches):
        await take(batches, 5)
        coming = asyncio.ensure_future(anext(batches))
        while await held(worker, stream):
            pass
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
    assert not await held(worker, stream)


# ---- what is missing


async def test_a_worker_without_a_server_says_which_setting_is_missing(worker: Worker) -> None:
    worker.limits = Limits()
    with pytest.raises(JobFailed, match="this worker knows no NATS server") as told:
        await worker.run({"jetstream": "s"}, {"discard": {}})
    assert "--nats nats://HOST:PORT" in told.value.hint
    with pytest.raises(JobFailed, match="knows no NATS server"):
        await worker.write('{"n": 1}', {"jetstream": "s"})


async def test_a_server_that_is_away_is_told_without_its_password(worker: Worker, unused: int) -> None:
    worker.limits = Limits(nats=f"nats://me:secret@127.0.0.1:{unused}")
    assert "secret" not in repr(worker.limits)
    with anyio.fail_after(20), pytest.raises(Temporary, match=f"127.0.0.1:{unused} cannot be reached") as told:
        await worker.run({"jetstream": "s"}, {"discard": {}})
    assert "secret" not in f"{told.value.message} {worker.log_lines}"


@pytest.fixture
def unused() -> int:
    return server.Server().port


async def test_a_server_without_jetstream_is_told(worker: Worker) -> None:
    with server.running() as bare, anyio.fail_after(20):
        worker.limits = Limits(nats=bare.url)
        with pytest.raises(Temporary, match="JetStream does not answer") as told:
            await worker.write('{"n": 1}', {"jetstream": "s"})
    assert "-js" in told.value.hint


async def test_a_stream_that_would_forget_is_refused(worker: Worker, stream: str) -> None:
    opened = await streams.connect(worker.env(), "other")
    await opened._context.add_stream(
        name=f"sluice+default+{stream}", subjects=[f"sluice.channel.default.{stream}"], retention="workqueue"
    )
    await opened.close()
    with pytest.raises(JobFailed, match="is not one for jobs"):
        await worker.write('{"n": 1}', {"jetstream": stream})


@pytest.mark.parametrize("name", ["", "a b", "a.b", "*", "../x", "x" * 129])
async def test_a_name_that_means_something_to_the_server_is_refused(name: str) -> None:
    for kind in ("input", "output"):
        with pytest.raises(ValueError, match="stream"):
            rig.declare(kind, {"jetstream": {"stream": name}})


async def test_a_writer_bears_a_server_that_starts_again(tmp_path: Path, stream: str) -> None:
    with server.running("-js", "-sd", str(tmp_path / "store")) as bus:
        worker = Worker(tmp_path / "state", Limits(nats=bus.url))
        config = {"stream": stream, "retry": {"retries": 100, "timeout": "30s"}}
        sink = rig.declare("output", {"jetstream": config}).open(worker.env())
        settled: list[BaseException | None] = []
        with anyio.fail_after(40):
            await sink.write(Batch([{"n": 0}], settled.append), Run())
            bus.kill()
            writing = asyncio.ensure_future(sink.write(Batch([{"n": 1}], settled.append), Run()))
            await waiting.until(lambda: any("jetstream" in line for line in worker.warnings))
            bus.start()
            await writing
        await sink.close()
        assert settled == [None, None]
        async with reading(worker, stream=stream) as (_, batches):
            assert await take(batches, 2) == [0, 1]
