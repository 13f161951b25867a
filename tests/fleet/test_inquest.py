"""What follows when a job of a deployment ends its worker: held back, quarantined, told, released."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from core.engine import Engine
from core.fleet import inquest
from core.fleet.processes import End
from core.witness import Seen
from tests.engines import ADMIN, engine_on
from tests.operations.test_deployments import apply, deployed, get, plan

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquest, "HOLD_SECONDS", 0.05)


async def _end(engine: Engine, times: int) -> str:
    """Say of the worker of a workload that it ended while that one was at work; the id of the workload."""
    there = engine.fleet.workload_views(tenant=ADMIN.tenant, deployment="demo")
    stores = next(one for one in there if "store" in str(engine.fleet.document(one.id)))
    worker = engine.fleet.workers[stores.worker]
    for _ in range(times):
        seen = Seen(worker.number(stores.id, stores.version), 0, False)
        await engine.fleet.inquest.hold(worker, End(-9, True, seen))
    return stores.id


def _state(engine: Engine, id: str) -> str:
    return next(one.state for one in engine.fleet.workload_views(tenant=ADMIN.tenant) if one.id == id)


async def _up(engine: Engine, id: str) -> None:
    assert await engine.fleet.wait(lambda: _state(engine, id) in ("running", "completed"), 20)


async def _call(engine: Engine, operation: str, /, **arguments: Any) -> dict[str, Any]:
    return await engine.call(operation, arguments, ADMIN)


async def test_a_job_comes_back_by_itself_after_its_first_deaths(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(60):
            await deployed(engine, tmp_path / "store")
            id = await _end(engine, 2)
            assert _state(engine, id) in ("assigned", "stopped")  # the last word of its worker may still be on its way
            await _up(engine, id)
        name = id.partition("/")[2].partition("#")[0]
        runs = (await _call(engine, "run_list", job=name, state="failed"))["items"]
        assert len(runs) == 2 and all(f" while {name} was at work" in one["reason"] for one in runs), runs
        told = await _call(engine, "job_get", name=name)
        assert any("held back" in line["text"] for line in told["log"])


async def test_a_quarantined_job_of_a_deployment_is_told_stays_and_is_released(tmp_path: Path) -> None:
    home, store = tmp_path / "home", tmp_path / "store"
    with anyio.fail_after(120):
        async with engine_on(home, workers=2) as engine:
            await deployed(engine, store)
            id = await _end(engine, 3)
            worker = next(one.worker for one in engine.fleet.workload_views(tenant=ADMIN.tenant) if one.id == id)
            assert _state(engine, id) == "quarantined"
            shown = await get(engine)
            assert shown["state"] == "degraded" and "quarantined" in shown["reason"]
            explained = await _call(engine, "explain", kind="deployment", id="demo")
            assert explained["next"][0]["call"] == "deployment_reconcile"
            assert explained["next"][0]["arguments"] == {"name": "demo", "release": True}
            status = await _call(engine, "engine_status")
            assert status["quarantined"] == [id.partition("#")[0]]
            assert status["worker_deaths"] == {"silent": 3}
            kept = await _call(engine, "deployment_reconcile", name="demo")  # without `release` it is left alone
            assert {(s["action"], s["id"]) for s in kept["steps"]} == {("wait", id)}
            engine.fleet.workers[worker].drained = True  # it is not moved to end the next worker
            moved = await _call(engine, "deployment_reconcile", name="demo", dry_run=True)
            assert id not in {step["id"] for step in moved["steps"] if step["action"] == "move"}
            engine.fleet.workers[worker].drained = False
        async with engine_on(home, workers=2) as engine:
            assert _state(engine, id) == "quarantined"
            assert (await get(engine))["state"] == "degraded"
            released = await _call(engine, "deployment_reconcile", name="demo", release=True)
            assert released["state"] == "running"
            await _up(engine, id)
            await _end(engine, 1)  # the deaths before do not count any more (for its tenant they do: probation)
            await _up(engine, id)


async def test_what_a_worker_said_before_a_quarantine_does_not_end_it_in_the_store(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with anyio.fail_after(60):
        async with engine_on(home) as engine:
            await deployed(engine, tmp_path / "store")
            id = await _end(engine, 2)
            workloads = engine.fleet._workloads
            row = workloads.get(id)
            assert row is not None
            workloads.reported(row, row.version, "running", "", 0)  # is written with the next turn of the loop
            await _end(engine, 1)  # is written at once
        async with engine_on(home) as engine:
            assert _state(engine, id) == "quarantined"


async def test_another_version_that_is_applied_runs_at_once(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1) as engine:
        with anyio.fail_after(60):
            await deployed(engine, tmp_path / "store")
            id = await _end(engine, 3)
            assert _state(engine, id) == "quarantined"
            await apply(engine, await plan(engine, tmp_path / "other"))
            await _up(engine, id)


async def test_an_end_that_nobody_is_to_blame_for_changes_nothing(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1) as engine:
        with anyio.fail_after(60):
            await deployed(engine, tmp_path / "store")
            worker = engine.fleet.workers["local-1"]
            for seen in (None, Seen(0, 0, False), Seen(99, 0, False)):
                for _ in range(3):
                    await engine.fleet.inquest.hold(worker, End(-9, True, seen))
            assert engine.fleet.quarantined() == [] and not engine.fleet.inquest.deaths
