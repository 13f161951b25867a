"""Jobs: what there is, and unmanaged ones staged as immutable versions. Managed jobs are a deployment's."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core import clock, errors
from core.engine import Engine
from core.explain.chain import Call
from core.fleet import log_reading
from core.jobs import listing, registry
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.model.states import WorkloadState
from core.operations.registry import LISTED, JobDocument, Sorted, offset_page, operation
from core.store import job_drafts
from core.store import jobs as table


class JobList(Sorted):
    query: str = Field(default="", max_length=200)
    """Words to look for in the names of jobs and deployments."""
    state: WorkloadState | Literal["staged", "draft"] | None = None
    """Only jobs with a replica in this state; staged: that nothing runs, draft: with an open draft."""


@operation(
    summary="List the jobs of this tenant.", http="GET /api/jobs", toolset="jobs", outline=LISTED, role=Role.VIEWER
)
async def job_list(engine: Engine, caller: Caller, params: JobList) -> results.Listing[results.jobs.JobItem]:
    """List jobs with version, draft revision, where each runs, and its state; managed ones belong to a deployment."""
    newest = await engine.database.read(table.newest_of_all, caller.tenant)
    drafts = await engine.database.read(job_drafts.all_rows, caller.tenant)
    found = listing.entries(newest, drafts, engine.fleet.workload_views(tenant=caller.tenant))

    def show(one: results.jobs.JobItem) -> results.jobs.JobItem:
        schedule = engine.fleet.timetables.brief(caller.tenant, one["name"])
        return one if schedule is None else {**one, "schedule": schedule}

    return offset_page([one for one in found if listing.fits(one, params.query, params.state)], params, show)


class JobGet(Params):
    name: str = Field(max_length=200)
    """The job."""
    version: int | None = Field(default=None, ge=1, le=2**31)
    """Which staged version; the newest when left out."""
    compare: int | None = Field(default=None, ge=0, le=2**31)
    """Show what changed from this version (of a managed job: revision of its deployment) to the shown one; 0: from that
    to the draft."""
    log_lines: int = Field(default=20, ge=0, le=200)
    """The most log lines."""


@operation(
    summary="Show one job: document, versions, draft, workloads, last failure, log.",
    http="GET /api/jobs/{name}",
    toolset="jobs",
    also_in=("deployments",),
    role=Role.VIEWER,
)
async def job_get(engine: Engine, caller: Caller, params: JobGet) -> results.jobs.Job:
    """Show a job: document, versions, draft, workloads with reason, metrics, false `conditions`, last failure, log.

    `origin`: what of its deployment made a managed job.
    """
    tenant, name = caller.tenant, params.name
    versions = await engine.database.read(table.versions, tenant, name)
    draft = await engine.database.read(job_drafts.get, tenant, name)
    workloads = engine.fleet.workload_views(tenant=tenant, job=name)
    managed = next((one.deployment for one in workloads if one.deployment), None)
    if not versions and draft is None and not workloads:
        raise registry.unknown(name, tenant)
    version: int | str | None = params.version or (versions[0]["version"] if versions else None)
    document: dict[str, Any] | None = None
    if managed is not None:
        version, document = workloads[0].version, engine.fleet.document(workloads[0].id)
    elif version is not None:
        document = await engine.jobs.document(tenant, name, int(version))
    result: results.jobs.Job = {
        "name": name,
        "version": version,
        "managed_by": managed,
        "origin": engine.fleet.origin(workloads[0].id) if managed is not None else None,
        "document": document,
        "draft": None if draft is None else listing.draft(draft),
        "versions": [_version(row) for row in versions],
        "workloads": [one.to_detail() for one in workloads],
        "schedule": engine.fleet.timetables.brief(tenant, name),
        "last_failure": await engine.jobs.last_failure(tenant, name),
        "log": await log_reading.last(engine.fleet, tenant, name, params.log_lines),
    }
    if managed is None and version is not None and (written := await engine.jobs.written(tenant, name, int(version))):
        result["written"] = written
    if (letters := engine.letters.of(tenant, [name])).any:
        result["letters"] = letters.to_dict()
    if params.compare is not None:
        result["diff"] = await engine.jobs.compare(tenant, name, version, document, params.compare, managed)
    return result


def _version(row: dict[str, Any]) -> results.jobs.JobVersion:
    return {
        "version": row["version"],
        "digest": row["digest"],
        "created_by": row["created_by"],
        "created_at": clock.iso(row["created_at_ns"]),
    }


class JobValidate(Params):
    document: JobDocument
    """The job document as YAML or JSON text."""


@operation(
    summary="Check a job document without staging it.",
    http="POST /api/jobs/validate",
    toolset="jobs",
    role=Role.VIEWER,
    homeless=True,
)
async def job_validate(engine: Engine, caller: Caller, params: JobValidate) -> results.jobs.JobChecked:
    """Check a job document: every fault at once, each with its place and what is allowed there."""
    return await _check(engine, caller, params.document)


async def _check(engine: Engine, caller: Caller, document: str) -> results.jobs.JobChecked:
    """What is wrong with a document."""
    try:
        staged = await engine.jobs.stage(caller.tenant, document)
    except errors.InvalidDocument as error:
        told = error.to_dict()
        return {
            "valid": False,
            "name": None,
            "message": told["message"],
            "hint": told["hint"],
            "errors": told["errors"],
        }
    return {"valid": True, "name": staged.name, "message": "The document is valid.", "hint": "", "errors": []}


class JobPut(Params):
    document: JobDocument
    """The job document as YAML or JSON text."""
    draft: bool = False
    """Save it as a draft instead of staging it; a draft may still have faults."""
    base_revision: int | None = Field(default=None, ge=0, le=2**53)
    """With draft: the revision that this edit started from; left out when there is no draft yet."""


@operation(
    summary="Stage a job document as a new version, or save it as a draft.",
    http="POST /api/jobs",
    toolset="jobs",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def job_put(
    engine: Engine, caller: Caller, params: JobPut
) -> results.jobs.JobStaged | results.jobs.JobDraftSaved:
    """Stage a job: validates the document and keeps it as an immutable version. Deploy it with job_deploy.

    With draft it is saved as it is, faults and all; job_stage stages it. A draft that someone else has changed since
    base_revision is not overwritten. The same document again changes nothing. A managed job is refused.
    """
    if params.draft:
        return await _save_draft(engine, caller, params)
    if params.base_revision is not None:
        raise errors.InvalidParams(
            "base_revision belongs to drafts.",
            hint="Set draft, or leave base_revision out.",
            errors=[errors.Problem("/base_revision", "only with draft: true")],
        )
    put = await engine.jobs.put(caller, params.document)
    return {**put.to_dict(), "next": [Call("job_deploy", {"name": put.name}, "run it").to_dict()]}


async def _save_draft(engine: Engine, caller: Caller, params: JobPut) -> results.jobs.JobDraftSaved:
    draft = await engine.jobs.save_draft(caller, params.document, params.base_revision or 0)
    newest = await engine.jobs.row(caller.tenant, draft.name)
    found = await _check(engine, caller, params.document)
    return {
        "name": draft.name,
        "version": newest["version"] if newest is not None else None,
        "revision": draft.revision,
        "changed": draft.changed,
        "valid": found["valid"],
        "errors": found["errors"],
    }
