"""What goes wrong around a plan and its apply: a declared error, and no half state. The ids name the requirement.

R01 stale, edited, foreign, used plans and two appliers; R03 definitions and groups that change meanwhile; P13 to P16
resuming, staleness, single use, concurrency.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock, errors
from core.engine import Engine
from core.model.principal import Principal, Role
from core.model.states import WorkerState
from tests.deployments.documents import pairs
from tests.engines import ADMIN, USER, deploy, engine_on
from tests.operations.test_deployments import SOURCE, apply, deployed, plan

pytestmark = pytest.mark.anyio

COLLEAGUE = replace(ADMIN, principal=Principal("carol", Role.ADMIN, ("tenant-a",)))
FOREIGN = replace(ADMIN, tenant="tenant-b")


@dataclass
class Scene:
    """An engine with one deployment, and a plan for its next version."""

    engine: Engine
    home: Path
    made: dict[str, Any]
    monkeypatch: pytest.MonkeyPatch

    async def write(self, sql: str) -> None:
        await self.engine.database.write(lambda db: db.execute(sql).rowcount)

    async def rows(self) -> list[Any]:
        """All that an apply writes."""
        tables = ("deployments", "deployment_history")

        def read(db: Any) -> list[Any]:
            wanted = "SELECT id, worker, version, document FROM workloads ORDER BY id"
            return [*(list(db.query(f"SELECT * FROM {table}")) for table in tables), list(db.query(wanted))]

        return await self.engine.database.read(read)


Meanwhile = Callable[[Scene], Awaitable[Any]]


async def nothing(scene: Scene) -> None:
    """Only the caller or the plan is wrong."""


async def another_apply(scene: Scene) -> None:
    await apply(scene.engine, await plan(scene.engine, scene.home / "elsewhere"), wait_seconds=0)


async def a_removal(scene: Scene) -> None:
    gone = await scene.engine.call("deployment_plan", {"name": "demo", "remove": True}, ADMIN)
    await apply(scene.engine, gone)


async def used(scene: Scene) -> None:
    await apply(scene.engine, scene.made, wait_seconds=0)


async def discarded(scene: Scene) -> None:
    await scene.engine.call("plan_discard", {"plan_id": scene.made["plan_id"]}, ADMIN)


async def edited_wish(scene: Scene) -> None:
    await scene.write("UPDATE plans SET body = replace(body, 'hello', 'howdy')")


async def time_passes(scene: Scene) -> None:
    later = clock.now_ns() + 2 * scene.engine.settings.plan_ttl_seconds * clock.NANOSECONDS
    scene.monkeypatch.setattr(scene.engine, "now_ns", lambda: later)


async def the_workers_go(scene: Scene) -> None:
    for worker in scene.engine.fleet.workers.values():
        worker.state = WorkerState.LOST


async def the_store_is_full(scene: Scene) -> None:
    scene.monkeypatch.setattr(scene.engine.database, "_add", lambda write, short: write[2](None, _full()))


def _full() -> errors.StorageUnavailable:
    return errors.StorageUnavailable("The store cannot be used right now: disk is full.")


async def the_workflow_is_retired(scene: Scene) -> None:
    await scene.engine.call("workflow_save_draft", {"document": pairs(1)}, ADMIN)
    await scene.engine.call("workflow_publish", {"slug": "pairs"}, ADMIN)
    scene.made = await scene.engine.call("deployment_plan", {"name": "other", "source": "workflow:pairs@1"}, ADMIN)
    await scene.engine.call("workflow_retire", {"slug": "pairs", "version": "1"}, ADMIN)


REFUSED: list[tuple[str, Meanwhile, Any, type[errors.SluiceError], str]] = [
    ("R01-P14-stale", another_apply, ADMIN, errors.StalePlan, "has moved since this plan was made on revision 1"),
    ("R01-P14-removed-meanwhile", a_removal, ADMIN, errors.StalePlan, "remove of"),
    ("R01-P15-used", used, ADMIN, errors.PlanUsed, "was applied already as revision 2"),
    ("R01-discarded", discarded, ADMIN, errors.PlanUsed, "was discarded"),
    ("R01-edited", edited_wish, ADMIN, errors.Internal, "not the one that was made"),
    ("R01-expired", time_passes, ADMIN, errors.PlanExpired, "expired at"),
    ("R01-other-principal", nothing, COLLEAGUE, errors.Forbidden, "made by alice"),
    ("R01-other-tenant", nothing, FOREIGN, errors.NotFound, "no plan"),
    ("R01-user", nothing, USER, errors.Forbidden, "role admin"),
    ("R01-read-only", nothing, replace(ADMIN, allow_write=False), errors.WriteDisabled, "read-only"),
    ("R03-workers-gone", the_workers_go, ADMIN, errors.TargetUnavailable, "workers that are not there"),
    ("R06-disk-full", the_store_is_full, ADMIN, errors.StorageUnavailable, "disk is full"),
]


@pytest.mark.parametrize(
    ("meanwhile", "caller", "error", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_an_apply_that_cannot_be_is_refused_and_changes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Meanwhile,
    caller: Any,
    error: type[errors.SluiceError],
    said: str,
) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deployed(engine, tmp_path / "store")
        made = await plan(engine, tmp_path / "other")
        scene = Scene(engine, tmp_path, made, monkeypatch)
        await meanwhile(scene)
        await engine.rollouts.reached(ADMIN.tenant, "demo", 20)
        before = await scene.rows()
        with pytest.raises(error, match=said) as refused:
            await apply(engine, made, caller)
        assert refused.value.hint or error in (errors.NotFound, errors.StorageUnavailable)
        assert await scene.rows() == before
        monkeypatch.undo()


async def test_r03_a_plan_of_a_workflow_that_was_retired_since_is_applied_as_it_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_on(tmp_path / "home") as engine:
        scene = Scene(engine, tmp_path, {}, monkeypatch)
        await the_workflow_is_retired(scene)
        result = await apply(engine, scene.made)
        assert (result["deployment"], result["state"]) == ("other", "running")


async def test_r04_a_worker_that_dies_during_an_apply_comes_back_and_the_apply_ends_well(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2) as engine:
        made = await plan(engine, tmp_path / "store")
        worker = engine.fleet.workers["local-1"]

        def kill_at_the_first_sign(kind: str, data: dict[str, Any]) -> None:
            if kind == "progress" and worker.pid is not None:
                forget()
                os.kill(worker.pid, signal.SIGKILL)

        forget = engine.subscribe(kill_at_the_first_sign)
        with anyio.fail_after(60):
            result = await apply(engine, made)
        assert (result["state"], result["revision"]) == ("running", 1)
        found = await engine.call("deployment_history", {"name": "demo"}, ADMIN)
        assert [row["plan_id"] for row in found["items"] if row["action"] == "apply"] == [made["plan_id"]]


async def test_r03_a_job_of_that_name_that_came_meanwhile_is_left_alone(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        made = await plan(engine, tmp_path / "store")
        await deploy(engine, "{name: demo--print, input: {echo: {event: x}}, output: {discard: {}}}")
        with pytest.raises(errors.AlreadyExists, match="demo--print"):
            await apply(engine, made)
        kept = engine.fleet.workload_views(tenant=ADMIN.tenant, job="demo--print")
        assert [one.deployment for one in kept] == [""]
        with pytest.raises(errors.NotFound):
            await engine.call("deployment_get", {"name": "demo"}, ADMIN)


@pytest.mark.parametrize(
    "name", ["other:demo", "../demo", "tenant-b/demo", "demo\n", "de\u200bmo", "DEMO", "a" * 64, "", "demo--x", "-"]
)
async def test_t_names_that_reach_for_others_are_refused(tmp_path: Path, name: str) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        with pytest.raises(errors.InvalidParams):
            await engine.call("deployment_plan", {"name": name, "source": SOURCE}, ADMIN)
