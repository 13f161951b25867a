"""Every built-in blueprint on real workers: alone, or between a file that is followed and a file that is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest

from core.catalog import builtin
from core.engine import Engine
from core.model.catalog import Blueprint, ItemType
from tests import waiting
from tests.catalog import rig
from tests.dsl import model_server, office, web
from tests.engines import ADMIN

pytestmark = pytest.mark.anyio
BLUEPRINTS: dict[str, Blueprint] = {one.slug: one.model for one in builtin.load() if one.type is ItemType.BLUEPRINT}  # type: ignore[misc]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with rig.two_workers(tmp_path_factory.mktemp("blueprints") / "home") as opened:
        for name in ("api/token", "elasticsearch/api-key"):
            await opened.call("secret_set", {"name": name, "value": "s3cr3t-value"}, ADMIN)
        yield opened


def harness(slug: str, folder: Path, **parameters: Any) -> dict[str, Any]:
    """A workflow around a blueprint: what it lacks is a file that is followed and a file that is written."""
    ports = BLUEPRINTS[slug].ports
    tried: dict[str, Any] = {"id": "tried", "use": f"blueprint:{slug}@{BLUEPRINTS[slug].version}", "with": parameters}
    steps = [tried]
    if ports.in_:
        tried["in"] = "channel:fed"
        feed = {"paths": str(folder / "feed"), "json": True}
        steps.insert(0, {"id": "feed", "use": "blueprint:file-tail-source@1.0.0", "with": feed, "out": "channel:fed"})
    if ports.out:
        tried["out"] = "channel:made"
        keep = {"path": str(folder / "kept")}
        steps.append({"id": "keep", "use": "blueprint:file-sink@1.0.0", "with": keep, "in": "channel:made"})
    return {"kind": "workflow", "slug": f"try-{slug}", "title": f"Try {slug}", "steps": steps}


async def kept(engine: Engine, slug: str, folder: Path, count: int, **parameters: Any) -> list[Any]:
    """What the blueprint passes on."""
    source = await rig.published(engine, harness(slug, folder, **parameters))
    async with rig.deployed(engine, f"try-{slug}", source, {}):
        return await rig.lines(folder / "kept", count)


# -- transforms: (parameters, what comes in, what goes out) --------------------------------------------------

ACCESS = '10.0.0.7 - ann [31/Jan/2026:10:00:00 +0100] "GET /a?x=1 HTTP/1.1" 503 -'
TRANSFORMS: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "json-parser": ({"field": "text"}, [{"text": '{"a": 1}', "n": 1}, {"text": "nothing"}], [{"n": 1, "a": 1}]),
    "access-log-parser": (
        {},
        [ACCESS, "no line of a log"],
        [
            {
                "client": "10.0.0.7",
                "user": "ann",
                "at": "2026-01-31T09:00:00.000Z",
                "method": "GET",
                "path": "/a?x=1",
                "status": 503,
                "bytes": 0,
            }
        ],
    ),
    "csv-parser": (
        {"columns": ["host", "port", "up"]},
        ["db1,5432,true", '"web, 1",443,false'],
        [{"host": "db1", "port": 5432, "up": True}, {"host": "web, 1", "port": 443, "up": False}],
    ),
    "event-filter": ({"condition": 'level == "error"'}, [{"level": "info"}, {"level": "error"}], [{"level": "error"}]),
    "schema-gate": (
        {"schema": '{"properties": {"id": {"type": "integer"}}, "required": ["id"]}'},
        [{"id": "one"}, {}, {"id": 1}],
        [{"id": 1}],
    ),
    "kv-dedupe": ({"namespace": "seen"}, [{"id": 1}, {"id": 2}, {"id": 1}], [{"id": 1}, {"id": 2}]),
    "lookup-enricher": (
        {"lookup_file": "{dir}/hosts.csv", "field": "host", "column": "name", "default": {"owner": "unknown"}},
        [{"host": "db1"}, {"host": "db2"}],
        [{"host": "db1", "owner": "ann"}, {"host": "db2", "owner": "unknown"}],
    ),
    "field-labeler": (
        {"fields": {"site": "berlin", "title": "${a}!"}},
        [{"a": "x"}, {"a": "y", "site": "bonn"}],
        [{"a": "x", "site": "berlin", "title": "x!"}, {"a": "y", "site": "bonn", "title": "y!"}],
    ),
    "field-remover": (
        {"fields": ["password", "user.email"]},
        [{"password": "p", "user": {"email": "e", "id": 1}}, {"n": 1}],
        [{"user": {"id": 1}}, {"n": 1}],
    ),
    "array-splitter": (
        {"field": "items"},
        [{"order": 7, "items": [{"sku": "tea"}, {"sku": "milk"}]}],
        [{"order": 7, "sku": "tea"}, {"order": 7, "sku": "milk"}],
    ),
    "threshold-classifier": (
        {"error_at": 90, "warning_at": 80, "field": "disk"},
        [{"disk": 95}, {"disk": "80"}, {"disk": 7}, {}],
        [
            {"disk": 95, "severity": "error"},
            {"disk": "80", "severity": "warning"},
            {"disk": 7, "severity": "info"},
            {"severity": "info"},
        ],
    ),
    "event-router": ({}, [{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 2}]),
    "text-chunker": (
        {"by": "sentences", "size": 2, "overlap": 1},
        [{"file": "a.pdf", "text": "One. Two. Three."}],
        [
            {"file": "a.pdf", "chunk": 0, "text": "One. Two.", "id": "a.pdf#0"},
            {"file": "a.pdf", "chunk": 1, "text": "Two. Three.", "id": "a.pdf#1"},
        ],
    ),
}


@pytest.mark.parametrize("slug", TRANSFORMS)
async def test_a_transform_turns_what_comes_in_into_what_goes_out(engine: Engine, tmp_path: Path, slug: str) -> None:
    parameters, fed, made = TRANSFORMS[slug]
    parameters = orjson.loads(orjson.dumps(parameters).replace(b"{dir}", str(tmp_path).encode()))
    (tmp_path / "hosts.csv").write_text("name,owner\ndb1,ann\n")
    rig.write(tmp_path / "feed", *fed)
    assert await kept(engine, slug, tmp_path, len(made), **parameters) == made


async def test_the_text_embedder_asks_for_the_vectors_of_several_texts_at_once(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", {"text": "one"}, {"text": "two"})
    async with model_server.serving() as models:
        found = await kept(engine, "text-embedder", tmp_path, 2, url=models.url, model="vectors", vector="v")
    assert found == [{"text": text, "v": model_server.vector(text)} for text in ("one", "two")]
    assert [asked["input"] for asked in models.asked] == [["one", "two"]]


async def test_a_rollup_counts_each_window_by_the_value_of_a_field(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", {"level": "a"}, {"level": "b"}, {"level": "a"}, {})
    windows = {"path": str(tmp_path / "windows"), "field": "level", "window": "200ms"}
    found = await kept(engine, "window-rollup", tmp_path, 1, **windows)
    assert sum(one["total"] for one in found) == 4
    assert {key: value for one in found for key, value in one["counts"].items()} == {"a": 2, "b": 1, "none": 1}
    assert {"field", "at"} <= found[0].keys()


# -- sources --------------------------------------------------------------------------------------------------


async def test_the_echo_source_repeats_its_event(engine: Engine, tmp_path: Path) -> None:
    found = await kept(engine, "echo-source", tmp_path, 3, event='{"n": 1}', interval="50ms")
    assert found[:3] == [{"n": 1}] * 3


async def test_the_file_tail_source_follows_several_files(engine: Engine, tmp_path: Path) -> None:
    for name in ("a", "b"):
        rig.write(tmp_path / f"{name}.log", f"first of {name}", f"second of {name}")
    found = await kept(engine, "file-tail-source", tmp_path, 4, paths=f"{tmp_path}/*.log")
    assert sorted(one["_raw"] for one in found) == ["first of a", "first of b", "second of a", "second of b"]


async def test_the_document_source_reads_the_text_of_each_file_once(engine: Engine, tmp_path: Path) -> None:
    files = {"a.PDF": office.pdf(["one", "two"]), "b.docx": office.docx(office.paragraph("three")), "c.txt": b"four"}
    (tmp_path / "manuals").mkdir()
    for name, content in files.items():
        (tmp_path / "manuals" / name).write_bytes(content)
    found = await kept(engine, "document-source", tmp_path, 2, path=str(tmp_path / "manuals"), interval="50ms")
    assert sorted(found, key=lambda one: one["file"]) == [
        {"file": "a.PDF", "text": "one\n\ntwo", "pages": 2},
        {"file": "b.docx", "text": "three"},
    ]


async def test_the_http_poll_source_emits_the_elements_of_each_answer(engine: Engine, tmp_path: Path) -> None:
    body = web.answer(200, b'{"items": [{"id": 1}, {"id": 2}]}', content_type="application/json")
    async with web.serve(web.answer(503), body) as site:
        found = await kept(
            engine, "http-poll-source", tmp_path, 4, url=site.url("/orders"), interval="100ms", events_field="items"
        )
    assert found[:4] == [{"id": 1}, {"id": 2}] * 2
    assert site.requests[0].headers["accept"] == "application/json"


async def test_the_api_poll_source_collects_every_page_with_its_token(engine: Engine, tmp_path: Path) -> None:
    pages = [b'{"items": [{"id": 1}], "next_cursor": "p2"}', b'{"items": [{"id": 2}], "next_cursor": null}']
    async with web.serve(*(web.answer(200, page, content_type="application/json") for page in pages)) as site:
        found = await kept(engine, "api-poll-source", tmp_path, 2, url=site.url("/tickets"))
    assert found == [{"id": 1}, {"id": 2}]
    assert site.requests[1].line.startswith("GET /tickets?cursor=p2 ")
    assert {one.headers["authorization"] for one in site.requests} == {"Bearer s3cr3t-value"}


async def test_the_webhook_source_answers_when_the_event_is_on_the_disk(engine: Engine, tmp_path: Path) -> None:
    port = rig.free_port()
    source = await rig.published(engine, harness("webhook-source", tmp_path, address=f"127.0.0.1:{port}"))
    async with rig.deployed(engine, "webhook", source, {}), httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}"
        answer = await client.post(f"{url}/events", json=[{"n": 1}, {"n": 2}])
        assert (answer.status_code, answer.json()) == (200, {"accepted": True})
        assert rig.read(tmp_path / "kept") == [{"n": 1}, {"n": 2}]
        assert (await client.post(f"{url}/other", json={})).status_code == 404


async def test_the_schedule_source_tells_the_time_that_each_firing_is_about(engine: Engine, tmp_path: Path) -> None:
    found = await kept(engine, "schedule-source", tmp_path, 1, schedule="* * * * * *", window="1m")
    assert found[0]["from"][:10] <= found[0]["to"][:10] and found[0]["from"] != found[0]["to"]


async def test_the_message_source_hears_what_the_message_sink_sends(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", {"n": 1}, {"n": 2})
    listen = await rig.published(engine, harness("message-source", tmp_path, tag="said"))
    send = await rig.published(engine, harness("message-sink", tmp_path, tag="said"))
    async with rig.deployed(engine, "listen", listen, {}), rig.deployed(engine, "send", send, {}):
        found = await rig.lines(tmp_path / "kept", 2)
    assert found == [{"n": 1}, {"n": 2}]


async def test_the_queue_source_takes_what_the_queue_sink_puts(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", *({"n": n} for n in range(120)))
    push = await rig.published(engine, harness("queue-sink", tmp_path, queue="tickets"))
    take = await rig.published(engine, harness("queue-source", tmp_path, queue="tickets"))
    async with rig.deployed(engine, "push", push, {}), rig.deployed(engine, "take", take, {}):
        found = await rig.lines(tmp_path / "kept", 120)
    assert sorted(one["n"] for one in found) == list(range(120))


async def test_what_the_archive_sink_keeps_the_replay_source_reads_again(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", *({"n": n} for n in range(25)))
    archive = {"path": str(tmp_path / "archive"), "batch": 10, "timeout": "100ms"}
    source = await rig.published(engine, harness("archive-sink", tmp_path, **archive))

    async with rig.deployed(engine, "archive", source, {}):
        await waiting.until(lambda: rig.archived(tmp_path / "archive"), lambda found: len(found) == 25)
    found = await kept(engine, "replay-source", tmp_path, 25, path=str(tmp_path / "archive"), prefix="events/")
    assert sorted(one["n"] for one in found) == list(range(25))


async def test_the_command_source_emits_what_a_program_writes(engine: Engine, tmp_path: Path) -> None:
    found = await kept(engine, "command-source", tmp_path, 1, command=["/bin/echo", '{"load": 1}'], json=True)
    assert found[0] == {"load": 1}


# -- sinks ----------------------------------------------------------------------------------------------------


async def test_the_file_sink_uses_fields_in_the_name_of_its_file(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", {"level": "a", "n": 1}, {"level": "b", "n": 2})
    source = await rig.published(engine, harness("file-sink", tmp_path, path=f"{tmp_path}/out/${{level}}.jsonl"))
    async with rig.deployed(engine, "file-sink", source, {}):
        assert await rig.lines(tmp_path / "out" / "a.jsonl", 1) == [{"level": "a", "n": 1}]
        assert await rig.lines(tmp_path / "out" / "b.jsonl", 1) == [{"level": "b", "n": 2}]


async def test_the_file_printer_writes_to_the_log_of_its_job(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", {"n": 1})
    source = await rig.published(engine, harness("file-printer", tmp_path, prefix="> "))
    async with rig.deployed(engine, "printer", source, {}):
        with anyio.fail_after(rig.SECONDS):
            printed: list[str] = []
            while not printed:
                shown = await engine.call("job_get", {"name": "printer--tried"}, ADMIN)
                printed = [line["text"] for line in shown["log"] if line["level"] == "print"]
    assert printed == ['> {"n":1}']


async def test_the_http_sink_posts_arrays_and_tries_again(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", *({"n": n} for n in range(5)))
    async with web.serve(web.answer(503), web.answer(200)) as site:
        post = {"url": site.url("/in"), "batch": 5, "timeout": "200ms", "headers": {"x-source": "sluice"}}
        source = await rig.published(engine, harness("http-sink", tmp_path, **post))
        async with rig.deployed(engine, "http-sink", source, {}):
            await waiting.until(lambda: len(site.requests), lambda count: count >= 2)
    assert site.requests[0].body == site.requests[1].body == orjson.dumps([{"n": n} for n in range(5)])
    assert site.requests[1].headers["x-source"] == "sluice"


async def test_the_elasticsearch_sink_indexes_in_bulk_with_its_key(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", {"id": "a", "level": "info"}, {"id": "b", "level": "error"})
    items = {"errors": False, "items": [{"index": {"status": 201}}, {"index": {"status": 201}}]}
    async with web.serve(web.answer(200, orjson.dumps(items), content_type="application/json")) as site:
        bulk = {"url": site.url(""), "index": "logs-${level}", "id_field": "id", "timeout": "200ms"}
        source = await rig.published(engine, harness("elasticsearch-sink", tmp_path, **bulk))
        async with rig.deployed(engine, "elasticsearch-sink", source, {}):
            await waiting.until(lambda: len(site.requests), lambda count: count >= 1)
    sent = [orjson.loads(line) for line in site.requests[0].body.splitlines()]
    assert [line["index"] for line in sent[::2]] == [
        {"_index": "logs-info", "_id": "a"},
        {"_index": "logs-error", "_id": "b"},
    ]
    assert site.requests[0].headers["authorization"] == "ApiKey s3cr3t-value"


async def test_the_alert_sink_tells_people_each_text_once(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "feed", {"job": "a"}, {"job": "a"}, {"job": "b"}, {})
    source = await rig.published(engine, harness("alert-sink", tmp_path, tag="tried"))
    async with rig.deployed(engine, "alerts", source, {}):
        found = await rig.messages(engine, 3, type="user-alert")
    assert [one["content"] for one in found] == ["a needs attention", "b needs attention", "an event needs attention"]
    assert {(one["notification_type"], one["tag"]) for one in found} == {("alert", "tried")}


async def test_the_scheduled_report_counts_what_is_new_each_time(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "archive" / "one.json", *({"n": n} for n in range(5)))
    report = {"path": str(tmp_path / "archive"), "report": str(tmp_path / "report"), "name": "numbers"}
    values = {**report, "schedule": "* * * * * *", "condition": "n >= 2"}
    async with rig.deployed(engine, "report", "blueprint:scheduled-report@1.0.0", values):
        first = await rig.lines(tmp_path / "report", 1)
        assert [(one["report"], one["count"]) for one in first] == [("numbers", 3)]
        rig.write(tmp_path / "archive" / "two.json", {"n": 7})
        both = await rig.lines(tmp_path / "report", 2)
        assert both[1]["count"] == 1 and both[1]["at"] > both[0]["at"]


def test_every_builtin_blueprint_is_tried_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [slug for slug in BLUEPRINTS if f'"{slug}"' not in text and f":{slug}@" not in text] == []
