"""Since when a thing is as it is, over kills and restarts of the engine and of workers."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core import clock
from core.engine import Engine
from core.store import conditions
from tests import waiting
from tests.engines import ADMIN, engine_on
from tests.operations.test_deployments import apply, deployed, get, plan

pytestmark = pytest.mark.anyio


CHILD = Path(__file__).with_name("engine_child.py")
ROOT = Path(__file__).parents[2]


@contextmanager
def killed(home: Path) -> Iterator[None]:
    """An engine on a home in a process of its own, which is killed at the end."""
    command = [sys.executable, str(CHILD), str(home)]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        try:
            yield
        finally:
            process.kill()


def stored(home: Path, kind: str, name: str) -> tuple[str, int, int] | None:
    """Health, since and failures of a thing as the store has them."""
    with contextlib.closing(sqlite3.connect(f"file:{home}/sluice.db?mode=ro", uri=True)) as db, db:
        found = db.execute(
            "SELECT health, since_ns, failures FROM conditions WHERE kind = ? AND name = ?", (kind, name)
        ).fetchone()
    db.close()
    return found


async def workload(engine: Engine, job: str) -> dict[str, Any]:
    (found,) = [one for one in (await get(engine))["workloads"] if one["job"] == job]
    return found


async def failing(engine: Engine) -> str:
    """The job of the deployment that fails."""
    found = await waiting.until(lambda: get(engine), lambda one: any("failures" in row for row in one["workloads"]))
    return next(row["job"] for row in found["workloads"] if "failures" in row)


async def test_what_fails_keeps_its_since_over_a_kill_of_the_engine(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (tmp_path / "file").write_text("not a directory")
    async with engine_on(home) as engine:
        await apply(engine, await plan(engine, tmp_path / "file"))
        job = await failing(engine)
        before, place = await workload(engine, job), await get(engine)
    assert before["health"] == "failing" and place["health"] == "degraded"
    ended = stored(home, "workload", f"{job}#0")
    assert ended is not None and ended[0] == "failing" and clock.iso(ended[1]) == before["since"]
    with killed(home):
        waiting.until_now(
            lambda: stored(home, "workload", f"{job}#0"), lambda now: now is not None and now[2] > ended[2], seconds=60
        )
    async with engine_on(home) as engine:
        again, there = await workload(engine, job), await get(engine)
        assert (again["health"], again["since"]) == ("failing", before["since"])
        assert again["first_failed_at"] == before["first_failed_at"] and again["failures"] > before["failures"]
        assert (there["health"], there["since"]) == ("degraded", place["since"])
        gone = await engine.database.read(conditions.outages, ADMIN.tenant, 0)
        assert {one.cause for one in gone} == {"engine-stopped", "engine-lost"}
        (tmp_path / "file").unlink()
        well = await waiting.until(lambda: get(engine), lambda one: one["health"] == "healthy", seconds=60)
        assert well["since"] > again["since"]
        ended_all = await engine.database.read(conditions.outages, ADMIN.tenant, 0)
        assert all(one.ended_at_ns > one.began_at_ns for one in ended_all)


async def test_what_was_up_when_the_engine_was_killed_was_down_meanwhile(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home) as engine:
        await deployed(engine, tmp_path / "store")
        before = await get(engine)
    with killed(home):
        waiting.until_now(
            lambda: stored(home, "deployment", "demo"), lambda now: now is not None and now[0] == "healthy"
        )
    async with engine_on(home, workers=0) as engine:
        there = await get(engine)
        assert {one["health"] for one in there["workloads"]} == {"down"}
        assert all(one["since"] < clock.iso(engine.started_at_ns) for one in there["workloads"])
        assert there["health"] == "degraded" and there["since"] < clock.iso(engine.started_at_ns)
    async with engine_on(home) as engine:
        well = await waiting.until(lambda: get(engine), lambda one: one["health"] == "healthy")
        assert well["since"] > before["since"]
        assert {one["health"] for one in well["workloads"]} == {"healthy"}


async def test_no_outage_begins_before_its_workload_was_up(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home) as engine:
        await deployed(engine, tmp_path / "store")
        names = [one["id"].partition("/")[2] for one in (await get(engine))["workloads"]]
        stopped = engine.now_ns()
    with killed(home):
        up = waiting.until_now(
            lambda: {name: stored(home, "workload", name) for name in names},
            lambda now: all(one is not None and one[0] == "healthy" and one[1] > stopped for one in now.values()),
        )
    with contextlib.closing(sqlite3.connect(home / "sluice.db")) as db, db:
        db.executescript("UPDATE engine_signs SET at_ns = at_ns - 3600000000000; DELETE FROM messages")
    os.utime(home / "engine.lock", (0, 0))
    async with engine_on(home, workers=0) as engine:
        gone = await engine.database.read(conditions.outages, ADMIN.tenant, 0)
        lost = {one.workload: one.began_at_ns for one in gone if one.cause == "engine-lost"}
        assert lost == {name: one[1] for name, one in up.items() if one is not None}


async def test_workloads_of_a_killed_worker_were_down_for_a_while(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2) as engine:
        await deployed(engine, tmp_path / "store")
        mine = {one["job"] for one in (await get(engine))["workloads"] if one["worker"] == "local-2"}
        worker = engine.fleet.workers["local-2"]
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        found = await waiting.until(
            lambda: engine.database.read(conditions.outages, ADMIN.tenant, 0),
            lambda rows: rows and all(one.ended_at_ns for one in rows),
        )
        assert {(one.workload, one.worker, one.cause, one.deployment) for one in found} == {
            (f"{job}#0", "local-2", "worker-lost", "demo") for job in mine
        }
