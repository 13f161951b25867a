"""kill -9 of the owner at every boundary of an apply of many actions: the next owner, another process, ends in the
same state as if nothing had happened, and no action is done twice."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.deployments.status import up
from core.documents import canonical
from core.engine import Engine
from core.model.states import PlanState
from tests import waiting
from tests.deployments.documents import pairs
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio

CHILD = Path(__file__).with_name("apply_child.py")
ROOT = Path(__file__).parents[2]
STEADY = {"workers": 2, "drain_seconds": 1.0, "adopt": True}  # each run is on a copy of one home


async def prepared(home: Path, pairs_of_jobs: int) -> str:
    """A home with a saved plan that nothing was applied of."""
    async with engine_on(home, **STEADY) as engine:
        await engine.call("workflow_save_draft", {"document": pairs(pairs_of_jobs)}, ADMIN)
        await engine.call("workflow_publish", {"slug": "pairs"}, ADMIN)
        made = await engine.call("deployment_plan", {"name": "big", "source": "workflow:pairs@1"}, ADMIN)
        assert made["summary"]["create"] == 5 * pairs_of_jobs and made["warnings"] == []
        return str(made["plan_id"])


def child(home: Path, plan_id: str, fatal: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), str(home), plan_id, str(fatal)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})


async def digest(engine: Engine) -> str:
    """Everything that was decided and everything that runs, without times and process ids."""

    def rows(db: Any) -> list[Any]:
        return [
            list(db.query("SELECT tenant, name, revision, state, reason, source, desired, gate FROM deployments")),
            list(db.query("SELECT name, revision, action, plan_id, username, summary FROM deployment_history")),
            list(db.query("SELECT id, worker, version, document FROM workloads ORDER BY id")),
            list(db.query("SELECT id, state FROM plans")),
        ]

    stored = await engine.database.read(rows)
    seen = [
        [one.id, one.worker, one.version, up(one)]
        for one in engine.fleet.workload_views(tenant=ADMIN.tenant, deployment="big")
    ]
    return canonical.digest([stored, sorted(seen)])


async def taken_up(home: Path, plan_id: str) -> tuple[str, str]:
    """What another process makes of a home whose owner was killed: (what became of the plan, state digest)."""
    async with engine_on(home, **STEADY) as engine:
        with anyio.fail_after(60):
            try:
                found = await engine.call("deployment_apply", {"plan_id": plan_id}, ADMIN)
                met = PlanState.OPEN.value
                assert found["state"] == "running"
            except errors.PlanUsed as used:
                met = PlanState.APPLIED.value
                assert used.details["revision"] == 1, "the refusal tells what was reached"
            await engine.rollouts.reached(ADMIN.tenant, "big", 60)
            there = engine.fleet.workload_views
            assert await engine.fleet.wait(
                lambda: all(up(row) for row in there(tenant=ADMIN.tenant, deployment="big")), 30
            )
        history = await engine.call("deployment_history", {"name": "big"}, ADMIN)
        assert [row["plan_id"] for row in history["items"]] == [plan_id], "applied exactly once"
        with pytest.raises(errors.PlanUsed):
            await engine.call("deployment_apply", {"plan_id": plan_id}, ADMIN)
        return met, await digest(engine)


async def undisturbed(template: Path, home: Path, plan_id: str) -> tuple[int, str]:
    """How many boundaries there are, and the state after an apply that nothing happened to."""
    shutil.copytree(template, home)
    process = child(home, plan_id, 0)
    out, _ = await anyio.to_thread.run_sync(process.communicate)
    assert process.returncode == 0
    met, state = await taken_up(home, plan_id)
    assert met == PlanState.APPLIED
    return int(out), state


@pytest.mark.parametrize(
    ("pairs_of_jobs", "instants"),
    [pytest.param(3, 1, id="ci"), pytest.param(8, 100, id="full", marks=pytest.mark.soak)],
)
async def test_an_apply_that_is_killed_anywhere_ends_in_the_same_state(
    tmp_path: Path, pairs_of_jobs: int, instants: int
) -> None:
    """The whole: at each boundary, and timing says how many there are; else one of each kind."""
    template = tmp_path / "template"
    plan_id = await prepared(template, pairs_of_jobs)
    count, wanted = await undisturbed(template, tmp_path / "undisturbed", plan_id)
    jobs = 2 * pairs_of_jobs
    assert count > 2 * jobs, "every job is told to a worker"
    met: dict[str, int] = {}
    commit, first = 3, 6  # the boundaries before the apply is committed, and behind the first that a worker is told
    amid = {first + jobs // 2, first + jobs + jobs // 2}  # of what each of the two workers is told
    chosen = {commit, commit + 1, first, *amid, count - 1} if jobs == 6 else set(range(1, count + 1))
    for fatal in sorted(chosen):
        home = tmp_path / f"at-{fatal}"
        shutil.copytree(template, home)
        process = child(home, plan_id, fatal)
        await anyio.to_thread.run_sync(process.communicate)
        assert process.returncode in (-signal.SIGKILL, 0)
        before, state = await taken_up(home, plan_id)
        met[before] = met.get(before, 0) + 1
        assert state == wanted, f"killed at boundary {fatal} of {count}"
        shutil.rmtree(home)
    assert met[PlanState.OPEN] >= 1 and met[PlanState.APPLIED] >= 4, met
    chance = random.Random(11)
    for number in range(instants):
        home = tmp_path / f"instant-{number}"
        shutil.copytree(template, home)
        process = child(home, plan_id, 0)
        await waiting.pause(chance.uniform(0.3, 3.0))  # the moment is what is random here
        process.kill()
        await anyio.to_thread.run_sync(process.communicate)
        _, state = await taken_up(home, plan_id)
        assert state == wanted
        shutil.rmtree(home)
