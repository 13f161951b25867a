"""What happens to a job besides running it: staging its draft, copying it, deleting it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from pydantic import Field

from core import errors
from core.documents import dump
from core.engine import Engine
from core.jobs import staging
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.jobs import draft_row, refuse_managed, stage, unknown, version_row
from core.operations.license import require_room
from core.operations.losses import counted
from core.operations.registry import operation
from core.store import audit, drafts
from core.store import jobs as table


class JobStage(Params):
    name: str = Field(max_length=200)
    """The job whose draft to stage."""
    revision: int | None = Field(default=None, ge=1, le=2**53)
    """The draft revision that you looked at; the call is refused when it has moved since."""


@operation(
    summary="Stage the draft of a job as its next version.",
    http="POST /api/jobs/{name}/stage",
    toolset="jobs",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
)
async def job_stage(engine: Engine, caller: Caller, params: JobStage) -> dict[str, Any]:
    """Validate the draft of a job and keep it as an immutable version; the draft is done with then."""
    refuse_managed(engine, caller, params.name)
    draft = await engine.database.read(drafts.get, caller.tenant, params.name)
    if draft is None:
        raise errors.NotFound(
            f"Job {errors.shorten(params.name, 100)} has no draft.", hint="Save one with job_put and draft: true."
        )
    staged = await stage(engine, caller, draft["document"])
    note = audit.row(engine.ids.next(), caller, "job_stage", f"{caller.tenant}/{staged.name}")
    version, changed = await engine.database.write(
        drafts.stage,
        version_row(engine, caller, staged),
        params.revision or draft["revision"],
        note,
        engine.now_ns(),
        caller.username,
    )
    return {"name": staged.name, "version": version, "changed": changed}


class JobClone(Params):
    name: str = Field(max_length=200)
    """The job to copy; it may be one that a deployment manages."""
    new_name: str = Field(max_length=200, pattern=staging.NAME_PATTERN)
    """The name of the copy, not taken yet."""
    version: int | None = Field(default=None, ge=1, le=2**31)
    """Which staged version to copy; the newest when left out."""


@operation(
    summary="Copy a job, also a managed one, into an unmanaged draft.",
    http="POST /api/jobs/{name}/clone",
    toolset="jobs",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
)
async def job_clone(engine: Engine, caller: Caller, params: JobClone) -> dict[str, Any]:
    """Copy a job into a draft under a new name: the way to change what a deployment manages. Stage it with job_stage.

    A copy belongs to nobody: the deployment goes on with its own job. warnings[] tell what both would share.
    """
    await _refuse_taken(engine, caller, params.new_name)
    await require_room(engine, caller.tenant, params.new_name)
    document, source, managed = await _source(engine, caller, params)
    text = dump.to_yaml({**document, "name": params.new_name})
    origin = f"{source} of deployment {managed}" if managed else source
    row = draft_row(engine, caller, params.new_name, text, origin)
    note = audit.row(engine.ids.next(), caller, "job_clone", f"{caller.tenant}/{params.name} -> {params.new_name}")
    revision, _ = await engine.database.write(drafts.save, row, 0, note)
    return {
        "name": params.new_name,
        "revision": revision,
        "cloned_from": {"name": params.name, "managed_by": managed, "source": source},
        "document": text,
        "warnings": staging.shared(document),
    }


async def _source(engine: Engine, caller: Caller, params: JobClone) -> tuple[dict[str, Any], str, str | None]:
    """(document, what it is, the deployment that manages it)."""
    tenant, name = caller.tenant, params.name
    for workload in engine.fleet.workload_rows(tenant=tenant, job=name):
        if workload["deployment"]:
            if params.version is not None:
                raise errors.InvalidParams(
                    f"Job {name} is managed by deployment {workload['deployment']} and has one version, what runs.",
                    errors=[errors.Problem("/version", "only for jobs that are not managed")],
                )
            return engine.fleet.document(workload["id"]), f"job {name}", workload["deployment"]
    if params.version is None:
        row = await engine.database.read(table.newest, tenant, name)
    else:
        row = await engine.database.read(table.get, tenant, name, params.version)
    if row is not None:
        return orjson.loads(row["source"] or row["document"]), f"job {name} version {row['version']}", None
    draft = await engine.database.read(drafts.get, tenant, name) if params.version is None else None
    if draft is None:
        raise unknown(name, caller)
    document = await asyncio.to_thread(staging.plain, draft["document"])
    return document, f"draft of {name} revision {draft['revision']}", None


async def _refuse_taken(engine: Engine, caller: Caller, name: str) -> None:
    taken = (
        await engine.database.read(table.newest, caller.tenant, name)
        or await engine.database.read(drafts.get, caller.tenant, name)
        or engine.fleet.workload_rows(tenant=caller.tenant, job=name)
    )
    if taken:
        raise errors.AlreadyExists(
            f"There is a job {name} already.",
            hint="Choose another new_name.",
            errors=[errors.Problem("/new_name", "is taken")],
        )


class JobDelete(Params):
    name: str = Field(max_length=200)
    """The name of the job."""
    draft_only: bool = False
    """Throw away its draft and keep its versions."""


async def _job_goes(engine: Engine, caller: Caller, params: JobDelete) -> Loss | None:
    versions = [] if params.draft_only else await engine.database.read(table.versions, caller.tenant, params.name)
    draft = await engine.database.read(drafts.get, caller.tenant, params.name)
    gone = [counted("version", (row["version"] for row in versions))] if versions else []
    gone += [f"its draft of {draft['updated_by']}"] if draft is not None else []
    return Loss(f"Of job {errors.shorten(params.name, 100)} go {' and '.join(gone)}.") if gone else None


@operation(
    summary="Delete an undeployed job, or only its draft.",
    http="DELETE /api/jobs/{name}",
    toolset="jobs",
    effect=Effect.DESTRUCTIVE,
    destroys=_job_goes,
    offline=True,
    role=Role.ADMIN,
)
async def job_delete(engine: Engine, caller: Caller, params: JobDelete) -> dict[str, Any]:
    """Delete a job that is not deployed, with all its versions and its draft; or, with draft_only, its draft alone."""
    tenant, name = caller.tenant, params.name
    refuse_managed(engine, caller, name)
    if not params.draft_only and engine.fleet.workload_rows(tenant=tenant, job=name):
        raise errors.AlreadyExists(f"Job {name} is deployed.", hint="Stop it with job_undeploy first.")
    note = audit.row(engine.ids.next(), caller, "job_delete", f"{tenant}/{name}")
    now, by = engine.now_ns(), caller.username
    if params.draft_only:
        if not await engine.database.write(drafts.discard, tenant, name, note, now, by):
            raise errors.NotFound(f"Job {errors.shorten(name, 100)} has no draft.", hint="job_list shows drafts.")
        return {"name": name, "deleted_versions": 0, "deleted_draft": True}
    versions, draft = await engine.database.write(drafts.delete_job, tenant, name, note, now, by)
    if not versions and not draft:
        raise unknown(name, caller)
    return {"name": name, "deleted_versions": versions, "deleted_draft": draft}
