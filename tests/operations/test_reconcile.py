"""Deployments that keep themselves: drift of every kind on real workers is seen, healed and recorded, once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import orjson
import psutil
import pytest
import structlog

from core import clock, errors
from core.engine import Engine
from core.model import frames
from core.model.workload import WorkloadRow
from core.store import workloads as workload_table
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio
LISTEN = """
kind: blueprint
slug: listen
version: 1.0.0
title: Wait for messages
parameters: {properties: {tag: {type: string, default: x}}}
jobs:
  - {name: job, input: {internal-messages: {filter-tag: "{{tag}}"}}, output: {print: STDOUT}}
"""
SOON = {"reconcile_interval_seconds": 0.1, "reconcile_patience_seconds": 0.5}
LATER = {"reconcile_interval_seconds": 3600.0}
JOB = "quiet--listen"
FIRST = f"tenant-a/{JOB}#0"


async def quiet(engine: Engine, replicas: int = 2, **more: Any) -> dict[str, Any]:
    """A deployment of jobs that do nothing until a message comes, so that nothing else writes."""
    await engine.call("workflow_save_draft", {"document": LISTEN}, ADMIN)
    await engine.call("workflow_publish", {"slug": "listen", "type": "blueprint"}, ADMIN)
    wanted = {"name": "quiet", "source": "blueprint:listen@1.0.0", "replicas": {"listen": replicas}, **more}
    made = await engine.call("deployment_plan", wanted, ADMIN)
    result = await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
    assert result["state"] == "running", result
    return result


async def call(engine: Engine, operation: str, **arguments: Any) -> dict[str, Any]:
    return await engine.call(operation, arguments, ADMIN)


async def history(engine: Engine) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await call(engine, "deployment_history", name="quiet"))["items"]
    return items


async def healed(engine: Engine, entries: int = 2) -> dict[str, Any]:
    """Wait until the history has so many entries and the deployment runs; returns the newest."""
    told = anyio.Event()

    def look(kind: str, data: dict[str, Any]) -> None:
        if kind == "deployment":
            told.set()

    forget = engine.subscribe(look)
    try:
        with anyio.fail_after(20):
            while True:
                found = await history(engine)
                state = (await call(engine, "deployment_get", name="quiet"))["state"]
                if len(found) >= entries and state == "running":
                    return found[0]
                await told.wait()
                told = anyio.Event()
    finally:
        forget()


async def edit(engine: Engine, id: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the stored document of a workload behind the engine's back."""

    def write(db: Any) -> None:
        row = db.table("workloads").get(id)
        document = orjson.loads(row["document"])
        change(document)
        db.table("workloads").update(id, {"document": orjson.dumps(document).decode()})

    await engine.database.write(write)


async def row(engine: Engine, id: str) -> WorkloadRow | None:
    rows = await engine.database.read(workload_table.all_rows)
    return next((one for one in rows if one.id == id), None)


async def changes(engine: Engine) -> int:
    """SQLite's own count of the rows that were ever inserted, changed or deleted."""
    total: int = await engine.database.write(lambda db: db.conn.total_changes)
    return total


async def steady(engine: Engine) -> None:
    """Wait until what the workers reported is written, and the condition that follows from it."""
    await engine.rollouts.reached("tenant-a", "quiet", 10)
    await engine.watcher.compare(everything=True)
    await engine.database.write(lambda db: None)


async def test_a_hand_edit_is_healed_by_itself_and_recorded(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **SOON) as engine:
        await quiet(engine)
        before = await row(engine, FIRST)
        assert before is not None
        await edit(engine, FIRST, lambda document: document.update(output={"discard": {}}))
        entry = await healed(engine)
        assert (entry["by"], entry["action"], entry["surface"]) == ("reconcile", "reconcile", "internal")
        assert "1 modified" in entry["reason"] and "document/output/print" in entry["reason"]
        after = await row(engine, FIRST)
        assert after is not None and after.document == before.document
        assert (await call(engine, "deployment_get", name="quiet"))["drift"] == []


