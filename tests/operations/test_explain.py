"""Explain with a real engine: what it says fits what happened, in one short answer, and its calls exist."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import errors
from core.deployments.status import up
from core.engine import Engine
from core.fleet import failing
from core.model.workload import parse
from core.operations import REGISTRY
from mcp_server import results
from tests import waiting
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on
from tests.operations.test_deployments import SOURCE, apply, deployed, plan

pytestmark = pytest.mark.anyio
OPERATOR = replace(ADMIN, principal=replace(ADMIN.principal, platform=True))
ROOTED = """
kind: workflow
slug: rooted
channels:
  spool: {transport: file-store, with: {path: "{{root}}"}}
steps:
  - {id: make, use: "blueprint:echo-source@1.0.0", with: {event: '{"n":1}'}, out: channel:spool}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:spool}
"""


async def explain(engine: Engine, kind: str, id: str) -> dict[str, Any]:
    found = await engine.call("explain", {"kind": kind, "id": id}, ADMIN)
    for call in found["next"]:
        REGISTRY[call["call"]].validate(call["arguments"])
    assert len(orjson.dumps(results.success(found))) < 8_000, "below 2,000 tokens"
    return found


def told(found: dict[str, Any]) -> str:
    return "\n".join(cause["what"] for cause in found["because"])


async def test_a_deployment_with_a_job_that_fails_is_explained_down_to_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        await apply(engine, await plan(engine, tmp_path / "file"))
        found = await explain(engine, "deployment", "demo")
        assert found["state"] == "degraded"
        assert "as revision 1" in told(found) and "alice applied" in told(found)
        assert "failed: " in told(found) and "is not a directory" in told(found)
        mend, down, back = found["next"][:3]
        assert (down["call"], back["arguments"]) == ("explain", {"name": "demo", "to_revision": 1})
        before, now = str(tmp_path / "store"), str(tmp_path / "file")
        assert mend["arguments"] == {"name": "demo", "source": SOURCE, "values": {"path": before}}
        (value,) = found["responsible"]
        assert (value["kind"], value["name"], value["value"], value["sure"]) == ("field", "path", now, True)
        assert (value["before"], value["before_revision"], value["since_revision"]) == (before, 1, 2)
        text = results.success(found)["content"][0]["text"]
        assert f'wizard field path = "{now}" since revision 2; "{before}" in revision 1.' in text
        below = await engine.call("explain", down["arguments"], ADMIN)
        condition = below["condition"]
        assert condition["health"] == "failing" and condition["failures"] >= 1
        assert f"failing since {condition['since']}, it failed" in below["summary"]
        assert condition["since"] <= condition["first_failed_at"] <= condition["last_failed_at"]
        assert below["state"] == "failed" and "is not a directory" in told(below)
        mended = await apply(engine, await engine.call(back["call"], back["arguments"], ADMIN))
        assert mended["state"] == "running"


async def test_a_value_that_was_never_another_is_named_with_the_call_that_changes_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    async with engine_on(tmp_path / "home") as engine:
        await apply(engine, await plan(engine, tmp_path / "file", values={"path": str(tmp_path / "file")}))
        found = await explain(engine, "deployment", "demo")
        mend = found["next"][0]
        assert mend["call"] == "deployment_plan" and "values" not in mend["arguments"], "the bad value is not planned"
        assert f'field path = "{tmp_path / "file"}"' in found["summary"]
        assert "before" not in found["responsible"][0] and found["responsible"][0]["sure"]
        mend["arguments"]["values"] = {"path": str(tmp_path / "store")}
        made = await engine.call(mend["call"], mend["arguments"], ADMIN)
        assert (await apply(engine, made))["state"] == "running"
        assert "responsible" not in await explain(engine, "deployment", "demo")


async def test_a_context_value_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    here = {"environment": "prod", "values": {"root": str(tmp_path / "file")}}
    async with engine_on(tmp_path / "home") as engine:
        await engine.call("context_set", here, ADMIN)
        draft = {"document": ROOTED}
        await engine.call("workflow_save_draft", draft, ADMIN)
        await engine.call("workflow_publish", {"slug": "rooted"}, ADMIN)
        arguments = {"name": "demo", "source": "workflow:rooted@1", "environment": "prod"}
        await apply(engine, await engine.call("deployment_plan", arguments, ADMIN))
        found = await explain(engine, "deployment", "demo")
        (value,) = found["responsible"]
        assert (value["kind"], value["name"], value["level"], value["target"]) == (
            "context",
            "root",
            "environment",
            "prod",
        )
        assert found["next"][0] == {
            "call": "context_set",
            "arguments": {**here, "values": {"root": "<another root>"}},
            "why": "set another root in place of this one, then plan demo",
        }


async def test_a_killed_worker_is_part_of_the_chain(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2) as engine:
        await deployed(engine, tmp_path / "store")
        worker = engine.fleet.workers["local-2"]
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert await engine.fleet.wait(lambda: worker.pid is None, 5)
        found = await explain(engine, "deployment", "demo")
        assert "local-2" in told(found)
        mine = engine.fleet.workload_views(tenant="tenant-a", worker="local-2")
        there = await waiting.until(
            lambda: explain(engine, "deployment", "demo"), lambda now: now.get("outages") and now["outages"][0]["to"]
        )
        (outage,) = there["outages"]
        assert (outage["cause"], outage["worker"], outage["workloads"]) == ("worker-lost", "local-2", len(mine))
        assert outage["from"] < outage["to"] and outage["seconds"] > 0
        assert "worker local-2 was lost: demo--" in told(there) and " were down until 20" in told(there)
        below = await explain(engine, "worker", "local-2")
        assert (below["state"], below["outages"]) == ("online", [outage])
        assert f"online since {below['condition']['since']}" in below["summary"]
        assert "it went: it fell silent or died" in told(below) and "it runs demo--" in told(below)
        assert [call["call"] for call in below["next"]] == ["worker_get"]
        job = await explain(engine, "job", mine[0].job)
        assert job["outages"][0]["names"] == [parse(mine[0].id).name]


async def test_a_drained_worker_is_explained_by_who_drained_it(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        assert await engine.fleet.wait(lambda: engine.fleet.workers["local-1"].online, 20)
        await engine.call("worker_drain", {"name": "local-1"}, OPERATOR)
        found = await engine.call("explain", {"kind": "worker", "id": "local-1"}, OPERATOR)
        assert found["state"] == "draining" and "alice called worker_drain" in told(found)
        assert found["next"][0] == {
            "call": "worker_resume",
            "arguments": {"name": "local-1"},
            "why": "let it take jobs again",
        }
        for id in ("local-9", "../etc"):
            with pytest.raises(errors.NotFound):
                await explain(engine, "worker", id)


async def test_a_rollback_is_explained_by_what_failed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        await apply(engine, await plan(engine, tmp_path / "file"), rollback_on_failure=True)
        found = await explain(engine, "deployment", "demo")
        assert found["state"] == "running"
        assert "alice took back" in told(found) and "revision 2 was taken back: " in told(found)


async def test_an_invocation_is_explained_by_its_own_history_and_its_job(tmp_path: Path) -> None:
    definition = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
    async with engine_on(tmp_path / "home") as engine:
        await engine.call("trigger_publish", definition, ADMIN)
        call = {"slug": "smoke_trigger", "params": {"env": "prod"}}
        failed = await engine.call("trigger_invoke", call, ADMIN)
        found = await explain(engine, "invocation", failed["invocation_id"])
        assert found["state"] == "failed" and "is not deployed now" in told(found)
        await deploy(engine, (EXAMPLES / "smoke_trigger_handler.yaml").read_text())
        done = await engine.call("trigger_invoke", call, ADMIN)
        found = await explain(engine, "invocation", done["invocation_id"])
        assert found["state"] == "succeeded" and "the record ended as succeeded" in told(found)
        job = await explain(engine, "job", "smoke_trigger_handler")
        assert job["state"] == "running" and "alice called job_deploy" in told(job)


async def test_a_plan_is_explained_before_and_after_its_apply(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        before = await explain(engine, "plan", made["plan_id"])
        assert before["state"] == "open" and "can be applied by alice until" in before["summary"]
        await apply(engine, made)
        after = await explain(engine, "plan", made["plan_id"])
        assert after["state"] == "applied" and "as revision 1" in after["summary"]


@pytest.mark.parametrize("kind", ["deployment", "invocation", "trigger", "workload", "job", "plan"])
async def test_what_is_not_there_or_is_another_tenants_is_not_found(tmp_path: Path, kind: str) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        await apply(engine, made, wait_seconds=0)
        ids = {
            "deployment": "demo",
            "workload": "tenant-a/demo--print#0",
            "job": "demo--print",
            "plan": made["plan_id"],
        }
        for id in (ids.get(kind, "x"), "nothing", "\x1b[31m", "../etc"):
            with pytest.raises(errors.NotFound):
                await engine.call("explain", {"kind": kind, "id": id}, replace(ADMIN, tenant="tenant-b"))


async def test_what_did_not_come_up_at_first_is_not_told_of_a_deployment_that_is_well_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failing, "SETTLED_SECONDS", 0.2)
    (tmp_path / "file").write_text("not a directory")
    async with engine_on(tmp_path / "home") as engine:
        await apply(engine, await plan(engine, tmp_path / "file"))
        (tmp_path / "file").unlink()
        views = lambda: engine.fleet.workload_views(tenant="tenant-a", deployment="demo")  # noqa: E731
        assert await engine.fleet.wait(lambda: all(map(up, views())), 20)
        found = await explain(engine, "deployment", "demo")
        assert found["state"] == "running" and "did not come up" not in found["summary"]


async def test_a_workload_is_found_by_its_job_when_it_is_the_only_one(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        found = await explain(engine, "workload", "demo--print")
        assert (found["kind"], found["id"], found["state"]) == ("workload", "demo--print#0", "running")
        with pytest.raises(errors.NotFound) as raised:
            await explain(engine, "workload", "demo--print#7")
        assert "demo--print#0" in str(raised.value.hint)
        with pytest.raises(errors.InvalidParams, match=r"invocation.*workload.*job.*plan"):
            await explain(engine, "planet", "local-1")
