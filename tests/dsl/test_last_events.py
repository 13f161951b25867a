"""The output http-server: the last events of a job that goes on, for whoever asks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from core.dsl.component import Limits
from core.errors import Forbidden
from core.worker.executor import Executor
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio
HOURLY = {"interval": "1h"}


@asynccontextmanager
async def serving(worker: Worker, events: str, **keys: Any) -> AsyncIterator[tuple[Executor, httpx.AsyncClient]]:
    """A job that has written these lines and goes on, and a client of its output."""
    source = {"echo": {"event": events, "json": True, "trigger": HOURLY}}
    job = worker.executor(source, {"http-server": {"address": "127.0.0.1:0", **keys}})
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(job.run)
            await waiting.until(lambda: worker.reports and port_of(worker))
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port_of(worker)}", trust_env=False) as client:
                yield job, client
            await job.drain(3)


def port_of(worker: Worker) -> int:
    found = [re.search(r"http-server: listening at .*:(\d+)$", text) for _, text, _ in worker.log_lines]
    return next((int(match[1]) for match in found if match), 0)


@pytest.mark.parametrize(
    ("keys", "body", "kind"),
    [
        ({}, '{"n":3,"text":"c"}\n', "application/json"),
        ({"last": 2}, '{"n":2}\n{"n":3,"text":"c"}\n', "application/json"),
        ({"input-field": "text", "content-type": "text/plain"}, "c\n", "text/plain"),
    ],
    ids=["one", "two", "field"],
)
async def test_who_asks_gets_the_last_events(worker: Worker, keys: dict[str, Any], body: str, kind: str) -> None:
    async with serving(worker, '{"n":1,"text":"a"}\n{"n":2}\n{"n":3,"text":"c"}', path="/last", **keys) as (_, client):
        for _ in range(2):
            reply = await client.get("/last?fresh=1")
            assert (reply.status_code, reply.text, reply.headers["content-type"]) == (200, body, kind)
        assert (await client.head("/last")).headers["content-length"] == str(len(body))
        assert (await client.get("/other")).status_code == 404
        assert (await client.post("/last", content=b"x")).status_code == 405
    assert worker.reports[-1].errors == ("input-field" in keys)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port_of(worker))


async def test_before_the_first_event_it_asks_to_come_again(worker: Worker) -> None:
    async with serving(worker, "") as (_, client):
        reply = await client.get("/")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")


async def test_it_listens_where_the_worker_is_open_and_nowhere_else(worker: Worker) -> None:
    worker.limits = Limits()
    job = worker.executor({"echo": {"event": "x"}}, {"http-server": {"address": "0.0.0.0:0"}})
    with pytest.raises(Forbidden, match="listen"):
        await rig.declare("output", {"http-server": {"address": "0.0.0.0:0"}}).open(worker.env())
    with pytest.raises(Exception, match="listen"):
        await job.run()
