"""Unmanaged jobs: staged as immutable versions, deployed onto workers by hand. Managed jobs are a deployment's."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import Field

from core import errors
from core.engine import Engine
from core.jobs import staging
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.model.states import WorkloadState
from core.operations.registry import Page, items_schema, offset_page, operation
from core.store import audit, workloads
from core.store import jobs as table

DOCUMENT_DESCRIPTION = "The job document as YAML or JSON text."
MAX_DOCUMENT = 1_000_000


class JobList(Page):
    pass


@operation(summary="List the jobs of this tenant.", http="GET /api/jobs", toolset="jobs", result=items_schema())
async def job_list(engine: Engine, caller: Caller, params: JobList) -> dict[str, Any]:
    """List jobs with version, where each runs, and its state; managed ones belong to a deployment."""
    items: dict[str, dict[str, Any]] = {}
    for row in await engine.database.read(table.newest_of_all, caller.tenant):
        items[row["name"]] = {"name": row["name"], "version": row["version"], "managed_by": None, "workloads": []}
    for workload in engine.fleet.workload_rows(tenant=caller.tenant):
        item = items.setdefault(
            workload["job"],
            {
                "name": workload["job"],
                "version": workload["version"],
                "managed_by": workload["deployment"] or None,
                "workloads": [],
            },
        )
        item["workloads"].append(
            {"worker": workload["worker"], "state": workload["state"], "reason": workload["reason"]}
        )
    return offset_page([items[name] for name in sorted(items)], params)


class JobGet(Params):
    name: str = Field(max_length=200)
    """The name of the job."""
    log_lines: int = Field(default=20, ge=0, le=200)
    """How many of the last log lines to show."""


@operation(summary="Show one job: document, workloads, log.", http="GET /api/jobs/{name}", toolset="jobs")
async def job_get(engine: Engine, caller: Caller, params: JobGet) -> dict[str, Any]:
    """Show a job: its document, where it runs with state, reason and metrics, and the end of its log."""
    row = await engine.database.read(table.newest, caller.tenant, params.name)
    workloads = engine.fleet.workload_rows(tenant=caller.tenant, job=params.name)
    if row is None and not workloads:
        raise _unknown(params.name, caller)
    managed = next((w["deployment"] for w in workloads if w["deployment"]), None)
    document = engine.fleet.document(workloads[0]["id"]) if row is None else orjson.loads(row["document"])
    return {
        "name": params.name,
        "version": row["version"] if row is not None else workloads[0]["version"],
        "managed_by": managed,
        "document": document,
        "workloads": workloads,
        "log": engine.fleet.log_lines([w["id"] for w in workloads], params.log_lines),
    }


class JobValidate(Params):
    document: str = Field(max_length=MAX_DOCUMENT, description=DOCUMENT_DESCRIPTION)


@operation(
    summary="Check a job document without staging it.",
    http="POST /api/jobs/validate",
    toolset="jobs",
)
async def job_validate(engine: Engine, caller: Caller, params: JobValidate) -> dict[str, Any]:
    """Check a job document: every fault at once, each with its place and what is allowed there."""
    try:
        staged = staging.stage(params.document)
    except errors.InvalidDocument as error:
        return {"valid": False, "name": None, **{k: v for k, v in error.to_dict().items() if k != "code"}}
    return {"valid": True, "name": staged.name, "message": "The document is valid.", "hint": "", "errors": []}


class JobPut(Params):
    document: str = Field(max_length=MAX_DOCUMENT, description=DOCUMENT_DESCRIPTION)


@operation(
    summary="Stage a job document as a new version.",
    http="POST /api/jobs",
    toolset="jobs",
    effect=Effect.WRITE,
    role=Role.ADMIN,
    idempotent=True,
)
async def job_put(engine: Engine, caller: Caller, params: JobPut) -> dict[str, Any]:
    """Stage a job: validates the document and keeps it as an immutable version. Deploy it with job_deploy.

    Staging the same document again changes nothing. A job that a deployment manages is refused.
    """
    staged = staging.stage(params.document)
    _refuse_managed(engine, caller, staged.name)
    row = {
        "tenant": caller.tenant,
        "name": staged.name,
        "document": staged.text,
        "digest": staged.digest,
        "created_at_ns": engine.now_ns(),
        "created_by": caller.username,
    }
    note = audit.row(engine.ids.next(), caller, "job_put", f"{caller.tenant}/{staged.name}")
    version, changed = await engine.database.write(table.put, row, note)
    return {"name": staged.name, "version": version, "changed": changed}


class JobDeploy(Params):
    name: str = Field(max_length=200)
    """The name of a staged job."""
    worker_group: str = Field(default="default", max_length=64)
    """The group of workers to run on."""
    replicas: int = Field(default=1, ge=1, le=64)
    """How many copies run."""
    version: int | None = Field(default=None, ge=1, le=2**31)
    """Which version; the newest when left out."""
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

    A job goes to the worker that holds the other end of its worker channel. One that ran once and has completed is
    run again.
    """
    _refuse_managed(engine, caller, params.name)
    if params.version is None:
        row = await engine.database.read(table.newest, caller.tenant, params.name)
    else:
        row = await engine.database.read(table.get, caller.tenant, params.name, params.version)
    if row is None:
        raise _unknown(params.name, caller)
    workers = engine.fleet.worker_rows()
    before = engine.fleet.workload_rows(tenant=caller.tenant, job=params.name)
    if before and all(w["state"] == WorkloadState.COMPLETED for w in before):
        note = audit.row(engine.ids.next(), caller, "job_deploy", f"{caller.tenant}/{params.name}")
        await engine.database.write(workloads.replace_unmanaged, caller.tenant, params.name, [], note)
        await engine.fleet.sync()  # what is over is cleared, so that what is deployed now starts anew
    near = _other_end(engine, caller, row)
    wanted = staging.assign(row, params.worker_group, params.replicas, workers, before, engine.now_ns(), near)
    note = audit.row(engine.ids.next(), caller, "job_deploy", f"{caller.tenant}/{params.name}")
    await engine.database.write(workloads.replace_unmanaged, caller.tenant, params.name, wanted, note)
    await engine.fleet.sync()
    ids = {row["id"] for row in wanted}
    await engine.fleet.wait(lambda: engine.fleet.settled(ids), params.wait_seconds)
    return {
        "name": params.name,
        "version": row["version"],
        "workloads": engine.fleet.workload_rows(tenant=caller.tenant, job=params.name),
    }


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


