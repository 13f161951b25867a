"""Deployments through the engine, with real worker processes: plan, apply, look, reconcile, remove."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import clock, errors
from core.catalog import builtin, items
from core.engine import Engine
from core.model.catalog import Workflow
from core.model.principal import Caller, Principal, Role
from core.model.workload import WorkloadView
from core.store import audit
from core.workflows.library import Library
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio
SOURCE = "workflow:quickstart-file-store-roundtrip@1"
READER = replace(ADMIN, allow_write=False)


async def plan(engine: Engine, store: Path, caller: Caller = ADMIN, **more: Any) -> dict[str, Any]:
    arguments = {"name": "demo", "source": SOURCE, "values": {"path": str(store)}, **more}
    return await engine.call("deployment_plan", arguments, caller)


async def apply(engine: Engine, made: dict[str, Any], caller: Caller = ADMIN, **more: Any) -> dict[str, Any]:
    return await engine.call("deployment_apply", {"plan_id": made["plan_id"], **more}, caller)


async def deployed(engine: Engine, store: Path) -> dict[str, Any]:
    result = await apply(engine, await plan(engine, store))
    assert result["state"] == "running", result
    return result


async def get(engine: Engine, **more: Any) -> dict[str, Any]:
    return await engine.call("deployment_get", {"name": "demo", **more}, ADMIN)


async def message(engine: Engine, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait for a message of the bus that fits."""
    found: list[dict[str, Any]] = []
    there = anyio.Event()

    def look(kind: str, data: dict[str, Any]) -> None:
        if kind == "message":
            event = orjson.loads(data["event"])
            if fits(event):
                found.append(event)
                there.set()

    forget = engine.subscribe(look)
    try:
        with anyio.fail_after(20):
            await there.wait()
    finally:
        forget()
    return found[0]


def delivered(event: dict[str, Any]) -> bool:
    """The reader has handed events to the printer, and the printer has accepted them."""
    return (
        event["message_type"] == "job-run-ended"
        and event["job_name"] == "demo--print--roundtrip-reader"
        and event["message_data"]["events_out"] > 0
    )


async def test_the_quickstart_writes_files_and_prints_what_it_reads_back(tmp_path: Path) -> None:
    store = tmp_path / "store"
    async with engine_on(tmp_path / "home", workers=2) as engine:
        made = await plan(engine, store)
        assert made["saved"] and made["base_revision"] == 0 and made["blockers"] == [] and made["warnings"] == []
        assert made["summary"]["create"] == 9
        assert {change["kind"] for change in made["changes"]} == {"job", "transport", "channel", "placement"}
        async with anyio.create_task_group() as group:
            group.start_soon(message, engine, delivered)
            result = await apply(engine, made)
        assert (result["deployment"], result["revision"], result["state"]) == ("demo", 1, "running")
        assert {(one["step"], one["state"]) for one in result["workloads"]} == {
            ("generate", "running"),
            ("print", "running"),
        }
        assert [path.name.startswith("demo-") for path in store.rglob("*.json")]

        async def print_of_job() -> dict[str, Any] | None:
            shown = await engine.call("job_get", {"name": "demo--print"}, ADMIN)
            return shown if any(line["level"] == "print" for line in shown["log"]) else None

        shown = await waiting.until(print_of_job)  # lines come a tenth of a second after what they tell of
        assert shown is not None
        assert shown["managed_by"] == "demo"
        assert next(line["text"] for line in shown["log"] if line["level"] == "print") == '{"hello":"world"}'
        seen = await get(engine, detail="detailed")
        assert (seen["state"], seen["health"], seen["drift"]) == ("running", "healthy", [])
        assert seen["values"] == {"path": str(store)}
        assert seen["last_applied"]["plan_id"] == made["plan_id"]
        listed = await engine.call("deployment_list", {}, ADMIN)
        assert [(row["name"], row["workloads"]) for row in listed["items"]] == [("demo", "4/4")]
        log = await engine.database.read(audit.recent, ADMIN.tenant)
        assert [row.operation for row in log[:2]] == ["deployment_apply", "deployment_plan"]


