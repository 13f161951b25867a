"""Runs of jobs: what ran when, how it went, and the end of one that is under way."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core import clock, errors
from core.engine import Engine
from core.explain.chain import Call
from core.model import results, run
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import LISTED, Page, moment, operation, position, rows_page
from core.store import job_runs as table

MOST_MINUTES = 24 * 60


class RunList(Page):
    job: str | None = Field(default=None, max_length=200)
    """Only runs of this job."""
    deployment: str | None = Field(default=None, max_length=200)
    """Only runs of jobs of this deployment."""
    state: Literal["running", "succeeded", "failed", "canceled", "skipped", "missed"] | None = None
    """Only runs in this state."""
    cause: Literal["schedule", "manual", "backfill", "catch-up", "once", "retry", "message"] | None = None
    """Only runs that were started by this."""
    since: str | None = Field(default=None, max_length=40)
    """Not ended before this time: ISO 8601, or how long ago (90s, 2h, 7d)."""
    until: str | None = Field(default=None, max_length=40)
    """Ended before this time."""
    minutes: int = Field(default=0, ge=0, le=MOST_MINUTES)
    """With a job: also what its runs did that messages started, per minute, for so long."""


@operation(
    summary="List the runs of jobs, newest first.",
    http="GET /api/runs",
    toolset="jobs",
    outline=LISTED,
    offline=False,
    role=Role.VIEWER,
)
async def run_list(engine: Engine, caller: Caller, params: RunList) -> results.runs.RunList:
    """List runs of jobs. Runs in a row that found nothing to do are one item with a `count`; of those that messages
    started, only the ones that failed, were canceled or take long are here, the rest is in `per_minute`."""
    now = engine.now_ns()
    equal = {name: getattr(params, name) for name in ("job", "deployment", "state", "cause")}
    since = 0 if params.since is None else moment(params.since, now, "/since")
    until = None if params.until is None else moment(params.until, now, "/until")
    before = position(params.cursor)
    rows, total = await engine.database.read(
        lambda db: table.search(
            db,
            caller.tenant,
            equal={name: value for name, value in equal.items() if value is not None},
            since_ns=since,
            until_ns=until,
            before=before,
            limit=params.limit + 1,
        )
    )
    counted = engine.fleet.runs.counted
    page = rows_page(rows, params.limit, lambda one: counted(one).to_answer(), lambda one: str(one.id))
    if not params.job or not params.minutes:
        return {"items": page["items"], "next_cursor": page["next_cursor"], "total": total}
    first = now - params.minutes * 60 * clock.NANOSECONDS
    sums = await engine.fleet.runs.minutes(caller.tenant, params.job, first)
    return {**page, "total": total, "per_minute": [_minute(one) for one in sums]}


def _minute(sums: table.Minute) -> results.runs.Minute:
    return {
        "at": clock.iso(sums.minute_ns),
        "runs": sums.runs,
        "failed": sums.failed,
        "events_in": sums.events_in,
        "events_out": sums.events_out,
        "refused": sums.refused,
    }


class RunGet(Params):
    run_id: str = Field(max_length=40)
    """The run, as run_list names it, or as messages of the job call it."""


@operation(
    summary="One run of a job.",
    http="GET /api/runs/{run_id}",
    toolset="jobs",
    offline=False,
    role=Role.VIEWER,
)
async def run_get(engine: Engine, caller: Caller, params: RunGet) -> results.runs.RunShown:
    """One run of a job, with the call that finds what it wrote to the log (`next`)."""
    found = await _find(engine, caller, params.run_id)
    call = Call("log_search", {"run": found.text_id}, "what it wrote to the log")
    return {**found.to_answer(), "next": [call.to_dict()]}


async def _find(engine: Engine, caller: Caller, run_id: str) -> run.Run:
    id = run.parse_id(run_id)
    if id is None:
        found = await engine.database.read(table.named, caller.tenant, run_id)
    else:
        found = await engine.database.read(table.get, caller.tenant, id)
    if found is None:
        raise errors.NotFound(
            f"There is no run {errors.shorten(run_id, 40)} in tenant {caller.tenant}.",
            hint="run_list shows those that are kept.",
        )
    return engine.fleet.runs.counted(found)


class RunCancel(Params):
    run_id: str = Field(max_length=40)
    """The run to end."""
    reason: str = Field(default="", max_length=500)
    """Why; kept on record."""


@operation(
    summary="End a run of a job that is under way.",
    http="POST /api/runs/{run_id}/cancel",
    toolset="jobs",
    effect=Effect.WRITE,
    role=Role.OPERATOR,
    idempotent=True,
)
async def run_cancel(engine: Engine, caller: Caller, params: RunCancel) -> results.runs.Run:
    """End one run at its next wait; the job goes on with the next one. Answers with the run, which is canceled unless
    it ended before; `confirmed` is false when its worker did not say within 10 s that it stopped."""
    found = await _find(engine, caller, params.run_id)
    await engine.fleet.runs.cancel(found, caller, params.reason)
    return (await _find(engine, caller, params.run_id)).to_answer()
