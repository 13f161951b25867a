"""Workloads: what runs where, and since when it is as it is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.engine import Engine
from core.fleet import workload_listing
from core.model import results
from core.model.condition import Health
from core.model.principal import Caller, Role
from core.model.states import WorkloadState
from core.operations.registry import LISTED, Sorted, offset_page, operation


class WorkloadList(Sorted):
    deployment: str | None = Field(default=None, max_length=64)
    """Only those of this deployment."""
    step: str | None = Field(default=None, max_length=200)
    """Only those of this step of a workflow."""
    job: str | None = Field(default=None, max_length=200)
    """Only the replicas of this job."""
    worker: str | None = Field(default=None, max_length=64)
    """Only those on this worker."""
    group: str | None = Field(default=None, max_length=64)
    """Only those in this worker group."""
    state: WorkloadState | None = None
    """Only those in this state."""
    health: Health | None = None
    """Only those whose health is this."""
    detail: Literal["concise", "detailed"] = "concise"
    """detailed adds the `conditions` of each, by type."""


@operation(
    summary="List the workloads: what runs where, in which state since when.",
    http="GET /api/workloads",
    toolset="jobs",
    outline=LISTED,
    offline=False,
    role=Role.VIEWER,
)
async def workload_list(
    engine: Engine, caller: Caller, params: WorkloadList
) -> results.Listing[results.workloads.Workload]:
    """List the replicas of jobs with deployment, step, worker, group, state, restarts, health, since when, and why."""
    there = engine.fleet.workload_views(
        tenant=caller.tenant, deployment=params.deployment, job=params.job, worker=params.worker
    )
    wanted = workload_listing.Wanted(params.step, params.group, params.state, params.health)
    show = workload_listing.with_conditions if params.detail == "detailed" else workload_listing.to_item
    return offset_page(workload_listing.kept(there, wanted), params, show)
