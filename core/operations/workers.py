"""Workers: who is there to run jobs, and how each of them does."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core import errors
from core.engine import Engine
from core.model.operation import Params
from core.model.principal import Caller
from core.operations.registry import Page, items_schema, offset_page, operation


class WorkerList(Page):
    group: str | None = Field(default=None, max_length=64)
    """Only workers of this group."""
    state: Literal["online", "draining", "offline", "lost"] | None = None
    """Only workers in this state."""


@operation(summary="List the workers.", http="GET /api/workers", toolset="workers", result=items_schema())
async def worker_list(engine: Engine, caller: Caller, params: WorkerList) -> dict[str, Any]:
    """List the workers with group, state, process id, slots, and how many jobs each holds."""
    rows = [
        row
        for row in engine.fleet.worker_rows()
        if (params.group is None or row["group"] == params.group)
        and (params.state is None or row["state"] == params.state)
    ]
    return offset_page(rows, params)


class WorkerGet(Params):
    name: str = Field(max_length=64)
    """The name of the worker."""


@operation(summary="Show one worker: memory, loop lag, its jobs.", http="GET /api/workers/{name}", toolset="workers")
async def worker_get(engine: Engine, caller: Caller, params: WorkerGet) -> dict[str, Any]:
    """Show a worker: what it reports of itself now (memory, loop lag, channels) and this tenant's jobs on it with
    state and metrics. `report` is null when it does not answer, and `unreachable` says why."""
    row = next((row for row in engine.fleet.worker_rows() if row["name"] == params.name), None)
    if row is None:
        raise errors.NotFound(
            f"There is no worker {errors.shorten(params.name, 64)}.", hint="worker_list shows what there is."
        )
    report, unreachable = None, ""
    try:
        report = await engine.fleet.request(params.name, "report", {})
    except errors.TargetUnavailable as error:
        unreachable = error.message
    if report is not None:
        tenant = f"{caller.tenant}/"
        depths = report["channels"].items()
        report["channels"] = {key.removeprefix(tenant): depth for key, depth in depths if key.startswith(tenant)}
    return {
        **row,
        "report": report,
        "unreachable": unreachable,
        "workloads": engine.fleet.workload_rows(tenant=caller.tenant, worker=params.name),
    }
