"""Unmanaged jobs on workers: deployed and undeployed by hand."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import Field

from core import errors
from core.contexts.values import layers_of
from core.documents import canonical
from core.dsl import mentions
from core.engine import Engine
from core.fleet.workloads import OVER
from core.jobs import staging
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.model.states import WorkloadState
from core.operations import jobs
from core.operations.losses import counted
from core.operations.registry import operation
from core.store import audit, workloads
from core.store import jobs as table

STEADY_SECONDS = 0.3  # a job that fails at once does so within this time


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
async def job_deploy(engine: Engine, caller: Caller, params: JobDeploy) -> dict[str, Any]:
    """Deploy a staged job onto workers of a group and wait until it runs (or has completed, or failed).

    Read workloads[].state and reason: a job that fails at once says so there. A job goes to the worker that holds the
    other end of its worker channel. One that has completed or failed, or is quarantined, is started anew.
    """
    jobs.refuse_managed(engine, caller, params.name)
    if params.version is None:
        row = await engine.database.read(table.newest, caller.tenant, params.name)
    else:
        row = await engine.database.read(table.get, caller.tenant, params.name, params.version)
    if row is None:
        raise await jobs.not_staged(engine, caller, params.name)
    workers = engine.fleet.worker_rows(caller.tenant)
    before = engine.fleet.workload_rows(tenant=caller.tenant, job=params.name)
    near = _other_end(engine, caller, row)
    wanted = staging.assign(row, params.worker_group, params.replicas, workers, before, engine.now_ns(), near)
    await _complete(engine, caller, row, wanted, params)
    if before and all(w["state"] in (*OVER, WorkloadState.FAILED) for w in before):
        note = audit.row(engine.ids.next(), caller, "job_deploy", f"{caller.tenant}/{params.name}")
        await engine.database.write(workloads.replace_unmanaged, caller.tenant, params.name, [], note)
        await engine.fleet.sync()  # what is over is cleared, so that what is deployed now starts anew
        if any(w["state"] == WorkloadState.QUARANTINED for w in before):
            await engine.fleet.inquest.release(caller.tenant, [params.name])
    note = audit.row(engine.ids.next(), caller, "job_deploy", f"{caller.tenant}/{params.name}")
    await engine.database.write(workloads.replace_unmanaged, caller.tenant, params.name, wanted, note)
    await engine.fleet.sync()
    ids = {row["id"] for row in wanted}
    if await engine.fleet.wait(lambda: engine.fleet.settled(ids), params.wait_seconds) and params.wait_seconds:
        await _see_whether_it_stays(engine, caller, row)
    return {
        "name": params.name,
        "version": row["version"],
        "workloads": engine.fleet.workload_rows(tenant=caller.tenant, job=params.name),
    }


async def _complete(
    engine: Engine, caller: Caller, job: dict[str, Any], wanted: list[dict[str, Any]], params: JobDeploy
) -> None:
    """Give each workload the document that its worker runs. Raises InvalidDocument for missing keys and secrets."""
    contexts = await layers_of(engine.database, caller.tenant)
    files = engine.reach.of(caller.tenant, params.worker_group)
    for row in wanted:
        document = staging.resolve(
            job, contexts, worker=row["worker"], group=params.worker_group, environment=params.environment, files=files
        )
        staging.check_secrets(document, lambda names: engine.vault.missing(caller.tenant, names))
        engine.vault.check(caller.tenant, mentions.secrets(document))
        if job["source"]:
            row["document"] = canonical.canonical(document).decode()


async def _see_whether_it_stays(engine: Engine, caller: Caller, job: dict[str, Any]) -> None:
    """A job that does something on its own says "running" and may fail at its first event: give it that moment."""
    if staging.waits_for_messages(job["document"]):
        return

    def over() -> bool:
        rows = engine.fleet.workload_rows(tenant=caller.tenant, job=job["name"])
        states = {row["state"] for row in rows}
        return WorkloadState.FAILED in states or states <= {WorkloadState.COMPLETED}

    await engine.fleet.wait(over, STEADY_SECONDS)


def _other_end(engine: Engine, caller: Caller, job: dict[str, Any]) -> str:
    """The worker of a job that shares a worker channel with this one; empty when there is none."""
    ends = staging.channels(orjson.loads(job["document"]))
    for workload in engine.fleet.workload_rows(tenant=caller.tenant) if ends else ():
        if workload["job"] != job["name"] and ends & staging.channels(engine.fleet.document(workload["id"])):
            worker: str = workload["worker"]
            return worker
    return ""


class JobUndeploy(Params):
    name: str = Field(max_length=200)
    """The name of the job."""


async def _workloads_go(engine: Engine, caller: Caller, params: JobUndeploy) -> Loss | None:
    rows = engine.fleet.workload_rows(tenant=caller.tenant, job=params.name)
    ids = [row["id"] for row in rows if not row["deployment"]]
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
async def job_undeploy(engine: Engine, caller: Caller, params: JobUndeploy) -> dict[str, Any]:
    """Stop a job on every worker; it finishes what it has in flight. Its staged versions stay."""
    jobs.refuse_managed(engine, caller, params.name)
    if await engine.database.read(table.newest, caller.tenant, params.name) is None:
        raise await jobs.not_staged(engine, caller, params.name)
    note = audit.row(engine.ids.next(), caller, "job_undeploy", f"{caller.tenant}/{params.name}")
    await engine.database.write(workloads.replace_unmanaged, caller.tenant, params.name, [], note)
    await engine.fleet.sync()
    return {"name": params.name, "workloads": []}
