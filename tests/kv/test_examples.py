"""The examples that use the KV store, on real workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from core.engine import Engine
from core.model.kv import Depth, Namespace
from tests import waiting
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=2) as running:
        yield running


def example(name: str, **changed: str) -> str:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in changed.values():
        assert old in text
        text = text.replace(old, new)
    return text


async def events(engine: Engine, tag: str, at_least: int) -> list[dict[str, Any]]:
    """The payloads of the messages with a tag, the oldest first, as soon as there are so many in the log."""

    async def search() -> list[dict[str, Any]]:
        page = await engine.call("message_search", {"tag": tag, "limit": 200}, ADMIN)
        return [item["message_data"]["job_event"] for item in reversed(page["items"])]

    return await waiting.until(search, lambda found: len(found) >= at_least)


async def test_one_of_three_replicas_leads_and_another_takes_over_when_its_worker_dies(engine: Engine) -> None:
    quick = example("leader_lock.yaml", a=("interval: 5s", "interval: 100ms"), b=("ttl-ms: 15000", "ttl-ms: 1000"))
    with anyio.fail_after(40):
        deployed = await deploy(engine, quick, replicas=3)
        first = {event["leader"] for event in await events(engine, "leader-works", 10)}
        assert len(first) == 1
        (leader,) = first
        worker = next(w["worker"] for w in deployed["workloads"] if w["id"] == leader)
        holder = await Namespace(engine.kv, "tenant-a:locks").get("nightly-sync")
        assert holder.value == f'"{leader}"'
        psutil.Process(engine.fleet.workers[worker].pid).suspend()  # it is not there, and nobody knows yet

        async def latest() -> str:
            page = await engine.call("message_search", {"tag": "leader-works", "limit": 1}, ADMIN)
            return str(page["items"][0]["message_data"]["job_event"]["leader"])

        now = await waiting.until(latest, lambda now: now != leader)
        psutil.Process(engine.fleet.workers[worker].pid).kill()
    assert now in {w["id"] for w in deployed["workloads"]}


async def test_an_order_goes_on_once_however_often_and_to_whom_it_comes(engine: Engine) -> None:
    with anyio.fail_after(40):
        await deploy(engine, example("dedupe.yaml"), replicas=2)
        go = "name: go{n}\ninput: {{echo: {{event: x}}}}\noutput: {{message: {{tag: orders}}}}"
        for n in range(5):
            await deploy(engine, go.format(n=n))
        await events(engine, "new-order", 2)

        async def runs() -> int:
            ended = await engine.call("message_search", {"job": "dedupe", "type": "job-run-ended"}, ADMIN)
            return sum(item["message_data"]["runs"] for item in ended["items"])

        await waiting.until(runs, lambda count: count == 5)
        passed = await events(engine, "new-order", 2)
        assert sorted(event["order"] for event in passed) == ["A-1", "A-2"]
        listed = (await engine.call("kv_list", {"namespace": "seen-orders"}, ADMIN))["items"]
    assert [(item["key"], item["value"]) for item in listed] == [('["A-1"]', "seen"), ('["A-2"]', "seen")]


async def test_what_the_producer_pushes_the_consumer_works_off(engine: Engine) -> None:
    with anyio.fail_after(40):
        await deploy(engine, example("queue_consumer.yaml"))
        await deploy(engine, example("queue_producer.yaml"))
        done = await events(engine, "ticket-done", 3)
        assert [(event["ticket"], event["attempt"]) for event in done] == [(1, 1), (2, 1), (3, 1)]
        space = Namespace(engine.kv, "tenant-a:tickets")
        await waiting.until(space.depth, lambda depth: depth == Depth(0, 0, 0))
