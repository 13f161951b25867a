"""Every built-in workflow on two real workers: planned without a warning, applied, events counted, removed."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from core.catalog import builtin
from core.engine import Engine
from core.model.catalog import ItemType
from tests import waiting
from tests.catalog import rig
from tests.dsl import model_server, office, web
from tests.engines import ADMIN

pytestmark = pytest.mark.anyio
WORKFLOWS = [one for one in builtin.load() if one.type is ItemType.WORKFLOW]
EVENTS = [{"id": n, "level": "error" if n % 4 == 0 else "info"} for n in range(40)]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with rig.two_workers(tmp_path_factory.mktemp("workflows") / "home") as opened:
        yield opened


def access(path: str, status: int) -> str:
    """A line of a web server's log."""
    return f'10.0.0.7 - - [31/Jan/2026:10:00:00 +0000] "GET {path} HTTP/1.1" {status} 512'


def posted(site: web.Site) -> list[Any]:
    """The events of all requests that a site got, each an array."""
    return [event for request in site.requests for event in orjson.loads(request.body)]


def ids(events: list[Any]) -> list[int]:
    return sorted(event["id"] for event in events)


def state_of(engine: Engine, workload: str) -> str:
    there = engine.fleet.workload_views(tenant=ADMIN.tenant)
    return next(one.state for one in there if one.id == workload)


async def send(port: int, *bodies: Any) -> list[int]:
    """Post each body to a webhook that is up; the statuses."""
    async with httpx.AsyncClient() as client:
        return [
            (await client.post(f"http://127.0.0.1:{port}/events", json=body, timeout=20)).status_code for body in bodies
        ]


async def test_the_quickstart_writes_files_and_prints_them(engine: Engine, tmp_path: Path) -> None:
    source = "workflow:quickstart-file-store-roundtrip@1"
    async with rig.deployed(engine, "quickstart", source, {"path": str(tmp_path / "store")}):
        printed: list[str] = []
        await waiting.until(lambda: list((tmp_path / "store").rglob("demo-*.json")), bool)
        while not printed:
            shown = await engine.call("job_get", {"name": "quickstart--print"}, ADMIN)
            printed = [line["text"] for line in shown["log"] if line["level"] == "print"]
    assert set(printed) == {'{"hello":"world"}'}


async def test_an_access_log_is_spread_by_status_and_errors_are_told(engine: Engine, tmp_path: Path) -> None:
    statuses = [200, 404, 500, 200, 503, 302]
    rig.write(tmp_path / "access.log", *(access(f"/{n}", status) for n, status in enumerate(statuses)))
    values = {"paths": str(tmp_path / "access.log"), "directory": str(tmp_path / "out")}
    async with rig.deployed(engine, "fan-out", "workflow:access-log-fan-out@1", values):
        failed = await rig.lines(tmp_path / "out" / "errors.jsonl", 2)
        others = await rig.lines(tmp_path / "out" / "others.jsonl", 4)
        alerts = await rig.messages(engine, 2, type="user-alert")
    assert [(one["path"], one["status"], one["severity"]) for one in failed] == [
        ("/2", 500, "error"),
        ("/4", 503, "error"),
    ]
    assert Counter(one["severity"] for one in others) == {"info": 3, "warning": 1}
    assert [one["content"] for one in alerts] == ["GET /2 answered 500", "GET /4 answered 503"]


