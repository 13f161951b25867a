"""Series: what workloads did over time."""

from __future__ import annotations

from pydantic import Field

from core import clock, errors
from core.engine import Engine
from core.fleet import sampling
from core.model import results
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import moment, operation
from core.store import series


class SeriesGet(Params):
    of: str | None = Field(default=None, max_length=200)
    """A deployment, a job or a workload (JOB#REPLICA); all of the tenant when left out."""
    since: str = Field(default="1h", max_length=40)
    """ISO 8601, or how long ago (2h, 7d); at most 90 days."""
    until: str | None = Field(default=None, max_length=40)
    """Before this time."""
    points: int = Field(default=61, ge=1, le=500)
    """The most points; slots are put together so that they cover all of it."""


@operation(
    summary="What workloads did over time: events, bytes, errors, runs by the second, and lag.",
    http="GET /api/series",
    toolset="jobs",
    offline=False,
    role=Role.VIEWER,
)
async def series_get(engine: Engine, caller: Caller, params: SeriesGet) -> results.engine.Series:
    """Rates by the second, from slot to slot of `step_seconds`, and the largest lag of each; null where nothing is
    known. The last one is not over. The last hour is kept by 10 seconds, a day by the minute, a week by 5 minutes, 90
    days by the hour."""
    now_ns = clock.now_ns()
    now = now_ns // clock.NANOSECONDS
    since = moment(params.since, now_ns, "/since") // clock.NANOSECONDS
    until = now if params.until is None else min(now, moment(params.until, now_ns, "/until") // clock.NANOSECONDS)
    until -= until % sampling.STEP_SECONDS  # nothing is known yet of the seconds after it
    ring, step, since = series.grid_for(min(since, until), until, now, params.points)
    slots = await engine.sampler.read(caller.tenant, params.of or "", ring, since, until)
    views = engine.fleet.workload_views(tenant=caller.tenant) if slots is None else []
    young = any(params.of in (one.deployment, one.job, one.id) for one in views)  # nothing is known of it yet
    if slots is None and params.of is not None and not young:
        raise errors.NotFound(
            f"Nothing is known of {errors.shorten(params.of, 100)} over time.",
            hint="Name a deployment, a job or a workload that has run for 20 seconds; workload_list has them.",
        )
    return {
        "of": params.of,
        "step_seconds": step,
        "since": clock.iso(since * clock.NANOSECONDS),
        "until": clock.iso(until * clock.NANOSECONDS),
        "left_out": engine.sampler.totals.left_out,
        "rates": sampling.rates(slots or [], step, since, until),
    }
