"""Which workloads, jobs and deployments a list shows."""

from __future__ import annotations

from typing import Any

import pytest

from core import errors
from core.engine import Engine
from core.fleet import workload_listing
from core.fleet.workload_listing import Wanted
from core.jobs import listing
from core.model.condition import Condition, Health
from core.model.workload import WorkloadView, id_of
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio
ECHO = "name: {name}\ninput: {{echo: {{event: a, trigger: {{interval: 1h}}}}}}\noutput: {{discard: {{}}}}"


def view(job: str, replica: int = 0, **more: Any) -> WorkloadView:
    known: dict[str, Any] = {
        **{"deployment": "", "step": "", "version": "1", "group": "default", "worker": "local-1"},
        **{"state": "running", "reason": "", "failing": "", "restarts": 0, "metrics": {}},
    }
    return WorkloadView(id=id_of("acme", job, replica), job=job, replica=replica, **{**known, **more})


def test_what_is_asked_for_is_kept_by_deployment_job_and_replica() -> None:
    there = [
        view("b", 1, deployment="two", step="s", condition=Condition(Health.FAILING, 5)),
        view("b", 0, deployment="two", step="s", group="etl"),
        view("a", state="failed"),
    ]

    def names(wanted: Wanted) -> list[str]:
        return [workload_listing.to_item(one)["workload"] for one in workload_listing.kept(there, wanted)]

    assert names(Wanted()) == ["a#0", "b#0", "b#1"]
    assert names(Wanted(step="s", group="etl")) == ["b#0"]
    assert names(Wanted(state="failed")) == ["a#0"]
    assert names(Wanted(health="failing")) == ["b#1"]
    shown = workload_listing.to_item(there[0])
    assert (shown["deployment"], shown["health"], shown["since"]) == ("two", "failing", "1970-01-01T00:00:00.000Z")


def test_a_job_fits_by_words_and_by_the_state_of_a_replica_or_of_its_document() -> None:
    rows = listing.entries([{"name": "idle", "version": 2}], [{"name": "idle", "revision": 1}], [view("busy-bee")])
    found = {
        state: [row["name"] for row in rows if listing.fits(row, "", state)]
        for state in (None, "running", "failed", "staged", "draft")
    }
    assert found == {
        None: ["busy-bee", "idle"],
        "running": ["busy-bee"],
        "failed": [],
        "staged": ["idle"],
        "draft": ["idle"],
    }
    assert [row["name"] for row in rows if listing.fits(row, "BEE bus", None)] == ["busy-bee"]


async def test_totals_count_what_fits(tmp_path: Any) -> None:
    async with engine_on(tmp_path / "home") as engine:
        for name in ("one", "two", "three"):
            await deploy(engine, ECHO.format(name=name))
        page = await call(engine, "workload_list", limit=2)
        assert ([row["workload"] for row in page["items"]], page["total"]) == (["one#0", "three#0"], 3)
        rest = await call(engine, "workload_list", limit=2, cursor=page["next_cursor"])
        assert [row["workload"] for row in rest["items"]] == ["two#0"]
        assert (await call(engine, "workload_list", job="two"))["total"] == 1
        assert (await call(engine, "workload_list", state="failed"))["total"] == 0
        assert (await call(engine, "job_list", query="t", state="running", limit=1))["total"] == 2
        with pytest.raises(errors.InvalidParams):
            await call(engine, "workload_list", state="runing")
        with pytest.raises(errors.InvalidParams):
            await call(engine, "deployment_list", state="runing")


async def call(engine: Engine, name: str, **arguments: Any) -> dict[str, Any]:
    return await engine.call(name, arguments, ADMIN)
