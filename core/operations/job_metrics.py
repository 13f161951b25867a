"""What jobs have done, in figures."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from core.engine import Engine
from core.model.principal import Caller, Role
from core.operations.registry import Page, items_schema, offset_page, operation


class JobMetrics(Page):
    name: str | None = Field(default=None, max_length=200)
    """Only this job."""


@operation(
    summary="Figures of running jobs: events, bytes, errors, lag.",
    http="GET /api/jobs/metrics",
    toolset="jobs",
    result=items_schema(),
    offline=False,
    role=Role.USER,
)
async def job_metrics(engine: Engine, caller: Caller, params: JobMetrics) -> dict[str, Any]:
    """Figures of each replica since its worker was told to run it: events and bytes in and out, errors, runs, and
    lag_seconds, the age of the oldest message or batch that is not yet accepted by the output."""
    found = engine.fleet.workload_views(tenant=caller.tenant, job=params.name)
    keys = ("job", "replica", "worker", "state", "restarts", "metrics")
    found.sort(key=lambda one: (one.job, one.replica))
    return offset_page([{key: answer[key] for key in keys} for answer in (one.to_dict() for one in found)], params)