@operation(
    summary="Stop a job; its versions stay.",
    http="POST /api/jobs/{name}/undeploy",
    toolset="jobs",
    effect=Effect.DESTRUCTIVE,
    role=Role.ADMIN,
    idempotent=True,
)
async def job_undeploy(engine: Engine, caller: Caller, params: JobUndeploy) -> dict[str, Any]:
    """Stop a job on every worker; it finishes what it has in flight. Its staged versions stay."""
    _refuse_managed(engine, caller, params.name)
    if await engine.database.read(table.newest, caller.tenant, params.name) is None:
        raise _unknown(params.name, caller)
    note = audit.row(engine.ids.next(), caller, "job_undeploy", f"{caller.tenant}/{params.name}")
    await engine.database.write(workloads.replace_unmanaged, caller.tenant, params.name, [], note)
    await engine.fleet.sync()
    return {"name": params.name, "workloads": []}


def _refuse_managed(engine: Engine, caller: Caller, name: str) -> None:
    for workload in engine.fleet.workload_rows(tenant=caller.tenant, job=name):
        if workload["deployment"]:
            raise errors.AlreadyExists(
                f"Job {name} is managed by deployment {workload['deployment']}.",
                hint="Change the workflow and apply it, or stage a copy under another name.",
            )


def _unknown(name: str, caller: Caller) -> errors.NotFound:
    return errors.NotFound(
        f"There is no job {errors.shorten(name, 100)} in tenant {caller.tenant}.",
        hint="Stage it with job_put; job_list shows what there is.",
    )
