"""Single jobs on workers: placed and taken away by hand, one by one."""

from __future__ import annotations

from typing import Any

import orjson

from core import clock
from core.contexts.secrets import Vault
from core.contexts.values import layers_of
from core.documents import canonical
from core.dsl.language import mentions
from core.fleet import assignment
from core.fleet.fleet import Fleet
from core.fleet.reach import Reach
from core.fleet.workloads import OVER
from core.jobs import staging
from core.jobs.registry import JobRegistry
from core.model.principal import Caller
from core.model.states import WorkloadState
from core.model.workload import WorkloadRow
from core.store import audit, workloads
from core.store.database import Database

Row = dict[str, Any]

STEADY_SECONDS = 0.3  # a job that fails at once does so within this time


class Unmanaged:
    """What no deployment manages. Of one engine."""

    def __init__(
        self, database: Database, ids: clock.Ids, fleet: Fleet, jobs: JobRegistry, vault: Vault, reach: Reach
    ) -> None:
        self._database = database
        self._ids = ids
        self._fleet = fleet
        self._jobs = jobs
        self._vault = vault
        self._reach = reach

    async def deploy(
        self,
        caller: Caller,
        name: str,
        version: int | None,
        *,
        group: str,
        replicas: int,
        environment: str,
        wait_seconds: float,
    ) -> Row:
        """Have a staged job run on workers of a group, and wait until it does, is over, or has failed: its version.

        What is over or has failed is started anew. Raises AlreadyExists for a managed job, NotFound, TargetUnavailable,
        InvalidDocument for keys and secrets that are missing where it is to run.
        """
        tenant, fleet = caller.tenant, self._fleet
        self._jobs.refuse_managed(tenant, name)
        job = await self._jobs.staged(tenant, name, version)
        before = fleet.workload_views(tenant=tenant, job=name)
        near, now = self._other_end(job), clock.now_ns()
        wanted = assignment.assign(job, group, replicas, fleet.worker_rows(tenant), before, now, near)
        await self._complete(job, wanted, group, environment)
        if before and all(one.state in (*OVER, WorkloadState.FAILED) for one in before):
            await self._replace(caller, "job_deploy", name, [])  # cleared, so that what is deployed now starts anew
            if any(one.state == WorkloadState.QUARANTINED for one in before):
                await fleet.inquest.release(tenant, [name])
        await self._replace(caller, "job_deploy", name, wanted)
        ids = {row.id for row in wanted}
        if await fleet.wait(lambda: fleet.settled(ids), wait_seconds) and wait_seconds:
            await self._wait_for_an_early_end(job)
        return job

    async def undeploy(self, caller: Caller, name: str) -> None:
        """Stop a job on every worker; its versions stay. Raises AlreadyExists for a managed job, NotFound."""
        self._jobs.refuse_managed(caller.tenant, name)
        await self._jobs.staged(caller.tenant, name)
        await self._replace(caller, "job_undeploy", name, [])

    async def _replace(self, caller: Caller, operation: str, name: str, wanted: list[WorkloadRow]) -> None:
        note = audit.row(self._ids.next(), caller, operation, f"{caller.tenant}/{name}")
        await self._database.write(workloads.replace_unmanaged, caller.tenant, name, wanted, note)
        await self._fleet.sync()

    async def _complete(self, job: Row, wanted: list[WorkloadRow], group: str, environment: str) -> None:
        """Give each workload the document that its worker runs."""
        tenant = job["tenant"]
        contexts = await layers_of(self._database, tenant)
        files = self._reach.of(tenant, group)
        for row in wanted:
            document = staging.resolve(
                job, contexts, worker=row.worker, group=group, environment=environment, files=files
            )
            staging.check_secrets(document, lambda names: self._vault.missing(tenant, names))
            self._vault.check(tenant, mentions.secrets(document))
            if job["source"]:
                row.document = canonical.canonical(document).decode()

    async def _wait_for_an_early_end(self, job: Row) -> None:
        """A job that does something on its own says "running" and may fail at its first event: give it that moment."""
        if staging.waits_for_messages(job["document"]):
            return

        def over() -> bool:
            rows = self._fleet.workload_views(tenant=job["tenant"], job=job["name"])
            states = {row.state for row in rows}
            return WorkloadState.FAILED in states or states <= {WorkloadState.COMPLETED}

        await self._fleet.wait(over, STEADY_SECONDS)

    def _other_end(self, job: Row) -> str:
        """The worker of a job that shares a worker channel with this one; empty when there is none."""
        ends = staging.channels(orjson.loads(job["document"]))
        for workload in self._fleet.workload_views(tenant=job["tenant"]) if ends else ():
            if workload.job != job["name"] and ends & staging.channels(self._fleet.document(workload.id)):
                return workload.worker
        return ""
