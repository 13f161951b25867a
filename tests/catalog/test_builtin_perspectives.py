"""Every built-in perspective: cloned, bound by its hints, published, planned, applied, and events go through."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from core import documents
from core.catalog import builtin
from core.engine import Engine
from core.model.catalog import ItemType
from tests import waiting
from tests.catalog import rig
from tests.dsl import web
from tests.engines import ADMIN

pytestmark = pytest.mark.anyio
PERSPECTIVES = {one.slug: one for one in builtin.load() if one.type is ItemType.PERSPECTIVE}
EVENTS = [{"id": n, "password": "p"} for n in range(6)]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with rig.two_workers(tmp_path_factory.mktemp("perspectives") / "home") as opened:
        yield opened


async def bound(engine: Engine, slug: str, **parameters: dict[str, Any]) -> str:
    """The source of a workflow made of a perspective: each open slot takes the blueprint that its hint names.

    `parameters` are those of the steps, with _ for - in their ids.
    """
    wish = {"slug": slug, "type": "perspective", "new_slug": f"bound-{slug}"}
    cloned = await engine.call("workflow_clone", wish, ADMIN)
    data = documents.load(cloned["document"])[0].data
    assert {fault["code"] for fault in cloned["errors"]} == {"unbound_slot"}
    for step in data["steps"]:
        if (slot := step.pop("slot", None)) is not None:
            named = re.search(r"[a-z0-9-]+@\d+\.\d+\.\d+", slot["hint"])
            assert named, slot
            step["use"] = f"blueprint:{named[0]}"
            step["with"] = parameters.get(step["id"].replace("-", "_"), {})
    text = {"document": orjson.dumps(data).decode(), "base_revision": cloned["draft_revision"]}
    saved = await engine.call("workflow_save_draft", text, ADMIN)
    assert (saved["errors"], saved["warnings"]) == ([], [])
    made = await engine.call("workflow_publish", {"slug": data["slug"]}, ADMIN)
    return str(made["source"])


async def test_a_perspective_is_not_deployed_as_it_is(engine: Engine) -> None:
    for slug, one in PERSPECTIVES.items():
        wish = {"name": "never", "source": f"perspective:{slug}@{one.version}"}
        made = await engine.call("deployment_plan", wish, ADMIN)
        assert "not_deployable" in {blocker["code"] for blocker in made["blockers"]}


async def test_ingest_spool_deliver(engine: Engine, tmp_path: Path) -> None:
    source = await bound(engine, "ingest-spool-deliver", ingest={"event": '{"n": 1}', "interval": "100ms"})
    async with rig.deployed(engine, "spool", source, {"path": str(tmp_path / "spool")}):
        printed: list[str] = []
        while not printed:
            shown = await engine.call("job_get", {"name": "spool--deliver"}, ADMIN)
            printed = [line["text"] for line in shown["log"] if line["level"] == "print"]
    assert set(printed) == {'{"n":1}'}


async def test_severity_split(engine: Engine, tmp_path: Path) -> None:
    events = "\n".join(f'{{"job": "j{status}", "status": {status}}}' for status in (200, 404, 500))
    filled = {"source": {"event": events, "interval": "1h"}, "on_others": {"path": str(tmp_path / "others")}}
    source = await bound(engine, "severity-split", **filled)
    async with rig.deployed(engine, "split", source, {}):
        others = await rig.lines(tmp_path / "others", 2)
        alerts = await rig.messages(engine, 1, type="user-alert")
    assert [(one["status"], one["severity"]) for one in others] == [(200, "info"), (404, "warning")]
    assert [one["content"] for one in alerts] == ["j500 needs attention"]


async def test_collect_dedupe_deliver(engine: Engine, tmp_path: Path) -> None:
    body = web.answer(200, orjson.dumps(EVENTS), content_type="application/json")
    async with web.serve(body) as api, web.serve(web.answer(200)) as target:
        collect = {"url": api.url("/"), "interval": "200ms"}
        source = await bound(engine, "collect-dedupe-deliver", collect=collect, deliver={"url": target.url("/")})
        values = {"path": str(tmp_path / "spool"), "namespace": "seen"}
        async with rig.deployed(engine, "collect", source, values):
            await waiting.until(lambda: target.requests, bool)
            await waiting.until(lambda: len(api.requests), lambda count: count >= 3)
    assert [orjson.loads(request.body) for request in target.requests] == [EVENTS]


async def test_fan_in_hub(engine: Engine, tmp_path: Path) -> None:
    port = rig.free_port()
    rig.write(tmp_path / "in", *EVENTS[:3])
    archive = {"path": str(tmp_path / "archive"), "timeout": "300ms"}
    tail = {"paths": str(tmp_path / "in"), "json": True}
    source = await bound(engine, "fan-in-hub", first={"address": f"127.0.0.1:{port}"}, second=tail, sink=archive)
    async with rig.deployed(engine, "hub", source, {"path": str(tmp_path / "spool")}), httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{port}/events", json=EVENTS[3:], timeout=20)
        found = await waiting.until(lambda: rig.archived(tmp_path / "archive"), lambda found: len(found) >= 6)
    assert answer.status_code == 200
    assert sorted(one["id"] for one in found) == list(range(6))


async def test_clean_and_deliver(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in", *EVENTS, "no JSON")
    filled = {"source": {"paths": str(tmp_path / "in")}, "sink": {"path": str(tmp_path / "out")}}
    source = await bound(engine, "clean-and-deliver", **filled)
    async with rig.deployed(engine, "clean", source, {}):
        assert await rig.lines(tmp_path / "out", 6) == [{"id": n} for n in range(6)]


async def test_archive_and_forward(engine: Engine, tmp_path: Path) -> None:
    rig.write(tmp_path / "in", *EVENTS)
    async with web.serve(web.answer(200)) as site:
        filled = {"source": {"paths": str(tmp_path / "in"), "json": True}, "forward": {"url": site.url("/")}}
        source = await bound(engine, "archive-and-forward", **filled)
        async with rig.deployed(engine, "forward", source, {"archive": str(tmp_path / "archive")}):
            found = await waiting.until(lambda: rig.archived(tmp_path / "archive"), lambda found: len(found) >= 6)
            await waiting.until(lambda: site.requests, bool)
    assert found == EVENTS == [event for request in site.requests for event in orjson.loads(request.body)]


def test_every_builtin_perspective_is_tried_here() -> None:
    assert [slug for slug in PERSPECTIVES if f"test_{slug.replace('-', '_')}" not in globals()] == []
