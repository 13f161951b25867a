"""The log of a job, also of one that has ended or is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from core import clock, errors
from core.engine import Engine
from core.fleet import log_reading, run_logs
from core.fleet.logs import to_answer
from core.model import results
from core.model.log_line import mask_from
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import moment, operation, position
from core.store import jobs as table
from core.store.log_rows import Range
from core.store.log_search import Pattern

MOST_SEQ = 2**63 - 1


class JobLog(Params):
    name: str = Field(max_length=200)
    """The job."""
    limit: int = Field(default=50, ge=1, le=500)
    """The most lines."""
    after: str = Field(default="", pattern="^([0-9a-f]{16})?$")
    """The last `cursor`."""
    level: Literal["warning", "error"] | None = None
    """This or higher."""
    wait_seconds: int = Field(default=0, ge=0, le=60)
    """Wait for a line."""


@operation(
    summary="Read or follow the log of a job.",
    http="GET /api/jobs/{name}/log",
    toolset="jobs",
    also_in=("deployments",),
    offline=False,
    role=Role.VIEWER,
)
async def job_log(engine: Engine, caller: Caller, params: JobLog) -> results.jobs.JobLog:
    """A job's last log lines, oldest first. To follow: `cursor` as `after`, with wait_seconds. Workers in
    `unreachable` are away."""
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
    kept = log_reading.fit(found.lines, params.limit, caller.surface, oldest_first=after is not None)
    shown: results.jobs.JobLog = {
        "name": params.name,
        "deployed": bool(workloads),
        "cursor": clock.encode(found.next if len(kept) == len(found.lines) or after is None else kept[-1][1].seq),
        "truncated": found.more or len(kept) < len(found.lines),
        "unreachable": log_reading.unreachable(engine.fleet, caller.tenant, params.name),
        "items": [to_answer(id, line) for id, line in kept],
    }
    if found.gone:
        shown["reset"] = True
    return shown


class LogSearch(Params):
    text: str | None = Field(default=None, max_length=1000)
    """Found in any case."""
    regex: bool = False
    """`text` is RE2."""
    of: str | None = Field(default=None, max_length=200)
    """A deployment, job, workload (JOB#REPLICA) or worker."""
    run: str | None = Field(default=None, max_length=64)
    """Of this run."""
    invocation: str | None = Field(default=None, max_length=64)
    """Of this invocation."""
    level: Literal["info", "warning", "error"] | None = None
    """This or higher."""
    since: str | None = Field(default=None, max_length=40)
    """ISO 8601, or ago (2h)."""
    until: str | None = Field(default=None, max_length=40)
    """Before this time."""
    limit: int = Field(default=50, ge=1, le=500)
    """The most lines."""
    cursor: str | None = Field(default=None, max_length=64)
    """The last `next_cursor`."""
    after: str | None = Field(default=None, pattern="^[0-9a-f]{16}$")
    """The last `after`."""
    wait_seconds: int = Field(default=0, ge=0, le=60)
    """Wait for a line."""


@operation(
    summary="Search the logs of jobs, newest first.",
    http="GET /api/logs",
    toolset="deployments",
    offline=False,
    role=Role.VIEWER,
)
async def log_search(engine: Engine, caller: Caller, params: LogSearch) -> results.jobs.FoundLines:
    """Search job logs, of gone jobs too. Unless `complete`, go on with `next_cursor`: nothing older than
    `searched_until` was seen."""
    now, after = engine.now_ns(), engine.logbook.seq
    since = 0 if params.since is None else moment(params.since, now, "/since")
    within = Range(
        caller.tenant,
        of=params.of or "",
        levels=mask_from(params.level) if params.level else 0,
        since_ns=since,
        until_ns=0 if params.until is None else moment(params.until, now, "/until"),
        before=position(params.cursor) or after + 1,  # what comes meanwhile is of who follows
    )
    within = await run_logs.narrow(engine.database, engine.fleet.runs, within, params.run, params.invocation)
    pattern = None if not params.text else Pattern(params.text, regex=params.regex)
    if params.after is not None:
        return await _after(engine, params, within, pattern, caller)
    found = await engine.logbook.search(within, params.limit, pattern=pattern)
    if params.of and not found.lines and not (params.run or params.invocation):
        await log_reading.refuse_unknown(engine.fleet, caller.tenant, params.of)
    kept = log_reading.fit(found.lines, params.limit, caller.surface, oldest_first=True)
    edge = found.edge if len(kept) == len(found.lines) else kept[-1][1].seq
    return {
        "complete": not edge,
        "searched_until": clock.iso(edge or since) if edge or since else None,
        "next_cursor": str(edge) if edge else None,
        "after": clock.encode(after),
        "items": [to_answer(id, line) for id, line in kept],
    }


async def _after(
    engine: Engine, params: LogSearch, within: Range, pattern: Pattern | None, caller: Caller
) -> results.jobs.FoundLines:
    """What came after a place; each line with the place after it."""
    within = replace(within, before=0, after=max(within.after, min(int(params.after or "", 16), MOST_SEQ)))
    found = await log_reading.find(
        engine.fleet, within, params.limit, pattern=pattern, wait_seconds=params.wait_seconds
    )
    kept = log_reading.fit(found.lines, params.limit, caller.surface, oldest_first=True)
    return {
        "complete": not found.more and len(kept) == len(found.lines),
        "reset": found.gone,
        "after": clock.encode(found.next if len(kept) == len(found.lines) else kept[-1][1].seq),
        "items": [{**to_answer(id, line), "after": clock.encode(line.seq)} for id, line in kept],
    }
