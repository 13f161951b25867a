"""Whether an input or output reaches what it connects to: what a job notes of its tries, and what its worker tells."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from core.channel import Channel
from core.dsl.component import Limits
from core.dsl.connections.retry import Retry, Temporary, attempt
from core.errors import JobFailed
from core.model import frames
from core.worker.contacts import Contact
from core.worker.link import MAX_OUTAGE_CHARACTERS, Link
from core.worker.redact import Redactor
from tests.dsl import rig, web
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio

PATIENT = {"retries": 50, "timeout": "60s"}


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path, limits=Limits(egress_allow=("127.0.0.0/8",)))


async def test_the_tries_of_an_output_are_noted_as_its_own_until_one_comes_through(worker: Worker) -> None:
    env = worker.env()
    async with web.serve(web.answer(503), web.answer(503), web.answer(200)) as site:
        job = rig.job({"echo": {"event": "{}", "json": True}}, {"http-post": {"url": site.url(), "retry": PATIENT}})
        await rig.Executor(job, env, on_run=worker.reports.append).run()
    outage = env.contacts.outage("output")
    assert outage is not None and outage.since_ns < outage.ended_ns
    assert (outage.component, outage.target, outage.tries) == ("http-post", "HTTP server", 2)
    assert outage.reason.endswith("answered 503")
    assert env.contacts.outage("input") is None


async def test_an_outage_goes_on_over_restarts_of_the_job(worker: Worker) -> None:
    """Without `retry` the job fails and is started again: it is the same outage, and its tries are counted on."""
    env = worker.env()
    async with web.serve(web.answer(503), web.answer(503), web.answer(200)) as site:
        job = rig.job({"echo": {"event": "{}", "json": True}}, {"http-post": {"url": site.url()}})
        seen = []
        for _ in range(2):
            with pytest.raises(JobFailed):
                await rig.Executor(job, env, on_run=worker.reports.append).run()
            seen.append(env.contacts.outage("output"))
        first, second = seen
        assert first is not None and second is not None
        assert (first.since_ns, first.tries, second.tries) == (second.since_ns, 1, 2) and not second.ended_ns
        await rig.Executor(job, env, on_run=worker.reports.append).run()
    ended = env.contacts.outage("output")
    assert ended is not None and ended.ended_ns


async def test_the_tries_of_an_input_are_its_own(worker: Worker) -> None:
    env = worker.env()
    async with web.serve(web.answer(503), web.answer(200, b'{"n": 1}')) as site:
        job = rig.job({"http-poll": {"url": site.url(), "json": True, "retry": PATIENT}}, {"discard": {}})
        await rig.Executor(job, env, on_run=worker.reports.append).run()
    outage = env.contacts.outage("input")
    assert outage is not None and outage.component == "http-poll" and outage.ended_ns
    assert env.contacts.outage("output") is None


class Counted(Contact):
    """Counts what is written down."""

    written = 0

    def __setattr__(self, name: str, value: Any) -> None:
        type(self).written += 1
        super().__setattr__(name, value)


async def test_what_always_comes_through_writes_nothing_down(worker: Worker) -> None:
    env = worker.env()
    contact = env.contact = Counted("http-post", "HTTP server")
    Counted.written = 0

    async def done() -> int:
        return 7

    for _ in range(100):
        assert await attempt(Retry(), env, "http-post", done) == 7
    assert Counted.written == 0 and contact.outage is None


async def test_what_is_neither_input_nor_output_has_no_contact(worker: Worker) -> None:
    async def fails() -> None:
        raise Temporary("away")

    env = worker.env()
    with pytest.raises(Temporary):
        await attempt(None, env, "worker-kv", fails)
    assert env.contacts.outage("output") is None and env.contacts.outage("input") is None


async def test_a_reason_is_told_short_and_without_secrets() -> None:
    sent: list[bytes] = []

    class Wire:
        def send(self, data: bytes) -> None:
            sent.append(data)

    redactor = Redactor()
    redactor.learn("s3cr3t-t0ken")
    contact = Contact("http-post", "HTTP server")
    contact.failed("x" * (MAX_OUTAGE_CHARACTERS - 5) + "s3cr3t-t0ken\n" + "y" * 9000)
    figures = frames.Figures(0, 0, 0, 0, 0, 0, 0, 0, 0.0, output_outage=contact.outage)
    link = Link(cast(Channel, Wire()), {"acme": redactor})
    link.beat({"acme/post#0": figures, "acme/idle#0": frames.Figures(0, 0, 0, 0, 0, 0, 0, 0, 0.0)})
    (line,) = sent
    assert b"s3cr" not in line
    (told,) = [one for one in frames.OF_WORKER.decode(line).figures.values() if one.output_outage is not None]
    assert len(told.output_outage.reason) == MAX_OUTAGE_CHARACTERS and told.output_outage.reason.isprintable()


def test_an_older_worker_tells_no_outages_and_an_older_engine_passes_over_them() -> None:
    figures = frames.Figures(1, 1, 0, 0, 0, 0, 0, 0, 0.0, output_outage=frames.TargetOutage("a", "b", 1, 1, "c"))
    kind, by_workload = orjson.loads(frames.encode(frames.Beat({"t/job#0": figures})))
    older = {id: values[:13] for id, values in by_workload.items()}
    read = frames.OF_WORKER.decode(orjson.dumps([kind, older])).figures["t/job#0"]
    assert (read.events_in, read.input_outage, read.output_outage) == (1, None, None)


async def test_many_runs_at_once_have_one_outage(worker: Worker) -> None:
    contact = Contact("http-post", "HTTP server")
    env = worker.env()
    env.contact = contact

    async def fails() -> None:
        raise Temporary("away")

    await asyncio.gather(*(attempt(None, env, "x", fails) for _ in range(8)), return_exceptions=True)
    assert contact.failing and contact.outage is not None and contact.outage.tries == 8
