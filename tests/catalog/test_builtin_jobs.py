"""Every built-in library job on real workers: put with values of its own, deployed, and what it did is counted."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from core.catalog import builtin
from core.engine import Engine
from core.model.catalog import LibraryJob
from tests import waiting
from tests.catalog import rig
from tests.dsl import web
from tests.engines import ADMIN, EXAMPLES, deploy

pytestmark = pytest.mark.anyio
JOBS = {one.slug: one.model.job for one in builtin.load() if isinstance(one.model, LibraryJob)}
EVENTS = [{"order": f"A-{n % 7}", "level": "error" if n % 3 == 0 else "info", "host": f"h{n % 2}"} for n in range(12)]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with rig.two_workers(tmp_path_factory.mktemp("jobs") / "home") as opened:
        await opened.call("secret_set", {"name": "alerts/token", "value": "s3cr3t-value"}, ADMIN)
        yield opened


@asynccontextmanager
async def running(engine: Engine, slug: str, **context: Any) -> AsyncIterator[None]:
    """A library job with other values in its context."""
    job = {**JOBS[slug], "context": {**JOBS[slug].get("context", {}), **context}}
    await deploy(engine, orjson.dumps(job).decode())
    yield
    await engine.call("job_undeploy", {"name": job["name"]}, ADMIN)


async def test_the_heartbeat_beats(engine: Engine) -> None:
    async with running(engine, "heartbeat"):
        beats: list[str] = []
        while not beats:
            shown = await engine.call("job_get", {"name": "heartbeat"}, ADMIN)
            beats = [line["text"] for line in shown["log"] if line["level"] == "print"]
    assert beats == ['{"alive":true}']


async def test_the_trigger_handler_answers_an_invocation_with_its_parameters(engine: Engine) -> None:
    definition = orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes())
    target = {"target_job_name": "trigger_handler", "target_message_tag": "handler.invoke"}
    definition |= {**target, "response_slot": "handler.reply"}
    async with running(engine, "trigger-handler"):
        await engine.call("trigger_publish", definition, ADMIN)
        asked = {"slug": "smoke_trigger", "params": {"env": "test"}}
        answer = await engine.call("trigger_invoke", asked, ADMIN)
    assert answer["state"] == "succeeded"
    assert answer["result"]["trigger_response"]["result"] == {"params": {"env": "test", "depth": 1}}


async def test_tailed_errors_are_kept_by_host(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in" / "a.jsonl", *EVENTS)
    async with running(engine, "file-tail-to-files", paths=f"{tmp_path}/in/*.jsonl", target=str(tmp_path / "out")):
        odd, even = await rig.lines(tmp_path / "out" / "h1.jsonl", 2), await rig.lines(tmp_path / "out" / "h0.jsonl", 2)
    assert [*even, *odd] == sorted((e for e in EVENTS if e["level"] == "error"), key=lambda e: e["host"])


async def test_what_a_url_answers_is_collected(engine: Engine, tmp_path: Path) -> None:
    body = web.answer(200, orjson.dumps({"items": EVENTS}), content_type="application/json")
    async with web.serve(body) as site:
        async with running(engine, "http-collect", url=site.url("/"), target=str(tmp_path / "out")):
            assert await rig.lines(tmp_path / "out", 12) == EVENTS


async def test_a_webhook_is_archived_before_its_sender_is_told(engine: Engine, tmp_path: Path) -> None:
    port = rig.free_port()
    async with running(engine, "webhook-to-archive", address=f"127.0.0.1:{port}", archive=str(tmp_path / "archive")):
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"http://127.0.0.1:{port}/events", json=EVENTS, timeout=20)
        assert answer.status_code == 200
        (archived,) = (tmp_path / "archive").rglob("*.json.gz")
        found = [orjson.loads(line) for line in gzip.decompress(archived.read_bytes()).splitlines()]
    assert found == [{**event, "sender": "127.0.0.1"} for event in EVENTS]


async def test_an_order_that_comes_again_is_left_out(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in", *EVENTS, {"order": "last"})
    async with running(engine, "dedupe-with-kv", paths=str(tmp_path / "in"), target=str(tmp_path / "out")):
        found = await rig.lines(tmp_path / "out", 8)
    assert [one["order"] for one in found] == [*(f"A-{n}" for n in range(7)), "last"]


async def test_new_lines_of_an_archive_are_counted_on_schedule(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "archive" / "one.json", *EVENTS)
    async with running(engine, "daily-count", archive=str(tmp_path / "archive"), schedule="* * * * * *"):
        told = await rig.messages(engine, 1, tag="daily-count")
    assert [one["job_event"]["count"] for one in told] == ["12"]


async def test_an_archive_is_replayed(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "archive" / "one.json", *EVENTS)
    async with running(engine, "replay-archive", archive=str(tmp_path / "archive"), target=str(tmp_path / "out")):
        assert await rig.lines(tmp_path / "out", 12) == EVENTS


async def test_tickets_go_through_the_queue(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in", *EVENTS)
    async with web.serve(web.answer(503), web.answer(200)) as site:
        async with running(engine, "queue-producer", paths=str(tmp_path / "in")):
            async with running(engine, "queue-consumer", url=site.url("/do")):
                await waiting.until(lambda: len(site.requests), lambda count: count >= 13)
    assert [orjson.loads(request.body) for request in site.requests[1:]] == EVENTS


async def test_rows_of_csv_files_are_imported(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in" / "a.csv", "host,port", "db1,5432", "db2,5433")
    rig.write(tmp_path / "in" / "b.csv", "host,up", "db3,true")
    async with running(engine, "csv-import", paths=f"{tmp_path}/in/*.csv", target=str(tmp_path / "out")):
        found = await rig.lines(tmp_path / "out", 3)
    assert found == [{"host": "db1", "port": 5432}, {"host": "db2", "port": 5433}, {"host": "db3", "up": True}]


async def test_people_are_told_of_server_errors_and_so_is_a_webhook(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text('10.0.0.7 - - [31/Jan/2026:10:00:00 +0000] "GET /old HTTP/1.1" 500 0\n')
    async with web.serve(web.answer(200)) as site:
        async with running(engine, "alerts-to-webhook", url=site.url("/hook")):
            async with running(engine, "alert-on-errors", paths=str(log)):
                with log.open("a") as more:
                    for status in (200, 502, 502):
                        more.write(f'10.0.0.7 - - [31/Jan/2026:10:00:01 +0000] "GET /new HTTP/1.1" {status} 9\n')
                await waiting.until(lambda: len(site.requests), lambda count: count >= 1)
    assert [orjson.loads(request.body) for request in site.requests] == [{"text": "GET /new answered 502"}]
    assert site.requests[0].headers["authorization"] == "Bearer s3cr3t-value"


def test_every_builtin_library_job_is_tried_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [slug for slug in JOBS if f'engine, "{slug}"' not in text] == []