async def test_two_sources_come_together_in_one_archive(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in.jsonl", *EVENTS[:20])
    port = rig.free_port()
    values = {"address": f"127.0.0.1:{port}", "paths": str(tmp_path / "in.jsonl")}
    values |= {"spool": str(tmp_path / "spool"), "archive": str(tmp_path / "archive")}
    async with rig.deployed(engine, "fan-in", "workflow:fan-in-archive@1", values) as workloads:
        assert {one["worker"] for one in workloads} == {"local-1", "local-2"}
        assert await send(port, EVENTS[20:]) == [200]
        found = await waiting.until(lambda: rig.archived(tmp_path / "archive"), lambda found: len(found) >= 40)
    assert ids(found) == list(range(40))


async def test_a_webhook_that_is_called_twice_writes_each_event_once(engine: Engine, tmp_path: Path) -> None:
    port = rig.free_port()
    values = {"address": f"127.0.0.1:{port}", "spool": str(tmp_path / "spool"), "target": str(tmp_path / "out")}
    values |= {"namespace": "webhook-events"}
    async with rig.deployed(engine, "webhook", "workflow:webhook-dedupe-files@1", values):
        assert await send(port, EVENTS, EVENTS[:10], {"id": 99}) == [200] * 3
        await waiting.until(lambda: rig.read(tmp_path / "out"), lambda found: {"id": 99} in found)
    assert ids(rig.read(tmp_path / "out")) == [*range(40), 99]


async def test_records_are_collected_again_and_again_and_delivered_once(engine: Engine, tmp_path: Path) -> None:
    pages = [orjson.dumps({"items": EVENTS[:30]}), orjson.dumps({"items": EVENTS[10:]})]
    answers = [web.answer(200, page, content_type="application/json") for page in pages]
    async with web.serve(*answers) as api, web.serve(web.answer(503), web.answer(200)) as target:
        values = {"source_url": api.url("/orders"), "target_url": target.url("/in"), "interval": "300ms"}
        values |= {"spool": str(tmp_path / "spool"), "namespace": "collected"}
        async with rig.deployed(engine, "collect", "workflow:http-collect-deliver@1", values):
            await waiting.until(lambda: len({e["id"] for e in posted(target)}), lambda count: count == 40)
            await waiting.until(lambda: len(api.requests), lambda count: count >= 4)
    assert ids([event for request in target.requests[1:] for event in orjson.loads(request.body)]) == list(range(40))


async def test_files_become_pieces_with_vectors_that_are_posted(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "manuals").mkdir()
    (tmp_path / "manuals" / "tea.pdf").write_bytes(office.pdf(["Boil the water.", "Pour it over the leaves."]))
    (tmp_path / "manuals" / "milk.docx").write_bytes(office.docx(office.paragraph("Add it at last.")))
    (tmp_path / "manuals" / "scan.pdf").write_bytes(office.pdf([""]))
    async with model_server.serving() as models, web.serve(web.answer(200)) as index:
        values = {"path": str(tmp_path / "manuals"), "model_url": models.url, "model": "vectors"}
        values |= {"target_url": index.url("/pieces"), "size": 4, "overlap": 0}
        async with rig.deployed(engine, "retrieval", "workflow:document-retrieval@1", values):
            await waiting.until(lambda: len(posted(index)), lambda count: count >= 5)
            listed = await engine.call("dead_letter_list", {"job": "retrieval--read"}, ADMIN)
    found = {one["id"]: (one["text"], one["vector"]) for one in posted(index)}
    assert found == {
        name: (text, model_server.vector(text))
        for name, text in {
            "tea.pdf#0": "Boil the water.",
            "tea.pdf#1": "Pour it over the",
            "tea.pdf#2": "leaves.",
            "milk.docx#0": "Add it at last",
            "milk.docx#1": ".",
        }.items()
    }
    (letter,) = listed["items"]
    assert letter["reason"].startswith("pdf-text: _raw has no text on its 1 pages")


async def test_what_is_archived_is_counted_on_schedule(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in.jsonl", *EVENTS)
    values = {"paths": str(tmp_path / "in.jsonl"), "archive": str(tmp_path / "archive")}
    values |= {"report": str(tmp_path / "report"), "name": "errors-of-the-day", "schedule": "* * * * * *"}
    values |= {"condition": 'level == "error"'}
    async with rig.deployed(engine, "report", "workflow:archive-and-report@1", values):
        report = await waiting.until(
            lambda: rig.read(tmp_path / "report"), lambda found: sum(one["count"] for one in found) >= 10
        )
    assert sum(one["count"] for one in report) == 10
    assert {one["report"] for one in report} == {"errors-of-the-day"}
    assert ids(rig.archived(tmp_path / "archive")) == list(range(40))


async def test_answers_are_counted_by_severity_in_windows(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "access.log", *(access("/", status) for status in (200, 200, 404, 500, 200)))
    values = {"paths": str(tmp_path / "access.log"), "windows": str(tmp_path / "windows")}
    values |= {"target": str(tmp_path / "counts"), "window": "300ms"}

    def counted() -> Counter[str]:
        return sum((Counter(one["counts"]) for one in rig.read(tmp_path / "counts")), Counter())

    async with rig.deployed(engine, "rollup", "workflow:severity-rollup@1", values):
        found = await waiting.until(counted, lambda found: found.total() >= 5)
    assert found == {"info": 3, "warning": 1, "error": 1}


async def test_a_spool_feeds_two_readers_and_is_read_again_from_a_point(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in.jsonl", *EVENTS)
    target = tmp_path / "out"
    async with web.serve(web.answer(200)) as site:
        values = {"paths": str(tmp_path / "in.jsonl"), "spool": str(tmp_path / "spool"), "target": str(target)}
        values |= {"target_url": site.url("/in")}
        async with rig.deployed(engine, "replay", "workflow:spool-with-replay@1", values):
            await rig.lines(target, 40)
            await waiting.until(lambda: len(posted(site)), lambda count: count >= 40)
            again = {"name": "replay", "values": {"replay_from": "2026-01-01T00:00:00Z"}}
            made = await engine.call("deployment_plan", again, ADMIN)
            assert (made["blockers"], made["warnings"]) == ([], [])
            await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
            await rig.lines(target, 80)
            await waiting.until(lambda: len(posted(site)), lambda count: count >= 80)
    assert ids(rig.read(target)) == ids(posted(site)) == sorted([*range(40), *range(40)])


async def test_an_archive_is_delivered_once_however_often_it_is_read(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "archive" / "one.json", *EVENTS[:25])
    (tmp_path / "archive" / "two.json.gz").write_bytes(
        gzip.compress(b"".join(orjson.dumps(event) + b"\n" for event in EVENTS[20:]))
    )
    async with web.serve(web.answer(200)) as site:
        values = {"archive": str(tmp_path / "archive"), "target_url": site.url("/in"), "namespace": "backfilled"}
        for attempt in range(2):
            async with rig.deployed(engine, f"backfill-{attempt}", "workflow:archive-backfill@1", values) as workloads:
                await waiting.until(lambda: len(posted(site)), lambda count: count >= 40)
                replay = next(one["id"] for one in workloads if one["step"] == "replay")
                await waiting.until(partial(state_of, engine, replay), lambda state: state == "completed")
    assert ids(posted(site)) == list(range(40))


async def test_tickets_of_a_queue_are_shared_by_two_consumers(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in.jsonl", *EVENTS)
    async with web.serve(web.answer(200)) as site:
        values = {"paths": str(tmp_path / "in.jsonl"), "queue": "work", "target_url": site.url("/do")}
        async with rig.deployed(engine, "queue", "workflow:work-queue@1", values) as workloads:
            await waiting.until(lambda: len(posted(site)), lambda count: count >= 40)
            assert len({one["worker"] for one in workloads if one["step"] in ("first", "second")}) == 2
    assert ids(posted(site)) == list(range(40))
    assert {len(orjson.loads(request.body)) for request in site.requests} == {1}


async def test_each_event_is_mirrored(engine: Engine, tmp_path: Path) -> None:
    port = rig.free_port()
    async with web.serve(web.answer(200)) as site:
        values = {"address": f"127.0.0.1:{port}", "target": str(tmp_path / "out"), "target_url": site.url("/in")}
        async with rig.deployed(engine, "mirror", "workflow:mirrored-delivery@1", values):
            assert await send(port, EVENTS) == [200]  # told when both have accepted
            assert rig.read(tmp_path / "out") == posted(site) == EVENTS


async def test_two_services_take_turns(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in.jsonl", *EVENTS)
    async with web.serve(web.answer(200)) as first, web.serve(web.answer(200)) as second:
        values = {"paths": str(tmp_path / "in.jsonl"), "spool": str(tmp_path / "spool")}
        values |= {"first_url": first.url("/"), "second_url": second.url("/")}
        async with rig.deployed(engine, "balance", "workflow:balanced-delivery@1", values):
            await waiting.until(lambda: len(posted(first)) + len(posted(second)), lambda count: count >= 40)
    assert ids(posted(first) + posted(second)) == list(range(40))
    assert len(posted(first)) == len(posted(second)) == 20


async def test_a_delivery_is_woken_by_the_message_that_events_arrived(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in.jsonl", *EVENTS)
    values = {"paths": str(tmp_path / "in.jsonl"), "spool": str(tmp_path / "spool"), "target": str(tmp_path / "out")}
    async with rig.deployed(engine, "wake", "workflow:wake-on-arrival@1", values):
        found = await rig.lines(tmp_path / "out", 40)
        sent = await rig.messages(engine, 1, tag="events-arrived")
    assert ids(found) == list(range(40))
    assert sent


def test_every_builtin_workflow_is_tried_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [one.slug for one in WORKFLOWS if f'"workflow:{one.slug}@{one.version}"' not in text] == []
