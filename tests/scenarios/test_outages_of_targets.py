"""An output whose target is away is a warning that says so, until it takes events again; none is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from core.engine import Engine
from core.fleet import targets
from tests import waiting
from tests.catalog.rig import free_port
from tests.deployments import running
from tests.dsl import web
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio

POST = """
kind: blueprint
slug: post
version: 1.0.0
jobs:
- name: post
  input: {files: {paths: ["PATH"], json: true}}
  output: {http-post: {url: "http://127.0.0.1:PORT/in", retry: {retries: 100, timeout: 10m}}}
"""


async def shown(engine: Engine) -> dict[str, Any]:
    return await engine.call("deployment_get", {"name": "demo", "detail": "detailed"}, ADMIN)  # type: ignore[no-any-return]


async def accepting(engine: Engine) -> dict[str, Any]:
    conditions = (await shown(engine))["conditions"]
    return next((one for one in conditions if one["type"] == "OutputAccepting"), {"status": ""})


async def measured(engine: Engine) -> list[float]:
    families = (await engine.call("tenant_metrics", {}, ADMIN))["families"]
    samples = next(one["samples"] for one in families if one["name"] == "deployment_condition")
    return [one["value"] for one in samples if one["labels"]["type"] == "OutputAccepting"]


async def changes_of_health(engine: Engine) -> set[str]:
    found = await engine.call("message_search", {"type": "health-changed"}, ADMIN)
    return {one["message_data"]["health"] for one in found["items"]}


async def test_an_output_that_is_refused_is_a_warning_until_its_target_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "OUTAGE_SECONDS", 0.3)
    source, port = tmp_path / "in.log", free_port()
    running.write(source, range(20))
    settings: dict[str, Any] = {"egress_allow": ("127.0.0.0/8",), "heartbeat_seconds": 0.1}
    async with engine_on(tmp_path / "home", **settings) as engine:
        (published,) = await running.publish(engine, POST.replace("PATH", str(source)).replace("PORT", str(port)))
        await running.apply(engine, published)
        false = await waiting.until(lambda: accepting(engine), lambda one: one["status"] == "false")
        assert false["reason"] == "NotAccepting"
        for said in ("http-post", "HTTP server", f"127.0.0.1:{port}", "tries", "events wait"):
            assert said in false["message"], false["message"]
        told = await shown(engine)
        assert (told["health"], told["state"]) == ("warning", "running")
        assert [(one["state"], one["health"]) for one in told["workloads"]] == [("running", "warning")]
        (listed,) = (await engine.call("workload_list", {}, ADMIN))["items"]
        assert listed["reason"].startswith("OutputAccepting: http-post does not get through to its HTTP server (")
        why = await engine.call("explain", {"kind": "deployment", "id": "demo"}, ADMIN)
        assert "OutputAccepting" in orjson.dumps(why).decode()
        assert await measured(engine) == [0]
    async with engine_on(tmp_path / "home", **settings) as engine:
        await waiting.until(lambda: shown(engine), lambda one: one["health"] == "warning")
        kept = await accepting(engine)
        assert (kept["status"], kept["since"]) == ("false", false["since"]), "with a worker that began anew"
        async with web.serve(web.answer(200), port=port) as site:
            true = await waiting.until(lambda: accepting(engine), lambda one: one["status"] == "true")
            assert true["reason"] == "EventsWritten" and true["since"] > false["since"]
            await waiting.until(lambda: len(site.requests) >= 20)
            arrived = sorted(event["n"] for one in site.requests for event in map(orjson.loads, one.body.splitlines()))
        assert arrived == list(range(20)), "none is lost, and none came twice"
        well = await waiting.until(lambda: shown(engine), lambda one: one["health"] == "healthy")
        assert well["state"] == "running" and await measured(engine) == [1]
        await waiting.until(lambda: changes_of_health(engine), lambda said: said >= {"warning", "healthy"})
