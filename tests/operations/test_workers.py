"""Worker groups and workers: made, changed, labelled, drained; who may do it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from core import errors, precedence
from core.engine import Engine
from core.model.principal import Caller, Principal, Role
from core.settings import Settings
from core.store import audit
from tests.engines import ADMIN, deploy, engine_on, online
from tests.operations.test_reconcile import FIRST, LATER, LISTEN, quiet

pytestmark = pytest.mark.anyio
TENANT_ADMIN = Caller(Principal("carol", Role.ADMIN, ("tenant-a",)), "tenant-a")
WAITING = """
name: {name}
input: {{internal-messages: {{filter-tag: x}}}}
output: {{print: STDOUT}}
"""


async def call(engine: Engine, operation: str, **arguments: Any) -> dict[str, Any]:
    return await engine.call(operation, arguments, ADMIN)


async def refused(engine: Engine, error: type[errors.SluiceError], operation: str, **arguments: Any) -> str:
    with pytest.raises(error) as caught:
        await call(engine, operation, **arguments)
    assert caught.value.hint
    return caught.value.message


async def groups(engine: Engine) -> dict[str, list[str]]:
    return {one["name"]: one["workers"] for one in (await call(engine, "worker_group_list"))["items"]}


def test_workers_are_told_by_number_or_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(workers=2).group_of(2) == "default"
    told = Settings.model_validate({"workers": "default=2, etl=1"})
    assert (told.workers, [told.group_of(n) for n in (1, 2, 3, 4)]) == (3, ["default", "default", "etl", "default"])
    monkeypatch.setenv("SLUICE_WORKERS", "etl=2")
    monkeypatch.setenv("SLUICE_HOME", "/nowhere")
    said = precedence.of_operator({})
    assert (said.workers, said.group_of(1)) == (2, "etl")
    for wrong in ("etl=x", "Etl=1", "=1", "etl=1,", "etl=65", "etl=64,default=1"):
        with pytest.raises(ValueError, match=r"workers|GROUP"):
            Settings.model_validate({"workers": wrong})


async def test_groups_of_the_settings_are_made_and_what_was_said_later_wins_over_restarts(tmp_path: Path) -> None:
    wanted = {"workers": 3, "worker_groups": ("default", "etl", "etl")}
    async with engine_on(tmp_path / "home", **wanted) as engine:
        assert await groups(engine) == {"default": ["local-1"], "etl": ["local-2", "local-3"]}
        await call(engine, "worker_group_create", name="spare", slots=3, labels=["zone=eu", "zone=eu"])
        moved = await call(engine, "worker_update", name="local-3", group="spare", labels=["gpu"])
        assert (moved["group"], moved["slots"], moved["labels"]) == ("spare", 3, ["gpu"])
        await call(engine, "worker_drain", name="local-2")
        assert [row.operation for row in await engine.database.read(audit.recent, "tenant-a")][:3] == [
            "worker_drain",
            "worker_update",
            "worker_group_create",
        ]
    async with engine_on(tmp_path / "home", **wanted) as engine:
        await online(engine)
        assert await groups(engine) == {"default": ["local-1"], "etl": ["local-2"], "spare": ["local-3"]}
        rows = {row["name"]: row for row in (await call(engine, "worker_list"))["items"]}
        assert (rows["local-2"]["state"], rows["local-3"]["labels"], rows["local-3"]["slots"]) == (
            "draining",
            ["gpu"],
            3,
        )
        assert [one["name"] for one in (await call(engine, "worker_list", label="zone=eu"))["items"]] == ["local-3"]
        assert [one["name"] for one in (await call(engine, "worker_list", state="draining"))["items"]] == ["local-2"]
        assert (await call(engine, "worker_resume", name="local-2"))["state"] == "online"
        shown = await call(engine, "worker_group_get", name="spare")
        assert (shown["capacity"], shown["labels"], [row["name"] for row in shown["worker_rows"]]) == (
            3,
            ["zone=eu"],
            ["local-3"],
        )


async def test_a_group_is_renamed_with_its_workers_and_its_context_values(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, worker_groups=("default", "etl")) as engine:
        await call(engine, "context_set", values={"zone": "eu"}, group="etl")
        renamed = await call(engine, "worker_group_update", name="etl", new_name="extract", slots=5)
        assert (renamed["name"], renamed["workers"], renamed["slots"]) == ("extract", ["local-2"], 5)
        assert await groups(engine) == {"default": ["local-1"], "extract": ["local-2"]}
        seen = await call(engine, "context_list", group="extract")
        assert [one["key"] for one in seen["items"]] == ["zone"]
        message = await refused(engine, errors.AlreadyExists, "worker_group_update", name="extract", new_name="default")
        assert "default" in message


async def test_a_group_that_is_used_is_neither_deleted_nor_renamed(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, worker_groups=("default", "etl"), **LATER) as engine:
        assert "local-2" in await refused(engine, errors.AlreadyExists, "worker_group_delete", name="etl")
        await quiet(engine, replicas=1, worker_group="etl")
        assert "deployment quiet" in await refused(
            engine, errors.AlreadyExists, "worker_group_update", name="etl", new_name="x"
        )
        await call(engine, "worker_update", name="local-2", group="default", wait_seconds=0)
        assert "deployment quiet" in await refused(engine, errors.AlreadyExists, "worker_group_delete", name="etl")
        shown = await call(engine, "deployment_get", name="quiet")
        assert [(one["kind"], one["observed"]) for one in shown["drift"]] == [("moved", "local-2 is in group default")]
        plan = await call(engine, "deployment_plan", name="quiet", remove=True)
        await call(engine, "deployment_apply", plan_id=plan["plan_id"])
        assert (await call(engine, "worker_group_delete", name="etl"))["deleted"]
        await refused(engine, errors.NotFound, "worker_group_get", name="etl")
        for operation in ("worker_group_delete", "worker_group_update"):
            more = {"new_name": "x"} if operation == "worker_group_update" else {}
            await refused(engine, errors.InvalidParams, operation, name="default", **more)
        await refused(engine, errors.NotFound, "worker_update", name="local-1", group="etl")
        await refused(engine, errors.NotFound, "worker_drain", name="local-9")


async def test_workers_are_shared_so_an_admin_of_one_tenant_cannot_change_them(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1) as engine:
        for operation, arguments in (
            ("worker_drain", {"name": "local-1"}),
            ("worker_resume", {"name": "local-1"}),
            ("worker_update", {"name": "local-1", "labels": ["x"]}),
            ("worker_group_create", {"name": "x"}),
            ("worker_group_update", {"name": "default", "slots": 1}),
            ("worker_group_delete", {"name": "default"}),
        ):
            with pytest.raises(errors.Forbidden):
                await engine.call(operation, arguments, TENANT_ADMIN)
        assert (await engine.call("worker_group_list", {}, TENANT_ADMIN))["total"] == 1


async def test_a_plan_for_a_group_that_is_renamed_or_drained_meanwhile_is_refused_and_nothing_is_applied(
    tmp_path: Path,
) -> None:
    async with engine_on(tmp_path / "home", workers=2, worker_groups=("default", "etl"), **LATER) as engine:
        await online(engine)
        await call(engine, "workflow_save_draft", document=LISTEN)
        await call(engine, "workflow_publish", slug="listen", type="blueprint")
        wanted = {"name": "quiet", "source": "blueprint:listen@1.0.0", "worker_group": "etl"}
        first, second = [await call(engine, "deployment_plan", **wanted) for _ in range(2)]
        await call(engine, "worker_drain", name="local-2")
        assert "local-2 is drained" in await refused(
            engine, errors.TargetUnavailable, "deployment_apply", plan_id=first["plan_id"]
        )
        await call(engine, "worker_resume", name="local-2")
        await call(engine, "worker_group_update", name="etl", new_name="extract")
        message = await refused(engine, errors.TargetUnavailable, "deployment_apply", plan_id=second["plan_id"])
        assert "local-2 is in group extract now, not in etl" in message
        with pytest.raises(errors.NotFound):
            await call(engine, "deployment_get", name="quiet")
        assert engine.fleet.workload_views(tenant="tenant-a") == []
        again = await call(engine, "deployment_plan", **wanted)
        assert [one["code"] for one in again["warnings"]] == ["missing_group"]


async def test_a_drain_moves_what_can_move_of_deployments_and_of_single_jobs(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await online(engine)
        await quiet(engine, replicas=2)
        for name in ("one", "two"):
            await deploy(engine, WAITING.format(name=name))
        other = replace(ADMIN, tenant="tenant-b")
        await deploy(engine, WAITING.format(name="elsewhere"), other)
        drained = await call(engine, "worker_drain", name="local-2", wait_seconds=20)
        assert (drained["state"], drained["jobs"], drained["stays"]) == ("draining", 0, [])
        assert {one["worker"] for one in drained["moved"]} == {"local-1"}
        there = [*engine.fleet.workload_views(tenant="tenant-a"), *engine.fleet.workload_views(tenant="tenant-b")]
        assert {one.worker for one in there} == {"local-1"} and {one.state for one in there} == {"running"}
        entry = (await call(engine, "deployment_history", name="quiet"))["items"][0]
        assert (entry["action"], entry["by"], entry["summary"]["move"]) == ("reconcile", "alice", 1)
        assert "local-2 is drained" in entry["reason"]
        await deploy(engine, WAITING.format(name="new"), replicas=3)
        assert {one.worker for one in engine.fleet.workload_views(tenant="tenant-a")} == {"local-1"}
        await call(engine, "worker_resume", name="local-2")
        await deploy(engine, WAITING.format(name="newer"))
        assert engine.fleet.workload_views(tenant="tenant-a", job="newer")[0].worker == "local-2"
        shown = await call(engine, "deployment_get", name="quiet")
        assert (shown["state"], shown["drift"]) == ("running", [])


async def test_what_has_no_other_place_stays_and_runs_on_without_drift(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1, **LATER) as engine:
        await quiet(engine, replicas=1)
        await deploy(engine, WAITING.format(name="one"))
        drained = await call(engine, "worker_drain", name="local-1")
        assert (drained["moved"], {one["id"] for one in drained["stays"]}) == ([], {FIRST, "tenant-a/one#0"})
        shown = await call(engine, "deployment_get", name="quiet")
        assert (shown["state"], shown["drift"], shown["revision"]) == ("running", [], 1)
        with pytest.raises(errors.TargetUnavailable, match="not drained"):
            await deploy(engine, WAITING.format(name="new"))


async def test_a_worker_that_comes_back_to_its_group_is_told_no_room_is_missing(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1, **LATER) as engine:
        await quiet(engine, replicas=1)
        await call(engine, "worker_group_create", name="etl")
        away = await call(engine, "worker_update", name="local-1", group="etl")
        assert [one["id"] for one in away["stays"]] == [FIRST]
        back = await call(engine, "worker_update", name="local-1", group="default")
        assert (back["moved"], back["stays"]) == ([], [])


async def test_a_drain_heals_no_other_drift(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await quiet(engine, replicas=2)
        rows = {row.worker: row for row in engine.fleet.stored("tenant-a", "quiet")}
        edited = rows["local-1"].document.replace("STDOUT", "STDERR")
        await engine.database.write(lambda db: db.table("workloads").update(rows["local-1"].id, {"document": edited}))
        await engine.fleet.sync()
        drained = await call(engine, "worker_drain", name="local-2")
        assert [one["id"] for one in drained["moved"]] == [rows["local-2"].id]
        shown = await call(engine, "deployment_get", name="quiet")
        assert [(one["kind"], one["id"]) for one in shown["drift"]] == [("modified", rows["local-1"].id)]


async def test_jobs_do_not_go_to_workers_without_room(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await online(engine)
        await call(engine, "worker_group_update", name="default", slots=1)
        await deploy(engine, WAITING.format(name="one"))
        await deploy(engine, WAITING.format(name="two"))
        with pytest.raises(errors.TargetUnavailable, match="no room"):
            await deploy(engine, WAITING.format(name="three"))
        await call(engine, "worker_group_update", name="default", slots=0)
        await deploy(engine, WAITING.format(name="three"))


async def test_a_job_that_was_filled_in_for_its_worker_moves_only_when_that_can_be_done_again(tmp_path: Path) -> None:
    document = "name: {name}\ninput: {{internal-messages: {{filter-tag: '{{{{zone}}}}'}}}}\noutput: {{print: STDOUT}}"
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await online(engine)
        await call(engine, "context_set", values={"zone": "global"})
        await call(engine, "context_set", values={"zone": "prod"}, environment="prod")
        await call(engine, "worker_drain", name="local-1")
        await deploy(engine, document.format(name="free"))
        await deploy(engine, document.format(name="bound"), environment="prod")
        await call(engine, "worker_resume", name="local-1")
        drained = await call(engine, "worker_drain", name="local-2")
        assert drained["moved"] == [{"id": "tenant-a/free#0", "worker": "local-1"}]
        assert [(one["id"], "deploy it again" in one["reason"]) for one in drained["stays"]] == [
            ("tenant-a/bound#0", True)
        ]


async def test_a_drained_worker_that_is_killed_comes_back_drained(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1, **LATER) as engine:
        await online(engine)
        await call(engine, "worker_drain", name="local-1")
        (worker,) = engine.fleet.workers.values()
        assert worker.pid is not None
        psutil.Process(worker.pid).kill()
        with anyio.fail_after(15):
            assert await engine.fleet.wait(lambda: worker.restarts == 1 and worker.online, 15)
        assert (await call(engine, "worker_list"))["items"][0]["state"] == "draining"
