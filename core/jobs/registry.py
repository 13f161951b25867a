"""The jobs of the tenants: staged as immutable versions, worked on as drafts, copied, deleted.

A job that a deployment manages is changed by its workflow alone: whatever would change it here is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

from core import clock, errors
from core.contexts.values import layers_of
from core.documents import dump
from core.guard.pathrules import Locator
from core.jobs import comparison, staging
from core.licensing import Licensing
from core.model.message import Type
from core.model.principal import Caller
from core.model.states import WorkloadState
from core.model.workload import WorkloadView
from core.store import audit, deployments, job_drafts, messages
from core.store import jobs as table
from core.store.audit import AuditRow
from core.store.database import Database

if TYPE_CHECKING:
    from core.model.results import jobs

DRAFT = 0  # the "version" that stands for the draft in a comparison


class Workloads(Protocol):
    """What shall run: the fleet, as far as the registry asks it."""

    def workload_views(self, *, tenant: str, job: str | None = None) -> list[WorkloadView]:
        """The wanted workloads of `tenant` (and of `job`), with what was observed of each."""

    def document(self, workload: str) -> dict[str, Any]:
        """The job document of one of them."""


class Version(NamedTuple):
    """A staged version; `changed` tells whether it is a new one."""

    name: str
    version: int
    changed: bool

    def to_dict(self) -> jobs.JobStaged:
        return {"name": self.name, "version": self.version, "changed": self.changed}


class Draft(NamedTuple):
    """A draft as it was saved; `changed` tells whether its text is another one than before."""

    name: str
    revision: int
    changed: bool
    text: str


class Source(NamedTuple):
    """What a copy is made of: a document, what it is in words, and the deployment that manages it."""

    document: dict[str, Any]
    description: str
    deployment: str | None


class JobRegistry:
    """Of one engine. `files` tells where the jobs of a tenant may have their files."""

    def __init__(
        self,
        database: Database,
        ids: clock.Ids,
        licensing: Licensing,
        workloads: Workloads,
        files: Callable[[str], Locator],
    ) -> None:
        self._database = database
        self._ids = ids
        self._licensing = licensing
        self._workloads = workloads
        self._files = files

    # -- what there is -------------------------------------------------------------------------------------

    async def row(self, tenant: str, name: str, version: int | None = None) -> dict[str, Any] | None:
        """A staged version as the store has it, the newest when none is named."""
        if version is None:
            return await self._database.read(table.newest, tenant, name)
        return await self._database.read(table.get, tenant, name, version)

    async def staged(self, tenant: str, name: str, version: int | None = None) -> dict[str, Any]:
        """Like `row`. Raises NotFound, which tells when there is a draft at most."""
        row = await self.row(tenant, name, version)
        if row is not None:
            return row
        if await self._database.read(job_drafts.get, tenant, name) is None:
            raise unknown(name, tenant)
        raise errors.NotFound(f"Job {name} is only a draft.", hint="Stage it with job_stage first.")

    async def document(self, tenant: str, name: str, version: int) -> dict[str, Any]:
        """The document of one staged version. Raises NotFound."""
        row = await self.row(tenant, name, version)
        if row is None:
            raise errors.NotFound(
                f"Job {errors.shorten(name, 100)} has no version {version}.", hint="job_get lists the versions."
            )
        document: dict[str, Any] = orjson.loads(row["document"])
        return document

    async def written(self, tenant: str, name: str, version: int) -> dict[str, Any] | None:
        """One staged version as it was written, when that has placeholders: what an edit of it begins with."""
        row = await self.row(tenant, name, version)
        return orjson.loads(row["source"]) if row is not None and row["source"] else None

    async def traceable(self, tenant: str, name: str, version: int | None) -> dict[str, Any]:
        """The document that a trace of a job runs: the version that is named, else its draft, its newest version, or
        what a deployment runs under the name. Raises NotFound, InvalidDocument."""
        if version is not None:
            return await self.document(tenant, name, version)
        draft = await self._database.read(job_drafts.get, tenant, name)
        if draft is not None:
            return (await self.stage(tenant, draft["document"])).data
        row = await self.row(tenant, name)
        if row is not None:
            staged: dict[str, Any] = orjson.loads(row["document"])
            return staged
        for workload in self._workloads.workload_views(tenant=tenant, job=name):
            return self._workloads.document(workload.id)
        raise unknown(name, tenant)

    async def compare(
        self,
        tenant: str,
        name: str,
        version: int | str | None,
        document: dict[str, Any] | None,
        other: int,
        deployment: str | None = None,
    ) -> str:
        """The unified diff from version `other` to a document that is shown as `version`; with DRAFT as `other`, from
        the document to the draft. Of a job of a `deployment`, `other` is a revision of that.

        Raises NotFound, InvalidDocument.
        """
        if deployment is not None:
            return await self._compare_revision(tenant, name, deployment, document, other)
        if document is None or version is None:
            raise errors.NotFound(f"Job {name} has no staged version to compare with.", hint="Stage its draft.")
        if other != DRAFT:
            before = await self.document(tenant, name, other)
            return comparison.diff(before, document, f"version {other}", f"version {version}")
        draft = await self._database.read(job_drafts.get, tenant, name)
        if draft is None:
            raise errors.NotFound(f"Job {name} has no draft to compare with.", hint="Compare two versions instead.")
        after = await asyncio.to_thread(staging.plain, draft["document"])
        return comparison.diff(document, after, f"version {version}", f"draft revision {draft['revision']}")

    async def _compare_revision(
        self, tenant: str, name: str, deployment: str, document: dict[str, Any] | None, revision: int
    ) -> str:
        """The unified diff from what a revision of its deployment had a managed job run to what it runs now.

        Raises NotFound.
        """
        wish = await self._database.read(deployments.wish, tenant, deployment, revision)
        made = wish["jobs"] if wish is not None else ()
        before = next((job["document"] for job in made if job["name"] == name), None)
        if before is None or document is None:
            raise errors.NotFound(
                f"Revision {revision} of deployment {deployment} has no job {name}.",
                hint=f"deployment_history(name={deployment!r}) lists the revisions.",
            )
        return comparison.diff(before, document, f"revision {revision}", "present")

    async def last_failure(self, tenant: str, name: str) -> jobs.JobFailure | None:
        """The last time that a job could not go on, as far back as the message log reaches."""
        found = await self._database.read(messages.recent, tenant, Type.JOB_FAILED, name, 1)
        if found:
            data = found[0].get("message_data") or {}
            return {"at": found[0]["at"], "workload": data.get("workload", ""), "reason": data.get("reason", "")}
        # A failure is written to the message log a moment after the workload says so.
        rows = self._workloads.workload_views(tenant=tenant, job=name)
        fresh = next((row for row in rows if row.state == WorkloadState.FAILED), None)
        if fresh is None:
            return None
        return {"at": clock.iso(clock.now_ns()), "workload": fresh.id, "reason": fresh.reason}

    # -- rules ---------------------------------------------------------------------------------------------

    def refuse_managed(self, tenant: str, name: str) -> None:
        """Raise AlreadyExists, with the way out, for a job that a deployment manages."""
        managed = self._managed(tenant, name)
        if managed is not None:
            raise errors.AlreadyExists(
                f"Job {name} is managed by deployment {managed.deployment}.",
                hint="Change its workflow, plan and apply; or make an unmanaged copy with job_clone and edit that.",
                details={"managed_by": managed.deployment},
            )

    def _managed(self, tenant: str, name: str) -> WorkloadView | None:
        """A workload of a deployment that runs the job."""
        rows = self._workloads.workload_views(tenant=tenant, job=name)
        return next((row for row in rows if row.deployment), None)

    async def _refuse_taken(self, tenant: str, name: str) -> None:
        taken = (
            await self.row(tenant, name)
            or await self._database.read(job_drafts.get, tenant, name)
            or self._workloads.workload_views(tenant=tenant, job=name)
        )
        if taken:
            raise errors.AlreadyExists(
                f"There is a job {name} already.",
                hint="Choose another new_name.",
                errors=[errors.Problem("/new_name", "is taken")],
            )

    async def stage(self, tenant: str, text: str) -> staging.Staged:
        """A document with the contexts of the tenant; keeps nothing. Raises InvalidDocument with every fault."""
        contexts = await layers_of(self._database, tenant)
        # In a thread: a megabyte of YAML takes seconds to read, and everyone else shares the loop.
        return await asyncio.to_thread(staging.stage, text, contexts, files=self._files(tenant))

    # -- changes -------------------------------------------------------------------------------------------

    async def put(self, caller: Caller, text: str) -> Version:
        """Keep a document as the next version of its job. Raises InvalidDocument, AlreadyExists, NotLicensed."""
        staged = await self.stage(caller.tenant, text)
        self.refuse_managed(caller.tenant, staged.name)
        await self._licensing.require_job_room(caller.tenant, staged.name)
        note = self._note(caller, "job_put", staged.name)
        return Version(staged.name, *await self._database.write(table.put, _version_row(caller, staged), note))

    async def save_draft(self, caller: Caller, text: str, base: int) -> Draft:
        """Keep a document as it is, faults and all, when the draft is still at revision `base` (0: there is none)."""
        name = await asyncio.to_thread(staging.name_of, text)
        self.refuse_managed(caller.tenant, name)
        await self._licensing.require_job_room(caller.tenant, name)
        note = self._note(caller, "job_put", f"{name} draft")
        revision, changed = await self._database.write(job_drafts.save, _draft_row(caller, name, text, ""), base, note)
        return Draft(name, revision, changed, text)

    async def stage_draft(self, caller: Caller, name: str, revision: int | None) -> Version:
        """Make the draft of a job its next version, when it is still at `revision` (the present one when None)."""
        self.refuse_managed(caller.tenant, name)
        draft = await self._database.read(job_drafts.get, caller.tenant, name)
        if draft is None:
            raise _no_draft(name, "Save one with job_put and draft: true.")
        staged = await self.stage(caller.tenant, draft["document"])
        row, note = _version_row(caller, staged), self._note(caller, "job_stage", staged.name)
        meant = revision or draft["revision"]
        done = await self._database.write(job_drafts.stage, row, meant, note, clock.now_ns(), caller.username)
        return Version(staged.name, *done)

    async def clone(self, caller: Caller, name: str, new_name: str, version: int | None) -> tuple[Draft, Source]:
        """Copy a job, also a managed one, into a new draft that belongs to nobody: (the draft, what it was made of)."""
        await self._refuse_taken(caller.tenant, new_name)
        await self._licensing.require_job_room(caller.tenant, new_name)
        source = await self._source(caller.tenant, name, version)
        text = dump.to_yaml({**source.document, "name": new_name})
        origin = source.description + (f" of deployment {source.deployment}" if source.deployment else "")
        row, note = _draft_row(caller, new_name, text, origin), self._note(caller, "job_clone", f"{name} -> {new_name}")
        return Draft(new_name, *await self._database.write(job_drafts.save, row, 0, note), text), source

    async def _source(self, tenant: str, name: str, version: int | None) -> Source:
        managed = self._managed(tenant, name)
        if managed is not None:
            if version is not None:
                raise errors.InvalidParams(
                    f"Job {name} is managed by deployment {managed.deployment} and has one version, what runs.",
                    errors=[errors.Problem("/version", "only for jobs that are not managed")],
                )
            return Source(self._workloads.document(managed.id), f"job {name}", managed.deployment)
        row = await self.row(tenant, name, version)
        if row is not None:
            written = orjson.loads(row["source"] or row["document"])
            return Source(written, f"job {name} version {row['version']}", None)
        draft = await self._database.read(job_drafts.get, tenant, name) if version is None else None
        if draft is None:
            raise unknown(name, tenant)
        document = await asyncio.to_thread(staging.plain, draft["document"])
        return Source(document, f"draft of {name} revision {draft['revision']}", None)

    async def discard_draft(self, caller: Caller, name: str) -> None:
        """Throw the draft of a job away. Raises NotFound."""
        self.refuse_managed(caller.tenant, name)
        note = self._note(caller, "job_delete", name)
        if not await self._database.write(
            job_drafts.discard, caller.tenant, name, note, clock.now_ns(), caller.username
        ):
            raise _no_draft(name, "job_list shows drafts.")

    async def delete(self, caller: Caller, name: str) -> tuple[int, bool]:
        """Delete a job that is not deployed: (how many versions went, whether a draft did). Raises AlreadyExists for
        one that is, NotFound."""
        tenant = caller.tenant
        self.refuse_managed(tenant, name)
        if self._workloads.workload_views(tenant=tenant, job=name):
            raise errors.AlreadyExists(f"Job {name} is deployed.", hint="Stop it with job_undeploy first.")
        note = self._note(caller, "job_delete", name)
        gone = await self._database.write(job_drafts.delete_job, tenant, name, note, clock.now_ns(), caller.username)
        if gone == (0, False):
            raise unknown(name, tenant)
        return gone

    def _note(self, caller: Caller, operation: str, what: str) -> AuditRow:
        return audit.row(self._ids.next(), caller, operation, f"{caller.tenant}/{what}")


def unknown(name: str, tenant: str) -> errors.NotFound:
    """The error for a job that is not there."""
    return errors.NotFound(
        f"There is no job {errors.shorten(name, 100)} in tenant {tenant}.",
        hint="Stage it with job_put; job_list shows what there is.",
    )


def _no_draft(name: str, hint: str) -> errors.NotFound:
    return errors.NotFound(f"Job {errors.shorten(name, 100)} has no draft.", hint=hint)


def _version_row(caller: Caller, staged: staging.Staged) -> dict[str, Any]:
    """A staged document as `store.jobs.put` takes it."""
    return {
        "tenant": caller.tenant,
        "name": staged.name,
        "document": staged.text,
        "source": staged.source,
        "digest": staged.digest,
        "created_at_ns": clock.now_ns(),
        "created_by": caller.username,
    }


def _draft_row(caller: Caller, name: str, text: str, origin: str) -> dict[str, Any]:
    """A draft as `store.job_drafts.save` takes it."""
    return {
        "tenant": caller.tenant,
        "name": name,
        "document": text,
        "origin": origin,
        "updated_at_ns": clock.now_ns(),
        "updated_by": caller.username,
    }
