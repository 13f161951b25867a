"""Giving away what a worker has: deployments by their own placement, single jobs by the same rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import orjson

from core import clock, errors
from core.contexts.values import layers_of
from core.deployments import edits, observed, placement, reconcile
from core.deployments.healing import Healer, workers_for
from core.documents import canonical
from core.fleet.fleet import Fleet
from core.fleet.holdings import Holdings
from core.fleet.reach import Reach
from core.jobs import staging
from core.model.deployment import Job, Role, State
from core.model.principal import Caller
from core.model.states import WorkerState
from core.model.workload import WorkloadRow
from core.settings import Settings
from core.store import audit, workloads
from core.store import deployments as table
from core.store import jobs as job_table
from core.store.database import Database

if TYPE_CHECKING:
    from core.model.results import workers


@dataclass(slots=True)
class Given:
    """What went where: workload id -> worker; and what stays: workload id -> why."""

    moved: dict[str, str] = field(default_factory=dict)
    stays: dict[str, str] = field(default_factory=dict)


class Drainer:
    """Use from the engine's loop."""

    def __init__(
        self, settings: Settings, database: Database, ids: clock.Ids, fleet: Fleet, reach: Reach, healer: Healer
    ) -> None:
        self._settings = settings
        self._database = database
        self._ids = ids
        self._fleet = fleet
        self._reach = reach
        self._healer = healer

    async def vacate(self, caller: Caller, worker: str, *, gone: bool = False) -> Given:
        """Move what a worker has, of every tenant, to other workers of its groups, as far as they have room.

        The worker is drained, or has gone to another group: what has no other place stays, and runs on. Or it is
        `gone` for good (Fleet.forsake): then that waits.
        """
        here = self._fleet.on(worker)
        given = Given()
        for tenant, deployment in sorted({(row.tenant, row.deployment) for row in here}):
            acting = replace(caller, tenant=tenant)
            if deployment:
                await self._deployment(acting, deployment, given)
            else:
                await self._jobs(acting, given)
        rows = {row["name"]: row for row in self._fleet.worker_rows()}
        there = rows.pop(worker)
        open_groups = {row["group"] for row in rows.values() if row["state"] == WorkerState.ONLINE}
        for row in {row.id: row for row in (*here, *self._fleet.on(worker))}.values():
            at_home = row.group_name == there["group"] and not there["drained"] and not gone
            if row.id not in given.moved and not at_home and self._fleet.wants(row.id):
                given.stays.setdefault(row.id, _why_it_stays(row, row.group_name in open_groups, gone))
        return given

    async def leaving(self, caller: Caller, given: Given, wait_seconds: float) -> workers.Leaving:
        """What moved and what stays, of the tenant of the caller by id and of all in number, once that has settled."""
        if given.moved:
            await self._fleet.wait(lambda: self._fleet.settled(given.moved), wait_seconds)
        mine = f"{caller.tenant}/"
        return {
            "moved": [{"id": id, "worker": to} for id, to in given.moved.items() if id.startswith(mine)],
            "stays": [{"id": id, "reason": why} for id, why in given.stays.items() if id.startswith(mine)],
            "moved_in_all": len(given.moved),
            "stays_in_all": len(given.stays),
        }

    async def _deployment(self, caller: Caller, name: str, given: Given) -> None:
        row = await self._database.read(table.get, caller.tenant, name)
        if row is None:
            return
        wish = State.from_dict(row.desired)
        ignored = edits.Ignored(row.ignored)
        patience = self._settings.reconcile_patience_seconds
        decided = await self._healer.examine(caller.tenant, name, wish, ignored, patience, Holdings())
        moves = tuple(step for step in decided.steps if step.action is reconcile.StepAction.MOVE)
        moving = {step.id for step in moves}
        # Other drift is not what was asked for: it is left alone.
        drift = tuple(one if one.id in moving else replace(one, muted=True) for one in decided.drift)
        try:
            await self._healer.mend(
                caller, name, row.revision, wish, ignored, replace(decided, steps=moves, drift=drift)
            )
        except errors.StalePlan:
            given.stays |= dict.fromkeys(moving, f"deployment {name} changed meanwhile")
            return
        given.moved |= {step.id: step.worker for step in moves}

    async def _jobs(self, caller: Caller, given: Given) -> None:
        """Place the unmanaged jobs of a tenant as they are, which moves those whose worker takes nothing any more."""
        tenant, fleet = caller.tenant, self._fleet
        rows: dict[str, list[WorkloadRow]] = {}
        for row in sorted(fleet.stored(tenant, ""), key=lambda row: row.replica):
            if row.state != "completed":
                rows.setdefault(row.job, []).append(row)
        jobs = {
            name: Job(name, "", Role.STEP, "", of[0].group_name, len(of), fleet.document(of[0].id), "")
            for name, of in rows.items()
        }
        before = {name: tuple(row.worker for row in of) for name, of in rows.items()}
        wish = State(jobs=jobs, assignments=before)
        special = await self._healer.special(tenant)
        patience = self._settings.reconcile_patience_seconds
        present = workers_for(wish, observed.presence(fleet, tenant, ""), 0.0, special)
        fixed: set[str] = set()
        while True:  # once more for each job that turns out to be bound to its worker
            placed = placement.place(
                jobs,
                _together(jobs),
                [one.worker for one in present],
                before,
                staying={one.worker.name for one in present if not one.worker.online and one.gone_seconds < patience},
                pinned=fixed,
            )
            bound = None
            for name, of in rows.items():
                after = tuple(new or old for new, old in zip(placed.assignments[name], before[name], strict=True))
                if after == before[name]:
                    continue
                wanted = await self._moved(tenant, of, after)
                if wanted is None:
                    bound = name
                    break
                note = audit.row(self._ids.next(), caller, "job_move", f"{tenant}/{name}")
                await self._database.write(workloads.replace_unmanaged, tenant, name, wanted, note)
                given.moved |= {row.id: row.worker for row, old in zip(wanted, of, strict=True) if row is not old}
                before[name] = after
            if bound is None:
                break
            fixed.add(bound)
            given.stays |= {row.id: "its document was made for this worker; deploy it again" for row in rows[bound]}
        await fleet.sync()

    async def _moved(self, tenant: str, rows: list[WorkloadRow], after: tuple[str, ...]) -> list[WorkloadRow] | None:
        """The rows of a job on its new workers; None when what they would run there cannot be worked out."""
        job = await self._database.read(job_table.get, tenant, rows[0].job, int(rows[0].version))
        contexts = await layers_of(self._database, tenant)
        files = self._reach.of(tenant, rows[0].group_name)
        out = []
        for row, worker in zip(rows, after, strict=True):
            if worker == row.worker:
                out.append(row)
                continue
            document = row.document
            if job is None or job["source"]:
                if job is None:
                    return None
                try:
                    was, new = (
                        staging.resolve(job, contexts, worker=one, group=row.group_name, environment="", files=files)
                        for one in (row.worker, worker)
                    )
                except errors.InvalidDocument:
                    return None
                if was != orjson.loads(row.document):
                    return None  # it was filled in for an environment, or contexts have changed since
                document = canonical.canonical(new).decode()
            out.append(replace(row, worker=worker, document=document, updated_at_ns=clock.now_ns()))
        return out


def _why_it_stays(row: WorkloadRow, others: bool, gone: bool) -> str:
    why = "no other worker of its group has room" if others else "its group has no other worker that is online"
    if not gone:
        return why
    later = "it moves by itself" if row.deployment else f"it waits until it is deployed again (job_deploy {row.job})"
    return f"{why}: when one has room, {later}"


def _together(jobs: dict[str, Job]) -> list[tuple[str, ...]]:
    """The sets of jobs that are joined by worker channels."""
    sets: list[tuple[set[str], list[str]]] = []
    for name, job in jobs.items():
        ends, members = staging.channels(job.document), [name]
        if not ends:
            continue
        for one in [one for one in sets if one[0] & ends]:
            sets.remove(one)
            ends, members = ends | one[0], one[1] + members
        sets.append((ends, members))
    return [tuple(members) for _, members in sets]
