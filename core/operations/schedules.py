"""Schedules: when jobs run by the clock, paused, resumed, run now, and run for times that are past."""

from __future__ import annotations

from pydantic import Field

from core import clock
from core.engine import Engine
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.model.schedule import Policy
from core.operations.registry import LISTED, Sorted, moment, offset_page, operation

UPCOMING = 5
LAST_RUNS = 10


class ScheduleList(Sorted):
    pass


@operation(
    summary="List the schedules.", http="GET /api/schedules", toolset="schedules", outline=LISTED, role=Role.VIEWER
)
async def schedule_list(engine: Engine, caller: Caller, params: ScheduleList) -> results.Listing[results.runs.Schedule]:
    """List the jobs that run by an interval or cron: when next, when last, how many firings were missed or skipped, and
    who paused it."""
    return offset_page(engine.fleet.timetables.of(caller.tenant), params, engine.schedules.answer)


class ScheduleNamed(Params):
    name: str = Field(max_length=200)
    """The name of the job."""


class ScheduleGet(ScheduleNamed):
    pass


@operation(
    summary="Show one schedule: the next firings, the last runs, what was missed.",
    http="GET /api/schedules/{name}",
    toolset="schedules",
    role=Role.VIEWER,
)
async def schedule_get(engine: Engine, caller: Caller, params: ScheduleGet) -> results.runs.ScheduleShown:
    """Show when a job fires: the next five times in the zone of the schedule, the last ten runs (`runs`; run_get
    tells more of one), firings that were `missed`
    (nothing could run them) and `skipped` (a run was under way), the pause, and runs that wait (`waiting`)."""
    schedule = engine.schedules.known(caller.tenant, params.name)
    runs = await engine.fleet.runs.last(caller.tenant, params.name, LAST_RUNS)
    return engine.schedules.detailed(schedule, UPCOMING, [run.to_item() for run in runs])


class JobRunNow(ScheduleNamed):
    wait_seconds: int = Field(default=0, ge=0, le=300)
    """How long to wait for its end."""


@operation(
    summary="Run a scheduled job now.",
    http="POST /api/schedules/{name}/run",
    toolset="schedules",
    effect=Effect.WRITE,
    role=Role.OPERATOR,
)
async def job_run_now(engine: Engine, caller: Caller, params: JobRunNow) -> results.runs.RunAsked:
    """Run a scheduled job once now, also while its schedule is paused; its next firing stays as it is. It is run behind
    the run that is under way, and survives a restart of the engine."""
    order, run = await engine.schedules.run_now(caller, params.name, params.wait_seconds)
    ended: results.runs.RunEnded | None = None
    if run is not None:
        ended = {
            "ok": run.ok,
            "reason": run.reason,
            "started_at": clock.iso(run.started_ns),
            "ended_at": clock.iso(run.ended_ns),
            "events_in": run.events_in,
            "events_out": run.events_out,
        }
    return {"name": params.name, "cause": order.cause, "asked_at": clock.iso(order.scheduled_ns), "ended": ended}


class SchedulePause(ScheduleNamed):
    reason: str = Field(default="", max_length=500)
    """Why, for those who find it paused."""
    until: str | None = Field(default=None, max_length=40)
    """When it resumes by itself: ISO 8601 with a zone, or from now, as in 2h. Left out: when somebody says so."""


@operation(
    summary="Pause a schedule.",
    http="POST /api/schedules/{name}/pause",
    toolset="schedules",
    effect=Effect.WRITE,
    role=Role.OPERATOR,
    idempotent=True,
)
async def schedule_pause(engine: Engine, caller: Caller, params: SchedulePause) -> results.runs.Schedule:
    """Have a job fire by its times no more; what runs ends well. The pause survives restarts, and a new version of the
    job. job_run_now still runs it."""
    until = 0 if params.until is None else moment(params.until, engine.now_ns(), "/until", ahead=True)
    return engine.schedules.answer(await engine.schedules.pause(caller, params.name, params.reason, until))


class ScheduleResume(ScheduleNamed):
    missed: Policy = Policy.SKIP
    """What of the firings that came due in the pause is run now: none, the last, or all (at most 100)."""


@operation(
    summary="Resume a schedule.",
    http="POST /api/schedules/{name}/resume",
    toolset="schedules",
    effect=Effect.WRITE,
    role=Role.OPERATOR,
    idempotent=True,
)
async def schedule_resume(engine: Engine, caller: Caller, params: ScheduleResume) -> results.runs.ScheduleResumed:
    """Have a paused job fire by its times again, from now on. What came due in the pause is no miss: `left_out` says
    how many do not run, `caught_up` how many run now, one after the other."""
    schedule, missed = await engine.schedules.resume(caller, params.name, params.missed)
    return {**engine.schedules.answer(schedule), "caught_up": len(missed.owed), "left_out": missed.left_out}


class ScheduleBackfill(ScheduleNamed):
    since: str = Field(max_length=40)
    """The first moment: ISO 8601 with a zone, or a time ago, as in 2d."""
    until: str = Field(max_length=40)
    """The moment before which it ends, likewise."""
    dry_run: bool = False
    """Only tell the times."""


@operation(
    summary="Run a scheduled job for times that are past.",
    http="POST /api/schedules/{name}/backfill",
    toolset="schedules",
    effect=Effect.WRITE,
    role=Role.OPERATOR,
)
async def schedule_backfill(engine: Engine, caller: Caller, params: ScheduleBackfill) -> results.runs.Backfill:
    """Run a job for each time of its schedule in a stretch that is past, at most 500, one run after the other; what is
    due by the schedule goes between them. `${time|scheduled_time_…}` and the window of a run are those of its time."""
    now = engine.now_ns()
    begin, end = moment(params.since, now, "/since"), moment(params.until, now, "/until")
    times = await engine.schedules.backfill(caller, params.name, begin, end, dry_run=params.dry_run)
    told = [clock.iso(at) for at in times]
    return {"name": params.name, "dry_run": params.dry_run, "count": len(times), "times": told}
