"""Unmanaged jobs on workers: deployed and undeployed by hand."""

from __future__ import annotations

from pydantic import Field

from core import errors
from core.engine import Engine
from core.model import results
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.losses import counted
from core.operations.registry import operation


class JobDeploy(Params):
    name: str = Field(max_length=200)
    """The name of a staged job."""
    worker_group: str = Field(default="default", max_length=64)
    """The group of workers to run on."""
    replicas: int = Field(default=1, ge=1, le=64)
    """How many copies run."""
    version: int | None = Field(default=None, ge=1, le=2**31)
    """Which version; the newest when left out."""
    environment: str = Field(default="", max_length=200)
    """Whose context values `{{name}}` sees, besides those of the job, its worker and its group; none when left out."""
    wait_seconds: int = Field(default=10, ge=0, le=300)
    """How long to wait until it runs."""


@operation(
    summary="Run a staged job on workers.",
    http="POST /api/jobs/{name}/deploy",
    toolset="jobs",
    effect=Effect.WRITE,
    role=Role.ADMIN,
    idempotent=True,
)
async def job_deploy(engine: Engine, caller: Caller, params: JobDeploy) -> results.jobs.JobDeployed:
    """Deploy a staged job onto workers of a group and wait until it runs (or has completed, or failed).

    Read workloads[].state and reason: a job that fails at once says so there; warnings say what of it is closed on
    its workers (a host, a path, commands), which it finds out only when it comes to it. A job goes to the worker that
    holds the other end of its worker channel. One that has completed or failed, or is quarantined, is started anew.
    """
    job = await engine.unmanaged.deploy(
        caller,
        params.name,
        params.version,
        group=params.worker_group,
        replicas=params.replicas,
        environment=params.environment,
        wait_seconds=params.wait_seconds,
    )
    workloads = engine.fleet.workload_views(tenant=caller.tenant, job=params.name)
    found = await engine.planner.closed_to(caller.tenant, params.name, workloads)
    return {
        "name": params.name,
        "version": job["version"],
        "workloads": [one.to_dict() for one in workloads],
        "warnings": [one.to_dict() for one in found],
    }


class JobUndeploy(Params):
    name: str = Field(max_length=200)
    """The name of the job."""


async def _workloads_go(engine: Engine, caller: Caller, params: JobUndeploy) -> Loss | None:
    there = engine.fleet.workload_views(tenant=caller.tenant, job=params.name)
    ids = [one.id for one in there if not one.deployment]
    return Loss(f"Of job {errors.shorten(params.name, 100)} stop {counted('workload', ids)}.") if ids else None


@operation(
    summary="Stop a job; its versions stay.",
    http="POST /api/jobs/{name}/undeploy",
    toolset="jobs",
    effect=Effect.DESTRUCTIVE,
    destroys=_workloads_go,
    role=Role.ADMIN,
    idempotent=True,
)
async def job_undeploy(engine: Engine, caller: Caller, params: JobUndeploy) -> results.jobs.JobUndeployed:
    """Stop a job on every worker; it finishes what it has in flight. Its staged versions stay."""
    await engine.unmanaged.undeploy(caller, params.name)
    return {"name": params.name, "workloads": []}
