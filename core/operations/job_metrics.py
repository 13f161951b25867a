"""What jobs have done, in figures."""

from __future__ import annotations

from pydantic import Field

from core.engine import Engine
from core.model import results
from core.model.principal import Caller, Role
from core.model.workload import WorkloadView
from core.operations.registry import LISTED, Page, offset_page, operation


class JobMetrics(Page):
    name: str | None = Field(default=None, max_length=200)
    """Only this job."""
    deployment: str | None = Field(default=None, max_length=200)
    """Only jobs of this deployment."""


@operation(
    summary="Figures of running jobs: events, bytes, errors, lag.",
    http="GET /api/jobs/metrics",
    toolset="jobs",
    outline=LISTED,
    offline=False,
    role=Role.VIEWER,
)
async def job_metrics(engine: Engine, caller: Caller, params: JobMetrics) -> results.Listing[results.jobs.JobMetrics]:
    """Figures of each replica since its worker was told to run it: events and bytes in and out, errors, refused events,
    conditions_failed (for so many events), calls of actions with tokens and cost, runs, and lag_seconds, the age of the
    oldest message or batch that the output has not accepted. Dead letters that are replayed count in events_in too.
    `letters` are the dead letters of the job. Of a scheduled job also `schedule`: next and last_success in seconds
    since the epoch, how many firings were missed, if paused."""
    found = engine.fleet.workload_views(tenant=caller.tenant, deployment=params.deployment, job=params.name)
    found.sort(key=lambda one: (one.job, one.replica))

    def show(one: WorkloadView) -> results.jobs.JobMetrics:
        shown: results.jobs.JobMetrics = {
            "job": one.job,
            "replica": one.replica,
            "worker": one.worker,
            "state": one.state,
            "restarts": one.restarts,
            "metrics": one.metrics,
            "letters": engine.letters.of(caller.tenant, [one.job]).to_dict(),
        }
        figures = engine.fleet.timetables.figures(caller.tenant, one.job) if one.replica == 0 else None
        return shown if figures is None else {**shown, "schedule": figures}

    return offset_page(found, params, show)
