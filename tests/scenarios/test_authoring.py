"""Authoring as an agent does it, over a real MCP stdio client, from a perspective to the update of what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from core.documents import dump
from mcp_server.cli import stage
from tests import waiting

pytestmark = pytest.mark.anyio
TENANT = "tenant-a"


async def test_a_perspective_becomes_a_running_deployment_and_its_next_version_one_update(tmp_path: Path) -> None:
    scene = stage.Stage(tmp_path / "home")
    try:
        with anyio.fail_after(90):
            await scene.start(workers=1)
            async with scene.mcp(TENANT, toolsets="catalog,deployments,workflows") as client:

                async def call(tool: str, /, **arguments: Any) -> dict[str, Any]:
                    answer = await client.call(tool, **arguments)
                    assert not answer.code, (tool, answer)
                    return answer.result

                await _author(call, scene.data(TENANT) / "spool")
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()


async def _author(call: Any, spool: Path) -> None:
    found = await call("catalog_search", type="perspective", query="spool")
    perspective = found["items"][0]
    cloned = await call("workflow_clone", slug=perspective["slug"], type="perspective", new_slug="mine")
    assert [fault["code"] for fault in cloned["errors"]] == ["unbound_slot"] * 2

    document = (await call("workflow_get", slug="mine"))["document"]
    for step, use in zip(document["steps"], ("echo-source", "file-printer"), strict=True):
        del step["slot"]
        step["use"] = f"blueprint:{use}@1.0.0"
    text = dump.to_yaml(document)
    mistyped = await call("workflow_validate", document=text.replace("echo-source", "echo-sorce"))
    assert (mistyped["valid"], mistyped["errors"][0]["code"]) == (False, "unknown_blueprint")
    assert "did you mean blueprint:echo-source@1.0.0?" in mistyped["errors"][0]["message"]
    assert (await call("workflow_validate", document=text))["valid"]
    saved = await call("workflow_save_draft", document=text, base_revision=cloned["draft_revision"])
    published = await call("workflow_publish", slug="mine", draft_revision=saved["draft_revision"])
    assert published["source"] == "workflow:mine@1"

    planned = await call("deployment_plan", name="live", source=published["source"], values={"path": spool.name})
    assert (planned["blockers"], planned["summary"]["create"] > 0) == ([], True)
    applied = await call("deployment_apply", plan_id=planned["plan_id"])
    assert applied["state"] == "running"
    await waiting.until(lambda: [path for path in spool.rglob("*") if path.is_file()])

    document["steps"][0]["with"] = {"interval": "2s"}
    await call("workflow_clone", slug="mine")
    current = (await call("workflow_get", slug="mine", version="draft"))["draft_revision"]
    await call("workflow_save_draft", document=dump.to_yaml(document), base_revision=current)
    assert (await call("workflow_publish", slug="mine"))["version"] == 2
    compared = await call("workflow_diff", slug="mine", from_version=1, to_version=2)
    assert [(one["kind"], one["id"]) for one in compared["changes"]] == [("step", "ingest")]
    planned = await call("deployment_plan", name="live", source="workflow:mine@2")
    assert {action: count for action, count in planned["summary"].items() if count and action != "unchanged"} == {
        "update": 1
    }
    assert [(one["action"], one["id"]) for one in planned["changes"]] == [("update", "live--ingest")]
    assert (await call("deployment_apply", plan_id=planned["plan_id"]))["revision"] == 2
