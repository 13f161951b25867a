"""What happens to a job besides running it: staging its draft, copying it, deleting it."""

from __future__ import annotations

from pydantic import Field

from core import errors
from core.engine import Engine
from core.jobs import staging
from core.model import results
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.losses import counted
from core.operations.registry import operation
from core.store import job_drafts
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
async def job_stage(engine: Engine, caller: Caller, params: JobStage) -> results.jobs.JobStaged:
    """Validate the draft of a job and keep it as an immutable version; the draft is done with then."""
    return (await engine.jobs.stage_draft(caller, params.name, params.revision)).to_dict()


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
async def job_clone(engine: Engine, caller: Caller, params: JobClone) -> results.jobs.JobCloned:
    """Copy a job into a draft under a new name: the way to change what a deployment manages. Stage it with job_stage.

    A copy belongs to nobody: the deployment goes on with its own job. warnings[] tell what both would share.
    """
    draft, source = await engine.jobs.clone(caller, params.name, params.new_name, params.version)
    return {
        "name": draft.name,
        "revision": draft.revision,
        "cloned_from": {"name": params.name, "managed_by": source.deployment, "source": source.description},
        "document": draft.text,
        "warnings": staging.shared(source.document),
    }


class JobDelete(Params):
    name: str = Field(max_length=200)
    """The name of the job."""
    draft_only: bool = False
    """Throw away its draft and keep its versions."""


async def _job_goes(engine: Engine, caller: Caller, params: JobDelete) -> Loss | None:
    versions = [] if params.draft_only else await engine.database.read(table.versions, caller.tenant, params.name)
    draft = await engine.database.read(job_drafts.get, caller.tenant, params.name)
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
async def job_delete(engine: Engine, caller: Caller, params: JobDelete) -> results.jobs.JobDeleted:
    """Delete a job that is not deployed, with all its versions and its draft; or, with draft_only, its draft alone."""
    if params.draft_only:
        await engine.jobs.discard_draft(caller, params.name)
        return {"name": params.name, "deleted_versions": 0, "deleted_draft": True}
    versions, draft = await engine.jobs.delete(caller, params.name)
    return {"name": params.name, "deleted_versions": versions, "deleted_draft": draft}