async def test_a_second_pass_without_drift_writes_nothing(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await quiet(engine)
        await engine.database.write(workload_table.replace, "tenant-a", "quiet", JOB, [])
        first = await call(engine, "deployment_reconcile", name="quiet")
        assert {one["kind"] for one in first["drift"]} == {"missing"} and first["state"] == "running"
        await steady(engine)
        before, commits = await changes(engine), engine.database.commits
        second = await call(engine, "deployment_reconcile", name="quiet")
        assert (second["drift"], second["steps"], second["revision"]) == ([], [], first["revision"])
        assert engine.database.commits == commits
        assert await changes(engine) == before


async def test_the_keeper_writes_nothing_while_there_is_no_drift(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await quiet(engine)
        await call(engine, "deployment_set", name="quiet", interval_seconds=1)
        await steady(engine)
        before = engine.database.commits
        for turn in engine.keeper._turns:
            engine.keeper._turns[turn] = engine.keeper._turns[turn].__class__(0.0)
        assert 0 < await engine.keeper.round() <= 1.0
        assert engine.database.commits == before


async def test_a_dry_run_shows_drift_and_steps_and_changes_nothing(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await quiet(engine)
        await edit(engine, FIRST, lambda document: document.update(name="other"))
        await steady(engine)
        await call(engine, "deployment_reconcile", name="quiet", dry_run=True)  # the drift is seen, and that is kept
        await steady(engine)
        before = await changes(engine)
        shown = await call(engine, "deployment_reconcile", name="quiet", dry_run=True)
        (drift,), (step,) = shown["drift"], shown["steps"]
        assert (drift["kind"], drift["id"], drift["fields"]) == ("modified", FIRST, ["document/name"])
        assert (step["action"], step["id"]) == ("assign", FIRST)
        assert await changes(engine) == before
        assert len(await history(engine)) == 1


async def test_rows_that_somebody_deletes_adds_or_moves_end_as_they_were_applied(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **SOON) as engine:
        await quiet(engine, replicas=3)
        second = await row(engine, f"tenant-a/{JOB}#1")
        assert second is not None

        def write(db: Any) -> None:
            more = dataclasses.replace(second, id="tenant-a/quiet--more#0", job="quiet--more")
            other = "local-1" if second.worker == "local-2" else "local-2"
            db.table("workloads").delete(FIRST)
            db.table("workloads").update(second.id, {"worker": other})
            db.table("workloads").insert(dataclasses.asdict(more))

        await engine.database.write(write)
        await engine.fleet.sync()  # as another apply would: what was edited runs
        entry = await healed(engine)
        assert entry["reason"].startswith("1 missing, 1 moved, 1 extra: ")
        assert await row(engine, "tenant-a/quiet--more#0") is None
        back = await row(engine, second.id)
        assert back is not None and back.worker == second.worker
        with anyio.fail_after(10):
            while (held := await engine.fleet.holdings()).stray or held.nothing or held.another:
                await engine.fleet.wait(lambda: False, 0.05)
        shown = await call(engine, "deployment_get", name="quiet")
        assert (shown["workloads_up"], shown["drift"], shown["state"]) == ("3/3", [], "running")


async def test_what_a_worker_holds_against_its_orders_is_seen_and_mended(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1, **LATER) as engine:
        await quiet(engine)
        (worker,) = engine.fleet.workers.values()
        assert worker.channel is not None
        told = await row(engine, FIRST)
        assert told is not None
        edited = orjson.dumps({**orjson.loads(told.document), "output": {"discard": {}}}).decode()
        version, replica, document = told.version, told.replica, told.document
        for frame in (
            frames.Assign(told.id, told.tenant, told.job, version, replica, edited),
            frames.Unassign(f"tenant-a/{JOB}#1"),
            frames.Assign("tenant-a/quiet--stray#0", told.tenant, "quiet--stray", version, replica, document),
        ):
            worker.channel.send(frames.encode(frame))
        found = await call(engine, "deployment_reconcile", name="quiet")
        kinds = {one["id"].rpartition("/")[2]: one["kind"] for one in found["drift"]}
        assert kinds == {f"{JOB}#0": "modified", f"{JOB}#1": "out-of-sync", "quiet--stray#0": "extra"}
        again = await call(engine, "deployment_reconcile", name="quiet")
        assert (again["drift"], again["state"]) == ([], "running")


async def test_a_manual_deployment_shows_drift_and_is_healed_only_on_demand(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **SOON) as engine:
        await quiet(engine)
        said = await call(engine, "deployment_set", name="quiet", reconcile="manual")
        assert (said["reconcile"], said["changed"]) == ("manual", True)
        assert not (await call(engine, "deployment_set", name="quiet", reconcile="manual"))["changed"]
        await edit(engine, FIRST, lambda document: document.update(output={"discard": {}}))
        with anyio.fail_after(10):
            while not (await call(engine, "deployment_get", name="quiet"))["drift"]:
                await engine.keeper.round()
        shown = await call(engine, "deployment_get", name="quiet")
        assert (shown["state"], shown["reconcile"]["mode"], shown["revision"]) == ("degraded", "manual", 1)
        listed = (await call(engine, "deployment_list"))["items"][0]
        assert (listed["drift"], listed["reconcile"]) == (1, "manual")
        assert (await call(engine, "deployment_reconcile", name="quiet"))["state"] == "running"
        assert (await history(engine))[0]["by"] == "alice"


async def test_muted_drift_is_shown_and_left_alone(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **SOON) as engine:
        await quiet(engine)
        ignore = [f"job:{JOB}/document/output"]
        assert (await call(engine, "deployment_set", name="quiet", ignore=ignore))["ignore"] == ignore
        await edit(engine, FIRST, lambda document: document.update(output={"discard": {}}))
        await engine.database.write(lambda db: db.table("workloads").delete(f"tenant-a/{JOB}#1"))
        entry = await healed(engine)
        assert "1 missing" in entry["reason"] and "modified" not in entry["reason"]
        shown = await call(engine, "deployment_get", name="quiet")
        assert [(one["kind"], one["muted"]) for one in shown["drift"]] == [("modified", True)]
        assert (shown["state"], shown["health"]) == ("running", "healthy")
        kept = await row(engine, FIRST)
        assert kept is not None and orjson.loads(kept.document)["output"] == {"discard": {}}
        with pytest.raises(errors.InvalidParams):
            await call(engine, "deployment_set", name="quiet", ignore=["nonsense"])


async def test_a_muted_edit_runs(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1, **SOON) as engine:
        await quiet(engine)
        await call(engine, "deployment_set", name="quiet", ignore=[f"job:{JOB}/document"])
        await edit(engine, FIRST, lambda document: document.update(output={"discard": {}}))

        def told() -> bool:
            return engine.fleet.document(FIRST)["output"] == {"discard": {}} and engine.fleet.settled([FIRST])

        with anyio.fail_after(15):
            assert await engine.fleet.wait(told, 15)
        shown = await call(engine, "deployment_get", name="quiet")
        assert (shown["state"], shown["revision"], len(shown["drift"])) == ("running", 1, 1)
        assert not (await engine.fleet.holdings()).another


async def test_an_edit_that_is_no_json_is_replaced_by_what_was_applied(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1, **SOON) as engine:
        await quiet(engine)
        for text in ("{not json", '{"input": 7}', "[]"):
            entries = len(await history(engine))
            await engine.database.write(lambda db, text=text: db.table("workloads").update(FIRST, {"document": text}))
            await healed(engine, entries + 1)
        mended = await row(engine, FIRST)
        assert mended is not None and orjson.loads(mended.document)["name"] == JOB


def _never(*_: Any) -> Any:
    raise OSError("no more processes")


async def test_replicas_of_a_worker_that_stays_away_move_within_the_group_and_stay_there(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **SOON) as engine:
        applied = await quiet(engine)
        lost = engine.fleet.workers[applied["workloads"][0]["worker"]]
        other = next(name for name in engine.fleet.workers if name != lost.name)
        spawn, engine.fleet.processes.spawn = engine.fleet.processes.spawn, _never
        assert lost.pid is not None
        psutil.Process(lost.pid).kill()
        entry = await healed(engine)
        assert (
            entry["by"] == "reconcile"
            and entry["summary"]["move"] == 1
            and f"{lost.name} -> {other}" in entry["reason"]
        )
        engine.fleet.processes.spawn = spawn
        with anyio.fail_after(20):
            assert await engine.fleet.wait(lambda: lost.online, 15)
        await engine.keeper.round()
        shown = await call(engine, "deployment_get", name="quiet")
        assert {one["worker"] for one in shown["workloads"]} == {other}
        assert len(await history(engine)) == 2


async def test_a_worker_that_comes_back_in_time_moves_nothing_and_writes_no_history(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **{**SOON, "reconcile_patience_seconds": 30.0}) as engine:
        applied = await quiet(engine)
        lost = engine.fleet.workers[applied["workloads"][0]["worker"]]
        assert lost.pid is not None
        psutil.Process(lost.pid).kill()
        with anyio.fail_after(20):
            assert await engine.fleet.wait(lambda: lost.restarts == 1 and lost.online, 15)
            assert await engine.fleet.wait(lambda: engine.fleet.settled([FIRST]), 10)
        await engine.keeper.round()
        assert len(await history(engine)) == 1
        assert (await call(engine, "deployment_get", name="quiet"))["workloads"][0]["worker"] == lost.name


async def test_a_worker_that_never_comes_up_again_is_gone_however_often_it_is_started(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **SOON) as engine:
        applied = await quiet(engine)
        lost = engine.fleet.workers[applied["workloads"][0]["worker"]]
        spawn = engine.fleet.processes.spawn

        def dying(name: str, settings: Any, sock: Any) -> Any:
            child = spawn(name, settings, sock)
            child.kill()
            return child

        engine.fleet.processes.spawn = dying
        assert lost.pid is not None
        psutil.Process(lost.pid).kill()
        assert (await healed(engine))["summary"]["move"] == 1
        assert lost.restarts > 1


async def test_a_job_that_always_fails_is_neither_moved_nor_written_again_and_again(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **SOON) as engine:
        await quiet(engine, replicas=1)

        def failing(document: dict[str, Any]) -> None:
            document["input"] = {"exec": {"command": "echo hi", "trigger": {"interval": "1s"}}}

        await call(engine, "deployment_set", name="quiet", ignore=[f"job:{JOB}/document"])
        await edit(engine, FIRST, failing)
        await engine.fleet.sync()

        def restarted() -> bool:
            return any(one.restarts > 1 for one in engine.fleet.workload_views(tenant="tenant-a", job=JOB))

        with anyio.fail_after(20):
            assert await engine.fleet.wait(restarted, 15)
        await engine.keeper.round()
        assert len(await history(engine)) == 1
        shown = await call(engine, "deployment_reconcile", name="quiet", dry_run=True)
        assert {step["action"] for step in shown["steps"]} == {"wait"}
        assert shown["state"] == "degraded" and "exec" in shown["reason"]


async def test_a_worker_killed_while_it_is_being_mended_ends_in_the_applied_state(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await quiet(engine, replicas=4)
        await engine.database.write(workload_table.replace, "tenant-a", "quiet", JOB, [])
        (worker, _) = engine.fleet.workers.values()
        result: dict[str, Any] = {}

        async def mend() -> None:
            result.update(await call(engine, "deployment_reconcile", name="quiet", wait_seconds=20))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(mend)
                for _ in range(3):
                    if await engine.fleet.wait(lambda: worker.pid is not None, 10) and worker.pid is not None:
                        psutil.Process(worker.pid).kill()
                        assert await engine.fleet.wait(lambda: not worker.online, 10)
        assert result["state"] == "running"
        shown = await call(engine, "deployment_get", name="quiet")
        assert (shown["workloads_up"], shown["drift"]) == ("4/4", [])


async def test_a_deployment_that_moves_during_a_reconcile_refuses_it_and_stays_whole(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await quiet(engine)
        await engine.database.write(workload_table.replace, "tenant-a", "quiet", JOB, [])
        outcomes: list[str] = []

        async def one() -> None:
            try:
                outcomes.append((await call(engine, "deployment_reconcile", name="quiet"))["state"])
            except errors.Busy as error:
                outcomes.append(error.code)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)
        # Who came early finds it moved, unless one after the other came; who came late finds it mended.
        assert "running" in outcomes and set(outcomes) <= {"busy", "running"}
        assert len(await history(engine)) == 2


async def test_an_engine_that_starts_with_fewer_workers_waits_before_it_moves_anything_and_then_moves_once(
    tmp_path: Path,
) -> None:
    patience = 2.0
    async with engine_on(tmp_path / "home", workers=2, **LATER) as engine:
        await quiet(engine, replicas=4)
        await call(engine, "deployment_set", name="quiet", interval_seconds=1)
    keeping = {"reconcile_interval_seconds": 0.1, "reconcile_patience_seconds": patience}
    with structlog.testing.capture_logs() as lines:
        async with engine_on(tmp_path / "home", workers=1, **keeping) as engine:
            found = await healed(engine)
            assert clock.monotonic() - engine.fleet.started >= patience
            assert len(await history(engine)) == 2, "all of it is one revision"
            assert "local-2 -> local-1" in found["reason"] and "worker-offline" in found["reason"]
            shown = await call(engine, "deployment_get", name="quiet", detail="detailed")
    assert shown["placement"] == {JOB: ["local-1"] * 4}
    (told,) = [line for line in lines if line["event"] == "workers_missing"]
    assert told["workloads"] == {"local-2": 2}