async def test_a_read_only_session_computes_the_same_plan_and_saves_nothing(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store", READER)
        assert (made["saved"], made["plan_id"], made["expires_at"]) == (False, None, None)
        assert made["summary"] == (await plan(engine, tmp_path / "store"))["summary"]
        count = await engine.database.read(lambda db: db.table("plans").count)
        assert count == 1
        with pytest.raises(errors.WriteDisabled):
            await engine.call("deployment_apply", {"plan_id": "plan_x"}, READER)


async def test_a_plan_is_single_use(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        await apply(engine, made)
        with pytest.raises(errors.PlanUsed, match="as revision 1"):
            await apply(engine, made)
        assert (await get(engine))["revision"] == 1


async def test_a_plan_on_an_older_revision_is_refused_and_told_what_moved(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        first, second = await plan(engine, tmp_path / "store"), await plan(engine, tmp_path / "other")
        await apply(engine, first)
        with pytest.raises(errors.StalePlan) as caught:
            await apply(engine, second)
        assert "revision 1 (apply of workflow:quickstart-file-store-roundtrip@1 by alice at " in caught.value.message
        assert caught.value.details["moved"][0]["summary"] == {"create": 9}
        assert (await get(engine, detail="detailed"))["values"] == {"path": str(tmp_path / "store")}


async def test_of_two_plans_applied_at_once_exactly_one_wins(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        plans = [await plan(engine, tmp_path / f"s{n}") for n in range(4)]
        ended: list[str] = []

        async def one(made: dict[str, Any]) -> None:
            try:
                ended.append((await apply(engine, made, wait_seconds=0))["deployment"])
            except (errors.StalePlan, errors.PlanUsed) as error:
                ended.append(error.code)

        async with anyio.create_task_group() as group:
            for made in [*plans, *plans]:
                group.start_soon(one, made)
        assert ended.count("demo") == 1
        assert (await get(engine))["revision"] == 1


async def test_an_expired_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine_on(tmp_path / "home", plan_ttl_seconds=10) as engine:
        made = await plan(engine, tmp_path / "store")
        later = clock.now_ns() + 11 * clock.NANOSECONDS
        monkeypatch.setattr(engine, "now_ns", lambda: later)
        for _ in range(2):
            with pytest.raises(errors.PlanExpired):
                await apply(engine, made)


async def test_a_blocked_plan_is_shown_and_refused(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await engine.call("deployment_plan", {"name": "demo", "source": SOURCE}, ADMIN)
        assert [blocker["code"] for blocker in made["blockers"]] == ["missing_value"]
        assert "--set path=" in made["blockers"][0]["hint"]
        with pytest.raises(errors.PlanBlocked, match="File-store path"):
            await apply(engine, made)
        with pytest.raises(errors.NotFound):
            await get(engine)


async def test_a_plan_belongs_to_who_made_it_and_to_its_tenant(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        colleague = replace(ADMIN, principal=Principal("carol", Role.ADMIN, ("tenant-a",)))
        with pytest.raises(errors.Forbidden, match="made by alice"):
            await apply(engine, made, colleague)
        with pytest.raises(errors.NotFound):
            await apply(engine, made, replace(ADMIN, tenant="tenant-b"))
        with pytest.raises(errors.NotFound):
            await engine.call("deployment_apply", {"plan_id": "plan_nope"}, ADMIN)


async def test_a_stored_plan_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        await engine.database.write(
            lambda db: db.execute("UPDATE plans SET body = replace(body, 'hello', 'howdy')").rowcount
        )
        with pytest.raises(errors.Internal, match="not the one that was made"):
            await apply(engine, made)


async def test_without_workers_a_plan_warns_and_an_apply_is_refused(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        made = await plan(engine, tmp_path / "store")
        assert [warning["code"] for warning in made["warnings"]] == ["no_workers"]
        with pytest.raises(errors.TargetUnavailable, match="group default"):
            await apply(engine, made)
        with pytest.raises(errors.NotFound):
            await get(engine)
    async with engine_on(tmp_path / "home", workers=1) as engine:  # the plan is still good, now that there is a worker
        assert (await apply(engine, made))["state"] == "running"


async def test_an_update_touches_only_what_changed(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        before = {one["job"]: one["version"] for one in (await deployed(engine, tmp_path / "store"))["workloads"]}
        made = await engine.call("deployment_plan", {"name": "demo", "values": {"guid_prefix": "v2"}}, ADMIN)
        assert made["source"] == SOURCE  # what was applied stays, when it is left out
        assert made["summary"] == {"create": 0, "update": 1, "remove": 0, "move": 0, "unchanged": 8}
        assert '+      "guid-prefix": "v2-",' in made["changes"][0]["diff"]
        result = await apply(engine, made)
        assert (result["state"], result["revision"]) == ("running", 2)
        after = {one["job"]: one["version"] for one in result["workloads"]}
        assert {job for job in after if after[job] != before[job]} == {"demo--generate--roundtrip-writer"}


async def test_a_removal_is_a_plan_and_leaves_the_history(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        made = await engine.call("deployment_plan", {"name": "demo", "remove": True}, ADMIN)
        assert made["summary"]["remove"] == 9
        result = await apply(engine, made)
        assert (result["state"], result["workloads"]) == ("removed", [])
        assert (await get(engine))["state"] == "removed"
        assert (await engine.call("deployment_list", {}, ADMIN))["items"] == []
        assert len((await engine.call("deployment_list", {"include_removed": True}, ADMIN))["items"]) == 1
        history = (await engine.call("deployment_history", {"name": "demo"}, ADMIN))["items"]
        assert [(row["revision"], row["action"]) for row in history] == [(2, "remove"), (1, "apply")]
        with pytest.raises(errors.NotFound):
            await engine.call("deployment_plan", {"name": "demo", "remove": True}, ADMIN)
        again = await plan(engine, tmp_path / "store")
        assert (again["base_revision"], again["summary"]["create"]) == (2, 9)
        assert (await apply(engine, again))["revision"] == 3


async def test_a_killed_worker_is_drift_that_reconcile_heals(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2) as engine:
        await deployed(engine, tmp_path / "store")
        worker = engine.fleet.workers["local-2"]
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert await engine.fleet.wait(lambda: worker.pid is None, 5)
        seen = await get(engine)
        assert (seen["state"], seen["health"]) == ("degraded", "degraded")
        assert {one["kind"] for one in seen["drift"]} == {"worker-offline"}
        healed = await engine.call("deployment_reconcile", {"name": "demo"}, ADMIN)
        assert {one["kind"] for one in healed["drift"]} <= {"worker-offline", "not-running"}
        assert healed["state"] == "running"
        assert (await get(engine))["drift"] == []


async def test_reconcile_moves_replicas_off_a_worker_that_takes_no_more_work(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2) as engine:
        await deployed(engine, tmp_path / "store")
        old = await plan(engine, tmp_path / "store")
        engine.fleet.workers["local-2"].drained = True
        engine.fleet.workers["local-2"].last_seen = 0.0
        shown = await engine.call("deployment_reconcile", {"name": "demo", "dry_run": True}, ADMIN)
        assert {step["action"] for step in shown["steps"]} == {"move"}
        assert (await get(engine))["revision"] == 1
        healed = await engine.call("deployment_reconcile", {"name": "demo"}, ADMIN)
        assert healed["state"] == "running"
        seen = await get(engine)
        assert {one["worker"] for one in seen["workloads"]} == {"local-1"}
        assert (seen["revision"], seen["drift"]) == (2, [])
        with pytest.raises(errors.StalePlan, match="reconcile"):
            await apply(engine, old)


async def test_reconcile_without_drift_changes_nothing(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        assert await engine.call("deployment_reconcile", {"name": "demo"}, ADMIN) == {
            "drift": [],
            "steps": [],
            "warnings": [],
            "state": "running",
            "reason": "",
            "revision": 1,
        }
        assert len((await engine.call("deployment_history", {"name": "demo"}, ADMIN))["items"]) == 1


async def test_a_workload_that_someone_took_away_is_missing_and_comes_back(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        await engine.database.write(lambda db: db.execute("DELETE FROM workloads WHERE job = 'demo--print'").rowcount)
        await engine.fleet.sync()
        assert [(one["kind"], one["id"]) for one in (await get(engine))["drift"]] == [
            ("missing", "tenant-a/demo--print#0")
        ]
        healed = await engine.call("deployment_reconcile", {"name": "demo"}, ADMIN)
        assert ([step["action"] for step in healed["steps"]], healed["state"]) == (["assign"], "running")


async def test_a_job_that_fails_makes_the_deployment_degraded_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    async with engine_on(tmp_path / "home") as engine:
        await apply(engine, await plan(engine, tmp_path / "file"))

        def views() -> list[WorkloadView]:
            return engine.fleet.workload_views(tenant=ADMIN.tenant, deployment="demo")

        for state in ("failed", "running", "failed"):  # it is up between two failures, and not well
            assert await engine.fleet.wait(lambda state=state: any(one.state == state for one in views()), 20)  # type: ignore[misc]
            seen = await get(engine)
            assert (seen["state"], seen["health"]) == ("degraded", "degraded")
            assert "is not a directory" in seen["reason"]
            assert any(one["kind"] == "not-running" for one in seen["drift"])


async def test_a_deployment_runs_again_after_the_engine_was_restarted(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
    async with engine_on(tmp_path / "home") as engine:
        ids = [one.id for one in engine.fleet.workload_views(tenant=ADMIN.tenant, deployment="demo")]
        assert len(ids) == 4
        assert await engine.fleet.wait(lambda: engine.fleet.worker_rows()[0]["state"] == "online", 10)
        assert await engine.fleet.wait(lambda: engine.fleet.settled(ids), 10)
        assert (await get(engine))["state"] == "running"


async def test_a_name_that_an_unmanaged_job_has_is_a_blocker(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, "{name: demo--print, input: {echo: {event: x}}, output: {discard: {}}}")
        made = await plan(engine, tmp_path / "store")
        assert [blocker["code"] for blocker in made["blockers"]] == ["name_taken"]
        assert "name_taken" not in made["text"] and "demo--print exists already (unmanaged)" in made["text"]


async def test_a_managed_job_cannot_be_changed_by_hand(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        with pytest.raises(errors.AlreadyExists, match="managed by deployment demo"):
            await engine.call("job_undeploy", {"name": "demo--print"}, ADMIN)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"name": "demo"}, errors.InvalidParams, "needs a source"),
        ({"name": "demo", "source": "quickstart"}, errors.InvalidParams, "is not a source"),
        ({"name": "demo", "source": "table:x@1"}, errors.InvalidParams, "is not a source"),
        ({"name": "demo", "source": "workflow:nope"}, errors.NotFound, "no workflow nope"),
        ({"name": "demo", "source": SOURCE[:-1] + "7"}, errors.NotFound, "no version 7"),
        ({"name": "demo", "source": "job:heartbeat"}, errors.InvalidParams, "library job"),
        ({"name": "De mo", "source": SOURCE}, errors.InvalidParams, "do not fit"),
        ({"name": "demo", "source": SOURCE, "replicas": {"print": 0}}, errors.InvalidParams, "do not fit"),
        ({"name": "demo", "source": SOURCE, "apply": True}, errors.InvalidParams, "do not fit"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: dict[str, Any], error: type[errors.SluiceError], said: str
) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        with pytest.raises(error, match=said):
            await engine.call("deployment_plan", arguments, ADMIN)


async def test_a_perspective_is_planned_with_the_reasons_why_it_cannot_be_applied(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        made = await engine.call("deployment_plan", {"name": "p", "source": "perspective:ingest-spool-deliver"}, ADMIN)
        assert {b["code"] for b in made["blockers"]} == {"not_deployable", "unbound_slot", "missing_value"}


async def test_the_catalog_finds_and_shows_items(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        found = await engine.call("catalog_search", {"query": "roundtrip", "type": "workflow"}, ADMIN)
        assert found["items"][0]["slug"] == "quickstart-file-store-roundtrip"
        page = await engine.call("catalog_search", {"limit": 2}, ADMIN)
        assert (len(page["items"]), page["next_cursor"]) == (2, "2")
        item = await engine.call(
            "catalog_get", {"slug": "quickstart-file-store-roundtrip", "detail": "detailed"}, ADMIN
        )
        assert {"slug", "type", "version", "document", "graph", "wizard", "related"} <= item.keys()
        assert [node["id"] for node in item["graph"]["nodes"]] == ["generate", "print"]
        job = await engine.call("catalog_get", {"slug": "heartbeat", "type": "job", "detail": "detailed"}, ADMIN)
        put = await engine.call("job_validate", {"document": orjson.dumps(job["document"]).decode()}, ADMIN)
        assert put["valid"]


async def test_the_library_trigger_handler_answers_with_its_parameters(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        job = await engine.call("catalog_get", {"slug": "trigger-handler", "detail": "detailed"}, ADMIN)
        await deploy(engine, orjson.dumps(job["document"]).decode())
        definition = {
            "slug": "handler",
            "tenant_id": ADMIN.tenant,
            "display_name": "Handler",
            "description": "Answers with its parameters.",
            "parameter_schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
            "target_job_name": "trigger_handler",
            "target_message_tag": "handler.invoke",
            "response_slot": "handler.reply",
        }
        await engine.call("trigger_publish", definition, ADMIN)
        record = await engine.call("trigger_invoke", {"slug": "handler", "params": {"n": 7}}, ADMIN)
        assert record["state"] == "succeeded", record
        assert record["result"]["trigger_response"]["result"] == {"params": {"n": 7}}


async def test_a_message_edge_wakes_the_reader_for_every_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickstart = items.document(items.pick(builtin.load(), "quickstart-file-store-roundtrip"))
    edges = {"messages": [{"from": "generate", "to": "print", "tag": "stage1-done"}], "version": 2}
    newer = items.entry(Workflow.model_validate({**quickstart, **edges}))

    async def visible(library: Library, tenant: str) -> list[items.Entry]:
        return [*builtin.load(), newer]

    monkeypatch.setattr(Library, "visible", visible)
    async with engine_on(tmp_path / "home", workers=2) as engine:
        made = await plan(engine, tmp_path / "store", source="workflow:quickstart-file-store-roundtrip@2")
        assert "demo--generate--roundtrip-stage1-done-relay" in made["text"]
        async with anyio.create_task_group() as group:
            group.start_soon(message, engine, lambda event: event.get("tag") == "stage1-done")
            group.start_soon(message, engine, delivered)
            assert (await apply(engine, made))["state"] == "running"


async def test_an_older_version_is_deployed_again_by_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quickstart = items.document(items.pick(builtin.load(), "quickstart-file-store-roundtrip"))
    steps = [{**quickstart["steps"][0], "with": {"event": '{"hello":"again"}'}}, quickstart["steps"][1]]
    newer = items.entry(Workflow.model_validate({**quickstart, "version": 2, "steps": steps}))

    async def visible(library: Library, tenant: str) -> list[items.Entry]:
        return [*builtin.load(), newer]

    monkeypatch.setattr(Library, "visible", visible)
    async with engine_on(tmp_path / "home") as engine:
        first = await deployed(engine, tmp_path / "store")
        newest = {"name": "demo", "source": "workflow:quickstart-file-store-roundtrip"}
        made = await engine.call("deployment_plan", newest, ADMIN)
        assert [(c["action"], c["id"]) for c in made["changes"]] == [("update", "demo--generate")]
        await apply(engine, made)
        back = await engine.call("deployment_plan", {"name": "demo", "source": SOURCE}, ADMIN)
        assert back["summary"]["update"] == 1
        result = await apply(engine, back)
        assert (result["revision"], result["state"]) == (3, "running")
        assert {w["version"] for w in result["workloads"]} == {w["version"] for w in first["workloads"]}
