"""The log of a job, read from where its lines are: on the workers that run it, and what they had sent before."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core import errors
from core.engine import Engine
from core.fleet import log_reading
from core.fleet.logs import to_answer
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation
from core.store import jobs as table


class JobLog(Params):
    name: str = Field(max_length=200)
    """The name of the job."""
    limit: int = Field(default=50, ge=1, le=500)
    """The most lines."""
    after: str = Field(default="", max_length=32, pattern="^([0-9a-f]{16})?$")
    """`cursor` of an earlier answer: only lines after it, oldest first."""
    level: Literal["warning", "error"] | None = None
    """Only lines of this level or higher."""
    wait_seconds: int = Field(default=0, ge=0, le=60)
    """Wait this long for a line when there is none yet."""
    characters: int = Field(default=16_000, ge=100, le=1_000_000)
    """The most characters of all lines; `truncated` tells that lines were left out."""


@operation(
    summary="Read or follow the log of a job.",
    http="GET /api/jobs/{name}/log",
    toolset="jobs",
    also_in=("deployments",),
    offline=False,
    role=Role.USER,
)
async def job_log(engine: Engine, caller: Caller, params: JobLog) -> dict[str, Any]:
    """The last lines of a job's log from all replicas, oldest first. To follow, pass `cursor` back as `after` with
    wait_seconds. Of workers in `unreachable`, and of a job that is not `deployed`, they are those that were sent
    before."""
    workloads = engine.fleet.workload_views(tenant=caller.tenant, job=params.name)
    if not workloads and await engine.database.read(table.newest, caller.tenant, params.name) is None:
        raise errors.NotFound(
            f"There is no job {errors.shorten(params.name, 100)} in tenant {caller.tenant}.",
            hint="job_list shows what there is.",
        )
    after_ns = int(params.after, 16) if params.after else 0
    wait, level = params.wait_seconds, params.level
    found = await log_reading.read(engine.fleet, caller.tenant, params.name, level, after_ns, wait)
    kept, truncated = log_reading.fit(found.lines, params.limit, params.characters, oldest_first=bool(after_ns))
    last = kept[-1][1][0] if kept else after_ns
    return {
        "name": params.name,
        "deployed": bool(workloads),
        "items": [to_answer(id, line) for id, line in kept],
        "truncated": truncated,
        "cursor": f"{last:016x}",
        "unreachable": found.unreachable,
    }
