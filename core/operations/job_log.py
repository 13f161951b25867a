"""The log of a job, also of one that has ended or is gone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core import clock, errors
from core.engine import Engine
from core.fleet import log_reading
from core.fleet.logs import to_answer
from core.model.operation import Params
from core.model.principal import Caller, Role, Surface
from core.operations.registry import operation
from core.store import jobs as table

MOST_SEQ = 2**63 - 1
TOOL_CHARACTERS = 5_400
"""Of lines in the text of a tool, which is whole then: the newest line is not cut off."""
BESIDE = 120  # characters of a line besides what it says: workload, time, level


class JobLog(Params):
    name: str = Field(max_length=200)
    """The name of the job."""
    limit: int = Field(default=50, ge=1, le=500)
    """The most lines."""
    after: str = Field(default="", max_length=32, pattern="^([0-9a-f]{16})?$")
    """`cursor` of an earlier answer: only lines after it."""
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
    """The last lines of a job's log from all replicas, oldest first; also of a job that is not `deployed` any more.
    To follow, pass `cursor` back as `after` with wait_seconds. Workers in `unreachable` are not there now."""
    workloads = engine.fleet.workload_views(tenant=caller.tenant, job=params.name)
    after = min(int(params.after, 16), MOST_SEQ) if params.after else None
    wait, level = params.wait_seconds, params.level
    found = await log_reading.read(engine.fleet, caller.tenant, params.name, level, after, params.limit, wait)
    there = workloads or found.lines
    if not there and await engine.database.read(table.newest, caller.tenant, params.name) is None:
        raise errors.NotFound(
            f"There is no job {errors.shorten(params.name, 100)} in tenant {caller.tenant}.",
            hint="job_list shows what there is.",
        )
    tool = caller.surface is Surface.MCP
    most, beside = (min(params.characters, TOOL_CHARACTERS), BESIDE) if tool else (params.characters, 0)
    kept = log_reading.fit(found.lines, most, oldest_first=after is not None, beside=beside)
    return {
        "name": params.name,
        "deployed": bool(workloads),
        "cursor": clock.encode(found.next if len(kept) == len(found.lines) or after is None else kept[-1][1].seq),
        "truncated": found.more or len(kept) < len(found.lines),
        "unreachable": log_reading.unreachable(engine.fleet, caller.tenant, params.name),
        "items": [to_answer(id, line) for id, line in kept],
    }
